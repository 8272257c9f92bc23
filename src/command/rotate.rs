//! `headstart key rotate`: says by a root key which keys sign for a repository, to all who believe the root.

use anyhow::{Result, ensure};
use serde_json::json;

use super::cli::RotateArgs;
use super::key::secret_key_in;
use super::trust::{as_json_said, key_id, name, public_key};
use super::{Call, Failure, far, keyring, print_json};
use crate::disk::{self, place};
use crate::report::count;
use crate::tier::{Tier, Trouble};
use crate::trust::beliefs::{self, EVERY_REPOSITORY};
use crate::trust::statement::{self, MAX_BYTES, Statement};
use crate::trust::{KeyId, PublicKey, SecretKey, TrustError};

/// Runs the command.
pub fn run(args: &RotateArgs, call: Call<'_>) -> Result<()> {
    let environment = call.environment;
    let repository = name(args.repository.as_deref(), environment)?;
    let hint = "say it of each repository that the root is believed in";
    let wrong = Failure::new("a statement is about one repository", hint);
    ensure!(repository != EVERY_REPOSITORY, wrong);
    let rotation = Rotation {
        args,
        call,
        tiers: far::settled(&args.remotes, call)?,
        repository,
    };
    let root = args.root.as_ref();
    let root = root.map(|file| secret_key_in(file, environment));
    let root = root.transpose()?;
    let (statement, file) = match &args.publish {
        Some(file) => {
            let bytes = disk::read(&environment.dir.join(file), MAX_BYTES)?;
            (rotation.check(&bytes)?, bytes)
        }
        None => rotation.next(root.as_ref())?,
    };
    let written = match &args.out {
        Some(out) => {
            let out = environment.dir.join(out);
            place::create_new(&out, &file, place::MODE_FILE)?;
            vec![(out.display().to_string(), Ok(()))]
        }
        None => rotation.write(&file),
    };
    rotation.say(&statement, root.as_ref(), &written);
    judge(&written)
}

/// A statement in the making.
struct Rotation<'a> {
    args: &'a RotateArgs,
    call: Call<'a>,
    tiers: Vec<Box<dyn Tier>>,
    repository: String,
}

/// Where something was written, or why not.
type Written = (String, Result<(), String>);

