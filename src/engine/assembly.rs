//! A manifest in the making: units are added, and every table holds each value once.

use std::collections::BTreeMap;
use std::hash::Hash;

use indexmap::IndexSet;

use crate::engine::build::{Candidate, LeftOut, build_paths, is_out_dir};
use crate::engine::local::State;
use crate::engine::plan::deps as deps_of;
use crate::engine::record::Recorded;
use crate::engine::{Build, Inspector, Present, inputs};
use crate::model::{Input, Located, Manifest, Package, Pin, Unit};

/// A manifest in the making.
#[derive(Default)]
pub(super) struct Assembly<'a> {
    /// Looks whether cargo would find a unit fresh, where it was not asked: one that it would build again is left out.
    pub(super) judge: Option<&'a Inspector<'a>>,
    states: Vec<State>,
    packages: IndexSet<Package>,
    inputs: IndexSet<Input>,
    located: IndexSet<Located>,
    units: Vec<Unit>,
    by_hash: BTreeMap<u64, Vec<u32>>,
}

impl Assembly<'_> {
    pub(super) fn add(
        &mut self,
        candidate: &Candidate,
        recorded: Recorded,
        inputs: Vec<Input>,
    ) -> Result<(), LeftOut> {
        let (mut unit, located) = (recorded.unit, recorded.located);
        for dep in &unit.fingerprint.deps {
            let units = self.by_hash.get(&dep.3);
            let lost = || LeftOut::Dependency(dep.1.clone());
            unit.deps.extend(units.ok_or_else(lost)?);
        }
        unit.deps.sort_unstable();
        unit.deps.dedup();
        self.pin_scripts(candidate, &unit);
        if let Some(judge) = self.judge {
            let deps: Vec<State> = deps_of(&unit).map(|at| self.states[at]).collect();
            let state = judge.state(&unit, &unit.fingerprint, &candidate.package.dir, &deps);
            if state.present != Present::Fresh {
                return Err(LeftOut::Stale);
            }
            self.states.push(state);
        }
        let position = u32::try_from(self.units.len()).expect("fewer than 2^32 units");
        let same_hash = self.by_hash.entry(unit.fingerprint.hash());
        same_hash.or_default().push(position);
        let input = |input| enter(&mut self.inputs, input);
        unit.inputs = inputs.into_iter().map(input).collect();
        unit.package = enter(&mut self.packages, candidate.package.clone());
        for site in unit.session.iter_mut().flat_map(|one| &mut one.sites) {
            let located = located[site.located as usize].clone();
            site.located = enter(&mut self.located, located);
        }
        self.units.push(unit);
        Ok(())
    }

    /// Pins what ran the scripts of `unit` where that is pinned by more than its variables and includes what they wrote: they may have
    /// written the place in a form that is not seen.
    fn pin_scripts(&mut self, candidate: &Candidate, unit: &Unit) {
        let mut paths = candidate.dep_info.iter().flat_map(build_paths);
        if !paths.any(is_out_dir) {
            return;
        }
        let seen = |pin: &&Pin| !pin.seen_in.starts_with("env!(");
        let pins: Vec<Pin> = unit.pinned.iter().filter(seen).cloned().collect();
        for at in deps_of(unit) {
            if self.units[at].name.runs_script() {
                self.units[at].pinned.extend(pins.clone());
            }
        }
    }

    pub(super) fn manifest(self, build: &Build<'_>) -> Manifest {
        let settings = build.workspace.settings().into_iter();
        let settings = settings.map(|file| inputs::watched(build.roots.locate(&file), build.roots));
        Manifest {
            settings: settings.collect(),
            packages: self.packages.into_iter().collect(),
            inputs: self.inputs.into_iter().collect(),
            located: self.located.into_iter().collect(),
            units: self.units,
            ..build.manifest.clone()
        }
    }
}

/// Returns the position of `value`, which is added to `table` if it is not there yet.
fn enter<T: Eq + Hash>(table: &mut IndexSet<T>, value: T) -> u32 {
    u32::try_from(table.insert_full(value).0).expect("fewer than 2^32 entries")
}
