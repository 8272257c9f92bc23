//! Where a bisect works: a work tree of its own, the verdicts so far, and what COMMAND printed.
//!
//! A directory for each repository, range and COMMAND; it lies outside the user's checkout, and one process at a time has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::cli::BisectArgs;
use super::{Call, Failure, Setup};
use crate::disk::lock::{self, Lock};
use crate::disk::{self, DiskError, Staging, hash, place};
use crate::engine::bisect::Verdict;
use crate::git::{GitError, Repository, worktree};
use crate::model::Digest;
use crate::report::Reporter;

/// The version of verdicts that this version writes and reads.
const VERSION: u16 = 3;
/// The largest file of verdicts that is read: a hundred thousand of them.
const MAX_BYTES: u64 = 16 << 20;
/// cargo's directory in the work tree.
pub const TARGET: &str = "target";

/// What is remembered from one run to the next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    version: u16,
    /// What was found out about each commit.
    pub judged: BTreeMap<String, Judged>,
    /// How those were built that were.
    pub then_build: Option<String>,
}

/// What COMMAND said of a commit, or why it could not be asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Judged {
    /// What it said: none where there was nothing to ask about.
    pub verdict: Option<Verdict>,
    /// Why the commit was skipped.
    pub reason: Option<String>,
    /// COMMAND's exit code.
    pub code: Option<i32>,
    /// Whether the commit was built for that.
    pub built: bool,
    /// How long all of it took.
    pub seconds: f64,
}

/// The directory, held.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    _lock: Lock,
}

impl Scratch {
    /// Takes the directory of the bisect `args` between the commits `ends` of the work tree at `root`; waits, and says so, while
    /// another process has it.
    pub fn take(
        args: &BisectArgs,
        call: Call<'_>,
        (root, setup): (&Path, &Setup),
        ends: [&str; 2],
    ) -> Result<Scratch> {
        let parent = match &args.scratch {
            Some(parent) => call.environment.dir.join(parent),
            None => call.environment.cache_dir()?.join("headstart-bisect"),
        };
        let what = format!("{} lies in your work tree", parent.display());
        let hint = "name a directory elsewhere with --scratch";
        ensure!(!within(&parent, root), Failure::new(what, hint));
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let id = identity(args, call, (root, setup), ends).short();
        let dir = parent.join(format!("{name}-{id}"));
        disk::make_dir(&dir)?;
        let dir = disk::canonical(&dir);
        let reporter = call.reporter;
        let wait = || reporter.note("waiting for the same bisect in another process");
        let lock = lock::exclusive(&dir.join("lock"), wait)?;
        Ok(Scratch { dir, _lock: lock })
    }

    /// Returns a place for unfinished files.
    pub fn staging(&self) -> Result<Staging, DiskError> {
        Staging::new(&self.dir.join("tmp"), "bisect")
    }

    /// Returns what is remembered for `args`: what was built in another way was another program.
    pub fn kept(&self, args: &BisectArgs, reporter: &Reporter) -> Kept {
        let mut kept = self.all_kept(reporter);
        if kept.then_build != args.then_build {
            kept.judged.retain(|_, judged| !judged.built);
            kept.then_build.clone_from(&args.then_build);
        }
        kept
    }

    /// Returns all that is remembered; nothing, with a word, where that cannot be read.
    fn all_kept(&self, reporter: &Reporter) -> Kept {
        let fresh = || Kept {
            version: VERSION,
            ..Kept::default()
        };
        let read = match disk::read(&self.file(), MAX_BYTES) {
            Err(error) if error.is_missing() => return fresh(),
            read => read.map_err(|error| error.to_string()),
        };
        let decode = |bytes: Vec<u8>| match serde_json::from_slice::<Kept>(&bytes) {
            Ok(kept) if kept.version == VERSION => Ok(kept),
            Ok(_) => Err("another version of headstart wrote it".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        read.and_then(decode).unwrap_or_else(|why| {
            let file = self.file().display().to_string();
            reporter.warn(format!("beginning anew: {file} {why}"));
            fresh()
        })
    }

    /// Remembers `kept`.
    pub fn keep(&self, kept: &Kept) -> Result<(), DiskError> {
        let bytes = serde_json::to_vec(kept).expect("verdicts are plain values");
        place::write_by(&self.dir.join("verdicts.new"), &self.file(), &bytes)
    }

    /// Forgets what is remembered.
    pub fn forget(&self) -> Result<(), DiskError> {
        disk::remove_file(&self.file())
    }

    /// Returns the work tree with `commit` checked out and nothing else in it but what cargo built there.
    pub fn at(&self, repository: &Repository, commit: &str) -> Result<PathBuf> {
        let tree = self.tree();
        let sound = Repository::discover(&tree).is_ok_and(|found| found.root == tree);
        if !sound || worktree::switch(&tree, commit, TARGET).is_err() {
            disk::remove_dir(&tree)?;
            worktree::add(repository, &tree, commit)?;
        }
        Ok(tree)
    }

    /// Removes the work tree; verdicts stay.
    pub fn clear(&self, repository: &Repository) -> Result<(), GitError> {
        match self.tree().exists() {
            true => worktree::remove(repository, &self.tree()),
            false => Ok(()),
        }
    }

    /// Returns the file that takes what COMMAND prints at `commit`.
    pub fn log(&self, commit: &str) -> Result<PathBuf, DiskError> {
        let dir = self.dir.join("printed");
        disk::make_dir(&dir)?;
        Ok(dir.join(format!("{commit}.txt")))
    }

    fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    fn file(&self) -> PathBuf {
        self.dir.join("verdicts.json")
    }
}

/// Returns what tells one bisect from another: an argument of COMMAND that is a file counts with what it holds.
fn identity(
    args: &BisectArgs,
    call: Call<'_>,
    (root, setup): (&Path, &Setup),
    ends: [&str; 2],
) -> Digest {
    let content = |arg| {
        let path = Some(call.environment.dir.join(arg)).filter(|path| path.is_file());
        path.and_then(|path| hash::file(&path).ok())
    };
    let contents = args.command.iter().map(content);
    let command = args.command.iter().map(|arg| arg.as_encoded_bytes());
    let command: Vec<_> = command.zip(contents).collect();
    let root = root.as_os_str().as_encoded_bytes();
    let what = (&setup.part, &setup.toolchain);
    let whole = postcard::to_allocvec(&(root, what, ends, command, &args.only));
    Digest::of(&whole.expect("these are plain values"))
}

/// Tells whether `path`, which need not be there yet, lies in `dir`.
fn within(path: &Path, dir: &Path) -> bool {
    disk::existing(path).is_some_and(|above| disk::canonical(above).starts_with(dir))
}
