//! The configuration: one TOML file, with the command line and the environment over it.
//!
//! It is read whole and checked whole: every problem is named with its place and its remedy, and a
//! configuration with a problem is not used at all.

pub mod follow;
pub mod listeners;
pub mod scrub;
pub mod telemetry;

mod callers;
mod cursors;
mod file;
mod log;
mod pem;
mod vouchers;

use std::{
    fmt, io,
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    audit::{
        log::{Mode, Options as AuditOptions},
        retention::Retention,
    },
    domain::{audit_cursor::CursorLimits, limits::Limits, network::NetworkKind, time::UnixNanos},
    identity::{caller::Callers, certificate::Authorities, vouchers::Vouchers},
    service::watches::WatchLimits,
    store::{snapshot, space::Reserve},
    telemetry::log::{Filter, LogSettings},
};

use callers::Vouching;
use file::{
    AuditTable, ConnectionsTable, DiskTable, File, JournalTable, LimitsTable, RetentionTable,
    SessionsTable, WatchesTable,
};
use listeners::{ListenerConfig, Listeners, PlainText, Security, Sources};
use pem::Files;
use scrub::ScrubLimits;
use telemetry::TelemetryConfig;

pub use pem::ServerCertificate;

/// A configuration that is valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, and how.
    pub listeners: Vec<ListenerConfig>,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// The name that the audit log's checkpoints bear.
    pub origin: String,
    /// Who may call.
    pub callers: Callers,
    /// How the audit log is kept.
    pub audit: AuditOptions,
    /// After how many changes a new snapshot of the state is written.
    pub snapshot_every: NonZeroU64,
    /// What of the disk stays free.
    pub reserve: Reserve,
    /// How what is stored is verified while the server runs.
    pub scrub: ScrubLimits,
    /// How much an account may have.
    pub limits: Limits,
    /// How many watches may be open.
    pub watches: WatchLimits,
    /// How many cursors of the audit log there may be.
    pub cursors: CursorLimits,
    /// How the log is kept.
    pub log: LogSettings,
    /// What is told about the server while it runs.
    pub telemetry: TelemetryConfig,
    /// What this server is called by applications that ask for sessions.
    pub audience: Option<Arc<str>>,
    /// Who vouches for the RAM roles of applications.
    pub vouchers: Vouchers,
}

impl Config {
    /// SHA-256 of all this but the tokens' digests and the keys: those digests are no secrets, but
    /// would tell who has the same token elsewhere.
    pub fn digest(&self) -> [u8; 32] {
        let Self {
            listeners,
            connections,
            data_dir,
            origin,
            callers,
            audit,
            snapshot_every,
            reserve,
            scrub,
            limits,
            watches,
            cursors,
            log,
            telemetry,
            audience,
            vouchers,
        } = self;
        let listeners: Vec<_> = listeners.iter().map(ListenerFacts::of).collect();
        let (sans, authorities) = (callers.sans(), callers.authorities().digest());
        let (callers, data_dir) = (callers.by_name(), data_dir.display());
        let text = format!(
            "{listeners:?}\n{connections:?}\n{data_dir}\n{origin:?}\n{callers:?}\n{sans:?}\n\
             {authorities:?}\n{audit:?}\n{reserve:?}\n{snapshot_every}\n{limits:?}\n\
             {watches:?}\n{cursors:?}\n{telemetry:?}\n{audience:?}\n{scrub:?}\n{vouchers:?}\n{log:?}\n"
        );
        sha_256(text.as_bytes())
    }

    /// What is to be said of it at a time, though it can be used: of certificates that aren't valid.
    pub fn warnings(&self, now: UnixNanos) -> Vec<Problem> {
        let mut warnings = Vec::new();
        for ListenerConfig { address, security, .. } in &self.listeners {
            if let Security::Tls(certificate) = security
                && let Some(detail) = certificate.warning(now)
            {
                let detail = format!("of {address} {detail}: who connects will refuse it");
                warnings.push(Problem { place: "certificate".to_owned(), detail });
            }
        }
        for validity in self.callers.authorities().validities() {
            if let Some(detail) = pem::warning(validity, now) {
                let detail = format!("has an authority that {detail}: it vouches for nobody");
                warnings.push(Problem { place: "caller_ca".to_owned(), detail });
            }
        }
        warnings
    }
}

/// What a digest of the configuration covers of a listener.
#[derive(Debug)]
#[expect(dead_code, reason = "they are written by `Debug` alone")]
struct ListenerFacts<'c> {
    address: SocketAddr,
    certificate: Option<[u8; 32]>,
    network: Option<&'c NetworkKind>,
    sources: &'c Sources,
}

