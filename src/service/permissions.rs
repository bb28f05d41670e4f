//! Who may call what: the one table.

use std::fmt;

use crate::identity::caller::CallerRole;

/// What a method asks of its caller's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// An admin.
    Admin,
    /// A viewer, or an admin: who may change things may look at them.
    Viewer,
    /// An enforcer.
    Enforcer,
    /// An auditor.
    Auditor,
    /// An operator.
    Operator,
    /// No caller: an application, whose message has the proof.
    Proof,
}

/// Every method of the API, and what it needs.
pub const METHODS: &[(&str, Needs)] = &[
    ("/aap.v1.AuthorizationService/CheckAccess", Needs::Enforcer),
    ("/aap.v1.AuthorizationService/BatchCheckAccess", Needs::Enforcer),
    ("/aap.v1.AuthorizationService/StreamCheckAccess", Needs::Enforcer),
    ("/aap.v1.SessionService/CreateSession", Needs::Proof),
    ("/aap.v1.AuditService/GetAuditRecord", Needs::Auditor),
    ("/aap.v1.AuditService/ListAuditRecords", Needs::Auditor),
    ("/aap.v1.AuditService/WatchAuditRecords", Needs::Auditor),
    ("/aap.v1.AuditService/GetCheckpoint", Needs::Auditor),
    ("/aap.v1.AuditService/GetInclusionProof", Needs::Auditor),
    ("/aap.v1.AuditService/GetConsistencyProof", Needs::Auditor),
    ("/aap.v1.AuditService/CreateAuditCursor", Needs::Auditor),
    ("/aap.v1.AuditService/GetAuditCursor", Needs::Auditor),
    ("/aap.v1.AuditService/ListAuditCursors", Needs::Auditor),
    ("/aap.v1.AuditService/DeleteAuditCursor", Needs::Auditor),
    ("/aap.v1.AuditService/ReadAuditCursor", Needs::Auditor),
    ("/aap.v1.AuditService/AcknowledgeAuditCursor", Needs::Auditor),
    ("/aap.v1.BackupService/StreamBackup", Needs::Operator),
    ("/aap.v1.AccessPointService/CreateAccessPoint", Needs::Admin),
    ("/aap.v1.AccessPointService/GetAccessPoint", Needs::Viewer),
    ("/aap.v1.AccessPointService/ListAccessPoints", Needs::Viewer),
    ("/aap.v1.AccessPointService/UpdateAccessPoint", Needs::Admin),
    ("/aap.v1.AccessPointService/SuspendAccessPoint", Needs::Admin),
    ("/aap.v1.AccessPointService/ResumeAccessPoint", Needs::Admin),
    ("/aap.v1.AccessPointService/RevokeSessions", Needs::Admin),
    ("/aap.v1.AccessPointService/DeleteAccessPoint", Needs::Admin),
    ("/aap.v1.AccessPointService/IssueClientKey", Needs::Admin),
    ("/aap.v1.AccessPointService/ImportClientKey", Needs::Admin),
    ("/aap.v1.AccessPointService/GetClientKey", Needs::Viewer),
    ("/aap.v1.AccessPointService/ListClientKeys", Needs::Viewer),
    ("/aap.v1.AccessPointService/EnableClientKey", Needs::Admin),
    ("/aap.v1.AccessPointService/DisableClientKey", Needs::Admin),
    ("/aap.v1.AccessPointService/DeleteClientKey", Needs::Admin),
    ("/aap.v1.PolicyService/CreatePolicy", Needs::Admin),
    ("/aap.v1.PolicyService/GetPolicy", Needs::Viewer),
    ("/aap.v1.PolicyService/ListPolicies", Needs::Viewer),
    ("/aap.v1.PolicyService/UpdatePolicy", Needs::Admin),
    ("/aap.v1.PolicyService/DeletePolicy", Needs::Admin),
    ("/aap.v1.PolicyService/CreateNetworkRule", Needs::Admin),
    ("/aap.v1.PolicyService/GetNetworkRule", Needs::Viewer),
    ("/aap.v1.PolicyService/ListNetworkRules", Needs::Viewer),
    ("/aap.v1.PolicyService/UpdateNetworkRule", Needs::Admin),
    ("/aap.v1.PolicyService/DeleteNetworkRule", Needs::Admin),
    ("/aap.v1.RamRoleService/CreateRamRole", Needs::Admin),
    ("/aap.v1.RamRoleService/GetRamRole", Needs::Viewer),
    ("/aap.v1.RamRoleService/ListRamRoles", Needs::Viewer),
    ("/aap.v1.RamRoleService/UpdateRamRole", Needs::Admin),
    ("/aap.v1.RamRoleService/DeleteRamRole", Needs::Admin),
    ("/aap.v1.ChangeService/ApplyChanges", Needs::Admin),
    ("/aap.v1.ChangeService/ListChanges", Needs::Viewer),
    ("/aap.v1.ChangeService/WatchChanges", Needs::Viewer),
    ("/aap.v1.ChangeService/GetChangeCheckpoint", Needs::Viewer),
    ("/aap.v1.ChangeService/GetChangeInclusionProof", Needs::Viewer),
    ("/aap.v1.ChangeService/GetChangeConsistencyProof", Needs::Viewer),
];

/// What a method needs; `None` if there is no such method.
pub fn needs_of(path: &str) -> Option<Needs> {
    METHODS.iter().find(|(method, _)| *method == path).map(|(_, needs)| *needs)
}

impl Needs {
    /// Whether a role is enough.
    pub fn are_met_by(self, role: &CallerRole) -> bool {
        match self {
            Self::Admin => *role == CallerRole::Admin,
            Self::Viewer => matches!(role, CallerRole::Viewer | CallerRole::Admin),
            Self::Enforcer => matches!(role, CallerRole::Enforcer(..)),
            Self::Auditor => *role == CallerRole::Auditor,
            Self::Operator => *role == CallerRole::Operator,
            Self::Proof => true,
        }
    }
}

impl fmt::Display for Needs {
    /// The role's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Enforcer => "enforcer",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Proof => "proof",
        })
    }
}

/// A role's name.
pub fn role_name(role: &CallerRole) -> &'static str {
    match role {
        CallerRole::Admin => "admin",
        CallerRole::Viewer => "viewer",
        CallerRole::Enforcer(..) => "enforcer",
        CallerRole::Auditor => "auditor",
        CallerRole::Operator => "operator",
    }
}
