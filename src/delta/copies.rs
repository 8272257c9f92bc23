//! Bytes as what differs from others in which much of them lies elsewhere, with other numbers in it: a program whose functions
//! moved.
//!
//! What is alike is copied, and what of that is another byte is said by how much: an address that moved differs by as
//! much as its neighbours, so these differences are few and compressed well. After bsdiff (C. Percival, "Naive differences
//! of executable code", 2003), but what is alike is found by hashes of sixteen bytes, without sorting all suffixes.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::runs::to_u32;

/// How many bytes must be the same for a place to be looked at.
const ANCHOR_BYTES: usize = 16;
/// Which places of the base are found: every so many bytes.
const STRIDE: usize = 8;
/// How many bits of a found place say which, so that all below 256 MiB are; the others are of the hash, since looking whether it is the same
/// there is slow.
const PLACE_BITS: u32 = 25;
/// How many places are known at most, as a power of two.
const MAX_LOG: u32 = 23;
/// How many more bytes must be the same elsewhere than where the last copy goes on.
const GAIN_BYTES: usize = 8;
/// How many bytes are compared at once to see whether it goes on.
const LOOK_BYTES: usize = 32;

/// What makes the content of its base, in columns.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Copies {
    /// For each copy, where it begins in the base, from where the one before ended;
    jumps: Vec<i32>,
    /// how long it is;
    copied: Vec<u32>,
    /// and how many new bytes follow.
    added: Vec<u32>,
    new: Vec<u8>,
    /// For each run of bytes that are others than those which were copied, how many lie between it and the one before,
    gaps: Vec<u32>,
    /// how long it is,
    widths: Vec<u32>,
    /// and how much larger each is.
    larger: Vec<u8>,
}

/// A place of the base, and of the content, from which on they are alike.
#[derive(Clone, Copy, Default)]
struct Alike {
    base: usize,
    content: usize,
}

/// Where the base has what.
struct Places<'a> {
    base: &'a [u8],
    /// How many bits of a hash say where it is in `by_hash`.
    log: u32,
    /// The last place of each hash, one more than it is, and more bits of that hash.
    by_hash: Vec<u32>,
}

impl Copies {
    /// Returns what makes `content` of `base`, both below 2 GiB.
    pub(super) fn between(base: &[u8], content: &[u8]) -> Copies {
        let places = Places::of(base);
        let (mut made, mut end) = (Copies::default(), 0);
        let (mut last, mut looked) = (Alike::default(), 0);
        let both_end = Alike {
            base: base.len(),
            content: content.len(),
        };
        loop {
            let next = places.next(content, last, looked);
            let (next, length) = next.unwrap_or((both_end, 0));
            let forward = forward(base, content, last, next.content);
            // What was the same as elsewhere stays so: a run of zeros would be gone through from its beginning for each place.
            let back = match length {
                0 => 0,
                _ => back(base, content, looked, next),
            };
            looked = next.content + length;
            let (forward, back) = without_overlap(base, content, (last, forward), (next, back));
            let begun = Alike {
                base: next.base - back,
                content: next.content - back,
            };
            let copied_to = last.content + forward;
            let jump = to_u32(last.base).wrapping_sub(to_u32(end));
            made.jumps.push(jump.cast_signed());
            made.copied.push(to_u32(forward));
            made.added.push(to_u32(begun.content - copied_to));
            made.new
                .extend_from_slice(&content[copied_to..begun.content]);
            end = last.base + forward;
            if length == 0 {
                drop(places);
                made.differ(base, content);
                return made;
            }
            last = begun;
        }
    }

    /// Notes which of the copied bytes are others.
    fn differ(&mut self, base: &[u8], content: &[u8]) {
        let mut copies = self.copies();
        let (mut at, mut gap) = (0, 0);
        let (mut gaps, mut widths, mut larger) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((copied, added)) = copies() {
            let now = &content[at..at + copied.len()];
            at += now.len() + added;
            let pairs = now.iter().zip(&base[copied]);
            let mut was_same = true;
            for (now, before) in pairs {
                let is_same = now == before;
                match (is_same, was_same) {
                    (true, _) => gap += 1,
                    (false, true) => {
                        gaps.push(std::mem::take(&mut gap));
                        widths.push(1);
                    }
                    (false, false) => *widths.last_mut().expect("one began") += 1,
                }
                larger.extend((!is_same).then(|| now.wrapping_sub(*before)));
                was_same = is_same;
            }
            gap += to_u32(added);
        }
        drop(copies);
        (self.gaps, self.widths, self.larger) = (gaps, widths, larger);
    }

