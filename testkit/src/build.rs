//! What one cargo command did, read out of what `cargo -v` says.
//!
//! Knows only cargo's words; whether a wrapper really ran rustc behind a `Running` line cannot be seen here.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use crate::words::{shell_words, strip_ansi};

/// What a cargo command printed, and what it ran.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Whether cargo exited with 0.
    pub success: bool,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr, without colours.
    pub stderr: String,
    /// What cargo ran, in order.
    pub ran: Vec<Ran>,
    /// Names of the packages that cargo called fresh, each once.
    pub fresh: Vec<String>,
    /// The packages that cargo called dirty, and why; a unit never built before is not among them.
    pub dirty: Vec<Dirty>,
}

/// One process that cargo started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// rustc or clippy on one unit.
    Rustc(Rustc),
    /// A build script.
    Script(Script),
    /// Anything else: a test, a bench, `cargo run`'s program, rustdoc; the whole command.
    Program(String),
}

/// One rustc invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rustc {
    /// The `--crate-name`.
    pub crate_name: String,
    /// The package, known for build scripts only.
    pub package: Option<String>,
    /// Whether a test harness is built (`--test`).
    pub is_test: bool,
    /// Whether only metadata is made, as `cargo check` and `cargo clippy` do.
    pub is_check: bool,
    /// `lib`, `bin`, `proc-macro`, `cdylib`, …, or `test`, `example`, `bench`, `build`; several types are joined with `+`.
    pub kind: String,
    /// The `-C extra-filename` with its dash: cargo's unit hash, equal in every clone.
    pub hash: String,
}

/// One run of a build script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The package it belongs to.
    pub package: String,
    /// The hash of the script's own unit, with its dash.
    pub hash: String,
    /// The program: `…/build/<package>-<hash>/build-script-build`.
    pub path: PathBuf,
}

/// One package that cargo found dirty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// The package's name.
    pub package: String,
    /// cargo's reason, word for word.
    pub why: String,
}

impl Build {
    /// Reads what cargo printed under CARGO_TERM_VERBOSE.
    pub fn parse(success: bool, stdout: &str, stderr: &str) -> Self {
        let stderr = strip_ansi(stderr);
        let mut build = Self {
            success,
            stdout: stdout.to_owned(),
            ..Self::default()
        };
        for line in stderr.lines() {
            build.take(line);
        }
        build.stderr = stderr;
        build
    }

    /// Returns itself where cargo succeeded, else panics with all that it printed.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(
            self.success,
            "cargo failed:\n{}\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Returns itself where neither rustc nor a build script ran, else panics and names them, with cargo's reasons.
    #[track_caller]
    pub fn nothing_ran(self) -> Self {
        let build = self.succeeded();
        let units = build.units();
        assert!(
            units.is_empty(),
            "cargo ran {units:#?} because of {:#?}",
            build.dirty
        );
        build
    }

    /// Iterates over the rustc invocations.
    pub fn rustcs(&self) -> impl Iterator<Item = &Rustc> {
        self.ran.iter().filter_map(|ran| match ran {
            Ran::Rustc(rustc) => Some(rustc),
            Ran::Script(_) | Ran::Program(_) => None,
        })
    }

