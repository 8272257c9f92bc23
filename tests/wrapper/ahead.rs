//! What a start prepares while cargo still looks around, and the wrapper finds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use headstart::config::Environment;
use headstart::disk::walk;
use headstart::engine::ahead::{AHEAD_VAR, Ahead};
use headstart::model::Began;
use headstart_testkit::Output;

use crate::common::around::output;
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
        }
    }

    /// Compiles as cargo would have it that a start runs, which prepares in `dir`.
    fn compile_ahead(&self, dir: Option<&Path>) -> Output {
        let dir = dir.expect("something is prepared");
        output(self.command(&self.args(&[])).env(AHEAD_VAR, dir))
    }
}

/// Waits until `is_so`.
#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "nothing was prepared");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a session lies in `dir`, whole; its hash was asked before.
fn wait_until_prepared(dir: Option<&Path>) {
    let (dir, digits) = (dir.expect("something is prepared"), 64);
    until(|| walk::names(dir).any(|name| name.len() == digits));
}

/// A build would wait for each unit's probe and copy, one after the other, while a core has nothing to do.
#[test]
fn what_is_prepared_is_not_made_again() {
    let here = Here::new(&counting());
    here.seed(&here.arguments());
    here.ahead().during(|dir| {
        wait_until_prepared(dir);
        // Nothing else has the session now.
        fs::remove_dir_all(here.scratch.path("store/objects")).expect("it is there");
        let run = here.compile_ahead(dir);
        Here::shows_the_seed(&run);
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
    here.ahead().during(wait_until_prepared);
    let left = walk::names(&here.scratch.path("target/.headstart/tmp"));
    assert_eq!(left.count(), 0);
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
    here.ahead().during(|dir| {
        // It is removed by whoever reads it first.
        until(|| !object.exists());
        assert_eq!(here.compile_ahead(dir).stdout, "graph: \n");
    });
    assert_eq!(here.note().began, Began::SeedLost);
}

/// What an interrupted start has left may be torn: a power failure keeps names, not contents.
#[test]
fn what_another_start_prepared_is_not_taken() {
    let here = Here::new(&format!("{}; echo \"graph: $graph\"", counting()));
    here.seed(&here.arguments());
    here.ahead().during(|dir| {
        wait_until_prepared(dir);
        fs::remove_dir_all(here.scratch.path("store/objects")).expect("it is there");
        here.compile(&[]);
        assert_eq!(here.note().began, Began::SeedLost);
    });
}

/// Copies of what rustc does not begin from would cost a busy build time, and a disk room.
#[test]
fn nothing_is_prepared_in_vain() {
    let here = Here::new(&counting());
    here.seed(&here.arguments());
    let off = here.ahead();
    let off = Ahead {
        environment: off.environment.clone().with("HEADSTART_SEED", "off"),
        ..off
    };
    off.during(|dir| assert_eq!(dir, None));
    // rustc has a session of its own, which stays.
    let own = here
        .scratch
        .path("target/debug/incremental/foo-1/s-hoesqv6wan-1-x");
    fs::create_dir_all(&own).expect("it is ours");
    fs::write(own.with_file_name("s-hoesqv6wan-1.lock"), "").expect("it is ours");
    here.ahead()
        .during(|_| std::thread::sleep(Duration::from_millis(200)));
    assert!(!here.scratch.path("probes").exists());
}
