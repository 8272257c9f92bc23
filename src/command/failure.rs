//! How a command says that it failed: what happened, why, and a hint what to do.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::cargo::CargoError;
use crate::config::{CONFIG_FILE, ConfigError};
use crate::disk::DiskError;
use crate::engine::publish::PublishError;
use crate::git::GitError;
use crate::store::StoreError;
use crate::trust::{KeyError, TrustError};

/// A failure of a command itself, with its hint.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// What happened.
    what: String,
    /// What to do.
    hint: String,
}

impl Failure {
    /// Returns a failure that says `what` happened and gives `hint`.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        let (what, hint) = (what.into(), hint.into());
        Failure { what, hint }
    }
}

/// Prints `error` with its causes and a hint, and returns the exit code: cargo's if cargo failed, 128 + its signal if one ended it, else 1.
pub fn print(error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref() {
        // It has said why itself.
        Some(CargoError::Failed { code, stderr, .. }) if stderr.is_empty() => {
            return ExitCode::from(u8::try_from(*code).unwrap_or(101));
        }
        // As a shell has it.
        Some(CargoError::Ended(_, signal)) => u8::try_from(128 + signal).unwrap_or(101),
        _ => 1,
    };
    show("error", error);
    ExitCode::from(code)
}

/// Prints what is wrong with how a command was typed, or the help that was asked for, and returns the exit code.
pub(super) fn print_usage(error: &clap::Error) -> ExitCode {
    drop(error.print());
    let takes_more = error.to_string().contains("[-- <");
    if takes_more && error.kind() == clap::error::ErrorKind::UnknownArgument {
        eprintln!("\nhint: what is cargo's comes behind `--`: headstart start -- build --release");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Prints what went wrong with `what`, with its causes and a hint, where the command goes on all the same.
pub fn print_and_go_on(what: &str, error: &anyhow::Error) {
    show(&format!("headstart: {what}"), error);
}

fn show(heading: &str, error: &anyhow::Error) {
    eprintln!("{heading}: {error}");
    let mut shown = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !shown.contains(&cause) {
            eprintln!("  because {cause}");
            shown.push_str(&cause);
        }
    }
    if let Some(hint) = hint(error) {
        eprintln!("\nhint: {hint}");
    }
}

fn find<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Returns what to do about `error`.
pub(super) fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(failure) = find::<Failure>(error) {
        return Some(failure.hint.clone());
    }
    let full = "make room there, or name another place: --store, or --target-dir of a start";
    if let Some(DiskError { path, cause, .. }) = find(error) {
        let (kind, path) = (cause.kind(), path.display());
        let file = "make it a directory, or name another: --store, or --target-dir of a start";
        let by_file = "correct the file; nobody is believed by what cannot be understood";
        return Some(match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => full.to_owned(),
            ErrorKind::NotADirectory => file.to_owned(),
            ErrorKind::InvalidData => by_file.to_owned(),
            _ => format!("see whether {path} is there, and whether you may use it"),
        });
    }
    let hints = [git_hint, trust_hint, store_hint];
    hints.iter().find_map(|hint| hint(error)).map(str::to_owned)
}

fn git_hint(error: &anyhow::Error) -> Option<&'static str> {
    Some(match find::<GitError>(error)? {
        GitError::Start(_) => "install git, or put it on PATH",
        GitError::NoRepository(_) => "starting points belong to commits: run this in a clone",
        GitError::NoCommits(_) => "make a first commit",
        GitError::UnknownRevision(_) => "`git fetch` may bring it, if the clone is shallow or old",
        GitError::Failed(..) => "the same command in a terminal may say more",
    })
}

fn trust_hint(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(error) = find::<TrustError>(error) {
        return Some(match error {
            TrustError::Directory(..) => {
                "if you trust whoever writes there, say so with --believe-store"
            }
            TrustError::Unsigned => "whoever publishes there can sign, by `headstart key new`",
            TrustError::Strangers(_) => "if you know that key, `headstart trust add` believes it",
            TrustError::Newer(_) => "update headstart",
            TrustError::Statement(_) => return None,
            TrustError::Mismatch(_) | TrustError::Unreadable(_) => {
                "tell whoever publishes there; publishing that commit again replaces what is damaged"
            }
        });
    }
    Some(match find::<KeyError>(error)? {
        KeyError::NotPublic => "name the line that begins with RW, or the .pub file",
        KeyError::NotSecret => "`headstart key new` or `minisign -G` makes one",
        KeyError::NoPassword => "set HEADSTART_KEY_PASSWORD; the .pub file needs none",
        KeyError::WrongPassword => "see what HEADSTART_KEY_PASSWORD is set to",
        KeyError::Damaged => "take a copy of the key, or make a new one and revoke this one",
    })
}

fn store_hint(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(PublishError::Secret(..)) = find(error) {
        return Some("build without the variable, or keep its value out of what is compiled");
    }
    if let Some(error) = find::<StoreError>(error) {
        return Some(match error {
            StoreError::Missing(_) => "`headstart publish` makes it; --store names another",
            StoreError::Foreign(_) => "name an empty or a new directory with --store",
            StoreError::Newer(..) => "update headstart, or name another store with --store",
            StoreError::Unusable(..) => "publish that commit again; others are not affected",
            StoreError::Disk(_) => return None,
        });
    }
    if let Some(error) = find::<ConfigError>(error) {
        return Some(match error {
            ConfigError::NoHome(_) => "set HOME",
            ConfigError::Variable("HEADSTART_STORE", _) => "name another directory, or unset it",
            ConfigError::Variable(..) => "set it to a number with a unit, or unset it",
            ConfigError::File(file, _) if !file.ends_with(CONFIG_FILE) => "correct the file",
            ConfigError::File(..) => {
                "correct the file; `remote`, `secrets` and `trusted_keys` are what it may hold"
            }
            ConfigError::Remote(_) => "name a directory, for instance on a shared file system",
        });
    }
    match find::<CargoError>(error)? {
        CargoError::Start(..) => Some("install Rust, or put cargo and rustc on PATH"),
        CargoError::Failed { .. } => Some("run this in a cargo workspace where that command works"),
        CargoError::Ended(..) | CargoError::Answer(..) => None,
    }
}
