//! Client keys: the asymmetric keys by which an application proves who it is. Only public halves are
//! known here.

use std::{sync::Arc, time::Duration};

use super::{name::ClientKeyName, resource::Header, time::UnixNanos};

/// A client key. The private half was in one answer, or was never here at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// Its name.
    pub name: ClientKeyName,
    /// What every resource has; a client key has no description.
    pub header: Header,
    /// Whether it proves anything.
    pub state: ClientKeyState,
    /// Where it comes from.
    pub origin: ClientKeyOrigin,
    /// What the application verifies by.
    pub public_key: PublicKey,
    /// When it proves something.
    pub validity: Validity,
    /// The revision from which on sessions that it proved are good; what is older is dead for good.
    pub sessions_valid_from: u64,
    /// When it last proved something, as far as that is kept: at most once in [`USE_INTERVAL`].
    pub last_use: Option<UnixNanos>,
    /// The last notice of its end that was given.
    pub notice: Option<Notice>,
}

/// How far apart uses of a key are that are kept: often enough to know whether anybody has it.
pub const USE_INTERVAL: Duration = Duration::from_hours(1);

/// The most keys that an access point has: enough to go from one to the next.
pub const MAX_CLIENT_KEYS: usize = 3;

/// Whether a client key proves anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKeyState {
    /// It does, while it is valid.
    Enabled,
    /// It doesn't.
    Disabled,
}

/// A notice that a key ends soon, by how many days before its end it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// 30 days.
    Month,
    /// 7 days.
    Week,
    /// 1 day.
    Day,
}

impl Notice {
    /// All of them, in the order in which they are due.
    pub const ALL: [Self; 3] = [Self::Month, Self::Week, Self::Day];

    /// How many days before the end it is due.
    pub fn days(self) -> u16 {
        match self {
            Self::Month => 30,
            Self::Week => 7,
            Self::Day => 1,
        }
    }

    /// The notice that is due so many days before the end.
    pub fn of_days(days: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.days() == days)
    }

    /// From when on it is due.
    pub fn due(self, validity: Validity) -> UnixNanos {
        validity.not_after.plus_seconds(-i64::from(self.days()) * 24 * 60 * 60)
    }
}

impl ClientKey {
    /// Whether a use at a time is one that is kept.
    pub fn keeps_use(&self, time: UnixNanos) -> bool {
        self.last_use.is_none_or(|last| time.since(last) >= USE_INTERVAL)
    }

    /// The notice that is to be given at a time, if one is. Only the last of those that are due; and
    /// none that was due from the beginning, which who made the key knows.
    pub fn notice_due(&self, now: UnixNanos) -> Option<Notice> {
        if self.state == ClientKeyState::Disabled || now >= self.validity.not_after {
            return None;
        }
        let last_due = self.notices().filter(|notice| notice.due(self.validity) <= now).last()?;
        let is_given = self.notice.is_some_and(|given| given.days() <= last_due.days());
        (!is_given).then_some(last_due)
    }

    /// The first time after another at which a notice becomes due, or the key ends.
    pub fn next_due(&self, now: UnixNanos) -> Option<UnixNanos> {
        let due = self.notices().map(|notice| notice.due(self.validity));
        due.chain([self.validity.not_after]).find(|due| *due > now)
    }

    fn notices(&self) -> impl Iterator<Item = Notice> {
        let validity = self.validity;
        Notice::ALL.into_iter().filter(move |notice| notice.due(validity) > validity.not_before)
    }
}

/// Where a client key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKeyOrigin {
    /// It was made here, and given away with this certificate (DER).
    Issued(Arc<[u8]>),
    /// It was made elsewhere: the private half was never here.
    Imported,
}

/// The public half of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its algorithm: what it verifies by, whatever a proof says of itself.
    pub algorithm: KeyAlgorithm,
    /// The key as a certificate holds it: DER of a `SubjectPublicKeyInfo` (RFC 5280).
    pub info: Arc<[u8]>,
}

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA with the exponent 65537; it signs as RS256.
    Rsa {
        /// How long its modulus is: 2,048 to 4,096.
        bits: u16,
    },
    /// The curve P-256; it signs as ES256.
    EcP256,
}

/// An algorithm that keys are made for here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MadeAlgorithm {
    /// RSA of 2,048 bits.
    #[default]
    Rsa2048,
    /// RSA of 3,072 bits.
    Rsa3072,
    /// The curve P-256.
    EcP256,
}

impl From<MadeAlgorithm> for KeyAlgorithm {
    fn from(algorithm: MadeAlgorithm) -> Self {
        match algorithm {
            MadeAlgorithm::Rsa2048 => Self::Rsa { bits: 2_048 },
            MadeAlgorithm::Rsa3072 => Self::Rsa { bits: 3_072 },
            MadeAlgorithm::EcP256 => Self::EcP256,
        }
    }
}

/// From when to when a key proves something: the start is included, the end is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    // INVARIANT: the start is before the end, and both are in whole seconds, as certificates are.
    not_before: UnixNanos,
    not_after: UnixNanos,
}

/// Why two times are no validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValidity {
    /// The start isn't before the end.
    #[error("must be at least a second after `not_before`")]
    Order,
    /// A certificate can't say so.
    #[error("must be in the years 1970 to 2261")]
    Range,
}

impl Validity {
    /// Five years and their leap days.
    const DEFAULT_SECONDS: i64 = (5 * 365 + 1) * 24 * 60 * 60;
    /// The beginning of 2262.
    const END_SECONDS: i64 = 9_214_646_400;

