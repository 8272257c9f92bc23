//! Looks for the builder's roots in what a unit made.
//!
//! A root in debug information that a C compiler wrote is not counted: no program reads its own.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use memchr::memmem;
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
    let mut packed: Option<Packed> = None;
    let size_bytes = each_window(path, overlap.max(BITCODE.len()), |window| {
        hasher.update(&window.bytes[window.carried..]);
        if packed.is_none() && memmem::find(window.bytes, BITCODE).is_some() {
            packed = Some(Packed::new(finder));
        }
        let in_bits = packed.iter().flat_map(|packed| packed.held(window.bytes));
        let all = finder.held(window.bytes).chain(in_bits);
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

/// What LLVM's bitcode begins with, which stands in libraries for optimising at link time. A text in it begins at any bit, and its bytes have eight or
/// seven.
const BITCODE: &[u8] = b"BC\xc0\xde";
/// What is shorter stands anywhere by chance; this long, it does in much code, and pins.
const MIN_PACKED_BYTES: usize = 3;

/// Finds roots in bitcode.
struct Packed {
    automaton: AhoCorasick,
    roots: Vec<Root>,
    /// Of which nobody can tell whether they are in it.
    short: Vec<Root>,
}

impl Packed {
    fn new(finder: &Finder) -> Packed {
        let spellings = finder.roots().spellings();
        let all = spellings.flat_map(|(root, path)| {
            let ways = [8, 7]
                .into_iter()
                .flat_map(|width| (0..8).map(move |at| (width, at)));
            ways.map(move |(width, at)| (root, packed(path, width, at)))
        });
        let (roots, texts): (Vec<Root>, Vec<Vec<u8>>) = all
            .filter(|(_, text)| text.len() >= MIN_PACKED_BYTES)
            .unzip();
        let automaton = AhoCorasick::new(texts).expect("a hundred short patterns are no trouble");
        let short = finder.roots().spellings();
        let short = short.filter(|(_, path)| path.len() <= MIN_PACKED_BYTES);
        Packed {
            automaton,
            roots,
            short: short.map(|(root, _)| root).collect(),
        }
    }

    fn held<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Occurrence> + 'a {
        let all = self.automaton.find_overlapping_iter(bytes);
        let found = all.map(|found| Occurrence {
            root: self.roots[found.pattern().as_usize()],
            start: found.start(),
            end: found.end(),
        });
        let short = self.short.iter().map(|root| Occurrence {
            root: *root,
            start: 0,
            end: bytes.len(),
        });
        found.chain(short)
    }
}

/// Returns the whole bytes of `text` where each of its own has `width` bits and the first begins at the bit `at`, the lowest first.
fn packed(text: &[u8], width: usize, at: usize) -> Vec<u8> {
    let own = text
        .iter()
        .flat_map(|byte| (0..width).map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = std::iter::repeat_n(0, at).chain(own).collect();
    let whole = bits.chunks_exact(8).skip(usize::from(at > 0));
    let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
    whole.map(byte).collect()
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
    // Who works in `/usr/src` or deep in `/opt` has neighbours there.
    let trees = finder.roots().spellings();
    let trees = trees.filter(|(root, _)| matches!(root, Root::Workspace | Root::Repository));
    let beside = trees.filter_map(|(_, path)| bytes_path(path).parent());
    let is_work = |dir: &&Path| {
        let in_opt = dir.parent().is_some_and(|up| up.starts_with("/opt"));
        in_opt || dir.starts_with("/usr/src") || dir.starts_with("/usr/local/src")
    };
    let beside: Vec<&Path> = beside.filter(is_work).collect();
    let is_systems =
        |path: &Path| is_of_the_system(path) && !beside.iter().any(|dir| path.starts_with(dir));
    let is_path = |path: &PathBuf| {
        let top: PathBuf = path.components().take(2).collect();
        let is_known = remapped.locate(path).root != Root::Absolute || is_systems(path);
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
    use crate::model::{Digest, Root, Roots};
    use std::path::Path;

    /// Where a program is optimised when it is linked, a library holds no byte of the builder's path, and what is linked of it elsewhere does.
    #[test]
    fn a_root_in_bitcode_is_seen_at_any_bit() {
        let build = Path::new("/builder/ws/target");
        let roots = Roots::new(Path::new("/builder/ws"), build, Path::new("/c"));
        let finder = Finder::new(&roots);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        for (width, at) in [(8, 0), (8, 1), (8, 7), (7, 0), (7, 3)] {
            let text = super::packed(b"x/builder/ws/target/y", width, at);
            let plain = (width, at) == (8, 0);
            for (magic, is_seen) in [(super::BITCODE, true), (&b"none"[..], plain)] {
                std::fs::write(&file, [magic, &text].concat()).unwrap();
                let found = scan(&file, &finder).unwrap().roots;
                let has = |root| found.iter().any(|one| one.root == root);
                // The one root lies in the other, and is looked for by itself.
                let seen = [has(Root::Workspace), has(Root::Build)];
                assert_eq!(seen, [is_seen; 2], "{width} {at}");
                // One of two letters may be anywhere in it.
                assert_eq!(has(Root::CargoHome), magic == super::BITCODE);
            }
        }
    }

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
