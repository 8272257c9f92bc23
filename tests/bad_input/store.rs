//! Stores that are somewhere or somebody's where they should not be: a file, foreign, read-only, full.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use headstart::disk::walk;
use headstart_testkit::Output;

use crate::common::PROGRAM;
use crate::common::around::{output, skipped, succeeds, with_args, with_own_mounts};
use crate::common::chain::{Chain, builds_right, found_nothing, refused, strictly};

/// A user id that is nobody's here.
const STRANGER: u32 = 12_345;

/// A mistyped `--store` would be written over, or end in a crash.
#[test]
fn a_file_in_the_stores_place_is_left_alone() {
    let chain = Chain::unpublished();
    let store = chain.place.store();
    fs::write(&store, "precious").expect("the scratch directory is ours");
    for command in ["start", "publish", "status"] {
        refused(&chain.run(chain.source.root(), &strictly(command)), "store");
    }
    assert_eq!(fs::read(&store).expect("it is there"), b"precious");
    builds_right(&chain.source);
}

/// `--store ~` would fill somebody's home directory with objects.
#[test]
fn a_directory_of_something_else_is_left_alone() {
    let chain = Chain::unpublished();
    let store = chain.place.store();
    // What lies in `tmp` for a day would be removed as what nobody finished.
    for dir in ["docs", "tmp/docs"] {
        drop(fs::remove_dir_all(&store));
        fs::create_dir_all(store.join(dir)).expect("the scratch directory is ours");
        fs::write(store.join(dir).join("thesis.txt"), "precious").expect("the store is ours");
        let all = walk::below(&store).expect("it is there").len();
        for command in ["start", "publish", "status"] {
            let output = chain.run(chain.source.root(), &strictly(command));
            refused(&output, "is not a headstart store");
        }
        assert_eq!(walk::below(&store).expect("it is there").len(), all);
        assert!(store.join(dir).join("thesis.txt").exists());
    }
    builds_right(&chain.source);
}

/// A store given as an empty directory, as a fresh CI cache or mount is, could not be published into.
#[test]
fn an_empty_directory_becomes_a_store() {
    let chain = Chain::unpublished();
    fs::create_dir(chain.place.store()).expect("the scratch directory is ours");
    found_nothing(&chain.start(chain.source.root()), "there is no store");
    chain.publish_again();
    chain.serves();
}

/// All would go into another store than was named, and nobody would say so.
#[test]
fn a_name_that_is_no_text_is_refused() {
    let chain = Chain::unpublished();
    let name = chain
        .place
        .store()
        .with_file_name(OsStr::from_bytes(b"caf\xe9"));
    for command in ["start", "publish", "status"] {
        let runner = headstart_testkit::headstart(Path::new(PROGRAM), chain.source.root());
        let runner = runner.env("HEADSTART_STORE", &name);
        refused(&runner.args(strictly(command)).run(), "HEADSTART_STORE");
    }
    assert!(!name.exists());
    builds_right(&chain.source);
}

/// A bucket's address would become a directory named `s3:`.
#[test]
fn an_address_of_another_kind_is_refused() {
    let chain = Chain::unpublished();
    let address = "s3://bucket/x";
    for command in ["start", "publish", "status"] {
        let mut command = without_store(
            &chain,
            &[strictly(command), vec!["--store", address]].concat(),
        );
        refused(&output(&mut command), "`s3://bucket/x` is not a directory");
    }
    assert!(chain.source.is_clean());
}

/// Returns the command in the source, without the chain's own `--store`.
fn without_store(chain: &Chain, args: &[&str]) -> Command {
    with_args(&chain.command(chain.source.root(), &[]), args)
}

/// Readers of a shared store, mounted read-only as it should be, could not start from it.
#[test]
fn a_read_only_store_serves() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let store = chain.place.store();
    let script = format!(
        "mount --bind '{0}' '{0}'; mount -o remount,bind,ro '{0}'; exec \"$@\"",
        store.display()
    );
    let start = chain.command(clone.root(), &["start", "--json"]);
    let Some(started) = with_own_mounts(&script, &start) else {
        return;
    };
    assert_eq!(started.succeeded().json()["units"]["fresh"], 4);
    builds_right(&clone).nothing_ran();

    // Another command's starting point would be new in the store.
    let publish = chain.command(clone.root(), &["publish", "--required", "--", "check"]);
    let published = with_own_mounts(&script, &publish).expect("it worked before");
    refused(&published, "Read-only file system");
    chain.serves();
}

/// A bad object in a read-only store cannot be removed: the unit would fail instead of being compiled.
#[test]
fn a_damaged_object_in_a_read_only_store_costs_its_unit() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let object = chain.object("c3", "");
    crate::common::chain::flip(&object);
    let script = format!(
        "mount --bind '{0}' '{0}'; mount -o remount,bind,ro '{0}'; exec \"$@\"",
        chain.place.store().display()
    );
    let start = chain.command(clone.root(), &["start", "--json"]);
    let Some(started) = with_own_mounts(&script, &start) else {
        return;
    };
    assert_eq!(started.succeeded().json()["units"]["fresh"], 3);
    assert!(object.exists());
    builds_right(&clone);
}

