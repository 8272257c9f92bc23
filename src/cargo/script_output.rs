//! What a build script printed, as far as cargo listens.

use crate::model::rewrite::begins_a_path;

/// Returns the lines of `output` that tell cargo what to build with; warnings, and when to run again, are left out.
///
/// Source: cargo: core/compiler/custom_build.rs, `BuildOutput::parse` @ 1.95.
pub fn told(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = output.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| {
        let told = line.strip_prefix(b"cargo:");
        let told = told.map(|told| told.strip_prefix(b":").unwrap_or(told));
        told.is_some_and(|told| !told.starts_with(b"warning=") && !told.starts_with(b"rerun-if-"))
    })
}

/// Returns the variables that `output` has set for the compile of its package, with their values; those in UTF-8.
pub fn variables(output: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let set = pairs(output).filter(|(key, _)| *key == "rustc-env");
    set.filter_map(|(_, value)| value.split_once('='))
}

/// Returns what may be a path in the lines of `output` by which the linker is told what to read.
pub fn linked(output: &[u8]) -> impl Iterator<Item = &str> {
    let flags = pairs(output).flat_map(|(key, value)| match key {
        "rustc-link-search" => vec!["-L", value],
        "rustc-flags" => value.split_whitespace().collect(),
        _ if key.starts_with("rustc-link-arg") || key.ends_with("-link-arg") => {
            vec![LINKERS, value]
        }
        _ => Vec::new(),
    });
    flag_paths(flags)
}

/// Returns the libraries in `output` that are linked from a file of their own: those of no kind, and `dylib`.
pub fn libraries(output: &[u8]) -> impl Iterator<Item = &str> {
    let named = pairs(output).filter(|(key, _)| *key == "rustc-link-lib");
    named.filter_map(|(_, value)| {
        let (kind, name) = value.split_once('=').unwrap_or(("dylib", value));
        let is_shared = kind.split(':').next() == Some("dylib");
        name.split(':').next().filter(|_| is_shared)
    })
}

/// Returns what `output` told cargo, each a key with its value.
fn pairs(output: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let texts = told(output).filter_map(|line| std::str::from_utf8(line).ok());
    texts.filter_map(|line| {
        let line = line.trim_start_matches("cargo:").trim_start_matches(':');
        line.split_once('=')
    })
}

/// What stands before an argument of the linker.
const LINKERS: &str = "-Clink-arg";

/// Returns what may be a path in `flags` of rustc, as far as a linker is told of it: `-L native=lib`, `-Clink-arg=-Tx.ld`, `-C
/// link-args=-Wl,--version-script=x.map`, `-Clinker=x`, `@file`.
pub fn flag_paths<'a>(flags: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut before = "";
    let found = flags.into_iter().flat_map(move |flag| {
        let before = std::mem::replace(&mut before, flag);
        let codegen = flag.strip_prefix("-C").unwrap_or(flag);
        let is_codegen = before == "-C" || flag.starts_with("-C");
        let told = codegen.split_once('=').filter(|_| is_codegen);
        match (before, flag.strip_prefix("-L").unwrap_or_default(), told) {
            ("-L", ..) => vec![behind_kind(flag)],
            (LINKERS, ..) => argument_paths(flag).collect(),
            (_, "", Some(("linker", path))) => vec![path],
            (_, "", Some(("link-arg" | "link-args", value))) => argument_paths(value).collect(),
            (_, "", _) => flag.strip_prefix('@').into_iter().collect(),
            (_, dir, _) => vec![behind_kind(dir)],
        }
    });
    found.filter(|path| !path.is_empty())
}

/// Returns the directory of `-L`, which may have a kind before it.
fn behind_kind(dir: &str) -> &str {
    dir.split_once('=').map_or(dir, |(_, dir)| dir)
}

/// Returns what may be a path in an argument of the linker; one with a space in it where it is all of the argument, or stands behind a sign.
fn argument_paths(argument: &str) -> impl Iterator<Item = &str> {
    let words = argument.split(|c: char| c.is_whitespace() || ",=".contains(c));
    let wholes = argument
        .match_indices('=')
        .map(|(at, _)| &argument[at + 1..]);
    words.chain(wholes).chain([argument]).flat_map(|word| {
        let behind = word.strip_prefix('-').and_then(|word| word.get(1..));
        let all = [Some(word), behind, word.strip_prefix('@')];
        all.into_iter().flatten()
    })
}

