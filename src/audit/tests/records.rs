//! The bytes of records are those of the public message, whatever is in them and however long it
//! is.

use std::net::SocketAddr;

use prost::Message;
use uuid::Uuid;

use crate::{
    api::pb,
    audit::{
        log::Mode,
        record::{
            self, AuditReadDraft, Call, CheckDraft, Draft, EventDraft, GapDraft, Integrity,
            LoadDraft, MAX_RECORD_BYTES, PreviousStop, Stamp,
            session::{self, ProofMethod, SessionDraft, SessionOutcome, Voucher},
        },
        succession::Head,
        testing::LOG_ID,
    },
    domain::{
        check::{ActionName, Check, InstanceText, ResourceText, Subject},
        decision::{Decision, Denial, DenyReason},
        name::{AccessPointRef, LocationRef},
        network::{Origin, OriginNetwork},
        proof::ProofProblem,
        resource::Uid,
        rules::RulesVersion,
        session::{Credential, Session, ShownSession},
        testing::{
            World, create_access_point, create_network_rule, create_policy, full_name, origin,
        },
        time::UnixNanos,
    },
    store::testing::check_golden,
};

const TIME: UnixNanos = UnixNanos(1_795_458_000_123_456_789);
const HOME: &str = "accounts/acme/regions/eu-1";

/// A draft's bytes as the writer would have them.
fn stamped(draft: &Draft<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::encode(&mut bytes, &LOG_ID.to_string(), draft);
    let length = bytes.len();
    let nonce = *b"sixteen bytes :)";
    let (sequence, account_previous) = (0x0102_0304_0506_0708, 0x1112_1314_1516_1718);
    record::stamp(&mut bytes, &Stamp { sequence, time: TIME, nonce, account_previous });
    assert_eq!(bytes.len(), length, "a stamp changes no length");
    bytes
}

fn draft<'a>(call: Call<'a>, event: EventDraft<'a>) -> Draft<'a> {
    Draft { account: "acme", region: "eu-1", call, event }
}

/// A world with one policy, which grants from a VPC and nowhere else.
fn world(location: &str, id: &str) -> World {
    let name = |collection| full_name(location, collection, id);
    World::given([
        create_network_rule(&name("networkRules"), "vpc-1", "10.0.0.0/8"),
        create_policy(&name("policies"), "kst-1", "CRYPTO_SERVICE_SECRET_USER", "secret/*", id),
        create_access_point(&name("accessPoints"), id),
    ])
}

fn check<'a>(location: &'a str, access_point: &'a str, from: &'a str) -> Check<'a> {
    Check {
        location: LocationRef::parse(location).unwrap(),
        subject: Subject::Asserted(AccessPointRef::parse(access_point).unwrap()),
        action: ActionName::parse("GetSecretValue").unwrap(),
        resource: ResourceText::parse("secret/db").unwrap(),
        instance: InstanceText::parse("kst-1").unwrap(),
        origin: origin(from),
    }
}

fn check_draft<'a>(check: Check<'a>, decision: Decision<'a>) -> CheckDraft<'a> {
    CheckDraft {
        time: UnixNanos(TIME.0 - 1_000),
        check,
        access_point: Some(Uid(Uuid::from_u128(77))),
        name: None,
        decision,
        revision: 300,
        rules_version: RulesVersion::CURRENT,
        nanos: 1_234,
    }
}

fn call<'a>() -> Call<'a> {
    Call {
        caller: "gateway",
        peer: Some("10.1.2.3:4567".parse().unwrap()),
        forwarded: None,
        request_id: "0b9e-42",
        trace_id: Some([0xab; 16]),
        user_agent: "curl/8",
    }
}

/// The same by way of a proxy.
fn forwarded<'a>() -> Call<'a> {
    Call { forwarded: Some("[2001:db8::7]:4001".parse().unwrap()), ..call() }
}

fn start<'a>(previous_stop: PreviousStop, mode: Mode, integrity: Integrity) -> EventDraft<'a> {
    EventDraft::ServerStart {
        version: "0.1.0",
        revision: 9,
        configuration_digest: &[0xcd; 32],
        previous_stop,
        mode,
        integrity,
    }
}

