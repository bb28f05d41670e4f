//! A role's trust policy: the document as an operator imports it, and whom it trusts as far as that
//! is certain.
//!
//! What isn't understood never trusts, and what could deny does. Reading a document otherwise than
//! today decides otherwise, so that is a new version of the rules.

use std::{fmt, sync::Arc};

use super::{
    access_point::TrustedRole,
    json::{Json, shown},
};

/// What a role's trust policy must allow.
const ASSUME_ROLE: &str = "sts:AssumeRole";
/// The only version of the language.
const VERSION: &str = "1";

/// A trust policy: its text, and what is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    text: Arc<str>,
    reading: Arc<Reading>,
}

#[derive(Debug, PartialEq, Eq)]
struct Reading {
    ecs: Trust,
    function_compute: Trust,
    /// Services that an Allow lets in, or could.
    let_in: Vec<TrustedService>,
    further_principals: Box<[Box<str>]>,
}

/// Whether a role may be assumed by a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// An Allow names the service, and no Deny could apply.
    Trusted,
    /// Something stands in the way.
    Untrusted(Obstacle),
}

/// What stands in the way of trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The element of the document, such as `Statement[0].Condition`.
    pub element: Box<str>,
    /// What is the matter with it.
    pub problem: Problem,
}

/// What is the matter with an element of a trust policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It must be there.
    Missing,
    /// Its meaning, or its value's, isn't known here.
    NotUnderstood,
    /// It denies, or could.
    Denies,
    /// It allows something, but not this, or not by its name.
    NotNamed(&'static str),
}

/// A service that a role can trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedService {
    /// Elastic Compute Service.
    Ecs,
    /// Function Compute.
    FunctionCompute,
}

/// Why a text is no trust policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrustPolicy {
    /// It is too long.
    #[error("must have at most {} bytes", TrustPolicy::MAX_BYTES)]
    Length,
    /// It can't be read.
    #[error("must be JSON: {0}")]
    Syntax(String),
    /// It is something else.
    #[error("must be a JSON object")]
    NotAnObject,
}

impl TrustedRole {
    /// The service that the environment's role must trust.
    pub fn service(self) -> TrustedService {
        match self {
            Self::EcsInstance | Self::AckWorker => TrustedService::Ecs,
            Self::FunctionCompute => TrustedService::FunctionCompute,
        }
    }
}

impl TrustedService {
    const ALL: [Self; 2] = [Self::Ecs, Self::FunctionCompute];

    /// Its name as a principal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecs => "ecs.aliyuncs.com",
            Self::FunctionCompute => "fc.aliyuncs.com",
        }
    }
}

impl TrustPolicy {
    /// The most bytes that a document has: the platform's own limit for policies.
    pub const MAX_BYTES: usize = 6_144;

    /// Reads a document. Any JSON object is one, also one that trusts nobody.
    pub fn parse(text: &str) -> Result<Self, InvalidTrustPolicy> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidTrustPolicy::Length);
        }
        match Json::parse(text).map_err(InvalidTrustPolicy::Syntax)? {
            Json::Object(members) => {
                let reading =
                    Arc::new(Reading::of(&Element { path: String::new(), members: &members }));
                Ok(Self { text: text.into(), reading })
            }
            Json::Text(_) | Json::List(_) | Json::Other => Err(InvalidTrustPolicy::NotAnObject),
        }
    }

    /// The document as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it trusts the service behind an environment.
    pub fn trust(&self, trusted_role: TrustedRole) -> &Trust {
        match trusted_role.service() {
            TrustedService::Ecs => &self.reading.ecs,
            TrustedService::FunctionCompute => &self.reading.function_compute,
        }
    }

    /// Whether an Allow lets another service in than the one behind an environment, or could: what is
    /// written too widely to trust it by may be enough for the platform.
    pub fn could_let_in_another(&self, trusted_role: TrustedRole) -> bool {
        self.reading.let_in.iter().any(|service| *service != trusted_role.service())
    }

    /// Who else may assume the role, as far as the document is understood.
    pub fn further_principals(&self) -> impl Iterator<Item = &str> {
        self.reading.further_principals.iter().map(AsRef::as_ref)
    }
}

impl Trust {
    /// Whether nothing stands in the way.
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::Trusted)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.element, self.problem)
    }
}

