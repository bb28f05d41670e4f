//! Which records are wanted, as flags.

use clap::Args;

use crate::api::pb;

/// Which records are wanted.
#[derive(Args, Debug)]
pub(super) struct Filter {
    /// Only checks about this access point, by its full name.
    #[arg(long, value_name = "NAME")]
    access_point: Vec<String>,
    /// Only this kind: check, refused-call, server-start, server-stop, configuration-load, gap,
    /// audit-read, session.
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    kind: Vec<pb::AuditRecordKind>,
    /// Only checks with this outcome: allow or deny.
    #[arg(long, value_name = "OUTCOME", value_parser = parse_outcome)]
    outcome: Vec<pb::Outcome>,
    /// Only checks with this reason, such as resource-not-covered.
    #[arg(long, value_name = "REASON", value_parser = parse_reason)]
    reason: Vec<pb::DecisionReason>,
    /// Only checks of this action.
    #[arg(long, value_name = "ACTION")]
    action: Vec<String>,
    /// Only checks of resources that begin with this.
    #[arg(long, value_name = "PREFIX")]
    resource: Vec<String>,
}

impl Filter {
    /// The filter, with the accounts whose records are wanted, unless everything is.
    pub(super) fn wanted(&self, accounts: &[String]) -> Option<pb::AuditRecordFilter> {
        let filter = pb::AuditRecordFilter {
            accounts: accounts.to_vec(),
            access_points: self.access_point.clone(),
            kinds: self.kind.iter().map(|kind| (*kind).into()).collect(),
            outcomes: self.outcome.iter().map(|outcome| (*outcome).into()).collect(),
            reasons: self.reason.iter().map(|reason| (*reason).into()).collect(),
            actions: self.action.clone(),
            resource_prefixes: self.resource.clone(),
        };
        (filter != pb::AuditRecordFilter::default()).then_some(filter)
    }
}

/// The value of an enum of the API for what stands on the command line.
fn parse<T>(prefix: &str, text: &str, from: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let name = format!("{prefix}_{}", text.to_ascii_uppercase().replace('-', "_"));
    from(&name)
        .filter(|_| !name.ends_with("_UNSPECIFIED"))
        .ok_or_else(|| "there is none such".into())
}

fn parse_kind(text: &str) -> Result<pb::AuditRecordKind, String> {
    parse("AUDIT_RECORD_KIND", text, pb::AuditRecordKind::from_str_name)
}

fn parse_outcome(text: &str) -> Result<pb::Outcome, String> {
    parse("OUTCOME", text, pb::Outcome::from_str_name)
}

fn parse_reason(text: &str) -> Result<pb::DecisionReason, String> {
    parse("DECISION_REASON", text, pb::DecisionReason::from_str_name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use prost_reflect::DescriptorPool;

    use crate::api;

    use super::*;

    #[derive(clap::Parser)]
    struct Filtered {
        #[command(flatten)]
        _filter: Filter,
    }

    #[test]
    fn the_help_names_every_kind() {
        let command = Filtered::command();
        let kind = command.get_arguments().find(|argument| argument.get_id() == "kind").unwrap();
        let help = kind.get_help().unwrap().to_string().replace('\n', " ");
        let (_, listed) = help.trim_end_matches('.').split_once(": ").unwrap();
        let listed: Vec<_> = listed.split(", ").map(parse_kind).collect::<Result<_, _>>().unwrap();
        let pool = DescriptorPool::decode(api::FILE_DESCRIPTOR_SET).unwrap();
        let kinds = pool.get_enum_by_name("aap.v1.AuditRecordKind").unwrap();
        for value in kinds.values().filter(|value| value.number() != 0) {
            let kind = pb::AuditRecordKind::from_str_name(value.name()).unwrap();
            assert!(listed.contains(&kind), "{kind:?}");
        }
    }
}
