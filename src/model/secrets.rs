//! Values that must not be published, and finding them in bytes. Knows no environment: it is given names and values.

use memchr::memmem;

/// Shorter values are no secrets, and stand everywhere.
const MIN_BYTES: usize = 8;
/// What the name of a variable with a secret holds.
const WORDS: [&str; 4] = ["TOKEN", "SECRET", "KEY", "PASSWORD"];

/// Values by the names of their variables.
#[derive(Debug, Default)]
pub struct Secrets {
    all: Vec<(String, memmem::Finder<'static>)>,
}

/// Tells whether a variable called `name` is taken to hold a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    WORDS.iter().any(|word| name.contains(word))
}

impl Secrets {
    /// Returns the secrets among `pairs` of name and value that are long enough to be any.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Secrets {
        let long = pairs.filter(|(_, value)| value.trim().len() >= MIN_BYTES);
        let finder = |(name, value): (&str, &str)| {
            let finder = memmem::Finder::new(value.trim().as_bytes()).into_owned();
            (name.to_owned(), finder)
        };
        Secrets {
            all: long.map(finder).collect(),
        }
    }

    /// Tells whether there are none.
    pub fn are_none(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the name of a secret whose value stands in `bytes`.
    pub fn in_bytes(&self, bytes: &[u8]) -> Option<&str> {
        let mut all = self.all.iter();
        let found = all.find(|(_, finder)| finder.find(bytes).is_some());
        found.map(|(name, _)| name.as_str())
    }

    /// Returns by how many bytes two parts of a file must overlap, so that no value is cut in two.
    pub fn overlap(&self) -> usize {
        let sizes = self.all.iter().map(|(_, finder)| finder.needle().len());
        sizes.max().unwrap_or(0).saturating_sub(1)
    }
}
