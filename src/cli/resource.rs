//! The resources of the API as commands handle them: what kinds there are, what each is called, and
//! how it is asked for, listed and changed.

use prost_types::FieldMask;
use serde_json::Value;
use tonic::{Response, Status};

use crate::api::pb::{
    self, access_point::Authentication, access_point_service_client::AccessPointServiceClient,
    change, change_service_client::ChangeServiceClient, network_rule::Kind as NetworkKind,
    policy::NetworkAccess, policy_service_client::PolicyServiceClient,
    ram_role_service_client::RamRoleServiceClient, requested_change::Change as Wanted,
};

use super::{
    failure::Failure,
    forms::Forms,
    output::{Table, some_of},
    remote::{Connection, Place, answered},
};

/// The most that a page of a list has.
const PAGE: i32 = 1_000;

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Network rules.
    NetworkRule,
    /// RAM roles.
    RamRole,
    /// Policies.
    Policy,
    /// Access points.
    AccessPoint,
}

/// Which of a kind to list.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Access points with this policy, by name.
    pub(super) policy: String,
    /// Access points with this role, by name.
    pub(super) role: String,
    /// Access points in this state.
    pub(super) state: i32,
    /// Policies with this network rule, by name.
    pub(super) network_rule: String,
    /// Policies of this scope.
    pub(super) scope: String,
    /// Roles that are trusted for this.
    pub(super) trusted_role: i32,
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resource {
    /// A network rule.
    NetworkRule(pb::NetworkRule),
    /// A RAM role.
    RamRole(pb::RamRole),
    /// A policy.
    Policy(pb::Policy),
    /// An access point.
    AccessPoint(pb::AccessPoint),
}

impl Kind {
    /// Those that are in regions.
    pub(super) const IN_REGIONS: [Self; 3] = [Self::NetworkRule, Self::Policy, Self::AccessPoint];

