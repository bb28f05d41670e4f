//! `aap audit cursor`: places in the audit log that the server keeps.

mod read;

use clap::{ArgGroup, Args, Subcommand};
use prost_types::Timestamp;

use crate::{
    api::pb::{self, audit_service_client::AuditServiceClient, create_audit_cursor_request::Start},
    cli::{
        forms::Forms,
        output::{Format, Output, Table, print_value, print_values},
        remote::{Connection, Place, Remote, Target, answered, block_on},
        resource::short,
        say,
    },
};

use super::filter::Filter;

/// The most that a page of a list has.
const PAGE: i32 = 1_000;
const COLLECTION: &str = "auditCursors";

/// What to do with cursors.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Create one: of the account, or over the records of all accounts.
    Create(Box<Create>),
    /// Show how far one has come, who reads by it, and what it has missed.
    Get(Box<Get>),
    /// List those of the account, or those over all accounts.
    List(Box<List>),
    /// Delete one; who reads by it is told.
    Delete(Box<Delete>),
    /// Show records by one as they come, and acknowledge what was shown; goes on after a lost
    /// connection, and at the next start, behind what is acknowledged.
    Read(Box<read::Arguments>),
}

/// What every command has.
#[derive(Args, Debug)]
struct Common {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    at: At,
}

/// Whose cursors.
#[derive(Args, Debug)]
struct At {
    /// A cursor over the records of all accounts: for auditors of all accounts.
    #[arg(long)]
    all_accounts: bool,
    #[command(flatten)]
    remote: Remote,
}

/// A cursor to create.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("start").args(["from", "since"])))]
pub(in crate::cli) struct Create {
    /// Its name: short, or in full.
    name: String,
    /// Begin with this record; without it, with what comes from now on.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Begin with the first record of this time or later, such as 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only judge it: say what there would be, and create nothing.
    #[arg(long)]
    validate_only: bool,
    /// Makes it safe to repeat as long as the cursor exists: 1 to 64 visible ASCII characters.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Only records of this account, of a cursor over all accounts; may be repeated, as all filters
    /// may.
    #[arg(long, value_name = "ACCOUNT")]
    of_account: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    common: Common,
}

/// Which cursor.
#[derive(Args, Debug)]
pub(in crate::cli) struct Get {
    /// Its name: short, or in full.
    name: String,
    #[command(flatten)]
    common: Common,
}

/// Which cursors.
#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    common: Common,
}

/// A cursor to delete.
#[derive(Args, Debug)]
pub(in crate::cli) struct Delete {
    /// Its name: short, or in full.
    name: String,
    /// Only if this is still its uid.
    #[arg(long, default_value = "", hide_default_value = true)]
    uid: String,
    /// Only judge it, and delete nothing.
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    at: At,
}

pub(in crate::cli) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => create(arguments),
        Command::Get(arguments) => get(arguments),
        Command::List(arguments) => list(arguments),
        Command::Delete(arguments) => delete(arguments),
        Command::Read(arguments) => read::run(arguments),
    }
}

impl At {
    /// The server, and what its cursors are in: an account, or nothing.
    fn target(&self) -> anyhow::Result<(Target, Parent)> {
        let Self { all_accounts, remote } = self;
        let target = remote.target()?;
        let parent = Parent { all_accounts: *all_accounts, place: target.place.clone() };
        Ok((target, parent))
    }
}

/// What short names are in.
struct Parent {
    all_accounts: bool,
    place: Place,
}

impl Parent {
    /// Its name: an account's, or nothing.
    fn name(&self) -> anyhow::Result<String> {
        if self.all_accounts { Ok(String::new()) } else { self.place.account() }
    }

    /// The full name of a cursor, of its short or its full name.
    fn cursor(&self, text: &str) -> anyhow::Result<String> {
        if text.contains('/') {
            return Ok(text.to_owned());
        }
        let parent = self.name()?;
        let parent = if parent.is_empty() { parent } else { format!("{parent}/") };
        Ok(format!("{parent}{COLLECTION}/{text}"))
    }
}

/// What a full name is made of: its parent's name and its id.
fn parts(name: &str) -> (String, String) {
    let (parent, id) = name.rsplit_once('/').unwrap_or(("", name));
    let parent = parent.strip_suffix(COLLECTION).unwrap_or(parent).trim_end_matches('/');
    (parent.to_owned(), id.to_owned())
}

