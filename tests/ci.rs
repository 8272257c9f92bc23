//! The recipes for CI, in `ci/` and `action.yml`: run for real on a directory as the remote, and read by linters.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use headstart::disk::walk;
use headstart_testkit::fixture::Lock;
use headstart_testkit::{Output, Workspace, headstart};
use serde_json::Value;

use common::PROGRAM;
use common::around::{output, skipped, succeeds};
use common::chain::{Chain, prints, sane};

const SCRIPT: &str = "ci/headstart.sh";
const ACTION: &str = "action.yml";
const GITHUB: &str = "ci/github.yml";
const GITLAB: &str = "ci/gitlab.yml";

/// The chain, and a remote directory that all machines of CI share.
struct Ci {
    chain: Chain,
    remote: PathBuf,
}

impl Ci {
    fn new() -> Ci {
        let chain = Chain::unpublished();
        let remote = chain.place.scratch.path("remote");
        Ci { chain, remote }
    }

    fn url(&self) -> String {
        format!("file://{}", self.remote.display())
    }

    /// Runs `command` by bash in a fresh clone called `name`, on a machine that has headstart and nothing else.
    fn job(&self, name: &str, variables: &[(&str, &str)], command: &str) -> (Workspace, Output) {
        self.job_with(&with_headstart(), name, variables, command)
    }

    fn job_with(
        &self,
        path: &str,
        name: &str,
        variables: &[(&str, &str)],
        command: &str,
    ) -> (Workspace, Output) {
        let clone = self.chain.elsewhere(name);
        let bash = headstart(Path::new("bash"), clone.root());
        let bash = bash.env("PATH", path).env("HEADSTART_REMOTES", self.url());
        let set = |bash: headstart_testkit::Headstart, (name, value): &(&str, &str)| {
            bash.env(name, value)
        };
        let bash = variables.iter().fold(bash, set);
        let said = sane(bash.args(["-euc", command]).run());
        (clone, said)
    }

    /// Does the same with the script and these arguments of cargo.
    fn script(&self, name: &str, variables: &[(&str, &str)], args: &str) -> (Workspace, Output) {
        self.job(
            name,
            variables,
            &format!("{} {args}", here(SCRIPT).display()),
        )
    }

    /// Returns every file of the remote with its content.
    fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = walk::below(&self.remote).unwrap_or_default();
        let read = |file: walk::Entry| {
            let bytes = fs::read(self.remote.join(&file.relative)).ok()?;
            Some((file.relative, bytes))
        };
        files.into_iter().filter_map(read).collect()
    }

    fn is_empty(&self) -> bool {
        !self.remote.join("v1/heads").exists()
    }
}

fn here(file: &str) -> PathBuf {
    Path::new(file)
        .canonicalize()
        .expect("the tests run in the package's root")
}

fn with_headstart() -> String {
    let dir = Path::new(PROGRAM)
        .parent()
        .expect("a program lies in a directory");
    format!("{}:{}", dir.display(), without_headstart())
}

fn without_headstart() -> String {
    let path = std::env::var("PATH").expect("there is a PATH");
    let dirs = path
        .split(':')
        .filter(|dir| !Path::new(dir).join("headstart").exists());
    dirs.collect::<Vec<_>>().join(":")
}

/// Returns what a job of the main branch has that publishes to `url`.
fn of_main(url: &str) -> [(&str, &str); 2] {
    [("HEADSTART_PUBLISH_TO", url), ("HEADSTART_PUBLISH", "yes")]
}

