//! Proofs by caller identity: the parameters of a signed `GetCallerIdentity` request, and what the
//! STS says of who signed it.
//!
//! Pure. Who has a role's credentials signs such a request and doesn't send it; this server sends it
//! to its own STS, which verifies the signature and answers whose it is. The signature is opaque
//! here, so nothing of a request is believed before that answer. Of the parameters only those are
//! taken that such a request has, each once: the query is made of them anew.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::{
    proof::ProofProblem,
    time::{Date, UnixNanos},
};

use super::jwt::TOLERANCE;

/// How old a request is at most, in seconds. The STS takes older ones.
pub const MAX_AGE: i64 = 5 * 60;
/// The most bytes of what the STS answers.
pub const MAX_ANSWER_BYTES: usize = 8 * 1_024;
/// The most bytes of a parameter's value; tokens of the platform have about a thousand.
const MAX_VALUE_BYTES: usize = 4_096;
/// The most bytes of an access key's id, a nonce or a region.
const MAX_WORD_BYTES: usize = 128;
/// What the ids of credentials begin with that a role's are among.
const TEMPORARY: &str = "STS.";

/// A signed request, in the form that the STS is sent.
pub struct SignedRequest {
    query: Zeroizing<String>,
    /// What tells it from every other.
    pub id: String,
    /// Until when it could be shown again, in seconds since 1970.
    pub expires: i64,
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedRequest")
    }
}

/// What a request must say to be sent on.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// A further parameter that is demanded, and its value: what this server is called.
    pub audience: Option<(&'a str, &'a str)>,
    /// The time.
    pub now: UnixNanos,
    /// When this server started.
    pub started: UnixNanos,
}

/// Who signed a request, as the STS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: Box<str>,
    /// The role's name.
    pub role: Box<str>,
    /// All of the ARN: the role's session is in it.
    pub arn: Box<str>,
}

/// What a parameter's value must be.
#[derive(Clone, Copy)]
enum Value {
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A word of visible ASCII characters.
    Word,
    /// Base64, or what else a signature or a token is made of.
    Secret,
    /// A point in time.
    Time,
}

/// Whether a parameter must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

/// The parameters that a request has: version 1 of the platform's signatures.
const PARAMETERS: [(&str, Value, Need); 12] = [
    ("AccessKeyId", Value::Word, Need::Must),
    ("Action", Value::OneOf(&["GetCallerIdentity"]), Need::Must),
    ("Format", Value::OneOf(&["JSON"]), Need::Must),
    ("RegionId", Value::Word, Need::May),
    ("SecurityToken", Value::Secret, Need::Must),
    ("Signature", Value::Secret, Need::Must),
    ("SignatureMethod", Value::OneOf(&["HMAC-SHA1", "HMAC-SHA256"]), Need::Must),
    ("SignatureNonce", Value::Word, Need::Must),
    ("SignatureType", Value::OneOf(&[""]), Need::May),
    ("SignatureVersion", Value::OneOf(&["1.0"]), Need::Must),
    ("Timestamp", Value::Time, Need::Must),
    ("Version", Value::OneOf(&["2015-04-01"]), Need::Must),
];

impl SignedRequest {
    /// Reads parameters, and makes the query of them that is sent.
    pub fn read(
        parameters: &[(&str, &str)],
        expected: &Expected<'_>,
    ) -> Result<Self, ProofProblem> {
        let sorted = sort(parameters, expected.audience)?;
        let value = |name: &str| sorted.get(name).copied().ok_or(ProofProblem::ParameterMissing);
        for (name, _, _) in PARAMETERS.iter().filter(|(_, _, need)| *need == Need::Must) {
            value(name)?;
        }
        if let Some((name, audience)) = expected.audience
            && value(name)? != audience
        {
            return Err(ProofProblem::AudienceMismatch);
        }
        let key = value("AccessKeyId")?;
        if !key.starts_with(TEMPORARY) {
            return Err(ProofProblem::IdentityMismatch);
        }
        let made = seconds_of(value("Timestamp")?).ok_or(ProofProblem::ParameterInvalid)?;
        let (now, started) = (expected.now.seconds(), expected.started.seconds());
        if made > now.saturating_add(TOLERANCE) {
            return Err(ProofProblem::IssuedInFuture);
        }
        if made.saturating_add(MAX_AGE) <= now {
            return Err(ProofProblem::Expired);
        }
        if made <= started.saturating_add(TOLERANCE) {
            return Err(ProofProblem::IssuedBeforeStart);
        }
        let id = format!("{key} {}", value("SignatureNonce")?);
        Ok(Self { query: query_of(&sorted), id, expires: made.saturating_add(MAX_AGE) })
    }

