//! `headstart demo`: the difference that a starting point makes, measured in a scratch directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::cli::{DemoArgs, KEEP_DAYS, PublishArgs, StartArgs, StoreArgs};
use super::failure::Failure;
use super::setup::{Clock, Setup, print_json, print_line, short};
use super::{publish, sample, start};
use crate::cargo::command::{self as cargo, CargoCommand, Messages, Run};
use crate::cargo::package::Locked;
use crate::config::Environment;
use crate::disk::{self, place, walk};
use crate::engine::plan::Action;
use crate::git::{self, Repository};
use crate::report::{Reporter, bytes};

/// What was measured.
struct Measured {
    before: String,
    commit: String,
    alone: Duration,
    started: Duration,
    start: start::Outcome,
}

/// Runs the command, and returns its exit code.
pub fn run(args: &DemoArgs, environment: &Environment, now: Timestamp) -> anyhow::Result<ExitCode> {
    let parent = match &args.scratch {
        Some(dir) => environment.dir().join(dir),
        None => environment.temporary(),
    };
    let made = tempfile::Builder::new()
        .prefix("headstart-demo-")
        .tempdir_in(&parent);
    let scratch =
        made.with_context(|| format!("cannot make a scratch directory in {}", parent.display()))?;
    remove_when_interrupted(scratch.path());
    let reporter = Reporter::new(args.json);
    reporter.note(&format!(
        "working in {}, which is removed at the end",
        scratch.path().display()
    ));
    let demo = Demo {
        args,
        environment,
        root: disk::canonical(scratch.path()),
        reporter,
    };
    let measured = demo.measure(now)?;
    match args.json {
        true => print_json(&as_json(&measured)),
        false => print(&measured),
    }
    scratch
        .close()
        .context("cannot remove the scratch directory")?;
    Ok(ExitCode::SUCCESS)
}

/// A demo that is stopped leaves nothing behind; cargo gets the same Ctrl-C by itself.
fn remove_when_interrupted(scratch: &Path) {
    const INTERRUPTED: i32 = 130;
    let scratch = scratch.to_path_buf();
    let handler = move || {
        // Twice: a rustc that is just ending may still have written while the first went through.
        drop(disk::remove_dir(&scratch));
        drop(disk::remove_dir(&scratch));
        std::process::exit(INTERRUPTED);
    };
    // Without a handler the demo works, and leaves its directory when interrupted.
    drop(ctrlc::set_handler(handler));
}

struct Demo<'a> {
    args: &'a DemoArgs,
    environment: &'a Environment,
    root: PathBuf,
    reporter: Reporter,
}

