//! A workspace with each kind of unit that has a session, and the edits that people make.

use std::path::Path;

use headstart_testkit::fixture::Lock;
use headstart_testkit::{Workspace, headstart};

use crate::common::PROGRAM;

/// The profile that `headstart init --release-lane` writes.
pub(crate) const LANE: &str = "release-lane";

/// An edit, by name.
pub(crate) type Edit = (&'static str, fn(&Workspace));

/// Every kind of edit; some leave cargo nothing to reuse, in a warm directory as well.
pub(crate) const EDITS: [Edit; 7] = [
    ("function body", |it| {
        it.replace("base/src/shapes.rs", "side * side", "side * side + 0");
    }),
    ("signature", |it| {
        it.replace(
            "base/src/shapes.rs",
            "pub fn area(side: u32)",
            "pub fn area(side: u32, _scale: u8)",
        );
        it.replace("base/src/lib.rs", "shapes::area(3)", "shapes::area(3, 1)");
    }),
    ("new item", |it| {
        it.append(
            "base/src/words.rs",
            "pub fn further() -> &'static str {\n    \"further\"\n}\n",
        );
    }),
    ("new file", |it| {
        it.edit("base/src/extra.rs", "pub fn extra() -> u8 {\n    1\n}\n");
        it.append("base/src/lib.rs", "pub mod extra;\n");
    }),
    ("comment", |it| {
        it.replace(
            "base/src/words.rs",
            "pub fn loud",
            "// Says it louder.\npub fn loud",
        );
    }),
    ("dependency bumped", |it| {
        it.replace("made/Cargo.toml", "0.1.0", "0.1.1");
        it.replace(
            "Cargo.lock",
            "name = \"made\"\nversion = \"0.1.0\"",
            "name = \"made\"\nversion = \"0.1.1\"",
        );
    }),
    ("feature toggled", |it| {
        it.replace(
            "app/Cargo.toml",
            "base = { path = \"../base\" }",
            "base = { path = \"../base\", features = [\"loud\"] }",
        );
    }),
];

/// Returns a workspace of four: `base`, a library with generics and unit tests; `made`, with a build script that writes
/// into `OUT_DIR`; `derive`, a proc-macro; `app`, a program above them all with an integration test.
pub(crate) fn workspace() -> Workspace {
    let lock = Lock::new()
        .local("app", &["base", "derive", "itoa", "made"])
        .local("base", &[])
        .local("derive", &[])
        .local("made", &[])
        .registry("itoa");
    let files = [
        (".gitignore", "/target\n"),
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"base\", \"derive\", \"made\"]\n",
        ),
        (
            "base/Cargo.toml",
            "[package]\nname = \"base\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[features]\nloud = []\n",
        ),
        ("base/src/lib.rs", BASE),
        ("base/src/shapes.rs", SHAPES),
        ("base/src/words.rs", WORDS),
        (
            "made/Cargo.toml",
            "[package]\nname = \"made\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
        ),
        ("made/build.rs", SCRIPT),
        ("made/src/lib.rs", MADE),
        (
            "derive/Cargo.toml",
            "[package]\nname = \"derive\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\nproc-macro = true\n",
        ),
        ("derive/src/lib.rs", DERIVE),
        ("app/Cargo.toml", APP_MANIFEST),
        ("app/src/main.rs", MAIN),
        ("app/src/report.rs", REPORT),
        (
            "app/tests/whole.rs",
            "#[test]\nfn adds() {\n    assert_eq!(base::total(&[1, 2]), 3);\n}\n",
        ),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    Workspace::new(files.into_iter().chain([lock.file()]))
}

/// Returns `workspace` with a commit more, in which it has the release lane.
pub(crate) fn with_lane(workspace: Workspace) -> Workspace {
    let init = headstart(Path::new(PROGRAM), workspace.root());
    init.args(["init", "--release-lane", "--yes"])
        .run()
        .succeeded();
    workspace.commit("the release lane");
    workspace
}

const APP_MANIFEST: &str = "[package]
name = \"app\"
version = \"0.1.0\"
edition = \"2024\"
[dependencies]
base = { path = \"../base\" }
derive = { path = \"../derive\" }
made = { path = \"../made\" }
itoa = \"1\"
";

const BASE: &str = "pub mod shapes;
pub mod words;
pub fn total<T: Copy + std::iter::Sum<T>>(all: &[T]) -> T {
    all.iter().copied().sum()
}
pub fn nine() -> u32 {
    shapes::area(3)
}
#[cfg(test)]
mod tests {
    #[test]
    fn sums() {
        assert_eq!(super::total(&[1, 2]), 3);
        assert_eq!(super::nine(), 9);
    }
}
";

const SHAPES: &str = "#[inline(never)]
pub fn area(side: u32) -> u32 {
    side * side
}
pub struct Pile<T>(pub Vec<T>);
impl<T: std::fmt::Display> Pile<T> {
    pub fn show(&self) -> String {
        self.0.iter().map(|one| format!(\"[{one}]\")).collect()
    }
}
";

const WORDS: &str = "pub fn loud(text: &str) -> String {
    if cfg!(feature = \"loud\") { text.to_uppercase() } else { text.to_owned() }
}
pub mod deep {
    pub fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }
}
";

const SCRIPT: &str = "fn main() {
    println!(\"cargo::rerun-if-changed=build.rs\");
    let out = std::env::var(\"OUT_DIR\").unwrap();
    std::fs::write(format!(\"{out}/table.rs\"), \"pub const TABLE: [u8; 3] = [1, 2, 3];\").unwrap();
}
";

const MADE: &str = "include!(concat!(env!(\"OUT_DIR\"), \"/table.rs\"));
pub fn version() -> &'static str {
    env!(\"CARGO_PKG_VERSION\")
}
";

const DERIVE: &str = "use proc_macro::TokenStream;
#[proc_macro_derive(Named)]
pub fn named(input: TokenStream) -> TokenStream {
    let text = input.to_string();
    let name = text.split(\"struct \").nth(1).unwrap().split(|c: char| !c.is_alphanumeric()).next().unwrap();
    format!(\"impl {name} {{ pub fn name() -> &'static str {{ \\\"{name}\\\" }} }}\").parse().unwrap()
}
";

const MAIN: &str = "mod report;
fn main() {
    println!(\"{}\", report::all());
    println!(\"{} {}\", file!(), made::version());
}
";

const REPORT: &str = "use base::shapes::Pile;
#[derive(derive::Named)]
pub struct Report;
pub fn all() -> String {
    let pile = Pile(base::words::deep::words(\"a b\"));
    let sum = base::total(&made::TABLE);
    format!(\"{} {} {} {} {}\", Report::name(), pile.show(), sum, base::nine(), base::words::loud(itoa::Buffer::new().format(7)))
}
";
