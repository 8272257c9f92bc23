//! The pointer from a commit to its manifest, with what is worth knowing before that is read.

use serde::{Deserialize, Serialize};

use super::format::{FormatError, Result};
use crate::model::{Digest, Manifest, Part, Toolchain, Unit};

/// The point version that this version writes and reads.
const VERSION: u16 = 1;

/// A starting point as a commit's directory lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Format of this file.
    version: u16,
    /// The commit.
    pub commit: String,
    /// The manifest.
    pub manifest: Digest,
    /// Whether the work tree differed from the commit.
    pub dirty: bool,
    /// When it was published, in seconds since 1970.
    pub published_unix_s: i64,
    /// Until when it may be used, as far as is known without its manifest.
    #[serde(default = "for_ever")]
    pub not_after_unix_s: i64,
    /// What built it.
    pub toolchain: Toolchain,
    /// The cargo commands.
    pub commands: Vec<Vec<String>>,
    /// What of the repository was built.
    #[serde(default)]
    pub part: Part,
    /// How many units it has.
    pub units: usize,
    /// Size of all that its units made, in bytes.
    pub size_bytes: u64,
}

/// What does not say how long it may be used leaves that to its manifest.
fn for_ever() -> i64 {
    i64::MAX
}

#[derive(Deserialize)]
struct Header {
    version: u16,
}

impl Point {
    /// Returns the point of `manifest`, stored under `digest`.
    pub fn new(manifest: &Manifest, digest: Digest) -> Point {
        Point {
            version: VERSION,
            commit: manifest.commit.clone(),
            manifest: digest,
            dirty: manifest.dirty,
            published_unix_s: manifest.published_unix_s,
            not_after_unix_s: manifest.not_after_unix_s,
            toolchain: manifest.toolchain.clone(),
            commands: manifest.commands.clone(),
            part: manifest.part.clone(),
            units: manifest.units.len(),
            size_bytes: manifest.units.iter().map(Unit::size_bytes).sum(),
        }
    }

    /// Tells whether `manifest` is what it says: the same part of the same commit.
    pub fn is_of(&self, manifest: &Manifest) -> bool {
        let (commit, dirty, part) = (&manifest.commit, manifest.dirty, &manifest.part);
        (&self.commit, self.dirty, &self.part) == (commit, dirty, part)
    }

    /// Returns the name of the point's file: one for each toolchain, set of commands, part, and state of the tree.
    pub fn file_name(&self) -> String {
        let config = (&self.toolchain, &self.commands, &self.part, self.dirty);
        let config = postcard::to_allocvec(&config).expect("a point holds only plain values");
        Digest::of(&config).hex()
    }

    /// Returns the file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a point holds only plain values")
    }

    /// Returns the point in `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Point> {
        let header: Header = serde_json::from_slice(bytes).map_err(|_| FormatError::Damaged)?;
        if header.version != VERSION {
            return Err(FormatError::Newer(header.version));
        }
        let point: Point = serde_json::from_slice(bytes).map_err(|_| FormatError::Damaged)?;
        point.check()?;
        Ok(point)
    }

    /// Checks that it is of this version, and that its commit can be a file's name.
    pub fn check(&self) -> Result<()> {
        match self.commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            _ if self.version != VERSION => Err(FormatError::Newer(self.version)),
            true if self.part.check().is_ok() => Ok(()),
            _ => Err(FormatError::Damaged),
        }
    }
}
