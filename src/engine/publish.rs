//! From a finished build to a stored starting point.
//!
//! Knows no git and no cargo command: it is given the commit, and cargo's report of the live units.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use crate::cargo::layout::{self, Outputs};
use crate::cargo::{package, script_output};
use crate::disk::{self, CopyError, Staging, walk};
use crate::engine::assembly::Assembly;
use crate::engine::beside::{self, Beside};
use crate::engine::build::{Candidate, LeftOut, build_paths, profiles, watched_paths};
use crate::engine::record::{Placed, Recorded, Recorder};
use crate::engine::relocate::{self, Catalog};
use crate::engine::{Build, Inspector, Ledger, disclosure, hold, inputs, live, pin, scan};
use crate::git;
use crate::model::{
    Content, Digest, Expected, Finder, Input, Located, Manifest, OutputFile, Pin, Root, Rooted,
    Roots, Source, UnitName, bytes_path,
};
use crate::store::{Point, Store, StoreError, format};

/// By how much what a start places may be older than a directory that it made.
const START: Duration = Duration::from_millis(100);

/// Why nothing is published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What would be published holds the value of a secret: the variable, and where it stands.
    #[error("{1} holds the value of the secret {0}")]
    Secret(String, String),
}

/// What publishing did.
#[derive(Debug)]
pub struct Published {
    /// The pointer to the manifest.
    pub point: Point,
    /// Units that are no part of it, each with its reason.
    pub left_out: Vec<(String, String)>,
    /// Objects that the store did not have.
    pub new_objects: usize,
    /// Their size.
    pub new_bytes: u64,
}

/// Stores the starting point of `build`. A unit that cannot be vouched for is left out, not an error.
pub fn publish(build: &Build<'_>) -> Result<Published, PublishError> {
    let store = build.store;
    let (units, unknown) = match &build.report {
        Some(report) => live::resolve(report, build.workspace),
        None => scan::units(build.workspace, build.roots),
    };
    let not_found = |unit| (unit, "its files were not found".to_owned());
    let mut left_out: Vec<_> = unknown.into_iter().map(not_found).collect();
    let build_dir = &build.workspace.build_dir;
    let locks = hold::lock(build_dir, &profiles(units.iter()), &build.reporter);
    let _locks = locks.map_err(StoreError::Disk)?;
    let candidates = build.read_candidates(&units, &mut left_out);
    let staging = store.staging("publish")?;
    let recorded = build.record_all(&candidates, &staging)?;
    let watched = build.watch_all(&candidates);
    let beside = Beside::of(build_dir, store, &units);
    let inspector = Inspector::new(build_dir, build.roots);
    let mut assembly = Assembly::default();
    assembly.judge = build.report.is_none().then_some(&inspector);
    let (mut new_objects, mut new_bytes) = (0, 0);
    for (candidate, recorded) in candidates.iter().zip(recorded) {
        let added = recorded.and_then(|mut recorded| {
            let pins = outside_pins(candidate, build.roots, &watched);
            recorded.unit.pinned.extend(pins);
            new_objects += recorded.new_objects;
            new_bytes += recorded.new_bytes;
            let files = &recorded.unit.files;
            let inputs = build.unit_inputs((candidate, files), &watched, &beside)?;
            assembly.add(candidate, recorded, inputs)
        });
        if let Err(reason) = added {
            left_out.push((candidate.live.name.to_string(), reason.to_string()));
        }
    }
    let manifest = assembly.manifest(build);
    build.refuse_secrets(&manifest)?;
    let name = store.put_manifest(&staging, &manifest)?;
    let point = Point::new(&manifest, name);
    store.put_point(&staging, &point)?;
    Ok(Published {
        point,
        left_out,
        new_objects,
        new_bytes,
    })
}

