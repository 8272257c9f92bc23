//! A build directory under cargo's own locks, and the time that marks what is placed in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cargo::layout;
use crate::disk::lock::{self, Lock};
use crate::disk::{self, PLAIN, Result, Staging};
use crate::engine::Ledger;
use crate::report::Reporter;

/// A build directory under cargo's own lock, with the time that placed files will be given.
#[derive(Debug)]
pub struct Held {
    /// The build directory.
    pub build: PathBuf,
    /// The place for unfinished files.
    pub staging: Staging,
    /// The time that placed files are given.
    pub mtime: SystemTime,
    _locks: Vec<Lock>,
}

/// By how much: seen by every file system that counts finer than seconds, and far below [`MARGIN`].
const STEP: Duration = Duration::from_millis(1);

/// How far the time of placed files lies before the moment at which it is taken.
///
/// Twice as long passes between locking and that moment where a cargo has built before, so that what the last one wrote is older than
/// what is placed. A source edited at that moment or later is then newer than they are, although the kernel's clock for
/// files ticks only every 1 to 10 ms (cargo: fingerprint/mod.rs, on #5918).
const MARGIN: Duration = Duration::from_millis(20);

/// Locks the profiles' directories below `build`, and takes the time that placed files will be given.
///
/// To be called before any input is compared: an input that changes later is newer than what is placed.
pub fn hold(build: &Path, profiles: &BTreeSet<&str>, reporter: &Reporter) -> Result<Held> {
    make_target_dir(build)?;
    let ledger = Ledger::of(build);
    let own: Vec<PathBuf> = ledger.dirs().collect();
    let own = own.iter().filter_map(|dir| dir.strip_prefix(build).ok());
    let dirs = profiles.iter().map(|profile| Path::new(*profile));
    disk::check_beneath(build, dirs.chain(own))?;
    let locks = lock(build, profiles, reporter)?;
    let staging = Staging::new(&ledger.staging_parent(), "start")?;
    let has_units = |dir: &&str| build.join(dir).join(layout::FINGERPRINTS).exists();
    if profiles.iter().any(has_units) {
        std::thread::sleep(2 * MARGIN);
    }
    let mtime = staging.now()? - MARGIN;
    Ok(Held {
        build: build.to_path_buf(),
        staging,
        mtime,
        _locks: locks,
    })
}

/// Takes cargo's own locks below `build`, in cargo's order; waits for a cargo that builds there, and says so.
pub fn lock(build: &Path, profiles: &BTreeSet<&str>, reporter: &Reporter) -> Result<Vec<Lock>> {
    let mut ordered: Vec<&&str> = profiles.iter().collect();
    ordered.sort_by_key(|profile| (profile.matches('/').count(), **profile));
    let mut locks = Vec::new();
    for profile in ordered {
        let dir = build.join(profile);
        disk::make_dir(&dir)?;
        for name in layout::LOCKS.iter().filter(|_| !lock::is_on_nfs(&dir)) {
            let wait = || reporter.note(format!("waiting for a build in {}", dir.display()));
            locks.push(lock::exclusive(&dir.join(name), wait)?);
        }
    }
    Ok(locks)
}

/// Makes the build directory as cargo does, marked as something that backups leave out.
pub fn make_target_dir(build: &Path) -> Result<()> {
    const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
        # This file is a cache directory tag created by cargo.\n\
        # For information about cache directory tags see https://bford.info/cachedir/\n";
    if build.is_dir() {
        return Ok(());
    }
    disk::make_dir(build)?;
    let staging = Staging::new(&Ledger::of(build).staging_parent(), "tag")?;
    staging.write(&build.join("CACHEDIR.TAG"), TAG, PLAIN)
}

impl Held {
    /// Makes what is placed from now on newer than what was placed before, so that cargo builds again what
    /// was compiled against something that a further starting point replaces.
    pub fn later(&mut self) {
        self.mtime += STEP;
    }
}
