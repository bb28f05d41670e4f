//! Checks by sessions, decided again from their records: keys, access points and time change under
//! sessions that applications hold on to.

use std::collections::BTreeMap;

use aap::{
    api::pb::{
        self, CheckEvent, DecisionReason as Reason, SessionIdentity, audit_record::Event,
        check::Subject as SentSubject, check_event::Credential, create_session_request::Proof,
    },
    domain::{
        check::Subject,
        resource::Uid,
        rules::RulesVersion,
        session::{self, Session, ShownSession},
        time::UnixNanos,
    },
};
use prost_types::Timestamp;

use super::{decide_again, states};
use crate::{
    role_tokens::{OF_ACME, claims, key_file, table},
    sessions::Application,
    support::{
        ADMIN, AUDITOR, Client, GATEWAY, Setup,
        issuers::IssuerKey,
        place::Place,
        random::Random,
        server::AUDIENCE,
        watching::{self, Watch, check_of},
        world::{self, access_point_name},
    },
};

const NAMES: [&str; 3] = ["one", "two", "three"];
const RESOURCES: [&str; 3] = ["secret/dataKey1", "secret/dataKey2", "secret/other"];

/// Who showed what to a check, as its record has it.
pub(super) fn subject_of<'a>(event: &CheckEvent, shown: &SessionIdentity) -> Subject<'a> {
    let SessionIdentity { client_key_uid, ram_role_uid, revision, create_time, expire_time } =
        shown;
    let time = |time: &Option<Timestamp>| {
        let Timestamp { seconds, nanos } = time.unwrap();
        UnixNanos::from_parts(seconds, nanos)
    };
    let now = time(&event.decision_time);
    let uid = |text: &str| Uid(text.parse().unwrap());
    let proved_by = match (client_key_uid.as_str(), ram_role_uid.as_str()) {
        ("", "") => return Subject::Session(ShownSession::Foreign, now),
        ("", role) => session::Credential::RamRole(uid(role)),
        (key, _) => session::Credential::ClientKey(uid(key)),
    };
    let session = Session {
        access_point: uid(&event.access_point_uid),
        proved_by,
        revision: *revision,
        made: time(create_time),
        expires: time(expire_time),
    };
    Subject::Session(ShownSession::Genuine(session), now)
}

/// A world whose applications keep every session that they ever got.
struct World {
    place: Place,
    /// Those that have a key, by their access points' names; the keys may be gone by now.
    applications: Vec<(&'static str, Application)>,
    /// Who vouches for the role of one more, which has no key.
    issuer: IssuerKey,
    tokens: Vec<String>,
    proofs: u64,
}

impl World {
    fn admin(&self) -> Client {
        self.place.server.client(ADMIN)
    }

    /// Makes one random change. Some are refused, as they should be: of what is gone, or is full.
    async fn change(&mut self, random: &mut Random) {
        let name = random.pick(&NAMES);
        let mut admin = self.admin().access_points();
        let access_point = access_point_name(name);
        let key = (!self.applications.is_empty()).then(|| {
            let (_, app) = &self.applications[random.below(self.applications.len())];
            format!("{}/clientKeys/{}", app.access_point, app.id)
        });
        let key = key.unwrap_or_default();
        match random.below(20) {
            0..=5 => {
                if self.keys_of(name).await < 3 {
                    let app = self.place.application(name).await;
                    self.applications.push((name, app));
                }
            }
            6..=7 => {
                let request = pb::DisableClientKeyRequest { name: key, ..Default::default() };
                let _ = admin.disable_client_key(request).await;
            }
            8..=9 => {
                let request = pb::EnableClientKeyRequest { name: key, ..Default::default() };
                let _ = admin.enable_client_key(request).await;
            }
            10..=11 => {
                let request = pb::DeleteClientKeyRequest { name: key, ..Default::default() };
                let _ = admin.delete_client_key(request).await;
            }
            12 => {
                let name = access_point;
                let request = pb::SuspendAccessPointRequest { name, ..Default::default() };
                let _ = admin.suspend_access_point(request).await;
            }
            13..=14 => {
                let name = access_point;
                let request = pb::ResumeAccessPointRequest { name, ..Default::default() };
                let _ = admin.resume_access_point(request).await;
            }
            15..=17 => {
                // Another trust policy, or the same one again.
                let service = random.pick(&["ecs", "fc"]);
                let update = world::update_role("ECSRole", &[service]);
                self.admin().ram_roles().update_ram_role(update).await.unwrap();
            }
            18 => {
                let name = access_point;
                let request = pb::RevokeSessionsRequest { name, ..Default::default() };
                let _ = admin.revoke_sessions(request).await;
            }
            _ => {
                let _ = admin.delete_access_point(world::delete_access_point(name)).await;
            }
        }
    }

