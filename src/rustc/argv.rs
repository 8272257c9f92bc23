//! One rustc command line: what it compiles, what of it rustc hashes, and the same with other paths.
//!
//! A flag that is not known here makes the whole line unknown: rustc then runs exactly as given.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::model::{Compiled, Digest, Finder, Roots};

/// A compile by cargo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// `--crate-name`.
    pub crate_name: String,
    /// `-C metadata`.
    pub metadata: String,
    /// `-C extra-filename`; none for libraries that keep their plain name.
    pub extra_filename: Option<String>,
    /// `--out-dir`.
    pub out_dir: PathBuf,
    /// `-C incremental`.
    pub incremental: Option<PathBuf>,
    /// `--target`.
    pub target: Option<String>,
    /// The main source, as cargo spells it: relative for what lies in the workspace.
    pub source: PathBuf,
    /// Whether rustc makes an executable (`--test`, `--crate-type bin`).
    pub executable: bool,
    /// How many kinds of outputs it makes (`--emit`).
    pub kinds: usize,
    /// Whether it makes only libraries that need no standard library of their own.
    pub plain_library: bool,
    /// The rustc that another compiler is given first: `clippy-driver rustc …`.
    pub behind: Option<OsString>,
    parts: Vec<Part>,
}

/// One flag with its value, or the main source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    flag: &'static str,
    value: Option<String>,
}

/// Flags that stand before a value, and that rustc hashes.
const HASHED: [&str; 19] = [
    "--crate-name",
    "--edition",
    "--json",
    "--crate-type",
    "--emit",
    "--cfg",
    "--check-cfg",
    "--cap-lints",
    "--target",
    "--remap-path-prefix",
    "--allow",
    "--warn",
    "--deny",
    "--forbid",
    "--force-warn",
    "--codegen",
    "-C",
    "-l",
    "-Z",
];
/// Flags before a value that rustc does not hash, and that say where things lie or how messages look.
/// Source: rustc: rustc_session/src/options.rs, `UNTRACKED` @ 1.95.
const NOT_HASHED: [&str; 7] = [
    "--extern",
    "-L",
    "--out-dir",
    "--sysroot",
    "--error-format",
    "--diagnostic-width",
    "--color",
];
/// Flags that tell units of one package apart.
const TELLS_APART: [&str; 8] = [
    "--crate-name",
    "--edition",
    "--crate-type",
    "--test",
    "--emit",
    "--cfg",
    "--target",
    "-C",
];
/// Lint flags in their short form, with a value as well.
const LINTS: [&str; 4] = ["-A", "-W", "-D", "-F"];
/// Flags that stand alone.
const ALONE: [&str; 5] = ["--test", "-v", "--verbose", "-g", "-O"];
/// The flag of the main source, which rustc does not hash either.
const SOURCE: &str = "";
/// Codegen options that are not hashed.
const CODEGEN_NOT_HASHED: [&str; 5] = [
    "incremental",
    "extra-filename",
    "linker",
    "link-arg",
    "link-args",
];
/// Flags and codegen options that a probe goes without.
const NOT_ASKED: [&str; 6] = [
    "--extern",
    "-L",
    "--out-dir",
    "--diagnostic-width",
    "--color",
    SOURCE,
];
const CODEGEN_NOT_ASKED: [&str; 2] = ["incremental", "extra-filename"];
/// What of `--json` rustc hashes.
const JSON_HASHED: [&str; 2] = ["artifacts", "future-incompat"];

