//! `headstart bisect`: the first bad commit among published ones, without compiling.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::cli::{BisectArgs, StartArgs};
use super::scratch::{Judged, Kept, Scratch};
use super::sources::{NoStart, Sources};
use super::trial::{Needed, Trials};
use super::{Call, Failure, Setup, print_first, print_json, short};
use crate::cargo::CargoCommand;
use crate::engine::bisect::{self, Answer, Next, Verdict};
use crate::git::{Commit, Repository};
use crate::report::count;
use crate::store::{Point, Store};

/// The longest history that is looked at: ten times what lies between two releases of a large project.
const MAX_COMMITS: usize = 100_000;
/// How many commits that are left are named without `--json`.
const SHOWN_LEFT: usize = 10;
/// The exit code where commits that were skipped may be the first bad one as well.
const UNSURE: u8 = 2;

/// A bisect under way.
struct Bisect<'a> {
    trials: Trials<'a>,
    /// From the good commit to the bad one, both included, oldest first.
    line: Vec<Commit>,
    /// The starting points of each.
    points: Vec<Vec<Point>>,
    /// What is known of each.
    judged: Vec<Option<Judged>>,
    kept: Kept,
    needed: Needed,
    /// The cargo commands, once unpublished commits are built.
    building: Option<Vec<CargoCommand>>,
    pinned_is_said: bool,
}

/// Runs the command, and returns its exit code.
pub fn run(args: &BisectArgs, call: Call<'_>) -> Result<ExitCode> {
    let environment = call.environment;
    let repository = &Repository::discover(&environment.dir)?;
    let line = line(repository, args)?;
    let setup = &Setup::here(environment, None)?;
    let start = &StartArgs {
        store: args.store.clone(),
        believe_store: args.believe_store,
        again: true,
        ..StartArgs::default()
    };
    let none = |error: anyhow::Error| match error.downcast() {
        Ok(NoStart(why)) => {
            let hint = "`headstart publish` makes it; --store names another";
            Failure::new(why, hint).into()
        }
        Err(error) => error,
    };
    let sources = Sources::open(start, call, setup).map_err(none)?;
    let of = |one: &Commit| {
        let mut points = sources.points(&one.id);
        points.retain(|point| point.toolchain == setup.toolchain && point.part == setup.part);
        // Of two that have a program of one name, it is the same that counts at each commit.
        points.sort_by(|one, other| one.commands.cmp(&other.commands));
        points
    };
    let points: Vec<Vec<Point>> = line.iter().map(of).collect();
    if args.then_build.is_none() {
        check_published(&line, &points, setup, &sources.store)?;
    }
    let ends = [&*line[0].id, &*line[line.len() - 1].id];
    let scratch = &Scratch::take(args, call, (&repository.root, setup), ends)?;
    if args.restart {
        scratch.forget()?;
    }
    let kept = scratch.kept(args, &call.reporter);
    let judged = line.iter().map(|one| kept.judged.get(&one.id).cloned());
    let mut bisect = Bisect {
        judged: judged.collect(),
        trials: Trials {
            args,
            repository,
            setup,
            sources,
            scratch,
            staging: scratch.staging()?,
        },
        line,
        points,
        kept,
        needed: Needed::new(),
        building: None,
        pinned_is_said: false,
    };
    bisect.needed = bisect.needed();
    bisect.say_begin();
    let answer = bisect.answer();
    // Verdicts stay, and lead back here in no time.
    if let Err(error) = scratch.clear(repository) {
        call.reporter.warn(error);
    }
    let answer = answer?;
    match args.store.json {
        true => print_json(&bisect.as_json(answer)),
        false => bisect.print(answer),
    }
    let mut left = answer.good + 1..answer.bad;
    Ok(match left.any(|at| bisect.judged[at].is_some()) {
        true => ExitCode::from(UNSURE),
        false => ExitCode::SUCCESS,
    })
}

/// Returns the commits from the good one to the bad one, both included, oldest first.
fn line(repository: &Repository, args: &BisectArgs) -> Result<Vec<Commit>> {
    let good = repository.commit(&args.good)?;
    let bad = repository.commit(&args.bad)?;
    let failure = |what: &str, hint: &str| {
        let (good, bad) = (short(&good), short(&bad));
        let what = format!("the good commit {good} {what} the bad commit {bad}");
        Err(Failure::new(what, hint).into())
    };
    if good == bad {
        let hint = "name an earlier commit with --good, or a later one with --bad";
        return failure("is", hint);
    }
    if !repository.is_ancestor(&good, &bad)? {
        let hint = if repository.is_ancestor(&bad, &good)? {
            "it is the other way round: to find what repaired something, turn COMMAND's meaning around"
        } else if repository.is_shallow() {
            "this clone is shallow; `git fetch --deepen 500` shows more history"
        } else {
            "name one of its ancestors with --good"
        };
        return failure("is no ancestor of", hint);
    }
    let mut line = repository.line(&format!("{good}..{bad}"), MAX_COMMITS + 1)?;
    if line.len() > MAX_COMMITS {
        let what = format!("lies more than {MAX_COMMITS} commits before");
        return failure(&what, "name ends that are nearer to one another");
    }
    line.extend(repository.line(&good, 1)?);
    line.reverse();
    Ok(line)
}

