//! A member that has another version, other dependencies, or lies beside the workspace is the same crate to rustc.

use std::path::Path;

use headstart_testkit::{Scratch, Workspace};

use crate::common::chain::explain;
use crate::common::{PROGRAM, Place, publish_by, runner};
use crate::fixture::workspace;

/// Returns each compile of `unit` in `dir`: from what it began, and how many work products it reused.
fn began(dir: &Path, unit: &str) -> Vec<(String, u64)> {
    let said = explain(dir, &["--json", unit]).json();
    let units = said["units"].as_array().expect("units").iter();
    let compiled = units.map(|unit| &unit["compiled"]);
    let compiled = compiled.filter(|compiled| !compiled.is_null());
    compiled
        .map(|compiled| {
            let code = compiled["reason"]["code"].as_str().unwrap_or_default();
            let reused = compiled["work_products_reused"].as_u64().unwrap_or(0);
            (code.to_owned(), reused)
        })
        .collect()
}

#[track_caller]
fn began_from(dir: &Path, unit: &str, code: &str) {
    let all = began(dir, unit);
    let is = |(said, reused): &(String, u64)| said == code && *reused > 0;
    assert!(all.iter().any(is), "{unit}: {all:?}");
}

fn another_version(it: &Workspace) {
    it.replace("base/Cargo.toml", "0.1.0", "0.2.0");
}

fn another_dependency(it: &Workspace) {
    it.append(
        "base/Cargo.toml",
        "[dependencies]\nmade = { path = \"../made\" }\n",
    );
}

fn a_dependency_less(it: &Workspace) {
    it.replace("app/Cargo.toml", "itoa = \"1\"\n", "");
    it.replace(
        "app/src/report.rs",
        "itoa::Buffer::new().format(7)",
        "\"7\"",
    );
}

/// A new version of a member, or a dependency more, would compile it and all above it from nothing, in clones and where it is edited.
#[test]
fn another_version_or_dependency_begins_from_the_session_before() {
    let (source, place) = (workspace(), Place::new());
    publish_by(runner(source.root(), &place), &["build"]);
    for (name, edit, unit) in [
        ("version", another_version as fn(&Workspace), Some("base")),
        ("dependency", another_dependency, Some("base")),
        // All of a program hangs on what it is linked with.
        ("less", a_dependency_less, None),
    ] {
        let clone = source.clone_to(&place.scratch.path(name));
        let start = || runner(clone.root(), &place).args(["start", "--", "build"]);
        edit(&clone);
        start().run().succeeded();
        unit.inspect(|unit| began_from(clone.root(), unit, "seeded"));
        let said = clone.program("app");
        // From what rustc made there itself, where nothing else is known.
        clone.git(&["checkout", "--quiet", "."]);
        std::fs::remove_dir_all(clone.path("target")).expect("it is ours");
        let cargo = clone.cargo().wrapper(PROGRAM);
        cargo.build(&[]);
        edit(&clone);
        cargo.build(&[]);
        unit.inspect(|unit| began_from(clone.root(), unit, "inherited"));
        assert_eq!(clone.program("app"), said);
        std::fs::remove_dir_all(clone.path("target")).expect("it is ours");
        clone.cargo().build(&[]);
        assert_eq!(
            clone.program("app"),
            said,
            "plain cargo makes another program"
        );
    }
}

/// Two builds that take turns, with other features of a dependency, would throw away each other's sessions.
#[test]
fn builds_that_take_turns_keep_their_sessions() {
    let clone = workspace();
    clone.replace("Cargo.toml", "\"made\"]", "\"made\", \"loud\"]");
    clone.edit(
        "loud/Cargo.toml",
        "[package]\nname = \"loud\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [dependencies]\nbase = { path = \"../base\", features = [\"loud\"] }\n",
    );
    clone.edit("loud/src/lib.rs", "");
    let cargo = clone.cargo().wrapper(PROGRAM);
    let turns: [&[&str]; 2] = [&["-p", "app"], &["--workspace"]];
    for more in ["", "pub fn more() {}\n"] {
        clone.append("app/src/report.rs", more);
        for turn in turns {
            cargo.build(turn);
        }
    }
    let codes: Vec<String> = began(clone.root(), "app")
        .into_iter()
        .map(|one| one.0)
        .collect();
    assert_eq!(codes, ["no-session"; 2]);
}

