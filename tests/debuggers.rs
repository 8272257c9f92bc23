//! Debuggers, backtraces and `file!()` show the sources of what was compiled through the wrapper.

mod common;

use std::fs;
use std::process::Command;

use common::around::{output, skipped, succeeds};
use common::{PROGRAM, Place, runner};
use headstart_testkit::fixture::Lock;
use headstart_testkit::{Workspace, clean, headstart};

const MAIN: &str = "fn main() {
    let mut buffer = itoa::Buffer::new();
    println!(\"{} {}\", file!(), buffer.format(7));
    fails(std::env::args().count());
}

fn fails(count: usize) {
    assert!(count > 1, \"told to fail\");
}
";

/// A program that was built through the wrapper, from nothing.
fn built() -> (Place, Workspace) {
    let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nitoa = \"1\"\n";
    let lock = Lock::new().local("app", &["itoa"]).registry("itoa");
    let files = [
        ("Cargo.toml", manifest),
        (".gitignore", "/target\n"),
        ("src/main.rs", MAIN),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let workspace = Workspace::new(files.into_iter().chain([lock.file()]));
    let place = Place::new();
    let start = ["start", "--", "build"];
    runner(workspace.root(), &place)
        .args(start)
        .run()
        .succeeded();
    (place, workspace)
}

/// Runs `debugger` in `dir` on the program, and returns all that it says.
fn debug(workspace: &Workspace, dir: &std::path::Path, debugger: &str, args: &[&str]) -> String {
    let mut command = Command::new(debugger);
    let program = workspace.path("target/debug/app");
    let command = clean(&mut command).current_dir(dir).args(args).arg(program);
    let said = output(command.env("DEBUGINFOD_URLS", ""));
    said.stdout + &said.stderr
}

fn there_is(debugger: &str) -> bool {
    let there = succeeds(Command::new(debugger).arg("--version"));
    if !there {
        skipped(&format!("there is no {debugger}"));
    }
    there
}

/// Writes what `headstart debugger` prints, and returns the file.
fn rules(place: &Place, workspace: &Workspace, debugger: &str) -> String {
    let asked = headstart(std::path::Path::new(PROGRAM), workspace.root());
    let rules = asked.args(["debugger", debugger]).run().succeeded().stdout;
    let file = place.scratch.path("rules");
    fs::write(&file, rules).expect("the scratch directory is ours");
    file.display().to_string()
}

/// Requires that a debugger shows `member` in the workspace's root without help, and there and elsewhere, with the rules
/// that are given behind `option`, a dependency's source as well.
#[track_caller]
fn shows([debugger, option]: &[&str; 2], step: &[&str], member: &str) {
    let (place, workspace) = built();
    let plain = debug(&workspace, workspace.root(), debugger, step);
    assert!(plain.contains(member), "{plain}");
    let rules = rules(&place, &workspace, debugger);
    let told = [&[*option, &rules], step].concat();
    for dir in [workspace.root(), place.scratch.root()] {
        let said = debug(&workspace, dir, debugger, &told);
        assert!(said.contains(member), "in {}: {said}", dir.display());
        assert!(
            said.contains("pub fn new() -> Buffer"),
            "in {}: {said}",
            dir.display()
        );
    }
}

/// Whoever steps through a program would see assembly.
#[test]
fn gdb_shows_sources() {
    if !there_is("gdb") {
        return;
    }
    let step = [
        "-batch",
        "-ex",
        "break app::fails",
        "-ex",
        "run",
        "-ex",
        "frame",
        "-ex",
        "list itoa::Buffer::new",
    ];
    let member = "assert!(count > 1, \"told to fail\");";
    shows(&["gdb", "-x"], &step, member);
}

/// The same for lldb, which most editors use.
#[test]
fn lldb_shows_sources() {
    if !there_is("lldb") {
        return;
    }
    let step = [
        "-b",
        "-o",
        "source list -n app::fails",
        "-o",
        "settings set target.disable-aslr false",
        "-o",
        "breakpoint set -r itoa.*Buffer.*::new",
        "-o",
        "run",
    ];
    let member = "told to fail";
    shows(&["lldb", "-s"], &step, member);
}

/// A path that nobody has on their disk cannot be clicked, nor found.
#[test]
fn panics_and_backtraces_read_as_ever() {
    let (_place, workspace) = built();
    let mut program = Command::new(workspace.path("target/debug/app"));
    let said = output(
        program
            .current_dir(workspace.root())
            .env("RUST_BACKTRACE", "1"),
    );
    assert_eq!(said.stdout, "src/main.rs 7\n");
    assert!(
        said.stderr.contains("panicked at src/main.rs:8:5"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("at ./src/main.rs:8:5"),
        "{}",
        said.stderr
    );
}
