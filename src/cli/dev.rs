//! `aap serve --dev`: a server to try, with fresh credentials and the example of the KMS's own
//! documentation.

mod issuer;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{
    audit::log::Options,
    config::{
        Config, ConnectionLimits, Overrides, listeners::ListenerConfig, scrub::ScrubLimits,
        telemetry::TelemetryConfig,
    },
    domain::{
        access_point::{Authentication, PolicyIds, TrustedRole},
        audit_cursor::CursorLimits,
        command::{Command, NewAccessPoint, NewNetworkRule, NewPolicy, NewRamRole},
        limits::Limits,
        name::{AccessPointName, Id, Instance, Location, NetworkRuleName, PolicyName, RamRoleName},
        network::{NetworkKind, Prefix, VpcId},
        network_rule::Addresses,
        pattern::ResourcePattern,
        policy::{NetworkAccess, Terms},
        resource::Description,
        rules::Template,
        trust_policy::TrustPolicy,
    },
    identity::{
        bounds::Bounds,
        caller::{Accounts, Assertion, Caller, CallerRole, Callers},
        token::NewToken,
    },
    service::watches::WatchLimits,
    store::{snapshot, space::Reserve},
    telemetry::log::LogSettings,
};

use super::say;
use issuer::Issuer;

pub(super) use issuer::{VARIABLE as ISSUER_KEY, token as role_token};

const ADDRESS: &str = "127.0.0.1:7300";
/// What it is called by applications that ask for sessions.
const AUDIENCE: &str = "aap.local/dev";
const DATA_DIR: &str = "aap-dev";
const ACCOUNT: &str = "demo";
const REGION: &str = "local";
const LOCATION: &str = "accounts/demo/regions/local";
/// What every role of an ECS instance has on the platform.
const ECS_TRUST: &str = r#"{"Version":"1","Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["ecs.aliyuncs.com"]}}]}"#;
/// Beside the data directory, which is the server's alone.
const CREDENTIALS: &str = "aap-dev.env";

/// What a server to try begins with.
#[derive(Debug)]
pub(super) struct World {
    /// Its configuration.
    pub(super) config: Config,
    /// What is there at its first start.
    pub(super) seed: Vec<Command>,
    credentials: PathBuf,
}

impl World {
    /// Makes credentials and says what to do with them.
    pub(super) fn make(overrides: Overrides) -> anyhow::Result<Self> {
        let Overrides { listen, data_dir, log } = overrides;
        let listen = if listen.is_empty() { vec![ADDRESS.parse()?] } else { listen };
        if let Some(address) = listen.iter().find(|address| !address.ip().is_loopback()) {
            bail!("--dev listens on loopback only, not on {address}");
        }
        let data_dir = data_dir.unwrap_or_else(|| DATA_DIR.into());
        let credentials = data_dir.with_file_name(CREDENTIALS);
        let tokens = Tokens::make()?;
        tokens.write(&credentials, &listen)?;
        let config = Config {
            listeners: listen.into_iter().map(ListenerConfig::plain).collect(),
            connections: ConnectionLimits::default(),
            data_dir,
            origin: "aap.local/dev".to_owned(),
            callers: tokens.callers()?,
            audit: Options::default(),
            snapshot_every: snapshot::DEFAULT_EVERY,
            scrub: ScrubLimits::default(),
            // To try something out, a nearly full disk is good enough.
            reserve: Reserve { management_percent: 0, check_percent: 0 },
            limits: Limits::default(),
            watches: WatchLimits::default(),
            cursors: CursorLimits::default(),
            log: LogSettings { filter: log.unwrap_or_default(), ..LogSettings::default() },
            telemetry: TelemetryConfig::default(),
            audience: Some(AUDIENCE.into()),
            vouchers: tokens.issuer.vouchers()?,
        };
        tokens.introduce(&config, &credentials);
        Ok(Self { config, seed: example()?, credentials })
    }

    /// Removes the credentials, which are worth nothing once the server has stopped.
    pub(super) fn forget_credentials(&self) {
        let _ = fs::remove_file(&self.credentials);
    }
}

struct Tokens {
    admin: NewToken,
    enforcer: NewToken,
    auditor: NewToken,
    issuer: Issuer,
}

impl Tokens {
    fn make() -> anyhow::Result<Self> {
        let make = || NewToken::make().context("can't make a token");
        let issuer = Issuer::make()?;
        Ok(Self { admin: make()?, enforcer: make()?, auditor: make()?, issuer })
    }

    fn callers(&self) -> anyhow::Result<Callers> {
        let mut callers = Callers::default();
        let demo = Accounts::Only(BTreeSet::from([Id::parse(ACCOUNT)?]));
        for (name, token, role, accounts) in [
            ("dev-admin", &self.admin, CallerRole::Admin, demo.clone()),
            (
                "dev-enforcer",
                &self.enforcer,
                CallerRole::Enforcer(Assertion::Allowed, Bounds::NONE),
                demo,
            ),
            ("dev-auditor", &self.auditor, CallerRole::Auditor, Accounts::All),
        ] {
            let caller = Caller { name: name.into(), role, accounts, expires: None };
            if !callers.add(token.digest(), caller) {
                bail!("two tokens are the same");
            }
        }
        Ok(callers)
    }

