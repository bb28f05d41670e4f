//! Clients that ask for whatever comes to their minds, over so few names that they are in each
//! other's way all the time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use aap::clock::Clock;

use crate::support::{Client, random::Random};

use super::{
    checker::{Answer, Asked, Operation},
    model::{Change, Content, Kind, Name, Question, Request, Wanted},
    wire,
};

/// How many names of each kind there are.
const RULES: u8 = 4;
const POLICIES: u8 = 5;
const ACCESS_POINTS: u8 = 6;
/// How many calls back the clients remember.
const REMEMBERED: usize = 40;
/// How many etags of a resource.
const ETAGS: usize = 3;

/// How long a client goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Calls(usize),
    Time(Duration),
}

/// What the clients tell each other, so that their wishes are not only nonsense.
#[derive(Debug, Default)]
pub(super) struct Known {
    etags: BTreeMap<Name, VecDeque<String>>,
    requests: VecDeque<Arc<Request>>,
    revision: u64,
}

impl Known {
    fn note(&mut self, asked: &Asked, answer: &Answer) {
        if let Asked::Change(request) = asked {
            self.requests.push_back(Arc::clone(request));
            if self.requests.len() > REMEMBERED {
                self.requests.pop_front();
            }
        }
        let mut items = Vec::new();
        match answer {
            Answer::Made(events) => {
                items.extend(events.iter().filter_map(|one| Some((one.name, one.after.as_ref()?))));
            }
            Answer::Listed(listed) => items.extend(listed.iter().map(|(name, item)| (*name, item))),
            Answer::Decided { revision, .. } => self.revision = self.revision.max(*revision),
            _ => {}
        }
        for (name, item) in items {
            self.revision = self.revision.max(item.revision);
            let etags = self.etags.entry(name).or_default();
            if !etags.contains(&item.etag) {
                etags.push_back(item.etag.clone());
            }
            if etags.len() > ETAGS {
                etags.pop_front();
            }
        }
    }
}

/// One client, which may call as either of two admins and as an enforcer.
pub(super) struct Voice {
    pub(super) number: usize,
    pub(super) admins: [(&'static str, Client); 2],
    pub(super) enforcer: Client,
    pub(super) random: Random,
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) clock: Clock,
}

impl Voice {
    /// Calls and calls; returns all of it.
    pub(super) async fn speak(mut self, length: Length) -> Vec<Operation> {
        let mut operations = Vec::new();
        loop {
            let is_over = match length {
                Length::Calls(most) => operations.len() >= most,
                Length::Time(most) => self.clock.elapsed() >= most,
            };
            if is_over {
                return operations;
            }
            let asked = self.think(operations.len());
            let admin = match &asked {
                Asked::Change(request) => {
                    self.admins.iter().find(|(caller, _)| *caller == request.caller).unwrap()
                }
                _ => &self.admins[0],
            };
            let called = self.clock.elapsed();
            let answer = wire::ask((&admin.1, &self.enforcer), &asked).await;
            let answered = self.clock.elapsed();
            self.known.lock().unwrap().note(&asked, &answer);
            operations.push(Operation { called, answered, asked, answer });
        }
    }

    /// What to ask next.
    fn think(&mut self, place: usize) -> Asked {
        match self.random.below(100) {
            0..45 => Asked::Change(Arc::new(self.request(place))),
            45..53 => self.repetition().map_or(Asked::Nonsense, Asked::Change),
            53..56 => Asked::Nonsense,
            56..70 => Asked::Get(self.name()),
            70..76 => Asked::List(self.random.pick(&Kind::ALL)),
            _ => self.check(),
        }
    }

    fn check(&mut self) -> Asked {
        let question = Question {
            access_point: self.id(ACCESS_POINTS),
            secret: self.random.pick(&[1, 2]),
            network: self.random.pick(&[1, 2]),
        };
        let revision = self.known.lock().unwrap().revision;
        let at_least =
            self.random.pick(&[0, 0, 0, revision, revision, revision, revision, revision + 1]);
        Asked::Check { question, at_least }
    }

