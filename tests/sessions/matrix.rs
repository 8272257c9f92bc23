//! {edits} × {places}: the same reuse as in a warm directory, the same programs, the same bytes as without a seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use headstart_testkit::{Headstart, Scratch, Workspace, cargo_home, fixture as kit};

use object::read::archive::ArchiveFile;

use crate::common::around::{skipped, succeeds};
use crate::common::chain::explain;
use crate::common::{Place, publish_by, runner};
use crate::fixture::{EDITS, Edit, LANE, with_lane, workspace};
use crate::nodes::{Red, red};
use crate::reuse::{Reuse, all_work_products, crate_dirs, entries, reuse};

const TARGET_DIR: &str = "CARGO_TARGET_DIR";
const TESTS: [&str; 3] = ["test", "--workspace", "--no-run"];

/// A machine to build on: what its headstart is told beside the store.
#[derive(Clone)]
struct Machine {
    name: &'static str,
    /// The directory of the profile that `cargo` builds with.
    profile: &'static str,
    cargo: &'static [&'static str],
    variables: Vec<(&'static str, PathBuf)>,
}

impl Machine {
    fn new(name: &'static str) -> Machine {
        Machine {
            name,
            profile: "debug",
            cargo: &TESTS,
            variables: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<PathBuf>) -> Machine {
        self.variables.push((name, value.into()));
        self
    }

    fn runner(&self, dir: &Path, place: &Place) -> Headstart {
        let plain = runner(dir, place);
        self.variables
            .iter()
            .fold(plain, |runner, (name, value)| runner.env(name, value))
    }

    /// Starts, and builds through the wrapper.
    #[track_caller]
    fn build(&self, clone: &Workspace, place: &Place, seeds: &str) {
        let start = [&["start", "--"], self.cargo].concat();
        let runner = self
            .runner(clone.root(), place)
            .env("HEADSTART_SEED", seeds);
        runner.args(start).run().succeeded();
    }

    /// Where this machine builds `clone`.
    fn target(&self, clone: &Workspace) -> PathBuf {
        let named = self.variables.iter().find(|(name, _)| *name == TARGET_DIR);
        named.map_or_else(|| clone.path("target"), |(_, dir)| dir.clone())
    }

    /// Where this machine puts what it makes of `clone`.
    fn outputs(&self, clone: &Workspace) -> PathBuf {
        self.target(clone).join(self.profile)
    }

    /// How many work products were reused in the last build of `clone`, by crate, as `headstart explain` says; of units that began
    /// from what `counts`.
    fn reused(&self, clone: &Workspace, counts: fn(&str) -> bool) -> BTreeMap<String, usize> {
        let target = self.target(clone).display().to_string();
        let asked = explain(clone.root(), &["--json", "--target-dir", &target]);
        let said = asked.succeeded().json();
        let mut reused = BTreeMap::new();
        for unit in said["units"].as_array().expect("explain lists units") {
            let compiled = &unit["compiled"];
            let code = compiled["reason"]["code"].as_str();
            if !code.is_some_and(counts) {
                continue;
            }
            let name = compiled["crate"].as_str().expect("a compile has a crate");
            let count = compiled["work_products_reused"].as_u64().unwrap_or(0);
            *reused.entry(name.to_owned()).or_default() +=
                usize::try_from(count).expect("it is small");
        }
        reused
    }
}

/// A published workspace, and a warm directory of it that walks through the edits.
struct Trial {
    place: Place,
    source: Workspace,
    warm: Workspace,
    builder: Machine,
    /// Whether its rustc writes dep-graphs that [`red`] can read.
    reads_nodes: bool,
}

/// What an edit leaves in the warm directory.
struct Expected {
    reuse: Reuse,
    /// What was reused of sessions that are copies, of what cargo called otherwise; by crate.
    inherited: BTreeMap<String, usize>,
    red: Red,
    says: Option<String>,
}

impl Trial {
    fn new(builder: Machine) -> Trial {
        Trial::published_by(&builder.clone(), builder)
    }

