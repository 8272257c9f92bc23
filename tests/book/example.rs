//! The workspace that the book's commands are about: three packages, two commits.

use std::path::Path;

use headstart_testkit::Workspace;
use headstart_testkit::fixture::Lock;

const MANIFEST: &str =
    "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"report\", \"words\"]\n";

const APP: &str = "fn main() {\n    println!(\"{}\", report::report());\n}\n";

const REPORT: &str = "pub fn report() -> String {\n    format!(\"{} words\", words::words().len())\n}\n\n\
    #[test]\nfn it_counts() {\n    assert!(report().starts_with('3'));\n}\n";

const WORDS: &str =
    "pub fn words() -> Vec<&'static str> {\n    vec![\"a\", \"head\", \"start\"]\n}\n";

/// Writes it to `root`: a program `app` that prints what `report` makes of `words`.
pub(crate) fn app(root: &Path) -> Workspace {
    let lock = Lock::new()
        .local("app", &["report"])
        .local("report", &["words"]);
    let (_, lock) = lock.local("words", &[]).file();
    let files = [
        (".gitignore", "/target\n"),
        ("Cargo.toml", MANIFEST),
        ("Cargo.lock", &lock),
        ("app/Cargo.toml", &package("app", "report")),
        ("app/src/main.rs", APP),
        ("report/Cargo.toml", &package("report", "words")),
        ("report/src/lib.rs", REPORT),
        ("words/Cargo.toml", &package("words", "")),
        ("words/src/lib.rs", WORDS),
    ];
    let app = Workspace::at(root, files);
    app.replace("report/src/lib.rs", "{} words", "{} words in all");
    app.commit("a longer report");
    app
}

fn package(name: &str, dependency: &str) -> String {
    let package =
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    match dependency {
        "" => package,
        other => format!("{package}\n[dependencies]\n{other} = {{ path = \"../{other}\" }}\n"),
    }
}
