//! What stands where an input is: digests at the builder's, comparison at the reader's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cargo::package::FileRules;
use crate::cargo::{makefile, script_output};
use crate::disk::{self, hash, walk};
use crate::engine::live::only;
use crate::engine::{libraries, pin};
use crate::git;
use crate::model::{Digest, Expected, Input, OutputFile, Root, Rooted, Roots, Seen, bytes_path};

/// Returns the input that the file or directory `path` is now, as a build script or rustc saw it.
pub fn watched(path: Rooted, roots: &Roots) -> Input {
    let here = roots.resolve(&path);
    let expected = match std::fs::metadata(&here) {
        Err(_) => None,
        Ok(_) if is_git_index(&here) => git::index_digest(&here).map(Expected::GitIndex),
        Ok(meta) if meta.is_dir() => hash::tree(&here).ok().map(Expected::Tree),
        Ok(meta) if !meta.is_file() => None,
        Ok(_) => hash::of(&here).map(Expected::File),
    };
    let expected = expected.unwrap_or(Expected::Nothing);
    Input { path, expected }
}

/// Returns when what is at `path` became what it is. Of what lies in a build directory its own time tells, which starts and cargo set.
pub fn newest(path: &Rooted, roots: &Roots) -> Option<SystemTime> {
    let here = roots.resolve(path);
    match path.root {
        Root::Build => walk::newest_mtime(&here),
        root => {
            let dir = roots.dir(root);
            // With the target directory in it, what is moved is the build as well.
            let holds_build = || roots.dir(Root::Build).starts_with(dir);
            let is_tree = matches!(root, Root::Workspace | Root::Repository);
            walk::newest_change(&here, dir, is_tree && !holds_build())
        }
    }
}

/// Returns those of the files that `makefile` names, rustc's list of what it read in `dirs`, that are reached by a link: cargo knows only
/// where that leads.
pub fn linked(makefile: &[u8], dirs: [&Path; 2], roots: &Roots) -> Vec<Rooted> {
    let read = makefile::files(&String::from_utf8_lossy(makefile));
    let here = |file: PathBuf| {
        let all = dirs.map(|dir| dir.join(&file));
        all.into_iter().find(|file| file.exists())
    };
    let located = read.into_iter().filter_map(here);
    let located = located.map(|file| (roots.locate(&file), file));
    let is_linked = |(path, file): &(Rooted, PathBuf)| {
        !matches!(path.root, Root::Build | Root::CargoHome)
            && roots.locate(&disk::canonical(file)) != *path
    };
    located.filter(is_linked).map(|(path, _)| path).collect()
}

/// What ends the names of files that a linker looks for in a directory; libraries begin with `lib`.
const LINKED: [&str; 10] = [
    "a", "so", "o", "x", "ld", "lds", "lib", "dylib", "tbd", "map",
];

/// Returns the files of a work tree that a linker reads which is given `paths`, each as it is or in one of `dirs`: themselves, or what it looks for
/// in them. What lies in the build directory is the build's own.
pub fn linked_with<'a>(
    paths: impl Iterator<Item = &'a str>,
    dirs: [&Path; 2],
    roots: &Roots,
) -> Vec<Rooted> {
    let all: BTreeSet<PathBuf> = paths
        .flat_map(|path| dirs.map(|dir| dir.join(path)))
        .collect();
    let own = all.into_iter().filter(|path| {
        let root = roots.locate(path).root;
        matches!(root, Root::Workspace | Root::Repository)
    });
    let is_looked_for = |name: &String| {
        let ends = |end: &&str| disk::has_extension(Path::new(name), end);
        name.starts_with("lib") || LINKED.iter().any(ends)
    };
    // As a whole where nothing but that is in it, so that what comes to lie there is seen as well.
    let is_or_hidden = |name: String| name.starts_with('.') || is_looked_for(&name);
    let all_looked_for = |path: &Path| walk::names(path).all(is_or_hidden);
    let read = own.flat_map(|path| {
        let names = walk::names(&path).filter(is_looked_for);
        let files = names.map(|name| path.join(name));
        let files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
        match path.is_file() || (path.is_dir() && all_looked_for(&path)) {
            true => vec![path],
            false => files,
        }
    });
    read.map(|path| roots.locate(&path)).collect()
}

