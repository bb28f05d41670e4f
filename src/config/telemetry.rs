//! What is told about the server while it runs, and to whom.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Uri};

use super::{
    Problems,
    file::TelemetryTable,
    pem::{self, Files},
    sha_256,
};

const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);
/// Enough to see what is usual, and little enough to cost nothing.
const DEFAULT_RATIO: f64 = 0.01;
/// How many headers a collector may want to see, and how many bytes they may have together.
const MAX_HEADERS: usize = 16;
const MAX_HEADER_BYTES: usize = 8 * 1_024;

/// What is told about the server while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TelemetryConfig {
    /// Where metrics can be fetched, and whether the server lives and is ready.
    pub prometheus: Option<SocketAddr>,
    /// Where metrics and traces are sent.
    pub otlp: Option<Otlp>,
}

/// Where metrics and traces are sent by OTLP over gRPC.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// The collector, as `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// How it is known, and this server to it, if TLS is spoken.
    pub tls: Option<CollectorTls>,
    /// What each call to it says besides.
    pub headers: Headers,
    /// How often metrics are sent.
    pub interval: Duration,
    /// Which part of the calls without a caller's trace has one, from 0 to 1.
    pub ratio: f64,
}

/// How a collector is known that speaks TLS, and this server to it.
#[derive(Clone, PartialEq, Eq)]
pub struct CollectorTls {
    /// The authorities that vouch for it, in PEM.
    pub authorities: Arc<[u8]>,
    /// What is shown to it.
    pub shown: Option<ShownCertificate>,
}

/// A certificate that a collector is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// It and what leads from it to its authority, in PEM.
    pub certificate: Arc<[u8]>,
    /// Its key, in PEM.
    pub key: Arc<[u8]>,
}

impl fmt::Debug for ShownCertificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", sha_256(&self.certificate))
    }
}

impl fmt::Debug for CollectorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", sha_256(&self.authorities), self.shown)
    }
}

/// Headers, whose values are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Arc<[(HeaderName, HeaderValue)]>);

impl Headers {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// Reads lines of a name, a colon and a value.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (number, line) in lines {
            let (name, mut value) =
                header(line).map_err(|wrong| format!("has a line {number} that {wrong}"))?;
            if headers.iter().any(|(other, _)| *other == name) {
                return Err(format!("has `{name}` twice"));
            }
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let bytes: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if headers.is_empty() || headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(format!("must have 1 to {MAX_HEADERS} headers, of at most 8 KiB in all"));
        }
        Ok(Self(headers.into()))
    }
}

impl fmt::Debug for Headers {
    /// Without their values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What is wrong doesn't say what stands in the line, which may be a secret.
fn header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line.split_once(':').ok_or("has no colon behind a name")?;
    let name: HeaderName = name.trim().parse().map_err(|_| "begins with no header's name")?;
    let is_ours = ["content-type", "te", "host", "user-agent", "connection", "transfer-encoding"];
    if is_ours.contains(&name.as_str()) || name.as_str().starts_with("grpc-") {
        return Err("has a name that gRPC uses itself");
    }
    if name.as_str().ends_with("-bin") {
        return Err("has a name of binary values, which aren't sent");
    }
    let value = value.trim();
    let is_visible = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let value = HeaderValue::from_str(value).ok().filter(|_| is_visible && !value.is_empty());
    Ok((name, value.ok_or("has no value of visible ASCII characters")?))
}

