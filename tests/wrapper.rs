//! The wrapper between cargo and a rustc that does what a test wants: nothing is compiled here.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::PROGRAM;
use common::around::output;
use common::chain::sane;
use common::driver::{PROBE, driver, fake_rustc};
use headstart::disk::lock::Lock;
use headstart::engine::ledger::{Ledger, Note};
use headstart::engine::seed::Seed;
use headstart::model::session::SessionFile;
use headstart::model::{Began, Digest, Session};
use headstart::store::Store;
use headstart_testkit::{Output, Scratch, clean};

/// Runs headstart with `args` in an empty directory.
fn bare(args: &[&str]) -> Output {
    let scratch = Scratch::new();
    let mut command = Command::new(PROGRAM);
    let command = clean(&mut command).current_dir(scratch.root());
    sane(output(command.args(args)))
}

/// cargo asks the compiler through the wrapper: another answer is another compiler.
#[test]
fn the_wrapper_answers_as_rustc_does() {
    let rustc = |args: &[&str]| sane(output(clean(&mut Command::new("rustc")).args(args)));
    let wrapped = |args: &[&str]| bare(&[&["rustc"], args].concat());
    for args in [
        &["-vV"][..],
        &["--print=sysroot"],
        &["--no-such-flag"],
        &["no/such/file.rs"],
        &["--explain", "E0308"],
        &["--version", "--verbose"],
    ] {
        let (plain, own) = (rustc(args), wrapped(args));
        assert_eq!(
            (own.code, own.stdout, own.stderr),
            (plain.code, plain.stdout, plain.stderr)
        );
    }
}

/// A build without its compiler would seem to succeed, or to have crashed.
#[test]
fn a_compiler_that_is_not_there_is_said_so() {
    let run = bare(&["no/such/rustc", "-vV"]);
    assert_eq!(run.code, 127);
    assert!(
        run.stderr.contains("cannot run no/such/rustc"),
        "{}",
        run.stderr
    );
}

/// A flag that headstart does not know would be lost, or a name in another encoding be mangled.
#[test]
fn the_wrapper_passes_every_argument_on() {
    let scratch = Scratch::new();
    let fake = fake_rustc(&scratch, "bin", "printf '%s\\n' \"$@\"");
    let odd = OsStr::from_bytes(b"caf\xe9");
    let args = [
        "--frobnicate=1",
        "@no/such/file",
        "-Zx",
        "",
        "a b",
        "--",
        "-",
    ];
    let mut command = Command::new(PROGRAM);
    let run = clean(&mut command).arg(&fake).args(args).arg(odd).output();
    let expected = [args.join("\n").as_bytes(), b"\n", odd.as_bytes(), b"\n"].concat();
    assert_eq!(run.expect("headstart runs").stdout, expected);
}

/// The exit code of a compiler that crashed would be taken for an error in the sources, or for success.
#[test]
fn the_wrapper_ends_as_rustc_ends() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 101", 101),
        ("kill -9 $$", 137),
    ] {
        let run = Here::new(script).compile(&[]);
        assert_eq!(run.code, code, "{script}: {}", run.stderr);
    }
}

/// A directory that cannot be written would fail the build, for a note that only headstart reads.
#[test]
fn a_note_that_cannot_be_written_fails_nothing() {
    let here = Here::new("printf '%s\\n' \"$@\"; echo told >&2");
    here.scratch.write("target/.headstart", "a file");
    let run = here.compile(&[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, "told\n"));
    assert!(run.stdout.contains("--crate-name\nfoo\n"), "{}", run.stdout);
    let told = run.stdout;
    assert!(told.contains("--remap-path-prefix="), "{told}");
}

/// An absolute output directory is hashed by rustc, and nothing of a session from another path is used.
#[test]
fn rustc_is_told_no_place() {
    let here = Here::new("printf '%s\\n' \"$@\"");
    let given = here.compile(&[]).stdout;
    let root = here.scratch.root().display().to_string();
    let told = |line: &&str| line.contains(&root) && !line.starts_with("--remap-path-prefix=");
    let places: Vec<&str> = given.lines().filter(told).collect();
    let incremental = format!("incremental={root}/target/debug/incremental");
    assert_eq!(places, [incremental]);
    assert!(given.contains("--out-dir\ntarget/debug/deps\n"), "{given}");
}

