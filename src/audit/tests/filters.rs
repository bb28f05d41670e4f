//! A filter admits exactly the records that it would admit if they were decoded.

use std::{fs, path::Path};

use prost::Message;

use crate::{
    api::pb::{self, audit_record::Event},
    audit::filter::Facts,
    domain::{
        audit_filter::{AuditFilter, Numbers},
        name::Id,
    },
};

/// Every golden record, with its file's name.
fn golden_records() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit_records");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let records = files.filter(|path| path.extension().is_some_and(|extension| extension == "bin"));
    records.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

fn numbers(numbers: &[i32]) -> Numbers {
    let mut set = Numbers::default();
    for number in numbers {
        set.add(*number).unwrap();
    }
    set
}

/// Whether the decoded record is wanted: the slow way, by the words of the API.
fn is_wanted(filter: &AuditFilter, record: &pb::AuditRecord) -> bool {
    let kind = match record.event.as_ref().unwrap() {
        Event::Check(_) => pb::AuditRecordKind::Check,
        Event::RefusedCall(_) => pb::AuditRecordKind::RefusedCall,
        Event::ServerStart(_) => pb::AuditRecordKind::ServerStart,
        Event::ServerStop(_) => pb::AuditRecordKind::ServerStop,
        Event::ConfigurationLoad(_) => pb::AuditRecordKind::ConfigurationLoad,
        Event::Gap(_) => pb::AuditRecordKind::Gap,
        Event::AuditRead(_) => pb::AuditRecordKind::AuditRead,
        Event::Session(_) => pb::AuditRecordKind::Session,
    };
    let (access_point, action, resource, decision) = match &record.event {
        Some(Event::Check(check)) => (
            Some(check.access_point.as_str()),
            Some(check.action.as_str()),
            Some(check.resource.as_str()),
            check.decision.as_ref().map(|decision| (decision.outcome, decision.reason)),
        ),
        Some(Event::Session(session)) => (
            Some(session.access_point.as_str()),
            None,
            None,
            Some((session.outcome, session.reason)),
        ),
        _ => (None, None, None, None),
    };
    let number = |value: i32| u64::try_from(value).unwrap();
    let among = |list: &[Box<str>], value: Option<&str>| {
        list.is_empty() || value.is_some_and(|value| list.iter().any(|one| **one == *value))
    };
    let begins = |prefix: &str| resource.is_some_and(|text| text.starts_with(prefix));
    let has = |set: Numbers, value: Option<i32>| {
        set.is_empty() || value.is_some_and(|value| set.has(number(value)))
    };
    let accounts: Vec<_> = filter.accounts.iter().map(Id::as_str).collect();
    (accounts.is_empty() || accounts.contains(&&*record.account))
        && has(filter.kinds, Some(kind.into()))
        && has(filter.outcomes, decision.map(|(outcome, _)| outcome))
        && has(filter.reasons, decision.map(|(_, reason)| reason))
        && among(&filter.access_points, access_point)
        && among(&filter.actions, action)
        && (filter.resource_prefixes.is_empty()
            || filter.resource_prefixes.iter().any(|one| begins(one)))
}

fn filters() -> Vec<AuditFilter> {
    let all = AuditFilter::default;
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect();
    let accounts = |ids: &[&str]| ids.iter().map(|id| Id::parse(id).unwrap()).collect();
    let app = "accounts/acme/regions/eu-1/accessPoints/app";
    let mut filters = vec![
        all(),
        AuditFilter { accounts: accounts(&["acme"]), ..all() },
        AuditFilter { accounts: accounts(&["other", "acm", "acmee"]), ..all() },
        AuditFilter { access_points: texts(&[app]), ..all() },
        AuditFilter { access_points: texts(&["accounts/acme", app]), ..all() },
        AuditFilter { access_points: texts(&["accounts/acme"]), ..all() },
        AuditFilter { actions: texts(&["GetSecretValue"]), ..all() },
        AuditFilter { actions: texts(&["GetSecret"]), ..all() },
        AuditFilter { resource_prefixes: texts(&["key/", "secret/d"]), ..all() },
        AuditFilter { resource_prefixes: texts(&["secret/db/"]), ..all() },
        AuditFilter { resource_prefixes: texts(&[""]), ..all() },
    ];
    for number in 1..=20 {
        filters.push(AuditFilter { kinds: numbers(&[number]), ..all() });
        filters.push(AuditFilter { outcomes: numbers(&[number]), ..all() });
        filters.push(AuditFilter { reasons: numbers(&[number]), ..all() });
        let denied = numbers(&[pb::Outcome::Deny.into()]);
        filters.push(AuditFilter { outcomes: denied, reasons: numbers(&[number]), ..all() });
        filters.push(AuditFilter {
            accounts: accounts(&["acme"]),
            kinds: numbers(&[1, number]),
            actions: texts(&["GetSecretValue"]),
            ..all()
        });
    }
    filters
}

#[test]
fn a_filter_admits_what_it_would_admit_of_the_decoded_record() {
    let records = golden_records();
    assert!(records.len() >= 10);
    let (mut admitted, mut all) = (0, 0);
    for filter in filters() {
        for (name, bytes) in &records {
            let record = pb::AuditRecord::decode(&bytes[..]).unwrap();
            let facts = Facts::of(bytes);
            let wanted = facts.are_wanted_by(&filter);
            assert_eq!(wanted, is_wanted(&filter, &record), "{name} {filter:?}");
            assert_eq!(facts.account, record.account, "{name}");
            admitted += usize::from(wanted);
            all += 1;
        }
    }
    assert!(admitted > 50 && admitted * 2 < all, "{admitted} of {all}");
}

#[test]
fn a_piece_of_a_record_is_looked_at_without_a_panic() {
    let filters = filters();
    for (_, bytes) in golden_records() {
        for length in 0..bytes.len() {
            let facts = Facts::of(&bytes[..length]);
            let _ = filters.iter().filter(|filter| facts.are_wanted_by(filter)).count();
        }
    }
}
