//! What changed is dirty, always: exactly the units that cargo rebuilds in a warm directory, and no other.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, There, clone_elsewhere, named, publish, publish_by, rests, runner, start_by};
use headstart_testkit::{Cargo, Scratch, Workspace, cargo_home, fixture};

/// Something that a reader changes, and what must then be seen.
struct Change {
    /// Said when it fails.
    what: &'static str,
    /// Changes files of a work tree.
    edit: fn(&Workspace),
    /// Variables that cargo is run with.
    env: &'static [(&'static str, &'static str)],
    /// Lines that the program then prints.
    says: &'static [&'static str],
}

/// A publisher at the first commit, and a directory that plain cargo built it in.
struct Lab {
    place: Place,
    publisher: Workspace,
    warm: Workspace,
    /// A copy of `warm` as it was after the build.
    pristine: PathBuf,
    command: &'static [&'static str],
    program: &'static str,
    /// Files that git does not know of, in every work tree.
    untracked: fn(&Workspace),
}

impl Lab {
    fn new(
        publisher: Workspace,
        command: &'static [&'static str],
        program: &'static str,
        untracked: fn(&Workspace),
    ) -> Lab {
        let place = Place::new();
        untracked(&publisher);
        publish(&publisher, &place, command);
        let warm = publisher.clone_to(&place.scratch.path("warm"));
        untracked(&warm);
        warm.cargo().run(command).succeeded();
        let pristine = place.scratch.path("pristine");
        copy(warm.root(), &pristine);
        Lab {
            place,
            publisher,
            warm,
            pristine,
            command,
            program,
            untracked,
        }
    }

    /// Checks that cargo rebuilds the same units in started clones as in the warm directory, to the same end.
    fn check(&self, change: &Change) {
        let Change { what, says, .. } = *change;
        let (wanted, text) = self.in_warm_directory(change);
        for line in says {
            assert!(text.lines().any(|said| said == *line), "{what}: {text}");
        }
        for committed in [false, true] {
            let there = self.clone_with(change, committed);
            let mut reader = runner(there.clone.root(), &self.place).home(&there.home);
            // Somebody may set a variable only when cargo runs: then cargo sees it, and start does not.
            for (name, value) in change.env.iter().filter(|_| !committed) {
                reader = reader.env(name, value);
            }
            let started = start_by(reader, &[]);
            assert_eq!(started["commit"], self.publisher.head().as_str());
            assert_eq!(started["behind"], u64::from(committed));
            let build = with(there.cargo(), change).run(self.command);
            let build = build.succeeded();
            assert_eq!(build.units(), wanted, "{what}, committed: {committed}");
            assert_eq!(there.clone.program(self.program), text, "{what}");
            with_nothing_left(&there, change, self.command);
        }
    }

    fn in_warm_directory(&self, change: &Change) -> (BTreeSet<String>, String) {
        fs::remove_dir_all(self.warm.root()).expect("the warm directory is the test's");
        copy(&self.pristine, self.warm.root());
        (change.edit)(&self.warm);
        let build = with(self.warm.cargo(), change)
            .run(self.command)
            .succeeded();
        assert!(
            !build.units().is_empty(),
            "{}: nothing changed",
            change.what
        );
        (build.units(), self.warm.program(self.program))
    }

    fn clone_with(&self, change: &Change, committed: bool) -> There {
        let name = format!("clones/{} {committed}", change.what);
        let there = clone_elsewhere(&self.publisher, &self.place, &name);
        (self.untracked)(&there.clone);
        (change.edit)(&there.clone);
        if committed {
            there.clone.commit("changed");
        }
        there
    }
}

fn with(cargo: Cargo, change: &Change) -> Cargo {
    let set = |cargo: Cargo, (name, value): &(&str, &str)| cargo.env(name, value);
    change.env.iter().fold(cargo, set)
}

fn with_nothing_left(there: &There, change: &Change, command: &[&str]) {
    rests(&with(there.cargo(), change), command);
}

/// Copies a directory with all times.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.expect("cp is in PATH").success());
}

/// `fixture::kinds` with more to change: a module, a watched directory, an input that git ignores.
fn base() -> Workspace {
    let kinds = fixture::kinds();
    kinds
        .append(".gitignore", "/local.txt\n")
        .replace(
            "outside/src/lib.rs",
            "\"outside\"",
            "include_str!(\"../../local.txt\")",
        )
        .replace("crates/warns/src/lib.rs", "\"warns\"", "inner::WORD")
        .append("crates/warns/src/lib.rs", "mod inner;\n")
        .replace(
            "crates/warns/Cargo.toml",
            "edition",
            "description = \"warns\"\nedition",
        )
        .edit(
            "crates/warns/src/inner.rs",
            "pub const WORD: &str = env!(\"CARGO_PKG_DESCRIPTION\");\n",
        )
        .edit("crates/gen-relative/parts/one.txt", "")
        .replace(
            "crates/gen-relative/build.rs",
            "    let words",
            "    println!(\"cargo::rerun-if-changed=parts\");\n    \
             let parts = std::fs::read_dir(\"parts\").unwrap().count();\n    let words",
        )
        .replace(
            "crates/gen-relative/build.rs",
            "words.trim()",
            "format!(\"{} {parts}\", words.trim())",
        );
    kinds.commit("base");
    kinds
}

