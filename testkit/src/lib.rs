//! Fixtures and probes for the tests of headstart.
//!
//! Knows nothing of how headstart works: it makes workspaces, runs programs, and reads what cargo says it did.

#![allow(
    clippy::disallowed_methods,
    reason = "the bans name who in src/ may touch the machine; testkit is the machine"
)]

mod scratch;
mod words;

mod environment;

mod workspace;

mod build;
mod cargo;
mod headstart;
mod home;
mod http;

pub mod fixture;

pub use build::{Build, Dirty, Ran, Rustc, Script};
pub use cargo::Cargo;
pub use environment::{clean, git_command};
pub use headstart::{Headstart, Output, headstart};
pub use home::{cargo_home, cargo_home_full, default_cargo_home};
pub use http::{Fault, Server};
pub use scratch::Scratch;
pub use workspace::Workspace;
