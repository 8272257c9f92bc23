//! rustc's dep-info as Makefile text, `<crate>-<hash>.d`: the variables that a compile read.

/// Returns the variables that `text` says were read and set, with their values.
///
/// Source: rustc: rustc_interface/src/passes.rs, `write_out_deps` @ 1.95.
pub fn variables(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("# env-dep:")?.split_once('=')?;
        Some((unescape(name), unescape(value)))
    })
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match (letter, letter == '\\') {
            (_, false) => letter,
            (_, true) => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::variables;

    /// A variable that goes unseen may leave a path of the builder's in a unit taken for movable.
    #[test]
    fn variables_are_read() {
        let text = "a.d: src/lib.rs\n\n# env-dep:CARGO_MANIFEST_DIR=/w\\\\x\n# env-dep:UNSET\n";
        let found: Vec<_> = variables(text).collect();
        assert_eq!(
            found,
            [("CARGO_MANIFEST_DIR".to_owned(), "/w\\x".to_owned())]
        );
    }
}
