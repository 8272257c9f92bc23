//! Gives a crate that holds its own place the hash that the builder's has, where it is the same for whoever is compiled against it.
//!
//! rustc's hash of a crate covers all of its source, with what `env!` put there; what others read of it is its metadata, which has the bodies of no
//! functions but those that others may have to compile. Where the metadata is the builder's byte for byte but for that hash, whatever was
//! compiled against the one is as good with the other. See note 0021.

use std::path::PathBuf;

use memchr::memmem;

use crate::disk::{self, DiskError, PLAIN, Staging};
use crate::engine::hit::Made;
use crate::engine::inherit;
use crate::engine::seed::{Beginning, Seed};
use crate::model::{Content, Digest, OutputFile, bytes_path};
use crate::rustc::session::{HASH_BYTES, Parts};
use crate::store::Store;

/// The largest library that is looked into.
const MAX_BYTES: u64 = 1 << 30;

/// The metadata of a crate as the builder has it.
#[derive(Debug)]
pub struct Alike {
    theirs: Vec<u8>,
    /// Where this machine's goes, and the library that holds it as well.
    metadata: PathBuf,
    library: Option<PathBuf>,
}

impl Beginning<'_> {
    /// Returns what the unit should be like where it holds its own place, by what it `made` for `seed`; none where that is not known.
    pub fn alike(&self, (seed, made): &(Seed, Made)) -> Option<Alike> {
        // Of a session elsewhere nobody knows whose it is.
        let may_be = made.elsewhere && self.sessions().is_some();
        // What its macros read of itself may be another's, whose own hash covers that no more than this one's metadata does.
        if !may_be || !self.is_untouched(made) || !self.has_variables(made) {
            return None;
        }
        let metadata = made.file("rmeta")?;
        let Content::Object { digest, .. } = metadata.content else {
            return None;
        };
        let store = Store::open(&seed.store).ok()?;
        let theirs = disk::read(&store.object(digest), MAX_BYTES).ok()?;
        let place = |file: &OutputFile| self.ledger.build().join(bytes_path(&file.path));
        (Digest::of(&theirs) == digest).then(|| Alike {
            theirs,
            metadata: place(metadata),
            library: made.file("rlib").map(place),
        })
    }
}

impl Alike {
    /// Puts the builder's hash in the place of the one that rustc has given the unit `of`, if they differ in nothing else; whoever depends on it is
    /// compiled again otherwise. Fails where one of its files has the one hash, and the other cannot be given it: both are removed then.
    ///
    /// To be called when rustc is done, and before cargo hears of it.
    pub fn adopt(&self, of: &Beginning<'_>) -> Result<(), DiskError> {
        let Some(staging) = self.adopt_library(of) else {
            return Ok(());
        };
        let written = staging.write(&self.metadata, &self.theirs, PLAIN);
        if let (Err(_), Some(library)) = (&written, &self.library) {
            let removed = [library, &self.metadata].map(|path| disk::remove_file(path));
            removed.into_iter().collect::<Result<(), _>>()?;
        }
        written
    }

    /// Does so in the library, if there is one; none where nothing was changed.
    fn adopt_library(&self, of: &Beginning<'_>) -> Option<Staging> {
        let (own, theirs) = self.hashes(of)?;
        let staging = Staging::new(&of.ledger.staging_parent(), "alike").ok()?;
        if let Some(library) = &self.library {
            let mut bytes = disk::read(library, MAX_BYTES).ok()?;
            let places: Vec<usize> = memmem::find_iter(&bytes, &own).collect();
            for at in &places {
                bytes[*at..at + HASH_BYTES].copy_from_slice(&theirs);
            }
            places.first()?;
            staging.write(library, &bytes, PLAIN).ok()?;
        }
        Some(staging)
    }

    /// Returns rustc's hash of the crate here and at the builder's, if the metadata differs in nothing else.
    fn hashes(&self, of: &Beginning<'_>) -> Option<([u8; HASH_BYTES], [u8; HASH_BYTES])> {
        let (_, session) = inherit::newest_below(of.own_sessions()?)?;
        let own = Parts::of(&session)?.hash()?;
        let ours = disk::read(&self.metadata, MAX_BYTES).ok()?;
        let mut found = memmem::find_iter(&ours, &own);
        let (at, None) = (found.next()?, found.next()) else {
            return None;
        };
        let theirs = *self.theirs.get(at..)?.first_chunk()?;
        let mut as_theirs = ours;
        as_theirs[at..at + HASH_BYTES].copy_from_slice(&theirs);
        (as_theirs == self.theirs).then_some((own, theirs))
    }
}
