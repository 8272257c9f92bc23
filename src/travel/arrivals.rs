//! Outputs that come from a tier for one start are written once, beside their places, and not into the store first.
//!
//! To write a page takes as long as to fetch and decode what it holds. The store gets them later, of the target directory.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::disk::lock::{self, Lock};
use crate::disk::{self, CopyError, DiskError, Finish, PLAIN, Staging, hash, place, walk};
use crate::model::{Content, Digest, Manifest, OutputFile, Piece, Recipe, bytes_path};
use crate::store::{ObjectError, Store};

/// What directories of arrivals are called, before what makes each another.
const NAME: &str = "arrivals";
/// The file in such a directory that is locked as long as it is somebody's.
const LOCK: &str = "lock";
/// Why what others hold can be had.
const HELD: &str = "nobody panics with it";

/// Files that come, each beside the place that it will have.
#[derive(Debug)]
pub struct Arrivals {
    staging: Staging,
    /// Held as long as somebody needs what is in there.
    _lock: Lock,
    /// The files that are made of what comes, by their paths in the build directory.
    files: HashMap<Vec<u8>, PathBuf>,
    /// In which of them an object goes, and where.
    places: HashMap<Digest, (PathBuf, u64)>,
    /// What came, with its sizes.
    came: Mutex<HashMap<Digest, u64>>,
}

impl Arrivals {
    /// Returns those of `files` of which `store` lacks an object, to be made in a directory below `parent`. An object that goes
    /// elsewhere too, because it has two places or is one of `others`, is left to the store. What came for a start that was interrupted
    /// has come already, if it is wanted still; the rest of that is removed.
    pub fn of(
        files: &[&OutputFile],
        others: &HashSet<Digest>,
        store: &Store,
        parent: &Path,
    ) -> Result<Arrivals, DiskError> {
        let mut left = walk::directories(parent);
        left.retain(|dir| is_left(dir));
        let staging = Staging::new(parent, NAME)?;
        let lock = lock::exclusive(&staging.dir.path().join(LOCK), || {})?;
        let (mut asides, mut places, mut twice) = (HashMap::new(), HashMap::new(), HashSet::new());
        let mut came = HashMap::new();
        let mut paths: HashMap<&[u8], usize> = HashMap::new();
        for file in files {
            *paths.entry(&file.path).or_default() += 1;
        }
        for file in files.iter().filter(|file| paths[&file.path[..]] == 1) {
            let name = aside_name(file);
            let aside = staging.dir.path().join(&name);
            let take = |dir: &PathBuf| {
                let (left, size_bytes) = (dir.join(&name), file.content.size_bytes());
                // No link that somebody has put there, and no end that nothing would be written over.
                let fits = |meta: Metadata| meta.is_file() && meta.len() <= size_bytes;
                std::fs::symlink_metadata(&left).is_ok_and(fits)
                    && staging.settle_as(&left, &aside, PLAIN).is_ok()
            };
            let is_begun = left.iter().any(take);
            for (offset, (object, size_bytes)) in with_offsets(&file.content) {
                if others.contains(&object) || store.has(object, size_bytes) {
                    continue;
                }
                if places.insert(object, (aside.clone(), offset)).is_some() {
                    twice.insert(object);
                }
                asides.insert(file.path.clone(), aside.clone());
                let there = || hash::part(&aside, offset, size_bytes);
                let is_whole = is_begun && there().is_ok_and(|there| there == object);
                came.extend(is_whole.then_some((object, size_bytes)));
            }
        }
        left.iter().try_for_each(|dir| disk::remove_dir(dir))?;
        places.retain(|object, _| !twice.contains(object));
        came.retain(|object, _| !twice.contains(object));
        Ok(Arrivals {
            staging,
            _lock: lock,
            files: asides,
            places,
            came: Mutex::new(came),
        })
    }

    /// Returns the directory in which files are made.
    pub fn dir(&self) -> &Path {
        self.staging.dir.path()
    }

    /// Tells whether `object` does not go into the store.
    pub fn takes(&self, object: Digest) -> bool {
        self.places.contains_key(&object)
    }

    /// Tells whether `object` came.
    pub fn has(&self, object: Digest) -> bool {
        self.came.lock().expect(HELD).contains_key(&object)
    }

    /// Returns how many bytes came: as many as need no more room.
    pub fn size_bytes(&self) -> u64 {
        self.came.lock().expect(HELD).values().sum()
    }

