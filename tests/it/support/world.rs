//! Names, requests and checks that tests are made of, with the example of the KMS's own page.

use aap::api::pb::{self, check::Subject, network_rule::Kind, origin::Network};
use pb::{access_point::Authentication, policy::NetworkAccess};

use super::clients::Client;

/// Where most of it is.
pub const HERE: &str = "accounts/acme/regions/eu-1";
/// Where another tenant's is.
pub const THERE: &str = "accounts/other/regions/eu-1";

/// The page's VPC, and an address in its network.
pub const VPC: &str = "vpc-1";
pub const INSIDE: &str = "192.168.7.9";

pub fn access_point_name(id: &str) -> String {
    format!("{HERE}/accessPoints/{id}")
}

pub fn policy_name(id: &str) -> String {
    format!("{HERE}/policies/{id}")
}

pub fn rule_name(id: &str) -> String {
    format!("{HERE}/networkRules/{id}")
}

pub fn role_name(id: &str) -> String {
    format!("accounts/acme/ramRoles/{id}")
}

pub fn vpc(id: &str) -> Kind {
    Kind::VpcNetwork(pb::VpcNetwork { vpc_id: id.to_owned() })
}

/// A request to create a network rule.
pub fn new_rule(id: &str, kind: Kind, addresses: &[&str]) -> pb::CreateNetworkRuleRequest {
    pb::CreateNetworkRuleRequest {
        parent: HERE.to_owned(),
        network_rule_id: id.to_owned(),
        network_rule: Some(pb::NetworkRule {
            kind: Some(kind),
            addresses: texts(addresses),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A request to create a policy for secrets of the shared KMS: open to any network if it names no
/// rules.
pub fn new_policy(id: &str, resources: &[&str], rules: &[&str]) -> pb::CreatePolicyRequest {
    let network_access = if rules.is_empty() {
        NetworkAccess::AnyNetwork(pb::AnyNetwork {})
    } else {
        let names = rules.iter().map(|id| rule_name(id)).collect();
        NetworkAccess::NetworkRules(pb::NetworkRuleNames { names })
    };
    pb::CreatePolicyRequest {
        parent: HERE.to_owned(),
        policy_id: id.to_owned(),
        policy: Some(pb::Policy {
            scope: "shared".to_owned(),
            permissions: vec![pb::PermissionTemplate::SecretUser.into()],
            resources: texts(resources),
            network_access: Some(network_access),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A request to create an access point with a client key.
pub fn new_access_point(id: &str, policies: &[&str]) -> pb::CreateAccessPointRequest {
    pb::CreateAccessPointRequest {
        parent: HERE.to_owned(),
        access_point_id: id.to_owned(),
        access_point: Some(pb::AccessPoint {
            authentication: Some(client_key()),
            policies: policies.iter().map(|id| policy_name(id)).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn client_key() -> Authentication {
    Authentication::ClientKey(pb::ClientKeyAuthentication {})
}

/// The role of an ECS instance.
pub fn ecs_role(id: &str) -> Authentication {
    Authentication::RamRole(pb::RamRoleAuthentication {
        trusted_role: pb::TrustedRole::EcsInstance.into(),
        role: role_name(id),
    })
}

/// A trust policy as the platform shows it: of a role that these services may assume.
pub fn trust_policy(services: &[&str]) -> String {
    let services: Vec<_> = services.iter().map(|name| format!("\"{name}.aliyuncs.com\"")).collect();
    let services = services.join(",");
    format!(
        r#"{{"Version":"1","Statement":[{{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{{"Service":[{services}]}}}}]}}"#
    )
}

/// A request to create a role that these services may assume.
pub fn new_role(id: &str, services: &[&str]) -> pb::CreateRamRoleRequest {
    pb::CreateRamRoleRequest {
        parent: "accounts/acme".to_owned(),
        ram_role_id: id.to_owned(),
        ram_role: Some(pb::RamRole { trust_policy: trust_policy(services), ..Default::default() }),
        ..Default::default()
    }
}

/// A request to let these services alone assume a role.
pub fn update_role(id: &str, services: &[&str]) -> pb::UpdateRamRoleRequest {
    pb::UpdateRamRoleRequest {
        ram_role: Some(pb::RamRole {
            name: role_name(id),
            trust_policy: trust_policy(services),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn delete_role(id: &str) -> pb::DeleteRamRoleRequest {
    pb::DeleteRamRoleRequest { name: role_name(id), ..Default::default() }
}

pub fn delete_access_point(id: &str) -> pb::DeleteAccessPointRequest {
    pb::DeleteAccessPointRequest { name: access_point_name(id), ..Default::default() }
}

pub fn delete_policy(id: &str) -> pb::DeletePolicyRequest {
    pb::DeletePolicyRequest { name: policy_name(id), ..Default::default() }
}

pub fn delete_rule(id: &str) -> pb::DeleteNetworkRuleRequest {
    pb::DeleteNetworkRuleRequest { name: rule_name(id), ..Default::default() }
}

/// Enters the page's example: an application on an ECS instance reads data keys from its VPC.
pub async fn enter_page_example(admin: &Client) {
    let mut policies = admin.policies();
    let rule = new_rule("Network", vpc(VPC), &["192.168.0.0/16"]);
    policies.create_network_rule(rule).await.unwrap();
    let policy = new_policy("RAMPolicy", &["secret/dataKey****"], &["Network"]);
    policies.create_policy(policy).await.unwrap();
    admin.ram_roles().create_ram_role(new_role("ECSRole", &["ecs"])).await.unwrap();
    let mut access_point = new_access_point("app", &["RAMPolicy"]);
    access_point.access_point.as_mut().unwrap().authentication = Some(ecs_role("ECSRole"));
    admin.access_points().create_access_point(access_point).await.unwrap();
}

/// A request for a certificate by a key that nobody has any more.
pub const SIGNING_REQUEST: &str = "\
-----BEGIN CERTIFICATE REQUEST-----
MIHMMHQCAQAwEjEQMA4GA1UEAwwHZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABNB2WxJYsHFAHKOSVIGsOcwgSzAuc+DpkEt/sdcGmHnc8FIms665JuMm
rqLWPmi1bXF9FESY4rrlu97MdNmBK4SgADAKBggqhkjOPQQDAgNIADBFAiA2hlnB
VkJjaA8s4vG3idzEA+/1IkzTfqvCu/jMn5RdtQIhAJsw8kSQ8FNG+mtx9LfwL03J
019uTet+SNR33Pkbyqw+
-----END CERTIFICATE REQUEST-----
";

/// A request to bind that key to an access point.
pub fn import_client_key(access_point: &str) -> pb::ImportClientKeyRequest {
    pb::ImportClientKeyRequest {
        parent: access_point_name(access_point),
        signing_request_pem: SIGNING_REQUEST.to_owned(),
        request_id: "import-client-key".to_owned(),
        ..Default::default()
    }
}

/// A request for a key on P-256, which is made at once.
pub fn issue_client_key(access_point: &str) -> pb::IssueClientKeyRequest {
    pb::IssueClientKeyRequest {
        parent: access_point_name(access_point),
        algorithm: pb::ClientKeyAlgorithm::EcP256.into(),
        ..Default::default()
    }
}

/// Enters an access point with a client key, after the page's example; returns the key's id.
pub async fn enter_client_key(admin: &Client) -> String {
    let mut access_points = admin.access_points();
    let keyed = new_access_point("keyed", &["RAMPolicy"]);
    access_points.create_access_point(keyed).await.unwrap();
    let issued = access_points.issue_client_key(issue_client_key("keyed")).await.unwrap();
    let name = issued.into_inner().client_key.unwrap().name;
    name.rsplit('/').next().unwrap().to_owned()
}

/// Enters a cursor over the records of `acme`.
pub async fn enter_cursor(auditor: &Client) {
    let request = super::cursors::new_cursor("accounts/acme", "siem", 1);
    auditor.audit().create_audit_cursor(request).await.unwrap();
}

pub fn from_vpc(vpc_id: &str, address: &str) -> pb::Origin {
    let network = Network::VpcNetwork(pb::VpcNetwork { vpc_id: vpc_id.to_owned() });
    pb::Origin { network: Some(network), address: address.to_owned() }
}

/// A question of the page's application, from inside its network.
pub fn question(resource: &str) -> pb::Check {
    pb::Check {
        subject: Some(Subject::AccessPoint(access_point_name("app"))),
        action: "GetSecretValue".to_owned(),
        resource: resource.to_owned(),
        instance: "shared".to_owned(),
        origin: Some(from_vpc(VPC, INSIDE)),
    }
}

/// A question that the page's example allows.
pub fn allowed() -> pb::Check {
    question("secret/dataKey1")
}

pub fn ask(check: pb::Check) -> pb::CheckAccessRequest {
    pb::CheckAccessRequest { parent: HERE.to_owned(), check: Some(check), ..Default::default() }
}

pub fn ask_all(checks: Vec<pb::Check>) -> pb::BatchCheckAccessRequest {
    pb::BatchCheckAccessRequest { parent: HERE.to_owned(), checks, ..Default::default() }
}

/// Asks one check that must be answered.
pub async fn answer(enforcer: &Client, check: pb::Check) -> pb::CheckAccessResponse {
    enforcer.authorization().check_access(ask(check)).await.unwrap().into_inner()
}

/// The receipt of a check that must be allowed.
pub async fn allow(enforcer: &Client) -> pb::Receipt {
    let answer = answer(enforcer, allowed()).await;
    assert_eq!(answer.decision.unwrap().outcome(), pb::Outcome::Allow);
    answer.receipt.unwrap()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}
