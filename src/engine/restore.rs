//! Puts units in place so that cargo finds them fresh: store → target directory, or what came for them alone.
//!
//! Order is what makes this safe to interrupt at any point: first every unit that will be replaced is made
//! dirty, dependents first; then files are placed; and a unit's fingerprint comes back last of all,
//! dependencies first. A unit without one is dirty, whatever else is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cargo::dep_info;
use crate::disk::place::mode_for;
use crate::disk::{self, Finish, Result, Staging, failed, space};
use crate::engine::hold::Held;
use crate::engine::plan::{built_again, dependency, deps};
use crate::engine::{Action, Decision, Survey};
use crate::model::{
    Content, Finder, Fingerprint, Manifest, OutputFile, Reason, Roots, Unit, bytes_path,
};
use crate::report::{self, Reporter};
use crate::store::{ObjectError, Store};
use crate::travel::arrivals::Arrivals;

/// What was placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
}

impl Held {
    /// Places what `survey` says of `store` and what came for it, and amends the decisions on units whose objects are missing or
    /// damaged.
    pub fn restore(
        &self,
        survey: &mut Survey<'_>,
        roots: &Roots,
        (store, arrivals): (&Store, Option<&Arrivals>),
        reporter: &Reporter,
    ) -> Result<Restored> {
        let manifest = survey.manifest.get();
        let decisions = &mut survey.decisions;
        let here = arrivals.map_or(0, Arrivals::size_bytes);
        let all = placed(manifest, decisions);
        let all_bytes: u64 = all.map(|(_, unit)| unit.size_bytes()).sum();
        self.check_room(all_bytes.saturating_sub(here))?;
        let placing = Placing {
            held: self,
            manifest,
            roots,
            finder: Finder::new(&manifest.roots),
            store,
            arrivals,
        };
        placing.invalidate(decisions)?;
        let wanted: Vec<usize> = placed(manifest, decisions).map(|(at, _)| at).collect();
        let restored = placing.place_files(decisions, reporter)?;
        amend_dependents(manifest, decisions);
        for at in wanted.into_iter().rev() {
            if decisions[at].action != Action::Place {
                placing.make_dirty(&manifest.units[at])?;
            }
        }
        for (at, unit) in placed(manifest, decisions) {
            placing.finish(unit, &survey.observed[at].fingerprint)?;
        }
        Ok(restored)
    }

    /// Fails where the disk has no room for `needed_bytes`.
    fn check_room(&self, needed_bytes: u64) -> Result<()> {
        let free_bytes = space::free_bytes(&self.build).unwrap_or(u64::MAX);
        if free_bytes >= needed_bytes {
            return Ok(());
        }
        let (needed, free) = (report::bytes(needed_bytes), report::bytes(free_bytes));
        let why = format!("it needs {needed} and has only {free} free");
        let cause = std::io::Error::new(std::io::ErrorKind::StorageFull, why);
        Err(failed("place outputs in", &self.build)(cause))
    }
}

struct Placing<'a> {
    held: &'a Held,
    manifest: &'a Manifest,
    roots: &'a Roots,
    finder: Finder,
    store: &'a Store,
    arrivals: Option<&'a Arrivals>,
}

