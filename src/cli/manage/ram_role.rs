//! `aap ram-role`.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};

use crate::api::pb::{self, requested_change::Change as Wanted};

use super::{
    super::{
        remote::Place,
        resource::{Filter, Kind, Resource},
    },
    Address, Common, Get, Manner, TrustedRole, commit, get, list,
};

/// More than a trust policy may have: what is longer is refused by the server.
const MAX_READ: u64 = 64 * 1_024;

/// What to do with RAM roles.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Import one with its trust policy.
    Create(Box<CreateRamRole>),
    /// Show one, and whom it trusts.
    Get(Box<Get>),
    /// List those of an account.
    List(Box<ListRamRoles>),
    /// Change what is given of one, for every access point that authenticates by it.
    Update(Box<UpdateRamRole>),
    /// Delete one that no access point authenticates by.
    Delete(Box<Address>),
}

/// A RAM role to create.
#[derive(Args, Debug)]
pub(in crate::cli) struct CreateRamRole {
    /// Its name: short, or in full.
    name: String,
    /// A file with its trust policy, as the platform shows it; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    trust_policy: PathBuf,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    manner: Manner,
}

/// Which RAM roles.
#[derive(Args, Debug)]
pub(in crate::cli) struct ListRamRoles {
    /// Only those that are trusted for this type of environment.
    #[arg(long, value_enum, value_name = "TYPE")]
    trusted_role: Option<TrustedRole>,
    #[command(flatten)]
    common: Common,
}

/// What to change of a RAM role.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true).args(["trust_policy", "description"])),
    override_usage = "aap ram-role update [OPTIONS] <NAME>"
)]
pub(in crate::cli) struct UpdateRamRole {
    /// Its name: short, or in full.
    name: String,
    /// A file with its trust policy, as the platform shows it; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    trust_policy: Option<PathBuf>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only if this is still its etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    manner: Manner,
}

const KIND: Kind = Kind::RamRole;

pub(in crate::cli) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => {
            let CreateRamRole { manner, .. } = &*arguments;
            commit(manner, |place| Ok(arguments.wanted(place)?.create()))
        }
        Command::Get(arguments) => get(KIND, &arguments),
        Command::List(arguments) => list(KIND, &arguments.common, |_| {
            let trusted_role = arguments.trusted_role.map(pb::TrustedRole::from);
            let trusted_role = trusted_role.unwrap_or_default().into();
            Ok(Filter { trusted_role, ..Filter::default() })
        }),
        Command::Update(arguments) => {
            let UpdateRamRole { manner, .. } = &*arguments;
            commit(manner, |place| arguments.wanted(place))
        }
        Command::Delete(address) => super::delete(KIND, &address),
    }
}

impl CreateRamRole {
    fn wanted(&self, place: &Place) -> anyhow::Result<Resource> {
        let Self { name, trust_policy, description, manner: _ } = self;
        Ok(Resource::RamRole(pb::RamRole {
            name: KIND.name(place, name)?,
            description: description.clone(),
            trust_policy: read(trust_policy)?,
            ..Default::default()
        }))
    }
}

impl UpdateRamRole {
    fn wanted(&self, place: &Place) -> anyhow::Result<Wanted> {
        let Self { name, trust_policy, description, etag, manner: _ } = self;
        let given = [
            trust_policy.is_some().then_some("trust_policy"),
            description.is_some().then_some("description"),
        ];
        let changed = Resource::RamRole(pb::RamRole {
            name: KIND.name(place, name)?,
            etag: etag.clone(),
            description: description.clone().unwrap_or_default(),
            trust_policy: trust_policy.as_deref().map(read).transpose()?.unwrap_or_default(),
            ..Default::default()
        });
        Ok(changed.update(&given.into_iter().flatten().collect::<Vec<_>>()))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let failed = || format!("can't read `{}`", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().take(MAX_READ).read_to_string(&mut text).with_context(failed)?;
    } else {
        let file = fs::File::open(path).with_context(failed)?;
        file.take(MAX_READ).read_to_string(&mut text).with_context(failed)?;
    }
    Ok(text.trim_end().to_owned())
}
