//! Cedar: a policy of ours is a `permit` with the access point as its principal; an access point's
//! three are a policy set of their own, which is the slicing that Cedar's guide recommends.

use std::{collections::HashMap, str::FromStr};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicySet,
    Request, RestrictedExpression,
};

use crate::{
    Peer,
    world::{self, Question},
};

pub struct Cedar {
    authorizer: Authorizer,
    entities: Entities,
    slices: HashMap<String, PolicySet>,
    nothing: PolicySet,
}

/// A request, and whose policies it is about.
pub struct Ready<'q> {
    access_point: &'q str,
    request: Request,
}

impl Peer for Cedar {
    type Ready<'q> = Ready<'q>;

    const NAME: &'static str = "Cedar";

    fn build(access_points: usize) -> Self {
        let slice = |number: usize| {
            let name = world::access_point(number);
            let text: String =
                (0..world::POLICIES).map(|policy| permit(&name, number, policy)).collect();
            (name, PolicySet::from_str(&text).unwrap())
        };
        Self {
            authorizer: Authorizer::new(),
            entities: Entities::empty(),
            slices: (0..access_points).map(slice).collect(),
            nothing: PolicySet::new(),
        }
    }

    fn ready<'q>(&self, question: &'q Question) -> Ready<'q> {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let context = Context::from_pairs([
            ("instance".to_owned(), text(question.instance)),
            ("resource".to_owned(), text(&question.resource)),
            ("vpc".to_owned(), text(world::VPC)),
            ("address".to_owned(), RestrictedExpression::new_ip(&question.address)),
        ]);
        let request = Request::new(
            uid("AccessPoint", &question.access_point),
            uid("Action", question.action),
            uid("Resource", &question.resource),
            context.unwrap(),
            None,
        );
        Ready { access_point: &question.access_point, request: request.unwrap() }
    }

    fn allows(&mut self, ready: &Ready<'_>) -> bool {
        let policies = self.slices.get(ready.access_point).unwrap_or(&self.nothing);
        let answer = self.authorizer.is_authorized(&ready.request, policies, &self.entities);
        answer.decision() == Decision::Allow
    }
}

fn permit(access_point: &str, number: usize, policy: usize) -> String {
    let patterns = (0..world::PATTERNS)
        .map(|pattern| {
            format!("context.resource like \"{}\"", world::pattern(number, policy, pattern))
        })
        .collect::<Vec<_>>()
        .join(" || ");
    let networks = (0..world::RULES)
        .map(|rule| format!("context.address.isInRange(ip(\"{}\"))", world::prefix(policy, rule)))
        .collect::<Vec<_>>()
        .join(" || ");
    format!(
        "permit (principal == AccessPoint::\"{access_point}\", \
         action == Action::\"GetSecretValue\", resource) \
         when {{ context.instance == \"shared\" && ({patterns}) \
         && context.vpc == \"{}\" && ({networks}) }};\n",
        world::VPC
    )
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind).unwrap(), EntityId::new(id))
}
