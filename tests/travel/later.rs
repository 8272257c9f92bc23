//! What a start leaves for later: a process of its own fetches it, and a build that needs some of it meanwhile waits for that.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Once;
use std::time::Duration;

use headstart::engine::Ledger;
use headstart::model::epoch::Epoch;
use headstart::model::session::{DEP_GRAPH, SessionFile};
use headstart::model::{Digest, Manifest, Session, Unit};
use headstart::store::Store;
use headstart::store::pack::{self, Codec, Frame, Index, PackName};
use headstart::tier::{Tier, Tiers};
use headstart::travel::fetch::{AHEAD_BYTES, Keep, Wanted, fetch};
use headstart_testkit::{Build, Fault, Headstart, Scratch, Server, Workspace};

use crate::common::chain::{explain, unit_of};
use crate::common::{PROGRAM, until};
use crate::far::{Far, read_from};

/// How long fetches wait for a server: whatever is behind everything else may wait long on a busy machine.
const PATIENCE_S: &str = "600";

/// A clone in which everything is fresh, and the rest of its starting point, which nobody has fetched yet.
struct Started {
    far: Far,
    server: Server,
    clone: Workspace,
    manifest: Digest,
}

impl Started {
    fn new() -> Started {
        let far = Far::published(None);
        let (server, clone) = (far.server(), far.clone("started"));
        let said = far.start(&clone, &server.url(), &["--believe-store"]);
        let manifest = said.succeeded().json()["manifest"].clone();
        server.requests();
        Started {
            far,
            server,
            clone,
            manifest: manifest
                .as_str()
                .and_then(|name| name.parse().ok())
                .expect("it has a name"),
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.far.store()).expect("it was made")
    }

    /// Returns the command that fetches the rest; it waits very long for a server that says nothing.
    fn fetch(&self) -> Headstart {
        let runner = self.far.headstart(&self.clone, &self.server.url());
        let target = self.clone.path("target");
        let target = target.to_str().expect("it is plain");
        runner.env("HEADSTART_WAIT", PATIENCE_S).args([
            "fetch",
            &self.manifest.hex(),
            "--from",
            target,
        ])
    }

    /// Begins to fetch the rest from a server that holds it back.
    fn fetching(&self) -> Child {
        self.server.fails(Fault::Held, "packs");
        let mut fetch = self.fetch().command();
        let child = fetch.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let store = self.store();
        until("it is fetched", || store.is_being_fetched(self.manifest));
        child.expect("headstart is there")
    }

    /// Has the rest fetched to its end, and tells whether that is settled for all starts to come.
    fn settles(&self) -> bool {
        self.fetch().run().succeeded();
        !self.store().lacks_rest(self.manifest)
    }

    /// Edits c1, and lets builds wait for its session as for that of a unit that takes minutes.
    fn edit(&self) {
        self.clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
        let ledger = Ledger::of(&self.clone.path("target"));
        let seeds = fs::read_dir(self.clone.path("target/.headstart/seeds"));
        let names = seeds.expect("they were noted").flatten();
        let names = names.filter_map(|seed| seed.file_name().into_string().ok());
        for key in names.filter(|name| name.starts_with("c1=")) {
            let mut seed = ledger.seed(&key).expect("it can be read");
            seed.wait_ms = 600_000;
            ledger.write_seed(&key, &seed).expect("it is ours");
        }
    }

    /// Builds through the wrapper, and calls `then` when that has asked for a session.
    fn build_until_asked(&self, then: impl FnOnce()) -> Build {
        std::thread::scope(|scope| {
            let build = scope.spawn(|| self.build());
            let store = self.store();
            until("a session is asked for", || {
                !store.asked(self.manifest).is_empty()
            });
            then();
            build.join().expect("it ends")
        })
    }

    fn build(&self) -> Build {
        self.clone.cargo().wrapper(PROGRAM).build(&[])
    }

    /// Asserts that c1 was compiled rightly, and from what it began.
    #[track_caller]
    fn began(&self, code: &str) {
        assert_eq!(self.clone.program("c3"), "13");
        let said = explain(self.clone.root(), &["c1", "--json"]);
        let said = said.succeeded().json();
        let reason = &said["units"][0]["compiled"]["reason"];
        assert_eq!(reason["code"], code, "{said}");
    }

    fn packs_asked_for(&self) -> usize {
        let asked = self.server.requests();
        asked.iter().filter(|path| path.contains("packs")).count()
    }

