//! `aap audit tail`: records as they come, for people and for programs.

use std::{
    io::{self, BufWriter},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    api::pb::{self, audit_service_client::AuditServiceClient, watch_audit_records_request::Start},
    cli::{
        complain,
        failure::Failure,
        remote::{Connection, Server},
    },
};

use super::{
    filter::Filter,
    showing::{Form, MAX_MESSAGE_BYTES, WAITS, is_closed_pipe, may_pass},
};

/// What to show.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("start").args(["from", "since"])))]
pub(in crate::cli) struct Arguments {
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
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    server: Server,
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
        let form = Form::new(arguments.json)?;
        let (server, filter) = (target.shown(), arguments.filter.wanted(&arguments.account));
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
                return Err(Failure::from(status.clone())).context(self.server.clone());
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
        self.form.write_all(&entries, &mut BufWriter::new(io::stdout().lock()))?;
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
            Start::FromSequence(next) => {
                let message = format!("{} has no record {next} yet", self.server);
                Err(Failure::invalid(message, Vec::new()).into())
            }
            _ => {
                let message = format!("{} refused where to begin", self.server);
                Err(Failure::invalid(message, Vec::new()).into())
            }
        }
    }
}

/// The first record that is kept, if a watch was refused because it isn't where the log is.
fn first_kept(status: &Status) -> Option<u64> {
    if status.code() != Code::OutOfRange {
        return None;
    }
    status.get_details_error_info()?.metadata.get("first")?.parse().ok()
}
