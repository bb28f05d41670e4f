//! Looks at a whole log without touching it: every byte of every segment, and its tree.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use super::{
    leaves::{SegmentLeaves, find_segment},
    recovery::{self, Damage, OnLoss, Recovered, RecoveryError},
    segment::{Content, Cursor, Entry, Segment},
    strict, succession,
    tree::{
        checkpoints, forgetting,
        inspection::{self, Flaw},
        note::VerifierKey,
        stored::Tree,
    },
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

/// Reads and verifies a log in a directory, and its tree in another. Fails only where the disk can't
/// be read.
pub fn verify(
    path: &Path,
    tree: &Path,
    log_id: Uuid,
    verifier: Option<&VerifierKey>,
) -> io::Result<Found> {
    let tree: Arc<dyn Volume> = Arc::new(Untouched::new(tree.to_owned()));
    verify_in(&Untouched::new(path.to_owned()), tree, log_id, verifier)
}

/// The same, wherever the files are.
pub fn verify_in(
    volume: &dyn Volume,
    tree: Arc<dyn Volume>,
    log_id: Uuid,
    verifier: Option<&VerifierKey>,
) -> io::Result<Found> {
    let names: Vec<_> =
        list(volume)?.into_iter().filter(|name| Segment::is_file_name(name)).collect();
    let has_tree = list(tree.as_ref())?.iter().any(|name| name == checkpoints::FILE);
    if names.is_empty() && !has_tree {
        return Ok(Found { first: 1, ..Found::default() });
    }
    let mut found = Found { segments: names.len(), first: 1, ..Found::default() };
    for name in &names {
        found.look_at(volume, name)?;
    }
    let recovered = if succession::ending(volume)?.is_some() {
        recovery::recover_ended(volume, log_id, OnLoss::Refuse)
    } else {
        recovery::recover(volume, log_id, OnLoss::Refuse)
    };
    let recovered = match recovered {
        Ok(recovered) => recovered,
        Err(RecoveryError::Io(error)) => return Err(error),
        Err(error) => {
            found.problems = vec![error.to_string()];
            return Ok(found);
        }
    };
    let Recovered { sealed, open, unsealed, last, damage, .. } = recovered;
    found.last = last;
    found.problems.extend(damage.iter().map(name));
    let scanned = unsealed.into_iter().chain(open).map(|one| one.segment);
    // What was scanned just now is told already; what is sealed has only told its ends.
    let mut segments: Vec<_> = scanned.collect();
    for segment in sealed {
        found.read(Arc::clone(&segment))?;
        segments.push(segment);
    }
    segments.sort_by_key(|segment| segment.first_sequence());
    found.first = segments.first().map_or(last + 1, |segment| segment.first_sequence());
    if has_tree {
        found.look_at_tree(tree, &segments, verifier)?;
    }
    found.problems.sort();
    found.problems.dedup();
    Ok(found)
}

/// The names of files; none in a folder that isn't there, which is made at the first start.
fn list(volume: &dyn Volume) -> io::Result<Vec<String>> {
    match volume.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names,
    }
}

impl Found {
    fn look_at(&mut self, volume: &dyn Volume, name: &str) -> io::Result<()> {
        let file = volume.open(name)?;
        let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
        let count = file.read_at(&mut bytes, 0)?;
        bytes.truncate(count);
        let places = strict::damage(&bytes).into_iter();
        self.problems.extend(places.map(|offset| format!("`{name}` is damaged at byte {offset}")));
        Ok(())
    }

    fn look_at_tree(
        &mut self,
        volume: Arc<dyn Volume>,
        segments: &[Arc<Segment>],
        verifier: Option<&VerifierKey>,
    ) -> io::Result<()> {
        let tree = match Tree::open(volume, forgetting::gone_before(self.first - 1)) {
            Ok(tree) => tree,
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                self.problems.push("a file of the tree is missing; the next start makes it".into());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (first, last) = (self.first, self.last);
        let records =
            SegmentLeaves { first, last, segment_of: |sequence| find_segment(segments, sequence) };
        let flaws = inspection::verify(&tree, &records, (self.first, last), verifier)?;
        self.problems.extend(flaws.into_iter().map(|Flaw { place, what }| {
            format!("`tree/{}` is damaged at byte {}: {what}", place.file, place.offset)
        }));
        Ok(())
    }

    fn read(&mut self, segment: Arc<Segment>) -> io::Result<()> {
        let (first, last) = (segment.first_sequence(), segment.last());
        let mut cursor = Cursor::new(segment, first);
        let mut entries: Vec<Entry> = Vec::new();
        while cursor.next() <= last {
            cursor.read(CHUNK_BYTES, &mut entries)?;
            for Entry { sequence, content, .. } in entries.drain(..) {
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
