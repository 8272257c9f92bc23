//! Which session a unit begins from.

use std::fs;
use std::path::Path;

use headstart_testkit::Workspace;

use crate::common::chain::{Chain, explain};
use crate::common::{PROGRAM, publish, runner};
use crate::reuse::{crate_dirs, entries};

/// What `headstart explain` says of `name` in the clone: the reason's code and its sentence.
fn explained(clone: &Workspace, name: &str) -> (String, String) {
    let said = explain(clone.root(), &[name, "--json"]).succeeded().json();
    let reason = &said["units"][0]["compiled"]["reason"];
    let text = |key: &str| reason[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("text"))
}

fn build(chain: &Chain, clone: &Workspace) {
    runner(clone.root(), &chain.place)
        .args(["start", "--", "build"])
        .run()
        .succeeded();
}

/// The session of a unit that was placed is needed as soon as its source is edited.
#[test]
fn a_unit_that_was_fresh_begins_from_its_session() {
    let chain = Chain::published();
    let clone = chain.elsewhere("edited-later");
    build(&chain, &clone);
    clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    clone.cargo().env("RUSTC_WRAPPER", PROGRAM).build(&[]);
    assert_eq!(clone.program("c3"), "13");
    let (code, text) = explained(&clone, "c1");
    assert_eq!(code, "seeded", "{text}");
    assert!(text.contains(&chain.source.head()[..12]), "{text}");
}

/// After a change was reverted, the newest commit's session knows less than the one before it.
#[test]
fn the_most_similar_session_is_taken_not_the_newest() {
    let chain = Chain::published();
    let first = chain.source.head();
    chain.source.replace("crates/c1/src/lib.rs", "+ 1", "+ 5");
    chain.source.commit("second");
    chain.publish_again();
    chain.source.replace("crates/c1/src/lib.rs", "+ 5", "+ 1");
    chain
        .source
        .append("crates/c2/src/lib.rs", "pub fn new() {}\n");
    chain.source.commit("third");
    let clone = chain.elsewhere("reverted");
    chain.start(clone.root()).succeeded();
    build(&chain, &clone);
    let (_, text) = explained(&clone, "c2");
    assert!(text.contains(&first[..12]), "{text} and not {first}");
}

/// What starts would lose the sessions of all that it placed, and its own starting points would have none.
#[test]
fn a_publisher_that_starts_passes_sessions_on() {
    let chain = Chain::published();
    let clone = chain.elsewhere("publisher");
    build(&chain, &clone);
    clone.append("crates/c3/src/main.rs", "// changed\n");
    clone.commit("second");
    runner(clone.root(), &chain.place)
        .args(["publish", "--", "build"])
        .run()
        .succeeded();
    let reader = clone.clone_to(&chain.place.scratch.path("reader"));
    reader.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    build(&chain, &reader);
    let (code, text) = explained(&reader, "c1");
    assert_eq!(code, "seeded", "{text}");
    assert!(text.contains(&clone.head()[..12]), "{text}");
}

/// A local session made from quite other sources, beside a published one, must not bring its code back.
#[test]
fn an_old_session_of_rustcs_own_does_no_harm() {
    let chain = Chain::published();
    let clone = chain.elsewhere("old");
    let old = "pub fn value() -> u32 {\n    1000\n}\n";
    let whole = clone.read("crates/c1/src/lib.rs");
    clone.edit("crates/c1/src/lib.rs", format!("{whole}pub mod other;\n"));
    clone.edit("crates/c1/src/other.rs", old);
    build(&chain, &clone);
    clone.edit("crates/c1/src/lib.rs", whole.replace("+ 1", "+ 11"));
    clone.remove("crates/c1/src/other.rs");
    std::thread::sleep(std::time::Duration::from_millis(20));
    build(&chain, &clone);
    assert_eq!(clone.program("c3"), "13");
}

/// A compile that ends in errors leaves the session that was placed for it: taken for rustc's own, it would be placed once more, and
/// then removed as what that replaces.
#[test]
fn what_was_placed_for_a_compile_with_errors_is_not_rustcs_own() {
    let chain = Chain::published();
    let clone = chain.elsewhere("broken");
    let (source, broken) = ("crates/c1/src/lib.rs", "pub type Word = NoSuch;\n");
    let cargo = clone.cargo().wrapper(PROGRAM);
    chain.start(clone.root()).succeeded();
    clone.append(source, broken);
    assert!(!cargo.run(&["build"]).success);
    clone.replace(source, broken, "");
    chain.start(clone.root()).succeeded();
    clone.append(source, "pub type Word = u8;\n");
    cargo.build(&[]);
    let (code, text) = explained(&clone, "c1");
    assert_eq!(code, "seeded", "{text}");
    assert!(!text.contains(": 0 of "), "{text}");
}

/// rustc takes the session with the newest time in its name: one from a clock that is ahead would be taken for ever.
#[test]
fn the_publishers_clock_does_not_matter() {
    for timestamp in ["zzzzzzzzzz", "0000000001"] {
        let chain = Chain::unpublished();
        let source = &chain.source;
        source.cargo().env("RUSTC_WRAPPER", PROGRAM).build(&[]);
        set_timestamps(&source.path("target/debug"), timestamp);
        publish(source, &chain.place, &["build"]);
        let clone = chain.elsewhere("other-clock");
        clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
        build(&chain, &clone);
        assert_eq!(explained(&clone, "c1").0, "seeded", "{timestamp}");
        clone.replace("crates/c1/src/lib.rs", "+ 11", "+ 12");
        build(&chain, &clone);
        assert_eq!(explained(&clone, "c1").0, "own-session", "{timestamp}");
        assert_eq!(clone.program("c3"), "14");
    }
}

/// Renames every session below `incremental`, and its lock file, to one made at `timestamp`.
fn set_timestamps(profile: &Path, timestamp: &str) {
    for crate_dir in crate_dirs(profile).into_values() {
        for session in entries(&crate_dir) {
            let name = session.file_name().expect("it has a name");
            let name = name.to_string_lossy();
            let mut parts: Vec<&str> = name.split('-').collect();
            parts[1] = timestamp;
            fs::rename(&session, crate_dir.join(parts.join("-"))).expect("it is ours");
        }
    }
}
