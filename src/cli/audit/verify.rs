//! `aap audit verify`: judges an export, or a log, a server's too, by a public key and by checkpoints
//! that were kept elsewhere. It believes nothing that isn't signed.

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use prost::Message;
use uuid::Uuid;

use crate::{
    api::pb,
    audit::{
        signed::SignedLog,
        tree::{
            hash,
            note::{NoteError, Statement, VerifierKey},
        },
    },
    server,
};

use super::{
    super::{
        evidence::{self, RECORDS, Tree, Verdict, judge, read_key},
        remote::Server,
        say,
    },
    format::{Content, Exported, Head, Reader, Scope},
    online,
};

/// What to verify, and by what.
#[derive(Args, Debug)]
pub(in crate::cli) struct Arguments {
    /// An export, made by `aap audit export`; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// A data directory, whose last checkpoint is compared with those that were kept. A server may be
    /// using it. Without it and without an export, a server is asked.
    #[arg(long, value_name = "DIR", requires = "against", conflicts_with = "export")]
    data_dir: Option<PathBuf>,
    /// A log of before in the data directory, by its id, as `aap audit key` names it; without it, the
    /// one that takes records.
    #[arg(long, value_name = "LOG_ID", requires = "data_dir")]
    log: Option<Uuid>,
    /// The public key, as `aap audit key` printed it, or a file with it. Take it from where the log
    /// isn't.
    #[arg(long, value_name = "KEY")]
    public_key: String,
    /// A checkpoint that was kept elsewhere: the log must continue it. May be repeated.
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Where to keep the server's last checkpoint for the next time, if everything is verified. If
    /// there is one from the last time, the log is compared with that too.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "data_dir"])]
    keep: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let Arguments { export, data_dir, log, public_key, against, keep, server } = arguments;
    let key = read_key(public_key)?;
    // What is to be replaced is compared with, too: it may be the last one there is.
    let replaced = keep.iter().filter(|path| path.exists() && !against.contains(path));
    let against: Vec<_> = against.iter().chain(replaced).collect();
    let kept = match evidence::read_kept(&key, &against)? {
        Ok(kept) => kept,
        Err(verdict) => return Ok(verdict),
    };
    match (export, data_dir) {
        (Some(path), _) => verify_export(evidence::open(path)?, &key, &kept),
        (None, Some(path)) => verify_log(&server::open_signed_log(path, *log)?.log, &key, &kept),
        (None, None) => {
            let (verdict, note) = online::verify(server, &key, &kept)?;
            if let (Verdict::Verified, Some(path)) = (&verdict, keep) {
                keep_note(path, &note)?;
            }
            Ok(verdict)
        }
    }
}

/// Replaces a file at once: there is always a checkpoint in it.
fn keep_note(path: &Path, note: &str) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
        file.write_all(note.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().with_context(|| format!("can't write `{}`", path.display()))?;
    say(format_args!("it is kept in `{}`", path.display()));
    Ok(())
}

fn verify_log(log: &SignedLog, key: &VerifierKey, kept: &[Statement]) -> anyhow::Result<Verdict> {
    let current = log.latest().statement(key.name());
    if !key.verify(&current, &log.latest().signature) {
        let error = NoteError::NotSigned { name: key.name().to_owned() };
        return judge(error, "the log's last checkpoint");
    }
    for old in kept {
        if old.size > current.size {
            return Ok(Verdict::Altered(RECORDS.cut_back(old, &current)));
        }
        if log.root_at(old.size)? != old.root {
            return Ok(Verdict::Altered(RECORDS.contradicted(old)));
        }
        say(format_args!("the log continues the checkpoint over {} records", old.size));
    }
    if log.root_at(current.size)? != current.root {
        return Ok(Verdict::Altered(RECORDS.contradicted(&current)));
    }
    say(format_args!("its last checkpoint covers {} records", current.size));
    Ok(Verdict::Verified)
}