    /// Returns what reads one copy after the other: what of the base, and how many new bytes follow.
    fn copies(&self) -> impl FnMut() -> Option<(Range<usize>, usize)> + '_ {
        let mut columns = self.jumps.iter().zip(&self.copied).zip(&self.added);
        let mut end = 0_usize;
        move || {
            let ((jump, copied), added) = columns.next()?;
            let start = end.checked_add_signed(isize::try_from(*jump).ok()?)?;
            end = start.checked_add(*copied as usize)?;
            Some((start..end, *added as usize))
        }
    }

    /// Returns this with where everything is in the content of `size_bytes` that it makes; none if it makes none, or one of another size.
    pub(super) fn laid(self, size_bytes: usize) -> Option<Laid> {
        let (copies, runs) = (self.jumps.len(), self.gaps.len());
        let are_columns = [self.copied.len(), self.added.len()] == [copies; 2];
        // Each but the first and the last begins where so many bytes are the same.
        // What makes nothing costs whoever reads a part time all the same, for each part that begins there.
        let is_little = copies <= size_bytes / ANCHOR_BYTES + 2 && !self.widths.contains(&0);
        if !are_columns || !is_little || self.widths.len() != runs {
            return None;
        }
        let mut end = 0_u32;
        let base = self.jumps.into_iter().zip(&self.copied);
        let base = base.map(|(jump, copied)| {
            let start = end.checked_add_signed(jump)?;
            end = start.checked_add(*copied)?;
            Some(start)
        });
        let base: Vec<u32> = base.collect::<Option<_>>()?;
        let both = |(one, other): (u32, &u32)| one.checked_add(*other);
        let laid = Laid {
            base,
            begins: sums(self.copied.into_iter().zip(&self.added).map(both))?,
            new_begins: sums(self.added.into_iter().map(Some))?,
            new: self.new,
            ends: sums(self.gaps.into_iter().zip(&self.widths).map(both))?,
            larger_begins: sums(self.widths.into_iter().map(Some))?,
            larger: self.larger,
        };
        let empty = laid.begins.windows(2).filter(|both| both[0] == both[1]);
        let fits = empty.count() <= 2
            && last(&laid.begins) == size_bytes
            && last(&laid.ends) <= size_bytes
            && last(&laid.new_begins) <= laid.new.len()
            && last(&laid.larger_begins) <= laid.larger.len();
        fits.then_some(laid)
    }

    /// Returns the content of `size_bytes` that this makes of a base, of which `read` adds parts to what it is given; none if it makes
    /// none, or one of another size.
    pub(super) fn apply(
        self,
        read: impl FnMut(Range<usize>, &mut Vec<u8>) -> Option<()>,
        size_bytes: usize,
    ) -> Option<Vec<u8>> {
        let laid = self.laid(size_bytes)?;
        let mut content = Vec::with_capacity(size_bytes);
        laid.read(0..size_bytes, &mut content, read)?;
        Some(content)
    }
}

/// Copies of which any part can be read without the rest: sums in the place of the counts. Those of counts begin with 0.
pub(super) struct Laid {
    /// Where in the base each copy begins,
    base: Vec<u32>,
    /// where in the content,
    begins: Vec<u32>,
    /// and where in what is new the bytes begin that follow.
    new_begins: Vec<u32>,
    new: Vec<u8>,
    /// Where in the content each run of other bytes ends,
    ends: Vec<u32>,
    /// and where what they are larger by begins.
    larger_begins: Vec<u32>,
    larger: Vec<u8>,
}

