//! Segment files taken apart by hand, to know what a damaged byte belongs to.

use std::{collections::BTreeMap, ops::Range};

use super::{Line, Random, Running, disk::Disk, model::Model, small, stop};
use crate::audit::{
    footer::{self, HEADER_BYTES, Header},
    frame::{self, Kind, MARK_BYTES, Read},
    record,
    segment::Segment,
};

/// Files by their names.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// How large the segments of [`Fixture`] grow.
pub(crate) const SEGMENT_BYTES: u64 = 4_096;

/// A log with several segments, and what is in it.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) files: Files,
    pub(crate) model: Model,
}

impl Fixture {
    /// Ended in good order, with a record of that.
    pub(crate) fn closed(records: u64) -> Self {
        let (disk, mut model, running) = fill(records);
        model.acknowledge_stop(&running.record(stop()).unwrap());
        running.close();
        Self { files: segments(&disk), model }
    }

    /// Killed when everything was acknowledged and nothing waited.
    pub(crate) fn killed(records: u64) -> Self {
        let (disk, model, running) = fill(records);
        wait_until_idle(&disk);
        let files = segments(&disk);
        running.close();
        Self { files, model }
    }
}

fn fill(records: u64) -> (Disk, Model, Running) {
    let (disk, mut model, mut random) = (Disk::default(), Model::default(), Random(records));
    let running = Running::open(&disk, small(SEGMENT_BYTES)).unwrap();
    while model.last() < records {
        let count = 1 + random.below(4) as u64;
        let lines: Vec<_> =
            (1..=count).map(|place| Line::new(model.last() + place, &mut random)).collect();
        let receipts = running.wait(running.append(&lines).unwrap()).unwrap();
        model.acknowledge(&lines, &receipts);
    }
    (disk, model, running)
}

/// The segments on a disk, without the files that are none yet.
pub(crate) fn segments(disk: &Disk) -> Files {
    let files = disk.files().into_iter();
    files.filter(|(name, _)| Segment::is_file_name(name)).collect()
}

/// Waits until the last segment ends with a mark and all others are sealed.
pub(crate) fn wait_until_idle(disk: &Disk) {
    loop {
        let files = segments(disk);
        let mut newest_first = files.values().rev();
        let ends_with_mark = newest_first
            .next()
            .is_some_and(|last| frames(last).last().is_some_and(|part| part.kind == Kind::Mark));
        let is_sealed =
            |bytes: &Vec<u8>| bytes.last_chunk().and_then(footer::read_trailer).is_some();
        if ends_with_mark && newest_first.all(is_sealed) {
            return;
        }
        std::thread::yield_now();
    }
}

/// A frame in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FramePlace {
    pub(crate) kind: Kind,
    /// The record's sequence number; 0 if it is none.
    pub(crate) sequence: u64,
    pub(crate) bytes: Range<usize>,
}

/// The header of a segment.
pub(crate) fn header(bytes: &[u8]) -> Header {
    Header::decode(bytes).unwrap()
}

/// All frames of a whole segment, in order.
pub(crate) fn frames(bytes: &[u8]) -> Vec<FramePlace> {
    let salt = header(bytes).salt;
    let mut frames = Vec::new();
    let mut begin = HEADER_BYTES;
    while let Read::Frame { kind, payload } = frame::read(salt, &bytes[begin..]) {
        let end = match kind {
            Kind::Mark => begin + MARK_BYTES,
            Kind::Record | Kind::Footer => begin + frame::HEADER_BYTES + payload.len(),
        };
        let sequence = if kind == Kind::Record { record::sequence(payload).unwrap() } else { 0 };
        frames.push(FramePlace { kind, sequence, bytes: begin..end });
        begin = end;
    }
    frames
}

/// The records that have a byte in a part of a segment.
pub(crate) fn records_in(bytes: &[u8], part: &Range<usize>) -> Vec<u64> {
    let touched = |place: &FramePlace| {
        place.kind == Kind::Record && place.bytes.start < part.end && part.start < place.bytes.end
    };
    frames(bytes).into_iter().filter(touched).map(|place| place.sequence).collect()
}
