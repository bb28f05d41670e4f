//! A random world through a whole server, and then the same again from what it left on disk: every
//! decision, and everything that it answered.

mod sessions;

use std::collections::BTreeMap;

use aap::{
    api::{
        convert::{self, SentHeader, decision},
        pb::{self, check::Subject as SentSubject, check_event::Credential, origin::Network},
    },
    domain::{
        check::Check,
        name::{AccessPointName, LocationRef, NetworkRuleName, PolicyName, RamRoleName},
        rules::{Action, RulesVersion},
    },
    projection::State,
    service::checks::Decided,
    store::{journal::Journal as _, sled_journal::SledJournal},
};
use tonic::{Code, Response};

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, Setup, TestServer,
    random::Random,
    watching::{self, Watch, check_of},
    world::{self, HERE, access_point_name, ask, ask_all, policy_name, role_name, rule_name},
};

const IDS: [&str; 4] = ["a", "b", "c", "d"];
/// Few, so that they change under access points that hold them.
const ROLES: [&str; 2] = ["r", "s"];
const VPCS: [&str; 2] = ["vpc-1", "vpc-2"];
const PREFIXES: [&str; 6] =
    ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::ffff:10.2.0.0/112"];
const ADDRESSES: [&str; 6] =
    ["10.1.2.3", "10.2.0.9", "192.168.0.1", "2001:db8::7", "::ffff:10.1.2.3", ""];
const PATTERNS: [&str; 7] =
    ["secret/a", "secret/a*", "secret/*", "secret/a/b*", "key/*", "key/k", "key/k**"];
const RESOURCES: [&str; 8] =
    ["secret/a", "secret/ab", "secret/a/b", "key/k", "key/kk", "", "secret/*", "nothing"];
const INSTANCES: [&str; 5] = ["kst-1", "shared", "kst-1", "shared", "kst-2"];

/// What the server answered, and what it should therefore still have.
#[derive(Debug, Default)]
pub(super) struct Answered {
    rules: BTreeMap<String, pb::NetworkRule>,
    policies: BTreeMap<String, pb::Policy>,
    access_points: BTreeMap<String, pb::AccessPoint>,
    roles: BTreeMap<String, pb::RamRole>,
    /// Decision, revision and leaf hash by sequence number.
    decisions: BTreeMap<u64, (pb::Decision, u64, Vec<u8>)>,
}

/// One or more of a list.
fn some<'a>(random: &mut Random, list: &[&'a str]) -> Vec<&'a str> {
    let count = 1 + random.below(3);
    (0..count).map(|_| random.pick(list)).collect()
}

fn random_rule(random: &mut Random) -> pb::CreateNetworkRuleRequest {
    let kind = match random.below(4) {
        0 => pb::network_rule::Kind::PublicNetwork(pb::PublicNetwork {}),
        1 => pb::network_rule::Kind::PrivateNetwork(pb::PrivateNetwork {}),
        _ => world::vpc(random.pick(&VPCS)),
    };
    let addresses = some(random, &PREFIXES);
    world::new_rule(random.pick(&IDS), kind, &addresses)
}

fn random_policy(random: &mut Random) -> pb::CreatePolicyRequest {
    let rules = if random.below(4) == 0 { Vec::new() } else { some(random, &IDS) };
    let resources = some(random, &PATTERNS);
    let mut request = world::new_policy(random.pick(&IDS), &resources, &rules);
    let policy = request.policy.as_mut().unwrap();
    policy.scope = random.pick(&INSTANCES[..2]).into();
    let count = 1 + random.below(3);
    policy.permissions = (0..count).map(|_| random.pick(&[1, 1, 2, 3])).collect();
    request
}

fn random_services(random: &mut Random) -> Vec<&'static str> {
    let all: [&[&str]; 3] = [&["ecs"], &["ecs", "fc"], &["fc"]];
    all[random.below(3)].to_vec()
}