/// Returns the known flags of a command line, and the first that is not known.
fn parts(args: &[&str]) -> (Vec<Part>, Option<String>) {
    let is_source = |part: &Part| part.flag == SOURCE;
    let mut parts = Vec::new();
    let mut unknown = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let known = |flag: &&'static str| {
            let rest = arg.strip_prefix(flag)?;
            let value = match (rest, flag.starts_with("--")) {
                ("", _) => Some(None),
                (rest, true) => rest.strip_prefix('=').map(Some),
                (rest, false) => Some(Some(rest)),
            };
            value.map(|value| (*flag, value))
        };
        let mut flags = HASHED.iter().chain(&NOT_HASHED).chain(&LINTS);
        let (flag, value) = match flags.find_map(known) {
            Some((flag, Some(value))) => (flag, Some(value)),
            Some((flag, None)) => (flag, args.next().copied()),
            // A file with flags of the user's is none, and neither is what else there is.
            None if !arg.starts_with(['-', '@']) && !parts.iter().any(is_source) => {
                (SOURCE, Some(*arg))
            }
            None => match ALONE.iter().find(|flag| *flag == arg) {
                Some(flag) => (*flag, None),
                None => {
                    unknown.get_or_insert_with(|| (*arg).to_owned());
                    continue;
                }
            },
        };
        let flag = if flag == "--codegen" { "-C" } else { flag };
        if flag == "--emit" && value.is_some_and(|value| value.contains('=')) {
            unknown.get_or_insert_with(|| (*arg).to_owned());
        }
        let value = value.map(str::to_owned);
        parts.push(Part { flag, value });
    }
    (parts, unknown)
}

impl Invocation {
    /// Returns the compile in `args`, those behind the compiler's path, and the first flag that is not known, if there is one.
    ///
    /// None for a question to rustc, and for anything else that is no unit of cargo's. Response files have been expanded.
    pub fn parse(args: &[OsString]) -> Option<(Invocation, Option<String>)> {
        let texts: Option<Vec<&str>> = args.iter().map(|arg| arg.to_str()).collect();
        let texts = texts?;
        let (behind, rest) = match texts.split_first() {
            // cargo's own begin with an option, those of a response file too.
            Some((first, rest)) if !first.starts_with(['-', '@']) => {
                (Some(OsString::from(first)), rest)
            }
            _ => (None, &texts[..]),
        };
        let is_unit = |name: &str| rest.iter().any(|arg| arg.starts_with(name));
        let asks = rest.contains(&"-") || is_unit("--print") || !is_unit("--out-dir");
        if asks || !is_unit("--crate-name") {
            return None;
        }
        let (parts, unknown) = parts(rest);
        Some((Invocation::of(behind, parts)?, unknown))
    }

    fn of(behind: Option<OsString>, parts: Vec<Part>) -> Option<Invocation> {
        let mut unit = Invocation {
            behind,
            ..Invocation::default()
        };
        let mut types = Vec::new();
        let mut test = false;
        for Part { flag, value } in &parts {
            let value = || value.clone().unwrap_or_default();
            match *flag {
                "--crate-name" => unit.crate_name = value(),
                "--out-dir" => unit.out_dir = PathBuf::from(value()),
                "--target" => unit.target = Some(value()),
                "--crate-type" => types.extend(value().split(',').map(str::to_owned)),
                "--test" => test = true,
                "--emit" => unit.kinds += value().split(',').count(),
                SOURCE => unit.source = PathBuf::from(value()),
                "-C" => match value().split_once('=') {
                    Some(("metadata", text)) => unit.metadata = text.to_owned(),
                    Some(("extra-filename", text)) => unit.extra_filename = Some(text.to_owned()),
                    Some(("incremental", text)) => unit.incremental = Some(PathBuf::from(text)),
                    _ => {}
                },
                _ => {}
            }
        }
        let plain = |kind: &String| kind == "lib" || kind == "rlib";
        unit.executable = test || types.is_empty() || types.iter().any(|kind| kind == "bin");
        unit.plain_library = !unit.executable && types.iter().all(plain);
        unit.parts = parts;
        let complete = !unit.crate_name.is_empty()
            && unit.crate_name != "___"
            && !unit.metadata.is_empty()
            && !unit.source.as_os_str().is_empty();
        complete.then_some(unit)
    }

    /// Returns the name of this unit's note in the ledger.
    pub fn ledger_key(&self) -> String {
        let extra = self.extra_filename.as_deref();
        ledger_key(&self.crate_name, extra, &self.metadata)
    }

    /// Returns what the names of this unit's outputs begin with.
    pub fn stem(&self) -> String {
        let extra = self.extra_filename.as_deref().unwrap_or_default();
        format!("{}{extra}", self.crate_name)
    }

