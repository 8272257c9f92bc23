//! The nodes of a dep-graph, in the one way in which rustc writes them.
//!
//! Knows neither what a kind means nor which versions write so: what does not add up is no such graph, and a graph of another
//! spelling is told by whoever writes it again. Source: rustc: rustc_middle/src/dep_graph/serialized.rs @ 1.95.

use std::ops::Range;

use super::crate_source::Fingerprint;
use super::{dep_graph, leb128};

/// What of a node has a fixed size: kind, width and number of its edges in two bytes, its index, key and value.
const FIXED_BYTES: usize = 38;
/// The numbers of bits that a kind may take, the likeliest first; it grows with rustc's queries.
const KIND_BITS: [u8; 3] = [9, 10, 8];
/// What says how many bytes an edge takes.
const WIDTH_BITS: u8 = 2;

/// A node, and the nodes that it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// The query, as a number of this version.
    pub kind: u16,
    /// The query's key.
    pub key: &'a Fingerprint,
    /// The query's result.
    pub value: &'a Fingerprint,
    width: usize,
    edges: &'a [u8],
}

/// A dep-graph, read.
#[derive(Debug)]
pub struct Nodes<'a> {
    bytes: &'a [u8],
    all: Range<usize>,
    starts: Vec<u32>,
    /// How many bits a kind takes in this version.
    pub kind_bits: u8,
}

impl Node<'_> {
    /// Tells whether `other` is of the same query with the same key.
    pub fn is_same(&self, other: &Node<'_>) -> bool {
        (self.key, self.kind) == (other.key, other.kind)
    }

    /// Returns the nodes that it was made from, by position, in the order in which they were read.
    pub fn edges(&self) -> impl Iterator<Item = u32> + '_ {
        self.edges.chunks_exact(self.width).map(|edge| {
            let mut bytes = [0; 4];
            bytes[..edge.len()].copy_from_slice(edge);
            u32::from_le_bytes(bytes)
        })
    }
}

impl<'a> Nodes<'a> {
    /// Returns the nodes of the dep-graph `bytes`; none if it is none, or of a form that is not known.
    pub fn read(bytes: &'a [u8]) -> Option<Nodes<'a>> {
        let (_, arguments) = dep_graph::header(bytes)?;
        let read = |bits: u8| Nodes::with(bytes, arguments.end, bits);
        KIND_BITS.into_iter().find_map(read)
    }

    fn with(bytes: &'a [u8], start: usize, kind_bits: u8) -> Option<Nodes<'a>> {
        let counts = bytes.strip_suffix(dep_graph::END)?;
        let (counts, edges) = counts.split_last_chunk()?;
        let (rest, count) = counts.split_last_chunk()?;
        let (count, edges) = (u64::from_le_bytes(*count), u64::from_le_bytes(*edges));
        let mut starts = Vec::with_capacity(usize::try_from(count).ok()?.min(most(bytes.len())));
        let (mut at, mut seen) = (start, 0);
        while (starts.len() as u64) < count {
            let (node, end) = node(rest, at, kind_bits)?;
            starts.push(u32::try_from(at).ok()?);
            seen += (node.edges.len() / node.width) as u64;
            at = end;
        }
        (seen == edges).then_some(Nodes {
            bytes,
            all: start..at,
            starts,
            kind_bits,
        })
    }

    /// Returns how many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.starts.len()).expect("each has its own u32")
    }

    /// Returns how large the whole file is.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the node at a position below [`Nodes::count`].
    pub fn get(&self, position: u32) -> Node<'a> {
        let start = self.starts[position as usize] as usize;
        let read = node(self.bytes, start, self.kind_bits);
        read.expect("it was read before").0
    }

    /// Returns what stands before and behind the nodes.
    pub fn around(&self) -> (&'a [u8], &'a [u8]) {
        (&self.bytes[..self.all.start], &self.bytes[self.all.end..])
    }
}

/// Tells whether there are versions in which a kind takes so many bits.
pub fn is_known(kind_bits: u8) -> bool {
    KIND_BITS.contains(&kind_bits)
}

/// Returns how many nodes a file of `size_bytes` has at most.
pub fn most(size_bytes: usize) -> usize {
    size_bytes / FIXED_BYTES
}

/// Reads the node at `start`, and returns where it ends.
fn node(bytes: &[u8], start: usize, kind_bits: u8) -> Option<(Node<'_>, usize)> {
    let (fixed, mut rest) = bytes.get(start..)?.split_first_chunk::<FIXED_BYTES>()?;
    let head = u16::from_le_bytes([fixed[0], fixed[1]]);
    let width = usize::from(head >> kind_bits & 3) + 1;
    let count = match usize::from(head >> (kind_bits + WIDTH_BITS)) {
        0 => long_count(&mut rest)?,
        more => more - 1,
    };
    let edges = rest.get(..count.checked_mul(width)?)?;
    let node = Node {
        kind: head & ((1 << kind_bits) - 1),
        key: fixed[6..22].try_into().ok()?,
        value: fixed[22..].try_into().ok()?,
        width,
        edges,
    };
    Some((node, bytes.len() - rest.len() + edges.len()))
}

/// Reads a number in seven bits a byte.
fn long_count(rest: &mut &[u8]) -> Option<usize> {
    let mut count = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        count |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(count);
        }
    }
    None
}

/// Writes a node as rustc writes the one at `position`.
pub fn write(
    bytes: &mut Vec<u8>,
    kind_bits: u8,
    position: u32,
    (kind, key, value): (u16, &Fingerprint, &Fingerprint),
    edges: &[u32],
) {
    let largest = edges.iter().max().map_or(0, |edge| *edge);
    let width = (4 - largest.leading_zeros() / 8).max(1);
    let width_bits = u16::try_from(width - 1).expect("at most three");
    let count = edges.len();
    let longest = u16::MAX >> (kind_bits + WIDTH_BITS);
    let short = u16::try_from(count + 1).ok();
    let short = short.filter(|short| *short <= longest);
    let head = kind & ((1 << kind_bits) - 1)
        | width_bits << kind_bits
        | short.unwrap_or(0) << (kind_bits + WIDTH_BITS);
    bytes.extend(head.to_le_bytes());
    bytes.extend(position.to_le_bytes());
    bytes.extend(key);
    bytes.extend(value);
    if short.is_none() {
        leb128::write(bytes, count as u64);
    }
    for edge in edges {
        bytes.extend(&edge.to_le_bytes()[..width as usize]);
    }
}
