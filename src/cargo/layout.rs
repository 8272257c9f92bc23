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
/// Our own directory below the build directory.
pub const OWN_DIR: &str = ".headstart";

/// The largest record that we read; cargo's are a few kilobytes.
const MAX_RECORD_BYTES: u64 = 16 << 20;

/// The units of a build directory, by profile and kind.
#[derive(Debug, Default)]
pub struct Layout {
    units: HashMap<(String, String), Vec<String>>,
}

impl Layout {
    /// Returns the units below `build`; none where there is no such directory.
    pub fn scan(build: &Path) -> Layout {
        let mut units: HashMap<(String, String), Vec<String>> = HashMap::new();
        for profile in profile_dirs(build) {
            let records = build.join(&profile).join(".fingerprint");
            for dir in walk::subdirectories(&records) {
                for stem in stems(&records.join(&dir)) {
                    units
                        .entry((profile.clone(), stem))
                        .or_default()
                        .push(dir.clone());
                }
            }
        }
        Layout { units }
    }

    /// Returns the units of kind `stem` of the package `package` in `profile`, leftovers of earlier builds
    /// among them.
    pub fn candidates(&self, profile: &str, package: &str, stem: &str) -> Vec<UnitName> {
        let dirs = self.units.get(&(profile.to_owned(), stem.to_owned()));
        dirs.into_iter()
            .flatten()
            .filter(|dir| {
                dir.rsplit_once('-')
                    .is_some_and(|(name, _)| name == package)
            })
            .map(|dir| UnitName {
                profile_dir: profile.to_owned(),
                dir: dir.clone(),
                stem: stem.to_owned(),
            })
            .collect()
    }

    /// Returns every unit, in order.
    pub fn all(&self) -> Vec<UnitName> {
        let mut units: Vec<UnitName> = self
            .units
            .iter()
            .flat_map(|((profile, stem), dirs)| {
                dirs.iter().map(move |dir| UnitName {
                    profile_dir: profile.clone(),
                    dir: dir.clone(),
                    stem: stem.clone(),
                })
            })
            .collect();
        units.sort();
        units
    }

    /// Returns the unit that runs the build script in `dir`.
    pub fn script_run(&self, profile: &str, dir: &str) -> Option<UnitName> {
        self.units.iter().find_map(|((known, stem), dirs)| {
            let name = UnitName {
                profile_dir: profile.to_owned(),
                dir: dir.to_owned(),
                stem: stem.clone(),
            };
            (known == profile && name.runs_script() && dirs.iter().any(|known| known == dir))
                .then_some(name)
        })
    }

    /// Returns the profiles' directories, relative to the build directory.
    pub fn profiles(&self) -> Vec<String> {
        let mut profiles: Vec<String> = self
            .units
            .keys()
            .map(|(profile, _)| profile.clone())
            .collect();
        profiles.sort();
        profiles.dedup();
        profiles
    }
}

/// Returns the directories below `build` that hold fingerprints: `debug`, `<triple>/debug`.
fn profile_dirs(build: &Path) -> Vec<String> {
    let holds = |dir: &str| build.join(dir).join(".fingerprint").is_dir();
    let mut found = Vec::new();
    for dir in walk::subdirectories(build) {
        if holds(&dir) {
            found.push(dir);
            continue;
        }
        let nested = walk::subdirectories(&build.join(&dir));
        found.extend(
            nested
                .into_iter()
                .map(|inner| format!("{dir}/{inner}"))
                .filter(|dir| holds(dir)),
        );
    }
    found
}

/// Returns the `<kind>-<name>` of each unit recorded in a fingerprint directory.
fn stems(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect()
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
    let units = Layout::scan(build).all();
    let mut known = units
        .iter()
        .filter_map(|unit| proven_fingerprint(build, unit));
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
pub struct HashedFiles {
    files: HashMap<String, Vec<String>>,
}

impl HashedFiles {
    /// Returns the files of `dir`; none where there is no such directory.
    pub fn of(dir: &Path) -> HashedFiles {
        let mut files: HashMap<String, Vec<String>> = HashMap::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if let Some(hash) = hash_in(&name) {
                files.entry(hash.to_owned()).or_default().push(name);
            }
        }
        HashedFiles { files }
    }

    /// Returns the sorted names with `hash` in them.
    pub fn with(&self, hash: &str) -> Vec<String> {
        let mut names = self.files.get(hash).cloned().unwrap_or_default();
        names.sort();
        names
    }
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
