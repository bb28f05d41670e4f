//! Resources as documents for people and for version control: one JSON or YAML text each, with the
//! fields and the names that the API has in JSON.
//!
//! What the server makes (uid, etag, revision, times) is left out unless it is asked for, so that a
//! document changes only when its resource does. A secret has no place in one: no resource holds any.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use prost::Message;
use prost_reflect::DynamicMessage;

use crate::{
    api::{
        convert::{
            self, SentHeader, Violations, access_point, client_key, mutation::Mutation,
            network_rule, policy, ram_role,
        },
        pb,
    },
    domain::{
        access_point::{AccessPoint, AccessPointState},
        catalog::{Catalog, inventory::Item},
        command::{
            Batch, Command, NewAccessPoint, NewNetworkRule, NewPolicy, NewRamRole, Request, Target,
        },
        decide::{Rejected, Rejection, Verdict, decide},
        event::Event,
        limits::Limits,
        name::{
            AccessPointName, AccountName, NetworkRuleName, PolicyName, RamRoleName, ResourceName,
        },
        network_rule::NetworkRule,
        policy::Policy,
        ram_role::RamRole,
        resource::{Header, Uid},
        time::UnixNanos,
    },
    entropy::{self, EntropyError},
};

use super::{failure::Failure, forms::Forms, resource::Resource};

/// A resource as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Where it stands: a path that the resource's name makes, if it was made here.
    pub(super) path: String,
    /// The text.
    pub(super) text: String,
    pub(super) syntax: Syntax,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    Yaml {
        /// How many lines are before it in its file.
        lines_before: u64,
    },
}

/// Whether documents have what the server makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerFields {
    /// They don't.
    LeftOut,
    /// They do.
    Shown,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) document: String,
    /// The path of the field; empty if it is the whole document.
    pub(super) field: String,
    pub(super) detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, field, detail } = self;
        match field.as_str() {
            "" => write!(f, "{document}: {detail}"),
            field => write!(f, "{document}: `{field}` {detail}"),
        }
    }
}

/// The documents of everything in a catalog, by path.
pub(super) fn of(catalog: &Catalog, fields: ServerFields) -> anyhow::Result<Vec<Document>> {
    let forms = Forms::load()?;
    let header = |header: &Header| match fields {
        ServerFields::LeftOut => SentHeader::default(),
        ServerFields::Shown => SentHeader::of(header),
    };
    let mut documents = Vec::new();
    for item in catalog.items() {
        let (name, bytes) = match item {
            Item::NetworkRule(rule) => {
                let sent = network_rule::send(&rule, header(&rule.header));
                (ResourceName::NetworkRule(rule.name.clone()), sent.encode_to_vec())
            }
            Item::Policy(policy) => {
                let sent = policy::send(&policy, header(&policy.header));
                (ResourceName::Policy(policy.name.clone()), sent.encode_to_vec())
            }
            Item::RamRole(role) => {
                let mut sent = ram_role::send(&role, header(&role.header));
                if fields == ServerFields::LeftOut {
                    sent.trusts.clear();
                }
                (ResourceName::RamRole(role.name.clone()), sent.encode_to_vec())
            }
            Item::AccessPoint(access_point) => {
                let sent = access_point::send(&access_point, header(&access_point.header));
                (ResourceName::AccessPoint(access_point.name.clone()), sent.encode_to_vec())
            }
            Item::ClientKey(key) => {
                let mut sent = client_key::send(&key, header(&key.header));
                if fields == ServerFields::LeftOut {
                    sent.last_use_time = None;
                }
                (ResourceName::ClientKey(key.name.clone()), sent.encode_to_vec())
            }
            Item::Request(_) => continue,
        };
        let (path, text) = (format!("{name}.json"), forms.write(&name, &bytes)?);
        documents.push(Document { path, text, syntax: Syntax::Json });
    }
    documents.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(documents)
}

/// A resource that a document says is to be there.
#[derive(Debug)]
pub(super) struct WantedResource {
    /// Where it stands.
    pub(super) document: String,
    /// The resource as the server would show it.
    pub(super) resource: Resource,
    /// Whether it is to be suspended.
    pub(super) suspended: bool,
}

/// What documents say is to be there, each in its canonical form; or all that is wrong with them.
pub(super) fn wanted(documents: &[Document]) -> anyhow::Result<Vec<WantedResource>> {
    let Read { wanted, mut violations, .. } = read_all(documents)?;
    sort(&mut violations, documents);
    if !violations.is_empty() {
        let lines = violations.iter().map(ToString::to_string).collect();
        return Err(Failure::invalid("the documents are not valid; nothing is done", lines).into());
    }
    let wanted = wanted.into_iter().filter_map(|Wanted { document, commands, .. }| {
        let suspended =
            commands.iter().any(|command| matches!(command, Command::SuspendAccessPoint(_)));
        let resource = commands.into_iter().find_map(canonical)?;
        Some(WantedResource { document: document.to_owned(), resource, suspended })
    });
    Ok(wanted.collect())
}

