//! `aap session`: what an application does to show who it is, for people and scripts, and how an
//! operator ends it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Arg, ArgGroup, Args, Subcommand, ValueEnum};
use tonic::{Code, Status};

use crate::{
    api::pb::{self, create_session_request::Proof, session_service_client::SessionServiceClient},
    clock::Clock,
    entropy,
    identity::{
        assertion::making::{NewAssertion, Wanted},
        client_key::{file::Content, generation::PrivateKey, pkcs12::reading},
    },
};

use super::{
    failure::Failure,
    forms::Forms,
    manage::{Address, access_point},
    output::{Format, print_value},
    remote::{Remote, Target, block_on},
    resource::Kind,
    say,
    secrets::{self, PasswordSource, read_password},
};

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Get one as the application that has a client key or a role token, and print its token.
    Create(Box<CreateSession>),
    /// End all sessions of an access point, without keeping it from new ones.
    #[command(mut_arg("name", of_access_point))]
    Revoke(Box<Address>),
}

fn of_access_point(name: Arg) -> Arg {
    name.value_name("ACCESS_POINT").help("The access point: its short name, or in full")
}

/// A session to ask for. Needs no caller's credentials: a token is not even read.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("proof").required(true).args(["client_key", "role_token"])),
    override_usage = CREATE_USAGE
)]
#[expect(clippy::doc_markdown, reason = "the help has no backticks where clap has none")]
pub(super) struct CreateSession {
    /// The application's access point: its short name, or in full.
    access_point: String,
    /// Its client-key file.
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// A file with a token, in its first line, of an issuer that vouches for its RAM role; `-` is the
    /// standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["password_file", "audience"])]
    role_token: Option<PathBuf>,
    /// A file with the client key's password in its first line; `-` is the standard input. Without
    /// it, the terminal is asked.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What the server is called in assertions, `sessions.audience` in its configuration [env:
    /// AAP_AUDIENCE]
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// How long it is to last at most, in seconds: 1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    lifetime: u32,
    /// In which form to print.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
    #[command(flatten)]
    remote: Remote,
}

const CREATE_USAGE: &str = "\
aap session create [OPTIONS] --client-key <FILE> <ACCESS_POINT>
       aap session create [OPTIONS] --role-token <FILE> <ACCESS_POINT>";

/// In which form to print a session.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Form {
    /// Its token alone.
    #[default]
    Token,
    /// As the API has it in JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => create(arguments),
        Command::Revoke(address) => access_point::revoke_sessions(address),
    }
}

fn create(arguments: &CreateSession) -> anyhow::Result<()> {
    let CreateSession { access_point, output, lifetime, .. } = arguments;
    let target = arguments.remote.target_without_token()?;
    let access_point = Kind::AccessPoint.name(&target.place, access_point)?;
    let request = pb::CreateSessionRequest {
        access_point,
        proof: Some(arguments.proof(&target)?),
        lifetime_seconds: i32::try_from(*lifetime).unwrap_or(i32::MAX),
    };
    let session = block_on(async {
        let mut client = SessionServiceClient::new(target.connect().await?);
        Ok(client.create_session(request).await.map_err(refused)?.into_inner())
    })?;
    let value = || Forms::load()?.value("aap.v1.Session", &session);
    match output {
        Form::Token => say(&session.token),
        Form::Json => print_value(Format::Json, &value()?)?,
        Form::Yaml => print_value(Format::Yaml, &value()?)?,
    }
    Ok(())
}

/// Who isn't believed isn't told why.
fn refused(status: Status) -> Failure {
    match status.code() {
        Code::Unauthenticated => Failure::from(status)
            .and("why is in the server's audit log, and told to nobody else")
            .and("what is signed in the first seconds after the server's start is refused, too"),
        _ => Failure::from(status),
    }
}

impl CreateSession {
    fn proof(&self, target: &Target) -> anyhow::Result<Proof> {
        match (&self.client_key, &self.role_token) {
            (Some(client_key), _) => {
                let audience = self.audience(target)?;
                let (key_id, key) = open(client_key, self.password_file.as_deref())?;
                let wanted = Wanted {
                    key_id: &key_id,
                    audience: &audience,
                    now: Clock::system().now(),
                    id: entropy::uuid()?,
                };
                let assertion = NewAssertion::make(&key, &wanted)?;
                Ok(Proof::ClientKeyAssertion(assertion.reveal().to_owned()))
            }
            (None, Some(file)) => Ok(Proof::RoleToken(secrets::read_token(file)?.to_string())),
            // Without either, clap has asked for one.
            (None, None) => Err(Failure::invalid("what proves it?", Vec::new()).into()),
        }
    }

    /// What the server is called, by the flag, the environment or the context.
    fn audience(&self, target: &Target) -> anyhow::Result<String> {
        let named = self.audience.clone().or_else(|| target.audience.clone());
        let remedy = "name it with --audience, in AAP_AUDIENCE or in the context".to_owned();
        Ok(named.ok_or_else(|| Failure::invalid("what is the server called?", vec![remedy]))?)
    }
}

/// Opens a client-key file: the key's id, and the key.
fn open(path: &Path, password_file: Option<&Path>) -> anyhow::Result<(String, PrivateKey)> {
    let shown = path.display();
    let text = secrets::read(path)?;
    let Content { key_id, pkcs12 } = Content::parse(&text)
        .map_err(|error| Failure::invalid(format!("can't open `{shown}`: {error}"), Vec::new()))?;
    let password = read_password(match password_file {
        Some(file) => PasswordSource::File(file),
        None => PasswordSource::Terminal,
    })?;
    let private = reading::private_key(&pkcs12, &password)
        .map_err(|error| Failure::invalid(format!("can't open `{shown}`: {error}"), Vec::new()))?;
    let key = PrivateKey::from_pkcs8(&private)
        .with_context(|| format!("can't use what is in `{shown}`"))?;
    Ok((key_id, key))
}