pub(super) fn check(
    problems: &mut Problems,
    table: TelemetryTable,
    files: &mut Files,
) -> TelemetryConfig {
    let TelemetryTable {
        prometheus,
        otlp_endpoint,
        otlp_ca,
        otlp_certificate,
        otlp_key,
        otlp_headers_file,
        metrics_interval_seconds,
        trace_ratio,
    } = table;
    let interval = metrics_interval_seconds.map_or(DEFAULT_INTERVAL, Duration::from_secs);
    if !(1..=3_600).contains(&interval.as_secs()) {
        problems.add("telemetry.metrics_interval_seconds", "must be 1 to 3,600");
    }
    let ratio = trace_ratio.unwrap_or(DEFAULT_RATIO);
    if !(0.0..=1.0).contains(&ratio) {
        problems.add("telemetry.trace_ratio", "must be 0 to 1");
    }
    let names_files = [&otlp_ca, &otlp_certificate, &otlp_key, &otlp_headers_file];
    let says_how = metrics_interval_seconds.is_some()
        || trace_ratio.is_some()
        || names_files.iter().any(|file| file.is_some());
    if otlp_endpoint.is_none() && says_how {
        problems.add("telemetry.otlp_endpoint", "is missing: what else is said belongs to it");
    }
    let otlp = otlp_endpoint.map(|endpoint| {
        let collector = Collector::parse(&endpoint).unwrap_or_else(|| {
            let detail = "must be a collector's address, such as \"https://collector:4317\", or \
                          \"http://127.0.0.1:4317\" in plain text";
            problems.add("telemetry.otlp_endpoint", detail);
            Collector::InPlainText
        });
        let identity = (otlp_certificate.as_deref(), otlp_key.as_deref());
        let tls = check_tls(problems, collector, (otlp_ca.as_deref(), identity), files);
        let headers = otlp_headers_file.map(|path| {
            if collector == Collector::InPlainText {
                let detail = "belongs to an endpoint with `https://` or on loopback: who is on \
                              the way would read it";
                problems.add("telemetry.otlp_headers_file", detail);
            }
            let headers = files.read(&path).and_then(Headers::parse);
            headers.unwrap_or_else(|detail| {
                problems.add("telemetry.otlp_headers_file", detail);
                Headers::default()
            })
        });
        Otlp { endpoint, tls, headers: headers.unwrap_or_default(), interval, ratio }
    });
    TelemetryConfig { prometheus, otlp }
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collector {
    ByTls,
    InPlainText,
    /// In plain text, on this machine.
    OnLoopback,
}

impl Collector {
    fn parse(endpoint: &str) -> Option<Self> {
        let uri: Uri = endpoint.parse().ok()?;
        let is_address = uri.port().is_some()
            && !endpoint.contains('@')
            && uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        let is_local = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        match uri.scheme_str()? {
            _ if !is_address => None,
            "https" => Some(Self::ByTls),
            "http" if is_local => Some(Self::OnLoopback),
            "http" => Some(Self::InPlainText),
            _ => None,
        }
    }
}

fn check_tls(
    problems: &mut Problems,
    collector: Collector,
    (ca, (certificate, key)): (Option<&Path>, (Option<&Path>, Option<&Path>)),
    files: &mut Files,
) -> Option<CollectorTls> {
    if collector != Collector::ByTls {
        let named = [("otlp_ca", ca), ("otlp_certificate", certificate), ("otlp_key", key)];
        for (key, _) in named.iter().filter(|(_, file)| file.is_some()) {
            problems.add(format!("telemetry.{key}"), "belongs to an endpoint with `https://`");
        }
        return None;
    }
    let Some(ca) = ca else {
        let detail = "is missing: name the authorities that vouch for the collector, such as \
                      \"/etc/ssl/certs/ca-certificates.crt\"";
        problems.add("telemetry.otlp_ca", detail);
        return None;
    };
    if let Err(detail) = pem::roots(files, ca) {
        problems.add("telemetry.otlp_ca", detail);
    }
    let authorities = files.read(ca).ok()?.into();
    let shown = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            for (key, detail) in
                pem::server_certificate(files, certificate, key).err().unwrap_or_default()
            {
                problems.add(format!("telemetry.otlp_{key}"), detail);
            }
            let certificate = files.read(certificate).ok()?.into();
            Some(ShownCertificate { certificate, key: files.read(key).ok()?.into() })
        }
        (Some(_), None) => {
            problems.add("telemetry.otlp_key", "is missing: it belongs to `otlp_certificate`");
            None
        }
        (None, Some(_)) => {
            problems.add("telemetry.otlp_certificate", "is missing: it belongs to `otlp_key`");
            None
        }
    };
    Some(CollectorTls { authorities, shown })
}