/// Publishing onto a full disk would leave a starting point with holes.
#[test]
fn a_full_store_is_an_error_and_loses_nothing() {
    let chain = Chain::published();
    // The first allows no more than the version; the others end among the objects, the last by the number of files.
    for options in ["size=8k", "size=400k", "size=1m", "size=1g,nr_inodes=20"] {
        let script = format!(
            "mkdir -p '{0}'; mount -t tmpfs -o mode=755,{options} tmpfs '{0}'\n\
             \"$@\" --store '{0}' && exit 9\n\
             ! ls '{0}'/manifests/* '{0}'/points/*/*/* 2>/dev/null || exit 8\n\
             mount -o remount,size=1g,nr_inodes=10000 '{0}'\n\
             \"$@\" --store '{0}' >/dev/null || exit 7\n\
             cp -a '{0}' '{1}'; exit 1",
            chain.place.scratch.path("small").display(),
            chain.place.scratch.path("copied").display(),
        );
        let publish = without_store(&chain, &["publish", "--quiet", "--required"]);
        let Some(published) = with_own_mounts(&script, &publish) else {
            return;
        };
        println!("{options}");
        refused(&published, "No space left on device");
        assert!(
            published.stderr.contains("make room"),
            "{}",
            published.stderr
        );
        fs::remove_dir_all(chain.place.store()).expect("the store is ours");
        fs::rename(chain.place.scratch.path("copied"), chain.place.store()).expect("it was copied");
        chain.serves();
    }
    builds_right(&chain.source);
}

/// Anybody on a shared machine could have their code run by everybody who names their directory.
#[test]
fn a_store_of_another_user_is_refused() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let store = chain.place.store();
    for path in everything_in(&store) {
        if chown(&path, Some(STRANGER), Some(STRANGER)).is_err() {
            return skipped("only root can give files away");
        }
    }
    let start = |args: &[&str]| chain.run(clone.root(), args);
    refused_unless_believed(start, clone.root(), "belongs to another user");
    builds_right(&clone).nothing_ran();
}

/// A store in a world-writable directory would do the same.
#[test]
fn a_store_that_anybody_can_write_is_refused() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let store = chain.place.store();
    let mode = fs::metadata(&store).expect("it is there").mode();
    let open = Permissions::from_mode(mode | 0o002);
    fs::set_permissions(&store, open).expect("the store is ours");
    let start = |args: &[&str]| chain.run(clone.root(), args);
    refused_unless_believed(start, clone.root(), "can be written by anybody");
    builds_right(&clone).nothing_ran();
}

/// Whoever writes a repository would have their code run by everybody who clones it: the files of a clone are the user's own.
#[test]
fn a_store_of_the_repository_is_refused() {
    let chain = Chain::published();
    let (own, theirs) = (chain.elsewhere("own"), chain.elsewhere("theirs"));
    let start_in = |clone: &Path, args: &[&str]| {
        let plain = headstart_testkit::headstart(Path::new(PROGRAM), clone);
        plain
            .env("HEADSTART_STORE", "vendor/cache")
            .args(args)
            .run()
    };
    copied(&chain.place.store(), &own.path("vendor/cache"));
    let started = start_in(own.root(), &["start", "--json"]).succeeded();
    assert_eq!(started.json()["units"]["fresh"], 4, "{}", started.stderr);

    copied(&chain.place.store(), &theirs.path("vendor/cache"));
    // git takes a directory with these for a repository of its own, which tracks nothing.
    theirs.edit("vendor/cache/HEAD", "ref: refs/heads/main\n");
    theirs.edit("vendor/cache/refs/heads/main", "");
    theirs.commit("with what is in it");
    let start = |args: &[&str]| start_in(theirs.root(), args);
    refused_unless_believed(start, theirs.root(), "is a part of the repository");
    builds_right(&theirs).nothing_ran();
}

fn copied(from: &Path, to: &Path) {
    let parent = to.parent().expect("it has one");
    fs::create_dir_all(parent).expect("it is ours");
    assert!(succeeds(Command::new("cp").arg("-a").args([from, to])));
}

fn refused_unless_believed(start: impl Fn(&[&str]) -> Output, clone: &Path, why: &str) {
    let started = start(&["start", "--json"]);
    refused(&started, why);
    assert!(started.stderr.contains("--believe-store"));
    assert!(!clone.join("target").exists());
    let believed = start(&["start", "--json", "--believe-store"]);
    assert_eq!(believed.succeeded().json()["units"]["fresh"], 4);
}

fn everything_in(store: &Path) -> Vec<std::path::PathBuf> {
    let entries = walk::below(store).expect("it is there").into_iter();
    let below = entries.map(|entry| store.join(entry.relative));
    below.chain([store.to_path_buf()]).collect()
}
