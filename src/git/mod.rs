//! What git knows of the commits and files of a work tree; asked of the `git` program.

pub mod worktree;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::disk;
use crate::model::Digest;

/// A question to git that went unanswered.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// git could not be started.
    #[error("cannot run `git`: {0}")]
    Start(#[source] std::io::Error),
    /// The directory is in no work tree.
    #[error("{} is not in a git work tree", .0.display())]
    NoRepository(PathBuf),
    /// There is nothing at HEAD yet.
    #[error("the repository at {} has no commits yet", .0.display())]
    NoCommits(PathBuf),
    /// A revision that git does not know.
    #[error("git does not know the revision `{0}`")]
    UnknownRevision(String),
    /// Any other failure of a command, and what git said.
    #[error("`git {0}` failed: {1}")]
    Failed(String, String),
}

/// A commit, as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name, as 40 or 64 hex digits.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
}

/// A git work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The top of the work tree.
    pub root: PathBuf,
}

impl Repository {
    /// Returns the work tree that holds `dir`.
    pub fn discover(dir: &Path) -> Result<Repository, GitError> {
        let top = ask(git(dir).args(["rev-parse", "--show-toplevel"]));
        let top = top.map_err(|error| match &error {
            // There is one, of another user; git says what to do.
            GitError::Failed(_, said) if said.contains("dubious ownership") => error,
            GitError::Failed(..) => GitError::NoRepository(dir.to_path_buf()),
            _ => error,
        })?;
        let root = path(trim(&top));
        Ok(Repository { root })
    }

    /// Returns what the repository is called in every clone: host and path of its `origin`, or the absolute path of an
    /// `origin` on this machine; none without one.
    pub fn name(&self) -> Option<String> {
        let url = self.line_of(&["remote", "get-url", "origin"]).ok()?;
        match url.contains("://") || url.starts_with('/') || host_and_path(&url).is_some() {
            true => name_of(&url),
            false => name_of(&disk::canonical(&self.root.join(url)).to_string_lossy()),
        }
    }

    /// Returns the commit at HEAD, as 40 or 64 hex digits.
    pub fn head(&self) -> Result<String, GitError> {
        self.commit("HEAD")
    }

    /// Returns the commit that `revision` names.
    pub fn commit(&self, revision: &str) -> Result<String, GitError> {
        let wanted = format!("{revision}^{{commit}}");
        let verify = ["rev-parse", "-q", "--verify", "--end-of-options", &wanted];
        self.line_of(&verify).map_err(|error| match error {
            GitError::Failed(..) if revision == "HEAD" => GitError::NoCommits(self.root.clone()),
            GitError::Failed(..) => GitError::UnknownRevision(revision.to_owned()),
            other => other,
        })
    }

