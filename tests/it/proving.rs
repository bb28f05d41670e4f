//! Checkpoints and proofs as an auditor gets them: they verify by the public key and RFC 9162 alone,
//! across restarts, and for nobody who may not see the record.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use aap::{
    api::{audit_entry::Content, pb},
    audit::{
        log::Options,
        retention::Retention,
        tree::{
            hash,
            note::{Statement, VerifierKey},
        },
    },
};
use tonic::Code;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, Client, ENFORCER, OTHER_AUDITOR, Setup, TestServer,
    home::variable,
    refused,
    watching::{self, stored},
    world::{self, ask_all},
};

/// Has so many checks answered; returns their receipts.
async fn check_many(enforcer: &Client, count: usize) -> Vec<pb::Receipt> {
    let checks = ask_all(vec![world::allowed(); count]);
    let answers = enforcer.authorization().batch_check_access(checks).await.unwrap().into_inner();
    answers.results.into_iter().map(|result| result.receipt.unwrap()).collect()
}

async fn checkpoint_covering(auditor: &Client, size: u64) -> pb::Checkpoint {
    let request = pb::GetCheckpointRequest { size: 0, at_least_size: size };
    auditor.audit().get_checkpoint(request).await.unwrap().into_inner()
}

async fn inclusion(auditor: &Client, sequence: u64, checkpoint_size: u64) -> pb::InclusionProof {
    let request = pb::GetInclusionProofRequest { sequence, checkpoint_size };
    auditor.audit().get_inclusion_proof(request).await.unwrap().into_inner()
}

async fn consistency(auditor: &Client, from_size: u64, to_size: u64) -> pb::ConsistencyProof {
    let request = pb::GetConsistencyProofRequest { from_size, to_size };
    auditor.audit().get_consistency_proof(request).await.unwrap().into_inner()
}

fn hashes(sent: &[Vec<u8>]) -> Vec<hash::Hash> {
    sent.iter().map(|one| one.as_slice().try_into().unwrap()).collect()
}

/// What a checkpoint states, by its note alone.
#[track_caller]
fn opened(checkpoint: &pb::Checkpoint, key: &str) -> Statement {
    let statement = VerifierKey::parse(key).unwrap().open(&checkpoint.note).unwrap();
    assert_eq!((statement.size, &statement.root[..]), (checkpoint.size, &*checkpoint.root_hash));
    assert_eq!(statement.origin, format!("aap.test/audit/{}", checkpoint.log_id));
    statement
}

#[track_caller]
fn assert_included(proof: &pb::InclusionProof, leaf_hash: &[u8], key: &str) {
    let statement = opened(proof.checkpoint.as_ref().unwrap(), key);
    assert_eq!((&*proof.leaf_hash, proof.leaf_index), (leaf_hash, proof.sequence - 1));
    let leaf_hash = leaf_hash.try_into().unwrap();
    let (index, path) = (proof.leaf_index, hashes(&proof.hashes));
    let root = hash::root_by_inclusion(index, statement.size, &leaf_hash, &path);
    assert_eq!(root, Some(statement.root));
}

#[track_caller]
fn assert_consistent(proof: &pb::ConsistencyProof, from: &pb::Checkpoint, key: &str) {
    assert_eq!(proof.from.as_ref(), Some(from));
    let (from, to) = (opened(from, key), opened(proof.to.as_ref().unwrap(), key));
    let path = hashes(&proof.hashes);
    assert!(hash::is_consistent((from.size, &from.root), (to.size, &to.root), &path));
}

