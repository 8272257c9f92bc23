//! Compares what the builds' executables do.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::build::Build;
use crate::checkout::Checkout;
use crate::lab::Lab;

/// A program that does not answer in this time is not asked further; all builds' must then do the same.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// A clone after its build.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) checkout: Checkout,
    pub(crate) build: Build,
}

/// The answers to one question to one executable, where the reader's is not the clean build's.
#[derive(Debug, Serialize)]
pub(crate) struct Deviation {
    pub(crate) executable: String,
    pub(crate) question: String,
    pub(crate) clean: String,
    pub(crate) reader: String,
    pub(crate) warm: String,
}

impl Deviation {
    /// Returns true when the warm directory's executable answers otherwise, too.
    ///
    /// If not, cargo itself keeps something: say, a version that a script stamps without watching git.
    pub(crate) fn is_fault(&self) -> bool {
        self.reader != self.warm
    }
}

/// How many questions were asked, and the differing answers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Behaviour {
    pub(crate) questions: usize,
    pub(crate) deviations: Vec<Deviation>,
}

impl Behaviour {
    /// Returns the counts in one line.
    pub(crate) fn line(&self) -> String {
        let (questions, differing) = (self.questions, self.deviations.len());
        let faults = self.deviations.iter().filter(|it| it.is_fault()).count();
        let as_warm = differing - faults;
        format!(
            "executables: {questions} questions, {differing} answers not as built clean, {as_warm} of them as built warm"
        )
    }
}

/// Asks every executable of `clean` and its twins: programs `--version` and `--help`, tests `--list`.
pub(crate) fn compare(lab: &Lab, clean: &Built, reader: &Built, warm: &Built) -> Result<Behaviour> {
    let mut behaviour = Behaviour::default();
    for executable in &clean.build.executables {
        let questions: &[&str] = match executable.test {
            true => &["--list"],
            false => &["--version", "--help"],
        };
        for question in questions {
            let ask = |built| answer(lab, built, &executable.name, question);
            let (clean, reader, warm) = (ask(clean)?, ask(reader)?, ask(warm)?);
            behaviour.questions += 1;
            if clean != reader {
                let (executable, question) = (executable.name.clone(), (*question).to_owned());
                let deviation = Deviation {
                    executable,
                    question,
                    clean,
                    reader,
                    warm,
                };
                behaviour.deviations.push(deviation);
            }
        }
    }
    Ok(behaviour)
}

/// Returns exit code and stdout as one text, with the clone's path taken out.
fn answer(lab: &Lab, built: &Built, name: &str, question: &str) -> Result<String> {
    let Some(executable) = built.build.executables.iter().find(|it| it.name == name) else {
        return Ok("cargo reported no such executable".to_owned());
    };
    let mut command = built.checkout.command(&executable.path);
    let outcome = lab.run(
        &format!("{name} {question}"),
        command.arg(question),
        PROBE_LIMIT,
    )?;
    if outcome.timed_out {
        return Ok("no answer in time".to_owned());
    }
    let clone = built.checkout.dir.display().to_string();
    let stdout = outcome.stdout()?.replace(&clone, "<clone>");
    Ok(format!("ended with {:?}\n{stdout}", outcome.code))
}