    fn has_all(&self) -> bool {
        let store = self.store();
        let mut all = self.far.chain.manifest().objects().into_iter();
        all.all(|(object, size_bytes)| store.has(object, size_bytes))
    }
}

/// Starts, and has another process fetch the rest, however slowly that gets on.
fn start_with_rest(far: &Far, clone: &Workspace, server: &Server) {
    let runner = far.headstart(clone, &server.url());
    let runner = runner.env("HEADSTART_LATER", "on");
    let runner = runner.env("HEADSTART_WAIT", PATIENCE_S);
    runner.args(["start", "--believe-store"]).run().succeeded();
}

/// A unit that is fresh today is edited tomorrow, perhaps without a network.
#[test]
fn sessions_of_fresh_units_come_later() {
    let far = Far::published(None);
    let (server, clone) = (far.server(), far.clone("later"));
    start_with_rest(&far, &clone, &server);
    let all = far.chain.manifest().objects();
    let store = Store::open(&far.store()).expect("it was made");
    until("the rest comes", || {
        all.iter().all(|(object, size)| store.has(*object, *size))
    });
    drop(server);
    clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    clone.cargo().wrapper(PROGRAM).build(&[]);
    let said = explain(clone.root(), &["c1", "--json"]).succeeded().json();
    let reason = &said["units"][0]["compiled"]["reason"];
    assert_eq!(reason["code"], "seeded", "{said}");
}

/// The remotes of a workspace that is built from elsewhere are named in its own file: nothing would come from there later.
#[test]
fn sessions_come_later_from_the_remotes_of_the_workspace() {
    let far = Far::published(None);
    let (here, app) = (far.clone("here"), far.clone("app"));
    let url = format!("file://{}", far.remote.display());
    app.edit("headstart.toml", format!("[[remote]]\nurl = \"{url}\"\n"));
    let start = ["start", "--believe-store", "--", "build"];
    let runner = far.headstart(&here, "").env("HEADSTART_LATER", "on");
    let manifest = ["--manifest-path", "../app/Cargo.toml"];
    let runner = runner.env("HEADSTART_WAIT", PATIENCE_S);
    runner
        .args(start.into_iter().chain(manifest))
        .run()
        .succeeded();
    let all = far.chain.manifest().objects();
    let store = Store::open(&far.store()).expect("it was made");
    until("the rest comes", || {
        all.iter().all(|(object, size)| store.has(*object, *size))
    });
}

/// The file of the workspace would name other remotes for what comes later than were named for the start, where those have failed meanwhile.
#[test]
fn remotes_that_failed_are_no_others_later() {
    let far = Far::published(None);
    let (named, other, clone) = (far.server(), far.server(), far.clone("failed"));
    clone.edit(
        "headstart.toml",
        format!("[[remote]]\nurl = \"{}\"\n", other.url()),
    );
    named.fails(Fault::Denied, "packs");
    start_with_rest(&far, &clone, &named);
    assert!(!named.requests().is_empty());
    // Nobody says that nothing is begun; what is begun asks within milliseconds.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(other.requests(), Vec::<String>::new());
}

/// Who edits right after a start would compile from nothing what is on its way.
#[test]
fn a_build_waits_for_a_session_that_is_on_its_way() {
    let started = Started::new();
    let mut fetch = started.fetching();
    started.edit();
    started.build_until_asked(|| started.server.recovers());
    started.began("seeded");
    assert!(fetch.wait().expect("it was started").success());
    assert!(started.has_all());
    started.far.store_is_sound();
}

/// A build would hang when the process that fetches is gone, and no later start would fetch the rest.
#[test]
fn a_fetch_that_is_killed_keeps_nobody_and_is_begun_again() {
    let started = Started::new();
    let mut fetch = started.fetching();
    started.edit();
    started.build_until_asked(|| {
        fetch.kill().expect("it runs");
        fetch.wait().expect("it was started");
    });
    started.began("seed-lost");
    assert!(started.store().lacks_rest(started.manifest));
    started.server.recovers();
    start_with_rest(&started.far, &started.clone, &started.server);
    until("the rest comes", || started.has_all());
    let store = started.store();
    until("it ends", || !store.is_being_fetched(started.manifest));
    assert!(!store.lacks_rest(started.manifest), "all starts would ask");
}

