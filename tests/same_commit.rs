//! At the same commit, in another place, cargo has nothing to do: no rustc, no build script.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::chain::{Chain, builds_right, read, unit_of};
use common::{
    Place, There, clone_elsewhere, counts, publish, publish_by, rests, runner, start_by,
    start_elsewhere,
};
use headstart::model::root::bytes_path;
use headstart::model::{Content, Digest};
use headstart_testkit::{Cargo, Scratch, Workspace, cargo_home, clean, fixture};

const EVERYTHING: &[&str] = &["build", "--workspace", "--all-targets"];

/// Every kind of unit, another path, another CARGO_HOME: the promise of the whole tool.
#[test]
fn every_kind_of_unit_is_fresh_elsewhere() {
    let (kinds, place) = (fixture::kinds(), Place::new());
    let first = publish(&kinds, &place, EVERYTHING);
    let there = start_elsewhere(&kinds, &place, &[]);
    let build = there.rests(&[EVERYTHING]).remove(0);
    // Warnings of what rustc did not compile again are shown all the same.
    assert!(build.stderr.contains("unused variable"), "{}", build.stderr);
    assert_eq!(there.clone.program("one"), kinds.program("one"));

    // Starting twice is harmless: all is kept, and cargo still has nothing to do.
    let [_, _, near, absent] = counts(&there.started);
    assert_eq!((near, absent), (0, 0));
    let units = first["units"].as_u64().expect("publish counts units");
    assert_eq!(counts(&there.start(&place, &[])), [0, units, 0, 0]);
    there.rests(&[EVERYTHING]);

    // So is publishing twice, there and here: nothing is new in the store, and its readers are none the wiser.
    let again = publish(&kinds, &place, EVERYTHING);
    let runner = runner(there.clone.root(), &place).home(&there.home);
    let published_there = publish_by(runner, EVERYTHING);
    for said in [again, published_there] {
        assert_eq!(
            (&said["objects_new"], &said["bytes_new"]),
            (&0.into(), &0.into())
        );
    }
    let third = clone_elsewhere(&kinds, &place, "third");
    third.start(&place, &[]);
    third.rests(&[EVERYTHING]);
    at_the_same_path(&kinds, &place);
}

/// A library would be stored twice, or come back with other bytes and be compiled again with all that depends on it.
#[test]
fn a_library_is_made_of_its_sessions_objects_byte_for_byte() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    chain.start(clone.root()).succeeded();
    let manifest = chain.manifest();
    let objects: HashSet<_> = manifest.objects().into_iter().collect();
    for package in ["c0", "c1", "c2"] {
        let unit = unit_of(&manifest, package);
        let recipes = unit.files.iter().filter_map(|file| match &file.content {
            Content::Recipe(recipe) => Some((bytes_path(&file.path), recipe)),
            _ => None,
        });
        let [(path, recipe)] = recipes.collect::<Vec<_>>()[..] else {
            panic!("{package} has one rlib: {:?}", unit.files);
        };
        let path = Path::new("target").join(path);
        let [published, placed] = [&chain.source, &clone].map(|one| read(&one.path(&path)));
        assert!(published == placed, "{package}");
        let whole = (recipe.digest, recipe.size_bytes);
        assert_eq!(whole, (Digest::of(&placed), placed.len() as u64));
        assert!(!objects.contains(&whole), "{package} is stored as a whole");
        let pieces: HashSet<_> = recipe.objects().collect();
        let session = unit.session.as_ref().expect("it was published");
        for file in session
            .files
            .iter()
            .filter(|file| file.name.ends_with(".o"))
        {
            let piece = (file.digest, file.size_bytes);
            assert!(
                pieces.contains(&piece),
                "{package} holds {} itself",
                file.name
            );
        }
        let rmeta = unit
            .files
            .iter()
            .find(|file| file.path.ends_with(b".rmeta"));
        let mut rmeta = rmeta.expect("cargo asks for it").content.objects();
        assert!(rmeta.all(|object| pieces.contains(&object)), "{package}");
    }
    builds_right(&clone).nothing_ran();
}

/// The publisher's own directory, after its target directory was removed and its sources were touched.
fn at_the_same_path(kinds: &Workspace, place: &Place) {
    kinds.remove("target");
    let touched = Command::new("sh")
        .args([
            "-c",
            "find . -path ./.git -prune -o -type f -exec touch {} +",
        ])
        .current_dir(kinds.root())
        .status();
    assert!(touched.expect("sh is in PATH").success());
    let said = start_by(runner(kinds.root(), place), &[]);
    assert_eq!(counts(&said)[2..], [0, 0], "{said}");
    rests(&kinds.cargo(), EVERYTHING);
}

