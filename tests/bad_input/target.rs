//! Target directories that hold something else, or have no room, and environments without a home.

use std::fs;
use std::process::Command;

use headstart_testkit::{Cargo, Workspace};

use crate::common::around::{output, skipped, succeeds, with_own_mounts};
use crate::common::chain::{Chain, builds_right, prints, refused, sane, strictly, write};

/// Somebody who switches between toolchains would have one spoil the other's build.
#[test]
fn another_toolchains_build_is_not_disturbed() {
    let nightly = |clone: &Workspace| Cargo::in_dir(clone.root()).toolchain("nightly");
    let chain = Chain::published();
    if !succeeds(&mut nightly(&chain.source).command(&["-V"])) {
        return skipped("there is no nightly toolchain");
    }
    let clone = chain.elsewhere("clone");
    nightly(&clone).build(&[]);
    chain.start(clone.root()).succeeded();
    nightly(&clone).build(&[]).nothing_ran();
    builds_right(&clone).nothing_ran();
    nightly(&clone).build(&[]).nothing_ran();
}

/// A point of one toolchain would be offered to another, and its state be thrown away by rustc.
#[test]
fn another_toolchain_finds_nothing() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let mut start = chain.command(clone.root(), &["start", "--json"]);
    start.env("RUSTUP_TOOLCHAIN", "nightly");
    if !succeeds(
        &mut Cargo::in_dir(clone.root())
            .toolchain("nightly")
            .command(&["-V"]),
    ) {
        return skipped("there is no nightly toolchain");
    }
    let started = sane(output(&mut start));
    crate::common::chain::found_nothing(&started, "was published for rustc");
    assert!(!clone.path("target").exists());
}

/// After a crash of the machine, torn records would be taken for fresh ones.
#[test]
fn torn_records_are_replaced() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    for keep in [0, 1, 7] {
        chain.start(clone.root()).succeeded();
        for entry in headstart::disk::walk::below(&clone.path("target/debug/.fingerprint"))
            .expect("units were placed")
        {
            let path = clone.path("target/debug/.fingerprint").join(entry.relative);
            if path.is_file() {
                let bytes = fs::read(&path).expect("it is there");
                write(&path, &bytes[..keep.min(bytes.len())]);
            }
        }
        chain.start(clone.root()).succeeded();
        builds_right(&clone).nothing_ran();
    }
}

/// A torn output with a whole record is cargo's own blind spot: a start must not make it worse.
#[test]
fn a_missing_output_is_placed_again() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    chain.start(clone.root()).succeeded();
    for entry in fs::read_dir(clone.path("target/debug/deps")).expect("units were placed") {
        fs::remove_file(entry.expect("it can be listed").path()).expect("it is there");
        chain.start(clone.root()).succeeded();
        builds_right(&clone);
    }
}

/// What headstart noted itself could keep it from ever working again in that directory.
#[test]
fn garbage_in_our_own_notes_is_no_matter() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let starts = clone.path("target/.headstart/starts");
    for garbage in [
        &b""[..],
        b"\0\0\0\0",
        b"[{\"commit\":1}]",
        b"{",
        b"[[[[[[[[",
    ] {
        fs::create_dir_all(clone.path("target/.headstart/compiled")).expect("the clone is ours");
        write(&starts, garbage);
        write(&clone.path("target/.headstart/compiled/c1-0"), garbage);
        chain.start(clone.root()).succeeded();
        builds_right(&clone).nothing_ran();
        chain.run(clone.root(), &["status", "--units"]).succeeded();
        chain.run(clone.root(), &["publish"]).succeeded();
        clone.remove("target");
    }
}

/// A file where our directory should be must cost the start, and not the build.
#[test]
fn a_file_in_our_directorys_place_is_an_error() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    clone.edit("target/.headstart", "a file");
    let started = chain.start(clone.root());
    refused(&started, ".headstart");
    builds_right(&clone);
    chain.run(clone.root(), &["status"]).succeeded();
    chain.run(clone.root(), &["publish"]).succeeded();
}

