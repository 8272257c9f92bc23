//! Puts whole files in place: written aside, given their mode and time, then renamed.
//!
//! A reader of the final path sees the old file or the new one, never a part. Files are never hard links
//! of the store's: see note 0001.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::{DiskError, Result, failed, make_dir, walk};
use crate::model::Digest;

/// A directory on the file system of the files to be placed, for files that are not complete yet.
#[derive(Debug)]
pub struct Staging {
    /// The directory itself, for what another program writes; removed when this is dropped.
    pub dir: tempfile::TempDir,
    next: AtomicU64,
    reflink: AtomicBool,
    umask: u32,
}

/// How a file is to look once it is in place.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// Permission bits, before the umask.
    pub mode: u32,
    /// Its modification time; none leaves the time of writing.
    pub mtime: Option<SystemTime>,
}

impl Finish {
    /// Returns how a file looks that keeps the time of writing.
    pub const fn with_mode(mode: u32) -> Finish {
        Finish { mode, mtime: None }
    }
}

/// How a file looks that is nobody's output: as any program writes it.
pub const PLAIN: Finish = Finish::with_mode(MODE_FILE);

/// The mode of files that are not executed.
pub const MODE_FILE: u32 = 0o666;
/// The mode of executables.
pub const MODE_EXECUTABLE: u32 = 0o777;
/// The mode of files that only their owner may read.
pub const MODE_SECRET: u32 = 0o600;
/// The mode of stored objects, which nobody writes again.
pub const MODE_STORED: u32 = 0o444;

/// Returns the mode of an output.
pub fn mode_for(executable: bool) -> u32 {
    match executable {
        true => MODE_EXECUTABLE,
        false => MODE_FILE,
    }
}

/// How long unfinished files must lie untouched before another process removes them.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a verified copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source has another content than its name says.
    #[error("{} does not hold what its name says", .0.display())]
    Damaged(PathBuf),
    /// An operation failed; [`DiskError::path`] says on which side.
    #[error("{0}")]
    Disk(#[from] DiskError),
}

impl Staging {
    /// Makes a directory `<name>-...` in `parent` for the files of one operation; removes what others abandoned.
    pub fn new(parent: &Path, name: &str) -> Result<Staging> {
        make_dir(parent)?;
        let prefix = format!("{name}-");
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        let dir = made.map_err(failed("make a directory in", parent))?;
        remove_abandoned(parent, dir.path());
        let mut staging = Staging {
            dir,
            next: AtomicU64::new(0),
            reflink: AtomicBool::new(true),
            umask: 0,
        };
        let (probe, file) = staging.create(MODE_EXECUTABLE)?;
        let made = file.metadata().map_err(failed("inspect", &probe))?;
        staging.umask = !made.permissions().mode() & MODE_EXECUTABLE;
        drop(std::fs::remove_file(&probe));
        Ok(staging)
    }

    /// Tells whether the file system makes reflinks.
    pub fn can_reflink(&self) -> bool {
        let Ok((aside, mut file)) = self.create(MODE_FILE) else {
            return false;
        };
        file.write_all(b"x").is_ok() && self.clone_aside(&aside).is_some()
    }

    /// Writes `bytes` to `path`, replacing what is there.
    pub fn write(&self, path: &Path, bytes: &[u8], finish: Finish) -> Result<()> {
        let (aside, mut file) = self.create(finish.mode)?;
        let written = file.write_all(bytes).map_err(failed("write", path));
        self.settle(written.map(|()| file), &aside, path, finish)
    }

    /// Copies the file `source` to `path` if its content is `digest`; by reflink where the file system can.
    pub fn copy(
        &self,
        source: &Path,
        digest: Digest,
        path: &Path,
        finish: Finish,
    ) -> Result<(), CopyError> {
        let check = |seen: Digest| match seen == digest {
            true => Ok(()),
            false => Err(CopyError::Damaged(source.to_path_buf())),
        };
        if let Some(aside) = self.clone_aside(source) {
            let seen = check(super::hash::file(&aside)?.0);
            let file = seen.and_then(|()| Ok(reopen(&aside, finish.mode & !self.umask)?));
            return self.settle(file, &aside, path, finish);
        }
        let reader = File::open(source).map_err(failed("open", source))?;
        let buffer = super::hash::buffer(reader.metadata().map_or(u64::MAX, |meta| meta.len()));
        let (aside, file) = self.create(finish.mode)?;
        let unread = |error| failed("read", source)(error).into();
        let poured = pour(reader, (&file, path), buffer, unread);
        let copied = poured.and_then(|(seen, _)| check(seen));
        self.settle(copied.map(|()| file), &aside, path, finish)
    }

    /// Writes all of `content` to `path` if it is `size_bytes` long and its digest is `digest`; reads no further than that.
    pub fn write_from(
        &self,
        content: impl Read,
        object: (Digest, u64),
        path: &Path,
        finish: Finish,
    ) -> Result<(), CopyError> {
        let (aside, file) = self.create(finish.mode)?;
        let filled = fill(&file, content, object, path);
        self.settle(filled.map(|()| file), &aside, path, finish)
    }

