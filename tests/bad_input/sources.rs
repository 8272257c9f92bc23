//! Source trees that are not just plain files: submodules, links, names that are no UTF-8.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use headstart_testkit::{Scratch, Workspace, git_command};

use crate::common::chain::{Chain, builds_right, prints, strictly};

/// A name that is no UTF-8, as old archives have them.
const NAME: &[u8] = b"caf\xe9.txt";

/// A project with submodules could not publish, or would serve stale code when one moves on.
#[test]
fn a_member_in_a_submodule_is_compared_by_content() {
    let chain = Chain::unpublished();
    let outside = chain.elsewhere("outside");
    let inside = outside.path("crates/c1");
    outside.remove(".git");
    let module = Workspace::at(&inside, [("README", "a module\n")]);
    add_submodule(&chain.source, &module, "crates/c1");
    chain.publish_again();

    let clone = chain.elsewhere("clone");
    update_submodules(&clone);
    chain.start(clone.root()).succeeded();
    builds_right(&clone).nothing_ran();

    let moved = chain.elsewhere("moved");
    update_submodules(&moved);
    moved.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    chain.start(moved.root()).succeeded();
    prints(&moved, "13");
    let dirty = chain.run(moved.root(), &strictly("publish"));
    crate::common::chain::refused(&dirty, "crates/c1");
}

/// Documents or test data in a submodule that nobody checked out would keep headstart from working.
#[test]
fn a_submodule_that_is_not_there_is_no_matter() {
    let chain = Chain::unpublished();
    let scratch = Scratch::new();
    let module = Workspace::at(&scratch.path("data"), [("data.txt", "data\n")]);
    add_submodule(&chain.source, &module, "data");
    chain.publish_again();
    let clone = chain.elsewhere("clone");
    assert!(!clone.path("data/data.txt").exists());
    chain.start(clone.root()).succeeded();
    builds_right(&clone).nothing_ran();
    chain.run(clone.root(), &["publish"]).succeeded();
}

/// Where a source is a link, a change of the file behind it would be served stale.
#[test]
fn links_to_sources_are_followed() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    source.rename("crates/c1/src/lib.rs", "shared/c1.rs");
    symlink("../../../shared/c1.rs", source.path("crates/c1/src/lib.rs")).expect("links work here");
    source.rename("crates/c2/src", "shared/c2");
    symlink("../../shared/c2", source.path("crates/c2/src")).expect("links work here");
    source.commit("links");
    chain.publish_again();

    let clone = chain.elsewhere("clone");
    chain.start(clone.root()).succeeded();
    builds_right(&clone).nothing_ran();

    let changed = chain.elsewhere("changed");
    changed.replace("shared/c1.rs", "+ 1", "+ 11");
    chain.start(changed.root()).succeeded();
    prints(&changed, "13");
    changed.replace("shared/c2/lib.rs", "+ 1", "+ 101");
    chain.start(changed.root()).succeeded();
    prints(&changed, "113");
}

/// A link that was set to another file, which has an old time, would be served stale.
#[test]
fn a_link_that_points_elsewhere_is_a_change() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    let link = "crates/c1/src/lib.rs";
    source.rename(link, "shared/one.rs");
    let other = source.read("shared/one.rs").replace("+ 1", "+ 11");
    source.edit("shared/two.rs", other);
    symlink("../../../shared/one.rs", source.path(link)).expect("links work here");
    source.commit("one");
    chain.publish_again();
    let clone = chain.elsewhere("clone");
    clone.remove(link);
    symlink("../../../shared/two.rs", clone.path(link)).expect("links work here");
    chain.start(clone.root()).succeeded();
    prints(&clone, "13");
}

