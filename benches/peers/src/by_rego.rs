//! Rego, by regorus: one rule over a document in which an access point's policies are found by its
//! name. Evaluated by the interpreter, and compiled for regorus' virtual machine.

use regorus::{Engine, Value, languages::rego::compiler::Compiler, rvm::vm::RegoVM};

use crate::{
    Peer,
    world::{self, Question},
};

const RULES: &str = r#"
package aap

default allow := false

allow if {
    some policy in data.access_points[input.access_point]
    policy.scope == input.instance
    policy.actions[input.action]
    some prefix in policy.prefixes
    startswith(input.resource, prefix)
    policy.vpc == input.vpc
    some network in policy.networks
    net.cidr_contains(network, input.address)
}
"#;
const ALLOW: &str = "data.aap.allow";

pub struct Interpreter(Engine);

impl Peer for Interpreter {
    type Ready<'q> = Value;

    const NAME: &'static str = "Rego (regorus, interpreter)";

    fn build(access_points: usize) -> Self {
        Self(engine(access_points))
    }

    fn ready<'q>(&self, question: &'q Question) -> Value {
        input(question)
    }

    fn allows(&mut self, input: &Value) -> bool {
        self.0.set_input(input.clone());
        self.0.eval_rule(ALLOW.to_owned()).unwrap() == Value::from(true)
    }
}

pub struct Machine(RegoVM);

impl Peer for Machine {
    type Ready<'q> = Value;

    const NAME: &'static str = "Rego (regorus, virtual machine)";

    fn build(access_points: usize) -> Self {
        let mut engine = engine(access_points);
        let data = engine.get_data();
        let policy = engine.compile_with_entrypoint(&ALLOW.into()).unwrap();
        let program = Compiler::compile_from_policy(&policy, &[ALLOW]).unwrap();
        let mut machine = RegoVM::new();
        machine.load_program(program);
        machine.set_data(data).unwrap();
        Self(machine)
    }

    fn ready<'q>(&self, question: &'q Question) -> Value {
        input(question)
    }

    fn allows(&mut self, input: &Value) -> bool {
        self.0.set_input(input.clone());
        self.0.execute().unwrap() == Value::from(true)
    }
}

fn engine(access_points: usize) -> Engine {
    let mut engine = Engine::new();
    engine.add_policy("aap.rego".to_owned(), RULES.to_owned()).unwrap();
    engine.add_data_json(&document(access_points)).unwrap();
    engine
}

fn document(access_points: usize) -> String {
    let list = |items: Vec<String>| items.join(",");
    let policy = |number: usize, policy: usize| {
        let prefixes = (0..world::PATTERNS).map(|pattern| {
            let text = world::pattern(number, policy, pattern);
            format!("\"{}\"", text.strip_suffix('*').unwrap())
        });
        let networks = (0..world::RULES).map(|rule| format!("\"{}\"", world::prefix(policy, rule)));
        format!(
            r#"{{"scope":"shared","actions":{{"GetSecretValue":true}},"vpc":"{}","prefixes":[{}],"networks":[{}]}}"#,
            world::VPC,
            list(prefixes.collect()),
            list(networks.collect()),
        )
    };
    let points = (0..access_points).map(|number| {
        let policies = (0..world::POLICIES).map(|one| policy(number, one)).collect();
        format!("\"{}\":[{}]", world::access_point(number), list(policies))
    });
    format!("{{\"access_points\":{{{}}}}}", list(points.collect()))
}

fn input(question: &Question) -> Value {
    let Question { access_point, action, resource, instance, address, kind: _ } = question;
    let vpc = world::VPC;
    let text = format!(
        r#"{{"access_point":"{access_point}","action":"{action}","resource":"{resource}","instance":"{instance}","vpc":"{vpc}","address":"{address}"}}"#
    );
    Value::from_json_str(&text).unwrap()
}
