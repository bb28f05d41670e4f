//! A refusal as a caller reads it: code, reason, metadata and details.

use std::{collections::BTreeMap, fmt, fmt::Write as _, time::Duration};

use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetail, StatusExt};

/// An error of the API, taken apart. Making one asserts that it has the form that every error has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub reason: String,
    pub message: String,
    pub metadata: BTreeMap<String, String>,
    /// Field and description.
    pub fields: Vec<(String, String)>,
    /// Type, subject and description.
    pub preconditions: Vec<(String, String, String)>,
    /// Type and name.
    pub resource: Option<(String, String)>,
    pub retry_after: Option<Duration>,
}

/// Takes apart how a call was refused.
#[track_caller]
pub fn refused<T: fmt::Debug>(answer: Result<Response<T>, Status>) -> Refusal {
    Refusal::of(&answer.unwrap_err())
}

impl Refusal {
    #[track_caller]
    pub fn of(status: &Status) -> Self {
        let mut refusal = Self {
            code: status.code(),
            reason: String::new(),
            message: status.message().to_owned(),
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            preconditions: Vec::new(),
            resource: None,
            retry_after: None,
        };
        let details = status.check_error_details_vec().unwrap();
        let infos = details.iter().filter(|detail| matches!(detail, ErrorDetail::ErrorInfo(_)));
        assert_eq!(infos.count(), 1, "an error has one ErrorInfo: {status:?}");
        for detail in details {
            refusal.take(detail);
        }
        refusal
    }

    fn take(&mut self, detail: ErrorDetail) {
        match detail {
            ErrorDetail::ErrorInfo(info) => {
                assert_eq!(info.domain, "aap");
                self.reason = info.reason;
                self.metadata = info.metadata.into_iter().collect();
            }
            ErrorDetail::BadRequest(bad) => {
                let fields = bad.field_violations.into_iter();
                self.fields = fields.map(|one| (one.field, one.description)).collect();
            }
            ErrorDetail::PreconditionFailure(failure) => {
                let all = failure.violations.into_iter();
                self.preconditions =
                    all.map(|one| (one.r#type, one.subject, one.description)).collect();
            }
            ErrorDetail::ResourceInfo(info) => {
                self.resource = Some((info.resource_type, info.resource_name));
            }
            ErrorDetail::RetryInfo(info) => self.retry_after = info.retry_delay,
            other => panic!("no error has {other:?}"),
        }
    }

    /// Asserts code and reason.
    #[track_caller]
    pub fn is(&self, code: Code, reason: &str) -> &Self {
        let reason = format!("ERROR_REASON_{reason}");
        assert_eq!((self.code, &self.reason), (code, &reason), "{self}");
        self
    }

    /// Asserts an entry of the metadata.
    #[track_caller]
    pub fn has(&self, key: &str, value: &str) -> &Self {
        assert_eq!(self.metadata.get(key).map(String::as_str), Some(value), "{self}");
        self
    }

    /// The paths of the invalid fields.
    pub fn paths(&self) -> Vec<&str> {
        self.fields.iter().map(|(path, _)| path.as_str()).collect()
    }

    /// The subjects of the preconditions.
    pub fn subjects(&self) -> Vec<&str> {
        self.preconditions.iter().map(|(_, subject, _)| subject.as_str()).collect()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.strip_prefix("ERROR_REASON_").unwrap_or(&self.reason);
        writeln!(f, "{} {reason}", canonical_name(self.code))?;
        writeln!(f, "  {}", self.message)?;
        let mut rest = String::new();
        for (key, value) in &self.metadata {
            writeln!(rest, "  {key} = {value}")?;
        }
        for (field, description) in &self.fields {
            writeln!(rest, "  - {field}: {description}")?;
        }
        for (kind, subject, description) in &self.preconditions {
            writeln!(rest, "  - {kind} {subject}: {description}")?;
        }
        if let Some((kind, name)) = &self.resource {
            writeln!(rest, "  about {kind} {name}")?;
        }
        if let Some(delay) = self.retry_after {
            writeln!(rest, "  retry after {delay:?}")?;
        }
        f.write_str(&rest)
    }
}

/// The code as specifications write it.
fn canonical_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}
