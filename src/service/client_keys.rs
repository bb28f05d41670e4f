//! Giving client keys away: the one use case in which this server has a private key, for as long as
//! it takes to pack it.
//!
//! Making a key of RSA takes a tenth of a second and more of a processor. So it happens on threads
//! that serve no calls, one at a time, and few wait for it.

use std::{fmt, sync::Arc};

use tokio::{runtime::Handle, sync::Semaphore};
use x509_cert::der::Encode as _;
use zeroize::Zeroizing;

use crate::{
    domain::{
        client_key::{ClientKey, ClientKeyOrigin, MadeAlgorithm, PublicKey, Validity},
        command::{Command, NewClientKey},
        event::Change,
        name::{AccessPointName, ClientKeyName},
    },
    entropy::{self, Entropy, EntropyError},
    identity::{
        caller::Caller,
        client_key::{
            MakeError, certificate,
            file::ClientKeyFile,
            generation::PrivateKey,
            password::Password,
            pkcs12::{Encoding, Writer},
            public_key,
        },
    },
    store::writer::{Mode, SubmitError},
};

use super::management::{ManageError, Manager, Manner};

/// How many keys are made or waited for at once.
pub const MAX_PENDING: usize = 16;
/// How many are made at the same time.
const AT_ONCE: usize = 1;

/// Gives client keys away.
#[derive(Clone, Debug)]
pub struct Issuer {
    manager: Manager,
    background: Handle,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A client key that is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// For whom.
    pub access_point: AccessPointName,
    /// Its algorithm.
    pub algorithm: MadeAlgorithm,
    /// When it proves something.
    pub validity: Validity,
    /// How it is packed.
    pub encoding: Encoding,
    /// What it is encrypted under, if somebody chose that.
    pub password: Option<Password>,
}

/// A client key that was given away, or would be.
#[derive(Debug)]
pub struct Issued {
    /// What is known of it here.
    pub key: Arc<ClientKey>,
    /// What isn't, if it was given away.
    pub secret: Option<Secret>,
}

/// What is in one answer and nowhere else.
pub struct Secret {
    /// The client-key file.
    pub file: ClientKeyFile,
    /// What is in it.
    pub pkcs12: Zeroizing<Vec<u8>>,
    /// The password, if it was made here.
    pub password: Option<Password>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why no client key is given away.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The change was not made.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// The request was answered before, with a key that can't be given away again.
    #[error("the request was answered before, with `{0}`, whose secrets are not kept")]
    IssuedBefore(ClientKeyName),
    /// Too many wait.
    #[error("{MAX_PENDING} client keys are being made or wait for it, which is as many as may")]
    Busy,
    /// It can't be made.
    #[error("no client key can be made")]
    Make(#[from] MakeError),
    /// What made it is gone.
    #[error("what makes client keys is gone")]
    Gone,
}

impl From<EntropyError> for IssueError {
    fn from(error: EntropyError) -> Self {
        Self::Make(error.into())
    }
}

impl Issuer {
    /// Gives keys away on a manager's authority, made on a runtime that may take long.
    pub fn new(manager: Manager, background: Handle) -> Self {
        let (places, turns) = (Semaphore::new(MAX_PENDING), Semaphore::new(AT_ONCE));
        Self { manager, background, places: Arc::new(places), turns: Arc::new(turns) }
    }

    /// Gives a key away that the caller is authorized for.
    pub async fn issue(
        &self,
        caller: &Caller,
        manner: Manner,
        wanted: Wanted,
    ) -> Result<Issued, IssueError> {
        let id = ClientKeyName::id_for(entropy::uuid()?);
        let name = ClientKeyName { access_point: wanted.access_point.clone(), id };
        // Judged before anything is made: what is refused costs next to nothing.
        let judged = Manner { mark: manner.mark.clone(), mode: Mode::ValidateOnly };
        let (algorithm, info) = (wanted.algorithm.into(), Arc::from([]));
        let nothing = Public { key: PublicKey { algorithm, info }, certificate: Arc::from([]) };
        let validity = wanted.validity;
        let key = self.bind(caller, judged, nothing.bound_as(&name, validity)).await?;
        if manner.mode == Mode::ValidateOnly {
            return Ok(Issued { key, secret: None });
        }
        let (public, secret) = self.make(name.clone(), wanted).await?;
        let key = self.bind(caller, manner, public.bound_as(&name, validity)).await?;
        Ok(Issued { key, secret: Some(secret) })
    }

    /// Has a key bound to its access point, unless the request was answered before with another one.
    async fn bind(
        &self,
        caller: &Caller,
        manner: Manner,
        new: NewClientKey,
    ) -> Result<Arc<ClientKey>, IssueError> {
        let name = new.name.clone();
        let event = self.manager.change(caller, manner, Command::AddClientKey(new)).await?;
        match event.change {
            Change::ClientKeyIssued(key) if key.name == name => Ok(key),
            Change::ClientKeyIssued(other) => Err(IssueError::IssuedBefore(other.name.clone())),
            _ => Err(ManageError::Submit(SubmitError::Unavailable).into()),
        }
    }

    async fn make(
        &self,
        name: ClientKeyName,
        wanted: Wanted,
    ) -> Result<(Public, Secret), IssueError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| IssueError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| IssueError::Gone)?;
        let making = move || {
            // Held by the work itself: it goes on if the caller goes away.
            let _held = (place, turn);
            make(&name, wanted)
        };
        Ok(self.background.spawn_blocking(making).await.map_err(|_| IssueError::Gone)??)
    }
}

/// What is known here of a key that was made here.
struct Public {
    key: PublicKey,
    certificate: Arc<[u8]>,
}

impl Public {
    fn bound_as(self, name: &ClientKeyName, validity: Validity) -> NewClientKey {
        let Self { key, certificate } = self;
        let origin = ClientKeyOrigin::Issued(certificate);
        NewClientKey { name: name.clone(), origin, public_key: key, validity }
    }
}

fn make(name: &ClientKeyName, wanted: Wanted) -> Result<(Public, Secret), MakeError> {
    let Wanted { access_point, algorithm, validity, encoding, password } = wanted;
    let private = PrivateKey::generate(algorithm, &mut Entropy)?;
    let certificate =
        certificate::certify(&private, access_point.id.as_str(), validity, &mut Entropy)?;
    let info = private.to_public_key()?.to_der()?;
    let key = public_key::parse(&info).map_err(|error| MakeError::Key(error.to_string()))?;
    let (password, is_made) = match password {
        Some(chosen) => (chosen, false),
        None => (Password::make(&mut Entropy)?, true),
    };
    let mut writer = Writer { encoding, password: &password, randomness: &mut Entropy };
    let pkcs12 = Zeroizing::new(writer.write(&certificate, private.to_pkcs8()?.as_bytes())?);
    let file = ClientKeyFile::new(name.id.as_str(), &pkcs12);
    let secret = Secret { file, pkcs12, password: is_made.then_some(password) };
    Ok((Public { key, certificate: certificate.into() }, secret))
}
