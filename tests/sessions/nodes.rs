//! Reads the nodes of a dep-graph, to count those whose result is another one than in the session before.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use crate::reuse::{crate_dirs, entries};

/// How many nodes are red, by the name of the crate's directory.
pub(crate) type Red = BTreeMap<String, usize>;

/// Kind and key of a node, and the hash of its result.
type Nodes = HashMap<(u16, [u8; 16]), [u8; 16]>;

/// How many bits hold a node's kind. Source: rustc: rustc_middle/src/dep_graph/serialized.rs @ 1.95 to 1.96.
const KIND_BITS: u32 = 9;
/// `node_max`, `node_count` and `edge_count`, before the closing mark.
const TRAILER: usize = 3 * 8 + b"rust-end-file".len();

/// Returns how many nodes of each crate's newest session below `dir`, a profile's directory, were in the one before with another result.
/// Crates with a single session are left out.
pub(crate) fn red(dir: &Path) -> Red {
    let mut found = Red::new();
    for (name, crate_dir) in crate_dirs(dir) {
        let mut sessions = entries(&crate_dir);
        sessions.retain(|path| path.is_dir());
        sessions.sort();
        if let [.., before, newest] = &sessions[..] {
            let (before, newest) = (nodes(before), nodes(newest));
            let red = before
                .iter()
                .filter(|(node, result)| newest.get(*node).is_some_and(|newest| newest != *result));
            found.insert(name, red.count());
        }
    }
    found
}

fn nodes(session: &Path) -> Nodes {
    let bytes = fs::read(session.join("dep-graph.bin")).expect("it is there");
    let mut at = 4 + 2 + 1 + usize::from(bytes[6]) + 8;
    let number = |at: usize, size: usize| {
        let bytes = bytes[at..at + size].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let trailer = bytes.len() - TRAILER;
    let (count, edges) = (number(trailer + 8, 8), number(trailer + 16, 8));
    let (mut nodes, mut seen) = (Nodes::new(), 0);
    for _ in 0..count {
        let head = u16::try_from(number(at, 2)).expect("it is 16 bits");
        let hash = |at: usize| bytes[at..at + 16].try_into().expect("it is 16 bytes");
        nodes.insert((head & ((1 << KIND_BITS) - 1), hash(at + 6)), hash(at + 22));
        at += 38;
        let width = usize::from(head >> KIND_BITS & 3) + 1;
        let edges = match usize::from(head >> (KIND_BITS + 2)) {
            0 => leb128(&bytes, &mut at),
            stored => stored - 1,
        };
        at += edges * width;
        seen += edges;
    }
    assert_eq!(seen, edges, "the dep-graph is of another format");
    nodes
}

fn leb128(bytes: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}