    /// Returns the libraries that it is compiled against by name.
    pub fn libraries(&self) -> impl Iterator<Item = &Path> {
        let named = self.parts.iter().filter(|part| part.flag == "--extern");
        named.filter_map(|part| Some(Path::new(part.value.as_ref()?.split_once('=')?.1)))
    }

    /// Tells whether rustc is told `-C` and `option`.
    pub fn has_codegen(&self, option: &str) -> bool {
        let is = |part: &Part| part.flag == "-C" && part.value.as_deref() == Some(option);
        self.parts.iter().any(is)
    }

    /// Returns the same compile with `metadata` in the place of cargo's, and sessions in `incremental`; none where rustc is told more
    /// than one of either.
    pub fn with_identity(&self, metadata: &str, incremental: &Path) -> Option<Invocation> {
        let mut told = Invocation {
            metadata: metadata.to_owned(),
            incremental: Some(incremental.to_path_buf()),
            ..self.clone()
        };
        let sessions = incremental.to_str()?;
        for (name, value) in [("metadata", metadata), ("incremental", sessions)] {
            let mut parts = told.parts.iter_mut().filter(|part| part.is_codegen(name));
            let (Some(part), None) = (parts.next(), parts.next()) else {
                return None;
            };
            part.value = Some(format!("{name}={value}"));
        }
        Some(told)
    }

    /// Returns the arguments with `out_dir` instead of cargo's, and `further` options before them: of those that say the same otherwise, the last
    /// counts, which is the user's.
    pub fn with_out_dir(&self, out_dir: &Path, further: &[OsString]) -> Vec<OsString> {
        let mut args: Vec<OsString> = self.behind.iter().chain(further).cloned().collect();
        for part in &self.parts {
            match part.flag {
                "--out-dir" => push(&mut args, "--out-dir", out_dir.as_os_str()),
                _ => part.write(&mut args),
            }
        }
        args
    }

    /// Returns what of this line makes rustc hash the same, without what says where files lie and how messages look.
    pub fn line(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        let kept = self.parts.iter().filter(|part| part.is_asked());
        kept.for_each(|part| part.write(&mut args));
        args
    }

    /// Returns the arguments that make rustc hash the same as this line does behind `further` options, and compile `source` into `scratch`.
    pub fn as_probe(&self, source: &Path, scratch: &Path, further: &[OsString]) -> Vec<OsString> {
        let mut args: Vec<OsString> = self.behind.iter().chain(further).cloned().collect();
        args.extend(self.line());
        args.push(source.as_os_str().to_owned());
        push(&mut args, "--out-dir", scratch.as_os_str());
        let mut incremental = OsString::from("incremental=");
        incremental.push(scratch.join("incremental"));
        push(&mut args, "-C", &incremental);
        push(&mut args, "-C", OsStr::new("linker=true"));
        args
    }

    /// Returns one digest of all that rustc hashes of this line, with the roots that `finder` knows taken out, and
    /// of `context`, which it hashes as well.
    ///
    /// Equal on two machines: a session of the one would be made by the same arguments on the other.
    pub fn digest(&self, finder: &Finder, context: &[&OsStr]) -> Digest {
        let mut text = Vec::new();
        let mut add = |bytes: &[u8]| {
            text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            text.extend_from_slice(bytes);
        };
        let remapped = Roots::remapped();
        for part in self.parts.iter().filter(|part| part.is_hashed()) {
            add(part.flag.as_bytes());
            let value = part.value.as_deref().unwrap_or_default();
            let value = match part.flag {
                "--json" => hashed_json(value),
                _ => value.to_owned(),
            };
            add(&finder.rewrite(value.as_bytes(), &remapped));
        }
        context.iter().for_each(|one| add(one.as_encoded_bytes()));
        Digest::of(&text)
    }

