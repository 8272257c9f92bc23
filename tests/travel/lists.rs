//! The list of a remote: who may replace it by what, and what is asked for of it.

use std::fs;

use headstart::store::head;

use crate::common::PROGRAM;
use crate::common::chain::{found_nothing, refused};
use crate::far::Far;

/// Whoever publishes without the key would take away what all others can believe.
#[test]
fn a_signed_list_is_not_replaced_by_an_unsigned_one() {
    let far = Far::unpublished();
    let file = far.chain.place.scratch.path("own").display().to_string();
    let runner = headstart_testkit::headstart(PROGRAM.as_ref(), far.chain.source.root());
    let new = ["key", "new", "--no-password", "--out", &file];
    runner.args(new).run().succeeded();
    far.publish(Some(&file));
    let config = far.chain.place.scratch.path("config");
    let refused = || {
        let runner = crate::common::runner(far.chain.source.root(), &far.chain.place);
        let url = format!("file://{}", far.remote.display());
        let publish = ["publish", "--json", "--remote", &url];
        let runner = runner.env("XDG_CONFIG_HOME", &config).args(publish);
        let said = runner.run().succeeded().json()["remotes"][0].clone();
        let why = said["error"].as_str();
        assert!(why.is_some_and(|why| why.contains("no key")), "{said}");
    };
    refused();
    // Believing who signed it makes it nobody else's to sign.
    let key = format!("{file}.pub");
    let add = ["trust", "add", &key, "--repository", "*"];
    let runner = headstart_testkit::headstart(PROGRAM.as_ref(), far.chain.source.root());
    let runner = runner.env("XDG_CONFIG_HOME", &config);
    runner.args(add).run().succeeded();
    refused();
    far.publish(Some(&file));
}

/// A remote whose list a power failure has cut would take nothing any more; or a change of keys take its history away without a word.
#[test]
fn a_list_that_cannot_be_added_to_is_begun_anew() {
    let far = Far::unpublished();
    let keys = ["one", "other"].map(|name| {
        let file = far.chain.place.scratch.path(name).display().to_string();
        let runner = headstart_testkit::headstart(PROGRAM.as_ref(), far.chain.source.root());
        let new = ["key", "new", "--no-password", "--out", &file];
        runner.args(new).run().succeeded();
        file
    });
    let list = || {
        let heads = fs::read_dir(far.remote.join("v1/heads")).expect("it was published");
        let file = heads.flatten().next().expect("there is one").path();
        let read = head::decode(&fs::read(&file).expect("it is there"));
        (file, read.map(|read| read.head.entries.len()).ok())
    };
    let publish = |key: &String| {
        let runner = crate::common::runner(far.chain.source.root(), &far.chain.place);
        let runner = runner.env("HEADSTART_SIGN_KEY", key);
        let url = format!("file://{}", far.remote.display());
        let said = runner
            .args(["publish", "--required", "--remote", &url])
            .run();
        assert_eq!(said.code, 0, "{}", said.stderr);
        said.stderr
    };
    publish(&keys[0]);
    far.chain.source.append("crates/c3/src/main.rs", "\n");
    far.chain.source.commit("next");
    let said = publish(&keys[1]);
    assert!(said.contains("1 starting point of a list"), "{said}");
    assert_eq!(list().1, Some(1));
    fs::write(list().0, "").expect("it is ours");
    assert!(!publish(&keys[1]).contains("listed no more"));
    assert_eq!(list().1, Some(1));
}

/// A job that writes to the address that everybody reads would be green for ever, and nobody would start from what it built.
#[test]
fn a_remote_that_is_only_read_is_not_written_to() {
    let far = Far::unpublished();
    let publish = |more: &[&str]| {
        let runner = crate::common::runner(far.chain.source.root(), &far.chain.place);
        let typed = ["publish", "--remote", "http://127.0.0.1:1/"];
        runner.args([&typed[..], more].concat()).run()
    };
    let said = publish(&[]).succeeded();
    assert!(said.stderr.contains("only read"), "{}", said.stderr);
    refused(&publish(&["--required"]), "could not be written to");
}

/// Publishes eleven commits more, and makes of each manifest there what nobody can use.
fn spoil(far: &Far) {
    for at in 0..11 {
        far.chain.source.edit("note.txt", at.to_string());
        far.chain.source.commit("next");
        far.publish(None);
    }
    let weeks = fs::read_dir(far.remote.join("v1/manifests")).expect("it was published");
    let files = weeks.flat_map(|week| fs::read_dir(week.expect("it is ours").path()));
    for file in files.flatten() {
        fs::write(file.expect("it is ours").path(), "of another format").expect("it is ours");
    }
}

/// Before a change of formats all that is listed may be of no use: each of hundreds would be asked for, and said to be, at each start.
#[test]
fn what_cannot_be_used_is_not_asked_for_without_end() {
    let far = Far::published(None);
    spoil(&far);
    let server = far.server();
    let said = far.start(&far.clone("other"), &server.url(), &["--believe-store"]);
    found_nothing(&said, "none of the manifests can be used");
    let asked = server.requests();
    let manifests = asked.iter().filter(|path| path.contains("manifests"));
    assert_eq!(manifests.count(), 8, "{asked:#?}");
    assert_eq!(said.stderr.matches("is not used").count(), 8);
}

/// What is here would not be found behind what a remote has lost.
#[test]
fn what_is_here_is_found_behind_what_cannot_be_used() {
    let far = Far::published(None);
    let server = far.server();
    let start = |name| far.start(&far.clone(name), &server.url(), &["--believe-store"]);
    start("before").succeeded();
    spoil(&far);
    let said = start("after").succeeded().json();
    assert_eq!(
        (&said["behind"], &said["units"]["fresh"]),
        (&11.into(), &4.into()),
        "{said}"
    );
}
