//! Root keys: what a root says of who signs, who takes its word, and what is no word of its.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use headstart::model::Digest;
use headstart::trust::beliefs::{self, Belief, Role};
use headstart::trust::statement::{self, Statement};
use headstart::trust::{KeyId, Keyring, PublicKey, SecretKey, new_pair};
use headstart_testkit::{Output, Scratch};
use serde_json::json;

use crate::common::around::{skipped, succeeds};
use crate::common::chain::{read, refused, write};
use crate::minisign::Minisign;
use crate::{NAME, User, key};

/// A root, and a user's configuration in which it is believed for [`NAME`].
struct Rooted {
    config: Scratch,
    secret: SecretKey,
    public: PublicKey,
}

impl Rooted {
    fn new() -> Rooted {
        let (secret, public) = pair();
        let rooted = Rooted {
            config: Scratch::new(),
            secret,
            public,
        };
        rooted.believe(Role::Root, &rooted.public);
        rooted
    }

    fn believe(&self, role: Role, key: &PublicKey) {
        let belief = Belief {
            repository: NAME.to_owned(),
            key: key.clone(),
            note: None,
        };
        let added = beliefs::change(self.config.root(), |all| all.add(role, &belief));
        assert!(added.expect("the file is good"));
    }

    fn keyring(&self) -> Keyring {
        Keyring::read(self.config.root(), Some(NAME.to_owned())).expect("the file is good")
    }

    /// The file of the statement with this number, which names these keys.
    fn says(&self, generation: u64, keys: &[&PublicKey], revoked: &[KeyId]) -> String {
        let keys: Vec<PublicKey> = keys.iter().map(|key| (*key).clone()).collect();
        let mut statement = Statement::none(NAME.to_owned()).next(&keys, revoked, 0);
        statement.generation = generation;
        statement.signed(&self.secret)
    }

    /// What the user says of a file that a remote gives them.
    fn taken(&self, file: &str) -> Result<Vec<PublicKey>, String> {
        let mut keyring = self.keyring();
        let taken = keyring.take(file.as_bytes());
        taken.map_err(|error| error.to_string())?;
        Ok(keyring.here())
    }

    fn kept(&self) -> PathBuf {
        let name = Digest::of(NAME.as_bytes()).hex();
        self.config.path("keys").join(name)
    }
}

fn pair() -> (SecretKey, PublicKey) {
    let (text, public) = new_pair(None);
    let secret = SecretKey::read(&text, None).expect("it is new");
    (secret, public)
}

/// Whoever rotates a key would have to ask every reader to change their configuration.
#[test]
fn a_root_says_who_signs() {
    let rooted = Rooted::new();
    let [a, b, c] = [pair().1, pair().1, pair().1];
    assert_eq!(rooted.keyring().here(), []);
    let first = rooted.says(1, &[&a], &[]);
    assert_eq!(rooted.taken(&first), Ok(vec![a.clone()]));
    // Without asking again, as without a network.
    assert_eq!(rooted.keyring().here(), std::slice::from_ref(&a));
    let second = rooted.says(2, &[&b], &[a.id()]);
    assert_eq!(rooted.taken(&second), Ok(vec![b.clone()]));
    // What the user says themselves counts beside it, and their revocations above it; the root's above their beliefs.
    rooted.believe(Role::Signs, &c);
    rooted.believe(Role::Signs, &a);
    assert_eq!(rooted.keyring().here(), [c.clone(), b.clone()]);
    beliefs::change(rooted.config.root(), |all| all.revoke(b.id())).expect("the file is good");
    assert_eq!(rooted.keyring().here(), std::slice::from_ref(&c));
    // Whoever revokes the root has only their own left.
    let revoke = |all: &mut beliefs::Beliefs| all.revoke(rooted.public.id());
    beliefs::change(rooted.config.root(), revoke).expect("the file is good");
    assert_eq!(rooted.keyring().here(), [c, a]);
    assert_eq!(rooted.keyring().wanted(), None);
}

