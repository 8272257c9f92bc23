//! Brings here what a start needs of what is far away: the outputs of units that will be fresh, and the sessions of those
//! that cargo will compile.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use super::Call;
use super::cli::FetchArgs;
use super::far::Far;
use super::sources::{Candidate, Sources};
use crate::config::Environment;
use crate::disk::space;
use crate::engine::hit::Made;
use crate::engine::offer::{self, Offered};
use crate::engine::{Action, Ledger, Survey, restore};
use crate::model::{Digest, Manifest, OutputFile, Unit};
use crate::store::{Store, StoreError};
use crate::tier::Tier;
use crate::travel::arrivals::{self, Arrivals};

/// Turns what is done later, behind everything else, off when it is `0`, `off` or `no`: a machine that is thrown away has no use for it.
pub(super) const LATER_VAR: &str = "HEADSTART_LATER";
/// How long that may take.
const LATER: Duration = Duration::from_secs(3600);
/// The slowest that the rest may come, in bytes a second: nobody waits for it, but a process and connections are held.
const SLOWEST_LATER: u64 = 100 << 10;
/// How far behind other processes is what nobody waits for.
pub(super) const LATER_NICE: i32 = 19;

/// What is wanted of one starting point.
#[derive(Debug, Default)]
struct Wanted {
    outputs: Vec<Digest>,
    sessions: Vec<Digest>,
    /// How long compiling would take without them, on one core.
    worth_ms: u64,
}

/// Returns what is wanted of each of `candidates` where `survey`, that of the one at `placed`, is placed. The sessions of likely hits may
/// come `later`: there are none to begin from if they are hits.
fn wanted(
    candidates: &[Candidate],
    (placed, survey): (usize, &Survey<'_>),
    offered: &[Offered],
    later: bool,
) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = candidates.iter().map(|_| Wanted::default()).collect();
    let manifest = survey.manifest.get();
    let mut compiled: HashSet<String> = HashSet::new();
    for (unit, decision) in manifest.units.iter().zip(&survey.decisions) {
        match decision.action {
            Action::Place => {
                let objects = unit.outputs().map(|(object, _)| object);
                wanted[placed].outputs.extend(objects);
                wanted[placed].worth_ms += manifest.cost_ms(unit);
            }
            Action::Seed | Action::Leave => compiled.extend(offer::key_of(unit)),
            Action::Keep => {}
        }
    }
    for one in offered {
        let manifest = candidates[one.from].manifest.get();
        let unit = &manifest.units[one.unit];
        if offer::key_of(unit).is_some_and(|key| compiled.contains(&key)) {
            let made = Some(survey).filter(|_| one.from == placed);
            let made = made.and_then(|survey| Made::of(survey, one.unit, SystemTime::UNIX_EPOCH));
            if !later || made.as_ref().is_none_or(|made| made.elsewhere) {
                let objects = unit.session_objects().map(|(object, _)| object);
                wanted[one.from].sessions.extend(objects);
            }
            let made = made.iter().flat_map(Made::objects);
            wanted[one.from].sessions.extend(made);
            wanted[one.from].worth_ms += manifest.cost_ms(unit);
        }
    }
    wanted
}

