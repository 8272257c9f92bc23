//! The header of a session's `dep-graph.bin`.
//!
//! Knows nothing of nodes and edges, whose encoding changes from version to version.

use std::ops::Range;

/// How many bytes hold the header, whatever the version's text.
pub const MAX_HEADER_BYTES: usize = MAGIC.len() + 2 + 1 + 255 + MAX_ARGS_HASH_BYTES;
/// The first bytes of every file of a session.
const MAGIC: &[u8; 4] = b"RSIC";
/// The last ones.
pub(super) const END: &[u8] = b"rust-end-file";
/// The size of the hash of the arguments, a `u64` as it is.
const ARGS_HASH_BYTES: usize = 8;
/// The same in seven bits a byte, the last without the highest bit.
pub const MAX_ARGS_HASH_BYTES: usize = 10;
/// The last version seen to write it so: 1.85 does, 1.95 does not. Taken wrongly, rustc throws the session away.
const LAST_IN_SEVEN_BITS: u32 = 85;

/// rustc's hash of its own arguments, as it writes it; must be the running rustc's for a session to be looked at.
pub type ArgsHash = Vec<u8>;

/// Returns the version text in a header, and where the hash of the arguments stands behind it.
///
/// None where the file is of another format. Source: rustc: rustc_incremental/src/persist/file_format.rs and
/// load.rs @ 1.85 to 1.98.
pub fn header(bytes: &[u8]) -> Option<(&str, Range<usize>)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (_format, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first()?;
    let version = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
    let start = MAGIC.len() + 3 + usize::from(*length);
    let size = match minor(version)? <= LAST_IN_SEVEN_BITS {
        true => 1 + bytes.get(start..)?.iter().position(|byte| *byte < 0x80)?,
        false => ARGS_HASH_BYTES,
    };
    let hash = start..start + size;
    bytes.get(hash.clone())?;
    (size <= MAX_ARGS_HASH_BYTES).then_some((version, hash))
}

/// Returns `85` of `1.85.0 (…)`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::header;

    fn file(version: &str) -> Vec<u8> {
        let mut bytes = b"RSIC\0\0".to_vec();
        bytes.push(u8::try_from(version.len()).unwrap());
        bytes.extend_from_slice(version.as_bytes());
        bytes.extend_from_slice(b"argshash");
        bytes.extend_from_slice(b"nodes");
        bytes
    }

    /// A hash written over something else would make a session of garbage.
    #[test]
    fn the_hash_stands_behind_the_version() {
        let bytes = file("1.95.0 (59807616e 2026-04-14)");
        let (version, hash) = header(&bytes).unwrap();
        assert_eq!(version, "1.95.0 (59807616e 2026-04-14)");
        assert_eq!(&bytes[hash], b"argshash");
    }

    /// 1.85 writes the hash in seven bits a byte, so that its size varies.
    #[test]
    fn an_old_hash_ends_where_its_last_byte_says() {
        let mut bytes = file("1.85.0");
        let at = bytes.len() - b"argshashnodes".len();
        bytes.splice(at.., [0xa6, 0xc0, 0x84, 0x01, 0x00, 0x08]);
        let (_, hash) = header(&bytes).unwrap();
        assert_eq!(&bytes[hash], [0xa6, 0xc0, 0x84, 0x01]);
        bytes.splice(at.., [0xff; 11]);
        assert!(header(&bytes).is_none());
    }

    /// What is no dep-graph, or ends early, must not be written to.
    #[test]
    fn other_files_have_no_header() {
        assert!(header(b"").is_none());
        assert!(header(b"RSIC").is_none());
        assert!(header(b"ELF.....................").is_none());
        let whole = file("1.95.0");
        assert!(header(&whole[..whole.len() - 6]).is_none());
        assert!(header(b"RSIC\0\0\xff1.95").is_none());
    }
}
