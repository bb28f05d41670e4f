//! `aap check`: may an application do something? The answer is the exit code, and a sentence.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use crate::api::pb::{
    self, DecisionReason as Reason, authorization_service_client::AuthorizationServiceClient,
    check::Subject, origin::Network,
};

use super::{
    failure::{Exit, Failure},
    forms::Forms,
    output::{Format, Output, Style, clean, marked, print_value},
    remote::{Place, Remote, answered, block_on},
    resource::{Kind, short},
    say, secrets,
};

/// A question. Needs an enforcer; to name an access point instead of showing a session, one that may do
/// so.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("network").args(["public", "vpc", "private"])),
    override_usage = USAGE
)]
pub(super) struct Arguments {
    /// The access point: its short name, or in full. Left out with a session.
    #[arg(value_name = "ACCESS_POINT")]
    first: String,
    /// What it wants to do, such as `GetSecretValue`.
    #[arg(value_name = "ACTION")]
    second: Option<String>,
    /// To what, such as `secret/database`; nothing for actions without a resource.
    #[arg(value_name = "RESOURCE")]
    third: Option<String>,
    /// A file with the session's token in its first line; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    session_file: Option<PathBuf>,
    /// The instance asked.
    #[arg(long, default_value = "shared")]
    instance: String,
    /// Its call came over the public endpoint.
    #[arg(long)]
    public: bool,
    /// Its call came from this VPC.
    #[arg(long, value_name = "VPC_ID")]
    vpc: Option<String>,
    /// Its call came over the private network of a dedicated instance.
    #[arg(long)]
    private: bool,
    /// The address that its call came from.
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    from: String,
    /// A word of your own that the record keeps.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Decide at this revision or a later one.
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    at_least_revision: u64,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

const USAGE: &str = "aap check [OPTIONS] <ACCESS_POINT> <ACTION> [RESOURCE]
       aap check [OPTIONS] --session-file <FILE> <ACTION> [RESOURCE]";

/// Asks, and says how the program ends: only an allow is a success.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Option<Exit>> {
    let target = arguments.remote.target()?;
    let request = arguments.request(&target.place)?;
    let answer = block_on(async {
        let mut client = AuthorizationServiceClient::new(target.connect().await?);
        answered(client.check_access(request).await)
    })?;
    let decision = answer.decision.clone().unwrap_or_default();
    let allowed = decision.outcome() == pb::Outcome::Allow;
    if arguments.output.format == Format::Table {
        print(&answer, &decision);
    } else {
        let value = Forms::load()?.value("aap.v1.CheckAccessResponse", &answer)?;
        print_value(arguments.output.format, &value)?;
    }
    Ok((!allowed).then_some(Exit::Denied))
}

