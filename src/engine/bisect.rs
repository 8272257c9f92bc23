//! Which commit is judged next on the way to the first bad one, from the verdicts so far.
//!
//! Pure: knows nothing of git, of what is published, or of how a commit is judged.

use serde::{Deserialize, Serialize};

/// What was found out about one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is not broken yet.
    #[error("good")]
    Good,
    /// It is broken.
    #[error("bad")]
    Bad,
    /// It cannot be told.
    #[error("skipped")]
    Skipped,
}

/// A commit on the line from a good one to a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Whether it can be judged.
    pub askable: bool,
    /// What is known of it.
    pub verdict: Option<Verdict>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Judge the commit at this position.
    Ask(usize),
    /// The commit at this end of the line is not what it was taken for.
    WrongEnd(usize),
    /// All that can be known is: this one is good, that one is bad, and nothing can be told of those between.
    Between(Answer),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The last good commit.
    pub good: usize,
    /// The first bad one.
    pub bad: usize,
}

/// Returns what is to be done next on `line`: oldest first, at least two, its ends taken for good and for bad.
///
/// Ends that can be judged are judged first: a command that fails for a reason of its own would lead anywhere.
pub fn next(line: &[Commit]) -> Next {
    let last = line.len() - 1;
    for (end, wrong) in [(last, Verdict::Good), (0, Verdict::Bad)] {
        match line[end].verdict {
            Some(verdict) if verdict == wrong => return Next::WrongEnd(end),
            None if line[end].askable => return Next::Ask(end),
            _ => {}
        }
    }
    let is = |at: &usize, verdict| line[*at].verdict == Some(verdict);
    let bad = (1..last).find(|at| is(at, Verdict::Bad)).unwrap_or(last);
    let good = (1..bad).rev().find(|at| is(at, Verdict::Good)).unwrap_or(0);
    let between = good + 1..bad;
    let skipped = between.clone().filter(|at| is(at, Verdict::Skipped));
    let skipped = skipped.count();
    let open = |at: &usize| line[*at].askable && line[*at].verdict.is_none();
    let open: Vec<usize> = between.filter(open).collect();
    match open.get(part(skipped, open.len())) {
        Some(at) => Next::Ask(*at),
        None => Next::Between(Answer { good, bad }),
    }
}

/// Returns the position of the middle of `length`; after `skipped` fruitless ones 1/4, 3/4, 1/8, 5/8, ... of it, so that a
/// run of commits that cannot be judged is left behind, however long it is.
///
/// Source: van der Corput's sequence.
fn part(skipped: usize, length: usize) -> usize {
    let nth = u32::try_from(skipped + 1).unwrap_or(u32::MAX);
    let parts = u64::from(nth.reverse_bits());
    usize::try_from((parts * length as u64) >> u32::BITS).expect("less than `length`")
}

#[cfg(test)]
mod tests {
    use super::{Answer, Commit, Next, Verdict, next};
    use proptest::prelude::*;

    /// Judges commits of `kinds` until there is an answer; from `broken` on they are bad. Returns it, with how many were judged.
    fn bisect(kinds: &[Kind], broken: usize) -> (usize, usize, usize) {
        let commit = |kind: &Kind| Commit {
            askable: *kind != Kind::Unpublished,
            verdict: None,
        };
        let mut line: Vec<Commit> = kinds.iter().map(commit).collect();
        for judged in 0..=line.len() {
            match next(&line) {
                Next::Ask(at) => {
                    assert!(line[at].askable && line[at].verdict.is_none(), "{at} again");
                    line[at].verdict = Some(match kinds[at] {
                        Kind::Fails => Verdict::Skipped,
                        _ if at < broken => Verdict::Good,
                        _ => Verdict::Bad,
                    });
                }
                Next::Between(Answer { good, bad }) => return (good, bad, judged),
                wrong => panic!("{wrong:?}"),
            }
        }
        panic!("it does not end");
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        Works,
        Fails,
        Unpublished,
    }

    fn lines() -> impl Strategy<Value = (Vec<Kind>, usize)> {
        let kind = prop_oneof![4 => Just(Kind::Works), 1 => Just(Kind::Fails), 2 => Just(Kind::Unpublished)];
        let line = prop::collection::vec(kind, 2..300);
        line.prop_flat_map(|line| (1..line.len()).prop_map(move |broken| (line.clone(), broken)))
    }

    proptest! {
        /// The wrong commit would be blamed, or one that was never judged be passed over.
        #[test]
        fn the_first_bad_one_is_found_wherever_it_is((kinds, broken) in lines()) {
            let (good, bad, _) = bisect(&kinds, broken);
            prop_assert!(good < broken && broken <= bad);
            prop_assert!(kinds[good + 1..bad].iter().all(|kind| *kind != Kind::Works));
            let judged = |at: usize| kinds[at] == Kind::Works;
            prop_assert!((good == 0 || judged(good)) && (bad == kinds.len() - 1 || judged(bad)));
        }

        /// A bisect would run the user's command more often than it must.
        #[test]
        fn each_step_halves_what_is_left(length in 2_usize..2000, broken in 1_usize..2000) {
            let broken = broken.min(length - 1);
            let (good, bad, judged) = bisect(&vec![Kind::Works; length], broken);
            prop_assert_eq!((good, bad), (broken - 1, broken));
            let most = usize::BITS - (length - 1).leading_zeros() + 2;
            prop_assert!(judged <= most as usize, "{} of {}", judged, length);
        }
    }

    /// Half a history that does not build would be walked through commit by commit.
    #[test]
    fn a_long_run_of_skipped_ones_is_left_behind() {
        for broken in [20, 980] {
            let mut kinds = vec![Kind::Works; 1000];
            kinds[100..900].fill(Kind::Fails);
            let (good, bad, judged) = bisect(&kinds, broken);
            assert_eq!((good, bad), (broken - 1, broken));
            assert!(judged < 30, "{judged}");
        }
    }

    /// A command that fails everywhere, or nowhere, would end with an innocent commit.
    #[test]
    fn ends_that_are_not_what_they_are_taken_for_are_told() {
        let known = |verdict| Commit {
            askable: true,
            verdict,
        };
        let (good, bad) = (known(Some(Verdict::Good)), known(Some(Verdict::Bad)));
        assert_eq!(next(&[known(None), good]), Next::WrongEnd(1));
        assert_eq!(next(&[bad, bad]), Next::WrongEnd(0));
        assert_eq!(next(&[good, known(None)]), Next::Ask(1));
        let unknown = Commit {
            askable: false,
            verdict: None,
        };
        let adjacent = Next::Between(Answer { good: 0, bad: 1 });
        assert_eq!(next(&[unknown, unknown]), adjacent);
    }
}
