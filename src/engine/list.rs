//! The list of the newest starting points in a tier: read as far as it may be added to, added to, and written back.
//!
//! Two that write it at once take each other's entries away: each reads it back, and writes again.

use crate::model::Toolchain;
use crate::store::format::FormatError;
use crate::store::head::{self, Entry, Head, MAX_HEAD_BYTES};
use crate::tier::{Tier, Trouble};
use crate::trust::{self, PublicKey, SecretKey};

/// How often a list is written in which somebody else's entry took the place of ours.
const TRIES: usize = 4;

/// Who signs what is written, and whose lists are added to.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The keys that sign; none where nobody does.
    pub keys: &'a [SecretKey],
    /// What is noted in each signature.
    pub comment: &'a str,
    /// The keys that are believed here, those that sign among them.
    pub believed: &'a [PublicKey],
}

/// Why a list was not written.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The tier failed.
    #[error("{what}: {trouble}")]
    Tier {
        /// What was asked of it.
        what: String,
        /// How it failed.
        trouble: Trouble,
    },
    /// What is there cannot be added to.
    #[error("its list of starting points {0}")]
    Unusable(FormatError),
    /// What is there is signed, and what would take its place is not.
    #[error("its list of starting points is signed, and there is no key to sign with")]
    Unsigned,
    /// Others wrote the list at the same time, again and again.
    #[error("others kept replacing its list of starting points")]
    Contended,
}

/// A list of a tier.
#[derive(Debug)]
pub struct List<'a> {
    tier: &'a dyn Tier,
    key: String,
    /// Nobody where what is listed is to be signed later.
    signer: Option<Signer<'a>>,
    now_unix_s: i64,
    /// How many requests were made.
    pub requests: usize,
    /// How many bytes were written.
    pub bytes: u64,
}

impl Signer<'_> {
    /// Returns the signatures of `bytes` by all keys that sign.
    pub fn sign(self, bytes: &[u8]) -> Vec<String> {
        let keys = self.keys.iter();
        keys.map(|key| key.sign(bytes, self.comment)).collect()
    }
}

impl<'a> List<'a> {
    /// Returns the list of what was built by `toolchain`, which `signer` signs.
    pub fn of(
        tier: &'a dyn Tier,
        toolchain: &Toolchain,
        signer: Signer<'a>,
        now_unix_s: i64,
    ) -> List<'a> {
        List::at(tier, head::key(toolchain), Some(signer), now_unix_s)
    }

    /// Returns the list of what was published of `commit` for somebody else to sign; nobody signs the list itself.
    pub fn unsigned(tier: &'a dyn Tier, commit: &str, now_unix_s: i64) -> List<'a> {
        List::at(tier, head::unsigned_key(commit), None, now_unix_s)
    }

    fn at(
        tier: &'a dyn Tier,
        key: String,
        signer: Option<Signer<'a>>,
        now_unix_s: i64,
    ) -> List<'a> {
        List {
            tier,
            key,
            signer,
            now_unix_s,
            requests: 0,
            bytes: 0,
        }
    }

    /// Returns what is listed as far as it may be added to: whoever signs it vouches for what it lists.
    pub fn read(&mut self) -> Result<Head, ListError> {
        let Some(bytes) = self.get()? else {
            return Ok(Head::default());
        };
        let read = match (head::decode(&bytes), self.signer) {
            // It names what is lost anyway: nothing is found by it but for being signed.
            (Err(FormatError::Damaged), None) => return Ok(Head::default()),
            (read, _) => read.map_err(ListError::Unusable)?,
        };
        let Some(signer) = self.signer else {
            return Ok(read.head);
        };
        let believed = trust::verify(&read.signed, &read.signatures, signer.believed).is_ok();
        match (believed, signer.keys.is_empty()) {
            (true, _) => Ok(read.head),
            (false, true) if read.signatures.is_empty() => Ok(read.head),
            (false, true) => Err(ListError::Unsigned),
            // A stranger could have it at the highest number, above which no reader sees a replay.
            (false, false) => Ok(Head {
                sequence: read.head.sequence.min(self.now_unix_s.unsigned_abs()),
                ..Head::default()
            }),
        }
    }

    /// Writes what is listed now with `entry` added, and looks whether it is still there afterwards.
    pub fn add(&mut self, entry: &Entry) -> Result<(), ListError> {
        for _ in 0..TRIES {
            let head = self.read()?.with(entry.clone(), self.now_unix_s);
            let signed = head.to_sign();
            let signatures = self
                .signer
                .map_or(Vec::new(), |signer| signer.sign(&signed));
            self.put(head::encode(&signed, &signatures))?;
            if self.read()?.has(entry) {
                return Ok(());
            }
        }
        Err(ListError::Contended)
    }

    fn get(&mut self) -> Result<Option<Vec<u8>>, ListError> {
        self.requests += 1;
        match self.tier.get(&self.key, MAX_HEAD_BYTES as u64, &|_| true) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Trouble::Absent) => Ok(None),
            Err(trouble) => Err(self.failed("reading", trouble)),
        }
    }

    fn put(&mut self, bytes: Vec<u8>) -> Result<(), ListError> {
        self.requests += 1;
        self.bytes += bytes.len() as u64;
        let written = self.tier.put(&self.key, bytes);
        written.map_err(|trouble| self.failed("writing", trouble))
    }

    fn failed(&self, what: &str, trouble: Trouble) -> ListError {
        ListError::Tier {
            what: format!("{what} {}", self.key),
            trouble,
        }
    }
}
