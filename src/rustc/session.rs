//! rustc's incremental directories: their names, and the newest finalised session in one.
//!
//! Knows nothing of what a session holds. Source: rustc: rustc_incremental/src/persist/fs.rs @ 1.95.

use std::hash::{Hash, Hasher};
use std::path::Path;

use rustc_stable_hash::StableSipHasher128;

use super::crate_source::finish;
use crate::disk::walk;

/// The timestamp given to placed sessions, in rustc's base 36: 2001-09-09 in microseconds. Older than any
/// session that rustc makes here, so its own always wins.
pub const PLACED_TIMESTAMP: &str = "9ugxnorjls";

/// How many bytes rustc's hash of a crate has.
pub const HASH_BYTES: usize = 16;

/// How many base-36 digits rustc pads a crate id to.
const ID_DIGITS: usize = 13;
/// And a whole hash.
const WHOLE_DIGITS: usize = 25;

/// Returns the name of the directory below `-C incremental` where rustc keeps the sessions of a crate.
///
/// `version` is rustc's version without the leading `rustc `. Source: rustc: rustc_span/src/def_id.rs,
/// `StableCrateId::new` @ 1.95.
pub fn crate_dir(crate_name: &str, metadata: &str, executable: bool, version: &str) -> String {
    let mut hasher = StableSipHasher128::new();
    crate_name.hash(&mut hasher);
    hasher.write(b"metadata");
    hasher.write_usize(metadata.len());
    hasher.write(metadata.as_bytes());
    hasher.write(if executable { b"exe" } else { b"lib" });
    hasher.write(version.as_bytes());
    // rustc takes the first half of the 128 bits for a crate's id.
    let hash = finish(hasher);
    let id = hash.first_chunk().expect("a half is eight bytes");
    format!("{crate_name}-{}", base36(u64::from_le_bytes(*id)))
}

/// Returns the name of the newest finalised session in `crate_dir` that has its lock file.
pub fn newest(crate_dir: &Path) -> Option<String> {
    let sessions = walk::subdirectories(crate_dir).into_iter();
    let finished = sessions.filter_map(|name| {
        let parts = Parts::of(&name)?;
        let locked = crate_dir.join(parts.lock_file()).is_file();
        let time = parts.timestamp.to_owned();
        locked.then_some((time.len(), time, name))
    });
    finished.max().map(|(.., name)| name)
}

/// A finalised session's name, taken apart: `s-<timestamp>-<random>-<svh>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Microseconds since 1970 in base 36.
    pub timestamp: &'a str,
    /// Told apart from other sessions of the same instant.
    pub random: &'a str,
    /// The crate's hash.
    pub svh: &'a str,
}

impl<'a> Parts<'a> {
    /// Returns the parts of `name`; none for a session that is still worked on.
    pub fn of(name: &'a str) -> Option<Parts<'a>> {
        let mut parts = name.strip_prefix("s-")?.split('-');
        let found = Parts {
            timestamp: parts.next()?,
            random: parts.next()?,
            svh: parts.next()?,
        };
        (parts.next().is_none() && found.svh != "working").then_some(found)
    }

    /// Returns rustc's hash of the crate as metadata has it; none where the name does not have all of it.
    pub fn hash(&self) -> Option<[u8; HASH_BYTES]> {
        let value = u128::from_str_radix(self.svh, 36).ok()?;
        (self.svh.len() == WHOLE_DIGITS).then(|| value.to_le_bytes())
    }

    /// Returns the name of the lock file beside the session.
    pub fn lock_file(&self) -> String {
        format!("s-{}-{}.lock", self.timestamp, self.random)
    }
}

/// Returns `value` as rustc writes ids: base 36, lower case, padded with zeros.
fn base36(mut value: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = vec![b'0'; ID_DIGITS];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(value % 36) as usize];
        value /= 36;
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::{Parts, crate_dir};

    /// A wrong name would publish no session at all, or another crate's.
    #[test]
    fn crate_dirs_are_rustcs() {
        let version = "1.95.0 (59807616e 2026-04-14)";
        assert_eq!(
            crate_dir("foo", "d3f51e7e1b1743f7", false, version),
            "foo-2pq741s9nga06"
        );
        let script = crate_dir("build_script_build", "9fe08e87e33eafd7", true, version);
        assert_eq!(script, "build_script_build-1jf4zxcykkwyc");
    }

    /// A session that rustc was still writing must never be published.
    #[test]
    fn a_working_session_is_not_finalised() {
        assert!(Parts::of("s-hoesqv6wan-188ld1d-working").is_none());
        let parts = Parts::of("s-hoesqv6wan-188ld1d-7w1pf").unwrap();
        assert_eq!(parts.lock_file(), "s-hoesqv6wan-188ld1d.lock");
    }
}
