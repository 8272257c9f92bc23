//! Damaged sessions of optimised builds: bitcode that rustc cannot read, or does not find.

use std::fs;
use std::path::PathBuf;

use headstart::model::session::SessionFile;
use headstart::model::{Digest, Manifest};
use headstart_testkit::Workspace;

use crate::common::chain::{Chain, read};
use crate::common::{Place, publish, runner};
use crate::fixture::{LANE, with_lane, workspace};

/// What a dying disk makes of a file.
type Damage = (&'static str, fn(Vec<u8>) -> Vec<u8>);

const BUILD: [&str; 4] = ["build", "--workspace", "--profile", LANE];

/// Returns a published workspace with the release lane.
fn published() -> Chain {
    let chain = Chain {
        place: Place::new(),
        source: with_lane(workspace()),
    };
    publish(&chain.source, &chain.place, &BUILD);
    chain
}

/// Builds a clone with an edit from what is published; the program must be right.
#[track_caller]
fn edited_elsewhere(chain: &Chain, name: &str) -> Workspace {
    let clone = chain.elsewhere(name);
    clone.replace("base/src/shapes.rs", "side * side", "side * side + 1");
    let start = ["start", "--"].iter().chain(&BUILD);
    let said = runner(clone.root(), &chain.place).args(start).run();
    let said = said.succeeded().stderr;
    let program = clone.program_in(clone.path("target").join(LANE), "app");
    assert!(program.contains(" 10 "), "{name}: {program}\n{said}");
    clone
}

fn files(manifest: &mut Manifest) -> impl Iterator<Item = &mut Vec<SessionFile>> {
    let sessions = manifest.units.iter_mut();
    sessions.filter_map(|unit| Some(&mut unit.session.as_mut()?.files))
}

fn object(chain: &Chain, digest: Digest) -> PathBuf {
    let hex = digest.hex();
    let objects = chain.place.store().join("objects");
    objects.join(&hex[..2]).join(hex)
}

/// rustc panics where it finds the object of a codegen unit without its bitcode.
#[test]
fn bitcode_that_is_missing_is_compiled_again() {
    let chain = published();
    for lost in [".pre-lto.bc", "thin-lto-past-keys.bin", ".o"] {
        let mut found = false;
        chain.tamper(chain.manifest(), |manifest| {
            for files in files(manifest) {
                if let Some(at) = files.iter().position(|file| file.name.ends_with(lost)) {
                    files.remove(at);
                    found = true;
                }
            }
        });
        assert!(found, "no session has a {lost}");
        edited_elsewhere(&chain, &format!("without{lost}"));
    }
}

/// rustc says an error where bitcode cannot be read, as if a source were wrong: the build would fail until somebody cleans.
#[test]
fn bitcode_that_is_damaged_is_compiled_again() {
    let damage: [Damage; 3] = [
        ("zeroed", |bytes| vec![0; bytes.len()]),
        ("cut", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("empty", |_| Vec::new()),
    ];
    let chain = published();
    let whole = chain.manifest();
    for name in [".pre-lto.bc", "thin-lto-past-keys.bin"] {
        for (how, damage) in damage {
            chain.tamper(whole.clone(), |manifest| {
                let of_name = |file: &&mut SessionFile| file.name.ends_with(name);
                for file in files(manifest).flatten().filter(of_name) {
                    let bytes = damage(read(&object(&chain, file.digest)));
                    file.digest = Digest::of(&bytes);
                    file.size_bytes = bytes.len() as u64;
                    let planted = object(&chain, file.digest);
                    fs::create_dir_all(planted.parent().expect("it lies deep"))
                        .expect("it is ours");
                    fs::write(planted, bytes).expect("it is ours");
                }
            });
            let clone = edited_elsewhere(&chain, &format!("{how}{name}"));
            // A mistake of the user's is still theirs.
            clone.replace("base/src/shapes.rs", "side * side", "side * no_such_thing");
            let start = ["start", "--"].iter().chain(&BUILD);
            let said = runner(clone.root(), &chain.place)
                .args(start)
                .run()
                .failed();
            assert!(said.stderr.contains("no_such_thing"), "{}", said.stderr);
        }
    }
}
