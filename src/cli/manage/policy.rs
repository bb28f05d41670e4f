//! `aap policy`.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::api::pb::{self, policy::NetworkAccess, requested_change::Change as Wanted};

use super::{
    super::{
        remote::Place,
        resource::{Filter, Kind, Resource},
    },
    Address, Common, Get, Manner, commit, get, list,
};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Create one.
    Create(Box<CreatePolicy>),
    /// Show one.
    Get(Box<Get>),
    /// List those of an account and region.
    List(Box<ListPolicies>),
    /// Change what is given of one, for every access point that has it.
    Update(Box<UpdatePolicy>),
    /// Delete one that no access point has.
    Delete(Box<Address>),
}

/// A policy to create.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("network").required(true).args(["any_network", "network_rules"])),
    override_usage = CREATE_USAGE
)]
pub(in crate::cli) struct CreatePolicy {
    /// Its name: short, or in full.
    name: String,
    /// The instance that it is for: `shared`, or a dedicated one's id.
    #[arg(long, value_name = "INSTANCE")]
    scope: String,
    /// What it permits, separated by commas.
    #[arg(long, value_enum, value_name = "TEMPLATE", value_delimiter = ',', required = true)]
    permissions: Vec<Permission>,
    /// To what, 1 to 30, separated by commas: `secret/NAME` or `key/ID`, perhaps with `*` at the end.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', required = true)]
    resources: Vec<String>,
    /// From every network.
    #[arg(long)]
    any_network: bool,
    /// From where these network rules say, separated by commas.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    network_rules: Vec<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    manner: Manner,
}

/// Which policies.
#[derive(Args, Debug)]
pub(in crate::cli) struct ListPolicies {
    /// Only those that name this network rule.
    #[arg(long, value_name = "RULE")]
    network_rule: Option<String>,
    /// Only those of this instance.
    #[arg(long, value_name = "INSTANCE", default_value = "", hide_default_value = true)]
    scope: String,
    #[command(flatten)]
    common: Common,
}

/// What to change of a policy.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true).args(
        ["permissions", "resources", "any_network", "network_rules", "description"]
    )),
    override_usage = "aap policy update [OPTIONS] <NAME>"
)]
pub(in crate::cli) struct UpdatePolicy {
    /// Its name: short, or in full.
    name: String,
    /// All that it is to permit, separated by commas.
    #[arg(long, value_enum, value_name = "TEMPLATE", value_delimiter = ',')]
    permissions: Vec<Permission>,
    /// All patterns that it is to have, separated by commas.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    resources: Vec<String>,
    /// Open it to every network.
    #[arg(long, conflicts_with = "network_rules")]
    any_network: bool,
    /// All network rules that it is to name, separated by commas.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    network_rules: Vec<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only if this is still its etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    manner: Manner,
}

/// Permission templates.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Permission {
    /// Read secrets.
    #[value(name = "secret-user")]
    Secret,
    /// Read secrets of a dedicated instance.
    #[value(name = "crypto-service-secret-user")]
    CryptoServiceSecret,
    /// Use keys of a dedicated instance.
    #[value(name = "crypto-service-key-user")]
    CryptoServiceKey,
}

fn sent(permissions: &[Permission]) -> Vec<i32> {
    let send = |permission: &Permission| match permission {
        Permission::Secret => pb::PermissionTemplate::SecretUser,
        Permission::CryptoServiceSecret => pb::PermissionTemplate::CryptoServiceSecretUser,
        Permission::CryptoServiceKey => pb::PermissionTemplate::CryptoServiceKeyUser,
    };
    permissions.iter().map(|permission| send(permission).into()).collect()
}

fn access(place: &Place, any: bool, rules: &[String]) -> anyhow::Result<Option<NetworkAccess>> {
    if any {
        return Ok(Some(NetworkAccess::AnyNetwork(pb::AnyNetwork {})));
    }
    let names = Kind::NetworkRule.names(place, rules)?;
    let rules = (!names.is_empty()).then_some(pb::NetworkRuleNames { names });
    Ok(rules.map(NetworkAccess::NetworkRules))
}

const KIND: Kind = Kind::Policy;

const CREATE_USAGE: &str = "\
aap policy create [OPTIONS] --scope <INSTANCE> --permissions <TEMPLATE>
           --resources <PATTERN> --network-rules <RULE> <NAME>
       aap policy create [OPTIONS] --scope <INSTANCE> --permissions <TEMPLATE>
           --resources <PATTERN> --any-network <NAME>";

pub(in crate::cli) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => {
            let CreatePolicy { manner, .. } = &*arguments;
            commit(manner, |place| Ok(arguments.wanted(place)?.create()))
        }
        Command::Get(arguments) => get(KIND, &arguments),
        Command::List(arguments) => list(KIND, &arguments.common, |place| arguments.filter(place)),
        Command::Update(arguments) => {
            let UpdatePolicy { manner, .. } = &*arguments;
            commit(manner, |place| arguments.wanted(place))
        }
        Command::Delete(address) => super::delete(KIND, &address),
    }
}

impl CreatePolicy {
    fn wanted(&self, place: &Place) -> anyhow::Result<Resource> {
        let Self { name, scope, permissions, resources, any_network, network_rules, .. } = self;
        Ok(Resource::Policy(pb::Policy {
            name: KIND.name(place, name)?,
            description: self.description.clone(),
            scope: scope.clone(),
            permissions: sent(permissions),
            resources: resources.clone(),
            network_access: access(place, *any_network, network_rules)?,
            ..Default::default()
        }))
    }
}

impl ListPolicies {
    fn filter(&self, place: &Place) -> anyhow::Result<Filter> {
        let Self { network_rule, scope, common: _ } = self;
        let rule = network_rule.as_ref().map(|rule| Kind::NetworkRule.name(place, rule));
        Ok(Filter {
            network_rule: rule.transpose()?.unwrap_or_default(),
            scope: scope.clone(),
            ..Filter::default()
        })
    }
}

impl UpdatePolicy {
    fn wanted(&self, place: &Place) -> anyhow::Result<Wanted> {
        let Self { name, permissions, resources, any_network, network_rules, .. } = self;
        let given = [
            (!permissions.is_empty()).then_some("permissions"),
            (!resources.is_empty()).then_some("resources"),
            any_network.then_some("any_network"),
            (!network_rules.is_empty()).then_some("network_rules"),
            self.description.is_some().then_some("description"),
        ];
        let changed = Resource::Policy(pb::Policy {
            name: KIND.name(place, name)?,
            etag: self.etag.clone(),
            description: self.description.clone().unwrap_or_default(),
            permissions: sent(permissions),
            resources: resources.clone(),
            network_access: access(place, *any_network, network_rules)?,
            ..Default::default()
        });
        Ok(changed.update(&given.into_iter().flatten().collect::<Vec<_>>()))
    }
}
