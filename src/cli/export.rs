//! `aap export`: everything that there is, as documents.

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    domain::rules::RulesVersion,
    projection::State,
    store::{data_dir::DataDir, inspection::JournalCopy, start},
};

use super::{
    documents::{self, Document, ServerFields},
    say,
};

/// What all documents stand under.
const TOP: &str = "accounts";

/// Where from, and where to.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The data directory; no server may use it meanwhile. Nothing in it is changed.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// The directory that the documents are written to, each at the path that its name makes.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Remove the documents that are there already (everything under `accounts/`).
    #[arg(long)]
    replace: bool,
    /// Write uids, etags, revisions and times too.
    #[arg(long)]
    server_fields: bool,
    /// Where a copy of the journal is put for as long as this runs.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { data_dir, to, replace, server_fields, scratch } = arguments;
    let fields = if *server_fields { ServerFields::Shown } else { ServerFields::LeftOut };
    let top = to.join(TOP);
    if top.exists() && !replace {
        bail!("`{}` is there already; write elsewhere, or add `--replace`", top.display());
    }
    let data_dir = DataDir::inspect(data_dir)?;
    let copy = JournalCopy::open(&data_dir.path().join("journal"), scratch)?;
    let state = State::new(RulesVersion::CURRENT);
    let state = start::replay(copy.journal(), state, u64::MAX)
        .context("the journal is damaged; `aap store check` says where")?;
    let documents = documents::of(&state.catalog, fields)?;
    if top.exists() {
        fs::remove_dir_all(&top).with_context(|| format!("can't remove `{}`", top.display()))?;
    }
    for document in &documents {
        write(to, document)
            .with_context(|| format!("can't write `{}` in `{}`", document.path, to.display()))?;
    }
    say(format_args!("exported {} documents as of revision {}", documents.len(), state.revision()));
    Ok(())
}

fn write(directory: &Path, document: &Document) -> io::Result<()> {
    let path = directory.join(&document.path);
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent)?;
    }
    fs::write(path, &document.text)
}
