//! Backups of what stands in memory: read back as they were made, and refused with anything changed.

use std::{
    io,
    sync::{Arc, Mutex},
};

use uuid::Uuid;

use super::{
    archive::BLOCK,
    head::JournalHead,
    reading::{Archive, ArchiveError},
    source::{Source, Whose},
    verifying::{self, VerifyError},
    writing::{Backup, BackupError, CHUNK_BYTES},
};
use crate::{
    audit::{
        copying::{FileCopy, From, LogCopy},
        tree::{
            hash::{self, Frontier},
            note::{SigningKey, Statement, VerifierKey},
        },
        volume::VolumeFile,
    },
    domain::{
        event::Event,
        testing::{World, create_network_rule},
        time::UnixNanos,
    },
    store::{
        codec,
        data_dir::Identity,
        journal::{JournalReader, ReadError},
    },
};

/// A file in memory.
#[derive(Debug, Default)]
struct Memory(Mutex<Vec<u8>>);

impl VolumeFile for Memory {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap();
        let begin = usize::try_from(offset).unwrap().min(bytes.len());
        let count = buffer.len().min(bytes.len() - begin);
        buffer[..count].copy_from_slice(&bytes[begin..begin + count]);
        Ok(count)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A journal in memory, one of whose events may be damaged.
#[derive(Debug)]
struct Events(Vec<Event>, Option<u64>);

impl JournalReader for Events {
    fn read(&self, from: u64, count: usize) -> Result<Vec<Event>, ReadError> {
        let begin = usize::try_from(from - 1).unwrap();
        Ok(self.0[begin..begin + count].to_vec())
    }

    fn read_stored(&self, from: u64, count: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        if let Some(sequence) = self.1.filter(|one| (from..from + count as u64).contains(one)) {
            let detail = "it is rotten".to_owned();
            return Err(ReadError::Damaged { sequence, part: 0, detail });
        }
        Ok(self.read(from, count)?.iter().map(codec::encode).collect())
    }
}

fn events(count: usize) -> Vec<Event> {
    let create = |number| create_network_rule(&format!("n{number}"), "public", "10.0.0.0/8");
    World::given((0..count).map(create)).events
}

fn key() -> SigningKey {
    SigningKey::of_seed("aap.test/audit", &[7; 32]).unwrap()
}

fn identity() -> Identity {
    let [node_id, log_id] = [1, 2].map(Uuid::from_u128);
    Identity { node_id, log_id, origin: "aap.test/audit".to_owned() }
}

/// What a journal's checkpoint over some events says, signed.
fn note_over(events: &[Event]) -> String {
    let mut frontier = Frontier::default();
    for event in events {
        frontier.push(hash::leaf(&codec::encode(event)), |_, _| {});
    }
    let origin = identity().journal_name();
    let key = key().named(&origin);
    let statement = Statement { origin, size: frontier.size(), root: frontier.root() };
    key.verifier().note(&statement, &key.sign(&statement))
}

/// A backup of a journal, and of a log without records that has files of these sizes.
fn made(journal: Events, checkpoint: Option<String>, sizes: &[(&str, u64)]) -> Backup {
    let revision = journal.0.len() as u64;
    let file = |&(name, size): &(&str, u64)| {
        let bytes = (0..size).map(|place| u8::try_from(place % 251).unwrap()).collect();
        let from = From::Open(Arc::new(Memory(Mutex::new(bytes))));
        FileCopy { name: name.to_owned(), from, length: Some(size), end: b"end".to_vec() }
    };
    let files = sizes.iter().map(file).collect();
    let log = LogCopy { files, tree: Vec::new(), first: 1, last: 0 };
    let (identity, key, time) = (identity(), key(), UnixNanos(1_800_000_000_000_000_000));
    let whose = Whose { identity: &identity, previous_logs: &[], key: Some(key.verifier()), time };
    let head = JournalHead { revision, checkpoint };
    let logs = vec![(identity.log_id, log)];
    Backup::begin(Source::new(&whose, (Arc::new(journal), head), Vec::new(), logs)).unwrap()
}

fn bytes_of(mut backup: Backup) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(some) = backup.read().unwrap() {
        assert!(some.len() <= CHUNK_BYTES, "{}", some.len());
        bytes.extend(some);
    }
    bytes
}

fn open(bytes: Vec<u8>) -> Result<Archive, ArchiveError> {
    Archive::open(Arc::new(Memory(Mutex::new(bytes))), &mut |_, _| {})
}

fn verify(bytes: Vec<u8>, trusted: Option<&VerifierKey>) -> Result<u64, VerifyError> {
    let archive = Arc::new(open(bytes)?);
    let trusted: Vec<_> = trusted.into_iter().cloned().collect();
    let verified = verifying::verify(&archive, &trusted)?;
    assert_eq!(verified.key.as_ref(), Some(key().verifier()));
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    Ok(verified.journal.map_or(0, |signed| signed.size))
}

