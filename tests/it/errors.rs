//! Every error of the API, provoked over the API, on one page: what was done, and what came of it.
//!
//! A page to read: what differs from run to run stands in angle brackets.

use std::{collections::BTreeSet, fmt::Write as _, fs, os::unix::fs::FileExt, time::Duration};

use aap::{
    api::pb::{
        self, ErrorReason, access_point::Authentication, create_session_request::Proof,
        network_rule::Kind, requested_change::Change as Requested,
        watch_audit_records_request::Start,
    },
    audit::log::Options,
    domain::limits::Limits,
    store::space::Reserve,
};
use expect_test::expect_file;
use serde_json::json;
use tokio::task::JoinSet;
use tonic::Request;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, BOUNDED, Client, ENFORCER, Fault, GATEWAY, OTHER_ADMIN,
    OTHER_ENFORCER, Refusal, Setup, TestServer,
    certificates::Authority,
    clients::EXPIRED,
    configuration::Text,
    cursors::{self, Reading},
    https::{HttpsServer, Reply},
    issuers::IssuerKey,
    place::Place,
    refused,
    server::PATIENCE,
    watching::{Watch, read_from_a_failing_disk, stored},
    world::{self, HERE, ask, ask_all},
};
use crate::{backups, caller_identity};

/// Reasons that no test here provokes. This list may only shrink.
const NOT_PROVOKED: [&str; 0] = [];

/// What a page is made of.
#[derive(Debug, Default)]
struct Page {
    text: String,
    reasons: BTreeSet<String>,
}

impl Page {
    fn add(&mut self, situation: &str, refusal: &Refusal) {
        let mut refusal = refusal.clone();
        for (key, value) in [("etag", "<etag>"), ("free_percent", "<free>")] {
            if let Some(found) = refusal.metadata.get_mut(key) {
                refusal.message = refusal.message.replacen(found.as_str(), value, 1);
                value.clone_into(found);
            }
        }
        write!(self.text, "\n{situation}\n{refusal}").unwrap();
        self.reasons.insert(refusal.reason);
    }
}

#[tokio::test]
async fn every_error_stands_on_the_page() {
    let mut page = Page::default();
    page.text.push_str("What callers are told, by what they did.\n");
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    who_may_not(&mut page, &server).await;
    what_is_wrong(&mut page, &server).await;
    what_is_not_so(&mut page, &server).await;
    what_the_log_has_not(&mut page, &server).await;
    let setup = server.stop().await;
    what_the_journal_can_not(&mut page, setup.clone()).await;
    what_the_audit_log_can_not(&mut page, setup).await;
    backups::refusals().await.iter().for_each(|(situation, one)| page.add(situation, one));
    expect_file!["../snapshots/errors.txt"].assert_eq(&page.text);

    let all = (1..1_000).filter_map(|number| ErrorReason::try_from(number).ok());
    let all: BTreeSet<_> = all.map(|reason| reason.as_str_name().to_owned()).collect();
    let missing: Vec<_> = all.difference(&page.reasons).collect();
    assert_eq!(missing, NOT_PROVOKED, "reasons that aren't on the page");
}

async fn who_may_not(page: &mut Page, server: &TestServer) {
    let check = |client: Client| async move {
        refused(client.authorization().check_access(ask(world::allowed())).await)
    };
    let stranger = Client::new(server.channel().clone(), "aap_wrong");
    page.add("any method, by a stranger", &check(stranger).await);
    page.add("any method, by a caller that has expired", &check(server.client(EXPIRED)).await);
    page.add("CheckAccess, by an admin", &check(server.client(ADMIN)).await);
    page.add("CheckAccess of another's account", &check(server.client(OTHER_ENFORCER)).await);
    page.add("CheckAccess by name, which is not allowed", &check(server.client(GATEWAY)).await);
    let mut bounded = server.client(BOUNDED).authorization();
    let private = pb::Check { instance: "kst-1".into(), ..world::allowed() };
    let refusal = refused(bounded.check_access(ask(private.clone())).await);
    page.add("CheckAccess of an instance that the enforcer may not vouch for", &refusal);
    let origin = Some(world::from_vpc("vpc-2", world::INSIDE));
    let elsewhere = pb::Check { origin, ..world::allowed() };
    let batch = ask_all(vec![world::allowed(), elsewhere, private]);
    let refusal = refused(bounded.batch_check_access(batch).await);
    page.add("BatchCheckAccess from a VPC that the enforcer may not vouch for", &refusal);
    let request = world::new_policy("p", &["secret/a"], &[]);
    let refusal = refused(server.client(OTHER_ADMIN).policies().create_policy(request).await);
    page.add("CreatePolicy in another's account", &refusal);
}

