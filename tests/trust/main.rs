//! Keys, signatures, and who is believed: `headstart key`, `headstart trust`, and what is below them.

#[path = "../common/mod.rs"]
mod common;

mod keys;
mod minisign;
mod rotation;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use headstart::command::key::signing_keys;
use headstart::config::Environment;
use headstart::trust::new_pair;
use headstart_testkit::{Output, Scratch, Workspace, headstart};
use serde_json::{Value, json};

use common::PROGRAM;
use common::around::{output, skipped};
use common::chain::{cut, flip, read, refused, sane, write};

const ORIGIN: &str = "https://github.com/Owner/name.git";
const NAME: &str = "github.com/Owner/name";

/// Somebody with a home directory, and a clone whose origin is [`ORIGIN`].
struct User {
    home: Scratch,
    clone: Workspace,
    password: Option<&'static str>,
}

impl User {
    fn new() -> User {
        let clone = Workspace::new([("Cargo.toml", "[workspace]\nmembers = []\n")]);
        clone.git(&["remote", "add", "origin", ORIGIN]);
        User {
            home: Scratch::new(),
            clone,
            password: None,
        }
    }

    fn config(&self) -> PathBuf {
        self.home.path("config/headstart")
    }

    fn file(&self) -> PathBuf {
        self.config().join("trust.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).expect("it was written")
    }

    fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let run = headstart(Path::new(PROGRAM), dir)
            .env("HOME", self.home.root())
            .env("XDG_CONFIG_HOME", self.home.path("config"))
            .env("HEADSTART_KEY_PASSWORD", self.password.unwrap_or_default());
        run.args(args).command()
    }

    /// Runs headstart in `dir`; it may fail, and never panics.
    fn run_in(&self, dir: &Path, args: &[&str]) -> Output {
        sane(output(&mut self.command(dir, args)))
    }

    /// Runs it in the clone.
    fn run(&self, args: &[&str]) -> Output {
        self.run_in(self.clone.root(), args)
    }

    fn list(&self) -> Value {
        self.run(&["trust", "list", "--json"]).succeeded().json()
    }

    /// The repositories and ids of the keys that are listed and not revoked.
    fn believed(&self) -> Vec<(String, String)> {
        let list = self.list();
        let keys = list["keys"].as_array().expect("keys are listed").iter();
        let text = |value: &Value| value.as_str().expect("it is text").to_owned();
        let valid = keys.filter(|key| key["revoked"] == false);
        valid
            .map(|key| (text(&key["repository"]), text(&key["id"])))
            .collect()
    }
}

/// Returns a new public key, as its line and its id.
fn key() -> (String, String) {
    let key = new_pair(None).1;
    (key.to_string(), key.id().to_string())
}

fn pair(repository: &str, id: &str) -> (String, String) {
    (repository.to_owned(), id.to_owned())
}

/// A secret key that others can read, or that belongs to another public key, would be worth nothing.
#[test]
fn a_new_key_is_a_pair() {
    let mut user = User::new();
    let dir = user.home.root().to_owned();
    for (name, password, flags) in [
        ("a.key", Some("secret"), &[][..]),
        ("b.key", None, &["--no-password"]),
        ("c.key", Some("secret"), &["--no-password"]),
    ] {
        user.password = password;
        let args = [&["key", "new", "--json", "--out", name], flags].concat();
        let made = user.run_in(&dir, &args).succeeded().json();
        let secret = dir.join(name);
        let meta = fs::metadata(&secret).expect("it was made");
        assert_eq!(meta.mode() & 0o777, 0o600);
        let public = format!("{name}.pub");
        for file in [name, &public] {
            let shown = user.run_in(&dir, &["key", "show", "--json", file]);
            let shown = shown.succeeded().json();
            for field in ["key", "id", "believe"] {
                assert_eq!(shown[field], made[field]);
            }
            let text = user.run_in(&dir, &["key", "show", file]).succeeded().stdout;
            assert!(
                text.contains(made["believe"].as_str().expect("it is text")),
                "{text}"
            );
        }
        user.password = None;
        let text = read(&secret);
        assert_eq!(
            user.run_in(&dir, &["key", "show", name]).code,
            i32::from(flags.is_empty())
        );
        assert_eq!(read(&secret), text);
    }
    let said = user
        .run_in(&dir, &["key", "new", "--no-password"])
        .succeeded()
        .stdout;
    assert!(
        said.contains("headstart.key.pub") && said.contains("not encrypted"),
        "{said}"
    );
}

