//! What is typed and what is printed: help, exit codes, JSON.

mod common;

use std::fs;
use std::process::Command;

use headstart_testkit::{Output, Scratch, Workspace, clean};

use common::PROGRAM;
use common::around::{output, succeeds};
use common::chain::{Chain, builds_right, explain, found_nothing, prints, refused, sane, strictly};

const COMMANDS: [&str; 13] = [
    "publish",
    "start",
    "demo",
    "status",
    "doctor",
    "explain",
    "bisect",
    "init",
    "key",
    "sign",
    "trust",
    "debugger",
    "completions",
];

/// Runs headstart with `args` in an empty directory.
fn bare(args: &[&str]) -> Output {
    let scratch = Scratch::new();
    let mut command = Command::new(PROGRAM);
    sane(output(
        clean(&mut command).current_dir(scratch.root()).args(args),
    ))
}

/// Whoever asks for help would have to guess what to type.
#[test]
fn every_command_shows_examples() {
    let all = bare(&["--help"]).succeeded().stdout;
    for command in COMMANDS {
        assert!(all.contains(&format!("  {command}")), "{all}");
        let help = bare(&[command, "--help"]).succeeded().stdout;
        let example = format!("  headstart {command}");
        let shows = help.contains("Examples:") && help.contains(&example);
        assert!(shows, "{command}: {help}");
    }
}

