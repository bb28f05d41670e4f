//! Client certificates: what the other end of a connection has shown in its handshake, and whether
//! an authority of callers vouches for it.
//!
//! A handshake proves that its other end holds a key, and nothing else: anybody can write anybody's
//! name into a certificate. The names in one count only if a chain from it leads to a configured
//! authority. That is verified once for a connection, and once more when the authorities are others
//! than before; until when it holds is for who asks to judge, call by call.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ring::digest::{Context, SHA256};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, DnsName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_cert::{Certificate, der::Decode, ext::pkix::BasicConstraints, time::Time};

use crate::domain::time::UnixNanos;

/// How many certificates a chain may have; a longer one is nobody's.
const MAX_CHAIN: usize = 8;
/// The most bytes that a name has.
const MAX_SAN_BYTES: usize = 512;

/// A name that a certificate bears for its holder. Compared byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A host's name.
    Dns(Box<str>),
    /// A URI, such as a SPIFFE id.
    Uri(Box<str>),
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSan {
    /// It is no host's name.
    #[error("must be `dns:` and a host's name in lower case, without wildcards")]
    Dns,
    /// It is no URI.
    #[error(
        "must be a URI, such as \"spiffe://example/ops\", or \"dns:\" and a host's name: at most \
         512 visible ASCII characters, without `*`"
    )]
    Uri,
}

impl San {
    /// Reads a name: `dns:` and a host's name, or a URI.
    pub fn parse(text: &str) -> Result<Self, InvalidSan> {
        if let Some(name) = text.strip_prefix("dns:") {
            let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
            let is_name = is_lower && DnsName::try_from(name).is_ok();
            return if is_name { Ok(Self::Dns(name.into())) } else { Err(InvalidSan::Dns) };
        }
        let (scheme, rest) = text.split_once(':').ok_or(InvalidSan::Uri)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        if is_scheme && !rest.is_empty() && is_visible && text.len() <= MAX_SAN_BYTES {
            Ok(Self::Uri(text.into()))
        } else {
            Err(InvalidSan::Uri)
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(uri) => f.write_str(uri),
        }
    }
}

impl fmt::Debug for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// From when until when a certificate is valid; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: UnixNanos,
    /// Its last second.
    pub not_after: UnixNanos,
}

/// Why bytes are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an X.509 certificate")]
pub struct InvalidCertificate;

impl Validity {
    /// The validity that a certificate states.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, InvalidCertificate> {
        let parsed = Certificate::from_der(certificate).map_err(|_| InvalidCertificate)?;
        Ok(Self::stated_by(&parsed))
    }

    fn stated_by(certificate: &Certificate) -> Self {
        let validity = certificate.tbs_certificate().validity();
        let point = |time: Time| {
            let seconds = time.to_unix_duration().as_secs();
            UnixNanos::from_parts(i64::try_from(seconds).unwrap_or(i64::MAX), 0)
        };
        Self { not_before: point(validity.not_before), not_after: point(validity.not_after) }
    }

    /// From when on it is over.
    pub fn end(self) -> UnixNanos {
        self.not_after.plus_seconds(1)
    }

    /// Whether a time belongs to it.
    pub fn includes(self, time: UnixNanos) -> bool {
        self.not_before <= time && time < self.end()
    }

    fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// The authorities that vouch for callers.
#[derive(Debug, Default)]
pub struct Authorities {
    all: Vec<Authority>,
    /// Tells them from others.
    digest: [u8; 32],
}

#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    validity: Validity,
}

/// Why a certificate is no authority's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthority {
    /// It is no certificate.
    #[error(transparent)]
    Certificate(#[from] InvalidCertificate),
    /// It may not sign others.
    #[error("is not the certificate of an authority: it has no basic constraint `CA`")]
    NoAuthority,
}

impl Authorities {
    /// Takes in one more.
    pub fn add(&mut self, certificate: &CertificateDer<'_>) -> Result<Validity, InvalidAuthority> {
        let parsed = Certificate::from_der(certificate).map_err(|_| InvalidCertificate)?;
        let constraints = parsed.tbs_certificate().get_extension::<BasicConstraints>();
        match constraints.map_err(|_| InvalidCertificate)? {
            Some((_, BasicConstraints { ca: true, .. })) => {}
            _ => return Err(InvalidAuthority::NoAuthority),
        }
        let validity = Validity::stated_by(&parsed);
        let anchor =
            webpki::anchor_from_trusted_cert(certificate).map_err(|_| InvalidCertificate)?;
        self.all.push(Authority { anchor: anchor.to_owned(), validity });
        let mut context = Context::new(&SHA256);
        context.update(&self.digest);
        context.update(certificate);
        self.digest.copy_from_slice(context.finish().as_ref());
        Ok(validity)
    }

