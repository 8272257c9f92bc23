//! `headstart demo`.
use super::cli::DemoArgs;
use crate::config::Environment;
use jiff::Timestamp;
use std::process::ExitCode;

/// Runs the command.
pub fn run(
    _args: &DemoArgs,
    _environment: &Environment,
    _now: Timestamp,
) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}