/// A key that is revoked by its root for one repository could sign what claims to be of another.
#[test]
fn what_a_root_revokes_signs_for_no_repository_here() {
    let rooted = Rooted::new();
    let a = pair().1;
    let belief = Belief {
        repository: beliefs::EVERY_REPOSITORY.to_owned(),
        key: a.clone(),
        note: None,
    };
    beliefs::change(rooted.config.root(), |all| all.add(Role::Signs, &belief)).expect("it is good");
    assert_eq!(rooted.keyring().anywhere(), std::slice::from_ref(&a));
    rooted
        .taken(&rooted.says(1, &[], &[a.id()]))
        .expect("it counts");
    assert_eq!(rooted.keyring().anywhere(), []);
}

/// A stolen key that was revoked would come back with a copy of what the root said before.
#[test]
fn an_older_statement_is_refused() {
    let rooted = Rooted::new();
    let [a, b] = [pair().1, pair().1];
    let old = rooted.says(3, &[&a], &[]);
    rooted.taken(&old).expect("it counts");
    rooted
        .taken(&rooted.says(4, &[&b], &[a.id()]))
        .expect("it counts");
    let said = rooted.taken(&old).expect_err("it is a replay");
    assert!(
        said.contains("statement 3, and statement 4 was seen"),
        "{said}"
    );
    assert_eq!(rooted.keyring().here(), std::slice::from_ref(&b));
    // Another with the same number does not take its place.
    rooted
        .taken(&rooted.says(4, &[&a], &[]))
        .expect("it is no older");
    assert_eq!(rooted.keyring().here(), [b]);
}

/// Whoever may write to a remote would say who signs.
#[test]
fn only_the_roots_word_about_this_repository_counts() {
    let rooted = Rooted::new();
    let (stranger, key) = pair();
    let refused = |file: &str, what: &str| {
        let said = rooted.taken(file).expect_err("it does not count");
        assert!(said.contains(what), "{said}");
        assert_eq!(rooted.keyring().here(), []);
        assert!(!rooted.kept().exists());
    };
    let statement = Statement::none(NAME.to_owned()).next(std::slice::from_ref(&key), &[], 0);
    refused(&statement.signed(&stranger), "not believed here");
    refused(&statement.text(), "not signed");
    // A key that signs starting points is no root.
    rooted.believe(Role::Signs, &key);
    let said = rooted.taken(&statement.signed(&stranger));
    assert!(said.is_err_and(|said| said.contains("not believed")));
    beliefs::change(rooted.config.root(), |all| {
        all.remove(Role::Signs, key.id(), NAME)
    })
    .expect("the file is good");
    let other = Statement::none("github.com/Owner/other".to_owned());
    refused(
        &other.next(&[key], &[], 0).signed(&rooted.secret),
        "github.com/Owner/other",
    );
    let sign = |text: &str| format!("{text}{}", rooted.secret.sign(text.as_bytes(), ""));
    let text = statement.text();
    refused(
        &sign(&text.replace("version = 1", "version = 2")),
        "format 2",
    );
    refused(
        &sign(&text.replace("generation", "genration")),
        "cannot be understood",
    );
    refused(&sign(&text.replace("\"RW", "\"RX")), "no public key");
    for file in [
        "",
        "\n",
        "untrusted comment:",
        "\nuntrusted comment:\n\n\n",
        &"x".repeat(1 << 20),
    ] {
        assert!(rooted.taken(file).is_err(), "{file}");
    }
    assert!(rooted.keyring().take(&[0xff, 0xfe]).is_err());
}

/// A statement that was cut or flipped on the way would crash the reader, or name somebody else.
#[test]
fn a_damaged_statement_is_refused() {
    let rooted = Rooted::new();
    let whole = rooted.says(1, &[&pair().1], &[pair().1.id()]);
    let signature = whole.rfind("untrusted").expect("it is signed");
    for at in 0..whole.trim_end().len() {
        assert!(rooted.taken(&whole[..at]).is_err(), "cut at {at}");
        let mut flipped = whole.clone().into_bytes();
        flipped[at] ^= 1;
        // The first line of a signature is a comment that nobody signs.
        let comment = at >= signature && !whole[signature..at].contains('\n');
        let taken = rooted.keyring().take(&flipped);
        assert!(comment || taken.is_err(), "flipped at {at}");
    }
}

