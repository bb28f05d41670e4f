//! Many changes at once: whenever the server is killed, all of them are there afterwards or none.

use std::collections::BTreeMap;

use aap::{
    api::pb::{self, requested_change::Change as Requested},
    domain::event::{Change as Happened, Event},
};
use prost::Message as _;
use ring::digest::{SHA256, digest};
use tonic::Status;

use super::{
    client::{Action, Client},
    load::{Dice, Ledger},
};

/// Where they are; nothing else is there.
const LOCATION: &str = "accounts/acme/regions/batches";
/// The most changes in one.
const MAX_CHANGES: u64 = 1_000;

/// Network rules that are created or deleted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Batch {
    pub(super) action: Action,
    pub(super) first: u64,
    pub(super) count: u64,
}

/// What was answered to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    /// The first of its revisions, which follow each other.
    first_revision: u64,
    /// A digest of the whole answer.
    digest: [u8; 32],
}

impl Batch {
    /// Rules that are not there yet, and are to be created together: as many as there may be, any number, or
    /// mostly a few.
    pub(super) fn roll(dice: &mut Dice, mut next_id: impl FnMut() -> u64) -> Self {
        let count = match dice.roll(6) {
            1 => MAX_CHANGES,
            2 => dice.roll(MAX_CHANGES),
            _ => dice.roll(10),
        };
        let first = next_id();
        for _ in 1..count {
            next_id();
        }
        Self { action: Action::Create, first, count }
    }

    /// The deletion of what this one creates.
    pub(super) fn undone(self) -> Self {
        Self { action: Action::Delete, ..self }
    }

    pub(super) fn request_id(self) -> String {
        let Self { action, first, count } = self;
        format!("{action:?}-{count}-from-{first}")
    }

    fn ids(self) -> impl Iterator<Item = u64> {
        self.first..self.first + self.count
    }

    fn names(self) -> impl Iterator<Item = String> {
        self.ids().map(|id| format!("{LOCATION}/networkRules/{id}"))
    }

    fn request(self) -> pb::ApplyChangesRequest {
        let create = |id: u64| {
            let network_rule = pb::NetworkRule {
                kind: Some(pb::network_rule::Kind::PublicNetwork(pb::PublicNetwork {})),
                addresses: vec!["203.0.113.0/24".to_owned()],
                ..Default::default()
            };
            Requested::CreateNetworkRule(pb::CreateNetworkRuleRequest {
                parent: LOCATION.to_owned(),
                network_rule_id: id.to_string(),
                network_rule: Some(network_rule),
                ..Default::default()
            })
        };
        let delete = |name: String| {
            let delete = pb::DeleteNetworkRuleRequest { name, ..Default::default() };
            Requested::DeleteNetworkRule(delete)
        };
        let changes: Vec<_> = match self.action {
            Action::Create => self.ids().map(create).collect(),
            Action::Delete => self.names().map(delete).collect(),
        };
        let changes =
            changes.into_iter().map(|change| pb::RequestedChange { change: Some(change) });
        pb::ApplyChangesRequest {
            parent: "accounts/acme".to_owned(),
            changes: changes.collect(),
            request_id: self.request_id(),
            validate_only: false,
        }
    }
}

/// Makes the changes of a batch.
pub(super) async fn apply(client: &mut Client, batch: Batch) -> Result<Applied, Status> {
    let answer = client.changes.apply_changes(batch.request()).await?.into_inner();
    let revisions: Vec<_> = answer.changes.iter().map(|change| change.revision).collect();
    let first_revision = revisions[0];
    let expected: Vec<_> = (first_revision..first_revision + batch.count).collect();
    assert_eq!(revisions, expected, "{batch:?} has not one range of revisions");
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, &answer.encode_to_vec()).as_ref());
    Ok(Applied { first_revision, digest: bytes })
}

/// All or nothing of each batch that wasn't answered is there; made again, it happens once. And of
/// those that were answered, all is there.
pub(super) async fn verify(client: &mut Client, ledger: &mut Ledger) {
    let there = list(client).await;
    for batch in std::mem::take(&mut ledger.unanswered_batches) {
        let found = batch.names().filter(|name| there.contains_key(name)).count() as u64;
        assert!(found == 0 || found == batch.count, "{found} of {batch:?} are there");
        let applied = apply(client, batch).await.unwrap();
        assert_eq!(apply(client, batch).await.unwrap(), applied, "{batch:?} happened twice");
        ledger.note_batch(batch, applied);
    }
    let mut expected = BTreeMap::new();
    for (batch, applied) in &ledger.batches {
        if batch.action == Action::Create && !ledger.batches.contains_key(&batch.undone()) {
            expected.extend(batch.names().zip(applied.first_revision..));
        }
    }
    let there = list(client).await;
    assert_eq!(there.len(), expected.len(), "what is there and what was made");
    assert!(there == expected, "what was made by batches is not what is there");
}

/// The revisions of all that is there, by name.
async fn list(client: &mut Client) -> BTreeMap<String, u64> {
    let mut there = BTreeMap::new();
    let parent = LOCATION.to_owned();
    let mut request =
        pb::ListNetworkRulesRequest { parent, page_size: 1_000, ..Default::default() };
    loop {
        let page = client.policies.list_network_rules(request.clone()).await.unwrap().into_inner();
        there.extend(page.network_rules.into_iter().map(|rule| (rule.name, rule.revision)));
        if page.next_page_token.is_empty() {
            return there;
        }
        request.page_token = page.next_page_token;
    }
}

/// Whether an event belongs to a batch.
pub(super) fn is_of_batch(event: &Event) -> bool {
    let name = match &event.change {
        Happened::NetworkRuleCreated(rule) => &rule.name,
        Happened::NetworkRuleDeleted(gone) => &gone.name,
        _ => return false,
    };
    name.to_string().starts_with(LOCATION)
}

/// In the journal, the events of each batch that was answered follow each other, and there are no
/// others.
pub(super) fn journal(events: &[Event], ledger: &Ledger) {
    let mut expected = BTreeMap::new();
    for (batch, applied) in &ledger.batches {
        for (name, revision) in batch.names().zip(applied.first_revision..) {
            let before = expected.insert(revision, (batch.request_id(), batch.action, name));
            assert!(before.is_none(), "{before:?} and {batch:?} have the revision {revision}");
        }
    }
    let found = events.iter().filter(|event| is_of_batch(event)).map(|event| {
        let (action, name) = match &event.change {
            Happened::NetworkRuleCreated(rule) => (Action::Create, rule.name.to_string()),
            Happened::NetworkRuleDeleted(gone) => (Action::Delete, gone.name.to_string()),
            other => panic!("nobody asked for {other:?}"),
        };
        let request_id = event.request.as_ref().unwrap().id.as_str().to_owned();
        (event.sequence, (request_id, action, name))
    });
    assert!(found.eq(expected), "the journal has other batches than were answered");
}
