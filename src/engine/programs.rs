//! The programs and tests of a starting point, placed to be run: without the units that they were made by.
//!
//! Knows nothing of freshness: at its own commit an executable is what was built, and cargo takes none of this for a unit.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::disk::place::MODE_EXECUTABLE;
use crate::disk::{self, Finish, Staging};
use crate::model::unit::kind_and_name;
use crate::model::{Content, Digest, Manifest, Source, Unit, UnitName, bytes_path};
use crate::store::{ObjectError, Store};
use crate::trust::Verified;

/// How a program is placed: as if it had been built just now.
const PROGRAM: Finish = Finish::with_mode(MODE_EXECUTABLE);

/// A program, test or library that can be run or loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// The variables that lead to it; none for a library.
    pub variables: Vec<String>,
    /// Whether it holds a path of where it was built.
    pub pinned: bool,
    /// The commands that made it; empty where it was made just now.
    pub by: String,
}

/// Returns the variables that lead to what a unit `stem` of `package` made: `HEADSTART_BIN_rg` and cargo's own for a program,
/// `HEADSTART_EXAMPLE_walk`, `HEADSTART_TEST_ripgrep_test_integration`. What no shell takes in a name is `_`.
pub fn variables(package: &str, stem: &str) -> Vec<String> {
    let (kind, name) = kind_and_name(stem);
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    match kind {
        "bin" => vec![
            format!("HEADSTART_BIN_{}", plain(name)),
            format!("CARGO_BIN_EXE_{name}"),
        ],
        "example" => vec![format!("HEADSTART_EXAMPLE_{}", plain(name))],
        "lib" => Vec::new(),
        test => {
            let kind = test.strip_prefix("test-").unwrap_or(test);
            let kind = kind.strip_prefix("integration-").unwrap_or(kind);
            let whole = format!("{package}_{kind}_{name}");
            vec![format!("HEADSTART_TEST_{}", plain(&whole))]
        }
    }
}

/// Programs of one starting point: all, or those of some names.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The starting point.
    pub manifest: &'a Verified<Manifest>,
    /// The names of programs and tests; none for all.
    pub only: &'a [String],
}

impl Wanted<'_> {
    /// Returns the objects of the programs.
    pub fn objects(&self) -> impl Iterator<Item = Digest> + '_ {
        self.all().map(|(_, _, object)| object)
    }

    /// Places the programs in `target` where cargo has them, each object checked, and returns them.
    pub fn place(
        &self,
        target: &Path,
        store: &Store,
        staging: &Staging,
    ) -> Result<Vec<Program>, ObjectError> {
        let manifest = self.manifest.get();
        let place = |(unit, file, object): (&Unit, &Path, Digest)| {
            let path = target.join(place_of(&unit.name, file));
            let made = path.parent().map_or(Ok(()), disk::make_dir);
            made.map_err(ObjectError::Disk)?;
            store.get(object, staging, &path, PROGRAM)?;
            Ok(Program {
                path,
                variables: variables(&manifest.package(unit).name, &unit.name.stem),
                pinned: !unit.pinned.is_empty(),
                by: made_by(manifest),
            })
        };
        let all: Vec<_> = self.all().collect();
        all.into_par_iter().map(place).collect()
    }

    /// Returns the variables of the programs, each with the commands that made it.
    pub fn named(&self) -> impl Iterator<Item = (String, String)> {
        let manifest = self.manifest.get();
        self.all().flat_map(|(unit, ..)| {
            let names = variables(&manifest.package(unit).name, &unit.name.stem);
            names.into_iter().map(|name| (name, made_by(manifest)))
        })
    }

    /// Returns every executable file of a member, with its unit: of programs, tests, and libraries that are loaded.
    fn all(&self) -> impl Iterator<Item = (&Unit, &Path, Digest)> {
        let manifest = self.manifest.get();
        let own = manifest.units.iter().filter(|unit| {
            let (kind, name) = kind_and_name(&unit.name.stem);
            let script = ["build-script", "run-build-script"].contains(&kind);
            let asked = self.only.is_empty() || self.only.iter().any(|one| one == name);
            let named = kind == "lib" || asked;
            !script && named && manifest.package(unit).source == Source::Path
        });
        own.flat_map(|unit| {
            let executable = unit.files.iter().filter(|file| file.executable);
            executable.filter_map(move |file| match &file.content {
                Content::Object { digest, .. } => Some((unit, bytes_path(&file.path), *digest)),
                _ => None,
            })
        })
    }
}

/// Returns the commands by which the programs of `manifest` were made.
fn made_by(manifest: &Manifest) -> String {
    let commands = manifest.commands.iter().map(|args| args.join(" "));
    commands.collect::<Vec<_>>().join(" --then ")
}

/// Returns where cargo has `file` of `unit` at the end, below the target directory: programs without the hash.
fn place_of(unit: &UnitName, file: &Path) -> PathBuf {
    let profile = Path::new(&unit.profile_dir);
    match (kind_and_name(&unit.stem), file.file_name()) {
        (("bin", name), _) => profile.join(name),
        (("example", name), _) => profile.join("examples").join(name),
        (("lib", _), Some(name)) => profile.join(name),
        _ => file.to_path_buf(),
    }
}

/// Returns the directories of `programs` that have a plain name, each once, for `PATH`.
pub fn directories(programs: &[Program]) -> Vec<OsString> {
    let named = programs.iter().filter(|program| {
        let is_test = |name: &String| name.starts_with("HEADSTART_TEST_");
        !program.variables.iter().any(is_test)
    });
    let dirs = named.filter_map(|program| program.path.parent());
    let mut dirs: Vec<OsString> = dirs.map(|dir| dir.as_os_str().to_owned()).collect();
    dirs.sort_by_key(|dir| dir.len());
    dirs.dedup();
    dirs
}

#[cfg(test)]
mod tests {
    use super::variables;

    /// A script that names a program would find nothing, and every commit would look bad.
    #[test]
    fn programs_and_tests_have_names_that_shells_take() {
        let first = |package, stem| variables(package, stem).first().cloned();
        let bin = variables("ripgrep", "bin-rip-grep");
        assert_eq!(bin, ["HEADSTART_BIN_rip_grep", "CARGO_BIN_EXE_rip-grep"]);
        let cases = [
            ("example-walk", Some("HEADSTART_EXAMPLE_walk")),
            ("test-lib-a-b", Some("HEADSTART_TEST_a_b_lib_a_b")),
            ("test-bin-rg", Some("HEADSTART_TEST_a_b_bin_rg")),
            (
                "test-integration-test-it",
                Some("HEADSTART_TEST_a_b_test_it"),
            ),
            ("test-bench-speed", Some("HEADSTART_TEST_a_b_bench_speed")),
            ("bench-speed", Some("HEADSTART_TEST_a_b_bench_speed")),
            ("lib-a", None),
        ];
        for (stem, expected) in cases {
            assert_eq!(first("a-b", stem).as_deref(), expected, "{stem}");
        }
    }
}
