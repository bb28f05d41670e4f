//! Loops against a server of a few lines, which answers each call as it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::frames::{self, Head, flag, kind, setting};
use super::{Call, Load, Report, ignore, share};

/// What the server does when a call is complete.
#[derive(Clone, Copy)]
enum Answer {
    /// Answers it, after a while.
    After(Duration),
    /// Ends it without a message.
    WithoutMessage,
    /// Answers, but says at every so many calls that it leaves.
    GoAwayEvery(u32),
    /// Answers, but closes the connection at every so many calls.
    CloseEvery(u32),
}

fn call() -> Call {
    let headers = vec![("authorization".to_owned(), "x".repeat(300))];
    Call { path: "/s/m".to_owned(), headers, message: vec![7; 30] }
}

/// A server that answers until the test ends.
fn serve(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve_connection(stream.unwrap(), answer));
        }
    });
    address
}

/// Serves until the client is gone, which is no error.
fn serve_connection(mut stream: TcpStream, answer: Answer) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut output = Vec::new();
    frames::put_settings(&mut output, &[(setting::MAX_CONCURRENT_STREAMS, 128)]);
    stream.write_all(&output).ok()?;
    stream.read_exact(&mut vec![0; frames::PREFACE.len()]).ok()?;
    let mut calls = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let (head, _) = Head::split(&head)?;
        let mut payload = vec![0; head.length];
        stream.read_exact(&mut payload).ok()?;
        if head.kind != kind::DATA || !head.has(flag::END_STREAM) {
            continue;
        }
        assert_eq!(payload, [&[0, 0, 0, 0, 30], &[7; 30][..]].concat());
        calls += 1;
        output.clear();
        frames::put_window_update(&mut output, 0, 35);
        let trailers = (kind::HEADERS, flag::END_STREAM | flag::END_HEADERS);
        match answer {
            Answer::After(wait) => thread::sleep(wait),
            Answer::WithoutMessage => {
                frames::put_frame(&mut output, trailers, head.stream, b"");
                stream.write_all(&output).ok()?;
                continue;
            }
            Answer::GoAwayEvery(every) if calls % every == 0 => {
                let last = [head.stream.to_be_bytes(), [0; 4]].concat();
                frames::put_frame(&mut output, (kind::GOAWAY, flag::NONE), 0, &last);
            }
            Answer::CloseEvery(every) if calls % every == 0 => return None,
            Answer::GoAwayEvery(_) | Answer::CloseEvery(_) => {}
        }
        frames::put_frame(&mut output, (kind::DATA, flag::NONE), head.stream, &[0, 0, 0, 0, 1, 5]);
        frames::put_frame(&mut output, trailers, head.stream, b"");
        stream.write_all(&output).ok()?;
    }
}

fn load(address: SocketAddr, call: &Call, connections: usize) -> Load<'_> {
    let (warmup, duration) = (Duration::from_millis(20), Duration::from_millis(200));
    Load { address, call, connections, warmup, duration }
}

#[test]
fn a_load_is_shared_evenly() {
    let shares: Vec<usize> = (0..4).map(|index| share(10, index, 4)).collect();
    assert_eq!(shares, [3, 3, 2, 2]);
}

#[test]
fn a_closed_loop_keeps_its_calls_in_flight() {
    let address = serve(Answer::After(Duration::ZERO));
    for connections in [1, 3] {
        let mut seen = 0;
        let call = call();
        let mut see = |message: &[u8]| {
            assert_eq!(message, [5]);
            seen += 1;
        };
        let report = load(address, &call, connections).closed_loop(10, &mut see).unwrap();
        assert_eq!((report.peak_in_flight, report.failed, report.lost_connections), (10, 0, 0));
        assert!(report.calls > 100 && seen >= report.calls, "{report}");
        assert_eq!(report.latency.total(), report.calls);
        assert!((report.seconds - 0.2).abs() < 1e-9);
    }
}

#[test]
fn the_limit_of_the_server_is_kept_and_seen() {
    let address = serve(Answer::After(Duration::ZERO));
    let report = load(address, &call(), 1).closed_loop(200, &mut ignore).unwrap();
    assert_eq!((report.peak_in_flight, report.failed), (128, 0));
}

#[test]
fn calls_without_a_message_fail() {
    let address = serve(Answer::WithoutMessage);
    let report = load(address, &call(), 1).closed_loop(4, &mut ignore).unwrap();
    assert_eq!(report.calls, 0);
    assert!(report.failed > 100);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let address = serve(Answer::After(Duration::ZERO));
    let report = load(address, &call(), 2).open_loop(1000.0, 1000, &mut ignore).unwrap();
    assert_eq!((report.calls, report.failed, report.unsent), (200, 0, 0));
    assert!(report.rate() <= 1001.0, "{report}");
}

#[test]
fn an_open_loop_measures_from_when_a_call_was_due() {
    let address = serve(Answer::After(Duration::from_millis(2)));
    let report = load(address, &call(), 1).open_loop(1000.0, 8, &mut ignore).unwrap();
    assert_eq!((report.peak_in_flight, report.failed), (8, 0));
    assert_eq!(report.calls + report.unsent, 200);
    assert!(report.held_back > 20 && report.unsent > 20, "{report}");
    assert!(report.percentile(99.0) > Duration::from_millis(60), "{report}");
    assert!(report.rate() < 500.0, "{report}");
}

#[test]
fn a_server_that_leaves_or_breaks_is_called_again() {
    let check = |answer, check: fn(&Report) -> bool| {
        let report = load(serve(answer), &call(), 1).closed_loop(4, &mut ignore).unwrap();
        assert!(report.calls > 100 && report.failed > 0 && check(&report), "{report}");
    };
    check(Answer::GoAwayEvery(100), |report| report.goaways > 0);
    check(Answer::CloseEvery(100), |report| report.lost_connections > 0);
}

#[test]
fn a_load_of_nothing_is_an_error() {
    let address = serve(Answer::WithoutMessage);
    assert!(load(address, &call(), 0).closed_loop(1, &mut ignore).is_err());
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(load(address, &call(), 1).open_loop(rate, 1, &mut ignore).is_err());
    }
}

#[test]
fn no_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(load(address, &call(), 1).closed_loop(1, &mut ignore).is_err());
}
