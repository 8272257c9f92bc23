//! What in a session tells where its builder's crates and outputs lay, and the same for a reader's place.
//!
//! Rule: only rustc's hashes of where files lie are replaced, each by the hash of the same file at the reader's place.
//! What rustc then finds there it hashes itself, so a crate of another content, name or kind is seen. See note 0007.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexSet;
use rustc_hash::FxHashMap;

use crate::disk::hash::each_window;
use crate::disk::{self, DiskError, walk};
use crate::model::session::{Formula, NamesFormula, OutputNames, Site};
use crate::model::{Located, Root, Rooted, Roots, bytes_path};
use crate::rustc::crate_source::{self, Fingerprint};
use crate::rustc::nodes::Nodes;
use crate::rustc::output_names;

/// What rustc takes for a crate, in the order in which it hashes them.
const EXTENSIONS: [&str; 3] = ["so", "rlib", "rmeta"];
/// How many bytes of a hash may lie in the chunk before.
const OVERLAP: usize = 15;

/// Returns the directories that differ between machines, with all links resolved, as rustc sees them: this build directory and sysroot.
pub fn places(build: &Path, sysroot: &Path) -> Roots {
    let roots = Roots::default().with_alias(Root::Build, &disk::canonical(build));
    roots.with_alias(Root::Sysroot, &disk::canonical(sysroot))
}

/// Returns rustc's hash of a crate with `files` at `places`.
pub fn fingerprint(places: &Roots, files: &[Option<Rooted>; 3], formula: Formula) -> Fingerprint {
    let file = |at: usize| files[at].as_ref().map(|file| places.resolve(file));
    crate_source::fingerprint(&[0, 1, 2].map(file), formula)
}

impl OutputNames {
    /// Returns rustc's hash of these names.
    pub fn fingerprint(&self, formula: &NamesFormula) -> Fingerprint {
        output_names::fingerprint(bytes_path(&self.told), &self.stem, formula)
    }
}

/// Everything at one machine's places whose hash may stand in a session.
#[derive(Debug)]
pub struct Catalog {
    hashes: FxHashMap<Fingerprint, Located>,
}

impl Catalog {
    /// Returns the catalog of all crates in `profiles` of the build directory and in the sysroot.
    pub fn of<'a>(roots: &Roots, profiles: impl IntoIterator<Item = &'a str>) -> Catalog {
        let deps = |profile: &str| roots.dir(Root::Build).join(profile).join("deps");
        let deps = profiles.into_iter().map(deps);
        let targets = walk::directories(&roots.dir(Root::Sysroot).join("lib/rustlib")).into_iter();
        let libraries = targets.map(|target| target.join("lib"));
        let mut hashes = FxHashMap::default();
        for crates in deps.chain(libraries).map(|dir| crates_in(&dir)) {
            for paths in crates.into_values() {
                let files = paths.map(|path| path.map(|path| roots.locate(&path)));
                hashes.extend(sources(roots, &files));
            }
        }
        Catalog { hashes }
    }

    /// Returns where the dep-graph at `path`, of a unit with outputs of these `names`, holds hashes of this catalog or of
    /// the names, each with what it is the hash of, by position in the second list. Takes a tenth of the file's size of memory at most.
    pub fn sites(
        &self,
        path: &Path,
        names: Option<&OutputNames>,
    ) -> Result<(Vec<Site>, Vec<Located>), DiskError> {
        let own = names.map(outputs).unwrap_or_default();
        let find = |hash: &Fingerprint| own.get(hash).or_else(|| self.hashes.get(hash));
        let mut table: IndexSet<&Located> = IndexSet::new();
        let mut sites = Vec::new();
        for (at, located) in found(path, find)? {
            let located = table.insert_full(located).0;
            let located = u32::try_from(located).expect("fewer than 2^32 crates");
            let offset = at as u64;
            sites.push(Site { offset, located });
        }
        Ok((sites, table.into_iter().cloned().collect()))
    }
}

/// Returns where the dep-graph at `path` holds what `find` knows: of a known form as a key or a result, else wherever it stands.
fn found<'a>(
    path: &Path,
    find: impl Fn(&Fingerprint) -> Option<&'a Located>,
) -> Result<Vec<(usize, &'a Located)>, DiskError> {
    let mut found = Vec::new();
    let known = Nodes::read(path).and_then(|mut nodes| {
        nodes.each_hash(|at, hash| found.extend(find(hash).map(|one| (at, one))))
    });
    if known.is_none() {
        found.clear();
        each_window(path, OVERLAP, |window| {
            for (at, hash) in window.bytes.windows(size_of::<Fingerprint>()).enumerate() {
                let hash: &Fingerprint = hash.try_into().expect("it is as long");
                found.extend(find(hash).map(|one| (window.start + at, one)));
            }
        })?;
    }
    Ok(found)
}

/// Returns every form of the hash of `names`.
fn outputs(names: &OutputNames) -> FxHashMap<Fingerprint, Located> {
    let form = |formula| (names.fingerprint(&formula), Located::Outputs(formula));
    output_names::formulas(names.kinds).map(form).collect()
}

/// Returns the crates in `dir`, each with those of its files that are there, links resolved.
fn crates_in(dir: &Path) -> BTreeMap<String, [Option<PathBuf>; 3]> {
    let mut crates: BTreeMap<String, [Option<PathBuf>; 3]> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let Some((stem, extension)) = name.rsplit_once('.') else {
            continue;
        };
        if let Some(at) = EXTENSIONS.iter().position(|known| *known == extension) {
            let path = match entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                true => disk::canonical(&entry.path()),
                false => entry.path(),
            };
            crates.entry(stem.to_owned()).or_default()[at] = Some(path);
        }
    }
    crates
}

