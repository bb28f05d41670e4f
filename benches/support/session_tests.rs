//! What a session makes of a server's frames, byte by byte and all at once.

use std::time::Duration;

use super::super::frames::{self, Call, Head, MAX_31, Request, flag, kind, setting};
use super::{OUR_WINDOW, Room, Session, Violation};

const AT: Duration = Duration::from_secs(7);
const HEADERS: (u8, u8) = (kind::HEADERS, flag::END_HEADERS);
const TRAILERS: (u8, u8) = (kind::HEADERS, flag::END_HEADERS | flag::END_STREAM);
const DATA: (u8, u8) = (kind::DATA, flag::NONE);
const PADDED: (u8, u8) = (kind::DATA, flag::PADDED);
const RESET: (u8, u8) = (kind::RST_STREAM, flag::NONE);
const GOAWAY: (u8, u8) = (kind::GOAWAY, flag::NONE);
const MESSAGE: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

type Frame<'a> = ((u8, u8), u32, &'a [u8]);

fn request(message: usize) -> Request {
    let message = vec![1; message];
    Request::new("h", &Call { path: "/s/m".to_owned(), headers: Vec::new(), message })
}

fn serving<'a>(request: &'a Request, settings: &[(u16, u32)]) -> Session<'a> {
    let mut session = Session::new(request);
    assert_eq!(session.room(), Room::Full);
    let mut input = Vec::new();
    frames::put_settings(&mut input, settings);
    assert_eq!(session.receive(&input, &mut |_| {}), Ok(input.len()));
    session.output.clear();
    session
}

fn encode(given: &[Frame<'_>]) -> Vec<u8> {
    let mut input = Vec::new();
    for (kind_and_flags, stream, payload) in given {
        frames::put_frame(&mut input, *kind_and_flags, *stream, payload);
    }
    input
}

fn receive(session: &mut Session<'_>, given: &[Frame<'_>]) -> Result<Vec<String>, Violation> {
    let input = encode(given);
    let mut events = Vec::new();
    let taken = session.receive(&input, &mut |event| events.push(format!("{event:?}")))?;
    assert_eq!(taken, input.len());
    Ok(events)
}

fn sent(session: &mut Session<'_>) -> Vec<(u8, u8, u32, usize)> {
    let output = std::mem::take(&mut session.output);
    let mut rest = &output[..];
    let mut found = Vec::new();
    while let Some((head, after)) = Head::split(rest) {
        found.push((head.kind, head.flags, head.stream, head.length));
        rest = &after[head.length..];
    }
    found
}

