//! A manifest in the making: units are added, and every table holds each value once.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::engine::inputs;
use crate::engine::local::{Inspector, Present, State};
use crate::engine::plan::deps as deps_of;
use crate::engine::publish::{Build, Candidate};
use crate::engine::record::{LeftOut, Recorded};
use crate::model::epoch::SECONDS_A_DAY;
use crate::model::manifest::Package;
use crate::model::session::Located;
use crate::model::{Input, Manifest, Unit};

/// A manifest in the making.
#[derive(Default)]
pub(super) struct Assembly<'a> {
    /// Looks whether cargo would find a unit fresh, where it was not asked.
    judge: Option<&'a Inspector<'a>>,
    states: Vec<State>,
    packages: Table<Package>,
    inputs: Table<Input>,
    located: Table<Located>,
    units: Vec<Unit>,
    by_hash: BTreeMap<u64, Vec<u32>>,
}

/// Values by their positions in a table.
type Table<T> = HashMap<T, u32>;

impl<'a> Assembly<'a> {
    /// Returns an empty one. With `judge`, a unit that cargo would build again is left out.
    pub(super) fn judged(judge: Option<&'a Inspector<'a>>) -> Assembly<'a> {
        Assembly {
            judge,
            ..Assembly::default()
        }
    }

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

    pub(super) fn manifest(self, build: &Build<'_>) -> Manifest {
        Manifest {
            repository: build.repository.clone(),
            commit: build.commit.clone(),
            tree: build.tree.clone(),
            dirty: build.dirty,
            published_unix_s: build.now_unix_s,
            not_after_unix_s: build.now_unix_s + i64::from(build.keep_days) * SECONDS_A_DAY,
            toolchain: build.toolchain.clone(),
            commands: build.commands.clone(),
            part: build.part.clone(),
            roots: build.roots.clone(),
            settings: inputs::settings(&build.workspace.settings(), build.roots),
            packages: in_order(self.packages),
            inputs: in_order(self.inputs),
            located: in_order(self.located),
            units: self.units,
        }
    }
}

/// Returns the position of `value`, which is added to `table` if it is not there yet.
fn enter<T: Eq + Hash>(table: &mut Table<T>, value: T) -> u32 {
    let next = u32::try_from(table.len()).expect("fewer than 2^32 entries");
    *table.entry(value).or_insert(next)
}

fn in_order<T>(table: Table<T>) -> Vec<T> {
    let mut all: Vec<(T, u32)> = table.into_iter().collect();
    all.sort_unstable_by_key(|(_, position)| *position);
    all.into_iter().map(|(value, _)| value).collect()
}
