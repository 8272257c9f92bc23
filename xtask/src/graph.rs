//! Who depends on whom among the units of a build directory, read from cargo's fingerprints (facts 1.2, 1.3).
//!
//! A unit's fingerprint names its dependencies by the hashes of theirs, so no guess by names is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::rebuilt::{Rebuilt, split_hash};

/// `debug/.fingerprint`, `<triple>/debug/.fingerprint`: nothing lies deeper.
const DEPTH: usize = 3;

/// One fingerprint.
#[derive(Debug)]
struct Node {
    /// E.g. `debug/.fingerprint/foo-abc/lib-foo`, as headstart's decisions name a unit.
    unit: String,
    hash: Option<u64>,
    dependencies: Vec<u64>,
}

/// The fingerprints of one build directory.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
}

/// The part of a fingerprint's `.json` that is read here: package, name, public, hash.
#[derive(Deserialize)]
struct Fingerprint {
    deps: Vec<(u64, String, bool, u64)>,
}

impl Graph {
    /// Reads every fingerprint below `build_directory`; those that cannot be understood have no dependencies.
    pub(crate) fn read(build_directory: &Path) -> Result<Graph> {
        let mut graph = Graph::default();
        for directory in fingerprint_directories(build_directory, DEPTH)? {
            for package in entries(&directory)? {
                for json in entries(&package)?
                    .iter()
                    .filter(|path| path.extension().is_some_and(|it| it == "json"))
                {
                    graph.nodes.push(node(build_directory, json)?);
                }
            }
        }
        Ok(graph)
    }

    /// Returns the unit, among `causes` (unit → why), that `rebuilt` is or depends on; None if there is none.
    pub(crate) fn cause<'a>(
        &self,
        rebuilt: &Rebuilt,
        causes: &'a BTreeMap<String, String>,
    ) -> Option<(&'a String, &'a String)> {
        let mut waiting = self.of(rebuilt);
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        while let Some(node) = waiting.pop() {
            if let Some(cause) = causes.get_key_value(&node.unit) {
                return Some(cause);
            }
            if seen.insert(&node.unit) {
                let needed = |other: &&Node| {
                    other
                        .hash
                        .is_some_and(|hash| node.dependencies.contains(&hash))
                };
                waiting.extend(self.nodes.iter().filter(needed));
            }
        }
        None
    }

    /// Returns the units that `rebuilt` may be: one, or several where it has no hash in common with its directory.
    pub(crate) fn units(&self, rebuilt: &Rebuilt) -> Vec<&str> {
        self.of(rebuilt)
            .iter()
            .map(|node| node.unit.as_str())
            .collect()
    }

    fn of(&self, rebuilt: &Rebuilt) -> Vec<&Node> {
        match rebuilt {
            Rebuilt::Rustc {
                crate_name,
                test,
                hash,
                ..
            } => {
                let named: Vec<&Node> = self
                    .nodes
                    .iter()
                    .filter(|node| node.is_compile_of(crate_name))
                    .collect();
                let has_hash = |node: &&&Node| split_hash(node.directory()).1 == hash;
                let exact: Vec<&Node> = named.iter().filter(has_hash).copied().collect();
                let alike = |node: &&Node| node.file().starts_with("test-") == *test;
                if exact.is_empty() {
                    named.into_iter().filter(alike).collect()
                } else {
                    exact
                }
            }
            Rebuilt::Script { directory } => {
                let compiled: Vec<u64> = self
                    .nodes
                    .iter()
                    .filter(|node| node.directory() == directory)
                    .filter_map(|node| node.hash)
                    .collect();
                let runs = |node: &&Node| node.file().starts_with("run-build-script-");
                let needs =
                    |node: &&Node| node.dependencies.iter().any(|hash| compiled.contains(hash));
                self.nodes.iter().filter(runs).filter(needs).collect()
            }
        }
    }
}

