//! Whose directory a store is. Knows nothing of keys: what lies in such a directory needs no signature.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Result, TrustError, Verified};

/// A store whose manifests are believed.
#[derive(Clone, Debug)]
pub struct Believed(());

/// Returns the belief in the store at `root`: it is this user's or root's, and not open to all; or the user
/// said so with `--believe-store`.
pub fn store(root: &Path, said_so: bool) -> Result<Believed> {
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    let meta = std::fs::metadata(root).ok().filter(|_| !said_so);
    let Some(meta) = meta else {
        return Ok(Believed(()));
    };
    if ![rustix::process::geteuid().as_raw(), 0].contains(&meta.uid()) {
        return Err(TrustError::OtherOwner(root.to_path_buf()));
    }
    match meta.mode() & WRITABLE_BY_OTHERS {
        0 => Ok(Believed(())),
        _ => Err(TrustError::OpenToAll(root.to_path_buf())),
    }
}

impl Believed {
    /// Returns `value`, read from this store as something that may be placed.
    pub fn vouch<T>(&self, value: T) -> Verified<T> {
        Verified(value)
    }
}
