//! The units of a build directory that was filled through the wrapper, told from what cargo and rustc left in it.
//!
//! For builds whose cargo cannot be asked for a report, since another program runs it. Whatever cargo would not find fresh is
//! left out later; what an earlier build left, and is still fresh, is taken for a part of this one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cargo::layout::{self, Layout, Outputs};
use crate::cargo::{PackageId, Workspace, makefile, package};
use crate::disk::{self, without_dots};
use crate::engine::LiveUnit;
use crate::engine::build::read_dep_info;
use crate::engine::live::{self, Told};
use crate::model::{DepPath, Root, Roots, UnitName, bytes_path};

/// Returns the units in the build directory of `workspace`, each once, and the names of those that cannot be told.
pub fn units(workspace: &Workspace, roots: &Roots) -> (Vec<LiveUnit>, Vec<String>) {
    let build = &workspace.build_dir;
    let layout = Layout::scan(build);
    let profiles = layout.profiles();
    let scan = Scan {
        workspace,
        roots,
        outputs: Outputs::of(build, profiles.iter().map(String::as_str)),
    };
    let (runs, compiles): (Vec<&UnitName>, Vec<&UnitName>) =
        layout.units.iter().partition(|unit| unit.runs_script());
    let compile = |name: &UnitName| scan.compile(name).ok_or_else(|| name.to_string());
    let compiles: Vec<Told> = compiles.into_par_iter().map(compile).collect();
    let scripts = scripts(build, compiles.iter().flatten());
    let run = |name: &UnitName| run(build, name, &scripts).ok_or_else(|| name.to_string());
    live::sorted(compiles.iter().cloned().chain(runs.into_iter().map(run)))
}

struct Scan<'a> {
    workspace: &'a Workspace,
    roots: &'a Roots,
    outputs: Outputs<'a>,
}

impl Scan<'_> {
    /// Returns the unit `name`, with its source told from rustc's list of the files that it read.
    fn compile(&self, name: &UnitName) -> Option<LiveUnit> {
        let build = &self.workspace.build_dir;
        let files = self.outputs.of_unit(name);
        let makefile = files.iter().find(|file| disk::has_extension(file, "d"))?;
        let text = disk::read(&build.join(makefile), makefile::MAX_BYTES).ok()?;
        let read = makefile::files(&String::from_utf8_lossy(&text));
        let read = read.iter().map(|file| self.workspace.root.join(file));
        let read: Vec<PathBuf> = read.collect();
        let source = read.first()?.clone();
        let mut above = source.ancestors().skip(1);
        let dir = above.find(|dir| dir.join("Cargo.toml").is_file())?;
        self.reads_only(name, dir, &read).then_some(())?;
        let stem = makefile.file_stem()?.to_str()?;
        Some(LiveUnit {
            name: name.clone(),
            package: self.package(name, dir)?,
            package_dir: Some(dir.to_path_buf()),
            // Of a dylib it matters that its metadata is compressed, and a proc-macro's library cannot be told from one.
            compressed: files.iter().any(|file| disk::has_extension(file, "so")),
            crate_name: stem.rsplit_once('-')?.0.to_owned(),
            plain_outputs: Vec::new(),
            source: Some(source),
        })
    }

    /// Tells whether every file that cargo has below the package is one that rustc read there.
    ///
    /// cargo keeps them relative to the package's directory, which is a guess here; with a wrong one, other files would be
    /// compared than those that the unit was made from.
    fn reads_only(&self, name: &UnitName, dir: &Path, read: &[PathBuf]) -> bool {
        let read: HashSet<PathBuf> = read.iter().map(|file| without_dots(file)).collect();
        let info = read_dep_info(&self.workspace.build_dir, name, self.roots);
        info.ok().flatten().is_some_and(|info| {
            info.files.iter().all(|file| match file {
                DepPath::Package(path) => read.contains(&without_dots(&dir.join(bytes_path(path)))),
                DepPath::Build(_) | DepPath::Elsewhere(_) => true,
            })
        })
    }

    /// Returns the package in `dir`; the version of one that is downloaded is in the directory's name, and of any other
    /// nothing depends on it.
    fn package(&self, name: &UnitName, dir: &Path) -> Option<PackageId> {
        let (own_name, _) = name.dir.rsplit_once('-')?;
        let downloaded = package::is_downloaded(dir, self.roots.dir(Root::CargoHome));
        let vendored = dir.join(".cargo-checksum.json").is_file();
        let version = dir.file_name()?.to_str()?.strip_prefix(own_name);
        let version = version.and_then(|rest| rest.strip_prefix('-'));
        Some(PackageId {
            name: own_name.to_owned(),
            version: version.unwrap_or_default().to_owned(),
            is_path: !downloaded && !vendored,
        })
    }
}

/// Returns the package of each build script, by the hash of its compile.
fn scripts<'a>(build: &Path, units: impl Iterator<Item = &'a LiveUnit>) -> HashMap<u64, PackageId> {
    let scripts = units.filter(|unit| unit.name.stem.starts_with("build-script-"));
    let known = scripts.filter_map(|unit| {
        let fingerprint = layout::proven_fingerprint(build, &unit.name)?;
        Some((fingerprint.hash(), unit.package.clone()))
    });
    known.collect()
}

/// Returns the run `name` of one of `scripts`.
fn run(build: &Path, name: &UnitName, scripts: &HashMap<u64, PackageId>) -> Option<LiveUnit> {
    let fingerprint = layout::proven_fingerprint(build, name)?;
    let mut deps = fingerprint.deps.iter();
    let package = deps.find_map(|dep| scripts.get(&dep.3))?;
    Some(LiveUnit {
        name: name.clone(),
        package: package.clone(),
        ..LiveUnit::default()
    })
}
