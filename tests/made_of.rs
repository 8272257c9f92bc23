//! What is published as what it was made of, and what is left out because nobody can say.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Place, clone_elsewhere, runner, start_by, start_elsewhere};
use headstart_testkit::Workspace;

const PLAIN_BUILD: &[&str] = &["build"];

/// A program for the publisher's CPU may end with SIGILL on the reader's, whose cargo would have compiled another.
#[test]
fn what_is_compiled_for_a_cpu_is_not_published() {
    let script = "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n}\n";
    let main = "fn main() {\n    println!(\"native\");\n}\n";
    let host = "x86_64-unknown-linux-gnu";
    let cross = ["build", "--target", host];
    for flags in ["-Ctarget-cpu=native", "-C target-cpu=native"] {
        for command in [&["build"][..], &cross] {
            let place = Place::new();
            let native = common::app("", &[("build.rs", script), ("src/main.rs", main)]);
            let said = runner(native.root(), &place)
                .env("RUSTFLAGS", flags)
                .args(["publish", "--json", "--"].iter().chain(command))
                .run();
            if command == cross && said.stderr.contains("target may not be installed") {
                continue;
            }
            let said = said.succeeded().json();
            let left_out = said["left_out"].to_string();
            assert!(left_out.contains("/bin-app"), "{said}");
            assert!(left_out.contains("CPU of the machine"), "{said}");
            // The script itself may run anywhere if it is for a host apart from the target; what it said may not.
            assert!(left_out.contains("/run-build-script"), "{said}");
        }
    }
}

/// The same of what scripts compile, whose flags cargo knows only if they say so.
#[test]
fn what_a_script_compiles_for_a_cpu_is_not_published() {
    let script = "fn main() {\n    println!(\"cargo::rerun-if-env-changed=CFLAGS\");\n}\n";
    let main = "fn main() {\n    println!(\"native\");\n}\n";
    for (flags, is_left_out) in [("-O2 -march=native", true), ("-march=x86-64-v3", false)] {
        let place = Place::new();
        let native = common::app("", &[("build.rs", script), ("src/main.rs", main)]);
        let publish = runner(native.root(), &place).env("CFLAGS", flags);
        let said = publish.args(["publish", "--json"]).run().succeeded().json();
        let left_out = said["left_out"].to_string();
        assert_eq!(
            left_out.contains("CPU of the machine"),
            is_left_out,
            "{said}"
        );
    }
}

/// Of two work trees with one target directory cargo takes what the one compiled for the other's, by its times. Published, it would be
/// wrong in clones that share nothing with either.
#[test]
fn what_another_work_tree_made_is_not_published() {
    type By = fn(&Workspace, &Place, &Path);
    let by_cargo: By = |tree, _, shared| drop(tree.cargo().target_dir(shared).build(&[]));
    let by_start: By = |tree, place, shared| {
        let start = runner(tree.root(), place).env("CARGO_TARGET_DIR", shared);
        start.args(["start", "--", "build"]).run().succeeded();
    };
    let by_placing: By = |tree, place, shared| {
        common::publish(tree, place, PLAIN_BUILD);
        start_by(
            runner(tree.root(), place).env("CARGO_TARGET_DIR", shared),
            &[],
        );
        tree.cargo().target_dir(shared).build(&[]);
    };
    for (by, inside) in [
        (by_cargo, false),
        (by_start, false),
        (by_placing, false),
        (by_cargo, true),
        (by_start, true),
    ] {
        let place = Place::new();
        let main = "mod word;\nfn main() {\n    println!(\"{}\", word::WORD);\n}\n";
        let word = "pub const WORD: &str = \"first\";\n";
        let app = common::app("", &[("src/main.rs", main), ("src/word.rs", word)]);
        let path = place.scratch.path("other");
        app.git(&[
            "worktree",
            "add",
            "--quiet",
            "-b",
            "other",
            &path.display().to_string(),
        ]);
        let other = Workspace::open(&path);
        other
            .replace("src/word.rs", "first", "other")
            .commit("other");
        let shared = match inside {
            true => app.path("target"),
            false => place.scratch.path("shared"),
        };
        by(&other, &place, &shared);
        let publisher = || runner(app.root(), &place).env("CARGO_TARGET_DIR", &shared);
        publisher()
            .args(["publish", "--", "build"])
            .run()
            .succeeded();
        let there = start_elsewhere(&app, &place, &[]);
        there.cargo().build(&[]);
        assert_eq!(there.clone.program("app"), "first");
        // What is compiled here is ours.
        app.append("src/word.rs", "// edited\n").commit("edited");
        common::publish_by(publisher(), PLAIN_BUILD);
    }
}

