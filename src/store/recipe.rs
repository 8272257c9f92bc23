//! Follows recipes: puts objects, and what lies between them, together again.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{ObjectError, Store};
use crate::disk::{self, CopyError, Finish, Staging, failed, hash};
use crate::model::{Digest, Piece, Recipe};

impl Store {
    /// Makes the file of `recipe` at `path`, verified on the way; `path` is untouched unless all is well.
    ///
    /// Each byte is digested once: where the whole is right, so is each piece. Where it is wrong, every piece is looked at, and
    /// what is damaged is removed.
    pub fn assemble(
        &self,
        recipe: &Recipe,
        staging: &Staging,
        path: &Path,
        finish: Finish,
    ) -> Result<(), ObjectError> {
        let mut reader = self.reader(recipe);
        let whole = (recipe.digest, recipe.size_bytes);
        let written = staging.write_from(&mut reader, whole, path, finish);
        reader.lost.map_or(Ok(()), Err)?;
        written.map_err(|error| match error {
            CopyError::Disk(error) => ObjectError::Disk(error),
            CopyError::Damaged(_) => ObjectError::Damaged(self.remove_damaged(recipe)),
        })
    }

    /// Tells whether `recipe` can be followed with what is here.
    pub fn makes(&self, recipe: &Recipe) -> bool {
        let mut hasher = blake3::Hasher::new();
        let read = hasher.update_reader(self.reader(recipe));
        read.is_ok_and(|hasher| Digest::from(hasher.finalize()) == recipe.digest)
    }

    /// Removes what of `recipe` is damaged, and returns the last such object, or its own digest if it is not their fault.
    fn remove_damaged(&self, recipe: &Recipe) -> Digest {
        let mut damaged = recipe.digest;
        for (digest, _) in recipe.objects() {
            let object = self.object(digest);
            if hash::file(&object).is_ok_and(|(seen, _)| seen != digest) {
                drop(disk::remove_file(&object));
                damaged = digest;
            }
        }
        damaged
    }

    fn reader<'a>(&'a self, recipe: &'a Recipe) -> Pieces<'a> {
        Pieces {
            store: self,
            rest: recipe.pieces.iter(),
            open: Box::new(io::empty()),
            object: recipe.digest,
            lost: None,
        }
    }
}

/// The pieces of a recipe, read as one.
struct Pieces<'a> {
    store: &'a Store,
    rest: std::slice::Iter<'a, Piece>,
    /// What of a piece is not read yet.
    open: Box<dyn Read + 'a>,
    /// The object that was opened last: nothing else can fail.
    object: Digest,
    /// Why an object could not be read, once reading failed.
    lost: Option<ObjectError>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.open.read(buffer) {
                Ok(0) if !buffer.is_empty() => {}
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(self.lose(error));
                }
                read => return read,
            }
            match self.rest.next() {
                None => return Ok(0),
                Some(Piece::Inline(bytes)) => self.open = Box::new(&bytes[..]),
                Some(Piece::Object { digest, size_bytes }) => {
                    self.object = *digest;
                    let file = File::open(self.store.object(*digest));
                    let file = file.map_err(|error| self.lose(error))?;
                    self.open = Box::new(file.take(*size_bytes));
                }
            }
        }
    }
}

impl Pieces<'_> {
    fn lose(&mut self, error: io::Error) -> io::Error {
        let (object, kind) = (self.object, error.kind());
        let error = failed("read", &self.store.object(object))(error);
        self.lost = Some(self.store.lost(object, error.into()));
        kind.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ObjectError, Store};
    use crate::disk::place::PLAIN;
    use crate::model::{Digest, Piece, Recipe};
    use std::fs;

    /// A damaged piece would end up in a program, or be blamed on another object and stay.
    #[test]
    fn a_part_is_whole_missing_or_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store")).unwrap();
        let staging = store.staging("test").unwrap();
        let (first, second) = (vec![1; 100_000], vec![2; 3_000_000]);
        let put = |bytes: &Vec<u8>| {
            let (digest, size_bytes) = (Digest::of(bytes), bytes.len() as u64);
            let object = (digest, size_bytes);
            store.put_from(&staging, &bytes[..], object).unwrap();
            Piece::Object { digest, size_bytes }
        };
        let all = [&first[..], b"between", &second, b"end"].concat();
        let recipe = Recipe {
            digest: Digest::of(&all),
            size_bytes: all.len() as u64,
            pieces: vec![
                put(&first),
                Piece::Inline(b"between".to_vec()),
                put(&second),
                Piece::Inline(b"end".to_vec()),
            ],
        };
        let path = dir.path().join("made");
        let make = |recipe: &Recipe| store.assemble(recipe, &staging, &path, PLAIN);
        make(&recipe).unwrap();
        assert!(fs::read(&path).unwrap() == all && store.makes(&recipe));

        // The recipe itself is wrong: no object pays for that, and what was placed stays.
        let mut wrong = recipe.clone();
        wrong.pieces[1] = Piece::Inline(b"BETWEEN".to_vec());
        let Err(ObjectError::Damaged(blamed)) = make(&wrong) else {
            panic!("it was followed");
        };
        assert_eq!(blamed, recipe.digest);
        assert!(store.has(Digest::of(&first), 100_000) && !store.makes(&wrong));

        let object = store.object(Digest::of(&second));
        for damage in [&second[1..], b"", &[&second[..], b"more"].concat()] {
            fs::remove_file(&object).unwrap();
            fs::write(&object, damage).unwrap();
            // What is longer is cut, and does no harm here.
            let longer = damage.len() > second.len();
            assert_eq!(make(&recipe).is_ok(), longer);
            assert_eq!(object.exists(), longer);
            put(&second);
        }
        fs::remove_file(&object).unwrap();
        let Err(ObjectError::Missing(missing)) = make(&recipe) else {
            panic!("it was followed");
        };
        assert_eq!(missing, Digest::of(&second));
        assert!(fs::read(&path).unwrap() == all && !store.makes(&recipe));
        fs::create_dir(&object).unwrap();
        assert!(matches!(make(&recipe), Err(ObjectError::Unreadable(_))));
    }
}
