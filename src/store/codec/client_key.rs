//! Client keys as they are stored.

use crate::domain::{
    client_key::{
        ClientKey, ClientKeyOrigin, ClientKeyState, KeyAlgorithm, Notice, PublicKey, Validity,
    },
    name::ClientKeyName,
    time::UnixNanos,
};

use super::{
    At, DecodeError, decode_header, decode_time, encode_header, encode_time, meaningless, missing,
    pb,
};
use pb::key::{Algorithm as StoredAlgorithm, Origin as StoredOrigin};

pub(super) fn encode(key: &ClientKey) -> pb::Key {
    let ClientKey {
        name,
        header,
        state,
        origin,
        public_key,
        validity,
        sessions_valid_from,
        last_use,
        notice,
    } = key;
    let state = match state {
        ClientKeyState::Enabled => pb::KeyState::Enabled,
        ClientKeyState::Disabled => pb::KeyState::Disabled,
    };
    let origin = match origin {
        ClientKeyOrigin::Issued(certificate) => {
            StoredOrigin::Issued(pb::IssuedKey { certificate: certificate.to_vec() })
        }
        ClientKeyOrigin::Imported => StoredOrigin::Imported(pb::ImportedKey {}),
    };
    let algorithm = match public_key.algorithm {
        KeyAlgorithm::Rsa { bits } => StoredAlgorithm::Rsa(pb::RsaKey { bits: bits.into() }),
        KeyAlgorithm::EcP256 => StoredAlgorithm::EcP256(pb::EcP256Key {}),
    };
    pb::Key {
        header: Some(encode_header(name.to_string(), header)),
        state: state.into(),
        origin: Some(origin),
        algorithm: Some(algorithm),
        public_key: public_key.info.to_vec(),
        not_before: validity.not_before().seconds(),
        not_after: validity.not_after().seconds(),
        sessions_valid_from: *sessions_valid_from,
        last_use: last_use.map(encode_time),
        notice_days: notice.map_or(0, |notice| notice.days().into()),
    }
}

pub(super) fn decode(at: At, stored: pb::Key) -> Result<ClientKey, DecodeError> {
    let pb::Key {
        header,
        state,
        origin,
        algorithm,
        public_key,
        not_before,
        not_after,
        sessions_valid_from,
        last_use,
        notice_days,
    } = stored;
    let (name, header) = decode_header(at, header)?;
    let state = match pb::KeyState::try_from(state) {
        Ok(pb::KeyState::Enabled) => ClientKeyState::Enabled,
        Ok(pb::KeyState::Disabled) => ClientKeyState::Disabled,
        Ok(pb::KeyState::Unspecified) | Err(_) => return Err(meaningless("state", state)),
    };
    let origin = match origin.ok_or_else(|| missing("origin"))? {
        StoredOrigin::Issued(pb::IssuedKey { certificate }) => {
            ClientKeyOrigin::Issued(certificate.into())
        }
        StoredOrigin::Imported(pb::ImportedKey {}) => ClientKeyOrigin::Imported,
    };
    let algorithm = match algorithm.ok_or_else(|| missing("algorithm"))? {
        StoredAlgorithm::Rsa(pb::RsaKey { bits }) => {
            let bits = u16::try_from(bits).map_err(|error| meaningless("bits", error))?;
            KeyAlgorithm::Rsa { bits }
        }
        StoredAlgorithm::EcP256(pb::EcP256Key {}) => KeyAlgorithm::EcP256,
    };
    let second = |second| UnixNanos::from_parts(second, 0);
    Ok(ClientKey {
        name: ClientKeyName::parse(&name).map_err(|error| meaningless("name", error))?,
        header,
        state,
        origin,
        public_key: PublicKey { algorithm, info: public_key.into() },
        validity: Validity::new(second(not_before), second(not_after))
            .map_err(|error| meaningless("not_after", error))?,
        sessions_valid_from,
        last_use: last_use.map(|time| decode_time("last_use", Some(time))).transpose()?,
        notice: match notice_days {
            0 => None,
            days => Some(decode_notice(days)?),
        },
    })
}

pub(super) fn decode_notice(days: u32) -> Result<Notice, DecodeError> {
    let notice = u16::try_from(days).ok().and_then(Notice::of_days);
    notice.ok_or_else(|| meaningless("notice_days", days))
}
