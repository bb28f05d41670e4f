//! How records that come by a stream are shown, and when a stream that has ended is begun anew.

use std::{
    io::{self, ErrorKind, IsTerminal as _, Write},
    time::Duration,
};

use anyhow::Context as _;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use tonic::{Code, Status};

use crate::{
    api::{self, audit_entry::AuditEntry},
    cli::output::{has_colors, width_of},
};

use super::line::{self, Colors};

/// How long it waits before it connects again, at first and at most.
pub(super) const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The most bytes of a message: some records more than the server sends.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1_024 * 1_024;

/// How records are written.
pub(super) enum Form {
    People(Colors),
    Json(MessageDescriptor),
}

impl Form {
    /// A line of JSON for each record, or lines for people.
    pub(super) fn new(is_json: bool) -> anyhow::Result<Self> {
        if is_json {
            let pool = DescriptorPool::decode(api::FILE_DESCRIPTOR_SET)?;
            let form = pool.get_message_by_name("aap.v1.AuditEntry");
            return Ok(Self::Json(form.context("the API has no entries")?));
        }
        Ok(Self::People(colors()))
    }

    /// Writes some records.
    pub(super) fn write_all(
        &self,
        entries: &[AuditEntry],
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        entries.iter().try_for_each(|entry| self.write(entry, out))?;
        Ok(out.flush()?)
    }

    fn write(&self, entry: &AuditEntry, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::People(colors) => {
                let width = width_of(io::stdout());
                writeln!(out, "{}", line::of(entry, *colors, width))?;
            }
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

/// Colors, if what is shown goes to a terminal that wants them.
pub(super) fn colors() -> Colors {
    if has_colors(io::stdout().is_terminal()) { Colors::Yes } else { Colors::No }
}

/// Whether nobody reads any more: that is their wish.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Whether it may go well another time.
pub(super) fn may_pass(status: &Status) -> bool {
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
