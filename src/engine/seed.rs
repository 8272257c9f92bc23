//! Lets rustc begin from a session that was made elsewhere: a start notes it, the wrapper places it.
//!
//! Rule: a seed may change how long rustc takes, never what it makes (invariant 5). Nothing here fails a build:
//! whatever goes wrong is a reason, and rustc begins from nothing.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::disk::{self, DiskError, PLAIN, Staging, place};
use crate::engine::ahead::{AHEAD_VAR, prepared};
use crate::engine::hit::Made;
use crate::engine::names::{Called, Patch};
use crate::engine::wrapping::BOOTSTRAP_VAR;
use crate::engine::{Ledger, identity, inherit};
use crate::model::session::DEP_GRAPH;
use crate::model::{Began, Compiled, Digest, Roots, Session};
use crate::rustc::argv::{Invocation, seed_key};
use crate::rustc::dep_graph::{self, ArgsHash};
use crate::rustc::probe;
use crate::rustc::session::{self, PLACED_TIMESTAMP, Parts};
use crate::store::{ObjectError, Store};

/// Turns all seeding off when it is `0`, `off` or `no`.
pub const SEED_VAR: &str = "HEADSTART_SEED";
/// The longest that a build waits for one session, in milliseconds: nobody sees what it waits for.
const LONGEST_WAIT_MS: u64 = 30_000;
/// How often it looks.
const POLL: Duration = Duration::from_millis(20);

/// A session that a start found for a unit, as it has to be at this machine's places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The commit that it is from.
    pub commit: String,
    /// The manifest.
    pub manifest: Digest,
    /// What its rustc was told, without the roots.
    pub arguments: Digest,
    /// The same as it was told, as [`Compiled::line`].
    pub line: Vec<String>,
    /// How long a build may wait for the session while it is fetched.
    pub wait_ms: u64,
    /// The session.
    pub session: Session,
    /// What to write into its dep-graph: where, and the 16 bytes.
    pub patches: Vec<Patch>,
    /// What cargo may call otherwise here when the unit is compiled.
    pub called: Called,
    /// The store that holds its objects.
    pub store: PathBuf,
    /// The session of rustc's own that it is better than, by name; any other of rustc's own stays.
    pub replaces: Option<String>,
    /// What the unit made there; none where that says nothing of what it makes here.
    pub made: Option<Made>,
}

/// One compile that may begin from a seed.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// The compiler.
    pub program: &'a OsStr,
    /// The unit.
    pub invocation: &'a Invocation,
    /// What cargo calls it, as its note is called.
    pub unit: String,
    /// What is known of it before.
    pub compiled: Compiled,
    /// What rustc is given.
    pub args: Vec<OsString>,
    /// What the wrapper adds to cargo's arguments.
    pub further: Vec<OsString>,
    /// The ledger of the build directory.
    pub ledger: &'a Ledger,
    /// Where the roots are.
    pub roots: &'a Roots,
    /// What cargo runs it in.
    pub environment: &'a Environment,
    /// Whether seeds are used at all.
    pub seeding: bool,
}

/// A session in place that rustc has not made there.
#[derive(Debug)]
pub struct Sown {
    /// The commit that it is from; none for one that was made here.
    pub commit: Option<String>,
    crate_dir: PathBuf,
    name: String,
    products: BTreeSet<File>,
}

