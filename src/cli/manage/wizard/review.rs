//! The review: everything that there would be, as the server has judged it, and what is odd about it.
//! Then all of it is created, or nothing.

use crate::{
    api::pb::{self, access_point::Authentication, network_rule, policy::NetworkAccess},
    cli::{
        apply::{Mode, Step, names_of, send},
        failure::Failure,
        manage::{
            Common, Manner,
            client_key::tell,
            issuing::{Places, have_issued},
            tell_changes, warn,
        },
        output::{Style, clean, styled_error},
        remote::{block_on, unless_interrupted},
        resource::{Resource, account_of, changed, lower, short},
    },
};

use super::{Wizard, client_key::Wanted};

/// How many addresses of a rule are shown.
const SHOWN_ADDRESSES: usize = 10;

/// A part of something, with each of what it has.
type Line = (&'static str, Vec<String>);

impl Wizard<'_> {
    /// Shows what there would be, and creates it if that is what is wanted.
    pub(super) fn review(
        mut self,
        access_point: pb::AccessPoint,
        key: Option<Wanted>,
        manner: &Manner,
    ) -> anyhow::Result<()> {
        let Manner { validate_only, request_id, common: Common { output, .. } } = manner;
        let name = access_point.name.clone();
        let steps = self.steps(access_point);
        let steps: Vec<_> = steps.iter().collect();
        let account = account_of(&name);
        let target = self.there.target;
        let judged = block_on(async {
            send(&target.connect().await?, &account, &steps, Mode::Judge).await
        })?;
        self.questions.heading("Review: what is to be created");
        self.show_plan(&judged.changes, key.as_ref());
        let names: Vec<_> = names_of(&steps).into_iter().map(short).collect();
        warn(&judged.warnings, &names);
        if *validate_only {
            return tell_changes(output.format, judged.changes);
        }
        if !self.questions.is_it("Create all of this", "no")? {
            return Err(Failure::failed("not confirmed: nothing is created", Vec::new()).into());
        }
        let interrupted = || {
            let remedy = format!("see if it is there: aap access-point get {}", short(&name));
            let message = "interrupted while the access point was created";
            Failure::interrupted(message, vec![remedy])
        };
        // What a key can't be written to keeps everything else from being created, too.
        let (places, made) = block_on(unless_interrupted(interrupted, async {
            let places = key.as_ref().map(Wanted::make_places).transpose()?;
            let connection = target.connect().await?;
            let made = send(&connection, &account, &steps, Mode::Make(request_id)).await?;
            Ok((places, made))
        }))?;
        tell_changes(output.format, made.changes)?;
        match key.zip(places) {
            Some((key, places)) => self.issue(&name, &key, places, manner),
            None => Ok(()),
        }
    }

    fn issue(
        &self,
        access_point: &str,
        key: &Wanted,
        places: Places,
        manner: &Manner,
    ) -> anyhow::Result<()> {
        let request = key.request(access_point);
        let issued = have_issued(self.there.target, request, || Ok(Some(places)));
        let failed = |error: anyhow::Error| {
            let id = short(access_point);
            let message =
                format!("access point `{id}` is created, but has no client key: {error:#}");
            let mut details = Failure::details_of(&error).to_vec();
            details.push(key.command(id));
            Failure::failed(message, details)
        };
        tell(manner.common.output.format, &issued.map_err(failed)?, "issued")
    }

    /// What is to be done, each thing after what it names.
    fn steps(&mut self, access_point: pb::AccessPoint) -> Vec<Step> {
        let rules = self.rules.drain(..).map(Resource::NetworkRule);
        let policies = self.policies.drain(..).map(Resource::Policy);
        let all = rules.chain(policies).chain([Resource::AccessPoint(access_point)]);
        all.map(|resource| Step::create(&resource)).collect()
    }

    fn show_plan(&mut self, changes: &[pb::Change], key: Option<&Wanted>) {
        for change in changes {
            let Some(change) = change.change.clone() else { continue };
            if let Some(resource) = changed(change).resource {
                let what = format!("{} {}", resource.kind().word(), short(resource.name()));
                self.show(&what, &lines(&resource));
            }
        }
        if let Some(key) = key {
            self.show("client key", &key.lines());
        }
    }

    fn show(&mut self, what: &str, lines: &[Line]) {
        self.questions.say(&format!("{} {}", styled_error(Style::Good, "+"), clean(what)));
        for (part, values) in lines {
            for (place, value) in values.iter().enumerate() {
                let part = if place == 0 { part } else { "" };
                self.questions.say(&format!("    {part:<11}  {}", clean(value)));
            }
        }
    }
}

fn lines(resource: &Resource) -> Vec<Line> {
    let shorts = |names: &[String]| names.iter().map(|name| short(name).to_owned()).collect();
    match resource {
        Resource::NetworkRule(rule) => {
            let kind = match &rule.kind {
                Some(network_rule::Kind::PublicNetwork(_)) => "public".to_owned(),
                Some(network_rule::Kind::VpcNetwork(vpc)) => format!("vpc {}", vpc.vpc_id),
                Some(network_rule::Kind::PrivateNetwork(_)) => "private".to_owned(),
                None => String::new(),
            };
            let mut addresses: Vec<_> =
                rule.addresses.iter().take(SHOWN_ADDRESSES).cloned().collect();
            if let more @ 1.. = rule.addresses.len() - addresses.len() {
                addresses.push(format!("and {more} more"));
            }
            vec![
                ("type", vec![kind]),
                ("addresses", addresses),
                ("description", described(&rule.description)),
            ]
        }
        Resource::Policy(policy) => {
            let permissions = policy.permissions();
            let permissions =
                permissions.map(|one| lower(one.as_str_name(), "PERMISSION_TEMPLATE_"));
            let networks = match &policy.network_access {
                Some(NetworkAccess::NetworkRules(rules)) => shorts(&rules.names),
                Some(NetworkAccess::AnyNetwork(_)) => vec!["any network".to_owned()],
                None => Vec::new(),
            };
            vec![
                ("scope", vec![policy.scope.clone()]),
                ("permissions", permissions.collect()),
                ("resources", policy.resources.clone()),
                ("networks", networks),
                ("description", described(&policy.description)),
            ]
        }
        Resource::AccessPoint(point) => {
            let method = match &point.authentication {
                Some(Authentication::ClientKey(_)) => "client key".to_owned(),
                Some(Authentication::RamRole(role)) => {
                    let environment = lower(role.trusted_role().as_str_name(), "TRUSTED_ROLE_");
                    format!("RAM role {}, as {environment}", short(&role.role))
                }
                None => String::new(),
            };
            vec![
                ("method", vec![method]),
                ("policies", shorts(&point.policies)),
                ("description", described(&point.description)),
            ]
        }
        // None is created here.
        Resource::RamRole(_) => Vec::new(),
    }
}

/// Nothing, if nothing is said.
fn described(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }
}
