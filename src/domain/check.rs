//! One question, borrowed from the request that asks it.

use super::{
    name::{AccessPointRef, LocationRef},
    network::Origin,
    session::ShownSession,
    time::UnixNanos,
};

/// One question: may this access point do this, to this resource, there, from this network?
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Where the resource lives.
    pub location: LocationRef<'a>,
    /// Who asks, and how that is known.
    pub subject: Subject<'a>,
    /// What is to be done.
    pub action: ActionName<'a>,
    /// What it is to be done to; anything that [`ResourceText`] lets through.
    pub resource: ResourceText<'a>,
    /// The instance asked.
    pub instance: InstanceText<'a>,
    /// Where the application's call came from.
    pub origin: Origin<'a>,
}

/// Who a check is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The enforcement point authenticated the application and names its access point.
    Asserted(AccessPointRef<'a>),
    /// The application shows a session's token, at which nobody has looked yet.
    Token(&'a str),
    /// The application shows a session, at this time.
    Session(ShownSession, UnixNanos),
}

/// Defines a text of a check that is bounded, and more than bounded only as far as is said.
macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $(#[$error_doc:meta])* $error:ident, $message:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a>(&'a str);

        $(#[$error_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $error;

        impl<'a> $name<'a> {
            /// Checks the text.
            pub fn parse(text: &'a str) -> Result<Self, $error> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text)) } else { Err($error) }
            }

            /// The text.
            pub fn as_str(self) -> &'a str {
                self.0
            }
        }
    };
}

bounded_text!(
    /// The name of an action, known to this server or not.
    ActionName,
    |text| {
        text.len() <= 64
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    },
    /// Why a text is no action's name.
    InvalidActionName,
    "must be a letter and up to 63 letters or digits"
);

bounded_text!(
    /// The text of a resource, inside the grammar of resources or not.
    ResourceText,
    |text| text.len() <= 512,
    /// Why a text is too much for a resource.
    InvalidResourceText,
    "must have at most 512 bytes"
);

bounded_text!(
    /// The text of an instance, well-formed or not.
    InstanceText,
    |text| (1..=64).contains(&text.len()),
    /// Why a text is too much for an instance.
    InvalidInstanceText,
    "must have 1 to 64 bytes"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_check_are_bounded() {
        assert!(ActionName::parse(&"a".repeat(64)).is_ok());
        for bad in ["", "1a", "Get Secret", "Get-Secret", "ä", &"a".repeat(65)] {
            assert_eq!(ActionName::parse(bad), Err(InvalidActionName), "{bad:?}");
        }
        assert!(ResourceText::parse("").is_ok());
        assert!(ResourceText::parse(&"a".repeat(512)).is_ok());
        assert_eq!(ResourceText::parse(&"a".repeat(513)), Err(InvalidResourceText));
        assert_eq!(InstanceText::parse(""), Err(InvalidInstanceText));
        assert_eq!(InstanceText::parse(&"a".repeat(65)), Err(InvalidInstanceText));
    }
}