impl<'c> ListenerFacts<'c> {
    fn of(listener: &'c ListenerConfig) -> Self {
        let ListenerConfig { address, security, network, sources } = listener;
        let certificate = match security {
            Security::Plain => None,
            Security::Tls(certificate) => Some(certificate.digest()),
        };
        Self { address: *address, certificate, network: network.as_ref(), sources }
    }
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub max: usize,
    /// From one source: an IPv4 /24 or an IPv6 /56.
    pub max_per_source: usize,
    /// That haven't finished their handshake, in all.
    pub max_handshakes: usize,
    /// That haven't finished it, from one source.
    pub max_handshakes_per_source: usize,
    /// How long a handshake may take.
    pub handshake_time: Duration,
}

impl Default for ConnectionLimits {
    /// What a few thousand enforcement points need, each with a connection or two. One source gets
    /// an eighth of all, and a quarter of the handshakes, so that it can't take them all.
    fn default() -> Self {
        Self {
            max: 8_192,
            max_per_source: 1_024,
            max_handshakes: 512,
            max_handshakes_per_source: 128,
            handshake_time: Duration::from_secs(10),
        }
    }
}

fn sha_256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}

/// What the command line and the environment say, over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Where to listen in plain text, in the place of `listen`.
    pub listen: Vec<SocketAddr>,
    /// Where the data is.
    pub data_dir: Option<PathBuf>,
    /// What the log tells.
    pub log: Option<Filter>,
}

/// Why a configuration isn't used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read configuration `{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file isn't TOML, or has keys that there aren't.
    #[error("configuration `{path}` is invalid:\n{detail}")]
    Syntax {
        /// The file.
        path: String,
        /// Where, and what.
        detail: String,
        /// Where.
        line: usize,
        /// What.
        message: String,
    },
    /// Values are wrong.
    #[error("configuration `{path}` is invalid:\n{}", list(problems))]
    Values {
        /// The file.
        path: String,
        /// Every one of them.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// Everything that is wrong, one text each, for a log: without lines of the file, in which a
    /// token may stand where it doesn't belong.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Read { source, .. } => vec![format!("can't be read: {source}")],
            Self::Syntax { line, message, .. } => vec![format!("line {line}: {message}")],
            Self::Values { problems, .. } => problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a path of keys.
    pub place: String,
    /// What, and what to do about it.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.place, self.detail)
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// Parses a configuration's text, and reads the files that it names.
pub fn parse(path: &str, text: &str, overrides: Overrides) -> Result<Config, ConfigError> {
    parse_with(path, text, overrides, &mut Files::default())
}

fn parse_with(
    path: &str,
    text: &str,
    overrides: Overrides,
    files: &mut Files,
) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        detail: error.to_string(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut problems = Problems::default();
    let config = problems.check(file, overrides, files);
    match config {
        Some(config) if problems.0.is_empty() => Ok(config),
        _ => Err(ConfigError::Values { path: path.to_owned(), problems: problems.0 }),
    }
}

/// The line that a byte of a text stands in, from 1.
fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|byte| *byte == b'\n').count()
}

/// What `audit.mode` may be. Who reads the second one in a configuration knows what is given up.
const DURABLE: &str = "durable";
const BUFFERED: &str = "buffered-may-lose-decisions";

/// How long the name of a server in assertions is.
const MAX_AUDIENCE_BYTES: usize = 255;
/// More watches than this have never been tried.
const MAX_WATCHES: usize = 10_000;
/// The most records a second that those may look at who are behind.
const MAX_CATCH_UP: usize = 100_000_000;
const DAY: Duration = Duration::from_hours(24);

