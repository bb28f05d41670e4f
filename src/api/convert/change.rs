//! Changes: as they are asked for, many at once, and as they happened.

use crate::{
    api::{pb, status::ApiError},
    domain::{
        access_point::AccessPoint,
        client_key::ClientKey,
        command::{Batch, Command, KnownKey},
        event::{Change, Event, Gone, KeyNotice, KeyUse},
        name::{AccountName, ResourceName},
        network::Prefix,
        network_rule::{Addresses, NetworkRule},
        oddities::{Oddity, oddities},
        policy::Policy,
        ram_role::RamRole,
    },
    service::{
        history::{History, Start, Wanted},
        management::Manner,
    },
    store::writer::{Made, Mode},
};

use super::{
    Repetition, SentHeader, Violations, access_point, client_key,
    mutation::{Mutation, read_one_of_many},
    network_rule, policy, ram_role, timestamp,
};
use pb::{
    WarningReason, change::Change as SentChange, requested_change::Change as SentRequest,
    watch_changes_request::Start as SentStart,
};

/// One of many changes that are asked for.
#[derive(Debug)]
pub struct Requested {
    /// What is wanted.
    pub command: Command,
    /// What an answer says about it.
    pub about: About,
}

/// What an answer says about a change that was asked for.
#[derive(Debug)]
pub struct About {
    /// The name of its field.
    pub kind: &'static str,
    /// The addresses in it that have host bits.
    masked: Option<Masked>,
}

/// Addresses that have host bits, which are masked off.
#[derive(Debug)]
struct Masked {
    first: String,
    count: usize,
}

/// The most warnings that an answer has, so that it fits into a message.
const MAX_WARNINGS: usize = 1_000;

/// Parses a request for many changes, all of which must be of one account.
pub fn parse_all(
    account: &AccountName,
    mut request: pb::ApplyChangesRequest,
) -> Result<(Manner, Vec<Requested>), ApiError> {
    let repetition = Repetition::of(&mut request);
    let pb::ApplyChangesRequest { parent: _, changes, request_id: _, validate_only: _ } = request;
    let mut violations = Violations::default();
    let manner = repetition.manner(&mut violations);
    if !(1..=Batch::MAX).contains(&changes.len()) {
        violations.add("changes", format!("must have 1 to 1,000 changes, not {}", changes.len()));
        return violations.finish(None);
    }
    let mut requested = Vec::with_capacity(changes.len());
    for (place, pb::RequestedChange { change }) in changes.into_iter().enumerate() {
        let path = || format!("changes[{place}].");
        requested.extend(violations.within(path, |own| {
            let change = own.require("change", change)?;
            parse(own, account, change)
        }));
    }
    violations.finish(manner.map(|manner| (manner, requested)))
}

/// Parses which changes of an account are wanted.
pub fn parse_wanted(
    violations: &mut Violations,
    account: AccountName,
    resource: &str,
) -> Option<Wanted> {
    if resource.is_empty() {
        return Some(Wanted::Account(account));
    }
    let name = violations.keep("resource", ResourceName::parse(resource))?;
    if *name.account() == account.0 {
        return Some(Wanted::Resource(name));
    }
    violations.add("resource", format!("must be in `{account}`"));
    None
}

/// Parses where a watch begins.
pub fn parse_start(violations: &mut Violations, start: Option<SentStart>) -> Option<Start> {
    match violations.require("start", start)? {
        SentStart::FromRevision(0) => {
            violations.add("from_revision", "must be at least 1");
            None
        }
        SentStart::FromRevision(revision) => Some(Start::At(revision)),
        SentStart::FromLastRevision(pb::FromLastRevision {}) => Some(Start::End),
    }
}

fn parse(
    violations: &mut Violations,
    account: &AccountName,
    change: SentRequest,
) -> Option<Requested> {
    let mut read = Reader { violations, account };
    match change {
        SentRequest::CreateAccessPoint(request) => read.one("create_access_point", request),
        SentRequest::UpdateAccessPoint(request) => read.one("update_access_point", request),
        SentRequest::SuspendAccessPoint(request) => read.one("suspend_access_point", request),
        SentRequest::ResumeAccessPoint(request) => read.one("resume_access_point", request),
        SentRequest::RevokeSessions(request) => read.one("revoke_sessions", request),
        SentRequest::DeleteAccessPoint(request) => read.one("delete_access_point", request),
        SentRequest::CreatePolicy(request) => read.one("create_policy", request),
        SentRequest::UpdatePolicy(request) => read.one("update_policy", request),
        SentRequest::DeletePolicy(request) => read.one("delete_policy", request),
        SentRequest::CreateNetworkRule(request) => {
            let masked = masked(request.network_rule.as_ref());
            read.with_addresses("create_network_rule", request, masked)
        }
        SentRequest::UpdateNetworkRule(request) => {
            let masked = masked(request.network_rule.as_ref());
            read.with_addresses("update_network_rule", request, masked)
        }
        SentRequest::DeleteNetworkRule(request) => read.one("delete_network_rule", request),
        SentRequest::CreateRamRole(request) => read.one("create_ram_role", request),
        SentRequest::UpdateRamRole(request) => read.one("update_ram_role", request),
        SentRequest::DeleteRamRole(request) => read.one("delete_ram_role", request),
    }
}

