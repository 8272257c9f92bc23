//! The typed answer to "from what did rustc begin when it compiled this unit, and why?".

use serde::{Deserialize, Serialize};

/// How rustc began. Each has a stable code for machines and a sentence for people.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    thiserror::Error,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Began {
    /// From a session of a starting point, or one that rustc made here of what cargo takes for another unit.
    #[error("from {}: {reused} of {total} work products reused", session(commit.as_deref()))]
    Seeded {
        /// The commit that the session is from; none for one that was made here.
        commit: Option<String>,
        /// How many work products rustc took over.
        reused: u32,
        /// How many it has now.
        total: u32,
    },
    /// It was not run: what it would make is placed.
    #[error("not run: what it would make is what {commit:.12} has")]
    Hit {
        /// The commit of the starting point that has it.
        commit: String,
    },
    /// From a session that it made here itself.
    #[error("from the session that rustc made here before")]
    OwnSession,
    /// cargo does not compile it incrementally.
    #[error("from nothing: cargo does not compile it incrementally")]
    NotIncremental,
    /// No starting point that was looked at has a session of it.
    #[error("from what rustc has here: no starting point has a session of it")]
    NoSession,
    /// The session was made by other arguments.
    #[error("from nothing: its session was made by other arguments")]
    OtherArguments,
    /// What compiles is no rustc itself: nobody knows what its session was made by.
    #[error(
        "from nothing: its compiler may change the arguments, as a script or another program before rustc does"
    )]
    UnsureCompiler,
    /// rustc would not say how it hashes the arguments, or in a format that we do not know.
    #[error("from nothing: rustc would not tell how it hashes these arguments")]
    NotCalibrated,
    /// Objects of the session are not in the store, or damaged.
    #[error("from nothing: its session is not in the store")]
    SeedLost,
    /// Objects of the session were still being fetched, and waiting for them is not worth while any more.
    #[error("from nothing: its session was still being fetched")]
    SeedLate,
    /// The session could not be placed.
    #[error("from nothing: its session could not be placed")]
    SeedUnusable,
    /// Seeding is turned off.
    #[error("from nothing: HEADSTART_SEED turns seeding off")]
    SeedingOff,
    /// rustc crashed on the session, and compiled again without it.
    #[error("from nothing: on {} rustc {how}, and that was dropped", session(commit.as_deref()))]
    SeedCrashed {
        /// The commit that the session is from, likewise.
        commit: Option<String>,
        /// How rustc crashed.
        how: String,
    },
    /// rustc crashed on what it had made here itself, and compiled again without it.
    #[error("from nothing: on what it had made here rustc {how}, and that was dropped")]
    OwnCrashed {
        /// How rustc crashed.
        how: String,
    },
    /// rustc was given a flag that we do not know, and ran exactly as given.
    #[error("rustc ran exactly as cargo gave it: {flag} is not known to headstart")]
    UnknownFlag {
        /// The flag.
        flag: String,
    },
}

impl Began {
    /// Returns the stable code, for `--json`: its name in kebab-case, but for what was made here.
    pub fn code(&self) -> &'static str {
        match self {
            Began::Seeded { commit: None, .. } => "inherited",
            Began::SeedCrashed { commit: None, .. } => "inherited-crashed",
            other => other.into(),
        }
    }
}

/// Returns what the session of `commit` is called, or one that was made here.
pub fn session(commit: Option<&str>) -> String {
    match commit {
        Some(commit) => format!("the session of {commit:.12}"),
        None => "a session of another version or other dependencies".to_owned(),
    }
}
