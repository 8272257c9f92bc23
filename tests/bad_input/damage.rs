//! Stores with a damaged or missing manifest or object: that costs the unit, never the build.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::chain::{Chain, builds_right, cut, flip, found_nothing, write};
use crate::common::{named, reasons};

/// Damage to a file of the store.
type Damage = fn(&Path);

fn remove(path: &Path) {
    fs::remove_file(path).expect("it was there");
}

fn empty(path: &Path) {
    write(path, b"");
}

/// A bad disk under the list of a starting point would break builds, or place half of something.
#[test]
fn a_damaged_manifest_is_a_miss_until_published_again() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let whole = fs::read(chain.manifest_file()).expect("it was published");
    let damages: [(Damage, &str); 4] = [
        (cut, "is damaged"),
        (flip, "is damaged"),
        (empty, "is damaged"),
        (remove, "is missing"),
    ];
    for (damage, said) in damages {
        write(&chain.manifest_file(), &whole);
        damage(&chain.manifest_file());
        found_nothing(&chain.start(clone.root()), said);
        assert!(!clone.path("target/debug/deps").exists());
    }
    builds_right(&clone);
    chain.publish_again();
    chain.serves();
}

/// A clone would build from nothing because of one bad file, with a whole starting point right behind it.
#[test]
fn a_damaged_manifest_hides_none_behind_it() {
    let chain = Chain::published();
    let older = chain.manifest_file();
    chain.source.append("crates/c3/src/main.rs", "\n");
    chain.source.commit("next");
    chain.publish_again();
    let dir = older.parent().expect("it has one");
    let files = fs::read_dir(dir).expect("it can be listed").flatten();
    let newer = files.map(|file| file.path()).find(|file| *file != older);
    empty(&newer.expect("it was published"));
    let clone = chain.elsewhere("next");
    let said = chain.start(clone.root());
    assert!(said.stderr.contains("is damaged"), "{}", said.stderr);
    assert_eq!(said.succeeded().json()["behind"], 1);
    assert_eq!(named(&builds_right(&clone)), ["c3(bin)"]);
}

/// Garbage that carries the right name, as a hostile writer makes it, would crash the decoder or fill the memory.
#[test]
fn garbage_under_its_own_digest_is_a_miss() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let whole = fs::read(chain.manifest_file()).expect("it was published");
    let sized = |size: u64| {
        let mut bytes = whole.clone();
        bytes[10..18].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    let middle = whole.len() / 2;
    let planted = [
        Vec::new(),
        b"HEADSTRT".to_vec(),
        b"not a manifest at all".to_vec(),
        whole[..18].to_vec(),
        whole[..middle].to_vec(),
        sized(0),
        sized(u64::MAX),
        sized(1 << 29),
        [whole.clone(), vec![0; 64]].concat(),
        [whole.clone(), whole[18..].to_vec()].concat(),
    ];
    for bytes in planted {
        chain.plant(&bytes);
        found_nothing(&chain.start(clone.root()), "is damaged");
    }
    assert!(!clone.path("target").exists());
    builds_right(&clone);
}

/// One bad object at the top would cost the whole starting point, or put a broken program in place.
#[test]
fn a_damaged_object_costs_its_unit_only() {
    let chain = Chain::published();
    let damages: [(&str, Damage, &str); 4] = [
        ("cut", cut, "object-damaged"),
        ("flipped", flip, "object-damaged"),
        ("empty", empty, "object-damaged"),
        ("missing", remove, "object-missing"),
    ];
    for (name, damage, reason) in damages {
        damage(&chain.object("c3", ""));
        let clone = chain.elsewhere(name);
        let started = chain.start(clone.root()).succeeded().json();
        assert_eq!(reasons(&started, "bin-c3"), [reason], "{name}");
        assert_eq!(started["units"]["fresh"], 3, "{name}: {started}");
        let ran = builds_right(&clone).crates_compiled();
        assert_eq!(ran, ["c3(bin)".to_owned()].into(), "{name}");
        chain.publish_again();
        chain.serves();
    }
}

/// A crate would be linked with one that was compiled against another build of its dependency.
#[test]
fn a_damaged_library_costs_what_depends_on_it() {
    let chain = Chain::published();
    let damages: [(&str, &str, Damage, &str); 5] = [
        ("rmeta", ".rmeta", flip, "object-damaged"),
        ("piece", ".rlib", flip, "object-damaged"),
        ("piece-cut", ".rlib", cut, "object-damaged"),
        ("piece-empty", ".rlib", empty, "object-damaged"),
        ("piece-missing", ".rlib", remove, "object-missing"),
    ];
    for (name, file, damage, reason) in damages {
        damage(&chain.object("c1", file));
        let clone = chain.elsewhere(name);
        let started = chain.start(clone.root()).succeeded().json();
        let reasons = ["inputs-match", reason, "dependency", "dependency"];
        assert_eq!(codes(&started), reasons, "{name}");
        let ran = builds_right(&clone).crates_compiled();
        let expected = ["c1(lib)", "c2(lib)", "c3(bin)"].map(str::to_owned);
        assert_eq!(ran, expected.into(), "{name}");
        chain.publish_again();
        chain.serves();
    }
}

/// rustc does not notice a zeroed object of a session: a wrong program would be linked from it.
#[test]
fn a_damaged_session_is_not_placed() {
    let chain = Chain::published();
    let manifest = chain.manifest();
    let unit = crate::common::chain::unit_of(&manifest, "c1");
    let session = unit.session.as_ref().expect("it was published");
    for (at, file) in session.files.iter().enumerate() {
        let hex = file.digest.hex();
        let object = chain
            .place
            .store()
            .join("objects")
            .join(&hex[..2])
            .join(&hex);
        flip(&object);
        let clone = chain.elsewhere(&format!("session-{at}"));
        clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
        let run = chain.run(clone.root(), &["start", "--", "build"]);
        run.succeeded();
        let explained = crate::common::chain::explain(clone.root(), &["c1", "--json"])
            .succeeded()
            .json();
        let reason = &explained["units"][0]["compiled"]["reason"]["code"];
        assert_eq!(reason, "seed-lost", "{}: {explained}", file.name);
        crate::common::chain::prints(&clone, "13").nothing_ran();
        chain.publish_again();
    }
}

/// Returns the reason codes of c0, c1, c2, c3.
fn codes(started: &Value) -> Vec<String> {
    let units = ["lib-c0", "lib-c1", "lib-c2", "bin-c3"];
    units
        .iter()
        .flat_map(|unit| reasons(started, unit))
        .collect()
}
