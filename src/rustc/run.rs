//! Runs rustc in the wrapper's place.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::child;

/// How rustc ended; well by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended(ExitStatus);

/// rustc's exit code after it panicked.
const PANICKED: i32 = 101;
/// Signals by which a user or a system ends rustc on purpose: SIGHUP, SIGINT, SIGQUIT, SIGTERM.
const ON_PURPOSE: [i32; 4] = [1, 2, 3, 15];

impl Ended {
    /// Returns how a compile ended that failed.
    pub fn badly() -> Ended {
        Ended(ExitStatus::from_raw(1 << 8))
    }

    /// Returns the exit code that says how it ended: rustc's own, or 128 + its signal.
    pub fn code(self) -> u8 {
        let by_signal = || 128 + self.0.signal().unwrap_or(1);
        let code = self.0.code().unwrap_or_else(by_signal);
        u8::try_from(code & 0xff).unwrap_or(1)
    }

    /// Returns how it crashed, for people; none if it did its work, found an error in a source, or was told to end.
    pub fn crash(self) -> Option<String> {
        match (self.0.code(), self.0.signal()) {
            (Some(PANICKED), _) => Some("panicked".to_owned()),
            (None, Some(signal)) if !ON_PURPOSE.contains(&signal) => {
                Some(format!("was ended by signal {signal}"))
            }
            _ => None,
        }
    }
}

/// Runs `program` with `args` on our own standard streams, and waits for it.
///
/// Descriptors are inherited (the jobserver's among them), and so is the process group, so that a Ctrl-C
/// reaches rustc without our help; a SIGTERM to us alone is passed on.
#[expect(clippy::disallowed_methods, reason = "rustc::run starts rustc")]
pub fn run(program: &OsStr, args: &[OsString]) -> std::io::Result<Ended> {
    child::status(Command::new(program).args(args)).map(Ended)
}

/// Does the same, and gives each line of rustc's standard error to `pass_on` as soon as it is written.
#[expect(clippy::disallowed_methods, reason = "rustc::run starts rustc")]
pub fn run_watched(
    program: &OsStr,
    args: &[OsString],
    mut pass_on: impl FnMut(&[u8]),
) -> std::io::Result<Ended> {
    let mut command = Command::new(program);
    let (mut child, _awaited) = child::spawn(command.args(args).stderr(Stdio::piped()))?;
    if let Some(stderr) = child.stderr.take() {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            pass_on(&line);
            line.clear();
        }
    }
    child.wait().map(Ended)
}

/// Writes a line of rustc's to our own standard error; a reader that is gone is none of our business.
pub fn forward(line: &[u8]) {
    drop(std::io::stderr().write_all(line));
}

/// Runs `program` with `args` in `dir` without showing anything, and tells whether it succeeded.
#[expect(clippy::disallowed_methods, reason = "rustc::run starts rustc")]
pub fn run_silently(program: &OsStr, args: &[OsString], dir: &Path) -> bool {
    let mut command = Command::new(program);
    command.current_dir(dir).args(args).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
