//! Finds roots in bytes, and puts other roots in their place.
//!
//! Knows nothing of files: it is given bytes, and says what they hold.

use aho_corasick::{AhoCorasick, Match, MatchKind};
use memchr::memmem;

use super::root::{Root, Roots};

/// Finds the spellings of one machine's roots in bytes.
#[derive(Debug)]
pub struct Finder {
    automaton: AhoCorasick,
    roots: Roots,
}

/// One place where a root's spelling stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The root that stands there.
    pub root: Root,
    /// The offset of its first byte.
    pub start: usize,
    /// The offset behind its last byte.
    pub end: usize,
}

impl Finder {
    /// Returns a finder for `roots`, of which the longest spelling wins where several match.
    pub fn new(roots: &Roots) -> Finder {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(roots.spellings().map(|(_, path)| path))
            .expect("a handful of short patterns is within every limit of the automaton");
        let roots = roots.clone();
        Finder { automaton, roots }
    }

    /// Returns the roots.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Returns every place where a spelling stands in compiled code, whatever follows it.
    ///
    /// rustc packs string constants without a separator, so the next byte says nothing, and a root that
    /// lies in another is reported with it.
    pub fn held<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Occurrence> + 'a {
        self.roots.spellings().flat_map(move |(root, path)| {
            memmem::find_iter(bytes, path).map(move |start| Occurrence {
                root,
                start,
                end: start + path.len(),
            })
        })
    }

    /// Returns the first root in text of which nobody can tell whether it stands for itself: it is the end of a longer path, or so short that
    /// it may be the path of an address.
    pub fn unsure(&self, bytes: &[u8]) -> Option<Root> {
        let all = self.automaton.find_iter(bytes);
        let mut unsure = all.filter_map(|found| {
            let (root, path) = self.roots.spellings().nth(found.pattern().as_usize())?;
            let is_short = !path[1..].contains(&b'/');
            let begins = begins_a_path(&bytes[..found.start()]);
            (ends_a_name(bytes, found.end()) && (is_short || !begins)).then_some(root)
        });
        unsure.next()
    }

    /// Returns text with each root's spelling replaced by `to`'s, where it is a path of its own: no further letter of a longer file name
    /// follows, and none stands before.
    pub fn rewrite(&self, bytes: &[u8], to: &Roots) -> Vec<u8> {
        let mut rewritten = Vec::with_capacity(bytes.len());
        let replace = |found: &Match, own: &[u8], rewritten: &mut Vec<u8>| {
            let root = self.roots.spellings().nth(found.pattern().as_usize());
            let ends = ends_a_name(bytes, found.end());
            let whole = ends && begins_a_path(&bytes[..found.start()]);
            rewritten.extend_from_slice(match root.filter(|_| whole) {
                Some((root, _)) => to.dir(root).as_os_str().as_encoded_bytes(),
                None => own,
            });
            true
        };
        self.automaton
            .replace_all_with_bytes(bytes, &mut rewritten, replace);
        rewritten
    }
}

/// Tells whether a directory's spelling behind `before` is not the rest of a longer path, or of an address.
pub fn begins_a_path(before: &[u8]) -> bool {
    // `-L/path` is one, `some/path` and the path in `https://host/path` are none.
    let is_option = matches!(before, [.., b'-', letter] if letter.is_ascii_alphabetic());
    let inside = |byte: &u8| continues_a_name(*byte) || *byte == b'/';
    is_option || before.ends_with(b"file://") || !before.last().is_some_and(inside)
}

/// Tells whether a directory's spelling that ends at `end` is all of its name.
fn ends_a_name(bytes: &[u8], end: usize) -> bool {
    bytes.get(end).is_none_or(|byte| !continues_a_name(*byte))
}

/// Tells whether `byte` behind a directory's spelling makes it another directory's.
fn continues_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::Finder;
    use crate::model::root::{Root, Roots};
    use std::path::Path;

    fn roots(workspace: &str) -> Roots {
        let build = format!("{workspace}/target");
        Roots::new(
            Path::new(workspace),
            Path::new(&build),
            Path::new("/h/.cargo"),
        )
    }

    /// The target directory lies in the workspace; taking the shorter root would move it with the sources.
    #[test]
    fn the_longest_root_is_replaced() {
        let finder = Finder::new(&roots("/a/ws"));
        let text = b"x=/a/ws/target/debug y=/a/ws/src z=/a/ws2 /h/.cargo";
        let moved = finder.rewrite(
            text,
            &Roots::new(Path::new("/b"), Path::new("/t"), Path::new("/c")),
        );
        assert_eq!(moved, b"x=/t/debug y=/b/src z=/a/ws2 /c");
    }

    /// A route, an address or a longer path would be changed in what a build script says, and the program then be another one.
    #[test]
    fn the_rest_of_a_longer_path_is_no_root() {
        let finder = Finder::new(&roots("/a/ws"));
        let text = b"https://h/a/ws /srv/a/ws x/a/ws -L/a/ws =/a/ws,/a/ws:/a/ws file:///a/ws";
        let moved = finder.rewrite(
            text,
            &Roots::new(Path::new("/b"), Path::new("/t"), Path::new("/c")),
        );
        let expected = "https://h/a/ws /srv/a/ws x/a/ws -L/b =/b,/b:/b file:///b";
        assert_eq!(String::from_utf8_lossy(&moved), expected);
        for (text, unsure) in [
            (&b"x=/a/ws/src"[..], None),
            (b"https://h/a/ws/v1", Some(Root::Workspace)),
            (b"/srv/a/ws/target/x", Some(Root::Build)),
            (b"/srv/a/ws2", None),
        ] {
            assert_eq!(finder.unsure(text), unsure);
        }
        // Nobody knows whether that is a directory here.
        let short = Finder::new(&roots("/app"));
        assert_eq!(short.unsure(b"route /app/v1"), Some(Root::Workspace));
        assert_eq!(short.unsure(b"route /apples"), None);
    }

    /// A missed occurrence would let a pinned output pass for a movable one: `"/a/ws"` and `"next"` are
    /// neighbours without a separator in an executable.
    #[test]
    fn constants_need_no_separator() {
        let finder = Finder::new(&roots("/a/ws"));
        let held: Vec<Root> = finder.held(b"..\0/a/wsnext").map(|o| o.root).collect();
        assert_eq!(held, [Root::Workspace]);
        let held: Vec<Root> = finder.held(b"/a/ws/target").map(|o| o.root).collect();
        assert_eq!(held, [Root::Workspace, Root::Build]);
    }
}
