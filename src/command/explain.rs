//! `headstart explain`: each unit's reason, as it was noted when it was decided.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use super::cli::ExplainArgs;
use super::status::age;
use super::{Failure, Setup, print_json, short};
use crate::cargo::layout::unit_hash;
use crate::config::Environment;
use crate::engine::Ledger;
use crate::engine::ledger::{Decision, Note, Started};
use crate::model::Began;
use crate::report::count;

/// What is known of one unit: what the last start decided, and how it was compiled since.
struct Explained {
    decision: Option<Decision>,
    note: Option<Note>,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, environment: &Environment, now: Timestamp) -> Result<()> {
    let setup = Setup::here(environment, args.target_dir.as_deref())?;
    let build = &setup.workspace.build_dir;
    let ledger = Ledger::of(build);
    let started = ledger.last_start();
    let all = explained(started.as_ref(), ledger.notes());
    let what = format!("headstart knows of no build in {}", build.display());
    let hint =
        "run `headstart start`, or build through it: `headstart start -- build`, `headstart init`";
    ensure!(!all.is_empty(), Failure::new(what, hint));
    let named = args.unit.as_deref();
    let is_named = |one: &&Explained| named.is_none_or(|name| one.is_named(name));
    let units: Vec<&Explained> = all.iter().filter(is_named).collect();
    if let (Some(name), true) = (named, units.is_empty()) {
        let hint = "name a package or a crate; without a name all units are explained";
        return Err(Failure::new(format!("no unit is named {name}"), hint).into());
    }
    if args.json {
        let units: Vec<_> = units.iter().map(|one| one.as_json()).collect();
        print_json(&json!({ "started": started.map(|one| one.commit), "units": units }));
        return Ok(());
    }
    if let Some(started) = &started {
        let (age, from) = (age(started.unix_s, now), short(&started.commit));
        say!("started {age} from {from}");
    }
    let whole = named.is_some() || args.all;
    let (fresh, others): (Vec<_>, Vec<_>) =
        units.into_iter().partition(|one| !whole && one.is_fresh());
    others.iter().for_each(|one| one.print());
    if !fresh.is_empty() {
        let fresh = count(fresh.len(), "unit");
        say!("{fresh} fresh, and not compiled since; --all names them");
    }
    Ok(())
}

/// Joins what the last start decided with the compiles since, units that were compiled last.
fn explained(started: Option<&Started>, notes: Vec<(String, Note)>) -> Vec<Explained> {
    let since_s = started.map_or(0, |started| u64::try_from(started.unix_s).unwrap_or(0));
    let notes = notes.into_iter();
    let notes = notes.filter(|(_, note)| note.started_unix_ms >= since_s * 1000);
    // By cargo's hash; by the crate's name where no file's name has it.
    let name = |key: &str| match key.split_once('=') {
        Some((crate_name, _)) => crate_name.to_owned(),
        None => unit_hash(key).to_owned(),
    };
    let mut notes: Vec<_> = notes.map(|(key, note)| (name(&key), note)).collect();
    notes.sort_by_key(|(_, note)| note.started_unix_ms);
    let mut notes: HashMap<String, Note> = notes.into_iter().collect();
    let mut all: Vec<Explained> = Vec::new();
    for decision in started.into_iter().flat_map(|started| &started.decisions) {
        let plain = decision.unit.rsplit_once("/lib-").map_or("", |one| one.1);
        let note = notes.remove(decision.note_hash());
        let note = note.or_else(|| notes.remove(plain));
        let decision = Some(decision.clone());
        all.push(Explained { decision, note });
    }
    all.extend(notes.into_values().map(|note| {
        let (decision, note) = (None, Some(note));
        Explained { decision, note }
    }));
    all.sort_by_key(|one| one.note.as_ref().map(|note| note.started_unix_ms));
    all
}

impl Explained {
    /// Tells whether the unit was placed or kept, and has not been compiled since.
    fn is_fresh(&self) -> bool {
        let offered = |one: &Decision| matches!(one.verdict.as_str(), "fresh" | "kept");
        self.note.is_none() && self.decision.as_ref().is_some_and(offered)
    }

    fn is_named(&self, name: &str) -> bool {
        let normal = |text: &str| text.replace('-', "_");
        let of_package = |one: &Decision| one.package.split(' ').next().map(normal);
        let package = self.decision.as_ref().and_then(of_package);
        let note = self.note.as_ref();
        let crate_name = note.map(|note| note.compiled.crate_name.clone());
        let of_unit = |one: &Decision| one.unit.contains(name);
        self.decision.as_ref().is_some_and(of_unit)
            || [package, crate_name].contains(&Some(normal(name)))
    }

    fn name(&self) -> String {
        match (&self.decision, &self.note) {
            (Some(decision), _) => format!("{} ({})", decision.package, decision.kind),
            (None, Some(note)) => note.compiled.crate_name.clone(),
            (None, None) => String::new(),
        }
    }

    fn print(&self) {
        say!("{}", self.name());
        if let Some(decision) = &self.decision {
            say!("  start: {}, {}", decision.verdict, decision.reason.text);
        }
        match &self.note {
            Some(note) if is_hit(note) => say!("  rustc: {}", note.began),
            Some(note) => say!("  rustc: {:.2} s, {}", seconds(note), note.began),
            None if self.is_fresh() => {}
            None => say!("  rustc: not run through headstart since"),
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let decision = self.decision.as_ref();
        json!({
            "name": self.name(),
            "unit": decision.map(|one| &one.unit),
            "verdict": decision.map(|one| &one.verdict),
            "reason": decision.map(|one| &one.reason),
            "compiled": self.note.as_ref().map(note_as_json),
        })
    }
}

/// Tells whether rustc did not run; what is noted of its time is another machine's.
fn is_hit(note: &Note) -> bool {
    matches!(note.began, Began::Hit { .. })
}

fn seconds(note: &Note) -> f64 {
    match is_hit(note) {
        true => 0.0,
        false => note.compiled.elapsed_ms as f64 / 1000.0,
    }
}

fn note_as_json(note: &Note) -> serde_json::Value {
    let (reused, total) = match &note.began {
        Began::Seeded { reused, total, .. } => (Some(reused), Some(total)),
        _ => (None, None),
    };
    json!({
        "crate": note.compiled.crate_name,
        "seconds": seconds(note),
        "reason": { "code": note.began.code(), "text": note.began.to_string() },
        "work_products_reused": reused,
        "work_products": total,
    })
}
