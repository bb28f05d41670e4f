//! A connection as the gRPC server reads and writes it, in plain text or TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::identity::connection::SharedConnection;

use super::bounds::Place;

/// How HTTP/2 begins: 24 bytes, and a frame's header at least.
const OPENING_BYTES: usize = 24 + 9;

/// What the bytes go through.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that may serve calls, and holds its place as long as it lasts.
#[derive(Debug)]
pub(super) struct Conversation {
    transport: Transport,
    connection: SharedConnection,
    /// Until the other end has begun to speak.
    opening: Option<Opening>,
    _place: Place,
}

#[derive(Debug)]
struct Opening {
    /// When it is too late.
    deadline: Pin<Box<Sleep>>,
    read: usize,
}

impl Conversation {
    /// One in which the other end has so long to begin. Keepalive looks after it from then on.
    pub(super) fn new(
        transport: Transport,
        connection: SharedConnection,
        place: Place,
        time_to_begin: Duration,
    ) -> Self {
        let opening = Opening { deadline: Box::pin(sleep(time_to_begin)), read: 0 };
        Self { transport, connection, opening: Some(opening), _place: place }
    }
}

impl Connected for Conversation {
    type ConnectInfo = SharedConnection;

    fn connect_info(&self) -> SharedConnection {
        Arc::clone(&self.connection)
    }
}

impl AsyncRead for Conversation {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Some(opening) = &mut this.opening {
            opening.read += buffer.filled().len() - before;
            if opening.read >= OPENING_BYTES {
                this.opening = None;
            } else if opening.deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Conversation {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
