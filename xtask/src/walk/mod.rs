//! Walks a real workspace's commits and checks that a started clone rebuilds what a warm directory rebuilds.
//!
//! Three parties: a publisher, a warm directory that knows no headstart, and readers in fresh clones at new paths.

mod behaviour;
mod compare;
mod record;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use self::behaviour::{Behaviour, Built};
use self::record::{Reading, Record, Step, Tests};
use crate::build::{Build, Directories, build, cargo};
use crate::checkout::{Checkout, commits, short};
use crate::graph::Graph;
use crate::headstart::{Headstart, Published};
use crate::lab::Lab;
use crate::subject::Subject;
use crate::{home, words};

/// Walks the last commits of a cargo workspace: after each start, cargo must rebuild exactly what it rebuilds in a warm directory.
///
/// Ends with 1 when a difference is found that no pinned unit explains.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask walk --repo ~/src/ripgrep
  cargo xtask walk --repo ~/src/clap/.git --rev v4.5.0 --commits 3 --cargo \"build --workspace --all-targets\"
  cargo xtask walk --repo ~/src/tokio --cargo \"test --workspace --no-run\" --test \"test --workspace\" --json walk.json
  cargo xtask walk --repo ~/src/ripgrep --other-home --scratch /tmp/walk --keep")]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The last commit of the walk
    #[arg(long, default_value = "HEAD")]
    rev: String,
    /// Steps to walk: first-parent commits, after the one that all begin with
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    commits: u16,
    /// A cargo command to run in the last reader's clone, e.g. "test --workspace"
    #[arg(long)]
    test: Option<String>,
    /// Give the readers a CARGO_HOME at another path
    #[arg(long)]
    other_home: bool,
    /// Remove no clone, and leave the scratch directory
    #[arg(long)]
    keep: bool,
}

/// The parties of one walk.
#[derive(Debug)]
struct Walk<'a> {
    lab: &'a Lab,
    repo: PathBuf,
    headstart: Headstart,
    commands: Vec<Vec<String>>,
    store: PathBuf,
    reader_home: Option<PathBuf>,
    keep: bool,
    publisher: Checkout,
    warm: Checkout,
    published: Vec<Published>,
}

/// Walks, prints what was found, and returns success when nothing is unexplained.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut lab = Lab::new(arguments.subject.scratch.as_deref())?;
    let walked = walk(&lab, arguments);
    let is_clean = walked
        .as_ref()
        .is_ok_and(|record| record.faults().is_empty());
    if arguments.keep || arguments.subject.scratch.is_some() || !is_clean {
        lab.keep();
    }
    let record = walked?;
    println!("{}", record.text());
    arguments.subject.write_json(&record)?;
    Ok(ExitCode::from(u8::from(!is_clean)))
}

fn walk(lab: &Lab, arguments: &Arguments) -> Result<Record> {
    let repo = arguments.subject.repo()?;
    let count = usize::from(arguments.commits) + 1;
    let commits = commits(lab, &repo, &arguments.rev, count)?;
    let test = arguments.test.as_deref().map(words::split).transpose()?;
    let reader_home = arguments
        .other_home
        .then(|| home::second(lab.path("home/of/readers")));
    let reader_home = reader_home.transpose()?;
    let mut walk = Walk {
        lab,
        commands: arguments.subject.commands()?,
        headstart: arguments.subject.headstart(lab)?,
        store: lab.path("store"),
        reader_home,
        keep: arguments.keep,
        publisher: Checkout::clone(lab, &repo, "publisher/clone", &commits[0])?,
        warm: Checkout::clone(lab, &repo, "warm", &commits[0])?,
        published: Vec::new(),
        repo,
    };
    let mut record = Record {
        command_line: std::env::args().collect(),
        steps: Vec::new(),
        behaviour: None,
        tests: None,
    };
    let mut last: Option<Built> = None;
    for (number, commit) in commits.iter().enumerate() {
        lab.say(format!(
            "commit {number} of {}: {}",
            arguments.commits,
            short(commit)
        ));
        let (step, reader) = walk.step(number, commit)?;
        record.steps.push(step);
        if let Some(earlier) = reader.and_then(|reader| last.replace(reader)) {
            walk.discard(&earlier)?;
        }
    }
    let reader = last.context("a walk has at least one reader")?;
    let clean = walk.clean(&commits[commits.len() - 1])?;
    record.behaviour = Some(walk.behaviour(&clean, &reader)?);
    record.tests = test
        .map(|words| walk.test(&words, &clean, &reader))
        .transpose()?;
    Ok(record)
}