fn audit_read(through: u64, filter: &[u8]) -> AuditReadDraft<'_> {
    let method = "/aap.v1.AuditService/ListAuditRecords";
    AuditReadDraft { method, from: 3, through, filter, cursor: "" }
}

fn read_by_cursor() -> AuditReadDraft<'static> {
    let cursor = "accounts/acme/auditCursors/siem";
    AuditReadDraft { cursor, ..audit_read(0, b"a filter") }
}

#[test]
fn golden_records_are_read_and_written_as_ever() {
    let world = world(HOME, "app");
    let name = full_name(HOME, "accessPoints", "app");
    let allowed = check(HOME, &name, "vpc-1 10.1.2.3");
    let denied = check(HOME, &name, "public 2001:db8::1");
    let unknown = check(HOME, "accounts/acme/regions/eu-1/accessPoints/none", "- -");
    let grant = check_draft(allowed, world.rulebook.decide(&allowed).decision);
    let denial = check_draft(denied, world.rulebook.decide(&denied).decision);
    let stranger = CheckDraft {
        access_point: None,
        ..check_draft(unknown, world.rulebook.decide(&unknown).decision)
    };
    let (code, suppressed) = (16, 41);
    let (method, reason) = ("/aap.v1.PolicyService/CreatePolicy", "CREDENTIAL_MISSING");
    let refused = EventDraft::RefusedCall { method, code, reason, suppressed };
    let durable = |previous_stop| start(previous_stop, Mode::Durable, Integrity::Whole);
    let buffered = start(PreviousStop::Unclean, Mode::Buffered, Integrity::Whole);
    let damaged = start(PreviousStop::Unclean, Mode::Durable, Integrity::ServedDamaged);
    let head = Head { log_id: Uuid::from_u128(5), sequence: 77, leaf_hash: Some([0x1e; 32]) };
    let after = |head| EventDraft::Gap(GapDraft::PreviousLog(head));
    let applied = |awaits_restart| {
        EventDraft::ConfigurationLoad(LoadDraft::Applied { digest: &[0xef; 32], awaits_restart })
    };
    let broken = EventDraft::ConfigurationLoad(LoadDraft::Refused { problems: 3 });
    let nobody = |event| Draft { account: "", region: "", call: Call::default(), event };
    let today = [
        ("check_allowed", draft(call(), EventDraft::Check(&grant))),
        ("check_denied", draft(call(), EventDraft::Check(&denial))),
        ("check_of_unknown_access_point", draft(Call::default(), EventDraft::Check(&stranger))),
        ("refused_call", nobody(refused)),
        ("refused_call_by_a_proxy", draft(forwarded(), refused)),
        ("server_start_after_clean_stop", nobody(durable(PreviousStop::Clean))),
        ("server_start_after_unclean_stop", nobody(durable(PreviousStop::Unclean))),
        ("server_start_that_does_not_wait_for_the_disk", nobody(buffered)),
        ("server_start_over_damage", nobody(damaged)),
        ("gap_after_another_log", nobody(after(head))),
        (
            "gap_after_another_log_with_a_damaged_end",
            nobody(after(Head { leaf_hash: None, ..head })),
        ),
        ("gap_of_removed_records", nobody(EventDraft::Gap(GapDraft::Removed(1, 65_000)))),
        ("server_stop", nobody(EventDraft::ServerStop { revision: 9 })),
        ("configuration_load", nobody(applied(&[]))),
        ("configuration_load_awaiting_restart", nobody(applied(&["listen", "audit"]))),
        ("configuration_load_refused", nobody(broken)),
        ("audit_read", nobody(EventDraft::AuditRead(audit_read(0, b"a filter")))),
        (
            "audit_read_under_a_long_filter",
            nobody(EventDraft::AuditRead(audit_read(52, &[b'f'; 1_025]))),
        ),
        ("audit_read_by_cursor", nobody(EventDraft::AuditRead(read_by_cursor()))),
    ];
    let today = today.map(|(name, draft)| (name, stamped(&draft)));
    check_golden("audit_records", &today, |bytes| {
        format!("{:#?}\n", pb::AuditRecord::decode(bytes).unwrap())
    });
}

