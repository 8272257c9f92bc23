//! The commands that people type.

/// Prints a line on standard output. Who does not read it, or has no room for it, has cargo run all the same: `println!` would panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($text)*));
    }};
}

pub mod bisect;
pub mod bootstrap;
pub mod bring;
pub mod cli;
pub mod debugger;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod failure;
pub mod far;
pub mod gc;
pub mod init;
pub mod key;
pub mod keyring;
pub mod publish;
pub mod rotate;
pub mod sample;
pub mod scratch;
pub mod search;
pub mod setup;
pub mod sign;
mod sources;
pub mod start;
pub mod status;
pub mod trial;
pub mod trust;
mod visit;

use std::ffi::{OsStr, OsString};
use std::process::{ExitCode, Termination};

use clap::{CommandFactory, Parser};
use jiff::Timestamp;

use crate::config::Environment;
use crate::report::Reporter;
use cli::{Cli, Command};
use failure::Failure;
use setup::{Call, NAMED_BY_JSON, Setup, print_first, print_json, quietly, short, timer, wrapped};

/// Runs the command in `args`, and returns the process's exit code; errors have been printed.
pub fn main(args: Vec<OsString>, environment: &Environment, now: Timestamp) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return failure::print_usage(&error),
    };
    let call = |quiet| Call {
        environment,
        now,
        reporter: Reporter::new(quiet),
    };
    match cli.command {
        Command::Publish(args) => ends(publish::run(&args, call(args.store.quiet))),
        Command::Start(args) => ends(start::run(&args, call(args.store.quiet))),
        Command::Demo(args) => ends(demo::run(&args, call(args.json))),
        Command::Status(args) => ends(status::run(&args, environment, now)),
        Command::Explain(args) => ends(explain::run(&args, environment, now)),
        Command::Bisect(args) => ends(bisect::run(&args, call(args.store.quiet))),
        Command::Doctor(args) => ends(doctor::run(&args, call(args.quiet))),
        Command::Init(args) => ends(init::run(&args, environment)),
        Command::Gc(args) => ends(gc::run(&args, call(args.store.quiet))),
        Command::Fetch(args) => ends(bring::run(&args, call(args.store.quiet))),
        Command::Key(command) => ends(key::run(&command, call(false))),
        Command::Sign(args) => ends(sign::run(&args, call(args.remotes.quiet))),
        Command::Trust(command) => ends(trust::run(&command, environment)),
        Command::Debugger(args) => ends(debugger::run(&args, environment)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "headstart", &mut script);
            say!("{}", String::from_utf8_lossy(&script).trim_end());
            ExitCode::SUCCESS
        }
    }
}

/// Tells whether `name` is one of the commands, for cargo may call a compiler by a bare name.
pub fn is_known(name: &OsStr) -> bool {
    name == "help" || Cli::command().find_subcommand(name).is_some()
}

/// Returns the exit code of a command that ended so; an error is printed.
fn ends(result: anyhow::Result<impl Termination>) -> ExitCode {
    match result {
        Ok(done) => done.report(),
        Err(error) => failure::print(&error),
    }
}
