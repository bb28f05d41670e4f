//! Evidence of the journal, for who doesn't want to believe the server: its key and checkpoints, changes
//! with what proves them, and the judgement of these by the public key alone.
//!
//! An export is JSON lines: the checkpoint and what it is of, the changes, how many there are.

use std::{
    io::{BufRead, BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    api::{
        convert::change,
        pb::{self, change_service_client::ChangeServiceClient, watch_changes_request::Start},
    },
    audit::tree::{
        hash::{self, Hash},
        note::{Statement, VerifierKey},
    },
    server,
    store::{codec, writer::Mode},
};

use super::super::{
    evidence::{self, CHANGES, Tree, Verdict, judge, read_key},
    failure::Failure,
    forms::Forms,
    remote::{Connection, Remote, answered, block_on},
    say,
    whole_file::WholeFile,
};

/// Whose key.
#[derive(Args, Debug)]
pub(in crate::cli) struct KeyArguments {
    /// The data directory. A server may be using it.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

/// Which checkpoint.
#[derive(Args, Debug)]
pub(in crate::cli) struct CheckpointArguments {
    /// Wait for one that covers at least this revision.
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    at_least: u64,
    #[command(flatten)]
    remote: Remote,
}

/// What to export.
#[derive(Args, Debug)]
pub(in crate::cli) struct ExportArguments {
    /// The file to write; `-` is the standard output.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The changes of all accounts, so that none can be missing; the caller must be bound to all.
    /// Without it, those of one account, each with its proof.
    #[arg(long)]
    all_accounts: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What to verify, and by what.
#[derive(Args, Debug)]
pub(in crate::cli) struct VerifyArguments {
    /// An export, made by `aap changes export`; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    export: PathBuf,
    /// The public key, as `aap changes key` printed it, or a file with it. Take it from where the
    /// journal isn't.
    #[arg(long, value_name = "KEY")]
    public_key: String,
    /// A checkpoint that was kept elsewhere: the journal must continue it. May be repeated.
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
}

/// What an export begins with.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The checkpoint that covers all of it, as a signed note.
    checkpoint: String,
    scope: Scope,
}

/// Which changes an export has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "of", content = "account")]
enum Scope {
    /// All that the checkpoint covers.
    Journal,
    /// Those of an account, in order, each with a proof. That none is missing isn't proved.
    Account(String),
}

impl Scope {
    /// The name of what is exported.
    fn parent(&self) -> String {
        match self {
            Self::Journal => "accounts/-".to_owned(),
            Self::Account(account) => format!("accounts/{account}"),
        }
    }
}

/// A change in an export.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Exported {
    revision: u64,
    leaf_hash: String,
    serialized_event: String,
    /// The same in the JSON form of the API, for people.
    change: Value,
    /// The hashes of its proof, nearest first, unless all changes are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inclusion: Option<Vec<String>>,
}

/// What an export ends with.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct End {
    changes: u64,
}

pub(super) fn print_key(arguments: &KeyArguments) -> anyhow::Result<()> {
    say(server::journal_verifier_key(&arguments.data_dir)?);
    Ok(())
}

pub(super) fn print_checkpoint(arguments: &CheckpointArguments) -> anyhow::Result<()> {
    let CheckpointArguments { at_least, remote } = arguments;
    let target = remote.target()?;
    let checkpoint = block_on(async {
        let mut client = ChangeServiceClient::new(target.connect().await?);
        let request = pb::GetChangeCheckpointRequest { size: 0, at_least_size: *at_least };
        answered(client.get_change_checkpoint(request).await)
    })?;
    say(checkpoint.note.trim_end_matches('\n'));
    Ok(())
}