async fn what_is_wrong(page: &mut Page, server: &TestServer) {
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    let path = "/aap.v1.PolicyService/GetPolicy";
    let garbage = admin.raw(path, vec![0xff]).await.unwrap_err();
    page.add("GetPolicy with bytes that are no message", &Refusal::of(&garbage));
    let large = admin.raw(path, vec![0; 5_000_000]).await.unwrap_err();
    page.add("GetPolicy with 5 MB", &Refusal::of(&large));
    let get = pb::GetPolicyRequest { name: format!("{HERE}/policy/p") };
    let refusal = refused(admin.policies().get_policy(get).await);
    page.add("GetPolicy of no name", &refusal);
    let get = pb::GetPolicyRequest { name: format!("{HERE}/policies/-p") };
    let refusal = refused(admin.policies().get_policy(get).await);
    page.add("GetPolicy of a name with an invalid id", &refusal);
    let empty = pb::CreateAccessPointRequest { parent: HERE.into(), ..Default::default() };
    let refusal = refused(admin.access_points().create_access_point(empty).await);
    page.add("CreateAccessPoint with nothing but a parent", &refusal);
    let policy = pb::Policy {
        scope: "kst".into(),
        permissions: vec![0],
        resources: vec!["secret/*a".into(), "alias/a".into(), "secret/".into(), "secret/ ".into()],
        ..Default::default()
    };
    let request = pb::CreatePolicyRequest {
        parent: HERE.into(),
        policy_id: "p".into(),
        policy: Some(policy),
        request_id: "two words".into(),
        validate_only: true,
    };
    let refusal = refused(admin.policies().create_policy(request).await);
    page.add("CreatePolicy with everything wrong", &refusal);
    let useless = world::new_policy("p", &["key/a"], &[]);
    let refusal = refused(admin.policies().create_policy(useless).await);
    page.add("CreatePolicy of a policy that could never allow", &refusal);
    let rule = world::new_rule("r", world::vpc(""), &["10.0.0.0/33"]);
    let refusal = refused(admin.policies().create_network_rule(rule).await);
    page.add("CreateNetworkRule with everything wrong", &refusal);
    let mut role = world::new_role("r", &["ecs"]);
    role.ram_role.as_mut().unwrap().trust_policy =
        "{\"Version\": \"1\", \"Version\": \"1\"}".into();
    let refusal = refused(admin.ram_roles().create_ram_role(role).await);
    page.add("CreateRamRole with a trust policy that says something twice", &refusal);
    let refusal = refused(enforcer.authorization().batch_check_access(ask_all(vec![])).await);
    page.add("BatchCheckAccess without a check", &refusal);
    let wrong = pb::Check { action: "?".into(), instance: String::new(), ..world::allowed() };
    let batch = ask_all(vec![world::allowed(), wrong]);
    let refusal = refused(enforcer.authorization().batch_check_access(batch).await);
    page.add("BatchCheckAccess with a check that is wrong", &refusal);
    let path = "/aap.v1.AuthorizationService/StreamCheckAccess";
    let mut open = Vec::new();
    for _ in 0..256 {
        let never = tokio_stream::pending::<pb::StreamCheckAccessRequest>();
        open.push(enforcer.authorization().stream_check_access(never).await.unwrap());
    }
    let one_more = enforcer.raw(path, Vec::new()).await.unwrap_err();
    page.add("StreamCheckAccess when 256 are open", &Refusal::of(&one_more));
    drop(open);
    let policy = pb::Policy {
        name: world::policy_name("RAMPolicy"),
        resources: vec!["key/a".into()],
        ..Default::default()
    };
    let request = pb::UpdatePolicyRequest { policy: Some(policy.clone()), ..Default::default() };
    let refusal = refused(admin.policies().update_policy(request).await);
    page.add("UpdatePolicy to one that could never allow", &refusal);
    let paths = vec!["scope".into(), "resources".into(), "name".into()];
    let update_mask = Some(prost_types::FieldMask { paths });
    let request =
        pb::UpdatePolicyRequest { policy: Some(policy), update_mask, ..Default::default() };
    let refusal = refused(admin.policies().update_policy(request).await);
    page.add("UpdatePolicy of what can't be changed", &refusal);
    let list = pb::ListPoliciesRequest {
        parent: HERE.into(),
        page_size: -1,
        scope: "kst".into(),
        network_rule: "Network".into(),
        ..Default::default()
    };
    let refusal = refused(admin.policies().list_policies(list).await);
    page.add("ListPolicies with everything wrong", &refusal);
}

