//! `aap access-point`, `aap policy`, `aap network-rule`, `aap ram-role` and `aap client-key`: one
//! resource at a time.
//!
//! Each change goes through `ApplyChanges`, also a single one: its answer has warnings. Client keys
//! have calls of their own.

pub(super) mod access_point;
pub(super) mod client_key;
pub(super) mod network_rule;
pub(super) mod policy;
pub(super) mod ram_role;

mod issuing;
pub(super) mod wizard;

use clap::{Args, ValueEnum};

use crate::api::pb::{self, requested_change::Change as Wanted};

use super::{
    failure::{place_of, shown_field},
    forms::Forms,
    output::{Format, Output, Style, clean, marked_error, print_value, print_values},
    remote::{Place, Remote, block_on},
    resource::{Changed, Filter, Kind, account_of, apply, changed, short},
    say,
};

/// What every command has.
#[derive(Args, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// What every change has.
#[derive(Args, Debug)]
pub(super) struct Manner {
    /// Only judge it: say what there would be, and change nothing.
    #[arg(long)]
    validate_only: bool,
    /// Makes it safe to repeat for 24 hours: 1 to 64 visible ASCII characters.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    #[command(flatten)]
    common: Common,
}

/// Which resource.
#[derive(Args, Debug)]
pub(super) struct Get {
    /// Its name: short, or in full.
    name: String,
    #[command(flatten)]
    common: Common,
}

/// What to change.
#[derive(Args, Debug)]
pub(super) struct Address {
    /// Its name: short, or in full.
    name: String,
    /// Only if this is still its etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    manner: Manner,
}

/// Types of environment.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum TrustedRole {
    /// An instance of the Elastic Compute Service.
    EcsInstance,
    /// A worker node of Container Service for Kubernetes.
    AckWorker,
    /// Function Compute.
    FunctionCompute,
}

impl From<TrustedRole> for pb::TrustedRole {
    fn from(role: TrustedRole) -> Self {
        match role {
            TrustedRole::EcsInstance => Self::EcsInstance,
            TrustedRole::AckWorker => Self::AckWorker,
            TrustedRole::FunctionCompute => Self::FunctionCompute,
        }
    }
}

impl From<TrustedRole> for crate::domain::access_point::TrustedRole {
    fn from(role: TrustedRole) -> Self {
        match role {
            TrustedRole::EcsInstance => Self::EcsInstance,
            TrustedRole::AckWorker => Self::AckWorker,
            TrustedRole::FunctionCompute => Self::FunctionCompute,
        }
    }
}

impl Address {
    fn parts(&self, kind: Kind, place: &Place) -> anyhow::Result<(String, String)> {
        Ok((kind.name(place, &self.name)?, self.etag.clone()))
    }
}

fn get(kind: Kind, arguments: &Get) -> anyhow::Result<()> {
    let Get { name, common: Common { output, remote } } = arguments;
    let target = remote.target()?;
    let name = kind.name(&target.place, name)?;
    let found = block_on(async { kind.get(&target.connect().await?, name).await })?;
    print_value(output.format, &found.value(&Forms::load()?)?)
}

fn list(
    kind: Kind,
    common: &Common,
    filter: impl FnOnce(&Place) -> anyhow::Result<Filter>,
) -> anyhow::Result<()> {
    let Common { output, remote } = common;
    let target = remote.target()?;
    let (parent, filter) = (kind.parent(&target.place)?, filter(&target.place)?);
    let found = block_on(async { kind.list(&target.connect().await?, &parent, &filter).await })?;
    if output.format == Format::Table {
        let mut table = kind.table();
        for one in &found {
            table.row(one.row());
        }
        table.print();
        return Ok(());
    }
    let forms = Forms::load()?;
    let values: Vec<_> = found.iter().map(|one| one.value(&forms)).collect::<Result<_, _>>()?;
    print_values(output.format, &values)
}

fn delete(kind: Kind, address: &Address) -> anyhow::Result<()> {
    commit(&address.manner, |place| {
        let (name, etag) = address.parts(kind, place)?;
        Ok(kind.delete(name, etag))
    })
}

/// Has one change made, and says what came of it.
fn commit(
    manner: &Manner,
    wanted: impl FnOnce(&Place) -> anyhow::Result<Wanted>,
) -> anyhow::Result<()> {
    let Manner { validate_only, request_id, common: Common { output, remote } } = manner;
    let target = remote.target()?;
    let wanted = wanted(&target.place)?;
    let account = account_of(address_of(&wanted));
    let how = (*validate_only, request_id.clone());
    let answer =
        block_on(async { apply(&target.connect().await?, account, vec![wanted], how).await })?;
    warn(&answer.warnings, &[]);
    tell_changes(output.format, answer.changes)
}

/// Says what was changed, or would be.
fn tell_changes(output: Format, changes: Vec<pb::Change>) -> anyhow::Result<()> {
    for change in changes {
        let pb::Change { revision, change: Some(change), .. } = change else { continue };
        let Changed { kind, name, verb, resource } = changed(change);
        match (output, resource) {
            (Format::Table, _) => {
                let name = short(&name);
                say(match revision {
                    0 => format!("{kind} `{name}` would be {verb}"),
                    revision => format!("{kind} `{name}` {verb} at revision {revision}"),
                });
            }
            (Format::Name, _) | (_, None) => say(name),
            (output, Some(resource)) => {
                print_value(output, &resource.value(&Forms::load()?)?)?;
            }
        }
    }
    Ok(())
}

/// The resource or its parent that a change is about: its account is what counts.
fn address_of(wanted: &Wanted) -> &str {
    match wanted {
        Wanted::CreateAccessPoint(request) => &request.parent,
        Wanted::CreatePolicy(request) => &request.parent,
        Wanted::CreateNetworkRule(request) => &request.parent,
        Wanted::CreateRamRole(request) => &request.parent,
        Wanted::UpdateAccessPoint(request) => {
            request.access_point.as_ref().map_or("", |point| &point.name)
        }
        Wanted::UpdatePolicy(request) => request.policy.as_ref().map_or("", |policy| &policy.name),
        Wanted::UpdateNetworkRule(request) => {
            request.network_rule.as_ref().map_or("", |rule| &rule.name)
        }
        Wanted::UpdateRamRole(request) => request.ram_role.as_ref().map_or("", |role| &role.name),
        Wanted::SuspendAccessPoint(request) => &request.name,
        Wanted::ResumeAccessPoint(request) => &request.name,
        Wanted::RevokeSessions(request) => &request.name,
        Wanted::DeleteAccessPoint(request) => &request.name,
        Wanted::DeletePolicy(request) => &request.name,
        Wanted::DeleteNetworkRule(request) => &request.name,
        Wanted::DeleteRamRole(request) => &request.name,
    }
}

/// Says what is legal, but odd, where it doesn't get into what machines read; of one of several
/// changes, by the names of what they are about.
#[expect(clippy::print_stderr, reason = "this is the command line")]
pub(super) fn warn(warnings: &[pb::Warning], names: &[&str]) {
    for pb::Warning { field, message, .. } in warnings {
        let about = place_of(field).and_then(|place| names.get(place));
        let about = about.map(|name| format!("{name}: ")).unwrap_or_default();
        let field = shown_field(field);
        let text = format!("{about}{field} {}", clean(message));
        eprintln!("{}", marked_error(Style::Odd, "warning:", &text));
    }
}
