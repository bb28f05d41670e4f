//! The log of a running server against checkpoints that were kept elsewhere. What the server says is
//! believed as far as it is signed and proved.

use anyhow::Context;
use tonic::Code;

use crate::{
    api::pb::{self, audit_service_client::AuditServiceClient},
    audit::tree::{
        hash::{self, Hash},
        note::{Statement, VerifierKey},
    },
    cli::{
        evidence::{RECORDS, Verdict, judge},
        failure::Failure,
        remote::{Connection, Server, answered, block_on},
        say,
    },
};

/// The most hashes that a proof has: two for each level of a tree.
const MAX_PATH: usize = 128;

/// The last checkpoint of a server, as it sent it.
pub(super) fn last_checkpoint(server: &Server) -> anyhow::Result<String> {
    block_on(async {
        let mut client = AuditServiceClient::new(server.target_anywhere()?.connect().await?);
        last(&mut client).await
    })
}

async fn last(client: &mut AuditServiceClient<Connection>) -> anyhow::Result<String> {
    let wanted = pb::GetCheckpointRequest::default();
    Ok(answered(client.get_checkpoint(wanted).await)?.note)
}

/// Verifies that a server's log continues all checkpoints that were kept. The note is the server's
/// last checkpoint.
pub(super) fn verify(
    server: &Server,
    key: &VerifierKey,
    kept: &[Statement],
) -> anyhow::Result<(Verdict, String)> {
    block_on(async {
        let mut client = AuditServiceClient::new(server.target_anywhere()?.connect().await?);
        let note = last(&mut client).await?;
        let current = match key.open(&note) {
            Ok(statement) => statement,
            Err(error) => return Ok((judge(error, "the server's last checkpoint")?, note)),
        };
        for old in kept {
            if let Some(altered) = compare(&mut client, old, &current).await? {
                return Ok((Verdict::Altered(altered), note));
            }
            say(format_args!("the log continues the checkpoint over {} records", old.size));
        }
        say(format_args!("its last checkpoint covers {} records", current.size));
        Ok((Verdict::Verified, note))
    })
}

/// What is wrong with the log if it doesn't continue a checkpoint.
async fn compare(
    client: &mut AuditServiceClient<Connection>,
    old: &Statement,
    current: &Statement,
) -> anyhow::Result<Option<String>> {
    if old.size > current.size {
        return Ok(Some(RECORDS.cut_back(old, current)));
    }
    if old.size == current.size || old.size == 0 {
        let is_same = old.root == if old.size == 0 { hash::empty_root() } else { current.root };
        return Ok((!is_same).then(|| RECORDS.contradicted(old)));
    }
    let wanted = pb::GetConsistencyProofRequest { from_size: old.size, to_size: current.size };
    let proof = match client.get_consistency_proof(wanted).await {
        Ok(answer) => answer.into_inner(),
        // What it signed once it must know.
        Err(status) if status.code() == Code::NotFound => {
            return Ok(Some(format!(
                "a checkpoint over {} records was signed, of which the server knows nothing",
                old.size
            )));
        }
        Err(status) => return Err(Failure::from(status).into()),
    };
    let path = parse(proof.hashes).context("the server's proof is none")?;
    let is_continued =
        hash::is_consistent((old.size, &old.root), (current.size, &current.root), &path);
    Ok((!is_continued).then(|| RECORDS.contradicted(old)))
}

fn parse(hashes: Vec<Vec<u8>>) -> anyhow::Result<Vec<Hash>> {
    anyhow::ensure!(hashes.len() <= MAX_PATH, "it has {} hashes", hashes.len());
    let parse = |hash: Vec<u8>| Hash::try_from(hash).ok().context("a hash has 32 bytes");
    hashes.into_iter().map(parse).collect()
}
