//! Which records of the audit log are wanted, as it was asked for. How a record is looked at, and who
//! may see it, is not known here.

use super::name::Id;

/// A filter: each field that is given must hold, and does if one of its values does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The accounts that records belong to.
    pub accounts: Vec<Id>,
    /// The access points asked about, by their full names.
    pub access_points: Vec<Box<str>>,
    /// The kinds of what happened.
    pub kinds: Numbers,
    /// The outcomes of decisions.
    pub outcomes: Numbers,
    /// The reasons of decisions.
    pub reasons: Numbers,
    /// The actions asked for.
    pub actions: Vec<Box<str>>,
    /// What resources asked for begin with.
    pub resource_prefixes: Vec<Box<str>>,
}

impl AuditFilter {
    /// The most values in one of its lists.
    pub const MAX_VALUES: usize = 20;

    /// Whether only decisions can match: checks and requests for sessions.
    pub fn is_about_decisions(&self) -> bool {
        let Self { accounts: _, kinds: _, access_points, outcomes, reasons, actions, .. } = self;
        let numbers = [outcomes, reasons];
        !access_points.is_empty()
            || numbers.iter().any(|numbers| !numbers.is_empty())
            || !actions.is_empty()
            || !self.resource_prefixes.is_empty()
    }
}

/// A set of the numbers that values of the public enums have in a record: 1 to 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers(u64);

/// Why a number can't be in such a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a known value")]
pub struct InvalidNumber;

impl Numbers {
    /// Takes in a number.
    pub fn add(&mut self, number: i32) -> Result<(), InvalidNumber> {
        match u32::try_from(number) {
            Ok(number @ 1..=63) => self.0 |= 1 << number,
            _ => return Err(InvalidNumber),
        }
        Ok(())
    }

    /// Whether a number is in it.
    pub fn has(self, number: u64) -> bool {
        number < 64 && self.0 >> number & 1 == 1
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers in it, in order.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (1..64).filter(move |number| self.has(u64::from(*number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_numbers_that_were_added() {
        let mut numbers = Numbers::default();
        assert!(numbers.is_empty());
        for number in [7, 1, 63, 7] {
            numbers.add(number).unwrap();
        }
        for bad in [0, -1, 64, i32::MAX] {
            assert_eq!(numbers.add(bad), Err(InvalidNumber), "{bad}");
        }
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [1, 7, 63]);
        assert!(!numbers.has(0) && !numbers.has(64) && !numbers.has(u64::MAX) && numbers.has(63));
    }
}
