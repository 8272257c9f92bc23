//! What those rely on who run headstart in scripts: its answer, all that runs behind it says, and that it ends.

mod common;

use std::time::{Duration, Instant};

use common::around::output;
use common::chain::Chain;

/// Who reads the answer would find nothing where a start went wrong before a build that went on.
#[test]
fn a_start_that_went_wrong_is_an_answer() {
    let chain = Chain::published();
    let source = &chain.source;
    source.edit("headstart.toml", "[[remote]]\nurl = 7\n");
    let said = chain.run(source.root(), &["start", "--json", "--", "build"]);
    let said = said.succeeded().json();
    assert!(
        said["commit"].is_null() && said["why"].is_string(),
        "{said}"
    );
}

/// What a failing test said would be nowhere, and what it left behind be waited for as long as it lives.
#[test]
fn what_tests_leave_behind_is_not_waited_for() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    let left = "\n#[test]\nfn leaves() {\n    println!(\"it said\");\n    \
        std::process::Command::new(\"sleep\").arg(\"100\").stderr(std::process::Stdio::null()).spawn().unwrap();\n    panic!();\n}\n";
    source.append("crates/c3/src/main.rs", left);
    source.commit("a test");
    let args = ["publish", "--json", "--quiet", "--", "test", "-p", "c3"];
    let begun = Instant::now();
    let said = output(&mut chain.command(source.root(), &args));
    assert!(begun.elapsed() < Duration::from_secs(90), "it waited");
    assert_eq!(said.code, 101, "{} {}", said.stdout, said.stderr);
    assert!(said.stderr.contains("it said"), "{}", said.stderr);
}
