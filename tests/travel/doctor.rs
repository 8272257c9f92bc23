//! `headstart doctor`: everything that is wrong is said to be, nothing else is, and nothing is touched.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use headstart_testkit::{Fault, Headstart, Output, Workspace};

use crate::common::PROGRAM;
use crate::common::around::with_own_mounts;
use crate::common::chain::sane;
use crate::far::Far;

/// What the doctor said: verdict and words of each check.
type Said = BTreeMap<String, (String, String)>;

/// Runs the doctor with `runner`, and returns what it said.
#[track_caller]
fn doctor(runner: Headstart) -> Said {
    let output = sane(runner.args(["doctor", "--json"]).run());
    let said = output.json();
    let text = |one: &serde_json::Value| one.as_str().unwrap_or_default().to_owned();
    let checks = said["checks"].as_array().expect("it is a list").iter();
    let said: Said = checks
        .map(|one| {
            let verdict = text(&one["verdict"]);
            assert!(verdict == "ok" || !text(&one["hint"]).is_empty(), "{one}");
            (text(&one["check"]), (verdict, text(&one["says"])))
        })
        .collect();
    let wrong = said.values().any(|(verdict, _)| verdict == "wrong");
    assert_eq!(output.code, i32::from(wrong), "{said:#?}");
    let all = [
        "workspace",
        "configuration",
        "wrapper",
        "toolchain",
        "store",
        "trust",
    ];
    for check in all {
        assert!(said.contains_key(check), "no {check}: {said:#?}");
    }
    said
}

/// The checks with which something is wrong.
fn wrong(said: &Said) -> Vec<&str> {
    let wrong = said.iter().filter(|(_, (verdict, _))| verdict == "wrong");
    wrong.map(|(check, _)| check.as_str()).collect()
}

/// A published chain, a clone elsewhere that believes who signed it, and its doctor.
fn signed() -> (Far, Workspace) {
    let far = Far::unpublished();
    let file = far.chain.place.scratch.path("own").display().to_string();
    let clone = far.clone("visited");
    let run = |args: &[&str]| far.headstart_without_store(&clone).args(args).run();
    run(&["key", "new", "--no-password", "--out", &file]).succeeded();
    let public = format!("{file}.pub");
    run(&["trust", "add", &public, "--repository", "*"]).succeeded();
    far.publish(Some(&file));
    (far, clone)
}

/// Whoever has no trouble would look for some, or find their files changed by asking.
#[test]
fn where_all_is_well_nothing_is_wrong_or_touched() {
    let (far, clone) = signed();
    let url = format!("file://{}", far.remote.display());
    let before = files(clone.root());
    let said = doctor(far.headstart(&clone, &url));
    assert_eq!(wrong(&said), [""; 0], "{said:#?}");
    for (check, words) in [
        ("workspace", "visited, at "),
        ("store", "will be made"),
        ("conditional write", "is kept"),
        ("read", "1.0 MB"),
        ("range", "kB"),
        ("list", "signed by"),
        ("trust", "is believed"),
    ] {
        assert_eq!(said[check].0, "ok", "{check}: {said:#?}");
        assert!(said[check].1.contains(words), "{check}: {said:#?}");
    }
    assert!(!far.store().exists(), "a store was made");
    assert_eq!(files(clone.root()), before);
    // The same for people, by a server that is only read; one file has to do for every doctor.
    let server = far.server();
    let runner = far.headstart(&clone, &server.url()).args(["doctor"]);
    let text = runner.run().succeeded().stdout;
    let line = format!("ok     {} write: it is only read\n", server.url());
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("\n       hint: "), "{text}");
    // The same in a directory whose address is not its path.
    let spaced = far.remote.with_file_name("a remote");
    fs::rename(&far.remote, &spaced).expect("it is ours");
    let url = format!("file://{}", spaced.display()).replace(' ', "%20");
    let said = doctor(far.headstart(&clone, &url));
    assert_eq!(wrong(&said), [""; 0], "{said:#?}");
}

/// Everything in a directory but git's own.
fn files(dir: &std::path::Path) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let entries = fs::read_dir(dir).expect("it is there").flatten();
    let own = entries.filter(|entry| entry.file_name() != ".git");
    let mut files: Vec<_> = own
        .flat_map(|entry| match entry.path().is_dir() {
            true => files(&entry.path()),
            false => {
                let meta = entry.metadata().expect("it is there");
                vec![(entry.path(), meta.modified().expect("it has one"))]
            }
        })
        .collect();
    files.sort();
    files
}