/// What was revoked would come back where the note of it is damaged, or be lost where it cannot be written.
#[test]
fn what_was_kept_is_not_guessed() {
    let rooted = Rooted::new();
    let a = pair().1;
    rooted
        .taken(&rooted.says(1, &[&a], &[]))
        .expect("it counts");
    let whole = read(&rooted.kept());
    let text = String::from_utf8_lossy(&whole).into_owned();
    for damaged in [&text[..text.len() / 2], &text.replacen("1", "2", 1), ""] {
        write(&rooted.kept(), damaged.as_bytes());
        let error = Keyring::read(rooted.config.root(), Some(NAME.to_owned()));
        let error = error.expect_err("it is damaged").to_string();
        assert!(error.contains("keys/"), "{error}");
    }
    write(&rooted.kept(), &whole);
    // A root in the place of the old one begins anew.
    let (other, public) = pair();
    beliefs::change(rooted.config.root(), |all| {
        all.remove(Role::Root, rooted.public.id(), NAME)
    })
    .expect("the file is good");
    rooted.believe(Role::Root, &public);
    assert_eq!(rooted.keyring().here(), []);
    let statement = Statement::none(NAME.to_owned()).next(std::slice::from_ref(&a), &[], 0);
    assert_eq!(rooted.taken(&statement.signed(&other)), Ok(vec![a.clone()]));
    let dir = rooted.config.path("keys");
    if fs::metadata(&dir).expect("it is there").uid() == 0 {
        return skipped("nothing is closed to root");
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o555)).expect("it is ours");
    let mut keyring = rooted.keyring();
    let next = statement.next(&[], &[a.id()], 0).signed(&other);
    let said = keyring.take(next.as_bytes()).expect_err("it is not kept");
    assert!(said.to_string().contains("not kept"), "{said}");
    assert_eq!(keyring.here(), []);
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("it is ours");
}

/// Several builds at once would have the older of two statements kept.
#[test]
fn the_newest_is_kept_whoever_comes_last() {
    let rooted = Rooted::new();
    let keys: Vec<PublicKey> = (0..8).map(|_| pair().1).collect();
    let mut keyrings: Vec<Keyring> = keys.iter().map(|_| rooted.keyring()).collect();
    std::thread::scope(|scope| {
        for (at, (keyring, key)) in keyrings.iter_mut().zip(&keys).enumerate() {
            let file = rooted.says(1 + at as u64, &[key], &[]);
            scope.spawn(move || keyring.take(file.as_bytes()).expect("it counts"));
        }
    });
    assert_eq!(rooted.keyring().here(), [keys[7].clone()]);
}

/// A user with a remote directory and a root's key in their home.
struct Owner {
    user: User,
    root: String,
}

impl Owner {
    fn new() -> Owner {
        let user = User::new();
        let root = user.home.path("root.key").display().to_string();
        user.run(&["key", "new", "--no-password", "--out", &root])
            .succeeded();
        Owner { user, root }
    }

    fn remote(&self) -> String {
        format!("file://{}", self.user.home.path("remote").display())
    }

    fn rotate(&self, args: &[&str]) -> Output {
        let remote = self.remote();
        let all = [&["key", "rotate", "--json", "--remote", &remote], args].concat();
        self.user.run(&all)
    }

    fn published(&self) -> PathBuf {
        self.user.home.path("remote").join(statement::key(NAME))
    }
}

/// A root's owner could not say who signs, or would not see that it was not said.
#[test]
fn a_root_rotates_keys() {
    let owner = Owner::new();
    let ((a, a_id), (b, b_id)) = (key(), key());
    let by_root = ["--root", &owner.root];
    let first = owner.rotate(&[&by_root[..], &["--add", &a]].concat());
    let first = first.succeeded().json();
    assert_eq!(first["generation"], 1);
    assert_eq!(first["keys"], json!([a_id]));
    assert_eq!(first["written"][0]["error"], json!(null));
    let second = owner.rotate(&[&by_root[..], &["--add", &b, "--revoke", &a_id]].concat());
    let second = second.succeeded().json();
    assert_eq!(second["generation"], 2);
    assert_eq!(
        (&second["keys"], &second["revoked"]),
        (&json!([b_id]), &json!([a_id]))
    );
    let remote = owner.remote();
    let plain = [
        "key",
        "rotate",
        "--remote",
        &remote,
        "--root",
        &owner.root,
        "--revoke",
        &b,
    ];
    let said = owner.user.run(&plain).succeeded().stdout;
    assert!(
        said.contains("headstart trust add --root RW") && said.contains("2 revoked"),
        "{said}"
    );
}

