//! What is the same in judging the audit log and the journal: the public key, the checkpoints that were
//! kept elsewhere, and the tree. Nothing is believed that isn't signed.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;

use crate::audit::tree::{
    hash::{self, Frontier, Hash},
    note::{NoteError, Statement, VerifierKey},
};

use super::{complain, say};

/// What came of it.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Everything is as it was signed.
    Verified,
    /// Something isn't.
    Altered(String),
}

impl Verdict {
    /// Tells it, and how the program ends. That it can't be told is not that something was altered,
    /// whatever is the reason.
    pub(super) fn tell(judged: anyhow::Result<Self>) -> ExitCode {
        match judged {
            Ok(Self::Verified) => {
                say("verified");
                ExitCode::SUCCESS
            }
            Ok(Self::Altered(what)) => {
                say(format_args!("ALTERED: {what}"));
                ExitCode::FAILURE
            }
            Err(error) => {
                complain(&error);
                ExitCode::from(2)
            }
        }
    }
}

/// What a tree is over, in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaves {
    one: &'static str,
    of: &'static str,
}

/// The records of the audit log.
pub(super) const RECORDS: Leaves = Leaves { one: "record", of: "log" };
/// The changes of the journal.
pub(super) const CHANGES: Leaves = Leaves { one: "change", of: "journal" };

impl Leaves {
    /// What is wrong if there are fewer than were signed once.
    pub(super) fn cut_back(self, old: &Statement, current: &Statement) -> String {
        let (Self { one, of }, old, current) = (self, old.size, current.size);
        format!(
            "a checkpoint over {old} {one}s was signed, but there are {current}: the {of} was cut back, \
             or this is older than the checkpoint"
        )
    }

    /// What is wrong if there are others than were signed.
    pub(super) fn contradicted(self, statement: &Statement) -> String {
        let (Self { one, .. }, size) = (self, statement.size);
        format!("the first {size} {one}s are not those that the checkpoint was signed over")
    }

    /// What is wrong with what is signed now, if it contradicts what was signed once by these two
    /// alone. Which are the first ones of it, it can't tell.
    pub(super) fn compare(self, kept: &[Statement], signed: &Statement) -> Option<String> {
        if let Some(old) = kept.iter().find(|old| old.size > signed.size) {
            return Some(self.cut_back(old, signed));
        }
        let mut same = kept.iter().filter(|old| old.size == signed.size);
        same.find(|old| old.root != signed.root).map(|old| self.contradicted(old))
    }

    /// What is wrong with one if its proof doesn't lead to what was signed. The first has number 1.
    pub(super) fn prove(
        self,
        (number, leaf_hash): (u64, &Hash),
        path: Option<&[Hash]>,
        signed: &Statement,
    ) -> Option<String> {
        let root =
            path.and_then(|path| hash::root_by_inclusion(number - 1, signed.size, leaf_hash, path));
        (root != Some(signed.root))
            .then(|| format!("{} {number} is not among those signed", self.one))
    }
}

/// The tree over all leaves so far.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    frontier: Frontier,
    leaves: Leaves,
    /// What it must lead to, the smallest first.
    kept: &'a [Statement],
}

impl<'a> Tree<'a> {
    /// The empty one.
    pub(super) fn new(leaves: Leaves, kept: &'a [Statement]) -> Self {
        Self { frontier: Frontier::default(), leaves, kept }
    }

    /// Takes in the next leaf; tells what it contradicts.
    pub(super) fn add(&mut self, leaf_hash: Hash) -> Option<String> {
        self.frontier.push(leaf_hash, |_, _| {});
        self.compare()
    }

    /// What was kept that the tree contradicts.
    pub(super) fn compare(&self) -> Option<String> {
        let size = self.frontier.size();
        let mut same = self.kept.iter().filter(|old| old.size == size);
        let root = self.frontier.root();
        same.find(|old| old.root != root).map(|old| self.leaves.contradicted(old))
    }

    /// Whether it is all that was signed.
    pub(super) fn is(&self, signed: &Statement) -> bool {
        self.frontier.size() == signed.size && self.frontier.root() == signed.root
    }

    /// Says which checkpoints it continues.
    pub(super) fn tell(&self) {
        for old in self.kept {
            let Leaves { one, .. } = self.leaves;
            say(format_args!("they continue the checkpoint over {} {one}s", old.size));
        }
    }
}

/// The key, as it is or in a file.
pub(super) fn read_key(key: &str) -> anyhow::Result<VerifierKey> {
    let text = match VerifierKey::parse(key) {
        Ok(key) => return Ok(key),
        Err(error) if !Path::new(key).exists() => {
            return Err(error).with_context(|| format!("`{key}` is neither a key nor a file"));
        }
        Err(_) => fs::read_to_string(key).with_context(|| cannot_read(Path::new(key)))?,
    };
    VerifierKey::parse(text.trim()).with_context(|| format!("`{key}` has no key"))
}

/// Keys: one as it is, or one or more in a file, each in a line of its own.
pub(super) fn read_keys(keys: &str) -> anyhow::Result<Vec<VerifierKey>> {
    if VerifierKey::parse(keys).is_ok() || !Path::new(keys).exists() {
        return Ok(vec![read_key(keys)?]);
    }
    let text = fs::read_to_string(keys).with_context(|| cannot_read(Path::new(keys)))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let read = lines.map(VerifierKey::parse).collect::<Result<Vec<_>, _>>();
    let read = read.with_context(|| format!("`{keys}` has a line that is no key"))?;
    // Without any, a backup would be judged by its own.
    if read.is_empty() { Err(anyhow::anyhow!("`{keys}` has no key")) } else { Ok(read) }
}

/// The checkpoints that were kept, the smallest first; a verdict if one isn't signed by the key.
pub(super) fn read_kept(
    key: &VerifierKey,
    against: &[impl AsRef<Path>],
) -> anyhow::Result<Result<Vec<Statement>, Verdict>> {
    let mut kept = Vec::new();
    for path in against.iter().map(AsRef::as_ref) {
        let note = fs::read_to_string(path).with_context(|| cannot_read(path))?;
        match key.open(&note) {
            Ok(statement) => kept.push(statement),
            Err(error) => return judge(error, &format!("`{}`", path.display())).map(Err),
        }
    }
    kept.sort_by_key(|statement| statement.size);
    let mut pairs = kept.iter().zip(kept.iter().skip(1));
    let contradict =
        |one: &Statement, next: &Statement| one.size == next.size && one.root != next.root;
    if let Some((one, _)) = pairs.find(|(one, next)| contradict(one, next)) {
        let what = format!("two checkpoints that were kept, both over {}, contradict", one.size);
        return Ok(Err(Verdict::Altered(what)));
    }
    Ok(Ok(kept))
}

/// An export to read; `-` is the standard input.
pub(super) fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| cannot_read(path))?;
    Ok(Box::new(BufReader::new(file)))
}

/// A note that isn't one can't be looked at; one that is signed by nobody was altered.
pub(super) fn judge(error: NoteError, what: &str) -> anyhow::Result<Verdict> {
    match error {
        NoteError::NotSigned { .. } => Ok(Verdict::Altered(format!("{what}: {error}"))),
        error => Err(error).with_context(|| what.to_owned()),
    }
}

fn cannot_read(path: &Path) -> String {
    format!("can't read `{}`", path.display())
}
