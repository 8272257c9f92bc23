//! Manifests that no honest publisher writes: refused, and nothing is written outside the target directory.

use std::fs;
use std::path::{Path, PathBuf};

use headstart::disk::walk;
use headstart::model::{Content, Manifest, OutputFile, Piece, Recipe, Unit};
use headstart_testkit::{Scratch, Workspace};

use crate::common::chain::{Chain, builds_right, found_nothing, refused, sane};

/// What a hostile file would hold.
const PAYLOAD: &[u8] = b"written by a manifest";

/// Returns a file of a unit.
fn file(path: &str, content: Content) -> OutputFile {
    OutputFile {
        path: path.as_bytes().to_vec(),
        artifact: false,
        rewrite: false,
        executable: true,
        content,
    }
}

fn payload(path: &str) -> OutputFile {
    file(path, Content::Inline(PAYLOAD.to_vec()))
}

fn link(path: &str, target: &str) -> OutputFile {
    file(path, Content::Symlink(target.as_bytes().to_vec()))
}

/// A change to one unit of a manifest.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Unit));

/// Whoever may write into a store could write anywhere on the reader's disk.
#[test]
fn a_path_outside_the_target_directory_is_refused() {
    let chain = Chain::published();
    let outside = chain.place.scratch.path("outside");
    let absolute = outside.display().to_string();
    let named = |text: &'static str| move |unit: &mut Unit| unit.name.dir = text.to_owned();
    let changes: [Change<'_>; 16] = [
        ("up", &|unit| unit.files.push(payload("../../outside"))),
        ("absolute", &|unit| unit.files.push(payload(&absolute))),
        ("down, up", &|unit| {
            unit.files.push(payload("debug/../../../outside"))
        }),
        ("nowhere", &|unit| unit.files.push(payload(""))),
        ("itself", &|unit| unit.files.push(payload("."))),
        ("zero", &|unit| unit.files.push(payload("debug/a\0b"))),
        ("directory", &|unit| {
            unit.files.push(file("../../outside", Content::Directory))
        }),
        ("link up", &|unit| {
            unit.files.push(link("debug/a", "../../../outside"))
        }),
        ("link away", &|unit| {
            unit.files.push(link("debug/a", &absolute))
        }),
        ("unit up", &named("../../../outside")),
        ("unit nested", &named("a/b")),
        ("stem", &|unit| {
            unit.name.stem = "../../../../outside".to_owned()
        }),
        ("profile", &|unit| {
            unit.name.profile_dir = "../..".to_owned()
        }),
        ("absolute profile", &|unit| {
            unit.name.profile_dir.clone_from(&absolute)
        }),
        ("session", &|unit| {
            let session = unit.session.as_mut().expect("it has one");
            session.crate_dir = "../../outside".to_owned();
        }),
        ("session file", &|unit| {
            let session = unit.session.as_mut().expect("it has one");
            session.files[0].name = "../../../../../outside".to_owned();
        }),
    ];
    let honest = chain.manifest();
    let clone = chain.elsewhere("clone");
    for (name, change) in changes {
        chain.tamper(honest.clone(), |manifest| change(unit_mut(manifest, "c1")));
        found_nothing(&chain.start(clone.root()), "names a path outside its root");
        assert!(!outside.exists(), "{name}");
        assert!(!clone.path("target").exists(), "{name}");
    }
    builds_right(&clone);
}

/// A position behind the end of a table would crash every start.
#[test]
fn a_position_out_of_its_table_is_refused() {
    let chain = Chain::published();
    let honest = chain.manifest();
    let clone = chain.elsewhere("clone");
    let changes: [Change<'_>; 5] = [
        ("package", &|unit| unit.package = 1_000),
        ("dependency", &|unit| unit.deps = vec![1_000]),
        ("itself", &|unit| unit.deps = vec![1]),
        ("later", &|unit| unit.deps = vec![3]),
        ("input", &|unit| unit.inputs = vec![u32::MAX]),
    ];
    for (name, change) in changes {
        chain.tamper(honest.clone(), |manifest| change(unit_mut(manifest, "c1")));
        let output = chain.start(clone.root());
        found_nothing(&output, "refers to something that is not in the manifest");
        assert!(!clone.path("target").exists(), "{name}");
    }
    builds_right(&clone);
}

/// A link to a link goes further up than each of the two: a file could be written through them.
#[test]
fn links_cannot_be_combined_into_a_way_out() {
    let chain = Chain::published();
    // Alone each stays beneath the target directory: `a` is its root, and `a/../outside` lies beside that.
    let rounds = [
        vec![
            link("debug/deep/a", "../.."),
            link("debug/deep/b", "a/../outside"),
        ],
        vec![payload("debug/deep/b/evil")],
    ];
    nothing_gets_out(&chain, &rounds);
}

