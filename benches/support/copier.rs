//! Takes backups of a server, one after another, as fast as they come, and keeps nothing of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use aap::api::pb::{self, backup_service_client::BackupServiceClient};
use tonic::{Code, Request, transport::Endpoint};

use super::servers::Server;

/// How long until it is asked again for the turn of a backup that was left.
const RETRY: Duration = Duration::from_millis(10);

/// Who takes backups, on a thread of its own, until it is told to leave.
pub(crate) struct Copier {
    is_over: Arc<AtomicBool>,
    read: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Copier {
    /// Begins, and waits until the first bytes have come.
    pub(crate) fn begin(server: &Server) -> Self {
        let (is_over, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (address, token) = (server.address, server.operator.clone());
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&read));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(copy(address, &token, &over, &count));
        });
        let copier = Self { is_over, read, thread };
        while copier.read() == 0 {
            assert!(!copier.thread.is_finished(), "no backup comes");
            thread::sleep(RETRY);
        }
        copier
    }

    /// How many bytes came until now.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn leave(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

async fn copy(address: SocketAddr, token: &str, is_over: &AtomicBool, read: &AtomicU64) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = BackupServiceClient::new(endpoint.connect().await.unwrap());
    while !is_over.load(Ordering::Relaxed) {
        let mut request = Request::new(pb::StreamBackupRequest {});
        let token = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let mut backup = match client.stream_backup(request).await {
            Ok(backup) => backup.into_inner(),
            // The one that was left is about to end.
            Err(status) if status.code() == Code::ResourceExhausted => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(status) => panic!("no backup comes: {status}"),
        };
        while !is_over.load(Ordering::Relaxed)
            && let Some(part) = backup.message().await.unwrap()
        {
            read.fetch_add(part.content.len() as u64, Ordering::Relaxed);
        }
    }
}
