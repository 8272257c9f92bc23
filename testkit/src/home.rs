//! Further cargo homes, so that a test can build as another user on another machine would.
//!
//! Copies, never links: what a build does in one home must not be seen in another. Credentials stay where they are.

use std::fs;
use std::path::{Path, PathBuf};

/// The tables of cargo's configuration that say where crates come from; others (flags, wrappers, aliases) are left out.
const REGISTRY_TABLES: [&str; 5] = ["source", "registries", "registry", "http", "net"];

/// Makes a cargo home at `path` that builds the named crates.io packages offline, and returns `path`.
///
/// A name that the user's own home does not hold is left out; cargo then asks the network for it.
pub fn cargo_home(path: &Path, crates: &[&str]) -> PathBuf {
    fill(path, |file| match containing_part(file) {
        Part::Cache => crates.iter().any(|name| is_archive_of(name, file)),
        Part::IndexEntry => file
            .file_name()
            .is_some_and(|file| crates.iter().any(|name| file == *name)),
        Part::Other => true,
    })
}

/// Makes a cargo home at `path` that holds all that the user's own does, and returns `path`.
pub fn cargo_home_full(path: &Path) -> PathBuf {
    fill(path, |_| true)
}

/// Returns the user's own cargo home: `$CARGO_HOME`, else `~/.cargo`.
pub fn default_cargo_home() -> PathBuf {
    match std::env::var_os("CARGO_HOME") {
        Some(home) if !home.is_empty() => home.into(),
        _ => user_home().join(".cargo"),
    }
}

/// Returns where rustup keeps toolchains: `$RUSTUP_HOME`, else `~/.rustup`.
pub(crate) fn default_rustup_home() -> PathBuf {
    match std::env::var_os("RUSTUP_HOME") {
        Some(home) if !home.is_empty() => home.into(),
        _ => user_home().join(".rustup"),
    }
}

fn user_home() -> PathBuf {
    std::env::home_dir().expect("the user has a home directory")
}

/// Copies what `wanted` says of the index and of the archives; cargo unpacks sources itself.
fn fill(path: &Path, wanted: impl Fn(&Path) -> bool) -> PathBuf {
    let from = default_cargo_home();
    fs::create_dir_all(path).expect("the test may write here");
    for part in ["registry/index", "registry/cache"] {
        copy_tree(&from.join(part), &path.join(part), &wanted);
    }
    for name in ["config.toml", "config"] {
        if let Ok(text) = fs::read_to_string(from.join(name)) {
            fs::write(path.join("config.toml"), registry_settings(&text))
                .expect("the new home is writable");
            break;
        }
    }
    path.to_owned()
}

enum Part {
    Cache,
    IndexEntry,
    Other,
}

fn containing_part(file: &Path) -> Part {
    if file
        .extension()
        .is_some_and(|extension| extension == "crate")
    {
        return Part::Cache;
    }
    match file.components().any(|part| part.as_os_str() == ".cache") {
        true => Part::IndexEntry,
        false => Part::Other,
    }
}

/// `NAME-1.2.3.crate`, and not `NAME-other-1.2.3.crate`.
fn is_archive_of(name: &str, file: &Path) -> bool {
    let file = file
        .file_name()
        .and_then(|file| file.to_str())
        .unwrap_or_default();
    let version = file
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'));
    version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

fn copy_tree(from: &Path, to: &Path, wanted: &impl Fn(&Path) -> bool) {
    // A home that never fetched has no registry.
    let Ok(entries) = fs::read_dir(from) else {
        return;
    };
    for entry in entries {
        let entry = entry.expect("the cargo home is readable");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target, wanted);
        } else if wanted(&source) {
            fs::create_dir_all(to).expect("the new home is writable");
            fs::copy(&source, &target)
                .unwrap_or_else(|error| panic!("cannot copy {}: {error}", source.display()));
        }
    }
}

/// Returns those lines of a cargo configuration that stand in a table of `REGISTRY_TABLES`.
fn registry_settings(configuration: &str) -> String {
    let mut kept = String::new();
    let (mut in_table, mut keeps) = (false, false);
    for line in configuration.lines() {
        let key = line.trim_start();
        if key.starts_with('[') {
            (in_table, keeps) = (true, names_registry(key.trim_start_matches('[')));
        } else if !in_table {
            keeps = names_registry(key);
        }
        if keeps {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn names_registry(key: &str) -> bool {
    let first = key.split(['.', ']', '=', ' ']).next().unwrap_or_default();
    REGISTRY_TABLES.contains(&first.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Without it, a contributor's sccache or target flags would leak into every "other user" of the tests.
    #[test]
    fn only_registry_settings_are_taken_over() {
        let configuration = "net.retry = 1\nunstable = 1\n[build]\nrustc-wrapper = \"sccache\"\n[source.crates-io]\n\
                             replace-with = \"mirror\"\n[target.x]\nlinker = \"y\"\n[registries.\"mine\"]\nindex = \"z\"\n";
        let expected = "net.retry = 1\n[source.crates-io]\nreplace-with = \"mirror\"\n[registries.\"mine\"]\nindex = \"z\"\n";
        assert_eq!(registry_settings(configuration), expected);
    }

    #[test]
    fn an_archive_belongs_to_one_name_only() {
        assert!(is_archive_of("serde", Path::new("/c/serde-1.0.0.crate")));
        assert!(!is_archive_of(
            "serde",
            Path::new("/c/serde-json-1.0.0.crate")
        ));
        assert!(!is_archive_of(
            "serde",
            Path::new("/c/serde_json-1.0.0.crate")
        ));
    }
}
