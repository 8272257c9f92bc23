//! `headstart start`: find the nearest starting point, decide, place, and say so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use super::bootstrap::Checkout;
use super::cli::StartArgs;
use super::failure;
use super::search::Search;
use super::setup::warn_of_other_wrapper;
use super::sources::{Candidate, NoStart, Sources};
use super::{
    Call, Failure, NAMED_BY_JSON, Setup, bring, gc, print_first, print_json, short, timer, wrapped,
};
use crate::cargo::{CargoCommand, Locked, command as cargo};
use crate::config::Environment;
use crate::disk;
use crate::engine::ahead::{AHEAD_VAR, Ahead};
use crate::engine::answers::Answers;
use crate::engine::hold::{self, Held};
use crate::engine::ledger::{Decision as Noted, ReasonText, Started};
use crate::engine::observe::Reader;
use crate::engine::offer::{self, Offered};
use crate::engine::restore::{self, Restored};
use crate::engine::{Action, Decision, Inspector, Ledger, Survey, plan, relocate};
use crate::model::{Manifest, Reason, Unit, UnitName};
use crate::report::{bytes, count};
use crate::store::Point;

/// How many reasons are shown without `--json`.
const SHOWN_REASONS: usize = 5;

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
    /// What can be prepared for those that cargo will compile.
    pub ahead: Ahead,
    /// What rustc tells cargo here, where no cargo has asked.
    pub answers: Option<Answers>,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}

/// Runs the command, and returns its exit code.
pub fn run(args: &StartArgs, call: Call<'_>) -> Result<ExitCode> {
    let environment = call.environment;
    let commands = CargoCommand::split(&args.cargo);
    let goes_on = !args.cargo.is_empty() && !args.dry_run && !args.place_only;
    let checkout = match args.cargo.is_empty() {
        true => Checkout::of(environment),
        false => Checkout::running(&commands[0], environment),
    };
    let what = "rustc's bootstrap builds in a directory of its own";
    let has_both = checkout.is_some() && args.target_dir.is_some();
    ensure!(!has_both, Failure::new(what, "leave --target-dir out"));
    let started = match &checkout {
        Some(checkout) => checkout.start(args, call),
        None => start_here(args, &commands[0], call),
    };
    let mut begun = None;
    match started {
        Ok(outcomes) => {
            report(args, &outcomes, checkout.is_some(), call.now);
            begun = outcomes.into_iter().find(|_| checkout.is_none());
        }
        Err(error) => match error.downcast() {
            Ok(none) => report_none(args, none)?,
            // Nothing of ours fails a build: cargo runs all the same.
            Err(error) if goes_on && !args.required => {
                failure::print(&error);
                if args.store.json {
                    print_json(&json!({ "commit": null, "why": error.to_string() }));
                }
            }
            Err(error) => return Err(error),
        },
    }
    if !goes_on {
        return Ok(ExitCode::SUCCESS);
    }
    warn_of_other_wrapper(call);
    let work = |ahead: Option<&Path>| {
        let mut own = environment.clone();
        if let Some(dir) = ahead {
            own = own.with(AHEAD_VAR, dir);
        }
        build(&commands, checkout.as_ref(), args.store.json, &own)
    };
    match &begun {
        Some(begun) => begun.ahead.during(work)?,
        None => work(None)?,
    }
    // Only what came of a cargo that succeeded.
    begun.and_then(|begun| begun.answers?.keep());
    Ok(ExitCode::SUCCESS)
}

/// Runs `commands`, rustc's bootstrap's in its `checkout`; with `json` nothing that they say is an answer of ours.
fn build(
    commands: &[CargoCommand],
    checkout: Option<&Checkout>,
    json: bool,
    environment: &Environment,
) -> Result<()> {
    let how = wrapped(environment);
    for command in commands {
        let x = checkout.and_then(|one| one.x(command));
        let stdout = match json {
            true => std::io::stderr().into(),
            false => Stdio::inherit(),
        };
        let (program, given) = x.unwrap_or_else(|| ("cargo".into(), &command.args));
        cargo::run_plainly(&program, given, how, stdout)?;
    }
    Ok(())
}

