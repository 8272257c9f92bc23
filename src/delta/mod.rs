//! An object as what changed since another, its base. See note 0019.
//!
//! Whoever stores what comes of it checks its digest: a delta that is damaged, or of another base, makes no object.

mod cache;
mod copies;
mod graph;
mod room;
mod runs;

pub use room::{Room, Taken};

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;
use zstd::zstd_safe;

use self::copies::{Copies, Laid, in_memory};
use crate::disk::{hash, open_at};
use crate::rustc::dep_graph;
use crate::rustc::nodes::Nodes;
use crate::rustc::query_cache::QueryCache;
use crate::store::pack::{self, Codec};

/// Smaller objects are stored whole: all of them are a fiftieth of what is stored.
pub const MIN_BYTES: u64 = 16 << 10;
/// The largest dep-graph or query cache that is a delta to another, and the largest such base: of caches both are in memory at once.
const MAX_WHOLE_BYTES: u64 = 160 << 20;
/// Other content is cut in stretches of so many bytes, each a delta to what lies around the same place of the base. Fewer in unit
/// tests.
const STRETCH_BYTES: u64 = if cfg!(test) { 64 << 10 } else { 32 << 20 };
/// How much more of the base that is, on either side.
const AROUND_BYTES: u64 = STRETCH_BYTES / 2;
/// What the columns of a stretch have at most beside its own size.
const SLACK_BYTES: u64 = 4 << 10;
/// zstd's level for them.
const LEVEL: i32 = 9;

/// Returns `content` as a delta to `base`, and how to read it; none where no delta is worth trying, or it is no gain. With `graphs`, the
/// dep-graphs of the sessions that both are of, they are query caches. Waits for memory in `room`.
pub fn encode(
    base: &Path,
    content: &Path,
    graphs: Option<(&Path, &Path)>,
    room: &Room,
) -> io::Result<Option<(Codec, Vec<u8>)>> {
    let size = |path: &Path| path.metadata().map(|meta| meta.len());
    let (base_bytes, size_bytes) = (size(base)?, size(content)?);
    if size_bytes < MIN_BYTES || !pack::may_be_base(base_bytes, size_bytes) {
        return Ok(None);
    }
    let memory = |codec| room.take(memory_bytes(codec, base_bytes, size_bytes));
    let header = read(content, 0, dep_graph::MAX_HEADER_BYTES as u64)?;
    if base_bytes.max(size_bytes) <= MAX_WHOLE_BYTES && dep_graph::header(&header).is_some() {
        let codec = graphs.map_or(Codec::Graph, |_| Codec::Cache);
        let _memory = memory(codec);
        let made = match graphs {
            Some(graphs) => cache(base, content, graphs)?,
            None => graph(base, content, size_bytes)?,
        };
        if let Some(delta) = made {
            return Ok(delta.map(|delta| (codec, delta)));
        }
    }
    let stretches = (0..size_bytes.div_ceil(STRETCH_BYTES)).into_par_iter();
    let frame = |number| {
        let _memory = memory(Codec::Bytes);
        stretch(base, (content, size_bytes), number * STRETCH_BYTES)
    };
    let frames: Option<Vec<Vec<u8>>> = stretches.map(frame).collect::<io::Result<_>>()?;
    Ok(frames.map(|frames| (Codec::Bytes, frames.concat())))
}

/// Returns the stretch of `content` that begins at `start` as a delta to `base`; none if that is no gain.
fn stretch(
    base: &Path,
    (content, size_bytes): (&Path, u64),
    start: u64,
) -> io::Result<Option<Vec<u8>>> {
    let size = STRETCH_BYTES.min(size_bytes - start);
    let (base, stretch) = (read_around(base, start)?, read(content, start, size)?);
    let copies = Copies::between(&base, &stretch);
    let plain = postcard::to_allocvec(&copies).map_err(io::Error::other)?;
    let again = copies.apply(in_memory(&base), stretch.len());
    let is_right = again.is_some_and(|again| again == stretch);
    drop((base, stretch));
    let gains = is_right && plain.len() as u64 <= size + SLACK_BYTES;
    let packed = gains.then(|| zstd::bulk::compress(&plain, LEVEL));
    packed.transpose()
}