#[tokio::test]
async fn every_receipt_is_proved_in_a_checkpoint_and_every_checkpoint_continues_the_ones_before() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let auditor = server.client(AUDITOR);
    let first = checkpoint_covering(&auditor, 1).await;
    assert_eq!(first.size, 1, "one is signed over the start");
    let key = first.verifier_key.clone();
    let mut receipts = check_many(&server.client(ENFORCER), 700).await;
    let second = checkpoint_covering(&auditor, receipts.last().unwrap().sequence).await;
    let server = server.restart().await;
    receipts.extend(check_many(&server.client(ENFORCER), 300).await);
    let auditor = server.client(AUDITOR);
    let last = checkpoint_covering(&auditor, receipts.last().unwrap().sequence).await;
    assert_eq!(last.verifier_key, key);

    for receipt in receipts.iter().step_by(13).chain(receipts.last()) {
        let proof = inclusion(&auditor, receipt.sequence, last.size).await;
        assert_included(&proof, &receipt.leaf_hash, &key);
        if receipt.sequence <= second.size {
            let proof = inclusion(&auditor, receipt.sequence, second.size).await;
            assert_included(&proof, &receipt.leaf_hash, &key);
            assert_eq!(proof.checkpoint.as_ref(), Some(&second));
        }
    }
    for from in [&first, &second, &last] {
        assert_consistent(&consistency(&auditor, from.size, last.size).await, from, &key);
        // Those are signed over records that came meanwhile, if any.
        assert_consistent(&consistency(&auditor, from.size, 0).await, from, &key);
    }
    // A record's hash is that of its bytes as stored.
    let entry = stored(&auditor, receipts[0].sequence).await.unwrap();
    let Some(Content::SerializedRecord(bytes)) = &entry.content else { panic!("{entry:?}") };
    assert_eq!(&hash::leaf(bytes)[..], &*receipts[0].leaf_hash);
    server.stop().await;
}

