//! Where cargo has the workspace, its target directory and its build directory.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::command::{CargoCommand, Run, ask};
use super::{CargoError, Result};
use crate::disk::{hash, walk};
use crate::model::Toolchain;

/// A workspace as cargo sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its root.
    pub root: PathBuf,
    /// Where final outputs go.
    pub target_dir: PathBuf,
    /// Where everything else goes; the same directory unless `build.build-dir` is set.
    pub build_dir: PathBuf,
    /// The `Cargo.toml` of each member.
    pub manifests: Vec<PathBuf>,
    /// The version of each member, by its name.
    pub versions: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    build_directory: Option<PathBuf>,
    packages: Vec<PackageEntry>,
}

#[derive(Deserialize)]
struct PackageEntry {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

impl Workspace {
    /// Returns the workspace that `command` builds when run so; reads no lock file and no network.
    pub fn of(command: &CargoCommand, run: Run<'_>) -> Result<Workspace> {
        let mut args = vec!["metadata", "--format-version=1", "--no-deps", "--offline"];
        for option in ["--manifest-path", "--config"] {
            let values = command.options(option);
            args.extend(values.flat_map(|value| [option, value]));
        }
        let answer = ask("cargo", &args, run, command.toolchain())?;
        let metadata: Result<Metadata, _> = serde_json::from_str(&answer);
        let metadata = metadata.map_err(|error| {
            let command = format!("cargo {}", args.join(" "));
            CargoError::Answer(command, error.to_string())
        })?;
        let target_dir = metadata.target_directory;
        let packages = metadata.packages.into_iter();
        let packages = packages.map(|entry| (entry.manifest_path, (entry.name, entry.version)));
        let (manifests, versions) = packages.unzip();
        let workspace = Workspace {
            root: metadata.workspace_root,
            build_dir: metadata.build_directory.unwrap_or(target_dir.clone()),
            target_dir,
            manifests,
            versions,
        };
        Ok(match command.option("--target-dir") {
            Some(target) => workspace.with_target_dir(&run.dir.join(target)),
            None => workspace,
        })
    }

    /// Returns this workspace with another target directory; a build directory set apart stays.
    pub fn with_target_dir(mut self, target: &Path) -> Workspace {
        if self.build_dir == self.target_dir {
            self.build_dir = target.to_path_buf();
        }
        self.target_dir = target.to_path_buf();
        self
    }

    /// Returns the files that shape cargo's hashes: manifests, lock file, configuration, that of rustc's bootstrap.
    pub fn settings(&self) -> BTreeSet<PathBuf> {
        let own = [
            "Cargo.toml",
            "Cargo.lock",
            ".cargo/config.toml",
            ".cargo/config",
            "rust-toolchain.toml",
            "bootstrap.toml",
        ];
        let own = own.iter().map(|name| self.root.join(name));
        let files = own.chain(self.manifests.iter().cloned());
        files.filter(|file| file.is_file()).collect()
    }
}

/// What a rustc says that does not know what it was built from.
const UNKNOWN_COMMIT: &str = "commit-hash: unknown";
/// What the library is called, up to its hash, that has all of rustc in it but its `main`.
pub const DRIVER: &str = "librustc_driver";

/// Returns the versions of rustc and cargo that build so, of `toolchain` if one is named.
pub fn toolchain(rustc: &str, run: Run<'_>, toolchain: Option<&str>) -> Result<Toolchain> {
    let cargo = ask("cargo", &["-V"], run, toolchain)?.trim().to_owned();
    let mut told = ask(rustc, &["-vV"], run, toolchain)?;
    if told.contains(UNKNOWN_COMMIT) {
        // Built by hand, and the next one will say the same of itself.
        let libraries = sysroot(rustc, run, toolchain)?.join("lib");
        let names = walk::names(&libraries);
        let mut drivers = names.filter(|name| name.starts_with(DRIVER));
        let digest = drivers.find_map(|name| hash::of(&libraries.join(name)));
        told.extend(digest.map(|digest| format!("driver: {}\n", digest.hex())));
    }
    Ok(Toolchain { rustc: told, cargo })
}

/// Returns the sysroot of that rustc.
pub fn sysroot(rustc: &str, run: Run<'_>, toolchain: Option<&str>) -> Result<PathBuf> {
    let answer = ask(rustc, &["--print", "sysroot"], run, toolchain)?;
    Ok(PathBuf::from(answer.trim_end_matches('\n')))
}
