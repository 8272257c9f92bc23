//! What a build script made or found outside its `OUT_DIR` is made anew, or looked for, in another place.

mod common;

use common::{
    Place, clone_elsewhere, is_fresh_at_the_same_path, publish, publish_by, runner, start_by,
    start_elsewhere,
};
use headstart_testkit::{Scratch, Workspace, cargo_home, fixture};

const PLAIN_BUILD: &[&str] = &["build"];

/// A package whose build script writes a source file beside the others, which git ignores.
fn generating() -> Workspace {
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=schema.txt");
    let schema = std::fs::read_to_string("schema.txt").unwrap();
    let generated = format!("pub const SCHEMA: &str = {:?};\n", schema.trim());
    std::fs::write("src/generated.rs", generated).unwrap();
}
"#;
    let main = "mod generated;\n\nfn main() {\n    println!(\"{}\", generated::SCHEMA);\n}\n";
    let manifest = "[package]\nname = \"made\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    Workspace::new([
        (".gitignore", "/target\n/src/generated.rs\n"),
        ("Cargo.toml", manifest),
        (
            "Cargo.lock",
            fixture::Lock::new().local("made", &[]).file().1.as_str(),
        ),
        ("build.rs", script),
        ("schema.txt", "first\n"),
        ("src/main.rs", main),
    ])
}

/// A build script that writes into the source tree has not run in a fresh clone: without its file nothing compiles.
#[test]
fn generated_sources_are_generated_in_a_fresh_clone() {
    let (made, place) = (generating(), Place::new());
    publish(&made, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&made, &place, "clone");
    there.start(&place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("made"), "first");
}

/// Nor has it run where an older commit was built: its file there is the older commit's, and would be compiled again.
#[test]
fn generated_sources_are_generated_again_in_a_warm_directory() {
    let (made, place) = (generating(), Place::new());
    let there = clone_elsewhere(&made, &place, "clone");
    there.cargo().build(&[]);
    made.edit("schema.txt", "second\n").commit("second");
    publish(&made, &place, PLAIN_BUILD);
    there.clone.git(&["pull", "--quiet"]);
    there.start(&place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("made"), "second");
}

/// A script that writes into a crate above its own package has not run in a fresh clone either.
#[test]
fn generated_sources_of_another_package_are_generated() {
    let place = Place::new();
    let script = "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
        std::fs::write(\"../src/generated.rs\", \"pub const N: u32 = 1;\").unwrap();\n}\n";
    let beneath = "[package]\nname = \"beneath\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let main =
        "mod generated;\nfn main() {\n    println!(\"{}\", generated::N + beneath::one());\n}\n";
    let depends = "[dependencies]\nbeneath = { path = \"beneath\" }\n";
    let made = common::app(
        depends,
        &[
            ("beneath/Cargo.toml", beneath),
            ("beneath/build.rs", script),
            ("beneath/src/lib.rs", "pub fn one() -> u32 {\n    1\n}\n"),
            ("src/main.rs", main),
        ],
    );
    let lock = fixture::Lock::new().local("app", &["beneath"]);
    made.edit("Cargo.lock", lock.local("beneath", &[]).file().1)
        .append(".gitignore", "/src/generated.rs\n")
        .commit("generates");
    publish(&made, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&made, &place, "clone");
    there.start(&place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("app"), "2");
    there.start(&place, &[]);
    there.rests(&[PLAIN_BUILD]);
}

/// A program whose build script writes into the profile's directory: `main` says what becomes of it.
fn writing_beside_out_dir(main: &str) -> Workspace {
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let dir = out.ancestors().nth(3).unwrap().join("made");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("text"), "made").unwrap();
}
"#;
    common::app("", &[("build.rs", script), ("src/main.rs", main)])
}

