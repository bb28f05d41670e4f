//! Access points, policies and network rules over the API: listed, changed, suspended; and checks
//! that demand to see it.

use aap::api::pb;
use prost_types::FieldMask;
use tonic::{Code, Request, Response, Status};

use crate::support::{
    ADMIN, Client, ENFORCER, OTHER_ADMIN, TestServer, refused,
    world::{self, HERE, access_point_name, ask, policy_name, rule_name},
};

#[track_caller]
fn message<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
}

async fn app(admin: &Client) -> pb::AccessPoint {
    let get = pb::GetAccessPointRequest { name: access_point_name("app") };
    message(admin.access_points().get_access_point(get).await)
}

/// The outcome and the reason of the page's question.
async fn answered(enforcer: &Client) -> (pb::Outcome, pb::DecisionReason) {
    let decision = world::answer(enforcer, world::allowed()).await.decision.unwrap();
    (decision.outcome(), decision.reason())
}

#[tokio::test]
async fn a_suspended_access_point_is_denied_until_it_is_resumed() {
    let server = TestServer::start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    world::enter_page_example(&admin).await;
    let before = app(&admin).await;
    let (name, etag) = (before.name.clone(), before.etag.clone());
    let suspend = pb::SuspendAccessPointRequest {
        name: name.clone(),
        etag: etag.clone(),
        request_id: "suspend-1".into(),
        validate_only: false,
    };
    let suspended = message(admin.access_points().suspend_access_point(suspend.clone()).await);
    let expected = pb::AccessPoint {
        state: pb::AccessPointState::Suspended.into(),
        etag: suspended.etag.clone(),
        revision: before.revision + 1,
        update_time: suspended.update_time,
        ..before.clone()
    };
    assert_eq!(suspended, expected);
    let denied = (pb::Outcome::Deny, pb::DecisionReason::AccessPointSuspended);
    assert_eq!(answered(&enforcer).await, denied);

    // Repeated it is answered as before; with the old etag and no id it is refused.
    assert_eq!(message(admin.access_points().suspend_access_point(suspend).await), suspended);
    let resume = pb::ResumeAccessPointRequest { name, etag, ..Default::default() };
    let refusal = refused(admin.access_points().resume_access_point(resume.clone()).await);
    refusal.is(Code::Aborted, "ETAG_MISMATCH").has("etag", &suspended.etag);
    let resume = pb::ResumeAccessPointRequest { etag: suspended.etag, ..resume };
    let resumed = message(admin.access_points().resume_access_point(resume).await);
    assert_eq!(resumed.state(), pb::AccessPointState::Active);
    let granted = (pb::Outcome::Allow, pb::DecisionReason::PolicyGrants);
    assert_eq!(answered(&enforcer).await, granted);

    // It all comes from the journal.
    let server = server.restart().await;
    assert_eq!(app(&server.client(ADMIN)).await, resumed);
    server.stop().await;
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let server = TestServer::start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    world::enter_page_example(&admin).await;
    let get = pb::GetPolicyRequest { name: policy_name("RAMPolicy") };
    let before = message(admin.policies().get_policy(get).await);
    let changed = pb::Policy {
        description: "not named".into(),
        resources: vec!["secret/other".into()],
        scope: "kst-9".into(),
        ..before.clone()
    };
    let mut request = pb::UpdatePolicyRequest {
        policy: Some(changed),
        update_mask: Some(FieldMask { paths: vec!["resources".into()] }),
        request_id: String::new(),
        validate_only: true,
    };
    let judged = message(admin.policies().update_policy(request.clone()).await);
    assert_eq!((judged.resources, judged.revision), (vec!["secret/other".to_owned()], 0));
    assert_eq!(answered(&enforcer).await.0, pb::Outcome::Allow);

    request.validate_only = false;
    let updated = message(admin.policies().update_policy(request).await);
    let expected = pb::Policy {
        resources: vec!["secret/other".into()],
        etag: updated.etag.clone(),
        revision: before.revision + 3,
        update_time: updated.update_time,
        ..before
    };
    assert_eq!(updated, expected);
    let denied = (pb::Outcome::Deny, pb::DecisionReason::ResourceNotCovered);
    assert_eq!(answered(&enforcer).await, denied);
    server.stop().await;
}

