//! Who is believed. A starting point is code that runs on the reader: proc-macros, build scripts' results.
//!
//! It is believed because of where it lies, a directory of the reader's or of root's that not everybody may write
//! to; or because of who signed it, with a key that the reader believes.

pub mod beliefs;
pub mod directory;
pub mod keyring;
pub mod keys;
pub mod signature;
pub mod statement;

use std::path::PathBuf;

pub use directory::{Believed, store};
pub use keyring::Keyring;
pub use keys::{KeyError, KeyId, PublicKey, SecretKey, new_pair};
pub use signature::{signed, verify};

/// Something that was checked, and may be placed.
#[derive(Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Returns what was checked.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Why something is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Others may write the store, and how.
    #[error("the store {} {}, and its starting points run code on this machine", .0.display(), .1)]
    Directory(PathBuf, &'static str),
    /// Nobody signed it.
    #[error("it is not signed, and starting points run code on this machine")]
    Unsigned,
    /// Nobody who is believed signed it.
    #[error("it is signed by {}, which is not believed here", ids(.0))]
    Strangers(Vec<KeyId>),
    /// The signature is in the name of a believed key, and does not match.
    #[error("its signature by {0} does not match what was signed: it is damaged, or forged")]
    Mismatch(KeyId),
    /// No signature can be read.
    #[error("its signature cannot be read: {0}")]
    Unreadable(&'static str),
    /// A later version wrote the statement of a root.
    #[error("it is of format {0}, which this version does not know")]
    Newer(u16),
    /// The statement of a root does not count, and why.
    #[error("{0}")]
    Statement(String),
}

/// What is believed, or why not.
pub type Result<T, E = TrustError> = std::result::Result<T, E>;

/// Returns the ids as a text of their own.
fn ids(all: &[KeyId]) -> String {
    let ids: Vec<String> = all.iter().map(ToString::to_string).collect();
    ids.join(" and ")
}
