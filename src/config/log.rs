//! How the log is kept.

use crate::telemetry::log::{Filter, Format, LogSettings};

use super::{Problems, file::LogTable};

/// What the command line says stands over the file.
pub(super) fn check(
    problems: &mut Problems,
    table: &LogTable,
    other_filter: Option<Filter>,
) -> LogSettings {
    let LogTable { format, level } = table;
    let format = match format.as_deref() {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(_) => {
            problems.add("log.format", "must be `text` or `json`");
            Format::Text
        }
    };
    let filter = level.as_ref().map_or_else(|| Ok(Filter::default()), |level| level.parse());
    let filter = filter.unwrap_or_else(|error| {
        problems.add("log.level", error);
        Filter::default()
    });
    LogSettings { format, filter: other_filter.unwrap_or(filter) }
}
