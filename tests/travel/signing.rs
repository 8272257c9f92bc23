//! Published by one job and signed by another; several signatures; and roots that say whose count.

use std::fs;
use std::path::PathBuf;

use headstart::model::Digest;
use headstart::model::epoch::Epoch;
use headstart::store::head::{self, Entry, Head};
use headstart::store::pack::{self, Index};
use headstart::store::point::Point;
use headstart::store::{Store, format};
use headstart::trust::SecretKey;
use headstart_testkit::{Fault, Output, Workspace, headstart};
use serde_json::Value;

use crate::common::PROGRAM;
use crate::common::around::with_own_mounts;
use crate::common::chain::{builds_right, cut, found_nothing, read, refused, sane, write};
use crate::far::Far;

/// The origin of all clones.
const ORIGIN: &str = "https://example.org/o/n.git";

/// A remote with keys for it, and a second machine that believes the first of them.
struct Signing {
    far: Far,
    clone: Workspace,
}

impl Signing {
    /// What was published waits to be signed.
    fn unsigned() -> Signing {
        let far = Far::unpublished();
        far.chain.source.git(&["remote", "add", "origin", ORIGIN]);
        let clone = clone(&far, "signing");
        let signing = Signing { far, clone };
        let alone = signing.far.chain.place.scratch.path("git-alone");
        let path = std::env::var_os("PATH").expect("it is set");
        let git = std::env::split_paths(&path).map(|dir| dir.join("git"));
        let git = git
            .into_iter()
            .find(|git| git.is_file())
            .expect("git is there");
        fs::create_dir_all(&alone).expect("it is ours");
        std::os::unix::fs::symlink(git, alone.join("git")).expect("links work here");
        for name in ["ours", "theirs", "root"] {
            let file = signing.key(name);
            let new = ["key", "new", "--no-password", "--out", &file];
            signing.run(&new).succeeded();
        }
        signing.publish_unsigned();
        signing
    }

    fn publish_unsigned(&self) -> Value {
        let runner = crate::common::runner(self.far.chain.source.root(), &self.far.chain.place);
        // A key that is there is not used, and not even read.
        let runner = runner
            .env("HEADSTART_SIGN_KEY", "no-such-file")
            .env("HEADSTART_REMOTES", self.remote());
        let args = ["publish", "--json", "--unsigned", "--", "build"];
        let said = runner.args(args).run().succeeded().json();
        assert_eq!(said["remotes"][0]["error"], Value::Null, "{said}");
        said
    }

    fn remote(&self) -> String {
        format!("file://{}", self.far.remote.display())
    }

    fn key(&self, name: &str) -> String {
        let file = self.far.chain.place.scratch.path(name);
        file.display().to_string()
    }

    /// Runs headstart on the second machine, without a store, and without cargo and rustc.
    fn run(&self, args: &[&str]) -> Output {
        let runner = self.far.headstart_without_store(&self.clone);
        let runner = runner
            .env("PATH", self.far.chain.place.scratch.path("git-alone"))
            .env("HEADSTART_REMOTES", self.remote());
        sane(runner.args(args).run())
    }

    fn sign(&self, by: &[&str], args: &[&str]) -> Output {
        let keys: Vec<String> = by.iter().map(|name| self.key(name)).collect();
        let keys = keys.iter().flat_map(|key| ["--sign-key", key]);
        let all: Vec<&str> = ["sign", "--json"].into_iter().chain(keys).collect();
        self.run(&[&all[..], args].concat())
    }

    fn believe(&self, name: &str, args: &[&str]) {
        let key = format!("{}.pub", self.key(name));
        let add = [&["trust", "add", &key][..], args].concat();
        self.run(&add).succeeded();
    }

    /// Starts in a new clone, from what an HTTP server gives, where only signatures count.
    fn start(&self, name: &str) -> (Workspace, Output) {
        let clone = clone(&self.far, name);
        let server = self.far.server();
        let said = self.far.start(&clone, &server.url(), &[]);
        (clone, said)
    }

    #[track_caller]
    fn serves(&self, name: &str) {
        let (clone, said) = self.start(name);
        let said = said.succeeded();
        assert_eq!(said.json()["units"]["fresh"], 4, "{}", said.stderr);
        builds_right(&clone).nothing_ran();
    }

