//! The sessions of units that will be compiled are placed, and rustc starts from them where it can.

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Place, publish, runner, start_in};
use headstart_testkit::fixture::Lock;
use headstart_testkit::{Workspace, default_cargo_home};

const FIRST: &str =
    "pub fn one() -> u8 { 1 }\npub mod inner { pub fn two() -> String { format!(\"{}\", 2) } }\n";

fn workspace() -> Workspace {
    let manifest = "[package]\nname = \"lone\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let main = "fn main() {\n    println!(\"{}\", lone::one());\n}\n";
    let files = [
        ("Cargo.toml", manifest),
        (".gitignore", "/target\n"),
        ("src/lib.rs", FIRST),
        ("src/main.rs", main),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    Workspace::new(
        files
            .into_iter()
            .chain([Lock::new().local("lone", &[]).file()]),
    )
}

/// The inodes of all work products below a target directory.
fn work_products(target: &Path) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![target.join("debug/incremental")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)
            .expect("incremental state is there")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "o") {
                found.insert(path.metadata().expect("a work product").ino());
            }
        }
    }
    found
}

/// At the builder's own path rustc takes over the work products of the placed session: it links them into
/// its own, instead of making them again.
#[test]
fn rustc_starts_from_a_placed_session_at_the_same_path() {
    let lone = workspace();
    let place = Place::new();
    publish(&lone, &place, &["build"]);
    std::fs::remove_dir_all(lone.path("target")).expect("the target directory can be removed");
    lone.append("src/lib.rs", "pub fn three() -> u8 { 3 }\n");
    let started = start_in(lone.root(), &place, &default_cargo_home(), &[]);
    assert_eq!(started["units"]["near"], 2, "{started}");
    assert_eq!(started["sessions"], 2, "{started}");
    let placed = work_products(&lone.path("target"));
    let home = default_cargo_home();
    runner(lone.root(), &place)
        .home(&home)
        .args(["start", "--", "build"])
        .run()
        .succeeded();
    let reused = work_products(&lone.path("target"))
        .intersection(&placed)
        .count();
    assert!(reused > 0, "rustc made every work product again");
    assert_eq!(lone.program("lone"), "1");
}

/// A session that rustc made here is newer than any that could be placed, and must not be lost.
#[test]
fn a_session_of_rustcs_own_stays() {
    let lone = workspace();
    let place = Place::new();
    publish(&lone, &place, &["build"]);
    let own = work_products(&lone.path("target"));
    lone.append("src/lib.rs", "pub fn three() -> u8 { 3 }\n");
    let started = start_in(lone.root(), &place, &default_cargo_home(), &[]);
    assert_eq!(started["sessions"], 0, "{started}");
    assert_eq!(work_products(&lone.path("target")), own);
}