fn session() -> Session {
    Session {
        access_point: Uid(Uuid::from_u128(77)),
        proved_by: Credential::ClientKey(Uid(Uuid::from_u128(78))),
        revision: 299,
        made: UnixNanos::from_parts(1_795_458_000, 0),
        expires: UnixNanos::from_parts(1_795_458_900, 0),
    }
}

#[test]
fn golden_records_of_sessions_are_read_and_written_as_ever() {
    let world = world(HOME, "app");
    let name = full_name(HOME, "accessPoints", "app");
    let allowed = check(HOME, &name, "vpc-1 10.1.2.3");
    let grant = world.rulebook.decide(&allowed).decision;
    let session = session();
    let shown = |shown| Check { subject: Subject::Session(shown, TIME), ..allowed };
    let by_session = CheckDraft {
        name: Some(&name),
        ..check_draft(shown(ShownSession::Genuine(session)), grant)
    };
    let by_nobody = CheckDraft {
        access_point: None,
        ..check_draft(
            shown(ShownSession::Foreign),
            world.rulebook.decide(&shown(ShownSession::Foreign)).decision,
        )
    };
    let asked = SessionDraft {
        time: TIME,
        access_point: &name,
        access_point_uid: Some(session.access_point),
        method: ProofMethod::ClientKeyTls,
        credential: Some(session.proved_by),
        voucher: Voucher::default(),
        outcome: SessionOutcome::Granted(session.expires),
        revision: 299,
    };
    let not_proved = SessionDraft {
        access_point_uid: None,
        credential: None,
        method: ProofMethod::ClientKeyAssertion,
        outcome: SessionOutcome::Refused(
            DenyReason::CredentialInvalid,
            Some(ProofProblem::SignatureInvalid),
        ),
        ..asked
    };
    let nobody = |event| Draft { account: "", region: "", call: Call::default(), event };
    let today = [
        ("check_by_session", draft(call(), EventDraft::Check(&by_session))),
        ("check_by_no_session", draft(call(), EventDraft::Check(&by_nobody))),
        ("session_granted", draft(Call::default(), EventDraft::Session(&asked))),
        ("session_refused", nobody(EventDraft::Session(&not_proved))),
    ];
    let today = today.map(|(name, draft)| (name, stamped(&draft)));
    check_golden("audit_records", &today, |bytes| {
        format!("{:#?}\n", pb::AuditRecord::decode(bytes).unwrap())
    });
}

#[test]
fn golden_records_of_sessions_of_roles_are_read_and_written_as_ever() {
    let world = world(HOME, "app");
    let name = full_name(HOME, "accessPoints", "app");
    let allowed = check(HOME, &name, "vpc-1 10.1.2.3");
    let grant = world.rulebook.decide(&allowed).decision;
    let by_role = Credential::RamRole(Uid(Uuid::from_u128(79)));
    let shown = ShownSession::Genuine(Session { proved_by: by_role, ..session() });
    let check = Check { subject: Subject::Session(shown, TIME), ..allowed };
    let checked = CheckDraft { name: Some(&name), ..check_draft(check, grant) };
    let principal = "acs:ram::1000:assumed-role/ECSRole/vm-ram-i-1";
    let asked = SessionDraft {
        time: TIME,
        access_point: &name,
        access_point_uid: Some(session().access_point),
        method: ProofMethod::CallerIdentity,
        credential: Some(by_role),
        voucher: Voucher { issuer: "", principal },
        outcome: SessionOutcome::Granted(session().expires),
        revision: 299,
    };
    let not_trusted = SessionDraft {
        method: ProofMethod::RoleToken,
        voucher: Voucher { issuer: "cluster", principal: "system:serviceaccount:a:b" },
        outcome: SessionOutcome::Refused(DenyReason::RoleNotTrusted, None),
        ..asked
    };
    let today = [
        ("check_by_session_of_role", draft(call(), EventDraft::Check(&checked))),
        ("session_granted_to_role", draft(Call::default(), EventDraft::Session(&asked))),
        ("session_refused_to_role", draft(Call::default(), EventDraft::Session(&not_trusted))),
    ];
    let today = today.map(|(name, draft)| (name, stamped(&draft)));
    check_golden("audit_records", &today, |bytes| {
        format!("{:#?}\n", pb::AuditRecord::decode(bytes).unwrap())
    });
}

