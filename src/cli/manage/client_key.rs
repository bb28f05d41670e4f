//! `aap client-key`: the keys by which applications prove who they are.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Arg, Args, Subcommand};
use prost_types::Timestamp;
use tonic::Response;

use crate::{
    api::pb::{self, access_point_service_client::AccessPointServiceClient},
    clock::Clock,
};

use super::{
    super::{
        failure::Failure,
        forms::Forms,
        output::{Format, Table, print_value, print_values},
        remote::{Connection, Place, Target, answered, block_on},
        resource::{self, Kind, lower},
        say,
    },
    Address, Common, Get, Manner,
    issuing::{IssueClientKey, issue, rotate},
};

/// What to do with client keys.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make one, and write its file for the application.
    #[command(
        mut_arg("request_id", of_issuing),
        override_usage = "aap client-key issue [OPTIONS] --to <FILE> <ACCESS_POINT>"
    )]
    Issue(Box<IssueClientKey>),
    /// Take in one that was made elsewhere, by a certificate signing request.
    Import(Box<ImportClientKey>),
    /// List those of an access point.
    List(Box<ListClientKeys>),
    /// Show one; as JSON or YAML also its public key and its certificate.
    #[command(mut_arg("name", of_key))]
    Get(Box<Get>),
    /// Let a disabled one prove something again; its old sessions stay dead.
    #[command(mut_arg("name", of_key))]
    Enable(Box<Address>),
    /// Have one prove nothing, and end its sessions.
    #[command(mut_arg("name", of_key))]
    Disable(Box<Address>),
    /// Delete one, and end its sessions.
    #[command(mut_arg("name", of_key))]
    Delete(Box<Address>),
    /// Make another one to take the place of one, and say what remains to be done.
    #[command(
        mut_arg("request_id", of_issuing),
        override_usage = "aap client-key rotate [OPTIONS] --to <FILE> <ACCESS_POINT>"
    )]
    Rotate(Box<IssueClientKey>),
}

fn of_key(name: Arg) -> Arg {
    name.value_name("ACCESS_POINT/KEY").help("Its access point and its id, or its name in full")
}

fn of_issuing(request_id: Arg) -> Arg {
    request_id.help(
        "Has a repetition within 24 hours refused, instead of making another key: 1 to 64 visible \
         ASCII characters",
    )
}

/// A client key to import.
#[derive(Args, Debug)]
pub(in crate::cli) struct ImportClientKey {
    /// Its access point: the short name, or in full.
    access_point: String,
    /// A file with a certificate signing request (PKCS#10) in PEM that the key signed.
    #[arg(long, value_name = "FILE")]
    signing_request: PathBuf,
    #[command(flatten)]
    validity: Validity,
    #[command(flatten)]
    manner: Manner,
}

/// Which client keys.
#[derive(Args, Debug)]
pub(in crate::cli) struct ListClientKeys {
    /// Their access point: the short name, or in full.
    access_point: String,
    #[command(flatten)]
    common: Common,
}

/// When a key proves something.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Validity {
    /// From when on it proves something, such as 2030-01-31T12:00:00Z; without it, from now on.
    #[arg(long, value_name = "TIME", requires = "not_after")]
    not_before: Option<Timestamp>,
    /// From when on it doesn't any more; without it, in five years.
    #[arg(long, value_name = "TIME")]
    not_after: Option<Timestamp>,
}

impl Validity {
    /// The times as the API wants them: both or none.
    pub(super) fn times(self) -> (Option<Timestamp>, Option<Timestamp>) {
        let Self { not_before, not_after } = self;
        let now = |_| Timestamp { seconds: Clock::system().now().seconds(), nanos: 0 };
        (not_before.or(not_after.map(now)), not_after)
    }
}

/// What is between an access point's name and a client key's.
const COLLECTION: &str = "/clientKeys/";

/// The most that a page of a list has.
const PAGE: i32 = 1_000;

