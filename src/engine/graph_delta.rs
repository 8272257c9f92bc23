//! A dep-graph as what changed since another.
//!
//! rustc numbers all nodes anew in each session, so nearly every byte moves though hardly a node changes. Here nodes are matched
//! by query and key, and edges are told by those of the matching node. See note 0019.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::rustc::crate_source::Fingerprint;
use crate::rustc::nodes::{self, Node, Nodes};

/// The position of what the base does not have.
const NEW: u32 = u32::MAX;
/// How many bytes more than the graph a delta may have, where the two have nothing in common.
const SLACK_BYTES: usize = 64 << 10;

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
    /// How many matching nodes have the same value before each that has not.
    same_values: Vec<u32>,
    /// The values of those, and of new nodes.
    values: Vec<Fingerprint>,
    /// How many matching nodes have the edges that are expected before each that has not.
    same_edges: Vec<u32>,
    /// For each of those, and each new node, how many of `edges` are of it.
    edge_runs: Vec<u32>,
    /// Where in the expected edges the edges are.
    edges: Runs,
    /// The others, each by how much smaller it is than the edge before, or the node.
    targets: Vec<i64>,
}

/// Sequences of positions, as runs of consecutive ones and counts of [`NEW`] before each.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Runs {
    new: Vec<u32>,
    /// Where the run begins, from the end of the last.
    jumps: Vec<i64>,
    lengths: Vec<u32>,
}

/// How the nodes of a graph follow from those of its base.
struct Matching<'a> {
    base: &'a Nodes<'a>,
    /// For each node of the base, where it is now.
    moved: Vec<u32>,
    /// Nodes of the base that are no more, by kind: a new node is most like the next of them.
    gone: HashMap<u16, VecDeque<u32>>,
}

/// Returns what makes `graph` of `base`, compressed; none where one of them is no dep-graph of a known form.
pub(super) fn encode(base: &[u8], graph: &[u8]) -> Option<Vec<u8>> {
    let (base, graph) = (Nodes::read(base)?, Nodes::read(graph)?);
    let delta = Delta::between(&base, &graph);
    let plain = postcard::to_allocvec(&delta).ok()?;
    zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL).ok()
}

/// Returns the graph of `size_bytes` that `delta` makes of `base`; none if it makes none, or a larger one.
pub(super) fn decode(base: &[u8], delta: &[u8], size_bytes: usize) -> Option<Vec<u8>> {
    let base = Nodes::read(base)?;
    let plain = zstd::bulk::decompress(delta, size_bytes + SLACK_BYTES).ok()?;
    let delta: Delta = postcard::from_bytes(&plain).ok()?;
    delta.apply(&base, size_bytes)
}

impl Delta {
    fn between(base: &Nodes<'_>, graph: &Nodes<'_>) -> Delta {
        let places = places(base, graph);
        let mut matching = Matching::new(base, &places);
        let (before, behind) = graph.around();
        let mut delta = Delta {
            kind_bits: graph.kind_bits,
            around: (before.to_vec(), behind.to_vec()),
            ..Delta::default()
        };
        delta.nodes.add(&places);
        let (mut same_values, mut same_edges) = (0, 0);
        let (mut expected, mut edges) = (Vec::new(), Vec::new());
        for (position, place) in (0..).zip(places) {
            let node = graph.get(position);
            edges.clear();
            edges.extend(node.edges());
            matching.expect(place, node.kind, &mut expected);
            let known = (place != NEW).then(|| base.get(place));
            if known.is_none() {
                delta.kinds.push(node.kind);
                delta.keys.push(*node.key);
            }
            if known.is_some_and(|known| known.value == node.value) {
                same_values += 1;
            } else {
                delta.values.push(*node.value);
                if known.is_some() {
                    delta.same_values.push(std::mem::take(&mut same_values));
                }
            }
            if known.is_some() && expected == edges {
                same_edges += 1;
                continue;
            }
            if known.is_some() {
                delta.same_edges.push(std::mem::take(&mut same_edges));
            }
            delta.add_edges(position, &expected, &edges);
        }
        delta
    }

    fn add_edges(&mut self, position: u32, expected: &[u32], edges: &[u32]) {
        let places: HashMap<u32, u32> = expected.iter().copied().zip(0..).collect();
        let place = |edge| places.get(edge).copied().unwrap_or(NEW);
        let found: Vec<u32> = edges.iter().map(place).collect();
        self.edge_runs.push(self.edges.add(&found));
        let mut last = position;
        for (edge, place) in edges.iter().zip(found) {
            if place == NEW {
                self.targets.push(i64::from(last) - i64::from(*edge));
            }
            last = *edge;
        }
    }

