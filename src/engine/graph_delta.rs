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
struct Matching<'a> {
    base: &'a Nodes<'a>,
    /// For each node of the base, where it is now.
    moved: Vec<u32>,
    /// Nodes of the base that are no more, by kind: a new node is most like the next of them.
    gone: HashMap<u16, VecDeque<u32>>,
}

/// Returns what makes `graph` of `base`, compressed; none if that is no gain.
pub(super) fn encode(base: &Nodes<'_>, graph: &Nodes<'_>) -> Option<Vec<u8>> {
    let plain = postcard::to_allocvec(&Delta::between(base, graph)?).ok()?;
    let gains = plain.len() <= most_plain(graph.size_bytes());
    gains.then(|| zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL).ok())?
}

/// Returns the graph of `size_bytes` that `delta` makes of `base`; none if it makes none, or a larger one.
pub(super) fn decode(base: &[u8], delta: &[u8], size_bytes: usize) -> Option<Vec<u8>> {
    let base = Nodes::read(base)?;
    let plain = zstd::bulk::decompress(delta, most_plain(size_bytes)).ok()?;
    let delta: Delta = postcard::from_bytes(&plain).ok()?;
    drop(plain);
    delta.apply(&base, size_bytes)
}

fn most_plain(size_bytes: usize) -> usize {
    size_bytes / LARGEST + SLACK_BYTES
}

impl Delta {
    fn between(base: &Nodes<'_>, graph: &Nodes<'_>) -> Option<Delta> {
        let places = places(base, graph);
        let mut matching = Matching::new(base, &places)?;
        let (before, behind) = graph.around();
        let mut delta = Delta {
            kind_bits: graph.kind_bits,
            around: (before.to_vec(), behind.to_vec()),
            ..Delta::default()
        };
        delta.nodes.add(&places);
        let (mut expected, mut edges) = (Vec::new(), Vec::new());
        for (position, place) in (0..).zip(places) {
            let node = graph.get(position);
            let known = (place != NEW).then(|| base.get(place));
            if known.is_none() {
                delta.kinds.push(node.kind);
                delta.keys.push(*node.key);
            }
            let has_value = known.is_none_or(|known| known.value != node.value);
            delta.has_value.push(has_value);
            delta.values.extend(has_value.then_some(*node.value));
            matching.expect(place, node.kind, &mut expected);
            edges.clear();
            edges.extend(node.edges());
            let runs = match expected == edges {
                true => 0,
                false => 1 + delta.add_edges(position, &expected, &edges),
            };
            delta.has_edges.push(runs);
        }
        Some(delta)
    }

    /// Adds the edges of the node at `position`, and returns of how many runs they are.
    fn add_edges(&mut self, position: u32, expected: &[u32], edges: &[u32]) -> u32 {
        let places: HashMap<u32, u32> = expected.iter().copied().zip(0..).collect();
        let mut found = Vec::with_capacity(edges.len());
        let mut last = position;
        for edge in edges {
            let place = places.get(edge).copied().unwrap_or(NEW);
            if place == NEW {
                self.targets.push(last.wrapping_sub(*edge).cast_signed());
            }
            found.push(place);
            last = *edge;
        }
        self.edges.add(&found)
    }

    fn apply(&self, base: &Nodes<'_>, size_bytes: usize) -> Option<Vec<u8>> {
        if !nodes::is_known(self.kind_bits) {
            return None;
        }
        let places = self.nodes.places(base.count(), nodes::most(size_bytes))?;
        let mut matching = Matching::new(base, &places)?;
        let (mut kinds, mut keys) = (self.kinds.iter(), self.keys.iter());
        let (mut has_value, mut values) = (self.has_value.iter(), self.values.iter());
        let mut has_edges = self.has_edges.iter();
        let mut own_edges = self.own_edges(places.len());
        let mut graph = Vec::with_capacity(size_bytes);
        graph.extend_from_slice(&self.around.0);
        let (mut expected, mut edges) = (Vec::new(), Vec::new());
        for (position, place) in (0..).zip(places) {
            let known = (place != NEW).then(|| base.get(place));
            let (kind, key) = match &known {
                Some(known) => (known.kind, known.key),
                None => (*kinds.next()?, keys.next()?),
            };
            let value = match (has_value.next()?, known) {
                (false, Some(known)) => known.value,
                _ => values.next()?,
            };
            matching.expect(place, kind, &mut expected);
            let edges = match has_edges.next()?.checked_sub(1) {
                None => &expected,
                Some(runs) => {
                    own_edges(runs, position, &expected, &mut edges)?;
                    &edges
                }
            };
            let node = (kind, key, value);
            nodes::write(&mut graph, self.kind_bits, position, node, edges);
            if graph.len() > size_bytes {
                return None;
            }
        }
        graph.extend_from_slice(&self.around.1);
        Some(graph)
    }