/// With a client key, or by a role of an ECS instance.
fn random_access_point(random: &mut Random) -> pb::CreateAccessPointRequest {
    let mut request = world::new_access_point(random.pick(&IDS), &some(random, &IDS));
    if random.below(3) > 0 {
        let access_point = request.access_point.as_mut().unwrap();
        access_point.authentication = Some(world::ecs_role(random.pick(&ROLES)));
    }
    request
}

pub(super) fn random_check(random: &mut Random) -> pb::Check {
    let network = match random.below(5) {
        0 => None,
        1 => Some(Network::PublicNetwork(pb::PublicNetwork {})),
        2 => Some(Network::PrivateNetwork(pb::PrivateNetwork {})),
        _ => Some(Network::VpcNetwork(pb::VpcNetwork { vpc_id: random.pick(&VPCS).to_owned() })),
    };
    let origin = pb::Origin { network, address: random.pick(&ADDRESSES).to_owned() };
    let resource = random.pick(&RESOURCES);
    let action = match (random.below(8), resource) {
        (0, _) => random.pick(Action::ALL).name(),
        (1, _) => "NotYetKnown",
        (_, "") => "GenerateRandom",
        (_, resource) if resource.starts_with("key/") => "Decrypt",
        _ => "GetSecretValue",
    };
    pb::Check {
        subject: Some(SentSubject::AccessPoint(access_point_name(random.pick(&IDS)))),
        action: action.to_owned(),
        resource: resource.to_owned(),
        instance: random.pick(&INSTANCES).to_owned(),
        origin: (random.below(8) > 0).then_some(origin),
    }
}

impl Answered {
    /// Makes one random change; most of them are refused, as they should be.
    pub(super) async fn change(&mut self, random: &mut Random, admin: &Client) {
        let (mut policies, mut access_points) = (admin.policies(), admin.access_points());
        let (mut roles, role) = (admin.ram_roles(), random.pick(&ROLES));
        let id = random.pick(&IDS);
        let made = match random.below(22) {
            0..=2 => policies
                .create_network_rule(random_rule(random))
                .await
                .map(|made| put(&mut self.rules, |rule| &rule.name, made)),
            3..=6 => policies
                .create_policy(random_policy(random))
                .await
                .map(|made| put(&mut self.policies, |policy| &policy.name, made)),
            7..=11 => access_points
                .create_access_point(random_access_point(random))
                .await
                .map(|made| put(&mut self.access_points, |access_point| &access_point.name, made)),
            12 => access_points
                .delete_access_point(world::delete_access_point(id))
                .await
                .map(|_| take(&mut self.access_points, &access_point_name(id))),
            13..=14 => roles
                .create_ram_role(world::new_role(role, &random_services(random)))
                .await
                .map(|made| put(&mut self.roles, |role| &role.name, made)),
            15..=18 => roles
                .update_ram_role(world::update_role(role, &random_services(random)))
                .await
                .map(|made| {
                    let made = made.into_inner();
                    assert!(self.roles.insert(made.name.clone(), made).is_some());
                }),
            19 => roles
                .delete_ram_role(world::delete_role(role))
                .await
                .map(|_| take(&mut self.roles, &role_name(role))),
            _ if random.below(2) == 0 => policies
                .delete_policy(world::delete_policy(id))
                .await
                .map(|_| take(&mut self.policies, &policy_name(id))),
            _ => policies
                .delete_network_rule(world::delete_rule(id))
                .await
                .map(|_| take(&mut self.rules, &rule_name(id))),
        };
        if let Err(status) = made {
            let codes = [
                Code::AlreadyExists,
                Code::NotFound,
                Code::FailedPrecondition,
                Code::InvalidArgument,
            ];
            assert!(codes.contains(&status.code()), "{status:?}");
        }
    }

    /// Asks some random checks, one by one or together.
    async fn check(&mut self, random: &mut Random, enforcer: &Client) {
        let mut authorization = enforcer.authorization();
        let checks: Vec<_> = (0..=random.below(6)).map(|_| random_check(random)).collect();
        let answer = authorization.batch_check_access(ask_all(checks)).await.unwrap().into_inner();
        for result in answer.results {
            self.note(result.decision, result.receipt, answer.revision);
        }
        let answer = authorization.check_access(ask(random_check(random))).await.unwrap();
        let pb::CheckAccessResponse { decision, receipt, revision } = answer.into_inner();
        self.note(decision, receipt, revision);
    }

