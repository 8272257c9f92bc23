//! The keys that count today in one repository: those that the user believes, and those that a root whom they believe names.
//!
//! Keeps the newest statement of a root beside `trust.toml`, not in a store: a store may be deleted at any time, and a key
//! that was revoked must not come back with that. Knows no tier: it is given what they hold.

use std::path::{Path, PathBuf};

use super::TrustError;
use super::beliefs::{self, Beliefs, Role};
use super::keys::{KeyId, PublicKey};
use super::statement::{self, Statement, add_new};
use crate::disk::{self, DiskError, PLAIN, Staging, lock};

/// The directory of the newest statements, one for each repository.
const DIR: &str = "keys";

/// Who is believed in one repository.
#[derive(Debug, Default)]
pub struct Keyring {
    dir: PathBuf,
    beliefs: Beliefs,
    repository: Option<String>,
    /// The newest statement that is known; none without a root that is believed.
    pub statement: Option<Statement>,
}

impl Keyring {
    /// Returns the keys that the user with the configuration directory `dir` believes in `repository`.
    pub fn read(dir: &Path, repository: Option<String>) -> Result<Keyring, DiskError> {
        let mut keyring = Keyring {
            dir: dir.to_path_buf(),
            beliefs: beliefs::read(dir)?,
            repository,
            statement: None,
        };
        keyring.statement = keyring.kept()?;
        Ok(keyring)
    }

    /// Returns the keys of whoever believes nobody.
    pub fn nobody(repository: Option<String>) -> Keyring {
        Keyring {
            repository,
            ..Keyring::default()
        }
    }

    /// Returns the name of the repository; empty if it has none.
    pub fn repository(&self) -> &str {
        self.repository.as_deref().unwrap_or_default()
    }

    /// Returns where a tier keeps what a root says; none if no root is believed here.
    pub fn wanted(&self) -> Option<String> {
        let believes = !self.beliefs.roots(self.repository()).is_empty();
        believes.then(|| statement::key(self.repository()))
    }

    /// Takes the keys from the statement in `bytes`, if a believed root signed it and no newer one was seen.
    ///
    /// It counts even if it cannot be kept for the next time, which is an error all the same. An error is a sentence that says why.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let unused = |why| format!("what is there about its keys is not used: {why}");
        let lost = |why| format!("what its root key says is not kept for the next time: {why}");
        if self.consider(bytes).map_err(unused)? {
            self.keep(bytes).map_err(lost)?;
        }
        Ok(())
    }

    /// Does the same and keeps nothing; tells whether it is newer than what was seen.
    pub fn consider(&mut self, bytes: &[u8]) -> Result<bool, TrustError> {
        let roots = self.beliefs.roots(self.repository());
        let new = Statement::read(bytes, self.repository(), &roots)?;
        let seen = self.statement.as_ref().map_or(0, |one| one.generation);
        if new.generation < seen {
            let number = new.generation;
            let why = format!("it is statement {number}, and statement {seen} was seen before");
            return Err(TrustError::Statement(why));
        }
        // Of two with one number, the first that was seen counts.
        let newer = new.generation > seen;
        if newer {
            self.statement = Some(new);
        }
        Ok(newer)
    }

    /// Returns the keys that are believed in the repository.
    pub fn here(&self) -> Vec<PublicKey> {
        let here = self.repository.as_deref();
        let mut keys = self.beliefs.believed(Role::Signs, here);
        if let Some(said) = &self.statement {
            add_new(&mut keys, &said.keys);
        }
        keys.retain(|key| !self.is_revoked(key.id()));
        keys
    }

    /// Returns those of them that are believed in every repository.
    pub fn anywhere(&self) -> Vec<PublicKey> {
        let mut keys = self.beliefs.believed(Role::Signs, None);
        keys.retain(|key| !self.is_revoked(key.id()));
        keys
    }

    fn is_revoked(&self, id: KeyId) -> bool {
        let said = self.statement.as_ref();
        self.beliefs.is_revoked(id) || said.is_some_and(|one| one.revoked.contains(&id))
    }

    fn path(&self) -> PathBuf {
        let name = statement::file_name(self.repository());
        self.dir.join(DIR).join(name)
    }

    /// Returns the newest statement that was kept; none of a root that is not believed any more.
    fn kept(&self) -> Result<Option<Statement>, DiskError> {
        let roots = self.beliefs.roots(self.repository());
        if roots.is_empty() {
            return Ok(None);
        }
        let path = self.path();
        let bytes = match disk::read(&path, statement::MAX_BYTES) {
            Err(error) if error.is_missing() => return Ok(None),
            bytes => bytes?,
        };
        match Statement::read(&bytes, self.repository(), &roots) {
            Ok(statement) => Ok(Some(statement)),
            Err(TrustError::Strangers(_)) => Ok(None),
            Err(error) => Err(disk::unusable(&path, error.to_string())),
        }
    }

    /// Keeps the newest statement, unless another process has kept a newer one meanwhile.
    fn keep(&self, bytes: &[u8]) -> Result<(), DiskError> {
        let dir = self.dir.join(DIR);
        disk::make_dir(&dir)?;
        let _lock = lock::exclusive(&self.dir.join(beliefs::LOCK), || {})?;
        let generation = |one: &Option<Statement>| one.as_ref().map_or(0, |one| one.generation);
        if generation(&self.kept()?) < generation(&self.statement) {
            let staging = Staging::new(&dir, ".new")?;
            staging.write(&self.path(), bytes, PLAIN)?;
        }
        Ok(())
    }
}
