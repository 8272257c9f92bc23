//! Holds the book to what it says: every command in it is run, every link leads somewhere, every reason is in it.
//!
//! Knows no headstart beyond its name: what a command prints is compared with what stands below it.

#[path = "../common/mod.rs"]
mod common;

mod console;
mod example;
mod links;
mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use headstart::model::{Began, Reason};
use headstart_testkit::{Headstart, Scratch, headstart};
use strum::VariantNames;

use common::PROGRAM;
use common::around::{output, skipped, succeeds};
use page::Page;

/// Where the chapters are.
const CHAPTERS: &str = "book/src";
/// How many blocks of commands may be there that nobody runs.
const MAX_NOT_RUN: usize = 8;

/// Returns the chapters, and the README, whose commands are held to the same.
fn pages() -> Vec<Page> {
    let entries = fs::read_dir(CHAPTERS).expect("the tests run in the package's root");
    let files = entries.flatten().map(|entry| entry.path());
    let chapters = files.filter(|file| file.extension().is_some_and(|kind| kind == "md"));
    let mut files: Vec<PathBuf> = chapters.chain([PathBuf::from("README.md")]).collect();
    files.sort();
    files.iter().map(|file| Page::read(file)).collect()
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n\n{}\n\n", faults.join("\n"));
}

/// Somebody who types what the book says would get an error, or see something else than the book shows.
#[test]
fn every_command_works_as_shown() {
    let pages = pages();
    let faults: Vec<String> = std::thread::scope(|scope| {
        let played: Vec<_> = pages
            .iter()
            .map(|page| scope.spawn(|| play(page)))
            .collect();
        played
            .into_iter()
            .flat_map(|one| one.join().expect("it does not panic"))
            .collect()
    });
    none(&faults);
}

/// Runs the commands of one page in order, and returns what went otherwise than it says.
fn play(page: &Page) -> Vec<String> {
    let steps = page.steps();
    if steps.is_empty() {
        return Vec::new();
    }
    let scratch = Scratch::new();
    let script = console::script(&steps);
    scratch.write("script", &script);
    let said = reader(&scratch).args([scratch.path("script")]).run();
    console::faults(&page.path, &steps, &(said.stdout + &said.stderr))
}

