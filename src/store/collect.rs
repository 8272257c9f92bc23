//! What a store holds, and removing what a plan says. Decides nothing: see `model::retention`, and note 0011.
//!
//! Takes no lock. What was used in the last hour stays, and that is looked at again right before each file goes; so a collector
//! that is stopped, and goes on a week later, takes nothing that somebody has come to rely on meanwhile.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::format::{self, FormatError};
use super::{Result, Store, StoreError};
use crate::disk::{self, DiskError, walk};
use crate::model::retention::{Held, Object, Plan, is_idle};
use crate::model::{Digest, SECONDS_A_DAY};

/// What says with which signatures a manifest came stays this long after it: a manifest that came back without it, by a process
/// that was stopped in between, would be believed for lying here.
const ADOPTED_DAYS: i64 = 366;
/// How often a store is collected without being asked, in seconds.
const BY_ITSELF_S: i64 = 60 * 60;

/// What a store holds, as far as collecting must know.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The starting points.
    pub held: Vec<Held>,
    /// The objects.
    pub objects: Vec<Object>,
    manifests: Vec<Digest>,
    digests: Vec<Digest>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Starting points.
    pub starting_points: usize,
    /// Objects.
    pub objects: usize,
    /// All files.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
}

impl Store {
    /// Returns the time by the clock of the store's file system, which is the one that its files are dated by.
    pub fn time(&self) -> Result<i64> {
        let staging = self.staging("time")?;
        Ok(used(staging.dir.path())?.map_or(i64::MIN, |(now, _)| now))
    }

    /// Notes that the manifest `digest` is used now. What cannot be noted, in somebody else's store, counts as used when it
    /// was published.
    pub fn note_use(&self, digest: Digest) {
        drop(disk::touch(&self.manifest_path(digest)));
    }

    /// Notes that somebody relies on the object `digest` being here for the next hour; tells whether it could be noted.
    pub fn rely_on(&self, digest: Digest) -> bool {
        disk::touch(&self.object(digest)).is_ok()
    }

    /// Tells whether nobody has begun to collect this store for an hour, and notes that somebody does.
    pub fn claims_collection(&self, now_unix_s: i64) -> bool {
        let mark = self.root.join(super::VERSION_FILE);
        let last = used(&mark).ok().flatten();
        last.is_some_and(|(last, _)| last < now_unix_s - BY_ITSELF_S) && disk::touch(&mark).is_ok()
    }

    /// Returns what this store holds; `read` is called for each manifest.
    ///
    /// A manifest that nobody of this version can use counts as expired. One of a later version is an error: what it refers
    /// to is not known.
    pub fn inventory(&self, read: &dyn Fn()) -> Result<Inventory> {
        let mut all = Inventory::default();
        let mut positions: HashMap<Digest, u32> = HashMap::new();
        for dir in walk::directories(&self.root.join("objects")) {
            for (digest, path) in named(&dir)? {
                let Some((used_unix_s, bytes)) = used(&path)? else {
                    continue;
                };
                let position = u32::try_from(all.objects.len()).expect("fewer than 2^32 objects");
                positions.insert(digest, position);
                all.digests.push(digest);
                all.objects.push(Object { used_unix_s, bytes });
            }
        }
        for (digest, path) in named(&self.root.join("manifests"))? {
            let Some((used_unix_s, bytes)) = used(&path)? else {
                continue;
            };
            let (not_after_unix_s, objects) = self.referred(digest, &positions)?;
            let index = used(&self.file("indexes", digest))?;
            all.manifests.push(digest);
            all.held.push(Held {
                used_unix_s,
                not_after_unix_s,
                bytes: bytes + index.map_or(0, |(_, bytes)| bytes),
                objects,
            });
            read();
        }
        Ok(all)
    }

