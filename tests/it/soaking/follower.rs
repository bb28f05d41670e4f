//! One watcher: its filter, its pace, and what it got.

use std::{net::SocketAddr, sync::Arc};

use aap::api::{
    audit_entry::{AuditEntry, Content},
    pb::{self, audit_service_client::AuditServiceClient, watch_audit_records_request::Start},
};
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Code, Status, Streaming};

use crate::support::{clients, world};

use super::{Address, with_token};

/// What a record is about, as far as filters tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A check that was allowed.
    Granted,
    /// A check of a secret that no policy covers.
    Uncovered,
    /// A check of another action.
    Encryption,
    /// A check about somebody who isn't there.
    Stranger,
    /// No check.
    Other,
}

impl Kind {
    /// The kind of the record with that number: mostly granted.
    pub(super) fn of(number: u64) -> Self {
        match number % 16 {
            3 | 7 => Self::Uncovered,
            5 => Self::Encryption,
            11 => Self::Stranger,
            _ => Self::Granted,
        }
    }

    /// A check whose record is of that kind.
    pub(super) fn check(self) -> pb::Check {
        let mut check = world::question("secret/granted/a");
        match self {
            Self::Uncovered => check.resource = "secret/other/a".into(),
            Self::Encryption => check.action = "Encrypt".into(),
            Self::Stranger => {
                let name = world::access_point_name("nobody");
                check.subject = Some(pb::check::Subject::AccessPoint(name));
            }
            Self::Granted | Self::Other => {}
        }
        check
    }

    fn of_record(record: &pb::AuditRecord) -> Self {
        let Some(pb::audit_record::Event::Check(check)) = &record.event else { return Self::Other };
        if check.access_point == world::access_point_name("nobody") {
            Self::Stranger
        } else if check.action == "Encrypt" {
            Self::Encryption
        } else if check.resource.starts_with("secret/other/") {
            Self::Uncovered
        } else {
            Self::Granted
        }
    }
}

/// What a watcher wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    All,
    Denials,
    OneResource,
    OneAction,
    OneReason,
    OneAccessPoint,
    OtherKinds,
    Nothing,
}

impl Need {
    const ALL: [Self; 8] = [
        Self::All,
        Self::Denials,
        Self::OneResource,
        Self::OneAction,
        Self::OneReason,
        Self::OneAccessPoint,
        Self::OtherKinds,
        Self::Nothing,
    ];

    pub(super) fn is_for(self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Denials => !matches!(kind, Kind::Granted | Kind::Other),
            Self::OneResource => kind == Kind::Uncovered,
            Self::OneAction => kind == Kind::Encryption,
            Self::OneReason => kind == Kind::Stranger,
            Self::OneAccessPoint => !matches!(kind, Kind::Stranger | Kind::Other),
            Self::OtherKinds => kind == Kind::Other,
            Self::Nothing => false,
        }
    }

    fn filter(self) -> Option<pb::AuditRecordFilter> {
        use pb::AuditRecordKind as Kind;
        let mut filter = pb::AuditRecordFilter::default();
        match self {
            Self::All => return None,
            Self::Denials => filter.outcomes = vec![pb::Outcome::Deny.into()],
            Self::OneResource => filter.resource_prefixes = vec!["secret/other/".to_owned()],
            Self::OneAction => filter.actions = vec!["Encrypt".to_owned()],
            Self::OneReason => {
                filter.reasons = vec![pb::DecisionReason::AccessPointNotFound.into()];
            }
            Self::OneAccessPoint => {
                filter.access_points = vec![world::access_point_name("app")];
            }
            Self::OtherKinds => {
                let kinds =
                    [Kind::ServerStart, Kind::ServerStop, Kind::RefusedCall, Kind::AuditRead];
                filter.kinds = kinds.map(Into::into).to_vec();
            }
            Self::Nothing => filter.accounts = vec!["nobody".to_owned()],
        }
        Some(filter)
    }
}