    fn apply(&self, base: &Nodes<'_>, size_bytes: usize) -> Option<Vec<u8>> {
        if !nodes::is_known(self.kind_bits) {
            return None;
        }
        let mut graph = Vec::with_capacity(size_bytes);
        graph.extend_from_slice(&self.around.0);
        let mut places = Vec::new();
        let runs = self.nodes.lengths.len();
        let most = nodes::most(size_bytes);
        self.nodes.read().next(runs, &mut places, most)?;
        let mut matching = Matching::new(base, &places);
        let mut columns = Columns::of(self);
        let (mut expected, mut edges) = (Vec::new(), Vec::new());
        for (position, place) in (0..).zip(places) {
            let known = match place {
                NEW => None,
                place if place < base.count() => Some(base.get(place)),
                _ => return None,
            };
            let (kind, key) = match &known {
                Some(known) => (known.kind, known.key),
                None => (*columns.kinds.next()?, columns.keys.next()?),
            };
            let value = match known {
                Some(known) if columns.values_kept.keeps() => known.value,
                _ => columns.values.next()?,
            };
            matching.expect(place, kind, &mut expected);
            let kept = known.is_some() && columns.edges_kept.keeps();
            if !kept {
                columns.edges(position, &expected, &mut edges, size_bytes)?;
            }
            let edges = if kept { &expected } else { &edges };
            if graph.len() + edges.len() > size_bytes {
                return None;
            }
            nodes::write(
                &mut graph,
                self.kind_bits,
                position,
                (kind, key, value),
                edges,
            );
        }
        graph.extend_from_slice(&self.around.1);
        Some(graph)
    }
}

/// The columns of a delta, each read from its beginning.
struct Columns<'a> {
    kinds: std::slice::Iter<'a, u16>,
    keys: std::slice::Iter<'a, Fingerprint>,
    values: std::slice::Iter<'a, Fingerprint>,
    values_kept: Kept<'a>,
    edges_kept: Kept<'a>,
    edge_runs: std::slice::Iter<'a, u32>,
    edges: RunsRead<'a>,
    targets: std::slice::Iter<'a, i64>,
    places: Vec<u32>,
}

impl<'a> Columns<'a> {
    fn of(delta: &'a Delta) -> Columns<'a> {
        Columns {
            kinds: delta.kinds.iter(),
            keys: delta.keys.iter(),
            values: delta.values.iter(),
            values_kept: Kept::of(&delta.same_values),
            edges_kept: Kept::of(&delta.same_edges),
            edge_runs: delta.edge_runs.iter(),
            edges: delta.edges.read(),
            targets: delta.targets.iter(),
            places: Vec::new(),
        }
    }

    /// Reads the next edges, of the node at `position`, into `edges`.
    fn edges(
        &mut self,
        position: u32,
        expected: &[u32],
        edges: &mut Vec<u32>,
        most: usize,
    ) -> Option<()> {
        let runs = usize::try_from(*self.edge_runs.next()?).ok()?;
        self.places.clear();
        self.edges.next(runs, &mut self.places, most)?;
        edges.clear();
        let mut last = position;
        for place in &self.places {
            last = match *place {
                NEW => u32::try_from(i64::from(last).checked_sub(*self.targets.next()?)?).ok()?,
                place => *expected.get(place as usize)?,
            };
            edges.push(last);
        }
        Some(())
    }
}

/// Which of many things stay as they were.
struct Kept<'a> {
    counts: std::slice::Iter<'a, u32>,
    left: Option<u32>,
}