/// Returns the further input that a file in a git directory stands for, read by a unit made at `made`: the
/// commit at HEAD.
///
/// A script that watches `.git/HEAD` wants to know the commit, which on a branch is not in that file. If HEAD
/// has moved since, nobody knows what it saw, and no reader's commit is taken for the same.
pub fn git_head(rooted: &Rooted, roots: &Roots, made: SystemTime) -> Option<Input> {
    let here = roots.resolve(rooted);
    let dir = git::enclosing_git_dir(&here)?;
    let moved = match walk::mtime(&dir.join("logs/HEAD")) {
        // Who keeps no log may have any of them written, and by others than a commit.
        None => git::refs_of_git_dir(dir)
            .iter()
            .filter_map(|one| walk::newest_mtime(one))
            .max(),
        logged => logged,
    };
    let commit = match moved.is_some_and(|moved| moved > made) {
        true => String::new(),
        false => git::head_of_git_dir(dir)?,
    };
    let (path, expected) = (roots.locate(dir), Expected::GitHead(commit));
    Some(Input { path, expected })
}

/// Returns the input that tells on which branch the git directory of `head` is: its file `HEAD`.
pub fn git_branch(head: &Input, roots: &Roots) -> Input {
    let path = roots.resolve(&head.path).join("HEAD");
    watched(roots.locate(&path), roots)
}

/// Tells whether a file in a git directory is one of git's logs, which holds when this clone moved where, and
/// is the same in no other: the commit at HEAD and the branch are all that it can be compared by.
pub fn is_git_log(path: &Rooted) -> bool {
    let mut parts = path.relative().components().rev().skip(1);
    parts.any(|part| part.as_os_str() == "logs")
}

fn is_git_index(path: &Path) -> bool {
    let is_git_dir = |dir: &Path| git::enclosing_git_dir(dir) == Some(dir);
    path.ends_with("index") && path.parent().is_some_and(is_git_dir)
}

/// Returns the inputs that glibc, and the shared libraries of the system that are needed, are to `files`, outputs of a unit in `build`. Of what
/// `is_script`s, compiled by the system's headers, nobody can tell how old a glibc will do.
pub fn of_system(files: &[OutputFile], is_script: bool, build: &Path, roots: &Roots) -> Vec<Input> {
    let (mut glibc, mut names) = (None, BTreeSet::new());
    for file in files {
        let path = build.join(bytes_path(&file.path));
        if file.executable {
            glibc = glibc.max(libraries::glibc_needed(&path));
            names.extend(libraries::needed(&path));
        }
        if is_script && glibc.is_none() && libraries::is_native(&path) {
            glibc = libraries::glibc_here();
        }
    }
    let input = |path: PathBuf, expected| Input {
        path: roots.locate(&path),
        expected,
    };
    let glibc = glibc.map(|needed| input("/lib/libc.so.6".into(), Expected::Glibc(needed)));
    // What lies elsewhere comes with the compiler or the build, or is the program's own affair.
    let there = names.iter().filter_map(|name| libraries::find(name));
    let libraries = there.map(|path| input(path, Expected::Library));
    glibc.into_iter().chain(libraries).collect()
}

/// Returns the inputs that the system's files and directories are which a script `told` cargo: another version of what it found lies
/// elsewhere.
pub fn found_by_script(told: &[u8], roots: &Roots) -> Vec<Input> {
    let paths = script_output::told(told).flat_map(script_output::absolute_paths);
    let paths: BTreeSet<&Path> = paths.map(bytes_path).collect();
    // A work tree or a target directory may lie there as well.
    let is_systems = |path: &&Path| {
        pin::is_of_the_system(path) && roots.locate(path).root == Root::Absolute && path.exists()
    };
    let own = paths.into_iter().filter(is_systems);
    let found: Vec<PathBuf> = own.map(Path::to_path_buf).collect();
    let dirs: Vec<&Path> = found.iter().map(PathBuf::as_path).collect();
    let linked = script_output::libraries(told).filter_map(|name| libraries::linked(name, &dirs));
    let all: BTreeSet<PathBuf> = linked.chain(found.iter().cloned()).collect();
    let input = |path: PathBuf| Input {
        path: roots.locate(&path),
        expected: Expected::Library,
    };
    all.into_iter().map(input).collect()
}

