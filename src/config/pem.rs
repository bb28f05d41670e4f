//! Files with certificates and keys that a configuration names.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    Error as TlsError, InconsistentKeys,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::{
    domain::time::UnixNanos,
    identity::{
        certificate::{Authorities, Validity},
        https::Roots,
    },
};

/// The most bytes that are read of a file.
const MAX_FILE_BYTES: u64 = 1_024 * 1_024;

/// What was in a file; nothing if it can't be read.
pub(super) type Content = Option<[u8; 32]>;

/// The files that a configuration names, each as it was when it was first asked for.
#[derive(Default)]
pub(super) struct Files(BTreeMap<PathBuf, Result<Vec<u8>, String>>);

impl Files {
    pub(super) fn read(&mut self, path: &Path) -> Result<&[u8], String> {
        let read = self.0.entry(path.to_owned()).or_insert_with(|| {
            read(path).map_err(|error| format!("can't be read: `{}`: {error}", path.display()))
        });
        read.as_deref().map_err(Clone::clone)
    }

    /// What was in each.
    pub(super) fn contents(&self) -> BTreeMap<PathBuf, Content> {
        let digest = |read: &Result<Vec<u8>, _>| read.as_deref().ok().map(super::sha_256);
        self.0.iter().map(|(path, read)| (path.clone(), digest(read))).collect()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok(bytes)
}

/// What is in a file now.
pub(super) fn content_of(path: &Path) -> Content {
    read(path).ok().map(|bytes| super::sha_256(&bytes))
}

/// A certificate that a listener shows, with its key.
#[derive(Clone)]
pub struct ServerCertificate {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl ServerCertificate {
    /// The certificate, what leads from it to its authority, and its key.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// A digest of the certificates.
    pub(super) fn digest(&self) -> [u8; 32] {
        let bytes: Vec<u8> = self.key.cert.iter().flat_map(|one| one.iter().copied()).collect();
        super::sha_256(&bytes)
    }

    /// What is to be said of it at a time.
    pub(super) fn warning(&self, now: UnixNanos) -> Option<String> {
        warning(self.validity, now)
    }
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// What is to be said of a certificate that isn't valid at a time.
pub(super) fn warning(validity: Validity, now: UnixNanos) -> Option<String> {
    let Validity { not_before, not_after } = validity;
    if now < not_before {
        Some(format!("is not valid before {not_before}"))
    } else if now >= validity.end() {
        Some(format!("expired at {not_after}"))
    } else {
        None
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err("has no certificate in PEM".to_owned()),
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}

/// The key that belongs to what a file of certificates begins with.
pub(super) fn server_certificate(
    files: &mut Files,
    certificate: &Path,
    key: &Path,
) -> Result<ServerCertificate, Vec<(&'static str, String)>> {
    let chain = files.read(certificate).and_then(|bytes| {
        let chain = certificates(bytes)?;
        let leaf = chain.first().ok_or("has no certificate in PEM")?;
        let validity = Validity::of(leaf).map_err(|error| error.to_string())?;
        Ok((chain, validity))
    });
    let key = files.read(key).and_then(|bytes| {
        PrivateKeyDer::from_pem_slice(bytes).map_err(|_| {
            "has no private key in PEM (PKCS#8, PKCS#1 or SEC1, not encrypted)".to_owned()
        })
    });
    match (chain, key) {
        (Ok((chain, validity)), Ok(key)) => {
            let key = CertifiedKey::from_der(chain, key, &default_provider())
                .map_err(|error| vec![not_a_pair(&error)])?;
            Ok(ServerCertificate { key: Arc::new(key), validity })
        }
        (chain, key) => {
            let (chain, key) = (chain.err(), key.err());
            let of = |name, error: Option<String>| error.map(|error| (name, error));
            Err(of("certificate", chain).into_iter().chain(of("key", key)).collect())
        }
    }
}

fn not_a_pair(error: &TlsError) -> (&'static str, String) {
    match error {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            ("key", "is not the key of the first certificate in `certificate`".to_owned())
        }
        TlsError::InvalidCertificate(_) => {
            ("certificate", "begins with a certificate that can't be used".to_owned())
        }
        error => ("key", format!("can't be used: {error}")),
    }
}

/// The authorities in a file that vouch for servers which are asked.
pub(super) fn roots(files: &mut Files, path: &Path) -> Result<Roots, String> {
    Roots::of(&certificates(files.read(path)?)?).map_err(|error| error.to_string())
}

/// The authorities in a file.
pub(super) fn authorities(files: &mut Files, path: &Path) -> Result<Authorities, String> {
    let mut authorities = Authorities::default();
    for certificate in certificates(files.read(path)?)? {
        authorities.add(&certificate).map_err(|error| format!("has a certificate that {error}"))?;
    }
    Ok(authorities)
}
