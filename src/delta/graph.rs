//! A dep-graph as what changed since another.
//!
//! rustc numbers all nodes anew in each session, so nearly every byte moves though hardly a node changes. Here nodes are matched
//! by query and key, and edges are written as what differs from those of the matching node. See note 0019.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::runs::{NEW, Runs};
use crate::rustc::crate_source::Fingerprint;
use crate::rustc::nodes::{self, Node, Nodes};

/// How much of the graph a delta has at most before it is compressed, as a divisor; one that has more is no gain, and its columns
/// take a multiple of it in memory.
const LARGEST: usize = 8;
/// How many bytes more that is, for small graphs.
const SLACK_BYTES: usize = 64 << 10;
/// How much of a graph is made at once, or little more.
const PIECE_BYTES: usize = 128 << 10;

/// A node's query, key and result.
type Known = (u16, Fingerprint, Fingerprint);

/// What makes a graph of its base, in columns, since likes are compressed best beside each other.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Delta {
    kind_bits: u8,
    /// What stands before and behind the nodes.
    around: (Vec<u8>, Vec<u8>),
    /// Where in the base the nodes are.
    nodes: Runs,
    /// The queries and keys of new nodes.
    kinds: Vec<u16>,
    keys: Vec<Fingerprint>,
    /// For each node, whether its value follows: new ones have one, others only if it is not the base's.
    has_value: Vec<bool>,
    values: Vec<Fingerprint>,
    /// For each node, 0 if its edges are those that are expected, else 1 and how many of `edges` are of it.
    has_edges: Vec<u32>,
    /// Where in the expected edges the edges are.
    edges: Runs,
    /// New edges, each by how much smaller it is than the edge before, or the node's own position.
    targets: Vec<i32>,
}

/// How the nodes of a graph follow from those of its base.
struct Matching {
    base: Nodes,
    /// For each node of the base, where it is now.
    moved: Vec<u32>,
    /// Nodes of the base that are no more, by kind: a new node is most like the next of them.
    gone: HashMap<u16, VecDeque<u32>>,
}

/// Returns what makes `graph` of `base`, compressed; none if that is no gain.
pub(super) fn encode(base: Nodes, graph: &mut Nodes) -> Option<Vec<u8>> {
    let plain = postcard::to_allocvec(&Delta::between(base, graph)?).ok()?;
    let gains = plain.len() <= most_plain(graph.size_bytes);
    gains.then(|| zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL).ok())?
}

/// Returns what makes the graph of `size_bytes` of `base` as `delta` says, a piece with each call, the last of them empty; none if that
/// makes none. It fails where they would be a larger one.
pub(super) fn decode(
    base: Nodes,
    delta: &[u8],
    size_bytes: usize,
) -> Option<impl FnMut() -> Option<Vec<u8>> + use<>> {
    let plain = zstd::bulk::decompress(delta, most_plain(size_bytes)).ok()?;
    let delta: Delta = postcard::from_bytes(&plain).ok()?;
    drop(plain);
    delta.apply(base, size_bytes)
}

fn most_plain(size_bytes: usize) -> usize {
    size_bytes / LARGEST + SLACK_BYTES
}

impl Delta {
    fn between(mut base: Nodes, graph: &mut Nodes) -> Option<Delta> {
        let places = places(&mut base, graph)?;
        let mut matching = Matching::new(base, &places)?;
        let mut delta = Delta {
            kind_bits: graph.kind_bits,
            around: graph.around()?,
            ..Delta::default()
        };
        delta.nodes.add(&places);
        let (mut expected, mut edges) = (Vec::new(), Vec::new());
        let mut found = vec![NEW; graph.count() as usize];
        for (position, place) in (0..).zip(places) {
            let node = graph.get(position)?;
            let own = (node.kind, *node.key, *node.value);
            let (.., value) = matching.expect(place, own, &mut expected)?;
            if place == NEW {
                delta.kinds.push(node.kind);
                delta.keys.push(*node.key);
            }
            let has_value = place == NEW || value != *node.value;
            delta.has_value.push(has_value);
            delta.values.extend(has_value.then_some(*node.value));
            edges.clear();
            edges.extend(node.edges());
            let runs = match expected == edges {
                true => 0,
                false => 1 + delta.add_edges(position, &expected, &mut edges, &mut found),
            };
            delta.has_edges.push(runs);
            let new = size_of_val(&*delta.keys) + size_of_val(&*delta.values);
            // A number takes a byte at least. It will not become smaller.
            let edges = delta.targets.len() + 3 * delta.edges.new.len();
            let gains = new + edges <= most_plain(graph.size_bytes);
            gains.then_some(())?;
        }
        Some(delta)
    }

