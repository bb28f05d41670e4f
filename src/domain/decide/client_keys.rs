//! Judges changes of client keys.

use std::sync::Arc;

use super::{
    super::{
        access_point::Authentication,
        catalog::Catalog,
        client_key::{ClientKey, ClientKeyOrigin, ClientKeyState, MAX_CLIENT_KEYS, Notice},
        command::{KnownKey, NewClientKey, Request, Target},
        event::{Change, Gone, KeyNotice, KeyUse},
        name::{ClientKeyName, ResourceName},
        resource::Description,
        time::UnixNanos,
    },
    Rejection, changed_header, check_etag, new_header,
};

/// The same key on another access point is neither refused nor mentioned: who has it there is nobody's
/// business here.
pub(super) fn add(
    catalog: &Catalog,
    request: &Request,
    new: &NewClientKey,
) -> Result<Change, Rejection> {
    let owner = &new.name.access_point;
    let access_point = catalog
        .access_point(owner)
        .ok_or_else(|| Rejection::NotFound(ResourceName::AccessPoint(owner.clone())))?;
    if access_point.authentication != Authentication::ClientKey {
        return Err(Rejection::NotByClientKey(owner.clone()));
    }
    let mut known = catalog.client_keys_of(owner);
    if let Some(same) = known.find(|known| known.is_same_as(new)) {
        return Err(Rejection::AlreadyExists(ResourceName::ClientKey(same.name.clone())));
    }
    if catalog.client_keys_of(owner).count() >= MAX_CLIENT_KEYS {
        return Err(Rejection::ClientKeysFull(owner.clone()));
    }
    let header = new_header(catalog, request, &Description::default());
    let key = Arc::new(ClientKey {
        name: new.name.clone(),
        state: ClientKeyState::Enabled,
        origin: new.origin.clone(),
        public_key: new.public_key.clone(),
        validity: new.validity,
        sessions_valid_from: header.revision,
        header,
        last_use: None,
        notice: None,
    });
    Ok(match new.origin {
        ClientKeyOrigin::Issued(_) => Change::ClientKeyIssued(key),
        ClientKeyOrigin::Imported => Change::ClientKeyImported(key),
    })
}

impl ClientKey {
    fn is_same_as(&self, new: &NewClientKey) -> bool {
        self.name == new.name || self.public_key == new.public_key
    }
}

pub(super) fn enable(
    catalog: &Catalog,
    request: &Request,
    target: &Target<ClientKeyName>,
) -> Result<Change, Rejection> {
    let found = find(catalog, target)?;
    let header = changed_header(catalog, request, &found.header, None);
    let state = ClientKeyState::Enabled;
    Ok(Change::ClientKeyEnabled(Arc::new(ClientKey { header, state, ..found.clone() })))
}

/// Disables a key, and ends its sessions for good: enabling it doesn't bring them back.
pub(super) fn disable(
    catalog: &Catalog,
    request: &Request,
    target: &Target<ClientKeyName>,
) -> Result<Change, Rejection> {
    let found = find(catalog, target)?;
    let header = changed_header(catalog, request, &found.header, None);
    Ok(Change::ClientKeyDisabled(Arc::new(ClientKey {
        sessions_valid_from: header.revision,
        header,
        state: ClientKeyState::Disabled,
        ..found.clone()
    })))
}

pub(super) fn delete(
    catalog: &Catalog,
    target: &Target<ClientKeyName>,
) -> Result<Change, Rejection> {
    let found = find(catalog, target)?;
    Ok(Change::ClientKeyDeleted(Gone { name: target.name.clone(), uid: found.header.uid }))
}

/// Keeps when a key was used, if what is kept is old enough.
pub(super) fn keep_use(
    catalog: &Catalog,
    key: &KnownKey,
    time: UnixNanos,
) -> Result<Change, Rejection> {
    let found = find_known(catalog, key)?;
    if !found.keeps_use(time) {
        return Err(Rejection::NothingNew(key.name.clone()));
    }
    Ok(Change::ClientKeyUsed(KeyUse { key: key.clone(), time }))
}

/// Gives a notice of a key's end, if that is the one that is due.
pub(super) fn give_notice(
    catalog: &Catalog,
    request: &Request,
    key: &KnownKey,
    notice: Notice,
) -> Result<Change, Rejection> {
    let found = find_known(catalog, key)?;
    if found.notice_due(request.time) != Some(notice) {
        return Err(Rejection::NothingNew(key.name.clone()));
    }
    let end = found.validity.not_after();
    Ok(Change::ClientKeyNoticeGiven(KeyNotice { key: key.clone(), notice, end }))
}

fn find_known<'a>(catalog: &'a Catalog, key: &KnownKey) -> Result<&'a ClientKey, Rejection> {
    let found = catalog.client_key(&key.name).filter(|found| found.header.uid == key.uid);
    let found = found.ok_or_else(|| ResourceName::ClientKey(key.name.clone()));
    found.map(|found| &**found).map_err(Rejection::NotFound)
}

fn find<'a>(
    catalog: &'a Catalog,
    target: &Target<ClientKeyName>,
) -> Result<&'a ClientKey, Rejection> {
    let resource = || ResourceName::ClientKey(target.name.clone());
    let found = catalog.client_key(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    Ok(found)
}
