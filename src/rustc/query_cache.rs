//! Where the results lie in a session's `query-cache.bin`, and the numbers in it.
//!
//! Knows nothing of what a result is. A file whose index does not add up is none of this form. Source: rustc:
//! rustc_middle/src/query/on_disk_cache.rs @ 1.95.

use std::ops::Range;

use super::{dep_graph, leb128};

/// The tag of the part that says where everything is.
const FOOTER: u128 = 0xC0FFEE_C0FFEE_C0FFEE_C0FFEE_C0FFEE;
/// How many bytes name a source file, the likeliest first.
const FILE_NAME_BYTES: [usize; 3] = [24, 16, 32];
/// How much larger than the position a number is that refers to a type.
pub const TYPE_OFFSET: u32 = 0x80;
/// The fewest bytes of a number that is looked at: smaller ones are seldom positions. The most are one more, which hold 2^28.
const MIN_NUMBER_BYTES: usize = 3;

/// A query cache, read.
#[derive(Debug)]
pub struct QueryCache {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// The results, one behind the other from the first one on.
    pub results: Vec<Stored>,
    /// Where the last of them ends.
    pub end: usize,
    /// Where the part begins that says where everything is.
    pub footer: usize,
    /// The bytes in that part which say where results are: their count, and node and position of each.
    pub index: Range<usize>,
}

/// A stored result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The node whose result it is, by its position in the dep-graph of the same session. It is written in front.
    pub node: u32,
    /// Where what comes behind the node begins.
    pub start: u32,
}

impl QueryCache {
    /// Returns the query cache `bytes`; none if it is none, of a form that is not known, or without results.
    pub fn read(bytes: Vec<u8>) -> Option<QueryCache> {
        dep_graph::header(&bytes)?;
        let (_, footer) = bytes.strip_suffix(dep_graph::END)?.split_last_chunk()?;
        let footer = usize::try_from(u64::from_le_bytes(*footer)).ok()?;
        let mut files = footer;
        (leb128::read(&bytes, &mut files)? == FOOTER).then_some(())?;
        let with = |name_bytes: usize| QueryCache::with(&bytes, footer, files, name_bytes);
        let read = FILE_NAME_BYTES.into_iter().find_map(with)?;
        Some(QueryCache { bytes, ..read })
    }

    /// Reads the lists behind the position `at`: of files, of results, of what was said, and of allocations. Returns all but the bytes.
    fn with(bytes: &[u8], footer: usize, mut at: usize, name_bytes: usize) -> Option<QueryCache> {
        for _ in 0..leb128::read(bytes, &mut at)? {
            leb128::read(bytes, &mut at)?;
            at = at.checked_add(name_bytes)?;
        }
        let begun = at;
        let mut results: Vec<Stored> = Vec::new();
        for _ in 0..leb128::read(bytes, &mut at)? {
            let node = u32::try_from(leb128::read(bytes, &mut at)?).ok()?;
            let position = position(bytes, &mut at)?;
            let is_behind = results.last().is_none_or(|last| last.start <= position);
            let mut end = position as usize;
            let is_there = leb128::read(bytes, &mut end)? == u128::from(node);
            let start = position.checked_add(leb128::size(node))?;
            if !is_behind || !is_there || start as usize != end {
                return None;
            }
            results.push(Stored { node, start });
        }
        let index = begun..at;
        // What was said, and allocations: where the first of them is.
        let first = leb128::read(bytes, &mut at)?;
        let end = match (first, leb128::read(bytes, &mut at)?) {
            (0, 0) => footer,
            _ => position(bytes, &mut at)? as usize,
        };
        let last = results.last()?.start as usize;
        (last <= end && end <= footer && footer <= begun).then_some(QueryCache {
            bytes: Vec::new(),
            results,
            end,
            footer,
            index,
        })
    }

    /// Returns where the file's first result begins, with its node.
    pub fn begin(&self) -> usize {
        self.results[0].begin() as usize
    }

    /// Returns what comes behind the node of the result at `place`.
    pub fn body(&self, place: usize) -> Range<usize> {
        let end = match self.results.get(place + 1) {
            Some(next) => next.begin() as usize,
            None => self.end,
        };
        self.results[place].start as usize..end
    }

    /// Returns the largest number that may be a position.
    pub fn largest(&self) -> u32 {
        let size_bytes = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        size_bytes.saturating_add(TYPE_OFFSET)
    }