async fn what_is_not_so(page: &mut Page, server: &TestServer) {
    let admin = server.client(ADMIN);
    let get = pb::GetAccessPointRequest { name: world::access_point_name("nobody") };
    let refusal = refused(admin.access_points().get_access_point(get).await);
    page.add("GetAccessPoint of what is not there", &refusal);
    let refusal = refused(admin.policies().delete_policy(world::delete_policy("none")).await);
    page.add("DeletePolicy of what is not there", &refusal);
    let policy = world::new_policy("RAMPolicy", &["secret/a"], &[]);
    let refusal = refused(admin.policies().create_policy(policy).await);
    page.add("CreatePolicy of what is there", &refusal);
    let access_point = world::new_access_point("new", &["gone", "RAMPolicy", "Gone"]);
    let refusal = refused(admin.access_points().create_access_point(access_point).await);
    page.add("CreateAccessPoint with policies that are not there", &refusal);
    what_roles_can_not(page, &admin).await;
    let refusal =
        refused(admin.policies().delete_network_rule(world::delete_rule("Network")).await);
    page.add("DeleteNetworkRule of what a policy holds", &refusal);
    let delete =
        pb::DeleteAccessPointRequest { etag: "old".into(), ..world::delete_access_point("app") };
    let refusal = refused(admin.access_points().delete_access_point(delete).await);
    page.add("DeleteAccessPoint with another etag", &refusal);

    // Without a deadline, so that none is over before the answer is here.
    let early = pb::CheckAccessRequest { at_least_revision: 1_000, ..ask(world::allowed()) };
    let refusal = refused(server.client(ENFORCER).authorization().check_access(early).await);
    page.add("CheckAccess at a revision that is not there in time", &refusal);

    what_many_changes_can_not(page, &admin).await;
    what_client_keys_can_not(page, &admin).await;
    what_applications_can_not(page, server).await;
    let limits = Limits { policies: 0, ..Limits::default() };
    let narrow = Setup { limits, ..Setup::new() }.start().await;
    let policy = world::new_policy("p", &["secret/a"], &[]);
    let refusal = refused(narrow.client(ADMIN).policies().create_policy(policy).await);
    page.add("CreatePolicy when the account has as many as it may", &refusal);
    narrow.stop().await;
    let private = Kind::PrivateNetwork(pb::PrivateNetwork {});
    let mut rule = world::new_rule("Private", private, &["10.0.0.0/8"]);
    rule.request_id = "rule-1".into();
    admin.policies().create_network_rule(rule.clone()).await.unwrap();
    rule.network_rule_id = "Other".into();
    let refusal = refused(admin.policies().create_network_rule(rule).await);
    page.add("CreateNetworkRule with a request id that was used", &refusal);
    let policy = world::new_policy("p", &["secret/a"], &["Network", "Private"]);
    let refusal = refused(admin.policies().create_policy(policy).await);
    page.add("CreatePolicy for the shared KMS with a private rule", &refusal);
}