    /// What people call one.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::NetworkRule => "network rule",
            Self::RamRole => "RAM role",
            Self::Policy => "policy",
            Self::AccessPoint => "access point",
        }
    }

    fn collection(self) -> &'static str {
        match self {
            Self::NetworkRule => "networkRules",
            Self::RamRole => "ramRoles",
            Self::Policy => "policies",
            Self::AccessPoint => "accessPoints",
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::NetworkRule => "aap.v1.NetworkRule",
            Self::RamRole => "aap.v1.RamRole",
            Self::Policy => "aap.v1.Policy",
            Self::AccessPoint => "aap.v1.AccessPoint",
        }
    }

    /// What they are in: an account, or a region of one.
    pub(super) fn parent(self, place: &Place) -> anyhow::Result<String> {
        match self {
            Self::RamRole => place.account(),
            Self::NetworkRule | Self::Policy | Self::AccessPoint => place.location(),
        }
    }

    /// The full name of one, of its short or its full name.
    pub(super) fn name(self, place: &Place, text: &str) -> anyhow::Result<String> {
        if text.starts_with("accounts/") {
            return Ok(text.to_owned());
        }
        Ok(format!("{}/{}/{text}", self.parent(place)?, self.collection()))
    }

    /// The full names of several; each text may have more than one, separated by commas.
    pub(super) fn names(self, place: &Place, texts: &[String]) -> anyhow::Result<Vec<String>> {
        texts.iter().map(|text| self.name(place, text.trim())).collect()
    }

    /// Reads one.
    pub(super) async fn get(
        self,
        connection: &Connection,
        name: String,
    ) -> anyhow::Result<Resource> {
        let connection = connection.clone();
        Ok(match self {
            Self::NetworkRule => {
                let request = pb::GetNetworkRuleRequest { name };
                let mut client = PolicyServiceClient::new(connection);
                Resource::NetworkRule(answered(client.get_network_rule(request).await)?)
            }
            Self::RamRole => {
                let request = pb::GetRamRoleRequest { name };
                let mut client = RamRoleServiceClient::new(connection);
                Resource::RamRole(answered(client.get_ram_role(request).await)?)
            }
            Self::Policy => {
                let request = pb::GetPolicyRequest { name };
                let mut client = PolicyServiceClient::new(connection);
                Resource::Policy(answered(client.get_policy(request).await)?)
            }
            Self::AccessPoint => {
                let request = pb::GetAccessPointRequest { name };
                let mut client = AccessPointServiceClient::new(connection);
                Resource::AccessPoint(answered(client.get_access_point(request).await)?)
            }
        })
    }

    /// Reads all that a filter admits.
    pub(super) async fn list(
        self,
        connection: &Connection,
        parent: &str,
        filter: &Filter,
    ) -> anyhow::Result<Vec<Resource>> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = self.page(connection, parent, filter, (PAGE, token)).await?;
            all.extend(page);
            if next.is_empty() {
                return Ok(all);
            }
            token = next;
        }
    }

    /// Reads the first few that a filter admits, and whether there are more.
    pub(super) async fn list_some(
        self,
        connection: &Connection,
        parent: &str,
        filter: &Filter,
        most: i32,
    ) -> anyhow::Result<(Vec<Resource>, bool)> {
        let (page, next) = self.page(connection, parent, filter, (most, String::new())).await?;
        Ok((page, !next.is_empty()))
    }

    async fn page(
        self,
        connection: &Connection,
        parent: &str,
        filter: &Filter,
        (page_size, page_token): (i32, String),
    ) -> anyhow::Result<(Vec<Resource>, String)> {
        let (connection, parent) = (connection.clone(), parent.to_owned());
        let Filter { policy, role, state, network_rule, scope, trusted_role } = filter.clone();
        Ok(match self {
            Self::NetworkRule => {
                let request = pb::ListNetworkRulesRequest { parent, page_size, page_token };
                let mut client = PolicyServiceClient::new(connection);
                let page = answered(client.list_network_rules(request).await)?;
                let rules = page.network_rules.into_iter().map(Resource::NetworkRule);
                (rules.collect(), page.next_page_token)
            }
            Self::RamRole => {
                let request =
                    pb::ListRamRolesRequest { parent, page_size, page_token, trusted_role };
                let mut client = RamRoleServiceClient::new(connection);
                let page = answered(client.list_ram_roles(request).await)?;
                (page.ram_roles.into_iter().map(Resource::RamRole).collect(), page.next_page_token)
            }
            Self::Policy => {
                let request =
                    pb::ListPoliciesRequest { parent, page_size, page_token, network_rule, scope };
                let mut client = PolicyServiceClient::new(connection);
                let page = answered(client.list_policies(request).await)?;
                (page.policies.into_iter().map(Resource::Policy).collect(), page.next_page_token)
            }
            Self::AccessPoint => {
                let request = pb::ListAccessPointsRequest {
                    parent,
                    page_size,
                    page_token,
                    policy,
                    role,
                    state,
                };
                let mut client = AccessPointServiceClient::new(connection);
                let page = answered(client.list_access_points(request).await)?;
                let points = page.access_points.into_iter().map(Resource::AccessPoint);
                (points.collect(), page.next_page_token)
            }
        })
    }

    /// An empty table of them.
    pub(super) fn table(self) -> Table {
        match self {
            Self::NetworkRule => Table::new(["NAME", "KIND", "ADDRESSES"]),
            Self::RamRole => Table::new(["NAME", "TRUSTED FOR", "DESCRIPTION"]),
            Self::Policy => Table::new(["NAME", "SCOPE", "PERMISSIONS", "RESOURCES", "NETWORK"]),
            Self::AccessPoint => Table::new(["NAME", "STATE", "AUTHENTICATION", "POLICIES"]),
        }
    }

    /// Asks to delete one.
    pub(super) fn delete(self, name: String, etag: String) -> Wanted {
        match self {
            Self::NetworkRule => Wanted::DeleteNetworkRule(pb::DeleteNetworkRuleRequest {
                name,
                etag,
                ..Default::default()
            }),
            Self::RamRole => {
                Wanted::DeleteRamRole(pb::DeleteRamRoleRequest { name, etag, ..Default::default() })
            }
            Self::Policy => {
                Wanted::DeletePolicy(pb::DeletePolicyRequest { name, etag, ..Default::default() })
            }
            Self::AccessPoint => Wanted::DeleteAccessPoint(pb::DeleteAccessPointRequest {
                name,
                etag,
                ..Default::default()
            }),
        }
    }
}

