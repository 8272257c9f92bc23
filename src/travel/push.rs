//! Near → far: writes a starting point of the local store into a tier, in packs of what the tier lacks.
//!
//! Everything that is written has a name of its own, so two that push at once disturb each other only in the list.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;

use crate::delta::{self, Room};
use crate::disk::{self, hash};
use crate::model::{Digest, Epoch, Manifest};
use crate::store::head::{self, Entry, Head, MAX_HEAD_BYTES};
use crate::store::pack::{self, Codec, Index, PACK_BYTES, PackName};
use crate::store::point::Point;
use crate::store::{Store, StoreError};
use crate::tier::{self, Tier, Tiers, persistently};
use crate::travel::fetch::{self, Keep, Wanted};
use crate::travel::known::{Base, Known, SMALL, Stored};
use crate::travel::list::{List, ListError, Signer};

/// How many earlier starting points are asked what the tier has.
const MAX_PREDECESSORS: usize = 2;
/// How many packs are on their way at once.
const UPLOADS: usize = 2;
/// How much is compressed before what comes first is: enough for the other cores while one compresses a large program.
const AHEAD_BYTES: u64 = 256 << 20;
/// The largest bundle that is fetched.
pub const MAX_BUNDLE_BYTES: u64 = 320 << 20;

/// What a push did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Objects that the tier lacked.
    pub objects: usize,
    /// Packs that were written.
    pub packs: usize,
    /// Bytes that were written.
    pub bytes: u64,
    /// Requests that were made.
    pub requests: usize,
}

/// Why a starting point could not be pushed; what is published here stays.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The tier failed.
    #[error("{0}")]
    Tier(#[from] tier::Failed),
    /// The tier takes nothing.
    #[error("it is only read")]
    ReadOnly,
    /// What was pushed could not be listed.
    #[error("{0}")]
    List(#[from] ListError),
    /// The local store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An object of the local store could not be read, and why.
    #[error("cannot read object {}: {}", .0.short(), .1)]
    Object(Digest, io::Error),
}

/// One push under way.
struct Push<'a> {
    tier: &'a dyn Tier,
    store: &'a Store,
    now_unix_s: i64,
    epoch: Epoch,
    done: Pushed,
}

/// Writes the starting point `point` of `store` into `tier`; without a `signer`, for somebody else to sign it.
pub fn push(
    tier: &dyn Tier,
    store: &Store,
    point: &Point,
    signer: Option<&Signer>,
    now_unix_s: i64,
) -> Result<Pushed, PushError> {
    let mut push = Push {
        tier,
        store,
        now_unix_s,
        epoch: Epoch::of(now_unix_s),
        done: Pushed::default(),
    };
    let bytes = store.manifest_bytes(point.manifest)?;
    let manifest = store.manifest(point.manifest)?;
    let key = match signer {
        Some(_) => head::key(&manifest.toolchain),
        None => head::unsigned_key(&point.commit),
    };
    let mut list = List::new(tier, key, signer, now_unix_s);
    let head = match signer {
        Some(_) => list.read()?,
        None => push.anybodys_head(&manifest),
    };
    let known = push.known(&head, point);
    let index = push.packs(&manifest, known)?;
    let bundle = pack::encode_bundle(&bytes, &index);
    push.put(&pack::bundle_key(push.epoch, point.manifest), bundle)?;
    let entry = Entry {
        point: point.clone(),
        epoch: push.epoch,
        signatures: signer.map_or(Vec::new(), |signer| signer.sign(&bytes)),
    };
    list.add(&entry)?;
    push.done.requests += list.requests;
    push.done.bytes += list.bytes;
    Ok(push.done)
}

