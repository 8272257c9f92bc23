//! What one cargo step left behind.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::fingerprint::Fingerprint;
use super::recipe::Recipe;
use super::root::{Root, Rooted};
use super::session::{OutputNames, Session};

/// A unit's place below the build directory; the same on every machine that builds the same thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitName {
    /// `debug`, `x86_64-unknown-linux-gnu/release`, ...
    pub profile_dir: String,
    /// `<package>-<hash>`.
    pub dir: String,
    /// `<kind>-<target>`: `lib-serde`, `test-bin-x`, `run-build-script-build-script-build`.
    pub stem: String,
}

impl UnitName {
    /// Returns the path of the fingerprint directory, relative to the build directory.
    pub fn fingerprint_dir(&self) -> PathBuf {
        PathBuf::from_iter([&*self.profile_dir, ".fingerprint", &*self.dir])
    }

    /// Returns the path of the file with the fingerprint's hash, relative to the build directory.
    pub fn hash_file(&self) -> PathBuf {
        self.fingerprint_dir().join(&self.stem)
    }

    /// Returns the path of the fingerprint's JSON, relative to the build directory.
    pub fn json_file(&self) -> PathBuf {
        self.fingerprint_dir().join(format!("{}.json", self.stem))
    }

    /// Returns the path of cargo's dep-info, relative to the build directory.
    pub fn dep_info_file(&self) -> PathBuf {
        self.fingerprint_dir().join(format!("dep-{}", self.stem))
    }

    /// Returns the path of a build script's directory, or of its run's, relative to the build directory.
    pub fn script_dir(&self) -> PathBuf {
        PathBuf::from_iter([&*self.profile_dir, "build", &*self.dir])
    }

    /// Returns what kind of unit it is, in cargo's words: `lib`, `test-bin`, `run-build-script`, ...
    pub fn kind(&self) -> &str {
        kind_and_name(&self.stem).0
    }

    /// Tells whether the unit is the run of a build script.
    pub fn runs_script(&self) -> bool {
        self.stem.starts_with("run-build-script-")
    }
}

/// Returns the kind and the name of the target in the stem of a unit; all of it is the kind where that is not known.
pub fn kind_and_name(stem: &str) -> (&str, &str) {
    const KINDS: [&str; 12] = [
        "run-build-script",
        "build-script",
        "test-integration-test",
        "integration-test",
        "test-example",
        "test-bench",
        "test-bin",
        "test-lib",
        "example",
        "bench",
        "bin",
        "lib",
    ];
    let name = |kind| Some((kind, stem.strip_prefix(kind)?.strip_prefix('-')?));
    KINDS.into_iter().find_map(name).unwrap_or((stem, ""))
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hash_file().display())
    }
}

/// A unit of a starting point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Where cargo keeps it.
    pub name: UnitName,
    /// Position of its package in the manifest.
    pub package: u32,
    /// Positions of the units it depends on; each less than its own.
    pub deps: Vec<u32>,
    /// cargo's record.
    pub fingerprint: Fingerprint,
    /// The main source where cargo hashes it as an absolute path.
    pub absolute_source: Option<Rooted>,
    /// cargo's dep-info; none for the run of a build script.
    pub dep_info: Option<DepInfo>,
    /// Positions of its inputs in the manifest.
    pub inputs: Vec<u32>,
    /// What it made.
    pub files: Vec<OutputFile>,
    /// The builder's roots that its outputs hold.
    pub pinned: Vec<Pin>,
    /// What the wrapper noted when it was compiled.
    pub compiled: Option<Compiled>,
    /// rustc's newest finalised session.
    pub session: Option<Session>,
}