/// What a watcher got.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) need: Need,
    /// The records' places and kinds, in the order in which they came.
    pub(super) records: Vec<(u64, Kind)>,
    /// Through where it was told that the log was looked at.
    pub(super) through: u64,
    pub(super) messages: usize,
}

/// A watcher, which resumes where it was told.
#[derive(Debug)]
pub(super) struct Follower {
    got: Got,
    token: Arc<String>,
    /// After how many messages it gives way, and how often then.
    pace: (usize, usize),
}

impl Follower {
    pub(super) fn new(number: u64, token: Arc<String>) -> Self {
        let number = usize::try_from(number).unwrap();
        let need = Need::ALL[number % Need::ALL.len()];
        let got = Got { need, records: Vec::new(), through: 0, messages: 0 };
        // Some read as fast as they can, others give way up to some thousand times at each message.
        let pace = (1 + number % 3, [0, 10, 300, 3_000][number / 2 % 4]);
        Self { got, token, pace }
    }

    /// Watches until it has heard of the last record, over all restarts of the server.
    pub(super) async fn run(
        mut self,
        mut addresses: watch::Receiver<Address>,
        mut ended: watch::Receiver<Option<u64>>,
    ) -> Got {
        loop {
            let address = *addresses.wait_for(Option::is_some).await.unwrap();
            let followed = self.follow(address.unwrap(), &mut ended).await;
            match followed {
                Ok(()) => return self.got,
                // The server stops: it is followed further when it is there again.
                Err(status) => assert!(is_a_stop(&status), "{:?}: {status:?}", self.got.need),
            }
            addresses.wait_for(|now| *now != address).await.unwrap();
        }
    }

    async fn follow(
        &mut self,
        address: SocketAddr,
        ended: &mut watch::Receiver<Option<u64>>,
    ) -> Result<(), Status> {
        let mut messages = self.begin(address).await?;
        loop {
            let last = *ended.borrow_and_update();
            if last.is_some_and(|last| self.got.through >= last) {
                self.cut(last.unwrap_or_default());
                return Ok(());
            }
            tokio::select! {
                message = messages.message() => match message? {
                    Some(message) => self.take(message).await,
                    None => return Err(Status::unavailable("the stream has ended")),
                },
                changed = ended.changed() => changed.unwrap(),
            }
        }
    }

    async fn begin(
        &self,
        address: SocketAddr,
    ) -> Result<Streaming<pb::WatchAuditRecordsResponse>, Status> {
        let request = pb::WatchAuditRecordsRequest {
            form: pb::RecordForm::Message.into(),
            start: Some(Start::FromSequence(self.got.through + 1)),
            filter: self.got.need.filter(),
            log_id: String::new(),
        };
        let mut client = AuditServiceClient::new(clients::connect(address));
        let request = with_token(&self.token, request);
        Ok(client.watch_audit_records(request).await?.into_inner())
    }

    async fn take(&mut self, message: pb::WatchAuditRecordsResponse) {
        let Got { records, through, messages, need } = &mut self.got;
        let scanned = message.scanned.unwrap();
        assert_eq!(scanned.from, *through + 1, "{need:?}: ranges are contiguous");
        assert!(scanned.through >= *through);
        for entry in message.entries {
            let AuditEntry { sequence, content, .. } = entry;
            let Some(Content::Record(bytes)) = content else { panic!("{content:?}") };
            let record = pb::AuditRecord::decode(bytes).unwrap();
            assert_eq!(record.sequence, sequence);
            assert!((scanned.from..=scanned.through).contains(&sequence));
            let last = records.last().map_or(0, |(last, _)| *last);
            assert!(sequence > last, "{need:?}: {sequence} after {last}");
            records.push((sequence, Kind::of_record(&record)));
        }
        *through = scanned.through;
        *messages += 1;
        let (messages_between, turns) = self.pace;
        if self.got.messages.is_multiple_of(messages_between) {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Forgets what came behind the last record that counts.
    fn cut(&mut self, last: u64) {
        self.got.records.retain(|(sequence, _)| *sequence <= last);
        self.got.through = last;
    }
}

/// Whether a watch ended because the server did.
fn is_a_stop(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled)
}
