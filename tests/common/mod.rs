//! A store, a publisher and a reader, each with a place of its own.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test file uses its part"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headstart_testkit::{
    Build, Cargo, Headstart, Scratch, Workspace, cargo_home, fixture, headstart,
};
use serde_json::Value;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_headstart");

/// Where one test keeps its store, its clones and its CARGO_HOMEs.
pub struct Place {
    pub scratch: Scratch,
}

impl Place {
    pub fn new() -> Place {
        Place {
            scratch: Scratch::new(),
        }
    }

    pub fn store(&self) -> PathBuf {
        self.scratch.path("store")
    }
}

/// A clone with a CARGO_HOME of its own, and what `headstart start` said there, if it ran.
pub struct There {
    pub clone: Workspace,
    pub home: PathBuf,
    pub started: Value,
}

impl There {
    pub fn cargo(&self) -> Cargo {
        self.clone.cargo().home(&self.home)
    }

    /// Starts once more, and returns what it says.
    pub fn start(&self, place: &Place, args: &[&str]) -> Value {
        start_in(self.clone.root(), place, &self.home, args)
    }

    /// The verdicts' reason codes for the unit whose name ends with `unit`.
    pub fn reasons(&self, unit: &str) -> Vec<String> {
        reasons(&self.started, unit)
    }

    /// Runs each cargo command, and panics if one of them runs rustc or a build script.
    #[track_caller]
    pub fn rests(&self, commands: &[&[&str]]) -> Vec<Build> {
        let run = |command: &&[&str]| rests(&self.cargo(), command);
        commands.iter().map(run).collect()
    }
}

/// Runs a cargo command that has nothing to do, and returns what cargo said.
#[track_caller]
pub fn rests(cargo: &Cargo, command: &[&str]) -> Build {
    let build = cargo.run(command).succeeded();
    let (ran, why) = (build.units(), &build.dirty);
    assert!(
        ran.is_empty(),
        "`cargo {}` ran {ran:#?} because of {why:#?}",
        command.join(" ")
    );
    build
}

/// Returns what cargo compiled and ran, in order of their names.
pub fn named(build: &Build) -> Vec<String> {
    build.crates_compiled().into_iter().collect()
}

/// Returns the reason codes that `started` gives for units whose name ends with `unit`.
pub fn reasons(started: &Value, unit: &str) -> Vec<String> {
    column(started, unit, |one| &one["reason"]["code"])
}

/// Returns the verdicts that `started` gives for units whose name ends with `unit`.
pub fn verdicts(started: &Value, unit: &str) -> Vec<String> {
    column(started, unit, |one| &one["verdict"])
}

fn column(started: &Value, unit: &str, of: impl Fn(&Value) -> &Value) -> Vec<String> {
    let decisions = started["decisions"]
        .as_array()
        .unwrap_or_else(|| panic!("start --json lists its decisions: {started}"));
    let named = |one: &&Value| {
        one["unit"]
            .as_str()
            .is_some_and(|name| name.ends_with(unit))
    };
    let text = |one: &Value| of(one).as_str().map(str::to_owned);
    decisions.iter().filter(named).filter_map(text).collect()
}

/// Returns how many units got each verdict: fresh, kept, near, absent.
pub fn counts(started: &Value) -> [u64; 4] {
    ["fresh", "kept", "near", "absent"].map(|verdict| {
        started["units"][verdict]
            .as_u64()
            .unwrap_or_else(|| panic!("start --json counts its verdicts: {started}"))
    })
}

/// Waits for what another process or thread does; panics if that takes very long.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(300), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The runner of headstart in `dir`.
pub fn runner(dir: &Path, place: &Place) -> Headstart {
    headstart(Path::new(PROGRAM), dir).store(place.store())
}

/// Publishes what cargo builds with `args`, and returns what publish says.
pub fn publish(workspace: &Workspace, place: &Place, args: &[&str]) -> Value {
    publish_by(runner(workspace.root(), place), args)
}

/// Does the same with a runner of the test's own.
pub fn publish_by(runner: Headstart, args: &[&str]) -> Value {
    let command = ["publish", "--json", "--"].iter().chain(args);
    let output = runner.args(command).run().succeeded();
    let said = output.json();
    assert_eq!(said["left_out"], serde_json::json!([]), "{}", output.stderr);
    said
}

/// Clones `workspace` to `name` in `place`, with another CARGO_HOME than the publisher's; nothing is started.
pub fn clone_elsewhere(workspace: &Workspace, place: &Place, name: &str) -> There {
    let clone = workspace.clone_to(&place.scratch.path(name));
    let home = place.scratch.path("another-home");
    if !home.exists() {
        cargo_home(&home, fixture::REGISTRY_CRATES);
    }
    There {
        clone,
        home,
        started: Value::Null,
    }
}

/// Clones `workspace` to another path, with another CARGO_HOME, and starts there.
pub fn start_elsewhere(workspace: &Workspace, place: &Place, args: &[&str]) -> There {
    let there = clone_elsewhere(workspace, place, "elsewhere/deep/clone");
    let started = there.start(place, args);
    There { started, ..there }
}

/// Runs `headstart start` in `dir`, and returns what it says.
pub fn start_in(dir: &Path, place: &Place, home: &Path, args: &[&str]) -> Value {
    start_by(runner(dir, place).home(home), args)
}

/// Does the same with a runner of the test's own.
pub fn start_by(runner: Headstart, args: &[&str]) -> Value {
    let command = ["start", "--json"].iter().chain(args);
    runner.args(command).run().succeeded().json()
}

/// A program `app` of these files, with `more` behind the package in its `Cargo.toml`.
pub fn app(more: &str, files: &[(&str, &str)]) -> Workspace {
    let manifest =
        format!("[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}");
    let lock = fixture::Lock::new().local("app", &[]).file();
    let own = [(".gitignore", "/target\n"), ("Cargo.toml", &*manifest)];
    let own = own.into_iter().chain([("Cargo.lock", &*lock.1)]);
    Workspace::new(own.chain(files.iter().copied()))
}

pub mod around;
pub mod chain;
pub mod driver;

/// Asserts that all of `workspace` is fresh once its target directory is removed, and it started where it was published.
#[track_caller]
pub fn is_fresh_at_the_same_path(workspace: &Workspace, place: &Place) {
    workspace.remove("target");
    let started = start_by(runner(workspace.root(), place), &[]);
    assert_eq!(counts(&started)[1..], [0, 0, 0], "{started}");
    rests(&workspace.cargo(), &["build"]);
}
