//! The server that a command asks, and as whom: from flags, the environment and the contexts file.
//!
//! What is named by a flag counts before the environment, and that before the context. With
//! `--context` the environment doesn't count at all: a token in it belongs to another server.

use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use http::{Uri, uri::Scheme};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::domain::name::Location;

use super::{
    context::{Context, Contexts},
    environment,
    failure::Failure,
};

/// Where a server listens that was told nothing else.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7300";
/// How long connecting to one address may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// After how long without a word from the server it is asked whether it is there, and how long it may
/// take to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Which server to ask, and as whom.
#[derive(Args, Clone, Debug)]
#[expect(clippy::doc_markdown, reason = "the help has no backticks where clap has none")]
#[command(next_help_heading = "Server")]
pub(super) struct Server {
    /// The context to take from the contexts file, instead of the current one; then the environment
    /// doesn't count [env: AAP_CONTEXT]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The server, `https://HOST:PORT`, or `http://` on this machine; of several, separated by
    /// commas, the first that answers [env: AAP_SERVER]
    #[arg(long = "server", value_name = "URL")]
    url: Option<String>,
    /// A file with the caller's token [env: AAP_TOKEN_FILE, or the token itself in AAP_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the authorities that vouch for the server [env: AAP_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A PEM file with the caller's certificate [env: AAP_CERTIFICATE]
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// A PEM file with the key of the caller's certificate [env: AAP_KEY]
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

/// Which server to ask, as whom, and where short names are.
#[derive(Args, Clone, Debug)]
#[expect(clippy::doc_markdown, reason = "the help has no backticks where clap has none")]
#[command(next_help_heading = "Server")]
pub(super) struct Remote {
    #[command(flatten)]
    server: Server,
    /// The account that short names are in [env: AAP_ACCOUNT]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// The region that short names are in [env: AAP_REGION]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// Whose token to call with.
#[derive(Clone, Copy, Debug)]
enum Token {
    OfCaller,
    OfNobody,
}

/// Calls with a token, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection that calls as somebody.
pub(super) type Connection = InterceptedService<Channel, Bearer>;

/// A server, a caller and a place, with everything that flags, environment and context say.
#[derive(Debug)]
pub(super) struct Target {
    servers: Vec<Uri>,
    token: Option<MetadataValue<Ascii>>,
    ca: Option<Certificate>,
    identity: Option<Identity>,
    /// What the server is called in assertions, if it is known.
    pub(super) audience: Option<String>,
    /// Where short names are.
    pub(super) place: Place,
}

/// The account and region that short names are in, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    account: Option<String>,
    region: Option<String>,
}

impl Place {
    /// A region of an account.
    pub(super) fn of(location: &Location) -> Self {
        let Location { account, region } = location;
        Self { account: Some(account.to_string()), region: Some(region.to_string()) }
    }

    /// The account's id.
    pub(super) fn account_id(&self) -> anyhow::Result<String> {
        Ok(self.account.clone().ok_or_else(|| missing("account", "AAP_ACCOUNT"))?)
    }

    /// The account's name.
    pub(super) fn account(&self) -> anyhow::Result<String> {
        Ok(format!("accounts/{}", self.account_id()?))
    }

    /// The name of the account and region.
    pub(super) fn location(&self) -> anyhow::Result<String> {
        let account = self.account()?;
        let region = self.region.as_ref();
        let region = region.ok_or_else(|| missing("region", "AAP_REGION"))?;
        Ok(format!("{account}/regions/{region}"))
    }
}

fn missing(what: &str, variable: &str) -> Failure {
    let remedy = format!("name it with --{what}, in {variable} or in the context");
    Failure::invalid(format!("which {what}?"), vec![remedy, "or write the full name".to_owned()])
}

impl Remote {
    /// Puts together what flags, environment and context say.
    pub(super) fn target(&self) -> anyhow::Result<Target> {
        let Self { server, account, region } = self;
        server.target(Token::OfCaller, account.as_ref(), region.as_ref())
    }

    /// The same for a call that needs no caller: its token isn't looked for.
    pub(super) fn target_without_token(&self) -> anyhow::Result<Target> {
        let Self { server, account, region } = self;
        server.target(Token::OfNobody, account.as_ref(), region.as_ref())
    }
}

impl Server {
    /// Puts together what flags, environment and context say, without a place of its own.
    pub(super) fn target_anywhere(&self) -> anyhow::Result<Target> {
        self.target(Token::OfCaller, None, None)
    }