    /// Adds the `edges` of the node at `position`, which become their places in what is expected, and returns of how many runs they are.
    /// `found` has nothing for any node, before and afterwards.
    fn add_edges(
        &mut self,
        position: u32,
        expected: &[u32],
        edges: &mut [u32],
        found: &mut [u32],
    ) -> u32 {
        for (place, edge) in (0..).zip(expected) {
            found[*edge as usize] = place;
        }
        let mut last = position;
        for edge in edges.iter_mut() {
            let place = found.get(*edge as usize).copied().unwrap_or(NEW);
            if place == NEW {
                self.targets.push(last.wrapping_sub(*edge).cast_signed());
            }
            last = std::mem::replace(edge, place);
        }
        expected.iter().for_each(|edge| found[*edge as usize] = NEW);
        self.edges.add(edges)
    }

    fn apply(self, base: Nodes, size_bytes: usize) -> Option<impl FnMut() -> Option<Vec<u8>>> {
        nodes::is_known(self.kind_bits).then_some(())?;
        let places = self.nodes.places(base.count(), nodes::most(size_bytes))?;
        let mut matching = Matching::new(base, &places)?;
        let mut new = self.kinds.into_iter().zip(self.keys);
        let (mut has_value, mut values) = (self.has_value.into_iter(), self.values.into_iter());
        let mut has_edges = self.has_edges.into_iter();
        let mut own_edges = own_edges(self.edges, self.targets, places.len());
        let (mut before, mut behind) = self.around;
        let (mut expected, mut edges) = (Vec::new(), Vec::new());
        let (mut places, mut left) = ((0..).zip(places), size_bytes);
        Some(move || {
            let mut graph = std::mem::take(&mut before);
            graph.reserve(PIECE_BYTES);
            while graph.len() < PIECE_BYTES {
                let Some((position, place)) = places.next() else {
                    graph.append(&mut behind);
                    break;
                };
                let own = match place {
                    NEW => new.next()?,
                    _ => Default::default(),
                };
                let own = (own.0, own.1, Fingerprint::default());
                let (kind, key, value) = matching.expect(place, own, &mut expected)?;
                let value = match has_value.next()? || place == NEW {
                    true => values.next()?,
                    false => value,
                };
                let edges = match has_edges.next()?.checked_sub(1) {
                    None => &expected,
                    Some(runs) => {
                        own_edges(runs, position, &expected, &mut edges)?;
                        &edges
                    }
                };
                let node = (kind, &key, &value);
                nodes::write(&mut graph, self.kind_bits, position, node, edges);
            }
            left = left.checked_sub(graph.len())?;
            Some(graph)
        })
    }
}

/// Returns what reads the edges of one node after the other: in so many of `runs`, and at most `most`, those of the node at a
/// position, of which some are expected.
fn own_edges(
    runs: Runs,
    targets: Vec<i32>,
    most: usize,
) -> impl FnMut(u32, u32, &[u32], &mut Vec<u32>) -> Option<()> {
    let (mut next_run, mut targets) = (runs.read(), targets.into_iter());
    move |runs, position, expected, edges| {
        edges.clear();
        let (mut last, mut end) = (position, 0);
        for _ in 0..runs {
            let (new, places) = next_run(&mut end)?;
            for _ in 0..new {
                last = last.wrapping_sub(targets.next()?.cast_unsigned());
                edges.push(last);
            }
            edges.extend_from_slice(expected.get(places)?);
            last = *edges.last()?;
            if edges.len() > most {
                return None;
            }
        }
        Some(())
    }
}

