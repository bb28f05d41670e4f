//! The server that a command asks, and as whom.

use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use http::{Uri, uri::Scheme};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::environment;

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// After how long without a word from the server it is asked whether it is there, and how long it may
/// take to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Where a token is, if it isn't in a file. It can't be an argument: everybody on a machine sees
/// those.
const TOKEN: &str = "AAP_TOKEN";

/// Which server to ask, and as whom. The caller's bearer token is in a file, or in the variable
/// `AAP_TOKEN`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Server")]
pub(super) struct Remote {
    /// The server: `https://HOST:PORT`, or `http://` on this machine.
    #[arg(long, env = "AAP_SERVER", value_name = "URL", default_value = "http://127.0.0.1:7300")]
    server: Uri,
    /// A file with the caller's token; without it, the variable `AAP_TOKEN`.
    #[arg(long, env = "AAP_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the authorities that vouch for the server.
    #[arg(long, env = "AAP_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Calls with a token.
#[derive(Clone, Debug)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection that makes itself when it is needed, and calls with a token.
pub(super) type Connection = InterceptedService<Channel, Bearer>;

impl Remote {
    /// Where the server is, for people.
    pub(super) fn server(&self) -> &Uri {
        &self.server
    }

    /// Prepares a connection; nothing is sent yet. To be called on a runtime.
    pub(super) fn connection(&self) -> anyhow::Result<Connection> {
        let mut endpoint = Endpoint::from(self.server.clone())
            .user_agent(concat!("aap/", env!("CARGO_PKG_VERSION")))?
            .connect_timeout(CONNECT_TIME)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true);
        match (self.server.scheme(), &self.ca) {
            (Some(scheme), Some(ca)) if *scheme == Scheme::HTTPS => {
                let read = || format!("can't read `{}`", ca.display());
                let authorities = Certificate::from_pem(fs::read(ca).with_context(read)?);
                let tls = ClientTlsConfig::new().ca_certificate(authorities);
                endpoint = endpoint.tls_config(tls).context("the authorities can't be used")?;
            }
            (Some(scheme), None) if *scheme == Scheme::HTTPS => {
                bail!("name the authorities that vouch for `{}` with --ca", self.server)
            }
            (Some(scheme), _) if *scheme == Scheme::HTTP && is_here(&self.server) => {}
            (Some(scheme), _) if *scheme == Scheme::HTTP => bail!(
                "`{}` is another machine, and who is on the way there would read the token: use \
                 https",
                self.server
            ),
            _ => bail!("`{}` is no server: it is `https://HOST:PORT`", self.server),
        }
        Ok(InterceptedService::new(endpoint.connect_lazy(), Bearer(self.bearer()?)))
    }

    fn bearer(&self) -> anyhow::Result<MetadataValue<Ascii>> {
        let token = match &self.token_file {
            Some(path) => fs::read_to_string(path)
                .with_context(|| format!("can't read the token in `{}`", path.display()))?,
            None => environment(TOKEN)
                .context("no token: name a file that has it with --token-file, or set AAP_TOKEN")?,
        };
        let mut value: MetadataValue<_> = format!("Bearer {}", token.trim())
            .parse()
            .ok()
            .context("the token has characters that no token has")?;
        value.set_sensitive(true);
        Ok(value)
    }
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
}