/// Puts what is wrong into the order of the documents, and of fields in one of them.
fn sort(violations: &mut [Violation], documents: &[Document]) {
    violations.sort_by_cached_key(|Violation { document, field, detail }| {
        let place = documents.iter().position(|one| one.path == *document);
        (place, field.clone(), detail.clone())
    });
}

/// What is to be created, as the server would show it without what only it makes.
fn canonical(command: Command) -> Option<Resource> {
    let header = |description| Header {
        uid: Uid(uuid::Uuid::nil()),
        revision: 0,
        create_time: UnixNanos(0),
        update_time: UnixNanos(0),
        description,
    };
    let none = SentHeader::default;
    Some(match command {
        Command::CreateNetworkRule(NewNetworkRule { name, description, kind, addresses }) => {
            let rule = NetworkRule { name, header: header(description), kind, addresses };
            Resource::NetworkRule(network_rule::send(&rule, none()))
        }
        Command::CreatePolicy(NewPolicy { name, description, terms }) => {
            let policy = Policy { name, header: header(description), terms };
            Resource::Policy(policy::send(&policy, none()))
        }
        Command::CreateRamRole(NewRamRole { name, description, trust_policy }) => {
            let sessions_valid_from = 0;
            let header = header(description);
            let role = RamRole { name, header, trust_policy, sessions_valid_from };
            Resource::RamRole(ram_role::send(&role, none()))
        }
        Command::CreateAccessPoint(NewAccessPoint {
            name,
            description,
            authentication,
            policies,
        }) => {
            let (header, state) = (header(description), AccessPointState::Active);
            let sessions_valid_from = 0;
            let point =
                AccessPoint { name, header, authentication, policies, state, sessions_valid_from };
            Resource::AccessPoint(access_point::send(&point, none()))
        }
        _ => return None,
    })
}

/// The events that make a new journal of these documents, or all that is wrong with them.
pub(super) fn events(
    documents: &[Document],
    actor: &str,
    time: UnixNanos,
) -> anyhow::Result<Result<Vec<Event>, Vec<Violation>>> {
    let Read { mut wanted, mut violations, named } = read_all(documents)?;
    // What others name comes before them.
    wanted.sort_by(|one, other| (one.rank, &one.name).cmp(&(other.rank, &other.name)));
    let mut judge = Judge { catalog: Catalog::default(), events: Vec::new() };
    for Wanted { document, commands, .. } in wanted {
        for command in commands {
            let request = Request { actor: actor.into(), time, uid: uid()?, mark: None, command };
            if let Err(rejection) = judge.take(request) {
                let document = document.to_owned();
                violations.extend(explain(&rejection, &named).map(|(field, detail)| Violation {
                    document: document.clone(),
                    field,
                    detail,
                }));
                break;
            }
        }
    }
    sort(&mut violations, documents);
    Ok(if violations.is_empty() { Ok(judge.events) } else { Err(violations) })
}

fn uid() -> Result<Uid, EntropyError> {
    entropy::uuid().map(Uid)
}

/// Takes changes in one after the other, as the journal's writer does.
struct Judge {
    catalog: Catalog,
    events: Vec<Event>,
}

impl Judge {
    fn take(&mut self, request: Request) -> Result<(), Rejection> {
        let verdict = decide(&self.catalog, &Limits::NONE, &Batch::from(request));
        if let Verdict::Happened(events) =
            verdict.map_err(|Rejected { rejection, .. }| rejection)?
        {
            for event in &events {
                self.catalog.evolve(event);
            }
            self.events.extend(events);
        }
        Ok(())
    }
}

/// What one document wants.
struct Wanted<'a> {
    document: &'a str,
    name: ResourceName,
    /// The lower ones come first.
    rank: u8,
    commands: Vec<Command>,
}

/// What all documents come to.
struct Read<'a> {
    wanted: Vec<Wanted<'a>>,
    violations: Vec<Violation>,
    /// The resources that have a document, be it wrong or not: those are not missing.
    named: BTreeSet<ResourceName>,
}

