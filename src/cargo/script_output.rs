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
    let is_linkers = |key: &str| key.starts_with("rustc-link-") || key == "rustc-flags";
    let all = pairs(output).filter(move |(key, _)| is_linkers(key) || key.ends_with("-link-arg"));
    all.flat_map(|(_, value)| arguments_paths(value))
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

/// Returns what may be a path in flags for a compiler or a linker: `-L native=lib`, `-Clink-arg=-Tx.ld`, `-Wl,--version-script=x.map`, `@file`;
/// one with a space in it where it is all that stands behind a sign.
pub fn arguments_paths(flags: &str) -> impl Iterator<Item = &str> {
    let words = flags.split(|c: char| c.is_whitespace() || ",=".contains(c));
    let wholes = flags.match_indices('=').map(|(at, _)| &flags[at + 1..]);
    words.chain(wholes).chain([flags]).flat_map(|word| {
        let behind = word.strip_prefix('-').and_then(|word| word.get(1..));
        let in_file = word.strip_prefix('@');
        let all = [Some(word), behind, in_file].into_iter().flatten();
        all.filter(|word| !word.is_empty())
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
    use super::{absolute_paths, climbing_paths, told, variables};

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
