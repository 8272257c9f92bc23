//! A store on disk, with the real inventory, plan and sweep. Others go on before each file that a sweep looks at.
//!
//! What is written gets the time of the test's clock, which stands in the past: whatever is of this century's later years was just
//! written.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headstart::disk::place::PLAIN;
use headstart::model::{Digest, Manifest, retention};
use headstart::store::collect::Inventory;
use headstart::store::point::Point;
use headstart::store::{ObjectError, Store};
use headstart_testkit::Scratch;
use proptest::prelude::*;

use crate::{DAY_S, HOUR_S, MINUTE_S, OBJECTS, content, manifest};

/// How long a publisher may take from the first object that it relies on to its manifest, and a reader from its note to its last
/// object. This is what the rule promises; the test does not take it from the rule.
const MARGIN_S: i64 = HOUR_S;
const BEGIN: i64 = 1_000_000_000;

/// One thing that happens; numbers choose among those that could, counted from the newest.
#[derive(Clone, Debug)]
enum Event {
    Passes(i64),
    Publishes {
        objects: u8,
        fetches: bool,
    },
    Publisher(usize),
    Finishes(usize),
    Starts(usize),
    Reader(usize),
    Collects {
        max_bytes: u64,
        meanwhile: Vec<Event>,
    },
}

/// Returns one thing that happens while nobody, or somebody, collects.
fn simple() -> impl Strategy<Value = Event> + Clone {
    let times = [1, 10, 29, 31, 59, 61, 125, 3 * 24 * 60, 100 * 24 * 60];
    let which = 0..6_usize;
    let passes = prop::sample::select(times.to_vec());
    let publishes = (1..1_u8 << OBJECTS, any::<bool>());
    prop_oneof![
        4 => passes.prop_map(|minutes| Event::Passes(minutes * MINUTE_S)),
        3 => publishes.prop_map(|(objects, fetches)| Event::Publishes { objects, fetches }),
        3 => which.clone().prop_map(Event::Publisher),
        3 => which.clone().prop_map(Event::Finishes),
        2 => which.clone().prop_map(Event::Starts),
        3 => which.prop_map(Event::Reader),
    ]
}

fn collects() -> impl Strategy<Value = Event> {
    let limits = prop::sample::select(vec![0, 100, 300, 600, 10_000]);
    let meanwhile = prop::collection::vec(simple(), 0..12);
    (limits, meanwhile).prop_map(|(max_bytes, meanwhile)| Event::Collects {
        max_bytes,
        meanwhile,
    })
}

/// Returns what happens: anything, and in between what has the most to lose. Somebody starts from what was published long ago,
/// and somebody collects before all is placed.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let several = || {
        let event = prop_oneof![3 => simple(), 1 => collects()];
        prop::collection::vec(event, 0..16)
    };
    let long_ago = vec![
        Event::Publishes {
            objects: 3,
            fetches: false,
        },
        Event::Finishes(0),
        Event::Passes(2 * HOUR_S),
    ];
    let start = vec![Event::Starts(0)];
    let collect = prop::collection::vec(collects(), 1);
    let place = vec![Event::Reader(0), Event::Reader(0)];
    let begin = (several(), Just(long_ago), several(), Just(start));
    let end = (several(), collect, Just(place), several());
    (begin, end).prop_map(|((a, b, c, d), (e, f, g, h))| [a, b, c, d, e, f, g, h].concat())
}

/// A publisher; or a fetch, which has its manifest first.
struct Publisher {
    manifest: Manifest,
    fetches: bool,
    done: usize,
    /// When it first relied on an object.
    relied: i64,
}

struct Reader {
    manifest: Manifest,
    noted: i64,
    done: usize,
}

struct World<'a> {
    place: &'a Scratch,
    store: Store,
    now: i64,
    commits: usize,
    publishers: Vec<Publisher>,
    readers: Vec<Reader>,
    /// Manifests whose objects are all there as long as they are.
    whole: BTreeSet<Digest>,
}

