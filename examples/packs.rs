//! Prints what each starting point of a store added to a remote directory, by kind of file: tab-separated, sizes in bytes.
//!
//!     cargo run --release --example packs -- STORE REMOTE [--times]
//!
//! `raw` is what the files have, `whole` what zstd makes of each alone at level 3, `stored` what was written. With `--times`, each delta is made
//! and applied once more, in one thread, for the seconds that takes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Instant;

use headstart::delta::{self, Room};
use headstart::model::session::Session;
use headstart::model::{Digest, Manifest};
use headstart::store::pack::{self, Index};
use headstart::store::{Store, format};

#[derive(Default)]
struct Sum {
    objects: usize,
    raw: u64,
    whole: u64,
    stored: u64,
    deltas: u64,
    encode_s: f64,
    decode_s: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, remote, times @ ..] = &arguments[..] else {
        return Err("usage: packs STORE REMOTE [--times]".into());
    };
    let (store, remote) = (Store::open(Path::new(store))?, Path::new(remote));
    let mut points = store.all_points();
    points.sort_by_key(|point| point.published_unix_s);
    println!("commit\tkind\tobjects\traw\twhole\tstored\tdelta_raw\tencode_s\tdecode_s");
    let mut seen = HashSet::new();
    // The dep-graph beside each query cache.
    let mut graphs: HashMap<Digest, Digest> = HashMap::new();
    for point in points {
        let Some((manifest, index)) = bundle(remote, point.manifest)? else {
            continue;
        };
        let kinds = kinds(&manifest);
        let sessions = manifest
            .units
            .iter()
            .filter_map(|unit| unit.session.as_ref());
        graphs.extend(sessions.filter_map(Session::cache_and_graph));
        let objects = index.all_objects(&manifest);
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for (frame, (digest, size)) in index.frames.iter().zip(&objects) {
            if seen.contains(&index.packs[frame.pack as usize]) {
                continue;
            }
            let sum = sums.entry(kinds[digest]).or_default();
            sum.objects += 1;
            sum.raw += size;
            sum.stored += frame.stored_bytes;
            let path = store.object(*digest);
            sum.whole += pack::compress(File::open(&path)?, *size)?.len() as u64;
            if let (Some((_, base)), false) = (frame.delta, times.is_empty()) {
                let before = objects[base as usize].0;
                let base = store.object(before);
                let graph = |cache: &Digest| graphs.get(cache).map(|graph| store.object(*graph));
                let both = graph(&before).zip(graph(digest));
                let both = both
                    .as_ref()
                    .map(|(before, now)| (before.as_path(), now.as_path()));
                let begun = Instant::now();
                let made = delta::encode(&base, &path, both, &Room::default())?
                    .ok_or("it was a delta before")?;
                sum.encode_s += begun.elapsed().as_secs_f64();
                let begun = Instant::now();
                let mut content = delta::decode(&base, &[], (made.0, &made.1), *size)?;
                io::copy(&mut content, &mut io::sink())?;
                sum.decode_s += begun.elapsed().as_secs_f64();
                sum.deltas += size;
            }
        }
        for (kind, sum) in sums {
            let Sum {
                objects,
                raw,
                whole,
                stored,
                deltas,
                encode_s,
                decode_s,
            } = sum;
            let commit = &point.commit[..10];
            println!(
                "{commit}\t{kind}\t{objects}\t{raw}\t{whole}\t{stored}\t{deltas}\t{encode_s:.2}\t{decode_s:.2}"
            );
        }
        seen.extend(index.packs);
    }
    Ok(())
}

/// Returns the starting point `name` as `remote` has it.
fn bundle(remote: &Path, name: Digest) -> io::Result<Option<(Manifest, Index)>> {
    for week in fs::read_dir(remote.join("v1/manifests"))? {
        let Ok(bytes) = fs::read(week?.path().join(name.hex())) else {
            continue;
        };
        let (manifest, packed) = pack::split_bundle(&bytes, name).map_err(io::Error::other)?;
        let manifest = format::decode(manifest).map_err(io::Error::other)?;
        let index = pack::decode_index(packed, &manifest).map_err(io::Error::other)?;
        return Ok(Some((manifest, index)));
    }
    Ok(None)
}

/// Returns what kind of file each object of `manifest` is, or is a piece of.
fn kinds(manifest: &Manifest) -> HashMap<Digest, &'static str> {
    let mut kinds = HashMap::new();
    for unit in &manifest.units {
        for file in unit.session.iter().flat_map(|session| &session.files) {
            kinds.entry(file.digest).or_insert_with(|| kind(&file.name));
        }
        for file in &unit.files {
            let name = String::from_utf8_lossy(&file.path);
            for (digest, _) in file.content.objects() {
                kinds.entry(digest).or_insert_with(|| kind(&name));
            }
        }
    }
    kinds
}

fn kind(name: &str) -> &'static str {
    let name = name.rsplit('/').next().unwrap_or(name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("bin") if name == "dep-graph.bin" => "dep-graph",
        Some("bin") if name == "query-cache.bin" => "query-cache",
        Some("rmeta") => "metadata",
        Some("rlib" | "a") => "rlib",
        Some("o") => "object",
        Some("so") => "library",
        None => "program",
        Some(_) => "other",
    }
}
