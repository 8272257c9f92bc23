//! A second CARGO_HOME that shares the user's downloads but unpacks its own sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Directories that hold downloads only: cargo never compiles from them.
const SHARED: [&str; 3] = ["registry/index", "registry/cache", "git/db"];
/// The user's settings; credentials are not taken.
const SETTINGS: [&str; 2] = ["config.toml", "config"];

/// Makes `home`, a CARGO_HOME at another path with the same packages, and returns it.
///
/// Needs no network; fails where symlinks do not exist.
pub(crate) fn second(home: PathBuf) -> Result<PathBuf> {
    let users = users()?;
    for name in SHARED.iter().filter(|name| users.join(name).exists()) {
        let link = home.join(name);
        fs::create_dir_all(link.parent().context("a shared directory has a parent")?)?;
        symlink(&users.join(name), &link)?;
    }
    for name in SETTINGS.iter().filter(|name| users.join(name).is_file()) {
        fs::copy(users.join(name), home.join(name))?;
    }
    Ok(home)
}

fn users() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    Ok(std::env::home_dir()
        .context("no home directory")?
        .join(".cargo"))
}

#[cfg(unix)]
fn symlink(to: &Path, at: &Path) -> Result<()> {
    std::os::unix::fs::symlink(to, at).with_context(|| format!("cannot link {}", at.display()))
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> Result<()> {
    anyhow::bail!("--other-home needs symlinks")
}
