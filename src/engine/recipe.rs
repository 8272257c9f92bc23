//! From an archive to its recipe: rustc puts the session's objects and the metadata into an rlib as they are.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, ReadCache, ReadRef};

use crate::disk::{self, DiskError, failed, hash};
use crate::engine::build::Result;
use crate::engine::pin::Scanned;
use crate::engine::record::{MAX_INLINE_BYTES, Recorded, Recorder};
use crate::model::{Digest, Piece, Recipe};

/// A stretch of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    /// Where it lies, in bytes.
    range: Range<u64>,
    /// The object that it is; none for what lies between objects.
    known: Option<Digest>,
}

impl Recorder<'_> {
    /// Returns the recipe of an archive that holds other objects of its unit, and stores what lies between them; none for
    /// other files.
    pub(super) fn recipe(
        &self,
        file: &Path,
        scanned: &Scanned,
        recorded: &mut Recorded,
    ) -> Result<Option<Recipe>> {
        if !is_archive(file) {
            return Ok(None);
        }
        let stretches = stretches(file, &recorded.unit.objects().collect())?;
        if stretches.is_empty() {
            return Ok(None);
        }
        self.refuse_secrets(file)?;
        let pieces = stretches.iter().map(|one| self.piece(file, one, recorded));
        let recipe = Recipe {
            digest: scanned.digest,
            size_bytes: scanned.size_bytes,
            pieces: pieces.collect::<Result<_, _>>()?,
        };
        // Nobody is given a recipe that was not followed once.
        Ok(Some(recipe).filter(|recipe| self.build.store.makes(recipe)))
    }

    fn piece(&self, file: &Path, stretch: &Stretch, recorded: &mut Recorded) -> Result<Piece> {
        let range = &stretch.range;
        let size_bytes = range.end - range.start;
        if stretch.known.is_none() && size_bytes <= MAX_INLINE_BYTES {
            let mut bytes = Vec::new();
            let read = open(file, range)?.read_to_end(&mut bytes);
            read.map_err(failed("read", file))?;
            return Ok(Piece::Inline(bytes));
        }
        let digest = match stretch.known {
            Some(digest) => digest,
            None => hash::part(file, range.start, size_bytes)?,
        };
        if !self.relies_on(digest, size_bytes) {
            let (store, content) = (self.build.store, open(file, range)?);
            store.put_from(self.staging, content, (digest, size_bytes))?;
            recorded.new_bytes += size_bytes;
            recorded.new_objects += 1;
        }
        Ok(Piece::Object { digest, size_bytes })
    }
}

/// Tells whether `path` is named as an archive.
pub(super) fn is_archive(path: &Path) -> bool {
    disk::has_extension(path, "rlib") || disk::has_extension(path, "a")
}

/// Returns the stretches of the archive at `path`, one behind the other from its beginning to its end; nothing if it holds
/// none of `known`, digests with their sizes, or is no archive.
fn stretches(path: &Path, known: &HashSet<(Digest, u64)>) -> Result<Vec<Stretch>, DiskError> {
    let sizes: HashSet<u64> = known.iter().map(|(_, size_bytes)| *size_bytes).collect();
    let mut stretches = Vec::new();
    let mut end = 0;
    for range in contents(path).unwrap_or_default() {
        let size_bytes = range.end - range.start;
        if range.start < end || size_bytes == 0 || !sizes.contains(&size_bytes) {
            continue;
        }
        let digest = hash::part(path, range.start, size_bytes)?;
        if known.contains(&(digest, size_bytes)) {
            stretches.extend(between(end..range.start));
            end = range.end;
            let known = Some(digest);
            stretches.push(Stretch { range, known });
        }
    }
    if !stretches.is_empty() {
        let meta = std::fs::metadata(path).map_err(failed("inspect", path))?;
        stretches.extend(between(end..meta.len()));
    }
    Ok(stretches)
}

/// Opens `range` of the file at `path` for reading.
fn open(path: &Path, range: &Range<u64>) -> Result<impl Read, DiskError> {
    disk::open_at(path, range.start).map(|file| file.take(range.end - range.start))
}