/// Returns all that rustc may have hashed for a crate with `files`, each behind its hash: any of them may not have been there yet, or
/// not have been asked for.
fn sources(places: &Roots, files: &[Option<Rooted>; 3]) -> Vec<(Fingerprint, Located)> {
    let has = |bits: u8, at: usize| bits >> at & 1 == 1;
    let present = |subset: &u8| (0..3).all(|at| !has(*subset, at) || files[at].is_some());
    let all = (1..8).filter(present).flat_map(|subset| {
        let files = [0, 1, 2].map(|at| files[at].clone().filter(|_| has(subset, at)));
        crate_source::formulas().map(move |formula| {
            let files = files.clone();
            let hash = fingerprint(places, &files, formula);
            (hash, Located::Crate { files, formula })
        })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::{Catalog, Formula, Located, Nodes, fingerprint, found, places};
    use crate::model::Roots;
    use crate::rustc::nodes;
    use std::path::Path;

    fn machine(dir: &Path) -> Roots {
        let deps = dir.join("t/debug/deps");
        let lib = dir.join("s/lib/rustlib/x/lib");
        for dir in [&deps, &lib] {
            std::fs::create_dir_all(dir).unwrap();
        }
        for file in ["liba-1.rlib", "liba-1.rmeta", "liba-1.d", "app"] {
            std::fs::write(deps.join(file), "").unwrap();
        }
        std::fs::write(lib.join("libstd-2.so"), "").unwrap();
        places(&dir.join("t"), &dir.join("s"))
    }

    /// The hash of a crate at the builder's place becomes that of the same crate at the reader's, and nothing else
    /// changes: a hash left alone costs the codegen units behind it, one too many might hide a change.
    #[test]
    fn a_hash_moves_with_its_crate() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (builder, reader) = (machine(there.path()), machine(here.path()));
        let catalog = Catalog::of(&builder, ["debug"]);
        let graph = there.path().join("dep-graph.bin");
        let elsewhere = Catalog::of(&reader, ["debug"]);
        assert!(catalog.hashes.len() > 10);
        for (hash, located) in &catalog.hashes {
            let mut bytes = vec![7; 100];
            bytes[37..53].copy_from_slice(hash);
            std::fs::write(&graph, &bytes).unwrap();
            let (sites, table) = catalog.sites(&graph, None).unwrap();
            assert_eq!((sites.len(), sites[0].offset), (1, 37));
            assert_eq!(&table[sites[0].located as usize], located);
            let Located::Crate { files, formula } = located else {
                panic!("{located:?} is no crate")
            };
            let hash = fingerprint(&reader, files, *formula);
            assert_eq!(elsewhere.hashes.get(&hash), Some(located));
            assert_eq!(elsewhere.sites(&graph, None).unwrap().0, []);
        }
    }

    /// A hash that is passed over stays the builder's, and the codegen units behind it are compiled again.
    #[test]
    fn every_hash_is_found_wherever_it_stands() {
        let one = Located::Crate {
            files: [None, None, None],
            formula: Formula {
                further_fields: 1,
                path_kind: None,
            },
        };
        let find = |hash: &[u8; 16]| (1..=5).any(|n| *hash == [n; 16]).then_some(&one);
        let (dir, mut bytes) = (tempfile::tempdir().unwrap(), vec![9; 40]);
        bytes[..16].fill(1);
        bytes[24..].fill(5);
        let graph = dir.path().join("graph");
        for (size, places) in [(40, &[0, 24][..]), (39, &[0]), (15, &[])] {
            std::fs::write(&graph, &bytes[..size]).unwrap();
            let found = found(&graph, find).unwrap();
            assert!(found.iter().map(|(at, _)| at).eq(places), "{size}");
        }
    }

    /// In a graph of a known form only what may be a hash is looked at; one that was passed over would cost what it guards.
    #[test]
    fn keys_and_results_of_nodes_are_found() {
        let there = tempfile::tempdir().unwrap();
        let catalog = Catalog::of(&machine(there.path()), ["debug"]);
        let graph = there.path().join("dep-graph.bin");
        let (other, mut all) = ([7; 16], b"RSIC\0\0\x061.95.0argshash".to_vec());
        let mut offsets = Vec::new();
        for (at, hash) in (0..).zip(catalog.hashes.keys()) {
            let begins = all.len() as u64;
            let (key, value) = match at % 3 {
                0 => (hash, hash),
                1 => (hash, &other),
                _ => (&other, hash),
            };
            nodes::write(
                &mut all,
                9,
                at,
                (at as u16, key, value),
                &vec![at; at as usize],
            );
            offsets.extend((at % 3 < 2).then_some(begins + 6));
            offsets.extend((at % 3 != 1).then_some(begins + 22));
        }
        let count = catalog.hashes.len() as u64;
        all.extend(count.to_le_bytes());
        all.extend((count * (count - 1) / 2).to_le_bytes());
        all.extend(b"rust-end-file");
        for whole in [true, false] {
            // One that is cut is of no known form.
            std::fs::write(&graph, &all[..all.len() - usize::from(!whole)]).unwrap();
            assert_eq!(Nodes::read(&graph).is_some(), whole);
            let (sites, _) = catalog.sites(&graph, None).unwrap();
            assert!(sites.iter().map(|site| site.offset).eq(offsets.clone()));
        }
    }
}
