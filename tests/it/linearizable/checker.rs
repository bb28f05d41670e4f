//! Whether a history can have been made by a server that does one thing after the other.
//!
//! The journal says in which order the changes happened. What is left to find is a place in that
//! order for every other call: one after all that was answered before it was called, at which its
//! answer is right. Each call gets the first such place, in the order in which they were called;
//! a later one could only leave less to those that follow, so if this finds none there is none.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::model::{
    Content, Decision, Event, Item, Kind, Name, Question, Refusal, Remembered, Request, State, Verb,
};

/// What was called.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Change(Arc<Request>),
    /// Something that is never valid.
    Nonsense,
    Get(Name),
    List(Kind),
    Check {
        question: Question,
        at_least: u64,
    },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What happened.
    Made(Vec<Event>),
    /// A deletion happened.
    Deleted,
    /// What would happen.
    Judged(Vec<(Verb, Name, Option<Content>)>),
    Found(Item),
    Listed(Vec<(Name, Item)>),
    Decided {
        revision: u64,
        decision: Decision,
    },
    Refused(Refusal),
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) called: Duration,
    pub(super) answered: Duration,
    pub(super) asked: Asked,
    pub(super) answer: Answer,
}

/// A change as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) actor: String,
    pub(super) request_id: String,
    pub(super) event: Event,
}

/// All that was called, and all that happened.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) operations: Vec<Operation>,
    pub(super) journal: Vec<Recorded>,
}

/// How many calls came to what.
pub(super) type Report = BTreeMap<String, usize>;

/// Finds an order in which all of it can have happened, or says what can't.
pub(super) fn check(history: &History) -> Result<Report, String> {
    check_journal(&history.journal)?;
    let claims = Claims::of(history)?;
    let states = states(history, &claims)?;
    place_all(history, &claims, &states)?;
    let mut report = Report::new();
    for operation in &history.operations {
        let key = match &operation.answer {
            Answer::Refused(refusal) => refusal.reason.replace("ERROR_REASON_", ""),
            Answer::Decided { decision, .. } => decision.reason.to_owned(),
            answer => format!("{answer:?}").split(['(', ' ']).next().unwrap().to_owned(),
        };
        *report.entry(key).or_default() += 1;
    }
    let groups = claims.credited.iter().filter(|claimed| claimed.is_some());
    let changes = history.journal.len();
    report.insert("changes".to_owned(), changes);
    report.insert("calls that changed something".to_owned(), groups.count());
    Ok(report)
}

/// The journal is dense, a uid is one resource's, and an etag one state's.
fn check_journal(journal: &[Recorded]) -> Result<(), String> {
    let mut created = HashSet::new();
    for (revision, Recorded { event, .. }) in (1..).zip(journal) {
        if event.revision != revision {
            return Err(format!("the journal is not dense: {event:?} at {revision}"));
        }
        if event.verb == Verb::Created && !created.insert(&event.uid) {
            return Err(format!("a uid is given twice: {event:?}"));
        }
    }
    Ok(())
}

/// Which calls made which changes.
struct Claims {
    /// For each call that says it changed something, the revisions.
    ranges: Vec<Option<(u64, u64)>>,
    /// For each call, the same if the change is counted as its own, and not as a repetition of
    /// another call's.
    credited: Vec<Option<(u64, u64)>>,
}

impl Claims {
    fn of(history: &History) -> Result<Self, String> {
        let mut by_request: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
        for Recorded { actor, request_id, event } in &history.journal {
            by_request.entry((actor, request_id)).or_default().push(event.revision);
        }
        let ranges: Vec<_> = history
            .operations
            .iter()
            .map(|operation| claimed(operation, &by_request))
            .collect::<Result<_, _>>()?;
        let credited = credit(history, &ranges)?;
        let claims = Self { ranges, credited };
        claims.check_cover(history)?;
        Ok(claims)
    }

    /// Every change was asked for by exactly one call.
    fn check_cover(&self, history: &History) -> Result<(), String> {
        let mut all: Vec<_> = self.credited.iter().flatten().copied().collect();
        all.sort_unstable();
        let mut next = 1;
        for (first, last) in all {
            if first != next {
                return Err(format!("change {next} was asked for by nobody, or {first} by two"));
            }
            next = last + 1;
        }
        if next != history.journal.len() as u64 + 1 {
            return Err(format!("the changes from {next} on were asked for by nobody"));
        }
        Ok(())
    }
}

