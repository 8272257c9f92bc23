//! What headstart notes in a target directory: which compile a note is believed of, and what is kept of starts.

use std::fs::File;
use std::time::{Duration, SystemTime};

use headstart::disk::Staging;
use headstart::engine::Ledger;
use headstart::engine::ledger::{Decision, Note, ReasonText, Started};
use headstart::model::{Began, Compiled, Digest, UnitName};
use headstart_testkit::Scratch;

/// Where a session was waited for, the outputs of a check, which cargo dates when it began, would be those of nobody's compile: the
/// next publish would have no session of them, and `explain` nothing to say.
#[test]
fn a_note_counts_from_when_cargo_began() {
    let scratch = Scratch::new();
    let ledger = Ledger::of(scratch.root());
    scratch.write("libfoo.rmeta", "");
    let output = scratch.path("libfoo.rmeta");
    let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let file = File::options().write(true).open(&output);
    let dated = file.and_then(|file| file.set_modified(begun));
    dated.expect("it is ours");
    let unit = UnitName {
        profile_dir: "debug".to_owned(),
        dir: "foo-0123456789abcdef".to_owned(),
        stem: "lib-foo".to_owned(),
    };
    for (waited_ms, counts) in [(5_000, true), (0, false), (2_500, false)] {
        let note = note(1_700_000_005_000, waited_ms);
        ledger
            .write_note("foo-0123456789abcdef", &note)
            .expect("it is ours");
        let found = ledger.compiled(&unit, "foo", &output).is_some();
        assert_eq!(found, counts, "waited for {waited_ms} ms");
    }
}

fn note(started_unix_ms: u64, waited_ms: u64) -> Note {
    Note {
        compiled: Compiled {
            crate_name: "foo".to_owned(),
            metadata: "0123456789abcdef".to_owned(),
            incremental: None,
            executable: false,
            elapsed_ms: 100,
            remapped: true,
            arguments: None,
            line: Vec::new(),
            names: None,
            crashed: false,
        },
        started_unix_ms,
        waited_ms,
        began: Began::NoSession,
        workspace: None,
        build: None,
        hit: None,
    }
}

/// Each start would write and read once more what all before it decided, which for a large workspace is megabytes.
#[test]
fn only_the_last_start_keeps_its_decisions() {
    let scratch = Scratch::new();
    let ledger = Ledger::of(scratch.root());
    let staging = Staging::new(&ledger.staging_parent(), "start").expect("it is ours");
    // Two starting points of the second commit are taken by one start.
    for (commit, unit) in [("first", "one"), ("second", "two"), ("second", "three")] {
        let start = started(commit, unit);
        ledger.add_start(&staging, start).expect("it is ours");
    }
    let kept = ledger.starts();
    let commits = kept.iter().map(|one| (&*one.commit, one.decisions.len()));
    let expected = [("first", 0), ("second", 1), ("second", 1)];
    assert!(commits.eq(expected), "{kept:?}");
    let last = ledger.last_start().expect("there is one");
    let units = last.decisions.iter().map(|one| &*one.unit);
    assert!(units.eq(["three", "two"]), "{last:?}");
}

fn started(commit: &str, unit: &str) -> Started {
    let decision = Decision {
        unit: unit.to_owned(),
        package: unit.to_owned(),
        kind: "lib".to_owned(),
        verdict: "fresh".to_owned(),
        reason: ReasonText {
            code: "same".to_owned(),
            text: "nothing differs".to_owned(),
        },
    };
    Started {
        commit: commit.to_owned(),
        manifest: Digest::of(commit.as_bytes()),
        unix_s: 1_700_000_000,
        mtime: SystemTime::UNIX_EPOCH,
        workspace: None,
        decisions: vec![decision],
    }
}
