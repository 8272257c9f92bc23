//! `headstart publish`: run cargo, then store what it built.
//!
//! Ends as cargo ends: what keeps a build from being published is said, and is a failure only where that was asked for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::bootstrap::Checkout;
use super::cli::PublishArgs;
use super::failure::{self, Failure};
use super::key::signing_keys;
use super::setup::{Clock, Setup, print_json, print_line, short, wrapped};
use super::trust::here;
use super::{far, gc, keyring};
use crate::cargo::command::{self as cargo, CargoCommand, Messages, Run};
use crate::cargo::message;
use crate::config::Environment;
use crate::engine::list::Signer;
use crate::engine::publish::{Build, Published, publish};
use crate::engine::push::{PushError, Pushed, push};
use crate::git::Repository;
use crate::report::{Reporter, bytes, count};
use crate::store::Store;
use crate::store::point::Point;
use crate::tier::Tier;
use crate::trust::{PublicKey, SecretKey};

/// How many units that were left out are named without `--json`.
const SHOWN_LEFT_OUT: usize = 5;

/// A build that was published.
#[derive(Debug)]
pub struct Outcome {
    /// What was stored.
    pub published: Published,
    /// How long cargo ran.
    pub cargo_time: Duration,
    /// How long storing took.
    pub publish_time: Duration,
    /// What was written to each remote, and which of them failed.
    pub pushed: Vec<(String, Result<Pushed, PushError>)>,
    /// How long that took.
    pub push_time: Duration,
}

/// What publishing needs to know before cargo runs.
struct Ready {
    repository: Repository,
    commit: String,
    dirty: bool,
    what: What,
    store: Store,
    now: Timestamp,
}

/// What is built.
enum What {
    /// One workspace, by cargo.
    Workspace(Box<Setup>),
    /// rustc, by `x`.
    Rustc(Checkout),
}

/// What cargo reported, if it was asked, and how long it ran.
struct Built {
    lines: Option<Vec<String>>,
    time: Duration,
}

