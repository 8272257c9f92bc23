//! A directory of objects, manifests and points, shared by any number of processes without locks.
//!
//! The only code that writes below a store's root. Every file is written once, under its digest, except
//! points, which a later publish of the same commit replaces. Layout: `docs/format.md`.

pub mod collect;
pub mod format;
pub mod head;
pub mod pack;
pub mod point;
pub mod recipe;

use std::path::{Path, PathBuf};

use crate::disk::place::{CopyError, Finish, MODE_STORED, PLAIN, Staging};
use crate::disk::{self, DiskError, walk};
use crate::model::{Digest, Manifest};
use format::FormatError;
use point::Point;

/// An opened store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// Why a store could not serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store.
    #[error("there is no store at {}", .0.display())]
    Missing(PathBuf),
    /// The directory holds something else.
    #[error("{} is not a headstart store", .0.display())]
    Foreign(PathBuf),
    /// A later version made it.
    #[error("the store at {} is of format {found}, and this version knows only format {KNOWN}", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A manifest or point cannot be used.
    #[error("{what} {name} in the store {problem}")]
    Unusable {
        /// `manifest` or `point`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        problem: FormatError,
    },
    /// An operation failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
}

/// The store format that this version writes and reads.
const KNOWN: u32 = 1;
/// The file that says which format a store has.
const VERSION_FILE: &str = "headstart-store";
/// What stands before the number in it.
const VERSION_PREFIX: &str = "headstart store ";
/// The largest manifest file that is read: 60 times the largest seen.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;
/// The largest point that is read.
const MAX_POINT_BYTES: u64 = 1 << 20;
/// How a stored file looks.
const STORED: Finish = Finish {
    mode: MODE_STORED,
    mtime: None,
};

/// How an object was asked for and not had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is not there.
    #[error("object {} is missing", .0.short())]
    Missing(Digest),
    /// It holds something else than its name says; it has been removed, so that a later publish writes it again.
    #[error("object {} is damaged", .0.short())]
    Damaged(Digest),
    /// It is there and cannot be read.
    #[error(transparent)]
    Unreadable(DiskError),
    /// Its copy could not be written.
    #[error("{0}")]
    Disk(DiskError),
}

