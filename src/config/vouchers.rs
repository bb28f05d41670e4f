//! Who vouches for roles in a configuration: the tables of token issuers and of the STS made into what
//! they mean, with everything that is wrong.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    domain::{access_point::TrustedRole, name::Id},
    identity::{
        caller_identity,
        https::Endpoint,
        key_set::KeySet,
        vouchers::{KeySource, SharedRoles, Sts, TokenIssuer, Vouchers},
    },
};

use super::{
    Problems,
    file::{StsTable, TokenIssuerTable},
    pem::{self, Files},
};

/// How far ahead tokens expire at most, in seconds, unless an issuer's table says otherwise.
const DEFAULT_MAX_SECONDS: i64 = 60 * 60;
const MOST_SECONDS: i64 = 24 * 60 * 60;
/// How long a claim's name or a name of an issuer is at most.
const MAX_TEXT_BYTES: usize = 512;
/// More issuers than this have never been tried.
const MAX_ISSUERS: usize = 256;
const ROOTS: &str = "name a file of the authorities that vouch for the server";
/// How long the STS may take, unless its table says otherwise.
const DEFAULT_STS_TIME: Duration = Duration::from_secs(5);
const TRUSTED_ROLES: &str = "write \"ecs_instance\", \"ack_worker\" or \"function_compute\"";

pub(super) fn check(
    problems: &mut Problems,
    (tables, sts): (Vec<TokenIssuerTable>, Option<StsTable>),
    audience: Option<&Arc<str>>,
    files: &mut Files,
) -> Vouchers {
    let mut issuers: Vec<Arc<TokenIssuer>> = Vec::new();
    if tables.len() > MAX_ISSUERS {
        problems.add("token_issuers", format!("are more than {MAX_ISSUERS}"));
    }
    for (number, table) in tables.into_iter().enumerate().take(MAX_ISSUERS) {
        let path = format!("token_issuers[{number}]");
        let mut place = Place { problems, files, path };
        let Some(issuer) = place.check(table, audience) else { continue };
        if issuers.iter().any(|other| other.name == issuer.name) {
            place.add("name", "is another issuer's: give each its own");
        }
        if issuers.iter().any(|other| other.issuer == issuer.issuer) {
            place.add("issuer", "is another issuer's: who it is couldn't be told from a token");
        }
        issuers.push(Arc::new(issuer));
    }
    let mut place = Place { problems, files, path: "sts".to_owned() };
    let sts = sts.and_then(|table| place.check_sts(table, audience)).map(Arc::new);
    Vouchers { issuers, sts }
}

/// One table, and where it stands.
struct Place<'p> {
    problems: &'p mut Problems,
    files: &'p mut Files,
    path: String,
}

/// Where keys are from, as it is written.
struct KeysTable {
    file: Option<PathBuf>,
    url: Option<String>,
    ca: Option<PathBuf>,
}

