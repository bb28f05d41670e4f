//! Every method of the API, who may call it, and a message that it takes.

use aap::api::pb::{self, requested_change::Change as Requested};
use prost::Message as _;

use super::{
    clients::{ADMIN, AUDITOR, ENFORCER, OPERATOR},
    world::{self, HERE, ask, ask_all},
};

/// A method.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    pub path: &'static str,
    /// Somebody who may call it.
    pub caller: &'static str,
    /// A message for a world that has the page's example; what it creates isn't there yet.
    pub example: fn() -> Vec<u8>,
}

/// Stands for the id of a client key, which the server makes up, in the examples.
pub const SOME_KEY: &str = "KAAP.00000000-0000-4000-8000-000000000000";

/// The name of the client key that the examples are about.
pub fn some_key_name() -> String {
    format!("{}/clientKeys/{SOME_KEY}", world::access_point_name("keyed"))
}

/// A message that is about the client key with this id, if it was about any.
pub fn with_key(mut message: Vec<u8>, id: &str) -> Vec<u8> {
    let place = message.windows(id.len()).position(|part| part == SOME_KEY.as_bytes());
    if let Some(place) = place {
        message[place..place + id.len()].copy_from_slice(id.as_bytes());
    }
    message
}

/// Stands for the token of a lease, which the server makes up, in the examples.
pub const SOME_LEASE: &str = "00000000-0000-4000-8000-00000000000e";