/// Returns what looks like an absolute path in `line`; one with a space or a colon in it is cut there.
pub fn absolute_paths(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"':;,".contains(byte);
    let begins = move |at: &usize| {
        let root = line[*at] == b'/' && line.get(at + 1) != Some(&b'/');
        root && begins_a_path(&line[..*at])
    };
    let all = (0..line.len()).filter(begins);
    all.filter_map(move |at| line[at..].split(ends).next())
}

/// Returns what looks like a path that leads up again, absolute or not; one with a space or a colon in it is cut there.
pub fn climbing_paths(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"':;,=".contains(byte);
    let words = line.split(ends).map(|word| match word {
        [b'-', letter, path @ ..] if letter.is_ascii_alphabetic() => path,
        path => path,
    });
    words.filter(|word| word.split(|byte| *byte == b'/').any(|part| part == b".."))
}

#[cfg(test)]
mod tests {
    use super::{absolute_paths, climbing_paths, flag_paths, libraries, linked, told, variables};

    /// A secret that a script reads from a file and compiles in would be published.
    #[test]
    fn variables_are_found_in_both_forms() {
        let output = b"cargo:rustc-env=A=1\n cargo::rustc-env=B=x=y \ncargo:rustc-env=C\ncargo:root=D=1\nrustc-env=E=1";
        let set: Vec<_> = variables(output).collect();
        assert_eq!(set, [("A", "1"), ("B", "x=y")]);
    }

    /// A line that is left out may be the one by which two runs differ; one too many, and no two are the same.
    #[test]
    fn only_what_cargo_builds_with_is_told() {
        let output = b"running: cc\n cargo:root=/a \ncargo::rustc-cfg=x\ncargo:warning=w\n\
            cargo::rerun-if-changed=/b\ncargo::warning=w";
        let lines: Vec<_> = told(output).collect();
        assert_eq!(lines, [&b"cargo:root=/a"[..], b"cargo::rustc-cfg=x"]);
    }

    /// A library that only the linker reads would stay as it was; or the name of a library, or a CPU, be taken for a directory.
    #[test]
    fn what_a_linker_is_told_is_found() {
        let flags = "-L native=vendor -Lmore -C link-arg=-Tx.ld -Ctarget-cpu=native @args";
        let found: Vec<&str> = flag_paths(flags.split(' ')).collect();
        let expected = ["vendor", "more", "x.ld", "args"];
        assert!(
            expected.iter().all(|path| found.contains(path)),
            "{found:?}"
        );
        assert!(!found.contains(&"native"), "{found:?}");
        let told = b"cargo:rustc-link-search=native=/a b/c\ncargo:rustc-link-lib=static=zz\n\
            cargo::rustc-cdylib-link-arg=y.ld";
        let found: Vec<&str> = linked(told).collect();
        let has = |path: &&str| found.contains(path);
        assert!(["/a b/c", "y.ld"].iter().all(has), "{found:?}");
        assert!(!["static", "zz", "native"].iter().any(has), "{found:?}");
        let named = b"cargo:rustc-link-lib=dylib=a\ncargo:rustc-link-lib=b:c\n\
            cargo:rustc-link-lib=static=d";
        assert_eq!(libraries(named).collect::<Vec<_>>(), ["a", "b"]);
    }

    /// A path that goes unseen lets a reader link with what lies at the publisher's.
    #[test]
    fn absolute_paths_are_found() {
        let check = |line: &str, expected: &[&str]| {
            let found = absolute_paths(line.as_bytes());
            let found: Vec<_> = found.map(String::from_utf8_lossy).collect();
            assert_eq!(found, expected, "{line}");
        };
        check("cargo:rustc-link-search=native=/a/b", &["/a/b"]);
        check("cargo:rustc-link-arg=-Wl,-rpath,/a", &["/a"]);
        check("cargo:rustc-flags=-L/a -L /b", &["/a", "/b"]);
        check("cargo:rustc-env=P=/a:/b", &["/a", "/b"]);
        check("cargo:rustc-env=P=\"/a\";@/b", &["/a", "/b"]);
        check("cargo:rustc-env=P=./a/b https://x/y c/d", &[]);
        let climbing = |line: &'static [u8]| -> Vec<_> { climbing_paths(line).collect() };
        assert_eq!(
            climbing(b"cargo:rustc-link-search=native=/a/../b"),
            [b"/a/../b"]
        );
        assert_eq!(climbing(b"cargo:rustc-flags=-L../a -L b"), [b"../a"]);
        assert!(climbing(b"cargo:rustc-env=P=a..b ...").is_empty());
    }
}