/// What a script leaves in the target directory beside its own is there for rustc only where the script has run.
#[test]
fn what_is_made_beside_out_dir_is_made_in_a_fresh_clone() {
    let place = Place::new();
    let main = "fn main() {\n    println!(include_str!(concat!(env!(\"OUT_DIR\"), \"/../../../made/text\")));\n}\n";
    let made = writing_beside_out_dir(main);
    publish(&made, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&made, &place, "clone");
    there.start(&place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("app"), "made");
    there.start(&place, &[]);
    there.rests(&[PLAIN_BUILD]);
}

/// A resource that a script copies next to the program is read when that runs, and would not be found.
#[test]
fn what_is_made_beside_the_program_is_made_in_a_fresh_clone() {
    let place = Place::new();
    let main = "fn main() {\n    let made = std::env::current_exe().unwrap().with_file_name(\"made\");\n    \
        println!(\"{}\", std::fs::read_to_string(made.join(\"text\")).unwrap());\n}\n";
    let made = writing_beside_out_dir(main);
    publish(&made, &place, PLAIN_BUILD);
    for name in ["first", "second"] {
        let there = clone_elsewhere(&made, &place, name);
        there.start(&place, &[]);
        there.cargo().build(&[]);
        assert_eq!(there.clone.program("app"), "made");
        there.start(&place, &[]);
        there.rests(&[PLAIN_BUILD]);
        // Published again, from where nothing needed to run.
        let again = runner(there.clone.root(), &place).home(&there.home);
        common::publish_by(again, PLAIN_BUILD);
    }
    made.remove("target");
    start_by(runner(made.root(), &place), &[]);
    made.cargo().build(&[]);
    assert_eq!(made.program("app"), "made");
    // Where the run was placed over an older one, nothing was written when it ran; who starts from there needs it all the same.
    let older = clone_elsewhere(&made, &place, "older");
    older.start(&place, &[]);
    older.cargo().build(&[]);
    made.append("build.rs", "// edited\n").commit("the next");
    publish(&made, &place, PLAIN_BUILD);
    older.clone.git(&["pull", "--quiet"]);
    older.start(&place, &[]);
    older.rests(&[PLAIN_BUILD]);
    made.append("src/main.rs", "// edited\n")
        .commit("and the next");
    older.clone.git(&["pull", "--quiet"]);
    common::publish_by(
        runner(older.clone.root(), &place).home(&older.home),
        PLAIN_BUILD,
    );
    let there = clone_elsewhere(&made, &place, "newest");
    there.start(&place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("app"), "made");
}

/// A program that says what its build script found beside the workspace, at `author`'s.
fn finding(place: &Place, author: &str) -> Workspace {
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-search=native=/usr/lib");
    println!("cargo::rustc-env=ROUTE=/no-directory/is/meant");
    println!("not for cargo: /tmp");
    let found = std::fs::canonicalize("../found").unwrap_or_default();
    println!("cargo::rustc-env=FOUND={}", found.display());
}
"#;
    let main = "fn main() {\n    println!(\"{}\", env!(\"FOUND\"));\n}\n";
    let app = common::app("", &[("build.rs", script), ("src/main.rs", main)]);
    app.clone_to(&place.scratch.path(format!("{author}/app")))
}

/// A program linked with a neighbour of the publisher's workspace would run the publisher's code, or none.
#[test]
fn what_a_script_found_beside_the_workspace_stays_there() {
    let place = Place::new();
    let published = finding(&place, "alice");
    for author in ["alice", "bob"] {
        place.scratch.write(format!("{author}/found/file"), "");
    }
    publish(&published, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&published, &place, "bob/app");
    let started = there.start(&place, &[]);
    let run = "/run-build-script-build-script-build";
    assert_eq!(common::reasons(&started, run), ["pinned"]);
    there.cargo().build(&[]);
    let own = place.scratch.path("bob/found").canonicalize();
    let own = own.expect("it is there").display().to_string();
    assert_eq!(there.clone.program("app"), own);
    is_fresh_at_the_same_path(&published, &place);
}

