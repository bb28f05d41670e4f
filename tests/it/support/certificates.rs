//! Authorities, certificates, and clients that speak TLS. Every key is made by the test that needs it.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion,
        client::ResolvesClientCert,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        sign::CertifiedKey,
        version::{TLS12, TLS13},
    },
};
use tonic::transport::{Channel, Endpoint};

use super::clients::Client;

/// The name in servers' certificates.
pub const HOST: &str = "aap.test";

/// A certificate and its key, as files have them.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    fn of(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes it to two files of a name, each put in its place at once.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) =
            (dir.join(format!("{name}.pem")), dir.join(format!("{name}-key.pem")));
        for (path, text) in [(&certificate, &self.certificate), (&key, &self.key)] {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
        (certificate, key)
    }

    /// What it shows in a handshake.
    pub fn shown(&self) -> CertifiedKey {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let chain: Vec<_> = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let key = default_provider().key_provider.load_private_key(key).unwrap();
        CertifiedKey::new(chain, key)
    }
}

/// What a certificate is to say: for whom it is, with names as URIs or `dns:` and a host's name.
pub fn params(sans: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "anybody");
    params.subject_alt_names = sans
        .iter()
        .map(|san| match san.strip_prefix("dns:") {
            Some(name) => SanType::DnsName(name.try_into().unwrap()),
            None => SanType::URI((*san).try_into().unwrap()),
        })
        .collect();
    params
}

/// A certificate that its holder has signed itself.
pub fn self_signed(params: &CertificateParams) -> Pair {
    let key = KeyPair::generate().unwrap();
    Pair::of(&params.self_signed(&key).unwrap(), &key)
}

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: String,
}

impl Authority {
    pub fn new() -> Self {
        let (mut params, key) = (params(&[]), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair::of(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }

    /// A client's certificate.
    pub fn client(&self, san: &str) -> Pair {
        let mut params = params(&[san]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// A client's certificate that is valid through some day of 2025 alone.
    pub fn client_until(&self, san: &str, month: u8, day: u8) -> Pair {
        let mut params = params(&[san]);
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2025, month, day);
        self.sign(&params)
    }

    /// The certificate of a server that is known by its address on this machine.
    pub fn local_server(&self) -> Pair {
        let mut params = params(&[]);
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A server's certificate.
    pub fn server(&self) -> Pair {
        let mut params = params(&[&format!("dns:{HOST}")]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }
}

/// How a client speaks TLS.
#[derive(Clone, Debug)]
pub struct Speaker {
    config: ClientConfig,
}

/// Shows one certificate whatever is asked for, also one that isn't its key's.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

impl Speaker {
    /// One that trusts servers whose certificate this authority has signed.
    pub fn trusting(authority: &Authority) -> Self {
        Self::with_versions(authority, BOTH)
    }

    /// The same with TLS 1.2 at most.
    pub fn of_tls_12(authority: &Authority) -> Self {
        Self::with_versions(authority, &[&TLS12])
    }

    fn with_versions(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { config }
    }

    /// One that shows a certificate.
    #[must_use]
    pub fn showing(mut self, shown: CertifiedKey) -> Self {
        self.config.client_auth_cert_resolver = Arc::new(Shows(Arc::new(shown)));
        self
    }

    /// One that speaks another protocol.
    #[must_use]
    pub fn for_protocol(mut self, protocol: &str) -> Self {
        self.config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        self
    }

    /// Connects, and does the handshake.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.speak(TcpStream::connect(address).await?).await
    }

    /// Does the handshake on a connection.
    pub async fn speak(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        connector.connect(ServerName::try_from(HOST).unwrap(), stream).await
    }

    /// A new connection for calls, which is made with its first one.
    pub fn channel(&self, address: SocketAddr) -> Channel {
        let this = self.clone();
        let connector = tower::service_fn(move |_| {
            let this = this.clone();
            async move { this.connect(address).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://aap.test").connect_with_connector_lazy(connector)
    }

    /// A caller that shows nothing but its connection, a new one.
    pub fn client(&self, address: SocketAddr) -> Client {
        Client::without_token(self.channel(address))
    }

    /// A caller on a new connection, with a token.
    pub fn client_with(&self, address: SocketAddr, token: &str) -> Client {
        Client::new(self.channel(address), token)
    }
}

/// Connects from an address of this machine.
pub async fn connect_from(source: &str, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{source}:0").parse().unwrap())?;
    socket.connect(address).await
}
