//! Decides what happens to each unit of a starting point. Pure: values in, values out.
//!
//! Rule: a unit is placed only together with everything that it was compiled against, since rustc refuses
//! two builds of one crate in one program (E0460).

use crate::engine::Present;
use crate::model::{Manifest, Reason, Unit};

/// What is decided for a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// What is done with a unit; shown as the verdict that people and `--json` read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Action {
    /// Placed: cargo finds it fresh.
    #[error("fresh")]
    Place,
    /// What is here stays: cargo finds it fresh.
    #[error("kept")]
    Keep,
    /// cargo compiles it, incrementally from the starting point's session or a newer one here.
    #[error("near")]
    Seed,
    /// cargo compiles it from nothing, or decides itself.
    #[error("absent")]
    Leave,
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
    let mut offered = offered(manifest, evidence, same_settings);
    let mut placed = placed(manifest, evidence, &offered);
    if loses_local_work(manifest, evidence, &placed) {
        on_what_is_here(manifest, evidence, &mut offered);
        placed = self::placed(manifest, evidence, &offered);
    }
    let mut decisions: Vec<Decision> = Vec::with_capacity(evidence.len());
    for (at, offer) in offered.into_iter().enumerate() {
        let changes = |dep: &usize| decisions[*dep].action != Action::Keep;
        let disturbed = deps(&manifest.units[at]).find(|dep| !placed[at] && changes(dep));
        let built_again = |reason| (built_again(manifest, at, &reason), reason);
        let (action, reason) = match (placed[at], evidence[at].present, disturbed, offer) {
            (true, ..) => (Action::Place, Reason::InputsMatch),
            (_, Present::Fresh, None, _) | (.., Ok(())) => (Action::Keep, Reason::AlreadyFresh),
            (_, Present::Fresh, Some(dep), _) => built_again(dependency(manifest, dep)),
            (.., Err(reason)) => built_again(reason),
        };
        decisions.push(Decision { action, reason });
    }
    decisions
}

/// Returns the positions of what `unit` depends on.
pub(super) fn deps(unit: &Unit) -> impl Iterator<Item = usize> + Clone + '_ {
    unit.deps.iter().map(|dep| *dep as usize)
}

/// Returns the reason of a unit that depends on the one at `dep`, which is built again.
pub(super) fn dependency(manifest: &Manifest, dep: usize) -> Reason {
    Reason::Dependency(manifest.units[dep].name.to_string())
}

/// Returns the estimated milliseconds that cargo compiles after `decisions`, by what `cost_ms` says of a unit.
pub fn remaining_ms(
    manifest: &Manifest,
    decisions: &[Decision],
    cost_ms: impl Fn(&Unit) -> u64,
) -> u64 {
    let units = manifest.units.iter().zip(decisions);
    let costs = units.map(|(unit, decision)| match decision.action {
        Action::Place | Action::Keep => 0,
        Action::Seed | Action::Leave => cost_ms(unit),
    });
    costs.sum()
}

/// Returns the position of the starting point to take, of which `remaining_ms` stand nearest first.
///
/// A farther one must save a fifth of the nearest's: compile times vary from build to build.
pub fn nearest(remaining_ms: &[u64]) -> usize {
    let all = 0..remaining_ms.len();
    let least = all.min_by_key(|at| remaining_ms[*at]).unwrap_or(0);
    match remaining_ms.first() {
        Some(first) if remaining_ms[least] < first - first / 5 => least,
        _ => 0,
    }
}

/// Whether a unit could be placed, or why not.
type Offer = Result<(), Reason>;

/// Whether each unit could be placed: nothing of its own differs, nor of what it depends on.
fn offered(manifest: &Manifest, evidence: &[Evidence], same_settings: bool) -> Vec<Offer> {
    let mut offered: Vec<Offer> = Vec::with_capacity(evidence.len());
    for (unit, seen) in manifest.units.iter().zip(evidence) {
        let below = deps(unit).find(|dep| offered[*dep].is_err());
        let other = seen.present == Present::Other && !same_settings;
        offered.push(match (&seen.differs, below) {
            (Some(reason), _) => Err(reason.clone()),
            (None, Some(dep)) => Err(dependency(manifest, dep)),
            (None, None) if other => Err(Reason::OtherSettings),
            (None, None) => Ok(()),
        });
    }
    offered
}

/// Tells whether placing would replace something fresh below a unit that is here and stays to be compiled:
/// cargo would build that again against other dependencies, and its own session would be worth little.
fn loses_local_work(manifest: &Manifest, evidence: &[Evidence], placed: &[bool]) -> bool {
    let replaces = (0..placed.len()).any(|at| placed[at] && evidence[at].present == Present::Fresh);
    let mut above = vec![false; placed.len()];
    for (at, unit) in manifest.units.iter().enumerate() {
        above[at] = deps(unit).any(|dep| placed[dep] || above[dep]);
    }
    let is_here = |at: usize| matches!(evidence[at].present, Present::Fresh | Present::Stale);
    replaces && (0..placed.len()).any(|at| !placed[at] && above[at] && is_here(at))
}

