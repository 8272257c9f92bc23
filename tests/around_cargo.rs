//! What stands around cargo: compilers of other names, the user's own wrapper, an output that nobody reads.

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use headstart_testkit::{Output, Workspace, clean};

use common::around::{around, output};
use common::chain::{Chain, prints};

/// Returns where the compiler is that a version manager may stand before.
fn sysroot() -> String {
    let asked = output(clean(&mut Command::new("rustc")).args(["--print", "sysroot"]));
    asked.succeeded().stdout.trim().to_owned()
}

/// Makes `name` in a directory of the chain's another name of rustc, and returns a PATH that leads there as well.
fn also_called(chain: &Chain, name: &str) -> String {
    let dir = chain.place.scratch.path("bin");
    std::fs::create_dir_all(&dir).expect("it is ours");
    let rustc = Path::new(&sysroot()).join("bin/rustc");
    symlink(rustc, dir.join(name)).expect("it is ours");
    let path = std::env::var("PATH").expect("there is one");
    format!("{}:{path}", dir.display())
}

/// Distributions name compilers by their versions; a build that passes without headstart would fail with it.
#[test]
fn a_compiler_may_have_another_name() {
    let chain = Chain::unpublished();
    let path = also_called(&chain, "rustc-other");
    let run = |tree: &Workspace, args: &[&str]| -> Output {
        let mut command = chain.command(tree.root(), args);
        let command = command.env("PATH", &path).env("RUSTC", "rustc-other");
        output(command).succeeded()
    };
    run(&chain.source, &["publish", "--required", "--", "build"]);
    let clone = chain.elsewhere("clone");
    clone.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    run(&clone, &["start", "--", "build"]);
    assert_eq!(clone.program("c3"), "13");
    let explained = common::chain::explain(clone.root(), &["--json", "c2"]).json();
    let code = &explained["units"][0]["compiled"]["reason"]["code"];
    assert_eq!(code, "seeded", "{explained}");
}

/// A full disk under a log, or a reader that has gone, would keep cargo from running.
#[test]
fn output_that_nobody_takes_keeps_no_build_back() {
    let chain = Chain::published();
    for (script, name) in [
        ("exec \"$@\" > /dev/full", "full"),
        ("exec \"$@\" | true", "closed"),
    ] {
        let clone = chain.elsewhere(name);
        let command = chain.command(clone.root(), &["start", "--", "build"]);
        let run = output(&mut around("sh", &["-c", script, "sh"], &command));
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        assert_eq!(run.code, 0, "{}", run.stderr);
        prints(&clone, "3").nothing_ran();
    }
}

/// A cache or a profiler of the user's that stands in rustc's place would be left out, and nobody would know.
#[test]
fn a_wrapper_of_the_users_own_is_said_not_to_run() {
    let chain = Chain::unpublished();
    let said = |args: &[&str], wrapper: &str| {
        let mut command = chain.command(chain.source.root(), args);
        let run = output(command.env("RUSTC_WRAPPER", wrapper));
        run.succeeded().stderr
    };
    for args in [["publish", "--", "build"], ["start", "--", "build"]] {
        let warned = said(&args, "sccache");
        let lines = warned.lines().filter(|line| line.contains("sccache"));
        let lines: Vec<_> = lines.collect();
        let names = "headstart: RUSTC_WRAPPER names sccache, which is not run";
        assert!(lines.len() == 1 && lines[0].starts_with(names), "{warned}");
        assert!(!said(&args, common::PROGRAM).contains("RUSTC_WRAPPER"));
    }
}

/// What stands before the subcommand, or twice, would be taken for something else than by cargo.
#[test]
fn cargos_own_options_may_come_first_and_often() {
    let chain = Chain::unpublished();
    let other = "build.target-dir=\"target/other\"";
    let first = ["--config", "net.offline=true", "--color", "never", "build"];
    let all = [&["publish", "--"][..], &first, &["--config", other]].concat();
    let said = chain.run(chain.source.root(), &all);
    assert!(said.stdout.contains("published"), "{}", said.stderr);
    assert!(chain.source.path("target/other/debug").exists());
    let clone = chain.elsewhere("clone");
    let start = [
        &["start", "--json", "--"][..],
        &first[..4],
        &["build", "--config", other],
    ]
    .concat();
    chain.run(clone.root(), &start).succeeded();
    assert!(clone.path("target/other/debug/deps").exists() && !clone.path("target/debug").exists());
}

/// Of what was built by two jobs, half would not be explained.
#[test]
fn status_knows_all_that_a_start_took() {
    let chain = Chain::published();
    let check = ["publish", "--", "check"];
    chain.run(chain.source.root(), &check).succeeded();
    let clone = chain.elsewhere("both");
    let said = chain.start(clone.root()).succeeded().json();
    let decided = said["decisions"].as_array().expect("a list").len();
    let status = chain.run(clone.root(), &["status", "--json"]).succeeded();
    let noted = status.json()["started"]["decisions"].clone();
    assert_eq!(noted.as_array().map(Vec::len), Some(decided));
    assert!(decided > 4, "{decided}");
}
