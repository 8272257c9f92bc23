//! What rustc took over from an older session, seen from outside: it links those work products, so they are the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many work products of each crate rustc took over, of how many; by the name of the crate's directory.
pub(crate) type Reuse = BTreeMap<String, (usize, usize)>;

/// Returns what the newest session of each crate below `target` shares with older ones.
pub(crate) fn reuse(target: &Path) -> Reuse {
    let mut found = Reuse::new();
    for crate_dir in entries(&target.join("debug/incremental")) {
        let sessions: BTreeSet<PathBuf> = entries(&crate_dir)
            .into_iter()
            .filter(|path| path.is_dir())
            .collect();
        let mut products: Vec<BTreeSet<u64>> =
            sessions.iter().map(|path| work_products(path)).collect();
        let Some(newest) = products.pop() else {
            continue;
        };
        let older: BTreeSet<u64> = products.into_iter().flatten().collect();
        let name = crate_dir.file_name().expect("it has a name");
        let reused = newest.intersection(&older).count();
        found.insert(name.to_string_lossy().into_owned(), (reused, newest.len()));
    }
    found
}

/// Returns the paths in `dir`; none where there is no such directory.
pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

fn work_products(session: &Path) -> BTreeSet<u64> {
    let objects = entries(session).into_iter();
    let objects = objects.filter(|path| path.extension().is_some_and(|it| it == "o"));
    objects
        .map(|path| path.metadata().expect("it is there").ino())
        .collect()
}
