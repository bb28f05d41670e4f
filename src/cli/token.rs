//! `aap token`.

use anyhow::Context;
use clap::Subcommand;

use crate::identity::token::NewToken;

use super::{dev, environment, failure::Failure, manage::TrustedRole, say};

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a bearer token: the token is for the caller, its digest for the configuration.
    New,
    /// Make a token that says that its bearer runs under a RAM role, by the issuer of a running
    /// `aap serve --dev`: for who tries that way out.
    Role {
        /// The role's id.
        role: String,
        /// The type of environment that the token vouches for.
        #[arg(long, value_enum, value_name = "TYPE", default_value_t = TrustedRole::EcsInstance)]
        trusted_role: TrustedRole,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::New => {
            let token = NewToken::make().context("can't make a token")?;
            say(format_args!("token        {}", token.reveal()));
            say(format_args!("token_sha256 {}", token.digest()));
            Ok(())
        }
        Command::Role { role, trusted_role } => {
            let key = environment(dev::ISSUER_KEY).ok_or_else(|| {
                let remedy = "read the `aap-dev.env` of a running `aap serve --dev`".to_owned();
                Failure::invalid(format!("`{}` is not set", dev::ISSUER_KEY), vec![remedy])
            })?;
            say(dev::role_token(&key, role, (*trusted_role).into())?.reveal());
            Ok(())
        }
    }
}