    fn target(
        &self,
        whose: Token,
        account: Option<&String>,
        region: Option<&String>,
    ) -> anyhow::Result<Target> {
        let Self { context, url, token_file, ca, certificate, key } = self;
        let explicit = context.is_some();
        let variable = |name: &str| environment(name).filter(|_| !explicit);
        let context = match context.clone().or_else(|| variable("AAP_CONTEXT")) {
            Some(name) => Contexts::load()?.get(&name)?.clone(),
            None => Contexts::load()?.current().cloned().unwrap_or_default(),
        };
        let Context {
            server: context_server,
            token_file: context_token,
            ca: context_ca,
            certificate: context_certificate,
            key: context_key,
            account: context_account,
            region: context_region,
            audience: context_audience,
        } = context;
        let text = |flag: Option<&String>, name: &str, context: Option<String>| {
            flag.cloned().or_else(|| variable(name)).or(context)
        };
        let path = |flag: &Option<PathBuf>, name: &str, context: Option<PathBuf>| {
            flag.clone().or_else(|| variable(name).map(PathBuf::from)).or(context)
        };
        let token = match (whose, token_file, variable("AAP_TOKEN")) {
            (Token::OfNobody, ..) => None,
            (Token::OfCaller, None, Some(token)) => Some(bearer(&token)?),
            (Token::OfCaller, ..) => path(token_file, "AAP_TOKEN_FILE", context_token)
                .map(|path| bearer(&read_text(&path)?))
                .transpose()?,
        };
        let ca = path(ca, "AAP_CA", context_ca);
        let certificate = path(certificate, "AAP_CERTIFICATE", context_certificate);
        let identity = match (certificate, path(key, "AAP_KEY", context_key)) {
            (Some(certificate), Some(key)) => {
                Some(Identity::from_pem(read_text(&certificate)?, read_text(&key)?))
            }
            (None, None) => None,
            _ => bail!("a certificate and its key belong together: name both"),
        };
        let servers = text(url.as_ref(), "AAP_SERVER", context_server);
        let servers = servers.as_deref().unwrap_or(DEFAULT_SERVER);
        Ok(Target {
            servers: servers.split(',').map(parse_server).collect::<anyhow::Result<_>>()?,
            token,
            ca: ca.map(|path| read_text(&path).map(Certificate::from_pem)).transpose()?,
            identity,
            audience: text(None, "AAP_AUDIENCE", context_audience),
            place: Place {
                account: text(account, "AAP_ACCOUNT", context_account),
                region: text(region, "AAP_REGION", context_region),
            },
        })
    }
}

impl Target {
    /// Connects to the first server that answers.
    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let mut failures = Vec::new();
        for server in &self.servers {
            match self.endpoint(server)?.connect().await {
                Ok(channel) => {
                    return Ok(InterceptedService::new(channel, Bearer(self.token.clone())));
                }
                Err(error) => {
                    failures.push(format!("{}: {}", shown(server), innermost(&error)));
                }
            }
        }
        Err(Failure::unreachable("no server can be reached", failures).into())
    }

    /// Prepares a connection that makes itself when it is needed, and again when it is lost. With
    /// several servers, one must answer now. To be called on a runtime.
    pub(super) async fn connect_at_need(&self) -> anyhow::Result<Connection> {
        match self.servers.as_slice() {
            [server] => {
                let channel = self.endpoint(server)?.connect_lazy();
                Ok(InterceptedService::new(channel, Bearer(self.token.clone())))
            }
            _ => self.connect().await,
        }
    }

    /// The servers, for people.
    pub(super) fn shown(&self) -> String {
        self.servers.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    fn endpoint(&self, server: &Uri) -> anyhow::Result<Endpoint> {
        let endpoint = Endpoint::from(server.clone())
            .user_agent(concat!("aap/", env!("CARGO_PKG_VERSION")))?
            .connect_timeout(CONNECT_TIME)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true);
        if server.scheme() == Some(&Scheme::HTTP) {
            if !is_here(server) {
                let remedy = "who is on the way there would read the token: use https".to_owned();
                let message = format!("`{}` is another machine", shown(server));
                return Err(Failure::invalid(message, vec![remedy]).into());
            }
            return Ok(endpoint);
        }
        let Some(ca) = &self.ca else {
            let message = format!("who vouches for `{}`?", shown(server));
            let remedy = "name its authorities with --ca, in AAP_CA or in the context".to_owned();
            return Err(Failure::invalid(message, vec![remedy]).into());
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(ca.clone());
        if let Some(identity) = &self.identity {
            tls = tls.identity(identity.clone());
        }
        endpoint.tls_config(tls).context("the certificates can't be used")
    }
}

/// Runs what asks a server, on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("can't start a runtime")?.block_on(work)
}

/// Does what must not be cut off in its middle: ctrl-c ends it as a failure, so that what was begun is
/// put away.
pub(super) async fn unless_interrupted<T>(
    interrupted: impl FnOnce() -> Failure,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        // First of all it begins to listen.
        biased;
        heard = tokio::signal::ctrl_c() => {
            heard.context("can't listen for signals")?;
            Err(interrupted().into())
        }
        done = work => done,
    }
}

/// Takes an answer, or says why there is none.
pub(super) fn answered<T>(answer: Result<tonic::Response<T>, Status>) -> anyhow::Result<T> {
    Ok(answer.map_err(Failure::from)?.into_inner())
}

fn parse_server(text: &str) -> anyhow::Result<Uri> {
    let text = text.trim();
    let wrong = || {
        Failure::invalid(format!("`{text}` is no server: it is `https://HOST:PORT`"), Vec::new())
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
    if known && uri.host().is_some() { Ok(uri) } else { Err(wrong().into()) }
}

fn read_text(path: &std::path::Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read `{}`", path.display()))
}

fn bearer(token: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    let value: Option<MetadataValue<_>> = format!("Bearer {}", token.trim()).parse().ok();
    let mut value = value.context("the token has characters that no token has")?;
    value.set_sensitive(true);
    Ok(value)
}

/// A server as one writes it.
fn shown(server: &Uri) -> String {
    server.to_string().trim_end_matches('/').to_owned()
}

/// What it came from in the end: the layers above say only that something failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Whether a server is on this machine.
fn is_here(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_in_plain_text_to_this_machine_only() {
        for (server, is_it) in [
            ("http://127.0.0.1:7300", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://localhost.example.org:1", false),
            ("http://127.0.0.1.example.org:1", false),
            ("http://192.0.2.1:1", false),
            ("http://[::ffff:192.0.2.1]:1", false),
        ] {
            assert_eq!(is_here(&server.parse().unwrap()), is_it, "{server}");
        }
    }

    #[test]
    fn a_server_has_a_scheme_and_a_host() {
        assert_eq!(
            shown(&parse_server(" https://aap.example:7300").unwrap()),
            "https://aap.example:7300"
        );
        for wrong in ["", "aap.example:7300", "ftp://aap.example", "/run/aap"] {
            assert!(parse_server(wrong).is_err(), "{wrong}");
        }
    }
}
