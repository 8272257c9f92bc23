//! A cargo command as the user gave it, and running it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};

use super::CargoError;

/// The arguments of one cargo run: `["build", "--workspace"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CargoCommand {
    /// All arguments, a leading `+toolchain` included.
    pub args: Vec<String>,
}

/// The subcommands that leave units behind and report them as JSON.
const BUILDING: [&str; 9] = [
    "build", "b", "check", "c", "clippy", "test", "t", "bench", "rustc",
];

impl CargoCommand {
    /// Returns the commands in `args`, which `--then` separates; `build` where there is none.
    pub fn split(args: &[String]) -> Vec<CargoCommand> {
        let commands: Vec<CargoCommand> = args
            .split(|arg| arg == "--then")
            .filter(|args| !args.is_empty())
            .map(|args| CargoCommand {
                args: args.to_vec(),
            })
            .collect();
        match commands.is_empty() {
            true => vec![CargoCommand {
                args: vec!["build".to_owned()],
            }],
            false => commands,
        }
    }

    /// Returns the subcommand, if it is one that builds units.
    pub fn building_subcommand(&self) -> Option<&str> {
        let known = |arg: &&String| BUILDING.contains(&arg.as_str());
        self.args
            .iter()
            .find(|arg| !arg.starts_with(['-', '+']))
            .filter(known)
            .map(String::as_str)
    }

    /// Returns the toolchain of a leading `+toolchain`.
    pub fn toolchain(&self) -> Option<&str> {
        self.args.first()?.strip_prefix('+')
    }

    /// Returns the value of `--name value` or `--name=value` before any `--`.
    pub fn option(&self, name: &str) -> Option<&str> {
        let own = self.args.iter().take_while(|arg| *arg != "--").enumerate();
        own.filter_map(|(at, arg)| {
            let rest = arg.strip_prefix(name)?;
            match rest {
                "" => self.args.get(at + 1).map(String::as_str),
                _ => rest.strip_prefix('='),
            }
        })
        .next()
    }

    /// Returns the arguments that build the same and run nothing of it.
    pub fn without_running(&self) -> Vec<String> {
        let mut args = self.args.clone();
        let runs = matches!(self.building_subcommand(), Some("test" | "t" | "bench"));
        if runs && !args.iter().any(|arg| arg == "--no-run") {
            let end = args.iter().position(|arg| arg == "--");
            args.truncate(end.unwrap_or(args.len()));
            args.push("--no-run".to_owned());
        }
        args
    }

    /// Returns the arguments that make cargo report its artifacts as JSON and its diagnostics as ever.
    fn reporting(&self) -> Vec<OsString> {
        const REPORT: &str = "--message-format=json-render-diagnostics";
        let end = self
            .args
            .iter()
            .position(|arg| arg == "--")
            .unwrap_or(self.args.len());
        let mut args: Vec<OsString> = self.args.iter().map(OsString::from).collect();
        args.insert(end, OsString::from(REPORT));
        args
    }

    /// Returns the command line, for people.
    pub fn shown(&self) -> String {
        format!("cargo {}", self.args.join(" "))
    }
}

/// Where and how cargo runs.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The current directory.
    pub dir: &'a Path,
    /// Variables added to our own.
    pub env: &'a [(String, OsString)],
    /// Where cargo's messages go.
    pub messages: Messages,
}

/// Where cargo's messages on standard error go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// To the user, as ever.
    Shown,
    /// Nowhere, unless cargo fails: then into [`CargoError::Failed`].
    Kept,
}

/// Runs `command`, and returns its JSON lines; a line that is no JSON goes to `pass_on`.
pub fn run(
    command: &CargoCommand,
    run: Run<'_>,
    mut pass_on: impl FnMut(&str),
) -> Result<Vec<String>, CargoError> {
    let mut lines = Vec::new();
    let args = command.reporting();
    // What the program or the tests print comes behind cargo's last message, and is theirs whatever it looks like.
    let mut reporting = true;
    let stderr = execute(&args, run, |line| {
        match reporting && line.starts_with('{') {
            true => {
                reporting = !line.contains("\"reason\":\"build-finished\"");
                lines.push(line);
            }
            false => pass_on(&line),
        }
    })?;
    match stderr {
        Ok(()) => Ok(lines),
        Err((code, stderr)) => Err(CargoError::Failed {
            command: command.shown(),
            code,
            stderr,
        }),
    }
}

/// Variables that no build script or proc-macro may see: with them it could sign whatever it likes.
pub const KEPT_BACK: [&str; 2] = ["HEADSTART_SIGN_KEY", "HEADSTART_KEY_PASSWORD"];