    /// Returns the numbers of `part` of the file that may be positions in it: where they are, and which.
    pub fn numbers(&self, part: Range<usize>) -> impl Iterator<Item = (Range<usize>, u32)> + '_ {
        let largest = self.largest();
        let (start, bytes) = (part.start, &self.bytes[part]);
        ends(bytes).filter_map(move |last| {
            let is_longer = last
                .checked_sub(MIN_NUMBER_BYTES)
                .is_some_and(|before| bytes[before] >= 0x80);
            let of = |size: usize| {
                let place = last + 1 - size..last + 1;
                let number = small(&bytes[place.clone()]);
                let number = number.filter(|number| *number <= largest)?;
                Some((start + place.start..start + place.end, number))
            };
            // What a hash in front ends with may look like the beginning of it.
            let longer = is_longer.then(|| of(MIN_NUMBER_BYTES + 1)).flatten();
            longer.or_else(|| of(MIN_NUMBER_BYTES))
        })
    }
}

/// Returns where in `bytes` numbers of [`MIN_NUMBER_BYTES`] or more end: a byte below 0x80 behind two that are not. Eight bytes are
/// looked at together.
fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (mut words, mut at, mut left, mut last) = (bytes.chunks(8), 0, 0_u64, 0);
    std::iter::from_fn(move || {
        while left == 0 {
            let bytes = words.next()?;
            // What is behind the last one ends nothing.
            let word = bytes.try_into().unwrap_or_else(|_| {
                let mut word = [0x80; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                word
            });
            let high = u64::from_le_bytes(word) & HIGH;
            left = !high & HIGH & (high << 8 | last >> 56) & (high << 16 | last >> 48);
            (last, at) = (high, at + 8);
        }
        let lane = left.trailing_zeros() as usize / 8;
        left &= left - 1;
        Some(at - 8 + lane)
    })
}

impl Stored {
    /// Returns where it begins, with its node.
    pub fn begin(&self) -> u32 {
        self.start - leb128::size(self.node)
    }
}

/// Returns the number that `bytes` are, at most four; none if they are not as rustc writes one.
#[inline]
pub fn small(bytes: &[u8]) -> Option<u32> {
    let (last, others) = bytes.split_last()?;
    let is_one = (1..0x80).contains(last) && others.iter().all(|byte| *byte >= 0x80);
    let digits = bytes.iter().rev().map(|byte| u32::from(byte & 0x7f));
    is_one.then(|| digits.fold(0, |number, digit| number << 7 | digit))
}