impl Beginning<'_> {
    /// Places the unit's seed, or what it inherits, if there is one and it can be used; else says why rustc begins as it does.
    ///
    /// To be called under cargo's lock on the build directory, which a cargo that runs a wrapper holds.
    pub fn sow(&self) -> Result<Sown, Began> {
        let incremental = self.invocation.incremental.as_ref();
        let incremental = incremental.ok_or(Began::NotIncremental)?;
        let key = seed_key(&self.compiled);
        let seed = self.ledger.seed(&key);
        // What was made here after a start chose is newer than what that chose, if both are another's.
        let own = format!("/{}/", identity::sessions_of(&self.unit));
        let of_other = seed.as_ref();
        let of_other = of_other.filter(|seed| !seed.session.crate_dir.contains(&own));
        let chosen = of_other.and_then(|_| self.ledger.seeded(&key));
        let newer = chosen.and_then(|since| inherit::inherit(self, since));
        let sown = newer.map_or_else(|| self.sow_seed(seed, incremental), Ok);
        sown.or_else(|began| inherit::inherit(self, UNIX_EPOCH).ok_or(began))
    }

    /// Returns the directory of the unit's own sessions, if it has one for itself alone, and rustc has made one there.
    pub fn own_sessions(&self) -> Option<&Path> {
        let dir = self.sessions()?;
        inherit::newest_below(dir).is_some().then_some(dir)
    }

    /// Returns the directory for the unit's sessions, if it has one for itself alone.
    pub(super) fn sessions(&self) -> Option<&Path> {
        let dir = self.invocation.incremental.as_deref();
        dir.filter(|dir| dir.ends_with(identity::sessions_of(&self.unit)))
    }

    fn sow_seed(&self, seed: Option<Seed>, incremental: &Path) -> Result<Sown, Began> {
        let seed = seed.ok_or(Began::NoSession)?;
        let name = Path::new(&seed.session.crate_dir).file_name();
        let crate_dir = incremental.join(name.unwrap_or_default());
        let there = session::newest(&crate_dir);
        let own = there.clone().filter(|name| !is_placed(name));
        if own.is_some() && (!self.seeding || seed.replaces != own) {
            return Err(Began::OwnSession);
        }
        if let Some(placed) = there.filter(|name| is_placed(name)) {
            remove(&crate_dir, &placed)?;
        }
        if !self.seeding {
            return Err(Began::SeedingOff);
        }
        if seed.arguments != self.compiled.arguments.ok_or(Began::UnsureCompiler)? {
            return Err(Began::OtherArguments);
        }
        let place = || self.place(&seed, &crate_dir);
        place().or_else(|began| match began {
            Began::SeedLost => seed.wait().and_then(|()| place()),
            other => Err(other),
        })?;
        let name = placed_name(&seed.session.name);
        Ok(Sown::of(Some(seed.commit), crate_dir, name))
    }

    /// Places `seed`, its dep-graph with this machine's hashes; or leaves nothing, and returns why.
    fn place(&self, seed: &Seed, crate_dir: &Path) -> Result<(), Began> {
        let store = Store::open(&seed.store).map_err(|_| Began::SeedLost)?;
        let staging = Staging::new(&self.ledger.staging_parent(), "seed")?;
        self.fill(crate_dir, &placed_name(&seed.session.name), |dir| {
            let ahead = self.environment.path(AHEAD_VAR);
            let ahead = ahead.and_then(|dir| prepared(&dir, &seed.session));
            let is_here = ahead.is_some_and(|ahead| place::move_dir(&ahead, dir).is_ok());
            // A probe takes about as long as copying, and cargo seldom has work for every core behind a changed crate.
            let (hash, copied) = std::thread::scope(|scope| {
                let hash = scope.spawn(|| self.args_hash(seed.arguments));
                let copy = || copy(&seed.session, dir, &store, &staging);
                let copied = if is_here { Ok(()) } else { copy() };
                (hash.join().ok().flatten(), copied)
            });
            copied?;
            let hash = hash.ok_or(Began::NotCalibrated)?;
            // Members behind the rest, of which some are called as the builder called them.
            let called = seed.called.hashes(&self.compiled, self.ledger);
            let patches = [&seed.patches[..], &called].concat();
            relocate(&dir.join(DEP_GRAPH), &patches, &hash)
        })?;
        // rustc takes the newest session: the one that this is better than goes last.
        let mut replaced = seed.replaces.iter();
        Ok(replaced.try_for_each(|own| remove(crate_dir, own))?)
    }

    /// Makes the session `name` in `crate_dir`, which `fill` fills; or leaves nothing, and returns why.
    ///
    /// The lock file comes last: rustc ignores and removes a session without one, so an interrupted placing
    /// leaves nothing that it would read.
    pub(super) fn fill(
        &self,
        crate_dir: &Path,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), Began>,
    ) -> Result<(), Began> {
        let parts = Parts::of(name).ok_or(Began::SeedLost)?;
        let dir = crate_dir.join(name);
        let above = crate_dir.parent().unwrap_or(crate_dir);
        let own = crate_dir.strip_prefix(above).unwrap_or(crate_dir);
        disk::check_beneath(above, std::iter::once(own))?;
        disk::remove_dir(&dir)?;
        disk::make_dir(&dir)?;
        if let Err(began) = fill(&dir) {
            disk::remove_dir(&dir)?;
            return Err(began);
        }
        let aside = self.ledger.staging_parent().join(&self.unit);
        let lock_file = crate_dir.join(parts.lock_file());
        Ok(place::write_by(&aside, &lock_file, b"")?)
    }

    /// Returns rustc's hash of the unit's arguments; asked once for each set of them in a build directory.
    pub(super) fn args_hash(&self, arguments: Digest) -> Option<ArgsHash> {
        let program = disk::canonical(&self.environment.program_at(self.program)?);
        let line = [&self.invocation.line()[..], &self.further].concat();
        let mut text = line.join(OsStr::new("\0"));
        text.push(program);
        text.push(arguments.hex());
        // cargo's configuration may set it for rustc alone, which a start does not see.
        text.push(self.environment.var(BOOTSTRAP_VAR).unwrap_or_default());
        let key = Digest::of(text.as_encoded_bytes()).hex();
        if let Some(known) = self.ledger.args_hash(&key) {
            return Some(known);
        }
        let staging = Staging::new(&self.ledger.staging_parent(), "probe").ok()?;
        let scratch = staging.dir.path();
        let compiler = (self.program, &*self.environment.dir);
        let asked = probe::args_hash(compiler, self.invocation, &self.further, scratch);
        let hash = asked.ok().flatten()?;
        // What cannot be kept is asked again.
        drop(self.ledger.write_args_hash(&key, &hash));
        Some(hash)
    }
}

