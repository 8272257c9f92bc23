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
    match args
        .get(1)
        .is_some_and(|program| rustc::argv::names_a_compiler(program))
    {
        true => ExitCode::from(wrapper::run(
            &args[1..],
            &environment,
            std::time::SystemTime::now,
        )),
        false => command::main(args, &environment, jiff::Timestamp::now()),
    }
}
