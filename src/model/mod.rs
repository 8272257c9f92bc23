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
pub use epoch::{Epoch, SECONDS_A_DAY};
pub use fingerprint::{Fingerprint, Local, path_hash};
pub use input::{Expected, Input, Seen};
pub use manifest::{Manifest, Package, Part, Source, Toolchain};
pub use reason::Reason;
pub use recipe::{Piece, Recipe};
pub use rewrite::{Finder, Occurrence};
pub use root::{Root, Rooted, Roots, bytes_path};
pub use secrets::Secrets;
pub use session::{Located, Session};
pub use unit::{Compiled, Content, DepInfo, DepPath, OutputFile, Pin, Unit, UnitName};
