//! The places that absolute paths are made relative to.
//!
//! A path that lies below no root stays absolute, and is then the same file only on a machine that has it there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One of the directories that differ between the builder and a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Root {
    /// cargo's workspace root.
    Workspace,
    /// cargo's build directory (`build.build-dir`, by default the target directory).
    Build,
    /// `CARGO_HOME`.
    CargoHome,
    /// None: the path is absolute.
    Absolute,
    /// The top of the git work tree, where the workspace lies below it.
    Repository,
    /// rustc's sysroot.
    Sysroot,
}

impl Root {
    /// Returns the directory that outputs name instead of this root once paths are remapped.
    ///
    /// The workspace becomes `.`, so that backtraces read as ever and debuggers that run in it find its sources.
    /// See note 0008.
    pub fn remapped(self) -> &'static str {
        match self {
            Root::Workspace => ".",
            Root::Build => "/headstart/target",
            Root::CargoHome => "/headstart/cargo",
            Root::Repository => "/headstart/repository",
            // What lies there is named by rustc as it likes.
            Root::Sysroot | Root::Absolute => "",
        }
    }

    /// Returns the name that people know this root by.
    pub fn name(self) -> &'static str {
        match self {
            Root::Workspace => "workspace",
            Root::Build => "target directory",
            Root::CargoHome => "CARGO_HOME",
            Root::Repository => "git work tree",
            Root::Sysroot => "sysroot",
            Root::Absolute => "absolute path",
        }
    }
}

/// A path as bytes, relative to a root (or absolute, below none); the same value on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rooted {
    /// What `path` is relative to.
    pub root: Root,
    /// The path's bytes; empty for the root itself.
    pub path: Vec<u8>,
}

impl Rooted {
    /// Returns the path `relative` below `root`.
    pub fn new(root: Root, relative: impl AsRef<Path>) -> Rooted {
        let path = relative.as_ref().as_os_str().as_bytes().to_vec();
        Rooted { root, path }
    }

    /// Returns the relative part, or the whole of an absolute path.
    pub fn relative(&self) -> &Path {
        bytes_path(&self.path)
    }

    /// Returns this path extended by `tail`.
    pub fn join(&self, tail: impl AsRef<Path>) -> Rooted {
        Rooted::new(self.root, self.relative().join(tail))
    }

    /// Returns the spelling for people: `workspace/src/lib.rs`.
    pub fn shown(&self) -> String {
        let path = self.relative().display();
        match self.root {
            Root::Absolute | Root::Workspace => path.to_string(),
            Root::Build => format!("<target>/{path}"),
            Root::Repository => format!("<work tree>/{path}"),
            Root::CargoHome => format!("<CARGO_HOME>/{path}"),
            Root::Sysroot => format!("<sysroot>/{path}"),
        }
    }
}

/// Returns `bytes` as a path.
pub fn bytes_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Where one machine has the roots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roots {
    /// Each root with each absolute spelling of it, the one that cargo uses first.
    spellings: Vec<(Root, Vec<u8>)>,
}

impl Roots {
    /// Returns the roots at these absolute places, spelled as cargo spells them.
    pub fn new(workspace: &Path, build: &Path, cargo_home: &Path) -> Roots {
        Roots::default()
            .with_alias(Root::Workspace, workspace)
            .with_alias(Root::Build, build)
            .with_alias(Root::CargoHome, cargo_home)
    }

    /// Returns the directories that outputs name instead of the roots.
    pub fn remapped() -> Roots {
        use Root::{Build, CargoHome, Repository, Workspace};
        let all = [Workspace, Build, CargoHome, Repository];
        let spell = |root: Root| (root, root.remapped().as_bytes().to_vec());
        let spellings = all.map(spell).to_vec();
        Roots { spellings }
    }

    /// Returns these roots with one more spelling of `root`: a symlink resolved, or a root that not every
    /// machine has.
    pub fn with_alias(mut self, root: Root, path: &Path) -> Roots {
        let spelling = (root, path.as_os_str().as_bytes().to_vec());
        if !self.spellings.contains(&spelling) {
            self.spellings.push(spelling);
        }
        self
    }

    /// Returns every spelling, the one that cargo uses first for each root.
    pub fn spellings(&self) -> impl Iterator<Item = (Root, &[u8])> {
        let all = self.spellings.iter();
        all.map(|(root, path)| (*root, path.as_slice()))
    }

    /// Returns where `root` is, as cargo spells it; `/` for one that this machine has not.
    pub fn dir(&self, root: Root) -> &Path {
        let found = self.spellings().find(|(known, _)| *known == root);
        found.map_or(Path::new("/"), |(_, path)| bytes_path(path))
    }

    /// Tells whether this machine has `root`.
    pub fn has(&self, root: Root) -> bool {
        self.spellings().any(|(known, _)| known == root)
    }

    /// Returns where this machine has `rooted`.
    pub fn resolve(&self, rooted: &Rooted) -> PathBuf {
        match rooted.path.is_empty() {
            true => self.dir(rooted.root).to_path_buf(),
            false => self.dir(rooted.root).join(rooted.relative()),
        }
    }

    /// Returns `path` relative to the deepest root that holds it; to the workspace rather than to a `CARGO_HOME` in the same place,
    /// since nobody compares what cargo downloaded.
    pub fn locate(&self, path: &Path) -> Rooted {
        let below = |(root, dir): (Root, &[u8])| {
            let tail = path.strip_prefix(bytes_path(dir)).ok()?;
            Some((dir.len(), root, tail))
        };
        let all = self.spellings().filter_map(below);
        let deepest = all.max_by_key(|(depth, root, _)| (*depth, *root != Root::CargoHome));
        let (_, root, tail) = deepest.unwrap_or((0, Root::Absolute, path));
        Rooted::new(root, tail)
    }

    /// Tells whether `root` is spelled the same on both machines, and its links lead to the same places.
    pub fn agree(&self, other: &Roots, root: Root) -> bool {
        let all = |roots: &Roots| -> BTreeSet<Vec<u8>> {
            let own = roots.spellings().filter(|(known, _)| *known == root);
            own.map(|(_, path)| path.to_vec()).collect()
        };
        self.dir(root) == other.dir(root) && all(self) == all(other)
    }
}

#[cfg(test)]
mod tests {
    use super::{Root, Rooted, Roots};
    use std::path::Path;

    fn roots() -> Roots {
        Roots::new(
            Path::new("/a/ws"),
            Path::new("/a/ws/target"),
            Path::new("/h/.cargo"),
        )
    }

    /// An output below the target directory would be looked for among the sources, and never be found.
    #[test]
    fn the_deepest_root_wins() {
        let located = roots().locate(Path::new("/a/ws/target/debug/x"));
        assert_eq!(located, Rooted::new(Root::Build, "debug/x"));
        assert_eq!(
            roots().locate(Path::new("/a/ws/src")),
            Rooted::new(Root::Workspace, "src")
        );
    }

    /// `/a/ws2` is not below `/a/ws`: comparing it there would compare another file.
    #[test]
    fn a_root_ends_at_a_component() {
        assert_eq!(roots().locate(Path::new("/a/ws2/x")).root, Root::Absolute);
    }

    /// A symlinked CARGO_HOME must not turn its files into absolute ones.
    #[test]
    fn an_alias_is_the_same_root() {
        let roots = roots().with_alias(Root::CargoHome, Path::new("/real/cargo"));
        let located = roots.locate(Path::new("/real/cargo/registry"));
        assert_eq!(roots.resolve(&located), Path::new("/h/.cargo/registry"));
    }
}