    /// The same where the publisher is another machine than the warm directory's.
    fn published_by(publisher: &Machine, builder: Machine) -> Trial {
        let source = match publisher.profile {
            LANE => with_lane(workspace()),
            _ => workspace(),
        };
        let place = Place::new();
        publish_by(publisher.runner(source.root(), &place), publisher.cargo);
        let warm = source.clone_to(&place.scratch.path("warm"));
        // A store of nobody's: the warm directory builds by itself, through the wrapper.
        let trial = Trial {
            place,
            source,
            warm,
            builder,
            reads_nodes: true,
        };
        trial.build_warm();
        let (target, built) = trial.warm_target();
        assert!(succeeds(Command::new("cp").arg("-a").args([target, built])));
        trial
    }

    /// The target directory of the warm directory, and a copy of it as it was first built.
    fn warm_target(&self) -> (PathBuf, PathBuf) {
        let built = self.place.scratch.path("built");
        (self.builder.target(&self.warm), built)
    }

    fn build_warm(&self) {
        let nobody = Place::new();
        self.builder.build(&self.warm, &nobody, "1");
    }

    fn expect(&self, edit: &Edit) -> Expected {
        let dir = self.builder.outputs(&self.warm);
        let before = all_work_products(&dir);
        edit.1(&self.warm);
        self.build_warm();
        let expected = Expected {
            reuse: reuse(&dir, &before),
            inherited: self.builder.reused(&self.warm, |code| code == "inherited"),
            red: match self.reads_nodes {
                true => red(&dir),
                false => Red::new(),
            },
            says: says(&self.warm, &dir),
        };
        self.warm.git(&["checkout", "--quiet", "."]);
        self.warm.git(&["clean", "--quiet", "-fd"]);
        // Else what the next edit compiles would begin from what this one left.
        let (target, built) = self.warm_target();
        fs::remove_dir_all(&target).expect("it is ours");
        assert!(succeeds(Command::new("cp").arg("-a").args([built, target])));
        self.build_warm();
        expected
    }

