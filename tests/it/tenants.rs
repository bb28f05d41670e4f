//! Tenants see nothing of each other: over every method of the API, what is another's is answered
//! like what isn't there, byte for byte.
//!
//! The accounts' names have one length, so that messages that differ in nothing but a name can be
//! made from each other, and so can their answers. Only the order of an error's metadata is not
//! compared: it is another one each time.

use std::collections::BTreeMap;

use aap::api::{
    audit_entry::Content,
    pb::{self, watch_changes_request::Start},
};
use prost::Message as _;
use tonic::Code;

use crate::{
    hostile::{odd_texts, with_each_text_replaced},
    support::{
        ADMIN, AUDITOR, Client, ENFORCER, OPERATOR, Refusal, Setup, TestServer,
        configuration::Text,
        following::Changes,
        methods::{METHODS, Method, with_key},
        watching::{self, Watch},
        world,
    },
};

/// An account with everything in it, one that nobody has, and the curious tenant's own.
const THEIRS: &str = "acme";
const NOBODYS: &str = "acmf";
const OWN: &str = "evil";
const ACCOUNTS: (&str, &str) = (THEIRS, NOBODYS);
const OWN_ACCOUNT: &str = "accounts/evil";

/// Ids of theirs that are there, and likes of them that aren't.
const IDS: [(&str, &str); 8] = [
    ("/app", "/apq"),
    ("/RAMPolicy", "/RAMPolicz"),
    ("/Network", "/Networl"),
    ("/ECSRole", "/ECSRolf"),
    ("new", "nev"),
    ("/keyed", "/keyee"),
    ("/KAAP.", "/KAAQ."),
    ("/siem", "/sien"),
];

/// The curious tenant, in every role.
const EVIL: [(&str, &str); 4] = [
    ("evil-admin", "role = \"admin\""),
    ("evil-viewer", "role = \"viewer\""),
    ("evil-enforcer", "role = \"enforcer\"\nassert_identity = true"),
    ("evil-auditor", "role = \"auditor\""),
];

/// A server on which acme has one of everything, and the id of its client key.
async fn start() -> (TestServer, String) {
    let setup = Setup::new();
    let mut text = Text::new(&setup.data_dir())
        .with(ADMIN, "role = \"admin\"\naccounts = [\"acme\"]")
        .with(ENFORCER, "role = \"enforcer\"\naccounts = [\"acme\"]\nassert_identity = true")
        .with(AUDITOR, "role = \"auditor\"\naccounts = [\"*\"]")
        .with(OPERATOR, "role = \"operator\"\naccounts = [\"*\"]");
    for (name, role) in EVIL {
        text = text.with(name, &format!("{role}\naccounts = [\"evil\"]"));
    }
    let server = Setup { configuration: Some(text), ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let key = world::enter_client_key(&server.client(ADMIN)).await;
    world::enter_cursor(&server.client(AUDITOR)).await;
    for Method { path, caller, example } in METHODS {
        // What deletes names an etag that nothing has.
        let _ = server.client(caller).raw(path, example()).await;
    }
    (server, key)
}

/// A message in which each of the places has another text of the same length.
fn replaced(message: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut message = message.to_vec();
    for place in places(&message, from) {
        message[place..place + from.len()].copy_from_slice(to.as_bytes());
    }
    message
}

fn places(message: &[u8], text: &str) -> Vec<usize> {
    let windows = message.windows(text.len()).enumerate();
    windows.filter(|(_, found)| *found == text.as_bytes()).map(|(place, _)| place).collect()
}

/// What came of a call, with a name put in another one's place.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered(String),
    Refused(Box<Refusal>, usize, String),
}

/// Calls, and tells what came of it as if `from` were `to`.
async fn outcome(
    client: &Client,
    path: &str,
    message: Vec<u8>,
    (from, to): (&str, &str),
) -> Outcome {
    match client.raw(path, message).await {
        Ok(answer) => Outcome::Answered(shown(path, &replaced(&answer, from, to))),
        Err(status) => {
            let mut headers = status.metadata().clone();
            headers.remove("date");
            let mut refusal = Refusal::of(&status);
            let swap = |text: &mut String| *text = text.replace(from, to);
            swap(&mut refusal.message);
            refusal.metadata.values_mut().for_each(swap);
            refusal.fields.iter_mut().for_each(|(_, text)| swap(text));
            refusal.preconditions.iter_mut().for_each(|(_, text, _)| swap(text));
            refusal.resource.iter_mut().for_each(|(_, text)| swap(text));
            Outcome::Refused(refusal.into(), status.details().len(), format!("{headers:?}"))
        }
    }
}