impl Walk<'_> {
    /// Takes one commit: warm builds, a reader starts from the earlier commits, the commit is published, another reader starts from it.
    fn step(&mut self, number: usize, commit: &str) -> Result<(Step, Option<Built>)> {
        self.publisher.switch(self.lab, commit)?;
        self.publisher.fetch(self.lab)?;
        let lock = self.publisher.loose_lock(self.lab)?;
        self.warm.switch(self.lab, commit)?;
        self.warm.give_lock(lock.as_deref())?;
        let warm =
            build(self.lab, "warm build", &self.warm, &self.commands).with_context(|| {
                format!(
                    "{} does not build\n\nhint: choose other commits with --rev and --commits",
                    short(commit)
                )
            })?;
        self.lab.say(format!(
            "  warm       {:7.1} s, rebuilt {} of {} units",
            warm.seconds,
            warm.rebuilt.len(),
            warm.units
        ));
        let next = match number {
            0 => None,
            _ => Some(self.read(&format!("readers/next-{number}"), commit, &warm)?),
        };
        let published =
            self.headstart
                .publish(self.lab, &self.publisher, &self.store, &self.commands)?;
        ensure!(
            published.commit == commit,
            "headstart published {} instead of {commit}",
            published.commit
        );
        self.lab.say(format!(
            "  published  {:7.1} s after {:.1} s of cargo, {} units, {} left out, {:.1} MB new",
            published.publish_seconds,
            published.cargo_seconds,
            published.units,
            published.left_out.len(),
            published.bytes_new as f64 / 1e6,
        ));
        self.published.push(published.clone());
        // Not always empty: a script that watches a path which does not exist runs in every build.
        let idle = build(self.lab, "warm no-op build", &self.warm, &self.commands)?;
        let name = format!("readers/at/the/same/commit-{number}");
        let (same_reader, same) = self.read(&name, commit, &idle)?;
        self.discard(&same_reader)?;
        let (reader, next) = next.unzip();
        let warm_rebuilt = warm.rebuilt.into_iter().collect();
        let (units, warm_seconds) = (warm.units, warm.seconds);
        Ok((
            Step {
                commit: commit.to_owned(),
                units,
                warm_seconds,
                warm_rebuilt,
                published,
                next,
                same,
            },
            reader,
        ))
    }

    /// Starts and builds a fresh clone at `name`, and compares what cargo rebuilt with what `expected` did.
    fn read(&self, name: &str, commit: &str, expected: &Build) -> Result<(Built, Reading)> {
        let mut checkout = self.clone_with_lock(name, commit)?;
        checkout.cargo_home.clone_from(&self.reader_home);
        let mut started = self.headstart.start(self.lab, &checkout, &self.store)?;
        started.explain(&self.published);
        self.lab.say(format!("  {name}: {}", started.summary()));
        let build = build(self.lab, name, &checkout, &self.commands)?;
        let graph = Graph::read(Directories::ask(self.lab, &checkout)?.intermediate())?;
        let rebuilt = build.rebuilt.iter().cloned().collect();
        let differences = compare::compare(expected, &build, &started, &graph);
        let reading = Reading {
            started,
            build_seconds: build.seconds,
            rebuilt,
            differences,
        };
        let (explained, unexplained) = reading.judged();
        self.lab.say(format!(
            "  {name}: build {:.1} s, rebuilt {}, explained by pinned {explained}, unexplained {unexplained}",
            build.seconds,
            reading.rebuilt.len(),
        ));
        Ok((Built { checkout, build }, reading))
    }

    /// Clones `commit` to `name`, with the publisher's lockfile if git tracks none.
    fn clone_with_lock(&self, name: &str, commit: &str) -> Result<Checkout> {
        let checkout = Checkout::clone(self.lab, &self.repo, name, commit)?;
        checkout.give_lock(self.publisher.loose_lock(self.lab)?.as_deref())?;
        Ok(checkout)
    }

    /// Builds `commit` from nothing in a fresh clone, without headstart.
    fn clean(&self, commit: &str) -> Result<Built> {
        self.lab.say("a clean build of the last commit");
        let checkout = self.clone_with_lock("clean", commit)?;
        let build = build(self.lab, "clean build", &checkout, &self.commands)?;
        Ok(Built { checkout, build })
    }

    fn behaviour(&self, clean: &Built, reader: &Built) -> Result<Behaviour> {
        let count = clean.build.executables.len();
        self.lab
            .say(format!("asking {count} executables of three builds"));
        let build = build(self.lab, "warm no-op build", &self.warm, &self.commands)?;
        let warm = Built {
            checkout: self.warm.clone(),
            build,
        };
        behaviour::compare(self.lab, clean, reader, &warm)
    }

    fn test(&self, words: &[String], clean: &Built, reader: &Built) -> Result<Tests> {
        self.lab.say("tests in the reader's clone");
        let outcome = cargo(self.lab, "tests", &reader.checkout, words)?;
        let reader_passed = outcome.code == Some(0);
        let mut clean_passed = None;
        if !reader_passed {
            self.lab.say("they failed: tests in a clean clone");
            clean_passed =
                Some(cargo(self.lab, "clean tests", &clean.checkout, words)?.code == Some(0));
        }
        Ok(Tests {
            reader_passed,
            clean_passed,
            tail: outcome.error_tail()?,
        })
    }

    fn discard(&self, reader: &Built) -> Result<()> {
        if self.keep {
            Ok(())
        } else {
            self.lab.remove(&reader.checkout.dir)
        }
    }
}
