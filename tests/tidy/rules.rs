//! The rules, each a function from a file's path and text to its faults.
//!
//! Reads no file itself, so that each rule is tested below on a few lines. A fault says where, what, and what to do instead.

use std::collections::BTreeMap;

use crate::code::{blanked, has_path, has_word, names_from_root, numbered, test_items, tokens};

/// The folders of `src/` and their layers: a file names only folders of lower layers, and its own.
const LAYERS: &[(&str, u8)] = &[
    ("model", 0),
    ("child", 1),
    ("disk", 1),
    ("rustc", 2),
    ("cargo", 2),
    ("git", 2),
    ("trust", 2),
    ("store", 2),
    ("report", 2),
    ("config", 2),
    ("delta", 3),
    ("tier", 3),
    ("remote", 4),
    ("travel", 4),
    ("engine", 5),
    ("command", 6),
    ("wrapper", 6),
];

/// The crate roots, above all layers.
const ROOTS: &[&str] = &["src/lib.rs", "src/main.rs"];

/// Room for one concept and its tests.
const MAX_FILE_LINES: usize = 600;

/// What one person can know of the published package; past it, something has to go before something comes. See note 0010.
const MAX_CODE_LINES: usize = 19_370;

/// Who prints for people.
const PRINTERS: &[&str] = &["src/report", "src/command", "src/wrapper", "src/main.rs"];

/// Who talks to the network.
const NETWORK: &[&str] = &["src/remote"];

/// Who may write `#[expect(clippy::disallowed_methods)]`: the owners in `clippy.toml`; the top, which reads the clock;
/// and `lib.rs`, which turns the lint on.
const OWNERS: &[&str] = &[
    "src/disk",
    "src/config",
    "src/git",
    "src/rustc/run",
    "src/cargo/command",
    "src/command",
    "src/wrapper",
    "src/main.rs",
    "src/lib.rs",
];

/// Words that only some may write.
struct Ban {
    words: &'static [&'static str],
    owners: &'static [&'static str],
    instead: &'static str,
}

/// Banned in the code of `src/` outside its tests.
const IN_SRC: &[Ban] = &[
    Ban {
        words: &[".unwrap()"],
        owners: &[],
        instead: "return an error, or `expect` with the invariant that makes it safe",
    },
    Ban {
        words: &["print!", "println!", "eprint!", "eprintln!"],
        owners: PRINTERS,
        instead: "return the value, and let `report` say it",
    },
    Ban {
        words: &[
            "std::net",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "object_store",
            "tokio",
        ],
        owners: NETWORK,
        instead: "only `remote` talks to the network: go through a tier",
    },
    Ban {
        words: &["clippy::disallowed_methods"],
        owners: OWNERS,
        instead: "call the owner that clippy.toml names",
    },
    Ban {
        words: &["#[allow(", "#![allow("],
        owners: &[],
        instead: "write `expect(…, reason = \"…\")`, which fails once it is not needed",
    },
];

/// Banned in all Rust code, tests included.
const IN_RUST: &[Ban] = &[
    Ban {
        words: &["todo!", "unimplemented!"],
        owners: &[],
        instead: "write it, or return an error that says what is missing",
    },
    Ban {
        words: &["dbg!"],
        owners: &[],
        instead: "delete it; what is worth seeing twice belongs in `report`",
    },
];

/// Banned everywhere, comments and documents included. In halves, so that this file passes.
const IN_TEXT: &[Ban] = &[
    Ban {
        words: &[concat!("FIX", "ME"), concat!("TO", "DO")],
        owners: &[],
        instead: "do it now, or open an issue",
    },
    Ban {
        words: &["\t"],
        owners: &[],
        instead: "indent with spaces, and write \\t in a literal",
    },
];

/// First directories of absolute paths that exist on one person's machine only.
const MACHINE_ROOTS: [&str; 2] = ["root", "work"];

