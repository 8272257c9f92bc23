//! Far → near: brings objects of a starting point from tiers into the local store.
//!
//! An object is stored only if it has the digest and the size that the manifest says; so a tier that lies, or an index that
//! is wrong, costs what it costs to compile.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::disk::place::{CopyError, Staging};
use crate::engine::delta;
use crate::model::{Digest, Manifest};
use crate::store::Store;
use crate::store::pack::{self, Index, Request};
use crate::tier::{Tiers, Trouble, Watch};

/// How many requests are on their way at once.
const IN_FLIGHT: usize = 16;
/// Objects from this size on are made of their bases one after the other.
const LARGE_BYTES: u64 = 16 << 20;

/// What is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The starting point.
    pub manifest: &'a Manifest,
    /// Where its objects are.
    pub index: &'a Index,
    /// Which are wanted, by the positions of their frames; with the bases that they need and that are not here.
    pub objects: &'a [usize],
}

/// What came.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Objects that are now in the local store.
    pub objects: usize,
    /// Objects that are not.
    pub lacking: usize,
    /// What ended it before all had come, else the last thing that went wrong.
    pub trouble: Option<Trouble>,
}

/// One fetch under way.
struct Fetch<'a> {
    wanted: Wanted<'a>,
    all: Vec<(Digest, u64)>,
    tiers: &'a Tiers,
    store: &'a Store,
    staging: &'a Staging,
    watch: Watch<'a>,
    /// Why nobody is asked any more.
    ended: OnceLock<Trouble>,
    /// Held by who makes a large object of its base, which takes memory for both.
    large: Mutex<()>,
}

/// Returns which of `objects` of `manifest` the local store lacks, and the bases that it lacks for them, by the positions of
/// their frames; what it has is relied on.
pub fn lacking(
    (manifest, index): (&Manifest, &Index),
    store: &Store,
    objects: impl Iterator<Item = Digest>,
) -> Vec<usize> {
    let wanted: std::collections::HashSet<Digest> = objects.collect();
    let all = index.all_objects(manifest.objects());
    let is_lacking = |at: &usize| {
        let (object, size_bytes) = all[*at];
        let here = store.has(object, size_bytes);
        // What cannot be noted, in somebody else's store, is lost at worst.
        let _ = here && store.rely_on(object);
        !here
    };
    let own = (0..all.len()).filter(|at| wanted.contains(&all[*at].0) && is_lacking(at));
    let mut lacking: Vec<usize> = own.collect();
    let bases = index.bases_of(&lacking).into_iter();
    lacking.extend(bases.filter(is_lacking));
    lacking.sort_unstable();
    lacking.dedup();
    lacking
}

/// Fetches `wanted` until all is here, or `watch` wants no more, or what came cannot be kept here.
pub fn fetch(
    wanted: Wanted<'_>,
    tiers: &Tiers,
    store: &Store,
    staging: &Staging,
    watch: Watch<'_>,
) -> Fetched {
    let fetch = Fetch {
        wanted,
        all: wanted.index.all_objects(wanted.manifest.objects()),
        tiers,
        store,
        staging,
        watch,
        ended: OnceLock::new(),
        large: Mutex::new(()),
    };
    let is_whole = |at: &usize| wanted.index.frames[*at].delta.is_none();
    let (whole, mut deltas): (Vec<usize>, Vec<usize>) =
        wanted.objects.iter().copied().partition(is_whole);
    let mut fetched = fetch.all(&whole);
    deltas.retain(|at| {
        fetch
            .base(*at)
            .is_some_and(|(base, size)| store.has(base, size))
    });
    let later = fetch.all(&deltas);
    fetched.objects += later.objects;
    fetched.lacking = wanted.objects.len() - fetched.objects;
    fetched.trouble = later.trouble.or(fetched.trouble);
    fetched.trouble = fetch.ended.into_inner().or(fetched.trouble);
    fetched
}

impl Fetch<'_> {
    /// Fetches `objects` until all are here or nobody is asked any more.
    fn all(&self, objects: &[usize]) -> Fetched {
        let requests = self.wanted.index.requests(objects);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut own = Fetched::default();
            while self.ended.get().is_none()
                && let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed))
            {
                match self.one(request) {
                    Ok(()) => own.objects += request.objects.len(),
                    Err(ends @ (Trouble::Stopped | Trouble::Here(_))) => drop(self.ended.set(ends)),
                    Err(trouble) => own.trouble = Some(trouble),
                }
            }
            own
        };
        std::thread::scope(|scope| {
            let count = IN_FLIGHT.min(requests.len());
            let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
            let parts = workers
                .into_iter()
                .map(|one| one.join().expect("it does not panic"));
            parts.fold(Fetched::default(), |sum, part| Fetched {
                objects: sum.objects + part.objects,
                lacking: 0,
                trouble: part.trouble.or(sum.trouble),
            })
        })
    }

    /// Returns the base of the delta at `at`.
    fn base(&self, at: usize) -> Option<(Digest, u64)> {
        let (_, base) = self.wanted.index.frames[at].delta?;
        Some(self.all[base as usize])
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

    fn store_all(&self, request: &Request, bytes: &[u8]) -> Result<(), Trouble> {
        for at in &request.objects {
            let frame = self.wanted.index.frames[*at];
            let start = usize::try_from(frame.offset - request.range.start).unwrap_or(usize::MAX);
            let size = usize::try_from(frame.stored_bytes).unwrap_or(usize::MAX);
            let own = bytes.get(start..).and_then(|rest| rest.get(..size));
            let stored = match own {
                Some(frame) => self.store_one(*at, frame),
                None => self.damaged(*at),
            };
            stored.map_err(|error| match error {
                CopyError::Damaged(_) => Trouble::Unreachable(format!(
                    "pack {} is damaged there",
                    request.pack.digest.short()
                )),
                CopyError::Disk(error) => Trouble::Here(error.to_string()),
            })?;
        }
        Ok(())
    }

    /// Stores the object at `at`, which `frame` is.
    fn store_one(&self, at: usize, frame: &[u8]) -> Result<(), CopyError> {
        let object = self.all[at];
        let put = |content: &mut dyn Read| self.store.put_from(self.staging, content, object);
        let (Some((codec, _)), Some((base, _))) =
            (self.wanted.index.frames[at].delta, self.base(at))
        else {
            let content = pack::decompress(frame);
            return content.map_or_else(|_| self.damaged(at), |mut content| put(&mut content));
        };
        let is_large = object.1 > LARGE_BYTES;
        let _alone = is_large.then(|| self.large.lock().expect("nobody panics with it"));
        let base = self.store.object(base);
        let content = delta::decode(&base, (codec, frame), object.1);
        content.map_or_else(|_| self.damaged(at), |mut content| put(&mut content))
    }

    fn damaged(&self, at: usize) -> Result<(), CopyError> {
        Err(CopyError::Damaged(self.store.object(self.all[at].0)))
    }
}
