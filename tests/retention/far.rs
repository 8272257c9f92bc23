//! A tier in memory, with the real writer, the real fetch and the real collector.
//!
//! Writers run in threads, and wait before each request until the test lets them make it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use bytes::Bytes;
use headstart::model::epoch::Epoch;
use headstart::model::{Digest, Manifest};
use headstart::report::Reporter;
use headstart::store::head::{self, Entry};
use headstart::store::pack::{self, Index};
use headstart::store::point::Point;
use headstart::store::{Store, format};
use headstart::tier::{Listed, Listing, Replaced, Tier, Tiers, Trouble, Watch};
use headstart::travel::collect::{self, Over};
use headstart::travel::fetch::{Keep, Wanted, fetch, lacking};
use headstart::travel::list::Signer;
use headstart::travel::push::push;
use headstart_testkit::Scratch;
use proptest::prelude::*;

use crate::{DAY_S, FILES, HOUR_S, KEEP_DAYS, OBJECTS, content, manifest, toolchain};

/// How long a reader may take from its look at `not_after` to its last request, less what its clock is behind the collector's.
/// This is what the rule promises; the test does not take it from the rule.
const MARGIN_S: i64 = 7 * DAY_S;
/// How long a week may be over that a writer refers to.
const REFERRED_DAYS: i64 = 14;
/// How wrong the clocks of readers and collectors are.
const SKEW_S: i64 = 2 * DAY_S;
/// How wrong those of writers are: by any amount, as nothing depends on them.
const WRITER_SKEW_S: i64 = 40 * DAY_S;
/// A Monday, and the first second of an epoch.
const BEGIN: i64 = 1_795_392_000;

/// What a tier holds.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A tier as one process sees it.
#[derive(Clone, Debug, Default)]
struct Sky {
    files: Files,
    gate: Option<Arc<Gate>>,
}

impl Sky {
    fn files(&self) -> Result<MutexGuard<'_, BTreeMap<String, Vec<u8>>>, Trouble> {
        self.gate.as_ref().map_or(Ok(()), |gate| gate.pass())?;
        Ok(self.files.lock().expect("no test panics here"))
    }
}

impl Tier for Sky {
    fn name(&self) -> &str {
        "sky"
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn directory(&self) -> Option<&Path> {
        None
    }

    fn get(&self, key: &str, _: u64, _: Watch<'_>) -> Result<Vec<u8>, Trouble> {
        self.files()?.get(key).cloned().ok_or(Trouble::Absent)
    }

    fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
        watch: Watch<'_>,
    ) -> Result<Vec<u8>, Trouble> {
        let at = |at: u64| usize::try_from(at).expect("it is small");
        Ok(self.get(key, 0, watch)?[at(range.start)..at(range.end)].to_vec())
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), Trouble> {
        self.files()?.insert(key.to_owned(), bytes.into());
        Ok(())
    }

    fn replace(&self, key: &str, _: Option<&[u8]>, bytes: Vec<u8>) -> Result<Replaced, Trouble> {
        self.put(key, bytes.into()).map(|()| Replaced::Blindly)
    }

    fn list(&self, key: &str) -> Result<Listing, Trouble> {
        let mut listing = Listing::default();
        for (path, bytes) in self.files()?.iter() {
            let Some(rest) = path
                .strip_prefix(key)
                .and_then(|rest| rest.strip_prefix('/'))
            else {
                continue;
            };
            match rest.split_once('/') {
                None => listing.files.push(Listed {
                    name: rest.to_owned(),
                    bytes: bytes.len() as u64,
                    written_unix_s: i64::MAX,
                }),
                Some((dir, _)) => listing.dirs.push(dir.to_owned()),
            }
        }
        listing.dirs.dedup();
        Ok(listing)
    }

    fn remove(&self, keys: &[String], removed: &dyn Fn()) -> Result<(), Trouble> {
        for key in keys {
            self.files()?.remove(key);
            removed();
        }
        Ok(())
    }

    fn put_new(&self, _: &str, _: Vec<u8>) -> Result<bool, Trouble> {
        Err(Trouble::Denied("nobody asks that".to_owned()))
    }

