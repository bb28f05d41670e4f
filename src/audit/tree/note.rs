//! Signed notes and the keys that sign them, as C2SP's `signed-note` and `tlog-checkpoint` define
//! them, with Ed25519 alone. Keys have the form of Go's `golang.org/x/mod/sumdb/note`.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use zeroize::Zeroizing;

use crate::entropy::{self, EntropyError};

use super::hash::Hash;

/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// The number of Ed25519 among the algorithms of signed notes.
const ED25519_ALGORITHM: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";
/// An em dash and a space: what a line with a signature begins with.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Why something isn't a key or a note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It isn't a key.
    #[error("it is no Ed25519 key of a signed note: {0}")]
    NoKey(&'static str),
    /// It isn't a checkpoint.
    #[error("it is no checkpoint: {0}")]
    NoCheckpoint(&'static str),
    /// It is one of another log.
    #[error("it is a checkpoint of `{found}`, not of `{wanted}`")]
    OtherOrigin {
        /// What it says of itself.
        found: String,
        /// The key's name.
        wanted: String,
    },
    /// The signature is another one's, or none.
    #[error("it isn't signed by the key `{name}`")]
    NotSigned {
        /// The key's name.
        name: String,
    },
}

/// What a checkpoint says: how large a log was, and what was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The log's name.
    pub origin: String,
    /// How many records it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Statement {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Self { origin, size, root } = self;
        format!("{origin}\n{size}\n{}\n", STANDARD.encode(root))
    }

    fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.lines();
        let mut line = || lines.next().ok_or(NoteError::NoCheckpoint("it ends too early"));
        let (origin, size, root) = (line()?, line()?, line()?);
        let is_number = size == "0" || !size.starts_with(['0', '+']);
        let size = size.parse().ok().filter(|_| is_number);
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        Ok(Self {
            origin: origin.to_owned(),
            size: size.ok_or(NoteError::NoCheckpoint("its second line is no size"))?,
            root: root.ok_or(NoteError::NoCheckpoint("its third line is no hash"))?,
        })
    }
}

/// Whether a name can be a key's.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '+')
}

/// What checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// Reads one from its text: `<name>+<hash>+<key>`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, hash, public) = parse_key(text)?;
        let key = Self { name: name.to_owned(), public: *public };
        if key.hash() != hash {
            return Err(NoteError::NoKey("its hash is another key's"));
        }
        Ok(key)
    }

    /// The same under another name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), public: self.public }
    }

    /// Its name, which is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> [u8; 4] {
        let content = [self.name.as_bytes(), b"\n", &[ED25519_ALGORITHM], &self.public].concat();
        let digest = digest(&SHA256, &content);
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// What a checkpoint says, if this key signed it.
    pub fn open(&self, note: &str) -> Result<Statement, NoteError> {
        let end = note.find("\n\n").ok_or(NoteError::NoCheckpoint("it has no signature"))?;
        let (text, signatures) = note.split_at_checked(end + 1).unwrap_or((note, ""));
        let statement = Statement::parse(text)?;
        if statement.origin != self.name {
            let (found, wanted) = (statement.origin, self.name.clone());
            return Err(NoteError::OtherOrigin { found, wanted });
        }
        let is_signed = signatures.lines().filter_map(|line| self.own(line)).any(|signature| {
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            key.verify(text.as_bytes(), &signature).is_ok()
        });
        if is_signed {
            Ok(statement)
        } else {
            Err(NoteError::NotSigned { name: self.name.clone() })
        }
    }

    fn own(&self, line: &str) -> Option<Vec<u8>> {
        let (name, signature) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
        let signature = STANDARD.decode(signature).ok().filter(|_| name == self.name)?;
        signature.strip_prefix(&self.hash()).map(<[u8]>::to_vec)
    }

    /// Whether a signature is this key's.
    pub fn verify(&self, statement: &Statement, signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        key.verify(statement.text().as_bytes(), signature).is_ok()
    }

    /// The note of a statement and its signature.
    pub fn note(&self, statement: &Statement, signature: &Signature) -> String {
        let signature = STANDARD.encode([&self.hash()[..], signature].concat());
        format!("{}\n{SIGNATURE_MARK}{} {signature}\n", statement.text(), self.name)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = STANDARD.encode([&[ED25519_ALGORITHM], &self.public[..]].concat());
        write!(f, "{}+{}+{public}", self.name, hex(self.hash()))
    }
}

