//! Cursors as rows in a tree of sled's, beside the journal's.
//!
//! A cursor has two rows, so that an acknowledgement doesn't write its filter again. A row's key is
//! the cursor's name, a zero byte and the row's number; its value is a checksum and the message. The
//! checksum covers the key too: a value in another's place is damage.

use std::{collections::BTreeMap, fmt, fs::File, path::Path, sync::Arc};

use crate::{
    domain::{
        audit_cursor::{AuditCursor, Definition, Progress},
        name::AuditCursorName,
    },
    store::{
        codec::audit_cursor as codec,
        sled_journal::{OpenError, guarded},
    },
};

const TREE: &str = "audit_cursors";
const CHECKSUM_BYTES: usize = 4;
/// What of a cursor never changes.
const DEFINITION: u8 = 0;
/// How far it has come.
const PROGRESS: u8 = 1;

/// Where cursors are kept. A test can put something else in its place.
pub trait CursorStore: fmt::Debug + Send {
    /// Reads all of them.
    fn load(&self) -> Result<Loaded, String>;

    /// Makes changes, all or none. They are on disk when this returns.
    fn write(&mut self, changes: &[Change]) -> Result<(), String>;
}

/// What there is.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The cursors, by name.
    pub cursors: Vec<AuditCursor>,
    /// Those that are damaged, and how.
    pub damaged: Vec<DamagedCursor>,
    /// Rows that are no cursor's.
    pub strays: Vec<StrayRow>,
}

/// A cursor that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit cursor `{name}` is damaged: {detail}")]
pub struct DamagedCursor {
    /// Its name, as far as it can be told.
    pub name: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A row whose key means nothing. The cursor whose name it has, if there is one, is none the worse
/// for it; it goes when a cursor of that name is created or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of audit cursors means nothing: its key is `{key}`")]
pub struct StrayRow {
    /// Its key, with what isn't printable escaped.
    pub key: String,
}

/// A change of one cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there, from now on.
    Create(AuditCursor),
    /// It has come so far.
    Advance(AuditCursorName, Progress),
    /// It is gone.
    Delete(AuditCursorName),
}

/// Cursors in sled.
#[derive(Debug)]
pub struct CursorTree {
    database: sled::Db,
    tree: sled::Tree,
    /// sled's own file, opened again to sync it: by a handle of its own, so that a sync that fails is
    /// known to this and to the journal.
    file: File,
}

impl CursorTree {
    /// Opens the tree, or makes it, in the database whose files are in a directory.
    pub(in crate::store) fn open(database: &sled::Db, directory: &Path) -> Result<Self, OpenError> {
        let path = directory.display().to_string();
        let engine = |detail: String| OpenError::Engine { path: path.clone(), detail };
        let failed = |source| OpenError::Io { path: path.clone(), source };
        let tree = guarded(|| database.open_tree(TREE)).map_err(engine)?;
        guarded(|| database.flush()).map_err(engine)?;
        let file = File::open(directory.join("db")).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(Self { database: database.clone(), tree, file })
    }

    /// Removes all rows that there are of a name, also those that mean nothing.
    fn clear(&self, batch: &mut sled::Batch, name: &AuditCursorName) -> Result<(), String> {
        let mut rows = self.tree.scan_prefix(prefix(name));
        while let Some((key, _)) = guarded(|| rows.next().transpose())? {
            batch.remove(key);
        }
        Ok(())
    }

    /// Puts something else in the place of a value, below everything that would notice.
    #[cfg(test)]
    pub(crate) fn overwrite(&self, key: &[u8], value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.tree.insert(key, value).unwrap(),
            None => self.tree.remove(key).unwrap(),
        };
    }

    /// All rows, as they lie.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.tree.iter().map(|row| row.unwrap());
        rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }
}

