//! The configuration file's keys, as they are written. What they mean is checked elsewhere.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use toml::value::Datetime;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Addresses to listen on.
    #[serde(default)]
    pub(super) listen: Vec<SocketAddr>,
    /// Whether addresses other than loopback may be listened on without encryption.
    #[serde(default)]
    pub(super) allow_plaintext_from_network: bool,
    /// Where to listen, and how.
    #[serde(default)]
    pub(super) listeners: Vec<ListenerTable>,
    /// The authorities that vouch for callers' certificates, in PEM.
    pub(super) caller_ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) connections: ConnectionsTable,
    /// The directory that the data is kept in.
    pub(super) data_dir: Option<PathBuf>,
    #[serde(default)]
    pub(super) audit: AuditTable,
    #[serde(default)]
    pub(super) journal: JournalTable,
    #[serde(default)]
    pub(super) disk: DiskTable,
    #[serde(default)]
    pub(super) scrub: ScrubTable,
    #[serde(default)]
    pub(super) limits: LimitsTable,
    #[serde(default)]
    pub(super) watches: WatchesTable,
    #[serde(default)]
    pub(super) cursors: CursorsTable,
    #[serde(default)]
    pub(super) log: LogTable,
    #[serde(default)]
    pub(super) telemetry: TelemetryTable,
    #[serde(default)]
    pub(super) sessions: SessionsTable,
    #[serde(default)]
    pub(super) token_issuers: Vec<TokenIssuerTable>,
    pub(super) sts: Option<StsTable>,
    #[serde(default)]
    pub(super) callers: Vec<CallerTable>,
}

/// Where to listen, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerTable {
    pub(super) address: Option<SocketAddr>,
    /// The server's certificate and what leads from it to its authority, in PEM. Without one, the
    /// listener speaks plain text.
    pub(super) certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub(super) key: Option<PathBuf>,
    /// The network that it is reached from.
    pub(super) network: Option<String>,
    /// Which VPC, if it is one.
    pub(super) vpc_id: Option<String>,
    /// Who connects for others and says so by the PROXY protocol; nobody else may connect.
    pub(super) proxies: Option<Vec<String>>,
}

/// How many connections there may be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionsTable {
    /// In all.
    pub(super) max: Option<usize>,
    /// From one IPv4 /24 or IPv6 /56.
    pub(super) max_per_source: Option<usize>,
    /// That haven't finished their handshake, in all.
    pub(super) max_handshakes: Option<usize>,
    /// That haven't finished it, from one IPv4 /24 or IPv6 /56.
    pub(super) max_handshakes_per_source: Option<usize>,
    /// How long a handshake may take, in seconds.
    pub(super) handshake_seconds: Option<u64>,
}

/// How the audit log is kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditTable {
    /// The name that the log's checkpoints bear; counts when the data directory is made.
    pub(super) origin: Option<String>,
    /// When decisions are answered.
    pub(super) mode: Option<String>,
    /// How large a segment grows.
    pub(super) segment_mebibytes: Option<u64>,
    /// How much may wait for the disk.
    pub(super) buffer_mebibytes: Option<usize>,
    #[serde(default)]
    pub(super) retention: RetentionTable,
}

/// How long audit records are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "they are keys, and each says that it is a bound")]
pub(super) struct RetentionTable {
    /// How old they get.
    pub(super) max_days: Option<u32>,
    /// How much of them there is, without those of strangers.
    pub(super) max_mebibytes: Option<u64>,
    /// How much there is of strangers.
    pub(super) max_stranger_mebibytes: Option<u64>,
}

/// How the journal is kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalTable {
    /// After how many changes a new snapshot of the state is written.
    pub(super) snapshot_every_changes: Option<u64>,
}

/// What of the disk stays free.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskTable {
    /// Below this, changes are refused.
    pub(super) management_reserve_percent: Option<u8>,
    /// Below this, checks are refused too.
    pub(super) check_reserve_percent: Option<u8>,
}

/// How what is stored is verified while the server runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScrubTable {
    /// How fast it is read.
    pub(super) mebibytes_per_second: Option<u64>,
    /// How often all is read.
    pub(super) every_hours: Option<u32>,
}

/// The most of each kind that an account may have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    /// Access points, of all regions.
    pub(super) access_points: Option<u32>,
    /// Policies, of all regions.
    pub(super) policies: Option<u32>,
    /// Network rules, of all regions.
    pub(super) network_rules: Option<u32>,
    /// RAM roles.
    pub(super) ram_roles: Option<u32>,
}

