//! Many objects in one immutable file, each a zstd frame of its own, and where they are. Reads and writes no file.

use std::collections::HashSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::format::{self, FormatError};
use crate::model::{Digest, Epoch, Manifest};

/// How large a pack becomes before the next is begun; one larger object makes a larger pack.
pub const PACK_BYTES: usize = 32 << 20;
/// What a request may ask for at most, if it is for more than one object.
pub const REQUEST_BYTES: u64 = 12 << 20;
/// Bytes that nobody asked for cost less than another request up to this many.
const GAP_BYTES: u64 = 1 << 20;
/// What a frame has at most beside an object that cannot be compressed.
const FRAME_BYTES: u64 = 64 << 10;
/// zstd's level for objects.
const LEVEL: i32 = 3;
/// Objects up to this size are compressed at once: of larger ones, which come as a stream, zstd has what came before in two places, which is slower.
const AT_ONCE_BYTES: u64 = 16 << 20;
/// As far as a frame may look back, by its logarithm: four times as far as zstd does at the levels used. Who reads needs as much memory.
pub const MAX_WINDOW_LOG: u32 = 24;
/// What an index has at most for each object of its manifest: a frame of its own and those of its bases, each in a pack of its own.
const MAX_ENTRY_BYTES: usize = 512;
/// What it has beside that.
const SLACK_INDEX_BYTES: usize = 1 << 10;

/// The first bytes of what is stored of a manifest far away.
const MAGIC: &[u8; 8] = b"HEADSBDL";
/// The version of it that this version writes and reads.
const VERSION: u16 = 4;
/// How many deltas are applied at most for one object: with three, what changed much needs not be written whole to be what the next
/// commits are small deltas to, and those that change little are deltas to what is near them.
pub const MAX_STEPS: usize = 3;
/// The largest object that another is stored as a delta to.
const MAX_BASE_BYTES: u64 = 1 << 30;
/// What a base may have more than twice the size of the object: how large a base is is not signed, and whoever wants the object
/// has to fetch it.
const BASE_SLACK_BYTES: u64 = 1 << 20;

/// Where the objects of a starting point are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The packs.
    pub packs: Vec<PackName>,
    /// One frame for each of [`Manifest::objects`], in that order, and behind them one for each of `bases`.
    pub frames: Vec<Frame>,
    /// Objects of other starting points, with their sizes, to which objects of this one are stored as deltas.
    pub bases: Vec<(Digest, u64)>,
}

/// A pack's name; it is never written again under the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackName {
    /// When it was written.
    pub epoch: Epoch,
    /// The digest of its content.
    pub digest: Digest,
}

/// An object in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Position of the pack.
    pub pack: u32,
    /// Where the frame begins in it, in bytes.
    pub offset: u64,
    /// The frame's size.
    pub stored_bytes: u64,
    /// How it is read, and the position of the frame of its base; none where it is the object itself, compressed.
    pub delta: Option<(Codec, u32)>,
}

/// How a delta is written. See note 0019.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// As what differs in the nodes of a dep-graph.
    Graph,
    /// As stretches of bytes, of which most lie somewhere in the base.
    Bytes,
    /// As results of a query cache in another order, at other positions.
    Cache,
}

/// One request for a part of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The pack.
    pub pack: PackName,
    /// Which bytes of it.
    pub range: Range<u64>,
    /// Which objects are in them, by the positions of their frames.
    pub objects: Vec<usize>,
}

impl PackName {
    /// Returns where the pack is, below the root of a tier.
    pub fn key(&self) -> String {
        format!("v1/packs/{}/{}", self.epoch, self.digest.hex())
    }
}

impl Index {
    /// Returns the fewest requests that get the objects at `wanted`, in the order in which they lie.
    pub fn requests(&self, wanted: &[usize]) -> Vec<Request> {
        let mut sorted: Vec<usize> = wanted.to_vec();
        sorted.sort_by_key(|at| (self.frames[*at].pack, self.frames[*at].offset));
        sorted.dedup();
        let mut requests: Vec<Request> = Vec::new();
        for at in sorted {
            let frame = self.frames[at];
            let pack = self.packs[frame.pack as usize];
            let end = frame.offset + frame.stored_bytes;
            match requests.last_mut().filter(|last| {
                last.pack == pack
                    && frame.offset <= last.range.end.saturating_add(GAP_BYTES)
                    && end - last.range.start <= REQUEST_BYTES
            }) {
                Some(last) => {
                    last.range.end = last.range.end.max(end);
                    last.objects.push(at);
                }
                None => requests.push(Request {
                    pack,
                    range: frame.offset..end,
                    objects: vec![at],
                }),
            }
        }
        requests
    }

