//! rustc's own source tree: one `x` that runs several cargos, each with a target directory of its own.
//!
//! A tree of the same shape stands for it: bootstrap in a workspace of its own, the compiler in that of the top.

mod common;

use common::{Place, named};
use headstart_testkit::{Headstart, Output, Workspace, fixture};
use serde_json::Value;

/// What is compiled for bootstrap.
const BOOTSTRAP: [&str; 3] = ["bootstrap(bin)", "bootstrap(lib)", "helper(lib)"];

fn runner(tree: &Workspace, place: &Place) -> Headstart {
    common::runner(tree.root(), place).env("CARGO_TERM_VERBOSE", "true")
}

fn run(tree: &Workspace, place: &Place, args: &[&str]) -> Output {
    runner(tree, place).args(args).run().succeeded()
}

fn publish(tree: &Workspace, place: &Place) -> Value {
    run(tree, place, &["publish", "--json", "--", "x", "check"]).json()
}

/// The verdicts of the part in `target_dir`: how many are fresh, near, absent.
fn verdicts(started: &Value, target_dir: &str) -> [u64; 3] {
    let parts = started["parts"].as_array().expect("several parts");
    let part = parts.iter().find(|part| part["target_dir"] == target_dir);
    let units = &part.unwrap_or_else(|| panic!("{target_dir} in {started}"))["units"];
    ["fresh", "near", "absent"].map(|name| units[name].as_u64().expect("a number"))
}

/// A contributor's fresh clone would compile bootstrap and the compiler for minutes.
#[test]
fn a_clone_of_the_tree_starts_with_all_its_target_directories() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    let published = publish(&tree, &place);
    assert_eq!(
        published["parts"].as_array().map(Vec::len),
        Some(2),
        "{published}"
    );
    for part in published["parts"].as_array().expect("parts") {
        assert_eq!(part["left_out"].as_array().map(Vec::len), Some(0), "{part}");
    }
    let clone = tree.clone_to(&place.scratch.path("deep/er/clone"));
    let started = run(&clone, &place, &["start", "--json"]).json();
    // Its hash tells where `helper` lies, so bootstrap is compiled again: from the published sessions.
    assert_eq!(verdicts(&started, "build/bootstrap"), [0, 3, 0]);
    assert_eq!(verdicts(&started, "build/host/stage1-rustc")[1..], [0, 0]);
    // While the compiler's units are placed; nothing is left to `x`.
    let built = run(&clone, &place, &["start", "--", "x", "check"]).build();
    assert_eq!(named(&built), [""; 0]);
    let all = ["--target-dir", "build/bootstrap", "--json"];
    let explained = common::chain::explain(clone.root(), &all).json();
    let units = explained["units"].as_array().expect("units").iter();
    let codes: Vec<_> = units
        .filter(|unit| !unit["compiled"].is_null())
        .map(|unit| &unit["compiled"]["reason"]["code"])
        .collect();
    assert_eq!(codes, ["seeded"; 3], "{explained}");
    let program = clone.path("build/bootstrap/debug/bootstrap");
    let said = std::process::Command::new(program)
        .output()
        .expect("it runs");
    assert_eq!(said.stdout, b"helped\n");
}

/// A crate that rustc knows by another name than cargo does would not be found where headstart is taken away again.
#[test]
fn plain_cargo_goes_on_where_units_have_two_names() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    publish(&tree, &place);
    tree.remove("build");
    let started = run(&tree, &place, &["start", "--json"]).json();
    assert_eq!(
        verdicts(&started, "build/bootstrap"),
        [3, 0, 0],
        "{started}"
    );
    let cargo = tree.cargo().env("CARGO_TARGET_DIR", "build/bootstrap");
    let plainly = ["build", "--manifest-path", "src/bootstrap/Cargo.toml"];
    common::rests(&cargo, &plainly);
    tree.append("src/bootstrap/src/main.rs", "// edited\n");
    assert_eq!(named(&cargo.run(&plainly).succeeded()), ["bootstrap(bin)"]);
    tree.replace("src/helper/src/lib.rs", "helped", "helped more");
    assert_eq!(named(&cargo.run(&plainly).succeeded()), BOOTSTRAP);
    // What is under the other name is older now, and must not be compiled against.
    tree.append("src/bootstrap/src/main.rs", "// edited again\n");
    let wrapped = cargo.clone().wrapper(common::PROGRAM);
    assert_eq!(
        named(&wrapped.run(&plainly).succeeded()),
        ["bootstrap(bin)"]
    );
    let program = tree.path("build/bootstrap/debug/bootstrap");
    let said = std::process::Command::new(program)
        .output()
        .expect("it runs");
    assert_eq!(said.stdout, b"helped more\n");
}