#[test]
fn files_of_any_size_come_back_as_they_were() {
    let most = CHUNK_BYTES as u64;
    let sizes: Vec<_> = [0, 1, 508, 509, 510, most - 1_024, most - 3, most, 3 * most + 7].into();
    for size in sizes {
        let name = "00000000000000000001.seg";
        let archive =
            Arc::new(open(bytes_of(made(Events(events(3), None), None, &[(name, size)]))).unwrap());
        let (found, place) = archive.files_in("audit").next().unwrap();
        assert_eq!((found, place.size), (name, size + 3));
        let bytes = archive.read(&format!("audit/{name}")).unwrap().unwrap();
        let (content, end) = bytes.split_at(usize::try_from(size).unwrap());
        assert!(content.iter().zip(0_u64..).all(|(byte, place)| u64::from(*byte) == place % 251));
        assert_eq!(end, b"end");
        let part = archive.part(place);
        let mut some = [0; 8];
        assert_eq!((part.read_at(&mut some, size).unwrap(), &some[..3]), (3, &b"end"[..]));
        assert_eq!(part.read_at(&mut some, size + 4).unwrap(), 0);
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_found() {
    let bytes = bytes_of(made(Events(events(3), None), None, &[("trimmed", 40)]));
    assert!(open(bytes.clone()).is_ok());
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        // What stands behind the digits of a header's sum says nothing.
        match open(flipped) {
            Ok(_) => assert!((154..156).contains(&(place % BLOCK)), "byte {place}"),
            Err(ArchiveError::Damaged { offset, .. }) => {
                // Not everything is read before a name that is wrong is seen to be.
                assert!(offset <= bytes.len() as u64, "byte {place}: {offset}");
            }
            Err(ArchiveError::NoBackup(_) | ArchiveError::Truncated(_)) => {}
            Err(error @ (ArchiveError::Io(_) | ArchiveError::Changed(_))) => {
                panic!("byte {place}: {error}")
            }
        }
    }
    for length in (0..bytes.len()).step_by(64) {
        let error = open(bytes[..length].to_vec()).unwrap_err();
        let is_right = matches!(error, ArchiveError::Truncated(at) if at == length as u64);
        assert!(is_right, "cut at {length}: {error}");
    }
    let longer = [&bytes[..], &[0; BLOCK]].concat();
    assert!(matches!(open(longer), Err(ArchiveError::Damaged { .. })));
}

#[test]
fn what_is_damaged_is_named_with_its_file_and_place() {
    let name = "00000000000000000001.seg";
    let mut bytes = bytes_of(made(Events(events(3), None), None, &[(name, 1 << 20)]));
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    let error = open(bytes).unwrap_err().to_string();
    assert!(error.contains("`audit/00000000000000000001.seg`: its SHA-256 is another"), "{error}");
    for (bytes, wanted) in [
        (b"something else entirely".repeat(50), "it is no backup"),
        (Vec::new(), "it ends at byte 0"),
        (vec![0; 4 * BLOCK], "zeros where a file should be"),
    ] {
        let error = open(bytes).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_journal_is_held_against_its_checkpoint_and_its_key() {
    let all = events(700);
    let backup = |events: &[Event], note: Option<String>| {
        bytes_of(made(Events(events.to_vec(), None), note, &[]))
    };
    let note = note_over(&all[..512]);
    assert_eq!(verify(backup(&all, Some(note.clone())), None).unwrap(), 512);
    assert_eq!(verify(backup(&all, None), None).unwrap(), 0);
    assert_eq!(verify(backup(&all, Some(note.clone())), Some(key().verifier())).unwrap(), 512);
    // A name in a file that nobody signed is no signature.
    let error = verify(backup(&all, None), Some(key().verifier())).unwrap_err();
    assert_eq!(error.to_string(), "its journal is not signed, so that no key can judge it");
    assert_eq!(verify(backup(&[], None), None).unwrap(), 0);

    let other = SigningKey::of_seed("aap.test/audit", &[8; 32]).unwrap();
    let error = verify(backup(&all, Some(note.clone())), Some(other.verifier())).unwrap_err();
    assert!(matches!(error, VerifyError::OtherKey { .. }), "{error}");
    let error = verify(backup(&all[..511], Some(note.clone())), None).unwrap_err();
    assert!(error.to_string().contains("it has 511 events, but a checkpoint over 512"), "{error}");
    let mut altered = all.clone();
    altered[99].actor = "somebody else".into();
    let error = verify(backup(&altered, Some(note.clone())), None).unwrap_err();
    assert!(error.to_string().contains("first 512 events are not those"), "{error}");
    let forged = note.replace("\n512\n", "\n511\n");
    let error = verify(backup(&all, Some(forged)), None).unwrap_err();
    assert!(matches!(error, VerifyError::Note { .. }), "{error}");
    // Each part is there, and one is of another place.
    let gone = all.iter().filter(|event| event.sequence != 300).cloned().collect();
    let error = verify(bytes_of(made(Events(gone, None), None, &[])), None).unwrap_err();
    assert!(matches!(error, VerifyError::Event(_)), "{error}");
}

#[test]
fn a_backup_of_what_can_not_be_read_names_it_and_does_not_end() {
    let mut backup = made(Events(events(600), Some(300)), None, &[]);
    let error = loop {
        match backup.read() {
            Ok(some) => assert!(some.is_some(), "it ends as if it were whole"),
            Err(error) => break error,
        }
    };
    let wanted = BackupError::Journal(ReadError::Damaged {
        sequence: 300,
        part: 0,
        detail: "it is rotten".to_owned(),
    });
    assert_eq!(format!("{error:?}"), format!("{wanted:?}"));

    // A file that has become shorter than it was.
    let mut log = LogCopy { first: 1, ..LogCopy::default() };
    let from = From::Open(Arc::new(Memory(Mutex::new(vec![1; 100]))));
    let name = "trimmed".to_owned();
    log.files.push(FileCopy { name, from, length: Some(101), end: Vec::new() });
    let (identity, time) = (identity(), UnixNanos(0));
    let whose = Whose { identity: &identity, previous_logs: &[], key: None, time };
    let head = JournalHead { revision: 0, checkpoint: None };
    let journal = (Arc::new(Events(Vec::new(), None)) as Arc<dyn JournalReader>, head);
    let source = Source::new(&whose, journal, Vec::new(), vec![(identity.log_id, log)]);
    let error = Backup::begin(source).unwrap().read().unwrap_err();
    assert_eq!(error.to_string(), "`audit/trimmed` ends at byte 100; it should have 101");
}
