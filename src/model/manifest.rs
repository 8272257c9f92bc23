//! A starting point's list: what one commit's build left, and what it was made from.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::fingerprint::{Fingerprint, Local};
use super::input::Input;
use super::root::{Rooted, Roots, bytes_path};
use super::session::{DEP_GRAPH, Located, SITE_BYTES, Session};
use super::unit::{Content, OutputFile, Unit, UnitName};

/// A starting point, without the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose commit it is, as the publisher calls the repository; empty where it has no name.
    pub repository: String,
    /// The commit that was built.
    pub commit: String,
    /// The commit's tree.
    pub tree: String,
    /// Whether the work tree differed from the commit; such a starting point is never offered as the commit's.
    pub dirty: bool,
    /// When it was published, in seconds since 1970.
    pub published_unix_s: i64,
    /// Until when it may be used, in seconds since 1970.
    pub not_after_unix_s: i64,
    /// What built it.
    pub toolchain: Toolchain,
    /// The cargo commands, each as its arguments.
    pub commands: Vec<Vec<String>>,
    /// What of the repository was built.
    pub part: Part,
    /// Where the builder had its roots.
    pub roots: Roots,
    /// Configuration that shapes cargo's hashes: `Cargo.toml`s, `Cargo.lock`, `.cargo/config.toml`.
    pub settings: Vec<Input>,
    /// Packages of the units.
    pub packages: Vec<Package>,
    /// Everything that any unit was made from, each once.
    pub inputs: Vec<Input>,
    /// What sessions hold the place of, each once.
    pub located: Vec<Located>,
    /// The units, dependencies first.
    pub units: Vec<Unit>,
}

/// A workspace of a repository with a target directory: what one starting point is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// The workspace's root, relative to the top of the work tree; empty for the top itself.
    pub workspace: String,
    /// The target directory, likewise, where the build has several; empty where it is for cargo to say.
    pub target_dir: String,
}

impl Part {
    /// Checks that both directories lie below the top.
    pub fn check(&self) -> Result<(), Malformed> {
        let escapes = |dir: &&String| !dir.is_empty() && !stays_beneath(dir.as_bytes());
        let mut dirs = [&self.workspace, &self.target_dir].into_iter();
        let escape = |path: &String| Malformed::Escape("its part".to_owned(), path.clone());
        dirs.find(escapes).map_or(Ok(()), |path| Err(escape(path)))
    }
}

/// What compiled the units; a starting point serves only the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Toolchain {
    /// The text of `rustc -vV`.
    pub rustc: String,
    /// The text of `cargo -V`.
    pub cargo: String,
}

impl Toolchain {
    /// Returns both versions, for people.
    pub fn shown(&self) -> String {
        format!("{} with {}", self.short(), self.cargo)
    }

    /// Returns the compiler's first line: `rustc 1.95.0 (...)`.
    pub fn short(&self) -> &str {
        self.rustc.lines().next().unwrap_or("rustc")
    }
}

/// A package of a starting point.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where cargo has it from.
    pub source: Source,
    /// What the lock file says of its content, if it does: a registry may replace a version.
    pub checksum: Option<String>,
    /// The directory of its `Cargo.toml`.
    pub dir: Rooted,
}

impl Package {
    /// Returns cargo's "newest mtime (file)" of a path package, if that is what `fingerprint` has.
    pub fn newest_file<'a>(&self, fingerprint: &'a Fingerprint) -> Option<&'a str> {
        match (&fingerprint.local[..], self.source) {
            ([Local::Precalculated(text)], Source::Path) if !text.starts_with("overridden") => {
                Some(text)
            }
            _ => None,
        }
    }
}

/// Where cargo has a package from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A directory: its files may change at any time.
    Path,
    /// A registry or git repository: name and version are its content.
    Immutable,
    /// A directory that stands for a registry (`cargo vendor`).
    Vendored,
}

/// A manifest that no honest publisher writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A position points behind the end of its table.
    #[error("unit {0} refers to something that is not in the manifest")]
    Reference(String),
    /// A unit's path leaves its root.
    #[error("unit {0} names a path outside its root: {1}")]
    Escape(String, String),
    /// Its sizes cannot be added up.
    #[error("all it names is larger than any disk")]
    Size,
    /// The parts of a recipe are not what it makes.
    #[error("unit {0} has a recipe that does not add up")]
    Recipe(String),
}

