//! A socket under a [`Session`]: writes what it has to say, and feeds it what comes.
//!
//! A write never waits for long, so that a server which must be read from first can't stop us for
//! ever. It knows nothing of when calls begin.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::frames::Request;
use super::session::{Event, Room, Session};

/// How much is read at once.
const INPUT: usize = 256 * 1024;
/// How long a blocking read or write waits at most.
const WAIT: Duration = Duration::from_millis(100);
/// How many reads may pass before the server's settings came.
const PATIENCE: usize = 100;

/// Whether a read waits, for a closed loop, or returns at once, for an open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// It waits for bytes, at most a tenth of a second.
    Wait,
    /// It returns at once.
    Poll,
}

/// A connection that calls can begin on.
#[derive(Debug)]
pub struct Connection<'a> {
    /// The calls.
    pub session: Session<'a>,
    stream: TcpStream,
    input: Vec<u8>,
    /// How many bytes at the start of `input` wait for the rest of their frame.
    filled: usize,
    /// How many bytes of the session's output are written.
    written: usize,
}

impl<'a> Connection<'a> {
    /// Connects, and waits for the server's settings.
    pub fn open(address: SocketAddr, request: &'a Request, reads: Reads) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        let session = Session::new(request);
        let mut connection = Self { session, stream, input: vec![0; INPUT], filled: 0, written: 0 };
        for _ in 0..PATIENCE {
            connection.write()?;
            if connection.session.room() != Room::Full {
                connection.stream.set_nonblocking(reads == Reads::Poll)?;
                return Ok(connection);
            }
            connection.read(&mut |_| {})?;
        }
        Err(io::Error::new(ErrorKind::TimedOut, "the server sent no settings"))
    }

    /// Writes what the session has to say, as far as the socket takes it.
    pub fn write(&mut self) -> io::Result<()> {
        while let Some(rest) = self.session.output.get(self.written..).filter(|r| !r.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => self.written += length,
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.session.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once, and says how many bytes came; none is no error, an end is.
    pub fn read(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> io::Result<usize> {
        let length = match self.stream.read(self.input.get_mut(self.filled..).unwrap_or_default()) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if is_not_yet(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        let end = self.filled + length;
        let bytes = self.input.get(..end).unwrap_or_default();
        let taken = self
            .session
            .receive(bytes, on_event)
            .map_err(|violation| io::Error::new(ErrorKind::InvalidData, violation.0))?;
        self.input.copy_within(taken..end, 0);
        self.filled = end - taken;
        Ok(length)
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
