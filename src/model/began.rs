//! The typed answer to "from what did rustc begin when it compiled this unit, and why?".

use std::fmt;

use serde::{Deserialize, Serialize};

/// How rustc began. Each has a stable code for machines and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Began {
    /// From a session of a starting point.
    Seeded {
        /// The commit that the session is from.
        commit: String,
        /// How many work products rustc took over.
        reused: u32,
        /// How many it has now.
        total: u32,
    },
    /// From a session that it made here itself.
    OwnSession,
    /// cargo does not compile it incrementally.
    NotIncremental,
    /// No starting point that was looked at has a session of it.
    NoSession,
    /// The session was made by other arguments.
    OtherArguments,
    /// rustc would not say how it hashes the arguments, or in a format that we do not know.
    NotCalibrated,
    /// Objects of the session are gone from the store, or damaged.
    SeedLost,
    /// The session could not be placed.
    SeedUnusable,
    /// Seeding is turned off.
    SeedingOff,
    /// rustc crashed on the session, and compiled again without it.
    SeedCrashed {
        /// The commit that the session is from.
        commit: String,
        /// How rustc crashed.
        how: String,
    },
    /// rustc was given a flag that we do not know, and ran exactly as given.
    UnknownFlag {
        /// The flag.
        flag: String,
    },
}

impl Began {
    /// Returns the stable code, for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Began::Seeded { .. } => "seeded",
            Began::OwnSession => "own-session",
            Began::NotIncremental => "not-incremental",
            Began::NoSession => "no-session",
            Began::OtherArguments => "other-arguments",
            Began::NotCalibrated => "not-calibrated",
            Began::SeedLost => "seed-lost",
            Began::SeedUnusable => "seed-unusable",
            Began::SeedingOff => "seeding-off",
            Began::SeedCrashed { .. } => "seed-crashed",
            Began::UnknownFlag { .. } => "unknown-flag",
        }
    }
}

impl fmt::Display for Began {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Began::Seeded {
                commit,
                reused,
                total,
            } => {
                let short = commit.get(..12).unwrap_or(commit);
                write!(
                    f,
                    "from the session of {short}: {reused} of {total} work products reused"
                )
            }
            Began::OwnSession => write!(f, "from the session that rustc made here before"),
            Began::NotIncremental => {
                write!(f, "from nothing: cargo does not compile it incrementally")
            }
            Began::NoSession => write!(f, "from nothing: no starting point has a session of it"),
            Began::OtherArguments => {
                write!(f, "from nothing: its session was made by other arguments")
            }
            Began::NotCalibrated => write!(
                f,
                "from nothing: rustc would not tell how it hashes these arguments"
            ),
            Began::SeedLost => write!(f, "from nothing: the store has lost its session"),
            Began::SeedUnusable => write!(f, "from nothing: its session could not be placed"),
            Began::SeedingOff => write!(f, "from nothing: HEADSTART_SEED turns seeding off"),
            Began::SeedCrashed { commit, how } => {
                let short = commit.get(..12).unwrap_or(commit);
                write!(
                    f,
                    "from nothing: on the session of {short} rustc {how}, and that was dropped"
                )
            }
            Began::UnknownFlag { flag } => write!(
                f,
                "rustc ran exactly as cargo gave it: {flag} is not known to headstart"
            ),
        }
    }
}
