//! What a package says of itself: what it includes, what the lock file holds.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::Deserialize;

use crate::disk::{self, walk};

/// The largest `Cargo.toml` or `Cargo.lock` that we read.
const MAX_TOML_BYTES: u64 = 64 << 20;

/// The packages of a `Cargo.lock`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Locked {
    #[serde(default, rename = "package")]
    packages: Vec<LockedPackage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

impl LockedPackage {
    /// Returns what tells its content: a registry's checksum, or git's commit.
    fn content(&self) -> Option<&str> {
        let commit = || Some(self.source.as_deref()?.rsplit_once('#')?.1);
        self.checksum.as_deref().or_else(commit)
    }
}

/// Tells whether `path` lies where cargo keeps what it downloaded in `home`, its `CARGO_HOME`: it takes that for immutable.
pub fn is_downloaded(path: &Path, home: &Path) -> bool {
    let mut dirs = ["registry", "git"].iter().map(|dir| home.join(dir));
    dirs.any(|dir| path.starts_with(dir))
}

impl Locked {
    /// Returns what the lock file at `path` holds; none where it cannot be read.
    pub fn read(path: &Path) -> Option<Locked> {
        let bytes = disk::read(path, MAX_TOML_BYTES).ok()?;
        toml::from_slice(&bytes).ok()
    }

    /// Returns the file names of the packages as registries ship them: `serde-1.0.0.crate`.
    pub fn crate_files(&self) -> impl Iterator<Item = String> + '_ {
        let all = self.packages.iter();
        all.map(|one| format!("{}-{}.crate", one.name, one.version))
    }

    /// Tells whether a package is locked in this version, with this content where both sides say what it is.
    pub fn has(&self, name: &str, version: &str, content: Option<&str>) -> bool {
        let mut same = self.of(name, version);
        let other = |locked: &str| content.is_some_and(|content| locked != content);
        same.any(|one| !one.content().is_some_and(other))
    }

    /// Returns what tells the content of a package: a registry's checksum, or git's commit.
    pub fn content(&self, name: &str, version: &str) -> Option<&str> {
        self.of(name, version).find_map(LockedPackage::content)
    }

    fn of(&self, name: &str, version: &str) -> impl Iterator<Item = &LockedPackage> {
        let all = self.packages.iter();
        all.filter(move |one| one.name == name && one.version == version)
    }
}

/// Which files belong to a package by its manifest's `include` and `exclude`.
///
/// Source: cargo: sources/path.rs, `list_files` @ 1.95.
#[derive(Debug)]
pub struct FileRules {
    /// What the manifest lists as belonging to the package, if it does; git is then not asked.
    pub include: Option<Gitignore>,
    exclude: Gitignore,
}

impl FileRules {
    /// Returns the rules of the package in `dir`; none where its manifest cannot be read or inherits them.
    pub fn of(dir: &Path) -> Option<FileRules> {
        let bytes = disk::read(&dir.join("Cargo.toml"), MAX_TOML_BYTES).ok()?;
        let manifest: toml::Table = toml::from_slice(&bytes).ok()?;
        let package = manifest.get("package")?.as_table()?;
        let include = patterns(package, "include")?;
        let exclude = matcher(dir, &patterns(package, "exclude")?)?;
        let include = match include.is_empty() {
            true => None,
            false => Some(matcher(dir, &include)?),
        };
        Some(FileRules { include, exclude })
    }

    /// Tells whether `file`, relative to the package, belongs to it.
    pub fn allow(&self, file: &Path) -> bool {
        let lists = |rules: &Gitignore| rules.matched_path_or_any_parents(file, false).is_ignore();
        let always = ["Cargo.toml", "Cargo.lock"].map(Path::new).contains(&file);
        always
            || match &self.include {
                Some(include) => lists(include),
                None => !lists(&self.exclude),
            }
    }
}

/// Returns the patterns of `key`; none where it is no list, as when it is inherited from the workspace.
fn patterns(package: &toml::Table, key: &str) -> Option<Vec<String>> {
    let Some(value) = package.get(key) else {
        return Some(Vec::new());
    };
    let texts = value.as_array()?.iter();
    texts.map(|one| one.as_str().map(str::to_owned)).collect()
}

fn matcher(dir: &Path, patterns: &[String]) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(dir);
    for pattern in patterns {
        builder.add_line(None, pattern).ok()?;
    }
    builder.build().ok()
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

#[cfg(test)]
mod tests {
    use super::Locked;

    /// A version that a registry has replaced would be taken for the one that was built.
    #[test]
    fn a_version_of_other_content_is_another() {
        let text = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"one\"\n\
            [[package]]\nname = \"b\"\nversion = \"1.0.0\"\n\
            [[package]]\nname = \"c\"\nversion = \"1.0.0\"\nsource = \"git+https://host/c?rev=one#one\"\n";
        let locked: Locked = toml::from_str(text).unwrap();
        assert!(locked.has("a", "1.0.0", Some("one")) && locked.has("a", "1.0.0", None));
        assert!(!locked.has("a", "1.0.0", Some("other")) && !locked.has("a", "1.0.1", None));
        assert!(locked.has("b", "1.0.0", Some("any")));
        assert!(locked.has("c", "1.0.0", Some("one")) && !locked.has("c", "1.0.0", Some("other")));
        assert_eq!(locked.content("a", "1.0.0"), Some("one"));
        assert_eq!(locked.content("b", "1.0.0"), None);
        assert_eq!(locked.content("c", "1.0.0"), Some("one"));
    }
}
