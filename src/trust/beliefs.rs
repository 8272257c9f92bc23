//! The keys that a user believes, each in one repository or in all: `trust.toml` in their configuration directory.
//!
//! Whoever writes there runs code on this machine. A repository has no say in it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::keys::{KeyId, PublicKey};
use crate::disk::{self, DiskError, lock, place};

/// The name of the file.
const FILE: &str = "trust.toml";
/// The lock that whoever changes the file holds.
pub(super) const LOCK: &str = "trust.toml.lock";
/// The largest file that is read: some thousand keys.
const MAX_BYTES: u64 = 1 << 20;
/// The repository of a key that is believed in all of them.
pub const EVERY_REPOSITORY: &str = "*";

/// What a key is believed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs starting points.
    Signs,
    /// It says which keys sign them.
    Root,
}

/// A key, and where it is believed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Belief {
    /// The name of the repository, or [`EVERY_REPOSITORY`].
    pub repository: String,
    /// The key.
    pub key: PublicKey,
    /// What the user wants to remember of it.
    pub note: Option<String>,
}

/// All that a user believes.
#[derive(Debug, Default)]
pub struct Beliefs {
    tables: Tables,
    document: DocumentMut,
}

/// What the file says. A word in it that is not known is an error: it may be a mistyped revocation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tables {
    key: Vec<Belief>,
    root: Vec<Belief>,
    revoked: Vec<Revoked>,
}

/// A key that is believed nowhere, whatever else is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    key: KeyId,
}

/// Returns the file in the configuration directory `dir`.
pub fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Returns what the user with the configuration directory `dir` believes: nothing where there is no file.
pub fn read(dir: &Path) -> Result<Beliefs, DiskError> {
    let path = file(dir);
    let bytes = match disk::read(&path, MAX_BYTES) {
        Err(error) if error.is_missing() => return Ok(Beliefs::default()),
        bytes => bytes?,
    };
    let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned());
    let parsed = text.and_then(|text| parse(&text));
    parsed.map_err(|why| disk::unusable(&path, why))
}

/// Reads what the user believes, has `change` change it, and writes it if that did; returns what `change` does.
///
/// Several processes may do so at once: each waits for the one before. Comments in the file stay.
pub fn change<T>(dir: &Path, change: impl FnOnce(&mut Beliefs) -> T) -> Result<T, DiskError> {
    disk::make_dir(dir)?;
    let _lock = lock::exclusive(&dir.join(LOCK), || {})?;
    let mut beliefs = read(dir)?;
    let before = beliefs.document.to_string();
    let done = change(&mut beliefs);
    let after = beliefs.document.to_string();
    if after != before {
        place::write_kept(&file(dir), after.as_bytes())?;
    }
    Ok(done)
}

/// Returns what the text of the file says, or what is wrong with it.
fn parse(text: &str) -> Result<Beliefs, String> {
    let tables = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
        format!("line {line}: {}", error.message())
    })?;
    let document: Result<_, toml_edit::TomlError> = text.parse();
    let document = document.map_err(|error| error.message().to_owned())?;
    Ok(Beliefs { tables, document })
}

impl Role {
    /// Returns the name of the tables of such keys.
    fn table(self) -> &'static str {
        match self {
            Role::Signs => "key",
            Role::Root => "root",
        }
    }
}

impl Beliefs {
    /// Returns the keys with `role` in order of the file, revoked ones too.
    pub fn keys(&self, role: Role) -> &[Belief] {
        match role {
            Role::Signs => &self.tables.key,
            Role::Root => &self.tables.root,
        }
    }

    /// Returns the ids of the revoked keys, in order of the file.
    pub fn revoked(&self) -> impl Iterator<Item = KeyId> {
        self.tables.revoked.iter().map(|one| one.key)
    }

    /// Tells whether the key is believed nowhere, whatever else is said.
    pub fn is_revoked(&self, id: KeyId) -> bool {
        self.revoked().any(|one| one == id)
    }

    /// Returns the keys that are believed in `repository` to say who signs there; nobody does where it has no name.
    pub fn roots(&self, repository: &str) -> Vec<PublicKey> {
        match repository {
            "" => Vec::new(),
            repository => self.believed(Role::Root, Some(repository)),
        }
    }

    /// Returns the keys that are believed with `role` in `repository`; without a name, those that are believed in all.
    pub fn believed(&self, role: Role, repository: Option<&str>) -> Vec<PublicKey> {
        let here = |one: &&Belief| {
            let is_here = one.repository == EVERY_REPOSITORY || repository == Some(&one.repository);
            is_here && !self.is_revoked(one.key.id())
        };
        let keys = self.keys(role).iter().filter(here);
        keys.map(|one| one.key.clone()).collect()
    }

    /// Adds `belief`, and tells whether it is new; another note makes it none.
    pub fn add(&mut self, role: Role, belief: &Belief) -> bool {
        let same = |one: &Belief| one.repository == belief.repository && one.key == belief.key;
        if self.keys(role).iter().any(same) {
            return false;
        }
        let key = belief.key.to_string();
        let mut fields = vec![("repository", belief.repository.as_str()), ("key", &key)];
        fields.extend(belief.note.as_deref().map(|note| ("note", note)));
        self.push(role.table(), &fields);
        true
    }

    /// Removes the keys with this id and `role` from `repository`, and tells whether there was one.
    pub fn remove(&mut self, role: Role, id: KeyId, repository: &str) -> bool {
        let before = self.keys(role).len();
        for at in (0..before).rev() {
            let one = &self.keys(role)[at];
            if one.repository == repository && one.key.id() == id {
                self.array(role.table()).remove(at);
            }
        }
        self.read_again();
        self.keys(role).len() < before
    }

    /// Has no key with this id believed any more, and tells whether that is new.
    pub fn revoke(&mut self, id: KeyId) -> bool {
        if self.is_revoked(id) {
            return false;
        }
        self.push("revoked", &[("key", &id.to_string())]);
        true
    }

    /// Adds a table `[[name]]` to the text.
    fn push(&mut self, name: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(name, text)| (*name, value(*text)));
        self.array(name).push(Table::from_iter(fields));
        self.read_again();
    }

    /// Understands the text anew, which was changed.
    fn read_again(&mut self) {
        *self = parse(&self.document.to_string()).expect("it was understood before");
    }

    /// Returns the tables `[[name]]` of the text, made if need be, out of inline tables too.
    fn array(&mut self, name: &str) -> &mut ArrayOfTables {
        let item = self.document.entry(name).or_insert(Item::None);
        let tables = std::mem::take(item).into_array_of_tables();
        *item = Item::ArrayOfTables(tables.unwrap_or_default());
        item.as_array_of_tables_mut().expect("it was just made one")
    }
}