/// More connections than this have never been tried.
const MAX_CONNECTIONS: usize = 1_000_000;

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, place: impl Into<String>, detail: impl ToString) {
        self.0.push(Problem { place: place.into(), detail: detail.to_string() });
    }

    fn check(&mut self, file: File, overrides: Overrides, files: &mut Files) -> Option<Config> {
        let File {
            listen,
            allow_plaintext_from_network,
            listeners,
            caller_ca,
            connections,
            data_dir,
            audit,
            journal,
            disk,
            scrub,
            limits,
            watches,
            cursors,
            log,
            telemetry,
            sessions,
            token_issuers,
            sts,
            callers,
        } = file;
        let Overrides { listen: other_listen, data_dir: other_dir, log: other_filter } = overrides;
        let listen = if other_listen.is_empty() { listen } else { other_listen };
        let plain_text = PlainText::allowed_from(allow_plaintext_from_network);
        let can_show_certificates = listeners.iter().any(|table| table.certificate.is_some());
        let listeners = Listeners { problems: self, files, plain_text }.check(listen, listeners);
        let connections = self.check_connections(&connections);
        let data_dir = self.check_data_dir(other_dir.or(data_dir));
        let origin = self.check_origin(audit.origin.as_deref());
        let options = self.check_audit(&audit);
        let snapshot_every = self.check_journal(&journal);
        let (reserve, scrub) = (self.check_disk(&disk), scrub::check(self, &scrub));
        let limits = limits_of(&limits);
        let (watches, cursors) = (self.check_watches(&watches), cursors::check(self, &cursors));
        let (log, telemetry) =
            (log::check(self, &log, other_filter), telemetry::check(self, telemetry, files));
        let audience = self.check_sessions(sessions);
        let vouchers = vouchers::check(self, (token_issuers, sts), audience.as_ref(), files);
        let caller_ca = caller_ca.as_deref().map(|path| (path, can_show_certificates));
        let vouching = self.check_authorities(caller_ca, files);
        let callers = callers::check(self, callers, vouching);
        Some(Config {
            listeners,
            connections,
            data_dir: data_dir?,
            origin,
            callers,
            audit: options,
            snapshot_every,
            reserve,
            scrub,
            limits,
            watches,
            cursors,
            log,
            telemetry,
            audience,
            vouchers,
        })
    }

    fn check_data_dir(&mut self, data_dir: Option<PathBuf>) -> Option<PathBuf> {
        if data_dir.is_none() {
            self.add("data_dir", "is missing: name the directory that the data is kept in");
        }
        data_dir
    }

    /// The file of authorities, and whether there is a listener that sees certificates.
    fn check_authorities(&mut self, file: Option<(&Path, bool)>, files: &mut Files) -> Vouching {
        let Some((path, can_show_certificates)) = file else { return Vouching::Nobody };
        if !can_show_certificates {
            self.add("caller_ca", "needs a listener with a `certificate`: others see none");
        }
        let authorities = pem::authorities(files, path).unwrap_or_else(|detail| {
            self.add("caller_ca", detail);
            Authorities::default()
        });
        Vouching::By(Arc::new(authorities))
    }

    fn check_connections(&mut self, table: &ConnectionsTable) -> ConnectionLimits {
        let ConnectionsTable {
            max,
            max_per_source,
            max_handshakes,
            max_handshakes_per_source,
            handshake_seconds,
        } = table;
        let defaults = ConnectionLimits::default();
        let mut check = |key: &str, given: &Option<usize>, default: usize, most: usize| {
            let most = most.max(1);
            let number = given.unwrap_or(default.min(most));
            if number == 0 || number > most {
                self.add(format!("connections.{key}"), format!("must be 1 to {most}"));
            }
            number
        };
        let max = check("max", max, defaults.max, MAX_CONNECTIONS);
        let max_per_source = check("max_per_source", max_per_source, defaults.max_per_source, max);
        let max_handshakes = check("max_handshakes", max_handshakes, defaults.max_handshakes, max);
        let max_handshakes_per_source = check(
            "max_handshakes_per_source",
            max_handshakes_per_source,
            defaults.max_handshakes_per_source,
            max_handshakes,
        );
        let handshake_time = handshake_seconds.map_or(defaults.handshake_time, Duration::from_secs);
        if !(1..=60).contains(&handshake_time.as_secs()) {
            self.add("connections.handshake_seconds", "must be 1 to 60");
        }
        ConnectionLimits {
            max,
            max_per_source,
            max_handshakes,
            max_handshakes_per_source,
            handshake_time,
        }
    }

    fn check_origin(&mut self, origin: Option<&str>) -> String {
        let origin = origin.unwrap_or("aap.local/audit").to_owned();
        let is_valid = (1..=128).contains(&origin.len())
            && origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
        if !is_valid {
            self.add("audit.origin", "must be 1 to 128 visible ASCII characters without `+`");
        }
        origin
    }

    fn check_audit(&mut self, table: &AuditTable) -> AuditOptions {
        let AuditTable { origin: _, mode, segment_mebibytes, buffer_mebibytes, retention } = table;
        let defaults = AuditOptions::default();
        let mode = match mode.as_deref() {
            None | Some(DURABLE) => Mode::Durable,
            Some(BUFFERED) => Mode::Buffered,
            Some(_) => {
                self.add("audit.mode", format!("must be `{DURABLE}` or `{BUFFERED}`"));
                Mode::Durable
            }
        };
        let segment_bytes = segment_mebibytes.map_or(defaults.segment_bytes, |mebibytes| {
            if !(1..=1_024).contains(&mebibytes) {
                self.add("audit.segment_mebibytes", "must be 1 to 1,024");
            }
            mebibytes.saturating_mul(1_024 * 1_024)
        });
        let buffer_bytes = buffer_mebibytes.map_or(defaults.buffer_bytes, |mebibytes| {
            if !(5..=256).contains(&mebibytes) {
                self.add("audit.buffer_mebibytes", "must be 5 to 256: a batch of checks needs 4");
            }
            mebibytes.saturating_mul(1_024 * 1_024)
        });
        let retention = self.check_retention(retention);
        AuditOptions { mode, segment_bytes, buffer_bytes, retention, ..defaults }
    }

    fn check_retention(&mut self, table: &RetentionTable) -> Retention {
        let RetentionTable { max_days, max_mebibytes, max_stranger_mebibytes } = *table;
        if max_days == Some(0) {
            self.add("audit.retention.max_days", "must be at least 1");
        }
        let mut check = |key: &str, mebibytes: Option<u64>| {
            if mebibytes == Some(0) {
                self.add(format!("audit.retention.{key}"), "must be at least 1");
            }
            mebibytes.map(|mebibytes| mebibytes.saturating_mul(1_024 * 1_024))
        };
        let max_bytes = check("max_mebibytes", max_mebibytes);
        let max_stranger_bytes = check("max_stranger_mebibytes", max_stranger_mebibytes);
        let max_age = max_days.map(|days| DAY.saturating_mul(days));
        Retention { max_age, max_bytes, max_stranger_bytes }
    }

    fn check_journal(&mut self, journal: &JournalTable) -> NonZeroU64 {
        let JournalTable { snapshot_every_changes } = journal;
        let Some(every) = *snapshot_every_changes else { return snapshot::DEFAULT_EVERY };
        NonZeroU64::new(every).unwrap_or_else(|| {
            self.add("journal.snapshot_every_changes", "must be at least 1");
            snapshot::DEFAULT_EVERY
        })
    }

    fn check_watches(&mut self, table: &WatchesTable) -> WatchLimits {
        let WatchesTable { total, per_caller, catch_up_records_per_second: catch_up } = *table;
        let defaults = WatchLimits::default();
        let mut check = |key: &str, given: Option<usize>, default: NonZeroUsize, most: usize| {
            let number = given.unwrap_or(default.get().min(most));
            let found = NonZeroUsize::new(number).filter(|number| number.get() <= most);
            found.unwrap_or_else(|| {
                self.add(format!("watches.{key}"), format!("must be 1 to {most}"));
                default
            })
        };
        let total = check("total", total, defaults.total, MAX_WATCHES);
        let per_caller = check("per_caller", per_caller, defaults.per_caller, total.get());
        let key = "catch_up_records_per_second";
        let catch_up = check(key, catch_up, defaults.catch_up, MAX_CATCH_UP);
        WatchLimits { total, per_caller, catch_up }
    }

    fn check_sessions(&mut self, table: SessionsTable) -> Option<Arc<str>> {
        let SessionsTable { audience } = table;
        let audience = audience?;
        let is_visible = audience.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible || !(1..=MAX_AUDIENCE_BYTES).contains(&audience.len()) {
            self.add("sessions.audience", "must be 1 to 255 visible ASCII characters");
            return None;
        }
        Some(audience.into())
    }

    fn check_disk(&mut self, disk: &DiskTable) -> Reserve {
        let defaults = Reserve::default();
        let DiskTable { management_reserve_percent, check_reserve_percent } = disk;
        let reserve = Reserve {
            management_percent: management_reserve_percent.unwrap_or(defaults.management_percent),
            check_percent: check_reserve_percent.unwrap_or(defaults.check_percent),
        };
        if reserve.management_percent > 99 {
            self.add("disk.management_reserve_percent", "must be at most 99");
        }
        if reserve.check_percent > reserve.management_percent {
            self.add(
                "disk.check_reserve_percent",
                "must not be more than `disk.management_reserve_percent`, so that changes are \
                 refused before checks are",
            );
        }
        reserve
    }
}

fn limits_of(table: &LimitsTable) -> Limits {
    let defaults = Limits::default();
    let LimitsTable { access_points, policies, network_rules, ram_roles } = *table;
    Limits {
        access_points: access_points.unwrap_or(defaults.access_points),
        policies: policies.unwrap_or(defaults.policies),
        network_rules: network_rules.unwrap_or(defaults.network_rules),
        ram_roles: ram_roles.unwrap_or(defaults.ram_roles),
    }
}