/// Finds what names a folder that is not below its own.
pub(crate) fn layers(path: &str, text: &str) -> Vec<String> {
    if ROOTS.contains(&path) {
        return Vec::new();
    }
    let folder = folder_of(path);
    let Some(layer) = layer_of(folder) else {
        return vec![format!("{path}:1: `{folder}` has no layer: {GIVE_LAYER}")];
    };
    let mut faults = Vec::new();
    for (line, name) in names_from_root(&tokens(&blanked(text)), depth_of(path)) {
        match layer_of(name) {
            Some(other) if other < layer || name == folder => {}
            Some(other) => faults.push(format!(
                "{path}:{line}: `{folder}` (layer {layer}) names `{name}` (layer {other}), which is not below it: \
                 pass the value in from the caller, or move what both need further down"
            )),
            None => faults.push(format!("{path}:{line}: `{name}` has no layer: {GIVE_LAYER}")),
        }
    }
    faults
}

const GIVE_LAYER: &str = "use a folder that has one; for a new folder, enter the lowest layer that works in LAYERS of \
                          tests/tidy/rules.rs and in ARCHITECTURE.md";

/// Finds files that are too long, given the lines of each and how many of them are code as note 0010 counts it, and whether
/// all are too long together.
pub(crate) fn sizes(lines: &[(String, usize, usize)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, count, _) in lines.iter().filter(|(_, count, _)| *count > MAX_FILE_LINES) {
        faults.push(format!(
            "{path}:{count}: over {MAX_FILE_LINES} lines: split it by concept, one noun a file"
        ));
    }
    let published = lines.iter().filter(|(path, ..)| path.starts_with("src/"));
    let total: usize = published.map(|(_, _, code)| code).sum();
    if total > MAX_CODE_LINES {
        faults.push(format!(
            "{total} lines of code in src, over {MAX_CODE_LINES}: delete something first"
        ));
    }
    faults
}

/// Finds words in the code of `src/` that another folder owns.
pub(crate) fn words_in_src(path: &str, text: &str) -> Vec<String> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let code = blanked(text);
    let tests = test_items(&tokens(&code));
    let tested = |line| {
        tests
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&line))
    };
    let lines = numbered(&code).filter(|(number, _)| !tested(*number));
    banned(IN_SRC, path, lines)
}

/// Finds words that unfinished code leaves.
pub(crate) fn words_in_rust(path: &str, text: &str) -> Vec<String> {
    banned(IN_RUST, path, numbered(&blanked(text)))
}

/// Finds words, paths and white space that no file should hold.
pub(crate) fn words_in_text(path: &str, text: &str) -> Vec<String> {
    let mut faults = banned(IN_TEXT, path, numbered(text));
    for (number, line) in numbered(text) {
        let at = format!("{path}:{number}");
        for root in MACHINE_ROOTS.map(|root| format!("/{root}/")) {
            if has_path(line, &root) {
                faults.push(format!(
                    "{at}: `{root}` is on one machine: use a relative path, or a made-up one"
                ));
            }
        }
        if line.ends_with(char::is_whitespace) {
            faults.push(format!(
                "{at}: white space at the end of the line: delete it"
            ));
        }
    }
    faults
}

fn banned<'a>(
    bans: &[Ban],
    path: &str,
    lines: impl Iterator<Item = (usize, &'a str)>,
) -> Vec<String> {
    let owned = |ban: &Ban| ban.owners.iter().any(|owner| path.starts_with(owner));
    let mut faults = Vec::new();
    for (number, line) in lines {
        for ban in bans.iter().filter(|ban| !owned(ban)) {
            for word in ban.words.iter().filter(|word| has_word(line, word)) {
                let word = word.escape_default();
                faults.push(format!("{path}:{number}: `{word}`: {}", ban.instead));
            }
        }
    }
    faults
}

/// Finds a file that does not say what it is.
pub(crate) fn first_line(path: &str, text: &str) -> Vec<String> {
    let fault =
        || format!("{path}:1: begin with `//! ` and what the file is, then what it does not know");
    (!text.starts_with("//! "))
        .then(fault)
        .into_iter()
        .collect()
}

