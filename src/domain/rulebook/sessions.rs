//! Whether a session is good: judged at each check by what its access point, and the key or the role
//! that proved it, are then.

use super::{
    super::{
        client_key::{ClientKey, ClientKeyState, Validity},
        decision::DenyReason,
        ram_role::RamRole,
        resource::Uid,
        session::{Credential, Session},
        time::UnixNanos,
    },
    RoleStanding, Subscriber,
};

/// A client key as a session is judged by it.
#[derive(Debug)]
pub(super) struct HeldKey {
    uid: Uid,
    state: ClientKeyState,
    validity: Validity,
    sessions_valid_from: u64,
}

impl HeldKey {
    pub(super) fn of(key: &ClientKey) -> Self {
        Self {
            uid: key.header.uid,
            state: key.state,
            validity: key.validity,
            sessions_valid_from: key.sessions_valid_from,
        }
    }
}

/// A role as a session is judged by it, while it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldRole {
    uid: Uid,
    sessions_valid_from: u64,
}

impl HeldRole {
    pub(super) fn of(role: &RamRole) -> Self {
        Self { uid: role.header.uid, sessions_valid_from: role.sessions_valid_from }
    }
}

impl Subscriber {
    /// What ends a session before anything is asked of the policies, if something does.
    pub(super) fn refuse(&self, session: &Session, now: UnixNanos) -> Option<DenyReason> {
        let valid_from = match self.credential(session.proved_by, now) {
            Ok(valid_from) => valid_from.max(self.sessions_valid_from),
            Err(reason) => return Some(reason),
        };
        // By revision, so that no clock that goes backwards brings a session back.
        if session.revision < valid_from {
            return Some(DenyReason::CredentialInvalid);
        }
        (now >= session.expires).then_some(DenyReason::CredentialExpired)
    }

    /// The revision from which on sessions are good that a credential proved.
    fn credential(&self, credential: Credential, now: UnixNanos) -> Result<u64, DenyReason> {
        match credential {
            Credential::ClientKey(uid) => {
                let key = self.keys.iter().find(|key| key.uid == uid);
                let key = key.ok_or(DenyReason::CredentialUnknown)?;
                unfit(key.state, key.validity, now).map_or(Ok(key.sessions_valid_from), Err)
            }
            Credential::RamRole(uid) => match self.role {
                RoleStanding::Trusted(role) if role.uid == uid => Ok(role.sessions_valid_from),
                RoleStanding::NotTrusted => Err(DenyReason::RoleNotTrusted),
                RoleStanding::Trusted(_) | RoleStanding::Unasked => {
                    Err(DenyReason::CredentialUnknown)
                }
            },
        }
    }
}

