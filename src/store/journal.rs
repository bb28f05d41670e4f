//! What a journal must be able to do. Narrow on purpose: another engine may take sled's place.

use std::{fmt, sync::Arc};

use crate::domain::event::Event;

use super::codec;

/// An append-only sequence of events, dense from 1.
pub trait Journal: Send {
    /// The sequence number of the last event; 0 if there is none.
    fn last(&self) -> u64;

    /// Appends events, all or none. They are on disk when this returns.
    ///
    /// After an error nothing more may be appended: whether the events are there is unknown until
    /// the journal is opened anew.
    fn append(&mut self, expected_last: u64, events: &[Event]) -> Result<(), AppendError>;

    /// Reads at most `limit` events from a sequence number on, verified.
    fn read(&self, from: u64, limit: usize) -> Result<Vec<Event>, ReadError>;

    /// A way to read it while something else appends.
    fn reader(&self) -> Arc<dyn JournalReader>;
}

/// Reads a journal beside its writer. It can't tell which events are on disk: who reads asks only
/// for events that were published.
pub trait JournalReader: Send + Sync + fmt::Debug {
    /// Reads `count` events from a sequence number on, verified. All of them must be there.
    fn read(&self, from: u64, count: usize) -> Result<Vec<Event>, ReadError>;

    /// The same, as the bytes that were first written: what is hashed is these.
    fn read_stored(&self, from: u64, count: usize) -> Result<Vec<Vec<u8>>, ReadError>;
}

/// Why events could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended.
    #[error("the journal ends at {actual}, not at {expected}")]
    NotTheEnd {
        /// Where the writer thought that it ends.
        expected: u64,
        /// Where it ends.
        actual: u64,
    },
    /// An event is not the one that follows: appending it would leave a gap or replace another.
    #[error("event {actual} can't be appended where event {expected} follows")]
    NotDense {
        /// Which event follows.
        expected: u64,
        /// Which one was to be appended.
        actual: u64,
    },
    /// An event is too large to be stored in parts.
    #[error("event {sequence} is too large")]
    TooLarge {
        /// Which one.
        sequence: u64,
    },
    /// The engine failed.
    #[error("can't write the journal: {0}")]
    Engine(String),
}

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is stored isn't what was written.
    #[error("journal event {sequence}, part {part}, is damaged: {detail}")]
    Damaged {
        /// Which event.
        sequence: u64,
        /// Which of its parts.
        part: u16,
        /// What is wrong with it.
        detail: String,
    },
    /// The engine failed.
    #[error("can't read the journal: {0}")]
    Engine(String),
}

/// The event that stored bytes are, which must be the one with this number.
pub fn decode_stored(sequence: u64, bytes: &[u8]) -> Result<Event, ReadError> {
    let damaged = |detail: String| ReadError::Damaged { sequence, part: 0, detail };
    let event = codec::decode(bytes).map_err(|error| damaged(error.to_string()))?;
    if event.sequence == sequence {
        Ok(event)
    } else {
        Err(damaged(format!("it says that it is event {}", event.sequence)))
    }
}
