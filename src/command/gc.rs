//! `headstart gc`: deletes what a store has no room for, and what remotes hold of weeks that are over for good.

use std::ffi::OsStr;
use std::process::Child;

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::bring::{LATER_NICE, LATER_VAR, later};
use super::cli::{GcArgs, Provider, StoreArgs};
use super::{Call, Failure, far, print_json};
use crate::config::RemoteConfig;
use crate::model::retention;
use crate::report::{Reporter, bytes, count};
use crate::store::collect::Removed;
use crate::store::{Store, StoreError};
use crate::tier::{Tier, Trouble};
use crate::travel::collect::{self, COLLECTED, Over};

/// What is collected of a store.
#[derive(Serialize)]
struct Collected {
    path: String,
    expired: usize,
    crowded_out: usize,
    #[serde(flatten)]
    removed: Removed,
    bytes_left: u64,
    bytes_max: u64,
}

/// What is collected of a remote, or why not.
type Answer<'a> = (&'a str, Result<Over, Trouble>);

/// Runs the command.
pub fn run(args: &GcArgs, call: Call<'_>) -> Result<()> {
    let (environment, reporter) = (call.environment, call.reporter);
    let workspace = call.settled_dir();
    let wanted = args.remotes || !args.store.remote.is_empty() || args.lifecycle.is_some();
    let remotes = match wanted {
        true => environment.remotes(&args.store.remote, &workspace)?,
        false => Vec::new(),
    };
    if let Some(provider) = args.lifecycle {
        return lifecycle(provider, args.keep_days, &remotes, &reporter);
    }
    let hint = "name one with --remote, or in headstart.toml";
    let without = Failure::new("there is no remote to delete from", hint);
    ensure!(!wanted || !remotes.is_empty(), without);
    // Nobody waits for this, and everybody for a build.
    let _ = rustix::process::nice(LATER_NICE);
    let collected = in_store(args, call)?;
    let tiers = far::open_all(&remotes, call)?;
    let mut far: Vec<Answer<'_>> = Vec::new();
    let named = !args.store.remote.is_empty();
    let (tiers, only_read): (Vec<_>, Vec<_>) =
        tiers.iter().partition(|tier| named || tier.is_writable());
    for tier in &only_read {
        reporter.note(format!("{} is only read, and left alone", tier.name()));
    }
    for tier in tiers {
        let over = in_tier(&**tier, args, call);
        if let Err(trouble) = &over {
            let name = tier.name();
            reporter.warn(format!("cannot delete from {name}: {trouble}"));
        }
        far.push((tier.name(), over));
    }
    match args.store.json {
        true => print_json(&as_json(args.dry_run, collected.as_ref(), &far)),
        false if args.store.quiet => {}
        false => print(args.dry_run, collected.as_ref(), &far),
    }
    let done = far.iter().filter(|(_, over)| over.is_ok()).count();
    let failed = remotes.len() - done - only_read.len();
    let what = format!("{} could not be collected", count(failed, "remote"));
    let hint = "it takes the right to list and to delete; `headstart gc --lifecycle s3` prints rules by which \
                a bucket does the same by itself";
    ensure!(failed == 0, Failure::new(what, hint));
    Ok(())
}

/// Has another process collect the store that a command used, if nobody has for an hour; returns it.
pub(super) fn by_itself(call: Call<'_>, args: &StoreArgs) -> Option<Child> {
    let (environment, typed) = (call.environment, args.store.as_deref());
    if environment.is_off(LATER_VAR) {
        return None;
    }
    let store = Store::open(&environment.store(typed).ok()?).ok()?;
    let max_bytes = environment.store_max_bytes();
    let warn = |error| call.reporter.warn(error);
    let max_bytes = max_bytes.map_err(warn).ok()?.to_string();
    let gc = ["gc", "--quiet", "--max-size", &max_bytes, "--store"];
    let mut gc: Vec<&OsStr> = gc.iter().map(OsStr::new).collect();
    gc.push(store.root().as_ref());
    let is_due = store.claims_collection(call.now_unix_s());
    is_due.then(|| later(environment, &gc, &[]))?
}

/// Collects the local store; none where there is no store.
fn in_store(args: &GcArgs, call: Call<'_>) -> Result<Option<Collected>> {
    let (environment, reporter) = (call.environment, call.reporter);
    let typed = args.store.store.as_deref();
    let usual = || environment.store_max_bytes();
    let max_bytes = args.max_size.map_or_else(usual, Ok)?;
    let store = match Store::open(&environment.store(typed)?) {
        Err(StoreError::Missing(_)) => return Ok(None),
        store => store?,
    };
    let now_unix_s = store.time()?;
    let step = reporter.step("Reading manifests", 0);
    let inventory = store.inventory(&|| step.inc(1));
    drop(step);
    let inventory = inventory?;
    let plan = retention::plan(&inventory.held, &inventory.objects, max_bytes, now_unix_s);
    let starting_points = plan.expired.len() + plan.crowded_out.len();
    let mut removed = Removed {
        starting_points,
        objects: plan.objects.len(),
        files: starting_points + plan.objects.len(),
        bytes: plan.bytes,
    };
    if !args.dry_run {
        let step = reporter.step("Deleting", removed.files as u64);
        removed = store.sweep(&inventory, &plan, now_unix_s, &|| step.inc(1))?;
    }
    Ok(Some(Collected {
        path: store.root().display().to_string(),
        expired: plan.expired.len(),
        crowded_out: plan.crowded_out.len(),
        removed,
        bytes_left: plan.remaining_bytes,
        bytes_max: max_bytes,
    }))
}

