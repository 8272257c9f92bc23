//! `headstart doctor`: what is wrong here and what to do about it, a line for each check.
//!
//! Changes nothing of the user's. Each check has a thread of its own: one that fails, hangs or panics costs itself alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::json;

use super::cli::StoreArgs;
use super::sources;
use super::trust::{here, proposed};
use super::{Call, failure, far, init, keyring, print_json, quietly, short, timer, visit};
use crate::cargo::{CargoCommand, CargoError, Workspace, workspace};
use crate::config::{self, ConfigError, Environment, RemoteConfig};
use crate::disk::{self, space};
use crate::git::Repository;
use crate::model::Toolchain;
use crate::report::{bytes, count};
use crate::rustc::tried;
use crate::store::{Store, StoreError};
use crate::trust::Keyring;

/// How long all checks may take together; they run at once.
const LIMIT: Duration = Duration::from_secs(30);
/// With less room than this, in bytes, the next build is in danger.
const LITTLE_ROOM: u64 = 1 << 30;

/// What a check says that found nothing wrong.
pub(super) enum Says {
    /// All is well.
    Ok(String),
    /// It may be meant so.
    Note(String),
}

/// What several checks found; an error is what is wrong.
pub(super) type Findings = Vec<(&'static str, anyhow::Result<Says>)>;

/// Who is looked at.
pub(super) struct Patient {
    pub(super) environment: Environment,
    args: StoreArgs,
    workspace: PathBuf,
    pub(super) now: Timestamp,
}

type Check = fn(&Patient) -> anyhow::Result<Says>;

/// The checks of this machine, in the order in which they are told.
const CHECKS: [(&str, Check); 6] = [
    ("workspace", workspace_here),
    ("configuration", configuration),
    ("wrapper", wrapper),
    ("toolchain", toolchain),
    ("store", store),
    ("trust", whom),
];

/// Returns what to do where `check` is not content and knows no better.
fn hint(check: &str) -> &'static str {
    match check {
        "workspace" => "starts are for a cargo workspace in a git clone: run this in yours",
        "wrapper" => "`headstart init` makes it the wrapper; `headstart start -- build` needs none",
        "toolchain" => "install it if it is missing; else builds are right all the same",
        "store" => "make room on that disk, or name another store with --store",
        "trust" => "`headstart trust list` shows what is proposed, `trust add` believes a key",
        "remote" => "correct its address; where there is no directory, a publish makes it",
        "latency" => "see address and credentials; S3 needs ListBucket to say what is absent",
        "write" => "starts need only to read; who publishes needs credentials that may write",
        "conditional write" => "let one job publish at a time, or a list that is written is lost",
        "read" => "compiling is quicker than that: name another remote, or ask whoever runs it",
        "range" => "objects are asked for by ranges, which server and proxies must honour",
        "clock" => "set the clock: requests are signed, and starting points expire, by it",
        "list" => "`headstart publish` writes it; see whether what publishes there still runs",
        _ => "correct it; the book's chapter Settings says what there is",
    }
}

/// Runs the command, and returns its exit code: 1 if something is wrong.
pub fn run(args: &StoreArgs, call: Call<'_>) -> anyhow::Result<ExitCode> {
    let clock = timer();
    let step = call.reporter.step("Checking", 0);
    let patient = Arc::new(Patient {
        environment: call.environment.clone(),
        args: args.clone(),
        workspace: call.settled_dir(),
        now: call.now,
    });
    let mut begun = Vec::new();
    let mut begin = |url, name, check: Box<dyn FnOnce(&Patient) -> Findings + Send>| {
        let (patient, (sender, receiver)) = (patient.clone(), sync_channel(1));
        std::thread::spawn(move || drop(sender.send(check(&patient))));
        begun.push((url, name, receiver));
    };
    for (name, check) in CHECKS {
        let check = move |patient: &Patient| vec![(name, check(patient))];
        begin(String::new(), name, Box::new(check));
    }
    // If they cannot be read, the check of the configuration says so.
    for remote in patient.remotes().unwrap_or_default() {
        let (url, check) = (format!("{} ", remote.url), "remote");
        begin(url, check, Box::new(move |one| visit::of(one, &remote)));
    }
    let told = begun.into_iter().map(|(url, name, found)| {
        let found = found.recv_timeout(LIMIT.saturating_sub(clock.elapsed()));
        let late = |why| vec![(name, Err(why).context("it hangs, or crashed"))];
        (url, found.unwrap_or_else(late))
    });
    let told = told.collect();
    drop(step);
    Ok(tell(told, args))
}

