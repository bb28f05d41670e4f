//! Many watchers with filters and speeds of their own, while records come and the server restarts:
//! each gets exactly what its filter says, each once and in order, and never hears that more was
//! looked at than it was sent.
//!
//! It drives the program as a process. `tests/interop/watch.sh` runs it for longer.
//!
//! | variable | what it says |
//! |---|---|
//! | `AAP_BINARY` | the program to test, instead of the one just built |
//! | `AAP_WATCH_RECORDS` | how many records there are to be, at least; 6,000 by default |
//! | `AAP_WATCH_WATCHERS` | how many watchers; 9 by default |
//! | `AAP_WATCH_RESTARTS` | how often the server restarts meanwhile; 1 by default |

mod follower;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aap::{
    api::pb::{
        self, access_point_service_client::AccessPointServiceClient,
        authorization_service_client::AuthorizationServiceClient,
    },
    clock::Clock,
    identity::token::NewToken,
};
use tokio::{sync::watch, time::timeout};
use tonic::{Request, transport::Channel};

use crate::support::{
    clients,
    home::{Home, Server, variable},
    world::{self, ask_all},
};
use follower::{Follower, Kind, Need};

/// How long one run of the server may take.
const PATIENCE: Duration = Duration::from_mins(10);
/// How many checks one batch has, and how many batches are asked at once.
const BATCH: u64 = 500;
const BATCHES: u64 = 4;

/// Where a server is, as long as it runs.
type Address = Option<std::net::SocketAddr>;

#[test]
fn every_watcher_gets_exactly_its_records_once_and_in_order() {
    let number = |name, default| variable(name).unwrap_or(default);
    let records = number("AAP_WATCH_RECORDS", 6_000);
    let watchers = number("AAP_WATCH_WATCHERS", 9);
    let restarts = number("AAP_WATCH_RESTARTS", 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let soaking = Soaking { home: Home::new(), records, watchers, restarts };
    runtime.block_on(soaking.run());
}

struct Soaking {
    home: Home,
    records: u64,
    watchers: u64,
    restarts: u64,
}

/// What was answered: the kind of each record that somebody has a receipt for.
type Answered = BTreeMap<u64, Kind>;

impl Soaking {
    async fn run(self) {
        let clock = Clock::system();
        let (address, addresses) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let token = Arc::new(self.home.auditor.reveal().to_owned());
        let mut following = Vec::new();
        for number in 0..self.watchers {
            let follower = Follower::new(number, Arc::clone(&token));
            following.push(tokio::spawn(follower.run(addresses.clone(), ended.clone())));
        }
        let mut answered = Answered::new();
        for run in 0..=self.restarts {
            let server = self.home.start();
            if run == 0 {
                create_example(&connect(&server), &self.home.admin).await;
            }
            address.send_replace(Some(server.address));
            let count = self.records / (self.restarts + 1) + 1;
            timeout(PATIENCE, fill(&server, &self.home, count, &mut answered)).await.unwrap();
            if run == self.restarts {
                let last = *answered.last_key_value().unwrap().0;
                end.send_replace(Some(last));
                let mut got = Vec::new();
                for following in following.drain(..) {
                    got.push(timeout(PATIENCE, following).await.unwrap().unwrap());
                }
                address.send_replace(None);
                check(&answered, last, &got);
                let (read, messages) = got.iter().fold((0, 0), |(read, messages), one| {
                    (read + one.records.len(), messages + one.messages)
                });
                let seconds = clock.elapsed().as_secs_f64();
                println!(
                    "{last} records, {} restarts, {} watchers: {read} records in {messages} \
                     messages, each once and in order; {seconds:.1} s",
                    self.restarts, self.watchers
                );
            } else {
                address.send_replace(None);
            }
            tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
        }
    }
}

/// Compares what each watcher got with what was answered.
fn check(answered: &Answered, last: u64, got: &[follower::Got]) {
    for one in got {
        let need = one.need;
        assert_eq!(one.through, last, "{need:?} has looked at all");
        let mut records = one.records.iter();
        for (sequence, kind) in answered {
            if need.is_for(*kind) {
                let found = records.find(|(found, _)| found >= sequence);
                assert_eq!(found, Some(&(*sequence, *kind)), "{need:?}");
            }
        }
        for (sequence, kind) in &one.records {
            assert!(need.is_for(*kind), "{need:?} got {kind:?} {sequence}");
            // What nobody has a receipt for was not asked by a batch: a start, a stop, a read.
            let is_asked = answered.get(sequence) == Some(kind);
            assert!(is_asked || *kind == Kind::Other, "{need:?} got {kind:?} {sequence}");
        }
    }
    // Who wants everything has everything, and all of them the same.
    let mut all = got.iter().filter(|one| one.need == Need::All).map(|one| &one.records);
    let first = all.next().expect("somebody wants everything");
    assert!(first.iter().map(|(sequence, _)| *sequence).eq(1..=last), "the log is dense");
    assert!(all.all(|records| records == first));
}

fn connect(server: &Server) -> Channel {
    clients::connect(server.address)
}

pub(crate) fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// An access point whose one policy is open to any network.
async fn create_example(channel: &Channel, admin: &NewToken) {
    let policy = with_token(admin.reveal(), world::new_policy("p", &["secret/granted/*"], &[]));
    let mut policies = pb::policy_service_client::PolicyServiceClient::new(channel.clone());
    policies.create_policy(policy).await.unwrap();
    let access_point = with_token(admin.reveal(), world::new_access_point("app", &["p"]));
    let mut access_points = AccessPointServiceClient::new(channel.clone());
    access_points.create_access_point(access_point).await.unwrap();
}

/// Has at least so many checks answered, and notes each one's place and kind.
async fn fill(server: &Server, home: &Home, count: u64, answered: &mut Answered) {
    let channel = connect(server);
    let mut filling = Vec::new();
    for filler in 0..BATCHES {
        let mut client = AuthorizationServiceClient::new(channel.clone());
        let token = home.enforcer.reveal().to_owned();
        filling.push(tokio::spawn(async move {
            let mut noted = Vec::new();
            while (noted.len() as u64) < count.div_ceil(BATCHES) {
                let from = filler + noted.len() as u64;
                let kinds: Vec<_> = (from..from + BATCH.min(count)).map(Kind::of).collect();
                let checks = kinds.iter().map(|kind| kind.check()).collect();
                let answer = client.batch_check_access(with_token(&token, ask_all(checks))).await;
                let results = answer.unwrap().into_inner().results;
                let places = results.into_iter().map(|result| result.receipt.unwrap().sequence);
                noted.extend(places.zip(kinds));
            }
            noted
        }));
    }
    for filling in filling {
        answered.extend(filling.await.unwrap());
    }
}