impl Seed {
    /// Waits for the session where another process fetches the rest of its starting point: asks for it, until it has come, or does not
    /// come, or that takes too long. Fails at once where there is no such process.
    fn wait(&self) -> Result<(), Began> {
        let store = Store::open(&self.store).map_err(|_| Began::SeedLost)?;
        let fetched = || store.is_being_fetched(self.manifest);
        let graph = self.session.file(DEP_GRAPH).filter(|_| fetched());
        let graph = graph.ok_or(Began::SeedLost)?.digest;
        let wait = Duration::from_millis(self.wait_ms);
        store.ask(self.manifest, graph, wait);
        let mut polls = 0..wait.as_millis() / POLL.as_millis();
        while store.is_asked(graph) && fetched() && polls.next().is_some() {
            std::thread::sleep(POLL);
        }
        let mut files = self.session.files.iter();
        match files.all(|file| store.has(file.digest, file.size_bytes)) {
            true => Ok(()),
            false if fetched() => Err(Began::SeedLate),
            false => Err(Began::SeedLost),
        }
    }
}

impl Sown {
    pub(super) fn of(commit: Option<String>, crate_dir: PathBuf, name: String) -> Sown {
        Sown {
            products: work_products(&crate_dir.join(&name)),
            commit,
            crate_dir,
            name,
        }
    }

    /// Returns how many work products rustc took over from the seed, and how many its new session has.
    ///
    /// rustc links those it takes over, so they are the same files.
    pub fn reused(&self) -> (u32, u32) {
        let Some(own) = session::newest(&self.crate_dir).filter(|name| *name != self.name) else {
            return (0, 0);
        };
        let made = work_products(&self.crate_dir.join(own));
        let reused = made.intersection(&self.products).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (count(reused), count(made.len()))
    }