fn local_file(workspace: &Workspace) {
    workspace.edit("local.txt", "outside\n");
}

const KINDS_COMMAND: &[&str] = &["build", "--package=app", "--bins"];

/// Each round changes several units that do not depend on each other, and so are seen one by one.
const KINDS: [Change; 6] = [
    Change {
        what: "a program only",
        edit: |w| {
            w.replace("crates/app/src/bin/one.rs", "{line}", "> {line}");
        },
        env: &[],
        says: &["> 0 debug", "> 11 warns"],
    },
    Change {
        what: "a library, an added module, an included file, a file declared by absolute path",
        edit: |w| {
            w.replace("crates/both/src/lib.rs", "for the", "for a")
                .edit(
                    "crates/featured/src/added.rs",
                    "pub const LOUD: &str = \"ADDED\";\n",
                )
                .replace("crates/featured/src/lib.rs", "\"LOUD\"", "added::LOUD")
                .append("crates/featured/src/lib.rs", "mod added;\n")
                .edit("shared.txt", "other\n")
                .edit("crates/gen-absolute/data.txt", "other\n");
        },
        env: &[],
        says: &[
            "2 both, for a target",
            "3 ADDED",
            "4 other",
            "5 no mode, both, for a host",
            "9 other",
        ],
    },
    Change {
        what: "a file declared by relative path, a file of a whole package, a renamed module, an ignored file",
        edit: |w| {
            w.edit("crates/gen-relative/words.txt", "other\n")
                .edit("crates/gen-silent/note.txt", "other\n")
                .rename("crates/warns/src/inner.rs", "crates/warns/src/outer.rs")
                .replace("crates/warns/src/lib.rs", "inner", "outer")
                .replace(
                    "crates/warns/src/outer.rs",
                    "env!(\"CARGO_PKG_DESCRIPTION\")",
                    "\"renamed\"",
                )
                .edit("local.txt", "other\n");
        },
        env: &[],
        says: &["6 other 1", "7 other", "8 other", "11 renamed"],
    },
    Change {
        what: "a file added to a declared directory, a file added to a whole package, a variable",
        edit: |w| {
            w.edit("crates/gen-relative/parts/two.txt", "")
                .edit("crates/gen-silent/added.txt", "");
        },
        env: &[("FIXTURE_TRIM", "gold")],
        says: &["6 generated 2", "7 note", "10 gold"],
    },
    Change {
        what: "a build script, a variable that one declares, a variable that a crate reads",
        edit: |w| {
            w.replace(
                "crates/gen-relative/build.rs",
                "{} {parts}",
                "{} of {parts}",
            );
        },
        env: &[("FIXTURE_MODE", "fast"), ("FIXTURE_COLOR", "red")],
        says: &["5 fast, both, for the host", "6 generated of 1", "10 red"],
    },
    Change {
        what: "features, lints, a description, a variable in cargo's configuration",
        edit: |w| {
            w.replace("crates/app/Cargo.toml", "\"loud\"", "\"quiet\"")
                .append(
                    "crates/warns/Cargo.toml",
                    "[lints.rust]\nunused = \"allow\"\n",
                )
                .replace(
                    "crates/warns/Cargo.toml",
                    "\"warns\"\nedition",
                    "\"told\"\nedition",
                )
                .replace(".cargo/config.toml", "blue", "green");
        },
        env: &[],
        says: &["3 quiet", "10 green", "11 told"],
    },
];

/// Whatever kind of input changed, its unit and its dependents are rebuilt and nothing else, or stale code runs.
#[test]
fn every_kind_of_input_is_compared() {
    let lab = Lab::new(base(), KINDS_COMMAND, "one", local_file);
    KINDS.iter().for_each(|change| lab.check(change));
    included_file_is_gone(&lab);
}

/// Without the file that it includes, a crate does not compile; an output placed instead would hide that.
fn included_file_is_gone(lab: &Lab) {
    for path in ["shared.txt", "local.txt"] {
        let there = clone_elsewhere(&lab.publisher, &lab.place, &format!("gone/{path}"));
        local_file(&there.clone);
        there.clone.remove(path);
        let started = there.start(&lab.place, &[]);
        let unit = if path == "shared.txt" {
            "/lib-quoting"
        } else {
            "/lib-outside"
        };
        assert_eq!(common::reasons(&started, unit), ["gone"]);
        let build = there.cargo().run(KINDS_COMMAND);
        assert!(
            !build.success && build.stderr.contains(path),
            "{}",
            build.stderr
        );
    }
}

const PLAIN_BUILD: &[&str] = &["build"];