impl Node {
    fn directory(&self) -> &str {
        self.unit.rsplit('/').nth(1).unwrap_or_default()
    }

    fn file(&self) -> &str {
        self.unit.rsplit('/').next().unwrap_or_default()
    }

    /// cargo names the file `[test-|run-|doc-]<kind>-<target>`, e.g. `test-integration-test-it`.
    fn is_compile_of(&self, crate_name: &str) -> bool {
        let file = self.file().replace('-', "_");
        let file = file.strip_prefix("test_").unwrap_or(&file);
        let kinds = [
            "lib_",
            "bin_",
            "integration_test_",
            "example_",
            "bench_",
            "build_script_",
        ];
        kinds
            .iter()
            .any(|kind| file.strip_prefix(kind) == Some(crate_name))
    }
}

fn node(build_directory: &Path, json: &Path) -> Result<Node> {
    let text = fs::read(json).with_context(|| format!("cannot read {}", json.display()))?;
    let fingerprint: Option<Fingerprint> = serde_json::from_slice(&text).ok();
    let hash = fs::read_to_string(json.with_extension(""))
        .ok()
        .and_then(|hex| parse_hash(&hex));
    let unit = json.with_extension("");
    let unit = unit
        .strip_prefix(build_directory)?
        .to_string_lossy()
        .replace('\\', "/");
    let dependencies = fingerprint.map_or(Vec::new(), |it| {
        it.deps.iter().map(|dependency| dependency.3).collect()
    });
    Ok(Node {
        unit,
        hash,
        dependencies,
    })
}

/// cargo: util/hasher.rs writes the hash's bytes in little-endian order.
fn parse_hash(hex: &str) -> Option<u64> {
    u64::from_str_radix(hex.trim(), 16)
        .ok()
        .map(u64::swap_bytes)
}

fn fingerprint_directories(directory: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(directory)? {
        match path.file_name().and_then(|name| name.to_str()) {
            Some(".fingerprint") => found.push(path),
            Some("deps" | "build" | "incremental") => {}
            _ if depth > 1 => found.extend(fingerprint_directories(&path, depth - 1)?),
            _ => {}
        }
    }
    Ok(found)
}

/// Returns what a directory holds; a file and a missing directory hold nothing.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let listed =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    listed.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Graph, Node, parse_hash};
    use crate::rebuilt::Rebuilt;

    /// A dependant of a pinned unit that is not known as one would fail every walk.
    #[test]
    fn finds_the_cause_through_a_build_script() {
        let node = |unit: &str, hash, dependencies: &[u64]| Node {
            unit: format!("debug/.fingerprint/{unit}"),
            hash: Some(hash),
            dependencies: dependencies.to_vec(),
        };
        let graph = Graph {
            nodes: vec![
                node("a-00/build-script-build-script-build", 1, &[]),
                node("a-11/run-build-script-build-script-build", 2, &[1]),
                node("a-22/lib-a", 3, &[2]),
                node("my-app-33/test-bin-my-app", 4, &[3]),
            ],
        };
        let pinned = BTreeMap::from([(
            "debug/.fingerprint/a-11/run-build-script-build-script-build".to_owned(),
            "why".to_owned(),
        )]);
        let app = |hash: &str| Rebuilt::Rustc {
            crate_name: "my_app".into(),
            crate_types: vec![],
            test: true,
            hash: hash.into(),
        };
        assert!(graph.cause(&app("33"), &pinned).is_some());
        assert!(
            graph
                .cause(&app("unknown: a cdylib has none"), &pinned)
                .is_some()
        );
        assert!(
            graph
                .cause(
                    &Rebuilt::Script {
                        directory: "a-00".into()
                    },
                    &pinned
                )
                .is_some()
        );
        assert!(graph.cause(&app("33"), &BTreeMap::new()).is_none());
        assert_eq!(parse_hash("5415fb2612b491ec"), Some(0xec91b41226fb1554));
    }
}
