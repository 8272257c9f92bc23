//! What a build holds of its own place, or left outside its target directory, is made anew in another place.

mod common;

use std::path::Path;

use common::{
    Place, There, clone_elsewhere, is_fresh_at_the_same_path, named, publish, publish_by, runner,
    start_by, start_elsewhere, start_in, verdicts,
};
use headstart_testkit::{Cargo, Workspace, cargo_home, fixture};

const PLAIN_BUILD: &[&str] = &["build"];

/// A program that holds its directory would tell the publisher's, and tools would look for files there.
#[test]
fn pinned_programs_are_built_where_they_run() {
    let (pinned, place) = (fixture::pinned(), Place::new());
    publish(&pinned, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&pinned, &place, "clone");
    let started = there.start(&place, &[]);
    assert_eq!(common::reasons(&started, "/bin-teller"), ["pinned"]);
    assert_eq!(verdicts(&started, "/lib-beneath"), ["fresh"]);
    assert_eq!(named(&there.cargo().build(&[])), ["teller(bin)"]);
    let own = format!("{}/teller\nbeneath", there.clone.root().display());
    assert_eq!(there.clone.program("teller"), own);
    is_fresh_at_the_same_path(&pinned, &place);
}

/// What plain cargo built holds its directory everywhere, and is good nowhere else.
#[test]
fn outputs_of_plain_cargo_stay_where_they_are() {
    let (pinned, place) = (fixture::pinned(), Place::new());
    pinned.cargo().build(&[]);
    publish(&pinned, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&pinned, &place, "clone");
    let started = there.start(&place, &[]);
    assert_eq!(common::reasons(&started, "/lib-beneath"), ["pinned"]);
    assert_eq!(
        named(&there.cargo().build(&[])),
        ["beneath(lib)", "teller(bin)"]
    );
    is_fresh_at_the_same_path(&pinned, &place);
}

/// A program that tells its commit would tell the publisher's.
#[test]
fn stamped_programs_tell_their_own_commit() {
    let (stamped, place) = (fixture::stamped(), Place::new());
    let first = stamped.head();
    publish(&stamped, &place, PLAIN_BUILD);
    let second = stamped.append("build.rs", "").commit("nothing changed");

    // Both on the branch, which is all that .git/HEAD says.
    let branch = clone_elsewhere(&stamped, &place, "branch");
    let started = branch.start(&place, &[]);
    assert_eq!(
        common::reasons(&started, "/run-build-script-build-script-build"),
        ["other-commit"]
    );
    assert_eq!(
        named(&branch.cargo().build(&[])),
        ["stamped(bin)", "stamped(run)"]
    );
    assert_eq!(branch.clone.program("stamped"), second);

    // Both detached, at another commit and at the same.
    stamped.checkout(&first);
    publish(&stamped, &place, PLAIN_BUILD);
    let detached = clone_elsewhere(&stamped, &place, "detached");
    detached.clone.git(&["fetch", "--quiet", "origin", "main"]);
    detached.clone.checkout(&second);
    detached.start(&place, &[]);
    assert_eq!(
        named(&detached.cargo().build(&[])),
        ["stamped(bin)", "stamped(run)"]
    );
    assert_eq!(detached.clone.program("stamped"), second);

    let same = clone_elsewhere(&stamped, &place, "same");
    same.clone.checkout(&first);
    same.start(&place, &[]);
    same.rests(&[PLAIN_BUILD]);
    assert_eq!(same.clone.program("stamped"), first);
}

/// git's log of HEAD is another in every clone, so that no clone's can be compared; a program that tells its branch would tell the
/// publisher's.
#[test]
fn a_script_that_watches_a_log_of_git_runs_on_another_branch() {
    let (stamped, place) = (fixture::stamped(), Place::new());
    stamped.replace("build.rs", ".git/HEAD", ".git/logs/HEAD");
    stamped.replace("build.rs", "\"HEAD\"", "\"--abbrev-ref\", \"HEAD\"");
    stamped.commit("tells its branch");
    publish(&stamped, &place, PLAIN_BUILD);
    let published = stamped.git(&["branch", "--show-current"]);
    let same = start_elsewhere(&stamped, &place, &[]);
    same.rests(&[PLAIN_BUILD]);
    assert_eq!(same.clone.program("stamped"), published.trim());

    let other = clone_elsewhere(&stamped, &place, "other");
    other.clone.git(&["checkout", "--quiet", "-b", "feature"]);
    other.start(&place, &[]);
    other.cargo().build(&[]).succeeded();
    assert_eq!(other.clone.program("stamped"), "feature");
}

