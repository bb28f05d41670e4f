//! What rots unread is found, by a server that runs and by one that verifies everything first; and what
//! is damaged is served only where it can be told from what is whole.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use aap::{
    api::{
        audit_entry::Content,
        pb::{self, audit_record::Event, gap_event::Cause},
    },
    audit::{log::Options, recovery::OnLoss},
    server::ServeError,
    store::start::Verification,
};
use tonic::Code;

use crate::{
    support::{
        ADMIN, AUDITOR, ENFORCER, Setup, TestServer,
        watching::{self, Watch},
        world::{self, ask_all},
    },
    telemetry::{ask, metrics},
};

/// A log of some sealed segments, and no server.
async fn stopped() -> Setup {
    let server = Setup { tells_metrics: true, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    for _ in 0..8 {
        let batch = ask_all(vec![world::allowed(); 1_000]);
        server.client(ENFORCER).authorization().batch_check_access(batch).await.unwrap();
    }
    server.stop().await
}

/// The segments' files, oldest first.
fn segments(setup: &Setup) -> Vec<PathBuf> {
    let read = fs::read_dir(setup.data_dir().join("audit")).unwrap();
    let paths = read.map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|name| name == "seg")).collect();
    segments.sort();
    assert!(segments.len() >= 4, "{segments:?}");
    segments
}

fn first_of(segment: &Path) -> u64 {
    segment.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Takes a segment's footer away, as if nothing had been written behind its records yet.
fn unseal(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let trailer = bytes.last_chunk::<20>().unwrap();
    let footer = u64::from_le_bytes(*trailer.first_chunk().unwrap());
    bytes[usize::try_from(footer).unwrap()..].fill(0);
    fs::write(path, bytes).unwrap();
}

/// Why it isn't served.
async fn refused(setup: &Setup) -> ServeError {
    let setup = setup.clone();
    tokio::task::spawn_blocking(move || setup.fail_to_start()).await.unwrap()
}

fn served_over_damage(setup: Setup) -> Setup {
    let options = Options { on_loss: OnLoss::StandIn, ..setup.options };
    Setup { options, ..setup }
}

/// Waits until everything was read again; tells what the metrics say.
async fn verified(server: &TestServer) -> BTreeMap<String, f64> {
    loop {
        let told = metrics(server).await;
        if told["aap_scrub_finished_seconds"] > 0.0 {
            return told;
        }
        tokio::task::yield_now().await;
    }
}

/// The start's record of this run.
async fn start_of(server: &TestServer) -> pb::ServerStartEvent {
    let filter = pb::AuditRecordFilter {
        kinds: vec![pb::AuditRecordKind::ServerStart as i32],
        ..Default::default()
    };
    let request =
        pb::ListAuditRecordsRequest { filter: Some(filter), page_size: 1, ..Default::default() };
    let mut audit = server.client(AUDITOR).audit();
    let page = audit.list_audit_records(request).await.unwrap().into_inner();
    let record = watching::record(&page.entries[0]);
    let Some(Event::ServerStart(start)) = record.event else { panic!("{record:?}") };
    start
}

#[tokio::test]
async fn a_running_server_finds_what_rots_unread_and_says_so() {
    let setup = stopped().await;
    let segments = segments(&setup);
    for segment in &segments[1..3] {
        flip(segment, 70_000);
    }
    // As if the last pass had been long ago.
    fs::remove_file(setup.data_dir().join("scrub")).unwrap();
    let server = setup.start().await;
    let told = verified(&server).await;
    assert_eq!(told.get("aap_scrub_damaged{aap_log=\"audit\"}"), Some(&2.0));
    assert_eq!(told.get("aap_scrub_damaged{aap_log=\"journal\"}"), Some(&0.0));
    assert!(told["aap_scrub_read_bytes_total"] > 2e6 && told["aap_scrub_record"] > 8e3);
    assert_eq!(told.get("aap_audit_served_damaged"), Some(&0.0));
    let (status, text) = ask(server.metrics_address(), "GET", "/readyz").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("damage: 2 places are known, as the log says\n"), "{text}");
    // It was in order before, and after a restart it is not due, but known damage is looked for.
    let server = server.restart().await;
    let finished = metrics(&server).await["aap_scrub_finished_seconds"];
    assert!(finished > 0.0);
    while metrics(&server).await["aap_scrub_damaged{aap_log=\"audit\"}"] < 2.0 {
        tokio::task::yield_now().await;
    }
    assert!(!start_of(&server).await.served_damaged);
    server.stop().await;
}

