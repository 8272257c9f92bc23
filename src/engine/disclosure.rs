//! Looks for secrets in what would be published, in streams of gzip and zstd in it as well.
//!
//! Finds what is there by mistake, not what somebody hides: a stream in a stream, an archive that deflates without gzip's
//! header, or text in base64 that is broken into lines is not looked into. See note 0014.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use memchr::memmem;

use crate::disk::hash::each_window;
use crate::disk::{self, DiskError};
use crate::model::Secrets;

/// What a stream of gzip begins with: its mark, and the only method there is.
const GZIP: &[u8] = &[0x1f, 0x8b, 8];
/// What a frame of zstd begins with.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// How many streams of one file are looked into.
const MAX_STREAMS: usize = 256;
/// How much of a stream is decoded.
const MAX_STREAM_BYTES: u64 = 64 << 20;
/// How far back in a stream of zstd it may refer, as a power of two: what this decodes takes no more memory.
const MAX_WINDOW_LOG: u32 = 25;
/// How much of a stream is decoded at once.
const PART_BYTES: usize = 256 << 10;

/// Returns the name of a secret that `file` holds.
pub fn in_file<'a>(secrets: &'a Secrets, file: &Path) -> Result<Option<&'a str>, DiskError> {
    if secrets.are_none() {
        return Ok(None);
    }
    let (mut found, mut starts) = (None, Vec::new());
    let overlap = secrets.overlap().max(ZSTD.len() - 1);
    each_window(file, overlap, |window| {
        found = found.or_else(|| secrets.in_bytes(window.bytes));
        let new = streams(window.bytes).filter(|(at, mark)| at + mark.len() > window.carried);
        let left = MAX_STREAMS - starts.len();
        starts.extend(new.map(|(at, mark)| (window.start + at, mark)).take(left));
    })?;
    if found.is_some() || starts.is_empty() {
        return Ok(found);
    }
    for (start, mark) in starts {
        let content = BufReader::new(disk::open_at(file, start as u64)?);
        if let Some(name) = in_stream(secrets, mark, content) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Returns the name of a secret that `bytes` hold.
pub fn in_bytes<'a>(secrets: &'a Secrets, bytes: &[u8]) -> Option<&'a str> {
    if secrets.are_none() {
        return None;
    }
    let within = |(at, mark): (usize, _)| in_stream(secrets, mark, &bytes[at..]);
    let in_streams = || streams(bytes).take(MAX_STREAMS).find_map(within);
    secrets.in_bytes(bytes).or_else(in_streams)
}

/// Returns where something begins in `bytes` that looks like a compressed stream, and its mark.
fn streams(bytes: &[u8]) -> impl Iterator<Item = (usize, &'static [u8])> + '_ {
    let with = move |mark| memmem::find_iter(bytes, mark).map(move |at| (at, mark));
    [GZIP, ZSTD].into_iter().flat_map(with)
}

/// Returns the name of a secret in the stream that `content` begins with, as far as it is one.
fn in_stream<'a>(secrets: &'a Secrets, mark: &[u8], content: impl BufRead) -> Option<&'a str> {
    match mark {
        GZIP => in_decoded(secrets, flate2::bufread::GzDecoder::new(content)),
        _ => {
            let mut decoder = zstd::stream::Decoder::with_buffer(content).ok()?;
            decoder.window_log_max(MAX_WINDOW_LOG).ok()?;
            in_decoded(secrets, decoder.single_frame())
        }
    }
}

fn in_decoded(secrets: &Secrets, decoded: impl Read) -> Option<&str> {
    let mut decoded = decoded.take(MAX_STREAM_BYTES);
    let mut bytes = Vec::new();
    loop {
        let mut part = decoded.by_ref().take(PART_BYTES as u64);
        let part = part.read_to_end(&mut bytes);
        // What was decoded before it turned out to be no stream, or a damaged one, is in it all the same.
        if let Some(name) = secrets.in_bytes(&bytes) {
            return Some(name);
        }
        if part.unwrap_or(0) == 0 {
            return None;
        }
        let dropped = bytes.len().saturating_sub(secrets.overlap());
        bytes.drain(..dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::{in_bytes, in_file};
    use crate::disk::hash::CHUNK_BYTES;
    use crate::model::secrets::Secrets;
    use std::io::Write;

    const VALUE: &str = "of-no-use-anywhere";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 19).unwrap()
    }

    /// A template that a build script compressed would carry a token to whoever can read.
    #[test]
    fn compressed_values_are_found() {
        let secrets = Secrets::new([("A_TOKEN", VALUE)].into_iter());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        // Beginning in one part of what is decoded and ending in the next, too.
        for before in [0, 1000, super::PART_BYTES - 5, 3 * super::PART_BYTES] {
            let text = [".".repeat(before), VALUE.to_owned(), "x".repeat(999)].concat();
            for packed in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
                // In the middle of a file, and across two reads.
                for at in [0, 17, CHUNK_BYTES - 2, CHUNK_BYTES] {
                    let whole = [&vec![0x1f; at], &packed[..], b"behind"].concat();
                    std::fs::write(&file, &whole).unwrap();
                    assert_eq!(
                        in_file(&secrets, &file).unwrap(),
                        Some("A_TOKEN"),
                        "{before} {at}"
                    );
                    assert_eq!(in_bytes(&secrets, &whole), Some("A_TOKEN"));
                }
            }
        }
    }

    /// What is no stream, a damaged one, or one that decodes to more than any memory, would stop every publish.
    #[test]
    fn what_is_no_stream_is_passed_over() {
        let secrets = Secrets::new([("A_TOKEN", VALUE)].into_iter());
        let bomb = gzip(&vec![0; 96 << 20]);
        for bytes in [
            super::GZIP,
            super::ZSTD,
            b"",
            &bomb,
            &[super::GZIP, &[0xff; 64]].concat(),
        ] {
            assert_eq!(in_bytes(&secrets, bytes), None);
            assert_eq!(in_bytes(&Secrets::default(), bytes), None);
        }
        let many = super::ZSTD.repeat(100_000);
        assert_eq!(in_bytes(&secrets, &many), None);
    }
}
