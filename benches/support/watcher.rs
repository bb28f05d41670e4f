//! Watches the audit log, as somebody who is behind does: from the first record to the last one.

#![allow(clippy::disallowed_methods, reason = "bench code: the clock is what it is for")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aap::api::pb::{
    self, audit_service_client::AuditServiceClient, watch_audit_records_request::Start,
};
use tonic::{Request, transport::Endpoint};

use super::servers::Server;

const MESSAGE_LIMIT: usize = 16 * 1_024 * 1_024;

/// Who watches, and how.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    address: SocketAddr,
    token: String,
    form: pb::RecordForm,
    filter: Option<pb::AuditRecordFilter>,
}

/// What came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) through: u64,
}

impl Watcher {
    pub(crate) fn new(server: &Server, form: pb::RecordForm) -> Self {
        let (address, token) = (server.address, server.auditor.clone());
        Self { address, token, form, filter: None }
    }

    pub(crate) fn only(self, filter: pb::AuditRecordFilter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// From the first record through another one: what came, and how long it took from the first
    /// message on, which has none yet.
    pub(crate) fn catch_up(&self, through: u64) -> (Seen, Duration) {
        let mut began = None;
        let seen = self.watch(&mut |seen| {
            began.get_or_insert_with(Instant::now);
            seen.through < through
        });
        let is_whole = self.filter.is_some() || seen.records == seen.through;
        assert!(is_whole && seen.through >= through, "records are missing: {seen:?}");
        (seen, began.map(|began| began.elapsed()).unwrap_or_default())
    }

    /// From the first record on as long as `go_on` says so. Every range must follow the one before,
    /// and every record must be in its place.
    fn watch(&self, go_on: &mut dyn FnMut(&Seen) -> bool) -> Seen {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
            let channel = endpoint.connect().await.unwrap();
            let mut client =
                AuditServiceClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
            let mut request = Request::new(pb::WatchAuditRecordsRequest {
                start: Some(Start::FromSequence(1)),
                form: self.form.into(),
                filter: self.filter.clone(),
                ..pb::WatchAuditRecordsRequest::default()
            });
            let token = format!("Bearer {}", self.token).parse().unwrap();
            request.metadata_mut().insert("authorization", token);
            let mut messages = client.watch_audit_records(request).await.unwrap().into_inner();
            let mut seen = Seen::default();
            loop {
                let message = messages.message().await.unwrap().unwrap();
                let scanned = message.scanned.unwrap();
                assert_eq!(scanned.from, seen.through + 1, "a range is missing");
                let mut last = seen.through;
                for entry in &message.entries {
                    assert!(last < entry.sequence && entry.sequence <= scanned.through);
                    last = entry.sequence;
                }
                seen.records += message.entries.len() as u64;
                seen.messages += 1;
                seen.through = scanned.through;
                if !go_on(&seen) {
                    return seen;
                }
            }
        })
    }
}

/// Watchers that catch up again and again until they are stopped, a thread each.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    read: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    pub(crate) fn gather(watcher: &Watcher, count: usize, behind: u64) -> Self {
        let (is_over, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|_| {
            let (watcher, is_over, read) =
                (watcher.clone(), Arc::clone(&is_over), Arc::clone(&read));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let mut before = 0;
                    watcher.watch(&mut |seen| {
                        read.fetch_add(seen.records - before, Ordering::Relaxed);
                        before = seen.records;
                        seen.through < behind && !is_over.load(Ordering::Relaxed)
                    });
                }
            })
        });
        let threads = threads.collect();
        Self { is_over, read, threads }
    }

    /// How many records they were sent until now.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn leave(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}
