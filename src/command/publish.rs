//! `headstart publish`: run cargo, then store what it built.
//!
//! Ends as cargo ends: what keeps a build from being published is said, and is a failure only where that was asked for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::bootstrap::Checkout;
use super::cli::PublishArgs;
use super::failure;
use super::key::signing_keys;
use super::setup::{warn_of_other_wrapper, warn_of_unknown_settings};
use super::trust::here;
use super::{
    Call, Failure, NAMED_BY_JSON, Setup, far, gc, keyring, print_first, print_json, short, timer,
    wrapped,
};
use crate::cargo::{CargoCommand, Messages, command as cargo, message};
use crate::config::Environment;
use crate::engine::answers::Answers;
use crate::engine::publish::{Published, publish};
use crate::engine::{Build, Ledger, hold};
use crate::git::Repository;
use crate::model::{Manifest, SECONDS_A_DAY};
use crate::report::{bytes, count};
use crate::store::{Point, Store};
use crate::tier::Tier;
use crate::travel::list::Signer;
use crate::travel::push::{PushError, Pushed, push};
use crate::trust::SecretKey;

/// How many units that were left out are named without `--json`.
const SHOWN_LEFT_OUT: usize = 5;

/// What is said of a build that others would take for the commit's.
const CHANGED: &str = "a build with changes is written to no remote";

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
    pub pushed: Vec<Answer>,
    /// How long that took.
    pub push_time: Duration,
}

/// What was written to a remote, and how long that took; or why not.
type Answer = (String, Result<(Pushed, Duration), PushError>);

