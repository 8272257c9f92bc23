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
/// `CARGO_HOME`.
const CARGO_HOME_VAR: &str = "HEADSTART_CARGO_HOME";

/// Returns what must be in cargo's environment for `program`, which is headstart, to wrap rustc.
pub fn variables(program: &Path, roots: &Roots) -> Vec<(String, OsString)> {
    let dir = |root| roots.dir(root).as_os_str().to_owned();
    vec![
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
    Some(inputs::with_aliases(roots))
}
