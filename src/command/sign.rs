//! `headstart sign`: signs what another job published, in one that runs neither build scripts nor cargo.
//!
//! Works on remotes only: what lies in a store is believed for whose directory that is, and no signature in it is read.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cli::SignArgs;
use super::publish::{signer, warn_of_dropped};
use super::{Call, Failure, far, print_json, short};
use crate::git::Repository;
use crate::report::count;
use crate::travel::list::ListError;
use crate::travel::sign::{Expected, Signed, Verdict, sign};

/// What became of what waited in a remote.
type Answer = (String, Result<Vec<Signed>, ListError>);

/// Runs the command.
pub fn run(args: &SignArgs, call: Call<'_>) -> Result<()> {
    let repository = Repository::discover(&call.environment.dir)?;
    let commit = repository.commit(&args.commit)?;
    let tree = repository.tree(&commit)?;
    let tiers = far::settled(&args.remotes, call)?;
    let signer = signer(&args.sign_key, &tiers, &call.environment.dir, &commit, call)?;
    let hint = "name it with --sign-key, or set HEADSTART_SIGN_KEY";
    let without = Failure::new("there is no key to sign with", hint);
    ensure!(!signer.keys.is_empty(), without);
    let expected = Expected {
        repository: &repository.name().unwrap_or_default(),
        commit: &commit,
        tree: &tree,
        manifest: args.manifest.as_deref().unwrap_or_default(),
        now_unix_s: call.now_unix_s(),
    };
    let mut answers: Vec<Answer> = Vec::new();
    for tier in tiers.iter().filter(|tier| tier.is_writable()) {
        let (name, sign) = (tier.name(), || sign(&**tier, expected, &signer));
        let signed = call.reporter.during(&format!("Signing in {name}"), sign);
        answers.push((name.to_owned(), signed));
    }
    warn_of_dropped(&signer, call);
    if args.remotes.json {
        print_json(&as_json(&commit, &answers));
    } else if !args.remotes.quiet {
        print(&commit, &answers);
    }
    judge(&commit, &answers)
}

/// Fails unless there was something to sign, and all of it is signed now.
fn judge(commit: &str, answers: &[Answer]) -> Result<()> {
    let commit = short(commit);
    let all = || answers.iter().flat_map(|(_, signed)| signed).flatten();
    let why = |one: &Signed| {
        let why = one.verdict.as_ref().err()?;
        Some(format!("{}: {why}", one.manifest.short()))
    };
    let refused: Vec<String> = all().filter_map(why).collect();
    let why = |(name, signed): &Answer| Some(format!("{name}: {}", signed.as_ref().err()?));
    let failed: Vec<String> = answers.iter().filter_map(why).collect();
    let remotes = count(failed.len(), "remote");
    let manifests = count(refused.len(), "manifest");
    let (what, hint) = match (answers, &failed[..], &refused[..]) {
        ([], ..) => (
            "there is no remote to sign in".to_owned(),
            "name one with --remote, or in headstart.toml",
        ),
        (_, [first, ..], _) => (
            format!("{remotes} could not be signed in: {first}"),
            "run it again: what is signed stays, and what is not is signed then",
        ),
        (.., [first, ..]) => (
            format!("{manifests} of {commit} was not signed: {first}"),
            "see which job published it; --manifest names the one to sign, the others are left alone",
        ),
        _ if all().next().is_none() => (
            format!("nothing of {commit} waits to be signed"),
            "`headstart publish --unsigned` of that commit comes first, to the same remotes",
        ),
        _ => return Ok(()),
    };
    Err(Failure::new(what, hint).into())
}

fn as_json(commit: &str, answers: &[Answer]) -> Value {
    let one = |one: &Signed| {
        json!({
            "manifest": one.manifest.hex(),
            "signed": one.verdict.is_ok(),
            "new": matches!(one.verdict, Ok(Verdict::New)),
            "why_not": one.verdict.as_ref().err().map(ToString::to_string),
        })
    };
    let remotes = answers.iter().map(|(name, signed)| match signed {
        Ok(all) => json!({ "url": name, "manifests": all.iter().map(one).collect::<Vec<_>>() }),
        Err(error) => json!({ "url": name, "error": error.to_string() }),
    });
    json!({ "commit": commit, "remotes": remotes.collect::<Vec<_>>() })
}

fn print(commit: &str, answers: &[Answer]) {
    for (name, signed) in answers {
        for one in signed.iter().flatten() {
            let (manifest, commit) = (one.manifest.short(), short(commit));
            let said = match &one.verdict {
                Ok(Verdict::New) => "is signed",
                Ok(Verdict::Already) => "was signed by these keys before",
                Err(_) => "was not signed",
            };
            say!("manifest {manifest} of {commit} {said}, in {name}");
        }
    }
}