    /// Returns the tree of `commit`.
    pub fn tree(&self, commit: &str) -> Result<String, GitError> {
        self.line_of(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])
    }

    /// Returns what differs from HEAD in the work tree, untracked files included, a line each.
    pub fn changes(&self) -> Result<Vec<String>, GitError> {
        // As git does it by itself, whatever the user's settings hide.
        let all = ["--untracked-files=normal", "--ignore-submodules=untracked"];
        self.lines_of(&[&["status", "--porcelain"], &all[..]].concat())
    }

    /// Returns `commit` and its ancestors, nearest first, at most `limit`.
    pub fn ancestors(&self, commit: &str, limit: usize) -> Result<Vec<String>, GitError> {
        self.lines_of(&["rev-list", "--max-count", &limit.to_string(), commit])
    }

    /// Returns the commits of `range` (`a..b`, or `b` for all up to it) by first parents, newest first, at most `limit`.
    pub fn line(&self, range: &str, limit: usize) -> Result<Vec<Commit>, GitError> {
        let limit = format!("--max-count={limit}");
        let form = ["--first-parent", "--no-show-signature", "--format=%H %s"];
        let args = [&["log"], &form[..], &[&limit, range, "--"]].concat();
        let commit = |line: String| {
            let (id, subject) = line.split_once(' ')?;
            let (id, subject) = (id.to_owned(), subject.to_owned());
            Some(Commit { id, subject })
        };
        let lines = self.lines_of(&args)?;
        Ok(lines.into_iter().filter_map(commit).collect())
    }

    /// Tells whether `commit` is `other`, or one of its ancestors.
    pub fn is_ancestor(&self, commit: &str, other: &str) -> Result<bool, GitError> {
        match self.line_of(&["merge-base", "--is-ancestor", commit, other]) {
            Ok(_) => Ok(true),
            Err(GitError::Failed(_, stderr)) if stderr.is_empty() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns how many commits lead from `from` to `to`.
    pub fn distance(&self, from: &str, to: &str) -> Result<usize, GitError> {
        let count = self.line_of(&["rev-list", "--count", &format!("{from}..{to}")])?;
        Ok(count.parse().unwrap_or(0))
    }

    /// Tells whether history was cut off by a shallow clone.
    pub fn is_shallow(&self) -> bool {
        let answer = self.line_of(&["rev-parse", "--is-shallow-repository"]);
        answer.is_ok_and(|answer| answer == "true")
    }

    /// Returns git's answer where that is one line.
    fn line_of(&self, args: &[&str]) -> Result<String, GitError> {
        let output = ask(git(&self.root).args(args))?;
        Ok(text(trim(&output)))
    }

    fn lines_of(&self, args: &[&str]) -> Result<Vec<String>, GitError> {
        let output = text(&ask(git(&self.root).args(args))?);
        Ok(output.lines().map(str::to_owned).collect())
    }
}

/// Returns the name of the repository at `url`: `host/owner/name`, however it is reached, or an absolute path.
///
/// Takes names too. None where nothing is left to be a host, or a path.
pub fn name_of(url: &str) -> Option<String> {
    let path_of = |text: &str| {
        let text = text.trim_end_matches('/');
        let text = text.strip_suffix(".git").unwrap_or(text);
        text.trim_end_matches('/').to_owned()
    };
    let (host, path) = match url.split_once("://") {
        Some(("file", rest)) => return name_of(&rest[rest.find('/')?..]),
        Some((_, rest)) => rest.split_once('/')?,
        None if url.starts_with('/') => {
            return Some(path_of(url)).filter(|path| !path.is_empty());
        }
        None => host_and_path(url).or_else(|| url.split_once('/'))?,
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let ported = host.rsplit_once(':').filter(|(_, port)| is_port(port));
    let host = ported.map_or(host, |(host, _)| host);
    let path = path_of(path.trim_start_matches('/'));
    let complete = !host.is_empty() && !path.is_empty();
    complete.then(|| format!("{}/{path}", host.to_ascii_lowercase()))
}

/// Returns the parts of `user@host:path`, as ssh has it: with the colon before any slash.
fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let (host, path) = url.split_once(':')?;
    (!host.contains('/') && !path.starts_with("//")).then_some((host, path))
}

/// Returns the commit at HEAD of the repository whose git directory holds `path`.
///
/// None where `path` lies in no git directory, or where that has no commits.
pub fn head_of_git_dir(path: &Path) -> Option<String> {
    let output = in_git_dir(path, &["rev-parse", "HEAD"])?;
    Some(text(trim(&output)))
}

/// Returns what may have been written when HEAD of the git directory `dir` moved, where it keeps no log.
pub fn refs_of_git_dir(dir: &Path) -> Vec<PathBuf> {
    let common = std::fs::read_to_string(dir.join("commondir")).unwrap_or_default();
    let common = dir.join(common.trim());
    let head = std::fs::read_to_string(dir.join("HEAD")).unwrap_or_default();
    let branch = head
        .trim()
        .strip_prefix("ref: ")
        .map(|name| common.join(name));
    let names = ["packed-refs", "reftable"].map(|name| common.join(name));
    let own = ["HEAD", "reftable"].map(|name| dir.join(name));
    names.into_iter().chain(branch).chain(own).collect()
}

/// Returns one digest of the names, modes and contents in the index file `path`; none where git cannot read it.
pub fn index_digest(path: &Path) -> Option<Digest> {
    let output = in_git_dir(path, &["ls-files", "--stage", "-z"])?;
    Some(Digest::of(&output))
}

fn in_git_dir(path: &Path, args: &[&str]) -> Option<Vec<u8>> {
    let dir = enclosing_git_dir(path)?;
    ask(git(dir).arg("--git-dir").arg(dir).args(args)).ok()
}

/// Returns the git directory that `path` lies in or is.
pub fn enclosing_git_dir(path: &Path) -> Option<&Path> {
    let is_git_dir = |dir: &&Path| {
        dir.join("HEAD").is_file()
            && (dir.join("objects").is_dir() || dir.join("commondir").is_file())
    };
    path.ancestors().find(is_git_dir)
}

/// Returns the top of the work tree that `dir` lies in, found by its `.git` alone.
pub fn enclosing_work_tree(dir: &Path) -> Option<&Path> {
    dir.ancestors().find(|dir| dir.join(".git").exists())
}

/// Returns those of `paths`, relative to `dir`, that git tracks or would add, or what is so below them.
pub fn known<'a>(
    dir: &Path,
    paths: impl IntoIterator<Item = &'a Path>,
) -> Result<BTreeSet<PathBuf>, GitError> {
    listed(dir, &["--others", "--exclude-standard"], paths)
}

