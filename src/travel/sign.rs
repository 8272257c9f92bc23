//! Signs what somebody else published: the second half of a publish, without what was built, or what builds it.
//!
//! Believes nothing that is read but what the manifest itself says, and that only as far as it is about the commit that is
//! here. Whether a build made it of that commit, only its publisher knows.

use crate::model::{Digest, Manifest};
use crate::store::format::{self, FormatError};
use crate::store::head::{self, Entry};
use crate::store::{Point, pack};
use crate::tier::Tier;
use crate::travel::list::{List, ListError, Signer};
use crate::travel::push::MAX_BUNDLE_BYTES;
use crate::trust;

/// How many unsigned starting points of one commit are looked at: whoever writes them must not keep a signer busy.
const MAX_ENTRIES: usize = 64;

/// What a manifest must be about.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The name of the repository; empty if it has none.
    pub repository: &'a str,
    /// The commit.
    pub commit: &'a str,
    /// Its tree.
    pub tree: &'a str,
    /// The beginning of the manifest's name; empty for any.
    pub manifest: &'a str,
    /// The time, in seconds since 1970.
    pub now_unix_s: i64,
}

/// Something that was to be signed, and what became of it.
#[derive(Debug)]
pub struct Signed {
    /// The manifest's name.
    pub manifest: Digest,
    /// Whether it was signed here and now, or had these signatures already; or why it was not.
    pub verdict: Result<Verdict, String>,
}

/// How something comes to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was signed.
    New,
    /// It was signed by the same keys before.
    Already,
}

/// Signs what is `expected` among all that waits for it in `tier`, and lists it there; nothing waits where it returns nothing.
///
/// May be called again, and by several at once: what is signed keeps the signatures of others.
pub fn sign(
    tier: &dyn Tier,
    expected: Expected<'_>,
    signer: &Signer,
) -> Result<Vec<Signed>, ListError> {
    let now_unix_s = expected.now_unix_s;
    let mut waiting =
        List::new(tier, head::unsigned_key(expected.commit), None, now_unix_s).read()?;
    let named = |entry: &Entry| entry.point.manifest.hex().starts_with(expected.manifest);
    waiting.entries.retain(named);
    waiting.entries.truncate(MAX_ENTRIES);
    let mut signed = Vec::new();
    // The newest comes first in a list, and is added last.
    for mut entry in waiting.entries.into_iter().rev() {
        let manifest = entry.point.manifest;
        let verdict = match read(tier, &entry, expected) {
            Err(why) => Err(why),
            Ok((bytes, point)) => {
                let key = head::key(&point.toolchain);
                let mut list = List::new(tier, key, Some(signer), now_unix_s);
                let head = list.read()?;
                let there = head.of(manifest).map_or(&[][..], |there| &there.signatures);
                entry.point = point;
                entry.signatures = lacking(&bytes, there, signer);
                match entry.signatures.is_empty() {
                    true => Ok(Verdict::Already),
                    false => list.add(&entry).map(|()| Ok(Verdict::New))?,
                }
            }
        };
        signed.push(Signed { manifest, verdict });
    }
    Ok(signed)
}

/// Returns the signatures of `bytes` by those of the signer's keys that did not sign them `there` yet.
fn lacking(bytes: &[u8], there: &[String], signer: &Signer) -> Vec<String> {
    let (keys, comment) = (signer.keys.iter(), &signer.comment);
    let lacking = keys.filter(|key| trust::verify(bytes, there, &[key.public()]).is_err());
    lacking.map(|key| key.sign(bytes, comment)).collect()
}

/// Returns the bytes of the manifest that `entry` names, and its point, made from the manifest; or why it is not signed.
fn read(tier: &dyn Tier, entry: &Entry, wanted: Expected<'_>) -> Result<(Vec<u8>, Point), String> {
    let name = entry.point.manifest;
    let key = pack::bundle_key(entry.epoch, name);
    let bundle = tier.get(&key, MAX_BUNDLE_BYTES, &|_| true);
    let bundle = bundle.map_err(|why| format!("its manifest cannot be read: {why}"))?;
    let unread = |error: FormatError| format!("its manifest {error}");
    let (bytes, packed) = pack::split_bundle(&bundle, name).map_err(unread)?;
    let manifest = format::decode(bytes).map_err(unread)?;
    check(&manifest, wanted)?;
    let index = pack::decode_index(packed, &manifest);
    index.map_err(|error| format!("its index {error}"))?;
    Ok((bytes.to_vec(), Point::new(&manifest, name)))
}

/// Says why `manifest` is not about what is `expected`.
fn check(manifest: &Manifest, expected: Expected<'_>) -> Result<(), String> {
    Err(if manifest.repository != expected.repository {
        format!("it is of the repository `{}`", manifest.repository)
    } else if manifest.commit != expected.commit {
        format!("it is of the commit {}", manifest.commit)
    } else if manifest.tree != expected.tree {
        let tree = &manifest.tree;
        format!("it was built from the tree {tree}, which is not that of the commit")
    } else if manifest.dirty {
        "it was built from a work tree that differed from the commit".to_owned()
    } else if manifest.not_after_unix_s < expected.now_unix_s {
        "it has expired".to_owned()
    } else {
        return Ok(());
    })
}