    /// Writes `object`, which `content` holds if all is well, where it will be; returns nothing, and reads nothing, if it is the
    /// store's. What came whole is not written again, whoever sends it.
    pub(super) fn put(
        &self,
        content: impl Read,
        object: (Digest, u64),
    ) -> Option<Result<(), CopyError>> {
        let (aside, offset) = self.places.get(&object.0)?;
        if self.has(object.0) {
            return Some(Ok(()));
        }
        let written = place::write_part(aside, *offset, content, object);
        let came = |()| {
            self.came.lock().expect(HELD).insert(object.0, object.1);
        };
        Some(written.map(came))
    }

    /// Puts `file` at `path` if it is made of what came, else returns nothing. What did not come of it is taken from `store`.
    pub fn place(
        &self,
        file: &OutputFile,
        store: &Store,
        path: &Path,
        finish: Finish,
    ) -> Option<Result<(), ObjectError>> {
        let aside = self.files.get(&file.path)?;
        let complete = match &file.content {
            Content::Object { digest, .. } if !self.has(*digest) => return None,
            Content::Recipe(recipe) => self.complete(recipe, aside, store),
            _ => Ok(()),
        };
        let placed = complete.and_then(|()| {
            let settled = self.staging.settle_as(aside, path, finish);
            settled.map_err(ObjectError::Disk)
        });
        Some(placed)
    }

    /// Writes into `aside` what of `recipe` did not come. Each piece has been checked, and whoever signed the recipe followed it once.
    fn complete(&self, recipe: &Recipe, aside: &Path, store: &Store) -> Result<(), ObjectError> {
        for (offset, piece) in recipe.with_offsets() {
            let (object, written) = match piece {
                Piece::Inline(bytes) => {
                    let object = Digest::of(bytes);
                    let whole = (object, piece.size_bytes());
                    (object, place::write_part(aside, offset, &bytes[..], whole))
                }
                Piece::Object { digest, .. } if self.is_in(*digest, aside) => continue,
                Piece::Object { digest, size_bytes } => {
                    let whole = (*digest, *size_bytes);
                    let opened = disk::open_at(&store.object(*digest), 0);
                    let opened = opened.map_err(CopyError::Disk);
                    let write = |file| place::write_part(aside, offset, file, whole);
                    (*digest, opened.and_then(write))
                }
            };
            written.map_err(|error| store.lost(object, error))?;
        }
        Ok(())
    }

    fn is_in(&self, object: Digest, aside: &Path) -> bool {
        let place = self.places.get(&object);
        place.is_some_and(|(file, _)| file == aside) && self.has(object)
    }
}

/// Returns what `file` is called as long as it comes: what an interrupted start left is found again by it, and has the same size. What
/// it holds is looked at.
fn aside_name(file: &OutputFile) -> String {
    let size_bytes = file.content.size_bytes().to_le_bytes();
    Digest::of(&[&file.path[..], &size_bytes].concat()).hex()
}

/// Tells whether `dir` is such a directory, and nobody's any more.
fn is_left(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().as_encoded_bytes();
    let lock = dir.join(LOCK);
    // Without one it is being made.
    name.starts_with(NAME.as_bytes()) && lock.exists() && !lock::is_held(&lock)
}

/// Stores what `store` lacks of the outputs of `manifest` and `build` still holds: of archives, or of all. What changed since is passed
/// over, and all that is left where the process has something better to do, which `busy` says between files.
pub fn gather(
    manifest: &Manifest,
    build: &Path,
    archives: bool,
    (store, staging): (&Store, &Staging),
    busy: impl Fn() -> bool,
) {
    let files = manifest.units.iter().flat_map(|unit| &unit.files);
    let is_archive = |content: &Content| matches!(content, Content::Recipe(_));
    for file in files.filter(|file| !archives || is_archive(&file.content)) {
        if busy() {
            return;
        }
        let path = build.join(bytes_path(&file.path));
        let meta = std::fs::symlink_metadata(&path);
        let is_whole =
            |meta: std::fs::Metadata| meta.is_file() && meta.len() == file.content.size_bytes();
        if !meta.is_ok_and(is_whole) {
            continue;
        }
        for (offset, object) in with_offsets(&file.content) {
            if store.has(object.0, object.1) {
                continue;
            }
            if let Ok(content) = disk::open_at(&path, offset) {
                drop(store.put_from(staging, content.take(object.1), object));
            }
        }
    }
}

