//! What rustc took over from an older session: it links those work products, so they are the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many work products rustc took over, of how many; by the name of the crate's directory.
pub(crate) type Reuse = BTreeMap<String, (usize, usize)>;

/// A file, told from one that got the same inode later.
pub(crate) type File = (u64, i64, i64);

/// Returns all work products below `dir`, a profile's directory,; some rustcs remove an old session at the end.
pub(crate) fn all_work_products(dir: &Path) -> BTreeSet<File> {
    let crates = crate_dirs(dir).into_values();
    let sessions = crates.flat_map(|dir| entries(&dir));
    sessions
        .flat_map(|session| work_products(&session))
        .collect()
}

/// Returns what the newest session of each crate below `dir`, a profile's directory, has of the work products that were there `before`.
pub(crate) fn reuse(dir: &Path, before: &BTreeSet<File>) -> Reuse {
    let mut found = Reuse::new();
    for (name, crate_dir) in crate_dirs(dir) {
        let sessions = entries(&crate_dir).into_iter().filter(|path| path.is_dir());
        if let Some(newest) = sessions.max().map(|path| work_products(&path)) {
            let reused = newest.intersection(before).count();
            found.insert(name, (reused, newest.len()));
        }
    }
    found
}

/// Returns the directories that rustc keeps sessions in below `dir`, a profile's directory, by cargo's name of the unit and rustc's of the crate.
pub(crate) fn crate_dirs(dir: &Path) -> BTreeMap<String, PathBuf> {
    let incremental = dir.join("incremental");
    let units = entries(&incremental).into_iter();
    let crates = units.flat_map(|unit| entries(&unit));
    let named = crates.map(|path| {
        let name = path.strip_prefix(&incremental).expect("it lies below");
        (name.display().to_string(), path)
    });
    named.collect()
}

/// Returns the paths in `dir`; none where there is no such directory.
pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn work_products(session: &Path) -> BTreeSet<File> {
    let objects = entries(session).into_iter();
    let objects = objects.filter(|path| path.extension().is_some_and(|it| it == "o"));
    let metas = objects.map(|path| path.metadata().expect("it is there"));
    metas
        .map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()))
        .collect()
}
