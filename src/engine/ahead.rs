//! Prepares what rustc begins from while cargo still looks around: copies sessions, asks for the hash of the arguments.
//!
//! A start knows what cargo will compile, and a core has nothing to do until cargo comes to it. What is prepared is what the wrapper would make
//! itself when its turn comes, and does make where it finds nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Environment;
use crate::disk::{self, Staging, place};
use crate::engine::seed::{self, Beginning, SEED_VAR};
use crate::engine::{Ledger, Seed, wrapping};
use crate::model::session::DEP_GRAPH;
use crate::model::{Compiled, Session};
use crate::rustc::argv::Invocation;
use crate::store::Store;

/// What may lie prepared, in bytes: cargo need not compile all that a start takes for changed.
const MAX_BYTES: u64 = 256 << 20;

/// Where the wrapper looks for what was prepared for the cargo that runs it: a directory of the one start that runs that, so that nothing is
/// taken of one that was interrupted.
pub const AHEAD_VAR: &str = "HEADSTART_AHEAD";

/// What can be prepared for a build.
#[derive(Debug)]
pub struct Ahead {
    /// The build directory.
    pub build: PathBuf,
    /// The rustc that cargo runs there.
    pub rustc: PathBuf,
    /// What cargo runs it in for members of the workspace, at its root.
    pub environment: Environment,
    /// The seeds, by name, what others depend on first.
    pub keys: Vec<String>,
}

impl Ahead {
    /// Prepares what can be while `work` runs, which is given the directory for [`AHEAD_VAR`], and returns what that does.
    pub fn during<T>(&self, work: impl FnOnce(Option<&Path>) -> T) -> T {
        let ledger = Ledger::of(&self.build);
        let wanted = !self.keys.is_empty() && !self.environment.is_off(SEED_VAR);
        let staging = || Staging::new(&ledger.staging_parent(), "ahead").ok();
        let Some(staging) = wanted.then(staging).flatten() else {
            return work(None);
        };
        let ends = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let prepared = scope.spawn(|| self.prepare(&ledger, &staging, &ends));
            let done = work(Some(staging.dir.path()));
            ends.store(true, Ordering::Relaxed);
            drop(prepared.join());
            done
        })
    }

    fn prepare(&self, ledger: &Ledger, staging: &Staging, ends: &AtomicBool) {
        let mut bytes = 0;
        for seed in self.keys.iter().filter_map(|key| ledger.seed(key)) {
            let own = seed::own_session(&self.build.join(&seed.session.crate_dir));
            if own.is_some() && own != seed.replaces {
                continue;
            }
            let sizes = seed.session.files.iter().map(|file| file.size_bytes);
            bytes += sizes.sum::<u64>();
            if bytes > MAX_BYTES || ends.load(Ordering::Relaxed) {
                return;
            }
            // What is missing then, the wrapper makes.
            self.hash(&seed, ledger);
            copy(&seed, staging);
        }
    }

    /// Asks rustc for its hash of what the wrapper will tell it, which keeps that.
    fn hash(&self, seed: &Seed, ledger: &Ledger) -> Option<()> {
        let profile = Path::new(&seed.session.crate_dir)
            .iter()
            .take_while(|name| *name != "incremental");
        let out_dir = self.build.join(profile.collect::<PathBuf>()).join("deps");
        let more = [
            "nothing.rs".into(),
            "--out-dir".into(),
            out_dir.into_os_string(),
        ];
        let line: Vec<OsString> = seed.line.iter().map(OsString::from).chain(more).collect();
        let (invocation, unknown) = Invocation::parse(&line)?;
        let roots =
            wrapping::roots(&invocation, &self.environment).filter(|_| unknown.is_none())?;
        let beginning = Beginning {
            program: self.rustc.as_os_str(),
            invocation: &invocation,
            unit: invocation.ledger_key(),
            compiled: Compiled::default(),
            args: Vec::new(),
            further: wrapping::remaps(&roots),
            ledger,
            roots: &roots,
            environment: &self.environment,
            seeding: true,
        };
        beginning.args_hash(seed.arguments).map(drop)
    }
}

/// Copies the session of `seed` to where the wrapper looks for it first.
fn copy(seed: &Seed, staging: &Staging) -> Option<()> {
    let to = prepared(staging.dir.path(), &seed.session)?;
    let store = Store::open(&seed.store).ok()?;
    let dir = staging.aside();
    disk::make_dir(&dir).ok()?;
    seed::copy(&seed.session, &dir, &store, staging).ok()?;
    place::move_dir(&dir, &to).ok()
}

/// Returns where in the directory `dir` `session` is, whole, if it was prepared; none for one that nobody could relocate.
pub(super) fn prepared(dir: &Path, session: &Session) -> Option<PathBuf> {
    let graph = session.file(DEP_GRAPH)?;
    Some(dir.join(graph.digest.hex()))
}