    /// Makes `edit` in a clone on `machine`, and requires there what is `expected`.
    #[track_caller]
    fn check(&self, machine: &Machine, edit: &Edit, expected: &Expected) -> Workspace {
        let name = format!("{}/{}/clone", machine.name, edit.0).replace(' ', "-");
        let clone = self.source.clone_to(&self.place.scratch.path(name));
        edit.1(&clone);
        machine.build(&clone, &self.place, "1");
        let here = machine.reused(&clone, |code| code != "not-incremental");
        let dir = machine.outputs(&clone);
        let there = expected.in_crates_of(&dir);
        assert!(
            !here.is_empty(),
            "{} on {}: nothing was compiled",
            edit.0,
            machine.name
        );
        assert_eq!(here, there, "{} on {}", edit.0, machine.name);
        if self.reads_nodes {
            let red_here = red(&dir);
            let seeded = here.values().any(|reused| *reused > 0);
            assert!(
                !(seeded && red_here.is_empty()),
                "{}: no session is left",
                edit.0
            );
            let in_warm = |name: &String| Some((name.clone(), *expected.red.get(name)?));
            let there: Red = red_here.keys().filter_map(in_warm).collect();
            assert_eq!(red_here, there, "{} on {}: red nodes", edit.0, machine.name);
        }
        let says = says(&clone, &dir);
        assert_eq!(says, expected.says, "{} on {}", edit.0, machine.name);
        clone
    }
}

impl Expected {
    /// How many work products were reused in the warm directory, by crate, of those that were compiled in `dir` too.
    fn in_crates_of(&self, dir: &Path) -> BTreeMap<String, usize> {
        let mut reused = BTreeMap::new();
        for (name, dir) in crate_dirs(dir) {
            let own = dir.file_name().expect("it has a name").to_string_lossy();
            let (crate_name, _) = own.rsplit_once('-').expect("rustc adds an id");
            let there = self.reuse.get(&name).map_or(0, |(reused, _)| *reused);
            *reused.entry(crate_name.to_owned()).or_default() += there;
        }
        for (crate_name, count) in &self.inherited {
            *reused.entry(crate_name.clone()).or_default() += count;
        }
        reused
    }
}

/// What the program prints, where it was built.
fn says(clone: &Workspace, dir: &Path) -> Option<String> {
    dir.join("app")
        .is_file()
        .then(|| clone.program_in(dir, "app"))
}

/// Every output of the last build in `dir`, by name; the members of an archive each for itself.
///
/// rustc gives the members of an rlib names with a word of chance in them, which is left out.
fn outputs(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut outputs = BTreeMap::new();
    let files = entries(&dir.join("deps")).into_iter();
    for path in files.filter(|path| path.extension().is_none_or(|it| it != "d") && path.is_file()) {
        let bytes = fs::read(&path).expect("it is there");
        let name = path.display().to_string();
        match ArchiveFile::parse(&*bytes) {
            Ok(archive) => outputs.extend(archive.members().map(|member| {
                let member = member.expect("rustc writes whole archives");
                let own = String::from_utf8_lossy(member.name()).into_owned();
                let words: Vec<&str> = own.split('.').collect();
                let known = words[..words.len().min(2)].join(".");
                let data = member.data(&*bytes).expect("rustc writes whole archives");
                (format!("{name}({known})"), data.to_vec())
            })),
            Err(_) => {
                outputs.insert(name, bytes);
            }
        }
    }
    outputs
}

/// Builds `clone` from nothing, and requires every byte that the seeds led to.
#[track_caller]
fn same_bytes_without_a_seed(machine: &Machine, clone: &Workspace, trial: &Trial, edit: &Edit) {
    let dir = machine.outputs(clone);
    let seeded = outputs(&dir);
    fs::remove_dir_all(clone.path("target")).expect("it is ours");
    machine.build(clone, &trial.place, "0");
    let differing = differing(&seeded, &outputs(&dir));
    assert_eq!(
        differing,
        Vec::<&String>::new(),
        "{}: other bytes than without a seed",
        edit.0
    );
}

/// A fresh clone would compile more than the warm directory does, or, worse, make something else of it.
#[test]
fn a_changed_crate_compiles_as_in_the_warm_directory() {
    let trial = Trial::new(Machine::new("builder"));
    let scratch = Scratch::new();
    let home = scratch.path("home");
    cargo_home(&home, kit::REGISTRY_CRATES);
    let elsewhere = Machine::new("other path");
    let mut machines = vec![Machine::new("other home").with("CARGO_HOME", home)];
    if let Some(sysroot) = other_sysroot(&scratch.path("moved")) {
        let rustc = sysroot.join("bin/rustc");
        machines.push(Machine::new("other sysroot").with("RUSTC", rustc));
    }
    if let Some(sysroot) = other_sysroot(&scratch.path("sources")) {
        add_sources(&sysroot);
        let rustc = sysroot.join("bin/rustc");
        machines.push(Machine::new("with sources").with("RUSTC", rustc));
    }
    for edit in &EDITS {
        let expected = trial.expect(edit);
        let clone = trial.check(&elsewhere, edit, &expected);
        same_bytes_without_a_seed(&elsewhere, &clone, &trial, edit);
        for machine in &machines {
            trial.check(machine, edit, &expected);
        }
    }
}

/// rustc hashes `--out-dir` as it is told, and a target directory outside the workspace has another path on every machine.
#[test]
fn the_target_directory_may_lie_outside_the_workspace() {
    let scratch = Scratch::new();
    let outside = |name| {
        let machine = Machine {
            name,
            ..Machine::new("builder")
        };
        machine.with(TARGET_DIR, scratch.path(name))
    };
    let inside = Machine::new("inside");
    let trial = Trial::new(inside.clone());
    let other = Trial::published_by(&outside("builder"), inside.clone());
    for (at, edit) in EDITS[..3].iter().enumerate() {
        let expected = trial.expect(edit);
        let reader = outside(["one", "two", "three"][at]);
        trial.check(&reader, edit, &expected);
        other.check(&inside, edit, &expected);
        let reader = outside(["four", "five", "six"][at]);
        other.check(&reader, edit, &expected);
    }
}

/// Without code generation, or with optimisation, a session holds other files, and other things are reused.
#[test]
fn other_commands_and_profiles() {
    let check = Machine {
        cargo: &["check", "--workspace", "--all-targets"],
        ..Machine::new("check")
    };
    let clippy = Machine {
        cargo: &["clippy", "--workspace", "--all-targets"],
        ..Machine::new("clippy")
    };
    let optimised = Machine::new("optimised").with("CARGO_PROFILE_DEV_OPT_LEVEL", "2");
    for machine in [check, clippy, optimised] {
        let trial = Trial::new(machine.clone());
        for edit in &EDITS[..4] {
            let expected = trial.expect(edit);
            trial.check(&machine, edit, &expected);
        }
    }
}

/// With the release lane rustc reuses objects made after LTO, which hold code of other codegen units: one reused wrongly would be
/// an old function in a new program, or a symbol that the linker does not find.
#[test]
fn the_release_lane_compiles_as_in_the_warm_directory() {
    let machine = Machine {
        profile: LANE,
        cargo: &["build", "--workspace", "--profile", LANE],
        ..Machine::new("lane")
    };
    let trial = Trial::new(machine.clone());
    for edit in &EDITS {
        let expected = trial.expect(edit);
        let clone = trial.check(&machine, edit, &expected);
        same_bytes_without_a_seed(&machine, &clone, &trial, edit);
    }
}

/// rustc itself looks for a reused result that it would compute differently, with nightly's verification.
#[test]
fn rustc_finds_nothing_wrong_with_what_it_reuses() {
    let nightly = Command::new("rustc")
        .arg("-V")
        .env("RUSTUP_TOOLCHAIN", "nightly")
        .output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        return skipped("there is no nightly toolchain");
    }
    let builder = Machine::new("nightly")
        .with("RUSTUP_TOOLCHAIN", "nightly")
        .with("RUSTFLAGS", "-Zincremental-verify-ich");
    let trial = Trial::new(builder.clone());
    for edit in &EDITS {
        let expected = trial.expect(edit);
        trial.check(&builder, edit, &expected);
    }
}