/// What publishing needs to know before cargo runs.
struct Ready<'a> {
    args: &'a PublishArgs,
    commands: &'a [CargoCommand],
    call: Call<'a>,
    repository: Repository,
    commit: String,
    dirty: bool,
    what: What,
    store: Store,
    answers: Option<Answers>,
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
pub fn run(args: &PublishArgs, call: Call<'_>) -> Result<ExitCode> {
    let commands = CargoCommand::split(&args.cargo);
    check_commands(&commands, call.environment)?;
    let ready = match Ready::of(args, &commands, call) {
        Err(error) if args.required => return Err(error),
        ready => ready,
    };
    if let Err(error) = &ready {
        // Before cargo runs: whoever watches may prefer to stop it.
        failure::print_and_go_on("this will not be published", error);
    }
    warn_of_other_wrapper(call);
    let is_ready = ready.is_ok();
    let built = build(args, &commands, Messages::Shown, call)?;
    match ready.and_then(|ready| ready.publish(&built)) {
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
fn say(args: &PublishArgs, outcomes: &[Outcome]) -> Result<ExitCode> {
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
    let failed = failed.count();
    let what = format!("{} could not be written to", count(failed, "remote"));
    let hint = "leave --required out to let publish succeed all the same";
    ensure!(failed == 0 || !args.required, Failure::new(what, hint));
    Ok(ExitCode::SUCCESS)
}

/// Runs cargo, saying nothing of it, and publishes what it left in one workspace.
pub fn publish_build(args: &PublishArgs, call: Call<'_>) -> Result<Outcome> {
    let commands = CargoCommand::split(&args.cargo);
    check_commands(&commands, call.environment)?;
    let ready = Ready::of(args, &commands, call)?;
    let outcomes = ready.publish(&build(args, &commands, Messages::Kept, call)?)?;
    let first = outcomes.into_iter().next();
    first.context("a build of no workspace")
}

/// Runs the cargo commands through this program, until one of them fails.
fn build(
    args: &PublishArgs,
    commands: &[CargoCommand],
    messages: Messages,
    call: Call<'_>,
) -> Result<Built> {
    let how = wrapped(call.environment);
    let started = timer();
    let mut lines = None;
    if let Some(checkout) = Checkout::running(&commands[0], call.environment) {
        for (program, args) in commands.iter().filter_map(|one| checkout.x(one)) {
            // What it says is no part of our answer.
            cargo::run_plainly(&program, args, how, std::io::stderr().into())?;
        }
    } else {
        for command in commands {
            let more = cargo::run(command, how, messages, |line| match args.store.json {
                // It is no part of our answer, and nobody else's to keep back.
                true => drop(std::io::stderr().write_all(line)),
                false => drop(std::io::stdout().write_all(line)),
            })?;
            lines.get_or_insert_with(Vec::new).extend(more);
        }
    }
    let time = started.elapsed();
    Ok(Built { lines, time })
}

impl<'a> Ready<'a> {
    /// Finds out what is published and where to; changes nothing but that the store is there, and what the wrapper is told.
    fn of(
        args: &'a PublishArgs,
        commands: &'a [CargoCommand],
        call: Call<'a>,
    ) -> Result<Ready<'a>> {
        let environment = call.environment;
        let repository = Repository::discover(&commands[0].looks_from(&environment.dir))?;
        let (commit, dirty) = commit_to_publish(&repository, args)?;
        let what = match Checkout::running(&commands[0], environment) {
            Some(checkout) => What::Rustc(checkout),
            None => What::Workspace(Box::new(Setup::of(&commands[0], environment, None)?)),
        };
        let configured = match &what {
            What::Workspace(setup) => &setup.workspace.root,
            What::Rustc(_) => &repository.root,
        };
        warn_of_unknown_settings(call, configured);
        if args.required {
            let remotes = environment.remotes(&args.store.remote, configured)?;
            if !remotes.is_empty() && !args.unsigned {
                signing_keys(environment, &args.sign_key)?;
            }
            let hint = "correct it, or leave --required out";
            let opened = far::open_required(&remotes, call, hint)?;
            let hint = "commit or stash the changes, or leave --required or --allow-dirty out";
            let goes_there = dirty && opened.iter().any(|tier| is_meant(&**tier, args));
            ensure!(!goes_there, Failure::new(CHANGED, hint));
        }
        let typed = args.store.store.as_deref();
        let store = Store::create(&environment.store(typed)?)?;
        // For the wrapper, which cannot tell by itself that somebody publishes from here: this may lie inside another build directory
        // as those of tests do. Without, outputs have the names that plain cargo gives them.
        if let What::Workspace(setup) = &what {
            let ledger = Ledger::of(&setup.workspace.build_dir);
            let made = hold::make_target_dir(&setup.workspace.build_dir);
            let told = ledger.told(&setup.workspace.root);
            drop(made.and_then(|()| ledger.note_workspace(&told)));
        }
        let answers = match &what {
            What::Workspace(setup) => setup.answers(commands, environment, &store),
            What::Rustc(_) => None,
        };
        Ok(Ready {
            args,
            commands,
            call,
            repository,
            commit,
            dirty,
            what,
            store,
            answers,
        })
    }

    /// Stores what was built, and writes it to the remotes.
    fn publish(&self, built: &Built) -> Result<Vec<Outcome>> {
        self.answers.as_ref().and_then(Answers::keep);
        let setups = match &self.what {
            What::Workspace(setup) => return Ok(vec![self.publish_one(setup, built)?]),
            What::Rustc(checkout) => checkout.clone().with_tools()?.built()?,
        };
        let what = "nothing in `build` was built through headstart";
        let hint = "remove `build`, so that all of it is built through headstart";
        ensure!(!setups.is_empty(), Failure::new(what, hint));
        let one = |setup| self.publish_one(setup, built);
        setups.iter().map(one).collect()
    }

    fn publish_one(&self, setup: &Setup, built: &Built) -> Result<Outcome> {
        let (store, call, now_unix_s) = (&self.store, self.call, self.call.now_unix_s());
        let build = Build {
            workspace: &setup.workspace,
            roots: &setup.roots,
            sysroot: &setup.sysroot,
            manifest: Manifest {
                repository: self.repository.name().unwrap_or_default(),
                commit: self.commit.clone(),
                tree: self.repository.tree(&self.commit)?,
                dirty: self.dirty,
                published_unix_s: now_unix_s,
                not_after_unix_s: now_unix_s + i64::from(self.args.keep_days) * SECONDS_A_DAY,
                toolchain: setup.toolchain.clone(),
                commands: self.commands.iter().map(|one| one.args.clone()).collect(),
                part: setup.part.clone(),
                roots: setup.roots.clone(),
                ..Manifest::default()
            },
            secrets: &call.environment.secrets(setup.configured())?,
            store,
            reporter: call.reporter,
            report: built.lines.as_deref().map(message::live),
        };
        check_still_there(&self.repository, &build.manifest)?;
        let started = timer();
        let failed = || format!("cannot publish into {}", store.root().display());
        let published = publish(&build).with_context(failed)?;
        let publish_time = started.elapsed();
        let started = timer();
        let pushed = self.push(setup, &published.point)?;
        let push_time = started.elapsed();
        // What a job of CI leaves behind is ended with it.
        let in_job = call.environment.named("CI").is_some_and(|ci| ci != "false");
        let gc = gc::by_itself(call, &self.args.store).filter(|_| in_job);
        gc.and_then(|mut gc| gc.wait().ok());
        Ok(Outcome {
            published,
            cargo_time: built.time,
            publish_time,
            pushed,
            push_time,
        })
    }

    /// Writes `point` to every remote that may be written to; a build that was published with changes goes nowhere.
    fn push(&self, setup: &Setup, point: &Point) -> Result<Vec<Answer>> {
        let (args, call, workspace) = (self.args, self.call, setup.configured());
        let remotes = call.environment.remotes(&args.store.remote, workspace)?;
        let tiers = far::open_all(&remotes, call)?;
        if tiers.is_empty() {
            return Ok(Vec::new());
        }
        let sign = || signer(&args.sign_key, &tiers, workspace, &point.commit, call);
        let signer = (!args.unsigned).then(sign).transpose()?;
        let push = |tier: &dyn Tier| {
            let name = tier.name();
            let push = || match tier.is_writable() {
                true => push(tier, &self.store, point, signer.as_ref(), call.now_unix_s()),
                false => Err(PushError::ReadOnly),
            };
            let started = timer();
            let pushed = call.reporter.during(&format!("Writing to {name}"), push);
            if let Err(error) = &pushed {
                call.reporter
                    .warn(format!("cannot write to {name}: {error}"));
            }
            let time = started.elapsed();
            (name.to_owned(), pushed.map(|pushed| (pushed, time)))
        };
        let tiers = tiers.iter().map(|tier| &**tier);
        let tiers: Vec<&dyn Tier> = tiers.filter(|tier| is_meant(*tier, args)).collect();
        if point.dirty && !tiers.is_empty() {
            call.reporter.note(CHANGED);
            return Ok(Vec::new());
        }
        if signer.as_ref().is_some_and(|one| one.keys.is_empty()) {
            let far = tiers.iter().filter(|tier| tier.is_writable());
            let far = far.filter(|tier| tier.directory().is_none());
            far.for_each(|tier| call.reporter.warn(no_key(tier.name())));
        }
        let pushed = tiers.into_iter().map(push).collect();
        signer.iter().for_each(|one| warn_of_dropped(one, call));
        Ok(pushed)
    }
}

/// Says what it means for the remote called `name` that nothing is signed.
fn no_key(name: &str) -> String {
    format!(
        "there is no key to sign with, so readers of {name} use this with --believe-store alone; name one with --sign-key or HEADSTART_SIGN_KEY"
    )
}

/// Tells whether `tier` is to be written to: what is typed is meant for that; what is set is read, and written to where that can be done.
fn is_meant(tier: &dyn Tier, args: &PublishArgs) -> bool {
    tier.is_writable() || !args.store.remote.is_empty()
}

/// Returns who signs what was published of `commit`: the keys to sign with, and all that are believed in `workspace`, where something is
/// signed with them.
pub(super) fn signer(
    typed: &[PathBuf],
    tiers: &[Box<dyn Tier>],
    workspace: &Path,
    commit: &str,
    call: Call<'_>,
) -> Result<Signer> {
    let (environment, now_unix_s) = (call.environment, call.now_unix_s());
    let keys = signing_keys(environment, typed)?;
    let mut keyring = keyring::of(environment, here(&environment.at(workspace)))?;
    keyring::refresh(&mut keyring, tiers, &call.reporter);
    let own = keys.iter().map(SecretKey::public);
    Ok(Signer {
        believed: keyring.here().into_iter().chain(own).collect(),
        keys,
        comment: format!("headstart commit:{commit} timestamp:{now_unix_s}"),
        dropped: AtomicUsize::new(0),
    })
}

/// Says how many starting points `signer` dropped.
pub(super) fn warn_of_dropped(signer: &Signer, call: Call<'_>) {
    let dropped = signer.dropped.load(Ordering::Relaxed);
    if dropped > 0 {
        let points = count(dropped, "starting point");
        call.reporter.warn(format!(
            "{points} of a list that nobody signed who is believed here are listed no more; before the next change of keys, \
             `headstart trust add` the old one here too"
        ));
    }
}

fn check_commands(commands: &[CargoCommand], environment: &Environment) -> Result<()> {
    if let Some(checkout) = Checkout::running(&commands[0], environment)
        && commands.iter().all(|one| checkout.x(one).is_some())
    {
        return Ok(());
    }
    for command in commands {
        let places = ["--target-dir", "--manifest-path", "--config"];
        let differs = |option: &&str| command.options(option).ne(commands[0].options(option));
        let shown = command.shown();
        let what = format!("`{shown}` builds nothing that could be published");
        let hint = "give build, check, clippy, test, bench or rustc with its options behind `--`";
        let builds = command.building_subcommand().is_some();
        ensure!(builds, Failure::new(what, hint));
        let what = format!("`{shown}` sets --message-format, which publish needs for itself");
        let is_plain = command.option("--message-format").is_none();
        ensure!(is_plain, Failure::new(what, "leave the option out"));
        let what = "the commands name different workspaces or target directories";
        let same = !places.iter().any(differs);
        ensure!(same, Failure::new(what, "publish once for each of them"));
        let what = "the commands name different toolchains";
        let same = command.toolchain() == commands[0].toolchain();
        ensure!(same, Failure::new(what, "publish once for each toolchain"));
    }
    Ok(())
}

/// Returns the commit to publish under, and whether the work tree differs from it.
fn commit_to_publish(repository: &Repository, args: &PublishArgs) -> Result<(String, bool)> {
    let head = repository.head()?;
    let changes = repository.changes()?;
    if let Some(first) = changes.first().filter(|_| !args.allow_dirty) {
        let more = match changes.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let first = first.trim();
        let what = format!("the work tree differs from the commit: {first}{more}");
        let hint =
            "commit or stash the changes; --allow-dirty publishes them, but not as the commit's";
        return Err(Failure::new(what, hint).into());
    }
    let Some(revision) = &args.commit else {
        return Ok((head, !changes.is_empty()));
    };
    let commit = repository.commit(revision)?;
    let what = format!("{revision} has other files than HEAD, which is what was built");
    let hint = format!("check {revision} out first");
    let same = repository.tree(&commit)? == repository.tree(&head)?;
    ensure!(same, Failure::new(what, hint));
    Ok((commit, !changes.is_empty()))
}

/// A commit made, or a file changed, while cargo ran would be published under the wrong name.
fn check_still_there(repository: &Repository, built: &Manifest) -> Result<()> {
    let moved = repository.tree(&repository.head()?)? != repository.tree(&built.commit)?;
    let changes = match built.dirty {
        true => Vec::new(),
        false => repository.changes()?,
    };
    let first = changes.first().map(|change| format!(": {}", change.trim()));
    let first = first.unwrap_or_default();
    let what = format!("the work tree changed while cargo was building{first}");
    let hint = "publish from a directory that nobody works in, and have git ignore what the build itself writes there";
    ensure!(!moved && changes.is_empty(), Failure::new(what, hint));
    Ok(())
}

fn as_json(outcome: &Outcome, unsigned: bool) -> Value {
    let published = &outcome.published;
    let point = &published.point;
    let left_out = published.left_out.iter();
    let left_out = left_out.map(|(unit, reason)| json!({ "unit": unit, "reason": reason }));
    json!({
        "commit": point.commit,
        "dirty": point.dirty,
        "unsigned": unsigned,
        "manifest": point.manifest.hex(),
        "units": point.units,
        "left_out": left_out.collect::<Value>(),
        "objects_new": published.new_objects,
        "bytes_new": published.new_bytes,
        "bytes_total": point.size_bytes,
        "cargo_seconds": outcome.cargo_time.as_secs_f64(),
        "publish_seconds": outcome.publish_time.as_secs_f64(),
        "remotes": outcome.pushed.iter().map(|(name, pushed)| match pushed {
            Ok((pushed, _)) => json!({
                "url": name,
                "objects": pushed.objects,
                "packs": pushed.packs,
                "bytes": pushed.bytes,
                "requests": pushed.requests,
            }),
            Err(error) => json!({ "url": name, "error": error.to_string() }),
        }).collect::<Value>(),
        "push_seconds": outcome.push_time.as_secs_f64(),
    })
}

fn print(outcome: &Outcome, unsigned: bool) {
    let published = &outcome.published;
    let (point, left_out) = (&published.point, &published.left_out);
    let dirty = match point.dirty {
        true => " with changes (not offered as the commit's)",
        false => "",
    };
    say!("published {}{dirty}", short(&point.commit));
    let units = count(point.units, "unit");
    let seconds = outcome.publish_time.as_secs_f64();
    let (made, new) = (bytes(point.size_bytes), bytes(published.new_bytes));
    say!("  {units} that made {made}; {new} new in the store, in {seconds:.1} s");
    let written = outcome.pushed.iter();
    let written = written.filter_map(|(name, pushed)| Some((name, pushed.as_ref().ok()?)));
    for (name, (pushed, time)) in written.clone() {
        let (size, seconds) = (bytes(pushed.bytes), time.as_secs_f64());
        say!("  {size} written to {name} in {seconds:.1} s");
    }
    if unsigned && written.count() > 0 {
        let (commit, name) = (&point.commit, point.manifest.hex());
        say!("  nobody finds it before it is signed, where the key is:");
        say!("  headstart sign --commit {commit} --manifest {name}");
    }
    let line = |(unit, reason): &(String, String)| format!("left out {unit}: {reason}");
    print_first(SHOWN_LEFT_OUT, left_out.iter().map(line), NAMED_BY_JSON);
}
