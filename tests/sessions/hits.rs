//! What depends on a unit that is another one elsewhere, and the same for whoever is compiled against it, is not compiled.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use headstart::disk::walk;
use headstart_testkit::fixture::Lock;
use headstart_testkit::{Cargo, Workspace};

use crate::common::chain::explain;
use crate::common::{PROGRAM, Place, publish_by, runner};

/// A function that nobody else compiles.
const PLAIN: &str = "pub fn root() -> &'static str {\n    env!(\"CARGO_MANIFEST_DIR\")\n}\n";

/// Returns a workspace of four: `paths`, which holds its own place by `text`; `plain`, which holds nothing; `mid`, a library with a build script
/// that stands on both; `top`, a program above.
fn workspace(text: &str) -> Workspace {
    let lock = Lock::new()
        .local("mid", &["paths", "plain"])
        .local("paths", &[])
        .local("plain", &[])
        .local("top", &["mid"]);
    let package = |name: &str, needs: &[&str]| {
        let needs = needs.iter();
        let needs = needs.map(|needed| format!("{needed} = {{ path = \"../{needed}\" }}\n"));
        let text = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n{}",
            needs.collect::<String>()
        );
        (format!("{name}/Cargo.toml"), text)
    };
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    Workspace::new([
        file(".gitignore", "/target\n"),
        file(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"mid\", \"paths\", \"plain\", \"top\"]\n",
        ),
        package("paths", &[]),
        package("plain", &[]),
        package("mid", &["paths", "plain"]),
        package("top", &["mid"]),
        file("paths/src/lib.rs", text),
        file("plain/src/lib.rs", "pub const NOTHING: &str = \"\";\n"),
        file(
            "mid/build.rs",
            "fn main() {\n    println!(\"cargo::rerun-if-changed=words\");\n}\n",
        ),
        file("mid/words", "watched, and read by nobody"),
        file("mid/src/lib.rs", MID),
        file(
            "top/src/main.rs",
            "fn main() {\n    print!(\"{}\", mid::mid());\n}\n",
        ),
        lock.file(),
    ])
}

const MID: &str = "pub fn mid() -> String {
    let unused = 1;
    format!(\"{}{}\", paths::ROOT(), option_env!(\"MID_NAME\").unwrap_or(plain::NOTHING))
}
";

fn calling(call: &str, text: &str) -> Workspace {
    let source = workspace(text);
    source.replace("mid/src/lib.rs", "paths::ROOT()", call);
    source.commit("how it is called");
    source
}

/// Returns from what each crate was begun in `dir` since it was started.
fn began(dir: &Path) -> BTreeMap<String, String> {
    let said = explain(dir, &["--json", "--all"]).succeeded().json();
    let units = said["units"].as_array().expect("units").iter();
    let compiled = units.map(|unit| &unit["compiled"]);
    let compiled = compiled.filter(|one| !one.is_null());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    compiled
        .map(|one| (text(&one["crate"]), text(&one["reason"]["code"])))
        .collect()
}

#[track_caller]
fn tells_its_own_place(clone: &Workspace, more: &str) {
    let own = format!("{}{more}", clone.path("paths").display());
    assert_eq!(clone.program("top"), own);
}

fn cargo(clone: &Workspace) -> Cargo {
    clone.cargo().wrapper(PROGRAM)
}

fn start(clone: &Workspace, place: &Place) {
    runner(clone.root(), place)
        .args(["start", "--required"])
        .run()
        .succeeded();
}

/// In a fresh clone all that stands above a crate which tells where it lies would be compiled, where the warm directory has nothing to do.
#[test]
fn what_depends_on_a_place_alone_is_not_compiled() {
    let (source, place) = (calling("paths::root()", PLAIN), Place::new());
    publish_by(runner(source.root(), &place), &["build"]);
    let clone = source.clone_to(&place.scratch.path("deep/clone"));
    start(&clone, &place);
    let built = cargo(&clone).build(&[]);
    let began = began(clone.root());
    assert_eq!(began["paths"], "seeded");
    assert_eq!(began["mid"], "hit");
    assert_eq!(began["top"], "seeded");
    tells_its_own_place(&clone, "");
    // rustc's warning is shown, now and when nothing is compiled.
    let again = cargo(&clone).build(&[]).nothing_ran();
    for said in [&built.stderr, &again.stderr] {
        assert!(said.contains("unused variable: `unused`"), "{said}");
    }
    // What was not compiled here is published with the session that it has there.
    clone.append("top/src/main.rs", "// A commit more.\n");
    clone.commit("more");
    publish_by(runner(clone.root(), &place), &["build"]);
    let first = place.store().join("points");
    let first = first.join(&source.head()[..2]).join(source.head());
    fs::remove_dir_all(first).expect("it was published");
    let further = clone.clone_to(&place.scratch.path("further"));
    further.replace("mid/src/lib.rs", "let unused = 1", "let unused = 2");
    start(&further, &place);
    cargo(&further).build(&[]);
    assert_eq!(self::began(further.root())["mid"], "seeded");
    tells_its_own_place(&further, "");
}