struct Reader<'a> {
    violations: &'a mut Violations,
    account: &'a AccountName,
}

impl Reader<'_> {
    fn one<M: Mutation>(&mut self, kind: &'static str, request: M) -> Option<Requested> {
        self.with_addresses(kind, request, None)
    }

    fn with_addresses<M: Mutation>(
        &mut self,
        kind: &'static str,
        request: M,
        masked: Option<Masked>,
    ) -> Option<Requested> {
        let account = self.account;
        let path = || format!("{kind}.");
        self.violations.within(path, |own| {
            let command = read_one_of_many(own, request)?;
            if *command.account() == account.0 {
                return Some(Requested { command, about: About { kind, masked } });
            }
            own.add(M::ADDRESS, format!("must be in `{account}`"));
            None
        })
    }
}

/// The addresses that have host bits. Only those of a rule that is valid are looked at by anybody.
fn masked(rule: Option<&pb::NetworkRule>) -> Option<Masked> {
    let addresses = rule.map(|rule| rule.addresses.as_slice()).unwrap_or_default();
    let mut masked =
        addresses.iter().take(Addresses::MAX).filter(|text| Prefix::has_host_bits(text));
    let first = masked.next()?.clone();
    Some(Masked { first, count: 1 + masked.count() })
}

/// What many changes led to, as it is sent.
pub fn send_made(mode: Mode, requested: &[About], made: &Made) -> pb::ApplyChangesResponse {
    let mut warnings = Vec::new();
    for ((place, about), event) in requested.iter().enumerate().zip(&made.events) {
        let path = format!("changes[{place}].{}", about.kind);
        let odd = oddities(&made.after, &event.change);
        warnings.extend(odd.iter().map(|odd| send_oddity(&path, odd)));
        warnings.extend(about.masked.as_ref().map(|masked| send_masked(&path, masked)));
    }
    warnings.truncate(MAX_WARNINGS);
    let changes = made.events.iter().map(|event| send(mode, event)).collect();
    pb::ApplyChangesResponse { changes, warnings }
}

fn send_masked(path: &str, masked: &Masked) -> pb::Warning {
    let Masked { first, count } = masked;
    let others = match count - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    pb::Warning {
        reason: WarningReason::HostBitsMasked.into(),
        field: format!("{path}.network_rule.addresses"),
        message: format!("has `{first}`{others} with host bits, which are masked off"),
    }
}

fn send_oddity(path: &str, odd: &Oddity) -> pb::Warning {
    let (reason, field) = match odd {
        Oddity::AnyNetwork => (WarningReason::AnyNetwork, "policy.any_network"),
        Oddity::EveryAddress(_) => (WarningReason::EveryAddress, "network_rule.addresses"),
        Oddity::EveryResource(_) => (WarningReason::EveryResource, "policy.resources"),
        Oddity::PermissionWithoutPattern(_) => {
            (WarningReason::PermissionWithoutPattern, "policy.permissions")
        }
        Oddity::PatternWithoutPermission(_) => {
            (WarningReason::PatternWithoutPermission, "policy.resources")
        }
        Oddity::RuleCannotMatch(_) => {
            (WarningReason::RuleCannotMatch, "policy.network_rules.names")
        }
        Oddity::TrustsNone(_) => (WarningReason::TrustsNoEnvironment, "ram_role.trust_policy"),
        Oddity::FurtherPrincipal(_) => (WarningReason::FurtherPrincipal, "ram_role.trust_policy"),
        Oddity::UnusualRoleName(_) => {
            (WarningReason::UnusualRoleName, "access_point.ram_role.role")
        }
    };
    let field = format!("{path}.{field}");
    pb::Warning { reason: reason.into(), field, message: odd.to_string() }
}

/// In which form changes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As messages.
    Message,
    /// As the bytes that are stored.
    Serialized,
}

/// Parses the form that changes are wanted in.
pub fn parse_form(violations: &mut Violations, form: i32) -> Option<Form> {
    match pb::ChangeForm::try_from(form) {
        Ok(pb::ChangeForm::Unspecified | pb::ChangeForm::Message) => Some(Form::Message),
        Ok(pb::ChangeForm::Serialized) => Some(Form::Serialized),
        Err(_) => {
            violations.add("form", "must be one of its values");
            None
        }
    }
}

