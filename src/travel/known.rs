//! What a tier has of earlier starting points, and to which of it a new object may be stored as a delta.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};

use crate::cargo::layout::hash_in;
use crate::model::{Digest, Manifest, Session, Unit, UnitName, retention};
use crate::store::pack::{Codec, Frame, Index, MAX_STEPS, PackName};

/// A delta of so small a part of the object, which is an eighth of what zstd leaves of most, is small.
pub(super) const SMALL: u64 = 40;
/// A delta of so small a part is very small: what comes next may be a delta to the same base.
const VERY_SMALL: u64 = 200;

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

/// What an object may be stored as a delta to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    /// The object.
    pub object: Digest,
    /// Of a query cache, the dep-graphs of the sessions of both, the base's first.
    pub graphs: Option<(Digest, Digest)>,
}

/// What a tier has.
#[derive(Debug, Default)]
pub(super) struct Known {
    objects: HashMap<Digest, Stored>,
    /// The object of each place in the newest starting point that has the place.
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
            self.places.entry(place).or_insert(digest);
        }
        self.graphs.extend(graphs(manifest));
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
    pub(super) fn index(&self, objects: Vec<(Digest, u64)>) -> Index {
        let own = objects.len();
        let position = |at: usize| u32::try_from(at).expect("there are fewer than 2^32");
        let mut objects: IndexMap<Digest, u64> = objects.into_iter().collect();
        let (mut packs, mut frames) = (IndexSet::new(), Vec::new());
        while let Some((digest, _)) = objects.get_index(frames.len()) {
            let stored = self.objects[digest];
            let delta = stored.delta.map(|(codec, base)| {
                let size_bytes = self.objects[&base].size_bytes;
                (codec, position(objects.insert_full(base, size_bytes).0))
            });
            frames.push(Frame {
                pack: position(packs.insert_full(stored.pack).0),
                offset: stored.offset,
                stored_bytes: stored.stored_bytes,
                delta,
            });
        }
        Index {
            packs: packs.into_iter().collect(),
            frames,
            bases: objects.into_iter().skip(own).collect(),
        }
    }

    /// Returns what the object `digest` is a delta to: its base, the base of that, and so on.
    fn steps(&self, digest: Digest) -> impl Iterator<Item = Digest> {
        let base = |digest: Digest| Some(self.get(digest)?.delta?.1);
        std::iter::successors(base(digest), move |digest| base(*digest))
    }

    /// Returns to what those objects of `manifest` that are not known may be stored as deltas, as far as something was in the
    /// same place before.
    pub(super) fn bases(&self, manifest: &Manifest) -> HashMap<Digest, Base> {
        let all: HashMap<Place, Digest> = manifest.units.iter().flat_map(places).collect();
        // A package of another version has another hash, and so have all units above it.
        let before = self.places.iter();
        let gone = before.filter(|(place, _)| !all.contains_key(place));
        let gone = gone.map(|(place, digest)| (of_any_version(place), *digest));
        let gone: HashMap<Place, Digest> = gone.collect();
        let graphs: HashMap<Digest, Digest> = graphs(manifest).collect();
        let base = |(place, digest): (&Place, &Digest)| {
            let at_once = self.places.get(place);
            let before = at_once.or_else(|| gone.get(&of_any_version(place)))?;
            let graph = graphs.get(digest).copied();
            Some((*digest, self.base_like(*before, graph)?))
        };
        let is_new = |(_, digest): &(&Place, &Digest)| self.get(**digest).is_none();
        all.iter().filter(is_new).filter_map(base).collect()
    }

    /// Returns what comes after `before`, a query cache if it has a `graph`, is a delta to: to that itself, unless it is as many steps from a
    /// whole object as there may be. Then to its base, if it was very small; else to the base of that, if that was small; and at last to the
    /// whole: so this is fewer steps from the whole, and near what comes next. A query cache goes by its dep-graph, so that the
    /// graph of its base is known.
    fn base_like(&self, before: Digest, graph: Option<Digest>) -> Option<Base> {
        self.get(before)?;
        let its_graph = self.graphs.get(&before).copied();
        let chain = |digest: Digest| -> Vec<Digest> {
            std::iter::once(digest).chain(self.steps(digest)).collect()
        };
        let (objects, graphs) = (chain(before), its_graph.map_or(Vec::new(), chain));
        let judged = its_graph.map_or(&objects, |_| &graphs);
        let is_small = |(at, part): (usize, u64)| {
            let stored = judged.get(at).and_then(|object| self.get(*object));
            stored.is_some_and(|stored| stored.stored_bytes < stored.size_bytes / part)
        };
        let mut near = [VERY_SMALL, SMALL].into_iter().enumerate();
        let back = match objects.len().max(graphs.len()) <= MAX_STEPS {
            true => 0,
            false => near.position(is_small).map_or(MAX_STEPS, |at| at + 1),
        };
        Some(Base {
            object: *objects.get(back).or(objects.last())?,
            graphs: graphs.get(back).copied().zip(graph),
        })
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

/// Returns the query caches of `manifest`, with the dep-graphs beside them.
fn graphs(manifest: &Manifest) -> impl Iterator<Item = (Digest, Digest)> + '_ {
    let sessions = manifest.units.iter().flat_map(|unit| &unit.session);
    sessions.filter_map(Session::cache_and_graph)
}

