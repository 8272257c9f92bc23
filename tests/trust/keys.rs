//! Keys, signatures and beliefs as values: what is read, what is refused, and in which words.

use std::fs;
use std::path::{Path, PathBuf};

use headstart::command::key::signing_keys;
use headstart::config::{ConfigError, Environment};
use headstart::git::name_of;
use headstart::trust::beliefs::{self, Belief, Beliefs, Role};
use headstart::trust::{
    KeyError, KeyId, PublicKey, SecretKey, TrustError, new_pair, signed, verify,
};
use headstart_testkit::Scratch;

/// The key that minisign's own releases are signed with.
const KNOWN: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn key() -> (SecretKey, PublicKey) {
    let (text, public) = new_pair(None);
    (SecretKey::read(&text, None).expect("it is new"), public)
}

/// A key or an id that does not survive its own spelling would never be found again.
#[test]
fn spelling_round_trips() {
    let key = PublicKey::parse(KNOWN).expect("it is minisign's");
    assert_eq!(key.to_string(), KNOWN);
    assert_eq!(key.id().to_string(), "E7620F1842B4E81F");
    assert_eq!(PublicKey::parse(&key.to_file()), Ok(key.clone()));
    assert_eq!(PublicKey::parse(&format!("  {KNOWN}\r\n")), Ok(key.clone()));
    assert_eq!(KeyId::parse("e7620f1842b4e81f"), Some(key.id()));
    let low = KeyId::parse("000000000000000a").expect("it is an id");
    assert_eq!(low.to_string(), "000000000000000A");
}

/// What is taken for a key although it is none would be believed in a key's place.
#[test]
fn what_is_no_key_is_refused() {
    let secret = new_pair(None).0;
    let other_kind = KNOWN.replacen("RW", "RX", 1);
    let comment = "untrusted comment: x";
    for text in [
        "",
        "\n\n",
        "RW",
        &KNOWN[..52],
        &other_kind,
        comment,
        &secret,
    ] {
        let read = PublicKey::parse(text);
        assert_eq!(read, Err(KeyError::NotPublic), "{text}");
    }
    for text in ["", KNOWN, comment, &secret[..secret.len() - 8]] {
        let read = SecretKey::read(text, Some("x"));
        assert_eq!(read.err(), Some(KeyError::NotSecret), "{text}");
    }
    for text in ["", "E7620F1842B4E81", "+7620F1842B4E81F", "E7620F1842B4E8é"] {
        assert_eq!(KeyId::parse(text), None, "{text}");
    }
}

/// A key would be open to whoever finds its file, or stand in a log.
#[test]
fn an_encrypted_key_needs_its_password() {
    let (text, public) = new_pair(Some("secret"));
    let read = |password| SecretKey::read(&text, password);
    assert_eq!(read(Some("secret")).map(|key| key.public()), Ok(public));
    assert_eq!(read(None).err(), Some(KeyError::NoPassword));
    assert_eq!(read(Some("Secret")).err(), Some(KeyError::WrongPassword));
    let (text, public) = new_pair(None);
    let read = SecretKey::read(&text, Some("not needed")).expect("it is open");
    assert_eq!(read.public(), public);
    assert_eq!(format!("{read:?}"), format!("SecretKey({})", public.id()));
}

/// A flipped bit in a key file would sign with a key that nobody has, or keep the machine busy for years.
#[test]
fn a_damaged_secret_key_is_refused() {
    let (text, _) = new_pair(None);
    let line = text.find('\n').expect("it has two lines") + 1;
    // Salt, work and memory are under no checksum; only an encrypted key needs them.
    let unused = line + 8..line + 72;
    for at in (line..text.trim_end().len()).filter(|at| !unused.contains(at)) {
        let damaged = flipped(&text, at, 1);
        let read = SecretKey::read(&damaged, Some("x"));
        assert!(read.is_err(), "{at}: {damaged}");
    }
    let (text, _) = new_pair(Some("secret"));
    let line = text.find('\n').expect("it has two lines") + 1;
    for at in [line + 56, line + 60, line + 68] {
        let damaged = format!("{}z{}", &text[..at], &text[at + 1..]);
        let read = SecretKey::read(&damaged, Some("secret"));
        assert_eq!(read.err(), Some(KeyError::Damaged), "{at}");
    }
}

