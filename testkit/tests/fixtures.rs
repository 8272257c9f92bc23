//! Every fixture builds with the real cargo, from a cargo home of its own, and a second build runs nothing.

#![allow(
    clippy::disallowed_methods,
    reason = "the bans name who in src/ may touch the machine"
)]

use headstart_testkit::{Cargo, Scratch, Workspace, cargo_home, fixture};

/// Builds everything twice, offline, with the lockfile as it is; returns what the first build made.
fn builds_and_rests(workspace: &Workspace, home: &Scratch) -> headstart_testkit::Build {
    let cargo = offline(workspace, home);
    let everything = ["--workspace", "--all-targets", "--locked"];
    let first = cargo.build(&everything);
    let second = cargo.build(&everything).nothing_ran();
    assert!(!second.fresh.is_empty());
    assert!(
        workspace.is_clean(),
        "{}",
        workspace.git(&["status", "--porcelain"])
    );
    first
}

fn offline(workspace: &Workspace, home: &Scratch) -> Cargo {
    workspace.cargo().home(home.root()).offline()
}

fn home() -> Scratch {
    let home = Scratch::new();
    cargo_home(home.root(), fixture::REGISTRY_CRATES);
    home
}

fn names(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| name.to_string()).collect()
}

const SAID: &str = "0 debug
1 hello from App
2 both, for the target
3 LOUD
4 data
5 no mode, both, for the host
6 generated
7 note
8 outside
9 shared
10 blue
11 warns";

// Without it, a test that says "every kind of unit" would say less than that.
#[test]
fn kinds_has_every_kind_of_unit() {
    let (workspace, home) = (fixture::kinds(), home());
    let first = builds_and_rests(&workspace, &home);
    let expected = names(&[
        "app(lib)",
        "app(test)",
        "both(lib)",
        "cfg_if(lib)",
        "featured(lib)",
        "for_c(cdylib)",
        "for_linking(staticlib)",
        "for_loading(dylib)",
        "gen-absolute(build)",
        "gen-absolute(run)",
        "gen-mode(build)",
        "gen-mode(run)",
        "gen-relative(build)",
        "gen-relative(run)",
        "gen-silent(build)",
        "gen-silent(run)",
        "gen_absolute(lib)",
        "gen_mode(lib)",
        "gen_relative(lib)",
        "gen_silent(lib)",
        "hello_derive(proc-macro)",
        "integration(test)",
        "itoa(lib)",
        "one(bin)",
        "one(test)",
        "outside(lib)",
        "quoting(lib)",
        "show(example)",
        "speed(bench)",
        "tinted(lib)",
        "two(bin)",
        "warns(lib)",
    ]);
    assert_eq!(first.crates_compiled(), expected);
    // `both` is compiled twice, for the host and for the target.
    let boths = first
        .units()
        .into_iter()
        .filter(|unit| unit.starts_with("both-"));
    assert_eq!((boths.count(), first.script_runs()), (2, 4));
    assert!(first.stderr.contains("unused variable"), "{}", first.stderr);
    assert_eq!(workspace.program("one"), SAID);
    assert_eq!(
        first.rustc_runs(),
        first.units().len() - first.script_runs()
    );
    wakes(&workspace, &home);
}

/// Changes each input that cargo tracks in its own way, and sees that cargo rebuilds and the program says it.
fn wakes(workspace: &Workspace, home: &Scratch) {
    let cargo = offline(workspace, home);
    let edits = [
        (
            "crates/gen-relative/words.txt",
            "gen-relative(run)",
            "6 changed",
        ),
        (
            "crates/gen-absolute/data.txt",
            "gen-absolute(run)",
            "4 changed",
        ),
        ("crates/gen-silent/note.txt", "gen-silent(run)", "7 changed"),
        ("shared.txt", "quoting(lib)", "9 changed"),
    ];
    for (path, unit, line) in edits {
        workspace.edit(path, "changed\n");
        let build = cargo.build(&["--bin=one"]);
        assert!(
            build.crates_compiled().contains(unit),
            "{unit}: {}",
            build.stderr
        );
        assert!(
            workspace.program("one").lines().any(|said| said == line),
            "{line}"
        );
    }
    let variables = [
        (
            "FIXTURE_MODE",
            "fast",
            "gen-mode(run)",
            "5 fast, both, for the host",
        ),
        ("FIXTURE_COLOR", "red", "tinted(lib)", "10 red"),
        ("FIXTURE_TRIM", "gold", "tinted(lib)", "10 gold"),
    ];
    for (name, value, unit, line) in variables {
        let build = cargo.clone().env(name, value).build(&["--bin=one"]);
        assert!(
            build.crates_compiled().contains(unit),
            "{unit}: {}",
            build.stderr
        );
        assert!(
            workspace.program("one").lines().any(|said| said == line),
            "{line}"
        );
    }
}