/// Everything that the recipe is for: main is published, a pull request starts from it and leaves nothing behind.
#[test]
fn main_publishes_and_a_pull_request_reads() {
    let ci = Ci::new();
    let url = ci.url();
    let main = of_main(&url);
    let (_, first) = ci.script("main", &main, "build --workspace --then test --workspace");
    assert!(first.succeeded().stdout.contains("written to file://"));

    ci.chain
        .source
        .replace("crates/c3/src/main.rs", "fn main", "fn other() {}\nfn main");
    ci.chain.source.commit("a pull request");
    let before = ci.stored();
    for (name, variables) in [
        ("no-credentials", &[][..]),
        (
            "not-main",
            &[
                ("HEADSTART_PUBLISH_TO", url.as_str()),
                ("HEADSTART_PUBLISH", "no"),
            ],
        ),
        ("who-knows", &[("HEADSTART_PUBLISH_TO", url.as_str())]),
    ] {
        let (clone, said) = ci.script(name, variables, "build --workspace --then test --workspace");
        let said = said.succeeded();
        assert!(
            said.stdout.contains("1 commit behind"),
            "{name}: {}",
            said.stdout
        );
        assert!(
            said.stdout.contains("test result: ok"),
            "{name}: {}",
            said.stdout
        );
        assert!(
            !said.stderr.contains("Compiling c2"),
            "{name}: {}",
            said.stderr
        );
        assert!(
            said.stderr.contains("Compiling c3"),
            "{name}: {}",
            said.stderr
        );
        assert!(ci.stored() == before, "{name} wrote to the remote");
        prints(&clone, "3").nothing_ran();
    }

    // Then it lands: compiled from what is there, and published with little that is new.
    let (_, landed) = ci.script("landed", &main, "build --workspace --then test --workspace");
    let landed = landed.succeeded();
    assert!(!landed.stderr.contains("Compiling c2"), "{}", landed.stderr);
    assert!(landed.stdout.contains("published "), "{}", landed.stdout);
    let (clone, said) = ci.script("after", &[], "build --workspace");
    assert!(said.succeeded().stdout.contains("this commit"));
    prints(&clone, "3").nothing_ran();
}

/// The build of main would begin from nothing where its arguments say which workspace is meant; and a variable that is mistyped publish
/// nothing for months.
#[test]
fn main_starts_what_it_publishes() {
    let ci = Ci::new();
    let url = ci.url();
    let main = of_main(&url);
    let source = &ci.chain.source;
    let files = [".gitignore", "Cargo.toml", "Cargo.lock", "crates"];
    for file in files {
        source.rename(file, format!("sub/{file}"));
    }
    source.commit("below");
    let args = "build --manifest-path sub/Cargo.toml";
    ci.script("first", &main, args).1.succeeded();
    let (_, again) = ci.script("again", &main, args);
    assert!(!again.stderr.contains("Compiling"), "{}", again.stderr);
    let without = [("HEADSTART_PUBLISH", "yes")];
    let (_, said) = ci.script("without", &without, args);
    assert!(
        said.succeeded()
            .stderr
            .contains("HEADSTART_PUBLISH_TO is empty")
    );
    let required = [without[0], ("HEADSTART_REQUIRED", "yes")];
    assert_eq!(ci.script("required", &required, args).1.code, 1);
}

/// CI would be green although the build failed, or others would start from one that never worked.
#[test]
fn a_build_that_fails_fails() {
    let ci = Ci::new();
    let url = ci.url();
    ci.chain
        .source
        .append("crates/c2/src/lib.rs", "compile_error!(\"broken\");\n");
    ci.chain.source.commit("broken");
    let main = of_main(&url);
    for (name, variables) in [("main", &main[..]), ("pull-request", &[])] {
        let (_, said) = ci.script(name, variables, "build --then test");
        assert_eq!(said.code, 101, "{name}: {}", said.stderr);
    }
    assert!(ci.is_empty());
}

