//! The typed answer to "why was this unit restored, seeded, compiled?".

use super::unit::Pin;

/// Why a unit got its verdict. Each has a stable code for machines and a sentence for people.
#[derive(
    Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
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
    /// This file differs.
    #[error("{} changed", if .0.is_empty() { "its directory" } else { .0 })]
    Changed(String),
    /// This file is gone.
    #[error("{0} is gone")]
    Gone(String),
    /// A build script declares this path, which does not exist; cargo runs it on every build.
    #[error("its build script watches {0}, which does not exist, so cargo runs it every time")]
    AlwaysReruns(String),
    /// A git repository is at another commit than the one that a build script saw.
    #[error("its build script looks at git's HEAD, which is another commit")]
    OtherCommit,
    /// It holds a program or library for a newer glibc, of this version, than is here.
    #[error("it needs glibc 2.{0}, which is newer than the one here")]
    OlderGlibc(u16),
    /// This variable has another value.
    #[error("the variable {0} has another value")]
    Variable(String),
    /// An output holds a path of the builder's, which is another here.
    #[error("{} holds the builder's {}, which is elsewhere here", .0.seen_in, .0.root.name())]
    Pinned(Pin),
    /// It was compiled against another build of this unit, which is fresh here, and stays.
    #[error("it was compiled against another build of {0}, which is fresh here")]
    OtherBuild(String),
    /// This run of a build script, it itself or one that it was compiled for, said something else here, and stays.
    #[error("the build script run as {0} said something else when it ran here")]
    OtherAnswer(String),
    /// This build script wrote something among the sources when it ran here, and would not write it anew.
    #[error("its build script wrote {0} when it ran here, and is run to write it again")]
    LeftHere(String),
    /// It depends on this unit, the first of such, which will be built again.
    #[error("it depends on {0}, which is built again")]
    Dependency(String),
    /// `Cargo.lock` no longer names its package in this version.
    #[error("Cargo.lock no longer has its package")]
    NotLocked,
    /// cargo's recorded hash could not be reproduced, so no other can be computed.
    #[error("cargo's hash of it could not be reproduced")]
    Unproven,
    /// The object for this file is missing in the store.
    #[error("the store has lost {0}")]
    ObjectMissing(String),
    /// The object for this file is in the store and cannot be read.
    #[error("the store's copy of {0} cannot be read")]
    ObjectUnreadable(String),
    /// The object for this file is damaged in the store.
    #[error("the store's copy of {0} is damaged")]
    ObjectDamaged(String),
}

impl Reason {
    /// Returns the stable code, for `--json`: its name in kebab-case.
    pub fn code(&self) -> &'static str {
        self.into()
    }
}
