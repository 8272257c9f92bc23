//! Asks rustc for its hash of a unit's arguments, by compiling nothing with them.
//!
//! The hash covers what no command line shows: where the working directory is once it is remapped, both sides of each
//! remapping, whether the sysroot has sources, whether unstable features are on.

use std::ffi::OsStr;
use std::path::Path;

use super::argv::Invocation;
use super::dep_graph::{self, ArgsHash};
use super::{run, session};
use crate::disk::{self, DiskError, walk};
use crate::model::session::DEP_GRAPH;

/// An empty crate; documented, since `missing_docs` may be denied.
const LIBRARY: &str = "//! Nothing.\n";
/// The same without a standard library, which takes half as long to load.
const PLAIN_LIBRARY: &str = "//! Nothing.\n#![no_std]\n";
/// An empty program, for which nothing is generated.
const PROGRAM: &str = "//! Nothing.\n#![no_main]\n";

/// Returns what `program` hashes the arguments of `invocation` to, which cargo runs in `dir`; none where it will not compile even an empty crate
/// with them, or writes a dep-graph that we cannot read.
///
/// Works in `scratch`, which must be empty. Takes 30 to 130 ms.
pub fn args_hash(
    (program, dir): (&OsStr, &Path),
    invocation: &Invocation,
    further: &[std::ffi::OsString],
    scratch: &Path,
) -> Result<Option<ArgsHash>, DiskError> {
    let text = match (invocation.executable, invocation.plain_library) {
        (true, _) => PROGRAM,
        (false, true) => PLAIN_LIBRARY,
        (false, false) => LIBRARY,
    };
    let source = scratch.join("nothing.rs");
    std::fs::write(&source, text).map_err(disk::failed("write", &source))?;
    let args = invocation.as_probe(&source, scratch, further);
    if !run::run_silently(program, &args, dir) {
        return Ok(None);
    }
    let mut crates = walk::directories(&scratch.join("incremental")).into_iter();
    Ok(crates.find_map(|crate_dir| {
        let session = session::newest(&crate_dir)?;
        let graph = crate_dir.join(session).join(DEP_GRAPH);
        let bytes = disk::read_start(&graph, dep_graph::MAX_HEADER_BYTES).ok()?;
        let (_, range) = dep_graph::header(&bytes)?;
        bytes.get(range).map(<[u8]>::to_vec)
    }))
}
