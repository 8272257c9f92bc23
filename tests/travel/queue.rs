//! What a queue of commits does to a remote: several at once, one before its parent, one twice.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use headstart::config::RemoteConfig;
use headstart::remote::{Opener, Remote};
use headstart::store::Store;
use headstart::store::point::Point;
use headstart::tier::{Listing, Replaced, Tier, Trouble, Watch};
use headstart_testkit::Workspace;

use crate::common::chain::{builds_right, prints};
use crate::common::{publish, publish_by, runner};
use crate::far::{Far, push_unsigned};

/// A remote to which somebody else gets through with `other` just before the list is replaced for the first time.
#[derive(Debug)]
struct Overtaken<'a> {
    inner: Remote,
    store: &'a Store,
    other: Mutex<Option<Point>>,
}

impl Tier for Overtaken<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn directory(&self) -> Option<&Path> {
        self.inner.directory()
    }

    fn get(&self, key: &str, limit_bytes: u64, watch: Watch<'_>) -> Result<Vec<u8>, Trouble> {
        self.inner.get(key, limit_bytes, watch)
    }

    fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
        watch: Watch<'_>,
    ) -> Result<Vec<u8>, Trouble> {
        self.inner.get_range(key, range, watch)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), Trouble> {
        self.inner.put(key, bytes)
    }

    fn replace(&self, key: &str, seen: Option<&[u8]>, bytes: Vec<u8>) -> Result<Replaced, Trouble> {
        if let Some(point) = self.other.lock().expect("no thread panics").take() {
            push_unsigned(&self.inner, self.store, &point).expect("nobody is in its way");
        }
        self.inner.replace(key, seen, bytes)
    }

    fn list(&self, key: &str) -> Result<Listing, Trouble> {
        self.inner.list(key)
    }

    fn remove(&self, keys: &[String], removed: &dyn Fn()) -> Result<(), Trouble> {
        self.inner.remove(keys, removed)
    }

    fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<bool, Trouble> {
        self.inner.put_new(key, bytes)
    }

    fn told_unix_s(&self) -> Option<i64> {
        self.inner.told_unix_s()
    }
}

/// A list that was read before another's entry came into it would be written over it: a commit that nobody ever starts from.
#[test]
fn whoever_is_overtaken_reads_the_list_again() {
    let far = Far::unpublished();
    let source = &far.chain.source;
    let mut points = Vec::new();
    for _ in 0..2 {
        publish(source, &far.chain.place, &["build"]);
        points.push(source.head());
        source.append("crates/c3/src/main.rs", "// another\n");
        source.commit("another");
    }
    let store = Store::open(&far.chain.place.store()).expect("it was published");
    let of = |commit: &String| {
        store
            .all_points()
            .into_iter()
            .find(|point| point.commit == *commit)
    };
    let remote = RemoteConfig {
        url: format!("file://{}", far.remote.display()),
        read_only: false,
        by_user: true,
    };
    let opener = Opener::new(Duration::from_secs(2)).expect("there are threads");
    let tier = Overtaken {
        inner: opener
            .open(&remote, std::iter::empty())
            .expect("it is a directory"),
        store: &store,
        other: Mutex::new(of(&points[0])),
    };
    let point = of(&points[1]).expect("it was published");
    push_unsigned(&tier, &store, &point).expect("the second try is the last");
    let mut listed = listed(&far);
    listed.sort();
    points.sort();
    assert_eq!(listed, points);
}

/// Returns the commits that the remote's only list names, newest first.
fn listed(far: &Far) -> Vec<String> {
    let heads = std::fs::read_dir(far.remote.join("v1/heads")).expect("there is a list");
    let head = heads.flatten().next().expect("there is a list").path();
    let bytes = std::fs::read(head).expect("the list is there");
    let head = headstart::store::head::decode(&bytes)
        .expect("it is whole")
        .head;
    let commit = |entry: headstart::store::head::Entry| entry.point.commit;
    head.entries.into_iter().map(commit).collect()
}

/// Returns a publish in `clone`, as a machine of its own: with its own store.
fn publisher(far: &Far, clone: &Workspace) -> Command {
    let store = clone.root().with_extension("store");
    let remote = format!("file://{}", far.remote.display());
    let runner = headstart_testkit::headstart(crate::common::PROGRAM.as_ref(), clone.root());
    let args = ["publish", "--required", "--quiet", "--remote", &remote];
    let mut command = runner.store(store).args(args).command();
    command.env("HOME", far.chain.place.scratch.root());
    command
}

/// Commits that land together would take each other's starting points out of the list.
#[test]
fn several_commits_publish_at_once() {
    let far = Far::unpublished();
    let source = &far.chain.source;
    let mut commits = Vec::new();
    let mut clones = Vec::new();
    for number in 0..4 {
        source.append("crates/c3/src/main.rs", "// another\n");
        commits.push(source.commit("another"));
        clones.push(far.clone(&format!("publisher-{number}")));
        // Compiled before, so that all come to the remote at the same time.
        clones[number]
            .cargo()
            .env("RUSTC_WRAPPER", crate::common::PROGRAM)
            .build(&[]);
    }
    let publish = |clone: &Workspace| publisher(&far, clone).stdin(Stdio::null()).spawn();
    let publishes: Vec<Child> = clones
        .iter()
        .map(|clone| publish(clone).expect("it starts"))
        .collect();
    for mut publish in publishes {
        assert!(publish.wait().expect("it is ours").success());
    }
    let mut listed = listed(&far);
    listed.sort();
    commits.sort();
    assert_eq!(listed, commits);
    let clone = far.clone("reader");
    let started = far
        .start(&clone, &format!("file://{}", far.remote.display()), &[])
        .succeeded();
    assert_eq!(started.json()["behind"], 0, "{}", started.stdout);
    builds_right(&clone).nothing_ran();
}

