//! What a reader's machine says of each unit of a starting point: the first thing that differs, and the
//! fingerprint that cargo would compute here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cargo::{Locked, package};
use crate::config::Environment;
use crate::engine::inputs;
use crate::engine::plan::deps;
use crate::git;
use crate::model::{
    Expected, Fingerprint, Input, Local, Manifest, Pin, Reason, Root, Roots, Seen, Source, Unit,
    path_hash,
};

/// The reader's side of every comparison.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Where the reader has the roots.
    pub roots: &'a Roots,
    /// The variables that cargo will see.
    pub environment: &'a Environment,
    /// Variables that cargo's own configuration sets, which only cargo can judge.
    pub set_by_cargo: BTreeSet<String>,
    /// What `Cargo.lock` holds; none without one.
    pub locked: Option<Locked>,
    /// The version of each member, by its name: cargo may not have brought it into `Cargo.lock` yet.
    pub versions: &'a HashMap<String, String>,
    /// What was compared, kept from one manifest to the next.
    pub seen: HashMap<Input, Seen>,
    /// The newest file of each package that cargo looks for one in, kept likewise; none where cargo's list of its files is not ours.
    pub newest: HashMap<PathBuf, Option<String>>,
}

/// One unit, seen from here.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The first thing of its own that differs; dependencies are not looked at.
    pub differs: Option<Reason>,
    /// How many of its inputs differ.
    pub changed_inputs: usize,
    /// The fingerprint that cargo would compute for the same thing here.
    pub fingerprint: Fingerprint,
}

impl Reader<'_> {
    /// Returns what is to be seen of each unit of `manifest`, in its order.
    pub fn observe(&mut self, manifest: &Manifest) -> Vec<Observed> {
        self.compare(&manifest.inputs);
        self.look_for_newest(manifest);
        let mut observed: Vec<Observed> = Vec::with_capacity(manifest.units.len());
        for unit in &manifest.units {
            let mut differs = self.first_difference(manifest, unit);
            let fingerprint = self.fingerprint(manifest, unit, &observed);
            let fingerprint = fingerprint.unwrap_or_else(|| {
                differs.get_or_insert(Reason::Unproven);
                unit.fingerprint.clone()
            });
            let inputs = manifest.inputs_of(unit);
            let changed = inputs.filter(|input| *self.seen(input) != Seen::Same);
            observed.push(Observed {
                differs,
                changed_inputs: changed.count(),
                fingerprint,
            });
        }
        for (script, reason) in self.generators(manifest) {
            observed[script].differs.get_or_insert(reason);
        }
        observed
    }

    /// Tells whether the settings that shape cargo's hashes are the builder's.
    pub fn same_settings(&mut self, manifest: &Manifest) -> bool {
        self.compare(&manifest.settings);
        let mut settings = manifest.settings.iter();
        settings.all(|input| *self.seen(input) == Seen::Same)
    }

    /// Compares all `inputs` that were not compared before, in parallel; each file is read once.
    fn compare(&mut self, inputs: &[Input]) {
        let is_new = |input: &&Input| !self.seen.contains_key(input);
        let compare = |input: &Input| (input.clone(), inputs::compare(input, self.roots));
        let compared: Vec<(Input, Seen)> = inputs.par_iter().filter(is_new).map(compare).collect();
        self.seen.extend(compared);
    }

    /// Looks for the newest file of each package that was not looked into before, in parallel: each asks git.
    fn look_for_newest(&mut self, manifest: &Manifest) {
        let of = |unit: &Unit| {
            let package = manifest.package(unit);
            let asked = package.newest_file(&unit.fingerprint).is_some();
            asked.then(|| self.roots.resolve(&package.dir))
        };
        let dirs: BTreeSet<PathBuf> = manifest.units.iter().filter_map(of).collect();
        let is_new = |dir: &&PathBuf| !self.newest.contains_key(*dir);
        let newest = |dir: &PathBuf| {
            let files = inputs::list_package(dir);
            let newest = files.map(|files| package::newest_file(dir, &files));
            (dir.clone(), newest)
        };
        let found: Vec<_> = dirs.par_iter().filter(is_new).map(newest).collect();
        self.newest.extend(found);
    }

    fn seen(&self, input: &Input) -> &Seen {
        self.seen.get(input).unwrap_or(&Seen::Missing)
    }

    /// Returns the runs of build scripts that must be run again for what they wrote outside `OUT_DIR`.
    ///
    /// A source that differs here, and that git neither tracks nor would add, was most likely written by a script
    /// that its unit depends on, and so was what lies in the build directory; that script has no such output in the
    /// starting point.
    fn generators(&self, manifest: &Manifest) -> Vec<(usize, Reason)> {
        let differs = |input: &&Input| {
            !matches!(input.path.root, Root::Absolute | Root::CargoHome)
                && matches!(input.expected, Expected::File(_))
                && *self.seen(input) != Seen::Same
        };
        let mut suspects: Vec<(BTreeSet<usize>, &Input)> = Vec::new();
        let compiled = manifest.units.iter();
        for unit in compiled.filter(|unit| !unit.name.runs_script()) {
            let inputs = manifest.inputs_of(unit).filter(differs);
            let runs = |input: &Input| scripts_below(manifest, unit, input.path.root);
            suspects.extend(inputs.map(|input| (runs(input), input)));
        }
        suspects.retain(|(runs, _)| !runs.is_empty());
        for root in [Root::Workspace, Root::Repository] {
            let paths = suspects.iter().map(|(_, input)| &input.path);
            let paths = paths.filter(|path| path.root == root);
            let paths: BTreeSet<&Path> = paths.map(|path| path.relative()).collect();
            let ask = |some: &[&Path]| git::known(self.roots.dir(root), some.iter().copied());
            // A command line has its limits. Without git's answer a script runs that need not.
            let paths: Vec<&Path> = paths.into_iter().collect();
            let known = paths.chunks(1000).filter_map(|some| ask(some).ok());
            let known: HashSet<PathBuf> = known.flatten().collect();
            suspects.retain(|(_, input)| {
                input.path.root != root || !known.contains(input.path.relative())
            });
        }
        let changed = suspects.into_iter().flat_map(|(runs, input)| {
            let changed = |run| (run, Reason::Changed(input.path.shown()));
            runs.into_iter().map(changed)
        });
        changed.collect()
    }

    fn first_difference(&self, manifest: &Manifest, unit: &Unit) -> Option<Reason> {
        let package = manifest.package(unit);
        let checksum = package.checksum.as_deref();
        let is_locked = |locked: &Locked| locked.has(&package.name, &package.version, checksum);
        // Where another program ran cargo, nobody said which version it is.
        let is_same = |version: &String| ["", version].contains(&&*package.version);
        let is_asked_for = match package.source {
            // Of what is no member nobody can tell.
            Source::Path => self.versions.get(&package.name).is_none_or(is_same),
            _ => self.locked.as_ref().is_none_or(is_locked),
        };
        if !is_asked_for {
            return Some(Reason::NotLocked);
        }
        let mut inputs = manifest.inputs_of(unit);
        let input = inputs.find_map(|input| difference(input, self.seen(input)));
        let own = input.or_else(|| self.variable(unit));
        let elsewhere = |pin: &&Pin| !self.roots.agree(&manifest.roots, pin.root);
        let pin = || unit.pinned.iter().find(elsewhere).cloned();
        own.or_else(|| pin().map(Reason::Pinned))
    }

    /// Returns the first variable that cargo would find changed.
    fn variable(&self, unit: &Unit) -> Option<Reason> {
        // cargo and its clippy set these for the compilers that they start; only they can judge them.
        let theirs = |name: &str| name.starts_with("CARGO") || name.starts_with("CLIPPY_");
        let ours = |name: &str| !theirs(name) && !self.set_by_cargo.contains(name);
        let differs = |name, value| self.environment.text(name) != value;
        let mut all = unit.variables();
        let (name, _) = all.find(|(name, value)| ours(name) && differs(name, *value))?;
        Some(Reason::Variable(name.to_owned()))
    }

    /// Returns the fingerprint of `unit` at the reader's roots; none unless the builder's own can be reproduced.
    ///
    /// `before` are the units that stand before it in the manifest.
    fn fingerprint(
        &self,
        manifest: &Manifest,
        unit: &Unit,
        before: &[Observed],
    ) -> Option<Fingerprint> {
        let package = manifest.package(unit);
        let mut fingerprint = unit.fingerprint.clone();
        if let Some(source) = &unit.absolute_source {
            if path_hash(&manifest.roots.resolve(source)) != fingerprint.path {
                return None;
            }
            fingerprint.path = path_hash(&self.roots.resolve(source));
        }
        for local in &mut fingerprint.local {
            // The absolute paths that a build script declared are elsewhere here.
            if let Local::RerunIfChanged { paths, .. } = local {
                for path in paths.iter_mut().filter(|path| path.is_absolute()) {
                    *path = self.roots.resolve(&manifest.roots.locate(path));
                }
            }
        }
        if package.newest_file(&unit.fingerprint).is_some() {
            let dir = self.roots.resolve(&package.dir);
            let newest = self.newest.get(&dir)?.clone()?;
            fingerprint.local = vec![Local::Precalculated(newest)];
        }
        let there = |dep: usize| manifest.units[dep].fingerprint.hash();
        let moved = deps(unit).map(|dep| (there(dep), before[dep].fingerprint.hash()));
        let moved: HashMap<u64, u64> = moved.collect();
        for dep in &mut fingerprint.deps {
            dep.3 = *moved.get(&dep.3)?;
        }
        Some(fingerprint)
    }
}

