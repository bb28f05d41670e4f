//! Many clients at once: what they were answered is what a server could have answered that does one
//! thing after the other, in the order of its journal.
//!
//! The clients change, repeat, read and check at random over a few names; a second writing of the
//! rules says what should have come of it. `tests/interop/load.sh` runs it for longer.
//!
//! | variable | what it says |
//! |---|---|
//! | `AAP_BINARY` | the program to test, instead of the one just built |
//! | `AAP_LOAD_CLIENTS` | how many clients; 8 by default |
//! | `AAP_LOAD_SECONDS` | how long they go on; without it, each makes 100 calls |
//! | `AAP_LOAD_SEED` | what the dice begin with, as a failed run has printed it |

mod checker;
mod doctored;
mod load;
mod model;
mod wire;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use aap::{
    api::{
        convert::{self, SentHeader},
        pb,
    },
    clock::Clock,
    domain::{
        name::{AccessPointName, NetworkRuleName, PolicyName},
        rules::RulesVersion,
    },
    entropy,
    projection::State as Folded,
    store::{journal::Journal as _, sled_journal::SledJournal},
};
use tokio::task::JoinSet;

use crate::support::{
    ADMIN, Client, SECOND_ADMIN,
    clients::connect,
    following::Changes,
    home::{Home, Server, variable},
    random::Random,
    world::HERE,
};
use checker::{History, Recorded, Report};
use load::{Known, Length, Voice};
use model::{Kind, State};

/// Everything there is, as it is listed.
#[derive(Debug, PartialEq)]
struct Everything {
    rules: Vec<pb::NetworkRule>,
    policies: Vec<pb::Policy>,
    access_points: Vec<pb::AccessPoint>,
}

#[test]
fn many_clients_see_one_order_of_changes() {
    let clients = variable("AAP_LOAD_CLIENTS").unwrap_or(8);
    let length = variable("AAP_LOAD_SECONDS")
        .map_or(Length::Calls(100), |seconds| Length::Time(Duration::from_secs(seconds)));
    let seed = variable("AAP_LOAD_SEED").unwrap_or_else(|| {
        let mut bytes = [0; 8];
        entropy::fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    });
    println!("AAP_LOAD_SEED={seed} with {clients} clients, {length:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(usize::try_from(clients).unwrap(), length, seed));
}

async fn run(clients: usize, length: Length, seed: u64) {
    let home = Home::new();
    let server = home.start();
    let operations = load(&home, &server, (clients, length, seed)).await;
    let admin = Client::new(connect(server.address), home.admin.reveal());
    let journal = followed(&admin).await;
    let before = everything(&admin).await;

    let history = History { operations, journal };
    let report = checker::check(&history).unwrap_or_else(|violation| panic!("{violation}"));
    assert_is_modelled(&before, &history);
    stop(server).await;
    assert_eq!(folded(&home.journal(), &before), before, "what a fresh replay comes to");
    let server = home.start();
    let admin = Client::new(connect(server.address), home.admin.reveal());
    assert_eq!(everything(&admin).await, before, "after a restart");
    stop(server).await;
    print(&history, &report);
}

/// Stops it beside this thread, which answers the server's farewell on open connections.
async fn stop(server: Server) {
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}

async fn load(
    home: &Home,
    server: &Server,
    (clients, length, seed): (usize, Length, u64),
) -> Vec<checker::Operation> {
    let (known, clock) = (Arc::new(Mutex::new(Known::default())), Clock::system());
    let mut random = Random::new(seed);
    let mut speaking = JoinSet::new();
    for number in 0..clients {
        let client = |token: &str| Client::new(connect(server.address), token);
        let voice = Voice {
            number,
            admins: [
                (ADMIN, client(home.admin.reveal())),
                (SECOND_ADMIN, client(home.second_admin.reveal())),
            ],
            enforcer: client(home.enforcer.reveal()),
            random: Random::new(random.next()),
            known: Arc::clone(&known),
            clock: clock.clone(),
        };
        speaking.spawn(voice.speak(length));
    }
    speaking.join_all().await.into_iter().flatten().collect()
}

/// The whole journal, as a watch from its beginning tells it.
async fn followed(admin: &Client) -> Vec<Recorded> {
    let last = Changes::from_end(admin, "accounts/acme").await.through;
    let changes = Changes::from(admin, "accounts/acme", 1).await.all_through(last).await;
    changes.into_iter().map(wire::read_change).collect()
}

async fn everything(admin: &Client) -> Everything {
    let parent = || HERE.to_owned();
    let rules = pb::ListNetworkRulesRequest { parent: parent(), ..Default::default() };
    let policies = pb::ListPoliciesRequest { parent: parent(), ..Default::default() };
    let access_points = pb::ListAccessPointsRequest { parent: parent(), ..Default::default() };
    let listed = admin.access_points().list_access_points(access_points).await.unwrap();
    Everything {
        rules: admin.policies().list_network_rules(rules).await.unwrap().into_inner().network_rules,
        policies: admin.policies().list_policies(policies).await.unwrap().into_inner().policies,
        access_points: listed.into_inner().access_points,
    }
}

/// What is listed is what the model has at the end of the journal.
fn assert_is_modelled(listed: &Everything, history: &History) {
    let mut state = State::default();
    for recorded in &history.journal {
        state.apply(&recorded.event);
    }
    let Everything { rules, policies, access_points } = listed;
    let names = |kind| state.list(kind).into_iter().map(|(name, _)| name.to_string());
    assert!(names(Kind::Rule).eq(rules.iter().map(|one| one.name.clone())));
    assert!(names(Kind::Policy).eq(policies.iter().map(|one| one.name.clone())));
    assert!(names(Kind::AccessPoint).eq(access_points.iter().map(|one| one.name.clone())));
}

/// What the product itself makes of the journal's bytes, from nothing, of all that is listed.
fn folded(journal: &Path, listed: &Everything) -> Everything {
    let journal = SledJournal::open(journal).unwrap();
    let events = journal.read(1, usize::MAX).unwrap();
    assert_eq!(events.len() as u64, journal.last(), "the journal is dense");
    let mut state = Folded::new(RulesVersion::CURRENT);
    for event in &events {
        state.evolve(event);
    }
    let catalog = &state.catalog;
    macro_rules! sent {
        ($list:ident, $name:ident, $find:ident, $convert:ident) => {
            listed
                .$list
                .iter()
                .filter_map(|one| catalog.$find(&$name::parse(&one.name).unwrap()))
                .map(|found| convert::$convert::send(found, SentHeader::of(&found.header)))
                .collect()
        };
    }
    Everything {
        rules: sent!(rules, NetworkRuleName, network_rule, network_rule),
        policies: sent!(policies, PolicyName, policy, policy),
        access_points: sent!(access_points, AccessPointName, access_point, access_point),
    }
}

fn print(history: &History, report: &Report) {
    for (what, count) in report {
        println!("{count:>8} {what}");
    }
    let (calls, changes) = (history.operations.len(), history.journal.len());
    println!("{calls} calls and {changes} changes have one order");
}
