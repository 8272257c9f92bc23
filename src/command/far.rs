//! The tiers far away, as a command sees them: which starting points they have, and how their objects come here.
//!
//! Whatever fails there is one line on standard error, and the command goes on with what is here.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::cli::StoreArgs;
use super::keyring;
use super::setup::{Clock, short};
use super::trust::here;
use crate::config::{Environment, RemoteConfig};
use crate::disk::place::Staging;
use crate::disk::space;
use crate::engine::fetch::{self, Wanted};
use crate::engine::push::MAX_BUNDLE_BYTES;
use crate::model::epoch::SECONDS_A_DAY;
use crate::model::{Manifest, Toolchain};
use crate::report::{Reporter, bytes};
use crate::store::head::{self, Entry, MAX_HEAD_BYTES};
use crate::store::pack::{self, Index};
use crate::store::point::Point;
use crate::store::{Store, StoreError, format};
use crate::tier::{Tier, Tiers, Trouble};
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
pub struct Far {
    tiers: Tiers,
    keyring: Keyring,
    believes_all: bool,
    wait: Duration,
    opened: Clock,
}

/// A starting point that a tier has.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What the tier says of it.
    pub entry: Entry,
    /// The belief in its tier, if that is a directory which is believed as such.
    believed: Option<Believed>,
}

impl Far {
    /// Returns the tiers that are configured for `workspace`, with the keys that the user believes for its repository.
    pub fn of(
        environment: &Environment,
        args: &StoreArgs,
        believes_all: bool,
        workspace: &Path,
        reporter: &Reporter,
    ) -> anyhow::Result<Far> {
        let name = here(environment);
        let remotes = environment.remotes(&args.remote, workspace)?;
        let keyring = match environment.config_dir() {
            Err(_) if remotes.is_empty() => Keyring::nobody(name),
            _ => keyring::of(environment, name)?,
        };
        Ok(Far {
            tiers: Tiers::new(open_all(&remotes, environment, reporter)?),
            keyring,
            believes_all,
            wait: wait(environment).unwrap_or(WAIT),
            opened: Clock::start(),
        })
    }

    /// Tells whether lists and manifests may still come: they are small, and who sends them in drops is not waited for.
    fn in_time(&self) -> bool {
        self.opened.elapsed() < LISTING
    }

    /// Gives lists and manifests their time once more, for a command that comes back to them much later.
    pub fn again(&mut self) {
        self.opened = Clock::start();
    }

