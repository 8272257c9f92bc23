//! A query cache as what changed since another.
//!
//! rustc writes the results in the order of its hash tables, which is another in each session; each has the position of its node
//! in front, which is another too; and where a type or a name was written before, its position in the file stands instead. So what a cache would be
//! is first foretold of its base, with results in the order that they have now and positions translated. What differs from that is
//! [`Copies`]. See note 0019.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::copies::{Copies, in_memory};
use super::runs::{NEW, Runs, to_u32};
use crate::model::Digest;
use crate::rustc::crate_source::Fingerprint;
use crate::rustc::leb128;
use crate::rustc::nodes::Nodes;
use crate::rustc::query_cache::{self, QueryCache, TYPE_OFFSET};

/// How much of the cache a delta has at most before it is compressed, as a divisor.
const LARGEST: usize = 4;
/// How many bytes more that is, for small caches.
const SLACK_BYTES: usize = 64 << 10;
/// How much larger than the cache what is foretold of it may be, as a factor.
const FORETOLD: usize = 3;
/// The fewest bytes of a result, its node, and what the index says of it.
const RESULT_BYTES: usize = 5;
/// zstd's level: most is zeros.
const LEVEL: i32 = 9;

/// What a result is the result of: query and key.
pub(super) type Key = (u16, Fingerprint);

/// What makes a cache of its base, in columns.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Delta {
    /// Where in the base the results are.
    places: Runs,
    /// Their nodes: each by how much more it is further than the base's, or for a new one than the one before, than the one before was.
    nodes: Vec<i32>,
    /// By how many bytes each is longer than the base's, or how long a new one is.
    longer: Vec<i32>,
    /// Numbers of the base that are others now, each by how much larger it is than the one before,
    numbers: Vec<u32>,
    /// and by how much larger than expected each is now: than where the result went in which that position is.
    moved: Vec<i32>,
    /// What differs from what is foretold.
    copies: Copies,
}

/// How results of the base became those of the cache.
struct Foretold<'a> {
    base: &'a QueryCache,
    results: Vec<Told>,
    /// Where the last one ends.
    end: u32,
    /// By how much each result of the base moved, if it is in the cache.
    shifts: Vec<Option<u32>>,
    /// The numbers that are others now.
    numbers: Numbers,
}

/// Numbers in order, and what they became. Each is looked for very often.
#[derive(Default)]
struct Numbers {
    all: Vec<(u32, u32)>,
    /// Where those begin that have the same upper bits.
    starts: Vec<u32>,
}

/// A result of the cache.
struct Told {
    /// Where it is in the base.
    place: u32,
    node: u32,
    /// Where it begins behind the node.
    start: u32,
}

/// Returns what the results of `cache` are results of, by the dep-graph of the same session; none if it is that of another.
pub(super) fn keys(cache: &QueryCache, graph: &mut Nodes) -> Option<Vec<Key>> {
    let mut keys = vec![Key::default(); cache.results.len()];
    let nodes = cache.results.iter().map(|stored| stored.node);
    // In the order of the graph.
    let mut order: Vec<(u32, usize)> = nodes.zip(0..).collect();
    order.sort_unstable();
    for (node, at) in order {
        let node = graph.get(node)?;
        keys[at] = (node.kind, *node.key);
    }
    // The results of a query lie beside each other.
    let queries = keys.chunk_by(|(one, _), (other, _)| one == other);
    let mut seen = HashSet::new();
    let mut names = queries.map(|of_one| of_one[0].0);
    let each_once = names.all(|query| seen.insert(query));
    each_once.then_some(keys)
}