/// Finds notes that are named in another way than the rest, or whose number is taken.
pub(crate) fn note_names(names: &[String]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let mut faults = Vec::new();
    for name in names {
        let number =
            note_number(name).filter(|_| name[4..].starts_with('-') && name.ends_with(".md"));
        let other = number.and_then(|number| seen.insert(number, name));
        if number.is_none() {
            faults.push(format!("docs/notes/{name}:1: name it NNNN-title.md"));
        } else if let Some(other) = other {
            faults.push(format!(
                "docs/notes/{name}:1: {other} has the number: take the next free one"
            ));
        }
    }
    faults
}

/// Finds "note NNNN" where none of `names` has the number; the two words may stand on two lines of a comment.
pub(crate) fn notes(path: &str, text: &str, names: &[String]) -> Vec<String> {
    let words = numbered(text)
        .flat_map(|(number, line)| line.split_whitespace().map(move |word| (number, word)));
    let (mut previous, mut faults) = ("", Vec::new());
    for (line, word) in words.filter(|(_, word)| !matches!(*word, "//" | "///" | "//!")) {
        let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        let named = note_number(word).filter(|_| previous.eq_ignore_ascii_case("note"));
        if let Some(note) = named
            && !names.iter().any(|name| note_number(name) == named)
        {
            faults.push(format!(
                "{path}:{line}: there is no note {note}: write docs/notes/{note}-title.md, or mend the number"
            ));
        }
        previous = word;
    }
    faults
}

/// Returns the four digits that `word` starts with.
fn note_number(word: &str) -> Option<&str> {
    let (number, rest) = word.split_at_checked(4)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number) && !rest.starts_with(|c: char| c.is_ascii_digit())).then_some(number)
}

fn layer_of(folder: &str) -> Option<u8> {
    let found = LAYERS.iter().find(|(name, _)| *name == folder);
    found.map(|(_, layer)| *layer)
}

/// Returns the folder of `src/` that `path` belongs to: `disk` for `src/disk/lock.rs`, and for `src/disk.rs`.
fn folder_of(path: &str) -> &str {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    inside.split_once('/').map_or(inside, |(folder, _)| folder)
}