impl<'a> Kept<'a> {
    fn of(counts: &'a [u32]) -> Kept<'a> {
        let mut counts = counts.iter();
        let left = counts.next().copied();
        Kept { counts, left }
    }

    /// Tells whether the next does.
    fn keeps(&mut self) -> bool {
        match &mut self.left {
            None => true,
            Some(0) => {
                self.left = self.counts.next().copied();
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

impl Runs {
    /// Adds the sequence `places`, and returns of how many runs it is.
    fn add(&mut self, places: &[u32]) -> u32 {
        let (mut rest, mut expected, mut runs) = (places, 0, 0);
        while !rest.is_empty() {
            let new = rest.iter().take_while(|place| **place == NEW).count();
            rest = &rest[new..];
            let start = rest.first().copied().unwrap_or(expected);
            let run = rest.iter().zip(start..NEW);
            let length = run.take_while(|(place, next)| **place == *next).count();
            rest = &rest[length..];
            self.new.push(to_u32(new));
            self.jumps.push(i64::from(start) - i64::from(expected));
            self.lengths.push(to_u32(length));
            expected = start + to_u32(length);
            runs += 1;
        }
        runs
    }

    fn read(&self) -> RunsRead<'_> {
        RunsRead {
            new: self.new.iter(),
            jumps: self.jumps.iter(),
            lengths: self.lengths.iter(),
        }
    }
}

/// Runs that are being read.
struct RunsRead<'a> {
    new: std::slice::Iter<'a, u32>,
    jumps: std::slice::Iter<'a, i64>,
    lengths: std::slice::Iter<'a, u32>,
}

impl RunsRead<'_> {
    /// Reads the next sequence, of so many runs and at most `most` elements, into `places`.
    fn next(&mut self, runs: usize, places: &mut Vec<u32>, most: usize) -> Option<()> {
        let mut expected = 0_i64;
        for _ in 0..runs {
            let (new, length) = (*self.new.next()?, *self.lengths.next()?);
            if places.len() + new as usize + length as usize > most {
                return None;
            }
            places.extend(std::iter::repeat_n(NEW, new as usize));
            let start = u32::try_from(expected.checked_add(*self.jumps.next()?)?).ok()?;
            let end = start.checked_add(length)?;
            places.extend(start..end);
            expected = i64::from(end);
        }
        Some(())
    }
}

impl<'a> Matching<'a> {
    /// Returns the matching of nodes that are at `places` in `base`.
    fn new(base: &'a Nodes<'a>, places: &[u32]) -> Matching<'a> {
        let mut moved = vec![NEW; base.count() as usize];
        for (position, place) in (0..).zip(places) {
            if let Some(moved) = moved.get_mut(*place as usize) {
                *moved = position;
            }
        }
        let mut gone: HashMap<u16, VecDeque<u32>> = HashMap::new();
        for (place, _) in (0..).zip(&moved).filter(|(_, moved)| **moved == NEW) {
            let of_kind = gone.entry(base.get(place).kind).or_default();
            of_kind.push_back(place);
        }
        Matching { base, moved, gone }
    }

    /// Makes `expected` the edges that are expected of the next node, which is at `place` in the base.
    fn expect(&mut self, place: u32, kind: u16, expected: &mut Vec<u32>) {
        let like = match place {
            NEW => self.gone.get_mut(&kind).and_then(VecDeque::pop_front),
            place => Some(place),
        };
        expected.clear();
        if let Some(like) = like.map(|place| self.base.get(place)) {
            let moved = |edge: u32| self.moved.get(edge as usize).copied();
            let edges = like.edges().filter_map(moved);
            expected.extend(edges.filter(|edge| *edge != NEW));
        }
    }
}

/// Returns where in `base` each node of `graph` is.
fn places(base: &Nodes<'_>, graph: &Nodes<'_>) -> Vec<u32> {
    let mut by_key: Vec<(u32, u32)> = Vec::new();
    let mut find = |node: &Node<'_>, expected| {
        if expected < base.count() && base.get(expected).is_same(node) {
            return expected;
        }
        if by_key.is_empty() {
            by_key = (0..base.count())
                .map(|place| (short(&base.get(place)), place))
                .collect();
            by_key.sort_unstable();
        }
        let first = by_key.partition_point(|(key, _)| *key < short(node));
        let alike = by_key[first..]
            .iter()
            .take_while(|(key, _)| *key == short(node));
        let mut alike = alike.map(|(_, place)| *place);
        alike
            .find(|place| base.get(*place).is_same(node))
            .unwrap_or(NEW)
    };
    let mut expected = 0;
    let places = (0..graph.count()).map(|position| {
        let place = find(&graph.get(position), expected);
        expected = if place == NEW { expected } else { place + 1 };
        place
    });
    places.collect()
}

/// Returns a part of a node's key, which is a hash.
fn short(node: &Node<'_>) -> u32 {
    let [a, b, c, d, ..] = *node.key;
    u32::from_le_bytes([a, b, c, d]) ^ u32::from(node.kind)
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a graph has fewer than 2^32 nodes and edges")
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
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
            let edges: Vec<u32> = known.map(|at| u32::try_from(at).unwrap()).collect();
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

    /// A file that is no graph of this form, or ends early, must be left to others.
    #[test]
    fn other_files_have_no_delta() {
        let whole = graph(&[(1, 1, vec![]), (2, 1, vec![1])]);
        assert_eq!(Nodes::read(&whole).unwrap().count(), 2);
        let no_graph = [&b""[..], b"RSIC", &whole[..whole.len() - 1], &[0; 300]];
        for other in no_graph {
            assert!(encode(&whole, other).is_none() && encode(other, &whole).is_none());
            assert!(decode(other, &encode(&whole, &whole).unwrap(), 100).is_none());
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
                prop_assert!(made.len() <= most * 5);
            }
        }
    }
}
