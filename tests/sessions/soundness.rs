//! Seeds that do not belong: never a wrong program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use headstart::model::Manifest;
use headstart_testkit::Workspace;
use headstart_testkit::fixture::Lock;

use crate::common::chain::{Chain, builds_right, explain, prints, unit_of};
use crate::common::{Place, runner};

/// Publishes, changes the manifest, and builds a clone with an edit from it; the program must be right.
#[track_caller]
fn tampered(change: impl FnOnce(&mut Manifest)) {
    let chain = Chain::published();
    chain.tamper(chain.manifest(), change);
    edited_elsewhere(&chain);
}

/// Builds a clone with an edit from what is published; the program must be right.
#[track_caller]
fn edited_elsewhere(chain: &Chain) {
    let clone = chain.elsewhere("edited");
    clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    runner(clone.root(), &chain.place)
        .args(["start", "--", "build"])
        .run()
        .succeeded();
    prints(&clone, "13");
}

fn position(manifest: &Manifest, package: &str) -> usize {
    let wanted = unit_of(manifest, package).name.clone();
    manifest
        .units
        .iter()
        .position(|unit| unit.name == wanted)
        .expect("it is there")
}

/// Two crates' sessions exchanged: each holds the other's code under the right name.
#[test]
fn swapped_sessions() {
    tampered(|manifest| {
        let (one, other) = (position(manifest, "c1"), position(manifest, "c2"));
        let files = manifest.units[one]
            .session
            .as_ref()
            .expect("it has one")
            .files
            .clone();
        let theirs = manifest.units[other].session.as_mut().expect("it has one");
        let theirs = std::mem::replace(&mut theirs.files, files);
        manifest.units[one]
            .session
            .as_mut()
            .expect("it has one")
            .files = theirs;
        manifest
            .units
            .iter_mut()
            .filter_map(|unit| unit.session.as_mut())
            .for_each(|it| it.sites.clear());
    });
}

/// A session that lacks a file of each kind.
#[test]
fn sessions_with_a_file_missing() {
    for lost in [
        "dep-graph.bin",
        "query-cache.bin",
        "work-products.bin",
        "metadata.rmeta",
        ".o",
    ] {
        tampered(|manifest| {
            for session in manifest
                .units
                .iter_mut()
                .filter_map(|unit| unit.session.as_mut())
            {
                session.files.retain(|file| !file.name.ends_with(lost));
                session.sites.retain(|_| lost != "dep-graph.bin");
            }
        });
    }
}

/// Hashes written where other things stand: a dep-graph that was edited.
#[test]
fn sites_that_point_elsewhere() {
    tampered(|manifest| {
        let sites: Vec<_> = manifest
            .units
            .iter()
            .filter_map(|unit| unit.session.as_ref())
            .flat_map(|it| it.sites.clone())
            .collect();
        for session in manifest
            .units
            .iter_mut()
            .filter_map(|unit| unit.session.as_mut())
        {
            let graph = session
                .files
                .iter()
                .find(|file| file.name == "dep-graph.bin");
            let size = graph.expect("it has one").size_bytes;
            session.sites = sites
                .iter()
                .map(|site| headstart::model::session::Site {
                    offset: site.offset % (size - 16),
                    ..*site
                })
                .collect();
        }
    });
}

/// A session of another profile or other features has the same crate and other arguments.
#[test]
fn a_session_of_other_arguments() {
    tampered(|manifest| {
        for compiled in manifest
            .units
            .iter_mut()
            .filter_map(|unit| unit.compiled.as_mut())
        {
            compiled.arguments = Some(headstart::model::Digest::of(b"others"));
        }
    });
}

/// A dependency changed the type of a public function while its file kept its name and place: only its content tells.
#[test]
fn a_dependency_with_another_type_in_the_same_place() {
    let chain = Chain::published();
    let clone = chain.elsewhere("retyped");
    for file in [
        "c0/src/lib.rs",
        "c1/src/lib.rs",
        "c2/src/lib.rs",
        "c3/src/main.rs",
    ] {
        clone.replace(format!("crates/{file}"), "u64", "u128");
    }
    runner(clone.root(), &chain.place)
        .args(["start", "--", "build"])
        .run()
        .succeeded();
    builds_right(&clone);
}

