//! The list of the newest starting points in a tier: small, signed, and the only file there that changes.

use serde::{Deserialize, Serialize};

use super::format::{self, FormatError, Result};
use super::point::Point;
use crate::model::{Digest, Epoch, Toolchain};

/// How many starting points a head lists.
const MAX_ENTRIES: usize = 500;
/// How many signatures of a manifest are kept; readers look at no more.
const MAX_SIGNATURES: usize = 16;
/// The first bytes of every head.
const MAGIC: &[u8; 8] = b"HEADSLST";
/// The version that this version writes and reads.
const VERSION: u16 = 1;
/// The largest head that is fetched or decoded.
pub const MAX_HEAD_BYTES: usize = 32 << 20;
/// The largest list of signatures that is read.
const MAX_LIST_BYTES: usize = 64 << 10;
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

/// Returns where a tier keeps what was published of `commit` and is to be signed: a head without signatures.
pub fn unsigned_key(commit: &str) -> String {
    format!("v1/unsigned/{commit}")
}

impl Head {
    /// Returns this head with `entry` in it, in the place of what was published of the same commit by the same commands.
    /// What others signed of the same manifest stays signed by them; what has expired, which no reader would take, goes.
    pub fn with(mut self, mut entry: Entry, now_unix_s: i64) -> Head {
        let before = self.of(entry.point.manifest);
        for signature in before.iter().flat_map(|before| &before.signatures) {
            if entry.signatures.len() < MAX_SIGNATURES && !entry.signatures.contains(signature) {
                entry.signatures.push(signature.clone());
            }
        }
        let same = |other: &Entry| {
            other.point.commit == entry.point.commit
                && other.point.file_name() == entry.point.file_name()
        };
        let lasts = |other: &Entry| other.point.not_after_unix_s >= now_unix_s;
        self.entries.retain(|other| !same(other) && lasts(other));
        self.entries.insert(0, entry);
        self.entries.truncate(MAX_ENTRIES);
        // Where a list was lost, or an older one put back, what comes next is newer all the same than what readers have seen.
        let now = now_unix_s.unsigned_abs();
        self.sequence = self.sequence.saturating_add(1).max(now);
        self.written_unix_s = now_unix_s;
        self
    }

    /// Returns the entry of the manifest `manifest`.
    pub fn of(&self, manifest: Digest) -> Option<&Entry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.point.manifest == manifest)
    }

    /// Tells whether `entry` is in it, with all its signatures.
    pub fn has(&self, entry: &Entry) -> bool {
        let there = self.of(entry.point.manifest);
        there.is_some_and(|there| {
            let signed = |one| there.signatures.contains(one);
            there.point == entry.point && entry.signatures.iter().all(signed)
        })
    }

    /// Returns the bytes that are to be signed.
    pub fn to_sign(&self) -> Vec<u8> {
        let plain = serde_json::to_vec(self).expect("a head holds only plain values");
        let compressed = || -> std::io::Result<Vec<u8>> {
            let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
            // What is believed for its directory has no signature that would show a bit that flipped on the way.
            compressor.include_checksum(true)?;
            compressor.compress(&plain)
        };
        compressed().expect("memory for a compressed head")
    }
}

/// Returns a head's file: `signed`, from [`Head::to_sign`], with its signatures.
pub fn encode(signed: &[u8], signatures: &[String]) -> Vec<u8> {
    let list = serde_json::to_vec(signatures).expect("texts are plain values");
    format::joined(MAGIC, VERSION, &list, signed)
}

/// Returns what is signed of a head's file, and its signatures: all that may be looked at of one that nobody is believed to have written.
pub fn split(bytes: &[u8]) -> Result<(&[u8], Vec<String>)> {
    let (list, signed) = format::sized(format::versioned(bytes, MAGIC, VERSION)?)?;
    let list = Some(list).filter(|list| list.len() <= MAX_LIST_BYTES);
    let signatures = list.and_then(|list| serde_json::from_slice(list).ok());
    Ok((signed, signatures.ok_or(FormatError::Damaged)?))
}

/// Returns the head in `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Read> {
    let (signed, signatures) = split(bytes)?;
    let plain = zstd::bulk::decompress(signed, MAX_HEAD_BYTES).map_err(|_| FormatError::Damaged)?;
    let head: Head = serde_json::from_slice(&plain).map_err(|_| FormatError::Damaged)?;
    for entry in &head.entries {
        entry.point.check()?;
    }
    Ok(Read {
        head,
        signed: signed.to_vec(),
        signatures,
    })
}

#[cfg(test)]
mod tests {
    use super::{Entry, Head, decode, encode};
    use crate::model::epoch::Epoch;
    use crate::store::point::Point;

    fn entry(commit: &str, not_after: &str) -> Entry {
        let manifest = "0".repeat(64);
        let json = format!(
            r#"{{"version": 1, "commit": "{commit}", "manifest": "{manifest}", "dirty": false, "published_unix_s": 1,
                "toolchain": {{"rustc": "", "cargo": ""}}, "commands": [], "units": 0, "size_bytes": 0 {not_after}}}"#
        );
        Entry {
            point: Point::decode(json.as_bytes()).expect("it is whole"),
            epoch: Epoch::of(1),
            signatures: Vec::new(),
        }
    }

    /// Readers would ask for manifests that they then refuse; or a starting point that may be used would be lost.
    #[test]
    fn what_has_expired_leaves_the_list() {
        let mut head = Head::default();
        for (commit, not_after) in [
            ("aa", ", \"not_after_unix_s\": 99"),
            ("bb", ", \"not_after_unix_s\": 100"),
            ("cc", ""),
        ] {
            head = head.with(entry(commit, not_after), 50);
        }
        let head = head.with(entry("dd", ""), 100);
        // A list that was lost is made anew: it is no replay to who has seen the one before.
        assert!(Head::default().with(entry("ee", ""), 100).sequence >= head.sequence);
        let commits: Vec<&str> = head
            .entries
            .iter()
            .map(|one| one.point.commit.as_str())
            .collect();
        assert_eq!(commits, ["dd", "cc", "bb"]);
    }

    /// A list without signatures, of a believed directory, would say something else, or nothing, and nobody would be told.
    #[test]
    fn a_bit_that_flips_is_noticed() {
        let head = Head {
            sequence: 7,
            written_unix_s: 1_795_628_400,
            entries: Vec::new(),
        };
        let bytes = encode(&head.to_sign(), &[]);
        assert_eq!(decode(&bytes).unwrap().head, head);
        let behind = bytes.len() - head.to_sign().len();
        for at in behind..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let read = decode(&flipped).map(|read| read.head);
                assert!(
                    read.is_err() || read.is_ok_and(|read| read == head),
                    "{at} {bit}"
                );
            }
        }
    }
}