impl Store {
    /// Opens the store at `root` for reading.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        match disk::read(&root.join(VERSION_FILE), 256) {
            Ok(bytes) => check_version(root, &bytes)?,
            Err(error) if !error.is_missing() => return Err(error.into()),
            Err(_) if !root.exists() => return Err(StoreError::Missing(root.to_path_buf())),
            Err(_) if is_empty(root) => return Err(StoreError::Missing(root.to_path_buf())),
            Err(_) => return Err(StoreError::Foreign(root.to_path_buf())),
        }
        Ok(Store {
            root: root.to_path_buf(),
        })
    }

    /// Opens the store at `root` for writing; makes it where there is nothing, or an empty directory.
    pub fn create(root: &Path) -> Result<Store, StoreError> {
        match Store::open(root) {
            Err(StoreError::Missing(_)) => {}
            opened => return opened,
        }
        disk::make_dir(root)?;
        let store = Store {
            root: root.to_path_buf(),
        };
        let version = format!("{VERSION_PREFIX}{KNOWN}\n");
        store
            .staging("create")?
            .write(&root.join(VERSION_FILE), version.as_bytes(), PLAIN)?;
        Ok(store)
    }

    /// Returns the store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a place for unfinished files of this store.
    pub fn staging(&self, name: &str) -> Result<Staging, StoreError> {
        Ok(Staging::new(&self.root.join("tmp"), name)?)
    }

    /// Returns where the object `digest` is, if it is there.
    pub fn object(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("objects").join(&hex[..2]).join(hex)
    }

    /// Tells whether the store holds `digest` with this size; the content is not read.
    pub fn has(&self, digest: Digest, size_bytes: u64) -> bool {
        std::fs::metadata(self.object(digest)).is_ok_and(|meta| meta.len() == size_bytes)
    }

    /// Stores the content of `file`, whose digest must still be `digest`. Several processes may store the same.
    pub fn put_file(
        &self,
        staging: &Staging,
        file: &Path,
        digest: Digest,
    ) -> Result<(), CopyError> {
        let object = self.object(digest);
        if let Some(dir) = object.parent() {
            disk::make_dir(dir)?;
        }
        staging.copy(file, digest, &object, STORED)
    }

    /// Stores what `content` holds as the object `digest`, if that is what it is.
    pub fn put_from(
        &self,
        staging: &Staging,
        content: impl std::io::Read,
        (digest, size_bytes): (Digest, u64),
    ) -> Result<(), CopyError> {
        let object = self.object(digest);
        if let Some(dir) = object.parent() {
            disk::make_dir(dir)?;
        }
        staging.write_from(content, (digest, size_bytes), &object, STORED)
    }

    /// Copies the object `digest` to `path`, verified on the way; `path` is untouched unless all is well.
    pub fn get(
        &self,
        digest: Digest,
        staging: &Staging,
        path: &Path,
        finish: Finish,
    ) -> Result<(), ObjectError> {
        let object = self.object(digest);
        match staging.copy(&object, digest, path, finish) {
            Ok(()) => Ok(()),
            Err(CopyError::Damaged(_)) => {
                drop(disk::remove_file(&object));
                Err(ObjectError::Damaged(digest))
            }
            Err(CopyError::Disk(error)) if error.is_missing() && error.path == object => {
                Err(ObjectError::Missing(digest))
            }
            Err(CopyError::Disk(error)) if error.path == object => {
                Err(ObjectError::Unreadable(error))
            }
            Err(CopyError::Disk(error)) => Err(ObjectError::Disk(error)),
        }
    }

    /// Stores `manifest`, and returns its name.
    pub fn put_manifest(
        &self,
        staging: &Staging,
        manifest: &Manifest,
    ) -> Result<Digest, StoreError> {
        self.put_manifest_bytes(staging, &format::encode(manifest))
    }

    /// Stores a manifest's bytes, and returns its name.
    pub fn put_manifest_bytes(
        &self,
        staging: &Staging,
        bytes: &[u8],
    ) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        disk::make_dir(&self.root.join("manifests"))?;
        staging.write(&self.manifest_path(digest), bytes, STORED)?;
        Ok(digest)
    }

    /// Tells whether the manifest `digest` is here; its content is not read.
    pub fn has_manifest(&self, digest: Digest) -> bool {
        self.manifest_path(digest).is_file()
    }

    /// Returns the highest number that the list of the tier `name` was seen with.
    pub fn sequence(&self, name: &str) -> Option<u64> {
        let text = disk::read(&self.sequence_path(name), 64).ok()?;
        String::from_utf8(text).ok()?.trim().parse().ok()
    }

    /// Keeps the number that the list of the tier `name` was seen with.
    pub fn put_sequence(&self, name: &str, sequence: u64) -> Result<(), StoreError> {
        disk::make_dir(&self.root.join("seen"))?;
        let newest = self.sequence(name).unwrap_or(0).max(sequence);
        let staging = self.staging("seen")?;
        let text = newest.to_string();
        Ok(staging.write(&self.sequence_path(name), text.as_bytes(), PLAIN)?)
    }

    /// Keeps that the manifest `digest` came from a tier, with its signatures; to be called before it is stored.
    pub fn put_adopted(
        &self,
        staging: &Staging,
        digest: Digest,
        signatures: &[String],
    ) -> Result<(), StoreError> {
        disk::make_dir(&self.root.join("adopted"))?;
        let list = serde_json::to_vec(signatures).expect("texts are plain values");
        Ok(staging.write(&self.adopted_path(digest), &list, PLAIN)?)
    }

    /// Returns the signatures of the manifest `digest` if it came from a tier; it is believed by them alone.
    pub fn adopted(&self, digest: Digest) -> Option<Vec<String>> {
        match disk::read(&self.adopted_path(digest), MAX_POINT_BYTES) {
            Err(error) if error.is_missing() => None,
            read => Some(serde_json::from_slice(&read.unwrap_or_default()).unwrap_or_default()),
        }
    }

    /// Tells whether nobody has asked this for the manifest `digest` before.
    pub fn claims_rest(&self, digest: Digest) -> bool {
        let dir = self.root.join("rest");
        disk::make_dir(&dir).is_ok() && std::fs::File::create_new(dir.join(digest.hex())).is_ok()
    }

    /// Lets the next who asks have the rest of the manifest `digest` fetched: it did not come, and may the next time.
    pub fn unclaim_rest(&self, digest: Digest) {
        drop(disk::remove_file(
            &self.root.join("rest").join(digest.hex()),
        ));
    }

    /// Returns the bytes of the manifest `digest`, checked against its name.
    pub fn manifest_bytes(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        match disk::read(&self.manifest_path(digest), MAX_MANIFEST_BYTES) {
            Err(error) if error.is_missing() => Err(unusable(digest, FormatError::Missing)),
            Ok(bytes) if Digest::of(&bytes) != digest => {
                Err(unusable(digest, FormatError::Damaged))
            }
            other => Ok(other?),
        }
    }

    /// Keeps where a tier has the objects of the manifest `digest`: the packed index of its bundle.
    pub fn put_index(
        &self,
        staging: &Staging,
        digest: Digest,
        packed: &[u8],
    ) -> Result<(), StoreError> {
        disk::make_dir(&self.root.join("indexes"))?;
        Ok(staging.write(&self.index_path(digest), packed, STORED)?)
    }

    /// Returns where a tier has the objects of `manifest`, called `digest`; none if that is not known here.
    pub fn index(&self, digest: Digest, manifest: &Manifest) -> Option<pack::Index> {
        let packed = disk::read(&self.index_path(digest), MAX_MANIFEST_BYTES).ok()?;
        pack::decode_index(&packed, manifest).ok()
    }

    /// Returns the manifest `digest`; its content has been checked against its name and its own rules.
    pub fn manifest(&self, digest: Digest) -> Result<Manifest, StoreError> {
        let bytes = self.manifest_bytes(digest)?;
        format::decode(&bytes).map_err(|problem| unusable(digest, problem))
    }

    /// Makes `point` the starting point of its commit for its toolchain and commands.
    pub fn put_point(&self, staging: &Staging, point: &Point) -> Result<(), StoreError> {
        let dir = self.point_dir(&point.commit);
        disk::make_dir(&dir)?;
        Ok(staging.write(&dir.join(point.file_name()), &point.encode(), PLAIN)?)
    }

    /// Returns the points of `commit`, newest first, and what was wrong with those that cannot be read.
    pub fn points(&self, commit: &str) -> (Vec<Point>, Vec<StoreError>) {
        let dir = self.point_dir(commit);
        let mut points = Vec::new();
        let mut problems = Vec::new();
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let read = disk::read(&entry.path(), MAX_POINT_BYTES).map_err(StoreError::from);
            let decode = |bytes: Vec<u8>| {
                Point::decode(&bytes).map_err(|problem| StoreError::Unusable {
                    what: "point",
                    name,
                    problem,
                })
            };
            match read.and_then(decode) {
                Ok(point) => points.push(point),
                Err(problem) => problems.push(problem),
            }
        }
        points.sort_by_key(|point| std::cmp::Reverse((point.published_unix_s, point.manifest)));
        (points, problems)
    }

    /// Returns every point of the store, newest first; unreadable ones are passed over.
    pub fn all_points(&self) -> Vec<Point> {
        let top = self.root.join("points");
        let mut points: Vec<Point> = walk::subdirectories(&top)
            .iter()
            .flat_map(|prefix| walk::subdirectories(&top.join(prefix)))
            .flat_map(|commit| self.points(&commit).0)
            .collect();
        points.sort_by_key(|point| std::cmp::Reverse((point.published_unix_s, point.manifest)));
        points
    }

    fn index_path(&self, digest: Digest) -> PathBuf {
        self.root.join("indexes").join(digest.hex())
    }

    fn adopted_path(&self, digest: Digest) -> PathBuf {
        self.root.join("adopted").join(digest.hex())
    }

    fn sequence_path(&self, name: &str) -> PathBuf {
        self.root
            .join("seen")
            .join(Digest::of(name.as_bytes()).hex())
    }

    fn manifest_path(&self, digest: Digest) -> PathBuf {
        self.root.join("manifests").join(digest.hex())
    }

    fn point_dir(&self, commit: &str) -> PathBuf {
        let prefix = commit.get(..2).unwrap_or("__");
        self.root.join("points").join(prefix).join(commit)
    }
}

fn unusable(manifest: Digest, problem: FormatError) -> StoreError {
    StoreError::Unusable {
        what: "manifest",
        name: manifest.short(),
        problem,
    }
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "tmp"))
    })
}

fn check_version(root: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| {
        text.strip_prefix(VERSION_PREFIX)?
            .trim()
            .parse::<u32>()
            .ok()
    });
    match number {
        Some(found) if found > KNOWN => Err(StoreError::Newer {
            path: root.to_path_buf(),
            found,
        }),
        Some(_) => Ok(()),
        None => Err(StoreError::Foreign(root.to_path_buf())),
    }
}
