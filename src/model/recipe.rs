//! How an archive that is not stored is made again from what is.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// What a file is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The digest of the whole file.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// What stands in it, one behind the other.
    pub pieces: Vec<Piece>,
}

/// A piece of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// Small, and kept in the manifest itself.
    Inline(Vec<u8>),
    /// An object of the store, all of it.
    Object {
        /// Its name.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
    },
}

impl Piece {
    /// Returns its size.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Piece::Inline(bytes) => bytes.len() as u64,
            Piece::Object { size_bytes, .. } => *size_bytes,
        }
    }

    /// Returns the object that it is, if it is one.
    pub fn object(&self) -> Option<(Digest, u64)> {
        match self {
            Piece::Inline(_) => None,
            Piece::Object { digest, size_bytes } => Some((*digest, *size_bytes)),
        }
    }
}

impl Recipe {
    /// Returns the objects that it needs.
    pub fn objects(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.pieces.iter().filter_map(Piece::object)
    }

    /// Returns the pieces, each behind its offset in the file. They must add up.
    pub fn with_offsets(&self) -> impl Iterator<Item = (u64, &Piece)> {
        self.pieces.iter().scan(0, |end, piece| {
            let offset = *end;
            *end += piece.size_bytes();
            Some((offset, piece))
        })
    }

    /// Tells whether the pieces are as large as the file together, and none of them is empty.
    pub fn adds_up(&self) -> bool {
        let mut sizes = self.pieces.iter().map(Piece::size_bytes);
        let add = |sum: u64, size| sum.checked_add(size).filter(|_| size > 0);
        sizes.try_fold(0, add) == Some(self.size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Recipe};
    use crate::model::Digest;

    /// A recipe of empty pieces, or one whose sizes overflow, would keep a reader busy or let it believe in too little room.
    #[test]
    fn parts_add_up_to_the_file() {
        let object = |size_bytes| Piece::Object {
            digest: Digest::of(b"o"),
            size_bytes,
        };
        let inline = |text: &[u8]| Piece::Inline(text.to_vec());
        let cases = [
            (vec![inline(b"abc"), object(4)], 7, true),
            (vec![object(4), object(4)], 8, true),
            (vec![inline(b"abc"), object(4)], 8, false),
            (vec![inline(b"abc"), object(4)], 4, false),
            (vec![object(u64::MAX), object(1), object(7)], 7, false),
            (vec![object(7), inline(b"")], 7, false),
            (vec![object(0), object(7)], 7, false),
            (vec![], 7, false),
        ];
        for (pieces, size_bytes, expected) in cases {
            let recipe = Recipe {
                digest: Digest::of(b"whole"),
                size_bytes,
                pieces,
            };
            assert_eq!(recipe.adds_up(), expected, "{recipe:?}");
        }
    }
}
