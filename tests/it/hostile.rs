//! Whatever is sent, each call gets its own error or a recorded deny, and the server goes on.

use aap::api::pb::{self, DecisionReason as Reason, Outcome, check::Subject};
use bytes::Bytes;
use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Request};
use tonic_health::ServingStatus::Serving;

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, OTHER_ADMIN, Refusal, TestServer,
    clients::{self, connect, token_of},
    methods::{METHODS, Method},
    random::Random,
    refused,
    server::WHOLE,
    watching,
    world::{self, HERE, THERE, ask, ask_all, question},
};

const CHECK: &str = "/aap.v1.AuthorizationService/CheckAccess";
const BATCH: &str = "/aap.v1.AuthorizationService/BatchCheckAccess";

/// A server with the page's example in it.
async fn start() -> TestServer {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    world::enter_cursor(&server.client(AUDITOR)).await;
    server
}

/// Asserts that the server answers as if nothing had happened, on an old connection and a new one.
async fn assert_goes_on(server: &TestServer) {
    assert_eq!(server.health(WHOLE).await, Serving as i32);
    world::allow(&server.client(ENFORCER)).await;
    world::allow(&server.client_apart(ENFORCER)).await;
}

#[tokio::test]
async fn a_message_of_five_megabytes_is_refused() {
    let server = start().await;
    for Method { path, caller, .. } in METHODS {
        let refusal = server.client(caller).raw(path, vec![0; 5_000_000]).await.unwrap_err();
        let refusal = Refusal::of(&refusal);
        refusal.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE").has("limit_bytes", "4194304");
    }
    let check = question(&format!("secret/{}", "k".repeat(5_000_000)));
    let refusal = refused(server.client(ENFORCER).authorization().check_access(ask(check)).await);
    refusal.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert_goes_on(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn text_that_is_not_unicode_is_no_message() {
    let server = start().await;
    let enforcer = server.client(ENFORCER);
    let good = ask(question("secret/dataKey-HERE")).encode_to_vec();
    let place = good.windows(4).position(|bytes| bytes == b"HERE").unwrap();
    let mut bad = good.clone();
    bad[place..place + 4].copy_from_slice(b"\xc3\x28\xff\xfe");
    enforcer.raw(CHECK, good).await.unwrap();
    let refusal = Refusal::of(&enforcer.raw(CHECK, bad).await.unwrap_err());
    refusal.is(Code::InvalidArgument, "MALFORMED_MESSAGE");
    assert_goes_on(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn garbage_is_no_message() {
    let server = start().await;
    for Method { path, caller, .. } in METHODS {
        for garbage in [&b"\xff"[..], b"\x07", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x0b\x0c\x0b"] {
            let answered = server.client(caller).raw(path, Bytes::from_static(garbage)).await;
            let refusal = Refusal::of(&answered.unwrap_err());
            refusal.is(Code::InvalidArgument, "MALFORMED_MESSAGE");
        }
    }
    assert_goes_on(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn unknown_fields_change_nothing() {
    let server = start().await;
    let mut message = ask(world::allowed()).encode_to_vec();
    // Field 1000, of each wire type.
    message.extend(b"\xc0\x3e\x2a");
    message.extend(b"\xc2\x3e\x02hi");
    message.extend(b"\xc5\x3e\x01\x02\x03\x04");
    message.extend(b"\xc1\x3e\x01\x02\x03\x04\x05\x06\x07\x08");
    let answer = server.client(ENFORCER).raw(CHECK, message).await.unwrap();
    let answer = pb::CheckAccessResponse::decode(answer).unwrap();
    assert_eq!(answer.decision.unwrap().outcome(), Outcome::Allow);
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_much_or_wrong_gets_its_own_error() {
    let server = start().await;
    let (admin, enforcer) = (server.client(ADMIN), server.client(ENFORCER));
    let many = ask_all(vec![world::allowed(); 10_001]);
    let refusal = refused(enforcer.authorization().batch_check_access(many).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS");

    let long = question(&format!("secret/{}", "k".repeat(506)));
    assert_eq!(long.resource.len(), 513);
    let refusal = refused(enforcer.authorization().check_access(ask(long)).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS");
    assert_eq!(refusal.paths(), ["check.resource"]);

    let wrong_etag =
        pb::DeleteAccessPointRequest { etag: "0-1".into(), ..world::delete_access_point("app") };
    let refusal = refused(admin.access_points().delete_access_point(wrong_etag).await);
    refusal.is(Code::Aborted, "ETAG_MISMATCH");

    let mut policies = admin.policies();
    for (resource, code) in [("secret/a", Code::Ok), ("secret/b", Code::FailedPrecondition)] {
        let request = world::new_policy("twice", &[resource], &[]);
        let request = pb::CreatePolicyRequest { request_id: "once".into(), ..request };
        let answered = policies.create_policy(request).await;
        assert_eq!(answered.as_ref().err().map_or(Code::Ok, tonic::Status::code), code);
        if code != Code::Ok {
            refused(answered).is(code, "REQUEST_ID_REUSED").has("request_id", "once");
        }
    }

    let name = world::access_point_name("app");
    let get = pb::GetAccessPointRequest { name: name.clone() };
    let refusal = refused(server.client(OTHER_ADMIN).access_points().get_access_point(get).await);
    refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND").has("resource", &name);
    assert_goes_on(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn another_tenants_access_point_is_a_recorded_deny() {
    let server = start().await;
    for name in [format!("{THERE}/accessPoints/app"), format!("{HERE}2/accessPoints/app")] {
        let check =
            pb::Check { subject: Some(Subject::AccessPoint(name.clone())), ..world::allowed() };
        let answered = world::answer(&server.client(ENFORCER), check).await;
        assert_eq!(answered.decision.unwrap().reason(), Reason::AccessPointNotFound);
        let sequence = answered.receipt.unwrap().sequence;
        let entry = watching::stored(&server.client(AUDITOR), sequence).await.unwrap();
        let record = pb::AuditRecord::decode(watching::bytes(&entry)).unwrap();
        assert_eq!(watching::check_of(&record).unwrap().access_point, name);
        assert_eq!(record.account, "acme", "the record is of who was asked about");
    }
    server.stop().await;
}

/// Texts that no field was made for.
pub(crate) fn odd_texts() -> Vec<String> {
    let texts = [
        "",
        "\0",
        " ",
        "*",
        "/",
        "//",
        "..",
        "../../etc/passwd",
        "accounts",
        "accounts/",
        "accounts//regions/",
        "accounts/acme/regions/eu-1",
        "accounts/acme/regions/eu-1/",
        "accounts/acme/regions/eu-1/accessPoints/app\0",
        "accounts/acme/regions/eu-1/accessPoints/app/clientKeys/x",
        "secret/\u{202e}yek",
        "\u{1f511}",
        "'; drop table audit; --",
        "%s%n{}",
        "line\r\ngrpc-status: 0",
        "\u{feff}app",
        "e\u{301}",
        "::ffff:192.168.7.9%eth0",
        "999.1.1.1/33",
    ];
    let long = ["a".repeat(10_000), "\u{e4}".repeat(10_000), "/".repeat(10_000)];
    texts.into_iter().map(str::to_owned).chain(long).collect()
}

#[tokio::test]
async fn odd_texts_in_any_field_are_refused_denied_or_kept_as_they_are() {
    let server = start().await;
    for Method { path, caller, example } in METHODS {
        let client = server.client(caller);
        let message = example();
        for text in odd_texts() {
            for odd in with_each_text_replaced(&message, text.as_bytes()) {
                assert_judged(&client, path, odd).await;
            }
        }
    }
    assert_goes_on(&server).await;
    server.stop().await;
}

/// Sends a message, and asserts that it is answered, and that no check is allowed and no error is
/// the server's fault.
async fn assert_judged(client: &Client, path: &str, message: Vec<u8>) {
    match client.raw(path, message.clone()).await {
        Ok(answer) if path == CHECK => {
            let decision = pb::CheckAccessResponse::decode(answer).unwrap().decision.unwrap();
            let asked = pb::CheckAccessRequest::decode(&message[..]).unwrap();
            let allows = decision.outcome() == Outcome::Allow;
            assert!(!allows || may_be_allowed(&asked), "{asked:?}");
        }
        Ok(_) => {}
        Err(status) => {
            let Refusal { code, reason, .. } = Refusal::of(&status);
            // Who waits for more than there is waits in vain, and so may who has gone a moment ago.
            if reason.ends_with("CHECKPOINT_NOT_REACHED") || reason.ends_with("BACKUP_RUNNING") {
                return;
            }
            let codes = [
                Code::InvalidArgument,
                Code::NotFound,
                Code::AlreadyExists,
                Code::FailedPrecondition,
                Code::Aborted,
                Code::OutOfRange,
                Code::PermissionDenied,
            ];
            assert!(codes.contains(&code), "{path} {message:?}: {status:?}");
        }
    }
}

/// Whether a question is about what the page's example grants.
fn may_be_allowed(asked: &pb::CheckAccessRequest) -> bool {
    let right = world::allowed();
    let pb::Check { subject, action, resource, instance, origin } = asked.check.as_ref().unwrap();
    let resource_is_right = resource.starts_with("secret/dataKey");
    let origin_is_right = origin.as_ref().is_some_and(|origin| {
        let address = origin.address.trim_start_matches("::ffff:");
        origin.network == right.origin.unwrap().network && address.starts_with("192.168.")
    });
    (asked.parent.as_str(), subject, action, instance)
        == (HERE, &right.subject, &right.action, &right.instance)
        && resource_is_right
        && origin_is_right
}

/// A message with each of its texts and submessages replaced in turn, at every depth.
pub(crate) fn with_each_text_replaced(message: &[u8], text: &[u8]) -> Vec<Vec<u8>> {
    let mut made = Vec::new();
    let mut place = 0;
    while let Some(field) = field_at(message, place) {
        let Field { begin, content, end } = field;
        let inner = &message[content..end];
        let whole = [text.to_vec()].into_iter();
        for replaced in whole.chain(with_each_text_replaced(inner, text)) {
            let mut changed = message[..begin].to_vec();
            prost::encoding::encode_varint(replaced.len() as u64, &mut changed);
            changed.extend(&replaced);
            changed.extend(&message[end..]);
            made.push(changed);
        }
        place = end;
    }
    made
}

/// A field with a length: where the length, the content and the next field begin.
struct Field {
    begin: usize,
    content: usize,
    end: usize,
}

/// The next field with a length, if what is there looks like a message.
fn field_at(message: &[u8], mut place: usize) -> Option<Field> {
    loop {
        let mut rest = message.get(place..).filter(|rest| !rest.is_empty())?;
        let key = prost::encoding::decode_varint(&mut rest).ok()?;
        let begin = message.len() - rest.len();
        let value = prost::encoding::decode_varint(&mut rest).ok()?;
        let content = message.len() - rest.len();
        match key & 7 {
            0 => place = content,
            2 => {
                let end = content.checked_add(usize::try_from(value).ok()?)?;
                return (end <= message.len()).then_some(Field { begin, content, end });
            }
            _ => return None,
        }
    }
}

#[tokio::test]
async fn random_bytes_to_every_method_are_refused_or_denied() {
    let server = start().await;
    let mut random = Random::new(42);
    for Method { path, caller, example } in METHODS {
        let client = server.client(caller);
        let message = example();
        for _ in 0..60 {
            let length = random.below(100);
            let noise = random.bytes(length);
            if message.is_empty() {
                // There is nothing in it to be altered.
                assert_judged(&client, path, noise).await;
                continue;
            }
            let mut flipped = message.clone();
            for _ in 0..=random.below(3) {
                let place = random.below(flipped.len());
                flipped[place] ^= 1 << random.below(8);
            }
            let cut = message[..random.below(message.len())].to_vec();
            for bytes in [noise, flipped, cut] {
                assert_judged(&client, path, bytes).await;
            }
        }
    }
    assert_goes_on(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn hundreds_of_violations_reach_the_caller() {
    let server = start().await;
    let wrong = pb::Check { subject: None, action: "?".into(), ..question(&"x".repeat(513)) };
    let batch = ask_all(vec![wrong; 1_000]);
    let mut authorization = server.client(ENFORCER).authorization();
    let refusal = refused(authorization.batch_check_access(batch).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS").has("violations", "3000");
    assert_eq!(refusal.fields[0].0, "checks[0].subject");

    let addresses = vec!["nowhere"; 800];
    let rule = world::new_rule("many", world::vpc("vpc-1"), &addresses);
    let refusal = refused(server.client(ADMIN).policies().create_network_rule(rule).await);
    refusal.is(Code::InvalidArgument, "INVALID_FIELDS").has("violations", "800");
    assert_goes_on(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn headers_of_any_kind_are_read_with_care() {
    let server = start().await;
    let channel = connect(server.address());
    let message = Bytes::from(ask(world::allowed()).encode_to_vec());
    for (authorization, is_good) in [
        (format!("Bearer {}", token_of(ENFORCER)), true),
        (format!("bearer {}", token_of(ENFORCER)), true),
        (format!("Bearer  {}", token_of(ENFORCER)), false),
        (format!("Basic {}", token_of(ENFORCER)), false),
        (token_of(ENFORCER), false),
        ("Bearer".to_owned(), false),
        ("Bearer ".to_owned(), false),
        (format!("Bearer {}", "x".repeat(8_000)), false),
    ] {
        let mut request = Request::new(message.clone());
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        let odd = ["traceparent", "user-agent", "grpc-timeout-not"];
        for name in odd {
            request.metadata_mut().insert(name, "00-zz-\u{7e}".parse().unwrap());
        }
        match clients::raw(&channel, CHECK, request).await {
            Ok(_) => assert!(is_good, "{authorization}"),
            Err(status) => {
                assert!(!is_good, "{authorization}");
                Refusal::of(&status).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
            }
        }
    }
    assert_goes_on(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn methods_that_do_not_exist_are_unimplemented_and_nobody_learns_more() {
    let server = start().await;
    for path in ["/aap.v1.AuthorizationService/Nothing", "/aap.v2.Nothing/Nothing", "/nothing"] {
        let answered = server.client(ENFORCER).raw(path, Bytes::new()).await;
        assert_eq!(answered.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
    let stranger = Client::new(server.channel().clone(), "wrong");
    let answered = stranger.raw("/aap.v1.AuthorizationService/Nothing", Bytes::new()).await;
    Refusal::of(&answered.unwrap_err()).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    server.stop().await;
}

#[tokio::test]
async fn connections_that_speak_no_grpc_hurt_nobody() {
    let server = start().await;
    let mut random = Random::new(7);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut open = Vec::new();
    for round in 0..40 {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        let noise = random.bytes(2_000);
        let sent = match round % 4 {
            0 => noise,
            1 => [&preface[..], &noise].concat(),
            2 => b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            // These stay open and say nothing more.
            _ => preface.to_vec(),
        };
        // The server may have hung up already.
        let _ = socket.write_all(&sent).await;
        if round % 4 == 1 {
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer).await;
        }
        open.push(socket);
    }
    assert_goes_on(&server).await;
    drop(open);
    let batch = server.client(ENFORCER).raw(BATCH, Bytes::new()).await;
    assert_eq!(batch.unwrap_err().code(), Code::InvalidArgument);
    server.stop().await;
}