/// A remote that is dead, slow, lying or closed would be found out by builds that are not quicker, and nobody would know why.
#[test]
fn what_is_wrong_with_a_remote_is_said() {
    let (far, clone) = signed();
    let url = format!("file://{}", far.remote.display());
    doctor(far.headstart(&clone, &url));
    for (fault, part, check, words) in [
        (Fault::Silent, "", "latency", "nothing came"),
        (Fault::Drips, "v1/doctor", "read", "a second"),
        (Fault::Drips, "heads", "latency", "too long"),
        (Fault::Unavailable, "", "latency", "503"),
        (Fault::Busy(60), "", "latency", "come back in 60 s"),
        (Fault::Denied, "", "latency", "denied"),
        (Fault::NoRanges, "", "range", "Range request"),
        (Fault::Flips, "v1/doctor", "read", "other bytes"),
        (Fault::Truncates, "v1/doctor", "read", "other bytes"),
        (Fault::Flips, "heads", "list", ""),
        (Fault::Resets, "", "latency", ""),
    ] {
        let server = far.server();
        server.fails(fault, part);
        let begun = Instant::now();
        let said = doctor(far.headstart(&clone, &server.url()));
        let took = begun.elapsed();
        assert_eq!(wrong(&said), [check], "{fault:?} {part}: {said:#?}");
        assert!(said[check].1.contains(words), "{fault:?} {part}: {said:#?}");
        assert!(took < Duration::from_secs(15), "{fault:?} {part}: {took:?}");
    }
    for (url, check) in [
        ("http://127.0.0.1:1/", "latency"),
        ("nonsense://x", "remote"),
    ] {
        let said = doctor(far.headstart(&clone, url));
        assert_eq!(wrong(&said), [check], "{said:#?}");
    }
    let nowhere = format!("file://{}/nowhere", far.remote.display());
    let said = doctor(far.headstart(&clone, &nowhere));
    assert_eq!(wrong(&said), ["remote"], "{said:#?}");
    assert!(!far.remote.join("nowhere").exists(), "it was made");
}

/// Nearly everybody only reads, and would be told that something is wrong.
#[test]
fn who_may_not_write_may_still_start() {
    let (far, clone) = signed();
    let url = format!("file://{}", far.remote.display());
    let doctor = far.headstart(&clone, &url).args(["doctor", "--json"]);
    let script = format!(
        "mount --bind '{0}' '{0}'; mount -o remount,bind,ro '{0}'; exec \"$@\"",
        far.remote.display()
    );
    let Some(said) = with_own_mounts(&script, &doctor.command()) else {
        return;
    };
    assert_eq!(said.code, 0, "{}", said.stdout);
    let said = said.json();
    let checks = said["checks"].as_array().expect("it is a list");
    let find = |check: &str| checks.iter().find(|one| one["check"] == check);
    let verdict = |check: &str| find(check).map(|one| one["verdict"].clone());
    assert_eq!(verdict("write"), Some("note".into()), "{said:#}");
    assert_eq!(verdict("read"), Some("ok".into()), "{said:#}");
}

/// A clock that is off expires starting points and makes object stores refuse, in words that no one takes for a clock.
#[test]
fn a_clock_that_is_off_is_said() {
    let (far, clone) = signed();
    let server = far.server();
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    for (there, expected) in [(now, "ok"), (now + hour, "wrong"), (now - hour, "wrong")] {
        let date = there.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        server.dates(&date);
        let said = doctor(far.headstart(&clone, &server.url()));
        assert_eq!(said["clock"].0, expected, "{date}: {said:#?}");
    }
    // Also where the clock is why nothing else works.
    server.fails(Fault::Denied, "");
    let said = doctor(far.headstart(&clone, &server.url()));
    assert_eq!(wrong(&said), ["clock", "latency"], "{said:#?}");
}

/// Starts that use nothing, because nobody is believed, would look like remotes that have nothing.
#[test]
fn who_is_not_believed_is_said() {
    let far = Far::published(None);
    let (server, clone) = (far.server(), far.clone("stranger"));
    let said = doctor(far.headstart(&clone, &server.url()));
    assert_eq!(wrong(&said), ["list"], "{said:#?}");
    assert!(said["list"].1.contains("not signed"), "{said:#?}");
    assert_eq!(said["trust"].0, "note", "{said:#?}");

    let config = clone.path("config/headstart");
    fs::create_dir_all(&config).expect("it is ours");
    fs::write(config.join("trust.toml"), "[[key]").expect("it is ours");
    let runner = far.headstart(&clone, &server.url());
    let said = doctor(runner.env("XDG_CONFIG_HOME", clone.path("config")));
    assert_eq!(wrong(&said), ["list", "trust"], "{said:#?}");
}

/// Asserts that the doctor says `words` of `check`, with that verdict, and that nothing else is wrong.
#[track_caller]
fn is(runner: Headstart, check: &str, verdict: &str, words: &str) {
    let said = doctor(runner);
    assert_eq!(said[check].0, verdict, "{said:#?}");
    assert!(said[check].1.contains(words), "{said:#?}");
    let other = wrong(&said).into_iter().find(|one| *one != check);
    assert_eq!(other, None, "{said:#?}");
}

