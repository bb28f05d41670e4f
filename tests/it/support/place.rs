//! A server whose time stands still until a test moves it, and applications that ask it for sessions.

use std::sync::atomic::{AtomicUsize, Ordering};

use aap::{
    api::pb::{
        self, DecisionReason as Reason, audit_record::Event, check::Subject,
        create_session_request::Proof,
    },
    clock::Clock,
    domain::time::UnixNanos,
};
use tonic::Status;

use super::{
    ADMIN, AUDITOR, Client, ENFORCER, GATEWAY, Setup, TestServer, configuration::Text,
    watching::Watch, world,
};

/// When every such server starts, in seconds since 1970.
pub const START: i64 = 1_900_000_000;

/// A server whose time stands still.
pub struct Place {
    pub server: TestServer,
    pub clock: Clock,
    pub now: i64,
    /// A configuration with everybody who calls, and how often the server was given another one.
    base: Text,
    probes: AtomicUsize,
}

impl Place {
    /// A server without a configuration file.
    pub async fn start() -> Self {
        Self::start_with(Setup::new()).await
    }

    /// A server that is configured with something more than who calls.
    pub async fn configured(setup: Setup, more: &str) -> Self {
        let configuration = Some(base(&setup).and(more));
        Self::start_with(Setup { configuration, ..setup }).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        let (base, clock) = (base(&setup), Clock::manual(UnixNanos::from_parts(START, 0)));
        let server = Setup { clock: clock.clone(), ..setup }.start().await;
        world::enter_page_example(&server.client(ADMIN)).await;
        let mut place = Self { server, clock, now: START, base, probes: AtomicUsize::new(0) };
        // What was made before or at the start proves nothing.
        place.wait(60);
        place
    }

    pub fn wait(&mut self, seconds: i64) {
        self.now += seconds;
        self.clock.set(UnixNanos::from_parts(self.now, 0));
    }

    /// Gives the server another configuration while it runs, with something more than the callers'.
    pub async fn reconfigure(&self, more: &str) {
        let probe = format!("probe-{}", self.probes.fetch_add(1, Ordering::SeqCst));
        let known = "role = \"viewer\"\naccounts = [\"acme\"]";
        let mut watch = Watch::from_end(&self.server.client(AUDITOR)).await;
        self.server.reload(&self.base.clone().with(&probe, known).and(more));
        // It counts right after it was recorded. Whoever is refused before is a stranger, and few of
        // those are recorded one by one.
        while !matches!(watch.next_record().await.event, Some(Event::ConfigurationLoad(_))) {}
        let get = pb::GetPolicyRequest { name: world::policy_name("RAMPolicy") };
        let probe = self.server.client(&probe);
        while probe.policies().get_policy(get.clone()).await.is_err() {}
    }

    /// An access point of that role and type of environment.
    pub async fn enter(&self, id: &str, role: &str, trusted_role: pb::TrustedRole) {
        let mut request = world::new_access_point(id, &["RAMPolicy"]);
        let authentication = pb::RamRoleAuthentication {
            trusted_role: trusted_role.into(),
            role: world::role_name(role),
        };
        request.access_point.as_mut().unwrap().authentication =
            Some(pb::access_point::Authentication::RamRole(authentication));
        let mut admin = self.server.client(ADMIN).access_points();
        admin.create_access_point(request).await.unwrap();
    }

    pub async fn ask_at(&self, access_point: &str, proof: Proof) -> Result<pb::Session, Status> {
        let request = pb::CreateSessionRequest {
            access_point: access_point.to_owned(),
            proof: Some(proof),
            lifetime_seconds: 0,
        };
        assert!(!format!("{request:?}").contains("eyJ"), "a token is never printed");
        let nobody = Client::without_token(self.server.channel().clone());
        Ok(nobody.sessions().create_session(request).await?.into_inner())
    }

    /// What an enforcer that may assert nothing is told about a session.
    pub async fn reason(&self, session: &str) -> Reason {
        let check =
            pb::Check { subject: Some(Subject::Session(session.to_owned())), ..world::allowed() };
        let answer = world::answer(&self.server.client(GATEWAY), check).await;
        answer.decision.unwrap().reason()
    }

    pub async fn last_session_record(&self) -> (pb::AuditRecord, pb::SessionEvent) {
        // Strangers' requests are recorded without waiting, but before this one.
        world::answer(&self.server.client(ENFORCER), world::allowed()).await;
        let auditor = self.server.client(AUDITOR);
        let last = Watch::from_end(&auditor).await.through;
        let records = Watch::from(&auditor, 1).await.records_through(last).await;
        let asked = records.into_iter().rev().find_map(|record| match &record.event {
            Some(Event::Session(event)) => Some((record.clone(), event.clone())),
            _ => None,
        });
        asked.unwrap()
    }
}

/// A configuration with everybody who calls.
fn base(setup: &Setup) -> Text {
    Text::new(&setup.data_dir())
        .with(ADMIN, "role = \"admin\"\naccounts = [\"acme\"]")
        .with(ENFORCER, "role = \"enforcer\"\naccounts = [\"acme\"]\nassert_identity = true")
        .with(GATEWAY, "role = \"enforcer\"\naccounts = [\"acme\"]")
        .with(AUDITOR, "role = \"auditor\"\naccounts = [\"*\"]")
}