impl Push<'_> {
    fn get(&mut self, key: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>, PushError> {
        self.done.requests += 1;
        Ok(tier::read(self.tier, key, limit_bytes)?)
    }

    fn put(&mut self, key: &str, bytes: Vec<u8>) -> Result<(), PushError> {
        self.done.requests += 1;
        self.done.bytes += bytes.len() as u64;
        put(self.tier, key, bytes)
    }

    /// Returns the list of the toolchain of `manifest`, whoever signed it: where it lies, readers miss that starting point, and
    /// take nothing else for it.
    fn anybodys_head(&mut self, manifest: &Manifest) -> Head {
        let list = self.get(&head::key(&manifest.toolchain), MAX_HEAD_BYTES as u64);
        let read = list.ok().flatten().map(|bytes| head::decode(&bytes));
        let read = read.and_then(Result::ok);
        read.map_or(Head::default(), |read| read.head)
    }

    /// Returns where the tier has what the starting points before this one are made of, those of the same part and commands first.
    /// One that cannot be read costs bytes, no more.
    fn known(&mut self, head: &Head, point: &Point) -> Known {
        let mut before: Vec<&Entry> = head.entries.iter().collect();
        let other = |one: &Point| (one.part != point.part, one.commands != point.commands);
        before.sort_by_key(|entry| other(&entry.point));
        let mut known = Known::default();
        for entry in before.into_iter().take(MAX_PREDECESSORS) {
            let name = entry.point.manifest;
            // Its index here may be another tier's.
            let bytes = self.get(&pack::bundle_key(entry.epoch, name), MAX_BUNDLE_BYTES);
            let bytes = bytes.ok().flatten();
            let there = bytes.and_then(|bytes| read_bundle(&bytes, name));
            if let Some((index, manifest)) = there {
                known.add(&manifest, &index, self.now_unix_s);
            }
        }
        known
    }

    /// Writes what is not `known` in packs, and returns where everything is then.
    fn packs(&mut self, manifest: &Manifest, mut known: Known) -> Result<Index, PushError> {
        let mut lacking = manifest.objects();
        lacking.retain(|(digest, _)| known.get(*digest).is_none());
        let bases = known.bases(manifest);
        let graphs = bases.values().filter_map(|base| Some(base.graphs?.0));
        self.bring(&known, bases.values().map(|base| base.object).chain(graphs))?;
        // Deltas lie beside each other, as they are asked for together; the largest come first, while no pack takes memory.
        lacking.sort_by_key(|(digest, size_bytes)| match bases.contains_key(digest) {
            true => (false, Reverse(*size_bytes)),
            false => (true, Reverse(0)),
        });
        for (digest, stored) in self.write_packs(&lacking, &bases)? {
            known.insert(digest, stored);
        }
        Ok(known.index(manifest.objects()))
    }

    /// Brings those of `bases` here that are not, as on a machine that is thrown away after each build: what is fetched once is
    /// written and kept the less for 90 days. One that does not come is done without.
    fn bring(
        &mut self,
        known: &Known,
        bases: impl Iterator<Item = Digest>,
    ) -> Result<(), PushError> {
        let store = self.store;
        let sized = bases.filter_map(|base| Some((base, known.get(base)?.size_bytes)));
        let lacks = |(object, size_bytes): &(Digest, u64)| !store.has(*object, *size_bytes);
        let large = sized.filter(|(_, size_bytes)| *size_bytes >= delta::MIN_BYTES);
        let lacking: BTreeSet<(Digest, u64)> = large.filter(lacks).collect();
        let mut objects: Vec<(Digest, u64)> = lacking.into_iter().collect();
        let index = known.index(objects.clone());
        objects.extend(&index.bases);
        let wanted = Wanted {
            index: &index,
            all: &objects,
            objects: &(0..objects.len())
                .filter(|at| lacks(&objects[*at]))
                .collect::<Vec<_>>(),
            asked: None,
        };
        let keep = Keep {
            store,
            staging: &store.staging("push")?,
            arrivals: None,
        };
        // Who is in trouble is not asked for more: what is pushed then has none of it.
        let fetched = fetch::fetch(wanted, &Tiers::new([self.tier]), keep, &|_| true);
        self.done.requests += fetched.requests;
        Ok(())
    }

    /// Compresses and writes the objects `lacking`, as deltas to their `bases` where that pays; while one pack is filled, others
    /// are on their way.
    fn write_packs(
        &mut self,
        lacking: &[(Digest, u64)],
        bases: &HashMap<Digest, Base>,
    ) -> Result<Vec<(Digest, Stored)>, PushError> {
        let packer = Packer {
            store: self.store,
            bases,
            room: Room::default(),
        };
        let written = std::thread::scope(|scope| {
            let mut filler = Filler {
                scope,
                push: self,
                pack: Vec::with_capacity(PACK_BYTES),
                written: Vec::new(),
                sealed: 0,
                uploads: VecDeque::new(),
            };
            packer.each(lacking, |object, packed| filler.add(object, packed))?;
            filler.end()
        })?;
        let starts = written.iter().filter(|(_, stored)| stored.offset == 0);
        self.done.objects = lacking.len();
        self.done.packs = starts.count();
        self.done.requests += self.done.packs;
        self.done.bytes += written.iter().map(|(_, one)| one.stored_bytes).sum::<u64>();
        Ok(written)
    }
}