/// A mistake would say something that nobody meant, or nothing, and nobody would see that.
#[test]
fn what_a_root_cannot_say_is_refused() {
    let owner = Owner::new();
    let (a, a_id) = key();
    let by_root = ["--root", &owner.root];
    owner
        .rotate(&[&by_root[..], &["--revoke", &a_id]].concat())
        .succeeded();
    refused(
        &owner.rotate(&[&by_root[..], &["--add", &a]].concat()),
        "is revoked",
    );
    refused(
        &owner.rotate(&[&by_root[..], &["--revoke", &a]].concat()),
        "changes nothing",
    );
    refused(&owner.rotate(&by_root), "changes nothing");
    // What another root says is nothing to replace by mistake.
    let before = fs::read(owner.published()).expect("it is there");
    let (other, _) = new_pair(None);
    owner.user.home.write("other.key", &other);
    let other = owner.user.home.path("other.key").display().to_string();
    let by_other = ["--root", &other, "--add", &key().0];
    refused(&owner.rotate(&by_other), "is not replaced");
    assert_eq!(fs::read(owner.published()).expect("it is there"), before);
    refused(&owner.rotate(&["--add", &key().0]), "nobody signs");
    refused(
        &owner.rotate(&["--root", "no-such-file", "--add", &key().0]),
        "no-such-file",
    );
    let nowhere = [
        "key",
        "rotate",
        "--remote",
        "none",
        "--root",
        &owner.root,
        "--add",
        &key().0,
    ];
    refused(&owner.user.run(&nowhere), "no remote");
    let every = [&by_root[..], &["--add", &a, "--repository", "*"]].concat();
    refused(&owner.rotate(&every), "one repository");
    let before = read(&owner.published());
    let file = owner.user.home.path("file");
    fs::write(&file, "no directory").expect("the home is ours");
    let broken = format!("file://{}/below", file.display());
    let args = [
        "key",
        "rotate",
        "--remote",
        &broken,
        "--root",
        &owner.root,
        "--add",
        &key().0,
    ];
    assert_ne!(owner.user.run(&args).code, 0);
    assert_eq!(read(&owner.published()), before);
}

/// A root key that never touches the network could not sign, or what it signed not be checked by others.
#[test]
fn minisign_signs_for_a_root_and_verifies_one() {
    let Some(minisign) = Minisign::find() else {
        return;
    };
    let owner = Owner::new();
    let (a, a_id) = key();
    minisign
        .run(&["-G", "-W", "-p", "root.pub", "-s", "root.key"], "")
        .succeeded();
    let public = minisign.dir.path("root.pub").display().to_string();
    let statement = minisign.dir.path("statement").display().to_string();
    let make = ["--add", &a, "--out", &statement];
    refused(&owner.rotate(&make), "no root key is known");
    owner
        .user
        .run(&["trust", "add", "--root", &public])
        .succeeded();
    owner.rotate(&make).succeeded();
    let sign = || {
        let by_hand = ["-S", "-s", "root.key", "-m", "statement", "-t", "by hand"];
        minisign.run(&by_hand, "").succeeded();
        minisign.read("statement") + &minisign.read("statement.minisig")
    };
    let signed = sign();
    let file = minisign.dir.path("signed");
    write(&file, signed.as_bytes());
    let file_name = file.display().to_string();
    refused(&owner.rotate(&["--publish", &statement]), "not signed");
    let said = owner.rotate(&["--publish", &file_name]).succeeded().json();
    assert_eq!(said["keys"], json!([a_id]));
    owner.rotate(&["--publish", &file_name]).succeeded();
    write(&file, signed.replacen('1', "2", 1).as_bytes());
    refused(&owner.rotate(&["--publish", &file_name]), "not used");

    // The other way: what headstart's root signs.
    let args = [
        "--root",
        &owner.root,
        "--add",
        &key().0,
        "--repository",
        "host/o/n",
    ];
    owner.rotate(&args).succeeded();
    let remote = owner.user.home.path("remote");
    let there = remote.join(statement::key("host/o/n"));
    let text = String::from_utf8(read(&there)).expect("it is text");
    let at = text.rfind("untrusted comment:").expect("it is signed");
    minisign.dir.write("m", &text[..at]);
    minisign.dir.write("m.minisig", &text[at..]);
    let own = format!("{}.pub", owner.root);
    minisign.run(&["-V", "-m", "m", "-p", &own], "").succeeded();
    let split = "head -n -4 \"$1\" > t && tail -n 4 \"$1\" > t.minisig && minisign -Vm t -p \"$2\"";
    let mut shell = Command::new("sh");
    shell
        .current_dir(minisign.dir.root())
        .args(["-c", split, "sh"]);
    assert!(
        succeeds(shell.arg(&there).arg(&own)),
        "not as the documents say"
    );

    // An older one that is published again would undo the newer.
    write(&file, signed.as_bytes());
    let newer = ["--revoke", &a_id, "--out", &statement];
    fs::remove_file(&statement).expect("it is there");
    owner.rotate(&newer).succeeded();
    minisign.dir.write("newer", &sign());
    let newer = minisign.dir.path("newer").display().to_string();
    owner.rotate(&["--publish", &newer]).succeeded();
    refused(
        &owner.rotate(&["--publish", &file_name]),
        "statement 1, and statement 2",
    );
}

