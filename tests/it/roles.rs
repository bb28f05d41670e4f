//! RAM roles over the API: imported, read, listed, changed and deleted, and what becomes of the access
//! points that authenticate by them.

use aap::api::pb::{
    self, access_point::Authentication, change::Change, requested_change::Change as Requested,
};
use tonic::{Code, Response, Status};

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, TestServer, refused,
    watching::{Watch, check_of},
    world::{self, access_point_name, role_name},
};

const ACME: &str = "accounts/acme";

#[track_caller]
fn message<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
}

async fn created(admin: &Client, id: &str, services: &[&str]) -> pb::RamRole {
    message(admin.ram_roles().create_ram_role(world::new_role(id, services)).await)
}

/// What a role is said to be trusted for, by type.
fn trusts(role: &pb::RamRole) -> Vec<(pb::TrustedRole, pb::RoleTrustState, &str, &str)> {
    let told = |trust: &'_ pb::RoleTrust| (trust.trusted_role(), trust.state());
    role.trusts
        .iter()
        .map(|trust| (told(trust).0, told(trust).1, &*trust.element, &*trust.obstacle))
        .collect()
}

#[tokio::test]
async fn a_role_is_imported_read_and_deleted() {
    use pb::{RoleTrustState as State, TrustedRole as Type};
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    let mut request = world::new_role("ECSRole", &["ecs"]);
    let wanted = request.ram_role.as_mut().unwrap();
    // As an operator's file has it: nothing of it is changed.
    let document = wanted.trust_policy.replace("\":", "\": ").replace(',', ",\n ") + "\n";
    wanted.trust_policy.clone_from(&document);
    wanted.description = "Instances".into();
    wanted.uid = "mine".into();
    wanted.trusts = vec![pb::RoleTrust::default()];
    let made = message(admin.ram_roles().create_ram_role(request).await);
    assert_eq!((&*made.name, &*made.description), ("accounts/acme/ramRoles/ECSRole", "Instances"));
    assert_eq!((made.trust_policy.as_str(), made.revision), (document.as_str(), 1));
    let (element, obstacle) = ("Statement[0].Principal", "doesn't name `fc.aliyuncs.com`");
    let expected = [
        (Type::EcsInstance, State::Trusted, "", ""),
        (Type::AckWorker, State::Trusted, "", ""),
        (Type::FunctionCompute, State::NotTrusted, element, obstacle),
    ];
    assert_eq!(trusts(&made), expected);
    let get = || pb::GetRamRoleRequest { name: role_name("ECSRole") };
    assert_eq!(message(admin.ram_roles().get_ram_role(get()).await), made);
    refused(admin.ram_roles().create_ram_role(world::new_role("ECSRole", &["fc"])).await)
        .is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS");

    let server = server.restart().await;
    let mut roles = server.client(ADMIN).ram_roles();
    assert_eq!(message(roles.get_ram_role(get()).await), made);
    let delete = |etag: &str| pb::DeleteRamRoleRequest {
        etag: etag.into(),
        ..world::delete_role("ECSRole")
    };
    refused(roles.delete_ram_role(delete("old")).await).is(Code::Aborted, "ETAG_MISMATCH");
    message(roles.delete_ram_role(delete(&made.etag)).await);
    refused(roles.get_ram_role(get()).await).is(Code::NotFound, "RESOURCE_NOT_FOUND");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_document_is_refused_and_what_is_not_understood_is_not_trusted() {
    let server = TestServer::start().await;
    let mut roles = server.client(ADMIN).ram_roles();
    let request = |document: &str| {
        let mut request = world::new_role("r", &["ecs"]);
        request.ram_role.as_mut().unwrap().trust_policy = document.into();
        request.validate_only = true;
        request
    };
    let long = format!("{{{}}}", " ".repeat(6_143));
    for document in ["", "null", "[]", "{", "{\"a\":1,\"a\":1}", &"[".repeat(6_000), &long] {
        let refusal = refused(roles.create_ram_role(request(document)).await);
        refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(refusal.paths(), ["ram_role.trust_policy"], "{document}");
    }
    let with_condition =
        world::trust_policy(&["ecs", "fc"]).replace("\"Effect\"", "\"Condition\":{},\"Effect\"");
    for (document, element) in [("{}", "Version"), (&*with_condition, "Statement[0].Condition")] {
        let judged = message(roles.create_ram_role(request(document)).await);
        for (_, state, named, obstacle) in trusts(&judged) {
            assert_eq!((state, named), (pb::RoleTrustState::NotTrusted, element), "{obstacle}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn roles_are_listed_in_pages_and_by_what_they_are_trusted_for() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    for (number, services) in [&["ecs"][..], &["fc"], &["ecs", "fc"], &["oss"]].iter().enumerate() {
        created(&admin, &format!("r{number}"), services).await;
    }
    let mut names = Vec::new();
    let mut list = pb::ListRamRolesRequest {
        parent: ACME.into(),
        page_size: 1,
        trusted_role: pb::TrustedRole::FunctionCompute.into(),
        ..Default::default()
    };
    loop {
        let page = message(admin.ram_roles().list_ram_roles(list.clone()).await);
        names.extend(page.ram_roles.into_iter().map(|role| role.name));
        if page.next_page_token.is_empty() {
            break;
        }
        list.page_token = page.next_page_token;
    }
    assert_eq!(names, ["r1", "r2"].map(role_name));
    let all = pb::ListRamRolesRequest { parent: ACME.into(), ..Default::default() };
    assert_eq!(message(admin.ram_roles().list_ram_roles(all.clone()).await).ram_roles.len(), 4);
    let wrong = pb::ListRamRolesRequest { trusted_role: 9, page_size: -1, ..all };
    let refusal = refused(admin.ram_roles().list_ram_roles(wrong).await);
    assert_eq!(refusal.paths(), ["page_size", "trusted_role"]);
    server.stop().await;
}

/// The reason of the page's question.
async fn reason(enforcer: &Client) -> pb::DecisionReason {
    world::answer(enforcer, world::allowed()).await.decision.unwrap().reason()
}

#[tokio::test]
async fn an_access_point_is_granted_something_only_while_its_role_trusts_its_environment() {
    use pb::DecisionReason::{PolicyGrants, RoleNotTrusted};
    let server = TestServer::start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    world::enter_page_example(&admin).await;
    assert_eq!(reason(&enforcer).await, PolicyGrants);
    // A narrowed role is not refused, although an access point holds it.
    let narrowed = world::update_role("ECSRole", &["fc"]);
    let updated = message(admin.ram_roles().update_ram_role(narrowed).await);
    let denied = world::answer(&enforcer, world::allowed()).await;
    assert_eq!(denied.revision, updated.revision);
    let decision = denied.decision.unwrap();
    assert_eq!((decision.outcome(), decision.reason()), (pb::Outcome::Deny, RoleNotTrusted));
    assert_eq!(decision.nearest_policy, "");
    // The same is in the log.
    let sequence = denied.receipt.unwrap().sequence;
    let records = Watch::from(&server.client(AUDITOR), 1).await.records_through(sequence).await;
    let recorded = check_of(records.last().unwrap()).unwrap();
    assert_eq!(recorded.decision, Some(decision));

    let server = server.restart().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    assert_eq!(reason(&enforcer).await, RoleNotTrusted);
    message(admin.ram_roles().update_ram_role(world::update_role("ECSRole", &["ecs"])).await);
    assert_eq!(reason(&enforcer).await, PolicyGrants);

    let refusal = refused(admin.ram_roles().delete_ram_role(world::delete_role("ECSRole")).await);
    refusal.is(Code::FailedPrecondition, "RESOURCE_IN_USE").has("holders", "1");
    assert_eq!(refusal.subjects(), [access_point_name("app")]);
    message(admin.access_points().delete_access_point(world::delete_access_point("app")).await);
    message(admin.ram_roles().delete_ram_role(world::delete_role("ECSRole")).await);
    server.stop().await;
}

#[tokio::test]
async fn an_access_point_by_a_role_that_does_not_trust_it_is_not_created() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    created(&admin, "FCRole", &["fc"]).await;
    let mut request = world::new_access_point("new", &["RAMPolicy"]);
    request.access_point.as_mut().unwrap().authentication = Some(world::ecs_role("FCRole"));
    let refusal = refused(admin.access_points().create_access_point(request).await);
    refusal
        .is(Code::FailedPrecondition, "ROLE_NOT_TRUSTED")
        .has("role", &role_name("FCRole"))
        .has("trusted_role", "ECS_INSTANCE")
        .has("element", "Statement[0].Principal");
    assert_eq!(refusal.subjects(), [role_name("FCRole")]);
    server.stop().await;
}

#[tokio::test]
async fn roles_and_who_needs_them_are_changed_together() {
    let server = TestServer::start().await;
    let admin = server.client(ADMIN);
    world::enter_page_example(&admin).await;
    let mut node = world::new_access_point("node", &["RAMPolicy"]);
    let mut by_role = world::ecs_role("Workers");
    if let Authentication::RamRole(role) = &mut by_role {
        role.trusted_role = pb::TrustedRole::AckWorker.into();
    }
    node.access_point.as_mut().unwrap().authentication = Some(by_role);
    let mut blind = world::update_role("ECSRole", &[]);
    blind.ram_role.as_mut().unwrap().trust_policy = "{}".into();
    let changes = [
        Requested::CreateRamRole(world::new_role("Workers", &["ecs", "oss"])),
        Requested::CreateAccessPoint(node),
        Requested::UpdateRamRole(blind),
        Requested::CreateRamRole(world::new_role("Unused", &["fc"])),
        Requested::DeleteRamRole(world::delete_role("Unused")),
    ];
    let changes = changes.map(|change| pb::RequestedChange { change: Some(change) });
    let request = pb::ApplyChangesRequest {
        parent: ACME.into(),
        changes: changes.into(),
        ..Default::default()
    };
    let made = message(admin.changes().apply_changes(request).await);
    let [
        Some(Change::RamRoleCreated(created)),
        Some(Change::AccessPointCreated(_)),
        Some(Change::RamRoleUpdated(_)),
        Some(Change::RamRoleCreated(unused)),
        Some(Change::RamRoleDeleted(gone)),
    ] = &made.changes.iter().map(|change| change.change.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{made:?}")
    };
    assert_eq!((&gone.name, &gone.uid), (&unused.name, &unused.uid));
    let get = pb::GetRamRoleRequest { name: role_name("Workers") };
    assert_eq!(message(admin.ram_roles().get_ram_role(get).await), *created);
    let lines: Vec<_> = made
        .warnings
        .iter()
        .map(|one| format!("{:?} {} {}", one.reason(), one.field, one.message))
        .collect();
    expect_test::expect![[r"
        FurtherPrincipal changes[0].create_ram_role.ram_role.trust_policy lets `oss.aliyuncs.com` assume the role, too
        UnusualRoleName changes[1].create_access_point.access_point.ram_role.role is `Workers`, but a worker node's role begins with `KubernetesWorkerRole-`
        TrustsNoEnvironment changes[2].update_ram_role.ram_role.trust_policy trusts no environment that access points have: `Version` is missing"]]
    .assert_eq(&lines.join("\n"));
    server.stop().await;
}
