//! What a backup says of itself: whose it is and how far it goes, and the digest of every file in it.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    audit::tree::note::{VerifierKey, is_name},
    store::data_dir::{Identity, audit_folder},
};

/// The format that this version writes. Others are refused by name.
pub const FORMAT: u32 = 1;
/// The first file of a backup: what it says of itself, as JSON.
pub const HEAD_FILE: &str = "backup.json";
/// The last file: the digests of all others, as `sha256sum` has them.
pub const SUMS_FILE: &str = "SHA256SUMS";
/// The cursors of the audit log.
pub const CURSORS_FILE: &str = "cursors";
/// What the files of the journal begin with; the number of the first event follows, in 20 digits.
pub const EVENTS_PREFIX: &str = "journal/";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format of the backup.
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was made.
    pub time: String,
    /// The server whose it is.
    pub node_id: Uuid,
    /// The name that checkpoints begin with.
    pub origin: String,
    /// What verifies its checkpoints, under that name; none if no server has ever run there.
    pub public_key: Option<String>,
    /// The journal.
    pub journal: JournalHead,
    /// How many cursors of the audit log it has.
    pub cursors: u64,
    /// The audit logs, oldest first; the last one is that which took records.
    pub logs: Vec<LogHead>,
}

/// How far a journal goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JournalHead {
    /// Its last event.
    pub revision: u64,
    /// Its last checkpoint, as a signed note.
    pub checkpoint: Option<String>,
}

/// How far an audit log goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// Which one.
    pub log_id: Uuid,
    /// The first record that is kept.
    pub first: u64,
    /// The last record; one less than the first if there is none.
    pub last: u64,
}

impl Head {
    /// Its bytes, with one line for each thing.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let format = value.get("format").ok_or("it has no `format`")?;
        if format.as_u64() != Some(u64::from(FORMAT)) {
            return Err(format!("it has format {format}; this version reads format {FORMAT}"));
        }
        let head: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        head.check()?;
        Ok(head)
    }

    /// Whether it says something that can be.
    fn check(&self) -> Result<(), String> {
        if self.logs.is_empty() {
            return Err("it names no audit log".to_owned());
        }
        let ids: BTreeSet<_> = self.logs.iter().map(|log| log.log_id).collect();
        if ids.len() < self.logs.len() {
            return Err("it names an audit log twice".to_owned());
        }
        if !is_name(&self.origin) {
            return Err(format!("`{}` can't be the name of a log", self.origin));
        }
        let key = self.public_key.as_deref().map(VerifierKey::parse);
        match key.transpose().map_err(|error| format!("its `public_key`: {error}"))? {
            Some(key) if key.name() != self.origin => {
                Err(format!("its key is named `{}`, not `{}`", key.name(), self.origin))
            }
            _ => Ok(()),
        }
    }

    /// What the data directory is called that it is of. `None` if it names no log.
    pub fn identity(&self) -> Option<Identity> {
        let log_id = self.logs.last()?.log_id;
        Some(Identity { node_id: self.node_id, log_id, origin: self.origin.clone() })
    }

    /// Its audit logs and their folders, oldest first.
    pub fn folders(&self) -> impl Iterator<Item = (&LogHead, String)> {
        let current = self.logs.last().map_or(Uuid::nil(), |log| log.log_id);
        let previous = self.previous_logs();
        self.logs.iter().map(move |log| (log, audit_folder(&previous, current, log.log_id)))
    }

    /// The audit logs that had ended, oldest first.
    pub fn previous_logs(&self) -> Vec<Uuid> {
        let ended = self.logs.len().saturating_sub(1);
        self.logs.iter().take(ended).map(|log| log.log_id).collect()
    }
}

/// The name of a file with events.
pub fn events_name(first: u64) -> String {
    format!("{EVENTS_PREFIX}{first:020}")
}

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Adds a file's line to the digests.
pub fn add_sum(sums: &mut String, digest: &Digest, name: &str) {
    for byte in digest {
        let _ = write!(sums, "{byte:02x}");
    }
    let _ = writeln!(sums, "  {name}");
}

/// Reads the digests of files; `None` if a line is none.
pub fn read_sums(text: &str) -> Option<HashMap<&str, Digest>> {
    // Two lines for one name would leave open which one counts.
    let mut sums = HashMap::new();
    for line in text.lines() {
        let (digits, name) = line.split_once("  ")?;
        if sums.insert(name, read_digest(digits)?).is_some() {
            return None;
        }
    }
    Some(sums)
}

fn read_digest(digits: &str) -> Option<Digest> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let mut digest = [0; 32];
    let are_digits = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if pairs.len() != digest.len() || !are_digits {
        return None;
    }
    for (target, pair) in digest.iter_mut().zip(pairs) {
        *target = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tree::note::SigningKey;

    #[test]
    fn what_a_backup_says_of_itself_reads_back_and_another_format_is_refused_by_name() {
        let head = Head {
            format: FORMAT,
            program: "0.1.0".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            node_id: Uuid::from_u128(1),
            origin: "aap.test/audit".to_owned(),
            public_key: None,
            journal: JournalHead { revision: 7, checkpoint: None },
            cursors: 1,
            logs: vec![
                LogHead { log_id: Uuid::from_u128(2), first: 1, last: 9 },
                LogHead { log_id: Uuid::from_u128(3), first: 1, last: 0 },
            ],
        };
        let bytes = head.encode().unwrap();
        assert_eq!(Head::decode(&bytes), Ok(head.clone()));
        let id = Uuid::from_u128;
        assert_eq!((head.identity().unwrap().log_id, head.previous_logs()), (id(3), vec![id(2)]));
        let text = String::from_utf8(bytes).unwrap();
        let error = Head::decode(text.replace("\"format\": 1", "\"format\": 2").as_bytes());
        assert_eq!(error.unwrap_err(), "it has format 2; this version reads format 1");
        let refused = |head: &Head| Head::decode(&head.encode().unwrap()).unwrap_err();
        let without = Head { logs: Vec::new(), ..head.clone() };
        assert_eq!(refused(&without), "it names no audit log");
        let mut twice = head.clone();
        twice.logs[1].log_id = twice.logs[0].log_id;
        assert_eq!(refused(&twice), "it names an audit log twice");
        let unnamed = Head { origin: "a b".to_owned(), ..head.clone() };
        assert_eq!(refused(&unnamed), "`a b` can't be the name of a log");
        let key = SigningKey::of_seed("aap.test/other", &[1; 32]).unwrap();
        let others = Head { public_key: Some(key.verifier().to_string()), ..head };
        let wanted = "its key is named `aap.test/other`, not `aap.test/audit`";
        assert_eq!(refused(&others), wanted);
        assert!(Head::decode(b"{}").is_err());
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        let mut sums = String::new();
        add_sum(&mut sums, &[0xab; 32], "audit/a");
        add_sum(&mut sums, &[0x01; 32], "b");
        assert!(sums.starts_with(&format!("{}  audit/a\n", "ab".repeat(32))), "{sums}");
        let read = read_sums(&sums).unwrap();
        assert_eq!((read["audit/a"], read["b"], read.len()), ([0xab; 32], [0x01; 32], 2));
        for wrong in ["x", "ab  a", &sums.repeat(2), &sums.replace("ab", "+b")] {
            assert!(read_sums(wrong).is_none(), "{wrong}");
        }
    }
}