/// Who is asked about.
enum Who<'a> {
    Session(&'a Path),
    AccessPoint(&'a str),
}

impl Arguments {
    /// What the words say: who, what, and to what.
    fn question(&self) -> anyhow::Result<(Who<'_>, &str, &str)> {
        let words = [Some(&self.first), self.second.as_ref(), self.third.as_ref()];
        let words: Vec<_> = words.into_iter().flatten().map(String::as_str).collect();
        match (&self.session_file, words.as_slice()) {
            (Some(file), [action]) => Ok((Who::Session(file), action, "")),
            (Some(file), [action, resource]) => Ok((Who::Session(file), action, resource)),
            (None, [name, action]) => Ok((Who::AccessPoint(name), action, "")),
            (None, [name, action, resource]) => Ok((Who::AccessPoint(name), action, resource)),
            (Some(_), _) => {
                let remedy =
                    "a session says which access point it is of: leave that out".to_owned();
                Err(Failure::invalid("which action, to what?", vec![remedy]).into())
            }
            (None, _) => {
                let remedies = vec![
                    "name the access point and the action: aap check ACCESS_POINT ACTION"
                        .to_owned(),
                    "or show a session: aap check --session-file FILE ACTION".to_owned(),
                ];
                Err(Failure::invalid("may who do what?", remedies).into())
            }
        }
    }

    fn request(&self, place: &Place) -> anyhow::Result<pb::CheckAccessRequest> {
        let (subject, action, resource) = self.question()?;
        let (parent, subject) = match subject {
            Who::Session(file) => {
                (place.location()?, Subject::Session(secrets::read_token(file)?.to_string()))
            }
            Who::AccessPoint(name) => {
                let name = Kind::AccessPoint.name(place, name)?;
                // What is asked about is where the access point is.
                let parent = name.split('/').take(4).collect::<Vec<_>>().join("/");
                (parent, Subject::AccessPoint(name))
            }
        };
        let network = match (self.public, &self.vpc, self.private) {
            (true, _, _) => Some(Network::PublicNetwork(pb::PublicNetwork {})),
            (_, Some(vpc_id), _) => {
                Some(Network::VpcNetwork(pb::VpcNetwork { vpc_id: vpc_id.clone() }))
            }
            (_, _, true) => Some(Network::PrivateNetwork(pb::PrivateNetwork {})),
            (false, None, false) => None,
        };
        let address = self.from.clone();
        let is_known = network.is_some() || !address.is_empty();
        Ok(pb::CheckAccessRequest {
            parent,
            check: Some(pb::Check {
                subject: Some(subject),
                action: action.to_owned(),
                resource: resource.to_owned(),
                instance: self.instance.clone(),
                origin: is_known.then_some(pb::Origin { network, address }),
            }),
            request_id: self.request_id.clone(),
            at_least_revision: self.at_least_revision,
        })
    }
}

fn print(answer: &pb::CheckAccessResponse, decision: &pb::Decision) {
    let (style, outcome) = match decision.outcome() {
        pb::Outcome::Allow => (Style::Good, "allowed:"),
        pb::Outcome::Deny | pb::Outcome::Unspecified => (Style::Bad, "denied:"),
    };
    say(marked(style, outcome, &clean(&words(decision))));
    if let Some(pb::Receipt { sequence, durable, .. }) = &answer.receipt {
        let kept = if *durable { "on disk" } else { "not yet on disk" };
        let revision = answer.revision;
        say(format_args!("decided at revision {revision}; record {sequence}, {kept}"));
    }
}

/// Why, as a sentence.
fn words(decision: &pb::Decision) -> String {
    let pb::Decision { policy, network_rule, nearest_policy, .. } = decision;
    let nearest = match nearest_policy.as_str() {
        "" => String::new(),
        nearest => format!(" (the nearest policy is `{}`)", short(nearest)),
    };
    match decision.reason() {
        Reason::PolicyGrants => match network_rule.as_str() {
            "" => format!("policy `{}` grants it, from any network", short(policy)),
            rule => format!(
                "policy `{}` grants it, and network rule `{}` lets the call in",
                short(policy),
                short(rule)
            ),
        },
        Reason::AccessPointNotFound => "there is no such access point".to_owned(),
        Reason::AccessPointSuspended => "the access point is suspended".to_owned(),
        Reason::ScopeNotCovered => "no policy is for that instance".to_owned() + &nearest,
        Reason::ActionNotPermitted => {
            format!("no policy for that instance permits the action{nearest}")
        }
        Reason::ResourceNotCovered => {
            format!("no policy that permits the action covers the resource{nearest}")
        }
        Reason::NetworkNotAllowed => {
            format!("no network rule lets a call in from there{nearest}")
        }
        Reason::RoleNotTrusted => {
            "the access point's RAM role doesn't trust its environment, or isn't there".to_owned()
        }
        Reason::ProofAccepted => "the proof is good".to_owned(),
        Reason::CredentialUnknown => "there is no such client key or session".to_owned(),
        Reason::CredentialInvalid => {
            "the session is not genuine, or has been revoked since it was granted".to_owned()
        }
        Reason::CredentialDisabled => "the client key is disabled".to_owned(),
        Reason::CredentialNotYetValid => "the client key is not valid yet".to_owned(),
        Reason::CredentialExpired => "the session or the client key has expired".to_owned(),
        Reason::AuthenticationMethodMismatch => {
            "the access point has another way to authenticate".to_owned()
        }
        Reason::Unspecified => {
            "the server gives a reason that this program doesn't know".to_owned()
        }
    }
}
