//! What a walk found, for people as a table and for programs as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::behaviour::Behaviour;
use super::compare::{Difference, Side};
use crate::checkout::short;
use crate::headstart::{Published, Started};
use crate::rebuilt::Rebuilt;
use crate::table;

/// Everything one walk found.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) command_line: Vec<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) behaviour: Option<Behaviour>,
    pub(crate) tests: Option<Tests>,
}

/// One commit.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) commit: String,
    pub(crate) units: usize,
    pub(crate) warm_seconds: f64,
    pub(crate) warm_rebuilt: Vec<Rebuilt>,
    pub(crate) published: Published,
    /// A fresh clone that starts from earlier commits, against the warm directory; None at the first commit.
    pub(crate) next: Option<Reading>,
    /// A fresh clone that starts from this very commit, against a warm build with nothing to do.
    pub(crate) same: Reading,
}

/// One start and build in a fresh clone.
#[derive(Debug, Serialize)]
pub(crate) struct Reading {
    pub(crate) started: Started,
    pub(crate) build_seconds: f64,
    pub(crate) rebuilt: Vec<Rebuilt>,
    pub(crate) differences: Vec<Difference>,
}

/// How the workspace's own tests ended.
#[derive(Debug, Serialize)]
pub(crate) struct Tests {
    pub(crate) reader_passed: bool,
    /// Asked only when the reader's failed: tests that fail there too are not ours.
    pub(crate) clean_passed: Option<bool>,
    pub(crate) tail: String,
}

impl Reading {
    /// Returns the units that a pinned one made cargo rebuild, by that one.
    fn by_cause(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut causes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for it in &self.differences {
            if let Some(cause) = &it.explained {
                causes.entry(cause).or_default().push(&it.unit);
            }
        }
        causes
    }

    /// Returns the number of differences that a pinned unit explains, and of the others.
    pub(crate) fn judged(&self) -> (usize, usize) {
        let explained = self
            .differences
            .iter()
            .filter(|it| it.explained.is_some())
            .count();
        (explained, self.differences.len() - explained)
    }
}

impl Tests {
    fn is_fault(&self) -> bool {
        !self.reader_passed && self.clean_passed == Some(true)
    }

    fn line(&self) -> String {
        match (self.reader_passed, self.clean_passed) {
            (true, _) => "tests: passed in the reader's clone".to_owned(),
            (false, Some(true)) => {
                format!("tests: failed in the reader's clone only\n{}", self.tail)
            }
            (false, _) => format!("tests: failed, in a clean clone too\n{}", self.tail),
        }
    }
}

impl Record {
    /// Returns what the walk must not find: one line each, none when all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, reading) in self.readings() {
            let unexplained = reading
                .differences
                .iter()
                .filter(|it| it.explained.is_none());
            faults.extend(unexplained.map(|it| format!("{name}: {}", it.line())));
        }
        let deviations = self.behaviour.iter().flat_map(|it| &it.deviations);
        for it in deviations.filter(|it| it.is_fault()) {
            let (executable, question) = (&it.executable, &it.question);
            faults.push(format!(
                "{executable} {question}: not as built clean, nor as built warm"
            ));
        }
        if self.tests.as_ref().is_some_and(Tests::is_fault) {
            faults.push("the tests fail in the reader's clone and pass in a clean one".to_owned());
        }
        faults
    }

    /// Returns a line per commit, what pinned units cost, and the faults or that there is none.
    pub(crate) fn text(&self) -> String {
        let header = "commit|units|warm rebuilt|reader rebuilt|pinned|unexplained|same: pinned\
            |same: unexplained|warm s|reader s|same s";
        let header: Vec<&str> = header.split('|').collect();
        let rows: Vec<Vec<String>> = self.steps.iter().map(Step::row).collect();
        let mut lines = vec![table::render(&header, &rows)];
        for (name, reading) in self.readings() {
            for (cause, units) in reading.by_cause() {
                let (count, units) = (units.len(), units.join(", "));
                lines.push(format!(
                    "{name}: pinned {cause}\n  rebuilt {count}: {units}"
                ));
            }
        }
        lines.extend(self.behaviour.as_ref().map(Behaviour::line));
        lines.extend(self.tests.as_ref().map(Tests::line));
        let (commits, faults) = (self.steps.len(), self.faults());
        lines.push(match faults.len() {
            0 => format!("{commits} commits: cargo rebuilt what it should, and no more"),
            count => format!("{count} faults:\n  {}", faults.join("\n  ")),
        });
        lines.join("\n")
    }

    fn readings(&self) -> Vec<(String, &Reading)> {
        let mut readings = Vec::new();
        for step in &self.steps {
            let commit = short(&step.commit);
            readings.extend(
                step.next
                    .as_ref()
                    .map(|it| (format!("{commit} next commit"), it)),
            );
            readings.push((format!("{commit} same commit"), &step.same));
        }
        readings
    }
}

impl Step {
    fn row(&self) -> Vec<String> {
        let seconds = |it: &Reading| it.started.process_seconds + it.build_seconds;
        let mut row = vec![short(&self.commit).to_owned()];
        row.extend([self.units, self.warm_rebuilt.len()].map(|count| count.to_string()));
        match &self.next {
            Some(next) => {
                let (pinned, unexplained) = next.judged();
                row.extend(
                    [next.rebuilt.len(), pinned, unexplained].map(|count| count.to_string()),
                );
            }
            None => row.extend(["-"; 3].map(str::to_owned)),
        }
        let (pinned, unexplained) = self.same.judged();
        row.extend([pinned, unexplained].map(|count| count.to_string()));
        row.push(format!("{:.1}", self.warm_seconds));
        row.push(
            self.next
                .as_ref()
                .map_or("-".to_owned(), |it| format!("{:.1}", seconds(it))),
        );
        row.push(format!("{:.1}", seconds(&self.same)));
        row
    }
}

impl Difference {
    fn line(&self) -> String {
        let side = match self.side {
            Side::Reader => "rebuilt by the reader alone",
            Side::Expected => "NOT rebuilt by the reader",
        };
        let mut line = format!("{side}: {}", self.unit);
        for (who, said) in [("headstart", &self.decision), ("cargo", &self.cargo_says)] {
            line.extend(said.iter().map(|said| format!("; {who}: {said}")));
        }
        line
    }
}
