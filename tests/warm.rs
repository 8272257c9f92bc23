//! A target directory that holds work keeps it: only what cargo would find dirty is replaced, and no source is written.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::{
    Place, clone_elsewhere, counts, publish, rests, runner, start_by, start_elsewhere, verdicts,
};
use headstart_testkit::fixture::Lock;
use headstart_testkit::{Workspace, fixture};

const BUILD: &[&str] = &["build"];

/// What a bundler made of an older commit would be served by a program of the newer one, as nothing but its script writes it.
#[test]
fn what_a_script_wrote_among_the_sources_is_written_again() {
    let (chain, place) = (fixture::chain(2), Place::new());
    let script = "fn main() {\n    \
            println!(\"cargo::rerun-if-changed=page\");\n    \
            std::fs::create_dir_all(\"dist\").unwrap();\n    \
            std::fs::copy(\"page\", \"dist/page\").unwrap();\n\
        }\n";
    chain.edit(".gitignore", "target\ndist\n");
    chain.edit("crates/c0/build.rs", script);
    chain.edit("crates/c0/page", "one");
    chain.commit("one");
    publish(&chain, &place, &["build"]);
    let warm = chain.clone_to(&place.scratch.path("warm"));
    warm.cargo().build(&[]);
    chain.edit("crates/c0/page", "two");
    chain.commit("two");
    publish(&chain, &place, &["build"]);
    warm.git(&["pull", "--quiet"]);
    let said = start_by(runner(warm.root(), &place), &[]);
    assert_eq!(
        common::reasons(&said, "/run-build-script-build-script-build"),
        ["left-here"],
        "{said}"
    );
    warm.cargo().build(&[]);
    assert_eq!(warm.read("crates/c0/dist/page"), "two");
    // Who starts from nothing has none of it, as ever, and where it is made anew all is as with cargo alone.
    let said = start_by(runner(warm.root(), &place), &[]);
    warm.cargo().build(&[]).nothing_ran();
    assert_eq!(counts(&said)[2..], [0, 0], "{said}");
}

/// Inode, size and time of files.
type Files = BTreeMap<PathBuf, (u64, u64, i64, i64)>;

/// Whoever edited and built would lose that build to an older one, and wait for it again.
#[test]
fn newer_local_work_is_kept() {
    let (chain, place) = (fixture::chain(4), Place::new());
    publish(&chain, &place, BUILD);
    let there = start_elsewhere(&chain, &place, &[]);
    add_to(&there.clone, 1, 10);
    there.cargo().build(&[]);

    let before = files(&there.clone, "target");
    let started = there.start(&place, &[]);
    assert_eq!(counts(&started), [0, 4, 0, 0], "{started}");
    assert_same(&before, &files(&there.clone, "target"));
    there.rests(&[BUILD]);
    assert_eq!(there.clone.program("c3"), "12");

    // Also where the work was committed.
    there.clone.commit("local");
    let before = files(&there.clone, "target");
    assert_eq!(counts(&there.start(&place, &[])), [0, 4, 0, 0]);
    assert_same(&before, &files(&there.clone, "target"));
    there.rests(&[BUILD]);
}

/// A pull that changes one crate would otherwise cost the whole target directory's worth of writes.
#[test]
fn only_what_is_dirty_is_replaced() {
    let (chain, place) = (fixture::chain(4), Place::new());
    publish(&chain, &place, BUILD);
    let there = start_elsewhere(&chain, &place, &[]);
    there.rests(&[BUILD]);
    add_to(&chain, 2, 20);
    chain.commit("second");
    publish(&chain, &place, BUILD);
    there.clone.git(&["pull", "--quiet"]);

    let before = files(&there.clone, "target");
    let started = there.start(&place, &[]);
    for (unit, verdict) in [
        ("/lib-c0", "kept"),
        ("/lib-c1", "kept"),
        ("/lib-c2", "fresh"),
        ("/bin-c3", "fresh"),
    ] {
        assert_eq!(verdicts(&started, unit), [verdict], "{unit}");
    }
    let after = files(&there.clone, "target");
    let is_lower = |path: &PathBuf| {
        let path = path.to_string_lossy();
        ["/c0-", "/libc0-", "/c1-", "/libc1-"]
            .iter()
            .any(|name| path.contains(name))
    };
    let lower = |files: Files| -> Files {
        let kept = files.into_iter().filter(|(path, _)| is_lower(path));
        kept.collect()
    };
    let before = lower(before);
    assert!(before.len() >= 10, "{before:?}");
    assert_same(&before, &lower(after));
    there.rests(&[BUILD]);
    assert_eq!(there.clone.program("c3"), "22");
}