/// Runs the command, and returns its exit code.
pub fn run(
    args: &PublishArgs,
    environment: &Environment,
    now: Timestamp,
) -> anyhow::Result<ExitCode> {
    let reporter = Reporter::new(args.store.quiet);
    let commands = CargoCommand::split(&args.cargo);
    check_commands(&commands, environment)?;
    let ready = Ready::of(args, environment, &commands[0], now);
    if args.required
        && let Err(error) = ready
    {
        return Err(error);
    }
    if let Err(error) = &ready {
        // Before cargo runs: whoever watches may prefer to stop it.
        failure::print_and_go_on("this will not be published", error);
    }
    let is_ready = ready.is_ok();
    if let Ok(ready) = &ready {
        ready.note_roots();
    }
    let built = build(args, environment, &commands, &reporter, Messages::Shown)?;
    match ready.and_then(|ready| ready.publish(args, environment, built, &reporter)) {
        Ok(outcomes) => say(args, &outcomes),
        Err(error) if args.required => Err(error),
        Err(error) => {
            if is_ready {
                failure::print_and_go_on("this was not published", &error);
            }
            if args.store.json {
                print_json(&json!({ "commit": null, "why": error.to_string() }));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says what was published, and returns the exit code: a failure only if all remotes are required to have it.
fn say(args: &PublishArgs, outcomes: &[Outcome]) -> anyhow::Result<ExitCode> {
    let json = |outcome| as_json(outcome, args.unsigned);
    match (args.store.json, outcomes) {
        (true, [outcome]) if outcome.published.point.part.target_dir.is_empty() => {
            print_json(&json(outcome));
        }
        (true, parts) => {
            let parts: Vec<_> = parts.iter().map(json).collect();
            print_json(&json!({ "parts": parts }));
        }
        (false, _) if args.store.quiet => {}
        (false, outcomes) => outcomes.iter().for_each(|one| print(one, args.unsigned)),
    }
    let pushed = outcomes.iter().flat_map(|outcome| &outcome.pushed);
    let failed = pushed.filter(|(_, pushed)| pushed.is_err());
    match failed.count() {
        failed if failed > 0 && args.required => {
            let what = format!("{} could not be written to", count(failed, "remote"));
            let hint = "leave --required out to let publish succeed all the same";
            Err(Failure::new(what, hint).into())
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Runs cargo and publishes what it left in one workspace.
pub fn publish_build(
    args: &PublishArgs,
    environment: &Environment,
    now: Timestamp,
    reporter: &Reporter,
    messages: Messages,
) -> anyhow::Result<Outcome> {
    let commands = CargoCommand::split(&args.cargo);
    check_commands(&commands, environment)?;
    let ready = Ready::of(args, environment, &commands[0], now)?;
    ready.note_roots();
    let built = build(args, environment, &commands, reporter, messages)?;
    let outcomes = ready.publish(args, environment, built, reporter)?;
    let first = outcomes.into_iter().next();
    first.context("a build of no workspace")
}

/// Runs the cargo commands through this program, until one of them fails.
fn build(
    args: &PublishArgs,
    environment: &Environment,
    commands: &[CargoCommand],
    reporter: &Reporter,
    messages: Messages,
) -> anyhow::Result<Built> {
    let variables = wrapped(environment);
    let how = Run {
        dir: environment.dir(),
        env: &variables,
        messages,
    };
    let started = Clock::start();
    if let Some(checkout) = Checkout::running(&commands[0], environment) {
        for (program, args) in commands.iter().filter_map(|one| checkout.x(one)) {
            // What it says is no part of our answer.
            cargo::run_other(&program, args, how, std::io::stderr().into())?;
        }
        let time = started.elapsed();
        return Ok(Built { lines: None, time });
    }
    let mut lines = Vec::new();
    for command in commands {
        lines.extend(cargo::run(command, how, |line| match args.store.json {
            true => reporter.note(line),
            false => print_line(line),
        })?);
    }
    let time = started.elapsed();
    Ok(Built {
        lines: Some(lines),
        time,
    })
}

impl Ready {
    /// Finds out what is published and where to; changes nothing but that the store is there.
    fn of(
        args: &PublishArgs,
        environment: &Environment,
        command: &CargoCommand,
        now: Timestamp,
    ) -> anyhow::Result<Ready> {
        let repository = Repository::discover(environment.dir())?;
        let (commit, dirty) = commit_to_publish(&repository, args)?;
        let what = match Checkout::running(command, environment) {
            Some(checkout) => What::Rustc(checkout),
            None => What::Workspace(Box::new(Setup::of(command, environment, None)?)),
        };
        let configured = match &what {
            What::Workspace(setup) => &setup.workspace.root,
            What::Rustc(_) => repository.root(),
        };
        let typed = args.store.store.as_deref();
        let store = Store::create(&environment.store(typed, Some(configured))?)?;
        Ok(Ready {
            repository,
            commit,
            dirty,
            what,
            store,
            now,
        })
    }

    /// Notes for the wrapper what it cannot tell by itself.
    fn note_roots(&self) {
        if let What::Rustc(checkout) = &self.what {
            checkout.note_roots();
        }
    }

    /// Stores what was built, and writes it to the remotes.
    fn publish(
        &self,
        args: &PublishArgs,
        environment: &Environment,
        built: Built,
        reporter: &Reporter,
    ) -> anyhow::Result<Vec<Outcome>> {
        let setups = match &self.what {
            What::Workspace(setup) => {
                return Ok(vec![self.publish_one(
                    setup,
                    args,
                    environment,
                    &built,
                    reporter,
                )?]);
            }
            What::Rustc(checkout) => checkout.clone().with_tools()?.built()?,
        };
        if setups.is_empty() {
            let hint = "remove `build`, so that all of it is built through headstart";
            return Err(
                Failure::new("nothing in `build` was built through headstart", hint).into(),
            );
        }
        let one = |setup| self.publish_one(setup, args, environment, &built, reporter);
        setups.iter().map(one).collect()
    }

    fn publish_one(
        &self,
        setup: &Setup,
        args: &PublishArgs,
        environment: &Environment,
        built: &Built,
        reporter: &Reporter,
    ) -> anyhow::Result<Outcome> {
        let store = &self.store;
        let commands = CargoCommand::split(&args.cargo).into_iter();
        let build = Build {
            workspace: &setup.workspace,
            roots: &setup.roots,
            toolchain: setup.toolchain.clone(),
            sysroot: &setup.sysroot,
            commands: commands.map(|command| command.args).collect(),
            repository: self.repository.name().unwrap_or_default(),
            tree: self.repository.tree(&self.commit)?,
            commit: self.commit.clone(),
            dirty: self.dirty,
            now_unix_s: self.now.as_second(),
            keep_days: args.keep_days,
            secrets: &environment.secrets(setup.configured())?,
            part: &setup.part,
            report: built.lines.as_deref().map(message::live),
        };
        check_still_there(&self.repository, &build)?;
        let started = Clock::start();
        let published = publish(&build, store, reporter)
            .with_context(|| format!("cannot publish into {}", store.root().display()))?;
        let publish_time = started.elapsed();
        let started = Clock::start();
        let pushed = push_all(
            args,
            environment,
            (setup.configured(), store),
            &published.point,
            self.now,
            reporter,
        )?;
        gc::by_itself(
            environment,
            &args.store,
            setup.configured(),
            reporter,
            self.now,
        );
        Ok(Outcome {
            published,
            cargo_time: built.time,
            publish_time,
            pushed,
            push_time: started.elapsed(),
        })
    }
}

/// Writes `point` to every remote that may be written to; a build that was published with changes goes nowhere.
fn push_all(
    args: &PublishArgs,
    environment: &Environment,
    (workspace, store): (&Path, &Store),
    point: &Point,
    now: Timestamp,
    reporter: &Reporter,
) -> anyhow::Result<Vec<(String, Result<Pushed, PushError>)>> {
    let remotes = environment.remotes(&args.store.remote, workspace)?;
    let tiers = far::open_all(&remotes, environment, reporter)?;
    if tiers.is_empty() {
        return Ok(Vec::new());
    }
    let (keys, believed) = match args.unsigned {
        true => (Vec::new(), Vec::new()),
        false => signers(&args.sign_key, environment, &tiers, reporter)?,
    };
    let signer = Signer {
        keys: &keys,
        comment: &comment(&point.commit, now),
        believed: &believed,
    };
    let signer = (!args.unsigned).then_some(signer);
    let mut pushed = Vec::new();
    for tier in tiers
        .iter()
        .filter(|tier| tier.is_writable() && !point.dirty)
    {
        let step = reporter.step(&format!("Writing to {}", tier.name()), 0);
        let result = push(&**tier, store, point, signer, now.as_second());
        drop(step);
        if let Err(error) = &result {
            reporter.warn(&format!("cannot write to {}: {error}", tier.name()));
        }
        pushed.push((tier.name().to_owned(), result));
    }
    Ok(pushed)
}

/// Returns the keys to sign with, and all that are believed where something is signed with them.
pub(super) fn signers(
    typed: &[PathBuf],
    environment: &Environment,
    tiers: &[Box<dyn Tier>],
    reporter: &Reporter,
) -> anyhow::Result<(Vec<SecretKey>, Vec<PublicKey>)> {
    let keys = signing_keys(environment, typed)?;
    let mut keyring = keyring::of(environment, here(environment))?;
    keyring::refresh(&mut keyring, tiers, reporter);
    let own = keys.iter().map(SecretKey::public);
    let believed = keyring.here().into_iter().chain(own).collect();
    Ok((keys, believed))
}

/// Returns what is noted in the signatures of what was published of `commit`.
pub(super) fn comment(commit: &str, now: Timestamp) -> String {
    format!("headstart commit:{commit} timestamp:{}", now.as_second())
}

fn check_commands(commands: &[CargoCommand], environment: &Environment) -> Result<(), Failure> {
    if let Some(checkout) = Checkout::running(&commands[0], environment)
        && commands.iter().all(|one| checkout.x(one).is_some())
    {
        return Ok(());
    }
    for command in commands {
        if command.building_subcommand().is_none() {
            return Err(Failure::new(
                format!(
                    "`{}` builds nothing that could be published",
                    command.shown()
                ),
                "give build, check, clippy, test, bench or rustc with its options behind `--`",
            ));
        }
        if command.option("--message-format").is_some() {
            return Err(Failure::new(
                format!(
                    "`{}` sets --message-format, which publish needs for itself",
                    command.shown()
                ),
                "leave the option out",
            ));
        }
        let places = ["--target-dir", "--manifest-path", "--config"];
        if places
            .iter()
            .any(|option| command.option(option) != commands[0].option(option))
        {
            return Err(Failure::new(
                "the commands name different workspaces or target directories",
                "publish once for each of them",
            ));
        }
        if command.toolchain() != commands[0].toolchain() {
            return Err(Failure::new(
                "the commands name different toolchains",
                "publish once for each toolchain",
            ));
        }
    }
    Ok(())
}

/// Returns the commit to publish under, and whether the work tree differs from it.
fn commit_to_publish(
    repository: &Repository,
    args: &PublishArgs,
) -> anyhow::Result<(String, bool)> {
    let head = repository.head()?;
    let changes = repository.changes()?;
    if let Some(first) = changes.first().filter(|_| !args.allow_dirty) {
        let more = changes.len() - 1;
        let what = match more {
            0 => format!("the work tree differs from the commit: {}", first.trim()),
            _ => format!(
                "the work tree differs from the commit: {} and {more} more",
                first.trim()
            ),
        };
        let hint =
            "commit or stash the changes; --allow-dirty publishes them, but not as the commit's";
        return Err(Failure::new(what, hint).into());
    }
    let Some(revision) = &args.commit else {
        return Ok((head, !changes.is_empty()));
    };
    let commit = repository.commit(revision)?;
    match repository.tree(&commit)? == repository.tree(&head)? {
        true => Ok((commit, !changes.is_empty())),
        false => Err(Failure::new(
            format!("{revision} has other files than HEAD, which is what was built"),
            format!("check {revision} out first"),
        )
        .into()),
    }
}

/// A commit made, or a file changed, while cargo ran would be published under the wrong name.
fn check_still_there(repository: &Repository, build: &Build<'_>) -> anyhow::Result<()> {
    let moved = repository.tree(&repository.head()?)? != repository.tree(&build.commit)?;
    let changes = if build.dirty {
        Vec::new()
    } else {
        repository.changes()?
    };
    let first = changes
        .first()
        .map(|change| format!(": {}", change.trim()))
        .unwrap_or_default();
    match moved || !changes.is_empty() {
        false => Ok(()),
        true => Err(Failure::new(
            format!("the work tree changed while cargo was building{first}"),
            "publish from a directory that nobody works in; a build that writes into its own sources \
             needs --allow-dirty",
        )
        .into()),
    }
}

fn as_json(outcome: &Outcome, unsigned: bool) -> serde_json::Value {
    let Published {
        point,
        left_out,
        new_objects,
        new_bytes,
        ..
    } = &outcome.published;
    let left_out: Vec<_> = left_out
        .iter()
        .map(|(unit, reason)| json!({ "unit": unit, "reason": reason }))
        .collect();
    json!({
        "commit": point.commit,
        "dirty": point.dirty,
        "unsigned": unsigned,
        "manifest": point.manifest.hex(),
        "units": point.units,
        "left_out": left_out,
        "objects_new": new_objects,
        "bytes_new": new_bytes,
        "bytes_total": point.size_bytes,
        "cargo_seconds": outcome.cargo_time.as_secs_f64(),
        "publish_seconds": outcome.publish_time.as_secs_f64(),
        "remotes": outcome.pushed.iter().map(|(name, pushed)| match pushed {
            Ok(pushed) => json!({
                "url": name,
                "objects": pushed.objects,
                "packs": pushed.packs,
                "bytes": pushed.bytes,
                "requests": pushed.requests,
            }),
            Err(error) => json!({ "url": name, "error": error.to_string() }),
        }).collect::<Vec<_>>(),
        "push_seconds": outcome.push_time.as_secs_f64(),
    })
}

fn print(outcome: &Outcome, unsigned: bool) {
    let Published {
        point,
        left_out,
        new_bytes,
        ..
    } = &outcome.published;
    let dirty = if point.dirty {
        " with changes (not offered as the commit's)"
    } else {
        ""
    };
    print_line(&format!("published {}{dirty}", short(&point.commit)));
    print_line(&format!(
        "  {} that made {}; {} new in the store, in {:.1} s",
        count(point.units, "unit"),
        bytes(point.size_bytes),
        bytes(*new_bytes),
        outcome.publish_time.as_secs_f64(),
    ));
    for (name, pushed) in &outcome.pushed {
        if let Ok(pushed) = pushed {
            print_line(&format!(
                "  {} written to {name} in {:.1} s",
                bytes(pushed.bytes),
                outcome.push_time.as_secs_f64(),
            ));
        }
    }
    if unsigned && outcome.pushed.iter().any(|(_, pushed)| pushed.is_ok()) {
        let (commit, name) = (&point.commit, point.manifest.hex());
        print_line(&format!(
            "  nobody finds it before it is signed, where the key is:\n  headstart sign --commit {commit} --manifest {name}"
        ));
    }
    for (unit, reason) in left_out.iter().take(SHOWN_LEFT_OUT) {
        print_line(&format!("  left out {unit}: {reason}"));
    }
    if left_out.len() > SHOWN_LEFT_OUT {
        print_line(&format!(
            "  and {} more; --json names them all",
            left_out.len() - SHOWN_LEFT_OUT
        ));
    }
}
