//! The nodes of a dep-graph, in the one way in which rustc writes them. A graph may be larger than memory should be, so they are
//! read one by one.
//!
//! Knows neither what a kind means nor which versions write so: what does not add up is no such graph, and a graph of another
//! spelling is told by whoever writes it again. Source: rustc: rustc_middle/src/dep_graph/serialized.rs @ 1.95.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::crate_source::Fingerprint;
use super::{dep_graph, leb128};

/// What of a node has a fixed size: kind, width and number of its edges in two bytes, its index, key and value.
const FIXED_BYTES: usize = 38;
/// Where of these the key begins.
const KEY: usize = 6;
/// Where the value begins.
const VALUE: usize = 22;
/// How many bytes more say how many edges it has, if these do not.
const MAX_COUNT_BYTES: usize = 4;
/// What of the file is in memory: nodes are read nearly in their order.
const WINDOW_BYTES: usize = 16 << 10;
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

/// A dep-graph: where its nodes are.
#[derive(Debug)]
pub struct Nodes {
    file: BufReader<File>,
    /// How large the file is.
    pub size_bytes: usize,
    /// Where the file is read on.
    at: usize,
    /// What was read last of which only a part was in memory.
    parted: Vec<u8>,
    /// Where each node begins, and where the last one ends.
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
        // Of known lengths, a call less for each.
        self.edges.chunks_exact(self.width).map(|edge| match *edge {
            [a] => u32::from(a),
            [a, b] => u32::from_le_bytes([a, b, 0, 0]),
            [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
            [a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
            [] => 0,
        })
    }
}

impl Nodes {
    /// Returns the nodes of the dep-graph at `path`; none if it is none, or of a form that is not known. Reads all of it.
    pub fn read(path: &Path) -> Option<Nodes> {
        let file = BufReader::with_capacity(WINDOW_BYTES, File::open(path).ok()?);
        let mut nodes = Nodes {
            size_bytes: usize::try_from(file.get_ref().metadata().ok()?.len()).ok()?,
            file,
            at: 0,
            parted: Vec::new(),
            starts: Vec::new(),
            kind_bits: 0,
        };
        let header = nodes.size_bytes.min(dep_graph::MAX_HEADER_BYTES);
        let (_, arguments) = dep_graph::header(nodes.bytes(0, header)?)?;
        let mut fits = KIND_BITS.into_iter();
        fits.any(|bits| nodes.find(arguments.end, bits).is_some())
            .then_some(nodes)
    }

    /// Finds where the nodes begin, the first of them at `start`; none if they do not add up.
    fn find(&mut self, start: usize, kind_bits: u8) -> Option<()> {
        self.kind_bits = kind_bits;
        let sums = 2 * size_of::<u64>() + dep_graph::END.len();
        let end = self.size_bytes.checked_sub(sums)?;
        let sums = self.bytes(end, sums)?.strip_suffix(dep_graph::END)?;
        let (count, edges) = sums.split_first_chunk()?;
        let (count, edges) = (u64::from_le_bytes(*count), edges.try_into().ok()?);
        let most = usize::try_from(count).ok()?.min(most(end));
        self.starts = Vec::with_capacity(most + 1);
        let (mut at, mut seen) = (start, 0);
        self.starts.push(u32::try_from(at).ok()?);
        for _ in 0..count {
            let rest = end.checked_sub(at)?;
            let bytes = self.bytes(at, rest.min(FIXED_BYTES + MAX_COUNT_BYTES))?;
            let (_, count, size) = node(bytes, kind_bits)?;
            // None reads another twice; else one node could take more memory than all of a real graph.
            (count <= most).then_some(())?;
            (at, seen) = (at + size, seen + count as u64);
            self.starts.push(u32::try_from(at).ok()?);
        }
        (seen == u64::from_le_bytes(edges) && at <= end).then_some(())
    }

    /// Returns how many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).expect("each has its own u32")
    }

    /// Returns the node at `position`; none where there are not so many, or the file cannot be read any more.
    pub fn get(&mut self, position: u32) -> Option<Node<'_>> {
        let [start, end] = *self.starts.get(position as usize..)?.first_chunk()?;
        let kind_bits = self.kind_bits;
        let bytes = self.bytes(start as usize, (end - start) as usize)?;
        Some(node(bytes, kind_bits)?.0)
    }

    /// Calls `each` with every key and result, and where it stands in the file; nothing where that cannot be read any more.
    pub fn each_hash(&mut self, mut each: impl FnMut(usize, &Fingerprint)) -> Option<()> {
        for position in 0..self.count() {
            let start = *self.starts.get(position as usize)? as usize;
            let node = self.get(position)?;
            each(start + KEY, node.key);
            each(start + VALUE, node.value);
        }
        Some(())
    }

    /// Returns what stands before and behind the nodes.
    pub fn around(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let before = self.bytes(0, *self.starts.first()? as usize)?.to_vec();
        let end = *self.starts.last()? as usize;
        Some((before, self.bytes(end, self.size_bytes - end)?.to_vec()))
    }

    /// Returns the `size` bytes from `start` on.
    fn bytes(&mut self, start: usize, size: usize) -> Option<&[u8]> {
        let further = start.wrapping_sub(self.at).cast_signed();
        self.file.seek_relative(further as i64).ok()?;
        self.at = start;
        if self.file.buffer().len() < size {
            self.parted.resize(size, 0);
            self.file.read_exact(&mut self.parted).ok()?;
            self.at += size;
            return Some(&self.parted);
        }
        Some(&self.file.buffer()[..size])
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

/// Reads the node that `bytes` begin with, and returns how many edges it has, of which some may stand behind them, and how large it is.
fn node(bytes: &[u8], kind_bits: u8) -> Option<(Node<'_>, usize, usize)> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>()?;
    let head = u16::from_le_bytes([fixed[0], fixed[1]]);
    let width = usize::from(head >> kind_bits & 3) + 1;
    let (mut start, may_count) = (0, &rest[..rest.len().min(MAX_COUNT_BYTES)]);
    let count = match usize::from(head >> (kind_bits + WIDTH_BITS)) {
        0 => usize::try_from(leb128::read(may_count, &mut start)?).ok()?,
        more => more - 1,
    };
    let edges = &rest[start..];
    let node = Node {
        kind: head & ((1 << kind_bits) - 1),
        key: fixed[KEY..VALUE].try_into().ok()?,
        value: fixed[VALUE..].try_into().ok()?,
        width,
        edges: edges.get(..count * width).unwrap_or(edges),
    };
    let size = bytes.len() - edges.len() + count * width;
    Some((node, count, size))
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
    let width = (4 - largest.leading_zeros() as usize / 8).max(1);
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
        // The highest, which are zero, go again.
        bytes.extend(edge.to_le_bytes());
        bytes.truncate(bytes.len() + width - 4);
    }
}
