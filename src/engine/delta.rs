//! An object as what changed since another, its base. See note 0019.
//!
//! Whoever stores what comes of it checks its digest: a delta that is damaged, or of another base, makes no object.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zstd::zstd_safe::CParameter;

use super::graph_delta;
use crate::disk::open_at;
use crate::rustc::dep_graph;
use crate::store::pack::{Codec, MAX_BASE_BYTES};

/// Smaller objects are stored whole: all of them are a fiftieth of what is stored.
const MIN_BYTES: u64 = 16 << 10;
/// The largest dep-graph that is told by another: both are in memory at once, and no command may take more than 400 MB.
const MAX_GRAPH_BYTES: u64 = 160 << 20;
/// Other content is told in stretches of so many bytes, by what lies around the same place of the base.
const STRETCH_BYTES: u64 = 32 << 20;
/// How much more of the base that is, on either side.
const AROUND_BYTES: u64 = 16 << 20;
/// zstd's level for them.
const LEVEL: i32 = 3;
/// Files up to this size are searched finely: a query cache takes half as much for it, a program no less but for longer.
const MAX_FINE_BYTES: u64 = 96 << 20;
/// The shortest match that is looked for then, in bytes.
const FINE_MATCH: u32 = 4;
/// The size of the two tables that are looked in then, 32 MiB each.
const FINE_LOG: u32 = 23;
/// What a window needs to reach from the end of a stretch to the beginning of its part of the base.
const WINDOW_LOG: u32 = 27;

/// Returns `content` as a delta to `base`, and how to read it; none where no delta is worth trying.
pub fn encode(base: &Path, content: &Path) -> io::Result<Option<(Codec, Vec<u8>)>> {
    let size = |path: &Path| path.metadata().map(|meta| meta.len());
    let (base_bytes, size_bytes) = (size(base)?, size(content)?);
    if size_bytes < MIN_BYTES || base_bytes > MAX_BASE_BYTES {
        return Ok(None);
    }
    if is_graph(content)? && base_bytes.max(size_bytes) <= MAX_GRAPH_BYTES {
        let (base, content) = (std::fs::read(base)?, std::fs::read(content)?);
        if let Some(delta) = graph_delta::encode(&base, &content) {
            // rustc may write it in more than one way.
            let again = graph_delta::decode(&base, &delta, content.len());
            return Ok(again
                .filter(|again| *again == content)
                .map(|_| (Codec::Graph, delta)));
        }
    }
    let mut delta = Vec::new();
    let mut content = File::open(content)?;
    let mut start = 0;
    while start < size_bytes {
        let around = around(base, start)?;
        let mut encoder = zstd::Encoder::with_ref_prefix(&mut delta, LEVEL, &around)?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        if size_bytes <= MAX_FINE_BYTES {
            encoder.set_parameter(CParameter::MinMatch(FINE_MATCH))?;
            encoder.set_parameter(CParameter::HashLog(FINE_LOG))?;
            encoder.set_parameter(CParameter::ChainLog(FINE_LOG))?;
        }
        io::copy(&mut content.by_ref().take(STRETCH_BYTES), &mut encoder)?;
        encoder.finish()?;
        start += STRETCH_BYTES;
    }
    Ok(Some((Codec::Bytes, delta)))
}

/// Returns a reader of what `delta` makes of `base`. Whoever reads stops at `size_bytes`, which is what should come.
pub fn decode<'a>(
    base: &'a Path,
    (codec, delta): (Codec, &'a [u8]),
    size_bytes: u64,
) -> io::Result<Box<dyn Read + 'a>> {
    match codec {
        Codec::Graph => {
            let size = base.metadata()?.len().max(size_bytes);
            let fits = usize::try_from(size_bytes).ok();
            let fits = fits.filter(|_| size <= MAX_GRAPH_BYTES);
            let base = std::fs::read(base)?;
            let graph = fits.and_then(|size| graph_delta::decode(&base, delta, size));
            let graph = graph.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            Ok(Box::new(io::Cursor::new(graph)))
        }
        Codec::Bytes => Ok(Box::new(Stretches {
            base,
            rest: delta,
            begun: 0,
            stretch: io::Cursor::default(),
        })),
    }
}

/// Stretches of an object, one behind the other.
struct Stretches<'a> {
    base: &'a Path,
    rest: &'a [u8],
    /// Where the next one begins.
    begun: u64,
    stretch: io::Cursor<Vec<u8>>,
}

impl Read for Stretches<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stretch.read(buffer)?;
        if read > 0 || buffer.is_empty() || self.rest.is_empty() {
            return Ok(read);
        }
        let around = around(self.base, self.begun)?;
        let decoder = zstd::Decoder::with_ref_prefix(&mut self.rest, &around)?;
        let mut stretch = std::mem::take(&mut self.stretch).into_inner();
        stretch.clear();
        let one = decoder.single_frame().take(STRETCH_BYTES);
        { one }.read_to_end(&mut stretch)?;
        self.stretch = io::Cursor::new(stretch);
        self.begun += STRETCH_BYTES;
        self.stretch.read(buffer)
    }
}

/// Returns what of `base` a stretch is told by that begins at `start`.
fn around(base: &Path, start: u64) -> io::Result<Vec<u8>> {
    let from = start.saturating_sub(AROUND_BYTES);
    let size = start + STRETCH_BYTES + AROUND_BYTES - from;
    let mut around = Vec::new();
    let file = open_at(base, from).map_err(io::Error::other)?;
    file.take(size).read_to_end(&mut around)?;
    Ok(around)
}

/// Tells whether the file at `path` may be a dep-graph.
fn is_graph(path: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    let file = File::open(path)?;
    file.take(dep_graph::MAX_HEADER_BYTES as u64)
        .read_to_end(&mut header)?;
    Ok(dep_graph::header(&header).is_some())
}

#[cfg(test)]
mod tests {
    use super::{AROUND_BYTES, STRETCH_BYTES, decode, encode};
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
        check(b"", &base, 101_000);
        let large = noise(2, STRETCH_BYTES + 1000);
        let grown = [&noise(3, AROUND_BYTES / 2), &large[..]].concat();
        check(&large, &grown, AROUND_BYTES / 2 + 100_000);
        check(&large[..5000], &large[..40_000], 36_000);
    }
}
