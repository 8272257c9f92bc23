//! `headstart debugger`: tells a debugger where the sources are that outputs name by fixed directories.

use super::Setup;
use super::cli::{Debugger, DebuggerArgs};
use crate::config::Environment;
use crate::model::{Root, Roots};

/// Runs the command.
pub fn run(args: &DebuggerArgs, environment: &Environment) -> anyhow::Result<()> {
    let setup = Setup::here(environment, args.target_dir.as_deref())?;
    for line in lines(args.debugger, &setup.roots) {
        say!("{line}");
    }
    Ok(())
}

/// Returns the debugger's commands for a machine with these roots.
///
/// The workspace is `.` in what was compiled: from its root every debugger finds its sources without help.
fn lines(debugger: Debugger, roots: &Roots) -> Vec<String> {
    let all = [Root::Build, Root::CargoHome, Root::Repository];
    let dirs = all.into_iter().filter(|root| roots.has(*root));
    let workspace = roots.dir(Root::Workspace).display();
    let dirs = dirs.map(|root| (root.remapped(), roots.dir(root).display()));
    match debugger {
        Debugger::Gdb => {
            let one = |(from, to)| format!("set substitute-path {from} \"{to}\"");
            let directory = format!("directory \"{workspace}\"");
            dirs.map(one).chain([directory]).collect()
        }
        Debugger::Lldb => {
            let one = |(from, to)| format!("settings append target.source-map {from} \"{to}\"");
            dirs.chain([(".", workspace)]).map(one).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Debugger, lines};
    use crate::model::Roots;
    use std::path::Path;

    /// A debugger that is told nothing shows no source of a dependency.
    #[test]
    fn every_root_is_named() {
        let roots = Roots::new(
            Path::new("/w"),
            Path::new("/w/target"),
            Path::new("/h/.cargo"),
        );
        let gdb = lines(Debugger::Gdb, &roots);
        assert_eq!(
            gdb,
            [
                "set substitute-path /headstart/target \"/w/target\"",
                "set substitute-path /headstart/cargo \"/h/.cargo\"",
                "directory \"/w\""
            ]
        );
        assert_eq!(lines(Debugger::Lldb, &roots).len(), 3);
    }
}
