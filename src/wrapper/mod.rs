//! headstart in cargo's `RUSTC_WRAPPER`: takes the builder's paths out of what rustc makes, lets it begin from a
//! session made elsewhere, and notes what it did.
//!
//! Never an error of ours: whatever goes wrong here, rustc runs (invariant 4).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;

use crate::config::Environment;
use crate::disk::{self, Staging, place};
use crate::engine::ledger::Note;
use crate::engine::rename::Renamed;
use crate::engine::seed::{Beginning, Sown};
use crate::engine::wrapping::{self, Wrapped};
use crate::engine::{Ledger, relocate};
use crate::model::session::OutputNames;
use crate::model::{Began, Compiled, Digest, Finder, Root, Roots, bytes_path};
use crate::report::Reporter;
use crate::rustc::argv::Invocation;
use crate::rustc::run::{self, Ended};

/// rustc's exit code after it said what is wrong.
const FOUND_ERRORS: u8 = 1;
/// The exit code of a shell for a program that cannot be run.
const CANNOT_RUN: u8 = 127;
/// The largest response file that is read; cargo writes one where a line is too long for the system.
const MAX_RESPONSE_BYTES: u64 = 64 << 20;
/// Turns all seeding off when it is `0`, `off` or `no`.
const SEED_VAR: &str = "HEADSTART_SEED";
/// What stands in a line by which rustc blames a source. Inside of a message quotes are escaped, so it is never its text.
/// Source: rustc: rustc_errors/src/json.rs, in the order of its fields.
const ERROR_IN_SOURCE: &[u8] = b"\"level\":\"error\",\"spans\":[{";
/// The same where it blames no place: it could not read its own bitcode, or the program did not link.
const ERROR_NOWHERE: &[u8] = b"\"level\":\"error\",\"spans\":[]";
/// Variables that rustc or clippy hash beside the arguments.
const HASHED_VARIABLES: [&str; 3] = ["RUSTC_BOOTSTRAP", "CLIPPY_ARGS", "CLIPPY_CONF_DIR"];

/// Runs the compiler `args[0]` with the rest of `args`, and returns its exit code.
pub fn run(args: &[OsString], environment: &Environment, clock: fn() -> SystemTime) -> u8 {
    let Some((program, given)) = args.split_first() else {
        return 1;
    };
    let expanded = expand(given);
    let parsed = Invocation::parse(expanded.as_deref().unwrap_or(given));
    let Some((invocation, unknown)) = parsed else {
        return code(program, run::run(program, given));
    };
    let Some(roots) = wrapping::roots(&invocation, environment) else {
        return code(program, run::run(program, given));
    };
    let ledger = Ledger::of(roots.dir(Root::Build));
    let begun = clock();
    // Exactly as cargo wants it.
    let plainly = |began| Done {
        started: clock(),
        ended: run::run(program, given),
        remapped: false,
        began,
        arguments: None,
        names: None,
        renamed: None,
    };
    let done = match unknown {
        Some(flag) => plainly(Began::UnknownFlag { flag }),
        None => {
            let wrapped = Wrapped {
                program,
                roots: &roots,
                ledger: &ledger,
                environment,
            };
            let compile = |told: &Invocation, ready: Option<&dyn Fn()>| {
                Compile::new(wrapped, told).run(expanded.is_some(), ready, clock)
            };
            match Renamed::of(&invocation, wrapped) {
                None => compile(&invocation, None),
                Some(renamed) => under_another_name(&renamed, &ledger, compile)
                    .unwrap_or_else(|| plainly(Began::NoSession)),
            }
        }
    };
    // Where cargo was ended, and somebody has removed what it built, nothing is made anew.
    if let Ok(ended) = &done.ended
        && ended.code() == 0
        && roots.dir(Root::Build).is_dir()
    {
        let is_member = invocation.source.is_relative();
        let root = is_member.then(|| ledger.told(&environment.dir));
        let note = note(&invocation, &done, [begun, clock()], (root, ledger.build()));
        // A note that cannot be written costs the next publish a session, never this build anything.
        drop(ledger.write_note(&invocation.ledger_key(), &note));
        if is_member {
            drop(ledger.note_workspace(&environment.dir));
        }
    }
    code(program, done.ended)
}

