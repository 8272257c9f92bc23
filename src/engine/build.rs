//! A finished build, and its units with all that is read of them before they are recorded.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cargo::{Live, Locked, PackageId, Workspace, dep_info, layout, package};
use crate::disk::{CopyError, DiskError};
use crate::engine::LiveUnit;
use crate::model::fingerprint::Dep;
use crate::model::{
    DepInfo, DepPath, Fingerprint, Local, Manifest, Package, Root, Rooted, Roots, Secrets, Source,
    UnitName,
};
use crate::report::Reporter;
use crate::store::Store;

/// What is published.
#[derive(Debug)]
pub struct Build<'a> {
    /// The workspace that was built.
    pub workspace: &'a Workspace,
    /// The builder's roots.
    pub roots: &'a Roots,
    /// rustc's sysroot.
    pub sysroot: &'a Path,
    /// The manifest as far as it is known before anything is read: without settings, tables and units.
    pub manifest: Manifest,
    /// What must not be published.
    pub secrets: &'a Secrets,
    /// Where it goes.
    pub store: &'a Store,
    /// Who hears of it.
    pub reporter: Reporter,
    /// cargo's report of the live units; without one, all that the build directory holds are live.
    pub report: Option<Vec<Live>>,
}

/// A unit with all that was read of it before it is recorded.
pub(super) struct Candidate {
    pub(super) live: LiveUnit,
    pub(super) fingerprint: Fingerprint,
    pub(super) dep_info: Option<DepInfo>,
    pub(super) package: Package,
}

/// Why a unit is no part of a starting point.
#[derive(Debug, thiserror::Error)]
pub enum LeftOut {
    /// cargo's hash of it cannot be reproduced.
    #[error("cargo's recorded hash could not be reproduced")]
    Unproven,
    /// Its main source is not the one that cargo hashed.
    #[error("cargo hashed another main source than it reports")]
    OtherSource,
    /// It was compiled for one kind of CPU, and nobody says which.
    #[error(
        "it is compiled for the CPU of the machine that built it (target-cpu=native, -march=native)"
    )]
    OwnCpu,
    /// cargo's dep-info is in a format that we do not know.
    #[error("cargo's dep-info is missing or in an unknown format")]
    DepInfo,
    /// A file that it was made from changed since.
    #[error("{0} changed, or was put there, after it was compiled")]
    Changed(String),
    /// What cargo lists as its files cannot be reproduced.
    #[error(
        "its build script watches its whole package, and cargo's list of files could not be reproduced"
    )]
    PackageFiles,
    /// It made nothing that we can find.
    #[error("none of its outputs were found")]
    NoOutputs,
    /// cargo would build it again, from what is here.
    #[error("cargo would build it again: it is left over from an earlier build")]
    Stale,
    /// It may be made of the sources of another work tree.
    #[error(
        "another work tree with the same target directory may have made it: `cargo clean -p` it, then publish again"
    )]
    OtherTree,
    /// The directory was moved or copied, and this says where it was.
    #[error(
        "it holds where the target directory was when it was made: `cargo clean -p` it, then publish again"
    )]
    OtherPlace,
    /// A dependency is left out.
    #[error("it depends on {0}, which was left out")]
    Dependency(String),
    /// It holds the value of a secret, and nothing is published then: the variable, and the file.
    #[error("{1} holds the value of {0}")]
    Secret(String, String),
    /// A link that leaves the build directory.
    #[error("{0} is a link out of the target directory")]
    Link(String),
    /// A file could not be read or stored.
    #[error("{0}")]
    Disk(#[from] DiskError),
    /// A file changed while it was read.
    #[error("{0}")]
    Copy(#[from] CopyError),
}

/// What is recorded of a unit, or why that is left out.
pub(super) type Result<T, E = LeftOut> = std::result::Result<T, E>;

/// What flags of compilers end with that make programs for the CPU that they run on: rustc's, and those that scripts give to C compilers.
const OWN_CPU: [&str; 3] = ["target-cpu=native", "-march=native", "-mcpu=native"];

/// Where each package is; the run of a build script is reported without it.
type PackageDirs = HashMap<PackageId, PathBuf>;

impl Build<'_> {
    /// Reads cargo's records of `units`, and returns them with dependencies first.
    pub(super) fn read_candidates(
        &self,
        units: &[LiveUnit],
        left_out: &mut Vec<(String, String)>,
    ) -> Vec<Candidate> {
        let known = |unit: &LiveUnit| Some((unit.package.clone(), unit.package_dir.clone()?));
        let dirs: PackageDirs = units.iter().filter_map(known).collect();
        let locked = Locked::read(&self.workspace.root.join("Cargo.lock")).unwrap_or_default();
        let read = |unit: &LiveUnit| self.read_candidate(unit.clone(), &dirs, &locked);
        let all: Vec<Result<Candidate, LeftOut>> = units.par_iter().map(read).collect();
        let mut candidates = Vec::new();
        for (unit, candidate) in units.iter().zip(all) {
            match candidate {
                Ok(candidate) => candidates.push(candidate),
                Err(reason) => left_out.push((unit.name.to_string(), reason.to_string())),
            }
        }
        dependencies_first(candidates)
    }

    /// Tells whether a unit is compiled for the CPU of this machine, as far as it says so.
    fn is_for_own_cpu(&self, fingerprint: &Fingerprint) -> bool {
        // Those of `cargo rustc` are in no record of cargo's but its hash.
        let typed = self.manifest.commands.iter().flatten();
        let flags = fingerprint.rustflags.iter().chain(typed);
        let declared = fingerprint.declared_variables();
        let declared = declared.filter_map(|(_, value)| value.as_deref());
        let declared = declared.flat_map(str::split_whitespace);
        let mut all = flags.map(String::as_str).chain(declared);
        all.any(|flag| OWN_CPU.iter().any(|own| flag.ends_with(own)))
    }

    fn read_candidate(
        &self,
        live: LiveUnit,
        dirs: &PackageDirs,
        locked: &Locked,
    ) -> Result<Candidate, LeftOut> {
        let build_dir = &self.workspace.build_dir;
        let fingerprint =
            layout::proven_fingerprint(build_dir, &live.name).ok_or(LeftOut::Unproven)?;
        if self.is_for_own_cpu(&fingerprint) {
            return Err(LeftOut::OwnCpu);
        }
        let dep_info = read_dep_info(build_dir, &live.name, self.roots)?;
        let dir = live.package_dir.as_ref();
        let dir = dir.or_else(|| dirs.get(&live.package));
        let dir = dir.ok_or(LeftOut::OtherSource)?;
        let dir = self.roots.locate(dir);
        let source = match (live.package.is_path, dir.root) {
            (true, _) => Source::Path,
            (false, Root::CargoHome) if is_downloaded(&dir) => Source::Immutable,
            (false, _) => Source::Vendored,
        };
        let (name, version) = (&live.package.name, &live.package.version);
        Ok(Candidate {
            package: Package {
                name: name.clone(),
                version: version.clone(),
                source,
                checksum: locked.content(name, version).map(str::to_owned),
                dir,
            },
            live,
            fingerprint,
            dep_info,
        })
    }
}

