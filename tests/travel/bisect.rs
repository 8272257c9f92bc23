//! A bisect whose starting points come from a remote.

use std::fs;
use std::path::PathBuf;

use headstart_testkit::{Fault, Output, Workspace};

use crate::common::PROGRAM;
use crate::common::chain::{read, refused};
use crate::far::Far;

/// Publishes the chain's first commit and four more, the last two of them bad, signed with `key`.
fn publish(far: &Far, key: &str) -> Vec<String> {
    let source = &far.chain.source;
    let mut commits = vec![source.head()];
    far.publish(Some(key));
    for at in 1..5 {
        if at == 3 {
            source.replace("crates/c0/src/lib.rs", "0", "10");
        }
        let text = format!("#[used]\nstatic S{at}: u32 = {at};\n");
        source.append("crates/c3/src/main.rs", &text);
        commits.push(source.commit(&format!("commit {at}")));
        far.publish(Some(key));
    }
    commits
}

/// Whoever hunts a regression would wait for libraries and sessions that no program needs, or run what nobody vouches for.
#[test]
fn only_programs_come_and_only_from_who_is_believed() {
    let far = Far::unpublished();
    let key = far.chain.place.scratch.path("own").display().to_string();
    let new = headstart_testkit::headstart(PROGRAM.as_ref(), far.chain.source.root());
    let args = ["key", "new", "--no-password", "--out", &key];
    new.args(args).run().succeeded();
    let commits = publish(&far, &key);
    let (clone, server) = (far.clone("hunted"), far.server());
    let bisect = |clone: &Workspace, remote: &str| -> Output {
        let good = ["bisect", "--json", "--restart", "--good", &commits[0]];
        let check = ["--", "sh", "-c", "test $(c3) = 3"];
        let runner = far.headstart(clone, remote);
        runner.args([&good[..], &check].concat()).run()
    };
    let stranger = bisect(&clone, &server.url());
    refused(&stranger, "no commit between");
    assert!(stranger.stderr.contains("not used"), "{}", stranger.stderr);

    let public = format!("{key}.pub");
    let trust = |args: &[&str]| far.headstart_without_store(&clone).args(args).run();
    trust(&["trust", "add", &public, "--repository", "*"]).succeeded();
    let found = bisect(&clone, &server.url()).succeeded().json();
    assert_eq!(found["first_bad"]["commit"], commits[3].as_str(), "{found}");
    assert_eq!(found["last_good"]["commit"], commits[2].as_str(), "{found}");
    far.store_is_sound();
    let judged = found["judged"].as_array().expect("it is a list").len();
    let objects = fs::read_dir(far.store().join("objects")).expect("it is there");
    let objects = objects.flat_map(|dir| fs::read_dir(dir.expect("it").path()).expect("it"));
    let objects: Vec<PathBuf> = objects.map(|object| object.expect("it").path()).collect();
    // ELF says of what kind a file is: 3 for a program, 1 for an object of a session.
    assert!(objects.iter().all(|object| read(object)[16] == 3));
    let most = commits.len();
    let counted = judged..=most;
    assert!(
        counted.contains(&objects.len()),
        "programs, and those that they are deltas to"
    );

    // What is on its way and does not come costs those commits, and no more.
    drop(fs::remove_dir_all(far.store()));
    server.fails(Fault::Flips, "packs");
    let damaged = bisect(&clone, &server.url());
    assert_eq!(damaged.code, 2, "{}", damaged.stderr);
    let reason = damaged.json()["between"][0]["reason"].clone();
    assert!(
        reason.as_str().is_some_and(|why| why.contains("missing")),
        "{reason}"
    );

    trust(&["trust", "revoke", &public]).succeeded();
    let revoked = bisect(&clone, "none");
    assert_eq!(revoked.code, 2, "{}", revoked.stderr);
    let reason = revoked.json()["between"][0]["reason"].clone();
    assert!(
        reason
            .as_str()
            .is_some_and(|why| why.contains("not believed")),
        "{reason}"
    );
}
