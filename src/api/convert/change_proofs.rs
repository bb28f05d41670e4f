//! Checkpoints of the journal and proofs over it, as they are asked for and sent.

use crate::{
    api::{pb, status::ApiError},
    audit::{journal::JournalTree, tree::checkpoints::Checkpoint},
    service::proofs::{ProvedGrowth, ProvedRecord, Wanted},
};

use super::{Violations, proofs, timestamp};

/// Parses which checkpoint is wanted.
pub fn parse_checkpoint(message: pb::GetChangeCheckpointRequest) -> Result<Wanted, ApiError> {
    let pb::GetChangeCheckpointRequest { size, at_least_size } = message;
    // The other log's has the same fields, of the same meaning.
    proofs::parse_checkpoint(pb::GetCheckpointRequest { size, at_least_size })
}

/// Parses the revision, and the size of the checkpoint.
pub fn parse_inclusion(
    message: pb::GetChangeInclusionProofRequest,
) -> Result<(u64, u64), ApiError> {
    let pb::GetChangeInclusionProofRequest { revision, checkpoint_size } = message;
    let mut violations = Violations::default();
    if revision == 0 {
        violations.add("revision", "must be at least 1");
    }
    if checkpoint_size != 0 && checkpoint_size < revision {
        violations.add(
            "checkpoint_size",
            "must be at least `revision`, or the checkpoint doesn't cover it",
        );
    }
    violations.finish(Some((revision, checkpoint_size)))
}

/// Parses the sizes of both checkpoints.
pub fn parse_consistency(
    message: pb::GetChangeConsistencyProofRequest,
) -> Result<(u64, u64), ApiError> {
    let pb::GetChangeConsistencyProofRequest { from_size, to_size } = message;
    proofs::parse_consistency(pb::GetConsistencyProofRequest { from_size, to_size })
}

/// A checkpoint as it is sent.
pub fn send_checkpoint(tree: &JournalTree, checkpoint: &Checkpoint) -> pb::ChangeCheckpoint {
    let Checkpoint { size, root, time, signature: _ } = checkpoint;
    let evidence = tree.evidence();
    pb::ChangeCheckpoint {
        note: evidence.note(checkpoint),
        size: *size,
        root_hash: root.to_vec(),
        sign_time: Some(timestamp(*time)),
        verifier_key: evidence.verifier().to_string(),
    }
}

/// A proof of inclusion as it is sent.
pub fn send_inclusion(tree: &JournalTree, proof: ProvedRecord) -> pb::ChangeInclusionProof {
    let ProvedRecord { sequence, inclusion, checkpoint } = proof;
    pb::ChangeInclusionProof {
        revision: sequence,
        leaf_index: sequence - 1,
        leaf_hash: inclusion.leaf_hash.to_vec(),
        hashes: proofs::send_path(&inclusion.path),
        checkpoint: Some(send_checkpoint(tree, &checkpoint)),
    }
}

/// A proof of consistency as it is sent.
pub fn send_consistency(tree: &JournalTree, proof: ProvedGrowth) -> pb::ChangeConsistencyProof {
    let ProvedGrowth { from, to, path } = proof;
    pb::ChangeConsistencyProof {
        from: Some(send_checkpoint(tree, &from)),
        to: Some(send_checkpoint(tree, &to)),
        hashes: proofs::send_path(&path),
    }
}