impl Resource {
    /// Its kind.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::NetworkRule(_) => Kind::NetworkRule,
            Self::RamRole(_) => Kind::RamRole,
            Self::Policy(_) => Kind::Policy,
            Self::AccessPoint(_) => Kind::AccessPoint,
        }
    }

    /// Its full name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::NetworkRule(rule) => &rule.name,
            Self::RamRole(role) => &role.name,
            Self::Policy(policy) => &policy.name,
            Self::AccessPoint(access_point) => &access_point.name,
        }
    }

    /// Its etag.
    pub(super) fn etag(&self) -> &str {
        match self {
            Self::NetworkRule(rule) => &rule.etag,
            Self::RamRole(role) => &role.etag,
            Self::Policy(policy) => &policy.etag,
            Self::AccessPoint(access_point) => &access_point.etag,
        }
    }

    /// The same with another etag.
    pub(super) fn with_etag(mut self, etag: String) -> Self {
        match &mut self {
            Self::NetworkRule(rule) => rule.etag = etag,
            Self::RamRole(role) => role.etag = etag,
            Self::Policy(policy) => policy.etag = etag,
            Self::AccessPoint(access_point) => access_point.etag = etag,
        }
        self
    }

    /// What it is in.
    pub(super) fn parent(&self) -> String {
        split(self.name()).0
    }

    /// Whether it is a suspended access point.
    pub(super) fn is_suspended(&self) -> bool {
        matches!(self, Self::AccessPoint(point) if point.state() == pb::AccessPointState::Suspended)
    }

    /// As the API shows it in JSON.
    pub(super) fn value(&self, forms: &Forms) -> anyhow::Result<Value> {
        let form = self.kind().type_name();
        match self {
            Self::NetworkRule(rule) => forms.value(form, rule),
            Self::RamRole(role) => forms.value(form, role),
            Self::Policy(policy) => forms.value(form, policy),
            Self::AccessPoint(access_point) => forms.value(form, access_point),
        }
    }

    /// Its line in a table.
    pub(super) fn row(&self) -> Vec<String> {
        let id = short(self.name()).to_owned();
        match self {
            Self::NetworkRule(rule) => {
                let kind = match &rule.kind {
                    Some(NetworkKind::PublicNetwork(_)) => "public".to_owned(),
                    Some(NetworkKind::VpcNetwork(vpc)) => format!("vpc {}", vpc.vpc_id),
                    Some(NetworkKind::PrivateNetwork(_)) => "private".to_owned(),
                    None => String::new(),
                };
                vec![id, kind, some_of(&rule.addresses)]
            }
            Self::RamRole(role) => {
                let trusted =
                    role.trusts.iter().filter(|trust| trust.state() == pb::RoleTrustState::Trusted);
                let trusted: Vec<_> = trusted
                    .map(|trust| lower(trust.trusted_role().as_str_name(), "TRUSTED_ROLE_"))
                    .collect();
                vec![id, some_of(&trusted), role.description.clone()]
            }
            Self::Policy(policy) => {
                let permissions: Vec<_> = policy
                    .permissions()
                    .map(|one| lower(one.as_str_name(), "PERMISSION_TEMPLATE_"))
                    .collect();
                let network = match &policy.network_access {
                    Some(NetworkAccess::AnyNetwork(_)) => "any".to_owned(),
                    Some(NetworkAccess::NetworkRules(rules)) => some_of(&shorts(&rules.names)),
                    None => String::new(),
                };
                let resources = some_of(&policy.resources);
                vec![id, policy.scope.clone(), some_of(&permissions), resources, network]
            }
            Self::AccessPoint(point) => {
                let state = lower(point.state().as_str_name(), "ACCESS_POINT_STATE_");
                let authentication = match &point.authentication {
                    Some(Authentication::RamRole(role)) => format!("role {}", short(&role.role)),
                    Some(Authentication::ClientKey(_)) => "client key".to_owned(),
                    None => String::new(),
                };
                vec![id, state, authentication, some_of(&shorts(&point.policies))]
            }
        }
    }

    /// Asks to create it.
    pub(super) fn create(self) -> Wanted {
        let (parent, id) = split(self.name());
        match self {
            Self::NetworkRule(rule) => Wanted::CreateNetworkRule(pb::CreateNetworkRuleRequest {
                parent,
                network_rule_id: id,
                network_rule: Some(rule),
                ..Default::default()
            }),
            Self::RamRole(role) => Wanted::CreateRamRole(pb::CreateRamRoleRequest {
                parent,
                ram_role_id: id,
                ram_role: Some(role),
                ..Default::default()
            }),
            Self::Policy(policy) => Wanted::CreatePolicy(pb::CreatePolicyRequest {
                parent,
                policy_id: id,
                policy: Some(policy),
                ..Default::default()
            }),
            Self::AccessPoint(point) => Wanted::CreateAccessPoint(pb::CreateAccessPointRequest {
                parent,
                access_point_id: id,
                access_point: Some(point),
                ..Default::default()
            }),
        }
    }

    /// Asks to change it.
    pub(super) fn update(self, paths: &[&str]) -> Wanted {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let update_mask = Some(FieldMask { paths });
        match self {
            Self::NetworkRule(rule) => Wanted::UpdateNetworkRule(pb::UpdateNetworkRuleRequest {
                network_rule: Some(rule),
                update_mask,
                ..Default::default()
            }),
            Self::RamRole(role) => Wanted::UpdateRamRole(pb::UpdateRamRoleRequest {
                ram_role: Some(role),
                update_mask,
                ..Default::default()
            }),
            Self::Policy(policy) => Wanted::UpdatePolicy(pb::UpdatePolicyRequest {
                policy: Some(policy),
                update_mask,
                ..Default::default()
            }),
            Self::AccessPoint(point) => Wanted::UpdateAccessPoint(pb::UpdateAccessPointRequest {
                access_point: Some(point),
                update_mask,
                ..Default::default()
            }),
        }
    }
}