/// Returns what makes `cache` of `base`, compressed, by the keys of the results of both; none if that is no gain, or makes something
/// else. Two caches in memory are enough, so that at `path` is read once more.
pub(super) fn encode(
    (base, base_keys): (QueryCache, Vec<Key>),
    (cache, keys): (QueryCache, Vec<Key>),
    path: &Path,
) -> Option<Vec<u8>> {
    let by_key: HashMap<&Key, u32> = base_keys.iter().zip(0..).collect();
    let place = |key: &Key| by_key.get(key).copied().unwrap_or(NEW);
    let places: Vec<u32> = keys.iter().map(place).collect();
    drop(by_key);
    drop((base_keys, keys));
    let mut delta = Delta::default();
    delta.places.add(&places);
    delta.add_results(&base, &cache, &places);
    let mut foretold = delta.foretold(&base, &places)?;
    delta.add_numbers(&foretold, &cache);
    let size_bytes = cache.bytes.len();
    drop(cache);
    foretold.numbers = delta.numbers(&foretold)?;
    let guess = foretold.bytes(size_bytes)?;
    drop(base);
    let cache = std::fs::read(path).ok()?;
    delta.copies = Copies::between(&guess, &cache);
    let digest = Digest::of(&cache);
    drop(cache);
    let plain = postcard::to_allocvec(&delta).ok()?;
    let again = delta.copies.apply(in_memory(&guess), size_bytes)?;
    (Digest::of(&again) == digest).then_some(())?;
    drop((guess, again));
    let gains = plain.len() <= most_plain(size_bytes);
    gains.then(|| zstd::bulk::compress(&plain, LEVEL).ok())?
}

/// Returns the cache of `size_bytes` that `delta` makes of `base`; none if it makes none, or another one.
pub(super) fn decode(base: Vec<u8>, delta: &[u8], size_bytes: usize) -> Option<Vec<u8>> {
    let base = QueryCache::read(base)?;
    let plain = zstd::bulk::decompress(delta, most_plain(size_bytes)).ok()?;
    let mut delta: Delta = postcard::from_bytes(&plain).ok()?;
    drop(plain);
    let count = u32::try_from(base.results.len()).ok()?;
    let places = std::mem::take(&mut delta.places);
    let places = places.places(count, size_bytes / RESULT_BYTES)?;
    let mut foretold = delta.foretold(&base, &places)?;
    foretold.numbers = delta.numbers(&foretold)?;
    let guess = foretold.bytes(size_bytes)?;
    drop(base);
    delta.copies.apply(in_memory(&guess), size_bytes)
}

fn most_plain(size_bytes: usize) -> usize {
    size_bytes / LARGEST + SLACK_BYTES
}

/// Returns the node of the base's result at `place`, or of the result before a new one, and its length.
fn before(base: &QueryCache, place: u32, last_node: u32) -> (u32, u32) {
    match place {
        NEW => (last_node, 0),
        place => {
            let length = to_u32(base.body(place as usize).len());
            (base.results[place as usize].node, length)
        }
    }
}

impl Delta {
    fn add_results(&mut self, base: &QueryCache, cache: &QueryCache, places: &[u32]) {
        let (mut last_node, mut last_further) = (0, 0);
        for (at, (stored, place)) in cache.results.iter().zip(places).enumerate() {
            let (node, length) = before(base, *place, last_node);
            let further = stored.node.wrapping_sub(node);
            self.nodes
                .push(further.wrapping_sub(last_further).cast_signed());
            let own = to_u32(cache.body(at).len());
            self.longer.push(own.wrapping_sub(length).cast_signed());
            (last_node, last_further) = (stored.node, further);
        }
    }

