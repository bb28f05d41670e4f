//! Callers: what each role may do.

use aap::api::pb;
use tonic::Code;

use crate::support::{
    ADMIN, TestServer, VIEWER, refused,
    world::{self, HERE, THERE},
};

#[tokio::test]
async fn a_viewer_reads_what_an_admin_manages_and_changes_nothing() {
    let server = TestServer::start().await;
    let (admin, viewer) = (server.client(ADMIN), server.client(VIEWER));
    world::enter_page_example(&admin).await;
    let get = pb::GetPolicyRequest { name: world::policy_name("RAMPolicy") };
    let read = viewer.policies().get_policy(get.clone()).await.unwrap().into_inner();
    assert_eq!(read, admin.policies().get_policy(get).await.unwrap().into_inner());
    let list =
        |parent: &str| pb::ListAccessPointsRequest { parent: parent.into(), ..Default::default() };
    let listed = viewer.access_points().list_access_points(list(HERE)).await.unwrap().into_inner();
    assert_eq!(listed.access_points.len(), 1);
    let foreign = refused(viewer.access_points().list_access_points(list(THERE)).await);
    foreign.is(Code::NotFound, "RESOURCE_NOT_FOUND");
    let judged = pb::CreatePolicyRequest {
        validate_only: true,
        ..world::new_policy("p", &["secret/a"], &[])
    };
    let refusal = refused(viewer.policies().create_policy(judged).await);
    refusal.is(Code::PermissionDenied, "ROLE_NOT_SUFFICIENT");
    refusal.has("caller", VIEWER).has("role", "viewer").has("required_role", "admin");
    server.stop().await;
}
