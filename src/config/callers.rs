//! The callers in a configuration: their tables made into callers, with everything that is wrong.

use std::{collections::BTreeSet, sync::Arc};

use toml::value::{Datetime, Offset};

use crate::{
    domain::{
        name::Id,
        time::{Date, UnixNanos},
    },
    identity::{
        bounds::{Bounds, OriginKind},
        caller::{Accounts, Assertion, Caller, CallerRole, Callers},
        certificate::{Authorities, San},
        token::TokenDigest,
    },
    service::system,
};

use super::{Problems, file::CallerTable};

pub(super) fn check(
    problems: &mut Problems,
    tables: Vec<CallerTable>,
    vouching: Vouching,
) -> Callers {
    let mut callers = match &vouching {
        Vouching::Nobody => Callers::default(),
        Vouching::By(authorities) => Callers::vouched_for_by(Arc::clone(authorities)),
    };
    let mut names = BTreeSet::new();
    if tables.is_empty() {
        problems
            .add("callers", "is missing: without a caller nobody can call; see `aap token new`");
    }
    for (number, table) in tables.into_iter().enumerate() {
        let mut place = Place { problems, path: format!("callers[{number}]") };
        if table.san.is_some() && matches!(vouching, Vouching::Nobody) {
            place
                .add("san", "counts in a certificate that `caller_ca` vouches for: name that file");
        }
        let Some((marks, caller)) = place.check(table) else { continue };
        let caller = Arc::new(caller);
        if !names.insert(Arc::clone(&caller.name)) {
            place.add("name", "is another caller's: give each its own");
        }
        let Marks { token, san } = marks;
        if token.is_some_and(|token| !callers.add(token, Arc::clone(&caller))) {
            place.add("token_sha256", "is another caller's: make a new token");
        }
        if san.is_some_and(|san| !callers.add_by_san(san, caller)) {
            place.add("san", "is another caller's: give each its own");
        }
    }
    callers
}

/// Reads a caller's name, which what the server does by itself doesn't bear.
fn parse_name(text: &str) -> Result<Id, String> {
    if text == system::ACTOR {
        return Err("is what the server calls itself in changes: give another".to_owned());
    }
    Id::parse(text).map_err(|error| error.to_string())
}

/// Who vouches for callers' certificates.
pub(super) enum Vouching {
    /// Nobody does: callers have tokens only.
    Nobody,
    /// These do.
    By(Arc<Authorities>),
}

/// What a caller is known by: one of them at least.
struct Marks {
    token: Option<TokenDigest>,
    san: Option<San>,
}

/// One caller's table, and where it stands.
struct Place<'p> {
    problems: &'p mut Problems,
    path: String,
}