impl Placing<'_> {
    fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.held.build.join(relative)
    }

    fn finish_as(&self, executable: bool) -> Finish {
        let (mode, mtime) = (mode_for(executable), Some(self.held.mtime));
        Finish { mode, mtime }
    }

    /// Makes every unit that will be replaced dirty, dependents before what they depend on, and makes all
    /// directories; but nothing if a link stands for one of them, through which other files would be written over.
    fn invalidate(&self, decisions: &[Decision]) -> Result<()> {
        let mut dirs = BTreeSet::new();
        let replaced = placed(self.manifest, decisions);
        let replaced: Vec<&Unit> = replaced.map(|(_, unit)| unit).collect();
        for unit in &replaced {
            dirs.insert(unit.name.fingerprint_dir());
            for file in &unit.files {
                let path = bytes_path(&file.path);
                dirs.extend(match file.content {
                    Content::Directory => Some(path.to_path_buf()),
                    _ => path.parent().map(Path::to_path_buf),
                });
            }
        }
        // What lies in `out` goes first, links too.
        let outs: BTreeSet<PathBuf> = replaced.iter().map(|unit| out_dir(unit)).collect();
        let stays = |dir: &&PathBuf| !dir.ancestors().any(|above| outs.contains(above));
        let above = outs.iter().filter_map(|out| out.parent());
        let staying = dirs.iter().filter(stays).map(PathBuf::as_path);
        disk::check_beneath(&self.held.build, staying.chain(above))?;
        for unit in replaced.into_iter().rev() {
            self.make_dirty(unit)?;
        }
        let mut dirs = dirs.iter();
        dirs.try_for_each(|dir| disk::make_dir(&self.path(dir)))?;
        self.make_tmp_dirs(decisions)
    }

    /// Makes `CARGO_TARGET_TMPDIR` for each test and benchmark that will be placed, as cargo does when it compiles one.
    fn make_tmp_dirs(&self, decisions: &[Decision]) -> Result<()> {
        let kinds = ["integration-test", "bench"];
        for (_, unit) in placed(self.manifest, decisions) {
            let kind = unit.name.kind();
            if kinds.contains(&kind.strip_prefix("test-").unwrap_or(kind)) {
                let profile = Path::new(&unit.name.profile_dir);
                disk::make_dir(&self.path(profile.with_file_name("tmp")))?;
            }
        }
        Ok(())
    }

    /// Makes `unit` dirty, and stale for its dependents.
    ///
    /// Without its hash alone, cargo would build it again and still call dependents fresh that it does not
    /// know to be stale: their freshness is settled before anything runs, from times and from files that
    /// are there. So what its own times are compared with goes as well. See note 0006.
    fn make_dirty(&self, unit: &Unit) -> Result<()> {
        disk::remove_file(&self.path(unit.name.hash_file()))?;
        if !unit.name.runs_script() {
            return disk::remove_file(&self.path(unit.name.dep_info_file()));
        }
        let out = self.path(out_dir(unit));
        disk::remove_file(&out.with_file_name("output"))?;
        disk::remove_dir(&out)
    }

    /// Places the files of all units in parallel, the largest first.
    fn place_files(&self, decisions: &mut [Decision], reporter: &Reporter) -> Result<Restored> {
        let placed = placed(self.manifest, decisions);
        let files = placed.flat_map(|(at, unit)| unit.files.iter().map(move |file| (at, file)));
        let mut files: Vec<(usize, &OutputFile)> = files.collect();
        files.sort_by_key(|(_, file)| std::cmp::Reverse(file.content.size_bytes()));
        let sizes = files.iter().map(|(_, file)| file.content.size_bytes());
        let bytes: u64 = sizes.sum();
        let step = reporter.step("Placing outputs", bytes);
        let place = |(at, file): &(usize, &OutputFile)| {
            let placed = self.place_file(file);
            step.inc(file.content.size_bytes());
            match placed {
                Ok(()) => Ok(None),
                Err(ObjectError::Disk(error)) => Err(error),
                Err(error) => Ok(Some((*at, lost_object(&error, file)))),
            }
        };
        let lost: Vec<Option<(usize, Reason)>> =
            files.par_iter().map(place).collect::<Result<_, _>>()?;
        let there = files.iter().zip(&lost).filter(|(_, lost)| lost.is_none());
        let sizes = there.map(|((_, file), _)| file.content.size_bytes());
        let (files, bytes) = sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size));
        let mut lost: Vec<(usize, Reason)> = lost.into_iter().flatten().collect();
        // Whoever reads a damaged object first removes it, and others of the unit miss it then: the last word has the cause.
        lost.sort_by_key(|(_, reason)| matches!(reason, Reason::ObjectDamaged(_)));
        for (at, reason) in lost {
            let action = Action::Leave;
            decisions[at] = Decision { action, reason };
        }
        Ok(Restored { files, bytes })
    }

    fn place_file(&self, file: &OutputFile) -> Result<(), ObjectError> {
        let path = self.path(bytes_path(&file.path));
        let finish = self.finish_as(file.executable);
        let (staging, store) = (&self.held.staging, self.store);
        let came = |there: &Arrivals| there.place(file, store, &path, finish);
        if let Some(placed) = self.arrivals.and_then(came) {
            return placed;
        }
        let what = (file, &self.finder, self.roots);
        place(what, store, staging, (&path, finish))
    }

    /// Writes cargo's records of a unit, the fingerprint's hash last.
    fn finish(&self, unit: &Unit, fingerprint: &Fingerprint) -> Result<()> {
        let finish = self.finish_as(false);
        let staging = &self.held.staging;
        if let Some(info) = &unit.dep_info {
            let bytes = dep_info::encode(info, self.roots);
            staging.write(&self.path(unit.name.dep_info_file()), &bytes, finish)?;
        }
        let json = serde_json::to_vec(fingerprint).expect("a fingerprint holds only plain values");
        staging.write(&self.path(unit.name.json_file()), &json, finish)?;
        let hash = Fingerprint::hash_text(fingerprint.hash());
        staging.write(&self.path(unit.name.hash_file()), hash.as_bytes(), finish)
    }
}

