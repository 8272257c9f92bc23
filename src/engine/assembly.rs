//! A manifest in the making: units are added, and every table holds each value once.

use std::collections::{BTreeMap, HashMap};

use crate::engine::inputs;
use crate::engine::local::{Inspector, Present, State};
use crate::engine::publish::{Build, Candidate};
use crate::engine::record::{LeftOut, Recorded, Sited};
use crate::model::epoch::SECONDS_A_DAY;
use crate::model::manifest::Package;
use crate::model::session::Located;
use crate::model::{Input, Manifest, Session, Unit};

/// A manifest in the making.
#[derive(Default)]
pub(super) struct Assembly<'a> {
    /// Looks whether cargo would find a unit fresh, where it was not asked.
    judge: Option<&'a Inspector<'a>>,
    states: Vec<State>,
    packages: Vec<Package>,
    inputs: Vec<Input>,
    input_positions: HashMap<Input, u32>,
    package_positions: HashMap<Package, u32>,
    units: Vec<Unit>,
    located: Vec<Located>,
    located_positions: HashMap<Located, u32>,
    by_hash: BTreeMap<u64, Vec<u32>>,
}

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
        let mut deps = Vec::new();
        for dep in &recorded.fingerprint.deps {
            let units = self
                .by_hash
                .get(&dep.3)
                .ok_or_else(|| LeftOut::Dependency(dep.1.clone()))?;
            deps.extend(units);
        }
        deps.sort_unstable();
        deps.dedup();
        let mut unit = Unit {
            name: recorded.name,
            package: 0,
            deps,
            fingerprint: recorded.fingerprint,
            absolute_source: recorded.absolute_source,
            dep_info: recorded.dep_info,
            inputs: Vec::new(),
            files: recorded.files,
            pinned: recorded.pinned,
            compiled: recorded.compiled,
            session: None,
        };
        if let Some(judge) = self.judge {
            let deps: Vec<State> = unit
                .deps
                .iter()
                .map(|at| self.states[*at as usize])
                .collect();
            let state = judge.state(&unit, &unit.fingerprint, &candidate.package.dir, &deps);
            if state.present != Present::Fresh {
                return Err(LeftOut::Stale);
            }
            self.states.push(state);
        }
        let position = u32::try_from(self.units.len()).expect("fewer than 2^32 units");
        self.by_hash
            .entry(unit.fingerprint.hash())
            .or_default()
            .push(position);
        unit.inputs = inputs.into_iter().map(|input| self.input(input)).collect();
        unit.package = self.package(&candidate.package);
        unit.session = recorded.session.map(|sited| self.session(sited));
        self.units.push(unit);
        Ok(())
    }

    fn input(&mut self, input: Input) -> u32 {
        let inputs = &mut self.inputs;
        *self
            .input_positions
            .entry(input)
            .or_insert_with_key(|input| push(inputs, input))
    }

    fn session(
        &mut self,
        Sited {
            mut session,
            located,
        }: Sited,
    ) -> Session {
        let table = &mut self.located;
        for site in &mut session.sites {
            let located = located[site.located as usize].clone();
            site.located = *self
                .located_positions
                .entry(located)
                .or_insert_with_key(|located| push(table, located));
        }
        session
    }

    fn package(&mut self, package: &Package) -> u32 {
        let packages = &mut self.packages;
        *self
            .package_positions
            .entry(package.clone())
            .or_insert_with_key(|package| push(packages, package))
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
            packages: self.packages,
            inputs: self.inputs,
            located: self.located,
            units: self.units,
        }
    }
}

fn push<T: Clone>(table: &mut Vec<T>, value: &T) -> u32 {
    table.push(value.clone());
    u32::try_from(table.len() - 1).expect("fewer than 2^32 entries")
}