/// Brings what is wanted and not here where `survey`, that of the candidate at `placed`, is placed in `build`: sessions, of those that
/// are `offered`, into the store; outputs beside where they are placed, which are returned. What does not come is compiled.
pub(super) fn bring(
    sources: &Sources<'_>,
    candidates: &[Candidate],
    (placed, survey): (usize, &Survey<'_>),
    offered: &[Offered],
    build: &Path,
) -> Result<Option<Arrivals>, StoreError> {
    if sources.far.tiers.is_empty() {
        return Ok(None);
    }
    let store = &sources.store;
    let point = &candidates[placed].point;
    let comes = store.lacks_rest(point.manifest) || store.is_being_fetched(point.manifest);
    let has_room = has_room(store, survey.manifest.get());
    let later = comes && has_room && !sources.call.environment.is_off(LATER_VAR);
    let wanted = wanted(candidates, (placed, survey), offered, later);
    let sessions = wanted.iter().flat_map(|one| &one.sessions);
    let sessions: HashSet<Digest> = sessions.copied().collect();
    let units = restore::placed(survey.manifest.get(), &survey.decisions);
    let files: Vec<&OutputFile> = units.flat_map(|(_, unit)| &unit.files).collect();
    let parent = Ledger::of(build).staging_parent();
    let arrivals = || Arrivals::of(&files, &sessions, store, &parent);
    let arrivals = (!sources.args.again).then(arrivals).transpose()?;
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    for (Candidate { point, manifest }, wanted) in candidates.iter().zip(&wanted) {
        let what = (point.manifest, manifest.get());
        let objects = wanted.outputs.iter().chain(&wanted.sessions).copied();
        let worth = |_| Duration::from_millis(wanted.worth_ms / cores);
        let into = (store, arrivals.as_ref());
        sources.far.fetch(what, objects, worth, into)?;
    }
    Ok(arrivals)
}

/// Has another process fetch the rest of `candidate`, which is placed in `build`, for later builds: sessions of units that are fresh
/// now, and for the store what came here alone.
pub(super) fn rest_later(sources: &Sources<'_>, candidate: &Candidate, build: &Path) {
    let Candidate { point, manifest } = candidate;
    let (store, environment) = (&sources.store, sources.call.environment);
    let mut all = manifest.get().objects().into_iter();
    let mut is_here = || all.all(|(object, size_bytes)| store.has(object, size_bytes));
    // Not on the command line, where everybody sees what may be in an address.
    let remotes: Vec<&str> = sources.far.tiers.well().map(Tier::name).collect();
    if remotes.is_empty() || !store.lacks_rest(point.manifest) || is_here() {
        return;
    }
    let name = point.manifest.hex();
    let mut fetch: Vec<&OsStr> = vec!["fetch".as_ref(), "--quiet".as_ref()];
    fetch.extend([OsStr::new("--from"), build.as_ref()]);
    fetch.extend([OsStr::new("--store"), store.root().as_ref(), name.as_ref()]);
    // What does not come is compiled from nothing, and says so then.
    drop(later(environment, &fetch, &remotes));
}

/// Runs this program with `args` in another process that goes on when this one has ended, with these remotes; nobody hears of it. None
/// where the user wants no such processes.
#[expect(clippy::disallowed_methods, reason = "commands start headstart again")]
pub(super) fn later(environment: &Environment, args: &[&OsStr], remotes: &[&str]) -> Option<Child> {
    if environment.is_off(LATER_VAR) {
        return None;
    }
    let mut later = std::process::Command::new(&environment.program);
    later.args(args).current_dir(&environment.dir);
    later.env("HEADSTART_REMOTES", remotes.join(" "));
    later.stdin(Stdio::null()).stdout(Stdio::null());
    later.stderr(Stdio::null()).process_group(0);
    later.spawn().ok()
}

/// Fetches all that is lacking of a manifest that is here, as long as half of the disk's room is left; first the sessions that somebody
/// waits for.
pub fn run(args: &FetchArgs, call: Call<'_>) -> anyhow::Result<ExitCode> {
    // Refused where priorities are not ours to set.
    let _ = rustix::process::nice(LATER_NICE);
    let workspace = call.settled_dir();
    let typed = args.store.store.as_deref();
    let store = Store::open(&call.environment.store(typed)?)?;
    let name = args.manifest;
    let manifest = store.manifest(name)?;
    let wait = || call.reporter.note("waiting for another that fetches it");
    let _fetching = store.fetching(name, wait)?;
    let mut far = Far::of(call, &args.store, false, &workspace)?;
    far.answers = true;
    let all = manifest.objects();
    if !has_room(&store, &manifest) {
        return Ok(ExitCode::SUCCESS);
    }
    let staging = store.staging("gather")?;
    // Who waits for a session has it sooner from afar.
    let busy = || !store.asked(name).is_empty();
    let gather = |archives| {
        if let Some(build) = &args.from {
            arrivals::gather(&manifest, build, archives, (&store, &staging), busy);
        }
    };
    let fetch = |objects: &mut dyn Iterator<Item = (Digest, u64)>| {
        let objects = objects.map(|(object, _)| object);
        far.fetch((name, &manifest), objects, later_worth, (&store, None))
    };
    // Somebody may wait for a session; archives hold much of it.
    gather(true);
    let sessions = fetch(&mut manifest.units.iter().flat_map(Unit::session_objects))?;
    gather(false);
    if !sessions && !fetch(&mut all.into_iter())? {
        store.settle_rest(name);
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells whether what is fetched later leaves half of the disk's room.
fn has_room(store: &Store, manifest: &Manifest) -> bool {
    let sizes = manifest.objects().into_iter().map(|object| object.1);
    let size: u64 = sizes.sum();
    space::free_bytes(store.root()).is_none_or(|free| free / 2 > size)
}

/// Returns how long the rest may take that is `stored_bytes` where it is.
fn later_worth(stored_bytes: u64) -> Duration {
    LATER.min(Duration::from_secs(stored_bytes / SLOWEST_LATER))
}

#[cfg(test)]
mod tests {
    use super::{LATER, SLOWEST_LATER, later_worth};
    use std::time::Duration;

    /// What is fetched behind everything else would end before it can have come, or hold a connection for days.
    #[test]
    fn the_rest_may_take_as_long_as_its_size_is_worth() {
        let second = Duration::from_secs(1);
        assert_eq!(later_worth(0), Duration::ZERO);
        assert_eq!(later_worth(60 * SLOWEST_LATER), 60 * second);
        assert_eq!(later_worth(u64::MAX), LATER);
    }
}
