//! Reads Rust as far as the rules need it: comments, literals, braces, paths.
//!
//! Knows no grammar beyond that, no layers and no files.

/// A word, a `::` or another single sign, with its line.
pub(crate) type Token<'a> = (usize, &'a str);

/// Returns `text` with comments and literals blanked; lines and columns stay what they are.
pub(crate) fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let next = match blank_end(bytes, at) {
            Some(end) => {
                let kept = |byte: &&mut u8| **byte != b'\n';
                code[at..end]
                    .iter_mut()
                    .filter(kept)
                    .for_each(|byte| *byte = b' ');
                end
            }
            None => at + word_length(&bytes[at..]).max(1),
        };
        at = next;
    }
    String::from_utf8(code).expect("whole characters were replaced by spaces")
}

/// Returns the tokens of blanked code.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (number, line) in numbered(code) {
        let mut rest = line.trim();
        while !rest.is_empty() {
            let sign = if rest.starts_with("::") { 2 } else { 1 };
            let (token, after) = rest.split_at(word_length(rest.as_bytes()).max(sign));
            tokens.push((number, token));
            rest = after.trim_start();
        }
    }
    tokens
}

/// Returns the first names of all paths from the crate's root: `crate::name`, and `super::name` where it leads there.
///
/// `depth` is how many `super::` lead from the file's module to the root.
pub(crate) fn names_from_root<'a>(tokens: &[Token<'a>], depth: usize) -> Vec<Token<'a>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.1);
    let mut names = Vec::new();
    let mut braces_of_modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "{" => braces_of_modules.push(at >= 2 && text(at - 2) == "mod"),
            "}" => drop(braces_of_modules.pop()),
            "crate" if matches!(text(at + 1), "::" | "as") => {
                names.extend(entries(&tokens[at + 2..]))
            }
            "super" if text(at + 1) == "::" => {
                let up = |up: &usize| text(at + 2 * up) == "super" && text(at + 2 * up + 1) == "::";
                let ups = (0..).take_while(up).count();
                let modules = braces_of_modules.iter().filter(|module| **module);
                if ups >= depth + modules.count() {
                    names.extend(entries(&tokens[at + 2 * ups..]));
                }
                at += 2 * ups - 1;
            }
            _ => {}
        }
        at += 1;
    }
    names
}

/// Returns the first of `tokens`, or the first of each entry if a `use` group is there.
fn entries<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    if tokens.first().is_none_or(|token| token.1 != "{") {
        return tokens.iter().take(1).copied().collect();
    }
    let (mut open, mut names) = (0, Vec::new());
    for pair in tokens.windows(2) {
        match pair[0].1 {
            "{" => open += 1,
            "}" => open -= 1,
            _ => {}
        }
        if open == 0 {
            break;
        }
        if open == 1 && matches!(pair[0].1, "{" | ",") && pair[1].1 != "}" {
            names.push(pair[1]);
        }
    }
    names
}

/// Returns the first and last lines of the items under `#[test]` and `#[cfg(test)]`.
pub(crate) fn test_items(tokens: &[Token<'_>]) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[0].1 != "#" || pair[1].1 != "[" {
            continue;
        }
        let words = tokens[at + 2..].iter().map(|token| token.1);
        let attribute: Vec<_> = words.take_while(|word| *word != "]").collect();
        let cfg_test = attribute[..].starts_with(&["cfg"])
            && attribute.contains(&"test")
            && !attribute.contains(&"not");
        if cfg_test || attribute[..] == ["test"] {
            items.push((pair[0].0, item_end(&tokens[at..])));
        }
    }
    items
}

/// Returns the last line of the item that `tokens` start with: that of its closing brace, or of its semicolon.
fn item_end(tokens: &[Token<'_>]) -> usize {
    let (mut brackets, mut braces) = (0, 0);
    for (line, token) in tokens {
        match *token {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets -= 1,
            "{" => braces += 1,
            "}" => braces -= 1,
            _ => {}
        }
        if braces == 0 && (*token == "}" || (*token == ";" && brackets == 0)) {
            return *line;
        }
    }
    usize::MAX
}

/// Returns the lines of `text`, counted from one.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Is `word` in `line`, not merely as a part of a longer word?
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let joins = |a: Option<&u8>, b: Option<&u8>| matches!((a, b), (Some(a), Some(b)) if is_word(*a) && is_word(*b));
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line.as_bytes()[..at], &line.as_bytes()[at + word.len()..]);
        let (first, last) = (word.as_bytes().first(), word.as_bytes().last());
        !joins(before.last(), first) && !joins(last, after.first())
    })
}

/// Does an absolute path in `line` start with `start`?
pub(crate) fn has_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "_.-~/*})>".contains(c)))
    })
}