/// Returns `args` with a response file's lines in its place; none where there is none, or none that can be read.
fn expand(args: &[OsString]) -> Option<Vec<OsString>> {
    let (last, before) = args.split_last()?;
    let path = last.to_str()?.strip_prefix('@')?;
    let text = String::from_utf8(disk::read(Path::new(path), MAX_RESPONSE_BYTES).ok()?).ok()?;
    let lines = text.lines().map(OsString::from);
    Some(before.iter().cloned().chain(lines).collect())
}

fn code(program: &OsStr, ended: std::io::Result<Ended>) -> u8 {
    match ended {
        Ok(ended) => ended.code(),
        Err(error) => {
            warn(format!("cannot run {}: {error}", program.display()));
            CANNOT_RUN
        }
    }
}

fn warn(line: String) {
    Reporter::new(true).warn(line);
}

/// How rustc ended, and from what it began.
type Ran = (std::io::Result<Ended>, Began);

/// How a compile went.
struct Done {
    /// When rustc began: a session may be waited for before.
    started: SystemTime,
    ended: std::io::Result<Ended>,
    /// Whether the builder's places were taken out.
    remapped: bool,
    began: Began,
    arguments: Option<Digest>,
    names: Option<OutputNames>,
    /// The name that rustc was given instead of cargo's.
    renamed: Option<String>,
}

/// Compiles `renamed`, and puts what is made under cargo's name as well, metadata before cargo hears of it; none where that
/// cannot be begun. Where it cannot be done, because the disk is full, the unit has failed.
fn under_another_name(
    renamed: &Renamed,
    ledger: &Ledger,
    compile: impl FnOnce(&Invocation, Option<&dyn Fn()>) -> Done,
) -> Option<Done> {
    let staging = Staging::new(&ledger.staging_parent(), "names").ok()?;
    renamed.note(&staging).ok()?;
    let ready = || drop(renamed.give_back(&staging));
    let mut done = compile(&renamed.invocation, Some(&ready));
    if done.ended.as_ref().is_ok_and(|ended| ended.code() == 0)
        && let Err(error) = renamed.give_back(&staging)
    {
        done.ended = Err(std::io::Error::other(error));
    }
    let renamed = Some(renamed.invocation.metadata.clone());
    Some(Done { renamed, ..done })
}

/// A compile of a unit that we know all about.
struct Compile<'a> {
    beginning: Beginning<'a>,
    args: Vec<OsString>,
    names: Option<OutputNames>,
}

