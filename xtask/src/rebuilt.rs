//! What cargo ran, as its `-v` lines tell.
//!
//! cargo: core/compiler/job_queue/mod.rs @ 1.95 prints one `Running` line a process and `Dirty` a package.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::words;

/// Something that cargo ran rather than found fresh, named without any path of the machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Rebuilt {
    /// A run of rustc; `hash` is cargo's `-C extra-filename`, or `-C metadata` where that is missing.
    Rustc {
        crate_name: String,
        crate_types: Vec<String>,
        test: bool,
        hash: String,
    },
    /// A run of the build script compiled in `build/<directory>`.
    Script { directory: String },
}

impl Rebuilt {
    /// Returns the name without the hash, which holds the workspace's path for some path dependencies (facts 1.4).
    pub(crate) fn loosely(&self) -> Rebuilt {
        let mut loose = self.clone();
        match &mut loose {
            Rebuilt::Rustc { hash, .. } => hash.clear(),
            Rebuilt::Script { directory } => *directory = split_hash(directory).0.to_owned(),
        }
        loose
    }
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rebuilt::Rustc {
                crate_name,
                crate_types,
                test,
                hash,
            } => {
                let kind = if *test {
                    "test".to_owned()
                } else {
                    crate_types.join("+")
                };
                write!(to, "rustc {crate_name} ({kind}) {hash}")
            }
            Rebuilt::Script { directory } => write!(to, "script of {directory}"),
        }
    }
}

/// Returns what cargo ran, in no order; tests that it ran are not among it.
pub(crate) fn parse(stderr: &str) -> BTreeSet<Rebuilt> {
    let running = stderr.lines().filter_map(|line| {
        line.trim_start()
            .strip_prefix("Running `")?
            .strip_suffix('`')
    });
    running
        .filter_map(|line| of_command(&words::split(line).ok()?))
        .collect()
}

/// Returns cargo's reason for each package that it calls dirty: package name → text.
pub(crate) fn dirty(stderr: &str) -> BTreeMap<String, String> {
    let mut reasons = BTreeMap::new();
    for line in stderr.lines().map(str::trim_start) {
        if let Some((package, reason)) = line
            .strip_prefix("Dirty ")
            .and_then(|it| it.split_once(": "))
        {
            let name = package.split(' ').next().unwrap_or(package);
            reasons.insert(name.to_owned(), reason.to_owned());
        }
    }
    reasons
}

/// Returns a `name-hash` directory's two parts; the hash is empty when there is none.
pub(crate) fn split_hash(directory: &str) -> (&str, &str) {
    directory.rsplit_once('-').unwrap_or((directory, ""))
}

fn of_command(command: &[String]) -> Option<Rebuilt> {
    let Some(named) = command.iter().position(|word| word == "--crate-name") else {
        return of_script(command.iter().find(|word| !word.contains('='))?);
    };
    let is_rustc = |word: &String| {
        Path::new(word)
            .file_stem()
            .is_some_and(|stem| stem == "rustc")
    };
    if !command[..named].iter().any(is_rustc) {
        return None;
    }
    let after = |flag: &str| -> Vec<String> {
        command
            .windows(2)
            .filter(|pair| pair[0] == flag)
            .map(|pair| pair[1].clone())
            .collect()
    };
    let codegen = after("-C");
    let option = |name: &str| {
        codegen
            .iter()
            .find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    };
    let hash = option("extra-filename")
        .map(|hash| hash.trim_start_matches('-'))
        .or(option("metadata"));
    Some(Rebuilt::Rustc {
        crate_name: command.get(named + 1)?.clone(),
        crate_types: after("--crate-type"),
        test: command.iter().any(|word| word == "--test"),
        hash: hash.unwrap_or_default().to_owned(),
    })
}

fn of_script(program: &str) -> Option<Rebuilt> {
    let path = Path::new(program);
    path.file_name()?.to_str()?.strip_prefix("build-script-")?;
    let directory = path.parent()?;
    let is_build = directory.parent()?.file_name()? == "build";
    is_build.then_some(Rebuilt::Script {
        directory: directory.file_name()?.to_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{dirty, parse};

    const STDERR: &str = r#"
       Fresh cfg-if v1.0.0
       Dirty grep-cli v0.1.11 (/tmp/b/crates/cli): the file `crates/cli/src/lib.rs` has changed (1 s after)
   Compiling grep-cli v0.1.11 (/tmp/b/crates/cli)
     Running `/toolchain/bin/rustc --crate-name grep_cli --edition=2024 crates/cli/src/lib.rs --crate-type lib --emit=dep-info,link -C embed-bitcode=no --check-cfg 'cfg(docsrs,test)' -C metadata=aa -C extra-filename=-0123456789abcdef --out-dir /tmp/b/target/debug/deps`
     Running `/bin/headstart /bin/clippy-driver /bin/rustc --crate-name it tests/it.rs --test -C metadata=bb --out-dir /x`
     Running `rustdoc --crate-type lib --crate-name grep_cli --test src/lib.rs`
     Running `/tmp/b/target/debug/build/rg-build-0011223344556677/build-script-build`
     Running `/tmp/b/target/debug/deps/it-0123456789abcdef`
     Running unittests src/lib.rs (target/debug/deps/grep_cli-0123456789abcdef)
"#;

    /// A line that is missed would hide a unit that was rebuilt, or make two equal builds differ.
    #[test]
    fn reads_cargos_lines() {
        let names: Vec<String> = parse(STDERR).iter().map(ToString::to_string).collect();
        let expected = [
            "rustc grep_cli (lib) 0123456789abcdef",
            "rustc it (test) bb",
            "script of rg-build-0011223344556677",
        ];
        assert_eq!(names, expected);
        assert!(
            dirty(STDERR)
                .get("grep-cli")
                .is_some_and(|reason| reason.starts_with("the file `crates"))
        );
    }
}
