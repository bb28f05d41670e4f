//! The only place that asks the operating system for randomness.

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system's random number generator failed")]
pub struct EntropyError;

/// Fills a buffer with random bytes.
pub fn fill(buffer: &mut [u8]) -> Result<(), EntropyError> {
    SystemRandom::new().fill(buffer).map_err(|_| EntropyError)
}

/// Makes a random UUID (version 4).
pub fn uuid() -> Result<uuid::Uuid, EntropyError> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