const SETTINGS: [Change; 4] = [
    Change {
        what: "a profile",
        edit: |w| {
            w.append("Cargo.toml", "\n[profile.dev]\nopt-level = 1\n");
        },
        env: &[],
        says: &["3"],
    },
    Change {
        what: "a profile of one package",
        edit: |w| {
            w.append(
                "Cargo.toml",
                "\n[profile.dev.package.c1]\ndebug-assertions = false\n",
            );
        },
        env: &[],
        says: &["3"],
    },
    Change {
        what: "RUSTFLAGS",
        edit: |w| {
            w.replace(
                "crates/c0/src/lib.rs",
                "    0",
                "    if cfg!(ten) { 10 } else { 0 }",
            );
        },
        env: &[("RUSTFLAGS", "--cfg ten --check-cfg cfg(ten)")],
        says: &["13"],
    },
    Change {
        what: "flags in cargo's configuration",
        edit: |w| {
            w.edit(
                ".cargo/config.toml",
                "[build]\nrustflags = [\"-Cdebuginfo=1\"]\n",
            );
        },
        env: &[],
        says: &["3"],
    },
];

/// Settings that shape every unit make every unit dirty, also where no source changed.
#[test]
fn settings_are_compared() {
    let lab = Lab::new(fixture::chain(4), PLAIN_BUILD, "c3", |_| {});
    SETTINGS.iter().for_each(|change| lab.check(change));
}

const VENDORED: Change = Change {
    what: "a version in the lock file",
    edit: |w| {
        w.replace("vendor/tiny/Cargo.toml", "1.0.0", "1.0.1")
            .replace("vendor/tiny/src/lib.rs", "\"tiny\"", "\"tinier\"")
            .replace("Cargo.lock", "1.0.0", "1.0.1");
    },
    env: &[],
    says: &["tinier"],
};

/// A dependency that was bumped, or patched where it is vendored, is compiled again.
#[test]
fn dependencies_are_compared() {
    let lab = Lab::new(fixture::vendored(), PLAIN_BUILD, "shop", |_| {});
    lab.check(&VENDORED);
}

/// A patch to a vendored source is compiled in a fresh clone, as git says, though cargo takes it for immutable.
#[test]
fn patched_vendored_sources_are_compiled() {
    let (shop, place) = (fixture::vendored(), Place::new());
    publish(&shop, &place, PLAIN_BUILD);
    shop.replace("vendor/tiny/src/lib.rs", "\"tiny\"", "\"patched\"")
        .commit("patched");
    let there = clone_elsewhere(&shop, &place, "clone");
    there.start(&place, &[]);
    assert_eq!(named(&there.cargo().build(&[])), ["shop(bin)", "tiny(lib)"]);
    assert_eq!(there.clone.program("shop"), "patched");
}

/// A git dependency at another commit has the version and the directory's name of the one before it.
#[test]
fn git_dependencies_are_compared() {
    let (scratch, place) = (Scratch::new(), Place::new());
    let user = fixture::git_dep(&scratch);
    let library = Workspace::open(&scratch.path("library"));
    let first = library.head();
    let home = cargo_home(&place.scratch.path("home"), &[]);
    publish_by(runner(user.root(), &place).home(&home), PLAIN_BUILD);
    library.replace("src/lib.rs", "\"library\"", "\"bumped\"");
    let second = library.commit("second");
    user.replace("Cargo.lock", &first, &second).commit("bumped");
    let there = clone_elsewhere(&user, &place, "clone");
    let started = there.start(&place, &[]);
    assert_eq!(common::verdicts(&started, "/lib-library"), ["absent"]);
    assert_eq!(common::reasons(&started, "/lib-library"), ["not-locked"]);
    assert_eq!(
        named(&there.cargo().build(&[])),
        ["library(lib)", "user(bin)"]
    );
    assert_eq!(there.clone.program("user"), "bumped");
}

/// A file that changed with an old time, or right after the start, is a changed file all the same.
#[test]
fn times_deceive_nobody() {
    let (chain, place) = (fixture::chain(3), Place::new());
    publish(&chain, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&chain, &place, "clone");
    let source = "crates/c0/src/lib.rs";
    there.clone.replace(source, "    0", "    5");
    let file = fs::File::options()
        .write(true)
        .open(there.clone.path(source));
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.and_then(|file| file.set_modified(long_ago))
        .expect("the file is the test's");
    let started = there.start(&place, &[]);
    assert_eq!(common::reasons(&started, "/lib-c0"), ["changed"]);
    there.cargo().build(&[]);
    assert_eq!(there.clone.program("c2"), "7");

    let there = clone_elsewhere(&chain, &place, "second");
    there.start(&place, &[]);
    there.clone.replace("crates/c1/src/lib.rs", "+ 1", "+ 3");
    let build = there.cargo().build(&[]);
    assert_eq!(named(&build), ["c1(lib)", "c2(bin)"]);
    assert_eq!(there.clone.program("c2"), "4");
}
