//! The journal's own tree: over the stored bytes of its events stands the same tree as over audit
//! records, grown behind its writer and signed by the same code.
//!
//! An event's leaf hash is that of the bytes in the engine, as they were first written: who verifies
//! takes these, and doesn't encode an event again. It doesn't know what an event says.

use std::{io, sync::Arc, thread::JoinHandle};

use crate::{
    clock::Clock,
    domain::event::Event,
    store::{
        codec,
        journal::{AppendError, Journal, JournalReader, ReadError},
    },
};

use super::{
    background,
    tree::{
        evidence::{self, EachLeaf, Evidence, EvidenceError, LeafSource, Parts},
        feed::Feed,
        hash::{self, Hash},
    },
};

/// How many events are read at a time.
const CHUNK: usize = 256;

/// The leaf hashes of a journal's events.
#[derive(Clone, Debug)]
pub struct JournalLeaves {
    journal: Arc<dyn JournalReader>,
    last: u64,
}

impl JournalLeaves {
    /// Those of the events up to one.
    pub fn new(journal: Arc<dyn JournalReader>, last: u64) -> Self {
        Self { journal, last }
    }

    /// The hashes of so many events from one on; `None` for those that are damaged.
    fn read(&self, from: u64, count: usize) -> io::Result<Vec<Option<Hash>>> {
        match self.journal.read_stored(from, count) {
            Ok(stored) => Ok(stored.iter().map(|bytes| Some(hash::leaf(bytes))).collect()),
            Err(ReadError::Engine(error)) => Err(io::Error::other(error)),
            Err(ReadError::Damaged { .. }) if count == 1 => Ok(vec![None]),
            Err(ReadError::Damaged { .. }) => {
                let one_by_one = (from..).take(count).map(|sequence| self.read(sequence, 1));
                Ok(one_by_one.collect::<io::Result<Vec<_>>>()?.concat())
            }
        }
    }
}

impl LeafSource for JournalLeaves {
    fn leaf(&self, index: u64) -> io::Result<Option<Hash>> {
        Ok(self.read(index + 1, 1)?.into_iter().flatten().next())
    }

    fn leaves(&self, index: u64, each: EachLeaf<'_>) -> io::Result<()> {
        let mut next = index + 1;
        while next <= self.last {
            let left = usize::try_from(self.last + 1 - next).unwrap_or(CHUNK);
            for leaf_hash in self.read(next, left.min(CHUNK))? {
                each(next - 1, leaf_hash)?;
                next += 1;
            }
        }
        Ok(())
    }
}

/// The tree over a journal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JournalTree {
    evidence: Arc<Evidence>,
    leaves: JournalLeaves,
}

/// Why a journal isn't what was signed.
#[derive(Debug, thiserror::Error)]
pub enum JournalTreeError {
    /// It and the tree don't belong together.
    #[error("the journal is not what its checkpoints say")]
    Evidence(#[source] EvidenceError),
    /// An event isn't the one that was written.
    #[error("journal event {event} is not the one that was written: its hash is another one")]
    Altered {
        /// Which one.
        event: u64,
    },
    /// The file system refused.
    #[error("can't open the journal's tree")]
    Io(#[from] io::Error),
}

impl From<EvidenceError> for JournalTreeError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Io(error) => Self::Io(error),
            error => Self::Evidence(error),
        }
    }
}

/// An open tree over a journal.
#[derive(Debug)]
pub struct Opened {
    /// The tree.
    pub tree: JournalTree,
    /// The journal, whose appends it follows.
    pub journal: Followed,
    /// The thread that keeps it; it ends when the journal is dropped.
    pub thread: JoinHandle<()>,
}