fn read_all(documents: &[Document]) -> anyhow::Result<Read<'_>> {
    let forms = Forms::load()?;
    let (mut wanted, mut violations) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<ResourceName, &str> = BTreeMap::new();
    for Document { path, text, syntax } in documents {
        let violation =
            |field: String, detail: String| Violation { document: path.clone(), field, detail };
        let (name, message) = match forms.read(text, *syntax) {
            Ok(read) => read,
            Err((field, detail)) => {
                violations.push(violation(field.to_owned(), detail));
                continue;
            }
        };
        if let Some(other) = seen.insert(name.clone(), path) {
            violations.push(violation("name".to_owned(), format!("stands in `{other}` too")));
            continue;
        }
        let mut noted = Violations::default();
        let (rank, commands) = commands(&mut noted, &name, &message)?;
        let of_message = |noted: &convert::Violation| {
            violation(json_path(&noted.field), noted.description.clone())
        };
        violations.extend(noted.noted().iter().map(of_message));
        if noted.count() == 0 {
            wanted.push(Wanted { document: path, name, rank, commands });
        }
    }
    Ok(Read { wanted, violations, named: seen.into_keys().collect() })
}

/// What makes a resource be as its document says.
pub(super) fn commands(
    violations: &mut Violations,
    name: &ResourceName,
    message: &DynamicMessage,
) -> anyhow::Result<(u8, Vec<Command>)> {
    Ok(match name {
        ResourceName::NetworkRule(NetworkRuleName { location, id }) => {
            let request = pb::CreateNetworkRuleRequest {
                parent: location.to_string(),
                network_rule_id: id.to_string(),
                network_rule: Some(message.transcode_to()?),
                ..Default::default()
            };
            (0, request.parse(violations).into_iter().collect())
        }
        ResourceName::RamRole(RamRoleName { account, id }) => {
            let request = pb::CreateRamRoleRequest {
                parent: AccountName(account.clone()).to_string(),
                ram_role_id: id.to_string(),
                ram_role: Some(message.transcode_to()?),
                ..Default::default()
            };
            (0, request.parse(violations).into_iter().collect())
        }
        ResourceName::Policy(PolicyName { location, id }) => {
            let request = pb::CreatePolicyRequest {
                parent: location.to_string(),
                policy_id: id.to_string(),
                policy: Some(message.transcode_to()?),
                ..Default::default()
            };
            (1, request.parse(violations).into_iter().collect())
        }
        ResourceName::AccessPoint(name) => {
            let access_point = message.transcode_to()?;
            (2, access_point_commands(violations, name, access_point))
        }
        ResourceName::ClientKey(name) => {
            (3, client_key::parse_document(violations, name, message.transcode_to()?))
        }
    })
}

fn access_point_commands(
    violations: &mut Violations,
    name: &AccessPointName,
    access_point: pb::AccessPoint,
) -> Vec<Command> {
    let state = access_point.state();
    let request = pb::CreateAccessPointRequest {
        parent: name.location.to_string(),
        access_point_id: name.id.to_string(),
        access_point: Some(access_point),
        ..Default::default()
    };
    let create = request.parse(violations);
    let target = Target { name: name.clone(), etag: None };
    let suspend =
        (state == pb::AccessPointState::Suspended).then_some(Command::SuspendAccessPoint(target));
    create.into_iter().chain(suspend).collect()
}

/// The fields of a document that a rejection is about, each with what is wrong with it.
fn explain<'a>(
    rejection: &'a Rejection,
    named: &'a BTreeSet<ResourceName>,
) -> impl Iterator<Item = (String, String)> + 'a {
    let mut explained = Vec::new();
    match rejection {
        Rejection::ReferencesMissing { missing, .. } => {
            for name in missing {
                let field = match name {
                    ResourceName::NetworkRule(_) => "networkRules.names",
                    ResourceName::RamRole(_) => "ramRole.role",
                    ResourceName::Policy(_)
                    | ResourceName::AccessPoint(_)
                    | ResourceName::ClientKey(_) => "policies",
                };
                if !named.contains(name) {
                    let detail = format!("names `{name}`, which is in no document");
                    explained.push((field.to_owned(), detail));
                }
            }
        }
        Rejection::PrivateRulesNeedInstance { places } => {
            explained.extend(
                places
                    .iter()
                    .map(|place| (format!("networkRules.names[{place}]"), rejection.to_string())),
            );
        }
        Rejection::RoleNotTrusted { .. } => {
            let detail = format!("names a role that is not trusted: {rejection}");
            explained.push(("ramRole.role".to_owned(), detail));
        }
        other => explained.push((String::new(), other.to_string())),
    }
    explained.into_iter()
}

