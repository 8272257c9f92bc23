//! What is seen here of a starting point's units, and what is decided for each.
//!
//! Looks, and changes nothing.

use std::cell::LazyCell;

use rayon::prelude::*;

use crate::engine::build::build_paths;
use crate::engine::observe::{Observed, Reader};
use crate::engine::plan::{self, Evidence};
use crate::engine::{Decision, Inspector, Present, beside};
use crate::model::{Digest, Finder, Manifest, Reason, Source};
use crate::trust::Verified;

/// A starting point, and what is known of each of its units, in its order.
#[derive(Debug)]
pub struct Survey<'a> {
    /// The manifest's name.
    pub name: Digest,
    /// The starting point.
    pub manifest: &'a Verified<Manifest>,
    /// What differs here.
    pub observed: Vec<Observed>,
    /// What the target directory holds.
    pub evidence: Vec<Evidence>,
    /// Whether the settings that shape cargo's hashes are the builder's.
    pub same_settings: bool,
    /// What is to be done.
    pub decisions: Vec<Decision>,
}

impl Survey<'_> {
    /// Looks at everything here that `manifest`, called `name`, knows of, and decides.
    pub fn of<'a>(
        (name, manifest): (Digest, &'a Verified<Manifest>),
        reader: &mut Reader<'_>,
        inspector: &Inspector<'_>,
    ) -> Survey<'a> {
        let all = manifest.get();
        let observed = reader.observe(all);
        let same_settings = reader.same_settings(all);
        let evidence = inspector.evidence(all, &observed);
        Survey {
            name,
            manifest,
            decisions: plan::plan(all, &evidence, same_settings),
            observed,
            evidence,
            same_settings,
        }
    }
}

impl Inspector<'_> {
    /// Looks at what the target directory holds of each unit.
    fn evidence(&self, manifest: &Manifest, observed: &[Observed]) -> Vec<Evidence> {
        let mut states = Vec::with_capacity(observed.len());
        for (unit, seen) in manifest.units.iter().zip(observed) {
            let deps: Vec<_> = plan::deps(unit).map(|dep| states[dep]).collect();
            states.push(self.state(unit, &seen.fingerprint, &manifest.package(unit).dir, &deps));
        }
        let fresh = |at: usize| states[at].present == Present::Fresh;
        let all_fresh = (0..states.len()).all(fresh);
        let theirs = Finder::new(&manifest.roots);
        let compared = |at: usize| !all_fresh && fresh(at);
        let same = |(at, unit)| compared(at) && self.is_identical(unit, &theirs);
        let identical: Vec<bool> = manifest.units.par_iter().enumerate().map(same).collect();
        let one = |at: usize| Evidence {
            differs: observed[at].differs.clone(),
            present: states[at].present,
            identical: identical[at],
        };
        let mut evidence: Vec<Evidence> = (0..observed.len()).map(one).collect();
        let infos = manifest.units.iter();
        let infos = infos.filter_map(|unit| unit.dep_info.as_ref());
        // Where nothing is compared, which is usual, nobody asks.
        let read = LazyCell::new(|| infos.flat_map(build_paths).collect());
        let contradicts =
            |at: &usize| compared(*at) && self.contradicts(&manifest.units[*at], &read, &theirs);
        for run in (0..observed.len()).filter(contradicts) {
            let reason = || Reason::OtherAnswer(manifest.units[run].name.to_string());
            for (at, unit) in manifest.units.iter().enumerate().skip(run) {
                if at == run || plan::deps(unit).any(|dep| dep == run) {
                    evidence[at].differs.get_or_insert_with(reason);
                }
            }
        }
        for (at, unit) in manifest.units.iter().enumerate() {
            let Evidence {
                differs, present, ..
            } = &mut evidence[at];
            let ran = unit.name.runs_script() && matches!(present, Present::Stale | Present::Other);
            let package = manifest.package(unit);
            // What differs runs again in any case, and git need not be asked.
            if ran && differs.is_none() && package.source == Source::Path {
                let left = beside::left_in(&self.roots.resolve(&package.dir), unit, self.build);
                *differs = left.map(|path| Reason::LeftHere(self.roots.locate(&path).shown()));
            }
        }
        evidence
    }
}
