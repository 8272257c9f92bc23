//! A directory of objects, manifests and points, shared by any number of processes without locks, but for who fetches what.
//!
//! The only code that writes below a store's root. Every file is written once, under its digest, except
//! points, which a later publish of the same commit replaces. Layout: `docs/format.md`.

pub mod collect;
pub mod format;
pub mod head;
pub mod pack;
pub mod point;
pub mod recipe;
mod rest;

use std::path::{Path, PathBuf};

use crate::disk::place::{self, MODE_STORED};
use crate::disk::{self, CopyError, DiskError, Finish, PLAIN, Staging, walk};
use crate::model::{Digest, Manifest};
use format::FormatError;
pub use point::Point;

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
    /// A later version made it: the store, and its format.
    #[error("the store at {} is of format {}, and this version knows only format {KNOWN}", .0.display(), .1)]
    Newer(PathBuf, u32),
    /// A `manifest` or `point` cannot be used: which of both, its name, and what is wrong.
    #[error("{0} {1} in the store {2}")]
    Unusable(&'static str, String, #[source] FormatError),
    /// An operation failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
}

/// What a store is asked, or why it could not serve.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

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
/// What the files of a store in the making are called.
const CREATE: &str = "create";
/// How a stored file looks.
const STORED: Finish = Finish::with_mode(MODE_STORED);

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
    pub fn open(root: &Path) -> Result<Store> {
        let path = root.to_path_buf();
        match disk::read(&root.join(VERSION_FILE), 256) {
            Ok(bytes) => check_version(root, &bytes)?,
            Err(error) if !error.is_missing() => return Err(error.into()),
            Err(_) if !root.exists() || is_empty(root) => return Err(StoreError::Missing(path)),
            Err(_) => return Err(StoreError::Foreign(path)),
        }
        Ok(Store { root: path })
    }

    /// Opens the store at `root` for writing; makes it where there is nothing, or an empty directory.
    pub fn create(root: &Path) -> Result<Store> {
        match Store::open(root) {
            Err(StoreError::Missing(_)) => {}
            opened => return opened,
        }
        disk::make_dir(root)?;
        let root = root.to_path_buf();
        let store = Store { root };
        let (path, staging) = (store.root.join(VERSION_FILE), store.staging(CREATE)?);
        let version = format!("{VERSION_PREFIX}{KNOWN}\n");
        staging.write(&path, version.as_bytes(), PLAIN)?;
        Ok(store)
    }

    /// Returns the store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a place for unfinished files of this store.
    pub fn staging(&self, name: &str) -> Result<Staging> {
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
        staging.copy(file, digest, &self.place(digest)?, STORED)
    }

    /// Stores what `content` holds as `object`, if that is what it is.
    pub fn put_from(
        &self,
        staging: &Staging,
        content: impl std::io::Read,
        object: (Digest, u64),
    ) -> Result<(), CopyError> {
        staging.write_from(content, object, &self.place(object.0)?, STORED)
    }

    /// Returns where the object `digest` goes, in a directory that is there then.
    fn place(&self, digest: Digest) -> Result<PathBuf, DiskError> {
        let object = self.object(digest);
        object.parent().map_or(Ok(()), disk::make_dir)?;
        Ok(object)
    }

    /// Copies the object `digest` to `path`, verified on the way; `path` is untouched unless all is well.
    pub fn get(
        &self,
        digest: Digest,
        staging: &Staging,
        path: &Path,
        finish: Finish,
    ) -> Result<(), ObjectError> {
        let copied = staging.copy(&self.object(digest), digest, path, finish);
        copied.map_err(|error| self.lost(digest, error))
    }

    /// Returns how the object `digest` was not had, by the `error` of copying it; it is removed if it is damaged.
    pub fn lost(&self, digest: Digest, error: CopyError) -> ObjectError {
        let object = self.object(digest);
        match error {
            CopyError::Damaged(_) => {
                drop(disk::remove_file(&object));
                ObjectError::Damaged(digest)
            }
            CopyError::Disk(error) if error.path != object => ObjectError::Disk(error),
            CopyError::Disk(error) if error.is_missing() => ObjectError::Missing(digest),
            CopyError::Disk(error) => ObjectError::Unreadable(error),
        }
    }

    /// Stores `manifest`, and returns its name.
    pub fn put_manifest(&self, staging: &Staging, manifest: &Manifest) -> Result<Digest> {
        self.put_manifest_bytes(staging, &format::encode(manifest))
    }

    /// Stores a manifest's bytes, and returns its name.
    pub fn put_manifest_bytes(&self, staging: &Staging, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        write(staging, &self.manifest_path(digest), bytes, STORED)?;
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
    pub fn put_sequence(&self, name: &str, sequence: u64) -> Result<()> {
        let newest = self.sequence(name).unwrap_or(0).max(sequence);
        let (staging, text) = (self.staging("seen")?, newest.to_string());
        write(&staging, &self.sequence_path(name), text.as_bytes(), PLAIN)
    }

    /// Keeps that the manifest `name` came from a tier, with its signatures; to be called before it is stored.
    pub fn put_adopted(
        &self,
        staging: &Staging,
        name: Digest,
        signatures: &[String],
    ) -> Result<()> {
        let list = serde_json::to_vec(signatures).expect("texts are plain values");
        write(staging, &self.file("adopted", name), &list, PLAIN)
    }

    /// Returns the signatures of the manifest `digest` if it came from a tier; it is believed by them alone.
    pub fn adopted(&self, digest: Digest) -> Option<Vec<String>> {
        match disk::read(&self.file("adopted", digest), MAX_POINT_BYTES) {
            Err(error) if error.is_missing() => None,
            read => Some(serde_json::from_slice(&read.unwrap_or_default()).unwrap_or_default()),
        }
    }

    /// Keeps what rustc told cargo of itself, under `name`.
    pub fn put_answers(&self, name: Digest, bytes: &[u8]) -> Result<()> {
        write(
            &self.staging("answers")?,
            &self.file("answers", name),
            bytes,
            PLAIN,
        )
    }

    /// Returns it, if it is kept.
    pub fn answers(&self, name: Digest) -> Option<Vec<u8>> {
        disk::read(&self.file("answers", name), MAX_POINT_BYTES).ok()
    }

    /// Returns the bytes of the manifest `digest`, checked against its name.
    pub fn manifest_bytes(&self, digest: Digest) -> Result<Vec<u8>> {
        let unusable = |problem| Err(StoreError::Unusable("manifest", digest.short(), problem));
        match disk::read(&self.manifest_path(digest), MAX_MANIFEST_BYTES) {
            Err(error) if error.is_missing() => unusable(FormatError::Missing),
            Ok(bytes) if Digest::of(&bytes) != digest => unusable(FormatError::Damaged),
            other => Ok(other?),
        }
    }

    /// Keeps where a tier has the objects of the manifest `digest`: the packed index of its bundle.
    pub fn put_index(&self, staging: &Staging, digest: Digest, packed: &[u8]) -> Result<()> {
        write(staging, &self.file("indexes", digest), packed, STORED)
    }

    /// Notes that objects are not where the index of the manifest `digest` says, or takes that back when another is kept.
    pub fn doubt_index(&self, digest: Digest, is_doubted: bool) {
        let mark = self.file("doubted", digest);
        drop(match is_doubted {
            true => place::write_by(&mark.with_extension("new"), &mark, b""),
            false => disk::remove_file(&mark),
        });
    }

    /// Tells whether that was noted.
    pub fn doubts_index(&self, digest: Digest) -> bool {
        self.file("doubted", digest).exists()
    }

    /// Returns where a tier has the objects of `manifest`, called `digest`; none if that is not known here.
    pub fn index(&self, digest: Digest, manifest: &Manifest) -> Option<pack::Index> {
        let packed = disk::read(&self.file("indexes", digest), MAX_MANIFEST_BYTES).ok()?;
        pack::decode_index(&packed, manifest).ok()
    }

    /// Returns the manifest `digest`; its content has been checked against its name and its own rules.
    pub fn manifest(&self, digest: Digest) -> Result<Manifest> {
        let bytes = self.manifest_bytes(digest)?;
        let unusable = |problem| StoreError::Unusable("manifest", digest.short(), problem);
        format::decode(&bytes).map_err(unusable)
    }

    /// Makes `point` the starting point of its commit for its toolchain and commands.
    pub fn put_point(&self, staging: &Staging, point: &Point) -> Result<()> {
        write(staging, &self.point_path(point), &point.encode(), PLAIN)
    }

    /// Returns the points of `commit`, newest first, and what was wrong with those that cannot be read.
    pub fn points(&self, commit: &str) -> (Vec<Point>, Vec<StoreError>) {
        let dir = self.point_dir(commit);
        let mut points = Vec::new();
        let mut problems = Vec::new();
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let unusable = |problem| StoreError::Unusable("point", name, problem);
            let read = disk::read(&entry.path(), MAX_POINT_BYTES).map_err(StoreError::from);
            match read.and_then(|bytes| Point::decode(&bytes).map_err(unusable)) {
                Ok(point) => points.push(point),
                Err(problem) => problems.push(problem),
            }
        }
        points.sort_by_key(|point| std::cmp::Reverse((point.published_unix_s, point.manifest)));
        (points, problems)
    }

    /// Returns every point of the store, newest first; unreadable ones are passed over.
    pub fn all_points(&self) -> Vec<Point> {
        let prefixes = walk::directories(&self.root.join("points")).into_iter();
        let commits = prefixes.flat_map(|prefix| walk::subdirectories(&prefix));
        let mut points: Vec<Point> = commits.flat_map(|commit| self.points(&commit).0).collect();
        points.sort_by_key(|point| std::cmp::Reverse((point.published_unix_s, point.manifest)));
        points
    }

    fn file(&self, dir: &str, digest: Digest) -> PathBuf {
        self.root.join(dir).join(digest.hex())
    }

    fn sequence_path(&self, name: &str) -> PathBuf {
        self.file("seen", Digest::of(name.as_bytes()))
    }

    fn manifest_path(&self, digest: Digest) -> PathBuf {
        self.file("manifests", digest)
    }

    fn point_path(&self, point: &Point) -> PathBuf {
        self.point_dir(&point.commit).join(point.file_name())
    }

    fn point_dir(&self, commit: &str) -> PathBuf {
        let prefix = commit.get(..2).unwrap_or("__");
        self.root.join("points").join(prefix).join(commit)
    }
}

