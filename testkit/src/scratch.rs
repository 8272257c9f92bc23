//! A directory that lives as long as its test.
//!
//! Knows nothing of what is put into it.

use std::path::{Path, PathBuf};

/// A temporary directory, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
    root: PathBuf,
}

impl Scratch {
    /// Makes an empty directory under the system's temporary directory.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("headstart-test-")
            .tempdir()
            .expect("the system's temporary directory is writable");
        // Canonical, since cargo prints canonical paths and /tmp may be a link.
        let root = directory.path().canonicalize().expect("it was just made");
        Self { directory, root }
    }

    /// Returns the directory itself, without symlinks in its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of `name` inside; nothing is made there.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file, directories above it included.
    pub fn write(&self, name: impl AsRef<Path>, text: &str) {
        let path = self.path(name);
        let parent = path.parent().expect("a file lies in a directory");
        std::fs::create_dir_all(parent).expect("the scratch directory is ours");
        std::fs::write(&path, text).expect("the scratch directory is ours");
    }

    /// Leaves the directory on disk for a look after the test, and returns its path.
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
