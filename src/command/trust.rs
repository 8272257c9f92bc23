//! `headstart trust`: says whose signatures this user believes, and in which repositories.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::cli::{TrustAddArgs, TrustCommand, TrustRemoveArgs};
use super::key::{how_to_believe, read_text};
use super::{Failure, print_json, quietly};
use crate::cargo::{CargoCommand, Workspace};
use crate::config::{self, Environment};
use crate::git::{self, Repository};
use crate::report::count;
use crate::trust::beliefs::{self, Belief, Beliefs, EVERY_REPOSITORY, Role};
use crate::trust::statement::Statement;
use crate::trust::{KeyId, Keyring, PublicKey};

/// Runs the command.
pub fn run(command: &TrustCommand, environment: &Environment) -> Result<()> {
    match command {
        TrustCommand::Add(args) => add(args, environment),
        TrustCommand::List { json } => list(*json, environment),
        TrustCommand::Remove(args) => remove(args, environment),
        TrustCommand::Revoke { key } => revoke(key, environment),
    }
}

fn add(args: &TrustAddArgs, environment: &Environment) -> Result<()> {
    let belief = Belief {
        key: public_key(&args.key, environment)?,
        repository: name(args.repository.as_deref(), environment)?,
        note: args.note.clone(),
    };
    let dir = environment.config_dir()?;
    let (id, file) = (belief.key.id(), beliefs::file(&dir));
    let place = shown(&belief.repository);
    let role = if args.root { Role::Root } else { Role::Signs };
    let (said, so) = match role {
        Role::Signs => ("is believed in", "what it signs"),
        Role::Root => ("is believed to say who signs in", "what they sign"),
    };
    let change = |all: &mut Beliefs| (!all.is_revoked(id)).then(|| all.add(role, &belief));
    match beliefs::change(&dir, change)? {
        None => {
            let hint = format!("if that was a mistake, take it out of {}", file.display());
            return Err(Failure::new(format!("the key {id} is revoked"), hint).into());
        }
        Some(false) => say!("{id} {said} {place} already"),
        Some(true) => {
            say!("{id} {said} {place}: {so} runs code on this machine");
            say!("noted in {}", file.display());
        }
    }
    Ok(())
}

fn remove(args: &TrustRemoveArgs, environment: &Environment) -> Result<()> {
    let repository = &name(args.repository.as_deref(), environment)?;
    let id = key_id(&args.key, environment)?;
    let role = if args.root { Role::Root } else { Role::Signs };
    let (removed, others) = beliefs::change(&environment.config_dir()?, |beliefs| {
        let removed = beliefs.remove(role, id, repository);
        let others = beliefs.keys(role).iter().filter(|one| one.key.id() == id);
        let others: Vec<&str> = others.map(|one| shown(&one.repository)).collect();
        (removed, others.join(", "))
    })?;
    let still = match others.as_str() {
        "" => String::new(),
        others => format!("; but it is in {others}"),
    };
    let here = shown(repository);
    let what = format!("the key {id} is not believed in {here}{still}");
    let hint = "--repository names another; `headstart trust list` shows all";
    ensure!(removed, Failure::new(what, hint));
    say!("{id} is not believed in {here} any more{still}");
    Ok(())
}

fn revoke(key: &str, environment: &Environment) -> Result<()> {
    let id = key_id(key, environment)?;
    match beliefs::change(&environment.config_dir()?, |all| all.revoke(id))? {
        true => say!("{id} is believed nowhere any more"),
        false => say!("{id} is revoked already"),
    }
    Ok(())
}

fn list(json: bool, environment: &Environment) -> Result<()> {
    let dir = environment.config_dir()?;
    let (file, beliefs) = (beliefs::file(&dir), beliefs::read(&dir)?);
    let here = here(environment);
    let keyring = Keyring::read(&dir, here.clone())?;
    let believed = keyring.here();
    let proposed = proposed(environment)?;
    if json {
        let all = |role| -> Value {
            let keys = beliefs.keys(role).iter();
            keys.map(|one| as_json(one, &beliefs)).collect()
        };
        let proposed = proposed.iter().map(|key| {
            json!({ "key": key.to_string(), "id": key.id().to_string(), "believed": believed.contains(key) })
        });
        print_json(&json!({
            "file": file.display().to_string(),
            "repository": here,
            "keys": all(Role::Signs),
            "roots": all(Role::Root),
            "statement": keyring.statement.as_ref().map(as_json_said),
            "believed": ids(believed.iter().map(PublicKey::id)),
            "revoked": ids(beliefs.revoked()),
            "proposed": proposed.collect::<Value>(),
        }));
        return Ok(());
    }
    let keys = [Role::Signs, Role::Root].map(|role| beliefs.keys(role).len());
    say!("{}: {}", file.display(), count(keys.iter().sum(), "key"));
    for (role, what) in [(Role::Signs, "in"), (Role::Root, "says who signs in")] {
        for one in beliefs.keys(role) {
            let (key, id, place) = (&one.key, one.key.id(), shown(&one.repository));
            say!("  {key}, id {id}, {what} {place}");
            if let Some(note) = &one.note {
                say!("    {note}");
            }
        }
    }
    if let Some(said) = &keyring.statement {
        print_said(said);
    }
    for id in beliefs.revoked() {
        say!("  {id} is revoked");
    }
    for key in proposed.iter().filter(|key| !believed.contains(key)) {
        let (id, how) = (key.id(), how_to_believe(key));
        match beliefs.is_revoked(id) {
            true => say!("this workspace proposes {id}, which is revoked"),
            false => say!("this workspace proposes {id}, which is not believed here:\n  {how}"),
        }
    }
    Ok(())
}

