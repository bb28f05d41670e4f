//! `aap audit cursor read`: records by a cursor, each acknowledged when it was shown.

use std::{
    io::{self, BufWriter},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::{
    api::pb::{self, audit_service_client::AuditServiceClient},
    cli::{
        audit::showing::{Form, MAX_MESSAGE_BYTES, WAITS, is_closed_pipe, may_pass},
        complain,
        failure::Failure,
        remote::Connection,
    },
};

use super::At;

/// How long giving the lease back may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What to show.
#[derive(Args, Debug)]
pub(in crate::cli) struct Arguments {
    /// The cursor's name: short, or in full.
    name: String,
    /// One line of JSON for each record: an `aap.v1.AuditEntry` as protobuf's JSON has it.
    #[arg(long)]
    json: bool,
    /// Take over from whoever reads by it: that one is told, and acknowledges nothing more.
    #[arg(long)]
    take_over: bool,
    /// How long nobody else reads by it after a lost connection, in seconds: 1 to 300.
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(i32).range(1..=300))]
    lease: i32,
    #[command(flatten)]
    at: At,
}

/// Shows records until it is told to stop, nobody reads them any more, or it can't go on. Others can
/// read by the cursor at once then.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("can't wait for a signal")?;
        let mut reader = Reader::new(arguments).await?;
        let shown = tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("can't wait for a signal"),
            _ = terminated.recv() => Ok(()),
            shown = reader.run() => match shown {
                Err(error) if is_closed_pipe(&error) => Ok(()),
                shown => shown,
            },
        };
        // If nobody hears it, the lease ends by itself.
        let _ = tokio::time::timeout(LAST_WORD, reader.release()).await;
        shown
    })
}

struct Reader {
    client: AuditServiceClient<Connection>,
    server: String,
    name: String,
    form: Form,
    lease_seconds: i32,
    take_over: bool,
    /// The lease that it has, or had; nothing before the first one.
    lease_token: String,
}

/// Why a stream is over.
enum Over {
    /// It can be begun anew.
    Lost(String),
    /// Somebody else has a lease, for so long at least.
    Leased(Duration),
}

impl Reader {
    async fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let Arguments { name, json, take_over, lease, at } = arguments;
        let (target, parent) = at.target()?;
        let name = parent.cursor(name)?;
        let client = AuditServiceClient::new(target.connect_at_need().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self {
            client,
            server: target.shown(),
            name,
            form: Form::new(*json)?,
            lease_seconds: *lease,
            take_over: *take_over,
            lease_token: String::new(),
        })
    }

    /// Goes on until nobody reads any more, or the server refuses.
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut wait = WAITS.0;
        loop {
            match self.follow(&mut wait).await? {
                Over::Lost(why) => {
                    let server = &self.server;
                    complain(&anyhow::anyhow!(
                        "lost {server}: {why}; going on in {wait:?} behind what is acknowledged"
                    ));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAITS.1);
                }
                Over::Leased(rest) => {
                    let told = format!("the lease of who read last is over in {rest:?}; waiting");
                    complain(&anyhow::anyhow!(told));
                    tokio::time::sleep(rest).await;
                }
            }
        }
    }

    /// Reads until the stream ends or what was shown can't be acknowledged under its lease; tells what ended it, if it can be begun anew.
    async fn follow(&mut self, wait: &mut Duration) -> anyhow::Result<Over> {
        let request = pb::ReadAuditCursorRequest {
            name: self.name.clone(),
            form: pb::RecordForm::Message.into(),
            lease_seconds: self.lease_seconds,
            lease_token: self.lease_token.clone(),
            take_over: self.take_over,
        };
        let mut messages = match self.client.read_audit_cursor(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return self.over(&status),
        };
        // Whoever takes over from this one later keeps it.
        self.take_over = false;
        loop {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Over::Lost("the stream has ended".to_owned())),
                Err(status) => return self.over(&status),
            };
            if let Some(through) = self.show(message)?
                && let Err(status) = self.insist(through, wait).await
            {
                // The stream says whether somebody has taken over or the server has restarted.
                let end =
                    if status.code() == Code::Aborted { end_of(messages).await } else { None };
                return self.over(&end.unwrap_or(status));
            }
        }
    }

    /// Shows what a message has; returns through where that is, if it is further than before.
    fn show(&mut self, message: pb::ReadAuditCursorResponse) -> anyhow::Result<Option<u64>> {
        let pb::ReadAuditCursorResponse { entries, scanned, log_id, lease_token, missed } = message;
        if !lease_token.is_empty() {
            self.lease_token = lease_token;
        }
        for range in &missed {
            complain(&anyhow::anyhow!(gone(range, &log_id)));
        }
        self.form.write_all(&entries, &mut BufWriter::new(io::stdout().lock()))?;
        let scanned = scanned.context("a message doesn't say how far it goes")?;
        Ok((scanned.through >= scanned.from).then_some(scanned.through))
    }

    /// Acknowledges what was shown, again and again if it may go well another time: to begin anew would
    /// show it again. Nothing is read meanwhile, so that no more is shown than can be acknowledged.
    async fn insist(&mut self, through: u64, wait: &mut Duration) -> Result<(), Status> {
        while let Err(status) = self.acknowledge(through, false).await {
            if !may_pass(&status) {
                return Err(status);
            }
            let (server, why) = (&self.server, status.message());
            complain(&anyhow::anyhow!(
                "{server} doesn't take that all through {through} was shown: {why}; telling it again \
                 in {wait:?}"
            ));
            tokio::time::sleep(*wait).await;
            *wait = (*wait * 2).min(WAITS.1);
        }
        *wait = WAITS.0;
        Ok(())
    }

    async fn acknowledge(&mut self, through: u64, release: bool) -> Result<(), Status> {
        let (name, lease_token) = (self.name.clone(), self.lease_token.clone());
        let request = pb::AcknowledgeAuditCursorRequest { name, lease_token, through, release };
        self.client.acknowledge_audit_cursor(request).await.map(drop)
    }

    /// Gives the lease back, if it has one.
    async fn release(&mut self) {
        if !self.lease_token.is_empty() {
            // What it is refused with says that it is over anyway.
            let _ = self.acknowledge(0, true).await;
        }
    }

    fn over(&self, status: &Status) -> anyhow::Result<Over> {
        let reason = pb::ErrorReason::AuditCursorLeased.as_str_name();
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.reason == reason);
        if info.is_some_and(|info| info.metadata.contains_key("lease_expire_time"))
            && let Some(rest) = details.retry_info().and_then(|info| info.retry_delay)
        {
            return Ok(Over::Leased(rest));
        }
        let failure = Failure::from(status.clone());
        if info.is_some() {
            return Err(failure.and("or take over with --take-over").into());
        }
        let began = !self.lease_token.is_empty();
        if !began || !may_pass(status) {
            return Err(failure.into());
        }
        Ok(Over::Lost(status.message().to_owned()))
    }
}

/// The error that a stream ends with, if it does with one.
async fn end_of(mut messages: Streaming<pb::ReadAuditCursorResponse>) -> Option<Status> {
    loop {
        match messages.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

/// What is missing, for people.
fn gone(range: &pb::MissedRange, log_id: &str) -> String {
    let pb::MissedRange { log_id: of, from, through } = range;
    let records = match through {
        0 => format!("all records from {from} on"),
        through => format!("records {from} to {through}"),
    };
    if of == log_id {
        format!("{records} are gone")
    } else {
        format!("{records} of log {of} can't be read any more: another log has begun")
    }
}
