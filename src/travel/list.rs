//! The list of the newest starting points in a tier: read as far as it may be added to, added to, and written back.
//!
//! Two that write it at once do not take each other's entries away: it is replaced only if it is still what was read. See
//! note 0015.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::store::format::FormatError;
use crate::store::head::{self, Entry, Head, MAX_HEAD_BYTES};
use crate::tier::{self, Replaced, Tier, persistently};
use crate::trust::{self, PublicKey, SecretKey};

/// How often a list is written anew because somebody else wrote it. Whoever comes too late does so because another got
/// through, so this is how many may write at once.
const TRIES: usize = 32;

/// Who signs what is written, and whose lists are added to.
#[derive(Debug, Default)]
pub struct Signer {
    /// The keys that sign; none where nobody does.
    pub keys: Vec<SecretKey>,
    /// What is noted in each signature.
    pub comment: String,
    /// The keys that are believed here, those that sign among them.
    pub believed: Vec<PublicKey>,
    /// Is told how many starting points a list had that is replaced, since nobody here believes who signed it.
    pub dropped: AtomicUsize,
}

/// Why a list was not written.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The tier failed.
    #[error("{0}")]
    Tier(#[from] tier::Failed),
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
    signer: Option<&'a Signer>,
    now_unix_s: i64,
    /// How many requests were made.
    pub requests: usize,
    /// How many bytes were written.
    pub bytes: u64,
}

impl Signer {
    /// Returns the signatures of `bytes` by all keys that sign.
    pub fn sign(&self, bytes: &[u8]) -> Vec<String> {
        let keys = self.keys.iter();
        keys.map(|key| key.sign(bytes, &self.comment)).collect()
    }
}

impl<'a> List<'a> {
    /// Returns the list at `key`, which `signer` signs; nobody where what it lists is to be signed later.
    pub fn new(
        tier: &'a dyn Tier,
        key: String,
        signer: Option<&'a Signer>,
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
        let bytes = self.get()?;
        self.understand(bytes.as_deref())
    }

    fn understand(&self, bytes: Option<&[u8]>) -> Result<Head, ListError> {
        let Some(bytes) = bytes else {
            return Ok(Head::default());
        };
        // Below it no reader has seen a list that was not written by many at once, or by a stranger.
        let now = self.now_unix_s.unsigned_abs();
        let empty_at = |sequence: u64| Head {
            sequence,
            ..Head::default()
        };
        let read = match head::decode(bytes) {
            // Nothing is found by it any more, and what comes next would not be either.
            Err(FormatError::Damaged) => return Ok(empty_at(now)),
            read => read.map_err(ListError::Unusable)?,
        };
        let Some(signer) = self.signer else {
            return Ok(read.head);
        };
        if signer.keys.is_empty() {
            return match read.signatures.is_empty() {
                true => Ok(read.head),
                false => Err(ListError::Unsigned),
            };
        }
        if trust::verify(&read.signed, &read.signatures, &signer.believed).is_ok() {
            return Ok(read.head);
        }
        let count = read.head.entries.len();
        signer.dropped.fetch_max(count, Ordering::Relaxed);
        // A stranger could have it at the highest number, above which no reader sees a replay.
        Ok(empty_at(read.head.sequence.min(now)))
    }

    /// Writes what is listed now with `entry` added; where others may have written it meanwhile, looks whether it is still
    /// there afterwards.
    pub fn add(&mut self, entry: &Entry) -> Result<(), ListError> {
        for _ in 0..TRIES {
            let seen = self.get()?;
            let head = self.understand(seen.as_deref())?;
            let signed = head.with(entry.clone(), self.now_unix_s).to_sign();
            let sign = |signer: &Signer| signer.sign(&signed);
            let signatures = self.signer.map_or(Vec::new(), sign);
            match self.replace(seen.as_deref(), &head::encode(&signed, &signatures))? {
                Replaced::Surely => return Ok(()),
                Replaced::Blindly if self.read()?.has(entry) => return Ok(()),
                Replaced::Blindly | Replaced::Not => {}
            }
        }
        Err(ListError::Contended)
    }

    fn get(&mut self) -> Result<Option<Vec<u8>>, ListError> {
        self.requests += 1;
        Ok(tier::read(self.tier, &self.key, MAX_HEAD_BYTES as u64)?)
    }

    fn replace(&mut self, seen: Option<&[u8]>, bytes: &[u8]) -> Result<Replaced, ListError> {
        self.requests += 2;
        self.bytes += bytes.len() as u64;
        let replaced = persistently(|| self.tier.replace(&self.key, seen, bytes.to_vec()));
        Ok(replaced.map_err(tier::failed("writing", &self.key))?)
    }
}