    /// Makes the symbolic link `path` to `target`, replacing what is there.
    #[expect(clippy::disallowed_methods, reason = "disk renames")]
    pub fn symlink(&self, target: &Path, path: &Path) -> Result<()> {
        let aside = self.aside();
        std::os::unix::fs::symlink(target, &aside).map_err(failed("link", path))?;
        std::fs::rename(&aside, path).map_err(failed("place", path))
    }

    /// Returns the current time of this file system, never later than a file written after this call.
    pub fn now(&self) -> Result<SystemTime> {
        let (aside, file) = self.create(MODE_FILE)?;
        let now = file.metadata().and_then(|meta| meta.modified());
        drop(std::fs::remove_file(&aside));
        now.map_err(failed("inspect", &aside))
    }

    /// Gives the complete file at `aside`, one of [`Staging::aside`], its look and its place.
    pub fn settle_as(&self, aside: &Path, path: &Path, finish: Finish) -> Result<()> {
        let file = reopen(aside, finish.mode & !self.umask);
        self.settle(file, aside, path, finish)
    }

    /// Returns a path for an unfinished file, which nobody else uses.
    pub fn aside(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.path().join(number.to_string())
    }

    fn create(&self, mode: u32) -> Result<(PathBuf, File)> {
        let aside = self.aside();
        let file = new_file(&aside, mode)?;
        Ok((aside, file))
    }

    /// Returns a reflink of `source`; none where the file system has none, which is tried once.
    #[expect(clippy::disallowed_methods, reason = "disk links")]
    fn clone_aside(&self, source: &Path) -> Option<PathBuf> {
        if !self.reflink.load(Ordering::Relaxed) {
            return None;
        }
        let aside = self.aside();
        if reflink_copy::reflink(source, &aside).is_err() {
            drop(std::fs::remove_file(&aside));
            self.reflink.store(!source.exists(), Ordering::Relaxed);
            return None;
        }
        Some(aside)
    }

    /// Gives a complete file its time and its place, or removes an incomplete one.
    #[expect(clippy::disallowed_methods, reason = "disk sets times and renames")]
    fn settle<E: From<DiskError>>(
        &self,
        file: Result<File, E>,
        aside: &Path,
        path: &Path,
        finish: Finish,
    ) -> Result<(), E> {
        let placed = file.and_then(|file| {
            if let Some(mtime) = finish.mtime {
                let set = file.set_modified(mtime);
                set.map_err(failed("set the time of", path))?;
            }
            drop(file);
            Ok(std::fs::rename(aside, path).map_err(failed("place", path))?)
        });
        if placed.is_err() {
            drop(std::fs::remove_file(aside));
        }
        placed
    }
}

/// Copies the file `from` to `to`, whose directory is made; for directories that nobody reads yet.
#[expect(clippy::disallowed_methods, reason = "disk copies")]
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    to.parent().map_or(Ok(()), make_dir)?;
    let copied = std::fs::copy(from, to).map(|_| ());
    copied.map_err(failed("copy", from))
}

/// Moves the directory `from` to `to`, whose parent is made; an empty directory there gives way.
#[expect(clippy::disallowed_methods, reason = "disk renames")]
pub fn move_dir(from: &Path, to: &Path) -> Result<()> {
    to.parent().map_or(Ok(()), make_dir)?;
    std::fs::rename(from, to).map_err(failed("move", from))
}

/// Writes `bytes` to `path` by way of `aside`, a name that nobody else uses; makes their directories if need be.
///
/// For single small files, of which a [`Staging`] is several times the cost. What stands at `aside`, a link for instance, goes.
#[expect(clippy::disallowed_methods, reason = "disk renames")]
pub fn write_by(aside: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> Result<()> {
        super::remove_file(aside)?;
        create_new(aside, bytes, MODE_FILE)?;
        std::fs::rename(aside, path).map_err(failed("place", path))
    };
    match write() {
        Err(error) if error.is_missing() => {
            for dir in [aside, path].into_iter().filter_map(Path::parent) {
                make_dir(dir)?;
            }
            write()
        }
        done => done,
    }
}

/// Writes `bytes` to a new file at `path`, with the permission bits `mode`; what is there already stays, and is an error.
///
/// For what nobody may lose and nobody else may see, not even for a moment. If it fails, there is no file.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let written = new_file(path, mode)?.write_all(bytes);
    let written = written.map_err(failed("write", path));
    if written.is_err() {
        drop(std::fs::remove_file(path));
    }
    written
}

/// Writes each of `patches`, bytes with their offset, into the file at `path`, which must be nobody else's.
///
/// Not atomic: whoever may be interrupted here makes the file valid by something that comes later.
pub fn overwrite(path: &Path, patches: &[(u64, impl AsRef<[u8]>)]) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let file = OpenOptions::new().write(true).open(path);
    let file = file.map_err(failed("open", path))?;
    for (offset, bytes) in patches {
        let written = file.write_all_at(bytes.as_ref(), *offset);
        written.map_err(failed("write", path))?;
    }
    Ok(())
}

