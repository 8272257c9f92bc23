//! Several at once: starts, builds and publishes in one directory or one store, each as if it were alone.

mod common;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use headstart::disk::{hash, walk};
use headstart::store::Store;
use headstart_testkit::{Output, Workspace};

use common::Place;
use common::around::{around, skipped, succeeds};
use common::chain::{Chain, builds_right, prints, sane};

/// Long enough for anything here on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// How often something is looked at again.
const TICK: Duration = Duration::from_millis(10);

/// Two terminals, or an editor and a terminal, would spoil one target directory between them.
#[test]
fn two_starts_in_one_directory_do_not_disturb_each_other() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    for changed in [false, true] {
        if changed {
            clone.remove("target");
            clone.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
        }
        let starts = (0..3).map(|_| spawn(chain.command(clone.root(), &["start"])));
        for start in starts.collect::<Vec<_>>() {
            start.ended().succeeded();
        }
        match changed {
            false => drop(builds_right(&clone).nothing_ran()),
            true => drop(prints(&clone, "13")),
        }
    }
}

/// A start would replace files under a running cargo, or seem to hang without a word.
#[test]
fn a_start_waits_for_a_build_and_says_so() {
    let chain = Chain::unpublished();
    let gate = Gate::new(&chain);
    chain.publish_again();
    let clone = chain.elsewhere("clone");
    let build = gate.shut_build(&clone);
    let start = spawn(chain.command(clone.root(), &["start"]));
    start.says("waiting for a build in");
    assert!(start.is_running(), "it waits until the build ends");
    gate.open();
    build.ended().succeeded();
    start.ended().succeeded();
    builds_right(&clone).nothing_ran();
}

/// A dry run, which places nothing, would wait for a build of an hour.
#[test]
fn a_dry_run_waits_for_nobody() {
    let chain = Chain::unpublished();
    let gate = Gate::new(&chain);
    chain.publish_again();
    let clone = chain.elsewhere("clone");
    let build = gate.shut_build(&clone);
    for args in [&["start", "--dry-run"][..], &["status"]] {
        chain.run(clone.root(), args).succeeded();
    }
    gate.open();
    build.ended().succeeded();
}

/// A build that begins while units are placed would see half of them.
#[test]
fn a_build_waits_for_a_start() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    // A start that reads this object stops in the middle, until somebody has written it.
    let object = chain.object("c3", "");
    fs::remove_file(&object).expect("it was published");
    assert!(succeeds(Command::new("mkfifo").arg(&object)));
    let writer = OpenOptions::new().read(true).write(true).open(&object);
    let start = spawn(chain.command(clone.root(), &["start", "--json"]));
    wait_until(|| is_locked(&clone.path("target/debug/.cargo-lock")));
    let build = spawn(clone.cargo().command(&["build"]));
    build.says("waiting for file lock on");
    assert!(start.is_running() && build.is_running());
    drop(writer);
    wait_until(|| {
        // Opened and closed for a reader that came after the first writer went.
        drop(OpenOptions::new().read(true).write(true).open(&object));
        !start.is_running()
    });
    let started = start.ended().succeeded().json();
    assert_eq!(common::reasons(&started, "bin-c3"), ["object-damaged"]);
    build.ended().succeeded();
    builds_right(&clone).nothing_ran();
}

/// The jobs of one commit that end together would publish half a starting point, or fail each other.
#[test]
fn eight_publishes_and_four_starts_share_a_store() {
    let chain = Chain::unpublished();
    let clones = ["a", "b", "c", "d"].map(|name| chain.elsewhere(name));
    let readers = ["e", "f", "g", "h"].map(|name| chain.elsewhere(name));
    let publish = |clone: &Workspace| spawn(chain.command(clone.root(), &["publish"]));
    let publishes: Vec<Running> = clones.iter().chain(&clones).map(publish).collect();
    let mut rounds = 0;
    while publishes.iter().any(Running::is_running) || rounds == 0 {
        let start = |clone: &Workspace| spawn(chain.command(clone.root(), &["start"]));
        let starts: Vec<Running> = readers.iter().map(start).collect();
        starts
            .into_iter()
            .for_each(|start| drop(start.ended().succeeded()));
        rounds += 1;
    }
    for publish in publishes {
        publish.ended().succeeded();
    }
    for reader in &readers {
        builds_right(reader);
    }
    is_whole(&chain.place);
    chain.serves();
}

