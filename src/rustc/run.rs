//! Runs rustc in the wrapper's place.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// Runs `program` with `args` on our own standard streams, and waits for it.
///
/// Descriptors are inherited (the jobserver's among them), and so is the process group, so that a Ctrl-C
/// reaches rustc without our help.
#[expect(clippy::disallowed_methods, reason = "rustc::run starts rustc")]
pub fn run(program: &OsStr, args: &[OsString]) -> std::io::Result<ExitStatus> {
    Command::new(program).args(args).status()
}

/// Returns the exit code that says what `status` says: rustc's own, or 128 + its signal.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(1));
    u8::try_from(code & 0xff).unwrap_or(1)
}
