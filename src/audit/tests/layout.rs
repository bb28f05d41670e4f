//! The page of bytes: how both logs lie on disk, with examples. A difference here is a difference of
//! the format.

use std::{fmt::Write, sync::Arc};

use uuid::Uuid;

use crate::{
    audit::{
        footer::{Footer, HEADER_BYTES, Header, IndexEntry, TRAILER_BYTES},
        frame::{self, MARK_BYTES, Salt},
        record::{self, Stamp},
        segment::Segment,
        testing::{LOG_ID, disk::Disk, stop},
        tree::{
            checkpoints::{self, Checkpoint, Checkpoints},
            files::{self as tree_files, Files, Place},
        },
    },
    domain::{
        audit_cursor::{AuditCursor, Definition, Progress},
        audit_filter::AuditFilter,
        name::AuditCursorName,
        resource::Uid,
        testing::{World, create_network_rule},
        time::UnixNanos,
    },
    store::{
        codec,
        cursors::tree::{Change, CursorStore as _},
        head::Head,
        parts,
        sled_journal::SledJournal,
    },
};

const SALT: Salt = Salt(0x1122_3344);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Lines of fields: each takes so many bytes, the last one the rest.
fn fields(page: &mut String, mut bytes: &[u8], fields: &[(usize, &str)]) {
    for (length, label) in fields {
        let (field, rest) = bytes.split_at((*length).min(bytes.len()));
        let shown = if field.len() > 32 {
            format!("{}… ({} bytes)", hex(&field[..24]), field.len())
        } else {
            hex(field)
        };
        writeln!(page, "  {label:<34}{shown}").unwrap();
        bytes = rest;
    }
    assert!(bytes.is_empty(), "{} bytes are not explained", bytes.len());
}

const REST: usize = usize::MAX;

fn journal(page: &mut String) {
    let mut world = World::given([]);
    let many = (0..800).map(|number| format!("10.0.{}.{}", number / 256, number % 256));
    let many = many.collect::<Vec<_>>().join(" ");
    let small = world.carry_out(create_network_rule("office", "public", "203.0.113.0/24"));
    let large = world.carry_out(create_network_rule("many", "vpc-1", &many));
    let (Uid(uid), time) = (Uid(Uuid::from_u128(1)), small.time);
    assert_eq!((uid, time), (Uuid::from_u128(1), UnixNanos(1)), "the world is always the same");
    for event in [small, large] {
        let bytes = codec::encode(&event);
        writeln!(page, "event {}, {} bytes of `aap.store.v1.Event`", event.sequence, bytes.len())
            .unwrap();
        for (key, value) in parts::cut(event.sequence, &bytes).unwrap() {
            fields(page, &key, &[(8, "key: sequence number"), (2, "key: part")]);
            let value_fields =
                [(4, "value: CRC32C"), (2, "value: count of parts"), (REST, "value: body")];
            fields(page, &value, &value_fields);
        }
    }
}

fn cursors(page: &mut String) {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = SledJournal::open(dir.path()).unwrap().cursors().unwrap();
    let definition = Definition {
        name: AuditCursorName::parse("auditCursors/siem").unwrap(),
        uid: Uid(LOG_ID),
        create_time: UnixNanos(1_795_458_000_000_000_000),
        creator: "eyes".into(),
        mark: None,
        filter: AuditFilter::default(),
        start: 42,
    };
    let progress = Progress::before(LOG_ID, 42);
    let cursor = AuditCursor { definition: Arc::new(definition), progress };
    tree.write(&[Change::Create(cursor)]).unwrap();
    let messages = ["AuditCursor", "AuditCursorProgress"];
    for ((key, value), message) in tree.rows().into_iter().zip(messages) {
        writeln!(page, "`auditCursors/siem`, its `aap.store.v1.{message}`").unwrap();
        fields(page, &key, &[(17, "key: name"), (1, "key: zero"), (1, "key: row")]);
        fields(page, &value, &[(4, "value: CRC32C"), (REST, "value: body")]);
    }
}

fn head(page: &mut String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("head");
    let (mut head, _) = Head::open(&path).unwrap();
    for sequence in 1..=3 {
        head.advance(sequence).unwrap();
    }
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(1_024, 0);
    page.push_str("journal/head after events 1, 2 and 3\n");
    let slot = [(8, "slot: sequence number"), (4, "slot: CRC32C"), (500, "slot: unused")];
    fields(page, &bytes, &[slot, slot].concat());
}

fn header(page: &mut String) {
    let header = Header { log_id: LOG_ID, first_sequence: 1, salt: SALT };
    let bytes = header.encode();
    let (copy, second) = bytes.split_at(HEADER_BYTES / 2);
    assert_eq!(copy, second);
    writeln!(page, "header of {}, the first of two equal copies", Segment::file_name(1)).unwrap();
    let header_fields = [
        (8, "magic"),
        (4, "version"),
        (4, "salt"),
        (16, "log id"),
        (8, "first record"),
        (20, "unused"),
        (4, "CRC32C"),
    ];
    fields(page, copy, &header_fields);
}

