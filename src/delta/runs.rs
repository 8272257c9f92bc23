//! Positions in a base as runs of consecutive ones, since most of what is in order there is in order here.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The position of what the base does not have.
pub(super) const NEW: u32 = u32::MAX;

/// Sequences of positions, as runs of consecutive ones and counts of [`NEW`] before each.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Runs {
    pub(super) new: Vec<u32>,
    /// Where the run begins, from the end of the one before in the same sequence.
    pub(super) jumps: Vec<i32>,
    pub(super) lengths: Vec<u32>,
}

impl Runs {
    /// Adds the sequence `places`, and returns of how many runs it is.
    pub(super) fn add(&mut self, places: &[u32]) -> u32 {
        let (mut rest, mut expected, mut runs) = (places, 0, 0);
        while !rest.is_empty() {
            let new = rest.iter().take_while(|place| **place == NEW).count();
            rest = &rest[new..];
            let start = rest.first().copied().unwrap_or(expected);
            let run = rest.iter().zip(start..NEW);
            let length = run.take_while(|(place, next)| **place == *next).count();
            rest = &rest[length..];
            self.new.push(to_u32(new));
            self.jumps.push(start.wrapping_sub(expected).cast_signed());
            self.lengths.push(to_u32(length));
            expected = start + to_u32(length);
            runs += 1;
        }
        runs
    }

    /// Returns what reads one run after the other: how many new ones come first, and the run behind them. What it is given
    /// is the end of the run before, and then of this one.
    pub(super) fn read(self) -> impl FnMut(&mut u32) -> Option<(u32, Range<usize>)> {
        let mut columns = self.new.into_iter().zip(self.jumps).zip(self.lengths);
        move |end| {
            let ((new, jump), length) = columns.next()?;
            let start = end.wrapping_add(jump.cast_unsigned());
            *end = start.checked_add(length)?;
            Some((new, start as usize..*end as usize))
        }
    }

    /// Returns all of it as one sequence of at most `most` positions below `count`.
    pub(super) fn places(self, count: u32, most: usize) -> Option<Vec<u32>> {
        let (runs, mut end, mut places) = (self.lengths.len(), 0, Vec::new());
        let mut next_run = self.read();
        for _ in 0..runs {
            let (new, run) = next_run(&mut end)?;
            if run.end > count as usize || places.len() + new as usize + run.len() > most {
                return None;
            }
            places.extend(std::iter::repeat_n(NEW, new as usize));
            places.extend(to_u32(run.start)..to_u32(run.end));
        }
        Some(places)
    }
}

/// Returns a count or a position of what there are fewer than 2^32 of, in a file or a manifest.
pub(super) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("there are fewer than 2^32 of them")
}
