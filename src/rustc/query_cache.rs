//! Where the results lie in a session's `query-cache.bin`, and the numbers in it.
//!
//! Knows nothing of what a result is. A file whose index does not add up is none of this form. Source: rustc:
//! rustc_middle/src/query/on_disk_cache.rs @ 1.95.

use std::ops::Range;

use super::dep_graph;

/// The tag of the part that says where everything is.
const FOOTER: u128 = 0xC0FFEE_C0FFEE_C0FFEE_C0FFEE_C0FFEE;
/// How many bytes name a source file, the likeliest first.
const FILE_NAME_BYTES: [usize; 3] = [24, 16, 32];
/// How much larger than the position a number is that refers to a type.
pub const TYPE_OFFSET: u32 = 0x80;
/// The fewest bytes of a number that is looked at: smaller ones are seldom positions.
const MIN_NUMBER_BYTES: usize = 3;
/// The most: four hold 2^28.
const MAX_NUMBER_BYTES: usize = 4;

/// A query cache, read.
#[derive(Debug)]
pub struct QueryCache<'a> {
    /// The whole file.
    pub bytes: &'a [u8],
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

impl<'a> QueryCache<'a> {
    /// Returns the query cache `bytes`; none if it is none, of a form that is not known, or without results.
    pub fn read(bytes: &'a [u8]) -> Option<QueryCache<'a>> {
        dep_graph::header(bytes)?;
        let (_, footer) = bytes.strip_suffix(dep_graph::END)?.split_last_chunk()?;
        let footer = usize::try_from(u64::from_le_bytes(*footer)).ok()?;
        let mut files = footer;
        (number(bytes, &mut files)? == FOOTER).then_some(())?;
        let with = |name_bytes: usize| QueryCache::with(bytes, footer, files, name_bytes);
        FILE_NAME_BYTES.into_iter().find_map(with)
    }

    /// Reads the lists behind the position `at`: of files, of results, of what was said, and of allocations.
    fn with(
        bytes: &'a [u8],
        footer: usize,
        mut at: usize,
        name_bytes: usize,
    ) -> Option<QueryCache<'a>> {
        for _ in 0..number(bytes, &mut at)? {
            number(bytes, &mut at)?;
            at = at.checked_add(name_bytes)?;
        }
        let begun = at;
        let results = pairs(bytes, &mut at)?;
        let index = begun..at;
        let said = pairs(bytes, &mut at)?;
        let behind = match (said.first(), number(bytes, &mut at)?) {
            (Some((_, position)), _) => *position,
            (None, 0) => u32::try_from(footer).ok()?,
            (None, _) => u32::try_from(number(bytes, &mut at)?).ok()?,
        };
        let positions = results.iter().map(|(_, position)| *position);
        let in_order = positions
            .chain([behind])
            .is_sorted_by(|one, next| one < next);
        if !in_order || behind as usize > footer || results.is_empty() {
            return None;
        }
        let stored = |(node, position): (u32, u32)| {
            let mut start = position as usize;
            let is_there = number(bytes, &mut start)? == u128::from(node);
            let start = u32::try_from(start).ok()?;
            is_there.then_some(Stored { node, start })
        };
        Some(QueryCache {
            bytes,
            results: results.into_iter().map(stored).collect::<Option<_>>()?,
            end: behind as usize,
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

    /// Returns the numbers of `part` of the file that may be positions in it: where they are, and which.
    pub fn numbers(&self, part: Range<usize>) -> impl Iterator<Item = (Range<usize>, u32)> + '_ {
        let largest = u32::try_from(self.bytes.len()).map_or(u32::MAX, |size| size + TYPE_OFFSET);
        let mut begun = part.start;
        let ends = part.filter(|at| self.bytes[*at] < 0x80);
        ends.filter_map(move |end| {
            let run = begun..end + 1;
            begun = end + 1;
            // What a hash in front ends with may look like the beginning of it.
            let sizes = (MIN_NUMBER_BYTES..=MAX_NUMBER_BYTES.min(run.len())).rev();
            sizes
                .map(|size| run.end - size..run.end)
                .map(|place| (place.clone(), small(&self.bytes[place])))
                .find(|(_, number)| *number <= largest)
        })
    }
}

impl Stored {
    /// Returns where it begins, with its node.
    pub fn begin(&self) -> u32 {
        self.start - size(self.node)
    }
}

/// Returns the number that `bytes` are, at most four.
pub fn small(bytes: &[u8]) -> u32 {
    let digits = bytes.iter().rev().map(|byte| u32::from(byte & 0x7f));
    digits.fold(0, |number, digit| number << 7 | digit)
}

/// Returns how many bytes `number` takes.
pub fn size(number: u32) -> u32 {
    (32 - number.leading_zeros()).div_ceil(7).max(1)
}

/// Writes `number`, in seven bits a byte.
pub fn write(bytes: &mut Vec<u8>, number: u32) {
    let mut rest = number;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// Reads a number at `at`, and moves that behind it.
fn number(bytes: &[u8], at: &mut usize) -> Option<u128> {
    let mut number = 0;
    for shift in (0..126).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Reads a list of nodes and positions.
fn pairs(bytes: &[u8], at: &mut usize) -> Option<Vec<(u32, u32)>> {
    let count = number(bytes, at)?;
    let mut pairs = Vec::new();
    while (pairs.len() as u128) < count {
        let node = u32::try_from(number(bytes, at)?).ok()?;
        pairs.push((node, u32::try_from(number(bytes, at)?).ok()?));
    }
    Some(pairs)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{QueryCache, small, write};
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
        write(&mut index, 0);
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
        write(&mut bytes, 2);
        for file in [0, 1] {
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
            let read = QueryCache::read(&bytes).unwrap();
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
        assert!(QueryCache::read(&whole).is_some());
        for size in 0..whole.len() {
            assert!(QueryCache::read(&whole[..size]).is_none(), "{size}");
            assert!(QueryCache::read(&whole[whole.len() - size..]).is_none());
        }
        assert!(QueryCache::read(&cache(&[], 1)).is_none());
    }

    /// A position would stay as it was, or a hash be taken for one.
    #[test]
    fn numbers_are_found_behind_hashes() {
        let mut body = vec![1, 2, 0xff, 0xfe, 0xff];
        write(&mut body, 20_000);
        body.extend([3, 0x80, 0x01]);
        let mut bytes = cache(&[(1, body.clone()), (2, vec![0; 30_000])], 0);
        let read = QueryCache::read(&bytes).unwrap();
        let body = read.body(0);
        let numbers: Vec<_> = read.numbers(body.clone()).collect();
        assert_eq!(numbers, [(body.start + 5..body.start + 8, 20_000)]);
        assert_eq!(small(&bytes[numbers[0].0.clone()]), 20_000);
        bytes[body.start + 7] = 0xff;
        let read = QueryCache::read(&bytes).unwrap();
        assert_eq!(read.numbers(body).count(), 0);
    }

    proptest! {
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
            if let Some(read) = QueryCache::read(&bytes) {
                let bodies = (0..read.results.len()).map(|at| read.body(at));
                prop_assert!(bodies.map(|body| read.numbers(body).count()).sum::<usize>() <= bytes.len());
            }
        }
    }
}
