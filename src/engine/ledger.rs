//! What headstart notes in a target directory: one file for each compile, one for the starts.
//!
//! A note counts only as long as the outputs are those it was written for.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::cargo::layout::{OWN_DIR, unit_hash};
use crate::disk::{self, DiskError, PLAIN, Staging, place, walk};
use crate::engine::Seed;
use crate::model::{Began, Compiled, Digest, UnitName, bytes_path};
use crate::rustc::argv::ledger_key;
use crate::rustc::dep_graph::{ArgsHash, MAX_ARGS_HASH_BYTES};

/// The largest ledger file that is read.
const MAX_LEDGER_BYTES: u64 = 64 << 20;
/// The version of seeds that this version writes and reads.
const SEED_VERSION: u16 = 5;
/// How many starts are remembered.
const MAX_STARTS: usize = 20;
/// How far a file's time may lie from the clock that timed rustc: file systems count in seconds at worst.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// The note of one compile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What was compiled.
    pub compiled: Compiled,
    /// When rustc was started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How long before that cargo had begun: a session may be waited for.
    pub waited_ms: u64,
    /// From what rustc began.
    pub began: Began,
    /// The workspace's root, where the main source is relative to it, as [`Ledger::told`] has it.
    pub workspace: Option<PathBuf>,
    /// The build directory, without links.
    pub build: Option<PathBuf>,
    /// Where rustc was not run, the manifest that has what it would make; how long that took is another machine's word.
    pub hit: Option<Digest>,
}

/// A start that this target directory has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The commit that it started from.
    pub commit: String,
    /// The manifest.
    pub manifest: Digest,
    /// When, in seconds since 1970.
    pub unix_s: i64,
    /// The time that every placed file was given.
    pub mtime: SystemTime,
    /// The workspace's root, as [`Ledger::told`] has it.
    pub workspace: Option<PathBuf>,
    /// Each unit with its verdict and the sentence that explains it.
    pub decisions: Vec<Decision>,
}

impl Started {
    /// Tells whether `other` was taken by the same start, which may take several starting points of one commit.
    fn is_with(&self, other: &Started) -> bool {
        (&self.commit, self.unix_s) == (&other.commit, other.unix_s)
    }
}

/// What was decided for one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The unit.
    pub unit: String,
    /// Its package, with version.
    pub package: String,
    /// `lib`, `bin`, `run-build-script`, ...
    pub kind: String,
    /// `fresh`, `kept`, `near`, `absent`.
    pub verdict: String,
    /// Why.
    pub reason: ReasonText,
}

impl Decision {
    /// Returns the name of the note that a compile of this unit leaves.
    ///
    /// The crate's name is the package's or the target's; what tells units apart is cargo's hash, which no two share.
    pub fn note_hash(&self) -> &str {
        let dir = self.unit.rsplit('/').nth(1).unwrap_or_default();
        unit_hash(dir)
    }
}

/// A reason as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonText {
    /// The stable code.
    pub code: String,
    /// The sentence.
    pub text: String,
}

