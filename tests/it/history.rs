//! What was changed, when and by whom: listed, and followed.

use aap::api::pb::{self, change::Change, watch_changes_request::Start};
use tonic::Code;

use crate::support::{
    ADMIN, Client, OTHER_ADMIN, Refusal, SECOND_ADMIN, TestServer,
    following::Changes,
    refused,
    world::{self, THERE, policy_name},
};

const ACME: &str = "accounts/acme";
const OTHER: &str = "accounts/other";
/// All accounts that a caller is bound to.
const MINE: &str = "accounts/-";

fn list(parent: &str) -> pb::ListChangesRequest {
    pb::ListChangesRequest { parent: parent.into(), ..Default::default() }
}

async fn listed(client: &Client, request: pb::ListChangesRequest) -> pb::ListChangesResponse {
    client.changes().list_changes(request).await.unwrap().into_inner()
}

/// Revision, actor and request id of each.
fn lines(changes: &[pb::Change]) -> Vec<String> {
    let line = |change: &pb::Change| {
        assert!(change.change_time.is_some() && change.change.is_some(), "{change:?}");
        format!("{} {} {}", change.revision, change.actor, change.request_id)
    };
    changes.iter().map(line).collect()
}

/// The page's example, a policy that another admin creates and deletes, and another account's.
async fn enter_history(server: &TestServer) {
    world::enter_page_example(&server.client(ADMIN)).await;
    let second = server.client(SECOND_ADMIN);
    let mut policy = world::new_policy("p", &["secret/a"], &[]);
    policy.request_id = "create-p".into();
    second.policies().create_policy(policy).await.unwrap();
    let mut policy = world::new_policy("theirs", &["secret/a"], &[]);
    policy.parent = THERE.into();
    server.client(OTHER_ADMIN).policies().create_policy(policy).await.unwrap();
    second.policies().delete_policy(world::delete_policy("p")).await.unwrap();
}

#[tokio::test]
async fn the_changes_of_an_account_are_listed_the_last_one_first() {
    let server = TestServer::start().await;
    enter_history(&server).await;
    let admin = server.client(ADMIN);
    let all = listed(&admin, list(ACME)).await;
    let by_all = [
        "7 second-admin ",
        "5 second-admin create-p",
        "4 admin ",
        "3 admin ",
        "2 admin ",
        "1 admin ",
    ];
    assert_eq!(lines(&all.changes), by_all);
    assert_eq!(all.next_page_token, "");
    let Some(Change::PolicyDeleted(gone)) = &all.changes[0].change else { panic!() };
    let Some(Change::PolicyCreated(made)) = &all.changes[1].change else { panic!() };
    assert_eq!((&gone.name, &gone.uid), (&made.name, &made.uid));
    assert_eq!(listed(&server.client(OTHER_ADMIN), list(OTHER)).await.changes.len(), 1);

    let of_p = pb::ListChangesRequest { resource: policy_name("p"), ..list(ACME) };
    assert_eq!(lines(&listed(&admin, of_p).await.changes), [by_all[0], by_all[1]]);

    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListChangesRequest { page_size: 2, page_token: token, ..list(ACME) };
        let page = listed(&admin, request).await;
        pages.extend(lines(&page.changes));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, by_all);
    server.stop().await;
}

