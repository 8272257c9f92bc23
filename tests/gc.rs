//! `headstart gc` on a store: what goes, what stays, and that nobody's build suffers.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use headstart_testkit::Workspace;
use serde_json::Value;

use common::around::output;
use common::chain::{Chain, builds_right, cut, prints, read, refused, write};
use common::{publish, runner};

/// Longer than anything is left alone for having been used.
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a process of its own may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes everything below `dir` look as if nobody had used it lately.
fn age(dir: &Path) {
    let then = SystemTime::now() - IDLE;
    for path in files(dir) {
        let file = File::open(&path).expect("it is ours");
        file.set_modified(then).expect("it is ours");
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn gc(chain: &Chain, args: &[&str]) -> Value {
    let args = [&["gc", "--json"], args].concat();
    let said = chain.run(chain.source.root(), &args).succeeded().json();
    assert_eq!(said["remotes"], serde_json::json!([]));
    said["store"].clone()
}

/// Publishes the chain, and its next commit, which prints 13.
fn two_commits() -> Chain {
    let chain = Chain::published();
    chain.source.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    chain.source.commit("next");
    chain.publish_again();
    chain
}

/// Publishes the chain such that no start may use it any more.
fn expired() -> Chain {
    let chain = Chain::unpublished();
    let publish = ["publish", "--keep-days", "0"];
    chain.run(chain.source.root(), &publish).succeeded();
    // It may be used in the second in which publishing began, and a fast machine is still in that.
    std::thread::sleep(Duration::from_millis(1100));
    age(&chain.place.store());
    chain
}

fn before(chain: &Chain, name: &str) -> Workspace {
    let clone = chain.elsewhere(name);
    clone.git(&["checkout", "--quiet", "HEAD~1"]);
    clone
}

/// A store would grow until the disk is full, or lose what is used every day.
#[test]
fn what_was_not_used_goes_first() {
    let chain = two_commits();
    let store = chain.place.store();
    age(&store);
    let all = gc(&chain, &["--dry-run"]);
    assert_eq!((&all["files"], &all["bytes"]), (&0.into(), &0.into()));
    let size = all["bytes_left"].as_u64().expect("it is a number");
    let clone = before(&chain, "old");
    chain.start(clone.root()).succeeded();
    let limit = (size - 1).to_string();
    let planned = gc(&chain, &["--dry-run", "--max-size", &limit]);
    assert_eq!(planned["crowded_out"], 1);
    let said = gc(&chain, &["--max-size", &limit]);
    assert_eq!(said["starting_points"], 1, "{said}");
    assert_eq!(said["objects"], planned["objects"]);
    assert!(
        said["bytes_left"].as_u64().is_some_and(|left| left < size),
        "{said}"
    );
    // The one that was started from serves, the other is made anew.
    let again = before(&chain, "again");
    chain.start(again.root()).succeeded();
    builds_right(&again).nothing_ran();
    let next = chain.elsewhere("next");
    let said = chain.start(next.root()).succeeded();
    assert_eq!(said.json()["behind"], 1, "{}", said.stderr);
    assert_eq!(said.stderr, "", "what is gone is not worth a word");
    prints(&next, "13");
    chain.publish_again();
    let next = chain.elsewhere("next again");
    chain.start(next.root()).succeeded();
    prints(&next, "13").nothing_ran();
}

/// What was published just now would go before anybody could use it.
#[test]
fn nothing_goes_within_an_hour() {
    let chain = Chain::published();
    let before = files(&chain.place.store());
    let said = gc(&chain, &["--max-size", "0"]);
    assert_eq!(said["files"], 0, "{said}");
    assert_eq!(files(&chain.place.store()), before);
    let text = chain.run(chain.source.root(), &["gc", "--max-size", "0"]);
    assert!(text.succeeded().stdout.contains("in the last hour stays"));
}

/// Everything that belonged to a starting point would be left behind, file by file, for ever.
#[test]
fn all_of_it_can_go() {
    let chain = two_commits();
    let store = chain.place.store();
    for dir in ["rest", "asked", "indexes"] {
        fs::create_dir_all(store.join(dir)).expect("it is ours");
        write(&store.join(dir).join("0".repeat(64)), b"");
    }
    for dir in ["seen", "adopted"] {
        fs::create_dir_all(store.join(dir)).expect("it is ours");
        write(&store.join(dir).join("0".repeat(64)), b"[]");
    }
    write(&store.join("objects/somebody's"), b"not ours");
    age(&store);
    gc(&chain, &["--max-size", "0"]);
    let mut left: Vec<String> = files(&store)
        .iter()
        .map(|path| {
            path.strip_prefix(&store)
                .expect("below")
                .display()
                .to_string()
        })
        .collect();
    left.sort();
    let zeros = "0".repeat(64);
    let kept = [
        format!("adopted/{zeros}"),
        "headstart-store".to_owned(),
        "objects/somebody's".to_owned(),
        format!("seen/{zeros}"),
    ];
    assert_eq!(left, kept, "what a replay or a lost signature shows stays");
    chain.publish_again();
    let clone = chain.elsewhere("after");
    chain.start(clone.root()).succeeded();
    prints(&clone, "13").nothing_ran();
}

/// A starting point that no start may use keeps its room.
#[test]
fn what_has_expired_goes() {
    let chain = expired();
    let said = gc(&chain, &[]);
    assert_eq!(
        (&said["expired"], &said["bytes_left"]),
        (&1.into(), &0.into())
    );
    let clone = chain.elsewhere("after");
    chain.start(clone.root()).succeeded();
    builds_right(&clone);
}

/// A publish that finds an object there, and a collector that is about to take it, would leave a starting point with a hole.
#[test]
fn what_is_published_again_is_relied_on() {
    let chain = Chain::published();
    age(&chain.place.store());
    chain.publish_again();
    // The manifest before is idle now, and all that it refers to is the new one's as well.
    gc(&chain, &["--max-size", "0"]);
    chain.serves();
}

/// What is damaged would stay for ever, and be warned about at each start; what a later version wrote would lose its objects.
#[test]
fn what_cannot_be_read() {
    let chain = Chain::published();
    let store = chain.place.store();
    let manifest = chain.manifest_file();
    let whole = read(&manifest);
    let mut newer = whole.clone();
    newer[8] += 1;
    chain.plant(&newer);
    age(&store);
    let all = files(&store);
    let said = chain.run(chain.source.root(), &["gc", "--max-size", "0"]);
    refused(&said, "is of format");
    assert_eq!(files(&store), all, "nothing went");
    fs::remove_file(chain.manifest_file()).expect("it is ours");
    cut(&manifest);
    age(&store);
    gc(&chain, &[]);
    assert_eq!(files(&store), [store.join("headstart-store")]);
    chain.publish_again();
    chain.serves();
}

/// A typing error would empty the store, or a repository the user's own.
#[test]
fn limits_are_understood_or_refused() {
    let chain = Chain::published();
    let root = chain.source.root();
    let said = chain.run(root, &["gc", "--max-size", "50X"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("50G and 500M are"), "{}", said.stderr);
    let gc = |variable: &str| {
        let runner = runner(root, &chain.place).env("HEADSTART_STORE_MAX_SIZE", variable);
        runner.args(["gc", "--json"]).run()
    };
    refused(&gc("much"), "HEADSTART_STORE_MAX_SIZE");
    assert_eq!(
        gc("2G").succeeded().json()["store"]["bytes_max"],
        2_000_000_000
    );
    let nowhere = |args: &[&str]| {
        let dir = chain.place.scratch.root();
        headstart_testkit::headstart(Path::new(common::PROGRAM), dir)
            .args(args)
            .run()
    };
    let said = nowhere(&["gc"]).succeeded();
    assert!(said.stdout.contains("no store"), "{}", said.stdout);
    let said = nowhere(&["gc", "--remotes"]);
    refused(&said, "no remote");
}

/// Whoever writes a repository would have directories of the user's removed, or their store emptied, by the next start in a clone.
#[test]
fn a_repository_has_no_say_in_the_store() {
    let chain = Chain::published();
    let (root, store) = (chain.source.root(), chain.place.store());
    let (home, precious) = (
        chain.place.scratch.path("home"),
        chain.place.scratch.path("home/precious"),
    );
    fs::create_dir_all(&precious).expect("the scratch directory is ours");
    let days = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
    let old = File::open(&precious).and_then(|dir| dir.set_modified(days));
    old.expect("it is ours");
    fs::create_dir(chain.source.path("s")).expect("the source is ours");
    write(
        &chain.source.path("s/headstart-store"),
        b"headstart store 1\n",
    );
    std::os::unix::fs::symlink(&home, chain.source.path("s/tmp")).expect("links work here");
    let run = |names: &str, args: &[&str]| {
        let settings = format!("store = \"{names}\"\nstore_max_size = \"1k\"\n");
        write(&chain.source.path("headstart.toml"), settings.as_bytes());
        let plain = headstart_testkit::headstart(Path::new(common::PROGRAM), root);
        plain
            .env("XDG_CACHE_HOME", chain.place.scratch.path("cache"))
            .args(args)
            .run()
    };
    for names in ["s", &store.display().to_string()] {
        let said = run(names, &["gc", "--json"]).succeeded();
        assert_eq!(said.json()["store"], serde_json::Value::Null);
        let said = run(names, &["start"]).succeeded();
        assert!(
            said.stderr
                .contains("`store` in headstart.toml means nothing"),
            "{}",
            said.stderr
        );
    }
    assert!(precious.exists());
    chain.serves();
}

/// Nobody types gc: a store would grow without end.
#[test]
fn a_store_is_collected_by_itself() {
    let chain = not_collected_lately();
    let clone = chain.elsewhere("later");
    // Who wants nothing done behind them leaves it to the next.
    let mut start = chain.command(clone.root(), &["start"]);
    output(start.env("HEADSTART_LATER", "off")).succeeded();
    chain.start(clone.root()).succeeded();
    let begun = Instant::now();
    while !files(&chain.place.store().join("objects")).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "nothing was deleted");
        std::thread::sleep(Duration::from_millis(50));
    }
    builds_right(&clone);
}

/// What a job leaves behind is ended with its container: each time, for ever.
#[test]
fn a_job_waits_until_the_store_is_collected() {
    let chain = not_collected_lately();
    let expired = chain.manifest_file();
    chain.source.edit("note.txt", "another commit");
    chain.source.commit("next");
    let publish = ["publish", "--required", "--", "build"];
    let mut publish = chain.command(chain.source.root(), &publish);
    output(publish.env("CI", "true")).succeeded();
    assert!(!expired.exists());
    chain.serves();
}

/// A store with what has expired, that was collected hours ago.
fn not_collected_lately() -> Chain {
    let chain = expired();
    let mark = File::open(chain.place.store().join("headstart-store")).expect("it is there");
    let hours = Duration::from_secs(2 * 60 * 60);
    mark.set_modified(SystemTime::now() - hours)
        .expect("it is ours");
    chain
}

/// A start or build would fail, or make something else, because somebody collects.
#[test]
fn collecting_beside_starts_and_publishes_hurts_nobody() {
    let chain = two_commits();
    age(&chain.place.store());
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|at| {
                let chain = &chain;
                scope.spawn(move || {
                    let clone = chain.elsewhere(&format!("beside/{at}"));
                    chain.start(clone.root()).succeeded();
                    prints(&clone, "13");
                })
            })
            .collect();
        let publishes = scope.spawn(|| chain.publish_again());
        while !publishes.is_finished() || starts.iter().any(|one| !one.is_finished()) {
            gc(&chain, &["--max-size", "0"]);
        }
    });
    let clone = chain.elsewhere("afterwards");
    chain.start(clone.root()).succeeded();
    prints(&clone, "13").nothing_ran();
    publish(&chain.source, &chain.place, &["build"]);
}