    fn request(&mut self, place: usize) -> Request {
        let together = self.random.below(5) == 0;
        let count = if together { 1 + self.random.below(5) } else { 1 };
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..count {
            let mut change = self.change();
            // What the etag is after a change among these, nobody can know.
            if changes.iter().any(|before| before.name == change.name) {
                change.etag = None;
            }
            changes.push(change);
        }
        // The answer to a deletion doesn't say which change it was; the id does. And one id is used
        // with one method, or it wouldn't say that.
        let method = if together { "apply".to_owned() } else { method(&changes[0]) };
        let has_id = together || method.starts_with("Delete") || self.random.below(2) == 0;
        let id = if has_id { format!("{method}-{}-{place}", self.number) } else { String::new() };
        let validate_only = self.random.below(10) == 0;
        let caller = self.admins[self.random.below(2)].0;
        Request { caller, id, validate_only, together, changes }
    }

    /// Something that was asked before, mostly word for word.
    fn repetition(&mut self) -> Option<Arc<Request>> {
        let before = {
            let known = self.known.lock().unwrap();
            let place = self.random.below(known.requests.len().max(1));
            Arc::clone(known.requests.get(place)?)
        };
        if before.id.is_empty() {
            return None;
        }
        let mut request = Request::clone(&before);
        match self.random.below(4) {
            0 => {
                let change = &mut request.changes[0];
                match &mut change.wanted {
                    Wanted::Create(content) => *content = self.content(change.name.kind),
                    _ => change.etag = Some("0-0".to_owned()),
                }
            }
            1 => request.caller = self.admins[self.random.below(2)].0,
            _ => {}
        }
        Some(Arc::new(request))
    }

    fn change(&mut self) -> Change {
        let name = self.name();
        let wanted = match (self.random.below(10), name.kind) {
            (0..4, _) => Wanted::Create(self.content(name.kind)),
            (8..10, _) => Wanted::Delete,
            (6, Kind::AccessPoint) => Wanted::Suspend,
            (7, Kind::AccessPoint) => Wanted::Resume,
            _ => Wanted::Update(self.content(name.kind)),
        };
        let is_new = matches!(wanted, Wanted::Create(_));
        let etag = if is_new || self.random.below(2) == 0 { None } else { self.etag(name) };
        Change { name, wanted, etag }
    }

    fn etag(&mut self, name: Name) -> Option<String> {
        let known = self.known.lock().unwrap();
        let etags = known.etags.get(&name)?;
        // Mostly the newest one.
        let age = self.random.pick(&[0, 0, 0, 1, 2]);
        etags.iter().rev().nth(age).cloned()
    }

    fn content(&mut self, kind: Kind) -> Content {
        match kind {
            Kind::Rule => Content::Rule { networks: self.random.pick(&[1, 2, 3]) },
            Kind::Policy => {
                let secrets = self.random.pick(&[1, 2, 3]);
                Content::Policy { secrets, rules: self.ids(RULES) }
            }
            Kind::AccessPoint => {
                Content::AccessPoint { policies: self.ids(POLICIES), suspended: false }
            }
        }
    }

    fn name(&mut self) -> Name {
        match self.random.below(7) {
            0 | 1 => Name::rule(self.id(RULES)),
            2..4 => Name::policy(self.id(POLICIES)),
            _ => Name::access_point(self.id(ACCESS_POINTS)),
        }
    }

    fn id(&mut self, end: u8) -> u8 {
        u8::try_from(self.random.below(usize::from(end))).unwrap()
    }

    /// One or two different ids.
    fn ids(&mut self, end: u8) -> Vec<u8> {
        let first = self.id(end);
        let mut ids = vec![first, self.id(end)];
        ids.dedup();
        ids
    }
}

/// A word for the method that makes a change.
fn method(change: &Change) -> String {
    let Change { name, wanted, etag: _ } = change;
    let verb = match wanted {
        Wanted::Create(_) => "Create",
        Wanted::Update(_) => "Update",
        Wanted::Suspend => "Suspend",
        Wanted::Resume => "Resume",
        Wanted::Delete => "Delete",
    };
    format!("{verb}-{:?}", name.kind)
}
