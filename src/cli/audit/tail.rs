//! `aap audit tail`: records as they come, for people and for programs.

use std::{
    io::{self, BufWriter, ErrorKind, IsTerminal as _, Write},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    api::{
        self,
        audit_entry::AuditEntry,
        pb::{self, audit_service_client::AuditServiceClient, watch_audit_records_request::Start},
    },
    cli::{
        complain, environment,
        remote::{Connection, Server},
    },
};

use super::line::{self, Colors};

/// How long it waits before it connects again, at first and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The most bytes of a message: some records more than the server sends.
const MAX_MESSAGE_BYTES: usize = 16 * 1_024 * 1_024;

/// What to show.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("start").args(["from", "since"])))]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Begin with this record; without it, with what comes from now on.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Begin with the first record of this time or later, such as 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// One line of JSON for each record: an `aap.v1.AuditEntry` as protobuf's JSON has it.
    #[arg(long)]
    json: bool,
    /// Only records of this account; may be repeated, as all filters may.
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
    /// Only checks about this access point, by its full name.
    #[arg(long, value_name = "NAME")]
    access_point: Vec<String>,
    /// Only this kind: check, refused-call, server-start, server-stop, configuration-load, gap,
    /// audit-read.
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    kind: Vec<pb::AuditRecordKind>,
    /// Only checks with this outcome: allow or deny.
    #[arg(long, value_name = "OUTCOME", value_parser = parse_outcome)]
    outcome: Vec<pb::Outcome>,
    /// Only checks with this reason, such as resource-not-covered.
    #[arg(long, value_name = "REASON", value_parser = parse_reason)]
    reason: Vec<pb::DecisionReason>,
    /// Only checks of this action.
    #[arg(long, value_name = "ACTION")]
    action: Vec<String>,
    /// Only checks of resources that begin with this.
    #[arg(long, value_name = "PREFIX")]
    resource: Vec<String>,
}

/// The value of an enum of the API for what stands on the command line.
fn parse<T>(prefix: &str, text: &str, from: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let name = format!("{prefix}_{}", text.to_ascii_uppercase().replace('-', "_"));
    from(&name)
        .filter(|_| !name.ends_with("_UNSPECIFIED"))
        .ok_or_else(|| "there is none such".into())
}

fn parse_kind(text: &str) -> Result<pb::AuditRecordKind, String> {
    parse("AUDIT_RECORD_KIND", text, pb::AuditRecordKind::from_str_name)
}

fn parse_outcome(text: &str) -> Result<pb::Outcome, String> {
    parse("OUTCOME", text, pb::Outcome::from_str_name)
}

fn parse_reason(text: &str) -> Result<pb::DecisionReason, String> {
    parse("DECISION_REASON", text, pb::DecisionReason::from_str_name)
}

/// Shows records until it is told to stop, nobody reads them any more, or it can't go on.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tail = Tail::new(arguments).await?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("can't wait for a signal"),
            shown = tail.run() => match shown {
                Err(error) if is_closed_pipe(&error) => Ok(()),
                shown => shown,
            },
        }
    })
}

/// Whether nobody reads any more: that is their wish.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// How records are written.
enum Form {
    People(Colors),
    Json(MessageDescriptor),
}

struct Tail {
    client: AuditServiceClient<Connection>,
    server: String,
    filter: Option<pb::AuditRecordFilter>,
    start: Start,
    log_id: Option<String>,
    form: Form,
}

impl Tail {
    async fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let target = arguments.server.target_anywhere()?;
        let client = AuditServiceClient::new(target.connect_at_need().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let start = match (arguments.from, arguments.since) {
            (Some(sequence), _) => Start::FromSequence(sequence),
            (None, Some(time)) => Start::FromTime(time),
            (None, None) => Start::FromEnd(pb::FromEnd {}),
        };
        let form = if arguments.json {
            let pool = DescriptorPool::decode(api::FILE_DESCRIPTOR_SET)?;
            let form = pool.get_message_by_name("aap.v1.AuditEntry");
            Form::Json(form.context("the API has no entries")?)
        } else {
            let is_plain = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colors =
                if io::stdout().is_terminal() && !is_plain { Colors::Yes } else { Colors::No };
            Form::People(colors)
        };
        let (server, filter) = (target.shown(), arguments.filter());
        Ok(Self { client, server, filter, start, log_id: None, form })
    }