/// Checks what is said of `bytes` with these signatures, in the words that the user sees.
#[track_caller]
fn check(bytes: &[u8], signatures: &[&str], keys: &[&PublicKey], said: &str) {
    let signatures: Vec<String> = signatures.iter().map(|one| (*one).to_owned()).collect();
    let keys: Vec<PublicKey> = keys.iter().map(|one| (*one).clone()).collect();
    let answer = match verify(bytes, &signatures, &keys) {
        Ok(key) => key.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(answer.contains(said), "{answer}");
}

/// A starting point that one of several believed people signed would be refused, or a stranger's taken.
#[test]
fn one_believed_signature_is_enough() {
    let ((a, public_a), (b, public_b)) = (key(), key());
    let (by_a, by_b) = (a.sign(b"x", "a"), b.sign(b"x", "b"));
    let name_a = public_a.to_string();
    check(b"x", &[&by_a], &[&public_a], &name_a);
    check(b"x", &[&by_b, "garbage", &by_a], &[&public_a], &name_a);
    check(b"x", &[&by_a], &[&public_b, &public_a], &name_a);
    let wrong = a.sign(b"y", "a");
    check(b"x", &[&wrong, &by_a], &[&public_a], &name_a);
    let seven = signed(7, b"x", &[by_a], &[public_a]).expect("it is signed");
    assert_eq!(*seven.get(), 7);
}

/// Whoever is refused could not tell a missing key from a forged starting point.
#[test]
fn each_refusal_has_its_words() {
    let ((a, public_a), (b, public_b)) = (key(), key());
    let (by_a, by_b) = (a.sign(b"x", "a"), b.sign(b"x", "b"));
    check(b"x", &[], &[&public_a], "is not signed");
    let strangers = format!("signed by {} and {}", public_a.id(), public_b.id());
    check(b"x", &[&by_a, "garbage", &by_b], &[], &strangers);
    check(b"y", &[&by_b, &by_a], &[&public_a], "damaged, or forged");
    check(b"x", &["garbage"], &[&public_a], "not in minisign's format");
    let large = format!("{by_a}{}", "x".repeat(20_000));
    check(b"x", &[&large], &[&public_a], "too large");
    let far = [vec!["garbage"; 16], vec![&by_a]].concat();
    check(b"x", &far, &[&public_a], "not in minisign's format");
}

/// A stranger could have a key made with the id of one that is believed.
#[test]
fn an_id_is_no_proof() {
    let ((a, public_a), (_, public_b)) = (key(), key());
    let by_a = a.sign(b"x", "a");
    // The id ends in digit 14 of the line.
    let (line_a, line_b) = (public_a.to_string(), public_b.to_string());
    let twin = PublicKey::parse(&format!("{}{}", &line_a[..14], &line_b[14..]));
    let twin = twin.expect("it has the length of a key");
    assert_eq!(twin.id(), public_a.id());
    check(b"x", &[&by_a], &[&twin], "damaged, or forged");
    check(b"x", &[&by_a], &[&twin, &public_a], &line_a);
}

/// A comment with a line break in it would make a signature that nobody can verify.
#[test]
fn comments_are_one_line() {
    let (secret, public) = key();
    let signature = secret.sign(b"x", " two\nlines, and\ttabs ");
    assert!(signature.contains("trusted comment: two lines, and tabs\n"));
    check(b"x", &[&signature], &[&public], &public.to_string());
    let empty = secret.sign(b"", "");
    check(b"", &[&empty], &[&public], &public.to_string());
}

/// A signature that somebody cut or changed on the way would crash the reader, or count.
#[test]
fn a_damaged_signature_is_refused() {
    let (secret, public) = key();
    let (whole, keys) = (secret.sign(b"x", "comment"), [public]);
    let accepts = |text: &str| verify(b"x", &[text.to_owned()], &keys).is_ok();
    let line = whole.find('\n').expect("it has four lines") + 1;
    for at in line..whole.trim_end().len() {
        assert!(!accepts(&whole[..at]), "{}", &whole[..at]);
        for bit in [1, 4, 32] {
            let damaged = flipped(&whole, at, bit);
            // The end of a line may become another blank.
            let same = damaged.split_whitespace().eq(whole.split_whitespace());
            assert!(same || !accepts(&damaged), "{damaged}");
        }
    }
    let lines: Vec<&str> = whole.lines().collect();
    let short = [lines[0], lines[1], lines[2], "AAAA"].join("\n");
    assert!(!accepts(&short));
}

/// Bytes that are a digest could be passed off as signed by whoever signed what has that digest.
#[test]
fn the_old_kind_is_refused() {
    let (secret, public) = key();
    let whole = secret.sign(b"x", "comment");
    // The first two bytes tell the kind: `ED` or, of old, `Ed`.
    let old = whole.replacen("\nRU", "\nRW", 1);
    assert_ne!(old, whole);
    check(b"x", &[&old], &[&public], "old kind");
    let refused = verify(b"x", &[old], &[public]);
    assert!(matches!(refused, Err(TrustError::Unreadable(_))));
}

/// Returns `text` with a bit of the byte at `at` flipped, which must leave it ASCII.
fn flipped(text: &str, at: usize, bit: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] ^= bit;
    String::from_utf8(bytes).expect("it is ASCII")
}

