//! Places that hold what was published, nearest first, and what is done when one of them fails.
//!
//! Whatever a tier gives is checked by whoever asked: a tier that lies costs time, and no more. One that fails is not
//! asked again by this process, so that trouble costs one bounded wait. That counts for reading alone: nothing is written
//! by way of [`Tiers`], and who writes to a tier stops at its first trouble, so that one that takes nothing is still read.
//! That something is absent is remembered by nobody.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;

/// How long is waited before a request is made again that a tier could not serve: behind a build of minutes a starting point
/// is worth these seconds, and no more, since somebody may wait for the end of it.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_secs(2),
    Duration::from_secs(LONGEST_PAUSE_S as u64),
];
/// The longest of them, in seconds.
const LONGEST_PAUSE_S: u32 = 6;

/// Why a tier did not give or take something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It is not there; the tier is well.
    #[error("it is not there")]
    Absent,
    /// The tier refuses: who asks is not known, or may not.
    #[error("access is denied: {0}")]
    Denied(String),
    /// The tier cannot be reached, or answers too late, or wrongly.
    #[error("{0}")]
    Unreachable(String),
    /// It asks to come back in so many seconds, and nobody here waits as long.
    #[error("it is busy, and asks to come back in {0} s")]
    Busy(u32),
    /// Whoever asked wanted no more of it.
    #[error("it would take too long")]
    Stopped,
    /// The tier gave it, and it cannot be kept here: no other tier could help.
    #[error("{0}")]
    Here(String),
    /// It is larger than anything that we would ask for.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
}

/// What a tier gave, or why not.
pub type Result<T, E = Trouble> = std::result::Result<T, E>;

/// What a tier was asked, and how it failed at that.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
pub struct Failed(String, Trouble);

/// Returns what says that the tier failed at `what` with the file `key`.
pub fn failed(what: &str, key: &str) -> impl FnOnce(Trouble) -> Failed {
    let what = format!("{what} {key}");
    |trouble| Failed(what, trouble)
}

/// Is told of bytes that came, and says whether to go on.
pub type Watch<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// A place that holds files by name, which are written once; see `docs/format.md` for the names.
pub trait Tier: fmt::Debug + Send + Sync {
    /// Returns its address, as it was given.
    fn name(&self) -> &str;

    /// Tells whether it may be written to.
    fn is_writable(&self) -> bool;

    /// Returns the directory, if that is what it is and the user named it: a repository has no say in who is believed.
    fn directory(&self) -> Option<&Path>;

    /// Returns the file `key`, which may have `limit_bytes` at most.
    fn get(&self, key: &str, limit_bytes: u64, watch: Watch<'_>) -> Result<Vec<u8>>;

    /// Returns a part of the file `key`; it may end early where the file does.
    fn get_range(&self, key: &str, range: Range<u64>, watch: Watch<'_>) -> Result<Vec<u8>>;

    /// Writes the file `key`.
    fn put(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Writes the file `key` in the place of `seen`, which was read there before; of nothing, if that is none.
    fn replace(&self, key: &str, seen: Option<&[u8]>, bytes: Vec<u8>) -> Result<Replaced>;

    /// Returns what lies directly in the directory `key`; nothing where there is none.
    fn list(&self, key: &str) -> Result<Listing>;

    /// Removes the files `keys`, and calls `removed` for each; one that is not there any more is success. Ends with the first
    /// that cannot be removed.
    fn remove(&self, keys: &[String], removed: &dyn Fn()) -> Result<()>;

    /// Writes the file `key` if there is none, and tells whether it did. Only as good as the tier's word.
    fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<bool>;

    /// Returns the date of the last response, by the tier's own clock, in seconds since 1970; none where it gives none.
    fn told_unix_s(&self) -> Option<i64>;
}

/// What became of a file that was to be written in the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It was written, and nothing is lost.
    Surely,
    /// It was written; something that others wrote meanwhile may be lost, since this place cannot tell.
    Blindly,
    /// It was not written: another was, since `seen` was read.
    Not,
}

/// Asks a tier for what must not fail for a moment's trouble: again, with pauses, as long as it cannot be
/// reached, or is busy for no longer than such a pause.
pub fn persistently<T>(mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    for pause in PAUSES {
        match ask() {
            Err(Trouble::Unreachable(_)) => std::thread::sleep(pause),
            Err(Trouble::Busy(seconds)) if seconds <= LONGEST_PAUSE_S => {
                std::thread::sleep(pause.max(Duration::from_secs(seconds.into())));
            }
            answer => return answer,
        }
    }
    ask()
}

/// Returns the file `key` of `tier`, asked for [`persistently`]; none where there is none.
pub fn read(tier: &dyn Tier, key: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>, Failed> {
    match persistently(|| tier.get(key, limit_bytes, &|_| true)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Trouble::Absent) => Ok(None),
        Err(trouble) => Err(failed("reading", key)(trouble)),
    }
}

/// What lies in a directory of a tier, each by its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Directories.
    pub dirs: Vec<String>,
    /// Files.
    pub files: Vec<Listed>,
}

/// A file as a tier lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in its directory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the tier's clock.
    pub written_unix_s: i64,
}

/// All tiers that are known here, nearest first.
#[derive(Debug, Default)]
pub struct Tiers<'a> {
    /// Each with how it failed, if it did.
    all: Vec<(&'a dyn Tier, OnceLock<Trouble>)>,
}