    fn told_unix_s(&self) -> Option<i64> {
        None
    }
}

/// Where a process waits for its turn.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Waiting,
    Killed,
    Ended,
}

impl Gate {
    fn pass(&self) -> Result<(), Trouble> {
        let mut state = self.state.lock().expect("no test panics here");
        if *state != State::Killed {
            *state = State::Waiting;
            self.changed.notify_all();
        }
        let waits = |state: &mut State| *state == State::Waiting;
        state = self
            .changed
            .wait_while(state, waits)
            .expect("no test panics here");
        match *state {
            State::Killed => Err(Trouble::Denied("killed".to_owned())),
            _ => Ok(()),
        }
    }

    /// Lets the process make one request, and waits until it would make the next; tells whether there is one.
    fn step(&self) -> bool {
        let mut state = self.state.lock().expect("no test panics here");
        let runs = |state: &mut State| *state == State::Running;
        state = self
            .changed
            .wait_while(state, runs)
            .expect("no test panics here");
        if *state == State::Ended {
            return false;
        }
        *state = State::Running;
        self.changed.notify_all();
        state = self
            .changed
            .wait_while(state, runs)
            .expect("no test panics here");
        *state != State::Ended
    }

    fn set(&self, to: State) {
        *self.state.lock().expect("no test panics here") = to;
        self.changed.notify_all();
    }
}

/// A reader that has taken a starting point for one that it may use.
struct Reader {
    manifest: Manifest,
    index: Index,
    /// Until when it must have fetched.
    deadline: i64,
}

/// Everything in one case.
struct World<'a> {
    place: &'a Scratch,
    now: i64,
    sky: Sky,
    commits: usize,
    writers: Vec<(Arc<Gate>, JoinHandle<()>)>,
    readers: Vec<Reader>,
    collectors: Vec<Over>,
}

/// One thing that happens; numbers choose among those that could.
#[derive(Clone, Debug)]
enum Event {
    Passes(i64),
    /// Until the last second of a starting point that is listed.
    LastsTo(usize),
    /// Until the last second in which the packs of a week may be referred to.
    RefersTo(usize),
    Writes {
        objects: u8,
        skew_s: i64,
    },
    Requests(usize),
    Finishes(usize),
    Looks {
        skew_s: i64,
    },
    Fetches,
    Lists {
        skew_s: i64,
    },
    Sweeps {
        files: usize,
    },
}

/// Returns a few things that happen, in any order.
fn several() -> impl Strategy<Value = Vec<Event>> {
    let days = prop::sample::select(vec![0, 1, 3, 6, 7, 14, 50]);
    let passes = (days, -2 * HOUR_S..2 * HOUR_S);
    let passes = passes.prop_map(|(days, more)| vec![Event::Passes((days * DAY_S + more).max(0))]);
    let which = 0..4_usize;
    // Some of one file and some of another, and the same file as it was and as it is.
    let objects = prop::sample::select(vec![1, 2, 3, 1 << FILES, 2 << FILES, 3 << FILES, 9]);
    let writes = (objects, skew(WRITER_SKEW_S))
        .prop_map(|(objects, skew_s)| Event::Writes { objects, skew_s });
    let published = |writes| vec![writes, Event::Finishes(0)];
    let looks = skew(SKEW_S).prop_map(|skew_s| Event::Looks { skew_s });
    let looks_late = |(which, looks)| vec![Event::LastsTo(which), looks];
    let lists = skew(SKEW_S).prop_map(|skew_s| Event::Lists { skew_s });
    let one = |event| vec![event];
    let group = prop_oneof![
        3 => passes,
        2 => which.clone().prop_map(|which| vec![Event::RefersTo(which)]),
        3 => writes.clone().prop_map(published),
        2 => writes.prop_map(one),
        2 => which.clone().prop_map(|which| vec![Event::Requests(which)]),
        2 => which.clone().prop_map(|which| vec![Event::Finishes(which)]),
        2 => looks.clone().prop_map(one),
        2 => (which, looks).prop_map(looks_late),
        1 => Just(vec![Event::Fetches]),
        3 => lists.prop_map(one),
        3 => (0..9_usize).prop_map(|files| vec![Event::Sweeps { files }]),
    ];
    prop::collection::vec(group, 0..10).prop_map(|groups| groups.concat())
}

