//! A published chain of four crates, and clones of it: what most tests of trouble begin with.
//!
//! Its program `c3` prints 3 at the published commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use headstart::model::{Digest, Manifest, Unit};
use headstart::store::format;
use headstart::store::point::Point;
use headstart_testkit::{Build, Output, Workspace, fixture, headstart};

use super::around::output;
use super::{PROGRAM, Place, publish, runner};

/// The chain where it is written and published from.
pub struct Chain {
    pub place: Place,
    pub source: Workspace,
}

impl Chain {
    pub fn unpublished() -> Chain {
        Chain {
            place: Place::new(),
            source: fixture::chain(4),
        }
    }

    pub fn published() -> Chain {
        let chain = Chain::unpublished();
        publish(&chain.source, &chain.place, &["build"]);
        chain
    }

    /// Clones the source to another path.
    pub fn elsewhere(&self, name: &str) -> Workspace {
        self.source.clone_to(&self.place.scratch.path(name))
    }

    /// Returns `headstart` with `args` in `dir`, with this store, not started.
    pub fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = runner(dir, &self.place).args(args).command();
        // The runner's empty home goes with the runner.
        command.env("HOME", self.place.scratch.root());
        command
    }

    /// Runs `headstart` with `args` in `dir`; it may fail, and never panics.
    pub fn run(&self, dir: &Path, args: &[&str]) -> Output {
        sane(output(&mut self.command(dir, args)))
    }

    /// Runs `headstart start --json` in `dir`.
    pub fn start(&self, dir: &Path) -> Output {
        self.run(dir, &["start", "--json"])
    }

    /// Publishes once more, which must succeed.
    pub fn publish_again(&self) {
        self.run(self.source.root(), &["publish"]).succeeded();
    }

    /// Starts in a further clone, where everything must be fresh and the program right.
    pub fn serves(&self) {
        let clone = self.elsewhere("served");
        self.start(clone.root()).succeeded();
        builds_right(&clone).nothing_ran();
        fs::remove_dir_all(clone.root()).expect("the clone can be removed");
    }

    /// Returns the file of the only point.
    pub fn point_file(&self) -> PathBuf {
        let mut path = self.place.store().join("points");
        while path.is_dir() {
            path = only_entry(&path);
        }
        path
    }

    pub fn point(&self) -> Point {
        Point::decode(&read(&self.point_file())).expect("the point is whole")
    }

    /// Returns the file of the published manifest.
    pub fn manifest_file(&self) -> PathBuf {
        let manifests = self.place.store().join("manifests");
        manifests.join(self.point().manifest.hex())
    }

    pub fn manifest(&self) -> Manifest {
        format::decode(&read(&self.manifest_file())).expect("the manifest is whole")
    }

    /// Has the only point name a manifest of these bytes, as somebody who may write into the store could.
    pub fn plant(&self, bytes: &[u8]) {
        let digest = Digest::of(bytes);
        let manifests = self.place.store().join("manifests");
        write(&manifests.join(digest.hex()), bytes);
        let mut point = self.point();
        point.manifest = digest;
        write(&self.point_file(), &point.encode());
    }

    /// Has the only point name `manifest`, changed, in the right format and under the right name.
    pub fn tamper(&self, mut manifest: Manifest, change: impl FnOnce(&mut Manifest)) {
        change(&mut manifest);
        self.plant(&format::encode(&manifest));
    }

    /// Returns the object that holds the file of `package` whose name ends with `suffix`, or the end of it.
    pub fn object(&self, package: &str, suffix: &str) -> PathBuf {
        let manifest = self.manifest();
        let unit = unit_of(&manifest, package);
        let named = unit
            .files
            .iter()
            .filter(|file| file.path.ends_with(suffix.as_bytes()));
        let object = named.flat_map(|file| file.content.objects()).last();
        let hex = object.expect("the unit has such a file").0.hex();
        self.place.store().join("objects").join(&hex[..2]).join(hex)
    }
}

/// Returns `command` such that what it cannot do is an error; without, a publish only says so, and cargo builds.
pub fn strictly(command: &str) -> Vec<&str> {
    match command {
        "publish" => vec![command, "--required"],
        command => vec![command],
    }
}

/// Runs `headstart explain` with `args` in `dir`; it may fail, and never panics.
pub fn explain(dir: &Path, args: &[&str]) -> Output {
    let args = [&["explain"], args].concat();
    sane(headstart(Path::new(PROGRAM), dir).args(args).run())
}

/// Returns the unit of `package`.
pub fn unit_of<'a>(manifest: &'a Manifest, package: &str) -> &'a Unit {
    let of = |unit: &&Unit| manifest.package(unit).name == package;
    manifest.units.iter().find(of).expect("it was published")
}

/// cargo builds in `clone`, the program prints what the sources say, and no source was touched.
#[track_caller]
pub fn builds_right(clone: &Workspace) -> Build {
    prints(clone, "3")
}

/// The same for sources with which the program prints `expected`.
#[track_caller]
pub fn prints(clone: &Workspace, expected: &str) -> Build {
    let build = clone.cargo().build(&[]);
    assert_eq!(clone.program("c3"), expected, "{}", build.stderr);
    build
}

/// Asserts that `output` is an error that says `what`, and what to do about it.
#[track_caller]
pub fn refused(output: &Output, what: &str) {
    let Output { code, stderr, .. } = output;
    assert_eq!(*code, 1, "{stderr}");
    for part in ["error: ", what, "\nhint: "] {
        assert!(stderr.contains(part), "no {part:?} in:\n{stderr}");
    }
}

/// Asserts that a start found nothing to start from, said `what`, and leaves the build to cargo.
#[track_caller]
pub fn found_nothing(output: &Output, what: &str) {
    let Output {
        code,
        stdout,
        stderr,
    } = output;
    assert_eq!(*code, 0, "{stderr}");
    let said = format!("{stdout}{stderr}");
    assert!(said.contains(what), "no {what:?} in:\n{said}");
    assert_eq!(output.json()["commit"], serde_json::Value::Null, "{said}");
}

/// Asserts that nothing in `output` looks like a crash.
#[track_caller]
pub fn sane(output: Output) -> Output {
    let crashed = output.stderr.contains("panicked") || output.code > 128;
    assert!(!crashed, "{}: {}", output.code, output.stderr);
    output
}

pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Replaces the file at `path`, read-only or not.
pub fn write(path: &Path, bytes: &[u8]) {
    drop(fs::remove_file(path));
    fs::write(path, bytes)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Flips one bit in the middle of the file at `path`.
pub fn flip(path: &Path) {
    let mut bytes = read(path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(path, &bytes);
}

/// Cuts the file at `path` to half its length.
pub fn cut(path: &Path) {
    let bytes = read(path);
    write(path, &bytes[..bytes.len() / 2]);
}

fn only_entry(dir: &Path) -> PathBuf {
    let mut entries = fs::read_dir(dir).expect("the directory is there");
    let first = entries.next().expect("it is not empty");
    assert!(entries.next().is_none(), "{} holds more", dir.display());
    first.expect("it can be listed").path()
}
