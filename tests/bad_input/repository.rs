//! Repositories that are not as one expects: none, empty, detached, shallow, named by variables, of several workspaces.

use std::path::Path;

use headstart_testkit::fixture::Lock;
use headstart_testkit::{Workspace, git_command};

use crate::common::around::output;
use crate::common::chain::{Chain, builds_right, found_nothing, prints, refused, sane, strictly};
use crate::common::{Place, runner};

/// Somebody who unpacked a source archive could not tell what headstart wants, or not build any more.
#[test]
fn without_a_repository_the_error_says_so() {
    let chain = Chain::published();
    let clone = chain.elsewhere("no-repository");
    clone.remove(".git");
    refused(&chain.start(clone.root()), "is not in a git work tree");
    refused(
        &chain.run(clone.root(), &strictly("publish")),
        "is not in a git work tree",
    );
    assert!(!clone.path("target").exists());
    builds_right(&clone);
}

/// Sources without a repository, as many CI systems have them, could not start from a commit that is known.
#[test]
fn without_a_repository_a_full_commit_is_enough() {
    let chain = Chain::published();
    let clone = chain.elsewhere("no-repository");
    clone.remove(".git");
    let commit = chain.source.head();
    let started = chain.run(clone.root(), &["start", "--json", "--commit", &commit]);
    assert_eq!(started.succeeded().json()["units"]["fresh"], 4);
    builds_right(&clone).nothing_ran();
}

