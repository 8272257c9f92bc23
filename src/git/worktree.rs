//! Further work tree of a repository, made and moved without a look at the user's own.
//!
//! Hooks do not run, and nothing watches it: it is nobody's place to work.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{GitError, Repository, ask, git};

/// What keeps the user's configuration out of it.
const PLAINLY: [&str; 3] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "advice.detachedHead=false",
];
/// How long another process's half-made work tree is waited for: twice as long each time, 2.5 s in all.
const PAUSES: [u64; 8] = [10, 20, 40, 80, 160, 320, 640, 1280];

/// Makes a work tree of `repository` at `path`, which is not there, with `commit` checked out.
pub fn add(repository: &Repository, path: &Path, commit: &str) -> Result<(), GitError> {
    let add = ["worktree", "add", "--quiet", "--force", "--detach"];
    patiently(plainly(&repository.root).args(add).arg(path).arg(commit))
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
    patiently(plainly(&repository.root).args(remove).arg(path))
}

/// Runs `git`; again, after a pause, where it stumbles over a work tree of the repository that another process is making.
///
/// git looks at all of them, and takes a `commondir` that is not yet written for an error.
fn patiently(git: &mut Command) -> Result<(), GitError> {
    for pause in PAUSES {
        match ask(git) {
            Err(GitError::Failed(_, said)) if said.contains("/commondir") => {
                thread::sleep(Duration::from_millis(pause));
            }
            answer => return answer.map(drop),
        }
    }
    ask(git).map(drop)
}

fn plainly(dir: &Path) -> Command {
    let mut git = git(dir);
    git.args(PLAINLY.iter().flat_map(|setting| ["-c", setting]));
    git
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::git::commit_all;

    /// Two bisects of one repository begin at once.
    #[test]
    fn another_work_tree_is_half_made() {
        let scratch = tempfile::tempdir().expect("there is room");
        let root = scratch.path().join("workspace");
        let admin = root.join(".git/worktrees/tree");
        fs::create_dir(&root).expect("it is new");
        fs::write(root.join("file"), "one").expect("it is new");
        commit_all(&root, "one").expect("git is there");
        let repository = Repository { root };
        let half_made = || {
            fs::create_dir_all(&admin).expect("it is new");
            let elsewhere = scratch.path().join("elsewhere/.git");
            fs::write(admin.join("gitdir"), elsewhere.display().to_string()).expect("it is new");
            fs::write(admin.join("commondir"), "").expect("it can be written");
            assert!(ask(git(&repository.root).args(["worktree", "list"])).is_err());
        };
        let ours = scratch.path().join("ours");
        thread::scope(|scope| {
            for removing in [false, true] {
                half_made();
                let done = scope.spawn(|| {
                    thread::sleep(Duration::from_millis(50));
                    fs::write(admin.join("commondir"), "../..").expect("it can be written");
                });
                let answer = match removing {
                    false => add(&repository, &ours, "HEAD"),
                    true => remove(&repository, &ours),
                };
                answer.expect("it is waited for");
                assert_eq!(ours.exists(), !removing);
                done.join().expect("it ends");
            }
        });
    }
}
