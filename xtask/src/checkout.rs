//! A clone of the workspace under trial, and the commands run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, TOOL_LIMIT};

/// Variables that would make a build differ from the one a user types; prefixes end in `_`.
///
/// RUSTUP_TOOLCHAIN stays: all parties use the toolchain that runs xtask.
const UNWANTED: &str = "CARGO CARGO_BIN_ CARGO_BUILD_ CARGO_CRATE_NAME CARGO_ENCODED_RUSTFLAGS \
    CARGO_INCREMENTAL CARGO_LOG CARGO_MAKEFLAGS CARGO_MANIFEST_ CARGO_PKG_ CARGO_PRIMARY_PACKAGE \
    CARGO_PROFILE_ CARGO_TARGET_ GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE MAKEFLAGS OUT_DIR RUSTC RUSTC_ \
    RUSTDOC RUSTDOCFLAGS RUSTFLAGS";

/// A clone at one path, used with one CARGO_HOME.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    pub(crate) dir: PathBuf,
    /// None: the user's.
    pub(crate) cargo_home: Option<PathBuf>,
}

impl Checkout {
    /// Clones `repo` to the scratch path `name`, which must be absent, and checks `commit` out.
    pub(crate) fn clone(lab: &Lab, repo: &Path, name: &str, commit: &str) -> Result<Checkout> {
        let checkout = Checkout {
            dir: lab.path(name),
            cargo_home: None,
        };
        ensure!(
            !checkout.dir.exists(),
            "{} is there already",
            checkout.dir.display()
        );
        let mut git = clean(Command::new("git"));
        git.args(["clone", "--quiet", "--shared", "--no-checkout"])
            .arg(repo)
            .arg(&checkout.dir);
        lab.tool(&format!("clone {name}"), &mut git)?;
        checkout.switch(lab, commit)?;
        Ok(checkout)
    }

    /// Checks `commit` out, touching only files that differ.
    pub(crate) fn switch(&self, lab: &Lab, commit: &str) -> Result<()> {
        let mut git = self.command("git");
        lab.tool(
            "checkout",
            git.args(["checkout", "--quiet", "--detach", commit]),
        )
        .map(drop)
    }

    /// Returns a command that runs `program` here, with a clean environment and without the network.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = clean(Command::new(program.as_ref()));
        command
            .current_dir(&self.dir)
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_NET_OFFLINE", "true");
        if let Some(home) = &self.cargo_home {
            command.env("CARGO_HOME", home);
        }
        command
    }

    /// Returns the lockfile's text if git does not track it, after cargo has made it; None if git does.
    ///
    /// Such a lockfile is part of no commit, so that every party must be given the same one.
    pub(crate) fn loose_lock(&self, lab: &Lab) -> Result<Option<Vec<u8>>> {
        let listed = lab.tool(
            "ls-files",
            self.command("git").args(["ls-files", "--", "Cargo.lock"]),
        )?;
        let path = self.dir.join("Cargo.lock");
        if !listed.stdout()?.trim().is_empty() || !path.exists() {
            return Ok(None);
        }
        Ok(Some(fs::read(path)?))
    }

    /// Writes `loose_lock`'s answer of another checkout here, if it says something new.
    pub(crate) fn give_lock(&self, lock: Option<&[u8]>) -> Result<()> {
        let path = self.dir.join("Cargo.lock");
        match lock {
            Some(text) if fs::read(&path).ok().as_deref() != Some(text) => {
                Ok(fs::write(path, text)?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Downloads the dependencies into CARGO_HOME; says so and goes on if that fails, since they may all be there.
    pub(crate) fn fetch(&self, lab: &Lab) -> Result<()> {
        let mut online = self.command("cargo");
        let outcome = lab.run(
            "cargo fetch",
            online.arg("fetch").env_remove("CARGO_NET_OFFLINE"),
            TOOL_LIMIT,
        )?;
        if outcome.code != Some(0) {
            lab.say(format!(
                "cargo fetch failed, going on without the network:\n{}",
                outcome.error_tail()?
            ));
            let mut offline = self.command("cargo");
            lab.tool(
                "cargo fetch --offline",
                offline.args(["fetch", "--offline"]),
            )?;
        }
        Ok(())
    }

    /// Gives every file and directory outside `.git` the modification time `time`; symlinks are not followed.
    pub(crate) fn age_sources(&self, time: SystemTime) -> Result<()> {
        age(&self.dir, time)
    }
}

/// Returns the newest `count` first-parent commits up to `revision`, oldest first.
///
/// Fails when the history is shorter.
pub(crate) fn commits(lab: &Lab, repo: &Path, revision: &str, count: usize) -> Result<Vec<String>> {
    let mut git = clean(Command::new("git"));
    git.arg("-C").arg(repo).args([
        "rev-list",
        "--first-parent",
        &format!("--max-count={count}"),
    ]);
    let listed = lab
        .tool("rev-list", git.args(["--end-of-options", revision]))?
        .stdout()?;
    let mut commits: Vec<String> = listed.lines().map(str::to_owned).collect();
    ensure!(
        commits.len() == count,
        "{} has {} first-parent commits up to {revision}, {count} wanted",
        repo.display(),
        commits.len()
    );
    commits.reverse();
    Ok(commits)
}

/// Returns the first characters of a commit's name.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// Returns `command` without the variables of a cargo or git that started us.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_unwanted) {
            command.env_remove(name);
        }
    }
    command
}

fn is_unwanted(name: &str) -> bool {
    UNWANTED
        .split_whitespace()
        .any(|unwanted| name == unwanted || unwanted.ends_with('_') && name.starts_with(unwanted))
}

fn age(directory: &Path, time: SystemTime) -> Result<()> {
    for entry in
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && entry.file_name() != ".git" {
            age(&path, time)?;
        } else if kind.is_file() {
            set_time(&path, time)?;
        }
    }
    set_time(directory, time)
}

fn set_time(path: &Path, time: SystemTime) -> Result<()> {
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.set_modified(time)
        .with_context(|| format!("cannot set the time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::is_unwanted;

    /// A CARGO_HOME that got lost would download the world; a CARGO_TARGET_DIR that stayed would mix the parties.
    #[test]
    fn keeps_what_is_the_users() {
        assert!(
            !is_unwanted("CARGO_HOME") && !is_unwanted("PATH") && !is_unwanted("RUSTUP_TOOLCHAIN")
        );
        assert!(!is_unwanted("CARGO_NET_OFFLINE") && !is_unwanted("CARGO_HTTP_PROXY"));
        assert!(
            is_unwanted("CARGO") && is_unwanted("CARGO_TARGET_DIR") && is_unwanted("RUSTC_WRAPPER")
        );
        assert!(
            is_unwanted("CARGO_PKG_NAME") && is_unwanted("RUSTFLAGS") && is_unwanted("GIT_DIR")
        );
    }
}