async fn what_roles_can_not(page: &mut Page, admin: &Client) {
    let mut new = world::new_access_point("new", &["RAMPolicy"]);
    new.access_point.as_mut().unwrap().authentication = Some(world::ecs_role("Gone"));
    let refusal = refused(admin.access_points().create_access_point(new.clone()).await);
    page.add("CreateAccessPoint with a RAM role that is not there", &refusal);
    let mut function = world::ecs_role("ECSRole");
    if let Authentication::RamRole(role) = &mut function {
        role.trusted_role = pb::TrustedRole::FunctionCompute.into();
    }
    new.access_point.as_mut().unwrap().authentication = Some(function);
    let refusal = refused(admin.access_points().create_access_point(new).await);
    page.add("CreateAccessPoint with a RAM role that does not trust its environment", &refusal);
    let refusal = refused(admin.ram_roles().delete_ram_role(world::delete_role("ECSRole")).await);
    page.add("DeleteRamRole of what an access point holds", &refusal);
}

async fn what_many_changes_can_not(page: &mut Page, admin: &Client) {
    let apply = |changes: Vec<Requested>| {
        let wrap = |change| pb::RequestedChange { change: Some(change) };
        let changes = changes.into_iter().map(wrap).collect();
        pb::ApplyChangesRequest {
            parent: "accounts/acme".into(),
            changes,
            validate_only: true,
            ..Default::default()
        }
    };
    let create = || Requested::CreatePolicy(world::new_policy("p", &["secret/a"], &[]));
    let refusal = refused(admin.changes().apply_changes(apply(vec![create(), create()])).await);
    page.add("ApplyChanges, the second of which can't be made", &refusal);
    let mut wrong = world::new_policy("-", &["secret/a"], &[]);
    wrong.validate_only = true;
    let wrong = Requested::CreatePolicy(wrong);
    let refusal = refused(admin.changes().apply_changes(apply(vec![create(), wrong])).await);
    page.add("ApplyChanges, the second of which is wrong", &refusal);
    let patch = pb::NetworkRule {
        name: format!("{HERE}/networkRules/Network"),
        addresses: (0..800).map(|host| format!("2001:db8:aaaa:bbbb:cccc::{host:x}")).collect(),
        ..Default::default()
    };
    let request = pb::UpdateNetworkRuleRequest { network_rule: Some(patch), ..Default::default() };
    let many = vec![Requested::UpdateNetworkRule(request); 100];
    let refusal = refused(admin.changes().apply_changes(apply(many)).await);
    page.add("ApplyChanges that leave more than fits into an answer", &refusal);
}

async fn what_the_log_has_not(page: &mut Page, server: &TestServer) {
    let auditor = server.client(AUDITOR);
    let missing = stored(&auditor, 1_000).await.unwrap_err();
    page.add("GetAuditRecord of what is not there", &Refusal::of(&missing));
    // Where the log ends depends on what was refused before: all of that is recorded.
    let last = Watch::from_end(&auditor).await.through;
    let ahead = Watch::begin(&auditor, Start::FromSequence(1_000)).await.unwrap_err();
    let mut refusal = Refusal::of(&ahead);
    refusal.message = refusal.message.replace(&format!("to {last},"), "to <last>,");
    assert_eq!(refusal.metadata.insert("last".into(), "<last>".into()), Some(last.to_string()));
    page.add("WatchAuditRecords from too far ahead", &refusal);
    let request = pb::WatchAuditRecordsRequest::default();
    let refusal = refused(auditor.audit().watch_audit_records(request).await);
    page.add("WatchAuditRecords from nowhere", &refusal);
    let log_id = "00000000-0000-0000-0000-000000000001".to_owned();
    let request = pb::GetAuditRecordRequest { sequence: 1, form: 0, log_id };
    let mut refusal = refused(auditor.audit().get_audit_record(request).await);
    let current = refusal.metadata.insert("current_log_id".into(), "<current>".into()).unwrap();
    refusal.message = refusal.message.replace(&current, "<current>");
    page.add("GetAuditRecord of another log", &refusal);

    what_is_not_proved(page, server).await;
    what_cursors_can_not(page, server).await;

    let unread = read_from_a_failing_disk(server, &auditor).await;
    page.add("GetAuditRecord when the disk fails", &Refusal::of(&unread));

    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(Watch::from_end(&auditor).await);
    }
    let one_more = Watch::begin(&auditor, Start::FromSequence(1)).await.unwrap_err();
    page.add("WatchAuditRecords when its caller has 100 open", &Refusal::of(&one_more));
    drop(open);
}

