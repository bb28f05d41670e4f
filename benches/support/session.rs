//! The client's side of one HTTP/2 connection that carries unary gRPC calls, as bytes in and out.
//!
//! A call is answered if a complete, uncompressed message came in DATA and trailers ended the
//! stream; whatever else ends it is a failure, trailers without a message among them. The server's
//! windows, frame size and concurrency are honored. Of our windows, a stream's is larger than any
//! accepted message and never needs an update, and the connection's is refilled by halves, so a
//! server never waits for us. It knows no socket, no clock, and not what is in a message.

use std::collections::VecDeque;
use std::time::Duration;

use super::frames::{self, Head, MAX_31, Request, flag, kind, setting};

/// The size of the windows that the server gets, and so the limit of an answer.
const OUR_WINDOW: u32 = 1 << 30;

/// What happened to a call; the durations are what [`Session::begin`] was given.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A complete message arrived, without its prefix.
    Message(&'a [u8]),
    /// A call ended as it should.
    Answered(Duration),
    /// A call ended otherwise.
    Failed(Duration),
}

/// Whether a call can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Open,
    /// Not before the server answers or gives a larger window.
    Full,
    /// Never again on this connection.
    Ended,
}

/// How the server broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation(pub &'static str);

/// The calls of one connection.
#[derive(Debug)]
pub struct Session<'a> {
    /// The bytes to be written next; who writes them removes them.
    pub output: Vec<u8>,
    request: &'a Request,
    limits: Limits,
    /// What the server may receive on the connection.
    window: i64,
    /// What we received since we last refilled our window.
    received: u32,
    /// The open streams and, as `None`, the ended ones between them, from stream `first` on.
    streams: VecDeque<Option<Stream>>,
    first: u32,
    next: u32,
    open: usize,
    upload: Option<Upload>,
    /// The stream of an unfinished header block, and whether the block ends it.
    block: Option<(u32, bool)>,
    stage: Stage,
}

/// The server's settings.
#[derive(Clone, Copy, Debug)]
struct Limits {
    streams: usize,
    stream_window: i64,
    frame: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Serving,
    Leaving,
}

#[derive(Debug)]
struct Stream {
    begun: Duration,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Nothing,
    Part(Vec<u8>),
    Whole,
    Broken,
}

/// The one body that was not sent in full yet. No other call begins until it is.
#[derive(Debug)]
struct Upload {
    stream: u32,
    sent: usize,
    window: i64,
}

impl<'a> Session<'a> {
    /// A connection that says its preface.
    pub fn new(request: &'a Request) -> Self {
        Self::with_first_stream(request, 1)
    }

    fn with_first_stream(request: &'a Request, first: u32) -> Self {
        let mut output = frames::PREFACE.to_vec();
        let settings = [(setting::ENABLE_PUSH, 0), (setting::INITIAL_WINDOW_SIZE, OUR_WINDOW)];
        frames::put_settings(&mut output, &settings);
        frames::put_window_update(&mut output, 0, OUR_WINDOW - frames::DEFAULT_WINDOW);
        let stream_window = i64::from(frames::DEFAULT_WINDOW);
        Self {
            output,
            request,
            limits: Limits { streams: usize::MAX, stream_window, frame: frames::DEFAULT_MAX_FRAME },
            window: stream_window,
            received: 0,
            streams: VecDeque::new(),
            first,
            next: first,
            open: 0,
            upload: None,
            block: None,
            stage: Stage::Greeting,
        }
    }

    /// How many calls are open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether another call can begin.
    pub fn room(&self) -> Room {
        match self.stage {
            Stage::Leaving => Room::Ended,
            Stage::Serving if self.next > MAX_31 => Room::Ended,
            Stage::Serving if self.upload.is_none() && self.open < self.limits.streams => {
                Room::Open
            }
            Stage::Serving | Stage::Greeting => Room::Full,
        }
    }

    /// Whether the server left by GOAWAY.
    pub fn is_left(&self) -> bool {
        self.stage == Stage::Leaving
    }

    /// Begins a call, for which there must be room.
    pub fn begin(&mut self, begun: Duration) {
        let stream = self.next;
        self.next += 2;
        self.streams.push_back(Some(Stream { begun, answer: Answer::Nothing }));
        self.open += 1;
        frames::put_headers(&mut self.output, stream, &self.request.block, self.limits.frame);
        self.upload = Some(Upload { stream, sent: 0, window: self.limits.stream_window });
        self.send_body();
    }