/// What signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// The text of a new key.
    pub fn generate(name: &str) -> Result<Zeroizing<String>, EntropyError> {
        let mut key = Zeroizing::new([0; 33]);
        let [algorithm, seed @ ..] = &mut *key;
        *algorithm = ED25519_ALGORITHM;
        entropy::fill(seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| EntropyError)?;
        let verifier = VerifierKey { name: name.to_owned(), public: public(&pair) };
        let secret = Zeroizing::new(STANDARD.encode(key.as_slice()));
        Ok(Zeroizing::new(format!("{PRIVATE}{name}+{}+{}\n", hex(verifier.hash()), &*secret)))
    }

    /// Reads one from its text: `PRIVATE+KEY+<name>+<hash>+<key>`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let text = text.trim_end().strip_prefix(PRIVATE);
        let text = text.ok_or(NoteError::NoKey("it doesn't begin with `PRIVATE+KEY+`"))?;
        let (name, hash, seed) = parse_key(text)?;
        let key = Self::of_seed(name, &seed)?;
        if key.verifier.hash() != hash {
            return Err(NoteError::NoKey("its hash is another key's"));
        }
        Ok(key)
    }

    /// The key that a seed makes.
    pub fn of_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| NoteError::NoKey("its key is damaged"))?;
        let verifier = VerifierKey { name: name.to_owned(), public: public(&pair) };
        Ok(Self { pair, verifier })
    }

    /// The same under another name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        let verifier = self.verifier.named(name);
        Self { verifier, ..self }
    }

    /// What checks its signatures.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a statement.
    pub fn sign(&self, statement: &Statement) -> Signature {
        let mut signature = [0; 64];
        let signed = self.pair.sign(statement.text().as_bytes());
        signature.copy_from_slice(signed.as_ref());
        signature
    }
}

impl fmt::Debug for SigningKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

fn public(pair: &Ed25519KeyPair) -> [u8; 32] {
    let mut public = [0; 32];
    public.copy_from_slice(pair.public_key().as_ref());
    public
}

fn hex(bytes: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(bytes))
}

type KeyParts<'a> = (&'a str, [u8; 4], Zeroizing<[u8; 32]>);