/// A CI that checks, lints, tests and cross-compiles in one job publishes all of that, or its readers build it again.
#[test]
fn several_commands_are_published_together() {
    let (kinds, place, host) = (fixture::kinds(), Place::new(), host());
    let commands: &[&[&str]] = &[
        &["check", "--workspace"],
        &["test", "--no-run", "--package=app"],
        &["build", "--release", "--bin=one"],
        &["build", "--bin=one", "--target", &host],
        &["build", "--package=featured", "--features=featured/quiet"],
    ];
    publish(&kinds, &place, &commands.join(&"--then"));
    let there = start_elsewhere(&kinds, &place, &[]);
    there.rests(commands);
    let lines = there
        .clone
        .program_in(format!("target/{host}/debug"), "one");
    assert!(lines.contains("0 debug"), "{lines}");
    let lines = there.clone.program_in("target/release", "one");
    assert!(lines.contains("0 release"), "{lines}");
    let test = there.rests(&[&["test", "--package=app"]]).remove(0);
    for name in ["tests::every_library_says_a_line", "lines_are_numbered"] {
        let passed = format!("test {name} ... ok");
        assert!(test.stdout.contains(&passed), "{}", test.stdout);
    }
    // Features that nobody published are compiled, and nothing else is.
    let other = there.cargo().build(&["--package=featured"]);
    assert_eq!(other.crates_compiled(), ["featured(lib)".to_owned()].into());
}

/// Whoever publishes only one kind of build serves that kind, in a fresh clone.
#[test]
fn each_command_is_published_alone() {
    let commands: [&[&str]; 4] = [
        &["check", "--all-targets"],
        &["test", "--no-run"],
        &["build", "--release", "--all-targets"],
        &["bench", "--no-run"],
    ];
    let chain = fixture::chain(2);
    for command in commands {
        let place = Place::new();
        publish(&chain, &place, command);
        start_elsewhere(&chain, &place, &[]).rests(&[command]);
    }
}

/// While the job that builds is under way still, or has failed, the one that checks would keep readers from the build before.
#[test]
fn what_was_only_checked_hides_no_build() {
    let chain = Chain::published();
    let built = chain.source.head();
    let checked = chain.elsewhere("checked");
    checked.edit("crates/c3/tests/none.rs", "");
    checked.commit("next");
    chain
        .run(checked.root(), &["publish", "--", "check"])
        .succeeded();
    for (command, commit) in [("build", built), ("check", checked.head())] {
        let clone = checked.clone_to(&chain.place.scratch.path(command));
        let said = chain.run(clone.root(), &["start", "--json", "--", command]);
        assert_eq!(said.succeeded().json()["commit"], *commit, "{command}");
        rests(&clone.cargo(), &[command]);
    }
}

/// A starting point of one crate leaves nothing of its own to compile, and everything else.
#[test]
fn what_is_only_a_part_hides_no_whole() {
    let (chain, place) = (fixture::chain(16), Place::new());
    publish(&chain, &place, &["build"]);
    let built = chain.head();
    chain.edit("crates/c15/tests/none.rs", "");
    chain.commit("next");
    publish(&chain, &place, &["build", "--package=c0"]);
    chain.edit("crates/c15/tests/another.rs", "");
    chain.commit("last");
    let there = start_elsewhere(&chain, &place, &[]);
    assert_eq!(there.started["commit"], *built, "{}", there.started);
    there.rests(&[&["build"]]);
}

/// A CI that keeps its target directory for weeks would publish all of those weeks to each reader.
#[test]
fn leftovers_stay_out() {
    let (chain, place) = (fixture::chain(2), Place::new());
    let first = publish(&chain, &place, &["build"]);
    for other in [
        "--release",
        "--all-targets",
        "--config=profile.dev.opt-level=1",
    ] {
        chain.cargo().build(&[other]);
    }
    chain
        .append("crates/c0/src/lib.rs", "// second\n")
        .commit("second");
    let second = publish(&chain, &place, &["build"]);
    assert_eq!(first["units"], second["units"]);
    let there = start_elsewhere(&chain, &place, &[]);
    there.rests(&[&["build"]]);
    assert!(!there.clone.path("target/release").exists());
}

