//! Runs a command inside of another: strace, a mount namespace, a shell.
//!
//! Knows nothing of headstart. What a machine does not allow is none, with a line that says so.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use headstart_testkit::Output;

/// Returns `command` as the last arguments of `program` with `args`, in the same directory and environment.
pub fn around(program: &str, args: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(args).arg(command.get_program());
    outer.args(command.get_args());
    settle_like(command, &mut outer);
    outer
}

/// Returns the same program in the same directory and environment, with `args` instead.
pub fn with_args(command: &Command, args: &[&str]) -> Command {
    let mut other = Command::new(command.get_program());
    settle_like(command, other.args(args));
    other
}

fn settle_like(command: &Command, other: &mut Command) {
    if let Some(dir) = command.get_current_dir() {
        other.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
}

/// Runs `command` to its end.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().expect("the command can be started");
    let signal = || 128 + output.status.signal().unwrap_or_default();
    Output {
        code: output.status.code().unwrap_or_else(signal),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `script` with `command` as `"$@"`, where mounts are its own and end with it.
///
/// None where this user may not have such a place.
pub fn with_own_mounts(script: &str, command: &Command) -> Option<Output> {
    let private: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    let allowed = private.into_iter().find(|options| {
        let probe = "mount -t tmpfs tmpfs /mnt";
        succeeds(
            Command::new("unshare")
                .args(*options)
                .args(["sh", "-c", probe]),
        )
    });
    let Some(options) = allowed else {
        skipped("this user may not mount anything");
        return None;
    };
    let args = [options, &["sh", "-euc", script, "sh"]].concat();
    Some(output(&mut around("unshare", &args, command)))
}

/// Tells whether `command` can be started and ends well; it prints nothing.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Says that a test does nothing here, and why.
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