/// Returns the dep-graph `content` as a delta to `base`; none if they are no dep-graphs of a known form, and none inside if that
/// is no gain, or does not make it again.
fn graph(base: &Path, content: &Path, size_bytes: u64) -> io::Result<Option<Option<Vec<u8>>>> {
    let (Some(before), Some(mut now)) = (Nodes::read(base), Nodes::read(content)) else {
        return Ok(None);
    };
    let makes = |delta: &Vec<u8>| {
        let mut again = blake3::Hasher::new();
        let read = decode(base, &[], (Codec::Graph, delta), size_bytes);
        let read = read.and_then(|read| again.update_reader(read).map(drop));
        read.is_ok() && hash::of(content) == Some(again.finalize().into())
    };
    Ok(Some(graph::encode(before, &mut now).filter(makes)))
}

/// Returns the query cache `content` as a delta to `base`; none if they are not those of the sessions of `graphs`, or of no known
/// form, and none inside if that is no gain.
fn cache(
    base: &Path,
    content: &Path,
    (base_graph, graph): (&Path, &Path),
) -> io::Result<Option<Option<Vec<u8>>>> {
    let (before, now) = (std::fs::read(base)?, std::fs::read(content)?);
    let (Some(before), Some(now)) = (QueryCache::read(before), QueryCache::read(now)) else {
        return Ok(None);
    };
    // One graph after the other.
    let keys = |cache, graph| cache::keys(cache, &mut Nodes::read(graph)?);
    let (Some(base_keys), Some(keys)) = (keys(&before, base_graph), keys(&now, graph)) else {
        return Ok(None);
    };
    let delta = cache::encode((before, base_keys), (now, keys), content);
    Ok(Some(delta))
}

/// Returns a reader of what `delta` makes of `base`, or of what the deltas `between` make of it, one of the other, each with the size of
/// what it makes; whoever reads checks that it is what should come. Of what lies between no more is made than is read of it; all of them
/// must be of [`Codec::Bytes`].
pub fn decode<'a>(
    base: &'a Path,
    between: &[(&[u8], u64)],
    (codec, delta): (Codec, &'a [u8]),
    size_bytes: u64,
) -> io::Result<Box<dyn Read + 'a>> {
    let size = usize::try_from(size_bytes).map_err(|_| damaged())?;
    if codec != Codec::Bytes {
        let largest = base.metadata()?.len().max(size_bytes);
        if largest > MAX_WHOLE_BYTES || !between.is_empty() {
            return Err(damaged());
        }
    }
    Ok(match codec {
        Codec::Graph => {
            let base = Nodes::read(base).ok_or_else(damaged)?;
            let made = graph::decode(base, delta, size);
            Box::new(Pieces(made.ok_or_else(damaged)?, io::Cursor::default()))
        }
        Codec::Cache => {
            let made = cache::decode(std::fs::read(base)?, delta, size);
            Box::new(io::Cursor::new(made.ok_or_else(damaged)?))
        }
        Codec::Bytes => {
            let mut parts = parts_of(File::open(base)?);
            for (delta, size_bytes) in between {
                let size = usize::try_from(*size_bytes).map_err(|_| damaged())?;
                parts = layer(parts, delta, size).ok_or_else(damaged)?;
            }
            Box::new(Pieces(stretches(parts, delta, size), io::Cursor::default()))
        }
    })
}

/// Returns about how much memory it takes to have `delta` between another and its base.
pub fn between_bytes(mut delta: &[u8]) -> u64 {
    let mut plain_bytes = 0_u64;
    while let Ok(stored) = zstd_safe::find_frame_compressed_size(delta)
        && let Some((frame, rest)) = delta.split_at_checked(stored)
        && !frame.is_empty()
    {
        let said = zstd_safe::get_frame_content_size(frame).ok().flatten();
        plain_bytes += said
            .unwrap_or(STRETCH_BYTES)
            .min(STRETCH_BYTES + SLACK_BYTES);
        delta = rest;
    }
    // A count has four bytes in memory, and most often one in a delta.
    plain_bytes * 4
}

