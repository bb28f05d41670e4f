//! The client-key file: what the vendor's SDKs read.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use zeroize::Zeroizing;

/// A client-key file, `{"KeyId":"KAAP.…","PrivateKeyData":"<base64 of PKCS#12>"}`.
pub struct ClientKeyFile(Zeroizing<String>);

impl ClientKeyFile {
    /// Puts it together. An id needs no escapes, nor does base64.
    pub fn new(key_id: &str, pkcs12: &[u8]) -> Self {
        let data = Zeroizing::new(STANDARD.encode(pkcs12));
        Self(Zeroizing::new(format!(
            "{{\"KeyId\":\"{key_id}\",\"PrivateKeyData\":\"{}\"}}",
            data.as_str()
        )))
    }

    /// The file's content.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What is in a client-key file.
pub struct Content {
    /// The key's id.
    pub key_id: String,
    /// The key itself, encrypted.
    pub pkcs12: Zeroizing<Vec<u8>>,
}

/// Why a text is no client-key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no client-key file: `{{\"KeyId\":\"KAAP.…\",\"PrivateKeyData\":\"<base64 of PKCS#12>\"}}`"
)]
pub struct InvalidClientKeyFile;

impl Content {
    /// Reads a file. What else it has doesn't matter.
    pub fn parse(text: &str) -> Result<Self, InvalidClientKeyFile> {
        let parts: Parts = serde_json::from_str(text).map_err(|_| InvalidClientKeyFile)?;
        let Parts { key_id, private_key_data } = parts;
        let data = STANDARD.decode(private_key_data.trim()).map_err(|_| InvalidClientKeyFile)?;
        Ok(Self { key_id, pkcs12: Zeroizing::new(data) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parts {
    key_id: String,
    private_key_data: String,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({})", self.key_id)
    }
}

impl fmt::Debug for ClientKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKeyFile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_the_sdks_read() {
        let file = ClientKeyFile::new("KAAP.1", &[0x30, 0x82]);
        assert_eq!(file.reveal(), r#"{"KeyId":"KAAP.1","PrivateKeyData":"MII="}"#);
        let read = Content::parse(file.reveal()).unwrap();
        assert_eq!((read.key_id.as_str(), read.pkcs12.as_slice()), ("KAAP.1", &[0x30, 0x82][..]));
        assert_eq!(format!("{read:?}"), "Content(KAAP.1)");
    }

    #[test]
    fn what_is_no_file_is_refused_and_what_else_it_has_does_not_matter() {
        let more = r#"{"KeyId":"KAAP.1","Comment":[1],"PrivateKeyData":"MII=\n"}"#;
        assert_eq!(Content::parse(more).unwrap().pkcs12.as_slice(), [0x30, 0x82]);
        for bad in [
            "",
            "{}",
            r#"{"KeyId":"KAAP.1"}"#,
            r#"{"KeyId":1,"PrivateKeyData":"MII="}"#,
            r#"{"KeyId":"KAAP.1","PrivateKeyData":"not base64"}"#,
        ] {
            assert_eq!(Content::parse(bad).unwrap_err(), InvalidClientKeyFile, "{bad}");
        }
    }
}
