//! Judges changes of RAM roles.

use std::sync::Arc;

use super::{
    super::{
        catalog::Catalog,
        command::{NewRamRole, RamRolePatch, Request, Target},
        event::{Change, Gone},
        name::{RamRoleName, ResourceName},
        ram_role::RamRole,
    },
    Rejection, changed_header, check_etag, check_unused, new_header,
};

pub(super) fn create(
    catalog: &Catalog,
    request: &Request,
    new: &NewRamRole,
) -> Result<Change, Rejection> {
    if catalog.ram_role(&new.name).is_some() {
        return Err(Rejection::AlreadyExists(ResourceName::RamRole(new.name.clone())));
    }
    Ok(Change::RamRoleCreated(Arc::new(RamRole {
        name: new.name.clone(),
        header: new_header(catalog, request, &new.description),
        trust_policy: new.trust_policy.clone(),
        sessions_valid_from: 0,
    })))
}

/// Changes a role; access points that it doesn't trust any more stay, and are denied. Another trust
/// policy ends the sessions that it proved, for good.
pub(super) fn update(
    catalog: &Catalog,
    request: &Request,
    target: &Target<RamRoleName>,
    patch: &RamRolePatch,
) -> Result<Change, Rejection> {
    let found = find(catalog, target)?;
    let RamRolePatch { description, trust_policy } = patch;
    let header = changed_header(catalog, request, &found.header, description.as_ref());
    let trust_policy = trust_policy.as_ref().unwrap_or(&found.trust_policy);
    let sessions_valid_from = if *trust_policy == found.trust_policy {
        found.sessions_valid_from
    } else {
        header.revision
    };
    Ok(Change::RamRoleUpdated(Arc::new(RamRole {
        name: found.name.clone(),
        header,
        trust_policy: trust_policy.clone(),
        sessions_valid_from,
    })))
}

pub(super) fn delete(catalog: &Catalog, target: &Target<RamRoleName>) -> Result<Change, Rejection> {
    let found = find(catalog, target)?;
    let holders = catalog.holders_of_role(&target.name);
    let resource = || ResourceName::RamRole(target.name.clone());
    check_unused(holders, ResourceName::AccessPoint, resource)?;
    Ok(Change::RamRoleDeleted(Gone { name: target.name.clone(), uid: found.header.uid }))
}

fn find<'a>(catalog: &'a Catalog, target: &Target<RamRoleName>) -> Result<&'a RamRole, Rejection> {
    let resource = || ResourceName::RamRole(target.name.clone());
    let found = catalog.ram_role(&target.name).ok_or_else(|| Rejection::NotFound(resource()))?;
    check_etag(target.etag.as_deref(), &found.header, resource)?;
    Ok(found)
}
