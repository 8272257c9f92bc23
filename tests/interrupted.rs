//! Killed or interrupted at any point: what is left is a store that serves and a directory that builds right.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use headstart::disk::{hash, walk};
use headstart::model::Digest;
use headstart::store::{Store, StoreError};
use headstart_testkit::{Output, Workspace};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use common::around::{around, output, skipped, succeeds};
use common::chain::{Chain, builds_right, prints};
use common::driver::fake_rustc;
use common::{Place, runner, until};

/// The most renames that a thread of headstart makes here, with room; a loop over them must end.
const MAX_RENAMES: usize = 60;
/// Longer than headstart keeps what others abandoned.
const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// A clone that is started again and again, from one of two states of its target directory.
struct Scene {
    chain: Chain,
    clone: Workspace,
    /// A target directory of other sources, which are newer than it.
    other: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let chain = Chain::published();
        let clone = chain.elsewhere("clone");
        clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
        prints(&clone, "13");
        let other = chain.place.scratch.path("other");
        copy(&clone.path("target"), &other);
        clone.git(&["checkout", "--quiet", "."]);
        Scene {
            chain,
            clone,
            other,
        }
    }

    /// Returns a start that will meet no target directory, or that of the other sources.
    fn start(&self, meets_other: bool) -> Command {
        let target = self.clone.path("target");
        drop(fs::remove_dir_all(&target));
        if meets_other {
            copy(&self.other, &target);
        }
        let mut start = self.chain.command(self.clone.root(), &["start"]);
        start.env("RAYON_NUM_THREADS", "1");
        start
    }

    /// cargo builds right from what an interrupted start left.
    fn is_sound(&self, what: &str) {
        println!("{what}");
        builds_right(&self.clone);
    }

    /// Another start in what was left, and in what cargo makes of it, finds its way too.
    fn takes_another(&self, what: &str) {
        println!("{what}");
        self.chain.start(self.clone.root()).succeeded();
        builds_right(&self.clone).nothing_ran();
    }
}

/// Whoever loses power or runs out of memory in the middle of a start would be served a half placed unit.
#[test]
fn a_start_killed_at_any_rename_leaves_a_directory_that_builds_right() {
    if !has_strace() {
        return;
    }
    let scene = Scene::new();
    // The main thread writes records, the other one outputs.
    for threads in [Threads::Main, Threads::All] {
        for nth in 1.. {
            assert!(nth < MAX_RENAMES, "a start makes fewer renames");
            let start = scene.start(nth % 2 == 0);
            let ended = output(&mut killed_at_rename(&start, threads, nth));
            let what = format!("{threads:?} {nth}: {}", ended.code);
            match nth % 3 {
                0 => scene.takes_another(&what),
                _ => scene.is_sound(&what),
            }
            if ended.code == 0 {
                break;
            }
        }
    }
}

/// rustc would compile from half a session: a crash, or a wrong program without a word.
#[test]
fn a_start_killed_among_sessions_leaves_none_that_rustc_reads() {
    if !has_strace() {
        return;
    }
    let scene = Scene::new();
    scene.clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    for nth in (2..MAX_RENAMES).step_by(4) {
        let start = scene.start(false);
        let ended = output(&mut killed_at_rename(&start, Threads::All, nth));
        println!("{nth}: {}", ended.code);
        if nth % 3 == 0 {
            scene.chain.start(scene.clone.root()).succeeded();
        }
        let build = prints(&scene.clone, "13");
        assert!(!build.stderr.contains("warning"), "{}", build.stderr);
        if ended.code == 0 {
            break;
        }
    }
}

/// The same at moments that no system call marks.
#[test]
fn a_start_killed_at_any_time_leaves_a_directory_that_builds_right() {
    let scene = Scene::new();
    for delay_ms in (5..125).step_by(12) {
        let mut start = scene.start(delay_ms % 2 == 0);
        end_after(&mut start, delay_ms, Signal::KILL);
        scene.is_sound(&format!("{delay_ms} ms"));
        scene.takes_another("and again");
    }
}

/// Ctrl-C would leave what a kill does not, or take the terminal's time.
#[test]
fn a_start_interrupted_by_the_user_leaves_a_directory_that_builds_right() {
    let scene = Scene::new();
    for delay_ms in [20, 45, 60, 75, 90] {
        let mut start = scene.start(delay_ms % 2 == 1);
        end_after(&mut start, delay_ms, Signal::INT);
        scene.is_sound(&format!("{delay_ms} ms"));
    }
}

/// A disk that fails once would leave what a kill does not, and no error that says so.
#[test]
fn a_start_whose_rename_fails_is_an_error_and_builds_right() {
    if !has_strace() {
        return;
    }
    let scene = Scene::new();
    for (threads, nth) in [
        (Threads::All, 2),
        (Threads::All, 7),
        (Threads::Main, 2),
        (Threads::Main, 8),
    ] {
        let start = scene.start(nth % 2 == 0);
        let ended = output(&mut at_rename(&start, threads, "error=EIO", nth));
        common::chain::refused(&ended, "cannot place");
        scene.is_sound(&format!("{threads:?} {nth}"));
    }
}

