//! Checkpoints and proofs, as they are asked for and sent.

use crate::{
    api::{pb, status::ApiError},
    audit::{log::AuditLog, tree::checkpoints::Checkpoint},
    service::proofs::{ProvedGrowth, ProvedRecord, Wanted},
};

use super::{Violations, timestamp};

/// Parses which checkpoint is wanted.
pub fn parse_checkpoint(message: pb::GetCheckpointRequest) -> Result<Wanted, ApiError> {
    let pb::GetCheckpointRequest { size, at_least_size } = message;
    let mut violations = Violations::default();
    let wanted = match (size, at_least_size) {
        (0, 0) => Some(Wanted::Last),
        (size, 0) => Some(Wanted::OfSize(size)),
        (0, size) => Some(Wanted::Covering(size)),
        (_, _) => {
            violations.add("at_least_size", "must not be given together with `size`");
            None
        }
    };
    violations.finish(wanted)
}

/// Parses the record, and the size of the checkpoint.
pub fn parse_inclusion(message: pb::GetInclusionProofRequest) -> Result<(u64, u64), ApiError> {
    let pb::GetInclusionProofRequest { sequence, checkpoint_size } = message;
    let mut violations = Violations::default();
    if sequence == 0 {
        violations.add("sequence", "must be at least 1");
    }
    if checkpoint_size != 0 && checkpoint_size < sequence {
        violations.add(
            "checkpoint_size",
            "must be at least `sequence`, or the checkpoint doesn't cover it",
        );
    }
    violations.finish(Some((sequence, checkpoint_size)))
}

/// Parses the sizes of both checkpoints.
pub fn parse_consistency(message: pb::GetConsistencyProofRequest) -> Result<(u64, u64), ApiError> {
    let pb::GetConsistencyProofRequest { from_size, to_size } = message;
    let mut violations = Violations::default();
    if from_size == 0 {
        violations.add("from_size", "must be at least 1");
    }
    if to_size != 0 && to_size < from_size {
        violations.add("to_size", "must be at least `from_size`");
    }
    violations.finish(Some((from_size, to_size)))
}

/// A checkpoint as it is sent.
pub fn send_checkpoint(log: &AuditLog, checkpoint: &Checkpoint) -> pb::Checkpoint {
    let Checkpoint { size, root, time, signature: _ } = checkpoint;
    let evidence = log.evidence();
    pb::Checkpoint {
        note: evidence.map(|evidence| evidence.note(checkpoint)).unwrap_or_default(),
        size: *size,
        root_hash: root.to_vec(),
        sign_time: Some(timestamp(*time)),
        log_id: log.id().to_owned(),
        verifier_key: evidence.map(|evidence| evidence.verifier().to_string()).unwrap_or_default(),
    }
}

/// A proof of inclusion as it is sent.
pub fn send_inclusion(log: &AuditLog, proof: ProvedRecord) -> pb::InclusionProof {
    let ProvedRecord { sequence, inclusion, checkpoint } = proof;
    pb::InclusionProof {
        sequence,
        leaf_index: sequence - 1,
        leaf_hash: inclusion.leaf_hash.to_vec(),
        hashes: send_path(&inclusion.path),
        checkpoint: Some(send_checkpoint(log, &checkpoint)),
    }
}

/// A proof of consistency as it is sent.
pub fn send_consistency(log: &AuditLog, proof: ProvedGrowth) -> pb::ConsistencyProof {
    let ProvedGrowth { from, to, path } = proof;
    pb::ConsistencyProof {
        from: Some(send_checkpoint(log, &from)),
        to: Some(send_checkpoint(log, &to)),
        hashes: send_path(&path),
    }
}

/// The hashes of a proof as they are sent.
pub(super) fn send_path(path: &[[u8; 32]]) -> Vec<Vec<u8>> {
    path.iter().map(|hash| hash.to_vec()).collect()
}
