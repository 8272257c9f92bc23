//! What a machine that stopped, or a process that was killed, left half done, while the remote has it whole.

use std::fs;
use std::path::PathBuf;

use headstart_testkit::Workspace;

use crate::common::chain::builds_right;
use crate::far::Far;

/// Returns the only file in the directory `dir` of the store.
fn only(far: &Far, dir: &str) -> PathBuf {
    let entries = fs::read_dir(far.store().join(dir)).expect("it is there");
    entries.flatten().next().expect("there is one").path()
}

/// What was being written when the power failed is empty afterwards: the starting point could not be used on that machine any more,
/// or none of its objects be fetched.
#[test]
fn what_is_torn_in_the_store_comes_again() {
    let far = Far::published(None);
    let server = far.server();
    let start = |clone: &Workspace| far.start(clone, &server.url(), &["--believe-store"]);
    for dir in ["manifests", "indexes"] {
        drop(fs::remove_dir_all(far.store()));
        start(&far.clone(&format!("{dir}/before"))).succeeded();
        let torn = only(&far, dir);
        fs::remove_file(&torn).expect("it is ours");
        fs::write(&torn, "").expect("it is ours");
        drop(fs::remove_dir_all(far.store().join("objects")));
        let clone = far.clone(&format!("{dir}/after"));
        let said = start(&clone).succeeded();
        assert_eq!(said.json()["units"]["fresh"], 4, "{dir}: {}", said.stderr);
        builds_right(&clone).nothing_ran();
        far.store_is_sound();
    }
}