/// CI would be red because a remote is down, because of a mistyped key, or because headstart cannot be had.
#[test]
fn nothing_of_headstart_fails_a_build() {
    let ci = Ci::new();
    let dead = "http://127.0.0.1:1/ s3://nobody/here";
    let short = ("HEADSTART_WAIT", "0.2");
    let main = [
        ("HEADSTART_PUBLISH_TO", dead),
        ("HEADSTART_PUBLISH", "yes"),
        ("HEADSTART_REMOTES", dead),
        short,
    ];
    ci.script("dead-main", &main, "build").1.succeeded();
    ci.script("dead", &[("HEADSTART_REMOTES", dead), short], "build")
        .1
        .succeeded();
    let (_, said) = ci.script(
        "mistyped",
        &[("HEADSTART_PUBLIC_KEY", "RWnothing")],
        "build",
    );
    assert!(said.succeeded().stderr.contains("nobody is believed"));

    let (_, said) = ci.script("sign", &main, "--sign");
    assert!(said.succeeded().stderr.contains("is not signed"));
    for args in ["--sign", "build"] {
        let required = [&main[..], &[("HEADSTART_REQUIRED", "yes")]].concat();
        ci.script(&format!("required{args}"), &required, args)
            .1
            .failed();
    }

    let script = here(SCRIPT);
    let without = |name: &str, source: &str, root: &str, args: &str| {
        let command = format!("{} {args}", script.display());
        let source = [("HEADSTART_SOURCE", source), ("HEADSTART_ROOT", root)];
        let (clone, said) = ci.job_with(&without_headstart(), name, &source, &command);
        let told = said.stderr.contains("could not be installed");
        assert!(told, "{name}: {}", said.stderr);
        (clone, said)
    };
    let root = ci.chain.place.scratch.path("root");
    let path = root.to_str().expect("it is text");
    without("broken", "/", path, "build").1.succeeded();
    assert!(!root.join("installed").exists(), "it counts as installed");
    let (clone, said) = without("none", "", "/nonexistent", "build -p c2 --then test");
    let said = said.succeeded();
    assert!(said.stdout.contains("test result: ok"), "{}", said.stdout);
    prints(&clone, "3");
    let fails = without("none-fails", "", "/nonexistent", "build -p no-such");
    assert_eq!(fails.1.code, 101);
}

/// The recipe with a signing job: what the build job wrote would be found by nobody, or be believed without a signature.
#[test]
fn one_job_builds_and_another_signs() {
    let Some(gitlab) = parsed(GITLAB) else { return };
    let lines = |job: &str, part: &str| -> String {
        let lines = gitlab[job][part].as_array().expect("the job has lines");
        let text = lines.iter().filter_map(Value::as_str);
        text.map(|line| format!("{line}\n")).collect()
    };
    let ci = Ci::new();
    let url = ci.url();
    let source = &ci.chain.source;
    source.edit(
        "ci/headstart.sh",
        fs::read_to_string(SCRIPT).expect("it is there"),
    );
    source.edit("headstart.toml", format!("[[remote]]\nurl = \"{url}\"\n"));
    let script = source.path("ci/headstart.sh");
    fs::set_permissions(script, Permissions::from_mode(0o755)).expect("it is ours");
    source.commit("the recipe");
    let key = ci.chain.place.scratch.path("ci.key").display().to_string();
    let new = ["key", "new", "--no-password", "--out", &key];
    let made = headstart(Path::new(PROGRAM), source.root()).args(new).run();
    made.succeeded();
    let public = fs::read_to_string(format!("{key}.pub")).expect("it was made");
    let public = public
        .lines()
        .last()
        .expect("the key is its last line")
        .to_owned();
    let job = |name: &str, job: &str, variables: &[(&str, &str)]| {
        let lines = lines(".headstart", "before_script") + &lines(job, "script");
        let unsigned = gitlab[job]["variables"]["HEADSTART_UNSIGNED"]
            .as_str()
            .unwrap_or_default();
        let common = [
            ("HEADSTART_REMOTES", ""),
            ("HEADSTART_PUBLIC_KEY", public.as_str()),
            ("CI_DEFAULT_BRANCH", "main"),
            ("HEADSTART_UNSIGNED", unsigned),
        ];
        ci.job(name, &[&common, variables].concat(), &lines)
    };
    let main = [
        ("CI_COMMIT_BRANCH", "main"),
        ("HEADSTART_PUBLISH_TO", url.as_str()),
    ];
    assert!(
        job("built", "build", &main)
            .1
            .succeeded()
            .stdout
            .contains("written to file://")
    );
    let (_, early) = job("early", "build", &[]);
    assert!(early.succeeded().stdout.contains("no starting point"));
    let with_key = [&main[..], &[("HEADSTART_SIGN_KEY", key.as_str())]].concat();
    assert!(
        job("signed", "sign", &with_key)
            .1
            .succeeded()
            .stdout
            .contains("is signed")
    );
    let (clone, said) = job("merge-request", "build", &[]);
    assert!(said.succeeded().stdout.contains("this commit"));
    prints(&clone, "3").nothing_ran();
    let (_, stranger) = job("stranger", "build", &[("HEADSTART_PUBLIC_KEY", "")]);
    assert!(stranger.succeeded().stderr.contains("not believed here"));
}

