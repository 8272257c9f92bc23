//! cargo's own freshness record of one unit, and the hash that cargo makes of it.
//!
//! The field order, the variant order and the types below are cargo's; the hash depends on all three.
//! Source: cargo: core/compiler/fingerprint/mod.rs @ 1.95. Whether they still hold is never assumed: a
//! fingerprint is believed only once [`Fingerprint::hash`] has reproduced the hash that cargo recorded.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use rustc_stable_hash::StableSipHasher128;
use serde::{Deserialize, Serialize};

/// What `<kind>-<name>.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Hash of `rustc -vV`.
    pub rustc: u64,
    /// Enabled features, as Rust debug text.
    pub features: String,
    /// Features that the manifest declares, as Rust debug text.
    pub declared_features: String,
    /// Hash of the cargo target (name, kind, edition, ...).
    pub target: u64,
    /// Hash of profile, mode, extra arguments, LTO and lints.
    pub profile: u64,
    /// [`path_hash`] of the main source: relative for members, absolute for all else.
    pub path: u64,
    /// The units it depends on.
    pub deps: Vec<Dep>,
    /// What cargo compares on the file system and in the environment.
    pub local: Vec<Local>,
    /// RUSTFLAGS.
    pub rustflags: Vec<String>,
    /// Hash of settings from cargo's configuration.
    pub config: u64,
    /// Hash of a target specification file.
    pub compile_kind: u64,
}

/// One edge to a unit: hash of its package, the extern name, public or not, the unit's own hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dep(pub u64, pub String, pub bool, pub u64);

/// One thing that cargo compares on the reader's machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Local {
    /// A version, a git revision, or for path packages `<newest mtime> (<file>)`.
    Precalculated(String),
    /// The files listed in `dep_info` must not be newer than it.
    CheckDepInfo {
        /// Path of cargo's dep-info, relative to the build directory.
        dep_info: PathBuf,
        /// Whether content is compared instead of mtimes (`-Zchecksum-freshness`).
        checksum: bool,
    },
    /// What a build script declared must not be newer than its `output`.
    RerunIfChanged {
        /// Path of the recorded output, relative to the build directory.
        output: PathBuf,
        /// Declared paths, relative to the package or absolute.
        paths: Vec<PathBuf>,
    },
    /// A variable that a build script declared.
    RerunIfEnvChanged {
        /// Its name.
        var: String,
        /// Its value, if it was set.
        val: Option<String>,
    },
}

impl Fingerprint {
    /// Returns the variables that a build script declared, with their values.
    pub fn declared_variables(&self) -> impl Iterator<Item = (&String, &Option<String>)> {
        self.local.iter().filter_map(|local| match local {
            Local::RerunIfEnvChanged { var, val } => Some((var, val)),
            _ => None,
        })
    }

    /// Returns the hash that cargo computes for this fingerprint.
    pub fn hash(&self) -> u64 {
        let mut hasher = StableSipHasher128::new();
        (
            self.rustc,
            &self.features,
            &self.declared_features,
            self.target,
            self.path,
            self.profile,
            self.local.as_slice(),
            self.config,
            self.compile_kind,
            &self.rustflags,
            self.deps.as_slice(),
        )
            .hash(&mut hasher);
        Hasher::finish(&hasher)
    }

    /// Returns the text of the `<kind>-<name>` file for the hash `hash`.
    pub fn hash_text(hash: u64) -> String {
        format!("{:016x}", hash.swap_bytes())
    }
}

/// Returns cargo's hash of the path of a main source.
pub fn path_hash(path: &Path) -> u64 {
    let mut hasher = StableSipHasher128::new();
    path.hash(&mut hasher);
    Hasher::finish(&hasher)
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, path_hash};
    use std::path::Path;

    /// Written by cargo 1.95 for a package of one library and a build script.
    const RECORDED: &str = r#"{"rustc":7458672600737419911,"features":"[]","declared_features":"[]","target":12149142142760931766,"profile":8731458305071235362,"path":10763286916239946207,"deps":[[5037372466785579007,"itoa",false,17916204839278617707],[8993381489712057235,"build_script_build",false,13054620069061416713]],"local":[{"CheckDepInfo":{"dep_info":"debug/.fingerprint/foo-aec2fe8119a5dbf8/dep-lib-foo","checksum":false}}],"rustflags":[],"config":8247474407144887393,"compile_kind":0}"#;

    /// A hash that differs from cargo's in one bit makes every moved unit dirty.
    #[test]
    fn reproduces_what_cargo_recorded() {
        let fingerprint: Fingerprint = serde_json::from_str(RECORDED).unwrap();
        assert_eq!(
            Fingerprint::hash_text(fingerprint.hash()),
            "6795c57088b2c2f7"
        );
        assert_eq!(fingerprint.path, path_hash(Path::new("src/lib.rs")));
    }

    /// A field that we do not know may be part of a newer cargo's hash.
    #[test]
    fn an_unknown_field_is_refused() {
        let newer = RECORDED.replace("\"compile_kind\":0", "\"compile_kind\":0,\"novel\":1");
        assert!(serde_json::from_str::<Fingerprint>(&newer).is_err());
    }
}
