//! What tells where it was made, in whatever way, is made anew in another place.

mod common;

use std::process::Command;

use common::{Place, There, app, clone_elsewhere, publish, runner};
use headstart_testkit::{Workspace, clean};

const BUILD: &[&str] = &["build"];
const PRINTS_ITS_PLACE: &str =
    "fn main() {\n    println!(\"{}\", env!(\"CARGO_MANIFEST_DIR\"));\n}\n";

/// Starts what was published of `workspace` in a deeper clone, and builds there.
fn elsewhere(workspace: &Workspace, place: &Place) -> There {
    let there = clone_elsewhere(workspace, place, "elsewhere/deep/clone");
    let started = there.start(place, &[]);
    there.cargo().build(&[]);
    There { started, ..there }
}

fn publish_lax(workspace: &Workspace, place: &Place) -> String {
    let args = ["publish", "--json", "--", "build"];
    let said = runner(workspace.root(), place).args(args).run().succeeded();
    said.json()["left_out"].to_string()
}

/// Caches of CI are restored under another path, and cargo takes all in them for fresh: what holds that path would be everybody's.
#[test]
fn a_copied_target_directory_that_holds_its_place_is_not_published() {
    for through_headstart in [true, false] {
        let place = Place::new();
        let app = app("", &[("src/main.rs", PRINTS_ITS_PLACE)]);
        let before = app.clone_to(&place.scratch.path("before"));
        match through_headstart {
            true => drop(publish(&before, &place, BUILD)),
            false => drop(before.cargo().build(&[])),
        }
        let after = place.scratch.path("after");
        std::fs::rename(before.root(), &after).expect("it is ours");
        let moved = Workspace::open(&after);
        moved.append(".gitignore", "/notes\n");
        moved.commit("moved");
        let left_out = publish_lax(&moved, &place);
        assert!(
            left_out.contains("where the target directory was"),
            "{left_out}"
        );
        let there = elsewhere(&moved, &place);
        let own = there.clone.root().display().to_string();
        assert_eq!(there.clone.program("app"), own);
    }
}

/// The same of a build script that ran there: what it said and wrote.
#[test]
fn a_script_that_ran_elsewhere_and_says_so_is_not_published() {
    let place = Place::new();
    let script = "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
        println!(\"cargo::rustc-env=PLACE={}\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap());\n}\n";
    let main = "fn main() {\n    println!(\"{}\", env!(\"PLACE\"));\n}\n";
    let app = app("", &[("src/main.rs", main), ("build.rs", script)]);
    let before = app.clone_to(&place.scratch.path("before"));
    before.cargo().build(&[]);
    let after = place.scratch.path("after");
    std::fs::rename(before.root(), &after).expect("it is ours");
    let moved = Workspace::open(&after);
    let left_out = publish_lax(&moved, &place);
    assert!(left_out.contains("run-build-script"), "{left_out}");
    let there = elsewhere(&moved, &place);
    let own = there.clone.root().display().to_string();
    assert_eq!(there.clone.program("app"), own);
}

/// The place in another form than as text is not seen in what the script wrote, only in the program that includes it.
#[test]
fn what_a_script_writes_of_its_place_in_any_form_is_written_anew() {
    let place = Place::new();
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let place = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let bytes: Vec<String> = place.bytes().map(|byte| format!("{byte}u8")).collect();
    let code = format!("static PLACE: &[u8] = &[{}];\n", bytes.join(","));
    std::fs::write(std::env::var("OUT_DIR").unwrap() + "/place.rs", code).unwrap();
}
"#;
    let main = "include!(concat!(env!(\"OUT_DIR\"), \"/place.rs\"));\n\n\
        fn main() {\n    println!(\"{}\", String::from_utf8_lossy(PLACE));\n}\n";
    let app = app("", &[("src/main.rs", main), ("build.rs", script)]);
    publish(&app, &place, BUILD);
    let there = elsewhere(&app, &place);
    let own = there.clone.root().display().to_string();
    assert_eq!(there.clone.program("app"), own);
}

/// The way from an `OUT_DIR` to the sources is another one where the target directory lies elsewhere: the next edit would not compile.
#[test]
fn a_way_out_of_out_dir_is_found_anew() {
    let place = Place::new();
    let script = r##"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());
    let own = std::env::current_dir().unwrap();
    let way = match out.strip_prefix(&own) {
        Ok(below) => below.iter().map(|_| "../").collect::<String>(),
        Err(_) => format!("{}/", own.display()),
    };
    std::fs::write(out.join("code.rs"), format!("#[path = \"{way}word/mod.rs\"]\nmod word;\n")).unwrap();
}
"##;
    let main = "include!(concat!(env!(\"OUT_DIR\"), \"/code.rs\"));\n\nfn main() {\n    println!(\"{}\", word::WORD);\n}\n";
    let word = "pub const WORD: &str = \"found\";\n";
    let files = [
        ("src/main.rs", main),
        ("build.rs", script),
        ("word/mod.rs", word),
    ];
    let app = app("", &files);
    publish(&app, &place, BUILD);
    let there = clone_elsewhere(&app, &place, "elsewhere");
    let target = place.scratch.path("target-elsewhere").display().to_string();
    there.start(&place, &["--target-dir", &target]);
    there.clone.append("src/main.rs", "// edited\n");
    there.cargo().build(&["--target-dir", &target]);
}

/// A program that looks for its libraries from its own place upwards would not start at another depth.
#[test]
fn a_program_with_an_rpath_out_of_the_target_directory_is_linked_anew() {
    let place = Place::new();
    let profile = "[profile.dev]\nrpath = true\n";
    let main = "fn main() {\n    println!(\"started\");\n}\n";
    let config = "[build]\nrustflags = [\"-Cprefer-dynamic\"]\n";
    let files = [("src/main.rs", main), (".cargo/config.toml", config)];
    let app = app(profile, &files);
    publish(&app, &place, BUILD);
    let there = elsewhere(&app, &place);
    let program = there.clone.path("target/debug/app");
    let run = clean(&mut Command::new(program))
        .output()
        .expect("it is there");
    assert_eq!(String::from_utf8_lossy(&run.stdout), "started\n", "{run:?}");
}