#[tokio::test]
async fn a_changed_network_rule_counts_for_the_next_check() {
    let server = TestServer::start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    world::enter_page_example(&admin).await;
    for (addresses, outcome) in
        [("10.0.0.0/8", pb::Outcome::Deny), ("192.168.7.9/32", pb::Outcome::Allow)]
    {
        let rule = pb::NetworkRule {
            name: rule_name("Network"),
            addresses: vec![addresses.into()],
            ..Default::default()
        };
        // Without a mask, what has a value is changed.
        let request =
            pb::UpdateNetworkRuleRequest { network_rule: Some(rule), ..Default::default() };
        let updated = message(admin.policies().update_network_rule(request).await);
        assert_eq!(updated.kind, Some(world::vpc(world::VPC)), "{addresses}");
        assert_eq!(answered(&enforcer).await.0, outcome, "{addresses}");
    }
    server.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_and_by_what_is_used() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    admin.policies().create_policy(world::new_policy("q", &["secret/q"], &[])).await.unwrap();
    for number in 0..5 {
        let policies: &[&str] = if number % 2 == 0 { &["q"] } else { &["q", "RAMPolicy"] };
        let new = world::new_access_point(&format!("b{number}"), policies);
        admin.access_points().create_access_point(new).await.unwrap();
    }
    let mut list = pb::ListAccessPointsRequest {
        parent: HERE.into(),
        page_size: 2,
        policy: policy_name("RAMPolicy"),
        ..Default::default()
    };
    let mut names = Vec::new();
    loop {
        let page = message(admin.access_points().list_access_points(list.clone()).await);
        names.extend(page.access_points.iter().map(|item| item.name.clone()));
        if page.next_page_token.is_empty() {
            break;
        }
        list.page_token = page.next_page_token;
    }
    assert_eq!(names, ["app", "b1", "b3"].map(access_point_name));

    // A token is for the list that gave it.
    let other = pb::ListAccessPointsRequest { policy: policy_name("q"), ..list };
    let refusal = refused(admin.access_points().list_access_points(other).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
    assert_eq!(refusal.paths(), ["page_token"]);

    let list = pb::ListPoliciesRequest {
        parent: HERE.into(),
        network_rule: rule_name("Network"),
        ..Default::default()
    };
    let policies = message(admin.policies().list_policies(list.clone()).await).policies;
    assert_eq!(
        policies.iter().map(|item| &item.name).collect::<Vec<_>>(),
        [&policy_name("RAMPolicy")]
    );
    let refusal = refused(server.client(OTHER_ADMIN).policies().list_policies(list).await);
    refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", HERE);
    server.stop().await;
}

#[tokio::test]
async fn a_check_waits_for_the_revision_that_it_demands() {
    let server = TestServer::start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    world::enter_page_example(&admin).await;
    let revision = app(&admin).await.revision;
    let demand =
        |at_least_revision| pb::CheckAccessRequest { at_least_revision, ..ask(world::allowed()) };
    let there = message(enforcer.authorization().check_access(demand(revision)).await);
    assert_eq!(there.revision, revision);

    // The next revision comes while the check waits for it.
    let mut authorization = enforcer.authorization();
    let waiting = tokio::spawn(async move {
        let mut request = Request::new(demand(revision + 1));
        request.set_timeout(crate::support::server::PATIENCE);
        authorization.check_access(request).await
    });
    let policy = world::new_policy("next", &["secret/a"], &[]);
    admin.policies().create_policy(policy).await.unwrap();
    assert_eq!(message(waiting.await.unwrap()).revision, revision + 1);
    server.stop().await;
}
