//! What a reader's machine says of each unit of a starting point: the first thing that differs, and the
//! fingerprint that cargo would compute here.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use rayon::prelude::*;

use crate::cargo::package::{self, Locked};
use crate::config::Environment;
use crate::engine::inputs;
use crate::git;
use crate::model::fingerprint::path_hash;
use crate::model::manifest::{Package, Source};
use crate::model::{
    Expected, Fingerprint, Input, Local, Manifest, Reason, Root, Roots, Seen, Unit,
};

/// The reader's side of every comparison.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Where the reader has the roots.
    pub roots: &'a Roots,
    /// The variables that cargo will see.
    pub environment: &'a Environment,
    /// Variables that cargo's own configuration sets, which only cargo can judge.
    pub set_by_cargo: &'a BTreeSet<String>,
    /// What `Cargo.lock` holds; none without one.
    pub locked: Option<&'a Locked>,
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

/// Digests of what lies here, kept from one manifest to the next.
#[derive(Debug, Default)]
pub struct Digests {
    seen: HashMap<Input, Seen>,
}

impl Digests {
    /// Compares all `inputs` that were not compared before, in parallel; each file is read once.
    pub fn compare(&mut self, inputs: &[Input], roots: &Roots) {
        let new: Vec<&Input> = inputs
            .iter()
            .filter(|input| !self.seen.contains_key(input))
            .collect();
        let compared: Vec<(Input, Seen)> = new
            .into_par_iter()
            .map(|input| (input.clone(), inputs::compare(input, roots)))
            .collect();
        self.seen.extend(compared);
    }

    fn of(&self, input: &Input) -> &Seen {
        self.seen.get(input).unwrap_or(&Seen::Missing)
    }
}

/// Returns what is to be seen of each unit of `manifest`, in its order.
pub fn observe(manifest: &Manifest, reader: &Reader<'_>, digests: &mut Digests) -> Vec<Observed> {
    digests.compare(&manifest.inputs, reader.roots);
    let mut observed: Vec<Observed> = Vec::with_capacity(manifest.units.len());
    for unit in &manifest.units {
        let mut differs = first_difference(manifest, unit, reader, digests);
        let fingerprint = here(manifest, unit, reader, &observed).unwrap_or_else(|| {
            differs.get_or_insert(Reason::Unproven);
            unit.fingerprint.clone()
        });
        let inputs = unit.inputs.iter().map(|at| &manifest.inputs[*at as usize]);
        let changed = inputs.filter(|input| *digests.of(input) != Seen::Same);
        observed.push(Observed {
            differs,
            changed_inputs: changed.count(),
            fingerprint,
        });
    }
    for (script, reason) in generators(manifest, reader.roots, digests) {
        observed[script].differs.get_or_insert(reason);
    }
    observed
}

/// Returns the runs of build scripts that must be run again for what they wrote among the sources.
///
/// A source that differs here, and that git neither tracks nor would add, was most likely written by the
/// script that its unit depends on; that script has no such output in the starting point.
fn generators(manifest: &Manifest, roots: &Roots, digests: &Digests) -> Vec<(usize, Reason)> {
    let differs = |input: &&Input| {
        input.path.root == Root::Workspace
            && matches!(input.expected, Expected::File(_))
            && *digests.of(input) != Seen::Same
    };
    let runs = |unit: &Unit| -> Vec<usize> {
        let deps = unit.deps.iter().map(|dep| *dep as usize);
        deps.filter(|dep| manifest.units[*dep].name.runs_script())
            .collect()
    };
    let suspects: Vec<(Vec<usize>, &Input)> = manifest
        .units
        .iter()
        .filter(|unit| !unit.name.runs_script())
        .map(|unit| (runs(unit), unit))
        .filter(|(runs, _)| !runs.is_empty())
        .flat_map(|(runs, unit)| {
            let inputs = unit
                .inputs
                .iter()
                .map(|input| &manifest.inputs[*input as usize]);
            inputs
                .filter(differs)
                .map(move |input| (runs.clone(), input))
        })
        .collect();
    if suspects.is_empty() {
        return Vec::new();
    }
    let known: BTreeSet<PathBuf> = git::files(roots.dir(Root::Workspace))
        .unwrap_or_default()
        .into_iter()
        .collect();
    let generated = suspects
        .into_iter()
        .filter(|(_, input)| !known.contains(input.path.relative()));
    generated
        .flat_map(|(runs, input)| {
            let path = input.path.shown();
            runs.into_iter()
                .map(move |run| (run, Reason::Changed { path: path.clone() }))
        })
        .collect()
}