/// A user's configuration directory.
struct Config(Scratch);

impl Config {
    fn change<T>(&self, change: impl FnOnce(&mut Beliefs) -> T) -> T {
        beliefs::change(self.0.root(), change).expect("the file is good")
    }

    fn add(&self, repository: &str, key: &PublicKey) -> bool {
        let belief = Belief {
            repository: repository.to_owned(),
            key: key.clone(),
            note: None,
        };
        self.change(|beliefs| beliefs.add(Role::Signs, &belief))
    }

    fn believed(&self, repository: Option<&str>) -> Vec<PublicKey> {
        let beliefs = beliefs::read(self.0.root()).expect("the file is good");
        beliefs.believed(Role::Signs, repository)
    }

    fn text(&self) -> String {
        fs::read_to_string(beliefs::file(self.0.root())).expect("it was written")
    }
}

/// A key that is believed for one repository could sign for all others.
#[test]
fn keys_count_where_they_are_believed() {
    let config = Config(Scratch::new());
    let [a, b, c] = [key().1, key().1, key().1];
    assert!(config.add("host/o/a", &a) && config.add("host/o/b", &b));
    assert!(config.add("*", &c) && !config.add("*", &c));
    assert_eq!(config.believed(Some("host/o/a")), [a, c.clone()]);
    for elsewhere in [Some("host/o"), Some("HOST/o/b"), None] {
        assert_eq!(config.believed(elsewhere), std::slice::from_ref(&c));
    }
}

/// Whoever has a stolen key would go on to be believed, in the repository that was forgotten.
#[test]
fn a_revoked_key_counts_nowhere() {
    let config = Config(Scratch::new());
    let key = key().1;
    assert!(config.add("host/o/a", &key) && config.add("*", &key));
    assert!(config.change(|beliefs| beliefs.revoke(key.id())));
    assert!(!config.change(|beliefs| beliefs.revoke(key.id())));
    assert!(config.add("host/o/b", &key));
    for repository in [None, Some("host/o/a"), Some("host/o/b")] {
        assert_eq!(config.believed(repository), []);
    }
}

/// What a user wrote down about their keys would be gone after the next command.
#[test]
fn the_text_stays_what_it_was() {
    let config = Config(Scratch::new());
    let [a, b] = [key().1, key().1];
    let table = |name: &str, key: &PublicKey| {
        format!("# {name}\n[[key]] # here\nrepository = 'host/o/{name}'\nkey = \"{key}\"\n")
    };
    let both = format!("{}\n{}", table("a", &a), table("b", &b));
    config.0.write("trust.toml", &both);
    assert!(!config.change(|beliefs| beliefs.remove(Role::Signs, a.id(), "*")));
    assert_eq!(config.text(), both);
    assert!(config.change(|beliefs| beliefs.remove(Role::Signs, b.id(), "host/o/b")));
    assert_eq!(config.text(), table("a", &a));
    config.add("*", &b);
    assert!(
        config.text().starts_with(&table("a", &a)),
        "{}",
        config.text()
    );

    let inline = format!("key = [{{ repository = \"*\", key = \"{a}\" }}]\nrevoked = []\n");
    config.0.write("trust.toml", &inline);
    config.add("host/o/b", &b);
    config.change(|beliefs| beliefs.revoke(b.id()));
    assert_eq!(config.believed(Some("host/o/b")), [a]);
}

/// A mistyped revocation would be passed over, and the key go on to be believed.
#[test]
fn what_is_not_understood_is_an_error() {
    let config = Config(Scratch::new());
    let good = format!("[[key]]\nrepository = \"*\"\nkey = \"{KNOWN}\"\n");
    for (text, said) in [
        (
            format!("{good}[[revokd]]\nkey = \"x\"\n"),
            "line 4: unknown field `revokd`",
        ),
        (
            format!("{good}[[revoked]]\nkey = \"x\"\n"),
            "line 5: this is no key id",
        ),
        (
            format!("{good}until = 2030\n"),
            "line 4: unknown field `until`",
        ),
        (good.replace(KNOWN, "RW"), "line 3: this is no public key"),
        (
            good.replace("repository = \"*\"\n", ""),
            "missing field `repository`",
        ),
        ("key = 3".to_owned(), "line 1: "),
        ("[[key".to_owned(), "line 1: "),
        (format!("{good}[key]\n"), "line 4: "),
    ] {
        config.0.write("trust.toml", &text);
        let error = beliefs::read(config.0.root()).expect_err("it is wrong");
        assert!(error.to_string().contains(said), "{text}: {error}");
    }
}