/// A link below a link lies elsewhere than its path says, and goes up from there.
#[test]
fn a_link_cannot_lie_below_a_link() {
    let chain = Chain::published();
    let manifest = chain.manifest();
    let unit = &crate::common::chain::unit_of(&manifest, "c3").name;
    let out = format!("debug/build/{}/out", unit.dir);
    // `a` is `out`, so that `b` lies four below it and not nine: nine up from there is the workspace.
    let (a, b) = ("p/q/r/s/a", "p/q/r/s/a/t/u/v/w/b");
    let rounds = [
        vec![link(&format!("{out}/{a}"), "../../../..")],
        vec![link(
            &format!("{out}/{b}"),
            "../../../../../../../../../outside",
        )],
        vec![payload(&format!("{out}/{b}/evil"))],
    ];
    nothing_gets_out(&chain, &rounds);
}

/// Starts from one manifest after another, each with its files in the unit of c3, and looks beside the target directory.
fn nothing_gets_out(chain: &Chain, rounds: &[Vec<OutputFile>]) {
    let clone = chain.elsewhere("clone");
    let outside = clone.path("outside");
    fs::create_dir(&outside).expect("the clone is ours");
    let honest = chain.manifest();
    for files in rounds {
        chain.tamper(honest.clone(), |manifest| {
            unit_mut(manifest, "c3").files.extend(files.iter().cloned());
        });
        sane(chain.start(clone.root()));
        // What was placed is fresh otherwise, and would stay.
        drop(fs::remove_dir_all(clone.path("target/debug/.fingerprint")));
    }
    let found = walk::below_without_links(&outside).expect("it can be listed");
    assert!(found.is_empty(), "written through a link: {found:?}");
    let touched = clone.git(&["status", "--porcelain", "--", "crates", "Cargo.toml"]);
    assert_eq!(touched, "");
    builds_right(&clone);
}

/// A link that lies in the target directory already would be followed out of it.
#[test]
fn a_link_in_the_target_directory_is_not_followed_out() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let outside = clone.path("outside");
    fs::create_dir(&outside).expect("the clone is ours");
    fs::create_dir_all(clone.path("target/debug/deps")).expect("the clone is ours");
    let output = clone.path(chain.place_of("c1", ".rlib"));
    std::os::unix::fs::symlink(outside.join("victim"), &output).expect("links work here");
    fs::write(outside.join("victim"), "mine").expect("the clone is ours");
    chain.start(clone.root()).succeeded();
    assert_eq!(
        fs::read(outside.join("victim")).expect("it is there"),
        b"mine"
    );
    builds_right(&clone).nothing_ran();
}

/// A directory that is a link, as a repository can have one checked in, would have files of the user's written over.
#[test]
fn nothing_is_placed_through_a_link_that_stands_for_a_directory() {
    let chain = Chain::published();
    let unit = crate::common::chain::unit_of(&chain.manifest(), "c1")
        .name
        .fingerprint_dir();
    let unit = unit.to_str().expect("it is text").to_owned();
    for dir in [
        "debug",
        "debug/deps",
        "debug/.fingerprint",
        &unit,
        ".headstart",
        ".headstart/seeds",
        ".headstart/sessions",
    ] {
        let clone = chain.elsewhere(&format!("clone/{}", dir.replace('/', "-")));
        let outside = clone.path("outside");
        fs::create_dir(&outside).expect("the clone is ours");
        let link = clone.path("target").join(dir);
        fs::create_dir_all(link.parent().expect("it is below")).expect("the clone is ours");
        std::os::unix::fs::symlink(&outside, &link).expect("links work here");
        let start = chain.run(clone.root(), &["start"]);
        refused(&start, "it is a symbolic link");
        assert!(start.stderr.contains("--target-dir"), "{}", start.stderr);
        let found = walk::below_without_links(&outside).expect("it can be listed");
        assert!(found.is_empty(), "{dir}: {found:?}");
        let said = chain.run(clone.root(), &["start", "--", "build"]);
        assert_eq!(said.code, 0, "{dir}: {}", said.stderr);
        builds_right(&clone);
    }
}

/// A link that is checked in where a note is written aside would have a file of the user's truncated.
#[test]
fn a_note_is_not_written_through_a_link() {
    let scratch = Scratch::new();
    let (victim, aside) = (scratch.path("victim"), scratch.path("tmp/seeds-x"));
    fs::create_dir(scratch.path("tmp")).expect("the scratch directory is ours");
    fs::write(&victim, "mine").expect("the scratch directory is ours");
    std::os::unix::fs::symlink(&victim, &aside).expect("links work here");
    let note = scratch.path("seeds/x");
    headstart::disk::place::write_by(&aside, &note, b"note").expect("it can be written");
    assert_eq!(fs::read(&victim).expect("it is there"), b"mine");
    assert!(!note.is_symlink());
}