#[tokio::test]
async fn who_has_everything_verified_first_is_not_served_over_damage_unless_it_is_said() {
    let setup = Setup { verification: Verification::Full, ..stopped().await };
    let segments = segments(&setup);
    let server = setup.start().await;
    assert!(metrics(&server).await["aap_scrub_finished_seconds"] > 0.0, "it is done at the start");
    let setup = server.stop().await;
    flip(&segments[1], 70_000);
    flip(&setup.data_dir().join("audit/tree/leaves-00000000000000000000"), 36 * 5);
    let error = refused(&setup).await;
    assert!(matches!(error, ServeError::Damaged { places: 2 }), "{error:?}");
    let server = served_over_damage(setup).start().await;
    let told = metrics(&server).await;
    assert_eq!(told.get("aap_scrub_damaged{aap_log=\"audit\"}"), Some(&2.0));
    assert_eq!(told.get("aap_audit_served_damaged"), Some(&1.0));
    let (_, text) = ask(server.metrics_address(), "GET", "/readyz").await;
    let expected = "damage: 2 places are known, as the log says, and served all the same\n";
    assert!(text.ends_with(expected), "{text}");
    assert!(start_of(&server).await.served_damaged);
    server.stop().await;
}

#[tokio::test]
async fn records_of_a_file_that_is_gone_are_named_where_the_log_is_served_all_the_same() {
    let setup = stopped().await;
    let segments = segments(&setup);
    let (from, before) = (first_of(&segments[1]), first_of(&segments[2]));
    fs::remove_file(&segments[1]).unwrap();
    let error = refused(&setup).await;
    assert!(matches!(error, ServeError::Audit(_)), "{error:?}");
    let server = served_over_damage(setup).start().await;
    assert!(start_of(&server).await.served_damaged);
    let auditor = server.client(AUDITOR);
    for sequence in [from - 1, before] {
        assert!(watching::stored(&auditor, sequence).await.is_ok());
    }
    for sequence in [from, before - 1] {
        let request = pb::GetAuditRecordRequest { sequence, ..Default::default() };
        let entry = auditor.audit().get_audit_record(request).await.unwrap().into_inner();
        let Some(Content::Damaged(damaged)) = entry.content else { panic!("{entry:?}") };
        let file = format!("audit/{}", segments[1].file_name().unwrap().to_str().unwrap());
        assert_eq!((damaged.file, damaged.offset), (file, 0));
        // Its hash is known, and proves that it was there.
        let request = pb::GetInclusionProofRequest { sequence, ..Default::default() };
        auditor.audit().get_inclusion_proof(request).await.unwrap();
    }
    // Neither its hash: then there is no proof.
    let setup = server.stop().await;
    let place = usize::try_from(from - 1).unwrap();
    flip(&setup.data_dir().join("audit/tree/leaves-00000000000000000000"), 36 * place);
    let server = setup.start().await;
    let request = pb::GetInclusionProofRequest { sequence: from, ..Default::default() };
    let mut audit = server.client(AUDITOR).audit();
    let refused = audit.get_inclusion_proof(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss, "{refused:?}");
    server.stop().await;
}

