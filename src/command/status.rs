//! `headstart status`: where a target directory comes from, and what the store holds.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use indicatif::HumanDuration;
use jiff::Timestamp;
use serde_json::json;

use super::cli::StatusArgs;
use super::{NAMED_BY_JSON, Setup, print_first, print_json, short};
use crate::config::Environment;
use crate::engine::Ledger;
use crate::engine::ledger::Started;
use crate::report::{bytes, count};
use crate::store::{Point, Store, StoreError};

/// How many starting points are shown without `--json`.
const SHOWN_POINTS: usize = 10;

/// Runs the command. Works outside of a workspace too, for the store alone.
pub fn run(args: &StatusArgs, environment: &Environment, now: Timestamp) -> Result<()> {
    let setup = Setup::here(environment, args.target_dir.as_deref());
    let workspace = setup.ok().map(|setup| setup.workspace);
    let build = workspace.as_ref().map(|workspace| &workspace.build_dir);
    let started = build.and_then(|build| Ledger::of(build).last_start());
    let store = environment.store(args.store.as_deref())?;
    let points = match Store::open(&store) {
        Err(StoreError::Missing(_)) => Vec::new(),
        store => store?.all_points(),
    };
    if args.json {
        print_json(&as_json(started.as_ref(), &store, &points));
        return Ok(());
    }
    match (build.map(|build| build.display()), &started) {
        (None, _) => say!("no cargo workspace here: `headstart doctor` says more"),
        (Some(build), None) => say!("{build}: not started from anywhere"),
        (Some(build), Some(started)) => {
            let (age, from) = (age(started.unix_s, now), short(&started.commit));
            say!("{build}: started {age} from {from}");
            print_decisions(started, args.units);
        }
    }
    print_points(&store, &points, now);
    Ok(())
}

fn print_decisions(started: &Started, units: bool) {
    let all = || started.decisions.iter();
    let of = |verdict: &str| all().filter(|one| one.verdict == verdict).count();
    let verdicts = ["fresh", "kept", "near", "absent"];
    let counts = verdicts.map(|verdict| format!("{} {verdict}", of(verdict)));
    say!("  {}", counts.join(", "));
    for one in all().filter(|_| units) {
        let (verdict, why) = (&one.verdict, &one.reason.text);
        say!("  {verdict:<6} {} ({}): {why}", one.unit, one.package);
    }
}

fn print_points(store: &Path, points: &[Point], now: Timestamp) {
    let all = count(points.len(), "starting point");
    say!("store {}: {all}", store.display());
    let line = |point: &Point| {
        let commands: Vec<String> = point.commands.iter().map(|args| args.join(" ")).collect();
        let dirty = if point.dirty { " +changes" } else { "" };
        let (commit, units, name) = (short(&point.commit), point.units, point.manifest.short());
        let (age, size) = (age(point.published_unix_s, now), bytes(point.size_bytes));
        let commands = commands.join(" then ");
        format!("{commit}{dirty}  {age:>14}  {size:>9}  {units:>5} units  {name}  [{commands}]")
    };
    print_first(SHOWN_POINTS, points.iter().map(line), NAMED_BY_JSON);
}

fn as_json(started: Option<&Started>, store: &Path, points: &[Point]) -> serde_json::Value {
    let point = |point: &Point| {
        json!({
            "commit": point.commit,
            "dirty": point.dirty,
            "manifest": point.manifest.hex(),
            "published_unix_s": point.published_unix_s,
            "toolchain": point.toolchain.short(),
            "commands": point.commands,
            "units": point.units,
            "bytes": point.size_bytes,
        })
    };
    let points: Vec<_> = points.iter().map(point).collect();
    json!({ "started": started, "store": store.display().to_string(), "points": points })
}

/// Returns how long ago `unix_s` was, for people.
pub fn age(unix_s: i64, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(unix_s);
    match u64::try_from(seconds) {
        Ok(seconds @ 60..) => format!("{} ago", HumanDuration(Duration::from_secs(seconds))),
        _ => "just now".to_owned(),
    }
}
