//! `headstart demo`: the difference that a starting point makes, measured in a scratch directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::cli::{DemoArgs, KEEP_DAYS, PublishArgs, StartArgs, StoreArgs};
use super::sources::NoStart;
use super::{Call, Failure, Setup, print_json, publish, quietly, sample, short, start, timer};
use crate::cargo::{CargoCommand, Locked, command as cargo};
use crate::child;
use crate::config::Environment;
use crate::disk::{self, place, walk};
use crate::engine::Action;
use crate::git::{self, Repository};
use crate::report::bytes;

/// What was measured.
struct Measured {
    before: String,
    commit: String,
    alone: Duration,
    started: Duration,
    start: start::Outcome,
}

/// Runs the command.
pub fn run(args: &DemoArgs, call: Call<'_>) -> Result<()> {
    let parent = match &args.scratch {
        Some(dir) => call.environment.dir.join(dir),
        None => call.environment.path("TMPDIR").unwrap_or("/tmp".into()),
    };
    let mut builder = tempfile::Builder::new();
    let made = builder.prefix("headstart-demo-").tempdir_in(&parent);
    let failed = || format!("cannot make a scratch directory in {}", parent.display());
    let scratch = made.with_context(failed)?;
    let left = scratch.path().to_path_buf();
    child::at_end(move || {
        // Twice: a rustc that is just ending may still have written while the first went through.
        drop(disk::remove_dir(&left));
        drop(disk::remove_dir(&left));
    });
    let dir = scratch.path().display();
    let note = format!("working in {dir}, which is removed at the end");
    call.reporter.note(note);
    let demo = Demo {
        args,
        call,
        root: disk::canonical(scratch.path()),
    };
    let measured = demo.measure()?;
    match args.json {
        true => print_json(&as_json(&measured)),
        false => print(&measured),
    }
    let closed = scratch.close();
    closed.context("cannot remove the scratch directory")?;
    Ok(())
}

struct Demo<'a> {
    args: &'a DemoArgs,
    call: Call<'a>,
    root: PathBuf,
}