/// Returns what the reader sees where `input` is expected.
pub fn compare(input: &Input, roots: &Roots) -> Seen {
    let path = roots.resolve(&input.path);
    let found = match input.expected {
        // A pipe or a device is no file that a unit was made from, and may never end.
        Expected::File(_) if !path.is_file() => {
            let copied = copied_by_bootstrap(&path);
            copied.and_then(|from| hash::of(&from)).map(Expected::File)
        }
        Expected::File(_) => hash::of(&path).map(Expected::File),
        Expected::Tree(_) => hash::tree(&path).ok().map(Expected::Tree),
        Expected::PackageFiles(_) => {
            let files = list_package(&path);
            files.map(|files| Expected::PackageFiles(package_digest(&path, files)))
        }
        Expected::GitHead(_) => git::head_of_git_dir(&path).map(Expected::GitHead),
        Expected::GitIndex(_) => git::index_digest(&path).map(Expected::GitIndex),
        Expected::Nothing => None,
        // Where it is in no place that we know, plain cargo's programs are as likely to run as ours.
        Expected::Glibc(needed) => {
            let serves = libraries::glibc_here().is_none_or(|here| here >= needed);
            serves.then_some(Expected::Glibc(needed))
        }
        Expected::Library => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let serves = path.exists() || libraries::glibc_here().is_none();
            let serves = serves || libraries::find(&name).is_some();
            serves.then_some(Expected::Library)
        }
    };
    match found {
        Some(found) if found == input.expected => Seen::Same,
        Some(_) => Seen::Different,
        None => Seen::Missing,
    }
}

/// Returns what rustc's bootstrap will copy to `path`, where nothing is yet, in a sysroot: what one of its cargos made in a target
/// directory beside that. Source: rust: src/bootstrap/src/core/build_steps/compile.rs, `add_to_sysroot` @ 1.95.
fn copied_by_bootstrap(path: &Path) -> Option<PathBuf> {
    let is_sysroot = |dir: &&Path| dir.as_os_str().as_encoded_bytes().ends_with(b"-sysroot");
    let sysroot = path.ancestors().skip(1).find(is_sysroot)?;
    if path.exists() {
        return None;
    }
    let target = path.parent()?.parent()?.file_name()?;
    let beside = walk::directories(sysroot.parent()?).into_iter();
    let profiles =
        beside.flat_map(|dir| ["release", "debug"].map(|one| dir.join(target).join(one)));
    let files = profiles.map(|dir| dir.join("deps").join(path.file_name().unwrap_or_default()));
    only(files.filter(|file| file.is_file()))
}

/// Tells whether `path` is a file of the compiler's `sysroot`, or a copy of one as rustc's bootstrap makes them.
///
/// cargo never compares the sysroot's files: the version of the compiler stands for them.
pub fn is_of_sysroot(path: &Path, sysroot: &Path) -> bool {
    let libraries = path.ancestors().find(|dir| dir.ends_with("lib/rustlib"));
    let Some(below) = libraries.and_then(|dir| path.strip_prefix(dir).ok()) else {
        return false;
    };
    let own = sysroot.join("lib/rustlib").join(below);
    walk::same_inode(path, &own) || hash::of(&own).is_some_and(|own| hash::of(path) == Some(own))
}

/// Returns cargo's list of the files of the package in `dir`, relative to it, in cargo's order.
///
/// The order matters: of several newest files, which a checkout often makes, cargo names the first that it
/// meets, and it meets them as the file system lists them.
///
/// None where cargo's rules go beyond what we know: nested repositories, links to directories, rules that
/// are inherited. Source: cargo: sources/path.rs, `list_files` @ 1.95.
pub fn list_package(dir: &Path) -> Option<Vec<PathBuf>> {
    let rules = FileRules::of(dir)?;
    if rules.include.is_some() {
        let all = walk::below(dir).ok()?.into_iter();
        let files = all.filter(|entry| entry.kind == walk::Kind::File);
        let files = files.map(|entry| entry.relative).collect();
        return Some(of_package(dir, files, &rules));
    }
    let files = git::known(dir, [Path::new(".")]).ok()?;
    let files = of_package(dir, files, &rules);
    let plain = files.iter().all(|file| !dir.join(file).is_dir());
    plain.then_some(files)
}