impl Laid {
    /// Adds `part` of the content to `to`; `base` does so with parts of the base. None where one of them has less.
    pub(super) fn read(
        &self,
        part: Range<usize>,
        to: &mut Vec<u8>,
        mut base: impl FnMut(Range<usize>, &mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        let begun = to.len();
        let begins = |copy: usize| self.begins[copy] as usize;
        let after = self.begins.partition_point(|at| *at as usize <= part.start);
        for copy in after.saturating_sub(1)..self.base.len() {
            let (start, end) = (begins(copy), begins(copy + 1));
            if start >= part.end {
                break;
            }
            let new = within(&self.new_begins, copy);
            let copied = common(&part, &(start..end - new.len()));
            let added = common(&part, &(end - new.len()..end));
            if !copied.is_empty() {
                let at = self.base[copy] as usize + copied.start - start;
                base(at..at + copied.len(), to)?;
            }
            let at = new.end + added.start - end;
            to.extend_from_slice(self.new.get(at..at + added.len())?);
        }
        let made = to
            .get_mut(begun..)
            .filter(|made| made.len() == part.len())?;
        // The first sum is of nothing.
        let before = self.ends.partition_point(|end| *end as usize <= part.start);
        for run in before.saturating_sub(1)..self.ends.len() - 1 {
            let (end, larger) = (
                self.ends[run + 1] as usize,
                within(&self.larger_begins, run),
            );
            let start = end - larger.len();
            if start >= part.end {
                break;
            }
            let own = common(&part, &(start..end));
            let larger = self.larger.get(larger.start + own.start - start..)?;
            let others = &mut made[own.start - part.start..own.end - part.start];
            for (other, larger) in others.iter_mut().zip(larger) {
                *other = other.wrapping_add(*larger);
            }
        }
        Some(())
    }
}

/// Returns the sums of the first none, one, two and so on of `counts`.
fn sums(counts: impl Iterator<Item = Option<u32>>) -> Option<Vec<u32>> {
    let mut sum = 0_u32;
    let further = counts.map(|count| {
        sum = sum.checked_add(count?)?;
        Some(sum)
    });
    std::iter::once(Some(0)).chain(further).collect()
}

fn last(sums: &[u32]) -> usize {
    sums.last().map_or(0, |sum| *sum as usize)
}

/// Returns what the count at `number` adds to its sum.
fn within(sums: &[u32], number: usize) -> Range<usize> {
    sums[number] as usize..sums[number + 1] as usize
}

/// Returns what both ranges have; where they have nothing in common, an empty one within the second.
fn common(part: &Range<usize>, whole: &Range<usize>) -> Range<usize> {
    let start = part.start.clamp(whole.start, whole.end);
    start..part.end.clamp(start, whole.end)
}

/// Returns what reads parts of `base`.
pub(super) fn in_memory(base: &[u8]) -> impl FnMut(Range<usize>, &mut Vec<u8>) -> Option<()> + '_ {
    |part, to| {
        to.extend_from_slice(base.get(part)?);
        Some(())
    }
}

impl<'a> Places<'a> {
    fn of(base: &'a [u8]) -> Places<'a> {
        let log = (base.len() / STRIDE).max(2).ilog2();
        let mut places = Places {
            base,
            log: log.min(MAX_LOG),
            by_hash: vec![0; 1 << log.min(MAX_LOG)],
        };
        let anchors = base.windows(ANCHOR_BYTES).step_by(STRIDE);
        let mut last = (0, u32::MAX);
        for (at, anchor) in (1..1 << PLACE_BITS).zip(anchors) {
            let hash = places.hash(anchor);
            // The first of a run of one byte goes on for longest.
            if hash != last {
                places.by_hash[hash.0] = hash.1 << PLACE_BITS | at;
            }
            last = hash;
        }
        places
    }

    /// Returns where the base may have `anchor`.
    fn find(&self, anchor: &[u8]) -> Option<usize> {
        let (slot, check) = self.hash(anchor);
        let found = self.by_hash[slot];
        let place = found & ((1 << PLACE_BITS) - 1);
        let is_same = found >> PLACE_BITS == check;
        let place = place.checked_sub(1).filter(|_| is_same);
        place.map(|place| place as usize * STRIDE)
    }

    /// Returns where `anchor` belongs, and more of its hash.
    fn hash(&self, anchor: &[u8]) -> (usize, u32) {
        let (one, other) = anchor.split_at(8);
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("it is 16 bytes"));
        let mixed = word(one).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word(other).rotate_left(23);
        let mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let check = (mixed >> 32) as u32 & ((1 << (32 - PLACE_BITS)) - 1);
        ((mixed >> (64 - self.log)) as usize, check)
    }