/// Refuses a line of which nothing but its ends is published.
fn check_published(
    line: &[Commit],
    points: &[Vec<Point>],
    setup: &Setup,
    store: &Store,
) -> Result<(), Failure> {
    let between = &points[1..points.len() - 1];
    if between.is_empty() || between.iter().any(|one| !one.is_empty()) {
        return Ok(());
    }
    let (good, bad) = (short(&line[0].id), short(&line[line.len() - 1].id));
    let (store, toolchain) = (store.root().display(), setup.toolchain.shown());
    let what =
        format!("no commit between {good} and {bad} was published to {store} for {toolchain}");
    let hint = "--then-build builds them, each from the nearest starting point; --store or --remote name another store";
    Err(Failure::new(what, hint))
}

impl Bisect<'_> {
    /// Judges commits until there is an answer.
    fn answer(&mut self) -> Result<Answer> {
        loop {
            match bisect::next(&self.state()) {
                Next::Ask(at) => self.judge(at)?,
                Next::WrongEnd(at) => return Err(self.wrong_end(at)),
                Next::Between(answer) => {
                    let then_build = self.trials.args.then_build.is_some();
                    if self.building.is_some() || !then_build || answer.good + 1 == answer.bad {
                        return Ok(answer);
                    }
                    self.building = Some(self.commands(answer)?);
                }
            }
        }
    }

    /// Returns what can be judged, and what is known. The ends are never built: they are taken for what the user says.
    fn state(&self) -> Vec<bisect::Commit> {
        let last = self.line.len() - 1;
        let commit = |(at, judged): (usize, &Option<Judged>)| bisect::Commit {
            askable: match self.building {
                None => judged.is_none() && !self.points[at].is_empty(),
                Some(_) => at > 0 && at < last && judged.as_ref().is_none_or(|one| !one.built),
            },
            verdict: judged.as_ref().and_then(|judged| judged.verdict),
        };
        self.judged.iter().enumerate().map(commit).collect()
    }

    fn judge(&mut self, at: usize) -> Result<()> {
        let Commit { id, subject } = self.line[at].clone();
        let reporter = self.trials.sources.call.reporter;
        let what = format!("{} {subject}", short(&id));
        let from = (&self.points[at][..], self.building.as_deref());
        let run = || self.trials.run(&id, from, &self.needed);
        let (judged, programs) = reporter.during(&what, run)?;
        let pinned = programs.iter().filter(|one| one.pinned).count();
        if pinned > 0 && !std::mem::replace(&mut self.pinned_is_said, true) {
            let (pinned, id) = (count(pinned, "program"), short(&id));
            reporter.note(format!(
                "paths of where it was built are in {pinned} of {id}; `headstart bisect --help` says what that means"
            ));
        }
        // The good end is asked next, if it can be.
        if at + 1 < self.line.len() || self.points[0].is_empty() {
            self.check_runs(&id, &judged)?;
        }
        self.say_step(&id, &subject, &judged);
        // What does not build may, once COMMAND's build or the network is another.
        if judged.code.is_some() {
            self.kept.judged.insert(id, judged.clone());
            self.trials.scratch.keep(&self.kept)?;
        }
        self.judged[at] = Some(judged);
        Ok(())
    }

    /// Returns what is needed everywhere: what the outermost published commits have.
    fn needed(&self) -> Needed {
        let mut named = self.points.iter();
        let first = named.find_map(|points| self.trials.named(points));
        let last = named.rev().find_map(|points| self.trials.named(points));
        let Some(first) = first else {
            return Needed::new();
        };
        let last = last.unwrap_or_else(|| first.clone());
        let both = first.into_iter().filter_map(|(name, by)| {
            let other = last.get(&name)?;
            Some((name, (*other == by).then_some(by)))
        });
        both.collect()
    }

    /// Fails where a shell says of `id` that it cannot run COMMAND, and nothing says that it can be run elsewhere: every commit would look bad.
    fn check_runs(&self, id: &str, judged: &Judged) -> Result<()> {
        let mut known = self.judged.iter().flatten();
        let runs = known.any(|one| one.verdict == Some(Verdict::Good));
        let Some(code @ (126 | 127)) = judged.code.filter(|_| !runs) else {
            return Ok(());
        };
        let short = short(id);
        let what =
            format!("COMMAND ended with {code} at {short}, as where a shell cannot run something");
        let printed = self.trials.scratch.log(id)?;
        let printed = printed.display();
        let hint =
            format!("paths in it are relative to a work tree of its own; it printed {printed}");
        Err(Failure::new(what, hint).into())
    }

    /// Returns the cargo commands that build what is left: those that were typed, else those of the nearest starting point.
    fn commands(&self, answer: Answer) -> Result<Vec<CargoCommand>, Failure> {
        let typed = self.trials.args.then_build.as_deref().unwrap_or_default();
        let typed: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
        if !typed.is_empty() {
            return Ok(CargoCommand::split(&typed));
        }
        let mut nearest = (answer.bad..self.line.len()).chain((0..answer.bad).rev());
        let unknown = || {
            let hint = "say how to build, for instance --then-build='build --workspace'";
            Failure::new("no starting point says how commits are built", hint)
        };
        // A check makes no program.
        let makes = |one: &CargoCommand| {
            !matches!(one.building_subcommand(), Some("check" | "c" | "clippy"))
        };
        let commands = nearest.find_map(|at| {
            let all = self.points[at].iter().flat_map(|point| &point.commands);
            let all: BTreeSet<&Vec<String>> = all.collect();
            let all = all
                .into_iter()
                .map(|args| CargoCommand { args: args.clone() });
            let all = all.filter(makes).map(CargoCommand::without_running);
            Some(all.collect::<Vec<_>>()).filter(|all| !all.is_empty())
        });
        commands.ok_or_else(unknown)
    }

    /// Says that a commit is not what it was taken for, and forgets verdicts of a COMMAND that says so.
    fn wrong_end(&self, at: usize) -> anyhow::Error {
        let Commit { id, subject } = &self.line[at];
        let (taken, is) = match at {
            0 => ("good", "bad"),
            _ => ("bad", "good"),
        };
        let short = short(id);
        let what = format!("COMMAND calls {short} {is}, which was taken for {taken}: {subject}");
        let scratch = self.trials.scratch;
        match scratch.forget().and_then(|()| scratch.log(id)) {
            Ok(printed) => Failure::new(what, format!("it printed {}", printed.display())).into(),
            Err(error) => error.into(),
        }
    }

    fn says(&self) -> bool {
        !self.trials.args.store.json && !self.trials.args.store.quiet
    }

    fn say_begin(&self) {
        if !self.says() {
            return;
        }
        let published = self.points.iter().filter(|points| !points.is_empty());
        let published = published.count();
        let known = match self.judged.iter().flatten().count() {
            0 => String::new(),
            known => format!(", {known} of them judged by an earlier run"),
        };
        let (good, bad) = (&self.line[0].id, &self.line[self.line.len() - 1].id);
        let (good, bad) = (short(good), short(bad));
        let commits = count(self.line.len(), "commit");
        say!("{commits} from {good} to {bad}, {published} published{known}");
    }

    fn say_step(&self, id: &str, subject: &str, judged: &Judged) {
        if !self.says() {
            return;
        }
        let word = judged.verdict.unwrap_or(Verdict::Skipped).to_string();
        let (id, seconds) = (short(id), judged.seconds);
        let built = if judged.built { ", built" } else { "" };
        let why = judged.reason.as_ref().map(|reason| format!(" ({reason})"));
        let why = why.unwrap_or_default();
        say!("  {id}  {word:<7}  {seconds:>5.2} s{built}  {subject}{why}");
    }

    fn print(&self, answer: Answer) {
        let left = answer.good + 1..answer.bad;
        for (what, at) in [("first bad", answer.bad), ("last good", answer.good)] {
            let kind = match (left.is_empty(), self.points[at].is_empty()) {
                (true, _) => "commit",
                (false, false) => "published commit",
                (false, true) => "commit known",
            };
            let Commit { id, subject } = &self.line[at];
            say!("{what} {kind}: {id} {subject}");
        }
        if left.is_empty() || self.trials.args.store.quiet {
            return;
        }
        let between = count(left.len(), "commit");
        say!("{between} between them may be the first bad one as well:");
        let line = |at: usize| {
            let Commit { id, subject } = &self.line[at];
            let why = match self.judged[at] {
                Some(_) => "skipped",
                None => "unpublished",
            };
            format!("{}  {why:<11}  {subject}", short(id))
        };
        print_first(SHOWN_LEFT, left.rev().map(line), "");
        if self.trials.args.then_build.is_none() {
            say!("`--then-build` builds those whose programs were not to be had");
        }
    }

    fn as_json(&self, answer: Answer) -> serde_json::Value {
        let commit = |at: usize| {
            let judged = self.judged[at].as_ref();
            json!({
                "commit": self.line[at].id,
                "subject": self.line[at].subject,
                "published": !self.points[at].is_empty(),
                "verdict": judged.map(|judged| judged.verdict.unwrap_or(Verdict::Skipped)),
                "reason": judged.and_then(|judged| judged.reason.clone()),
                "code": judged.and_then(|judged| judged.code),
                "built": judged.is_some_and(|judged| judged.built),
                "seconds": judged.map(|judged| judged.seconds),
            })
        };
        let known = (0..self.line.len()).filter(|at| self.judged[*at].is_some());
        json!({
            "first_bad": commit(answer.bad),
            "last_good": commit(answer.good),
            "between": (answer.good + 1..answer.bad).map(commit).collect::<Vec<_>>(),
            "judged": known.map(commit).collect::<Vec<_>>(),
            "commits": self.line.len(),
        })
    }
}
