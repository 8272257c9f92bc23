//! `headstart start`: find the nearest starting point, decide, place, and say so.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{ExitCode, Stdio};

use jiff::Timestamp;
use serde_json::json;

use super::bootstrap::{self, Checkout};
use super::bring;
use super::cli::StartArgs;
use super::failure::{self, Failure};
use super::gc;
use super::search::Search;
use super::setup::{Clock, Setup, print_json, print_line, short, wrapped};
use super::sources::Sources;
use crate::cargo::command::{self as cargo, CargoCommand, Messages, Run};
use crate::config::Environment;
use crate::engine::hold::{self, Held};
use crate::engine::ledger::{Decision as Noted, Ledger, ReasonText, Started};
use crate::engine::local::Inspector;
use crate::engine::observe::{self, Digests, Observed, Reader};
use crate::engine::offer::{self, Offered, Surveyed};
use crate::engine::plan::{self, Action, Decision, Evidence};
use crate::engine::relocate::Places;
use crate::engine::restore::{Decided, Restored};
use crate::model::{Manifest, Reason, Unit, UnitName};
use crate::report::{Reporter, bytes, count};
use crate::store::Store;
use crate::store::point::Point;
use crate::trust::{Believed, Verified};

/// How many reasons are shown without `--json`.
const SHOWN_REASONS: usize = 5;

/// A starting point that could serve.
pub(super) struct Candidate {
    pub(super) point: Point,
    pub(super) manifest: Verified<Manifest>,
}

/// What is seen here of a starting point's units, and what would be done with them.
pub(super) struct Survey {
    observed: Vec<Observed>,
    evidence: Vec<Evidence>,
    pub(super) decisions: Vec<Decision>,
}

/// What a start did.
#[derive(Debug)]
pub struct Outcome {
    /// The starting point.
    pub point: Point,
    /// How many commits it lies behind; none where git could not say.
    pub behind: Option<usize>,
    /// Each unit's decision.
    pub decisions: Vec<Noted>,
    /// What was placed.
    pub restored: Restored,
    /// For how many units there is a session to begin from.
    pub seeds: usize,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}