/// A second `key new` would take away the key that everybody believes.
#[test]
fn keys_are_never_overwritten() {
    let user = User::new();
    let dir = user.home.root();
    let new = ["key", "new", "--no-password", "--out", "a.key"];
    for occupied in ["a.key", "a.key.pub"] {
        fs::write(dir.join(occupied), "precious").expect("the home is ours");
        refused(&user.run_in(dir, &new), "is there already");
        assert_eq!(read(&dir.join(occupied)), b"precious");
        fs::remove_file(dir.join(occupied)).expect("it is there");
        symlink("nowhere", dir.join(occupied)).expect("the home is ours");
        refused(&user.run_in(dir, &new), "is there already");
        fs::remove_file(dir.join(occupied)).expect("it is there");
    }
    assert!(!dir.join("a.key").exists() && !dir.join("a.key.pub").exists());
    let lost = ["key", "new", "--no-password", "--out", "no/such/a.key"];
    refused(&user.run_in(dir, &lost), "no/such/a.key");
}

/// A CI would hang at a question for a password, or somebody would have a key without one and not know.
#[test]
fn nobody_is_asked_for_a_password() {
    let mut user = User::new();
    let dir = user.home.root().to_owned();
    refused(&user.run_in(&dir, &["key", "new"]), "no password");
    assert!(!dir.join("headstart.key").exists());
    user.password = Some("secret");
    user.run_in(&dir, &["key", "new"]).succeeded();
    let show = ["key", "show", "headstart.key"];
    user.run_in(&dir, &show).succeeded();
    user.password = Some("other");
    refused(&user.run_in(&dir, &show), "the password does not open");
    let mut unset = user.command(&dir, &show);
    unset.env_remove("HEADSTART_KEY_PASSWORD");
    refused(&sane(output(&mut unset)), "there is no password");
}

/// A key file that was cut off, mixed up or replaced would crash the program, or be believed.
#[test]
fn bad_key_files_are_refused() {
    let user = User::new();
    let dir = user.home.root();
    let (secret, public) = new_pair(None);
    let (file, secret_file) = (public.to_file(), secret.as_bytes());
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("blank", b"\n\n\n"),
        ("binary", &[0, 159, 146, 150]),
        ("huge", &vec![b'R'; 64 << 20]),
        ("cut", file.as_bytes()),
        ("cut-secret", secret_file),
        ("flipped", secret_file),
    ] {
        write(&dir.join(name), bytes);
    }
    cut(&dir.join("cut"));
    cut(&dir.join("cut-secret"));
    flip(&dir.join("flipped"));
    fs::create_dir(dir.join("directory")).expect("the home is ours");
    for name in [
        "empty",
        "blank",
        "binary",
        "huge",
        "cut",
        "cut-secret",
        "flipped",
        "directory",
    ] {
        let file = dir.join(name).display().to_string();
        refused(&user.run(&["key", "show", &file]), name);
        for command in ["add", "remove", "revoke"] {
            refused(&user.run(&["trust", command, &file]), name);
        }
        let environment = Environment::default().at(dir);
        assert!(
            signing_keys(&environment, &[PathBuf::from(name)]).is_err(),
            "{name}"
        );
    }
    for typed in ["", "RW", "no-such-file", &public.to_string()[..50]] {
        refused(
            &user.run(&["trust", "add", typed]),
            "is neither a public key nor a file",
        );
    }
    refused(&user.run(&["key", "show", "no-such-file"]), "no-such-file");
    write(&dir.join("secret"), secret.as_bytes());
    let secret = dir.join("secret").display().to_string();
    refused(
        &user.run(&["trust", "add", &secret]),
        "this is no public key",
    );
    assert!(!user.file().exists());
}

/// A user could not say whom to believe, or would believe them in more places than they said.
#[test]
fn a_key_is_believed_where_it_was_said() {
    let user = User::new();
    let ((a, a_id), (b, b_id)) = (key(), key());
    let file = user.home.path("b.pub");
    fs::write(&file, format!("untrusted comment: b\n{b}\n")).expect("the home is ours");
    assert_eq!(user.list()["keys"], json!([]));

    let said = user
        .run(&["trust", "add", &a, "--note", "CI"])
        .succeeded()
        .stdout;
    assert!(
        said.contains(&format!("{a_id} is believed in {NAME}")),
        "{said}"
    );
    let again = user.run(&["trust", "add", &a]).succeeded().stdout;
    assert!(again.contains("already"), "{again}");
    let file = file.display().to_string();
    for repository in ["*", "git@example.org:o/n.git"] {
        user.run(&["trust", "add", &file, "--repository", repository])
            .succeeded();
    }
    let all = [
        pair(NAME, &a_id),
        pair("*", &b_id),
        pair("example.org/o/n", &b_id),
    ];
    assert_eq!(user.believed(), all);
    let list = user.list();
    assert_eq!(list["repository"], NAME);
    assert_eq!(list["keys"][0]["note"], "CI");
    assert_eq!(list["keys"][0]["key"], a.as_str());
    let text = user.run(&["trust", "list"]).succeeded().stdout;
    for part in [&a, &b_id, "every repository", "CI"] {
        assert!(text.contains(part), "no {part} in {text}");
    }

    refused(
        &user.run(&["trust", "remove", &b_id]),
        "every repository, example.org/o/n",
    );
    user.run(&["trust", "remove", &file, "--repository", "*"])
        .succeeded();
    user.run(&["trust", "remove", &a_id.to_lowercase()])
        .succeeded();
    assert_eq!(user.believed(), all[2..]);
    refused(&user.run(&["trust", "remove", &a]), "is not believed in");
}

