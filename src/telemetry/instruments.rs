//! The one table of what is measured: names, kinds, units and attributes, by OpenTelemetry's
//! conventions. `TELEMETRY.md` shows it to people.
//!
//! To add one: a line here, a line where it is read (`server/metrics.rs`), and one in
//! `TELEMETRY.md`; a test compares them.

/// Something that is measured.
#[derive(Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name.
    pub name: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// Its unit, as UCUM writes it; in braces, what is counted.
    pub unit: &'static str,
    /// What it says.
    pub description: &'static str,
    /// What tells its values apart.
    pub attributes: &'static [&'static str],
}

/// What an instrument's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How often something has happened; grows.
    Counter,
    /// How much there is now.
    Gauge,
    /// How numbers are distributed that were met.
    Histogram,
}

macro_rules! instruments {
    ($($constant:ident: $kind:ident, $name:literal, $unit:literal, $attributes:expr, $description:literal;)*) => {
        $(
            #[doc = $description]
            pub static $constant: Instrument = Instrument {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                description: $description,
                attributes: &$attributes,
            };
        )*
        /// Every instrument, in the order in which they are told.
        pub static ALL: &[&Instrument] = &[$(&$constant),*];
    };
}

instruments! {
    CALL_DURATION: Histogram, "rpc.server.call.duration", "s",
        ["rpc.system.name", "rpc.method", "rpc.response.status_code"],
        "How long calls took, until the answer; of streams, until their end.";
    DECISIONS: Counter, "aap.decisions", "{decision}", ["aap.outcome", "aap.reason"],
        "Decisions that were handed to the audit log.";
    CALLS_REJECTED: Counter, "aap.calls.rejected", "{call}", ["rpc.response.status_code"],
        "Calls that were refused because of who called, or of what it may not ask.";
    SESSIONS: Gauge, "aap.sessions", "{session}", [],
        "Sessions that this process granted and whose time isn't over, revoked or not.";
    SESSION_REQUESTS: Counter, "aap.session.requests", "{request}",
        ["aap.proof", "aap.outcome", "aap.reason"],
        "Requests for sessions, by how they were to be proved and what came of them.";
    SESSION_REVOCATIONS: Counter, "aap.session.revocations", "{revocation}", [],
        "How often all sessions of an access point were revoked.";
    AUDIT_RECORDS: Counter, "aap.audit.records", "{record}", [],
        "Audit records on disk: the sequence number of the last one.";
    AUDIT_LAG: Gauge, "aap.audit.lag", "s", [],
        "How long the oldest audit record has waited that is not on disk yet.";
    AUDIT_BATCH_SIZE: Histogram, "aap.audit.batch.size", "{record}", [],
        "How many audit records went to the disk at once.";
    AUDIT_SYNC_DURATION: Histogram, "aap.audit.sync.duration", "s", [],
        "How long the disk took to have a batch of audit records for good.";
    AUDIT_COMMIT_DURATION: Histogram, "aap.audit.commit.duration", "s", [],
        "How long the first audit record of a batch waited until its answer could leave.";
    AUDIT_AVAILABLE: Gauge, "aap.audit.available", "", [],
        "1 if decisions can be recorded, and so given; else 0.";
    AUDIT_SERVED_DAMAGED: Gauge, "aap.audit.served_damaged", "", [],
        "1 if what is stored is served though it is damaged, because the server was told to; else 0.";
    JOURNAL_REVISION: Gauge, "aap.journal.revision", "{revision}", [],
        "The revision that checks are decided at.";
    JOURNAL_BATCH_SIZE: Histogram, "aap.journal.batch.size", "{event}", [],
        "How many changes went to the disk at once.";
    JOURNAL_SYNC_DURATION: Histogram, "aap.journal.sync.duration", "s", [],
        "How long the disk took to have a batch of changes for good.";
    JOURNAL_AVAILABLE: Gauge, "aap.journal.available", "", [],
        "1 if changes can be written; else 0.";
    SCRUB_RECORD: Gauge, "aap.scrub.record", "{record}", [],
        "The audit record up to which what is stored was verified in this pass.";
    SCRUB_READ: Counter, "aap.scrub.read", "By", [],
        "How much of what is stored was read to verify it.";
    SCRUB_FINISHED: Gauge, "aap.scrub.finished", "s", [],
        "When all that is stored was last verified, in seconds since 1970; 0 if it never was.";
    SCRUB_DAMAGED: Gauge, "aap.scrub.damaged", "{place}", ["aap.log"],
        "Places of a log that are damaged, as far as they were found.";
    WATCHERS: Gauge, "aap.watchers", "{watcher}", ["aap.log"],
        "How many follow a log.";
    WATCHERS_LAG: Gauge, "aap.watchers.lag", "{entry}", ["aap.log"],
        "How many entries of a log its slowest watcher has yet to be sent.";
    CURSORS: Gauge, "aap.audit.cursors", "{cursor}", [],
        "How many cursors of the audit log there are.";
    CURSORS_AVAILABLE: Gauge, "aap.audit.cursors.available", "", [],
        "1 if cursors of the audit log can be written, and so read by; else 0.";
    CURSORS_LAG: Gauge, "aap.audit.cursors.lag", "{record}", [],
        "How many audit records the slowest cursor has yet to have acknowledged.";
    CLIENT_KEYS_ENDING: Gauge, "aap.client_keys.ending", "{key}", ["aap.days"],
        "Enabled client keys that end within so many days, and haven't ended.";
    CONNECTIONS: Gauge, "aap.connections", "{connection}", [],
        "Open connections.";
    CONNECTIONS_LIMIT: Gauge, "aap.connections.limit", "{connection}", [],
        "How many connections there may be.";
    CONNECTIONS_TURNED_AWAY: Counter, "aap.connections.turned_away", "{connection}", ["error.type"],
        "Connections that were closed before they served a call.";
    DISK_FREE: Gauge, "aap.disk.free", "By", [],
        "What is free of the disk that the data is on.";
    DISK_SIZE: Gauge, "aap.disk.size", "By", [],
        "How large the disk is that the data is on.";
    SPANS: Counter, "aap.telemetry.spans", "{span}", ["aap.fate"],
        "Spans of calls, by what became of them: sent, or dropped because too many waited or the collector took none.";
    CPU_TIME: Counter, "process.cpu.time", "s", ["cpu.mode"],
        "How long the processors have worked for this process.";
    MEMORY_USAGE: Gauge, "process.memory.usage", "By", [],
        "How much of the machine's memory this process holds.";
    OPEN_FDS: Gauge, "process.open_fds", "{file}", [],
        "How many files and sockets this process has open.";
    MAX_FDS: Gauge, "process.max_fds", "{file}", [],
        "How many files and sockets this process may have open.";
    THREADS: Gauge, "process.threads", "{thread}", [],
        "How many threads this process has.";
    UPTIME: Gauge, "process.uptime", "s", [],
        "How long this process has served.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::telemetry::prometheus;

    #[test]
    fn names_are_unique_in_both_forms_and_follow_the_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|one| one.name).collect();
        let exported: BTreeSet<_> = ALL.iter().map(|one| prometheus::name_of(one)).collect();
        assert_eq!((names.len(), exported.len()), (ALL.len(), ALL.len()));
        for Instrument { name, unit, description, .. } in ALL {
            let is_conventional = name.split('.').all(|part| {
                part.starts_with(|c: char| c.is_ascii_lowercase())
                    && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            assert!(is_conventional && name.contains('.'), "{name}");
            assert!(["s", "By", "1", ""].contains(unit) || unit.starts_with('{'), "{name}: {unit}");
            assert!(description.ends_with('.'), "{name}");
        }
    }
}