/// An answer's bytes, but without what differs from one moment to the next: where a record is.
fn shown(path: &str, answer: &[u8]) -> String {
    match path.rsplit('/').next() {
        Some("CheckAccess") => {
            let answer = pb::CheckAccessResponse::decode(answer).unwrap();
            format!("{:?} at {}", answer.decision, answer.revision)
        }
        Some("BatchCheckAccess") => {
            let answer = pb::BatchCheckAccessResponse::decode(answer).unwrap();
            let decisions: Vec<_> = answer.results.iter().map(|one| &one.decision).collect();
            format!("{decisions:?} at {}", answer.revision)
        }
        Some("StreamCheckAccess") => {
            let mut answer = pb::StreamCheckAccessResponse::decode(answer).unwrap();
            let mut metadata = Vec::new();
            for result in answer.results.iter_mut().filter_map(|one| one.result.as_mut()) {
                match result {
                    pb::streamed_result::Result::Decided(decided) => decided.receipt = None,
                    pb::streamed_result::Result::Failed(failed) => {
                        metadata.push(failed.metadata.drain().collect::<BTreeMap<_, _>>());
                    }
                }
            }
            format!("{answer:?} {metadata:?}")
        }
        Some("ListAuditRecords") => {
            // The log goes on meanwhile, with what this refuses; how far is no secret.
            let answer = pb::ListAuditRecordsResponse::decode(answer).unwrap();
            format!("{:?} {}", answer.entries, answer.next_page_token)
        }
        _ => format!("{answer:?}"),
    }
}

/// Asserts that two messages come to the same for a caller, but for a name that differs.
async fn assert_alike(
    client: &Client,
    path: &str,
    (theirs, nobodys): (Vec<u8>, Vec<u8>),
    (there, absent): (&str, &str),
) {
    let first = outcome(client, path, theirs.clone(), (absent, there)).await;
    let second = outcome(client, path, nobodys, (absent, there)).await;
    let text = String::from_utf8_lossy(&theirs);
    assert_eq!(first, second, "{path} {text:?}, with {there} and with {absent}");
}