fn differing<'a>(
    one: &'a BTreeMap<String, Vec<u8>>,
    other: &BTreeMap<String, Vec<u8>>,
) -> Vec<&'a String> {
    assert!(
        one.keys().eq(other.keys()),
        "{:?}\n{:?}",
        one.keys(),
        other.keys()
    );
    one.iter()
        .filter(|(path, bytes)| other.get(*path) != Some(bytes))
        .map(|(path, _)| path)
        .collect()
}

/// Returns the toolchain once more at `path`, its files linked; none where this disk cannot.
fn other_sysroot(path: &Path) -> Option<PathBuf> {
    let asked = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let sysroot = String::from_utf8(asked.stdout).ok()?;
    if succeeds(Command::new("cp").arg("-al").arg(sysroot.trim()).arg(path)) {
        return Some(path.to_path_buf());
    }
    skipped("the toolchain cannot be linked to the temporary directory");
    None
}

/// Makes rustc believe that the sources of the standard library are installed.
fn add_sources(sysroot: &Path) {
    for library in ["std", "core", "alloc"] {
        let dir = sysroot
            .join("lib/rustlib/src/rust/library")
            .join(library)
            .join("src");
        fs::create_dir_all(&dir).expect("it is ours");
        fs::write(dir.join("lib.rs"), "").expect("it is ours");
    }
}

/// Names rustcs of other versions, as PATH names directories; each is tried as both sides of a start.
const OTHER_RUSTCS: &str = "HEADSTART_TEST_RUSTCS";

/// A version that hashes otherwise would relocate nothing, and everything would be compiled again.
#[test]
fn other_versions_of_rustc_reuse_as_much() {
    let Some(rustcs) = std::env::var_os(OTHER_RUSTCS) else {
        return skipped("HEADSTART_TEST_RUSTCS names no further rustc");
    };
    let scratch = Scratch::new();
    for rustc in std::env::split_paths(&rustcs) {
        let version = Command::new(&rustc)
            .arg("-V")
            .output()
            .expect("it is a rustc");
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let builder = Machine::new("version");
        let builder = builder.with("RUSTC", &rustc);
        let mut trial = Trial::new(builder.clone());
        trial.reads_nodes = false;
        for edit in &EDITS {
            let expected = trial.expect(edit);
            let outside = scratch.path(version.trim()).join(edit.0);
            let machine = builder.clone().with(TARGET_DIR, outside);
            let clone = trial.check(&machine, edit, &expected);
            let reused = machine.reused(&clone, |code| code == "seeded");
            let reused: usize = reused.values().sum();
            let sessions = crate_dirs(&machine.outputs(&clone));
            let (version, crates) = (version.trim(), sessions.len());
            println!(
                "{version}: {}: {reused} work products reused in {crates} crates",
                edit.0
            );
        }
    }
}