fn between(range: Range<u64>) -> Option<Stretch> {
    (!range.is_empty()).then_some(Stretch { range, known: None })
}

/// Returns where each member of the archive at `path` has its content; nothing if it is none.
fn contents(path: &Path) -> Option<Vec<Range<u64>>> {
    let cache = ReadCache::new(File::open(path).ok()?);
    let archive = ArchiveFile::parse(&cache).ok()?;
    let mut contents = Vec::new();
    for member in archive.members() {
        let member = member.ok()?;
        let (start, size) = member.file_range();
        let whole = start..start.checked_add(size)?;
        // rustc wraps it into an object file (rustc: rustc_codegen_ssa::back::metadata @ 1.95).
        let metadata = match member.name() {
            b"lib.rmeta" => section(cache.range(start, size), ".rmeta"),
            _ => None,
        };
        let inner = metadata.map(|inner| start + inner.start..start + inner.end);
        let inner = inner.filter(|inner| inner.end <= whole.end);
        contents.push(inner.unwrap_or(whole));
    }
    Some(contents)
}

fn section<'data, R: ReadRef<'data>>(data: R, name: &str) -> Option<Range<u64>> {
    let file = object::File::parse(data).ok()?;
    let (start, size) = file.section_by_name(name)?.file_range()?;
    Some(start..start.checked_add(size)?)
}

#[cfg(test)]
mod tests {
    use super::{Stretch, stretches};
    use crate::model::Digest;
    use std::collections::HashSet;

    /// Returns an archive of `members`, as `ar` writes it.
    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in members {
            let size = content.len();
            let name = format!("{name}/");
            bytes
                .extend(format!("{name:<16}0           0     0     644     {size:<10}`\n").bytes());
            bytes.extend_from_slice(content);
            bytes.extend((size % 2 == 1).then_some(b'\n'));
        }
        bytes
    }

    fn check(bytes: &[u8], known: &[&[u8]], expected: &[(usize, bool)]) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libx.rlib");
        std::fs::write(&file, bytes).unwrap();
        let named = |bytes: &&[u8]| (Digest::of(bytes), bytes.len() as u64);
        let known: HashSet<_> = known.iter().map(named).collect();
        let found = stretches(&file, &known).unwrap();
        let mut end = 0;
        let shown = found.iter().map(|Stretch { range, known }| {
            assert_eq!(range.start, end, "a gap or an overlap");
            end = range.end;
            let own = &bytes[range.start as usize..range.end as usize];
            assert!(known.is_none_or(|digest| digest == Digest::of(own)));
            (own.len(), known.is_some())
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert!(found.is_empty() || end == bytes.len() as u64);
    }

    /// An rlib would be stored twice, or be put together wrong and cost each reader its unit.
    #[test]
    fn members_that_are_objects_are_found() {
        let (a, b, c) = (&b"first"[..], &b"second"[..], &b"third!"[..]);
        let all = archive(&[("a.o", a), ("b.o", b), ("c.o", c), ("d.o", b"")]);
        check(&all, &[], &[]);
        check(&all, &[b"other", b""], &[]);
        check(&all, &[a], &[(68, false), (5, true), (193, false)]);
        // Of the same size, and not the same.
        check(&all, &[c], &[(200, false), (6, true), (60, false)]);
        let each = [68, 5, 61, 6, 60, 6, 60].into_iter().enumerate();
        let each: Vec<_> = each.map(|(at, size)| (size, at % 2 == 1)).collect();
        check(&all, &[a, b, c], &each);
    }

    /// A torn archive would crash the publish, or be given a recipe that reads behind its end.
    #[test]
    fn what_is_no_whole_archive_has_no_recipe() {
        let member = vec![7; 100];
        let whole = archive(&[("a.o", &member), ("lib.rmeta", b"no object file")]);
        let known: &[&[u8]] = &[&member, b"no object file"];
        check(
            &whole,
            known,
            &[(68, false), (100, true), (60, false), (14, true)],
        );
        for end in [0, 4, 8, 30, 68, 100] {
            check(&whole[..end], known, &[]);
        }
        check(&member, &[&member], &[]);
    }
}
