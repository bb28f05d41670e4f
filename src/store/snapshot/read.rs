//! Reads a snapshot: one thread reads and verifies bytes, one makes the catalog of them, and one the
//! rulebook.

use std::{
    fs::File,
    io::BufReader,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use uuid::Uuid;

use crate::{
    domain::{
        catalog::{Catalog, inventory::Item},
        rulebook::Rulebook,
        rules::RulesVersion,
    },
    projection::State,
    store::{codec, pb},
};

use super::{
    FORMAT, Flaw, Origin,
    frame::{Frame, FrameReader},
};
use pb::snapshot_frame::Content;

/// How many frames may wait between two threads.
const WAITING: usize = 8;

type Items = Arc<Vec<Item>>;

/// Reads a snapshot whose origin is accepted.
pub(super) fn read(
    file: File,
    accept: impl FnOnce(&Origin) -> Result<(), Flaw>,
) -> Result<State, Flaw> {
    let mut frames = FrameReader::begin(BufReader::with_capacity(1 << 20, file))?;
    let origin = read_header(&mut frames)?;
    accept(&origin)?;
    let (revision, version) = (origin.revision, origin.version);
    thread::scope(|scope| {
        let (to_decode, raw) = sync_channel(WAITING);
        let (to_compile, items) = sync_channel(WAITING);
        let catalog = scope.spawn(move || make_catalog(revision, raw, &to_compile));
        let rulebook = scope.spawn(move || make_rulebook(version, revision, items));
        let counted = read_items(&mut frames, &to_decode);
        // Tells the others that there is no more.
        drop(to_decode);
        let panicked = |_| Flaw::Damaged { offset: 0, detail: "it can't be folded".to_owned() };
        let made = catalog.join().map_err(panicked)?;
        let rulebook = rulebook.join().map_err(panicked)?;
        // What can't be decoded is why nothing more was taken, so it counts first.
        let (catalog, count) = made?;
        let counted = counted?;
        if counted == Some(count) {
            return Ok(State { catalog, rulebook });
        }
        let detail = format!("it has {count} items, not as many as its footer says");
        Err(Flaw::Damaged { offset: 0, detail })
    })
}

fn read_header(frames: &mut FrameReader<BufReader<File>>) -> Result<Origin, Flaw> {
    let nothing = || Flaw::Damaged { offset: 0, detail: "it has no header".to_owned() };
    let frame = frames.next()?.ok_or_else(nothing)?;
    let Content::Header(header) = frame.decode()? else { return Err(nothing()) };
    let pb::SnapshotHeader { format, node_id, rules_version, revision, last_event_digest } = header;
    if format != FORMAT {
        return Err(Flaw::Format { found: format });
    }
    let version = RulesVersion::from_number(rules_version)
        .ok_or(Flaw::Rules { found: rules_version, wanted: RulesVersion::CURRENT.number() })?;
    Ok(Origin {
        node_id: Uuid::from_slice(&node_id).map_err(|error| frame.damaged(error))?,
        version,
        revision,
        last_event: last_event_digest
            .try_into()
            .map_err(|_| frame.damaged("a digest has 32 bytes"))?,
    })
}

/// Hands on all frames with items; gives the number of items that the footer names. Ends early if
/// nobody takes them any more.
fn read_items(
    frames: &mut FrameReader<BufReader<File>>,
    to_decode: &SyncSender<Frame>,
) -> Result<Option<u64>, Flaw> {
    let mut last: Option<Frame> = None;
    while let Some(frame) = frames.next()? {
        if let Some(items) = last.replace(frame)
            && to_decode.send(items).is_err()
        {
            return Ok(None);
        }
    }
    let nothing = || Flaw::Damaged { offset: 0, detail: "it has no footer".to_owned() };
    let frame = last.ok_or_else(nothing)?;
    match frame.decode()? {
        Content::Footer(footer) => frame.verify_footer(&footer).map(Some),
        Content::Header(_) | Content::Items(_) => Err(nothing()),
    }
}

/// Makes the catalog, and hands the items on; counts them.
fn make_catalog(
    revision: u64,
    raw: Receiver<Frame>,
    to_compile: &SyncSender<Items>,
) -> Result<(Catalog, u64), Flaw> {
    let mut catalog = Catalog::as_of(revision);
    let mut count = 0;
    for frame in raw {
        let Content::Items(pb::SnapshotItems { items }) = frame.decode()? else {
            return Err(frame.damaged("it should hold items"));
        };
        let items: Result<Vec<_>, _> = items.into_iter().map(codec::decode_item).collect();
        let items = Arc::new(items.map_err(|error| frame.damaged(error))?);
        count += items.len() as u64;
        // The other thread ends only after this one.
        let _ = to_compile.send(Arc::clone(&items));
        items.iter().for_each(|item| catalog.put(item));
    }
    Ok((catalog, count))
}

fn make_rulebook(version: RulesVersion, revision: u64, items: Receiver<Items>) -> Rulebook {
    let mut rulebook = Rulebook::as_of(version, revision);
    // The other thread's catalog is not at hand; this has of it what access points are judged by.
    let mut known = Catalog::as_of(revision);
    for items in items {
        for item in items.iter() {
            if let Item::RamRole(_) | Item::ClientKey(_) = item {
                known.put(item);
            }
            rulebook.put(item, &known);
        }
    }
    rulebook
}
