//! `aap network-rule`.

use clap::{ArgGroup, Args, Subcommand};

use crate::api::pb::{self, network_rule::Kind as NetworkKind, requested_change::Change as Wanted};

use super::{
    super::{
        remote::Place,
        resource::{Filter, Kind, Resource},
    },
    Address, Common, Get, Manner, commit, get, list,
};

/// What to do with network rules.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Create one.
    Create(Box<CreateNetworkRule>),
    /// Show one.
    Get(Box<Get>),
    /// List those of an account and region.
    List(Box<List>),
    /// Change what is given of one, for every policy that names it.
    Update(Box<UpdateNetworkRule>),
    /// Delete one that no policy names.
    Delete(Box<Address>),
}

/// Which resources.
#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    common: Common,
}

/// A network rule to create.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("kind").required(true).args(["public", "vpc", "private"])),
    override_usage = CREATE_USAGE
)]
pub(in crate::cli) struct CreateNetworkRule {
    /// Its name: short, or in full.
    name: String,
    /// For calls over the public endpoint.
    #[arg(long)]
    public: bool,
    /// For calls from this VPC.
    #[arg(long, value_name = "VPC_ID")]
    vpc: Option<String>,
    /// For calls over the private network of a dedicated instance.
    #[arg(long)]
    private: bool,
    /// IPv4 or IPv6 addresses or CIDRs, 1 to 800, separated by commas.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    addresses: Vec<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    manner: Manner,
}

/// What to change of a network rule.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true).args(["addresses", "description"])),
    override_usage = "aap network-rule update [OPTIONS] <NAME>"
)]
pub(in crate::cli) struct UpdateNetworkRule {
    /// Its name: short, or in full.
    name: String,
    /// All addresses that it is to have, separated by commas.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    addresses: Vec<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only if this is still its etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    manner: Manner,
}

const KIND: Kind = Kind::NetworkRule;

const CREATE_USAGE: &str = "\
aap network-rule create [OPTIONS] --public --addresses <ADDRESS> <NAME>
       aap network-rule create [OPTIONS] --vpc <ID> --addresses <ADDRESS> <NAME>
       aap network-rule create [OPTIONS] --private --addresses <ADDRESS> <NAME>";

pub(in crate::cli) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => {
            let CreateNetworkRule { manner, .. } = &*arguments;
            commit(manner, |place| Ok(arguments.wanted(place)?.create()))
        }
        Command::Get(arguments) => get(KIND, &arguments),
        Command::List(arguments) => list(KIND, &arguments.common, |_| Ok(Filter::default())),
        Command::Update(arguments) => {
            let UpdateNetworkRule { manner, .. } = &*arguments;
            commit(manner, |place| arguments.wanted(place))
        }
        Command::Delete(address) => super::delete(KIND, &address),
    }
}

impl CreateNetworkRule {
    fn wanted(&self, place: &Place) -> anyhow::Result<Resource> {
        let Self { name, public, vpc, private: _, addresses, description, manner: _ } = self;
        // Without the other two, clap asked for `--private`.
        let kind = match (public, vpc) {
            (true, _) => NetworkKind::PublicNetwork(pb::PublicNetwork {}),
            (false, Some(vpc_id)) => {
                NetworkKind::VpcNetwork(pb::VpcNetwork { vpc_id: vpc_id.clone() })
            }
            (false, None) => NetworkKind::PrivateNetwork(pb::PrivateNetwork {}),
        };
        Ok(Resource::NetworkRule(pb::NetworkRule {
            name: KIND.name(place, name)?,
            description: description.clone(),
            addresses: trimmed(addresses),
            kind: Some(kind),
            ..Default::default()
        }))
    }
}

impl UpdateNetworkRule {
    fn wanted(&self, place: &Place) -> anyhow::Result<Wanted> {
        let Self { name, addresses, description, etag, manner: _ } = self;
        let given = [
            (!addresses.is_empty()).then_some("addresses"),
            description.is_some().then_some("description"),
        ];
        let changed = Resource::NetworkRule(pb::NetworkRule {
            name: KIND.name(place, name)?,
            etag: etag.clone(),
            description: description.clone().unwrap_or_default(),
            addresses: trimmed(addresses),
            ..Default::default()
        });
        Ok(changed.update(&given.into_iter().flatten().collect::<Vec<_>>()))
    }
}

/// Without the spaces that people put behind commas.
fn trimmed(addresses: &[String]) -> Vec<String> {
    addresses.iter().map(|address| address.trim().to_owned()).collect()
}