/// A report of a fault could not say which version it is about.
#[test]
fn the_version_is_the_packages() {
    let expected = format!("headstart {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(bare(&["--version"]).succeeded().stdout, expected);
    assert_eq!(bare(&["-V"]).succeeded().stdout, expected);
}

/// A mistyped option would be ignored, or be taken for a failure of the build.
#[test]
fn what_is_mistyped_is_an_error_of_its_own() {
    for args in [
        &["start", "--no-such-flag"][..],
        &["publish", "build"],
        &["no-such-command"],
        &["start", "--commit"],
        &["start", "--commit", "a", "--manifest", "b"],
        &["completions", "no-such-shell"],
        &["--no-such-flag"],
        &[],
    ] {
        let run = bare(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        let shown = ["Usage:", "For more information, try '--help'"];
        let shows = shown.iter().any(|shown| run.stderr.contains(shown));
        assert!(run.stdout.is_empty() && shows, "{args:?}: {}", run.stderr);
        let hints = run
            .stderr
            .contains("hint: what is cargo's comes behind `--`");
        let takes_more = [["start", "--no-such-flag"], ["publish", "build"]];
        assert_eq!(hints, takes_more.iter().any(|one| one == args), "{args:?}");
    }
}

/// A completion script with a mistake in it would break every new shell of the user.
#[test]
fn completions_are_scripts_of_their_shell() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = bare(&["completions", shell]).succeeded().stdout;
        for word in ["publish", "start", "believe-store"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
        let file = scratch.path(shell);
        fs::write(&file, &script).expect("the scratch directory is ours");
        let here = succeeds(Command::new(shell).args(["-c", "true"]));
        assert!(
            !here || succeeds(Command::new(shell).arg("-n").arg(&file)),
            "{shell}"
        );
    }
}

/// A script that reads the answer would stumble over a line of cargo's or of the user's tests.
#[test]
fn json_is_one_object_and_nothing_else() {
    let chain = Chain::unpublished();
    loud_test(&chain);
    let root = chain.source.root();
    let object = |args: &[&str]| {
        let run = chain.run(root, args);
        let value = run.json();
        assert!(value.is_object() && run.stdout.trim().lines().count() == 1);
        value
    };
    assert_eq!(
        object(&["status", "--json"])["points"],
        serde_json::json!([])
    );
    assert!(object(&["start", "--json"])["why"].is_string());
    assert!(object(&["start", "--json", "--required"])["why"].is_string());
    assert_eq!(object(&["publish", "--json"])["units"], 4);
    assert_eq!(object(&["start", "--json"])["units"]["kept"], 4);
    object(&["start", "--json", "--dry-run"]);
    object(&["start", "--json", "--", "build"]);
    assert_eq!(object(&["status", "--json"])["points"][0]["units"], 4);
    object(&["publish", "--json", "--", "test", "--", "--nocapture"]);
    object(&["start", "--json", "--", "test", "--", "--nocapture"]);
}

/// What a test of the user's prints would be lost, or be taken for what cargo says of the build.
#[test]
fn what_tests_print_is_passed_on() {
    let chain = Chain::unpublished();
    loud_test(&chain);
    let args = ["publish", "--", "test", "--", "--nocapture"];
    let said = chain.run(chain.source.root(), &args).succeeded();
    assert!(said.stdout.contains("\n{\"loud\":1}\n"), "{}", said.stdout);
    assert!(
        said.stdout.contains("caf\u{fffd}\n"),
        "not all that is printed is UTF-8: {}",
        said.stdout
    );
    assert!(said.stdout.contains("test result: ok"), "{}", said.stdout);
}

/// Gives the program a test that prints what looks like a message of cargo's.
fn loud_test(chain: &Chain) {
    let test = "\n#[test]\nfn loud() {\n    println!(\"\\n{{\\\"loud\\\":1}}\");\n    \
                use std::io::Write;\n    std::io::stdout().write_all(b\"caf\\xe9\\n\").unwrap();\n}\n";
    chain.source.append("crates/c3/src/main.rs", test);
    chain.source.commit("a test");
}

/// A log of CI would be full of escape sequences.
#[test]
fn there_are_no_colours_where_no_terminal_is() {
    let chain = Chain::unpublished();
    for args in [
        &["--help"][..],
        &["start", "--help"],
        &["start", "--no-such-flag"],
        &["publish"],
        &["start"],
        &["start", "--commit", "no-such"],
        &["status", "--units"],
    ] {
        let mut command = match args[0] {
            "--help" => chain.command(chain.source.root(), &[]),
            _ => chain.command(chain.source.root(), args),
        };
        if args[0] == "--help" {
            command = common::around::with_args(&command, args);
        }
        command
            .env_remove("NO_COLOR")
            .env_remove("CARGO_TERM_COLOR");
        let run = sane(output(&mut command));
        let said = run.stdout + &run.stderr;
        assert!(
            !said.is_empty() && !said.contains('\u{1b}'),
            "{args:?}: {said:?}"
        );
    }
}

/// `headstart publish -- fmt` would publish whatever lay there as that commit's build.
#[test]
fn a_command_that_builds_nothing_is_refused() {
    let chain = Chain::unpublished();
    let publish = |cargo: &[&str]| {
        let args = [&["publish", "--"], cargo].concat();
        chain.run(chain.source.root(), &args)
    };
    for cargo in [
        &["fmt"][..],
        &["clean"],
        &["run"],
        &["-v"],
        &["build", "--then", "fmt"],
    ] {
        refused(&publish(cargo), "builds nothing that could be published");
    }
    refused(
        &publish(&["build", "--message-format", "json"]),
        "--message-format",
    );
    refused(
        &publish(&["build", "--then", "+nightly", "check"]),
        "different toolchains",
    );
    assert!(!chain.place.store().exists() && !chain.source.path("target").exists());
}

/// CI would be green although the build failed, or readers start from a build that never worked.
#[test]
fn a_failed_build_is_not_published() {
    let chain = Chain::unpublished();
    chain
        .source
        .append("crates/c2/src/lib.rs", "compile_error!(\"broken\");\n");
    chain.source.commit("broken");
    let failed = chain.run(chain.source.root(), &["publish"]);
    assert_eq!(failed.code, 101, "{}", failed.stderr);
    assert!(failed.stderr.contains("broken") && failed.stdout.is_empty());
    let then = ["publish", "--", "build", "-p", "c1", "--then", "build"];
    assert_eq!(chain.run(chain.source.root(), &then).code, 101);
    let unknown = chain.run(
        chain.source.root(),
        &["publish", "--", "build", "--no-such-flag"],
    );
    assert_eq!(unknown.code, 1, "cargo's own code: {}", unknown.stderr);
    for part in ["objects", "manifests", "points"] {
        assert!(!chain.place.store().join(part).exists(), "{part}");
    }
}

/// What somebody was just trying out would be served to everybody as the commit's build.
#[test]
fn changes_are_published_only_on_demand_and_never_served() {
    let chain = Chain::unpublished();
    chain.source.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    let publish = chain.run(chain.source.root(), &strictly("publish"));
    refused(&publish, "crates/c1/src/lib.rs");
    assert!(publish.stderr.contains("--allow-dirty"));
    assert!(!chain.source.path("target").exists());

    let allowed = ["publish", "--json", "--allow-dirty"];
    let said = chain.run(chain.source.root(), &allowed).succeeded().json();
    assert_eq!(said["dirty"], true);
    let clone = chain.elsewhere("clone");
    found_nothing(&chain.start(clone.root()), "none of 1 commit");
    builds_right(&clone);
}

/// CI would be red for a build that works: a file that is not committed, no store, no repository.
#[test]
fn what_cannot_be_published_is_built_all_the_same() {
    let check = |chain: &Chain, why: &str| {
        let said = chain.run(chain.source.root(), &["publish", "--json"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        for part in [why, "will not be published", "\nhint: "] {
            assert!(said.stderr.contains(part), "no {part:?}: {}", said.stderr);
        }
        let reason = &said.json()["why"];
        assert!(
            reason.as_str().is_some_and(|text| text.contains(why)),
            "{reason}"
        );
        builds_right(&chain.source).nothing_ran();
    };
    let chain = Chain::unpublished();
    chain.source.edit("crates/c1/src/new.rs", "");
    check(&chain, "new.rs");
    chain.source.remove("crates/c1/src/new.rs");
    fs::write(chain.place.store(), "precious").expect("the scratch directory is ours");
    check(&chain, "store");
    chain.source.remove(".git");
    check(&chain, "is not in a git work tree");

    chain
        .source
        .append("crates/c2/src/lib.rs", "compile_error!(\"broken\");\n");
    let failed = chain.run(chain.source.root(), &["publish"]);
    assert_eq!(failed.code, 101, "{}", failed.stderr);
}

/// A build that writes into its own sources would be red behind headstart, and only there.
#[test]
fn a_build_that_changes_its_sources_is_not_published_and_does_not_fail() {
    let chain = Chain::unpublished();
    let script = "fn main() {\n    std::fs::write(\"src/made.rs\", \"\").unwrap();\n}\n";
    chain.source.edit("crates/c1/build.rs", script);
    chain
        .source
        .commit("a script that writes where it should not");
    let said = chain.run(chain.source.root(), &["publish"]).succeeded();
    assert!(
        said.stderr.contains("changed while cargo was building"),
        "{}",
        said.stderr
    );
    refused(
        &chain.run(chain.source.root(), &strictly("publish")),
        "made.rs",
    );
    assert!(!chain.place.store().join("points").exists());
}

/// An untracked file that a build reads would be missing at everybody else's, whether its user has git name it or not.
#[test]
fn an_untracked_file_is_a_change() {
    let chain = Chain::unpublished();
    chain.source.edit("crates/c1/src/new.rs", "");
    for shown in ["normal", "no"] {
        let setting = ["config", "status.showUntrackedFiles", shown];
        chain.source.git(&setting);
        let publish = chain.run(chain.source.root(), &strictly("publish"));
        refused(&publish, "new.rs");
    }
}

/// A new contributor without a store would see a failure where a slower build is all that happens.
#[test]
fn without_a_store_cargo_builds_from_nothing() {
    let chain = Chain::unpublished();
    let started = chain.run(chain.source.root(), &["start"]).succeeded();
    assert!(started.stdout.contains("there is no store at"));
    assert!(started.stdout.contains("cargo will build from nothing"));
    let required = chain.run(chain.source.root(), &["start", "--required"]);
    refused(&required, "no starting point");
    assert_eq!(required.stdout, "", "nothing will build");
    let quiet = chain
        .run(chain.source.root(), &["start", "--quiet"])
        .succeeded();
    assert_eq!(quiet.stdout + &quiet.stderr, "");
    assert!(!chain.place.store().exists() && !chain.source.path("target").exists());
    builds_right(&chain.source);
}

/// Who must have a starting point would get a build of half an hour instead, and no word that a job could read.
#[test]
fn what_is_required_is_so_whatever_goes_wrong() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    clone.edit("headstart.toml", "remotes are not named so = 1");
    let start = |args: &[&str]| chain.run(clone.root(), &[&["start"], args].concat());
    refused(&start(&["--required", "--", "build"]), "headstart.toml");
    assert!(!clone.path("target").exists());
    start(&["--", "build"]).succeeded();
    assert!(clone.path("target").exists());
}

/// `headstart start -- build` would build without the wrapper: nobody could start from that build.
#[test]
fn start_runs_cargo_with_the_wrapper() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    clone.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    let run = chain
        .run(clone.root(), &["start", "--", "build", "-v"])
        .succeeded();
    let built = run.build().crates_compiled();
    assert_eq!(built, ["c2(lib)", "c3(bin)"].map(str::to_owned).into());
    assert!(
        run.stderr.contains(&format!("{PROGRAM} ")),
        "{}",
        run.stderr
    );
    let notes = fs::read_dir(clone.path("target/.headstart/compiled"));
    assert_eq!(notes.expect("the wrapper wrote notes").count(), 2);
    prints(&clone, "13").nothing_ran();

    clone.append("crates/c3/src/main.rs", "compile_error!(\"broken\");\n");
    let failed = chain.run(clone.root(), &["start", "--", "build"]);
    assert_eq!(failed.code, 101);
    let ran = chain.run(clone.root(), &["start", "--", "no-such-subcommand"]);
    assert_eq!(ran.code, 101, "{}", ran.stderr);
    // A second command does not run behind one that failed, and runs behind one that did not.
    let then = |first: &str| {
        let args = [
            "start", "--", "build", "-p", first, "--then", "build", "-p", "c0", "-v",
        ];
        chain.run(clone.root(), &args)
    };
    let (failed, ran) = (then("c3"), then("c2"));
    assert_eq!(failed.code, 101);
    assert!(!failed.stderr.contains("Fresh c0"), "{}", failed.stderr);
    assert!(ran.succeeded().stderr.contains("Fresh c0"));
}

/// A program that crashes would seem to have ended as cargo does where something does not compile.
#[test]
fn a_signal_that_ends_what_runs_is_told() {
    let chain = Chain::unpublished();
    let abort = "fn main() {\n    std::process::abort();";
    let source = &chain.source;
    source.replace("crates/c3/src/main.rs", "fn main() {", abort);
    let ran = output(&mut chain.command(source.root(), &["start", "--", "run"]));
    assert_eq!(ran.code, 134, "{}", ran.stderr);
    assert!(ran.stderr.contains("ended by signal 6"), "{}", ran.stderr);
}

/// A look at what would happen would already change something.
#[test]
fn a_dry_run_writes_nothing() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let dry = ["start", "--dry-run", "--json"];
    let said = chain.run(clone.root(), &dry).succeeded().json();
    assert_eq!(said["units"]["fresh"], 4);
    assert!(!clone.path("target").exists() && clone.is_clean());
    let text = chain
        .run(clone.root(), &["start", "--dry-run", "--", "build"])
        .succeeded();
    assert!(text.stdout.contains("dry run"), "{}", text.stdout);
    assert!(!clone.path("target").exists());
    builds_right(&clone);
    let before = newest(&clone);
    chain.run(clone.root(), &dry).succeeded();
    assert_eq!(newest(&clone), before);
}