/// Two starts at once would fetch everything twice.
#[test]
fn one_process_fetches_at_a_time() {
    let started = Started::new();
    let first = started.store().fetching(started.manifest, || ());
    let mut second = started.fetch().command();
    let second = second.stderr(Stdio::piped()).spawn();
    let mut second = second.expect("headstart is there");
    let said = std::io::BufReader::new(second.stderr.take().expect("it is ours"));
    let mut said = std::io::BufRead::lines(said);
    let line = said.next().expect("it says what it does").expect("a text");
    assert!(line.contains("waiting for another"), "{line}");
    assert_eq!(started.packs_asked_for(), 0);
    drop(first);
    assert!(second.wait().expect("it was started").success());
    assert!(started.has_all());
}

/// A session that somebody waits for would come with the last of gigabytes.
#[test]
fn what_is_asked_for_comes_first() {
    let started = Started::new();
    let manifest = started.far.chain.manifest();
    let session = unit_of(&manifest, "c1").session.as_ref();
    let graph = session.and_then(|session| session.file(DEP_GRAPH));
    let graph = graph.expect("it was published").digest;
    let (store, wait) = (started.store(), Duration::from_secs(9));
    store.ask(started.manifest, graph, wait);
    let [other, session] = [&b"a starting point"[..], b"its session"].map(Digest::of);
    store.ask(other, session, wait);
    assert!(started.settles());
    assert!(started.has_all());
    assert_eq!(store.asked(started.manifest), [], "who asked still waits");
    assert_eq!(store.asked(other), [(session, wait)], "somebody else's");
    assert_eq!(
        started.packs_asked_for(),
        2,
        "first this one, then the others"
    );
}

/// The same where it is asked for in the middle.
#[test]
fn what_is_asked_for_comes_behind_what_is_on_its_way() {
    let scratch = Scratch::new();
    let contents = ["one", "two", "three", "four"].map(str::as_bytes);
    let manifest = Manifest {
        units: contents.map(unit_with_session).into(),
        ..Manifest::default()
    };
    let packs = contents.map(|content| write_large_pack(scratch.root(), content));
    let frame = |pack| Frame {
        pack,
        offset: 0,
        stored_bytes: LARGE,
        delta: None,
    };
    let index = Index {
        packs: packs.to_vec(),
        frames: (0..4).map(frame).collect(),
        bases: Vec::new(),
    };
    let server = Server::of(scratch.root());
    let tiers = tiers_of(&server);
    let store = Store::create(&scratch.path("store")).expect("it is ours");
    let staging = store.staging("test").expect("it is ours");
    let name = Digest::of(b"the manifest");
    let wanted = Wanted {
        index: &index,
        all: &index.all_objects(&manifest),
        objects: &[0, 1, 2, 3],
        asked: Some((name, &manifest)),
    };
    // While the first comes, somebody asks for the last.
    let asks = Once::new();
    let watch = |_| {
        let last = Digest::of(contents[3]);
        asks.call_once(|| store.ask(name, last, Duration::from_secs(9)));
        true
    };
    let keep = Keep {
        store: &store,
        staging: &staging,
        arrivals: None,
    };
    let fetched = fetch(wanted, &tiers, keep, &watch);
    assert_eq!(fetched.lacking, 0, "{:?}", fetched.trouble);
    assert_eq!(store.asked(name), [], "who asked still waits");
    let expected = [0, 1, 3, 2].map(|at: usize| packs[at].key());
    let mut requests = server.requests();
    // Two are on their way at once.
    requests[..2].sort_by_key(|key| *key != expected[0]);
    assert_eq!(requests, expected);
}