/// A full disk would leave a target directory that cargo takes for whole.
#[test]
fn a_full_target_directory_is_an_error_and_builds_right_later() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    // Room for nothing; for some of it; for all bytes but not for the files.
    let limits = [
        "size=100k",
        "size=3m",
        "size=1g,nr_inodes=12",
        "size=1g,nr_inodes=20",
        "size=1g,nr_inodes=28",
        "size=1g,nr_inodes=36",
    ];
    for limit in limits {
        let script = format!(
            "mkdir -p target; mount -t tmpfs -o {limit} tmpfs target\n\
             if \"$@\"; then code=0; else code=$?; fi\n\
             mount -o remount,size=1g,nr_inodes=10000 target\n\
             cargo build --quiet; target/debug/c3; exit $code"
        );
        let start = chain.command(clone.root(), &["start", "--quiet"]);
        let Some(started) = with_own_mounts(&script, &start) else {
            return;
        };
        println!("{limit}");
        refused(&started, "");
        assert!(
            started.stderr.contains("make room"),
            "{limit}: {}",
            started.stderr
        );
        assert_eq!(started.stdout, "3\n", "{limit}: {}", started.stderr);
    }
}

/// A target directory that may not be written would be a crash, or an error without a name.
#[test]
fn a_read_only_target_directory_is_an_error() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    builds_right(&clone);
    let script = "mount --bind target target; mount -o remount,bind,ro target; exec \"$@\"";
    clone.replace("crates/c3/src/main.rs", "+ 1", "+ 11");
    let start = chain.command(clone.root(), &["start"]);
    let Some(started) = with_own_mounts(script, &start) else {
        return;
    };
    refused(&started, "Read-only file system");
    prints(&clone, "13");
}

/// In a container without HOME, the error would not say what to set.
#[test]
fn without_a_home_the_error_says_what_to_set() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let homeless = |args: &[&str], removed: &[&str]| {
        let mut command = chain.command(clone.root(), args);
        for name in removed {
            command.env_remove(name);
        }
        sane(output(&mut command))
    };
    let caches = ["HOME", "XDG_CACHE_HOME"];
    homeless(&["start"], &caches).succeeded();
    builds_right(&clone).nothing_ran();
    let all = ["HOME", "XDG_CACHE_HOME", "CARGO_HOME"];
    refused(
        &homeless(&["start"], &all),
        "neither CARGO_HOME nor HOME is set",
    );
    refused(
        &homeless(&strictly("publish"), &all),
        "neither CARGO_HOME nor HOME is set",
    );

    let mut bare = Command::new(crate::common::PROGRAM);
    headstart_testkit::clean(&mut bare)
        .current_dir(clone.root())
        .arg("start");
    bare.env("CARGO_HOME", headstart_testkit::default_cargo_home());
    for name in caches {
        bare.env_remove(name);
    }
    if std::env::var_os("RUSTUP_HOME").is_some() {
        refused(&output(&mut bare), "neither XDG_CACHE_HOME nor HOME is set");
    }
}

/// A directory that is no workspace would get cargo's words without a word on what headstart wanted.
#[test]
fn outside_of_a_workspace_cargos_words_are_shown() {
    let chain = Chain::published();
    let outside = chain.place.scratch.path("outside");
    fs::create_dir(&outside).expect("the scratch directory is ours");
    for command in ["start", "publish"] {
        let run = chain.run(&outside, &strictly(command));
        assert_eq!(run.code, 1, "{}", run.stderr);
        let told = ["could not find `Cargo.toml`", "is not in a git work tree"];
        assert!(
            told.iter().any(|told| run.stderr.contains(told)),
            "{}",
            run.stderr
        );
    }
}

/// A manifest that does not parse would be reported as headstart's fault.
#[test]
fn a_broken_cargo_toml_is_shown_as_cargo_shows_it() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    clone.append("Cargo.toml", "\n[workspace\n");
    let started = chain.start(clone.root());
    assert_eq!(started.code, 1);
    assert!(started.stderr.contains("Cargo.toml"), "{}", started.stderr);
    clone.git(&["checkout", "--quiet", "."]);
    chain.start(clone.root()).succeeded();
    builds_right(&clone).nothing_ran();
}

/// A torn lock file, as an interrupted merge leaves one, would crash the start.
#[test]
fn a_broken_lock_file_is_no_matter() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    clone.edit("Cargo.lock", "<<<<<<< HEAD\n");
    chain.start(clone.root());
    clone.git(&["checkout", "--quiet", "."]);
    chain.start(clone.root()).succeeded();
    builds_right(&clone);
}