impl fmt::Display for Problem {
    /// A sentence that the element's name begins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::NotUnderstood => f.write_str("isn't understood"),
            Self::Denies => f.write_str("denies it, or could"),
            Self::NotNamed(name) => write!(f, "doesn't name `{name}`"),
        }
    }
}

impl Reading {
    fn of(document: &Element<'_>) -> Self {
        let statements = match document.statements() {
            Ok(statements) => statements,
            Err(obstacle) => {
                let untrusted = Trust::Untrusted(obstacle);
                return Self {
                    ecs: untrusted.clone(),
                    function_compute: untrusted,
                    let_in: Vec::new(),
                    further_principals: Box::default(),
                };
            }
        };
        let is_let_in =
            |service: &TrustedService| statements.iter().any(|one| one.could_let(*service));
        let further = statements.iter().flat_map(Statement::further_principals);
        Self {
            ecs: trust(&statements, TrustedService::Ecs),
            function_compute: trust(&statements, TrustedService::FunctionCompute),
            let_in: TrustedService::ALL.into_iter().filter(is_let_in).collect(),
            further_principals: super::distinct::distinct(further).into(),
        }
    }
}

/// Whether understood statements trust a service: one allows it by name, and none could deny it.
fn trust(statements: &[Statement<'_>], service: TrustedService) -> Trust {
    let untrusted =
        |element: String, problem| Trust::Untrusted(Obstacle { element: element.into(), problem });
    let denies = |one: &&Statement<'_>| {
        one.effect == Effect::Deny
            && one.covers_action() != Extent::Apart
            && one.covers(service) != Extent::Apart
    };
    if let Some(denying) = statements.iter().find(denies) {
        return untrusted(denying.path(), Problem::Denies);
    }
    // Where none allows it, the one that came nearest is named.
    let mut nearest = ("Statement".to_owned(), Problem::NotNamed(service.name()));
    for allowing in statements.iter().filter(|one| one.effect == Effect::Allow) {
        match (allowing.covers_action(), allowing.covers(service)) {
            (Extent::Named, Extent::Named) => return Trust::Trusted,
            (_, Extent::Named) => {
                let action = format!("{}.Action", allowing.path());
                nearest = (action, Problem::NotNamed(ASSUME_ROLE));
            }
            (Extent::Named, _) if nearest.0 == "Statement" => {
                nearest.0 = format!("{}.Principal", allowing.path());
            }
            _ => {}
        }
    }
    untrusted(nearest.0, nearest.1)
}

/// A statement of which every element is understood.
struct Statement<'a> {
    place: usize,
    effect: Effect,
    actions: Vec<&'a str>,
    services: Vec<&'a str>,
    /// Principals of other kinds.
    others: Vec<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// Whether what a text stands for includes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// It is its name, letter for letter.
    Named,
    /// It may: it has a wildcard, or is written in a way that isn't known here. Not enough for an
    /// Allow, and too much for a Deny.
    Unclear,
    /// It stands for something else.
    Apart,
}

impl Statement<'_> {
    fn path(&self) -> String {
        format!("Statement[{}]", self.place)
    }

    fn covers_action(&self) -> Extent {
        widest(self.actions.iter().map(|text| extent(text, ASSUME_ROLE, b":")))
    }

    fn covers(&self, service: TrustedService) -> Extent {
        let services = self.services.iter().map(|text| extent(text, service.name(), b".-"));
        // A principal of another kind is no service, but a wildcard might be anybody.
        let others = self
            .others
            .iter()
            .map(|text| if is_plain(text, b":/._@=+,-") { Extent::Apart } else { Extent::Unclear });
        widest(services.chain(others))
    }

    /// Whether it lets a service assume the role, or could.
    fn could_let(&self, service: TrustedService) -> bool {
        self.effect == Effect::Allow
            && self.covers_action() != Extent::Apart
            && self.covers(service) != Extent::Apart
    }

    /// Whom it lets assume the role, besides the services that roles are trusted for.
    fn further_principals(&self) -> Vec<Box<str>> {
        if self.effect == Effect::Deny || self.covers_action() == Extent::Apart {
            return Vec::new();
        }
        let is_known = |name: &&&str| TrustedService::ALL.iter().any(|one| one.name() == **name);
        let services = self.services.iter().filter(|name| !is_known(name));
        services.chain(&self.others).map(|name| shown(name).into()).collect()
    }
}

