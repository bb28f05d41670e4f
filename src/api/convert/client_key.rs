//! Client keys.

use std::{fmt, mem};

use prost_types::Timestamp;

use crate::{
    api::{pb, status::ApiError},
    domain::{
        client_key::{
            ClientKey, ClientKeyOrigin, ClientKeyState, KeyAlgorithm, MadeAlgorithm, Validity,
        },
        command::{Command, NewClientKey, Target},
        name::{AccessPointName, ClientKeyName, Id, ResourceName},
        time::UnixNanos,
    },
    identity::{
        caller::Caller,
        client_key::{
            certificate, password::Password, pkcs12::Encoding, public_key, signing_request,
        },
    },
    service::{
        client_keys::{Issued, Secret, Wanted},
        management::Manner,
    },
    store::writer::Mode,
};

use super::{Repetition, SentHeader, Violations, mutation, timestamp};

impl fmt::Debug for pb::IssueClientKeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueClientKeyRequest")
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for pb::IssueClientKeyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueClientKeyResponse")
            .field("client_key", &self.client_key)
            .finish_non_exhaustive()
    }
}

fn authorize_parent(caller: &Caller, parent: &str) -> Result<(), ApiError> {
    mutation::authorize(caller, "parent", AccessPointName::parse(parent), ResourceName::AccessPoint)
}

/// What a request for a new key wants, and how. The password is taken out of it first: what is kept of
/// a request, a digest of it too, must not depend on it.
pub fn read_issue(
    caller: &Caller,
    now: UnixNanos,
    mut request: pb::IssueClientKeyRequest,
) -> Result<(Manner, Wanted), ApiError> {
    let password = mem::take(&mut request.password);
    authorize_parent(caller, &request.parent)?;
    let repetition = Repetition::of(&mut request);
    let mut violations = Violations::default();
    let manner = repetition.manner(&mut violations);
    let pb::IssueClientKeyRequest {
        parent,
        algorithm,
        encoding,
        password: _,
        not_before_time,
        not_after_time,
        request_id: _,
        validate_only: _,
    } = request;
    let access_point = violations.keep("parent", AccessPointName::parse(&parent));
    let algorithm = parse_algorithm(&mut violations, algorithm);
    let encoding = parse_encoding(&mut violations, encoding);
    let password = match password {
        text if text.is_empty() => Some(None),
        text => violations.keep("password", Password::choose(text)).map(Some),
    };
    let validity = parse_validity(&mut violations, now, (not_before_time, not_after_time));
    let wanted = || {
        Some(Wanted {
            access_point: access_point?,
            algorithm: algorithm?,
            validity: validity?,
            encoding: encoding?,
            password: password?,
        })
    };
    violations.finish(manner.zip(wanted()))
}

/// What a request to bind a key wants, and how; the key gets this id.
pub fn read_import(
    caller: &Caller,
    (now, id): (UnixNanos, Id),
    mut request: pb::ImportClientKeyRequest,
) -> Result<(Manner, Command), ApiError> {
    authorize_parent(caller, &request.parent)?;
    let repetition = Repetition::of(&mut request);
    let mut violations = Violations::default();
    let manner = repetition.manner(&mut violations);
    let pb::ImportClientKeyRequest {
        parent,
        signing_request_pem,
        not_before_time,
        not_after_time,
        request_id: _,
        validate_only: _,
    } = request;
    let access_point = violations.keep("parent", AccessPointName::parse(&parent));
    let public_key =
        violations.keep("signing_request_pem", signing_request::parse(&signing_request_pem));
    let validity = parse_validity(&mut violations, now, (not_before_time, not_after_time));
    let command = || {
        Some(Command::AddClientKey(NewClientKey {
            name: ClientKeyName { access_point: access_point?, id },
            origin: ClientKeyOrigin::Imported,
            public_key: public_key?,
            validity: validity?,
        }))
    };
    violations.finish(manner.zip(command()))
}

fn parse_algorithm(violations: &mut Violations, algorithm: i32) -> Option<MadeAlgorithm> {
    use pb::ClientKeyAlgorithm as Sent;
    match Sent::try_from(algorithm) {
        Ok(Sent::Unspecified) => Some(MadeAlgorithm::default()),
        Ok(Sent::Rsa2048) => Some(MadeAlgorithm::Rsa2048),
        Ok(Sent::Rsa3072) => Some(MadeAlgorithm::Rsa3072),
        Ok(Sent::EcP256) => Some(MadeAlgorithm::EcP256),
        Err(_) => {
            violations.add("algorithm", "must be RSA_2048, RSA_3072 or EC_P256");
            None
        }
    }
}

fn parse_encoding(violations: &mut Violations, encoding: i32) -> Option<Encoding> {
    use pb::ClientKeyEncoding as Sent;
    match Sent::try_from(encoding) {
        Ok(Sent::Unspecified | Sent::Modern) => Some(Encoding::Modern),
        Ok(Sent::Compatible) => Some(Encoding::Compatible),
        Err(_) => {
            violations.add("encoding", "must be MODERN or COMPATIBLE");
            None
        }
    }
}