/// What the outputs and sessions of a starting point have together at most, in bytes: a thousand times the largest seen.
const MAX_BYTES: u64 = 1 << 42;

impl Manifest {
    /// Checks all that decoding does not: positions lie in their tables, written paths stay beneath their root, recipes add
    /// up, and so do all sizes.
    pub fn check(&self) -> Result<(), Malformed> {
        self.part.check()?;
        let files = self.units.iter().flat_map(|unit| &unit.files);
        let is_link = |file: &&OutputFile| matches!(file.content, Content::Symlink(_));
        let links = files.filter(is_link).map(|file| bytes_path(&file.path));
        let links: HashSet<&Path> = links.collect();
        let is_input = |input: &u32| (*input as usize) < self.inputs.len();
        for (position, unit) in self.units.iter().enumerate() {
            let name = || unit.name.to_string();
            let known = (unit.package as usize) < self.packages.len()
                && unit.deps.iter().all(|dep| (*dep as usize) < position)
                && unit.inputs.iter().all(is_input)
                && unit.session.iter().all(|session| self.knows_sites(session));
            if !known {
                return Err(Malformed::Reference(name()));
            }
            if let Some(path) = escaping_path(unit).or_else(|| through_link(unit, &links)) {
                return Err(Malformed::Escape(name(), path));
            }
            let adds_up = |file: &OutputFile| match &file.content {
                Content::Recipe(recipe) => recipe.adds_up(),
                _ => true,
            };
            if !unit.files.iter().all(adds_up) {
                return Err(Malformed::Recipe(name()));
            }
        }
        let mut sizes = self.units.iter().flat_map(Unit::sizes);
        let all = sizes.try_fold(0_u64, |all, size_bytes| all.checked_add(size_bytes));
        let fits = all.is_some_and(|all| all <= MAX_BYTES);
        fits.then_some(()).ok_or(Malformed::Size)
    }

    /// Tells whether every site of `session` lies in its dep-graph and refers to something in the table.
    fn knows_sites(&self, session: &Session) -> bool {
        let size_bytes = session.file(DEP_GRAPH).map_or(0, |file| file.size_bytes);
        session.sites.iter().all(|site| {
            let end = site.offset.checked_add(SITE_BYTES);
            end.is_some_and(|end| end <= size_bytes) && (site.located as usize) < self.located.len()
        })
    }

    /// Returns every object with its size, each once, those of one unit side by side.
    pub fn objects(&self) -> Vec<(Digest, u64)> {
        let mut seen = HashSet::new();
        let all = self.units.iter().flat_map(Unit::objects);
        all.filter(|(digest, _)| seen.insert(*digest)).collect()
    }

    /// Returns the package of `unit`.
    pub fn package(&self, unit: &Unit) -> &Package {
        &self.packages[unit.package as usize]
    }

    /// Returns what `unit` was made from.
    pub fn inputs_of<'a>(&'a self, unit: &'a Unit) -> impl Iterator<Item = &'a Input> {
        unit.inputs.iter().map(|at| &self.inputs[*at as usize])
    }

    /// Returns the estimated time to compile `unit`, in milliseconds.
    pub fn cost_ms(&self, unit: &Unit) -> u64 {
        let compiled = unit.compiled.as_ref();
        compiled.map_or(UNKNOWN_COST_MS, |compiled| compiled.elapsed_ms)
    }
}

/// What a unit whose compile nobody timed is taken to cost: the median of small crates.
const UNKNOWN_COST_MS: u64 = 500;

