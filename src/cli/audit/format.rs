//! Exports of the audit log, written and read in both their forms: JSON lines, where each record can
//! be read by people and programs too, and a binary one that has nothing but what is verified.
//!
//! Both begin with a signed checkpoint and end with a count, so that an export that was cut off is
//! noticed. What is in between is not judged here.

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::ValueEnum;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{api, audit::tree::hash::Hash};

/// What a binary export begins with.
const MAGIC: &[u8; 8] = b"AAPEXP1\n";
/// More than any part has.
const MAX_PART_BYTES: u32 = 1 << 20;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A JSON object a line.
    Json,
    /// The stored bytes alone.
    Binary,
}

/// Which records an export has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "of", content = "account")]
pub(super) enum Scope {
    /// All that the checkpoint covers.
    Log,
    /// Some, in order, each with a proof.
    Range,
    /// All of an account, each with a proof, and those that are damaged.
    Account(String),
}

/// What an export begins with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Head {
    /// The checkpoint that covers all of it, as a signed note.
    #[serde(rename = "checkpoint")]
    pub(super) note: String,
    pub(super) scope: Scope,
    /// The first record that the log still had.
    pub(super) kept_from: u64,
}

/// A record in an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exported {
    pub(super) sequence: u64,
    /// Its bytes as stored; the hash alone if they are damaged.
    pub(super) content: Content,
    /// The proof that it is in what the checkpoint covers; none where all records are there.
    pub(super) path: Option<Vec<Hash>>,
}

/// What of a record there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    LeafHash(Hash),
}

/// Writes an export.
pub(super) struct Writer<W> {
    to: W,
    form: Form,
    record: MessageDescriptor,
    count: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(to: W, form: Form, head: &Head) -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(api::FILE_DESCRIPTOR_SET)?;
        let record = pool.get_message_by_name("aap.v1.AuditRecord");
        let record = record.context("the API has no `AuditRecord`")?;
        let mut writer = Self { to, form, record, count: 0 };
        match form {
            Form::Json => writer.line(&serde_json::to_value(head)?)?,
            Form::Binary => {
                writer.to.write_all(MAGIC)?;
                let Head { note, scope, kept_from } = head;
                writer.part(b'C', &[note.as_bytes()])?;
                writer.part(b'S', &[serde_json::to_string(scope)?.as_bytes()])?;
                writer.part(b'F', &[&kept_from.to_le_bytes()])?;
            }
        }
        Ok(writer)
    }

    pub(super) fn record(&mut self, exported: &Exported, leaf_hash: &Hash) -> anyhow::Result<()> {
        self.count += 1;
        match self.form {
            Form::Json => self.json_record(exported, leaf_hash),
            Form::Binary => self.binary_record(exported),
        }
    }

    fn json_record(&mut self, exported: &Exported, leaf_hash: &Hash) -> anyhow::Result<()> {
        let Exported { sequence, content, path } = exported;
        let mut line = Map::new();
        line.insert("sequence".to_owned(), (*sequence).into());
        line.insert("leaf_hash".to_owned(), STANDARD.encode(leaf_hash).into());
        match content {
            Content::Bytes(bytes) => {
                line.insert("serialized_record".to_owned(), STANDARD.encode(bytes).into());
                let record = DynamicMessage::decode(self.record.clone(), &bytes[..])?;
                let options = SerializeOptions::new().skip_default_fields(true);
                let record =
                    record.serialize_with_options(serde_json::value::Serializer, &options)?;
                line.insert("record".to_owned(), record);
            }
            Content::LeafHash(_) => drop(line.insert("damaged".to_owned(), true.into())),
        }
        if let Some(path) = path {
            let path: Vec<_> = path.iter().map(|hash| STANDARD.encode(hash)).collect();
            line.insert("inclusion".to_owned(), path.into());
        }
        self.line(&Value::Object(line))
    }

    fn binary_record(&mut self, exported: &Exported) -> anyhow::Result<()> {
        let Exported { sequence, content, path } = exported;
        let sequence = sequence.to_le_bytes();
        match content {
            Content::Bytes(bytes) => self.part(b'R', &[&sequence, bytes])?,
            Content::LeafHash(hash) => self.part(b'H', &[&sequence, hash])?,
        }
        match path {
            Some(path) => self.part(b'P', &[path.as_flattened()]),
            None => Ok(()),
        }
    }

    /// Ends it; returns how many records it has.
    pub(super) fn end(mut self) -> anyhow::Result<u64> {
        let count = self.count;
        match self.form {
            Form::Json => self.line(&serde_json::json!({ "records": count }))?,
            Form::Binary => self.part(b'Z', &[&count.to_le_bytes()])?,
        }
        self.to.flush()?;
        Ok(count)
    }

    fn line(&mut self, value: &Value) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.to, value)?;
        Ok(self.to.write_all(b"\n")?)
    }

    fn part(&mut self, kind: u8, content: &[&[u8]]) -> anyhow::Result<()> {
        let length: usize = content.iter().map(|piece| piece.len()).sum();
        self.to.write_all(&[kind])?;
        self.to.write_all(&u32::try_from(length)?.to_le_bytes())?;
        Ok(content.iter().try_for_each(|piece| self.to.write_all(piece))?)
    }
}