pub(in crate::cli) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Issue(arguments) => issue(&arguments),
        Command::Import(arguments) => import(&arguments),
        Command::List(arguments) => list(&arguments),
        Command::Get(arguments) => get(&arguments),
        Command::Enable(address) => change(&address, "enabled", enable),
        Command::Disable(address) => change(&address, "disabled", disable),
        Command::Delete(address) => delete(&address),
        Command::Rotate(arguments) => rotate(&arguments),
    }
}

/// The client of the service that has them.
pub(super) fn client(connection: &Connection) -> AccessPointServiceClient<Connection> {
    AccessPointServiceClient::new(connection.clone())
}

/// The full name of a key, of `ACCESS_POINT/KEY` or of its full name.
fn full_name(place: &Place, text: &str) -> anyhow::Result<String> {
    if text.starts_with("accounts/") {
        return Ok(text.to_owned());
    }
    let Some((access_point, id)) = text.split_once('/') else {
        let remedy = "it is ACCESS_POINT/KEY, such as `app/KAAP.…`, or its full name".to_owned();
        return Err(Failure::invalid(format!("`{text}` is no client key"), vec![remedy]).into());
    };
    Ok(format!("{}{COLLECTION}{id}", Kind::AccessPoint.name(place, access_point)?))
}

/// A key as people call it: `ACCESS_POINT/KEY`.
pub(super) fn short(name: &str) -> String {
    let (access_point, id) = name.split_once(COLLECTION).unwrap_or((name, ""));
    format!("{}/{id}", resource::short(access_point))
}

fn import(arguments: &ImportClientKey) -> anyhow::Result<()> {
    let ImportClientKey { access_point, signing_request, validity, manner } = arguments;
    let Manner { validate_only, request_id, common: Common { output, remote } } = manner;
    let target = remote.target()?;
    let (not_before_time, not_after_time) = validity.times();
    let request = pb::ImportClientKeyRequest {
        parent: Kind::AccessPoint.name(&target.place, access_point)?,
        signing_request_pem: fs::read_to_string(signing_request)
            .with_context(|| format!("can't read `{}`", signing_request.display()))?,
        not_before_time,
        not_after_time,
        request_id: request_id.clone(),
        validate_only: *validate_only,
    };
    let key = ask(&target, async |mut client| client.import_client_key(request).await)?;
    tell(output.format, &key, "imported")
}

fn list(arguments: &ListClientKeys) -> anyhow::Result<()> {
    let ListClientKeys { access_point, common: Common { output, remote } } = arguments;
    let target = remote.target()?;
    let parent = Kind::AccessPoint.name(&target.place, access_point)?;
    let keys = block_on(async { keys_of(&target.connect().await?, &parent).await })?;
    if output.format == Format::Table {
        table(&keys).print();
        return Ok(());
    }
    let forms = Forms::load()?;
    let value = |key: &pb::ClientKey| forms.value("aap.v1.ClientKey", key);
    let values: Vec<_> = keys.iter().map(value).collect::<Result<_, _>>()?;
    print_values(output.format, &values)
}

/// All client keys of an access point.
pub(super) async fn keys_of(
    connection: &Connection,
    parent: &str,
) -> anyhow::Result<Vec<pb::ClientKey>> {
    let (mut keys, mut page_token) = (Vec::new(), String::new());
    loop {
        let parent = parent.to_owned();
        let request = pb::ListClientKeysRequest { parent, page_size: PAGE, page_token };
        let page = answered(client(connection).list_client_keys(request).await)?;
        keys.extend(page.client_keys);
        if page.next_page_token.is_empty() {
            return Ok(keys);
        }
        page_token = page.next_page_token;
    }
}

/// Keys as lines, which fit on a terminal with all of a key's id: it can be copied.
pub(super) fn table(keys: &[pb::ClientKey]) -> Table {
    let mut table = Table::new(["KEY", "STATE", "GOOD UNTIL", "LAST USED"]);
    for key in keys {
        let id = resource::short(&key.name).to_owned();
        let state = lower(key.state().as_str_name(), "CLIENT_KEY_STATE_");
        let end = day(key.not_after_time.as_ref());
        table.row([
            id,
            state,
            end,
            key.last_use_time.as_ref().map_or("never".to_owned(), |time| day(Some(time))),
        ]);
    }
    table
}