/// A CI that keeps its key in a variable, or in a file, could not sign.
#[test]
fn the_key_to_sign_with_is_found() {
    let home = Scratch::new();
    let ((a, a_public), (b, b_public)) = (new_pair(None), new_pair(Some("secret")));
    home.write("a.key", &a);
    home.write("b.key", &b);
    let plain = Environment::default().at(home.root());
    let ids = |keys: &[&PublicKey]| keys.iter().map(|key| key.id()).collect::<Vec<KeyId>>();
    let found = |environment: &Environment, typed: &[&str]| -> Vec<KeyId> {
        let typed: Vec<PathBuf> = typed.iter().map(PathBuf::from).collect();
        let keys = signing_keys(environment, &typed).expect("the keys are good");
        keys.iter().map(|key| key.public().id()).collect()
    };
    assert_eq!(found(&plain, &[]), []);
    assert_eq!(
        found(&plain.clone().with("HEADSTART_SIGN_KEY", ""), &[]),
        []
    );
    assert_eq!(found(&plain, &["a.key"]), ids(&[&a_public]));
    let text = plain.clone().with("HEADSTART_SIGN_KEY", &a);
    assert_eq!(found(&text, &[]), ids(&[&a_public]));
    // As those have it who keep a secret on one line.
    let line = a.lines().nth(1).expect("it has two");
    let one = plain.clone().with("HEADSTART_SIGN_KEY", line);
    assert_eq!(found(&one, &[]), ids(&[&a_public]));
    for mangled in [
        a.replace('\n', "\\n"),
        a.replace('\n', " "),
        line[1..].to_owned(),
    ] {
        let environment = plain.clone().with("HEADSTART_SIGN_KEY", &mangled);
        let said = signing_keys(&environment, &[]).expect_err("it is no key");
        assert!(!format!("{said:#}").contains(&line[9..]), "{said:#}");
    }
    let file = plain.with("HEADSTART_SIGN_KEY", "b.key");
    let refused = signing_keys(&file, &[]).expect_err("it is encrypted");
    assert!(
        format!("{refused:#}").contains("no password"),
        "{refused:#}"
    );
    let file = file.with("HEADSTART_KEY_PASSWORD", "secret");
    assert_eq!(found(&file, &[]), ids(&[&b_public]));
    assert_eq!(found(&file, &["a.key"]), ids(&[&a_public]));
    assert_eq!(
        found(&file, &["a.key", "b.key"]),
        ids(&[&a_public, &b_public])
    );
}

/// Whoever cloned by another protocol would not be believed; or a key would count for somebody else's repository.
#[test]
fn a_repository_has_one_name() {
    for url in [
        "https://github.com/Owner/name",
        "https://github.com/Owner/name.git",
        "https://GitHub.com:443/Owner/name.git/",
        "https://user:token@github.com/Owner/name",
        "ssh://git@github.com:22/Owner/name.git",
        "git@github.com:Owner/name.git",
        "git@github.com:/Owner/name",
        "github.com:Owner/name",
        "github.com/Owner/name",
    ] {
        assert_eq!(
            name_of(url).as_deref(),
            Some("github.com/Owner/name"),
            "{url}"
        );
    }
    for (url, name) in [
        ("/srv/git/name.git", Some("/srv/git/name")),
        ("/srv/git/name/.git/", Some("/srv/git/name")),
        ("/srv/a:b", Some("/srv/a:b")),
        ("file:///srv/git/name", Some("/srv/git/name")),
        ("ssh://git@[::1]:22/a/b", Some("[::1]/a/b")),
        (
            "https://evil.example/github.com/Owner/name",
            Some("evil.example/github.com/Owner/name"),
        ),
        (
            "https://github.com@evil.example/Owner/name",
            Some("evil.example/Owner/name"),
        ),
        ("https://github.com", None),
        ("https:///a", None),
        ("file://", None),
        ("git@github.com:", None),
        ("/", None),
        ("name", None),
        ("", None),
    ] {
        assert_eq!(name_of(url).as_deref(), name, "{url}");
    }
}

/// A repository that a variable happens to lead to could say who is believed.
#[test]
fn the_users_settings_lie_at_absolute_paths() {
    let dir = |xdg: &str, home: &str| {
        let environment = Environment::default()
            .at(Path::new("/clone"))
            .with("XDG_CONFIG_HOME", xdg)
            .with("HOME", home);
        environment.config_dir()
    };
    let is = |dir: Result<PathBuf, ConfigError>, path: &str| {
        dir.is_ok_and(|dir: PathBuf| dir == Path::new(path))
    };
    assert!(is(dir("/x", "/home/u"), "/x/headstart"));
    assert!(is(dir("", "/home/u"), "/home/u/.config/headstart"));
    assert!(is(dir("config", "/home/u"), "/home/u/.config/headstart"));
    assert!(matches!(dir("", "."), Err(ConfigError::NoHome(_))));
}
