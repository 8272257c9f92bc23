//! From the units that cargo named in its report to their files in the build directory.
//!
//! A report has no unit hashes: most are in the names of the outputs, the others are found by comparing files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cargo::layout::{HashedFiles, Layout, hash_in, profile_of, unit_hash};
use crate::cargo::message::Artifact;
use crate::cargo::{Live, PackageId, Workspace};
use crate::disk::{hash, walk};
use crate::model::UnitName;

/// A live unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveUnit {
    /// Where cargo keeps it.
    pub name: UnitName,
    /// Its package.
    pub package: PackageId,
    /// The directory of its package; none for the run of a build script, which has its script's.
    pub package_dir: Option<PathBuf>,
    /// Its main source, likewise.
    pub source: Option<PathBuf>,
    /// Whether it is a dylib, whose metadata is compressed.
    pub compressed: bool,
    /// The name of the crate.
    pub crate_name: String,
    /// Outputs without a unit hash in their names, relative to the build directory.
    pub plain_outputs: Vec<PathBuf>,
}

/// Returns the live units, each once, and what of the report could not be found.
pub fn resolve(report: &[Live], workspace: &Workspace) -> (Vec<LiveUnit>, Vec<String>) {
    let layout = Layout::scan(&workspace.build_dir);
    let finder = Resolver {
        profiles: layout.profiles(),
        layout,
        dirs: [&workspace.build_dir, &workspace.target_dir],
    };
    let unit = |live| finder.unit(live).ok_or_else(|| shown(live));
    sorted(report.iter().map(unit))
}

/// A unit, or what is called so and cannot be told.
pub(super) type Told = Result<LiveUnit, String>;

/// Returns the units among `all` in order, each once, and what the others are called.
pub(super) fn sorted(all: impl Iterator<Item = Told>) -> (Vec<LiveUnit>, Vec<String>) {
    let (units, unknown): (Vec<Told>, Vec<Told>) = all.partition(Result::is_ok);
    let mut units: Vec<LiveUnit> = units.into_iter().flatten().collect();
    units.sort_by(|a, b| a.name.cmp(&b.name));
    units.dedup_by(|a, b| a.name == b.name);
    let unknown = unknown.into_iter().filter_map(Result::err);
    (units, unknown.collect())
}

fn shown(live: &Live) -> String {
    match live {
        Live::Artifact(artifact) => format!("{} of {}", artifact.stem(), artifact.package_id),
        Live::Script { package_id, .. } => format!("build script of {package_id}"),
    }
}

struct Resolver<'a> {
    layout: Layout,
    profiles: Vec<String>,
    dirs: [&'a Path; 2],
}