fn put(tier: &dyn Tier, key: &str, bytes: Vec<u8>) -> Result<(), PushError> {
    let bytes = Bytes::from(bytes);
    let written = persistently(|| tier.put(key, bytes.clone()));
    Ok(written.map_err(tier::failed("writing", key))?)
}

fn read_bundle(bytes: &[u8], name: Digest) -> Option<(Index, Manifest)> {
    let (manifest, packed) = pack::split_bundle(bytes, name).ok()?;
    let manifest = crate::store::format::decode(manifest).ok()?;
    Some((pack::decode_index(packed, &manifest).ok()?, manifest))
}

/// Makes of objects what is written.
struct Packer<'a> {
    store: &'a Store,
    bases: &'a HashMap<Digest, Base>,
    room: Room,
}

/// Fills one pack after the other.
struct Filler<'scope, 'a> {
    scope: &'scope Scope<'scope, 'a>,
    push: &'a Push<'a>,
    pack: Vec<u8>,
    written: Vec<(Digest, Stored)>,
    /// Of how many of those it is known in which pack they are.
    sealed: usize,
    /// Packs on their way, the first to be begun first.
    uploads: VecDeque<Upload<'scope>>,
}

/// A pack on its way.
type Upload<'scope> = ScopedJoinHandle<'scope, Result<(), PushError>>;

/// An object, ready to be written.
type Packed = (Vec<u8>, Option<(Codec, Digest)>);