/// Somebody else brings the base of what is asked for, before its turn: who waits for that base would wait for ever.
#[test]
fn what_came_otherwise_is_not_waited_for() {
    let (ends, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let scratch = Scratch::new();
        // Two large bases come before the small one; then what is a delta to each.
        let contents = ["one", "two", "base", "1", "2", "asked"].map(str::as_bytes);
        let manifest = Manifest {
            units: contents.map(unit_with_session).into(),
            ..Manifest::default()
        };
        let packs = contents.map(|content| write_large_pack(scratch.root(), content));
        let frame = |pack: u32| Frame {
            pack,
            offset: 0,
            stored_bytes: if pack < 2 { LARGE } else { 9 },
            delta: pack.checked_sub(3).map(|base| (Codec::Bytes, base)),
        };
        let index = Index {
            packs: packs.to_vec(),
            frames: (0..6).map(frame).collect(),
            bases: Vec::new(),
        };
        let server = Server::of(scratch.root());
        let tiers = tiers_of(&server);
        let store = Store::create(&scratch.path("store")).expect("it is ours");
        let staging = store.staging("test").expect("it is ours");
        let name = Digest::of(b"the manifest");
        let wanted = Wanted {
            index: &index,
            all: &index.all_objects(&manifest),
            objects: &[0, 1, 2, 3, 4, 5],
            asked: Some((name, &manifest)),
        };
        let (base, asked) = (Digest::of(contents[2]), Digest::of(contents[5]));
        let asks = Once::new();
        let watch = |_| {
            asks.call_once(|| {
                let put = store.put_from(&staging, contents[2], (base, 4));
                put.expect("it is ours");
                store.ask(name, asked, Duration::from_secs(9));
            });
            true
        };
        let keep = Keep {
            store: &store,
            staging: &staging,
            arrivals: None,
        };
        fetch(wanted, &tiers, keep, &watch);
        ends.send(store.asked(name)).expect("somebody waits");
    });
    let left = ended.recv_timeout(Duration::from_secs(120));
    assert_eq!(left.expect("it ends"), [], "who asked still waits");
}

/// Returns the tiers of whoever reads from `server` alone.
fn tiers_of(server: &Server) -> Tiers<'static> {
    let tier = read_from(&server.url(), Duration::from_secs(600));
    Tiers::new([&*Box::leak(Box::new(tier)) as &dyn Tier])
}

/// More than is asked for at once.
const LARGE: u64 = AHEAD_BYTES + 1;

/// A unit whose session is one small file.
fn unit_with_session(content: &[u8]) -> Unit {
    let file = SessionFile {
        name: DEP_GRAPH.to_owned(),
        digest: Digest::of(content),
        size_bytes: content.len() as u64,
    };
    let session = Session {
        crate_dir: String::new(),
        name: String::new(),
        files: vec![file],
        sites: Vec::new(),
    };
    Unit {
        session: Some(session),
        ..Unit::default()
    }
}

/// Writes a pack with `content` and nothing behind it, but large.
fn write_large_pack(remote: &Path, content: &[u8]) -> PackName {
    let pack = PackName {
        epoch: Epoch::of(0),
        digest: Digest::of(content),
    };
    let frame = pack::compress(content, content.len() as u64).expect("memory");
    let path = remote.join(pack.key());
    fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
    fs::write(&path, frame).expect("it is ours");
    let file = fs::OpenOptions::new().write(true).open(&path);
    let sized = file.and_then(|file| file.set_len(LARGE));
    sized.expect("it is ours");
    pack
}

/// Sessions that a remote could not give just then would not be fetched by any later start; those that it has lost, by all.
#[test]
fn what_did_not_come_later_may_come_yet() {
    let started = Started::new();
    started.server.fails(Fault::Unavailable, "packs");
    assert!(!started.settles(), "nobody will ask for it any more");
    let packs = |name| started.far.remote.join(name);
    let renames = |from: &Path, to: &Path| fs::rename(from, to).expect("it is ours");
    renames(&packs("v1/packs"), &packs("packs"));
    started.server.recovers();
    assert!(started.settles(), "it is gone, and is asked for again");
    renames(&packs("packs"), &packs("v1/packs"));
    assert!(started.settles() && started.has_all());
    started.far.store_is_sound();
}

/// A process that nobody waits for would hold connections for a day.
#[test]
fn what_comes_later_may_not_come_in_drops() {
    let started = Started::new();
    started.server.fails(Fault::Drips, "packs");
    let fetch = started.fetch().env("HEADSTART_WAIT", "0.5");
    let said = fetch.run().succeeded();
    assert!(said.stderr.contains("did not come"), "{}", said.stderr);
    assert!(started.store().lacks_rest(started.manifest));
}

