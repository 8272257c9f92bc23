//! Compares what cargo rebuilt after a start with what it rebuilt in the warm directory.
//!
//! Pure: the sets, the fingerprints and headstart's decisions come in, the differences go out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::build::Build;
use crate::graph::Graph;
use crate::headstart::{Decision, Started};
use crate::rebuilt::{Rebuilt, split_hash};

/// headstart's code for a unit that holds the builder's path.
const PINNED: &str = "pinned";

/// One unit that only one of two builds rebuilt.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    pub(crate) unit: String,
    pub(crate) side: Side,
    /// The pinned unit that it is or depends on; None means that nothing explains the difference.
    pub(crate) explained: Option<String>,
    /// headstart's decision on the unit, with its reason.
    pub(crate) decision: Option<String>,
    /// cargo's reason for rebuilding its package.
    pub(crate) cargo_says: Option<String>,
}

/// Which build rebuilt it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// The reader alone: time lost.
    Reader,
    /// The expected build alone: the reader may hold something stale.
    Expected,
}

/// Returns every unit that `reader` and `expected` do not share, in no particular order.
///
/// `graph` is the reader's after its build. A pair that differs in the hash alone counts as shared: the hash of a
/// path dependency outside the workspace holds the clone's path (facts 1.4).
pub(crate) fn compare(
    expected: &Build,
    reader: &Build,
    started: &Started,
    graph: &Graph,
) -> Vec<Difference> {
    let mut expected_only: Vec<&Rebuilt> = expected.rebuilt.difference(&reader.rebuilt).collect();
    let mut reader_only: Vec<&Rebuilt> = Vec::new();
    for unit in reader.rebuilt.difference(&expected.rebuilt) {
        match expected_only
            .iter()
            .position(|other| other.loosely() == unit.loosely())
        {
            Some(pair) => drop(expected_only.swap_remove(pair)),
            None => reader_only.push(unit),
        }
    }
    let pinned = started
        .decisions
        .iter()
        .filter(|decision| decision.reason.code == PINNED);
    let pinned: BTreeMap<String, String> = pinned
        .map(|it| (it.unit.clone(), it.reason.text.clone()))
        .collect();
    let judge = |unit: &Rebuilt, side: Side| {
        let (build, cause) = match side {
            Side::Reader => (reader, graph.cause(unit, &pinned)),
            Side::Expected => (expected, None),
        };
        Difference {
            unit: unit.to_string(),
            side,
            explained: cause.map(|(unit, why)| format!("{unit}: {why}")),
            decision: decision(unit, started, graph),
            cargo_says: cargo_says(unit, build, graph),
        }
    };
    let reader_only = reader_only
        .into_iter()
        .map(|unit| judge(unit, Side::Reader));
    reader_only
        .chain(
            expected_only
                .into_iter()
                .map(|unit| judge(unit, Side::Expected)),
        )
        .collect()
}

fn decision(unit: &Rebuilt, started: &Started, graph: &Graph) -> Option<String> {
    let names = graph.units(unit);
    let text = |it: &Decision| {
        format!(
            "{} {}: {} ({})",
            it.unit, it.verdict, it.reason.code, it.reason.text
        )
    };
    let found: Vec<String> = started
        .decisions
        .iter()
        .filter(|it| names.contains(&it.unit.as_str()))
        .map(text)
        .collect();
    (!found.is_empty()).then(|| found.join("; "))
}

/// rustc's line does not name the package, but the fingerprint's directory does: `<package>-<hash>`.
fn cargo_says(unit: &Rebuilt, build: &Build, graph: &Graph) -> Option<String> {
    let mut directories = graph
        .units(unit)
        .into_iter()
        .filter_map(|unit| unit.rsplit('/').nth(1));
    directories.find_map(|directory| build.dirty.get(split_hash(directory).0).cloned())
}

#[cfg(test)]
mod tests {
    use super::{Side, compare};
    use crate::build::Build;
    use crate::graph::Graph;
    use crate::headstart::Started;
    use crate::rebuilt::Rebuilt;

    fn build(units: &[(&str, &str)]) -> Build {
        let unit = |(name, hash): &(&str, &str)| Rebuilt::Rustc {
            crate_name: (*name).to_owned(),
            crate_types: vec!["lib".to_owned()],
            test: false,
            hash: (*hash).to_owned(),
        };
        Build {
            rebuilt: units.iter().map(unit).collect(),
            ..Build::default()
        }
    }

    /// A difference that is lost here would let stale code pass the walk.
    #[test]
    fn finds_both_kinds_of_difference() -> anyhow::Result<()> {
        let started: Started = serde_json::from_str(r#"{"commit":"c"}"#)?;
        let expected = build(&[("same", "1"), ("moved", "2"), ("stale", "3")]);
        let reader = build(&[("same", "1"), ("moved", "4"), ("slow", "5")]);
        let differences = compare(&expected, &reader, &started, &Graph::default());
        let found: Vec<(&str, Side)> = differences
            .iter()
            .map(|it| (it.unit.as_str(), it.side))
            .collect();
        assert_eq!(
            found,
            [
                ("rustc slow (lib) 5", Side::Reader),
                ("rustc stale (lib) 3", Side::Expected)
            ]
        );
        assert!(differences.iter().all(|it| it.explained.is_none()));
        Ok(())
    }
}