    /// Returns the first place from `looked` on where `content` is more like another part of the base than where `last` goes on, and
    /// for how long it is the same.
    fn next(&self, content: &[u8], last: Alike, looked: usize) -> Option<(Alike, usize)> {
        let mut at = looked;
        while let Some(anchor) = content.get(at..at + ANCHOR_BYTES) {
            let goes_on = &self.base[(last.base + at - last.content).min(self.base.len())..];
            if is_alike(&content[at..], goes_on) {
                at += LOOK_BYTES;
                continue;
            }
            let elsewhere = self.find(anchor);
            let length = elsewhere.map_or(0, |place| same(&content[at..], &self.base[place..]));
            if length < ANCHOR_BYTES {
                at += 1;
                continue;
            }
            let going_on = content[at..at + length].iter().zip(goes_on);
            let as_is = going_on.filter(|(one, other)| one == other).count();
            if length > as_is + GAIN_BYTES {
                let base = elsewhere?;
                return Some((Alike { base, content: at }, length));
            }
            at += length;
        }
        None
    }
}

/// Returns for how many bytes from `last` on, and at most to `end`, the base is most like the content.
fn forward(base: &[u8], content: &[u8], last: Alike, end: usize) -> usize {
    let pairs = base[last.base..].iter().zip(&content[last.content..end]);
    most_alike(pairs.map(|(one, other)| if one == other { 1 } else { -1 }))
}

/// Returns the same for the bytes before `next`, at most from `start` on.
fn back(base: &[u8], content: &[u8], start: usize, next: Alike) -> usize {
    let before = content[start..next.content].iter().rev();
    let pairs = base[..next.base].iter().rev().zip(before);
    most_alike(pairs.map(|(one, other)| if one == other { 1 } else { -1 }))
}

/// Returns how many to take so that what speaks for each of them comes to most.
fn most_alike(likeness: impl Iterator<Item = i64>) -> usize {
    let (mut score, mut best, mut taken) = (0, 0, 0);
    for (at, one) in likeness.enumerate() {
        score += one;
        if score > best {
            (best, taken) = (score, at + 1);
        }
    }
    taken
}

/// Returns how far both copies go where they would overlap: the bytes are split where most of them are the same.
fn without_overlap(
    base: &[u8],
    content: &[u8],
    (last, forward): (Alike, usize),
    (next, back): (Alike, usize),
) -> (usize, usize) {
    let begun = next.content - back;
    let Some(overlap) = (last.content + forward).checked_sub(begun) else {
        return (forward, back);
    };
    let (one, other) = (last.base + forward - overlap, next.base - back);
    let taken = most_alike((0..overlap).map(|at| {
        let now = content[begun + at];
        i64::from(base[one + at] == now) - i64::from(base[other + at] == now)
    }));
    (forward - overlap + taken, back - taken)
}

/// Tells whether few of the next bytes differ, so that they are hardly more like any others.
fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let next = one.first_chunk::<LOOK_BYTES>().zip(other.first_chunk());
    next.is_some_and(|(one, other): (_, &[u8; LOOK_BYTES])| {
        let differing = one.iter().zip(other).filter(|(one, other)| one != other);
        differing.count() <= GAIN_BYTES
    })
}

