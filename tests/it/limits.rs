//! How much an account may have, over the API.

use aap::domain::limits::Limits;
use tonic::Code;

use crate::support::{
    ADMIN, OTHER_ADMIN, Setup, refused,
    world::{self, THERE},
};

#[tokio::test]
async fn an_account_has_as_much_as_it_may_and_a_lower_limit_takes_nothing_away() {
    let limits = Limits { network_rules: 3, ..Limits::default() };
    let server = Setup { limits, ..Setup::new() }.start().await;
    let rule = |id: &str| world::new_rule(id, world::vpc("vpc-1"), &["10.0.0.0/8"]);
    let mut admin = server.client(ADMIN).policies();
    for id in ["a", "b", "c"] {
        admin.create_network_rule(rule(id)).await.unwrap();
    }
    let refusal = refused(admin.create_network_rule(rule("d")).await);
    refusal
        .is(Code::ResourceExhausted, "LIMIT_REACHED")
        .has("account", "acme")
        .has("kind", "network rules")
        .has("limit", "3");
    let mut theirs = rule("d");
    theirs.parent = THERE.into();
    server.client(OTHER_ADMIN).policies().create_network_rule(theirs).await.unwrap();

    let setup = server.stop().await;
    let limits = Limits { network_rules: 1, ..Limits::default() };
    let server = Setup { limits, ..setup }.start().await;
    let mut admin = server.client(ADMIN).policies();
    admin.delete_network_rule(world::delete_rule("a")).await.unwrap();
    // Two are left, which is more than one.
    refused(admin.create_network_rule(rule("d")).await)
        .is(Code::ResourceExhausted, "LIMIT_REACHED")
        .has("limit", "1");
    for id in ["b", "c"] {
        admin.delete_network_rule(world::delete_rule(id)).await.unwrap();
    }
    admin.create_network_rule(rule("d")).await.unwrap();
    server.stop().await;
}