#[tokio::test]
async fn anothers_account_looks_like_one_that_nobody_has() {
    let (server, key) = start().await;
    for Method { path, example, .. } in METHODS {
        let theirs = with_key(example(), &key);
        let nobodys = replaced(&theirs, THEIRS, NOBODYS);
        for (name, _) in EVIL {
            let messages = (theirs.clone(), nobodys.clone());
            assert_alike(&server.client(name), path, messages, ACCOUNTS).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_another_has_looks_like_what_it_has_not() {
    let (server, key) = start().await;
    for Method { path, example, .. } in METHODS {
        let theirs = with_key(example(), &key);
        for (there, absent) in IDS {
            let messages = (theirs.clone(), replaced(&theirs, there, absent));
            if messages.0 == messages.1 {
                continue;
            }
            for (name, _) in EVIL {
                let client = server.client(name);
                assert_alike(&client, path, messages.clone(), (there, absent)).await;
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn whatever_else_is_in_a_request_anothers_account_looks_like_one_that_nobody_has() {
    let (server, key) = start().await;
    for Method { path, caller, example } in METHODS {
        let client = server.client(if caller == ENFORCER { "evil-enforcer" } else { "evil-admin" });
        for text in odd_texts().iter().filter(|text| text.len() < 100).step_by(4) {
            for odd in with_each_text_replaced(&with_key(example(), &key), text.as_bytes()) {
                // What names no account any more is not about another's.
                let nobodys = replaced(&odd, THEIRS, NOBODYS);
                if odd == nobodys {
                    continue;
                }
                assert_alike(&client, path, (odd, nobodys), ACCOUNTS).await;
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_reference_to_anothers_looks_like_one_to_nobodys() {
    let (server, key) = start().await;
    let mut compared = 0;
    for Method { path, example, .. } in METHODS {
        let own = replaced(&with_key(example(), &key), THEIRS, OWN);
        for place in places(&own, OWN) {
            let with = |account: &str| {
                let mut message = own.clone();
                message[place..place + account.len()].copy_from_slice(account.as_bytes());
                message
            };
            for (name, _) in EVIL {
                let messages = (with(THEIRS), with(NOBODYS));
                assert_alike(&server.client(name), path, messages, ACCOUNTS).await;
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
    server.stop().await;
}

#[tokio::test]
async fn nothing_that_a_tenant_reads_has_anything_of_anothers() {
    let (server, key) = start().await;
    let auditor = server.client(AUDITOR);
    let uids = uids_of_theirs(&server).await;
    enter_own(&server.client("evil-admin")).await;
    let mut answered = 0;
    for Method { path, example, .. } in METHODS {
        for (name, _) in EVIL {
            let own = replaced(&with_key(example(), &key), THEIRS, OWN);
            let Ok(answer) = server.client(name).raw(path, own).await else { continue };
            answered += 1;
            for secret in uids.iter().map(String::as_str).chain([THEIRS]) {
                assert!(places(&answer, secret).is_empty(), "{path} tells {secret}");
            }
        }
    }
    assert!(answered > 20, "{answered}");
    let evil = server.client("evil-admin");
    let mut watch = Changes::from(&evil, OWN_ACCOUNT, 1).await;
    let last = Changes::from_end(&evil, "accounts/-").await.through;
    assert!(watch.all_through(last).await.iter().all(|change| change.actor.starts_with("evil-")));
    let mut all = Changes::begin(&evil, "accounts/-", Start::FromRevision(1)).await.unwrap();
    assert!(all.all_through(last).await.iter().all(|change| change.actor.starts_with("evil-")));
    let last = Watch::from_end(&auditor).await.through;
    let mut watch = Watch::from(&server.client("evil-auditor"), 1).await;
    for record in watch.records_through(last).await {
        assert_eq!((&*record.account, record.caller.starts_with("evil-")), ("evil", true));
    }
    drop((watch, all));
    server.stop().await;
}

/// Gives the curious tenant what acme has, under the same ids.
async fn enter_own(admin: &Client) {
    let rule = world::new_rule("Network", world::vpc(world::VPC), &["192.168.0.0/16"]);
    let policy = world::new_policy("RAMPolicy", &["secret/dataKey*"], &["Network"]);
    let access_point = world::new_access_point("app", &["RAMPolicy"]);
    for (path, message) in [
        ("/aap.v1.PolicyService/CreateNetworkRule", rule.encode_to_vec()),
        ("/aap.v1.PolicyService/CreatePolicy", policy.encode_to_vec()),
        ("/aap.v1.AccessPointService/CreateAccessPoint", access_point.encode_to_vec()),
    ] {
        admin.raw(path, replaced(&message, THEIRS, OWN)).await.unwrap();
    }
}

/// The uids of all that acme has.
async fn uids_of_theirs(server: &TestServer) -> Vec<String> {
    let admin = server.client(ADMIN);
    let parent = || world::HERE.to_owned();
    let access_points = pb::ListAccessPointsRequest { parent: parent(), ..Default::default() };
    let access_points = admin.access_points().list_access_points(access_points).await.unwrap();
    let policies = pb::ListPoliciesRequest { parent: parent(), ..Default::default() };
    let policies = admin.policies().list_policies(policies).await.unwrap();
    let access_points = access_points.into_inner().access_points.into_iter().map(|one| one.uid);
    access_points.chain(policies.into_inner().policies.into_iter().map(|one| one.uid)).collect()
}

#[tokio::test]
async fn a_page_token_or_a_request_id_of_anothers_is_worth_nothing() {
    let (server, _) = start().await;
    let (admin, evil) = (server.client(ADMIN), server.client("evil-admin"));
    let list = |parent: &str, page_token: &str| pb::ListPoliciesRequest {
        parent: parent.to_owned(),
        page_size: 1,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let listed = admin.policies().list_policies(list(world::HERE, "")).await.unwrap().into_inner();
    let (theirs, path) = (listed.next_page_token, "/aap.v1.PolicyService/ListPolicies");
    assert!(!theirs.is_empty());
    let made_up = "x".repeat(theirs.len());
    for parent in [world::HERE, "accounts/evil/regions/eu-1"] {
        let messages = [&theirs, &made_up].map(|token| list(parent, token).encode_to_vec());
        let [first, second] = messages;
        assert_alike(&evil, path, (first, second), ("", "")).await;
    }

    // Theirs were used when everything was made; for this tenant they are new.
    let path = "/aap.v1.PolicyService/CreatePolicy";
    let mut request = world::new_policy("new", &["secret/a"], &[]);
    request.parent = "accounts/evil/regions/eu-1".to_owned();
    request.request_id = "new-policy".to_owned();
    let made = evil.policies().create_policy(request.clone()).await.unwrap().into_inner();
    assert!(made.name.starts_with(OWN_ACCOUNT));
    request.parent = world::HERE.to_owned();
    let first = request.encode_to_vec();
    request.request_id = "old-policy".to_owned();
    assert_alike(&evil, path, (first, request.encode_to_vec()), ("", "")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_record_of_anothers_looks_like_one_that_is_not_there() {
    let (server, _) = start().await;
    let mut theirs = 0;
    while theirs < 10 {
        theirs = world::allow(&server.client(ENFORCER)).await.sequence;
    }
    let last = Watch::from_end(&server.client(AUDITOR)).await.through;
    let evil = server.client("evil-auditor");
    let path = "/aap.v1.AuditService/GetAuditRecord";
    for form in [0, 1, 2] {
        let get = |sequence| {
            pb::GetAuditRecordRequest { sequence, form, log_id: String::new() }.encode_to_vec()
        };
        // Of one length, so that only the number differs.
        let absent =
            (last + 1..10_000).find(|one| one.to_string().len() == theirs.to_string().len());
        let (there, absent) = (theirs.to_string(), absent.unwrap());
        let messages = (get(theirs), get(absent));
        assert_alike(&evil, path, messages, (&there, &absent.to_string())).await;
        // The start of the server has no account, and is nobody's but theirs who see all.
        let refusal = Refusal::of(&evil.raw(path, get(1)).await.unwrap_err());
        refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_record_of_a_check_has_nothing_of_anothers_access_point() {
    let (server, _) = start().await;
    let (enforcer, auditor) = (server.client("evil-enforcer"), server.client("evil-auditor"));
    let mut records = Vec::new();
    for account in [THEIRS, NOBODYS] {
        let name = world::access_point_name("app").replace(THEIRS, account);
        let subject = Some(pb::check::Subject::AccessPoint(name));
        let check = pb::Check { subject, ..world::allowed() };
        let parent = "accounts/evil/regions/eu-1".to_owned();
        let ask = pb::CheckAccessRequest { parent, ..world::ask(check) };
        let answered = enforcer.authorization().check_access(ask).await.unwrap().into_inner();
        let sequence = answered.receipt.unwrap().sequence;
        let entry = watching::stored(&auditor, sequence).await.unwrap();
        let Some(Content::SerializedRecord(bytes)) = &entry.content else { panic!("{entry:?}") };
        let bytes = replaced(bytes, NOBODYS, THEIRS);
        let mut record = pb::AuditRecord::decode(&bytes[..]).unwrap();
        (record.sequence, record.account_previous_sequence) = (0, 0);
        (record.record_time, record.nonce) = (None, Vec::new());
        let Some(pb::audit_record::Event::Check(check)) = &mut record.event else { panic!() };
        (check.decision_time, check.decision_nanos) = (None, 0);
        records.push(record);
    }
    assert_eq!(records[0], records[1]);
    server.stop().await;
}

#[tokio::test]
async fn a_demand_for_a_revision_is_heard_only_where_one_may_ask() {
    let (server, _) = start().await;
    let evil = server.client("evil-enforcer");
    let path = "/aap.v1.AuthorizationService/CheckAccess";
    let ask = |at_least_revision| {
        pb::CheckAccessRequest { at_least_revision, ..world::ask(world::allowed()) }.encode_to_vec()
    };
    for at_least in [1, 1_000_000] {
        let messages = (ask(at_least), replaced(&ask(at_least), THEIRS, NOBODYS));
        // It would wait for two seconds if it heard the demand.
        let asked = outcome(&evil, path, messages.0.clone(), ("acmf", "acme"));
        let Outcome::Refused(refusal, ..) = asked.await else { panic!() };
        refusal.is(Code::PermissionDenied, "ACCOUNT_NOT_BOUND");
        assert_alike(&evil, path, messages, ACCOUNTS).await;
    }
    server.stop().await;
}
