//! Finds the starting points that could serve: git's history on one side, the store's points on the other.

use std::collections::BTreeSet;

use super::cli::StartArgs;
use super::far::Listed;
use super::setup::{Setup, short};
use super::sources::{self, Sources};
use crate::config::Environment;
use crate::git::{GitError, Repository};
use crate::model::Part;
use crate::report::{Reporter, count};
use crate::store::Store;
use crate::store::point::Point;

/// How far back in history a starting point is looked for.
const MAX_ANCESTORS: usize = 2000;
/// How many starting points are compared; the nearest few differ by what changed between them.
const MAX_CANDIDATES: usize = 3;
/// Where and from what a starting point is looked for.
#[derive(Debug)]
pub struct Search<'a> {
    /// What was typed.
    pub args: &'a StartArgs,
    /// Where it was typed.
    pub environment: &'a Environment,
    /// The workspace and what builds it.
    pub setup: &'a Setup,
    /// Where to look.
    pub store: &'a Store,
    /// What is to be had from far away.
    pub listed: &'a [Listed],
    /// Where trouble is told.
    pub reporter: &'a Reporter,
}

impl<'a> Search<'a> {
    /// Returns a search of `sources`.
    pub(super) fn of(
        sources: &'a Sources,
        args: &'a StartArgs,
        environment: &'a Environment,
        setup: &'a Setup,
        reporter: &'a Reporter,
    ) -> Search<'a> {
        Search {
            args,
            environment,
            setup,
            store: &sources.store,
            listed: &sources.listed,
            reporter,
        }
    }
}

impl Search<'_> {
    /// Returns the points of the nearest commits that have any for this toolchain, nearest first.
    pub fn points(&self) -> anyhow::Result<Result<Vec<Point>, String>> {
        if let Some(name) = &self.args.manifest {
            let found: Vec<Point> = (self.store.all_points().into_iter())
                .chain(self.far(|_| true))
                .filter(|point| point.manifest.hex().starts_with(name.as_str()))
                .filter(|point| point.part == self.setup.part)
                .collect();
            let ours = |point: &&Point| point.toolchain == self.setup.toolchain;
            return Ok(match (found.iter().find(ours), found.first()) {
                (Some(point), _) => Ok(vec![point.clone()]),
                (None, Some(other)) => Err(self.why_other_toolchain(other)),
                (None, None) => Err(format!("the store has no starting point named {name}")),
            });
        }
        let commits = self.commits()?;
        let mut found: Vec<Point> = Vec::new();
        let mut found_commits = 0;
        let mut other_toolchain: Option<Point> = None;
        for commit in &commits {
            let of_part = self.points_of(commit).into_iter();
            let of_part = of_part.filter(|point| point.part == self.setup.part);
            let (ours, others): (Vec<Point>, Vec<Point>) =
                of_part.partition(|point| point.toolchain == self.setup.toolchain);
            found_commits += usize::from(!ours.is_empty());
            found.extend(ours);
            other_toolchain = other_toolchain.or_else(|| others.into_iter().next());
            let at_head = Some(commit) == commits.first() && !found.is_empty();
            if at_head || found_commits == MAX_CANDIDATES {
                break;
            }
        }
        Ok(if found.is_empty() {
            Err(self.why_none(&commits, other_toolchain))
        } else {
            Ok(found)
        })
    }

    /// Returns the parts of this repository that have starting points of the nearest commits that have any.
    pub fn parts(&self) -> anyhow::Result<BTreeSet<Part>> {
        let mut parts = BTreeSet::new();
        let mut found_commits = 0;
        for commit in &self.commits()? {
            let points = self.points_of(commit).into_iter();
            let ours = points.filter(|point| point.toolchain == self.setup.toolchain);
            let apart: BTreeSet<Part> = ours
                .map(|point| point.part)
                .filter(|part| !part.target_dir.is_empty())
                .collect();
            found_commits += usize::from(!apart.is_empty());
            parts.extend(apart);
            if found_commits == MAX_CANDIDATES {
                break;
            }
        }
        Ok(parts)
    }

    /// Returns all points of `commit` but those of builds with changes, here and far away.
    fn points_of(&self, commit: &str) -> Vec<Point> {
        sources::points(self.store, self.listed, commit, self.reporter)
    }

    fn far<'a>(&'a self, of: impl Fn(&Point) -> bool + 'a) -> impl Iterator<Item = Point> + 'a {
        let points = self.listed.iter().map(|listed| &listed.entry.point);
        points.filter(move |point| of(point)).cloned()
    }

    /// Returns the commits to look at, nearest first.
    fn commits(&self) -> anyhow::Result<Vec<String>> {
        let repository = match (
            Repository::discover(self.environment.dir()),
            &self.args.commit,
        ) {
            (Ok(repository), _) => repository,
            (Err(GitError::NoRepository(_)), Some(commit)) if is_full_id(commit) => {
                return Ok(vec![commit.clone()]);
            }
            (Err(error), _) => return Err(error.into()),
        };
        let from = match &self.args.commit {
            Some(revision) => repository.commit(revision)?,
            None => repository.head()?,
        };
        Ok(repository.ancestors(&from, MAX_ANCESTORS)?)
    }

    fn why_none(&self, commits: &[String], other_toolchain: Option<Point>) -> String {
        if let Some(point) = other_toolchain {
            return self.why_other_toolchain(&point);
        }
        let shallow =
            Repository::discover(self.environment.dir()).is_ok_and(|one| one.is_shallow());
        let note = if shallow {
            " (a shallow clone; `git fetch --deepen 50` shows more)"
        } else {
            ""
        };
        format!(
            "none of {}{note} was published to {}",
            count(commits.len(), "commit"),
            self.store.root().display()
        )
    }

    fn why_other_toolchain(&self, point: &Point) -> String {
        format!(
            "{} was published for {}, and here is {}",
            short(&point.commit),
            point.toolchain.shown(),
            self.setup.toolchain.shown(),
        )
    }

    /// Returns how many commits `commit` lies behind; none where git cannot say.
    pub fn behind(&self, commit: &str) -> Option<usize> {
        let from = self.args.commit.as_deref().unwrap_or("HEAD");
        Repository::discover(self.environment.dir())
            .ok()?
            .distance(commit, from)
            .ok()
    }
}

fn is_full_id(commit: &str) -> bool {
    matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}
