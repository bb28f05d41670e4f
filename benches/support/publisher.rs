//! Publishes a policy over and over, beside the load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use aap::api::pb::{self, policy_service_client::PolicyServiceClient};
use tonic::{Request, transport::Endpoint};

use super::servers::{LOCATION, Server};

/// How long it waits between one and the next.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread that publishes.
pub(crate) struct Publisher {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Publisher {
    pub(crate) fn start(server: &Server) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (address, token) = (server.address, server.admin.clone());
        let thread = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(publish(&format!("http://{address}"), &token, &is_over))
            }
        });
        Self { is_over, thread }
    }

    /// Stops it. How often it has published.
    pub(crate) fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn publish(address: &str, token: &str, is_over: &AtomicBool) -> usize {
    let channel = Endpoint::from_shared(address.to_owned()).unwrap().connect().await.unwrap();
    let mut client = PolicyServiceClient::new(channel);
    let mut published = 0;
    while !is_over.load(Ordering::Relaxed) {
        let policy = pb::Policy {
            name: format!("{LOCATION}/policies/policy-500"),
            description: format!("published {published} times"),
            ..pb::Policy::default()
        };
        let mut request = Request::new(pb::UpdatePolicyRequest {
            policy: Some(policy),
            update_mask: Some(prost_types::FieldMask { paths: vec!["description".to_owned()] }),
            ..pb::UpdatePolicyRequest::default()
        });
        let token = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        client.update_policy(request).await.unwrap();
        published += 1;
        tokio::time::sleep(PAUSE).await;
    }
    published
}