/// When a key is to prove something: both times or none.
pub fn parse_validity(
    violations: &mut Violations,
    now: UnixNanos,
    given: (Option<Timestamp>, Option<Timestamp>),
) -> Option<Validity> {
    let validity = match given {
        (None, None) => return Some(Validity::from_now(now)),
        (Some(from), Some(to)) => {
            let time =
                |Timestamp { seconds, nanos }: Timestamp| UnixNanos::from_parts(seconds, nanos);
            violations.keep("not_after_time", Validity::new(time(from), time(to)))?
        }
        (None, Some(_)) => {
            violations.add("not_before_time", "is required where `not_after_time` is given");
            return None;
        }
        (Some(_), None) => {
            violations.add("not_after_time", "is required where `not_before_time` is given");
            return None;
        }
    };
    if validity.not_after() <= now {
        violations.add("not_after_time", "must be in the future");
        return None;
    }
    Some(validity)
}

/// What a document says of a client key, as commands that make it so. Nobody shows that they have its
/// private half: who can write the data directory needs no proof.
pub fn parse_document(
    violations: &mut Violations,
    name: &ClientKeyName,
    document: pb::ClientKey,
) -> Vec<Command> {
    let pb::ClientKey {
        name: _,
        uid: _,
        etag: _,
        revision: _,
        create_time: _,
        update_time: _,
        state,
        origin,
        r#type: _,
        bits: _,
        public_key_pem,
        fingerprint: _,
        certificate_pem,
        not_before_time,
        not_after_time,
        last_use_time: _,
    } = document;
    let public_key =
        violations.keep("client_key.public_key_pem", public_key::from_pem(&public_key_pem));
    let origin = match pb::ClientKeyOrigin::try_from(origin) {
        Ok(pb::ClientKeyOrigin::Imported) => Some(ClientKeyOrigin::Imported),
        Ok(pb::ClientKeyOrigin::Issued) => violations
            .keep("client_key.certificate_pem", certificate::from_pem(&certificate_pem))
            .map(|certificate| ClientKeyOrigin::Issued(certificate.into())),
        Ok(pb::ClientKeyOrigin::Unspecified) | Err(_) => {
            violations.add("client_key.origin", "must be ISSUED or IMPORTED");
            None
        }
    };
    let time = |time: Option<Timestamp>| {
        let Timestamp { seconds, nanos } = time.unwrap_or_default();
        UnixNanos::from_parts(seconds, nanos)
    };
    let validity = Validity::new(time(not_before_time), time(not_after_time));
    let validity = violations.keep("client_key.not_after_time", validity);
    let target = Target { name: name.clone(), etag: None };
    let disable = match pb::ClientKeyState::try_from(state) {
        Ok(pb::ClientKeyState::Enabled) => None,
        Ok(pb::ClientKeyState::Disabled) => Some(Command::DisableClientKey(target)),
        Ok(pb::ClientKeyState::Unspecified) | Err(_) => {
            violations.add("client_key.state", "must be ENABLED or DISABLED");
            None
        }
    };
    let name = name.clone();
    let (Some(public_key), Some(origin), Some(validity)) = (public_key, origin, validity) else {
        return Vec::new();
    };
    let add = Command::AddClientKey(NewClientKey { name, origin, public_key, validity });
    [add].into_iter().chain(disable).collect()
}

/// A client key as it is sent.
pub fn send(key: &ClientKey, header: SentHeader) -> pb::ClientKey {
    let ClientKey {
        name,
        header: _,
        state,
        origin,
        public_key,
        validity,
        sessions_valid_from: _,
        last_use,
        notice: _,
    } = key;
    let SentHeader { uid, etag, revision, create_time, update_time } = header;
    let state = match state {
        ClientKeyState::Enabled => pb::ClientKeyState::Enabled,
        ClientKeyState::Disabled => pb::ClientKeyState::Disabled,
    };
    let (origin, certificate_pem) = match origin {
        ClientKeyOrigin::Issued(certificate) => {
            (pb::ClientKeyOrigin::Issued, certificate::to_pem(certificate))
        }
        ClientKeyOrigin::Imported => (pb::ClientKeyOrigin::Imported, String::new()),
    };
    let (kind, bits) = match public_key.algorithm {
        KeyAlgorithm::Rsa { bits } => (pb::ClientKeyType::Rsa, bits),
        KeyAlgorithm::EcP256 => (pb::ClientKeyType::EcP256, 256),
    };
    pb::ClientKey {
        name: name.to_string(),
        uid,
        etag,
        revision,
        create_time,
        update_time,
        state: state.into(),
        origin: origin.into(),
        r#type: kind.into(),
        bits: bits.into(),
        public_key_pem: public_key::to_pem(public_key),
        fingerprint: public_key::fingerprint(public_key),
        certificate_pem,
        not_before_time: Some(timestamp(validity.not_before())),
        not_after_time: Some(timestamp(validity.not_after())),
        last_use_time: last_use.map(timestamp),
    }
}

/// What was given away, as it is sent. What would be given away has no name and no key yet.
pub fn send_issued(issued: Issued) -> pb::IssueClientKeyResponse {
    let Issued { key, secret } = issued;
    let Some(Secret { file, pkcs12, password }) = secret else {
        let header = SentHeader::made_in(Mode::ValidateOnly, &key.header);
        let client_key = pb::ClientKey {
            name: String::new(),
            public_key_pem: String::new(),
            fingerprint: String::new(),
            certificate_pem: String::new(),
            ..send(&key, header)
        };
        return pb::IssueClientKeyResponse { client_key: Some(client_key), ..Default::default() };
    };
    pb::IssueClientKeyResponse {
        client_key: Some(send(&key, SentHeader::of(&key.header))),
        client_key_file: file.reveal().to_owned(),
        pkcs12: pkcs12.to_vec(),
        password: password.map(|made| made.reveal().to_owned()).unwrap_or_default(),
    }
}
