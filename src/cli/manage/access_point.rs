//! `aap access-point`.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::api::pb::{self, access_point::Authentication, requested_change::Change as Wanted};

use super::{
    super::{
        remote::Place,
        resource::{Filter, Kind, Resource},
    },
    Address, Common, Get, Manner, TrustedRole, commit, get, list, wizard,
};

/// What to do with access points.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Create one; without flags on a terminal, step by step.
    ///
    /// On a terminal, without its authentication and its policies, this leads through all that it
    /// takes: policies, network rules and a client key are chosen or described, reviewed, and created
    /// all at once or not at all.
    Create(Box<CreateAccessPoint>),
    /// Show one.
    Get(Box<Get>),
    /// List those of an account and region.
    List(Box<ListAccessPoints>),
    /// Change the description or the policies of one.
    Update(Box<UpdateAccessPoint>),
    /// Deny one everything.
    Suspend(Box<Address>),
    /// Let the policies of a suspended one decide again.
    Resume(Box<Address>),
    /// End the sessions of one, as `aap session revoke` does.
    RevokeSessions(Box<Address>),
    /// Delete one.
    Delete(Box<Address>),
}

/// An access point to create.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("method").required(true).args(["client_key", "ram_role"])),
    override_usage = CREATE_USAGE
)]
pub(in crate::cli) struct CreateAccessPoint {
    /// Its name: short, or in full.
    #[arg(required = true)]
    name: Option<String>,
    /// Its application proves that it holds a client key.
    #[arg(long)]
    client_key: bool,
    /// Its application proves that it runs under this RAM role.
    #[arg(long, value_name = "ROLE", requires = "trusted_role")]
    ram_role: Option<String>,
    /// The type of environment that the RAM role must trust.
    #[arg(long, value_enum, value_name = "TYPE", requires = "ram_role")]
    trusted_role: Option<TrustedRole>,
    /// Its policies, 1 to 3, separated by commas.
    #[arg(long, value_name = "POLICY", value_delimiter = ',', required = true)]
    policies: Vec<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    manner: Manner,
}

/// Which access points.
#[derive(Args, Debug)]
pub(in crate::cli) struct ListAccessPoints {
    /// Only those with this policy.
    #[arg(long)]
    policy: Option<String>,
    /// Only those that authenticate by this RAM role.
    #[arg(long, value_name = "ROLE")]
    ram_role: Option<String>,
    /// Only those in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    #[command(flatten)]
    common: Common,
}

/// What to change of an access point.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true).args(["policies", "description"])),
    override_usage = "aap access-point update [OPTIONS] <NAME>"
)]
pub(in crate::cli) struct UpdateAccessPoint {
    /// Its name: short, or in full.
    name: String,
    /// All policies that it is to have, 1 to 3, separated by commas.
    #[arg(long, value_name = "POLICY", value_delimiter = ',')]
    policies: Vec<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only if this is still its etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    manner: Manner,
}

/// States of access points.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Its policies decide.
    Active,
    /// It is denied everything.
    Suspended,
}

const KIND: Kind = Kind::AccessPoint;

const CREATE_USAGE: &str = "\
aap access-point create [OPTIONS] --client-key --policies <POLICY> <NAME>
       aap access-point create [OPTIONS] --ram-role <ROLE> --trusted-role <TYPE>
           --policies <POLICY> <NAME>
       aap access-point create [OPTIONS] [NAME]";

pub(in crate::cli) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => {
            let CreateAccessPoint { name, description, manner, .. } = &*arguments;
            if arguments.is_to_be_asked() {
                return wizard::run(name.as_deref(), description, manner);
            }
            commit(manner, |place| Ok(arguments.wanted(place)?.create()))
        }
        Command::Get(arguments) => get(KIND, &arguments),
        Command::List(arguments) => list(KIND, &arguments.common, |place| arguments.filter(place)),
        Command::Update(arguments) => {
            let UpdateAccessPoint { manner, .. } = &*arguments;
            commit(manner, |place| arguments.wanted(place))
        }
        Command::Suspend(address) => commit(&address.manner, |place| {
            let (name, etag) = address.parts(KIND, place)?;
            let request = pb::SuspendAccessPointRequest { name, etag, ..Default::default() };
            Ok(Wanted::SuspendAccessPoint(request))
        }),
        Command::Resume(address) => commit(&address.manner, |place| {
            let (name, etag) = address.parts(KIND, place)?;
            let request = pb::ResumeAccessPointRequest { name, etag, ..Default::default() };
            Ok(Wanted::ResumeAccessPoint(request))
        }),
        Command::RevokeSessions(address) => revoke_sessions(&address),
        Command::Delete(address) => super::delete(KIND, &address),
    }
}