/// Watches git's HEAD as version-stamping crates do: by the path that git prints.
const STAMPING: &str = r#"use std::process::Command;

fn git(argument: &str) -> String {
    let output = Command::new("git").args(["rev-parse", argument]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn main() {
    println!("cargo::rerun-if-changed={}/HEAD", git("--absolute-git-dir"));
    println!("cargo::rustc-env=STAMPED_COMMIT={}", git("HEAD"));
    println!("cargo::rustc-env=STAMPED_TOP={}", git("--show-toplevel"));
}
"#;

/// A program that tells its commit and its repository, in a workspace below the top of that: in `deep`, or at it.
fn stamping(deep: &str) -> Workspace {
    let stamped = fixture::stamped();
    for file in ["Cargo.toml", "Cargo.lock", "build.rs", "src"] {
        let moved = Path::new(deep).join(file);
        if moved != Path::new(file) {
            stamped.rename(file, moved);
        }
    }
    let tell = "    println!(\"{}\", env!(\"STAMPED_TOP\"));\n}\n";
    stamped
        .edit(".gitignore", "target\n")
        .edit(Path::new(deep).join("build.rs"), STAMPING)
        .replace(Path::new(deep).join("src/main.rs"), "}\n", tell);
    stamped.commit("stamping");
    stamped
}

/// In a workspace below the top of its repository, a program would tell the publisher's commit and directory.
#[test]
fn a_nested_workspace_tells_its_own_repository() {
    let (nested, place) = (stamping("deep"), Place::new());
    publish_in(&nested, "deep", &place);
    // The publisher's repository stays where it is, at its commit.
    let there = clone_elsewhere(&nested, &place, "clone");
    there.clone.edit("note.txt", "").commit("second");
    tells_its_own_place(&there.clone, "deep", &there.home, &place);
}

/// The same at one commit, for a script that asks git for the directory alone: the publisher's may be gone.
#[test]
fn a_nested_workspace_holds_its_own_repository() {
    let (nested, place) = (stamping("deep"), Place::new());
    let watched = "rerun-if-changed={}/HEAD\", git(\"--absolute-git-dir\"));";
    nested
        .replace("deep/build.rs", watched, "rerun-if-changed=build.rs\");")
        .commit("watches nothing of git");
    publish_in(&nested, "deep", &place);
    let there = clone_elsewhere(&nested, &place, "clone");
    tells_its_own_place(&there.clone, "deep", &there.home, &place);
}

/// Work trees of one repository are beside each other on one machine: what one watches is still there for another.
#[test]
fn a_worktree_tells_its_own_commit() {
    for (publisher, reader) in [(0, 1), (1, 0), (1, 2)] {
        let (main, place) = (stamping(""), Place::new());
        let add = |name: &str| {
            let path = place.scratch.path(name);
            let text = path.display().to_string();
            main.git(&["worktree", "add", "--quiet", "-b", name, &text]);
            Workspace::open(&path)
        };
        let trees = [&main, &add("one"), &add("two")];
        publish_in(trees[publisher], "", &place);
        trees[reader].edit("note.txt", "").commit("second");
        let home = cargo_home(&place.scratch.path("another-home"), &[]);
        tells_its_own_place(trees[reader], "", &home, &place);
    }
}

fn publish_in(workspace: &Workspace, deep: &str, place: &Place) {
    common::publish_by(runner(&workspace.path(deep), place), PLAIN_BUILD);
}

fn tells_its_own_place(clone: &Workspace, deep: &str, home: &Path, place: &Place) {
    let deep = clone.path(deep);
    start_in(&deep, place, home, &[]);
    Cargo::in_dir(&deep).home(home).build(&[]);
    let own = format!("{}\n{}", clone.head(), clone.root().display());
    assert_eq!(clone.program_in(deep.join("target/debug"), "stamped"), own);
}

/// Libraries that hold their directory, each by another road, and a program that prints what they hold.
fn roads() -> Workspace {
    let package = |name: &str, rest: &str| {
        let head = "[package]\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        (
            format!("{name}/Cargo.toml"),
            format!("{head}name = \"{name}\"\n{rest}"),
        )
    };
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    println!("cargo::rustc-env=HERE={here}");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    std::fs::write(out.join("held.rs"), format!("pub const HELD: &str = {here:?};\n")).unwrap();
}
"#;
    let roads = [
        (
            "by-variable",
            "pub const HELD: &str = env!(\"CARGO_MANIFEST_DIR\");\n",
        ),
        ("by-out-dir", "pub const HELD: &str = env!(\"OUT_DIR\");\n"),
        ("by-script", "pub const HELD: &str = env!(\"HERE\");\n"),
        (
            "by-length",
            "pub const HELD: usize = env!(\"CARGO_MANIFEST_DIR\").len();\n",
        ),
        (
            "by-inclusion",
            "include!(concat!(env!(\"OUT_DIR\"), \"/held.rs\"));\n",
        ),
    ];
    let mut lock = fixture::Lock::new().local("teller", &roads.map(|(name, _)| name));
    let mut files = vec![
        (".gitignore".to_owned(), "/target\n".to_owned()),
        (
            "Cargo.toml".to_owned(),
            "[workspace]\nresolver = \"3\"\nmembers = [\"by-*\", \"teller\"]\n".to_owned(),
        ),
    ];
    let (mut depends, mut prints) = ("[dependencies]\n".to_owned(), String::new());
    for (name, text) in roads {
        lock = lock.local(name, &[]);
        files.push(package(name, ""));
        files.push((format!("{name}/src/lib.rs"), text.to_owned()));
        files.push((format!("{name}/build.rs"), script.to_owned()));
        depends += &format!("{name} = {{ path = \"../{name}\" }}\n");
        prints += &format!(
            "    println!(\"{{}}\", {}::HELD);\n",
            name.replace('-', "_")
        );
    }
    files.push(package("teller", &depends));
    files.push((
        "teller/src/main.rs".to_owned(),
        format!("fn main() {{\n{prints}}}\n"),
    ));
    Workspace::new(files.into_iter().chain([lock.file()]))
}

