//! Deletes what a tier holds of weeks that are over for good; see `docs/format.md`, "What is collected".
//!
//! Looks into no file: the name of the week says all. So nothing that readers, writers and other collectors do meanwhile matters.

use crate::model::{Digest, Epoch, SECONDS_A_DAY, retention};
use crate::report::Reporter;
use crate::tier::{Listed, Tier, Trouble};

/// The directories that have one for each week.
const BY_WEEK: [&str; 2] = ["v1/manifests", "v1/packs"];
/// What waits to be signed, in a file for each commit. All that is in one has expired when it was not written for so long.
const BY_AGE: &str = "v1/unsigned";
/// All directories that are collected. Lists are not: they are small, and whoever writes one leaves out what has expired.
pub const COLLECTED: [&str; 3] = [BY_WEEK[0], BY_WEEK[1], BY_AGE];

/// What a tier holds of weeks that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Over {
    /// The weeks, oldest first.
    pub epochs: Vec<Epoch>,
    /// The files.
    pub keys: Vec<String>,
    /// Their size.
    pub bytes: u64,
}

impl Over {
    fn add(&mut self, dir: &str, file: &Listed) {
        self.keys.push(format!("{dir}/{}", file.name));
        self.bytes += file.bytes;
    }
}

/// Returns what `tier` holds that no reader can need any more, if starting points may be used for `keep_days`.
pub fn over(tier: &dyn Tier, keep_days: u16, now_unix_s: i64) -> Result<Over, Trouble> {
    let mut over = Over::default();
    for dir in BY_WEEK {
        for name in tier.list(dir)?.dirs {
            let epoch = Epoch::parse(&name);
            let Some(epoch) = epoch.filter(|one| retention::is_over(*one, keep_days, now_unix_s))
            else {
                continue;
            };
            // What else lies there is not ours.
            let files = tier.list(&format!("{dir}/{name}"))?.files.into_iter();
            for file in files.filter(|file| file.name.parse::<Digest>().is_ok()) {
                over.add(&format!("{dir}/{name}"), &file);
                over.epochs.push(epoch);
            }
        }
    }
    let is_commit = |file: &Listed| file.name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let oldest = now_unix_s - retention::age_days(keep_days) * SECONDS_A_DAY;
    let files = tier.list(BY_AGE)?.files.into_iter().filter(is_commit);
    for file in files.filter(|file| file.written_unix_s < oldest) {
        over.add(BY_AGE, &file);
    }
    over.epochs.sort();
    over.epochs.dedup();
    Ok(over)
}

/// Removes the files of `over` from `tier`. Those that went before it failed are gone, and missed by nobody.
pub fn remove(tier: &dyn Tier, over: &Over, reporter: &Reporter) -> Result<(), Trouble> {
    let step = reporter.step("Deleting", over.keys.len() as u64);
    tier.remove(&over.keys, &|| step.inc(1))
}