/// What keeps a key from proving anything at a time, if something does.
pub fn unfit(state: ClientKeyState, validity: Validity, now: UnixNanos) -> Option<DenyReason> {
    if state == ClientKeyState::Disabled {
        Some(DenyReason::CredentialDisabled)
    } else if now < validity.not_before() {
        Some(DenyReason::CredentialNotYetValid)
    } else if now >= validity.not_after() {
        Some(DenyReason::CredentialExpired)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        access_point::TrustedRole,
        check::{ActionName, Check, InstanceText, ResourceText, Subject},
        decision::Decision,
        name::LocationRef,
        network::Origin,
        session::ShownSession,
        testing::{
            ABROAD, HOME, World, access_point_name, add_client_key, as_update, by_role,
            client_key_name, create_access_point, create_policy, create_ram_role,
            delete_access_point, delete_client_key, delete_ram_role, disable_client_key,
            enable_client_key, ram_role_name, resume_access_point, revoke_sessions,
            suspend_access_point,
        },
    };

    /// When the keys of tests become valid.
    const START: i64 = 1_795_458_000;

    fn second(second: i64) -> UnixNanos {
        UnixNanos::from_parts(second, 0)
    }

    fn world() -> World {
        World::given([
            create_policy("p", "shared", "SECRET_USER", "secret/a", "any"),
            create_access_point("a", "p"),
            add_client_key("a", "k", 0),
        ])
    }

    /// A session of the key `k`, as it would be granted now.
    fn session(world: &World) -> Session {
        let access_point = world.catalog.access_point(&access_point_name("a")).unwrap();
        let key = world.catalog.client_key(&client_key_name("a", "k")).unwrap();
        Session {
            access_point: access_point.header.uid,
            proved_by: Credential::ClientKey(key.header.uid),
            revision: world.catalog.revision(),
            made: second(START),
            expires: second(START + 900),
        }
    }

    /// What a check comes to that shows a session.
    fn outcome(world: &World, shown: ShownSession, at: i64, place: &str) -> Result<(), DenyReason> {
        let check = Check {
            location: LocationRef::parse(place).unwrap(),
            subject: Subject::Session(shown, second(at)),
            action: ActionName::parse("GetSecretValue").unwrap(),
            resource: ResourceText::parse("secret/a").unwrap(),
            instance: InstanceText::parse("shared").unwrap(),
            origin: Origin::default(),
        };
        match world.rulebook.decide(&check).decision {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(denial) => Err(denial.reason),
        }
    }

    fn at_home(world: &World, session: Session, at: i64) -> Result<(), DenyReason> {
        outcome(world, ShownSession::Genuine(session), at, HOME)
    }

    #[test]
    fn a_session_is_good_for_its_access_point_until_it_expires() {
        let world = world();
        let session = session(&world);
        let shown = ShownSession::Genuine(session);
        assert_eq!(at_home(&world, session, START), Ok(()));
        assert_eq!(at_home(&world, session, START + 899), Ok(()));
        let expired = Err(DenyReason::CredentialExpired);
        assert_eq!(at_home(&world, session, START + 900), expired);
        assert_eq!(outcome(&world, shown, START, ABROAD), Err(DenyReason::AccessPointNotFound));
        assert_eq!(
            outcome(&world, ShownSession::Foreign, START, HOME),
            Err(DenyReason::CredentialInvalid)
        );
        // Whatever says that it is good longer than its key.
        let endless = Session { expires: second(i64::from(u32::MAX)), ..session };
        assert_eq!(at_home(&world, endless, START - 1), Err(DenyReason::CredentialNotYetValid));
        let over = START + (5 * 365 + 1) * 24 * 60 * 60;
        assert_eq!(at_home(&world, endless, over - 1), Ok(()));
        assert_eq!(at_home(&world, endless, over), expired);
    }

    /// A world whose access point `a` authenticates by the role `r`, and a session of that role.
    fn role_world() -> (World, Session) {
        let world = World::given([
            create_policy("p", "shared", "SECRET_USER", "secret/a", "any"),
            create_ram_role("r", "ecs"),
            by_role(create_access_point("a", "p"), TrustedRole::EcsInstance, "r"),
        ]);
        let session = role_session(&world);
        (world, session)
    }

    /// A session of the role `r`, as it would be granted now.
    fn role_session(world: &World) -> Session {
        let access_point = world.catalog.access_point(&access_point_name("a")).unwrap();
        let role = world.catalog.ram_role(&ram_role_name("r")).unwrap();
        Session {
            access_point: access_point.header.uid,
            proved_by: Credential::RamRole(role.header.uid),
            revision: world.catalog.revision(),
            made: second(START),
            expires: second(START + 900),
        }
    }

    #[test]
    fn a_session_of_a_role_is_good_while_the_role_trusts_as_it_did() {
        let (mut world, session) = role_world();
        assert_eq!(at_home(&world, session, START + 899), Ok(()));
        assert_eq!(at_home(&world, session, START + 900), Err(DenyReason::CredentialExpired));
        // What is no change of its trust.
        world.carry_out(as_update(create_ram_role("r", "ecs")));
        world.carry_out(create_ram_role("s", "fc"));
        assert_eq!(at_home(&world, session, START), Ok(()));
        for (services, why) in [
            ("fc", DenyReason::RoleNotTrusted),
            // It is trusted again, but what was proved before it wasn't is void.
            ("ecs", DenyReason::CredentialInvalid),
            ("ecs fc", DenyReason::CredentialInvalid),
        ] {
            world.carry_out(as_update(create_ram_role("r", services)));
            assert_eq!(at_home(&world, session, START), Err(why), "{services}");
        }
        let new = role_session(&world);
        assert_eq!(at_home(&world, new, START), Ok(()));
        world.carry_out(revoke_sessions("a"));
        assert_eq!(at_home(&world, new, START), Err(DenyReason::CredentialInvalid));
    }

    #[test]
    fn a_session_of_a_role_dies_with_its_access_point_and_its_role_whoever_gets_their_names() {
        let (mut world, session) = role_world();
        let again = || by_role(create_access_point("a", "p"), TrustedRole::EcsInstance, "r");
        world.carry_out(delete_access_point("a"));
        assert_eq!(at_home(&world, session, START), Err(DenyReason::AccessPointNotFound));
        world.carry_out(again());
        assert_eq!(at_home(&world, session, START), Err(DenyReason::AccessPointNotFound));
        let second = role_session(&world);
        assert_eq!(at_home(&world, second, START), Ok(()));
        world.carry_out(delete_access_point("a"));
        world.carry_out(delete_ram_role("r"));
        world.carry_out(create_ram_role("r", "ecs"));
        world.carry_out(again());
        let third = role_session(&world);
        assert_eq!(at_home(&world, third, START), Ok(()));
        let of_old_role = Session { proved_by: second.proved_by, ..third };
        assert_eq!(at_home(&world, of_old_role, START), Err(DenyReason::CredentialUnknown));
    }

    #[test]
    fn a_session_by_another_method_than_the_access_points_is_nobodys() {
        let (role_world, by_role) = role_world();
        let key_world = world();
        let by_key = session(&key_world);
        let as_key = Session { proved_by: by_key.proved_by, ..by_role };
        let as_role = Session { proved_by: by_role.proved_by, ..by_key };
        let unknown = Err(DenyReason::CredentialUnknown);
        assert_eq!(at_home(&role_world, as_key, START), unknown);
        assert_eq!(at_home(&key_world, as_role, START), unknown);
    }

    #[test]
    fn what_ends_a_session_ends_it_for_good() {
        for (end, again, why) in [
            (
                disable_client_key("a", "k"),
                enable_client_key("a", "k"),
                DenyReason::CredentialDisabled,
            ),
            (suspend_access_point("a"), resume_access_point("a"), DenyReason::AccessPointSuspended),
        ] {
            let mut world = world();
            let old = session(&world);
            world.carry_out(end);
            assert_eq!(at_home(&world, old, START), Err(why));
            world.carry_out(again);
            assert_eq!(at_home(&world, old, START), Err(DenyReason::CredentialInvalid));
            assert_eq!(at_home(&world, session(&world), START), Ok(()));
        }
        for (end, again, why) in [
            (
                delete_client_key("a", "k"),
                vec![add_client_key("a", "k", 0)],
                DenyReason::CredentialUnknown,
            ),
            (
                delete_access_point("a"),
                vec![create_access_point("a", "p"), add_client_key("a", "k", 0)],
                DenyReason::AccessPointNotFound,
            ),
        ] {
            let mut world = world();
            let old = session(&world);
            world.carry_out(end);
            assert_eq!(at_home(&world, old, START), Err(why));
            for command in again {
                world.carry_out(command);
            }
            assert_eq!(at_home(&world, old, START), Err(why));
            assert_eq!(at_home(&world, session(&world), START), Ok(()));
        }
    }

    #[test]
    fn revoking_ends_the_sessions_there_are_and_none_that_follow() {
        let mut world = world();
        let old = session(&world);
        world.carry_out(revoke_sessions("a"));
        let new = session(&world);
        assert_eq!(at_home(&world, old, START), Err(DenyReason::CredentialInvalid));
        // By revision: neither what it says of its own times nor the clock counts.
        let late = Session { made: second(START + 899), ..old };
        assert_eq!(at_home(&world, late, START + 899), Err(DenyReason::CredentialInvalid));
        assert_eq!(at_home(&world, new, START), Ok(()));
        // Of a suspended access point, too.
        world.carry_out(suspend_access_point("a"));
        world.carry_out(revoke_sessions("a"));
        world.carry_out(resume_access_point("a"));
        assert_eq!(at_home(&world, new, START), Err(DenyReason::CredentialInvalid));
        assert_eq!(at_home(&world, session(&world), START), Ok(()));
    }

    #[test]
    fn a_change_that_is_no_revocation_leaves_sessions_alone() {
        let mut world = world();
        let old = session(&world);
        world.carry_out(as_update(create_access_point("a", "p")));
        world.carry_out(enable_client_key("a", "k"));
        world.carry_out(add_client_key("a", "l", 1));
        assert_eq!(at_home(&world, old, START), Ok(()));
    }

    #[test]
    fn a_token_that_nobody_has_looked_at_proves_nothing() {
        let world = world();
        let check = Check {
            location: LocationRef::parse(HOME).unwrap(),
            subject: Subject::Token("aaps_"),
            action: ActionName::parse("GetSecretValue").unwrap(),
            resource: ResourceText::parse("secret/a").unwrap(),
            instance: InstanceText::parse("shared").unwrap(),
            origin: Origin::default(),
        };
        let Decision::Deny(denial) = world.rulebook.decide(&check).decision else { panic!() };
        assert_eq!(denial.reason, DenyReason::CredentialInvalid);
    }
}