/// The revisions that a call says it made, or its request id says for it.
fn claimed(
    operation: &Operation,
    by_request: &HashMap<(&str, &str), Vec<u64>>,
) -> Result<Option<(u64, u64)>, String> {
    let Asked::Change(request) = &operation.asked else { return Ok(None) };
    let revisions = match &operation.answer {
        Answer::Made(events) => events.iter().map(|event| event.revision).collect(),
        Answer::Deleted => {
            by_request.get(&(request.caller, &request.id)).cloned().unwrap_or_default()
        }
        _ => return Ok(None),
    };
    let is_range = revisions.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    match (revisions.first(), revisions.last()) {
        (Some(first), Some(last)) if is_range && revisions.len() == request.changes.len() => {
            Ok(Some((*first, *last)))
        }
        _ => Err(format!("{operation:?} made {revisions:?}")),
    }
}

/// Of the calls that claim the same changes, the one that was called first has made them: that is
/// always possible if anything is.
fn credit(
    history: &History,
    ranges: &[Option<(u64, u64)>],
) -> Result<Vec<Option<(u64, u64)>>, String> {
    let mut groups: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
    for (place, range) in ranges.iter().enumerate() {
        if let Some(range) = range {
            groups.entry(*range).or_default().push(place);
        }
    }
    let mut credited = vec![None; ranges.len()];
    for (range, mut group) in groups {
        group.sort_by_key(|place| history.operations[*place].called);
        let (first, others) = group.split_first().unwrap();
        let request = request_of(&history.operations[*first]);
        for other in others {
            let repeated = request_of(&history.operations[*other]);
            if request.id.is_empty() || request != repeated {
                return Err(format!("{request:?} and {repeated:?} both made {range:?}"));
            }
        }
        credited[*first] = Some(range);
    }
    Ok(credited)
}

fn request_of(operation: &Operation) -> &Arc<Request> {
    match &operation.asked {
        Asked::Change(request) => request,
        other => panic!("{other:?} changes nothing"),
    }
}

/// What there is after each revision; `None` amid changes that were made together, which nobody can
/// see.
fn states(history: &History, claims: &Claims) -> Result<Vec<Option<State>>, String> {
    let mut ends = BTreeMap::new();
    for (operation, range) in history.operations.iter().zip(&claims.credited) {
        if let Some((first, last)) = range {
            ends.insert(*last, (*first, Arc::clone(request_of(operation))));
        }
    }
    let mut state = State::default();
    let mut states = vec![Some(state.clone())];
    for Recorded { event, .. } in &history.journal {
        state.apply(event);
        let dangling = state.dangling();
        if !dangling.is_empty() {
            return Err(format!("{dangling:?} dangle after {event:?}"));
        }
        let end = ends.get(&event.revision);
        if let Some((first, request)) = end {
            let (request, last) = (Arc::clone(request), event.revision);
            state.remember(Remembered { request, first: *first, last });
        }
        states.push(end.map(|_| state.clone()));
    }
    Ok(states)
}

/// Finds a place for every call.
fn place_all(history: &History, claims: &Claims, states: &[Option<State>]) -> Result<(), String> {
    let operations = &history.operations;
    let order = |key: fn(&Operation) -> Duration| {
        let mut places: Vec<_> = (0..operations.len()).collect();
        places.sort_by_key(|place| key(&operations[*place]));
        places
    };
    let by_call = order(|operation| operation.called);
    let mut answered = order(|operation| operation.answered).into_iter().peekable();
    let ceilings = ceilings(operations, claims, &by_call, states.len() as u64 - 1);
    let mut placed = vec![0; operations.len()];
    let mut floor = 0;
    for place in by_call {
        let operation = &operations[place];
        while let Some(before) =
            answered.next_if(|before| operations[*before].answered < operation.called)
        {
            floor = floor.max(placed[before]);
        }
        let Some((first, last)) = claims.credited[place] else {
            let ceiling = ceilings.of(operation.answered);
            let range = claims.ranges[place];
            placed[place] =
                (floor..=ceiling).find(|at| explains(states, *at, operation, range)).ok_or_else(
                    || format!("no revision from {floor} to {ceiling} explains {operation:?}"),
                )?;
            continue;
        };
        if first <= floor {
            return Err(format!("{operation:?} made {first}, but {floor} was seen before it"));
        }
        check_made(history, states, operation, (first, last))?;
        placed[place] = last;
    }
    Ok(())
}