/// Nobody could tell what is in a target directory, nor what the store holds.
#[test]
fn status_says_where_a_directory_comes_from() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let said = |args: &[&str]| chain.run(clone.root(), args).succeeded().stdout;
    let short = &chain.source.head()[..12];
    let before = said(&["status"]);
    assert!(before.contains("not started from anywhere"), "{before}");
    assert!(
        before.contains("1 starting point") && before.contains(short),
        "{before}"
    );
    chain.start(clone.root()).succeeded();
    let after = said(&["status", "--units"]);
    assert!(
        after.contains(&format!("started just now from {short}")),
        "{after}"
    );
    assert!(
        after.contains("4 fresh") && after.contains("lib-c1 (c1 0.1.0)"),
        "{after}"
    );
    let outside = chain
        .run(chain.place.scratch.root(), &["status"])
        .succeeded();
    assert!(outside.stdout.contains("no cargo workspace here"));
}

/// The name that `status` shows could not be used.
#[test]
fn a_starting_point_can_be_named() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let name = chain.point().manifest.hex();
    let start = |name: &str| chain.run(clone.root(), &["start", "--json", "--manifest", name]);
    found_nothing(&start("0000000"), "no starting point named 0000000");
    let started = start(&name[..12]).succeeded().json();
    assert_eq!(started["manifest"], name.as_str());
    builds_right(&clone).nothing_ran();
}

