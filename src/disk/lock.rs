//! Locks on files, the same kind that cargo and rustc take.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::{Result, failed};

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Locks the file at `path`, made if need be; waits as long as another process holds it.
///
/// `on_wait` is called once, before waiting. A file system without locks gives no lock and no error, as
/// with cargo.
#[expect(clippy::disallowed_methods, reason = "disk locks")]
pub fn exclusive(path: &Path, on_wait: impl FnOnce()) -> Result<Lock> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(failed("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            on_wait();
            file.lock().map_err(failed("lock", path))?;
        }
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
    }
    Ok(Lock { _file: file })
}

/// Tells whether a process holds the lock on the file at `path`. A file that is not there, or that cannot be locked, is nobody's.
///
/// Takes the lock for a moment, shared with others that ask: whoever locks the file has to wait for that, not to try.
#[expect(clippy::disallowed_methods, reason = "disk locks")]
pub fn is_held(path: &Path) -> bool {
    let file = File::open(path);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Locks the file at `path` beside others that read; none where somebody holds it alone, or it is not there, or cannot be locked.
#[expect(clippy::disallowed_methods, reason = "disk locks")]
pub fn shared(path: &Path) -> Option<Lock> {
    let file = File::open(path).ok()?;
    file.try_lock_shared().ok()?;
    Some(Lock { _file: file })
}

/// Tells whether the directory `dir` lies where cargo takes no locks, as they may be waited for for ever. Source: cargo:
/// util/flock.rs, `is_on_nfs_mount`.
pub fn is_on_nfs(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|stat| stat.f_type == rustix::fs::NFS_SUPER_MAGIC)
}
