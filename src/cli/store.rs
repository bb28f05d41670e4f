//! `aap store`: looks at what is on disk, and changes nothing.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    audit::{
        inspection,
        journal::JournalLeaves,
        tree::{
            inspection::{self as tree_inspection, Flaw},
            stored::Tree,
        },
        volume::Untouched,
    },
    domain::rules::RulesVersion,
    server,
    store::{
        cursors::tree::{CursorStore as _, Loaded},
        data_dir::{DataDir, DataDirError},
        inspection::{InspectError, JournalCopy, Verified, is_fold_of, verify},
        journal::Journal,
        sled_journal::SledJournal,
        snapshot::Snapshots,
    },
};

use super::{complain, say};

/// What to do with what is on disk.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify everything in a data directory that no server uses. Exits with 0 if it is whole, with
    /// 1 if something is damaged, and with 2 if it can't be looked at.
    Check(Arguments),
}

/// What to look at.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The data directory. Nothing in it is changed.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// Where a copy of the journal is put for as long as this runs: the engine writes to what it
    /// opens.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The most problems of one part that are shown to people.
const MOST_SHOWN: usize = 20;

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    data_dir: String,
    parts: Vec<Part>,
    whole: bool,
}

/// What was found in one part.
#[derive(Debug, Serialize)]
struct Part {
    name: &'static str,
    found: String,
    problems: Vec<String>,
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Check(arguments) = command;
    let report = match check(arguments) {
        Ok(report) => report,
        Err(error) => {
            complain(&error);
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => say(text),
            Err(error) => complain(&error.into()),
        }
    } else {
        report.print();
    }
    if report.whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Report {
    fn print(&self) {
        say(format_args!("data directory `{}`", self.data_dir));
        for Part { name, found, problems } in &self.parts {
            let verdict = if problems.is_empty() { "whole" } else { "DAMAGED" };
            say(format_args!("  {name:<10} {found}: {verdict}"));
            for problem in problems.iter().take(MOST_SHOWN) {
                say(format_args!("    {problem}"));
            }
            if let Some(more) = problems.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
                say(format_args!("    and {more} more (`--json` has all)"));
            }
        }
        say(if self.whole { "it is whole" } else { "something is damaged" });
    }
}

fn check(arguments: &Arguments) -> anyhow::Result<Report> {
    let Arguments { data_dir: path, scratch, json: _ } = arguments;
    let mut parts = Vec::new();
    match DataDir::inspect(path) {
        Ok(data_dir) => {
            let identity = data_dir.identity();
            let found = format!("node {}, audit log {}", identity.node_id, identity.log_id);
            parts.push(Part { name: "FORMAT", found, problems: Vec::new() });
            check_journal(&data_dir, scratch, &mut parts)?;
            for &log_id in data_dir.previous_logs() {
                parts.push(check_audit("former log", &data_dir, log_id)?);
            }
            parts.push(check_audit("audit log", &data_dir, identity.log_id)?);
        }
        Err(error @ DataDirError::Damaged { .. }) => {
            let (found, problems) = ("unreadable".to_owned(), vec![error.to_string()]);
            parts.push(Part { name: "FORMAT", found, problems });
        }
        Err(error) => return Err(error.into()),
    }
    let whole = parts.iter().all(|part| part.problems.is_empty());
    Ok(Report { data_dir: path.display().to_string(), parts, whole })
}

