//! A small workspace for `headstart demo`: several crates, a proc-macro, a build script, real dependencies.

use std::path::Path;

use crate::git;

const MANIFEST: &str = r#"[workspace]
members = ["app", "report", "words", "shout"]
resolver = "3"
"#;

const APP_MANIFEST: &str = r#"[package]
name = "app"
version = "0.1.0"
edition = "2024"

[dependencies]
report = { path = "../report" }
regex = "1"
"#;

const APP: &str = r#"fn main() {
    let word = regex::Regex::new("[a-z]+").expect("a valid pattern");
    println!("{}", word.replace_all(&report::report(), "<$0>"));
}
"#;

const REPORT_MANIFEST: &str = r#"[package]
name = "report"
version = "0.1.0"
edition = "2024"

[dependencies]
serde = { version = "1", features = ["derive"] }
serde_json = "1"
shout = { path = "../shout" }
words = { path = "../words" }
"#;

const REPORT: &str = r#"//! What the program says.

#[derive(serde::Serialize, shout::Shout)]
struct Report {
    words: Vec<&'static str>,
}

/// Returns the report as JSON.
pub fn report() -> String {
    let report = Report { words: words::WORDS.to_vec() };
    let text = serde_json::to_string(&report).expect("plain values");
    format!("{} {text}", Report::SHOUT)
}
"#;

const REPORT_EDIT: (&str, &str) = ("\"{} {text}\"", "\"{}: {text}\"");

const WORDS_MANIFEST: &str = r#"[package]
name = "words"
version = "0.1.0"
edition = "2024"
"#;

const WORDS: &str =
    "//! Words made by the build script.\n\ninclude!(concat!(env!(\"OUT_DIR\"), \"/words.rs\"));\n";

const WORDS_BUILD: &str = r#"fn main() {
    println!("cargo::rerun-if-changed=words.txt");
    let words = std::fs::read_to_string("words.txt").expect("words.txt is part of the package");
    let list: Vec<&str> = words.split_whitespace().collect();
    let code = format!("/// The words.\npub const WORDS: &[&str] = &{list:?};");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(format!("{out}/words.rs"), code).expect("OUT_DIR can be written");
}
"#;

const SHOUT_MANIFEST: &str = r#"[package]
name = "shout"
version = "0.1.0"
edition = "2024"

[lib]
proc-macro = true

[dependencies]
quote = "1"
syn = "2"
"#;

const SHOUT: &str = r#"//! `#[derive(Shout)]`: the type's name in capitals.

use proc_macro::TokenStream;

/// Derives `SHOUT`.
#[proc_macro_derive(Shout)]
pub fn shout(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    let name = &input.ident;
    let loud = name.to_string().to_uppercase();
    quote::quote!(impl #name { const SHOUT: &str = #loud; }).into()
}
"#;

/// Writes the workspace to `dir`, with two commits of which the second changes one function body.
///
/// `lock` makes its `Cargo.lock`, between writing and committing.
pub fn write(dir: &Path, lock: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let files = [
        ("Cargo.toml", MANIFEST),
        (".gitignore", "/target\n"),
        ("app/Cargo.toml", APP_MANIFEST),
        ("app/src/main.rs", APP),
        ("report/Cargo.toml", REPORT_MANIFEST),
        ("report/src/lib.rs", REPORT),
        ("words/Cargo.toml", WORDS_MANIFEST),
        ("words/build.rs", WORDS_BUILD),
        ("words/words.txt", "a head start\n"),
        ("words/src/lib.rs", WORDS),
        ("shout/Cargo.toml", SHOUT_MANIFEST),
        ("shout/src/lib.rs", SHOUT),
    ];
    for (path, text) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(path, text)?;
    }
    lock()?;
    git::commit_all(dir, "first")?;
    let (old, new) = REPORT_EDIT;
    std::fs::write(dir.join("report/src/lib.rs"), REPORT.replace(old, new))?;
    git::commit_all(dir, "second")?;
    Ok(())
}