/// A flag of a newer rustc may mean anything: what is added beside it may break the build.
#[test]
fn an_unknown_flag_changes_nothing_and_is_noted() {
    let here = Here::new("printf '%s\\n' \"$@\"");
    let given = here.compile(&["--novel=1"]).stdout;
    assert!(!given.contains("--remap-path-prefix="), "{given}");
    assert!(given.ends_with("--novel=1\n"), "{given}");
    let flag = "--novel=1".to_owned();
    assert_eq!(here.note().began, Began::UnknownFlag { flag });
    assert!(!here.note().compiled.remapped);
}

/// cargo writes a response file where a line is too long: such a unit would be compiled from nothing for ever.
#[test]
fn a_response_file_is_understood() {
    let here = Here::new("printf '%s\\n' \"$@\"; cat \"${1#@}\" 2>/dev/null");
    let file = here.scratch.path("args");
    let args = here.args(&[]);
    fs::write(&file, args.join("\n")).expect("the scratch directory is ours");
    let told = here.wrapped(&[&format!("@{}", file.display())]).stdout;
    assert!(told.starts_with('@') && told.lines().count() > 10, "{told}");
    assert!(told.contains("--out-dir\ntarget/debug/deps\n"), "{told}");
    assert_eq!(here.note().compiled.crate_name, "foo");
}

/// clippy's driver would take the rustc that stands before a response file's arguments for a source.
#[test]
fn a_response_file_behind_clippys_rustc_is_understood() {
    let here = Here::new("printf '%s\\n' \"$1\"; head -n 1 \"${2#@}\"");
    let file = here.scratch.path("args");
    fs::write(&file, here.args(&[]).join("\n")).expect("the scratch directory is ours");
    let run = here.wrapped(&["rustc", &format!("@{}", file.display())]);
    assert!(run.stdout.starts_with("rustc\n--"), "{}", run.stdout);
}

/// The session would be thrown away whole, or taken for one of another unit.
#[test]
fn a_seed_is_placed_with_this_machines_hashes() {
    let here = Here::new(&format!("{PROBE}cat \"$graph\""));
    here.seed(&here.arguments());
    let run = here.compile(&[]);
    assert_eq!(
        run.stdout, "RSIC\0\0\u{4}1.95hereHASHnodes 0123456789abcdef nodes",
        "{}",
        run.stderr
    );
    let reason = here.note().began;
    assert!(matches!(reason, Began::Seeded { .. }), "{reason:?}");
}

/// A session made by other arguments would pass for this line's, and give another program.
#[test]
fn a_seed_of_other_arguments_is_not_placed() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&Digest::of(b"others"));
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::OtherArguments);
}

/// Another build of rustc that says the same of its version would get a session of a rustc that it knows nothing of.
#[test]
fn a_seed_of_another_compiler_is_not_placed() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&here.arguments());
    let shell =
        "cat \"$1\" > \"$2.new\"; echo >> \"$2.new\"; chmod +x \"$2.new\"; mv \"$2.new\" \"$2\"";
    let mut copy = Command::new("sh");
    let copy = copy.args(["-c", shell, "sh"]).arg(driver());
    assert_eq!(output(copy.arg(&here.rustc)).code, 0);
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::OtherArguments);
}

/// A script adds what it likes to the arguments; a program that some other option was given would come out.
#[test]
fn a_compiler_that_is_a_script_gets_no_seed() {
    for script_is_behind in [false, true] {
        let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
        here.seed(&here.arguments());
        let script = here.scratch.path("script/rustc");
        let text = "#!/bin/sh\n# librustc_driver\n";
        here.scratch.write("script/rustc", text);
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut programs = [script, here.rustc.clone()];
        programs.rotate_left(usize::from(script_is_behind));
        let mut command = Command::new(PROGRAM);
        let command = command.args(programs).args(here.args(&[]));
        output(clean(command).current_dir(here.scratch.root()));
        let note = here.note();
        let found = (note.began, note.compiled.arguments);
        assert_eq!(found, (Began::UnsureCompiler, None));
    }
}

/// Whoever suspects the seeds must be able to go without.
#[test]
fn seeding_can_be_turned_off() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&here.arguments());
    let mut command = here.command(&here.args(&[]));
    let run = output(command.env("HEADSTART_SEED", "0"));
    assert_eq!(run.stdout, "graph: \n");
    assert_eq!(here.note().began, Began::SeedingOff);
}