/// Collects one remote.
fn in_tier(tier: &dyn Tier, args: &GcArgs, call: Call<'_>) -> Result<Over, Trouble> {
    if !tier.is_writable() {
        return Err(Trouble::Denied("it is only read".to_owned()));
    }
    let list = || collect::over(tier, args.keep_days, call.now_unix_s());
    let what = format!("Listing {}", tier.name());
    let over = call.reporter.during(&what, list)?;
    if !args.dry_run {
        collect::remove(tier, &over, &call.reporter)?;
    }
    Ok(over)
}

/// Prints the rules by which the bucket of the one remote at `provider` deletes by itself what is over.
fn lifecycle(
    provider: Provider,
    keep_days: u16,
    remotes: &[RemoteConfig],
    reporter: &Reporter,
) -> Result<()> {
    let scheme = match provider {
        Provider::S3 => "s3://",
        Provider::Gcs => "gs://",
    };
    let paths = remotes.iter().map(|one| one.url.strip_prefix(scheme));
    let paths: Vec<&str> = paths.flatten().collect();
    let [path] = &paths[..] else {
        let what = format!("the rules are for one remote that begins with {scheme}");
        let hint = format!("name it with --remote {scheme}bucket/path");
        return Err(Failure::new(what, hint).into());
    };
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    let parts = prefix.split('/').filter(|part| !part.is_empty());
    let prefix: String = parts.map(|part| format!("{part}/")).collect();
    let prefixes = COLLECTED.map(|dir| format!("{prefix}{dir}/"));
    let days = retention::age_days(keep_days);
    let rule = |prefix: &String| {
        json!({
            "ID": format!("headstart {prefix}"),
            "Status": "Enabled",
            "Filter": { "Prefix": prefix },
            "Expiration": { "Days": days },
        })
    };
    let (rules, how) = match provider {
        Provider::S3 => (
            json!({ "Rules": prefixes.each_ref().map(rule) }),
            format!(
                "aws s3api put-bucket-lifecycle-configuration --bucket {bucket} --lifecycle-configuration file://FILE"
            ),
        ),
        Provider::Gcs => (
            json!({ "rule": [{
                "action": { "type": "Delete" },
                "condition": { "age": days, "matchesPrefix": prefixes },
            }] }),
            format!("gcloud storage buckets update gs://{bucket} --lifecycle-file FILE"),
        ),
    };
    print_json(&rules);
    reporter.note(format!("`{how}` sets them, in place of all there are"));
    Ok(())
}

fn as_json(dry_run: bool, collected: Option<&Collected>, far: &[Answer<'_>]) -> Value {
    let remote = |(name, over): &Answer<'_>| match over {
        Ok(over) => json!({
            "url": name,
            "epochs": over.epochs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "files": over.keys.len(),
            "bytes": over.bytes,
        }),
        Err(trouble) => json!({ "url": name, "error": trouble.to_string() }),
    };
    let remotes: Vec<Value> = far.iter().map(remote).collect();
    json!({ "dry_run": dry_run, "store": collected, "remotes": remotes })
}

fn print(dry_run: bool, collected: Option<&Collected>, far: &[Answer<'_>]) {
    let deleted = if dry_run { "would delete" } else { "deleted" };
    match collected {
        None if far.is_empty() => say!("there is no store, and nothing to delete"),
        None => {}
        Some(one) => {
            let points = count(one.removed.starting_points, "starting point");
            let objects = count(one.removed.objects, "object");
            let (expired, size) = (one.expired, bytes(one.removed.bytes));
            let what = match one.removed.files {
                0 => "nothing to delete".to_owned(),
                _ => format!("{deleted} {points} ({expired} had expired) and {objects}: {size}"),
            };
            say!("store {}: {what}", one.path);
            let (left, max) = (bytes(one.bytes_left), bytes(one.bytes_max));
            let why = match one.bytes_left > one.bytes_max {
                true => "; what was used in the last hour stays",
                false => "",
            };
            say!("  {left} left, of {max} that it may have{why}");
        }
    }
    for (name, over) in far {
        let Ok(over) = over else { continue };
        let files = count(over.keys.len(), "file");
        let (weeks, size) = (count(over.epochs.len(), "week"), bytes(over.bytes));
        match over.keys.is_empty() {
            true => say!("{name}: nothing to delete"),
            false => say!("{name}: {deleted} {files} of {weeks}: {size}"),
        }
    }
}