/// Returns a bash in an empty directory of somebody who has headstart, and for whom `https://github.com/you/app` is a small
/// workspace with two commits.
fn reader(scratch: &Scratch) -> Headstart {
    let origin = example::app(&scratch.path("app.git"));
    let dir = scratch.path("src");
    fs::create_dir(&dir).expect("the scratch directory is ours");
    let programs = Path::new(PROGRAM)
        .parent()
        .expect("a program lies in a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let instead = format!("url.{}.insteadOf", origin.root().display());
    let bash = headstart(Path::new("bash"), dir)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env(
            "BOOK_REPOSITORY",
            std::env::current_dir().expect("there is one"),
        )
        .env("GIT_CONFIG_COUNT", "3")
        .env("GIT_CONFIG_KEY_0", instead)
        .env("GIT_CONFIG_VALUE_0", "https://github.com/you/app");
    let named = [
        ("1", "user.name", "You"),
        ("2", "user.email", "you@example.invalid"),
    ];
    named.iter().fold(bash, |bash, (number, key, value)| {
        let bash = bash.env(format!("GIT_CONFIG_KEY_{number}"), key);
        bash.env(format!("GIT_CONFIG_VALUE_{number}"), value)
    })
}

/// What nobody runs would rot, one block after the other.
#[test]
fn few_commands_are_not_run_and_each_says_why() {
    let pages = pages();
    let faults: Vec<String> = pages.iter().flat_map(Page::faults).collect();
    none(&faults);
    let not_run: Vec<String> = pages.iter().flat_map(Page::not_run).collect();
    assert!(
        not_run.len() <= MAX_NOT_RUN,
        "run some of these:\n{}",
        not_run.join("\n")
    );
}

/// An option that is named in a sentence, and is called otherwise by now, would be an error for whoever types it.
#[test]
fn options_that_are_named_exist() {
    let mut help = std::collections::HashMap::new();
    let mut faults = Vec::new();
    for page in pages() {
        for (line, words) in page.inline_commands() {
            let subcommand = words.first().map_or("--help", |word| word.as_str());
            let text = help.entry(subcommand.to_owned()).or_insert_with(|| {
                output(
                    Command::new(PROGRAM)
                        .args([subcommand, "--help"])
                        .stdin(Stdio::null()),
                )
            });
            let at = format!("{}:{line}: headstart {}", page.path, words.join(" "));
            if text.code != 0 {
                faults.push(format!("{at}: there is no such command"));
            }
            let own = words.iter().take_while(|word| *word != "--");
            let options = own.filter(|word| word.starts_with("--"));
            let missing = options.filter(|option| !text.stdout.contains(option.as_str()));
            faults.extend(missing.map(|option| format!("{at}: {option} is no option of it")));
        }
    }
    none(&faults);
}

/// A click would end nowhere, or a chapter that is written could not be found.
#[test]
fn links_lead_somewhere() {
    none(&links::faults(Path::new(CHAPTERS)));
}

/// Whoever searches the book for what headstart told them would find nothing.
#[test]
fn every_reason_is_explained() {
    let chapter = fs::read_to_string("book/src/troubleshooting.md").expect("it is there");
    let of_sessions = Began::VARIANTS
        .iter()
        .chain(&["inherited", "inherited-crashed"]);
    let codes: Vec<&str> = Reason::VARIANTS
        .iter()
        .chain(of_sessions)
        .copied()
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !chapter.contains(&format!("`{code}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "explain in book/src/troubleshooting.md: {missing:?}"
    );
}

/// Whoever reads `--json` by a program would have to guess what a field means.
#[test]
fn every_field_is_explained() {
    let chapter = fs::read_to_string("book/src/scripts.md").expect("it is there");
    let mut missing = Vec::new();
    for entry in fs::read_dir("src/command").expect("it is there").flatten() {
        let text = fs::read_to_string(entry.path()).expect("it can be read");
        let mut pieces = text.split('"').skip(1).peekable();
        while let Some(piece) = pieces.next() {
            let is_field = pieces.peek().is_some_and(|after| after.starts_with(": "));
            // What is not so written belongs to a bucket's rules.
            let is_ours = |c: char| c.is_ascii_lowercase() || c == '_';
            if is_field && !piece.is_empty() && piece.chars().all(is_ours) {
                missing.push(piece.to_owned());
            }
        }
    }
    assert!(missing.len() > 80, "{missing:?}");
    missing.retain(|name| !chapter.contains(&format!("`{name}`")));
    let of_buckets = ["rule", "action", "type", "condition", "age"];
    missing.retain(|name| !of_buckets.contains(&name.as_str()));
    assert!(
        missing.is_empty(),
        "explain in book/src/scripts.md: {missing:?}"
    );
}

/// The book could not be read at all.
#[test]
fn the_book_builds() {
    if !succeeds(Command::new("mdbook").arg("--version").stdin(Stdio::null())) {
        return skipped("there is no mdbook");
    }
    let scratch = Scratch::new();
    let mut build = Command::new("mdbook");
    build
        .args(["build", "book", "--dest-dir"])
        .arg(scratch.root());
    let said = output(build.stdin(Stdio::null())).succeeded();
    let said = said.stdout + &said.stderr;
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    for page in pages() {
        let name = page
            .path
            .strip_prefix(&format!("{CHAPTERS}/"))
            .map(|name| name.replace(".md", ".html"));
        match name.as_deref() {
            Some("SUMMARY.html") | None => {}
            Some("introduction.html") => assert!(scratch.path("index.html").exists()),
            Some(name) => assert!(scratch.path(name).exists(), "{name}: {said}"),
        }
    }
    let picture = fs::read_to_string(scratch.path("how-it-works.html")).expect("it was built");
    assert!(
        picture.contains("<svg"),
        "the picture is not in its chapter"
    );
}
