//! Remotes that are dead, slow, lying, or somebody else's: a bounded wait, a line that says so, and a right build.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headstart::config::RemoteConfig;
use headstart::remote::Opener;
use headstart::store::{Store, head};
use headstart::tier::{Listing, Replaced, Tier, Trouble, Watch};
use headstart::travel::push::{PushError, Pushed};
use headstart::trust::{self, SecretKey};
use headstart_testkit::{Fault, Output, Server, Workspace};

use crate::common::PROGRAM;
use crate::common::around::{output, with_own_mounts};
use crate::common::chain::{Chain, builds_right, found_nothing, refused};
use crate::far::{Far, push_unsigned};

const FAULTS: [Fault; 11] = [
    Fault::Drips,
    Fault::Silent,
    Fault::Unavailable,
    Fault::Busy(60),
    Fault::Denied,
    Fault::NoRanges,
    Fault::Resets,
    Fault::Truncates,
    Fault::Flips,
    Fault::WrongRange,
    Fault::Empty,
];

/// Runs `start`, and returns what it said and how long it took.
fn timed(start: impl FnOnce() -> Output) -> (Output, Duration) {
    let begun = Instant::now();
    let output = start();
    (output, begun.elapsed())
}

/// Whatever a remote does wrong, cargo builds the right program, and nothing wrong is kept.
#[test]
fn a_remote_that_misbehaves_costs_a_bounded_wait() {
    let far = Far::published(None);
    for part in ["heads", "manifests", "packs"] {
        for fault in FAULTS {
            drop(fs::remove_dir_all(far.store()));
            let server = far.server();
            server.fails(fault, part);
            let clone = far.clone(&format!("{part}/{fault:?}"));
            let start = || far.start(&clone, &server.url(), &["--believe-store"]);
            let (said, took) = timed(start);
            assert_eq!(said.code, 0, "{part} {fault:?}: {}", said.stderr);
            // Only packs are asked for in ranges.
            let of_ranges = [Fault::WrongRange, Fault::NoRanges].contains(&fault);
            let harmless = of_ranges && part != "packs";
            assert!(
                harmless || said.stderr.contains("headstart: "),
                "{part} {fault:?}: nothing was said"
            );
            assert!(took < Duration::from_secs(14), "{part} {fault:?}: {took:?}");
            builds_right(&clone);
            far.store_is_sound();
        }
    }
}

/// A remote that is busy for a second would be lost to a whole start, or be asked again before it can answer.
#[test]
fn a_remote_that_is_busy_is_asked_again_when_it_says() {
    let far = Far::published(None);
    for part in ["heads", "manifests", "packs"] {
        drop(fs::remove_dir_all(far.store()));
        let server = far.server();
        server.fails(Fault::Busy(1), part);
        let clone = far.clone(&format!("busy/{part}"));
        let start = || far.start(&clone, &server.url(), &["--believe-store"]);
        let (said, took) = timed(start);
        let said = said.succeeded();
        assert_eq!(said.json()["units"]["fresh"], 4, "{part}: {}", said.stderr);
        assert!(took >= Duration::from_secs(1), "{part}: {took:?}");
        let asked = server.requests();
        let again = asked.iter().filter(|path| path.contains(part)).count();
        assert_eq!(again, 2, "{part}: {asked:#?}");
    }
    drop(fs::remove_dir_all(far.store()));
    let server = far.server();
    server.fails(Fault::Busy(60), "heads");
    let clone = far.clone("busy/long");
    let said = far.start(&clone, &server.url(), &["--believe-store"]);
    found_nothing(&said, "come back in 60 s");
    assert_eq!(server.requests().len(), 1, "it is left alone");
}