pub(super) fn export(arguments: &ExportArguments) -> anyhow::Result<()> {
    let ExportArguments { to, all_accounts, remote } = arguments;
    let target = remote.target()?;
    let scope =
        if *all_accounts { Scope::Journal } else { Scope::Account(target.place.account_id()?) };
    let mut output = WholeFile::begin(to)?;
    let (count, size) = block_on(async {
        let mut client = ChangeServiceClient::new(target.connect().await?);
        let request = pb::GetChangeCheckpointRequest::default();
        let signed = answered(client.get_change_checkpoint(request).await)?;
        let writer = Writer { to: BufWriter::new(&mut output), forms: Forms::load()?, count: 0 };
        let size = signed.size;
        Ok((writer.write_all(&mut client, scope, signed).await?, size))
    })?;
    let is_standard = output.is_standard();
    output.keep()?;
    if !is_standard {
        say(format_args!("exported {count} of the {size} changes that the last checkpoint covers"));
    }
    Ok(())
}

/// Writes an export.
struct Writer<W> {
    to: W,
    forms: Forms,
    count: u64,
}

impl<W: Write> Writer<W> {
    async fn write_all(
        mut self,
        client: &mut ChangeServiceClient<Connection>,
        scope: Scope,
        signed: pb::ChangeCheckpoint,
    ) -> anyhow::Result<u64> {
        let pb::ChangeCheckpoint { note: checkpoint, size, .. } = signed;
        let (parent, is_whole) = (scope.parent(), scope == Scope::Journal);
        self.line(&Head { checkpoint, scope })?;
        let (start, form) = (Some(Start::FromRevision(1)), pb::ChangeForm::Serialized.into());
        let request = pb::WatchChangesRequest { parent, start, form };
        let mut messages = answered(client.watch_changes(request).await)?;
        let mut through = 0;
        while through < size {
            let message = messages.message().await.map_err(Failure::from)?;
            let message = message.context("the server has ended the stream")?;
            through = message.scanned.map_or(through, |scanned| scanned.through);
            for pb::Change { revision, serialized_event, .. } in message.changes {
                if revision > size {
                    break;
                }
                let inclusion =
                    if is_whole { None } else { Some(prove(client, revision, size).await?) };
                self.change(revision, &serialized_event, inclusion)?;
            }
        }
        ensure!(
            !is_whole || self.count == size,
            "only {} of {size} changes are this caller's to see; export one account",
            self.count
        );
        let changes = self.count;
        self.line(&End { changes })?;
        self.to.flush()?;
        Ok(changes)
    }

    fn change(
        &mut self,
        revision: u64,
        bytes: &[u8],
        inclusion: Option<Vec<String>>,
    ) -> anyhow::Result<()> {
        self.count += 1;
        let change = show(&self.forms, bytes)?;
        let (leaf_hash, serialized_event) =
            (STANDARD.encode(hash::leaf(bytes)), STANDARD.encode(bytes));
        self.line(&Exported { revision, leaf_hash, serialized_event, change, inclusion })
    }

    fn line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.to, value)?;
        Ok(self.to.write_all(b"\n")?)
    }
}

/// The hashes that lead from a change to the root of a checkpoint.
async fn prove(
    client: &mut ChangeServiceClient<Connection>,
    revision: u64,
    checkpoint_size: u64,
) -> anyhow::Result<Vec<String>> {
    let request = pb::GetChangeInclusionProofRequest { revision, checkpoint_size };
    let proof = answered(client.get_change_inclusion_proof(request).await)?;
    Ok(proof.hashes.iter().map(|hash| STANDARD.encode(hash)).collect())
}

/// An event as the API shows it.
fn show(forms: &Forms, bytes: &[u8]) -> anyhow::Result<Value> {
    let event = codec::decode(bytes)?;
    forms.value("aap.v1.Change", &change::send(Mode::Apply, &event))
}

pub(super) fn verify(arguments: &VerifyArguments) -> anyhow::Result<Verdict> {
    let VerifyArguments { export, public_key: key, against } = arguments;
    let key = read_key(key)?;
    let kept = match evidence::read_kept(&key, against)? {
        Ok(kept) => kept,
        Err(verdict) => return Ok(verdict),
    };
    verify_lines(evidence::open(export)?, &key, &kept)
}