/// The same of a script, which cargo runs without compiling it: what it wrote may be of either tree.
#[test]
fn what_a_script_wrote_for_another_work_tree_is_not_published() {
    let place = Place::new();
    let script = "fn main() {\n    \
            println!(\"cargo::rerun-if-changed=word\");\n    \
            let out = std::path::PathBuf::from(std::env::var_os(\"OUT_DIR\").unwrap());\n    \
            std::fs::copy(\"word\", out.join(\"word\")).unwrap();\n\
        }\n";
    let main =
        "fn main() {\n    println!(include_str!(concat!(env!(\"OUT_DIR\"), \"/word\")));\n}\n";
    let files = [
        ("build.rs", script),
        ("src/main.rs", main),
        ("word", "first"),
    ];
    let app = common::app("", &files);
    let path = place.scratch.path("other");
    let path = path.display().to_string();
    app.git(&["worktree", "add", "--quiet", "-b", "other", &path]);
    let other = Workspace::open(Path::new(&path));
    let shared = place.scratch.path("shared");
    let run = |tree: &Workspace, args: &[&str]| {
        let runner = runner(tree.root(), &place).env("CARGO_TARGET_DIR", &shared);
        runner.args(args).run().succeeded()
    };
    // Compiled for the one, and run again for the other.
    run(&app, &["publish", "--", "build"]);
    other.edit("word", "other").commit("other");
    run(&other, &["start", "--", "build"]);
    app.append("src/main.rs", "// edited\n").commit("edited");
    run(&app, &["publish", "--", "build"]);
    let there = start_elsewhere(&app, &place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("app"), "first");
}

/// A library that only the linker reads would stay as it was, which a fresh clone of plain cargo's does not do.
#[test]
fn what_the_linker_reads_is_compared() {
    let place = Place::new();
    let script = "fn main() {\n    \
            println!(\"cargo::rerun-if-changed=build.rs\");\n    \
            println!(\"cargo::rustc-link-search=native={}/lib\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap());\n    \
            println!(\"cargo::rustc-link-lib=static=word\");\n\
        }\n";
    let main = "unsafe extern \"C\" {\n    safe fn word() -> i32;\n}\nfn main() {\n    println!(\"{}\", word());\n}\n";
    let app = common::app("", &[("build.rs", script), ("src/main.rs", main)]);
    let library = |word: i32| {
        let (source, object) = (place.scratch.path("word.c"), place.scratch.path("word.o"));
        std::fs::write(&source, format!("int word(void) {{ return {word}; }}\n")).unwrap();
        let run = |program: &str, args: &[&Path]| {
            let status = Command::new(program).args(args).status();
            assert!(status.expect("it is installed").success());
        };
        run("cc", &[Path::new("-c"), &source, Path::new("-o"), &object]);
        std::fs::create_dir_all(app.path("lib")).unwrap();
        run(
            "ar",
            &[Path::new("rcsD"), &app.path("lib/libword.a"), &object],
        );
        app.commit("a library");
    };
    library(1);
    common::publish(&app, &place, PLAIN_BUILD);
    let same = start_elsewhere(&app, &place, &[]);
    same.cargo().build(&[]).nothing_ran();
    assert_eq!(same.clone.program("app"), "1");
    library(2);
    let next = clone_elsewhere(&app, &place, "next/clone");
    next.start(&place, &[]);
    next.cargo().build(&[]);
    assert_eq!(next.clone.program("app"), "2");
}

/// A checkout that was moved with its target directory, or is seen by a container under another path, is no other tree.
#[test]
fn a_moved_checkout_is_published() {
    let place = Place::new();
    let app = common::app("", &[("src/main.rs", "fn main() {}\n")]);
    let inside = app.clone_to(&place.scratch.path("before"));
    common::publish(&inside, &place, PLAIN_BUILD);
    let after = place.scratch.path("after");
    std::fs::rename(inside.root(), &after).expect("it is ours");
    let moved = Workspace::open(&after);
    common::rests(&moved.cargo(), PLAIN_BUILD);
    common::publish(&moved, &place, PLAIN_BUILD);
}
