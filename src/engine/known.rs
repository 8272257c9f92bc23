//! What a tier has of earlier starting points, and to which of it a new object may be stored as a delta.

use std::collections::HashMap;

use crate::model::{Digest, Manifest, Unit, UnitName, retention};
use crate::store::pack::{Codec, Frame, Index, PackName};

/// Where a tier has an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// The object's size.
    pub size_bytes: u64,
    /// The pack.
    pub pack: PackName,
    /// Where it begins in the pack, in bytes.
    pub offset: u64,
    /// How many bytes it is there.
    pub stored_bytes: u64,
    /// How it is read, and its base; none where it lies there whole.
    pub delta: Option<(Codec, Digest)>,
}

/// What a tier has.
#[derive(Debug, Default)]
pub(super) struct Known {
    objects: HashMap<Digest, Stored>,
    /// The object of each place in the newest starting point that has the place.
    places: HashMap<Place, Digest>,
}

/// Where a starting point has an object: its unit, the file, and which piece of it.
type Place = (UnitName, Vec<u8>, usize);

impl Known {
    /// Adds what an earlier starting point is made of, as far as a new one may refer to it. Those that are added first count.
    pub(super) fn add(&mut self, manifest: &Manifest, index: &Index, now_unix_s: i64) {
        let objects = index.all_objects(manifest);
        let named = |(codec, base)| (codec, objects[base as usize].0);
        let stored = |frame: &Frame, size_bytes| Stored {
            size_bytes,
            pack: index.packs[frame.pack as usize],
            offset: frame.offset,
            stored_bytes: frame.stored_bytes,
            delta: frame.delta.map(named),
        };
        let last = |frame: &Frame| {
            retention::may_refer(index.packs[frame.pack as usize].epoch, now_unix_s)
        };
        for (frame, (digest, size_bytes)) in index.frames.iter().zip(&objects) {
            let base = frame.delta.map(|(_, base)| &index.frames[base as usize]);
            if last(frame) && base.is_none_or(last) {
                let stored = stored(frame, *size_bytes);
                let known = self.objects.entry(*digest).or_insert(stored);
                // Of two that pushed at once, one may have it as a delta, and the other as a base.
                if stored.delta.is_none() {
                    *known = stored;
                }
            }
        }
        for (place, digest) in manifest.units.iter().flat_map(places) {
            self.places.entry(place).or_insert(digest);
        }
    }

    /// Returns where the object `digest` is; none where the tier may lack it.
    pub(super) fn get(&self, digest: Digest) -> Option<&Stored> {
        self.objects.get(&digest)
    }

    /// Notes where the object `digest` is.
    pub(super) fn insert(&mut self, digest: Digest, stored: Stored) {
        self.objects.insert(digest, stored);
    }

    /// Returns where `objects` are, each of which is known, and with them their bases.
    pub(super) fn index(&self, mut objects: Vec<(Digest, u64)>) -> Index {
        let mut index = Index::default();
        let mut packs: HashMap<PackName, u32> = HashMap::new();
        let own = objects.len();
        let mut positions: HashMap<Digest, u32> =
            objects.iter().map(|(digest, _)| *digest).zip(0..).collect();
        let mut at = 0;
        while let Some((digest, _)) = objects.get(at) {
            let stored = self.objects[digest];
            let pack = *packs.entry(stored.pack).or_insert_with(|| {
                index.packs.push(stored.pack);
                to_u32(index.packs.len() - 1)
            });
            let delta = stored.delta.map(|(codec, base)| {
                let position = *positions.entry(base).or_insert_with(|| {
                    objects.push((base, self.objects[&base].size_bytes));
                    to_u32(objects.len() - 1)
                });
                (codec, position)
            });
            index.frames.push(Frame {
                pack,
                offset: stored.offset,
                stored_bytes: stored.stored_bytes,
                delta,
            });
            at += 1;
        }
        index.bases = objects.split_off(own);
        index
    }

    /// Returns for objects of `manifest` what they may be stored as deltas to: the object that was in the same place before, or
    /// what that is itself a delta to.
    pub(super) fn bases(&self, manifest: &Manifest) -> HashMap<Digest, Digest> {
        let base = |(place, digest): (Place, Digest)| {
            let before = self.places.get(&place)?;
            let base = match self.get(*before)?.delta {
                Some((_, base)) => base,
                None => *before,
            };
            Some((digest, base))
        };
        let places = manifest.units.iter().flat_map(places);
        places.filter_map(base).collect()
    }
}

/// Returns where `unit` has its objects.
fn places(unit: &Unit) -> impl Iterator<Item = (Place, Digest)> + '_ {
    let made = unit.files.iter().flat_map(|file| {
        let pieces = file.content.objects().enumerate();
        pieces.map(|(piece, (digest, _))| ((&file.path[..], piece), digest))
    });
    let session = unit.session.iter().flat_map(|session| &session.files);
    let session = session.map(|file| ((file.name.as_bytes(), 0), file.digest));
    made.chain(session)
        .map(|((file, piece), digest)| ((unit.name.clone(), file.to_vec(), piece), digest))
}

fn to_u32(position: usize) -> u32 {
    u32::try_from(position).expect("fewer than 2^32 objects and packs")
}
