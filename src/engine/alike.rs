//! Gives a crate that holds its own place the hash that the builder's has, where it is the same for whoever is compiled against it.
//!
//! rustc's hash of a crate covers all of its source, with what `env!` put there; what others read of it is its metadata, which begins no
//! function's body but those that others may have to compile. Where the metadata is the builder's byte for byte but for that hash, whatever was
//! compiled against the one is as good with the other. See note 0021.

use std::path::PathBuf;

use memchr::memmem;

use crate::disk::{self, PLAIN, Staging};
use crate::engine::inherit;
use crate::engine::seed::Beginning;
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
    /// Returns what the unit should be like where it holds its own place; none where that is not known.
    pub fn alike(&self) -> Option<Alike> {
        let (seed, made) = self.made().filter(|(_, made)| made.pinned)?;
        let file = |extension: &str| {
            let is = |file: &&OutputFile| disk::has_extension(bytes_path(&file.path), extension);
            made.files.iter().find(is)
        };
        let metadata = file("rmeta")?;
        let Content::Object { digest, .. } = metadata.content else {
            return None;
        };
        let store = Store::open(&seed.store).ok()?;
        let theirs = disk::read(&store.object(digest), MAX_BYTES).ok()?;
        let place = |file: &OutputFile| self.ledger.build().join(bytes_path(&file.path));
        (Digest::of(&theirs) == digest).then(|| Alike {
            theirs,
            metadata: place(metadata),
            library: file("rlib").map(place),
        })
    }
}

impl Alike {
    /// Puts the builder's hash in the place of the one that rustc has given the unit `of`, if they differ in nothing else; tells whether they do.
    ///
    /// To be called when rustc is done, and before cargo hears of it.
    pub fn settle(&self, of: &Beginning<'_>) -> Option<()> {
        let (_, session) = inherit::newest_below(of.own_sessions()?)?;
        let own = Parts::of(&session)?.hash()?;
        let ours = disk::read(&self.metadata, MAX_BYTES).ok()?;
        let mut found = memmem::find_iter(&ours, &own);
        let (at, None) = (found.next()?, found.next()) else {
            return None;
        };
        let around = |bytes: &[u8]| {
            let (before, rest) = bytes.split_at_checked(at)?;
            let (hash, behind) = rest.split_at_checked(HASH_BYTES)?;
            Some((before.to_vec(), behind.to_vec(), hash.to_vec()))
        };
        let (ours, theirs) = (around(&ours)?, around(&self.theirs)?);
        if (ours.0, ours.1) != (theirs.0, theirs.1) {
            return None;
        }
        let staging = Staging::new(&of.ledger.staging_parent(), "alike").ok()?;
        // A library first: without the other cargo hears of nothing.
        if let Some(library) = &self.library {
            let mut bytes = disk::read(library, MAX_BYTES).ok()?;
            let places: Vec<usize> = memmem::find_iter(&bytes, &own).collect();
            for at in places {
                bytes[at..at + HASH_BYTES].copy_from_slice(&theirs.2);
            }
            staging.write(library, &bytes, PLAIN).ok()?;
        }
        staging.write(&self.metadata, &self.theirs, PLAIN).ok()
    }
}
