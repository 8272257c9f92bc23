//! headstart in cargo's `RUSTC_WRAPPER`: takes the builder's paths out of what rustc makes, and times it.
//!
//! Never an error of ours: whatever goes wrong here, rustc runs (invariant 4).

use std::ffi::{OsStr, OsString};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Environment;
use crate::engine::ledger::{Ledger, Note};
use crate::engine::wrapping;
use crate::model::unit::Compiled;
use crate::model::{Root, Roots};
use crate::rustc::argv::Invocation;
use crate::rustc::run;

/// Runs the compiler `args[0]` with the rest of `args`, and returns its exit code.
pub fn run(args: &[OsString], environment: &Environment, clock: fn() -> SystemTime) -> u8 {
    let Some((program, args)) = args.split_first() else {
        return 1;
    };
    let unit = Invocation::parse(args).zip(wrapping::roots(environment));
    let Some((invocation, roots)) = unit else {
        return compile(program, args);
    };
    let with_remaps: Vec<OsString> = args.iter().cloned().chain(remaps(&roots)).collect();
    let started = clock();
    let code = compile(program, &with_remaps);
    if code == 0 {
        let note = note(&invocation, started, clock());
        // A note that cannot be written costs the next publish a session, never this build anything.
        drop(Ledger::of(roots.dir(Root::Build)).write_note(&invocation.ledger_key(), &note));
    }
    code
}

fn compile(program: &OsStr, args: &[OsString]) -> u8 {
    match run::run(program, args) {
        Ok(status) => run::exit_code(status),
        Err(error) => {
            crate::report::Reporter::new(true)
                .warn(&format!("cannot run {}: {error}", program.display()));
            127
        }
    }
}

/// Returns the options that put a fixed path for each root; rustc takes the last that matches, so the
/// deepest root comes last.
fn remaps(roots: &Roots) -> Vec<OsString> {
    let mut spellings: Vec<(Root, &[u8])> = roots.spellings().collect();
    spellings.sort_by_key(|(_, path)| path.len());
    spellings
        .into_iter()
        .map(|(root, path)| {
            let mut option = OsString::from("--remap-path-prefix=");
            option.push(crate::model::root::bytes_path(path));
            option.push("=");
            option.push(root.remapped());
            option
        })
        .collect()
}

fn note(invocation: &Invocation, started: SystemTime, ended: SystemTime) -> Note {
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Note {
        compiled: Compiled {
            crate_name: invocation.crate_name.clone(),
            metadata: invocation.metadata.clone(),
            executable: invocation.executable,
            elapsed_ms: ms(ended.duration_since(started).unwrap_or_default()),
            remapped: true,
        },
        started_unix_ms: ms(started.duration_since(UNIX_EPOCH).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::remaps;
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
        assert_eq!(options[0], "--remap-path-prefix=/w=/headstart/workspace");
        assert_eq!(
            options[1],
            "--remap-path-prefix=/w/target=/headstart/target"
        );
    }
}
