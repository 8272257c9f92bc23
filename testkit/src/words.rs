//! Takes apart text meant for a terminal.
//!
//! Knows nothing of what the words mean.

/// Splits a command as cargo prints it: words, some in single quotes, a quote inside as `'\''`.
pub(crate) fn shell_words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => quoted = !quoted,
            '\\' if !quoted => word.extend(characters.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words
}

/// Removes colour and cursor sequences (ESC `[` … letter).
pub(crate) fn strip_ansi(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.trim_start_matches(|character: char| !character.is_ascii_alphabetic());
        rest = rest.get(1..).unwrap_or_default();
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    // Without it, quoted paths would hide a rustc that ran.
    #[test]
    fn commands_are_split_as_cargo_quotes_them() {
        assert_eq!(
            shell_words(r"a 'b c' 'it'\''s' d"),
            ["a", "b c", "it's", "d"]
        );
    }

    #[test]
    fn colours_are_removed() {
        assert_eq!(
            strip_ansi("\u{1b}[1;32mok\u{1b}[0m \u{1b}[Kdone"),
            "ok done"
        );
    }
}