fn print_said(said: &Statement) {
    let generation = said.generation;
    say!("a root says of this repository, in statement {generation}:");
    for key in &said.keys {
        say!("  {key}, id {}, signs", key.id());
    }
    for id in &said.revoked {
        say!("  {id} is revoked");
    }
}

/// Returns what a root says, for programs.
pub(super) fn as_json_said(said: &Statement) -> Value {
    json!({
        "repository": said.repository,
        "generation": said.generation,
        "written_unix_s": said.written_unix_s,
        "keys": ids(said.keys.iter().map(PublicKey::id)),
        "revoked": ids(said.revoked.iter().copied()),
    })
}

fn ids(all: impl Iterator<Item = KeyId>) -> Value {
    all.map(|id| id.to_string()).collect()
}

fn as_json(belief: &Belief, beliefs: &Beliefs) -> Value {
    let id = belief.key.id();
    json!({
        "repository": belief.repository,
        "key": belief.key.to_string(),
        "id": id.to_string(),
        "note": belief.note,
        "revoked": beliefs.is_revoked(id),
    })
}

/// Returns a repository's name for people.
fn shown(repository: &str) -> &str {
    match repository {
        EVERY_REPOSITORY => "every repository",
        name => name,
    }
}

/// Returns the name of the repository that a command is about.
pub(super) fn name(typed: Option<&str>, environment: &Environment) -> Result<String, Failure> {
    let (name, what) = match typed {
        Some(EVERY_REPOSITORY) => return Ok(EVERY_REPOSITORY.to_owned()),
        Some(typed) => (
            git::name_of(typed),
            format!("`{typed}` names no repository"),
        ),
        None => (here(environment), "there is no `origin` here".to_owned()),
    };
    let hint = "name the repository: --repository HOST/OWNER/NAME, or '*' for every repository";
    name.ok_or_else(|| Failure::new(what, hint))
}

/// Returns the name of this clone's repository.
pub(super) fn here(environment: &Environment) -> Option<String> {
    Repository::discover(&environment.dir).ok()?.name()
}

/// Returns the keys that this workspace proposes to believe; none outside of a workspace.
pub(super) fn proposed(environment: &Environment) -> Result<Vec<PublicKey>> {
    let workspace = Workspace::of(&CargoCommand::default(), quietly(environment));
    let Ok(workspace) = workspace else {
        return Ok(Vec::new());
    };
    let texts = config::settings(&workspace.root)?.trusted_keys;
    let keys: Result<_, _> = texts.iter().map(|text| PublicKey::parse(text)).collect();
    keys.map_err(|_| {
        let file = workspace.root.join("headstart.toml");
        let what = format!("{} proposes what is no public key", file.display());
        let hint = "correct `trusted_keys` there: a key is what begins with RW";
        Failure::new(what, hint).into()
    })
}

/// Returns the key that was typed, or that the file holds.
pub(super) fn public_key(typed: &str, environment: &Environment) -> Result<PublicKey> {
    let file = environment.dir.join(typed);
    if let Ok(key) = PublicKey::parse(typed) {
        return Ok(key);
    }
    let what = format!("`{typed}` is neither a public key nor a file that holds one");
    let hint = "a public key is the line that begins with RW, or a file NAME.pub";
    let is_there = file.exists() && !file.is_dir();
    ensure!(is_there, Failure::new(what, hint));
    PublicKey::parse(&read_text(&file)?).with_context(|| format!("cannot use {}", file.display()))
}

/// Returns the id that was typed, or that of the key.
pub(super) fn key_id(typed: &str, environment: &Environment) -> Result<KeyId> {
    let of_key = || public_key(typed, environment).map(|key| key.id());
    KeyId::parse(typed).map_or_else(of_key, Ok)
}