/// One tier after the other would be asked for what there is no room for, and each told that it failed.
#[test]
fn a_disk_that_fills_ends_the_fetching() {
    let far = Far::published(None);
    let (near, origin) = (far.server(), far.server());
    let clone = far.clone("full");
    // So that sessions are fetched, into the store.
    clone.append("crates/c0/src/lib.rs", "// edited\n");
    let remotes = format!("{} {}", near.url(), origin.url());
    let start = far.headstart(&clone, &remotes);
    let start = start.args(["start", "--json", "--believe-store"]).command();
    // Bytes enough for all, so that it begins; but names for lists, manifest and few objects.
    let script = format!(
        "mkdir -p '{0}'; mount -t tmpfs -o mode=755,size=1g,nr_inodes=24 tmpfs '{0}'; exec \"$@\"",
        far.store().display()
    );
    let Some(said) = with_own_mounts(&script, &start) else {
        return;
    };
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("No space left"), "{}", said.stderr);
    let packs = |server: &Server| {
        let asked = server.requests();
        asked.iter().filter(|path| path.contains("packs")).count()
    };
    assert_eq!((packs(&near), packs(&origin)), (1, 0));
    builds_right(&clone);
}

/// A store that root or a read-only disk keeps would cost all that it has, and fail the job, for what it lacks.
#[test]
fn a_store_that_cannot_be_written_serves_what_it_has() {
    let far = Far::published(None);
    let server = far.server();
    let first = far.clone("first");
    let start = |clone| far.start(clone, &server.url(), &["--believe-store"]);
    start(&first).succeeded();
    far.gathers(&first);
    let tmp = far.store().join("tmp");
    fs::remove_dir_all(&tmp).expect("it is there");
    fs::write(&tmp, "").expect("it is ours");
    let clone = far.clone("second");
    // The session of c2 was never fetched.
    clone.append("crates/c2/src/lib.rs", "// edited\n");
    let said = start(&clone).succeeded();
    assert_eq!(said.json()["units"]["fresh"], 2, "{}", said.stderr);
    assert!(
        said.stderr.contains("nothing is fetched of"),
        "{}",
        said.stderr
    );
    builds_right(&clone);
}

/// Where there is room for one copy of what is placed, and not for two, nothing would be placed once it had come.
#[test]
fn a_disk_has_room_for_what_is_there_already() {
    let far = Far::published(None);
    let server = far.server();
    let start = |clone: &Workspace| far.start(clone, &server.url(), &["--believe-store"]);
    let placed = start(&far.clone("roomy")).succeeded().json()["bytes"].clone();
    let placed = placed.as_u64().expect("it is a number");
    let clone = far.clone("tight");
    let start = far.headstart(&clone, &server.url());
    let start = start.args(["start", "--json", "--believe-store"]).command();
    let script = format!(
        "mkdir '{0}'; mount -t tmpfs -o mode=755,size={1} tmpfs '{0}'; exec \"$@\"",
        clone.path("target").display(),
        placed * 7 / 4
    );
    let Some(said) = with_own_mounts(&script, &start) else {
        return;
    };
    assert_eq!(said.json()["units"]["fresh"], 4, "{}", said.stderr);
}

/// A remote that nobody answers for is given up after the wait that the user allows.
#[test]
fn nobody_answers() {
    let far = Far::published(None);
    let clone = far.clone("nobody");
    let said = far.start(&clone, "http://127.0.0.1:1/", &["--believe-store"]);
    found_nothing(&said, "127.0.0.1:1");
    let said = far.start(&clone, "nonsense://x", &[]);
    found_nothing(&said, "nonsense");
    builds_right(&clone);
}

/// A mistyped directory, or a share that is not mounted, would be made by whoever looks for it, and be empty from then on.
#[test]
fn who_only_reads_makes_no_directory() {
    let far = Far::published(None);
    let clone = far.clone("mistyped");
    let nowhere = far.remote.with_file_name("nowhere");
    let said = far.start(&clone, &format!("file://{}", nowhere.display()), &[]);
    found_nothing(&said, "No such file or directory");
    assert!(!nowhere.exists(), "it was made");
    builds_right(&clone);
}