/// Returns `candidates` in an order in which each stands behind what it depends on.
fn dependencies_first(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let hashes = candidates.iter().map(|one| one.fingerprint.hash());
    let known: HashSet<u64> = hashes.collect();
    let mut placed: HashSet<u64> = HashSet::new();
    let mut ordered = Vec::with_capacity(candidates.len());
    let mut waiting = candidates;
    while !waiting.is_empty() {
        let is_placed = |dep: &Dep| placed.contains(&dep.3) || !known.contains(&dep.3);
        let ready = |one: &Candidate| one.fingerprint.deps.iter().all(is_placed);
        let (next, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(ready);
        if next.is_empty() {
            return ordered;
        }
        placed.extend(next.iter().map(|one| one.fingerprint.hash()));
        ordered.extend(next);
        waiting = rest;
    }
    ordered
}

pub(super) fn profiles<'a>(units: impl Iterator<Item = &'a LiveUnit>) -> BTreeSet<&'a str> {
    units.map(|unit| unit.name.profile_dir.as_str()).collect()
}

/// Returns the paths that cargo compares for a unit, and the whole of a vendored package, of which cargo
/// compares nothing.
pub(super) fn watched_paths(candidate: &Candidate, roots: &Roots) -> Vec<Rooted> {
    let dir = &candidate.package.dir;
    let files = candidate.dep_info.iter().flat_map(|info| &info.files);
    // What lies there comes with the run of the build script that wrote it.
    let files = files.filter(|file| !matches!(file, DepPath::Build(path) if is_out_dir(path)));
    let mut paths: Vec<Rooted> = files.map(|file| dep_info::rooted(file, dir)).collect();
    for local in &candidate.fingerprint.local {
        if let Local::RerunIfChanged { paths: all, .. } = local {
            paths.extend(all.iter().map(|path| match path.is_absolute() {
                true => roots.locate(path),
                false => dir.join(path),
            }));
        }
    }
    if candidate.package.source == Source::Vendored {
        paths.push(dir.clone());
    }
    paths.retain(|path| path.root != Root::CargoHome || !is_downloaded(path));
    paths
}

/// Tells whether `path`, in `$CARGO_HOME`, is in `registry` or `git` there, which cargo takes for immutable.
fn is_downloaded(path: &Rooted) -> bool {
    package::is_downloaded(path.relative(), Path::new(""))
}

/// Tells whether `path` lies in an `OUT_DIR`, and is not reached by way of it.
pub(super) fn is_out_dir(path: &[u8]) -> bool {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let mut all = parts.windows(3);
    let stays = parts.iter().all(|part| *part != b"..");
    stays && all.any(|window| window[0] == b"build" && window[2] == b"out")
}

/// Returns the paths in the build directory that `info` names.
pub fn build_paths(info: &DepInfo) -> impl Iterator<Item = &[u8]> {
    info.files.iter().filter_map(|file| match file {
        DepPath::Build(path) => Some(path.as_slice()),
        DepPath::Package(_) | DepPath::Elsewhere(_) => None,
    })
}

/// Returns cargo's dep-info of `unit`; nothing for the run of a build script.
pub fn read_dep_info(build: &Path, unit: &UnitName, roots: &Roots) -> Result<Option<DepInfo>> {
    if unit.runs_script() {
        return Ok(None);
    }
    let bytes = layout::dep_info(build, unit);
    let info = bytes.and_then(|bytes| dep_info::decode(&bytes, roots));
    info.map(Some).ok_or(LeftOut::DepInfo)
}