/// What a text says about a name; `signs` are what texts of its kind have besides letters and digits.
fn extent(text: &str, name: &str, signs: &[u8]) -> Extent {
    if text == name {
        Extent::Named
    } else if is_plain(text, signs) && !text.eq_ignore_ascii_case(name) {
        Extent::Apart
    } else {
        Extent::Unclear
    }
}

/// Whether a text is written as names of its kind are, so that it can only stand for itself.
fn is_plain(text: &str, signs: &[u8]) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || signs.contains(&byte);
    !text.is_empty() && text.bytes().all(is_known)
}

fn widest(extents: impl Iterator<Item = Extent>) -> Extent {
    extents.fold(Extent::Apart, |widest, extent| match (widest, extent) {
        (Extent::Named, _) | (_, Extent::Named) => Extent::Named,
        (Extent::Unclear, _) | (_, Extent::Unclear) => Extent::Unclear,
        (Extent::Apart, Extent::Apart) => Extent::Apart,
    })
}

/// An object in a document, and where it stands.
struct Element<'a> {
    path: String,
    members: &'a [(Box<str>, Json)],
}

impl<'a> Element<'a> {
    /// The statements of a document, if all of it is understood.
    fn statements(&self) -> Result<Vec<Statement<'a>>, Obstacle> {
        self.has_only(&["Version", "Statement"])?;
        match self.member("Version")? {
            Json::Text(version) if **version == *VERSION => {}
            _ => return Err(not_understood(self.path_of("Version"))),
        }
        let Json::List(statements) = self.member("Statement")? else {
            return Err(not_understood(self.path_of("Statement")));
        };
        statements.iter().enumerate().map(|(place, json)| statement(place, json)).collect()
    }

    fn member(&self, name: &str) -> Result<&'a Json, Obstacle> {
        let found = self.members.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value).ok_or_else(|| Obstacle {
            element: self.path_of(name).into(),
            problem: Problem::Missing,
        })
    }

    /// One text, or a list of at least one.
    fn texts(&self, name: &str) -> Result<Vec<&'a str>, Obstacle> {
        let path = || self.path_of(name);
        match self.member(name)? {
            Json::Text(text) => Ok(vec![text]),
            Json::List(items) if !items.is_empty() => {
                let text = |(place, item): (usize, &'a Json)| match item {
                    Json::Text(text) => Ok(&**text),
                    _ => Err(not_understood(format!("{}[{place}]", path()))),
                };
                items.iter().enumerate().map(text).collect()
            }
            _ => Err(not_understood(path())),
        }
    }

    /// Makes sure that nothing is in it that isn't understood.
    fn has_only(&self, known: &[&str]) -> Result<(), Obstacle> {
        match self.members.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) => Err(not_understood(self.path_of(name))),
            None => Ok(()),
        }
    }

    fn path_of(&self, name: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.path, shown(name))
    }
}

fn not_understood(path: String) -> Obstacle {
    Obstacle { element: path.into(), problem: Problem::NotUnderstood }
}

fn statement(place: usize, json: &Json) -> Result<Statement<'_>, Obstacle> {
    let path = format!("Statement[{place}]");
    let Json::Object(members) = json else { return Err(not_understood(path)) };
    let statement = Element { path, members };
    statement.has_only(&["Effect", "Action", "Principal"])?;
    let effect = match statement.member("Effect")? {
        Json::Text(effect) if **effect == *"Allow" => Effect::Allow,
        Json::Text(effect) if **effect == *"Deny" => Effect::Deny,
        _ => return Err(not_understood(statement.path_of("Effect"))),
    };
    let actions = statement.texts("Action")?;
    let path = statement.path_of("Principal");
    let principal = match statement.member("Principal")? {
        Json::Object(members) if !members.is_empty() => Element { path, members },
        _ => return Err(not_understood(path)),
    };
    principal.has_only(&["Service", "RAM", "Federated"])?;
    let (mut services, mut others) = (Vec::new(), Vec::new());
    for (kind, _) in principal.members {
        let of_kind = if **kind == *"Service" { &mut services } else { &mut others };
        of_kind.extend(principal.texts(kind)?);
    }
    Ok(Statement { place, effect, actions, services, others })
}

#[cfg(test)]
mod tests;