/// Runs the command, and returns its exit code.
pub fn run(
    args: &StartArgs,
    environment: &Environment,
    now: Timestamp,
) -> anyhow::Result<ExitCode> {
    let reporter = Reporter::new(args.store.quiet);
    let commands = CargoCommand::split(&args.cargo);
    let goes_on = !args.cargo.is_empty() && !args.dry_run;
    let checkout = match args.cargo.is_empty() {
        true => Checkout::of(environment),
        false => Checkout::running(&commands[0], environment),
    };
    let started = match &checkout {
        Some(checkout) => bootstrap::start(checkout, args, environment, now, &reporter),
        None => start_here(args, environment, &commands[0], now, &reporter),
    };
    match started {
        Ok(outcome) => report(args, &outcome, checkout.is_some(), now)?,
        // Nothing of ours fails a build: cargo runs all the same.
        Err(error) if goes_on => drop(failure::print(&error)),
        Err(error) => return Err(error),
    }
    if !goes_on {
        return Ok(ExitCode::SUCCESS);
    }
    let variables = wrapped(environment);
    let how = Run {
        dir: environment.dir(),
        env: &variables,
        messages: Messages::Shown,
    };
    for command in &commands {
        if let Some((program, x_args)) = checkout.as_ref().and_then(|one| one.x(command)) {
            // What it says is no part of our answer.
            let stdout = match args.store.json {
                true => std::io::stderr().into(),
                false => Stdio::inherit(),
            };
            cargo::run_other(&program, x_args, how, stdout)?;
            continue;
        }
        let code = cargo::run_plainly(command, how)?;
        if code != 0 {
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(101)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts the workspace that `command` builds.
fn start_here(
    args: &StartArgs,
    environment: &Environment,
    command: &CargoCommand,
    now: Timestamp,
    reporter: &Reporter,
) -> anyhow::Result<Result<Vec<Outcome>, String>> {
    let setup = Setup::of(command, environment, args.target_dir.as_deref())?;
    let outcome = start(args, environment, &setup, now, reporter);
    if !args.dry_run {
        gc::by_itself(environment, &args.store, setup.configured(), reporter, now);
    }
    Ok(outcome?.map(|outcome| vec![outcome]))
}

/// Says what was done; fails only if a starting point was required.
fn report(
    args: &StartArgs,
    outcomes: &Result<Vec<Outcome>, String>,
    in_parts: bool,
    now: Timestamp,
) -> anyhow::Result<()> {
    match (outcomes.as_deref(), args.store.json) {
        (Ok([outcome]), true) if !in_parts => print_json(&as_json(outcome)),
        (Ok(parts), true) => print_json(&json!({
            "parts": parts.iter().map(as_json).collect::<Vec<_>>(),
        })),
        (Err(why), true) => print_json(&json!({ "commit": null, "why": why })),
        (_, false) if args.store.quiet => {}
        (Ok(outcomes), false) => {
            for outcome in outcomes {
                print(outcome, args.dry_run, now);
            }
        }
        (Err(why), false) => print_line(&format!(
            "no starting point: {why}\ncargo will build from nothing"
        )),
    }
    match (outcomes, args.required) {
        (Err(why), true) => {
            let what = format!("no starting point: {why}");
            Err(Failure::new(what, "leave --required out to go on").into())
        }
        _ => Ok(()),
    }
}

/// Starts, or says in a sentence why there is no starting point.
pub fn start(
    args: &StartArgs,
    environment: &Environment,
    setup: &Setup,
    now: Timestamp,
    reporter: &Reporter,
) -> anyhow::Result<Result<Outcome, String>> {
    let sources = match Sources::open(args, environment, setup, now.as_second(), reporter)? {
        Ok(sources) => sources,
        Err(why) => return Ok(Err(why)),
    };
    start_from(&sources, args, environment, setup, now, reporter)
}

/// Starts from what `sources` have.
pub(super) fn start_from(
    sources: &Sources,
    args: &StartArgs,
    environment: &Environment,
    setup: &Setup,
    now: Timestamp,
    reporter: &Reporter,
) -> anyhow::Result<Result<Outcome, String>> {
    let clock = Clock::start();
    let Sources {
        store,
        far,
        listed,
        believed,
    } = sources;
    let search = Search::of(sources, args, environment, setup, reporter);
    let mut points = match search.points()? {
        Ok(points) => points,
        Err(why) => return Ok(Err(why)),
    };
    far.adopt_all(&mut points, listed, store, reporter, now.as_second());
    let candidates = candidates(points, store, believed, reporter, now.as_second());
    if candidates.is_empty() {
        return Ok(Err("none of the manifests can be used".to_owned()));
    }
    let mut starter = Starter::new(&search, &candidates)?;
    let surveys: Vec<Survey> = candidates
        .iter()
        .map(|one| starter.survey(one.manifest.get()))
        .collect();
    let offered = starter.offer(&candidates, &surveys)?;
    let chosen = nearest(&candidates, &surveys);
    if starter.held.is_some() {
        let wanted = bring::wanted(&candidates, &surveys, chosen, &offered);
        bring::bring(far, &candidates, &wanted, store, reporter)?;
        if !far.is_empty() {
            bring::rest_later(environment, args, store, &candidates[chosen]);
        }
    }
    let commit = candidates[chosen].point.commit.clone();
    let mut outcome = starter.place(&candidates[chosen], surveys.into_iter().nth(chosen), now)?;
    outcome.seeds = offered.len();
    let others = candidates
        .iter()
        .enumerate()
        .filter(|(at, one)| *at != chosen && one.point.commit == commit);
    for (_, other) in others {
        if let Some(held) = &mut starter.held {
            held.later();
        }
        merge(&mut outcome, starter.place(other, None, now)?);
    }
    outcome.behind = search.behind(&commit);
    outcome.seconds = clock.elapsed().as_secs_f64();
    Ok(Ok(outcome))
}

/// Returns those of `points` whose manifests can be used; they are not collected meanwhile.
fn candidates(
    points: Vec<Point>,
    store: &Store,
    believed: &Believed,
    reporter: &Reporter,
    now_unix_s: i64,
) -> Vec<Candidate> {
    let read = |point| candidate(point, store, believed, now_unix_s);
    let warned = |read: Result<Candidate, String>| read.map_err(|why| reporter.warn(&why)).ok();
    points.into_iter().map(read).filter_map(warned).collect()
}

/// Returns the starting point of `point`, or why it cannot be used.
pub(super) fn candidate(
    point: Point,
    store: &Store,
    believed: &Believed,
    now_unix_s: i64,
) -> Result<Candidate, String> {
    if point.not_after_unix_s >= now_unix_s {
        // Noted first: what is read afterwards was not on its way out.
        store.note_use(point.manifest);
    }
    let name = point.manifest.short();
    match store.manifest(point.manifest) {
        Ok(manifest) if manifest.toolchain != point.toolchain => Err(format!(
            "manifest {name} is of another toolchain than its point says"
        )),
        Ok(manifest)
            if manifest.commit != point.commit
                || manifest.dirty != point.dirty
                || manifest.part != point.part =>
        {
            Err(format!("manifest {name} is not what its point says"))
        }
        Ok(manifest) if manifest.not_after_unix_s < now_unix_s => {
            let commit = short(&point.commit);
            Err(format!("the starting point {commit} has expired"))
        }
        Ok(manifest) => Ok(Candidate {
            manifest: believed.vouch(manifest),
            point,
        }),
        Err(error) => Err(error.to_string()),
    }
}

/// Decides and places; what was read of the reader's files is kept from one starting point to the next.
struct Starter<'a> {
    search: &'a Search<'a>,
    held: Option<Held>,
    digests: Digests,
    inspector: Inspector<'a>,
    set_by_cargo: BTreeSet<String>,
    locked: Option<crate::cargo::package::Locked>,
}

impl<'a> Starter<'a> {
    /// Takes cargo's locks, before any file is compared.
    fn new(search: &'a Search<'a>, candidates: &[Candidate]) -> anyhow::Result<Starter<'a>> {
        let units = candidates.iter().flat_map(|one| &one.manifest.get().units);
        let profiles: BTreeSet<&str> = units.map(|unit| unit.name.profile_dir.as_str()).collect();
        let workspace = &search.setup.workspace;
        let held = match search.args.dry_run {
            true => None,
            false => Some(hold::hold(
                &workspace.build_dir,
                &profiles,
                search.reporter,
            )?),
        };
        let home = search.environment.cargo_home()?;
        let mut set_by_cargo = search.environment.set_by_cargo(&workspace.root, &home);
        let mut locked = workspace.locked();
        if !search.setup.part.target_dir.is_empty() {
            // Another program runs this cargo, with variables and a lock file of its own: only cargo can judge them.
            locked = None;
            let units = candidates.iter().flat_map(|one| &one.manifest.get().units);
            set_by_cargo.extend(units.flat_map(Unit::variables).map(str::to_owned));
        }
        Ok(Starter {
            search,
            held,
            digests: Digests::default(),
            inspector: Inspector::new(&workspace.build_dir, &search.setup.roots),
            set_by_cargo,
            locked,
        })
    }

    /// Looks at everything here that a starting point knows, and decides; changes nothing.
    fn survey(&mut self, manifest: &Manifest) -> Survey {
        let setup = self.search.setup;
        let step = self.search.reporter.step("Comparing inputs", 0);
        let reader = Reader {
            roots: &setup.roots,
            environment: self.search.environment,
            set_by_cargo: &self.set_by_cargo,
            locked: self.locked.as_ref(),
        };
        let observed = observe::observe(manifest, &reader, &mut self.digests);
        let same_settings = observe::same_settings(manifest, &reader, &mut self.digests);
        let evidence = evidence(manifest, &observed, &self.inspector);
        let decisions = plan::plan(manifest, &evidence, same_settings);
        drop(step);
        Survey {
            observed,
            evidence,
            decisions,
        }
    }

    /// Notes which session each unit may begin from, out of all candidates; returns them.
    fn offer(&self, candidates: &[Candidate], surveys: &[Survey]) -> anyhow::Result<Vec<Offered>> {
        let Some(held) = &self.held else {
            return Ok(Vec::new());
        };
        let surveyed: Vec<Surveyed<'_>> = candidates
            .iter()
            .zip(surveys)
            .map(|(candidate, survey)| Surveyed {
                manifest: candidate.manifest.get(),
                observed: &survey.observed,
                evidence: &survey.evidence,
            })
            .collect();
        let setup = self.search.setup;
        let places = Places::new(held.build(), &setup.workspace.root, &setup.sysroot);
        let (store, staging) = (self.search.store, held.staging());
        let offered = offer::offer(
            &surveyed,
            held.build(),
            &self.inspector,
            &places,
            store,
            staging,
        )?;
        Ok(offered)
    }

    /// Places what `survey`, or a new one, decides.
    fn place(
        &mut self,
        candidate: &Candidate,
        survey: Option<Survey>,
        now: Timestamp,
    ) -> anyhow::Result<Outcome> {
        let Search {
            setup,
            store,
            reporter,
            ..
        } = *self.search;
        let manifest = candidate.manifest.get();
        let Survey {
            observed,
            mut decisions,
            ..
        } = survey.unwrap_or_else(|| self.survey(manifest));
        let restored = match &self.held {
            None => Restored::default(),
            Some(held) => {
                let mut decided = Decided {
                    manifest: &candidate.manifest,
                    observed: &observed,
                    decisions: &mut decisions,
                };
                held.restore(&mut decided, &setup.roots, store, reporter)?
            }
        };
        self.inspector = Inspector::new(&setup.workspace.build_dir, &setup.roots);
        let noted = noted(manifest, &decisions);
        if let Some(held) = &self.held {
            let started = Started {
                commit: manifest.commit.clone(),
                manifest: candidate.point.manifest,
                unix_s: now.as_second(),
                mtime: held.mtime(),
                decisions: noted.clone(),
            };
            Ledger::of(&setup.workspace.build_dir).add_start(held.staging(), started)?;
        }
        Ok(Outcome {
            point: candidate.point.clone(),
            behind: None,
            decisions: noted,
            restored,
            seeds: 0,
            seconds: 0.0,
        })
    }
}

/// Returns the position of the candidate that leaves cargo clearly the least to compile, else of the
/// first. What a unit costs is taken from the first that has it, so that all count the same.
fn nearest(candidates: &[Candidate], surveys: &[Survey]) -> usize {
    let mut known: BTreeMap<UnitName, u64> = BTreeMap::new();
    let mut remaining = Vec::with_capacity(candidates.len());
    for (candidate, survey) in candidates.iter().zip(surveys) {
        let manifest = candidate.manifest.get();
        for unit in &manifest.units {
            known
                .entry(unit.name.clone())
                .or_insert_with(|| manifest.cost_ms(unit));
        }
        let cost = |unit: &Unit| known.get(&unit.name).copied().unwrap_or_default();
        remaining.push(plan::remaining_ms(manifest, &survey.decisions, cost));
    }
    plan::nearest(&remaining)
}

/// Looks at what the target directory holds of each unit.
fn evidence(
    manifest: &Manifest,
    observed: &[Observed],
    inspector: &Inspector<'_>,
) -> Vec<Evidence> {
    let mut states = Vec::with_capacity(observed.len());
    for (unit, seen) in manifest.units.iter().zip(observed) {
        let deps: Vec<_> = unit.deps.iter().map(|dep| states[*dep as usize]).collect();
        states.push(inspector.state(unit, &seen.fingerprint, &manifest.package(unit).dir, &deps));
    }
    let fresh = |at: usize| states[at].present == crate::engine::local::Present::Fresh;
    let all_fresh = (0..states.len()).all(fresh);
    let identical: Vec<bool> = {
        use rayon::prelude::*;
        let same = |(at, unit)| !all_fresh && fresh(at) && inspector.is_identical(unit);
        manifest.units.par_iter().enumerate().map(same).collect()
    };
    let one = |at: usize| Evidence {
        differs: observed[at].differs.clone(),
        present: states[at].present,
        identical: identical[at],
    };
    (0..observed.len()).map(one).collect()
}

fn noted(manifest: &Manifest, decisions: &[Decision]) -> Vec<Noted> {
    let note = |(unit, decision): (&Unit, &Decision)| {
        let package = manifest.package(unit);
        Noted {
            unit: unit.name.to_string(),
            package: format!("{} {}", package.name, package.version),
            kind: unit.name.kind().to_owned(),
            verdict: decision.action.verdict().to_owned(),
            reason: ReasonText {
                code: decision.reason.code().to_owned(),
                text: decision.reason.to_string(),
            },
        }
    };
    manifest.units.iter().zip(decisions).map(note).collect()
}

/// Adds what a further starting point of the same commit did.
fn merge(outcome: &mut Outcome, other: Outcome) {
    let mut decisions: BTreeMap<String, Noted> = outcome
        .decisions
        .drain(..)
        .map(|one| (one.unit.clone(), one))
        .collect();
    for one in other.decisions {
        decisions.entry(one.unit.clone()).or_insert(one);
    }
    outcome.decisions = decisions.into_values().collect();
    outcome.restored.files += other.restored.files;
    outcome.restored.bytes += other.restored.bytes;
}

impl Outcome {
    /// Returns how many units got the verdict of `action`.
    pub fn count(&self, action: Action) -> usize {
        self.decisions
            .iter()
            .filter(|one| one.verdict == action.verdict())
            .count()
    }
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    json!({
        "commit": outcome.point.commit,
        "behind": outcome.behind,
        "target_dir": outcome.point.part.target_dir,
        "manifest": outcome.point.manifest.hex(),
        "units": {
            "fresh": outcome.count(Action::Place),
            "kept": outcome.count(Action::Keep),
            "near": outcome.count(Action::Seed),
            "absent": outcome.count(Action::Leave),
        },
        "bytes": outcome.restored.bytes,
        "files": outcome.restored.files,
        "sessions": outcome.seeds,
        "seconds": outcome.seconds,
        "decisions": outcome.decisions,
    })
}

fn print(outcome: &Outcome, dry_run: bool, now: Timestamp) {
    let point = &outcome.point;
    let behind = match outcome.behind {
        Some(0) => "this commit".to_owned(),
        Some(behind) => format!("{} behind", count(behind, "commit")),
        None => "from outside this history".to_owned(),
    };
    let age = super::status::age(point.published_unix_s, now);
    let short = short(&point.commit);
    let of = match point.part.target_dir.as_str() {
        "" => String::new(),
        target_dir => format!("{target_dir}: "),
    };
    print_line(&format!(
        "{of}starting point {short}, {behind}, published {age}"
    ));
    let placed = match dry_run {
        true => " (dry run: nothing was placed)".to_owned(),
        false => format!(
            ", {} placed in {:.1} s",
            bytes(outcome.restored.bytes),
            outcome.seconds
        ),
    };
    let fresh = outcome.count(Action::Place) + outcome.count(Action::Keep);
    let kept = match outcome.count(Action::Keep) {
        0 => String::new(),
        kept => format!(", {kept} of them here before"),
    };
    print_line(&format!("  {:>6} fresh{kept}{placed}", fresh));
    print_line(&format!(
        "  {:>6} near, to be compiled incrementally",
        outcome.count(Action::Seed)
    ));
    print_line(&format!(
        "  {:>6} absent, to be compiled from nothing",
        outcome.count(Action::Leave)
    ));
    let own = outcome.decisions.iter().filter(|one| {
        matches!(one.verdict.as_str(), "near" | "absent") && one.reason.code != dependency_code()
    });
    let reasons: BTreeSet<String> = own
        .map(|one| format!("{}: {}", one.package, one.reason.text))
        .collect();
    for reason in reasons.iter().take(SHOWN_REASONS) {
        print_line(&format!("  {reason}"));
    }
    if reasons.len() > SHOWN_REASONS {
        print_line(&format!(
            "  and {} more; `headstart status --units` names them all",
            reasons.len() - SHOWN_REASONS
        ));
    }
}

fn dependency_code() -> &'static str {
    Reason::Dependency {
        unit: String::new(),
    }
    .code()
}