/// What killed starts left unfinished would fill the disk, or a start would remove what another is writing.
#[test]
fn what_a_killed_start_left_is_removed_a_day_later() {
    if !has_strace() {
        return;
    }
    let scene = Scene::new();
    let start = scene.start(false);
    output(&mut killed_at_rename(&start, Threads::All, 3));
    let left = || walk::subdirectories(&scene.clone.path("target/.headstart/tmp"));
    assert_eq!(left().len(), 1);
    scene.chain.start(scene.clone.root()).succeeded();
    assert_eq!(left().len(), 1, "another start may be writing there");
    let dir = scene.clone.path("target/.headstart/tmp").join(&left()[0]);
    make_old(&dir);
    scene.chain.start(scene.clone.root()).succeeded();
    assert_eq!(left(), Vec::<String>::new());
}

/// In containers, process ids come again: one killed start would make every later one fail.
#[test]
fn leftovers_under_the_same_process_id_are_no_matter() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let leave = |dir: &str| {
        format!(
            "mkdir -p {dir}; for i in 0 1 2 3 4 5 6 7 8 9; do echo old >{dir}/$i; done; exec \"$@\""
        )
    };
    let start = chain.command(clone.root(), &["start"]);
    let script = leave("target/.headstart/tmp/$$-start");
    let started = output(&mut around("sh", &["-euc", &script, "sh"], &start));
    started.succeeded();
    builds_right(&clone).nothing_ran();

    let publish = chain.command(clone.root(), &["publish", "--", "check"]);
    let script = leave(&format!(
        "'{}'/tmp/$$-publish",
        chain.place.store().display()
    ));
    let published = output(&mut around("sh", &["-euc", &script, "sh"], &publish));
    published.succeeded();
}

/// A CI job that is cancelled while it publishes would spoil the store for everybody.
#[test]
fn a_publish_killed_at_any_rename_leaves_a_store_that_serves() {
    if !has_strace() {
        return;
    }
    let chain = Chain::unpublished();
    chain.publish_again();
    let points = [(Threads::Main, 1..5, 1), (Threads::All, 2..MAX_RENAMES, 5)];
    for (threads, range, step) in points {
        for nth in range.step_by(step) {
            fs::remove_dir_all(chain.place.store()).expect("the store is ours");
            let mut publish = chain.command(chain.source.root(), &["publish"]);
            publish.env("RAYON_NUM_THREADS", "1");
            let ended = output(&mut killed_at_rename(&publish, threads, nth));
            println!("{threads:?} {nth}: {}", ended.code);
            is_usable(&chain, &ended);
            if ended.code == 0 {
                break;
            }
        }
    }
}

/// The same at moments that no system call marks, cargo's own work among them.
#[test]
fn a_publish_killed_at_any_time_leaves_a_store_that_serves() {
    let chain = Chain::unpublished();
    chain.publish_again();
    for (delay_ms, signal) in [
        (40, Signal::KILL),
        (130, Signal::KILL),
        (160, Signal::INT),
        (190, Signal::KILL),
    ] {
        fs::remove_dir_all(chain.place.store()).expect("the store is ours");
        let mut publish = chain.command(chain.source.root(), &["publish"]);
        let ended = end_after(&mut publish, delay_ms, signal);
        println!("{delay_ms} ms: {}", ended.code);
        is_usable(&chain, &ended);
    }
}