/// A directory that several users write would take nothing from the second of them, whom the first one's lock is closed to.
#[test]
fn a_lock_that_cannot_be_taken_is_no_obstacle() {
    let far = Far::unpublished();
    std::fs::create_dir_all(far.remote.join("lock")).expect("it is ours");
    let said = far.publish(None)["remotes"][0].clone();
    assert_eq!(said["packs"], 1, "{said}");
    assert_eq!(listed(&far), [far.chain.source.head()]);
}

/// A commit whose parent is still being built, or never was, would start from nothing or fail.
#[test]
fn a_commit_is_published_before_its_parent() {
    let far = Far::published(None);
    let source = &far.chain.source;
    let remote = format!("file://{}", far.remote.display());
    source.replace("crates/c2/src/lib.rs", "+ 1", "+ 11");
    let parent = source.commit("the parent, not published yet");
    source.replace("crates/c3/src/main.rs", "fn main", "fn other() {}\nfn main");
    source.commit("the child");
    let child = far.clone("child");
    let started = far.start(&child, &remote, &[]).succeeded().json();
    assert_eq!(
        (&started["behind"], &started["units"]["fresh"]),
        (&2.into(), &2.into()),
        "{started}"
    );
    assert!(
        publisher(&far, &child)
            .status()
            .expect("it starts")
            .success()
    );

    // The parent comes later: it may start from the child's grandparent, and the child's own starting point stays.
    let late = source.clone_at(&far.chain.place.scratch.path("parent"), &parent);
    let started = far.start(&late, &remote, &[]).succeeded().json();
    assert_eq!(started["behind"], 1, "{started}");
    assert!(
        publisher(&far, &late)
            .status()
            .expect("it starts")
            .success()
    );
    assert_eq!(listed(&far).len(), 3);
    let reader = far.clone("reader");
    assert_eq!(
        far.start(&reader, &remote, &[]).succeeded().json()["behind"],
        0
    );
    prints(&reader, "13").nothing_ran();
}

/// Who clicks "re-run" would fill the bucket with the same again, or find two starting points for one commit.
#[test]
fn a_commit_is_run_again_on_another_machine() {
    let far = Far::published(None);
    let remote = format!("file://{}", far.remote.display());
    let again = far.clone("again");
    far.start(&again, &remote, &[]).succeeded();
    let said = publish_by(far.headstart(&again, &remote), &["build"]);
    assert_eq!(said["units"], 4, "{said}");
    assert_eq!(said["remotes"][0]["packs"], 0, "{said}");
    assert_eq!(listed(&far), [far.chain.source.head()]);
    builds_right(&again).nothing_ran();

    // From nothing, as where the first start could not reach the remote: the newer build takes the older one's place.
    let fresh = far.clone("from-nothing");
    publish_by(
        runner(fresh.root(), &far.chain.place).env("HEADSTART_REMOTES", &remote),
        &["build"],
    );
    assert_eq!(listed(&far), [far.chain.source.head()]);
    let reader = far.clone("reader");
    assert_eq!(
        far.start(&reader, &remote, &[]).succeeded().json()["units"]["fresh"],
        4
    );
    builds_right(&reader).nothing_ran();
}

/// Serves one file as S3 does. Whoever writes under a condition is told that there is trouble; meanwhile another has written `theirs`.
fn busy_store(theirs: &'static str) -> (String, Arc<Mutex<Option<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let stored = Arc::new(Mutex::new(None));
    let serving = stored.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let (mut head, mut body) = (String::new(), Vec::new());
            while reader.read_line(&mut head).is_ok_and(|size| size > 2) {}
            let head = head.to_ascii_lowercase();
            let size = head.split("content-length: ").nth(1);
            let size = size.and_then(|rest| rest.lines().next()?.parse().ok());
            drop(reader.take(size.unwrap_or(0)).read_to_end(&mut body));
            let mut stored = serving.lock().expect("nobody panics with it");
            let (status, body) = match (head.starts_with("put "), &*stored) {
                (true, _) if head.contains("if-none-match") => {
                    *stored = Some(theirs.to_owned());
                    ("500 Internal Server Error", String::new())
                }
                (true, _) => {
                    *stored = Some(String::from_utf8_lossy(&body).into_owned());
                    ("200 OK", String::new())
                }
                (false, Some(content)) => ("200 OK", content.clone()),
                (false, None) => ("404 Not Found", String::new()),
            };
            let size = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nETag: \"{size}\"\r\n\
                Last-Modified: Wed, 25 Nov 2026 12:00:00 GMT\r\nContent-Length: {size}\r\n\r\n{body}"
            );
            drop((&stream).write_all(answer.as_bytes()));
        }
    });
    (format!("http://{address}"), stored)
}

/// A bucket that is busy while several publish would have one write over what another had written surely, and never looks at again.
#[test]
fn a_write_that_fails_overwrites_nothing() {
    let (url, stored) = busy_store("theirs");
    let config = RemoteConfig {
        url: "s3://bucket".to_owned(),
        by_user: true,
        read_only: false,
    };
    let variables = [
        ("AWS_ENDPOINT", url.as_str()),
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_REGION", "any"),
    ];
    let opener = Opener::new(Duration::from_secs(2)).expect("there are threads");
    let remote = opener.open(&config, variables.into_iter());
    let remote = remote.expect("it is one");
    let replaced = remote.replace("list", None, b"ours".to_vec());
    assert_eq!(replaced, Ok(Replaced::Not));
    assert_eq!(
        stored.lock().expect("it is ours").as_deref(),
        Some("theirs")
    );
}