/// A nearer remote that lacks something, or lies, is passed over for the next.
#[test]
fn the_next_remote_has_it() {
    let far = Far::published(None);
    let (near, origin) = (far.server(), far.server());
    for fault in [Fault::Unavailable, Fault::Flips, Fault::Truncates] {
        drop(fs::remove_dir_all(far.store()));
        near.fails(fault, "packs");
        let clone = far.clone(&format!("next/{fault:?}"));
        let remotes = format!("{} {}", near.url(), origin.url());
        let said = far
            .start(&clone, &remotes, &["--believe-store"])
            .succeeded();
        assert_eq!(
            said.json()["units"]["fresh"],
            4,
            "{fault:?}: {}",
            said.stderr
        );
        builds_right(&clone).nothing_ran();
        far.store_is_sound();
    }
}

/// Code of anybody who can write to a bucket would run here.
#[test]
fn only_believed_signatures_count() {
    let far = Far::published(None);
    let server = far.server();
    let clone = far.clone("unsigned");
    found_nothing(&far.start(&clone, &server.url(), &[]), "not used");
    let keys = far.chain.place.scratch.path("keys");
    fs::create_dir_all(&keys).expect("it is ours");
    let key = |name: &str| {
        let file = keys.join(name).display().to_string();
        let new = headstart_testkit::headstart(PROGRAM.as_ref(), clone.root());
        new.args(["key", "new", "--no-password", "--out", &file])
            .run()
            .succeeded();
        file
    };
    let (ours, theirs) = (key("ours"), key("theirs"));
    let believe = ["trust", "add", &format!("{ours}.pub"), "--repository", "*"];
    far.headstart_without_store(&clone)
        .args(believe)
        .run()
        .succeeded();
    far.publish(Some(&theirs));
    found_nothing(&far.start(&clone, &server.url(), &[]), "not used");
    far.publish(Some(&ours));
    let said = far.start(&clone, &server.url(), &[]).succeeded();
    assert_eq!(said.json()["units"]["fresh"], 4, "{}", said.stderr);
    builds_right(&clone).nothing_ran();
}

/// An old list, given out again, would hide every newer starting point, and who withdrew one.
#[test]
fn a_list_that_is_older_than_the_last_is_refused() {
    let far = Far::published(None);
    let server = far.server();
    let clone = far.clone("replayed");
    let keys = far.chain.place.scratch.path("keys");
    fs::create_dir_all(&keys).expect("it is ours");
    let file = keys.join("own").display().to_string();
    let runner = || headstart_testkit::headstart(PROGRAM.as_ref(), clone.root());
    runner()
        .args(["key", "new", "--no-password", "--out", &file])
        .run()
        .succeeded();
    let believe = ["trust", "add", &format!("{file}.pub"), "--repository", "*"];
    far.headstart_without_store(&clone)
        .args(believe)
        .run()
        .succeeded();
    far.publish(Some(&file));
    let heads = far.remote.join("v1/heads");
    let head = fs::read_dir(&heads)
        .expect("it is there")
        .next()
        .expect("one")
        .expect("it")
        .path();
    let old = fs::read(&head).expect("it is there");
    far.publish(Some(&file));
    far.start(&clone, &server.url(), &[]).succeeded();
    fs::write(&head, old).expect("it is ours");
    let said = far.start(&clone, &server.url(), &[]);
    assert!(said.stderr.contains("older than one"), "{}", said.stderr);
}

