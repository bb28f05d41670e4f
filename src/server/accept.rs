//! Takes connections: counts them, has proxies say for whom they come, does the handshake, and hands
//! what is left to the gRPC server. Nobody who is slow here holds up anybody else.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    clock::Clock,
    config::{
        ConnectionLimits,
        listeners::{ListenerConfig, Security, Sources},
    },
    domain::network::NetworkKind,
    identity::{certificate::PeerCertificate, connection::Connection, roster::Roster},
};

use super::{
    ServeError,
    bounds::{Full, Losses, Place, REASON_NAMES, Room, Source, TurnedAway},
    proxy::{self, HeaderError},
    tls::Tls,
    transport::{Conversation, Transport},
};

/// How long nothing is accepted after the system refused to: it lacks what only time gives back.
const BREATH: Duration = Duration::from_millis(50);

/// What a listener asks of who connects. All its sockets share it.
#[derive(Debug)]
pub struct Door {
    config: ListenerConfig,
    tls: Option<Tls>,
}

impl Door {
    /// The door of a listener.
    pub fn new(config: ListenerConfig) -> Result<Self, ServeError> {
        let tls = match &config.security {
            Security::Plain => None,
            Security::Tls(certificate) => Some(
                Tls::new(certificate).map_err(|error| ServeError::Transport(error.to_string()))?,
            ),
        };
        Ok(Self { config, tls })
    }

    /// Shows another certificate from now on, if it is the same listener's.
    pub(super) fn replace(&self, config: &ListenerConfig) {
        if let (true, Some(tls), Security::Tls(certificate)) =
            (self.config.is_same(config), &self.tls, &config.security)
            && let Err(error) = tls.replace(certificate)
        {
            let address = config.address;
            tracing::error!(%error, %address, "the certificate before this one stays in use");
        }
    }

    fn takes(&self, peer: SocketAddr) -> bool {
        match &self.config.sources {
            Sources::Any => true,
            Sources::Proxies(proxies) => proxies.iter().any(|proxy| proxy.includes(peer.ip())),
        }
    }

    fn network(&self) -> Option<&NetworkKind> {
        self.config.network.as_ref()
    }
}

/// Counts connections, and knows who vouches for certificates. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Usher {
    connections: Room,
    handshakes: Room,
    handshake_time: Duration,
    losses: Arc<Losses>,
    roster: Arc<Roster>,
    clock: Clock,
}

impl Usher {
    pub(super) fn new(limits: ConnectionLimits, roster: Arc<Roster>, clock: Clock) -> Self {
        let ConnectionLimits {
            max,
            max_per_source,
            max_handshakes,
            max_handshakes_per_source,
            handshake_time,
        } = limits;
        Self {
            connections: Room::new(max, max_per_source),
            handshakes: Room::new(max_handshakes, max_handshakes_per_source),
            handshake_time,
            losses: Arc::default(),
            roster,
            clock,
        }
    }

    /// How many connections there are, and may be.
    pub(super) fn connections(&self) -> (usize, usize) {
        self.connections.taken()
    }

    /// How many were turned away so far, and why.
    pub(super) fn turned_away(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASON_NAMES.into_iter().zip(self.losses.totals())
    }

    /// Logs who was turned away since the last time.
    pub(super) fn report(&self) {
        self.losses.report();
    }
}

/// Takes connections at one socket of a door.
pub(super) struct Acceptor {
    pub(super) door: Arc<Door>,
    pub(super) usher: Usher,
    pub(super) ready: mpsc::Sender<Result<Conversation, Infallible>>,
}

impl Acceptor {
    /// Goes on until the server stops.
    pub(super) async fn run(self, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
        let this = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Err(reason) = this.take(stream, peer).await {
                        this.usher.losses.count(peer, reason);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    this.usher.losses.count(this.door.config.address, TurnedAway::NotAccepted);
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// Gives a connection its place and goes on with it, apart if it may take long. Dropping it
    /// closes it.
    async fn take(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> Result<(), TurnedAway> {
        if !self.door.takes(peer) {
            return Err(TurnedAway::NoProxy);
        }
        // A proxy comes for many; whom it comes for is counted when it has said so.
        let source = match self.door.config.sources {
            Sources::Any => Some(Source::of(peer.ip())),
            Sources::Proxies(_) => None,
        };
        let place = self.usher.connections.enter(source).map_err(TurnedAway::of_connections)?;
        if self.door.tls.is_none() && source.is_some() {
            self.hand_over(self.greet(stream, peer, place).await?).await;
            return Ok(());
        }
        let handshake =
            self.usher.handshakes.enter(source).map_err(|_| TurnedAway::TooManyHandshakes)?;
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let (time, greeting) = (this.usher.handshake_time, this.greet(stream, peer, place));
            let greeted = tokio::time::timeout(time, greeting).await;
            drop(handshake);
            match greeted.unwrap_or(Err(TurnedAway::TooSlow)) {
                Ok(conversation) => this.hand_over(conversation).await,
                Err(reason) => this.usher.losses.count(peer, reason),
            }
        });
        Ok(())
    }

    async fn hand_over(&self, conversation: Conversation) {
        // If nobody takes it, the server stops.
        let _ = self.ready.send(Ok(conversation)).await;
    }

    async fn greet(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        mut place: Place,
    ) -> Result<Conversation, TurnedAway> {
        // Without it, answers would wait for each other; that isn't worth refusing anybody for.
        let _ = stream.set_nodelay(true);
        let forwarded = match self.door.config.sources {
            Sources::Any => None,
            Sources::Proxies(_) => {
                let from = proxy::read_header(&mut stream).await.map_err(|error| match error {
                    HeaderError::Io(_) | HeaderError::NoHeader => TurnedAway::BadHeader,
                })?;
                if let Some(from) = from {
                    let source = Source::of(from.ip());
                    place.count_for(source).map_err(TurnedAway::of_connections)?;
                }
                from
            }
        };
        let (transport, certificate) = self.secure(stream).await?;
        let network = self.door.network().cloned();
        let connection = Connection { peer, forwarded, network, certificate };
        let time_to_begin = self.usher.handshake_time;
        Ok(Conversation::new(transport, Arc::new(connection), place, time_to_begin))
    }

    async fn secure(
        &self,
        stream: TcpStream,
    ) -> Result<(Transport, Option<PeerCertificate>), TurnedAway> {
        let Some(tls) = &self.door.tls else { return Ok((Transport::Plain(stream), None)) };
        let accepted = TlsAcceptor::from(tls.current()).accept(stream).await;
        let stream = accepted.map_err(|_| TurnedAway::BadHandshake)?;
        let certificate = match stream.get_ref().1.peer_certificates() {
            None | Some([]) => None,
            Some(chain) => {
                let callers = self.usher.roster.load();
                let now = self.usher.clock.now();
                let certificate = PeerCertificate::new(chain, callers.authorities(), now);
                Some(certificate.map_err(|_| TurnedAway::BadHandshake)?)
            }
        };
        Ok((Transport::Tls(Box::new(stream)), certificate))
    }
}

impl TurnedAway {
    fn of_connections(full: Full) -> Self {
        match full {
            Full::All => Self::TooMany,
            Full::Source => Self::TooManyOfSource,
        }
    }
}

/// Whether an error of accepting is that of a connection that has gone, as `accept(2)` has it.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