    /// Returns the frame at `at` in the answer `bytes` to `request`; nothing where the answer is too short.
    pub fn frame<'a>(&self, at: usize, request: &Request, bytes: &'a [u8]) -> &'a [u8] {
        let frame = self.frames[at];
        let start = usize::try_from(frame.offset - request.range.start).unwrap_or(usize::MAX);
        let size = usize::try_from(frame.stored_bytes).unwrap_or(usize::MAX);
        let own = bytes.get(start..).and_then(|rest| rest.get(..size));
        own.unwrap_or_default()
    }

    /// Returns how many bytes the objects at `wanted` are where they are stored.
    pub fn stored_bytes(&self, wanted: &[usize]) -> u64 {
        let sizes = wanted.iter().map(|at| self.frames[*at].stored_bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns the positions of what the object at `at` is a delta to: its base, the base of that, and so on.
    pub fn steps(&self, at: usize) -> impl Iterator<Item = usize> {
        let base = |at: usize| Some(self.frames.get(at)?.delta?.1 as usize);
        // One more than there may be, to be told from too many.
        std::iter::successors(base(at), move |at| base(*at)).take(MAX_STEPS + 1)
    }

    /// Returns how many of the frames are the manifest's own; those of bases are behind them.
    pub fn own(&self) -> usize {
        self.frames.len().saturating_sub(self.bases.len())
    }

    /// Returns the objects of all frames, where this is the index of `manifest`.
    pub fn all_objects(&self, manifest: &Manifest) -> Vec<(Digest, u64)> {
        let mut all = manifest.objects();
        all.extend(&self.bases);
        all
    }

    /// Tells whether this can be the index of `manifest`: a frame for each object, in a pack that is named, and no larger
    /// than zstd makes of such an object; bases in few steps, no larger than they may be, and all of them needed.
    fn fits(&self, manifest: &Manifest) -> bool {
        let objects = self.all_objects(manifest);
        let own = self.own();
        if self.frames.len() != objects.len() {
            return false;
        }
        let may_be = |at: usize, base: usize| {
            base < objects.len() && may_be_base(objects[base].1, objects[at].1)
        };
        let fits = |(at, frame): (usize, &Frame)| {
            let size_bytes = objects[at].1;
            let most = size_bytes.saturating_add(size_bytes / 128 + FRAME_BYTES);
            (frame.pack as usize) < self.packs.len()
                && frame.stored_bytes <= most
                && frame.offset.checked_add(frame.stored_bytes).is_some()
                && self.steps(at).count() <= MAX_STEPS
                && self.steps(at).next().is_none_or(|base| may_be(at, base))
        };
        let needed: HashSet<usize> = (0..own).flat_map(|at| self.steps(at)).collect();
        let further = needed.iter().filter(|at| **at >= own);
        let packs: HashSet<PackName> = self.packs.iter().copied().collect();
        let each_once: HashSet<Digest> = objects.iter().map(|(digest, _)| *digest).collect();
        self.frames.iter().enumerate().all(fits)
            && further.count() == self.bases.len()
            && each_once.len() == objects.len()
            && packs.len() == self.packs.len()
    }
}

/// Tells whether an object of `base_bytes` may be the base of one of `size_bytes`.
pub fn may_be_base(base_bytes: u64, size_bytes: u64) -> bool {
    let twice = size_bytes.saturating_mul(2);
    base_bytes <= MAX_BASE_BYTES.min(twice.saturating_add(BASE_SLACK_BYTES))
}

/// Returns `content` as a frame of its own.
pub fn compress(mut content: impl std::io::Read, size_bytes: u64) -> std::io::Result<Vec<u8>> {
    if size_bytes <= AT_ONCE_BYTES {
        let mut whole = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or_default());
        content.read_to_end(&mut whole)?;
        if whole.len() as u64 != size_bytes {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        return zstd::bulk::compress(&whole, LEVEL);
    }
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
    encoder.set_pledged_src_size(Some(size_bytes))?;
    encoder.include_contentsize(true)?;
    std::io::copy(&mut content, &mut encoder)?;
    encoder.finish()
}

/// Returns a reader of what `frame` holds. Whoever reads stops at the size that the manifest says.
pub fn decompress(frame: &[u8]) -> std::io::Result<impl std::io::Read + '_> {
    let mut decoder = zstd::stream::Decoder::with_buffer(frame)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder.single_frame())
}

/// Returns where a tier keeps a manifest with its index.
pub fn bundle_key(epoch: Epoch, manifest: Digest) -> String {
    format!("v1/manifests/{epoch}/{}", manifest.hex())
}

/// Returns a manifest's bytes and its index as one file, so that one request gets both.
pub fn encode_bundle(manifest: &[u8], index: &Index) -> Vec<u8> {
    let plain = postcard::to_allocvec(index).expect("an index holds only plain values");
    let packed = zstd::bulk::compress(&plain, LEVEL).expect("memory for a compressed index");
    format::joined(MAGIC, VERSION, manifest, &packed)
}

/// Returns the bytes of the manifest called `name` in a bundle, and the packed index behind them.
///
/// The manifest is the one that was named. Nothing is known yet of the index: it is not signed, and can at worst
/// name a place where the object is not, or a base that nobody needs, of a bounded size.
pub fn split_bundle(bytes: &[u8], name: Digest) -> Result<(&[u8], &[u8]), FormatError> {
    let (manifest, index) = format::sized(format::versioned(bytes, MAGIC, VERSION)?)?;
    let whole = Digest::of(manifest) == name;
    whole
        .then_some((manifest, index))
        .ok_or(FormatError::Damaged)
}