/// Ends all sessions of one.
pub(in crate::cli) fn revoke_sessions(address: &Address) -> anyhow::Result<()> {
    commit(&address.manner, |place| {
        let (name, etag) = address.parts(KIND, place)?;
        let request = pb::RevokeSessionsRequest { name, etag, ..Default::default() };
        Ok(Wanted::RevokeSessions(request))
    })
}

impl CreateAccessPoint {
    /// Whether what it is to be is left to be asked for.
    fn is_to_be_asked(&self) -> bool {
        !self.client_key && self.ram_role.is_none() && self.policies.is_empty()
    }

    fn wanted(&self, place: &Place) -> anyhow::Result<Resource> {
        let Self { name, client_key: _, ram_role, trusted_role, policies, description, manner: _ } =
            self;
        // Without a role, clap asked for `--client-key`.
        let authentication = match (ram_role, trusted_role) {
            (Some(role), Some(trusted_role)) => {
                Authentication::RamRole(pb::RamRoleAuthentication {
                    trusted_role: pb::TrustedRole::from(*trusted_role).into(),
                    role: Kind::RamRole.name(place, role)?,
                })
            }
            _ => Authentication::ClientKey(pb::ClientKeyAuthentication {}),
        };
        Ok(Resource::AccessPoint(pb::AccessPoint {
            // Only who is to be asked leaves it out.
            name: KIND.name(place, name.as_deref().unwrap_or_default())?,
            description: description.clone(),
            authentication: Some(authentication),
            policies: Kind::Policy.names(place, policies)?,
            ..Default::default()
        }))
    }
}

impl Command {
    /// What the command line has to have, without what can be asked for.
    pub(in crate::cli) fn asking(command: clap::Command) -> clap::Command {
        command.mut_subcommand("create", |create| {
            let create = create.mut_args(|argument| argument.required(false));
            create.mut_group("method", |group| group.required(false))
        })
    }

    /// Whether something is left to be asked for.
    pub(in crate::cli) fn is_to_be_asked(&self) -> bool {
        matches!(self, Self::Create(arguments) if arguments.is_to_be_asked())
    }
}

impl ListAccessPoints {
    fn filter(&self, place: &Place) -> anyhow::Result<Filter> {
        let Self { policy, ram_role, state, common: _ } = self;
        let name = |kind: Kind, given: &Option<String>| {
            given.as_ref().map_or(Ok(String::new()), |given| kind.name(place, given))
        };
        let state = match state {
            None => pb::AccessPointState::Unspecified,
            Some(State::Active) => pb::AccessPointState::Active,
            Some(State::Suspended) => pb::AccessPointState::Suspended,
        };
        Ok(Filter {
            policy: name(Kind::Policy, policy)?,
            role: name(Kind::RamRole, ram_role)?,
            state: state.into(),
            ..Filter::default()
        })
    }
}

impl UpdateAccessPoint {
    fn wanted(&self, place: &Place) -> anyhow::Result<Wanted> {
        let Self { name, policies, description, etag, manner: _ } = self;
        let given = [
            (!policies.is_empty()).then_some("policies"),
            description.is_some().then_some("description"),
        ];
        let changed = Resource::AccessPoint(pb::AccessPoint {
            name: KIND.name(place, name)?,
            etag: etag.clone(),
            description: description.clone().unwrap_or_default(),
            policies: Kind::Policy.names(place, policies)?,
            ..Default::default()
        });
        Ok(changed.update(&given.into_iter().flatten().collect::<Vec<_>>()))
    }
}