/// Returns the newest time of anything below the clone's target directory.
fn newest(clone: &Workspace) -> Option<std::time::SystemTime> {
    headstart::disk::walk::newest_mtime(&clone.path("target"))
}

/// A configuration that cannot be taken back, or that swallowed a user's own wrapper, would never be tried again.
#[test]
fn init_shows_writes_and_takes_back() {
    let scratch = Scratch::new();
    let config = scratch.path("home/config.toml");
    scratch.write("home/config.toml", "[net]\nretry = 3\n");
    let init = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let command = clean(&mut command).current_dir(scratch.root());
        let command = command.env("CARGO_HOME", scratch.path("home")).arg("init");
        sane(output(command.args(args)))
    };
    let text = || fs::read_to_string(&config).expect("it is there");
    let shown = init(&["--print"]).succeeded().stdout;
    assert!(
        shown.contains(&format!("+ rustc-wrapper = \"{PROGRAM}\"")),
        "{shown}"
    );
    assert_eq!(text(), "[net]\nretry = 3\n");
    refused(&init(&[]), "nobody is here to agree");
    init(&["--yes"]).succeeded();
    assert!(text().contains("rustc-wrapper"), "{}", text());
    assert!(
        init(&["--yes"])
            .succeeded()
            .stdout
            .contains("nothing to do")
    );
    init(&["--undo", "--yes"]).succeeded();
    assert_eq!(text(), "[net]\nretry = 3\n");
    scratch.write("home/config.toml", "[build]\nrustc-wrapper = \"sccache\"\n");
    refused(&init(&["--yes"]), "sets build.rustc-wrapper to `sccache`");
    assert_eq!(text(), "[build]\nrustc-wrapper = \"sccache\"\n");
}

