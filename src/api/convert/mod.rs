//! Messages to the domain's types and back, one file a noun.
//!
//! What comes in is destructured field by field, so that a new field doesn't compile until somebody
//! decides about it; and all that is wrong with a request is said at once.

pub mod access_point;
pub mod audit;
pub mod audit_cursor;
pub mod audit_filter;
pub mod change;
pub mod change_proofs;
pub mod check;
pub mod client_key;
pub mod decision;
pub mod mask;
pub mod mutation;
pub mod network_rule;
pub mod page;
pub mod policy;
pub mod proofs;
pub mod ram_role;

use prost_types::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        name::{AccountName, Id, Location},
        request::{Fingerprint, RequestId, RequestMark},
        resource::{Description, Header},
        time::UnixNanos,
    },
    service::management::Manner,
    store::writer::Mode,
};

use super::status::ApiError;
use mutation::Repeatable;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it, as a sentence that the field's name begins.
    pub description: String,
}

/// Collects what is wrong with a request.
#[derive(Debug, Default)]
pub struct Violations {
    noted: Vec<Violation>,
    /// How many more there are than are noted.
    more: usize,
}

impl Violations {
    /// The most that are noted; the others are only counted. An answer has room for fewer.
    const MAX_NOTED: usize = 1_000;

    /// Notes that a field is wrong.
    pub fn add(&mut self, field: impl Into<String>, description: impl ToString) {
        if self.noted.len() < Self::MAX_NOTED {
            let description = description.to_string();
            self.noted.push(Violation { field: field.into(), description });
        } else {
            self.more += 1;
        }
    }

    /// Has a part of the request parsed; its path is put before the fields noted meanwhile. The path
    /// is only made where something is wrong.
    pub fn within<T>(
        &mut self,
        path: impl Fn() -> String,
        parse: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.noted.len();
        let parsed = parse(self);
        for violation in self.noted.iter_mut().skip(before) {
            violation.field.insert_str(0, &path());
        }
        parsed
    }

    /// What was noted.
    pub fn noted(&self) -> &[Violation] {
        &self.noted
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.noted.len() + self.more
    }

    /// Keeps what was parsed, or notes why it wasn't.
    pub fn keep<T, E: ToString>(
        &mut self,
        field: impl Into<String>,
        parsed: Result<T, E>,
    ) -> Option<T> {
        parsed.map_err(|error| self.add(field, error)).ok()
    }

    /// Keeps what was given, or notes that it is missing.
    pub fn require<T>(&mut self, field: &str, given: Option<T>) -> Option<T> {
        if given.is_none() {
            self.add(field, "is required");
        }
        given
    }

    /// Parses each of a list.
    pub fn keep_all<I, T, E: ToString>(
        &mut self,
        field: &str,
        items: impl IntoIterator<Item = I>,
        parse: impl Fn(I) -> Result<T, E>,
    ) -> Vec<T> {
        let items = items.into_iter().enumerate();
        items
            .filter_map(|(place, item)| self.keep(format!("{field}[{place}]"), parse(item)))
            .collect()
    }

    /// What was made of the request, if nothing is wrong with it.
    pub fn finish<T>(self, made: Option<T>) -> Result<T, ApiError> {
        match made {
            Some(made) if self.noted.is_empty() => Ok(made),
            _ => Err(ApiError::Invalid(self)),
        }
    }
}

/// Parses what the account in it is needed of before anything else.
pub fn parse_first<T, E: ToString>(field: &str, parsed: Result<T, E>) -> Result<T, ApiError> {
    let mut violations = Violations::default();
    let kept = violations.keep(field, parsed);
    violations.finish(kept)
}

/// Parses the place that something is to be created in.
pub fn parse_parent(parent: &str) -> Result<Location, ApiError> {
    parse_first("parent", Location::parse(parent))
}

/// Parses the account that something is to be created in.
pub fn parse_account(parent: &str) -> Result<AccountName, ApiError> {
    parse_first("parent", AccountName::parse(parent))
}

