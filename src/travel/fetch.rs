//! Far → near: brings objects of a starting point from tiers into the local store.
//!
//! An object is stored only if it has the digest and the size that the manifest says; so a tier that lies, or an index that
//! is wrong, costs what it costs to compile.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::delta::{self, Room};
use crate::disk::place::{CopyError, Staging};
use crate::disk::{self, hash};
use crate::model::{Digest, Manifest, Unit};
use crate::store::Store;
use crate::store::pack::{self, Index, MAX_STEPS, Request};
use crate::tier::{Tiers, Trouble, Watch};
use crate::travel::arrivals::Arrivals;

/// How many requests are on their way at once.
const IN_FLIGHT: usize = 16;
/// How much is fetched before it is looked what somebody waits for: what comes over 100 Mbit/s in little more than a second.
pub const BATCH_BYTES: u64 = 16 << 20;

/// What is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The starting point.
    pub manifest: &'a Manifest,
    /// Where its objects are.
    pub index: &'a Index,
    /// Which are wanted, by the positions of their frames; with the bases that they need and that are not here.
    pub objects: &'a [usize],
    /// The manifest's name, where others may ask for sessions of it to come before all else; it is fetched in batches then.
    pub asked: Option<Digest>,
}

/// Where what comes is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep<'a> {
    /// The local store.
    pub store: &'a Store,
    /// For its unfinished objects.
    pub staging: &'a Staging,
    /// Where objects go that are placed at once, instead of into the store.
    pub arrivals: Option<&'a Arrivals>,
}

/// What came.
#[derive(Debug, Default)]
pub struct Fetched {
    /// How many objects are still not here.
    pub lacking: usize,
    /// What ended it before all had come, else the last thing that went wrong.
    pub trouble: Option<Trouble>,
}

impl Keep<'_> {
    fn has(&self, (object, size_bytes): (Digest, u64)) -> bool {
        self.arrivals.is_some_and(|there| there.has(object)) || self.store.has(object, size_bytes)
    }

    fn put(&self, mut content: impl Read, object: (Digest, u64)) -> Result<(), CopyError> {
        let put = |there: &Arrivals| there.put(&mut content, object);
        let arrived = self.arrivals.and_then(put);
        arrived.unwrap_or_else(|| self.store.put_from(self.staging, content, object))
    }
}

/// One fetch under way.
struct Fetch<'a> {
    wanted: Wanted<'a>,
    objects: Vec<(Digest, u64)>,
    tiers: &'a Tiers,
    keep: Keep<'a>,
    watch: Watch<'a>,
    /// Frames whose objects others are deltas to, which look for them in the store.
    bases: HashSet<usize>,
    /// Why nobody is asked any more.
    ended: OnceLock<Trouble>,
    room: Room,
}

/// Returns which of `objects` of `manifest` the local store lacks, and the bases that it lacks for them, by the positions of
/// their frames; what it has is relied on.
pub fn lacking(
    (manifest, index): (&Manifest, &Index),
    store: &Store,
    objects: impl Iterator<Item = Digest>,
) -> Vec<usize> {
    let wanted: HashSet<Digest> = objects.collect();
    let all = index.all_objects(manifest);
    let is_lacking = |at: &usize| {
        let (object, size_bytes) = all[*at];
        let here = store.has(object, size_bytes);
        // What cannot be noted, in somebody else's store, is lost at worst.
        let _ = here && store.rely_on(object);
        !here
    };
    let own = (0..index.own()).filter(|at| wanted.contains(&all[*at].0) && is_lacking(at));
    let with_bases = |at| std::iter::once(at).chain(index.steps(at).take_while(is_lacking));
    let lacking: BTreeSet<usize> = own.flat_map(with_bases).collect();
    lacking.into_iter().collect()
}

/// Fetches `wanted` until all is here, or `watch` wants no more, or what came cannot be kept here.
pub fn fetch(wanted: Wanted<'_>, tiers: &Tiers, keep: Keep<'_>, watch: Watch<'_>) -> Fetched {
    let objects = wanted.objects.iter();
    let bases = objects.filter_map(|at| wanted.index.steps(*at).next());
    let fetch = Fetch {
        bases: bases.collect(),
        wanted,
        objects: wanted.index.all_objects(wanted.manifest),
        tiers,
        keep,
        watch,
        ended: OnceLock::new(),
        room: Room::default(),
    };
    let trouble = fetch.all(wanted.objects, wanted.asked);
    let own = wanted.index.own();
    let own = wanted.objects.iter().filter(|at| **at < own);
    Fetched {
        lacking: own.filter(|at| !fetch.is_here(**at)).count(),
        trouble: fetch.ended.into_inner().or(trouble),
    }
}