impl Packer<'_> {
    /// Calls `add` with each object as it is written, in their order, while those behind it are made on all cores. Not to be called on
    /// one of rayon's own threads, which would wait for itself.
    fn each(
        &self,
        objects: &[(Digest, u64)],
        mut add: impl FnMut((Digest, u64), Packed) -> Result<(), PushError>,
    ) -> Result<(), PushError> {
        rayon::in_place_scope_fifo(|scope| {
            let weight = |object: (Digest, u64)| object.1.min(AHEAD_BYTES / 2);
            let (mut begun, mut ahead_bytes) = (VecDeque::new(), 0);
            let mut rest = objects.iter().copied().peekable();
            loop {
                while let Some(object) = rest.next_if(|_| ahead_bytes < AHEAD_BYTES) {
                    ahead_bytes += weight(object);
                    let (made, packed) = mpsc::sync_channel(1);
                    // Nobody takes it any more where another failed.
                    scope.spawn_fifo(move |_| drop(made.send(self.packed(object))));
                    begun.push_back((object, packed));
                }
                let Some((object, packed)) = begun.pop_front() else {
                    return Ok(());
                };
                add(object, packed.recv().expect("it does not panic")?)?;
                ahead_bytes -= weight(object);
            }
        })
    }

    /// Returns the object as it is written: whole, or as a delta where that pays. A large delta does not: what comes next would be as
    /// unlike the whole behind it as this.
    fn packed(&self, (object, size_bytes): (Digest, u64)) -> Result<Packed, PushError> {
        let path = self.store.object(object);
        if hash::of(&path).is_some_and(|seen| seen != object) {
            // For as long as others count on it, every reader would fetch it in vain.
            drop(disk::remove_file(&path));
            return Err(PushError::Object(object, io::ErrorKind::InvalidData.into()));
        }
        let base = self.bases.get(&object);
        let mut delta = base.and_then(|base| self.delta(&path, base));
        let is_small = |(delta, _): &mut Packed| (delta.len() as u64) < size_bytes / SMALL;
        if let Some(small) = delta.take_if(is_small) {
            return Ok(small);
        }
        let whole = File::open(&path).and_then(|file| pack::compress(file, size_bytes));
        let whole = whole.map_err(|cause| PushError::Object(object, cause))?;
        let pays = |(delta, _): &Packed| delta.len() < whole.len() / 2;
        Ok(delta.filter(pays).unwrap_or((whole, None)))
    }

    /// Returns the file at `path` as a delta to `base`; none where that is damaged, or somebody collects it meanwhile.
    fn delta(&self, path: &Path, base: &Base) -> Option<Packed> {
        let store = self.store;
        let before = store.object(base.object);
        hash::of(&before).filter(|seen| *seen == base.object)?;
        let graphs = base.graphs;
        let graphs = graphs.map(|(before, now)| (store.object(before), store.object(now)));
        let graphs = graphs.as_ref().map(|(before, now)| (&**before, &**now));
        let graphs = graphs.filter(|(before, now)| before.exists() && now.exists());
        let (codec, delta) = delta::encode(&before, path, graphs, &self.room).ok()??;
        Some((delta, Some((codec, base.object))))
    }
}

impl Filler<'_, '_> {
    fn add(
        &mut self,
        (object, size_bytes): (Digest, u64),
        (frame, delta): Packed,
    ) -> Result<(), PushError> {
        if !self.pack.is_empty() && self.pack.len() + frame.len() > PACK_BYTES {
            self.send()?;
        }
        // The pack's own digest is known when it is full.
        let stored = Stored {
            size_bytes,
            pack: PackName {
                epoch: self.push.epoch,
                digest: object,
            },
            offset: self.pack.len() as u64,
            stored_bytes: frame.len() as u64,
            delta,
        };
        self.written.push((object, stored));
        self.pack.extend_from_slice(&frame);
        Ok(())
    }

    /// Writes what is left, and returns where everything is once all packs are there.
    fn end(mut self) -> Result<Vec<(Digest, Stored)>, PushError> {
        if !self.pack.is_empty() {
            self.send()?;
        }
        self.uploads.into_iter().try_for_each(arrived)?;
        Ok(self.written)
    }

    /// Sends the pack on its way, once there are not too many others.
    fn send(&mut self) -> Result<(), PushError> {
        if self.uploads.len() == UPLOADS {
            self.uploads.pop_front().map_or(Ok(()), arrived)?;
        }
        // So much costs nothing before it is used, and is given back to the system when it is dropped, where glibc keeps what is smaller.
        let next = Vec::with_capacity(PACK_BYTES);
        let (tier, bytes) = (self.push.tier, std::mem::replace(&mut self.pack, next));
        let name = PackName {
            epoch: self.push.epoch,
            digest: Digest::of(&bytes),
        };
        for (_, stored) in &mut self.written[self.sealed..] {
            stored.pack = name;
        }
        self.sealed = self.written.len();
        let upload = self.scope.spawn(move || put(tier, &name.key(), bytes));
        self.uploads.push_back(upload);
        Ok(())
    }
}

fn arrived(upload: Upload<'_>) -> Result<(), PushError> {
    upload.join().expect("it does not panic")
}
