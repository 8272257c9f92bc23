//! `headstart bisect` with real cargo: the right commit, no compiler, nothing of the user's touched.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use headstart::disk::walk;
use headstart::store::Store;
use headstart::store::point::Point;
use headstart_testkit::{Output, Workspace, fixture};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use common::around::output;
use common::chain::{flip, read, refused, sane, unit_of, write};
use common::{Place, runner};

/// Longer than any wait here on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The program says 1 in good commits.
const CHECK: &str = "test $(c1) = 1";

/// A workspace whose program `c1` says 1 in the first commits and 11 in the last ones, some of them published.
struct History {
    place: Place,
    source: Workspace,
    commits: Vec<String>,
    /// Stands before the toolchain's own programs, and notes what they are asked.
    shims: PathBuf,
}

impl History {
    /// Makes `count` commits, bad from `broken` on, and publishes all but those of `unpublished`.
    fn new(count: usize, broken: usize, unpublished: &[usize]) -> History {
        let (place, source) = (Place::new(), fixture::chain(2));
        let mut commits = Vec::new();
        for at in 0..count {
            if at == broken {
                source.replace("crates/c0/src/lib.rs", "0", "10");
            }
            source.append(
                "crates/c1/src/main.rs",
                &format!("#[used]\nstatic S{at}: u32 = {at};\n"),
            );
            commits.push(source.commit(&format!("commit {at}")));
            if !unpublished.contains(&at) {
                runner(source.root(), &place)
                    .args(["publish", "-q"])
                    .run()
                    .succeeded();
            }
        }
        let shims = place.scratch.path("shims");
        History {
            place,
            source,
            commits,
            shims,
        }
    }

    /// Returns a bisect from the first commit to the last with `args`, and `check` as a shell command; not started.
    fn command(&self, args: &[&str], check: &str) -> Command {
        let good = ["bisect", "--good", &self.commits[0]];
        let args = [&good, args, &["--", "sh", "-c", check]].concat();
        self.plain(&args)
    }

    /// Returns any headstart, which finds the counting toolchain.
    fn plain(&self, args: &[&str]) -> Command {
        self.write_shims();
        let mut command = runner(self.source.root(), &self.place).args(args).command();
        // The runner's empty home goes with the runner.
        command.env("HOME", self.place.scratch.root());
        command.env("XDG_CACHE_HOME", self.place.scratch.path("cache"));
        let path = std::env::var("PATH").expect("there is a PATH");
        command.env("PATH", format!("{}:{path}", self.shims.display()));
        command
    }

    fn run(&self, args: &[&str], check: &str) -> Output {
        sane(output(&mut self.command(args, check)))
    }

    /// Bisects, and returns the JSON that comes of it with exit code `code`.
    #[track_caller]
    fn json(&self, code: i32, args: &[&str], check: &str) -> Value {
        let output = self.run(&[&["--json"], args].concat(), check);
        assert_eq!(output.code, code, "{}", output.stderr);
        output.json()
    }

