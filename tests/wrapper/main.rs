//! The wrapper between cargo and a rustc that does what a test wants: nothing is compiled here.

#[path = "../common/mod.rs"]
mod common;

mod ahead;
mod here;
mod identity;
mod seeds;
mod waiting;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use common::PROGRAM;
use common::around::output;
use common::chain::sane;
use common::driver::fake_rustc;
use headstart::model::Began;
use headstart_testkit::{Output, Scratch, clean};
use here::Here;

/// Runs headstart with `args` in an empty directory.
fn bare(args: &[&str]) -> Output {
    let scratch = Scratch::new();
    let mut command = Command::new(PROGRAM);
    let command = clean(&mut command).current_dir(scratch.root());
    sane(output(command.args(args)))
}

/// cargo asks the compiler through the wrapper: another answer is another compiler.
#[test]
fn the_wrapper_answers_as_rustc_does() {
    let rustc = |args: &[&str]| sane(output(clean(&mut Command::new("rustc")).args(args)));
    let wrapped = |args: &[&str]| bare(&[&["rustc"], args].concat());
    for args in [
        &["-vV"][..],
        &["--print=sysroot"],
        &["--no-such-flag"],
        &["no/such/file.rs"],
        &["--explain", "E0308"],
        &["--version", "--verbose"],
    ] {
        let (plain, own) = (rustc(args), wrapped(args));
        assert_eq!(
            (own.code, own.stdout, own.stderr),
            (plain.code, plain.stdout, plain.stderr)
        );
    }
}

/// A build without its compiler would seem to succeed, or to have crashed.
#[test]
fn a_compiler_that_is_not_there_is_said_so() {
    let run = bare(&["no/such/rustc", "-vV"]);
    assert_eq!(run.code, 127);
    assert!(
        run.stderr.contains("cannot run no/such/rustc"),
        "{}",
        run.stderr
    );
}

/// A flag that headstart does not know would be lost, or a name in another encoding be mangled.
#[test]
fn the_wrapper_passes_every_argument_on() {
    let scratch = Scratch::new();
    let fake = fake_rustc(&scratch, "bin", "printf '%s\\n' \"$@\"");
    let odd = OsStr::from_bytes(b"caf\xe9");
    let args = [
        "--frobnicate=1",
        "@no/such/file",
        "-Zx",
        "",
        "a b",
        "--",
        "-",
    ];
    let mut command = Command::new(PROGRAM);
    let run = clean(&mut command).arg(&fake).args(args).arg(odd).output();
    let expected = [args.join("\n").as_bytes(), b"\n", odd.as_bytes(), b"\n"].concat();
    assert_eq!(run.expect("headstart runs").stdout, expected);
}

/// The exit code of a compiler that crashed would be taken for an error in the sources, or for success.
#[test]
fn the_wrapper_ends_as_rustc_ends() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 101", 101),
        ("kill -9 $$", 137),
    ] {
        let run = Here::new(script).compile(&[]);
        assert_eq!(run.code, code, "{script}: {}", run.stderr);
    }
}

/// A directory that cannot be written would fail the build, for a note that only headstart reads.
#[test]
fn a_note_that_cannot_be_written_fails_nothing() {
    let here = Here::new("printf '%s\\n' \"$@\"; echo told >&2");
    here.scratch.write("target/.headstart", "a file");
    let run = here.compile(&[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, "told\n"));
    assert!(run.stdout.contains("--crate-name\nfoo\n"), "{}", run.stdout);
    let told = run.stdout;
    assert!(told.contains("--remap-path-prefix="), "{told}");
}

/// An absolute output directory is hashed by rustc, and nothing of a session from another path is used.
#[test]
fn rustc_is_told_no_place() {
    let here = Here::new("printf '%s\\n' \"$@\"");
    let given = here.compile(&[]).stdout;
    let root = here.scratch.root().display().to_string();
    let told = |line: &&str| line.contains(&root) && !line.starts_with("--remap-path-prefix=");
    let places: Vec<&str> = given.lines().filter(told).collect();
    let incremental = format!("incremental={root}/target/debug/incremental/foo-1");
    assert_eq!(places, [incremental]);
    assert!(given.contains("--out-dir\ntarget/debug/deps\n"), "{given}");
}

/// A flag of a newer rustc may mean anything: what is added beside it may break the build.
#[test]
fn an_unknown_flag_changes_nothing_and_is_noted() {
    let here = Here::new("printf '%s\\n' \"$@\"");
    let given = here.compile(&["--novel=1"]).stdout;
    assert!(!given.contains("--remap-path-prefix="), "{given}");
    assert!(given.ends_with("--novel=1\n"), "{given}");
    let flag = "--novel=1".to_owned();
    assert_eq!(here.note().began, Began::UnknownFlag { flag });
    assert!(!here.note().compiled.remapped);
}

/// cargo writes a response file where a line is too long: such a unit would be compiled from nothing for ever.
#[test]
fn a_response_file_is_understood() {
    let here = Here::new("printf '%s\\n' \"$@\"; cat \"${1#@}\" 2>/dev/null");
    let file = here.scratch.path("args");
    let args = here.args(&[]);
    fs::write(&file, args.join("\n")).expect("the scratch directory is ours");
    let told = here.wrapped(&[&format!("@{}", file.display())]).stdout;
    assert!(told.starts_with('@') && told.lines().count() > 10, "{told}");
    assert!(told.contains("--out-dir\ntarget/debug/deps\n"), "{told}");
    assert_eq!(here.note().compiled.crate_name, "foo");
}

/// clippy's driver would take the rustc that stands before a response file's arguments for a source.
#[test]
fn a_response_file_behind_clippys_rustc_is_understood() {
    let here = Here::new("printf '%s\\n' \"$1\"; head -n 1 \"${2#@}\"");
    let file = here.scratch.path("args");
    fs::write(&file, here.args(&[]).join("\n")).expect("the scratch directory is ours");
    let run = here.wrapped(&["rustc", &format!("@{}", file.display())]);
    assert!(run.stdout.starts_with("rustc\n--"), "{}", run.stdout);
}
