//! What is to be done so that there is what documents say: in order, so that whatever names something
//! comes after it is made, and before it is gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    api::pb::{self, requested_change::Change as Wanted},
    cli::{
        documents::WantedResource,
        failure::Failure,
        forms::Forms,
        remote::Connection,
        resource::{Filter, Kind, Resource, account_of},
    },
};

/// What to do.
#[derive(Debug)]
pub(super) struct Plan {
    /// Each step, in order.
    pub(super) steps: Vec<Step>,
    /// How many documents it was made from.
    pub(super) documents: usize,
}

/// One change.
#[derive(Debug)]
pub(in crate::cli) struct Step {
    pub(super) verb: Verb,
    /// The full name of what is changed.
    pub(super) name: String,
    pub(super) wanted: Wanted,
    /// Fields with what they have and what they are to have.
    pub(super) differences: Vec<Difference>,
}

/// A field, what it has, and what it is to have.
pub(super) type Difference = (String, Option<Value>, Option<Value>);

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Update,
    Suspend,
    Resume,
    Delete,
}

impl Verb {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
        }
    }
}

/// What the server makes, and what has steps of its own.
const NOT_COMPARED: [&str; 7] =
    ["uid", "etag", "revision", "createTime", "updateTime", "trusts", "state"];
/// What can't be changed.
const IMMUTABLE: [&str; 6] =
    ["publicNetwork", "vpcNetwork", "privateNetwork", "scope", "clientKey", "ramRole"];

impl Plan {
    /// Compares what there is with what is wanted.
    pub(super) async fn make(
        connection: &Connection,
        forms: &Forms,
        wanted: &[WantedResource],
        prune: bool,
    ) -> anyhow::Result<Self> {
        let there = read(connection, wanted, prune).await?;
        let (mut made, mut switched, mut violations) = (Vec::new(), Vec::new(), Vec::new());
        for one in wanted {
            let WantedResource { document, resource, suspended } = one;
            let current = there.get(resource.name());
            match current {
                None => made.push((resource.kind(), Step::create(resource))),
                Some(current) => {
                    let differences = differences(forms, current, resource)?;
                    let fixed = differences.iter().find(|(field, ..)| is_immutable(field));
                    if let Some((field, ..)) = fixed {
                        violations.push(format!(
                            "{document}: `{field}` can't be changed: delete the {} first",
                            resource.kind().word()
                        ));
                    } else if !differences.is_empty() {
                        made.push((resource.kind(), update(current, resource, differences)));
                    }
                }
            }
            let is_suspended = current.is_some_and(Resource::is_suspended);
            if *suspended != is_suspended {
                switched.push(switch(resource.name(), *suspended));
            }
        }
        if !violations.is_empty() {
            return Err(Failure::invalid("nothing is changed", violations).into());
        }
        made.sort_by(|(kind, one), (other_kind, other)| {
            (kind, &one.name).cmp(&(other_kind, &other.name))
        });
        let mut steps: Vec<_> = made.into_iter().map(|(_, step)| step).collect();
        steps.append(&mut switched);
        if prune {
            let named: BTreeSet<_> = wanted.iter().map(|one| one.resource.name()).collect();
            let mut gone: Vec<_> =
                there.values().filter(|one| !named.contains(one.name())).collect();
            gone.sort_by_key(|one| std::cmp::Reverse(one.kind()));
            steps.extend(gone.into_iter().map(delete));
        }
        Ok(Self { steps, documents: wanted.len() })
    }

    /// The steps of each account, so many at once.
    pub(super) fn batches(&self, most: usize) -> Vec<(String, Vec<&Step>)> {
        let mut accounts: BTreeMap<String, Vec<&Step>> = BTreeMap::new();
        for step in &self.steps {
            accounts.entry(account_of(&step.name)).or_default().push(step);
        }
        let split = accounts.into_iter().flat_map(|(account, steps)| {
            let chunks: Vec<_> =
                steps.chunks(most).map(|chunk| (account.clone(), chunk.to_vec())).collect();
            chunks
        });
        split.collect()
    }
}

/// Reads what there is where documents say that something is to be, by name.
async fn read(
    connection: &Connection,
    wanted: &[WantedResource],
    prune: bool,
) -> anyhow::Result<BTreeMap<String, Resource>> {
    let mut lists = BTreeSet::new();
    for WantedResource { resource, .. } in wanted {
        let parent = resource.parent();
        if prune && resource.kind() != Kind::RamRole {
            lists.extend(Kind::IN_REGIONS.map(|kind| (kind, parent.clone())));
        }
        lists.insert((resource.kind(), parent));
    }
    let mut there = BTreeMap::new();
    for (kind, parent) in lists {
        let found = kind.list(connection, &parent, &Filter::default()).await?;
        there.extend(found.into_iter().map(|one| (one.name().to_owned(), one)));
    }
    Ok(there)
}

fn differences(
    forms: &Forms,
    current: &Resource,
    wanted: &Resource,
) -> anyhow::Result<Vec<Difference>> {
    let (current, wanted) = (current.value(forms)?, wanted.value(forms)?);
    let empty = serde_json::Map::new();
    let fields = |value: &Value| value.as_object().unwrap_or(&empty).clone();
    let (current, wanted) = (fields(&current), fields(&wanted));
    let names: BTreeSet<_> = current.keys().chain(wanted.keys()).collect();
    let compared = names.into_iter().filter(|name| !NOT_COMPARED.contains(&name.as_str()));
    let compared =
        compared.map(|name| (name.clone(), current.get(name).cloned(), wanted.get(name).cloned()));
    Ok(compared.filter(|(_, before, after)| before != after).collect())
}

fn is_immutable(field: &str) -> bool {
    IMMUTABLE.contains(&field)
}

impl Step {
    /// Creates a resource.
    pub(in crate::cli) fn create(resource: &Resource) -> Self {
        Self {
            verb: Verb::Create,
            name: resource.name().to_owned(),
            wanted: resource.clone().create(),
            differences: Vec::new(),
        }
    }
}

fn update(current: &Resource, resource: &Resource, differences: Vec<Difference>) -> Step {
    Step {
        verb: Verb::Update,
        name: resource.name().to_owned(),
        wanted: resource.clone().with_etag(current.etag().to_owned()).update(&["*"]),
        differences,
    }
}

fn switch(name: &str, suspend: bool) -> Step {
    let name = name.to_owned();
    let (verb, wanted) = if suspend {
        let request = pb::SuspendAccessPointRequest { name: name.clone(), ..Default::default() };
        (Verb::Suspend, Wanted::SuspendAccessPoint(request))
    } else {
        let request = pb::ResumeAccessPointRequest { name: name.clone(), ..Default::default() };
        (Verb::Resume, Wanted::ResumeAccessPoint(request))
    };
    Step { verb, name, wanted, differences: Vec::new() }
}

fn delete(resource: &Resource) -> Step {
    let (name, etag) = (resource.name().to_owned(), resource.etag().to_owned());
    Step {
        verb: Verb::Delete,
        wanted: resource.kind().delete(name.clone(), etag),
        name,
        differences: Vec::new(),
    }
}
