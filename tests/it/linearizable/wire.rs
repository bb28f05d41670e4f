//! The model's words on the wire, and back.

use aap::api::pb::{
    self, change::Change as Happened, network_rule::Kind as NetworkKind, policy::NetworkAccess,
    requested_change::Change as Requested,
};
use prost_types::FieldMask;
use tonic::{Code, Response, Status};

use crate::support::{
    Client, Refusal as Refused,
    world::{self, HERE},
};

use super::{
    checker::{Answer, Asked, Recorded},
    model::{
        Change, Content, Decision, Event, Item, Kind, Name, Question, Refusal, Request, Verb,
        Wanted,
    },
};

/// The networks that a bit stands for, and an address in each.
const NETWORKS: [(&str, &str); 2] = [("10.0.0.0/8", "10.1.2.3"), ("2001:db8::/32", "2001:db8::7")];
const SECRETS: [&str; 2] = ["secret/a", "secret/b"];
const ACCOUNT: &str = "accounts/acme";

/// Those of a list whose bits are set.
fn of_bits(list: [&str; 2], bits: u8) -> Vec<String> {
    let set = (0..2).filter(|bit| bits & (1 << bit) != 0);
    set.map(|bit| list[bit].to_owned()).collect()
}

fn bits_of(list: [&str; 2], found: &[String]) -> u8 {
    let bit = |text: &String| list.iter().position(|one| one == text).unwrap();
    found.iter().map(|text| 1 << bit(text)).sum()
}

fn names(ids: &[u8], name: fn(u8) -> Name) -> Vec<String> {
    ids.iter().map(|id| name(*id).to_string()).collect()
}

fn ids(names: &[String]) -> Vec<u8> {
    names.iter().map(|name| read_name(name).id).collect()
}

/// The name that a text is.
pub(super) fn read_name(text: &str) -> Name {
    let (collection, id) =
        text.strip_prefix(HERE).unwrap().trim_start_matches('/').split_once('/').unwrap();
    let kind = Kind::ALL.into_iter().find(|kind| kind.collection() == collection).unwrap();
    Name { kind, id: id.parse().unwrap() }
}

fn rule(networks: u8) -> pb::NetworkRule {
    pb::NetworkRule {
        kind: Some(world::vpc(world::VPC)),
        addresses: of_bits(NETWORKS.map(|(network, _)| network), networks),
        ..Default::default()
    }
}

fn policy(secrets: u8, rules: &[u8]) -> pb::Policy {
    let names = names(rules, Name::rule);
    pb::Policy {
        scope: "shared".to_owned(),
        permissions: vec![pb::PermissionTemplate::SecretUser.into()],
        resources: of_bits(SECRETS, secrets),
        network_access: Some(NetworkAccess::NetworkRules(pb::NetworkRuleNames { names })),
        ..Default::default()
    }
}

fn access_point(policies: &[u8]) -> pb::AccessPoint {
    pb::AccessPoint {
        authentication: Some(world::client_key()),
        policies: names(policies, Name::policy),
        ..Default::default()
    }
}

/// A resource as it was sent.
trait Sent {
    fn read(self) -> (Name, Item);
}

macro_rules! sent {
    ($($message:ident: $read:expr;)*) => {
        $(impl Sent for pb::$message {
            fn read(self) -> (Name, Item) {
                let read: fn(&Self) -> Content = $read;
                let content = read(&self);
                let Self { name, uid, etag, revision, .. } = self;
                (read_name(&name), Item { uid, etag, revision, content })
            }
        })*
    };
}

sent! {
    NetworkRule: |rule| {
        assert!(matches!(rule.kind, Some(NetworkKind::VpcNetwork(_))), "{rule:?}");
        let networks = bits_of(NETWORKS.map(|(network, _)| network), &rule.addresses);
        Content::Rule { networks }
    };
    Policy: |policy| match &policy.network_access {
        Some(NetworkAccess::NetworkRules(rules)) => {
            Content::Policy { secrets: bits_of(SECRETS, &policy.resources), rules: ids(&rules.names) }
        }
        other => panic!("nobody asked for {other:?}"),
    };
    AccessPoint: |access_point| {
        let suspended = access_point.state() == pb::AccessPointState::Suspended;
        Content::AccessPoint { policies: ids(&access_point.policies), suspended }
    };
}

