//! Holds the structure of the project: layers, owners, sizes, banned words, notes.
//!
//! Applies each rule of `rules` to the files of the checkout. Knows no Rust: what needs types is in `clippy.toml`.

mod code;
mod rules;

use std::fs;
use std::path::Path;

/// Where the rules look; whatever else lies in a checkout is not the project's.
const FOLDERS: &[&str] = &[
    "src", "testkit", "xtask", "tests", "benches", "bench", "docs", "book", "ci",
];

/// Not ours to keep tidy: what builds leave, and what other people wrote.
const SKIPPED: &[&str] = &["target", "fixtures"];

#[test]
fn layers_import_downwards_only() {
    // Breaks for a maintainer: the folders knot, and none can be tested, replaced or read alone any more.
    hold(src(), rules::layers);
}

#[test]
fn files_stay_small() {
    // Breaks for a maintainer: a file, or the whole, grows past what one reader can hold in mind.
    let lines = |file: File| {
        let outside = file.text.lines().take_while(|line| *line != "#[cfg(test)]");
        let code = outside.filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"));
        let (all, code) = (file.text.lines().count(), code.count());
        (file.path, all, code)
    };
    none(&rules::sizes(&rust().map(lines).collect::<Vec<_>>()));
}

#[test]
fn owners_keep_what_they_own() {
    // Breaks for a user: a panic, a line in the middle of rustc's output, or a wait for the network, where none may be.
    hold(src(), rules::words_in_src);
}

#[test]
fn code_is_finished() {
    // Breaks for a user: what somebody meant to write later panics in their build.
    hold(rust(), rules::words_in_rust);
}

#[test]
fn text_is_clean() {
    // Breaks for a stranger: a path that their machine does not have, a promise that nobody tracks, a noisy diff.
    hold(project().into_iter(), rules::words_in_text);
}

#[test]
fn files_say_what_they_are() {
    // Breaks for a maintainer: what a file is for, and what it does not know, has to be guessed from its code.
    hold(rust(), rules::first_line);
}

#[test]
fn notes_exist() {
    // Breaks for a maintainer: the reason for a surprising choice cannot be found, or there are two.
    let names = names_in("docs/notes");
    none(&rules::note_names(&names));
    let readers = project()
        .into_iter()
        .filter(|file| !file.path.starts_with("tests/tidy/"));
    hold(readers, |path, text| rules::notes(path, text, &names));
}

#[test]
fn readme_and_ci_say_the_same() {
    // Breaks for a stranger: the README's commands do not work, or CI runs something else than they do.
    let mut faults = Vec::new();
    for (path, command) in [
        ("README.md", "cargo run --release -- demo"),
        ("README.md", "cargo test --workspace"),
        (".ci/run", "cargo test --workspace"),
        ("CHANGELOG.md", ""),
    ] {
        match fs::read_to_string(path) {
            Ok(text) if text.contains(command) => {}
            Ok(_) => faults.push(format!("{path}:1: give the command `{command}`")),
            Err(error) => faults.push(format!("{path}:1: {error}: write it")),
        }
    }
    none(&faults);
}

/// A text file of the project; `path` is relative to its root, with slashes.
#[derive(Debug)]
struct File {
    path: String,
    text: String,
}

/// Returns the project's text files and `.ci/run`, in order of path.
///
/// Relative to the current directory, which cargo makes the package's root for tests: `env!` would name the checkout
/// that the test was compiled in, which another checkout's target directory may have come from.
fn project() -> Vec<File> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(folder, &mut files);
    }
    for name in names_in(".") {
        add(name, &mut files);
    }
    add(".ci/run".to_owned(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let here = files.iter().any(|file| file.path == "src/lib.rs");
    assert!(here, "run this in the package's root, as cargo does");
    files
}

fn rust() -> impl Iterator<Item = File> {
    let all = project().into_iter();
    all.filter(|file| file.path.ends_with(".rs"))
}

fn src() -> impl Iterator<Item = File> {
    rust().filter(|file| file.path.starts_with("src/"))
}

fn collect(folder: &str, files: &mut Vec<File>) {
    for name in names_in(folder) {
        let path = format!("{folder}/{name}");
        if !Path::new(&path).is_dir() {
            add(path, files);
        } else if !SKIPPED.contains(&name.as_str()) {
            collect(&path, files);
        }
    }
}

fn add(path: String, files: &mut Vec<File>) {
    let kinds = [".rs", ".md", ".toml", ".yml", ".sh", ".svg", ".ci/run"];
    if kinds.iter().any(|kind| path.ends_with(kind)) && Path::new(&path).is_file() {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        files.push(File { path, text });
    }
}

/// Returns the names in `folder`, sorted; none if there is no such folder.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.flatten().map(name).collect();
    names.sort();
    names
}

fn hold(files: impl Iterator<Item = File>, rule: impl Fn(&str, &str) -> Vec<String>) {
    let faults = files.flat_map(|file| rule(&file.path, &file.text));
    none(&faults.collect::<Vec<_>>());
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n\n{}\n\n", faults.join("\n"));
}
