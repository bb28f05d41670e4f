//! Many changes at once: all or none, in order, with what is odd about them.

use aap::api::pb::{self, change::Change, requested_change::Change as Requested};
use tonic::Code;

use crate::support::{
    ADMIN, Client, ENFORCER, OTHER_ADMIN, SECOND_ADMIN, TestServer, refused,
    world::{self, HERE, policy_name, rule_name, vpc},
};

const ACME: &str = "accounts/acme";

fn apply(changes: Vec<Requested>) -> pb::ApplyChangesRequest {
    let changes = changes.into_iter().map(|change| pb::RequestedChange { change: Some(change) });
    pb::ApplyChangesRequest {
        parent: ACME.into(),
        changes: changes.collect(),
        ..Default::default()
    }
}

async fn applied(admin: &Client, request: pb::ApplyChangesRequest) -> pb::ApplyChangesResponse {
    admin.changes().apply_changes(request).await.unwrap().into_inner()
}

fn rule(id: &str) -> Requested {
    Requested::CreateNetworkRule(world::new_rule(id, vpc("vpc-1"), &["192.168.0.0/16"]))
}

fn policy(id: &str, rules: &[&str]) -> Requested {
    Requested::CreatePolicy(world::new_policy(id, &["secret/a"], rules))
}

fn access_point(id: &str, policies: &[&str]) -> Requested {
    Requested::CreateAccessPoint(world::new_access_point(id, policies))
}

fn delete_policy(id: &str) -> Requested {
    Requested::DeletePolicy(world::delete_policy(id))
}

/// What happened, in a word for each.
fn words(changes: &[pb::Change]) -> Vec<String> {
    let word = |change: &pb::Change| match change.change.as_ref().unwrap() {
        Change::AccessPointCreated(after) => format!("+ {}", after.name),
        Change::AccessPointSuspended(after) => format!("! {}", after.name),
        Change::PolicyCreated(after) => format!("+ {}", after.name),
        Change::PolicyUpdated(after) => format!("~ {}", after.name),
        Change::PolicyDeleted(gone) => format!("- {}", gone.name),
        Change::NetworkRuleCreated(after) => format!("+ {}", after.name),
        other => panic!("nobody asked for {other:?}"),
    };
    changes.iter().map(|change| word(change).replace(&format!("{HERE}/"), "")).collect()
}

async fn last_revision(admin: &Client) -> u64 {
    let list = pb::ListChangesRequest { parent: ACME.into(), page_size: 1, ..Default::default() };
    let listed = admin.changes().list_changes(list).await.unwrap().into_inner();
    listed.changes.first().map_or(0, |change| change.revision)
}

#[tokio::test]
async fn changes_are_made_in_order_on_what_those_before_leave() {
    let server = TestServer::start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    world::enter_page_example(&admin).await;
    let before = last_revision(&admin).await;
    let suspend = pb::SuspendAccessPointRequest {
        name: world::access_point_name("app"),
        ..Default::default()
    };
    let request = apply(vec![
        rule("n"),
        policy("p", &["n"]),
        policy("q", &[]),
        access_point("a", &["p"]),
        delete_policy("q"),
        Requested::SuspendAccessPoint(suspend),
    ]);

    let judged =
        applied(&admin, pb::ApplyChangesRequest { validate_only: true, ..request.clone() }).await;
    let expected = [
        "+ networkRules/n",
        "+ policies/p",
        "+ policies/q",
        "+ accessPoints/a",
        "- policies/q",
        "! accessPoints/app",
    ];
    assert_eq!(words(&judged.changes), expected);
    assert!(judged.changes.iter().all(|change| change.revision == 0));
    assert_eq!(last_revision(&admin).await, before);

    let made = applied(&admin, request).await;
    assert_eq!(words(&made.changes), expected);
    assert_eq!(judged.warnings, made.warnings);
    let revisions: Vec<_> = made.changes.iter().map(|change| change.revision).collect();
    assert_eq!(revisions, (before + 1..=before + 6).collect::<Vec<_>>());
    let Some(Change::PolicyCreated(sent)) = &made.changes[1].change else { panic!() };
    let get = pb::GetPolicyRequest { name: policy_name("p") };
    assert_eq!(admin.policies().get_policy(get).await.unwrap().get_ref(), sent);
    let decision = world::answer(&enforcer, world::allowed()).await.decision.unwrap();
    assert_eq!(decision.reason(), pb::DecisionReason::AccessPointSuspended);

    let server = server.restart().await;
    assert_eq!(last_revision(&server.client(ADMIN)).await, before + 6);
    server.stop().await;
}

