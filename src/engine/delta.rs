//! An object as what changed since another, its base. See note 0019.
//!
//! Whoever stores what comes of it checks its digest: a delta that is damaged, or of another base, makes no object.

use std::io::{self, Read};
use std::path::Path;

use zstd::zstd_safe::{self, CParameter};

use super::graph_delta;
use crate::disk::open_at;
use crate::model::Digest;
use crate::rustc::dep_graph;
use crate::rustc::nodes::Nodes;
use crate::store::pack::{self, Codec};

/// Smaller objects are stored whole: all of them are a fiftieth of what is stored.
pub const MIN_BYTES: u64 = 16 << 10;
/// The largest dep-graph that is stored as a delta to another, and the largest such base: the two are in memory at once.
const MAX_GRAPH_BYTES: u64 = 160 << 20;
/// Other content is cut in stretches of so many bytes, each a delta to what lies around the same place of the base.
const STRETCH_BYTES: u64 = 32 << 20;
/// How much more of the base that is, on either side.
const AROUND_BYTES: u64 = 16 << 20;
/// zstd's level for them.
const LEVEL: i32 = 3;
/// Files up to this size are searched finely: a query cache takes half as much for it, a program no less but for longer.
const MAX_FINE_BYTES: u64 = 96 << 20;
/// The shortest match that is looked for then, in bytes.
const FINE_MATCH: u32 = 4;
/// The size of the two tables that are looked in then, 32 MiB each at most.
const FINE_LOG: u32 = 23;
/// What a window needs to reach from the end of a stretch to the beginning of its part of the base.
const WINDOW_LOG: u32 = 27;

/// Returns `content` as a delta to `base`, and how to read it; none where no delta is worth trying.
pub fn encode(base: &Path, content: &Path) -> io::Result<Option<(Codec, Vec<u8>)>> {
    let size = |path: &Path| path.metadata().map(|meta| meta.len());
    let (base_bytes, size_bytes) = (size(base)?, size(content)?);
    if size_bytes < MIN_BYTES || !pack::may_be_base(base_bytes, size_bytes) {
        return Ok(None);
    }
    let header = read(content, 0, dep_graph::MAX_HEADER_BYTES as u64)?;
    if base_bytes.max(size_bytes) <= MAX_GRAPH_BYTES
        && dep_graph::header(&header).is_some()
        && let Some(delta) = graph(base, std::fs::read(content)?)?
    {
        return Ok(Some((Codec::Graph, delta)));
    }
    let mut delta = Vec::new();
    let mut start = 0;
    while start < size_bytes {
        let size = STRETCH_BYTES.min(size_bytes - start);
        let stretch = read(content, start, size)?;
        let frame = frame(
            &around(base, start)?,
            &stretch,
            size_bytes <= MAX_FINE_BYTES,
        );
        delta.extend(frame.map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?);
        start += size;
    }
    Ok(Some((Codec::Bytes, delta)))
}

/// Returns `stretch` as a frame that refers to `around`. In one call, since a stream would keep all that a window reaches.
fn frame(around: &[u8], stretch: &[u8], finely: bool) -> Result<Vec<u8>, zstd_safe::ErrorCode> {
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(LEVEL))?;
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    context.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    if finely {
        context.set_parameter(CParameter::MinMatch(FINE_MATCH))?;
        context.set_parameter(CParameter::HashLog(FINE_LOG))?;
        context.set_parameter(CParameter::ChainLog(FINE_LOG))?;
    }
    context.ref_prefix(around)?;
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(stretch.len()));
    context.compress2(&mut frame, stretch)?;
    Ok(frame)
}

/// Returns the dep-graph `content` as a delta to `base`, if that makes it again; none if they are no dep-graphs of a known form.
fn graph(base: &Path, content: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some(graph) = Nodes::read(&content) else {
        return Ok(None);
    };
    let base = std::fs::read(base)?;
    let nodes = Nodes::read(&base);
    let delta = nodes.and_then(|base| graph_delta::encode(&base, &graph));
    let (size, digest) = (content.len(), Digest::of(&content));
    // Two graphs in memory are enough.
    drop(content);
    let makes = |delta: &Vec<u8>| {
        let again = graph_delta::decode(&base, delta, size);
        again.is_some_and(|again| Digest::of(&again) == digest)
    };
    Ok(delta.filter(makes))
}

/// Returns a reader of what `delta` makes of `base`; whoever reads checks that it is what should come.
pub fn decode<'a>(
    base: &'a Path,
    (codec, delta): (Codec, &'a [u8]),
    size_bytes: u64,
) -> io::Result<Box<dyn Read + 'a>> {
    match codec {
        Codec::Graph if base.metadata()?.len().max(size_bytes) > MAX_GRAPH_BYTES => Err(damaged()),
        Codec::Graph => {
            let size = usize::try_from(size_bytes).map_err(|_| damaged())?;
            let graph = graph_delta::decode(&std::fs::read(base)?, delta, size);
            Ok(Box::new(io::Cursor::new(graph.ok_or_else(damaged)?)))
        }
        Codec::Bytes => Ok(Box::new(Stretches {
            base,
            rest: delta,
            begun: 0,
            size_bytes,
            stretch: io::Cursor::default(),
        })),
    }
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Stretches of an object, one behind the other.
struct Stretches<'a> {
    base: &'a Path,
    rest: &'a [u8],
    /// Where the next one begins.
    begun: u64,
    /// How large all are together.
    size_bytes: u64,
    stretch: io::Cursor<Vec<u8>>,
}