/// The ledger of one build directory.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    /// Returns the ledger of the build directory `build`; nothing is read or made.
    pub fn of(build: &Path) -> Ledger {
        let dir = build.join(OWN_DIR);
        Ledger { dir }
    }

    /// Returns the directories that it writes into.
    pub fn dirs(&self) -> impl Iterator<Item = PathBuf> {
        let names = ["tmp", "compiled", "others", "probes", "seeds", "sessions"];
        names.into_iter().map(|name| self.dir.join(name))
    }

    /// Returns the directory for unfinished files.
    pub fn staging_parent(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Returns the directory that rustc was run in for the members of the workspace that first filled the build directory;
    /// none where nobody noted it.
    pub fn workspace(&self) -> Option<PathBuf> {
        let told = self.read(".", "workspace")?;
        Some(self.resolve(bytes_path(&told)))
    }

    /// Notes that directory, which is `told` as [`Ledger::told`] has it; another than the first beside that.
    pub fn note_workspace(&self, told: &Path) -> Result<(), DiskError> {
        let told = told.as_os_str().as_encoded_bytes();
        let key = Digest::of(told).hex();
        let (dir, key) = match self.read(".", "workspace") {
            Some(first) if first != told => ("others", &*key),
            _ => (".", "workspace"),
        };
        disk::touch(&self.dir.join(dir).join(key)).or_else(|_| self.write(dir, key, told))
    }

    /// Returns the roots of the workspaces that have used the build directory, as far as that was noted, each with when something was compiled
    /// or placed for it last.
    pub fn workspaces(&self) -> Vec<(PathBuf, SystemTime)> {
        let others = walk::names(&self.dir.join("others"));
        let others = others.map(|key| Path::new("others").join(key));
        let files = others.chain([PathBuf::from("workspace")]);
        let noted = files.filter_map(|file| {
            let file = self.dir.join(file);
            let told = disk::read(&file, MAX_LEDGER_BYTES).ok()?;
            Some((self.resolve(bytes_path(&told)), walk::mtime(&file)?))
        });
        let starts = self.starts().into_iter().filter_map(|one| {
            let end = Duration::from_secs(one.unix_s.unsigned_abs() + 1);
            Some((self.resolve(&one.workspace?), UNIX_EPOCH + end))
        });
        noted.chain(starts).collect()
    }

    /// Returns the root that is `told`, without links.
    pub fn resolve(&self, told: &Path) -> PathBuf {
        disk::canonical(&self.build().join(told))
    }

    /// Returns `root` as notes have it: relative where the build directory lies below it, so that both may be moved.
    pub fn told(&self, root: &Path) -> PathBuf {
        let build = self.build();
        let root = disk::canonical(root);
        let below = build.strip_prefix(&root).map(Path::iter);
        below.map_or(root.clone(), |below| below.map(|_| "..").collect())
    }

    /// Returns the build directory, without links.
    pub fn build(&self) -> PathBuf {
        disk::canonical(self.dir.parent().unwrap_or(&self.dir))
    }

    /// Returns cargo's name of the unit that the last session was made of which those of the seed `key` begin from; none where nobody
    /// noted it.
    pub fn session_of(&self, key: &str) -> Option<String> {
        String::from_utf8(self.read("sessions", key)?).ok()
    }

    /// Notes that name.
    pub fn note_session_of(&self, key: &str, unit: &str) -> Result<(), DiskError> {
        // The same crate may be compiled for this machine and for a target at the same time.
        let aside = self.staging_parent().join(format!("sessions-{unit}"));
        let path = self.dir.join("sessions").join(key);
        place::write_by(&aside, &path, unit.as_bytes())
    }

    /// Writes the note of a compile.
    pub fn write_note(&self, key: &str, note: &Note) -> Result<(), DiskError> {
        let bytes = serde_json::to_vec(note).expect("a note holds only plain values");
        self.write("compiled", key, &bytes)
    }

    /// Returns what was noted of `unit`, if `output`, one of its outputs, is the one that was noted.
    pub fn compiled(&self, unit: &UnitName, crate_name: &str, output: &Path) -> Option<Note> {
        let key = ledger_key(crate_name, Some(&format!("-{}", unit_hash(&unit.dir))), "");
        self.note_of(&key, output)
    }

    /// The same for a unit whose outputs have no hash in their names, and neither has its note.
    pub fn compiled_plainly(&self, crate_name: &str, output: &Path) -> Option<Note> {
        let prefix = ledger_key(crate_name, None, "");
        let mut of_crate = self.note_keys().filter(|key| key.starts_with(&prefix));
        of_crate.find_map(|key| self.note_of(&key, output))
    }

    fn note_of(&self, key: &str, output: &Path) -> Option<Note> {
        let note = self.note(key)?;
        let started = UNIX_EPOCH + Duration::from_millis(note.started_unix_ms);
        let elapsed_ms = note.hit.map_or(note.compiled.elapsed_ms, |_| 0);
        let ended = started + Duration::from_millis(elapsed_ms);
        // Of a check, cargo sets the outputs' time to when it began.
        let waited = Duration::from_millis(note.waited_ms);
        let made = walk::mtime(output)?;
        (made + waited + CLOCK_SLACK >= started && made <= ended + CLOCK_SLACK).then_some(note)
    }

    /// Returns the note `key`, whatever became of what was noted.
    pub fn note(&self, key: &str) -> Option<Note> {
        serde_json::from_slice(&self.read("compiled", key)?).ok()
    }

    fn note_keys(&self) -> impl Iterator<Item = String> {
        walk::names(&self.dir.join("compiled"))
    }

    /// Returns every note of a compile, in no order.
    pub fn notes(&self) -> Vec<(String, Note)> {
        let noted = |key: String| self.note(&key).map(|note| (key, note));
        self.note_keys().filter_map(noted).collect()
    }

    /// Keeps the seed of the unit `key` for its next compile.
    pub fn write_seed(&self, key: &str, seed: &Seed) -> Result<(), DiskError> {
        let bytes = postcard::to_allocvec(&(SEED_VERSION, seed));
        let bytes = bytes.expect("a seed holds only plain values");
        self.write("seeds", key, &bytes)
    }

    /// Returns when the seed of the unit `key` was noted; none where there is none.
    pub fn seeded(&self, key: &str) -> Option<SystemTime> {
        walk::mtime(&self.dir.join("seeds").join(key))
    }

    /// Returns the seed of the unit `key`; none where there is none that this version can read.
    pub fn seed(&self, key: &str) -> Option<Seed> {
        let bytes = self.read("seeds", key)?;
        let (version, rest): (u16, &[u8]) = postcard::take_from_bytes(&bytes).ok()?;
        (version == SEED_VERSION).then(|| postcard::from_bytes(rest).ok())?
    }

    /// Removes the seed of the unit `key`.
    pub fn remove_seed(&self, key: &str) -> Result<(), DiskError> {
        disk::remove_file(&self.dir.join("seeds").join(key))
    }

    /// Returns rustc's hash of a set of arguments, if it was asked for before.
    pub fn args_hash(&self, key: &str) -> Option<ArgsHash> {
        let fits = |known: &Vec<u8>| (1..=MAX_ARGS_HASH_BYTES).contains(&known.len());
        self.read("probes", key).filter(fits)
    }

    /// Keeps rustc's hash of a set of arguments.
    pub fn write_args_hash(&self, key: &str, hash: &[u8]) -> Result<(), DiskError> {
        self.write("probes", key, hash)
    }

    /// Returns what one file holds, if it can be read.
    fn read(&self, dir: &str, key: &str) -> Option<Vec<u8>> {
        disk::read(&self.dir.join(dir).join(key), MAX_LEDGER_BYTES).ok()
    }

    /// Writes one file as the only compile of its unit, which cargo's lock sees to.
    fn write(&self, dir: &str, key: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let aside = self.staging_parent().join(format!("{dir}-{key}"));
        place::write_by(&aside, &self.dir.join(dir).join(key), bytes)
    }

    /// Returns the starts, oldest first.
    pub fn starts(&self) -> Vec<Started> {
        let bytes = disk::read(&self.dir.join("starts"), MAX_LEDGER_BYTES);
        serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default()
    }

    /// Returns the last start; of several starting points of one commit that it took, with what was decided first of each unit.
    pub fn last_start(&self) -> Option<Started> {
        let mut starts = self.starts();
        let mut last = starts.pop()?;
        starts.retain(|one| one.is_with(&last));
        let before = starts.into_iter().flat_map(|one| one.decisions);
        let own = std::mem::take(&mut last.decisions);
        last.decisions.extend(before.chain(own));
        last.decisions
            .sort_by(|one, other| one.unit.cmp(&other.unit));
        last.decisions.dedup_by(|one, other| one.unit == other.unit);
        Some(last)
    }

    /// Adds a start.
    pub fn add_start(&self, staging: &Staging, started: Started) -> Result<(), DiskError> {
        let mut starts = self.starts();
        // Nobody asks any more what an earlier start decided.
        let earlier = starts.iter_mut().filter(|one| !one.is_with(&started));
        earlier.for_each(|one| one.decisions.clear());
        starts.push(started);
        let surplus = starts.len().saturating_sub(MAX_STARTS);
        starts.drain(..surplus);
        let bytes = serde_json::to_vec(&starts).expect("a start holds only plain values");
        staging.write(&self.dir.join("starts"), &bytes, PLAIN)
    }
}