/// Returns the objects of a file, each behind its offset.
fn with_offsets(content: &Content) -> Vec<(u64, (Digest, u64))> {
    let Content::Recipe(recipe) = content else {
        return content.objects().map(|object| (0, object)).collect();
    };
    let objects = recipe.with_offsets();
    let objects = objects.filter_map(|(offset, piece)| Some((offset, piece.object()?)));
    objects.collect()
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, LOCK};
    use crate::disk::PLAIN;
    use crate::model::{Content, Digest, OutputFile, Piece, Recipe};
    use crate::store::{ObjectError, Store};
    use std::collections::HashSet;
    use std::path::Path;

    const WHOLE: &[u8] = b"<first|second|third>";

    fn object(bytes: &[u8]) -> (Digest, u64) {
        (Digest::of(bytes), bytes.len() as u64)
    }

    fn piece(bytes: &[u8]) -> Piece {
        let (digest, size_bytes) = object(bytes);
        Piece::Object { digest, size_bytes }
    }

    /// Returns an archive of three objects, the last of which may be the first again.
    fn archive(last: &[u8]) -> OutputFile {
        let inline = |bytes: &[u8]| Piece::Inline(bytes.to_vec());
        let pieces = [
            inline(b"<"),
            piece(b"first"),
            inline(b"|"),
            piece(b"second"),
            inline(b"|"),
            piece(last),
            inline(b">"),
        ];
        file(Content::Recipe(Recipe {
            digest: Digest::of(WHOLE),
            size_bytes: WHOLE.len() as u64,
            pieces: pieces.to_vec(),
        }))
    }

    fn file(content: Content) -> OutputFile {
        OutputFile {
            path: b"debug/deps/libx.rlib".to_vec(),
            artifact: true,
            rewrite: false,
            executable: false,
            content,
        }
    }

    /// Has `came` come for `file`, while `store` has what `there` is; returns what is placed, and whether each was for it.
    fn placed(file: &OutputFile, there: &[&[u8]], came: &[&[u8]]) -> (Option<Vec<u8>>, Vec<bool>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let own = store.staging("test").unwrap();
        for bytes in there {
            store.put_from(&own, *bytes, object(bytes)).unwrap();
        }
        let arrivals = Arrivals::of(&[file], &HashSet::new(), &store, dir.path()).unwrap();
        let put = |bytes: &&[u8]| arrivals.put(*bytes, object(bytes));
        let taken = came
            .iter()
            .map(|bytes| put(bytes).map(Result::unwrap).is_some());
        let taken = taken.collect();
        let path = dir.path().join("placed");
        let placed = match arrivals.place(file, &store, &path, PLAIN) {
            Some(Err(ObjectError::Missing(_))) | None => None,
            Some(done) => Some(done.map(|()| std::fs::read(&path).unwrap()).unwrap()),
        };
        assert_eq!(placed.is_some(), Path::exists(&path));
        (placed, taken)
    }

    /// An archive would be put together wrong, or a unit be placed of which a part never came.
    #[test]
    fn an_archive_is_made_of_what_came_and_of_the_store() {
        let whole = Some(WHOLE.to_vec());
        let three = archive(b"third");
        let all: &[&[u8]] = &[b"third", b"first", b"second"];
        assert_eq!(placed(&three, &[], all), (whole.clone(), vec![true; 3]));
        assert_eq!(placed(&three, &all[1..], &all[..1]), (whole, vec![true]));
        assert_eq!(placed(&three, &[], &all[..2]), (None, vec![true; 2]));
        assert_eq!(placed(&three, &all[1..], &[]), (None, vec![]));
        // All of it is here: nobody fetches for it.
        assert_eq!(placed(&three, all, all), (None, vec![false; 3]));
    }

    /// What has two places would be in one of them only.
    #[test]
    fn what_is_wanted_twice_is_the_stores() {
        let twice = archive(b"first");
        let came: &[&[u8]] = &[b"first", b"second"];
        assert_eq!(placed(&twice, &[], came), (None, vec![false, true]));
    }

    /// A damaged or longer answer would be a wrong output, or run into what stands behind it.
    #[test]
    fn what_is_damaged_did_not_come() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let three = archive(b"third");
        let arrivals = Arrivals::of(&[&three], &HashSet::new(), &store, dir.path()).unwrap();
        let put = |bytes: &[u8], name: &[u8]| arrivals.put(bytes, object(name)).unwrap();
        put(b"second", b"second").unwrap();
        for damaged in [&b"fir"[..], b"f1rst", b"first|damaged", b""] {
            assert!(put(damaged, b"first").is_err());
            assert!(!arrivals.has(Digest::of(b"first")));
        }
        put(b"first", b"first").unwrap();
        put(b"third", b"third").unwrap();
        // A second tier is asked where the first had something else damaged.
        put(b"wrong", b"first").unwrap();
        let path = dir.path().join("placed");
        arrivals
            .place(&three, &store, &path, PLAIN)
            .unwrap()
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), WHOLE);
    }

    /// A single object would be placed before it came.
    #[test]
    fn a_file_that_is_one_object_comes_whole_or_not() {
        let (digest, size_bytes) = object(WHOLE);
        let one = file(Content::Object { digest, size_bytes });
        assert_eq!(
            placed(&one, &[], &[WHOLE]),
            (Some(WHOLE.to_vec()), vec![true])
        );
        assert_eq!(placed(&one, &[], &[]), (None, vec![]));
    }

    /// Of two files with one path, one would be placed with what came for the other.
    #[test]
    fn what_has_one_path_with_another_is_the_stores() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let of = |bytes| {
            let (digest, size_bytes) = object(bytes);
            file(Content::Object { digest, size_bytes })
        };
        let (one, other) = (of(b"first"), of(b"second"));
        let arrivals = Arrivals::of(&[&one, &other], &HashSet::new(), &store, dir.path()).unwrap();
        assert!(!arrivals.takes(Digest::of(b"first")) && !arrivals.takes(Digest::of(b"second")));
        assert!(
            arrivals
                .place(&one, &store, &dir.path().join("placed"), PLAIN)
                .is_none()
        );
    }

    /// What came for a start that was interrupted, in minutes over a slow line, would be fetched again; or a part of it that was not
    /// complete, or of what is wanted no more, be placed.
    #[test]
    fn what_came_before_an_interruption_has_come() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let of =
            |file: &OutputFile| Arrivals::of(&[file], &HashSet::new(), &store, dir.path()).unwrap();
        let (three, twice) = (archive(b"third"), archive(b"first"));
        let left = dir.path().join("arrivals-left");
        let interrupt = |file: &OutputFile| {
            let begun = of(file);
            begun.put(&b"third"[..], object(b"third")).unwrap().unwrap();
            assert!(begun.put(&b"sec"[..], object(b"second")).unwrap().is_err());
            std::fs::create_dir(&left).unwrap();
            for entry in std::fs::read_dir(begun.dir()).unwrap() {
                let entry = entry.unwrap();
                let bytes = std::fs::read(entry.path()).unwrap();
                std::fs::write(left.join(entry.file_name()), bytes).unwrap();
            }
        };
        interrupt(&three);
        let others = of(&file(Content::Object {
            digest: Digest::of(b"third"),
            size_bytes: 5,
        }));
        assert!(!left.exists() && !others.has(Digest::of(b"third")));
        interrupt(&three);
        assert!(!of(&twice).has(Digest::of(b"first")));
        interrupt(&three);
        let again = of(&three);
        let has = |bytes| again.has(Digest::of(bytes));
        assert!(has(b"third") && !has(b"second") && !has(b"first"));
        assert_eq!(again.size_bytes(), 5);
        for bytes in [&b"first"[..], b"second"] {
            again.put(bytes, object(bytes)).unwrap().unwrap();
        }
        let path = dir.path().join("placed");
        let placed = again.place(&three, &store, &path, PLAIN);
        placed.unwrap().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), WHOLE);
    }

    /// A repository that has such a directory checked in would have files of the user's written over, or bytes placed that nobody checked.
    #[test]
    fn what_nobody_left_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let (digest, size_bytes) = object(WHOLE);
        let one = file(Content::Object { digest, size_bytes });
        let (left, victim) = (dir.path().join("arrivals-x"), dir.path().join("victim"));
        let longer = [WHOLE, b"more"].concat();
        for planted in [None, Some(&longer[..])] {
            std::fs::create_dir(&left).unwrap();
            std::fs::write(&victim, b"mine").unwrap();
            std::fs::write(left.join(LOCK), "").unwrap();
            let aside = left.join(super::aside_name(&one));
            match planted {
                None => std::os::unix::fs::symlink(&victim, aside).unwrap(),
                Some(bytes) => std::fs::write(aside, bytes).unwrap(),
            }
            let arrivals = Arrivals::of(&[&one], &HashSet::new(), &store, dir.path()).unwrap();
            arrivals.put(WHOLE, (digest, size_bytes)).unwrap().unwrap();
            let path = dir.path().join("placed");
            arrivals.place(&one, &store, &path, PLAIN).unwrap().unwrap();
            assert!(!path.is_symlink());
            assert_eq!(std::fs::read(&path).unwrap(), WHOLE);
            assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
        }
    }

    /// Gigabytes of each start that was interrupted would stay for a day; or those of one that goes on would go.
    #[test]
    fn what_was_interrupted_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let left = dir.path().join("arrivals-left");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        let begun = dir.path().join("arrivals-begun");
        std::fs::create_dir(&begun).unwrap();
        let arrivals = || Arrivals::of(&[], &HashSet::new(), &store, dir.path()).unwrap();
        let (first, second) = (arrivals(), arrivals());
        assert!(!left.exists() && first.dir().exists() && second.dir().exists());
        // What is being made has its lock a moment later.
        assert!(begun.exists());
    }
}
