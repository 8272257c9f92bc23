//! Whose directory a store is. Knows nothing of keys: what lies in such a directory needs no signature.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{TrustError, Verified};

/// A store whose manifests are believed.
#[derive(Clone, Debug)]
pub struct Believed {
    store: PathBuf,
}

/// Returns the belief in the store at `root`: it is this user's or root's, and not open to all; or the user
/// said so with `--believe-store`.
pub fn store(root: &Path, said_so: bool) -> Result<Believed, TrustError> {
    let believed = Believed {
        store: root.to_path_buf(),
    };
    let Ok(meta) = std::fs::metadata(root) else {
        return Ok(believed);
    };
    let own = rustix::process::geteuid().as_raw();
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    match (
        meta.uid() == own || meta.uid() == 0,
        meta.mode() & WRITABLE_BY_OTHERS == 0,
    ) {
        _ if said_so => Ok(believed),
        (false, _) => Err(TrustError::OtherOwner(root.to_path_buf())),
        (_, false) => Err(TrustError::OpenToAll(root.to_path_buf())),
        (true, true) => Ok(believed),
    }
}

impl Believed {
    /// Returns `value`, read from this store as something that may be placed.
    pub fn vouch<T>(&self, value: T) -> Verified<T> {
        Verified(value)
    }

    /// Returns the store.
    pub fn root(&self) -> &Path {
        &self.store
    }
}
