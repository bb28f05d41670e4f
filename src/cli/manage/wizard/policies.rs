//! The policies of an access point: those that there are, and new ones.

use crate::{
    api::pb::{self, policy::NetworkAccess},
    cli::{
        output::Table,
        resource::{Filter, Kind, Resource, short, split},
    },
    domain::access_point::PolicyIds,
};

use super::{
    Given, Wizard, invalid, judge,
    questions::{Choice, parts},
};

const PERMISSIONS: [Choice<'static>; 3] = [
    ("secret-user", "read secrets"),
    ("crypto-service-secret-user", "read secrets of a dedicated instance"),
    ("crypto-service-key-user", "use keys of a dedicated instance"),
];
const TEMPLATES: [pb::PermissionTemplate; 3] = [
    pb::PermissionTemplate::SecretUser,
    pb::PermissionTemplate::CryptoServiceSecretUser,
    pb::PermissionTemplate::CryptoServiceKeyUser,
];

/// One of those that were chosen.
pub(super) enum Pick {
    /// One that is there, or that was described before.
    There(Box<Resource>),
    /// One that is to be described.
    New,
}

/// What to choose from, and how much of it.
pub(super) struct Offer<'a> {
    pub(super) kind: Kind,
    /// Those that are shown with numbers.
    pub(super) shown: &'a [Resource],
    /// What has been chosen, by full name.
    pub(super) chosen: &'a [String],
    pub(super) most: usize,
}

impl Wizard<'_> {
    /// The full names of the policies that the access point is to have.
    pub(super) fn choose_policies(&mut self) -> anyhow::Result<Vec<String>> {
        let (shown, more) = self.there.some(Kind::Policy, &Filter::default())?;
        if !shown.is_empty() {
            self.offer(Kind::Policy, &shown, more);
        }
        let mut chosen: Vec<String> = Vec::new();
        while chosen.len() < PolicyIds::MAX {
            let (question, default) = match (chosen.is_empty(), shown.is_empty()) {
                (true, true) => ("Policies, by name, or `new`", Some("new")),
                (true, false) => ("Policies, by number or name, or `new`", None),
                (false, _) => ("More policies (Enter: no more)", Some("")),
            };
            let kind = Kind::Policy;
            let offer = Offer { kind, shown: &shown, chosen: &chosen, most: PolicyIds::MAX };
            let Self { questions, there, .. } = self;
            let picks = questions.ask(question, default, |text| there.picks(&offer, text))?;
            if picks.is_empty() {
                break;
            }
            for pick in picks {
                chosen.push(match pick {
                    Pick::There(policy) => policy.name().to_owned(),
                    Pick::New => self.new_policy()?,
                });
            }
        }
        Ok(chosen)
    }

    /// Shows what there is of a kind, with numbers.
    pub(super) fn offer(&mut self, kind: Kind, shown: &[Resource], more: bool) {
        let mut table: Table = kind.table();
        for one in shown {
            table.row(one.row());
        }
        self.questions.table(&table.numbered());
        if more {
            self.questions.say("There are more of them, which can be named.");
        }
    }

    fn new_policy(&mut self) -> anyhow::Result<String> {
        self.questions.heading("A new policy");
        let name = self.new_name(Kind::Policy, "Policy name", None)?;
        let description = self.description(Kind::Policy, "Description (Enter: none)", None)?;
        let mut policy = pb::Policy { name, description, ..Default::default() };
        policy.scope = self.scope(&policy)?;
        policy.permissions = self.permissions(&policy)?;
        policy.resources = self.resources(&policy)?;
        policy.network_access = Some(self.network_access(&policy)?);
        let name = policy.name.clone();
        self.questions.say(&format!("Policy `{}` is complete.", short(&name)));
        self.policies.push(policy);
        Ok(name)
    }

    fn scope(&mut self, policy: &pb::Policy) -> anyhow::Result<String> {
        let question = "Scope, `shared` or the id of a dedicated instance, `kst-…`";
        self.questions.ask(question, Some("shared"), |text| {
            let scope = text.to_owned();
            judge_policy(pb::Policy { scope, ..policy.clone() }, "scope", Given::Text(text))?;
            Ok(text.to_owned())
        })
    }

    fn permissions(&mut self, policy: &pb::Policy) -> anyhow::Result<Vec<i32>> {
        let question = "Permissions, separated by commas";
        let default = (policy.scope == "shared").then_some("secret-user");
        self.questions.choose_some(question, &PERMISSIONS, default, |places| {
            let templates = places.iter().filter_map(|&place| TEMPLATES.get(place));
            let permissions: Vec<_> = templates.map(|&template| template.into()).collect();
            let judged = pb::Policy { permissions: permissions.clone(), ..policy.clone() };
            judge_policy(judged, "permissions", Given::Untold)?;
            Ok(permissions)
        })
    }

    fn resources(&mut self, policy: &pb::Policy) -> anyhow::Result<Vec<String>> {
        self.questions
            .say("Resources are `secret/NAME` or `key/ID`; a `*` at the end is anything.");
        self.questions.ask("Accessible resources, separated by commas", None, |text| {
            let resources: Vec<_> = parts(text).map(str::to_owned).collect();
            let judged = pb::Policy { resources: resources.clone(), ..policy.clone() };
            judge_policy(judged, "resources", Given::List(&resources))?;
            Ok(resources)
        })
    }
}

