//! Collecting remotes: whole weeks go, nothing else, and whoever reads or writes meanwhile does not notice.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use headstart_testkit::{Output, Scratch, headstart};
use serde_json::{Value, json};

use crate::common::PROGRAM;
use crate::common::chain::{builds_right, found_nothing, refused};
use crate::far::Far;

/// A week that is long over.
const OLD: &str = "2020-W01";

/// Runs `headstart gc` where there is no store, with these variables.
pub(crate) fn gc(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let nowhere = Scratch::new();
    let runner = headstart(Path::new(PROGRAM), nowhere.root());
    let runner = variables
        .iter()
        .fold(runner, |runner, (name, value)| runner.env(name, value));
    runner.args([&["gc"], args].concat()).run()
}

/// Asserts that `count` files of one old week go from the remote `url`, once.
pub(crate) fn collects(url: &str, variables: &[(&str, &str)], count: usize) {
    let gc = |more: &[&str]| {
        let args = [&["--json", "--remote", url], more].concat();
        let said = gc(&args, variables).succeeded().json();
        assert_eq!(said["store"], Value::Null);
        said["remotes"][0].clone()
    };
    let planned = gc(&["--dry-run"]);
    assert_eq!(planned["files"], count, "{planned}");
    assert_eq!(planned["epochs"], json!([OLD]));
    assert_eq!(
        gc(&["--keep-days", "60000"])["files"],
        0,
        "it may still be used"
    );
    assert_eq!(gc(&[]), planned);
    assert_eq!(gc(&[])["files"], 0, "all of it went");
}

/// Writes a file of an old week into `far`'s remote.
fn plant(far: &Far, key: &str) -> std::path::PathBuf {
    let path = far.remote.join(key);
    fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
    fs::write(&path, "old").expect("it is ours");
    path
}

/// A shared directory would grow for ever, or lose what is used.
#[test]
fn old_weeks_go_from_a_directory() {
    let far = Far::published(None);
    let url = format!("file://{}", far.remote.display());
    let name = "0".repeat(64);
    for dir in ["manifests", "packs"] {
        plant(&far, &format!("v1/{dir}/{OLD}/{name}"));
    }
    let others = [
        format!("v1/packs/{OLD}/README"),
        format!("v1/packs/2020-w01/{name}"),
        format!("v1/other/{OLD}/{name}"),
        format!("elsewhere/v1/packs/{OLD}/{name}"),
        format!("v1/packs/{name}"),
    ];
    let others = others.map(|key| plant(&far, &key));
    let waits = |commit: &str, days: u64| {
        let path = plant(&far, &format!("v1/unsigned/{commit}"));
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        let file = fs::File::open(&path).expect("it is ours");
        file.set_modified(then).expect("it is ours");
        path
    };
    let (gone, stays) = (waits(&"a".repeat(40), 120), waits(&"b".repeat(40), 118));
    collects(&url, &[], 3);
    assert!(!gone.exists() && stays.exists());
    assert!(
        others.iter().all(|path| path.exists()),
        "somebody else's went"
    );
    assert!(!far.remote.join("v1/manifests").join(OLD).exists());
    let clone = far.clone("after");
    far.start(&clone, &url, &[]).succeeded();
    builds_right(&clone).nothing_ran();
}

/// A start that finds a list whose starting points are collected would fail, where it should build.
#[test]
fn a_list_whose_weeks_are_gone_costs_a_line() {
    let far = Far::published(None);
    let url = format!("file://{}", far.remote.display());
    for dir in ["v1/manifests", "v1/packs"] {
        let weeks = far.remote.join(dir);
        let week = fs::read_dir(&weeks)
            .expect("it is there")
            .next()
            .expect("one")
            .expect("it")
            .path();
        fs::rename(week, weeks.join(OLD)).expect("it is ours");
    }
    gc(&["--remote", &url], &[]).succeeded();
    let clone = far.clone("after");
    found_nothing(&far.start(&clone, &url, &[]), "it is not there");
    builds_right(&clone);
    // The publisher writes all of it again, whatever it believed to be there.
    far.publish(None);
    far.start(&clone, &url, &[]).succeeded();
    builds_right(&clone);
}

/// Whoever cannot delete must be told, not left to believe that it was done.
#[test]
fn what_cannot_be_collected_is_said() {
    let far = Far::published(None);
    let server = far.server();
    for url in [server.url(), "http://127.0.0.1:1/x".to_owned()] {
        refused(
            &gc(&["--remote", &url], &[]),
            "1 remote could not be collected",
        );
    }
    refused(
        &gc(&["--remote", "nonsense://x"], &[]),
        "1 remote could not",
    );
    // What a workspace is configured with for reading is no reason for a nightly job to fail.
    let both = format!("{} file://{}", server.url(), far.remote.display());
    let said = gc(&["--remotes"], &[("HEADSTART_REMOTES", &both)]).succeeded();
    assert!(said.stderr.contains("is only read"), "{}", said.stderr);
    assert!(said.stdout.contains("nothing to delete"), "{}", said.stdout);

    refused(
        &gc(&["--lifecycle", "gcs", "--remote", &server.url()], &[]),
        "begins with gs://",
    );
    let both = ["--remote", "s3://a", "--remote", "s3://b"];
    refused(
        &gc(&[&["--lifecycle", "s3"], &both[..]].concat(), &[]),
        "one remote",
    );
}

/// A rule that is too eager deletes what is used; one for another prefix, what is somebody else's.
#[test]
fn lifecycle_rules_say_the_same_by_age() {
    let said = gc(
        &[
            "--lifecycle",
            "gcs",
            "--remote",
            "gs://bucket//a/b/",
            "--keep-days",
            "30",
        ],
        &[],
    );
    let said = said.succeeded();
    assert!(said.stderr.contains("gs://bucket "), "{}", said.stderr);
    let prefixes = json!(["a/b/v1/manifests/", "a/b/v1/packs/", "a/b/v1/unsigned/"]);
    let condition = json!({ "age": 59, "matchesPrefix": prefixes });
    let rule = json!({ "action": { "type": "Delete" }, "condition": condition });
    assert_eq!(said.json(), json!({ "rule": [rule] }));
    let said = gc(&["--lifecycle", "s3", "--remote", "s3://bucket"], &[]).succeeded();
    let prefix = &said.json()["Rules"][1]["Filter"]["Prefix"];
    assert_eq!(prefix, "v1/packs/");
}