#[tokio::test]
async fn a_record_is_proved_to_who_may_see_it_and_a_checkpoint_to_every_auditor() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let receipt = world::allow(&server.client(ENFORCER)).await;
    let last = checkpoint_covering(&server.client(ACME_AUDITOR), receipt.sequence).await;
    let proof = inclusion(&server.client(ACME_AUDITOR), receipt.sequence, 0).await;
    assert_included(&proof, &receipt.leaf_hash, &last.verifier_key);
    let other = server.client(OTHER_AUDITOR);
    assert_eq!(checkpoint_covering(&other, receipt.sequence).await.size, last.size);
    consistency(&other, 1, last.size).await;
    // The start has no account, and is for auditors of all.
    for (caller, sequence) in [(&other, receipt.sequence), (&other, 1), (&other, 1_000)] {
        for checkpoint_size in [0, 1_000_000] {
            let request = pb::GetInclusionProofRequest { sequence, checkpoint_size };
            let refusal = refused(caller.audit().get_inclusion_proof(request).await);
            refusal.is(Code::NotFound, "RESOURCE_NOT_FOUND");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_record_is_still_proved_by_its_hash() {
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let receipts = check_many(&server.client(ENFORCER), 400).await;
    let auditor = server.client(AUDITOR);
    let last = checkpoint_covering(&auditor, receipts.last().unwrap().sequence).await;
    let damaged = &receipts[100];
    let entry = stored(&auditor, damaged.sequence).await.unwrap();
    let setup = server.stop().await;
    let segment = setup.data_dir().join("audit/00000000000000000001.seg");
    let (mut content, record) = (fs::read(&segment).unwrap(), watching::bytes(&entry));
    let place = content.windows(record.len()).position(|window| window == record).unwrap();
    content[place + record.len() / 2] ^= 1;
    fs::write(&segment, content).unwrap();
    let server = setup.start().await;
    let auditor = server.client(AUDITOR);
    let entry = stored(&auditor, damaged.sequence).await.unwrap();
    assert!(matches!(entry.content, Some(Content::Damaged(_))), "{entry:?}");
    for receipt in [&receipts[99], damaged, &receipts[101]] {
        let proof = inclusion(&auditor, receipt.sequence, last.size).await;
        assert_included(&proof, &receipt.leaf_hash, &last.verifier_key);
    }
    server.stop().await;
}

/// How many bytes of the disk some files take up, by what their names begin with.
fn allocated(directory: &Path, names: &[&str]) -> u64 {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let is_one = |name: &str| names.iter().any(|begin| name.starts_with(begin));
    files
        .filter(|file| is_one(&file.file_name().to_string_lossy()))
        .map(|file| file.metadata().unwrap().blocks() * 512)
        .sum()
}

#[tokio::test]
async fn what_is_kept_is_proved_in_checkpoints_of_before_the_rest_was_removed() {
    // `AAP_PROVING_TIMES=100` has a million records and more, and takes a minute or two.
    let times = variable("AAP_PROVING_TIMES").unwrap_or(1);
    let server = TestServer::start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let (auditor, enforcer) = (server.client(AUDITOR), server.client(ENFORCER));
    let (mut receipts, mut checkpoints) = (Vec::new(), Vec::new());
    for batches in [1, 3, 4, 3] {
        for _ in 0..batches * times {
            receipts.extend(check_many(&enforcer, 977).await);
        }
        let covered = receipts.last().unwrap().sequence;
        checkpoints.push(checkpoint_covering(&auditor, covered).await);
    }
    let setup = server.stop().await;
    let all_bytes = allocated(&setup.data_dir().join("audit"), &["0"]);
    let max_bytes = Some((all_bytes / 10).max(1 << 20));
    let retention = Retention { max_bytes, ..Retention::default() };
    let options = Options { retention, ..setup.options };
    let server = Setup { options, ..setup }.start().await;
    let auditor = server.client(AUDITOR);
    let gone = |auditor: Client| async move {
        while stored(&auditor, 1).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let refusal = refused(
            auditor
                .audit()
                .get_inclusion_proof(pb::GetInclusionProofRequest {
                    sequence: 1,
                    checkpoint_size: 0,
                })
                .await,
        );
        refusal.is(Code::OutOfRange, "SEQUENCE_OUT_OF_RANGE");
        refusal.metadata["first"].parse::<u64>().unwrap()
    };
    let first = gone(auditor).await;
    let last = checkpoints.last().unwrap();
    assert!(first > last.size / 2, "{first} of {}", last.size);
    // The last files go when the first record can't be read any more.
    let server = server.restart().await;
    let auditor = server.client(AUDITOR);
    let key = checkpoints[0].verifier_key.clone();
    for from in &checkpoints {
        assert_consistent(&consistency(&auditor, from.size, 0).await, from, &key);
    }
    for (from, to) in checkpoints.iter().zip(&checkpoints[1..]) {
        let proof = consistency(&auditor, from.size, to.size).await;
        assert_consistent(&proof, from, &key);
    }
    let kept = receipts.iter().filter(|receipt| receipt.sequence >= first);
    for receipt in kept.step_by(37) {
        let proof = inclusion(&auditor, receipt.sequence, last.size).await;
        assert_included(&proof, &receipt.leaf_hash, &key);
    }
    let setup = server.stop().await;
    assert_little_is_left(&setup, &checkpoints, first - 1);
}

/// Little is left of what was removed: a byte a record, and 8 KiB for a checkpoint within a group.
fn assert_little_is_left(setup: &Setup, checkpoints: &[pb::Checkpoint], removed: u64) {
    let (audit, last) = (setup.data_dir().join("audit"), checkpoints.last().unwrap());
    let unaligned = checkpoints.iter().filter(|one| one.size % 256 > 0).count() as u64;
    let beside =
        allocated(&audit, &["trimmed"]) + allocated(&audit.join("tree"), &["level-", "kept"]);
    println!(
        "{removed} of {} records are gone: {beside} bytes and {unaligned} unaligned checkpoints \
         are left of them",
        last.size
    );
    assert!(beside <= removed + unaligned * 8_192, "{beside} bytes for {removed} records");
    // Leaves of the last group that is touched are kept with those of records.
    let leaves = allocated(&audit.join("tree"), &["leaves-"]);
    let kept = last.size + 10 - removed + 256;
    assert!(leaves <= kept * 36 + 2 * 4_096, "{leaves} bytes for {kept} leaves");
}