    /// Returns how the results at `places` of `base` become those of the cache; numbers are not translated yet.
    fn foretold<'a>(&self, base: &'a QueryCache, places: &[u32]) -> Option<Foretold<'a>> {
        let mut results = Vec::with_capacity(places.len());
        let mut shifts = vec![None; base.results.len()];
        let (mut last_node, mut last_further) = (0, 0);
        let mut at = to_u32(base.begin());
        let columns = self.nodes.iter().zip(&self.longer);
        for (place, (further, longer)) in places.iter().zip(columns) {
            let (node, length) = before(base, *place, last_node);
            last_further = further.cast_unsigned().wrapping_add(last_further);
            last_node = node.wrapping_add(last_further);
            let start = at.checked_add(leb128::size(last_node))?;
            if *place != NEW {
                let stored = base.results[*place as usize];
                shifts[*place as usize] = Some(start.wrapping_sub(stored.start));
            }
            results.push(Told {
                place: *place,
                node: last_node,
                start,
            });
            at = start.checked_add(length.checked_add_signed(*longer)?)?;
        }
        (results.len() == places.len()).then_some(Foretold {
            base,
            results,
            end: at,
            shifts,
            numbers: Numbers::default(),
        })
    }

    /// Notes which numbers of the base are others in `cache`, as most results say that have as many bytes as before.
    fn add_numbers(&mut self, foretold: &Foretold<'_>, cache: &QueryCache) {
        let mut found: HashMap<u32, (u32, i32)> = HashMap::new();
        for (at, told) in foretold.results.iter().enumerate() {
            let (now, was) = (cache.body(at), foretold.body(told.place));
            if now.len() != was.len() {
                continue;
            }
            let (body, first) = (&cache.bytes[now], was.start);
            for (bytes, number) in foretold.base.numbers(was) {
                let same = &body[bytes.start - first..bytes.end - first];
                if let Some(other) = query_cache::small(same) {
                    vote(found.entry(number), other);
                }
            }
        }
        let found = found.into_iter();
        let found = found.map(|(number, (other, _))| (number, other));
        let others = found.filter(|(number, other)| number != other);
        let mut others: Vec<(u32, u32)> = others.collect();
        others.sort_unstable();
        let mut last = 0;
        for (number, other) in others {
            self.numbers.push(number - last);
            let expected = foretold.expected(number);
            self.moved.push(other.wrapping_sub(expected).cast_signed());
            last = number;
        }
    }

    /// Returns which numbers of the base are others now.
    fn numbers(&self, foretold: &Foretold<'_>) -> Option<Numbers> {
        let mut last = 0_u32;
        let other = |(larger, moved): (&u32, &i32)| {
            last = last.checked_add(*larger)?;
            let expected = foretold.expected(last);
            Some((last, expected.wrapping_add(moved.cast_unsigned())))
        };
        let all = self.numbers.iter().zip(&self.moved).map(other);
        let all: Vec<(u32, u32)> = all.collect::<Option<_>>()?;
        (last <= foretold.base.largest()).then(|| Numbers::of(all))
    }
}

impl Numbers {
    /// How many of the lower bits may differ.
    const LOW_BITS: u32 = 6;

    fn of(all: Vec<(u32, u32)>) -> Numbers {
        let mut starts = Vec::new();
        for (at, (number, _)) in all.iter().enumerate() {
            let end = (number >> Numbers::LOW_BITS) as usize + 1;
            starts.resize(end.max(starts.len()), to_u32(at));
        }
        starts.push(to_u32(all.len()));
        Numbers { all, starts }
    }

    fn get(&self, number: u32) -> Option<u32> {
        let bucket = self.starts.get((number >> Numbers::LOW_BITS) as usize..)?;
        let [start, end] = *bucket.first_chunk()?;
        let alike = &self.all[start as usize..end as usize];
        let at = alike.binary_search_by_key(&number, |(from, _)| *from);
        Some(alike[at.ok()?].1)
    }
}

impl Foretold<'_> {
    /// Returns what comes behind the node of the base's result at `place`; nothing of a new one.
    fn body(&self, place: u32) -> Range<usize> {
        match place {
            NEW => 0..0,
            place => self.base.body(place as usize),
        }
    }

    /// Returns what a number that refers to a type of the base is if that result is as it was.
    fn expected(&self, number: u32) -> u32 {
        let position = number.saturating_sub(TYPE_OFFSET);
        let results = &self.base.results;
        let behind = results.partition_point(|stored| stored.start <= position);
        let place = behind.checked_sub(1);
        let shift = place.and_then(|place| self.shifts[place]);
        number.wrapping_add(shift.unwrap_or(0))
    }

    /// Returns what the cache of `size_bytes` would be; none if that is much larger.
    fn bytes(self, size_bytes: usize) -> Option<Vec<u8>> {
        let most = size_bytes.saturating_mul(FORETOLD) + SLACK_BYTES;
        let fits = |made: &Vec<u8>, more: usize| (made.len() + more <= most).then_some(());
        let base = self.base;
        let mut made = Vec::with_capacity(size_bytes);
        made.extend_from_slice(&base.bytes[..base.begin()]);
        let translated = |number: u32| self.numbers.get(number);
        for told in &self.results {
            leb128::write(&mut made, told.node);
            let body = self.body(told.place);
            fits(&made, body.len())?;
            self.translated(&mut made, body, translated);
        }
        fits(&made, base.bytes.len())?;
        self.translated(&mut made, base.end..base.footer, translated);
        made.extend_from_slice(&base.bytes[base.footer..base.index.start]);
        leb128::write(&mut made, to_u32(self.results.len()));
        for told in &self.results {
            leb128::write(&mut made, told.node);
            leb128::write(&mut made, told.start.wrapping_sub(leb128::size(told.node)));
        }
        let (from, to) = (to_u32(base.end), to_u32(base.footer));
        let moved = |number: u32| {
            let is_behind = (from..to).contains(&number);
            is_behind.then(|| number.wrapping_sub(from).wrapping_add(self.end))
        };
        self.translated(&mut made, base.index.end..base.bytes.len(), moved);
        Some(made)
    }

    /// Writes `part` of the base with numbers as `other` says, as far as they take as many bytes.
    fn translated(
        &self,
        made: &mut Vec<u8>,
        part: Range<usize>,
        other: impl Fn(u32) -> Option<u32>,
    ) {
        let (begin, mut told) = (made.len(), Vec::new());
        made.extend_from_slice(&self.base.bytes[part.clone()]);
        for (bytes, number) in self.base.numbers(part.clone()) {
            let Some(other) = other(number) else { continue };
            told.clear();
            leb128::write(&mut told, other);
            if told.len() == bytes.len() {
                let own = begin + bytes.start - part.start;
                made[own..own + told.len()].copy_from_slice(&told);
            }
        }
    }
}