async fn connect(target: &Target) -> anyhow::Result<AuditServiceClient<Connection>> {
    Ok(AuditServiceClient::new(target.connect().await?))
}

fn create(arguments: &Create) -> anyhow::Result<()> {
    let Create { name, from, since, validate_only, request_id, of_account, filter, common } =
        arguments;
    let (target, parent) = common.at.target()?;
    let (parent, audit_cursor_id) = parts(&parent.cursor(name)?);
    let start = match (from, since) {
        (Some(sequence), _) => Start::FromSequence(*sequence),
        (None, Some(time)) => Start::FromTime(*time),
        (None, None) => Start::FromEnd(pb::FromEnd {}),
    };
    let audit_cursor = pb::AuditCursor { filter: filter.wanted(of_account), ..Default::default() };
    let request = pb::CreateAuditCursorRequest {
        parent,
        audit_cursor_id,
        audit_cursor: Some(audit_cursor),
        start: Some(start),
        log_id: String::new(),
        request_id: request_id.clone(),
        validate_only: *validate_only,
    };
    let created =
        block_on(async { answered(connect(&target).await?.create_audit_cursor(request).await) })?;
    if common.output.format == Format::Table {
        let verb = if *validate_only { "would be created" } else { "created" };
        let (name, start) = (short(&created.name), created.start_sequence);
        say(format_args!("audit cursor `{name}` {verb}: it begins with record {start}"));
        return Ok(());
    }
    print(common.output.format, &created)
}

fn get(arguments: &Get) -> anyhow::Result<()> {
    let Get { name, common } = arguments;
    let (target, parent) = common.at.target()?;
    let request = pb::GetAuditCursorRequest { name: parent.cursor(name)? };
    let found =
        block_on(async { answered(connect(&target).await?.get_audit_cursor(request).await) })?;
    print(common.output.format, &found)
}

fn print(output: Format, cursor: &pb::AuditCursor) -> anyhow::Result<()> {
    print_value(output, &Forms::load()?.value("aap.v1.AuditCursor", cursor)?)
}

fn list(arguments: &List) -> anyhow::Result<()> {
    let List { common: Common { output, at } } = arguments;
    let (target, parent) = at.target()?;
    let parent = parent.name()?;
    let found = block_on(async {
        let mut client = connect(&target).await?;
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                pb::ListAuditCursorsRequest { parent: parent.clone(), page_size: PAGE, page_token };
            let page = answered(client.list_audit_cursors(request).await)?;
            found.extend(page.audit_cursors);
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = page.next_page_token;
        }
    })?;
    if output.format == Format::Table {
        let mut table = Table::new(["NAME", "THROUGH", "MISSED", "READER"]);
        for cursor in &found {
            table.row(row(cursor));
        }
        table.print();
        return Ok(());
    }
    let forms = Forms::load()?;
    let value = |cursor: &pb::AuditCursor| forms.value("aap.v1.AuditCursor", cursor);
    print_values(output.format, &found.iter().map(value).collect::<Result<Vec<_>, _>>()?)
}

fn row(cursor: &pb::AuditCursor) -> [String; 4] {
    let reader = cursor.reader.as_ref().map(|reader| match &reader.lease_expire_time {
        Some(until) => format!("{} until {until}", reader.caller),
        None => reader.caller.clone(),
    });
    [
        short(&cursor.name).to_owned(),
        cursor.acknowledged_through.to_string(),
        cursor.missed_count.to_string(),
        reader.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn delete(arguments: &Delete) -> anyhow::Result<()> {
    let Delete { name, uid, validate_only, at } = arguments;
    let (target, parent) = at.target()?;
    let name = parent.cursor(name)?;
    let request = pb::DeleteAuditCursorRequest {
        name: name.clone(),
        uid: uid.clone(),
        validate_only: *validate_only,
    };
    block_on(async { answered(connect(&target).await?.delete_audit_cursor(request).await) })?;
    let verb = if *validate_only { "would be deleted" } else { "deleted" };
    say(format_args!("audit cursor `{}` {verb}", short(&name)));
    Ok(())
}
