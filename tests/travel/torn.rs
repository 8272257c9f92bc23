//! What a machine that stopped, or a process that was killed, left half done, while the remote has it whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headstart::model::Digest;
use headstart::store::Store;
use headstart::tier::{Tier, Trouble};
use headstart_testkit::Workspace;

use crate::common::chain::{builds_right, prints};
use crate::common::publish;
use crate::far::{Far, read_from};

/// Returns the only entry of the directory `dir`.
fn only(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir).expect("it is there");
    entries.flatten().next().expect("there is one").path()
}

/// What was being written when the power failed is empty afterwards: the starting point could not be used on that machine any more,
/// or none of its objects be fetched.
#[test]
fn what_is_torn_in_the_store_comes_again() {
    let far = Far::published(None);
    let server = far.server();
    let start = |clone: &Workspace| far.start(clone, &server.url(), &["--believe-store"]);
    for dir in ["manifests", "indexes"] {
        drop(fs::remove_dir_all(far.store()));
        start(&far.clone(&format!("{dir}/before"))).succeeded();
        let torn = only(&far.store().join(dir));
        fs::remove_file(&torn).expect("it is ours");
        fs::write(&torn, "").expect("it is ours");
        drop(fs::remove_dir_all(far.store().join("objects")));
        let clone = far.clone(&format!("{dir}/after"));
        let said = start(&clone).succeeded();
        assert_eq!(said.json()["units"]["fresh"], 4, "{dir}: {}", said.stderr);
        builds_right(&clone).nothing_ran();
        far.store_is_sound();
    }
}

/// A pack that was cut where it lies would keep all others from being fetched.
#[test]
fn a_pack_that_was_cut_costs_its_own_units() {
    let far = Far::published(None);
    let packs = || fs::read_dir(only(&far.remote.join("v1/packs"))).expect("it was published");
    let before: Vec<PathBuf> = packs().flatten().map(|pack| pack.path()).collect();
    let source = &far.chain.source;
    source.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    source.commit("next");
    far.publish(None);
    let mut cut = Vec::new();
    for pack in packs().flatten().map(|pack| pack.path()) {
        if !before.contains(&pack) {
            fs::remove_file(&pack).expect("it is ours");
            fs::write(&pack, "").expect("it is ours");
            let key = pack.strip_prefix(&far.remote).expect("it is there");
            cut.push(key.to_str().expect("it is plain").to_owned());
        }
    }
    assert!(!cut.is_empty());
    let server = far.server();
    let directory = format!("file://{}", far.remote.display());
    for (name, url) in [("served", server.url()), ("shared", directory)] {
        drop(fs::remove_dir_all(far.store()));
        let remote = read_from(&url, Duration::from_secs(2));
        for pack in &cut {
            assert_eq!(
                remote.get_range(pack, 0..9, &|_| true),
                Err(Trouble::Absent)
            );
        }
        let clone = far.clone(name);
        let said = far.start(&clone, &url, &["--believe-store"]).succeeded();
        let json = said.json();
        assert_eq!(json["units"]["fresh"], 2, "{url}: {}", said.stderr);
        // Where it lies may be said wrongly: it is asked for again.
        let name = json["manifest"].as_str().expect("it has a name");
        assert!(far.store().join("doubted").join(name).exists());
        prints(&clone, "13");
    }
}

/// What lies damaged in a publisher's store would be sent to every reader, and counted on by all who publish after it.
#[test]
fn what_is_damaged_is_not_sent() {
    let far = Far::unpublished();
    let source = &far.chain.source;
    publish(source, &far.chain.place, &["build"]);
    let program = fs::read(source.path("target/debug/c3")).expect("it was built");
    let store = Store::open(&far.chain.place.store()).expect("it was made");
    let object = store.object(Digest::of(&program));
    let mut damaged = program.clone();
    damaged[program.len() / 2] ^= 1;
    fs::remove_file(&object).expect("it is ours");
    fs::write(&object, damaged).expect("it is ours");
    let said = far.publish(None);
    assert!(said["remotes"][0]["error"].is_string(), "{said}");
    let said = far.publish(None);
    assert!(said["remotes"][0]["error"].is_null(), "{said}");
    let clone = far.clone("after");
    let said = far.start(
        &clone,
        &format!("file://{}", far.remote.display()),
        &["--believe-store"],
    );
    assert_eq!(said.succeeded().json()["units"]["fresh"], 4);
    builds_right(&clone).nothing_ran();
}