    /// Writes a cargo and a rustc that note each question but those about versions, paths and the workspace.
    fn write_shims(&self) {
        if self.shims.exists() {
            return;
        }
        fs::create_dir_all(&self.shims).expect("the scratch directory is ours");
        let path = std::env::var_os("PATH").expect("there is a PATH");
        for tool in ["cargo", "rustc"] {
            let mut found = std::env::split_paths(&path).map(|dir| dir.join(tool));
            let real = found.find(|file| file.is_file()).expect("it is in PATH");
            let (real, log) = (real.display(), self.log());
            let asks = "-V|-vV|'--print sysroot'|metadata*";
            let text = format!(
                "#!/bin/sh\ncase \"$*\" in {asks}) ;; *) echo {tool} $* >> {} ;; esac\nexec {real} \"$@\"\n",
                log.display()
            );
            let shim = self.shims.join(tool);
            write(&shim, text.as_bytes());
            fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
    }

    fn log(&self) -> PathBuf {
        self.place.scratch.path("compiled")
    }

    /// Returns what cargo and rustc were asked to do.
    fn compiled(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn at(&self, commit: &Value) -> usize {
        let id = commit["commit"].as_str().expect("it has an id");
        let found = self.commits.iter().position(|one| one == id);
        found.expect("it is one of ours")
    }

    /// Returns the positions of the first bad and of the last good commit, and of those between.
    fn found(&self, answer: &Value) -> (usize, usize, Vec<usize>) {
        let between = answer["between"].as_array().expect("it is a list");
        let between = between.iter().map(|one| self.at(one));
        let (bad, good) = (&answer["first_bad"], &answer["last_good"]);
        (self.at(bad), self.at(good), between.collect())
    }

    /// Returns the file of a commit's only point.
    fn point_file(&self, at: usize) -> PathBuf {
        let commit = &self.commits[at];
        let dir = self.place.store().join("points").join(&commit[..2]);
        let mut files = fs::read_dir(dir.join(commit)).expect("it was published");
        let file = files.next().expect("it has a point");
        file.expect("it can be listed").path()
    }

    /// Returns the object that holds the program of a commit.
    fn program(&self, at: usize) -> PathBuf {
        let point = Point::decode(&read(&self.point_file(at))).expect("it is whole");
        let store = Store::open(&self.place.store()).expect("it is there");
        let manifest = store.manifest(point.manifest).expect("it is whole");
        let program = unit_of(&manifest, "c1").outputs().next();
        store.object(program.expect("it made a program").0)
    }
}

/// Somebody who hunts a regression would wait for compilers, be told the wrong commit, or find their checkout changed.
#[test]
fn the_first_bad_commit_is_found_without_a_compiler() {
    let history = History::new(12, 7, &[]);
    let source = &history.source;
    let hooks = history.place.scratch.path("hooks");
    let hooked = history.place.scratch.path("hooked");
    source.git(&["config", "core.hooksPath", &hooks.display().to_string()]);
    let hook = hooks.join("post-checkout");
    let text = format!("#!/bin/sh\ntouch {}\n", hooked.display());
    fs::create_dir_all(&hooks).expect("it is ours");
    write(&hook, text.as_bytes());
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("it is ours");
    source.append("crates/c1/src/main.rs", "// mine\n");
    source.edit("staged", "");
    source.git(&["add", "staged"]);
    let status = source.git(&["status", "-b"]);
    let before = everything(source.root());

    let answer = history.json(0, &[], CHECK);
    assert_eq!(history.found(&answer), (7, 6, vec![]));
    assert!(answer["judged"].as_array().expect("a list").len() <= 6);
    assert_eq!(history.compiled(), "");
    assert_eq!(everything(source.root()), before);
    assert!(!hooked.exists(), "a hook ran");
    assert_eq!(source.git(&["status", "-b"]), status);
    assert_eq!(source.git(&["worktree", "list"]).lines().count(), 1);

    // What was judged is not judged again, unless one wants it.
    let again = history.run(&[], CHECK).succeeded();
    assert!(!again.stdout.contains(" s  commit "), "{}", again.stdout);
    assert!(
        again.stdout.contains("first bad commit: "),
        "{}",
        again.stdout
    );
    let anew = history.run(&["--restart"], CHECK).succeeded();
    assert!(anew.stdout.contains(" good "), "{}", anew.stdout);
}

/// Every file of `dir` but git's own, with its time and size.
fn everything(dir: &Path) -> Vec<String> {
    let entries = walk::below_without_links(dir).expect("it can be listed");
    let own = entries.iter().filter(|entry| {
        !entry.relative.starts_with(".git") && !entry.relative.starts_with("target")
    });
    let line = |entry: &walk::Entry| {
        let time = walk::mtime(&dir.join(&entry.relative));
        format!("{} {time:?}", entry.relative.display())
    };
    let mut all: Vec<String> = own.map(line).collect();
    all.push(format!("{:?}", walk::mtime(&dir.join(".git/index"))));
    all.push(format!("{:?}", walk::mtime(&dir.join(".git/HEAD"))));
    all.sort();
    all
}

/// A commit that is not published would be blamed or passed over, or be built although nobody asked for it.
#[test]
fn unpublished_commits_are_named_and_built_on_demand() {
    let history = History::new(8, 4, &[0, 3, 4, 7]);
    let answer = history.json(0, &[], CHECK);
    assert_eq!(history.found(&answer), (5, 2, vec![3, 4]));
    assert_eq!(history.compiled(), "");
    let told = history.run(&[], CHECK).succeeded().stdout;
    assert!(told.contains("first bad published commit: "), "{told}");
    assert!(told.contains("unpublished  commit 4"), "{told}");

    let answer = history.json(0, &["--then-build"], CHECK);
    assert_eq!(history.found(&answer), (4, 3, vec![]));
    let built = history.compiled();
    assert!(built.contains("cargo build"), "{built}");
    assert!(answer["first_bad"]["built"] == true, "{answer}");
}

/// A commit that cannot be judged would be taken for good or bad, and lead to an innocent one.
#[test]
fn what_cannot_be_judged_is_skipped_with_its_reason() {
    let history = History::new(8, 4, &[]);
    // Commit 4 is damaged in the store, and 3 says by itself that it cannot be judged.
    flip(&history.program(4));
    let check = format!(
        "if grep -q S3 crates/c1/src/main.rs && ! grep -q S4 crates/c1/src/main.rs; then exit 125; fi; {CHECK}"
    );
    let answer = history.json(2, &[], &check);
    assert_eq!(history.found(&answer), (5, 2, vec![3, 4]));
    let reason = |at: usize| answer["between"][at]["reason"].as_str().map(str::to_owned);
    assert_eq!(reason(0).as_deref(), Some("COMMAND says so"));
    assert!(
        reason(1).is_some_and(|why| why.contains("damaged")),
        "{answer}"
    );

    // Building it tells more; what says so itself stays skipped.
    let answer = history.json(2, &["--then-build=build --bin c1"], &check);
    assert_eq!(history.found(&answer), (4, 2, vec![3]));
    assert_eq!(
        history.json(2, &["--restart"], "exit 125")["between"]
            .as_array()
            .map(Vec::len),
        Some(6)
    );
}

/// A program that is lacking at a commit would be found elsewhere in PATH, and that one be judged.
#[test]
fn a_commit_without_a_program_that_the_ends_have_is_skipped() {
    let history = History::new(3, 2, &[1]);
    let publish = |args: &[&str]| {
        history.source.checkout(&history.commits[1]);
        let args = [&["publish", "-q", "--"], args].concat();
        let publish = runner(history.source.root(), &history.place).args(args);
        publish.run().succeeded();
        history.source.git(&["checkout", "--quiet", "main"]);
    };
    let skipped = |args: &[&str], why: &str| {
        let answer = history.json(2, args, CHECK);
        assert_eq!(history.found(&answer), (2, 0, vec![1]));
        let reason = answer["between"][0]["reason"].as_str();
        assert!(
            reason.is_some_and(|reason| reason.contains(why)),
            "{answer}"
        );
    };
    publish(&["build", "-p", "c0"]);
    skipped(&[], "no such programs");
    publish(&["test", "--no-run"]);
    skipped(&[], "nothing for");
    skipped(&["--only", "c1"], "nothing for");
    skipped(&["--only", "no-such"], "no such programs");
}

/// Tests could not be used to judge, or would be run where they are only to be built; a commit that does not build would be bad.
#[test]
fn tests_are_at_hand_and_what_does_not_build_is_skipped() {
    let (place, source) = (Place::new(), fixture::chain(2));
    let main = "crates/c1/src/main.rs";
    let whole = source.read(main);
    source.append(
        main,
        "#[test]\nfn says() {\n    assert_eq!(count(), 1);\n}\n",
    );
    let tested = source.read(main);
    let publish = || {
        let args = ["publish", "-q", "--", "test", "--workspace"];
        runner(source.root(), &place).args(args).run()
    };
    let mut commits = Vec::new();
    for (text, published) in [(&tested, true), (&whole, false), (&tested, false)] {
        source.edit(main, text);
        if text == &whole {
            source.append(main, "no Rust\n");
        }
        commits.push(source.commit("one more"));
        assert!(!published || publish().code == 0);
    }
    source.replace("crates/c0/src/lib.rs", "0", "10");
    commits.push(source.commit("bad"));
    let args = ["publish", "-q", "--", "test", "--workspace", "--no-run"];
    runner(source.root(), &place).args(args).run().succeeded();
    let history = History {
        shims: place.scratch.path("shims"),
        place,
        source,
        commits,
    };
    let check = "\"$HEADSTART_TEST_c1_bin_c1\" says";
    refused(&history.run(&[], check), "no commit between");
    let answer = history.json(0, &["--then-build"], check);
    assert_eq!(history.found(&answer), (3, 2, vec![]));
    let asked = history.compiled();
    let runs = asked.lines().filter(|line| line.starts_with("cargo "));
    assert!(
        runs.clone().all(|line| line.contains("--no-run")),
        "{asked}"
    );
    let all = history.json(2, &["--then-build", "--restart"], "exit 125");
    assert_eq!(all["first_bad"]["commit"], history.commits[3].as_str());
    let unbuilt = &all["between"][0]["reason"];
    assert_eq!(unbuilt, "it does not build");
}

/// A mistyped build would be remembered of every commit, and none of them ever be judged.
#[test]
fn what_did_not_build_is_built_again() {
    let history = History::new(4, 2, &[1, 2]);
    let answer = history.json(2, &["--then-build=build --bin no-such"], CHECK);
    assert_eq!(history.found(&answer), (3, 0, vec![1, 2]));
    let answer = history.json(0, &["--then-build=build --bin c1"], CHECK);
    assert_eq!(history.found(&answer), (2, 1, vec![]));
}

/// Whoever closes the laptop, or presses Ctrl-C, would begin from nothing, or have to clean up.
#[test]
fn an_interrupted_bisect_goes_on() {
    let history = History::new(9, 6, &[]);
    let check = format!(
        "{CHECK}; code=$?; echo x >> {}; sleep $(cat {}); exit $code",
        counter(&history),
        pause(&history)
    );
    fs::write(pause(&history), "0.4").expect("the scratch directory is ours");
    for (signal, runs) in [(Signal::KILL, 2), (Signal::INT, 3), (Signal::TERM, 4)] {
        let quiet = Stdio::null;
        let mut child = history
            .command(&[], &check)
            .stdout(quiet())
            .stderr(quiet())
            .spawn()
            .expect("it starts");
        let began = Instant::now();
        while count(&history) < runs && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(5));
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("it runs");
        child.wait().expect("it is ours");
    }
    // Sources of a commit that was being checked out, and a lock of a git that is no more.
    // On a busy machine the check may have ended, and git have been stopped before it wrote that one.
    if let Some(tree) = below(&history.place.scratch.path("cache"), "Cargo.toml") {
        fs::remove_file(tree).expect("it is there");
    }
    let locks = history.source.path(".git/worktrees/tree/index.lock");
    fs::write(locks, "").expect("the work tree is registered");
    fs::write(pause(&history), "0").expect("the scratch directory is ours");
    let answer = history.json(0, &[], &check);
    assert_eq!(history.found(&answer), (6, 5, vec![]));
    let judged = answer["judged"].as_array().expect("a list").len();
    // Each interruption costs one run at most: the one that it interrupted.
    assert!(
        count(&history) <= judged + 3,
        "{} of {judged}",
        count(&history)
    );
    assert_eq!(history.source.git(&["worktree", "list"]).lines().count(), 1);

    // What was kept and cannot be read is one line, and a bisect from the beginning.
    let verdicts = below(&history.place.scratch.path("cache"), "verdicts.json");
    let verdicts = verdicts.expect("it is there");
    for damage in [
        &b"{"[..],
        b"",
        br#"{"version":9,"judged":{},"needed":null}"#,
    ] {
        write(&verdicts, damage);
        let output = history.run(&["--json"], &check).succeeded();
        assert!(
            output.stderr.contains("beginning anew"),
            "{}",
            output.stderr
        );
        assert_eq!(history.found(&output.json()), (6, 5, vec![]));
    }
}

fn counter(history: &History) -> String {
    history.place.scratch.path("runs").display().to_string()
}

fn pause(history: &History) -> String {
    history.place.scratch.path("pause").display().to_string()
}

fn count(history: &History) -> usize {
    fs::read_to_string(counter(history)).map_or(0, |text| text.lines().count())
}

/// Returns the first file below `dir` that is called `name`.
fn below(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = walk::below_without_links(dir)
        .expect("it can be listed")
        .into_iter();
    let entry = entries.find(|entry| entry.relative.ends_with(name));
    Some(dir.join(entry?.relative))
}

/// Two terminals, or two jobs of a CI machine, would judge each other's programs.
#[test]
fn several_bisects_at_once_do_not_meet() {
    let history = History::new(6, 4, &[]);
    let other = format!("{CHECK} && true");
    let bisects = [CHECK, CHECK, &other].map(|check| history.command(&["--json"], check));
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let all = bisects.map(|mut bisect| scope.spawn(move || output(&mut bisect)));
        let joined = all.into_iter().map(|one| one.join().expect("it ends"));
        joined.collect()
    });
    for output in outputs {
        let answer = sane(output).succeeded().json();
        assert_eq!(history.found(&answer), (4, 3, vec![]));
    }
    assert_eq!(history.source.git(&["worktree", "list"]).lines().count(), 1);
}