fn verify_export(
    from: impl std::io::BufRead,
    key: &VerifierKey,
    kept: &[Statement],
) -> anyhow::Result<Verdict> {
    let (mut reader, head) = Reader::begin(from).context("can't read the export")?;
    let Head { note, scope, kept_from } = head;
    let signed = match key.open(&note) {
        Ok(signed) => signed,
        Err(error) => return judge(error, "the export's checkpoint"),
    };
    if let Some(altered) = RECORDS.compare(kept, &signed) {
        return Ok(Verdict::Altered(altered));
    }
    let mut chains = Chains {
        scope: &scope,
        kept_from,
        log_id: log_id(&signed.origin),
        last: HashMap::new(),
        damaged: 0,
    };
    let mut tree = Tree::new(RECORDS, kept);
    if let Some(altered) = tree.compare() {
        return Ok(Verdict::Altered(altered));
    }
    let (mut count, mut last) = (0, 0);
    while let Some(exported) = reader.next().context("can't read the export")? {
        let Exported { sequence, content, path } = exported;
        if sequence <= last || sequence > signed.size {
            return Ok(Verdict::Altered(format!("record {sequence} is out of place")));
        }
        let leaf_hash = match &content {
            Content::Bytes(bytes) => hash::leaf(bytes),
            Content::LeafHash(leaf_hash) => *leaf_hash,
        };
        let altered = match (&scope, path) {
            (Scope::Log, _) if sequence != last + 1 => {
                Some(format!("record {} is missing", last + 1))
            }
            (Scope::Log, _) => tree.add(leaf_hash),
            (_, path) => RECORDS.prove((sequence, &leaf_hash), path.as_deref(), &signed),
        };
        let altered = altered.or_else(|| chains.add(sequence, &content));
        if let Some(altered) = altered {
            return Ok(Verdict::Altered(altered));
        }
        (count, last) = (count + 1, sequence);
    }
    if scope == Scope::Log && !tree.is(&signed) {
        return Ok(Verdict::Altered(RECORDS.contradicted(&signed)));
    }
    let damaged = chains.damaged;
    tell(&scope, count, &signed, (damaged, &tree, kept));
    if kept_from > 1 {
        say(format_args!("the log begins with record {kept_from}, as the export says"));
    }
    Ok(Verdict::Verified)
}

fn tell(
    scope: &Scope,
    count: u64,
    signed: &Statement,
    (damaged, tree, kept): (u64, &Tree<'_>, &[Statement]),
) {
    let Statement { origin, size, .. } = signed;
    say(format_args!("`{origin}` signed a checkpoint over {size} records"));
    match scope {
        Scope::Log => {
            say(format_args!("all {count} records are here, and are those"));
            tree.tell();
        }
        Scope::Range => say(format_args!("{count} records are among them")),
        Scope::Account(account) => {
            say(format_args!(
                "{count} records are among them, and the chain of `{account}` is whole"
            ));
        }
    }
    if *scope != Scope::Log && !kept.is_empty() {
        say("what was kept elsewhere can be compared with an export of the whole log only");
    }
    if damaged > 0 {
        say(format_args!(
            "{damaged} of them are damaged: their hashes are here, their bytes are not"
        ));
    }
}

/// The id of the log, which is the end of its name.
fn log_id(origin: &str) -> String {
    origin.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The chains of records that each account's are in.
struct Chains<'a> {
    scope: &'a Scope,
    /// The first record that the log still had, as the export says.
    kept_from: u64,
    log_id: String,
    /// The last record of each account so far.
    last: HashMap<String, u64>,
    damaged: u64,
}

impl Chains<'_> {
    fn add(&mut self, sequence: u64, content: &Content) -> Option<String> {
        let Content::Bytes(bytes) = content else {
            self.damaged += 1;
            return None;
        };
        let Ok(record) = pb::AuditRecord::decode(&bytes[..]) else {
            return Some(format!("record {sequence} is none"));
        };
        if record.sequence != sequence || record.log_id != self.log_id {
            return Some(format!("record {sequence} is one of another place or log"));
        }
        match self.scope {
            Scope::Account(account) if *account != record.account => {
                return Some(format!("record {sequence} is another account's"));
            }
            Scope::Range => return None,
            Scope::Account(_) | Scope::Log => {}
        }
        let previous = self.last.insert(record.account.clone(), sequence).unwrap_or_default();
        let is_first_kept = previous == 0 && record.account_previous_sequence < self.kept_from;
        // A record in between may be one whose bytes are damaged.
        let is_next = previous == record.account_previous_sequence
            || is_first_kept
            || self.damaged > 0 && record.account_previous_sequence > previous;
        (!is_next).then(|| {
            format!(
                "record {sequence} of `{}` follows record {}, which is not here",
                record.account, record.account_previous_sequence
            )
        })
    }
}
