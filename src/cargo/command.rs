//! A cargo command as the user gave it, and running it.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::{CargoError, Result};
use crate::child;

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

/// cargo's own options that may stand before the subcommand, with their values behind them.
const BEFORE_A_VALUE: [&str; 4] = ["--config", "--color", "-C", "-Z"];

impl CargoCommand {
    /// Returns the commands in `args`, which `--then` separates; `build` where there is none.
    pub fn split(args: &[String]) -> Vec<CargoCommand> {
        let given = args.split(|arg| arg == "--then");
        let given = given.filter(|args| !args.is_empty());
        let mut commands: Vec<Vec<String>> = given.map(<[String]>::to_vec).collect();
        if commands.is_empty() {
            commands.push(vec!["build".to_owned()]);
        }
        let commands = commands.into_iter();
        commands.map(|args| CargoCommand { args }).collect()
    }

    /// Returns the subcommand, if it is one that builds units.
    pub fn building_subcommand(&self) -> Option<&str> {
        let mut args = self.args.iter().map(String::as_str);
        let mut first = args.next()?;
        while first.starts_with(['-', '+']) {
            if BEFORE_A_VALUE.contains(&first) {
                args.next();
            }
            first = args.next()?;
        }
        BUILDING.contains(&first).then_some(first)
    }

    /// Returns the toolchain of a leading `+toolchain`.
    pub fn toolchain(&self) -> Option<&str> {
        self.args.first()?.strip_prefix('+')
    }

    /// Returns the value of `--name value` or `--name=value` before any `--`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options(name).next()
    }

    /// Returns all values of `--name value` or `--name=value` before any `--`.
    pub fn options<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let own = self.args.iter().take_while(|arg| *arg != "--").enumerate();
        own.filter_map(move |(at, arg)| match arg.strip_prefix(name)? {
            "" => self.args.get(at + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
    }

    /// Returns the directory that the workspace is looked for from, in and above it, when run in `dir`.
    pub fn looks_from(&self, dir: &Path) -> PathBuf {
        let manifest = dir.join(self.option("--manifest-path").unwrap_or("Cargo.toml"));
        let beside = manifest.parent().filter(|beside| beside.is_dir());
        beside.unwrap_or(dir).to_path_buf()
    }

    /// Returns the command that builds the same and runs nothing of it.
    pub fn without_running(mut self) -> CargoCommand {
        let runs = matches!(self.building_subcommand(), Some("test" | "t" | "bench"));
        if runs && !self.args.iter().any(|arg| arg == "--no-run") {
            self.args.truncate(self.end());
            self.args.push("--no-run".to_owned());
        }
        self
    }

    /// Returns the arguments that make cargo report its artifacts as JSON and its diagnostics as ever.
    fn reporting(&self) -> Vec<OsString> {
        const REPORT: &str = "--message-format=json-render-diagnostics";
        let mut args: Vec<OsString> = self.args.iter().map(OsString::from).collect();
        args.insert(self.end(), OsString::from(REPORT));
        args
    }

    /// Returns where cargo's own arguments end.
    fn end(&self) -> usize {
        let end = self.args.iter().position(|arg| arg == "--");
        end.unwrap_or(self.args.len())
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
    /// The program that cargo runs in rustc's place, if it is another than usual.
    pub wrapper: Option<&'a Path>,
}

/// How long nothing must come before it is asked whether cargo has ended.
const POLL: Duration = Duration::from_millis(200);
/// How many lines are read before somebody takes them.
const MAX_AHEAD: usize = 1024;
/// How many lines are taken that come when cargo has ended: more is somebody's who goes on.
const MAX_BEHIND: usize = 100_000;

/// Where cargo's messages on standard error go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// To the user, as ever.
    Shown,
    /// Nowhere, unless cargo fails: then into [`CargoError::Failed`].
    Kept,
}

/// Runs `command`, and returns its JSON lines; a line that is no JSON goes to `pass_on`, as it is and with its end.
pub fn run(
    command: &CargoCommand,
    run: Run<'_>,
    messages: Messages,
    mut pass_on: impl FnMut(&[u8]),
) -> Result<Vec<String>> {
    let failed = not_started("cargo");
    let kept = (messages == Messages::Kept).then(tempfile::tempfile);
    let mut kept = kept.transpose().map_err(&failed)?;
    let stderr = match &kept {
        None => Stdio::inherit(),
        Some(file) => file.try_clone().map_err(&failed)?.into(),
    };
    let mut cargo = program("cargo", run);
    cargo.args(command.reporting());
    cargo.stdout(Stdio::piped()).stderr(stderr);
    let (mut child, _awaited) = child::spawn(&mut cargo).map_err(&failed)?;
    let stdout = child.stdout.take();
    let lines = lines(stdout.expect("standard output was asked to be piped"));
    let mut report = Vec::new();
    // What the program or the tests print comes behind cargo's last message, and is theirs whatever it looks like.
    let mut reporting = true;
    let mut take = |line: Vec<u8>| match std::str::from_utf8(&line) {
        Ok(text) if reporting && text.starts_with('{') => {
            reporting = !text.contains("\"reason\":\"build-finished\"");
            report.push(text.trim_end().to_owned());
        }
        _ => pass_on(&line),
    };
    let status = loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => take(line.map_err(&failed)?),
            Err(RecvTimeoutError::Disconnected) => break child.wait().map_err(&failed)?,
            Err(RecvTimeoutError::Timeout) => {
                // What a test has left behind may hold the pipe for as long as it likes.
                if let Some(status) = child.try_wait().map_err(&failed)? {
                    let more = std::iter::from_fn(|| lines.recv_timeout(POLL).ok());
                    more.take(MAX_BEHIND).flatten().for_each(take);
                    break status;
                }
            }
        }
    };
    let mut stderr = String::new();
    if let Some(file) = &mut kept {
        file.rewind().map_err(&failed)?;
        file.read_to_string(&mut stderr).map_err(&failed)?;
    }
    check(command.shown(), status, stderr)?;
    Ok(report)
}

