//! Changes that are refused, changes that are repeated, and what another tenant sees.

use aap::api::pb::{self, network_rule::Kind, policy::NetworkAccess};
use tonic::{Code, Status};

use crate::support::{
    ADMIN, Client, ENFORCER, OTHER_ADMIN, SECOND_ADMIN, TestServer, refused,
    world::{self, HERE, THERE, access_point_name, policy_name, role_name, rule_name},
};

/// A server with the page's example in it.
async fn start() -> TestServer {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

#[tokio::test]
async fn all_that_is_wrong_with_an_access_point_is_said_at_once() {
    let server = start().await;
    let role = pb::RamRoleAuthentication { trusted_role: 9, role: "ECSRole".into() };
    let request = pb::CreateAccessPointRequest {
        parent: HERE.into(),
        access_point_id: "-app".into(),
        access_point: Some(pb::AccessPoint {
            description: "d".repeat(1_025),
            policies: vec!["RAMPolicy".into(), format!("{THERE}/policies/RAMPolicy")],
            authentication: Some(pb::access_point::Authentication::RamRole(role)),
            ..Default::default()
        }),
        request_id: "two words".into(),
        validate_only: false,
    };
    let refusal = refused(server.client(ADMIN).access_points().create_access_point(request).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS").has("violations", "7");
    let paths = [
        "request_id",
        "access_point_id",
        "access_point.description",
        "access_point.ram_role.trusted_role",
        "access_point.ram_role.role",
        "access_point.policies[0]",
        "access_point.policies[1]",
    ];
    assert_eq!(refusal.paths(), paths);
    let mut foreign = world::new_access_point("new", &["RAMPolicy"]);
    let wanted = foreign.access_point.as_mut().unwrap();
    wanted.name = access_point_name("old");
    let role = pb::RamRoleAuthentication {
        trusted_role: pb::TrustedRole::AckWorker.into(),
        role: "accounts/other/ramRoles/ECSRole".into(),
    };
    wanted.authentication = Some(pb::access_point::Authentication::RamRole(role));
    let refusal = refused(server.client(ADMIN).access_points().create_access_point(foreign).await);
    assert_eq!(refusal.paths(), ["access_point.ram_role.role", "access_point.name"]);
    let empty = pb::CreateAccessPointRequest { parent: HERE.into(), ..Default::default() };
    let refusal = refused(server.client(ADMIN).access_points().create_access_point(empty).await);
    assert_eq!(refusal.paths(), ["access_point_id", "access_point"]);
    server.stop().await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_policy_is_said_at_once() {
    let server = start().await;
    let names = vec!["Network".into(), format!("{THERE}/networkRules/Network")];
    let request = pb::CreatePolicyRequest {
        parent: HERE.into(),
        policy_id: String::new(),
        policy: Some(pb::Policy {
            description: "d".repeat(1_025),
            scope: "Shared".into(),
            permissions: vec![0, 1, 9],
            resources: vec!["secret/a*b".into(), "secret/a".into(), "alias/a".into()],
            network_access: Some(NetworkAccess::NetworkRules(pb::NetworkRuleNames { names })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut policies = server.client(ADMIN).policies();
    let refusal = refused(policies.create_policy(request).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS").has("violations", "9");
    let paths = [
        "policy_id",
        "policy.description",
        "policy.scope",
        "policy.permissions[0]",
        "policy.permissions[2]",
        "policy.resources[0]",
        "policy.resources[2]",
        "policy.network_rules.names[0]",
        "policy.network_rules.names[1]",
    ];
    assert_eq!(refusal.paths(), paths);

    let mut useless = world::new_policy("p", &["key/a"], &[]);
    let refusal = refused(policies.create_policy(useless.clone()).await);
    assert_eq!(refusal.paths(), ["policy.resources"], "it could never allow anything");
    let wanted = useless.policy.as_mut().unwrap();
    wanted.permissions = vec![pb::PermissionTemplate::CryptoServiceKeyUser.into()];
    let refusal = refused(policies.create_policy(useless).await);
    assert_eq!(refusal.paths(), ["policy.permissions"], "the shared KMS has no such template");
    server.stop().await;
}

#[tokio::test]
async fn private_rules_need_an_instance_of_ones_own() {
    let server = start().await;
    let mut policies = server.client(ADMIN).policies();
    let private = Kind::PrivateNetwork(pb::PrivateNetwork {});
    let rule = world::new_rule("Private", private, &["10.0.0.0/8"]);
    policies.create_network_rule(rule).await.unwrap();
    let mut request = world::new_policy("p", &["secret/a"], &["Network", "Private"]);
    let refusal = refused(policies.create_policy(request.clone()).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
    assert_eq!(refusal.paths(), ["policy.network_rules.names[1]"]);
    request.policy.as_mut().unwrap().scope = "kst-1".into();
    policies.create_policy(request).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn what_exists_is_not_created_again() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let rule = world::new_rule("Network", world::vpc("vpc-9"), &["10.0.0.0/8"]);
    let refusal = refused(admin.policies().create_network_rule(rule).await);
    refusal
        .is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS")
        .has("resource", &rule_name("Network"));
    let policy = world::new_policy("RAMPolicy", &["secret/a"], &["missing"]);
    let refusal = refused(admin.policies().create_policy(policy).await);
    refusal.is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS");
    let about = ("aap.v1.Policy".to_owned(), policy_name("RAMPolicy"));
    assert_eq!(refusal.resource, Some(about));
    let access_point = world::new_access_point("app", &["RAMPolicy"]);
    let refusal = refused(admin.access_points().create_access_point(access_point).await);
    refusal.is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS");
    server.stop().await;
}

#[tokio::test]
async fn every_missing_reference_is_named() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let access_point = world::new_access_point("new", &["gone", "RAMPolicy", "Gone"]);
    let refusal = refused(admin.access_points().create_access_point(access_point).await);
    refusal.is(Code::FailedPrecondition, "REFERENCE_NOT_FOUND").has("missing", "2");
    refusal.has("resource", &access_point_name("new"));
    assert_eq!(refusal.subjects(), [policy_name("gone"), policy_name("Gone")]);

    let ids: Vec<_> = (0..40).map(|at| format!("missing-{at}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let policy = world::new_policy("new", &["secret/a"], &ids);
    let refusal = refused(admin.policies().create_policy(policy).await);
    refusal.is(Code::FailedPrecondition, "REFERENCE_NOT_FOUND").has("missing", "40");
    let names: Vec<_> = ids.iter().map(|id| rule_name(id)).collect();
    assert_eq!(refusal.subjects(), names);
    server.stop().await;
}

#[tokio::test]
async fn what_others_hold_is_not_deleted() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let refusal =
        refused(admin.policies().delete_network_rule(world::delete_rule("Network")).await);
    refusal.is(Code::FailedPrecondition, "RESOURCE_IN_USE").has("holders", "1");
    assert_eq!(refusal.subjects(), [policy_name("RAMPolicy")]);

    let mut holders: Vec<_> = (100..250).map(|at| format!("app-{at}")).collect();
    for id in &holders {
        let request = world::new_access_point(id, &["RAMPolicy"]);
        admin.access_points().create_access_point(request).await.unwrap();
    }
    let refusal = refused(admin.policies().delete_policy(world::delete_policy("RAMPolicy")).await);
    refusal.is(Code::FailedPrecondition, "RESOURCE_IN_USE").has("holders", "151");
    // As many are named as fit, in order.
    holders.insert(0, "app".to_owned());
    let named = refusal.subjects();
    assert!(named.len() > 40, "{}", named.len());
    assert_eq!(
        named,
        holders[..named.len()].iter().map(|id| access_point_name(id)).collect::<Vec<_>>()
    );
    server.stop().await;
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_aborted() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let get = pb::GetAccessPointRequest { name: access_point_name("app") };
    let old = admin.access_points().get_access_point(get).await.unwrap().into_inner();
    let delete = |etag: &str| pb::DeleteAccessPointRequest {
        etag: etag.into(),
        ..world::delete_access_point("app")
    };
    admin.access_points().delete_access_point(delete(&old.etag)).await.unwrap();
    let again = world::new_access_point("app", &["RAMPolicy"]);
    let new = admin.access_points().create_access_point(again).await.unwrap().into_inner();
    for wrong in
        [old.etag.as_str(), "x", &new.uid, &new.etag.to_uppercase(), &format!("{} ", new.etag)]
    {
        let refusal = refused(admin.access_points().delete_access_point(delete(wrong)).await);
        refusal.is(Code::Aborted, "ETAG_MISMATCH").has("etag", &new.etag);
        refusal.has("resource", &new.name);
    }
    let policy = pb::DeletePolicyRequest { etag: "x".into(), ..world::delete_policy("RAMPolicy") };
    refused(admin.policies().delete_policy(policy).await).is(Code::Aborted, "ETAG_MISMATCH");
    let rule = pb::DeleteNetworkRuleRequest { etag: "x".into(), ..world::delete_rule("Network") };
    refused(admin.policies().delete_network_rule(rule).await).is(Code::Aborted, "ETAG_MISMATCH");
    admin.access_points().delete_access_point(delete(&new.etag)).await.unwrap();
    server.stop().await;
}

/// A request that may be repeated.
fn repeatable(resource: &str) -> pb::CreatePolicyRequest {
    let request = world::new_policy("repeated", &[resource], &[]);
    pb::CreatePolicyRequest { request_id: "policy-1".into(), ..request }
}

fn repeatable_delete(id: &str) -> pb::DeletePolicyRequest {
    pb::DeletePolicyRequest { request_id: "policy-1".into(), ..world::delete_policy(id) }
}

async fn create(admin: &Client, request: pb::CreatePolicyRequest) -> Result<pb::Policy, Status> {
    Ok(admin.policies().create_policy(request).await?.into_inner())
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer_also_after_a_restart() {
    let server = start().await;
    let admin = server.client(ADMIN);
    let made = create(&admin, repeatable("secret/a")).await.unwrap();
    assert_eq!(create(&admin, repeatable("secret/a")).await.unwrap(), made);
    // The same id for another method is another request.
    admin.policies().delete_policy(repeatable_delete("repeated")).await.unwrap();
    admin.policies().delete_policy(repeatable_delete("repeated")).await.unwrap();
    let get = || pb::GetPolicyRequest { name: policy_name("repeated") };
    refused(admin.policies().get_policy(get()).await).is(Code::NotFound, "RESOURCE_NOT_FOUND");

    let server = server.restart().await;
    let admin = server.client(ADMIN);
    assert_eq!(create(&admin, repeatable("secret/a")).await.unwrap(), made);
    admin.policies().delete_policy(repeatable_delete("repeated")).await.unwrap();
    // An answer is not a change.
    refused(admin.policies().get_policy(get()).await).is(Code::NotFound, "RESOURCE_NOT_FOUND");
    server.stop().await;
}

#[tokio::test]
async fn a_request_id_with_other_content_is_refused() {
    let server = start().await;
    let admin = server.client(ADMIN);
    create(&admin, repeatable("secret/a")).await.unwrap();
    let refusal = refused(admin.policies().create_policy(repeatable("secret/b")).await);
    refusal.is(Code::FailedPrecondition, "REQUEST_ID_REUSED").has("request_id", "policy-1");
    let server = server.restart().await;
    let refusal =
        refused(server.client(ADMIN).policies().create_policy(repeatable("secret/b")).await);
    refusal.is(Code::FailedPrecondition, "REQUEST_ID_REUSED");

    // Another caller's ids are its own: this one is told that the policy exists.
    let second = server.client(SECOND_ADMIN);
    let refusal = refused(second.policies().create_policy(repeatable("secret/a")).await);
    refusal.is(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS");
    let other = pb::CreatePolicyRequest { parent: THERE.into(), ..repeatable("secret/b") };
    create(&server.client(OTHER_ADMIN), other).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn of_many_at_once_one_creates_and_the_others_are_told() {
    let server = start().await;
    let mut creating = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let admin = server.client(ADMIN);
        creating.spawn(async move { create(&admin, repeatable("secret/a")).await.unwrap() });
        let second = server.client(SECOND_ADMIN);
        let contested = world::new_policy("contested", &["secret/a"], &[]);
        creating.spawn(async move {
            let made = create(&second, contested).await;
            made.unwrap_or_else(|status| {
                assert_eq!(status.code(), Code::AlreadyExists);
                pb::Policy::default()
            })
        });
    }
    let mut made = creating.join_all().await;
    made.retain(|policy| !policy.name.is_empty());
    assert_eq!(made.iter().filter(|policy| policy.name == policy_name("contested")).count(), 1);
    made.retain(|policy| policy.name == policy_name("repeated"));
    assert!(made.len() == 20 && made.iter().all(|policy| *policy == made[0]));
    server.stop().await;
}

/// How every method that names a resource refuses, with the name taken out.
async fn refusals(admin: &Client, [access_point, policy, rule, role]: [&str; 4]) -> Vec<String> {
    let (mut access_points, mut policies) = (admin.access_points(), admin.policies());
    let mut told = Vec::new();
    let mut tell = |status: Status, name: &str| {
        // Names of one length, so that what stands around them can be compared.
        let mut details = status.details().to_vec();
        while let Some(at) = details.windows(name.len()).position(|part| part == name.as_bytes()) {
            details[at..at + name.len()].fill(b'#');
        }
        let message = status.message().replace(name, "#");
        let mut headers = status.metadata().clone();
        headers.remove("date");
        told.push(format!("{:?} {message} {details:?} {headers:?}", status.code()));
    };
    let name = || access_point.to_owned();
    let get = pb::GetAccessPointRequest { name: name() };
    tell(access_points.get_access_point(get).await.unwrap_err(), access_point);
    for (etag, request_id) in [("", ""), ("wrong", "id"), ("", "no id")] {
        let (etag, request_id) = (etag.to_owned(), request_id.to_owned());
        let delete =
            pb::DeleteAccessPointRequest { name: name(), etag, request_id, validate_only: false };
        let refused = access_points.delete_access_point(delete).await.unwrap_err();
        if refused.code() == Code::NotFound {
            tell(refused, access_point);
        }
    }
    let name = || policy.to_owned();
    tell(policies.get_policy(pb::GetPolicyRequest { name: name() }).await.unwrap_err(), policy);
    let delete = pb::DeletePolicyRequest { name: name(), ..Default::default() };
    tell(policies.delete_policy(delete).await.unwrap_err(), policy);
    let name = || rule.to_owned();
    let get = pb::GetNetworkRuleRequest { name: name() };
    tell(policies.get_network_rule(get).await.unwrap_err(), rule);
    let delete = pb::DeleteNetworkRuleRequest { name: name(), ..Default::default() };
    tell(policies.delete_network_rule(delete).await.unwrap_err(), rule);
    let (mut roles, name) = (admin.ram_roles(), || role.to_owned());
    let get = pb::GetRamRoleRequest { name: name() };
    tell(roles.get_ram_role(get).await.unwrap_err(), role);
    let delete = pb::DeleteRamRoleRequest { name: name(), ..Default::default() };
    tell(roles.delete_ram_role(delete).await.unwrap_err(), role);
    let mut update = world::update_role("", &[]);
    update.ram_role.as_mut().unwrap().name = name();
    tell(roles.update_ram_role(update).await.unwrap_err(), role);
    told
}

#[tokio::test]
async fn what_is_anothers_looks_like_what_is_not_there() {
    let server = start().await;
    let other = server.client(OTHER_ADMIN);
    // `other` is a letter longer than `acme`, so its own missing ids are a letter shorter.
    let theirs = ["app", "RAMPolicy", "Network", "ECSRole"];
    let missing = ["apq", "RAMPolicz", "Networl", "ECSRolf"];
    let full = |[access_point, policy, rule, role]: [&str; 4]| {
        let (access_point, policy) = (access_point_name(access_point), policy_name(policy));
        [access_point, policy, rule_name(rule), role_name(role)]
    };
    let (theirs, missing) = (full(theirs), full(missing));
    let own = ["ap", "RAMPolic", "Networ", "ECSRol"];
    let own = full(own).map(|name| name.replacen("/acme/", "/other/", 1));
    let mut all = Vec::new();
    for set in [theirs, missing, own] {
        all.push(refusals(&other, set.each_ref().map(String::as_str)).await);
    }
    assert_eq!(all[0], all[1], "another's, and what is not there at all");
    assert!(all[0].iter().all(|told| told.starts_with("NotFound ")), "{:?}", all[0]);
    // With an invalid request id, what is one's own is refused for that: one answer less.
    let fewer: Vec<_> = all[0]
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 3)
        .map(|(_, told)| told.clone())
        .collect();
    assert_eq!(fewer, all[2]);

    let create = |parent: &str| pb::CreatePolicyRequest {
        parent: parent.to_owned(),
        policy_id: "RAMPolicy".into(),
        ..Default::default()
    };
    for parent in [HERE, "accounts/nobody/regions/eu-1"] {
        let refusal = refused(other.policies().create_policy(create(parent)).await);
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", parent);
        assert_eq!(refusal.message, format!("`{parent}` is not found"));
    }
    for parent in ["accounts/acme", "accounts/nobody"] {
        let mut request = world::new_role("r", &["ecs"]);
        request.parent = parent.into();
        let refusal = refused(other.ram_roles().create_ram_role(request).await);
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", parent);
        let list = pb::ListRamRolesRequest { parent: parent.into(), ..Default::default() };
        let refusal = refused(other.ram_roles().list_ram_roles(list).await);
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", parent);
    }
    // Nothing of it was touched.
    world::allow(&server.client(ENFORCER)).await;
    server.stop().await;
}