    async fn keys_of(&self, name: &str) -> usize {
        let parent = access_point_name(name);
        let request = pb::ListClientKeysRequest { parent, ..Default::default() };
        let listed = self.admin().access_points().list_client_keys(request).await;
        listed.map_or(0, |listed| listed.into_inner().client_keys.len())
    }

    /// Asks for a session of every application; those that get none keep what they have.
    async fn ask(&mut self) {
        for (_, app) in &self.applications {
            self.proofs += 1;
            let assertion = app.assertion(self.place.now, &self.proofs.to_string());
            self.tokens.extend(self.place.ask(app, assertion).await.ok());
        }
        self.proofs += 1;
        let claims = claims("home", "ECSRole", self.place.now, &self.proofs.to_string());
        let proof = Proof::RoleToken(self.issuer.sign(&claims));
        let session = self.place.ask_at(&access_point_name("app"), proof).await;
        self.tokens.extend(session.ok().map(|session| session.token));
    }

    /// Checks by some of the last sessions, and by what is none.
    async fn check(&self, random: &mut Random) {
        let gateway = self.place.server.client(GATEWAY);
        let last = self.tokens.len().min(24);
        for _ in 0..8 {
            let token = match random.below(8) {
                0 => "aaps_none".to_owned(),
                _ if last == 0 => "aaps_".to_owned(),
                _ => self.tokens[self.tokens.len() - 1 - random.below(last)].clone(),
            };
            let check = pb::Check {
                subject: Some(SentSubject::Session(token)),
                ..world::question(random.pick(&RESOURCES))
            };
            world::answer(&gateway, check).await;
        }
    }
}

#[tokio::test]
async fn every_recorded_check_by_a_session_decides_the_same_again() {
    let setup = Setup::new();
    let (issuer, path) = key_file(&setup, "k");
    let file = format!("{OF_ACME}\njwks_file = \"{}\"", path.display());
    let table = table("home", "ecs_instance", &file);
    let more = format!("[sessions]\naudience = \"{AUDIENCE}\"\n{table}");
    let place = Place::configured(setup, &more).await;
    let (applications, tokens) = (Vec::new(), Vec::new());
    let mut world = World { place, applications, issuer, tokens, proofs: 0 };
    let mut random = Random::new(2027);
    for round in 0..90 {
        for _ in 0..=random.below(3) {
            world.change(&mut random).await;
        }
        if random.below(3) == 0 {
            world.ask().await;
        }
        world.check(&mut random).await;
        world.place.wait(1 + i64::try_from(random.below(200)).unwrap());
        if round == 45 {
            world.place.server = world.place.server.restart().await;
            world.place.wait(60);
        }
    }
    let auditor = world.place.server.client(AUDITOR);
    let last = Watch::from_end(&auditor).await.through;
    let mut watch = Watch::from(&auditor, 1).await;
    let entries = watch.all_through(last).await;
    drop(watch);
    let setup = world.place.server.stop().await;

    let states = states(&setup, RulesVersion::CURRENT);
    let mut outcomes = BTreeMap::new();
    for entry in &entries {
        let record = watching::record(entry);
        let Some(event) = check_of(&record) else { continue };
        assert!(matches!(event.credential, Some(Credential::Session(_))));
        let recorded = event.decision.clone().unwrap();
        let state = &states[usize::try_from(event.revision).unwrap()];
        assert_eq!(decide_again(state, &record, event), recorded, "{record:?}");
        *outcomes.entry(recorded.reason().as_str_name()).or_insert(0) += 1;
    }
    // The world was worth it: whatever can become of a session did.
    let is_session = |record: &pb::AuditRecord| matches!(record.event, Some(Event::Session(_)));
    assert!(entries.iter().any(|entry| is_session(&watching::record(entry))));
    assert!(outcomes.contains_key(Reason::RoleNotTrusted.as_str_name()), "{outcomes:?}");
    assert!(outcomes.len() >= 9 && outcomes.values().all(|count| *count > 3), "{outcomes:?}");
}