/// Opens the tree of a journal, or makes it of the journal. The events behind a revision are held
/// against their hashes; all others are by whoever looks at all of it.
pub fn open(
    parts: Parts,
    journal: Box<dyn Journal>,
    behind: u64,
    clock: Clock,
) -> Result<Opened, JournalTreeError> {
    let last = journal.last();
    let leaves = JournalLeaves::new(journal.reader(), last);
    let evidence::Opened { evidence, feed } = Evidence::open(parts, &leaves, last, clock)?;
    let mut altered = None;
    let (mut place, mut kept) = (behind, Vec::new());
    leaves.leaves(behind, &mut |index, leaf_hash| {
        if index >= place + kept.len() as u64 {
            (place, kept) = (index, evidence.tree().kept_leaves(index, CHUNK as u64)?);
        }
        let known = usize::try_from(index - place).ok().and_then(|at| kept.get(at)).copied();
        if let (Some(Some(known)), Some(leaf_hash)) = (known, leaf_hash)
            && known != leaf_hash
        {
            altered.get_or_insert(index + 1);
        }
        Ok(())
    })?;
    if let Some(event) = altered {
        return Err(JournalTreeError::Altered { event });
    }
    let kept = Arc::clone(&evidence);
    let thread = background::start("journal-tree", move || kept.keep())?;
    let tree = JournalTree { evidence, leaves };
    Ok(Opened { tree, journal: Followed { journal, feed }, thread })
}

impl JournalTree {
    /// The tree and its checkpoints.
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// Where its leaves come from.
    pub fn leaves(&self) -> &JournalLeaves {
        &self.leaves
    }
}

/// A journal whose tree grows by what is appended, when it is on disk.
pub struct Followed {
    journal: Box<dyn Journal>,
    feed: Feed,
}

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followed").finish_non_exhaustive()
    }
}

impl Journal for Followed {
    fn last(&self) -> u64 {
        self.journal.last()
    }

    fn append(&mut self, expected_last: u64, events: &[Event]) -> Result<(), AppendError> {
        self.journal.append(expected_last, events)?;
        let leaves: Vec<_> = events.iter().map(|event| hash::leaf(&codec::encode(event))).collect();
        self.feed.push(&leaves);
        Ok(())
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        self.journal.read(from, limit)
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        self.journal.reader()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{
            testing::{clock, disk::Disk},
            tree::note::SigningKey,
        },
        domain::testing::{World, create_network_rule},
    };

    /// A journal in memory. Of events that were altered it gives other bytes; of damaged ones, none.
    #[derive(Clone, Debug, Default)]
    struct InMemory {
        events: Vec<Event>,
        altered: Option<u64>,
        damaged: Option<u64>,
    }

    impl JournalReader for InMemory {
        fn read(&self, from: u64, count: usize) -> Result<Vec<Event>, ReadError> {
            let begin = usize::try_from(from - 1).unwrap();
            Ok(self.events[begin..begin + count].to_vec())
        }

        fn read_stored(&self, from: u64, count: usize) -> Result<Vec<Vec<u8>>, ReadError> {
            let stored = JournalReader::read(self, from, count)?;
            let stored = stored.iter().map(|event| {
                let sequence = event.sequence;
                if self.damaged == Some(sequence) {
                    let detail = "it is rotten".to_owned();
                    return Err(ReadError::Damaged { sequence, part: 0, detail });
                }
                let mut bytes = codec::encode(event);
                if self.altered == Some(sequence) {
                    bytes.push(0);
                }
                Ok(bytes)
            });
            stored.collect()
        }
    }

    impl Journal for InMemory {
        fn last(&self) -> u64 {
            self.events.len() as u64
        }

        fn append(&mut self, _expected_last: u64, events: &[Event]) -> Result<(), AppendError> {
            self.events.extend_from_slice(events);
            Ok(())
        }

        fn read(&self, from: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
            JournalReader::read(self, from, limit)
        }

        fn reader(&self) -> Arc<dyn JournalReader> {
            Arc::new(self.clone())
        }
    }

    fn events(count: usize) -> Vec<Event> {
        let create = |number| create_network_rule(&format!("n{number}"), "public", "10.0.0.0/8");
        World::given((0..count).map(create)).events
    }

    fn open_on(disk: &Disk, journal: &InMemory, behind: u64) -> Result<Opened, JournalTreeError> {
        let key = SigningKey::of_seed("aap.test/node/journal", &[5; 32]).unwrap();
        let parts = Parts { volume: Arc::new(disk.clone()), key };
        open(parts, Box::new(journal.clone()), behind, clock())
    }

    fn close(opened: Opened) {
        drop(opened.journal);
        opened.thread.join().unwrap();
    }