/// Lints of a whole workspace take as long as its build; whoever publishes them spares their readers that.
#[test]
fn clippy_is_published_too() {
    let (kinds, place) = (fixture::kinds(), Place::new());
    if !kinds.cargo().run(&["clippy", "--version"]).success {
        eprintln!("skipped: cargo-clippy is not installed");
        return;
    }
    let command: &[&str] = &["clippy", "--workspace"];
    publish(&kinds, &place, command);
    let there = start_elsewhere(&kinds, &place, &[]);
    let clippy = there.rests(&[command]).remove(0);
    assert!(
        clippy.stderr.contains("unused variable"),
        "{}",
        clippy.stderr
    );
}

/// A target or build directory that somebody moved, by configuration, environment or option, is started in all the same.
#[test]
fn target_directories_are_found_where_they_are() {
    let command = ["build", "--bin=c1"];
    let outside = "[build]\ntarget-dir = \"../outputs\"\n";
    let apart = "[build]\nbuild-dir = \"../builds/{workspace-path-hash}\"\n";
    for (configuration, directory) in [(outside, "../outputs/debug"), (apart, "target/debug")] {
        let (chain, place) = (fixture::chain(2), Place::new());
        chain
            .edit(".cargo/config.toml", configuration)
            .commit("configured");
        publish(&chain, &place, &command);
        let there = start_elsewhere(&chain, &place, &[]);
        there.rests(&[&command]);
        assert_eq!(
            there.clone.program_in(directory, "c1"),
            "1",
            "{configuration}"
        );
        assert!(!there.clone.path("target/debug/.fingerprint").exists());
    }

    let (chain, place) = (fixture::chain(2), Place::new());
    let target = |name: &str| place.scratch.path(name);
    let builder = runner(chain.root(), &place).env("CARGO_TARGET_DIR", target("a"));
    publish_by(builder, &command);
    let there = clone_elsewhere(&chain, &place, "clone");
    let reader = runner(there.clone.root(), &place).home(&there.home);
    start_by(reader.env("CARGO_TARGET_DIR", target("b")), &[]);
    rests(&there.cargo().target_dir(target("b")), &command);

    let other = target("c").display().to_string();
    there.start(&place, &["--target-dir", &other]);
    there.rests(&[&[&command[..], &["--target-dir", &other]].concat()]);
    assert_eq!(there.clone.program_in(target("c").join("debug"), "c1"), "1");
}

/// Dependencies that are vendored, or come from a git repository, are not compiled again.
#[test]
fn vendored_and_git_dependencies_are_fresh() {
    let (shop, place) = (fixture::vendored(), Place::new());
    publish(&shop, &place, EVERYTHING);
    let there = start_elsewhere(&shop, &place, &[]);
    there.rests(&[EVERYTHING]);
    assert_eq!(there.clone.program("shop"), "tiny");

    let (scratch, place) = (Scratch::new(), Place::new());
    let user = fixture::git_dep(&scratch);
    let home = cargo_home(&place.scratch.path("home"), &[]);
    publish_by(runner(user.root(), &place).home(&home), EVERYTHING);
    // The reader's own CARGO_HOME has no checkout yet when it starts.
    let there = start_elsewhere(&user, &place, &[]);
    there.rests(&[EVERYTHING]);
    assert_eq!(there.clone.program("user"), "library");
}

/// Links in the way to the workspace, the target directory or CARGO_HOME make nothing dirty, on either side.
#[test]
fn symlinked_directories_are_seen_through() {
    let (kinds, place) = (fixture::kinds(), Place::new());
    let command = ["build", "--bin=one"];
    let link = |of: &str, at: &std::path::Path| {
        let to = place.scratch.path(of);
        fs::create_dir_all(&to).expect("the scratch directory is writable");
        std::os::unix::fs::symlink(to, at).expect("nothing is there yet");
    };
    link("disk-a", &kinds.path("target"));
    kinds
        .append(".gitignore", "target\n")
        .commit("a link is no directory");
    publish(&kinds, &place, &command);

    let there = clone_elsewhere(&kinds, &place, "clone");
    link("disk-b", &there.clone.path("target"));
    link("clone", &place.scratch.path("linked"));
    link("another-home", &place.scratch.path("linked-home"));
    let (dir, home) = (
        place.scratch.path("linked"),
        place.scratch.path("linked-home"),
    );
    let said = start_by(runner(&dir, &place).home(&home), &[]);
    assert_eq!(counts(&said)[2..], [0, 0], "{said}");
    rests(&Cargo::in_dir(&dir).home(&home), &command);
    assert_eq!(there.clone.program("one"), kinds.program("one"));

    // cargo does not resolve what --manifest-path says, so here every path is the link's.
    there.clone.remove("target");
    let manifest = dir.join("Cargo.toml").display().to_string();
    let by_link = [&command[..], &["--manifest-path", &manifest]].concat();
    let args = ["start", "--json", "--"].iter().chain(&by_link);
    let started = runner(&dir, &place).home(&home).args(args);
    let started = started.env("CARGO_TERM_VERBOSE", "true").run();
    started.build().nothing_ran();
    assert_eq!(counts(&started.json())[2..], [0, 0], "{}", started.stdout);
}