/// Returns those of `files` that belong to the package in `dir`: not built, not of a package inside it, and
/// allowed by its rules.
fn of_package(dir: &Path, files: BTreeSet<PathBuf>, rules: &FileRules) -> Vec<PathBuf> {
    let manifests = files.iter().filter(|file| file.ends_with("Cargo.toml"));
    let packages = manifests.filter_map(|file| file.parent());
    let nested = packages.filter(|package| !package.as_os_str().is_empty());
    let nested: Vec<PathBuf> = nested.map(Path::to_path_buf).collect();
    let own = |file: &PathBuf| {
        !file.starts_with("target")
            && !nested.iter().any(|package| file.starts_with(package))
            && rules.allow(file)
    };
    let files: BTreeSet<PathBuf> = files.into_iter().filter(own).collect();
    as_listed(dir, Path::new(""), &files)
}

/// Returns those of `files` that are below `dir/relative`, depth first, each directory as the file system
/// lists it. Source: gix-dir: walk/readdir.rs, which cargo walks a work tree with.
fn as_listed(dir: &Path, relative: &Path, files: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut listed = Vec::new();
    let entries = std::fs::read_dir(dir.join(relative));
    for entry in entries.into_iter().flatten().flatten() {
        let path = relative.join(entry.file_name());
        let next = files.range(path.clone()..).next();
        if files.contains(&path) {
            listed.push(path);
        } else if next.is_some_and(|next| next.starts_with(&path)) {
            listed.extend(as_listed(dir, &path, files));
        }
    }
    listed
}

/// Returns one digest of the names and contents of `files`, which are those of the package in `dir`.
pub fn package_digest(dir: &Path, mut files: Vec<PathBuf>) -> Digest {
    files.sort();
    files.retain(|file| walk::mtime(&dir.join(file)).is_some());
    let entries = files.iter().map(|file| {
        let (name, here) = (file.as_os_str().as_encoded_bytes(), dir.join(file));
        (name, hash::kind(&here, walk::Kind::File), hash::of(&here))
    });
    hash::listing(entries)
}

/// Returns `roots` with what each is called once links are followed beside how it is spelled: programs say either.
pub fn with_aliases(roots: Roots) -> Roots {
    let all = roots.spellings();
    let real = all.map(|(root, _)| (root, disk::canonical(roots.dir(root))));
    let real: Vec<(Root, PathBuf)> = real.collect();
    let add = |roots: Roots, (root, dir): (Root, PathBuf)| roots.with_alias(root, &dir);
    real.into_iter().fold(roots, add)
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::model::{Digest, Expected, Input, Root, Roots, Seen};
    use std::path::Path;

    /// Where the target directory lies below `/usr`, as in many containers, every script that names its `OUT_DIR` would run again in each clone.
    #[test]
    fn what_lies_in_a_root_is_not_the_systems() {
        let told = b"cargo:rustc-link-search=native=/usr/lib\n";
        for (build, count) in [("/usr/lib", 0), ("/home/u/ws/target", 1)] {
            let roots = Roots::new(Path::new("/home/u/ws"), Path::new(build), Path::new("/c"));
            assert_eq!(super::found_by_script(told, &roots).len(), count, "{build}");
        }
    }

    /// What rustc's bootstrap builds behind a library that it has put into a sysroot would be built again in each clone.
    #[test]
    fn what_bootstrap_will_copy_into_a_sysroot_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::new(
            dir.path(),
            &dir.path().join("build/t"),
            Path::new("/home/u/.cargo"),
        );
        let there = "build/host/stage0-sysroot/lib/rustlib/host/lib/libx-1.rmeta";
        let input = |bytes: &[u8]| Input {
            path: roots.locate(&dir.path().join(there)),
            expected: Expected::File(Digest::of(bytes)),
        };
        assert_eq!(compare(&input(b"x"), &roots), Seen::Missing);
        let deps = dir.path().join("build/host/stage1-rustc/host/release/deps");
        std::fs::create_dir_all(&deps).unwrap();
        std::fs::write(deps.join("libx-1.rmeta"), b"x").unwrap();
        assert_eq!(input(b"x").path.root, Root::Workspace);
        assert_eq!(compare(&input(b"x"), &roots), Seen::Same);
        assert_eq!(compare(&input(b"y"), &roots), Seen::Different);
        // What is in the sysroot already counts alone.
        let sysroot = dir.path().join(there);
        std::fs::create_dir_all(sysroot.parent().unwrap()).unwrap();
        std::fs::write(&sysroot, b"y").unwrap();
        assert_eq!(compare(&input(b"x"), &roots), Seen::Different);
    }
}