async fn what_cursors_can_not(page: &mut Page, server: &TestServer) {
    let auditor = server.client(AUDITOR);
    let mut audit = auditor.audit();
    let name = cursors::create(&auditor, "siem", 1).await;
    let get = pb::GetAuditCursorRequest { name: "auditCursors/none".into() };
    page.add("GetAuditCursor of what is not there", &refused(audit.get_audit_cursor(get).await));
    let request = cursors::new_cursor("", "siem", 1);
    let refusal = refused(audit.create_audit_cursor(request).await);
    page.add("CreateAuditCursor whose name is taken", &refusal);
    let acme = server.client(ACME_AUDITOR);
    let refusal = refused(acme.audit().create_audit_cursor(cursors::new_cursor("", "c", 1)).await);
    page.add("CreateAuditCursor over all accounts by an auditor of one", &refusal);
    let reading = Reading::of(&auditor, &name).await;
    let second = Reading::begin(&auditor, cursors::read_by(&name)).await.unwrap_err();
    page.add("ReadAuditCursor while somebody reads", &Refusal::of(&second));
    let ahead = reading.acknowledge(1_000_000).await.unwrap_err();
    let mut refusal = Refusal::of(&ahead);
    // It reads on meanwhile.
    let sent = refusal.metadata.insert("sent_through".into(), "<sent>".into()).unwrap();
    refusal.message = refusal.message.replace(&format!("through {sent},"), "through <sent>,");
    page.add("AcknowledgeAuditCursor of what was not sent", &refusal);
    reading.release(0).await.unwrap();
    let late = reading.acknowledge(1).await.unwrap_err();
    page.add("AcknowledgeAuditCursor under a lease that is over", &Refusal::of(&late));
}

async fn what_applications_can_not(page: &mut Page, server: &TestServer) {
    let mut nobody = Client::without_token(server.channel().clone()).sessions();
    let request = pb::CreateSessionRequest {
        access_point: world::access_point_name("keyed"),
        proof: Some(Proof::ClientKeyAssertion("nothing".into())),
        lifetime_seconds: 0,
    };
    page.add(
        "CreateSession without a proof",
        &refused(nobody.create_session(request.clone()).await),
    );
    let mut refusals = Vec::new();
    // As many as are looked at in a second, and more; another second may begin meanwhile.
    for _ in 0..1_000 {
        let refusal = refused(nobody.create_session(request.clone()).await);
        let is_last = refusal.reason == "ERROR_REASON_TOO_MANY_SESSION_REQUESTS";
        refusals.push(refusal);
        if is_last {
            break;
        }
    }
    page.add("CreateSession too often", refusals.last().unwrap());

    let silent = Setup { audience: None, ..Setup::new() }.start().await;
    let mut nobody = Client::without_token(silent.channel().clone()).sessions();
    let refusal = refused(nobody.create_session(request).await);
    page.add("CreateSession of a server without a name for assertions", &refusal);
    let request = pb::CreateSessionRequest {
        access_point: world::access_point_name("app"),
        proof: Some(Proof::RoleToken("nothing".into())),
        lifetime_seconds: 0,
    };
    let refusal = refused(nobody.create_session(request.clone()).await);
    page.add("CreateSession by a role token of a server without issuers", &refusal);
    let request = pb::CreateSessionRequest {
        proof: Some(Proof::CallerIdentity(pb::CallerIdentity::default())),
        ..request
    };
    let refusal = refused(nobody.create_session(request).await);
    page.add("CreateSession by a caller identity of a server without an STS", &refusal);
    silent.stop().await;
    who_vouches_can_not_be_asked(page).await;
}

