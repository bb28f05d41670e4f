//! Following the journal as a client does.

use std::collections::VecDeque;

use aap::api::pb::{self, watch_changes_request::Start};
use tonic::{Status, Streaming};

use super::{clients::Client, server::PATIENCE};

/// An open watch that checks each message against the one before it.
#[derive(Debug)]
pub struct Changes {
    messages: Streaming<pb::WatchChangesResponse>,
    /// Through where the messages so far account for the journal.
    pub through: u64,
    unread: VecDeque<pb::Change>,
}

impl Changes {
    /// Begins a watch, and reads its first message.
    pub async fn begin(client: &Client, parent: &str, start: Start) -> Result<Self, Status> {
        let request =
            pb::WatchChangesRequest { parent: parent.into(), start: Some(start), form: 0 };
        let mut messages = client.changes().watch_changes(request).await?.into_inner();
        let first = messages.message().await?.expect("a first message");
        let scanned = first.scanned.unwrap();
        assert!(first.changes.is_empty() && scanned.through + 1 == scanned.from, "{first:?}");
        Ok(Self { messages, through: scanned.through, unread: VecDeque::new() })
    }

    /// Begins a watch with a revision, inclusive.
    pub async fn from(client: &Client, parent: &str, revision: u64) -> Self {
        Self::begin(client, parent, Start::FromRevision(revision)).await.unwrap()
    }

    /// Begins a watch after the last revision.
    pub async fn from_end(client: &Client, parent: &str) -> Self {
        let start = Start::FromLastRevision(pb::FromLastRevision {});
        Self::begin(client, parent, start).await.unwrap()
    }

    /// Reads one message; `None` when the watch has ended.
    pub async fn read(&mut self) -> Result<Option<()>, Status> {
        let waited = tokio::time::timeout(PATIENCE, self.messages.message()).await;
        let Some(message) = waited.expect("a message in time")? else { return Ok(None) };
        let pb::WatchChangesResponse { changes, scanned } = message;
        let pb::ScannedRevisions { from, through } = scanned.unwrap();
        assert_eq!(from, self.through + 1, "ranges are contiguous");
        assert!(through >= from, "a message accounts for something");
        let mut last = self.through;
        for change in &changes {
            assert!(change.revision > last && change.revision <= through, "in order, in the range");
            last = change.revision;
        }
        self.through = through;
        self.unread.extend(changes);
        Ok(Some(()))
    }

    /// The next change, whenever it comes.
    pub async fn next(&mut self) -> pb::Change {
        loop {
            if let Some(change) = self.unread.pop_front() {
                return change;
            }
            self.read().await.unwrap().expect("the watch goes on");
        }
    }

    /// All changes that are not read yet, through a revision.
    pub async fn all_through(&mut self, last: u64) -> Vec<pb::Change> {
        while self.through < last {
            self.read().await.unwrap().expect("the watch goes on");
        }
        self.unread.drain(..).collect()
    }
}
