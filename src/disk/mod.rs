//! The only code that renames, links, locks and sets times.
//!
//! Knows files and directories, nothing of units or starting points.

pub mod hash;
pub mod lock;
pub mod place;
pub mod space;
pub mod walk;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

pub use place::{CopyError, Finish, PLAIN, Staging};

/// An operation on a file or directory that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {cause}", path.display())]
pub struct DiskError {
    /// What was tried: `read`, `write`, `lock`.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub cause: std::io::Error,
}

impl DiskError {
    /// Tells whether there was nothing at the path.
    pub fn is_missing(&self) -> bool {
        self.cause.kind() == std::io::ErrorKind::NotFound
    }

    /// Tells whether this user may not do that.
    pub fn is_denied(&self) -> bool {
        self.cause.kind() == std::io::ErrorKind::PermissionDenied
    }
}

/// What an operation on a file or directory returns.
pub type Result<T, E = DiskError> = std::result::Result<T, E>;

/// Returns a closure that wraps an I/O error of `operation` on `path`.
pub fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DiskError {
    move |cause| DiskError {
        operation,
        path: path.to_path_buf(),
        cause,
    }
}

/// Returns the error that the file at `path` cannot be understood, and why.
pub fn unusable(path: &Path, why: String) -> DiskError {
    failed("use", path)(std::io::Error::new(std::io::ErrorKind::InvalidData, why))
}

/// Returns the content of the file at `path`, which may have at most `limit_bytes`.
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let bytes = read_start(path, usize::try_from(limit_bytes + 1).unwrap_or(usize::MAX))?;
    if bytes.len() as u64 > limit_bytes {
        let cause = std::io::Error::other(format!("larger than {limit_bytes} bytes"));
        return Err(failed("read", path)(cause));
    }
    Ok(bytes)
}

/// Returns the first `limit_bytes` of the file at `path`, or all of a shorter one.
pub fn read_start(path: &Path, limit_bytes: usize) -> Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    let read = file.take(limit_bytes as u64).read_to_end(&mut bytes);
    read.map_err(failed("read", path))?;
    Ok(bytes)
}

/// Opens the file at `path` for reading what lies from `offset` on.
pub fn open_at(path: &Path, offset: u64) -> Result<std::fs::File> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(path).map_err(failed("open", path))?;
    let sought = file.seek(SeekFrom::Start(offset));
    sought.map_err(failed("read", path)).map(|_| file)
}

/// Returns `path` with every symlink resolved, or `path` itself where that fails.
pub fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Returns `path` without `..`, as cargo writes it, whatever links lead where.
pub fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

/// Tells whether the name of `path` ends with `extension`, behind a dot.
pub fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own == extension)
}

/// Removes the directory at `path` with all below it; nothing there is success.
pub fn remove_dir(path: &Path) -> Result<()> {
    removed(path, std::fs::remove_dir_all(path))
}

/// Removes the file at `path`; nothing there is success.
pub fn remove_file(path: &Path) -> Result<()> {
    removed(path, std::fs::remove_file(path))
}

fn removed(path: &Path, result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(failed("remove", path)),
    }
}

/// Refuses if one of `dirs`, relative to `root`, is or leads through a symbolic link below `root`; what is not there is none.
///
/// Looks, and holds nothing: who can put a link there meanwhile can write there as well.
pub fn check_beneath<'a>(root: &Path, dirs: impl Iterator<Item = &'a Path>) -> Result<()> {
    let all: BTreeSet<&Path> = dirs.flat_map(Path::ancestors).collect();
    for dir in all.into_iter().filter(|dir| !dir.as_os_str().is_empty()) {
        let path = root.join(dir);
        if path.is_symlink() {
            let kind = std::io::ErrorKind::NotADirectory;
            let cause = std::io::Error::new(kind, "it is a symbolic link");
            return Err(failed("place anything below", &path)(cause));
        }
    }
    Ok(())
}

/// Gives the file at `path` the present time of its file system.
#[expect(clippy::disallowed_methods, reason = "disk sets times")]
pub fn touch(path: &Path) -> Result<(), DiskError> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let now = Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::utimensat(CWD, path, &now, AtFlags::empty())
        .map_err(|error| failed("set the time of", path)(error.into()))
}

/// Tells whether this user could write at `path`, or make it; writes nothing.
pub fn is_writable(path: &Path) -> bool {
    let may_write = |dir| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok();
    existing(path).is_some_and(may_write)
}

/// Returns `path` or the nearest directory above it that is there.
pub fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|ancestor| ancestor.exists())
}

/// Makes the directory `path` and its parents.
pub fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(failed("create", path))
}

/// Tells whether anybody may execute the file at `path`.
pub fn is_executable(path: &Path) -> Result<bool, DiskError> {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::metadata(path).map_err(failed("inspect", path))?;
    Ok(meta.permissions().mode() & 0o111 != 0)
}
