//! The tiers far away, as a command sees them: which starting points they have, and how their objects come here.
//!
//! Whatever fails there is one line on standard error, and the command goes on with what is here.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::cli::{RemoteArgs, StoreArgs};
use super::trust::here;
use super::{Call, Failure, keyring, short, timer};
use crate::config::{Environment, RemoteConfig};
use crate::disk::space;
use crate::model::{Digest, Epoch, Manifest, SECONDS_A_DAY, Toolchain};
use crate::report::{Reporter, bytes};
use crate::store::head::{self, Entry, MAX_HEAD_BYTES};
use crate::store::{Store, StoreError, format, pack};
use crate::tier::{Tier, Tiers, Trouble};
use crate::travel::arrivals::Arrivals;
use crate::travel::fetch::{self, AHEAD_BYTES, Fetched, Keep, Wanted};
use crate::travel::push::MAX_BUNDLE_BYTES;
use crate::trust::{self, Believed, Keyring, Verified, statement};

/// How long nothing may come before a tier is given up, if the user does not say.
const WAIT: Duration = Duration::from_secs(2);
/// How long lists and manifests may take in all.
const LISTING: Duration = Duration::from_secs(10);
/// The variable that says otherwise, in seconds.
pub(super) const WAIT_VAR: &str = "HEADSTART_WAIT";
/// A list that nobody has written for so long is worth a word.
pub(super) const STALE_DAYS: i64 = 14;

/// The tiers, and who is believed there.
#[derive(Debug)]
pub struct Far<'a> {
    call: Call<'a>,
    pub(super) tiers: Tiers<'a>,
    keyring: Keyring,
    pub(super) believes_all: bool,
    /// Whether builds may ask for something of what is fetched before all else.
    pub(super) answers: bool,
    wait: Duration,
    opened: Instant,
}

/// A starting point that a tier has.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What the tier says of it.
    pub entry: Entry,
    /// The belief in its tier, if that is a directory which is believed as such.
    pub(super) believed: Option<Believed>,
}

