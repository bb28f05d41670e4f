//! Update masks: which fields of a resource are to be changed.

use prost_types::FieldMask;

use super::Violations;

/// What a mask names to mean every field that can be changed.
const ALL: &str = "*";

/// Which fields are to be changed.
#[derive(Debug)]
pub enum Mask {
    /// Those that have a value.
    Populated,
    /// All that can be.
    All,
    /// These.
    Named(Vec<String>),
}

impl Mask {
    /// Parses a mask over fields that can be changed; any other path is refused.
    pub fn parse(
        violations: &mut Violations,
        mask: Option<FieldMask>,
        changeable: &[&str],
    ) -> Option<Self> {
        let paths = mask.unwrap_or_default().paths;
        if paths.is_empty() {
            return Some(Self::Populated);
        }
        if paths.iter().any(|path| path == ALL) {
            if paths.len() == 1 {
                return Some(Self::All);
            }
            violations.add("update_mask", "must have `*` alone");
            return None;
        }
        let mut is_valid = true;
        for (place, path) in paths.iter().enumerate() {
            if !changeable.contains(&path.as_str()) {
                let list = changeable.join("`, `");
                violations
                    .add(format!("update_mask.paths[{place}]"), format!("must be `{list}` or `*`"));
                is_valid = false;
            }
        }
        is_valid.then_some(Self::Named(paths))
    }

    /// Whether a field is to be changed.
    pub fn names(&self, field: &str, is_populated: bool) -> bool {
        match self {
            Self::Populated => is_populated,
            Self::All => true,
            Self::Named(paths) => paths.iter().any(|path| path == field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(paths: &[&str]) -> (Option<Mask>, usize) {
        let mut violations = Violations::default();
        let mask = FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
        let parsed = Mask::parse(&mut violations, Some(mask), &["description", "policies"]);
        (parsed, violations.count())
    }

    #[test]
    fn a_mask_names_fields_that_can_be_changed() {
        let (mask, _) = parse(&["policies"]);
        let mask = mask.unwrap();
        assert!(mask.names("policies", false) && !mask.names("description", true));
        let (mask, _) = parse(&["*"]);
        assert!(mask.unwrap().names("description", false));
        let (mask, _) = parse(&[]);
        let mask = mask.unwrap();
        assert!(mask.names("policies", true) && !mask.names("policies", false));
    }

    #[test]
    fn any_other_path_is_refused() {
        for (paths, violations) in
            [(&["name"][..], 1), (&["a", "policies", "b"], 2), (&["*", "policies"], 1)]
        {
            let (mask, count) = parse(paths);
            assert!(mask.is_none() && count == violations, "{paths:?}");
        }
    }
}
