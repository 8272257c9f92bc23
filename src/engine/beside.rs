//! What build scripts leave in a profile's directory beside what is cargo's: resources next to the program, directories of their own.
//!
//! Nothing says which script wrote it: one that ran while it was written is taken for its author.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::disk::walk;
use crate::engine::LiveUnit;
use crate::model::UnitName;

/// What nobody but a script can have put where it is, each with a time at which it was written, or something in it.
#[derive(Debug)]
pub(super) struct Beside(Vec<(PathBuf, SystemTime)>);

impl Beside {
    /// Looks into `profiles` of the build directory `build`, in which cargo has `units`.
    pub(super) fn of<'a>(
        build: &Path,
        profiles: impl Iterator<Item = &'a str>,
        units: &[LiveUnit],
    ) -> Beside {
        let plain = |name: &str| name.replace('-', "_");
        let crates: HashSet<String> = units.iter().map(|unit| plain(&unit.crate_name)).collect();
        let is_foreign = |name: &String| {
            const OF_CARGO: [&str; 4] = ["build", "deps", "examples", "incremental"];
            let stem = plain(name.split('.').next().unwrap_or_default());
            let library = stem.strip_prefix("lib").unwrap_or(&stem);
            !stem.is_empty()
                && !OF_CARGO.contains(&name.as_str())
                && !crates.contains(&stem)
                && !crates.contains(library)
        };
        let mut found = Vec::new();
        for profile in profiles.map(Path::new) {
            for name in walk::names(&build.join(profile)).filter(is_foreign) {
                let path = profile.join(name);
                let top = build.join(&path);
                let below = walk::below_without_links(&top).unwrap_or_default();
                let below = below.into_iter().map(|entry| top.join(entry.relative));
                let times = [top.clone()].into_iter().chain(below).flat_map(written);
                found.extend(times.map(|time| (path.clone(), time)));
            }
        }
        Beside(found)
    }

    /// Returns what was written while `unit` ran, relative to `build`; nothing for a compile.
    pub(super) fn written_by(&self, unit: &UnitName, build: &Path) -> BTreeSet<&Path> {
        let dir = build.join(unit.script_dir());
        // cargo gives the output the time at which the script began, and writes the other when it has ended.
        let [begun, ended] = ["output", "root-output"].map(|name| walk::mtime(&dir.join(name)));
        let during = |time: SystemTime| begun <= Some(time) && Some(time) <= ended;
        let all = self
            .0
            .iter()
            .filter(|(_, time)| unit.runs_script() && during(*time));
        all.map(|(path, _)| path.as_path()).collect()
    }
}

/// Returns when `path` was written, and when it was linked, renamed, or given that time.
fn written(path: PathBuf) -> Vec<SystemTime> {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return Vec::new();
    };
    let time = |(s, ns): (i64, i64)| {
        let since = Duration::new(s.try_into().ok()?, ns.try_into().ok()?);
        Some(UNIX_EPOCH + since)
    };
    let both = [
        (meta.mtime(), meta.mtime_nsec()),
        (meta.ctime(), meta.ctime_nsec()),
    ];
    both.into_iter().filter_map(time).collect()
}
