//! Decides what happens to each unit of a starting point. Pure: values in, values out.
//!
//! Rule: a unit is placed only together with everything that it was compiled against, since rustc refuses
//! two builds of one crate in one program (E0460).

use crate::engine::local::Present;
use crate::model::{Manifest, Reason};

/// What is decided for a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// What is done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Placed: cargo finds it fresh.
    Place,
    /// What is here stays: cargo finds it fresh.
    Keep,
    /// cargo compiles it, incrementally from the starting point's session or a newer one here.
    Seed,
    /// cargo compiles it from nothing, or decides itself.
    Leave,
}

impl Action {
    /// Returns the verdict that people and `--json` read.
    pub fn verdict(self) -> &'static str {
        match self {
            Action::Place => "fresh",
            Action::Keep => "kept",
            Action::Seed => "near",
            Action::Leave => "absent",
        }
    }
}

/// What the reader has of a unit.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The first thing of its own that differs.
    pub differs: Option<Reason>,
    /// What the target directory holds.
    pub present: Present,
    /// Whether that is byte for byte what the starting point holds; looked at only if it is fresh.
    pub identical: bool,
}

/// Returns a decision for each unit of `manifest`; `evidence` is in its order.
///
/// `same_settings`: whether the files that shape cargo's hashes are the builder's. If not, something here
/// with another fingerprint may be just what cargo wants, and stays.
pub fn plan(manifest: &Manifest, evidence: &[Evidence], same_settings: bool) -> Vec<Decision> {
    let offered = offered(manifest, evidence, same_settings);
    let placed = placed(manifest, evidence, &offered);
    let mut decisions: Vec<Decision> = Vec::with_capacity(evidence.len());
    for (at, offer) in offered.into_iter().enumerate() {
        let disturbed = manifest.units[at]
            .deps
            .iter()
            .map(|dep| *dep as usize)
            .find(|dep| !placed[at] && decisions[*dep].action != Action::Keep);
        let decision = match (placed[at], evidence[at].present, disturbed, offer) {
            (true, ..) => Decision {
                action: Action::Place,
                reason: Reason::InputsMatch,
            },
            (_, Present::Fresh, None, _) | (.., Ok(())) => Decision {
                action: Action::Keep,
                reason: Reason::AlreadyFresh,
            },
            (_, Present::Fresh, Some(dep), _) => {
                let reason = Reason::Dependency {
                    unit: manifest.units[dep].name.to_string(),
                };
                Decision {
                    action: built_again(manifest, at, &reason),
                    reason,
                }
            }
            (.., Err(reason)) => Decision {
                action: built_again(manifest, at, &reason),
                reason,
            },
        };
        decisions.push(decision);
    }
    decisions
}

/// Returns the estimated milliseconds that cargo compiles after `decisions`.
pub fn remaining_ms(manifest: &Manifest, decisions: &[Decision]) -> u64 {
    let dirty = |action| matches!(action, Action::Seed | Action::Leave);
    let units = manifest.units.iter().zip(decisions);
    units
        .filter(|(_, decision)| dirty(decision.action))
        .map(|(unit, _)| manifest.cost_ms(unit))
        .sum()
}

/// Whether each unit could be placed: nothing of its own differs, nor of what it depends on.
fn offered(
    manifest: &Manifest,
    evidence: &[Evidence],
    same_settings: bool,
) -> Vec<Result<(), Reason>> {
    let mut offered: Vec<Result<(), Reason>> = Vec::with_capacity(evidence.len());
    for (unit, seen) in manifest.units.iter().zip(evidence) {
        let dependency = unit
            .deps
            .iter()
            .map(|dep| *dep as usize)
            .find(|dep| offered[*dep].is_err());
        let verdict = match (&seen.differs, dependency) {
            (Some(reason), _) => Err(reason.clone()),
            (None, Some(dep)) => Err(Reason::Dependency {
                unit: manifest.units[dep].name.to_string(),
            }),
            (None, None) if seen.present == Present::Other && !same_settings => {
                Err(Reason::OtherSettings)
            }
            (None, None) => Ok(()),
        };
        offered.push(verdict);
    }
    offered
}

/// Whether each unit is placed: what is offered and not fresh here, and then, until nothing changes, what
/// those were compiled against unless the same bytes are here, and what depends on anything replaced.
fn placed(manifest: &Manifest, evidence: &[Evidence], offered: &[Result<(), Reason>]) -> Vec<bool> {
    let missing = |at: usize| offered[at].is_ok() && evidence[at].present != Present::Fresh;
    let mut placed: Vec<bool> = (0..evidence.len()).map(missing).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for at in (0..evidence.len())
            .rev()
            .filter(|at| placed[*at])
            .collect::<Vec<_>>()
        {
            for dep in manifest.units[at].deps.iter().map(|dep| *dep as usize) {
                let replace = !placed[dep] && !evidence[dep].identical;
                placed[dep] |= replace;
                changed |= replace;
            }
        }
        for at in 0..evidence.len() {
            let stale = manifest.units[at]
                .deps
                .iter()
                .any(|dep| placed[*dep as usize]);
            let replace = stale && !placed[at] && offered[at].is_ok();
            placed[at] |= replace;
            changed |= replace;
        }
    }
    placed
}

/// A unit that cargo builds again is near if a session of it can make that incremental.
fn built_again(manifest: &Manifest, at: usize, reason: &Reason) -> Action {
    match (reason, &manifest.units[at].session) {
        (Reason::NotLocked | Reason::Unproven | Reason::OtherSettings, _) | (_, None) => {
            Action::Leave
        }
        (_, Some(_)) => Action::Seed,
    }
}