    /// Goes on until nobody reads any more, or the server refuses.
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut wait = WAITS.0;
        loop {
            let began = self.log_id.is_some();
            let ended = self.follow(&mut wait).await?;
            if let Some(first) = ended.as_ref().and_then(first_kept) {
                self.skip_to(first)?;
                continue;
            }
            if let Some(status) = &ended
                && (!began && self.log_id.is_none() || !may_pass(status))
            {
                bail!("{}: {} ({:?})", self.server, status.message(), status.code());
            }
            let why = ended.as_ref().map_or("the stream has ended", Status::message);
            let server = &self.server;
            complain(&anyhow::anyhow!("lost {server}: {why}; going on in {wait:?} where it was"));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Watches until the watch ends; tells what ended it.
    async fn follow(&mut self, wait: &mut Duration) -> anyhow::Result<Option<Status>> {
        let request = pb::WatchAuditRecordsRequest {
            form: pb::RecordForm::Message.into(),
            start: Some(self.start),
            filter: self.filter.clone(),
            log_id: self.log_id.clone().unwrap_or_default(),
        };
        let mut messages = match self.client.watch_audit_records(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Ok(Some(status)),
        };
        loop {
            match messages.message().await {
                Ok(Some(message)) => self.take(message)?,
                Ok(None) => return Ok(None),
                Err(status) => return Ok(Some(status)),
            }
            *wait = WAITS.0;
        }
    }

    fn take(&mut self, message: pb::WatchAuditRecordsResponse) -> anyhow::Result<()> {
        let pb::WatchAuditRecordsResponse { entries, scanned, log_id } = message;
        if self.log_id.get_or_insert_with(|| log_id.clone()) != &log_id {
            bail!("{} has another log now, {log_id}: begin anew", self.server);
        }
        let mut out = BufWriter::new(io::stdout().lock());
        for entry in &entries {
            self.form.write(entry, &mut out)?;
        }
        out.flush()?;
        let through = scanned.context("a message doesn't say how far it goes")?.through;
        self.start = Start::FromSequence(through + 1);
        Ok(())
    }

    /// Goes on with the first record that is kept, if those before it are gone.
    fn skip_to(&mut self, first: u64) -> anyhow::Result<()> {
        match self.start {
            Start::FromSequence(next) if next < first => {
                complain(&anyhow::anyhow!("records {next} to {} are gone", first - 1));
                self.start = Start::FromSequence(first);
                Ok(())
            }
            Start::FromSequence(next) => bail!("{} has no record {next} yet", self.server),
            _ => bail!("{} refused where to begin", self.server),
        }
    }
}

impl Form {
    fn write(&self, entry: &AuditEntry, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::People(colors) => writeln!(out, "{}", line::of(entry, *colors))?,
            Self::Json(form) => {
                let message = DynamicMessage::decode(form.clone(), &*entry.encode_to_vec())?;
                let mut line = Vec::new();
                let mut serializer = serde_json::Serializer::new(&mut line);
                message.serialize_with_options(&mut serializer, &SerializeOptions::new())?;
                line.push(b'\n');
                out.write_all(&line)?;
            }
        }
        Ok(())
    }
}

impl Arguments {
    /// The filter, unless everything is wanted.
    fn filter(&self) -> Option<pb::AuditRecordFilter> {
        let filter = pb::AuditRecordFilter {
            accounts: self.account.clone(),
            access_points: self.access_point.clone(),
            kinds: self.kind.iter().map(|kind| (*kind).into()).collect(),
            outcomes: self.outcome.iter().map(|outcome| (*outcome).into()).collect(),
            reasons: self.reason.iter().map(|reason| (*reason).into()).collect(),
            actions: self.action.clone(),
            resource_prefixes: self.resource.clone(),
        };
        (filter != pb::AuditRecordFilter::default()).then_some(filter)
    }
}

/// The first record that is kept, if a watch was refused because it isn't where the log is.
fn first_kept(status: &Status) -> Option<u64> {
    if status.code() != Code::OutOfRange {
        return None;
    }
    status.get_details_error_info()?.metadata.get("first")?.parse().ok()
}

/// Whether it may go well another time.
fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}
