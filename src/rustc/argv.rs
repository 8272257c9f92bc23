//! One rustc command line, as far as headstart needs to understand it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What a compile by cargo says about its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// `--crate-name`.
    pub crate_name: String,
    /// `-C metadata`.
    pub metadata: String,
    /// `-C extra-filename`; none for libraries that keep their plain name.
    pub extra_filename: Option<String>,
    /// `--out-dir`.
    pub out_dir: PathBuf,
    /// Whether rustc makes an executable (`--test`, `--crate-type bin`).
    pub executable: bool,
}

impl Invocation {
    /// Returns what `args` compile, or none for a probe, a print, or anything else that is no unit of cargo's.
    ///
    /// `args` are those behind the path of rustc. A response file (`@file`) is not opened: such a line is
    /// no unit for us, and rustc runs as given.
    pub fn parse(args: &[OsString]) -> Option<Invocation> {
        let text: Vec<&str> = args.iter().map(|arg| arg.to_str()).collect::<Option<_>>()?;
        let codegen = |name: &str| {
            values(&text, "-C").find_map(|value| value.strip_prefix(name)?.strip_prefix('='))
        };
        let single = |name: &'static str| values(&text, name).next();
        let test = text.contains(&"--test");
        Some(Invocation {
            crate_name: single("--crate-name")
                .filter(|name| *name != "___")?
                .to_owned(),
            metadata: codegen("metadata")?.to_owned(),
            extra_filename: codegen("extra-filename").map(str::to_owned),
            out_dir: PathBuf::from(single("--out-dir")?),
            executable: test || matches!(single("--crate-type"), None | Some("bin")),
        })
    }

    /// Returns the name of this unit's note in the ledger.
    pub fn ledger_key(&self) -> String {
        ledger_key(
            &self.crate_name,
            self.extra_filename.as_deref(),
            &self.metadata,
        )
    }
}

/// Returns the name of a unit's note in the ledger: with cargo's unit hash where the file name has it.
pub fn ledger_key(crate_name: &str, extra_filename: Option<&str>, metadata: &str) -> String {
    match extra_filename {
        Some(extra) => format!("{crate_name}{extra}"),
        None => format!("{crate_name}={metadata}"),
    }
}

/// Returns the value of each occurrence of `flag`, written as `flag value`, `--flag=value` or `-Cvalue`.
fn values<'a>(args: &'a [&'a str], flag: &'a str) -> impl Iterator<Item = &'a str> {
    args.iter()
        .enumerate()
        .filter_map(move |(at, arg)| match arg.strip_prefix(flag)? {
            "" => args.get(at + 1).copied(),
            rest if flag.starts_with("--") => rest.strip_prefix('='),
            rest => Some(rest),
        })
}

/// Tells whether `program`, the wrapper's first argument, is a compiler that cargo put there.
pub fn names_a_compiler(program: &OsStr) -> bool {
    let path = std::path::Path::new(program);
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    matches!(stem, "rustc" | "clippy-driver") || path.components().count() > 1
}

#[cfg(test)]
mod tests {
    use super::Invocation;
    use std::ffi::OsString;

    fn parse(line: &str) -> Option<Invocation> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Invocation::parse(&args)
    }

    /// A unit that is not recognised is compiled without remaps, and pinned to the builder's machine.
    #[test]
    fn reads_what_cargo_writes() {
        let unit = parse(
            "--crate-name foo --edition=2024 src/main.rs --error-format=json --crate-type bin \
             --emit=dep-info,link -C metadata=9fe0 -C extra-filename=-632e --out-dir /t/debug/deps",
        );
        let unit = unit.unwrap();
        assert!(unit.executable);
        assert_eq!(unit.ledger_key(), "foo-632e");
        assert_eq!(unit.metadata, "9fe0");
    }

    /// cargo asks rustc for its version and targets through the wrapper; the answers must stay as they are.
    #[test]
    fn probes_are_no_units() {
        assert_eq!(parse("-vV"), None);
        assert_eq!(
            parse("- --crate-name ___ --print=file-names --crate-type bin"),
            None
        );
        assert_eq!(
            parse("--crate-name probe --out-dir /t --emit=metadata -"),
            None
        );
    }
}
