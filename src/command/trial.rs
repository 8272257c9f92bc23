//! One trial of a bisect: a commit's programs in the scratch work tree, placed or built, and COMMAND run beside them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cli::BisectArgs;
use super::scratch::{Judged, Scratch, TARGET};
use super::sources::{NoStart, Sources};
use super::{Failure, Setup, start, timer, wrapped};
use crate::cargo::command::{self as cargo, KEPT_BACK};
use crate::cargo::{CargoCommand, CargoError, Live, Messages, PackageId, message};
use crate::child;
use crate::disk::{self, PLAIN, Staging};
use crate::engine::bisect::Verdict;
use crate::engine::programs::{self, Program, Wanted};
use crate::git::{OF_HOOKS, Repository};
use crate::store::{ObjectError, Point};

/// How long the programs of one commit may be on their way: nothing quicker would give them.
const FETCHING: Duration = Duration::from_secs(600);

/// The variables of programs that a commit must have, each with the commands that made them, where only those will do.
pub type Needed = BTreeMap<String, Option<String>>;

/// Everything that trials of one bisect share.
#[derive(Debug)]
pub struct Trials<'a> {
    /// What was typed.
    pub args: &'a BisectArgs,
    /// The user's work tree.
    pub repository: &'a Repository,
    /// The user's workspace.
    pub setup: &'a Setup,
    /// Where programs come from, and how commits that are built are started.
    pub(super) sources: Sources<'a>,
    /// Where they go.
    pub scratch: &'a Scratch,
    /// For unfinished files.
    pub staging: Staging,
}

/// Why a commit's programs are not to be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotHad(String);

impl Trials<'_> {
    /// Tries `commit` with programs of its starting points `points`, or made by the cargo commands `building` if there are any;
    /// without one of those that are `needed` it is skipped. Returns what to remember of it, and the programs that were at hand.
    ///
    /// An error is what ends the bisect: COMMAND cannot be run, or says that it should end.
    pub fn run(
        &mut self,
        commit: &str,
        (points, building): (&[Point], Option<&[CargoCommand]>),
        needed: &Needed,
    ) -> Result<(Judged, Vec<Program>)> {
        let clock = timer();
        let tree = self.scratch.at(self.repository, commit)?;
        let root = disk::canonical(&self.setup.workspace.root);
        let below = root.strip_prefix(&self.repository.root);
        let workspace = tree.join(below.unwrap_or(Path::new("")));
        let programs = match building {
            None => self.place(points, &workspace.join(TARGET)),
            Some(commands) => self.build(commit, commands, &workspace),
        };
        let programs = programs.and_then(|programs| complete(programs, needed));
        let built = building.is_some();
        let mut judged = Judged {
            // One that was not to be had may be built later, or be there tomorrow.
            verdict: built.then_some(Verdict::Skipped),
            built,
            ..Judged::default()
        };
        let programs = match programs {
            Ok(programs) => {
                let code = self.command(commit, &workspace, &programs)?;
                judged.verdict = Some(verdict(code));
                judged.reason = (code == SKIP).then(|| "COMMAND says so".to_owned());
                judged.code = Some(code);
                programs
            }
            Err(error) => {
                judged.reason = Some(error.downcast::<NotHad>()?.0);
                Vec::new()
            }
        };
        judged.seconds = clock.elapsed().as_secs_f64();
        Ok((judged, programs))
    }

    /// Places the programs of `points` and nothing else; fails with [`NotHad`] where that cannot be.
    fn place(&mut self, points: &[Point], target: &Path) -> Result<Vec<Program>> {
        disk::remove_dir(target)?;
        self.sources.far.again();
        let mut placed = Vec::new();
        for point in points {
            let candidate = self.sources.candidate(point);
            let candidate = candidate.map_err(|why| NotHad(why.to_string()))?;
            let (manifest, only) = (&candidate.manifest, &self.args.only[..]);
            let wanted = Wanted { manifest, only };
            let Sources { far, store, .. } = &self.sources;
            let what = (point.manifest, manifest.get());
            far.fetch(what, wanted.objects(), |_| FETCHING, (store, None))?;
            let programs = wanted.place(target, store, &self.staging);
            let programs = programs.map_err(|error| match error {
                ObjectError::Disk(error) => anyhow::Error::from(error),
                error => NotHad(error.to_string()).into(),
            })?;
            // One of the same name is placed over.
            placed.retain(|one: &Program| programs.iter().all(|other| other.path != one.path));
            placed.extend(programs);
        }
        let why = "no such programs or tests were published";
        ensure!(!placed.is_empty(), NotHad(why.to_owned()));
        Ok(placed)
    }

    /// Returns the programs that the commit of `points` has, by their variables, each with the commands that made it; none if it cannot be
    /// read.
    pub fn named(&self, points: &[Point]) -> Option<BTreeMap<String, String>> {
        let mut named = BTreeMap::new();
        for point in points {
            let candidate = self.sources.candidate(point).ok()?;
            let (manifest, only) = (&candidate.manifest, &self.args.only[..]);
            named.extend(Wanted { manifest, only }.named());
        }
        (!named.is_empty()).then_some(named)
    }

    /// Starts and builds in `workspace`; fails with [`NotHad`] where it does not build.
    fn build(
        &self,
        commit: &str,
        commands: &[CargoCommand],
        workspace: &Path,
    ) -> Result<Vec<Program>> {
        let target = workspace.join(TARGET);
        // What was placed there for a trial is no build's.
        if !target.join("CACHEDIR.TAG").exists() {
            disk::remove_dir(&target)?;
        }
        let environment = self.sources.call.environment.at(workspace);
        let environment = environment.with("HEADSTART_LATER", "off");
        let environment = environment.with("CARGO_TARGET_DIR", &target);
        let call = self.sources.call.at(&environment);
        let stays = |dir: &Path| disk::canonical(dir).starts_with(workspace);
        let mut lines = Vec::new();
        for command in commands {
            let setup = match Setup::of(command, &environment, None) {
                Ok(setup) => setup,
                Err(error) => return self.not_built(commit, &format!("{error:#}")),
            };
            let what = format!("`{}` builds somewhere else", command.shown());
            let hint = "say how to build with --then-build='build ...'";
            let all_stay = stays(&setup.workspace.root) && stays(&setup.workspace.target_dir);
            ensure!(all_stay, Failure::new(what, hint));
            match start::start(self.sources.args, &setup, call) {
                // Without a starting point it is a plain build.
                Err(error) if !error.is::<NoStart>() => call.reporter.warn(error),
                _ => {}
            }
            match cargo::run(command, wrapped(&environment), Messages::Kept, |_| ()) {
                Err(CargoError::Failed { stderr, .. }) => return self.not_built(commit, &stderr),
                // For want of memory, for instance.
                Err(killed @ CargoError::Ended(_, 9)) => {
                    return self.not_built(commit, &killed.to_string());
                }
                report => lines.extend(report?),
            }
        }
        Ok(message::live(&lines).iter().filter_map(built).collect())
    }

    /// Keeps what was said instead of a build.
    fn not_built(&self, commit: &str, messages: &str) -> Result<Vec<Program>> {
        let log = self.scratch.log(commit)?;
        self.staging.write(&log, messages.as_bytes(), PLAIN)?;
        Err(NotHad("it does not build".to_owned()).into())
    }

    /// Runs COMMAND in `workspace`, and returns its exit code.
    #[expect(clippy::disallowed_methods, reason = "the user's own command")]
    fn command(&self, commit: &str, workspace: &Path, programs: &[Program]) -> Result<i32> {
        let log = self.scratch.log(commit)?;
        let printed = File::create(&log);
        let printed = printed.with_context(|| format!("cannot write {}", log.display()))?;
        let (program, args) = self.args.command.split_first().context("no COMMAND")?;
        let program = self.found(program);
        let mut command = std::process::Command::new(&program);
        command.args(args).current_dir(workspace);
        command.envs(self.sources.call.environment.overrides.iter().cloned());
        command.env("CARGO_TARGET_DIR", workspace.join(TARGET));
        let dirs = programs::directories(programs);
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            let own = self.sources.call.environment.var(name);
            let all: Vec<&OsStr> = dirs.iter().map(OsString::as_os_str).chain(own).collect();
            command.env(name, all.join(OsStr::new(":")));
        }
        for one in programs {
            command.envs(one.variables.iter().map(|variable| (variable, &one.path)));
        }
        for name in KEPT_BACK.iter().chain(&OF_HOOKS) {
            command.env_remove(name);
        }
        let both = printed.try_clone()?;
        command.stdin(Stdio::null()).stdout(both).stderr(printed);
        let status = child::status(&mut command).map_err(|error| {
            let what = format!("cannot run `{}`: {error}", program.to_string_lossy());
            let hint = "COMMAND runs in a work tree of its own; a path to it may be relative to where you are";
            Failure::new(what, hint)
        })?;
        let code = status.code();
        let code = code.unwrap_or_else(|| ABORT + status.signal().unwrap_or_default());
        let what = format!("COMMAND ended with {code}, which ends the bisect");
        let log = log.display();
        let hint = format!("it printed {log}; the same command line goes on where this one ended");
        ensure!(code < ABORT, Failure::new(what, hint));
        Ok(code)
    }

    /// Returns COMMAND's program: a file where it was typed, if there is one, else what it says.
    fn found(&self, program: &OsStr) -> OsString {
        let here = self.sources.call.environment.dir.join(program);
        let is_path = program.as_encoded_bytes().contains(&b'/');
        match is_path && here.is_file() {
            true => here.into_os_string(),
            false => program.to_owned(),
        }
    }
}

