//! Where the verification of what is stored has come, so that a restart goes on with it. Whoever
//! loses the file begins again.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::time::UnixNanos;

use super::data_dir::DataDir;

const FILE: &str = "scrub";
const NEW_FILE: &str = "scrub.new";

/// The file.
#[derive(Clone, Debug)]
pub struct ScrubPlace(PathBuf);

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The event that comes next.
    pub event: u64,
    /// The audit log that the rest is of.
    pub log_id: Uuid,
    /// The record that comes next.
    pub record: u64,
    /// The checkpoint that comes next, by its place from 0.
    pub checkpoint: u64,
    /// How many places are known to be damaged.
    pub damaged: u64,
    /// When this pass began.
    pub began: UnixNanos,
    /// When the last one ended; 0 if none has.
    pub finished: UnixNanos,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            event: 1,
            log_id: Uuid::nil(),
            record: 1,
            checkpoint: 0,
            damaged: 0,
            began: UnixNanos(0),
            finished: UnixNanos(0),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlaceFile {
    event: u64,
    log_id: Uuid,
    record: u64,
    checkpoint: u64,
    damaged: u64,
    began_nanos: i64,
    finished_nanos: i64,
}

impl ScrubPlace {
    /// The one of a data directory.
    pub fn of(data_dir: &DataDir) -> Self {
        Self(data_dir.path().to_owned())
    }

    /// Reads it; `None` if there is none that makes sense.
    pub fn read(&self) -> Option<Place> {
        let text = fs::read_to_string(self.0.join(FILE)).ok()?;
        let file: PlaceFile = toml::from_str(&text).ok()?;
        let PlaceFile { event, log_id, record, checkpoint, damaged, began_nanos, finished_nanos } =
            file;
        let (began, finished) = (UnixNanos(began_nanos), UnixNanos(finished_nanos));
        let makes_sense = event > 0 && record > 0 && finished.0 >= 0;
        makes_sense.then_some(Place { event, log_id, record, checkpoint, damaged, began, finished })
    }

    /// Writes it. It need not be on disk when this returns.
    pub fn write(&self, place: &Place) -> io::Result<()> {
        let Place { event, log_id, record, checkpoint, damaged, began, finished } = *place;
        let (began_nanos, finished_nanos) = (began.0, finished.0);
        let file =
            PlaceFile { event, log_id, record, checkpoint, damaged, began_nanos, finished_nanos };
        let text = toml::to_string(&file).map_err(io::Error::other)?;
        let new = self.0.join(NEW_FILE);
        write_for_owner(&new, &text)?;
        fs::rename(new, self.0.join(FILE))
    }
}

fn write_for_owner(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::data_dir::Identity;

    #[test]
    fn a_place_reads_back_and_one_that_makes_no_sense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(1);
        let new = Identity { node_id: id, log_id: id, origin: "aap.test/audit".to_owned() };
        let kept = ScrubPlace::of(&DataDir::open(&dir.path().join("data"), &new).unwrap());
        assert_eq!(kept.read(), None);
        let place = Place {
            event: 7,
            log_id: id,
            record: 1_000,
            checkpoint: 3,
            damaged: 1,
            began: UnixNanos(1_800_000_000_000_000_001),
            finished: UnixNanos(1_700_000_000_000_000_000),
        };
        for place in [place, Place::default()] {
            kept.write(&place).unwrap();
            assert_eq!(kept.read(), Some(place));
        }
        let path = dir.path().join("data").join(FILE);
        let whole = fs::read_to_string(&path).unwrap();
        for broken in [
            "",
            "event = 1",
            &whole.replace("event = 1", "event = 0"),
            &whole.replace("log_id", "log"),
        ] {
            fs::write(&path, broken).unwrap();
            assert_eq!(kept.read(), None, "{broken}");
        }
    }
}