#[test]
fn kinds_checks_and_tests() {
    let (workspace, home) = (fixture::kinds(), home());
    let cargo = offline(&workspace, &home);
    let check = cargo.run(&["check", "--workspace", "--locked"]).succeeded();
    assert!(
        check.crates_compiled().contains("app(lib check)"),
        "{:?}",
        check.crates_compiled()
    );
    cargo
        .run(&["check", "--workspace", "--locked"])
        .nothing_ran();
    let test = cargo
        .run(&["test", "--package=app", "--locked"])
        .succeeded();
    assert!(
        test.stdout.contains("every_library_says_a_line ... ok"),
        "{}",
        test.stdout
    );
}

#[test]
fn pinned_tells_its_directory() {
    let (workspace, home) = (fixture::pinned(), home());
    builds_and_rests(&workspace, &home);
    let expected = format!("{}/teller\nbeneath", workspace.root().display());
    assert_eq!(workspace.program("teller"), expected);
}

#[test]
fn stamped_says_its_commit() {
    let (workspace, home) = (fixture::stamped(), home());
    let first = workspace.head();
    builds_and_rests(&workspace, &home);
    assert_eq!(workspace.program("stamped"), first);

    let second = workspace.append("build.rs", "// second\n").commit("second");
    workspace.checkout(&first);
    offline(&workspace, &home).build(&[]);
    workspace.checkout(&second);
    offline(&workspace, &home).build(&[]);
    assert_eq!(workspace.program("stamped"), second);
}

#[test]
fn vendored_builds_without_a_registry() {
    let (workspace, home) = (fixture::vendored(), Scratch::new());
    let first = builds_and_rests(&workspace, &home);
    assert!(first.crates_compiled().contains("tiny(lib)"));
    assert!(
        !home.path("registry/index").exists(),
        "nothing came from crates.io"
    );
    assert_eq!(workspace.program("shop"), "tiny");
}

#[test]
fn git_dep_clones_from_scratch() {
    let (scratch, home) = (Scratch::new(), home());
    let workspace = fixture::git_dep(&scratch);
    // cargo clones nothing when it is offline, not even from a file URL; after that it needs no network.
    let refused = offline(&workspace, &home).run(&["build", "--locked"]);
    assert!(!refused.success && refused.rustc_runs() == 0);
    workspace
        .cargo()
        .home(home.root())
        .run(&["fetch", "--locked"])
        .succeeded();
    let first = builds_and_rests(&workspace, &home);
    let expected = names(&["library(lib)", "user(bin)", "user(test)"]);
    assert_eq!(first.crates_compiled(), expected);
    assert!(home.path("git/checkouts").exists());
    assert_eq!(workspace.program("user"), "library");
}

#[test]
fn chain_drags_along_what_stands_above() {
    let (workspace, home) = (fixture::chain(4), home());
    builds_and_rests(&workspace, &home);
    assert_eq!(workspace.program("c3"), "3");

    workspace.replace("crates/c1/src/lib.rs", "+ 1", "+ 10");
    let build = offline(&workspace, &home).build(&[]);
    assert_eq!(
        build.crates_compiled(),
        names(&["c1(lib)", "c2(lib)", "c3(bin)"])
    );
    assert!(
        build
            .dirty
            .iter()
            .any(|dirty| dirty.package == "c1" && dirty.why.contains("src/lib.rs"))
    );
    assert_eq!(workspace.program("c3"), "12");

    // A wrapper stands before rustc in what cargo prints.
    let (one, wrapper) = (fixture::chain(1), "/usr/bin/env");
    let build = offline(&one, &home).wrapper(wrapper).build(&[]);
    assert!(build.stderr.contains(wrapper));
    assert_eq!(build.crates_compiled(), names(&["c0(bin)"]));
}