    /// Returns one digest of what of this line tells the units of a package apart, and builds of them with other features or another profile;
    /// of `context` as well.
    pub fn identity(&self, finder: &Finder, context: &[&OsStr]) -> Digest {
        let mut own = self.clone();
        own.parts.retain(Part::tells_apart);
        own.digest(finder, context)
    }
}

impl Part {
    fn is_codegen(&self, name: &str) -> bool {
        let value = self.value.as_deref().unwrap_or_default();
        self.flag == "-C" && value.split('=').next() == Some(name)
    }

    fn is_hashed(&self) -> bool {
        self.flag != SOURCE
            && !NOT_HASHED.contains(&self.flag)
            && !CODEGEN_NOT_HASHED.iter().any(|name| self.is_codegen(name))
    }

    fn is_asked(&self) -> bool {
        !NOT_ASKED.contains(&self.flag)
            && !CODEGEN_NOT_ASKED.iter().any(|name| self.is_codegen(name))
    }

    fn tells_apart(&self) -> bool {
        TELLS_APART.contains(&self.flag) && !self.is_codegen("metadata")
    }

    fn write(&self, args: &mut Vec<OsString>) {
        match &self.value {
            Some(value) if self.flag == SOURCE => args.push(OsString::from(value)),
            Some(value) => push(args, self.flag, OsStr::new(value)),
            None => args.push(OsString::from(self.flag)),
        }
    }
}

fn push(args: &mut Vec<OsString>, flag: &str, value: &OsStr) {
    args.push(OsString::from(flag));
    args.push(value.to_owned());
}

fn hashed_json(value: &str) -> String {
    let hashed = value.split(',').filter(|one| JSON_HASHED.contains(one));
    hashed.collect::<Vec<_>>().join(",")
}

/// Returns the name of a unit's note in the ledger: with cargo's unit hash where the file name has it.
pub fn ledger_key(crate_name: &str, extra_filename: Option<&str>, metadata: &str) -> String {
    match extra_filename {
        Some(extra) => format!("{crate_name}{extra}"),
        None => format!("{crate_name}={metadata}"),
    }
}

/// Returns the name of a unit's seed in the ledger.
pub fn seed_key(compiled: &Compiled) -> String {
    ledger_key(&compiled.crate_name, None, &compiled.metadata)
}

/// Tells whether `args` are what cargo calls a wrapper with: a compiler, by its path or by a name that is no command, and a compile or
/// a question.
pub fn is_wrapped_call(args: &[OsString], is_command: impl Fn(&OsStr) -> bool) -> bool {
    let Some((program, given)) = args.split_first() else {
        return false;
    };
    let path = Path::new(program);
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let is_cargos = |arg: &OsString| {
        let bytes = arg.as_encoded_bytes();
        matches!(bytes, b"-vV" | b"--crate-name") || bytes.starts_with(b"@")
    };
    let is_compiler = matches!(stem, "rustc" | "clippy-driver") || path.components().count() > 1;
    let is_option = program.as_encoded_bytes().starts_with(b"-");
    is_compiler || !is_option && given.iter().any(is_cargos) && !is_command(program)
}

#[cfg(test)]
mod tests {
    use super::Invocation;
    use crate::model::Roots;
    use crate::model::rewrite::Finder;
    use std::ffi::{OsStr, OsString};
    use std::path::Path;

    const LIB: &str = "--crate-name foo --edition=2024 src/lib.rs --error-format=json \
        --json=diagnostic-rendered-ansi,artifacts,future-incompat --crate-type lib \
        --emit=dep-info,metadata,link -C debuginfo=2 -Cmetadata=9fe0 -C extra-filename=-632e \
        --out-dir /w/target/debug/deps -C incremental=/w/target/debug/incremental \
        -L dependency=/w/target/debug/deps --extern a=/w/target/debug/deps/liba-1.rmeta --cfg x=\"/w/y\"";