impl Matching {
    /// Returns the matching of nodes that are at `places` in `base`; none if two of them are at the same.
    fn new(mut base: Nodes, places: &[u32]) -> Option<Matching> {
        let mut moved = vec![NEW; base.count() as usize];
        for (position, place) in (0..).zip(places).filter(|(_, place)| **place != NEW) {
            let moved = moved.get_mut(*place as usize)?;
            if std::mem::replace(moved, position) != NEW {
                return None;
            }
        }
        let mut gone: HashMap<u16, VecDeque<u32>> = HashMap::new();
        for (place, _) in (0..).zip(&moved).filter(|(_, moved)| **moved == NEW) {
            let of_kind = gone.entry(base.get(place)?.kind).or_default();
            of_kind.push_back(place);
        }
        Some(Matching { base, moved, gone })
    }

    /// Makes `expected` the edges that are expected of the next node, which is at `place` in the base. Returns its query, key and
    /// value as they are there, and `own` of a new one.
    fn expect(&mut self, place: u32, own: Known, expected: &mut Vec<u32>) -> Option<Known> {
        let like = match place {
            NEW => self.gone.get_mut(&own.0).and_then(VecDeque::pop_front),
            place => Some(place),
        };
        expected.clear();
        let Some(like) = like else { return Some(own) };
        let like = self.base.get(like)?;
        let moved = |edge: u32| self.moved.get(edge as usize).copied();
        let edges = like.edges().filter_map(moved);
        expected.extend(edges.filter(|edge| *edge != NEW));
        match place {
            NEW => Some(own),
            _ => Some((like.kind, *like.key, *like.value)),
        }
    }
}

/// Returns where in `base` each node of `graph` is, each place once.
fn places(base: &mut Nodes, graph: &mut Nodes) -> Option<Vec<u32>> {
    let mut taken = vec![false; base.count() as usize];
    let mut by_key = Vec::new();
    let (mut places, mut expected) = (Vec::with_capacity(graph.count() as usize), 0);
    for position in 0..graph.count() {
        let node = graph.get(position)?;
        let fits = |base: &mut Nodes, place: u32| {
            let is_free = taken.get(place as usize) == Some(&false);
            is_free && base.get(place).is_some_and(|one| one.is_same(&node))
        };
        let mut place = Some(expected).filter(|place| fits(base, *place));
        if place.is_none() {
            if by_key.is_empty() {
                by_key = sorted(base)?;
            }
            let first = by_key.partition_point(|(key, _)| *key < short(&node));
            let alike = by_key[first..].iter();
            let alike = alike.take_while(|(key, _)| *key == short(&node));
            place = alike
                .map(|(_, place)| *place)
                .find(|place| fits(base, *place));
        }
        if let Some(place) = place {
            taken[place as usize] = true;
            expected = place + 1;
        }
        places.push(place.unwrap_or(NEW));
    }
    Some(places)
}

/// Returns the places of all nodes, sorted by a part of their keys.
fn sorted(base: &mut Nodes) -> Option<Vec<(u32, u32)>> {
    let mut all = Vec::with_capacity(base.count() as usize);
    for place in 0..base.count() {
        all.push((short(&base.get(place)?), place));
    }
    all.sort_unstable();
    Some(all)
}

/// Returns a part of a node's key, which is a hash; of an item's, the first half is its crate's.
fn short(node: &Node<'_>) -> u32 {
    let [a, b, c, d, _, _, _, _, e, f, g, h, ..] = *node.key;
    let of = u32::from_le_bytes;
    of([a, b, c, d]) ^ of([e, f, g, h]) ^ u32::from(node.kind)
}

#[cfg(test)]
mod tests {
    use super::{Delta, NEW, PIECE_BYTES, Runs};
    use crate::rustc::crate_source::Fingerprint;
    use crate::rustc::nodes::{self, Nodes};
    use proptest::prelude::*;

    /// A node by its key, value, and the keys of those that it was made from.
    type Made = (u8, u8, Vec<u8>);

