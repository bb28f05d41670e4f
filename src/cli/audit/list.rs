//! `aap audit list`: records that are there, for people and for programs.

use std::io;

use clap::Args;
use prost_types::Timestamp;

use crate::{
    api::{
        audit_entry::AuditEntry,
        pb::{self, audit_service_client::AuditServiceClient},
    },
    cli::{
        forms::Forms,
        output::{Format, Output, print_values, width_of},
        remote::{Server, answered, block_on},
        say,
    },
};

use super::{
    filter::Filter,
    line,
    showing::{MAX_MESSAGE_BYTES, colors},
};

/// The most that a page has.
const PAGE: usize = 1_000;

/// Which records.
#[derive(Args, Debug)]
pub(in crate::cli) struct Arguments {
    /// The most to list.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// List the first one first.
    #[arg(long)]
    oldest_first: bool,
    /// Only this record and those behind it.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0, hide_default_value = true)]
    from: u64,
    /// Only this record and those before it.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0, hide_default_value = true)]
    through: u64,
    /// Only records of this time or later, such as 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only records before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only records of this account; may be repeated, as all filters may.
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let entries = arguments.entries()?;
    match arguments.output.format {
        Format::Table => {
            let (colors, width) = (colors(), width_of(io::stdout()));
            for entry in &entries {
                say(line::of(entry, colors, width));
            }
        }
        // A record is known by its number.
        Format::Name => {
            for entry in &entries {
                say(entry.sequence);
            }
        }
        format @ (Format::Json | Format::Yaml) => {
            let forms = Forms::load()?;
            let value = |entry| forms.value("aap.v1.AuditEntry", entry);
            let values: Vec<_> = entries.iter().map(value).collect::<Result<_, _>>()?;
            print_values(format, &values)?;
        }
    }
    Ok(())
}

impl Arguments {
    fn entries(&self) -> anyhow::Result<Vec<AuditEntry>> {
        let target = self.server.target_anywhere()?;
        let mut request = self.request();
        block_on(async {
            let mut client = AuditServiceClient::new(target.connect().await?)
                .max_decoding_message_size(MAX_MESSAGE_BYTES);
            let mut entries = Vec::new();
            loop {
                let left = self.limit.saturating_sub(entries.len()).min(PAGE);
                request.page_size = i32::try_from(left).unwrap_or(i32::MAX);
                let page = answered(client.list_audit_records(request.clone()).await)?;
                entries.extend(page.entries);
                if page.next_page_token.is_empty() || entries.len() >= self.limit {
                    entries.truncate(self.limit);
                    return Ok(entries);
                }
                request.page_token = page.next_page_token;
            }
        })
    }

    fn request(&self) -> pb::ListAuditRecordsRequest {
        let order = if self.oldest_first {
            pb::AuditRecordOrder::OldestFirst
        } else {
            pb::AuditRecordOrder::NewestFirst
        };
        pb::ListAuditRecordsRequest {
            filter: self.filter.wanted(&self.account),
            order: order.into(),
            from_sequence: self.from,
            through_sequence: self.through,
            start_time: self.since,
            end_time: self.until,
            form: pb::RecordForm::Message.into(),
            ..Default::default()
        }
    }
}
