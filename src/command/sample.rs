//! A small workspace for `headstart demo`: several crates, a proc-macro, a build script, real dependencies.

use std::path::Path;

use crate::git;

/// Its files, each behind a line `=== <path>`.
const FILES: &str = include_str!("sample.txt");
/// The file of the second commit, and what that changes in it.
const EDITED: &str = "report/src/lib.rs";
const EDIT: (&str, &str) = ("\"{} {text}\"", "\"{}: {text}\"");

/// Writes the workspace to `dir`, with two commits of which the second changes one function body.
///
/// `lock` makes its `Cargo.lock`, between writing and committing.
pub fn write(dir: &Path, lock: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let files = FILES.split("=== ").filter_map(|file| file.split_once('\n'));
    for (path, text) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(path, text)?;
    }
    lock()?;
    git::commit_all(dir, "first")?;
    let file = dir.join(EDITED);
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace(EDIT.0, EDIT.1))?;
    git::commit_all(dir, "second")?;
    Ok(())
}