/// Returns cargo as `run` says, without arguments.
#[expect(clippy::disallowed_methods, reason = "cargo::command starts cargo")]
fn cargo(run: Run<'_>) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(run.dir);
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    for name in KEPT_BACK {
        command.env_remove(name);
    }
    command
}

/// Runs `command`, everything as if the user had typed it, and returns its exit code.
pub fn run_plainly(command: &CargoCommand, run: Run<'_>) -> Result<i32, CargoError> {
    let status = cargo(run).args(&command.args).status();
    let start = |cause| CargoError::Start {
        program: "cargo".to_owned(),
        cause,
    };
    Ok(status.map_err(start)?.code().unwrap_or(101))
}

/// Runs `program`, which runs cargos of its own, with `args`, as if the user had typed it; its standard output goes to `stdout`.
///
/// Fails if it does.
#[expect(clippy::disallowed_methods, reason = "cargo::command starts cargo")]
pub fn run_other(
    program: &Path,
    args: &[String],
    run: Run<'_>,
    stdout: Stdio,
) -> Result<(), CargoError> {
    let shown = program.display().to_string();
    let mut command = Command::new(program);
    command.args(args).current_dir(run.dir).stdout(stdout);
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    for name in KEPT_BACK {
        command.env_remove(name);
    }
    let status = command.status().map_err(|cause| CargoError::Start {
        program: shown.clone(),
        cause,
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(CargoError::Failed {
            command: format!("{shown} {}", args.join(" ")),
            code: status.code().unwrap_or(101),
            stderr: String::new(),
        }),
    }
}

/// Runs cargo with `args`; gives each line of its standard output to `each`; returns code and messages of a
/// cargo that failed.
fn execute(
    args: &[OsString],
    run: Run<'_>,
    mut each: impl FnMut(String),
) -> Result<Result<(), (i32, String)>, CargoError> {
    let start = |cause| CargoError::Start {
        program: "cargo".to_owned(),
        cause,
    };
    let mut kept = match run.messages {
        Messages::Shown => None,
        Messages::Kept => Some(tempfile::tempfile().map_err(start)?),
    };
    let stderr = match &kept {
        None => Stdio::inherit(),
        Some(file) => Stdio::from(file.try_clone().map_err(start)?),
    };
    let mut child = cargo(run)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(start)?;
    let stdout = child
        .stdout
        .take()
        .expect("standard output was asked to be piped");
    for line in BufReader::new(stdout).lines() {
        each(line.map_err(start)?);
    }
    let status = child.wait().map_err(start)?;
    let mut stderr = String::new();
    if let Some(file) = &mut kept {
        file.rewind().map_err(start)?;
        file.read_to_string(&mut stderr).map_err(start)?;
    }
    match status.success() {
        true => Ok(Ok(())),
        false => Ok(Err((status.code().unwrap_or(101), stderr))),
    }
}

/// Runs `program` with `args` in `dir`, and returns its standard output.
#[expect(clippy::disallowed_methods, reason = "cargo::command starts cargo")]
pub fn ask(
    program: &str,
    args: &[&str],
    run: Run<'_>,
    toolchain: Option<&str>,
) -> Result<String, CargoError> {
    let mut command = Command::new(program);
    command.args(args).current_dir(run.dir).stdin(Stdio::null());
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    if let Some(toolchain) = toolchain {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    let output = command.output().map_err(|cause| CargoError::Start {
        program: program.to_owned(),
        cause,
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(CargoError::Failed {
            command: format!("{program} {}", args.join(" ")),
            code: output.status.code().unwrap_or(101),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::CargoCommand;

    fn split(line: &str) -> Vec<CargoCommand> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        CargoCommand::split(&args)
    }

    /// A second command that is swallowed by the first would be published as one that never ran.
    #[test]
    fn then_separates_commands() {
        let commands = split("build --workspace --then test --no-run -- --nocapture");
        assert_eq!(commands.len(), 2);
        assert_eq!(commands[1].building_subcommand(), Some("test"));
        assert_eq!(split("")[0].args, ["build"]);
    }

    /// The report option behind `--` would be given to the tests instead of cargo.
    #[test]
    fn the_report_stands_before_the_separator() {
        let command = split("+nightly test --target-dir=t -- --nocapture").remove(0);
        assert_eq!(
            command.reporting()[3],
            "--message-format=json-render-diagnostics"
        );
        assert_eq!(command.option("--target-dir"), Some("t"));
        assert_eq!(command.toolchain(), Some("nightly"));
    }
}
