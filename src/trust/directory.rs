//! Whose directory a store is. Knows nothing of keys: what lies in such a directory needs no signature.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Result, TrustError, Verified};

/// A store whose manifests are believed.
#[derive(Clone, Debug)]
pub struct Believed(());

/// Returns the belief in the store at `root`: it is this user's or root's, and not open to all; or the user
/// said so with `--believe-store`. One that cannot be looked at is another's.
pub fn store(root: &Path, said_so: bool) -> Result<Believed> {
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    let own = [rustix::process::geteuid().as_raw(), 0];
    let is_own = |meta: &std::fs::Metadata| own.contains(&meta.uid());
    let is_not = |why| Err(TrustError::Directory(root.to_path_buf(), why));
    match std::fs::metadata(root).ok().filter(is_own) {
        _ if said_so => Ok(Believed(())),
        None => is_not("belongs to another user"),
        Some(meta) if meta.mode() & WRITABLE_BY_OTHERS == 0 => Ok(Believed(())),
        Some(_) => is_not("can be written by anybody"),
    }
}

impl Believed {
    /// Returns `value`, read from this store as something that may be placed.
    pub fn vouch<T>(&self, value: T) -> Verified<T> {
        Verified(value)
    }
}