async fn who_vouches_can_not_be_asked(page: &mut Page) {
    let setup = Setup::new();
    let nobody_is_there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody_is_there.local_addr().unwrap();
    drop(nobody_is_there);
    let authority = setup.dir.path().join("authority.pem");
    fs::write(&authority, Authority::new().certificate).unwrap();
    let issuer = format!(
        "[[token_issuers]]\nname = \"cluster\"\nissuer = \"https://cluster.test\"\n\
         audience = \"aap.test\"\naccounts = [\"acme\"]\ntrusted_role = \"ecs_instance\"\n\
         role_claim = \"role\"\njwks_url = \"https://{address}/keys\"\nca = \"{}\"\n",
        authority.display()
    );
    let configuration = Text::new(&setup.data_dir())
        .with(ADMIN, "role = \"admin\"\naccounts = [\"acme\"]")
        .and(&issuer);
    let server = Setup { configuration: Some(configuration), ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let claims = json!({"iss": "https://cluster.test"});
    let token = IssuerKey::new("k").sign(&claims);
    let request = pb::CreateSessionRequest {
        access_point: world::access_point_name("app"),
        proof: Some(Proof::RoleToken(token)),
        lifetime_seconds: 0,
    };
    let mut nobody = Client::without_token(server.channel().clone()).sessions();
    let refusal = refused(nobody.create_session(request).await);
    page.add("CreateSession when the keys of a token's issuer can't be had", &refusal);
    server.stop().await;
    the_sts_is_asked_by_many(page).await;
}

async fn the_sts_is_asked_by_many(page: &mut Page) {
    let setup = Setup::new();
    let sts = HttpsServer::saying(Reply::Silence).await;
    let ca = sts.write_authority(setup.dir.path());
    let table = format!(
        "[sts]\nendpoint = \"{}\"\nca = \"{}\"\ntimeout_seconds = 2\n",
        sts.url(""),
        ca.display()
    );
    let place = Place::configured(setup, &table).await;
    let mut asking = JoinSet::new();
    for number in 0..40 {
        let parameters = caller_identity::parameters(place.now, &number.to_string());
        let request = pb::CreateSessionRequest {
            access_point: world::access_point_name("app"),
            proof: Some(caller_identity::proof(parameters)),
            lifetime_seconds: 0,
        };
        let mut nobody = Client::without_token(place.server.channel().clone()).sessions();
        asking.spawn(async move { refused(nobody.create_session(request).await) });
    }
    let mut refusals = asking.join_all().await.into_iter();
    let busy = |refusal: &Refusal| refusal.reason == "ERROR_REASON_TOO_MANY_CALLER_IDENTITIES";
    page.add("CreateSession when many wait for the STS", &refusals.find(busy).unwrap());
    place.server.stop().await;
}

async fn what_client_keys_can_not(page: &mut Page, admin: &Client) {
    let issue = async |request| admin.access_points().issue_client_key(request).await;
    let refusal = refused(issue(world::issue_client_key("app")).await);
    page.add("IssueClientKey for an access point with a RAM role", &refusal);
    let keyed = world::new_access_point("keyed", &["RAMPolicy"]);
    admin.access_points().create_access_point(keyed).await.unwrap();

    let mut issuing = JoinSet::new();
    for _ in 0..40 {
        let mut access_points = admin.access_points();
        let request = pb::IssueClientKeyRequest {
            algorithm: pb::ClientKeyAlgorithm::Rsa2048.into(),
            ..world::issue_client_key("keyed")
        };
        issuing.spawn(async move { access_points.issue_client_key(request).await });
    }
    let answers = issuing.join_all().await;
    let mut refusals = answers.into_iter().filter_map(|answer| Some(Refusal::of(&answer.err()?)));
    let busy = refusals.find(|refusal| refusal.reason == "ERROR_REASON_KEY_GENERATION_BUSY");
    page.add("IssueClientKey when many are being made", &busy.unwrap());
    let refusal = refused(issue(world::issue_client_key("keyed")).await);
    page.add("IssueClientKey for an access point that has three", &refusal);

    let other = world::new_access_point("keyed-too", &["RAMPolicy"]);
    admin.access_points().create_access_point(other).await.unwrap();
    let request = pb::IssueClientKeyRequest {
        request_id: "key-1".into(),
        password: "correct-horse-7".into(),
        ..world::issue_client_key("keyed-too")
    };
    issue(request.clone()).await.unwrap();
    let mut refusal = refused(issue(request).await);
    let name = refusal.metadata["client_key"].clone();
    let shown = format!("{}/clientKeys/<id>", world::access_point_name("keyed-too"));
    refusal.message = refusal.message.replace(&name, &shown);
    refusal.metadata.insert("client_key".into(), shown);
    page.add("IssueClientKey with a request id that was used", &refusal);
}

async fn what_is_not_proved(page: &mut Page, server: &TestServer) {
    let mut audit = server.client(AUDITOR).audit();
    let request = pb::GetCheckpointRequest { size: 1_000_000, at_least_size: 0 };
    let refusal = refused(audit.get_checkpoint(request).await);
    page.add("GetCheckpoint of a size that none has", &refusal);
    let request = pb::GetCheckpointRequest { size: 0, at_least_size: 1_000_000 };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_millis(500));
    let mut refusal = refused(audit.get_checkpoint(request).await);
    let size = refusal.metadata.insert("size".into(), "<size>".into()).unwrap();
    refusal.message = refusal.message.replace(&format!("over {size}"), "over <size>");
    page.add("GetCheckpoint over records that do not come", &refusal);
    let both = pb::GetCheckpointRequest { size: 1, at_least_size: 1 };
    page.add("GetCheckpoint by two sizes", &refused(audit.get_checkpoint(both).await));
    let request = pb::GetInclusionProofRequest { sequence: 7, checkpoint_size: 5 };
    let refusal = refused(audit.get_inclusion_proof(request).await);
    page.add("GetInclusionProof in a checkpoint from before the record", &refusal);
    let request = pb::GetConsistencyProofRequest { from_size: 7, to_size: 5 };
    let refusal = refused(audit.get_consistency_proof(request).await);
    page.add("GetConsistencyProof backwards", &refusal);

    let mut changes = server.client(ADMIN).changes();
    let request = pb::GetChangeCheckpointRequest { size: 1_000_000, at_least_size: 0 };
    let refusal = refused(changes.get_change_checkpoint(request).await);
    page.add("GetChangeCheckpoint of a size that none has", &refusal);
    let request = pb::GetChangeInclusionProofRequest { revision: 1_000_000, checkpoint_size: 0 };
    let refusal = refused(changes.get_change_inclusion_proof(request).await);
    page.add("GetChangeInclusionProof of a change that there isn't", &refusal);
    let request = pb::GetChangeInclusionProofRequest { revision: 7, checkpoint_size: 5 };
    let refusal = refused(changes.get_change_inclusion_proof(request).await);
    page.add("GetChangeInclusionProof in a checkpoint from before the change", &refusal);
    let request = pb::GetChangeConsistencyProofRequest { from_size: 0, to_size: 0 };
    let refusal = refused(changes.get_change_consistency_proof(request).await);
    page.add("GetChangeConsistencyProof from nothing", &refusal);

    let request = pb::GetCheckpointRequest { size: 0, at_least_size: 2 };
    let size = audit.get_checkpoint(request).await.unwrap().into_inner().size;
    let audit_dir = server.data_dir().join("audit");
    let files = ["00000000000000000001.seg", "tree/leaves-00000000000000000000"];
    let files = files.map(|file| audit_dir.join(file));
    // In the first record, behind the header and a mark, and in its hash.
    let flip = || {
        for (file, place) in files.iter().zip([128 + 16 + 40, 8]) {
            let file = fs::File::options().read(true).write(true).open(file).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[byte[0] ^ 1], place).unwrap();
        }
    };
    flip();
    let request = pb::GetInclusionProofRequest { sequence: 2, checkpoint_size: size };
    let refusal = refused(audit.get_inclusion_proof(request).await);
    page.add("GetInclusionProof when a hash and its record are damaged", &refusal);
    flip();
}

