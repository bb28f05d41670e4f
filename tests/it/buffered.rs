//! `audit.mode = "buffered-may-lose-decisions"`: receipts say so, and a run that didn't stop in good
//! order ends its log. The next run begins a new one, which names the old one's last record.

use std::collections::BTreeMap;

use aap::{
    api::pb::{self, audit_record::Event, gap_event::Cause, watch_audit_records_request::Start},
    audit::{
        record::leaf_hash,
        recovery::{self, OnLoss},
        segment::{Content, Cursor},
        volume::Untouched,
    },
    store::data_dir::DataDir,
};
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::support::{
    Client, Refusal,
    clients::connect,
    home::{Home, Server},
    watching::{Watch, record},
    world::{self, ask, ask_all},
};

const MODE: &str = "mode = \"buffered-may-lose-decisions\"";
const ASKING: usize = 6;

struct Callers {
    admin: Client,
    enforcer: Client,
    auditor: Client,
}

impl Callers {
    fn of(home: &Home, server: &Server) -> Self {
        let channel = connect(server.address);
        let client =
            |token: &aap::identity::token::NewToken| Client::new(channel.clone(), token.reveal());
        let (admin, enforcer) = (client(&home.admin), client(&home.enforcer));
        Self { admin, enforcer, auditor: client(&home.auditor) }
    }
}

