//! Where starting points come from: the store here, and what the remotes list.

use super::cli::StartArgs;
use super::far::{Far, Listed};
use super::setup::Setup;
use crate::config::Environment;
use crate::report::Reporter;
use crate::store::point::Point;
use crate::store::{Store, StoreError};
use crate::trust::{self, Believed};

/// An opened store, and what is to be had beside it.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) store: Store,
    /// Whether what lies in the store is believed.
    pub(super) believed: Believed,
    pub(super) far: Far,
    /// What the remotes list for this toolchain.
    pub(super) listed: Vec<Listed>,
}

impl Sources {
    /// Opens the store and asks the remotes for their lists; or says in a sentence why there is nothing.
    pub(super) fn open(
        args: &StartArgs,
        environment: &Environment,
        setup: &Setup,
        now_unix_s: i64,
        reporter: &Reporter,
    ) -> anyhow::Result<Result<Sources, String>> {
        let configured = setup.configured();
        let typed = args.store.store.as_deref();
        let root = environment.store(typed, Some(configured))?;
        let mut far = Far::of(
            environment,
            &args.store,
            args.believe_store,
            configured,
            reporter,
        )?;
        let store = match Store::open(&root) {
            Err(StoreError::Missing(_)) if !far.is_empty() => Store::create(&root)?,
            Err(StoreError::Missing(path)) => {
                return Ok(Err(format!("there is no store at {}", path.display())));
            }
            store => store?,
        };
        let believed = trust::store(&root, args.believe_store)?;
        let listed = far.listed(&setup.toolchain, &store, reporter, now_unix_s);
        Ok(Ok(Sources {
            store,
            believed,
            far,
            listed,
        }))
    }

    /// Returns the starting points of `commit`, as far as they are of this toolchain.
    pub(super) fn points(&self, commit: &str, setup: &Setup, reporter: &Reporter) -> Vec<Point> {
        let mut points = points(&self.store, &self.listed, commit, reporter);
        points.retain(|point| point.toolchain == setup.toolchain);
        points
    }
}

/// Returns all points of `commit` but those of builds with changes, those of `store` first, each once.
pub(super) fn points(
    store: &Store,
    listed: &[Listed],
    commit: &str,
    reporter: &Reporter,
) -> Vec<Point> {
    let (mut points, problems) = store.points(commit);
    for problem in problems {
        reporter.warn(&problem.to_string());
    }
    for point in listed.iter().map(|listed| &listed.entry.point) {
        let known = points.iter().any(|one| one.manifest == point.manifest);
        if point.commit == commit && !known {
            points.push(point.clone());
        }
    }
    points.retain(|point| !point.dirty);
    points
}
