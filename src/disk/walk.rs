//! What lies below a directory.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Result, failed};

/// How deep a tree is followed.
const MAX_DEPTH: usize = 64;

/// Something below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, relative to the directory walked.
    pub relative: PathBuf,
    /// What it is, symlinks followed.
    pub kind: Kind,
    /// Whether the entry itself is a symlink.
    pub link: bool,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 0,
    /// A directory.
    Directory = 1,
    /// A broken link, a socket, a device.
    Other = 2,
}

/// Returns everything below `dir`, symlinks followed, in no order; a link to a directory that it lies in is named and not followed.
pub fn below(dir: &Path) -> Result<Vec<Entry>> {
    visit(dir, Path::new(""), Some(&mut Vec::new()))
}

/// Returns everything below `dir` without following symlinks, which come as [`Kind::Other`] links.
pub fn below_without_links(dir: &Path) -> Result<Vec<Entry>> {
    visit(dir, Path::new(""), None)
}

/// Device and inode.
type FileId = (u64, u64);

/// `above` are the directories in which `dir/at` lies, where links are followed.
fn visit(dir: &Path, at: &Path, mut above: Option<&mut Vec<FileId>>) -> Result<Vec<Entry>> {
    let here = dir.join(at);
    let mut found = Vec::new();
    if let Some(above) = &mut above {
        let Some(own) = file_id(&here).filter(|own| !above.contains(own)) else {
            return Ok(found);
        };
        above.push(own);
    }
    for entry in std::fs::read_dir(&here).map_err(failed("list", &here))? {
        let entry = entry.map_err(failed("list", &here))?;
        let relative = at.join(entry.file_name());
        let own = entry.file_type().map_err(failed("inspect", &here))?;
        let link = own.is_symlink();
        let target = || std::fs::metadata(entry.path()).map(|meta| meta.file_type());
        let kind = match link && above.is_some() {
            true => target().map_or(Kind::Other, kind_of),
            false => kind_of(own),
        };
        if kind == Kind::Directory && at.iter().count() < MAX_DEPTH {
            found.extend(visit(dir, &relative, above.as_deref_mut())?);
        }
        found.push(Entry {
            relative,
            kind,
            link,
        });
    }
    above.map(Vec::pop);
    Ok(found)
}

fn kind_of(kind: std::fs::FileType) -> Kind {
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Kind::File,
        (_, true) => Kind::Directory,
        _ => Kind::Other,
    }
}

/// Returns the modification time of the file at `path`, or none where there is nothing.
pub fn mtime(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// Returns the newest modification time at or below `path`, directories and links included.
///
/// Source: cargo: cargo-util/src/paths.rs, `mtime_recursive` @ 1.95.
pub fn newest_mtime(path: &Path) -> Option<SystemTime> {
    newest(path, |meta| meta.modified().ok())
}

/// How far two times of one moment may lie apart.
const TICK: Duration = Duration::from_millis(20);

/// Returns when something at or below `path` was written, put there or given its time last, directories and links included, and links
/// and moved directories on the way to it from `root`, that itself too if it is `movable`: the system says so, where a file that was
/// moved or copied keeps its modification time.
pub fn newest_change(path: &Path, root: &Path, movable: bool) -> Option<SystemTime> {
    let above = path.ancestors().take_while(|above| *above != root);
    let above = above.chain(movable.then_some(root));
    let moved = above.filter_map(moved).max();
    Some(newest(path, changed)?.max(moved.unwrap_or(SystemTime::UNIX_EPOCH)))
}

/// Returns when the link at `path` was made, or the directory moved: that is the only one of its times that shows it, and what it was moved into has
/// been written by then. What is done in it later hides that.
fn moved(path: &Path) -> Option<SystemTime> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    let written = || path.parent().and_then(mtime).map(|time| time + TICK);
    let is_moved = |time: &SystemTime| {
        meta.is_dir() && meta.modified().ok() != Some(*time) && written() >= Some(*time)
    };
    match meta.is_symlink() {
        true => changed(&meta),
        false => ctime(&meta).filter(is_moved),
    }
}

/// Returns when the file was written, linked, renamed, or given its modification time last.
pub fn ctime(meta: &Metadata) -> Option<SystemTime> {
    let seconds = u64::try_from(meta.ctime()).ok()?;
    let nanoseconds = u32::try_from(meta.ctime_nsec()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds))
}

fn changed(meta: &Metadata) -> Option<SystemTime> {
    meta.modified().ok().max(ctime(meta))
}

fn newest(path: &Path, time: fn(&Metadata) -> Option<SystemTime>) -> Option<SystemTime> {
    let of = |path: &Path| time(&std::fs::metadata(path).ok()?);
    let mut newest = of(path)?;
    // A file has nothing below it.
    for entry in below(path).unwrap_or_default() {
        let below = path.join(&entry.relative);
        let of_link = || time(&std::fs::symlink_metadata(&below).ok()?);
        let link = entry.link.then(of_link).flatten();
        newest = newest.max(of(&below).max(link).unwrap_or(newest));
    }
    Some(newest)
}

/// Tells whether two paths lead to one file.
pub fn same_inode(a: &Path, b: &Path) -> bool {
    file_id(a).is_some_and(|a| Some(a) == file_id(b))
}

fn file_id(path: &Path) -> Option<FileId> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Returns the names of what is in `dir`, in no order; none where there is no such directory.
pub fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|one| one.file_name().into_string().ok())
}

/// Returns the sorted names of the directories in `dir`; none where there is no such directory.
pub fn subdirectories(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let directories = entries.filter(|one| one.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = directories.filter_map(|one| one.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Returns the sorted paths of the directories in `dir`, as [`subdirectories`] does their names.
pub fn directories(dir: &Path) -> Vec<PathBuf> {
    let names = subdirectories(dir).into_iter();
    names.map(|name| dir.join(name)).collect()
}