/// A damaged object that reached rustc would be linked into a wrong program.
#[test]
fn a_damaged_seed_is_not_placed() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let digest = here.seed(&here.arguments());
    let store = Store::open(&here.scratch.path("store")).expect("the store was made");
    common::chain::flip(&store.object(digest));
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::SeedLost);
}

/// What rustc made here itself is newer than any seed.
#[test]
fn a_session_of_rustcs_own_stays() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    here.seed(&here.arguments());
    here.scratch.write(
        "target/debug/incremental/foo-1/s-hoesqv6wan-2-y/dep-graph.bin",
        "own",
    );
    here.scratch
        .write("target/debug/incremental/foo-1/s-hoesqv6wan-2.lock", "");
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::OwnSession);
    assert!(
        here.scratch
            .path("target/debug/incremental/foo-1/s-hoesqv6wan-2-y")
            .is_dir()
    );
}

/// A session from another branch would stay for ever, although a better one was published.
#[test]
fn a_session_that_a_start_found_worse_gives_way() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let own = "target/debug/incremental/foo-1/s-hoesqv6wan-2-y";
    let arguments = here.arguments();
    for (replaced, gone) in [("s-hoesqv6wan-1-x", false), ("s-hoesqv6wan-2-y", true)] {
        here.scratch.write(format!("{own}/dep-graph.bin"), "own");
        here.scratch
            .write("target/debug/incremental/foo-1/s-hoesqv6wan-2.lock", "");
        here.seed_instead_of(&arguments, Some(replaced));
        let run = here.compile(&[]);
        assert_eq!(run.stdout.contains("s-9ugxnorjls"), gone, "{}", run.stdout);
        assert_eq!(here.scratch.path(own).exists(), !gone, "{replaced}");
    }
}

/// A rustc that crashes on a seed would fail a build that passes without us, and cargo would hear twice that the
/// unit's metadata is ready.
#[test]
fn a_crash_on_a_seed_is_compiled_again_without_it() {
    let line = r#"{"$message_type":"artifact","artifact":"x.rmeta","emit":"metadata"}"#;
    for (crash, how) in [
        ("exit 101", "panicked"),
        ("kill -SEGV $$", "was ended by signal 11"),
    ] {
        let script =
            format!("{PROBE}echo '{line}' >&2\n[ -z \"$graph\" ] || {crash}\necho done >&2");
        let here = Here::new(&script);
        here.seed(&here.arguments());
        let run = here.compile(&[]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(run.stderr.matches(line).count(), 1, "{}", run.stderr);
        assert_eq!(
            run.stderr.matches("compiling it again").count(),
            1,
            "{}",
            run.stderr
        );
        assert!(run.stderr.ends_with("done\n"), "{}", run.stderr);
        let note = here.note();
        assert!(note.compiled.crashed, "its state would be published");
        let commit = "c0ffee".to_owned();
        let how = how.to_owned();
        assert_eq!(note.began, Began::SeedCrashed { commit, how });
        here.compile(&[]);
        assert_eq!(
            here.note().began,
            Began::NoSession,
            "the seed is gone for good"
        );
    }
}

/// An error in a source would be printed twice, after twice the time.
#[test]
fn an_error_in_a_source_is_reported_once() {
    for (script, code) in [("exit 1", 1), ("kill -TERM $$", 143), ("kill -INT $$", 130)] {
        let here = Here::new(&format!("{PROBE}echo wrong >&2; {script}"));
        here.seed(&here.arguments());
        let run = here.compile(&[]);
        assert_eq!(
            (run.code, run.stderr.as_str()),
            (code, "wrong\n"),
            "{script}"
        );
        assert_eq!(
            fs::read_dir(here.scratch.path("target/debug/incremental/foo-1"))
                .map(Iterator::count)
                .ok(),
            Some(2)
        );
    }
}

/// Asking rustc for its hash costs 30 ms and more, each time.
#[test]
fn the_probe_runs_once_for_each_set_of_arguments() {
    let count = "echo probe >> probes;";
    let script = PROBE.replace("for arg in", &format!("{count} for arg in"));
    let here = Here::new(&format!("{script}true"));
    here.seed(&here.arguments());
    let probes =
        || fs::read_to_string(here.scratch.path("probes")).map_or(0, |text| text.lines().count());
    here.compile(&[]);
    here.compile(&[]);
    assert_eq!(probes(), 1);
}

/// A unit that is edited while the rest of its starting point is being fetched would be compiled from nothing.
#[test]
fn a_session_on_its_way_is_waited_for() {
    let here = Here::new(&format!("{PROBE}printf '%s' \"$graph\""));
    let coming = here.coming(600_000);
    let fetching = coming.fetching();
    let (run, answered) = coming.compile_until_asked(&here, || {
        let now = SystemTime::now();
        coming.comes();
        coming.store.answer(coming.graph);
        now
    });
    drop(fetching);
    assert!(run.stdout.contains("s-9ugxnorjls"), "{}", run.stdout);
    let note = here.note();
    assert!(matches!(note.began, Began::Seeded { .. }), "{note:?}");
    let answered = answered
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_millis();
    let started = u128::from(note.started_unix_ms);
    assert!(started >= answered, "waiting passes for compiling");
}

/// A build would hang for a session that nobody brings.
#[test]
fn a_fetch_that_ends_ends_the_waiting() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let coming = here.coming(600_000);
    // Its process is gone; or it has tried, and the session did not come.
    for tried in [false, true] {
        let fetching = coming.fetching();
        let (run, fetching) = coming.compile_until_asked(&here, || {
            if tried {
                coming.store.answer(coming.graph);
            }
            tried.then_some(fetching)
        });
        drop(fetching);
        assert_eq!(run.stdout, "graph: \n");
        let began = here.note().began;
        match tried {
            false => assert_eq!(began, Began::SeedLost),
            true => assert_eq!(began, Began::SeedLate),
        }
        coming.store.answer(coming.graph);
    }
}

