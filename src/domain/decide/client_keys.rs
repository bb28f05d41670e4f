//! Judges changes of client keys.

use std::sync::Arc;

use super::{
    super::{
        access_point::Authentication,
        catalog::Catalog,
        client_key::{ClientKey, ClientKeyOrigin, ClientKeyState, MAX_CLIENT_KEYS},
        command::{NewClientKey, Request, Target},
        event::{Change, Gone},
        name::{ClientKeyName, ResourceName},
        resource::Description,
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

fn find<'a>(
    catalog: &'a Catalog,
    target: &Target<ClientKeyName>,
) -> Result<&'a ClientKey, Rejection> {
    let resource = || ResourceName::ClientKey(target.name.clone());
    let found = catalog.client_key(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    Ok(found)
}