/// A source that was written, or only touched, is a change that nobody made: editors reload it and every build tool runs.
#[test]
fn sources_are_never_written() {
    let (kinds, place) = (fixture::kinds(), Place::new());
    publish(&kinds, &place, &["check", "--workspace"]);
    kinds.edit("shared.txt", "second\n").commit("second");
    let there = clone_elsewhere(&kinds, &place, "clone");
    there.clone.edit(
        "crates/both/src/lib.rs",
        "pub fn word() -> &'static str {\n    \"edited\"\n}\n",
    );
    let before = files(&there.clone, ".");
    assert!(before.len() > 40);
    there.start(&place, &[]);
    there.start(&place, &["--dry-run"]);
    there.start(&place, &["--commit", "HEAD~1"]);
    let mut after = files(&there.clone, ".");
    after.retain(|path, _| !path.starts_with("./target"));
    assert_same(&before, &after);
    there.cargo().run(&["check", "--workspace"]).succeeded();
}

/// A dry run that places something is no dry run.
#[test]
fn a_dry_run_places_nothing() {
    let (chain, place) = (fixture::chain(2), Place::new());
    publish(&chain, &place, BUILD);
    let there = start_elsewhere(&chain, &place, &["--dry-run"]);
    assert_eq!(counts(&there.started), [2, 0, 0, 0]);
    assert!(!there.clone.path("target").exists());
}

/// Whoever used plain cargo before must be able to link after the start and after every edit that follows (E0460).
#[test]
fn a_directory_of_plain_cargo_still_links() {
    let (chain, place) = (fixture::chain(4), Place::new());
    let there = clone_elsewhere(&chain, &place, "clone");
    there.cargo().build(&[]);
    add_to(&chain, 0, 100);
    chain.commit("second");
    publish(&chain, &place, BUILD);
    there.clone.git(&["pull", "--quiet"]);
    there.start(&place, &[]);
    there.rests(&[BUILD]);
    assert_eq!(there.clone.program("c3"), "103");
    for (at, sum) in [(3, "1102"), (1, "2101"), (2, "3100"), (0, "4099")] {
        match at {
            0 => there.clone.replace(source(0), "    100", "    1099"),
            _ => there.clone.replace(source(at), "+ 1", "+ 1000"),
        };
        there.cargo().build(&[]);
        assert_eq!(there.clone.program("c3"), sum, "c{at}");
    }
}

/// The same where part of the directory is newer than what was published, above and below what changed.
#[test]
fn local_work_beside_a_start_still_links() {
    for edited in 0..4 {
        let (chain, place) = (fixture::chain(4), Place::new());
        let there = clone_elsewhere(&chain, &place, "clone");
        there.cargo().build(&[]);
        add_to(&chain, 1, 10);
        chain.commit("second");
        publish(&chain, &place, BUILD);
        if edited != 1 {
            add_to(&there.clone, edited, 200);
            there.cargo().build(&[]);
        }
        there.clone.git(&["pull", "--quiet"]);
        there.start(&place, &[]);
        there.cargo().build(&[]);
        let sum = if edited == 1 { "12" } else { "211" };
        assert_eq!(
            there.clone.program("c3"),
            if edited == 0 { "212" } else { sum },
            "c{edited}"
        );
        there.rests(&[BUILD]);
    }
}

/// Somebody who bisects, or goes back to a branch, starts again and again in one directory.
#[test]
fn starts_may_follow_each_other_in_any_order() {
    let (chain, place) = (fixture::chain(4), Place::new());
    let first = chain.head();
    publish(&chain, &place, BUILD);
    add_to(&chain, 1, 10);
    let second = chain.commit("second");
    publish(&chain, &place, BUILD);
    let there = clone_elsewhere(&chain, &place, "clone");
    for (commit, sum) in [
        (&first, "3"),
        (&second, "12"),
        (&first, "3"),
        (&second, "12"),
    ] {
        there.clone.checkout(commit);
        let started = there.start(&place, &[]);
        assert_eq!(started["commit"], commit.as_str());
        there.rests(&[BUILD]);
        assert_eq!(there.clone.program("c3"), sum);
    }
    // An older starting point than HEAD, asked for by name, leaves what HEAD has.
    let started = there.start(&place, &["--commit", &first]);
    assert_eq!(counts(&started), [0, 4, 0, 0], "{started}");
    there.rests(&[BUILD]);
    assert_eq!(there.clone.program("c3"), "12");
}