    /// Puts two times together; what is finer than seconds is cut off.
    pub fn new(not_before: UnixNanos, not_after: UnixNanos) -> Result<Self, InvalidValidity> {
        let seconds = 0..Self::END_SECONDS;
        if !seconds.contains(&not_before.seconds()) || !seconds.contains(&not_after.seconds()) {
            return Err(InvalidValidity::Range);
        }
        if not_before.seconds() >= not_after.seconds() {
            return Err(InvalidValidity::Order);
        }
        Ok(Self::cut(not_before, not_after))
    }

    /// What a key gets that nothing is said about.
    pub fn from_now(now: UnixNanos) -> Self {
        Self::cut(now, now.plus_seconds(Self::DEFAULT_SECONDS))
    }

    fn cut(not_before: UnixNanos, not_after: UnixNanos) -> Self {
        let cut = |time: UnixNanos| UnixNanos::from_parts(time.seconds(), 0);
        Self { not_before: cut(not_before), not_after: cut(not_after) }
    }

    /// The first point at which it proves something.
    pub fn not_before(self) -> UnixNanos {
        self.not_before
    }

    /// The first point after that at which it doesn't any more.
    pub fn not_after(self) -> UnixNanos {
        self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> UnixNanos {
        UnixNanos::from_parts(second, 0)
    }

    #[test]
    fn a_validity_has_a_second_at_least_and_whole_ones_only() {
        let late = UnixNanos::from_parts(7, 999_999_999);
        let validity = Validity::new(UnixNanos(1), late).unwrap();
        assert_eq!((validity.not_before(), validity.not_after()), (second(0), second(7)));
        for (from, to, why) in [
            (second(7), second(7), InvalidValidity::Order),
            (second(7), late, InvalidValidity::Order),
            (second(8), second(7), InvalidValidity::Order),
            (UnixNanos(-1), second(7), InvalidValidity::Range),
            (second(7), UnixNanos(i64::MAX), InvalidValidity::Range),
        ] {
            assert_eq!(Validity::new(from, to), Err(why), "{from} {to}");
        }
    }

    /// A key that is good for so many days from 1970 on.
    fn key(days: i64) -> ClientKey {
        use crate::domain::{
            resource::{Description, Uid},
            testing,
        };
        ClientKey {
            name: testing::client_key_name("a", "k"),
            header: Header {
                uid: Uid(uuid::Uuid::nil()),
                revision: 1,
                create_time: second(0),
                update_time: second(0),
                description: Description::default(),
            },
            state: ClientKeyState::Enabled,
            origin: ClientKeyOrigin::Imported,
            public_key: testing::public_key(1),
            validity: Validity::new(second(0), second(days * DAY)).unwrap(),
            sessions_valid_from: 1,
            last_use: None,
            notice: None,
        }
    }

    const DAY: i64 = 24 * 60 * 60;

    #[test]
    fn each_notice_is_due_once_and_the_last_of_several_stands_for_all() {
        let mut key = key(365);
        let mut given = Vec::new();
        for day in 0..400 {
            for second_of_day in [0, 1, DAY - 1] {
                let now = second(day * DAY + second_of_day);
                if let Some(notice) = key.notice_due(now) {
                    given.push((day, second_of_day, notice));
                    key.notice = Some(notice);
                }
            }
        }
        let wanted = [(335, 0, Notice::Month), (358, 0, Notice::Week), (364, 0, Notice::Day)];
        assert_eq!(given, wanted);

        // Whoever looks late gives the one that counts.
        key.notice = None;
        assert_eq!(key.notice_due(second(360 * DAY)), Some(Notice::Week));
        key.notice = Some(Notice::Day);
        assert_eq!(key.notice_due(second(360 * DAY)), None);
        key.notice = None;
        key.state = ClientKeyState::Disabled;
        assert_eq!(key.notice_due(second(360 * DAY)), None);
    }

    #[test]
    fn what_was_due_from_the_beginning_is_no_news() {
        for (days, first) in [(31, Some(Notice::Month)), (30, Some(Notice::Week)), (1, None)] {
            let key = key(days);
            let due = (0..=days * 24).find_map(|hour| key.notice_due(second(hour * 60 * 60)));
            assert_eq!(due, first, "{days}");
        }
    }

    #[test]
    fn it_is_known_when_to_look_again() {
        let key = key(365);
        for (now, next) in [(0, 335), (335, 358), (358, 364), (364, 365)] {
            assert_eq!(key.next_due(second(now * DAY)), Some(second(next * DAY)), "{now}");
        }
        assert_eq!(key.next_due(second(365 * DAY)), None);
    }

    #[test]
    fn a_use_is_kept_once_an_hour() {
        let mut key = key(365);
        assert!(key.keeps_use(second(0)));
        key.last_use = Some(second(7_200));
        for (now, kept) in [(0, false), (7_200, false), (10_799, false), (10_800, true)] {
            assert_eq!(key.keeps_use(second(now)), kept, "{now}");
        }
    }

    #[test]
    fn a_key_that_nothing_is_said_about_is_good_for_five_years() {
        let now = second(1_795_458_000);
        let validity = Validity::from_now(now);
        assert_eq!(validity.not_before().to_string(), "2026-11-23T18:20:00Z");
        assert_eq!(validity.not_after().to_string(), "2031-11-23T18:20:00Z");
    }
}
