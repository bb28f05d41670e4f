//! What of a log's folders goes into a copy of it: every file as it is, but for a segment that isn't
//! sealed, which ends with its last record on disk, and for what is made ahead of use.
//!
//! Who writes the copy, and where, is not known here.

use std::{collections::HashMap, io, sync::Arc};

use uuid::Uuid;

use crate::store::data_dir::FORMER_KEY_FILE;

use super::{
    frame,
    recovery::{self, OnLoss, OpenSegment, Recovered, RecoveryError},
    segment::Segment,
    succession,
    tree::{checkpoints, files, kept},
    trimmed,
    volume::{Volume, VolumeFile},
};

/// A log's files, as they are to be copied.
#[derive(Debug, Default)]
pub struct LogCopy {
    /// The files of the log's own folder.
    pub files: Vec<FileCopy>,
    /// Those of its tree.
    pub tree: Vec<FileCopy>,
    /// The first record that is kept.
    pub first: u64,
    /// The last record; one less than the first if there is none.
    pub last: u64,
}

/// A file that is to be copied.
#[derive(Debug)]
pub struct FileCopy {
    /// Its name.
    pub name: String,
    /// Where its bytes come from.
    pub from: From,
    /// How many of them are copied; `None` for all that there are when it is begun.
    pub length: Option<u64>,
    /// What the copy has behind them.
    pub end: Vec<u8>,
}

/// Where a file's bytes come from.
#[derive(Debug)]
pub enum From {
    /// A file that is open, and stays readable whatever happens to its name.
    Open(Arc<dyn VolumeFile>),
    /// A folder, in which it is opened when its turn has come.
    Folder(Arc<dyn Volume>),
}

impl FileCopy {
    /// So many bytes of a file that may grow.
    pub fn begun(name: String, file: Arc<dyn VolumeFile>, length: u64) -> Self {
        Self { name, from: From::Open(file), length: Some(length), end: Vec::new() }
    }

    /// Opens it, and tells how many of its bytes are copied.
    pub fn open(&self) -> io::Result<(Arc<dyn VolumeFile>, u64)> {
        let file = match &self.from {
            From::Open(file) => Arc::clone(file),
            From::Folder(volume) => volume.open(&self.name)?,
        };
        let length = self.length.map_or_else(|| file.length(), Ok)?;
        Ok((file, length))
    }
}

/// Whether a file of a log's own folder belongs to a copy, by its name.
pub fn is_of_log(name: &str) -> bool {
    let is_segment =
        Segment::first_of_name(name).is_some_and(|first| Segment::file_name(first) == name);
    is_segment || name == trimmed::FILE || name == FORMER_KEY_FILE || succession::is_file_name(name)
}

/// Whether a file says something of a log besides its records, by its name.
pub fn is_marker(name: &str) -> bool {
    // That a log is written to in haste is over where a copy of it ends.
    name == trimmed::FILE
}

/// Whether a file of a tree's folder does.
pub fn is_of_tree(name: &str) -> bool {
    name == checkpoints::FILE || name == kept::FILE || files::is_file_name(name)
}

/// What is copied of a log that nobody writes to: one that has ended, or of a server that is stopped.
/// What is damaged in it is copied as it is.
pub fn of_idle(
    volume: Arc<dyn Volume>,
    tree: Arc<dyn Volume>,
    log_id: Uuid,
) -> Result<LogCopy, RecoveryError> {
    let (names, tree_names) = (list(volume.as_ref())?, list(tree.as_ref())?);
    if names.is_empty() {
        return Ok(LogCopy { first: 1, ..LogCopy::default() });
    }
    let recovered = recovery::recover_ended(volume.as_ref(), log_id, OnLoss::TakeAsIs)?;
    let Recovered { sealed, open, unsealed, removed, last, .. } = recovered;
    let growing: Vec<_> =
        open.into_iter().chain(unsealed).map(|one: OpenSegment| one.segment).collect();
    let all = sealed.iter().chain(&growing);
    let first = all.map(|segment| segment.first_sequence()).min().unwrap_or(last + 1);
    let mut ends: HashMap<_, _> = growing.iter().map(|one| (one.name(), end_of(one))).collect();
    let copied = names.into_iter().filter(|name| is_of_log(name) && !removed.contains(name));
    let files = copied.map(|name| {
        let (length, end) = ends.remove(name.as_str()).unzip();
        let from = From::Folder(Arc::clone(&volume));
        FileCopy { name, from, length, end: end.unwrap_or_default() }
    });
    let files = files.collect();
    let from = || From::Folder(Arc::clone(&tree));
    let tree_names = tree_names.into_iter().filter(|name| is_of_tree(name));
    let whole = |name| FileCopy { name, from: from(), length: None, end: Vec::new() };
    Ok(LogCopy { files, tree: tree_names.map(whole).collect(), first, last })
}

/// Where the frames of a segment end that isn't sealed, and the mark behind them.
fn end_of(segment: &Segment) -> (u64, Vec<u8>) {
    (segment.data_end(), frame::mark(segment.salt(), segment.last() + 1).to_vec())
}

/// The names of files, in order; none in a folder that isn't there.
fn list(volume: &dyn Volume) -> io::Result<Vec<String>> {
    match volume.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map(|mut names| {
            names.sort();
            names
        }),
    }
}