    fn note(
        &mut self,
        decision: Option<pb::Decision>,
        receipt: Option<pb::Receipt>,
        revision: u64,
    ) {
        let (decision, receipt) = (decision.unwrap(), receipt.unwrap());
        let known = (decision, revision, receipt.leaf_hash);
        assert_eq!(self.decisions.insert(receipt.sequence, known), None);
    }
}

fn put<T>(all: &mut BTreeMap<String, T>, name: impl Fn(&T) -> &String, made: Response<T>) {
    let made = made.into_inner();
    assert!(all.insert(name(&made).clone(), made).is_none(), "what exists isn't made again");
}

fn take<T>(all: &mut BTreeMap<String, T>, name: &str) {
    assert!(all.remove(name).is_some(), "what isn't there isn't deleted");
}

/// Decides a recorded check again.
pub(super) fn decide_again(
    state: &State,
    record: &pb::AuditRecord,
    event: &pb::CheckEvent,
) -> pb::Decision {
    let location = format!("accounts/{}/regions/{}", record.account, record.region);
    let asked = pb::CheckAccessRequest {
        parent: location.clone(),
        check: Some(pb::Check {
            subject: Some(match &event.credential {
                Some(Credential::Session(_)) => SentSubject::Session("aaps_".to_owned()),
                _ => SentSubject::AccessPoint(event.access_point.clone()),
            }),
            action: event.action.clone(),
            resource: event.resource.clone(),
            instance: event.instance.clone(),
            origin: event.origin.clone(),
        }),
        ..Default::default()
    };
    let location = LocationRef::parse(&asked.parent).unwrap();
    let check = convert::check::parse_one(location, asked.check.as_ref(), "").unwrap();
    let check = match &event.credential {
        Some(Credential::Session(shown)) => {
            Check { subject: sessions::subject_of(event, shown), ..check }
        }
        Some(Credential::AssertedIdentity(_)) | None => check,
    };
    let judgement = state.rulebook.decide(&check);
    let found = judgement.access_point.map(|uid| uid.to_string());
    match (&event.credential, found) {
        // Of a session the record has the access point that it is for, also if that is gone.
        (Some(Credential::Session(_)), None) => {}
        (_, found) => assert_eq!(found.unwrap_or_default(), event.access_point_uid),
    }
    let rules_version = state.rulebook.version();
    decision::send(Decided { decision: judgement.decision, rules_version })
}

/// The state after each event of the journal, by revision.
pub(super) fn states(setup: &Setup, version: RulesVersion) -> Vec<State> {
    let journal = SledJournal::open(&setup.data_dir().join("journal")).unwrap();
    let mut states = vec![State::new(version)];
    for event in journal.read(1, usize::MAX).unwrap() {
        let mut state = states.last().unwrap().clone();
        state.evolve(&event);
        states.push(state);
    }
    states
}

/// Asserts that a state has exactly what was answered.
fn assert_is_answered(state: &State, answered: &Answered) {
    for id in IDS {
        let name = NetworkRuleName::parse(&rule_name(id)).unwrap();
        let rule = state.catalog.network_rule(&name);
        let rule =
            rule.map(|found| convert::network_rule::send(found, SentHeader::of(&found.header)));
        assert_eq!(rule.as_ref(), answered.rules.get(&rule_name(id)));
        let name = PolicyName::parse(&policy_name(id)).unwrap();
        let policy = state.catalog.policy(&name);
        let policy =
            policy.map(|found| convert::policy::send(found, SentHeader::of(&found.header)));
        assert_eq!(policy.as_ref(), answered.policies.get(&policy_name(id)));
        let name = AccessPointName::parse(&access_point_name(id)).unwrap();
        let found = state.catalog.access_point(&name);
        let found = found.map(|one| convert::access_point::send(one, SentHeader::of(&one.header)));
        assert_eq!(found.as_ref(), answered.access_points.get(&access_point_name(id)));
    }
}

