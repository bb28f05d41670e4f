//! The client key that the application gets, and where it goes. Asked before anything is created, so
//! that nothing is asked afterwards.

use std::path::{Path, PathBuf};

use prost_types::Timestamp;

use crate::{
    api::{
        convert::{Violations, client_key::parse_validity},
        pb,
    },
    cli::{failure::Failure, manage::issuing::Places},
    clock::Clock,
};

use super::{Given, Wizard, invalid, refuse};

/// A key to issue.
#[derive(Debug)]
pub(super) struct Wanted {
    to: PathBuf,
    password_to: Option<PathBuf>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

impl Wizard<'_> {
    /// The key that is to be issued, if any is.
    pub(super) fn client_key(&mut self, id: &str) -> anyhow::Result<Option<Wanted>> {
        self.questions.heading("3. Client key: how it shows who it is");
        self.questions.say("The server makes it, and keeps only its public half.");
        if !self.questions.is_it("Issue one now", "yes")? {
            return Ok(None);
        }
        let default = format!("{id}.json");
        let to = self.questions.ask("File to write it to", Some(&default), new_path)?;
        let question = "File to write its password to (Enter: it is shown here, once)";
        let password_to = self.questions.ask_optional(question, |text| match text {
            "" => Ok(None),
            text if Path::new(text) == to => Err(invalid("that is the file of the key")),
            text => new_path(text).map(Some),
        })?;
        let question = "Valid from, such as 2030-01-31T12:00:00Z (Enter: now)";
        let not_before = self.questions.ask_optional(question, time)?;
        let (question, default) = match not_before {
            None => ("Valid until (Enter: for five years)", Some("")),
            Some(_) => ("Valid until", None),
        };
        let not_after = self.questions.ask(question, default, |text| {
            let until = time(text)?;
            judge(with_start(not_before, until), text)?;
            Ok(until)
        })?;
        Ok(Some(Wanted { to, password_to, not_before, not_after }))
    }
}

impl Wanted {
    /// Makes the files that it goes to.
    pub(super) fn make_places(&self) -> anyhow::Result<Places> {
        Places::make(&self.to, None, self.password_to.as_deref())
    }

    pub(super) fn request(&self, access_point: &str) -> pb::IssueClientKeyRequest {
        let (not_before_time, not_after_time) = with_start(self.not_before, self.not_after);
        pb::IssueClientKeyRequest {
            parent: access_point.to_owned(),
            not_before_time,
            not_after_time,
            ..Default::default()
        }
    }

    /// What a review has of it.
    pub(super) fn lines(&self) -> Vec<(&'static str, Vec<String>)> {
        let password = match &self.password_to {
            None => "shown here, once".to_owned(),
            Some(path) => format!("to `{}`", path.display()),
        };
        let time = |time: Option<Timestamp>, else_: &str| {
            vec![time.map_or(else_.to_owned(), |time| time.to_string())]
        };
        vec![
            ("file", vec![format!("`{}`", self.to.display())]),
            ("password", vec![password]),
            ("valid from", time(self.not_before, "now")),
            ("valid until", time(self.not_after, "in five years")),
        ]
    }

    /// How to have it issued by itself.
    pub(super) fn command(&self, id: &str) -> String {
        format!("aap client-key issue {id} --to {}", self.to.display())
    }
}

/// The path of a file that can be made.
fn new_path(text: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(text);
    if path.symlink_metadata().is_ok() {
        let remedy = "a secret is never written over a file: name another one".to_owned();
        return Err(Failure::invalid(format!("`{text}` is there already"), vec![remedy]).into());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if path.file_name().is_none() || !directory.unwrap_or(Path::new(".")).is_dir() {
        return Err(invalid(format!("`{text}` is in no directory that is there")));
    }
    Ok(path)
}

fn time(text: &str) -> anyhow::Result<Option<Timestamp>> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = text.parse().map_err(|_| invalid(format!("`{text}` is no time")))?;
    Ok(Some(time))
}

/// A key whose end is given begins now, if nothing else is said.
fn with_start(
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let now = || Timestamp { seconds: Clock::system().now().seconds(), nanos: 0 };
    (not_before.or_else(|| not_after.map(|_| now())), not_after)
}

fn judge(times: (Option<Timestamp>, Option<Timestamp>), text: &str) -> anyhow::Result<()> {
    let mut violations = Violations::default();
    let _ = parse_validity(&mut violations, Clock::system().now(), times);
    refuse(&violations, "not_after_time", Given::Text(text))
}
