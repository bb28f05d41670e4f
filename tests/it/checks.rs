//! Checks over the API: the page's example, receipts, batches, and who may ask.

use std::collections::BTreeSet;

use aap::api::pb::{self, DecisionReason as Reason, Outcome, check::Subject, origin::Network};
use ring::digest::{Context, SHA256};
use tonic::Code;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, ENFORCER, GATEWAY, OTHER_ENFORCER, Setup, TestServer, refused,
    watching::{self, Watch},
    world::{self, HERE, INSIDE, THERE, VPC, answer, ask, ask_all, from_vpc, question},
};

#[tokio::test]
async fn the_pages_example_allows_its_application_from_its_network() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    for (resource, address) in [
        ("secret/dataKey", "192.168.0.0"),
        ("secret/dataKey1", INSIDE),
        ("secret/dataKey/a/b", "192.168.255.255"),
        ("secret/dataKey1", "::ffff:192.168.7.9"),
    ] {
        let check = pb::Check { origin: Some(from_vpc(VPC, address)), ..question(resource) };
        let answered = answer(&enforcer, check).await;
        let decision = pb::Decision {
            outcome: Outcome::Allow.into(),
            reason: Reason::PolicyGrants.into(),
            policy: world::policy_name("RAMPolicy"),
            network_rule: world::rule_name("Network"),
            nearest_policy: String::new(),
            rules_version: 1,
        };
        assert_eq!((answered.decision, answered.revision), (Some(decision), 4), "{resource}");
    }
    server.stop().await;
}

/// Questions that the page's example denies, each for its reason.
fn denied() -> Vec<(pb::Check, Reason)> {
    let public = Network::PublicNetwork(pb::PublicNetwork {});
    let nobody = Subject::AccessPoint(world::access_point_name("nobody"));
    let theirs = Subject::AccessPoint(format!("{THERE}/accessPoints/app"));
    let origin = |origin| pb::Check { origin, ..world::allowed() };
    vec![
        (pb::Check { subject: Some(nobody), ..world::allowed() }, Reason::AccessPointNotFound),
        (pb::Check { subject: Some(theirs), ..world::allowed() }, Reason::AccessPointNotFound),
        (pb::Check { instance: "kst-1".into(), ..world::allowed() }, Reason::ScopeNotCovered),
        (pb::Check { action: "Decrypt".into(), ..world::allowed() }, Reason::ActionNotPermitted),
        (pb::Check { action: "NewAction".into(), ..world::allowed() }, Reason::ActionNotPermitted),
        (question("key/dataKey1"), Reason::ActionNotPermitted),
        (question("secret/dataKe"), Reason::ResourceNotCovered),
        (question("secret/dataKey*"), Reason::ResourceNotCovered),
        (question("secret/dataKey\u{e4}"), Reason::ResourceNotCovered),
        (origin(Some(from_vpc(VPC, "192.169.0.0"))), Reason::NetworkNotAllowed),
        (origin(Some(from_vpc(VPC, ""))), Reason::NetworkNotAllowed),
        (origin(Some(from_vpc("vpc-2", INSIDE))), Reason::NetworkNotAllowed),
        (
            origin(Some(pb::Origin { network: Some(public), address: INSIDE.into() })),
            Reason::NetworkNotAllowed,
        ),
        (
            origin(Some(pb::Origin { network: None, address: INSIDE.into() })),
            Reason::NetworkNotAllowed,
        ),
        (origin(None), Reason::NetworkNotAllowed),
    ]
}