/// Most clocks are right.
fn skew(most: i64) -> impl Strategy<Value = i64> + Clone {
    prop_oneof![3 => Just(0), 1 => -most..=most]
}

/// Returns what happens: anything, and in between what has the most to lose. A starting point refers to a week that is nearly too
/// old, somebody looks at it when it has nearly expired, and fetches when somebody has collected.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let write = |objects| Event::Writes { objects, skew_s: 0 };
    let published = vec![write(1), Event::Finishes(0)];
    // As it was, or as a delta to that.
    let late = prop::sample::select(vec![1, 1 << FILES]);
    let late =
        late.prop_map(move |objects| vec![Event::RefersTo(0), write(objects), Event::Finishes(0)]);
    let looks = skew(SKEW_S).prop_map(|skew_s| vec![Event::LastsTo(0), Event::Looks { skew_s }]);
    let waits = (0..5 * DAY_S).prop_map(|seconds| vec![Event::Passes(seconds)]);
    let collected = skew(SKEW_S).prop_map(|skew_s| {
        let all = Event::Sweeps { files: usize::MAX };
        vec![Event::Lists { skew_s }, all.clone(), all, Event::Fetches]
    });
    let begin = (several(), Just(published), several(), late);
    let end = (looks, several(), waits, collected, several());
    (begin, end).prop_map(|((a, b, c, d), (e, f, g, h, i))| [a, b, c, d, e, f, g, h, i].concat())
}

