//! One measured `cargo` build in a checkout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::artifact::{self, Executable};
use crate::checkout::Checkout;
use crate::lab::{BUILD_LIMIT, Lab, Outcome};
use crate::rebuilt::{self, Rebuilt};

/// What the cargo commands of one build did.
#[derive(Debug, Default)]
pub(crate) struct Build {
    pub(crate) seconds: f64,
    pub(crate) units: usize,
    pub(crate) rebuilt: BTreeSet<Rebuilt>,
    /// Package → why cargo calls it dirty.
    pub(crate) dirty: BTreeMap<String, String>,
    pub(crate) executables: Vec<Executable>,
}

/// Where cargo puts things in one checkout.
#[derive(Debug, Deserialize)]
pub(crate) struct Directories {
    pub(crate) target_directory: PathBuf,
    build_directory: Option<PathBuf>,
}

impl Directories {
    /// Asks cargo; fails when the checkout is no cargo workspace.
    pub(crate) fn ask(lab: &Lab, checkout: &Checkout) -> Result<Directories> {
        let mut cargo = checkout.command("cargo");
        let outcome = lab.tool(
            "cargo metadata",
            cargo.args(["metadata", "--format-version=1", "--no-deps", "--offline"]),
        )?;
        serde_json::from_str(&outcome.stdout()?).context("cargo metadata: unexpected JSON")
    }

    /// Returns the directory that holds fingerprints.
    pub(crate) fn intermediate(&self) -> &PathBuf {
        self.build_directory
            .as_ref()
            .unwrap_or(&self.target_directory)
    }
}

/// Runs `commands` one after another, verbosely and without the network, and returns what they did together.
///
/// Fails when one of them does.
pub(crate) fn build(
    lab: &Lab,
    label: &str,
    checkout: &Checkout,
    commands: &[Vec<String>],
) -> Result<Build> {
    let mut build = Build::default();
    for command in commands {
        let outcome = cargo(lab, label, checkout, &verbose(command))?.succeeded()?;
        let artifacts = artifact::parse(&outcome.stdout()?);
        let stderr = outcome.stderr()?;
        build.seconds += outcome.seconds;
        build.units += artifacts.units;
        build.executables.extend(artifacts.executables);
        build.rebuilt.extend(rebuilt::parse(&stderr));
        build.dirty.extend(rebuilt::dirty(&stderr));
    }
    Ok(build)
}

/// Runs cargo with `words` and returns how it ended, well or badly.
pub(crate) fn cargo(
    lab: &Lab,
    label: &str,
    checkout: &Checkout,
    words: &[String],
) -> Result<Outcome> {
    let mut cargo = checkout.command("cargo");
    lab.run(label, cargo.args(words), BUILD_LIMIT)
}

/// Returns `command` with the options that make cargo tell what it does; neither is part of a fingerprint.
///
/// Diagnostics stay on stderr, where a failed build shows them.
fn verbose(command: &[String]) -> Vec<String> {
    let subcommand = command
        .iter()
        .position(|word| !word.starts_with(['+', '-']))
        .unwrap_or(0);
    let (head, tail) = command.split_at((subcommand + 1).min(command.len()));
    let told = [
        "-v".to_owned(),
        "--message-format=json-render-diagnostics".to_owned(),
    ];
    [head, &told, tail].concat()
}

#[cfg(test)]
mod tests {
    use super::verbose;

    /// Options after a `--` would go to the tests and cargo would tell nothing.
    #[test]
    fn options_follow_the_subcommand() -> anyhow::Result<()> {
        let words = crate::words::split("+nightly --locked test --workspace -- --list")?;
        let expected = "+nightly --locked test -v --message-format=json-render-diagnostics --workspace -- --list";
        assert_eq!(verbose(&words).join(" "), expected);
        Ok(())
    }
}
