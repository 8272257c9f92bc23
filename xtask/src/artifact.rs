//! What a build made, as `--message-format=json` tells.

use std::path::PathBuf;

use serde::Deserialize;

/// An executable of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The same in every clone: package, kind, name, and whether it is a test.
    pub(crate) name: String,
    pub(crate) test: bool,
    pub(crate) path: PathBuf,
}

/// What one cargo command reported.
#[derive(Debug, Default)]
pub(crate) struct Artifacts {
    /// Units, the fresh ones and build-script runs included.
    pub(crate) units: usize,
    pub(crate) executables: Vec<Executable>,
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    },
    BuildScriptExecuted {},
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Returns the artifacts in cargo's stdout; lines that are not cargo's are passed over.
pub(crate) fn parse(stdout: &str) -> Artifacts {
    let mut artifacts = Artifacts::default();
    for line in stdout.lines().filter(|line| line.starts_with('{')) {
        match serde_json::from_str(line) {
            Ok(Message::CompilerArtifact {
                package_id,
                target,
                profile,
                executable,
            }) => {
                artifacts.units += 1;
                let kind = target.kind.join("+");
                let role = if profile.test { "test of " } else { "" };
                let name = format!("{} {role}{kind} {}", package(&package_id), target.name);
                artifacts
                    .executables
                    .extend(executable.map(|path| Executable {
                        name,
                        test: profile.test,
                        path,
                    }));
            }
            Ok(Message::BuildScriptExecuted {}) => artifacts.units += 1,
            Ok(Message::Other) | Err(_) => {}
        }
    }
    artifacts
}

/// Returns `name@version` of a package id without its directory, which differs from clone to clone.
///
/// cargo leaves the name out where the directory has the same.
fn package(id: &str) -> String {
    let (source, package) = id.rsplit_once('#').unwrap_or((id, ""));
    match (package.contains('@'), source.rsplit('/').next()) {
        (false, Some(directory)) => format!("{directory}@{package}"),
        _ => package.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// An executable that is not found would not be compared with the clean build's.
    #[test]
    fn reads_cargos_messages() {
        let stdout = concat!(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///w/rg#15.1.0","manifest_path":"x","target":{"kind":["bin"],"crate_types":["bin"],"name":"rg","src_path":"x"},"profile":{"opt_level":"0","test":false},"features":[],"filenames":["/w/target/debug/rg"],"executable":"/w/target/debug/rg","fresh":true}"#,
            "\nrunning 3 tests\n",
            r#"{"reason":"build-script-executed","package_id":"x","linked_libs":[],"out_dir":"/w"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let artifacts = parse(stdout);
        assert_eq!(artifacts.units, 2);
        assert_eq!(artifacts.executables.len(), 1);
        assert_eq!(super::package("path+file:///clone#rg@15.1.0"), "rg@15.1.0");
        assert_eq!(artifacts.executables[0].name, "rg@15.1.0 bin rg");
    }
}