/// cargo's hash of a package beside the workspace covers where it lies: it and all above it would be compiled from nothing in each
/// clone.
#[test]
fn a_package_beside_the_workspace_begins_from_its_session_elsewhere() {
    let (source, place, scratch) = (workspace(), Place::new(), Scratch::new());
    let manifest = source.read("Cargo.toml").replace("\"base\", ", "");
    source
        .remove("Cargo.toml")
        .edit("inner/Cargo.toml", &manifest);
    source.rename("Cargo.lock", "inner/Cargo.lock");
    for member in ["app", "derive", "made"] {
        source.rename(member, format!("inner/{member}"));
    }
    source.replace("inner/app/Cargo.toml", "\"../base\"", "\"../../base\"");
    source.append("base/Cargo.toml", "[workspace]\n");
    source.edit(".gitignore", "target\n");
    source.commit("a package beside the workspace");
    publish_by(runner(&source.path("inner"), &place), &["build"]);
    let clone = source.clone_to(&scratch.path("else/where"));
    let inner = clone.path("inner");
    runner(&inner, &place)
        .args(["start", "--", "build"])
        .run()
        .succeeded();
    for unit in ["base", "app"] {
        began_from(&inner, unit, "seeded");
    }
}

/// What plain cargo compiles has cargo's id, by which no session made through headstart knows it; nor the other way round.
#[test]
fn plain_cargo_may_take_turns() {
    let clone = workspace();
    let plain = clone.cargo();
    let wrapped = clone.cargo().wrapper(PROGRAM);
    wrapped.build(&[]);
    plain.build(&[]);
    let turns = [
        (&plain, &plain),
        (&wrapped, &plain),
        (&wrapped, &wrapped),
        (&plain, &wrapped),
        (&plain, &plain),
        (&wrapped, &plain),
    ];
    let shapes = clone.read("base/src/shapes.rs");
    for (at, (below, above)) in (2..).zip(turns) {
        let other = shapes.replace("side * side", &format!("side * {at}"));
        clone.edit("base/src/shapes.rs", other);
        below.build(&["-p", "base"]);
        clone.append("app/src/report.rs", &format!("pub const N{at}: u8 = 0;\n"));
        let built = above.build(&[]);
        assert!(!built.stderr.contains("panicked"), "{}", built.stderr);
        let said = clone.program("app");
        assert!(said.contains(&format!(" {} ", 3 * at)), "{said}");
    }
}

/// A member that is placed is called as it was published: by the name of the one that was compiled here before, nothing of a program
/// would be reused.
#[test]
fn what_is_placed_is_what_a_program_is_compiled_against() {
    let (source, place) = (workspace(), Place::new());
    let clone = source.clone_to(&place.scratch.path("clone"));
    let cargo = clone.cargo().wrapper(PROGRAM);
    cargo.build(&[]);
    another_version(&source);
    let locked = |version: &str| format!("name = \"base\"\nversion = \"{version}\"");
    source.replace("Cargo.lock", &locked("0.1.0"), &locked("0.2.0"));
    source.commit("another version");
    publish_by(runner(source.root(), &place), &["build"]);
    clone.git(&["pull", "--quiet"]);
    // rustc has nothing of its own that would be better.
    std::fs::remove_dir_all(clone.path("target/debug/incremental")).expect("it is ours");
    runner(clone.root(), &place)
        .args(["start"])
        .run()
        .succeeded();
    clone.append("app/src/report.rs", "pub fn more() {}\n");
    let built = cargo.build(&[]);
    assert!(!built.stderr.contains("Compiling base"), "{}", built.stderr);
    began_from(clone.root(), "app", "seeded");
}
