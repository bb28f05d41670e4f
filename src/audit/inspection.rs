//! Looks at a whole log without touching it: every record of every segment.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use super::{
    recovery::{self, Damage, Recovered, RecoveryError},
    segment::{Content, Cursor, Entry, Segment},
    succession,
    volume::{Untouched, Volume},
};

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// How many segments there are.
    pub segments: usize,
    /// The first record.
    pub first: u64,
    /// The last record; one less than the first if there is none.
    pub last: u64,
    /// What is damaged or missing, in words.
    pub problems: Vec<String>,
}

/// Reads and verifies a log in a directory. Fails only where the disk can't be read.
pub fn verify(path: &Path, log_id: Uuid) -> io::Result<Found> {
    let volume = Untouched::new(path.to_owned());
    let names = match volume.list() {
        Ok(names) => names,
        // It is made at the first start.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let count = names.iter().filter(|name| Segment::is_file_name(name)).count();
    if count == 0 {
        return Ok(Found { first: 1, ..Found::default() });
    }
    let recovered = if succession::has_ended(&volume)? {
        recovery::recover_ended(&volume, log_id)
    } else {
        recovery::recover(&volume, log_id)
    };
    let recovered = match recovered {
        Ok(recovered) => recovered,
        Err(RecoveryError::Io(error)) => return Err(error),
        Err(error) => {
            let problems = vec![error.to_string()];
            return Ok(Found { segments: count, first: 1, problems, ..Found::default() });
        }
    };
    let Recovered { sealed, open, unsealed, last, damage, .. } = recovered;
    let mut found = Found { segments: count, first: u64::MAX, last, problems: Vec::new() };
    found.problems.extend(damage.iter().map(name));
    let scanned = unsealed.into_iter().chain(open).map(|one| one.segment);
    // What was scanned just now is told already; what is sealed has only told its ends.
    for segment in scanned {
        found.first = found.first.min(segment.first_sequence());
    }
    for segment in sealed {
        found.first = found.first.min(segment.first_sequence());
        found.read(segment)?;
    }
    found.problems.sort();
    found.problems.dedup();
    Ok(found)
}

impl Found {
    fn read(&mut self, segment: Arc<Segment>) -> io::Result<()> {
        let (first, last) = (segment.first_sequence(), segment.last());
        let mut cursor = Cursor::new(segment, first);
        let mut entries: Vec<Entry> = Vec::new();
        while cursor.next() <= last {
            cursor.read(CHUNK_BYTES, &mut entries)?;
            for Entry { sequence, content } in entries.drain(..) {
                if let Content::Damaged { file, offset } = content {
                    let (file, records) = (file.to_string(), Some((sequence, sequence)));
                    self.problems.push(name(&Damage { file, offset, records }));
                }
            }
        }
        Ok(())
    }
}

fn name(damage: &Damage) -> String {
    let Damage { file, offset, records } = damage;
    match records {
        Some((from, through)) if from == through => {
            format!("record {from} is damaged, in `{file}` at byte {offset}")
        }
        Some((from, through)) => {
            format!("records {from} to {through} are damaged, in `{file}` at byte {offset}")
        }
        None => format!("`{file}` is damaged between its records, at byte {offset}"),
    }
}
