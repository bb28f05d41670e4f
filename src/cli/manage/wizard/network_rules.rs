//! From where a policy is to let calls in: from everywhere, said by its word, or from where network
//! rules say, those that there are and new ones.

use crate::{
    api::pb::{
        self, AnyNetwork, NetworkRuleNames, PrivateNetwork, PublicNetwork, VpcNetwork,
        network_rule::Kind as NetworkKind, policy::NetworkAccess,
    },
    cli::resource::{Filter, Kind, Resource, short, split},
    domain::{name::Instance, policy::Terms},
};

use super::{
    Given, Wizard, invalid, judge,
    policies::{Offer, Pick},
    questions::{Choice, parts},
};

const SHARED: &str = Instance::SHARED;

const NETWORKS: [Choice<'static>; 3] = [
    ("public", "calls come over the public endpoint"),
    ("vpc", "calls come from a VPC"),
    ("private", "calls come over the private network of a dedicated instance"),
];

impl Wizard<'_> {
    /// From where the policy lets calls in.
    pub(super) fn network_access(&mut self, policy: &pb::Policy) -> anyhow::Result<NetworkAccess> {
        let (mut shown, more) = self.there.some(Kind::NetworkRule, &Filter::default())?;
        shown.extend(self.rules.iter().cloned().map(Resource::NetworkRule));
        self.questions.say("From which networks?");
        if !shown.is_empty() {
            self.offer(Kind::NetworkRule, &shown, more);
        }
        let mut chosen: Vec<String> = Vec::new();
        while chosen.len() < Terms::MAX_RULES {
            let question = match (chosen.is_empty(), shown.is_empty()) {
                (true, true) => "Network rules, by name, or `new`; `any` for any network",
                (true, false) => {
                    "Network rules, by number or name, or `new`; `any` for any network"
                }
                (false, _) => "More network rules (Enter: no more)",
            };
            let default = if chosen.is_empty() { None } else { Some("") };
            let (kind, most) = (Kind::NetworkRule, Terms::MAX_RULES);
            let offer = Offer { kind, shown: &shown, chosen: &chosen, most };
            let Self { questions, there, .. } = self;
            // Nothing, if it is any network.
            let picks = questions.ask(question, default, |text| {
                if text.eq_ignore_ascii_case("any") && chosen.is_empty() {
                    return Ok(None);
                }
                let picks = there.picks(&offer, text)?;
                picks.iter().try_for_each(|pick| fits(pick, &policy.scope))?;
                Ok(Some(picks))
            })?;
            let Some(picks) = picks else {
                return Ok(NetworkAccess::AnyNetwork(AnyNetwork {}));
            };
            if picks.is_empty() {
                break;
            }
            for pick in picks {
                chosen.push(match pick {
                    Pick::There(rule) => rule.name().to_owned(),
                    Pick::New => self.new_rule(&policy.scope)?,
                });
            }
        }
        Ok(NetworkAccess::NetworkRules(NetworkRuleNames { names: chosen }))
    }

    fn new_rule(&mut self, scope: &str) -> anyhow::Result<String> {
        self.questions.heading("A new network rule");
        let name = self.new_name(Kind::NetworkRule, "Rule name", None)?;
        let description = self.description(Kind::NetworkRule, "Description (Enter: none)", None)?;
        let kind = Some(self.network_kind(scope)?);
        let mut rule = pb::NetworkRule { name, description, kind, ..Default::default() };
        let question = "Allowed IP addresses or CIDRs, separated by commas";
        rule.addresses = self.questions.ask(question, None, |text| {
            let addresses: Vec<_> = parts(text).map(str::to_owned).collect();
            let judged = pb::NetworkRule { addresses: addresses.clone(), ..rule.clone() };
            judge_rule(judged, "addresses", Given::List(&addresses))?;
            Ok(addresses)
        })?;
        let name = rule.name.clone();
        self.questions.say(&format!("Network rule `{}` is complete.", short(&name)));
        self.rules.push(rule);
        Ok(name)
    }

    fn network_kind(&mut self, scope: &str) -> anyhow::Result<NetworkKind> {
        let kind = self.questions.choose_some("Network type", &NETWORKS, None, |places| {
            match places.as_slice() {
                [0] => Ok(NetworkKind::PublicNetwork(PublicNetwork {})),
                [1] => Ok(NetworkKind::VpcNetwork(VpcNetwork::default())),
                [2] if scope == SHARED => Err(needs_instance("a private network")),
                [2] => Ok(NetworkKind::PrivateNetwork(PrivateNetwork {})),
                _ => Err(invalid("a rule has one type")),
            }
        })?;
        if !matches!(kind, NetworkKind::VpcNetwork(_)) {
            return Ok(kind);
        }
        let name = self.there.name(Kind::NetworkRule, "any")?;
        let vpc_id = self.questions.ask("VPC id", None, |text| {
            let vpc_id = text.to_owned();
            let kind = Some(NetworkKind::VpcNetwork(VpcNetwork { vpc_id }));
            let judged = pb::NetworkRule { name: name.clone(), kind, ..Default::default() };
            judge_rule(judged, "vpc_network.vpc_id", Given::Text(text))?;
            Ok(text.to_owned())
        })?;
        Ok(NetworkKind::VpcNetwork(VpcNetwork { vpc_id }))
    }
}

/// Makes sure that a rule can be in a policy of that scope.
fn fits(pick: &Pick, scope: &str) -> anyhow::Result<()> {
    let Pick::There(resource) = pick else { return Ok(()) };
    match &**resource {
        Resource::NetworkRule(rule)
            if scope == SHARED && matches!(rule.kind, Some(NetworkKind::PrivateNetwork(_))) =>
        {
            Err(needs_instance(&format!("`{}`", short(&rule.name))))
        }
        _ => Ok(()),
    }
}

fn needs_instance(what: &str) -> anyhow::Error {
    invalid(format!("{what} is for a policy whose scope is a dedicated instance"))
}

fn judge_rule(rule: pb::NetworkRule, field: &str, given: Given<'_>) -> anyhow::Result<()> {
    let (parent, network_rule_id) = split(&rule.name);
    let network_rule = Some(rule);
    let request = pb::CreateNetworkRuleRequest {
        parent,
        network_rule_id,
        network_rule,
        ..Default::default()
    };
    judge(request, &format!("network_rule.{field}"), given)
}