    /// The query, with everything in it that is secret.
    pub fn reveal(&self) -> &str {
        &self.query
    }
}

/// Whether every such request may have a parameter of that name.
pub fn has(name: &str) -> bool {
    PARAMETERS.iter().any(|(known, _, _)| *known == name)
}

/// The parameters by their names: each is known, is there once, and has a value that it can have.
fn sort<'p>(
    parameters: &[(&'p str, &'p str)],
    audience: Option<(&str, &str)>,
) -> Result<BTreeMap<&'p str, &'p str>, ProofProblem> {
    let mut sorted = BTreeMap::new();
    for (name, value) in parameters {
        let known = PARAMETERS.iter().find(|(known, _, _)| known == name);
        match (known, audience) {
            (Some((_, wanted, _)), _) => wanted.check(value)?,
            // Compared with the one value that it may have, later.
            (None, Some((demanded, _))) if demanded == *name => {}
            (None, _) => return Err(ProofProblem::ParameterUnknown),
        }
        if sorted.insert(*name, *value).is_some() {
            return Err(ProofProblem::ParameterRepeated);
        }
    }
    Ok(sorted)
}

impl Value {
    fn check(self, value: &str) -> Result<(), ProofProblem> {
        let is_visible = value.bytes().all(|byte| byte.is_ascii_graphic());
        let is_good = match self {
            Self::OneOf(values) => values.contains(&value),
            Self::Word => is_visible && (1..=MAX_WORD_BYTES).contains(&value.len()),
            Self::Secret => is_visible && (1..=MAX_VALUE_BYTES).contains(&value.len()),
            Self::Time => seconds_of(value).is_some(),
        };
        if is_good { Ok(()) } else { Err(ProofProblem::ParameterInvalid) }
    }
}

/// The point that a time in the platform's form names, `2026-11-23T16:21:20Z`.
fn seconds_of(text: &str) -> Option<i64> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if signs.iter().any(|(place, sign)| bytes.get(*place) != Some(sign)) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u32> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let date = Date {
        year: u16::try_from(year).ok()?,
        month: u8::try_from(month).ok()?,
        day: u8::try_from(day).ok()?,
    };
    let start = UnixNanos::start_of(date)?;
    Some(start.plus_seconds(i64::from((hour * 60 + minute) * 60 + second)).seconds())
}

/// A query of parameters, by RFC 3986: the same bytes whatever form they came in.
fn query_of(parameters: &BTreeMap<&str, &str>) -> Zeroizing<String> {
    // Each byte takes three at most, so that nothing secret is left behind where it grew.
    let room = parameters.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut query = Zeroizing::new(String::with_capacity(room));
    for (name, value) in parameters {
        if !query.is_empty() {
            query.push('&');
        }
        encode(&mut query, name);
        query.push('=');
        encode(&mut query, value);
    }
    query
}

fn encode(query: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            query.push(char::from(byte));
            continue;
        }
        query.push('%');
        for half in [byte >> 4, byte & 15] {
            query.extend(char::from_digit(half.into(), 16).map(|digit| digit.to_ascii_uppercase()));
        }
    }
}

/// What the STS answers, as far as it counts.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    account_id: String,
    arn: String,
    identity_type: String,
}

impl Identity {
    /// Reads an answer with the status 200.
    pub fn read(body: &[u8]) -> Result<Self, ProofProblem> {
        let answer = serde_json::from_slice(body).map_err(|_| ProofProblem::StsAnswerInvalid)?;
        let Answer { account_id, arn, identity_type } = answer;
        if identity_type != "AssumedRoleUser" {
            return Err(ProofProblem::IdentityMismatch);
        }
        let (account, role) = read_arn(&arn).ok_or(ProofProblem::IdentityMismatch)?;
        if account != account_id {
            return Err(ProofProblem::IdentityMismatch);
        }
        Ok(Self { account: account.into(), role: role.into(), arn: arn.as_str().into() })
    }
}