/// Uncommitted changes that somebody published under a commit would be served to all who build that commit.
#[test]
fn a_dirty_tree_is_offered_only_by_name() {
    let (chain, place) = (fixture::chain(2), Place::new());
    let edit = |workspace: &Workspace| {
        workspace.replace("crates/c0/src/lib.rs", "    0", "    40");
    };
    edit(&chain);
    let args = ["publish", "--required", "--", "build"];
    runner(chain.root(), &place).args(args).run().failed();
    let args = ["publish", "--json", "--allow-dirty", "--", "build"];
    let said = runner(chain.root(), &place)
        .args(args)
        .run()
        .succeeded()
        .json();
    assert_eq!(said["dirty"], true);

    let there = start_elsewhere(&chain, &place, &[]);
    assert!(there.started["commit"].is_null(), "{}", there.started);
    assert!(!there.clone.path("target/debug/.fingerprint").exists());
    let name = said["manifest"]
        .as_str()
        .expect("publish names its manifest");
    dirty_by_name(&there, &place, name, edit);
}

fn dirty_by_name(there: &There, place: &Place, name: &str, edit: impl Fn(&Workspace)) {
    // Without the edit nothing of it fits here.
    there.start(place, &["--manifest", name]);
    let build = there.cargo().build(&[]);
    assert_eq!(build.rustc_runs(), 2);
    assert_eq!(there.clone.program("c1"), "1");
    there.clone.remove("target");
    edit(&there.clone);
    there.start(place, &["--manifest", &name[..12]]);
    there.rests(&[&["build"]]);
    assert_eq!(there.clone.program("c1"), "41");
}

/// Returns the triple of the machine that runs the tests.
fn host() -> String {
    let output = clean(Command::new("rustc").arg("-vV")).output();
    let text = String::from_utf8(output.expect("rustc is in PATH").stdout);
    let text = text.expect("rustc prints text");
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

/// A test that writes where cargo tells it to would fail: cargo makes that directory only when it compiles the test.
#[test]
fn placed_tests_have_their_directory() {
    let test = "#[test]\nfn writes() {\n    \
        std::fs::write(concat!(env!(\"CARGO_TARGET_TMPDIR\"), \"/file\"), \"\").unwrap();\n}\n";
    let host = host();
    for target in [&[][..], &["--target", &host]] {
        let (app, place) = (
            common::app("", &[("src/lib.rs", ""), ("tests/it.rs", test)]),
            Place::new(),
        );
        let compile = [&["test", "--no-run"][..], target].concat();
        publish(&app, &place, &compile);
        app.remove("target");
        start_by(runner(app.root(), &place), &[]);
        rests(&app.cargo(), &compile);
        app.cargo()
            .run(&[&["test"][..], target].concat())
            .succeeded();
    }
}

/// A script of a library's, `foo-config` or so, that another build script runs, would no longer run.
#[test]
fn executable_text_stays_executable() {
    use std::os::unix::fs::PermissionsExt;
    let script = r##"use std::os::unix::fs::PermissionsExt;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let config = out.join("foo-config");
    std::fs::write(&config, format!("#!/bin/sh\necho {}\n", out.display())).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o755)).unwrap();
}
"##;
    let (app, place) = (
        common::app(
            "",
            &[("build.rs", script), ("src/main.rs", "fn main() {}\n")],
        ),
        Place::new(),
    );
    publish(&app, &place, &["build"]);
    let there = start_elsewhere(&app, &place, &[]);
    there.rests(&[&["build"]]);
    let dirs = fs::read_dir(there.clone.path("target/debug/build")).expect("it was placed");
    let files = dirs.map(|dir| dir.expect("it can be listed").path().join("out/foo-config"));
    let file = files.filter(|file| file.exists()).last();
    let meta = file.expect("it was placed").metadata();
    let mode = meta.expect("it is there").permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "{mode:o}");
}

