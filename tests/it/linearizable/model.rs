//! What should happen: the rules of changes over a few names, written down a second time, and simply.
//!
//! It knows neither the wire nor the product's code, but for the form of an etag.

use std::{collections::BTreeMap, fmt, sync::Arc};

use rpds::RedBlackTreeMapSync;
use tonic::Code;

use crate::support::world::HERE;

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Rule,
    Policy,
    AccessPoint,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Rule, Self::Policy, Self::AccessPoint];

    pub(super) fn collection(self) -> &'static str {
        match self {
            Self::Rule => "networkRules",
            Self::Policy => "policies",
            Self::AccessPoint => "accessPoints",
        }
    }
}

/// A resource's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) id: u8,
}

impl Name {
    pub(super) fn rule(id: u8) -> Self {
        Self { kind: Kind::Rule, id }
    }

    pub(super) fn policy(id: u8) -> Self {
        Self { kind: Kind::Policy, id }
    }

    pub(super) fn access_point(id: u8) -> Self {
        Self { kind: Kind::AccessPoint, id }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id } = self;
        write!(f, "{HERE}/{}/{id}", kind.collection())
    }
}

/// What a resource is, without what the server adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Covers these networks, as bits.
    Rule {
        networks: u8,
    },
    /// Grants these secrets, as bits, where one of these rules matches.
    Policy {
        secrets: u8,
        rules: Vec<u8>,
    },
    AccessPoint {
        policies: Vec<u8>,
        suspended: bool,
    },
}

impl Content {
    /// What it names.
    fn references(&self) -> Vec<Name> {
        match self {
            Self::Rule { .. } => Vec::new(),
            Self::Policy { rules, .. } => rules.iter().copied().map(Name::rule).collect(),
            Self::AccessPoint { policies, .. } => {
                policies.iter().copied().map(Name::policy).collect()
            }
        }
    }
}

/// A resource as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) uid: String,
    pub(super) etag: String,
    pub(super) revision: u64,
    pub(super) content: Content,
}

/// The etag of a resource's state.
pub(super) fn etag(uid: &str, revision: u64) -> String {
    format!("{}-{revision:x}", uid.replace('-', ""))
}

/// What is to be done with a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Create(Content),
    /// Changes all that can be changed; whether it is suspended can't.
    Update(Content),
    Suspend,
    Resume,
    Delete,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) name: Name,
    pub(super) wanted: Wanted,
    pub(super) etag: Option<String>,
}

/// A call that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) caller: &'static str,
    /// Empty if it has none.
    pub(super) id: String,
    pub(super) validate_only: bool,
    /// Whether the changes are made by one call for many.
    pub(super) together: bool,
    pub(super) changes: Vec<Change>,
}

/// What was done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Created,
    Updated,
    Suspended,
    Resumed,
    Deleted,
}

/// One change, as a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) revision: u64,
    pub(super) verb: Verb,
    pub(super) name: Name,
    pub(super) uid: String,
    /// What there is after it.
    pub(super) after: Option<Item>,
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) metadata: BTreeMap<String, String>,
    /// The resources in the way.
    pub(super) names: Vec<String>,
}

impl Refusal {
    pub(super) fn new(code: Code, reason: &str) -> Self {
        let metadata = BTreeMap::new();
        Self { code, reason: format!("ERROR_REASON_{reason}"), metadata, names: Vec::new() }
    }

    fn of(code: Code, reason: &str, name: Name) -> Self {
        Self::new(code, reason).with("resource", name.to_string())
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }
}

/// What a check comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) reason: &'static str,
    /// The policy and the rule that grant it.
    pub(super) grant: Option<(Name, Name)>,
}

/// Whether an application may read a secret, from a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) access_point: u8,
    /// One bit.
    pub(super) secret: u8,
    /// One bit.
    pub(super) network: u8,
}

/// What is remembered of a call with a request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) request: Arc<Request>,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// What there is at a revision. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) revision: u64,
    items: RedBlackTreeMapSync<Name, Arc<Item>>,
    requests: RedBlackTreeMapSync<(&'static str, String), Remembered>,
}

impl State {
    pub(super) fn get(&self, name: Name) -> Option<&Item> {
        self.items.get(&name).map(|item| &**item)
    }

    /// All of a kind, in order.
    pub(super) fn list(&self, kind: Kind) -> Vec<(Name, Item)> {
        let all = self.items.iter().filter(|(name, _)| name.kind == kind);
        all.map(|(name, item)| (*name, Item::clone(item))).collect()
    }

    /// Who names a resource, in order.
    fn holders(&self, name: Name) -> Vec<Name> {
        let all = self.items.iter();
        let holders = all.filter(|(_, item)| item.content.references().contains(&name));
        holders.map(|(holder, _)| *holder).collect()
    }

    /// What is named and isn't there.
    pub(super) fn dangling(&self) -> Vec<Name> {
        let named = self.items.iter().flat_map(|(_, item)| item.content.references());
        named.filter(|name| self.get(*name).is_none()).collect()
    }

    /// What the call with this one's id came to, if there was one.
    pub(super) fn remembered(&self, request: &Request) -> Option<&Remembered> {
        if request.id.is_empty() || request.validate_only {
            return None;
        }
        self.requests.get(&(request.caller, request.id.clone()))
    }

    pub(super) fn remember(&mut self, remembered: Remembered) {
        let Request { caller, id, .. } = &*remembered.request;
        if !id.is_empty() {
            self.requests.insert_mut((caller, id.clone()), remembered);
        }
    }