/// Returns how many `super::` lead from the module of `path` to the crate's root.
fn depth_of(path: &str) -> usize {
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    module.matches('/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that `rule` finds faults on exactly these lines of a file.
    #[track_caller]
    fn check(rule: impl Fn(&str, &str) -> Vec<String>, path: &str, text: &str, lines: &[&str]) {
        let faults = rule(path, text);
        let found: Vec<_> = faults
            .iter()
            .filter_map(|fault| fault.split(':').nth(1))
            .collect();
        assert_eq!(found, lines, "{path}: {faults:#?}");
    }

    #[test]
    fn layers_are_held() {
        // Breaks for a maintainer: an import upwards, or sideways, is not seen.
        let all = "use crate::model::A;\nuse crate::store::B;\nuse crate::cargo::C;\nuse crate::engine::D;";
        check(layers, "src/cargo/unit.rs", all, &["2", "4"]);
        check(layers, "src/engine/plan.rs", all, &[]);
        check(layers, "src/model.rs", all, &["2", "3", "4"]);
        check(
            layers,
            "src/wrapper/mod.rs",
            "use super::command;\nuse crate::wrapper::run;",
            &["1"],
        );
        check(
            layers,
            "src/disk/a/b.rs",
            "use super::super::c;\nuse super::super::super::store;",
            &["2"],
        );
        check(layers, "src/main.rs", "use crate::anything;", &[]);
        check(
            layers,
            "src/disk/lock.rs",
            "//! See [crate::engine].\nlet a = \"crate::engine\";",
            &[],
        );
    }

    #[test]
    fn an_unknown_folder_is_refused() {
        // Breaks for a maintainer: a new folder is under no rule at all.
        check(layers, "src/util/mod.rs", "", &["1"]);
        check(
            layers,
            "src/disk/lock.rs",
            "\nuse crate::util;\nuse crate::*;",
            &["2", "3"],
        );
        assert!(
            layers("src/util.rs", "")[0].contains("ARCHITECTURE.md"),
            "says what to do"
        );
    }

    #[test]
    fn sizes_are_held() {
        // Breaks for a maintainer: nobody notices the day on which a file becomes unreadable.
        let found = |counts: &[usize]| {
            let lines: Vec<_> = counts
                .iter()
                .map(|count| ("src/a.rs".to_owned(), *count, *count))
                .collect();
            sizes(&lines).len()
        };
        assert_eq!(found(&[MAX_FILE_LINES, 1]), 0);
        assert_eq!(found(&[MAX_FILE_LINES + 1, 1]), 1);
        assert_eq!(
            found(&[MAX_FILE_LINES; MAX_CODE_LINES / MAX_FILE_LINES + 1]),
            1
        );
    }

    #[test]
    fn owners_and_tests_may() {
        // Breaks for a maintainer: the owner is refused, or a stranger is let in.
        let prints = "println!();\n// println!()\nlet a = \"println!()\";";
        check(words_in_src, "src/report/text.rs", prints, &[]);
        check(words_in_src, "src/engine/plan.rs", prints, &["1"]);
        let unwraps = "a.unwrap();\n#[cfg(test)]\nmod tests {\n  a.unwrap();\n}\na.unwrap();\na.unwrap_or(b);";
        check(words_in_src, "src/disk/lock.rs", unwraps, &["1", "6"]);
        check(words_in_src, "src/disk/tests.rs", unwraps, &[]);
        let expects = "#[expect(\n  clippy::disallowed_methods,\n  reason = \"\"\n)]";
        check(words_in_src, "src/disk/lock.rs", expects, &[]);
        check(words_in_src, "src/engine/plan.rs", expects, &["2"]);
        check(
            words_in_src,
            "src/tier/mod.rs",
            "use std::net::A;\nuse tokio::fs;\n#[allow(b)]",
            &["1", "2", "3"],
        );
        check(
            words_in_src,
            "src/remote/mod.rs",
            "use std::net::A;\nuse tokio::fs;",
            &[],
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        // Breaks for a user: a macro that panics is taken for finished code.
        check(
            words_in_rust,
            "a.rs",
            "todo!();\n// todo!()\nunimplemented!()\ndbg!(a)",
            &["1", "3", "4"],
        );
    }

    #[test]
    fn unclean_text_is_found() {
        // Breaks for a stranger: a comment or a document that only its author's machine makes sense of.
        let path = format!("see /{}/a, `/a/b`", MACHINE_ROOTS[0]);
        check(words_in_text, "a.md", &path, &["1"]);
        check(
            words_in_text,
            "a.md",
            "src/root/a.rs\n\u{9}b\nc \nd",
            &["2", "3"],
        );
        check(words_in_text, "a.md", IN_TEXT[0].words[0], &["1"]);
    }

    #[test]
    fn a_file_begins_with_its_purpose() {
        // Breaks for a maintainer: an empty first line counts as a description.
        check(first_line, "a.rs", "//! Places files.", &[]);
        check(first_line, "a.rs", "use b;\n//! Places files.", &["1"]);
        check(first_line, "a.rs", "//!\nuse b;", &["1"]);
    }

    #[test]
    fn notes_are_found_by_number() {
        // Breaks for a maintainer: a reference to nothing, or to two notes, is not seen.
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(note_names(&names(&["0001-a.md", "0002-b.md"])).len(), 0);
        assert_eq!(note_names(&names(&["0001-a.md", "0001-b.md"])).len(), 1);
        assert_eq!(
            note_names(&names(&["1-a.md", "00011-b.md", "0002.md"])).len(),
            3
        );
        let text = "// See note 0001.\n// (Note 0002), and a note\n// 0003: in 0004 ways";
        check(
            |path, text| notes(path, text, &names(&["0001-a.md"])),
            "a.rs",
            text,
            &["2", "3"],
        );
    }
}