impl Build<'_> {
    /// Stores what `candidates` made, in parallel; fails only where nothing can be published.
    fn record_all(
        &self,
        candidates: &[Candidate],
        staging: &Staging,
    ) -> Result<Vec<Result<Recorded, LeftOut>>, PublishError> {
        let recorder = self.recorder(candidates, staging);
        let count = candidates.len() as u64;
        let step = self.reporter.step("Storing outputs", count);
        let record = |candidate: &Candidate| {
            let recorded = recorder.record(candidate);
            step.inc(1);
            recorded
        };
        let recorded: Vec<_> = candidates.par_iter().map(record).collect();
        drop(step);
        let recorded = recorded.into_iter().map(|one| match one {
            Err(LeftOut::Disk(error) | LeftOut::Copy(CopyError::Disk(error)))
                if error.path.starts_with(self.store.root()) =>
            {
                Err(StoreError::Disk(error).into())
            }
            Err(LeftOut::Secret(name, file)) => Err(PublishError::Secret(name, file)),
            other => Ok(other),
        });
        recorded.collect()
    }

    /// Small files and the values of variables stand in the manifest as they are.
    fn refuse_secrets(&self, manifest: &Manifest) -> Result<(), PublishError> {
        let place = "a small file, or a variable that was compiled in,";
        let refuse = |name: &str| PublishError::Secret(name.to_owned(), place.to_owned());
        let found = disclosure::in_bytes(self.secrets, &format::plain(manifest));
        found.map_or(Ok(()), |name| Err(refuse(name)))
    }

    /// Returns what records `candidates`; reads once what all of them need.
    fn recorder<'a>(&'a self, candidates: &'a [Candidate], staging: &'a Staging) -> Recorder<'a> {
        let dir = &self.workspace.build_dir;
        let profiles = profiles(candidates.iter().map(|one| &one.live));
        let infos = candidates.iter().filter_map(|one| one.dep_info.as_ref());
        let places = relocate::places(dir, self.sysroot);
        let ledger = Ledger::of(dir);
        let root = disk::canonical(&self.workspace.root);
        Recorder {
            alone: is_alone(&root, &disk::canonical(dir)),
            workspaces: ledger.workspaces(),
            root,
            build: self,
            finder: Finder::new(self.roots),
            placed: placed_here(&ledger, self.store),
            hits: hits_here(&ledger, self.store),
            ledger,
            catalog: Catalog::of(&places, profiles.iter().copied()),
            outputs: Outputs::of(dir, profiles.iter().copied()),
            read_by_rustc: infos.flat_map(build_paths).map(<[u8]>::to_vec).collect(),
            staging,
        }
    }

    fn watch_all(&self, candidates: &[Candidate]) -> Watched {
        let all = candidates.iter();
        let hashes = all.map(|one| layout::unit_hash(&one.live.name.dir));
        let hashes: HashSet<&str> = hashes.collect();
        let all = candidates.iter();
        let wanted = all.flat_map(|one| {
            // What many units are linked with is read once.
            let linked = self.read_by_linker(one, &[], &self.told(one));
            watched_paths(one, self.roots).into_iter().chain(linked)
        });
        let wanted: HashSet<Rooted> = wanted.collect();
        let step = self.reporter.step("Reading sources", wanted.len() as u64);
        let watch = |path: Rooted| {
            let read = || inputs::watched(path.clone(), self.roots);
            let input = (!self.compared_otherwise(&path, &hashes)).then(read);
            step.inc(1);
            (path, input)
        };
        wanted.into_par_iter().map(watch).collect()
    }

    /// Tells whether a library that rustc loaded (`-Zbinary-dep-depinfo` has them all in the dep-info) is compared in another
    /// way: as what a unit of this starting point made, which the unit that loads it depends on, or as a part of the toolchain.
    fn compared_otherwise(&self, path: &Rooted, hashes: &HashSet<&str>) -> bool {
        let name = path.relative().file_name().and_then(|name| name.to_str());
        let made = name.and_then(layout::hash_in);
        (path.root == Root::Build && made.is_some_and(|hash| hashes.contains(hash)))
            || inputs::is_of_sysroot(&self.roots.resolve(path), self.sysroot)
    }

    /// Returns the inputs of a unit that made `files`, if none of them changed since.
    fn unit_inputs(
        &self,
        (candidate, files): (&Candidate, &[OutputFile]),
        watched: &Watched,
        beside: &Beside,
    ) -> Result<Vec<Input>, LeftOut> {
        let (name, build_dir) = (&candidate.live.name, &self.workspace.build_dir);
        let reference = match name.runs_script() {
            true => name.script_dir().join("output"),
            false => name.dep_info_file(),
        };
        let made = walk::mtime(&build_dir.join(reference));
        let made = made.ok_or(LeftOut::NoOutputs)?;
        let is_newer = |path: &Rooted| {
            let newest = inputs::newest(path, self.roots);
            newest.is_some_and(|time| time > made)
        };
        let mut inputs = Vec::new();
        for path in watched_paths(candidate, self.roots) {
            let Some(input) = watched.get(&path).cloned().ok_or(LeftOut::NoOutputs)? else {
                continue;
            };
            let located = self.roots.resolve(&path);
            // git rewrites its index to refresh times alone; in a clean tree it says what it said before.
            let refreshed = matches!(input.expected, Expected::GitIndex(_)) && !self.manifest.dirty;
            if !refreshed && is_newer(&path) {
                return Err(LeftOut::Changed(path.shown()));
            }
            let head = inputs::git_head(&path, self.roots, made);
            inputs.push(match &head {
                Some(head) if inputs::is_git_log(&path) => inputs::git_branch(head, self.roots),
                _ => Input {
                    path: self.roots.locate(&located),
                    ..input
                },
            });
            inputs.extend(head);
        }
        let told = self.told(candidate);
        let read = self.linked(candidate, files).into_iter();
        for path in read.chain(self.read_by_linker(candidate, files, &told)) {
            if is_newer(&path) {
                return Err(LeftOut::Changed(path.shown()));
            }
            let known = watched.get(&path).cloned().flatten();
            inputs.push(known.unwrap_or_else(|| inputs::watched(path, self.roots)));
        }
        inputs.extend(self.package_input(candidate)?);
        let is_script = name.runs_script();
        inputs.extend(inputs::of_system(files, is_script, build_dir, self.roots));
        inputs.extend(inputs::found_by_script(&told, self.roots));
        // What lies beside `OUT_DIR` is placed nowhere: the script runs again where it is not there.
        let written = beside.written_by(candidate, build_dir).into_iter();
        let watched = |path: PathBuf| inputs::watched(Rooted::new(Root::Build, &path), self.roots);
        inputs.extend(written.map(watched));
        inputs.sort();
        inputs.dedup();
        Ok(inputs)
    }

    /// Returns the links that rustc followed to the sources of a unit that made `files`.
    fn linked(&self, candidate: &Candidate, files: &[OutputFile]) -> Vec<Rooted> {
        let own = self.roots.resolve(&candidate.package.dir);
        let is_list = |file: &&OutputFile| disk::has_extension(bytes_path(&file.path), "d");
        let lists = files.iter().filter(is_list);
        let all = lists.flat_map(|file| match &file.content {
            Content::Inline(list) => inputs::linked(list, [&self.workspace.root, &own], self.roots),
            _ => Vec::new(),
        });
        all.collect()
    }

    /// Returns what the script told cargo that `candidate` runs; nothing of a compile.
    fn told(&self, candidate: &Candidate) -> Vec<u8> {
        let name = &candidate.live.name;
        let output = self.workspace.build_dir.join(name.script_dir());
        let read = || std::fs::read(output.join("output")).ok();
        name.runs_script().then(read).flatten().unwrap_or_default()
    }

    /// Returns what a linker reads in the work tree that a script, or a flag of a unit that was linked, names: rustc lists none of it.
    fn read_by_linker(
        &self,
        candidate: &Candidate,
        files: &[OutputFile],
        told: &[u8],
    ) -> Vec<Rooted> {
        // A library that is linked statically goes into the crate that names it.
        let is_linked =
            candidate.package.source == Source::Path || files.iter().any(|file| file.executable);
        let typed = self.manifest.commands.iter();
        let typed = typed.filter(|args| args.iter().any(|arg| arg == "rustc"));
        let typed = typed.flat_map(|args| args.iter().skip_while(|arg| *arg != "--"));
        let flags = candidate.fingerprint.rustflags.iter().chain(typed);
        let flags = flags.filter(|_| is_linked).map(String::as_str);
        let flags = script_output::flag_paths(flags);
        let dirs = [
            &self.workspace.root,
            &self.roots.resolve(&candidate.package.dir),
        ];
        let paths = script_output::linked(told).chain(flags);
        inputs::linked_with(paths, dirs.map(PathBuf::as_path), self.roots)
    }

    /// Returns the input of a build script that declared nothing: all files of its package.
    fn package_input(&self, candidate: &Candidate) -> Result<Option<Input>, LeftOut> {
        let Some(recorded) = candidate.package.newest_file(&candidate.fingerprint) else {
            return Ok(None);
        };
        let dir = self.roots.resolve(&candidate.package.dir);
        let files = inputs::list_package(&dir).ok_or(LeftOut::PackageFiles)?;
        // Of a file that is gone nothing tells but the directory that it was in.
        let dirs: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        let mut times = dirs.iter().map(|below| walk::mtime(&dir.join(below)));
        // The script itself may have written there, and a start may just have made the target directory.
        let [_, ended] = beside::ran(&self.workspace.build_dir, &candidate.live.name);
        let ended = ended.map(|ended| ended + START);
        if package::newest_file(&dir, &files) != recorded || times.any(|time| time > ended) {
            return Err(LeftOut::PackageFiles);
        }
        let expected = Expected::PackageFiles(inputs::package_digest(&dir, files));
        let path = candidate.package.dir.clone();
        Ok(Some(Input { path, expected }))
    }
}