/// cargo knows only where a link in a package leads: one that leads elsewhere since would be served stale, by who starts and by who publishes.
#[test]
fn a_link_within_its_package_is_a_source() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    let link = "crates/c1/src/imp.rs";
    let set = |workspace: &Workspace, to: &str| {
        drop(fs::remove_file(workspace.path(link)));
        symlink(to, workspace.path(link)).expect("links work here");
    };
    source.edit("crates/c1/variants/one.rs", "pub const MORE: u64 = 1;\n");
    source.edit("crates/c1/variants/two.rs", "pub const MORE: u64 = 11;\n");
    let lib = source
        .read("crates/c1/src/lib.rs")
        .replace("+ 1", "+ imp::MORE");
    source.edit("crates/c1/src/lib.rs", format!("{lib}mod imp;\n"));
    set(source, "../variants/one.rs");
    source.commit("one");
    chain.publish_again();
    let same = chain.elsewhere("same");
    chain.start(same.root()).succeeded();
    builds_right(&same).nothing_ran();
    let other = chain.elsewhere("other");
    set(&other, "../variants/two.rs");
    chain.start(other.root()).succeeded();
    prints(&other, "13");
    // cargo finds the publisher's own fresh.
    set(source, "../variants/two.rs");
    source.commit("two");
    publishes_without_c1(&chain);
}

/// cargo finds everything fresh in the source, whose c1 is another than was compiled: it is published to nobody, and they compile what
/// prints 13.
#[track_caller]
fn publishes_without_c1(chain: &Chain) {
    chain.source.cargo().build(&[]).nothing_ran();
    let said = chain.run(chain.source.root(), &["publish", "--json"]);
    let said = said.succeeded().json();
    assert!(said["left_out"].to_string().contains("lib-c1"), "{said}");
    let next = chain.elsewhere("next");
    chain.start(next.root()).succeeded();
    prints(&next, "13");
}

/// A file that is moved to where another was keeps its time: cargo does not see it, and everybody would be served what was made before.
#[test]
fn what_was_moved_there_is_not_published_as_what_was_compiled() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    let lib = "crates/c1/src/lib.rs";
    source.edit(
        "crates/c1/other.rs",
        source.read(lib).replace("+ 1", "+ 11"),
    );
    source.commit("one");
    chain.publish_again();
    source.rename("crates/c1/other.rs", lib);
    source.commit("two");
    publishes_without_c1(&chain);
}

/// The same of a whole directory, in which no file has another time than before.
#[test]
fn what_a_directory_was_moved_over_is_not_published_either() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    source.rename("crates/c1/src", "crates/c1/one");
    let lib = source.read("crates/c1/one/lib.rs");
    source.edit("crates/c1/two/lib.rs", lib.replace("+ 1", "+ 11"));
    source.rename("crates/c1/one", "crates/c1/src");
    source.commit("one");
    chain.publish_again();
    source.rename("crates/c1/src", "crates/c1/one");
    source.rename("crates/c1/two", "crates/c1/src");
    source.commit("two");
    publishes_without_c1(&chain);
}

/// cargo looks at the newest file of a package whose script declares nothing: one that is gone would stay in what everybody is served.
#[test]
fn what_a_script_read_that_is_gone_is_not_published() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    let script = "fn main() {\n    \
            let count = std::fs::read_dir(\"data\").unwrap().count();\n    \
            let out = std::path::PathBuf::from(std::env::var_os(\"OUT_DIR\").unwrap());\n    \
            std::fs::write(out.join(\"count\"), count.to_string()).unwrap();\n\
        }\n";
    source.edit("crates/c0/data/one", "1");
    source.edit("crates/c0/data/two", "2");
    source.edit("crates/c0/build.rs", script);
    let include = "include!(concat!(env!(\"OUT_DIR\"), \"/count\"))";
    source.replace("crates/c0/src/lib.rs", "    0", &format!("    {include}"));
    source.commit("two files");
    chain.publish_again();
    let same = chain.elsewhere("same");
    chain.start(same.root()).succeeded();
    prints(&same, "5").nothing_ran();
    source.remove("crates/c0/data/one");
    source.commit("one file");
    source.cargo().build(&[]).nothing_ran();
    chain.run(source.root(), &["publish"]).succeeded();
    let clone = chain.elsewhere("clone");
    chain.start(clone.root()).succeeded();
    prints(&clone, "4");
}

