//! The secrets that session tokens are authenticated by, in a file of their own.
//!
//! They aren't state: without them nothing is lost but the sessions of that hour.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    domain::time::UnixNanos,
    entropy::{self, EntropyError},
};

use super::data_dir::sync_directory;

const FILE: &str = "session.keys";
const NEW_FILE: &str = "session.keys.new";
const MAGIC: &[u8; 8] = b"AAPSESS1";
const SECRET_BYTES: usize = 4 + 8 + 32;
const FILE_BYTES: usize = MAGIC.len() + 2 * SECRET_BYTES + 4;
/// How old a secret gets, in seconds, before another one takes its place: 30 days.
const MAX_AGE: i64 = 30 * 24 * 60 * 60;

/// The secret that new tokens get, and the one before it.
#[derive(Debug)]
pub struct Secrets {
    /// The one that new tokens get.
    pub current: Secret,
    /// The one before it, whose tokens may still be about.
    pub previous: Option<Secret>,
}

/// A secret.
#[derive(Clone)]
pub struct Secret {
    /// Tells it from the others: tokens bear it.
    pub number: u32,
    /// When it was made, in whole seconds.
    pub made: UnixNanos,
    /// The secret itself.
    pub bytes: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.number)
    }
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SessionKeysError {
    /// The file isn't what was written.
    #[error("`{path}` is damaged; remove it, and applications ask for new sessions")]
    Damaged {
        /// The file.
        path: String,
    },
    /// The file system refused.
    #[error("can't keep session keys in `{path}`")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The file that secrets are kept in.
#[derive(Clone, Debug)]
pub struct SecretFile {
    directory: PathBuf,
}

impl SecretFile {
    /// The file in a data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self { directory: data_dir.to_owned() }
    }

    /// Reads the secrets, or makes the first one; puts another one in the place of one that is old.
    pub fn open(&self, now: UnixNanos) -> Result<Secrets, SessionKeysError> {
        match fs::read(self.path()).map(Zeroizing::new) {
            Ok(bytes) => {
                let secrets = decode(&bytes)
                    .ok_or_else(|| SessionKeysError::Damaged { path: self.name() })?;
                self.renew(secrets, now)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secrets = Secrets { current: make(1, now)?, previous: None };
                self.write(&secrets)?;
                Ok(secrets)
            }
            Err(source) => Err(SessionKeysError::Io { path: self.name(), source }),
        }
    }

    /// Puts another secret in the place of one that is old.
    fn renew(&self, secrets: Secrets, now: UnixNanos) -> Result<Secrets, SessionKeysError> {
        if now.seconds() < secrets.current.made.seconds().saturating_add(MAX_AGE) {
            return Ok(secrets);
        }
        let number = secrets.current.number.wrapping_add(1).max(1);
        let secrets = Secrets { current: make(number, now)?, previous: Some(secrets.current) };
        self.write(&secrets)?;
        Ok(secrets)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn write(&self, secrets: &Secrets) -> Result<(), SessionKeysError> {
        let failed = |source| SessionKeysError::Io { path: self.name(), source };
        let new = self.directory.join(NEW_FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).map_err(failed)?;
        file.write_all(&encode(secrets)).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(new, self.path()).map_err(failed)?;
        sync_directory(&self.directory).map_err(failed)
    }
}

fn make(number: u32, now: UnixNanos) -> Result<Secret, EntropyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy::fill(bytes.as_mut_slice())?;
    Ok(Secret { number, made: UnixNanos::from_parts(now.seconds(), 0), bytes })
}

fn encode(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
    bytes.extend_from_slice(MAGIC);
    for secret in [Some(&secrets.current), secrets.previous.as_ref()] {
        let number = secret.map_or(0, |secret| secret.number);
        let made = secret.map_or(0, |secret| secret.made.seconds());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&made.to_le_bytes());
        bytes.extend_from_slice(secret.map_or(&[0; 32], |secret| &*secret.bytes));
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Secrets> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (current, previous) = content.strip_prefix(MAGIC)?.split_first_chunk::<SECRET_BYTES>()?;
    let (current, previous) = (decode_secret(current)?, decode_secret(previous)?);
    (current.number > 0)
        .then(|| Secrets { current, previous: Some(previous).filter(|secret| secret.number > 0) })
}

fn decode_secret(bytes: &[u8]) -> Option<Secret> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    let (made, rest) = rest.split_first_chunk::<8>()?;
    Some(Secret {
        number: u32::from_le_bytes(*number),
        made: UnixNanos::from_parts(i64::from_le_bytes(*made), 0),
        bytes: Zeroizing::new(rest.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn day(day: i64) -> UnixNanos {
        UnixNanos::from_parts(day * 24 * 60 * 60, 0)
    }

    #[test]
    fn secrets_are_kept_and_renewed_and_the_one_before_is_kept_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = SecretFile::of(dir.path());
        let first = file.open(day(0)).unwrap();
        assert_eq!((first.current.number, first.previous.is_none()), (1, true));
        let again = file.open(day(29)).unwrap();
        assert_eq!((again.current.number, &again.current.bytes), (1, &first.current.bytes));
        let renewed = file.open(day(30)).unwrap();
        assert_eq!(renewed.current.number, 2);
        assert_eq!(renewed.previous.unwrap().bytes, first.current.bytes);
        let kept = file.open(day(31)).unwrap();
        assert_eq!(kept.current.bytes, renewed.current.bytes);
        assert_eq!(kept.previous.unwrap().number, 1);
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{first:?}"), "Secrets { current: Secret(1), previous: None }");
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = SecretFile::of(dir.path());
        file.open(day(0)).unwrap();
        let bytes = fs::read(file.path()).unwrap();
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            fs::write(file.path(), flipped).unwrap();
            let error = file.open(day(0)).unwrap_err().to_string();
            assert!(error.contains("session.keys` is damaged"), "{error}");
            fs::write(file.path(), &bytes[..place]).unwrap();
            assert!(file.open(day(0)).is_err(), "{place}");
        }
    }
}