/// Makes a request of some of its fields.
macro_rules! ask {
    ($variant:ident, $request:ident { $($field:ident $(: $value:expr)?),* }) => {
        Requested::$variant(pb::$request { $($field $(: $value)?,)* ..Default::default() })
    };
}

/// A change as it is asked for among others.
fn requested(change: &Change) -> Requested {
    let Change { name, wanted, etag } = change;
    let etag = etag.clone().unwrap_or_default();
    match (wanted, name.kind) {
        (Wanted::Create(content), _) => create(*name, content),
        (Wanted::Update(content), _) => update(*name, content, etag),
        (Wanted::Suspend, _) => {
            ask!(SuspendAccessPoint, SuspendAccessPointRequest { name: name.to_string(), etag })
        }
        (Wanted::Resume, _) => {
            ask!(ResumeAccessPoint, ResumeAccessPointRequest { name: name.to_string(), etag })
        }
        (Wanted::Delete, Kind::Rule) => {
            ask!(DeleteNetworkRule, DeleteNetworkRuleRequest { name: name.to_string(), etag })
        }
        (Wanted::Delete, Kind::Policy) => {
            ask!(DeletePolicy, DeletePolicyRequest { name: name.to_string(), etag })
        }
        (Wanted::Delete, Kind::AccessPoint) => {
            ask!(DeleteAccessPoint, DeleteAccessPointRequest { name: name.to_string(), etag })
        }
    }
}

fn create(name: Name, content: &Content) -> Requested {
    let (parent, id) = (HERE.to_owned(), name.id.to_string());
    match content {
        Content::Rule { networks } => {
            let network_rule = Some(rule(*networks));
            ask!(
                CreateNetworkRule,
                CreateNetworkRuleRequest { parent, network_rule_id: id, network_rule }
            )
        }
        Content::Policy { secrets, rules } => {
            let policy = Some(policy(*secrets, rules));
            ask!(CreatePolicy, CreatePolicyRequest { parent, policy_id: id, policy })
        }
        Content::AccessPoint { policies, .. } => {
            let access_point = Some(access_point(policies));
            ask!(
                CreateAccessPoint,
                CreateAccessPointRequest { parent, access_point_id: id, access_point }
            )
        }
    }
}

fn update(name: Name, content: &Content, etag: String) -> Requested {
    let name = name.to_string();
    let mask = |paths: &[&str]| {
        Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    };
    match content {
        Content::Rule { networks } => {
            let update_mask = mask(&["addresses"]);
            let network_rule = Some(pb::NetworkRule { name, etag, ..rule(*networks) });
            ask!(UpdateNetworkRule, UpdateNetworkRuleRequest { network_rule, update_mask })
        }
        Content::Policy { secrets, rules } => {
            let update_mask = mask(&["resources", "network_rules"]);
            let policy = Some(pb::Policy { name, etag, ..policy(*secrets, rules) });
            ask!(UpdatePolicy, UpdatePolicyRequest { policy, update_mask })
        }
        Content::AccessPoint { policies, .. } => {
            let update_mask = mask(&["policies"]);
            let access_point = Some(pb::AccessPoint { name, etag, ..access_point(policies) });
            ask!(UpdateAccessPoint, UpdateAccessPointRequest { access_point, update_mask })
        }
    }
}

/// What happened, from what was answered to a change of one resource.
fn made(request: &Request, answer: Response<impl Sent>) -> Answer {
    let (name, item) = answer.into_inner().read();
    let verb = match &request.changes[0].wanted {
        Wanted::Create(_) => Verb::Created,
        Wanted::Update(_) => Verb::Updated,
        Wanted::Suspend => Verb::Suspended,
        Wanted::Resume => Verb::Resumed,
        Wanted::Delete => Verb::Deleted,
    };
    if request.validate_only {
        assert_eq!((&*item.uid, &*item.etag, item.revision), ("", "", 0), "it was only judged");
        return Answer::Judged(vec![(verb, name, Some(item.content))]);
    }
    let (revision, uid) = (item.revision, item.uid.clone());
    Answer::Made(vec![Event { revision, verb, name, uid, after: Some(item) }])
}