    fn commit(&self) -> String {
        self.clone.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn waiting(&self) -> PathBuf {
        self.far.remote.join(head::unsigned_key(&self.commit()))
    }

    /// Has a manifest wait to be signed that the remote's writer changed.
    fn plant(&self, change: impl FnOnce(&mut headstart::model::Manifest)) {
        let mut manifest = self.far.chain.manifest();
        change(&mut manifest);
        let bytes = format::encode(&manifest);
        let (name, epoch) = (Digest::of(&bytes), Epoch::of(0));
        let store = Store::open(&self.far.chain.place.store()).expect("it was made");
        drop(store);
        let bundle = pack::encode_bundle(&bytes, &index_of(&manifest));
        let mut point = Point::new(&manifest, name);
        point.commit = self.commit();
        let file = self.far.remote.join(pack::bundle_key(epoch, name));
        fs::create_dir_all(file.parent().expect("it is below")).expect("it is ours");
        write(&file, &bundle);
        let entry = Entry {
            point,
            epoch,
            signatures: Vec::new(),
        };
        let signed = Head::default().with(entry, 0).to_sign();
        write(&self.waiting(), &head::encode(&signed, &[]));
    }

    fn list(&self) -> Head {
        head::decode(&read(&self.list_file()))
            .expect("it is whole")
            .head
    }

    fn list_file(&self) -> PathBuf {
        let key = head::key(&self.far.chain.manifest().toolchain);
        self.far.remote.join(key)
    }
}

/// Returns a clone on the second machine with the same origin.
fn clone(far: &Far, name: &str) -> Workspace {
    let clone = far.clone(name);
    clone.git(&["remote", "set-url", "origin", ORIGIN]);
    clone
}

/// Returns an index that fits `manifest`, and names nothing that is there.
fn index_of(manifest: &headstart::model::Manifest) -> Index {
    let frame = pack::Frame {
        pack: 0,
        offset: 0,
        stored_bytes: 1,
        delta: None,
    };
    Index {
        packs: vec![pack::PackName {
            epoch: Epoch::of(0),
            digest: Digest::of(b""),
        }],
        frames: manifest.objects().iter().map(|_| frame).collect(),
        bases: Vec::new(),
    }
}

/// A build script could take the key, or what is signed elsewhere would serve nobody.
#[test]
fn one_job_publishes_and_another_signs() {
    let signing = Signing::unsigned();
    signing.believe("ours", &["--repository", "*"]);
    found_nothing(&signing.start("before").1, "none of");
    assert!(!signing.list_file().exists());
    let said = signing.sign(&["ours"], &[]).succeeded().json();
    let one = &said["remotes"][0]["manifests"][0];
    assert_eq!(
        (&one["signed"], &one["new"]),
        (&true.into(), &true.into()),
        "{said}"
    );
    signing.serves("after");
    // Once more changes nothing.
    let before = read(&signing.list_file());
    let again = signing.sign(&["ours"], &[]).succeeded().json();
    assert_eq!(again["remotes"][0]["manifests"][0]["new"], false, "{again}");
    assert_eq!(read(&signing.list_file()), before);
    // What it finds there already is not written again, although nobody signed it for the publisher.
    let next = signing.publish_unsigned();
    assert_eq!(next["remotes"][0]["packs"], 0, "{next}");
}

/// Readers who believe an old key, and those who believe the new one, would each need a publish of their own.
#[test]
fn a_starting_point_has_several_signatures() {
    let signing = Signing::unsigned();
    signing.believe("theirs", &["--repository", "*"]);
    signing.sign(&["ours"], &[]).succeeded();
    found_nothing(&signing.start("one").1, "not used");
    signing.sign(&["ours", "theirs"], &[]).succeeded();
    let list = signing.list();
    assert_eq!(list.entries.len(), 1);
    assert_eq!(list.entries[0].signatures.len(), 2);
    signing.serves("two");
    let own = SecretKey::read(
        &fs::read_to_string(signing.key("ours")).expect("it is there"),
        None,
    );
    let keys = [own.expect("it is a key").public()];
    let raw = head::decode(&read(&signing.list_file())).expect("it is whole");
    headstart::trust::verify(&raw.signed, &raw.signatures, &keys)
        .expect("for both kinds of readers");
}

/// Two jobs that sign at once would take each other's starting points away.
#[test]
fn several_sign_at_once() {
    let signing = Signing::unsigned();
    for name in ["ours", "theirs"] {
        signing.believe(name, &["--repository", "*"]);
    }
    std::thread::scope(|scope| {
        for name in ["ours", "theirs", "ours", "theirs"] {
            let signing = &signing;
            scope.spawn(move || {
                let said = signing.sign(&[name], &[]);
                let contended = said.stderr.contains("kept replacing");
                assert!(said.code == 0 || contended, "{}", said.stderr);
            });
        }
    });
    for name in ["ours", "theirs"] {
        signing.sign(&[name], &[]).succeeded();
    }
    let list = signing.list();
    assert_eq!(list.entries.len(), 1);
    let by = |name: &str| {
        let text = fs::read_to_string(signing.key(name)).expect("it is there");
        let key = SecretKey::read(&text, None).expect("it is a key").public();
        let bytes = format::encode(&signing.far.chain.manifest());
        headstart::trust::verify(&bytes, &list.entries[0].signatures, &[key]).is_ok()
    };
    assert!(by("ours") && by("theirs"));
    signing.serves("both");
}

/// Whoever may write what waits could have anything signed: another commit's files, or another repository's.
#[test]
fn only_what_is_of_this_commit_is_signed() {
    let signing = Signing::unsigned();
    type Change<'a> = &'a dyn Fn(&mut headstart::model::Manifest);
    let changes: [(&str, Change<'_>); 5] = [
        ("other/repository", &|one| {
            one.repository = "other/repository".to_owned()
        }),
        ("of the commit", &|one| one.commit = "a".repeat(40)),
        ("tree", &|one| one.tree = "b".repeat(40)),
        ("differed", &|one| one.dirty = true),
        ("expired", &|one| one.not_after_unix_s = 1),
    ];
    for (what, change) in changes {
        signing.plant(change);
        let said = signing.sign(&["ours"], &[]);
        refused(&said, what);
        assert_eq!(said.json()["remotes"][0]["manifests"][0]["signed"], false);
        assert!(!signing.list_file().exists(), "{what}");
    }
    // The same as it is waits beside it, and is named.
    signing.plant(|_| ());
    signing.sign(&["ours"], &["--manifest", "ffff"]).failed();
    assert!(!signing.list_file().exists());
    let name = signing.far.chain.point().manifest.hex();
    signing
        .sign(&["ours"], &["--manifest", &name[..12]])
        .succeeded();
    assert!(signing.list_file().exists());
}

/// A damaged, foreign or missing file would crash the signer, or be signed.
#[test]
fn bad_files_are_not_signed() {
    let signing = Signing::unsigned();
    refused(&signing.sign(&[], &[]), "no key to sign with");
    refused(&signing.sign(&["no-such-key"], &[]), "no-such-key");
    refused(
        &signing.sign(&["ours"], &["--commit", "no-such-commit"]),
        "no-such-commit",
    );
    refused(&signing.sign(&["ours"], &["--remote", "none"]), "no remote");
    let bundles = signing.far.remote.join("v1/manifests");
    let week = fs::read_dir(&bundles)
        .expect("it is there")
        .next()
        .expect("one")
        .expect("it");
    let bundle = fs::read_dir(week.path())
        .expect("it is there")
        .next()
        .expect("one")
        .expect("it");
    let whole = read(&bundle.path());
    for bytes in [&whole[..whole.len() / 2], b"", &[0; 4096]] {
        write(&bundle.path(), bytes);
        refused(&signing.sign(&["ours"], &[]), "its manifest");
    }
    fs::remove_file(bundle.path()).expect("it was there");
    refused(&signing.sign(&["ours"], &[]), "not there");
    write(&bundle.path(), &whole);
    let waiting = read(&signing.waiting());
    cut(&signing.waiting());
    refused(&signing.sign(&["ours"], &[]), "nothing of");
    let mut newer = waiting.clone();
    newer[8] = 9;
    write(&signing.waiting(), &newer);
    refused(&signing.sign(&["ours"], &[]), "format 9");
    fs::remove_file(signing.waiting()).expect("it was there");
    let nothing = signing.sign(&["ours"], &[]);
    refused(&nothing, "nothing of");
    assert_eq!(
        nothing.json()["remotes"][0]["manifests"],
        serde_json::json!([])
    );
    assert!(!signing.list_file().exists());
    write(&signing.waiting(), &waiting);
    signing.sign(&["ours"], &[]).succeeded();
}

/// A fetch that cannot end would fill the disk of everybody on it first.
#[test]
fn a_store_without_room_is_not_filled() {
    let signing = Signing::unsigned();
    let clone = clone(&signing.far, "small");
    // So that sessions are fetched, into the store.
    clone.append("crates/c0/src/lib.rs", "// edited\n");
    let small = signing.far.clone_dir("small-store");
    let script = format!(
        "mkdir -p '{0}'; mount -t tmpfs -o mode=755,size=200k tmpfs '{0}'; \"$@\"; ls '{0}'/objects >&2 || true",
        small.display()
    );
    signing.sign(&["ours"], &[]).succeeded();
    let args = ["start", "--believe-store", "--json"];
    let runner = signing.far.headstart(&clone, &signing.remote());
    let start = runner.store(&small).args(args).command();
    let Some(said) = with_own_mounts(&script, &start) else {
        return;
    };
    assert!(
        said.stderr.contains("nothing is fetched of"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("No such file"), "{}", said.stderr);
    builds_right(&clone);
}

/// A stolen key could be given up only by every reader, one by one.
#[test]
fn a_root_gives_up_a_key() {
    let signing = Signing::unsigned();
    let root = signing.key("root");
    let rotate = |args: &[&str]| {
        let all = [&["key", "rotate", "--root", &root], args].concat();
        signing.run(&all).succeeded();
    };
    signing.believe("root", &["--root"]);
    signing.sign(&["ours"], &[]).succeeded();
    found_nothing(&signing.start("nobody").1, "not used");
    let (ours, theirs) = (
        format!("{}.pub", signing.key("ours")),
        format!("{}.pub", signing.key("theirs")),
    );
    rotate(&["--add", &ours]);
    signing.serves("ours");
    rotate(&["--add", &theirs, "--revoke", &ours]);
    found_nothing(&signing.start("stolen").1, "not used");
    // Without a network too: what is here already was signed by it.
    let offline = clone(&signing.far, "offline");
    found_nothing(&signing.far.start(&offline, "none", &[]), "not believed");
    signing.sign(&["theirs"], &[]).succeeded();
    signing.serves("theirs");
    // One small request more than without a root.
    let server = signing.far.server();
    signing
        .far
        .start(&clone(&signing.far, "counted"), &server.url(), &[])
        .succeeded();
    let mut asked = server.requests();
    asked.retain(|path| !path.contains("packs"));
    assert_eq!(asked.len(), 2, "{asked:#?}");
}

/// A bucket whose readers may not list it says of what is not there that access is denied: it would be left alone as a whole.
#[test]
fn a_root_that_said_nothing_where_nobody_may_ask_is_no_matter() {
    let signing = Signing::unsigned();
    signing.sign(&["ours"], &[]).succeeded();
    signing.believe("ours", &[]);
    signing.believe("root", &["--root"]);
    let server = signing.far.server();
    server.fails(Fault::Denied, "v1/keys");
    let clone = clone(&signing.far, "clone");
    let said = signing.far.start(&clone, &server.url(), &[]).succeeded();
    assert_eq!(said.json()["units"]["fresh"], 4, "{}", said.stderr);
}

/// What the root said before, given out again, would have a stolen key believed.
#[test]
fn an_older_word_of_the_root_is_refused() {
    let signing = Signing::unsigned();
    let root = signing.key("root");
    let ours = format!("{}.pub", signing.key("ours"));
    let rotate = ["key", "rotate", "--root", &root];
    signing.believe("root", &["--root"]);
    signing.sign(&["ours"], &[]).succeeded();
    signing
        .run(&[&rotate[..], &["--add", &ours]].concat())
        .succeeded();
    let keys = signing.far.remote.join("v1/keys");
    let file = fs::read_dir(&keys)
        .expect("it is there")
        .next()
        .expect("one")
        .expect("it")
        .path();
    let old = read(&file);
    signing.serves("before");
    signing
        .run(&[&rotate[..], &["--revoke", &ours]].concat())
        .succeeded();
    found_nothing(&signing.start("after").1, "not used");
    write(&file, &old);
    let replayed = signing.start("replayed").1;
    found_nothing(&replayed, "not used");
    assert!(
        replayed.stderr.contains("statement 1, and statement 2"),
        "{}",
        replayed.stderr
    );
    for bytes in [&b""[..], &old[..old.len() / 2], &vec![b'x'; 1 << 20]] {
        write(&file, bytes);
        found_nothing(&signing.start("damaged").1, "not used");
        fs::remove_dir_all(signing.far.clone_dir("damaged")).expect("it is ours");
    }
    // A store that is deleted does not bring it back.
    fs::remove_dir_all(signing.far.store()).expect("it is ours");
    write(&file, &old);
    found_nothing(&signing.start("anew").1, "not used");
}

/// A key that is believed for one repository, or that the repository itself proposes, would run code in another.
#[test]
fn only_keys_of_this_repository_count() {
    let signing = Signing::unsigned();
    signing.sign(&["ours"], &[]).succeeded();
    signing.believe("ours", &["--repository", "example.org/o/other"]);
    found_nothing(&signing.start("elsewhere").1, "not believed");
    let clone = clone(&signing.far, "proposed");
    let file = format!("{}.pub", signing.key("ours"));
    let text = fs::read_to_string(file).expect("it is there");
    let key = text.lines().nth(1).expect("it has two lines");
    clone.edit("headstart.toml", format!("trusted_keys = [\"{key}\"]\n"));
    let server = signing.far.server();
    let said = signing.far.start(&clone, &server.url(), &[]);
    found_nothing(&said, "not believed");
    signing.believe("ours", &["--repository", "example.org/o/n"]);
    signing.serves("here");
}

/// A list that nobody writes any more would be taken for the newest, and nobody wonder.
#[test]
fn a_stale_list_is_said() {
    let signing = Signing::unsigned();
    signing.believe("ours", &["--repository", "*"]);
    signing.sign(&["ours"], &[]).succeeded();
    let (clone, said) = signing.start("new");
    assert!(
        !said.stderr.contains("nothing was published"),
        "{}",
        said.stderr
    );
    drop(clone);
    let mut list = signing.list();
    list.written_unix_s -= 20 * 24 * 60 * 60;
    let text = fs::read_to_string(signing.key("ours")).expect("it is there");
    let key = SecretKey::read(&text, None).expect("it is a key");
    let signed = list.to_sign();
    let signature = key.sign(&signed, "of a month ago");
    write(&signing.list_file(), &head::encode(&signed, &[signature]));
    let (clone, said) = signing.start("old");
    assert!(
        said.stderr.contains("nothing was published to"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("for 20 days"), "{}", said.stderr);
    assert_eq!(said.succeeded().json()["units"]["fresh"], 4);
    builds_right(&clone).nothing_ran();
}

/// A stranger who may write to a remote could put its list at the highest number, behind which no replay is seen.
#[test]
fn a_strangers_list_does_not_set_the_number() {
    let signing = Signing::unsigned();
    signing.sign(&["theirs"], &[]).succeeded();
    let mut list = signing.list();
    list.sequence = u64::MAX;
    let signed = list.to_sign();
    write(&signing.list_file(), &head::encode(&signed, &[]));
    signing.sign(&["ours"], &[]).succeeded();
    assert!(signing.list().sequence < 1 << 40);
    let said = headstart(PROGRAM.as_ref(), signing.clone.root())
        .args(["sign", "--unsigned"])
        .run();
    assert_eq!(said.code, 2, "{}", said.stderr);
}

/// A start that names a workspace elsewhere would refuse what is signed for that, or believe keys of the repository where it was typed.
#[test]
fn a_named_workspace_has_its_own_repositorys_keys() {
    let signing = Signing::unsigned();
    signing.believe("ours", &[]);
    signing.sign(&["ours"], &[]).succeeded();
    let (named, typed_in) = (
        clone(&signing.far, "named"),
        clone(&signing.far, "typed-in"),
    );
    typed_in.git(&[
        "remote",
        "set-url",
        "origin",
        "https://github.com/another/one.git",
    ]);
    let server = signing.far.server();
    let manifest = named.path("Cargo.toml").display().to_string();
    let start = |dir: &Workspace| {
        let runner = signing
            .far
            .headstart_without_store(dir)
            .env("HEADSTART_REMOTES", server.url());
        let build = ["--", "build", "--manifest-path", &manifest];
        sane(
            runner
                .args([&["start", "--json", "--required"][..], &build].concat())
                .run(),
        )
    };
    assert_eq!(start(&typed_in).succeeded().json()["units"]["fresh"], 4);
    // The other way round, the key is believed for another repository.
    let manifest = typed_in.path("Cargo.toml").display().to_string();
    let runner = signing
        .far
        .headstart_without_store(&named)
        .env("HEADSTART_REMOTES", server.url());
    let build = ["--", "build", "--manifest-path", &manifest];
    let refused = runner
        .args([&["start", "--json", "--required"][..], &build].concat())
        .run();
    assert_ne!(refused.code, 0, "{}", refused.stdout);
}

/// What was to be signed in several remotes would be found in some of them, and nobody would hear of the other.
#[test]
fn a_remote_that_cannot_be_opened_is_an_error_before_anything_is_signed() {
    let signing = Signing::unsigned();
    let remotes = ["--remote", &signing.remote(), "--remote", "nonsense://x"];
    refused(&signing.sign(&["ours"], &remotes), "nonsense://x");
    assert!(signing.waiting().exists() && !signing.far.remote.join("v1/heads").exists());
}
