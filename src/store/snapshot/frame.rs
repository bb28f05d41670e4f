//! A snapshot's bytes: a magic word, and frames with a length, a checksum and a message each.

use std::io::{self, Read, Write};

use prost::Message;
use ring::digest::{Context, SHA256};

use crate::store::pb;

use super::Flaw;
use pb::snapshot_frame::Content;

/// What a snapshot begins with.
pub(super) const MAGIC: [u8; 8] = *b"AAPSNAP\n";
/// The most bytes a message has: an item of the largest size after as many as fit before.
pub(super) const MAX_FRAME_BYTES: usize = 4 * 1_024 * 1_024;

/// Writes frames, and knows what it wrote.
pub(super) struct FrameWriter<W> {
    inner: W,
    digest: Context,
    count: u64,
    scratch: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    pub(super) fn begin(mut inner: W) -> io::Result<Self> {
        inner.write_all(&MAGIC)?;
        let mut digest = Context::new(&SHA256);
        digest.update(&MAGIC);
        Ok(Self { inner, digest, count: 0, scratch: Vec::new() })
    }

    pub(super) fn write(&mut self, content: Content) -> io::Result<()> {
        self.scratch.clear();
        let frame = pb::SnapshotFrame { content: Some(content) };
        frame.encode(&mut self.scratch).map_err(io::Error::other)?;
        let length = u32::try_from(self.scratch.len()).map_err(io::Error::other)?.to_le_bytes();
        let checksum = checksum(length, &self.scratch).to_le_bytes();
        for piece in [&length[..], &checksum, &self.scratch] {
            self.inner.write_all(piece)?;
            self.digest.update(piece);
        }
        self.count += 1;
        Ok(())
    }

    /// Writes the footer, and gives back what was written to.
    pub(super) fn finish(mut self, item_count: u64) -> io::Result<W> {
        let digest = self.digest.clone().finish().as_ref().to_vec();
        let frame_count = self.count;
        self.write(Content::Footer(pb::SnapshotFooter { frame_count, item_count, digest }))?;
        Ok(self.inner)
    }
}

/// Reads frames, and knows what it read.
pub(super) struct FrameReader<R> {
    inner: R,
    digest: Context,
    /// Where the next frame begins.
    offset: u64,
    count: u64,
}

/// The bytes of one frame's message, whose checksum is right.
pub(super) struct Frame {
    /// Where it begins.
    pub(super) offset: u64,
    pub(super) payload: Vec<u8>,
    /// SHA-256 of all bytes before it, and how many frames those are.
    before: (Context, u64),
}

impl<R: Read> FrameReader<R> {
    pub(super) fn begin(mut inner: R) -> Result<Self, Flaw> {
        let mut magic = [0; MAGIC.len()];
        let is_there = fill(&mut inner, &mut magic)?;
        if is_there != magic.len() || magic != MAGIC {
            let detail = "it doesn't begin as a snapshot".to_owned();
            return Err(Flaw::Damaged { offset: 0, detail });
        }
        let mut digest = Context::new(&SHA256);
        digest.update(&MAGIC);
        Ok(Self { inner, digest, offset: MAGIC.len() as u64, count: 0 })
    }

    /// The next frame; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Flaw> {
        let offset = self.offset;
        let damaged = |detail: &str| Flaw::Damaged { offset, detail: detail.to_owned() };
        let mut head = [0; 8];
        match fill(&mut self.inner, &mut head)? {
            0 => return Ok(None),
            8 => {}
            _ => return Err(damaged("it ends within a frame")),
        }
        let [a, b, c, d, checksum @ ..] = head;
        let length = [a, b, c, d];
        let size = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if size > MAX_FRAME_BYTES {
            return Err(damaged("the frame is too long"));
        }
        let mut payload = vec![0; size];
        if fill(&mut self.inner, &mut payload)? != size {
            return Err(damaged("it ends within a frame"));
        }
        if self::checksum(length, &payload) != u32::from_le_bytes(checksum) {
            return Err(damaged("a checksum does not match"));
        }
        let before = (self.digest.clone(), self.count);
        self.digest.update(&head);
        self.digest.update(&payload);
        self.offset += (head.len() + size) as u64;
        self.count += 1;
        Ok(Some(Frame { offset, payload, before }))
    }
}

impl Frame {
    pub(super) fn decode(&self) -> Result<Content, Flaw> {
        let content = pb::SnapshotFrame::decode(self.payload.as_slice()).map(|frame| frame.content);
        match content {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(self.damaged("the frame is of no kind that is known")),
            Err(error) => Err(self.damaged(error)),
        }
    }

    /// Whether a footer in this frame is right about the frames before it, and how many items it
    /// counts.
    pub(super) fn verify_footer(self, footer: &pb::SnapshotFooter) -> Result<u64, Flaw> {
        let pb::SnapshotFooter { frame_count, item_count, digest } = footer;
        let offset = self.offset;
        let (before, count) = self.before;
        if *frame_count == count && before.finish().as_ref() == digest.as_slice() {
            return Ok(*item_count);
        }
        let detail = "the frames before the footer are not those that were written".to_owned();
        Err(Flaw::Damaged { offset, detail })
    }

    pub(super) fn damaged(&self, detail: impl ToString) -> Flaw {
        Flaw::Damaged { offset: self.offset, detail: detail.to_string() }
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// Reads as much as there is, up to the buffer's length.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..)
        && !rest.is_empty()
    {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
