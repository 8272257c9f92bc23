//! Keys that starting points are signed with, in the format of the `minisign` program.
//!
//! Source: minisign: its manual page, and `minisign.h` @ 0.11. Knows nothing of who is believed.

use std::fmt;
use std::ops::{RangeFrom, RangeInclusive};

use ct_codecs::{Base64, Decoder};
use serde::Deserialize;

/// Why something is no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no public key.
    #[error("this is no public key in minisign's format")]
    NotPublic,
    /// It is no secret key.
    #[error("this is no secret key in minisign's format")]
    NotSecret,
    /// The secret key is encrypted, and nobody gave a password.
    #[error("the secret key is encrypted, and there is no password for it")]
    NoPassword,
    /// The checksum of what the password opens is another.
    #[error("the password does not open the secret key, or the key is damaged")]
    WrongPassword,
    /// The checksum is another, or more work is asked for than minisign ever does.
    #[error("the secret key is damaged")]
    Damaged,
}

/// The number by which a key and its signatures find each other; shown as minisign does, in 16 upper-case hex digits.
///
/// Says nothing about who signed: anybody can make a key with any id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{0:016X}")]
#[serde(try_from = "String")]
pub struct KeyId(u64);

/// The half of a key that everybody may know; shown as the line that begins with `RW`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicKey([u8; PUBLIC_BYTES]);

/// The half of a key that signs; never shown.
pub struct SecretKey(minisign::SecretKey);

/// What the line before a key or a signature begins with.
const COMMENT: &str = "untrusted comment:";

/// A public key: algorithm, id, key.
const PUBLIC_BYTES: usize = 2 + 8 + 32;
/// A secret key: algorithms of key, encryption and checksum; salt; work and memory to decrypt; id, keys, checksum.
const SECRET_BYTES: usize = 3 * 2 + 32 + 2 * 8 + 8 + 64 + 32;
/// Where the checksum lies in a secret key.
const CHECKSUM: RangeFrom<usize> = SECRET_BYTES - 32..;
/// The most work to decrypt a secret key that minisign asks for; a damaged one could ask for years.
///
/// Source: libsodium: `crypto_pwhash_scryptsalsa208sha256`, from `MEMLIMIT_MIN` to `OPSLIMIT_SENSITIVE`, `MEMLIMIT_SENSITIVE`.
const MAX_WORK: u64 = 1 << 25;
/// The same for memory.
const MEMORY_BYTES: RangeInclusive<u64> = 1 << 24..=1 << 30;

impl KeyId {
    /// Returns the id that these 16 hex digits are, in either case; none for anything else.
    pub fn parse(text: &str) -> Option<KeyId> {
        let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u64::from_str_radix(text, 16).ok()?;
        hex.then_some(KeyId(id))
    }

    /// Returns the id of these eight bytes, as keys and signatures hold it.
    pub(super) fn of(bytes: &[u8]) -> KeyId {
        KeyId(number(bytes))
    }
}

impl PublicKey {
    /// Returns the key in `text`: its line, with or without a comment before it.
    pub fn parse(text: &str) -> Result<PublicKey, KeyError> {
        let bytes = decoded(encoded(text)).filter(|bytes| bytes.starts_with(b"Ed"));
        let bytes = bytes.ok_or(KeyError::NotPublic)?;
        let bytes = bytes.try_into().map_err(|_| KeyError::NotPublic)?;
        Ok(PublicKey(bytes))
    }

    /// Returns the key's id.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0[2..10])
    }

    /// Returns the text of the key's file: a comment, and the key's line.
    pub fn to_file(&self) -> String {
        format!("{COMMENT} minisign public key {}\n{self}\n", self.id())
    }

    pub(super) fn inner(&self) -> minisign::PublicKey {
        minisign::PublicKey::from_bytes(&self.0).expect("the length is fixed")
    }

    fn of(inner: &minisign::PublicKey) -> PublicKey {
        let bytes = inner.to_bytes().try_into();
        PublicKey(bytes.expect("the length is fixed"))
    }
}

