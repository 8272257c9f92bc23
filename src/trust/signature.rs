//! Signatures: whether somebody who is believed signed some bytes.
//!
//! Knows nothing of where bytes and signatures come from, and is given the keys that count.

use std::io::Cursor;

use minisign::SignatureBox;

use super::keys::{KeyId, PublicKey, decoded};
use super::{Result, TrustError, Verified};

/// How many signatures of one thing are looked at: who can write them must not keep a reader busy.
const MAX_SIGNATURES: usize = 16;
/// The largest signature that is looked at; minisign signs comments of up to 8192 bytes.
const MAX_SIGNATURE_BYTES: usize = 16 << 10;
/// A signature: algorithm, id of the key, Ed25519 signature.
const SIGNATURE_BYTES: usize = 2 + 8 + 64;
/// The Ed25519 signature over signature and comment.
const COMMENT_SIGNATURE_BYTES: usize = 64;

/// Returns the believed key that signed `bytes`, or why nobody is believed to have.
///
/// One signature by one of `keys` is enough, whatever the others are. Each of `signatures` is the text of a `.minisig` file.
/// The old kind, over the bytes and not their digest, is refused: any other signature passes for one of those over a digest.
pub fn verify(bytes: &[u8], signatures: &[String], keys: &[PublicKey]) -> Result<PublicKey> {
    let (mut mismatch, mut strangers, mut unreadable) = (None, Vec::new(), None);
    for text in signatures.iter().take(MAX_SIGNATURES) {
        let signature = match parse(text) {
            Ok(signature) => signature,
            Err(why) => {
                unreadable = Some(why);
                continue;
            }
        };
        let id = KeyId::of(signature.keynum());
        // Several keys may have one id: whoever makes a key can choose it.
        let mut named = keys.iter().filter(|key| key.id() == id).peekable();
        if named.peek().is_none() {
            strangers.push(id);
        } else if let Some(key) = named.find(|key| matches(bytes, &signature, key)) {
            return Ok(key.clone());
        } else {
            mismatch = Some(id);
        }
    }
    Err(match (mismatch, unreadable) {
        (Some(id), _) => TrustError::Mismatch(id),
        _ if !strangers.is_empty() => TrustError::Strangers(strangers),
        (None, Some(why)) => TrustError::Unreadable(why),
        (None, None) => TrustError::Unsigned,
    })
}

/// Returns `value`, which was read from `bytes`, as something that may be placed: a believed key signed the bytes.
pub fn signed<T>(
    value: T,
    bytes: &[u8],
    signatures: &[String],
    keys: &[PublicKey],
) -> Result<Verified<T>> {
    verify(bytes, signatures, keys).map(|_| Verified(value))
}

/// Returns the signature in the text of its file, or what is wrong with it.
fn parse(text: &str) -> Result<SignatureBox, &'static str> {
    if text.len() > MAX_SIGNATURE_BYTES {
        return Err("it is too large");
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let size = |line: usize| decoded(lines.get(line)?).map(|bytes| bytes.len());
    // The library would panic where the latter is shorter.
    if size(1) != Some(SIGNATURE_BYTES) || size(3) != Some(COMMENT_SIGNATURE_BYTES) {
        return Err("it is not in minisign's format, or is cut off");
    }
    match SignatureBox::from_string(text) {
        Ok(signature) if signature.is_prehashed() => Ok(signature),
        Ok(_) => Err("it is of minisign's old kind, without a digest"),
        Err(_) => Err("it is not in minisign's format"),
    }
}

fn matches(bytes: &[u8], signature: &SignatureBox, key: &PublicKey) -> bool {
    let (quiet, output, allow_legacy) = (true, false, false);
    let (key, bytes) = (key.inner(), Cursor::new(bytes));
    minisign::verify(&key, signature, bytes, quiet, output, allow_legacy).is_ok()
}
