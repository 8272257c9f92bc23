//! Runs the headstart program as a user whose home directory is empty.
//!
//! Knows nothing of headstart but that it takes `--store` after a subcommand and may print JSON.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Build, Scratch, environment, home};

/// Returns a runner of the program at `bin`, in `directory`.
pub fn headstart(bin: &Path, directory: impl AsRef<Path>) -> Headstart {
    Headstart {
        bin: bin.to_owned(),
        directory: directory.as_ref().to_owned(),
        store: None,
        arguments: Vec::new(),
        variables: Vec::new(),
        user: Scratch::new(),
    }
}

/// A headstart command to be; may be run several times, and keeps one user's home directory for all of them.
#[derive(Debug)]
pub struct Headstart {
    bin: PathBuf,
    directory: PathBuf,
    store: Option<OsString>,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    user: Scratch,
}

impl Headstart {
    /// Names the store, a directory or a URL; it is passed as `--store` right after the subcommand.
    pub fn store(mut self, store: impl AsRef<OsStr>) -> Self {
        self.store = Some(store.as_ref().to_owned());
        self
    }

    /// Sets CARGO_HOME; without it the user's own is used.
    pub fn home(self, path: impl AsRef<Path>) -> Self {
        self.env("CARGO_HOME", path.as_ref())
    }

    /// Sets any variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the subcommand and its arguments, in place of those before.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        self
    }

    /// Returns the directory that stands for the user's home: HOME, with XDG_*_HOME below it.
    pub fn user_home(&self) -> &Path {
        self.user.root()
    }

    /// Runs it to its end; an exit code other than 0 is in `code`, not a panic.
    pub fn run(&self) -> Output {
        let output = self
            .command()
            .output()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.bin.display()));
        Output {
            code: exit_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns the command itself, not started, for tests that spawn, watch or kill it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.bin);
        environment::isolate_git(environment::clean(&mut command))
            .current_dir(&self.directory)
            .env("HOME", self.user.root())
            .env("CARGO_HOME", home::default_cargo_home())
            .env("RUSTUP_HOME", home::default_rustup_home())
            .env("CARGO_TERM_COLOR", "never")
            .env("NO_COLOR", "1");
        for kind in ["CACHE", "CONFIG", "DATA", "STATE"] {
            let below = self.user.path(kind.to_lowercase());
            command.env(format!("XDG_{kind}_HOME"), below);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let (subcommand, rest) = self.arguments.split_at(self.arguments.len().min(1));
        command.args(subcommand);
        if let Some(store) = &self.store {
            command.arg("--store").arg(store);
        }
        command.args(rest);
        command
    }
}

/// What one run of headstart printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code, or 128 + the signal that ended it, as a shell counts.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Output {
    /// Returns itself where the code is 0, else panics with all that was printed.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(
            self.code, 0,
            "headstart failed:\n{}\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Returns itself where the code is not 0, else panics with all that was printed.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert_ne!(
            self.code, 0,
            "headstart should fail:\n{}\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Returns stdout parsed as JSON; panics with it where it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}):\n{}\n{}", self.stdout, self.stderr))
    }

    /// Returns what the cargo inside did; set CARGO_TERM_VERBOSE=true for it to say so.
    pub fn build(&self) -> Build {
        Build::parse(self.code == 0, &self.stdout, &self.stderr)
    }
}

#[cfg(unix)]
fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => -1,
    }
}

#[cfg(not(unix))]
fn exit_code(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    // Without it, a test would write into the cache of whoever runs it, or miss the store it names.
    #[test]
    fn it_runs_away_from_the_users_home_with_the_store_after_the_subcommand() {
        let scratch = Scratch::new();
        let run = headstart(Path::new("/bin/sh"), scratch.root())
            .args([
                "-c",
                "echo $HOME; echo $XDG_CACHE_HOME; echo ${RUSTFLAGS-none}; exit 3",
            ])
            .env("RUSTFLAGS", "");
        let output = run.run();
        let home = run.user_home().display();
        assert_eq!(output.stdout, format!("{home}\n{home}/cache\n\n"));
        assert_eq!(output.code, 3);

        let echo = headstart(Path::new("/bin/echo"), scratch.root())
            .store("/s")
            .args(["start", "--json"]);
        assert_eq!(echo.run().stdout, "start --store /s --json\n");
    }

    #[test]
    fn a_signal_is_told_from_an_exit() {
        let scratch = Scratch::new();
        let killed = headstart(Path::new("/bin/sh"), scratch.root()).args(["-c", "kill -9 $$"]);
        assert_eq!(killed.run().code, 137);
    }
}
