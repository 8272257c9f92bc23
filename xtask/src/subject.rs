//! The workspace and the headstart under trial, as the command line names them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::headstart::Headstart;
use crate::lab::Lab;
use crate::words;

/// Options that walk and bench share.
#[derive(Debug, clap::Args)]
pub(crate) struct Subject {
    /// A git repository, bare or not, whose root is a cargo workspace; it is only read
    #[arg(long)]
    repo: PathBuf,
    /// A cargo command, without `cargo`; may be given several times [default: build --workspace]
    #[arg(long = "cargo")]
    cargo: Vec<String>,
    /// An empty or absent directory, outside any cargo workspace [default: a temporary one]
    #[arg(long)]
    pub(crate) scratch: Option<PathBuf>,
    /// The headstart binary [default: built from this project]
    #[arg(long)]
    headstart: Option<PathBuf>,
    /// Write everything that was found to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Subject {
    /// Returns the repository's absolute path; fails when there is nothing.
    pub(crate) fn repo(&self) -> Result<PathBuf> {
        self.repo
            .canonicalize()
            .with_context(|| format!("no repository at {}", self.repo.display()))
    }

    /// Returns the cargo commands, each as its words.
    pub(crate) fn commands(&self) -> Result<Vec<Vec<String>>> {
        let default = ["build --workspace".to_owned()];
        words::commands(if self.cargo.is_empty() {
            &default
        } else {
            &self.cargo
        })
    }

    /// Returns the headstart that was named, or builds this project's.
    pub(crate) fn headstart(&self, lab: &Lab) -> Result<Headstart> {
        Headstart::find(lab, self.headstart.as_deref())
    }

    /// Writes `found` to the file that `--json` names, if it does.
    pub(crate) fn write_json(&self, found: &impl Serialize) -> Result<()> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        let text = serde_json::to_vec_pretty(found)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
