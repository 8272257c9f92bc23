//! Notes for the wrapper from which session each unit may begin: of several starting points, the most similar one.
//!
//! Places nothing: most units are never compiled, and their sessions never needed.

use std::collections::HashMap;
use std::path::Path;

use crate::disk::DiskError;
use crate::engine::choose::{self, Similarity};
use crate::engine::hit::Made;
use crate::engine::hold::Held;
use crate::engine::names::Called;
use crate::engine::plan::deps;
use crate::engine::relocate::fingerprint;
use crate::engine::{Action, Decision, Inspector, Ledger, Present, Seed, Survey, seed};
use crate::model::{Located, Manifest, Roots, Session, Unit};
use crate::rustc::argv;
use crate::store::Store;

/// One session that a unit could begin from.
struct Candidate<'a> {
    survey: &'a Survey<'a>,
    at: Offered,
    unit: &'a Unit,
    session: &'a Session,
    similarity: Similarity,
}

/// A session that a unit may begin from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Which starting point it is of.
    pub from: usize,
    /// Which unit there.
    pub unit: usize,
}

/// Notes the best session for each unit of `surveys`, which stand nearest first, and what of the one at `placed` may be a hit: what
/// another was made beside is not what is placed. Returns the sessions.
pub fn offer(
    (surveys, placed): (&[Survey<'_>], usize),
    held: &Held,
    inspector: &Inspector<'_>,
    places: &Roots,
    store: &Store,
) -> Result<Vec<Offered>, DiskError> {
    let mut families: HashMap<String, Vec<Candidate<'_>>> = HashMap::new();
    for (from, survey) in surveys.iter().enumerate() {
        let other = other_than_here(survey);
        for (at, unit) in survey.manifest.get().units.iter().enumerate() {
            if let (Some(key), Some(session)) = (key_of(unit), &unit.session) {
                families.entry(key).or_default().push(Candidate {
                    survey,
                    at: Offered { from, unit: at },
                    unit,
                    session,
                    similarity: similarity(survey, at, &other),
                });
            }
        }
    }
    let keys: Vec<_> = surveys.iter().map(keys).collect();
    let ledger = Ledger::of(&held.build);
    let mut offered = Vec::new();
    for (key, candidates) in &families {
        let similarities: Vec<Similarity> = candidates.iter().map(|one| one.similarity).collect();
        let Some(chosen) = choose::choose(&similarities).map(|at| &candidates[at]) else {
            continue;
        };
        let own = chosen.own_session(&held.build, inspector);
        let worse = own.filter(|(_, own)| choose::replaces(&chosen.similarity, own));
        let keys = &keys[chosen.at.from];
        if let Some(mut seed) = chosen.seed(worse.map(|(name, _)| name), places, keys, store) {
            let is_placed = chosen.at.from == placed;
            let made = || Made::of(chosen.survey, chosen.at.unit, held.mtime);
            seed.made = is_placed.then(made).flatten();
            ledger.write_seed(key, &seed)?;
            offered.push(chosen.at);
        }
    }
    Ok(offered)
}

/// Notes what cargo calls the members of `manifest` that are placed or kept, for those that are compiled against them.
pub fn note_placed(
    manifest: &Manifest,
    decisions: &[Decision],
    ledger: &Ledger,
) -> Result<(), DiskError> {
    let units = manifest.units.iter().zip(decisions);
    for (unit, decision) in units {
        let compiled = unit.compiled.as_ref();
        let names = compiled.and_then(|compiled| compiled.names.as_ref());
        let is_there = matches!(decision.action, Action::Place | Action::Keep);
        if let (true, Some(key), Some(names)) = (is_there, key_of(unit), names) {
            ledger.note_session_of(&key, &names.stem)?;
        }
    }
    Ok(())
}

/// Returns the name of the seed of each member by what the builder's cargo called it.
fn keys<'a>(of: &Survey<'a>) -> HashMap<&'a str, String> {
    let units = of.manifest.get().units.iter();
    let keys = units.filter_map(|unit| {
        let names = unit.compiled.as_ref()?.names.as_ref()?;
        Some((names.stem.as_str(), key_of(unit)?))
    });
    keys.collect()
}

/// Returns the name of the seed of a unit; none for one that was not compiled through headstart.
pub fn key_of(unit: &Unit) -> Option<String> {
    unit.compiled.as_ref().map(argv::seed_key)
}

impl Candidate<'_> {
    fn seed(
        &self,
        replaces: Option<String>,
        places: &Roots,
        keys: &HashMap<&str, String>,
        store: &Store,
    ) -> Option<Seed> {
        let manifest = self.survey.manifest.get();
        let located = &manifest.located;
        let mut session = self.session.clone();
        let sites = std::mem::take(&mut session.sites);
        let patches = sites.iter().filter_map(|site| {
            let hash = match &located[site.located as usize] {
                Located::Crate { files, formula } => fingerprint(places, files, *formula),
                Located::Outputs(_) => return None,
            };
            Some((site.offset, hash))
        });
        let compiled = self.unit.compiled.as_ref()?;
        Some(Seed {
            commit: manifest.commit.clone(),
            manifest: self.survey.name,
            arguments: compiled.arguments?,
            line: compiled.line.clone(),
            wait_ms: seed::patience_ms(compiled.elapsed_ms),
            session,
            patches: patches.collect(),
            called: Called::of(&sites, located, |unit| keys.get(unit).cloned()),
            store: store.root().to_path_buf(),
            replaces,
            made: None,
        })
    }

    /// Returns the session that rustc made here itself, with how similar its past is by the times of files.
    fn own_session(&self, build: &Path, inspector: &Inspector<'_>) -> Option<(String, Similarity)> {
        let own = seed::own_session(&build.join(&self.session.crate_dir))?;
        let package = &self.survey.manifest.get().package(self.unit).dir;
        let (changed_inputs, inputs) = inspector.changed_inputs(self.unit, package)?;
        let other = |dep: &usize| self.survey.evidence[*dep].present != Present::Fresh;
        let similarity = Similarity {
            changed_inputs,
            inputs,
            changed_deps: deps(self.unit).filter(other).count(),
            deps: self.unit.deps.len(),
        };
        Some((own, similarity))
    }
}

/// Whether each unit of a starting point is another one than what is, or will be, here: something of its own differs, or
/// of what it depends on.
fn other_than_here(from: &Survey<'_>) -> Vec<bool> {
    let mut other: Vec<bool> = Vec::with_capacity(from.observed.len());
    for (unit, seen) in from.manifest.get().units.iter().zip(&from.observed) {
        let below = deps(unit).any(|dep| other[dep]);
        other.push(seen.differs.is_some() || below);
    }
    other
}

fn similarity(from: &Survey<'_>, at: usize, other: &[bool]) -> Similarity {
    let unit = &from.manifest.get().units[at];
    Similarity {
        changed_inputs: from.observed[at].changed_inputs,
        inputs: unit.inputs.len(),
        changed_deps: deps(unit).filter(|dep| other[*dep]).count(),
        deps: unit.deps.len(),
    }
}
