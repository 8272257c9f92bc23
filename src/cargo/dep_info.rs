//! cargo's binary dep-info, `dep-<kind>-<name>`.
//!
//! Source: cargo: core/compiler/fingerprint/dep_info.rs @ 1.95, `EncodedDepInfo` version 1.

use crate::model::{DepInfo, DepPath, Root, Rooted, Roots, bytes_path};

/// "One file, of a kind that does not exist": keeps cargoes before the format's version byte away.
const MARKER: [u8; 5] = [1, 0, 0, 0, 0xff];
/// The only version that cargo 1.95 writes and reads.
const VERSION: u8 = 1;
const PACKAGE_RELATIVE: u8 = 0;
const BUILD_RELATIVE: u8 = 1;

/// Returns what `bytes` say, absolute paths relative to `roots`.
///
/// None for another version, for checksums in place of mtimes, and for anything torn.
pub fn decode(bytes: &[u8], roots: &Roots) -> Option<DepInfo> {
    let mut rest = bytes.strip_prefix(&MARKER)?.strip_prefix(&[VERSION])?;
    let input = &mut rest;
    let mut info = DepInfo::default();
    for _ in 0..take_length(input)? {
        let kind = *input.split_off_first()?;
        let length = take_length(input)?;
        let path = input.split_off(..length)?.to_vec();
        if *input.split_off_first()? != 0 {
            return None;
        }
        info.files.push(match kind {
            PACKAGE_RELATIVE => DepPath::Package(path),
            BUILD_RELATIVE if path.first() == Some(&b'/') => {
                DepPath::Elsewhere(roots.locate(bytes_path(&path)))
            }
            BUILD_RELATIVE => DepPath::Build(path),
            _ => return None,
        });
    }
    for _ in 0..take_length(input)? {
        let name = take_text(input)?;
        let value = match *input.split_off_first()? {
            0 => None,
            1 => Some(take_text(input)?),
            _ => return None,
        };
        info.env.push((name, value));
    }
    input.is_empty().then_some(info)
}

/// Returns the file that says `info` where the roots are `roots`.
pub fn encode(info: &DepInfo, roots: &Roots) -> Vec<u8> {
    let mut bytes = MARKER.to_vec();
    bytes.push(VERSION);
    put_length(&mut bytes, info.files.len());
    for file in &info.files {
        let (kind, path) = match file {
            DepPath::Package(path) => (PACKAGE_RELATIVE, bytes_path(path).into()),
            DepPath::Build(path) => (BUILD_RELATIVE, bytes_path(path).into()),
            DepPath::Elsewhere(rooted) => (BUILD_RELATIVE, roots.resolve(rooted)),
        };
        bytes.push(kind);
        put(&mut bytes, path.as_os_str().as_encoded_bytes());
        bytes.push(0);
    }
    put_length(&mut bytes, info.env.len());
    for (name, value) in &info.env {
        put(&mut bytes, name.as_bytes());
        bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(&mut bytes, value.as_bytes());
        }
    }
    bytes
}

/// Returns where the file is for a package in `package`.
pub fn rooted(file: &DepPath, package: &Rooted) -> Rooted {
    match file {
        DepPath::Package(path) => package.join(bytes_path(path)),
        DepPath::Build(path) => Rooted::new(Root::Build, bytes_path(path)),
        DepPath::Elsewhere(rooted) => rooted.clone(),
    }
}

fn take_length(input: &mut &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = input.split_off(..4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes) as usize)
}

fn take_text(input: &mut &[u8]) -> Option<String> {
    let length = take_length(input)?;
    String::from_utf8(input.split_off(..length)?.to_vec()).ok()
}

fn put(bytes: &mut Vec<u8>, value: &[u8]) {
    put_length(bytes, value.len());
    bytes.extend_from_slice(value);
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("cargo's own dep-info counted these in 32 bits");
    bytes.extend_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::model::unit::{DepInfo, DepPath};
    use crate::model::{Root, Rooted, Roots};
    use std::path::Path;

    fn roots(base: &str) -> Roots {
        let at = |tail: &str| format!("{base}/{tail}");
        Roots::new(
            Path::new(&at("ws")),
            Path::new(&at("ws/target")),
            Path::new(&at("cargo")),
        )
    }

    fn info() -> DepInfo {
        DepInfo {
            files: vec![
                DepPath::Package(b"src/lib.rs".to_vec()),
                DepPath::Build(b"debug/build/x/out/g.rs".to_vec()),
                DepPath::Elsewhere(Rooted::new(Root::Workspace, "shared.txt")),
            ],
            env: vec![("COLOR".into(), Some("red".into())), ("NONE".into(), None)],
        }
    }

    /// An absolute path that kept the builder's root would make cargo look at the builder's file.
    #[test]
    fn absolute_paths_move_with_their_root() {
        let here = encode(&info(), &roots("/a"));
        assert_eq!(decode(&here, &roots("/a")), Some(info()));
        let there = encode(&info(), &roots("/b"));
        assert!(there.windows(16).any(|part| part == b"/b/ws/shared.txt"));
    }

    /// A torn or newer file must make the unit dirty, not its inputs fewer.
    #[test]
    fn anything_odd_is_refused() {
        let good = encode(&info(), &roots("/a"));
        for length in 0..good.len() {
            assert_eq!(
                decode(&good[..length], &roots("/a")),
                None,
                "cut to {length}"
            );
        }
        let mut newer = good.clone();
        newer[5] = 2;
        assert_eq!(decode(&newer, &roots("/a")), None);
        let longer = [good.as_slice(), b"x"].concat();
        assert_eq!(decode(&longer, &roots("/a")), None);
    }
}
