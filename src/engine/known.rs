//! What a tier has of earlier starting points, and to which of it a new object may be stored as a delta.

use std::collections::HashMap;

use crate::model::{Digest, Manifest, Unit, UnitName, retention};
use crate::store::pack::{Codec, Frame, Index, MAX_STEPS, PackName};

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
        let lasts = |at: usize| {
            let pack = index.packs[index.frames[at].pack as usize];
            retention::may_refer(pack.epoch, now_unix_s)
        };
        let mut order: Vec<usize> = (0..objects.len()).collect();
        order.sort_by_key(|at| index.steps(*at).count());
        for at in order {
            let (digest, size_bytes) = objects[at];
            let stored = stored(&index.frames[at], size_bytes);
            // Of two that pushed at once, each may have the same object in another way.
            let in_few_steps = stored.delta.is_none_or(|(_, base)| {
                self.get(base).is_some() && self.steps(base).count() < MAX_STEPS
            });
            if lasts(at) && index.steps(at).all(lasts) && in_few_steps {
                let known = self.objects.entry(digest).or_insert(stored);
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

    /// Returns what the object `digest` is a delta to: its base, the base of that, and so on.
    fn steps(&self, digest: Digest) -> impl Iterator<Item = Digest> {
        let base = |digest: Digest| Some(self.get(digest)?.delta?.1);
        std::iter::successors(base(digest), move |digest| base(*digest))
    }

    /// Returns for those objects of `manifest` that are not known what they may be stored as deltas to: first what is nearest, the object that was in the
    /// same place before or what that is a delta to, then the whole behind that.
    pub(super) fn bases(&self, manifest: &Manifest) -> HashMap<Digest, Vec<Digest>> {
        let is_new = |(_, digest): &(Place, Digest)| self.get(*digest).is_none();
        let bases = |(place, digest): (Place, Digest)| {
            let before = *self
                .places
                .get(&place)
                .filter(|one| self.get(**one).is_some())?;
            let mut bases = vec![before];
            bases.extend(self.steps(before));
            let nearest = bases.len().saturating_sub(MAX_STEPS);
            bases.drain(..nearest);
            Some((digest, bases))
        };
        let places = manifest.units.iter().flat_map(places).filter(is_new);
        places.filter_map(bases).collect()
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
