//! What build scripts leave in a profile's directory beside what is cargo's: resources next to the program, directories of their own.
//!
//! Nothing says which script wrote it: one of a path package that ran while it was written is taken for its author.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disk::{self, walk};
use crate::engine::build::{Candidate, profiles};
use crate::engine::{Ledger, LiveUnit};
use crate::git;
use crate::model::{Manifest, Root, Source, Unit, UnitName};
use crate::store::Store;

/// Directories of a profile that are cargo's own.
const OF_CARGO: [&str; 4] = ["build", "deps", "examples", "incremental"];
/// A directory with more in it is no resource but a build of its own; what is compiled from it is an input of who reads it.
const MAX_ENTRIES: usize = 1000;

/// What nobody but a script can have put where it is.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Each with a time at which it was written, or something in it.
    found: Vec<(PathBuf, SystemTime)>,
    /// What runs that a start placed here had left where they ran, with the time that their files were given.
    placed: HashMap<(UnitName, SystemTime), BTreeSet<PathBuf>>,
}

impl Beside {
    /// Looks into the profiles of `units` in the build directory `build`.
    pub(super) fn of(build: &Path, store: &Store, units: &[LiveUnit]) -> Beside {
        let plain = |name: &str| name.replace('-', "_");
        let crates: HashSet<String> = units.iter().map(|unit| plain(&unit.crate_name)).collect();
        let mut found = Vec::new();
        for profile in profiles(units.iter()).into_iter().map(Path::new) {
            for name in walk::names(&build.join(profile)) {
                let stem = plain(name.split('.').next().unwrap_or_default());
                let library = stem.strip_prefix("lib").unwrap_or(&stem);
                let path = profile.join(&name);
                let of_cargo = stem.is_empty()
                    || OF_CARGO.contains(&name.as_str())
                    || crates.contains(&stem)
                    || crates.contains(library)
                    || is_uplifted(&build.join(&path));
                if !of_cargo {
                    let times = times(&build.join(&path)).into_iter();
                    found.extend(times.map(|time| (path.clone(), time)));
                }
            }
        }
        if found.is_empty() {
            return Beside::default();
        }
        let placed = Ledger::of(build).starts().into_iter().flat_map(|started| {
            let manifest = store.manifest(started.manifest).unwrap_or_default();
            let runs = manifest.units.iter().filter(|unit| unit.name.runs_script());
            let left = |unit: &Unit| ((unit.name.clone(), started.mtime), left_by(&manifest, unit));
            runs.map(left).collect::<Vec<_>>()
        });
        Beside {
            placed: placed.collect(),
            found,
        }
    }

    /// Returns what was written while the script of `candidate`, a path package, ran, relative to `build`; nothing for a compile. What
    /// was downloaded seldom knows of programs, and runs for long.
    pub(super) fn written_by(&self, candidate: &Candidate, build: &Path) -> BTreeSet<PathBuf> {
        let name = &candidate.live.name;
        if !name.runs_script() || candidate.package.source != Source::Path {
            return BTreeSet::new();
        }
        let [begun, ended] = ran(build, name);
        let placed = begun.and_then(|time| self.placed.get(&(name.clone(), time)));
        if let Some(left) = placed {
            return left.clone();
        }
        let during = |time: SystemTime| begun <= Some(time) && Some(time) <= ended;
        let all = self.found.iter().filter(|(_, time)| during(*time));
        all.map(|(path, _)| path.clone()).collect()
    }
}

/// Returns when the script that `unit` runs began and ended in the build directory `build`: cargo gives the output the one time, and writes
/// the other file at the other.
pub(super) fn ran(build: &Path, unit: &UnitName) -> [Option<SystemTime>; 2] {
    let dir = build.join(unit.script_dir());
    ["output", "root-output"].map(|name| walk::mtime(&dir.join(name)))
}

/// Returns what lies in `sources`, git ignores, and was written while the script of `unit` ran last in the build directory `build`: only
/// that script writes it anew.
pub(super) fn left_in(sources: &Path, unit: &Unit, build: &Path) -> Option<PathBuf> {
    let [begun, ended] = ran(build, &unit.name);
    let during = |time: SystemTime| begun <= Some(time) && Some(time) <= ended;
    let ignored = git::ignored(sources).unwrap_or_default().into_iter();
    let ignored = ignored.map(|path| sources.join(path));
    let mut ignored = ignored.filter(|path| !build.starts_with(path));
    ignored.find(|path| times(path).into_iter().any(during))
}

/// Returns what `unit` of `manifest`, the run of a script, left in the build directory, relative to that.
fn left_by(manifest: &Manifest, unit: &Unit) -> BTreeSet<PathBuf> {
    let paths = manifest.inputs_of(unit).map(|input| &input.path);
    let left = paths.filter(|path| path.root == Root::Build);
    left.map(|path| path.relative().to_path_buf()).collect()
}

/// Tells whether cargo put `path` there out of `deps`, in this build or an earlier one: it links it, and notes what it is made from.
fn is_uplifted(path: &Path) -> bool {
    let meta = std::fs::symlink_metadata(path);
    let is_linked = |meta: std::fs::Metadata| meta.is_file() && meta.nlink() > 1;
    let noted = disk::has_extension(path, "d") || path.with_extension("d").is_file();
    noted || meta.is_ok_and(is_linked)
}

/// Returns when `top`, or something in it, was written. A link is not followed.
fn times(top: &Path) -> Vec<SystemTime> {
    let is_dir = std::fs::symlink_metadata(top).is_ok_and(|meta| meta.is_dir());
    let below = is_dir.then(|| walk::below_without_links(top).unwrap_or_default());
    let below = below.unwrap_or_default();
    if below.len() > MAX_ENTRIES {
        return Vec::new();
    }
    let below = below.into_iter().map(|entry| top.join(entry.relative));
    let all = [top.to_path_buf()].into_iter().chain(below);
    all.flat_map(written).collect()
}

/// Returns when `path` was written, and when it was linked, renamed, or given that time.
fn written(path: PathBuf) -> Vec<SystemTime> {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return Vec::new();
    };
    meta.modified()
        .into_iter()
        .chain(walk::ctime(&meta))
        .collect()
}