fn timestamp(time: UnixNanos) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.subsecond_nanos()).unwrap();
    prost_types::Timestamp { seconds: time.seconds(), nanos }
}

/// What the public message says of a draft that was stamped as [`stamped`] does it.
fn expected(draft: &Draft<'_>, event: pb::audit_record::Event) -> pb::AuditRecord {
    let Draft { account, region, call, event: _ } = draft;
    let Call { caller, peer, forwarded, request_id, trace_id, user_agent: _ } = call;
    pb::AuditRecord {
        sequence: 0x0102_0304_0506_0708,
        record_time: Some(timestamp(TIME)),
        nonce: b"sixteen bytes :)".to_vec(),
        account_previous_sequence: 0x1112_1314_1516_1718,
        log_id: LOG_ID.to_string(),
        account: (*account).to_owned(),
        region: (*region).to_owned(),
        caller: (*caller).to_owned(),
        peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        request_id: (*request_id).to_owned(),
        trace_id: trace_id.map(|id| id.to_vec()).unwrap_or_default(),
        user_agent: "ü".repeat(128),
        forwarded_peer: forwarded.map(|address| address.to_string()).unwrap_or_default(),
        event: Some(event),
    }
}

fn longest_call<'a>(id: &'a str, request_id: &'a str, user_agent: &'a str) -> Call<'a> {
    let address = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
    let mut peer: SocketAddr = address.parse().unwrap();
    if let SocketAddr::V6(peer) = &mut peer {
        peer.set_scope_id(u32::MAX);
    }
    let (peer, forwarded, trace_id) = (Some(peer), Some(peer), Some([0xff; 16]));
    Call { caller: id, peer, forwarded, request_id, trace_id, user_agent }
}

/// What the public message says of the check below.
fn expected_check(check: &Check<'_>, location: &str, id: &str) -> pb::CheckEvent {
    let Some(OriginNetwork::Vpc(vpc_id)) = check.origin.network else { panic!("from a VPC") };
    let vpc = pb::VpcNetwork { vpc_id: vpc_id.to_owned() };
    pb::CheckEvent {
        decision_time: Some(timestamp(UnixNanos(i64::MAX))),
        access_point: full_name(location, "accessPoints", id),
        access_point_uid: Uuid::from_u128(77).to_string(),
        credential: Some(pb::check_event::Credential::AssertedIdentity(pb::AssertedIdentity {})),
        action: check.action.as_str().to_owned(),
        resource: check.resource.as_str().to_owned(),
        instance: check.instance.as_str().to_owned(),
        origin: Some(pb::Origin {
            network: Some(pb::origin::Network::VpcNetwork(vpc)),
            address: "1111:2222:3333:4444:5555:6666:7777:8888".to_owned(),
        }),
        decision: Some(pb::Decision {
            outcome: pb::Outcome::Allow.into(),
            reason: pb::DecisionReason::PolicyGrants.into(),
            policy: full_name(location, "policies", id),
            network_rule: full_name(location, "networkRules", id),
            nearest_policy: String::new(),
            rules_version: RulesVersion::CURRENT.number(),
        }),
        revision: u64::MAX,
        decision_nanos: u64::MAX,
    }
}

