//! On a journal in memory: what is shown, in which order, and how much at a time.

use std::sync::Arc;

use super::*;
use crate::{
    domain::{
        event::Change,
        name::Id,
        network_rule::NetworkRule,
        resource::Description,
        rules::RulesVersion,
        testing::{ABROAD, World, create_network_rule, create_policy, full_name, policy_name},
    },
    identity::caller::{Accounts, CallerRole},
    projection::State,
    store::codec,
};

#[derive(Debug)]
struct InMemory(Vec<Event>);

impl JournalReader for InMemory {
    fn read(&self, from: u64, count: usize) -> Result<Vec<Event>, ReadError> {
        let begin = usize::try_from(from - 1).unwrap();
        Ok(self.0[begin..begin + count].to_vec())
    }

    fn read_stored(&self, from: u64, count: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        Ok(self.read(from, count)?.iter().map(codec::encode).collect())
    }
}

/// A history of these events, of which as many are published as `published` says.
fn history(events: &[Event], published: usize) -> History {
    let mut state = State::new(RulesVersion::CURRENT);
    events[..published].iter().for_each(|event| state.evolve(event));
    History::new(Arc::new(Published::new(state)), Arc::new(InMemory(events.to_vec())))
}

fn caller(accounts: &[&str]) -> Caller {
    let accounts = accounts.iter().map(|account| Id::parse(account).unwrap()).collect();
    Caller {
        name: "ops".into(),
        role: CallerRole::Admin,
        accounts: Accounts::Only(accounts),
        expires: None,
    }
}

fn account(text: &str) -> Wanted {
    Wanted::Account(AccountName(Id::parse(text).unwrap()))
}

/// So many changes, of which every third is of another account.
fn mixed(count: usize) -> Vec<Event> {
    let world = World::given([
        create_network_rule("n", "public", "10.0.0.0/8"),
        create_network_rule(&full_name(ABROAD, "networkRules", "m"), "public", "10.0.0.0/8"),
    ]);
    let event = |sequence: usize| {
        let kind = &world.events[usize::from(sequence.is_multiple_of(3))];
        Event { sequence: u64::try_from(sequence).unwrap(), ..kind.clone() }
    };
    (1..=count).map(event).collect()
}

fn revisions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

/// All pages of a list.
fn pages(history: &History, caller: &Caller, wanted: &Wanted, size: usize) -> Vec<Vec<u64>> {
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let listed = history.list(caller, wanted, Page { before, size }).unwrap();
        pages.push(revisions(&listed.events));
        before = listed.next_before;
        if before.is_none() {
            return pages;
        }
    }
}

#[test]
fn a_list_has_each_change_of_the_account_once_the_last_one_first() {
    let (events, acme) = (mixed(10), caller(&["acme"]));
    let history = history(&events, 9);
    for (wanted, size, expected) in [
        (account("acme"), 50, vec![vec![8, 7, 5, 4, 2, 1]]),
        (account("acme"), 4, vec![vec![8, 7, 5, 4], vec![2, 1]]),
        (account("acme"), 6, vec![vec![8, 7, 5, 4, 2, 1]]),
        (account("other"), 50, vec![vec![]]),
        (Wanted::AllOfCaller, 3, vec![vec![8, 7, 5], vec![4, 2, 1]]),
    ] {
        assert_eq!(pages(&history, &acme, &wanted, size), expected, "{wanted:?} {size}");
    }
    let both = caller(&["acme", "other"]);
    assert_eq!(pages(&history, &both, &account("other"), 50), [[9, 6, 3]]);
    assert_eq!(pages(&history, &both, &Wanted::AllOfCaller, 50), [[9, 8, 7, 6, 5, 4, 3, 2, 1]]);
}

#[test]
fn the_history_of_one_resource_is_its_own() {
    let world = World::given([
        create_policy("p", "shared", "SECRET_USER", "secret/a", "any"),
        create_policy("q", "shared", "SECRET_USER", "secret/a", "any"),
    ]);
    let history = history(&world.events, 2);
    let of = |name: &str| Wanted::Resource(ResourceName::Policy(policy_name(name)));
    assert_eq!(pages(&history, &caller(&["acme"]), &of("p"), 9), [[1]]);
    assert_eq!(pages(&history, &caller(&["acme"]), &of("q"), 9), [[2]]);
    assert_eq!(pages(&history, &caller(&["other"]), &of("q"), 9), [[0_u64; 0]]);
}

