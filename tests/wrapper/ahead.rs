//! What a start prepares while cargo still looks around, and the wrapper finds.

use std::fs;
use std::time::{Duration, Instant};

use headstart::config::Environment;
use headstart::engine::ahead::Ahead;
use headstart::model::Began;

use crate::common::driver::PROBE;
use crate::here::Here;

/// How long preparing may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A rustc that notes each probe, and shows the dep-graph that it begins from.
fn counting() -> String {
    let probe = PROBE.replace("for arg in", "echo probe >> probes; for arg in");
    format!("{probe}cat \"$graph\"")
}

impl Here {
    fn ahead(&self) -> Ahead {
        let environment = Environment::of_process().expect("there is one");
        let environment = environment.at(self.scratch.root());
        Ahead {
            build: self.scratch.path("target"),
            rustc: self.rustc.clone(),
            environment: environment.with("CARGO_HOME", "/home/u/.cargo"),
            keys: vec![self.seed_key()],
            answers: None,
        }
    }

    /// How many files there are in a directory of the ledger.
    fn noted(&self, dir: &str) -> usize {
        let dir = self.scratch.path("target/.headstart").join(dir);
        fs::read_dir(dir).map_or(0, Iterator::count)
    }

    fn wait_until_prepared(&self) {
        let begun = Instant::now();
        while self.noted("ahead") == 0 {
            assert!(begun.elapsed() < PATIENCE, "nothing was prepared");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A build would wait for each unit's probe and copy, one after the other, while a core has nothing to do.
#[test]
fn what_is_prepared_is_not_made_again() {
    let here = Here::new(&counting());
    here.seed(&here.arguments());
    here.ahead().during(|| {
        here.wait_until_prepared();
        // Nothing else has the session now.
        fs::remove_dir_all(here.scratch.path("store/objects")).expect("it is there");
        let run = here.compile(&[]);
        assert_eq!(
            run.stdout, "RSIC\0\0\u{4}1.95hereHASHnodes 0123456789abcdef nodes",
            "{}",
            run.stderr
        );
    });
    let began = here.note().began;
    assert!(matches!(began, Began::Seeded { .. }), "{began:?}");
    let probes = fs::read_to_string(here.scratch.path("probes")).expect("there was one");
    assert_eq!(probes, "probe\n", "the wrapper asked for something else");
}

/// What cargo does not come to would stay, a quarter of a gigabyte in each clone.
#[test]
fn what_is_not_taken_is_removed() {
    let here = Here::new(&counting());
    here.seed(&here.arguments());
    here.ahead().during(|| here.wait_until_prepared());
    assert_eq!((here.noted("ahead"), here.noted("tmp")), (0, 0));
}

/// A session that is damaged in the store would come into the build by this way.
#[test]
fn what_is_damaged_is_not_prepared() {
    let here = Here::new(&format!("{}; echo \"graph: $graph\"", counting()));
    let graph = here.seed(&here.arguments()).hex();
    let object = here.scratch.path("store/objects").join(&graph[..2]);
    let object = object.join(&graph);
    fs::remove_file(&object).expect("it is there");
    fs::write(&object, "RSIC, but another").expect("it is ours");
    here.ahead().during(|| {
        let begun = Instant::now();
        // It is removed by whoever reads it first.
        while object.exists() {
            assert!(begun.elapsed() < PATIENCE, "nobody has read it");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(here.compile(&[]).stdout, "graph: \n");
    });
    assert_eq!(here.note().began, Began::SeedLost);
}
