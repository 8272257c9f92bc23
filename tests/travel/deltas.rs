//! What changed in an object travels alone, to those who have the object before it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use headstart::model::{Digest, Manifest};
use headstart::store::pack::{self, Codec, Frame, Index};
use headstart::store::{Store, format};
use serde_json::Value;

use crate::common::chain::{builds_right, explain, prints};
use crate::far::Far;

/// The chain and its next commit, which prints 13, in a remote.
fn two_commits() -> (Far, Value) {
    let far = Far::published(None);
    far.chain
        .source
        .replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    far.chain.source.commit("next");
    let said = far.publish(None);
    (far, said)
}

/// Returns what the remote has of the starting point that `published` says.
fn there(far: &Far, published: &Value) -> (Manifest, Index) {
    let name: Digest = published["manifest"]
        .as_str()
        .expect("it is named")
        .parse()
        .expect("a digest");
    let weeks = fs::read_dir(far.remote.join("v1/manifests")).expect("it was published");
    let mut files = weeks.map(|week| week.expect("it is ours").path().join(name.hex()));
    let bundle = files
        .find_map(|file| fs::read(file).ok())
        .expect("it was published");
    let (manifest, packed) = pack::split_bundle(&bundle, name).expect("it is whole");
    let manifest = format::decode(manifest).expect("it is whole");
    let index = pack::decode_index(packed, &manifest).expect("it fits");
    (manifest, index)
}

/// Changes c2 again in a clone of the next commit, starts, and returns from what c2 was compiled.
fn changed_again(far: &Far, name: &str) -> String {
    let clone = far.clone(name);
    clone.replace("crates/c2/src/lib.rs", "+ 11", "+ 21");
    let remote = format!("file://{}", far.remote.display());
    far.start(&clone, &remote, &["--believe-store", "--", "build"])
        .succeeded();
    assert_eq!(clone.program("c3"), "23");
    far.store_is_sound();
    let said = explain(clone.root(), &["c2", "--json"]).succeeded().json();
    let reason = &said["units"][0]["compiled"]["reason"]["code"];
    reason.as_str().expect("it was compiled").to_owned()
}

/// Each commit would cost its whole dep-graphs and programs again.
#[test]
fn what_changed_is_a_delta() {
    let (far, said) = two_commits();
    let (manifest, index) = there(&far, &said);
    let of = |wanted| {
        let deltas = index
            .frames
            .iter()
            .filter(move |frame| frame.delta.is_some_and(|(codec, _)| codec == wanted));
        deltas.map(|frame| frame.stored_bytes).sum::<u64>()
    };
    assert!(of(Codec::Graph) > 0 && of(Codec::Bytes) > 0);
    let objects = index.all_objects(&manifest);
    for (frame, (_, size_bytes)) in index.frames.iter().zip(&objects) {
        let (Some((codec, _)), stored) = (frame.delta, frame.stored_bytes) else {
            continue;
        };
        assert!(
            codec != Codec::Graph || stored * 10 < *size_bytes,
            "{stored} of {size_bytes}"
        );
    }
    // One who has the commit before, and one who has nothing.
    for before in [true, false] {
        drop(fs::remove_dir_all(far.store()));
        if before {
            let clone = far.clone("before");
            clone.git(&["checkout", "--quiet", "HEAD~1"]);
            let remote = format!("file://{}", far.remote.display());
            far.start(&clone, &remote, &["--believe-store"]).succeeded();
            builds_right(&clone).nothing_ran();
        }
        let clone = far.clone(&format!("next/{before}"));
        let remote = format!("file://{}", far.remote.display());
        let started = far.start(&clone, &remote, &["--believe-store"]).succeeded();
        assert_eq!(started.json()["units"]["fresh"], 4, "{}", started.stderr);
        prints(&clone, "13").nothing_ran();
        far.store_is_sound();
        assert_eq!(changed_again(&far, &format!("again/{before}")), "seeded");
    }
}

/// rustc writes the results of its queries in another order each time, and where they are.
#[test]
fn a_query_cache_is_a_delta() {
    let far = Far::published(None);
    let source = &far.chain.source;
    let lib = source.root().join("crates/c2/src/lib.rs");
    let mut text = fs::read_to_string(&lib).expect("it was made");
    for at in 0..300 {
        text += &format!(
            "pub fn f{at}(of: &[u8]) -> Vec<(usize, u8)> {{ of.iter().copied().enumerate().skip({at}).collect() }}\n"
        );
    }
    source.edit("crates/c2/src/lib.rs", &text);
    source.commit("larger");
    far.publish(None);
    source.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    source.commit("next");
    let (manifest, index) = there(&far, &far.publish(None));
    let objects = index.all_objects(&manifest);
    let frames = index.frames.iter().zip(&objects);
    let mut caches = frames.filter_map(|(frame, (_, size_bytes))| {
        let (codec, _) = frame.delta?;
        (codec == Codec::Cache).then_some((frame.stored_bytes, *size_bytes))
    });
    let (stored_bytes, size_bytes) = caches.next().expect("it changed");
    assert!(
        stored_bytes * 8 < size_bytes,
        "{stored_bytes} of {size_bytes}"
    );
    assert_eq!(changed_again(&far, "again"), "seeded");
}