/// Returns about how much memory it takes to make a delta of an object of `size_bytes`, or to [`decode`] it and read what that returns.
pub fn memory_bytes(codec: Codec, base_bytes: u64, size_bytes: u64) -> u64 {
    let both = base_bytes.saturating_add(size_bytes);
    match codec {
        Codec::Graph => both / 5,
        Codec::Cache => both.saturating_mul(7) / 5,
        // Twice as much of the base, and an index of that.
        Codec::Bytes => size_bytes.min(STRETCH_BYTES).saturating_mul(4),
    }
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Adds a part of an object to what it is given; none where it has less.
type ReadPart = Box<dyn Fn(Range<usize>, &mut Vec<u8>) -> Option<()>>;

/// Returns what reads parts of the file `base`.
fn parts_of(base: File) -> ReadPart {
    Box::new(move |part, to| {
        let end = to.len();
        to.resize(end + part.len(), 0);
        base.read_exact_at(&mut to[end..], part.start as u64).ok()
    })
}

/// Returns what makes an object of `size_bytes` of `base` and the frames `rest`, a stretch with each call, and an empty one behind them.
fn stretches(
    base: ReadPart,
    mut rest: &[u8],
    size_bytes: usize,
) -> impl FnMut() -> Option<Vec<u8>> {
    let mut begun = 0;
    move || {
        let stretch = stretch_at(begun, size_bytes);
        if stretch.is_empty() {
            return Some(Vec::new());
        }
        begun = stretch.end;
        let copies = next_copies(&mut rest, stretch.len())?;
        copies.apply(around(&base, stretch.start), stretch.len())
    }
}

/// Returns what reads parts of the object of `size_bytes` that the frames `rest` make of `base`; none if they make none.
fn layer(base: ReadPart, mut rest: &[u8], size_bytes: usize) -> Option<ReadPart> {
    let begins = (0..size_bytes).step_by(STRETCH_BYTES as usize);
    let laid = begins.map(|begun| {
        let size = stretch_at(begun, size_bytes).len();
        next_copies(&mut rest, size)?.laid(size)
    });
    let laid: Vec<Laid> = laid.collect::<Option<_>>()?;
    Some(Box::new(move |part, to| {
        let mut at = part.start;
        while at < part.end {
            let number = at / STRETCH_BYTES as usize;
            let stretch = stretch_at(number * STRETCH_BYTES as usize, size_bytes);
            let end = part.end.min(stretch.end);
            let own = (at < end).then(|| at - stretch.start..end - stretch.start)?;
            laid.get(number)?
                .read(own, to, around(&base, stretch.start))?;
            at = end;
        }
        Some(())
    }))
}

/// Returns which bytes of an object are the stretch that begins at `begun`.
fn stretch_at(begun: usize, size_bytes: usize) -> Range<usize> {
    begun..size_bytes.min(begun + STRETCH_BYTES as usize)
}

/// Returns the copies of the next frame of `rest`, which are for a stretch of `size_bytes`.
fn next_copies(rest: &mut &[u8], size_bytes: usize) -> Option<Copies> {
    let most = size_bytes + SLACK_BYTES as usize;
    let mut decoder = zstd::Decoder::with_buffer(rest).ok()?;
    decoder.window_log_max(pack::MAX_WINDOW_LOG).ok()?;
    let mut plain = Vec::new();
    // One more, so that the frame is read to its end, and one that is longer is seen.
    let mut frame = decoder.single_frame().take(most as u64 + 1);
    let read = frame.read_to_end(&mut plain).ok()?;
    (read <= most).then(|| postcard::from_bytes(&plain).ok())?
}

/// Returns what reads of `base` what lies around the stretch that begins at `start`.
fn around(base: &ReadPart, start: usize) -> impl Fn(Range<usize>, &mut Vec<u8>) -> Option<()> {
    let from = start.saturating_sub(AROUND_BYTES as usize);
    move |part, to| base(from + part.start..from + part.end, to)
}

/// Reads the pieces that it is called for, of which an empty one is the last; with what is left of the last one.
struct Pieces<F>(F, io::Cursor<Vec<u8>>);

impl<F: FnMut() -> Option<Vec<u8>>> Read for Pieces<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Pieces(next, piece) = self;
        let read = piece.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        *piece = io::Cursor::default();
        *piece = io::Cursor::new(next().ok_or_else(damaged)?);
        piece.read(buffer)
    }
}