#[tokio::test]
async fn damage_of_a_later_log_is_named_in_the_folder_of_that_log() {
    let setup = stopped().await;
    fs::remove_file(segments(&setup).last().unwrap()).unwrap();
    let server = served_over_damage(setup).start().await;
    let batch = ask_all(vec![world::allowed(); 1_000]);
    server.client(ENFORCER).authorization().batch_check_access(batch).await.unwrap();
    let setup = server.stop().await;
    let is_folder = |path: &PathBuf| path.is_dir() && !path.ends_with("tree");
    let mut found = fs::read_dir(setup.data_dir().join("audit")).unwrap();
    let folder = found.find_map(|entry| Some(entry.unwrap().path()).filter(is_folder)).unwrap();
    // Its first record, and the hash of that.
    flip(&folder.join("00000000000000000001.seg"), 128 + 16 + 20);
    flip(&folder.join("tree/leaves-00000000000000000000"), 3);
    let server = setup.start().await;
    let name = format!("audit/{}", folder.file_name().unwrap().to_str().unwrap());
    let mut audit = server.client(AUDITOR).audit();
    let request = pb::GetAuditRecordRequest { sequence: 1, ..Default::default() };
    let entry = audit.get_audit_record(request).await.unwrap().into_inner();
    let Some(Content::Damaged(damaged)) = entry.content else { panic!("{entry:?}") };
    assert_eq!(damaged.file, format!("{name}/00000000000000000001.seg"));
    let request = pb::GetInclusionProofRequest { sequence: 1, ..Default::default() };
    let refused = audit.get_inclusion_proof(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss, "{refused:?}");
    let told = format!("`{name}/tree/leaves-00000000000000000000` at byte 0");
    assert!(refused.message().contains(&told), "{refused:?}");
    server.stop().await;
}

/// What a new log says it follows: the last record of the old one.
async fn follows(server: &TestServer) -> pb::PreviousLog {
    let mut watch = Watch::from(&server.client(AUDITOR), 1).await;
    let Some(Event::Gap(pb::GapEvent { cause: Some(Cause::PreviousLog(previous)) })) =
        watch.next_record().await.event
    else {
        panic!("no gap")
    };
    let Some(Event::ServerStart(start)) = watch.next_record().await.event else {
        panic!("no start")
    };
    assert!(start.served_damaged && !start.previous_stop_clean);
    previous
}

#[tokio::test]
async fn a_log_that_can_not_go_on_is_left_as_it_is_and_a_new_one_follows_if_it_is_said() {
    for is_cut_back in [true, false] {
        let setup = stopped().await;
        let segments = segments(&setup);
        let last = if is_cut_back {
            // As if it had ended with its second segment, whose footer isn't there yet.
            for segment in &segments[2..] {
                fs::remove_file(segment).unwrap();
            }
            unseal(&segments[1]);
            first_of(&segments[2]) - 1
        } else {
            fs::remove_file(segments.last().unwrap()).unwrap();
            first_of(segments.last().unwrap()) - 1
        };
        let error = refused(&setup).await;
        assert!(matches!(error, ServeError::Audit(_)), "{error:?}");
        let before: Vec<_> = segments.iter().map(|path| fs::read(path).ok()).collect();
        let server = served_over_damage(setup).start().await;
        let previous = follows(&server).await;
        assert_eq!((previous.last_sequence, previous.last_leaf_hash.len()), (last, 32));
        world::allow(&server.client(ENFORCER)).await;
        let request = pb::GetCheckpointRequest::default();
        let checkpoint = server.client(AUDITOR).audit().get_checkpoint(request).await.unwrap();
        assert_ne!(checkpoint.get_ref().log_id, previous.log_id);
        // From then on nothing has to be said: the log that is served is whole.
        let setup = server.stop().await;
        let options = Options { on_loss: OnLoss::Refuse, ..setup.options };
        let server = Setup { options, ..setup }.start().await;
        assert!(!start_of(&server).await.served_damaged);
        let _files = server.stop().await;
        for (path, before) in segments.iter().zip(before) {
            // A start may have marked an end where it found one.
            let written = |bytes: Vec<u8>| match bytes.iter().rposition(|&byte| byte != 0) {
                Some(last) => bytes[..=last].to_vec(),
                None => bytes,
            };
            let (before, after) = (before.map(written), fs::read(path).ok().map(written));
            let is_kept = match (&before, &after) {
                (Some(before), Some(after)) => after.starts_with(before),
                _ => before == after,
            };
            assert!(is_kept, "{}: the old log is as it was", path.display());
        }
    }
}