/// Returns how many bytes are the same from the beginning.
fn same(one: &[u8], other: &[u8]) -> usize {
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let whole = words.take_while(|(one, other)| one == other).count() * 8;
    let rest = one[whole..].iter().zip(&other[whole..]);
    whole + rest.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::{Copies, in_memory};
    use proptest::prelude::*;

    fn noise(seed: u8, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        let hasher = blake3::Hasher::new_keyed(&[seed; 32]);
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }

    fn size(base: &[u8], content: &[u8]) -> usize {
        let copies = Copies::between(base, content);
        let apply = |size: usize| copies.clone().apply(in_memory(base), size);
        assert!(apply(content.len()).unwrap() == content);
        assert!(apply(content.len() + 1).is_none());
        assert!(content.is_empty() || apply(content.len() - 1).is_none());
        let plain = postcard::to_allocvec(&copies).unwrap();
        zstd::bulk::compress(&plain, 9).unwrap().len()
    }

    /// Each function that moved would cost all calls of it and behind it.
    #[test]
    fn addresses_that_moved_are_little() {
        let functions: Vec<Vec<u8>> = (0..200).map(|seed| noise(seed, 200)).collect();
        let program = |moved: u32| -> Vec<u8> {
            let calls = (0..).zip(&functions);
            let with_call = |(at, code): (u32, &Vec<u8>)| {
                let address = (0x20_0000 + 999 * at + moved).to_le_bytes();
                [&code[..100], &address, &code[100..]].concat()
            };
            calls.flat_map(with_call).collect()
        };
        assert!(size(&program(0), &program(0)) < 60);
        assert!(size(&program(0), &program(16)) < 600);
        let (before, after) = (program(0), program(0x1234));
        let swapped = [&after[20_000..], &after[..20_000]].concat();
        assert!(size(&before, &swapped) < 900);
    }

    /// Whoever may write a tier, and sign nothing, could have every reader go through millions of runs for each copy, for hours.
    #[test]
    fn what_makes_nothing_is_refused() {
        let base = noise(1, 400);
        let mut content = base.clone();
        content[200] ^= 1;
        let made = Copies::between(&base, &content);
        assert!(made.clone().laid(content.len()).is_some());
        let mut runs = made.clone();
        runs.gaps.push(0);
        runs.widths.push(0);
        assert!(runs.laid(content.len()).is_none());
        let mut copies = made;
        for column in [&mut copies.copied, &mut copies.added] {
            column.splice(1..1, [0; 3]);
        }
        copies.jumps.splice(1..1, [0; 3]);
        assert!(copies.laid(content.len()).is_none());
    }

    /// A file that grew somewhere would cost as much again as it has.
    #[test]
    fn what_is_new_is_said_once() {
        let base = noise(1, 100_000);
        let grown = [&base[..50_000], &noise(2, 1000), &base[50_000..]].concat();
        assert!(size(&base, &grown) < 1100);
        assert!(size(&base, &base[30_000..]) < 60);
        assert!(size(&base, &[&base[90_000..], &base[..10_000]].concat()) < 60);
        assert!(size(&base, &base.repeat(3)) < 80);
        // What is the same everywhere is one copy, and gone through once.
        let zeros = [noise(4, 1000), vec![0; 1 << 20]].concat();
        let more = [&noise(4, 1000)[..], &[0; 3 << 20]].concat();
        assert!(size(&zeros, &more) < 400);
        let lines = b"twenty-five bytes a line\n".repeat(40_000);
        assert!(size(&lines, &[b"x", &lines[..]].concat()) < 2000);
        for (base, content) in [(0, 0), (0, 500), (500, 0), (15, 15), (16, 16), (40, 500)] {
            size(&base_of(base), &base_of(content));
        }
    }

    fn base_of(size: usize) -> Vec<u8> {
        noise(3, size)
    }

    fn parts() -> impl Strategy<Value = Vec<u8>> {
        let part = (0u8..4, 0usize..300, 0usize..300);
        let parts = prop::collection::vec(part, 0..8);
        parts.prop_map(|parts| {
            let part = |(seed, start, size): (u8, usize, usize)| {
                let mut part = noise(seed, 600)[start..start + size].to_vec();
                if let Some(byte) = part.get_mut(size / 2) {
                    *byte = seed;
                }
                part
            };
            parts.into_iter().flat_map(part).collect()
        })
    }

    proptest! {
        /// What comes back otherwise is thrown away by whoever reads it, and stored in vain.
        #[test]
        fn the_content_comes_back(base in parts(), content in parts()) {
            let copies = Copies::between(&base, &content);
            prop_assert_eq!(copies.apply(in_memory(&base), content.len()).unwrap(), content);
        }

        /// What is made through it would be of other bytes.
        #[test]
        fn any_part_comes_alone(base in parts(), content in parts(), from in any::<prop::sample::Index>(), size in 0usize..700) {
            let laid = Copies::between(&base, &content).laid(content.len()).unwrap();
            let from = from.index(content.len() + 1);
            let part = from..content.len().min(from + size);
            let mut read = b"before".to_vec();
            laid.read(part.clone(), &mut read, in_memory(&base)).unwrap();
            prop_assert_eq!(&read[6..], &content[part]);
            prop_assert!(laid.read(from..content.len() + 1, &mut read, in_memory(&base)).is_none());
        }

        /// Copies are not signed: whatever is in it, a reader must neither stop nor fill its memory.
        #[test]
        fn hostile_copies_end(
            base in parts(),
            content in parts(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        ) {
            let copies = Copies::between(&base, &content);
            let mut plain = postcard::to_allocvec(&copies).unwrap();
            for (at, byte) in damage {
                let at = at.index(plain.len());
                plain[at] = byte;
            }
            let copies: Result<Copies, _> = postcard::from_bytes(&plain);
            let made = copies.ok().and_then(|copies| copies.apply(in_memory(&base), content.len()));
            prop_assert!(made.is_none_or(|made| made.len() == content.len()));
        }
    }
}
