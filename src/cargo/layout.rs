//! cargo's build directory: where the files of a unit are.
//!
//! Knows today's layout (`.fingerprint`, `deps`, `build`, `incremental` below each profile). The per-unit
//! layout that is coming has no `.fingerprint` directory, and is seen as holding no units.
//! Source: cargo: core/compiler/layout.rs @ 1.95.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::disk::{self, walk};
use crate::model::{Fingerprint, UnitName};

/// The locks that a cargo takes on a profile's directory, in its order: since 1.97, and before.
pub const LOCKS: [&str; 2] = [".cargo-build-lock", ".cargo-lock"];
/// The directory of a profile's fingerprints.
pub const FINGERPRINTS: &str = ".fingerprint";
/// Our own directory below the build directory.
pub const OWN_DIR: &str = ".headstart";

/// What cargo keeps of rustc's answers, in each build directory. Source: cargo: util/rustc.rs @ 1.95.
pub const RUSTC_INFO: &str = ".rustc_info.json";

/// The largest record that we read; cargo's are a few kilobytes.
const MAX_RECORD_BYTES: u64 = 16 << 20;

/// The units of a build directory, in order.
#[derive(Debug, Default)]
pub struct Layout {
    /// Each of them.
    pub units: Vec<UnitName>,
}

impl Layout {
    /// Returns the units below `build`; none where there is no such directory.
    pub fn scan(build: &Path) -> Layout {
        let mut units = Vec::new();
        for profile in profile_dirs(build) {
            let records = build.join(&profile).join(FINGERPRINTS);
            for dir in walk::subdirectories(&records) {
                // The `<kind>-<name>` of each unit that is recorded there.
                let stem = |name: String| name.strip_suffix(".json").map(str::to_owned);
                let stems = walk::names(&records.join(&dir)).filter_map(stem);
                units.extend(stems.map(|stem| UnitName {
                    profile_dir: profile.clone(),
                    dir: dir.clone(),
                    stem,
                }));
            }
        }
        units.sort();
        Layout { units }
    }

    /// Returns the units of kind `stem` of the package `package` in `profile`, leftovers of earlier builds
    /// among them.
    pub fn candidates(&self, profile: &str, package: &str, stem: &str) -> Vec<UnitName> {
        let wanted = |unit: &&UnitName| {
            let name = unit.dir.rsplit_once('-').map(|(name, _)| name);
            name == Some(package) && unit.stem == stem
        };
        let units = self.beginning(profile, &format!("{package}-"));
        units.iter().filter(wanted).cloned().collect()
    }

    /// Returns the unit that runs the build script in `dir`.
    pub fn script_run(&self, profile: &str, dir: &str) -> Option<&UnitName> {
        let mut units = self.beginning(profile, dir).iter();
        units.find(|unit| unit.runs_script() && unit.dir == dir)
    }

    /// Returns the units in `profile` whose directories begin with `prefix`.
    fn beginning(&self, profile: &str, prefix: &str) -> &[UnitName] {
        let before = |unit: &UnitName| (&*unit.profile_dir, &*unit.dir) < (profile, prefix);
        let rest = &self.units[self.units.partition_point(before)..];
        let begins = |unit: &UnitName| unit.profile_dir == profile && unit.dir.starts_with(prefix);
        &rest[..rest.partition_point(begins)]
    }

    /// Returns the profiles' directories, relative to the build directory.
    pub fn profiles(&self) -> Vec<String> {
        let profiles = self.units.iter().map(|unit| unit.profile_dir.clone());
        let mut profiles: Vec<String> = profiles.collect();
        profiles.dedup();
        profiles
    }
}

/// Returns the directories below `build` that hold fingerprints: `debug`, `<triple>/debug`.
fn profile_dirs(build: &Path) -> Vec<String> {
    let holds = |dir: &str| build.join(dir).join(FINGERPRINTS).is_dir();
    let mut found = Vec::new();
    for dir in walk::subdirectories(build) {
        if holds(&dir) {
            found.push(dir);
            continue;
        }
        let nested = walk::subdirectories(&build.join(&dir)).into_iter();
        let nested = nested.map(|inner| format!("{dir}/{inner}"));
        found.extend(nested.filter(|dir| holds(dir)));
    }
    found
}

/// Returns the fingerprint that cargo recorded for `unit`.
///
/// None where there is none, where a later build was interrupted, where it is in a format that we do not
/// know, and where we cannot reproduce its hash.
pub fn proven_fingerprint(build: &Path, unit: &UnitName) -> Option<Fingerprint> {
    let text = disk::read(&build.join(unit.hash_file()), MAX_RECORD_BYTES).ok()?;
    let json = disk::read(&build.join(unit.json_file()), MAX_RECORD_BYTES).ok()?;
    let fingerprint: Fingerprint = serde_json::from_slice(&json).ok()?;
    (Fingerprint::hash_text(fingerprint.hash()).as_bytes() == text).then_some(fingerprint)
}

/// Returns cargo's hash of the compiler whose units the build directory holds; none where it holds none.
pub fn compiler_hash(build: &Path) -> Option<u64> {
    let units = Layout::scan(build).units.into_iter();
    let mut known = units.filter_map(|unit| proven_fingerprint(build, &unit));
    // The run of a build script has none.
    known.find_map(|fingerprint| (fingerprint.rustc != 0).then_some(fingerprint.rustc))
}