/// Returns what of `base` the stretch that begins at `start` is a delta to.
fn read_around(base: &Path, start: u64) -> io::Result<Vec<u8>> {
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
    use super::{
        AROUND_BYTES, Copies, LEVEL, MAX_WHOLE_BYTES, Room, SLACK_BYTES, STRETCH_BYTES,
        between_bytes, decode, encode,
    };
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
        let (codec, delta) = encode(&before, &after, None, &Room::default())
            .unwrap()
            .unwrap();
        assert_eq!(codec, Codec::Bytes);
        assert!(
            delta.len() as u64 <= most,
            "{} for {}",
            delta.len(),
            content.len()
        );
        let mut again = Vec::new();
        let mut reader = decode(&before, &[], (codec, &delta), content.len() as u64).unwrap();
        reader.read_to_end(&mut again).unwrap();
        assert!(again == content, "{} became {}", content.len(), again.len());
        // Of another base, or cut, it may fail, and makes something else.
        fs::write(&before, noise(9, base.len() as u64)).unwrap();
        for delta in [&delta[..], &delta[..delta.len() / 2]] {
            let mut other = Vec::new();
            let read = decode(&before, &[], (codec, delta), content.len() as u64);
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

    /// What a start needs of a program that three deltas make would be written three times; a part too many or too few is another program.
    #[test]
    fn what_lies_between_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = |at: usize| dir.path().join(at.to_string());
        let mut content = noise(1, 3 * STRETCH_BYTES + 5000);
        let (mut deltas, mut sizes) = (Vec::new(), Vec::new());
        for at in 0..4 {
            fs::write(file(at), &content).unwrap();
            sizes.push(content.len() as u64);
            if at > 0 {
                let made = encode(&file(at - 1), &file(at), None, &Room::default());
                deltas.push(made.unwrap().unwrap().1);
            }
            let (moved, grows) = (at * 7001, noise(9 + at as u8, 2000 * at as u64));
            content.splice(moved..moved + 100, grows);
            content.truncate(3 * STRETCH_BYTES as usize + 3000 * (at % 2));
            content
                .iter_mut()
                .step_by(5003)
                .for_each(|byte| *byte = byte.wrapping_add(1));
        }
        let made = |between: &[(&[u8], u64)], delta: &[u8]| {
            let mut made = Vec::new();
            let base = file(0);
            let reader = decode(&base, between, (Codec::Bytes, delta), sizes[3]);
            let read = reader.and_then(|mut reader| reader.read_to_end(&mut made));
            read.ok().map(|_| made)
        };
        let [first, second, third] = [0, 1, 2].map(|at| (&deltas[at][..], sizes[at + 1]));
        assert!(made(&[first, second], third.0) == fs::read(file(3)).ok());
        assert_ne!(made(&[second], third.0), fs::read(file(3)).ok());
        assert_eq!(made(&[(first.0, first.1 + 1), second], third.0), None);
        assert_eq!(made(&[first, (&second.0[..100], second.1)], third.0), None);
        assert_eq!(made(&[(first.0, first.1 - 1), second], third.0), None);
        assert!(between_bytes(first.0) > 0 && between_bytes(b"no frame") == 0);
    }

    /// Whoever writes a delta would choose what a reader does instead of reading.
    #[test]
    fn stretches_are_as_long_as_they_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        fs::write(&base, noise(1, 1000)).unwrap();
        let plain = |size: usize| {
            let copies = Copies::between(b"", &vec![1; size]);
            postcard::to_allocvec(&copies).unwrap()
        };
        let frame = |size: usize| zstd::bulk::compress(&plain(size), LEVEL).unwrap();
        let read = |delta: &[u8], size: u64| {
            let mut all = Vec::new();
            let reader = decode(&base, &[], (Codec::Bytes, delta), size);
            reader
                .and_then(|mut reader| reader.read_to_end(&mut all))
                .ok()
        };
        assert_eq!(read(&frame(20_000), 20_000), Some(20_000));
        assert_eq!(read(&frame(20_001), 20_000), None);
        assert_eq!(read(&frame(19_999), 20_000), None);
        assert_eq!(read(&[frame(0), frame(20_000)].concat(), 20_000), None);
        assert_eq!(read(b"", 20_000), None);
        // What stands behind the columns is passed over, but not if it is much.
        let padded = |size: u64| {
            let mut plain = plain(20_000);
            plain.resize(usize::try_from(size).unwrap(), 0);
            zstd::bulk::compress(&plain, LEVEL).unwrap()
        };
        assert_eq!(read(&padded(20_000 + SLACK_BYTES), 20_000), Some(20_000));
        assert_eq!(read(&padded(20_001 + SLACK_BYTES), 20_000), None);
        // None is read from a base that is too large to be one.
        fs::File::create(&base)
            .unwrap()
            .set_len(MAX_WHOLE_BYTES + 1)
            .unwrap();
        for codec in [Codec::Graph, Codec::Cache] {
            assert!(decode(&base, &[], (codec, b""), 20_000).is_err());
        }
    }
}