/// The usual way to name a neighbour is to go up from the package, which begins with a root.
#[test]
fn what_a_script_found_by_going_up_stays_there() {
    for spelled in ["{}/../found", "../found"] {
        let place = Place::new();
        let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    println!("cargo::rustc-link-search=native=SPELLED", /* own */);
    let found = std::fs::read_to_string(format!("{own}/../found/file")).unwrap();
    println!("cargo::rustc-env=FOUND={found}");
}
"#;
        let own = if spelled.contains("{}") { "own" } else { "" };
        let script = script.replace("SPELLED", spelled).replace("/* own */", own);
        let main = "fn main() {\n    println!(\"{}\", env!(\"FOUND\"));\n}\n";
        let app = common::app("", &[("build.rs", &script), ("src/main.rs", main)]);
        let published = app.clone_to(&place.scratch.path("alice/app"));
        for author in ["alice", "bob"] {
            place.scratch.write(format!("{author}/found/file"), author);
        }
        publish(&published, &place, PLAIN_BUILD);
        let there = clone_elsewhere(&published, &place, "bob/app");
        there.start(&place, &[]);
        there.cargo().build(&[]);
        assert_eq!(there.clone.program("app"), "bob", "{spelled}");
    }
}

/// A path of the system, or what only looks like a path, would have every script run again everywhere.
#[test]
fn what_a_script_found_in_the_system_is_everybodys() {
    let place = Place::new();
    let published = finding(&place, "alice");
    publish(&published, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&published, &place, "bob/app");
    there.start(&place, &[]);
    there.rests(&[PLAIN_BUILD]);
}

/// A script may give a directory of its own in `OUT_DIR` another name, to include what it generated there: nothing of that is compiled
/// in. Each clone would compile it again, cranelift's code generator for minutes. Where the name is compiled in, it must be the clone's.
#[test]
fn another_name_of_out_dir_counts_where_it_is_seen() {
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let dir = std::path::Path::new(&std::env::var("OUT_DIR").unwrap()).join("generated");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("word.rs"), "pub const WORD: &str = \"word\";\n").unwrap();
    println!("cargo::rustc-env=GENERATED_DIR={}", dir.display());
}
"#;
    let include = "include!(concat!(env!(\"GENERATED_DIR\"), \"/word.rs\"));\n";
    let main = |says| format!("{include}fn main() {{\n    println!(\"{{}}\", {says});\n}}\n");
    for (says, own) in [("WORD", false), ("env!(\"GENERATED_DIR\")", true)] {
        let place = Place::new();
        let files = [("build.rs", script), ("src/main.rs", &main(says))];
        let app = common::app("", &files);
        publish(&app, &place, PLAIN_BUILD);
        let there = start_elsewhere(&app, &place, &[]);
        match own {
            false => drop(there.rests(&[PLAIN_BUILD])),
            true => drop(there.cargo().build(&[])),
        }
        let said = there.clone.program("app");
        let place = there.clone.root().display().to_string();
        assert_eq!(said.starts_with(&place), own, "{said}");
    }
}

/// A downloaded script that opens what lies beside it by its own `file!()` would not find it under the name that outputs have.
#[test]
fn a_script_finds_what_lies_beside_its_source() {
    let (scratch, place) = (Scratch::new(), Place::new());
    let user = fixture::git_dep(&scratch);
    let library = Workspace::open(&scratch.path("library"));
    let before = library.head();
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    std::fs::read(std::path::Path::new(file!()).with_file_name("data.txt")).unwrap();
}
"#;
    let after = library
        .edit("build.rs", script)
        .edit("data.txt", "")
        .commit("data");
    user.replace("Cargo.lock", &before, &after).commit("data");
    let home = cargo_home(&place.scratch.path("home"), &[]);
    publish_by(runner(user.root(), &place).home(&home), PLAIN_BUILD);
    let there = start_elsewhere(&user, &place, &[]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("user"), "library");
}