/// A watched directory with links to itself, as pnpm makes them, would be walked for ever.
#[test]
fn loops_of_links_are_seen_through() {
    let script = "fn main() {\n    println!(\"cargo::rerun-if-changed=ui\");\n}\n";
    let (app, place) = (
        common::app(
            "",
            &[
                ("build.rs", script),
                ("src/main.rs", "fn main() {}\n"),
                ("ui/deep/page.txt", "first\n"),
            ],
        ),
        Place::new(),
    );
    for (to, link) in [(".", "ui/a"), (".", "ui/b"), ("..", "ui/deep/up")] {
        std::os::unix::fs::symlink(to, app.path(link)).expect("nothing is there yet");
    }
    app.commit("links");
    publish(&app, &place, &["build"]);
    let there = start_elsewhere(&app, &place, &[]);
    there.rests(&[&["build"]]);
    let other = clone_elsewhere(&app, &place, "other");
    other.clone.edit("ui/deep/page.txt", "second\n");
    let started = other.start(&place, &[]);
    let run = "/run-build-script-build-script-build";
    assert_eq!(common::reasons(&started, run), ["changed"]);
}

/// Without its debug information beside it, a program that was placed can be run and not be debugged.
#[test]
fn unpacked_debug_information_is_placed() {
    let unpacked = "[profile.dev]\nsplit-debuginfo = \"unpacked\"\n";
    let main = "fn main() {\n    println!(\"{}\", std::env::args().count());\n}\n";
    let (app, place) = (
        common::app(unpacked, &[("src/main.rs", main)]),
        Place::new(),
    );
    publish(&app, &place, &["build"]);
    let there = start_elsewhere(&app, &place, &[]);
    there.rests(&[&["build"]]);
    let all = fs::read_dir(app.path("target/debug/deps")).expect("it was built");
    let names = all.map(|one| one.expect("it can be listed").file_name());
    let named = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".dwo");
    let made: Vec<_> = names.filter(named).collect();
    assert!(!made.is_empty(), "rustc made none");
    for name in made {
        let file = Path::new("target/debug/deps").join(name);
        let [ours, theirs] = [&there.clone, &app].map(|one| read(&one.path(&file)));
        assert!(ours == theirs, "{}", file.display());
    }
}

/// cargo would ask rustc three times what it is, in each fresh clone: as long as all that headstart needs to place a small project.
#[test]
fn cargo_need_not_ask_rustc_what_it_is() {
    let (chain, place) = (fixture::chain(2), Place::new());
    publish(&chain, &place, &["build"]);
    let info = |of: &Workspace| fs::read(of.path("target/.rustc_info.json")).ok();
    let told = info(&chain);
    assert!(told.is_some());
    let there = clone_elsewhere(&chain, &place, "there");
    let start = || runner(there.clone.root(), &place).home(&there.home);
    start_by(start(), &["--place-only", "--", "build"]);
    assert_eq!(info(&there.clone), None, "who knows which cargo runs next");
    start_by(start(), &["--", "build"]);
    assert_eq!(
        info(&there.clone),
        told,
        "cargo took it for another rustc's"
    );

    // What other flags make of rustc's answers is known of other flags alone, and what of them another machine may take otherwise, of none.
    let kept = || fs::read_dir(place.store().join("answers")).map_or(0, Iterator::count);
    let kinds = [
        ("--cfg=x", false, 2),
        ("-Ctarget-cpu=native", false, 2),
        ("--cfg=y", true, 2),
    ];
    for (flags, asked_before, kept_then) in kinds {
        let of = clone_elsewhere(&chain, &place, flags);
        if asked_before {
            // Of what was told under other settings nobody knows what it is of.
            of.cargo().env("RUSTFLAGS", "--cfg=z").build(&[]);
        }
        let config = format!("[build]\nrustflags = [\"{flags}\"]\n");
        of.clone.edit(".cargo/config.toml", &config);
        let publish = ["publish", "--allow-dirty", "--", "build"];
        runner(of.clone.root(), &place)
            .args(publish)
            .run()
            .succeeded();
        assert_eq!(kept(), kept_then, "{flags}");
        assert_ne!(info(&of.clone), told);
    }
}