#[test]
fn a_page_looks_at_so_many_changes_and_no_more() {
    let events = mixed(PAGE_SCAN + 3);
    let history = history(&events, events.len());
    let stranger = caller(&["nobody"]);
    let listed = history.list(&stranger, &account("nobody"), Page { before: None, size: 5 });
    assert_eq!(listed.unwrap(), Listed { events: Vec::new(), next_before: Some(4) });
    assert_eq!(pages(&history, &stranger, &account("nobody"), 5), [[0_u64; 0], []]);
}

#[test]
fn a_watch_accounts_for_every_revision_and_sees_only_what_is_published() {
    let events = mixed(10);
    let history = history(&events, 9);
    let acme = caller(&["acme"]);
    let mut watch = history.watch(account("acme"), Start::At(4)).unwrap();
    let progress = watch.read(&acme).unwrap();
    assert_eq!((progress.from, progress.through), (4, 9));
    assert_eq!(revisions(&progress.events), [4, 5, 7, 8]);
    let empty = Progress { events: Vec::new(), from: 10, through: 9 };
    assert_eq!(watch.read(&acme).unwrap(), empty);

    let mut state = history.published.load().as_ref().clone();
    state.evolve(&events[9]);
    history.published.publish(state);
    assert_eq!(revisions(&watch.read(&acme).unwrap().events), [10]);
    assert_eq!(watch.next(), 11);
}

#[test]
fn a_watch_follows_what_its_caller_is_bound_to_now() {
    let events = mixed(9);
    let mut watch = history(&events, 9).watch(Wanted::AllOfCaller, Start::At(1)).unwrap();
    assert_eq!(revisions(&watch.read(&caller(&["other"])).unwrap().events), [3, 6, 9]);
}

#[test]
fn a_watch_begins_at_most_one_past_the_end() {
    let history = history(&mixed(3), 3);
    assert_eq!(history.watch(account("acme"), Start::End).unwrap().next(), 4);
    assert_eq!(history.watch(account("acme"), Start::At(4)).unwrap().next(), 4);
    let refused = history.watch(account("acme"), Start::At(5)).unwrap_err();
    assert_eq!(refused.to_string(), "the journal has revisions 1 to 3, not 5");
}

#[test]
fn a_message_of_a_watch_is_bounded_in_bytes_and_in_changes_looked_at() {
    let world = World::given([create_network_rule("n", "public", "10.0.0.0/8")]);
    let Change::NetworkRuleCreated(rule) = &world.events[0].change else { panic!() };
    let mut large = NetworkRule::clone(rule);
    large.header.description = Description::parse(&"ä".repeat(1_024)).unwrap();
    let large = Change::NetworkRuleCreated(Arc::new(large));
    let event = |sequence| Event { sequence, change: large.clone(), ..world.events[0].clone() };
    let events: Vec<_> = (1..=1_000).map(event).collect();
    let history_of_large = history(&events, events.len());
    let acme = caller(&["acme"]);
    let mut watch = history_of_large.watch(account("acme"), Start::At(1)).unwrap();
    let (mut from, mut messages) = (1, 0);
    while from <= 1_000 {
        let progress = watch.read(&acme).unwrap();
        let bytes: usize =
            progress.events.iter().map(|event| event.change.approximate_bytes()).sum();
        assert!(bytes < MESSAGE_BYTES + 4_096, "{bytes}");
        assert_eq!(progress.from, from);
        assert_eq!(revisions(&progress.events), (from..=progress.through).collect::<Vec<_>>());
        (from, messages) = (progress.through + 1, messages + 1);
    }
    assert!(messages > 5, "{messages}");

    let events = mixed(WATCH_SCAN + CHUNK + 1);
    let history_of_others = history(&events, events.len());
    let mut watch = history_of_others.watch(account("nobody"), Start::At(1)).unwrap();
    let progress = watch.read(&caller(&["nobody"])).unwrap();
    assert_eq!((progress.from, progress.through), (1, u64::try_from(WATCH_SCAN).unwrap()));
}