/// The list of another toolchain, given out once in the place of this one, would have its higher number kept, and this one be refused
/// for as long as it takes to be written as often.
#[test]
fn the_list_of_another_toolchain_is_refused_and_forgotten() {
    let far = Far::published(None);
    let clone = far.clone("swapped");
    let (secret, public) = trust::new_pair(None);
    let file = far.chain.place.scratch.path("own").display().to_string();
    fs::write(&file, &secret).expect("it is ours");
    let believe = ["trust", "add", &public.to_string(), "--repository", "*"];
    let runner = far.headstart_without_store(&clone);
    runner.args(believe).run().succeeded();
    far.publish(Some(&file));
    let heads = fs::read_dir(far.remote.join("v1/heads")).expect("it is there");
    let path = heads.flatten().next().expect("there is one").path();
    let right = fs::read(&path).expect("it is there");
    let mut other = head::decode(&right).expect("it is a list").head;
    for entry in &mut other.entries {
        entry.point.toolchain.rustc.push_str("-nightly");
    }
    other.sequence += 1000;
    let signed = other.to_sign();
    let key = SecretKey::read(&secret, None).expect("it is new");
    let other = head::encode(&signed, &[key.sign(&signed, "of another")]);
    let server = far.server();
    fs::write(&path, other).expect("it is ours");
    let said = far.start(&clone, &server.url(), &[]);
    found_nothing(&said, "that of another toolchain");
    fs::write(&path, right).expect("it is ours");
    let said = far.start(&clone, &server.url(), &[]).succeeded();
    assert_eq!(said.json()["units"]["fresh"], 4, "{}", said.stderr);
}

