//! Further work tree of a repository, made and moved without a look at the user's own.
//!
//! Hooks do not run, and nothing watches it: it is nobody's place to work.

use std::ffi::OsStr;
use std::path::Path;

use super::{GitError, Repository, run};

/// What keeps the user's configuration out of it.
const PLAINLY: [&str; 3] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "advice.detachedHead=false",
];

/// Makes a work tree of `repository` at `path`, which is not there, with `commit` checked out.
pub fn add(repository: &Repository, path: &Path, commit: &str) -> Result<(), GitError> {
    let add = ["worktree", "add", "--quiet", "--force", "--detach"].map(OsStr::new);
    let args = [&add[..], &[path.as_os_str(), OsStr::new(commit)]].concat();
    plainly(&repository.root, &args)
}

/// Checks `commit` out in the work tree at `path`; removes all else there but what is named `kept`.
pub fn switch(path: &Path, commit: &str, kept: &str) -> Result<(), GitError> {
    let checkout = ["checkout", "--quiet", "--force", "--detach", commit];
    plainly(path, &checkout.map(OsStr::new))?;
    let clean = ["clean", "-ffdxq", "--exclude", kept];
    plainly(path, &clean.map(OsStr::new))
}

/// Removes the work tree at `path`.
pub fn remove(repository: &Repository, path: &Path) -> Result<(), GitError> {
    let remove = ["worktree", "remove", "--force"].map(OsStr::new);
    let args = [&remove[..], &[path.as_os_str()]].concat();
    plainly(&repository.root, &args)
}

fn plainly(dir: &Path, args: &[&OsStr]) -> Result<(), GitError> {
    let settings = PLAINLY.iter().flat_map(|setting| ["-c", setting]);
    let all = settings.map(OsStr::new).chain(args.iter().copied());
    run(dir, all).map(|_| ())
}
