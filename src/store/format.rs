//! How a manifest is written: a versioned header, then postcard in one zstd frame. See `docs/format.md`.

use crate::model::Manifest;
use crate::model::manifest::Malformed;

/// The first bytes of every manifest.
const MAGIC: &[u8; 8] = b"HEADSTRT";
/// The manifest version that this version writes and reads.
pub(super) const VERSION: u16 = 12;
/// The largest manifest that is decoded; what somebody made who meant no good takes some tens of times that in memory.
const MAX_DECODED_BYTES: usize = 256 << 20;
/// zstd's level: 3 halves a manifest again over 1, at a cost of milliseconds.
const LEVEL: i32 = 3;

/// Why stored bytes are no manifest or point.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// Its content is not what its name says, or is torn.
    #[error("is damaged")]
    Damaged,
    /// A later version wrote it.
    #[error("is of format {0}, which this version does not know")]
    Newer(u16),
    /// It decodes, and no honest publisher writes such a thing.
    #[error("is malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// What stored bytes say, or why they say nothing.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;

/// Returns all that `manifest` says, not compressed.
pub fn plain(manifest: &Manifest) -> Vec<u8> {
    postcard::to_allocvec(manifest).expect("a manifest holds only plain values")
}

/// Returns the bytes of `manifest`.
pub fn encode(manifest: &Manifest) -> Vec<u8> {
    let plain = plain(manifest);
    let packed = zstd::bulk::compress(&plain, LEVEL).expect("memory for a compressed manifest");
    let size = (plain.len() as u64).to_le_bytes();
    [MAGIC, &VERSION.to_le_bytes()[..], &size, &packed].concat()
}

/// Returns what [`versioned`] and [`sized`] take apart again: `part`, with its size before it, and `rest`.
pub(super) fn joined(magic: &[u8; 8], version: u16, part: &[u8], rest: &[u8]) -> Vec<u8> {
    let size = (part.len() as u64).to_le_bytes();
    [magic, &version.to_le_bytes()[..], &size, part, rest].concat()
}

/// Returns what stands in `bytes` behind `magic` and `version`.
pub(super) fn versioned<'a>(bytes: &'a [u8], magic: &[u8; 8], version: u16) -> Result<&'a [u8]> {
    let rest = bytes.strip_prefix(magic).ok_or(FormatError::Damaged)?;
    let (found, rest) = rest.split_first_chunk().ok_or(FormatError::Damaged)?;
    match u16::from_le_bytes(*found) {
        found if found == version => Ok(rest),
        found => Err(FormatError::Newer(found)),
    }
}

/// Returns the part of `bytes` whose size stands before it, and what comes behind.
pub(super) fn sized(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk().ok_or(FormatError::Damaged)?;
    let size = usize::try_from(u64::from_le_bytes(*size)).map_err(|_| FormatError::Damaged)?;
    rest.split_at_checked(size).ok_or(FormatError::Damaged)
}

/// Returns the manifest in `bytes`, checked against its own rules.
pub fn decode(bytes: &[u8]) -> Result<Manifest> {
    let rest = versioned(bytes, MAGIC, VERSION)?;
    let (size, packed) = rest.split_first_chunk().ok_or(FormatError::Damaged)?;
    let size = usize::try_from(u64::from_le_bytes(*size)).ok();
    let size = size.filter(|size| *size <= MAX_DECODED_BYTES);
    let size = size.ok_or(FormatError::Damaged)?;
    let plain = zstd::bulk::decompress(packed, size).map_err(|_| FormatError::Damaged)?;
    if plain.len() != size {
        return Err(FormatError::Damaged);
    }
    let manifest: Manifest = postcard::from_bytes(&plain).map_err(|_| FormatError::Damaged)?;
    manifest.check()?;
    Ok(manifest)
}