impl<'a> Far<'a> {
    /// Returns the tiers that are configured for `workspace`, with the keys that the user believes for its repository.
    pub fn of(
        call: Call<'a>,
        args: &StoreArgs,
        believes_all: bool,
        workspace: &Path,
    ) -> Result<Far<'a>> {
        let environment = call.environment;
        let name = here(&environment.at(workspace));
        let mut remotes = environment.remotes(&args.remote, workspace)?;
        // Who only reads makes no directory of an address that is mistyped, or of a share that is not mounted.
        remotes.iter_mut().for_each(|one| one.read_only = true);
        let keyring = match environment.config_dir() {
            Err(_) if remotes.is_empty() => Keyring::nobody(name),
            _ => keyring::of(environment, name)?,
        };
        Ok(Far {
            call,
            // As long as the process: so is what runs their requests.
            tiers: Tiers::new(
                open_all(&remotes, call)?
                    .into_iter()
                    .map(|one| &*Box::leak(one)),
            ),
            keyring,
            believes_all,
            answers: false,
            wait: wait(environment).unwrap_or(WAIT),
            opened: timer(),
        })
    }

    /// Tells whether lists and manifests may still come: they are small, and who sends them in drops is not waited for.
    fn in_time(&self) -> bool {
        self.opened.elapsed() < LISTING
    }

    /// Gives lists and manifests their time once more, for a command that comes back to them much later.
    pub fn again(&mut self) {
        self.opened = timer();
    }

    /// Returns what the tiers list for `toolchain`, each starting point once. Whom a root names there is believed from now on.
    pub fn listed(&mut self, toolchain: &Toolchain, store: &Store) -> Vec<Listed> {
        let reporter = self.call.reporter;
        let mut listed: Vec<Listed> = Vec::new();
        let key = head::key(toolchain);
        let wanted = self.keyring.wanted();
        let get = |tier: &dyn Tier, key: &str, limit| tier.get(key, limit, &|_| self.in_time());
        let (get, tiers, list) = (&get, &self.tiers, key.as_str());
        let step = reporter.step("Asking remotes", 0);
        // All at once, so that several that do not answer cost one wait.
        let answers: Vec<_> = std::thread::scope(|scope| {
            let of = |tier| {
                // Where absence is no answer that one may have, S3 says that access is denied: the list tells whether the tier is well.
                let say = |key| scope.spawn(move || get(tier, key, statement::MAX_BYTES));
                let said = wanted.as_deref().map(say);
                let list = move |tier: &dyn Tier| get(tier, list, MAX_HEAD_BYTES as u64);
                let listed = scope.spawn(move || tiers.ask(tier, list));
                (tier, said, listed)
            };
            let asked: Vec<_> = self.tiers.well().map(of).collect();
            let joined = asked.into_iter().map(|(tier, said, listed)| {
                let said = said.map(|one| one.join().expect("asking does not panic"));
                (tier, said, listed.join().expect("asking does not panic"))
            });
            joined.collect()
        });
        drop(step);
        for (tier, said, _) in &answers {
            if let Some(said) = said {
                keyring::take(&mut self.keyring, tier.name(), said.clone(), &reporter);
            }
        }
        for (tier, _, answer) in answers {
            let read = match answer {
                Ok(bytes) => self.read_head(tier, &key, &bytes, store),
                Err(Trouble::Absent) => continue,
                Err(trouble) => Err(trouble.into()),
            };
            match read {
                Ok(more) => listed.extend(more),
                Err(why) => reporter.warn(format!("{} is not used: {why}", tier.name())),
            }
        }
        // Where two list the same, the one that can be believed counts.
        listed.sort_by_key(|one| one.believed.is_none() && one.entry.signatures.is_empty());
        let mut seen = std::collections::HashSet::new();
        listed.retain(|one| seen.insert(one.entry.point.manifest));
        listed
    }

    /// Returns what a head lists, if it is believed and no replay of an older one.
    fn read_head(
        &self,
        tier: &dyn Tier,
        key: &str,
        bytes: &[u8],
        store: &Store,
    ) -> Result<Vec<Listed>> {
        let damaged = |error| anyhow!("its list {error}");
        let (signed, signatures) = head::split(bytes).map_err(damaged)?;
        let believed = self.belief(tier);
        if believed.is_none() {
            trust::verify(signed, &signatures, &self.keyring.here())?;
        }
        let read = head::decode(bytes).map_err(damaged)?;
        if believed.is_none() {
            // Its number would be kept, and refuse the right one.
            let right = |entry: &Entry| head::key(&entry.point.toolchain) == key;
            let right = read.head.entries.iter().all(right);
            ensure!(right, "its list is that of another toolchain");
            let list = format!("{} {key}", tier.name());
            let last = store.sequence(&list);
            let newest = last.is_none_or(|last| last <= read.head.sequence);
            ensure!(newest, "its list is older than one that was seen before");
            // What cannot be kept is not noticed the next time.
            drop(store.put_sequence(&list, read.head.sequence));
        }
        let now_unix_s = self.call.now_unix_s();
        let days = (now_unix_s - read.head.written_unix_s) / SECONDS_A_DAY;
        if days > STALE_DAYS {
            let name = tier.name();
            let reporter = self.call.reporter;
            reporter.warn(format!("nothing was published to {name} for {days} days"));
        }
        let listed = |entry| Listed {
            entry,
            believed: believed.clone(),
        };
        let lasts = |entry: &Entry| entry.point.not_after_unix_s >= now_unix_s;
        let entries = read.head.entries.into_iter().filter(lasts);
        Ok(entries.map(listed).collect())
    }

    fn belief(&self, tier: &dyn Tier) -> Option<Believed> {
        match (tier.directory(), self.believes_all) {
            (None, false) => None,
            (dir, said_so) => trust::store(dir.unwrap_or(Path::new("/")), said_so).ok(),
        }
    }

    /// Returns the manifest `name`, written in `epoch`, with its index, from the nearest tier that has both whole.
    pub(super) fn bundle(&self, epoch: Epoch, name: Digest) -> Result<Vec<u8>, Trouble> {
        if !self.in_time() {
            return Err(Trouble::Stopped);
        }
        let key = pack::bundle_key(epoch, name);
        self.tiers.find(
            |tier| tier.get(&key, MAX_BUNDLE_BYTES, &|_| self.in_time()),
            |bytes| match pack::split_bundle(&bytes, name) {
                Ok(_) => Ok(bytes),
                Err(error) => Err(Trouble::Unreachable(error.to_string())),
            },
        )
    }

    /// Returns the manifest in `bytes`, or why nobody is believed to vouch for it.
    pub(super) fn verified(
        &self,
        bytes: &[u8],
        signatures: &[String],
        believed: Option<&Believed>,
    ) -> Result<Verified<Manifest>> {
        let manifest = format::decode(bytes).map_err(|error| anyhow!("its manifest {error}"))?;
        if let Some(believed) = believed {
            return Ok(believed.vouch(manifest));
        }
        let other = manifest.repository != self.keyring.repository();
        // A key that is believed for one repository may sign for another as well, where this reader does not believe it.
        let keys = match other {
            true => self.keyring.anywhere(),
            false => self.keyring.here(),
        };
        let named = manifest.repository.clone();
        trust::signed(manifest, bytes, signatures, &keys).map_err(|error| match other {
            true => anyhow!("it is of the repository `{named}`, and {error}"),
            false => error.into(),
        })
    }

    /// Brings those of `objects` of `manifest`, called `name`, into `store` that are not there, or where they are placed at once;
    /// unless compiling what needs them is quicker: `worth` says how long that takes, given their size where they are. Tells
    /// whether asking again might bring more.
    pub fn fetch(
        &self,
        (name, manifest): (Digest, &Manifest),
        objects: impl Iterator<Item = Digest>,
        worth: impl FnOnce(u64) -> Duration,
        (store, arrivals): (&Store, Option<&Arrivals>),
    ) -> Result<bool, StoreError> {
        if self.tiers.is_empty() {
            return Ok(true);
        }
        let Some(index) = store.index(name, manifest) else {
            // One that came from a tier has one, which the next start brings again.
            return Ok(store.adopted(name).is_some());
        };
        let objects = objects.filter(|one| !arrivals.is_some_and(|there| there.has(*one)));
        let objects = fetch::lacking((manifest, &index), store, objects);
        if objects.is_empty() {
            return Ok(false);
        }
        let (reporter, commit) = (self.call.reporter, short(&manifest.commit));
        let all = &index.all_objects(manifest)[..];
        let own = objects.iter().map(|at| all[*at]);
        let is_placed = |(object, _): &_| arrivals.is_some_and(|there| there.takes(*object));
        let (placed, stored): (Vec<_>, Vec<_>) = own.partition(is_placed);
        let near = arrivals.and_then(|there| no_room(commit, &placed, there.dir()));
        if let Some(why) = no_room(commit, &stored, store.root()).or(near) {
            reporter.warn(why);
            return Ok(true);
        }
        let staging = match store.staging("fetch") {
            Ok(staging) => staging,
            Err(why) => {
                reporter.warn(format!("nothing is fetched of {commit}: {why}"));
                return Ok(true);
            }
        };
        let size = index.stored_bytes(&objects);
        let worth = worth(size);
        let asked = self.answers.then_some((name, manifest));
        let step = reporter.step("Fetching", size);
        let clock = timer();
        let sum = AtomicU64::new(0);
        let watch = |count| {
            step.inc(count);
            let came = sum.fetch_add(count, Ordering::Relaxed) + count;
            let (elapsed, left) = (clock.elapsed(), size.saturating_sub(came));
            if elapsed <= self.wait {
                return true;
            }
            // Behind what is on its way comes what is asked for, and is hardly more.
            let soon = time_for(left.min(2 * AHEAD_BYTES), came, elapsed);
            let asked = asked.map(|(name, _)| store.asked(name)).unwrap_or_default();
            let late = asked.iter().filter(|(_, wait)| *wait < soon);
            late.for_each(|(graph, _)| store.answer(*graph));
            elapsed.saturating_add(time_for(left, came, elapsed)) <= worth
        };
        let wanted = Wanted {
            index: &index,
            all,
            objects: &objects,
            asked,
        };
        let keep = Keep {
            store,
            staging: &staging,
            arrivals,
        };
        let fetched = fetch::fetch(wanted, &self.tiers, keep, &watch);
        drop(step);
        // Perhaps they are not where it says: the next start asks again where they are.
        if fetched.lacking > 0
            && let Some(Trouble::Absent | Trouble::Unreachable(_)) = &fetched.trouble
        {
            store.doubt_index(name, true);
        }
        say_fetched(&fetched, commit, size, clock.elapsed(), &reporter);
        Ok(fetched.lacking > 0 && fetched.trouble != Some(Trouble::Absent))
    }
}

