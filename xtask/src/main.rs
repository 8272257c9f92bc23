//! Runs the project's own chores: `walk` and `bench` on real workspaces.
//!
//! Knows headstart only by its command line and its JSON.

mod artifact;
mod build;
mod checkout;
mod graph;
mod headstart;
mod home;
mod lab;
mod rebuilt;
mod subject;
mod table;
mod words;

mod bench;
mod walk;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Headstart's harnesses for real workspaces"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Walk(walk::Arguments),
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Walk(arguments) => walk::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        eprintln!("error: {}", causes.join("\n\ncaused by: "));
        ExitCode::from(2)
    })
}
