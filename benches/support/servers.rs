//! The servers that benches load, each in a process of its own: started by the bench with an
//! argument, stopped when their standard input ends.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use aap::{
    api::pb,
    audit::log::Options,
    clock::Clock,
    config::{ConnectionLimits, listeners::ListenerConfig, telemetry::Otlp},
    domain::{
        access_point::{Authentication, PolicyIds},
        command,
        limits::Limits,
        name::{AccessPointName, Id, Instance, Location, NetworkRuleName, PolicyName},
        network::{NetworkKind, Prefix, VpcId},
        network_rule::Addresses,
        pattern::ResourcePattern,
        policy::{NetworkAccess, Terms},
        resource::Description,
        rules::Template,
    },
    identity::{
        caller::{Accounts, Assertion, Caller, CallerRole, Callers},
        token::NewToken,
    },
    server::{self, Settings, Stores, accept::Door, listen::Listener},
    store::{snapshot, space::Reserve, start::Verification},
};

use prost::Message;

use super::empty::Empty;

/// Where the world of the bench is.
pub(crate) const LOCATION: &str = "accounts/bench/regions/local";
/// How many access points it has, each with a policy and a rule of its own.
const ACCESS_POINTS: usize = 1_000;

/// A server in a process of its own.
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    /// Where its metrics can be fetched.
    pub(crate) metrics: Option<SocketAddr>,
}

/// What a server tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    Nothing,
    Metrics,
    /// Metrics, and spans of one call in a hundred, to a collector that may be dead.
    All {
        collector: SocketAddr,
    },
}

impl Server {
    /// Starts one and waits until it says where it listens.
    pub(crate) fn spawn(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("a server says where it listens").to_owned();
        let (address, token) = (word().parse().unwrap(), word());
        let metrics = words.next().map(|address| address.parse().unwrap());
        Self { stdin: child.stdin.take(), child, address, token, metrics }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves an empty method on tonic as it is by default.
pub(crate) fn serve_empty() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{} -", listener.local_addr().unwrap());
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tonic::transport::Server::builder()
            .add_service(Empty)
            // What `Server::serve` does with an address.
            .serve_with_incoming_shutdown(incoming.with_nodelay(Some(true)), end_of_input())
            .await
            .unwrap();
    });
}

/// Serves this service, and an empty method beside it.
pub(crate) fn serve_aap(directory: &str, tells: Tells) {
    serve_stores(directory, tells, |_| {});
}

/// The same without the tree over the audit log and its checkpoints.
pub(crate) fn serve_aap_without_tree(directory: &str) {
    serve_stores(directory, Tells::Nothing, |stores| stores.evidence = None);
}

fn serve_stores(directory: &str, tells: Tells, change: impl FnOnce(&mut Stores)) {
    let token = NewToken::make().unwrap();
    let mut callers = Callers::default();
    let role = CallerRole::Enforcer(Assertion::Allowed, aap::identity::bounds::Bounds::NONE);
    let enforcer = Caller { name: "bench".into(), role, accounts: Accounts::All, expires: None };
    assert!(callers.add(token.digest(), enforcer));
    let metrics = (tells != Tells::Nothing).then(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let metrics_address = metrics.as_ref().map(|listener| listener.local_addr().unwrap());
    let mut stores = Stores::open(&Path::new(directory).join("data"), "aap.local/bench").unwrap();
    change(&mut stores);
    let settings = Settings {
        connections: ConnectionLimits::default(),
        callers,
        audit: Options::default(),
        reserve: Reserve { management_percent: 0, check_percent: 0 },
        limits: Limits::NONE,
        watches: aap::service::watches::WatchLimits::default(),
        audience: None,
        snapshot_every: snapshot::DEFAULT_EVERY,
        verification: Verification::Quick,
        clock: Clock::system(),
        configuration_digest: [0; 32],
        reload: None,
        seed: world(),
        more_services: Some(Arc::new(|routes| {
            routes.add_service(Empty);
        })),
        telemetry: server::Telemetry { metrics, otlp: otlp_of(tells) },
    };
    let sockets = server::listen::sockets_per_address();
    let config = ListenerConfig::plain("127.0.0.1:0".parse().unwrap());
    let sockets = server::listen::listen(config.address, sockets).unwrap();
    let metrics = metrics_address.map(|address| address.to_string()).unwrap_or_default();
    println!("{} {} {metrics}", sockets[0].local_addr().unwrap(), token.reveal());
    let door = Arc::new(Door::new(config).unwrap());
    let listeners = vec![Listener { sockets, door }];
    server::run(stores, settings, listeners, end_of_input()).unwrap();
}

fn otlp_of(tells: Tells) -> Option<Otlp> {
    let Tells::All { collector } = tells else { return None };
    let (endpoint, interval) = (format!("http://{collector}"), Duration::from_secs(1));
    Some(Otlp { endpoint, interval, ratio: 0.01 })
}

/// A check that is allowed, encoded.
pub(crate) fn check_message() -> Vec<u8> {
    let network = pb::origin::Network::VpcNetwork(pb::VpcNetwork { vpc_id: "vpc-1".to_owned() });
    let access_point = format!("{LOCATION}/accessPoints/app-500");
    let request = pb::CheckAccessRequest {
        parent: LOCATION.to_owned(),
        check: Some(pb::Check {
            subject: Some(pb::check::Subject::AccessPoint(access_point)),
            action: "GetSecretValue".to_owned(),
            resource: "secret/dataKey-500".to_owned(),
            instance: "shared".to_owned(),
            origin: Some(pb::Origin { network: Some(network), address: "192.168.1.20".to_owned() }),
        }),
        request_id: String::new(),
        at_least_revision: 0,
    };
    request.encode_to_vec()
}

pub(crate) async fn end_of_input() {
    let (ended, wait) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let _ = wait.await;
}

fn world() -> Vec<command::Command> {
    (0..ACCESS_POINTS).flat_map(application).collect()
}

fn application(number: usize) -> [command::Command; 3] {
    let location = Location::parse(LOCATION).unwrap();
    let id = |kind: &str| Id::parse(&format!("{kind}-{number}")).unwrap();
    let terms = Terms::new(
        Instance::parse("shared").unwrap(),
        vec![Template::SecretUser],
        vec![ResourcePattern::parse(&format!("secret/dataKey-{number}*")).unwrap()],
        NetworkAccess::Rules([id("rule")].into()),
    );
    [
        command::Command::CreateNetworkRule(command::NewNetworkRule {
            name: NetworkRuleName { location: location.clone(), id: id("rule") },
            description: Description::default(),
            kind: NetworkKind::Vpc(VpcId::parse("vpc-1").unwrap()),
            addresses: Addresses::new(vec![Prefix::parse("192.168.0.0/16").unwrap()]).unwrap(),
        }),
        command::Command::CreatePolicy(command::NewPolicy {
            name: PolicyName { location: location.clone(), id: id("policy") },
            description: Description::default(),
            terms: terms.unwrap(),
        }),
        command::Command::CreateAccessPoint(command::NewAccessPoint {
            name: AccessPointName { location, id: id("app") },
            description: Description::default(),
            authentication: Authentication::ClientKey,
            policies: PolicyIds::new([id("policy")]).unwrap(),
        }),
    ]
}
