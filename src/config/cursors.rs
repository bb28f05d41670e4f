//! How many cursors of the audit log there may be.

use std::num::NonZeroU32;

use crate::domain::audit_cursor::CursorLimits;

use super::{Problems, file::CursorsTable};

/// More cursors than this have never been tried.
const MAX_CURSORS: u32 = 10_000;

/// Checks a table; what it doesn't say is as usual.
pub(super) fn check(problems: &mut Problems, table: &CursorsTable) -> CursorLimits {
    let CursorsTable { total, per_account } = *table;
    let defaults = CursorLimits::default();
    let mut check = |key: &str, given: Option<u32>, default: NonZeroU32, most: u32| {
        let number = given.unwrap_or(default.get().min(most));
        let found = NonZeroU32::new(number).filter(|number| number.get() <= most);
        found.unwrap_or_else(|| {
            problems.add(format!("cursors.{key}"), format!("must be 1 to {most}"));
            default
        })
    };
    let total = check("total", total, defaults.total, MAX_CURSORS);
    let per_account = check("per_account", per_account, defaults.per_account, total.get());
    CursorLimits { total, per_account }
}
