//! What hangs for ever in the system, or in somebody else's hands, and must not hold a build.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headstart::disk::lock;
use headstart::tier::{Tier, Trouble};
use headstart_testkit::{Fault, Server};

use crate::common::chain::builds_right;
use crate::far::{Far, read_from};

/// How long is waited for what is to end by itself after a few seconds.
const FOR_EVER: Duration = Duration::from_secs(60);

/// Runs `command`, and tells whether it succeeded and ended by itself.
fn ends(mut command: Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().expect("it can be run");
    let begun = Instant::now();
    while begun.elapsed() < FOR_EVER {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    false
}

/// A list on a file server that has gone, as this one that nobody ever writes, would be given up after two seconds, and the build
/// begin never: what was given up was waited for at the end.
#[test]
fn a_list_that_cannot_be_opened_is_left_behind() {
    let far = Far::published(None);
    let heads = far.remote.join("v1/heads");
    let mut entries = fs::read_dir(&heads).expect("it is there");
    let head = entries.next().expect("one").expect("it is ours").path();
    fs::remove_file(&head).expect("it is ours");
    let made = Command::new("mkfifo").arg(&head).status();
    assert!(made.expect("it is everywhere").success());
    let clone = far.clone("behind");
    let start = far.headstart(&clone, &format!("file://{}", far.remote.display()));
    assert!(ends(start.args(["start"]).command()));
    builds_right(&clone);
}

/// A publisher that was stopped while it had the lock of a shared directory would stop all others.
#[test]
fn a_lock_that_nobody_lets_go_of_is_done_without() {
    let far = Far::published(None);
    let held = lock::exclusive(&far.remote.join("lock"), || {}).expect("it is ours");
    let clone = far.clone("locked");
    let publish = far.headstart(&clone, &format!("file://{}", far.remote.display()));
    let publish = publish.args(["publish", "--required", "--", "build"]);
    assert!(ends(publish.env("HEADSTART_WAIT", "0.1").command()));
    drop(held);
}

/// A publisher or signer, who has nothing better to do than to wait, would wait for days.
#[test]
fn a_file_may_not_come_in_drops() {
    let far = Far::unpublished();
    fs::create_dir_all(&far.remote).expect("it is ours");
    fs::write(far.remote.join("list"), [0; 10_000]).expect("it is ours");
    let server = Server::of(&far.remote);
    server.fails(Fault::Drips, "list");
    let remote = read_from(&server.url(), Duration::from_millis(300));
    let answer = remote.get("list", 20_000, &|_| true);
    assert!(matches!(answer, Err(Trouble::Unreachable(why)) if why.contains("within")));
    let answer = remote.get_range("list", 0..5_000, &|_| true);
    assert!(matches!(answer, Err(Trouble::Unreachable(why)) if why.contains("within")));
}