/// Containers that share a store have the same process ids: each would write into the other's files.
#[test]
fn publishers_with_the_same_process_id_share_a_store() {
    let namespace = ["--fork", "--pid"];
    let probe = [&namespace[..], &["true"]].concat();
    if !succeeds(Command::new("unshare").args(&probe)) {
        return skipped("this user may have no process ids of their own");
    }
    let chain = Chain::unpublished();
    let clones = ["a", "b", "c", "d"].map(|name| chain.elsewhere(name));
    let publish = |clone: &Workspace| {
        let publish = chain.command(clone.root(), &["publish"]);
        spawn(around("unshare", &namespace, &publish))
    };
    for _ in 0..2 {
        let publishes: Vec<Running> = clones.iter().map(publish).collect();
        let ended: Vec<Output> = publishes.into_iter().map(Running::ended).collect();
        ended.into_iter().for_each(|one| drop(one.succeeded()));
    }
    is_whole(&chain.place);
    chain.serves();
}

/// Two workspaces on one machine would mix their starting points up.
#[test]
fn publishes_of_different_commits_share_a_store() {
    let chain = Chain::unpublished();
    let other = chain.elsewhere("other");
    other.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    other.commit("other");
    let both = [&chain.source, &other];
    let publish = |clone: &&Workspace| spawn(chain.command(clone.root(), &["publish"]));
    for publish in both.iter().map(publish).collect::<Vec<_>>() {
        publish.ended().succeeded();
    }
    is_whole(&chain.place);
    chain.serves();
    let clone = other.clone_to(&chain.place.scratch.path("clone"));
    chain.start(clone.root()).succeeded();
    prints(&clone, "13").nothing_ran();
}

/// A build script that does not end until a file is there; only where a variable names that file.
struct Gate {
    reached: PathBuf,
    open: PathBuf,
}

impl Gate {
    /// Puts the gate into the chain's first crate, and commits it.
    fn new(chain: &Chain) -> Gate {
        let script = "fn main() {\n    \
                println!(\"cargo::rerun-if-changed=build.rs\");\n    \
                let Some(gate) = std::env::var_os(\"CHAIN_GATE\") else { return };\n    \
                let gate = std::path::Path::new(&gate);\n    \
                std::fs::write(gate.with_extension(\"reached\"), \"\").unwrap();\n    \
                while !gate.exists() {\n        \
                    std::thread::sleep(std::time::Duration::from_millis(5));\n    \
                }\n\
            }\n";
        chain.source.edit("crates/c0/build.rs", script);
        chain.source.commit("a gate");
        let open = chain.place.scratch.path("gate");
        Gate {
            reached: open.with_extension("reached"),
            open,
        }
    }

    /// Returns a build in `clone` that has got as far as the gate.
    fn shut_build(&self, clone: &Workspace) -> Running {
        let cargo = clone.cargo().env("CHAIN_GATE", &self.open);
        let build = spawn(cargo.command(&["build"]));
        wait_until(|| self.reached.exists());
        build
    }

    fn open(&self) {
        fs::write(&self.open, "").expect("the scratch directory is ours");
    }
}

/// A command under way.
struct Running {
    child: std::cell::RefCell<Child>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    said: std::cell::RefCell<String>,
}

fn spawn(mut command: Command) -> Running {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command can be started");
    Running {
        stdout: lines(child.stdout.take().expect("it is piped")),
        stderr: lines(child.stderr.take().expect("it is piped")),
        child: child.into(),
        said: String::new().into(),
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.for_each(|line| drop(sender.send(line)));
    });
    receiver
}

impl Running {
    fn is_running(&self) -> bool {
        let ended = self.child.borrow_mut().try_wait();
        ended.expect("the child is ours").is_none()
    }

    /// Waits until it says `what` on standard error.
    fn says(&self, what: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stderr.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no {what:?} in:\n{}", self.said.borrow()));
            *self.said.borrow_mut() += &format!("{line}\n");
            if line.contains(what) {
                return;
            }
        }
    }

    /// Waits for its end.
    fn ended(self) -> Output {
        let status = self.child.into_inner().wait();
        let rest: Vec<String> = self.stderr.iter().collect();
        let out: Vec<String> = self.stdout.iter().collect();
        sane(Output {
            code: status.expect("the child is ours").code().unwrap_or(137),
            stdout: out.join("\n"),
            stderr: self.said.into_inner() + &rest.join("\n"),
        })
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(TICK);
    }
}

fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Every object is what its name says, and every point names a manifest that is whole.
fn is_whole(place: &Place) {
    let store = Store::open(&place.store()).expect("it was published");
    let objects = place.store().join("objects");
    for entry in walk::below(&objects).expect("it was published") {
        let path = objects.join(&entry.relative);
        if path.is_file() {
            let (digest, _) = hash::file(&path).expect("it can be read");
            assert!(
                path.ends_with(digest.hex()),
                "{} is damaged",
                path.display()
            );
        }
    }
    for point in store.all_points() {
        store.manifest(point.manifest).expect("it is whole");
    }
    let tmp = walk::subdirectories(&place.store().join("tmp"));
    assert_eq!(tmp, Vec::<String>::new(), "everybody has tidied up");
}