/// Returns a path of `unit` that placing it would write outside the build directory.
fn escaping_path(unit: &Unit) -> Option<String> {
    let name = &unit.name;
    let parts = [&name.profile_dir, &name.dir, &name.stem].into_iter();
    let session = unit.session.iter().flat_map(|session| {
        let files = session.files.iter().map(|file| &file.name);
        [&session.crate_dir, &session.name].into_iter().chain(files)
    });
    let local = unit.fingerprint.local.iter();
    let local = local.filter_map(|local| match local {
        Local::CheckDepInfo { dep_info: path, .. } | Local::RerunIfChanged { output: path, .. } => {
            Some(path.as_os_str().as_encoded_bytes())
        }
        Local::Precalculated(_) | Local::RerunIfEnvChanged { .. } => None,
    });
    let files = unit.files.iter().map(|file| &file.path[..]);
    let texts = parts.chain(session).map(String::as_bytes);
    let mut paths = texts.chain(local).chain(files);
    let escaping = paths.find(|path| !stays_beneath(path));
    let mut names = [&name.dir, &name.stem].into_iter().map(String::as_bytes);
    let nested = names.find(|part| part.contains(&b'/'));
    let mut links = unit.files.iter().filter(|file| match &file.content {
        Content::Symlink(target) => !link_stays_in_out_dir(name, &file.path, target),
        _ => false,
    });
    let path = escaping.or(nested).or_else(|| Some(&links.next()?.path))?;
    Some(String::from_utf8_lossy(path).into_owned())
}

/// Returns a path of `unit` that leads through one of `links`.
fn through_link(unit: &Unit, links: &HashSet<&Path>) -> Option<String> {
    let through = |path: &&Path| path.ancestors().skip(1).any(|above| links.contains(above));
    let mut paths = unit.files.iter().map(|file| bytes_path(&file.path));
    paths.find(through).map(|path| path.display().to_string())
}

/// Tells whether `path` is relative, not empty, and never goes up.
fn stays_beneath(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    !path.contains(&0) && parts.all(|part| !matches!(part, b"" | b"." | b".."))
}

/// Tells whether `path` lies in the `OUT_DIR` of the script that `unit` runs, and a link there to `target`
/// stays in it.
///
/// Only there, since that directory is made anew with each placing: no link of another manifest is met in it,
/// below which a path would lie elsewhere than it says.
pub fn link_stays_in_out_dir(unit: &UnitName, path: &[u8], target: &[u8]) -> bool {
    let out = format!("{}/build/{}/out/", unit.profile_dir, unit.dir);
    let below = path.strip_prefix(out.as_bytes());
    unit.runs_script() && below.is_some_and(|path| link_stays_beneath(path, target))
}

/// Tells whether a link at `path` to `target` points beneath the build directory.
fn link_stays_beneath(path: &[u8], target: &[u8]) -> bool {
    let mut depth = path.iter().filter(|byte| **byte == b'/').count();
    if target.is_empty() || target[0] == b'/' || target.contains(&0) {
        return false;
    }
    // Upwards only at the beginning: behind a name, which may be a link itself, `..` leads anywhere.
    let mut named = false;
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 || named => return false,
            b".." => depth -= 1,
            _ => named = true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{link_stays_beneath, stays_beneath};

    /// A list that anybody may have written could name any directory of the reader's as the one to place in.
    #[test]
    fn a_part_lies_below_the_top() {
        let part = |dir: &str| super::Part {
            workspace: String::new(),
            target_dir: dir.to_owned(),
        };
        for dir in ["", "build/bootstrap"] {
            assert!(part(dir).check().is_ok(), "{dir}");
        }
        for dir in ["/etc", "..", "build/../..", "build//x"] {
            assert!(part(dir).check().is_err(), "{dir}");
        }
    }

    /// A manifest could otherwise write anywhere its reader can.
    #[test]
    fn paths_stay_beneath_their_root() {
        assert!(stays_beneath(b"debug/deps/libx.rlib"));
        for hostile in [
            &b"../x"[..],
            b"/etc/x",
            b"a/../../x",
            b"",
            b"a//b",
            b"a\0b",
            b".",
        ] {
            assert!(!stays_beneath(hostile), "{hostile:?}");
        }
    }

    /// A link out of the target directory would let a later file be written through it.
    #[test]
    fn links_stay_beneath_their_root() {
        assert!(link_stays_beneath(b"debug/build/x/out/a", b"../b"));
        assert!(!link_stays_beneath(b"a/b", b"../../etc"));
        assert!(!link_stays_beneath(b"a/b", b"/etc"));
        assert!(!link_stays_beneath(b"a/b/c", b"link/../../x"));
    }
}
