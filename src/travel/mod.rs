//! How starting points come from a tier and go to one, in packs, and what happens to them there.
//!
//! Nothing here knows a target directory, but [`arrivals`], which makes files beside their places there.

pub mod arrivals;
pub mod collect;
pub mod fetch;
mod known;
pub mod list;
pub mod push;
pub mod sign;