impl Demo<'_> {
    fn measure(&self, now: Timestamp) -> anyhow::Result<Measured> {
        let source = self.source()?;
        let repository = Repository::discover(&source)?;
        let commit = repository.head()?;
        let before = repository
            .commit("HEAD~1")
            .unwrap_or_else(|_| commit.clone());
        let subdirectory = source
            .strip_prefix(repository.root())
            .unwrap_or(Path::new(""));
        let clone = |name: &str, at: &str| -> anyhow::Result<PathBuf> {
            let dir = self.root.join(name);
            disk::make_dir(dir.parent().unwrap_or(&self.root))?;
            git::clone_at(repository.root(), &dir, at)?;
            Ok(dir.join(subdirectory))
        };
        let publisher = clone("publisher", &before)?;
        self.publish(&publisher, now)?;
        let reader = clone("somewhere/else/reader", &commit)?;
        let alone = clone("somewhere/else/alone", &commit)?;
        let home = self.other_home(&reader)?;
        let alone = self.build(&alone, &home, "cargo alone, from nothing")?;
        let environment = self.at(&reader).with("CARGO_HOME", &home);
        let clock = Clock::start();
        let setup = Setup::of(&self.command(), &environment, None)?;
        let start = start::start(
            &StartArgs {
                store: self.store(),
                ..StartArgs::default()
            },
            &environment,
            &setup,
            now,
            &self.reporter,
        )?;
        let start = start.map_err(|why| {
            Failure::new(format!("no starting point: {why}"), "please report this")
        })?;
        self.build(&reader, &home, "headstart start, then cargo")?;
        Ok(Measured {
            before,
            commit,
            alone,
            started: clock.elapsed(),
            start,
        })
    }

    /// Returns the workspace to show: the one named, else the current one if it has a commit, else a sample.
    fn source(&self) -> anyhow::Result<PathBuf> {
        if let Some(workspace) = &self.args.workspace {
            let dir = disk::canonical(&self.environment.dir().join(workspace));
            Repository::discover(&dir)?.head()?;
            return Ok(dir);
        }
        let here = Setup::of(&self.command(), self.environment, None)
            .ok()
            .and_then(|setup| {
                let root = disk::canonical(&setup.workspace.root);
                Repository::discover(&root).ok()?.head().ok().map(|_| root)
            });
        if let Some(root) = here {
            return Ok(root);
        }
        self.reporter
            .note("no cargo workspace with a commit here: generating a sample");
        let dir = self.root.join("sample");
        disk::make_dir(&dir)?;
        sample::write(&dir, || self.cargo(&dir, &["generate-lockfile"], &[]))?;
        Ok(dir)
    }

    fn publish(&self, dir: &Path, now: Timestamp) -> anyhow::Result<()> {
        let step = self
            .reporter
            .step("publisher: cargo build, then publish", 0);
        self.cargo(dir, &["fetch"], &[])?;
        let args = PublishArgs {
            store: self.store(),
            keep_days: KEEP_DAYS,
            cargo: self.command().args,
            ..PublishArgs::default()
        };
        let clock = Clock::start();
        let outcome =
            publish::publish_build(&args, &self.at(dir), now, &self.reporter, Messages::Kept)?;
        drop(step);
        self.reporter.note(&format!(
            "published the commit before: {} units, {}, in {:.1} s after a build of {:.1} s",
            outcome.published.point.units,
            bytes(outcome.published.point.size_bytes),
            outcome.publish_time.as_secs_f64(),
            (clock.elapsed() - outcome.publish_time).as_secs_f64(),
        ));
        Ok(())
    }

    /// Returns another CARGO_HOME with the packages that `dir` needs; none of it is timed.
    fn other_home(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        let step = self.reporter.step("preparing another CARGO_HOME", 0);
        let (from, to) = (
            self.environment.cargo_home()?,
            self.root.join("another-cargo-home"),
        );
        for name in ["config.toml", "config"]
            .iter()
            .filter(|name| from.join(name).is_file())
        {
            place::copy(&from.join(name), &to.join(name))?;
        }
        let index = Path::new("registry/index");
        for entry in walk::below_without_links(&from.join(index)).unwrap_or_default() {
            if entry.kind == walk::Kind::File {
                let file = index.join(&entry.relative);
                place::copy(&from.join(&file), &to.join(&file))?;
            }
        }
        let locked = Locked::read(&dir.join("Cargo.lock")).unwrap_or_default();
        for registry in walk::subdirectories(&from.join("registry/cache")) {
            for file in locked.crate_files() {
                let file = Path::new("registry/cache").join(&registry).join(file);
                if from.join(&file).is_file() {
                    place::copy(&from.join(&file), &to.join(&file))?;
                }
            }
        }
        disk::make_dir(&to)?;
        self.cargo(
            dir,
            &["fetch"],
            &[("CARGO_HOME".to_owned(), to.clone().into_os_string())],
        )?;
        drop(step);
        Ok(to)
    }

    /// Runs the demo's cargo command in `dir`, and returns how long it took.
    fn build(&self, dir: &Path, home: &Path, what: &str) -> anyhow::Result<Duration> {
        let step = self.reporter.step(what, 0);
        let args: Vec<String> = self.command().args;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let clock = Clock::start();
        self.cargo(
            dir,
            &args,
            &[("CARGO_HOME".to_owned(), home.as_os_str().to_owned())],
        )?;
        drop(step);
        Ok(clock.elapsed())
    }

    fn cargo(
        &self,
        dir: &Path,
        args: &[&str],
        env: &[(String, std::ffi::OsString)],
    ) -> anyhow::Result<()> {
        let environment = self.at(dir);
        let env = [environment.overrides(), env].concat();
        let how = Run {
            dir,
            env: &env,
            messages: Messages::Kept,
        };
        cargo::ask("cargo", args, how, None)?;
        Ok(())
    }

    /// The environment of a clone: its own target directory, and no other wrapper.
    fn at(&self, dir: &Path) -> Environment {
        let environment = self.environment.at(dir);
        environment
            .with("CARGO_TARGET_DIR", dir.join("target"))
            .with("RUSTC_WRAPPER", "")
    }

    fn store(&self) -> StoreArgs {
        let store = self.root.join("store").to_string_lossy().into_owned();
        StoreArgs {
            store: Some(store),
            remote: vec!["none".to_owned()],
            json: false,
            quiet: true,
        }
    }

    fn command(&self) -> CargoCommand {
        CargoCommand::split(&self.args.cargo).remove(0)
    }
}

fn as_json(measured: &Measured) -> serde_json::Value {
    json!({
        "published": measured.before,
        "commit": measured.commit,
        "alone_seconds": measured.alone.as_secs_f64(),
        "started_seconds": measured.started.as_secs_f64(),
        "units": {
            "fresh": measured.start.count(Action::Place),
            "near": measured.start.count(Action::Seed),
            "absent": measured.start.count(Action::Leave),
        },
        "bytes": measured.start.restored.bytes,
    })
}

fn print(measured: &Measured) {
    let (alone, started) = (measured.alone.as_secs_f64(), measured.started.as_secs_f64());
    let fresh = measured.start.count(Action::Place);
    print_line(&format!(
        "\nA fresh clone of {}, at another path, with another CARGO_HOME:",
        short(&measured.commit)
    ));
    print_line(&format!("  {alone:>7.1} s  cargo alone, from nothing"));
    print_line(&format!(
        "  {started:>7.1} s  headstart start, then cargo  ({:.1} times as fast)",
        alone / started.max(0.001)
    ));
    print_line(&format!(
        "  {fresh} of {} units came from {}, the commit before: {}",
        measured.start.decisions.len(),
        short(&measured.before),
        bytes(measured.start.restored.bytes),
    ));
}