/// Returns the lines of `stdout` as they come, each with its end.
fn lines(stdout: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (send, lines) = mpsc::sync_channel(MAX_AHEAD);
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            let read = stdout.read_until(b'\n', &mut line);
            if matches!(read, Ok(0)) || send.send(read.map(|_| line)).is_err() {
                return;
            }
        }
    });
    lines
}

/// Variables that no build script or proc-macro may see: with them it could sign whatever it likes.
pub const KEPT_BACK: [&str; 2] = ["HEADSTART_SIGN_KEY", "HEADSTART_KEY_PASSWORD"];

/// Returns `program` as `run` says, without arguments.
#[expect(clippy::disallowed_methods, reason = "cargo::command starts cargo")]
fn program(program: impl AsRef<OsStr>, run: Run<'_>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(run.dir);
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    command.envs(run.wrapper.map(|wrapper| ("RUSTC_WRAPPER", wrapper)));
    for name in KEPT_BACK {
        command.env_remove(name);
    }
    command
}

fn not_started(program: &str) -> impl Fn(io::Error) -> CargoError {
    move |cause| CargoError::Start(program.to_owned(), cause)
}

/// Fails if what was run by `command` failed, having said `stderr`.
fn check(command: String, status: ExitStatus, stderr: String) -> Result<()> {
    if let Some(signal) = status.signal() {
        return Err(CargoError::Ended(command, signal));
    }
    match status.success() {
        true => Ok(()),
        false => Err(CargoError::Failed {
            command,
            code: status.code().unwrap_or(101),
            stderr,
        }),
    }
}

/// Runs `name`, cargo or what runs cargos of its own, with `args`, as if the user had typed it; its standard output goes to
/// `stdout`. Fails if it does.
pub fn run_plainly(name: &Path, args: &[String], run: Run<'_>, stdout: Stdio) -> Result<()> {
    let shown = name.display().to_string();
    let status = child::status(program(name, run).args(args).stdout(stdout));
    let status = status.map_err(not_started(&shown))?;
    let command = format!("{shown} {}", args.join(" "));
    check(command, status, String::new())
}

/// Runs the program `name` with `args`, and returns its standard output.
pub fn ask(name: &str, args: &[&str], run: Run<'_>, toolchain: Option<&str>) -> Result<String> {
    let mut command = program(name, run);
    command.args(args).stdin(Stdio::null());
    command.envs(toolchain.map(|toolchain| ("RUSTUP_TOOLCHAIN", toolchain)));
    let output = command.output().map_err(not_started(name))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let command = format!("{name} {}", args.join(" "));
    check(command, output.status, stderr.trim().to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
