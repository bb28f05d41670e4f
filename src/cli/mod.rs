//! The command line: what the program is told, and what it tells people.

mod audit;
mod dev;
mod documents;
mod export;
mod import;
mod remote;
mod serve;
mod store;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A self-hosted application access point service: decides what applications may do, and has every
/// decision on disk before it is answered.
#[derive(Debug, Parser)]
#[command(name = "aap", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API.
    Serve(serve::Arguments),
    /// Make credentials for callers of the API.
    #[command(subcommand)]
    Token(token::Command),
    /// Write everything that there is as documents, one for each resource.
    Export(export::Arguments),
    /// Make a new data directory of documents.
    Import(import::Arguments),
    /// Follow the audit log, keep evidence of it, and verify it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Look at what is on disk.
    #[command(subcommand)]
    Store(store::Command),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Token(command) => token::run(&command),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        // These have exit codes of their own.
        Command::Audit(command) => return audit::run(&command),
        Command::Store(command) => return store::run(&command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is the command line")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// What the environment says, where it can't be an argument.
#[expect(clippy::disallowed_methods, reason = "this is the command line")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints a line for people. A closed pipe is their wish.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