/// What `paths` says, and how it is called.
type Read = (&'static str, &'static str, &'static str);

/// Where others hold the place as well, they would tell the builder's.
#[test]
fn who_holds_the_place_of_another_is_compiled() {
    let kinds: [Read; 4] = [
        ("inlined", "#[inline]\npub fn root", "paths::root()"),
        ("generic", "pub fn root<const N: u8>", "paths::root::<1>()"),
        (
            "constant",
            "pub const fn root",
            "{ const ROOT: &str = paths::root(); ROOT }",
        ),
        ("macro", "", "paths::root!()"),
    ];
    for (name, head, call) in kinds {
        let text = match head {
            "" => "#[macro_export]\nmacro_rules! root {\n    () => { $crate::ROOT };\n}\npub const ROOT: &str = env!(\"CARGO_MANIFEST_DIR\");\n".to_owned(),
            head => PLAIN.replace("pub fn root", head),
        };
        let (source, place) = (calling(call, &text), Place::new());
        publish_by(runner(source.root(), &place), &["build"]);
        let clone = source.clone_to(&place.scratch.path("deep/clone"));
        start(&clone, &place);
        cargo(&clone).build(&[]);
        assert_eq!(began(clone.root())["mid"], "seeded", "{name}");
        tells_its_own_place(&clone, "");
    }
}

/// In a target directory that two work trees share, one would have what the other's start has compared.
#[test]
fn another_work_tree_compiles_its_own() {
    let (source, place) = (calling("paths::root()", PLAIN), Place::new());
    publish_by(runner(source.root(), &place), &["build"]);
    let shared = place.scratch.path("shared");
    let [one, other] = ["one", "other"].map(|name| source.clone_to(&place.scratch.path(name)));
    other.replace("mid/src/lib.rs", "{}{}", "{}-{}");
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options()
        .append(true)
        .open(other.path("mid/src/lib.rs"));
    let aged = file.and_then(|file| file.set_modified(long_ago));
    aged.expect("it is ours");
    let shared_dir = shared.to_str().expect("it is plain");
    let start = ["start", "--required", "--target-dir", shared_dir];
    runner(one.root(), &place).args(start).run().succeeded();
    cargo(&other).target_dir(&shared).build(&[]);
    let said = other.program_in(shared.join("debug"), "top");
    assert_eq!(said, format!("{}-", other.path("paths").display()));
}

/// What is done, to which file or variable, and from what the unit then begins.
type Change<'a> = (&'a str, &'a dyn Fn(&Workspace), (&'a str, &'a str), &'a str);

/// Who touches a file, for what a macro reads without a word for instance, asks for a compile; so does what is not as it was.
#[test]
fn what_is_asked_for_is_compiled() {
    let (source, place) = (calling("paths::root()", PLAIN), Place::new());
    publish_by(runner(source.root(), &place), &["build"]);
    let touch = |clone: &Workspace, path: &str| {
        let file = fs::File::options().append(true).open(clone.path(path));
        let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
        touched.expect("it is ours");
    };
    let build = |name: &str, change: &dyn Fn(&Workspace), variable: (&str, &str)| {
        let clone = source.clone_to(&place.scratch.path(name));
        start(&clone, &place);
        change(&clone);
        cargo(&clone).env(variable.0, variable.1).build(&[]);
        let began = began(clone.root())["mid"].clone();
        (clone, began)
    };
    let none = ("OTHER", "");
    let changes: [Change<'_>; 7] = [
        ("source", &|it| touch(it, "mid/src/lib.rs"), none, "seeded"),
        ("below", &|it| touch(it, "plain/src/lib.rs"), none, "seeded"),
        ("script", &|it| touch(it, "mid/words"), none, "seeded"),
        (
            "manifest",
            &|it| drop(it.append("mid/Cargo.toml", "[features]\n").head()),
            none,
            "seeded",
        ),
        ("variable", &|_| {}, ("MID_NAME", "!"), "seeded"),
        ("off", &|_| {}, ("HEADSTART_SEED", "off"), "seeding-off"),
        (
            "edited",
            &|it| drop(it.replace("paths/src/lib.rs", "env!", "std::env!").head()),
            none,
            "seeded",
        ),
    ];
    for (name, change, variable, expected) in changes {
        let (clone, began) = build(name, change, variable);
        assert_eq!(began, expected, "{name}");
        let more = if name == "variable" { "!" } else { "" };
        tells_its_own_place(&clone, more);
    }
    // Who has it removed, for what a macro reads without a word, has it compiled.
    let (clone, began) = build("cleaned", &|_| {}, none);
    assert_eq!(began, "hit");
    assert!(cargo(&clone).run(&["clean", "-p", "mid"]).success);
    cargo(&clone).build(&[]);
    assert_eq!(self::began(clone.root())["mid"], "seeded");
    // Without what it made, it is made.
    for entry in walk::below(&place.store().join("objects")).expect("it is there") {
        let object = place.store().join("objects").join(&entry.relative);
        if object.is_file() {
            fs::remove_file(object).expect("it is ours");
        }
    }
    let (clone, began) = build("lost", &|_| {}, none);
    assert_eq!(began, "seed-lost");
    tells_its_own_place(&clone, "");
}
