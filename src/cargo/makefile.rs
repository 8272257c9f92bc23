//! rustc's dep-info as Makefile text, `<crate>-<hash>.d`: the files and variables that a compile read.

use std::path::PathBuf;

/// The largest that is read.
pub const MAX_BYTES: u64 = 16 << 20;

/// Returns the files that `text` says were read, the main source first, as rustc was given them.
///
/// Source: rustc: rustc_interface/src/passes.rs, `write_out_deps` @ 1.95: a space is written as `\\ `.
pub fn files(text: &str) -> Vec<PathBuf> {
    // No name of a file has it.
    const SPACE: &str = "\0";
    let rule = text.lines().next().and_then(|line| line.split_once(": "));
    let files = rule.map_or("", |(_, files)| files).replace("\\ ", SPACE);
    let files = files.split(' ').filter(|file| !file.is_empty());
    let files = files.map(|file| PathBuf::from(file.replace(SPACE, " ")));
    files.collect()
}

/// Returns the variables that `text` says were read and set, with their values.
///
/// Source: rustc: rustc_interface/src/passes.rs, `write_out_deps` @ 1.95.
pub fn variables(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("# env-dep:")?.split_once('=')?;
        Some((unescape(name), unescape(value)))
    })
}

/// Returns the variables that `text` says were asked for and not set.
pub fn unset(text: &str) -> impl Iterator<Item = String> + '_ {
    let asked = text
        .lines()
        .filter_map(|line| line.strip_prefix("# env-dep:"));
    asked.filter(|line| !line.contains('=')).map(unescape)
}

/// Returns what was written as `text`. Source: rustc: rustc_interface/src/passes.rs, `escape_dep_env` @ 1.95.
fn unescape(text: &str) -> String {
    // No variable has it.
    const BACKSLASH: &str = "\0";
    let text = text.replace(r"\\", BACKSLASH);
    let text = text.replace(r"\n", "\n").replace(r"\r", "\r");
    text.replace(BACKSLASH, r"\")
}

#[cfg(test)]
mod tests {
    use super::{files, variables};
    use std::path::Path;

    /// A main source that is misread is another crate's, and its unit is left out.
    #[test]
    fn files_are_read_in_order() {
        let text = "/t/a.d: src/my\\ lib.rs /c/b.rs\n\nsrc/my\\ lib.rs:\n";
        assert_eq!(
            files(text),
            [Path::new("src/my lib.rs"), Path::new("/c/b.rs")]
        );
        assert!(files("").is_empty());
    }

    /// A variable that goes unseen may leave a path of the builder's in a unit taken for movable.
    #[test]
    fn variables_are_read() {
        let text = "a.d: src/lib.rs\n\n# env-dep:CARGO_MANIFEST_DIR=/w\\\\n\\nx\n# env-dep:UNSET\n";
        let found: Vec<_> = variables(text).collect();
        assert_eq!(
            found,
            [("CARGO_MANIFEST_DIR".to_owned(), "/w\\n\nx".to_owned())]
        );
    }
}