/// Returns `place` without the hashes that cargo makes of a package's version and of what it is built with.
fn of_any_version((unit, file, piece): &Place) -> Place {
    let file = String::from_utf8_lossy(file).into_owned();
    let hashes = [hash_in(&unit.dir), hash_in(&file)];
    let without = |name: &str| {
        let hashes = hashes.iter().flatten();
        hashes.fold(name.to_owned(), |name, hash| {
            name.replace(&format!("-{hash}"), "")
        })
    };
    let unit = UnitName {
        dir: without(&unit.dir),
        ..unit.clone()
    };
    (unit, without(&file).into_bytes(), *piece)
}

#[cfg(test)]
mod tests {
    use super::{Base, Codec, Known, PackName, Stored, of_any_version};
    use crate::model::epoch::Epoch;
    use crate::model::{Digest, UnitName};

    fn object(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    /// Adds the object `name` of 4000 bytes, of which so many are stored, as a delta to `base`.
    fn add(known: &mut Known, name: &str, stored_bytes: u64, base: Option<&str>) {
        let stored = Stored {
            size_bytes: 4000,
            pack: PackName {
                epoch: Epoch::of(0),
                digest: object("pack"),
            },
            offset: 0,
            stored_bytes,
            delta: base.map(|base| (Codec::Bytes, object(base))),
        };
        known.insert(object(name), stored);
    }

    fn base(known: &Known, before: &str, graph: Option<&str>) -> (Digest, Option<Digest>) {
        let Base { object, graphs } = known.base_like(object(before), graph.map(object)).unwrap();
        (object, graphs.map(|(base, _)| base))
    }

    /// A chain would grow with each commit, or each commit pay for what changed long ago.
    #[test]
    fn a_base_is_near_or_the_whole() {
        let mut known = Known::default();
        add(&mut known, "one", 1000, None);
        assert_eq!(base(&known, "one", None).0, object("one"));
        add(&mut known, "two", 500, Some("one"));
        assert_eq!(base(&known, "two", None).0, object("two"));
        add(&mut known, "three", 50, Some("two"));
        assert_eq!(base(&known, "three", None).0, object("three"));
        add(&mut known, "large", 500, Some("two"));
        for (name, stored_bytes, before, expected) in [
            ("very small", 19, "three", "three"),
            ("after a small one", 500, "three", "two"),
            ("after a large one", 500, "large", "one"),
            ("very small after a large one", 19, "large", "large"),
        ] {
            add(&mut known, name, stored_bytes, Some(before));
            assert_eq!(base(&known, name, None).0, object(expected), "{name}");
        }
        assert!(known.base_like(object("none"), None).is_none());
    }

    /// The dep-graph of another session says nothing of a query cache.
    #[test]
    fn a_query_cache_and_its_graph_have_bases_of_one_session() {
        let mut known = Known::default();
        for (number, stored_bytes) in [(1, 1000), (2, 300), (3, 50), (4, 500)] {
            for kind in ["cache", "graph"] {
                // The cache changes much each time.
                let stored_bytes = if kind == "cache" { 500 } else { stored_bytes };
                let before = (number > 1).then(|| format!("{kind} {}", number - 1));
                let name = format!("{kind} {number}");
                add(&mut known, &name, stored_bytes, before.as_deref());
            }
            let pair = ["cache", "graph"].map(|kind| object(&format!("{kind} {number}")));
            known.graphs.insert(pair[0], pair[1]);
        }
        let of_cache = base(&known, "cache 4", Some("graph 5"));
        assert_eq!(of_cache, (object("cache 2"), Some(object("graph 2"))));
        assert_eq!(base(&known, "graph 4", None), (object("graph 2"), None));
        // Of a graph that is whole, nothing older is known.
        add(&mut known, "graph 4", 1000, None);
        assert_eq!(base(&known, "cache 4", Some("graph 5")).1, None);
        // One that the tier may lack is at hand here perhaps; of a long chain of caches then only the whole is near enough.
        known.objects.remove(&object("graph 4"));
        let of_cache = base(&known, "cache 4", Some("graph 5"));
        assert_eq!(of_cache, (object("cache 1"), None));
        add(&mut known, "cache 4", 1000, None);
        let of_cache = base(&known, "cache 4", Some("graph 5"));
        assert_eq!(of_cache, (object("cache 4"), Some(object("graph 4"))));
    }

    /// The same unit in another version has another name.
    #[test]
    fn places_are_the_same_in_any_version() {
        let place = |hash: &str, file: &str| {
            let unit = UnitName {
                profile_dir: "debug".to_owned(),
                dir: format!("c-2-{hash}"),
                stem: "lib-c-2".to_owned(),
            };
            of_any_version(&(unit, file.replace("HASH", hash).into_bytes(), 0))
        };
        for file in [
            "debug/deps/libc_2-HASH.rlib",
            "debug/build/c-2-HASH/out/a-b.rs",
            "x.o",
        ] {
            let [one, other] =
                ["0123456789abcdef", "fedcba9876543210"].map(|hash| place(hash, file));
            assert_eq!(one, other, "{file}");
            assert_eq!(one.0.dir, "c-2");
        }
    }
}