/// Tells whether the settings that shape cargo's hashes are the builder's.
pub fn same_settings(manifest: &Manifest, reader: &Reader<'_>, digests: &mut Digests) -> bool {
    digests.compare(&manifest.settings, reader.roots);
    manifest
        .settings
        .iter()
        .all(|input| *digests.of(input) == Seen::Same)
}

fn first_difference(
    manifest: &Manifest,
    unit: &Unit,
    reader: &Reader<'_>,
    digests: &Digests,
) -> Option<Reason> {
    let package = manifest.package(unit);
    let locked = reader
        .locked
        .is_none_or(|locked| locked.has(&package.name, &package.version));
    if package.source != Source::Path && !locked {
        return Some(Reason::NotLocked);
    }
    let inputs = unit
        .inputs
        .iter()
        .map(|position| &manifest.inputs[*position as usize]);
    inputs
        .filter_map(|input| difference(input, digests.of(input)))
        .next()
        .or_else(|| variable(unit, reader))
        .or_else(|| pinned(manifest, unit, reader.roots))
}

fn difference(input: &Input, seen: &Seen) -> Option<Reason> {
    let path = input.path.shown();
    match (&input.expected, seen) {
        (_, Seen::Same) => None,
        (Expected::Nothing, _) => Some(Reason::AlwaysReruns { path }),
        (Expected::GitHead(_), _) => Some(Reason::OtherCommit),
        (_, Seen::Different) => Some(Reason::Changed { path }),
        (_, Seen::Missing) => Some(Reason::Gone { path }),
    }
}

/// Returns the first variable that cargo would find changed.
fn variable(unit: &Unit, reader: &Reader<'_>) -> Option<Reason> {
    let declared = unit
        .fingerprint
        .local
        .iter()
        .filter_map(|local| match local {
            Local::RerunIfEnvChanged { var, val } => Some((var, val)),
            _ => None,
        });
    let read = unit
        .dep_info
        .iter()
        .flat_map(|info| info.env.iter().map(|(name, value)| (name, value)));
    // cargo and its clippy set these for the compilers that they start; only they can judge them.
    let theirs = |name: &str| {
        ["CARGO", "CLIPPY_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let ours = |name: &str| !theirs(name) && !reader.set_by_cargo.contains(name);
    declared
        .chain(read)
        .filter(|(name, _)| ours(name))
        .find(|(name, value)| reader.environment.text(name) != value.as_deref())
        .map(|(name, _)| Reason::Variable { name: name.clone() })
}

fn pinned(manifest: &Manifest, unit: &Unit, roots: &Roots) -> Option<Reason> {
    let elsewhere = unit
        .pinned
        .iter()
        .find(|pin| !roots.agree(&manifest.roots, pin.root));
    elsewhere.map(|pin| Reason::Pinned {
        root: pin.root,
        seen_in: pin.seen_in.clone(),
    })
}

/// Returns the fingerprint of `unit` at the reader's roots; none unless the builder's own can be reproduced.
///
/// `before` are the units that stand before it in the manifest.
fn here(
    manifest: &Manifest,
    unit: &Unit,
    reader: &Reader<'_>,
    before: &[Observed],
) -> Option<Fingerprint> {
    let package = manifest.package(unit);
    let mut fingerprint = unit.fingerprint.clone();
    if let Some(source) = &unit.absolute_source {
        let recorded = path_hash(&manifest.roots.resolve(source));
        if recorded != fingerprint.path {
            return None;
        }
        fingerprint.path = path_hash(&reader.roots.resolve(source));
    }
    for local in &mut fingerprint.local {
        move_local(local, &manifest.roots, reader.roots);
    }
    if package.newest_file(&unit.fingerprint).is_some() {
        fingerprint.local = vec![Local::Precalculated(newest_file_here(
            package,
            reader.roots,
        )?)];
    }
    let moved: HashMap<u64, u64> = unit
        .deps
        .iter()
        .map(|dep| *dep as usize)
        .map(|dep| {
            (
                manifest.units[dep].fingerprint.hash(),
                before[dep].fingerprint.hash(),
            )
        })
        .collect();
    for dep in &mut fingerprint.deps {
        dep.3 = *moved.get(&dep.3)?;
    }
    Some(fingerprint)
}

/// Moves the absolute paths that a build script declared.
fn move_local(local: &mut Local, from: &Roots, to: &Roots) {
    if let Local::RerunIfChanged { paths, .. } = local {
        for path in paths.iter_mut().filter(|path| path.is_absolute()) {
            *path = to.resolve(&from.locate(path));
        }
    }
}

fn newest_file_here(package: &Package, roots: &Roots) -> Option<String> {
    let dir: PathBuf = roots.resolve(&package.dir);
    let files = inputs::list_package(&dir)?;
    Some(package::newest_file(&dir, &files))
}