/// Returns where the comment or literal that starts at `at` ends; none if another thing starts there.
fn blank_end(bytes: &[u8], at: usize) -> Option<usize> {
    let inside = at + word_length(&bytes[at..]);
    let (prefix, rest) = (&bytes[at..inside], &bytes[inside..]);
    match (prefix, rest) {
        (b"r" | b"br" | b"cr", _) => {
            let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
            let close = [b"\"", &rest[..hashes]].concat();
            let quoted = rest.get(hashes) == Some(&b'"');
            quoted.then(|| past(bytes, inside + hashes + 1, &close))
        }
        (b"" | b"b" | b"c", [b'"', ..]) => Some(past_quote(bytes, inside + 1, b'"')),
        (b"" | b"b", [b'\'', b'\\', ..]) => Some(past_quote(bytes, inside + 1, b'\'')),
        (b"" | b"b", [b'\'', first, ..]) => {
            // A lifetime has no second quote after its first character.
            let width = (first.leading_ones() as usize).max(1);
            (rest.get(1 + width) == Some(&b'\'')).then_some(inside + width + 2)
        }
        (b"", [b'/', b'/', ..]) => Some(past(bytes, at, b"\n")),
        (b"", [b'/', b'*', ..]) => Some(past_comment(bytes, at)),
        _ => None,
    }
}

fn past(bytes: &[u8], from: usize, close: &[u8]) -> usize {
    let found = bytes[from..]
        .windows(close.len())
        .position(|window| window == close);
    found.map_or(bytes.len(), |position| from + position + close.len())
}

fn past_quote(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    bytes.len().min(at + 1)
}

fn past_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (open, at) = (open + 1, at + 2),
            [b'*', b'/', ..] => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
        if open == 0 {
            break;
        }
    }
    at
}

fn word_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_word(**byte)).count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        // Breaks for a maintainer: a link in a doc comment, or a word in a message, fails the suite.
        for (text, code) in [
            ("a // crate::b\nc", "a            \nc"),
            ("/// [crate::b]\na", "              \na"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a("b\"c", d)"#, "a(      , d)"),
            (r##"a(r#"b"c"#, d)"##, "a(        , d)"),
            ("a(b\"c\", br\"\\\", d)", "a(    ,      , d)"),
            ("a('\"', b'\\'', 'é', d)", "a(   ,      ,     , d)"),
            ("fn a<'b>(c: &'b str)", "fn a<'b>(c: &'b str)"),
            ("r#use + for\"x\"", "r#use + for   "),
            ("a \"b\nc\" d", "a   \n   d"),
            ("a \"b", "a   "),
        ] {
            assert_eq!(blanked(text), code, "{text}");
        }
    }

    #[track_caller]
    fn check_names(code: &str, depth: usize, expected: &[Token<'_>]) {
        assert_eq!(names_from_root(&tokens(code), depth), expected);
    }

    #[test]
    fn paths_from_the_root_are_found() {
        // Breaks for a maintainer: an import that is written in another way slips past the layers.
        check_names(
            "use crate::a::B;\npub(crate) fn c(d: crate::e::F)",
            2,
            &[(1, "a"), (2, "e")],
        );
        check_names(
            "use crate::{\n  a::{b, c},\n  d,\n};",
            2,
            &[(2, "a"), (3, "d")],
        );
        check_names("use {std::io, crate::a::{self, b}};", 2, &[(1, "a")]);
        check_names(
            "use crate as k;\nuse crate::*;\nuse crate::{self as k};",
            2,
            &[(1, "k"), (2, "*"), (3, "self")],
        );
        check_names("$crate :: a!()", 2, &[(1, "a")]);
    }

    #[test]
    fn super_is_followed_to_the_root() {
        // Breaks for a maintainer: `super::super` slips past the layers, or a module's own tests are refused.
        check_names("use super::a;", 2, &[]);
        check_names(
            "use super::super::a; use self::super::super::b;",
            2,
            &[(1, "a"), (1, "b")],
        );
        check_names("use super::{a, b};", 1, &[(1, "a"), (1, "b")]);
        check_names("mod tests { use super::*; }\nuse super::a;", 1, &[(2, "a")]);
        check_names("pub(super) fn a() {}", 1, &[]);
    }

    #[test]
    fn test_items_are_found() {
        // Breaks for a maintainer: tests are held to the rules of the code, or code hides behind a test.
        let items = |code| test_items(&tokens(code));
        assert_eq!(
            items("a();\n#[cfg(test)]\nmod tests {\n  b { c }\n}\nd();"),
            [(2, 5)]
        );
        assert_eq!(items("#[test]\nfn a(b: [u8; 4]) {\n}\n"), [(1, 3)]);
        assert_eq!(items("#[cfg(test)]\nuse a::b;\nfn c() {}"), [(1, 2)]);
        assert_eq!(items("#[cfg(all(test, unix))]\nmod a;"), [(1, 2)]);
        assert_eq!(
            items("#[cfg(not(test))]\nmod a;\n#[derive(Debug)]\nstruct B;"),
            []
        );
    }

    #[test]
    fn words_and_paths_have_edges() {
        // Breaks for a maintainer: a longer name, or a relative path, is taken for a banned one.
        assert!(has_word("a.b()", ".b()") && has_word("(b!)", "b!") && has_word("a b", "b"));
        assert!(!has_word("ab!", "b!") && !has_word("b_c", "b"));
        assert!(has_path("\"/a/b\"", "/a/") && has_path("/a/b", "/a/"));
        assert!(
            !has_path("c/a/b", "/a/") && !has_path("../a/b", "/a/") && !has_path("{c}/a/b", "/a/")
        );
    }
}
