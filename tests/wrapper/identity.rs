//! The id that a member is given in place of cargo's.

use std::collections::BTreeSet;

use headstart::model::Began;

use crate::common::around::output;

use crate::here::Here;

/// Says by which id it was told to compile.
const SAY: &str = r#"for arg in "$@"; do case "$arg" in metadata=*) echo "$arg";; esac; done"#;

/// Returns the id that rustc was told where cargo calls the unit `hash`, and gives `more` arguments.
fn told(here: &Here, hash: &str, more: &[&str]) -> String {
    let run = here.compile_as(hash, more);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout
}

/// After another version of a member, or with another dependency, all of it and all above it would be compiled from nothing, and
/// half of a starting point be sent again.
#[test]
fn another_version_or_dependency_is_no_other_crate() {
    let here = Here::new(SAY);
    let before = told(&here, "1", &[]);
    assert_ne!(before, "metadata=1\n");
    let dependency = ["--extern", "a=target/debug/deps/liba-7.rmeta"];
    let after = told(&here, "2", &dependency);
    assert_eq!(after, before);
    assert_eq!(told(&here, "3", &["--warn=unused"]), before);
}

/// Two crates of one id in one program do not link; two that share their sessions take them from each other.
#[test]
fn what_may_be_compiled_beside_it_has_another_id() {
    let here = Here::new(SAY);
    let mut ids = BTreeSet::from([told(&here, "1", &[])]);
    let others: [&[&str]; 5] = [
        &["--cfg", "feature=\"x\""],
        &["-C", "opt-level=1"],
        &["--crate-type", "bin"],
        &["--test"],
        &["--target", "wasm32-unknown-unknown"],
    ];
    for more in others {
        assert!(ids.insert(told(&here, "1", more)), "{more:?}: {ids:?}");
    }
    let run = here.compile_in("other", "1");
    assert!(ids.insert(run.stdout), "another package: {ids:?}");
}

/// What is told twice is somebody else's doing, as are crates that cargo does not compile incrementally.
#[test]
fn what_is_not_cargos_alone_keeps_its_id() {
    let here = Here::new(SAY);
    assert_eq!(
        told(&here, "1", &["-C", "metadata=more"]),
        "metadata=1\nmetadata=more\n"
    );
}

/// Where the unit that cargo calls `1` has a session of rustc's.
const OTHERS: &str = "target/debug/incremental/foo-1/foo-x";
/// Says what the session has that was placed for the unit that cargo calls `2`; rustc would use it, or crash on it.
const SAY_PLACED: &str =
    "cat target/debug/incremental/foo-2/foo-x/s-9ugxnorjls-2-y/dep-graph.bin 2>/dev/null; exit 0";

/// Returns a unit that was compiled, and left a session.
fn with_a_session(script: &str) -> Here {
    let here = Here::new(script);
    assert_eq!(here.compile_as("1", &[]).code, 0);
    let session = format!("{OTHERS}/s-hoesqv6wan-2-y/dep-graph.bin");
    here.scratch.write(session, "of another version");
    here.scratch
        .write(format!("{OTHERS}/s-hoesqv6wan-2.lock"), "");
    here
}

/// After another version of a member, all of it would be compiled from nothing.
#[test]
fn what_cargo_calls_otherwise_begins_from_the_session_before() {
    let here = with_a_session(SAY_PLACED);
    assert_eq!(here.compile_as("2", &[]).stdout, "of another version");
    let inherited = Began::Seeded {
        commit: None,
        reused: 0,
        total: 0,
    };
    assert_eq!(here.note_of("2").began, inherited);
    let left = here.scratch.path(format!("{OTHERS}/s-hoesqv6wan-2-y"));
    assert!(left.is_dir(), "who goes back to that version has nothing");
}

/// A session by other arguments is of no use, and one of the unit's own is better.
#[test]
fn a_session_is_inherited_only_where_there_is_nothing_better() {
    let here = with_a_session(SAY_PLACED);
    assert_eq!(here.compile_as("2", &["--warn=unused"]).stdout, "");
    let mut off = here.command(&here.args_of("src/lib.rs", "2", &[]));
    let off = output(off.env("HEADSTART_SEED", "0"));
    assert_eq!(off.stdout, "");
    let own = OTHERS.replace("foo-1", "foo-2");
    let session = format!("{own}/s-hoesqv6wao-3-z/dep-graph.bin");
    here.scratch.write(session, "of its own");
    here.scratch.write(format!("{own}/s-hoesqv6wao-3.lock"), "");
    assert_eq!(here.compile_as("2", &[]).stdout, "");
    assert_eq!(here.note_of("2").began, Began::NoSession);
}

/// rustc never meets a session of another version without us: where it crashes on one, the build would fail.
#[test]
fn a_crash_on_what_was_inherited_is_compiled_again_without_it() {
    let crashes = SAY_PLACED.replace("; exit 0", " && exit 101; echo done");
    let here = with_a_session(&crashes);
    let run = here.compile_as("2", &[]);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (0, "of another versiondone\n")
    );
    let said = "rustc panicked on a session of another version or other dependencies for foo; compiling it again without";
    assert_eq!(run.stderr.matches(said).count(), 1, "{}", run.stderr);
    let note = here.note_of("2");
    let how = "panicked".to_owned();
    assert_eq!(note.began, Began::SeedCrashed { commit: None, how });
    assert!(note.compiled.crashed, "its state would be published");
}

/// A session that is half copied would be linked into a wrong program.
#[test]
fn a_session_that_goes_while_it_is_copied_is_not_inherited() {
    let here = with_a_session(SAY_PLACED);
    let session = here.scratch.path(format!("{OTHERS}/s-hoesqv6wan-2-y/gone"));
    std::os::unix::fs::symlink("nowhere", session).expect("it is ours");
    assert_eq!(here.compile_as("2", &[]).stdout, "");
    assert_eq!(here.note_of("2").began, Began::NoSession);
}

/// Where plain cargo compiled a member in between, a session names it by an id that it has not any more, and rustc may crash on that for ever.
#[test]
fn a_crash_on_rustcs_own_session_is_compiled_again_without_it() {
    let crashes = format!("[ -e {OTHERS} ] && {{ echo oops >&2; exit 101; }}; exit 0");
    let here = with_a_session(&crashes);
    let run = here.compile_as("1", &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let said = "rustc panicked on what it had made here for foo; compiling it again without";
    assert_eq!(run.stderr.matches(said).count(), 1, "{}", run.stderr);
    let how = "panicked".to_owned();
    assert_eq!(here.note_of("1").began, Began::OwnCrashed { how });
    // A crash that no session is to blame for is one.
    let here = Here::new("echo oops >&2; exit 101");
    let run = here.compile_as("1", &[]);
    assert_eq!((run.code, run.stderr.as_str()), (101, "oops\n"));
}

/// Objects that name the debug information of another unit would have it missing, or another version's.
#[test]
fn debug_information_in_files_of_its_own_keeps_cargos_id() {
    let here = Here::new(SAY);
    let unpacked = ["-C", "split-debuginfo=unpacked"];
    assert_eq!(told(&here, "1", &unpacked), "metadata=1\n");
}