fn parse_key(text: &str) -> Result<KeyParts<'_>, NoteError> {
    let mut parts = text.trim_end().splitn(3, '+');
    let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::NoKey("it has no name, hash and key with `+` between them"));
    };
    if !is_name(name) {
        return Err(NoteError::NoKey("it has no name"));
    }
    let is_hash = hash.len() == 8 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    let hash = u32::from_str_radix(hash, 16).ok().filter(|_| is_hash);
    let hash = hash.ok_or(NoteError::NoKey("its hash is not 8 hexadecimal digits"))?;
    let key = STANDARD.decode(key).map(Zeroizing::new);
    let key = key.map_err(|_| NoteError::NoKey("its key is not in base64"))?;
    let content = key.strip_prefix(&[ED25519_ALGORITHM]);
    let content = content.and_then(|content| <[u8; 32]>::try_from(content).ok());
    let content = content.ok_or(NoteError::NoKey("it is not one of Ed25519"))?;
    Ok((name, hash.to_be_bytes(), Zeroizing::new(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(size: u64) -> Statement {
        Statement { origin: "aap.test/audit".to_owned(), size, root: [7; 32] }
    }

    fn key() -> SigningKey {
        SigningKey::parse(&SigningKey::generate("aap.test/audit").unwrap()).unwrap()
    }

    #[test]
    fn a_key_has_the_public_part_that_rfc_8032_says() {
        let seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
        let public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let name = "aap.test/audit".to_owned();
        let mut key = key();
        let seed = STANDARD.decode(seed).unwrap();
        key.pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let known = STANDARD.decode(public).unwrap().try_into().unwrap();
        assert_eq!(super::public(&key.pair), known);
        let verifier = VerifierKey { name, public: known };
        let text = verifier.to_string();
        assert_eq!(VerifierKey::parse(&text), Ok(verifier.clone()));
        let secret = STANDARD.encode([&[1], &seed[..]].concat());
        let head = text.get(..verifier.name.len() + 10).unwrap();
        let read = SigningKey::parse(&format!("{PRIVATE}{head}{secret}\n")).unwrap();
        assert_eq!(read.verifier(), &verifier);
        assert!(!format!("{read:?}").contains(&secret));
    }

    #[test]
    fn what_a_key_signed_opens_with_its_verifier_alone() {
        let (key, other) = (key(), key());
        let verifier = VerifierKey::parse(&key.verifier().to_string()).unwrap();
        for size in [0, 1, 256, u64::MAX] {
            let signature = key.sign(&statement(size));
            let note = verifier.note(&statement(size), &signature);
            assert_eq!(verifier.open(&note), Ok(statement(size)), "{note}");
            assert!(verifier.verify(&statement(size), &signature));
            let refused = NoteError::NotSigned { name: "aap.test/audit".to_owned() };
            assert_eq!(other.verifier().open(&note), Err(refused));
        }
    }

    #[test]
    fn a_note_with_any_byte_changed_is_no_longer_signed() {
        let key = key();
        let note = key.verifier().note(&statement(12), &key.sign(&statement(12)));
        for place in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[place] ^= 1;
            // The last bits of the signature's base64 and the line's end say nothing.
            if let Ok(changed) = String::from_utf8(bytes)
                && let Ok(opened) = key.verifier().open(&changed)
            {
                assert_eq!(opened, statement(12), "byte {place}");
                assert!(place + 3 >= note.len(), "byte {place}");
            }
        }
    }

    #[test]
    fn what_is_no_key_and_no_checkpoint_is_refused() {
        let public = STANDARD.encode([1; 33]);
        for text in [
            String::new(),
            "log".to_owned(),
            "log+0a0a0a0a".to_owned(),
            format!("+0a0a0a0a+{public}"),
            format!("a log+0a0a0a0a+{public}"),
            // The hash is another key's, or none.
            format!("log+0a0a0a0a+{public}"),
            format!("log++a0a0a0a+{public}"),
            format!("log+0a0a0a0a+{}", STANDARD.encode([2; 33])),
            format!("log+0a0a0a0a+{}", STANDARD.encode([1; 32])),
            "log+0a0a0a0a+!".to_owned(),
        ] {
            assert!(VerifierKey::parse(&text).is_err(), "{text}");
            assert!(SigningKey::parse(&format!("{PRIVATE}{text}")).is_err(), "{text}");
        }
        let key = key();
        let root = STANDARD.encode([7; 32]);
        for text in ["", "\n\n", "aap.test/audit\n1\n\n", "aap.test/audit\nx\n\n"] {
            assert!(matches!(key.verifier().open(text), Err(NoteError::NoCheckpoint(_))), "{text}");
        }
        for size in ["01", "+1", "-1", ""] {
            let text = format!("aap.test/audit\n{size}\n{root}\n\n");
            assert!(matches!(key.verifier().open(&text), Err(NoteError::NoCheckpoint(_))));
        }
        let other = format!("other\n1\n{root}\n\n");
        assert!(matches!(key.verifier().open(&other), Err(NoteError::OtherOrigin { .. })));
    }
}
