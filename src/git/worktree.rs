//! Further work tree of a repository, made and moved without a look at the user's own.
//!
//! Hooks do not run, and nothing watches it: it is nobody's place to work.

use std::path::Path;
use std::process::Command;

use super::{GitError, Repository, ask, git};

/// What keeps the user's configuration out of it.
const PLAINLY: [&str; 3] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "advice.detachedHead=false",
];

/// Makes a work tree of `repository` at `path`, which is not there, with `commit` checked out.
pub fn add(repository: &Repository, path: &Path, commit: &str) -> Result<(), GitError> {
    let add = ["worktree", "add", "--quiet", "--force", "--detach"];
    ask(plainly(&repository.root).args(add).arg(path).arg(commit)).map(drop)
}

/// Checks `commit` out in the work tree at `path`; removes all else there but what is named `kept`.
pub fn switch(path: &Path, commit: &str, kept: &str) -> Result<(), GitError> {
    let checkout = ["checkout", "--quiet", "--force", "--detach", commit];
    ask(plainly(path).args(checkout))?;
    ask(plainly(path).args(["clean", "-ffdxq", "--exclude", kept])).map(drop)
}

/// Removes the work tree at `path`.
pub fn remove(repository: &Repository, path: &Path) -> Result<(), GitError> {
    let remove = ["worktree", "remove", "--force"];
    ask(plainly(&repository.root).args(remove).arg(path)).map(drop)
}

fn plainly(dir: &Path) -> Command {
    let mut git = git(dir);
    git.args(PLAINLY.iter().flat_map(|setting| ["-c", setting]));
    git
}