/// Reads an export.
pub(super) struct Reader<R> {
    from: R,
    form: Form,
    count: u64,
    /// A part that was read too far.
    ahead: Option<(u8, Vec<u8>)>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Record {
        sequence: u64,
        leaf_hash: String,
        serialized_record: Option<String>,
        inclusion: Option<Vec<String>>,
    },
    End {
        records: u64,
    },
}

impl<R: BufRead> Reader<R> {
    /// Begins to read.
    pub(super) fn begin(mut from: R) -> anyhow::Result<(Self, Head)> {
        let form = if from.fill_buf()?.first() == Some(&b'{') { Form::Json } else { Form::Binary };
        let mut reader = Self { from, form, count: 0, ahead: None };
        let head = match form {
            Form::Json => reader.line().context("its first line is no head")?,
            Form::Binary => {
                let mut magic = [0; MAGIC.len()];
                reader.from.read_exact(&mut magic).context("it is no export")?;
                ensure!(magic == *MAGIC, "it is no export");
                let note = String::from_utf8(reader.expect(b'C')?)?;
                let scope = serde_json::from_slice(&reader.expect(b'S')?)?;
                let kept_from = reader.expect(b'F')?;
                let kept_from = kept_from.as_slice().try_into().context("a part is too short")?;
                Head { note, scope, kept_from: u64::from_le_bytes(kept_from) }
            }
        };
        Ok((reader, head))
    }

    /// The next record; `None` at the end, which must be there.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Exported>> {
        let next = match self.form {
            Form::Json => self.next_line(),
            Form::Binary => self.next_parts(),
        };
        let next = next.with_context(|| format!("behind record {} of the export", self.count))?;
        self.count += u64::from(next.is_some());
        Ok(next)
    }

    fn next_line(&mut self) -> anyhow::Result<Option<Exported>> {
        let (sequence, leaf_hash, serialized, inclusion) = match self.line()? {
            Line::End { records } => return self.end(records),
            Line::Record { sequence, leaf_hash, serialized_record, inclusion } => {
                (sequence, leaf_hash, serialized_record, inclusion)
            }
        };
        let content = match serialized {
            Some(bytes) => Content::Bytes(STANDARD.decode(bytes)?),
            None => Content::LeafHash(hash_of(&STANDARD.decode(leaf_hash)?)?),
        };
        let hashes = |path: Vec<String>| {
            path.iter().map(|hash| hash_of(&STANDARD.decode(hash)?)).collect::<anyhow::Result<_>>()
        };
        Ok(Some(Exported { sequence, content, path: inclusion.map(hashes).transpose()? }))
    }

    fn next_parts(&mut self) -> anyhow::Result<Option<Exported>> {
        let (kind, part) = self.part()?;
        let first = part.split_first_chunk::<8>().context("a part is too short")?;
        let (number, rest) = (u64::from_le_bytes(*first.0), first.1);
        let content = match kind {
            b'Z' => return self.end(number),
            b'R' => Content::Bytes(rest.to_vec()),
            b'H' => Content::LeafHash(hash_of(rest)?),
            _ => bail!("a part of an unknown kind"),
        };
        let (kind, part) = self.part()?;
        let path = if kind == b'P' {
            Some(part.chunks(32).map(hash_of).collect::<anyhow::Result<_>>()?)
        } else {
            self.ahead = Some((kind, part));
            None
        };
        Ok(Some(Exported { sequence: number, content, path }))
    }

    fn end(&mut self, count: u64) -> anyhow::Result<Option<Exported>> {
        ensure!(count == self.count, "the export says that it has {count} records");
        Ok(None)
    }

    fn line<T: for<'a> Deserialize<'a>>(&mut self) -> anyhow::Result<T> {
        let mut text = String::new();
        let mut limited = (&mut self.from).take(u64::from(MAX_PART_BYTES));
        limited.read_line(&mut text)?;
        ensure!(text.ends_with('\n'), "the export is cut off");
        Ok(serde_json::from_str(&text)?)
    }

    fn expect(&mut self, kind: u8) -> anyhow::Result<Vec<u8>> {
        let (found, part) = self.part()?;
        ensure!(found == kind, "a part is missing");
        Ok(part)
    }

    fn part(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(ahead);
        }
        let (mut kind, mut length) = ([0], [0; 4]);
        self.read(&mut kind)?;
        self.read(&mut length)?;
        let length = u32::from_le_bytes(length);
        ensure!(length <= MAX_PART_BYTES, "a part is too long");
        let mut part = vec![0; usize::try_from(length)?];
        self.read(&mut part)?;
        let [kind] = kind;
        Ok((kind, part))
    }

    fn read(&mut self, bytes: &mut [u8]) -> anyhow::Result<()> {
        match self.from.read_exact(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                bail!("the export is cut off")
            }
            read => Ok(read?),
        }
    }
}

fn hash_of(bytes: &[u8]) -> anyhow::Result<Hash> {
    bytes.try_into().context("a hash has not 32 bytes")
}