/// What an earlier build left, of which cargo would build some again, would be taken for fresh elsewhere.
#[test]
fn leftovers_of_another_commit_stay_out() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    publish(&tree, &place);
    tree.replace("compiler/middle/src/lib.rs", "1", "2");
    tree.replace("x.py", "--release", "--release -p middle")
        .commit("middle alone");
    let published = publish(&tree, &place);
    let parts = published["parts"].as_array().expect("parts");
    let left_out: Vec<_> = parts
        .iter()
        .flat_map(|part| part["left_out"].as_array().expect("a list"))
        .map(|one| one["unit"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0].contains("driver"), "{left_out:?}");
}

/// A compiler that was edited would be taken for the published one.
#[test]
fn what_was_edited_is_compiled_and_nothing_else() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    publish(&tree, &place);
    let clone = tree.clone_to(&place.scratch.path("clone"));
    clone.append("compiler/middle/src/lib.rs", "pub fn more() {}\n");
    let built = run(&clone, &place, &["start", "--", "x", "check"]).build();
    // Bootstrap was compiled before.
    assert_eq!(named(&built), ["driver(lib check)", "middle(lib check)"]);
    let directory = [
        "--target-dir",
        "build/host/stage1-rustc",
        "--json",
        "middle",
    ];
    let json = common::chain::explain(clone.root(), &directory).json();
    let code = &json["units"][0]["compiled"]["reason"]["code"];
    assert_eq!(code, "seeded", "{json}");
}

/// Two work trees with one target directory, each with a dependency of its own outside: one would get the other's.
#[test]
fn work_trees_that_share_a_target_directory_keep_apart() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    let other = tree.clone_to(&place.scratch.path("other"));
    other.replace("src/helper/src/lib.rs", "helped", "helped otherwise");
    other.commit("otherwise");
    let shared = place.scratch.path("shared");
    let said = |tree: &Workspace, args: &[&str]| {
        let bootstrap = tree.path("src/bootstrap");
        let runner = common::runner(&bootstrap, &place).env("CARGO_TARGET_DIR", &shared);
        runner.args(args).run().succeeded();
        let program = shared.join("debug/bootstrap");
        let output = std::process::Command::new(program)
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let publish = ["publish", "--", "build"];
    assert_eq!(said(&tree, &publish), "helped\n");
    assert_eq!(said(&other, &publish), "helped otherwise\n");
    tree.append("src/bootstrap/src/lib.rs", "// edited\n")
        .commit("edited");
    assert_eq!(said(&tree, &["start", "--", "build"]), "helped\n");
    other
        .append("src/bootstrap/src/main.rs", "// edited\n")
        .commit("edited");
    assert_eq!(
        said(&other, &["start", "--", "build"]),
        "helped otherwise\n"
    );
}

/// A variable that `x` sets for its cargos is none of the reader's shell, and would make everything dirty.
#[test]
fn another_value_of_what_x_sets_is_cargos_to_judge() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    publish(&tree, &place);
    let clone = tree.clone_to(&place.scratch.path("clone"));
    let built = runner(&clone, &place)
        .env("SET_VERSION", "another")
        .args(["start", "--", "x", "check"])
        .run()
        .succeeded();
    assert_eq!(named(&built.build()), ["driver(lib check)"]);
}

/// Whoever has built nothing through headstart would believe it to be published.
#[test]
fn nothing_built_through_headstart_is_nothing_published() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    tree.edit("x.py", "#!/usr/bin/env bash\nexit 0\n")
        .commit("nothing");
    let output = runner(&tree, &place)
        .args(["publish", "--required", "--", "x", "check"])
        .run();
    assert_eq!(output.code, 1);
    assert!(
        output
            .stderr
            .contains("nothing in `build` was built through headstart"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("hint:"), "{}", output.stderr);
}

/// Trees before 1.87 have their configuration in a file of another name; others have it where a variable says. Nothing of them would be
/// published.
#[test]
fn the_compiler_of_stage_0_is_named_where_bootstrap_looks() {
    for (file, variable) in [
        ("config.toml", ""),
        ("own/settings.toml", "own/settings.toml"),
    ] {
        let (tree, place) = (fixture::bootstrapped(), Place::new());
        let text = tree.read("bootstrap.toml");
        tree.remove("bootstrap.toml")
            .edit(file, &text)
            .commit("elsewhere");
        let published = runner(&tree, &place)
            .args(["publish", "--json", "--", "x", "check"])
            .env("RUST_BOOTSTRAP_CONFIG", variable)
            .run()
            .succeeded()
            .json();
        assert_eq!(
            published["parts"].as_array().map(Vec::len),
            Some(2),
            "{file}: {published}"
        );
    }
}

/// A build that `x` fails would be published, or its exit code lost.
#[test]
fn x_fails_as_it_fails() {
    let (tree, place) = (fixture::bootstrapped(), Place::new());
    tree.edit("x.py", "#!/usr/bin/env bash\nexit 7\n")
        .commit("fails");
    for command in ["publish", "start"] {
        let output = runner(&tree, &place)
            .args([command, "--", "x", "check"])
            .run();
        assert_eq!(output.code, 7, "{command}: {}", output.stderr);
    }
}
