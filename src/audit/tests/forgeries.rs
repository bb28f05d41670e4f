//! Frames that a caller writes into a record: damage around them must not bring them to life.

use crate::audit::{
    frame::{self, Read, Salt},
    record,
    segment::Content,
    testing::{
        Line, Random, Running,
        disk::Disk,
        files::{frames, header, segments},
        small,
    },
};

/// A text that is a whole frame of a record with this number, under this salt. A caller has no other
/// way in than text.
fn forged(salt: Salt, sequence: u64) -> String {
    let mut payload = vec![0x09];
    payload.extend_from_slice(&sequence.to_le_bytes());
    for letters in 0..1_u32 << 16 {
        payload.truncate(9);
        // Letters of which each carries four bits.
        payload.extend((0..4).map(|place| b'a' + ((letters >> (4 * place)) & 15) as u8));
        let mut bytes = Vec::new();
        frame::append_record(&mut bytes, &payload);
        let (header, payload, _) = frame::split_mut(&mut bytes).unwrap();
        frame::seal(salt, header, payload);
        if let Ok(text) = String::from_utf8(bytes) {
            return text;
        }
    }
    panic!("no text has such a checksum")
}

/// A log with a record that holds a text between two others; its disk, and its one segment's name.
fn log_with(text: impl Fn(Salt) -> String) -> (Disk, Running, String) {
    let disk = Disk::default();
    let running = Running::open(&disk, small(1 << 16)).unwrap();
    let (name, bytes) = segments(&disk).pop_first().unwrap();
    let user_agent = text(header(&bytes).salt);
    let forging = Line { account: "acme", method: "/forging".to_owned(), user_agent };
    let mut random = Random(1);
    for line in [Line::new(1, &mut random), forging, Line::new(3, &mut random)] {
        running.wait(running.append(&[line]).unwrap()).unwrap();
    }
    (disk, running, name)
}

/// Damages the frame of record 2, and reads what is there then.
fn read_around_damage(disk: &Disk, running: &Running, name: &str) -> Vec<(u64, bool)> {
    let frame =
        frames(&segments(disk)[name]).into_iter().find(|frame| frame.sequence == 2).unwrap();
    disk.alter(name, |bytes| bytes[frame.bytes.start + 5] ^= 4);
    let entries = running.follow(1, 1 << 16);
    let whole = |content: &Content| matches!(content, Content::Record(_));
    entries.iter().map(|entry| (entry.sequence, whole(&entry.content))).collect()
}

#[test]
fn a_frame_in_a_callers_text_is_not_taken_for_a_record() {
    for sequence in [1, 2, 3, 9] {
        // Whoever doesn't know the salt is wrong about it.
        let (disk, running, name) = log_with(|Salt(salt)| forged(Salt(salt ^ 1), sequence));
        let read = read_around_damage(&disk, &running, &name);
        assert_eq!(read, [(1, true), (2, false), (3, true)]);
        running.close();
        let running = Running::open(&disk, small(1 << 16)).unwrap();
        let read: Vec<_> = running.follow(1, 1).iter().map(|entry| entry.sequence).collect();
        assert_eq!(read, [1, 2, 3]);
        assert_eq!(running.damage[0].records, Some((2, 2)));
        running.close();
    }
}

#[test]
fn it_is_the_salt_alone_that_tells_a_frame_in_a_text_from_a_real_one() {
    let (disk, running, name) = log_with(|salt| forged(salt, 2));
    let read = read_around_damage(&disk, &running, &name);
    assert_eq!(read, [(1, true), (2, true), (3, true)], "with the salt the forgery succeeds");
    running.close();
}

#[test]
fn raw_bytes_that_are_a_frame_are_found_under_their_own_salt_only() {
    let text = forged(Salt(7), 2);
    let around = [b"\xff\xfebefore".as_slice(), text.as_bytes(), b"after"].concat();
    assert_eq!(frame::resynchronize(Salt(7), &around), Some(8));
    for salt in (0..2_000).filter(|salt| *salt != 7) {
        assert_eq!(frame::resynchronize(Salt(salt), &around), None, "salt {salt}");
    }
    let Read::Frame { payload, .. } = frame::read(Salt(7), text.as_bytes()) else {
        panic!("it is a frame")
    };
    assert_eq!(record::sequence(payload), Some(2));
}