    fn parse(line: &str) -> Option<(Invocation, Option<String>)> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Invocation::parse(&args)
    }

    #[track_caller]
    fn unit(line: &str) -> Invocation {
        match parse(line) {
            Some((unit, None)) => unit,
            other => panic!("{other:?}"),
        }
    }

    fn finder(workspace: &str) -> Finder {
        let dir = Path::new(workspace);
        Finder::new(&Roots::new(
            dir,
            &dir.join("target"),
            Path::new("/home/u/.cargo"),
        ))
    }

    /// A unit that is not recognised is compiled without remaps, and pinned to the builder's machine.
    #[test]
    fn reads_what_cargo_writes() {
        let lib = unit(LIB);
        assert!(!lib.executable && lib.plain_library);
        assert_eq!(lib.ledger_key(), "foo-632e");
        assert_eq!(lib.metadata, "9fe0");
        assert_eq!(lib.source, Path::new("src/lib.rs"));
        assert!(lib.incremental.is_some());
        let bin = unit(&LIB.replace("--crate-type lib", "--crate-type bin"));
        assert!(bin.executable);
        let test = unit(&LIB.replace("--crate-type lib", "--test"));
        assert!(test.executable);
        let clippy = unit(&format!("/bin/rustc {LIB}"));
        // Of two prefixes that match, rustc takes the last: the user's, who may build for others to compare.
        let told = clippy.with_out_dir(Path::new("o"), &["--ours".into()]);
        assert_eq!(told[..2], ["/bin/rustc", "--ours"]);
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

    /// A flag of a newer rustc may shape the output in a way that we would hide.
    #[test]
    fn an_unknown_flag_makes_the_line_unknown() {
        for flag in ["--novel=1", "-o", "--emit=link=/x"] {
            let line = format!("{LIB} {flag}");
            assert!(matches!(parse(&line), Some((_, Some(_)))), "{flag}");
        }
        // Nor is it known what is in a file of the user's, which is no source.
        let line = LIB.replacen("--crate-name", "-g @flags.txt --crate-name", 1);
        let (with_file, unknown) = parse(&line).expect("it is a unit");
        let told = (with_file.source, unknown.as_deref());
        assert_eq!(told, (unit(LIB).source, Some("@flags.txt")));
    }

    /// Without the same digest at two paths no session would ever be used elsewhere.
    #[test]
    fn the_digest_knows_no_place() {
        let there = unit(&LIB.replace("/w/", "/home/u/other/"));
        let there = unit_with_width(there, LIB.replace("/w/", "/home/u/other/"));
        let here = unit(LIB).digest(&finder("/w"), &[]);
        assert_eq!(there.digest(&finder("/home/u/other"), &[]), here);
    }

    fn unit_with_width(_: Invocation, line: String) -> Invocation {
        unit(&format!("{line} --diagnostic-width=80"))
    }

    /// A session made by other arguments, taken for this line's, would give another program.
    #[test]
    fn the_digest_knows_what_rustc_hashes() {
        let here = unit(LIB).digest(&finder("/w"), &[]);
        for (old, new) in [
            ("debuginfo=2", "debuginfo=1"),
            ("x=\"/w/y\"", "x=\"/w/z\""),
            ("--edition=2024", "--edition=2021"),
            (",future-incompat", ""),
            ("--crate-type lib", "--crate-type lib -Dwarnings"),
        ] {
            let other = unit(&LIB.replace(old, new));
            assert_ne!(other.digest(&finder("/w"), &[]), here, "{new}");
        }
        assert_ne!(unit(LIB).digest(&finder("/w"), &[OsStr::new("1")]), here);
    }

    /// The probe must be hashed as the unit is, and must touch nothing of the unit's.
    #[test]
    fn the_probe_differs_only_in_what_is_not_hashed() {
        let probe = unit(LIB).as_probe(Path::new("/s/p.rs"), Path::new("/s"), &[]);
        assert!(
            !probe
                .iter()
                .any(|arg| arg.to_string_lossy().contains("target"))
        );
        let Some((probe, None)) = Invocation::parse(&probe) else {
            panic!("a probe is a unit")
        };
        assert_eq!(
            probe.digest(&finder("/w"), &[]),
            unit(LIB).digest(&finder("/w"), &[])
        );
        assert_eq!(
            probe.incremental.as_deref(),
            Some(Path::new("/s/incremental"))
        );
    }
}