/// Returns the bytes of cargo's dep-info for `unit`; none where there is none.
pub fn dep_info(build: &Path, unit: &UnitName) -> Option<Vec<u8>> {
    disk::read(&build.join(unit.dep_info_file()), MAX_RECORD_BYTES).ok()
}

/// Returns the hash at the end of `<package>-<hash>`.
pub fn unit_hash(dir: &str) -> &str {
    dir.rsplit_once('-').map_or("", |(_, hash)| hash)
}

/// Returns the place of an output below the build directory: its profile and the rest.
///
/// `dirs` are the build and the target directory; an output lies below one of them.
pub fn profile_of(path: &Path, dirs: &[&Path], profiles: &[String]) -> Option<(String, PathBuf)> {
    let relative = dirs.iter().find_map(|dir| path.strip_prefix(dir).ok())?;
    profiles.iter().find_map(|profile| {
        let rest = relative.strip_prefix(profile).ok()?;
        Some((profile.clone(), rest.to_path_buf()))
    })
}

/// Files of one directory by the unit hash in their names.
#[derive(Debug, Default)]
pub struct HashedFiles(HashMap<String, Vec<String>>);

impl HashedFiles {
    /// Returns the files of `dir`; none where there is no such directory.
    pub fn of(dir: &Path) -> HashedFiles {
        let mut files: HashMap<String, Vec<String>> = HashMap::new();
        for name in walk::names(dir) {
            if let Some(hash) = hash_in(&name) {
                files.entry(hash.to_owned()).or_default().push(name);
            }
        }
        HashedFiles(files)
    }

    /// Returns the sorted names with `hash` in them.
    pub fn with(&self, hash: &str) -> Vec<String> {
        let mut names = self.0.get(hash).cloned().unwrap_or_default();
        names.sort();
        names
    }
}

/// What compiles left in a build directory.
#[derive(Debug)]
pub struct Outputs<'a> {
    build: &'a Path,
    /// Each profile's `deps` and `examples`.
    dirs: HashMap<PathBuf, HashedFiles>,
}

impl Outputs<'_> {
    /// Returns what is in `profiles` of the build directory `build`.
    pub fn of<'a>(build: &'a Path, profiles: impl Iterator<Item = &'a str>) -> Outputs<'a> {
        let dirs = profiles.flat_map(compile_dirs);
        let files = |dir: PathBuf| (dir.clone(), HashedFiles::of(&build.join(dir)));
        Outputs {
            build,
            dirs: dirs.map(files).collect(),
        }
    }

    /// Returns the files of the compile `unit`, relative to the build directory: those with its hash in their names.
    pub fn of_unit(&self, unit: &UnitName) -> Vec<PathBuf> {
        let hash = unit_hash(&unit.dir);
        if unit.stem.starts_with("build-script-") {
            let dir = unit.script_dir();
            let files = HashedFiles::of(&self.build.join(&dir)).with(hash);
            return files.iter().map(|file| dir.join(file)).collect();
        }
        // Object files are no outputs; debug information that is not packed is.
        let is_output = |file: &String| !file.contains(".rcgu.") || file.ends_with(".dwo");
        let all = compile_dirs(&unit.profile_dir).into_iter().flat_map(|dir| {
            let files = self.dirs.get(&dir).map(|files| files.with(hash));
            let files = files.into_iter().flatten().filter(is_output);
            files.map(move |file| dir.join(file))
        });
        all.collect()
    }
}

fn compile_dirs(profile: &str) -> [PathBuf; 2] {
    ["deps", "examples"].map(|dir| Path::new(profile).join(dir))
}

/// Returns the unit hash in `libserde-0123456789abcdef.rlib`.
pub fn hash_in(name: &str) -> Option<&str> {
    const DIGITS: usize = 16;
    let (_, tail) = name.rsplit_once('-')?;
    let hash = tail.get(..DIGITS)?;
    let ends = tail.as_bytes().get(DIGITS).is_none_or(|byte| *byte == b'.');
    (ends && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::{hash_in, profile_of};
    use std::path::{Path, PathBuf};

    /// A file that is not recognised as the unit's is missing at the reader, and the unit is dirty there.
    #[test]
    fn hashes_are_found_in_names() {
        assert_eq!(
            hash_in("libserde-0123456789abcdef.rlib"),
            Some("0123456789abcdef")
        );
        assert_eq!(hash_in("my_app-0123456789abcdef"), Some("0123456789abcdef"));
        assert_eq!(hash_in("libplain.so"), None);
        assert_eq!(hash_in("a-0123456789abcdeff"), None);
    }

    /// A cross build's units would otherwise be looked for among the host's.
    #[test]
    fn profiles_may_lie_below_a_triple() {
        let profiles = [
            "debug".to_owned(),
            "x86_64-unknown-linux-gnu/debug".to_owned(),
        ];
        let path = Path::new("/t/x86_64-unknown-linux-gnu/debug/deps/liba.rlib");
        let found = profile_of(path, &[Path::new("/t")], &profiles);
        assert_eq!(
            found,
            Some((profiles[1].clone(), PathBuf::from("deps/liba.rlib")))
        );
    }
}
