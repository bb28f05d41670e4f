//! `aap token`.

use anyhow::Context;
use clap::Subcommand;

use crate::identity::token::NewToken;

use super::say;

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a bearer token: the token is for the caller, its digest for the configuration.
    New,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::New => {
            let token = NewToken::make().context("can't make a token")?;
            say(format_args!("token        {}", token.reveal()));
            say(format_args!("token_sha256 {}", token.digest()));
            Ok(())
        }
    }
}