    /// Returns the dep-graph of `all`, as rustc 1.95 writes it.
    fn graph(all: &[Made]) -> Vec<u8> {
        let mut bytes = b"RSIC\0\0\x061.95.0argshash".to_vec();
        let hash = |byte: u8| -> Fingerprint { [byte; 16] };
        let mut count = 0;
        for (position, (key, value, edges)) in (0..).zip(all) {
            let place = |edge: &u8| match edge {
                // So far that they take more bytes.
                252.. => Some(1_usize << (6 * (edge - 250))),
                _ => all.iter().position(|(key, ..)| key == edge),
            };
            let known = edges.iter().filter_map(place);
            let mut edges: Vec<u32> = known.map(|at| u32::try_from(at).unwrap()).collect();
            // A node reads another once.
            let mut seen = std::collections::HashSet::new();
            edges.retain(|edge| seen.insert(*edge) && seen.len() <= all.len());
            count += edges.len() as u64;
            let node = (u16::from(key % 7), &hash(*key), &hash(*value));
            nodes::write(&mut bytes, 9, position, node, &edges);
        }
        bytes.extend(b"statistics");
        bytes.extend((all.len() as u64).to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(b"rust-end-file");
        bytes
    }

    /// Returns the nodes of the dep-graph `bytes`.
    fn read(bytes: &[u8]) -> Option<Nodes> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Nodes::read(file.path())
    }

    fn encode(base: &[u8], graph: &[u8]) -> Option<Vec<u8>> {
        super::encode(read(base)?, &mut read(graph)?)
    }

