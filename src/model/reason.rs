//! The typed answer to "why was this unit restored, seeded, compiled?".

use std::fmt;

use serde::{Deserialize, Serialize};

use super::root::Root;

/// Why a unit got its verdict. Each has a stable code for machines and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Every input is the same here.
    InputsMatch,
    /// What this target directory holds is already fresh.
    AlreadyFresh,
    /// What this target directory holds was made with settings that differ from the starting point's.
    OtherSettings,
    /// A file differs.
    Changed {
        /// The file.
        path: String,
    },
    /// A file is gone.
    Gone {
        /// The file.
        path: String,
    },
    /// A build script declares a path that does not exist; cargo runs it on every build.
    AlwaysReruns {
        /// The path.
        path: String,
    },
    /// A git repository is at another commit than the one that a build script saw.
    OtherCommit,
    /// A variable has another value.
    Variable {
        /// Its name.
        name: String,
    },
    /// An output holds a path of the builder's, which is another here.
    Pinned {
        /// Which of the roots.
        root: Root,
        /// Where it was seen.
        seen_in: String,
    },
    /// It was compiled against another build of a unit that is fresh here, and stays.
    OtherBuild {
        /// That unit.
        unit: String,
    },
    /// A unit that it depends on will be built again.
    Dependency {
        /// The first such unit.
        unit: String,
    },
    /// `Cargo.lock` no longer names its package in this version.
    NotLocked,
    /// cargo's recorded hash could not be reproduced, so no other can be computed.
    Unproven,
    /// An object of the store is missing.
    ObjectMissing {
        /// The file that it was for.
        path: String,
    },
    /// An object of the store is there and cannot be read.
    ObjectUnreadable {
        /// The file that it was for.
        path: String,
    },
    /// An object of the store is damaged.
    ObjectDamaged {
        /// The file that it was for.
        path: String,
    },
}

impl Reason {
    /// Returns the stable code, for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::InputsMatch => "inputs-match",
            Reason::AlreadyFresh => "already-fresh",
            Reason::OtherSettings => "other-settings",
            Reason::Changed { .. } => "changed",
            Reason::Gone { .. } => "gone",
            Reason::AlwaysReruns { .. } => "always-reruns",
            Reason::OtherCommit => "other-commit",
            Reason::Variable { .. } => "variable",
            Reason::Pinned { .. } => "pinned",
            Reason::OtherBuild { .. } => "other-build",
            Reason::Dependency { .. } => "dependency",
            Reason::NotLocked => "not-locked",
            Reason::Unproven => "unproven",
            Reason::ObjectMissing { .. } => "object-missing",
            Reason::ObjectUnreadable { .. } => "object-unreadable",
            Reason::ObjectDamaged { .. } => "object-damaged",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::InputsMatch => write!(f, "every input is the same"),
            Reason::AlreadyFresh => write!(f, "already fresh in this target directory"),
            Reason::OtherSettings => write!(f, "built here with other settings, and left alone"),
            Reason::Changed { path } if path.is_empty() => write!(f, "its directory changed"),
            Reason::Changed { path } => write!(f, "{path} changed"),
            Reason::Gone { path } => write!(f, "{path} is gone"),
            Reason::AlwaysReruns { path } => {
                write!(
                    f,
                    "its build script watches {path}, which does not exist, so cargo runs it every time"
                )
            }
            Reason::OtherCommit => write!(
                f,
                "its build script looks at git's HEAD, which is another commit"
            ),
            Reason::Variable { name } => write!(f, "the variable {name} has another value"),
            Reason::Pinned { root, seen_in } => {
                write!(
                    f,
                    "{seen_in} holds the builder's {}, which is elsewhere here",
                    root.name()
                )
            }
            Reason::OtherBuild { unit } => {
                write!(
                    f,
                    "it was compiled against another build of {unit}, which is fresh here"
                )
            }
            Reason::Dependency { unit } => write!(f, "it depends on {unit}, which is built again"),
            Reason::NotLocked => write!(f, "Cargo.lock no longer has its package"),
            Reason::Unproven => write!(f, "cargo's hash of it could not be reproduced"),
            Reason::ObjectMissing { path } => write!(f, "the store has lost {path}"),
            Reason::ObjectUnreadable { path } => {
                write!(f, "the store's copy of {path} cannot be read")
            }
            Reason::ObjectDamaged { path } => write!(f, "the store's copy of {path} is damaged"),
        }
    }
}
