//! What a package says of itself: what it includes, what the lock file holds.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::disk::{self, walk};

/// The largest `Cargo.toml` or `Cargo.lock` that we read.
const MAX_TOML_BYTES: u64 = 64 << 20;

/// The packages of a `Cargo.lock`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locked {
    packages: HashSet<(String, String)>,
}

#[derive(Deserialize)]
struct LockFile {
    #[serde(default)]
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
}

impl Locked {
    /// Returns what the lock file at `path` holds; none where it cannot be read.
    pub fn read(path: &Path) -> Option<Locked> {
        let bytes = disk::read(path, MAX_TOML_BYTES).ok()?;
        let file: LockFile = toml::from_slice(&bytes).ok()?;
        let packages = file
            .package
            .into_iter()
            .map(|package| (package.name, package.version));
        Some(Locked {
            packages: packages.collect(),
        })
    }

    /// Tells whether a package is locked in this version.
    pub fn has(&self, name: &str, version: &str) -> bool {
        self.packages
            .contains(&(name.to_owned(), version.to_owned()))
    }
}

/// Tells whether the manifest at `path` sets `include` or `exclude`, whose rules change what cargo lists.
pub fn restricts_files(path: &Path) -> bool {
    let read = || -> Option<toml::Table> {
        toml::from_slice(&disk::read(path, MAX_TOML_BYTES).ok()?).ok()
    };
    let sets = |table: toml::Table| {
        let package = table.get("package")?.as_table()?;
        Some(package.contains_key("include") || package.contains_key("exclude"))
    };
    read().and_then(sets).unwrap_or(true)
}

/// Returns cargo's fingerprint of a path package: the newest mtime and the file that has it.
///
/// `files` are cargo's list, in its order; of equal times the first wins.
/// Source: cargo: sources/path.rs, `last_modified_file` @ 1.95.
pub fn newest_file(dir: &Path, files: &[PathBuf]) -> String {
    let mut newest = (UNIX_EPOCH, PathBuf::new());
    for file in files {
        let mtime = walk::mtime(&dir.join(file)).unwrap_or(UNIX_EPOCH);
        if mtime > newest.0 {
            newest = (mtime, file.clone());
        }
    }
    format!("{} ({})", shown(newest.0), newest.1.display())
}

/// Returns a time as the filetime crate shows it: `1700000000.000000001s`.
fn shown(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}s", since.as_secs(), since.subsec_nanos())
}