    /// Returns all that `next` makes.
    fn all(mut next: impl FnMut() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let piece = next()?;
            if piece.is_empty() {
                return Some(all);
            }
            all.extend(piece);
        }
    }

    fn decode(base: &[u8], delta: &[u8], size_bytes: usize) -> Option<Vec<u8>> {
        all(super::decode(read(base)?, delta, size_bytes)?)
    }

    fn made() -> impl Strategy<Value = Vec<Made>> {
        let edges = prop::collection::vec(any::<u8>(), 0..80);
        let nodes = prop::collection::vec((any::<u8>(), 0u8..3, edges), 0..60);
        nodes.prop_map(|mut nodes| {
            let mut seen = std::collections::HashSet::new();
            nodes.retain(|(key, ..)| seen.insert(*key));
            nodes
        })
    }

    /// What changed in one function would cost the whole graph again.
    #[test]
    fn a_node_that_moved_costs_next_to_nothing() {
        let old: Vec<Made> = (1..=200)
            .map(|key| (key, key, vec![key / 2, key / 3]))
            .collect();
        let mut new = old.clone();
        new.insert(0, (201, 1, vec![]));
        new[50].1 = 99;
        let (old, new) = (graph(&old), graph(&new));
        let delta = encode(&old, &new).unwrap();
        assert!(
            delta.len() < 300 && new.len() > 7000,
            "{} of {}",
            delta.len(),
            new.len()
        );
        assert!(decode(&old, &delta, new.len()).unwrap() == new);
    }

    /// A node that is read in parts, or a piece that ends within one, would be another.
    #[test]
    fn a_graph_of_many_pieces_comes_back() {
        let count = 9 << 10;
        // Says which key is at a position, and where a key is.
        let large = |key: &dyn Fn(u32) -> u32, place: &dyn Fn(u32) -> Option<u32>| {
            let mut bytes = b"RSIC\0\0\x061.95.0argshash".to_vec();
            let mut sum = 0;
            for at in 0..count {
                let key = key(at);
                let mut hash: Fingerprint = [7; 16];
                hash[4..8].copy_from_slice(&key.to_le_bytes());
                hash[..4].copy_from_slice(&key.wrapping_mul(0x9e37_79b9).to_le_bytes());
                // Now and then more than what is read at once.
                let edges = 0..if key % 1000 == 7 { count } else { key % 9 };
                let edges: Vec<u32> = edges.filter_map(place).collect();
                sum += edges.len() as u64;
                let kind = u16::try_from(key % 300).unwrap();
                nodes::write(&mut bytes, 9, at, (kind, &hash, &hash), &edges);
            }
            bytes.extend(u64::from(count).to_le_bytes());
            bytes.extend(sum.to_le_bytes());
            bytes.extend(b"rust-end-file");
            bytes
        };
        let old = large(&|at| at, &Some);
        // Every seventh is another, and runs of the others are elsewhere.
        let is_new = |at: &u32| at.is_multiple_of(7);
        let key = |at: u32| (at ^ 0x300) + if is_new(&at) { 1_000_000 } else { 0 };
        let new = large(&key, &|key| Some(key ^ 0x300).filter(|at| !is_new(at)));
        let delta = encode(&old, &new).unwrap();
        assert!(new.len() > 3 * PIECE_BYTES && delta.len() < new.len() / 8);
        assert!(decode(&old, &delta, new.len()).unwrap() == new);
        assert!(decode(&old, &delta, new.len() - 1).is_none());
        // Nothing is as it was.
        let other = large(&|at| at + 1_000_000, &Some);
        assert!(encode(&old, &other).is_none());
    }

    /// A file that is no graph of this form, or ends early, must be left to others.
    #[test]
    fn other_files_have_no_delta() {
        let whole = graph(&[(1, 1, vec![]), (2, 1, vec![1])]);
        assert_eq!(read(&whole).unwrap().count(), 2);
        let no_graph = [&b""[..], b"RSIC", &whole[..whole.len() - 1], &[0; 300]];
        for other in no_graph {
            assert!(encode(&whole, other).is_none() && encode(other, &whole).is_none());
            assert!(decode(other, &encode(&whole, &whole).unwrap(), 100).is_none());
        }
        // One that reads more than there is would take any amount of memory.
        let mut bytes = b"RSIC\0\0\x061.95.0argshash".to_vec();
        nodes::write(&mut bytes, 9, 0, (1, &[1; 16], &[1; 16]), &[0, 0]);
        bytes.extend([1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
        bytes.extend(b"rust-end-file");
        assert!(read(&bytes).is_none());
    }

    /// A few bytes would keep a reader busy for hours, or fill its memory.
    #[test]
    fn a_small_delta_makes_no_large_graph() {
        let base = graph(&[(1, 1, vec![]), (2, 1, vec![1])]);
        let apply = |delta: Delta, most: usize| all(delta.apply(read(&base)?, most)?);
        let nodes = |new: &[u32], jumps: &[i32], lengths: &[u32]| Delta {
            kind_bits: 9,
            nodes: Runs {
                new: new.to_vec(),
                jumps: jumps.to_vec(),
                lengths: lengths.to_vec(),
            },
            has_value: vec![false; 2],
            has_edges: vec![0; 2],
            ..Delta::default()
        };
        assert!(apply(nodes(&[0], &[0], &[2]), 1 << 20).is_some());
        // The same node again, behind the end, before the beginning, and more than fit.
        assert!(apply(nodes(&[0, 0], &[0, -1], &[1, 1]), 1 << 20).is_none());
        assert!(apply(nodes(&[0], &[0], &[3]), 1 << 20).is_none());
        assert!(apply(nodes(&[0], &[-1], &[1]), 1 << 20).is_none());
        assert!(apply(nodes(&[NEW], &[0], &[2]), 1 << 20).is_none());
        assert!(apply(nodes(&[0], &[0], &[2]), 75).is_none());
        for (new, fits) in [(2, true), (3, false), (NEW, false)] {
            let mut edges = nodes(&[0], &[0], &[2]);
            edges.has_edges = vec![2, 0];
            edges.targets = vec![0; 5];
            edges.edges = Runs {
                new: vec![new],
                jumps: vec![0],
                lengths: vec![0],
            };
            assert_eq!(apply(edges, 1 << 20).is_some(), fits, "{new}");
        }
    }

    proptest! {
        /// A graph that comes back otherwise is thrown away after all the work.
        #[test]
        fn a_graph_comes_back_as_it_was(old in made(), new in made()) {
            let (old, new) = (graph(&old), graph(&new));
            let delta = encode(&old, &new).unwrap();
            prop_assert!(decode(&old, &delta, new.len()).unwrap() == new);
        }

        /// A delta is not signed: whatever is in it, a reader must neither stop nor fill its memory.
        #[test]
        fn hostile_deltas_end(old in made(), new in made(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9)) {
            let (old, new) = (graph(&old), graph(&new));
            let delta = encode(&old, &new).unwrap();
            let mut plain = zstd::bulk::decompress(&delta, 1 << 20).unwrap();
            for (at, byte) in damage {
                let at = at.index(plain.len());
                plain[at] = byte;
            }
            let delta = zstd::bulk::compress(&plain, 1).unwrap();
            let most = new.len() * 2;
            if let Some(made) = decode(&old, &delta, most) {
                prop_assert!(made.len() <= most + new.len());
            }
        }
    }
}