/// Takes the offer back from every unit that was compiled against other bytes than are fresh here.
fn on_what_is_here(manifest: &Manifest, evidence: &[Evidence], offered: &mut [Offer]) {
    let other = |dep: &usize| evidence[*dep].present == Present::Fresh && !evidence[*dep].identical;
    for (at, unit) in manifest.units.iter().enumerate() {
        let reason = if let Some(dep) = deps(unit).find(other) {
            Some(Reason::OtherBuild(manifest.units[dep].name.to_string()))
        } else {
            let again = deps(unit).find(|dep| offered[*dep].is_err());
            again.map(|dep| dependency(manifest, dep))
        };
        if let (Ok(()), Some(reason)) = (&offered[at], reason) {
            offered[at] = Err(reason);
        }
    }
}

/// Whether each unit is placed: what is offered and not fresh here, and then, until nothing changes, what
/// those were compiled against unless the same bytes are here, and what depends on anything replaced.
fn placed(manifest: &Manifest, evidence: &[Evidence], offered: &[Offer]) -> Vec<bool> {
    let missing = |at: usize| offered[at].is_ok() && evidence[at].present != Present::Fresh;
    let mut placed: Vec<bool> = (0..evidence.len()).map(missing).collect();
    let mut changed = true;
    while std::mem::take(&mut changed) {
        let all = (0..evidence.len()).rev().filter(|at| placed[*at]);
        for at in all.collect::<Vec<_>>() {
            for dep in deps(&manifest.units[at]) {
                let replace = !placed[dep] && !evidence[dep].identical;
                placed[dep] |= replace;
                changed |= replace;
            }
        }
        for (at, unit) in manifest.units.iter().enumerate() {
            let stale = deps(unit).any(|dep| placed[dep]);
            let replace = stale && !placed[at] && offered[at].is_ok();
            placed[at] |= replace;
            changed |= replace;
        }
    }
    placed
}