fn deleted(request: &Request, _: Response<()>) -> Answer {
    if request.validate_only {
        Answer::Judged(vec![(Verb::Deleted, request.changes[0].name, None)])
    } else {
        Answer::Deleted
    }
}

/// Makes one change by its own method.
async fn change_one(client: &Client, request: &Request) -> Result<Answer, Status> {
    let asked = requested(&request.changes[0]);
    macro_rules! call {
        ($($variant:ident: $service:ident.$method:ident, $read:ident;)*) => {
            $(if let Requested::$variant(mut message) = asked {
                message.request_id.clone_from(&request.id);
                message.validate_only = request.validate_only;
                let answered = client.$service().$method(message).await?;
                return Ok($read(request, answered));
            })*
        };
    }
    call! {
        CreateNetworkRule: policies.create_network_rule, made;
        UpdateNetworkRule: policies.update_network_rule, made;
        DeleteNetworkRule: policies.delete_network_rule, deleted;
        CreatePolicy: policies.create_policy, made;
        UpdatePolicy: policies.update_policy, made;
        DeletePolicy: policies.delete_policy, deleted;
        CreateAccessPoint: access_points.create_access_point, made;
        UpdateAccessPoint: access_points.update_access_point, made;
        SuspendAccessPoint: access_points.suspend_access_point, made;
        ResumeAccessPoint: access_points.resume_access_point, made;
        DeleteAccessPoint: access_points.delete_access_point, deleted;
    }
    panic!("nobody asks for {asked:?}")
}

/// Makes many changes at once.
async fn change_all(client: &Client, request: &Request) -> Result<Answer, Status> {
    let changes = request.changes.iter().map(|change| Some(requested(change)));
    let asked = pb::ApplyChangesRequest {
        parent: ACCOUNT.to_owned(),
        changes: changes.map(|change| pb::RequestedChange { change }).collect(),
        request_id: request.id.clone(),
        validate_only: request.validate_only,
    };
    let answered = client.changes().apply_changes(asked).await?.into_inner();
    let events = answered.changes.into_iter().map(|change| read_change(change).event);
    Ok(if request.validate_only {
        let judged = events.map(|event| {
            assert_eq!(event.revision, 0, "it was only judged");
            (event.verb, event.name, event.after.map(|item| item.content))
        });
        Answer::Judged(judged.collect())
    } else {
        Answer::Made(events.collect())
    })
}

/// A change as it is told.
pub(super) fn read_change(told: pb::Change) -> Recorded {
    let pb::Change { revision, change_time: _, actor, request_id, change, serialized_event: _ } =
        told;
    let (verb, name, uid, after) = read_happened(change.unwrap());
    Recorded { actor, request_id, event: Event { revision, verb, name, uid, after } }
}

fn read_happened(happened: Happened) -> (Verb, Name, String, Option<Item>) {
    macro_rules! read {
        ($($variant:ident: $verb:ident;)*) => {
            $(if let Happened::$variant(after) = happened {
                let (name, item) = after.read();
                return (Verb::$verb, name, item.uid.clone(), Some(item));
            })*
        };
    }
    read! {
        AccessPointCreated: Created;
        AccessPointUpdated: Updated;
        AccessPointSuspended: Suspended;
        AccessPointResumed: Resumed;
        PolicyCreated: Created;
        PolicyUpdated: Updated;
        NetworkRuleCreated: Created;
        NetworkRuleUpdated: Updated;
    }
    match happened {
        Happened::AccessPointDeleted(gone)
        | Happened::PolicyDeleted(gone)
        | Happened::NetworkRuleDeleted(gone) => {
            (Verb::Deleted, read_name(&gone.name), gone.uid, None)
        }
        other => panic!("nobody asked for {other:?}"),
    }
}