    /// Iterates over the build scripts that ran.
    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        self.ran.iter().filter_map(|ran| match ran {
            Ran::Script(script) => Some(script),
            Ran::Rustc(_) | Ran::Program(_) => None,
        })
    }

    /// Counts the rustc invocations.
    pub fn rustc_runs(&self) -> usize {
        self.rustcs().count()
    }

    /// Counts the build scripts that ran.
    pub fn script_runs(&self) -> usize {
        self.scripts().count()
    }

    /// Returns what was compiled and run: `foo(lib)`, `foo(test)`, `foo(bin)`, `foo(build)`, `foo(run)`, `foo(lib check)`.
    pub fn crates_compiled(&self) -> BTreeSet<String> {
        let rustcs = self.rustcs().map(Rustc::to_string);
        rustcs
            .chain(self.scripts().map(Script::to_string))
            .collect()
    }

    /// Returns the same with cargo's unit hash, `foo-0123456789abcdef(lib)`: host and target, each feature set, apart.
    pub fn units(&self) -> BTreeSet<String> {
        let rustcs = self.rustcs().map(Rustc::unit);
        rustcs.chain(self.scripts().map(Script::unit)).collect()
    }

    fn take(&mut self, line: &str) {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("Running ") {
            if let Some(command) = rest
                .strip_prefix('`')
                .and_then(|rest| rest.strip_suffix('`'))
            {
                self.ran.push(Ran::parse(command));
            }
        } else if let Some(rest) = line.strip_prefix("Fresh ") {
            let package = first_word(rest);
            if !self.fresh.iter().any(|known| known == package) {
                self.fresh.push(package.to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("Dirty ") {
            // "name v1.0.0 (path): why", and the path is not there for a package of a registry.
            let why = rest.split_once(": ").map_or("", |(_, why)| why);
            self.dirty.push(Dirty {
                package: first_word(rest).to_owned(),
                why: why.to_owned(),
            });
        }
    }
}

impl Ran {
    fn parse(command: &str) -> Self {
        let words = shell_words(command);
        // cargo quotes arguments, and leaves the program as it is: a script's path may have spaces.
        let whole = Script::parse(&[command.to_owned()]);
        if let Some(script) = whole.or_else(|| Script::parse(&words)) {
            return Self::Script(script);
        }
        match Rustc::parse(&words) {
            Some(rustc) => Self::Rustc(rustc),
            None => Self::Program(command.to_owned()),
        }
    }
}

impl Rustc {
    fn parse(words: &[String]) -> Option<Self> {
        // The compiler stands before its arguments, after a wrapper and clippy-driver if there are any.
        let compiler = words
            .iter()
            .take_while(|word| !word.starts_with('-'))
            .last()?;
        if compiler.ends_with("rustdoc") {
            return None;
        }
        let crate_name = value_after(words, "--crate-name")?.to_owned();
        let out_dir = value_after(words, "--out-dir").unwrap_or_default();
        let emit = words.iter().find_map(|word| word.strip_prefix("--emit="));
        let hash = words
            .iter()
            .find_map(|word| word.strip_prefix("extra-filename="));
        let is_test = words.iter().any(|word| word == "--test");
        let package = package_of_script(&crate_name, out_dir);
        Some(Self {
            kind: kind(words, out_dir, is_test, package.is_some()),
            is_check: emit.is_some_and(|emit| !emit.split(',').any(|kind| kind == "link")),
            hash: hash.unwrap_or_default().to_owned(),
            crate_name,
            package,
            is_test,
        })
    }

    /// Returns the package where that is known, else the crate.
    fn name(&self) -> &str {
        self.package.as_ref().unwrap_or(&self.crate_name)
    }

    fn what(&self) -> String {
        let check = if self.is_check { " check" } else { "" };
        format!("({}{check})", self.kind)
    }

    fn unit(&self) -> String {
        format!("{}{}{}", self.name(), self.hash, self.what())
    }
}

impl fmt::Display for Rustc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.name(), self.what())
    }
}

impl Script {
    fn parse(words: &[String]) -> Option<Self> {
        let [program] = words else { return None };
        let (directory, file) = program.rsplit_once('/')?;
        let (above, unit) = directory.rsplit_once('/')?;
        if !above.ends_with("/build") || !file.starts_with("build-script-") {
            return None;
        }
        let (package, hash) = unit.split_at(unit.rfind('-')?);
        Some(Self {
            package: package.to_owned(),
            hash: hash.to_owned(),
            path: program.into(),
        })
    }

    fn unit(&self) -> String {
        format!("{}{}(run)", self.package, self.hash)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}(run)", self.package)
    }
}

