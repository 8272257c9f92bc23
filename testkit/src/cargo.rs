//! Runs the real cargo in a clean environment.
//!
//! Nothing of the cargo that runs the tests reaches it, but the toolchain that rustup chose.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Build, environment};

/// A cargo command to be: where, and with which variables; may be run several times.
#[derive(Debug, Clone)]
pub struct Cargo {
    directory: PathBuf,
    variables: Vec<(OsString, Option<OsString>)>,
}

impl Cargo {
    /// Returns a cargo that runs in `directory`.
    pub fn in_dir(directory: impl AsRef<Path>) -> Self {
        Self {
            directory: directory.as_ref().to_owned(),
            variables: Vec::new(),
        }
    }

    /// Sets CARGO_HOME; without it the user's own is used.
    pub fn home(self, path: impl AsRef<Path>) -> Self {
        self.env("CARGO_HOME", path.as_ref())
    }

    /// Sets the target directory; without it `target` in the workspace, or what the workspace's own configuration says.
    pub fn target_dir(self, path: impl AsRef<Path>) -> Self {
        self.env("CARGO_TARGET_DIR", path.as_ref())
    }

    /// Sets RUSTC_WRAPPER.
    pub fn wrapper(self, path: impl AsRef<Path>) -> Self {
        self.env("RUSTC_WRAPPER", path.as_ref())
    }

    /// Chooses a rustup toolchain, as `cargo +name` does.
    pub fn toolchain(self, name: &str) -> Self {
        self.env("RUSTUP_TOOLCHAIN", name)
    }

    /// Forbids the network.
    pub fn offline(self) -> Self {
        self.env("CARGO_NET_OFFLINE", "true")
    }

    /// Sets any variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes any variable.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), None));
        self
    }

    /// Runs cargo to its end and reads what it says it did; a failed build is in `success`, not a panic.
    pub fn run(&self, arguments: &[&str]) -> Build {
        let output = self.command(arguments).output().expect("cargo is in PATH");
        Build::parse(
            output.status.success(),
            &String::from_utf8_lossy(&output.stdout),
            &String::from_utf8_lossy(&output.stderr),
        )
    }

    /// Runs `cargo build` with `arguments`, and panics with cargo's words where it fails.
    #[track_caller]
    pub fn build(&self, arguments: &[&str]) -> Build {
        self.run(&[&["build"], arguments].concat()).succeeded()
    }

    /// Returns the command itself, not started, for tests that spawn or kill it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        // By variables and not by flags, which would stand in different places for different subcommands.
        environment::isolate_git(environment::clean(&mut command))
            .current_dir(&self.directory)
            .args(arguments)
            .env("CARGO_TERM_VERBOSE", "true")
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never");
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}
