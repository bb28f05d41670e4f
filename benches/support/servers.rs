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
    audit::log::{Mode, Options},
    clock::Clock,
    config::{
        ConnectionLimits,
        listeners::ListenerConfig,
        scrub::ScrubLimits,
        telemetry::{Headers, Otlp},
    },
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
    /// The enforcer's.
    pub(crate) token: String,
    /// The admin's, of a server that has one.
    pub(crate) admin: String,
    /// The auditor's, likewise.
    pub(crate) auditor: String,
    /// The operator's, likewise.
    pub(crate) operator: String,
    /// Where its metrics can be fetched.
    pub(crate) metrics: Option<SocketAddr>,
}

/// How this service is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Durable,
    Buffered,
    /// Durable, without the tree over the audit log and its checkpoints.
    WithoutTree,
    /// Durable, and tells metrics.
    TellsMetrics,
    /// Metrics, and spans of one call in a hundred, to a collector that may be dead.
    TellsAll {
        collector: SocketAddr,
    },
}

impl Server {
    /// Starts one and waits until it says where it listens.
    pub(crate) fn spawn(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments);
        Self::start(command)
    }

    /// Starts one under a program that takes it and its arguments as its own last ones.
    pub(crate) fn spawn_under(program: &[&str], arguments: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(std::env::current_exe().unwrap()).args(arguments);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("a server says where it listens").to_owned();
        let address = word().parse().unwrap();
        let [token, admin, auditor, operator] = std::array::from_fn(|_| word());
        let metrics = words.next().map(|address| address.parse().unwrap());
        Self { stdin: child.stdin.take(), child, address, token, admin, auditor, operator, metrics }
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
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
        println!("{} - - - -", listener.local_addr().unwrap());
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
pub(crate) fn serve_aap(directory: &str, variant: Variant) {
    let (callers, tokens) = callers();
    let is_telling = matches!(variant, Variant::TellsMetrics | Variant::TellsAll { .. });
    let metrics = is_telling.then(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let metrics_address = metrics.as_ref().map(|listener| listener.local_addr().unwrap());
    let mut stores = Stores::open(&Path::new(directory).join("data"), "aap.local/bench").unwrap();
    if variant == Variant::WithoutTree {
        stores.evidence = None;
    }
    let mode = if variant == Variant::Buffered { Mode::Buffered } else { Mode::Durable };
    let settings = Settings {
        connections: ConnectionLimits::default(),
        callers,
        audit: Options { mode, ..Options::default() },
        reserve: Reserve { management_percent: 0, check_percent: 0 },
        limits: Limits::NONE,
        watches: aap::service::watches::WatchLimits::default(),
        cursors: aap::domain::audit_cursor::CursorLimits::default(),
        audience: None,
        vouchers: aap::identity::vouchers::Vouchers::default(),
        snapshot_every: snapshot::DEFAULT_EVERY,
        scrub: ScrubLimits::default(),
        verification: Verification::Quick,
        clock: Clock::system(),
        configuration_digest: [0; 32],
        reload: None,
        seed: world(),
        more_services: Some(Arc::new(|routes| {
            routes.add_service(Empty);
        })),
        telemetry: server::Telemetry { metrics, otlp: otlp_of(variant) },
        manager: None,
    };
    let sockets = server::listen::sockets_per_address();
    let config = ListenerConfig::plain("127.0.0.1:0".parse().unwrap());
    let sockets = server::listen::listen(config.address, sockets).unwrap();
    let metrics = metrics_address.map(|address| address.to_string()).unwrap_or_default();
    let address = sockets[0].local_addr().unwrap();
    let [token, admin, auditor, operator] = tokens.each_ref().map(NewToken::reveal);
    println!("{address} {token} {admin} {auditor} {operator} {metrics}");
    let door = Arc::new(Door::new(config).unwrap());
    let listeners = vec![Listener { sockets, door }];
    server::run(stores, settings, listeners, end_of_input()).unwrap();
}

/// An enforcer, an admin, an auditor and an operator, of all accounts, and their tokens.
fn callers() -> (Callers, [NewToken; 4]) {
    let mut callers = Callers::default();
    let tokens = [
        ("bench", CallerRole::Enforcer(Assertion::Allowed, aap::identity::bounds::Bounds::NONE)),
        ("bench-admin", CallerRole::Admin),
        ("bench-auditor", CallerRole::Auditor),
        ("bench-operator", CallerRole::Operator),
    ]
    .map(|(name, role)| {
        let (token, name) = (NewToken::make().unwrap(), name.into());
        let caller = Caller { name, role, accounts: Accounts::All, expires: None };
        assert!(callers.add(token.digest(), caller));
        token
    });
    (callers, tokens)
}

fn otlp_of(variant: Variant) -> Option<Otlp> {
    let Variant::TellsAll { collector } = variant else { return None };
    let (endpoint, interval) = (format!("http://{collector}"), Duration::from_secs(1));
    Some(Otlp { endpoint, tls: None, headers: Headers::default(), interval, ratio: 0.01 })
}

/// A check that is allowed.
pub(crate) fn check() -> pb::Check {
    let network = pb::origin::Network::VpcNetwork(pb::VpcNetwork { vpc_id: "vpc-1".to_owned() });
    let access_point = format!("{LOCATION}/accessPoints/app-500");
    pb::Check {
        subject: Some(pb::check::Subject::AccessPoint(access_point)),
        action: "GetSecretValue".to_owned(),
        resource: "secret/dataKey-500".to_owned(),
        instance: "shared".to_owned(),
        origin: Some(pb::Origin { network: Some(network), address: "192.168.1.20".to_owned() }),
    }
}

/// A question for it, encoded.
pub(crate) fn check_message() -> Vec<u8> {
    let request = pb::CheckAccessRequest {
        parent: LOCATION.to_owned(),
        check: Some(check()),
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
