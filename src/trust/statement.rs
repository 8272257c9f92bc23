//! What a root key says of a repository: which keys sign its starting points, and which no longer do.
//!
//! Knows nothing of where it lies; whoever reads it says which roots count. See note 0014.

use serde::Deserialize;

use super::keys::{KeyId, PublicKey, SecretKey};
use super::{Result, TrustError, verify};
use crate::model::Digest;

/// The version that this version writes and reads.
const VERSION: u16 = 1;
/// The largest statement that is read: some hundred keys.
pub const MAX_BYTES: u64 = 64 << 10;
/// What the signature behind the text begins with.
const SIGNATURE: &str = "\nuntrusted comment:";

/// Which keys sign for a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    version: u16,
    /// The name of the repository.
    pub repository: String,
    /// Grows with every statement; an older one is a replay.
    pub generation: u64,
    /// When it was made, in seconds since 1970.
    pub written_unix_s: i64,
    /// The keys that sign.
    pub keys: Vec<PublicKey>,
    /// The keys that sign no longer, whatever else is said.
    pub revoked: Vec<KeyId>,
}

#[derive(Deserialize)]
struct Header {
    version: u16,
}

/// Returns where a tier keeps the newest statement about `repository`.
pub fn key(repository: &str) -> String {
    format!("v1/keys/{}", file_name(repository))
}

/// Returns the name of the file with the newest statement about `repository`.
pub fn file_name(repository: &str) -> String {
    Digest::of(repository.as_bytes()).hex()
}

impl Statement {
    /// Returns the statement of before any: nobody signs for `repository`.
    pub fn none(repository: String) -> Statement {
        Statement {
            version: VERSION,
            repository,
            ..Statement::default()
        }
    }

    /// Returns the statement in `bytes`, which one of `roots` signed, and which is about `repository`.
    pub fn read(bytes: &[u8], repository: &str, roots: &[PublicKey]) -> Result<Statement> {
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable("it is no UTF-8"))?;
        let (text, signatures) = match text.rfind(SIGNATURE) {
            Some(at) => (&text[..=at], vec![text[at + 1..].to_owned()]),
            None => (text, Vec::new()),
        };
        verify(text.as_bytes(), &signatures, roots)?;
        let statement = Statement::parse(text)?;
        match statement.repository == repository {
            true => Ok(statement),
            false => {
                let why = format!("it is about the repository `{}`", statement.repository);
                Err(TrustError::Statement(why))
            }
        }
    }

    /// Returns the statement that `text` is, whoever wrote it.
    fn parse(text: &str) -> Result<Statement> {
        let wrong = |error: toml::de::Error| unreadable(error.message());
        let header: Header = toml::from_str(text).map_err(wrong)?;
        match header.version {
            VERSION => toml::from_str(text).map_err(wrong),
            newer => Err(TrustError::Newer(newer)),
        }
    }

    /// Returns the statement that follows this one: with `added` among the keys, and `revoked` no longer.
    pub fn next(mut self, added: &[PublicKey], revoked: &[KeyId], now_unix_s: i64) -> Statement {
        add_new(&mut self.keys, added);
        add_new(&mut self.revoked, revoked);
        self.keys.retain(|key| !self.revoked.contains(&key.id()));
        self.generation = self.generation.saturating_add(1);
        self.written_unix_s = now_unix_s;
        self
    }

    /// Returns the text that a root signs; `minisign -S` signs it as well.
    pub fn text(&self) -> String {
        let name = toml::Value::String(self.repository.clone());
        let list = |all: Vec<String>| {
            let lines = all.iter().map(|one| format!("    \"{one}\",\n"));
            format!("[\n{}]", lines.collect::<String>())
        };
        let keys = list(self.keys.iter().map(ToString::to_string).collect());
        let revoked = list(self.revoked.iter().map(ToString::to_string).collect());
        format!(
            "# Whose starting points count: `headstart key rotate` made this, and a root key signs it.\n\
             version = {}\nrepository = {name}\ngeneration = {}\nwritten_unix_s = {}\nkeys = {keys}\nrevoked = {revoked}\n",
            self.version, self.generation, self.written_unix_s
        )
    }

    /// Returns the file: the text, and behind it the signature of `root`.
    pub fn signed(&self, root: &SecretKey) -> String {
        let text = self.text();
        let (repository, generation) = (&self.repository, self.generation);
        let comment = format!("headstart keys of {repository}, generation {generation}");
        let signature = root.sign(text.as_bytes(), &comment);
        format!("{text}{signature}")
    }
}

pub(super) fn add_new<T: Clone + PartialEq>(all: &mut Vec<T>, further: &[T]) {
    for one in further {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

fn unreadable(why: &str) -> TrustError {
    TrustError::Statement(format!("it cannot be understood: {}", why.trim()))
}