async fn get(client: &Client, name: Name) -> Result<Answer, Status> {
    let (kind, name) = (name.kind, name.to_string());
    let (_, item) = match kind {
        Kind::Rule => {
            let get = pb::GetNetworkRuleRequest { name };
            client.policies().get_network_rule(get).await?.into_inner().read()
        }
        Kind::Policy => {
            let get = pb::GetPolicyRequest { name };
            client.policies().get_policy(get).await?.into_inner().read()
        }
        Kind::AccessPoint => {
            let get = pb::GetAccessPointRequest { name };
            client.access_points().get_access_point(get).await?.into_inner().read()
        }
    };
    Ok(Answer::Found(item))
}

/// All of a kind; there are few enough for one page.
async fn list(client: &Client, kind: Kind) -> Result<Answer, Status> {
    let parent = HERE.to_owned();
    macro_rules! list {
        ($client:ident.$method:ident($request:ident).$field:ident) => {{
            let request = pb::$request { parent, ..Default::default() };
            let answered = client.$client().$method(request).await?.into_inner();
            assert_eq!(answered.next_page_token, "");
            Answer::Listed(answered.$field.into_iter().map(Sent::read).collect())
        }};
    }
    Ok(match kind {
        Kind::Rule => list!(policies.list_network_rules(ListNetworkRulesRequest).network_rules),
        Kind::Policy => list!(policies.list_policies(ListPoliciesRequest).policies),
        Kind::AccessPoint => {
            list!(access_points.list_access_points(ListAccessPointsRequest).access_points)
        }
    })
}

async fn decide(client: &Client, question: Question, at_least: u64) -> Result<Answer, Status> {
    let Question { access_point, secret, network } = question;
    let (_, address) = NETWORKS[usize::from(network >> 1)];
    let check = pb::Check {
        subject: Some(pb::check::Subject::AccessPoint(
            Name::access_point(access_point).to_string(),
        )),
        action: "GetSecretValue".to_owned(),
        resource: SECRETS[usize::from(secret >> 1)].to_owned(),
        instance: "shared".to_owned(),
        origin: Some(world::from_vpc(world::VPC, address)),
    };
    let ask = pb::CheckAccessRequest { at_least_revision: at_least, ..world::ask(check) };
    let answered = client.authorization().check_access(ask).await?.into_inner();
    let decision = answered.decision.unwrap();
    let granted = (!decision.policy.is_empty())
        .then(|| (read_name(&decision.policy), read_name(&decision.network_rule)));
    let reason = decision.reason().as_str_name().trim_start_matches("DECISION_REASON_");
    let decision = Decision { reason, grant: granted };
    Ok(Answer::Decided { revision: answered.revision, decision })
}

/// A request that is never valid.
async fn nonsense(client: &Client) -> Result<Answer, Status> {
    let request = world::new_policy("no spaces", &["secret/a*b"], &[]);
    client.policies().create_policy(request).await.map(|made| panic!("{made:?}"))
}

fn read_refusal(status: &Status) -> Refusal {
    let refused = Refused::of(status);
    let names = refused.subjects().into_iter().map(str::to_owned).collect();
    let Refused { code, reason, mut metadata, .. } = refused;
    if code == Code::InvalidArgument {
        metadata.clear();
    }
    Refusal { code, reason, metadata, names }
}

/// Calls, and reads the answer.
pub(super) async fn ask((admin, enforcer): (&Client, &Client), asked: &Asked) -> Answer {
    let answered = match asked {
        Asked::Change(request) if request.together => change_all(admin, request).await,
        Asked::Change(request) => change_one(admin, request).await,
        Asked::Nonsense => nonsense(admin).await,
        Asked::Get(name) => get(admin, *name).await,
        Asked::List(kind) => list(admin, *kind).await,
        Asked::Check { question, at_least } => decide(enforcer, *question, *at_least).await,
    };
    answered.unwrap_or_else(|status| Answer::Refused(read_refusal(&status)))
}