impl World<'_> {
    fn new(place: &Scratch) -> World<'_> {
        let store = Store::create(&place.path("writer")).expect("it is ours");
        let staging = store.staging("test").expect("it is ours");
        for object in 0..OBJECTS {
            let bytes = content(object);
            let name = (Digest::of(&bytes), bytes.len() as u64);
            store
                .put_from(&staging, &bytes[..], name)
                .expect("it is ours");
        }
        World {
            place,
            now: BEGIN,
            sky: Sky::default(),
            commits: 0,
            writers: Vec::new(),
            readers: Vec::new(),
            collectors: Vec::new(),
        }
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Passes(seconds) => self.passes(self.now + seconds),
            Event::LastsTo(which) => {
                let listed = self.listed();
                if let Some(at) = which.checked_rem(listed.len()) {
                    self.passes(listed[at].point.not_after_unix_s);
                }
            }
            Event::RefersTo(which) => {
                let mut weeks = self.sky.list("v1/packs").expect("it can be listed").dirs;
                weeks.reverse();
                if let Some(at) = which.checked_rem(weeks.len()) {
                    let epoch = Epoch::parse(&weeks[at]).expect("it is one");
                    let days = REFERRED_DAYS - epoch.days_over(self.now);
                    let midnight = (self.now / DAY_S + 1 + days) * DAY_S;
                    self.passes(midnight - 1);
                }
            }
            Event::Writes { objects, skew_s } => self.write(objects, skew_s),
            Event::Requests(which) => drop(self.request(which)),
            Event::Finishes(which) => while self.request(which) {},
            Event::Looks { skew_s } => self.look(skew_s),
            Event::Fetches => {
                let all = std::mem::take(&mut self.readers);
                self.fetch(all);
            }
            Event::Lists { skew_s } => {
                let over = collect::over(&self.sky, KEEP_DAYS, self.now + skew_s);
                self.collectors.push(over.expect("it can be listed"));
            }
            Event::Sweeps { files } => {
                if let Some(over) = self.collectors.first_mut() {
                    let rest = over.keys.split_off(files.min(over.keys.len()));
                    collect::remove(&self.sky, over, &Reporter::new(true))
                        .expect("it can be removed");
                    over.keys = rest;
                }
                self.collectors.retain(|over| !over.keys.is_empty());
            }
        }
    }

    /// Lets the clock go on to `to`, unless it is later already.
    fn passes(&mut self, to: i64) {
        self.now = self.now.max(to);
        // Nothing happened meanwhile: fetched now is fetched in time.
        let readers = self.readers.drain(..);
        let (due, rest) = readers.partition(|one| one.deadline < self.now);
        self.readers = rest;
        self.fetch(due);
    }

    fn listed(&self) -> Vec<Entry> {
        let head = self.sky.get(&head::key(&toolchain()), u64::MAX, &|_| true);
        let read = |bytes: Vec<u8>| head::decode(&bytes).expect("it is whole").head.entries;
        head.map(read).unwrap_or_default()
    }

    /// One of the writers, counted from the newest, makes a request; tells whether it has more to make.
    fn request(&mut self, which: usize) -> bool {
        let Some(newest) = self.writers.len().checked_sub(1) else {
            return false;
        };
        let at = newest.saturating_sub(which);
        let goes_on = self.writers[at].0.step();
        if !goes_on {
            drop(self.writers.remove(at).1.join());
        }
        goes_on
    }

    /// A writer has looked at the clock, and is about to make its first request.
    fn write(&mut self, objects: u8, skew_s: i64) {
        self.commits += 1;
        let now = self.now + skew_s;
        let store = Store::open(&self.place.path("writer")).expect("it is there");
        let manifest = manifest(self.commits, objects, now);
        let staging = store.staging("test").expect("it is ours");
        let name = store.put_manifest(&staging, &manifest).expect("it is ours");
        let point = Point::new(&manifest, name);
        let gate = Arc::new(Gate::default());
        let sky = Sky {
            gate: Some(gate.clone()),
            ..self.sky.clone()
        };
        let own = gate.clone();
        let run = move || {
            let signer = Signer::default();
            // Others may have replaced its list four times.
            drop(push(&sky, &store, &point, Some(&signer), now));
            own.set(State::Ended);
        };
        self.writers.push((gate, std::thread::spawn(run)));
    }

    /// A reader takes every starting point that is listed and has not expired by its clock.
    fn look(&mut self, skew_s: i64) {
        let now = self.now + skew_s;
        let get = |key: &str| self.sky.get(key, u64::MAX, &|_| true);
        for entry in self.listed() {
            if entry.point.not_after_unix_s < now {
                continue;
            }
            let bundle = get(&pack::bundle_key(entry.epoch, entry.point.manifest));
            let bundle =
                bundle.unwrap_or_else(|_| panic!("the manifest of {} is gone", entry.point.commit));
            let (bytes, packed) =
                pack::split_bundle(&bundle, entry.point.manifest).expect("it is whole");
            let manifest = format::decode(bytes).expect("it is whole");
            assert_eq!(manifest.not_after_unix_s, entry.point.not_after_unix_s);
            let index = pack::decode_index(packed, &manifest).expect("it is whole");
            self.readers.push(Reader {
                manifest,
                index,
                // Its clock may be behind, and the collector's ahead.
                deadline: self.now + MARGIN_S + skew_s - SKEW_S,
            });
        }
    }

    fn fetch(&self, readers: Vec<Reader>) {
        for reader in readers {
            let root = self.place.path("reader");
            let store = Store::create(&root).expect("it is ours");
            let staging = store.staging("test").expect("it is ours");
            let all = reader.manifest.objects();
            let wanted = Wanted {
                index: &reader.index,
                all: &reader.index.all_objects(&reader.manifest),
                objects: &lacking(
                    (&reader.manifest, &reader.index),
                    &store,
                    all.iter().map(|one| one.0),
                ),
                asked: None,
            };
            let tiers = Tiers::new([&self.sky as &dyn Tier]);
            let keep = Keep {
                store: &store,
                staging: &staging,
                arrivals: None,
            };
            let fetched = fetch(wanted, &tiers, keep, &|_| true);
            let commit = &reader.manifest.commit;
            assert_eq!(
                fetched.lacking, 0,
                "a pack of {commit} is gone, {:?}",
                fetched.trouble
            );
            for (digest, _) in all {
                let bytes = fs::read(store.object(digest)).expect("it came");
                assert_eq!(Digest::of(&bytes), digest, "another file came");
            }
            drop(staging);
            fs::remove_dir_all(root).expect("it is ours");
        }
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        for (gate, thread) in self.writers.drain(..) {
            let ended = thread.is_finished();
            if !ended {
                gate.set(State::Killed);
            }
            drop(thread.join());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// A start would believe what cannot be had any more, and compile everything, or get another file than it asked for;
    /// whoever is stopped, wherever, and however long.
    #[test]
    fn what_may_be_used_is_there(events in events()) {
        let place = Scratch::new();
        let mut world = World::new(&place);
        for event in &events {
            world.happens(event);
        }
    }
}

/// The longest that the rule allows at every step: a pack of a week that is just not over for too long, a writer that is stopped
/// and publishes at the end, a reader that looks in the last second and takes as long as it may.
#[test]
fn the_last_moment_is_early_enough() {
    for stopped_s in [0, 80 * DAY_S] {
        let place = Scratch::new();
        let mut world = World::new(&place);
        world.happens(&Event::Writes {
            objects: 1,
            skew_s: 0,
        });
        world.happens(&Event::Finishes(0));
        world.now = BEGIN + 7 * DAY_S + 15 * DAY_S - 1;
        let written = world.now;
        world.happens(&Event::Writes {
            objects: 1,
            skew_s: 0,
        });
        for _ in 0..2 {
            world.happens(&Event::Requests(0));
        }
        world.now += stopped_s;
        world.happens(&Event::Finishes(0));
        let packs = world.sky.list("v1/packs").expect("it can be listed");
        assert_eq!(packs.dirs.len(), 1, "it was written again");
        world.now = written + i64::from(KEEP_DAYS) * DAY_S;
        world.happens(&Event::Looks { skew_s: 0 });
        assert_eq!(
            world.readers.len(),
            1,
            "the first has expired, the second not"
        );
        world.now += MARGIN_S;
        world.happens(&Event::Lists { skew_s: 0 });
        world.happens(&Event::Sweeps { files: 9 });
        world.happens(&Event::Fetches);
        world.now += 2 * DAY_S;
        world.happens(&Event::Lists { skew_s: 0 });
        world.happens(&Event::Sweeps { files: 9 });
        let packs = world.sky.list("v1/packs").expect("it can be listed");
        assert_eq!(packs.dirs.len(), 0, "it is kept for ever");
    }
}

/// A pack would be collected while a starting point that refers to it may be used.
#[test]
fn what_is_too_old_to_refer_to_is_written_again() {
    let place = Scratch::new();
    let mut world = World::new(&place);
    for (now, weeks) in [
        (BEGIN, 1),
        (BEGIN + 22 * DAY_S - 1, 1),
        (BEGIN + 22 * DAY_S, 2),
    ] {
        world.now = now;
        world.happens(&Event::Writes {
            objects: 1,
            skew_s: 0,
        });
        world.happens(&Event::Finishes(0));
        let packs = world.sky.list("v1/packs").expect("it can be listed");
        assert_eq!(packs.dirs.len(), weeks, "at {now}");
    }
}

/// A delta would be there when the pack of its base is collected.
#[test]
fn a_base_is_as_young_as_what_refers_to_it() {
    let place = Scratch::new();
    let mut world = World::new(&place);
    let second = 1 << FILES;
    for (days, objects, deltas) in [(0, 1, 0), (13, second, 1), (21, second, 1), (22, second, 0)] {
        world.now = BEGIN + days * DAY_S;
        let skew_s = 0;
        world.happens(&Event::Writes { objects, skew_s });
        world.happens(&Event::Finishes(0));
        world.readers.clear();
        world.look(skew_s);
        let now = world.now;
        let of_now = |reader: &&Reader| reader.manifest.published_unix_s == now;
        let index = &world
            .readers
            .iter()
            .find(of_now)
            .expect("it is listed")
            .index;
        let are = index.frames.iter().filter(|frame| frame.delta.is_some());
        assert_eq!(are.count(), deltas, "after {days} days");
    }
}
