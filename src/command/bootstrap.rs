//! rustc's own source tree, whose build runs many cargos: one part for each target directory that `x` fills.
//!
//! Knows where bootstrap keeps its compiler and its target directories, and nothing of what it builds there.
//! Source: rust: src/bootstrap/bootstrap.py, src/bootstrap/src/lib.rs @ 1.95.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::bring::LATER_NICE;
use super::cli::StartArgs;
use super::search::Search;
use super::sources::{NoStart, Sources};
use super::start::{Outcome, start_from};
use super::{Call, Failure, Setup, gc, wrapped};
use crate::cargo::{CargoCommand, command as cargo, layout};
use crate::config::{BootstrapTools, Environment};
use crate::disk::walk;
use crate::engine::Ledger;
use crate::git;
use crate::model::Part;

/// The names under which `x` is typed.
const NAMES: [&str; 4] = ["x", "x.py", "./x", "./x.py"];
/// The variable that names bootstrap's configuration, where that is not at the top.
const CONFIG: &str = "RUST_BOOTSTRAP_CONFIG";
/// Where bootstrap itself is built, by the compiler of stage 0.
const BOOTSTRAP_DIR: &str = "build/bootstrap";
/// Where everything that bootstrap builds goes, below the top.
const BUILD_DIR: &str = "build";

/// A work tree of rustc's source.
#[derive(Clone, Debug)]
pub struct Checkout {
    top: PathBuf,
    /// The environment in which the compiler of stage 0 and its cargo are found.
    environment: Environment,
}

impl Checkout {
    /// Returns the work tree that holds the environment's directory, if it is one of rustc's source.
    pub fn of(environment: &Environment) -> Option<Checkout> {
        let top = git::enclosing_work_tree(&environment.dir)?;
        let is_rustc = top.join("x.py").is_file() && top.join("src/bootstrap/Cargo.toml").is_file();
        is_rustc.then(|| Checkout {
            top: top.to_path_buf(),
            environment: environment.at(top),
        })
    }

    /// Returns that work tree if `command` is a run of its `x`; git is asked only for what is called so.
    pub fn running(command: &CargoCommand, environment: &Environment) -> Option<Checkout> {
        arguments(command).and_then(|_| Checkout::of(environment))
    }