/// Counts what a number became; what most say is left over.
fn vote(found: Entry<'_, u32, (u32, i32)>, other: u32) {
    let (most, lead) = found.or_insert((other, 0));
    match (*most == other, *lead) {
        (true, _) => *lead += 1,
        (false, 0) => (*most, *lead) = (other, 1),
        (false, _) => *lead -= 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Delta, Key, NEW, Runs, TYPE_OFFSET, decode, encode, keys};
    use crate::rustc::leb128;
    use crate::rustc::nodes::{self, Nodes};
    use crate::rustc::query_cache::QueryCache;
    use crate::rustc::query_cache::tests::{HEADER_BYTES, cache};
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// A result by its key, and what is stored of it: bytes, or where in the cache that of another key is.
    type Made = (u8, Vec<Result<u8, u8>>);

    /// How long a first result is, so that positions behind it take three bytes.
    const FIRST_BYTES: u32 = 1 << 14;

    /// Returns the cache of `all` with positions as rustc writes them, and its keys, with nodes as far apart as `step`.
    fn session(all: &[Made], step: u32) -> (Vec<u8>, Vec<Key>) {
        let node = |place: u32| 1000 + place * step;
        let (mut starts, mut at) = (HashMap::new(), HEADER_BYTES + 2 + FIRST_BYTES);
        for (place, (key, parts)) in (1..).zip(all) {
            let sizes = parts.iter().map(|part| if part.is_ok() { 1 } else { 3 });
            starts.insert(*key, at + leb128::size(node(place)));
            at += leb128::size(node(place)) + sizes.sum::<u32>();
        }
        let body = |(place, (_, parts)): (u32, &Made)| {
            let mut body = Vec::new();
            for part in parts {
                match part {
                    Ok(byte) => body.push(*byte),
                    Err(key) => {
                        let target = starts.get(key).unwrap_or(&FIRST_BYTES);
                        leb128::write(&mut body, target + TYPE_OFFSET);
                    }
                }
            }
            (node(place), body)
        };
        let first = (node(0), vec![0; FIRST_BYTES as usize]);
        let bodies = std::iter::once(first).chain((1..).zip(all).map(body));
        let first = std::iter::once((7, [255; 16]));
        let keys = first.chain(all.iter().map(|(key, _)| (7, [*key; 16])));
        (cache(&bodies.collect::<Vec<_>>(), 5), keys.collect())
    }

    fn delta(before: &[Made], now: &[Made]) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
        let ((base, base_keys), (content, keys)) = (session(before, 3), session(now, 5));
        let (one, other) = (
            QueryCache::read(base.clone())?,
            QueryCache::read(content.clone())?,
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        let delta = encode((one, base_keys), (other, keys), file.path())?;
        Some((base, content, delta))
    }

    fn made() -> impl Strategy<Value = Vec<Made>> {
        let part = prop_oneof![
            8 => any::<u8>().prop_map(Ok),
            1 => any::<u8>().prop_map(Err),
        ];
        let parts = prop::collection::vec(part, 0..60);
        let all = prop::collection::vec((0u8..250, parts), 1..40);
        all.prop_map(|mut all| {
            let mut seen = std::collections::HashSet::new();
            all.retain(|(key, _)| seen.insert(*key));
            all
        })
    }

    /// A cache in another order would cost as much as it has.
    #[test]
    fn results_in_another_order_cost_their_order() {
        let result = |key: u8| {
            let noise = blake3::hash(&[key]);
            let bytes = noise.as_bytes().iter().map(|byte| Ok(byte & 0x7f));
            let other = [Err(key / 2), Err(key / 3)];
            (key, bytes.chain(other).collect())
        };
        let before: Vec<Made> = (0..250).map(result).collect();
        let mut now = before.clone();
        now.sort_by_key(|(key, _)| key.wrapping_mul(77));
        let (base, content, delta) = delta(&before, &now).unwrap();
        assert!(decode(base, &delta, content.len()).unwrap() == content);
        assert!(
            delta.len() < 150 && content.len() > 26_000,
            "{}",
            delta.len()
        );
    }

    /// With the nodes of another session, everything would be new.
    #[test]
    fn a_graph_of_another_session_is_told() {
        let (bytes, _) = session(&[(1, vec![]), (2, vec![])], 1);
        let cache = QueryCache::read(bytes.clone()).unwrap();
        let graph = |kinds: &dyn Fn(u32) -> u16, count: u32| {
            let mut bytes = b"RSIC\0\0\x061.95.0argshash".to_vec();
            for at in 0..count {
                nodes::write(&mut bytes, 9, at, (kinds(at), &[1; 16], &[2; 16]), &[]);
            }
            bytes.extend(u64::from(count).to_le_bytes());
            bytes.extend(0_u64.to_le_bytes());
            bytes.extend(b"rust-end-file");
            bytes
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let has_keys = |graph: &[u8]| {
            std::fs::write(file.path(), graph).unwrap();
            keys(&cache, &mut Nodes::read(file.path()).unwrap()).is_some()
        };
        assert!(has_keys(&graph(&|_| 7, 1003)));
        assert!(has_keys(&graph(&|at| u16::from(at > 1000), 1003)));
        assert!(!has_keys(&graph(&|at| u16::from(at == 1001), 1003)));
        assert!(!has_keys(&graph(&|_| 7, 1002)));
    }

    /// A few bytes would fill a reader's memory.
    #[test]
    fn a_small_delta_makes_no_large_cache() {
        let (bytes, _) = session(&[(1, vec![Ok(1); 50_000]), (2, vec![])], 1);
        let base = QueryCache::read(bytes.clone()).unwrap();
        let again = |count: u32| {
            let delta = Delta {
                nodes: vec![0; count as usize],
                longer: vec![0; count as usize],
                ..Delta::default()
            };
            let foretold = delta.foretold(&base, &vec![1; count as usize])?;
            foretold.bytes(50_000)
        };
        assert!(again(1).is_some() && again(2).is_some());
        assert!(again(40).is_none());
        let new = Delta {
            places: Runs {
                new: vec![NEW],
                jumps: vec![0],
                lengths: vec![0],
            },
            ..Delta::default()
        };
        let plain = postcard::to_allocvec(&new).unwrap();
        let delta = zstd::bulk::compress(&plain, 1).unwrap();
        assert!(decode(bytes, &delta, 50_000).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// A cache that comes back otherwise is thrown away after all the work.
        #[test]
        fn a_cache_comes_back_as_it_was(before in made(), now in made()) {
            let (base, content, delta) = delta(&before, &now).unwrap();
            prop_assert!(decode(base, &delta, content.len()).unwrap() == content);
        }

        /// A delta is not signed: whatever is in it, a reader must neither stop nor fill its memory.
        #[test]
        fn hostile_deltas_end(
            before in made(),
            now in made(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        ) {
            let (base, content, delta) = delta(&before, &now).unwrap();
            let mut plain = zstd::bulk::decompress(&delta, 1 << 20).unwrap();
            for (at, byte) in damage {
                let at = at.index(plain.len());
                plain[at] = byte;
            }
            let delta = zstd::bulk::compress(&plain, 1).unwrap();
            let made = decode(base, &delta, content.len());
            prop_assert!(made.is_none_or(|made| made.len() == content.len()));
        }
    }
}