fn frames(page: &mut String) {
    let frame_fields = [(4, "kind and length"), (4, "CRC32C, salted")];
    page.push_str("mark: every record before 1 is on disk\n");
    let mark = frame::mark(SALT, 1);
    assert_eq!(mark.len(), MARK_BYTES);
    fields(page, &mark, &[&frame_fields[..], &[(8, "next record")]].concat());

    let mut record = Vec::new();
    record::encode(&mut record, &LOG_ID.to_string(), &stop());
    let (time, nonce) = (UnixNanos(1_795_458_000_123_456_789), *b"sixteen bytes :)");
    record::stamp(&mut record, &Stamp { sequence: 1, time, nonce, account_previous: 0 });
    let mut bytes = Vec::new();
    frame::append_record(&mut bytes, &record);
    let (header, payload, _) = frame::split_mut(&mut bytes).unwrap();
    frame::seal(SALT, header, payload);
    page.push_str("frame of record 1, a stop\n");
    let record_fields = [
        (1, "tag of 1, fixed64"),
        (8, "sequence"),
        (2, "tag of 2, length"),
        (12, "record time, fixed width"),
        (2, "tag of 3, length"),
        (16, "nonce"),
        (1, "tag of 4, fixed64"),
        (8, "account's previous sequence"),
        (REST, "the rest of the message"),
    ];
    fields(page, &bytes, &[&frame_fields[..], &record_fields].concat());
    writeln!(page, "leaf hash of record 1\n  {}", hex(&record::leaf_hash(&record))).unwrap();
}

fn footer(page: &mut String) {
    let footer = Footer {
        first_sequence: 1,
        record_count: 1,
        data_end: 257,
        stranger_bytes: 0,
        record_times: (UnixNanos(1), UnixNanos(2)),
        leaves_digest: [9; 32],
        index: vec![IndexEntry { sequence: 1, offset: 144 }],
        accounts: vec![("acme".into(), 1)],
        damaged: Vec::new(),
    };
    let bytes = footer.encode(SALT);
    let (frame, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
    page.push_str("frame of a footer\n");
    let frame_fields =
        [(4, "kind and length"), (4, "CRC32C, salted"), (REST, "aap.store.v1.SegmentFooter")];
    fields(page, frame, &frame_fields);
    page.push_str("trailer\n");
    fields(page, trailer, &[(8, "footer's offset"), (8, "magic"), (4, "CRC32C")]);
}

fn tree(page: &mut String) {
    let disk = Disk::default();
    let files = Files::open(Arc::new(disk.clone())).unwrap();
    for (level, index) in [(0, 1), (8, 0)] {
        files.write(level, index, &[[9; 32]]).unwrap();
        let Place { file, offset } = tree_files::place(level, index);
        writeln!(page, "`{file}`, byte {offset}: the hash of subtree {index} of level {level}")
            .unwrap();
        let entry = disk.files().remove(&file).unwrap().split_off(usize::try_from(offset).unwrap());
        fields(page, &entry, &[(32, "hash"), (4, "CRC32C")]);
    }
    let (size, time) = (256, UnixNanos(1_795_458_000_123_456_789));
    let checkpoint = Checkpoint { size, root: [9; 32], time, signature: [7; 64] };
    Checkpoints::open(&disk).unwrap().append(&checkpoint).unwrap();
    let bytes = disk.files().remove(checkpoints::FILE).unwrap();
    writeln!(page, "`{}`, byte 0", checkpoints::FILE).unwrap();
    let entry_fields = [
        (8, "size"),
        (8, "time"),
        (32, "root"),
        (64, "signature"),
        (12, "zeros"),
        (4, "CRC32C"),
        (REST, "zeros, ahead of use"),
    ];
    fields(page, &bytes, &entry_fields);
}

#[test]
fn both_logs_lie_on_disk_as_the_page_of_bytes_shows() {
    let mut page = String::from("# The journal: keys and values of sled's tree `journal`\n\n");
    journal(&mut page);
    page.push_str(
        "\n# The audit log's cursors: keys and values of sled's tree `audit_cursors`\n\n",
    );
    cursors(&mut page);
    page.push_str("\n# The journal's witness\n\n");
    head(&mut page);
    page.push_str("\n# A segment of the audit log\n\n");
    header(&mut page);
    frames(&mut page);
    footer(&mut page);
    page.push_str("\n# The tree over the audit log\n\n");
    tree(&mut page);
    expect_test::expect_file!["../../../tests/snapshots/keys.txt"].assert_eq(&page);
}