/// Each commit would be written whole by machines that are thrown away after each build.
#[test]
fn a_publisher_without_the_base_fetches_it() {
    let far = Far::published(None);
    let writes_deltas = |from: &str, to: &str| {
        fs::remove_dir_all(far.chain.place.store()).expect("it is ours");
        far.chain.source.replace("crates/c2/src/lib.rs", from, to);
        far.chain.source.commit("next");
        let before = packs(&far);
        let (_, index) = there(&far, &far.publish(None));
        let is_new = |pack: u32| !before.contains(&index.packs[pack as usize].digest.hex());
        let mut new = index.frames.iter().filter(|frame| is_new(frame.pack));
        assert!(new.clone().count() > 0, "something changed");
        new.any(|frame| frame.delta.is_some())
    };
    assert!(writes_deltas("+ 1", "+ 11"));
    assert_eq!(changed_again(&far, "again"), "seeded");
    for pack in packs(&far) {
        let weeks = fs::read_dir(far.remote.join("v1/packs")).expect("it was published");
        let mut files = weeks.map(|week| week.expect("it is ours").path().join(&pack));
        let file = files.find(|file| file.exists()).expect("it is there");
        write_over(&file, b"gone");
    }
    assert!(!writes_deltas("+ 11", "+ 21"), "the whole is written");
}

/// Returns the names of the remote's packs.
fn packs(far: &Far) -> BTreeSet<String> {
    let weeks = fs::read_dir(far.remote.join("v1/packs")).expect("it was published");
    let packs = weeks.flat_map(|week| fs::read_dir(week.expect("it is ours").path()));
    let names = packs
        .flatten()
        .map(|pack| pack.expect("it is ours").file_name());
    names
        .map(|name| name.into_string().expect("it is a digest"))
        .collect()
}

/// The fortieth commit would be read in forty steps, or be as large as all that changed since the first.
#[test]
fn nobody_follows_a_long_chain() {
    let (far, second) = two_commits();
    let steps = |said: &Value| {
        let (_, index) = there(&far, said);
        let steps = (0..index.frames.len()).map(|at| index.steps(at).count());
        steps.max()
    };
    assert_eq!(steps(&second), Some(1));
    let mut text = "+ 11".to_owned();
    for most in [2, 3, 3, 3] {
        let more = format!("{text} + 0");
        far.chain
            .source
            .replace("crates/c2/src/lib.rs", &text, &more);
        far.chain.source.commit("next");
        assert_eq!(steps(&far.publish(None)), Some(most));
        text = more;
    }
    assert_eq!(changed_again(&far, "from nothing"), "seeded");
}

/// A program of which three deltas are the way would be written three times; and whoever trusted what lies between would have none where one
/// remote is damaged and another is not.
#[test]
fn what_lies_between_is_made_only_where_it_must() {
    let (far, _) = two_commits();
    let source = &far.chain.source;
    source.replace("crates/c2/src/lib.rs", "+ 11", "+ 0 + 11");
    source.commit("next");
    let (manifest, index) = there(&far, &far.publish(None));
    let is_of_bytes = |at: &usize| matches!(index.frames[*at].delta, Some((Codec::Bytes, _)));
    let between = (index.own()..index.frames.len()).filter(is_of_bytes);
    let between: Vec<usize> = between.collect();
    assert!(!between.is_empty());
    let objects = index.all_objects(&manifest);
    let has_all = |name: &str, remotes: &str| {
        let clone = far.clone(name);
        let said = far.start(&clone, remotes, &["--believe-store"]).succeeded();
        assert_eq!(said.json()["units"]["fresh"], 4, "{}", said.stderr);
        prints(&clone, "13").nothing_ran();
        far.store_is_sound();
        let store = Store::open(&far.store()).expect("it was made");
        let made = between
            .iter()
            .filter(|at| store.has(objects[**at].0, objects[**at].1));
        let made = made.count();
        fs::remove_dir_all(far.store()).expect("it is ours");
        made
    };
    let remote = format!("file://{}", far.remote.display());
    assert_eq!(has_all("whole", &remote), 0);
    let good = far.clone_dir("good");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&far.remote, &good])
        .status();
    assert!(copied.expect("cp is there").success());
    for at in &between {
        let frame = index.frames[*at];
        let pack = far.remote.join(index.packs[frame.pack as usize].key());
        let mut bytes = fs::read(&pack).expect("it is there");
        bytes[(frame.offset + frame.stored_bytes / 2) as usize] ^= 0x55;
        write_over(&pack, &bytes);
    }
    let both = format!("{remote} file://{}", good.display());
    assert_eq!(has_all("damaged", &both), between.len());
}

