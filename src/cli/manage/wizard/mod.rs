//! `aap access-point create` without flags on a terminal: an access point, step by step, with the
//! policies, network rules and the client key that it needs.
//!
//! Each answer is judged by the rules that the server judges by, at its question. Everything that is
//! created is created at once, by one `ApplyChanges` behind a review of it; before that there is
//! nothing that would have to be undone.

mod client_key;
mod method;
mod network_rules;
mod policies;
mod questions;
mod review;

use crate::{
    api::{
        convert::{Violation, Violations, mutation::Mutation},
        pb,
    },
    domain::name::Location,
};

use super::{
    super::{
        failure::{Exit, Failure},
        output::clean,
        remote::{Place, Target, block_on},
        resource::{Filter, Kind, Resource, short, split},
    },
    Manner,
};
use questions::Questions;

pub(in crate::cli) use questions::can_ask;

/// How many of a kind are shown to choose from; others can be named.
const SHOWN: i32 = 20;

/// What has been said so far.
struct Wizard<'a> {
    questions: Questions,
    there: There<'a>,
    /// The network rules to create.
    rules: Vec<pb::NetworkRule>,
    /// The policies to create.
    policies: Vec<pb::Policy>,
}

/// What there is already, where the access point is to be.
struct There<'a> {
    target: &'a Target,
    place: Place,
    location: String,
}

/// Leads through all that it takes.
pub(super) fn run(name: Option<&str>, description: &str, manner: &Manner) -> anyhow::Result<()> {
    let target = manner.common.remote.target()?;
    let there = There::at(&target, name)?;
    let questions = Questions::on_terminal();
    let mut wizard = Wizard { questions, there, rules: Vec::new(), policies: Vec::new() };
    let access_point = wizard.access_point(name, description)?;
    let key = match access_point.authentication {
        Some(pb::access_point::Authentication::ClientKey(_)) if !manner.validate_only => {
            wizard.client_key(short(&access_point.name))?
        }
        _ => None,
    };
    wizard.review(access_point, key, manner)
}

impl Wizard<'_> {
    fn access_point(
        &mut self,
        name: Option<&str>,
        description: &str,
    ) -> anyhow::Result<pb::AccessPoint> {
        let location = self.there.location.clone();
        self.questions.say(&format!("An access point in {location}, step by step."));
        self.questions
            .say("Enter takes what stands in brackets. Ctrl-C ends this at any time, and");
        self.questions.say("nothing is created before the review is confirmed.");
        self.questions.heading("1. Name and authentication");
        let name = self.new_name(Kind::AccessPoint, "Name", name)?;
        let description = match description {
            "" => self.description(Kind::AccessPoint, "Description (Enter: none)", None)?,
            given => self.description(Kind::AccessPoint, "Description", Some(given))?,
        };
        let authentication = Some(self.method()?);
        self.questions.heading("2. Policies: what it may do");
        let policies = self.choose_policies()?;
        Ok(pb::AccessPoint { name, description, authentication, policies, ..Default::default() })
    }

    /// The full name of something that isn't there yet.
    fn new_name(
        &mut self,
        kind: Kind,
        question: &str,
        default: Option<&str>,
    ) -> anyhow::Result<String> {
        let Self { questions, there, rules, policies } = self;
        questions.ask(question, default, |text| {
            let name = there.name(kind, text)?;
            judge_named(kind, "_id", &name, "")?;
            let word = kind.word();
            let is_new = rules.iter().map(|rule| &rule.name);
            let mut is_new = is_new.chain(policies.iter().map(|policy| &policy.name));
            if is_new.any(|new| *new == name) {
                return Err(invalid(format!("the {word} `{text}` is described already")));
            }
            if there.find(kind, name.clone())?.is_some() {
                return Err(invalid(format!("the {word} `{text}` is there already")));
            }
            Ok(name)
        })
    }

    fn description(
        &mut self,
        kind: Kind,
        question: &str,
        default: Option<&str>,
    ) -> anyhow::Result<String> {
        let name = self.there.name(kind, "any")?;
        self.questions.ask(question, Some(default.unwrap_or_default()), |text| {
            judge_named(kind, ".description", &name, text)?;
            Ok(text.to_owned())
        })
    }
}

