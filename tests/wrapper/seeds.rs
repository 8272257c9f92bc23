//! From which session a unit begins, and what becomes of that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use headstart::model::{Began, Digest};
use headstart::store::Store;
use headstart_testkit::clean;

use crate::common::around::output;
use crate::common::driver::{PROBE, driver};
use crate::common::{self, PROGRAM};
use crate::here::Here;

/// The session would be thrown away whole, or taken for one of another unit.
#[test]
fn a_seed_is_placed_with_this_machines_hashes() {
    let here = Here::new(&format!("{PROBE}cat \"$graph\""));
    here.seed(&here.arguments());
    let run = here.compile(&[]);
    Here::shows_the_seed(&run);
    let reason = here.note().began;
    assert!(matches!(reason, Began::Seeded { .. }), "{reason:?}");
}

/// A session made by other arguments would pass for this line's, and give another program.
#[test]
fn a_seed_of_other_arguments_is_not_placed() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&Digest::of(b"others"));
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::OtherArguments);
}

/// Another build of rustc that says the same of its version would get a session of a rustc that it knows nothing of.
#[test]
fn a_seed_of_another_compiler_is_not_placed() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&here.arguments());
    let shell =
        "cat \"$1\" > \"$2.new\"; echo >> \"$2.new\"; chmod +x \"$2.new\"; mv \"$2.new\" \"$2\"";
    let mut copy = Command::new("sh");
    let copy = copy.args(["-c", shell, "sh"]).arg(driver());
    assert_eq!(output(copy.arg(&here.rustc)).code, 0);
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::OtherArguments);
}

/// A script adds what it likes to the arguments; a program that some other option was given would come out.
#[test]
fn a_compiler_that_is_a_script_gets_no_seed() {
    for script_is_behind in [false, true] {
        let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
        here.seed(&here.arguments());
        let script = here.scratch.path("script/rustc");
        let text = "#!/bin/sh\n# librustc_driver\n";
        here.scratch.write("script/rustc", text);
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut programs = [script, here.rustc.clone()];
        programs.rotate_left(usize::from(script_is_behind));
        let mut command = Command::new(PROGRAM);
        let command = command.args(programs).args(here.args(&[]));
        output(clean(command).current_dir(here.scratch.root()));
        let note = here.note();
        let found = (note.began, note.compiled.arguments);
        assert_eq!(found, (Began::UnsureCompiler, None));
    }
}

/// Whoever suspects the seeds must be able to go without.
#[test]
fn seeding_can_be_turned_off() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&here.arguments());
    let mut command = here.command(&here.args(&[]));
    let run = output(command.env("HEADSTART_SEED", "0"));
    assert_eq!(run.stdout, "graph: \n");
    assert_eq!(here.note().began, Began::SeedingOff);
}

/// A damaged object that reached rustc would be linked into a wrong program.
#[test]
fn a_damaged_seed_is_not_placed() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let digest = here.seed(&here.arguments());
    let store = Store::open(&here.scratch.path("store")).expect("the store was made");
    common::chain::flip(&store.object(digest));
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::SeedLost);
}

/// What rustc made here itself is newer than any seed.
#[test]
fn a_session_of_rustcs_own_stays() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&here.arguments());
    here.scratch.write(
        "target/debug/incremental/foo-1/foo-1/s-hoesqv6wan-2-y/dep-graph.bin",
        "own",
    );
    here.scratch.write(
        "target/debug/incremental/foo-1/foo-1/s-hoesqv6wan-2.lock",
        "",
    );
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::OwnSession);
    assert!(
        here.scratch
            .path("target/debug/incremental/foo-1/foo-1/s-hoesqv6wan-2-y")
            .is_dir()
    );
}

/// A session from another branch would stay for ever, although a better one was published.
#[test]
fn a_session_that_a_start_found_worse_gives_way() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let own = "target/debug/incremental/foo-1/foo-1/s-hoesqv6wan-2-y";
    let arguments = here.arguments();
    for (replaced, gone) in [("s-hoesqv6wan-1-x", false), ("s-hoesqv6wan-2-y", true)] {
        here.scratch.write(format!("{own}/dep-graph.bin"), "own");
        here.scratch.write(
            "target/debug/incremental/foo-1/foo-1/s-hoesqv6wan-2.lock",
            "",
        );
        here.seed_instead_of(&arguments, Some(replaced));
        let run = here.compile(&[]);
        assert_eq!(run.stdout.contains("s-9ugxnorjls"), gone, "{}", run.stdout);
        assert_eq!(here.scratch.path(own).exists(), !gone, "{replaced}");
    }
}

/// A rustc that crashes on a seed would fail a build that passes without us, and cargo would hear twice that the
/// unit's metadata is ready.
#[test]
fn a_crash_on_a_seed_is_compiled_again_without_it() {
    let line = r#"{"$message_type":"artifact","artifact":"x.rmeta","emit":"metadata"}"#;
    for (crash, how) in [
        ("exit 101", "panicked"),
        ("kill -SEGV $$", "was ended by signal 11"),
    ] {
        let script =
            format!("{PROBE}echo '{line}' >&2\n[ -z \"$graph\" ] || {crash}\necho done >&2");
        let here = Here::new(&script);
        here.seed(&here.arguments());
        let run = here.compile(&[]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(run.stderr.matches(line).count(), 1, "{}", run.stderr);
        assert_eq!(
            run.stderr.matches("compiling it again").count(),
            1,
            "{}",
            run.stderr
        );
        assert!(run.stderr.ends_with("done\n"), "{}", run.stderr);
        let note = here.note();
        assert!(note.compiled.crashed, "its state would be published");
        let commit = Some("c0ffee".to_owned());
        let how = how.to_owned();
        assert_eq!(note.began, Began::SeedCrashed { commit, how });
        here.compile(&[]);
        assert_eq!(
            here.note().began,
            Began::NoSession,
            "the seed is gone for good"
        );
    }
}

/// An error in a source would be printed twice, after twice the time.
#[test]
fn an_error_in_a_source_is_reported_once() {
    for (script, code) in [("exit 1", 1), ("kill -TERM $$", 143), ("kill -INT $$", 130)] {
        let here = Here::new(&format!("{PROBE}echo wrong >&2; {script}"));
        here.seed(&here.arguments());
        let run = here.compile(&[]);
        assert_eq!(
            (run.code, run.stderr.as_str()),
            (code, "wrong\n"),
            "{script}"
        );
        assert_eq!(
            fs::read_dir(here.scratch.path("target/debug/incremental/foo-1/foo-1"))
                .map(Iterator::count)
                .ok(),
            Some(2)
        );
    }
}

/// Asking rustc for its hash costs 30 ms and more, each time.
#[test]
fn the_probe_runs_once_for_each_set_of_arguments() {
    let count = "echo probe >> probes;";
    let script = PROBE.replace("for arg in", &format!("{count} for arg in"));
    let here = Here::new(&format!("{script}true"));
    here.seed(&here.arguments());
    let probes =
        || fs::read_to_string(here.scratch.path("probes")).map_or(0, |text| text.lines().count());
    here.compile(&[]);
    here.compile(&[]);
    assert_eq!(probes(), 1);
}
