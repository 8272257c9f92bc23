//! Digests of files and directories.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::walk::{self, Kind};
use super::{Result, failed};
use crate::model::Digest;

/// How much is read at once: large enough that the system call costs nothing beside the hash, and small enough that what is read,
/// digested and written stays in a core's cache; 1 MiB was seen to be a fifth slower.
pub const CHUNK_BYTES: usize = 128 << 10;

/// How much more of a file a window has than the one before: less than what the allocator would ask the system for each time.
const WINDOW_BYTES: usize = 64 << 10;

/// Returns the digest and the size of the file at `path`; reads it once.
pub fn file(path: &Path) -> Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(failed("open", path))?;
    hasher.update_reader(file).map_err(failed("read", path))?;
    Ok((hasher.finalize().into(), hasher.count()))
}

/// Returns the digest of the file at `path`; none where it cannot be read.
pub fn of(path: &Path) -> Option<Digest> {
    file(path).ok().map(|(digest, _)| digest)
}

/// Returns the digest of the `size_bytes` of the file at `path` from `offset` on; of fewer where it ends before.
pub fn part(path: &Path, offset: u64, size_bytes: u64) -> Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let part = super::open_at(path, offset)?.take(size_bytes);
    hasher.update_reader(part).map_err(failed("read", path))?;
    Ok(hasher.finalize().into())
}

/// A part of a file that is searched for something which may begin in the part before.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// How many of them were in the window before as well.
    pub carried: usize,
    /// Where it begins in the file.
    pub start: usize,
}

/// Calls `each` with the content of `path`, a window at a time, each with the last `overlap` bytes of the one before; and
/// returns its size in bytes. Memory does not grow with the file.
pub fn each_window(path: &Path, overlap: usize, mut each: impl FnMut(Window<'_>)) -> Result<u64> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut file = BufReader::with_capacity(WINDOW_BYTES, file);
    let (mut bytes, mut start) = (Vec::new(), 0);
    loop {
        let carried = bytes.len();
        bytes.extend_from_slice(file.fill_buf().map_err(failed("read", path))?);
        let read = bytes.len() - carried;
        if read == 0 {
            return Ok((start + carried) as u64);
        }
        file.consume(read);
        each(Window {
            bytes: &bytes,
            carried,
            start,
        });
        let dropped = bytes.len().saturating_sub(overlap);
        bytes.drain(..dropped);
        start += dropped;
    }
}

/// Returns a buffer to read something of `size_bytes` with: no larger than it needs, since making one costs more than reading a small file.
pub fn buffer(size_bytes: u64) -> Vec<u8> {
    // One byte more, so that the end is seen without growing.
    let wanted = usize::try_from(size_bytes.saturating_add(1)).unwrap_or(CHUNK_BYTES);
    vec![0; wanted.clamp(1, CHUNK_BYTES)]
}

/// Returns one digest of all names, kinds and contents below the directory `path`, symlinks followed, with who may be executed; of a link that
/// leads to nothing, where it leads.
///
/// What cannot be read counts as its name alone, as cargo does (cargo: util/paths.rs, `mtime_recursive`).
pub fn tree(path: &Path) -> Result<Digest> {
    let mut entries = walk::below(path)?;
    entries.sort_by(|a, b| a.relative.cmp(&b.relative));
    let files = entries.iter().map(|entry| {
        let file = path.join(&entry.relative);
        let content = match (entry.kind, entry.link) {
            (Kind::File, _) => of(&file),
            (Kind::Other, true) => target(&file),
            _ => None,
        };
        let name = entry.relative.as_os_str().as_encoded_bytes();
        (name, kind(&file, entry.kind), content)
    });
    Ok(listing(files))
}

/// Returns what a listing says of the `kind` of the file at `path`: whether it may be executed, too.
pub fn kind(path: &Path, kind: Kind) -> u8 {
    let is_executable = kind == Kind::File && super::is_executable(path).unwrap_or(false);
    kind as u8 | u8::from(is_executable) << 7
}

/// Returns the digest of where the link at `path` leads.
fn target(path: &Path) -> Option<Digest> {
    let target = std::fs::read_link(path).ok()?;
    Some(Digest::of(target.as_os_str().as_encoded_bytes()))
}

/// Returns one digest of a list of names, kinds and contents, in the order given.
pub fn listing<'a>(entries: impl Iterator<Item = (&'a [u8], u8, Option<Digest>)>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for (name, kind, content) in entries {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(&[kind, u8::from(content.is_some())]);
        if let Some(digest) = content {
            hasher.update(digest.hex().as_bytes());
        }
    }
    hasher.finalize().into()
}