impl SecretKey {
    /// Returns the secret key in the text of its file; `password` opens one that is encrypted.
    ///
    /// To decrypt one of minisign's takes a second or more, and up to 1 GiB of memory.
    pub fn read(text: &str, password: Option<&str>) -> Result<SecretKey, KeyError> {
        let line = encoded(text);
        let bytes = decoded(line).filter(|bytes| bytes.len() == SECRET_BYTES);
        let bytes = bytes.ok_or(KeyError::NotSecret)?;
        let alone = minisign::SecretKeyBox::from(format!("{COMMENT} \n{line}\n"));
        match &bytes[..6] {
            b"Ed\0\0B2" => {
                // `minisign -GW` @ 0.11 leaves the checksum empty, which the library takes for damage.
                let key = match bytes[CHECKSUM].iter().all(|byte| *byte == 0) {
                    true => minisign::SecretKey::from_bytes(&bytes),
                    false => alone.into_unencrypted_secret_key(),
                };
                let key = key.map(SecretKey).map_err(|_| KeyError::Damaged)?;
                let (public, probe) = (key.public(), key.sign(b"", ""));
                let works = super::verify(b"", &[probe], &[public]).is_ok();
                works.then_some(key).ok_or(KeyError::Damaged)
            }
            b"EdScB2" => {
                let (work, memory) = (number(&bytes[38..46]), number(&bytes[46..54]));
                if work > MAX_WORK || !MEMORY_BYTES.contains(&memory) {
                    return Err(KeyError::Damaged);
                }
                let password = password.ok_or(KeyError::NoPassword)?;
                let key = alone.into_secret_key(Some(password.to_owned()));
                key.map(SecretKey).map_err(|_| KeyError::WrongPassword)
            }
            _ => Err(KeyError::NotSecret),
        }
    }

    /// Returns the key's public half.
    pub fn public(&self) -> PublicKey {
        let public = minisign::PublicKey::from_secret_key(&self.0);
        PublicKey::of(&public.expect("a secret key holds it"))
    }

    /// Returns the text of a signature of `bytes`, as `minisign -S` writes it; `comment` is signed too, in one line.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> String {
        let comment: Vec<&str> = comment.split_whitespace().collect();
        let comment = comment.join(" ");
        let untrusted = format!("signature from {}", self.public().id());
        minisign::sign(None, &self.0, bytes, Some(&comment), Some(&untrusted))
            .expect("the key is decrypted, and the system has random numbers")
            .into_string()
    }
}

/// Returns a new secret key as the text of its file, encrypted if there is a password, and its public half.
pub fn new_pair(password: Option<&str>) -> (String, PublicKey) {
    use minisign::KeyPair;
    let kind = password.map_or("secret", |_| "encrypted secret");
    let pair = match password.map(str::to_owned) {
        None => KeyPair::generate_unencrypted_keypair(),
        some => KeyPair::generate_encrypted_keypair(some),
    };
    let pair = pair.expect("the system has random numbers");
    let comment = format!("minisign {kind} key");
    let text = pair.sk.to_box(Some(&comment)).expect("it is text");
    (text.into_string(), PublicKey::of(&pair.pk))
}

/// Returns the line that holds a key: the first that is no comment.
fn encoded(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with(COMMENT));
    line.unwrap_or_default()
}

/// Returns the bytes that `line` stands for.
pub(super) fn decoded(line: &str) -> Option<Vec<u8>> {
    Base64::decode_to_vec(line, None).ok()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a number has eight bytes"))
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<KeyId, &'static str> {
        KeyId::parse(&text).ok_or("this is no key id, which has 16 hex digits")
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<PublicKey, KeyError> {
        PublicKey::parse(&text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner().to_base64())
    }
}

impl fmt::Debug for SecretKey {
    /// Shows the id only: what is debugged ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}
