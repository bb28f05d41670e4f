//! How the application is to show who it is.

use crate::{
    api::pb::{self, ClientKeyAuthentication, RamRoleAuthentication, access_point::Authentication},
    cli::resource::{Filter, Kind, Resource},
};

use super::{Wizard, invalid, questions::Choice};

const METHODS: [Choice<'static>; 2] = [
    ("client-key", "it holds a client key, which is made for it"),
    ("ram-role", "it runs where a RAM role is bound to it"),
];

/// The types of environment, as they are on the page that operators know.
const ENVIRONMENTS: [Choice<'static>; 3] = [
    ("ecs-instance", "an instance of the Elastic Compute Service"),
    ("ack-worker", "a worker node of Container Service for Kubernetes"),
    ("function-compute", "Function Compute"),
];
const TRUSTED: [pb::TrustedRole; 3] =
    [pb::TrustedRole::EcsInstance, pb::TrustedRole::AckWorker, pb::TrustedRole::FunctionCompute];

impl Wizard<'_> {
    pub(super) fn method(&mut self) -> anyhow::Result<Authentication> {
        self.questions.say("How does its application show who it is?");
        if self.questions.choose("Method", &METHODS, Some("client-key"))? == 0 {
            return Ok(Authentication::ClientKey(ClientKeyAuthentication {}));
        }
        self.questions.say("Where does it run?");
        let place = self.questions.choose("Trusted role", &ENVIRONMENTS, None)?;
        let trusted_role = TRUSTED.get(place).copied().unwrap_or_default();
        let role = self.role(trusted_role)?;
        let trusted_role = trusted_role.into();
        Ok(Authentication::RamRole(RamRoleAuthentication { trusted_role, role }))
    }

    fn role(&mut self, trusted_role: pb::TrustedRole) -> anyhow::Result<String> {
        let filter = Filter { trusted_role: trusted_role.into(), ..Filter::default() };
        let (offered, more) = self.there.some(Kind::RamRole, &filter)?;
        if offered.is_empty() {
            self.questions
                .say("No RAM role is trusted for that: `aap ram-role create` imports one.");
        } else {
            self.offer(Kind::RamRole, &offered, more);
        }
        let Self { questions, there, .. } = self;
        let question = if offered.is_empty() { "RAM role, by name" } else { "RAM role" };
        questions.ask(question, None, |text| {
            if let Some(one) = super::policies::numbered(&offered, text) {
                return Ok(one.name().to_owned());
            }
            let name = there.name(Kind::RamRole, text)?;
            match there.find(Kind::RamRole, name)? {
                Some(Resource::RamRole(role)) => trusted(role, trusted_role),
                _ => Err(invalid(format!("there is no RAM role `{text}`"))),
            }
        })
    }
}

/// The role's name, if it may stand for that type of environment.
fn trusted(role: pb::RamRole, wanted: pb::TrustedRole) -> anyhow::Result<String> {
    let trust = role.trusts.iter().find(|trust| trust.trusted_role() == wanted);
    let Some(pb::RoleTrust { element, obstacle, .. }) =
        trust.filter(|trust| trust.state() != pb::RoleTrustState::Trusted)
    else {
        return Ok(role.name);
    };
    let element = if element.is_empty() { String::new() } else { format!("`{element}` ") };
    Err(invalid(format!("it isn't trusted for that: {element}{obstacle}")))
}