/// Returns what is known of units that starts placed in this directory, each with the time that its files were given: a later
/// start keeps what an earlier one placed.
fn placed_here(ledger: &Ledger, store: &Store) -> HashMap<(UnitName, SystemTime), Placed> {
    let mut placed = HashMap::new();
    for started in ledger.starts() {
        for (name, mut unit) in units_of(started.manifest, store) {
            unit.workspace.clone_from(&started.workspace);
            placed.insert((name, started.mtime), unit);
        }
    }
    placed
}

/// Returns what is known of units whose outputs the wrapper placed in this directory, each with the manifest that they are of.
fn hits_here(ledger: &Ledger, store: &Store) -> HashMap<(UnitName, Digest), Placed> {
    let notes = ledger.notes().into_iter();
    let manifests: HashSet<Digest> = notes.filter_map(|(_, note)| note.hit).collect();
    let units = manifests.into_iter().flat_map(|manifest| {
        let units = units_of(manifest, store).into_iter();
        units.map(move |(name, unit)| ((name, manifest), unit))
    });
    units.collect()
}

/// Returns how the units of `manifest` were compiled.
fn units_of(manifest: Digest, store: &Store) -> Vec<(UnitName, Placed)> {
    let manifest = store.manifest(manifest).unwrap_or_default();
    let located: Arc<[Located]> = manifest.located.into();
    let units = manifest.units.into_iter().filter_map(|unit| {
        let one = Placed {
            compiled: unit.compiled?,
            session: unit.session,
            located: located.clone(),
            ..Placed::default()
        };
        Some((unit.name, one))
    });
    units.collect()
}