/// Reads a position.
fn position(bytes: &[u8], at: &mut usize) -> Option<u32> {
    u32::try_from(leb128::read(bytes, at)?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::leb128::write;
    use super::{QueryCache, ends, small};
    use proptest::prelude::*;

    /// How many bytes stand before the first result.
    pub(crate) const HEADER_BYTES: u32 = 21;

    /// Returns a query cache with the results `all`, each a node and what is stored of it, as rustc 1.95 writes it: with so many
    /// allocations, and the same names of files.
    pub(crate) fn cache(all: &[(u32, Vec<u8>)], allocations: u32) -> Vec<u8> {
        let mut bytes = b"RSIC\0\0\x061.95.0argshash".to_vec();
        let mut index = Vec::new();
        write(&mut index, u32::try_from(all.len()).unwrap());
        for (node, body) in all {
            write(&mut index, *node);
            write(&mut index, u32::try_from(bytes.len()).unwrap());
            write(&mut bytes, *node);
            bytes.extend(body);
        }
        write(&mut index, 0_u32);
        write(&mut index, allocations);
        for allocation in 0..allocations {
            write(&mut index, u32::try_from(bytes.len()).unwrap());
            bytes.extend(allocation.to_le_bytes());
        }
        let footer = bytes.len() as u64;
        let mut tag = super::FOOTER;
        while tag >= 0x80 {
            bytes.push(tag as u8 | 0x80);
            tag >>= 7;
        }
        bytes.push(tag as u8);
        write(&mut bytes, 2_u32);
        for file in [0_u32, 1] {
            write(&mut bytes, file);
            bytes.extend([7; 24]);
        }
        bytes.extend(index);
        bytes.extend(footer.to_le_bytes());
        bytes.extend(b"rust-end-file");
        bytes
    }

    /// A result would be taken for a part of the one before, or of what follows.
    #[test]
    fn results_are_where_the_index_says() {
        let results = [(5, vec![1, 2, 3]), (300, vec![]), (2, vec![9; 40])];
        for allocations in [0, 3] {
            let bytes = cache(&results, allocations);
            let read = QueryCache::read(bytes.clone()).unwrap();
            for (at, (node, body)) in results.iter().enumerate() {
                assert_eq!(read.results[at].node, *node);
                assert_eq!(bytes[read.body(at)], body[..]);
            }
            assert_eq!(read.begin(), HEADER_BYTES as usize);
            assert_eq!(read.footer - read.end, allocations as usize * 4);
            let begun = read.results[0].begin() as usize;
            assert_eq!(bytes[begun], 5);
            assert_eq!(bytes[read.index.start], 3);
        }
    }

    /// A file of another kind must be left to others.
    #[test]
    fn other_files_have_no_results() {
        let whole = cache(&[(5, vec![1]), (6, vec![2])], 1);
        assert!(QueryCache::read(whole.clone()).is_some());
        for size in 0..whole.len() {
            assert!(QueryCache::read(whole[..size].to_vec()).is_none(), "{size}");
            assert!(QueryCache::read(whole[whole.len() - size..].to_vec()).is_none());
        }
        assert!(QueryCache::read(cache(&[], 1)).is_none());
    }

    /// A part from behind the end to before the beginning would end whoever reads it.
    #[test]
    fn results_do_not_overlap() {
        let all = [(5, vec![1, 2]), (300, vec![3]), (2, vec![9; 40])];
        let whole = cache(&all, 0);
        let index = QueryCache::read(whole.clone()).unwrap().index;
        // The second where the first is, within the second, and its node in more bytes than it takes.
        assert_eq!(whole[index.start + 3..index.start + 6], [0xac, 2, 24]);
        for position in [21, 25, 26, 127] {
            let mut damaged = whole.clone();
            damaged[index.start + 5] = position;
            assert!(QueryCache::read(damaged).is_none(), "{position}");
        }
        let mut longer = cache(&[(5, vec![1, 2]), (44, vec![0x80, 3])], 0);
        let index = QueryCache::read(longer.clone()).unwrap().index;
        longer[24] |= 0x80;
        longer[25] = 0;
        assert_eq!(longer[index.start + 3], 44);
        assert!(QueryCache::read(longer).is_none());
    }

    /// A position would stay as it was, or a hash be taken for one.
    #[test]
    fn numbers_are_found_behind_hashes() {
        let mut body = vec![1, 2, 0xff, 0xfe, 0xff];
        write(&mut body, 20_000_u32);
        body.extend([3, 0x80, 0x01]);
        let mut bytes = cache(&[(1, body.clone()), (2, vec![0; 30_000])], 0);
        let read = QueryCache::read(bytes.clone()).unwrap();
        let body = read.body(0);
        let numbers: Vec<_> = read.numbers(body.clone()).collect();
        assert_eq!(numbers, [(body.start + 5..body.start + 8, 20_000)]);
        assert_eq!(small(&bytes[numbers[0].0.clone()]), Some(20_000));
        bytes[body.start + 7] = 0xff;
        let read = QueryCache::read(bytes.clone()).unwrap();
        assert_eq!(read.numbers(body).count(), 0);
    }

    proptest! {
        /// A delta that was made with other numbers would make another file, which nobody could use.
        #[test]
        fn ends_are_found_eight_at_a_time(
            bytes in prop::collection::vec(prop::sample::select(&[0, 1, 0x7f, 0x80, 0xff][..]), 0..60),
        ) {
            let is_end = |at: &usize| {
                let run = bytes[..*at].iter().rev().take_while(|byte| **byte >= 0x80);
                bytes[*at] < 0x80 && run.count() >= 2
            };
            let expected: Vec<usize> = (0..bytes.len()).filter(is_end).collect();
            prop_assert_eq!(ends(&bytes).collect::<Vec<_>>(), expected);
        }

        /// What is not signed may be anything.
        #[test]
        fn damaged_caches_are_read_or_not(
            results in prop::collection::vec((0u32..70_000, prop::collection::vec(any::<u8>(), 0..40)), 1..20),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        ) {
            let mut bytes = cache(&results, 2);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(read) = QueryCache::read(bytes.clone()) {
                let bodies = (0..read.results.len()).map(|at| bytes[read.body(at)].len());
                prop_assert!(bodies.sum::<usize>() <= bytes.len());
            }
        }
    }
}
