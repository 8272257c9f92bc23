//! `headstart status`: where a target directory comes from, and what the store holds.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use super::cli::StatusArgs;
use super::setup::{Setup, print_json, print_line, short};
use crate::cargo::command::CargoCommand;
use crate::config::Environment;
use crate::engine::ledger::{Ledger, Started};
use crate::report::{bytes, count};
use crate::store::point::Point;
use crate::store::{Store, StoreError};

/// How many starting points are shown without `--json`.
const SHOWN_POINTS: usize = 10;

/// Runs the command, and returns its exit code. Works outside of a workspace too, for the store alone.
pub fn run(
    args: &StatusArgs,
    environment: &Environment,
    now: Timestamp,
) -> anyhow::Result<ExitCode> {
    let command = CargoCommand { args: Vec::new() };
    let setup = Setup::of(&command, environment, args.target_dir.as_deref()).ok();
    let started = setup
        .as_ref()
        .and_then(|setup| Ledger::of(&setup.workspace.build_dir).starts().pop());
    let root = setup.as_ref().map(|setup| setup.workspace.root.as_path());
    let store = environment.store(args.store.store.as_deref(), root)?;
    let points = match Store::open(&store) {
        Ok(store) => store.all_points(),
        Err(StoreError::Missing(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if args.store.json {
        print_json(&as_json(started.as_ref(), &store, &points));
        return Ok(ExitCode::SUCCESS);
    }
    match (&setup, &started) {
        (None, _) => print_line("no cargo workspace here"),
        (Some(setup), None) => {
            print_line(&format!(
                "{}: not started from anywhere",
                setup.workspace.build_dir.display()
            ));
        }
        (Some(setup), Some(started)) => {
            let from = short(&started.commit);
            let dir = setup.workspace.build_dir.display();
            print_line(&format!(
                "{dir}: started {} from {from}",
                age(started.unix_s, now)
            ));
            print_decisions(started, args.units);
        }
    }
    print_points(&store, &points, now);
    Ok(ExitCode::SUCCESS)
}

fn print_decisions(started: &Started, units: bool) {
    let of = |verdict: &str| {
        started
            .decisions
            .iter()
            .filter(|one| one.verdict == verdict)
            .count()
    };
    let counts =
        ["fresh", "kept", "near", "absent"].map(|verdict| format!("{} {verdict}", of(verdict)));
    print_line(&format!("  {}", counts.join(", ")));
    for one in started.decisions.iter().filter(|_| units) {
        print_line(&format!(
            "  {:<6} {} ({}): {}",
            one.verdict, one.unit, one.package, one.reason.text
        ));
    }
}

fn print_points(store: &std::path::Path, points: &[Point], now: Timestamp) {
    print_line(&format!(
        "store {}: {}",
        store.display(),
        count(points.len(), "starting point")
    ));
    for point in points.iter().take(SHOWN_POINTS) {
        let commands: Vec<String> = point.commands.iter().map(|args| args.join(" ")).collect();
        let dirty = if point.dirty { " +changes" } else { "" };
        print_line(&format!(
            "  {}{dirty}  {:>14}  {:>9}  {:>5} units  {}  [{}]",
            short(&point.commit),
            age(point.published_unix_s, now),
            bytes(point.size_bytes),
            point.units,
            point.manifest.short(),
            commands.join(" then "),
        ));
    }
    if points.len() > SHOWN_POINTS {
        print_line(&format!(
            "  and {} more; --json names them all",
            points.len() - SHOWN_POINTS
        ));
    }
}

fn as_json(
    started: Option<&Started>,
    store: &std::path::Path,
    points: &[Point],
) -> serde_json::Value {
    let points: Vec<_> = points
        .iter()
        .map(|point| {
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
        })
        .collect();
    json!({ "started": started, "store": store.display().to_string(), "points": points })
}

/// Returns how long ago `unix_s` was, for people.
pub fn age(unix_s: i64, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(unix_s);
    let (value, unit) = match seconds {
        ..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{} ago", count(usize::try_from(value).unwrap_or(0), unit))
}
