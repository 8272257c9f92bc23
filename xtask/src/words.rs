//! Splits a command line into words, as a shell would, without expanding anything.

use anyhow::{Result, bail};

/// Returns the words of `line`; quotes and backslashes are understood, nothing is expanded.
///
/// Fails when a quote is left open or the line ends in a backslash.
pub(crate) fn split(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(character),
            (_, '\\') => match characters.next() {
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => bail!("the line ends in a backslash: {line}"),
            },
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        bail!("a quote is left open: {line}");
    }
    words.extend(word);
    Ok(words)
}

/// Returns the cargo commands of the `--cargo` options, each as its words.
///
/// Fails when an option holds no subcommand.
pub(crate) fn commands(lines: &[String]) -> Result<Vec<Vec<String>>> {
    lines
        .iter()
        .map(|line| match split(line)? {
            words if words.is_empty() => {
                bail!("--cargo needs a command, e.g. --cargo \"build --workspace\"")
            }
            words => Ok(words),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    /// Cargo prints `cfg(…)` words in quotes; a wrong split would lose the words after them.
    #[test]
    fn splits_what_cargo_prints() -> anyhow::Result<()> {
        let words = split(r#"rustc --cfg 'feature="std"' --check-cfg 'it'\''s' "a \"b" ''  x"#)?;
        assert_eq!(
            words,
            [
                "rustc",
                "--cfg",
                "feature=\"std\"",
                "--check-cfg",
                "it's",
                "a \"b",
                "",
                "x"
            ]
        );
        assert!(split("rustc 'open").is_err());
        Ok(())
    }
}