/// Changes of the journal as they are sent. Blocks on the disk for their bytes.
pub fn send_all(
    history: &History,
    events: &[Event],
    form: Form,
) -> Result<Vec<pb::Change>, ApiError> {
    match form {
        Form::Message => Ok(events.iter().map(|event| send(Mode::Apply, event)).collect()),
        Form::Serialized => {
            let stored = history.stored(events).map_err(ApiError::from)?;
            let with_bytes = events.iter().zip(stored).map(|(event, serialized_event)| {
                pb::Change { revision: event.sequence, serialized_event, ..pb::Change::default() }
            });
            Ok(with_bytes.collect())
        }
    }
}

/// A change as it is sent: without what only is given to what is made, if it was only judged.
pub fn send(mode: Mode, event: &Event) -> pb::Change {
    let Event { sequence, time, actor, request, change } = event;
    let (revision, change_time) = match mode {
        Mode::Apply => (*sequence, Some(timestamp(*time))),
        Mode::ValidateOnly => (0, None),
    };
    pb::Change {
        revision,
        change_time,
        actor: actor.to_string(),
        request_id: request.as_ref().map(|mark| mark.id.as_str().to_owned()).unwrap_or_default(),
        change: Some(send_change(mode, change)),
        serialized_event: Vec::new(),
    }
}

/// What a watch has read, as it is sent.
pub fn send_progress(
    (from, through): (u64, u64),
    changes: Vec<pb::Change>,
) -> pb::WatchChangesResponse {
    pb::WatchChangesResponse { changes, scanned: Some(pb::ScannedRevisions { from, through }) }
}

fn send_change(mode: Mode, change: &Change) -> SentChange {
    let access_point =
        |after: &AccessPoint| access_point::send(after, SentHeader::made_in(mode, &after.header));
    let policy = |after: &Policy| policy::send(after, SentHeader::made_in(mode, &after.header));
    let rule =
        |after: &NetworkRule| network_rule::send(after, SentHeader::made_in(mode, &after.header));
    let key = |after: &ClientKey| client_key::send(after, SentHeader::made_in(mode, &after.header));
    let role = |after: &RamRole| ram_role::send(after, SentHeader::made_in(mode, &after.header));
    match change {
        Change::AccessPointCreated(after) => SentChange::AccessPointCreated(access_point(after)),
        Change::AccessPointUpdated(after) => SentChange::AccessPointUpdated(access_point(after)),
        Change::AccessPointSuspended(after) => {
            SentChange::AccessPointSuspended(access_point(after))
        }
        Change::AccessPointResumed(after) => SentChange::AccessPointResumed(access_point(after)),
        Change::SessionsRevoked(after) => SentChange::SessionsRevoked(access_point(after)),
        Change::AccessPointDeleted(gone) => SentChange::AccessPointDeleted(send_gone(gone)),
        Change::PolicyCreated(after) => SentChange::PolicyCreated(policy(after)),
        Change::PolicyUpdated(after) => SentChange::PolicyUpdated(policy(after)),
        Change::PolicyDeleted(gone) => SentChange::PolicyDeleted(send_gone(gone)),
        Change::NetworkRuleCreated(after) => SentChange::NetworkRuleCreated(rule(after)),
        Change::NetworkRuleUpdated(after) => SentChange::NetworkRuleUpdated(rule(after)),
        Change::NetworkRuleDeleted(gone) => SentChange::NetworkRuleDeleted(send_gone(gone)),
        Change::RamRoleCreated(after) => SentChange::RamRoleCreated(role(after)),
        Change::RamRoleUpdated(after) => SentChange::RamRoleUpdated(role(after)),
        Change::RamRoleDeleted(gone) => SentChange::RamRoleDeleted(send_gone(gone)),
        Change::ClientKeyIssued(after) => SentChange::ClientKeyIssued(key(after)),
        Change::ClientKeyImported(after) => SentChange::ClientKeyImported(key(after)),
        Change::ClientKeyEnabled(after) => SentChange::ClientKeyEnabled(key(after)),
        Change::ClientKeyDisabled(after) => SentChange::ClientKeyDisabled(key(after)),
        Change::ClientKeyDeleted(gone) => SentChange::ClientKeyDeleted(send_gone(gone)),
        Change::ClientKeyUsed(KeyUse { key: KnownKey { name, uid }, time }) => {
            SentChange::ClientKeyUsed(pb::ClientKeyUse {
                name: name.to_string(),
                uid: uid.to_string(),
                use_time: Some(timestamp(*time)),
            })
        }
        Change::ClientKeyNoticeGiven(KeyNotice { key: KnownKey { name, uid }, notice, end }) => {
            SentChange::ClientKeyNoticeGiven(pb::ClientKeyNotice {
                name: name.to_string(),
                uid: uid.to_string(),
                days: notice.days().into(),
                not_after_time: Some(timestamp(*end)),
            })
        }
    }
}

fn send_gone<N: ToString>(gone: &Gone<N>) -> pb::Deletion {
    let Gone { name, uid } = gone;
    pb::Deletion { name: name.to_string(), uid: uid.to_string() }
}