impl Fetch<'_> {
    /// Fetches `objects`, what they are deltas to first; of the manifest called `asked`, in batches, and what others wait for between
    /// them. Returns the last thing that went wrong.
    fn all(&self, objects: &[usize], asked: Option<Digest>) -> Option<Trouble> {
        let index = self.wanted.index;
        let has_base = |at: &usize| index.steps(*at).take(1).all(|base| self.is_here(base));
        let (mut trouble, mut without) = (None, 0);
        for steps in 0..=MAX_STEPS {
            let of_steps = |at: &usize| index.steps(*at).count() == steps;
            let all = objects.iter().copied().filter(of_steps);
            let (possible, others): (Vec<usize>, Vec<usize>) = all.partition(has_base);
            without += others.len();
            let (requests, mut end) = (index.requests(&possible), 0);
            let batches = requests.chunk_by(|one, _| {
                let begin = end;
                end += one.range.end - one.range.start;
                asked.is_none() || begin / BATCH_BYTES == end / BATCH_BYTES
            });
            for batch in batches {
                asked.into_iter().for_each(|name| self.answer(name));
                // Some of it may have come as what was asked for.
                let batch = batch.iter().flat_map(|request| &request.objects).copied();
                let batch: Vec<usize> = batch.filter(|at| !self.is_here(*at)).collect();
                trouble = self.batch(&batch).or(trouble);
            }
        }
        let why = "what they are deltas to did not come";
        trouble.or((without > 0).then(|| Trouble::Unreachable(why.to_owned())))
    }

    /// Fetches the sessions that others wait for of the manifest called `name`, and says so to them.
    fn answer(&self, name: Digest) {
        let what = (self.wanted.manifest, self.wanted.index);
        for (graph, _) in self.keep.store.asked(name) {
            let is_asked = |unit: &&Unit| unit.session_objects().any(|(own, _)| own == graph);
            let units = what.0.units.iter().filter(is_asked);
            let objects = units.flat_map(Unit::session_objects);
            let objects = objects.map(|(object, _)| object);
            self.all(&lacking(what, self.keep.store, objects), None);
            self.keep.store.answer(graph);
        }
    }

    fn is_here(&self, at: usize) -> bool {
        self.keep_of(at).has(self.objects[at])
    }

    /// Returns where the object at `at` is kept: in the store if others are deltas to it.
    fn keep_of(&self, at: usize) -> Keep<'_> {
        Keep {
            arrivals: self.keep.arrivals.filter(|_| !self.bases.contains(&at)),
            ..self.keep
        }
    }

    /// Fetches `objects` until all were asked for or nobody is asked any more; returns the last thing that went wrong.
    fn batch(&self, objects: &[usize]) -> Option<Trouble> {
        let mut requests = self.wanted.index.requests(objects);
        // One large object is decoded by one thread: if it came last, the others would wait for it.
        requests.sort_by_key(|request| Reverse(request.range.end - request.range.start));
        let next = AtomicUsize::new(0);
        let work = || {
            let mut last = None;
            while self.ended.get().is_none()
                && let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed))
            {
                match self.one(request) {
                    Ok(()) => {}
                    Err(ends @ (Trouble::Stopped | Trouble::Here(_))) => drop(self.ended.set(ends)),
                    Err(trouble) => last = Some(trouble),
                }
            }
            last
        };
        std::thread::scope(|scope| {
            let count = IN_FLIGHT.min(requests.len());
            let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
            let ended = workers.into_iter();
            let ended = ended.map(|one| one.join().expect("it does not panic"));
            ended.fold(None, |last, one| one.or(last))
        })
    }

    /// Asks for `request`, and stores what is in the answer; another tier is asked where one lacks it or gives something
    /// else.
    fn one(&self, request: &Request) -> Result<(), Trouble> {
        let (key, range) = (request.pack.key(), &request.range);
        let watch = |count| self.ended.get().is_none() && (self.watch)(count);
        self.tiers.find(
            |tier| tier.get_range(&key, range.clone(), &watch),
            |bytes| self.store_all(request, &bytes),
        )
    }

    /// Stores what `bytes` hold of `request`; one object that is damaged does not cost the others.
    fn store_all(&self, request: &Request, bytes: &[u8]) -> Result<(), Trouble> {
        let store = |at: &usize| {
            let frame = self.wanted.index.frame(*at, request, bytes);
            let what = (self.wanted.index, &self.objects[..]);
            match store_frame(what, (*at, frame), self.keep_of(*at), &self.room).err()? {
                CopyError::Disk(error) => Some(Trouble::Here(error.to_string())),
                CopyError::Damaged(_) => {
                    let pack = request.pack.digest.short();
                    let why = format!("pack {pack} is damaged there");
                    Some(Trouble::Unreachable(why))
                }
            }
        };
        let troubles = request.objects.par_iter().filter_map(store);
        // What cannot be kept here ends it all.
        let worst = troubles.reduce_with(|one, other| match one {
            Trouble::Here(_) => one,
            _ => other,
        });
        worst.map_or(Ok(()), Err)
    }
}

/// Stores the object at `at` of an index, which `frame` is. What it is a delta to must be here; it is removed if it is damaged, to
/// be fetched again.
pub fn store_frame(
    (index, objects): (&Index, &[(Digest, u64)]),
    (at, frame): (usize, &[u8]),
    keep: Keep<'_>,
    room: &Room,
) -> Result<(), CopyError> {
    let (store, object) = (keep.store, objects[at]);
    let put = |content: io::Result<Box<dyn Read + '_>>| match content {
        Ok(content) => keep.put(content, object),
        Err(_) => Err(CopyError::Damaged(store.object(object.0))),
    };
    let Some((codec, base)) = index.frames[at].delta else {
        return put(pack::decompress(frame).map(|content| Box::new(content) as _));
    };
    let (base, base_bytes) = objects[base as usize];
    let path = store.object(base);
    let _memory = room.take(delta::memory_bytes(codec, base_bytes, object.1));
    let stored = put(delta::decode(&path, (codec, frame), object.1));
    if matches!(stored, Err(CopyError::Damaged(_)))
        && hash::file(&path).is_ok_and(|(seen, _)| seen != base)
    {
        drop(disk::remove_file(&path));
    }
    stored
}