/// Writes all of `content` at `offset` into the file at `path`, which is made if need be, and must be nobody else's and no link; if it
/// is not `size_bytes` long with the digest `digest`, that is an error. Touches no other part of the file.
pub fn write_part(
    path: &Path,
    offset: u64,
    content: impl Read,
    object: (Digest, u64),
) -> Result<(), CopyError> {
    let mut options = OpenOptions::new();
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let opened = options.write(true).create(true).truncate(false).open(path);
    let mut file = opened.map_err(failed("open", path))?;
    let sought = std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset));
    sought.map_err(failed("write", path))?;
    fill(&file, content, object, path)
}

/// Writes `content` to `file`, which is or will be `path`, no more of it than `size_bytes`; fails if that is not all of it, or its
/// digest is not `digest`.
fn fill(
    file: &File,
    mut content: impl Read,
    (digest, size_bytes): (Digest, u64),
    path: &Path,
) -> Result<(), CopyError> {
    let buffer = super::hash::buffer(size_bytes);
    let damaged = || CopyError::Damaged(path.to_path_buf());
    // What cannot be decoded fails while it is read.
    let content_part = content.by_ref().take(size_bytes);
    let seen = pour(content_part, (file, path), buffer, |_| damaged())?;
    let is_all = || matches!(content.take(1).read_to_end(&mut Vec::new()), Ok(0));
    let is_right = seen == (digest, size_bytes) && is_all();
    is_right.then_some(()).ok_or_else(damaged)
}

/// Puts `bytes` in the place of `range` of the file at `path`, which must be nobody else's; where their sizes differ, all
/// that comes behind moves. Not atomic, as [`overwrite`].
pub fn splice(path: &Path, range: std::ops::Range<u64>, bytes: &[u8]) -> Result<()> {
    if range.end - range.start == bytes.len() as u64 {
        return overwrite(path, &[(range.start, bytes)]);
    }
    let splice = || -> std::io::Result<()> {
        let mut behind = File::open(path)?;
        let mut before = vec![0; usize::try_from(range.start).expect("a header")];
        behind.read_exact(&mut before)?;
        std::io::Seek::seek(&mut behind, std::io::SeekFrom::Start(range.end))?;
        std::fs::remove_file(path)?;
        let mut file = File::create_new(path)?;
        file.write_all(&before)?;
        file.write_all(bytes)?;
        std::io::copy(&mut behind, &mut file).map(|_| ())
    };
    splice().map_err(failed("write", path))
}

/// Makes the file at `path`, which must not be there.
fn new_file(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.map_err(failed("create", path))
}

/// Writes `bytes` to the file at `path`, which is the user's own: it keeps its mode, and stays a link if it is one to a file
/// elsewhere, as people keep their configuration. Makes its directory if need be.
#[expect(clippy::disallowed_methods, reason = "disk renames")]
pub fn write_kept(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = super::canonical(path);
    let dir = path.parent().unwrap_or(Path::new("."));
    make_dir(dir)?;
    let kept = std::fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o7777);
    let mode = std::fs::Permissions::from_mode(kept.unwrap_or(MODE_FILE));
    // Not in a staging directory, beside which whatever is old goes: here that is the user's.
    let made = tempfile::Builder::new()
        .prefix(".headstart-")
        .permissions(mode)
        .tempfile_in(dir);
    let mut file = made.map_err(failed("make a file in", dir))?;
    file.write_all(bytes).map_err(failed("write", &path))?;
    let placed = file.persist(&path).map(drop);
    placed.map_err(|error| failed("place", &path)(error.error))
}

/// Removes the directories beside `own` that nobody has touched for a day.
fn remove_abandoned(parent: &Path, own: &Path) {
    let now = walk::mtime(own);
    for dir in walk::directories(parent) {
        let times = now.zip(walk::mtime(&dir));
        let idle = times.and_then(|(now, then)| now.duration_since(then).ok());
        if idle.is_some_and(|idle| idle > ABANDONED) {
            drop(super::remove_dir(&dir));
        }
    }
}

/// Opens a reflinked file, which has its source's mode, and gives it `mode`.
#[expect(clippy::disallowed_methods, reason = "disk sets modes")]
fn reopen(path: &Path, mode: u32) -> Result<File> {
    let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    set.map_err(failed("set the mode of", path))?;
    File::open(path).map_err(failed("open", path))
}

/// Copies all of `from` into `to`, which is or will be `path`, a full `buffer` at a time, and returns digest and size of what went
/// through; `unread` says what it means that `from` cannot be read.
fn pour(
    mut from: impl Read,
    (mut to, path): (&File, &Path),
    mut buffer: Vec<u8>,
    unread: impl Fn(std::io::Error) -> CopyError,
) -> Result<(Digest, u64), CopyError> {
    let (mut hasher, full) = (blake3::Hasher::new(), buffer.len());
    loop {
        buffer.clear();
        let read = from.by_ref().take(full as u64).read_to_end(&mut buffer);
        let filled = read.map_err(&unread)?;
        hasher.update(&buffer);
        to.write_all(&buffer).map_err(failed("write", path))?;
        if filled < full {
            return Ok((hasher.finalize().into(), hasher.count()));
        }
    }
}
