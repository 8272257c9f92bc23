//! From a build directory to the units of a starting point: reads, digests, stores.
//!
//! A unit is left out, with the reason, wherever what is on disk might not be what it was made from.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use memchr::memmem;

use crate::cargo::layout::Outputs;
use crate::cargo::script_output;
use crate::disk::walk::{self, Kind};
use crate::disk::{self, Staging};
use crate::engine::build::{Build, Candidate, LeftOut, Result, is_out_dir};
use crate::engine::moved::Before;
use crate::engine::recipe::is_archive;
use crate::engine::relocate::Catalog;
use crate::engine::{Ledger, LiveUnit, beside, disclosure, libraries, pin};
use crate::model::manifest::link_stays_in_out_dir;
use crate::model::secrets::is_given_away;
use crate::model::session::{DEP_GRAPH, SessionFile};
use crate::model::{
    Compiled, Content, Digest, Finder, Located, Occurrence, OutputFile, Package, Pin, Root, Rooted,
    Session, Source, Unit, UnitName, bytes_path, path_hash,
};
use crate::rustc::session;

/// Files up to this size are kept in the manifest: most `.d` files, messages and scripts' outputs.
pub(super) const MAX_INLINE_BYTES: u64 = 4096;
/// The largest text that is rewritten; a larger one is an object, and pinned if it holds a root.
const MAX_TEXT_BYTES: u64 = 16 << 20;
/// What holds where a path dependency lies that is not in the workspace.
const OUTSIDE: &str = "cargo's hash of a path dependency outside the workspace";

/// What recording units reads and writes.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    pub(super) build: &'a Build<'a>,
    /// Finds the builder's roots.
    pub(super) finder: Finder,
    pub(super) ledger: Ledger,
    /// The workspace's root, without links.
    pub(super) root: PathBuf,
    /// Whether the target directory lies inside the only work tree of its clone.
    pub(super) alone: bool,
    /// The roots of all workspaces that have used the target directory, as far as that was noted, each with when one did last.
    pub(super) workspaces: Vec<(PathBuf, SystemTime)>,
    /// What is known of units that a start placed here, each with the time that its files were given.
    pub(super) placed: HashMap<(UnitName, SystemTime), Placed>,
    /// The same of units that were hits here, each with the manifest that it is of.
    pub(super) hits: HashMap<(UnitName, Digest), Placed>,
    /// What their sessions may hold the place of.
    pub(super) catalog: Catalog,
    pub(super) outputs: Outputs<'a>,
    /// Files in the build directory that some compile read.
    pub(super) read_by_rustc: HashSet<Vec<u8>>,
    /// For unfinished objects.
    pub(super) staging: &'a Staging,
}

/// What is known of how a unit was compiled.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// The note of its compile.
    pub compiled: Compiled,
    /// The root of the workspace that it was compiled or placed for.
    pub workspace: Option<PathBuf>,
    /// Where the build directory was when it was compiled, where that is noted.
    pub build: Option<PathBuf>,
    /// Its session in the starting point that it was placed from, which is placed only when rustc needs it.
    pub session: Option<Session>,
    /// What that holds the place of.
    pub located: Arc<[Located]>,
    /// Whether rustc was not run for it here: what sessions there are here are others'.
    pub is_hit: bool,
}

/// A unit as recorded.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The unit, before it has its place in the manifest, and its package, inputs and dependencies have theirs.
    pub unit: Unit,
    /// What the sites of its session refer to, by position.
    pub located: Arc<[Located]>,
    /// Bytes that the store did not have.
    pub new_bytes: u64,
    /// Objects that the store did not have.
    pub new_objects: usize,
}

impl Recorded {
    fn pin(&mut self, root: Root, seen_in: &str) {
        let seen_in = seen_in.to_owned();
        self.unit.pinned.push(Pin { root, seen_in });
    }
}