/// A build script that sees the key could sign whatever it likes.
#[test]
fn build_scripts_do_not_see_the_key() {
    let far = Far::published(None);
    let source = &far.chain.source;
    let script = "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
        assert!(std::env::var_os(\"HEADSTART_SIGN_KEY\").is_none());\n}\n";
    fs::write(source.path("crates/c0/build.rs"), script).expect("it is ours");
    source.commit("a script that looks");
    let file = far.chain.place.scratch.path("own").display().to_string();
    let runner = || headstart_testkit::headstart(PROGRAM.as_ref(), source.root());
    runner()
        .args(["key", "new", "--no-password", "--out", &file])
        .run()
        .succeeded();
    far.publish(Some(&file));
}

/// A remote in memory that refuses, or that fails the first requests of each kind.
#[derive(Debug, Default)]
struct Moody {
    refuses: bool,
    failures: usize,
    denies: Option<&'static str>,
    asked: Mutex<BTreeMap<String, usize>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Moody {
    /// Counts a request of the kind `kind`, and fails it as long as it is one of the first.
    fn asked(&self, kind: &str) -> Result<(), Trouble> {
        let mut asked = self.asked.lock().expect("no thread panics");
        let count = asked.entry(kind.to_owned()).or_default();
        *count += 1;
        match *count <= self.failures {
            true => Err(Trouble::Unreachable("503, try again".to_owned())),
            false => Ok(()),
        }
    }
}

impl Tier for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn directory(&self) -> Option<&Path> {
        None
    }

    fn get(&self, key: &str, _: u64, _: Watch<'_>) -> Result<Vec<u8>, Trouble> {
        self.asked("get")?;
        if self.denies.is_some_and(|part| key.contains(part)) {
            return Err(Trouble::Denied("no".to_owned()));
        }
        let files = self.files.lock().expect("no thread panics");
        files.get(key).cloned().ok_or(Trouble::Absent)
    }

    fn get_range(&self, key: &str, _: Range<u64>, watch: Watch<'_>) -> Result<Vec<u8>, Trouble> {
        self.get(key, u64::MAX, watch)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), Trouble> {
        if self.refuses {
            return Err(Trouble::Denied("no".to_owned()));
        }
        self.asked("put")?;
        let mut files = self.files.lock().expect("no thread panics");
        files.insert(key.to_owned(), bytes.into());
        Ok(())
    }

    fn replace(&self, key: &str, _: Option<&[u8]>, bytes: Vec<u8>) -> Result<Replaced, Trouble> {
        self.put(key, bytes.into()).map(|()| Replaced::Blindly)
    }

    fn list(&self, _: &str) -> Result<Listing, Trouble> {
        Err(Trouble::Denied("nobody asks that".to_owned()))
    }

    fn remove(&self, _: &[String], _: &dyn Fn()) -> Result<(), Trouble> {
        Err(Trouble::Denied("nobody asks that".to_owned()))
    }

    fn put_new(&self, _: &str, _: Vec<u8>) -> Result<bool, Trouble> {
        Err(Trouble::Denied("nobody asks that".to_owned()))
    }

    fn told_unix_s(&self) -> Option<i64> {
        None
    }
}

/// Pushes the chain's only starting point, unsigned.
fn push_to(tier: &Moody, chain: &Chain) -> Result<Pushed, PushError> {
    let store = Store::open(&chain.place.store()).expect("it is there");
    push_unsigned(tier, &store, &chain.point())
}

/// A publish that waited for an upload which nobody makes would hang CI.
#[test]
fn a_remote_that_takes_nothing_is_an_error_at_once() {
    let refusing = Moody {
        refuses: true,
        ..Moody::default()
    };
    let error = push_to(&refusing, &Chain::published()).expect_err("it refuses");
    assert!(matches!(error, PushError::Tier { .. }), "{error}");
}

/// One "503, slow down" of a bucket at the end of half an hour's build would lose all of it.
#[test]
fn a_publish_tries_again() {
    let chain = Chain::published();
    let flaky = Moody {
        failures: 1,
        ..Moody::default()
    };
    push_to(&flaky, &chain).expect("it works the second time");
    let whole = flaky.files.lock().expect("no thread panics").len();
    assert_eq!(whole, 3, "a pack, a manifest, a list");
    let dead = Moody {
        failures: usize::MAX,
        ..Moody::default()
    };
    let error = push_to(&dead, &chain).expect_err("it never works");
    assert!(error.to_string().contains("503"), "{error}");
    let asked = dead.asked.lock().expect("no thread panics").clone();
    assert_eq!(asked, BTreeMap::from([("get".to_owned(), 4)]));
}

/// One file that may not be read, of a commit before, would keep all that come after from being published.
#[test]
fn what_cannot_be_read_of_earlier_commits_costs_bytes() {
    let (first, next) = (Chain::published(), Chain::unpublished());
    let mut tier = Moody::default();
    push_to(&tier, &first).expect("it is taken");
    next.source.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    next.source.commit("next");
    next.publish_again();
    tier.denies = Some("manifests/");
    let pushed = push_to(&tier, &next).expect("it is taken");
    assert_eq!(pushed.objects, next.manifest().objects().len());
    let list = tier.get(&head::key(&next.manifest().toolchain), u64::MAX, &|_| true);
    let list = head::decode(&list.expect("it was written"));
    assert_eq!(list.expect("it is a list").head.entries.len(), 2);
}

/// A build with changes would be taken for the commit's by everybody, or be missing there without a word.
#[test]
fn a_build_with_changes_is_written_to_no_remote() {
    let far = Far::unpublished();
    let source = &far.chain.source;
    source.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    let url = format!("file://{}", far.remote.display());
    let publish = |args: &[&str]| {
        let plain = ["publish", "--allow-dirty", "--remote", &url];
        far.chain.run(source.root(), &[&plain, args].concat())
    };
    let what = "a build with changes is written to no remote";
    refused(&publish(&["--required"]), what);
    assert!(!source.path("target").exists(), "it was built for nothing");
    let said = publish(&[]).succeeded();
    assert!(said.stderr.contains(what), "{}", said.stderr);
    assert!(!far.remote.join("v1").exists());
    // Where nothing is written to anyway, nothing is lost.
    let args = ["publish", "--allow-dirty", "--required"];
    let mut publish = far.chain.command(source.root(), &args);
    output(publish.env("HEADSTART_REMOTES", "http://127.0.0.1:1/")).succeeded();
}

/// CI would be red because a cache is down.
#[test]
fn a_build_does_not_fail_for_a_remote() {
    let far = Far::unpublished();
    let source = &far.chain.source;
    let publish = |remote: &str, required: &[&str]| {
        let runner = crate::common::runner(source.root(), &far.chain.place);
        let args = [&["publish", "--remote", remote], required].concat();
        runner.env("HEADSTART_WAIT", "0.2").args(args).run()
    };
    for remote in ["s3://nobody/here", "nonsense://x", "http://127.0.0.1:1/"] {
        let said = publish(remote, &[]).succeeded();
        // Nobody who is told nothing would use it, and nobody would say so.
        let no_key = said.stderr.contains("there is no key to sign with");
        assert_eq!(no_key, remote.starts_with("s3"), "{}", said.stderr);
    }
    refused(&publish("nonsense://x", &["--required"]), "nonsense");
    let blocked = far.chain.place.scratch.path("a-file");
    fs::write(&blocked, "").expect("it is ours");
    let remote = format!("file://{}/remote", blocked.display());
    let said = publish(&remote, &[]).succeeded();
    assert!(said.stderr.contains("a-file"), "{}", said.stderr);
    let remote = format!("file://{}", far.remote.display());
    let with_wrong_key = |required: &[&str]| {
        crate::common::runner(source.root(), &far.chain.place)
            .env("HEADSTART_SIGN_KEY", "a key\nthat is none\n")
            .env("HEADSTART_REMOTES", &remote)
            .args([&["publish"], required].concat())
            .run()
    };
    // After half an hour it would be too late to say so.
    source.remove("target");
    let why = "cannot sign with HEADSTART_SIGN_KEY";
    refused(&with_wrong_key(&["--required"]), why);
    assert!(!source.path("target/debug/c3").exists());
    let wrong_key = with_wrong_key(&[]).succeeded();
    assert!(wrong_key.stderr.contains(why), "{}", wrong_key.stderr);
    builds_right(source).nothing_ran();
}

/// What was believed for one start only, or by a key that is revoked since, would be believed for ever once it is here.
#[test]
fn belief_is_asked_for_at_each_start() {
    let far = Far::published(None);
    let clone = far.clone("once");
    let server = far.server();
    far.start(&clone, &server.url(), &["--believe-store"])
        .succeeded();
    far.gathers(&clone);
    let again = far.clone("again");
    found_nothing(&far.start(&again, "none", &[]), "not signed");
    far.start(&again, "none", &["--believe-store"]).succeeded();
    builds_right(&again).nothing_ran();
}

/// A repository that names a directory of the user's, which may be its own work tree, would have its code run.
#[test]
fn a_repository_cannot_have_a_directory_believed() {
    let far = Far::published(None);
    let clone = far.clone("named");
    let config = format!("[[remote]]\nurl = \"file://{}\"\n", far.remote.display());
    fs::write(clone.path("headstart.toml"), config).expect("it is ours");
    found_nothing(&far.start(&clone, "", &[]), "not signed");
}

/// Whose directory it is would be asked of another than was read: the owner of a link on the way sees when the list is opened, and has the link
/// lead to a directory of the system's right then.
#[test]
fn links_on_the_way_to_a_directory_are_followed_once() {
    let far = Far::unpublished();
    let scratch = far.chain.place.scratch.path("links");
    fs::create_dir_all(scratch.join("theirs")).expect("it is ours");
    let scratch = scratch.canonicalize().expect("it is there");
    let (theirs, link) = (scratch.join("theirs"), scratch.join("link"));
    let leads_to = |link: &Path, to: &str| {
        drop(fs::remove_file(link));
        std::os::unix::fs::symlink(to, link).expect("it is ours");
    };
    leads_to(&link, "theirs");
    let config = RemoteConfig {
        url: format!("file://{}", link.display()),
        by_user: true,
        read_only: true,
    };
    let opener = Opener::new(Duration::from_secs(2)).expect("there are threads");
    let remote = opener.open(&config, std::iter::empty()).expect("it is one");
    leads_to(&link, "/usr");
    assert_eq!(remote.directory(), Some(&*theirs));
    fs::rename(&theirs, scratch.join("away")).expect("it is ours");
    assert!(trust::store(&theirs, false).is_err(), "nobody knows whose");
    leads_to(&theirs, "/usr");
    assert_eq!(remote.directory(), None);
}
