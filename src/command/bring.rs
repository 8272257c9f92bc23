//! Brings here what a start needs of what is far away: the outputs of units that will be fresh, and the sessions of those
//! that cargo will compile.

use std::collections::HashSet;
use std::num::NonZero;
use std::time::Duration;

use super::far::{Far, lacking};
use super::start::{Candidate, Survey};
use crate::engine::offer::Offered;
use crate::engine::plan::Action;
use crate::model::{Digest, UnitName};
use crate::report::Reporter;
use crate::store::Store;

/// What is wanted of one starting point.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    objects: Vec<Digest>,
    /// How long compiling would take without them, on one core.
    worth_ms: u64,
}

/// Returns what is wanted of each of `candidates` where the one at `chosen` is placed.
pub(super) fn wanted(
    candidates: &[Candidate],
    surveys: &[Survey],
    chosen: usize,
    offered: &[Offered],
) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = candidates.iter().map(|_| Wanted::default()).collect();
    let manifest = candidates[chosen].manifest.get();
    let mut compiled: HashSet<&UnitName> = HashSet::new();
    for (unit, decision) in manifest.units.iter().zip(&surveys[chosen].decisions) {
        match decision.action {
            Action::Place => {
                wanted[chosen]
                    .objects
                    .extend(unit.outputs().map(|(object, _)| object));
                wanted[chosen].worth_ms += manifest.cost_ms(unit);
            }
            Action::Seed | Action::Leave => drop(compiled.insert(&unit.name)),
            Action::Keep => {}
        }
    }
    for one in offered {
        let manifest = candidates[one.from].manifest.get();
        let unit = &manifest.units[one.unit];
        if compiled.contains(&unit.name) {
            let objects = unit.session_objects().map(|(object, _)| object);
            wanted[one.from].objects.extend(objects);
            wanted[one.from].worth_ms += manifest.cost_ms(unit);
        }
    }
    wanted
}

/// Brings what is `wanted` and not here. What does not come is compiled.
pub(super) fn bring(
    far: &Far,
    candidates: &[Candidate],
    wanted: &[Wanted],
    store: &Store,
    reporter: &Reporter,
) -> anyhow::Result<()> {
    if far.is_empty() {
        return Ok(());
    }
    let staging = store.staging("fetch")?;
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    for (candidate, wanted) in candidates.iter().zip(wanted) {
        let manifest = candidate.manifest.get();
        let objects = lacking(manifest, store, wanted.objects.iter().copied());
        let index = store.index(candidate.point.manifest, manifest);
        if let (false, Some(index)) = (objects.is_empty(), index) {
            let worth = Duration::from_millis(wanted.worth_ms / cores);
            far.fetch(
                (manifest, &index),
                &objects,
                worth,
                (store, &staging),
                reporter,
            );
        }
    }
    Ok(())
}