impl<'a> There<'a> {
    /// Where a full name says, or else where short names are.
    fn at(target: &'a Target, name: Option<&str>) -> anyhow::Result<Self> {
        let location = match name.filter(|name| name.starts_with("accounts/")) {
            Some(name) => split(name).0,
            None => target.place.location()?,
        };
        let parsed = Location::parse(&location).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { target, place: Place::of(&parsed), location })
    }

    /// The full name of something that is there, or is to be, of its short or its full name.
    fn name(&self, kind: Kind, text: &str) -> anyhow::Result<String> {
        let (name, parent) = (kind.name(&self.place, text)?, kind.parent(&self.place)?);
        if split(&name).0 != parent {
            return Err(invalid(format!("`{text}` must be in `{parent}`")));
        }
        Ok(name)
    }

    fn find(&self, kind: Kind, name: String) -> anyhow::Result<Option<Resource>> {
        let found = block_on(async { kind.get(&self.target.connect().await?, name).await });
        match found {
            Err(error) if Failure::exit_of(&error) == Exit::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Some of a kind, and whether there are more.
    fn some(&self, kind: Kind, filter: &Filter) -> anyhow::Result<(Vec<Resource>, bool)> {
        let parent = kind.parent(&self.place)?;
        block_on(async {
            kind.list_some(&self.target.connect().await?, &parent, filter, SHOWN).await
        })
    }
}

fn invalid(message: impl Into<String>) -> anyhow::Error {
    Failure::invalid(message, Vec::new()).into()
}

/// Judges what every kind has: its id, by the field `…_id`, and its `….description`.
fn judge_named(kind: Kind, field: &str, name: &str, description: &str) -> anyhow::Result<()> {
    let ((parent, id), description) = (split(name), description.to_owned());
    let text = id.clone();
    let given = if field == "_id" { Given::Text(&text) } else { Given::Untold };
    match kind {
        Kind::NetworkRule => {
            let network_rule = Some(pb::NetworkRule { description, ..Default::default() });
            let network_rule_id = id;
            let request = pb::CreateNetworkRuleRequest {
                parent,
                network_rule_id,
                network_rule,
                ..Default::default()
            };
            judge(request, &format!("network_rule{field}"), given)
        }
        Kind::Policy => {
            let policy = Some(pb::Policy { description, ..Default::default() });
            let request =
                pb::CreatePolicyRequest { parent, policy_id: id, policy, ..Default::default() };
            judge(request, &format!("policy{field}"), given)
        }
        Kind::AccessPoint => {
            let access_point = Some(pb::AccessPoint { description, ..Default::default() });
            let access_point_id = id;
            let request = pb::CreateAccessPointRequest {
                parent,
                access_point_id,
                access_point,
                ..Default::default()
            };
            judge(request, &format!("access_point{field}"), given)
        }
        Kind::RamRole => Ok(()),
    }
}

/// What was given for a field, to tell what is wrong with it.
#[derive(Clone, Copy)]
enum Given<'a> {
    Text(&'a str),
    List(&'a [String]),
    /// What is wrong says it, or it is too long to be told again.
    Untold,
}

/// Judges one field of a request that is made so far, as the server would.
fn judge(request: impl Mutation, field: &str, given: Given<'_>) -> anyhow::Result<()> {
    let mut violations = Violations::default();
    request.parse(&mut violations);
    refuse(&violations, field, given)
}

/// Says what is wrong with a field, if anything is.
fn refuse(violations: &Violations, field: &str, given: Given<'_>) -> anyhow::Result<()> {
    let line = |Violation { field: wrong, description }: &Violation| {
        let place = wrong.strip_prefix(field)?.trim_matches(['[', ']']).parse::<usize>();
        let about = match (given, place) {
            (Given::Text(text), _) => format!("`{}` ", clean(text)),
            (Given::List(parts), Ok(place)) => {
                parts.get(place).map(|part| format!("`{}` ", clean(part))).unwrap_or_default()
            }
            (Given::List(_), Err(_)) => "this list ".to_owned(),
            (Given::Untold, _) => String::new(),
        };
        Some(format!("{about}{description}"))
    };
    let mut lines = violations.noted().iter().filter_map(line);
    match lines.next() {
        None => Ok(()),
        Some(first) => Err(Failure::invalid(first, lines.collect()).into()),
    }
}