/// The exit code of a COMMAND that cannot tell.
const SKIP: i32 = 125;
/// The least exit code that ends a bisect; a shell's for signals begin here.
const ABORT: i32 = 128;

/// Returns what an exit code below [`ABORT`] says. Source: `git bisect run`.
fn verdict(code: i32) -> Verdict {
    match code {
        0 => Verdict::Good,
        SKIP => Verdict::Skipped,
        _ => Verdict::Bad,
    }
}

/// Returns `programs` if all are there that are needed, made as they are. Without one, COMMAND would find another program of that name.
fn complete(programs: Vec<Program>, needed: &Needed) -> Result<Vec<Program>> {
    let has = |(name, by): &(&String, &Option<String>)| {
        let is_so = |one: &Program| one.by.is_empty() || by.as_ref().is_none_or(|by| *by == one.by);
        let mut named = programs.iter().filter(|one| one.variables.contains(name));
        named.any(is_so)
    };
    match needed.iter().find(|one| !has(one)) {
        Some((name, None)) => Err(NotHad(format!("there is nothing for {name}")).into()),
        Some((name, Some(by))) => {
            Err(NotHad(format!("there is nothing for {name} by `cargo {by}`")).into())
        }
        None => Ok(programs),
    }
}

/// Returns the program that cargo says it built.
fn built(live: &Live) -> Option<Program> {
    let Live::Artifact(artifact) = live else {
        return None;
    };
    let package = PackageId::parse(&artifact.package_id)?;
    Some(Program {
        path: artifact.executable.clone()?,
        variables: programs::variables(&package.name, &artifact.stem()),
        pinned: false,
        by: String::new(),
    })
}