/// Says what came of `size` bytes of `commit` in `elapsed`, and why the rest did not.
fn say_fetched(fetched: &Fetched, commit: &str, size: u64, elapsed: Duration, reporter: &Reporter) {
    let (lacking, seconds) = (fetched.lacking, elapsed.as_secs_f64());
    if lacking == 0 {
        return reporter.note(format!("fetched {} in {seconds:.1} s", bytes(size)));
    }
    let why = match &fetched.trouble {
        Some(Trouble::Stopped) | None => "compiling is quicker than fetching them",
        Some(trouble) => &trouble.to_string(),
    };
    reporter.warn(format!("{lacking} objects of {commit} did not come: {why}"));
}

/// Returns how long `bytes` take at the rate at which `came` bytes came in `elapsed`.
fn time_for(bytes: u64, came: u64, elapsed: Duration) -> Duration {
    let rate = came as f64 / elapsed.as_secs_f64().max(0.001);
    Duration::try_from_secs_f64(bytes as f64 / rate.max(1.0)).unwrap_or(Duration::MAX)
}

/// Returns how long nothing may come, as the user says it; none where they say nothing, or no time.
pub fn wait(environment: &Environment) -> Option<Duration> {
    let seconds = environment.text(WAIT_VAR)?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Says that the disk of `dir` has no room for `objects` of `commit`, if it has none.
fn no_room(commit: &str, objects: &[(Digest, u64)], dir: &Path) -> Option<String> {
    let needed: u64 = objects.iter().map(|(_, size_bytes)| size_bytes).sum();
    let free = space::free_bytes(dir)?;
    (free < needed).then(|| {
        let (needed, free, dir) = (bytes(needed), bytes(free), dir.display());
        format!(
            "nothing is fetched of {commit}: {dir} needs {needed} for it, and has only {free} free"
        )
    })
}

/// Opens the remotes that are typed, or configured where no cargo is asked; fails where one of them cannot be opened.
pub(super) fn settled(args: &RemoteArgs, call: Call<'_>) -> Result<Vec<Box<dyn Tier>>> {
    let dir = call.settled_dir();
    let remotes = call.environment.remotes(&args.remote, &dir)?;
    let hint = "correct it, or leave it out with --remote, which names the others";
    open_required(&remotes, call, hint)
}

/// Opens `remotes`; fails with `hint` where one of them cannot be opened.
pub(super) fn open_required(
    remotes: &[RemoteConfig],
    call: Call<'_>,
    hint: &str,
) -> Result<Vec<Box<dyn Tier>>> {
    let opened: Result<_, String> = open_each(remotes, call.environment)?.into_iter().collect();
    opened.map_err(|why| Failure::new(why, hint).into())
}

/// Opens `remotes`; one that cannot be opened is passed over.
pub fn open_all(remotes: &[RemoteConfig], call: Call<'_>) -> Result<Vec<Box<dyn Tier>>> {
    if remotes.is_empty() {
        return Ok(Vec::new());
    }
    let warn = |why: String| call.reporter.warn(why);
    let opened = open_each(remotes, call.environment)?.into_iter();
    Ok(opened.filter_map(|one| one.map_err(warn).ok()).collect())
}

/// Remotes, each opened or with a sentence that says why not.
type Opened = std::io::Result<Vec<Result<Box<dyn Tier>, String>>>;

/// Opens each of `remotes`, or says why not. Asks them nothing yet.
#[cfg(feature = "network")]
pub fn open_each(remotes: &[RemoteConfig], environment: &Environment) -> Opened {
    let opener = crate::remote::Opener::new(wait(environment).unwrap_or(WAIT))?;
    let kept = environment.of_aws_profile();
    let kept = kept.iter().map(|(name, value)| (*name, value.as_str()));
    let variables = kept.chain(environment.of_providers());
    let boxed = |tier: crate::remote::Remote| -> Box<dyn Tier> { Box::new(tier) };
    let open = |remote| opener.open(remote, variables.clone()).map(boxed);
    Ok(remotes.iter().map(open).collect())
}

/// Says of each that this build has no network.
#[cfg(not(feature = "network"))]
pub fn open_each(remotes: &[RemoteConfig], _: &Environment) -> Opened {
    let why = |url| format!("{url} is not used: this headstart was built without network");
    Ok(remotes.iter().map(|one| Err(why(&one.url))).collect())
}

#[cfg(test)]
mod tests {
    use super::time_for;
    use std::time::Duration;

    /// A start would give up on what comes in time, or wait for what does not.
    #[test]
    fn what_is_left_comes_at_the_rate_so_far() {
        let second = Duration::from_secs(1);
        assert_eq!(time_for(600, 400, 4 * second), 6 * second);
        assert_eq!(time_for(0, 400, 4 * second), Duration::ZERO);
        // Nothing came: as if it were a byte a second.
        assert_eq!(time_for(3600, 0, 4 * second), 3600 * second);
        assert_eq!(time_for(600, 1, Duration::ZERO), Duration::from_millis(600));
        assert_eq!(time_for(u64::MAX, 0, second).as_secs(), u64::MAX);
    }
}