/// A truncated or zeroed file in a placed session, as a dying disk leaves it: rustc crashes, and is run again.
#[test]
fn files_damaged_after_they_were_placed() {
    for name in ["dep-graph.bin", "query-cache.bin", "work-products.bin"] {
        let chain = Chain::published();
        let manifest = chain.manifest();
        let session = unit_of(&manifest, "c1")
            .session
            .clone()
            .expect("it has one");
        let file = session
            .files
            .iter()
            .find(|file| file.name == name)
            .expect("it is there");
        let object: PathBuf = {
            let hex = file.digest.hex();
            chain
                .place
                .store()
                .join("objects")
                .join(&hex[..2])
                .join(hex)
        };
        // Zeroed, under its own right name: what reaches rustc is verified, and damaged all the same.
        let zeroed = vec![0; usize::try_from(file.size_bytes).expect("it is small")];
        let digest = headstart::model::Digest::of(&zeroed);
        let hex = digest.hex();
        let planted = object
            .parent()
            .and_then(|dir| dir.parent())
            .expect("it lies deep")
            .join(&hex[..2]);
        fs::create_dir_all(&planted).expect("it is ours");
        fs::write(planted.join(&hex), &zeroed).expect("it is ours");
        chain.tamper(manifest, |manifest| {
            let at = position(manifest, "c1");
            let session = manifest.units[at].session.as_mut().expect("it has one");
            let file = session
                .files
                .iter_mut()
                .find(|file| file.name == name)
                .expect("it is there");
            file.digest = digest;
        });
        edited_elsewhere(&chain);
    }
}

/// What a script adds, nobody sees: a program that must check for overflows would not, since the publisher's script said so.
#[test]
fn a_compiler_behind_a_script() {
    for (variable, script) in [
        ("RUSTC", "exec rustc \"$@\" $ADDED"),
        ("RUSTC_WORKSPACE_WRAPPER", "exec \"$@\" $ADDED"),
    ] {
        let (tree, place) = (summing(), Place::new());
        place
            .scratch
            .write("bin/rustc", &format!("#!/bin/sh\n{script}\n"));
        let program = place.scratch.path("bin/rustc");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, mode).expect("it is ours");
        let run = |tree: &Workspace, checks: &str, args: &[&str]| {
            let runner = runner(tree.root(), &place).env(variable, &program);
            let added = format!("-Coverflow-checks={checks}");
            runner.env("ADDED", added).args(args).run().succeeded()
        };
        run(&tree, "off", &["publish", "--required", "--", "build"]);
        let clone = tree.clone_to(&place.scratch.path("clone"));
        clone.replace("src/text.rs", "old", "new");
        run(&clone, "on", &["start", "--", "build"]);
        let explained = explain(clone.root(), &["--json", "summing"]).json();
        let code = &explained["units"][0]["compiled"]["reason"]["code"];
        assert_eq!(code, "no-session", "{variable}: {explained}");
        assert_eq!(clone.program("summing"), "new true", "{variable}");
    }
}

/// A program that says whether it checks for overflows; that is compiled apart from what it says first.
fn summing() -> Workspace {
    let main = "mod sum;\nmod text;\nfn main() {\n    let one = std::env::args().count() as u8;\n    \
                let checks = std::panic::catch_unwind(|| sum::sum(one, 255)).is_err();\n    \
                println!(\"{} {checks}\", text::text());\n}\n";
    let files = [
        (".gitignore", "/target\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"summing\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
        ),
        ("src/main.rs", main),
        (
            "src/sum.rs",
            "#[inline(never)]\npub fn sum(a: u8, b: u8) -> u8 {\n    a + b\n}\n",
        ),
        (
            "src/text.rs",
            "pub fn text() -> &'static str {\n    \"old\"\n}\n",
        ),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let lock = Lock::new().local("summing", &[]).file();
    Workspace::new(files.into_iter().chain([lock]))
}
