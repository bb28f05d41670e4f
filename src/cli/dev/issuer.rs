//! The issuer of `aap serve --dev`: it vouches for the roles of the example's account, so that the
//! way of RAM roles can be tried without a platform that has any.
//!
//! It has no address. Its key is made at each start, and who can read the credentials of the server
//! can make tokens by it: `aap token role`.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, bail};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    domain::{access_point::TrustedRole, client_key::MadeAlgorithm, name::Id},
    entropy::{self, Entropy},
    identity::{
        client_key::{generation::PrivateKey, public_key},
        jwt::{self, NewToken},
        key_set,
        vouchers::{KeySource, TokenIssuer, Vouchers},
    },
};

use super::{ACCOUNT, AUDIENCE};

/// Where who makes tokens finds the key.
pub(in crate::cli) const VARIABLE: &str = "AAP_DEV_ISSUER_KEY";
const KEY_ID: &str = "dev";
const ROLE_CLAIM: &str = "role";
/// For how long a token is good, in seconds.
const LIFETIME: i64 = 5 * 60;

/// The issuer's key.
pub(super) struct Issuer(PrivateKey);

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

impl Issuer {
    pub(super) fn make() -> anyhow::Result<Self> {
        let key = PrivateKey::generate(MadeAlgorithm::EcP256, &mut Entropy);
        Ok(Self(key.context("can't make a key")?))
    }

    /// The key as the environment has it.
    pub(super) fn to_text(&self) -> anyhow::Result<Zeroizing<String>> {
        let document = self.0.to_pkcs8().context("can't write a key")?;
        Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(document.as_bytes())))
    }

    /// One issuer for each type of environment, all with the same key.
    pub(super) fn vouchers(&self) -> anyhow::Result<Vouchers> {
        let info = self.0.to_public_key().context("can't write a key")?;
        let info = x509_cert::der::Encode::to_der(&info).context("can't write a key")?;
        let Some(keys) = key_set::of_p256(KEY_ID, &public_key::parse(&info)?) else {
            bail!("the key is of another algorithm");
        };
        let keys = Arc::new(keys);
        let issuer = |trusted_role: TrustedRole| {
            Ok(Arc::new(TokenIssuer {
                name: Id::parse(&format!("dev-{}", word(trusted_role)))?,
                issuer: name(trusted_role).into(),
                audience: AUDIENCE.into(),
                accounts: BTreeSet::from([Id::parse(ACCOUNT)?]),
                account_claim: None,
                trusted_role,
                role_claim: ROLE_CLAIM.into(),
                max_seconds: LIFETIME,
                keys: KeySource::Given(Arc::clone(&keys)),
            }))
        };
        let issuers: anyhow::Result<_> = TrustedRole::ALL.into_iter().map(issuer).collect();
        Ok(Vouchers { issuers: issuers?, sts: None })
    }
}

/// Makes a token that says that its bearer runs under a role, by a key as the environment has it.
pub(in crate::cli) fn token(
    key: &str,
    role: &str,
    trusted_role: TrustedRole,
) -> anyhow::Result<NewToken> {
    let wrong = || format!("`{VARIABLE}` is not what a running `aap serve --dev` wrote");
    let pkcs8 = Zeroizing::new(URL_SAFE_NO_PAD.decode(key).with_context(wrong)?);
    let key = PrivateKey::from_pkcs8(&pkcs8).with_context(wrong)?;
    let now = Clock::system().now().seconds();
    let claims = json!({
        "iss": name(trusted_role),
        "aud": AUDIENCE,
        "sub": format!("somebody who tries out `{role}`"),
        "iat": now,
        "exp": now.saturating_add(LIFETIME),
        "jti": entropy::uuid()?.to_string(),
        ROLE_CLAIM: role,
    });
    Ok(jwt::make(&key, KEY_ID, &claims)?)
}

/// What the issuer for a type of environment calls itself.
fn name(trusted_role: TrustedRole) -> String {
    format!("https://{AUDIENCE}/{}", word(trusted_role))
}

fn word(trusted_role: TrustedRole) -> &'static str {
    match trusted_role {
        TrustedRole::EcsInstance => "ecs-instance",
        TrustedRole::AckWorker => "ack-worker",
        TrustedRole::FunctionCompute => "function-compute",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::time::UnixNanos,
        identity::role_token::{Expected, RoleToken},
    };

    #[test]
    fn its_tokens_are_good_for_the_environment_that_they_name() {
        let issuer = Issuer::make().unwrap();
        let text = issuer.to_text().unwrap();
        let vouchers = issuer.vouchers().unwrap();
        for (trusted_role, issuer) in TrustedRole::ALL.into_iter().zip(&vouchers.issuers) {
            let token = token(&text, "ECSRole", trusted_role).unwrap();
            let read = RoleToken::read(token.reveal()).unwrap();
            assert_eq!(read.issuer(), Ok(&*issuer.issuer));
            assert_eq!(issuer.trusted_role, trusted_role);
            let KeySource::Given(keys) = &issuer.keys else { panic!("they are given") };
            let now = Clock::system().now();
            let expected = Expected {
                key: keys.find(read.key_id().unwrap()).unwrap(),
                audience: &issuer.audience,
                role_claim: &issuer.role_claim,
                account_claim: None,
                max_seconds: issuer.max_seconds,
                now,
                started: UnixNanos(0),
            };
            assert_eq!(&*read.verify(&expected).unwrap().role, "ECSRole");
        }
        assert!(token("nothing", "ECSRole", TrustedRole::EcsInstance).is_err());
    }
}
