//! What a unit's outputs depend on, and what a reader sees in its place.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::root::Rooted;

/// One thing that a unit was made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// Where it is.
    pub path: Rooted,
    /// What it was.
    pub expected: Expected,
}

/// What an input was when the unit was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Expected {
    /// A file with this content.
    File(Digest),
    /// A directory, with all names and contents below it.
    Tree(Digest),
    /// The files of the package in this directory, as cargo lists them.
    PackageFiles(Digest),
    /// A git directory whose HEAD is this commit; stands beside any declared file inside it.
    GitHead(String),
    /// git's index, of which only names, modes and contents count: the rest differs in every clone.
    GitIndex(Digest),
    /// Nothing there; cargo then always runs the unit again.
    Nothing,
    /// glibc of this version or a newer one: the number behind `2.`.
    Glibc(u16),
    /// A shared library of this name, there or in another of the system's directories.
    Library,
}

/// What a reader finds where an input is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The same as expected.
    Same,
    /// Something else.
    Different,
    /// Nothing, or nothing that can be read.
    Missing,
}
