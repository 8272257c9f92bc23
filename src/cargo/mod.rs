//! What cargo is asked, and what it leaves in its build directory.
//!
//! Reads cargo's files; never decides what is done with them.

pub mod command;
pub mod config_file;
pub mod dep_info;
pub mod layout;
pub mod makefile;
pub mod message;
pub mod package;
pub mod script_output;
pub mod workspace;

pub use command::{CargoCommand, Messages, Run};
pub use message::{Live, PackageId};
pub use package::Locked;
pub use workspace::Workspace;

/// A question to cargo that went unanswered, or an answer that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// This program, cargo or rustc, could not be started, and why.
    #[error("cannot run `{0}`: {1}")]
    Start(String, #[source] std::io::Error),
    /// The command failed; what it wrote was printed, or is told with this.
    #[error("{}", format!("`{command}` failed with exit code {code}\n{stderr}").trim_end())]
    Failed {
        /// The command line.
        command: String,
        /// Its exit code.
        code: i32,
        /// What it wrote on standard error, where that was captured.
        stderr: String,
    },
    /// The command was ended by a signal.
    #[error("`{0}` was ended by signal {1}")]
    Ended(String, i32),
    /// cargo's output could not be read: the command line, and what is wrong with the answer.
    #[error("cargo's answer to `{0}` makes no sense: {1}")]
    Answer(String, String),
}

/// What cargo is asked, or why there is no answer.
pub type Result<T, E = CargoError> = std::result::Result<T, E>;