/// By whatever road a directory got into a library, a program elsewhere would look for its files at the publisher's.
#[test]
fn whatever_holds_its_directory_is_built_where_it_is() {
    let (roads, place) = (roads(), Place::new());
    publish(&roads, &place, PLAIN_BUILD);
    let there = clone_elsewhere(&roads, &place, "a clone at a path of another length");
    there.start(&place, &[]);
    there.cargo().build(&[]);
    let plain = clone_elsewhere(&roads, &place, "plain");
    plain.cargo().build(&[]);
    let told = |there: &There| {
        let root = there.clone.root().display().to_string();
        let length = root.len() + "/by-length".len();
        let text = there.clone.program("teller");
        assert!(
            text.lines().any(|line| line == length.to_string()),
            "{text}"
        );
        text.replace(&root, "").replace(&length.to_string(), "")
    };
    assert_eq!(told(&there), told(&plain));
    is_fresh_at_the_same_path(&roads, &place);
}

/// A link that every machine has in the same place leads elsewhere on each: a program would look in the publisher's.
#[test]
fn a_pinned_root_is_compared_where_its_links_lead() {
    let place = Place::new();
    let script = r#"fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::fs::canonicalize(std::env::var_os("OUT_DIR").unwrap()).unwrap();
    println!("cargo::rustc-env=DATA={}", out.display());
}
"#;
    let main = "fn main() {\n    println!(\"{}\", env!(\"DATA\"));\n}\n";
    let telling = common::app("", &[("build.rs", script), ("src/main.rs", main)]);
    let link = place.scratch.path("target");
    let leads_to = |name: &str| {
        let to = place.scratch.path(name);
        std::fs::create_dir_all(&to).expect("the scratch directory is ours");
        drop(std::fs::remove_file(&link));
        std::os::unix::fs::symlink(to, &link).expect("nothing is there");
    };
    leads_to("t1");
    let target = |runner: headstart_testkit::Headstart| runner.env("CARGO_TARGET_DIR", &link);
    common::publish_by(target(runner(telling.root(), &place)), PLAIN_BUILD);
    leads_to("t2");
    let there = clone_elsewhere(&telling, &place, "clone");
    let reader = runner(there.clone.root(), &place).home(&there.home);
    start_by(target(reader), &[]);
    there.cargo().target_dir(&link).build(&[]);
    let said = there.clone.program_in(link.join("debug"), "app");
    let leads = Path::new(&said).canonicalize();
    assert!(
        leads.is_ok_and(|dir| dir.display().to_string().contains("/t2/debug/build/")),
        "{said}"
    );
}

