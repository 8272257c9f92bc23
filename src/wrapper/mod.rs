//! headstart in cargo's `RUSTC_WRAPPER`: takes the builder's paths out of what rustc makes, lets it begin from a
//! session made elsewhere, and notes what it did.
//!
//! Never an error of ours: whatever goes wrong here, rustc runs (invariant 4).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;

use crate::config::Environment;
use crate::disk::{self, Staging, place};
use crate::engine::ledger::Note;
use crate::engine::seed::{Beginning, SEED_VAR, Sown};
use crate::engine::wrapping::{self, Wrapped};
use crate::engine::{Ledger, identity};
use crate::model::session::OutputNames;
use crate::model::{Began, Compiled, Digest, Root, began};
use crate::report::Reporter;
use crate::rustc::argv::{Invocation, seed_key};
use crate::rustc::run::{self, Ended};

/// rustc's exit code after it said what is wrong.
const FOUND_ERRORS: u8 = 1;
/// The exit code of what the system has killed, for want of memory for instance.
const KILLED: u8 = 128 + 9;
/// The exit code of a shell for a program that cannot be run.
const CANNOT_RUN: u8 = 127;
/// The largest response file that is read; cargo writes one where a line is too long for the system.
const MAX_RESPONSE_BYTES: u64 = 64 << 20;
/// The longest line that is given to rustc as it is: half of what Linux takes, with the environment.
const LONG_LINE_BYTES: usize = 1 << 20;
/// What stands in a line by which rustc blames a source. Inside of a message quotes are escaped, so it is never its text.
/// Source: rustc: rustc_errors/src/json.rs, in the order of its fields.
const ERROR_IN_SOURCE: &[u8] = b"\"level\":\"error\",\"spans\":[{";
/// The same where it blames no place: it could not read its own bitcode, or the program did not link.
const ERROR_NOWHERE: &[u8] = b"\"level\":\"error\",\"spans\":[]";

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
    let wrapped = Wrapped {
        program,
        roots: &roots,
        ledger: &ledger,
        environment,
    };
    let begun = clock();
    let done = match unknown {
        Some(flag) => Done {
            started: clock(),
            // Exactly as cargo wants it.
            ended: run::run(program, given),
            began: Began::UnknownFlag { flag },
            compiled: compiled(&invocation),
            hit: None,
        },
        None => {
            let told = identity::of(&invocation, wrapped).unwrap_or_else(|| invocation.clone());
            let beginning = prepare(wrapped, &invocation, &told);
            compile(&beginning, expanded.is_some(), clock)
        }
    };
    // Where cargo was ended, and somebody has removed what it built, nothing is made anew.
    if let Ok(ended) = &done.ended
        && ended.code() == 0
        && roots.dir(Root::Build).is_dir()
    {
        let is_member = invocation.source.is_relative();
        let root = is_member.then(|| ledger.told(&environment.dir));
        let note = note(&done, [begun, clock()], (root.clone(), ledger.build()));
        let unit = invocation.ledger_key();
        // A note that cannot be written costs the next publish a session, never this build anything.
        drop(ledger.write_note(&unit, &note));
        if note.compiled.metadata != invocation.metadata {
            drop(ledger.note_session_of(&seed_key(&note.compiled), &unit));
        }
        if let Some(root) = root {
            drop(ledger.note_workspace(&root));
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

/// How a compile went.
struct Done {
    /// When rustc began: a session may be waited for before.
    started: SystemTime,
    ended: std::io::Result<Ended>,
    began: Began,
    /// What of it is known before.
    compiled: Compiled,
    /// Where rustc was not run, the manifest that has what it would make.
    hit: Option<Digest>,
}

/// Returns what is noted of a compile that is not known better.
fn compiled(told: &Invocation) -> Compiled {
    Compiled {
        crate_name: told.crate_name.clone(),
        metadata: told.metadata.clone(),
        executable: told.executable,
        ..Compiled::default()
    }
}

/// Prepares the compile `given` by cargo as it is `told` to rustc.
fn prepare<'a>(wrapped: Wrapped<'a>, given: &Invocation, told: &'a Invocation) -> Beginning<'a> {
    let (roots, environment) = (wrapped.roots, wrapped.environment);
    let remaps = wrapping::remaps(roots);
    // The same in every clone where it lies in the workspace.
    let out_dir = told.out_dir.strip_prefix(&environment.dir);
    let out_dir = out_dir.unwrap_or(&told.out_dir);
    let incremental = told.incremental.as_ref();
    let sessions = incremental.map(|dir| roots.locate(&environment.dir.join(dir)));
    let sessions = sessions.filter(|dir| dir.root == Root::Build);
    let compiled = Compiled {
        remapped: true,
        incremental: sessions.map(|dir| dir.relative().to_string_lossy().into_owned()),
        arguments: wrapped.arguments(told),
        line: wrapped.line(told),
        names: incremental.map(|_| OutputNames {
            told: out_dir.as_os_str().as_encoded_bytes().to_vec(),
            stem: told.stem(),
            kinds: told.kinds,
        }),
        ..compiled(told)
    };
    Beginning {
        program: wrapped.program,
        invocation: told,
        unit: given.ledger_key(),
        compiled,
        args: told.with_out_dir(out_dir, &remaps),
        further: remaps,
        ledger: wrapped.ledger,
        roots,
        environment,
        seeding: !environment.is_off(SEED_VAR),
    }
}

/// Runs rustc, unless it is known what it would make; where it crashes or gives up on a session, once more without.
fn compile(beginning: &Beginning<'_>, by_response_file: bool, clock: fn() -> SystemTime) -> Done {
    let mut compiled = beginning.compiled.clone();
    let made = beginning.made();
    let hit = made.as_ref().filter(|made| beginning.hit(made).is_some());
    if let Some((seed, made)) = hit {
        compiled.elapsed_ms = made.elapsed_ms;
        let commit = seed.commit.clone();
        return Done {
            started: clock(),
            ended: Ok(Ended::default()),
            began: Began::Hit { commit },
            compiled,
            hit: Some(seed.manifest),
        };
    }
    let parent = beginning.ledger.staging_parent();
    let staging = || Staging::new(&parent, "args").ok();
    // What cargo could say in one line may be too long with what is added to it.
    let sizes = beginning.args.iter().map(|arg| arg.len());
    let is_long = by_response_file || sizes.sum::<usize>() > LONG_LINE_BYTES;
    let staging = is_long.then(staging).flatten();
    let args = staging.as_ref();
    let args = args.and_then(|staging| in_response_file(beginning, staging));
    let args = args.as_deref().unwrap_or(&beginning.args);
    let sown = beginning.sow();
    let alike = made.and_then(|made| beginning.alike(&made));
    let started = clock();
    let mut late: Vec<Vec<u8>> = Vec::new();
    let mut pass_on = |line: &[u8]| match alike.is_some() && is_artifact(line) {
        // cargo would have others read what is not settled yet.
        true => late.push(line.to_vec()),
        false => run::forward(line),
    };
    let (mut ended, began) = run_on(beginning, args, (sown, alike.is_some()), &mut pass_on);
    if let (Some(alike), Ok(0)) = (&alike, ended.as_ref().map(|ended| ended.code())) {
        match alike.adopt(beginning) {
            Ok(()) => late.iter().for_each(|line| run::forward(line)),
            Err(error) => {
                warn(error.to_string());
                ended = Ok(Ended::badly());
            }
        }
    }
    Done {
        started,
        ended,
        began,
        compiled,
        hit: None,
    }
}

/// Runs rustc on what was `sown`, or why nothing was, and tells from what it began. A session of rustc's own may name a member by an id that it
/// has not any more where it was compiled without headstart since. Without one rustc is read only where some of what it says is `held` back.
fn run_on(
    beginning: &Beginning<'_>,
    args: &[OsString],
    (sown, held): (Result<Sown, Began>, bool),
    pass_on: &mut dyn FnMut(&[u8]),
) -> (std::io::Result<Ended>, Began) {
    let program = beginning.program;
    match (sown, beginning.own_sessions()) {
        (Ok(sown), _) => {
            let session = began::session(sown.commit.as_deref());
            let discard = || sown.discard(&seed_key(&beginning.compiled), beginning.ledger);
            let (ended, crash) = run_guarded(beginning, args, (&session, true), discard, pass_on);
            let (commit, (reused, total)) = (sown.commit.clone(), sown.reused());
            let began = match crash {
                Some(how) => Began::SeedCrashed { commit, how },
                None => Began::Seeded {
                    commit,
                    reused,
                    total,
                },
            };
            (ended, began)
        }
        (Err(began), Some(dir)) => {
            let session = ("what it had made here", false);
            let discard = || drop(disk::remove_dir(dir));
            let (ended, crash) = run_guarded(beginning, args, session, discard, pass_on);
            (ended, crash.map_or(began, |how| Began::OwnCrashed { how }))
        }
        (Err(began), None) if held => (run::run_watched(program, args, pass_on), began),
        (Err(began), None) => (run::run(program, args), began),
    }
}

/// Runs rustc on a `session`; where it crashes, or gives up on one that was `placed`, once more after `discard`, and tells how it crashed.
fn run_guarded(
    beginning: &Beginning<'_>,
    args: &[OsString],
    (session, placed): (&str, bool),
    discard: impl FnOnce(),
    pass_on: &mut dyn FnMut(&[u8]),
) -> (std::io::Result<Ended>, Option<String>) {
    let program = beginning.program;
    let mut said: HashSet<Vec<u8>> = HashSet::new();
    // Errors that no source is to blame for are held back until it is known whether they are the session's.
    let (mut held, mut in_source) = (Vec::new(), false);
    let ended = run::run_watched(program, args, |line| {
        in_source |= memmem::find(line, ERROR_IN_SOURCE).is_some();
        match placed && memmem::find(line, ERROR_NOWHERE).is_some() {
            true => held.push(line.to_vec()),
            false => {
                said.insert(line.to_vec());
                pass_on(line);
            }
        }
    });
    // Nobody is to blame for it, least of all what rustc made here: without that it would need more.
    let counts = |ended: &&Ended| placed || ended.code() != KILLED;
    let crash = ended.as_ref().ok().filter(counts).and_then(|ended| {
        let gave_up = ended.code() == FOUND_ERRORS && !held.is_empty() && !in_source;
        let gave_up = || gave_up.then(|| "gave up".to_owned());
        ended.crash().or_else(gave_up)
    });
    let Some(how) = crash else {
        held.iter().for_each(|line| pass_on(line));
        return (ended, None);
    };
    let name = &beginning.invocation.crate_name;
    warn(format!(
        "rustc {how} on {session} for {name}; compiling it again without"
    ));
    discard();
    // Nobody wants to read it twice; and cargo has begun dependents of what was announced, and must not hear of it again.
    let again = run::run_watched(program, args, |line| {
        if !said.contains(line) {
            pass_on(line);
        }
    });
    (again, Some(how))
}

fn in_response_file(beginning: &Beginning<'_>, staging: &Staging) -> Option<Vec<OsString>> {
    // clippy's driver looks for the rustc that it stands before on its own command line.
    let behind = usize::from(beginning.invocation.behind.is_some());
    let (behind, own) = beginning.args.split_at(behind);
    let mut text = own.join(OsStr::new("\n"));
    text.push("\n");
    let (path, text) = (staging.dir.path().join("args"), text.as_encoded_bytes());
    staging.write(&path, text, place::PLAIN).ok()?;
    let mut arg = OsString::from("@");
    arg.push(path);
    Some([behind, &[arg]].concat())
}

/// Tells whether rustc says by `line` that a file is ready. Source: cargo: core/compiler/mod.rs, `on_stderr_line_inner`.
fn is_artifact(line: &[u8]) -> bool {
    line.starts_with(b"{\"$message_type\":\"artifact\"")
}

fn note(
    done: &Done,
    [begun, ended]: [SystemTime; 2],
    (workspace, build): (Option<PathBuf>, PathBuf),
) -> Note {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let took_ms = ms(ended.duration_since(done.started).unwrap_or_default());
    Note {
        compiled: Compiled {
            elapsed_ms: done.hit.map_or(took_ms, |_| done.compiled.elapsed_ms),
            crashed: matches!(
                done.began,
                Began::SeedCrashed { .. } | Began::OwnCrashed { .. }
            ),
            ..done.compiled.clone()
        },
        started_unix_ms: ms(done.started.duration_since(UNIX_EPOCH).unwrap_or_default()),
        waited_ms: ms(done.started.duration_since(begun).unwrap_or_default()),
        began: done.began.clone(),
        workspace,
        build: Some(build),
        hit: done.hit,
    }
}

#[cfg(test)]
mod tests {
    use super::{ERROR_IN_SOURCE, ERROR_NOWHERE, is_artifact};

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
