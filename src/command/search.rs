//! Finds the starting points that could serve: git's history on one side, the store's points on the other.

use std::collections::BTreeSet;

use anyhow::ensure;

use super::sources::{Candidate, NoStart, Sources};
use super::{Setup, short};
use crate::cargo::CargoCommand;
use crate::git::{GitError, Repository};
use crate::model::Part;
use crate::report::count;
use crate::store::Point;

/// How far back in history a starting point is looked for at first, and at last.
const NEAR_ANCESTORS: usize = 64;
const MAX_ANCESTORS: usize = 2000;
/// How many starting points are compared; the nearest few differ by what changed between them.
const MAX_CANDIDATES: usize = 3;
/// Of how many commits it may turn out that their starting points cannot be used: each is asked for, and said to be of no use.
const MAX_REFUSED: usize = 8;

/// Why there is none where some were published.
const UNUSABLE: &str = "none of the manifests can be used";

/// Where and from what a starting point is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    /// The workspace and what builds it.
    pub(super) setup: &'a Setup,
    /// Where to look.
    pub(super) sources: &'a Sources<'a>,
}

/// What was found of some kind, and of how many commits it is.
#[derive(Default)]
struct Found {
    candidates: Vec<Candidate>,
    commits: usize,
}

impl Search<'_> {
    /// Returns the starting points of the nearest commits that have any which can be used here, nearest first: of those that have what is
    /// built here, if there are any. Fails with [`NoStart`] where there is none.
    pub(super) fn candidates(&self) -> anyhow::Result<Vec<Candidate>> {
        let sources = self.sources;
        if let Some(name) = &sources.args.manifest {
            let candidates = sources.candidates(vec![self.named(name)?]);
            ensure!(!candidates.is_empty(), NoStart(UNUSABLE.to_owned()));
            return Ok(candidates);
        }
        let (mut found, mut others) = (Found::default(), Found::default());
        let (mut looked_at, mut refused) = (0, 0);
        let mut other_toolchain: Option<Point> = None;
        // Most often it is near, and a long history takes git a while.
        for limit in [NEAR_ANCESTORS, MAX_ANCESTORS] {
            let commits = self.commits(limit)?;
            for (at, commit) in commits.iter().enumerate().skip(looked_at) {
                let of_part = sources.points(commit).into_iter();
                let of_part = of_part.filter(|point| point.part == self.setup.part);
                let (ours, theirs): (Vec<Point>, Vec<Point>) =
                    of_part.partition(|point| point.toolchain == self.setup.toolchain);
                other_toolchain = other_toolchain.or_else(|| theirs.into_iter().next());
                let all = match ours.iter().any(|point| self.serves(point)) {
                    true => &mut found,
                    false => &mut others,
                };
                // What is here need not be asked for.
                let hopeless = refused >= MAX_REFUSED
                    && !ours.iter().any(|point| sources.is_whole(point.manifest));
                if ours.is_empty() || all.commits == MAX_CANDIDATES || hopeless {
                    continue;
                }
                let usable = sources.candidates(ours);
                refused += usize::from(usable.is_empty());
                all.commits += usize::from(!usable.is_empty());
                all.candidates.extend(usable);
                if found.commits == MAX_CANDIDATES || (at == 0 && found.commits > 0) {
                    return Ok(found.candidates);
                }
            }
            looked_at = commits.len();
            if looked_at < limit || found.commits + others.commits > 0 {
                break;
            }
        }
        match [found, others].into_iter().find(|all| all.commits > 0) {
            Some(nearest) => Ok(nearest.candidates),
            None if refused > 0 => Err(NoStart(UNUSABLE.to_owned()).into()),
            None => Err(self.why_none(looked_at, other_toolchain).into()),
        }
    }

    /// Tells whether `point` has what is to be built here, as far as that was said.
    fn serves(&self, point: &Point) -> bool {
        let args = &self.sources.args.cargo;
        let is_there = |one: &CargoCommand| point.commands.contains(&one.args);
        args.is_empty() || CargoCommand::split(args).iter().all(is_there)
    }

    /// Returns the point whose manifest's name begins with `name`.
    fn named(&self, name: &str) -> Result<Point, NoStart> {
        let listed = self.sources.listed.iter();
        let far = listed.map(|listed| listed.entry.point.clone());
        let all = self.sources.store.all_points().into_iter().chain(far);
        let of_part = all.filter(|point| point.part == self.setup.part);
        let mut found = of_part.filter(|point| point.manifest.hex().starts_with(name));
        let unknown = || NoStart(format!("there is no starting point named {name}"));
        let first = found.next().ok_or_else(unknown)?;
        let ours = |point: &Point| point.toolchain == self.setup.toolchain;
        match ours(&first) {
            true => Ok(first),
            false => found.find(ours).ok_or_else(|| self.why_other(&first)),
        }
    }

    /// Returns the parts of this repository that have starting points of the nearest commits that have any.
    pub(super) fn parts(&self) -> anyhow::Result<BTreeSet<Part>> {
        let apart = |commit: &String| -> BTreeSet<Part> {
            let points = self.sources.points(commit).into_iter();
            let ours = points.filter(|point| point.toolchain == self.setup.toolchain);
            let all = ours.map(|point| point.part);
            all.filter(|part| !part.target_dir.is_empty()).collect()
        };
        let commits = self.commits(MAX_ANCESTORS)?;
        let found = commits.iter().map(apart).filter(|parts| !parts.is_empty());
        Ok(found.take(MAX_CANDIDATES).flatten().collect())
    }

    fn repository(&self) -> Result<Repository, GitError> {
        // Asked once more, it says why there is none.
        let again = || {
            let Sources { args, call, .. } = self.sources;
            let command = CargoCommand::split(&args.cargo).swap_remove(0);
            Repository::discover(&command.looks_from(&call.environment.dir))
        };
        self.setup.repository.clone().map_or_else(again, Ok)
    }

    /// Returns the commits to look at, nearest first, at most `limit`.
    fn commits(&self, limit: usize) -> anyhow::Result<Vec<String>> {
        let given = self.sources.args.commit.as_deref();
        let repository = match (self.repository(), given) {
            (Err(_), Some(commit)) if is_full_id(commit) => return Ok(vec![commit.to_owned()]),
            (repository, _) => repository?,
        };
        let named = |revision| repository.commit(revision);
        let from = given.map_or(Ok("HEAD".to_owned()), named)?;
        let ancestors = repository.ancestors(&from, limit);
        // Without any commit, git's own words are of a revision that is ambiguous.
        Ok(ancestors.or_else(|error| repository.commit(&from).and(Err(error)))?)
    }

    fn why_none(&self, commits: usize, other_toolchain: Option<Point>) -> NoStart {
        if let Some(point) = other_toolchain {
            return self.why_other(&point);
        }
        let note = match self.repository().is_ok_and(|one| one.is_shallow()) {
            true => " (a shallow clone; `git fetch --deepen 50` shows more)",
            false => "",
        };
        let commits = count(commits, "commit");
        let far = &self.sources.far.tiers;
        let or = if far.is_empty() { "" } else { " or a remote" };
        let to = format!("{}{or}", self.sources.store.root().display());
        NoStart(format!("none of {commits}{note} was published to {to}"))
    }

    fn why_other(&self, point: &Point) -> NoStart {
        let (commit, theirs) = (short(&point.commit), point.toolchain.shown());
        let ours = self.setup.toolchain.shown();
        let why = format!("{commit} was published for {theirs}, and here is {ours}");
        NoStart(why)
    }

    /// Returns how many commits `commit` lies behind; none where git cannot say.
    pub(super) fn behind(&self, commit: &str) -> Option<usize> {
        let from = self.sources.args.commit.as_deref().unwrap_or("HEAD");
        self.repository().ok()?.distance(commit, from).ok()
    }
}

fn is_full_id(commit: &str) -> bool {
    matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}