/// What is old in a CARGO_HOME, the user's programs among it, would go with the first change to the configuration.
#[test]
fn init_leaves_alone_what_lies_beside_the_configuration() {
    let scratch = Scratch::new();
    scratch.write("home/bin/tool", "mine");
    let bin = fs::File::open(scratch.path("home/bin")).expect("it was made");
    bin.set_modified(std::time::UNIX_EPOCH).expect("it is ours");
    let mut command = Command::new(PROGRAM);
    let command = clean(&mut command).current_dir(scratch.root());
    let command = command.env("CARGO_HOME", scratch.path("home"));
    sane(output(command.args(["init", "--yes"]))).succeeded();
    assert!(scratch.path("home/bin/tool").is_file());
}

/// A profile in the wrong file would not reach the CI that publishes; one that others tuned must not be lost.
#[test]
fn init_writes_the_release_lane_into_the_workspace() {
    let chain = Chain::unpublished();
    let root = chain.source.root();
    let init = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let command = clean(&mut command).current_dir(root);
        sane(output(command.args(["init", "--release-lane"]).args(args)))
    };
    let config = root.join(".cargo/config.toml");
    let shown = init(&["--print"]).succeeded().stdout;
    assert!(shown.contains("+ [profile.release-lane]"), "{shown}");
    assert!(!config.exists());
    refused(&init(&[]), "nobody is here to agree");
    init(&["--yes"]).succeeded();
    let again = init(&["--yes"]).succeeded().stdout;
    assert!(again.contains("has the release lane already"), "{again}");
    let build = chain.source.cargo().build(&["--profile", "release-lane"]);
    assert!(
        build.stderr.contains("incremental="),
        "not incremental: {}",
        build.stderr
    );
    init(&["--undo", "--yes"]).succeeded();
    assert!(!config.exists(), "an empty file was left behind");
    chain.source.edit(
        ".cargo/config.toml",
        "[profile.release-lane]\ninherits = \"dev\"\n",
    );
    refused(&init(&["--yes"]), "a profile `release-lane` of its own");
}

/// An answer about another unit, or about none, would be taken for this one's.
#[test]
fn explain_says_what_it_knows() {
    let chain = Chain::published();
    let clone = chain.elsewhere("explained");
    refused(&explain(clone.root(), &[]), "knows of no build");
    clone.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    chain
        .run(clone.root(), &["start", "--", "build"])
        .succeeded();
    let said = explain(clone.root(), &[]).succeeded().stdout;
    for part in [
        "c2 0.1.0 (lib)",
        "c3 0.1.0 (bin)",
        "from the session of",
        "2 units fresh",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let one = explain(clone.root(), &["c0"]).succeeded().stdout;
    assert!(
        one.contains("start: fresh, every input is the same"),
        "{one}"
    );
    refused(&explain(clone.root(), &["c9"]), "no unit is named c9");
}

/// What has no hash in its file's name, as a cdylib, would be told of twice, and once as if it had not been compiled.
#[test]
fn explain_knows_what_has_no_hash_in_its_name() {
    let chain = Chain::unpublished();
    let types = "[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n";
    chain
        .source
        .replace("crates/c2/Cargo.toml", "[lib]\n", types);
    chain.source.commit("a cdylib");
    chain.publish_again();
    let clone = chain.elsewhere("explained");
    clone.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    chain
        .run(clone.root(), &["start", "--", "build"])
        .succeeded();
    let said = explain(clone.root(), &[]).succeeded().stdout;
    assert_eq!(said.matches("rustc: ").count(), 2, "{said}");
    assert!(!said.contains("not run through headstart"), "{said}");
}
