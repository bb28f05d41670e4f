//! Client keys: made, certified, packed for the application, imported, told apart, and signed with.
//!
//! Pure: time and randomness are arguments. A private key lives in [`generation::PrivateKey`] and in
//! buffers that are zeroed when they are dropped; nothing here knows where keys are kept or who may
//! have them.

pub mod certificate;
pub mod file;
pub mod generation;
pub mod password;
pub mod pkcs12;
pub mod public_key;
pub mod signing;
pub mod signing_request;

/// Why a key can't be made. It is the server's failure, never the caller's.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] crate::entropy::EntropyError),
    /// The key itself can't be made.
    #[error("no key can be made: {0}")]
    Key(String),
    /// Its certificate can't be made.
    #[error("no certificate can be made: {0}")]
    Certificate(#[from] x509_cert::builder::Error),
    /// Something can't be encoded.
    #[error("it can't be encoded: {0}")]
    Encoding(#[from] x509_cert::der::Error),
    /// Something can't be encrypted.
    #[error("it can't be encrypted")]
    Encryption,
}

#[cfg(test)]
mod tests;