/// Sizes that add up to more than a number holds would pass for little, and fill the disk.
#[test]
fn sizes_that_cannot_be_added_up_are_refused() {
    let chain = Chain::published();
    let honest = chain.manifest();
    let clone = chain.elsewhere("clone");
    let huge = |unit: &mut Unit| {
        for file in &mut unit.files {
            if let Content::Object { size_bytes, .. } = &mut file.content {
                *size_bytes = u64::MAX / 2;
            }
        }
    };
    let session = |unit: &mut Unit| {
        let session = unit.session.as_mut().expect("it has one");
        session.files[0].size_bytes = u64::MAX;
    };
    let changes: [Change<'_>; 2] = [("outputs", &huge), ("session", &session)];
    for (name, change) in changes {
        chain.tamper(honest.clone(), |manifest| change(unit_mut(manifest, "c1")));
        found_nothing(&chain.start(clone.root()), "larger than any disk");
        assert!(!clone.path("target").exists(), "{name}");
    }
    builds_right(&clone);
}

/// A change to the recipe of an rlib.
type Spoiling<'a> = (&'a str, &'a dyn Fn(&mut Recipe));

/// A recipe that makes something else would fill the disk, or put another library in place of the one that was named.
#[test]
fn a_recipe_that_makes_something_else_is_refused() {
    let chain = Chain::published();
    let honest = chain.manifest();
    let clone = chain.elsewhere("clone");
    let recipes: [Spoiling<'_>; 4] = [
        ("longer", &|recipe| recipe.size_bytes += 1),
        ("nothing", &|recipe| recipe.pieces.clear()),
        ("empty piece", &|recipe| {
            recipe.pieces.push(Piece::Inline(Vec::new()))
        }),
        ("overflow", &|recipe| {
            let digest = recipe.digest;
            let huge = [u64::MAX, 1].map(|size_bytes| Piece::Object { digest, size_bytes });
            recipe.pieces.extend(huge);
        }),
    ];
    for (name, change) in recipes {
        chain.tamper(honest.clone(), |manifest| change(recipe_mut(manifest)));
        let output = chain.start(clone.root());
        found_nothing(&output, "has a recipe that does not add up");
        assert!(!clone.path("target").exists(), "{name}");
    }
    // It adds up, and is of another file.
    chain.tamper(honest.clone(), |manifest| {
        recipe_mut(manifest).pieces.reverse();
    });
    let started = chain.start(clone.root()).succeeded().json();
    let reasons = crate::common::reasons(&started, "lib-c1");
    assert_eq!(reasons, ["object-damaged"]);
    builds_right(&clone);
    // No object was blamed for it.
    chain.tamper(honest, |_| {});
    chain.serves();
}

fn recipe_mut(manifest: &mut Manifest) -> &mut Recipe {
    let files = &mut unit_mut(manifest, "c1").files;
    let mut recipes = files.iter_mut().filter_map(|file| match &mut file.content {
        Content::Recipe(recipe) => Some(recipe),
        _ => None,
    });
    recipes.next().expect("its rlib is one")
}

/// A manifest without units, commit or commands would crash whoever shows it.
#[test]
fn an_empty_manifest_starts_nothing() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    chain.tamper(chain.manifest(), |manifest| {
        manifest.units.clear();
        manifest.inputs.clear();
        manifest.packages.clear();
    });
    for args in [
        &["start"][..],
        &["start", "--json"],
        &["status"],
        &["status", "--json"],
    ] {
        chain.run(clone.root(), args).succeeded();
    }
    builds_right(&clone);
}

/// A point with a name that is no commit would crash whoever shows the store.
#[test]
fn a_point_with_an_odd_commit_is_shown() {
    let chain = Chain::published();
    for commit in ["", "é", "0123456789aéé", "../../x"] {
        let mut point = chain.point();
        point.commit = commit.to_owned();
        let mut file = chain.point_file();
        file.set_file_name("odd");
        fs::write(&file, point.encode()).expect("the store is ours");
        chain.run(chain.source.root(), &["status"]).succeeded();
        chain.run(chain.source.root(), &["start"]).succeeded();
        fs::remove_file(&file).expect("it was there");
    }
}

impl Chain {
    /// Returns where a clone has the file of `package` whose name ends with `suffix`.
    fn place_of(&self, package: &str, suffix: &str) -> PathBuf {
        let manifest = self.manifest();
        let unit = crate::common::chain::unit_of(&manifest, package);
        let mut paths = unit.files.iter().map(|file| &file.path);
        let path = paths.find(|path| path.ends_with(suffix.as_bytes()));
        let path = path.expect("the unit has such a file");
        Path::new("target").join(headstart::model::root::bytes_path(path))
    }
}

fn unit_mut<'a>(manifest: &'a mut Manifest, package: &str) -> &'a mut Unit {
    let suffix = format!("-{package}");
    let mut units = manifest.units.iter_mut();
    let unit = units.find(|unit| unit.name.stem.ends_with(&suffix));
    unit.expect("it was published")
}

/// A workspace that is reached through a link would have two names, and its units be pinned to one.
#[test]
fn a_target_directory_behind_a_link_works() {
    let chain = Chain::published();
    let clone = chain.elsewhere("clone");
    let disk = chain.place.scratch.path("fast-disk");
    fs::create_dir(&disk).expect("the scratch directory is ours");
    std::os::unix::fs::symlink(&disk, clone.path("target")).expect("links work here");
    let again: &Workspace = &clone;
    for _ in 0..2 {
        chain.start(again.root()).succeeded();
        builds_right(again).nothing_ran();
    }
    assert!(disk.join("debug/c3").exists());
}
