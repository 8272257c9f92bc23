//! headstart, as its command line and its JSON show it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checkout::{Checkout, clean};
use crate::lab::{BUILD_LIMIT, Lab, Outcome};

/// The program under trial.
#[derive(Debug)]
pub(crate) struct Headstart {
    binary: PathBuf,
}

/// What `headstart publish --json` prints, as far as it is used here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) commit: String,
    pub(crate) units: usize,
    #[serde(default)]
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) bytes_new: u64,
    pub(crate) bytes_total: u64,
    pub(crate) cargo_seconds: f64,
    pub(crate) publish_seconds: f64,
    /// Measured here, not printed.
    #[serde(default)]
    pub(crate) peak_bytes: Option<u64>,
}

/// A unit that a starting point lacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) unit: String,
    pub(crate) reason: serde_json::Value,
}

/// What `headstart start --json` prints, as far as it is used here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Started {
    /// None when no starting point was found.
    pub(crate) commit: Option<String>,
    #[serde(default)]
    pub(crate) behind: Option<u64>,
    #[serde(default)]
    pub(crate) units: serde_json::Value,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) decisions: Vec<Decision>,
    /// Of the whole process, measured here.
    #[serde(skip_deserializing)]
    pub(crate) process_seconds: f64,
    /// Measured here.
    #[serde(skip_deserializing)]
    pub(crate) peak_bytes: Option<u64>,
}

/// headstart's verdict on one unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) unit: String,
    pub(crate) verdict: String,
    pub(crate) reason: Reason,
}

/// Why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reason {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) text: String,
}

impl Headstart {
    /// Returns the program at `binary`, or builds it in release mode from the project that holds xtask.
    pub(crate) fn find(lab: &Lab, binary: Option<&Path>) -> Result<Headstart> {
        if let Some(binary) = binary {
            let binary = binary
                .canonicalize()
                .with_context(|| format!("no headstart at {}", binary.display()))?;
            return Ok(Headstart { binary });
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the project")?;
        lab.say("building headstart");
        let target = lab.path("headstart");
        let mut cargo = clean(Command::new("cargo"));
        cargo
            .current_dir(root)
            .args(["build", "--release", "--bin", "headstart", "--target-dir"])
            .arg(&target);
        lab.run("build headstart", &mut cargo, BUILD_LIMIT)?
            .succeeded()?;
        let binary = target
            .join("release")
            .join(format!("headstart{}", std::env::consts::EXE_SUFFIX));
        ensure!(binary.is_file(), "cargo built no {}", binary.display());
        Ok(Headstart { binary })
    }

    /// Builds `checkout` with `commands` through the wrapper and publishes it to `store`.
    pub(crate) fn publish(
        &self,
        lab: &Lab,
        checkout: &Checkout,
        store: &Path,
        commands: &[Vec<String>],
    ) -> Result<Published> {
        let mut command = checkout.command(&self.binary);
        command
            .args(["publish", "--required", "--json", "--store"])
            .arg(store)
            .arg("--")
            .args(commands.join(&"--then".to_owned()));
        let outcome = lab
            .run("headstart publish", &mut command, BUILD_LIMIT)?
            .succeeded()?;
        let mut published: Published = parse(&outcome)?;
        published.peak_bytes = outcome.peak_bytes;
        Ok(published)
    }

    /// Starts `checkout` from the nearest starting point in `store`.
    pub(crate) fn start(&self, lab: &Lab, checkout: &Checkout, store: &Path) -> Result<Started> {
        let mut command = checkout.command(&self.binary);
        command.args(["start", "--json", "--store"]).arg(store);
        let outcome = lab
            .run("headstart start", &mut command, BUILD_LIMIT)?
            .succeeded()?;
        let mut started: Started = parse(&outcome)?;
        started.process_seconds = outcome.seconds;
        started.peak_bytes = outcome.peak_bytes;
        Ok(started)
    }
}

impl Started {
    /// Adds what the starting point lacks to the decisions, as `left out`; `published` holds all that may have served.
    pub(crate) fn explain(&mut self, published: &[Published]) {
        let source = published
            .iter()
            .find(|it| Some(&it.commit) == self.commit.as_ref());
        for LeftOut { unit, reason } in source.iter().flat_map(|it| &it.left_out) {
            let text = reason
                .as_str()
                .map_or_else(|| reason.to_string(), str::to_owned);
            let reason = Reason {
                code: "left-out".to_owned(),
                text,
            };
            let (unit, verdict) = (unit.clone(), "left out".to_owned());
            self.decisions.push(Decision {
                unit,
                verdict,
                reason,
            });
        }
    }

    /// Returns the start's answer in one line.
    pub(crate) fn summary(&self) -> String {
        let from = self
            .commit
            .as_deref()
            .map_or("nothing", crate::checkout::short);
        let behind = self
            .behind
            .map_or("?".to_owned(), |behind| behind.to_string());
        format!(
            "start {:.2} s from {from}, {behind} behind, units {}",
            self.process_seconds, self.units
        )
    }
}

/// Returns the JSON that stdout ends with; cargo or a test may have printed before it.
fn parse<T: DeserializeOwned>(outcome: &Outcome) -> Result<T> {
    let stdout = outcome.stdout()?;
    let starts = stdout
        .match_indices('{')
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || stdout.as_bytes()[at - 1] == b'\n');
    let parsed = starts
        .map(|at| serde_json::from_str(&stdout[at..]))
        .find_map(Result::ok);
    parsed.with_context(|| {
        format!(
            "headstart printed other JSON than expected: {}",
            stdout.chars().take(300).collect::<String>()
        )
    })
}