/// What a check leaves runs nothing: all that is built would be skipped, or COMMAND find another program of that name.
#[test]
fn what_is_built_is_built_as_programs_were() {
    let history = History::new(5, 3, &[1, 2, 3]);
    let check = runner(history.source.root(), &history.place);
    let check = check.args(["publish", "-q", "--", "check"]);
    check.run().succeeded();
    let answer = history.json(0, &["--then-build"], CHECK);
    assert_eq!(history.found(&answer), (3, 2, vec![]));
    // Another build is another program, whose verdicts nobody knows yet.
    let answer = history.json(0, &["--then-build=build --release"], "test $(c1) = 1");
    assert_eq!(history.found(&answer), (3, 2, vec![]));
    assert!(history.compiled().contains("--release"));
}

/// A script that is not found in the work tree would make the first published commit the bad one.
#[test]
fn what_cannot_be_run_is_no_verdict() {
    let history = History::new(4, 2, &[0]);
    let said = history.run(&[], "exec ./no-such-check");
    refused(&said, "cannot run");
    let answer = history.json(0, &[], CHECK);
    assert_eq!(history.found(&answer), (2, 1, vec![]));
}

/// A published command that names a place would have another checkout built, and that one be judged.
#[test]
fn a_build_stays_in_the_scratch_work_tree() {
    let history = History::new(3, 2, &[1]);
    let elsewhere = history.place.scratch.path("elsewhere");
    for option in [
        format!("--target-dir={}", elsewhere.display()),
        format!(
            "--manifest-path={}",
            history.source.path("Cargo.toml").display()
        ),
    ] {
        let build = format!("--then-build=build {option}");
        refused(&history.run(&[&build], CHECK), "somewhere else");
    }
    assert!(!elsewhere.exists());
    let mut with_variable = history.command(&["--json", "--then-build"], CHECK);
    let built = output(with_variable.env("CARGO_TARGET_DIR", &elsewhere));
    assert_eq!(history.found(&built.succeeded().json()), (2, 1, vec![]));
    assert!(!elsewhere.exists());
}

