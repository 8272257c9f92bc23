//! What every command needs to know first: workspace, roots, toolchain, store.

use std::path::Path;

use anyhow::Context;

use crate::cargo::command::CargoCommand;
use crate::cargo::workspace::{self, Workspace};
use crate::config::Environment;
use crate::engine::inputs;
use crate::model::{Roots, Toolchain};

/// A workspace on this machine.
#[derive(Debug)]
pub struct Setup {
    /// The workspace.
    pub workspace: Workspace,
    /// Where this machine has the roots.
    pub roots: Roots,
    /// What builds here.
    pub toolchain: Toolchain,
}

impl Setup {
    /// Returns what `command` would build when run in the environment's directory.
    pub fn of(
        command: &CargoCommand,
        environment: &Environment,
        target_dir: Option<&Path>,
    ) -> anyhow::Result<Setup> {
        let dir = environment.dir();
        let workspace = Workspace::of(command, dir)?;
        let workspace = match target_dir {
            Some(target) => workspace.with_target_dir(&dir.join(target)),
            None => workspace,
        };
        let toolchain = workspace::toolchain(&environment.rustc(), dir, command.toolchain())
            .context("cannot tell which compiler cargo would run")?;
        let roots = Roots::new(
            &workspace.root,
            &workspace.build_dir,
            &environment.cargo_home()?,
        );
        Ok(Setup {
            roots: inputs::with_aliases(roots),
            workspace,
            toolchain,
        })
    }
}

/// Prints `value` as one line of JSON on standard output.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub fn print_json(value: &serde_json::Value) {
    println!("{value}");
}

/// Prints a line on standard output.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub fn print_line(line: &str) {
    println!("{line}");
}