/// When each change was called for, and the last revision before it and all that were called for
/// later.
struct Ceilings(Vec<(Duration, u64)>);

fn ceilings(operations: &[Operation], claims: &Claims, by_call: &[usize], last: u64) -> Ceilings {
    let mut least = last;
    let mut found = vec![(Duration::MAX, last)];
    for place in by_call.iter().rev() {
        if let Some((first, _)) = claims.credited[*place] {
            least = least.min(first - 1);
            found.push((operations[*place].called, least));
        }
    }
    found.reverse();
    Ceilings(found)
}

impl Ceilings {
    /// The last revision before any change that was called for after this.
    fn of(&self, answered: Duration) -> u64 {
        let later = self.0.partition_point(|(called, _)| *called <= answered);
        self.0[later.min(self.0.len() - 1)].1
    }
}

/// Whether an answer is right at a revision.
fn explains(
    states: &[Option<State>],
    at: u64,
    operation: &Operation,
    range: Option<(u64, u64)>,
) -> bool {
    let Some(state) = &states[usize::try_from(at).unwrap()] else { return false };
    match (&operation.asked, &operation.answer) {
        (Asked::Nonsense, Answer::Refused(refusal)) => {
            refusal.reason == "ERROR_REASON_INVALID_FIELDS"
        }
        (Asked::Get(name), Answer::Found(item)) => state.get(*name) == Some(item),
        (Asked::Get(name), Answer::Refused(refusal)) => {
            state.get(*name).is_none() && is_missing(refusal, *name)
        }
        (Asked::List(kind), Answer::Listed(items)) => state.list(*kind) == *items,
        (Asked::Check { question, at_least }, Answer::Decided { revision, decision }) => {
            at == *revision && revision >= at_least && state.decide(*question) == *decision
        }
        (Asked::Check { at_least, .. }, Answer::Refused(refusal)) => {
            refusal.reason == "ERROR_REASON_REVISION_NOT_REACHED"
                && refusal.metadata.get("revision") == Some(&at.to_string())
                && at < *at_least
        }
        (Asked::Change(request), Answer::Refused(refusal)) => {
            let judged = state.judge(request, |_| String::new());
            state.remembered(request).is_none_or(|before| before.request != *request)
                && judged.err().as_ref() == Some(refusal)
        }
        (Asked::Change(request), Answer::Judged(judged)) => {
            let events = state.judge(request, |_| String::new());
            let content =
                |event: Event| (event.verb, event.name, event.after.map(|item| item.content));
            events.is_ok_and(|events| events.into_iter().map(content).eq(judged.iter().cloned()))
        }
        // Made before, by another call with the same id.
        (Asked::Change(request), Answer::Made(_) | Answer::Deleted) => {
            state.remembered(request).is_some_and(|before| {
                before.request == *request && range == Some((before.first, before.last))
            })
        }
        _ => false,
    }
}

fn is_missing(refusal: &Refusal, name: Name) -> bool {
    refusal.reason == "ERROR_REASON_RESOURCE_NOT_FOUND"
        && refusal.metadata.get("resource") == Some(&name.to_string())
}

/// A change is what the state before it leads to, and what its caller was told.
fn check_made(
    history: &History,
    states: &[Option<State>],
    operation: &Operation,
    (first, last): (u64, u64),
) -> Result<(), String> {
    let at = |revision: u64| usize::try_from(revision).unwrap();
    let recorded = &history.journal[at(first - 1)..at(last)];
    let request = request_of(operation);
    let before = states[at(first - 1)].as_ref();
    let before = before.ok_or_else(|| format!("{operation:?} happened amid another one"))?;
    let uid = |revision: u64| history.journal[at(revision - 1)].event.uid.clone();
    let expected = before.judge(request, uid);
    let events: Vec<_> = recorded.iter().map(|one| one.event.clone()).collect();
    if expected.as_ref() != Ok(&events) {
        return Err(format!("{operation:?} should have come to {expected:?}, not {events:?}"));
    }
    let is_answered = match &operation.answer {
        Answer::Made(told) => *told == events,
        _ => true,
    };
    let is_signed =
        recorded.iter().all(|one| one.actor == request.caller && one.request_id == request.id);
    if is_answered && is_signed { Ok(()) } else { Err(format!("{operation:?}: {recorded:?}")) }
}
