//! rustc's hash of where a compile's outputs go: the value of its query `output_filenames`.
//!
//! Every codegen unit depends on it, and it holds `--out-dir` as rustc was told. That is the same everywhere for a target
//! directory inside the workspace, and never for one outside. Source: rustc: rustc_session/src/config.rs,
//! `OutputFilenames` @ 1.85 to 1.98. As with [`super::crate_source`], a form of it is believed where it reproduces a
//! hash that this rustc wrote.

use std::hash::{Hash, Hasher};
use std::path::Path;

use rustc_stable_hash::StableSipHasher128;

use super::crate_source::{Fingerprint, finish};
use crate::model::session::NamesFormula;

/// How many kinds of outputs rustc may know: 9 today.
const KINDS: u8 = 12;
/// More kinds than cargo asks for at once.
const MAX_TOLD: usize = 4;
/// How many optional fields stand before the kinds, none of which cargo fills.
const FIELDS: std::ops::RangeInclusive<u8> = 1..=5;

/// Returns every form that the hash may have where rustc was told to make `told` kinds of outputs: the numbers of the
/// kinds differ from version to version.
pub fn formulas(told: usize) -> impl Iterator<Item = NamesFormula> {
    let masks = (0..1_u16 << KINDS)
        .filter(move |mask| mask.count_ones() as usize == told && told <= MAX_TOLD);
    masks.flat_map(|mask| {
        let kinds: Vec<u8> = (0..KINDS).filter(|kind| mask & (1 << kind) != 0).collect();
        FIELDS.map(move |fields| NamesFormula {
            fields,
            kinds: kinds.clone(),
        })
    })
}

/// Returns the hash for outputs whose names begin with `stem`, in `dir` as rustc is told.
pub fn fingerprint(dir: &Path, stem: &str, formula: &NamesFormula) -> Fingerprint {
    let mut hasher = StableSipHasher128::new();
    dir.hash(&mut hasher);
    // Once for the crate's name, once for its file's: with cargo the same.
    for _ in 0..2 {
        hasher.write_usize(stem.len());
        hasher.write(stem.as_bytes());
    }
    for _ in 0..formula.fields {
        hasher.write_u8(0);
    }
    hasher.write_usize(formula.kinds.len());
    for kind in &formula.kinds {
        hasher.write_isize(isize::from(*kind));
        // No name of its own.
        hasher.write_u8(0);
    }
    finish(hasher)
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, formulas};
    use std::path::Path;

    /// Written by rustc 1.95 and 1.96 into the dep-graph of a library that was told to emit `dep-info,metadata,link`.
    #[test]
    fn reproduces_what_rustc_recorded() {
        let recorded = [
            0x88, 0x7e, 0xb7, 0x98, 0x4f, 0x35, 0x74, 0xa8, 0x85, 0xfa, 0x4e, 0xb3, 0xda, 0xed,
            0xc4, 0x7e,
        ];
        let found: Vec<_> = formulas(3)
            .filter(|form| fingerprint(Path::new("/tmp/of/A"), "foo-1", form) == recorded)
            .collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].fields, &*found[0].kinds), (3, &[2, 3, 5][..]));
    }
}