fn check_journal(data_dir: &DataDir, scratch: &Path, parts: &mut Vec<Part>) -> anyhow::Result<()> {
    let path = data_dir.path().join("journal");
    let unreadable = |problem: String| Part {
        name: "journal",
        found: "unreadable".to_owned(),
        problems: vec![problem],
    };
    if !path.exists() {
        parts.push(unreadable(format!("`{}` is missing", path.display())));
        return Ok(());
    }
    let copy = match JournalCopy::open(&path, scratch) {
        Ok(copy) => copy,
        Err(InspectError::Open(error)) => {
            parts.push(unreadable(format!("{:#}", anyhow::Error::from(error))));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let journal = copy.journal();
    let verified = verify(journal);
    let mut problems: Vec<_> = verified.damaged.iter().map(ToString::to_string).collect();
    if verified.events > 0 && !path.join("head").exists() {
        problems.push("`journal/head` is missing: a lost end would not be noticed".to_owned());
    }
    match journal.blob_count()? {
        0 => {}
        count => problems.push(format!("{count} values lie in files that are never synced")),
    }
    let found = format!("{} events", verified.events);
    parts.push(Part { name: "journal", found, problems });
    parts.push(check_cursors(journal));
    parts.extend(check_journal_tree(data_dir, journal)?);
    parts.extend(check_snapshot(data_dir, journal, &verified));
    Ok(())
}

/// What is found of the audit log's cursors.
fn check_cursors(journal: &SledJournal) -> Part {
    let loaded = journal
        .cursors()
        .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        .and_then(|cursors| cursors.load());
    let (found, problems) = match loaded {
        Ok(Loaded { cursors, damaged, strays }) => {
            let problems = damaged.iter().map(ToString::to_string);
            let problems = problems.chain(strays.iter().map(ToString::to_string)).collect();
            (format!("{} audit cursors", cursors.len() + damaged.len()), problems)
        }
        Err(error) => ("unreadable".to_owned(), vec![error]),
    };
    Part { name: "cursors", found, problems }
}

/// What is found in the journal's tree, if there is one: it is made at the first start.
fn check_journal_tree(data_dir: &DataDir, journal: &dyn Journal) -> anyhow::Result<Option<Part>> {
    let path = data_dir.path().join(server::JOURNAL_TREE_FOLDER);
    if !path.exists() {
        return Ok(None);
    }
    let last = journal.last();
    let name = "its tree";
    let tree = match Tree::open(Arc::new(Untouched::new(path)), 0) {
        Ok(tree) => tree,
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let problems = vec!["a file is missing; the next start makes it".to_owned()];
            return Ok(Some(Part { name, found: "incomplete".to_owned(), problems }));
        }
        Err(error) => return Err(error.into()),
    };
    // A key that can't be used is the next start's to refuse.
    let verifier = server::journal_verifier_key(data_dir.path()).ok();
    let leaves = JournalLeaves::new(journal.reader(), last);
    let flaws = tree_inspection::verify(&tree, &leaves, (1, last), verifier.as_ref())?;
    let folder = server::JOURNAL_TREE_FOLDER;
    let problems = flaws.into_iter().map(|Flaw { place, what }| {
        format!("`{folder}/{}` is damaged at byte {}: {what}", place.file, place.offset)
    });
    let signed = tree.latest()?.map_or(0, |checkpoint| checkpoint.size);
    let found = format!("the last checkpoint covers {signed} events");
    Ok(Some(Part { name, found, problems: problems.collect() }))
}

/// What is found in the snapshot, if there is one.
fn check_snapshot(data_dir: &DataDir, journal: &dyn Journal, verified: &Verified) -> Option<Part> {
    let snapshots = Snapshots::of(data_dir);
    let read = snapshots.read(journal.reader().as_ref(), journal.last(), RulesVersion::CURRENT);
    let (found, problems) = match read {
        Ok(None) => return None,
        Err(flaw) => {
            let remedy = "it is only a cache: the next start drops it";
            ("unusable".to_owned(), vec![format!("{flaw} ({remedy})")])
        }
        Ok(Some(state)) => {
            let found = format!("of event {}", state.revision());
            let is_right = verified
                .state
                .as_ref()
                .is_none_or(|_| is_fold_of(journal, &state).unwrap_or(false));
            let problem = "the journal gives another state; remove the file `snapshot`";
            (found, if is_right { Vec::new() } else { vec![problem.to_owned()] })
        }
    };
    Some(Part { name: "snapshot", found, problems })
}

fn check_audit(name: &'static str, data_dir: &DataDir, log_id: Uuid) -> anyhow::Result<Part> {
    let path = data_dir.audit_path(log_id);
    // A key that can't be used is the next start's to refuse.
    let verifier = server::verifier_key(data_dir, log_id).ok();
    let found = inspection::verify(&path, &path.join("tree"), log_id, verifier.as_ref())?;
    let inspection::Found { segments, first, last, problems } = found;
    let found = match last.checked_sub(first) {
        Some(_) => format!("{segments} segments, records {first} to {last}"),
        None => format!("{segments} segments, no record"),
    };
    Ok(Part { name, found, problems })
}
