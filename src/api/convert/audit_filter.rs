//! Which records of the audit log are wanted: what filters and lists of them ask for.

use prost::Message as _;
use prost_types::Timestamp;

use crate::{
    api::pb,
    domain::{
        audit_filter::{AuditFilter, Numbers},
        check::{ActionName, ResourceText},
        name::{AccessPointRef, Id},
        time::UnixNanos,
    },
    service::reading::{Bounds, Order, Place},
};

use super::Violations;

/// The most bytes of a filter.
const MAX_BYTES: usize = 4_096;

/// Parses a filter, which may be absent.
pub fn parse(
    violations: &mut Violations,
    filter: Option<pb::AuditRecordFilter>,
) -> Option<AuditFilter> {
    let Some(filter) = filter else { return Some(AuditFilter::default()) };
    let before = violations.count();
    if filter.encoded_len() > MAX_BYTES {
        // What it says isn't looked at: a message of all that is wrong with it could be as long.
        violations.add("filter", format!("must have at most {MAX_BYTES} bytes"));
        return None;
    }
    let filter = violations.within(|| "filter.".to_owned(), |violations| take(violations, filter));
    (violations.count() == before).then_some(filter)
}

fn take(violations: &mut Violations, filter: pb::AuditRecordFilter) -> AuditFilter {
    let pb::AuditRecordFilter {
        accounts,
        access_points,
        kinds,
        outcomes,
        reasons,
        actions,
        resource_prefixes,
    } = filter;
    let lists = [
        ("accounts", accounts.len()),
        ("access_points", access_points.len()),
        ("actions", actions.len()),
        ("resource_prefixes", resource_prefixes.len()),
    ];
    for (field, length) in lists {
        if length > AuditFilter::MAX_VALUES {
            let description = format!("must have at most {} values", AuditFilter::MAX_VALUES);
            violations.add(field, description);
        }
    }
    AuditFilter {
        accounts: violations.keep_all("accounts", &accounts, |account| Id::parse(account)),
        access_points: violations.keep_all("access_points", &access_points, |name| {
            AccessPointRef::parse(name).map(|name| name.as_str().into())
        }),
        kinds: parse_numbers(violations, "kinds", kinds, |number| {
            pb::AuditRecordKind::try_from(number).is_ok()
        }),
        outcomes: parse_numbers(violations, "outcomes", outcomes, |number| {
            pb::Outcome::try_from(number).is_ok()
        }),
        reasons: parse_numbers(violations, "reasons", reasons, |number| {
            pb::DecisionReason::try_from(number).is_ok()
        }),
        actions: violations.keep_all("actions", &actions, |action| {
            ActionName::parse(action).map(|action| action.as_str().into())
        }),
        resource_prefixes: violations.keep_all("resource_prefixes", &resource_prefixes, |prefix| {
            ResourceText::parse(prefix).map(|prefix| prefix.as_str().into())
        }),
    }
}

/// A filter as it is sent.
pub fn send(filter: &AuditFilter) -> pb::AuditRecordFilter {
    let AuditFilter {
        accounts,
        access_points,
        kinds,
        outcomes,
        reasons,
        actions,
        resource_prefixes,
    } = filter;
    let texts = |texts: &[Box<str>]| texts.iter().map(ToString::to_string).collect();
    let numbers = |numbers: &Numbers| numbers.iter().map(u32::cast_signed).collect();
    pb::AuditRecordFilter {
        accounts: accounts.iter().map(ToString::to_string).collect(),
        access_points: texts(access_points),
        kinds: numbers(kinds),
        outcomes: numbers(outcomes),
        reasons: numbers(reasons),
        actions: texts(actions),
        resource_prefixes: texts(resource_prefixes),
    }
}

fn parse_numbers(
    violations: &mut Violations,
    field: &str,
    values: Vec<i32>,
    is_known: impl Fn(i32) -> bool,
) -> Numbers {
    let mut numbers = Numbers::default();
    for (place, value) in values.into_iter().enumerate() {
        if !is_known(value) || numbers.add(value).is_err() {
            violations.add(format!("{field}[{place}]"), "must be a known value");
        }
    }
    numbers
}

/// Parses where a page begins, as its token says.
pub fn parse_place(text: &str) -> Option<Place> {
    let (begin, last) = text.split_once('-')?;
    Some(Place { begin: begin.parse().ok()?, last: last.parse().ok()? })
}

/// Parses the order of a list.
pub fn parse_order(violations: &mut Violations, order: i32) -> Option<Order> {
    use pb::AuditRecordOrder as Sent;
    match Sent::try_from(order) {
        Ok(Sent::Unspecified | Sent::NewestFirst) => Some(Order::NewestFirst),
        Ok(Sent::OldestFirst) => Some(Order::OldestFirst),
        Err(_) => {
            violations.add("order", "must be NEWEST_FIRST or OLDEST_FIRST");
            None
        }
    }
}

/// The bounds of a list as they are sent.
#[derive(Debug)]
pub struct SentBounds {
    /// The first record; 0 is none.
    pub from: u64,
    /// The last record; 0 is none.
    pub through: u64,
    /// The earliest time.
    pub start: Option<Timestamp>,
    /// The time that all are before.
    pub end: Option<Timestamp>,
}

/// Parses the bounds of a list.
pub fn parse_bounds(violations: &mut Violations, bounds: SentBounds) -> Option<Bounds> {
    let SentBounds { from, through, start, end } = bounds;
    let before = violations.count();
    let mut parse =
        |field, time: Option<Timestamp>| time.and_then(|time| parse_time(violations, field, time));
    let (start, end) = (parse("start_time", start), parse("end_time", end));
    if start.zip(end).is_some_and(|(start, end)| end <= start) {
        violations.add("end_time", "must be later than `start_time`");
    }
    if through != 0 && through < from {
        violations.add("through_sequence", "must not be less than `from_sequence`");
    }
    let some = |sequence: u64| (sequence != 0).then_some(sequence);
    let bounds = Bounds { from: some(from), through: some(through), start, end };
    (violations.count() == before).then_some(bounds)
}

/// The seconds of the first and of the last second that a timestamp may name: the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Parses a time. One that is beyond what is kept of times is as good as their end.
pub fn parse_time(violations: &mut Violations, field: &str, time: Timestamp) -> Option<UnixNanos> {
    let Timestamp { seconds, nanos } = time;
    if SECONDS.contains(&seconds) && (0..=999_999_999).contains(&nanos) {
        return Some(UnixNanos::from_parts(seconds, nanos));
    }
    violations.add(field, "must be a time of the years 1 to 9999");
    None
}