fn verify_lines(
    lines: impl BufRead,
    key: &VerifierKey,
    kept: &[Statement],
) -> anyhow::Result<Verdict> {
    let mut lines = lines.lines();
    let head = lines.next().context("the export is empty")??;
    let Head { checkpoint, scope } = serde_json::from_str(&head).context("it is no export")?;
    let signed = match key.open(&checkpoint) {
        Ok(signed) => signed,
        Err(error) => return judge(error, "the export's checkpoint"),
    };
    if let Some(altered) = CHANGES.compare(kept, &signed) {
        return Ok(Verdict::Altered(altered));
    }
    let tree = Tree::new(CHANGES, kept);
    if let Some(altered) = tree.compare() {
        return Ok(Verdict::Altered(altered));
    }
    let mut judging =
        Judging { signed: &signed, scope, kept, forms: Forms::load()?, tree, last: 0, count: 0 };
    for line in lines {
        let line = line.context("can't read the export")?;
        if let Ok(End { changes }) = serde_json::from_str(&line) {
            return Ok(judging.end(changes));
        }
        let exported = serde_json::from_str(&line);
        let exported = exported.with_context(|| format!("line {} is none", judging.count + 2))?;
        if let Some(altered) = judging.add(exported)? {
            return Ok(Verdict::Altered(altered));
        }
    }
    bail!("the export is cut off: its last line is missing")
}

/// An export that is being judged.
struct Judging<'a> {
    signed: &'a Statement,
    scope: Scope,
    kept: &'a [Statement],
    forms: Forms,
    /// The tree over all changes so far, if they are all.
    tree: Tree<'a>,
    last: u64,
    count: u64,
}

impl Judging<'_> {
    /// Takes in the next change; tells what is wrong with it.
    fn add(&mut self, exported: Exported) -> anyhow::Result<Option<String>> {
        let Exported { revision, leaf_hash, serialized_event, change, inclusion } = exported;
        let bytes = STANDARD.decode(serialized_event).context("an event is no base64")?;
        let leaf = hash::leaf(&bytes);
        if revision <= self.last || revision > self.signed.size {
            return Ok(Some(format!("change {revision} is out of place")));
        }
        if self.scope == Scope::Journal && revision != self.last + 1 {
            return Ok(Some(format!("change {} is missing", self.last + 1)));
        }
        (self.last, self.count) = (revision, self.count + 1);
        if STANDARD.decode(leaf_hash).ok().as_deref() != Some(&leaf[..]) {
            return Ok(Some(format!("change {revision} has another hash than it says")));
        }
        let event = match codec::decode(&bytes) {
            Ok(event) if event.sequence == revision => event,
            _ => return Ok(Some(format!("change {revision} is none, or one of another place"))),
        };
        if let Scope::Account(account) = &self.scope
            && event.change.account().as_str() != account
        {
            return Ok(Some(format!("change {revision} is another account's")));
        }
        if show(&self.forms, &bytes)? != change {
            return Ok(Some(format!("change {revision} is shown as another one than it is")));
        }
        Ok(match self.scope {
            Scope::Journal => self.tree.add(leaf),
            Scope::Account(_) => self.prove(revision, &leaf, inclusion.as_deref()),
        })
    }

    fn prove(&self, revision: u64, leaf: &Hash, path: Option<&[String]>) -> Option<String> {
        let decode = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
        let path: Option<Vec<Hash>> = path.and_then(|path| path.iter().map(decode).collect());
        CHANGES.prove((revision, leaf), path.as_deref(), self.signed)
    }

    fn end(self, changes: u64) -> Verdict {
        let Self { signed, scope, kept, tree, count, .. } = self;
        let Statement { origin, size, .. } = signed;
        if changes != count {
            return Verdict::Altered(format!("{changes} changes were exported, {count} are here"));
        }
        if scope == Scope::Journal && !tree.is(signed) {
            return Verdict::Altered(CHANGES.contradicted(signed));
        }
        say(format_args!("`{origin}` signed a checkpoint over {size} changes"));
        match scope {
            Scope::Journal => {
                say(format_args!("all {count} changes are here, and are those"));
                tree.tell();
            }
            Scope::Account(account) => {
                say(format_args!("{count} changes of `{account}` are among them"));
                say("only an export of all accounts shows that none is missing");
                if !kept.is_empty() {
                    say("what was kept elsewhere can be compared with an export of all accounts");
                }
            }
        }
        Verdict::Verified
    }
}