    /// Returns what reads the edges of one node after the other: in so many runs, and at most `most`, those of the node at a
    /// position, of which some are expected.
    fn own_edges(
        &self,
        most: usize,
    ) -> impl FnMut(u32, u32, &[u32], &mut Vec<u32>) -> Option<()> + '_ {
        let (mut next_run, mut targets) = (self.edges.read(), self.targets.iter());
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
}

impl<'a> Matching<'a> {
    /// Returns the matching of nodes that are at `places` in `base`; none if two of them are at the same.
    fn new(base: &'a Nodes<'a>, places: &[u32]) -> Option<Matching<'a>> {
        let mut moved = vec![NEW; base.count() as usize];
        for (position, place) in (0..).zip(places).filter(|(_, place)| **place != NEW) {
            let moved = moved.get_mut(*place as usize)?;
            if std::mem::replace(moved, position) != NEW {
                return None;
            }
        }
        let mut gone: HashMap<u16, VecDeque<u32>> = HashMap::new();
        for (place, _) in (0..).zip(&moved).filter(|(_, moved)| **moved == NEW) {
            let of_kind = gone.entry(base.get(place).kind).or_default();
            of_kind.push_back(place);
        }
        Some(Matching { base, moved, gone })
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

/// Returns where in `base` each node of `graph` is, each place once.
fn places(base: &Nodes<'_>, graph: &Nodes<'_>) -> Vec<u32> {
    let mut taken = vec![false; base.count() as usize];
    let mut by_key: Option<Vec<(u32, u32)>> = None;
    let mut expected = 0;
    let mut place = |position| {
        let node = graph.get(position);
        let fits = |place: &u32| {
            let is_free = taken.get(*place as usize) == Some(&false);
            is_free && base.get(*place).is_same(&node)
        };
        let mut look = || {
            let by_key = by_key.get_or_insert_with(|| sorted(base));
            let first = by_key.partition_point(|(key, _)| *key < short(&node));
            let alike = by_key[first..].iter();
            let alike = alike.take_while(|(key, _)| *key == short(&node));
            alike.map(|(_, place)| *place).find(fits)
        };
        let place = Some(expected).filter(fits).or_else(&mut look)?;
        taken[place as usize] = true;
        expected = place + 1;
        Some(place)
    };
    let all = 0..graph.count();
    all.map(|position| place(position).unwrap_or(NEW)).collect()
}

/// Returns the places of all nodes, sorted by a part of their keys.
fn sorted(base: &Nodes<'_>) -> Vec<(u32, u32)> {
    let all = 0..base.count();
    let mut all: Vec<(u32, u32)> = all.map(|place| (short(&base.get(place)), place)).collect();
    all.sort_unstable();
    all
}

/// Returns a part of a node's key, which is a hash.
fn short(node: &Node<'_>) -> u32 {
    let [a, b, c, d, ..] = *node.key;
    u32::from_le_bytes([a, b, c, d]) ^ u32::from(node.kind)
}

#[cfg(test)]
mod tests {
    use super::{Delta, NEW, Runs, decode};
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

    fn encode(base: &[u8], graph: &[u8]) -> Option<Vec<u8>> {
        super::encode(&Nodes::read(base)?, &Nodes::read(graph)?)
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

    /// A few bytes would keep a reader busy for hours, or fill its memory.
    #[test]
    fn a_small_delta_makes_no_large_graph() {
        let base = graph(&[(1, 1, vec![]), (2, 1, vec![1])]);
        let base = Nodes::read(&base).unwrap();
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
        assert!(nodes(&[0], &[0], &[2]).apply(&base, 1 << 20).is_some());
        // The same node again, behind the end, before the beginning, and more than fit.
        assert!(
            nodes(&[0, 0], &[0, -1], &[1, 1])
                .apply(&base, 1 << 20)
                .is_none()
        );
        assert!(nodes(&[0], &[0], &[3]).apply(&base, 1 << 20).is_none());
        assert!(nodes(&[0], &[-1], &[1]).apply(&base, 1 << 20).is_none());
        assert!(nodes(&[NEW], &[0], &[2]).apply(&base, 1 << 20).is_none());
        assert!(nodes(&[0], &[0], &[2]).apply(&base, 75).is_none());
        let mut edges = nodes(&[0], &[0], &[2]);
        edges.has_edges = vec![2, 0];
        edges.targets = vec![0; 5];
        for (new, fits) in [(2, true), (3, false), (NEW, false)] {
            edges.edges = Runs {
                new: vec![new],
                jumps: vec![0],
                lengths: vec![0],
            };
            assert_eq!(edges.apply(&base, 1 << 20).is_some(), fits, "{new}");
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