    /// Returns the program and the arguments of `command`, if that is a run of `x`.
    pub fn x<'a>(&self, command: &'a CargoCommand) -> Option<(PathBuf, &'a [String])> {
        arguments(command).map(|args| (self.top.join("x.py"), args))
    }

    /// Returns this work tree with the compiler of stage 0, which bootstrap downloads when it first runs.
    pub fn with_tools(mut self) -> Result<Checkout> {
        let set = BootstrapTools::of(&self.top, self.environment.path(CONFIG))?;
        let downloaded = |name: &str| {
            let hosts = walk::directories(&self.top.join(BUILD_DIR)).into_iter();
            let mut programs = hosts.map(|host| host.join("stage0/bin").join(name));
            programs.find(|program| program.is_file())
        };
        let (Some(rustc), Some(cargo)) = (
            set.rustc.or_else(|| downloaded("rustc")),
            set.cargo.or_else(|| downloaded("cargo")),
        ) else {
            let hint = "`RUSTC_WRAPPER=headstart ./x check --help` downloads it and builds bootstrap; \
                        or name one as `build.rustc` and `build.cargo` in bootstrap.toml";
            return Err(Failure::new("the compiler of stage 0 is not here yet", hint).into());
        };
        self.environment = self.environment.with("RUSTC", rustc).preferring(&cargo);
        Ok(self)
    }

    /// Returns the parts that were built here through the wrapper.
    pub fn built(&self) -> Result<Vec<Setup>> {
        let near = walk::directories(&self.top.join(BUILD_DIR));
        let far: Vec<PathBuf> = near.iter().flat_map(|dir| walk::directories(dir)).collect();
        let noted = near.into_iter().chain(far).filter_map(|dir| {
            let root = Ledger::of(&dir).workspace()?;
            Some(Part {
                workspace: self.below_top(&root)?,
                target_dir: self.below_top(&dir)?,
            })
        });
        let mut parts: Vec<Part> = noted.collect();
        parts.sort();
        // A compiler that was built here is another one in each clone, whatever it says of its version.
        let compiler = |target_dir: &str| layout::compiler_hash(&self.top.join(target_dir));
        let stage0 = compiler(BOOTSTRAP_DIR);
        parts.retain(|part| compiler(&part.target_dir) == stage0);
        parts.iter().map(|part| self.part(part)).collect()
    }

    /// Returns `part` as it lies here.
    pub fn part(&self, part: &Part) -> Result<Setup> {
        let environment = self.environment.at(&self.top.join(&part.workspace));
        let target_dir = self.top.join(&part.target_dir);
        let mut setup = Setup::here(&environment, Some(&target_dir))?;
        setup.part = part.clone();
        Ok(setup)
    }

    /// Starts every part that has starting points; fails with [`NoStart`] where none has.
    pub(super) fn start(&self, args: &StartArgs, call: Call<'_>) -> Result<Vec<Outcome>> {
        let checkout = self.clone().with_tools()?;
        let whole = Setup::here(&checkout.environment, None)?;
        let sources = Sources::open(args, call, &whole)?;
        let (setup, sources, reporter) = (&whole, &sources, call.reporter);
        let parts = Search { setup, sources }.parts()?;
        let mut parts: Vec<Part> = parts.into_iter().collect();
        // bootstrap itself first, then what others are built with, which it copies into a sysroot.
        let below = [BOOTSTRAP_DIR, "-std", "-rustc"];
        let is = |part: &Part, end: &str| part.target_dir.ends_with(end);
        parts.sort_by_key(|part| below.iter().take_while(|end| !is(part, end)).count());
        let runs_x = !args.dry_run && !args.cargo.is_empty();
        let outcomes = std::thread::scope(|scope| {
            let mut outcomes = Vec::new();
            for part in &parts {
                let setup = checkout.part(part);
                match setup.and_then(|setup| start_from(sources, &setup)) {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(error) => {
                        let part = &part.target_dir;
                        reporter.warn(format!("{part} is not started: {error:#}"));
                    }
                }
                if runs_x && part.target_dir == BOOTSTRAP_DIR {
                    scope.spawn(|| self.compile_bootstrap(call));
                    place_behind();
                }
            }
            outcomes
        });
        if !args.dry_run {
            gc::by_itself(call, &args.store);
        }
        let none = "no commit in reach was published with `headstart publish -- x ...`";
        match outcomes.is_empty() {
            true => Err(NoStart(none.to_owned()).into()),
            false => Ok(outcomes),
        }
    }

    /// Has bootstrap compiled, which `x` does before all else, while what it builds is placed. Where that fails, `x` says why. The help of
    /// `x` itself is a file, that of its commands is bootstrap's.
    fn compile_bootstrap(&self, call: Call<'_>) {
        let _step = call.reporter.step("Building bootstrap", 0);
        let environment = call.environment.at(&self.top);
        let x = self.top.join("x.py").to_string_lossy().into_owned();
        let built = cargo::ask(&x, &["check", "--help"], wrapped(&environment), None);
        drop(built);
    }

    fn below_top(&self, dir: &Path) -> Option<String> {
        let below = dir.strip_prefix(&self.top).ok()?;
        below.to_str().map(str::to_owned)
    }
}

/// Has this process place what is left behind compilers, which `x` waits for. Only where a thread has a priority of its own.
fn place_behind() {
    #[cfg(target_os = "linux")]
    rayon::broadcast(|_| rustix::process::nice(LATER_NICE).ok());
}

/// Returns the arguments of `x` in `command`; none where that is something else.
fn arguments(command: &CargoCommand) -> Option<&[String]> {
    let (name, args) = command.args.split_first()?;
    NAMES.contains(&name.as_str()).then_some(args)
}