async fn what_the_journal_can_not(page: &mut Page, setup: Setup) {
    // No disk has more than all of it free.
    let reserve = Reserve { management_percent: 101, check_percent: 0 };
    let server = Setup { reserve, ..setup.clone() }.start().await;
    let policy = |id: &str| world::new_policy(id, &["secret/a"], &[]);
    let refusal = refused(server.client(ADMIN).policies().create_policy(policy("p")).await);
    page.add("CreatePolicy when the disk is too full", &refusal);
    server.stop().await;

    let server = setup.start().await;
    server.faults.block_appends();
    let mut creating = JoinSet::new();
    // One connection has fewer calls open than the queue has places.
    let admins = [server.client_apart(ADMIN), server.client_apart(ADMIN)];
    for number in 0..1_100 {
        if number == 1 {
            // The first one is with the disk; the others wait.
            server.faults.wait_until_blocked().await;
        }
        let admin = admins[number % 2].clone();
        let request = policy(&format!("p-{number}"));
        creating.spawn(async move { admin.policies().create_policy(request).await });
    }
    let first_answered = tokio::time::timeout(PATIENCE, creating.join_next()).await;
    let first_answered = first_answered.unwrap().unwrap().unwrap();
    page.add("CreatePolicy when too many changes wait", &refused(first_answered));
    server.faults.release();
    creating.join_all().await;

    server.faults.fail_once(Fault::JournalAppend);
    let refusal = refused(server.client(ADMIN).policies().create_policy(policy("p")).await);
    page.add("CreatePolicy when the journal fails", &refusal);
    server.stop().await;
}

