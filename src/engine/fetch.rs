//! Far → near: brings objects of a starting point from tiers into the local store.
//!
//! An object is stored only if it has the digest and the size that the manifest says; so a tier that lies, or an index that
//! is wrong, costs what it costs to compile.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disk::place::{CopyError, Staging};
use crate::model::{Digest, Manifest};
use crate::store::Store;
use crate::store::pack::{self, Index, Request};
use crate::tier::{Tiers, Trouble, Watch};

/// How many requests are on their way at once.
const IN_FLIGHT: usize = 16;

/// What is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The starting point.
    pub manifest: &'a Manifest,
    /// Where its objects are.
    pub index: &'a Index,
    /// Which are wanted: positions in [`Manifest::objects`].
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
}

/// Returns which of `objects` of `manifest` the local store lacks, as positions in [`Manifest::objects`]; those that it has are
/// relied on.
pub fn lacking(
    manifest: &Manifest,
    store: &Store,
    objects: impl Iterator<Item = Digest>,
) -> Vec<usize> {
    let wanted: std::collections::HashSet<Digest> = objects.collect();
    let all = manifest.objects();
    let is_here = |(object, size_bytes)| {
        let here = store.has(object, size_bytes);
        // What cannot be noted, in somebody else's store, is lost at worst.
        let _ = here && store.rely_on(object);
        here
    };
    (0..all.len())
        .filter(|at| wanted.contains(&all[*at].0) && !is_here(all[*at]))
        .collect()
}

/// Fetches `wanted` until all is here, or `watch` wants no more, or what came cannot be kept here.
pub fn fetch(
    wanted: Wanted<'_>,
    tiers: &Tiers,
    store: &Store,
    staging: &Staging,
    watch: Watch<'_>,
) -> Fetched {
    let requests = wanted.index.requests(wanted.objects);
    let fetch = Fetch {
        wanted,
        all: wanted.manifest.objects(),
        tiers,
        store,
        staging,
        watch,
        ended: OnceLock::new(),
    };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut own = Fetched::default();
        while fetch.ended.get().is_none()
            && let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed))
        {
            match fetch.one(request) {
                Ok(()) => own.objects += request.objects.len(),
                Err(ends @ (Trouble::Stopped | Trouble::Here(_))) => drop(fetch.ended.set(ends)),
                Err(trouble) => own.trouble = Some(trouble),
            }
        }
        own
    };
    let mut fetched = std::thread::scope(|scope| {
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
    });
    fetched.lacking = wanted.objects.len() - fetched.objects;
    fetched.trouble = fetch.ended.into_inner().or(fetched.trouble);
    fetched
}

impl Fetch<'_> {
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
            let stored = match own.map(pack::decompress) {
                Some(Ok(content)) => self.store.put_from(self.staging, content, self.all[*at]),
                _ => Err(CopyError::Damaged(self.store.object(self.all[*at].0))),
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
}
