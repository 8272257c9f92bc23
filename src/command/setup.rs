//! What every command needs to know first: workspace, roots, toolchain, store.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use jiff::Timestamp;

use super::init::is_ours;
use crate::cargo::{CargoCommand, Run, Workspace, workspace};
use crate::config::{self, Environment};
use crate::disk;
use crate::engine::answers::Answers;
use crate::engine::inputs;
use crate::git::Repository;
use crate::model::{Part, Root, Roots, Toolchain};
use crate::report::Reporter;
use crate::store::Store;

/// A command under way: where and when it was typed, and who hears of what it does.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Where it was typed.
    pub environment: &'a Environment,
    /// When it began.
    pub now: Timestamp,
    /// Where progress and notes go.
    pub reporter: Reporter,
}

/// A workspace on this machine.
#[derive(Debug)]
pub struct Setup {
    /// The workspace.
    pub workspace: Workspace,
    /// Where this machine has the roots.
    pub roots: Roots,
    /// What builds here.
    pub toolchain: Toolchain,
    /// rustc's sysroot.
    pub sysroot: PathBuf,
    /// The repository, if there is one.
    pub repository: Option<Repository>,
    /// What of it is built here.
    pub part: Part,
}

impl<'a> Call<'a> {
    /// Returns this call as if it was typed in `environment`.
    pub fn at(self, environment: &'a Environment) -> Call<'a> {
        Call {
            environment,
            ..self
        }
    }

    /// Returns the directory of `headstart.toml` for commands that do not ask cargo where the workspace is.
    pub fn settled_dir(&self) -> PathBuf {
        let dir = &self.environment.dir;
        let repository = Repository::discover(dir);
        let top = repository.as_ref().map_or(dir, |one| &one.root);
        self.environment.settled_dir(top).to_path_buf()
    }

    /// Returns when it began, in seconds since 1970.
    pub fn now_unix_s(&self) -> i64 {
        self.now.as_second()
    }
}

impl Setup {
    /// Returns the workspace that the environment's directory lies in.
    pub fn here(environment: &Environment, target_dir: Option<&Path>) -> anyhow::Result<Setup> {
        Setup::of(&CargoCommand::default(), environment, target_dir)
    }

    /// Returns what `command` would build when run in the environment's directory.
    pub fn of(
        command: &CargoCommand,
        environment: &Environment,
        target_dir: Option<&Path>,
    ) -> anyhow::Result<Setup> {
        let (dir, run) = (&environment.dir, quietly(environment));
        let (rustc, named) = (environment.rustc(), command.toolchain());
        // Programs that each take 5 to 60 ms to answer, and do not wait for one another.
        let (workspace, toolchain, sysroot, repository) = std::thread::scope(|scope| {
            let toolchain = scope.spawn(|| workspace::toolchain(&rustc, run, named));
            let sysroot = scope.spawn(|| workspace::sysroot(&rustc, run, named));
            let repository = scope.spawn(|| Repository::discover(&command.looks_from(dir)).ok());
            let quiet = "asking does not panic";
            (
                Workspace::of(command, run),
                toolchain.join().expect(quiet),
                sysroot.join().expect(quiet),
                repository.join().expect(quiet),
            )
        });
        let mut workspace = workspace?;
        if let Some(target) = target_dir {
            workspace = workspace.with_target_dir(&dir.join(target));
        }
        let unknown = "cannot tell which compiler cargo would run";
        let (toolchain, sysroot) = (toolchain.context(unknown)?, sysroot.context(unknown)?);
        let home = environment.cargo_home()?;
        let mut roots = Roots::new(&workspace.root, &workspace.build_dir, &home);
        let root = disk::canonical(&workspace.root);
        let mut part = Part::default();
        if let Some(repository) = &repository
            && repository.root != root
        {
            let below = root.strip_prefix(&repository.root).unwrap_or(&root);
            part.workspace = below.to_string_lossy().into_owned();
            roots = roots.with_alias(Root::Repository, &repository.root);
        }
        Ok(Setup {
            roots: inputs::with_aliases(roots),
            workspace,
            toolchain,
            sysroot,
            repository,
            part,
        })
    }

    /// Returns what rustc tells cargo here where that runs `commands`, to keep in `store` or to take from it; none where that may differ, or
    /// another program runs cargo.
    pub fn answers(
        &self,
        commands: &[CargoCommand],
        environment: &Environment,
        store: &Store,
    ) -> Option<Answers> {
        let mut args = commands.iter().flat_map(|command| &command.args);
        // clippy asks with another program in rustc's place.
        let differs = args.any(|arg| arg.starts_with("--config") || arg == "clippy");
        let is_plain = self.part.target_dir.is_empty() && !differs;
        let (build, compiler) = (&self.workspace.build_dir, (&self.toolchain, &*self.sysroot));
        is_plain.then(|| Answers::of(store, build, compiler, &environment.rustc_settings()))?
    }

    /// Returns the directory of `headstart.toml`: the workspace's root, but the top of the work tree for one of several parts.
    pub fn configured(&self) -> &Path {
        match !self.part.target_dir.is_empty() && self.roots.has(Root::Repository) {
            true => self.roots.dir(Root::Repository),
            false => &self.workspace.root,
        }
    }
}

/// Returns how cargo is asked something in `environment`.
pub fn quietly(environment: &Environment) -> Run<'_> {
    Run {
        dir: &environment.dir,
        env: &environment.overrides,
        wrapper: None,
    }
}

/// Returns how cargo runs in `environment` where it compiles through this program.
pub fn wrapped(environment: &Environment) -> Run<'_> {
    Run {
        wrapper: Some(&environment.program),
        ..quietly(environment)
    }
}

/// Says of the user's own program in rustc's place, if there is one, that [`wrapped`] does not run it.
pub fn warn_of_other_wrapper(call: Call<'_>) {
    let environment = call.environment;
    let named = environment.rustc_wrapper();
    if let Some((program, by)) = named.filter(|(program, _)| !is_ours(program, environment)) {
        let program = program.display();
        call.reporter.warn(format!(
            "{by} names {program}, which is not run, since headstart is in its place; to have it run, run cargo itself after `headstart start`"
        ));
    }
}

/// Says of what is no setting in the `headstart.toml` in `dir` that it means nothing. A file that cannot be read is another's matter.
pub fn warn_of_unknown_settings(call: Call<'_>, dir: &Path) {
    let unknown = config::settings(dir).ok().and_then(|all| all.unknown());
    unknown.iter().for_each(|why| call.reporter.warn(why));
}

/// Begins to measure how long something takes; the only clock of the commands beside the time they start at.
#[expect(clippy::disallowed_methods, reason = "commands time what they run")]
pub fn timer() -> Instant {
    Instant::now()
}

/// Returns the beginning of a commit's name, for people.
pub fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// Who names all of what is too much for people.
pub const NAMED_BY_JSON: &str = "; --json names them all";

/// Prints the first of `lines`, at most `shown`, and how many more there are; `all` says who names them.
pub fn print_first(shown: usize, lines: impl ExactSizeIterator<Item: Display>, all: &str) {
    let more = lines.len().saturating_sub(shown);
    lines.take(shown).for_each(|line| say!("  {line}"));
    if more > 0 {
        say!("  and {more} more{all}");
    }
}

/// Prints `value` as one line of JSON on standard output.
pub fn print_json(value: &serde_json::Value) {
    say!("{value}");
}