/// Each build without a network would wait for every session that was not fetched.
#[test]
fn nobody_waits_where_nobody_fetches() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let coming = here.coming(600_000);
    let asks_nobody = |when: &str| {
        assert_eq!(here.compile(&[]).stdout, "graph: \n", "{when}");
        assert_eq!(here.note().began, Began::SeedLost, "{when}");
        assert!(!here.scratch.path("store/asked").exists(), "{when}");
    };
    asks_nobody("nobody ever fetched");
    drop(coming.fetching());
    asks_nobody("it was interrupted");
    coming.store.settle_rest(coming.manifest);
    asks_nobody("it has ended");
    let other = Digest::of(b"another manifest");
    let _fetching = coming.store.fetching(other, || ()).expect("it is ours");
    asks_nobody("another is fetched");
}

/// A slow network would make a build slower than without headstart.
#[test]
fn nobody_waits_longer_than_it_is_worth() {
    let here = Here::new(&format!("{PROBE}echo \"graph: $graph\""));
    let coming = here.coming(50);
    let _fetching = coming.fetching();
    assert_eq!(here.compile(&[]).stdout, "graph: \n");
    assert_eq!(here.note().began, Began::SeedLate);
    let asked = [(coming.graph, Duration::from_millis(50))];
    assert_eq!(
        coming.store.asked(coming.manifest),
        asked,
        "the next build is glad of it"
    );
}

/// A seed that is noted, and the object of its session not in the store yet.
struct Coming {
    store: Store,
    manifest: Digest,
    graph: Digest,
    content: Vec<u8>,
}

impl Coming {
    /// Fetches the rest of its starting point, as far as others can see.
    fn fetching(&self) -> Lock {
        let fetching = self.store.fetching(self.manifest, || ());
        fetching.expect("it is ours")
    }

    fn comes(&self) {
        let staging = self.store.staging("test").expect("it is ours");
        let object = (self.graph, self.content.len() as u64);
        let put = self.store.put_from(&staging, &self.content[..], object);
        put.expect("it is ours");
    }

    /// Compiles the unit, and calls `then` when the wrapper has asked for the session.
    fn compile_until_asked<T>(&self, here: &Here, then: impl FnOnce() -> T) -> (Output, T) {
        std::thread::scope(|scope| {
            let build = scope.spawn(|| here.compile(&[]));
            common::until("it is asked for", || self.store.is_asked(self.graph));
            let then = then();
            (build.join().expect("it ends"), then)
        })
    }
}

/// A place of one unit: a fake rustc, and a target directory as cargo lays it out.
struct Here {
    scratch: Scratch,
    rustc: PathBuf,
}

