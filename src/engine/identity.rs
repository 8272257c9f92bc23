//! An id for a crate that stays where cargo's does not.
//!
//! cargo tells rustc by `-C metadata` all that a unit is: package and version, dependencies with theirs, and, outside of the
//! workspace's root, its absolute path. rustc makes the crate's id of that, with which each key in a session begins, so that after another
//! version or another dependency no session is of any use. Members are given an id that covers none of these. See note 0016.

use std::path::Path;

use crate::engine::wrapping::Wrapped;
use crate::model::{Finder, Root};
use crate::rustc::argv::Invocation;

/// How many digits an id has, as cargo's.
const DIGITS: usize = 16;
/// By what rustc's bootstrap tells the libraries of its stages apart. Source: rustc: src/bootstrap/src/core/builder/cargo.rs @ 1.95.
const LIBRARY_VAR: &str = "__CARGO_DEFAULT_LIB_METADATA";

/// Returns `invocation` with an id that stays; none for what is not compiled incrementally, or not of this work tree, or where
/// more was told than cargo tells.
///
/// No two units that could meet in one program have one id: it covers the package's name, the source's place in the workspace, what of the
/// package is compiled, for what, with which features, and how.
pub fn of(invocation: &Invocation, wrapped: Wrapped<'_>) -> Option<Invocation> {
    let (roots, environment) = (wrapped.roots, wrapped.environment);
    let locate = |path: &Path| roots.locate(&environment.dir.join(path));
    let incremental = invocation.incremental.as_ref()?;
    let sessions = locate(incremental);
    let source = locate(&invocation.source);
    // Where debug information is left in files of its own, objects name those of the unit: they are no good under another name.
    let names_files = invocation.has_codegen("split-debuginfo=unpacked");
    if names_files || !matches!(source.root, Root::Workspace | Root::Repository) {
        return None;
    }
    let variable = |name| environment.var(name).unwrap_or_default();
    // Beside the workspace there may be two packages of one name.
    let version = Some("CARGO_PKG_VERSION").filter(|_| invocation.source.is_absolute());
    let program = Path::new(wrapped.program).file_name().unwrap_or_default();
    let package = locate(&environment.path("CARGO_MANIFEST_DIR").unwrap_or_default());
    let context = [
        program,
        package.relative().as_os_str(),
        source.root.name().as_ref(),
        source.relative().as_os_str(),
        sessions.relative().as_os_str(),
        variable("CARGO_PKG_NAME"),
        version.map(variable).unwrap_or_default(),
        variable(LIBRARY_VAR),
    ];
    let digest = invocation.identity(&Finder::new(roots), &context);
    let incremental = incremental.join(sessions_of(&invocation.ledger_key()));
    invocation.with_identity(&digest.hex()[..DIGITS], &incremental)
}

/// Returns the name of the directory for the sessions of what cargo calls `unit`, as its note is called; `cargo clean -p` knows it by
/// the crate's name.
pub(super) fn sessions_of(unit: &str) -> String {
    unit.replace('=', "-")
}
