//! `headstart key`: makes and shows keys; and finds those to sign with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::cli::KeyCommand;
use super::{Call, Failure, print_json, rotate};
use crate::config::Environment;
use crate::disk::{self, place};
use crate::report::Reporter;
use crate::trust::{KeyError, PublicKey, SecretKey, new_pair};

/// The largest file that is read as a key; minisign's have two lines, of at most 1024 bytes.
const MAX_KEY_BYTES: u64 = 16 << 10;
/// The variable with the password of the secret key.
const PASSWORD: &str = "HEADSTART_KEY_PASSWORD";
/// The variable with the secret key: its file, or its text.
const SIGN_KEY: &str = "HEADSTART_SIGN_KEY";

/// Runs the command.
pub fn run(command: &KeyCommand, call: Call<'_>) -> Result<()> {
    let environment = call.environment;
    let (key, made, json) = match command {
        KeyCommand::New {
            out,
            no_password,
            json,
        } => {
            let out = environment.dir.join(out);
            let password = (!no_password).then(|| password(environment)).transpose()?;
            let key = make(&out, password)?;
            let kept = password.map_or("not encrypted", |_| "encrypted with the password");
            (key, Some((out, kept)), *json)
        }
        KeyCommand::Show { file, json } => (show(file, environment)?, None, *json),
        KeyCommand::Rotate(args) => {
            let reporter = Reporter::new(args.remotes.quiet);
            return rotate::run(args, Call { reporter, ..call });
        }
    };
    let believe = how_to_believe(&key);
    if json {
        let file = made.map(|(out, _)| out.display().to_string());
        let (key, id) = (key.to_string(), key.id().to_string());
        print_json(&json!({ "key": key, "id": id, "believe": believe, "secret_key_file": file }));
        return Ok(());
    }
    if let Some((out, kept)) = made {
        let out = out.display();
        say!("{out} is secret, and {kept}: for CI's secrets, never for a repository");
        say!("{out}.pub is for everybody");
    }
    let id = key.id();
    say!("{key}, id {id}\nreaders believe it with\n  {believe}");
    Ok(())
}

/// Returns the keys to sign with: those in the files `typed`, else that of `HEADSTART_SIGN_KEY`, a file or the text of one.
///
/// `HEADSTART_KEY_PASSWORD` opens those that are encrypted; nobody is asked.
pub fn signing_keys(environment: &Environment, typed: &[PathBuf]) -> Result<Vec<SecretKey>> {
    let variable = environment.text(SIGN_KEY).unwrap_or_default();
    let named = environment.path(SIGN_KEY).filter(|_| typed.is_empty());
    if named.as_ref().is_some_and(|file| !file.exists()) {
        // Many who keep secrets keep one line. What is neither is not repeated: it may be most of a key.
        let line = format!("untrusted comment:\n{variable}");
        let text = match variable.trim().contains('\n') {
            true => variable,
            false => &line,
        };
        let key = secret_key(text, environment);
        let key =
            key.with_context(|| format!("cannot sign with {SIGN_KEY}, which names no file"))?;
        return Ok(vec![key]);
    }
    let files = typed.iter().chain(&named);
    files.map(|file| secret_key_in(file, environment)).collect()
}

/// Returns the secret key in `file`.
pub(super) fn secret_key_in(file: &Path, environment: &Environment) -> Result<SecretKey> {
    let file = environment.dir.join(file);
    let key = secret_key(&read_text(&file)?, environment);
    key.with_context(|| format!("cannot sign with {}", file.display()))
}

/// Returns the text of a key's file; empty, and so no key, if it is no text.
pub fn read_text(file: &Path) -> Result<String> {
    let bytes = disk::read(file, MAX_KEY_BYTES)?;
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// Returns the command that believes `key`.
pub fn how_to_believe(key: &PublicKey) -> String {
    format!("headstart trust add {key}")
}

fn secret_key(text: &str, environment: &Environment) -> Result<SecretKey, KeyError> {
    SecretKey::read(text, environment.text(PASSWORD))
}

/// Returns the password for a new key.
fn password(environment: &Environment) -> Result<&str, Failure> {
    environment.named(PASSWORD).ok_or_else(|| {
        let hint = format!("set {PASSWORD}; or leave the key as it is with --no-password");
        Failure::new("there is no password to encrypt the secret key with", hint)
    })
}

/// Makes a key pair in the files `out` and `<out>.pub`, of which there must be none.
fn make(out: &Path, password: Option<&str>) -> Result<PublicKey> {
    let mut public_file = out.as_os_str().to_owned();
    public_file.push(".pub");
    let public_file = Path::new(&public_file);
    for file in [out, public_file] {
        let is_free = file.symlink_metadata().is_err();
        let file = file.display();
        let what = format!("{file} is there already, and no key is overwritten");
        ensure!(is_free, Failure::new(what, "name another file with --out"));
    }
    let (text, key) = new_pair(password);
    place::create_new(out, text.as_bytes(), place::MODE_SECRET)?;
    place::create_new(public_file, key.to_file().as_bytes(), place::MODE_FILE)?;
    Ok(key)
}

fn show(file: &Path, environment: &Environment) -> Result<PublicKey> {
    let file = environment.dir.join(file);
    let text = read_text(&file)?;
    let key = match secret_key(&text, environment) {
        Err(KeyError::NotSecret) => PublicKey::parse(&text),
        secret => secret.map(|secret| secret.public()),
    };
    key.with_context(|| format!("cannot use {}", file.display()))
}