/// The account and the role of an ARN `acs:ram::<account>:assumed-role/<role>/<session>`.
fn read_arn(arn: &str) -> Option<(&str, &str)> {
    let (account, resource) = arn.strip_prefix("acs:ram::")?.split_once(':')?;
    let (role, session) = resource.strip_prefix("assumed-role/")?.split_once('/')?;
    let are_whole =
        [account, role, session].iter().all(|part| !part.is_empty() && !part.contains([':', '/']));
    are_whole.then_some((account, role))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    /// 2026-11-23T16:21:20Z.
    const MADE: i64 = 1_795_450_880;

    fn good() -> Vec<(&'static str, &'static str)> {
        vec![
            ("Timestamp", "2026-11-23T16:21:20Z"),
            ("AccessKeyId", "STS.abc"),
            ("Action", "GetCallerIdentity"),
            ("Format", "JSON"),
            ("SecurityToken", "CAIS+/=="),
            ("Signature", "a+b/c="),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", "n-1"),
            ("SignatureVersion", "1.0"),
            ("Version", "2015-04-01"),
        ]
    }

    fn read_at(
        parameters: &[(&str, &str)],
        audience: Option<(&str, &str)>,
        now: i64,
    ) -> Result<SignedRequest, ProofProblem> {
        let (now, started) = (UnixNanos::from_parts(now, 0), UnixNanos::from_parts(MADE - 600, 0));
        SignedRequest::read(parameters, &Expected { audience, now, started })
    }

    fn problem(parameters: &[(&str, &str)]) -> Option<ProofProblem> {
        read_at(parameters, None, MADE + 1).err()
    }

    #[test]
    fn a_good_request_becomes_one_query_whatever_its_order() {
        let read = read_at(&good(), None, MADE + 1).unwrap();
        let query = "AccessKeyId=STS.abc&Action=GetCallerIdentity&Format=JSON\
            &SecurityToken=CAIS%2B%2F%3D%3D&Signature=a%2Bb%2Fc%3D&SignatureMethod=HMAC-SHA1\
            &SignatureNonce=n-1&SignatureVersion=1.0&Timestamp=2026-11-23T16%3A21%3A20Z\
            &Version=2015-04-01";
        assert_eq!(read.reveal(), query);
        assert_eq!((&*read.id, read.expires), ("STS.abc n-1", MADE + 300));
        assert_eq!(format!("{read:?}"), "SignedRequest");
        let mut turned = good();
        turned.reverse();
        turned.extend([("RegionId", "cn-hangzhou"), ("SignatureType", "")]);
        let read = read_at(&turned, None, MADE + 1).unwrap();
        assert!(read.reveal().contains("&RegionId=cn-hangzhou&"));
        assert!(read.reveal().contains("&SignatureType=&"));
    }

    #[test]
    fn every_parameter_is_known_is_there_once_and_says_what_it_may() {
        let with = |name: &'static str, value: &'static str| {
            let mut all = good();
            all.retain(|(known, _)| *known != name);
            all.push((name, value));
            all
        };
        for (name, _) in good() {
            let mut without = good();
            without.retain(|(known, _)| *known != name);
            assert_eq!(problem(&without), Some(ProofProblem::ParameterMissing), "{name}");
            let mut twice = good();
            let (_, value) = *twice.iter().find(|(known, _)| *known == name).unwrap();
            twice.push((name, value));
            assert_eq!(problem(&twice), Some(ProofProblem::ParameterRepeated), "{name}");
        }
        for name in ["action", "RoleArn", "", "Host", "AapAudience", "Action "] {
            assert_eq!(problem(&with(name, "x")), Some(ProofProblem::ParameterUnknown), "{name}");
        }
        for (name, value) in [
            ("Action", "AssumeRole"),
            ("Action", "getcalleridentity"),
            ("Format", "XML"),
            ("Version", "2016-01-20"),
            ("SignatureMethod", "SHA256withRSA"),
            ("SignatureVersion", "2.0"),
            ("SignatureType", "PRIVATEKEY"),
            ("SignatureNonce", ""),
            ("SignatureNonce", "a b"),
            ("SecurityToken", ""),
            ("Signature", "a\r\nb"),
            ("RegionId", "cn-hangzhou\u{0}"),
            ("Timestamp", "2026-11-23 16:21:20Z"),
            ("Timestamp", "2026-02-30T16:21:20Z"),
            ("Timestamp", "2026-11-23T24:00:00Z"),
            ("Timestamp", "+026-11-23T16:21:20Z"),
            ("Timestamp", "2026-11-23T16:21:20ä"),
            ("Timestamp", "2026-11-23T16:21:20+01:00"),
        ] {
            let found = problem(&with(name, value));
            assert_eq!(found, Some(ProofProblem::ParameterInvalid), "{name}={value}");
        }
        assert_eq!(
            problem(&with("AccessKeyId", "LTAI-a-user's")),
            Some(ProofProblem::IdentityMismatch)
        );
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        let mut all = good();
        all.retain(|(name, _)| *name != "SecurityToken");
        all.push(("SecurityToken", &long));
        assert_eq!(problem(&all), Some(ProofProblem::ParameterInvalid));
        // However many there are, the first one too many ends it.
        let many: Vec<_> = (0..1_000_000).map(|_| ("Format", "JSON")).collect();
        assert_eq!(problem(&many), Some(ProofProblem::ParameterRepeated));
    }

    #[test]
    fn a_request_is_new_and_made_since_the_start() {
        let at = |now| read_at(&good(), None, now).err();
        assert_eq!(at(MADE - TOLERANCE), None);
        assert_eq!(at(MADE - TOLERANCE - 1), Some(ProofProblem::IssuedInFuture));
        assert_eq!(at(MADE + MAX_AGE - 1), None);
        assert_eq!(at(MADE + MAX_AGE), Some(ProofProblem::Expired));
        let (now, started) = (UnixNanos::from_parts(MADE, 0), UnixNanos::from_parts(MADE - 5, 0));
        let read = SignedRequest::read(&good(), &Expected { audience: None, now, started });
        assert_eq!(read.err(), Some(ProofProblem::IssuedBeforeStart));
    }

    #[test]
    fn a_name_of_this_server_can_be_demanded_among_what_is_signed() {
        let demanded = Some(("AapAudience", "aap.test"));
        let with = |value: Option<&'static str>| {
            let mut all = good();
            all.extend(value.map(|value| ("AapAudience", value)));
            read_at(&all, demanded, MADE + 1)
        };
        assert!(with(Some("aap.test")).unwrap().reveal().contains("AapAudience=aap.test&"));
        assert_eq!(with(None).err(), Some(ProofProblem::ParameterMissing));
        assert_eq!(with(Some("other")).err(), Some(ProofProblem::AudienceMismatch));
    }

    fn answer(name: &str, value: &Json) -> Result<Identity, ProofProblem> {
        let mut answer = json!({
            "RequestId": "1", "AccountId": "1000", "RoleId": "3", "PrincipalId": "3:vm-1",
            "Arn": "acs:ram::1000:assumed-role/ECSRole/vm-ram-i-1",
            "IdentityType": "AssumedRoleUser",
        });
        answer[name] = value.clone();
        Identity::read(answer.to_string().as_bytes())
    }

    #[test]
    fn an_answer_says_whose_role_it_is() {
        let identity = Identity {
            account: "1000".into(),
            role: "ECSRole".into(),
            arn: "acs:ram::1000:assumed-role/ECSRole/vm-ram-i-1".into(),
        };
        assert_eq!(answer("RequestId", &json!("2")), Ok(identity));
        for (name, value, problem) in [
            ("IdentityType", json!("RAMUser"), ProofProblem::IdentityMismatch),
            ("IdentityType", json!("Account"), ProofProblem::IdentityMismatch),
            ("IdentityType", json!("assumedroleuser"), ProofProblem::IdentityMismatch),
            ("AccountId", json!("1001"), ProofProblem::IdentityMismatch),
            ("AccountId", json!("1000 "), ProofProblem::IdentityMismatch),
            ("AccountId", json!(1000), ProofProblem::StsAnswerInvalid),
            ("AccountId", json!(null), ProofProblem::StsAnswerInvalid),
            ("Arn", json!("acs:ram::1000:user/ECSRole"), ProofProblem::IdentityMismatch),
            ("Arn", json!("acs:ram::1000:role/ECSRole"), ProofProblem::IdentityMismatch),
            ("Arn", json!("acs:ram::1000:assumed-role/ECSRole"), ProofProblem::IdentityMismatch),
            ("Arn", json!("acs:ram::1000:assumed-role//s"), ProofProblem::IdentityMismatch),
            ("Arn", json!("acs:ram::1000:assumed-role/a/b/c"), ProofProblem::IdentityMismatch),
            ("Arn", json!("acs:ram::1000:assumed-role/a/b:c"), ProofProblem::IdentityMismatch),
            ("Arn", json!("acs:ram:cn:1000:assumed-role/a/b"), ProofProblem::IdentityMismatch),
            ("Arn", json!("ACS:ram::1000:assumed-role/a/b"), ProofProblem::IdentityMismatch),
            ("Arn", json!(""), ProofProblem::IdentityMismatch),
        ] {
            assert_eq!(answer(name, &value), Err(problem), "{name}: {value}");
        }
        for body in ["", "[]", "{}", "{\"Arn\": \"a\", \"Arn\": \"b\"}", "\u{feff}{}"] {
            let read = Identity::read(body.as_bytes());
            assert_eq!(read, Err(ProofProblem::StsAnswerInvalid), "{body}");
        }
    }
}
