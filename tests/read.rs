//! What a unit was made from that no list of cargo's or rustc's has: modes, commits, libraries, paths in bitcode.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::chain::Chain;
use common::{Place, clone_elsewhere, publish, reasons, start_elsewhere};
use headstart_testkit::Workspace;

const PLAIN_BUILD: &[&str] = &["build"];
/// A program that prints what its script wrote.
const MAIN: &str =
    "fn main() {\n    println!(include_str!(concat!(env!(\"OUT_DIR\"), \"/word\")));\n}\n";

/// A script that declares `watched` and writes what `word` is to `OUT_DIR`.
fn script(watched: &str, word: &str) -> String {
    format!(
        "use std::os::unix::fs::PermissionsExt;\n\
         fn main() {{\n    \
             {watched}\n    \
             let word: String = {word};\n    \
             let out = std::path::PathBuf::from(std::env::var_os(\"OUT_DIR\").unwrap());\n    \
             std::fs::write(out.join(\"word\"), word).unwrap();\n    \
             let _ = std::fs::Permissions::from_mode(0);\n\
         }}\n"
    )
}

fn watches(path: &str) -> String {
    format!("println!(\"cargo::rerun-if-changed={path}\");")
}

/// What is published of `app` is started in a clone of what it is after `change`; returns what the program prints there.
fn after(app: &Workspace, change: impl Fn(&Workspace)) -> String {
    let place = Place::new();
    publish(app, &place, PLAIN_BUILD);
    let same = start_elsewhere(app, &place, &[]);
    same.cargo().build(&[]).nothing_ran();
    change(app);
    app.commit("changed");
    let next = clone_elsewhere(app, &place, "next/clone");
    next.start(&place, &[]);
    next.cargo().build(&[]);
    next.clone.program("app")
}

/// A hook that may be executed now would be packed as one that may not.
#[test]
fn who_may_execute_a_file_of_a_directory_is_read() {
    let word = "(std::fs::metadata(\"hooks/a\").unwrap().permissions().mode() & 0o100).to_string()";
    for watched in [watches("hooks"), String::new()] {
        let files = [
            ("build.rs", &*script(&watched, word)),
            ("src/main.rs", MAIN),
            ("hooks/a", "x"),
        ];
        let app = common::app("", &files);
        let told = after(&app, |app| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(app.path("hooks/a"), mode).expect("it is ours");
        });
        assert_eq!(told, "64", "{watched}");
    }
}

/// A link to nothing that leads elsewhere would be read as before.
#[test]
fn where_a_link_to_nothing_leads_is_read() {
    let word = "std::fs::read_link(\"links/a\").unwrap().display().to_string()";
    let app = common::app(
        "",
        &[
            ("build.rs", &*script(&watches("links"), word)),
            ("src/main.rs", MAIN),
            ("links/b", ""),
        ],
    );
    symlink("one", app.path("links/a")).expect("links work here");
    app.commit("a link");
    let told = after(&app, |app| {
        fs::remove_file(app.path("links/a")).expect("it is ours");
        symlink("other", app.path("links/a")).expect("links work here");
    });
    assert_eq!(told, "other");
}

/// Where git keeps no log, a script that wants to know the commit would have seen today's, whatever that is.
#[test]
fn a_commit_that_nobody_noted_is_not_believed() {
    let word = "String::from_utf8(std::process::Command::new(\"git\").args([\"log\", \"-1\", \"--format=%s\"]).output().unwrap().stdout).unwrap()";
    let files = [
        ("build.rs", &*script(&watches(".git/HEAD"), word)),
        ("src/main.rs", MAIN),
    ];
    let (app, place) = (common::app("", &files), Place::new());
    app.git(&["config", "core.logAllRefUpdates", "false"]);
    fs::remove_dir_all(app.path(".git/logs")).expect("it is there");
    app.edit("other", "").commit("one");
    app.cargo().build(&[]);
    app.edit("other", "x").commit("two");
    app.cargo().build(&[]).nothing_ran();
    publish(&app, &place, PLAIN_BUILD);
    let there = start_elsewhere(&app, &place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("app").trim(), "two");
}

fn archive(scratch: &Path, place: &Path, word: i32) {
    let (source, object) = (scratch.join("word.c"), scratch.join("word.o"));
    fs::write(&source, format!("int word(void) {{ return {word}; }}\n")).expect("it is ours");
    let run = |program: &str, args: &[&Path]| {
        let status = Command::new(program).args(args).status();
        assert!(status.expect("it is installed").success());
    };
    run("cc", &[Path::new("-c"), &source, Path::new("-o"), &object]);
    fs::create_dir_all(place.parent().expect("it has one")).expect("it is ours");
    drop(fs::remove_file(place));
    run("ar", &[Path::new("rcsD"), place, &object]);
}