impl Unit {
    /// Returns the size of all that it made, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|file| file.content.size_bytes());
        sizes.sum()
    }

    /// Returns the size of each file of what it made and of its session, in bytes.
    pub fn sizes(&self) -> impl Iterator<Item = u64> + '_ {
        let made = self.files.iter().map(|file| file.content.size_bytes());
        made.chain(self.session_objects().map(|(_, size_bytes)| size_bytes))
    }

    /// Returns the variables that it was made from, with their values where they were set.
    pub fn variables(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let declared = self.fingerprint.declared_variables();
        let read = self.dep_info.iter().flat_map(|info| &info.env);
        let all = declared.chain(read.map(|(name, value)| (name, value)));
        all.map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Returns every object of what it made and of its session, with its size.
    pub fn objects(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.outputs().chain(self.session_objects())
    }

    /// Returns the objects of what it made; those of a recipe may be its session's as well.
    pub fn outputs(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.files.iter().flat_map(|file| file.content.objects())
    }

    /// Returns the objects of its session.
    pub fn session_objects(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        let files = self.session.iter().flat_map(|session| &session.files);
        files.map(|file| (file.digest, file.size_bytes))
    }
}

/// cargo's binary dep-info, its paths without this machine in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepInfo {
    /// The files.
    pub files: Vec<DepPath>,
    /// Variables read by `env!` and `option_env!`, with their values.
    pub env: Vec<(String, Option<String>)>,
}

/// A file of a dep-info.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DepPath {
    /// Relative to the package.
    Package(Vec<u8>),
    /// Relative to the build directory.
    Build(Vec<u8>),
    /// Somewhere else.
    Elsewhere(Rooted),
}

/// One file that a unit made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Its path relative to the build directory.
    pub path: Vec<u8>,
    /// Whether cargo compares its mtime: rlib, rmeta, executable, a build script's `output`.
    pub artifact: bool,
    /// Whether it is text in which the builder's roots are replaced by the reader's.
    pub rewrite: bool,
    /// Whether it may be executed.
    pub executable: bool,
    /// What it holds.
    pub content: Content,
}

/// The content of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Small, and kept in the manifest itself.
    Inline(Vec<u8>),
    /// An object of the store.
    Object {
        /// Its name.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
    },
    /// A symbolic link with a relative target.
    Symlink(Vec<u8>),
    /// An empty directory.
    Directory,
    /// Not stored, since what it is made of is.
    Recipe(Recipe),
}

impl Content {
    /// Returns how many bytes placing it writes.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Object { size_bytes, .. } => *size_bytes,
            Content::Recipe(recipe) => recipe.size_bytes,
            Content::Symlink(_) | Content::Directory => 0,
        }
    }

    /// Returns the objects that placing it reads.
    pub fn objects(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        let (own, recipe) = match self {
            Content::Object { digest, size_bytes } => (Some((*digest, *size_bytes)), None),
            Content::Recipe(recipe) => (None, Some(recipe)),
            Content::Inline(_) | Content::Symlink(_) | Content::Directory => (None, None),
        };
        own.into_iter()
            .chain(recipe.into_iter().flat_map(Recipe::objects))
    }
}

/// A builder's root that an output holds: the unit is good only where that root has the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The root.
    pub root: Root,
    /// Where it was seen: a file of the unit, or the name of a variable.
    pub seen_in: String,
}

/// What the wrapper noted of a compile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// `--crate-name`.
    pub crate_name: String,
    /// `-C metadata`, as rustc was told.
    pub metadata: String,
    /// `-C incremental` as rustc was told, relative to the build directory; none where it is not compiled incrementally, or elsewhere.
    pub incremental: Option<String>,
    /// Whether rustc makes an executable of it.
    pub executable: bool,
    /// How long rustc ran.
    pub elapsed_ms: u64,
    /// Whether the wrapper remapped the roots.
    pub remapped: bool,
    /// The compiler and what it was told, without the roots; none for a unit that is not compiled incrementally, or where
    /// that is not known for sure.
    pub arguments: Option<Digest>,
    /// What of the arguments rustc hashes, as it was told; nothing where it was told of a place, or by another program, or where cargo does
    /// not run it at the workspace's root.
    #[serde(default)]
    pub line: Vec<String>,
    /// Where its outputs went; none for a unit that is not compiled incrementally.
    pub names: Option<OutputNames>,
    /// Whether rustc crashed on a seed and was run again without: its state is believed no more.
    pub crashed: bool,
}