impl Rotation<'_> {
    /// Returns the keys whose word counts: `root`, else those that the user believes.
    fn roots(&self, root: Option<&SecretKey>) -> Result<Vec<PublicKey>> {
        if let Some(root) = root {
            return Ok(vec![root.public()]);
        }
        let roots = beliefs::read(&self.call.environment.config_dir()?)?.roots(&self.repository);
        let what = format!("no root key is known for {}", self.repository);
        let hint = "name its secret key with --root, or believe its public one with `headstart trust add --root`";
        ensure!(!roots.is_empty(), Failure::new(what, hint));
        Ok(roots)
    }

    /// Returns the statement in `bytes`, if a believed root signed it and no newer one is there.
    fn check(&self, bytes: &[u8]) -> Result<Statement> {
        let roots = self.roots(None)?;
        let statement = Statement::read(bytes, &self.repository, &roots).map_err(|error| {
            let hint = "the file holds the statement and behind it its signature, which a root made that you believe";
            Failure::new(format!("the statement is not used: {error}"), hint)
        })?;
        let (newest, generation) = (self.newest(&roots)?, statement.generation);
        let same = match newest.generation == generation {
            true => "another ",
            false => "",
        };
        let (there, hint) = (
            newest.generation,
            "make it anew with --out: it then follows the newest",
        );
        let what = format!("it is statement {generation}, and {same}statement {there} is there");
        let follows = there < generation || newest == statement;
        ensure!(follows, Failure::new(what, hint));
        Ok(statement)
    }

    /// Returns the statement that follows the newest, and its file: signed, if the root is here.
    fn next(&self, root: Option<&SecretKey>) -> Result<(Statement, Vec<u8>)> {
        let hint = "give --root, or --out for a text that the root signs elsewhere";
        let is_signed = root.is_some() || self.args.out.is_some();
        ensure!(is_signed, Failure::new("nobody signs the statement", hint));
        let (add, revoke) = (self.args.add.iter(), self.args.revoke.iter());
        let add = add.map(|key| public_key(key, self.call.environment));
        let add = add.collect::<Result<Vec<_>>>()?;
        let revoke = revoke.map(|key| key_id(key, self.call.environment));
        let revoke = revoke.collect::<Result<Vec<_>>>()?;
        let before = self.newest(&self.roots(root)?)?;
        let gone = |id: &KeyId| before.revoked.contains(id) || revoke.contains(id);
        if let Some(id) = add.iter().map(PublicKey::id).find(gone) {
            let what = format!("the key {id} is revoked, and stays so");
            return Err(Failure::new(what, "`headstart key new` makes another").into());
        }
        let next = before.clone().next(&add, &revoke, self.call.now_unix_s());
        let hint = "give --add or --revoke; `headstart trust list` shows what a root says";
        let changes = (&next.keys, &next.revoked) != (&before.keys, &before.revoked);
        ensure!(changes, Failure::new("that changes nothing", hint));
        let file = root.map_or_else(|| next.text(), |root| next.signed(root));
        Ok((next, file.into_bytes()))
    }

    /// Returns the newest statement in the remotes, and here, by one of `roots`.
    ///
    /// A remote that cannot be asked is an error: it may have the newest.
    fn newest(&self, roots: &[PublicKey]) -> Result<Statement> {
        let keyring = keyring::of(self.call.environment, Some(self.repository.clone()));
        let kept = keyring.map_or(None, |keyring| keyring.statement);
        let mut newest = kept.unwrap_or_else(|| Statement::none(self.repository.clone()));
        for tier in &self.tiers {
            let (name, reporter) = (tier.name(), self.call.reporter);
            let bytes = match tier.get(&statement::key(&self.repository), MAX_BYTES, &|_| true) {
                Err(Trouble::Absent) => continue,
                Err(trouble) => {
                    let what = format!("what {name} says now is not known: {trouble}");
                    let hint = "leave it out with --remote, which names the others";
                    return Err(Failure::new(what, hint).into());
                }
                Ok(bytes) => bytes,
            };
            match Statement::read(&bytes, &self.repository, roots) {
                Ok(there) if there.generation > newest.generation => newest = there,
                Ok(_) => {}
                Err(error @ TrustError::Newer(_)) => {
                    let what = format!("what {name} says is not replaced: {error}");
                    return Err(Failure::new(what, "update headstart").into());
                }
                Err(error @ TrustError::Strangers(_)) => {
                    let what = format!("what {name} says is not replaced: {error}");
                    let hint = "sign with that root, which readers may believe; if it is a stranger's, remove it from `v1/keys` there first";
                    return Err(Failure::new(what, hint).into());
                }
                // It counts for no reader, and goes.
                Err(error) => reporter.warn(format!("{name} is replaced: {error}")),
            }
        }
        Ok(newest)
    }

    /// Writes `file` to every remote, and looks whether it is still there afterwards.
    fn write(&self, file: &[u8]) -> Vec<Written> {
        let key = statement::key(&self.repository);
        let write = |tier: &dyn Tier| {
            let put = tier.put(&key, file.to_vec().into());
            match put.and_then(|()| tier.get(&key, MAX_BYTES, &|_| true)) {
                Ok(there) if there == file => Ok(()),
                Ok(_) => Err("somebody else wrote another at the same time".to_owned()),
                Err(trouble) => Err(trouble.to_string()),
            }
        };
        let tiers = self.tiers.iter().filter(|tier| tier.is_writable());
        let written = tiers.map(|tier| (tier.name().to_owned(), write(&**tier)));
        written.collect()
    }

    fn say(&self, statement: &Statement, root: Option<&SecretKey>, written: &[Written]) {
        let root = root.map(|root| root.public().to_string());
        if self.args.remotes.json {
            let mut said = as_json_said(statement);
            let place =
                |(place, done): &Written| json!({ "place": place, "error": done.as_ref().err() });
            said["root"] = json!(root);
            said["written"] = written.iter().map(place).collect();
            return print_json(&said);
        }
        if self.args.remotes.quiet {
            return;
        }
        let (repository, generation) = (&self.repository, statement.generation);
        let (keys, revoked) = (count(statement.keys.len(), "key"), statement.revoked.len());
        say!("{keys} for {repository}, {revoked} revoked: statement {generation}");
        for (place, _) in written.iter().filter(|(_, done)| done.is_ok()) {
            say!("  written to {place}");
        }
        if let Some(key) = root {
            say!("readers believe it with\n  headstart trust add --root {key}");
        }
    }
}

/// Fails if a remote does not have it: its readers would go on with the old keys.
fn judge(written: &[Written]) -> Result<()> {
    let mut written_to = written.iter();
    let failed = written_to.find_map(|(place, done)| Some((place, done.as_ref().err()?)));
    let (what, hint) = match (written, failed) {
        ([], _) => (
            "there is no remote to write to".to_owned(),
            "name one with --remote, or in headstart.toml; --out writes a file",
        ),
        (_, Some((place, why))) => (
            format!("{place} does not say it: {why}"),
            "its readers go on with the keys of before: run it again when the remote is well",
        ),
        (_, None) => return Ok(()),
    };
    Err(Failure::new(what, hint).into())
}
