//! What a tier has of earlier starting points, and to which of it a new object may be stored as a delta.

use std::collections::HashMap;

use crate::cargo::layout::hash_in;
use crate::model::session::{DEP_GRAPH, QUERY_CACHE};
use crate::model::{Digest, Manifest, Unit, UnitName, retention};
use crate::store::pack::{Codec, Frame, Index, MAX_STEPS, PackName};

/// A delta of so small a part of the object, which is an eighth of what zstd leaves of most, is small.
pub(super) const SMALL: u64 = 40;

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
    /// The object of each place in the newest starting point that has the place, and of each place without cargo's hashes.
    places: HashMap<Place, Digest>,
    /// The dep-graph beside each query cache.
    graphs: HashMap<Digest, Digest>,
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
            self.places.entry(of_any_version(&place)).or_insert(digest);
            self.places.entry(place).or_insert(digest);
        }
        self.add_graphs(manifest);
    }

    /// Notes which dep-graph of `manifest` is of the same session as which query cache.
    pub(super) fn add_graphs(&mut self, manifest: &Manifest) {
        for session in manifest
            .units
            .iter()
            .filter_map(|unit| unit.session.as_ref())
        {
            let named = |name: &str| session.files.iter().find(|file| file.name == name);
            if let (Some(cache), Some(graph)) = (named(QUERY_CACHE), named(DEP_GRAPH)) {
                self.graphs.insert(cache.digest, graph.digest);
            }
        }
    }

    /// Returns the dep-graph of the session that has the query cache `cache`, if that is one.
    pub(super) fn graph(&self, cache: Digest) -> Option<Digest> {
        self.graphs.get(&cache).copied()
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

    /// Returns to what those objects of `manifest` that are not known may be stored as deltas, as far as something was in the
    /// same place before.
    pub(super) fn bases(&self, manifest: &Manifest) -> HashMap<Digest, Digest> {
        let is_new = |(_, digest): &(Place, Digest)| self.get(*digest).is_none();
        let base = |(place, digest): (Place, Digest)| {
            // A package of another version has another hash, and so have all units above it.
            let at = |place: &Place| self.places.get(place).copied();
            let before = at(&place).or_else(|| at(&of_any_version(&place)))?;
            Some((digest, self.base_like(before)?))
        };
        let places = manifest.units.iter().flat_map(places).filter(is_new);
        places.filter_map(base).collect()
    }

    /// Returns what comes after `before` is a delta to: to that itself, unless it is as many steps from a whole object as there may be. Then
    /// to its base; or to the whole, if it was much to that already: so this is one step from the whole, and near what
    /// comes next.
    fn base_like(&self, before: Digest) -> Option<Digest> {
        let Stored {
            size_bytes,
            stored_bytes,
            ..
        } = self.get(before)?;
        let steps: Vec<Digest> = self.steps(before).collect();
        match steps.len() < MAX_STEPS {
            true => Some(before),
            false if *stored_bytes < size_bytes / SMALL => steps.first().copied(),
            false => steps.last().copied(),
        }
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

/// Returns `place` without the hashes that cargo makes of a package's version and of what it is built with.
fn of_any_version((unit, file, piece): &Place) -> Place {
    let unit = UnitName {
        dir: without_hash(&unit.dir),
        ..unit.clone()
    };
    let file = without_hash(&String::from_utf8_lossy(file));
    (unit, file.into_bytes(), *piece)
}

fn without_hash(name: &str) -> String {
    let hash = hash_in(name).map(|hash| format!("-{hash}"));
    hash.map_or_else(|| name.to_owned(), |hash| name.replace(&hash, ""))
}

fn to_u32(position: usize) -> u32 {
    u32::try_from(position).expect("fewer than 2^32 objects and packs")
}
