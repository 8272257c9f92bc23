//! Picks the session that rustc could reuse most of.
//!
//! Knows nothing of disks or stores: it ranks what it is given.
//! Rule: the choice affects compile time only, never outputs (invariant 5).

/// How a session's past compares with what will be compiled now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Similarity {
    /// How many of the unit's own inputs differ.
    pub changed_inputs: usize,
    /// How many it has.
    pub inputs: usize,
    /// How many of the units that it depends on directly are other ones.
    pub changed_deps: usize,
    /// How many there are.
    pub deps: usize,
}

impl Similarity {
    /// Returns the estimated part of the unit that is compiled again, in thousandths.
    ///
    /// Files and dependencies count by number, and each half: what changed in them is not known before rustc looks,
    /// and most changes leave most of a file, and what others see of a crate, as it was.
    pub fn recompiled(&self) -> u64 {
        let kept = |changed: usize, all: usize| {
            let changed = 1000 * changed as u64 / (all as u64).max(1);
            1000 - changed.min(1000) / 2
        };
        let own = kept(self.changed_inputs, self.inputs);
        1000 - own * kept(self.changed_deps, self.deps) / 1000
    }
}

/// Returns the position of the candidate of which the least is compiled again; ties go to the first, so the nearest
/// commit stands first. None where there is no candidate.
pub fn choose(candidates: &[Similarity]) -> Option<usize> {
    (0..candidates.len()).min_by_key(|at| (candidates[*at].recompiled(), *at))
}

/// Tells whether `candidate` is clearly better than a session of rustc's own, which else stays: by a tenth of the unit
/// at least, for replacing it costs the placing of files.
pub fn replaces(candidate: &Similarity, own: &Similarity) -> bool {
    candidate.recompiled() + 100 <= own.recompiled()
}

#[cfg(test)]
mod tests {
    use super::{Similarity, choose, replaces};

    fn similar(changed_inputs: usize, changed_deps: usize) -> Similarity {
        Similarity {
            changed_inputs,
            inputs: 10,
            changed_deps,
            deps: 4,
        }
    }

    /// The newest commit may have been the one that was reverted: its session knows less of what is here.
    #[test]
    fn content_counts_more_than_age() {
        assert_eq!(choose(&[similar(3, 0), similar(1, 0)]), Some(1));
        assert_eq!(choose(&[similar(1, 2), similar(1, 0)]), Some(1));
        assert_eq!(choose(&[similar(1, 1), similar(1, 1)]), Some(0));
        assert_eq!(choose(&[]), None);
    }

    /// A session of rustc's own that is about as good must not be lost, nor paid for.
    #[test]
    fn ones_own_session_stays_unless_it_is_clearly_worse() {
        assert!(!replaces(&similar(0, 0), &similar(0, 0)));
        assert!(!replaces(&similar(1, 0), &similar(2, 0)));
        assert!(replaces(&similar(0, 0), &similar(9, 4)));
        assert!(!replaces(&similar(9, 4), &similar(0, 0)));
    }

    /// A unit without inputs or dependencies must not divide by nothing.
    #[test]
    fn nothing_is_the_same_as_nothing() {
        assert_eq!(Similarity::default().recompiled(), 0);
    }
}