/// A container that runs as another user than the one who checked out would be told that there is no repository, and nobody
/// would find out what to do.
#[test]
fn a_repository_of_another_user_is_not_called_none() {
    let chain = Chain::published();
    let clone = chain.elsewhere("of-another");
    let run = |args: &[&str]| {
        let mut command = chain.command(clone.root(), args);
        output(command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"))
    };
    for command in ["start", "publish"] {
        refused(&run(&strictly(command)), "safe.directory");
    }
    let commit = chain.source.head();
    let started = run(&["start", "--json", "--commit", &commit]).succeeded();
    assert_eq!(started.json()["units"]["fresh"], 4);
    builds_right(&clone).nothing_ran();
}

/// The first minutes of a project would end in git's own words about an ambiguous HEAD.
#[test]
fn without_commits_the_error_says_so() {
    let chain = Chain::published();
    let clone = chain.elsewhere("no-commits");
    clone.remove(".git").git(&["init", "--quiet"]);
    for command in ["start", "publish"] {
        let output = chain.run(clone.root(), &strictly(command));
        refused(&output, "has no commits yet");
    }
    let bisect = ["bisect", "--good", "HEAD", "--", "true"];
    refused(&chain.run(clone.root(), &bisect), "has no commits yet");
    builds_right(&clone);
}

/// CI checks out a commit, not a branch: it could neither publish nor start.
#[test]
fn a_detached_head_works() {
    let chain = Chain::unpublished();
    let head = chain.source.head();
    chain.source.checkout(&head);
    chain.publish_again();
    let clone = chain.elsewhere("detached");
    clone.checkout(&head);
    let started = chain.start(clone.root()).succeeded().json();
    assert_eq!(started["commit"], head.as_str());
    assert_eq!(started["behind"], 0);
    builds_right(&clone).nothing_ran();
}

/// A revision that nobody has would be taken for HEAD, or crash.
#[test]
fn an_unknown_revision_is_named() {
    let chain = Chain::published();
    for command in ["start", "publish"] {
        let args = [strictly(command), vec!["--commit", "no-such-tag"]].concat();
        let output = chain.run(chain.source.root(), &args);
        refused(&output, "git does not know the revision `no-such-tag`");
    }
}

/// `actions/checkout` clones with depth 1: at the published commit it would start from nothing.
#[test]
fn a_shallow_clone_starts_at_the_published_commit() {
    let chain = Chain::published();
    let clone = shallow(&chain, "shallow");
    let started = chain.start(clone.root()).succeeded().json();
    assert_eq!(started["units"]["fresh"], 4);
    builds_right(&clone).nothing_ran();
    chain.run(clone.root(), &["publish"]).succeeded();
}

/// Whoever gets no starting point in a shallow clone would never learn that one line of git helps.
#[test]
fn a_shallow_clone_says_that_it_is_one() {
    let chain = Chain::published();
    chain.source.replace("crates/c1/src/lib.rs", "+ 1", "+ 11");
    chain.source.commit("second");
    let clone = shallow(&chain, "shallow");
    found_nothing(&chain.start(clone.root()), "a shallow clone");
    prints(&clone, "13");
}

fn shallow(chain: &Chain, name: &str) -> Workspace {
    let url = format!("file://{}", chain.source.root().display());
    let path = chain.place.scratch.path(name);
    clone_shallowly(&url, &path);
    Workspace::open(&path)
}

fn clone_shallowly(url: &str, path: &Path) {
    let parent = path.parent().expect("a clone has a directory");
    let mut git = git_command(parent);
    git.args(["clone", "--quiet", "--depth", "1", url])
        .arg(path);
    assert!(git.status().expect("git runs").success());
}

/// A workspace that is named by its manifest would be started from another repository's commits, and published, edits too,
/// as that repository's clean commit.
#[test]
fn a_workspace_named_by_its_manifest_has_its_own_repository() {
    let chain = Chain::published();
    let (named, here) = (chain.elsewhere("named"), chain.elsewhere("here"));
    here.replace("crates/c0/src/lib.rs", "    0", "    40");
    here.commit("another repository goes its own way");
    let manifest = named.path("Cargo.toml").display().to_string();
    let build = ["--", "build", "--manifest-path", &manifest];
    let started = chain.run(here.root(), &[&["start", "--json"][..], &build].concat());
    let said = started.succeeded().json();
    assert_eq!(said["behind"], 0, "{said}");
    prints(&named, "3").nothing_ran();

    named.replace("crates/c0/src/lib.rs", "    0", "    40");
    let published = chain.run(here.root(), &[&strictly("publish")[..], &build].concat());
    refused(&published, "the work tree differs from the commit");
}

/// git tells what its aliases and hooks run which repository it is: a bisect would check its commits out in the user's work tree.
#[test]
fn a_bisect_as_an_alias_of_git_leaves_the_work_tree_alone() {
    let chain = Chain::published();
    let first = chain.source.head();
    for (old, new) in [("+ 1", "+ 11"), ("+ 11", "+ 12")] {
        chain.source.replace("crates/c2/src/lib.rs", old, new);
        chain.source.commit(new);
        chain.publish_again();
    }
    let mine = chain.place.scratch.path("mine");
    let path = mine.display().to_string();
    let add = ["worktree", "add", "--quiet", "-b", "mine", &path];
    chain.source.git(&add);
    let mine = Workspace::open(&mine);
    let before = mine.git(&["status", "--branch", "--porcelain"]);
    let git_dir = chain.source.path(".git/worktrees/mine");
    let check = ["--", "sh", "-c", "test $(c3) = 3"];
    let args = [&["bisect", "--json", "--good", &first], &check[..]].concat();
    let bisect = runner(mine.root(), &chain.place).env("GIT_INDEX_FILE", git_dir.join("index"));
    let said = sane(bisect.env("GIT_DIR", &git_dir).args(args).run());
    assert_eq!(mine.git(&["status", "--branch", "--porcelain"]), before);
    assert_eq!(mine.head(), chain.source.head());
    let answer = said.succeeded().json();
    assert_eq!(answer["last_good"]["commit"], first.as_str(), "{answer}");
}

/// Two workspaces in one repository may have programs of one name: a bisect in one would judge the other's.
#[test]
fn a_bisect_judges_the_programs_of_its_own_workspace() {
    let (_, lock) = Lock::new().local("app", &[]).file();
    let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let main = "fn main() {\n    println!(\"good\");\n}\n";
    let both = ["a", "b"].into_iter().flat_map(|dir| {
        let files = [("Cargo.toml", manifest), ("Cargo.lock", &lock)];
        let files = files.into_iter().chain([("src/main.rs", main)]);
        files.map(move |(name, text)| (format!("{dir}/{name}"), text))
    });
    let ignored = (".gitignore".to_owned(), "target\n");
    let source = Workspace::new(both.chain([ignored]));
    let place = Place::new();
    let mut commits = vec![source.head()];
    for changed in ["", "b", "a"] {
        if !changed.is_empty() {
            source.replace(format!("{changed}/src/main.rs"), "good", "bad");
            commits.push(source.commit(changed));
        }
        for dir in ["a", "b"] {
            let publish = runner(&source.path(dir), &place);
            publish.args(["publish", "--required"]).run().succeeded();
        }
    }
    for (dir, bad) in [("a", 2), ("b", 1)] {
        let check = ["--", "sh", "-c", "test $(app) = good"];
        let args = [&["bisect", "--json", "--good", &commits[0]], &check[..]].concat();
        let said = runner(&source.path(dir), &place).args(args).run();
        let answer = said.succeeded().json();
        let found = &answer["first_bad"]["commit"];
        assert_eq!(found, commits[bad].as_str(), "{dir}: {answer}");
    }
}
