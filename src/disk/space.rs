//! Room on a file system, and which one it is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::existing;

/// Returns the bytes free for this user where `path` is, or none where the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(existing(path)?).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns the number of the file system where `path` is, or would be.
pub fn device(path: &Path) -> Option<u64> {
    Some(std::fs::metadata(existing(path)?).ok()?.dev())
}