impl Demo<'_> {
    fn measure(&self) -> Result<Measured> {
        let source = self.source()?;
        let repository = Repository::discover(&source)?;
        let commit = repository.head()?;
        let before = repository.commit("HEAD~1");
        let before = before.unwrap_or_else(|_| commit.clone());
        let subdirectory = source.strip_prefix(&repository.root);
        let subdirectory = subdirectory.unwrap_or(Path::new(""));
        let clone = |name: &str, at: &str| -> Result<PathBuf> {
            let dir = self.root.join(name);
            disk::make_dir(dir.parent().unwrap_or(&self.root))?;
            git::clone_at(&repository.root, &dir, at)?;
            Ok(dir.join(subdirectory))
        };
        let publisher = clone("publisher", &before)?;
        self.publish(&publisher)?;
        let reader = clone("somewhere/else/reader", &commit)?;
        let alone = clone("somewhere/else/alone", &commit)?;
        let home = self.other_home(&reader)?;
        let alone = self.build(&alone, &home, "cargo alone, from nothing")?;
        let environment = self.at(&reader).with("CARGO_HOME", &home);
        let clock = timer();
        let setup = Setup::of(&self.command(), &environment, None)?;
        let args = StartArgs {
            store: self.store(),
            ..StartArgs::default()
        };
        let call = self.call.at(&environment);
        let none = |error: anyhow::Error| match error.downcast::<NoStart>() {
            Ok(none) => Failure::new(none.to_string(), "please report this").into(),
            Err(error) => error,
        };
        let start = start::start(&args, &setup, call).map_err(none)?;
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
    fn source(&self) -> Result<PathBuf> {
        if let Some(workspace) = &self.args.workspace {
            let dir = disk::canonical(&self.call.environment.dir.join(workspace));
            Repository::discover(&dir)?.head()?;
            return Ok(dir);
        }
        let here = || {
            let setup = Setup::of(&self.command(), self.call.environment, None).ok()?;
            let root = disk::canonical(&setup.workspace.root);
            let committed = Repository::discover(&root).ok()?.head().is_ok();
            committed.then_some(root)
        };
        if let Some(root) = here() {
            return Ok(root);
        }
        let note = "no cargo workspace with a commit here: generating a sample";
        self.call.reporter.note(note);
        let dir = self.root.join("sample");
        disk::make_dir(&dir)?;
        sample::write(&dir, || self.cargo(&dir, &["generate-lockfile"], None))?;
        Ok(dir)
    }

    fn publish(&self, dir: &Path) -> Result<()> {
        let what = "publisher: cargo build, then publish";
        let step = self.call.reporter.step(what, 0);
        self.cargo(dir, &["fetch"], None)?;
        let args = PublishArgs {
            store: self.store(),
            keep_days: KEEP_DAYS,
            cargo: self.command().args,
            ..PublishArgs::default()
        };
        let clock = timer();
        let environment = self.at(dir);
        let outcome = publish::publish_build(&args, self.call.at(&environment))?;
        drop(step);
        let (point, took) = (&outcome.published.point, outcome.publish_time);
        let (units, size) = (point.units, bytes(point.size_bytes));
        let built = (clock.elapsed() - took).as_secs_f64();
        let took = took.as_secs_f64();
        self.call.reporter.note(format!(
            "published the commit before: {units} units, {size}, in {took:.1} s after a build of {built:.1} s"
        ));
        Ok(())
    }

    /// Returns another CARGO_HOME with the packages that `dir` needs; none of it is timed.
    fn other_home(&self, dir: &Path) -> Result<PathBuf> {
        let _step = self.call.reporter.step("preparing another CARGO_HOME", 0);
        let from = self.call.environment.cargo_home()?;
        let to = self.root.join("another-cargo-home");
        disk::make_dir(&to)?;
        let mut files = vec![PathBuf::from("config.toml"), PathBuf::from("config")];
        let index = Path::new("registry/index");
        let entries = walk::below_without_links(&from.join(index)).unwrap_or_default();
        files.extend(entries.iter().map(|entry| index.join(&entry.relative)));
        let locked = Locked::read(&dir.join("Cargo.lock")).unwrap_or_default();
        let caches = Path::new("registry/cache");
        for registry in walk::subdirectories(&from.join(caches)) {
            let cache = caches.join(registry);
            files.extend(locked.crate_files().map(|file| cache.join(file)));
        }
        for file in files.iter().filter(|file| from.join(file).is_file()) {
            place::copy(&from.join(file), &to.join(file))?;
        }
        self.cargo(dir, &["fetch"], Some(&to))?;
        Ok(to)
    }

    /// Runs the demo's cargo command in `dir`, and returns how long it took.
    fn build(&self, dir: &Path, home: &Path, what: &str) -> Result<Duration> {
        let args: Vec<String> = self.command().args;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (clock, build) = (timer(), || self.cargo(dir, &args, Some(home)));
        self.call.reporter.during(what, build)?;
        Ok(clock.elapsed())
    }

    fn cargo(&self, dir: &Path, args: &[&str], home: Option<&Path>) -> Result<()> {
        let environment = match home {
            Some(home) => self.at(dir).with("CARGO_HOME", home),
            None => self.at(dir),
        };
        cargo::ask("cargo", args, quietly(&environment), None)?;
        Ok(())
    }

    /// The environment of a clone: its own target directory, and no other wrapper.
    fn at(&self, dir: &Path) -> Environment {
        let environment = self.call.environment.at(dir).with("RUSTC_WRAPPER", "");
        environment.with("CARGO_TARGET_DIR", dir.join("target"))
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
        "units": measured.start.counts(),
        "bytes": measured.start.restored.bytes,
    })
}

fn print(measured: &Measured) {
    let (alone, started) = (measured.alone.as_secs_f64(), measured.started.as_secs_f64());
    let (commit, before) = (short(&measured.commit), short(&measured.before));
    let times = alone / started.max(0.001);
    let start = &measured.start;
    let (fresh, all) = (start.count(Action::Place), start.decisions.len());
    let size = bytes(start.restored.bytes);
    say!("\nA fresh clone of {commit}, at another path, with another CARGO_HOME:");
    say!("  {alone:>7.1} s  cargo alone, from nothing");
    say!("  {started:>7.1} s  headstart start, then cargo  ({times:.1} times as fast)");
    say!("  {fresh} of {all} units came from {before}, the commit before: {size}");
}