impl Recorder<'_> {
    fn in_build(&self, path: &Path) -> PathBuf {
        self.build.workspace.build_dir.join(path)
    }

    /// Records `candidate`: stores what it made, and returns what is to be known of it.
    pub(super) fn record(&self, candidate: &Candidate) -> Result<Recorded> {
        let unit = &candidate.live;
        let mut recorded = Recorded {
            unit: Unit {
                name: unit.name.clone(),
                fingerprint: candidate.fingerprint.clone(),
                absolute_source: self.absolute_source(candidate)?,
                dep_info: candidate.dep_info.clone(),
                ..Unit::default()
            },
            ..Recorded::default()
        };
        match unit.name.runs_script() {
            true => self.script_run(candidate, &mut recorded)?,
            false => self.compile(candidate, &mut recorded)?,
        }
        let messages = format!("output-{}", unit.name.stem);
        let messages = unit.name.fingerprint_dir().join(messages);
        // Of a compile that was made again, cargo keeps what rustc said as it crashed as well.
        let crashed = recorded
            .unit
            .compiled
            .as_ref()
            .is_some_and(|one| one.crashed);
        if !crashed && self.in_build(&messages).is_file() {
            self.text(&mut recorded, messages, false)?;
        }
        Ok(recorded)
    }

    fn absolute_source(&self, candidate: &Candidate) -> Result<Option<Rooted>> {
        let Some(path) = &candidate.live.source else {
            return Ok(None);
        };
        let is_hashed = |path: &Path| path_hash(path) == candidate.fingerprint.path;
        let relative = path.strip_prefix(self.build.roots.dir(Root::Workspace));
        let is_path = candidate.package.source == Source::Path;
        match is_hashed(path) {
            _ if is_path && relative.is_ok_and(is_hashed) => Ok(None),
            true => Ok(Some(self.build.roots.locate(path))),
            false => Err(LeftOut::OtherSource),
        }
    }

    /// The outputs of a compile: what has its hash in `deps` and `examples`, or in a build script's directory.
    fn compile(&self, candidate: &Candidate, recorded: &mut Recorded) -> Result<()> {
        let unit = &candidate.live;
        let mut outputs = match unit.plain_outputs.is_empty() {
            true => self.outputs.of_unit(&unit.name),
            false => unit.plain_outputs.clone(),
        };
        let is_list = |path: &Path| disk::has_extension(path, "d");
        let mut made = outputs.iter().filter(|path| !is_list(path));
        let first = made.next().ok_or(LeftOut::NoOutputs)?;
        let noted = self.note(unit, &self.in_build(first));
        if candidate.package.source == Source::Path {
            match recorded.unit.absolute_source.as_ref().map(|path| path.root) {
                None if !self.is_own(noted.as_ref()) => return Err(LeftOut::OtherTree),
                None | Some(Root::Absolute) => {}
                Some(root) => recorded.pin(root, OUTSIDE),
            }
        }
        if let Some(before) = self.before(noted.as_ref(), &outputs)? {
            let mut outputs = outputs.iter();
            outputs.try_for_each(|path| before.refuse(&self.in_build(path)))?;
        }
        let is_hit = noted.as_ref().is_some_and(|noted| noted.is_hit);
        if let Some(noted) = noted {
            recorded.unit.compiled = Some(noted.compiled);
            recorded.unit.session = noted.session;
            recorded.located = noted.located;
        }
        let compiled = recorded.unit.compiled.as_ref();
        let remapped = compiled.is_some_and(|compiled| compiled.remapped);
        if recorded.unit.session.is_none() && !is_hit {
            recorded.unit.session = self.session(recorded)?;
        }
        let has = |file: &SessionFile| self.relies_on(file.digest, file.size_bytes);
        let lacks = |one: &mut Session| !one.files.iter().all(has);
        recorded.unit.session.take_if(lacks);
        // Archives come last: they are made of the others, and of the session.
        outputs.sort_by_key(|path| is_archive(path));
        for path in outputs {
            match disk::has_extension(&path, "d") {
                true => {
                    self.pin_variables(&path, unit.compressed, recorded)?;
                    self.text(recorded, path, false)?;
                }
                false => {
                    let artifact = !disk::has_extension(&path, "dwo");
                    let scanned = pin::scan(&self.in_build(&path), &self.finder)?;
                    self.binary(recorded, path, &scanned, artifact, remapped)?;
                }
            }
        }
        Ok(())
    }

    /// Tells whether a member of the workspace was surely compiled in this work tree. cargo names it alike in all trees that share a target
    /// directory, and compares times alone, so it may be fresh here with another tree's sources. Where nothing is noted, nobody else is
    /// believed to use a target directory inside the only work tree of its clone.
    fn is_own(&self, noted: Option<&Placed>) -> bool {
        let noted = noted.and_then(|noted| noted.workspace.as_deref());
        noted.map_or(self.alone, |told| self.ledger.resolve(told) == self.root)
    }

    /// Tells whether a script of `package` that began at `begun` may have run for another work tree that shares the target directory: no note
    /// tells for which it did, and cargo compares times alone. It did not where nothing was compiled for that tree since, or it has no
    /// such package; what lies beside a workspace has another name in each.
    fn may_be_anothers(&self, package: &Package, begun: Option<SystemTime>) -> bool {
        let manifest = package.dir.relative().join("Cargo.toml");
        let name = format!("\"{}\"", package.name);
        let has = |root: &Path| {
            let text = std::fs::read_to_string(root.join(&manifest));
            !root.is_dir() || text.is_ok_and(|text| text.contains(&name))
        };
        let mut others = self
            .workspaces
            .iter()
            .filter(|(root, _)| *root != self.root);
        package.source == Source::Path
            && package.dir.root == Root::Workspace
            && others.any(|(root, last)| Some(*last) >= begun && has(root))
    }

    /// Returns where the build directory was when `outputs` were compiled; none if it was here. Without a note rustc's own list of
    /// what it made says so, unless it was told no place.
    fn before(&self, noted: Option<&Placed>, outputs: &[PathBuf]) -> Result<Option<Before>> {
        let told = noted.and_then(|noted| noted.workspace.clone());
        let told = told.unwrap_or_else(|| self.ledger.told(&self.root));
        if let Some(noted) = noted {
            let other = noted.build.as_ref();
            let other = other.filter(|build| **build != self.ledger.build());
            return Ok(other.map(|build| Before::of(build, &told)));
        }
        let is_list = |path: &&PathBuf| disk::has_extension(path, "d");
        let Some(list) = outputs.iter().find(is_list) else {
            return Ok(None);
        };
        let bytes = disk::read(&self.in_build(list), MAX_TEXT_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        let made = text.split(": ").next().unwrap_or_default();
        let made = PathBuf::from(made.replace("\\ ", " "));
        let is_here = self.build.roots.locate(&made).root == Root::Build;
        if made.is_relative() || is_here {
            return Ok(None);
        }
        let build = made.ancestors().nth(list.iter().count());
        let build = build.ok_or(LeftOut::OtherPlace)?;
        Ok(Some(Before::of(build, &told)))
    }

    /// What the wrapper noted of the compile that made `output`, here or where a start had it from; there with
    /// the session that belongs to it.
    fn note(&self, unit: &LiveUnit, output: &Path) -> Option<Placed> {
        let note = match unit.plain_outputs.is_empty() {
            true => self.ledger.compiled(&unit.name, &unit.crate_name, output),
            false => self.ledger.compiled_plainly(&unit.crate_name, output),
        };
        let Some(note) = note else {
            let placed = (unit.name.clone(), walk::mtime(output)?);
            return self.placed.get(&placed).cloned();
        };
        let there = |hit| self.hits.get(&(unit.name.clone(), hit)).cloned();
        let made_so = |one: &Placed| one.compiled.arguments == note.compiled.arguments;
        let there = note.hit.and_then(there).filter(made_so);
        Some(Placed {
            compiled: note.compiled,
            workspace: note.workspace,
            build: note.build,
            is_hit: note.hit.is_some(),
            ..there.unwrap_or_default()
        })
    }

    /// A variable that holds a root pins the unit, whether or not the value is seen in its bytes: its length
    /// may be. `OUT_DIR`, and what a script calls otherwise and lies there, is used to include files, so its value must be seen, which
    /// compressed metadata of a dylib does not allow.
    fn pin_variables(&self, path: &Path, compressed: bool, recorded: &mut Recorded) -> Result<()> {
        let bytes = disk::read(&self.in_build(path), MAX_TEXT_BYTES)?;
        // A relative way between two directories that may lie otherwise to each other elsewhere.
        if memmem::find(&bytes, b"/out/../").is_some() {
            for root in [Root::Workspace, Root::Build] {
                recorded.pin(root, "a path out of OUT_DIR");
            }
        }
        for (name, value) in crate::cargo::makefile::variables(&String::from_utf8_lossy(&bytes)) {
            let held = self.finder.held(value.as_bytes());
            let held = held.max_by_key(|one| one.end - one.start);
            let in_out_dir = |one: &Occurrence| {
                let rest = value.as_bytes().get(one.end..).unwrap_or_default();
                let begins = one.root == Root::Build && one.start == 0 && is_out_dir(rest);
                name == "OUT_DIR" || (begins && self.finder.held(rest).next().is_none())
            };
            if let Some(one) = held.filter(|one| !in_out_dir(one) || compressed) {
                recorded.pin(one.root, &format!("env!(\"{name}\")"));
            }
        }
        Ok(())
    }

    fn session(&self, recorded: &mut Recorded) -> Result<Option<Session>> {
        let compiled = recorded.unit.compiled.as_ref();
        // Without, no reader could tell whether it was made by the same compiler and arguments.
        let is_known = |one: &&Compiled| !one.crashed && one.arguments.is_some();
        let version = self.build.manifest.toolchain.short();
        let version = version.trim_start_matches("rustc ");
        let newest = compiled.filter(is_known).and_then(|compiled| {
            let (name, metadata) = (&compiled.crate_name, &compiled.metadata);
            let dir = session::crate_dir(name, metadata, compiled.executable, version);
            let crate_dir = Path::new(compiled.incremental.as_ref()?).join(dir);
            let name = session::newest(&self.in_build(&crate_dir))?;
            Some((compiled, crate_dir, name))
        });
        let Some((compiled, crate_dir, name)) = newest else {
            return Ok(None);
        };
        let dir = self.in_build(&crate_dir).join(&name);
        let mut files = Vec::new();
        let (graph, names) = (dir.join(DEP_GRAPH), compiled.names.as_ref());
        let (sites, located) = match graph.is_file() {
            true => self.catalog.sites(&graph, names)?,
            false => Default::default(),
        };
        for entry in walk::below_without_links(&dir)? {
            let file = dir.join(&entry.relative);
            let (digest, size_bytes) = disk::hash::file(&file)?;
            self.keep(&file, (digest, size_bytes), recorded)?;
            files.push(SessionFile {
                name: entry.relative.to_string_lossy().into_owned(),
                digest,
                size_bytes,
            });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        recorded.located = located.into();
        let tail = session::Parts::of(&name).map(|parts| format!("{}-{}", parts.random, parts.svh));
        Ok(tail.map(|name| Session {
            crate_dir: crate_dir.to_string_lossy().into_owned(),
            name,
            files,
            sites,
        }))
    }

    /// What a build script left: its output, and everything in `OUT_DIR`.
    fn script_run(&self, candidate: &Candidate, recorded: &mut Recorded) -> Result<()> {
        let dir = recorded.unit.name.script_dir();
        let [begun, _] = beside::ran(&self.build.workspace.build_dir, &recorded.unit.name);
        if self.may_be_anothers(&candidate.package, begun) {
            return Err(LeftOut::OtherTree);
        }
        self.text(recorded, dir.join("output"), true)?;
        let told = disk::read(&self.in_build(&dir).join("output"), MAX_TEXT_BYTES)?;
        let mut set = script_output::variables(&told);
        if let Some((name, _)) = set.find(|one| is_given_away(one.0, one.1)) {
            let (name, file) = (name.to_owned(), dir.join("output").display().to_string());
            return Err(LeftOut::Secret(name, file));
        }
        for line in script_output::told(&told) {
            self.pin_unsure(line, Path::new("output"), recorded);
        }
        let before = self.ran_before(&dir)?;
        if let Some((before, told_dir)) = &before {
            // cargo puts today's `OUT_DIR` in the place of that one itself.
            let told_dir = memmem::find_iter(&told, told_dir).map(|at| (at, at + told_dir.len()));
            let mut from = 0;
            for (start, end) in told_dir.chain([(told.len(), told.len())]) {
                before.refuse_in(&told[from..start])?;
                from = end;
            }
        }
        let package = self.build.roots.resolve(&candidate.package.dir);
        if let Some(path) = pin::outside(&told, &self.finder, &package) {
            recorded.pin(Root::Workspace, &path);
        }
        for name in ["root-output", "stderr"] {
            if self.in_build(&dir).join(name).is_file() {
                self.text(recorded, dir.join(name), false)?;
            }
        }
        let out = dir.join("out");
        let entries = walk::below_without_links(&self.in_build(&out)).unwrap_or_default();
        recorded.unit.files.push(plain(&out, Content::Directory));
        for entry in entries {
            let path = out.join(&entry.relative);
            match (entry.kind, entry.link) {
                (_, true) => self.link(recorded, path)?,
                (Kind::Directory, _) => recorded.unit.files.push(plain(&path, Content::Directory)),
                (Kind::File, _) => {
                    if let Some((before, _)) = &before {
                        before.refuse(&self.in_build(&path))?;
                    }
                    self.out_dir_file(recorded, path)?;
                }
                (Kind::Other, _) => {}
            }
        }
        Ok(())
    }

    /// Returns where the build directory was when the script ran whose directory is `dir`, and its `OUT_DIR` of then; none if that
    /// was here.
    fn ran_before(&self, dir: &Path) -> Result<Option<(Before, Vec<u8>)>> {
        let noted = disk::read(&self.in_build(dir).join("root-output"), MAX_TEXT_BYTES);
        let Ok(noted) = noted else { return Ok(None) };
        let (out, own) = (bytes_path(&noted), dir.join("out"));
        let here = self.build.roots.locate(out);
        if here.root == Root::Build && here.relative() == own {
            return Ok(None);
        }
        let build = out.ancestors().nth(own.iter().count());
        let build = build.filter(|_| out.ends_with(&own));
        let build = build.ok_or(LeftOut::OtherPlace)?;
        let before = Before::of(build, &self.ledger.told(&self.root));
        Ok(Some((before, noted)))
    }

    fn link(&self, recorded: &mut Recorded, path: PathBuf) -> Result<()> {
        let target = std::fs::read_link(self.in_build(&path));
        let target = target.map_err(disk::failed("read", &path))?;
        let target = target.as_os_str().as_encoded_bytes().to_vec();
        let place = path.as_os_str().as_encoded_bytes();
        if !link_stays_in_out_dir(&recorded.unit.name, place, &target) {
            return Err(LeftOut::Link(path.display().to_string()));
        }
        let link = plain(&path, Content::Symlink(target));
        recorded.unit.files.push(link);
        Ok(())
    }

    /// A file of `OUT_DIR` that holds a root pins the script's run if rustc read it, or if it is binary and
    /// holds it outside debug information; other text is rewritten, as the script would have written it.
    fn out_dir_file(&self, recorded: &mut Recorded, path: PathBuf) -> Result<()> {
        let file = self.in_build(&path);
        let scanned = pin::scan(&file, &self.finder)?;
        let bytes = path.as_os_str().as_encoded_bytes();
        let read = self.read_by_rustc.contains(bytes);
        if !scanned.roots.is_empty() && !read && scanned.size_bytes <= MAX_TEXT_BYTES {
            let content = disk::read(&file, MAX_TEXT_BYTES)?;
            if !content.contains(&0) && std::str::from_utf8(&content).is_ok() {
                self.pin_unsure(&content, &path, recorded);
                return self.text(recorded, path, false);
            }
        }
        self.binary(recorded, path, &scanned, false, !read)
    }

    /// Stores a file, `scanned` before, whose bytes stay as they are; `debug_info_may` hold roots.
    fn binary(
        &self,
        recorded: &mut Recorded,
        path: PathBuf,
        scanned: &pin::Scanned,
        artifact: bool,
        debug_info_may: bool,
    ) -> Result<()> {
        let file = self.in_build(&path);
        let root = match debug_info_may {
            true => pin::outside_debug_info(&file, scanned),
            false => scanned.roots.first().map(|one| one.root),
        };
        let depth = path.iter().skip(1).count();
        if disk::is_executable(&file)? && libraries::climbs(&file) > depth {
            recorded.pin(Root::Build, "its rpath");
        }
        let seen_in = path.file_name().unwrap_or_default().to_string_lossy();
        for one in scanned.roots.iter().filter(|_| root.is_some()) {
            if !recorded.unit.pinned.iter().any(|pin| pin.root == one.root) {
                recorded.pin(one.root, &seen_in);
            }
        }
        let content = match !artifact && scanned.size_bytes <= MAX_INLINE_BYTES {
            true => Content::Inline(disk::read(&file, MAX_INLINE_BYTES)?),
            false => match self.recipe(&file, scanned, recorded)? {
                Some(recipe) => Content::Recipe(recipe),
                None => {
                    let (digest, size_bytes) = (scanned.digest, scanned.size_bytes);
                    self.keep(&file, (digest, size_bytes), recorded)?;
                    Content::Object { digest, size_bytes }
                }
            },
        };
        recorded.unit.files.push(OutputFile {
            artifact,
            executable: disk::is_executable(&file)?,
            ..plain(&path, content)
        });
        Ok(())
    }

    /// Stores text whose roots are rewritten at the reader's.
    fn text(&self, recorded: &mut Recorded, path: PathBuf, artifact: bool) -> Result<()> {
        let file = self.in_build(&path);
        let bytes = disk::read(&file, MAX_TEXT_BYTES)?;
        recorded.unit.files.push(OutputFile {
            artifact,
            rewrite: true,
            executable: disk::is_executable(&file)?,
            ..plain(&path, Content::Inline(bytes))
        });
        Ok(())
    }

    /// Pins `recorded` where text that is rewritten elsewhere holds what may not be meant.
    fn pin_unsure(&self, bytes: &[u8], path: &Path, recorded: &mut Recorded) {
        if let Some(root) = self.finder.unsure(bytes) {
            let seen_in = path.file_name().unwrap_or_default().to_string_lossy();
            recorded.pin(root, &seen_in);
        }
    }

    pub(super) fn refuse_secrets(&self, file: &Path) -> Result<()> {
        match disclosure::in_file(self.build.secrets, file)? {
            None => Ok(()),
            Some(name) => Err(LeftOut::Secret(name.to_owned(), file.display().to_string())),
        }
    }

    /// Tells whether the store holds an object, and will until the manifest is there.
    pub(super) fn relies_on(&self, digest: Digest, size_bytes: u64) -> bool {
        self.build.store.has(digest, size_bytes) && self.build.store.rely_on(digest)
    }

    fn keep(&self, file: &Path, object: (Digest, u64), recorded: &mut Recorded) -> Result<()> {
        let (digest, size_bytes) = object;
        self.refuse_secrets(file)?;
        if !self.relies_on(digest, size_bytes) {
            self.build.store.put_file(self.staging, file, digest)?;
            recorded.new_bytes += size_bytes;
            recorded.new_objects += 1;
        }
        Ok(())
    }
}

fn plain(path: &Path, content: Content) -> OutputFile {
    OutputFile {
        path: path.as_os_str().as_encoded_bytes().to_vec(),
        artifact: false,
        rewrite: false,
        executable: false,
        content,
    }
}
