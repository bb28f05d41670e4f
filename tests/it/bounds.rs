//! Enforcers with bounds: believed about origins and instances as far as their configuration goes.

use aap::api::pb;
use tonic::Code;

use crate::support::{
    ADMIN, AUDITOR, BOUNDED, TestServer, refused,
    watching::{self, Watch},
    world::{self, INSIDE, ask, ask_all, from_vpc},
};

fn from(network: pb::origin::Network) -> pb::Check {
    let origin = pb::Origin { network: Some(network), address: INSIDE.into() };
    pb::Check { origin: Some(origin), ..world::allowed() }
}

#[tokio::test]
async fn an_enforcer_asks_what_it_may_vouch_for_and_nothing_else() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let bounded = server.client(BOUNDED);
    world::allow(&bounded).await;
    // What isn't reported vouches for nothing, and is denied by the policies.
    let unreported = pb::Check { origin: None, ..world::allowed() };
    let decision = world::answer(&bounded, unreported).await.decision.unwrap();
    assert_eq!(decision.reason(), pb::DecisionReason::NetworkNotAllowed);
    let public = from(pb::origin::Network::PublicNetwork(pb::PublicNetwork {}));
    let decision = world::answer(&bounded, public).await.decision.unwrap();
    assert_eq!(decision.reason(), pb::DecisionReason::NetworkNotAllowed);

    let private = from(pb::origin::Network::PrivateNetwork(pb::PrivateNetwork {}));
    let elsewhere = pb::Check { origin: Some(from_vpc("vpc-2", INSIDE)), ..world::allowed() };
    let instance = pb::Check { instance: "kst-1".into(), ..world::allowed() };
    let mut authorization = bounded.authorization();
    for (check, bound, value) in [
        (private, "origin_networks", "private"),
        (elsewhere, "vpc_ids", "vpc-2"),
        (instance, "instances", "kst-1"),
    ] {
        let refusal = refused(authorization.check_access(ask(check.clone())).await);
        refusal.is(Code::PermissionDenied, "ENFORCER_BOUNDS_EXCEEDED");
        refusal.has("caller", BOUNDED).has("bound", bound).has("value", value);
        // In a batch, the first one refuses all of them, and nothing is decided.
        let batch = ask_all(vec![world::allowed(), check.clone(), check]);
        let refusal = refused(authorization.batch_check_access(batch).await);
        refusal.is(Code::PermissionDenied, "ENFORCER_BOUNDS_EXCEEDED").has("check", "1");
    }
    // Recorded without waiting, but before this one.
    let sequence = world::allow(&bounded).await.sequence;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(sequence).await;
    let refusals = records.iter().filter_map(watching::refused_call_of);
    let reasons: Vec<_> = refusals.map(|refused| refused.reason.clone()).collect();
    assert_eq!(reasons, ["ERROR_REASON_ENFORCER_BOUNDS_EXCEEDED"; 6]);
    server.stop().await;
}
