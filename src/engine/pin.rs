//! Looks for the builder's roots in what a unit made.
//!
//! A root in debug information that a C compiler wrote is not counted: no program reads its own.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, ReadCache, ReadRef};

use crate::cargo::script_output;
use crate::disk::hash::each_window;
use crate::disk::{DiskError, without_dots};
use crate::model::{Digest, Finder, Occurrence, Root, Roots, bytes_path};

/// A file, read once.
#[derive(Debug)]
pub struct Scanned {
    /// The digest of its content.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Where roots stand in it.
    pub roots: Vec<Occurrence>,
}

/// How many occurrences are kept; a file with more is pinned whatever they are.
const MAX_OCCURRENCES: usize = 1 << 20;

/// Returns the digest of `path` and where it holds roots; memory does not grow with the file.
pub fn scan(path: &Path, finder: &Finder) -> Result<Scanned, DiskError> {
    let longest = finder.roots().spellings().map(|(_, path)| path.len()).max();
    let overlap = longest.unwrap_or(1).saturating_sub(1);
    let mut hasher = blake3::Hasher::new();
    let mut found: Vec<Occurrence> = Vec::new();
    let size_bytes = each_window(path, overlap, |window| {
        hasher.update(&window.bytes[window.carried..]);
        let all = finder.held(window.bytes);
        let new = all.filter(|one| one.end > window.carried);
        let moved = new.map(|one| Occurrence {
            start: one.start + window.start,
            end: one.end + window.start,
            ..one
        });
        found.extend(moved.take(MAX_OCCURRENCES.saturating_sub(found.len())));
    })?;
    Ok(Scanned {
        digest: hasher.finalize().into(),
        size_bytes,
        roots: found,
    })
}

/// Tells whether `path` is where the system installs what everybody has.
pub fn is_of_the_system(path: &Path) -> bool {
    const DIRS: [&str; 11] = [
        "/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/nix", "/dev", "/proc", "/sys",
    ];
    DIRS.iter().any(|dir| path.starts_with(dir))
}

/// Returns the first path in what a build script of the package in `dir` told cargo that lies below no root and is not of the system: a
/// neighbour of the workspace, or the user's own. What begins with no directory of this machine only looks like a path.
pub fn outside(output: &[u8], finder: &Finder, dir: &Path) -> Option<String> {
    let remapped = Roots::remapped();
    let moved = finder.rewrite(output, &remapped);
    let is_path = |path: &PathBuf| {
        let top: PathBuf = path.components().take(2).collect();
        let is_known = remapped.locate(path).root != Root::Absolute || is_of_the_system(path);
        top.parent().is_some() && top.is_dir() && !is_known
    };
    let straight = script_output::told(&moved).flat_map(script_output::absolute_paths);
    let straight = straight.map(|path| bytes_path(path).to_path_buf());
    let climbing = script_output::told(output).flat_map(script_output::climbing_paths);
    let climbing = climbing.map(|path| without_dots(&dir.join(bytes_path(path))));
    let climbing = climbing.filter(|path| finder.roots().locate(path).root == Root::Absolute);
    let found = straight.chain(climbing).find(is_path);
    found.map(|path| path.to_string_lossy().into_owned())
}

/// Returns the first root that `scanned` holds outside debug information.
pub fn outside_debug_info(path: &Path, scanned: &Scanned) -> Option<Root> {
    let first = scanned.roots.first()?;
    let complete = scanned.roots.len() < MAX_OCCURRENCES;
    let Some(ranges) = debug_ranges(path).filter(|_| complete) else {
        return Some(first.root);
    };
    let inside = |one: &&Occurrence| {
        let (start, end) = (one.start as u64, one.end as u64);
        let mut ranges = ranges.iter();
        ranges.any(|range| range.start <= start && end <= range.end)
    };
    let outside = scanned.roots.iter().find(|one| !inside(one));
    outside.map(|one| one.root)
}

/// Returns where debug information lies in an object file or an archive of them; none for other files.
fn debug_ranges(path: &Path) -> Option<Vec<Range<u64>>> {
    let cache = ReadCache::new(File::open(path).ok()?);
    if object::FileKind::parse(&cache).ok()? != object::FileKind::Archive {
        return object_ranges(&cache, 0);
    }
    let mut ranges = Vec::new();
    for member in ArchiveFile::parse(&cache).ok()?.members() {
        let (offset, size) = member.ok()?.file_range();
        let part = cache.range(offset, size);
        ranges.extend(object_ranges(part, offset).unwrap_or_default());
    }
    Some(ranges)
}

fn object_ranges<'data, R: ReadRef<'data>>(data: R, base: u64) -> Option<Vec<Range<u64>>> {
    let file = object::File::parse(data).ok()?;
    let is_debug = |name: &str| name.starts_with(".debug_") || name.starts_with("__debug_");
    let ranges = file.sections().filter_map(|section| {
        is_debug(section.name().ok()?).then_some(())?;
        let (start, size) = section.file_range()?;
        Some(base + start..base + start + size)
    });
    Some(ranges.collect())
}

#[cfg(test)]
mod tests {
    use super::scan;
    use crate::disk::hash::CHUNK_BYTES;
    use crate::model::rewrite::Finder;
    use crate::model::{Digest, Roots};
    use std::path::Path;

    /// A root across two reads would be missed, and the output taken for movable.
    #[test]
    fn a_root_across_chunks_is_seen_once() {
        let roots = Roots::new(Path::new("/builder/ws"), Path::new("/t"), Path::new("/c"));
        let finder = Finder::new(&roots);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        for before in [
            CHUNK_BYTES - 11,
            CHUNK_BYTES - 5,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            0,
        ] {
            let mut bytes = vec![b'.'; before];
            bytes.extend_from_slice(b"/builder/ws");
            bytes.resize(2 * CHUNK_BYTES + 7, b'.');
            std::fs::write(&file, &bytes).unwrap();
            let scanned = scan(&file, &finder).unwrap();
            let found: Vec<usize> = scanned.roots.iter().map(|one| one.start).collect();
            assert_eq!(found, [before]);
            assert_eq!(scanned.digest, Digest::of(&bytes));
        }
    }
}