impl<'a> Resolver<'a> {
    fn build_dir(&self) -> &'a Path {
        self.dirs[0]
    }

    fn unit(&self, live: &Live) -> Option<LiveUnit> {
        match live {
            Live::Artifact(artifact) => self.artifact(artifact),
            Live::Script {
                package_id,
                out_dir,
            } => self.script(package_id, out_dir),
        }
    }

    fn script(&self, package_id: &str, out_dir: &Path) -> Option<LiveUnit> {
        let (profile, rest) = profile_of(out_dir, &self.dirs, &self.profiles)?;
        let dir = rest.components().nth(1)?.as_os_str().to_str()?;
        Some(LiveUnit {
            name: self.layout.script_run(&profile, dir)?.clone(),
            package: PackageId::parse(package_id)?,
            ..LiveUnit::default()
        })
    }

    fn artifact(&self, artifact: &Artifact) -> Option<LiveUnit> {
        let package = PackageId::parse(&artifact.package_id)?;
        let (profile, _) = profile_of(artifact.filenames.first()?, &self.dirs, &self.profiles)?;
        let (layout, stem) = (&self.layout, artifact.stem());
        let candidates = layout.candidates(&profile, &package.name, &stem);
        let (name, plain_outputs) = self
            .by_hash(artifact, &candidates)
            .or_else(|| self.by_file(artifact, &candidates))
            .map(|name| (name, Vec::new()))
            .or_else(|| self.by_plain_name(artifact, &candidates, &profile))?;
        Some(LiveUnit {
            name,
            package,
            package_dir: artifact.manifest_path.parent().map(Path::to_path_buf),
            source: Some(artifact.target.src_path.clone()),
            compressed: artifact.target.kind.iter().any(|kind| kind == "dylib"),
            crate_name: artifact.crate_name(),
            plain_outputs,
        })
    }

    /// The usual case: an output's name, or a build script's directory, has the hash.
    fn by_hash(&self, artifact: &Artifact, candidates: &[UnitName]) -> Option<UnitName> {
        let hash_of = |path: &PathBuf| {
            let own = path.file_name()?.to_str().and_then(hash_in);
            let parent = path.parent()?.file_name()?.to_str().and_then(hash_in);
            own.or(parent).map(str::to_owned)
        };
        let hash = artifact.filenames.iter().find_map(hash_of)?;
        let mut candidates = candidates.iter();
        candidates.find(|unit| unit.dir.ends_with(&hash)).cloned()
    }

    /// A program or library that cargo linked to its final place: the same file, or the same content, under
    /// a name with the hash.
    fn by_file(&self, artifact: &Artifact, candidates: &[UnitName]) -> Option<UnitName> {
        let (last, crate_name) = (artifact.filenames.first()?, artifact.crate_name());
        let extension = last.extension();
        let library = last.file_name()?.to_str()?.starts_with("lib") && extension.is_some();
        let prefix = if library { "lib" } else { "" };
        let extension = extension.map(|extension| format!(".{}", extension.display()));
        let extension = extension.unwrap_or_default();
        let original = |unit: &UnitName| {
            let file = format!("{prefix}{crate_name}-{}{extension}", unit_hash(&unit.dir));
            let profile = self.build_dir().join(&unit.profile_dir);
            ["deps", "examples"].map(|dir| profile.join(dir).join(&file))
        };
        let same = |alike: fn(&Path, &Path) -> bool| {
            let is = |unit: &&UnitName| original(unit).iter().any(|file| alike(file, last));
            only(candidates.iter().filter(is)).cloned()
        };
        same(walk::same_inode).or_else(|| same(same_content))
    }

    /// A dylib or cdylib, whose name has no hash anywhere: sure only where a single unit can have made it.
    fn by_plain_name(
        &self,
        artifact: &Artifact,
        candidates: &[UnitName],
        profile: &str,
    ) -> Option<(UnitName, Vec<PathBuf>)> {
        let (deps, crate_name) = (Path::new(profile).join("deps"), artifact.crate_name());
        let hashed = HashedFiles::of(&self.build_dir().join(&deps));
        let plain = |unit: &&UnitName| hashed.with(unit_hash(&unit.dir)).is_empty();
        let unit = only(candidates.iter().filter(plain))?;
        let files = artifact.filenames.iter();
        let names = files.filter_map(|file| file.file_name());
        let mut outputs: BTreeSet<PathBuf> = names.map(|name| deps.join(name)).collect();
        outputs.insert(deps.join(format!("lib{crate_name}.rmeta")));
        outputs.insert(deps.join(format!("{crate_name}.d")));
        outputs.retain(|output| self.build_dir().join(output).is_file());
        Some((unit.clone(), outputs.into_iter().collect()))
    }
}

/// Returns what `all` has, if that is one thing: of several nobody knows which is meant.
pub(super) fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let one = all.next()?;
    all.next().is_none().then_some(one)
}

fn same_content(a: &Path, b: &Path) -> bool {
    let size = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.len());
    size(a).is_some_and(|a| Some(a) == size(b))
        && hash::of(a).is_some_and(|a| Some(a) == hash::of(b))
}
