//! Writes a snapshot, a piece at a time: it never stands in memory as a whole.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use prost::Message;

use crate::{
    domain::catalog::Catalog,
    store::{codec, pb},
};

use super::{FORMAT, Origin, frame::FrameWriter};
use pb::snapshot_frame::Content;

/// After how many bytes of items a frame ends.
const ITEM_BYTES: usize = 256 * 1_024;

/// Writes a new file; it is on disk when this returns, its name is not.
pub(super) fn write(path: &Path, origin: &Origin, catalog: &Catalog) -> io::Result<()> {
    write_with(path, header(origin), catalog)
}

pub(super) fn write_with(
    path: &Path,
    header: pb::SnapshotHeader,
    catalog: &Catalog,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = BufWriter::new(options.open(path)?);
    let mut frames = FrameWriter::begin(file)?;
    frames.write(Content::Header(header))?;
    let item_count = write_items(&mut frames, catalog)?;
    let file: File = frames.finish(item_count)?.into_inner().map_err(io::Error::other)?;
    file.sync_all()
}

pub(super) fn header(origin: &Origin) -> pb::SnapshotHeader {
    let Origin { node_id, version, revision, last_event } = origin;
    pb::SnapshotHeader {
        format: FORMAT,
        node_id: node_id.as_bytes().to_vec(),
        rules_version: version.number(),
        revision: *revision,
        last_event_digest: last_event.to_vec(),
    }
}

fn write_items<W: io::Write>(frames: &mut FrameWriter<W>, catalog: &Catalog) -> io::Result<u64> {
    let (mut items, mut bytes, mut count) = (Vec::new(), 0, 0);
    for item in catalog.items() {
        let stored = codec::encode_item(&item);
        bytes += stored.encoded_len();
        items.push(stored);
        count += 1;
        if bytes >= ITEM_BYTES {
            let items = mem::take(&mut items);
            frames.write(Content::Items(pb::SnapshotItems { items }))?;
            bytes = 0;
        }
    }
    if !items.is_empty() {
        frames.write(Content::Items(pb::SnapshotItems { items }))?;
    }
    Ok(count)
}
