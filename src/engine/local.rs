//! What a target directory already holds of a unit, by cargo's own rules.
//!
//! A prediction only: cargo decides again, and a wrong guess here costs time, never a stale unit.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use crate::cargo::{dep_info, layout, package, script_output};
use crate::disk::{self, hash, walk};
use crate::model::{
    Content, Digest, Finder, Fingerprint, Local, OutputFile, Recipe, Root, Rooted, Roots, Unit,
    bytes_path,
};

/// Why what others hold can be had.
const HELD: &str = "nobody panics with it";

/// What is there of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Nothing that cargo would look at.
    Nothing,
    /// cargo would find it fresh.
    Fresh,
    /// cargo would build it again.
    Stale,
    /// Something with another fingerprint.
    Other,
}

/// A unit's state with the times that its dependents compare.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// What is there.
    pub present: Present,
    /// The newest time of its outputs, of its rmeta alone if it has one.
    newest_for_dependents: Option<SystemTime>,
}

/// Looks at one target directory; what it has read is not read again, so it lives no longer than what is
/// there stays.
#[derive(Debug)]
pub struct Inspector<'a> {
    pub(super) build: &'a Path,
    pub(super) roots: &'a Roots,
    ours: Finder,
    times: Mutex<HashMap<PathBuf, Option<SystemTime>>>,
    digests: Mutex<HashMap<PathBuf, Option<Digest>>>,
}

