//! Spares a compile whose outcome is known: that of a unit which a start would have placed, but for one below it that is another here.
//!
//! cargo compiles again whatever depends on what it compiles again. Where that came out as the builder has it, so would what depends
//! on it, if nothing of its own has changed since the start compared it. What it made is placed then, and no rustc runs. See note 0021.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::cargo::layout::FINGERPRINTS;
use crate::cargo::makefile;
use crate::disk::place::mode_for;
use crate::disk::{self, Finish, Staging, hash};
use crate::engine::plan::deps;
use crate::engine::seed::{Beginning, Seed};
use crate::engine::{Action, Survey, inputs, restore};
use crate::model::{
    Content, Digest, Expected, Finder, Input, OutputFile, Reason, Recipe, Root, Rooted, Roots,
    Seen, Unit, bytes_path,
};
use crate::rustc::argv::seed_key;
use crate::rustc::run;
use crate::store::Store;

/// What a unit made for a starting point, and from what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Whether it holds a place of the builder's, which is elsewhere here.
    pub elsewhere: bool,
    /// What it was made from, and the manifests.
    pub inputs: Vec<Input>,
    /// What units below it made that is placed or kept: libraries, what scripts said.
    pub old: Vec<Rooted>,
    /// The libraries that it was compiled against, by their paths in the build directory.
    pub libraries: Vec<(Vec<u8>, Digest)>,
    /// What it made.
    pub files: Vec<OutputFile>,
    /// Where the builder had the roots.
    pub roots: Roots,
    /// How long rustc took.
    pub elapsed_ms: u64,
    /// The time of what the start placed, which nothing that it compared is newer than.
    pub placed: SystemTime,
}

fn artifacts(unit: &Unit) -> impl Iterator<Item = &OutputFile> {
    unit.files.iter().filter(|file| file.artifact)
}

/// Tells whether nothing was linked to make `file`, so that it holds nothing but what rustc read.
fn is_unlinked(file: &OutputFile) -> bool {
    let path = bytes_path(&file.path);
    disk::has_extension(path, "rmeta") || disk::has_extension(path, "rlib")
}

/// Tells whether this directory will have what the unit at `at` in `survey` made, byte for byte, without a compile.
fn is_there(survey: &Survey<'_>, at: usize) -> bool {
    match survey.decisions[at].action {
        Action::Place => true,
        Action::Keep => survey.evidence[at].identical,
        Action::Seed | Action::Leave => false,
    }
}

impl Made {
    /// Returns it of the unit at `at` in `survey`, where what the start places has the time `placed`; none for what is placed or kept itself, differs in
    /// more than its place, or was linked, or stands above what differs so, and where cargo's settings are others: a macro may ask for what a manifest says of
    /// its package.
    pub fn of(survey: &Survey<'_>, at: usize, placed: SystemTime) -> Option<Made> {
        let manifest = survey.manifest.get();
        let unit = &manifest.units[at];
        if survey.decisions[at].action != Action::Seed || !survey.same_settings {
            return None;
        }
        let mut below: Vec<usize> = vec![at];
        let mut seen: HashSet<usize> = below.iter().copied().collect();
        while let Some(one) = below.pop() {
            if is_there(survey, one) {
                continue;
            }
            let differs = survey.evidence[one].differs.as_ref();
            let in_more = differs.is_some_and(|why| !matches!(why, Reason::Pinned(_)));
            if in_more || !artifacts(&manifest.units[one]).all(is_unlinked) {
                return None;
            }
            below.extend(deps(&manifest.units[one]).filter(|dep| seen.insert(*dep)));
        }
        // cargo's name of a unit covers what is locked for it.
        let settings = manifest.settings.iter();
        let settings = settings.filter(|one| !one.path.relative().ends_with("Cargo.lock"));
        let inputs = manifest.inputs_of(unit).chain(settings).cloned();
        let (mut old, mut libraries) = (Vec::new(), Vec::new());
        for dep in deps(unit) {
            for file in artifacts(&manifest.units[dep]) {
                if is_there(survey, dep) {
                    old.push(Rooted::new(Root::Build, bytes_path(&file.path)));
                }
                if let Content::Object { digest, .. } | Content::Recipe(Recipe { digest, .. }) =
                    &file.content
                {
                    libraries.push((file.path.clone(), *digest));
                }
            }
        }
        Some(Made {
            elsewhere: survey.evidence[at].differs.is_some(),
            inputs: inputs.collect(),
            old,
            libraries,
            files: unit.files.clone(),
            roots: manifest.roots.clone(),
            elapsed_ms: unit.compiled.as_ref()?.elapsed_ms,
            placed,
        })
    }

    /// Returns the objects that a compile may need of it.
    pub fn objects(&self) -> impl Iterator<Item = Digest> {
        let is_metadata = |file: &OutputFile| disk::has_extension(bytes_path(&file.path), "rmeta");
        let needed = self.files.iter();
        let needed = needed.filter(move |file| !self.elsewhere || is_metadata(file));
        let objects = needed.flat_map(|file| file.content.objects());
        objects.map(|(object, _)| object)
    }

    /// Returns its file with `extension`.
    pub(super) fn file(&self, extension: &str) -> Option<&OutputFile> {
        let is = |file: &&OutputFile| disk::has_extension(bytes_path(&file.path), extension);
        self.files.iter().find(is)
    }
}

