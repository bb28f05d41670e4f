//! Pages of lists. A token says after which place the next page begins and for which list it was made;
//! it grants nothing.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;

use crate::domain::{listing::Page, name::Id};

use super::Violations;

const DEFAULT_SIZE: usize = 50;
const MAX_SIZE: usize = 1_000;
/// The most bytes in a token: an id and a digest, encoded, with room to spare.
const MAX_TOKEN_BYTES: usize = 512;

/// What a token says.
#[derive(Clone, PartialEq, Message)]
struct Token {
    /// Where the page before ended: an id, or a revision.
    #[prost(string, tag = "1")]
    after: String,
    /// A digest of the list's other arguments.
    #[prost(bytes = "vec", tag = "2")]
    arguments: Vec<u8>,
}

/// Which list a token is for: its request, without page size and token.
#[derive(Debug)]
pub struct List(Vec<u8>);

impl List {
    /// The list of a method with these arguments.
    pub fn of(method: &str, arguments: &impl Message) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(method.as_bytes());
        context.update(&[0]);
        context.update(&arguments.encode_to_vec());
        Self(context.finish().as_ref().iter().take(16).copied().collect())
    }

    /// Parses which page of a list by id is wanted.
    pub fn parse_page(&self, violations: &mut Violations, size: i32, token: &str) -> Option<Page> {
        let (size, after) =
            self.parse_place(violations, (size, token), |place| Id::parse(place).ok())?;
        Some(Page { after, size })
    }

    /// Parses how much of a list is wanted, and after which place.
    pub fn parse_place<T>(
        &self,
        violations: &mut Violations,
        (size, token): (i32, &str),
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<(usize, Option<T>)> {
        let size = match usize::try_from(size) {
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(MAX_SIZE),
            Err(_) => {
                violations.add("page_size", "must not be negative");
                return None;
            }
        };
        if token.is_empty() {
            return Some((size, None));
        }
        let after = self.read(token).and_then(|place| parse(&place));
        if after.is_none() {
            violations.add("page_token", "must be one that a list with these arguments gave");
        }
        Some((size, Some(after?)))
    }

    fn read(&self, token: &str) -> Option<String> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let Token { after, arguments } = Token::decode(bytes.as_slice()).ok()?;
        (arguments == self.0).then_some(after)
    }

    /// The token for the page after a place; empty if there is none.
    pub fn token(&self, after: Option<impl ToString>) -> String {
        let Some(after) = after else { return String::new() };
        let token = Token { after: after.to_string(), arguments: self.0.clone() };
        URL_SAFE_NO_PAD.encode(token.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_the_list_that_gave_it() {
        let list = List::of("ListPolicies", &"accounts/acme/regions/eu-1".to_owned());
        let token = list.token(Some(Id::parse("RAMPolicy").unwrap()));
        let mut violations = Violations::default();
        let page = list.parse_page(&mut violations, 7, &token).unwrap();
        assert_eq!((page.after.unwrap().as_str(), page.size), ("RAMPolicy", 7));

        let other = List::of("ListPolicies", &"accounts/other/regions/eu-1".to_owned());
        let long = "a".repeat(1_000);
        for bad in [token.as_str(), "x", "!", long.as_str()] {
            assert!(other.parse_page(&mut violations, 0, bad).is_none(), "{bad:?}");
        }
        assert_eq!(violations.count(), 4);
        assert_eq!(list.token(None::<Id>), "");
    }

    #[test]
    fn page_sizes_are_bounded() {
        let list = List::of("ListPolicies", &String::new());
        let mut violations = Violations::default();
        for (asked, size) in [(0, Some(50)), (1, Some(1)), (5_000, Some(1_000)), (-1, None)] {
            let page = list.parse_page(&mut violations, asked, "");
            assert_eq!(page.map(|page| page.size), size, "{asked}");
        }
    }
}