/// Whoever typed it in a directory where nothing can be started would be told that all is well.
#[test]
fn where_nothing_can_be_started_is_said() {
    let far = Far::unpublished();
    let clone = far.clone("here");
    let here = || far.headstart(&clone, "none");
    let outside = headstart_testkit::headstart(PROGRAM.as_ref(), clone.root().join(".."));
    let outside = outside.store(far.store()).env("HEADSTART_REMOTES", "none");
    is(outside, "workspace", "note", "is not in a git work tree");
    fs::write(clone.path("Cargo.toml"), "[workspace").expect("it is ours");
    is(here(), "workspace", "note", "unclosed table");
    clone.remove(".git").git(&["init", "--quiet"]);
    is(here(), "workspace", "note", "has no commits yet");
}

/// Another wrapper, or one that is gone, has every session lie unused, or every build fail.
#[test]
fn what_is_wrong_with_the_wrapper_is_said() {
    let far = Far::unpublished();
    let clone = far.clone("here");
    let by = |program: &str| far.headstart(&clone, "none").env("RUSTC_WRAPPER", program);
    let plain = || far.headstart(&clone, "none");
    is(plain(), "wrapper", "note", "begins from no session");
    is(by(PROGRAM), "wrapper", "ok", PROGRAM);
    is(by("sh"), "wrapper", "wrong", "two cannot share");
    is(
        by("/nowhere/headstart"),
        "wrapper",
        "wrong",
        "no such program",
    );
    fs::create_dir(clone.path(".cargo")).expect("it is ours");
    let config = "[build]\nrustc-wrapper = \"bin/sccache\"\n";
    fs::write(clone.path(".cargo/config.toml"), config).expect("it is ours");
    is(plain(), "wrapper", "wrong", "here/bin/sccache");
    is(by(""), "wrapper", "note", "begins from no session");
}

/// What does not do anything, silently: a name that is spelled wrong, a number that is none, a program that is not there.
#[test]
fn what_is_wrong_with_settings_is_said() {
    let far = Far::unpublished();
    let clone = far.clone("here");
    let set = |name: &str, value: &str| far.headstart(&clone, "none").env(name, value);
    is(
        set("RUSTC", "/nowhere/rustc"),
        "toolchain",
        "wrong",
        "/nowhere/rustc",
    );
    is(
        set("HEADSTART_WAIT", "soon"),
        "configuration",
        "wrong",
        "HEADSTART_WAIT",
    );
    is(
        set("HEADSTART_STORE_MAX_SIZE", "50X"),
        "configuration",
        "wrong",
        "HEADSTART_STORE_MAX_SIZE",
    );
    let write = |text: &str| fs::write(clone.path("headstart.toml"), text).expect("it is ours");
    write("remotes = []\n");
    is(set("X", ""), "configuration", "note", "`remotes`");
    let started = far.start(&clone, "none", &[]);
    let warned = "headstart: `remotes` in headstart.toml means nothing";
    assert!(started.stderr.contains(warned), "{}", started.stderr);
    write("trusted_keys = [\"x\"]\n");
    is(set("X", ""), "trust", "wrong", "here/headstart.toml");
    write("# ours\nremote = 3\n");
    let said: Output = far.headstart_without_store(&clone).args(["doctor"]).run();
    assert_eq!(said.code, 1, "{}", said.stdout);
    assert!(said.stdout.contains("line 2: "), "{}", said.stdout);
    let hint = said.stdout.contains("hint: correct the file");
    assert!(hint, "{}", said.stdout);
}

/// A store of another version, or a directory that is none, would be found out by the next publish.
#[test]
fn what_is_wrong_with_the_store_is_said() {
    let far = Far::unpublished();
    let clone = far.clone("here");
    let with = |store: &std::path::Path| far.headstart(&clone, "none").store(store);
    let store = clone.path("newer");
    fs::create_dir(&store).expect("it is ours");
    fs::write(store.join("headstart-store"), "headstart store 99\n").expect("it is ours");
    is(with(&store), "store", "wrong", "format 99");
    fs::write(store.join("headstart-store"), "headstart store 1\n").expect("it is ours");
    is(with(&store), "store", "ok", "0 starting points");
    is(
        with(clone.root()),
        "store",
        "wrong",
        "not a headstart store",
    );
}

/// A program that hangs would take every other answer with it.
#[test]
fn what_hangs_costs_itself_alone() {
    let far = Far::unpublished();
    let clone = far.clone("hangs");
    let script = clone.path("rustc");
    fs::write(&script, "#!/bin/sh\nexec sleep 40\n").expect("it is ours");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("it is ours");
    let said = doctor(far.headstart(&clone, "none").env("RUSTC", &script));
    assert_eq!(wrong(&said), ["toolchain"], "{said:#?}");
    assert!(said["toolchain"].1.contains("hangs"), "{said:#?}");
}