    /// Tells whether there are no tiers.
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Returns what the tiers list for `toolchain`, each starting point once. Whom a root names there is believed from now on.
    pub fn listed(
        &mut self,
        toolchain: &Toolchain,
        store: &Store,
        reporter: &Reporter,
        now_unix_s: i64,
    ) -> Vec<Listed> {
        let mut listed: Vec<Listed> = Vec::new();
        let key = head::key(toolchain);
        let wanted = self.keyring.wanted();
        let ask = |tier, key, limit| {
            let get = |tier: &dyn Tier| tier.get(key, limit, &|_| self.in_time());
            self.tiers.ask(tier, get)
        };
        let (ask, list) = (&ask, key.as_str());
        // All at once, so that several that do not answer cost one wait.
        let answers: Vec<_> = std::thread::scope(|scope| {
            let of = |tier| {
                let said = wanted
                    .as_deref()
                    .map(|key| scope.spawn(move || ask(tier, key, statement::MAX_BYTES)));
                let listed = scope.spawn(move || ask(tier, list, MAX_HEAD_BYTES as u64));
                (tier, said, listed)
            };
            let asked: Vec<_> = self.tiers.well().map(of).collect();
            let joined = asked.into_iter().map(|(tier, said, listed)| {
                let said = said.map(|one| one.join().expect("asking does not panic"));
                (tier, said, listed.join().expect("asking does not panic"))
            });
            joined.collect()
        });
        for (tier, said, _) in &answers {
            if let Some(said) = said {
                keyring::take(&mut self.keyring, tier.name(), said.clone(), reporter);
            }
        }
        for (tier, _, answer) in answers {
            let read = match answer {
                Ok(bytes) => self.read_head((tier, &key), &bytes, store, reporter, now_unix_s),
                Err(Trouble::Absent) => continue,
                Err(trouble) => Err(trouble.to_string()),
            };
            match read {
                Ok(more) => listed.extend(more),
                Err(why) => reporter.warn(&format!("{} is not used: {why}", tier.name())),
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
        (tier, key): (&dyn Tier, &str),
        bytes: &[u8],
        store: &Store,
        reporter: &Reporter,
        now_unix_s: i64,
    ) -> Result<Vec<Listed>, String> {
        let read = head::decode(bytes).map_err(|error| format!("its list {error}"))?;
        let believed = self.belief(tier);
        if believed.is_none() {
            trust::verify(&read.signed, &read.signatures, &self.keyring.here())
                .map_err(|error| error.to_string())?;
            let list = format!("{} {key}", tier.name());
            let last = store.sequence(&list);
            if last.is_some_and(|last| last > read.head.sequence) {
                return Err("its list is older than one that was seen before".to_owned());
            }
            // What cannot be kept is not noticed the next time.
            drop(store.put_sequence(&list, read.head.sequence));
        }
        let days = (now_unix_s - read.head.written_unix_s) / SECONDS_A_DAY;
        if days > STALE_DAYS {
            let name = tier.name();
            reporter.warn(&format!("nothing was published to {name} for {days} days"));
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

    /// Brings the manifests of those of `points` here that are not. What cannot be had, or is not believed today, leaves the
    /// list, with a line that says why.
    pub fn adopt_all(
        &self,
        points: &mut Vec<Point>,
        listed: &[Listed],
        store: &Store,
        reporter: &Reporter,
        now_unix_s: i64,
    ) {
        points.retain(|point| {
            let used = self.usable(point, listed, store, now_unix_s);
            if let Err(why) = &used {
                let commit = short(&point.commit);
                reporter.warn(&format!("the starting point {commit} is not used: {why}"));
            }
            used.is_ok()
        });
    }

    /// Brings the manifest of `point` here if it is not, or says why it is not to be had, or not to be believed today.
    pub fn usable(
        &self,
        point: &Point,
        listed: &[Listed],
        store: &Store,
        now_unix_s: i64,
    ) -> Result<(), String> {
        let of = |one: &&Listed| one.entry.point.manifest == point.manifest;
        let listed = listed.iter().find(of);
        match (store.has_manifest(point.manifest), listed) {
            (true, _) => self.still_believed(point, listed, store),
            (false, Some(listed)) => self.adopt(listed, store, now_unix_s),
            (false, None) => Ok(()),
        }
    }

    /// What came from a tier once is believed by its signatures and today's keys, not because it is here.
    fn still_believed(
        &self,
        point: &Point,
        listed: Option<&Listed>,
        store: &Store,
    ) -> Result<(), String> {
        let Some(signatures) = store.adopted(point.manifest) else {
            return Ok(());
        };
        if self.believes_all || listed.is_some_and(|one| one.believed.is_some()) {
            return Ok(());
        }
        let bytes = store.manifest_bytes(point.manifest);
        let bytes = bytes.map_err(|error| error.to_string())?;
        let Err(why) = self.verified(&bytes, &signatures, None) else {
            return Ok(());
        };
        // Somebody else may have signed it since.
        let newer = listed.map(|one| &one.entry.signatures);
        let Some(newer) = newer.filter(|newer| **newer != signatures) else {
            return Err(why);
        };
        self.verified(&bytes, newer, None)?;
        let keep = || store.put_adopted(&store.staging("adopt")?, point.manifest, newer);
        keep().map_err(|error: StoreError| error.to_string())
    }

    /// Brings the manifest of `listed` into the local store, with the index of its objects; or says why not.
    fn adopt(&self, listed: &Listed, store: &Store, now_unix_s: i64) -> Result<(), String> {
        let Entry {
            point,
            epoch,
            signatures,
        } = &listed.entry;
        let key = pack::bundle_key(*epoch, point.manifest);
        let damaged = |error: format::FormatError| Trouble::Unreachable(error.to_string());
        let bundle = self.tiers.find(
            |tier| tier.get(&key, MAX_BUNDLE_BYTES, &|_| self.in_time()),
            |bytes| {
                pack::split_bundle(&bytes, point.manifest).map_err(damaged)?;
                Ok(bytes)
            },
        );
        let bundle = bundle.map_err(|trouble| trouble.to_string())?;
        let (bytes, packed) =
            pack::split_bundle(&bundle, point.manifest).expect("it was split before");
        let manifest = self.verified(bytes, signatures, listed.believed.as_ref())?;
        let manifest = manifest.get();
        let same = manifest.commit == point.commit && manifest.toolchain == point.toolchain;
        if !same || manifest.dirty != point.dirty || manifest.part != point.part {
            return Err("it is another starting point than its list says".to_owned());
        }
        if manifest.not_after_unix_s < now_unix_s {
            return Err("it has expired".to_owned());
        }
        let index = pack::decode_index(packed, manifest);
        index.map_err(|error| format!("its index {error}"))?;
        let keep = || -> Result<(), StoreError> {
            let staging = store.staging("adopt")?;
            store.put_adopted(&staging, point.manifest, signatures)?;
            store.put_index(&staging, point.manifest, packed)?;
            store.put_manifest_bytes(&staging, bytes)?;
            store.put_point(&staging, point)
        };
        keep().map_err(|error| error.to_string())
    }

    fn verified(
        &self,
        bytes: &[u8],
        signatures: &[String],
        believed: Option<&Believed>,
    ) -> Result<Verified<Manifest>, String> {
        let manifest = format::decode(bytes).map_err(|error| format!("its manifest {error}"))?;
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
            true => format!("it is of the repository `{named}`, and {error}"),
            false => error.to_string(),
        })
    }

    /// Brings the objects at `objects` of a manifest here, unless compiling what needs them is quicker: `worth` is how long
    /// that takes. Tells whether asking again might bring more.
    pub fn fetch(
        &self,
        (manifest, index): (&Manifest, &Index),
        objects: &[usize],
        worth: Duration,
        (store, staging): (&Store, &Staging),
        reporter: &Reporter,
    ) -> bool {
        if let Some(why) = no_room((manifest, index), objects, store) {
            reporter.warn(&why);
            return true;
        }
        let size = index.stored_bytes(objects);
        let step = reporter.step("Fetching", size);
        let clock = Clock::start();
        let all = AtomicU64::new(0);
        let watch = |count| {
            step.done(count);
            let came = all.fetch_add(count, Ordering::Relaxed) + count;
            let elapsed = clock.elapsed();
            let rate = came as f64 / elapsed.as_secs_f64().max(0.001);
            let left = size.saturating_sub(came) as f64 / rate.max(1.0);
            elapsed <= self.wait || elapsed.as_secs_f64() + left <= worth.as_secs_f64()
        };
        let wanted = Wanted {
            manifest,
            index,
            objects,
        };
        let fetched = fetch::fetch(wanted, &self.tiers, store, staging, &watch);
        drop(step);
        if fetched.lacking > 0 {
            let commit = short(&manifest.commit);
            let why = match &fetched.trouble {
                Some(Trouble::Stopped) | None => {
                    "compiling is quicker than fetching them".to_owned()
                }
                Some(trouble) => trouble.to_string(),
            };
            let lacking = fetched.lacking;
            reporter.warn(&format!(
                "{lacking} objects of {commit} did not come: {why}"
            ));
        } else if !objects.is_empty() {
            let seconds = clock.elapsed().as_secs_f64();
            reporter.note(&format!("fetched {} in {seconds:.1} s", bytes(size)));
        }
        fetched.lacking > 0 && fetched.trouble != Some(Trouble::Absent)
    }
}

/// Returns how long nothing may come, as the user says it; none where they say nothing, or no time.
pub fn wait(environment: &Environment) -> Option<Duration> {
    let seconds = environment.text(WAIT_VAR)?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Says that the disk of `store` has no room for the objects at `objects` of `manifest`, if it has none.
fn no_room(
    (manifest, index): (&Manifest, &Index),
    objects: &[usize],
    store: &Store,
) -> Option<String> {
    let all = index.all_objects(manifest.objects());
    let needed: u64 = objects.iter().map(|at| all[*at].1).sum();
    let free = space::free_bytes(store.root())?;
    (free < needed).then(|| {
        let (needed, free, root) = (bytes(needed), bytes(free), store.root().display());
        let commit = short(&manifest.commit);
        format!(
            "nothing is fetched of {commit}: {root} needs {needed} for it, and has only {free} free"
        )
    })
}

/// Opens `remotes`; one that cannot be opened is passed over.
pub fn open_all(
    remotes: &[RemoteConfig],
    environment: &Environment,
    reporter: &Reporter,
) -> anyhow::Result<Vec<Box<dyn Tier>>> {
    if remotes.is_empty() {
        return Ok(Vec::new());
    }
    let warn = |why: String| reporter.warn(&why);
    let opened = open_each(remotes, environment)?.into_iter();
    Ok(opened.filter_map(|one| one.map_err(warn).ok()).collect())
}

/// Opens each of `remotes`, or says why not. Asks them nothing yet.
#[cfg(feature = "network")]
pub fn open_each(
    remotes: &[RemoteConfig],
    environment: &Environment,
) -> std::io::Result<Vec<Result<Box<dyn Tier>, String>>> {
    let opener = crate::remote::Opener::new(wait(environment).unwrap_or(WAIT))?;
    let open = |remote| match opener.open(remote, environment.of_providers()) {
        Ok(tier) => Ok(Box::new(tier) as Box<dyn Tier>),
        Err(error) => Err(error.to_string()),
    };
    Ok(remotes.iter().map(open).collect())
}

/// Says of each that this build has no network.
#[cfg(not(feature = "network"))]
pub fn open_each(
    remotes: &[RemoteConfig],
    _: &Environment,
) -> std::io::Result<Vec<Result<Box<dyn Tier>, String>>> {
    let why = |url| format!("{url} is not used: this headstart was built without network");
    Ok(remotes.iter().map(|one| Err(why(&one.url))).collect())
}
