//! A store, a publisher and a reader, each with a place of its own.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};

use headstart_testkit::{Cargo, Headstart, Scratch, Workspace, cargo_home, fixture, headstart};
use serde_json::Value;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_headstart");

/// Where one test keeps its store, its clones and its CARGO_HOMEs.
pub struct Place {
    pub scratch: Scratch,
}

impl Place {
    pub fn new() -> Place {
        Place { scratch: Scratch::new() }
    }

    pub fn store(&self) -> PathBuf {
        self.scratch.path("store")
    }
}

/// A fresh clone with a CARGO_HOME of its own, after `headstart start`.
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
}

/// Returns the reason codes that `started` gives for units whose name ends with `unit`.
pub fn reasons(started: &Value, unit: &str) -> Vec<String> {
    let decisions = started["decisions"].as_array().expect("start --json lists its decisions");
    let of = |one: &&Value| one["unit"].as_str().is_some_and(|name| name.ends_with(unit));
    let code = |one: &Value| one["reason"]["code"].as_str().map(str::to_owned);
    decisions.iter().filter(of).filter_map(code).collect()
}

/// The runner of headstart in `dir`.
pub fn runner(dir: &Path, place: &Place) -> Headstart {
    headstart(Path::new(PROGRAM), dir).store(place.store())
}

/// Publishes what cargo builds with `args`, and returns what publish says.
pub fn publish(workspace: &Workspace, place: &Place, args: &[&str]) -> Value {
    let command = ["publish", "--json", "--"].iter().chain(args).copied().collect::<Vec<_>>();
    let output = runner(workspace.root(), place).args(command).run().succeeded();
    let said = output.json();
    assert_eq!(said["left_out"], serde_json::json!([]), "{}", output.stderr);
    said
}

/// Clones `workspace` to another path, with another CARGO_HOME, and starts there.
pub fn start_elsewhere(workspace: &Workspace, place: &Place, args: &[&str]) -> There {
    let clone = workspace.clone_to(&place.scratch.path("elsewhere/deep/clone"));
    let home = cargo_home(&place.scratch.path("another-home"), fixture::REGISTRY_CRATES);
    let started = start_in(clone.root(), place, &home, args);
    There { clone, home, started }
}

/// Runs `headstart start` in `dir`, and returns what it says.
pub fn start_in(dir: &Path, place: &Place, home: &Path, args: &[&str]) -> Value {
    let command = ["start", "--json"].iter().chain(args).copied().collect::<Vec<_>>();
    runner(dir, place).home(home).args(command).run().succeeded().json()
}