/// A runner has no headstart: it is compiled from its source, and once only; but again if what was kept is of another revision, or, on
/// an older system than the one before, does not run.
#[test]
fn headstart_is_installed_from_its_source() {
    // Stands for headstart's source, which takes minutes.
    let main = format!(
        "fn main() {{\n    let args = std::env::args_os().skip(1);\n    \
            let ended = std::process::Command::new({PROGRAM:?}).args(args).status().unwrap();\n    \
            std::process::exit(ended.code().unwrap());\n}}\n"
    );
    let manifest = "[package]\nname = \"headstart\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let (_, lock) = Lock::new().local("headstart", &[]).file();
    let files = [
        ("Cargo.toml", manifest),
        ("Cargo.lock", &lock),
        ("src/main.rs", &main),
    ];
    let source = Workspace::new(files);
    let ci = Ci::new();
    let url = format!("file://{}", source.root().display());
    let first = source.head();
    source.append("src/main.rs", "// another revision\n");
    let second = source.commit("second");
    let script = here(SCRIPT).display().to_string();
    for (name, from) in [("path", source.root().display().to_string()), ("git", url)] {
        let root = ci.chain.place.scratch.path(name).display().to_string();
        let job = |number: u32, revision: &str| {
            let variables = [
                ("HEADSTART_SOURCE", from.as_str()),
                ("HEADSTART_REV", revision),
                ("HEADSTART_ROOT", root.as_str()),
            ];
            let clone = format!("{name}-{number}");
            let command = format!("{script} build");
            let said = ci
                .job_with(&without_headstart(), &clone, &variables, &command)
                .1;
            assert!(
                said.clone()
                    .succeeded()
                    .stdout
                    .contains("no starting point"),
                "{}",
                said.stderr
            );
            walk::mtime(&Path::new(&root).join("bin/headstart")).expect("it was installed")
        };
        let installed = job(1, &first);
        assert_eq!(job(2, &first), installed, "it was compiled again");
        let kept = Path::new(&root).join("bin/headstart");
        fs::write(&kept, "#!/bin/sh\nexit 1\n").expect("it is ours");
        let replaced = job(3, &first);
        assert_ne!(job(4, &second), replaced, "it is of another revision");
    }
}

/// What the script says of itself to people who set it up would be wrong for GitLab's own variables.
#[test]
fn the_main_branch_of_gitlab_is_known() {
    let ci = Ci::new();
    let url = ci.url();
    let branch = |name: &str, branch: &[(&str, &str)]| {
        let common = [
            ("HEADSTART_PUBLISH_TO", url.as_str()),
            ("CI_DEFAULT_BRANCH", "main"),
        ];
        ci.script(name, &[&common, branch].concat(), "build")
            .1
            .succeeded();
        !ci.is_empty()
    };
    assert!(!branch("merge-request", &[]));
    assert!(!branch("other", &[("CI_COMMIT_BRANCH", "topic")]));
    assert!(branch("main", &[("CI_COMMIT_BRANCH", "main")]));
}

