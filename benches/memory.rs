//! What access points cost in memory: each with one small policy of its own, as the catalog (for
//! reading) and the rulebook (for checks) have them.
//!
//! Each size is made in a process of its own, whose resident memory is compared with that of a
//! process with none.
//!
//! ```text
//! cargo bench --bench memory
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    missing_docs,
    reason = "bench code"
)]

use std::{fs, process::Command};

use aap::{
    domain::{
        access_point::{Authentication, PolicyIds},
        command::{self, Batch, NewAccessPoint, NewPolicy, Request},
        decide::{Verdict, decide},
        limits::Limits,
        name::{AccessPointName, Id, Instance, Location, PolicyName},
        pattern::ResourcePattern,
        policy::{NetworkAccess, Terms},
        resource::{Description, Uid},
        rules::{RulesVersion, Template},
        time::UnixNanos,
    },
    projection::{Published, State},
};
use uuid::Uuid;

/// What an access point with a policy of its own may cost, in bytes.
const BAR: u64 = 2_048;
const SIZES: [u64; 3] = [10_000, 100_000, 300_000];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--make") {
        return make(arguments[place + 1].parse().unwrap());
    }
    let none = resident_with(0);
    println!("a process without any: {} KiB\n", none / 1_024);
    println!("| access points, each with a policy | resident, bytes each | bar of {BAR} |");
    println!("|---:|---:|---|");
    for size in SIZES {
        let each = resident_with(size).saturating_sub(none) / size;
        println!("| {size} | {each} | {} |", if each <= BAR { "met" } else { "missed" });
    }
}

/// The resident memory of a process that has made so many.
fn resident_with(size: u64) -> u64 {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--make", &size.to_string()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn make(size: u64) {
    let mut state = State::new(RulesVersion::CURRENT);
    for number in 0..size {
        for (kind, command) in application(number).into_iter().enumerate() {
            let request = Request {
                actor: "operator".into(),
                time: UnixNanos(1_700_000_000_000_000_000),
                uid: Uid(Uuid::from_u128(u128::from(number) << 8 | kind as u128)),
                mark: None,
                command,
            };
            let verdict = decide(&state.catalog, &Limits::NONE, &Batch::from(request)).unwrap();
            let Verdict::Happened(events) = verdict else { panic!("nobody asked before") };
            for event in &events {
                state.evolve(event);
            }
        }
    }
    let published = Published::new(state);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{}", kibibytes * 1_024);
    drop(published);
}

fn application(number: u64) -> [command::Command; 2] {
    let location = Location::parse("accounts/acme/regions/eu-1").unwrap();
    let id = |kind: &str| Id::parse(&format!("{kind}-{number}")).unwrap();
    let terms = Terms::new(
        Instance::parse("shared").unwrap(),
        vec![Template::SecretUser],
        vec![ResourcePattern::parse(&format!("secret/application-{number}/*")).unwrap()],
        NetworkAccess::AnyNetwork,
    );
    [
        command::Command::CreatePolicy(NewPolicy {
            name: PolicyName { location: location.clone(), id: id("policy") },
            description: Description::default(),
            terms: terms.unwrap(),
        }),
        command::Command::CreateAccessPoint(NewAccessPoint {
            name: AccessPointName { location, id: id("application") },
            description: Description::default(),
            authentication: Authentication::ClientKey,
            policies: PolicyIds::new([id("policy")]).unwrap(),
        }),
    ]
}