/// Generated sources behind a link, as some build scripts make them, would be missing at the reader's.
#[test]
fn links_that_a_build_script_makes_are_placed() {
    let chain = Chain::unpublished();
    let script = "fn main() {\n    \
            let out = std::path::PathBuf::from(std::env::var_os(\"OUT_DIR\").unwrap());\n    \
            std::fs::create_dir_all(out.join(\"v1/deep\")).unwrap();\n    \
            std::fs::write(out.join(\"v1/one.rs\"), \"1\").unwrap();\n    \
            let link = |to, at| drop(std::os::unix::fs::symlink(to, out.join(at)));\n    \
            link(\"v1\", \"current\");\n    \
            link(\"../one.rs\", \"v1/deep/one.rs\");\n\
        }\n";
    chain.source.edit("crates/c0/build.rs", script);
    let include = "include!(concat!(env!(\"OUT_DIR\"), \"/current/deep/one.rs\"))";
    chain
        .source
        .replace("crates/c0/src/lib.rs", "    0", &format!("    {include}"));
    chain.source.commit("links");
    chain.publish_again();
    let clone = chain.elsewhere("clone");
    chain.start(clone.root()).succeeded();
    prints(&clone, "4").nothing_ran();
}

/// A link in the sources that leads nowhere, or in a circle, would hang or fail publish and start.
#[test]
fn links_that_lead_nowhere_are_no_matter() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    script_without_declarations(source);
    symlink("nowhere", source.path("crates/c0/broken")).expect("links work here");
    symlink("loop", source.path("loop")).expect("links work here");
    source.commit("broken links");
    chain.publish_again();
    let clone = chain.elsewhere("clone");
    chain.start(clone.root()).succeeded();
    builds_right(&clone);
}

/// A file name in another encoding would crash headstart, or be mixed up with another's.
#[test]
fn names_that_are_no_utf8_are_no_matter() {
    let chain = Chain::unpublished();
    let source = &chain.source;
    script_without_declarations(source);
    let name = OsStr::from_bytes(NAME);
    source
        .edit(name, "root")
        .edit(Path::new("crates/c0").join(name), "package");
    source.commit("old names");
    chain.publish_again();
    let clone = chain.elsewhere("clone");
    let started = chain.start(clone.root()).succeeded().json();
    let build = builds_right(&clone);
    let script = clone.path(format!("target/debug/build/{}", only_run(&clone)));
    let made = fs::read(script.join("out").join(name)).expect("the script's file is there");
    assert_eq!(made, b"made");
    assert_eq!(started["units"]["fresh"], 6, "{started}");
    build.nothing_ran();

    let changed = chain.elsewhere("changed");
    changed.edit(Path::new("crates/c0").join(name), "another");
    chain.start(changed.root()).succeeded();
    let ran = builds_right(&changed).crates_compiled();
    assert!(ran.contains("c0(run)"), "{ran:?}");
    let untracked = chain.run(changed.root(), &strictly("publish"));
    crate::common::chain::refused(&untracked, "the work tree differs");
}

/// Gives c0 a build script that declares nothing and makes a file with a name that is no UTF-8.
fn script_without_declarations(source: &Workspace) {
    let script = "use std::os::unix::ffi::OsStrExt;\n\
        fn main() {\n    \
            let name = std::ffi::OsStr::from_bytes(b\"caf\\xe9.txt\");\n    \
            let out = std::env::var_os(\"OUT_DIR\").unwrap();\n    \
            std::fs::write(std::path::Path::new(&out).join(name), \"made\").unwrap();\n\
        }\n";
    source.edit("crates/c0/build.rs", script);
}

/// Returns the name of the one directory that a build script ran in.
fn only_run(clone: &Workspace) -> String {
    let dirs = fs::read_dir(clone.path("target/debug/build")).expect("a script was built");
    let mut names = dirs.map(|entry| entry.expect("it can be listed"));
    let run = names.find(|entry| entry.path().join("out").is_dir());
    let run = run.expect("a script ran");
    run.file_name().to_string_lossy().into_owned()
}

/// Replaces `path` of `source` with a submodule of the same files.
fn add_submodule(source: &Workspace, module: &Workspace, path: &str) {
    if source.path(path).exists() {
        source.git(&["rm", "-r", "--quiet", path]);
    }
    let url = module.root().display().to_string();
    source.git(&["submodule", "--quiet", "add", &url, path]);
    source.commit("a submodule");
}

fn update_submodules(clone: &Workspace) {
    let mut git = git_command(clone.root());
    git.args(["submodule", "--quiet", "update", "--init"]);
    assert!(git.status().expect("git runs").success());
}