    /// Takes the session away for good, and the seed that it is of.
    pub fn discard(&self, key: &str, ledger: &Ledger) {
        drop(remove(&self.crate_dir, &self.name));
        if self.commit.is_some() {
            drop(ledger.remove_seed(key));
        }
    }
}

/// Returns how long to wait for the session of a unit that took `elapsed_ms`, in milliseconds: half of it, so that who waits in vain loses
/// no more than that, and who does not has won about as much.
pub(super) fn patience_ms(elapsed_ms: u64) -> u64 {
    LONGEST_WAIT_MS.min(elapsed_ms / 2)
}

/// Returns what a session is called where it is placed, `tail` being what stands behind its time.
pub(super) fn placed_name(tail: &str) -> String {
    format!("s-{PLACED_TIMESTAMP}-{tail}")
}

/// Tells whether a session is one that was placed, and not rustc's own.
pub(super) fn is_placed(name: &str) -> bool {
    Parts::of(name).is_some_and(|parts| parts.timestamp == PLACED_TIMESTAMP)
}

/// Returns the newest session in `crate_dir`, if it is one that rustc made there itself.
pub(super) fn own_session(crate_dir: &Path) -> Option<String> {
    session::newest(crate_dir).filter(|name| !is_placed(name))
}

/// Removes a session with its lock file, that first, so that nobody reads half of one.
pub(super) fn remove(crate_dir: &Path, name: &str) -> Result<(), DiskError> {
    if let Some(parts) = Parts::of(name) {
        disk::remove_file(&crate_dir.join(parts.lock_file()))?;
    }
    disk::remove_dir(&crate_dir.join(name))
}

/// What cannot be read or written is no reason to fail a build.
impl From<DiskError> for Began {
    fn from(_: DiskError) -> Began {
        Began::SeedUnusable
    }
}

/// Copies the files of `session` from `store` to the directory `to`, if they can all be had, and whole.
pub(super) fn copy(
    session: &Session,
    to: &Path,
    store: &Store,
    staging: &Staging,
) -> Result<(), Began> {
    for file in &session.files {
        let copied = store.get(file.digest, staging, &to.join(&file.name), PLAIN);
        copied.map_err(|error| match error {
            ObjectError::Disk(error) => error.into(),
            _ => Began::SeedLost,
        })?;
    }
    Ok(())
}

/// Writes this machine's hashes into a dep-graph that nobody else has open, if it is one that we can read.
fn relocate(graph: &Path, patches: &[Patch], args_hash: &[u8]) -> Result<(), Began> {
    let start = disk::read_start(graph, dep_graph::MAX_HEADER_BYTES)?;
    let (_, range) = dep_graph::header(&start).ok_or(Began::NotCalibrated)?;
    place::overwrite(graph, patches)?;
    let range = range.start as u64..range.end as u64;
    // Last: where its length varies, everything behind it moves.
    Ok(place::splice(graph, range, args_hash)?)
}

/// A file's inode and time: an inode alone may be another file's later.
type File = (u64, i64, i64);

/// Returns the work products of a session.
fn work_products(session: &Path) -> BTreeSet<File> {
    let files = std::fs::read_dir(session).into_iter().flatten().flatten();
    let products = files.filter(|file| file.path().extension() == Some(OsStr::new("o")));
    let metas = products.filter_map(|file| file.metadata().ok());
    let of = |meta: std::fs::Metadata| (meta.ino(), meta.mtime(), meta.mtime_nsec());
    metas.map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_WAIT_MS, patience_ms};

    /// A build would stand still for minutes, for what a unit of minutes might save.
    #[test]
    fn no_wait_is_longer_than_it_is_worth() {
        assert_eq!(patience_ms(7000), 3500);
        assert_eq!(patience_ms(u64::MAX), LONGEST_WAIT_MS);
    }
}
