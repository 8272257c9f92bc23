//! Plain values and pure rules: no I/O, no clock, no path of this machine.

pub mod began;
pub mod digest;
pub mod epoch;
pub mod fingerprint;
pub mod input;
pub mod manifest;
pub mod reason;
pub mod recipe;
pub mod retention;
pub mod rewrite;
pub mod root;
pub mod secrets;
pub mod session;
pub mod unit;

pub use began::Began;
pub use digest::Digest;
pub use fingerprint::{Fingerprint, Local};
pub use input::{Expected, Input, Seen};
pub use manifest::{Manifest, Part, Toolchain};
pub use reason::Reason;
pub use recipe::{Piece, Recipe};
pub use root::{Root, Rooted, Roots};
pub use session::Session;
pub use unit::{Content, OutputFile, Unit, UnitName};