/// Starts the workspace that `command` builds.
fn start_here(args: &StartArgs, command: &CargoCommand, call: Call<'_>) -> Result<Vec<Outcome>> {
    let setup = Setup::of(command, call.environment, args.target_dir.as_deref())?;
    let outcome = start(args, &setup, call);
    if !args.dry_run {
        drop(gc::by_itself(call, &args.store));
    }
    Ok(vec![outcome?])
}

/// Says what was done.
fn report(args: &StartArgs, outcomes: &[Outcome], in_parts: bool, now: Timestamp) {
    match outcomes {
        [outcome] if args.store.json && !in_parts => print_json(&as_json(outcome)),
        parts if args.store.json => {
            let parts: Vec<_> = parts.iter().map(as_json).collect();
            print_json(&json!({ "parts": parts }));
        }
        _ if args.store.quiet => {}
        all => all.iter().for_each(|one| print(one, args.dry_run, now)),
    }
}

/// Says why there is no starting point; fails only if one was required.
fn report_none(args: &StartArgs, none: NoStart) -> Result<()> {
    if args.store.json {
        print_json(&json!({ "commit": null, "why": none.0 }));
    } else if !args.store.quiet && !args.required {
        say!("{none}\ncargo will build from nothing");
    }
    let hint = "leave --required out to go on";
    ensure!(!args.required, Failure::new(none.to_string(), hint));
    Ok(())
}

/// Starts; fails with [`NoStart`] where there is no starting point.
pub fn start(args: &StartArgs, setup: &Setup, call: Call<'_>) -> Result<Outcome> {
    start_from(&Sources::open(args, call, setup)?, setup)
}

/// Starts from what `sources` have.
pub(super) fn start_from(sources: &Sources<'_>, setup: &Setup) -> Result<Outcome> {
    let clock = timer();
    let search = Search { setup, sources };
    let candidates = search.candidates()?;
    let mut starter = Starter::new(search, &candidates)?;
    let survey = |one| starter.survey(one);
    let mut surveys: Vec<Survey<'_>> = candidates.iter().map(survey).collect();
    let chosen = nearest(&surveys);
    let offered = starter.offer(&surveys, chosen)?;
    let commit = candidates[chosen].point.commit.clone();
    let other = |at: &usize| *at != chosen && candidates[*at].point.commit == commit;
    let others = || (0..candidates.len()).filter(other);
    let nearest = (chosen, surveys.swap_remove(chosen));
    let (mut decisions, mut restored) = starter.place(&candidates, nearest, &offered)?;
    let ahead = ahead(
        setup,
        sources,
        candidates[chosen].manifest.get(),
        &decisions,
    );
    let args = sources.args;
    let commands = CargoCommand::split(&args.cargo);
    let answers = || setup.answers(&commands, sources.call.environment, &sources.store);
    let goes_on = !args.cargo.is_empty() && !args.place_only;
    let answers = goes_on.then(answers).flatten();
    for at in others() {
        if let Some(held) = &mut starter.held {
            held.later();
        }
        let other = (at, starter.survey(&candidates[at]));
        let (further, more) = starter.place(&candidates, other, &offered)?;
        // Of two decisions on a unit, the first stays.
        decisions.extend(further);
        decisions.sort_by(|a, b| a.unit.cmp(&b.unit));
        decisions.dedup_by(|a, b| a.unit == b.unit);
        restored.files += more.files;
        restored.bytes += more.bytes;
    }
    if let Some(held) = &starter.held {
        answers.as_ref().and_then(Answers::place);
        for at in std::iter::once(chosen).chain(others()) {
            bring::rest_later(sources, &candidates[at], &held.build);
        }
    }
    Ok(Outcome {
        point: candidates[chosen].point.clone(),
        behind: search.behind(&commit),
        decisions,
        restored,
        seeds: offered.len(),
        ahead,
        answers,
        seconds: clock.elapsed().as_secs_f64(),
    })
}

/// Returns what can be prepared for the units of `manifest`, on which `decisions` were taken.
fn ahead(setup: &Setup, sources: &Sources<'_>, manifest: &Manifest, decisions: &[Noted]) -> Ahead {
    let verdict = Action::Seed.to_string();
    let units = manifest.units.iter().zip(decisions);
    let near = units.filter(|(_, noted)| noted.verdict == verdict);
    let root = disk::canonical(&setup.workspace.root);
    Ahead {
        build: setup.workspace.build_dir.clone(),
        rustc: setup.sysroot.join("bin/rustc"),
        environment: sources.call.environment.at(&root),
        keys: near.filter_map(|(unit, _)| offer::key_of(unit)).collect(),
    }
}

