//! Places the sessions of units that will be compiled, so that rustc starts from them.
//!
//! Rule: a seed may change how long rustc takes, never what it makes (invariant 5).

use std::path::Path;

use crate::disk::place::{Finish, MODE_FILE, Staging};
use crate::disk::{self, DiskError};
use crate::model::unit::Session;
use crate::rustc::session::{self, PLACED_TIMESTAMP, Parts};
use crate::store::{ObjectError, Store};

/// How placing a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeded {
    /// It is in place.
    Placed,
    /// rustc has one of its own here, or this very one is here; it stays.
    IsThere,
    /// An object is missing, damaged or unreadable; rustc starts from nothing.
    Incomplete,
}

/// Places `session` in the build directory `build`, under cargo's lock, unless rustc has one of its own
/// there; one that an earlier start placed is replaced.
///
/// The lock file comes last: rustc ignores and removes a session without one, so an interrupted placing
/// leaves nothing that it would read.
pub fn place(
    session: &Session,
    build: &Path,
    store: &Store,
    staging: &Staging,
) -> Result<Seeded, DiskError> {
    let crate_dir = build.join(&session.crate_dir);
    let name = format!("s-{PLACED_TIMESTAMP}-{}", session.name);
    if let Some(there) = session::newest(&crate_dir) {
        match Parts::of(&there) {
            Some(parts) if parts.timestamp == PLACED_TIMESTAMP && there != name => {
                disk::remove_file(&crate_dir.join(parts.lock_file()))?;
                disk::remove_dir(&crate_dir.join(&there))?;
            }
            _ => return Ok(Seeded::IsThere),
        }
    }
    let Some(parts) = Parts::of(&name) else {
        return Ok(Seeded::Incomplete);
    };
    let dir = crate_dir.join(&name);
    disk::remove_dir(&dir)?;
    disk::make_dir(&dir)?;
    let finish = Finish {
        mode: MODE_FILE,
        mtime: None,
    };
    for file in &session.files {
        match store.get(file.digest, staging, &dir.join(&file.name), finish) {
            Ok(()) => {}
            Err(ObjectError::Disk(error)) => return Err(error),
            Err(ObjectError::Missing(_) | ObjectError::Damaged(_) | ObjectError::Unreadable(_)) => {
                disk::remove_dir(&dir)?;
                return Ok(Seeded::Incomplete);
            }
        }
    }
    staging.write(&crate_dir.join(parts.lock_file()), b"", finish)?;
    Ok(Seeded::Placed)
}