impl<'a> Compile<'a> {
    fn new(wrapped: Wrapped<'a>, invocation: &'a Invocation) -> Compile<'a> {
        let (program, roots, environment) = (wrapped.program, wrapped.roots, wrapped.environment);
        let remaps = remaps(roots);
        let out_dir = relocate::told(&invocation.out_dir, &environment.dir);
        let args = invocation.with_out_dir(out_dir, &remaps);
        let incremental = invocation.incremental.as_ref();
        let compiler = incremental.and_then(|_| wrapped.compiler(invocation.behind.as_deref()));
        let arguments = compiler.map(|compiler| {
            let name = Path::new(program).file_name().unwrap_or_default();
            let value = |name| environment.var(name).unwrap_or_default();
            let [bootstrap, clippy, conf] = HASHED_VARIABLES.map(value);
            let context = [name, OsStr::new(&compiler), bootstrap, clippy, conf];
            invocation.digest(&Finder::new(roots), &context)
        });
        let below = invocation.out_dir.strip_prefix(roots.dir(Root::Build));
        let names = below.ok().map(|dir| OutputNames {
            told: out_dir.as_os_str().as_encoded_bytes().to_vec(),
            dir: dir.as_os_str().as_encoded_bytes().to_vec(),
            stem: invocation.stem(),
            kinds: invocation.kinds,
        });
        Compile {
            args,
            names: names.filter(|_| incremental.is_some()),
            beginning: Beginning {
                program,
                invocation,
                further: remaps,
                arguments,
                ledger: wrapped.ledger,
                seeding: !environment.is_off(SEED_VAR),
            },
        }
    }

    /// Runs rustc; where it crashes or gives up on a seed, once more without. Calls `ready` before cargo hears that a file is ready.
    fn run(
        &self,
        by_response_file: bool,
        ready: Option<&dyn Fn()>,
        clock: fn() -> SystemTime,
    ) -> Done {
        let parent = self.beginning.ledger.staging_parent();
        let staging = || Staging::new(&parent, "args").ok();
        let staging = by_response_file.then(staging).flatten();
        let args = staging.as_ref();
        let args = args.and_then(|staging| self.in_response_file(staging));
        let args = args.as_deref().unwrap_or(&self.args);
        let sown = self.beginning.sow();
        let started = clock();
        let (ended, began) = match sown {
            Err(began) => (self.run_unseeded(args, ready), began),
            Ok(sown) => self.run_seeded(args, &sown, ready),
        };
        Done {
            started,
            ended,
            remapped: true,
            began,
            arguments: self.beginning.arguments,
            names: self.names.clone(),
            renamed: None,
        }
    }

    fn run_unseeded(&self, args: &[OsString], ready: Option<&dyn Fn()>) -> std::io::Result<Ended> {
        let Some(ready) = ready else {
            return run::run(self.beginning.program, args);
        };
        self.run_watched(args, Some(ready), run::forward)
    }

    /// Runs rustc, and gives each line that it says to `pass_on`; calls `ready` before those that say that a file is.
    fn run_watched(
        &self,
        args: &[OsString],
        ready: Option<&dyn Fn()>,
        mut pass_on: impl FnMut(&[u8]),
    ) -> std::io::Result<Ended> {
        run::run_watched(self.beginning.program, args, |line| {
            ready.filter(|_| is_artifact(line)).inspect(|ready| ready());
            pass_on(line);
        })
    }

    fn run_seeded(&self, args: &[OsString], sown: &Sown, ready: Option<&dyn Fn()>) -> Ran {
        let invocation = self.beginning.invocation;
        let mut announced: Vec<Vec<u8>> = Vec::new();
        // Errors that no source is to blame for are held back until it is known whether they are the session's.
        let (mut held, mut in_source) = (Vec::new(), false);
        let ended = self.run_watched(args, ready, |line| {
            if is_artifact(line) {
                announced.push(line.to_vec());
            }
            in_source |= memmem::find(line, ERROR_IN_SOURCE).is_some();
            match memmem::find(line, ERROR_NOWHERE).is_some() {
                true => held.push(line.to_vec()),
                false => run::forward(line),
            }
        });
        let crash = ended.as_ref().ok().and_then(|ended| {
            let gave_up = ended.code() == FOUND_ERRORS && !held.is_empty() && !in_source;
            let gave_up = || gave_up.then(|| "gave up".to_owned());
            ended.crash().or_else(gave_up)
        });
        if crash.is_none() {
            held.iter().for_each(|line| run::forward(line));
        }
        let commit = sown.commit.clone();
        let Some(how) = crash else {
            let (reused, total) = sown.reused();
            let began = Began::Seeded {
                commit,
                reused,
                total,
            };
            return (ended, began);
        };
        let name = &invocation.crate_name;
        warn(format!(
            "rustc {how} on a session of {commit:.12} for {name}; compiling it again without"
        ));
        sown.discard(&invocation.seed_key(), self.beginning.ledger);
        // cargo has begun dependents of what was announced, and must not hear of it twice.
        let again = self.run_watched(args, ready, |line| {
            if !announced.iter().any(|known| known == line) {
                run::forward(line);
            }
        });
        (again, Began::SeedCrashed { commit, how })
    }

    fn in_response_file(&self, staging: &Staging) -> Option<Vec<OsString>> {
        // clippy's driver looks for the rustc that it stands before on its own command line.
        let behind = usize::from(self.beginning.invocation.behind.is_some());
        let (behind, own) = self.args.split_at(behind);
        let mut text = Vec::new();
        for arg in own {
            text.extend_from_slice(arg.as_encoded_bytes());
            text.push(b'\n');
        }
        let path = staging.dir.join("args");
        staging.write(&path, &text, place::PLAIN).ok()?;
        let mut arg = OsString::from("@");
        arg.push(path);
        Some([behind, &[arg]].concat())
    }
}

