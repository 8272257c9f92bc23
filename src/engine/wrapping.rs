//! How a cargo is told to compile through headstart, and where the wrapper finds the roots.

use std::ffi::OsString;
use std::path::Path;

use crate::config::Environment;
use crate::engine::inputs;
use crate::model::{Root, Roots};

/// The workspace's root. Without all three variables, the wrapper runs rustc as given.
const WORKSPACE_VAR: &str = "HEADSTART_WORKSPACE";
/// The build directory.
const BUILD_VAR: &str = "HEADSTART_BUILD_DIR";
/// The top of the git work tree, where the workspace lies below it; may be unset.
const REPOSITORY_VAR: &str = "HEADSTART_REPOSITORY";
/// `CARGO_HOME`.
const CARGO_HOME_VAR: &str = "HEADSTART_CARGO_HOME";

/// Returns what must be in cargo's environment for `program`, which is headstart, to wrap rustc.
pub fn variables(program: &Path, roots: &Roots) -> Vec<(String, OsString)> {
    let dir = |root| roots.dir(root).as_os_str().to_owned();
    let repository = match roots.has(Root::Repository) {
        true => dir(Root::Repository),
        false => OsString::new(),
    };
    vec![
        (REPOSITORY_VAR.to_owned(), repository),
        ("RUSTC_WRAPPER".to_owned(), program.as_os_str().to_owned()),
        (WORKSPACE_VAR.to_owned(), dir(Root::Workspace)),
        (BUILD_VAR.to_owned(), dir(Root::Build)),
        (CARGO_HOME_VAR.to_owned(), dir(Root::CargoHome)),
    ]
}

/// Returns the roots that [`variables`] told; none unless it told all of them.
pub fn roots(environment: &Environment) -> Option<Roots> {
    let dir = |name| environment.path(name);
    let roots = Roots::new(
        &dir(WORKSPACE_VAR)?,
        &dir(BUILD_VAR)?,
        &dir(CARGO_HOME_VAR)?,
    );
    let roots = match environment.var(REPOSITORY_VAR) {
        Some(repository) => roots.with_alias(Root::Repository, Path::new(repository)),
        None => roots,
    };
    Some(inputs::with_aliases(roots))
}
