//! Snapshots of the state, as an operator meets them: whatever becomes of one, the server starts and
//! answers as before.

use std::{fs, num::NonZeroU64, path::Path};

use aap::{
    api::pb,
    domain::rules::RulesVersion,
    store::{
        data_dir::{DataDir, Identity},
        journal::Journal,
        sled_journal::SledJournal,
        snapshot::Snapshots,
        start::Verification,
    },
};
use uuid::Uuid;

use crate::support::{
    ADMIN, ENFORCER, Setup, TestServer,
    server::PATIENCE,
    world::{self, policy_name},
};

fn snapshot(setup: &Setup) -> std::path::PathBuf {
    setup.data_dir().join("snapshot")
}

/// A request that can be made once, and is remembered.
fn repeatable() -> pb::CreateNetworkRuleRequest {
    let public = pb::network_rule::Kind::PublicNetwork(pb::PublicNetwork {});
    let request = world::new_rule("once", public, &["203.0.113.0/24"]);
    pb::CreateNetworkRuleRequest { request_id: "once".into(), ..request }
}

/// Everything that is asked of a server before and after: a check, a resource, and a request again.
async fn answers(server: &TestServer) -> (pb::Decision, u64, pb::Policy, pb::NetworkRule) {
    let checked = world::answer(&server.client(ENFORCER), world::allowed()).await;
    let mut policies = server.client(ADMIN).policies();
    let get = pb::GetPolicyRequest { name: policy_name("RAMPolicy") };
    let policy = policies.get_policy(get).await.unwrap().into_inner();
    let rule = policies.create_network_rule(repeatable()).await.unwrap().into_inner();
    (checked.decision.unwrap(), checked.revision, policy, rule)
}

/// A server that has something to remember.
async fn with_something() -> TestServer {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server.client(ADMIN).policies().create_network_rule(repeatable()).await.unwrap();
    server
}

#[tokio::test]
async fn a_start_from_a_snapshot_and_one_without_answer_the_same() {
    let server = with_something().await;
    let before = answers(&server).await;
    let mut setup = server.stop().await;
    assert!(snapshot(&setup).exists(), "a clean stop leaves a snapshot");
    for (verification, removed) in [
        (Verification::Quick, false),
        (Verification::Full, false),
        (Verification::Quick, true),
        (Verification::Full, true),
    ] {
        if removed {
            fs::remove_file(snapshot(&setup)).unwrap();
        }
        setup.verification = verification;
        let server = setup.start().await;
        assert_eq!(answers(&server).await, before, "{verification:?}, removed: {removed}");
        setup = server.stop().await;
        // Without a change there is nothing new to write, unless there was none at all.
        assert!(snapshot(&setup).exists());
    }
}

#[tokio::test]
async fn a_damaged_snapshot_is_dropped_and_the_server_answers_as_before() {
    let server = with_something().await;
    let before = answers(&server).await;
    let mut setup = server.stop().await;
    let whole = fs::read(snapshot(&setup)).unwrap();
    let cut = whole[..whole.len() / 2].to_vec();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for bytes in [cut, flipped, Vec::new(), b"something else".to_vec()] {
        fs::write(snapshot(&setup), bytes).unwrap();
        let server = setup.start().await;
        assert_eq!(answers(&server).await, before);
        setup = server.stop().await;
        assert_eq!(fs::read(snapshot(&setup)).unwrap(), whole, "a new one takes its place");
    }
}

/// Waits until there is a snapshot.
async fn wait_for(path: &Path) {
    let there = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.expect("a snapshot is written");
}

#[tokio::test]
async fn a_running_server_writes_a_snapshot_after_so_many_changes() {
    let mut setup = Setup::new();
    setup.snapshot_every = NonZeroU64::new(3).unwrap();
    let path = snapshot(&setup);
    let server = setup.start().await;
    assert!(!path.exists());
    world::enter_page_example(&server.client(ADMIN)).await;
    wait_for(&path).await;
    let another = world::new_policy("p", &["secret/p"], &[]);
    let made = server.client(ADMIN).policies().create_policy(another).await.unwrap();
    assert_eq!(made.into_inner().revision, 5);
    let setup = server.stop().await;
    // The stop's own snapshot has the last change.
    let new = Identity { node_id: Uuid::nil(), log_id: Uuid::nil(), origin: String::new() };
    let data_dir = DataDir::open(&setup.data_dir(), &new).unwrap();
    let journal = SledJournal::open(&setup.data_dir().join("journal")).unwrap();
    let snapshots = Snapshots::of(&data_dir);
    let read = snapshots.read(journal.reader().as_ref(), 5, RulesVersion::CURRENT);
    assert_eq!(read.unwrap().unwrap().revision(), 5);
}
