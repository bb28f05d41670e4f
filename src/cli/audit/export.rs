//! `aap audit export`: the records that the last checkpoint covers, in a form that can be verified
//! without the server.

use std::{io::BufWriter, path::PathBuf};

use anyhow::ensure;
use clap::Args;
use uuid::Uuid;

use crate::{
    audit::{
        record,
        segment::{Content as Stored, Entry},
        signed::SignedLog,
        tree::hash::{self, Hash},
    },
    server,
};

use super::{
    super::{say, whole_file::WholeFile},
    format::{Content, Exported, Form, Head, Scope, Writer},
};

/// What to export, and how.
#[derive(Args, Debug)]
pub(in crate::cli) struct Arguments {
    /// The data directory. A server may be using it; what is exported is what its last checkpoint
    /// covers.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// A log of before, by its id, as `aap audit key` names it; without it, the one that takes records.
    #[arg(long, value_name = "LOG_ID")]
    log: Option<Uuid>,
    /// The file to write; `-` is the standard output.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The form: JSON lines, or the stored bytes alone.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    form: Form,
    /// Only the records of this account, each with its proof, and those that are damaged.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only records from this sequence number on, each with its proof.
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "account")]
    from: Option<u64>,
    /// Only records up to this sequence number, each with its proof.
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "account")]
    through: Option<u64>,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { data_dir, log, to, form, account, from, through } = arguments;
    let log = server::open_signed_log(data_dir, *log)?;
    let name = log.verifier.name().to_owned();
    let checkpoint = *log.log.latest();
    let note = log.verifier.note(&checkpoint.statement(&name), &checkpoint.signature);
    let kept_from = log.log.first();
    let first = from.unwrap_or(1).max(kept_from);
    let last = through.unwrap_or(u64::MAX).min(checkpoint.size);
    let scope = match account {
        Some(account) => Scope::Account(account.clone()),
        None if first == 1 && last == checkpoint.size => Scope::Log,
        None => Scope::Range,
    };
    let mut output = WholeFile::begin(to)?;
    let head = Head { note, scope, kept_from };
    let mut writer = Writer::begin(BufWriter::new(&mut output), *form, &head)?;
    log.log.read(first, last, &mut |entry| -> anyhow::Result<()> {
        if let Some((exported, leaf_hash)) = export(&log.log, entry, &head.scope)? {
            writer.record(&exported, &leaf_hash)?;
        }
        Ok(())
    })?;
    let count = writer.end()?;
    let is_standard = output.is_standard();
    output.keep()?;
    if !is_standard {
        let size = checkpoint.size;
        say(format_args!("exported {count} of the {size} records that the last checkpoint covers"));
    }
    Ok(())
}

/// A record as it is exported; `None` if it isn't wanted.
fn export(
    log: &SignedLog,
    entry: Entry,
    scope: &Scope,
) -> anyhow::Result<Option<(Exported, Hash)>> {
    let Entry { sequence, content, .. } = entry;
    let (content, leaf_hash) = match content {
        Stored::Record(bytes) => {
            if let Scope::Account(account) = scope
                && record::account(&bytes) != account
            {
                return Ok(None);
            }
            let leaf_hash = hash::leaf(&bytes);
            (Content::Bytes(bytes.to_vec()), leaf_hash)
        }
        Stored::Damaged { .. } => {
            let leaf_hash = log.inclusion(sequence)?.leaf_hash;
            (Content::LeafHash(leaf_hash), leaf_hash)
        }
    };
    let path = match scope {
        Scope::Log => None,
        Scope::Range | Scope::Account(_) => {
            let proof = log.inclusion(sequence)?;
            ensure!(
                proof.leaf_hash == leaf_hash,
                "record {sequence} is not the one that was signed"
            );
            Some(proof.path)
        }
    };
    Ok(Some((Exported { sequence, content, path }, leaf_hash)))
}
