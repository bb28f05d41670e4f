//! Access points, policies and network rules over the API: made, read and deleted.

use aap::api::pb::{self, network_rule::Kind, policy::NetworkAccess};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::support::{
    ADMIN, Client, TestServer, refused,
    world::{self, HERE, access_point_name, policy_name, rule_name},
};

/// The message of an answer that must have one.
#[track_caller]
fn message<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
}

/// Asserts what the server gives every resource by itself, with the time of its creation and of its
/// last change.
#[track_caller]
fn assert_header(
    (uid, etag, revision): (&str, &str, u64),
    times: [Option<prost_types::Timestamp>; 2],
) {
    let uid: Uuid = uid.parse().unwrap();
    assert_eq!(etag, format!("{}-{revision:x}", uid.simple()));
    assert!(times[0].is_some_and(|time| time.seconds > 1_600_000_000), "{times:?}");
    assert_eq!(times[0], times[1]);
}

/// Has policies that grant something created.
async fn create_policies(admin: &Client, ids: &[&str]) {
    for id in ids {
        message(admin.policies().create_policy(world::new_policy(id, &["secret/a"], &[])).await);
    }
}

#[tokio::test]
async fn an_access_point_is_created_read_and_deleted() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let mut access_points = admin.access_points();
    create_policies(&admin, &["one", "two"]).await;
    message(admin.ram_roles().create_ram_role(world::new_role("ECSRole", &["ecs"])).await);
    let cases = [(4, "role", world::ecs_role("ECSRole")), (7, "key", world::client_key())];
    for (revision, id, authentication) in cases {
        let mut request = world::new_access_point(id, &["two", "one"]);
        let wanted = request.access_point.as_mut().unwrap();
        wanted.name = access_point_name(id);
        wanted.description = "Reads r\u{e9}ports".to_owned();
        wanted.authentication = Some(authentication.clone());
        // What is output only is not read.
        wanted.uid = "mine".to_owned();
        wanted.revision = 77;
        wanted.state = pb::AccessPointState::Suspended.into();
        let made = message(access_points.create_access_point(request).await);
        let expected = pb::AccessPoint {
            name: access_point_name(id),
            uid: made.uid.clone(),
            etag: made.etag.clone(),
            revision,
            create_time: made.create_time,
            update_time: made.update_time,
            description: "Reads r\u{e9}ports".to_owned(),
            policies: vec![policy_name("two"), policy_name("one")],
            state: pb::AccessPointState::Active.into(),
            authentication: Some(authentication),
        };
        assert_eq!(made, expected);
        assert_header((&made.uid, &made.etag, revision), [made.create_time, made.update_time]);
        let get = || pb::GetAccessPointRequest { name: access_point_name(id) };
        assert_eq!(message(access_points.get_access_point(get()).await), made);

        let etag = made.etag.clone();
        let delete = pb::DeleteAccessPointRequest { etag, ..world::delete_access_point(id) };
        message(access_points.delete_access_point(delete).await);
        let refusal = refused(access_points.get_access_point(get()).await);
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", &access_point_name(id));
        // Its name is free again, for something else.
        let again = world::new_access_point(id, &["one"]);
        let again = message(access_points.create_access_point(again).await);
        assert_eq!((again.revision, again.uid == made.uid), (revision + 2, false));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_policy_is_created_read_and_deleted() {
    let server = TestServer::start().await;
    let mut policies = server.client(ADMIN).policies();
    for id in ["inside", "outside"] {
        let rule = world::new_rule(id, world::vpc("vpc-1"), &["10.0.0.0/8"]);
        message(policies.create_network_rule(rule).await);
    }
    let rules = vec![rule_name("outside"), rule_name("inside")];
    let mut request = world::new_policy("keys", &[], &[]);
    let wanted = pb::Policy {
        description: "Keys and secrets".to_owned(),
        scope: "kst-1".to_owned(),
        permissions: vec![
            pb::PermissionTemplate::CryptoServiceKeyUser.into(),
            pb::PermissionTemplate::CryptoServiceSecretUser.into(),
        ],
        resources: vec!["key/*".to_owned(), "secret/a/b".to_owned()],
        network_access: Some(NetworkAccess::NetworkRules(pb::NetworkRuleNames { names: rules })),
        ..Default::default()
    };
    request.policy = Some(wanted.clone());
    let made = message(policies.create_policy(request).await);
    let expected = pb::Policy {
        name: policy_name("keys"),
        uid: made.uid.clone(),
        etag: made.etag.clone(),
        revision: 3,
        create_time: made.create_time,
        update_time: made.update_time,
        ..wanted
    };
    assert_eq!(made, expected);
    assert_header((&made.uid, &made.etag, 3), [made.create_time, made.update_time]);
    let get = || pb::GetPolicyRequest { name: policy_name("keys") };
    assert_eq!(message(policies.get_policy(get()).await), made);
    message(policies.delete_policy(world::delete_policy("keys")).await);
    refused(policies.get_policy(get()).await).is(Code::NotFound, "RESOURCE_NOT_FOUND");
    // What it held is free.
    message(policies.delete_network_rule(world::delete_rule("inside")).await);
    server.stop().await;
}

#[tokio::test]
async fn a_network_rule_is_created_read_and_deleted() {
    let server = TestServer::start().await;
    let mut policies = server.client(ADMIN).policies();
    let kinds = [
        ("public", Kind::PublicNetwork(pb::PublicNetwork {})),
        ("vpc", world::vpc("vpc-1")),
        ("private", Kind::PrivateNetwork(pb::PrivateNetwork {})),
    ];
    for (id, kind) in kinds {
        let request = world::new_rule(id, kind.clone(), &["10.0.0.0/8", "2001:db8::1"]);
        let made = message(policies.create_network_rule(request).await);
        let expected = pb::NetworkRule {
            name: rule_name(id),
            uid: made.uid.clone(),
            etag: made.etag.clone(),
            revision: made.revision,
            create_time: made.create_time,
            update_time: made.update_time,
            description: String::new(),
            addresses: vec!["10.0.0.0/8".to_owned(), "2001:db8::1".to_owned()],
            kind: Some(kind),
        };
        assert_eq!(made, expected);
        let header = (made.uid.as_str(), made.etag.as_str(), made.revision);
        assert_header(header, [made.create_time, made.update_time]);
        let get = || pb::GetNetworkRuleRequest { name: rule_name(id) };
        assert_eq!(message(policies.get_network_rule(get()).await), made);
        message(policies.delete_network_rule(world::delete_rule(id)).await);
        refused(policies.get_network_rule(get()).await).is(Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_read_back_is_the_canonical_form() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let given = [
        "10.10.10.10/24",
        "10.10.10.0/24",
        "::ffff:192.168.7.9",
        "::ffff:172.16.0.0/108",
        "2001:DB8:0::1/32",
        "10.0.0.1/32",
        "0.0.0.0/0",
    ];
    let rule = world::new_rule("Network", world::vpc("vpc-1"), &given);
    let rule = message(admin.policies().create_network_rule(rule).await);
    let addresses =
        ["10.10.10.0/24", "192.168.7.9", "172.16.0.0/12", "2001:db8::/32", "10.0.0.1", "0.0.0.0/0"];
    assert_eq!(rule.addresses, addresses);

    let patterns = ["secret/dataKey****", "secret/dataKey*", "secret/*", "secret/a", "secret/a"];
    let mut policy = world::new_policy("RAMPolicy", &patterns, &["Network", "Network"]);
    let wanted = policy.policy.as_mut().unwrap();
    wanted.permissions = vec![pb::PermissionTemplate::SecretUser.into(); 3];
    let policy = message(admin.policies().create_policy(policy).await);
    assert_eq!(policy.resources, ["secret/dataKey*", "secret/*", "secret/a"]);
    assert_eq!(policy.permissions, [i32::from(pb::PermissionTemplate::SecretUser)]);
    let names = vec![rule_name("Network")];
    let rules = NetworkAccess::NetworkRules(pb::NetworkRuleNames { names });
    assert_eq!(policy.network_access, Some(rules));

    let access_point = world::new_access_point("app", &["RAMPolicy", "RAMPolicy"]);
    let access_point = message(admin.access_points().create_access_point(access_point).await);
    assert_eq!(access_point.policies, [policy_name("RAMPolicy")]);

    let server = server.restart().await;
    let admin = server.client(ADMIN);
    let get = pb::GetNetworkRuleRequest { name: rule.name.clone() };
    assert_eq!(message(admin.policies().get_network_rule(get).await), rule);
    let get = pb::GetPolicyRequest { name: policy.name.clone() };
    assert_eq!(message(admin.policies().get_policy(get).await), policy);
    let get = pb::GetAccessPointRequest { name: access_point.name.clone() };
    assert_eq!(message(admin.access_points().get_access_point(get).await), access_point);
    server.stop().await;
}

#[tokio::test]
async fn validate_only_judges_and_changes_nothing() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let mut policies = admin.policies();
    let rule = || {
        let request = world::new_rule("Network", world::vpc("vpc-1"), &["10.10.10.10/24"]);
        let request_id = "rule-1".to_owned();
        pb::CreateNetworkRuleRequest { validate_only: true, request_id, ..request }
    };
    let judged = message(policies.create_network_rule(rule()).await);
    let expected = pb::NetworkRule {
        name: rule_name("Network"),
        addresses: vec!["10.10.10.0/24".to_owned()],
        kind: Some(world::vpc("vpc-1")),
        ..Default::default()
    };
    assert_eq!(judged, expected);
    let get = pb::GetNetworkRuleRequest { name: rule_name("Network") };
    refused(policies.get_network_rule(get).await).is(Code::NotFound, "RESOURCE_NOT_FOUND");
    // Its request id is not taken, and neither is a revision.
    let made = pb::CreateNetworkRuleRequest { validate_only: false, ..rule() };
    assert_eq!(message(policies.create_network_rule(made).await).revision, 1);
    let exists = pb::CreateNetworkRuleRequest { request_id: String::new(), ..rule() };
    refused(policies.create_network_rule(exists).await)
        .is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS");

    let mut policy = world::new_policy("p", &["secret/a"], &["Network"]);
    policy.validate_only = true;
    let judged = message(policies.create_policy(policy.clone()).await);
    assert_eq!((judged.uid.as_str(), judged.etag.as_str(), judged.revision), ("", "", 0));
    assert_eq!((judged.create_time, judged.update_time), (None, None));
    policy.policy.as_mut().unwrap().network_access = None;
    refused(policies.create_policy(policy).await).is(Code::InvalidArgument, "INVALID_FIELDS");
    let mut access_point = world::new_access_point("app", &["p"]);
    access_point.validate_only = true;
    refused(admin.access_points().create_access_point(access_point).await)
        .is(Code::FailedPrecondition, "REFERENCE_NOT_FOUND");

    let delete =
        pb::DeleteNetworkRuleRequest { validate_only: true, ..world::delete_rule("Network") };
    message(policies.delete_network_rule(delete.clone()).await);
    let get = pb::GetNetworkRuleRequest { name: rule_name("Network") };
    message(policies.get_network_rule(get).await);
    let delete = pb::DeleteNetworkRuleRequest { etag: "old".into(), ..delete };
    refused(policies.delete_network_rule(delete).await).is(Code::Aborted, "ETAG_MISMATCH");
    server.stop().await;
}

#[tokio::test]
async fn every_limit_of_a_resource_is_its_last_good_number() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let mut policies = admin.policies();
    let addresses: Vec<_> = (0..801).map(|at| format!("10.{}.{}.1", at / 256, at % 256)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let rule = |count| world::new_rule("Network", world::vpc("vpc-1"), &addresses[..count]);
    for bad in [0, 801] {
        let refusal = refused(policies.create_network_rule(rule(bad)).await);
        assert_eq!(refusal.paths(), ["network_rule.addresses"], "{bad}");
    }
    let made = message(policies.create_network_rule(rule(800)).await);
    assert_eq!(made.addresses.len(), 800);

    let patterns: Vec<_> = (0..31).map(|at| format!("secret/{at}{}", "n".repeat(190))).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    for bad in [0, 31] {
        let request = world::new_policy("p", &patterns[..bad], &[]);
        let refusal = refused(policies.create_policy(request).await);
        assert_eq!(refusal.paths(), ["policy.resources"], "{bad}");
    }
    message(policies.create_policy(world::new_policy("p", &patterns[..30], &[])).await);

    let long = "i".repeat(128);
    message(policies.create_policy(world::new_policy(&long, &["secret/a"], &[])).await);
    let mut described = world::new_policy("described", &["secret/a"], &[]);
    described.policy.as_mut().unwrap().description = "\u{e4}".repeat(1_024);
    message(policies.create_policy(described).await);
    create_policies(&admin, &["q", "r", "s"]).await;
    let access_points =
        [(&["p", "q", "r", "s"][..], false), (&[], false), (&["p", "q", "r"], true)];
    for (held, is_good) in access_points {
        let request = world::new_access_point("app", held);
        let made = admin.access_points().create_access_point(request).await;
        assert_eq!(made.is_ok(), is_good, "{held:?}");
    }
    let longest = world::new_access_point(&long, &[&long]);
    let longest = message(admin.access_points().create_access_point(longest).await);
    assert_eq!(longest.name, format!("{HERE}/accessPoints/{long}"));
    server.stop().await;
}
