//! Session tokens: opaque to who has them, of a fixed size, authenticated by a key that only this
//! server has.
//!
//! Reading one is on the way of every check: it allocates nothing and takes no lock. What the token
//! is good for is decided elsewhere.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use zeroize::Zeroizing;

use crate::{
    domain::{
        resource::Uid,
        session::{Credential, Session, ShownSession},
        time::UnixNanos,
    },
    store::session_keys::{Secret, Secrets},
};

/// What tokens begin with, so that secret scanners can find them.
const PREFIX: &str = "aaps_";
/// The first byte of a token's content: what proved the session.
const BY_CLIENT_KEY: u8 = 1;
const BY_RAM_ROLE: u8 = 2;
const CONTENT_BYTES: usize = 1 + 4 + 16 + 16 + 8 + 8 + 8;
const TAG_BYTES: usize = 32;
const TOKEN_BYTES: usize = CONTENT_BYTES + TAG_BYTES;
/// The characters of a token, without its prefix.
const TEXT_BYTES: usize = TOKEN_BYTES.div_ceil(3) * 4;

/// The keys that tokens are authenticated by: the one that new ones get, and the one before it.
#[derive(Debug)]
pub struct SessionKeys(ArcSwap<Keys>);

struct Keys {
    current: Key,
    previous: Option<Key>,
}

struct Key {
    number: u32,
    key: hmac::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// A session's token: a secret.
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// The token's text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken")
    }
}

impl SessionKeys {
    /// Keys made of secrets.
    pub fn new(secrets: &Secrets) -> Self {
        Self(ArcSwap::from_pointee(Keys::new(secrets)))
    }

    /// Takes other secrets from now on. Tokens by one that isn't among them are worth nothing.
    pub fn replace(&self, secrets: &Secrets) {
        self.0.store(Arc::new(Keys::new(secrets)));
    }

    /// Makes a session's token.
    pub fn seal(&self, session: &Session) -> SessionToken {
        let keys = self.0.load();
        let mut token = Zeroizing::new([0; TOKEN_BYTES]);
        let content = encode(keys.current.number, session);
        let tag = hmac::sign(&keys.current.key, &content);
        for (byte, made) in token.iter_mut().zip(content.iter().chain(tag.as_ref())) {
            *byte = *made;
        }
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + TEXT_BYTES));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(token.as_slice(), &mut text);
        SessionToken(text)
    }

    /// Reads a token, if it is one that this server made.
    pub fn open(&self, token: &str) -> ShownSession {
        self.read(token).map_or(ShownSession::Foreign, ShownSession::Genuine)
    }

    fn read(&self, token: &str) -> Option<Session> {
        let text = token.strip_prefix(PREFIX)?;
        let mut bytes = [0; TOKEN_BYTES];
        // What is longer doesn't fit, and is refused before it is looked at.
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        if length != TOKEN_BYTES {
            return None;
        }
        let (content, tag) = bytes.split_first_chunk::<CONTENT_BYTES>()?;
        let (number, session) = decode(content)?;
        let keys = self.0.load();
        let key = keys.find(number)?;
        hmac::verify(key, content, tag).ok()?;
        Some(session)
    }
}

impl Keys {
    fn new(secrets: &Secrets) -> Self {
        let key = |secret: &Secret| Key {
            number: secret.number,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.bytes.as_slice()),
        };
        Self { current: key(&secrets.current), previous: secrets.previous.as_ref().map(key) }
    }

    fn find(&self, number: u32) -> Option<&hmac::Key> {
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        keys.find(|key| key.number == number).map(|key| &key.key)
    }
}

fn encode(number: u32, session: &Session) -> [u8; CONTENT_BYTES] {
    let Session { access_point, proved_by, revision, made, expires } = session;
    let (version, credential) = match proved_by {
        Credential::ClientKey(uid) => (BY_CLIENT_KEY, uid),
        Credential::RamRole(uid) => (BY_RAM_ROLE, uid),
    };
    let mut content = [0; CONTENT_BYTES];
    let (number, revision) = (number.to_be_bytes(), revision.to_be_bytes());
    let (made, expires) = (made.seconds().to_be_bytes(), expires.seconds().to_be_bytes());
    let parts: [&[u8]; 7] = [
        &[version],
        &number,
        access_point.0.as_bytes(),
        credential.0.as_bytes(),
        &revision,
        &made,
        &expires,
    ];
    for (byte, part) in content.iter_mut().zip(parts.into_iter().flatten()) {
        *byte = *part;
    }
    content
}