/// A build script is compiled into `build/<package>-<hash>`, whatever its file is called.
fn package_of_script(crate_name: &str, out_dir: &str) -> Option<String> {
    let (above, unit) = out_dir.rsplit_once('/')?;
    let is_script =
        crate_name.starts_with("build_script_") && (above == "build" || above.ends_with("/build"));
    is_script.then(|| {
        unit.rsplit_once('-')
            .map_or(unit, |(package, _)| package)
            .to_owned()
    })
}

fn kind(words: &[String], out_dir: &str, is_test: bool, is_script: bool) -> String {
    let types: Vec<&str> = words
        .windows(2)
        .filter(|pair| pair[0] == "--crate-type")
        .map(|pair| pair[1].as_str())
        .collect();
    match () {
        () if is_test => "test".into(),
        () if is_script => "build".into(),
        () if out_dir.ends_with("examples") => "example".into(),
        // cargo gives a bench with harness = false no crate type.
        () if types.is_empty() => "bench".into(),
        () => types.join("+"),
    }
}

fn value_after<'a>(words: &'a [String], flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == flag)?;
    words.get(at + 1).map(String::as_str)
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STDERR: &str = "\u{1b}[1m\u{1b}[32m       Fresh\u{1b}[0m itoa v1.0.15
       Dirty probe v0.1.0 (/w s/probe): the file `src/lib.rs` has changed (1s after)
   Compiling probe v0.1.0 (/w s/probe)
     Running `/bin/rustc --crate-name build_script_build --edition=2024 build.rs --crate-type bin --emit=dep-info,link -C extra-filename=-01 --out-dir '/w s/target/debug/build/my-probe-01'`
     Running `/w s/target/debug/build/my-probe-01/build-script-build`
     Running `/bin/wrapper /bin/rustc --crate-name probe --edition=2024 src/lib.rs --crate-type lib --emit=dep-info,metadata,link -C extra-filename=-02 --out-dir '/w s/target/debug/deps'`
     Running `/bin/rustc --crate-name probe --edition=2024 src/lib.rs --emit=dep-info,link -C extra-filename=-03 --test --out-dir '/w s/target/debug/deps'`
     Running `/bin/rustc --crate-name show examples/show.rs --crate-type bin --emit=dep-info,link -C extra-filename=-04 --out-dir '/w s/target/debug/examples'`
     Running `/bin/rustc --crate-name speed benches/speed.rs --emit=dep-info,link --cfg test --check-cfg 'cfg(feature, values(\"it'\\''s\"))' -C extra-filename=-05 --out-dir '/w s/target/debug/deps'`
     Running `/bin/clippy-driver /bin/rustc --crate-name probe src/lib.rs --crate-type cdylib --crate-type lib --emit=dep-info,metadata -C extra-filename=-06 --out-dir '/w s/target/debug/deps'`
     Running `/bin/rustdoc --crate-type lib --crate-name probe src/lib.rs`
     Running `target/debug/probe a 'b c'`
       Fresh itoa v1.0.15
    Finished `dev` profile [unoptimized + debuginfo] target(s) in 0.82s
";

    // Without it, a test that says "rustc ran zero times" could not be believed.
    #[test]
    fn every_kind_of_line_is_counted_as_what_it_is() {
        let build = Build::parse(true, "", STDERR);
        assert_eq!(
            (build.rustc_runs(), build.script_runs(), build.ran.len()),
            (6, 1, 9)
        );
        let names = [
            "my-probe(build)",
            "my-probe(run)",
            "probe(cdylib+lib check)",
            "probe(lib)",
            "probe(test)",
            "show(example)",
            "speed(bench)",
        ];
        assert_eq!(build.crates_compiled(), names.map(String::from).into());
        assert!(
            build.units().contains("my-probe-01(run)") && build.units().contains("probe-03(test)")
        );
        assert_eq!(build.fresh, ["itoa"]);
        assert_eq!(
            build.ran[8],
            Ran::Program("target/debug/probe a 'b c'".into())
        );
        let [dirty] = build.dirty.as_slice() else {
            panic!("one is dirty")
        };
        assert_eq!(
            (dirty.package.as_str(), dirty.why.split(' ').next()),
            ("probe", Some("the"))
        );
    }
}