impl CursorStore for CursorTree {
    fn load(&self) -> Result<Loaded, String> {
        let mut found: BTreeMap<String, Result<Rows, String>> = BTreeMap::new();
        let mut loaded = Loaded::default();
        let mut rows = self.tree.iter();
        while let Some((key, value)) = guarded(|| rows.next().transpose())? {
            let Some((name, row)) = read_key(&key) else {
                loaded.strays.push(StrayRow { key: key.escape_ascii().to_string() });
                continue;
            };
            let rows = found.entry(name).or_insert_with(|| Ok(Rows::default()));
            if let Ok(known) = rows
                && let Err(detail) = known.add(row, &key, &value)
            {
                *rows = Err(detail);
            }
        }
        for (name, rows) in found {
            match rows.and_then(|rows| rows.join(&name)) {
                Ok(cursor) => loaded.cursors.push(cursor),
                Err(detail) => loaded.damaged.push(DamagedCursor { name, detail }),
            }
        }
        Ok(loaded)
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                Change::Create(AuditCursor { definition, progress }) => {
                    self.clear(&mut batch, &definition.name)?;
                    let row = codec::encode_definition(definition);
                    insert(&mut batch, &definition.name, DEFINITION, &row);
                    let row = codec::encode_progress(progress);
                    insert(&mut batch, &definition.name, PROGRESS, &row);
                }
                Change::Advance(name, progress) => {
                    insert(&mut batch, name, PROGRESS, &codec::encode_progress(progress));
                }
                Change::Delete(name) => {
                    self.clear(&mut batch, name)?;
                    // They may be of this same batch.
                    batch.remove(key(name, DEFINITION));
                    batch.remove(key(name, PROGRESS));
                }
            }
        }
        guarded(|| self.tree.apply_batch(batch))?;
        guarded(|| self.database.flush())?;
        self.file.sync_data().map_err(|error| error.to_string())
    }
}

/// Which of a cursor's rows one is.
#[derive(Clone, Copy)]
enum Row {
    Definition,
    Progress,
}

/// What was found of one cursor.
#[derive(Default)]
struct Rows {
    definition: Option<Definition>,
    progress: Option<Progress>,
}

impl Rows {
    fn add(&mut self, row: Row, key: &[u8], value: &[u8]) -> Result<(), String> {
        let (sum, body) =
            value.split_first_chunk::<CHECKSUM_BYTES>().ok_or("a value is too short")?;
        if checksum(key, body).to_le_bytes() != *sum {
            return Err("a checksum does not match".to_owned());
        }
        let failed = |error: crate::store::codec::DecodeError| error.to_string();
        match row {
            Row::Definition => {
                self.definition = Some(codec::decode_definition(body).map_err(failed)?);
            }
            Row::Progress => self.progress = Some(codec::decode_progress(body).map_err(failed)?),
        }
        Ok(())
    }

    fn join(self, name: &str) -> Result<AuditCursor, String> {
        let definition = self.definition.ok_or("its definition is missing")?;
        let progress = self.progress.ok_or("how far it has come is missing")?;
        if definition.name.to_string() != name {
            return Err(format!("it says that it is `{}`", definition.name));
        }
        Ok(AuditCursor { definition: Arc::new(definition), progress })
    }
}

fn insert(batch: &mut sled::Batch, name: &AuditCursorName, row: u8, body: &[u8]) {
    let key = key(name, row);
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + body.len());
    value.extend_from_slice(&checksum(&key, body).to_le_bytes());
    value.extend_from_slice(body);
    batch.insert(key, value);
}

fn key(name: &AuditCursorName, row: u8) -> Vec<u8> {
    let mut key = prefix(name);
    key.push(row);
    key
}

/// What the keys of all rows of a cursor begin with.
fn prefix(name: &AuditCursorName) -> Vec<u8> {
    let mut key = name.to_string().into_bytes();
    key.push(0);
    key
}

/// The name in a key, and which of its rows it is of; `None` if it is of none that there can be.
fn read_key(key: &[u8]) -> Option<(String, Row)> {
    let (name, row) = match key {
        [name @ .., 0, DEFINITION] => (name, Row::Definition),
        [name @ .., 0, PROGRESS] => (name, Row::Progress),
        _ => return None,
    };
    Some((String::from_utf8_lossy(name).into_owned(), row))
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), body)
}
