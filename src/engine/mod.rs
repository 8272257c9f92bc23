//! What headstart is for: choosing, planning, restoring and publishing starting points.
//!
//! Decisions ([`plan`], [`choose`], [`bisect`]) are pure; [`restore`], [`seed`], `inherit`, [`hit`], [`alike`], [`ahead`], [`answers`] and [`ledger`] alone write into a
//! target directory, and [`programs`] into one that is no build's.

pub mod ahead;
pub mod alike;
pub mod answers;
mod assembly;
mod beside;
pub mod bisect;
pub mod build;
pub mod choose;
pub mod disclosure;
pub mod hit;
pub mod hold;
pub mod identity;
mod inherit;
pub mod inputs;
pub mod ledger;
mod libraries;
pub mod live;
pub mod local;
mod moved;
pub mod names;
pub mod observe;
pub mod offer;
pub mod pin;
pub mod plan;
pub mod programs;
pub mod publish;
pub mod recipe;
pub mod record;
pub mod relocate;
pub mod restore;
pub mod scan;
pub mod seed;
pub mod survey;
pub mod wrapping;

pub use build::Build;
pub use ledger::Ledger;
pub use live::LiveUnit;
pub use local::{Inspector, Present};
pub use plan::{Action, Decision};
pub use seed::Seed;
pub use survey::Survey;