#[test]
fn only_a_whole_message_and_trailers_are_an_answer() {
    let compressed: &[u8] = &[1, 0, 0, 0, 0];
    let end = (kind::DATA, flag::END_STREAM);
    let open_headers = (kind::HEADERS, flag::END_STREAM);
    let continued = (kind::CONTINUATION, flag::END_HEADERS);
    let cases: &[(&[Frame<'_>], &str)] = &[
        (&[(HEADERS, 1, b"h"), (DATA, 1, MESSAGE), (TRAILERS, 1, b"t")], "M[8, 1] A"),
        (&[(DATA, 1, &MESSAGE[..3]), (DATA, 1, &MESSAGE[3..]), (TRAILERS, 1, b"")], "M[8, 1] A"),
        (&[(PADDED, 1, &[1, 0, 0, 0, 0, 0, 9]), (TRAILERS, 1, b"")], "M[] A"),
        (&[(DATA, 1, MESSAGE), (DATA, 1, b""), (TRAILERS, 1, b"")], "M[8, 1] A"),
        (&[(DATA, 1, MESSAGE), (open_headers, 1, b"t"), (continued, 1, b"t")], "M[8, 1] A"),
        (&[(TRAILERS, 1, b"t")], "F"),
        (&[(HEADERS, 1, b"h"), (TRAILERS, 1, b"t")], "F"),
        (&[(end, 1, MESSAGE)], "M[8, 1] F"),
        (&[(DATA, 1, &MESSAGE[..6]), (TRAILERS, 1, b"")], "F"),
        (&[(DATA, 1, MESSAGE), (DATA, 1, MESSAGE), (TRAILERS, 1, b"")], "M[8, 1] F"),
        (&[(DATA, 1, &[0, 0, 0, 0, 0, 0]), (TRAILERS, 1, b"")], "F"),
        (&[(DATA, 1, compressed), (TRAILERS, 1, b"")], "F"),
        (&[(DATA, 1, MESSAGE), (RESET, 1, &[0; 4])], "M[8, 1] F"),
        (&[(DATA, 1, MESSAGE), (TRAILERS, 1, b""), (RESET, 1, &[0; 4])], "M[8, 1] A"),
    ];
    for (given, expected) in cases {
        let request = request(0);
        let mut session = serving(&request, &[]);
        session.begin(AT);
        let found = receive(&mut session, given).unwrap().join(" ");
        let short = found.replace("Message(", "M").replace("])", "]");
        let short = short.replace("Answered(7s)", "A").replace("Failed(7s)", "F");
        assert_eq!(&short, expected, "{given:?}");
        assert_eq!(session.open(), 0);
    }
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let request = request(0);
    let mut session = serving(&request, &[]);
    session.begin(AT);
    let input = encode(&[(HEADERS, 1, b"hh"), (DATA, 1, MESSAGE), (TRAILERS, 1, b"t")]);
    let (mut taken, mut events) = (0, 0);
    for end in 0..=input.len() {
        taken += session.receive(&input[taken..end], &mut |_| events += 1).unwrap();
    }
    assert_eq!((taken, events), (input.len(), 2));
}

#[test]
fn streams_end_in_any_order() {
    let request = request(0);
    let mut session = serving(&request, &[]);
    for second in 0..3 {
        session.begin(Duration::from_secs(second));
    }
    for (stream, expected) in [(3, "Failed(1s)"), (1, "Failed(0ns)"), (5, "Failed(2s)")] {
        assert_eq!(receive(&mut session, &[(TRAILERS, stream, b"")]).unwrap(), [expected]);
    }
    assert!(session.streams.is_empty());
    session.begin(AT);
    assert_eq!(receive(&mut session, &[(RESET, 7, &[0; 4])]).unwrap(), ["Failed(7s)"]);
}

#[test]
fn pings_and_settings_are_acknowledged() {
    let request = request(0);
    let mut session = serving(&request, &[]);
    let acknowledged = (kind::PING, flag::ACK);
    let given: &[Frame<'_>] = &[
        ((kind::PING, 0), 0, b"12345678"),
        (acknowledged, 0, b"12345678"),
        ((kind::SETTINGS, 0), 0, b""),
        ((kind::SETTINGS, flag::ACK), 0, b""),
        ((99, 0), 4, b"unknown"),
    ];
    receive(&mut session, given).unwrap();
    assert!(session.output.windows(8).any(|bytes| bytes == b"12345678"));
    assert_eq!(sent(&mut session), [(kind::PING, 1, 0, 8), (kind::SETTINGS, 1, 0, 0)]);
}

#[test]
fn a_body_waits_for_both_windows_and_is_cut_to_frames() {
    let request = request(80_000 - 5);
    let mut session = serving(&request, &[(setting::INITIAL_WINDOW_SIZE, 70_000)]);
    session.begin(AT);
    let lengths = |session: &mut Session<'_>| {
        sent(session).into_iter().map(|(_, flags, _, length)| (flags, length)).collect::<Vec<_>>()
    };
    let whole = (0, frames::DEFAULT_MAX_FRAME);
    let head = (flag::END_HEADERS, request.block.len());
    assert_eq!(lengths(&mut session), [head, whole, whole, whole, (0, 16_383)]);
    assert_eq!(session.room(), Room::Full);
    let update = (kind::WINDOW_UPDATE, 0);
    receive(&mut session, &[(update, 0, &100_000_u32.to_be_bytes())]).unwrap();
    assert_eq!(lengths(&mut session), [(0, 70_000 - 65_535)]);
    receive(&mut session, &[(update, 1, &1_u32.to_be_bytes())]).unwrap();
    assert_eq!(lengths(&mut session), [(0, 1)]);
    let mut larger = Vec::new();
    frames::put_settings(&mut larger, &[(setting::INITIAL_WINDOW_SIZE, 90_000)]);
    session.receive(&larger, &mut |_| {}).unwrap();
    assert_eq!(lengths(&mut session), [(flag::ACK, 0), (flag::END_STREAM, 9_999)]);
    assert_eq!(session.room(), Room::Open);
}

#[test]
fn a_call_that_ends_before_its_body_is_canceled() {
    let request = request(70_000);
    let mut session = serving(&request, &[]);
    session.begin(AT);
    sent(&mut session);
    assert_eq!(receive(&mut session, &[(TRAILERS, 1, b"")]).unwrap(), ["Failed(7s)"]);
    assert_eq!(sent(&mut session), [(kind::RST_STREAM, 0, 1, 4)]);
    assert_eq!(session.window, 0);
}

#[test]
fn no_more_calls_are_open_than_the_server_allows() {
    let request = request(0);
    let mut session = serving(&request, &[(setting::MAX_CONCURRENT_STREAMS, 2)]);
    session.begin(AT);
    assert_eq!(session.room(), Room::Open);
    session.begin(AT);
    assert_eq!(session.room(), Room::Full);
    receive(&mut session, &[(TRAILERS, 3, b"")]).unwrap();
    assert_eq!(session.room(), Room::Open);
}

#[test]
fn a_larger_frame_size_is_used() {
    let request = request(20_000);
    let mut session = serving(&request, &[(setting::MAX_FRAME_SIZE, 30_000)]);
    session.begin(AT);
    assert_eq!(sent(&mut session)[1], (kind::DATA, flag::END_STREAM, 1, 20_005));
}

#[test]
fn the_window_is_refilled_by_halves() {
    let request = request(0);
    let mut session = serving(&request, &[]);
    session.begin(AT);
    session.received = OUR_WINDOW / 2;
    receive(&mut session, &[(DATA, 1, b"")]).unwrap();
    sent(&mut session);
    receive(&mut session, &[(PADDED, 1, &[2, 0, 0])]).unwrap();
    let mut expected = Vec::new();
    frames::put_window_update(&mut expected, 0, OUR_WINDOW / 2 + 3);
    assert_eq!(session.output, expected);
}

#[test]
fn goaway_fails_what_the_server_did_not_see() {
    let request = request(0);
    let mut session = serving(&request, &[]);
    for _ in 0..3 {
        session.begin(AT);
    }
    let last = [0, 0, 0, 3, 0, 0, 0, 0];
    let failed = receive(&mut session, &[(GOAWAY, 0, &last), (DATA, 1, MESSAGE)]).unwrap();
    assert_eq!(failed, ["Failed(7s)", "Message([8, 1])"]);
    assert_eq!((session.room(), session.open(), session.is_left()), (Room::Ended, 2, true));
    assert_eq!(receive(&mut session, &[(TRAILERS, 1, b"")]).unwrap(), ["Answered(7s)"]);
    let mut given_up = 0;
    session.abandon(&mut |_| given_up += 1);
    assert_eq!((given_up, session.open()), (1, 0));
}

#[test]
fn stream_ids_run_out() {
    let request = request(0);
    let mut session = Session::with_first_stream(&request, MAX_31 - 2);
    receive(&mut session, &[((kind::SETTINGS, 0), 0, b"")]).unwrap();
    session.begin(AT);
    assert_eq!(session.room(), Room::Open);
    session.begin(AT);
    assert_eq!((session.room(), session.is_left()), (Room::Ended, false));
    assert_eq!(receive(&mut session, &[(TRAILERS, MAX_31, b"")]).unwrap(), ["Failed(7s)"]);
}

#[test]
fn a_server_that_breaks_the_protocol_is_refused() {
    let long = vec![0; frames::DEFAULT_MAX_FRAME + 1];
    let continued = (kind::CONTINUATION, flag::END_HEADERS);
    let cases: &[&[Frame<'_>]] = &[
        &[(DATA, 0, b"")],
        &[(DATA, 2, b"")],
        &[(DATA, 3, b"")],
        &[(PADDED, 1, &[9, 0])],
        &[(continued, 1, b"")],
        &[((kind::HEADERS, 0), 1, b""), (DATA, 1, b"")],
        &[((kind::HEADERS, 0), 1, b""), (continued, 3, b"")],
        &[((kind::PUSH_PROMISE, 0), 1, b"")],
        &[((kind::SETTINGS, 0), 0, b"12345")],
        &[((kind::SETTINGS, 0), 0, &[0, 5, 0, 0, 0, 1])],
        &[(GOAWAY, 0, b"1")],
        &[((kind::WINDOW_UPDATE, 0), 0, b"1")],
        &[((kind::WINDOW_UPDATE, 0), 0, &MAX_31.to_be_bytes())],
        &[(DATA, 1, &long)],
    ];
    for given in cases {
        let request = request(0);
        let mut session = serving(&request, &[]);
        session.begin(AT);
        assert!(receive(&mut session, given).is_err(), "{given:?}");
    }
}