/// Tells whether rustc says by `line` that a file is ready. Source: cargo: core/compiler/mod.rs, `on_stderr_line_inner`.
fn is_artifact(line: &[u8]) -> bool {
    line.starts_with(b"{\"$message_type\":\"artifact\"")
}

/// Returns the options that put a fixed path for each root; rustc takes the last that matches, so the
/// deepest root comes last.
fn remaps(roots: &Roots) -> Vec<OsString> {
    let mut spellings: Vec<(Root, &[u8])> = roots.spellings().collect();
    spellings.sort_by_key(|(_, path)| path.len());
    let option = |(root, path): (Root, &[u8])| {
        let mut option = OsString::from("--remap-path-prefix=");
        option.push(bytes_path(path));
        option.push("=");
        option.push(root.remapped());
        option
    };
    spellings.into_iter().map(option).collect()
}

fn note(
    invocation: &Invocation,
    done: &Done,
    [begun, ended]: [SystemTime; 2],
    (workspace, build): (Option<PathBuf>, PathBuf),
) -> Note {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let metadata = done.renamed.as_ref().unwrap_or(&invocation.metadata);
    Note {
        compiled: Compiled {
            crate_name: invocation.crate_name.clone(),
            metadata: metadata.clone(),
            renamed: done.renamed.is_some(),
            executable: invocation.executable,
            elapsed_ms: ms(ended.duration_since(done.started).unwrap_or_default()),
            remapped: done.remapped,
            arguments: done.arguments,
            names: done.names.clone(),
            crashed: matches!(done.began, Began::SeedCrashed { .. }),
        },
        started_unix_ms: ms(done.started.duration_since(UNIX_EPOCH).unwrap_or_default()),
        waited_ms: ms(done.started.duration_since(begun).unwrap_or_default()),
        began: done.began.clone(),
        workspace,
        build: Some(build),
    }
}

#[cfg(test)]
mod tests {
    use super::{ERROR_IN_SOURCE, ERROR_NOWHERE, is_artifact, remaps};
    use crate::model::Roots;
    use std::path::Path;

    /// With the workspace last, the target directory inside it would keep the workspace's name, and the
    /// same unit would differ between a target directory inside and outside.
    #[test]
    fn the_deepest_root_is_remapped_last() {
        let roots = Roots::new(
            Path::new("/w"),
            Path::new("/w/target"),
            Path::new("/home/u/.cargo"),
        );
        let options = remaps(&roots);
        assert_eq!(options[0], "--remap-path-prefix=/w=.");
        assert_eq!(
            options[1],
            "--remap-path-prefix=/w/target=/headstart/target"
        );
    }

    /// A damaged session would be kept and fail every build, or a mistake in a source be compiled twice.
    #[test]
    fn errors_of_no_source_are_told_from_those_of_one() {
        let says = |spans: &str| {
            let line = format!(
                r#"{{"$message_type":"diagnostic","message":"x","code":null,"level":"error","spans":[{spans}],"children":[]}}"#
            );
            let is = |mark| memchr::memmem::find(line.as_bytes(), mark).is_some();
            (is(ERROR_IN_SOURCE), is(ERROR_NOWHERE))
        };
        assert_eq!(says(r#"{"file_name":"src/lib.rs"}"#), (true, false));
        assert_eq!(says(""), (false, true));
    }

    /// cargo panics when it hears twice that a unit's metadata is ready.
    #[test]
    fn artifact_lines_are_told_from_diagnostics() {
        assert!(is_artifact(
            br#"{"$message_type":"artifact","artifact":"target/debug/deps/libx.rmeta","emit":"metadata"}"#
        ));
        assert!(!is_artifact(
            br#"{"$message_type":"diagnostic","message":"artifact"}"#
        ));
    }
}
