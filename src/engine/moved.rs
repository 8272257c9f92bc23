//! A build directory that was moved, or copied from elsewhere: what was made in it before may hold where that was.
//!
//! cargo finds it fresh, since it compares no such paths. The finder of today's roots does not see yesterday's.

use std::path::Path;

use crate::disk::without_dots;
use crate::engine::build::{LeftOut, Result};
use crate::engine::pin;
use crate::model::{Finder, Root, Roots};

/// Where a build directory was when something in it was made.
#[derive(Debug)]
pub(super) struct Before(Finder);

impl Before {
    /// Returns where `build` and the workspace were, which notes in it have as `told` (`Ledger::told`).
    pub(super) fn of(build: &Path, told: &Path) -> Before {
        let workspace = without_dots(&build.join(told));
        let roots = Roots::default().with_alias(Root::Build, build);
        let roots = roots.with_alias(Root::Workspace, &workspace);
        Before(Finder::new(&roots))
    }

    /// Fails if `bytes` hold where that was.
    pub(super) fn refuse_in(&self, bytes: &[u8]) -> Result<()> {
        let held = self.0.held(bytes).next();
        held.map_or(Ok(()), |_| Err(LeftOut::OtherPlace))
    }

    /// Fails if the file at `path` holds where that was.
    pub(super) fn refuse(&self, path: &Path) -> Result<()> {
        let roots = pin::scan(path, &self.0)?.roots;
        roots.first().map_or(Ok(()), |_| Err(LeftOut::OtherPlace))
    }
}