/// Flags and settings that only cargo judges must not cost the build that was made with them.
#[test]
fn a_build_with_other_settings_is_kept() {
    let (chain, place) = (fixture::chain(3), Place::new());
    publish(&chain, &place, BUILD);
    let there = clone_elsewhere(&chain, &place, "flags");
    let flags = "-Cdebuginfo=1";
    there.cargo().env("RUSTFLAGS", flags).build(&[]);
    let reader = runner(there.clone.root(), &place).home(&there.home);
    start_by(reader.env("RUSTFLAGS", flags), &[]);
    rests(&there.cargo().env("RUSTFLAGS", flags), BUILD);

    for (name, file, text) in [
        (
            "configuration",
            ".cargo/config.toml",
            "[build]\nrustflags = [\"-Cdebuginfo=1\"]\n",
        ),
        ("profile", "Cargo.toml", "\n[profile.dev]\ndebug = 1\n"),
        (
            "features",
            "crates/c0/Cargo.toml",
            "\n[features]\nunused = []\n",
        ),
        (
            "lints",
            "crates/c0/Cargo.toml",
            "\n[lints.rust]\nunused = \"allow\"\n",
        ),
    ] {
        let there = clone_elsewhere(&chain, &place, name);
        let old = fs::read_to_string(there.clone.path(file)).unwrap_or_default();
        there.clone.edit(file, old + text);
        there.cargo().build(&[]);
        there.start(&place, &[]);
        there.rests(&[BUILD]);
    }
}

/// A library that comes out different each time it is built, one above it, and two programs.
fn restless() -> Workspace {
    let package = |name: &str, below: &[&str]| {
        let head = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n"
        );
        let paths = below
            .iter()
            .map(|below| format!("{below} = {{ path = \"../{below}\" }}\n"));
        (
            format!("{name}/Cargo.toml"),
            paths.fold(head, |text, path| text + &path),
        )
    };
    let script = "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
                  println!(\"cargo::rustc-env=MADE={:?}\", std::time::SystemTime::now());\n}\n";
    let main = "fn main() {\n    assert!(!base::MADE.is_empty());\n}\n";
    let lock = Lock::new().local("base", &[]).local("middle", &["base"]);
    let lock = lock
        .local("one", &["base", "middle"])
        .local("two", &["base"]);
    let members =
        "[workspace]\nresolver = \"3\"\nmembers = [\"base\", \"middle\", \"one\", \"two\"]\n";
    let texts = [
        (".gitignore", "/target\n"),
        ("Cargo.toml", members),
        ("base/build.rs", script),
        (
            "base/src/lib.rs",
            "pub const MADE: &str = env!(\"MADE\");\n",
        ),
        (
            "middle/src/lib.rs",
            "pub fn made() -> &'static str {\n    base::MADE\n}\n",
        ),
        (
            "one/src/main.rs",
            "fn main() {\n    assert_eq!(middle::made(), base::MADE);\n}\n",
        ),
        ("two/src/main.rs", main),
    ];
    let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let packages = [
        package("base", &[]),
        package("middle", &["base"]),
        package("one", &["base", "middle"]),
        package("two", &["base"]),
    ];
    Workspace::new(texts.into_iter().chain(packages).chain([lock.file()]))
}