/// A key would be pinned to a repository that nobody named.
#[test]
fn without_an_origin_the_repository_must_be_named() {
    let user = User::new();
    let (line, id) = key();
    user.clone.git(&["remote", "rename", "origin", "other"]);
    for dir in [user.clone.root(), user.home.root()] {
        for args in [["trust", "add", &line], ["trust", "remove", &id]] {
            refused(&user.run_in(dir, &args), "--repository");
        }
        let list = user
            .run_in(dir, &["trust", "list", "--json"])
            .succeeded()
            .json();
        assert_eq!(list["repository"], Value::Null);
    }
    for repository in ["", "name", "https://", "/"] {
        let args = ["trust", "add", &line, "--repository", repository];
        refused(&user.run(&args), "names no repository");
    }
    let here = user.clone.clone_to(&user.home.path("clone"));
    user.run_in(here.root(), &["trust", "add", &line])
        .succeeded();
    let origin = user.clone.root().display().to_string();
    assert_eq!(user.believed(), [pair(&origin, &id)]);
}

/// Whoever stole a key would be believed again as soon as somebody adds it, or in a clone that was forgotten.
#[test]
fn a_revoked_key_stays_revoked() {
    let user = User::new();
    let (line, id) = key();
    for repository in ["*", NAME] {
        user.run(&["trust", "add", &line, "--repository", repository])
            .succeeded();
    }
    let said = user.run(&["trust", "revoke", &id]).succeeded().stdout;
    assert!(said.contains("believed nowhere"), "{said}");
    assert_eq!(user.believed(), []);
    let again = user.run(&["trust", "revoke", &line]).succeeded().stdout;
    assert!(again.contains("already"), "{again}");
    refused(&user.run(&["trust", "add", &line]), "is revoked");
    assert_eq!(user.list()["revoked"], json!([id]));
    let text = user.run(&["trust", "list"]).succeeded().stdout;
    assert!(text.contains(&format!("{id} is revoked")), "{text}");
}

/// A repository could have its own keys believed by whoever clones it.
#[test]
fn what_a_workspace_proposes_is_only_shown() {
    let user = User::new();
    let ((a, a_id), (b, b_id)) = (key(), key());
    let toml = format!("trusted_keys = [\"{a}\", \"{b}\"]\n");
    user.clone.edit("headstart.toml", &toml);
    let text = user.run(&["trust", "list"]).succeeded().stdout;
    assert!(text.contains("trust.toml: 0 keys"), "{text}");
    user.run(&["trust", "add", &b]).succeeded();
    let text = user.run(&["trust", "list"]).succeeded().stdout;
    assert!(text.contains(&format!("headstart trust add {a}")), "{text}");
    assert!(
        !text.contains(&format!("headstart trust add {b}")),
        "{text}"
    );
    let proposed = &user.list()["proposed"];
    assert_eq!(proposed[0]["id"], a_id.as_str());
    assert_eq!(proposed[0]["believed"], false);
    assert_eq!(proposed[1]["believed"], true);
    assert_eq!(user.believed(), [pair(NAME, &b_id)]);
    user.run(&["trust", "revoke", &a]).succeeded();
    let text = user.run(&["trust", "list"]).succeeded().stdout;
    assert!(!text.contains("headstart trust add"), "{text}");

    user.clone
        .edit("headstart.toml", "trusted_keys = [\"x\"]\n");
    refused(&user.run(&["trust", "list"]), "headstart.toml");
    user.clone.edit("headstart.toml", "trusted_keys = 3\n");
    refused(&user.run(&["trust", "list"]), "headstart.toml");
    assert_eq!(user.run_in(user.home.root(), &["trust", "list"]).code, 0);
}