    /// Writes the tokens where a shell can read them.
    fn write(&self, path: &Path, listen: &[SocketAddr]) -> anyhow::Result<()> {
        let address = listen.first().map(ToString::to_string).unwrap_or_default();
        let admin = self.admin.reveal();
        let text = format!(
            "# Credentials of the running `aap serve --dev`; they end with it.\n\
             AAP_ADDRESS={address}\nAAP_ADMIN={admin}\nAAP_ENFORCER={}\nAAP_AUDITOR={}\n\
             # What the program itself asks, and as whom.\n\
             export AAP_SERVER=http://{address} AAP_TOKEN={admin}\n\
             export AAP_ACCOUNT={ACCOUNT} AAP_REGION={REGION} AAP_AUDIENCE={AUDIENCE}\n\
             # The key of its issuer, by which `aap token role` says who runs under which RAM role.\n\
             export {ISSUER_KEY}={}\n",
            self.enforcer.reveal(),
            self.auditor.reveal(),
            *self.issuer.to_text()?,
        );
        let _ = fs::remove_file(path);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("can't write credentials to `{}`", path.display()))
    }

    fn introduce(&self, config: &Config, credentials: &Path) {
        let address =
            config.listeners.first().map(|one| one.address.to_string()).unwrap_or_default();
        say(format_args!(
            "\
aap serve --dev

  address    {address} (plain text, loopback only)
  data       {data}/
  admin      {admin}
  enforcer   {enforcer}
  auditor    {auditor}
  example    {LOCATION}

The tokens are made anew at each start. In another shell, from this directory:

  . {credentials}

  # May the example's application read a secret, from its own network? It may:
  AAP_TOKEN=$AAP_ENFORCER aap check app GetSecretValue secret/dataKey1 \\
    --vpc vpc-1 --from 192.168.1.20

  # Its application proves that it runs under its RAM role, and gets a session:
  aap token role ECSRole | aap session create app --role-token -

  # What it has, and who changed what:
  aap access-point list
  aap changes list

  # Every decision there was, and each new one as it is made:
  grpcurl -plaintext -H \"authorization: Bearer $AAP_AUDITOR\" -d '{{\"from_sequence\": 1}}' \\
    $AAP_ADDRESS aap.v1.AuditService/WatchAuditRecords
",
            data = config.data_dir.display(),
            admin = self.admin.reveal(),
            enforcer = self.enforcer.reveal(),
            auditor = self.auditor.reveal(),
            credentials = shell_path(credentials),
        ));
    }
}

/// A path that `.` reads as a file of this directory and doesn't look for elsewhere.
fn shell_path(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains('/') { text } else { format!("./{text}") }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// The example of the KMS's documentation: an application on an ECS instance reads data keys from
/// its VPC.
fn example() -> anyhow::Result<Vec<Command>> {
    let location = Location::parse(LOCATION)?;
    let (rule, policy) = (Id::parse("Network")?, Id::parse("RAMPolicy")?);
    let role = RamRoleName { account: location.account.clone(), id: Id::parse("ECSRole")? };
    let terms = Terms::new(
        Instance::parse(Instance::SHARED)?,
        vec![Template::SecretUser],
        vec![ResourcePattern::parse("secret/dataKey****")?],
        NetworkAccess::Rules(Box::new([rule.clone()])),
    );
    let Ok(terms) = terms else { bail!("the example's policy is invalid") };
    Ok(vec![
        Command::CreateNetworkRule(NewNetworkRule {
            name: NetworkRuleName { location: location.clone(), id: rule },
            description: Description::parse("Access the specified VPC")?,
            kind: NetworkKind::Vpc(VpcId::parse("vpc-1")?),
            addresses: Addresses::new(vec![Prefix::parse("192.168.0.0/16")?])?,
        }),
        Command::CreatePolicy(NewPolicy {
            name: PolicyName { location: location.clone(), id: policy.clone() },
            description: Description::parse("Data keys, from the application's own network")?,
            terms,
        }),
        Command::CreateRamRole(NewRamRole {
            name: role.clone(),
            description: Description::parse("The role of the application's instance")?,
            trust_policy: TrustPolicy::parse(ECS_TRUST)?,
        }),
        Command::CreateAccessPoint(NewAccessPoint {
            name: AccessPointName { location, id: Id::parse("app")? },
            description: Description::parse("An application on an ECS instance")?,
            authentication: Authentication::RamRole {
                trusted_role: TrustedRole::EcsInstance,
                role: role.id,
            },
            policies: PolicyIds::new([policy])?,
        }),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_are_lines_that_a_shell_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CREDENTIALS);
        Tokens::make().unwrap().write(&path, &[ADDRESS.parse().unwrap()]).unwrap();
        let text = fs::read_to_string(path).unwrap();
        for line in text.lines() {
            assert!(["# ", "AAP_", "export AAP_"].iter().any(|start| line.starts_with(start)));
        }
        assert!(text.contains(&format!("\nexport {ISSUER_KEY}=")));
    }
}