/// How many watches may be open, and what they may take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchesTable {
    /// In all.
    pub(super) total: Option<usize>,
    /// Of one caller.
    pub(super) per_caller: Option<usize>,
    /// How many records a second those who are behind may look at.
    pub(super) catch_up_records_per_second: Option<usize>,
}

/// How many cursors of the audit log there may be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CursorsTable {
    /// In all.
    pub(super) total: Option<u32>,
    /// Of one account, and of those over all accounts.
    pub(super) per_account: Option<u32>,
}

/// How the log is kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogTable {
    /// What a line looks like.
    pub(super) format: Option<String>,
    /// What is told.
    pub(super) level: Option<String>,
}

/// What is told about the server while it runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TelemetryTable {
    /// Where metrics can be fetched.
    pub(super) prometheus: Option<SocketAddr>,
    /// Where metrics and traces are sent by OTLP.
    pub(super) otlp_endpoint: Option<String>,
    /// The authorities that vouch for the collector, in PEM.
    pub(super) otlp_ca: Option<PathBuf>,
    /// The certificate that is shown to it, in PEM.
    pub(super) otlp_certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub(super) otlp_key: Option<PathBuf>,
    /// A file of headers that it wants to see.
    pub(super) otlp_headers_file: Option<PathBuf>,
    /// How often metrics are sent.
    pub(super) metrics_interval_seconds: Option<u64>,
    /// Which part of the calls without a caller's trace has one.
    pub(super) trace_ratio: Option<f64>,
}

/// How applications get sessions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionsTable {
    /// What this server is called in assertions (`aud`).
    pub(super) audience: Option<String>,
}

/// Who may vouch for the roles of applications, by tokens. What it lacks is said with everything else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenIssuerTable {
    /// The name that records bear.
    pub(super) name: Option<String>,
    /// What its tokens say in `iss`.
    pub(super) issuer: Option<String>,
    /// What they say in `aud`.
    pub(super) audience: Option<String>,
    /// The accounts that it may vouch for.
    pub(super) accounts: Option<Vec<String>>,
    /// The claim that names the account.
    pub(super) account_claim: Option<String>,
    /// The type of environment that it vouches for.
    pub(super) trusted_role: Option<String>,
    /// The claim that names the role.
    pub(super) role_claim: Option<String>,
    /// How far ahead its tokens expire at most.
    pub(super) max_token_seconds: Option<i64>,
    /// A file of its keys.
    pub(super) jwks_file: Option<PathBuf>,
    /// Where it publishes its keys.
    pub(super) jwks_url: Option<String>,
    /// The authorities that vouch for that server, in PEM.
    pub(super) ca: Option<PathBuf>,
}

/// Who says whose a signed request is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StsTable {
    /// Where it is.
    pub(super) endpoint: Option<String>,
    /// The authorities that vouch for it, in PEM.
    pub(super) ca: Option<PathBuf>,
    /// How long it may take to answer.
    pub(super) timeout_seconds: Option<u64>,
    /// A parameter that must have this server's audience.
    pub(super) audience_parameter: Option<String>,
    /// Whether roles are good enough that others may assume, too.
    pub(super) accept_shared_roles: Option<bool>,
}

/// Somebody who may call. What it lacks is said with everything else that is wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallerTable {
    /// The name that records and events bear.
    pub(super) name: Option<String>,
    /// SHA-256 of its bearer token, in hexadecimal digits.
    pub(super) token_sha256: Option<String>,
    /// The name in its client certificates.
    pub(super) san: Option<String>,
    /// What it may do.
    pub(super) role: Option<String>,
    /// Where it may do it.
    pub(super) accounts: Option<Vec<String>>,
    /// Whether an enforcer may name access points itself.
    pub(super) assert_identity: Option<bool>,
    /// The kinds of networks that an enforcer may vouch for.
    pub(super) origin_networks: Option<Vec<String>>,
    /// The VPCs that an enforcer may vouch for.
    pub(super) vpc_ids: Option<Vec<String>>,
    /// The instances that an enforcer may ask about.
    pub(super) instances: Option<Vec<String>>,
    /// From when on it is nobody.
    pub(super) expires: Option<Datetime>,
}