impl Read for Stretches<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stretch.read(buffer)?;
        if read > 0 || buffer.is_empty() || self.begun == self.size_bytes {
            return Ok(read);
        }
        let size = STRETCH_BYTES.min(self.size_bytes - self.begun);
        let around = around(self.base, self.begun)?;
        let decoder = zstd::Decoder::with_ref_prefix(&mut self.rest, &around)?;
        let mut stretch = std::mem::take(&mut self.stretch).into_inner();
        stretch.clear();
        // One more, so that the frame is read to its end, and one that is longer is seen.
        let mut frame = decoder.single_frame().take(size + 1);
        if frame.read_to_end(&mut stretch)? as u64 != size {
            return Err(damaged());
        }
        self.stretch = io::Cursor::new(stretch);
        self.begun += size;
        self.stretch.read(buffer)
    }
}

/// Returns what of `base` the stretch that begins at `start` is a delta to.
fn around(base: &Path, start: u64) -> io::Result<Vec<u8>> {
    let from = start.saturating_sub(AROUND_BYTES);
    read(base, from, start + STRETCH_BYTES + AROUND_BYTES - from)
}

/// Returns what the file at `path` has from `start` on, at most `size` bytes.
fn read(path: &Path, start: u64, size: u64) -> io::Result<Vec<u8>> {
    let file = open_at(path, start).map_err(io::Error::other)?;
    let there = file.metadata()?.len().saturating_sub(start).min(size);
    // A buffer that grows takes twice as much.
    let mut bytes = Vec::with_capacity(usize::try_from(there).map_err(io::Error::other)?);
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{AROUND_BYTES, MAX_GRAPH_BYTES, STRETCH_BYTES, decode, encode};
    use crate::store::pack::Codec;
    use std::fs;
    use std::io::Read;

    fn noise(seed: u8, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let seed = blake3::Hasher::new().update(&[seed]).finalize();
        blake3::Hasher::new_keyed(seed.as_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }

    fn check(base: &[u8], content: &[u8], most: u64) {
        let dir = tempfile::tempdir().unwrap();
        let (before, after) = (dir.path().join("before"), dir.path().join("after"));
        fs::write(&before, base).unwrap();
        fs::write(&after, content).unwrap();
        let (codec, delta) = encode(&before, &after).unwrap().unwrap();
        assert_eq!(codec, Codec::Bytes);
        assert!(
            delta.len() as u64 <= most,
            "{} for {}",
            delta.len(),
            content.len()
        );
        let mut again = Vec::new();
        let mut reader = decode(&before, (codec, &delta), content.len() as u64).unwrap();
        reader.read_to_end(&mut again).unwrap();
        assert!(again == content, "{} became {}", content.len(), again.len());
        // Of another base, or cut, it may fail, and makes something else.
        fs::write(&before, noise(9, base.len() as u64)).unwrap();
        for delta in [&delta[..], &delta[..delta.len() / 2]] {
            let mut other = Vec::new();
            let read = decode(&before, (codec, delta), content.len() as u64);
            let read = read.and_then(|mut reader| reader.read_to_end(&mut other));
            assert!(base.is_empty() || read.is_err() || other != content);
        }
    }

    /// A file that grew somewhere would cost as much again as it has, or come back as another.
    #[test]
    fn what_changed_of_a_file_is_little_and_comes_back() {
        let base = noise(1, 100_000);
        check(&base, &[b"more", &base[..], b"more"].concat(), 200);
        check(&base, &base[..60_000], 200);
        let text: Vec<u8> = (0..20_000)
            .flat_map(|at: u32| at.to_string().into_bytes())
            .collect();
        check(
            &text,
            &[&text[..50_000], b"x", &text[50_000..]].concat(),
            300,
        );
        check(b"", &base, 101_000);
        check(&base[..5000], &base[..40_000], 36_000);
        // As large as a stretch, and larger.
        let one = noise(4, STRETCH_BYTES);
        let two = [&one[..], b"ended"].concat();
        check(&one, &one, 100_000);
        check(&one, &two, 100_000);
        let large = noise(2, STRETCH_BYTES + 1000);
        let grown = [&noise(3, AROUND_BYTES / 2), &large[..]].concat();
        check(&large, &grown, AROUND_BYTES / 2 + 100_000);
    }

    /// Whoever writes a delta would choose what a reader does instead of reading.
    #[test]
    fn stretches_are_as_long_as_they_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        fs::write(&base, noise(1, 1000)).unwrap();
        let frame = |size: usize| zstd::bulk::compress(&vec![1; size], 3).unwrap();
        let read = |delta: &[u8], size: u64| {
            let mut all = Vec::new();
            let reader = decode(&base, (Codec::Bytes, delta), size);
            reader
                .and_then(|mut reader| reader.read_to_end(&mut all))
                .ok()
        };
        assert_eq!(read(&frame(20_000), 20_000), Some(20_000));
        assert_eq!(read(&frame(20_001), 20_000), None);
        assert_eq!(read(&frame(19_999), 20_000), None);
        assert_eq!(read(&[frame(0), frame(20_000)].concat(), 20_000), None);
        assert_eq!(read(b"", 20_000), None);
        // A dep-graph is not read from a base that is too large to be one.
        fs::File::create(&base)
            .unwrap()
            .set_len(MAX_GRAPH_BYTES + 1)
            .unwrap();
        assert!(decode(&base, (Codec::Graph, b""), 20_000).is_err());
    }
}