#[test]
fn a_check_with_every_field_at_its_longest_fits_and_reads_back() {
    let id = "x".repeat(128);
    let location = format!("accounts/{id}/regions/{id}");
    let name = full_name(&location, "accessPoints", &id);
    let world = world(&location, &id);
    let granting = check(&location, &name, "vpc-1 10.1.2.3");
    let Decision::Allow(grant) = world.rulebook.decide(&granting).decision else {
        panic!("it is allowed")
    };
    let (request_id, user_agent) = ("r".repeat(64), "ü".repeat(1_000));
    let (action, resource) = ("A".repeat(64), "é".repeat(256));
    let (instance, vpc) = ("i".repeat(64), "v".repeat(64));
    let longest = Check {
        action: ActionName::parse(&action).unwrap(),
        resource: ResourceText::parse(&resource).unwrap(),
        instance: InstanceText::parse(&instance).unwrap(),
        origin: Origin {
            network: Some(OriginNetwork::Vpc(&vpc)),
            address: Some("1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap()),
        },
        ..granting
    };
    let check = CheckDraft {
        time: UnixNanos(i64::MAX),
        revision: u64::MAX,
        nanos: u64::MAX,
        ..check_draft(longest, Decision::Allow(grant))
    };
    let event = EventDraft::Check(&check);
    let call = longest_call(&id, &request_id, &user_agent);
    let draft = Draft { account: &id, region: &id, call, event };
    let bytes = stamped(&draft);
    assert!(bytes.len() <= MAX_RECORD_BYTES, "{}", bytes.len());
    let event = pb::audit_record::Event::Check(expected_check(&longest, &location, &id));
    assert_eq!(pb::AuditRecord::decode(&bytes[..]).unwrap(), expected(&draft, event));
}

#[test]
fn a_refusal_with_every_field_at_its_longest_fits_and_reads_back() {
    let (id, request_id, user_agent) = ("x".repeat(128), "r".repeat(64), "ü".repeat(1_000));
    let method = "/é".repeat(500);
    let (reason, code, suppressed) = ("R".repeat(64), 16, u64::MAX);
    let event = EventDraft::RefusedCall { method: &method, code, reason: &reason, suppressed };
    let call = longest_call(&id, &request_id, &user_agent);
    let draft = Draft { account: &id, region: &id, call, event };
    let bytes = stamped(&draft);
    assert!(bytes.len() <= MAX_RECORD_BYTES, "{}", bytes.len());
    let method = format!("{}/", "/é".repeat(42));
    assert_eq!(method.len(), 127, "cut where a character ends");
    let code = i32::from(code);
    let refused = pb::RefusedCallEvent { method, code, reason: reason.clone(), suppressed };
    let event = pb::audit_record::Event::RefusedCall(refused);
    assert_eq!(pb::AuditRecord::decode(&bytes[..]).unwrap(), expected(&draft, event));
}

#[test]
fn a_request_for_a_session_with_every_field_at_its_longest_fits_and_reads_back() {
    let id = "x".repeat(128);
    let name = full_name(&format!("accounts/{id}/regions/{id}"), "accessPoints", &id);
    let (request_id, user_agent) = ("r".repeat(64), "ü".repeat(1_000));
    let principal = format!("{}ü", "p".repeat(255));
    let uid = Uid(Uuid::from_u128(u128::MAX));
    let session = SessionDraft {
        time: UnixNanos(i64::MAX),
        access_point: &name,
        access_point_uid: Some(uid),
        method: ProofMethod::RoleToken,
        credential: Some(Credential::RamRole(uid)),
        voucher: Voucher { issuer: &id, principal: &principal },
        outcome: SessionOutcome::Granted(UnixNanos(i64::MAX)),
        revision: u64::MAX,
    };
    let call = longest_call(&id, &request_id, &user_agent);
    let event = EventDraft::Session(&session);
    let draft = Draft { account: &id, region: &id, call, event };
    let bytes = stamped(&draft);
    assert!(bytes.len() <= MAX_RECORD_BYTES, "{}", bytes.len());
    let event = pb::audit_record::Event::Session(pb::SessionEvent {
        request_time: Some(timestamp(UnixNanos(i64::MAX))),
        access_point: name.clone(),
        access_point_uid: uid.to_string(),
        proof_method: pb::ProofMethod::RoleToken.into(),
        client_key_uid: String::new(),
        outcome: pb::Outcome::Allow.into(),
        reason: pb::DecisionReason::ProofAccepted.into(),
        problem: 0,
        revision: u64::MAX,
        expire_time: Some(timestamp(UnixNanos(i64::MAX))),
        ram_role_uid: uid.to_string(),
        issuer: id.clone(),
        principal: "p".repeat(255),
    });
    assert_eq!(pb::AuditRecord::decode(&bytes[..]).unwrap(), expected(&draft, event));
}

#[test]
fn a_user_agent_is_cut_where_a_character_ends() {
    for (text, kept) in [
        (String::new(), 0),
        ("a".repeat(256), 256),
        ("a".repeat(257), 256),
        (format!("{}ü", "a".repeat(255)), 255),
        (format!("{}ü!", "a".repeat(254)), 256),
        (format!("{}\u{1f600}", "a".repeat(253)), 253),
    ] {
        let call = Call { user_agent: &text, ..Call::default() };
        let bytes = stamped(&draft(call, EventDraft::ServerStop { revision: 0 }));
        let decoded = pb::AuditRecord::decode(&bytes[..]).unwrap();
        assert_eq!(Some(&*decoded.user_agent), text.get(..kept));
    }
}

#[test]
fn outcomes_and_reasons_have_the_numbers_of_the_public_message() {
    let name = full_name(HOME, "accessPoints", "app");
    let check = check(HOME, &name, "- -");
    let reasons = [
        pb::DecisionReason::AccessPointNotFound,
        pb::DecisionReason::AccessPointSuspended,
        pb::DecisionReason::CredentialUnknown,
        pb::DecisionReason::CredentialInvalid,
        pb::DecisionReason::CredentialDisabled,
        pb::DecisionReason::CredentialNotYetValid,
        pb::DecisionReason::CredentialExpired,
        pb::DecisionReason::AuthenticationMethodMismatch,
        pb::DecisionReason::RoleNotTrusted,
        pb::DecisionReason::ScopeNotCovered,
        pb::DecisionReason::ActionNotPermitted,
        pb::DecisionReason::ResourceNotCovered,
        pb::DecisionReason::NetworkNotAllowed,
    ];
    for (reason, public) in DenyReason::ALL.into_iter().zip(reasons) {
        let spelled = format!("{reason:?}").to_uppercase();
        assert_eq!(public.as_str_name().replace("DECISION_REASON_", "").replace('_', ""), spelled);
        let denial = Denial { reason, nearest_policy: Some("near") };
        let denied = check_draft(check, Decision::Deny(denial));
        let bytes = stamped(&draft(call(), EventDraft::Check(&denied)));
        let decoded = pb::AuditRecord::decode(&bytes[..]).unwrap();
        let Some(pb::audit_record::Event::Check(event)) = decoded.event else { panic!("a check") };
        let decision = event.decision.unwrap();
        assert_eq!(decision.outcome, i32::from(pb::Outcome::Deny));
        assert_eq!(decision.reason, i32::from(public));
        assert_eq!((&*decision.policy, &*decision.nearest_policy), ("", "near"));
        assert_eq!(event.origin, None, "an unknown origin is none");
    }
}

#[test]
fn what_the_log_reads_back_of_a_record_is_what_it_says() {
    let stop = EventDraft::ServerStop { revision: 0 };
    for account in ["", "acme"] {
        let bytes = stamped(&Draft { account, region: "", call: call(), event: stop });
        assert_eq!(record::sequence(&bytes), Some(0x0102_0304_0506_0708));
        assert_eq!(record::record_time(&bytes), Some(TIME));
        assert_eq!(record::account(&bytes), account);
        assert!(record::is_server_stop(&bytes));
        for length in 0..bytes.len() {
            // A piece of a record is read without a panic.
            let piece = &bytes[..length];
            let _ = (record::sequence(piece), record::record_time(piece), record::account(piece));
        }
    }
    let refused = EventDraft::RefusedCall { method: "", code: 0, reason: "", suppressed: 0 };
    assert!(!record::is_server_stop(&stamped(&draft(call(), refused))));
}

#[test]
fn problems_of_proofs_have_the_numbers_of_the_public_message() {
    for problem in ProofProblem::ALL {
        let number = i32::try_from(session::problem_number(problem)).unwrap();
        let public = pb::ProofProblem::try_from(number).unwrap();
        let spelled = format!("{problem:?}").to_uppercase();
        assert_eq!(public.as_str_name().replace("PROOF_PROBLEM_", "").replace('_', ""), spelled);
    }
}