/// What a start names by the repository's file could not be fetched by who stands somewhere in the work tree; or a file of somebody
/// above it would name another store.
#[test]
fn remotes_are_those_of_the_work_tree() {
    let started = Started::new();
    let (clone, remote) = (&started.clone, &started.far.remote);
    let above = clone
        .root()
        .parent()
        .expect("it has one")
        .join("headstart.toml");
    let runner = headstart_testkit::headstart(PROGRAM.as_ref(), clone.path("crates/c0/src"));
    let runner = runner.store(started.far.store());
    let runner = runner.env("HEADSTART_WAIT", PATIENCE_S);
    let runner = runner.args(["fetch", &started.manifest.hex()]);
    let names = |file: &Path| {
        let text = format!("[[remote]]\nurl = \"file://{}\"\n", remote.display());
        fs::write(file, text).expect("it is ours");
        runner.run().succeeded();
        started.has_all()
    };
    assert!(!names(&above));
    let store = started.store();
    assert!(store.lacks_rest(started.manifest), "nobody was asked");
    assert!(names(&clone.path("headstart.toml")));
    assert!(!store.lacks_rest(started.manifest));
}

/// The next worktree would fetch once more what the first has, or a file that cargo has written since would be taken for what it was.
#[test]
fn what_was_placed_alone_comes_into_the_store_from_there() {
    let started = Started::new();
    // Nothing but the list and the manifest is left there.
    fs::remove_dir_all(started.far.remote.join("v1/packs")).expect("they are there");
    let fresh = |name: &str| {
        let clone = started.far.clone(name);
        let said = started.far.start(&clone, "none", &["--believe-store"]);
        said.succeeded().json()["units"]["fresh"].clone()
    };
    assert_eq!(fresh("before"), 0, "the outputs are where they were placed");
    let changed = started.clone.path("target/debug/deps");
    let of_c1 = |name: &str| name.starts_with("libc1-");
    for file in fs::read_dir(&changed).expect("it is there").flatten() {
        let name = file.file_name().into_string().expect("it is plain");
        if of_c1(&name) {
            fs::write(file.path(), "changed").expect("it is ours");
        }
    }
    started.fetch().run().succeeded();
    assert_eq!(fresh("after"), 1, "c0 alone is in the store");
    started.far.store_is_sound();
}

/// A version that nobody has published has the session of the one before, which would not be there when it is needed if it were left for later.
#[test]
fn the_session_of_another_version_comes_before_the_build() {
    let far = Far::published(None);
    let (server, clone) = (far.server(), far.clone("bumped"));
    clone.replace("crates/c1/Cargo.toml", "0.1.0", "0.2.0");
    let locked = |version: &str| format!("name = \"c1\"\nversion = \"{version}\"");
    clone.replace("Cargo.lock", &locked("0.1.0"), &locked("0.2.0"));
    let started = far.start(&clone, &server.url(), &["--believe-store"]);
    started.succeeded();
    clone.cargo().wrapper(PROGRAM).build(&[]);
    let said = explain(clone.root(), &["--json", "c1"]).stdout;
    assert!(said.contains("1 of 1 work products reused"), "{said}");
    assert_eq!(clone.program("c3"), "3");
}

/// Nobody compiles what is a hit: whoever starts would wait for sessions that are of no use. Where nothing comes later, they may be needed.
#[test]
fn the_session_of_a_likely_hit_comes_later() {
    for later in ["on", "off"] {
        let far = Far::unpublished();
        let place = "pub fn place() -> &'static str {\n    env!(\"CARGO_MANIFEST_DIR\")\n}\n";
        far.chain.source.append("crates/c1/src/lib.rs", place);
        far.chain.source.commit("c1 holds its place");
        far.publish(None);
        let (server, manifest, clone) = (far.server(), far.chain.manifest(), far.clone(later));
        let store = Store::create(&far.store()).expect("it can be made");
        // The rest does not come yet.
        let held = store.fetching(far.chain.point().manifest, || {});
        let runner = far.headstart(&clone, &server.url());
        let runner = runner.env("HEADSTART_LATER", later);
        runner.args(["start", "--believe-store"]).run().succeeded();
        let has_session = |name: &str| {
            let mut objects = unit_of(&manifest, name).session_objects();
            objects.all(|(object, size_bytes)| store.has(object, size_bytes))
        };
        let there = ["c1", "c2", "c3"].map(has_session);
        assert_eq!(there, [true, later == "off", true], "{later}");
        drop(held);
        clone.cargo().wrapper(PROGRAM).build(&[]);
        let said = explain(clone.root(), &["c2", "--json"]).succeeded().json();
        let reason = &said["units"][0]["compiled"]["reason"];
        assert_eq!(reason["code"], "hit", "{said}");
    }
}