impl super::There<'_> {
    /// Reads what is chosen: numbers, names and `new`, separated by commas.
    pub(super) fn picks(&self, offer: &Offer<'_>, text: &str) -> anyhow::Result<Vec<Pick>> {
        let Offer { kind, shown, chosen, most } = *offer;
        let word = kind.word();
        let mut picks = Vec::new();
        let mut names = chosen.to_vec();
        for part in parts(text) {
            if part.eq_ignore_ascii_case("new") {
                picks.push(Pick::New);
                continue;
            }
            let full = self.name(kind, part);
            let known = |one: &&Resource| full.as_ref().is_ok_and(|full| one.name() == full);
            let one = match numbered(shown, part).or_else(|| shown.iter().find(known)) {
                Some(one) => one.clone(),
                None => self
                    .find(kind, full?)?
                    .ok_or_else(|| invalid(format!("there is no {word} `{part}`")))?,
            };
            if names.iter().any(|name| name == one.name()) {
                return Err(invalid(format!("`{part}` is chosen already")));
            }
            names.push(one.name().to_owned());
            picks.push(Pick::There(Box::new(one)));
        }
        if picks.is_empty() && chosen.is_empty() {
            return Err(invalid("an answer is needed"));
        }
        if chosen.len() + picks.len() > most {
            return Err(invalid(format!("at most {most} can be chosen")));
        }
        Ok(picks)
    }
}

/// One of those that are shown, by its number.
pub(super) fn numbered<'a>(shown: &'a [Resource], text: &str) -> Option<&'a Resource> {
    shown.get(text.parse::<usize>().ok()?.checked_sub(1)?)
}

/// Judges a field of a policy of which what comes behind it isn't said yet.
pub(super) fn judge_policy(
    policy: pb::Policy,
    field: &str,
    given: Given<'_>,
) -> anyhow::Result<()> {
    let (parent, policy_id) = split(&policy.name);
    let mut policy = policy;
    if policy.resources.is_empty() && field != "resources" {
        policy.resources = ["secret/any", "key/any"].map(str::to_owned).to_vec();
    }
    policy.network_access.get_or_insert(NetworkAccess::AnyNetwork(pb::AnyNetwork {}));
    let policy = Some(policy);
    let request = pb::CreatePolicyRequest { parent, policy_id, policy, ..Default::default() };
    judge(request, &format!("policy.{field}"), given)
}
