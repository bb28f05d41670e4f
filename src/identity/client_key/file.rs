//! The client-key file: what the vendor's SDKs read.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
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
        let read: serde_json::Value = serde_json::from_str(file.reveal()).unwrap();
        assert_eq!(read["KeyId"], "KAAP.1");
    }
}
