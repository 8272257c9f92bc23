//! A cargo workspace in a git repository, to be edited and cloned by a test.
//!
//! Knows nothing of cargo: it writes what it is given. Commits are the same for the same files, on every machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Cargo, Scratch, environment};

/// When the first commit was made, in seconds; each further commit is a minute later.
const FIRST_COMMIT_S: u64 = 1_700_000_000;
const BETWEEN_COMMITS_S: u64 = 60;

/// A git work tree; everything in it is removed on drop, unless it was made at a path of the test's own.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// Held for its drop only.
    _scratch: Option<Scratch>,
}

impl Workspace {
    /// Writes `files` (path, text) into a new repository of its own and commits them.
    pub fn new<P: AsRef<Path>, T: AsRef<str>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        let scratch = Scratch::new();
        let mut workspace = Self::at(&scratch.path("workspace"), files);
        workspace._scratch = Some(scratch);
        workspace
    }

    /// Does the same at `root`, which stays when this is dropped.
    pub fn at<P: AsRef<Path>, T: AsRef<str>>(
        root: &Path,
        files: impl IntoIterator<Item = (P, T)>,
    ) -> Self {
        fs::create_dir_all(root).expect("the test may write here");
        let workspace = Self::open(root);
        for (path, text) in files {
            workspace.edit(path, text);
        }
        workspace.git(&["init", "--quiet"]);
        workspace.commit("first");
        workspace
    }

    /// Takes a work tree that is there already.
    pub fn open(root: &Path) -> Self {
        Self {
            root: root.canonicalize().expect("the work tree is there"),
            _scratch: None,
        }
    }

    /// Returns the work tree's directory, without symlinks in its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of `name` inside.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Returns a cargo that runs in this work tree.
    pub fn cargo(&self) -> Cargo {
        Cargo::in_dir(&self.root)
    }

    /// Returns the text of a file.
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.path(path);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    /// Writes a file, new or not, directories above it included.
    pub fn edit(&self, path: impl AsRef<Path>, text: impl AsRef<str>) -> &Self {
        let path = self.path(path);
        make_parent(&path);
        fs::write(&path, text.as_ref())
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        self
    }

    /// Adds text to the end of a file.
    pub fn append(&self, path: impl AsRef<Path>, text: &str) -> &Self {
        let whole = self.read(&path) + text;
        self.edit(path, whole)
    }

    /// Replaces `old`, which must be in the file, with `new`.
    pub fn replace(&self, path: impl AsRef<Path>, old: &str, new: &str) -> &Self {
        let text = self.read(&path);
        assert!(
            text.contains(old),
            "{:?} is not in {}",
            old,
            path.as_ref().display()
        );
        self.edit(path, text.replace(old, new))
    }

    /// Removes a file, or a directory with all that is in it.
    pub fn remove(&self, path: impl AsRef<Path>) -> &Self {
        let path = self.path(path);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.unwrap_or_else(|error| panic!("cannot remove {}: {error}", path.display()));
        self
    }

    /// Moves a file or directory, making the directories above its new place.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> &Self {
        let (from, to) = (self.path(from), self.path(to));
        make_parent(&to);
        fs::rename(&from, &to)
            .unwrap_or_else(|error| panic!("cannot rename {}: {error}", from.display()));
        self
    }

    /// Commits all that is in the work tree, changed or not, and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        let before: u64 = self
            .git(&["rev-list", "--all", "--count"])
            .parse()
            .expect("git prints a count");
        let date = format!("{} +0000", FIRST_COMMIT_S + before * BETWEEN_COMMITS_S);
        let mut git = environment::git_command(&self.root);
        git.env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .args([
                "commit",
                "--quiet",
                "--allow-empty",
                "--no-verify",
                "-m",
                message,
            ]);
        succeed(&mut git);
        self.head()
    }

    /// Returns the id of HEAD.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Returns whether git sees nothing changed and nothing untracked.
    pub fn is_clean(&self) -> bool {
        self.git(&["status", "--porcelain"]).is_empty()
    }

    /// Runs git here and returns its trimmed stdout; panics with its stderr where it fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        succeed(environment::git_command(&self.root).args(arguments))
    }

    /// Clones to `path`, which stays when the clone is dropped, with the same branch checked out.
    pub fn clone_to(&self, path: &Path) -> Self {
        make_parent(path);
        let mut git = environment::git_command(&self.root);
        git.args(["clone", "--quiet", "--no-hardlinks"])
            .arg(&self.root)
            .arg(path);
        succeed(&mut git);
        Self::open(path)
    }

    /// Clones to `path` with `revision` checked out, detached, as CI does.
    pub fn clone_at(&self, path: &Path, revision: &str) -> Self {
        let clone = self.clone_to(path);
        clone.checkout(revision);
        clone
    }

    /// Checks out `revision`, detached.
    pub fn checkout(&self, revision: &str) -> &Self {
        self.git(&["checkout", "--quiet", "--detach", revision]);
        self
    }

    /// Runs a program out of `target/debug` and returns its stdout, for a look at what was really built.
    pub fn program(&self, name: &str) -> String {
        self.program_in("target/debug", name)
    }

    /// Runs a program out of any directory, absolute or relative to the work tree, and returns its stdout.
    pub fn program_in(&self, directory: impl AsRef<Path>, name: &str) -> String {
        let program = self.path(directory).join(name);
        succeed(environment::clean(&mut Command::new(program)).current_dir(&self.root))
    }
}

fn make_parent(path: &Path) {
    let parent = path.parent().expect("a file has a directory");
    fs::create_dir_all(parent)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", parent.display()));
}

fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} failed: {}\n{stderr}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Without it, tests that compare commits would differ from machine to machine.
    #[test]
    fn the_same_files_make_the_same_commit() {
        let files = [("a.txt", "a\n"), ("b/c.txt", "c\n")];
        let (left, right) = (Workspace::new(files), Workspace::new(files));
        assert_eq!(left.head(), right.head());
        assert_eq!(left.git(&["branch", "--show-current"]), "main");
    }

    // Without it, an edit could be lost and a test would pass for the wrong reason.
    #[test]
    fn edits_are_seen_by_git_and_by_clones() {
        let scratch = Scratch::new();
        let workspace = Workspace::new([("a.txt", "one\n"), ("b.txt", "b\n")]);
        let first = workspace.head();
        workspace
            .append("a.txt", "two\n")
            .replace("a.txt", "one", "1")
            .rename("b.txt", "deep/b.txt");
        workspace.edit("gone.txt", "").remove("gone.txt");
        assert!(!workspace.is_clean());
        let second = workspace.commit("second");
        assert!(workspace.is_clean());

        let clone = workspace.clone_to(&scratch.path("clone"));
        assert_eq!(
            (clone.head(), clone.read("a.txt")),
            (second, "1\ntwo\n".into())
        );
        assert!(clone.path("deep/b.txt").exists() && !clone.path("b.txt").exists());
        let detached = workspace.clone_at(&scratch.path("detached"), &first);
        assert_eq!(
            (detached.head(), detached.read("a.txt")),
            (first, "one\n".into())
        );
        assert_eq!(detached.git(&["branch", "--show-current"]), "");
    }
}