/// Prints what was found, and returns the exit code that says it.
fn tell(told: Vec<(String, Findings)>, args: &StoreArgs) -> ExitCode {
    let (mut wrong, mut checks) = (0, Vec::new());
    let of =
        |(url, found): (String, Findings)| found.into_iter().map(move |one| (url.clone(), one));
    for (url, (check, found)) in told.into_iter().flat_map(of) {
        let own = found.as_ref().err().and_then(failure::hint);
        let (verdict, says) = match found {
            Ok(Says::Ok(says)) => ("ok", says),
            Ok(Says::Note(says)) => ("note", says),
            Err(error) => ("wrong", error.to_string()),
        };
        let hint = (verdict != "ok").then(|| own.unwrap_or(hint(check).to_owned()));
        wrong += u8::from(verdict == "wrong");
        if !args.json && (!args.quiet || verdict == "wrong") {
            let says = says.replace('\n', "\n       ");
            say!("{verdict:<5}  {url}{check}: {says}");
            hint.iter().for_each(|hint| say!("       hint: {hint}"));
        }
        let url = url.strip_suffix(' ');
        checks.push(json!({ "remote": url, "check": check, "verdict": verdict, "says": says, "hint": hint }));
    }
    if args.json {
        print_json(&json!({ "checks": checks, "wrong": wrong }));
    }
    ExitCode::from(wrong.min(1))
}

impl Patient {
    /// Returns what builds here.
    pub(super) fn toolchain(&self) -> Result<Toolchain, CargoError> {
        let run = quietly(&self.environment);
        workspace::toolchain(&self.environment.rustc(), run, None)
    }

    /// Returns who is believed here.
    pub(super) fn keyring(&self) -> anyhow::Result<Keyring> {
        keyring::of(&self.environment, here(&self.environment))
    }

    fn remotes(&self) -> Result<Vec<RemoteConfig>, ConfigError> {
        self.environment.remotes(&self.args.remote, &self.workspace)
    }
}

/// Whether something can be started here. A note: who asks after a remote may be anywhere.
fn workspace_here(patient: &Patient) -> anyhow::Result<Says> {
    let environment = &patient.environment;
    let found = || {
        let commit = Repository::discover(&environment.dir)?.head()?;
        let workspace = Workspace::of(&CargoCommand::default(), quietly(environment))?;
        let (root, commit) = (workspace.root.display(), short(&commit));
        anyhow::Ok(format!("{root}, at {commit}"))
    };
    Ok(found().map_or_else(|why| Says::Note(why.to_string()), Says::Ok))
}

fn configuration(patient: &Patient) -> anyhow::Result<Says> {
    let environment = &patient.environment;
    let understood = environment.var(far::WAIT_VAR).is_none() || far::wait(environment).is_some();
    ensure!(understood, "{} is no number of seconds", far::WAIT_VAR);
    environment.store_max_bytes()?;
    let remotes = count(patient.remotes()?.len(), "remote");
    let settings = config::settings(&patient.workspace)?;
    Ok(match settings.unknown() {
        Some(why) => Says::Note(why),
        None => Says::Ok(remotes),
    })
}

fn wrapper(patient: &Patient) -> anyhow::Result<Says> {
    let environment = &patient.environment;
    environment.cargo_home()?;
    let Some((program, by)) = environment.rustc_wrapper() else {
        return Ok(Says::Note("plain cargo begins from no session".to_owned()));
    };
    let there = program.is_file() || environment.finds(&program.to_string_lossy()).is_some();
    let named = format!("{by} names {}", program.display());
    ensure!(there, "{named}, and there is no such program");
    let ours = init::is_ours(&program, environment);
    ensure!(ours, "{named}, and two cannot share the place");
    Ok(Says::Ok(named))
}

fn toolchain(patient: &Patient) -> anyhow::Result<Says> {
    let toolchain = patient.toolchain()?;
    let rustc = toolchain.rustc.lines().next().unwrap_or_default();
    Ok(match tried::is_tried(rustc) {
        true => Says::Ok(format!("{rustc}, {}", toolchain.cargo)),
        false => Says::Note(format!("nobody tried sessions with {rustc}")),
    })
}

fn store(patient: &Patient) -> anyhow::Result<Says> {
    let typed = patient.args.store.as_deref();
    let root = patient.environment.store(typed)?;
    let (shown, free) = (root.display(), space::free_bytes(&root).unwrap_or(u64::MAX));
    let (writable, room) = (disk::is_writable(&root), bytes(free));
    ensure!(free > LITTLE_ROOM, "{shown} has only {room} free");
    let store = match Store::open(&root) {
        Err(StoreError::Missing(_)) if writable => {
            return Ok(Says::Ok(format!("{shown} will be made, {room} free")));
        }
        opened => opened?,
    };
    sources::believed(&disk::canonical(&root), false)?;
    if !writable {
        return Ok(Says::Note(format!("{shown} can only be read")));
    }
    let how = match space::device(&root) == space::device(&patient.workspace) {
        true if store.staging("doctor")?.can_reflink() => "reflinked",
        true => "copied, as this file system has no reflinks",
        false => "copied to another file system",
    };
    let points = count(store.all_points().len(), "starting point");
    let says = format!("{shown}: {points}, {room} free; files are {how}");
    Ok(Says::Ok(says))
}

/// Whom the user believes.
fn whom(patient: &Patient) -> anyhow::Result<Says> {
    proposed(&patient.environment)?;
    let keys = patient.keyring()?.here();
    let ids: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
    Ok(match ids.is_empty() {
        false => Says::Ok(format!("what {} signs is believed", ids.join(" or "))),
        true => Says::Note("no key is believed, so only directories of yours are".to_owned()),
    })
}