/// The number of the key, and the session.
fn decode(content: &[u8; CONTENT_BYTES]) -> Option<(u32, Session)> {
    let (&version, rest) = content.split_first()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (access_point, rest) = rest.split_first_chunk::<16>()?;
    let (credential, rest) = rest.split_first_chunk::<16>()?;
    let (revision, rest) = rest.split_first_chunk::<8>()?;
    let (made, rest) = rest.split_first_chunk::<8>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let uid = |bytes: &[u8; 16]| Uid(uuid::Uuid::from_bytes(*bytes));
    let proved_by = match version {
        BY_CLIENT_KEY if rest.is_empty() => Credential::ClientKey(uid(credential)),
        BY_RAM_ROLE if rest.is_empty() => Credential::RamRole(uid(credential)),
        _ => return None,
    };
    let second = |bytes: &[u8; 8]| UnixNanos::from_parts(i64::from_be_bytes(*bytes), 0);
    let session = Session {
        access_point: uid(access_point),
        proved_by,
        revision: u64::from_be_bytes(*revision),
        made: second(made),
        expires: second(expires),
    };
    Some((u32::from_be_bytes(*number), session))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(number: u32) -> Secret {
        let byte = u8::try_from(number).unwrap();
        Secret { number, made: UnixNanos(0), bytes: Zeroizing::new([byte; 32]) }
    }

    fn keys(current: u32, previous: Option<u32>) -> SessionKeys {
        let previous = previous.map(secret);
        SessionKeys::new(&Secrets { current: secret(current), previous })
    }

    fn session() -> Session {
        Session {
            access_point: Uid(uuid::Uuid::from_u128(1)),
            proved_by: Credential::ClientKey(Uid(uuid::Uuid::from_u128(2))),
            revision: 7,
            made: UnixNanos::from_parts(1_795_458_000, 0),
            expires: UnixNanos::from_parts(1_795_458_900, 0),
        }
    }

    #[test]
    fn a_token_says_what_was_sealed_in_it_and_is_never_printed() {
        let keys = keys(1, None);
        let by_role = Credential::RamRole(Uid(uuid::Uuid::from_u128(2)));
        let by_role = Session { proved_by: by_role, ..session() };
        let token = keys.seal(&by_role);
        assert_eq!(keys.open(token.reveal()), ShownSession::Genuine(by_role));
        let token = keys.seal(&session());
        assert_eq!(keys.open(token.reveal()), ShownSession::Genuine(session()));
        assert_eq!(token.reveal().len(), PREFIX.len() + TEXT_BYTES);
        assert_eq!(
            (format!("{token:?}"), format!("{keys:?}")),
            ("SessionToken".into(), "SessionKeys(ArcSwapAny(Keys))".into())
        );
    }

    #[test]
    fn a_token_by_another_key_or_with_anything_changed_is_foreign() {
        let ours = keys(1, None);
        let token = ours.seal(&session());
        let token = token.reveal();
        assert_eq!(keys(2, None).open(token), ShownSession::Foreign);
        let other = SessionKeys::new(&Secrets {
            current: Secret { number: 1, ..secret(9) },
            previous: None,
        });
        assert_eq!(other.open(token), ShownSession::Foreign);
        for place in 0..token.len() {
            let mut bytes = token.to_owned().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(ours.open(&changed), ShownSession::Foreign, "{place}");
        }
        let long = format!("{token}{}", "A".repeat(1_000_000));
        let short = token.get(..token.len() - 1).unwrap();
        let bare = token.strip_prefix(PREFIX).unwrap();
        for bad in ["", PREFIX, short, bare, &format!("{token}A"), &long] {
            assert_eq!(ours.open(bad), ShownSession::Foreign);
        }
    }

    #[test]
    fn the_key_before_counts_until_there_is_one_after_the_next() {
        let keys = keys(1, None);
        let token = keys.seal(&session());
        keys.replace(&Secrets { current: secret(2), previous: Some(secret(1)) });
        assert_eq!(keys.open(token.reveal()), ShownSession::Genuine(session()));
        assert_ne!(keys.seal(&session()).reveal(), token.reveal());
        keys.replace(&Secrets { current: secret(3), previous: Some(secret(2)) });
        assert_eq!(keys.open(token.reveal()), ShownSession::Foreign);
    }
}