/// What every request for a change has.
#[derive(Debug)]
pub struct Repetition {
    /// The method called.
    method: &'static str,
    /// The request's id, or nothing.
    request_id: String,
    /// A digest of the rest.
    fingerprint: Fingerprint,
    /// Whether it only is to be judged.
    validate_only: bool,
}

impl Repetition {
    /// Notes how a request may be repeated, and takes its id out of it.
    pub fn of<R: Repeatable>(request: &mut R) -> Self {
        let (request_id, validate_only) = (request.take_request_id(), request.validate_only());
        let digest = ring::digest::digest(&ring::digest::SHA256, &request.encode_to_vec());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest.as_ref());
        let fingerprint = Fingerprint(fingerprint);
        Self { method: R::METHOD, request_id, fingerprint, validate_only }
    }

    /// The manner in which the change is to be made.
    pub fn manner(self, violations: &mut Violations) -> Option<Manner> {
        let Self { method, request_id, fingerprint, validate_only } = self;
        let mode = if validate_only { Mode::ValidateOnly } else { Mode::Apply };
        if request_id.is_empty() {
            return Some(Manner { mark: None, mode });
        }
        let id = violations.keep("request_id", RequestId::parse(&request_id))?;
        let mark = RequestMark { id, method: method.into(), fingerprint };
        // What changes nothing is not remembered.
        Some(Manner { mark: (mode == Mode::Apply).then_some(mark), mode })
    }
}

/// Parses the etag of a request, which may be absent.
pub fn parse_etag(etag: &str) -> Option<Box<str>> {
    (!etag.is_empty()).then(|| etag.into())
}

/// Checks that the name inside a resource to be created, if there is one, is the one that it gets.
pub fn check_inner_name(violations: &mut Violations, field: &str, given: &str, made: &str) {
    if !given.is_empty() && given != made {
        violations.add(field, format!("must be empty or `{made}`"));
    }
}

/// Parses an id that is chosen for something to be created.
pub fn parse_id(violations: &mut Violations, field: &str, id: &str) -> Option<Id> {
    violations.keep(field, Id::parse(id))
}

/// Parses a UUID, which may be absent.
pub fn parse_uuid(violations: &mut Violations, field: &str, text: &str) -> Option<Option<Uuid>> {
    if text.is_empty() {
        return Some(None);
    }
    let parsed = Uuid::parse_str(text).ok();
    if parsed.is_none() {
        violations.add(field, "must be a UUID");
    }
    parsed.map(Some)
}

/// Parses a description.
pub fn parse_description(
    violations: &mut Violations,
    field: &str,
    description: &str,
) -> Option<Description> {
    violations.keep(field, Description::parse(description))
}

/// A time as it is sent.
pub fn timestamp(time: UnixNanos) -> Timestamp {
    let nanos = i32::try_from(time.subsecond_nanos()).unwrap_or_default();
    Timestamp { seconds: time.seconds(), nanos }
}

/// What every resource has, as it is sent.
#[derive(Debug, Default)]
pub struct SentHeader {
    /// Its uid.
    pub uid: String,
    /// Its etag.
    pub etag: String,
    /// Its revision.
    pub revision: u64,
    /// When it was created.
    pub create_time: Option<Timestamp>,
    /// When it was changed last.
    pub update_time: Option<Timestamp>,
}

impl SentHeader {
    /// The header of something that exists.
    pub fn of(header: &Header) -> Self {
        Self {
            uid: header.uid.to_string(),
            etag: header.etag().to_string(),
            revision: header.revision,
            create_time: Some(timestamp(header.create_time)),
            update_time: Some(timestamp(header.update_time)),
        }
    }

    /// The header of what was made in a mode: what was only judged has none.
    pub fn made_in(mode: Mode, header: &Header) -> Self {
        match mode {
            Mode::Apply => Self::of(header),
            Mode::ValidateOnly => Self::default(),
        }
    }
}
