//! Where a configuration says to listen, and how; with everything that is wrong.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use crate::domain::network::{NetworkKind, Prefix, VpcId};

use super::{
    Problems,
    file::ListenerTable,
    pem::{self, Files, ServerCertificate},
};

/// Where to listen, and what is asked of who connects.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// The address.
    pub address: SocketAddr,
    /// What is spoken.
    pub security: Security,
    /// The network that it is reached from, if that is said.
    pub network: Option<NetworkKind>,
    /// Who may connect.
    pub sources: Sources,
}

/// What a listener speaks.
#[derive(Clone, Debug)]
pub enum Security {
    /// Everybody on the way can read and change everything.
    Plain,
    /// TLS, with this certificate.
    Tls(ServerCertificate),
}

/// Who may connect to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Anybody, each for itself.
    Any,
    /// These proxies only, each saying for whom by the PROXY protocol.
    Proxies(Box<[Prefix]>),
}

impl ListenerConfig {
    /// One that speaks plain text with anybody.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, security: Security::Plain, network: None, sources: Sources::Any }
    }

    /// Whether it is the same listener, perhaps with another certificate.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { address, security, network, sources } = self;
        let kinds = (security, &other.security);
        let is_of_one_kind = matches!(
            kinds,
            (Security::Plain, Security::Plain) | (Security::Tls(_), Security::Tls(_))
        );
        is_of_one_kind
            && *address == other.address
            && *network == other.network
            && *sources == other.sources
    }
}

/// What of the network may be spoken to in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainText {
    LoopbackOnly,
    Anywhere,
}

impl PlainText {
    pub(super) fn allowed_from(network: bool) -> Self {
        if network { Self::Anywhere } else { Self::LoopbackOnly }
    }
}

/// Where a listener stands in the file, and what it has.
pub(super) struct Listeners<'p> {
    pub(super) problems: &'p mut Problems,
    pub(super) files: &'p mut Files,
    pub(super) plain_text: PlainText,
}

impl Listeners<'_> {
    pub(super) fn check(
        &mut self,
        simple: Vec<SocketAddr>,
        tables: Vec<ListenerTable>,
    ) -> Vec<ListenerConfig> {
        let mut listeners = Vec::new();
        if simple.is_empty() && tables.is_empty() {
            self.problems
                .add("listen", "is missing: name at least one address, such as \"127.0.0.1:7300\"");
        }
        let mut taken = BTreeSet::new();
        for (number, address) in simple.into_iter().enumerate() {
            let place = format!("listen[{number}]");
            self.refuse_plain_text(&place, address);
            self.refuse_twice(&place, address, &mut taken);
            listeners.push(ListenerConfig::plain(address));
        }
        for (number, table) in tables.into_iter().enumerate() {
            let place = format!("listeners[{number}]");
            let Some(listener) = self.check_one(&place, table) else { continue };
            self.refuse_twice(&format!("{place}.address"), listener.address, &mut taken);
            listeners.push(listener);
        }
        listeners
    }

    fn check_one(&mut self, place: &str, table: ListenerTable) -> Option<ListenerConfig> {
        let ListenerTable { address, certificate, key, network, vpc_id, proxies } = table;
        if address.is_none() {
            self.add(place, "address", "is missing: name one, such as \"0.0.0.0:7300\"");
        }
        let security = self.check_security(place, address, (certificate, key));
        let network = self.check_network(place, network, vpc_id);
        let sources = self.check_sources(place, proxies);
        Some(ListenerConfig { address: address?, security: security?, network, sources: sources? })
    }

    fn check_security(
        &mut self,
        place: &str,
        address: Option<SocketAddr>,
        files: (Option<PathBuf>, Option<PathBuf>),
    ) -> Option<Security> {
        match files {
            (Some(certificate), Some(key)) => {
                let pair = pem::server_certificate(self.files, &certificate, &key);
                let wrong = match pair {
                    Ok(certificate) => return Some(Security::Tls(certificate)),
                    Err(wrong) => wrong,
                };
                for (key, detail) in wrong {
                    self.add(place, key, detail);
                }
                None
            }
            (Some(_), None) => {
                self.add(place, "key", "is missing: name the file of the certificate's key");
                None
            }
            (None, Some(_)) => {
                let detail = "is missing: name the file of the key's certificate";
                self.add(place, "certificate", detail);
                None
            }
            (None, None) => {
                if let Some(address) = address {
                    self.refuse_plain_text(&format!("{place}.address"), address);
                }
                Some(Security::Plain)
            }
        }
    }

    fn check_network(
        &mut self,
        place: &str,
        network: Option<String>,
        vpc_id: Option<String>,
    ) -> Option<NetworkKind> {
        let network = match network.as_deref() {
            Some("vpc") => {
                let id = vpc_id.as_deref().ok_or("is missing: say which VPC".to_owned());
                let id = id.and_then(|id| VpcId::parse(id).map_err(|error| error.to_string()));
                return id
                    .map(NetworkKind::Vpc)
                    .map_err(|detail| self.add(place, "vpc_id", detail))
                    .ok();
            }
            None => None,
            Some("public") => Some(NetworkKind::Public),
            Some("private") => Some(NetworkKind::Private),
            Some(_) => {
                self.add(place, "network", "must be \"public\", \"vpc\" or \"private\"");
                return None;
            }
        };
        if vpc_id.is_some() {
            self.add(place, "vpc_id", "is for `network = \"vpc\"`: take it out");
        }
        network
    }

    fn check_sources(&mut self, place: &str, proxies: Option<Vec<String>>) -> Option<Sources> {
        let Some(proxies) = proxies else { return Some(Sources::Any) };
        if proxies.is_empty() {
            self.add(place, "proxies", "is empty: name who may connect, or take it out");
            return None;
        }
        let prefixes: Result<_, _> = proxies.iter().map(|text| Prefix::parse(text)).collect();
        match prefixes {
            Ok(prefixes) => Some(Sources::Proxies(prefixes)),
            Err(error) => {
                self.add(place, "proxies", format!("has one that {error}"));
                None
            }
        }
    }

    fn add(&mut self, place: &str, key: &str, detail: impl ToString) {
        self.problems.add(format!("{place}.{key}"), detail);
    }

    fn refuse_plain_text(&mut self, place: &str, address: SocketAddr) {
        if !address.ip().is_loopback() && self.plain_text == PlainText::LoopbackOnly {
            self.problems.add(
                place,
                format!(
                    "is {address}, which is not loopback: calls, tokens included, would cross the \
                     network unencrypted; give it a certificate by `[[listeners]]`, or accept it by \
                     `allow_plaintext_from_network = true`"
                ),
            );
        }
    }

    fn refuse_twice(&mut self, place: &str, address: SocketAddr, taken: &mut BTreeSet<SocketAddr>) {
        // Port 0 stands for any, which is another one each time.
        if address.port() != 0 && !taken.insert(address) {
            self.problems.add(place, format!("is {address} once more: each address stands once"));
        }
    }
}
