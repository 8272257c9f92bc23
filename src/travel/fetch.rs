//! Far → near: brings objects of a starting point from tiers into the local store.
//!
//! An object is stored only if it has the digest and the size that the manifest says; so a tier that lies, or an index that
//! is wrong, costs what it costs to compile.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use rayon::prelude::*;

use crate::delta::{self, Room, Taken};
use crate::disk::place::{CopyError, Staging};
use crate::disk::{self, hash};
use crate::model::{Digest, Manifest, Unit};
use crate::store::Store;
use crate::store::pack::{self, Codec, Index, MAX_STEPS, Request};
use crate::tier::{Tier, Tiers, Trouble, Watch};
use crate::travel::arrivals::Arrivals;

/// How many requests are on their way at once.
const IN_FLIGHT: usize = 16;
/// The same behind everything else, with those that came and are decoded.
const IN_FLIGHT_BEHIND: usize = 8;
/// How many of these may be on their way when somebody comes to wait for one session.
const AHEAD: u64 = 2;
/// What they ask for, where no object is larger: what comes over 100 Mbit/s in two seconds.
pub const AHEAD_BYTES: u64 = AHEAD * pack::REQUEST_BYTES;
/// How much is held at most of what comes only to make something else of it; more is made, and kept, like the rest.
const MAX_HELD_BYTES: usize = 64 << 20;
/// How much memory one of those may take where it is used.
const MAX_BETWEEN_BYTES: u64 = 64 << 20;
/// Why what threads share can be had.
const UNHURT: &str = "nobody panics with it";

/// What is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where objects are.
    pub index: &'a Index,
    /// The objects of its frames, bases as well.
    pub all: &'a [(Digest, u64)],
    /// Which are wanted, by the positions of their frames; with the bases that they need and that are not here.
    pub objects: &'a [usize],
    /// The manifest that they are of, with its name, where others may ask for sessions of it to come before all else.
    pub asked: Option<(Digest, &'a Manifest)>,
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
    /// How many requests were made.
    pub requests: usize,
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

/// What one of several that fetch together did not ask for yet, or what did not come yet; told when some of it did, or will not.
#[derive(Debug, Default)]
struct Coming {
    objects: Mutex<HashSet<usize>>,
    settled: Condvar,
}

/// Objects that came, or will not, once this is dropped: those go on who wait for them.
struct Settled<'a>(&'a Coming, &'a [usize]);

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        let Settled(coming, objects) = self;
        let mut left = coming.objects.lock().expect(UNHURT);
        let came = objects.iter().filter(|at| left.remove(at));
        if came.count() > 0 {
            coming.settled.notify_all();
        }
    }
}

/// The position of an object that is not made, and its frame.
type Held = (usize, Arc<[u8]>);

/// One fetch under way.
struct Fetch<'a> {
    wanted: Wanted<'a>,
    tiers: &'a Tiers<'a>,
    keep: Keep<'a>,
    watch: Watch<'a>,
    /// Frames whose objects others are deltas to, which look for them in the store.
    bases: HashSet<usize>,
    /// Of these, which nobody wants for themselves, and what comes is made through them: see [`delta::decode`].
    between: HashSet<usize>,
    /// Their frames, as they came.
    held: Mutex<HashMap<usize, Arc<[u8]>>>,
    /// Whether something was made through them that it should not be.
    is_misled: AtomicBool,
    /// Held by who fetches what others wait for.
    answering: Mutex<()>,
    /// For what is on its way before that.
    ahead: Room,
    /// Why nobody is asked any more.
    ended: OnceLock<Trouble>,
    requests: AtomicUsize,
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
pub fn fetch(wanted: Wanted<'_>, tiers: &Tiers<'_>, keep: Keep<'_>, watch: Watch<'_>) -> Fetched {
    let objects = wanted.objects.iter();
    let bases = objects.filter_map(|at| wanted.index.steps(*at).next());
    let mut fetch = Fetch {
        bases: bases.collect(),
        between: between(wanted.index, wanted.objects),
        held: Mutex::default(),
        is_misled: AtomicBool::new(false),
        wanted,
        tiers,
        keep,
        watch,
        answering: Mutex::default(),
        ahead: Room::of(AHEAD),
        ended: OnceLock::new(),
        requests: AtomicUsize::new(0),
        room: Room::default(),
    };
    let mut trouble = fetch.all(wanted.objects, wanted.asked);
    if fetch.is_misled.load(Ordering::Relaxed) {
        // Once more, and what each of them makes is checked.
        fetch.between.clear();
        fetch.held = Mutex::default();
        trouble = worse(trouble, fetch.all(wanted.objects, wanted.asked));
    }
    let own = wanted.index.own();
    let own = wanted.objects.iter().filter(|at| **at < own);
    let lacking = own.filter(|at| !fetch.is_here(**at)).count();
    let why = "what they are deltas to did not come";
    let without = (lacking > 0).then(|| Trouble::Unreachable(why.to_owned()));
    Fetched {
        lacking,
        trouble: fetch.ended.into_inner().or(trouble).or(without),
        requests: fetch.requests.into_inner(),
    }
}