/// A library of the work tree that goes into a crate, comes to stand before another, or lies at a path with a space in it would stay as it was.
#[test]
fn a_library_that_is_linked_is_read_wherever_it_comes_from() {
    let scratch = Place::new();
    let scratch = scratch.scratch.path("c");
    fs::create_dir_all(&scratch).expect("it is ours");
    let linked = "println!(\"cargo::rerun-if-changed=build.rs\");\n    \
        for dir in [\"a\", \"b c\"] { println!(\"cargo::rustc-link-search=native={}/{dir}\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()); }\n    \
        println!(\"cargo::rustc-link-lib=static=word\");";
    let main = "unsafe extern \"C\" {\n    safe fn word() -> i32;\n}\nfn main() {\n    println!(\"{}\", word());\n}\n";
    for at in ["b c/libword.a", "a/libword.a"] {
        let files = [
            ("build.rs", &*script(linked, "String::new()")),
            ("src/main.rs", main),
            ("a/.gitkeep", ""),
        ];
        let app = common::app("", &files);
        archive(&scratch, &app.path("b c/libword.a"), 1);
        app.commit("a library");
        assert_eq!(
            after(&app, |app| archive(&scratch, &app.path(at), 2)),
            "2",
            "{at}"
        );
    }
    let config = "[build]\nrustflags = [\"-L\", \"native=vendor\"]\n";
    let lib = "#[link(name = \"word\", kind = \"static\")]\nunsafe extern \"C\" {\n    safe fn word() -> i32;\n}\n\
        pub fn told() -> i32 {\n    word()\n}\n";
    let main = "fn main() {\n    println!(\"{}\", app::told());\n}\n";
    let files = [
        (".cargo/config.toml", config),
        ("src/lib.rs", lib),
        ("src/main.rs", main),
    ];
    let app = common::app("", &files);
    archive(&scratch, &app.path("vendor/libword.a"), 1);
    app.commit("a library");
    assert_eq!(
        after(&app, |app| archive(
            &scratch,
            &app.path("vendor/libword.a"),
            2
        )),
        "2"
    );
}

/// What a script compiled by newer headers would be linked against an older glibc, and fail; what it found on the system would be looked for
/// where it is not.
#[test]
fn what_a_script_takes_of_the_system_is_an_input_of_it() {
    let found = "println!(\"cargo::rerun-if-changed=build.rs\");\n    println!(\"cargo::rustc-link-search=native=/usr/lib\");";
    let out = "{ std::fs::write(std::path::Path::new(&std::env::var_os(\"OUT_DIR\").unwrap()).join(\"libx.a\"), \"!<arch>\\n\").unwrap(); String::new() }";
    let app = common::app(
        "",
        &[("build.rs", &*script(found, out)), ("src/main.rs", MAIN)],
    );
    let (source, place) = (app, Place::new());
    publish(&source, &place, PLAIN_BUILD);
    let chain = Chain { place, source };
    let manifest = chain.manifest();
    let inputs = |unit: &headstart::model::Unit| -> Vec<String> {
        let all = manifest.inputs_of(unit);
        all.map(|input| format!("{:?} {}", input.expected, input.path.shown()))
            .collect()
    };
    let runs = manifest.units.iter().filter(|unit| unit.name.runs_script());
    let told: Vec<String> = runs.flat_map(inputs).collect();
    assert!(told.iter().any(|one| one.starts_with("Glibc(")), "{told:?}");
    assert!(told.iter().any(|one| one == "Library /usr/lib"), "{told:?}");
}

/// A program that is optimised when it is linked would hold the path of who compiled its libraries.
#[test]
fn a_path_in_bitcode_is_seen() {
    let manifest = "[profile.dev]\nlto = \"thin\"\nopt-level = 1\n";
    let lib = "#[inline(never)]\npub fn dir() -> &'static str {\n    concat!(env!(\"OUT_DIR\"), \"/data\")\n}\n";
    let main = "fn main() {\n    println!(\"{}\", app::dir());\n}\n";
    let files = [
        ("build.rs", &*script("", "String::new()")),
        ("src/lib.rs", lib),
        ("src/main.rs", main),
    ];
    let (app, place) = (common::app(manifest, &files), Place::new());
    publish(&app, &place, PLAIN_BUILD);
    let there = start_elsewhere(&app, &place, &[]);
    assert_eq!(reasons(&there.started, "lib-app"), ["pinned"]);
    there.cargo().build(&[]);
    let told = there.clone.program("app");
    assert!(
        told.starts_with(&there.clone.root().display().to_string()),
        "{told}"
    );
}
