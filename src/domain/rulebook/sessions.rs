//! Whether a session is good: judged at each check by what its access point and its key are then.

use super::{
    super::{
        client_key::{ClientKey, ClientKeyState, Validity},
        decision::DenyReason,
        resource::Uid,
        session::Session,
        time::UnixNanos,
    },
    Subscriber,
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

impl Subscriber {
    /// What ends a session before anything is asked of the policies, if something does.
    pub(super) fn refuse(&self, session: &Session, now: UnixNanos) -> Option<DenyReason> {
        let Some(key) = self.keys.iter().find(|key| key.uid == session.client_key) else {
            return Some(DenyReason::CredentialUnknown);
        };
        if let Some(reason) = unfit(key.state, key.validity, now) {
            return Some(reason);
        }
        // By revision, so that no clock that goes backwards brings a session back.
        if session.revision < self.sessions_valid_from.max(key.sessions_valid_from) {
            return Some(DenyReason::CredentialInvalid);
        }
        (now >= session.expires).then_some(DenyReason::CredentialExpired)
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
        check::{ActionName, Check, InstanceText, ResourceText, Subject},
        decision::Decision,
        name::LocationRef,
        network::Origin,
        session::ShownSession,
        testing::{
            ABROAD, HOME, World, access_point_name, add_client_key, as_update, client_key_name,
            create_access_point, create_policy, delete_access_point, delete_client_key,
            disable_client_key, enable_client_key, resume_access_point, revoke_sessions,
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
            client_key: key.header.uid,
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