/// Decides and places; what was read of the reader's files is kept from one starting point to the next.
struct Starter<'a> {
    search: Search<'a>,
    held: Option<Held>,
    reader: Reader<'a>,
    inspector: Inspector<'a>,
}

impl<'a> Starter<'a> {
    /// Takes cargo's locks, before any file is compared.
    fn new(search: Search<'a>, candidates: &[Candidate]) -> Result<Starter<'a>> {
        let units = || candidates.iter().flat_map(|one| &one.manifest.get().units);
        let profiles: BTreeSet<&str> = units().map(|unit| unit.name.profile_dir.as_str()).collect();
        let call = search.sources.call;
        let (workspace, roots) = (&search.setup.workspace, &search.setup.roots);
        let hold = || hold::hold(&workspace.build_dir, &profiles, &call.reporter);
        let held = (!search.sources.args.dry_run).then(hold).transpose()?;
        let set_by_cargo = call.environment.set_by_cargo(&workspace.root);
        let mut set_by_cargo: BTreeSet<String> = set_by_cargo.map(|(name, _)| name).collect();
        let mut locked = Locked::read(&workspace.root.join("Cargo.lock"));
        if !search.setup.part.target_dir.is_empty() {
            // Another program runs this cargo, with variables and a lock file of its own: only cargo can judge them.
            locked = None;
            let variables = units().flat_map(Unit::variables);
            set_by_cargo.extend(variables.map(|(name, _)| name.to_owned()));
        }
        Ok(Starter {
            search,
            held,
            reader: Reader {
                roots,
                environment: call.environment,
                set_by_cargo,
                locked,
                versions: &workspace.versions,
                seen: HashMap::new(),
                newest: HashMap::new(),
            },
            inspector: Inspector::new(&workspace.build_dir, roots),
        })
    }

    /// Looks at everything here that a starting point knows, and decides; changes nothing.
    fn survey<'c>(&mut self, candidate: &'c Candidate) -> Survey<'c> {
        let reporter = self.search.sources.call.reporter;
        let _step = reporter.step("Comparing inputs", 0);
        let what = (candidate.point.manifest, &candidate.manifest);
        Survey::of(what, &mut self.reader, &self.inspector)
    }

    /// Notes which session each unit may begin from, out of all candidates, of which the one at `chosen` is placed; returns them.
    fn offer(&self, surveys: &[Survey<'_>], chosen: usize) -> Result<Vec<Offered>> {
        let Some(held) = &self.held else {
            return Ok(Vec::new());
        };
        let setup = self.search.setup;
        let places = relocate::places(&held.build, &setup.sysroot);
        let (store, inspector) = (&self.search.sources.store, &self.inspector);
        let offered = offer::offer((surveys, chosen), held, inspector, &places, store);
        Ok(offered?)
    }

    /// Brings and places what `survey`, that of the candidate at `at`, decides; returns that and what was placed.
    fn place(
        &mut self,
        candidates: &[Candidate],
        (at, mut survey): (usize, Survey<'_>),
        offered: &[Offered],
    ) -> Result<(Vec<Noted>, Restored)> {
        let Search { setup, sources, .. } = self.search;
        let candidate = &candidates[at];
        let manifest = candidate.manifest.get();
        let mut restored = Restored::default();
        if let Some(held) = &self.held {
            let build = &held.build;
            let arrivals = bring::bring(sources, candidates, (at, &survey), offered, build)?;
            let (from, reporter) = ((&sources.store, arrivals.as_ref()), &sources.call.reporter);
            restored = held.restore(&mut survey, &setup.roots, from, reporter)?;
        }
        self.inspector = Inspector::new(&setup.workspace.build_dir, &setup.roots);
        let noted = noted(manifest, &survey.decisions);
        if let Some(held) = &self.held {
            let ledger = Ledger::of(&setup.workspace.build_dir);
            let started = Started {
                commit: manifest.commit.clone(),
                manifest: candidate.point.manifest,
                unix_s: sources.call.now_unix_s(),
                mtime: held.mtime,
                workspace: Some(ledger.told(&setup.workspace.root)),
                decisions: noted.clone(),
            };
            ledger.add_start(&held.staging, started)?;
            offer::note_placed(manifest, &survey.decisions, &ledger)?;
        }
        Ok((noted, restored))
    }
}

/// Returns the position of the candidate that leaves cargo clearly the least to compile, else of the
/// first. What a unit costs is taken from the first that has it, so that all count the same. What only another commit has, a build where
/// this one has clippy's run alone, is compiled too.
fn nearest(surveys: &[Survey<'_>]) -> usize {
    let mut known: BTreeMap<&UnitName, u64> = BTreeMap::new();
    let mut had: BTreeMap<&str, BTreeSet<&UnitName>> = BTreeMap::new();
    let mut placed: BTreeSet<&UnitName> = BTreeSet::new();
    for survey in surveys {
        let manifest = survey.manifest.get();
        for unit in &manifest.units {
            let cost_ms = known.entry(&unit.name);
            cost_ms.or_insert_with(|| manifest.cost_ms(unit));
        }
        let names = manifest.units.iter().map(|unit| &unit.name);
        had.entry(&manifest.commit).or_default().extend(names);
        let units = restore::placed(manifest, &survey.decisions);
        placed.extend(units.map(|(_, unit)| &unit.name));
    }
    let remaining = surveys.iter().map(|survey| {
        let manifest = survey.manifest.get();
        let cost = |name: &UnitName| known.get(name).copied().unwrap_or_default();
        let lacking = placed.difference(&had[&*manifest.commit]);
        let lacking: u64 = lacking.copied().map(cost).sum();
        lacking + plan::remaining_ms(manifest, &survey.decisions, |unit| cost(&unit.name))
    });
    plan::nearest(&remaining.collect::<Vec<_>>())
}

fn noted(manifest: &Manifest, decisions: &[Decision]) -> Vec<Noted> {
    let note = |(unit, decision): (&Unit, &Decision)| {
        let package = manifest.package(unit);
        let reason = &decision.reason;
        let (code, text) = (reason.code().to_owned(), reason.to_string());
        Noted {
            unit: unit.name.to_string(),
            package: format!("{} {}", package.name, package.version),
            kind: unit.name.kind().to_owned(),
            verdict: decision.action.to_string(),
            reason: ReasonText { code, text },
        }
    };
    manifest.units.iter().zip(decisions).map(note).collect()
}

impl Outcome {
    /// Returns how many units got each verdict.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let count = |action: Action| (action.to_string(), self.count(action));
        let all = [Action::Place, Action::Keep, Action::Seed, Action::Leave];
        all.map(count).into()
    }

    /// Returns how many units got the verdict of `action`.
    pub fn count(&self, action: Action) -> usize {
        let verdict = action.to_string();
        let same = |one: &&Noted| one.verdict == verdict;
        self.decisions.iter().filter(same).count()
    }
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    json!({
        "commit": outcome.point.commit,
        "behind": outcome.behind,
        "target_dir": outcome.point.part.target_dir,
        "manifest": outcome.point.manifest.hex(),
        "units": outcome.counts(),
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
    say!("{of}starting point {short}, {behind}, published {age}");
    let (size, seconds) = (bytes(outcome.restored.bytes), outcome.seconds);
    let placed = match dry_run {
        true => " (dry run: nothing was placed)".to_owned(),
        false => format!(", {size} placed in {seconds:.1} s"),
    };
    let all = [Action::Place, Action::Keep, Action::Seed, Action::Leave];
    let [placed_now, kept, near, absent] = all.map(|action| outcome.count(action));
    let fresh = placed_now + kept;
    let before = match kept {
        0 => String::new(),
        kept => format!(", {kept} of them here before"),
    };
    say!("  {fresh:>6} fresh{before}{placed}");
    say!("  {near:>6} near, to be compiled incrementally");
    say!("  {absent:>6} absent, to be compiled from nothing");
    let dependency = Reason::Dependency(String::new());
    let own = outcome.decisions.iter().filter(|one| {
        matches!(one.verdict.as_str(), "near" | "absent") && one.reason.code != dependency.code()
    });
    let reason = |one: &Noted| format!("{}: {}", one.package, one.reason.text);
    let reasons: BTreeSet<String> = own.map(reason).collect();
    let all = match dry_run {
        true => NAMED_BY_JSON,
        false => "; `headstart status --units` names them all",
    };
    print_first(SHOWN_REASONS, reasons.iter(), all);
}
