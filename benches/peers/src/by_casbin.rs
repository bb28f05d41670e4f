//! Casbin: a policy of ours is a line, whose patterns and networks are lists that functions of its
//! user go through; an access point's three lines are in an enforcer of their own, as a filtered
//! policy would be.

use std::{collections::HashMap, net::IpAddr};

use casbin::{
    CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi,
    function_map::{OperatorFunction, dynamic_to_str},
    rhai::Dynamic,
};
use ipnet::IpNet;

use crate::{
    Peer,
    world::{self, Question},
};

const MODEL: &str = "
[request_definition]
r = sub, act, obj, instance, vpc, address

[policy_definition]
p = sub, act, scope, patterns, vpc, networks

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.sub == p.sub && r.act == p.act && r.instance == p.scope && beginsWithOne(r.obj, p.patterns) && r.vpc == p.vpc && isInOne(r.address, p.networks)
";

pub struct Casbin {
    slices: HashMap<String, Enforcer>,
}

impl Peer for Casbin {
    type Ready<'q> = &'q Question;

    const NAME: &'static str = "Casbin";

    fn build(access_points: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let slices = runtime.block_on(async {
            let mut slices = HashMap::new();
            for number in 0..access_points {
                slices.insert(world::access_point(number), enforcer(number).await);
            }
            slices
        });
        Self { slices }
    }

    fn ready<'q>(&self, question: &'q Question) -> &'q Question {
        question
    }

    fn allows(&mut self, question: &&Question) -> bool {
        let Question { access_point, action, resource, instance, address, kind: _ } = question;
        let Some(enforcer) = self.slices.get(access_point) else { return false };
        let request = (
            access_point.as_str(),
            *action,
            resource.as_str(),
            *instance,
            world::VPC,
            address.as_str(),
        );
        enforcer.enforce(request).unwrap()
    }
}

async fn enforcer(number: usize) -> Enforcer {
    let model = DefaultModel::from_str(MODEL).await.unwrap();
    let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await.unwrap();
    enforcer.add_function("beginsWithOne", OperatorFunction::Arg2(begins_with_one));
    enforcer.add_function("isInOne", OperatorFunction::Arg2(is_in_one));
    for policy in 0..world::POLICIES {
        let patterns: Vec<_> = (0..world::PATTERNS)
            .map(|pattern| world::pattern(number, policy, pattern).trim_end_matches('*').to_owned())
            .collect();
        let networks: Vec<_> = (0..world::RULES).map(|rule| world::prefix(policy, rule)).collect();
        let line = vec![
            world::access_point(number),
            "GetSecretValue".to_owned(),
            "shared".to_owned(),
            patterns.join(" "),
            world::VPC.to_owned(),
            networks.join(" "),
        ];
        assert!(enforcer.add_policy(line).await.unwrap());
    }
    enforcer
}

fn begins_with_one(resource: Dynamic, patterns: Dynamic) -> Dynamic {
    let (resource, patterns) = (dynamic_to_str(&resource), dynamic_to_str(&patterns));
    patterns.split(' ').any(|prefix| resource.starts_with(prefix)).into()
}

fn is_in_one(address: Dynamic, networks: Dynamic) -> Dynamic {
    let Ok(address) = dynamic_to_str(&address).parse::<IpAddr>() else { return false.into() };
    dynamic_to_str(&networks)
        .split(' ')
        .any(|text| text.parse::<IpNet>().is_ok_and(|network| network.contains(&address)))
        .into()
}