    #[test]
    fn a_tree_grows_by_what_is_appended_as_it_does_by_what_was_there() {
        let all = events(700);
        let (grown, made) = (Disk::default(), Disk::default());
        let mut journal = InMemory::default();
        // In three runs, so that there are several checkpoints.
        for part in all.chunks(300) {
            let mut opened = open_on(&grown, &journal, 0).unwrap();
            for few in part.chunks(7) {
                opened.journal.append(few[0].sequence - 1, few).unwrap();
            }
            close(opened);
            journal.events.extend_from_slice(part);
        }
        close(open_on(&made, &journal, 0).unwrap());
        let opened = [&grown, &made].map(|disk| open_on(disk, &journal, 700).unwrap());
        let latest = opened.each_ref().map(|one| one.tree.evidence().latest().unwrap());
        assert_eq!((latest[0].size, latest[0].root), (700, latest[1].root));
        for (index, event) in (0..).zip(&all) {
            let [one, other] = opened.each_ref().map(|one| {
                let (evidence, leaves) = (one.tree.evidence(), one.tree.leaves());
                evidence.inclusion(leaves, index, &latest[0]).unwrap()
            });
            assert_eq!(
                (one.leaf_hash, &one.path),
                (hash::leaf(&codec::encode(event)), &other.path)
            );
        }
        opened.into_iter().for_each(close);
    }

    #[test]
    fn an_event_behind_the_snapshot_that_is_not_the_one_that_was_written_is_refused() {
        let disk = Disk::default();
        let mut journal = InMemory { events: events(600), ..InMemory::default() };
        close(open_on(&disk, &journal, 0).unwrap());
        journal.altered = Some(412);
        for (behind, is_refused) in [(0, true), (411, true), (412, false)] {
            match open_on(&disk, &journal, behind) {
                Ok(opened) => {
                    assert!(!is_refused, "behind {behind}");
                    close(opened);
                }
                Err(JournalTreeError::Altered { event: 412 }) => assert!(is_refused),
                Err(error) => panic!("behind {behind}: {error}"),
            }
        }
        // One that can't be read is the reader's to name; its hash is still known.
        journal = InMemory { damaged: Some(412), altered: None, ..journal };
        let opened = open_on(&disk, &journal, 0).unwrap();
        let latest = opened.tree.evidence().latest().unwrap();
        let proof = opened.tree.evidence().inclusion(opened.tree.leaves(), 411, &latest).unwrap();
        assert_eq!(proof.leaf_hash, hash::leaf(&codec::encode(&journal.events[411])));
        close(opened);
    }

    #[test]
    fn a_tree_that_can_not_be_read_is_not_said_to_be_of_another_journal() {
        let disk = Disk::default();
        let journal = InMemory { events: events(300), ..InMemory::default() };
        close(open_on(&disk, &journal, 0).unwrap());
        disk.refuse_reads("leaves-00000000000000000000", 0..36);
        disk.refuse_reads("level-08", 0..36);
        let error = open_on(&disk, &journal, 0).unwrap_err();
        assert!(matches!(error, JournalTreeError::Io(_)), "{error:?}");
    }

    #[test]
    fn a_journal_that_was_cut_back_or_is_another_one_is_refused() {
        let disk = Disk::default();
        let journal = InMemory { events: events(300), ..InMemory::default() };
        close(open_on(&disk, &journal, 0).unwrap());
        let cut_back = InMemory { events: journal.events[..299].to_vec(), ..InMemory::default() };
        let error = open_on(&disk, &cut_back, 0).unwrap_err();
        let is_cut_back = matches!(
            error,
            JournalTreeError::Evidence(EvidenceError::CutBack { last: 299, signed: 300 })
        );
        assert!(is_cut_back, "{error:?}");
        // Without the hashes, all are made of the events, and don't lead to what was signed.
        let mut files = disk.files();
        files.retain(|name, _| name == "checkpoints");
        let altered = InMemory { altered: Some(7), ..journal };
        let error = open_on(&Disk::holding(&files), &altered, 300).unwrap_err();
        let differs =
            matches!(error, JournalTreeError::Evidence(EvidenceError::Differs { signed: 300 }));
        assert!(differs, "{error:?}");
    }
}