impl World<'_> {
    fn new(place: &Scratch) -> World<'_> {
        let world = World {
            store: Store::create(&place.path("store")).expect("it is ours"),
            place,
            now: BEGIN,
            commits: 0,
            publishers: Vec::new(),
            readers: Vec::new(),
            whole: BTreeSet::new(),
        };
        world.settle();
        world
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Passes(seconds) => self.now += seconds,
            Event::Publishes { objects, fetches } => {
                self.commits += 1;
                self.publishers.push(Publisher {
                    manifest: manifest(self.commits, objects, self.now),
                    fetches,
                    done: 0,
                    relied: self.now,
                });
            }
            Event::Publisher(which) => drop(self.publisher(which)),
            Event::Finishes(which) => while self.publisher(which) {},
            Event::Starts(which) => self.start(which),
            Event::Reader(which) => self.read(which),
            Event::Collects { .. } => unreachable!("it happens to a world that is shared"),
        }
        self.settle();
    }

    /// A publisher does one thing; tells whether it has more to do.
    fn publisher(&mut self, which: usize) -> bool {
        let Some(newest) = self.publishers.len().checked_sub(1) else {
            return false;
        };
        let at = newest.saturating_sub(which);
        let one = &mut self.publishers[at];
        let objects = one.manifest.objects();
        let staging = self.store.staging("test").expect("it is ours");
        let object = |(digest, size_bytes): (Digest, u64)| {
            let relied = self.store.has(digest, size_bytes) && self.store.rely_on(digest);
            let bytes = (0..OBJECTS)
                .map(content)
                .find(|bytes| Digest::of(bytes) == digest);
            let bytes = bytes.expect("there are no others");
            let put = || {
                self.store
                    .put_from(&staging, &bytes[..], (digest, size_bytes))
            };
            relied || put().is_ok()
        };
        let list = || {
            let name = self
                .store
                .put_manifest(&staging, &one.manifest)
                .expect("it is ours");
            let point = Point::new(&one.manifest, name);
            self.store.put_point(&staging, &point).expect("it is ours");
            name
        };
        let (first, last) = (one.done == 0, one.done == objects.len());
        one.done += 1;
        let ended = match (one.fetches, first, last) {
            (true, true, _) => {
                list();
                false
            }
            // The first was the manifest.
            (true, ..) => {
                assert!(object(objects[one.done - 2]));
                last
            }
            (false, _, false) => {
                if first {
                    one.relied = self.now;
                }
                assert!(object(objects[one.done - 1]));
                false
            }
            (false, _, true) => {
                let name = list();
                if self.now - one.relied <= MARGIN_S {
                    self.whole.insert(name);
                }
                true
            }
        };
        if ended {
            let ended = self.publishers.remove(at);
            if ended.fetches {
                let bytes = format_of(&ended.manifest);
                self.whole.insert(Digest::of(&bytes));
            }
        }
        !ended
    }

    fn start(&mut self, which: usize) {
        let points = self.store.all_points();
        let Some(point) = which.checked_rem(points.len()).map(|at| &points[at]) else {
            return;
        };
        self.store.note_use(point.manifest);
        let Ok(manifest) = self.store.manifest(point.manifest) else {
            return;
        };
        if manifest.not_after_unix_s >= self.now && self.whole.contains(&point.manifest) {
            self.readers.push(Reader {
                manifest,
                noted: self.now,
                done: 0,
            });
        }
    }

    fn read(&mut self, which: usize) {
        let Some(newest) = self.readers.len().checked_sub(1) else {
            return;
        };
        let at = newest.saturating_sub(which);
        let one = &mut self.readers[at];
        let Some((digest, _)) = one.manifest.objects().get(one.done).copied() else {
            self.readers.remove(at);
            return;
        };
        one.done += 1;
        let staging = self.store.staging("test").expect("it is ours");
        let path = self.place.path("placed");
        match self.store.get(digest, &staging, &path, PLAIN) {
            Ok(()) => {
                let bytes = fs::read(&path).expect("it was placed");
                assert_eq!(Digest::of(&bytes), digest, "another file was placed");
            }
            Err(ObjectError::Missing(_)) if self.now - one.noted > MARGIN_S => {}
            Err(error) => panic!("{error}, {} s after the note", self.now - one.noted),
        }
    }

    /// What was just written gets the time of the test's clock.
    fn settle(&self) {
        let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(self.now).expect("after 1970"));
        let limit = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        date(self.store.root(), limit, now);
    }

    /// Every manifest that is still there has all its objects.
    fn is_whole(&self) {
        for name in &self.whole {
            let Ok(manifest) = self.store.manifest(*name) else {
                continue;
            };
            for (digest, size_bytes) in manifest.objects() {
                let commit = &manifest.commit;
                assert!(
                    self.store.has(digest, size_bytes),
                    "{commit} lost an object"
                );
            }
        }
    }
}

fn format_of(manifest: &Manifest) -> Vec<u8> {
    headstart::store::format::encode(manifest)
}

fn date(dir: &Path, limit: SystemTime, now: SystemTime) {
    for entry in fs::read_dir(dir).expect("it is ours").flatten() {
        let meta = entry.metadata().expect("nobody else is here");
        if meta.is_dir() {
            date(&entry.path(), limit, now);
        } else if meta.modified().expect("it has one") > limit {
            let file = File::open(entry.path()).expect("it is ours");
            file.set_modified(now).expect("it is ours");
        }
    }
}

/// Collects while `meanwhile` happens, one event before each file.
fn collect(world: &RefCell<World<'_>>, max_bytes: u64, meanwhile: &[Event]) {
    let rest = RefCell::new(meanwhile.iter());
    let (store, now) = {
        let world = world.borrow();
        let store = Store::open(world.store.root()).expect("it is there");
        (store, world.now)
    };
    let inventory: Inventory = store.inventory(&|| {}).expect("it can be read");
    let plan = retention::plan(&inventory.held, &inventory.objects, max_bytes, now);
    let before = || {
        if let Some(event) = rest.borrow_mut().next() {
            world.borrow_mut().happens(event);
        }
    };
    store
        .sweep(&inventory, &plan, now, &before)
        .expect("it can be swept");
    world.borrow().is_whole();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    /// A start would lose what it has begun to place, a publish would name what is not there, or somebody would get another file;
    /// wherever one of them is stopped, collectors included.
    #[test]
    fn what_is_relied_on_stays(events in events()) {
        let place = Scratch::new();
        let world = RefCell::new(World::new(&place));
        for event in &events {
            match event {
                Event::Collects { max_bytes, meanwhile } => collect(&world, *max_bytes, meanwhile),
                event => world.borrow_mut().happens(event),
            }
        }
        // In the end all of it can go.
        world.borrow_mut().happens(&Event::Passes(DAY_S));
        collect(&world, 0, &[]);
        let inventory = world.borrow().store.inventory(&|| {}).expect("it can be read");
        prop_assert!(inventory.held.is_empty() && inventory.objects.is_empty());
        prop_assert!(world.borrow().store.all_points().is_empty());
    }
}
