//! rustc's incremental state of one unit, and what of it tells where crates lay.
//!
//! A session is good at one set of paths only. What makes it so is known here as values: the places of the crates
//! that rustc loaded and of the outputs that it wrote, and where in the session their hashes stand. See note 0007.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::root::Rooted;

/// The file of a session that [`Site`]s lie in.
pub const DEP_GRAPH: &str = "dep-graph.bin";
/// The file of a session that has the results of queries, with positions of nodes in [`DEP_GRAPH`].
pub const QUERY_CACHE: &str = "query-cache.bin";
/// The size of a hash in it.
pub const SITE_BYTES: u64 = 16;

/// rustc's incremental state of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `<profile>/incremental/<crate>-<id>`, relative to the build directory.
    pub crate_dir: String,
    /// The session directory's name behind its timestamp: `<random>-<svh>`.
    pub name: String,
    /// File names with their objects.
    pub files: Vec<SessionFile>,
    /// Where the dep-graph holds something that differs with the place of the build.
    pub sites: Vec<Site>,
}

impl Session {
    /// Returns the file called `name`.
    pub fn file(&self, name: &str) -> Option<&SessionFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Returns the query cache, and the dep-graph whose nodes it names by position.
    pub fn cache_and_graph(&self) -> Option<(Digest, Digest)> {
        Some((self.file(QUERY_CACHE)?.digest, self.file(DEP_GRAPH)?.digest))
    }
}

/// One file of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFile {
    /// Its name in the session directory.
    pub name: String,
    /// Its object.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// A place in a dep-graph whose 16 bytes are rustc's hash of [`Located`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Where the hash begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// Position of what it is the hash of, in the manifest's table.
    pub located: u32,
}

/// Something that rustc hashed with its place, in the way that reproduced the hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Located {
    /// The files in which rustc found a crate.
    Crate {
        /// The dynamic library, the rlib, the rmeta: each if rustc had it.
        files: [Option<Rooted>; 3],
        /// How this rustc hashes them.
        formula: Formula,
    },
    /// The names of the unit's own outputs, as this rustc hashes them.
    Outputs(NamesFormula),
}

/// Where a compile's outputs went, and how they were named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputNames {
    /// The directory, as rustc was told.
    pub told: Vec<u8>,
    /// What the names begin with: `<crate>-<hash>`.
    pub stem: String,
    /// How many kinds of outputs rustc was told to make.
    pub kinds: usize,
}

/// How a version of rustc hashes the names of a compile's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamesFormula {
    /// How many optional fields stand before the kinds.
    pub fields: u8,
    /// The number that this version has for each kind of output, rising.
    pub kinds: Vec<u8>,
}

/// How a version of rustc hashes the source of a crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Formula {
    /// How many optional fields follow the three files: 1 since there is an interface of stable dylibs.
    pub further_fields: u8,
    /// The kind of search path that is hashed with each file, in versions that do.
    pub path_kind: Option<u8>,
}
