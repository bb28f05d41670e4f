//! Reading and changing access points, client keys, policies, network rules and RAM roles.

use std::sync::Arc;

use crate::{
    clock::Clock,
    domain::{
        access_point::AccessPoint,
        client_key::ClientKey,
        command::{Batch, Command},
        event::Event,
        name::{
            AccessPointName, AccountName, ClientKeyName, Location, NetworkRuleName, PolicyName,
            RamRoleName, ResourceName,
        },
        network_rule::NetworkRule,
        policy::Policy,
        ram_role::RamRole,
        request::RequestMark,
        resource::Uid,
        time::UnixNanos,
    },
    entropy,
    identity::caller::Caller,
    projection::{Published, State},
    store::writer::{ChangeWriter, Made, Mode, SubmitError},
};

/// Manages what there is.
#[derive(Clone, Debug)]
pub struct Manager {
    published: Arc<Published>,
    writer: ChangeWriter,
    clock: Clock,
}

/// How a change is to be made.
#[derive(Clone, Debug)]
pub struct Manner {
    /// How it may be repeated.
    pub mark: Option<RequestMark>,
    /// Whether it is made or only judged.
    pub mode: Mode,
}

/// Why a request of a manager isn't met.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// It doesn't exist, or the caller isn't bound to its account: the two look the same.
    #[error("`{0}` is not found")]
    NotFound(ResourceName),
    /// The caller isn't bound to the account that it wants to create something in.
    #[error("`{0}` is not found")]
    LocationNotFound(Location),
    /// The caller isn't bound to the account.
    #[error("`{0}` is not found")]
    AccountNotFound(AccountName),
    /// The change was not made.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// There is no randomness for a uid.
    #[error(transparent)]
    Entropy(#[from] entropy::EntropyError),
}

impl Manager {
    /// A manager of one server's journal.
    pub fn new(published: Arc<Published>, writer: ChangeWriter, clock: Clock) -> Self {
        Self { published, writer, clock }
    }

    /// Reads an access point.
    pub fn access_point(
        &self,
        caller: &Caller,
        name: &AccessPointName,
    ) -> Result<Arc<AccessPoint>, ManageError> {
        let found = self.published.load().catalog.access_point(name).cloned();
        visible(caller, found, || ResourceName::AccessPoint(name.clone()))
    }

    /// Reads a policy.
    pub fn policy(&self, caller: &Caller, name: &PolicyName) -> Result<Arc<Policy>, ManageError> {
        let found = self.published.load().catalog.policy(name).cloned();
        visible(caller, found, || ResourceName::Policy(name.clone()))
    }

    /// Reads a network rule.
    pub fn network_rule(
        &self,
        caller: &Caller,
        name: &NetworkRuleName,
    ) -> Result<Arc<NetworkRule>, ManageError> {
        let found = self.published.load().catalog.network_rule(name).cloned();
        visible(caller, found, || ResourceName::NetworkRule(name.clone()))
    }

    /// Reads a RAM role.
    pub fn ram_role(
        &self,
        caller: &Caller,
        name: &RamRoleName,
    ) -> Result<Arc<RamRole>, ManageError> {
        let found = self.published.load().catalog.ram_role(name).cloned();
        visible(caller, found, || ResourceName::RamRole(name.clone()))
    }

    /// Reads a client key.
    pub fn client_key(
        &self,
        caller: &Caller,
        name: &ClientKeyName,
    ) -> Result<Arc<ClientKey>, ManageError> {
        let found = self.published.load().catalog.client_key(name).cloned();
        visible(caller, found, || ResourceName::ClientKey(name.clone()))
    }

    /// The time by which changes are judged.
    pub fn now(&self) -> UnixNanos {
        self.clock.now()
    }

    /// The state as of now, for lists.
    pub fn state(&self) -> Arc<State> {
        self.published.load_full()
    }

    /// Refuses who isn't bound to the account of what is to be changed, before anything is looked
    /// at.
    pub fn authorize(caller: &Caller, target: &ResourceName) -> Result<(), ManageError> {
        visible(caller, Some(()), || target.clone())
    }

    /// Refuses who isn't bound to the account that something is to be created in.
    pub fn authorize_in(caller: &Caller, location: &Location) -> Result<(), ManageError> {
        if caller.accounts.include(location.account.as_str()) {
            Ok(())
        } else {
            Err(ManageError::LocationNotFound(location.clone()))
        }
    }

    /// Refuses who isn't bound to an account.
    pub fn authorize_account(caller: &Caller, account: &AccountName) -> Result<(), ManageError> {
        if caller.accounts.include(account.0.as_str()) {
            Ok(())
        } else {
            Err(ManageError::AccountNotFound(account.clone()))
        }
    }

    /// Has a change made that the caller is authorized for.
    pub async fn change(
        &self,
        caller: &Caller,
        manner: Manner,
        command: Command,
    ) -> Result<Event, ManageError> {
        let made = self.change_all(caller, manner, vec![command]).await?;
        made.events.into_iter().next().ok_or(ManageError::Submit(SubmitError::Unavailable))
    }

    /// Has changes of one account made that the caller is authorized for, all or none.
    pub async fn change_all(
        &self,
        caller: &Caller,
        manner: Manner,
        commands: Vec<Command>,
    ) -> Result<Made, ManageError> {
        let Manner { mark, mode } = manner;
        let mut wanted = Vec::with_capacity(commands.len());
        for command in commands {
            wanted.push((Uid(entropy::uuid()?), command));
        }
        let batch = Batch::of(&caller.name, self.clock.now(), mark.as_ref(), wanted);
        Ok(self.writer.submit(batch, mode).await?)
    }
}

fn visible<T>(
    caller: &Caller,
    found: Option<T>,
    name: impl FnOnce() -> ResourceName,
) -> Result<T, ManageError> {
    let name = name();
    match found {
        Some(found) if caller.accounts.include(name.account().as_str()) => Ok(found),
        _ => Err(ManageError::NotFound(name)),
    }
}