/// What is wrong with a delta or its base must cost a compile, never a wrong program.
#[test]
fn a_damaged_delta_makes_nothing() {
    let (far, said) = two_commits();
    let (_, index) = there(&far, &said);
    let pack = |at: usize| -> PathBuf {
        far.remote
            .join(index.packs[index.frames[at].pack as usize].key())
    };
    let deltas = (0..index.frames.len()).filter(|at| index.frames[*at].delta.is_some());
    let deltas: Vec<usize> = deltas.collect();
    let own = pack(deltas[0]);
    let whole = fs::read(&own).expect("it is there");
    for damage in [0x01, 0x80, 0xff] {
        drop(fs::remove_dir_all(far.store()));
        let mut damaged = whole.clone();
        for at in &deltas {
            let frame = index.frames[*at];
            damaged[(frame.offset + frame.stored_bytes / 2) as usize] ^= damage;
        }
        write_over(&own, &damaged);
        assert_ne!(changed_again(&far, &format!("damaged/{damage}")), "seeded");
    }
    write_over(&own, &whole);
    drop(fs::remove_dir_all(far.store()));
    let (_, base) = index.frames[deltas[0]].delta.expect("it is a delta");
    fs::remove_file(pack(base as usize)).expect("it is there");
    assert_ne!(changed_again(&far, "no base"), "seeded");
    // It is gone for good: to fetch it again with each start would be in vain.
    let name: Digest = said["manifest"].as_str().unwrap().parse().unwrap();
    let remote = format!("file://{}", far.remote.display());
    let fetch = far.headstart(&far.chain.source, &remote);
    fetch.args(["fetch", &name.hex()]).run().succeeded();
    let store = Store::open(&far.store()).expect("it was made");
    assert!(!store.lacks_rest(name));
}

/// A base that is damaged here would make every start ask every remote in vain, for ever.
#[test]
fn a_damaged_base_is_fetched_again() {
    let (far, said) = two_commits();
    assert_eq!(changed_again(&far, "first"), "seeded");
    let (manifest, index) = there(&far, &said);
    let objects = index.all_objects(&manifest);
    let store = Store::open(&far.store()).expect("it was made");
    for (frame, (digest, _)) in index.frames.iter().zip(&objects) {
        let Some((_, base)) = frame.delta else {
            continue;
        };
        let (base, size_bytes) = objects[base as usize];
        drop(fs::remove_file(store.object(*digest)));
        if store.has(base, size_bytes) {
            write_over(&store.object(base), &vec![7; size_bytes as usize]);
        }
    }
    let clone = far.clone("second");
    clone.replace("crates/c2/src/lib.rs", "+ 11", "+ 21");
    let remote = format!("file://{}", far.remote.display());
    let said = far.start(&clone, &remote, &["--believe-store", "--", "build"]);
    assert!(said.succeeded().stderr.contains("did not come"));
    assert_eq!(clone.program("c3"), "23");
    assert_eq!(changed_again(&far, "third"), "seeded");
}

/// What a store collects would be fetched whole again by the next start, for the sake of a delta.
#[test]
fn bases_stay_with_their_deltas() {
    let (far, said) = two_commits();
    assert_eq!(changed_again(&far, "again"), "seeded");
    let (manifest, index) = there(&far, &said);
    let store = Store::open(&far.store()).expect("it was made");
    let objects = index.all_objects(&manifest);
    let held = store.inventory(&|| {}).expect("it can be read");
    let here = objects[manifest.objects().len()..]
        .iter()
        .filter(|(base, size)| store.has(*base, *size))
        .count();
    assert!(here > 0, "it has bases");
    let referred: BTreeSet<u32> = held
        .held
        .iter()
        .flat_map(|one| one.objects.clone())
        .collect();
    assert_eq!(
        referred.len(),
        held.objects.len(),
        "everything is held by something"
    );
}

/// Writes over a file that is written once.
fn write_over(path: &std::path::Path, bytes: &[u8]) {
    fs::remove_file(path).expect("it is ours");
    fs::write(path, bytes).expect("it is ours");
}

/// A new version would cost everything above it whole: cargo's hashes in all names are others, and rustc's ids were.
#[test]
fn what_has_another_version_is_a_delta_to_the_one_before() {
    let far = Far::published(None);
    let before = packs(&far);
    let source = &far.chain.source;
    source.replace("crates/c2/Cargo.toml", "0.1.0", "0.2.0");
    let locked = |version: &str| format!("name = \"c2\"\nversion = \"{version}\"");
    source.replace("Cargo.lock", &locked("0.1.0"), &locked("0.2.0"));
    source.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    source.commit("next");
    let (_, index) = there(&far, &far.publish(None));
    let is_new = |pack: u32| !before.contains(&index.packs[pack as usize].digest.hex());
    let (new, old): (Vec<&Frame>, Vec<&Frame>) =
        index.frames.iter().partition(|frame| is_new(frame.pack));
    let bytes = |frames: &[&Frame]| frames.iter().map(|one| one.stored_bytes).sum::<u64>();
    assert!(bytes(&new) * 8 < bytes(&old), "{new:?} {old:?}");
    // Both libraries are the crates that they were.
    let graphs = new
        .iter()
        .filter(|one| matches!(one.delta, Some((Codec::Graph, _))));
    assert_eq!(graphs.count(), 2, "{new:?}");
    assert_eq!(changed_again(&far, "again"), "seeded");
}
