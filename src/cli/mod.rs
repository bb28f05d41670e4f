//! The command line: what the program is told, and what it tells people.

mod apply;
mod audit;
mod backup;
mod changes;
mod check;
mod context;
mod dev;
mod documents;
mod evidence;
mod export;
mod failure;
mod forms;
mod import;
mod manage;
mod output;
mod progress;
mod remote;
mod resource;
mod restore;
mod secrets;
mod serve;
mod session;
mod store;
mod token;
mod whole_file;
mod yaml;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;

use failure::{Exit, Failure};
use manage::{access_point, client_key, network_rule, policy, ram_role, wizard};

/// A self-hosted application access point service: decides what applications may do, and has every
/// decision on disk before it is answered.
#[derive(Debug, Parser)]
#[command(name = "aap", version, max_term_width = 80, after_help = failure::EXIT_CODES)]
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
    /// Manage access points.
    #[command(subcommand)]
    AccessPoint(access_point::Command),
    /// Manage client keys, by which applications prove who they are.
    #[command(subcommand)]
    ClientKey(client_key::Command),
    /// Manage policies.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Manage network rules.
    #[command(subcommand)]
    NetworkRule(network_rule::Command),
    /// Manage RAM roles.
    #[command(subcommand)]
    RamRole(ram_role::Command),
    /// Make what there is be as documents say, all or nothing.
    Apply(Box<apply::ApplyArguments>),
    /// Say how what there is differs from what documents say: exits with 11 if it does.
    Diff(Box<apply::DiffArguments>),
    /// Ask whether an application may do something: exits with 0 if it may, with 10 if it may not.
    Check(Box<check::Arguments>),
    /// Get sessions, as applications do, and end them.
    #[command(subcommand)]
    Session(session::Command),
    /// See who changed what, and when.
    #[command(subcommand)]
    Changes(changes::Command),
    /// Keep servers and callers by name.
    #[command(subcommand)]
    Context(context::Command),
    /// Write everything that there is as documents, one for each resource.
    Export(export::Arguments),
    /// Make a new data directory of documents.
    Import(import::Arguments),
    /// Back up everything in one file: the journal of changes and the audit log.
    Backup(backup::Arguments),
    /// Make a new data directory of a backup.
    Restore(restore::Arguments),
    /// Follow the audit log, keep evidence of it, and verify it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Look at what is on disk.
    #[command(subcommand)]
    Store(store::Command),
    /// Print what makes a shell complete commands: `. <(aap completion bash)`.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Print the version.
    Version,
}

impl Arguments {
    /// Reads the command line. What is missing in it may be asked for, if there is somebody to ask.
    fn read() -> Self {
        let error = match Self::try_parse() {
            Ok(arguments) => return arguments,
            Err(error) => error,
        };
        if error.kind() == ErrorKind::MissingRequiredArgument && wizard::can_ask() {
            let asking =
                Self::command().mut_subcommand("access-point", access_point::Command::asking);
            let matches = asking.try_get_matches().ok();
            match matches.and_then(|matches| Self::from_arg_matches(&matches).ok()) {
                Some(Self { command: Command::AccessPoint(command) })
                    if command.is_to_be_asked() =>
                {
                    return Self { command: Command::AccessPoint(command) };
                }
                _ => {}
            }
        }
        error.exit()
    }
}

/// All commands, for who goes through them.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program.
pub fn main() -> ExitCode {
    match run(Arguments::read().command) {
        Ok(code) => code,
        Err(error) => {
            if !error.is::<failure::ToldInLog>() {
                complain(&error);
            }
            Failure::exit_of(&error).into()
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => serve::run(arguments)?,
        Command::Token(command) => token::run(&command)?,
        Command::AccessPoint(command) => access_point::run(command)?,
        Command::ClientKey(command) => client_key::run(command)?,
        Command::Policy(command) => policy::run(command)?,
        Command::NetworkRule(command) => network_rule::run(command)?,
        Command::RamRole(command) => ram_role::run(command)?,
        Command::Apply(arguments) => apply::apply(&arguments)?,
        Command::Diff(arguments) => {
            return Ok(apply::diff(&arguments)?.map_or(ExitCode::SUCCESS, Exit::into));
        }
        Command::Check(arguments) => {
            return Ok(check::run(&arguments)?.map_or(ExitCode::SUCCESS, Exit::into));
        }
        Command::Session(command) => session::run(&command)?,
        Command::Context(command) => context::run(command)?,
        Command::Export(arguments) => export::run(&arguments)?,
        Command::Import(arguments) => import::run(&arguments)?,
        Command::Restore(arguments) => restore::run(&arguments)?,
        // These have exit codes of their own.
        Command::Backup(arguments) => return backup::run(&arguments),
        Command::Changes(command) => return changes::run(&command),
        Command::Audit(command) => return audit::run(&command),
        Command::Store(command) => return Ok(store::run(&command)),
        Command::Completion { shell } => complete(shell),
        Command::Version => say(concat!("aap ", env!("CARGO_PKG_VERSION"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn complete(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "aap", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
}

#[expect(clippy::print_stderr, reason = "this is the command line")]
fn complain(error: &anyhow::Error) {
    eprintln!("{}", output::marked_error(output::Style::Bad, "error:", &format!("{error:#}")));
    for detail in Failure::details_of(error) {
        eprintln!("{}", output::indented_error(detail));
    }
}

/// What the environment says, where a flag can't say it or counts before it.
#[expect(clippy::disallowed_methods, reason = "this is the command line")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints a line for people. A closed pipe is their wish.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments of all commands that stand under a heading in the help.
    fn under(heading: &str, command: &clap::Command, found: &mut Vec<String>) {
        let arguments = command.get_arguments();
        let arguments = arguments.filter(|one| one.get_help_heading() == Some(heading));
        found.extend(arguments.map(|one| format!("{} {}", command.get_name(), one.get_id())));
        command.get_subcommands().for_each(|command| under(heading, command, found));
    }

    #[test]
    fn what_the_help_has_under_server_is_about_the_server() {
        let mut found = Vec::new();
        under("Server", &Arguments::command(), &mut found);
        assert!(found.iter().any(|one| one == "tail ca"), "{found:?}");
        let servers =
            ["context", "url", "token_file", "ca", "certificate", "key", "account", "region"];
        found.retain(|one| !servers.iter().any(|server| one.ends_with(&format!(" {server}"))));
        assert!(found.is_empty(), "{found:?}");
    }
}
