//! Which of the test's own environment variables a child may see.
//!
//! A test runs under cargo, maybe under a git hook or with RUSTFLAGS set; none of that may reach a fixture's build.

use std::path::Path;
use std::process::Command;

/// What says where crates come from; without these a machine behind a mirror could not build.
const REGISTRY_SETTINGS: [&str; 5] = [
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_HTTP_",
    "CARGO_NET_",
];

/// Prefixes of variables that would change what a child does; RUST covers RUSTC_WRAPPER, RUSTFLAGS, RUST_LOG and kin.
const REMOVED_PREFIXES: [&str; 6] = ["CARGO", "CLIPPY_", "FIXTURE_", "GIT_", "HEADSTART_", "RUST"];

const REMOVED: [&str; 5] = [
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "MAKEFLAGS",
    "MFLAGS",
    "NO_COLOR",
];

/// Removes from `command` every inherited variable that would change a build.
///
/// RUSTUP_*, CARGO_HOME, and what names registries, mirrors and certificates stay.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if !name.to_str().is_some_and(is_kept) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns a git that reads nobody's configuration, signs as one fixed person, and never works in the background.
pub fn git_command(directory: &Path) -> Command {
    let mut git = Command::new("git");
    isolate_git(clean(&mut git)).current_dir(directory).args([
        "-c",
        "init.defaultBranch=main",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=false",
        "-c",
        "advice.detachedHead=false",
        "-c",
        "protocol.file.allow=always",
    ]);
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Fixture")
            .env(format!("GIT_{role}_EMAIL"), "fixture@example.invalid");
    }
    git
}

/// Hides the user's and the system's git configuration from `command` and its children.
pub(crate) fn isolate_git(command: &mut Command) -> &mut Command {
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
}

fn is_kept(name: &str) -> bool {
    let names_a_source = REGISTRY_SETTINGS
        .iter()
        .any(|prefix| name.starts_with(prefix));
    if names_a_source
        || name == "CARGO_HOME"
        || name.starts_with("RUSTUP_")
        || name.starts_with("GIT_SSL_")
    {
        return true;
    }
    !REMOVED.contains(&name)
        && !REMOVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::is_kept;

    // Without it a fixture's units get the flags, the target directory or the git index of whoever runs the tests.
    #[test]
    fn what_changes_a_build_is_removed_and_what_finds_crates_is_kept() {
        for name in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_JOBS",
            "CARGO_INCREMENTAL",
            "CARGO_MAKEFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUST_LOG",
            "GIT_DIR",
            "GIT_INDEX_FILE",
            "MAKEFLAGS",
            "HEADSTART_STORE",
            "FIXTURE_MODE",
        ] {
            assert!(!is_kept(name), "{name} must not reach a fixture");
        }
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "CARGO_SOURCE_CRATES_IO_REPLACE_WITH",
            "GIT_SSL_CAINFO",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_kept(name), "{name} is needed");
        }
    }
}