/// A unit that cargo builds again is near if a session of it can make that incremental.
pub(super) fn built_again(manifest: &Manifest, at: usize, reason: &Reason) -> Action {
    match (reason, &manifest.units[at].session) {
        (Reason::Unproven | Reason::OtherSettings, _) | (_, None) => Action::Leave,
        (_, Some(_)) => Action::Seed,
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Evidence, nearest, plan, remaining_ms};
    use crate::engine::local::Present;
    use crate::model::manifest::{Manifest, Toolchain};
    use crate::model::session::Session;
    use crate::model::unit::{Unit, UnitName};
    use crate::model::{Fingerprint, Reason, Roots};
    use std::path::Path;

    /// A chain `a ← b ← c` and a loner `d`; each has a session.
    fn manifest() -> Manifest {
        let unit = |name: &str, deps: &[u32]| Unit {
            name: UnitName {
                profile_dir: "debug".into(),
                dir: format!("{name}-0"),
                stem: format!("lib-{name}"),
            },
            package: 0,
            deps: deps.to_vec(),
            fingerprint: fingerprint(),
            absolute_source: None,
            dep_info: None,
            inputs: Vec::new(),
            files: Vec::new(),
            pinned: Vec::new(),
            compiled: None,
            session: Some(Session {
                crate_dir: name.into(),
                name: "r-h".into(),
                files: Vec::new(),
                sites: Vec::new(),
            }),
        };
        Manifest {
            commit: "c".into(),
            dirty: false,
            repository: String::new(),
            tree: String::new(),
            not_after_unix_s: 0,
            published_unix_s: 0,
            toolchain: Toolchain {
                rustc: "rustc 1".into(),
                cargo: "cargo 1".into(),
            },
            commands: Vec::new(),
            part: crate::model::Part::default(),
            roots: Roots::new(Path::new("/w"), Path::new("/w/t"), Path::new("/c")),
            settings: Vec::new(),
            packages: Vec::new(),
            inputs: Vec::new(),
            located: Vec::new(),
            units: vec![
                unit("a", &[]),
                unit("b", &[0]),
                unit("c", &[1]),
                unit("d", &[]),
            ],
        }
    }

    fn fingerprint() -> Fingerprint {
        Fingerprint {
            rustc: 1,
            features: String::new(),
            declared_features: String::new(),
            target: 0,
            profile: 0,
            path: 0,
            deps: Vec::new(),
            local: Vec::new(),
            rustflags: Vec::new(),
            config: 0,
            compile_kind: 0,
        }
    }

    fn same(present: Present, identical: bool) -> Evidence {
        Evidence {
            differs: None,
            present,
            identical,
        }
    }

    fn changed(present: Present) -> Evidence {
        let differs = Some(Reason::Changed("src/lib.rs".into()));
        Evidence {
            differs,
            present,
            identical: false,
        }
    }

    #[track_caller]
    fn check(evidence: [Evidence; 4], same_settings: bool, expected: [Action; 4]) {
        let decisions = plan(&manifest(), &evidence, same_settings);
        let actions: Vec<Action> = decisions.iter().map(|one| one.action).collect();
        assert_eq!(actions, expected);
    }

    /// The whole point: an empty target directory and unchanged sources need no rustc.
    #[test]
    fn what_is_the_same_is_placed() {
        let nothing = || same(Present::Nothing, false);
        check(
            [nothing(), nothing(), nothing(), nothing()],
            true,
            [Action::Place; 4],
        );
    }

    /// A dependent of a changed unit, placed, would run code compiled against the old one.
    #[test]
    fn what_depends_on_a_change_is_built_again() {
        let nothing = || same(Present::Nothing, false);
        check(
            [nothing(), changed(Present::Nothing), nothing(), nothing()],
            true,
            [Action::Place, Action::Seed, Action::Seed, Action::Place],
        );
    }

    /// A user whose build is fresh must not have it replaced.
    #[test]
    fn nothing_is_touched_where_all_is_fresh() {
        let fresh = || same(Present::Fresh, false);
        check(
            [fresh(), fresh(), fresh(), fresh()],
            true,
            [Action::Keep; 4],
        );
    }

    /// `c` placed against the builder's `b` over a locally built `b` does not link (E0460); so `b` and what
    /// it was compiled against come along, unless the bytes are the same anyway.
    #[test]
    fn what_is_placed_brings_what_it_was_compiled_against() {
        let fresh = |identical| same(Present::Fresh, identical);
        let stale = || same(Present::Stale, false);
        check(
            [fresh(false), fresh(false), stale(), fresh(false)],
            true,
            [Action::Place, Action::Place, Action::Place, Action::Keep],
        );
        check(
            [fresh(true), fresh(true), stale(), fresh(false)],
            true,
            [Action::Keep, Action::Keep, Action::Place, Action::Keep],
        );
    }

    /// Where a unit is pinned, replacing what lies below it would cost more than it saves: it is here, and
    /// plain cargo compiles it incrementally.
    #[test]
    fn nothing_fresh_is_replaced_below_what_stays_to_be_compiled() {
        let evidence = [
            same(Present::Fresh, false),
            same(Present::Stale, false),
            changed(Present::Stale),
            same(Present::Fresh, true),
        ];
        check(
            evidence,
            true,
            [Action::Keep, Action::Seed, Action::Seed, Action::Keep],
        );
    }

    /// Newer local work stays, and so does all that was built on it.
    #[test]
    fn newer_local_work_is_kept() {
        check(
            [
                same(Present::Fresh, true),
                changed(Present::Fresh),
                changed(Present::Fresh),
                same(Present::Nothing, false),
            ],
            true,
            [Action::Keep, Action::Keep, Action::Keep, Action::Place],
        );
    }

    /// A locally fresh unit over a replaced dependency is stale for cargo; calling it kept would be a lie.
    #[test]
    fn a_unit_over_a_replaced_one_is_not_kept() {
        let evidence = [
            same(Present::Stale, false),
            changed(Present::Fresh),
            changed(Present::Fresh),
            same(Present::Fresh, true),
        ];
        check(
            evidence,
            true,
            [Action::Place, Action::Seed, Action::Seed, Action::Keep],
        );
    }

    /// With other lints or profiles in `Cargo.toml`, what is here may be what cargo wants.
    #[test]
    fn other_settings_leave_what_is_here_alone() {
        let other = || same(Present::Other, false);
        let nothing = || same(Present::Nothing, false);
        check(
            [other(), nothing(), nothing(), nothing()],
            false,
            [Action::Leave, Action::Seed, Action::Seed, Action::Place],
        );
        check(
            [other(), nothing(), nothing(), nothing()],
            true,
            [Action::Place; 4],
        );
    }

    /// The estimate that picks among starting points counts what cargo compiles, and nothing else.
    #[test]
    fn the_estimate_counts_what_is_compiled() {
        let manifest = manifest();
        let nothing = || same(Present::Nothing, false);
        let evidence = [nothing(), nothing(), changed(Present::Nothing), nothing()];
        let decisions = plan(&manifest, &evidence, true);
        let cost = |unit: &Unit| if unit.name.stem == "lib-c" { 7 } else { 100 };
        assert_eq!(remaining_ms(&manifest, &decisions, cost), 7);
    }

    /// A builder that was busy for a moment must not send readers to an older commit.
    #[test]
    fn a_farther_starting_point_must_be_clearly_better() {
        assert_eq!(nearest(&[100, 90, 95]), 0);
        assert_eq!(nearest(&[100, 90, 20]), 2);
        assert_eq!(nearest(&[0, 0]), 0);
        assert_eq!(nearest(&[]), 0);
    }
}