/// Two runners of one CI publish one commit; what each built of the same crate may differ, and must not be mixed.
#[test]
fn two_starting_points_of_a_commit_do_not_mix() {
    for order in [["one", "two"], ["two", "one"]] {
        let (restless, place) = (restless(), Place::new());
        for name in order {
            let runner = clone_elsewhere(&restless, &place, name);
            publish(&runner.clone, &place, &["build", "--package", name]);
            // Points are in order of their seconds.
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        let there = start_elsewhere(&restless, &place, &[]);
        there.cargo().build(&[]);
        for program in order {
            there.clone.program(program);
        }
        there.clone.append("one/src/main.rs", "// edited\n");
        there.clone.append("two/src/main.rs", "// edited\n");
        there.cargo().build(&[]);
        for program in order {
            there.clone.program(program);
        }
    }
}

/// An output that somebody removed, or that a build left half done, is placed again.
#[test]
fn holes_are_filled() {
    let (chain, place) = (fixture::chain(3), Place::new());
    publish(&chain, &place, BUILD);
    let there = start_elsewhere(&chain, &place, &[]);
    let path = |name: &str| {
        let all = files(&there.clone, "target");
        let found = all
            .keys()
            .find(|path| path.to_string_lossy().contains(name));
        found
            .unwrap_or_else(|| panic!("{name} is in {all:?}"))
            .clone()
    };
    // What cargo leaves of a unit when it is killed in the middle of it: an empty hash.
    for name in ["deps/libc1-", "/lib-c0", "/dep-lib-c1", "deps/c2-"] {
        let path = path(name);
        match name {
            "/lib-c0" => there.clone.edit(&path, ""),
            _ => there.clone.remove(&path),
        };
        there.start(&place, &[]);
        there.rests(&[BUILD]);
    }
    assert_eq!(there.clone.program("c2"), "2");
}

/// Returns the source of one crate of a chain.
fn source(at: usize) -> String {
    let file = if at == 3 { "main" } else { "lib" };
    format!("crates/c{at}/src/{file}.rs")
}

/// Makes one crate of a chain of four count `more`.
fn add_to(chain: &Workspace, at: usize, more: u32) {
    match at {
        0 => chain.replace(source(0), "    0", &format!("    {more}")),
        _ => chain.replace(source(at), "+ 1", &format!("+ {more}")),
    };
}

/// Names the files that were written, added or removed between two looks.
#[track_caller]
fn assert_same(before: &Files, after: &Files) {
    let paths = before.keys().chain(after.keys());
    let changed: BTreeSet<_> = paths
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(changed.is_empty(), "changed: {changed:#?}");
}

/// Inode, size and time of every file below `dir`, but git's and our own.
fn files(workspace: &Workspace, dir: &str) -> Files {
    let mut found = BTreeMap::new();
    collect(workspace.root(), Path::new(dir), &mut found);
    found
}

fn collect(root: &Path, dir: &Path, found: &mut Files) {
    for entry in fs::read_dir(root.join(dir)).expect("it is a directory") {
        let name = entry.expect("it can be listed").file_name();
        let path = dir.join(&name);
        let meta = fs::symlink_metadata(root.join(&path)).expect("it was listed");
        match meta.is_dir() {
            true if name == ".git" || name == ".headstart" => {}
            true => collect(root, &path, found),
            false => drop(found.insert(
                path,
                (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()),
            )),
        }
    }
}

/// A build script that asks the machine, with the answer in what cargo reads and in what rustc reads, and a program of both.
fn asking(place: &Place) -> Workspace {
    let system = place.scratch.path("system-version");
    let script = format!(
        r#"fn main() {{
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::fs::read_to_string({system:?}).unwrap();
    if std::fs::exists("by-variable").unwrap() {{
        println!("cargo::rustc-env=SYSTEM={{version}}");
        println!("what cargo does not read is no answer: {{}}", std::process::id());
    }} else {{
        println!("cargo::rustc-env=SYSTEM=any");
    }}
    let out = std::env::var_os("OUT_DIR").unwrap();
    let text = match std::fs::exists("by-file").unwrap() {{
        true => format!("const API: &str = {{version:?}};"),
        false => "const API: &str = \"any\";".to_owned(),
    }};
    std::fs::write(std::path::Path::new(&out).join("api.rs"), text).unwrap();
}}
"#
    );
    let main = "include!(concat!(env!(\"OUT_DIR\"), \"/api.rs\"));\n\
        fn main() {\n    println!(\"{API} {}\", env!(\"SYSTEM\"));\n}\n";
    common::app("", &[("build.rs", &script), ("src/main.rs", main)])
}

/// The same, published where the answer was 3; `by` says who reads it.
fn published_asking(by: &str) -> (Workspace, Place) {
    let place = Place::new();
    let asking = asking(&place);
    asking.edit(by, "").commit("asks");
    place.scratch.write("system-version", "3");
    publish(&asking, &place, BUILD);
    (asking, place)
}

/// A script that ran here knows this machine: a program for what it said at the publisher's would call what is not here.
#[test]
fn what_a_script_said_here_counts() {
    for (by, theirs, ours) in [
        ("by-variable", "any 3", "any 1"),
        ("by-file", "3 any", "1 any"),
    ] {
        let (asking, place) = published_asking(by);
        let says = |version: &str| place.scratch.write("system-version", version);
        let same = clone_elsewhere(&asking, &place, "same");
        same.cargo().run(&["check"]).succeeded();
        says("1");
        let other = clone_elsewhere(&asking, &place, "other");
        other.cargo().run(&["check"]).succeeded();
        let started = other.start(&place, &[]);
        let run = "/run-build-script-build-script-build";
        assert_eq!(verdicts(&started, run), ["kept"], "{by}");
        other.cargo().build(&[]);
        assert_eq!(other.clone.program("app"), ours, "{by}");
        // The same answer is no reason to compile.
        same.start(&place, &[]);
        same.rests(&[BUILD]);
        assert_eq!(same.clone.program("app"), theirs, "{by}");
    }
}

/// A script whose answer is another in every run would have its crate compiled after every pull.
#[test]
fn what_a_script_said_at_publishers_is_replaced() {
    for (by, first, second) in [
        ("by-variable", "any 3", "any 4"),
        ("by-file", "3 any", "4 any"),
    ] {
        let (asking, place) = published_asking(by);
        let says = |version: &str| place.scratch.write("system-version", version);
        let there = start_elsewhere(&asking, &place, &[]);
        there.rests(&[BUILD]);
        assert_eq!(there.clone.program("app"), first, "{by}");
        says("4");
        let text = "// second\n";
        asking.append("src/main.rs", text).remove("target");
        asking.commit("second");
        publish(&asking, &place, BUILD);
        there.clone.git(&["pull", "--quiet"]);
        there.start(&place, &[]);
        there.rests(&[BUILD]);
        assert_eq!(there.clone.program("app"), second, "{by}");
    }
}
