//! Stores, points and manifests of other versions, and points that are no points.

use std::fs::{self, File};
use std::path::Path;

use headstart::model::{Expected, Root, Rooted};

use crate::common::chain::{Chain, builds_right, found_nothing, refused, strictly, write};
use crate::common::{named, reasons};

/// A store that a newer headstart made would be misread, or written into and spoilt for its owners.
#[test]
fn a_newer_store_is_refused() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let version = chain.place.store().join("headstart-store");
    write(&version, b"headstart store 2\n");
    let points = || tree(&chain);
    let before = points();
    for command in ["start", "publish", "status"] {
        let output = chain.run(clone.root(), &strictly(command));
        refused(
            &output,
            "is of format 2, and this version knows only format 1",
        );
        assert!(output.stderr.contains("update headstart"));
    }
    assert_eq!(points(), before);
    builds_right(&clone);
}

/// A version file that says nothing would make any directory a store.
#[test]
fn a_store_without_a_version_is_refused() {
    let chain = Chain::published();
    let version = chain.place.store().join("headstart-store");
    for text in [
        "",
        "headstart store one\n",
        "headstart store -1\n",
        "\u{fffd}",
    ] {
        write(&version, text.as_bytes());
        let output = chain.run(chain.source.root(), &["start"]);
        refused(&output, "is not a headstart store");
    }
    builds_right(&chain.source);
}

/// A commit that a newer headstart published would stop the builds of everybody who has not updated.
#[test]
fn a_newer_point_is_a_miss() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let point = String::from_utf8(fs::read(chain.point_file()).expect("it is there"));
    let point = point.expect("points are text");
    let newer = point.replace("\"version\": 1", "\"version\": 2");
    assert_ne!(newer, point);
    write(&chain.point_file(), newer.as_bytes());
    found_nothing(&chain.start(clone.root()), "is of format 2");
    let unknown = "{ \"version\": 9, \"shape\": \"unknown\" }";
    write(&chain.point_file(), unknown.as_bytes());
    found_nothing(&chain.start(clone.root()), "is of format 9");
    builds_right(&clone);
}

/// The same for a manifest of a newer format.
#[test]
fn a_newer_manifest_is_a_miss() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let mut bytes = fs::read(chain.manifest_file()).expect("it is there");
    bytes[8..10].copy_from_slice(&3_u16.to_le_bytes());
    chain.plant(&bytes);
    found_nothing(&chain.start(clone.root()), "is of format 3");
    builds_right(&clone);
    chain.publish_again();
    chain.serves();
}

/// An older point of the same commit would be hidden by one that cannot be read.
#[test]
fn an_unreadable_point_hides_no_other() {
    let chain = Chain::published();
    let dir = chain.point_file();
    let dir = dir.parent().expect("a point has a directory").to_path_buf();
    write(&dir.join("empty"), b"");
    write(&dir.join("garbage"), b"\0\xff{");
    write(&dir.join("newer"), b"{\"version\": 3}");
    fs::create_dir(dir.join("directory")).expect("the store is ours");
    let huge = File::create(dir.join("huge")).expect("the store is ours");
    huge.set_len(1 << 40).expect("sparse files work here");
    let clone = chain.elsewhere("clone");
    let output = chain.start(clone.root()).succeeded();
    assert_eq!(output.json()["units"]["fresh"], 4);
    for what in ["empty", "garbage", "newer", "huge"] {
        assert!(output.stderr.contains(what), "{what}: {}", output.stderr);
    }
    builds_right(&clone).nothing_ran();
    chain.run(clone.root(), &["status"]).succeeded();
}

/// A point under the wrong commit would start builds from what somebody else built.
#[test]
fn a_manifest_of_another_toolchain_says_whose() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let mut point = chain.point();
    point.toolchain.cargo = "cargo 9.9.9 (0123456 2099-01-01)".to_owned();
    write(&chain.point_file(), &point.encode());
    let output = chain.start(clone.root());
    found_nothing(&output, "published for");
    // Both compilers are the same here: only cargo's name tells the reader what differs.
    found_nothing(&output, "cargo 9.9.9");
    point.toolchain.rustc = "rustc 9.9.9 (0123456 2099-01-01)\n".to_owned();
    write(&chain.point_file(), &point.encode());
    found_nothing(&chain.start(clone.root()), "rustc 9.9.9");
    builds_right(&clone);
}

/// A point that promises this toolchain, with a manifest of another, would place what this rustc cannot read.
#[test]
fn the_manifest_has_the_last_word_on_the_toolchain() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    chain.tamper(chain.manifest(), |manifest| {
        manifest.toolchain.rustc = "rustc 9.9.9\n".to_owned();
    });
    let output = chain.start(clone.root());
    assert!(!output.stdout.contains("\"fresh\":4"), "{}", output.stdout);
    builds_right(&clone);
}

/// Returns every path in the store, sorted.
fn tree(chain: &Chain) -> Vec<std::path::PathBuf> {
    let below = headstart::disk::walk::below(&chain.place.store());
    let entries = below.expect("the store can be listed").into_iter();
    let mut paths: Vec<_> = entries.map(|entry| entry.relative).collect();
    paths.sort();
    paths
}

/// A test would be fresh and not start, or a proc-macro fail to load: what it was linked against is not here, and plain cargo links what is.
#[test]
fn what_needs_a_library_that_is_not_here_is_built_here() {
    let chain = Chain::published();
    chain.tamper(chain.manifest(), |manifest| {
        let mut inputs = manifest.inputs.iter_mut();
        let input = inputs.find(|input| input.expected == Expected::Library);
        input.expect("a program needs one").path =
            Rooted::new(Root::Absolute, Path::new("/usr/lib/libheadstart-none.so.7"));
    });
    let clone = chain.elsewhere("other");
    let said = chain.start(clone.root()).succeeded().json();
    assert_eq!(reasons(&said, "/bin-c3"), ["gone"]);
    assert_eq!(named(&builds_right(&clone)), ["c3(bin)"]);
}

/// A build would fail that plain cargo does: what CI linked on a newer system does not run here, a proc-macro cannot be loaded.
#[test]
fn what_needs_a_newer_glibc_is_built_here() {
    let chain = Chain::published();
    chain.tamper(chain.manifest(), |manifest| {
        let expected = manifest.inputs.iter_mut().map(|input| &mut input.expected);
        let mut versions = expected.filter_map(|expected| match expected {
            Expected::Glibc(version) => Some(version),
            _ => None,
        });
        let version = versions.next().expect("a program needs one");
        assert!(2 < *version && *version < 99, "{version}");
        *version = 999;
    });
    let clone = chain.elsewhere("older");
    let said = chain.start(clone.root()).succeeded().json();
    assert_eq!(reasons(&said, "/bin-c3"), ["older-glibc"]);
    assert_eq!(named(&builds_right(&clone)), ["c3(bin)"]);
}
