//! `headstart init`: makes headstart cargo's wrapper, or writes the release lane, in the user's or the workspace's configuration.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::ensure;

use super::cli::InitArgs;
use super::{Failure, Setup};
use crate::cargo::config_file::{self, ConfigFileError};
use crate::config::Environment;
use crate::disk::{self, place};

/// The largest configuration that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Runs the command, and returns its exit code: 1 if the user says no.
pub fn run(args: &InitArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let file = file(args, environment)?;
    let before = match disk::read(&file, MAX_CONFIG_BYTES) {
        Err(error) if error.is_missing() => String::new(),
        bytes => String::from_utf8(bytes?).unwrap_or_else(|_| "\u{0}".to_owned()),
    };
    let program = program(args, environment);
    let is_ours = |other: &str| is_ours(Path::new(other), environment);
    let after = match (args.release_lane, args.undo) {
        (false, false) => config_file::with_wrapper(&before, &program, is_ours),
        (false, true) => config_file::without_wrapper(&before, is_ours),
        (true, false) => config_file::with_lane(&before),
        (true, true) => config_file::without_lane(&before),
    };
    let after = after.map_err(|error| refused(&file, &error))?;
    let (nothing, done) = words(args);
    if after == before {
        say!("{} {nothing}; nothing to do", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}:", file.display());
    for line in changes(&before, &after) {
        say!("{line}");
    }
    if args.print {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !confirmed()? {
        say!("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    match after.is_empty() && !file.is_symlink() {
        true => disk::remove_file(&file)?,
        false => place::write_kept(&file, after.as_bytes())?,
    }
    say!("done: {done}");
    if !args.undo && !args.release_lane && environment.var("RUSTC_WRAPPER").is_some() {
        say!("note: RUSTC_WRAPPER is set in this environment, and wins over the configuration");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what is said of the file where there is nothing to do, and when it is done.
fn words(args: &InitArgs) -> (&'static str, &'static str) {
    match (args.release_lane, args.undo) {
        (false, false) if args.workspace => (
            "uses headstart already",
            "cargo compiles through headstart; whoever builds this without one on PATH cannot, so commit the file only if all have it; --undo takes it back",
        ),
        (false, false) => (
            "uses headstart already",
            "cargo compiles through headstart; the same with --undo takes it back",
        ),
        (false, true) => ("does not use headstart", "cargo runs rustc itself again"),
        (true, false) => (
            "has the release lane already",
            "`cargo build --profile release-lane`; the same with --undo takes it back",
        ),
        (true, true) => ("has no release lane", "the release lane is gone"),
    }
}

/// Tells whether `program` is a headstart.
pub(super) fn is_ours(program: &Path, environment: &Environment) -> bool {
    program.file_stem().is_some_and(|stem| stem == "headstart") || program == environment.program
}

fn refused(file: &Path, error: &ConfigFileError) -> Failure {
    let hint = match error {
        ConfigFileError::Taken(_) => "two cannot share the place: remove that line first",
        ConfigFileError::Tuned => "it is yours: remove it first if headstart should write it anew",
        ConfigFileError::Unreadable(_) => "correct the file first",
    };
    Failure::new(format!("{} is left alone: {error}", file.display()), hint)
}

/// Returns the configuration file to change; cargo prefers the old name without an extension.
fn file(args: &InitArgs, environment: &Environment) -> anyhow::Result<PathBuf> {
    let dir = match args.workspace || args.release_lane {
        false => environment.cargo_home()?,
        true => {
            let workspace = Setup::here(environment, None)?.workspace;
            workspace.root.join(".cargo")
        }
    };
    let files = [dir.join("config"), dir.join("config.toml")];
    let old = files.iter().find(|file| file.is_file());
    Ok(old.unwrap_or(&files[1]).clone())
}

/// Returns how the configuration names this program: by its bare name if that is what others have it by.
fn program(args: &InitArgs, environment: &Environment) -> String {
    let path = &environment.program;
    match args.workspace && environment.finds("headstart").as_deref() == Some(path) {
        true => "headstart".to_owned(),
        false => path.display().to_string(),
    }
}

/// Returns the lines that come and go, each with its sign.
fn changes(before: &str, after: &str) -> Vec<String> {
    let only_in = |text: &str, other: &str, sign: char| -> Vec<String> {
        let other: Vec<&str> = other.lines().collect();
        let is_own = |line: &&str| !line.is_empty() && !other.contains(line);
        let own = text.lines().filter(is_own);
        own.map(|line| format!("  {sign} {line}")).collect()
    };
    [only_in(before, after, '-'), only_in(after, before, '+')].concat()
}

fn confirmed() -> anyhow::Result<bool> {
    let what = "nobody is here to agree to this change";
    let hint = "--yes writes it without asking, --print only shows it";
    ensure!(std::io::stdin().is_terminal(), Failure::new(what, hint));
    let mut out = std::io::stdout();
    write!(out, "write this? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