impl Place<'_> {
    fn add(&mut self, key: &str, detail: impl ToString) {
        self.problems.add(format!("{}.{key}", self.path), detail);
    }

    fn keep<T, E: ToString>(&mut self, key: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.add(key, error)).ok()
    }

    fn require<T>(&mut self, key: &str, given: Option<T>, remedy: &str) -> Option<T> {
        self.keep(key, given.ok_or_else(|| format!("is missing: {remedy}")))
    }

    fn check(&mut self, table: CallerTable) -> Option<(Marks, Caller)> {
        let CallerTable {
            name,
            token_sha256,
            san,
            role,
            accounts,
            assert_identity,
            origin_networks,
            vpc_ids,
            instances,
            expires,
        } = table;
        let bounds = BoundsTable { origin_networks, vpc_ids, instances };
        let name = self
            .require("name", name, "records and changes bear it")
            .and_then(|name| self.keep("name", parse_name(&name)));
        let marks = self.check_marks(token_sha256, san);
        let role = self
            .require("role", role, ROLES)
            .and_then(|role| self.check_role(&role, assert_identity, bounds));
        let accounts = self
            .require("accounts", accounts, "name accounts, or \"*\" for all")
            .and_then(|accounts| self.check_accounts(&accounts));
        let expires = match expires.map(point_in_time) {
            None => Some(None),
            Some(checked) => self.keep("expires", checked).map(Some),
        };
        if let (Some(CallerRole::Operator), Some(Accounts::Only(_))) = (&role, &accounts) {
            self.add("accounts", "is \"*\" for operators: a backup has all accounts");
            return None;
        }
        let (name, role) = (name?.as_str().into(), role?);
        Some((marks?, Caller { name, role, accounts: accounts?, expires: expires? }))
    }

    fn check_marks(&mut self, token: Option<String>, san: Option<String>) -> Option<Marks> {
        if token.is_none() && san.is_none() {
            let remedy =
                "is missing: `aap token new` makes one; or give the `san` of a certificate";
            self.add("token_sha256", remedy);
            return None;
        }
        let token = token.map(|digest| self.keep("token_sha256", TokenDigest::parse(&digest)));
        let san = san.map(|san| self.keep("san", San::parse(&san)));
        // Given and wrong is not the same as not given.
        match (token, san) {
            (Some(None), _) | (_, Some(None)) => None,
            (token, san) => Some(Marks { token: token.flatten(), san: san.flatten() }),
        }
    }

    fn check_role(
        &mut self,
        role: &str,
        assert_identity: Option<bool>,
        bounds: BoundsTable,
    ) -> Option<CallerRole> {
        let role = match role {
            "admin" => CallerRole::Admin,
            "viewer" => CallerRole::Viewer,
            "auditor" => CallerRole::Auditor,
            "operator" => CallerRole::Operator,
            "enforcer" => {
                let assertion = match assert_identity {
                    Some(true) => Assertion::Allowed,
                    Some(false) | None => Assertion::Forbidden,
                };
                return Some(CallerRole::Enforcer(assertion, self.check_bounds(bounds)?));
            }
            _ => {
                self.add("role", format!("is unknown: {ROLES}"));
                return None;
            }
        };
        let BoundsTable { origin_networks, vpc_ids, instances } = bounds;
        for (key, is_given) in [
            ("assert_identity", assert_identity.is_some()),
            ("origin_networks", origin_networks.is_some()),
            ("vpc_ids", vpc_ids.is_some()),
            ("instances", instances.is_some()),
        ] {
            if is_given {
                self.add(key, "is for enforcers: take it out");
            }
        }
        Some(role)
    }

    /// What isn't bounded may be anything, and an empty list is nothing.
    fn check_bounds(&mut self, table: BoundsTable) -> Option<Bounds> {
        let BoundsTable { origin_networks, vpc_ids, instances } = table;
        let mut bounds = Bounds::NONE;
        let mut is_valid = true;
        if let Some(kinds) = origin_networks {
            let kinds: Result<_, _> = kinds.iter().map(|text| OriginKind::parse(text)).collect();
            bounds.origin_networks = self.keep("origin_networks", kinds);
            is_valid &= bounds.origin_networks.is_some();
        }
        if let Some(ids) = vpc_ids {
            let bound = bounds.bound_vpc_ids(&ids);
            let bound = bound.map_err(|(place, error)| format!("has, at {place}, what {error}"));
            is_valid &= self.keep("vpc_ids", bound).is_some();
        }
        if let Some(names) = instances {
            let bound = bounds.bound_instances(&names);
            let bound = bound.map_err(|(place, error)| format!("has, at {place}, what {error}"));
            is_valid &= self.keep("instances", bound).is_some();
        }
        is_valid.then_some(bounds)
    }

    fn check_accounts(&mut self, accounts: &[String]) -> Option<Accounts> {
        match accounts {
            [] => {
                self.add("accounts", "is empty: name accounts, or \"*\" for all");
                None
            }
            [all] if all == "*" => Some(Accounts::All),
            some => {
                let ids: Result<BTreeSet<_>, _> = some.iter().map(|text| Id::parse(text)).collect();
                let ids =
                    ids.map_err(|error| format!("has an account that {error}; `*` stands alone"));
                self.keep("accounts", ids).map(Accounts::Only)
            }
        }
    }
}

/// What an enforcer may vouch for, as it is written.
struct BoundsTable {
    origin_networks: Option<Vec<String>>,
    vpc_ids: Option<Vec<String>>,
    instances: Option<Vec<String>>,
}

const ROLES: &str = "write \"admin\", \"viewer\", \"enforcer\", \"auditor\" or \"operator\"";

/// The point that an RFC 3339 time names: TOML has these, and parts of them.
fn point_in_time(written: Datetime) -> Result<UnixNanos, &'static str> {
    const WANTED: &str =
        "must be a day, a time and an offset, such as 2030-01-31T00:00:00Z, without quotes";
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = written else {
        return Err(WANTED);
    };
    let toml::value::Date { year, month, day } = date;
    let toml::value::Time { hour, minute, second, nanosecond } = time;
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let minutes = i64::from(hour) * 60 + i64::from(minute) - offset_minutes;
    let seconds = minutes * 60 + i64::from(second.unwrap_or_default());
    let start = UnixNanos::start_of(Date { year, month, day }).ok_or(WANTED)?;
    let UnixNanos(nanos) = start.plus_seconds(seconds);
    Ok(UnixNanos(nanos.saturating_add(i64::from(nanosecond.unwrap_or_default()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_same_point_whatever_its_offset() {
        let noon = 1_893_499_200_000_000_000;
        for (written, nanos) in [
            ("2030-01-01T12:00:00Z", noon),
            ("2030-01-01 12:00:00z", noon),
            ("2030-01-01T13:30:00+01:30", noon),
            ("2029-12-31T22:00:00-14:00", noon),
            ("2030-01-01T12:00:00.000000001Z", noon + 1),
            ("9999-12-31T23:59:59Z", i64::MAX),
            ("0001-01-01T00:00:00Z", i64::MIN),
        ] {
            assert_eq!(point_in_time(written.parse().unwrap()), Ok(UnixNanos(nanos)), "{written}");
        }
        for part in ["2030-01-01", "12:00:00", "2030-01-01T12:00:00"] {
            assert!(point_in_time(part.parse().unwrap()).is_err(), "{part}");
        }
    }
}
