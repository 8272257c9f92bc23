//! rustc's hash of where it found a crate: the value of its query `used_crate_source`.
//!
//! It holds absolute paths, and every codegen unit of a program with debug information depends on it; so a
//! session from another directory reuses none of them, unless this hash is the one of the new directory.
//! Source: rustc: rustc_session/src/cstore.rs, `CrateSource` @ 1.95 to 1.98. Which of its forms a rustc has is never
//! assumed: one is believed where it reproduces a hash that this rustc wrote.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use rustc_stable_hash::{FromStableHash, SipHasher128Hash, StableSipHasher128};

use crate::model::session::Formula;

/// The hash of a query's result, as rustc writes it into a dep-graph.
pub type Fingerprint = [u8; 16];

/// How many kinds of search paths rustc tells apart.
const PATH_KINDS: u8 = 6;

/// Returns every form that the hash has in the versions that we know.
pub fn formulas() -> impl Iterator<Item = Formula> {
    let kinds = std::iter::once(None).chain((0..PATH_KINDS).map(Some));
    kinds.flat_map(|path_kind| {
        [1, 0].map(|further_fields| Formula {
            further_fields,
            path_kind,
        })
    })
}

/// Returns the hash of a crate found in `files`: dynamic library, rlib, rmeta, each as its canonical path.
pub fn fingerprint(files: &[Option<PathBuf>; 3], formula: Formula) -> Fingerprint {
    let mut hasher = StableSipHasher128::new();
    for file in files {
        match file {
            None => hasher.write_u8(0),
            Some(path) => {
                hasher.write_u8(1);
                path.hash(&mut hasher);
                if let Some(kind) = formula.path_kind {
                    hasher.write_isize(isize::from(kind));
                }
            }
        }
    }
    for _ in 0..formula.further_fields {
        hasher.write_u8(0);
    }
    finish(hasher)
}

/// Returns what `hasher` made of everything that was written to it, in the order of a dep-graph's bytes.
pub(super) fn finish(hasher: StableSipHasher128) -> Fingerprint {
    hasher.finish::<Halves>().0
}

struct Halves(Fingerprint);

impl FromStableHash for Halves {
    type Hash = SipHasher128Hash;

    fn from(SipHasher128Hash([first, second]): SipHasher128Hash) -> Halves {
        let whole = u128::from(second) << 64 | u128::from(first);
        Halves(whole.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, formulas};
    use crate::model::session::Formula;
    use std::path::PathBuf;

    /// Written by rustc 1.95 into the dep-graph of a program; another hash would relocate nothing.
    #[test]
    fn reproduces_what_rustc_recorded() {
        let rlib = PathBuf::from("/tmp/w1/a/target/debug/deps/libitoa-6c1e270c698fa6a6.rlib");
        let formula = Formula {
            further_fields: 1,
            path_kind: None,
        };
        let recorded = [
            0x17, 0x67, 0x4b, 0x20, 0xe1, 0x51, 0x1c, 0x6b, 0x80, 0xda, 0x9f, 0xf1, 0x73, 0x9d,
            0x4a, 0x3d,
        ];
        assert_eq!(fingerprint(&[None, Some(rlib), None], formula), recorded);
        assert!(formulas().any(|known| known == formula));
    }

    /// Two forms with one hash cannot be told apart by it; then they must agree at every other place too.
    #[test]
    fn forms_that_agree_at_one_place_agree_everywhere() {
        let crates = [
            [false, true, false],
            [false, true, true],
            [true, true, true],
        ];
        for present in crates {
            let hashes = |dir: &str| -> Vec<_> {
                let path = |there: bool| there.then(|| PathBuf::from(dir).join("libx.rlib"));
                let files = present.map(path);
                formulas().map(|form| fingerprint(&files, form)).collect()
            };
            let (here, there) = (hashes("/t"), hashes("/home/other/deep"));
            for (at, other) in (0..here.len()).flat_map(|at| (0..at).map(move |other| (at, other)))
            {
                assert_eq!(here[at] == here[other], there[at] == there[other]);
            }
        }
    }
}