/// Returns the later trouble, but absence only where there was no other: what is absent is not asked for again.
fn worse(before: Option<Trouble>, now: Option<Trouble>) -> Option<Trouble> {
    match (before, now) {
        (before @ Some(_), None | Some(Trouble::Absent)) => before,
        (_, now) => now,
    }
}

/// Returns those of `objects` that need not be made: bases alone, and like all that is made of them, of changed bytes.
fn between(index: &Index, objects: &[usize]) -> HashSet<usize> {
    let codec = |at: usize| index.frames[at].delta.map(|(codec, _)| codec);
    let is_of_bytes = |at: &usize| codec(*at) == Some(Codec::Bytes);
    let others = objects.iter().filter(|at| !is_of_bytes(at));
    let needed: HashSet<usize> = others.filter_map(|at| index.steps(*at).next()).collect();
    let own = index.own();
    let all = objects.iter().copied();
    all.filter(|at| *at >= own && is_of_bytes(at) && !needed.contains(at))
        .collect()
}

impl Fetch<'_> {
    /// Fetches `objects` until all were asked for or nobody is asked any more. For the manifest called `asked` what others wait for comes
    /// first, as soon as what is on its way is here. Returns the last thing that went wrong.
    fn all(&self, objects: &[usize], asked: Option<(Digest, &Manifest)>) -> Option<Trouble> {
        let requests = self.requests(objects);
        // Its own: nobody here asks for what others fetch meanwhile.
        let coming = Coming::default();
        coming.objects.lock().expect(UNHURT).extend(objects);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut last = None;
            while self.ended.get().is_none() {
                let mut own = asked.map(|asked| {
                    let own = self.ahead.take(1);
                    self.answer(asked);
                    own
                });
                let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                let _settled = Settled(&coming, &request.objects);
                // Some of it may have come as what was asked for.
                let lacking = request.objects.iter().copied();
                let is_lacking = |at: &usize| !self.is_here(*at) && self.held(*at).is_none();
                let lacking: Vec<usize> = lacking.filter(is_lacking).collect();
                for request in self.wanted.index.requests(&lacking) {
                    match self.one(&request, &coming, own.take()) {
                        Ok(()) => {}
                        Err(ends @ (Trouble::Stopped | Trouble::Here(_))) => {
                            drop(self.ended.set(ends));
                        }
                        Err(trouble) => last = worse(last, Some(trouble)),
                    }
                }
            }
            last
        };
        std::thread::scope(|scope| {
            let most = asked.map_or(IN_FLIGHT, |_| IN_FLIGHT_BEHIND);
            let count = most.min(requests.len());
            let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
            let ended = workers.into_iter();
            let ended = ended.map(|one| one.join().expect("it does not panic"));
            ended.fold(None, worse)
        })
    }

    /// Returns what is asked for to get `objects`: what others are deltas to first, so that it is here or on its way when they come; then
    /// these, which take long to apply; and what is whole and nobody's base, which comes meanwhile.
    fn requests(&self, objects: &[usize]) -> Vec<Request> {
        let index = self.wanted.index;
        let bases: HashSet<usize> = objects.iter().filter_map(|at| self.base(*at)).collect();
        let of_steps = |number| {
            let all = objects.iter().copied();
            let all = all.filter(|at| index.steps(*at).count() == number);
            index.requests(&all.collect::<Vec<_>>())
        };
        let mut requests: Vec<Request> = (0..=MAX_STEPS).flat_map(of_steps).collect();
        requests.sort_by_key(|request| {
            let steps = index.steps(request.objects[0]).count();
            let has_base = request.objects.iter().any(|at| bases.contains(at));
            // One large object is decoded by one thread: if it came last, the others would wait for it.
            let size_bytes = request.range.end - request.range.start;
            (steps == 0 && !has_base, steps, Reverse(size_bytes))
        });
        requests
    }

    /// Fetches the sessions that others wait for of `manifest`, which is called `name`, and says so to them. Nothing else is asked for meanwhile.
    fn answer(&self, (name, manifest): (Digest, &Manifest)) {
        let _one_at_a_time = self.answering.lock().expect(UNHURT);
        let what = (manifest, self.wanted.index);
        for (graph, _) in self.keep.store.asked(name) {
            let is_asked = |unit: &&Unit| unit.session_objects().any(|(own, _)| own == graph);
            let units = manifest.units.iter().filter(is_asked);
            let objects = units.flat_map(Unit::session_objects);
            let objects = objects.map(|(object, _)| object);
            self.all(&lacking(what, self.keep.store, objects), None);
            self.keep.store.answer(graph);
        }
    }

    fn is_here(&self, at: usize) -> bool {
        self.keep_of(at).has(self.wanted.all[at])
    }

    /// Returns where the object at `at` is kept: in the store if others are deltas to it.
    fn keep_of(&self, at: usize) -> Keep<'_> {
        Keep {
            arrivals: self.keep.arrivals.filter(|_| !self.bases.contains(&at)),
            ..self.keep
        }
    }

    /// Waits until what those of `request` are deltas to has come, as far as it does. It was asked for before them: so there is always one
    /// who need not wait.
    fn wait_for_bases(&self, request: &Request, coming: &Coming) {
        let bases = request.objects.iter();
        let bases: Vec<usize> = bases.filter_map(|at| self.base(*at)).collect();
        let is_coming = |left: &mut HashSet<usize>| {
            self.ended.get().is_none() && bases.iter().any(|base| left.contains(base))
        };
        let left = coming.objects.lock().expect(UNHURT);
        drop(coming.settled.wait_while(left, is_coming));
    }

    fn base(&self, at: usize) -> Option<usize> {
        self.wanted.index.steps(at).next()
    }

    /// Holds the frame of the object at `at`, unless it or all of them are too much.
    fn hold(&self, at: usize, frame: &[u8]) -> bool {
        let mut held = self.held.lock().expect(UNHURT);
        let sizes = held.values().map(|one| one.len());
        let fits = sizes.sum::<usize>() + frame.len() <= MAX_HELD_BYTES
            && delta::between_bytes(frame) <= MAX_BETWEEN_BYTES;
        if fits {
            held.insert(at, frame.into());
        }
        fits
    }

    fn held(&self, at: usize) -> Option<Arc<[u8]>> {
        self.held.lock().expect(UNHURT).get(&at).cloned()
    }

    /// Returns the frames through which the object at `at` is made of what is here, that next to this first, each with its position;
    /// none where even that is lacking.
    fn through(&self, at: usize) -> Option<Vec<Held>> {
        let mut between = Vec::new();
        for base in self.wanted.index.steps(at) {
            if self.is_here(base) {
                break;
            }
            between.push((base, self.held(base)?));
        }
        between.reverse();
        Some(between)
    }

    /// Asks for `request`, and stores what is in the answer; another tier is asked where one lacks it or gives something
    /// else. It is on its way as long as it has `ahead`.
    fn one(
        &self,
        request: &Request,
        coming: &Coming,
        mut ahead: Option<Taken<'_>>,
    ) -> Result<(), Trouble> {
        let (key, range) = (request.pack.key(), &request.range);
        let watch = |count| self.ended.get().is_none() && (self.watch)(count);
        let ask = |tier: &dyn Tier| {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = tier.get_range(&key, range.clone(), &watch);
            ahead = None;
            answer
        };
        let check = |bytes: Vec<u8>| self.store_all(request, &bytes, coming);
        self.tiers.find(ask, check)
    }

    /// Stores what `bytes` hold of `request`, once what that is deltas to has come, as far as it does; one object that is damaged does not
    /// cost the others.
    fn store_all(&self, request: &Request, bytes: &[u8], coming: &Coming) -> Result<(), Trouble> {
        self.wait_for_bases(request, coming);
        let store = |at: &usize| {
            let between = self.through(*at)?;
            let frame = self.wanted.index.frame(*at, request, bytes);
            let what = (self.wanted.index, self.wanted.all);
            let stored = match self.between.contains(at) && self.hold(*at, frame) {
                true => Ok(()),
                false => store_frame(what, (*at, frame, &between), self.keep_of(*at), &self.room),
            };
            match stored {
                Ok(()) => {
                    drop(Settled(coming, &[*at]));
                    None
                }
                Err(CopyError::Disk(error)) => Some(Trouble::Here(error.to_string())),
                Err(CopyError::Damaged(_)) => {
                    self.is_misled
                        .fetch_or(!between.is_empty(), Ordering::Relaxed);
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

/// Stores the object at `at` of an index, which `frame` is, made through what is `between` it and what is here. That is removed if it is
/// damaged, to be fetched again.
fn store_frame(
    (index, objects): (&Index, &[(Digest, u64)]),
    (at, frame, between): (usize, &[u8], &[Held]),
    keep: Keep<'_>,
    room: &Room,
) -> Result<(), CopyError> {
    let (store, object) = (keep.store, objects[at]);
    let put = |content: io::Result<Box<dyn Read + '_>>| match content {
        Ok(content) => keep.put(content, object),
        Err(_) => Err(CopyError::Damaged(store.object(object.0))),
    };
    let Some((codec, _)) = index.frames[at].delta else {
        return put(pack::decompress(frame).map(|content| Box::new(content) as _));
    };
    let (base, base_bytes) = objects[index.steps(at).nth(between.len()).unwrap_or(at)];
    let path = store.object(base);
    let more = between.iter().map(|(_, frame)| delta::between_bytes(frame));
    let needed_bytes = delta::memory_bytes(codec, base_bytes, object.1) + more.sum::<u64>();
    let _memory = room.take(needed_bytes);
    let between: Vec<(&[u8], u64)> = between
        .iter()
        .map(|(at, frame)| (&frame[..], objects[*at].1))
        .collect();
    let stored = put(delta::decode(&path, &between, (codec, frame), object.1));
    if matches!(stored, Err(CopyError::Damaged(_)))
        && hash::file(&path).is_ok_and(|(seen, _)| seen != base)
    {
        drop(disk::remove_file(&path));
    }
    stored
}
