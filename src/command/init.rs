//! `headstart init`: makes headstart cargo's wrapper, in the user's or the workspace's configuration.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::cli::InitArgs;
use super::failure::Failure;
use super::setup::{Setup, print_line};
use crate::cargo::command::CargoCommand;
use crate::cargo::config_file::{self, ConfigFileError};
use crate::config::Environment;
use crate::disk::place::{self, Finish, Staging};
use crate::disk::{self, DiskError};

/// The largest configuration that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Runs the command, and returns its exit code: 1 if the user says no.
pub fn run(args: &InitArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let file = file(args, environment)?;
    let before = match disk::read(&file, MAX_CONFIG_BYTES) {
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_else(|_| "\u{0}".to_owned()),
        Err(error) if error.is_missing() => String::new(),
        Err(error) => return Err(error.into()),
    };
    let program = program(args, environment);
    let is_ours = |other: &str| is_ours(Path::new(other), environment);
    let after = match args.undo {
        true => config_file::without_wrapper(&before, is_ours),
        false => config_file::with_wrapper(&before, &program, is_ours),
    };
    let after = after.map_err(|error| refused(&file, &error))?;
    if after == before {
        let state = if args.undo {
            "does not use headstart"
        } else {
            "uses headstart already"
        };
        print_line(&format!("{} {state}; nothing to do", file.display()));
        return Ok(ExitCode::SUCCESS);
    }
    print_line(&format!("{}:", file.display()));
    changes(&before, &after)
        .iter()
        .for_each(|line| print_line(line));
    if args.print {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !confirmed()? {
        print_line("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    write(&file, &after)?;
    print_line(match args.undo {
        true => "done: cargo runs rustc itself again",
        false => "done: cargo compiles through headstart; `headstart init --undo` takes it back",
    });
    if !args.undo && environment.var("RUSTC_WRAPPER").is_some() {
        print_line(
            "note: RUSTC_WRAPPER is set in this environment, and wins over the configuration",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells whether `program` is a headstart.
pub(super) fn is_ours(program: &Path, environment: &Environment) -> bool {
    program.file_stem().is_some_and(|stem| stem == "headstart") || program == environment.program()
}

fn refused(file: &Path, error: &ConfigFileError) -> Failure {
    let hint = match error {
        ConfigFileError::Taken(_) => {
            "two wrappers cannot share the place: remove that line first if headstart should have it"
        }
        ConfigFileError::Unreadable(_) => {
            "correct the file first; `cargo config get` shows how cargo reads it"
        }
    };
    Failure::new(format!("{} is left alone: {error}", file.display()), hint)
}

/// Returns the configuration file to change; cargo prefers the old name without an extension.
fn file(args: &InitArgs, environment: &Environment) -> anyhow::Result<PathBuf> {
    let dir = match args.workspace {
        false => environment.cargo_home()?,
        true => {
            let command = CargoCommand { args: Vec::new() };
            Setup::of(&command, environment, None)?
                .workspace
                .root
                .join(".cargo")
        }
    };
    let old = dir.join("config");
    let file = if old.is_file() {
        old
    } else {
        dir.join("config.toml")
    };
    // A link to a file elsewhere, as people keep their configuration, must stay one.
    Ok(disk::canonical(&file))
}

/// Returns how the configuration names this program: by its bare name if that is what others have it by.
fn program(args: &InitArgs, environment: &Environment) -> String {
    let path = environment.program();
    match args.workspace && environment.finds("headstart").as_deref() == Some(path) {
        true => "headstart".to_owned(),
        false => path.display().to_string(),
    }
}

/// Returns the lines that come and go, each with its sign.
fn changes(before: &str, after: &str) -> Vec<String> {
    let only_in = |text: &str, other: &str, sign: char| -> Vec<String> {
        let other: Vec<&str> = other.lines().collect();
        let own = text
            .lines()
            .filter(|line| !line.is_empty() && !other.contains(line));
        own.map(|line| format!("  {sign} {line}")).collect()
    };
    [only_in(before, after, '-'), only_in(after, before, '+')].concat()
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let hint = "--yes writes it without asking, --print only shows it";
        return Err(Failure::new("nobody is here to agree to this change", hint).into());
    }
    let mut out = std::io::stdout();
    write!(out, "write this? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn write(file: &Path, text: &str) -> Result<(), DiskError> {
    let dir = file.parent().unwrap_or(Path::new("."));
    disk::make_dir(dir)?;
    let finish = Finish {
        mode: place::mode_of(file).unwrap_or(place::MODE_FILE),
        mtime: None,
    };
    Staging::new(dir, ".headstart-init")?.write(file, text.as_bytes(), finish)
}