impl Beginning<'_> {
    /// Returns the unit's seed, and what the unit made where that is from, if it is compiled as it was there, under the same name.
    pub fn made(&self) -> Option<(Seed, Made)> {
        let mut seed = self.ledger.seed(&seed_key(&self.compiled))?;
        let made = seed.made.take()?;
        let is_same = self.seeding && Some(seed.arguments) == self.compiled.arguments;
        let name = format!("lib{}", self.invocation.stem());
        let named = self.locate(&self.invocation.out_dir).join(name);
        let is_named = |file: &OutputFile| {
            let path = bytes_path(&file.path).with_extension("");
            !file.artifact || Rooted::new(Root::Build, path) == named
        };
        (is_same && made.files.iter().all(is_named)).then_some((seed, made))
    }

    /// Places what the unit would make, which it `made` for `seed`, and says what rustc would say, if that is known. Where it returns none, rustc
    /// writes over what may be placed already.
    ///
    /// Nothing is known of a unit that cargo would compile again for its own sake: a touched source asks for it, and so does who removes what
    /// was compiled since the start.
    pub fn hit(&self, (seed, made): &(Seed, Made)) -> Option<()> {
        // cargo reads the list of sources that is placed, and would take a path with a space in it for two.
        let is_read = !spaced(&made.roots) && !spaced(self.roots);
        let may_be = !made.elsewhere && is_read && self.is_first();
        let is_known = may_be && self.is_untouched(made) && self.has_variables(made);
        if !is_known || !self.has_libraries(made) {
            return None;
        }
        let store = Store::open(&seed.store).ok()?;
        let staging = Staging::new(&self.ledger.staging_parent(), "hit").ok()?;
        let (finder, build) = (Finder::new(&made.roots), self.ledger.build());
        let is_replayed = |file: &&OutputFile| {
            let mut parts = bytes_path(&file.path).components();
            parts.any(|part| part.as_os_str() == FINGERPRINTS)
        };
        let (said, files): (Vec<_>, Vec<_>) = made.files.iter().partition(is_replayed);
        for file in files {
            let (finish, path) = (Finish::with_mode(mode_for(file.executable)), &file.path);
            let place = build.join(bytes_path(path));
            let what = (file, &finder, self.roots);
            restore::place(what, &store, &staging, (&place, finish)).ok()?;
        }
        // cargo keeps it for builds that find the unit fresh, and shows it.
        for file in said {
            if let Content::Inline(bytes) = &file.content {
                run::forward(&finder.rewrite(bytes, self.roots));
            }
        }
        Some(())
    }

    /// Tells whether the unit was not compiled since the start.
    fn is_first(&self) -> bool {
        let since = self.ledger.seeded(&seed_key(&self.compiled));
        let note = self.ledger.note(&self.unit);
        let noted = note.map(|note| UNIX_EPOCH + Duration::from_millis(note.started_unix_ms));
        noted.is_none_or(|noted| since.is_some_and(|since| noted < since))
    }

    fn locate(&self, path: &Path) -> Rooted {
        self.roots.locate(&self.environment.dir.join(path))
    }

    /// Tells whether all that it was made from is as the start saw it, and nothing of it newer than what that placed, nor what was placed below it:
    /// somebody has asked for a compile of that, or of what it stands on.
    pub(super) fn is_untouched(&self, made: &Made) -> bool {
        let is_old = |path: &Rooted| {
            let newest = inputs::newest(path, self.roots);
            newest.is_some_and(|time| time <= made.placed)
        };
        let is_same = |input: &Input| {
            let is_file = matches!(input.expected, Expected::File(_));
            (!is_file || is_old(&input.path)) && inputs::compare(input, self.roots) == Seen::Same
        };
        made.old.iter().all(is_old) && made.inputs.iter().all(is_same)
    }

    /// Tells whether the variables that were read have the values that they had.
    pub(super) fn has_variables(&self, made: &Made) -> bool {
        let list = made.file("d").map(|file| &file.content);
        let Some(Content::Inline(list)) = list else {
            return false;
        };
        let list = String::from_utf8_lossy(list);
        let (ours, theirs) = (Finder::new(self.roots), Finder::new(&made.roots));
        let remapped = Roots::remapped();
        let has = |(name, value): (String, String)| {
            let here = self.environment.text(&name);
            here.is_some_and(|here| {
                ours.rewrite(here.as_bytes(), &remapped)
                    == theirs.rewrite(value.as_bytes(), &remapped)
            })
        };
        let mut unset = makefile::unset(&list);
        makefile::variables(&list).all(has) && unset.all(|name| !self.environment.is_set(&name))
    }

    /// Tells whether all libraries that it would be compiled against are those that it was.
    fn has_libraries(&self, made: &Made) -> bool {
        self.invocation.libraries().all(|path| {
            let place = self.locate(path);
            let here = || hash::of(&self.roots.resolve(&place));
            let mut known = made.libraries.iter().filter(|one| one.0 == place.path);
            place.root == Root::Build && known.any(|(_, digest)| here() == Some(*digest))
        })
    }
}

/// Tells whether one of `roots` lies at a path with a space in it.
fn spaced(roots: &Roots) -> bool {
    roots.spellings().any(|(_, path)| path.contains(&b' '))
}
