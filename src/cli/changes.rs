//! `aap changes`: who changed what, and when; and evidence of it.

mod evidence;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use crate::{
    api::pb::{self, change_service_client::ChangeServiceClient, watch_changes_request::Start},
    domain::name::ResourceName,
};

use super::{
    evidence::Verdict,
    failure::Failure,
    forms::Forms,
    output::{Format, Output, Table, clean, print_value, print_values},
    remote::{Remote, answered, block_on},
    resource::{changed, short},
    say,
};

/// What to do with changes.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the changes of an account, the last one first.
    List(Box<List>),
    /// Show changes as they are made; as JSON, a change a line.
    Tail(Box<Tail>),
    /// Print the public key that verifies the journal's checkpoints, to be kept where the journal
    /// isn't.
    Key(evidence::KeyArguments),
    /// Print the journal's last checkpoint, to be kept where the journal isn't.
    Checkpoint(Box<evidence::CheckpointArguments>),
    /// Export changes with what proves them.
    Export(Box<evidence::ExportArguments>),
    /// Verify an export without the server. Exits with 0 if everything is as it was signed, with 1 if
    /// not, and with 2 if it can't be told.
    Verify(evidence::VerifyArguments),
}

/// Which changes.
#[derive(Args, Debug)]
pub(super) struct List {
    /// The most to list.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Only those of this resource, by its full name.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    resource: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// From where on.
#[derive(Args, Debug)]
pub(super) struct Tail {
    /// Begin with this revision; without it, with the next change.
    #[arg(long, value_name = "REVISION")]
    from: Option<u64>,
    /// Of all accounts that the caller is bound to.
    #[arg(long)]
    all_accounts: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(arguments) => list(arguments)?,
        Command::Tail(arguments) => tail(arguments)?,
        Command::Key(arguments) => evidence::print_key(arguments)?,
        Command::Checkpoint(arguments) => evidence::print_checkpoint(arguments)?,
        Command::Export(arguments) => evidence::export(arguments)?,
        Command::Verify(arguments) => return Ok(Verdict::tell(evidence::verify(arguments))),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(arguments: &List) -> anyhow::Result<()> {
    let List { limit, resource, output, remote } = arguments;
    if !resource.is_empty() && ResourceName::parse(resource).is_err() {
        let wrong = format!("`{resource}` is no full name of a resource");
        return Err(Failure::invalid(wrong, Vec::new()).into());
    }
    let target = remote.target()?;
    let parent = target.place.account()?;
    let changes = block_on(async {
        let mut client = ChangeServiceClient::new(target.connect().await?);
        let (mut changes, mut page_token) = (Vec::new(), String::new());
        loop {
            let left = limit.saturating_sub(changes.len()).min(1_000);
            let request = pb::ListChangesRequest {
                parent: parent.clone(),
                page_size: i32::try_from(left).unwrap_or(i32::MAX),
                page_token,
                resource: resource.clone(),
                form: pb::ChangeForm::Message.into(),
            };
            let page = answered(client.list_changes(request).await)?;
            changes.extend(page.changes);
            if page.next_page_token.is_empty() || changes.len() >= *limit {
                changes.truncate(*limit);
                return Ok(changes);
            }
            page_token = page.next_page_token;
        }
    })?;
    if output.format == Format::Table {
        let mut table = Table::new(["REVISION", "TIME", "BY", "WHAT", "NAME"]);
        for change in changes {
            table.row(row(change));
        }
        table.print();
        return Ok(());
    }
    let forms = Forms::load()?;
    if output.format == Format::Name {
        for change in changes {
            say(name(change));
        }
        return Ok(());
    }
    let value = |change| forms.value("aap.v1.Change", change);
    print_values(output.format, &changes.iter().map(value).collect::<Result<Vec<_>, _>>()?)
}

fn tail(arguments: &Tail) -> anyhow::Result<()> {
    let Tail { from, all_accounts, output, remote } = arguments;
    let target = remote.target()?;
    let parent = if *all_accounts { "accounts/-".to_owned() } else { target.place.account()? };
    let start = from.map_or(Start::FromLastRevision(pb::FromLastRevision {}), Start::FromRevision);
    let forms = Forms::load()?;
    let shown = async {
        let mut client = ChangeServiceClient::new(target.connect().await?);
        let form = pb::ChangeForm::Message.into();
        let request = pb::WatchChangesRequest { parent, start: Some(start), form };
        let mut messages = answered(client.watch_changes(request).await)?;
        while let Some(message) = messages.message().await.map_err(Failure::from)? {
            for change in message.changes {
                show(output.format, &forms, change)?;
            }
        }
        bail!("the server has ended the stream")
    };
    block_on(async {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("can't wait for a signal"),
            ended = shown => ended,
        }
    })
}

fn show(output: Format, forms: &Forms, change: pb::Change) -> anyhow::Result<()> {
    match output {
        Format::Table => say(clean(&row(change).join("  "))),
        Format::Name => say(name(change)),
        Format::Json => say(forms.value("aap.v1.Change", &change)?),
        Format::Yaml => {
            say("---");
            print_value(output, &forms.value("aap.v1.Change", &change)?)?;
        }
    }
    Ok(())
}

fn row(change: pb::Change) -> Vec<String> {
    let pb::Change { revision, change_time, actor, request_id: _, change, serialized_event: _ } =
        change;
    let time = change_time.map(|time| time.to_string()).unwrap_or_default();
    let (what, name) = change.map(changed).map_or_else(Default::default, |changed| {
        (format!("{} {}", changed.kind, changed.verb), short(&changed.name).to_owned())
    });
    vec![revision.to_string(), time, actor, what, name]
}

fn name(change: pb::Change) -> String {
    change.change.map(changed).map(|changed| changed.name).unwrap_or_default()
}
