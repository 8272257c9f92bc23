//! What rustc is told, how it is run, and what it keeps between runs.

pub mod argv;
pub mod run;
pub mod session;