    /// Takes in what happened.
    pub(super) fn apply(&mut self, event: &Event) {
        self.revision = event.revision;
        match &event.after {
            Some(item) => self.items.insert_mut(event.name, Arc::new(item.clone())),
            None => drop(self.items.remove_mut(&event.name)),
        }
    }

    /// What a call would lead to that wasn't made before. Whoever is created gets the uid that
    /// `uid` gives for its revision.
    pub(super) fn judge(
        &self,
        request: &Request,
        uid: impl Fn(u64) -> String,
    ) -> Result<Vec<Event>, Refusal> {
        if let Some(remembered) = self.remembered(request)
            && *remembered.request != *request
        {
            let refusal = Refusal::new(Code::FailedPrecondition, "REQUEST_ID_REUSED");
            return Err(refusal.with("request_id", &request.id));
        }
        let mut working = self.clone();
        let mut events = Vec::new();
        for (place, change) in request.changes.iter().enumerate() {
            let event = working.judge_one(change, &uid);
            let event = event.map_err(|refusal| {
                if request.together { refusal.with("change", place) } else { refusal }
            })?;
            working.apply(&event);
            events.push(event);
        }
        Ok(events)
    }

    fn judge_one(&self, change: &Change, uid: impl Fn(u64) -> String) -> Result<Event, Refusal> {
        let Change { name, wanted, etag: expected } = change;
        let (name, revision) = (*name, self.revision + 1);
        if let Wanted::Create(content) = wanted {
            if self.get(name).is_some() {
                return Err(Refusal::of(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS", name));
            }
            self.check_references(name, content)?;
            return Ok(event(revision, Verb::Created, name, uid(revision), Some(content.clone())));
        }
        let missing = || Refusal::of(Code::NotFound, "RESOURCE_NOT_FOUND", name);
        let item = self.get(name).ok_or_else(missing)?;
        if expected.as_ref().is_some_and(|expected| *expected != item.etag) {
            let refusal = Refusal::of(Code::Aborted, "ETAG_MISMATCH", name);
            return Err(refusal.with("etag", &item.etag));
        }
        let (verb, after) = match wanted {
            Wanted::Delete => {
                self.check_unused(name)?;
                (Verb::Deleted, None)
            }
            Wanted::Suspend => (Verb::Suspended, Some(suspended(&item.content, true))),
            Wanted::Resume => (Verb::Resumed, Some(suspended(&item.content, false))),
            Wanted::Update(content) | Wanted::Create(content) => {
                self.check_references(name, content)?;
                let is_suspended =
                    matches!(item.content, Content::AccessPoint { suspended: true, .. });
                (Verb::Updated, Some(suspended(content, is_suspended)))
            }
        };
        Ok(event(revision, verb, name, item.uid.clone(), after))
    }

    fn check_references(&self, name: Name, content: &Content) -> Result<(), Refusal> {
        let missing: Vec<_> =
            content.references().into_iter().filter(|one| self.get(*one).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let refusal = Refusal::of(Code::FailedPrecondition, "REFERENCE_NOT_FOUND", name);
        let refusal = refusal.with("missing", missing.len());
        Err(Refusal { names: missing.iter().map(Name::to_string).collect(), ..refusal })
    }

    fn check_unused(&self, name: Name) -> Result<(), Refusal> {
        let holders = self.holders(name);
        if holders.is_empty() {
            return Ok(());
        }
        let refusal = Refusal::of(Code::FailedPrecondition, "RESOURCE_IN_USE", name);
        let refusal = refusal.with("holders", holders.len());
        Err(Refusal { names: holders.iter().map(Name::to_string).collect(), ..refusal })
    }

    /// Decides a check.
    pub(super) fn decide(&self, question: Question) -> Decision {
        let Question { access_point, secret, network } = question;
        let deny = |reason| Decision { reason, grant: None };
        let found = self.get(Name::access_point(access_point)).map(|item| &item.content);
        let policies = match found {
            Some(Content::AccessPoint { suspended: false, policies }) => policies,
            Some(_) => return deny("ACCESS_POINT_SUSPENDED"),
            None => return deny("ACCESS_POINT_NOT_FOUND"),
        };
        let mut reason = "RESOURCE_NOT_COVERED";
        for policy in policies.iter().copied().map(Name::policy) {
            let found = self.get(policy).map(|item| &item.content);
            let Some(Content::Policy { secrets, rules }) = found else { continue };
            if secrets & secret == 0 {
                continue;
            }
            reason = "NETWORK_NOT_ALLOWED";
            for rule in rules.iter().copied().map(Name::rule) {
                let found = self.get(rule).map(|item| &item.content);
                if matches!(found, Some(Content::Rule { networks }) if networks & network != 0) {
                    return Decision { reason: "POLICY_GRANTS", grant: Some((policy, rule)) };
                }
            }
        }
        deny(reason)
    }
}

fn suspended(content: &Content, is_suspended: bool) -> Content {
    match content.clone() {
        Content::AccessPoint { policies, .. } => {
            Content::AccessPoint { policies, suspended: is_suspended }
        }
        content => content,
    }
}

fn event(revision: u64, verb: Verb, name: Name, uid: String, after: Option<Content>) -> Event {
    let etag = etag(&uid, revision);
    let after = after.map(|content| Item { uid: uid.clone(), etag, revision, content });
    Event { revision, verb, name, uid, after }
}
