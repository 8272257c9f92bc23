//! What a starting point costs on the way: requests and bytes.

use headstart_testkit::Workspace;
use headstart_testkit::fixture::Lock;

use crate::common::chain::{builds_right, explain, prints};
use crate::common::{Place, publish_by, rests, runner};
use crate::far::Far;

/// Everything a build is spared depends on this: a fresh clone on another machine runs no rustc.
#[test]
fn a_clone_on_another_machine_is_fresh() {
    let far = Far::published(None);
    let server = far.server();
    let clone = far.clone("fresh");
    let said = far
        .start(&clone, &server.url(), &["--believe-store"])
        .succeeded();
    assert_eq!(said.json()["units"]["fresh"], 4, "{}", said.stderr);
    builds_right(&clone).nothing_ran();
    far.store_is_sound();
    let asked = server.requests();
    assert!(asked.len() <= 4, "{asked:#?}");
}

/// Where one job of CI builds a commit and another its tests, who starts there needs the outputs of both.
#[test]
fn what_two_jobs_published_of_a_commit_comes() {
    let far = Far::published(None);
    let url = format!("file://{}", far.remote.display());
    let tests = runner(far.chain.source.root(), &far.chain.place);
    publish_by(
        tests.env("HEADSTART_REMOTES", &url),
        &["test", "--no-run", "--workspace"],
    );
    let clone = far.clone("both");
    far.start(&clone, &url, &["--believe-store"]).succeeded();
    builds_right(&clone).nothing_ran();
    rests(&clone.cargo(), &["test", "--no-run", "--workspace"]);
    far.store_is_sound();
}

/// What is here already, in the store or from an earlier start, is not fetched again.
#[test]
fn nothing_is_fetched_twice() {
    let far = Far::published(None);
    let server = far.server();
    let first = far.clone("first");
    far.start(&first, &server.url(), &["--believe-store"])
        .succeeded();
    far.gathers(&first);
    server.requests();
    let second = far.clone("second");
    far.start(&second, &server.url(), &["--believe-store"])
        .succeeded();
    builds_right(&second).nothing_ran();
    let asked = server.requests();
    assert_eq!(asked.len(), 1, "only the list: {asked:#?}");
}

/// The session of a unit that will be compiled travels with the outputs of the others.
#[test]
fn what_changed_is_compiled_from_a_session_that_travelled() {
    let far = Far::published(None);
    let server = far.server();
    let clone = far.clone("changed");
    clone.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    far.start(&clone, &server.url(), &["--believe-store", "--", "build"])
        .succeeded();
    assert_eq!(clone.program("c3"), "13");
    let said = explain(clone.root(), &["c2", "--json"]).succeeded().json();
    let reason = &said["units"][0]["compiled"]["reason"];
    assert_eq!(reason["code"], "seeded", "{reason}");
    prints(&clone, "13").nothing_ran();
}

/// The next commit writes what is new in it, in few requests, and reads no more than that.
#[test]
fn the_next_commit_travels_alone() {
    let far = Far::published(None);
    let first = far.publish(None)["remotes"][0].clone();
    assert_eq!(first["packs"], 0, "nothing is new: {first}");
    let server = far.server();
    far.start(&far.clone("before"), &server.url(), &["--believe-store"])
        .succeeded();
    far.chain
        .source
        .replace("crates/c3/src/main.rs", "fn main", "fn other() {}\nfn main");
    far.chain.source.commit("next");
    let said = far.publish(None)["remotes"][0].clone();
    assert_eq!(said["packs"], 1, "{said}");
    let requests = said["requests"].as_u64().expect("it counts them");
    // Three of them write: pack, manifest, list.
    assert!(requests <= 8, "{said}");
    server.requests();
    let clone = far.clone("after");
    let started = far
        .start(&clone, &server.url(), &["--believe-store"])
        .succeeded()
        .json();
    assert_eq!(started["behind"], 0, "{started}");
    builds_right(&clone).nothing_ran();
    let asked = server.requests();
    assert!(asked.len() <= 4, "{asked:#?}");
}

/// A publisher without what it published before still knows what the remote has.
#[test]
fn a_publisher_with_an_empty_store_writes_nothing_twice() {
    let far = Far::published(None);
    std::fs::remove_dir_all(far.chain.place.store()).expect("it is ours");
    let said = far.publish(None)["remotes"][0].clone();
    assert_eq!(said["objects"], 0, "{said}");
}

/// Three workspaces of one repository are built by one command: each would find the other two listed last, and write all that it has.
#[test]
fn each_part_knows_what_was_published_of_it() {
    let parts = ["one", "two", "three"];
    let files = parts.iter().flat_map(|part| {
        let manifest = format!("[package]\nname = \"{part}\"\nversion = \"0.1.0\"\n[workspace]\n");
        let main = format!("fn main() {{\n    println!(\"{part}\");\n}}\n");
        let lock = Lock::new().local(part, &[]).file().1;
        [
            ("Cargo.toml", manifest),
            ("src/main.rs", main),
            ("Cargo.lock", lock),
        ]
        .map(|(file, text)| (format!("{part}/{file}"), text))
    });
    let place = Place::new();
    let ignored = (".gitignore".to_owned(), "target\n".to_owned());
    let source = Workspace::new(files.chain([ignored]));
    let remote = format!("file://{}", place.scratch.path("remote").display());
    let publish = |part: &str| {
        let runner = runner(&source.path(part), &place).env("HEADSTART_REMOTES", &remote);
        let said = publish_by(runner, &["build"]);
        said["remotes"][0]["bytes"]
            .as_u64()
            .expect("it is a number")
    };
    let whole = parts.map(publish)[0];
    source.append("one/src/main.rs", "// edited\n");
    source.commit("next");
    let next = publish("one");
    assert!(next < whole / 3, "{next} of {whole}");
}