impl Place<'_> {
    fn add(&mut self, key: &str, detail: impl ToString) {
        self.problems.add(format!("{}.{key}", self.path), detail);
    }

    fn keep<T, E: ToString>(&mut self, key: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.add(key, error)).ok()
    }

    fn require<T>(&mut self, key: &str, given: Option<T>, remedy: &str) -> Option<T> {
        self.keep(key, given.ok_or_else(|| format!("is missing: {remedy}")))
    }

    fn check(
        &mut self,
        table: TokenIssuerTable,
        server_audience: Option<&Arc<str>>,
    ) -> Option<TokenIssuer> {
        let TokenIssuerTable {
            name,
            issuer,
            audience,
            accounts,
            account_claim,
            trusted_role,
            role_claim,
            max_token_seconds,
            jwks_file,
            jwks_url,
            ca,
        } = table;
        let name = self
            .require("name", name, "records bear it")
            .and_then(|name| self.keep("name", Id::parse(&name)));
        let issuer = self
            .require("issuer", issuer, "it is what tokens say in `iss`")
            .and_then(|issuer| self.check_text("issuer", issuer));
        let audience = match audience {
            Some(audience) => self.check_text("audience", audience).map(Arc::from),
            None => {
                let remedy = "name what tokens say in `aud`, or set `sessions.audience`";
                self.require("audience", server_audience.map(Arc::clone), remedy)
            }
        };
        let accounts = self.check_accounts(accounts);
        let account_claim = account_claim.map(|claim| self.check_text("account_claim", claim));
        if account_claim.is_none() && accounts.as_ref().is_some_and(|some| some.len() > 1) {
            let problem = "is missing: with several accounts, a token must say which it is of";
            self.add("account_claim", problem);
        }
        let trusted_role = self
            .require("trusted_role", trusted_role, TRUSTED_ROLES)
            .and_then(|text| self.check_trusted_role(&text));
        let role_claim = self
            .require("role_claim", role_claim, "name the claim that has the role's id")
            .and_then(|claim| self.check_text("role_claim", claim));
        let max_seconds = max_token_seconds.unwrap_or(DEFAULT_MAX_SECONDS);
        if !(1..=MOST_SECONDS).contains(&max_seconds) {
            self.add("max_token_seconds", "must be 1 to 86,400");
        }
        let keys = self.check_keys(KeysTable { file: jwks_file, url: jwks_url, ca });
        Some(TokenIssuer {
            name: name?,
            issuer: issuer?,
            audience: audience?,
            accounts: accounts?,
            // Given and wrong is not the same as not given.
            account_claim: account_claim.map_or(Some(None), |claim| claim.map(Some))?,
            trusted_role: trusted_role?,
            role_claim: role_claim?,
            max_seconds,
            keys: keys?,
        })
    }

    fn check_sts(&mut self, table: StsTable, server_audience: Option<&Arc<str>>) -> Option<Sts> {
        let StsTable { endpoint, ca, timeout_seconds, audience_parameter, accept_shared_roles } =
            table;
        let url = self.require("endpoint", endpoint, "name the URL of the platform's STS");
        let ca = self.require("ca", ca, ROOTS);
        let endpoint =
            url.zip(ca).and_then(|(url, ca)| self.check_endpoint(("endpoint", &url), &ca));
        let endpoint = endpoint.filter(|endpoint| {
            let is_host = endpoint.is_host_alone();
            if !is_host {
                self.add("endpoint", "must be a host alone, without a path and a query");
            }
            is_host
        });
        let time = timeout_seconds.map_or(DEFAULT_STS_TIME, Duration::from_secs);
        if !(1..=30).contains(&time.as_secs()) {
            self.add("timeout_seconds", "must be 1 to 30");
        }
        let audience = match audience_parameter {
            None => Some(None),
            Some(name) => self.check_parameter(&name, server_audience).map(Some),
        };
        let shared_roles = match accept_shared_roles {
            Some(true) => SharedRoles::Taken,
            Some(false) | None => SharedRoles::Refused,
        };
        Some(Sts { endpoint: endpoint?, time, audience: audience?, shared_roles })
    }

    fn check_parameter(
        &mut self,
        name: &str,
        server_audience: Option<&Arc<str>>,
    ) -> Option<(Box<str>, Arc<str>)> {
        const KEY: &str = "audience_parameter";
        let is_word =
            (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_word || caller_identity::has(name) {
            self.add(KEY, "must be 1 to 64 letters and digits, and no parameter of any request");
            return None;
        }
        let Some(audience) = server_audience else {
            self.add(KEY, "needs `sessions.audience`: that is what it must have");
            return None;
        };
        Some((name.into(), Arc::clone(audience)))
    }

    fn check_text(&mut self, key: &str, text: String) -> Option<Box<str>> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_visible && (1..=MAX_TEXT_BYTES).contains(&text.len()) {
            return Some(text.into());
        }
        self.add(key, format!("must be 1 to {MAX_TEXT_BYTES} visible ASCII characters"));
        None
    }

    /// All accounts at once would be whatever account is made one day.
    fn check_accounts(&mut self, accounts: Option<Vec<String>>) -> Option<BTreeSet<Id>> {
        const REMEDY: &str = "name the accounts that it may vouch for";
        let accounts = self.require("accounts", accounts, REMEDY)?;
        let ids: Result<BTreeSet<_>, _> = accounts.iter().map(|text| Id::parse(text)).collect();
        let ids = ids.map_err(|error| format!("has an account that {error}; `*` is none"));
        let ids = self.keep("accounts", ids)?;
        if ids.is_empty() {
            self.add("accounts", format!("is empty: {REMEDY}"));
            return None;
        }
        Some(ids)
    }

    fn check_trusted_role(&mut self, text: &str) -> Option<TrustedRole> {
        match text {
            "ecs_instance" => Some(TrustedRole::EcsInstance),
            "ack_worker" => Some(TrustedRole::AckWorker),
            "function_compute" => Some(TrustedRole::FunctionCompute),
            _ => {
                self.add("trusted_role", format!("is unknown: {TRUSTED_ROLES}"));
                None
            }
        }
    }

    fn check_keys(&mut self, table: KeysTable) -> Option<KeySource> {
        match table {
            KeysTable { file: Some(path), url: None, ca: None } => {
                let keys = self.read_keys(&path);
                let keys = self.keep("jwks_file", keys)?;
                Some(KeySource::Given(Arc::new(keys)))
            }
            KeysTable { file: None, url: Some(url), ca: Some(ca) } => {
                let endpoint = self.check_endpoint(("jwks_url", &url), &ca)?;
                Some(KeySource::Server(endpoint))
            }
            KeysTable { file: None, url: Some(_), ca: None } => {
                self.require::<()>("ca", None, ROOTS);
                None
            }
            KeysTable { file: None, url: None, .. } => {
                self.add("jwks_url", "is missing: say where its keys are, there or in `jwks_file`");
                None
            }
            KeysTable { file: Some(_), .. } => {
                self.add("jwks_file", "stands alone: take out `jwks_url` and `ca`");
                None
            }
        }
    }

    fn read_keys(&mut self, path: &Path) -> Result<KeySet, String> {
        KeySet::parse(self.files.read(path)?).map_err(|error| error.to_string())
    }

    fn check_endpoint(&mut self, (key, url): (&str, &str), ca: &Path) -> Option<Endpoint> {
        let roots = pem::roots(self.files, ca);
        let roots = self.keep("ca", roots)?;
        self.keep(key, Endpoint::parse(url, Arc::new(roots)))
    }
}
