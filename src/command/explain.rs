//! `headstart explain`: each unit's reason, as it was noted when it was decided.

use std::collections::HashMap;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use super::cli::ExplainArgs;
use super::failure::Failure;
use super::setup::{Setup, print_json, print_line, short};
use super::status::age;
use crate::cargo::command::CargoCommand;
use crate::cargo::layout::unit_hash;
use crate::config::Environment;
use crate::engine::ledger::{Decision, Ledger, Note, Started};
use crate::model::Began;
use crate::report::count;

/// What is known of one unit: what the last start decided, and how it was compiled since.
#[derive(Clone, Debug, Default)]
struct Explained {
    decision: Option<Decision>,
    note: Option<Note>,
}

/// Runs the command, and returns its exit code.
pub fn run(
    args: &ExplainArgs,
    environment: &Environment,
    now: Timestamp,
) -> anyhow::Result<ExitCode> {
    let command = CargoCommand { args: Vec::new() };
    let setup = Setup::of(&command, environment, args.target_dir.as_deref())?;
    let build = &setup.workspace.build_dir;
    let ledger = Ledger::of(build);
    let started = ledger.starts().pop();
    let all = explained(started.as_ref(), ledger.notes());
    if all.is_empty() {
        let what = format!("headstart knows of no build in {}", build.display());
        let hint = "run `headstart start`, or build through it: `headstart start -- build`, `headstart init`";
        return Err(Failure::new(what, hint).into());
    }
    let named = args.unit.as_deref();
    let units: Vec<&Explained> = all.iter().filter(|one| one.is_named(named)).collect();
    if let (Some(name), true) = (named, units.is_empty()) {
        let hint = "name a package or a crate; without a name all units are explained";
        return Err(Failure::new(format!("no unit is named {name}"), hint).into());
    }
    if args.json {
        let units: Vec<_> = units.iter().map(|one| one.as_json()).collect();
        print_json(&json!({ "started": started.map(|one| one.commit), "units": units }));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(started) = &started {
        let from = short(&started.commit);
        print_line(&format!("started {} from {from}", age(started.unix_s, now)));
    }
    let whole = named.is_some() || args.all;
    units
        .iter()
        .filter(|one| whole || !one.is_fresh())
        .for_each(|one| one.print());
    let fresh = units.iter().filter(|one| one.is_fresh()).count();
    if !whole && fresh > 0 {
        print_line(&format!(
            "{} fresh, and not compiled since; --all names them",
            count(fresh, "unit")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Joins what the last start decided with the compiles since, units that were compiled last.
fn explained(started: Option<&Started>, notes: Vec<(String, Note)>) -> Vec<Explained> {
    let since_ms = started.map_or(0, |started| {
        u64::try_from(started.unix_s).unwrap_or(0) * 1000
    });
    let mut notes: HashMap<String, Note> = notes
        .into_iter()
        .filter(|(_, note)| note.started_unix_ms >= since_ms)
        .map(|(key, note)| (unit_hash(&key).to_owned(), note))
        .collect();
    let mut all: Vec<Explained> = Vec::new();
    for decision in started.into_iter().flat_map(|started| &started.decisions) {
        let note = notes.remove(decision.note_hash());
        all.push(Explained {
            decision: Some(decision.clone()),
            note,
        });
    }
    all.extend(notes.into_values().map(|note| Explained {
        decision: None,
        note: Some(note),
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

    fn is_named(&self, name: Option<&str>) -> bool {
        let Some(name) = name else {
            return true;
        };
        let normal = |text: &str| text.replace('-', "_");
        let of_package = |one: &Decision| one.package.split(' ').next().map(normal);
        let package = self.decision.as_ref().and_then(of_package);
        let crate_name = self
            .note
            .as_ref()
            .map(|note| note.compiled.crate_name.clone());
        let unit = self
            .decision
            .as_ref()
            .is_some_and(|one| one.unit.contains(name));
        unit || [package, crate_name].contains(&Some(normal(name)))
    }

    fn name(&self) -> String {
        match (&self.decision, &self.note) {
            (Some(decision), _) => format!("{} ({})", decision.package, decision.kind),
            (None, Some(note)) => note.compiled.crate_name.clone(),
            (None, None) => String::new(),
        }
    }

    fn print(&self) {
        print_line(&self.name());
        if let Some(decision) = &self.decision {
            print_line(&format!(
                "  start: {}, {}",
                decision.verdict, decision.reason.text
            ));
        }
        match &self.note {
            Some(note) => print_line(&format!(
                "  rustc: {:.2} s, {}",
                note.compiled.elapsed_ms as f64 / 1000.0,
                note.began
            )),
            None if self.is_fresh() => {}
            None => print_line("  rustc: not run through headstart since"),
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

fn note_as_json(note: &Note) -> serde_json::Value {
    let (reused, total) = match &note.began {
        Began::Seeded { reused, total, .. } => (Some(reused), Some(total)),
        _ => (None, None),
    };
    json!({
        "crate": note.compiled.crate_name,
        "seconds": note.compiled.elapsed_ms as f64 / 1000.0,
        "reason": { "code": note.began.code(), "text": note.began.to_string() },
        "work_products_reused": reused,
        "work_products": total,
    })
}