/// A mistake in the file would be taken for no keys, or for all, and the next command would write over it.
#[test]
fn a_file_that_is_not_understood_is_left_alone() {
    let user = User::new();
    let (line, id) = key();
    user.run(&["trust", "add", &line]).succeeded();
    let good = user.text();
    let bad = [
        "[[key".to_owned(),
        "key = 3\n".to_owned(),
        good.replace(&line, "RW"),
        good.replace("repository", "repositry"),
        format!("{good}\n[[revokd]]\nkey = \"{id}\"\n"),
        format!("{good}\n[[revoked]]\nkey = \"{}\"\n", &id[1..]),
        "# ".repeat(1 << 20),
        "\u{0}".to_owned(),
    ];
    for text in bad {
        write(&user.file(), text.as_bytes());
        for args in [
            &["trust", "list"][..],
            &["trust", "add", &line],
            &["trust", "remove", &id],
            &["trust", "revoke", &id],
        ] {
            refused(&user.run(args), "trust.toml");
        }
        assert!(user.text() == text);
    }
    write(&user.file(), &[0xff, 0xfe]);
    refused(&user.run(&["trust", "list"]), "trust.toml");
    fs::remove_file(user.file()).expect("it is there");
    fs::create_dir(user.file()).expect("the home is ours");
    refused(&user.run(&["trust", "list"]), "trust.toml");
    refused(&user.run(&["trust", "add", &line]), "trust.toml");
}

/// Somebody would go on without the key that they added, and not know why they start from nothing.
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let user = User::new();
    let (line, id) = key();
    let change = [["trust", "add", &line], ["trust", "revoke", &id]];
    fs::write(user.home.path("config"), "a file").expect("the home is ours");
    for args in change {
        refused(&user.run(&args), "config/headstart");
    }
    fs::remove_file(user.home.path("config")).expect("it is there");
    for args in change {
        let mut command = user.command(user.clone.root(), &args);
        command.env("XDG_CONFIG_HOME", "/proc");
        refused(&sane(output(&mut command)), "cannot create /proc/headstart");
        let mut command = user.command(user.clone.root(), &args);
        command.env("XDG_CONFIG_HOME", "").env("HOME", "");
        refused(&sane(output(&mut command)), "HOME is set");
    }
    fs::create_dir_all(user.config()).expect("the home is ours");
    let meta = fs::metadata(user.config()).expect("it was just made");
    if meta.uid() == 0 {
        return skipped("nothing is closed to root");
    }
    fs::set_permissions(user.config(), Permissions::from_mode(0o555)).expect("it is ours");
    for args in change {
        refused(&user.run(&args), "cannot ");
    }
    user.run(&["trust", "list"]).succeeded();
    fs::set_permissions(user.config(), Permissions::from_mode(0o755)).expect("it is ours");
}

/// Whoever keeps their configuration elsewhere, with comments in it, would find it changed behind their back.
#[test]
fn links_comments_and_modes_stay() {
    let user = User::new();
    let ((a, _), (b, b_id)) = (key(), key());
    let real = user.home.path("dotfiles/trust.toml");
    let text = format!("# mine\n[[key]]\nrepository = \"*\" # all\nkey = \"{a}\"\n");
    user.home.write("dotfiles/trust.toml", &text);
    fs::set_permissions(&real, Permissions::from_mode(0o640)).expect("it is ours");
    fs::create_dir_all(user.config()).expect("the home is ours");
    symlink(&real, user.file()).expect("the home is ours");
    user.run(&["trust", "add", &b]).succeeded();
    assert!(user.text().starts_with(&text), "{}", user.text());
    user.run(&["trust", "remove", &b_id]).succeeded();
    assert_eq!(user.text(), text);
    let meta = fs::symlink_metadata(user.file()).expect("it is there");
    assert!(meta.is_symlink());
    let meta = fs::metadata(&real).expect("it is there");
    assert_eq!(meta.mode() & 0o777, 0o640);
}

/// Two terminals, or the steps of a CI, would take each other's keys away.
#[test]
fn several_at_once_lose_nothing() {
    let user = User::new();
    let keys: Vec<_> = (0..12).map(|_| key()).collect();
    let spawn = |(line, _): &(String, String)| {
        let mut command = user.command(user.clone.root(), &["trust", "add", line]);
        command.stdout(Stdio::null()).spawn().expect("it starts")
    };
    let children: Vec<_> = keys.iter().map(spawn).collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let mut believed = user.believed();
    let mut all: Vec<_> = keys.iter().map(|(_, id)| pair(NAME, id)).collect();
    believed.sort();
    all.sort();
    assert_eq!(believed, all);
}
