//! Compares what two builds' executables do.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::artifact::Executable;
use crate::build::Build;
use crate::checkout::Checkout;
use crate::lab::Lab;

/// A program that does not answer in this time is not asked further; both builds' must then do the same.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// One question to one executable, answered differently by the two builds.
#[derive(Debug, Serialize)]
pub(crate) struct Deviation {
    pub(crate) executable: String,
    pub(crate) question: String,
    pub(crate) clean: String,
    pub(crate) reader: String,
}

/// How many questions were asked, and the differing answers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Behaviour {
    pub(crate) questions: usize,
    pub(crate) deviations: Vec<Deviation>,
}

/// Asks every executable of `clean` and its twin in `reader`: programs `--version` and `--help`, tests `--list`.
pub(crate) fn compare(
    lab: &Lab,
    clean: (&Checkout, &Build),
    reader: (&Checkout, &Build),
) -> Result<Behaviour> {
    let mut behaviour = Behaviour::default();
    for executable in &clean.1.executables {
        let twin = reader
            .1
            .executables
            .iter()
            .find(|other| other.name == executable.name);
        let questions: &[&str] = if executable.test {
            &["--list"]
        } else {
            &["--version", "--help"]
        };
        for question in questions {
            let expected = answer(lab, clean.0, executable, question)?;
            let found = match twin {
                Some(twin) => answer(lab, reader.0, twin, question)?,
                None => "cargo reported no such executable".to_owned(),
            };
            behaviour.questions += 1;
            if expected != found {
                let (executable, question) = (executable.name.clone(), (*question).to_owned());
                behaviour.deviations.push(Deviation {
                    executable,
                    question,
                    clean: expected,
                    reader: found,
                });
            }
        }
    }
    Ok(behaviour)
}

/// Returns exit code and stdout as one text, with the clone's path taken out.
fn answer(
    lab: &Lab,
    checkout: &Checkout,
    executable: &Executable,
    question: &str,
) -> Result<String> {
    let mut command: Command = checkout.command(&executable.path);
    let name = Path::new(&executable.path)
        .file_name()
        .unwrap_or_default()
        .display()
        .to_string();
    let outcome = lab.run(
        &format!("{name} {question}"),
        command.arg(question),
        PROBE_LIMIT,
    )?;
    if outcome.timed_out {
        return Ok("no answer in time".to_owned());
    }
    let code = outcome
        .code
        .map_or("a signal".to_owned(), |code| code.to_string());
    let stdout = outcome
        .stdout()?
        .replace(&checkout.dir.display().to_string(), "<clone>");
    Ok(format!("ended with {code}\n{stdout}"))
}