/// A member called `registry` in a workspace that is its CARGO_HOME as well is no download: its changes are changes.
#[test]
fn a_member_is_no_download() {
    let place = Place::new();
    let member = "[package]\nname = \"member\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let main = "fn main() {\n    println!(\"{}\", member::word());\n}\n";
    let word = "pub fn word() -> &'static str {\n    \"first\"\n}\n";
    let app = common::app(
        "[dependencies]\nmember = { path = \"registry\" }\n",
        &[
            ("registry/Cargo.toml", member),
            ("registry/src/lib.rs", word),
            ("src/main.rs", main),
        ],
    );
    let lock = fixture::Lock::new().local("app", &["member"]);
    app.edit("Cargo.lock", lock.local("member", &[]).file().1)
        .append(".gitignore", "/.global-cache\n/.package-cache*\n")
        .commit("member");
    common::publish_by(runner(app.root(), &place).home(app.root()), PLAIN_BUILD);
    let clone = app.clone_to(&place.scratch.path("clone"));
    clone.replace("registry/src/lib.rs", "first", "second");
    start_in(clone.root(), &place, clone.root(), &[]);
    clone.cargo().home(clone.root()).build(&[]);
    assert_eq!(clone.program("app"), "second");
}

/// A checkout whose own path looks like an `OUT_DIR` would have its paths compiled into others' programs.
#[test]
fn a_checkout_below_a_directory_called_out_holds_its_paths() {
    let place = Place::new();
    let main = "const LENGTH: usize = env!(\"CARGO_MANIFEST_DIR\").len();\nfn main() {\n    println!(\"{LENGTH}\");\n}\n";
    let app = common::app("", &[("src/main.rs", main)]);
    let published = app.clone_to(&place.scratch.path("build/agent/out/app"));
    common::publish(&published, &place, PLAIN_BUILD);
    let there = start_elsewhere(&app, &place, &[]);
    there.cargo().build(&[]);
    let length = there.clone.root().as_os_str().len().to_string();
    assert_eq!(there.clone.program("app"), length);
}

/// Runs cargo on a package that must not compile, as trybuild does, inside of the build directory.
const RUNS_CARGO: &str = r#"
    use std::{env, fs, path::PathBuf, process::Command};
    #[test]
    fn refuses() {
        let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let dir = own.join("target/tests/inner");
        fs::create_dir_all(dir.join("src")).unwrap();
        let package = "[package]\nname = \"inner\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        let needs = format!("[dependencies]\nouter = {{ path = {own:?} }}\n");
        fs::write(dir.join("Cargo.toml"), format!("{package}{needs}")).unwrap();
        fs::write(dir.join("src/main.rs"), "fn main() { outer::needs(1u8) }\n").unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        let cargo = cargo.args(["check", "--offline"]).current_dir(&dir);
        let run = cargo.env("CARGO_TARGET_DIR", &dir).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert!(said.contains("pub fn needs"), "{said}");
    }
"#;

/// A test that compares what rustc says would fail, since rustc does not find sources by the names that outputs have.
#[test]
fn a_test_that_runs_cargo_sees_what_it_sees_without_us() {
    let tree = Workspace::new([
        (".gitignore", "/target\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"outer\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
        ),
        (
            "src/lib.rs",
            "pub trait T {}\npub fn needs<X: T>(_: X) {}\n",
        ),
        ("tests/refuses.rs", RUNS_CARGO),
    ]);
    let place = Place::new();
    tree.cargo().run(&["test"]).succeeded();
    tree.commit("with its lock file");
    tree.remove("target");
    let args = ["start", "--", "test"];
    runner(tree.root(), &place).args(args).run().succeeded();
    assert!(!tree.path("target/tests/inner/.headstart").exists());
    // Where somebody starts, rustc is wrapped all the same.
    let inner = || runner(tree.root(), &place).env("CARGO_TARGET_DIR", "target/inner");
    publish_by(inner(), &["build"]);
    tree.remove("target/inner");
    tree.append("src/lib.rs", "// edited\n");
    let args = ["start", "--", "build"];
    inner().args(args).run().succeeded();
    let explained =
        common::chain::explain(tree.root(), &["--json", "--target-dir", "target/inner"]);
    let code = &explained.json()["units"][0]["compiled"]["reason"]["code"];
    assert_eq!(code, "seeded");
}
