//! The program: rustc's wrapper when cargo calls it with a compiler, a command otherwise.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::ffi::OsString;
use std::process::ExitCode;

use headstart::config::Environment;
use headstart::{command, rustc, wrapper};

#[expect(clippy::disallowed_methods, reason = "the clock is read at the top")]
fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let environment = match Environment::of_process() {
        Ok(environment) => environment,
        Err(error) => return command::failure::print(&error.into()),
    };
    if rustc::argv::is_wrapped_call(args.get(1..).unwrap_or_default(), command::is_known) {
        let now = std::time::SystemTime::now;
        return ExitCode::from(wrapper::run(&args[1..], &environment, now));
    }
    command::main(args, &environment, jiff::Timestamp::now())
}