/// Returns the runs of build scripts below `unit` that may have written a file of its below `root`: its own, and those of
/// path packages, since what was downloaded knows nothing of the sources; in the build directory all may write, if none of these is there.
fn scripts_below(manifest: &Manifest, unit: &Unit, root: Root) -> BTreeSet<usize> {
    let mut below: BTreeSet<usize> = deps(unit).collect();
    let mut waiting: Vec<usize> = below.iter().copied().collect();
    while let Some(at) = waiting.pop() {
        let new = deps(&manifest.units[at]).filter(|dep| below.insert(*dep));
        waiting.extend(new);
    }
    below.retain(|at| manifest.units[*at].name.runs_script());
    let likely = |at: &usize| {
        let own = || deps(unit).any(|dep| dep == *at);
        manifest.package(&manifest.units[*at]).source == Source::Path || own()
    };
    let some: BTreeSet<usize> = below.iter().copied().filter(likely).collect();
    match root == Root::Build && some.is_empty() {
        true => below,
        false => some,
    }
}

fn difference(input: &Input, seen: &Seen) -> Option<Reason> {
    let path = input.path.shown();
    match (&input.expected, seen) {
        (_, Seen::Same) => None,
        (Expected::Nothing, _) => Some(Reason::AlwaysReruns(path)),
        (Expected::GitHead(_), _) => Some(Reason::OtherCommit),
        (Expected::Glibc(needed), _) => Some(Reason::OlderGlibc(*needed)),
        (_, Seen::Different) => Some(Reason::Changed(path)),
        (_, Seen::Missing) => Some(Reason::Gone(path)),
    }
}