/// Asks until the server is gone, which is killed after so many answers.
async fn ask_until_killed(enforcer: &Client, server: Server, answers: usize) -> Vec<pb::Receipt> {
    let (sender, mut receipts) = tokio::sync::mpsc::unbounded_channel();
    let mut asking = JoinSet::new();
    for number in 0..ASKING {
        let (enforcer, sender) = (enforcer.clone(), sender.clone());
        asking.spawn(async move {
            let mut authorization = enforcer.authorization();
            loop {
                if number == 0 {
                    let batch = ask_all(vec![world::allowed(); 7]);
                    let Ok(answer) = authorization.batch_check_access(batch).await else { return };
                    for result in answer.into_inner().results {
                        sender.send(result.receipt.unwrap()).unwrap();
                    }
                } else {
                    let Ok(answer) = authorization.check_access(ask(world::allowed())).await else {
                        return;
                    };
                    sender.send(answer.into_inner().receipt.unwrap()).unwrap();
                }
            }
        });
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some(receipt) = receipts.recv().await {
        all.push(receipt);
        if all.len() == answers {
            server.kill();
        }
    }
    server.wait_killed();
    asking.join_all().await;
    all
}

/// The leaf hashes of a log that has ended, from its files.
fn read(home: &Home, log_id: Uuid, first_log: Uuid) -> Vec<[u8; 32]> {
    let mut folder = home.data().join("audit");
    if log_id != first_log {
        folder.push(log_id.to_string());
    }
    let recovered =
        recovery::recover_ended(&Untouched::new(folder), log_id, OnLoss::Refuse).unwrap();
    assert!(recovered.open.is_none() && recovered.unsealed.is_empty());
    let mut entries = Vec::new();
    for segment in recovered.sealed {
        let mut cursor = Cursor::new(segment.clone(), segment.first_sequence());
        while cursor.next() <= segment.last() {
            cursor.read(1 << 20, &mut entries).unwrap();
        }
    }
    let hash = |content: &Content| match content {
        Content::Record(bytes) => leaf_hash(bytes),
        Content::Damaged { .. } => panic!("{content:?}"),
    };
    entries.iter().map(|entry| hash(&entry.content)).collect()
}

/// What the first two records of a new log say: which log it follows, and how this run began.
async fn beginning(auditor: &Client) -> (String, pb::PreviousLog) {
    let mut watch = Watch::from(auditor, 1).await;
    let (first, second) = (record(&watch.next().await), record(&watch.next().await));
    let Some(Event::Gap(pb::GapEvent { cause: Some(Cause::PreviousLog(previous)) })) = first.event
    else {
        panic!("{first:?}")
    };
    let Some(Event::ServerStart(start)) = second.event else { panic!("{second:?}") };
    assert_eq!((start.previous_stop_clean, start.buffered), (false, true));
    (watch.log_id.clone(), previous)
}

/// Who goes on where it was in the old log is told that there is another one.
async fn refuse_old_log(auditor: &Client, old: &str, new: &str) {
    let start = Some(Start::FromSequence(1));
    let (log_id, filter) = (old.to_owned(), None);
    let watch = pb::WatchAuditRecordsRequest { start, form: 0, filter, log_id: log_id.clone() };
    let get = pb::GetAuditRecordRequest { sequence: 1, form: 0, log_id: log_id.clone() };
    let list = pb::ListAuditRecordsRequest { log_id, ..Default::default() };
    let mut audit = auditor.audit();
    for status in [
        audit.watch_audit_records(watch.clone()).await.map(drop).unwrap_err(),
        audit.get_audit_record(get).await.map(drop).unwrap_err(),
        audit.list_audit_records(list).await.map(drop).unwrap_err(),
    ] {
        let refusal = Refusal::of(&status);
        refusal.is(Code::FailedPrecondition, "OTHER_AUDIT_LOG");
        refusal.has("log_id", old).has("current_log_id", new);
    }
    let watch = pb::WatchAuditRecordsRequest { log_id: new.to_owned(), ..watch };
    drop(audit.watch_audit_records(watch).await.unwrap());
}

#[tokio::test]
async fn a_killed_server_that_did_not_wait_for_the_disk_begins_a_new_log_that_names_the_old_ones_end()
 {
    let home = Home::with_audit(MODE);
    let mut server = home.start();
    let mut callers = Callers::of(&home, &server);
    world::enter_page_example(&callers.admin).await;
    let first_log = Watch::from_end(&callers.auditor).await.log_id;
    let mut log_id = first_log.clone();
    for answers in [1_500, 40, 1] {
        let receipts = ask_until_killed(&callers.enforcer, server, answers).await;
        server = home.start();
        callers = Callers::of(&home, &server);
        let (new_log, previous) = beginning(&callers.auditor).await;
        assert_ne!(new_log, log_id);
        assert_eq!(previous.log_id, log_id);
        let [old, first] = [&log_id, &first_log].map(|id| Uuid::parse_str(id).unwrap());
        let hashes = read(&home, old, first);
        assert_eq!(previous.last_sequence, hashes.len() as u64);
        assert_eq!(hashes.last().unwrap()[..], previous.last_leaf_hash);
        let mut by_durability = BTreeMap::<_, usize>::new();
        for receipt in &receipts {
            assert_eq!(receipt.log_id, log_id);
            // The operating system had all that the killed process had answered.
            let place = usize::try_from(receipt.sequence).unwrap() - 1;
            assert_eq!(hashes[place][..], receipt.leaf_hash, "record {}", receipt.sequence);
            *by_durability.entry(receipt.durable).or_default() += 1;
        }
        // A disk that is faster than the answers makes a few of them durable, but not so many.
        let is_told = by_durability.contains_key(&false) || answers < 1_000;
        assert!(is_told, "{by_durability:?}");
        refuse_old_log(&callers.auditor, &log_id, &new_log).await;
        log_id = new_log;
    }
    // A stop in good order ends no log.
    let last = world::allow(&callers.enforcer).await;
    assert_eq!(last.log_id, log_id);
    drop(callers);
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    let server = home.start();
    let callers = Callers::of(&home, &server);
    let mut watch = Watch::from(&callers.auditor, last.sequence).await;
    assert_eq!(watch.next().await.leaf_hash[..], last.leaf_hash);
    assert_eq!(watch.log_id, log_id);
    drop((watch, callers));
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    assert_eq!(DataDir::inspect(&home.data()).unwrap().previous_logs().len(), 3);
}
