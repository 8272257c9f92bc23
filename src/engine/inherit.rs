//! Lets rustc begin from a session that it made here of what cargo takes for another unit: another version, or other dependencies.
//!
//! Both have one id (see [`identity`](crate::engine::identity)), and each a directory for its sessions: two builds that take turns, with other
//! features of a dependency, keep both.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::disk::{DiskError, lock, place, walk};
use crate::engine::identity;
use crate::engine::names::Called;
use crate::engine::relocate::{self, Catalog};
use crate::engine::seed::{self, Beginning, Sown};
use crate::model::Compiled;
use crate::model::session::DEP_GRAPH;
use crate::rustc::argv::seed_key;
use crate::rustc::session::{self, Parts};

/// Places the session that was made last, and after `since`, by the same arguments under another name of cargo's; none where there is none,
/// or rustc has one of the unit's own.
pub(super) fn inherit(beginning: &Beginning<'_>, since: SystemTime) -> Option<Sown> {
    let incremental = beginning.invocation.incremental.as_ref();
    let own = incremental.filter(|_| beginning.seeding)?;
    if newest_below(own).is_some_and(|(_, name)| !seed::is_placed(&name)) {
        return None;
    }
    let ((theirs, name), made) = theirs(beginning, own, since)?;
    let parts = Parts::of(&name)?;
    let crate_dir = own.join(theirs.file_name()?);
    let placed = seed::placed_name(&format!("{}-{}", parts.random, parts.svh));
    let from = theirs.join(&name);
    // As rustc does where it copies one: so nobody removes it meanwhile.
    let _used = lock::shared(&theirs.join(parts.lock_file()))?;
    // rustc would take either of two.
    while let Some(placed) = session::newest(&crate_dir) {
        seed::remove(&crate_dir, &placed).ok()?;
    }
    let filled = beginning.fill(&crate_dir, &placed, |dir| {
        let mut files = walk::names(&from);
        files.try_for_each(|file| place::copy(&from.join(&file), &dir.join(&file)))?;
        Ok(rename(beginning, &made, &dir.join(DEP_GRAPH))?)
    });
    filled.ok()?;
    Some(Sown::of(None, crate_dir, placed))
}

/// Returns the newest session of the other unit, and what the wrapper noted of it.
fn theirs(
    beginning: &Beginning<'_>,
    own: &Path,
    since: SystemTime,
) -> Option<((PathBuf, String), Compiled)> {
    let ledger = beginning.ledger;
    let unit = ledger.session_of(&seed_key(&beginning.compiled))?;
    let note = ledger.note(&unit)?;
    let started = UNIX_EPOCH + Duration::from_millis(note.started_unix_ms);
    let made = note.compiled;
    let is_same = made.arguments.is_some() && made.arguments == beginning.compiled.arguments;
    let is_theirs = unit != beginning.unit && is_same && !made.crashed && started > since;
    let dir = own.with_file_name(identity::sessions_of(&unit));
    let session = is_theirs.then(|| newest_below(&dir))?;
    Some((session?, made))
}

/// Writes rustc's hashes of what is called otherwise now: the unit's outputs, on which every codegen unit depends, and in programs
/// with debug information the members.
fn rename(beginning: &Beginning<'_>, made: &Compiled, graph: &Path) -> Result<(), DiskError> {
    let ledger = beginning.ledger;
    let sessions = made.incremental.iter();
    let loads = sessions.filter(|_| !beginning.invocation.plain_library);
    let profiles = loads.filter_map(|dir| Path::new(dir).ancestors().nth(2)?.to_str());
    let crates = Catalog::of(&relocate::places(&ledger.build(), Path::new("/")), profiles);
    let (sites, located) = crates.sites(graph, made.names.as_ref())?;
    let key = |unit: &str| Some(seed_key(&ledger.note(unit)?.compiled));
    let called = Called::of(&sites, &located, key);
    place::overwrite(graph, &called.hashes(&beginning.compiled, ledger))
}

/// Returns the newest finalised session below `dir`, and the crate's directory that it is in: each rustc has its own.
pub(super) fn newest_below(dir: &Path) -> Option<(PathBuf, String)> {
    let crates = walk::directories(dir).into_iter();
    let newest = crates.filter_map(|dir| session::newest(&dir).map(|name| (dir, name)));
    newest.max_by_key(|(_, name)| {
        Parts::of(name).map(|parts| (parts.timestamp.len(), parts.timestamp.to_owned()))
    })
}