/// Returns the index of `manifest` that is in `packed`.
pub fn decode_index(packed: &[u8], manifest: &Manifest) -> Result<Index, FormatError> {
    // Nobody signed it: it takes no more memory than one of this manifest may.
    let most = SLACK_INDEX_BYTES + manifest.objects().len() * MAX_ENTRY_BYTES;
    let plain = zstd::bulk::decompress(packed, most).map_err(|_| FormatError::Damaged)?;
    let index: Index = postcard::from_bytes(&plain).map_err(|_| FormatError::Damaged)?;
    let fits = index.fits(manifest);
    fits.then_some(index).ok_or(FormatError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::{
        Frame, GAP_BYTES, Index, PACK_BYTES, PackName, REQUEST_BYTES, compress, decompress,
    };
    use crate::model::Digest;
    use crate::model::epoch::Epoch;
    use proptest::prelude::*;
    use std::io::Read;

    fn index(frames: &[(u32, u64)]) -> Index {
        let packs = 0..=frames.iter().map(|(pack, _)| *pack).max().unwrap_or(0);
        let name = |pack: u32| PackName {
            epoch: Epoch::of(0),
            digest: Digest::of(&pack.to_le_bytes()),
        };
        let mut ends = vec![0; packs.clone().count()];
        let frame = |(pack, stored_bytes): &(u32, u64)| {
            let offset = ends[*pack as usize];
            ends[*pack as usize] += stored_bytes;
            Frame {
                pack: *pack,
                offset,
                stored_bytes: *stored_bytes,
                delta: None,
            }
        };
        Index {
            frames: frames.iter().map(frame).collect(),
            packs: packs.map(name).collect(),
            bases: Vec::new(),
        }
    }

    /// A request for each object is what makes other caches slow on a far network.
    #[test]
    fn near_objects_share_a_request() {
        let small = index(&[(0, 1000); 5000]);
        let all: Vec<usize> = (0..5000).collect();
        assert_eq!(small.requests(&all).len(), 1);
        assert_eq!(small.requests(&[0, 500])[0].objects, [0, 500]);
        let gaps = index(&[(0, 10), (0, GAP_BYTES + 1), (0, 10), (1, 10)]);
        assert_eq!(gaps.requests(&[0, 2, 3]).len(), 3);
        let large = index(&[(0, REQUEST_BYTES); 3]);
        assert_eq!(large.requests(&[0, 1, 2]).len(), 3);
    }

    /// A whole starting point of 2 GB in 5,000 files, as zstd leaves it: a few large objects, and thousands of small ones.
    #[test]
    fn a_whole_starting_point_takes_few_requests() {
        let sizes = (0..5000_u64).map(|at| if at % 16 == 0 { 1_600_000 } else { 9_000 });
        let (mut pack, mut filled) = (0, 0);
        let frames: Vec<(u32, u64)> = sizes
            .map(|size| {
                if filled + size > PACK_BYTES as u64 {
                    (pack, filled) = (pack + 1, 0);
                }
                filled += size;
                (pack, size)
            })
            .collect();
        let index = index(&frames);
        let all: Vec<usize> = (0..5000).collect();
        assert!(index.stored_bytes(&all) > 500 << 20);
        // The list and the manifest come on top.
        assert!(index.requests(&all).len() + 2 <= 80);
    }

    proptest! {
        /// An object outside its request's bytes would be read from somewhere else.
        #[test]
        fn every_object_lies_in_exactly_one_request(
            frames in prop::collection::vec((0u32..4, 1u64..3_000_000), 1..60),
            chosen in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let index = index(&frames);
            let mut wanted: Vec<usize> = chosen.iter().map(|one| one.index(frames.len())).collect();
            let requests = index.requests(&wanted);
            let mut got: Vec<usize> = Vec::new();
            for request in &requests {
                for at in &request.objects {
                    let frame = index.frames[*at];
                    prop_assert_eq!(index.packs[frame.pack as usize], request.pack);
                    prop_assert!(request.range.start <= frame.offset);
                    prop_assert!(frame.offset + frame.stored_bytes <= request.range.end);
                    got.push(*at);
                }
            }
            got.sort_unstable();
            wanted.sort_unstable();
            wanted.dedup();
            prop_assert_eq!(got, wanted);
        }
    }

    /// A reader that ran on into the next frame would take two objects for one.
    #[test]
    fn frames_end_where_they_end() {
        let mut pack = compress(&b"one"[..], 3).unwrap();
        let first = pack.len();
        pack.extend(compress(&b"two"[..], 3).unwrap());
        let read = |frame: &[u8]| {
            let mut text = String::new();
            decompress(frame)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            text
        };
        assert_eq!(read(&pack[..first]), "one");
        assert_eq!(read(&pack[first..]), "two");
    }
}