/// The path of a field in a document, of its path in a request.
pub(super) fn json_path(path: &str) -> String {
    let within = path.split_once('.').map_or(path, |(_, within)| within);
    let mut made = String::new();
    let mut raise = false;
    for letter in within.chars() {
        match letter {
            '_' => raise = true,
            letter if raise => {
                made.push(letter.to_ascii_uppercase());
                raise = false;
            }
            letter => made.push(letter),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::testing::{World, histories::any_history};

    fn document(path: &str, text: &str) -> Document {
        Document { path: path.to_owned(), text: text.to_owned(), syntax: Syntax::Json }
    }

    fn imported(documents: &[Document]) -> Result<Catalog, Vec<String>> {
        let made = events(documents, "import", UnixNanos(7)).unwrap();
        let mut catalog = Catalog::default();
        for event in
            made.map_err(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>())?
        {
            catalog.evolve(&event);
        }
        Ok(catalog)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 48,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_imported_is_exported_as_it_was(history in any_history()) {
            let mut world = World::given([]);
            for command in history {
                world.step(command);
            }
            let exported = of(&world.catalog, ServerFields::LeftOut).unwrap();
            let catalog = match imported(&exported) {
                Ok(catalog) => catalog,
                Err(told) => {
                    // A role may have lost its trust since; then nobody could name it any more.
                    let about_roles = |told: &String| told.contains(": `ramRole.role` names a role");
                    prop_assert!(told.iter().all(about_roles), "{:?}", told);
                    return Ok(());
                }
            };
            prop_assert_eq!(of(&catalog, ServerFields::LeftOut).unwrap(), exported);
            // What the server makes is read over.
            let shown = of(&world.catalog, ServerFields::Shown).unwrap();
            let again = imported(&shown).unwrap();
            prop_assert!(again.items().map(without_uid).eq(catalog.items().map(without_uid)));
        }
    }

    fn without_uid(item: Item) -> String {
        let text = format!("{item:?}");
        let (before, after) = text.split_once("uid: ").unwrap();
        format!("{before}{}", after.split_once(')').unwrap().1)
    }

    const RULE: &str = "accounts/acme/regions/eu-1/networkRules/Office";
    const POLICY: &str = "accounts/acme/regions/eu-1/policies/Reports";

    #[test]
    fn a_document_reads_as_the_api_shows_the_resource() {
        let rule = document(
            &format!("{RULE}.json"),
            &format!(
                r#"{{
  "name": "{RULE}",
  "description": "where people sit",
  "publicNetwork": {{}},
  "addresses": [
    "203.0.113.0/24"
  ]
}}
"#
            ),
        );
        let policy = document(
            &format!("{POLICY}.json"),
            &format!(
                r#"{{
  "name": "{POLICY}",
  "scope": "shared",
  "permissions": [
    "PERMISSION_TEMPLATE_SECRET_USER"
  ],
  "resources": [
    "secret/reports/*"
  ],
  "networkRules": {{
    "names": [
      "{RULE}"
    ]
  }}
}}
"#
            ),
        );
        let documents = [rule, policy];
        let catalog = imported(&[documents[1].clone(), documents[0].clone()]).unwrap();
        assert_eq!(of(&catalog, ServerFields::LeftOut).unwrap(), documents);
    }

    #[test]
    fn all_that_is_wrong_is_named_with_document_and_field() {
        let wrong = [
            document("a.json", "{"),
            document("b.json", r#"{"scope": "shared"}"#),
            document("c.json", r#"{"name": "accounts/acme"}"#),
            document("d.json", &format!(r#"{{"name": "{RULE}", "adresses": []}}"#)),
            document(
                "e.json",
                &format!(
                    r#"{{"name": "{RULE}", "vpcNetwork": {{"vpcId": "-"}}, "addresses": ["x"]}}"#
                ),
            ),
            document(
                "f.json",
                &format!(
                    r#"{{"name": "{POLICY}", "scope": "shared", "resources": ["secret/a"],
                        "permissions": ["PERMISSION_TEMPLATE_SECRET_USER"],
                        "networkRules": {{"names": ["{RULE}2"]}}}}"#
                ),
            ),
            document("g.json", &format!(r#"{{"name": "{POLICY}"}}"#)),
        ];
        let told = imported(&wrong).unwrap_err();
        let wanted = [
            "a.json: is no such document: EOF while parsing an object at line 1 column 1",
            "b.json: `name` is missing: it says what this is",
            "c.json: `name` must have the form `accounts/{account}/…/{collection}/{id}`",
            "d.json: is no such document: unrecognized field name 'adresses' at line 1 column 69",
            "e.json: `addresses[0]` must be an IPv4 or IPv6 address or CIDR",
            "e.json: `vpcNetwork.vpcId` must begin with a letter or digit and have 1 to 64 of \
             `A-Z a-z 0-9 _ -`",
            "f.json: `networkRules.names` names \
             `accounts/acme/regions/eu-1/networkRules/Office2`, which is in no document",
            "g.json: `name` stands in `f.json` too",
        ];
        assert_eq!(told, wanted);
    }
}