/// What a change was about.
#[derive(Debug)]
pub(super) struct Changed {
    /// What people call the kind of what was changed.
    pub(super) kind: &'static str,
    /// Its full name.
    pub(super) name: String,
    /// What was done.
    pub(super) verb: &'static str,
    /// What is there after it, if it is a resource that is left.
    pub(super) resource: Option<Resource>,
}

/// Reads a change.
pub(super) fn changed(change: change::Change) -> Changed {
    use change::Change as Done;
    let (resource, verb) = match change {
        Done::AccessPointCreated(point) => (Resource::AccessPoint(point), "created"),
        Done::AccessPointUpdated(point) => (Resource::AccessPoint(point), "updated"),
        Done::AccessPointSuspended(point) => (Resource::AccessPoint(point), "suspended"),
        Done::AccessPointResumed(point) => (Resource::AccessPoint(point), "resumed"),
        Done::SessionsRevoked(point) => (Resource::AccessPoint(point), "cleared of sessions"),
        Done::PolicyCreated(policy) => (Resource::Policy(policy), "created"),
        Done::PolicyUpdated(policy) => (Resource::Policy(policy), "updated"),
        Done::NetworkRuleCreated(rule) => (Resource::NetworkRule(rule), "created"),
        Done::NetworkRuleUpdated(rule) => (Resource::NetworkRule(rule), "updated"),
        Done::RamRoleCreated(role) => (Resource::RamRole(role), "created"),
        Done::RamRoleUpdated(role) => (Resource::RamRole(role), "updated"),
        Done::AccessPointDeleted(gone) => {
            return bare(Kind::AccessPoint.word(), gone.name, "deleted");
        }
        Done::PolicyDeleted(gone) => return bare(Kind::Policy.word(), gone.name, "deleted"),
        Done::NetworkRuleDeleted(gone) => {
            return bare(Kind::NetworkRule.word(), gone.name, "deleted");
        }
        Done::RamRoleDeleted(gone) => return bare(Kind::RamRole.word(), gone.name, "deleted"),
        Done::ClientKeyIssued(key) => return bare(CLIENT_KEY, key.name, "issued"),
        Done::ClientKeyImported(key) => return bare(CLIENT_KEY, key.name, "imported"),
        Done::ClientKeyEnabled(key) => return bare(CLIENT_KEY, key.name, "enabled"),
        Done::ClientKeyDisabled(key) => return bare(CLIENT_KEY, key.name, "disabled"),
        Done::ClientKeyDeleted(gone) => return bare(CLIENT_KEY, gone.name, "deleted"),
        Done::ClientKeyUsed(used) => return bare(CLIENT_KEY, used.name, "used"),
        Done::ClientKeyNoticeGiven(notice) => {
            let verb = match notice.days {
                30 => "has 30 days left",
                7 => "has 7 days left",
                _ => "has a day left",
            };
            return bare(CLIENT_KEY, notice.name, verb);
        }
    };
    let (kind, name) = (resource.kind().word(), resource.name().to_owned());
    Changed { kind, name, verb, resource: Some(resource) }
}

const CLIENT_KEY: &str = "client key";

fn bare(kind: &'static str, name: String, verb: &'static str) -> Changed {
    Changed { kind, name, verb, resource: None }
}

/// Has changes of one account made or judged, all or none.
pub(super) async fn apply(
    connection: &Connection,
    account: String,
    changes: Vec<Wanted>,
    how: (bool, String),
) -> anyhow::Result<pb::ApplyChangesResponse> {
    Ok(try_to_apply(connection, account, changes, how).await.map_err(Failure::from)?)
}

/// The same, with the status as it is.
pub(super) async fn try_to_apply(
    connection: &Connection,
    account: String,
    changes: Vec<Wanted>,
    (validate_only, request_id): (bool, String),
) -> Result<pb::ApplyChangesResponse, Status> {
    let wanted = |change| pb::RequestedChange { change: Some(change) };
    let request = pb::ApplyChangesRequest {
        parent: account,
        changes: changes.into_iter().map(wanted).collect(),
        request_id,
        validate_only,
    };
    let mut client =
        ChangeServiceClient::new(connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
    client.apply_changes(request).await.map(Response::into_inner)
}

/// More than any answer has.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The account that a full name is in.
pub(super) fn account_of(name: &str) -> String {
    name.split('/').take(2).collect::<Vec<_>>().join("/")
}

/// The last part of a name.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn shorts(names: &[String]) -> Vec<String> {
    names.iter().map(|name| short(name).to_owned()).collect()
}

/// What a resource is in, and its id.
pub(super) fn split(name: &str) -> (String, String) {
    let mut parts = name.rsplitn(3, '/');
    let id = parts.next().unwrap_or_default().to_owned();
    let parent = parts.nth(1).unwrap_or_default().to_owned();
    (parent, id)
}

/// A value of an enum as one writes it on the command line.
pub(super) fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}
