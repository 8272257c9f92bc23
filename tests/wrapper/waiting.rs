//! A session that another process fetches meanwhile.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headstart::disk::lock::Lock;
use headstart::model::{Began, Digest};
use headstart::store::Store;
use headstart_testkit::Output;

use crate::common;
use crate::common::driver::PROBE;
use crate::here::Here;

/// A unit that is edited while the rest of its starting point is being fetched would be compiled from nothing.
#[test]
fn a_session_on_its_way_is_waited_for() {
    let here = Here::new(&format!("{PROBE}printf '%s' \"$graph\""));
    let coming = Coming::of(&here, 600_000);
    let fetching = coming.fetching();
    let (run, answered) = coming.compile_until_asked(&here, || {
        let now = SystemTime::now();
        coming.comes();
        coming.store.answer(coming.graph);
        now
    });
    drop(fetching);
    assert!(run.stdout.contains("s-9ugxnorjls"), "{}", run.stdout);
    let note = here.note();
    assert!(matches!(note.began, Began::Seeded { .. }), "{note:?}");
    let answered = answered
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_millis();
    let started = u128::from(note.started_unix_ms);
    assert!(started >= answered, "waiting passes for compiling");
}

/// A build would hang for a session that nobody brings.
#[test]
fn a_fetch_that_ends_ends_the_waiting() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let coming = Coming::of(&here, 600_000);
    // Its process is gone; or it has tried, and the session did not come.
    for tried in [false, true] {
        let fetching = coming.fetching();
        let (run, fetching) = coming.compile_until_asked(&here, || {
            if tried {
                coming.store.answer(coming.graph);
            }
            tried.then_some(fetching)
        });
        drop(fetching);
        assert_eq!(run.stdout, "graph: \n");
        let began = here.note().began;
        match tried {
            false => assert_eq!(began, Began::SeedLost),
            true => assert_eq!(began, Began::SeedLate),
        }
        coming.store.answer(coming.graph);
    }
}

/// Each build without a network would wait for every session that was not fetched.
#[test]
fn nobody_waits_where_nobody_fetches() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let coming = Coming::of(&here, 600_000);
    let asks_nobody = |when: &str| {
        assert_eq!(here.compile(&[]).stdout, "graph: \n", "{when}");
        assert_eq!(here.note().began, Began::SeedLost, "{when}");
        assert!(!here.scratch.path("store/asked").exists(), "{when}");
    };
    asks_nobody("nobody ever fetched");
    drop(coming.fetching());
    asks_nobody("it was interrupted");
    coming.store.settle_rest(coming.manifest);
    asks_nobody("it has ended");
    let other = Digest::of(b"another manifest");
    let _fetching = coming.store.fetching(other, || ()).expect("it is ours");
    asks_nobody("another is fetched");
}

/// A slow network would make a build slower than without headstart.
#[test]
fn nobody_waits_longer_than_it_is_worth() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let coming = Coming::of(&here, 50);
    let _fetching = coming.fetching();
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::SeedLate);
    let asked = [(coming.graph, Duration::from_millis(50))];
    assert_eq!(
        coming.store.asked(coming.manifest),
        asked,
        "the next build is glad of it"
    );
}

/// A seed that is noted, and the object of its session not in the store yet.
struct Coming {
    store: Store,
    manifest: Digest,
    graph: Digest,
    content: Vec<u8>,
}

impl Coming {
    /// Notes a seed that is not in the store yet, for which a build may wait for `wait_ms`.
    fn of(here: &Here, wait_ms: u64) -> Coming {
        let graph = here.seed(&here.arguments());
        let store = Store::open(&here.scratch.path("store")).expect("it was made");
        let content = fs::read(store.object(graph)).expect("it is there");
        fs::remove_file(store.object(graph)).expect("it is ours");
        let ledger = here.ledger();
        let key = here.seed_key();
        let mut seed = ledger.seed(&key).expect("it was noted");
        seed.wait_ms = wait_ms;
        ledger.write_seed(&key, &seed).expect("it is ours");
        Coming {
            store,
            manifest: seed.manifest,
            graph,
            content,
        }
    }

    /// Fetches the rest of its starting point, as far as others can see.
    fn fetching(&self) -> Lock {
        let fetching = self.store.fetching(self.manifest, || ());
        fetching.expect("it is ours")
    }

    fn comes(&self) {
        let staging = self.store.staging("test").expect("it is ours");
        let object = (self.graph, self.content.len() as u64);
        let put = self.store.put_from(&staging, &self.content[..], object);
        put.expect("it is ours");
    }

    /// Compiles the unit, and calls `then` when the wrapper has asked for the session.
    fn compile_until_asked<T>(&self, here: &Here, then: impl FnOnce() -> T) -> (Output, T) {
        std::thread::scope(|scope| {
            let build = scope.spawn(|| here.compile(&[]));
            common::until("it is asked for", || self.store.is_asked(self.graph));
            let then = then();
            (build.join().expect("it ends"), then)
        })
    }
}