/// Asserts that a state has exactly the roles that were answered.
fn assert_has_roles(state: &State, answered: &Answered) {
    for id in ROLES {
        let name = RamRoleName::parse(&role_name(id)).unwrap();
        let role = state.catalog.ram_role(&name);
        let role = role.map(|one| convert::ram_role::send(one, SentHeader::of(&one.header)));
        assert_eq!(role.as_ref(), answered.roles.get(&role_name(id)));
    }
}

/// Asserts that the server answers reads as it answered the changes.
async fn assert_still_answered(server: &TestServer, answered: &Answered) {
    let admin = server.client(ADMIN);
    for id in IDS {
        let get = pb::GetNetworkRuleRequest { name: rule_name(id) };
        let rule = admin.policies().get_network_rule(get).await;
        assert_eq!(
            rule.ok().map(Response::into_inner).as_ref(),
            answered.rules.get(&rule_name(id))
        );
        let get = pb::GetPolicyRequest { name: policy_name(id) };
        let policy = admin.policies().get_policy(get).await;
        let policy = policy.ok().map(Response::into_inner);
        assert_eq!(policy.as_ref(), answered.policies.get(&policy_name(id)));
        let get = pb::GetAccessPointRequest { name: access_point_name(id) };
        let found = admin.access_points().get_access_point(get).await;
        let found = found.ok().map(Response::into_inner);
        assert_eq!(found.as_ref(), answered.access_points.get(&access_point_name(id)));
    }
    for id in ROLES {
        let get = pb::GetRamRoleRequest { name: role_name(id) };
        let role = admin.ram_roles().get_ram_role(get).await;
        let role = role.ok().map(Response::into_inner);
        assert_eq!(role.as_ref(), answered.roles.get(&role_name(id)));
    }
}

#[tokio::test]
async fn every_recorded_check_decides_the_same_again_and_state_is_a_fold_of_the_journal() {
    let mut server = TestServer::start().await;
    let mut random = Random::new(2026);
    let mut answered = Answered::default();
    for round in 0..3 {
        let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
        for _ in 0..120 {
            for _ in 0..=random.below(3) {
                answered.change(&mut random, &admin).await;
            }
            answered.check(&mut random, &enforcer).await;
        }
        assert_still_answered(&server, &answered).await;
        if round < 2 {
            server = server.restart().await;
            assert_still_answered(&server, &answered).await;
        }
    }
    let auditor = server.client(AUDITOR);
    let last = Watch::from_end(&auditor).await.through;
    let mut watch = Watch::from(&auditor, 1).await;
    let entries = watch.all_through(last).await;
    drop(watch);
    let setup = server.stop().await;

    let version = RulesVersion::CURRENT;
    let states = states(&setup, version);
    assert_is_answered(states.last().unwrap(), &answered);
    assert_has_roles(states.last().unwrap(), &answered);
    let mut outcomes = BTreeMap::new();
    for entry in &entries {
        let record = watching::record(entry);
        let Some(event) = check_of(&record) else { continue };
        let recorded = event.decision.clone().unwrap();
        assert_eq!(RulesVersion::from_number(recorded.rules_version), Some(version));
        let state = &states[usize::try_from(event.revision).unwrap()];
        assert_eq!(decide_again(state, &record, event), recorded, "{record:?}");
        let known = (recorded.clone(), event.revision, entry.leaf_hash.to_vec());
        assert_eq!(answered.decisions.remove(&record.sequence), Some(known));
        assert_eq!((record.account.as_str(), event.access_point.starts_with(HERE)), ("acme", true));
        *outcomes.entry(recorded.reason().as_str_name()).or_insert(0) += 1;
    }
    assert!(answered.decisions.is_empty(), "every answer has its record");
    // The world was worth it: each reason came up, but for suspension, which no change leads to.
    assert!(outcomes.len() >= 7 && outcomes.values().all(|count| *count > 10), "{outcomes:?}");
}
