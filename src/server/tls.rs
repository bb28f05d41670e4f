//! TLS as the listeners speak it: version 1.2 or 1.3, HTTP/2, with ring's cryptography.
//!
//! Any client certificate is taken whose key the client shows to hold: applications sign theirs
//! themselves, and callers with a token have none. Whether anybody vouches for it is not decided in
//! the handshake.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        WebPkiSupportedAlgorithms, ring::default_provider, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::SingleCertAndKey,
};

use crate::config::ServerCertificate;

const HTTP_2: &[u8] = b"h2";

/// How a listener speaks TLS as of now. A handshake goes on as it began.
#[derive(Debug)]
pub(super) struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    pub(super) fn new(certificate: &ServerCertificate) -> Result<Self, Error> {
        Ok(Self(ArcSwap::new(server_config(certificate)?)))
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }

    /// Has handshakes that begin from now on show another certificate.
    pub(super) fn replace(&self, certificate: &ServerCertificate) -> Result<(), Error> {
        self.0.store(server_config(certificate)?);
        Ok(())
    }
}

fn server_config(certificate: &ServerCertificate) -> Result<Arc<ServerConfig>, Error> {
    let provider = default_provider();
    let holder = AnyHolder(provider.signature_verification_algorithms);
    let resolver = SingleCertAndKey::from(certificate.key().as_ref().clone());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(holder))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    // Connections last, so that resuming one saves little; and each shows anew that it holds its key.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Takes the certificate of whoever holds its key.
#[derive(Debug)]
struct AnyHolder(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyHolder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: a client whose certificate nobody has signed would send none.
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Nothing in it is believed; the signatures below show that its key is there.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