/// Every method. Some need [`world::enter_client_key`], some [`world::enter_cursor`].
pub const METHODS: [Method; 52] = [
    Method { path: "/aap.v1.BackupService/StreamBackup", caller: OPERATOR, example: Vec::new },
    Method {
        path: "/aap.v1.AccessPointService/CreateAccessPoint",
        caller: ADMIN,
        example: || {
            let mut request = world::new_access_point("new", &["RAMPolicy"]);
            let access_point = request.access_point.as_mut().unwrap();
            access_point.authentication = Some(world::ecs_role("ECSRole"));
            access_point.description = "An application".into();
            request.request_id = "new-access-point".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/GetAccessPoint",
        caller: ADMIN,
        example: || {
            pb::GetAccessPointRequest { name: world::access_point_name("app") }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/ListAccessPoints",
        caller: ADMIN,
        example: || {
            let request = pb::ListAccessPointsRequest {
                parent: HERE.into(),
                page_size: 2,
                page_token: String::new(),
                policy: world::policy_name("RAMPolicy"),
                role: "accounts/acme/ramRoles/ECSRole".into(),
                state: pb::AccessPointState::Active.into(),
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/UpdateAccessPoint",
        caller: ADMIN,
        example: || {
            let access_point = pb::AccessPoint {
                name: world::access_point_name("new"),
                description: "Another application".into(),
                policies: vec![world::policy_name("RAMPolicy")],
                ..Default::default()
            };
            let request = pb::UpdateAccessPointRequest {
                access_point: Some(access_point),
                update_mask: Some(mask(&["description", "policies"])),
                request_id: "change-access-point".into(),
                validate_only: false,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/SuspendAccessPoint",
        caller: ADMIN,
        example: || {
            let request = pb::SuspendAccessPointRequest {
                name: world::access_point_name("new"),
                request_id: "suspend-access-point".into(),
                ..Default::default()
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/ResumeAccessPoint",
        caller: ADMIN,
        example: || {
            let request = pb::ResumeAccessPointRequest {
                name: world::access_point_name("new"),
                request_id: "resume-access-point".into(),
                ..Default::default()
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/RevokeSessions",
        caller: ADMIN,
        example: || {
            let request = pb::RevokeSessionsRequest {
                name: world::access_point_name("new"),
                request_id: "revoke-sessions".into(),
                ..Default::default()
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/DeleteAccessPoint",
        caller: ADMIN,
        example: || {
            let mut request = world::delete_access_point("new");
            request.etag = "0-0".into();
            request.request_id = "old-access-point".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/IssueClientKey",
        caller: ADMIN,
        example: || {
            let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
            let request = pb::IssueClientKeyRequest {
                parent: world::access_point_name("keyed"),
                algorithm: pb::ClientKeyAlgorithm::EcP256.into(),
                encoding: pb::ClientKeyEncoding::Compatible.into(),
                password: "correct-horse-7".into(),
                not_before_time: time(1),
                not_after_time: time(9_000_000_000),
                request_id: "issue-client-key".into(),
                validate_only: false,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/ImportClientKey",
        caller: ADMIN,
        example: || world::import_client_key("keyed").encode_to_vec(),
    },
    Method {
        path: "/aap.v1.AccessPointService/GetClientKey",
        caller: ADMIN,
        example: || pb::GetClientKeyRequest { name: some_key_name() }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.AccessPointService/ListClientKeys",
        caller: ADMIN,
        example: || {
            let parent = world::access_point_name("keyed");
            pb::ListClientKeysRequest { parent, page_size: 2, ..Default::default() }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/EnableClientKey",
        caller: ADMIN,
        example: || {
            let (name, request_id) = (some_key_name(), "enable-client-key".into());
            pb::EnableClientKeyRequest { name, request_id, ..Default::default() }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/DisableClientKey",
        caller: ADMIN,
        example: || {
            let (name, request_id) = (some_key_name(), "disable-client-key".into());
            pb::DisableClientKeyRequest { name, request_id, ..Default::default() }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AccessPointService/DeleteClientKey",
        caller: ADMIN,
        example: || {
            let (name, request_id) = (some_key_name(), "delete-client-key".into());
            pb::DeleteClientKeyRequest { name, request_id, ..Default::default() }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/CreatePolicy",
        caller: ADMIN,
        example: || {
            let mut request = world::new_policy("new", &["secret/a", "secret/b*"], &["Network"]);
            request.policy.as_mut().unwrap().description = "A policy".into();
            request.request_id = "new-policy".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/GetPolicy",
        caller: ADMIN,
        example: || pb::GetPolicyRequest { name: world::policy_name("RAMPolicy") }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.PolicyService/ListPolicies",
        caller: ADMIN,
        example: || {
            let request = pb::ListPoliciesRequest {
                parent: HERE.into(),
                page_size: 2,
                page_token: String::new(),
                network_rule: world::rule_name("Network"),
                scope: "shared".into(),
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/UpdatePolicy",
        caller: ADMIN,
        example: || {
            let policy = pb::Policy {
                name: world::policy_name("new"),
                resources: vec!["secret/c*".into()],
                ..Default::default()
            };
            let request = pb::UpdatePolicyRequest {
                policy: Some(policy),
                update_mask: Some(mask(&["resources"])),
                request_id: "change-policy".into(),
                validate_only: false,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/DeletePolicy",
        caller: ADMIN,
        example: || {
            let mut request = world::delete_policy("new");
            request.etag = "0-0".into();
            request.request_id = "old-policy".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/CreateNetworkRule",
        caller: ADMIN,
        example: || {
            let addresses = ["10.10.10.10/24", "2001:db8::/32"];
            let mut request = world::new_rule("new", world::vpc("vpc-2"), &addresses);
            request.network_rule.as_mut().unwrap().description = "A rule".into();
            request.request_id = "new-rule".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/GetNetworkRule",
        caller: ADMIN,
        example: || pb::GetNetworkRuleRequest { name: world::rule_name("Network") }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.PolicyService/ListNetworkRules",
        caller: ADMIN,
        example: || {
            let parent = HERE.into();
            pb::ListNetworkRulesRequest { parent, page_size: 2, ..Default::default() }
                .encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/UpdateNetworkRule",
        caller: ADMIN,
        example: || {
            let network_rule = pb::NetworkRule {
                name: world::rule_name("new"),
                addresses: vec!["10.20.0.0/16".into()],
                ..Default::default()
            };
            let request = pb::UpdateNetworkRuleRequest {
                network_rule: Some(network_rule),
                update_mask: Some(mask(&["addresses"])),
                request_id: "change-rule".into(),
                validate_only: false,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.PolicyService/DeleteNetworkRule",
        caller: ADMIN,
        example: || {
            let mut request = world::delete_rule("new");
            request.etag = "0-0".into();
            request.request_id = "old-rule".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.RamRoleService/CreateRamRole",
        caller: ADMIN,
        example: || {
            let mut request = world::new_role("new", &["ecs", "fc"]);
            request.ram_role.as_mut().unwrap().description = "A role".into();
            request.request_id = "new-role".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.RamRoleService/GetRamRole",
        caller: ADMIN,
        example: || pb::GetRamRoleRequest { name: world::role_name("ECSRole") }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.RamRoleService/ListRamRoles",
        caller: ADMIN,
        example: || {
            let request = pb::ListRamRolesRequest {
                parent: "accounts/acme".into(),
                page_size: 2,
                page_token: String::new(),
                trusted_role: pb::TrustedRole::EcsInstance.into(),
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.RamRoleService/UpdateRamRole",
        caller: ADMIN,
        example: || {
            let mut request = world::update_role("new", &["fc"]);
            request.update_mask = Some(mask(&["trust_policy"]));
            request.request_id = "change-role".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.RamRoleService/DeleteRamRole",
        caller: ADMIN,
        example: || {
            let mut request = world::delete_role("new");
            request.etag = "0-0".into();
            request.request_id = "old-role".into();
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.ChangeService/ApplyChanges",
        caller: ADMIN,
        example: || {
            let mut create = world::new_policy("other", &["secret/a"], &["Network"]);
            create.policy.as_mut().unwrap().description = "Another policy".into();
            let change = Some(Requested::CreatePolicy(create));
            let request = pb::ApplyChangesRequest {
                parent: "accounts/acme".into(),
                changes: vec![pb::RequestedChange { change }],
                request_id: "many-changes".into(),
                validate_only: true,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.ChangeService/ListChanges",
        caller: ADMIN,
        example: || {
            let request = pb::ListChangesRequest {
                parent: "accounts/acme".into(),
                page_size: 2,
                page_token: String::new(),
                resource: world::policy_name("RAMPolicy"),
                form: pb::ChangeForm::Message.into(),
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.ChangeService/WatchChanges",
        caller: ADMIN,
        example: || {
            let start = Some(pb::watch_changes_request::Start::FromRevision(1));
            let (parent, form) = ("accounts/acme".into(), pb::ChangeForm::Serialized.into());
            pb::WatchChangesRequest { parent, start, form }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.ChangeService/GetChangeCheckpoint",
        caller: ADMIN,
        example: || pb::GetChangeCheckpointRequest { size: 0, at_least_size: 1 }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.ChangeService/GetChangeInclusionProof",
        caller: ADMIN,
        example: || {
            pb::GetChangeInclusionProofRequest { revision: 1, checkpoint_size: 0 }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.ChangeService/GetChangeConsistencyProof",
        caller: ADMIN,
        example: || {
            pb::GetChangeConsistencyProofRequest { from_size: 1, to_size: 0 }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuthorizationService/CheckAccess",
        caller: ENFORCER,
        example: || {
            let request_id = "check".to_owned();
            pb::CheckAccessRequest { request_id, ..ask(world::allowed()) }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuthorizationService/BatchCheckAccess",
        caller: ENFORCER,
        example: || {
            let checks = vec![world::allowed(), world::question("secret/other")];
            let request_id = "batch".to_owned();
            pb::BatchCheckAccessRequest { request_id, ..ask_all(checks) }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuthorizationService/StreamCheckAccess",
        caller: ENFORCER,
        example: || {
            let check = Some(world::allowed());
            let request = pb::StreamCheckAccessRequest {
                parent: HERE.into(),
                checks: vec![pb::StreamedCheck { correlation_id: 7, check }],
                request_id: "stream".into(),
                at_least_revision: 0,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/GetAuditRecord",
        caller: AUDITOR,
        example: || {
            pb::GetAuditRecordRequest { sequence: 1, form: 2, log_id: String::new() }
                .encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/ListAuditRecords",
        caller: AUDITOR,
        example: || {
            let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 1 });
            let request = pb::ListAuditRecordsRequest {
                page_size: 2,
                page_token: String::new(),
                filter: Some(every_filter()),
                order: 2,
                from_sequence: 1,
                through_sequence: 1_000,
                start_time: time(1),
                end_time: time(9_000_000_000),
                form: 2,
                log_id: String::new(),
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/WatchAuditRecords",
        caller: AUDITOR,
        example: || {
            let start = Some(pb::watch_audit_records_request::Start::FromSequence(1));
            let filter = Some(every_filter());
            pb::WatchAuditRecordsRequest { form: 1, start, filter, log_id: String::new() }
                .encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/GetCheckpoint",
        caller: AUDITOR,
        example: || pb::GetCheckpointRequest { size: 1, at_least_size: 0 }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.AuditService/GetInclusionProof",
        caller: AUDITOR,
        example: || {
            pb::GetInclusionProofRequest { sequence: 1, checkpoint_size: 0 }.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/GetConsistencyProof",
        caller: AUDITOR,
        example: || pb::GetConsistencyProofRequest { from_size: 1, to_size: 0 }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.AuditService/CreateAuditCursor",
        caller: AUDITOR,
        example: || {
            let inner = pb::AuditCursor { filter: Some(every_filter()), ..Default::default() };
            let request = pb::CreateAuditCursorRequest {
                parent: "accounts/acme".into(),
                audit_cursor_id: "new".into(),
                audit_cursor: Some(inner),
                start: Some(pb::create_audit_cursor_request::Start::FromSequence(1)),
                log_id: String::new(),
                request_id: "new-cursor".into(),
                validate_only: true,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/GetAuditCursor",
        caller: AUDITOR,
        example: || pb::GetAuditCursorRequest { name: some_cursor() }.encode_to_vec(),
    },
    Method {
        path: "/aap.v1.AuditService/ListAuditCursors",
        caller: AUDITOR,
        example: || {
            let parent = "accounts/acme".into();
            pb::ListAuditCursorsRequest { parent, page_size: 2, ..Default::default() }
                .encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/ReadAuditCursor",
        caller: AUDITOR,
        example: || {
            let request = pb::ReadAuditCursorRequest {
                name: some_cursor(),
                form: 1,
                lease_seconds: 10,
                lease_token: SOME_LEASE.into(),
                take_over: true,
            };
            request.encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/AcknowledgeAuditCursor",
        caller: AUDITOR,
        example: || {
            let (name, lease_token) = (some_cursor(), SOME_LEASE.into());
            pb::AcknowledgeAuditCursorRequest { name, lease_token, through: 0, release: true }
                .encode_to_vec()
        },
    },
    Method {
        path: "/aap.v1.AuditService/DeleteAuditCursor",
        caller: AUDITOR,
        example: || {
            let (name, uid) = (some_cursor(), "0-0".into());
            pb::DeleteAuditCursorRequest { name, uid, validate_only: false }.encode_to_vec()
        },
    },
];

/// The name of the cursor that the examples are about.
fn some_cursor() -> String {
    "accounts/acme/auditCursors/siem".to_owned()
}

/// A filter with everything in it.
fn every_filter() -> pb::AuditRecordFilter {
    pb::AuditRecordFilter {
        accounts: vec!["acme".into()],
        access_points: vec![world::access_point_name("app")],
        kinds: vec![pb::AuditRecordKind::Check.into()],
        outcomes: vec![pb::Outcome::Allow.into()],
        reasons: vec![pb::DecisionReason::PolicyGrants.into()],
        actions: vec!["GetSecretValue".into()],
        resource_prefixes: vec!["secret/".into()],
    }
}

impl Method {
    /// The example, but such that it succeeds: what deletes names no etag.
    pub fn message(&self) -> Vec<u8> {
        let (mut message, etag) = ((self.example)(), b"\x12\x030-0");
        if let Some(place) = message.windows(etag.len()).position(|part| part == etag) {
            message.drain(place..place + etag.len());
        }
        message
    }
}

fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}