/// The day of a time, in UTC.
fn day(time: Option<&Timestamp>) -> String {
    let text = time.map(ToString::to_string).unwrap_or_default();
    text.split('T').next().unwrap_or_default().to_owned()
}

fn get(arguments: &Get) -> anyhow::Result<()> {
    let Get { name, common: Common { output, remote } } = arguments;
    let target = remote.target()?;
    let request = pb::GetClientKeyRequest { name: full_name(&target.place, name)? };
    let key = ask(&target, async |mut client| client.get_client_key(request).await)?;
    let mut value = Forms::load()?.value("aap.v1.ClientKey", &key)?;
    if let (Format::Table, Some(parts)) = (output.format, value.as_object_mut()) {
        // Texts of many lines are for tools.
        parts.retain(|name, _| !name.ends_with("Pem"));
    }
    print_value(output.format, &value)
}

type Answer = Result<Response<pb::ClientKey>, tonic::Status>;

async fn enable(
    mut client: AccessPointServiceClient<Connection>,
    (name, etag, request_id, validate_only): (String, String, String, bool),
) -> Answer {
    let request = pb::EnableClientKeyRequest { name, etag, request_id, validate_only };
    client.enable_client_key(request).await
}

async fn disable(
    mut client: AccessPointServiceClient<Connection>,
    (name, etag, request_id, validate_only): (String, String, String, bool),
) -> Answer {
    let request = pb::DisableClientKeyRequest { name, etag, request_id, validate_only };
    client.disable_client_key(request).await
}

fn change(
    address: &Address,
    verb: &str,
    changing: impl AsyncFnOnce(
        AccessPointServiceClient<Connection>,
        (String, String, String, bool),
    ) -> Answer,
) -> anyhow::Result<()> {
    let Address { name, etag, manner } = address;
    let Manner { validate_only, request_id, common: Common { output, remote } } = manner;
    let target = remote.target()?;
    let name = full_name(&target.place, name)?;
    let wanted = (name, etag.clone(), request_id.clone(), *validate_only);
    let key = ask(&target, async |client| changing(client, wanted).await)?;
    tell(output.format, &key, verb)
}

fn delete(address: &Address) -> anyhow::Result<()> {
    let Address { name, etag, manner } = address;
    let Manner { validate_only, request_id, common: Common { output, remote } } = manner;
    let target = remote.target()?;
    let name = full_name(&target.place, name)?;
    let request = pb::DeleteClientKeyRequest {
        name: name.clone(),
        etag: etag.clone(),
        request_id: request_id.clone(),
        validate_only: *validate_only,
    };
    ask(&target, async |mut client| client.delete_client_key(request).await)?;
    let done = if *validate_only { "would be deleted" } else { "deleted" };
    match output.format {
        Format::Table => say(format_args!("client key `{}` {done}", short(&name))),
        Format::Json | Format::Yaml | Format::Name => say(name),
    }
    Ok(())
}

/// Asks the service that has them.
pub(super) fn ask<T>(
    target: &Target,
    asking: impl AsyncFnOnce(AccessPointServiceClient<Connection>) -> Result<Response<T>, tonic::Status>,
) -> anyhow::Result<T> {
    block_on(async { answered(asking(client(&target.connect().await?)).await) })
}

/// Says what became of a key.
pub(super) fn tell(output: Format, key: &pb::ClientKey, verb: &str) -> anyhow::Result<()> {
    if output == Format::Table {
        let name = match key.name.as_str() {
            // What is only judged has no name.
            "" => "client key".to_owned(),
            name => format!("client key `{}`", short(name)),
        };
        say(match key.revision {
            0 => format!("{name} would be {verb}"),
            revision => format!("{name} {verb} at revision {revision}"),
        });
        if let Some(end) = key.not_after_time {
            say(format_args!("good until {end}"));
        }
        return Ok(());
    }
    print_value(output, &Forms::load()?.value("aap.v1.ClientKey", key)?)
}