/// Tells whether the build directory `build` lies inside the work tree of `root`, and its clone has no other.
fn is_alone(root: &Path, build: &Path) -> bool {
    git::enclosing_work_tree(root).is_some_and(|top| {
        let only = top.join(".git").is_dir();
        only && walk::directories(&top.join(".git/worktrees")).is_empty() && build.starts_with(top)
    })
}

/// Every file or directory that some unit was made from, as it is now, read in parallel; none for what needs no comparing.
type Watched = HashMap<Rooted, Option<Input>>;

/// Returns the pins of a unit that was made from a file below no root, such as a neighbour of the workspace
/// or the git directory of a linked work tree: elsewhere, another file stands for it.
///
/// What the system installs is the same file for everybody, and is compared as it is.
fn outside_pins(candidate: &Candidate, roots: &Roots, watched: &Watched) -> Vec<Pin> {
    let is_outside = |path: &Rooted| {
        let compared_otherwise = matches!(watched.get(path), Some(None));
        path.root == Root::Absolute
            && !pin::is_of_the_system(path.relative())
            && !compared_otherwise
    };
    let pin = |path: Rooted| Pin {
        root: Root::Workspace,
        seen_in: path.shown(),
    };
    let all = watched_paths(candidate, roots).into_iter();
    all.filter(is_outside).map(pin).collect()
}