async fn what_the_audit_log_can_not(page: &mut Page, setup: Setup) {
    let options = Options { buffer_bytes: 64 * 1_024, ..setup.options };
    let server = Setup { options, ..setup }.start().await;
    let mut enforcer = server.client(ENFORCER).authorization();
    // Without a deadline it waits two seconds.
    let early = pb::CheckAccessRequest { at_least_revision: 1_000_000, ..ask(world::allowed()) };
    let mut refusal = refused(enforcer.check_access(early).await);
    let revision = refusal.metadata.insert("revision".into(), "<revision>".into()).unwrap();
    refusal.message = refusal.message.replace(&format!("at {revision}"), "at <revision>");
    page.add("CheckAccess at a revision that does not come", &refusal);
    let batch = ask_all(vec![world::allowed(); 1_000]);
    let refusal = refused(enforcer.batch_check_access(batch).await);
    page.add("BatchCheckAccess when too many decisions wait", &refusal);
    let idle = Watch::from_end(&server.client_apart(AUDITOR)).await;
    server.faults.fail_once(Fault::AuditSync);
    let refusal = refused(enforcer.check_access(ask(world::allowed())).await);
    page.add("CheckAccess when the audit log fails", &refusal);
    let ((_, ended, _), (_, outcome)) = tokio::join!(idle.end(), server.stop_with_outcome());
    assert!(outcome.is_err());
    page.add("WatchAuditRecords when the server stops", &Refusal::of(&ended.unwrap()));
}