    /// A digest of them all.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// How long each of their certificates is valid.
    pub fn validities(&self) -> impl Iterator<Item = Validity> {
        self.all.iter().map(|authority| authority.validity)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whom they vouch for at a time, if it is somebody: a chain from the first certificate, by the
    /// others, to one of them.
    fn vouch(&self, chain: &[CertificateDer<'_>], time: UnixNanos) -> Option<Vouched> {
        let (leaf, others) = chain.split_first()?;
        if others.len() >= MAX_CHAIN || self.is_empty() {
            return None;
        }
        let valid = || self.all.iter().filter(|authority| authority.validity.includes(time));
        let anchors: Vec<_> = valid().map(|authority| authority.anchor.clone()).collect();
        let certificate = EndEntityCert::try_from(leaf).ok()?;
        let seconds = u64::try_from(time.seconds()).ok()?;
        let path = certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                others,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .ok()?;
        let anchor = path.anchor();
        let is_anchor = |authority: &&Authority| {
            authority.anchor.subject == anchor.subject
                && authority.anchor.subject_public_key_info == anchor.subject_public_key_info
        };
        // An authority may have been renewed: it lasts as long as its last certificate.
        let authorities = valid().filter(is_anchor).map(|authority| authority.validity);
        let mut validity = authorities.max_by_key(|validity| validity.not_after)?;
        validity = validity.and(Validity::of(leaf).ok()?);
        for intermediate in path.intermediate_certificates() {
            validity = validity.and(Validity::of(&intermediate.der()).ok()?);
        }
        let dns = certificate.valid_dns_names().map(|name| San::Dns(name.into()));
        let uris = certificate.valid_uri_names().map(|uri| San::Uri(uri.into()));
        Some(Vouched { sans: dns.chain(uris).collect(), validity })
    }
}

/// What authorities vouch for. Only they make one.
#[derive(Debug, PartialEq, Eq)]
pub struct Vouched {
    sans: Box<[San]>,
    validity: Validity,
}

impl Vouched {
    /// The names that the certificate bears.
    pub fn sans(&self) -> &[San] {
        &self.sans
    }

    /// How long the whole chain is valid, the authority included.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

/// A certificate whose key the other end of a connection holds. Cheap to clone.
#[derive(Clone)]
pub struct PeerCertificate(Arc<Presented>);

struct Presented {
    /// The certificate, and what came with it. Never empty.
    chain: Box<[CertificateDer<'static>]>,
    public_key: SubjectPublicKeyInfoDer<'static>,
    verdict: ArcSwap<Verdict>,
}

/// What certain authorities say of a certificate.
#[derive(Debug)]
struct Verdict {
    authorities: [u8; 32],
    vouched: Option<Arc<Vouched>>,
}

impl Verdict {
    fn by(authorities: &Authorities, chain: &[CertificateDer<'_>], time: UnixNanos) -> Self {
        let vouched = authorities.vouch(chain, time).map(Arc::new);
        Self { authorities: authorities.digest, vouched }
    }
}

impl PeerCertificate {
    /// The certificate of a handshake in which possession of its key was shown, with what came with
    /// it, and what the authorities say at that time.
    pub fn new(
        chain: &[CertificateDer<'_>],
        authorities: &Authorities,
        time: UnixNanos,
    ) -> Result<Self, InvalidCertificate> {
        let leaf = chain.first().ok_or(InvalidCertificate)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| InvalidCertificate)?;
        let public_key = certificate.subject_public_key_info();
        let verdict = ArcSwap::from_pointee(Verdict::by(authorities, chain, time));
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        Ok(Self(Arc::new(Presented { chain, public_key, verdict })))
    }

    /// Its public key, whose private key the other end holds.
    pub fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0.public_key
    }

    /// The certificate itself. Nothing in it is to be believed but its key.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.0.chain.first()
    }

    /// What these authorities vouch for, asked anew if the last ones asked were others. It may not be
    /// valid any more.
    pub fn vouched(&self, authorities: &Authorities, time: UnixNanos) -> Option<Arc<Vouched>> {
        let known = self.0.verdict.load();
        if known.authorities == authorities.digest {
            return known.vouched.clone();
        }
        let verdict = Verdict::by(authorities, &self.0.chain, time);
        let vouched = verdict.vouched.clone();
        self.0.verdict.store(Arc::new(verdict));
        vouched
    }
}

impl PartialEq for PeerCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.chain == other.0.chain
    }
}

impl Eq for PeerCertificate {}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerCertificate").field(&*self.0.verdict.load()).finish()
    }
}

#[cfg(test)]
mod tests;
