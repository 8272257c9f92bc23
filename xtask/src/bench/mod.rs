//! Measures issue 2's speed table on a real workspace: ratios, in one run, the two arms of each taking turns.

mod sample;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use self::sample::{Arm, Row, Sample, Scene};
use crate::build::{Directories, build};
use crate::checkout::{Checkout, commits};
use crate::headstart::Headstart;
use crate::lab::Lab;
use crate::subject::Subject;

/// Sources are given this time (September 2001), so that a target copied with its times is newer than they are.
const OLD: Duration = Duration::from_secs(1_000_000_000);

/// Measures start, publish and pull against cp, cargo from nothing and cargo in a warm directory; prints ratios with their limits.
///
/// Ends with 1 when a limit is missed. Needs room for about eight target directories. Nothing is dropped from the
/// machine's caches: round 0 of each arm warms them and is not counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench --repo ~/src/ripgrep --rev HEAD
  cargo xtask bench --repo ~/src/rust-analyzer --rev 1f00e1c --rounds 3 --cold-rounds 1 --json bench/results/ra.json

REV should be a commit that touches a crate which half of the workspace depends on; its parent is published first.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The commit that is pulled
    #[arg(long)]
    rev: String,
    /// Counted rounds of each arm
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Rounds of the builds from nothing
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    cold_rounds: u32,
}

/// A commit with the lockfile that git does not track, if so.
#[derive(Debug)]
struct Commit {
    name: String,
    lock: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Bench<'a> {
    lab: &'a Lab,
    repo: PathBuf,
    headstart: Headstart,
    commands: Vec<Vec<String>>,
    base: Commit,
    rev: Commit,
    samples: Vec<Sample>,
    facts: Facts,
}

/// What the figures were measured on.
#[derive(Debug, Default, Serialize)]
struct Facts {
    command_line: Vec<String>,
    rustc: String,
    cores: usize,
    base: String,
    rev: String,
    units: usize,
    /// Bytes that a start at the same commit places, and the store's after the first publish.
    start_bytes: u64,
    store_bytes: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    facts: &'a Facts,
    rows: &'a [Row],
    samples: &'a [Sample],
}

/// Measures, prints the table, and returns success when every limit is kept.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut lab = Lab::new(arguments.subject.scratch.as_deref())?;
    let measured = measure(&lab, arguments);
    if measured.is_err() || arguments.subject.scratch.is_some() {
        lab.keep();
    }
    let (samples, facts) = measured?;
    let rows = sample::rows(&samples);
    println!("{}", sample::text(&rows));
    println!(
        "{} units, a start places {:.0} MB, {}, {} cores",
        facts.units,
        facts.start_bytes as f64 / 1e6,
        facts.rustc,
        facts.cores
    );
    arguments.subject.write_json(&Report {
        facts: &facts,
        rows: &rows,
        samples: &samples,
    })?;
    Ok(ExitCode::from(u8::from(rows.iter().any(sample::is_missed))))
}