    /// Returns until when the manifest `digest` may be used, and the positions of those `known` objects that it refers to.
    fn referred(&self, digest: Digest, known: &HashMap<Digest, u32>) -> Result<(i64, Vec<u32>)> {
        match self.manifest(digest) {
            Ok(manifest) => {
                // A delta that is fetched later needs its base.
                let bases = self.index(digest, &manifest).unwrap_or_default().bases;
                let objects = manifest.objects().into_iter().chain(bases);
                let here = objects.filter_map(|(object, _)| known.get(&object).copied());
                Ok((manifest.not_after_unix_s, here.collect()))
            }
            Err(StoreError::Unusable(.., problem)) if !is_later(&problem) => {
                Ok((i64::MIN, Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what `plan` says of `inventory`, and what belonged to nothing else; `before` is called before each file.
    ///
    /// `now_unix_s` is a time at which the inventory had not been begun. May be ended anywhere: a starting point of which not all
    /// is gone costs a compile, and the next collection goes on.
    pub fn sweep(
        &self,
        inventory: &Inventory,
        plan: &Plan,
        now_unix_s: i64,
        before: &dyn Fn(),
    ) -> Result<Removed> {
        let mut removed = Removed::default();
        let mut remove = |path: &Path, now_unix_s: i64| -> Result<bool, DiskError> {
            before();
            let Some((used_unix_s, bytes)) = used(path)? else {
                return Ok(true);
            };
            if !is_idle(used_unix_s, now_unix_s) {
                return Ok(false);
            }
            match disk::remove_file(path) {
                // It is somebody else's.
                Err(error) if error.is_denied() => return Ok(false),
                removed => removed?,
            }
            removed.files += 1;
            removed.bytes += bytes;
            Ok(true)
        };
        let points = self.all_points();
        let mut spared: HashSet<u32> = HashSet::new();
        for at in plan.expired.iter().chain(&plan.crowded_out) {
            let digest = inventory.manifests[*at];
            let manifest = self.manifest_path(digest);
            // Its points first: one that leads nowhere is a warning at each start.
            if used(&manifest)?.is_some_and(|(used_unix_s, _)| is_idle(used_unix_s, now_unix_s)) {
                for point in points.iter().filter(|one| one.manifest == digest) {
                    remove(&self.point_path(point), now_unix_s)?;
                }
            }
            match remove(&manifest, now_unix_s)? {
                true => removed.starting_points += 1,
                false => spared.extend(&inventory.held[*at].objects),
            }
        }
        for at in &plan.objects {
            let position = u32::try_from(*at).expect("fewer than 2^32 objects");
            let object = self.object(inventory.digests[*at]);
            let gone = !spared.contains(&position) && remove(&object, now_unix_s)?;
            removed.objects += usize::from(gone);
        }
        for point in points.iter().filter(|one| !self.has_manifest(one.manifest)) {
            remove(&self.point_path(point), now_unix_s)?;
        }
        let serves = walk::names(&self.root.join("manifests")).next().is_some();
        for dir in ["indexes", "doubted", "rest", "asked", "adopted", "answers"] {
            let stays = dir == "adopted" || dir == "answers" && serves;
            let days = if stays { ADOPTED_DAYS } else { 0 };
            for (digest, path) in named(&self.root.join(dir))? {
                if !self.has_manifest(digest) {
                    remove(&path, now_unix_s - days * SECONDS_A_DAY)?;
                }
            }
        }
        Ok(removed)
    }
}

fn is_later(problem: &FormatError) -> bool {
    matches!(problem, FormatError::Newer(version) if *version > format::VERSION)
}

/// Returns when the file at `path` was last used, in seconds since 1970, and its size; none where there is nothing.
fn used(path: &Path) -> Result<Option<(i64, u64)>, DiskError> {
    let meta = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        meta => meta.map_err(disk::failed("inspect", path))?,
    };
    Ok(Some((meta.mtime(), meta.len())))
}

/// Returns the files in `dir` that are named by a digest; none where there is no such directory.
fn named(dir: &Path) -> Result<Vec<(Digest, PathBuf)>, DiskError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(disk::failed("list", dir))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(disk::failed("list", dir))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        files.extend(name.parse().ok().map(|digest| (digest, entry.path())));
    }
    Ok(files)
}
