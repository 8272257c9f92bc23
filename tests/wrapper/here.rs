//! One unit that is compiled by a fake rustc.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use headstart::engine::ledger::{Ledger, Note};
use headstart::engine::names::Called;
use headstart::engine::seed::Seed;
use headstart::model::session::SessionFile;
use headstart::model::{Compiled, Digest, Session};
use headstart::store::Store;
use headstart_testkit::{Output, Scratch, clean};

use crate::common::PROGRAM;
use crate::common::around::output;
use crate::common::driver::fake_rustc;

/// A place of one unit: a fake rustc, and a target directory as cargo lays it out.
pub(crate) struct Here {
    pub(crate) scratch: Scratch,
    pub(crate) rustc: PathBuf,
    idle: OnceLock<Compiled>,
}

impl Here {
    pub(crate) fn new(script: &str) -> Here {
        let scratch = Scratch::new();
        let rustc = fake_rustc(&scratch, "bin", script);
        fs::create_dir_all(scratch.path("target/debug/.fingerprint")).expect("it is ours");
        let idle = OnceLock::new();
        Here {
            scratch,
            rustc,
            idle,
        }
    }

    /// The arguments that cargo gives for the unit `foo`, and `more`.
    pub(crate) fn args(&self, more: &[&str]) -> Vec<String> {
        self.args_of("src/lib.rs", "1", more)
    }

    /// The same for another main source, where cargo calls the unit `hash`.
    pub(crate) fn args_of(&self, source: &str, hash: &str, more: &[&str]) -> Vec<String> {
        let debug = self.scratch.path("target/debug");
        let own = format!(
            "--crate-name foo {source} --crate-type lib --emit=dep-info,metadata,link -C metadata={hash} \
             -C extra-filename=-{hash} --out-dir {0}/deps -C incremental={0}/incremental",
            debug.display()
        );
        let more = more.iter().map(|arg| (*arg).to_owned());
        own.split_whitespace()
            .map(str::to_owned)
            .chain(more)
            .collect()
    }

    pub(crate) fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(PROGRAM);
        clean(&mut command)
            .current_dir(self.scratch.root())
            .env("CARGO_HOME", "/home/u/.cargo")
            .arg(&self.rustc)
            .args(args);
        command
    }

    pub(crate) fn wrapped(&self, args: &[&str]) -> Output {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        output(&mut self.command(&args))
    }

    pub(crate) fn compile(&self, more: &[&str]) -> Output {
        output(&mut self.command(&self.args(more)))
    }

    pub(crate) fn compile_as(&self, hash: &str, more: &[&str]) -> Output {
        output(&mut self.command(&self.args_of("src/lib.rs", hash, more)))
    }

    pub(crate) fn compile_in(&self, package: &str, hash: &str) -> Output {
        let source = format!("{package}/src/lib.rs");
        output(&mut self.command(&self.args_of(&source, hash, &[])))
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::of(&self.scratch.path("target"))
    }

    pub(crate) fn note_of(&self, hash: &str) -> Note {
        let note = self.ledger().note(&format!("foo-{hash}"));
        note.expect("the wrapper wrote a note")
    }

    pub(crate) fn note(&self) -> Note {
        let notes = self.ledger().notes();
        notes
            .into_iter()
            .next()
            .expect("the wrapper wrote a note")
            .1
    }

    /// What the wrapper takes for the arguments of the unit.
    pub(crate) fn arguments(&self) -> Digest {
        let noted = self.compiled_idly().arguments;
        noted.expect("the unit is incremental")
    }

    /// The name of the unit's seed.
    pub(crate) fn seed_key(&self) -> String {
        format!("foo={}", self.compiled_idly().metadata)
    }

    /// What is noted of the unit where a rustc that does nothing compiles it.
    fn compiled_idly(&self) -> &Compiled {
        self.idle.get_or_init(|| self.compile_idly())
    }

    fn compile_idly(&self) -> Compiled {
        let idle = match self.scratch.path("idle/rustc") {
            made if made.exists() => made,
            _ => fake_rustc(&self.scratch, "idle", ""),
        };
        let mut command = Command::new(PROGRAM);
        let command = clean(&mut command)
            .current_dir(self.scratch.root())
            .env("CARGO_HOME", "/home/u/.cargo");
        output(command.arg(&idle).args(self.args(&[])));
        let noted = self.note().compiled;
        fs::remove_dir_all(self.scratch.path("target/.headstart")).expect("it is ours");
        noted
    }

    /// Of what rustc showed, the dep-graph is the seed's with this machine's hashes.
    #[track_caller]
    pub(crate) fn shows_the_seed(run: &Output) {
        assert_eq!(
            run.stdout, "RSIC\0\0\u{4}1.95hereHASHnodes 0123456789abcdef nodes",
            "{}",
            run.stderr
        );
    }

    /// Notes a seed whose dep-graph holds one hash, and returns its object.
    pub(crate) fn seed(&self, arguments: &Digest) -> Digest {
        self.seed_instead_of(arguments, None)
    }

    /// Does the same for a seed that takes the place of one of rustc's own sessions.
    pub(crate) fn seed_instead_of(&self, arguments: &Digest, replaces: Option<&str>) -> Digest {
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
            line: self.compiled_idly().line.clone(),
            wait_ms: 0,
            session,
            patches: vec![(25, *b"0123456789abcdef")],
            called: Called::default(),
            store: self.scratch.path("store"),
            replaces: replaces.map(str::to_owned),
            made: None,
        };
        let key = self.seed_key();
        self.ledger().write_seed(&key, &seed).expect("it is ours");
        digest
    }
}
