//! Collecting beside writers and readers: random interleavings on a clock that the test turns, processes that are stopped
//! anywhere and go on much later.

mod far;
mod near;

use std::path::Path;

use headstart::model::manifest::{Package, Source};
use headstart::model::{
    Content, Digest, Fingerprint, Manifest, OutputFile, Root, Rooted, Roots, Toolchain, Unit,
    UnitName,
};

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;
/// For how many days starting points may be used here.
const KEEP_DAYS: u16 = 90;
/// How many different objects there are.
const OBJECTS: usize = 6;

/// How many files the objects are of: a later one of a file is stored as a delta to an earlier one.
const FILES: usize = OBJECTS / 2;

/// Returns the content of an object: large enough for a delta, and nearly that of the other of its file.
fn content(object: usize) -> Vec<u8> {
    let mut bytes = vec![0; 17 << 10];
    let file = object % FILES;
    let mut noise = blake3::Hasher::new();
    noise.update(&[u8::try_from(file).expect("there are few")]);
    noise.finalize_xof().fill(&mut bytes);
    bytes.extend(format!("the object {object} ").repeat(object + 1).bytes());
    bytes
}

fn toolchain() -> Toolchain {
    Toolchain {
        rustc: "rustc 1.95.0".to_owned(),
        cargo: "cargo 1.95.0".to_owned(),
    }
}

/// Returns the manifest of the commit that has the number `commit`, made of those of the objects whose bits are set.
fn manifest(commit: usize, objects: u8, now_unix_s: i64) -> Manifest {
    let chosen = (0..OBJECTS).filter(|object| objects & (1 << object) != 0);
    let file = |object: usize| OutputFile {
        path: format!("debug/deps/{}", object % FILES).into_bytes(),
        artifact: true,
        rewrite: false,
        executable: false,
        content: Content::Object {
            digest: Digest::of(&content(object)),
            size_bytes: content(object).len() as u64,
        },
    };
    let unit = Unit {
        name: UnitName {
            profile_dir: "debug".to_owned(),
            dir: "a-0123456789abcdef".to_owned(),
            stem: "lib-a".to_owned(),
        },
        package: 0,
        deps: Vec::new(),
        fingerprint: Fingerprint {
            rustc: 0,
            features: String::new(),
            declared_features: String::new(),
            target: 0,
            profile: 0,
            path: 0,
            deps: Vec::new(),
            local: Vec::new(),
            rustflags: Vec::new(),
            config: 0,
            compile_kind: 0,
        },
        absolute_source: None,
        dep_info: None,
        inputs: Vec::new(),
        files: chosen.map(file).collect(),
        pinned: Vec::new(),
        compiled: None,
        session: None,
    };
    Manifest {
        repository: String::new(),
        commit: format!("{commit:040x}"),
        tree: String::new(),
        dirty: false,
        published_unix_s: now_unix_s,
        not_after_unix_s: now_unix_s + i64::from(KEEP_DAYS) * DAY_S,
        toolchain: toolchain(),
        part: headstart::model::Part::default(),
        commands: Vec::new(),
        roots: Roots::new(Path::new("/w"), Path::new("/b"), Path::new("/c")),
        settings: Vec::new(),
        packages: vec![Package {
            name: "a".to_owned(),
            version: "0.1.0".to_owned(),
            source: Source::Path,
            checksum: None,
            dir: Rooted {
                root: Root::Workspace,
                path: Vec::new(),
            },
        }],
        inputs: Vec::new(),
        located: Vec::new(),
        units: vec![unit],
    }
}