/// Of two that follow the same one, the second would undo what the first revoked, for all who had not seen that.
#[test]
fn of_two_statements_at_a_time_the_first_counts() {
    let owner = Owner::new();
    let own = format!("{}.pub", owner.root);
    let believe = owner.user.run(&["trust", "add", "--root", &own]);
    believe.succeeded();
    let files = ["one", "other"].map(|name| owner.user.home.path(name).display().to_string());
    for file in &files {
        let make = ["--root", &owner.root, "--add", &key().0, "--out", file];
        owner.rotate(&make).succeeded();
    }
    let [one, other] = files;
    for _ in 0..2 {
        owner.rotate(&["--publish", &one]).succeeded();
        let said = owner.rotate(&["--publish", &other]);
        refused(&said, "another statement 1 is there");
    }
}

/// A user could not see which roots they believe, or not take it back.
#[test]
fn roots_are_listed_and_removed() {
    let user = User::new();
    let ((a, a_id), (b, _)) = (key(), key());
    let said = user.run(&["trust", "add", "--root", &a]).succeeded().stdout;
    assert!(said.contains("say who signs"), "{said}");
    user.run(&["trust", "add", &b]).succeeded();
    let list = user.list();
    assert_eq!(list["roots"][0]["id"], a_id.as_str());
    assert_eq!(list["roots"][0]["repository"], NAME);
    assert_eq!(list["believed"].as_array().map(Vec::len), Some(1));
    let text = user.run(&["trust", "list"]).succeeded().stdout;
    assert!(
        text.contains(&format!("{a_id}, says who signs in {NAME}")),
        "{text}"
    );
    refused(&user.run(&["trust", "remove", &a]), "is not believed");
    user.run(&["trust", "remove", "--root", &a]).succeeded();
    assert_eq!(user.list()["roots"], json!([]));
    user.run(&["trust", "add", "--root", &a]).succeeded();
    user.run(&["trust", "revoke", &a]).succeeded();
    assert_eq!(user.list()["roots"][0]["revoked"], true);
    refused(&user.run(&["trust", "add", "--root", &a]), "is revoked");
}

/// A key would be revoked in some of the remotes that were named, and nobody would see that it still counts in the other.
#[test]
fn a_remote_that_cannot_be_opened_is_an_error_before_anything_is_written() {
    let owner = Owner::new();
    let args = ["--remote", "nonsense://x", "--root", &owner.root];
    let said = owner.rotate(&[&args[..], &["--revoke", &key().0]].concat());
    refused(&said, "nonsense://x");
    assert!(!owner.published().exists(), "half of them heard of it");
}