#[tokio::test]
async fn the_pages_example_denies_everything_else_and_says_why() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let enforcer = server.client(ENFORCER);
    for (check, reason) in denied() {
        let answered = answer(&enforcer, check.clone()).await;
        let decision = answered.decision.unwrap();
        assert_eq!(
            (decision.outcome(), decision.reason()),
            (Outcome::Deny, reason),
            "{check:?}: {decision:?}"
        );
        assert_eq!((decision.policy.as_str(), decision.network_rule.as_str()), ("", ""));
        let by_policies = reason > Reason::AccessPointSuspended;
        assert_eq!(decision.nearest_policy == world::policy_name("RAMPolicy"), by_policies);
        assert!(answered.receipt.unwrap().durable, "a deny is recorded like an allow");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_receipt_names_the_record_and_its_leaf_hash() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let (enforcer, auditor) = (server.client(ENFORCER), server.client(AUDITOR));
    let request = pb::CheckAccessRequest { request_id: "word-1".into(), ..ask(world::allowed()) };
    let answered = enforcer.authorization().check_access(request).await.unwrap().into_inner();
    let receipt = answered.receipt.unwrap();
    assert!(receipt.durable);

    let entry = watching::stored(&auditor, receipt.sequence).await.unwrap();
    let mut hash = Context::new(&SHA256);
    hash.update(&[0]);
    hash.update(watching::bytes(&entry));
    assert_eq!(hash.finish().as_ref(), &receipt.leaf_hash[..]);
    assert_eq!(entry.leaf_hash, receipt.leaf_hash);

    let mut watch = Watch::from(&auditor, receipt.sequence).await;
    let record = watch.next_record().await;
    assert_eq!((record.sequence, &record.log_id), (receipt.sequence, &receipt.log_id));
    assert_eq!((record.account.as_str(), record.region.as_str()), ("acme", "eu-1"));
    assert_eq!((record.caller.as_str(), record.request_id.as_str()), (ENFORCER, "word-1"));
    assert!(record.peer.starts_with("127.0.0.1:") && record.nonce.len() == 16, "{record:?}");
    let asked = world::allowed();
    let check = watching::check_of(&record).unwrap();
    assert_eq!(check.access_point, world::access_point_name("app"));
    assert_eq!(
        (&check.action, &check.resource, &check.instance, &check.origin),
        (&asked.action, &asked.resource, &asked.instance, &asked.origin)
    );
    assert_eq!((&check.decision, check.revision), (&answered.decision, answered.revision));
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn the_sequences_of_receipts_are_distinct_and_dense() {
    let server = Setup { listeners: 2, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut asking = tokio::task::JoinSet::new();
    for caller in 0..4 {
        let enforcer = server.client_apart(ENFORCER);
        asking.spawn(async move {
            let mut sequences = Vec::new();
            for size in [1, 3, 1, 20] {
                let checks = vec![world::allowed(); size + caller];
                let answers = enforcer.authorization().batch_check_access(ask_all(checks)).await;
                let results = answers.unwrap().into_inner().results;
                sequences.extend(results.iter().map(|one| one.receipt.as_ref().unwrap().sequence));
                sequences.push(world::allow(&enforcer).await.sequence);
            }
            sequences
        });
    }
    let sequences = asking.join_all().await.concat();
    let distinct: BTreeSet<_> = sequences.iter().copied().collect();
    assert_eq!(distinct.len(), sequences.len());
    let (first, last) = (distinct.first().unwrap(), distinct.last().unwrap());
    assert_eq!(last - first + 1, distinct.len() as u64, "nothing else was recorded meanwhile");
    server.stop().await;
}

#[tokio::test]
async fn a_batch_is_answered_in_order_at_one_revision() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let mut enforcer = server.client(ENFORCER).authorization();
    for size in [1, 2, 1_000] {
        let checks = (0..size).map(|place| match place % 2 {
            0 => question(&format!("secret/dataKey{place}")),
            _ => question("secret/other"),
        });
        let answer = enforcer.batch_check_access(ask_all(checks.collect())).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!((answer.results.len(), answer.revision), (size, 4));
        let first = answer.results[0].receipt.as_ref().unwrap().sequence;
        for (place, result) in answer.results.iter().enumerate() {
            let receipt = result.receipt.as_ref().unwrap();
            assert_eq!((receipt.sequence, receipt.durable), (first + place as u64, true));
            let wanted = if place % 2 == 0 { Outcome::Allow } else { Outcome::Deny };
            assert_eq!(result.decision.as_ref().unwrap().outcome(), wanted, "{place}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_batch_has_one_to_a_thousand_checks() {
    let server = TestServer::start().await;
    let mut enforcer = server.client(ENFORCER).authorization();
    for size in [0, 1_001, 10_001] {
        let checks = ask_all(vec![world::allowed(); size]);
        let refusal = refused(enforcer.batch_check_access(checks).await);
        refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
        let description = format!("must have 1 to 1,000 checks, not {size}");
        assert_eq!(refusal.fields, [("checks".to_owned(), description)]);
    }
    server.stop().await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_check_is_said_at_once() {
    let server = TestServer::start().await;
    let mut enforcer = server.client(ENFORCER).authorization();
    let wrong = pb::Check {
        subject: None,
        action: "Get Secret".into(),
        resource: "x".repeat(513),
        instance: String::new(),
        origin: Some(from_vpc("-", "nowhere")),
    };
    let request = pb::CheckAccessRequest {
        parent: HERE.into(),
        check: Some(wrong.clone()),
        request_id: "two words".into(),
        ..Default::default()
    };
    let refusal = refused(enforcer.check_access(request).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS").has("violations", "7");
    let fields = [
        "request_id",
        "check.subject",
        "check.action",
        "check.resource",
        "check.instance",
        "check.origin.vpc_network.vpc_id",
        "check.origin.address",
    ];
    assert_eq!(refusal.paths(), fields);
    let refusal = refused(
        enforcer.batch_check_access(ask_all(vec![world::allowed(), wrong, world::allowed()])).await,
    );
    let in_batch = fields[1..].iter().map(|field| field.replace("check.", "checks[1]."));
    assert_eq!(refusal.paths(), in_batch.collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn every_change_is_seen_by_the_check_after_it() {
    let server = TestServer::start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    world::enter_page_example(&admin).await;
    let mut access_points = admin.access_points();
    for _ in 0..5 {
        let deleted = access_points.delete_access_point(world::delete_access_point("app")).await;
        deleted.unwrap();
        let decision = answer(&enforcer, world::allowed()).await.decision.unwrap();
        assert_eq!(decision.reason(), Reason::AccessPointNotFound);
        let made = world::new_access_point("app", &["RAMPolicy"]);
        let made = access_points.create_access_point(made).await.unwrap().into_inner();
        let answered = answer(&enforcer, world::allowed()).await;
        assert_eq!(answered.revision, made.revision);
        assert_eq!(answered.decision.unwrap().outcome(), Outcome::Allow);
    }
    server.stop().await;
}

#[tokio::test]
async fn only_enforcers_of_the_account_who_may_name_access_points_are_answered() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let cases = [
        (ADMIN, "ROLE_NOT_SUFFICIENT"),
        (AUDITOR, "ROLE_NOT_SUFFICIENT"),
        (ACME_AUDITOR, "ROLE_NOT_SUFFICIENT"),
        (OTHER_ENFORCER, "ACCOUNT_NOT_BOUND"),
        (GATEWAY, "IDENTITY_ASSERTION_NOT_ALLOWED"),
    ];
    for (caller, reason) in cases {
        let mut client = server.client(caller).authorization();
        let refusal = refused(client.check_access(ask(world::allowed())).await);
        refusal.is(Code::PermissionDenied, reason).has("caller", caller);
        let batch = vec![world::allowed()];
        let refusal = refused(client.batch_check_access(ask_all(batch)).await);
        refusal.is(Code::PermissionDenied, reason).has("caller", caller);
    }

    let mut watch = Watch::from(&server.client(AUDITOR), 1).await;
    for (caller, reason) in cases {
        for method in ["CheckAccess", "BatchCheckAccess"] {
            let record = loop {
                let record = watch.next_record().await;
                if watching::refused_call_of(&record).is_some() {
                    break record;
                }
            };
            let expected = pb::RefusedCallEvent {
                method: format!("/aap.v1.AuthorizationService/{method}"),
                code: Code::PermissionDenied.into(),
                reason: format!("ERROR_REASON_{reason}"),
                suppressed: 0,
            };
            assert_eq!(watching::refused_call_of(&record), Some(&expected));
            assert_eq!((record.caller.as_str(), record.account.as_str()), (caller, ""));
        }
    }
    drop(watch);
    server.stop().await;
}