/// A workspace that is not at the top of its repository would be looked for there.
#[test]
fn a_workspace_may_lie_in_a_subdirectory() {
    let (place, inner) = (Place::new(), fixture::chain(2));
    let source = Workspace::at(&place.scratch.path("outer"), [("README", "")]);
    let dir = source.path("deep/inner");
    fs::create_dir_all(source.path("deep")).expect("it is ours");
    fs::rename(inner.root(), &dir).expect("it is ours");
    fs::remove_dir_all(dir.join(".git")).expect("it is ours");
    let mut commits = Vec::new();
    for at in 0..3 {
        if at == 2 {
            source.replace("deep/inner/crates/c0/src/lib.rs", "0", "10");
        }
        source.edit("README", at.to_string());
        commits.push(source.commit("one more"));
        let publish = runner(&dir, &place).args(["publish", "-q"]);
        publish.run().succeeded();
    }
    let check = format!("test -e target/debug/c1 && test -e Cargo.lock && {CHECK}");
    let args = [
        "bisect",
        "--json",
        "--good",
        &commits[0],
        "--",
        "sh",
        "-c",
        &check,
    ];
    let bisect = runner(&dir.join("crates"), &place).args(args);
    let answer = bisect.run().succeeded().json();
    assert_eq!(answer["first_bad"]["commit"], commits[2].as_str());
}