/// Returns those of `paths` that git tracks, and what `more` says, or what is so below them; relative to `dir`.
fn listed<'a>(
    dir: &Path,
    more: &[&str],
    paths: impl IntoIterator<Item = &'a Path>,
) -> Result<BTreeSet<PathBuf>, GitError> {
    let mut git = git(dir);
    let list = ["ls-files", "-z", "--cached"];
    git.env("GIT_LITERAL_PATHSPECS", "1").args(list).args(more);
    let output = ask(git.arg("--").args(paths))?;
    let names = output.split(|byte| *byte == 0);
    Ok(names.filter(|name| !name.is_empty()).map(path).collect())
}

/// Returns what git ignores in `dir`, relative to it: files, and directories of which it ignores all.
pub fn ignored(dir: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
    let more = ["--others", "--ignored", "--exclude-standard", "--directory"];
    listed(dir, &more, [Path::new(".")])
}

/// Tells whether files of `dir`, without links and other than those that only keep a directory, are a part of the repository that it lies in.
///
/// Asked from the top: a directory may be made to look like a repository of its own.
pub fn tracks(dir: &Path) -> bool {
    let Some(top) = enclosing_work_tree(dir) else {
        return false;
    };
    let below = Path::new(".").join(dir.strip_prefix(top).unwrap_or(dir));
    let keeps = |file: &PathBuf| file.ends_with(".gitignore") || file.ends_with(".gitkeep");
    let tracked = listed(top, &[], [&*below]);
    !tracked.is_ok_and(|files| files.iter().all(keeps))
}

/// Clones the repository at `from` to `to`, and checks `commit` out there.
pub fn clone_at(from: &Path, to: &Path, commit: &str) -> Result<(), GitError> {
    let clone = ["clone", "--quiet", "--no-checkout"];
    ask(git(from).args(clone).args([from, to]))?;
    let quietly = ["-c", "advice.detachedHead=false", "checkout", "--quiet"];
    ask(git(to).args(quietly).args(["--detach", commit])).map(drop)
}

/// Makes a commit of all files in `dir`, and a repository for it where there is none.
pub fn commit_all(dir: &Path, message: &str) -> Result<(), GitError> {
    ask(git(dir).args(["-c", "init.defaultBranch=main", "init", "--quiet"]))?;
    ask(git(dir).args(["add", "--all"]))?;
    let settings = [
        "user.name=headstart",
        "user.email=demo@headstart.invalid",
        "commit.gpgsign=false",
    ];
    let settings = settings.into_iter().flat_map(|setting| ["-c", setting]);
    let commit = ["commit", "--quiet", "-m", message];
    ask(git(dir).args(settings).args(commit)).map(drop)
}

/// Variables that git gives to hooks and aliases: they name a repository or an index, wherever git is run.
pub const OF_HOOKS: [&str; 10] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
];

/// Returns git in `dir`, which never waits for a user or takes a lock that is not needed.
#[expect(clippy::disallowed_methods, reason = "git starts git")]
fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir).stdin(Stdio::null());
    git.env("GIT_OPTIONAL_LOCKS", "0");
    git.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for name in OF_HOOKS {
        git.env_remove(name);
    }
    git
}

/// Runs `git`, and returns what it says.
fn ask(git: &mut Command) -> Result<Vec<u8>, GitError> {
    let output = git.output().map_err(GitError::Start)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let args: Vec<&OsStr> = git.get_args().collect();
    let command = args.join(OsStr::new(" ")).to_string_lossy().into_owned();
    let stderr = text(&output.stderr).trim().to_owned();
    Err(GitError::Failed(command, stderr))
}

fn trim(output: &[u8]) -> &[u8] {
    output.strip_suffix(b"\n").unwrap_or(output)
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn path(output: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(output.to_vec()))
}