/// Writes the file at `path`, and makes its directory if need be.
fn write(staging: &Staging, path: &Path, bytes: &[u8], finish: Finish) -> Result<()> {
    path.parent().map_or(Ok(()), disk::make_dir)?;
    Ok(staging.write(path, bytes, finish)?)
}

/// Tells whether `dir` has nothing but what an interrupted [`Store::create`] leaves.
fn is_empty(dir: &Path) -> bool {
    let all = |dir: &Path, fits: fn(&str) -> bool| {
        let fits = |entry: std::fs::DirEntry| entry.file_name().to_str().is_some_and(fits);
        std::fs::read_dir(dir).is_ok_and(|mut all| all.all(|one| one.is_ok_and(fits)))
    };
    let tmp = dir.join("tmp");
    all(dir, |name| name == "tmp") && (!tmp.exists() || all(&tmp, |name| name.starts_with(CREATE)))
}

fn check_version(root: &Path, bytes: &[u8]) -> Result<()> {
    let number = bytes.strip_prefix(VERSION_PREFIX.as_bytes());
    let number = number.and_then(|number| std::str::from_utf8(number).ok());
    match number.and_then(|number| number.trim().parse().ok()) {
        Some(found) if found > KNOWN => Err(StoreError::Newer(root.to_path_buf(), found)),
        Some(_) => Ok(()),
        None => Err(StoreError::Foreign(root.to_path_buf())),
    }
}
