//! Values that must not be published, and finding them in bytes, as they are or as text. Knows no environment: it is given
//! names and values.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use ct_codecs::{Base64NoPadding, Base64UrlSafeNoPadding, Encoder, Hex};

/// Shorter values are no secrets, and stand everywhere.
const MIN_BYTES: usize = 8;
/// What the name of a variable with a secret holds.
const WORDS: [&str; 7] = [
    "TOKEN",
    "SECRET",
    "KEY",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
];

/// How many spellings are looked for at once: as many as the quickest of searchers takes.
const AT_ONCE: usize = 64;

/// Values by the names of their variables.
#[derive(Debug, Default)]
pub struct Secrets {
    /// Find [`AT_ONCE`] spellings each.
    finders: Vec<AhoCorasick>,
    /// Whose spelling each is.
    names: Vec<String>,
}

/// Returns what finds `spellings`, by vector instructions where there are any: looking for the leftmost is seven times as quick
/// as for any.
fn finder(spellings: &[Vec<u8>]) -> AhoCorasick {
    let mut builder = AhoCorasick::builder();
    let leftmost = builder
        .match_kind(MatchKind::LeftmostFirst)
        .build(spellings);
    leftmost.expect("it is within every limit of the automaton")
}

/// Tells whether a variable called `name` is taken to hold a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Tells whether a build script that gives a variable called `name` the value `value` gives away a secret. Half of a key is for
/// everybody.
pub fn is_given_away(name: &str, value: &str) -> bool {
    let is_public = name.to_ascii_uppercase().contains("PUBLIC");
    is_secret(name) && !is_public && value.trim().len() >= MIN_BYTES
}

impl Secrets {
    /// Returns the secrets among `pairs` of name and value that are long enough to be any.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Secrets {
        let long = pairs.filter(|(_, value)| value.trim().len() >= MIN_BYTES);
        let spelled = |(name, value): (&str, &str)| {
            let spellings = spellings(value.trim().as_bytes());
            let name = name.to_owned();
            spellings.into_iter().map(move |one| (name.clone(), one))
        };
        let (names, patterns): (Vec<String>, Vec<Vec<u8>>) = long.flat_map(spelled).unzip();
        Secrets {
            finders: patterns.chunks(AT_ONCE).map(finder).collect(),
            names,
        }
    }

    /// Tells whether there are none.
    pub fn are_none(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the name of a secret whose value stands in `bytes`: as it is, in hex digits, or in base64.
    pub fn in_bytes(&self, bytes: &[u8]) -> Option<&str> {
        let mut groups = self.names.chunks(AT_ONCE).zip(&self.finders);
        groups.find_map(|(names, finder)| Some(names[finder.find(bytes)?.pattern()].as_str()))
    }

    /// Returns by how many bytes two parts of a file must overlap, so that no value is cut in two.
    pub fn overlap(&self) -> usize {
        let longest = self.finders.iter().map(AhoCorasick::max_pattern_len).max();
        longest.unwrap_or(0).saturating_sub(1)
    }
}

/// Returns how `value` is written: as it is, in hex digits of either case, and in base64 wherever in a longer text it begins.
fn spellings(value: &[u8]) -> BTreeSet<Vec<u8>> {
    let room = "it has as much room as it needs";
    let hex = Hex::encode_to_string(value).expect(room);
    let mut all = BTreeSet::from([
        value.to_vec(),
        hex.to_ascii_uppercase().into_bytes(),
        hex.into_bytes(),
    ]);
    for before in 0..3 {
        let text = [&vec![0; before], value].concat();
        // What lies between the characters that depend on what comes before and behind.
        let own = (before * 8).div_ceil(6)..text.len() * 8 / 6;
        let plain = Base64NoPadding::encode_to_string(&text).expect(room);
        let for_urls = Base64UrlSafeNoPadding::encode_to_string(&text).expect(room);
        all.extend([plain, for_urls].map(|text| text.as_bytes()[own.clone()].to_vec()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{MIN_BYTES, Secrets};
    use ct_codecs::{Base64, Base64UrlSafe, Encoder, Hex};
    use proptest::prelude::*;

    /// Returns whether the value of a variable is found in `bytes`.
    fn found(value: &str, bytes: &[u8]) -> bool {
        Secrets::new([("A_TOKEN", value)].into_iter()).in_bytes(bytes) == Some("A_TOKEN")
    }

    proptest! {
        /// A token in a header, a netrc or a key file is in one of these spellings, somewhere in a longer text.
        #[test]
        fn a_value_is_found_however_it_is_spelled(
            value in "[!-~]{8,40}", before in "[ -~]{0,9}", behind in "[ -~]{0,9}",
        ) {
            let text = format!("{before}{value}{behind}");
            prop_assert!(found(&value, text.as_bytes()));
            let hex = Hex::encode_to_string(&text).unwrap();
            prop_assert!(found(&value, hex.as_bytes()));
            prop_assert!(found(&value, hex.to_ascii_uppercase().as_bytes()));
            let plain = Base64::encode_to_string(&text).unwrap();
            prop_assert!(found(&value, plain.as_bytes()));
            let for_urls = Base64UrlSafe::encode_to_string(&text).unwrap();
            prop_assert!(found(&value, for_urls.as_bytes()));
        }

        /// A publish that is refused for a secret that is not there would be refused for ever.
        #[test]
        fn what_is_not_there_is_not_found(value in "[a-z]{8,20}", other in "[A-Z0-9+/=]{0,200}") {
            let hex = Hex::encode_to_string(&value).unwrap().to_ascii_uppercase();
            prop_assume!(!other.contains(&hex));
            prop_assert!(!found(&value, other.as_bytes()));
        }
    }

    /// `KEY=1` would have every publish refused.
    #[test]
    fn short_values_are_none_and_many_are_all_found() {
        assert!(!found(&"x".repeat(MIN_BYTES - 1), &[b'x'; 100]));
        assert!(found(&format!(" {} ", "x".repeat(MIN_BYTES)), &[b'x'; 100]));
        assert!(Secrets::default().in_bytes(b"anything").is_none());
        let many: Vec<(String, String)> = (0..40)
            .map(|at| (format!("N{at}"), format!("value number {at:02}")))
            .collect();
        let pairs = many.iter().map(|(name, value)| (&**name, &**value));
        let secrets = Secrets::new(pairs);
        for (name, value) in &many {
            assert_eq!(secrets.in_bytes(value.as_bytes()), Some(&**name));
        }
    }
}