#[tokio::test]
async fn one_change_that_is_rejected_rejects_all() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    let before = last_revision(&admin).await;

    let refusal = refused(
        admin
            .changes()
            .apply_changes(apply(vec![rule("n"), policy("p", &["n"]), policy("q", &["m"])]))
            .await,
    );
    refusal.is(Code::FailedPrecondition, "REFERENCE_NOT_FOUND").has("change", "2");
    assert_eq!(refusal.subjects(), [rule_name("m")]);
    assert!(refusal.message.starts_with("`changes[2].create_policy`: "), "{refusal}");

    let in_use = apply(vec![rule("n"), delete_policy("RAMPolicy")]);
    let refusal = refused(admin.changes().apply_changes(in_use).await);
    refusal.is(Code::FailedPrecondition, "RESOURCE_IN_USE").has("change", "1");

    // What only the state tells to be invalid has the path of its change too.
    let mut update = pb::UpdatePolicyRequest::default();
    let patch = pb::Policy {
        name: policy_name("p"),
        permissions: vec![pb::PermissionTemplate::CryptoServiceKeyUser.into()],
        ..Default::default()
    };
    update.policy = Some(patch);
    let refusal = refused(
        admin
            .changes()
            .apply_changes(apply(vec![policy("p", &[]), Requested::UpdatePolicy(update)]))
            .await,
    );
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS").has("change", "1");
    let path = "changes[1].update_policy.policy.permissions";
    assert_eq!(refusal.paths()[0], path, "{refusal}");
    assert_eq!(last_revision(&admin).await, before);
    server.stop().await;
}