impl<'a> Tiers<'a> {
    /// Returns the tiers `tiers`, nearest first.
    pub fn new(tiers: impl IntoIterator<Item = &'a dyn Tier>) -> Tiers<'a> {
        let all = tiers.into_iter().map(|tier| (tier, OnceLock::new()));
        Tiers { all: all.collect() }
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the tiers that did not fail yet.
    pub fn well(&self) -> impl Iterator<Item = &'a dyn Tier> {
        let well = self.all.iter();
        let well = well.filter(|(_, failed)| failed.get().is_none());
        well.map(|(tier, _)| *tier)
    }

    /// Asks `tier`, one of these, by `ask`; a tier that fails is not asked again.
    pub fn ask(
        &self,
        tier: &dyn Tier,
        ask: impl FnOnce(&dyn Tier) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let answer = ask(tier);
        if let Err(trouble @ (Trouble::Denied(_) | Trouble::Unreachable(_) | Trouble::Busy(_))) =
            &answer
        {
            let mut all = self.all.iter();
            let own = all.find(|(own, _)| std::ptr::addr_eq(*own, tier));
            own.map(|(_, failed)| failed.set(trouble.clone()));
        }
        answer
    }

    /// Asks the tiers that are well, nearest first, until one of them has it and `check` takes what it gives.
    ///
    /// Returns the first answer that was taken, else the last trouble: absence only where no tier failed, now or before.
    pub fn find<T>(
        &self,
        mut ask: impl FnMut(&dyn Tier) -> Result<Vec<u8>>,
        mut check: impl FnMut(Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let mut failed = self.all.iter().filter_map(|(_, failed)| failed.get());
        let mut trouble = failed.next().cloned().unwrap_or(Trouble::Absent);
        for tier in self.well() {
            match self.ask(tier, &mut ask).and_then(&mut check) {
                Ok(found) => return Ok(found),
                Err(Trouble::Absent) => {}
                Err(ends @ (Trouble::Stopped | Trouble::Here(_))) => return Err(ends),
                Err(other) => trouble = other,
            }
        }
        Err(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Listing, Replaced, Result, Tier, Tiers, Trouble, Watch};
    use std::ops::Range;
    use std::path::Path;

    /// Gives the same answer to everybody, and takes nothing.
    #[derive(Debug)]
    struct Always(Result<Vec<u8>>);

    impl Tier for Always {
        fn name(&self) -> &str {
            "always"
        }

        fn is_writable(&self) -> bool {
            true
        }

        fn directory(&self) -> Option<&Path> {
            None
        }

        fn get(&self, _: &str, _: u64, _: Watch<'_>) -> Result<Vec<u8>> {
            self.0.clone()
        }

        fn get_range(&self, _: &str, _: Range<u64>, _: Watch<'_>) -> Result<Vec<u8>> {
            self.0.clone()
        }

        fn put(&self, _: &str, _: Bytes) -> Result<()> {
            Err(Trouble::Denied("nobody writes".to_owned()))
        }

        fn replace(&self, key: &str, _: Option<&[u8]>, bytes: Vec<u8>) -> Result<Replaced> {
            self.put(key, bytes.into()).map(|()| Replaced::Blindly)
        }

        fn list(&self, _: &str) -> Result<Listing> {
            Err(Trouble::Denied("nobody asks that".to_owned()))
        }

        fn remove(&self, _: &[String], _: &dyn Fn()) -> Result<()> {
            Err(Trouble::Denied("nobody asks that".to_owned()))
        }

        fn put_new(&self, _: &str, _: Vec<u8>) -> Result<bool> {
            Err(Trouble::Denied("nobody asks that".to_owned()))
        }

        fn told_unix_s(&self) -> Option<i64> {
            None
        }
    }

    fn tiers(answers: &[Result<Vec<u8>>]) -> Tiers<'static> {
        let tier = |answer: &Result<_, _>| -> &'static dyn Tier {
            Box::leak(Box::new(Always(answer.clone())))
        };
        Tiers::new(answers.iter().map(tier))
    }

    fn find(tiers: &Tiers<'_>) -> Result<Vec<u8>> {
        tiers.find(|tier| tier.get("x", 1, &|_| true), Ok)
    }

    /// What a remote has that is down would be taken for gone, and never be asked for again.
    #[test]
    fn what_failed_is_not_absent() {
        for trouble in [Trouble::Unreachable("down".to_owned()), Trouble::Busy(60)] {
            let tiers = tiers(&[Err(trouble.clone()), Err(Trouble::Absent)]);
            assert_eq!(find(&tiers), Err(trouble.clone()));
            assert_eq!(find(&tiers), Err(trouble), "it is not asked again");
            assert_eq!(tiers.well().count(), 1);
        }
        assert_eq!(find(&tiers(&[Err(Trouble::Absent)])), Err(Trouble::Absent));
    }

    /// A remote with credentials that may only read would not be read after a publish that it refused.
    #[test]
    fn who_takes_nothing_is_still_read() {
        let tiers = tiers(&[Ok(vec![7])]);
        let put = tiers.well().next().map(|tier| tier.put("x", Bytes::new()));
        assert!(matches!(put, Some(Err(Trouble::Denied(_)))));
        assert_eq!(find(&tiers), Ok(vec![7]));
    }

    /// Each remote in turn would be asked for what there is no room for here.
    #[test]
    fn a_full_disk_asks_nobody_else() {
        let tiers = tiers(&[Ok(vec![1]), Ok(vec![2])]);
        let mut asked = 0;
        let full = Trouble::Here("no space left".to_owned());
        let found: Result<()> = tiers.find(
            |tier| tier.get("x", 1, &|_| true),
            |_| {
                asked += 1;
                Err(full.clone())
            },
        );
        assert_eq!((found, asked), (Err(full), 1));
        assert_eq!(tiers.well().count(), 2, "no tier failed");
    }
}
