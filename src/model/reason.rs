//! The typed answer to "why was this unit restored, seeded, compiled?".

use serde::{Deserialize, Serialize};

use super::root::Root;

/// Why a unit got its verdict. Each has a stable code for machines and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// Every input is the same here.
    #[error("every input is the same")]
    InputsMatch,
    /// What this target directory holds is already fresh.
    #[error("already fresh in this target directory")]
    AlreadyFresh,
    /// What this target directory holds was made with settings that differ from the starting point's.
    #[error("built here with other settings, and left alone")]
    OtherSettings,
    /// A file differs.
    #[error("{} changed", if path.is_empty() { "its directory" } else { path })]
    Changed {
        /// The file.
        path: String,
    },
    /// A file is gone.
    #[error("{path} is gone")]
    Gone {
        /// The file.
        path: String,
    },
    /// A build script declares a path that does not exist; cargo runs it on every build.
    #[error("its build script watches {path}, which does not exist, so cargo runs it every time")]
    AlwaysReruns {
        /// The path.
        path: String,
    },
    /// A git repository is at another commit than the one that a build script saw.
    #[error("its build script looks at git's HEAD, which is another commit")]
    OtherCommit,
    /// A variable has another value.
    #[error("the variable {name} has another value")]
    Variable {
        /// Its name.
        name: String,
    },
    /// An output holds a path of the builder's, which is another here.
    #[error("{seen_in} holds the builder's {}, which is elsewhere here", root.name())]
    Pinned {
        /// Which of the roots.
        root: Root,
        /// Where it was seen.
        seen_in: String,
    },
    /// It was compiled against another build of a unit that is fresh here, and stays.
    #[error("it was compiled against another build of {unit}, which is fresh here")]
    OtherBuild {
        /// That unit.
        unit: String,
    },
    /// A unit that it depends on will be built again.
    #[error("it depends on {unit}, which is built again")]
    Dependency {
        /// The first such unit.
        unit: String,
    },
    /// `Cargo.lock` no longer names its package in this version.
    #[error("Cargo.lock no longer has its package")]
    NotLocked,
    /// cargo's recorded hash could not be reproduced, so no other can be computed.
    #[error("cargo's hash of it could not be reproduced")]
    Unproven,
    /// An object of the store is missing.
    #[error("the store has lost {path}")]
    ObjectMissing {
        /// The file that it was for.
        path: String,
    },
    /// An object of the store is there and cannot be read.
    #[error("the store's copy of {path} cannot be read")]
    ObjectUnreadable {
        /// The file that it was for.
        path: String,
    },
    /// An object of the store is damaged.
    #[error("the store's copy of {path} is damaged")]
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
