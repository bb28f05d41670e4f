//! The only place that asks the operating system for randomness.

use rand_core::{TryCryptoRng, TryRng};
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

/// The operating system's randomness, for what asks for it piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Entropy;

impl TryRng for Entropy {
    type Error = EntropyError;

    fn try_next_u32(&mut self) -> Result<u32, EntropyError> {
        let mut bytes = [0; 4];
        fill(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyError> {
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        fill(buffer)
    }
}

impl TryCryptoRng for Entropy {}