impl<'a> Inspector<'a> {
    /// Returns an inspector of the build directory `build`.
    pub fn new(build: &'a Path, roots: &'a Roots) -> Inspector<'a> {
        Inspector {
            build,
            roots,
            ours: Finder::new(roots),
            times: Mutex::new(HashMap::new()),
            digests: Mutex::new(HashMap::new()),
        }
    }

    /// Returns the state of `unit`, whose fingerprint would be `wanted` here; `deps` are the states of its
    /// dependencies, `package` is its package's directory.
    pub fn state(
        &self,
        unit: &Unit,
        wanted: &Fingerprint,
        package: &Rooted,
        deps: &[State],
    ) -> State {
        let is_wanted = |text: &[u8]| text == Fingerprint::hash_text(wanted.hash()).as_bytes();
        let is_fresh = || self.is_fresh(unit, wanted, package, deps).is_some();
        let present = match std::fs::read(self.build.join(unit.name.hash_file())) {
            Err(_) => Present::Nothing,
            Ok(text) if text.is_empty() => Present::Stale,
            Ok(text) if !is_wanted(&text) => Present::Other,
            Ok(_) if is_fresh() => Present::Fresh,
            Ok(_) => Present::Stale,
        };
        let newest = (present == Present::Fresh).then(|| self.newest_for_dependents(unit));
        State {
            present,
            newest_for_dependents: newest.flatten(),
        }
    }

    /// Returns something only if every rule of cargo's `check_filesystem` holds.
    fn is_fresh(
        &self,
        unit: &Unit,
        wanted: &Fingerprint,
        package: &Rooted,
        deps: &[State],
    ) -> Option<()> {
        let mut newest = SystemTime::UNIX_EPOCH;
        for output in unit.files.iter().filter(|file| file.artifact) {
            newest = newest.max(walk::mtime(&self.build.join(bytes_path(&output.path)))?);
        }
        let older = |dep: &State| {
            dep.present == Present::Fresh
                && dep.newest_for_dependents.is_none_or(|time| time <= newest)
        };
        deps.iter().all(older).then_some(())?;
        for local in &wanted.local {
            let fresh = match local {
                Local::CheckDepInfo { .. } => self.changed_inputs(unit, package)?.0 == 0,
                Local::RerunIfChanged { output, paths } => {
                    let reference = walk::mtime(&self.build.join(output))?;
                    let package = self.roots.resolve(package);
                    let mut paths = paths.iter().map(|path| package.join(path));
                    paths.all(|path| self.not_newer(&path, reference))
                }
                Local::Precalculated(_) | Local::RerunIfEnvChanged { .. } => true,
            };
            fresh.then_some(())?;
        }
        Some(())
    }

    /// Returns how many of the files that the unit was made from here are newer than it, and how many there are;
    /// none where nothing is known of it.
    pub fn changed_inputs(&self, unit: &Unit, package: &Rooted) -> Option<(usize, usize)> {
        let reference = walk::mtime(&self.build.join(unit.name.dep_info_file()))?;
        let info = dep_info::decode(&layout::dep_info(self.build, &unit.name)?, self.roots)?;
        let changed = info.files.iter().filter(|file| {
            let path = self.roots.resolve(&dep_info::rooted(file, package));
            !self.not_newer(&path, reference)
        });
        Some((changed.count(), info.files.len()))
    }

    /// Tells whether `path` exists and is not newer than `reference`; what cargo takes for immutable never is.
    fn not_newer(&self, path: &Path, reference: SystemTime) -> bool {
        if package::is_downloaded(path, self.roots.dir(Root::CargoHome)) {
            return true;
        }
        let mut times = self.times.lock().expect(HELD);
        let time = times.entry(path.to_path_buf());
        let time = time.or_insert_with(|| walk::newest_mtime(path));
        time.is_some_and(|time| time <= reference)
    }

    fn newest_for_dependents(&self, unit: &Unit) -> Option<SystemTime> {
        let artifacts = unit.files.iter().filter(|file| file.artifact);
        let outputs = artifacts.map(|file| bytes_path(&file.path));
        let time = |path: &Path| walk::mtime(&self.build.join(path));
        let is_rmeta = |path: &&Path| disk::has_extension(path, "rmeta");
        match outputs.clone().find(is_rmeta) {
            Some(rmeta) => time(rmeta),
            None => outputs.filter_map(time).max(),
        }
    }

    /// Returns the digest of an output here; each is read once, whatever it is compared with.
    fn digest(&self, path: PathBuf) -> Option<Digest> {
        if let Some(digest) = self.digests.lock().expect(HELD).get(&path) {
            return *digest;
        }
        let digest = hash::of(&path);
        self.digests.lock().expect(HELD).insert(path, digest);
        digest
    }

    /// Tells whether this directory holds byte for byte what `unit` made, as far as other units read it; `theirs` finds the
    /// builder's roots.
    pub fn is_identical(&self, unit: &Unit, theirs: &Finder) -> bool {
        let out = unit.name.script_dir().join("out");
        let in_out_dir = |file: &OutputFile| {
            let path = bytes_path(&file.path);
            path.starts_with(&out) && !is_log(path)
        };
        let is_read = |file: &&OutputFile| !file.rewrite || file.artifact || in_out_dir(file);
        let mut read_by_others = unit.files.iter().filter(is_read);
        read_by_others.all(|file| self.is_same(file, theirs))
    }

    /// Tells whether `unit` is a build script that ran here itself, and said something else to cargo, or to the units that
    /// `read` its files, than at the builder's. See note 0003.
    pub fn contradicts(&self, unit: &Unit, read: &HashSet<&[u8]>, theirs: &Finder) -> bool {
        // cargo gives the output the time of this file when the script has run; what is placed has another.
        let dir = self.build.join(unit.name.script_dir());
        let begun = walk::mtime(&dir.join("invoked.timestamp"));
        let ran_here = || begun.is_some() && begun == walk::mtime(&dir.join("output"));
        let heard = |file: &&OutputFile| file.artifact || read.contains(&*file.path);
        let other = |file: &OutputFile| !self.is_same(file, theirs);
        unit.name.runs_script() && ran_here() && unit.files.iter().filter(heard).any(other)
    }

    fn is_same(&self, file: &OutputFile, theirs: &Finder) -> bool {
        let path = self.build.join(bytes_path(&file.path));
        match &file.content {
            Content::Object { digest, .. } | Content::Recipe(Recipe { digest, .. }) => {
                let size = std::fs::metadata(&path).map(|meta| meta.len());
                size.is_ok_and(|size| size == file.content.size_bytes())
                    && self.digest(path) == Some(*digest)
            }
            Content::Inline(bytes) if file.rewrite => std::fs::read(&path).is_ok_and(|found| {
                // A root may be spelled in several ways here as well.
                let ours = self.ours.rewrite(&found, self.roots);
                let bytes = theirs.rewrite(bytes, self.roots);
                match file.artifact {
                    true => script_output::told(&ours).eq(script_output::told(&bytes)),
                    false => ours == bytes,
                }
            }),
            Content::Inline(bytes) => std::fs::read(&path).is_ok_and(|found| found == *bytes),
            Content::Symlink(target) => std::fs::read_link(&path)
                .is_ok_and(|found| found.as_os_str().as_encoded_bytes() == target),
            Content::Directory => path.is_dir(),
        }
    }
}

/// Tells whether `path` is what CMake or autotools keep for themselves: it is another in each run, and no unit reads it.
fn is_log(path: &Path) -> bool {
    let own = ["CMakeCache.txt", "CMakeFiles"];
    let is_own = |part: std::path::Component<'_>| own.iter().any(|own| part.as_os_str() == *own);
    disk::has_extension(path, "log") || path.components().any(is_own)
}