impl Here {
    fn new(script: &str) -> Here {
        let scratch = Scratch::new();
        let rustc = fake_rustc(&scratch, "bin", script);
        fs::create_dir_all(scratch.path("target/debug/.fingerprint")).expect("it is ours");
        Here { scratch, rustc }
    }

    /// The arguments that cargo gives for the unit `foo`, and `more`.
    fn args(&self, more: &[&str]) -> Vec<String> {
        let debug = self.scratch.path("target/debug");
        let own = format!(
            "--crate-name foo src/lib.rs --crate-type lib --emit=dep-info,metadata,link -C metadata=1 \
             -C extra-filename=-1 --out-dir {0}/deps -C incremental={0}/incremental",
            debug.display()
        );
        let more = more.iter().map(|arg| (*arg).to_owned());
        own.split_whitespace()
            .map(str::to_owned)
            .chain(more)
            .collect()
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(PROGRAM);
        clean(&mut command)
            .current_dir(self.scratch.root())
            .env("CARGO_HOME", "/home/u/.cargo")
            .arg(&self.rustc)
            .args(args);
        command
    }

    fn wrapped(&self, args: &[&str]) -> Output {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        output(&mut self.command(&args))
    }

    fn compile(&self, more: &[&str]) -> Output {
        output(&mut self.command(&self.args(more)))
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(&self.scratch.path("target"))
    }

    fn note(&self) -> Note {
        let notes = self.ledger().notes();
        notes
            .into_iter()
            .next()
            .expect("the wrapper wrote a note")
            .1
    }

    /// What the wrapper takes for the arguments of the unit; a rustc that does nothing compiles once to know.
    fn arguments(&self) -> Digest {
        let idle = fake_rustc(&self.scratch, "idle", "");
        let mut command = Command::new(PROGRAM);
        let command = clean(&mut command)
            .current_dir(self.scratch.root())
            .env("CARGO_HOME", "/home/u/.cargo");
        output(command.arg(&idle).args(self.args(&[])));
        let noted = self.note().compiled.arguments;
        fs::remove_dir_all(self.scratch.path("target/.headstart")).expect("it is ours");
        noted.expect("the unit is incremental")
    }

    /// Notes a seed whose dep-graph holds one hash, and returns its object.
    fn seed(&self, arguments: &Digest) -> Digest {
        self.seed_instead_of(arguments, None)
    }

    /// Notes a seed that is not in the store yet, for which a build may wait for `wait_ms`.
    fn coming(&self, wait_ms: u64) -> Coming {
        let graph = self.seed(&self.arguments());
        let store = Store::open(&self.scratch.path("store")).expect("it was made");
        let content = fs::read(store.object(graph)).expect("it is there");
        fs::remove_file(store.object(graph)).expect("it is ours");
        let ledger = self.ledger();
        let mut seed = ledger.seed("foo=1").expect("it was noted");
        seed.wait_ms = wait_ms;
        ledger.write_seed("foo=1", &seed).expect("it is ours");
        Coming {
            store,
            manifest: seed.manifest,
            graph,
            content,
        }
    }

    /// Does the same for a seed that takes the place of one of rustc's own sessions.
    fn seed_instead_of(&self, arguments: &Digest, replaces: Option<&str>) -> Digest {
        let store = Store::create(&self.scratch.path("store")).expect("it is ours");
        let graph = b"RSIC\0\0\x041.95therHASHnodes ................ nodes";
        let file = self.scratch.path("graph");
        fs::write(&file, graph).expect("it is ours");
        let digest = Digest::of(graph);
        let staging = store.staging("test").expect("it is ours");
        store.put_file(&staging, &file, digest).expect("it is ours");
        let session = Session {
            crate_dir: "debug/incremental/foo-1".to_owned(),
            name: "r-h".to_owned(),
            files: vec![SessionFile {
                name: "dep-graph.bin".to_owned(),
                digest,
                size_bytes: graph.len() as u64,
            }],
            sites: Vec::new(),
        };
        let seed = Seed {
            commit: "c0ffee".to_owned(),
            manifest: Digest::of(b"a manifest"),
            arguments: *arguments,
            wait_ms: 0,
            session,
            patches: vec![(25, *b"0123456789abcdef")],
            store: self.scratch.path("store"),
            replaces: replaces.map(str::to_owned),
        };
        let ledger = self.ledger();
        ledger.write_seed("foo=1", &seed).expect("it is ours");
        digest
    }
}
