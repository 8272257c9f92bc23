//! What cargo calls otherwise here than where a session was made: the unit's own outputs, and the members that it depends on.
//!
//! rustc hashes both names, as it hashes where files lie (see [`relocate`](crate::engine::relocate)); the same rule holds.

use serde::{Deserialize, Serialize};

use crate::engine::Ledger;
use crate::model::session::{Formula, NamesFormula, Site};
use crate::model::{Compiled, Located, Root, Rooted};
use crate::rustc::crate_source::{self, Fingerprint};

/// A member that a session's rustc loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where in the dep-graph rustc's hash of its files stands.
    pub offset: u64,
    /// The dynamic library, the rlib, the rmeta: each if rustc had it.
    pub files: [Option<Rooted>; 3],
    /// How this rustc hashes them.
    pub formula: Formula,
    /// What the builder's cargo called it.
    pub unit: String,
    /// The name of its seed, which is the same here.
    pub key: String,
}

/// Returns what the names of a crate's files begin with, behind `lib`.
fn stem(files: &[Option<Rooted>; 3]) -> &str {
    let file = files.iter().flatten().next();
    let file = file.filter(|file| file.root == Root::Build);
    let stem = file.and_then(|file| file.relative().file_stem()?.to_str());
    stem.and_then(|stem| stem.strip_prefix("lib"))
        .unwrap_or_default()
}

/// A hash of rustc's in a dep-graph, behind its offset.
pub type Patch = (u64, Fingerprint);

/// What a session's rustc hashed of names that cargo may give otherwise here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// Where rustc's hash of the names of the unit's outputs stands, and which it is.
    pub outputs: Vec<(u64, NamesFormula)>,
    /// The members that it loaded.
    pub members: Vec<Member>,
}

impl Called {
    /// Returns it of `sites`, where `key` tells the name of a member's seed by what cargo called the member.
    pub(super) fn of(
        sites: &[Site],
        located: &[Located],
        key: impl Fn(&str) -> Option<String>,
    ) -> Called {
        let mut called = Called::default();
        for site in sites {
            match &located[site.located as usize] {
                Located::Outputs(formula) => called.outputs.push((site.offset, formula.clone())),
                Located::Crate { files, formula } => {
                    let unit = stem(files);
                    called.members.extend(key(unit).map(|key| Member {
                        offset: site.offset,
                        files: files.clone(),
                        formula: *formula,
                        unit: unit.to_owned(),
                        key,
                    }));
                }
            }
        }
        called
    }

    /// Returns rustc's hash of the names of the unit that is `compiled` for each of the outputs, and of the files of those members that cargo calls otherwise here, as the
    /// last compile of each has noted.
    pub(super) fn hashes(&self, compiled: &Compiled, ledger: &Ledger) -> Vec<Patch> {
        let build = ledger.build();
        let outputs = self.outputs.iter().filter_map(|(offset, formula)| {
            let names = compiled.names.as_ref()?;
            Some((*offset, names.fingerprint(formula)))
        });
        let members = self.members.iter().filter_map(|member| {
            // What has no hash in its name is called the same.
            let unit = ledger.session_of(&member.key);
            let unit = unit.filter(|unit| !unit.contains('='))?;
            let file = |file: &Rooted| {
                let path = build.join(file.relative());
                let called = path.file_name()?.to_str()?.replace(&member.unit, &unit);
                Some(path.with_file_name(called))
            };
            let files = [0, 1, 2].map(|at| member.files[at].as_ref().and_then(file));
            let hash = crate_source::fingerprint(&files, member.formula);
            (unit != member.unit).then_some((member.offset, hash))
        });
        outputs.chain(members).collect()
    }
}
