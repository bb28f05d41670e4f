//! Bytes that rot: each record is served as it was written, or named. Never another, never none.

use std::{ops::Range, sync::Arc};

use crate::audit::{
    footer::HEADER_BYTES,
    frame::Kind,
    log::OpenError,
    record::PreviousStop,
    recovery::RecoveryError,
    segment::{Content, Cursor, End, Entry, Segment},
    testing::{
        Line, Random, Running,
        disk::{Disk, SECTOR_BYTES},
        files::{Files, Fixture, SEGMENT_BYTES, frames, header, records_in, segments},
        model::Model,
        small,
    },
    volume::Volume,
};
use crate::domain::time::UnixNanos;

/// Every so many bits one is flipped; a prime, so that all bits of a byte have their turn.
const STRIDE: usize = 37;

fn open(files: &Files) -> Result<(Disk, Running), OpenError> {
    let disk = Disk::holding(files);
    let running = Running::open(&disk, small(SEGMENT_BYTES))?;
    Ok((disk, running))
}

/// Each of some bits of all files.
fn some_bits(files: &Files) -> impl Iterator<Item = (&str, usize)> {
    files.iter().enumerate().flat_map(|(number, (name, bytes))| {
        (number..bytes.len() * 8).step_by(STRIDE).map(|bit| (name.as_str(), bit))
    })
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// The damaged records are those that have a byte in `part`, and it is said where they are.
#[track_caller]
fn verify(model: &Model, entries: &[Entry], (name, bytes): (&str, &[u8]), part: Range<usize>) {
    let expected = records_in(bytes, &part);
    assert_eq!(model.verify_damaged(1, entries), expected, "{name} {part:?}");
    for entry in entries {
        if let Content::Damaged { file, offset } = &entry.content {
            assert_eq!(&**file, name);
            let begins = frames(bytes).into_iter().map(|place| place.bytes.start as u64);
            let first = begins.clone().rfind(|begin| *begin <= part.start as u64).unwrap();
            let begins: Vec<_> = begins.filter(|begin| *begin >= first).collect();
            assert!(begins.contains(offset), "{name} {part:?}: {offset} is not in {begins:?}");
        }
    }
}

#[test]
fn a_flipped_bit_costs_its_record_and_no_other() {
    for fixture in [Fixture::closed(45), Fixture::killed(45)] {
        assert!(fixture.files.len() >= 3, "{} segments", fixture.files.len());
        for (turn, (name, bit)) in some_bits(&fixture.files).enumerate() {
            let mut files = fixture.files.clone();
            flip(files.get_mut(name).unwrap(), bit);
            let (disk, running) = open(&files).unwrap();
            let place = (name, &*fixture.files[name]);
            verify(&fixture.model, &running.follow(1, 1), place, bit / 8..bit / 8 + 1);
            if turn % 8 == 0 {
                let mut model = fixture.model.clone();
                go_on(&disk, running, &mut model, place, bit / 8..bit / 8 + 1);
            } else {
                running.close();
            }
        }
    }
}

/// Appends to a damaged log and opens it anew: what was damaged is still named.
fn go_on(
    disk: &Disk,
    running: Running,
    model: &mut Model,
    place: (&str, &[u8]),
    part: Range<usize>,
) {
    let mut random = Random(part.start as u64);
    for _ in 0..2 {
        let lines: Vec<_> = (0..6).map(|number| Line::new(number, &mut random)).collect();
        let receipts = running.wait(running.append(&lines).unwrap()).unwrap();
        model.acknowledge(&lines, &receipts);
    }
    running.close();
    let (_, running) = open(&segments(disk)).unwrap();
    verify(model, &running.follow(1, 1), place, part);
    running.close();
}

#[test]
fn a_bit_that_flips_while_the_log_is_open_costs_its_record_and_no_other() {
    let fixture = Fixture::closed(60);
    let (disk, running) = open(&fixture.files).unwrap();
    for (name, bit) in some_bits(&fixture.files) {
        disk.alter(name, |bytes| flip(bytes, bit));
        let place = (name, &*fixture.files[name]);
        verify(&fixture.model, &running.follow(1, 1), place, bit / 8..bit / 8 + 1);
        disk.alter(name, |bytes| flip(bytes, bit));
    }
    running.close();
}

#[test]
fn a_stop_before_a_last_record_that_is_damaged_is_no_clean_stop() {
    let fixture = Fixture::closed(5);
    let (disk, running) = open(&fixture.files).unwrap();
    assert_eq!(running.previous_stop, PreviousStop::Clean);
    running.record(Line::new(1, &mut Random(1)).draft()).unwrap();
    running.close();
    let (name, bytes) = segments(&disk).pop_last().unwrap();
    let mut newest_first = frames(&bytes).into_iter().rev();
    let last = newest_first.find(|frame| frame.kind == Kind::Record).unwrap();
    disk.alter(&name, |bytes| bytes[last.bytes.start + 9] ^= 1);
    let (_, running) = open(&segments(&disk)).unwrap();
    assert_eq!(running.damage[0].records, Some((last.sequence, last.sequence)));
    assert_eq!(running.previous_stop, PreviousStop::Unclean);
    running.close();
}

#[test]
fn a_record_that_comes_to_disk_behind_a_damaged_one_is_read_whole() {
    let fixture = Fixture::killed(3);
    let (name, bytes) = fixture.files.first_key_value().unwrap();
    let header = header(bytes);
    let records: Vec<_> =
        frames(bytes).into_iter().filter(|frame| frame.kind == Kind::Record).collect();
    let (second, end) = (records[1].bytes.start, records[2].bytes.end as u64);
    let disk = Disk::holding(&fixture.files);
    disk.alter(name, |bytes| bytes[second + 9] ^= 1);
    // A reader that has seen the end of the frames and not yet that of the records.
    let file = disk.open(name).unwrap();
    let index = Vec::new();
    let until = |last| {
        let (last_time, data_end) = (UnixNanos(0), end);
        End { last, last_time, data_end, stranger_bytes: 0 }
    };
    let segment = Segment::new(name.clone(), file, (1, header.salt), until(2), index);
    let segment = Arc::new(segment);
    let mut cursor = Cursor::new(Arc::clone(&segment), 1);
    let mut entries = Vec::new();
    cursor.read(1, &mut entries).unwrap();
    assert_eq!((entries.len(), cursor.next()), (2, 3));
    segment.grow(until(3), &[]);
    cursor.read(1, &mut entries).unwrap();
    let whole = |entry: &Entry| matches!(entry.content, Content::Record(_));
    assert_eq!(entries.iter().map(whole).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_lost_sector_costs_the_records_in_it_and_no_others() {
    let fixture = Fixture::closed(60);
    for (name, bytes) in &fixture.files {
        let end = frames(bytes).last().unwrap().bytes.end;
        for begin in (SECTOR_BYTES..end).step_by(SECTOR_BYTES) {
            let part = begin..(begin + SECTOR_BYTES).min(bytes.len());
            let is_last = fixture.files.keys().next_back() == Some(name);
            if is_last && part.end >= end {
                // With the mark behind the last record goes what shows that it was there.
                continue;
            }
            let mut files = fixture.files.clone();
            files.get_mut(name).unwrap()[part.clone()].fill(0);
            let (disk, running) = open(&files).unwrap();
            let mut model = fixture.model.clone();
            verify(&model, &running.follow(1, 1), (name, bytes), part.clone());
            go_on(&disk, running, &mut model, (name, bytes), part);
        }
    }
}

#[test]
fn a_segment_without_a_header_is_refused_by_name() {
    let fixture = Fixture::closed(60);
    for name in fixture.files.keys() {
        let mut files = fixture.files.clone();
        files.get_mut(name).unwrap()[..SECTOR_BYTES].fill(0);
        let error = open(&files).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")) && error.contains("no header"), "{error}");
    }
}

#[test]
fn a_sealed_segment_that_was_cut_off_has_its_records_named() {
    let fixture = Fixture::closed(60);
    let sealed = fixture.files.len() - 1;
    for (name, bytes) in fixture.files.iter().take(sealed) {
        let data_end = frames(bytes).last().unwrap().bytes.start;
        for length in (HEADER_BYTES..bytes.len()).step_by(97) {
            let mut files = fixture.files.clone();
            files.get_mut(name).unwrap().truncate(length);
            match open(&files) {
                Ok((_, running)) => {
                    let part = length..data_end.max(length);
                    verify(&fixture.model, &running.follow(1, 1), (name, bytes), part);
                    running.close();
                }
                // It was cut off behind a mark, and looks as if the next file were gone.
                Err(OpenError::Recovery(RecoveryError::SegmentMissing { from, .. })) => {
                    assert_eq!(from, records_in(bytes, &(length..data_end))[0]);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_missing_segment_is_refused_by_the_records_that_were_in_it() {
    for fixture in [Fixture::closed(60), Fixture::killed(60)] {
        let names: Vec<_> = fixture.files.keys().cloned().collect();
        for (number, name) in names.iter().enumerate().skip(1) {
            let mut files = fixture.files.clone();
            files.remove(name);
            let first: u64 = name.trim_end_matches(".seg").parse().unwrap();
            let error = open(&files).unwrap_err().to_string();
            let expected = match names.get(number + 1) {
                Some(next) => {
                    let next: u64 = next.trim_end_matches(".seg").parse().unwrap();
                    format!("records {first} to {} are missing", next - 1)
                }
                None => format!("records from {first} on are missing"),
            };
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn a_file_that_is_no_segment_of_this_log_is_refused_by_name() {
    let fixture = Fixture::closed(60);
    let (name, bytes) = fixture.files.first_key_value().unwrap();
    let other = {
        let mut header = header(bytes);
        header.log_id = uuid::Uuid::from_u128(9);
        [&header.encode()[..], &bytes[HEADER_BYTES..]].concat()
    };
    let overlapping = {
        let mut header = header(bytes);
        header.first_sequence = 2;
        [&header.encode()[..], &bytes[HEADER_BYTES..]].concat()
    };
    for (name, bytes, detail) in [
        (name.as_str(), other, "belongs to log 00000000-0000-0000-0000-000000000009"),
        ("00000000000000000002.seg", bytes.clone(), "begins with record 1"),
        ("00000000000000000002.seg", overlapping, "has records up to"),
        ("notes.seg", b"notes".to_vec(), "has no header"),
        ("99999999999999999999.seg", Vec::new(), "has no header"),
    ] {
        let mut files = fixture.files.clone();
        files.insert(name.to_owned(), bytes);
        let error = open(&files).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")) && error.contains(detail), "{error}");
    }
}
