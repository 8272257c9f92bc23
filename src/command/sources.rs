//! Where starting points come from: the store here, and what the remotes list.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use super::cli::StartArgs;
use super::far::{Far, Listed};
use super::setup::warn_of_unknown_settings;
use super::{Call, Setup, short};
use crate::disk;
use crate::git;
use crate::model::{Digest, Manifest};
use crate::store::{Point, Store, StoreError, pack};
use crate::trust::{self, Believed, TrustError, Verified};

/// Why nothing is started, where nothing went wrong.
#[derive(Debug, thiserror::Error)]
#[error("no starting point: {0}")]
pub(super) struct NoStart(pub(super) String);

/// A starting point that could serve.
pub(super) struct Candidate {
    pub(super) point: Point,
    pub(super) manifest: Verified<Manifest>,
}

/// An opened store, and what is to be had beside it.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) args: &'a StartArgs,
    pub(super) call: Call<'a>,
    pub(super) store: Store,
    /// Whether what lies in the store is believed.
    believed: Believed,
    pub(super) far: Far<'a>,
    /// What the remotes list for this toolchain.
    pub(super) listed: Vec<Listed>,
}

/// Returns the belief in the store at `root`: whose directory it is, and that it is no part of a repository, which belongs to the user
/// who cloned it, whoever wrote it.
pub(super) fn believed(root: &Path, said_so: bool) -> Result<Believed, TrustError> {
    if !said_so && git::tracks(root) {
        let why = "is a part of the repository";
        return Err(TrustError::Directory(root.to_owned(), why));
    }
    trust::store(root, said_so)
}

