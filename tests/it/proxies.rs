//! Listeners that only proxies connect to: who counts as one, and what records keep of whom they
//! forward.

use std::{io, net::SocketAddr};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::support::{
    ADMIN, AUDITOR, Client, ENFORCER, Setup, TestServer,
    certificates::connect_from,
    clients::token_of,
    configuration::Text,
    refused,
    watching::{Watch, check_of},
    world,
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PROXY: &str = "127.0.9.1";

/// A header that says for whom a connection to port 443 of this machine is.
fn header(from: SocketAddr) -> Vec<u8> {
    let (family, addresses) = match from.ip() {
        std::net::IpAddr::V4(ip) => (0x11, [&ip.octets()[..], &[127, 0, 0, 1]].concat()),
        std::net::IpAddr::V6(ip) => (0x21, [&ip.octets()[..], &[0; 16]].concat()),
    };
    let ports = [from.port().to_be_bytes(), 443_u16.to_be_bytes()].concat();
    let length = u16::try_from(addresses.len() + ports.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x21, family], &length, &addresses, &ports].concat()
}

/// What a proxy sends of its own accord.
fn local() -> Vec<u8> {
    [SIGNATURE, &[0x20, 0, 0, 0]].concat()
}

/// A connection for calls from an address, which begins with some bytes.
fn channel(source: &'static str, address: SocketAddr, beginning: Vec<u8>) -> Channel {
    let connector = tower::service_fn(move |_| {
        let beginning = beginning.clone();
        async move {
            let mut stream = connect_from(source, address).await?;
            stream.write_all(&beginning).await?;
            io::Result::Ok(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://aap.test").connect_with_connector_lazy(connector)
}

/// A server whose second listener is for proxies.
async fn start() -> TestServer {
    let setup = Setup::new();
    let text = Text::new(&setup.data_dir())
        .with(ADMIN, "role = \"admin\"\naccounts = [\"*\"]")
        .with(ENFORCER, "role = \"enforcer\"\naccounts = [\"acme\"]\nassert_identity = true")
        .with(AUDITOR, "role = \"auditor\"\naccounts = [\"*\"]")
        .and(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\nnetwork = \"vpc\"\nvpc_id = \"vpc-1\"\n\
             proxies = [\"127.0.9.0/30\", \"10.0.0.0/8\"]\n\
             [connections]\nmax_per_source = 4\nhandshake_seconds = 1\n",
        );
    let server = Setup { configuration: Some(text), ..setup }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

#[tokio::test]
async fn records_keep_the_proxy_and_whom_it_forwards_apart() {
    let server = start().await;
    let mut watch = Watch::from_end(&server.client(AUDITOR)).await;
    for (beginning, forwarded) in [
        (header("203.0.113.9:4001".parse().unwrap()), "203.0.113.9:4001"),
        (header("[2001:db8::7]:4001".parse().unwrap()), "[2001:db8::7]:4001"),
        (header("[::ffff:203.0.113.9]:4001".parse().unwrap()), "203.0.113.9:4001"),
        (local(), ""),
    ] {
        let channel = channel(PROXY, server.address_of(1), beginning);
        world::allow(&Client::new(channel.clone(), &token_of(ENFORCER))).await;
        let record = watch.next_record().await;
        assert!(record.peer.starts_with("127.0.9.1:"), "{}", record.peer);
        assert_eq!(record.forwarded_peer, forwarded);
        // What the enforcer reports is its own affair.
        assert!(check_of(&record).unwrap().origin.is_some());
        let stranger = Client::new(channel, "aap_wrong");
        let check = stranger.authorization().check_access(world::ask(world::allowed())).await;
        refused(check).is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
        assert_eq!(watch.next_record().await.forwarded_peer, forwarded);
    }
    drop(watch);
    server.stop().await;
}

/// Whether the server closes a connection without a word.
async fn is_closed(mut stream: TcpStream) -> bool {
    // Reset or ended: both are closed.
    stream.read(&mut [0; 64]).await.is_ok_and(|read| read == 0) || stream.read_u8().await.is_err()
}

#[tokio::test]
async fn nobody_but_a_proxy_with_a_header_gets_in() {
    let server = start().await;
    let (address, good) = (server.address_of(1), header("203.0.113.9:4001".parse().unwrap()));
    let connect = async |source: &str, bytes: &[u8]| {
        let mut stream = connect_from(source, address).await.unwrap();
        // It may be closed by now.
        let _ = stream.write_all(bytes).await;
        stream
    };
    for (what, source, bytes) in [
        ("somebody else", "127.0.9.4", &good[..]),
        ("somebody else without a header", "127.0.0.1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a proxy without a header", PROXY, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a proxy with another header", PROXY, b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n"),
        ("a proxy with half a header", PROXY, &good[..20]),
        ("a proxy without a word", PROXY, b""),
    ] {
        assert!(is_closed(connect(source, bytes).await).await, "{what}");
    }
    let stranger = channel("127.0.0.1", address, good.clone());
    let check = Client::new(stranger, &token_of(ENFORCER));
    assert!(check.authorization().check_access(world::ask(world::allowed())).await.is_err());
    world::allow(&Client::new(channel(PROXY, address, good), &token_of(ENFORCER))).await;
    // A header where none is expected isn't HTTP/2.
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    plain.write_all(&local()).await.unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_count_for_whom_a_proxy_forwards() {
    let server = start().await;
    let address = server.address_of(1);
    let from = |number: u8| {
        let from = SocketAddr::new([203, 0, number, 9].into(), 4001);
        Client::new(channel(PROXY, address, header(from)), &token_of(ENFORCER))
    };
    let mut open = Vec::new();
    for network in 0..3 {
        for _ in 0..4 {
            let client = from(network);
            world::allow(&client).await;
            open.push(client);
        }
        let fifth = from(network);
        assert!(fifth.authorization().check_access(world::ask(world::allowed())).await.is_err());
    }
    for client in &open {
        world::allow(client).await;
    }
    server.stop().await;
}