/// A mistake in the question would be answered with some commit, or with a riddle.
#[test]
fn questions_without_an_answer_say_why() {
    let history = History::new(4, 2, &[]);
    let (first, last) = (history.commits[0].clone(), history.commits[3].clone());
    let ask = |args: &[&str]| sane(output(&mut history.plain(&[&["bisect"], args].concat())));
    let check = ["--", "sh", "-c", CHECK];
    let between =
        |good: &str, bad: &str| ask(&[&["--good", good, "--bad", bad], &check[..]].concat());
    refused(&between(&last, &first), "no ancestor");
    assert!(between(&last, &first).stderr.contains("other way round"));
    refused(&between(&first, &first), "is the bad commit");
    refused(&between("no-such", &last), "no-such");
    refused(&between(&history.commits[2], &last), "calls");
    assert!(
        between(&history.commits[2], &last)
            .stderr
            .contains("taken for good")
    );
    refused(&between(&first, &history.commits[1]), "taken for bad");
    refused(
        &ask(&["--good", &first, "--", "no-such-program"]),
        "no-such-program",
    );
    refused(&history.run(&[], "kill -9 $$"), "137");
    refused(&history.run(&[], "exit 200"), "200");
    let inside = history.source.path("target/bisect").display().to_string();
    refused(&history.run(&["--scratch", &inside], CHECK), "--scratch");
    let empty = history.place.scratch.path("empty").display().to_string();
    let nowhere = ["bisect", "--good", &first, "--", "true"];
    let nowhere = runner(history.source.root(), &history.place)
        .store(empty)
        .args(nowhere);
    refused(&nowhere.run(), "no store");
    assert_eq!(ask(&["--good", &first]).code, 2);
    fs::remove_dir_all(history.place.store().join("points")).expect("it is ours");
    refused(&history.run(&[], CHECK), "no commit between");
    assert_eq!(history.source.git(&["worktree", "list"]).lines().count(), 1);
}