#[tokio::test]
async fn a_list_of_changes_is_asked_for_by_who_may_and_in_its_own_words() {
    let server = TestServer::start().await;
    enter_history(&server).await;
    let admin = server.client(ADMIN);
    for parent in [OTHER, "accounts/nobody"] {
        let refusal = refused(admin.changes().list_changes(list(parent)).await);
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", parent);
    }
    let first = pb::ListChangesRequest { page_size: 1, ..list(ACME) };
    let token = listed(&admin, first).await.next_page_token;
    for (request, path) in [
        (list("acme"), "parent"),
        (list(MINE), "parent"),
        (pb::ListChangesRequest { page_size: -1, ..list(ACME) }, "page_size"),
        (pb::ListChangesRequest { page_token: "x".into(), ..list(ACME) }, "page_token"),
        (
            pb::ListChangesRequest { page_token: token, resource: policy_name("p"), ..list(ACME) },
            "page_token",
        ),
        (pb::ListChangesRequest { resource: "p".into(), ..list(ACME) }, "resource"),
        (
            pb::ListChangesRequest { resource: format!("{THERE}/policies/p"), ..list(ACME) },
            "resource",
        ),
    ] {
        let refusal = refused(admin.changes().list_changes(request).await);
        assert_eq!(refusal.is(Code::InvalidArgument, "INVALID_FIELDS").paths(), [path]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watch_has_every_change_once_in_order_also_across_a_restart() {
    let server = TestServer::start().await;
    enter_history(&server).await;
    let admin = server.client(ADMIN);
    let mut watch = Changes::from(&admin, ACME, 2).await;
    let before = watch.all_through(7).await;
    assert_eq!(
        lines(&before),
        ["2 admin ", "3 admin ", "4 admin ", "5 second-admin create-p", "7 second-admin "]
    );
    let mut end = Changes::from_end(&admin, MINE).await;
    let policy = world::new_policy("q", &["secret/a"], &[]);
    let made = admin.policies().create_policy(policy).await.unwrap().into_inner();
    for watch in [&mut watch, &mut end] {
        let change = watch.next().await;
        assert_eq!(change.change, Some(Change::PolicyCreated(made.clone())));
    }
    let through = watch.through;
    drop((watch, end));

    let server = server.restart().await;
    let admin = server.client(ADMIN);
    let mut again = Changes::from(&admin, ACME, 2).await;
    for change in before {
        assert_eq!(again.next().await, change);
    }
    assert_eq!(again.next().await.revision, through);
    let mut resumed = Changes::from(&admin, ACME, through + 1).await;
    admin.policies().delete_policy(world::delete_policy("q")).await.unwrap();
    assert_eq!(resumed.next().await.revision, through + 1);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_sees_the_accounts_that_its_caller_is_bound_to() {
    let server = TestServer::start().await;
    enter_history(&server).await;
    let other = server.client(OTHER_ADMIN);
    for parent in [OTHER, MINE] {
        let mut watch = Changes::from(&other, parent, 1).await;
        assert_eq!(lines(&watch.all_through(7).await), ["6 other-admin "], "{parent}");
    }
    let start = || Start::FromRevision(1);
    for parent in [ACME, "accounts/nobody"] {
        let refusal = Refusal::of(&Changes::begin(&other, parent, start()).await.unwrap_err());
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", parent);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watch_begins_where_the_journal_is() {
    let server = TestServer::start().await;
    enter_history(&server).await;
    let admin = server.client(ADMIN);
    let begin = |start| Changes::begin(&admin, ACME, Start::FromRevision(start));
    assert_eq!(begin(8).await.unwrap().through, 7);
    let refusal = Refusal::of(&begin(9).await.unwrap_err());
    refusal.is(Code::OutOfRange, "SEQUENCE_OUT_OF_RANGE").has("last", "7").has("first", "1");
    let refusal = Refusal::of(&begin(0).await.unwrap_err());
    assert_eq!(refusal.is(Code::InvalidArgument, "INVALID_FIELDS").paths(), ["from_revision"]);
    let request = pb::WatchChangesRequest { parent: ACME.into(), start: None, form: 0 };
    let refusal = refused(admin.changes().watch_changes(request).await);
    assert_eq!(refusal.is(Code::InvalidArgument, "INVALID_FIELDS").paths(), ["start"]);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_watcher_loses_nothing_and_holds_up_nobody() {
    const CHANGES: u64 = 400;
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let mut slow = Changes::from(&server.client_apart(ADMIN), ACME, 1).await;
    // As large as they may be, so that no connection holds all of them.
    let mut policy = world::new_policy("p", &["secret/a"], &[]);
    policy.policy.as_mut().unwrap().description = "\u{10ffff}".repeat(1_024);
    let made = admin.policies().create_policy(policy).await.unwrap().into_inner();
    for number in 1..CHANGES {
        let patch = pb::Policy {
            name: made.name.clone(),
            resources: vec![format!("secret/{number}")],
            ..Default::default()
        };
        let update = pb::UpdatePolicyRequest { policy: Some(patch), ..Default::default() };
        admin.policies().update_policy(update).await.unwrap();
    }
    let revisions: Vec<_> =
        slow.all_through(CHANGES).await.iter().map(|change| change.revision).collect();
    assert_eq!(revisions, (1..=CHANGES).collect::<Vec<_>>());
    server.stop().await;
}