impl<'a> Sources<'a> {
    /// Opens the store and asks the remotes for their lists; fails with [`NoStart`] where there is no store.
    pub(super) fn open(args: &'a StartArgs, call: Call<'a>, setup: &Setup) -> Result<Sources<'a>> {
        let configured = setup.configured();
        warn_of_unknown_settings(call, configured);
        let typed = args.store.store.as_deref();
        // Without links: whoever can change one would have another directory looked at than is read.
        let root = disk::canonical(&call.environment.store(typed)?);
        let mut far = Far::of(call, &args.store, args.believe_store, configured)?;
        let store = match Store::open(&root) {
            Err(StoreError::Missing(_)) if !far.tiers.is_empty() => Store::create(&root)?,
            Err(error @ StoreError::Missing(_)) => return Err(NoStart(error.to_string()).into()),
            store => store?,
        };
        let listed = far.listed(&setup.toolchain, &store);
        Ok(Sources {
            args,
            call,
            believed: believed(&root, args.believe_store)?,
            store,
            far,
            listed,
        })
    }

    /// Returns all points of `commit` but those of builds with changes, those of the store first, each once.
    pub(super) fn points(&self, commit: &str) -> Vec<Point> {
        let (mut points, problems) = self.store.points(commit);
        for problem in problems {
            self.call.reporter.warn(problem);
        }
        for point in self.listed.iter().map(|listed| &listed.entry.point) {
            let known = points.iter().any(|one| one.manifest == point.manifest);
            if point.commit == commit && !known {
                points.push(point.clone());
            }
        }
        points.retain(|point| !point.dirty);
        points
    }

    /// Returns those of `points` that can be used, their manifests brought here; they are not collected meanwhile. For any
    /// other there is a line that says why not.
    pub(super) fn candidates(&self, points: Vec<Point>) -> Vec<Candidate> {
        let candidate = |point: Point| {
            let commit = short(&point.commit);
            let unused = |why| format!("the starting point {commit} is not used: {why}");
            let candidate = self.candidate(&point).map_err(unused);
            candidate.map_err(|why| self.call.reporter.warn(why)).ok()
        };
        points.into_iter().filter_map(candidate).collect()
    }

    /// Returns the starting point of `point`, brought here if need be; or why it cannot be used.
    pub(super) fn candidate(&self, point: &Point) -> Result<Candidate> {
        self.bring(point)?;
        if point.not_after_unix_s >= self.call.now_unix_s() {
            // Noted first: what is read afterwards was not on its way out.
            self.store.note_use(point.manifest);
        }
        let manifest = self.store.manifest(point.manifest)?;
        self.check(point, &manifest)?;
        Ok(Candidate {
            point: point.clone(),
            manifest: self.believed.vouch(manifest),
        })
    }

    fn check(&self, point: &Point, manifest: &Manifest) -> Result<()> {
        let same = manifest.toolchain == point.toolchain && point.is_of(manifest);
        ensure!(same, "it is another starting point than said");
        let lasts = manifest.not_after_unix_s >= self.call.now_unix_s();
        ensure!(lasts, "it has expired");
        Ok(())
    }

    /// Brings the manifest of `point` here if it is not, or says why it is not to be had, or not to be believed today.
    fn bring(&self, point: &Point) -> Result<()> {
        let of = |one: &&Listed| one.entry.point.manifest == point.manifest;
        let listed = self.listed.iter().find(of);
        match listed {
            Some(listed) if !self.is_whole(point.manifest) => self.adopt(listed),
            Some(newer) if self.store.doubts_index(point.manifest) => {
                let adopted = self.adopt(newer);
                adopted.or_else(|_| self.still_believed(point, listed))
            }
            _ => self.still_believed(point, listed),
        }
    }

    /// Tells whether the manifest `name` is here, with its index if it came from a tier: what was written right before the machine
    /// stopped may be empty.
    pub(super) fn is_whole(&self, name: Digest) -> bool {
        let manifest = self.store.manifest(name).ok();
        let has_index = |manifest| self.store.index(name, &manifest).is_some();
        manifest.is_some_and(|one| self.store.adopted(name).is_none() || has_index(one))
    }

    /// What came from a tier once is believed by its signatures and today's keys, not because it is here.
    fn still_believed(&self, point: &Point, listed: Option<&Listed>) -> Result<()> {
        let (store, far) = (&self.store, &self.far);
        let Some(signatures) = store.adopted(point.manifest) else {
            return Ok(());
        };
        if far.believes_all || listed.is_some_and(|one| one.believed.is_some()) {
            return Ok(());
        }
        let bytes = store.manifest_bytes(point.manifest)?;
        let Err(why) = far.verified(&bytes, &signatures, None) else {
            return Ok(());
        };
        // Somebody else may have signed it since.
        let newer = listed.map(|one| &one.entry.signatures);
        let Some(newer) = newer.filter(|newer| **newer != signatures) else {
            return Err(why);
        };
        far.verified(&bytes, newer, None)?;
        let staging = store.staging("adopt")?;
        Ok(store.put_adopted(&staging, point.manifest, newer)?)
    }

    /// Brings the manifest of `listed` into the local store, with the index of its objects; or says why not.
    fn adopt(&self, listed: &Listed) -> Result<()> {
        let (point, signatures) = (&listed.entry.point, &listed.entry.signatures);
        let bundle = self.far.bundle(listed.entry.epoch, point.manifest)?;
        let (bytes, packed) =
            pack::split_bundle(&bundle, point.manifest).expect("it was split before");
        let believed = listed.believed.as_ref();
        let manifest = self.far.verified(bytes, signatures, believed)?;
        let manifest = manifest.get();
        self.check(point, manifest)?;
        let index = pack::decode_index(packed, manifest);
        index.map_err(|error| anyhow!("its index {error}"))?;
        let (store, staging) = (&self.store, self.store.staging("adopt")?);
        store.put_adopted(&staging, point.manifest, signatures)?;
        store.put_index(&staging, point.manifest, packed)?;
        store.doubt_index(point.manifest, false);
        store.put_manifest_bytes(&staging, bytes)?;
        Ok(store.put_point(&staging, point)?)
    }
}