#[tokio::test]
async fn all_that_is_wrong_with_many_changes_is_said_at_once() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let mut invalid = world::new_policy("p", &["secret/*a", "b"], &[]);
    invalid.request_id = "mine".into();
    invalid.validate_only = true;
    let mut elsewhere = world::new_policy("p", &["secret/a"], &[]);
    elsewhere.parent = world::THERE.into();
    let mut request = apply(vec![
        Requested::CreatePolicy(invalid),
        Requested::CreatePolicy(elsewhere),
        Requested::DeleteNetworkRule(pb::DeleteNetworkRuleRequest {
            name: format!("{}/networkRules/n", world::THERE),
            ..Default::default()
        }),
        Requested::DeletePolicy(pb::DeletePolicyRequest::default()),
    ]);
    request.changes.push(pb::RequestedChange { change: None });
    request.request_id = "two words".into();
    let refusal = refused(admin.changes().apply_changes(request).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
    assert_eq!(
        refusal.paths(),
        [
            "request_id",
            "changes[0].create_policy.request_id",
            "changes[0].create_policy.validate_only",
            "changes[0].create_policy.policy.resources[0]",
            "changes[0].create_policy.policy.resources[1]",
            "changes[1].create_policy.parent",
            "changes[2].delete_network_rule.name",
            "changes[3].delete_policy.name",
            "changes[4].change",
        ]
    );
    for count in [0, 1_001] {
        let changes = vec![delete_policy("p"); count];
        let refusal = refused(admin.changes().apply_changes(apply(changes)).await);
        refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(refusal.paths(), ["changes"]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_repeated_request_for_many_changes_gets_its_first_answer_also_after_a_restart() {
    let server = TestServer::start().await;
    let request = pb::ApplyChangesRequest {
        request_id: "r-1".into(),
        ..apply(vec![rule("n"), policy("p", &["n"]), access_point("a", &["p"])])
    };
    let first = applied(&server.client(ADMIN), request.clone()).await;
    // Of another caller it is another request.
    let refusal =
        refused(server.client(SECOND_ADMIN).changes().apply_changes(request.clone()).await);
    refusal.is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS").has("change", "0");

    let server = server.restart().await;
    let admin = server.client(ADMIN);
    assert_eq!(applied(&admin, request.clone()).await, first);
    let other = pb::ApplyChangesRequest { changes: request.changes[..2].to_vec(), ..request };
    let refusal = refused(admin.changes().apply_changes(other).await);
    refusal.is(Code::FailedPrecondition, "REQUEST_ID_REUSED");
    assert_eq!(last_revision(&admin).await, 3);
    server.stop().await;
}

#[tokio::test]
async fn what_is_legal_but_odd_is_pointed_out() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let mut wide = world::new_policy("wide", &["secret/*", "key/k"], &[]);
    let policy = wide.policy.as_mut().unwrap();
    policy.scope = "kst-1".into();
    let mut bound = world::new_policy("bound", &["secret/a"], &["n"]);
    let policy = bound.policy.as_mut().unwrap();
    policy.scope = "kst-1".into();
    policy.permissions.push(pb::PermissionTemplate::CryptoServiceKeyUser.into());
    let addresses = ["10.10.10.10/24", "10.0.0.0/8", "0.0.0.0/0"];
    let request = apply(vec![
        Requested::CreateNetworkRule(world::new_rule("n", vpc("vpc-1"), &addresses)),
        Requested::CreatePolicy(wide),
        Requested::CreatePolicy(bound),
    ]);
    let made = applied(&admin, request).await;
    let lines: Vec<_> = made
        .warnings
        .iter()
        .map(|one| format!("{:?} {} {}", one.reason(), one.field, one.message))
        .collect();
    expect_test::expect![[r"
        EveryAddress changes[0].create_network_rule.network_rule.addresses has `0.0.0.0/0`, which is every address
        HostBitsMasked changes[0].create_network_rule.network_rule.addresses has `10.10.10.10/24` with host bits, which are masked off
        EveryResource changes[1].create_policy.policy.resources has `secret/*`, which is all of its kind
        PatternWithoutPermission changes[1].create_policy.policy.resources has `key/k`, to which none of the permissions applies
        AnyNetwork changes[1].create_policy.policy.any_network lets calls in from every network
        PermissionWithoutPattern changes[2].create_policy.policy.permissions has CRYPTO_SERVICE_KEY_USER, which applies to none of the patterns
        RuleCannotMatch changes[2].create_policy.policy.network_rules.names names `n`, which can't match: a dedicated instance is reached over its private network alone"]].assert_eq(&lines.join("\n"));
    server.stop().await;
}

#[tokio::test]
async fn an_answer_with_all_that_was_changed_fits_into_a_message() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    // The longest names, texts and lists that there may be.
    let long = |letter: char| letter.to_string().repeat(128);
    let here = format!("accounts/acme/regions/{}", long('r'));
    let rule = |number: usize| {
        let id = format!("{number}{}", long('n').split_at(3).1);
        let addresses: Vec<_> =
            (0..800).map(|host| format!("fd00:aaaa:bbbb:cccc:dddd:eeee:{host:x}:1/127")).collect();
        let texts: Vec<_> = addresses.iter().map(String::as_str).collect();
        let mut rule = world::new_rule(&id, vpc("vpc-1"), &texts);
        rule.parent.clone_from(&here);
        rule.network_rule.as_mut().unwrap().description = "\u{10ffff}".repeat(1_024);
        rule
    };
    let request = |numbers: std::ops::Range<usize>| {
        apply(numbers.map(|number| Requested::CreateNetworkRule(rule(number))).collect())
    };
    let made = admin.changes().apply_changes(request(0..60)).await.unwrap().into_inner();
    assert_eq!(made.changes.len(), 60);
    // Creating that many more is too large as a request; changing them all is too large as an answer.
    for numbers in [60..120, 120..150] {
        admin.changes().apply_changes(request(numbers)).await.unwrap();
    }
    let describe = |number: usize| {
        let patch = pb::NetworkRule {
            name: format!("{here}/networkRules/{number}{}", long('n').split_at(3).1),
            description: "short".into(),
            ..Default::default()
        };
        Requested::UpdateNetworkRule(pb::UpdateNetworkRuleRequest {
            network_rule: Some(patch),
            ..Default::default()
        })
    };
    let before = last_revision(&admin).await;
    let refusal =
        refused(admin.changes().apply_changes(apply((0..150).map(describe).collect())).await);
    refusal.is(Code::ResourceExhausted, "BATCH_TOO_LARGE");
    assert_eq!(last_revision(&admin).await, before);
    let made = applied(&admin, apply((0..70).map(describe).collect())).await;
    assert_eq!(made.changes.len(), 70);
    server.stop().await;
}

#[tokio::test]
async fn nobody_changes_anothers_account() {
    let server = TestServer::start().await;
    let stranger = server.client(OTHER_ADMIN);
    let refusal = refused(stranger.changes().apply_changes(apply(vec![rule("n")])).await);
    refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", ACME);
    server.stop().await;
}