/// A SIGTERM to headstart alone would leave the build running, by nobody's wish and with nobody to hear of it.
#[test]
fn what_ends_headstart_ends_what_it_waits_for() {
    const WAITS: &str = "echo $$ > \"$PID_FILE\"; exec sleep 60";
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let scratch = &chain.place.scratch;
    let tools = scratch.path("tools");
    let cargo = format!(
        "#!/bin/sh\nif [ \"$1\" = build ]; then {WAITS}; fi\nPATH=${{PATH#*:}} exec cargo \"$@\"\n"
    );
    scratch.write("tools/cargo", &cargo);
    fs::set_permissions(tools.join("cargo"), fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    let path = format!(
        "{}:{}",
        tools.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let rustc = fake_rustc(scratch, "fake", WAITS);
    let mut wrapper = Command::new(common::PROGRAM);
    wrapper
        .arg(rustc)
        .args(["--crate-name", "foo", "src/lib.rs"]);
    let mut start = chain.command(clone.root(), &["start", "--", "build"]);
    start.env("PATH", path);
    for command in [&mut wrapper, &mut start] {
        let pid_file = scratch.path("pid");
        drop(fs::remove_file(&pid_file));
        command.env("PID_FILE", &pid_file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("it can be started");
        let id = || fs::read_to_string(&pid_file).ok()?.trim().parse().ok();
        until("it waits", || id().is_some());
        let waited = id().expect("it was there");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("the child is ours");
        assert_eq!(child.wait().expect("it ends").signal(), Some(15));
        let waited = Pid::from_raw(waited).expect("a process");
        assert!(test_kill_process(waited).is_err(), "it runs on");
    }
}

/// A demo that is ended while it works itself would leave what it built.
#[test]
fn a_demo_that_is_ended_leaves_nothing() {
    let place = Place::new();
    for delay_ms in [100, 700, 2000] {
        let scratch = place.scratch.path(format!("demo-{delay_ms}"));
        fs::create_dir(&scratch).expect("it is ours");
        let mut demo = runner(place.scratch.root(), &place)
            .args(["demo"])
            .command();
        demo.env("TMPDIR", &scratch);
        let ended = end_after(&mut demo, delay_ms, Signal::TERM);
        let left: Vec<_> = walk::names(&scratch).collect();
        assert!(
            left.is_empty(),
            "after {delay_ms} ms, {}: {left:?}",
            ended.code
        );
    }
}

/// The store holds nothing that is half, serves, and takes the next publish.
fn is_usable(chain: &Chain, ended: &Output) {
    is_whole(&chain.place.store(), ended.code == 0);
    chain.run(chain.source.root(), &["status"]).succeeded();
    let clone = chain.elsewhere("after-kill");
    chain.start(clone.root()).succeeded();
    builds_right(&clone);
    fs::remove_dir_all(clone.root()).expect("the clone is ours");
    chain.publish_again();
    is_whole(&chain.place.store(), true);
    chain.serves();
}

/// Every file of the store is what its name says; `complete`: it has a point.
fn is_whole(root: &Path, complete: bool) {
    let store = match Store::open(root) {
        Err(StoreError::Missing(_)) if !complete => return,
        store => store.expect("it can be opened or is not there"),
    };
    for entry in walk::below(root).expect("the store can be listed") {
        let path = root.join(&entry.relative);
        let named =
            entry.relative.starts_with("objects") || entry.relative.starts_with("manifests");
        if named && path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let (digest, _) = hash::file(&path).expect("it can be read");
            assert_eq!(digest.hex(), name, "{} is half", entry.relative.display());
        }
    }
    let manifests = fs::read_dir(root.join("manifests")).into_iter().flatten();
    for manifest in manifests.flatten() {
        let name = manifest.file_name().to_string_lossy().into_owned();
        let digest: Digest = name.parse().expect("manifests are named by digests");
        store.manifest(digest).expect("it is whole");
    }
    let points = store.all_points();
    assert!(!complete || points.len() == 1, "{points:?}");
    for point in points {
        let manifest = store
            .manifest(point.manifest)
            .expect("a point names a manifest");
        for (digest, size_bytes) in manifest.objects() {
            assert!(store.has(digest, size_bytes), "an object is missing");
        }
    }
}

/// Whose renames are counted.
#[derive(Clone, Copy, Debug)]
enum Threads {
    Main,
    /// Each for itself, children too.
    All,
}

/// Returns `command` such that it is killed when one of `threads` makes its `nth` rename.
fn killed_at_rename(command: &Command, threads: Threads, nth: usize) -> Command {
    at_rename(command, threads, "signal=KILL", nth)
}

fn at_rename(command: &Command, threads: Threads, what: &str, nth: usize) -> Command {
    const RENAMES: &str = "?rename,?renameat,?renameat2";
    let inject = format!("inject={RENAMES}:{what}:when={nth}");
    let trace = format!("trace={RENAMES}");
    let mut args = vec!["-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    if let Threads::All = threads {
        args.push("-f");
    }
    around("strace", &args, command)
}

fn has_strace() -> bool {
    let works = succeeds(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]));
    if !works {
        skipped("strace is not here, or may not trace");
    }
    works
}

/// Sends `signal` to `command` some time after its start, and waits for its end.
fn end_after(command: &mut Command, delay_ms: u64, signal: Signal) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child: Child = command.spawn().expect("the command can be started");
    std::thread::sleep(Duration::from_millis(delay_ms));
    let pid = Pid::from_child(&child);
    // It may have ended; its id is not given away before it is waited for.
    kill_process(pid, signal).expect("the child is ours");
    let ended = child.wait_with_output().expect("it was started");
    Output {
        code: ended.status.code().unwrap_or(137),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

fn make_old(dir: &Path) {
    let then = SystemTime::now() - TWO_DAYS;
    let dir = File::open(dir).expect("it is there");
    dir.set_modified(then).expect("it is ours");
}

/// Copies a directory with its times.
fn copy(from: &Path, to: &Path) {
    assert!(succeeds(Command::new("cp").arg("-a").arg(from).arg(to)));
}
