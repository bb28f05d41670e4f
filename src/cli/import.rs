//! `aap import`: a new data directory of documents.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    clock::Clock,
    domain::event::Event,
    entropy,
    store::{
        data_dir::{DataDir, Identity},
        journal::Journal,
        sled_journal::SledJournal,
    },
};

use super::{
    documents::{self, Document, Syntax},
    say, yaml,
};

/// Who makes what is imported, in the journal.
const ACTOR: &str = "import";
/// How many events are written with one sync.
const AT_ONCE: usize = 1_000;

/// Where from, and where to.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The directory with the documents: every `.json`, `.yaml` or `.yml` file in it and below it,
    /// those whose path has a part that begins with a dot aside.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory to make; it must be empty, or not be there.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// The name of the audit log in it, as `audit.origin` in the configuration.
    #[arg(long, value_name = "NAME", default_value = "aap.local/audit")]
    origin: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { from, data_dir, origin } = arguments;
    let documents = read(from)?;
    let events = match documents::events(&documents, ACTOR, Clock::system().now())? {
        Ok(events) => events,
        Err(violations) => {
            let list: Vec<_> = violations.iter().map(|wrong| format!("  {wrong}")).collect();
            let count = match list.len() {
                1 => "1 thing is wrong".to_owned(),
                count => format!("{count} things are wrong"),
            };
            bail!("nothing is imported: {count}\n{}", list.join("\n"));
        }
    };
    make(data_dir, origin, &events)?;
    say(format_args!("imported {} documents as {} changes", documents.len(), events.len()));
    Ok(())
}

/// Makes the data directory. Its description is written last: a directory without one is refused, so
/// nobody takes what was not imported to its end for the whole.
fn make(path: &Path, origin: &str, events: &[Event]) -> anyhow::Result<()> {
    // The engine makes files at times of its own.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let new = DataDir::prepare(path)?;
    let mut journal = SledJournal::open(&path.join("journal"))?;
    for events in events.chunks(AT_ONCE) {
        journal.append(journal.last(), events).context("can't write the journal")?;
    }
    drop(journal);
    let origin = origin.to_owned();
    new.finish(&Identity { node_id: entropy::uuid()?, log_id: entropy::uuid()?, origin }, &[])?;
    Ok(())
}

/// More than any file with documents has.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Reads every document, by path; or those of the file that a path names.
pub(super) fn read(directory: &Path) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let is_named = relative.as_os_str().is_empty();
        let path = if is_named { directory.to_owned() } else { directory.join(&relative) };
        let failed = || format!("can't read `{}`", path.display());
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(failed)? {
                let name = entry.with_context(failed)?.file_name();
                if !name.to_string_lossy().starts_with('.') {
                    pending.push(relative.join(name));
                }
            }
        } else if is_named || is_document(&path) {
            let mut text = String::new();
            let file = fs::File::open(&path).with_context(failed)?;
            file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).with_context(failed)?;
            if text.len() as u64 > MAX_FILE_BYTES {
                bail!("`{}` has more than {MAX_FILE_BYTES} bytes", path.display());
            }
            let shown = if is_named { &path } else { &relative };
            documents.extend(parted(&shown.to_string_lossy(), text));
        }
    }
    documents.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(documents)
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json") || is_yaml(path)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The documents of a file, of which YAML can have many.
fn parted(shown: &str, text: String) -> Vec<Document> {
    if !is_yaml(Path::new(shown)) {
        return vec![Document { path: shown.to_owned(), text, syntax: Syntax::Json }];
    }
    let parts = yaml::parts(&text);
    let many = parts.len() > 1;
    let document = |(place, part): (usize, yaml::Part<'_>)| Document {
        path: if many { format!("{shown}, document {}", place + 1) } else { shown.to_owned() },
        text: part.text.to_owned(),
        syntax: Syntax::Yaml { lines_before: part.lines_before },
    };
    parts.into_iter().enumerate().map(document).collect()
}
