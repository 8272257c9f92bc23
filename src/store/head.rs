//! The list of the newest starting points in a tier: small, signed, and the only file there that changes.

use serde::{Deserialize, Serialize};

use super::format::{self, FormatError};
use super::point::Point;
use crate::model::epoch::Epoch;
use crate::model::{Digest, Toolchain};

/// How many starting points a head lists.
const MAX_ENTRIES: usize = 500;
/// The first bytes of every head.
const MAGIC: &[u8; 8] = b"HEADSLST";
/// The version that this version writes and reads.
const VERSION: u16 = 1;
/// The largest head that is fetched or decoded.
pub const MAX_HEAD_BYTES: usize = 32 << 20;
/// zstd's level.
const LEVEL: i32 = 3;

/// The newest starting points of one toolchain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Grows with every writing; an older one is a replay.
    pub sequence: u64,
    /// When it was written, in seconds since 1970.
    pub written_unix_s: i64,
    /// Newest first.
    pub entries: Vec<Entry>,
}

/// A starting point in a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The starting point.
    pub point: Point,
    /// When its manifest was written there.
    pub epoch: Epoch,
    /// Signatures of the manifest's bytes, as minisign writes them.
    pub signatures: Vec<String>,
}

/// A head as it was read: its parts are not believed before `signatures` of `signed` are.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it says.
    pub head: Head,
    /// The bytes that are signed.
    pub signed: Vec<u8>,
    /// Their signatures, as minisign writes them.
    pub signatures: Vec<String>,
}

/// Returns where a tier keeps the head of `toolchain`.
pub fn key(toolchain: &Toolchain) -> String {
    let bytes = postcard::to_allocvec(toolchain).expect("a toolchain holds only plain values");
    format!("v1/heads/{}", &Digest::of(&bytes).hex()[..16])
}

impl Head {
    /// Returns this head with `entry` in it, in the place of what was published of the same commit by the same commands.
    pub fn with(mut self, entry: Entry, now_unix_s: i64) -> Head {
        let same = |other: &Entry| {
            other.point.commit == entry.point.commit
                && other.point.file_name() == entry.point.file_name()
        };
        self.entries.retain(|other| !same(other));
        self.entries.insert(0, entry);
        self.entries.truncate(MAX_ENTRIES);
        self.sequence = self.sequence.saturating_add(1);
        self.written_unix_s = now_unix_s;
        self
    }

    /// Returns the bytes that are to be signed.
    pub fn to_sign(&self) -> Vec<u8> {
        let plain = serde_json::to_vec(self).expect("a head holds only plain values");
        zstd::bulk::compress(&plain, LEVEL).expect("memory for a compressed head")
    }
}

/// Returns a head's file: `signed`, from [`Head::to_sign`], with its signatures.
pub fn encode(signed: &[u8], signatures: &[String]) -> Vec<u8> {
    let list = serde_json::to_vec(signatures).expect("texts are plain values");
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(list.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&list);
    bytes.extend_from_slice(signed);
    bytes
}

/// Returns the head in `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Read, FormatError> {
    let (list, signed) = format::sized(format::versioned(bytes, MAGIC, VERSION)?)?;
    let signatures = serde_json::from_slice(list).map_err(|_| FormatError::Damaged)?;
    let plain = zstd::bulk::decompress(signed, MAX_HEAD_BYTES).map_err(|_| FormatError::Damaged)?;
    let head: Head = serde_json::from_slice(&plain).map_err(|_| FormatError::Damaged)?;
    let points = head.entries.iter().map(|entry| &entry.point);
    for point in points {
        point.check()?;
    }
    Ok(Read {
        head,
        signed: signed.to_vec(),
        signatures,
    })
}