/// The step of the action would not run in bash, or would lose an input on the way.
#[test]
fn the_action_runs() {
    let Some(action) = parsed(ACTION) else { return };
    let step = action["runs"]["steps"]
        .as_array()
        .and_then(|steps| steps.last());
    let step = step.expect("the action has steps");
    let run = step["run"].as_str().expect("the last step runs something");
    let checkout = here(".").display().to_string();
    let ci = Ci::new();
    let url = ci.url();
    let inputs = |name: &str| match name {
        "publish-to" => url.clone(),
        "cargo" => "build --workspace\n--then test\n".to_owned(),
        name => action["inputs"][name]["default"]
            .as_str()
            .expect("it has a default")
            .to_owned(),
    };
    let value = |expression: &str, publish: &str| {
        let inner = expression
            .trim_start_matches("${{")
            .trim_end_matches("}}")
            .trim();
        match inner.strip_prefix("inputs.") {
            Some(name) => inputs(name),
            None => publish.to_owned(),
        }
    };
    for publish in ["no", "yes"] {
        let env = step["env"].as_object().expect("it has variables");
        let mut variables: Vec<(String, String)> = env
            .iter()
            .map(|(name, text)| {
                (
                    name.clone(),
                    value(text.as_str().unwrap_or_default(), publish),
                )
            })
            .collect();
        variables.push(("GITHUB_ACTION_PATH".to_owned(), checkout.clone()));
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let (_, said) = ci.job(publish, &variables, run);
        assert!(said.succeeded().stdout.contains("test result: ok"));
        assert_eq!(ci.is_empty(), publish == "no");
    }
}

/// A job that anybody's pull request runs would be given what writes to the bucket, or the key.
#[test]
fn secrets_go_to_the_main_branch_only() {
    let Some(workflow) = parsed(GITHUB) else {
        return;
    };
    let jobs = workflow["jobs"].as_object().expect("there are jobs");
    for (name, job) in jobs {
        let text = job.to_string();
        let guarded = job["environment"] == "headstart";
        assert_eq!(text.contains("secrets."), guarded, "{name}");
        assert_eq!(text.contains("publish-to"), guarded, "{name}");
        let builds = !text.contains("\"sign\":\"yes\"");
        assert!(
            !builds || !text.contains("SIGN_KEY"),
            "{name} runs build scripts and has the key"
        );
    }
    let pull_request = &jobs["pull-request"];
    assert_eq!(pull_request["if"], "github.event_name == 'pull_request'");
    // Those are empty where it is a fork's.
    assert!(!pull_request.to_string().contains("vars."));
    assert_eq!(
        workflow["permissions"],
        serde_json::json!({ "contents": "read" })
    );
    assert!(workflow["on"].get("pull_request_target").is_none());

    let Some(gitlab) = parsed(GITLAB) else { return };
    let text = gitlab.to_string();
    assert!(
        !text.contains("SECRET") && !text.contains("SIGN_KEY"),
        "GitLab keeps them in its settings"
    );
    assert_eq!(
        gitlab["sign"]["rules"],
        serde_json::json!([{ "if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" }])
    );
    assert_eq!(gitlab["build"]["variables"]["HEADSTART_UNSIGNED"], "yes");
    for job in ["build", "sign"] {
        assert_eq!(gitlab[job]["extends"], ".headstart");
        let script = gitlab[job]["script"][0].as_str().unwrap_or_default();
        assert!(script.starts_with("ci/headstart.sh "), "{script}");
    }
}

/// A recipe that its CI system refuses, or in which a shell splits what it should not, would be found out by every user.
#[test]
fn linters_find_nothing() {
    for (linter, args) in [
        ("shellcheck", &[SCRIPT][..]),
        ("actionlint", &[GITHUB]),
        ("action-validator", &[ACTION, GITHUB]),
        (
            "zizmor",
            &["--offline", "--quiet", "--no-config", ACTION, GITHUB],
        ),
    ] {
        if !succeeds(Command::new(linter).arg("--version").stdin(Stdio::null())) {
            skipped(&format!("there is no {linter}"));
            continue;
        }
        let said = output(Command::new(linter).args(args).stdin(Stdio::null()));
        assert_eq!(said.code, 0, "{linter}: {}{}", said.stdout, said.stderr);
    }
}

/// Returns a YAML file as JSON; none where there is no Python that reads it.
fn parsed(file: &str) -> Option<Value> {
    // YAML 1.1 takes the key `on` for a truth value.
    let program = "import json, sys, yaml\n\
        text = yaml.load(open(sys.argv[1]), yaml.BaseLoader)\n\
        json.dump(text, sys.stdout)";
    if !succeeds(Command::new("python3").args(["-c", "import yaml"])) {
        skipped("there is no Python with PyYAML");
        return None;
    }
    let said = output(Command::new("python3").args(["-c", program, file])).succeeded();
    Some(said.json())
}