/// Places `file` of `store` at `path`, with the roots that `finder` finds in text as they are here.
pub(super) fn place(
    (file, finder, roots): (&OutputFile, &Finder, &Roots),
    store: &Store,
    staging: &Staging,
    (path, finish): (&Path, Finish),
) -> Result<(), ObjectError> {
    match &file.content {
        Content::Inline(bytes) if file.rewrite => {
            staging.write(path, &finder.rewrite(bytes, roots), finish)
        }
        Content::Inline(bytes) => staging.write(path, bytes, finish),
        Content::Object { digest, .. } => return store.get(*digest, staging, path, finish),
        Content::Recipe(recipe) => return store.assemble(recipe, staging, path, finish),
        Content::Symlink(target) => staging.symlink(bytes_path(target), path),
        Content::Directory => Ok(()),
    }
    .map_err(ObjectError::Disk)
}

/// Returns the units that are to be placed, with their positions.
pub fn placed<'a>(
    manifest: &'a Manifest,
    decisions: &'a [Decision],
) -> impl Iterator<Item = (usize, &'a Unit)> {
    let units = manifest.units.iter().enumerate();
    units.filter(|(at, _)| decisions[*at].action == Action::Place)
}

/// Returns the `OUT_DIR` of the script that `unit` runs, or would have if it ran one.
fn out_dir(unit: &Unit) -> PathBuf {
    unit.name.script_dir().join("out")
}

fn lost_object(error: &ObjectError, file: &OutputFile) -> Reason {
    let path = String::from_utf8_lossy(&file.path).into_owned();
    match error {
        ObjectError::Damaged(_) => Reason::ObjectDamaged(path),
        ObjectError::Missing(_) => Reason::ObjectMissing(path),
        ObjectError::Unreadable(_) | ObjectError::Disk(_) => Reason::ObjectUnreadable(path),
    }
}

/// A unit that depends on one that was not placed after all is built again as well.
fn amend_dependents(manifest: &Manifest, decisions: &mut [Decision]) {
    for (at, unit) in manifest.units.iter().enumerate() {
        let is_lost = |dep: &usize| matches!(decisions[*dep].action, Action::Leave | Action::Seed);
        let lost = deps(unit).find(is_lost);
        if let (Action::Place, Some(dep)) = (decisions[at].action, lost) {
            let reason = dependency(manifest, dep);
            let action = built_again(manifest, at, &reason);
            decisions[at] = Decision { action, reason };
        }
    }
}