    /// Gives up all open calls.
    pub fn abandon(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        for stream in self.streams.drain(..).flatten() {
            on_event(Event::Failed(stream.begun));
        }
        self.first = self.next;
        self.open = 0;
    }

    /// Takes the complete frames at the start of `bytes`, and says how long they are together.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<usize, Violation> {
        let mut rest = bytes;
        while let Some((head, after)) = Head::split(rest) {
            if head.length > frames::DEFAULT_MAX_FRAME {
                return Err(Violation("a frame is longer than allowed"));
            }
            let Some((payload, after)) = after.split_at_checked(head.length) else { break };
            self.take(head, payload, on_event)?;
            rest = after;
        }
        Ok(bytes.len() - rest.len())
    }

    fn take(
        &mut self,
        head: Head,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        if self.block.is_some() != (head.kind == kind::CONTINUATION) {
            return Err(Violation("a header block is interrupted or continued from nowhere"));
        }
        match head.kind {
            kind::DATA => self.take_data(head, payload, on_event),
            kind::HEADERS => {
                self.block = Some((head.stream, head.has(flag::END_STREAM)));
                self.take_block(head, on_event)
            }
            kind::CONTINUATION => self.take_block(head, on_event),
            kind::RST_STREAM => self.end(head.stream, Ending::Reset, on_event),
            kind::SETTINGS => self.take_settings(head, payload),
            kind::PUSH_PROMISE => Err(Violation("a push was promised, which we don't allow")),
            kind::PING if !head.has(flag::ACK) => {
                frames::put_frame(&mut self.output, (kind::PING, flag::ACK), 0, payload);
                Ok(())
            }
            kind::GOAWAY => self.take_goaway(payload, on_event),
            kind::WINDOW_UPDATE => self.take_window_update(head, payload),
            _ => Ok(()),
        }
    }

    fn take_data(
        &mut self,
        head: Head,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        self.received += head.length as u32;
        if self.received > OUR_WINDOW / 2 {
            frames::put_window_update(&mut self.output, 0, self.received);
            self.received = 0;
        }
        let bytes =
            frames::unpadded(head, payload).ok_or(Violation("more padding than payload"))?;
        if let Some(Some(stream)) = self.slot(head.stream)? {
            stream.answer.extend(bytes, on_event);
        }
        if head.has(flag::END_STREAM) {
            return self.end(head.stream, Ending::WithoutTrailers, on_event);
        }
        Ok(())
    }

    fn take_block(
        &mut self,
        head: Head,
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        match self.block {
            Some((stream, _)) if stream != head.stream => {
                Err(Violation("a header block is continued on another stream"))
            }
            Some((stream, is_last)) if head.has(flag::END_HEADERS) => {
                self.block = None;
                if is_last { self.end(stream, Ending::Trailers, on_event) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn take_settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Violation> {
        if head.has(flag::ACK) {
            return Ok(());
        }
        for (id, value) in frames::settings(payload).ok_or(Violation("half a setting"))? {
            match id {
                setting::MAX_CONCURRENT_STREAMS => self.limits.streams = value as usize,
                setting::INITIAL_WINDOW_SIZE => {
                    let change = i64::from(value) - self.limits.stream_window;
                    self.limits.stream_window += change;
                    if let Some(upload) = &mut self.upload {
                        upload.window += change;
                    }
                }
                setting::MAX_FRAME_SIZE if (value as usize) < frames::DEFAULT_MAX_FRAME => {
                    return Err(Violation("a limit of frames below the least"));
                }
                setting::MAX_FRAME_SIZE => self.limits.frame = value as usize,
                _ => {}
            }
        }
        if self.stage == Stage::Greeting {
            self.stage = Stage::Serving;
        }
        frames::put_frame(&mut self.output, (kind::SETTINGS, flag::ACK), 0, &[]);
        self.send_body();
        Ok(())
    }

    /// Fails the calls that the server did not see; it still answers the others.
    fn take_goaway(
        &mut self,
        payload: &[u8],
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        self.stage = Stage::Leaving;
        let last = frames::leading_u32(payload).ok_or(Violation("a short GOAWAY"))? & MAX_31;
        for stream in (self.first..self.next).step_by(2).filter(|stream| *stream > last) {
            self.end(stream, Ending::Reset, on_event)?;
        }
        Ok(())
    }

    fn take_window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Violation> {
        let bytes = frames::leading_u32(payload).ok_or(Violation("a short WINDOW_UPDATE"))?;
        let bytes = i64::from(bytes & MAX_31);
        match &mut self.upload {
            _ if head.stream == 0 => self.window += bytes,
            Some(upload) if upload.stream == head.stream => upload.window += bytes,
            _ => {}
        }
        if self.window > i64::from(MAX_31) {
            return Err(Violation("the connection's window is too large"));
        }
        self.send_body();
        Ok(())
    }

    /// Sends of the body what the windows allow.
    fn send_body(&mut self) {
        let Some(upload) = &mut self.upload else { return };
        while let Some(rest) = self.request.body.get(upload.sent..).filter(|rest| !rest.is_empty())
        {
            let window = usize::try_from(self.window.min(upload.window)).unwrap_or(0);
            let length = rest.len().min(window).min(self.limits.frame);
            let Some((part, after)) = rest.split_at_checked(length).filter(|_| length > 0) else {
                return;
            };
            let flags = if after.is_empty() { flag::END_STREAM } else { flag::NONE };
            frames::put_frame(&mut self.output, (kind::DATA, flags), upload.stream, part);
            upload.sent += length;
            upload.window -= length as i64;
            self.window -= length as i64;
        }
        self.upload = None;
    }

    /// Ends a stream, if it did not end before.
    fn end(
        &mut self,
        id: u32,
        ending: Ending,
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        let Some(stream) = self.slot(id)?.and_then(Option::take) else { return Ok(()) };
        self.open -= 1;
        while let Some(None) = self.streams.front() {
            self.streams.pop_front();
            self.first += 2;
        }
        if self.upload.as_ref().is_some_and(|upload| upload.stream == id) {
            self.upload = None;
            let cancel = 8_u32.to_be_bytes();
            frames::put_frame(&mut self.output, (kind::RST_STREAM, flag::NONE), id, &cancel);
        }
        on_event(match (ending, stream.answer) {
            (Ending::Trailers, Answer::Whole) => Event::Answered(stream.begun),
            _ => Event::Failed(stream.begun),
        });
        Ok(())
    }

    /// Where a stream is, or was; none, if it ended long ago.
    fn slot(&mut self, id: u32) -> Result<Option<&mut Option<Stream>>, Violation> {
        if id.is_multiple_of(2) || id >= self.next {
            return Err(Violation("a frame on a stream that we did not open"));
        }
        Ok(id.checked_sub(self.first).and_then(|ahead| self.streams.get_mut(ahead as usize / 2)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Trailers,
    WithoutTrailers,
    Reset,
}

impl Answer {
    fn extend(&mut self, bytes: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        match self {
            _ if bytes.is_empty() => {}
            Self::Nothing => match message(bytes) {
                Message::Unfinished => *self = Self::Part(bytes.to_vec()),
                Message::Whole(message) => {
                    on_event(Event::Message(message));
                    *self = Self::Whole;
                }
                Message::Broken => *self = Self::Broken,
            },
            Self::Part(part) => {
                part.extend_from_slice(bytes);
                match message(part) {
                    Message::Unfinished => {}
                    Message::Whole(message) => {
                        on_event(Event::Message(message));
                        *self = Self::Whole;
                    }
                    Message::Broken => *self = Self::Broken,
                }
            }
            Self::Whole | Self::Broken => *self = Self::Broken,
        }
    }
}

enum Message<'a> {
    Unfinished,
    Whole(&'a [u8]),
    Broken,
}

/// What the bytes of a stream are, of which there are some: a byte that says whether it is
/// compressed, four of length, and the message.
fn message(bytes: &[u8]) -> Message<'_> {
    let Some((&[compressed, a, b, c, d], rest)) = bytes.split_first_chunk::<5>() else {
        return Message::Unfinished;
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    if compressed != 0 || length > OUR_WINDOW - 5 || rest.len() > length as usize {
        return Message::Broken;
    }
    if rest.len() < length as usize { Message::Unfinished } else { Message::Whole(rest) }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