fn measure(lab: &Lab, arguments: &Arguments) -> Result<(Vec<Sample>, Facts)> {
    let repo = arguments.subject.repo()?;
    let pair = commits(lab, &repo, &arguments.rev, 2)?;
    let commands = arguments.subject.commands()?;
    let headstart = arguments.subject.headstart(lab)?;
    let fetcher = Checkout::clone(lab, &repo, "fetcher", &pair[0])?;
    let base = fetched(lab, &fetcher, &pair[0])?;
    let rev = fetched(lab, &fetcher, &pair[1])?;
    let facts = Facts {
        command_line: std::env::args().collect(),
        rustc: lab
            .tool("rustc -V", fetcher.command("rustc").arg("-V"))?
            .stdout()?
            .trim()
            .to_owned(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        base: pair[0].clone(),
        rev: pair[1].clone(),
        ..Facts::default()
    };
    let mut bench = Bench {
        lab,
        repo,
        headstart,
        commands,
        base,
        rev,
        samples: Vec::new(),
        facts,
    };
    let (publisher, store, plain) = bench.build_from_nothing(arguments.cold_rounds)?;
    bench.same_commit(arguments.rounds, &publisher, &store)?;
    bench.publish_next(arguments.cold_rounds, &publisher, &store)?;
    lab.remove(&publisher.dir)?;
    bench.pull(Scene::PullAfterCargo, arguments.rounds, &plain, &store)?;
    lab.remove(&plain.dir)?;
    let started = bench.warm_by_start("pull/started", &store)?;
    bench.pull(Scene::PullAfterStart, arguments.rounds, &started, &store)?;
    Ok((bench.samples, bench.facts))
}

fn fetched(lab: &Lab, fetcher: &Checkout, commit: &str) -> Result<Commit> {
    fetcher.switch(lab, commit)?;
    fetcher.fetch(lab)?;
    Ok(Commit {
        name: commit.to_owned(),
        lock: fetcher.loose_lock(lab)?,
    })
}

impl Bench<'_> {
    /// Publishes the base commit from an empty target directory and builds it with plain cargo, in turns.
    ///
    /// Returns the last publisher, its store, and the last plain clone; the next commit is published by the earlier ones.
    fn build_from_nothing(&mut self, rounds: u32) -> Result<(Checkout, PathBuf, Checkout)> {
        let mut round = 0;
        loop {
            round += 1;
            let store = self.lab.path(format!("store-{round}"));
            let publisher = self.fresh(&format!("publisher-{round}"))?;
            let plain = self.fresh(&format!("plain/clone-{round}"))?;
            for arm in turns([Arm::Publish, Arm::Cargo], round) {
                match arm {
                    Arm::Publish => self.publish(Scene::FromNothing, round, &publisher, &store)?,
                    _ => self.cargo(Scene::FromNothing, round, &plain)?,
                }
            }
            if round == rounds {
                return Ok((publisher, store, plain));
            }
            self.publish_next(round, &publisher, &store)?;
            for directory in [&publisher.dir, &store, &plain.dir] {
                self.lab.remove(directory)?;
            }
        }
    }

    /// Starts fresh clones of the base commit, and copies the publisher's target directory into others, in turns.
    fn same_commit(&mut self, rounds: u32, publisher: &Checkout, store: &Path) -> Result<()> {
        let target = self.target(publisher)?;
        for round in 0..=rounds {
            for arm in turns([Arm::Start, Arm::Copy], round) {
                let clone = self.fresh(&format!("same/{round}"))?;
                match arm {
                    Arm::Start => self.start(Scene::SameCommit, round, &clone, store)?,
                    _ => self.copy(round, &clone, &publisher.dir.join(&target), &target)?,
                }
                self.lab.remove(&clone.dir)?;
            }
        }
        Ok(())
    }

    /// Publishes the second commit in the directory where the first was published.
    fn publish_next(&mut self, round: u32, publisher: &Checkout, store: &Path) -> Result<()> {
        self.switch(publisher, &self.rev)?;
        self.publish(Scene::PublishNext, round, publisher, store)
    }

    /// Pulls the second commit, published in `store`, into `clone`, warm at the first: with and without a start, in turns.
    fn pull(&mut self, scene: Scene, rounds: u32, clone: &Checkout, store: &Path) -> Result<()> {
        let target = clone.dir.join(self.target(clone)?);
        let saved = self.lab.path(format!("saved-{scene:?}"));
        self.cp(&target, &saved)?;
        for round in 0..=rounds {
            for arm in turns([Arm::Start, Arm::Cargo], round) {
                self.switch(clone, &self.base)?;
                self.lab.remove(&target)?;
                self.cp(&saved, &target)?;
                self.switch(clone, &self.rev)?;
                match arm {
                    Arm::Start => self.start(scene, round, clone, store)?,
                    _ => self.cargo(scene, round, clone)?,
                }
            }
        }
        self.lab.remove(&saved)
    }

    /// Returns a fresh clone of the base commit, warm by a start.
    fn warm_by_start(&self, name: &str, store: &Path) -> Result<Checkout> {
        let clone = self.fresh(name)?;
        self.headstart.start(self.lab, &clone, store)?;
        build(self.lab, "warm by start", &clone, &self.commands)?;
        Ok(clone)
    }

    fn publish(
        &mut self,
        scene: Scene,
        round: u32,
        checkout: &Checkout,
        store: &Path,
    ) -> Result<()> {
        self.settle()?;
        let published = self
            .headstart
            .publish(self.lab, checkout, store, &self.commands)?;
        if scene == Scene::FromNothing {
            self.facts.store_bytes = published.bytes_total;
        }
        let mut sample = Sample::new(scene, Arm::Publish, round);
        sample.ours_seconds = published.publish_seconds;
        sample.cargo_seconds = published.cargo_seconds;
        sample.peak_bytes = published.peak_bytes;
        self.add(sample);
        Ok(())
    }

    fn start(&mut self, scene: Scene, round: u32, checkout: &Checkout, store: &Path) -> Result<()> {
        self.settle()?;
        let started = self.headstart.start(self.lab, checkout, store)?;
        let build = build(self.lab, "build after start", checkout, &self.commands)?;
        if scene == Scene::SameCommit {
            self.facts.start_bytes = started.bytes;
        }
        let mut sample = Sample::new(scene, Arm::Start, round).with(&build);
        sample.ours_seconds = started.process_seconds;
        sample.peak_bytes = started.peak_bytes;
        self.add(sample);
        Ok(())
    }

    fn copy(&mut self, round: u32, clone: &Checkout, from: &Path, target: &Path) -> Result<()> {
        self.settle()?;
        let seconds = self.cp(from, &clone.dir.join(target))?;
        let build = build(self.lab, "build after cp", clone, &self.commands)?;
        let mut sample = Sample::new(Scene::SameCommit, Arm::Copy, round).with(&build);
        sample.ours_seconds = seconds;
        self.add(sample);
        Ok(())
    }

    fn cargo(&mut self, scene: Scene, round: u32, checkout: &Checkout) -> Result<()> {
        self.settle()?;
        let build = build(self.lab, "plain build", checkout, &self.commands)?;
        self.facts.units = build.units;
        self.add(Sample::new(scene, Arm::Cargo, round).with(&build));
        Ok(())
    }
    fn add(&mut self, sample: Sample) {
        let Sample {
            scene,
            arm,
            round,
            ours_seconds,
            cargo_seconds,
            ..
        } = &sample;
        let rebuilt = sample
            .rebuilt
            .map_or("?".to_owned(), |rebuilt| rebuilt.to_string());
        let times = format!("{ours_seconds:.2} s + cargo {cargo_seconds:.2} s, rebuilt {rebuilt}");
        self.lab
            .say(format!("{scene:?} {arm:?} round {round}: {times}"));
        self.samples.push(sample);
    }

    /// Writes earlier rounds' data to disk, so that no arm pays for another.
    fn settle(&self) -> Result<()> {
        self.lab.tool("sync", &mut Command::new("sync")).map(drop)
    }

    /// Clones the base commit; all clones' sources have one old time, or cp would be blamed for scripts that watch it.
    fn fresh(&self, name: &str) -> Result<Checkout> {
        let checkout = Checkout::clone(self.lab, &self.repo, name, &self.base.name)?;
        checkout.give_lock(self.base.lock.as_deref())?;
        checkout.age_sources(SystemTime::UNIX_EPOCH + OLD)?;
        Ok(checkout)
    }

    fn switch(&self, checkout: &Checkout, commit: &Commit) -> Result<()> {
        checkout.switch(self.lab, &commit.name)?;
        checkout.give_lock(commit.lock.as_deref())
    }

    /// Returns the target directory's path inside the checkout; fails when cargo keeps it elsewhere.
    fn target(&self, checkout: &Checkout) -> Result<PathBuf> {
        let directories = Directories::ask(self.lab, checkout)?;
        let target = &directories.target_directory;
        ensure!(
            directories.intermediate() == target,
            "the bench cannot copy a build.build-dir of its own"
        );
        let inside = target.strip_prefix(&checkout.dir);
        Ok(inside
            .with_context(|| format!("the bench cannot copy {}", target.display()))?
            .to_owned())
    }

    /// Copies a directory with its times, and returns the seconds.
    fn cp(&self, from: &Path, to: &Path) -> Result<f64> {
        let mut cp = Command::new("cp");
        Ok(self
            .lab
            .tool("cp -a", cp.arg("-a").arg(from).arg(to))?
            .seconds)
    }
}

/// Returns the arms in an order that changes from round to round.
fn turns(arms: [Arm; 2], round: u32) -> [Arm; 2] {
    if round.is_multiple_of(2) {
        arms
    } else {
        [arms[1], arms[0]]
    }
}
