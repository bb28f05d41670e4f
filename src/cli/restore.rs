//! `aap restore`: a new data directory of a backup.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::{
    backup::restoring::{self, RestoreError, Restored, SigningBy},
    store::{data_dir::DataDirError, secret_file},
};

use super::{
    backup::{self, Read},
    failure::Failure,
    progress::Progress,
    say,
};

/// Which backup to restore, and where.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The backup, as `aap backup` wrote it. All of it is verified before anything is made.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The data directory to make; it must be empty, or not be there.
    #[arg(long, env = "AAP_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// A public key that may have signed the backup, as `aap audit key` printed it, or a file with such
    /// keys; can be given several times. Each part of the backup must be signed by one of them.
    /// Without any it is judged by the keys that it names itself.
    #[arg(long, value_name = "KEY")]
    public_key: Vec<String>,
    /// The `checkpoint.key` of the lost server, to go on signing with. Without it a new key is made,
    /// whose public half auditors must be given.
    #[arg(long, value_name = "FILE")]
    checkpoint_key: Option<PathBuf>,
    /// Restore also audit logs that are not whole, as they are.
    #[arg(long)]
    accept_damage: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { from, data_dir, public_key, checkpoint_key, accept_damage } = arguments;
    let Read { archive, verified } = backup::read(from, public_key)?;
    if !verified.problems.is_empty() && !accept_damage {
        let remedy = "use another backup, or restore this one as it is with --accept-damage";
        let details = verified.problems.iter().cloned().chain([remedy.to_owned()]).collect();
        let message = "an audit log in the backup is not whole";
        return Err(Failure::failed(message, details).into());
    }
    let signing = match checkpoint_key {
        None => SigningBy::NewKey,
        Some(path) => {
            let read = secret_file::read(path).map(|secret| secret.ok_or("there is no such file"));
            let failed = || format!("can't read `{}`", path.display());
            let secret =
                read.with_context(failed)?.map_err(anyhow::Error::msg).with_context(failed)?;
            restoring::former_key(&verified, secret)
                .with_context(|| format!("`{}` can't be used", path.display()))?
        }
    };
    let is_new_key = matches!(signing, SigningBy::NewKey);
    let restored = {
        let mut progress = Progress::begin("restoring");
        let mut tell = |done, total| progress.reach(done, Some(total));
        restoring::restore((&archive, &verified), data_dir, signing, &mut tell)
    };
    let restored = restored.map_err(|error| conflict(error, data_dir))?;
    say(format_args!("restored from a backup made at {}", archive.head().time));
    backup::tell(archive.head());
    backup::tell_signed(archive.head(), &verified);
    backup::tell_key(verified.key.as_ref(), !public_key.is_empty());
    tell(&restored, data_dir, is_new_key);
    Ok(())
}

/// Says that a directory isn't empty as other commands say that something is there.
fn conflict(error: RestoreError, data_dir: &Path) -> anyhow::Error {
    match error {
        RestoreError::DataDir(error @ DataDirError::NotEmpty { .. }) => {
            Failure::conflict(error.to_string(), Vec::new()).into()
        }
        // Nothing was made yet.
        error @ (RestoreError::DataDir(_) | RestoreError::Key(_) | RestoreError::Entropy(_)) => {
            error.into()
        }
        error => {
            let remedy =
                format!("what is in `{}` is no data directory: remove it", data_dir.display());
            let shown = format!("{:#}", anyhow::Error::from(error));
            Failure::failed(shown, vec![remedy]).into()
        }
    }
}

/// Says what a restored server is called, and what is to be done now.
fn tell(Restored { identity, key }: &Restored, data_dir: &Path, is_new_key: bool) {
    say(format_args!(
        "node {}, and audit log {} from the first start on",
        identity.node_id, identity.log_id
    ));
    say(format_args!("public key {key}"));
    say("now:");
    say("  see that the server that was backed up never runs again");
    if is_new_key {
        say("  give auditors the new public key; the former logs keep the one they had");
    } else {
        say("  tell auditors that a new audit log follows, by the same key under another name");
    }
    say("  applications ask for new sessions by themselves: the keys of sessions are new");
    say(format_args!("  start it: aap serve --config FILE --data-dir {}", data_dir.display()));
}
