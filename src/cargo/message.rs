//! cargo's JSON messages: which units are live.

use std::path::PathBuf;

use serde::Deserialize;

/// A unit that cargo named in its report.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "reason")]
pub enum Live {
    /// A compiled one.
    #[serde(rename = "compiler-artifact")]
    Artifact(Artifact),
    /// The run of a build script.
    #[serde(rename = "build-script-executed")]
    Script {
        /// cargo's id of the package.
        package_id: String,
        /// Its `OUT_DIR`.
        out_dir: PathBuf,
    },
}

/// A `compiler-artifact` message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Artifact {
    /// cargo's id of the package.
    pub package_id: String,
    /// Path of its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// The cargo target.
    pub target: CargoTarget,
    /// The profile, as far as it tells units apart.
    pub profile: Profile,
    /// Final paths of the outputs.
    pub filenames: Vec<PathBuf>,
    /// The one of them that can be run.
    pub executable: Option<PathBuf>,
}

/// A cargo target in a message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CargoTarget {
    /// `lib`, `bin`, `proc-macro`, `custom-build`, ...
    pub kind: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its main source.
    pub src_path: PathBuf,
}

/// A profile in a message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// Whether it is built as a test.
    pub test: bool,
}

impl Artifact {
    /// Returns the name of the fingerprint's files: `lib-serde`, `test-bin-x`.
    ///
    /// Source: cargo: compilation_files.rs, `fingerprint_file_path` @ 1.95.
    pub fn stem(&self) -> String {
        let kind = match self.target.kind.first().map(String::as_str) {
            Some(kind @ ("bin" | "example" | "bench")) => kind,
            Some("test") => "integration-test",
            Some("custom-build") => "build-script",
            _ => "lib",
        };
        let flavour = if self.profile.test { "test-" } else { "" };
        format!("{flavour}{kind}-{}", self.target.name)
    }

    /// Returns the name of the crate.
    pub fn crate_name(&self) -> String {
        self.target.name.replace('-', "_")
    }
}

/// Returns the live units that `lines` name; other messages are passed over.
pub fn live(lines: &[String]) -> Vec<Live> {
    let live = |line: &String| serde_json::from_str(line).ok();
    lines.iter().filter_map(live).collect()
}

/// The name and version in cargo's id of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PackageId {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether its source is a directory.
    pub is_path: bool,
}

impl PackageId {
    /// Returns what `id` says: `path+file:///w#name@1.0.0`, `registry+https://...#name@1.0.0`,
    /// `path+file:///w/name#1.0.0`.
    ///
    /// Source: cargo: the package id specification.
    pub fn parse(id: &str) -> Option<PackageId> {
        let (url, fragment) = id.rsplit_once('#')?;
        let (name, version) = fragment.rsplit_once('@').unwrap_or_else(|| {
            let dir = url.split('?').next().unwrap_or(url);
            let name = dir.trim_end_matches('/').rsplit('/').next();
            (name.unwrap_or_default(), fragment)
        });
        Some(PackageId {
            name: name.to_owned(),
            version: version.to_owned(),
            is_path: url.starts_with("path+"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Live, PackageId, live};

    /// A live unit that is not recognised is left out of the starting point.
    #[test]
    fn reads_artifacts_and_scripts() {
        let lines = [
            r#"{"reason":"compiler-artifact","package_id":"path+file:///w#a@0.1.0","manifest_path":"/w/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"my-app","src_path":"/w/src/main.rs","edition":"2024","doc":true,"doctest":false,"test":true},"profile":{"opt_level":"0","debuginfo":2,"debug_assertions":true,"overflow_checks":true,"test":true},"features":[],"filenames":["/w/target/debug/deps/my_app-0123456789abcdef"],"executable":null,"fresh":true}"#,
            r#"{"reason":"build-script-executed","package_id":"p","linked_libs":[],"linked_paths":[],"cfgs":[],"env":[],"out_dir":"/w/target/debug/build/a-00/out"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ]
        .map(str::to_owned);
        let found = live(&lines);
        assert_eq!(found.len(), 2);
        assert!(
            matches!(&found[0], Live::Artifact(artifact) if artifact.stem() == "test-bin-my-app")
        );
    }

    /// Two packages of one name must not be taken for each other.
    #[test]
    fn ids_give_name_and_version() {
        let id = PackageId::parse("registry+https://example/index#serde_core@1.0.2").unwrap();
        assert_eq!(
            (id.name.as_str(), id.version.as_str(), id.is_path),
            ("serde_core", "1.0.2", false)
        );
        let id = PackageId::parse("path+file:///w/crates/util#0.1.0").unwrap();
        assert_eq!((id.name.as_str(), id.is_path), ("util", true));
    }
}
