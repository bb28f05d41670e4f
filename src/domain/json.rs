//! JSON as it stands in a text: every member of an object in its order, and none of them twice.
//!
//! It doesn't know what a document means. What most readers do with a repeated member, which is to
//! take the last one, would let two readers of one document see two documents.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value, as far as documents here are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    /// A string.
    Text(Box<str>),
    /// An array.
    List(Vec<Json>),
    /// An object: its members, each name once.
    Object(Vec<(Box<str>, Json)>),
    /// A number, a truth value or null.
    Other,
}

/// How deep values may lie within each other.
const MAX_DEPTH: usize = 16;
/// How many values there may be in all.
const MAX_VALUES: usize = 1_000;
/// How many characters of a text from outside are shown.
const MAX_SHOWN: usize = 64;

impl Json {
    /// Reads a whole text. The error says what is wrong, and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let count = Cell::new(0);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = Value { depth: 1, count: &count }.deserialize(&mut deserializer);
        let read = value.and_then(|value| deserializer.end().map(|()| value));
        read.map_err(|error| error.to_string())
    }
}

/// A text from outside as messages show it: its beginning, with control characters written out.
pub(super) fn shown(text: &str) -> String {
    let mut escaped = text.chars().flat_map(char::escape_debug);
    let beginning: String = escaped.by_ref().take(MAX_SHOWN).collect();
    if escaped.next().is_some() { format!("{beginning}…") } else { beginning }
}

/// Reads the next value.
#[derive(Clone, Copy)]
struct Value<'c> {
    depth: usize,
    count: &'c Cell<usize>,
}

impl Value<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        self.count.set(self.count.get() + 1);
        if self.count.get() > MAX_VALUES {
            return Err(E::custom(format_args!("more than {MAX_VALUES} values")));
        }
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("more than {MAX_DEPTH} values within each other")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object: Vec<(Box<str>, Json)> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.iter().any(|(known, _)| **known == *name) {
                let name = shown(&name);
                return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
            }
            object.push((name.into(), members.next_value_seed(self.inner()?)?));
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_member_by_member_in_its_order() {
        let text = |text: &str| Json::Text(text.into());
        let read = Json::parse(r#" {"b": ["x\n", 1, -2, 3.5, null, true], "a": {}} "#).unwrap();
        let mut list = vec![text("x\n")];
        list.extend(vec![Json::Other; 5]);
        let members = vec![("b".into(), Json::List(list)), ("a".into(), Json::Object(vec![]))];
        assert_eq!(read, Json::Object(members));
        assert_eq!(Json::parse("\"ä\""), Ok(text("ä")));
    }

    #[test]
    fn a_member_that_stands_there_twice_is_refused_with_its_place() {
        for text in [
            "{\"Effect\": \"Deny\",\n \"Effect\": \"Allow\"}",
            "{\"Effect\": \"Deny\",\n \"Eff\\u0065ct\": \"Allow\"}",
        ] {
            let refused = Json::parse(text).unwrap_err();
            assert!(
                refused.starts_with("`Effect` stands there twice at line 2 column"),
                "{refused}"
            );
        }
        assert!(Json::parse(r#"[{"a": 1}, {"a": 1}]"#).is_ok());
        assert!(Json::parse(r#"{"a": 1, "A": 1}"#).is_ok());
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (text, place) in [
            ("", "line 1 column 0"),
            ("{", "line 1 column 1"),
            ("{\"a\": 1}\n}", "line 2 column 1"),
            ("{\"a\" 1}", "line 1 column 6"),
            ("\"\\ud800\"", "line 1 column 8"),
            ("{'a': 1}", "line 1 column 2"),
            ("nul", "line 1 column 3"),
            ("{\"a\": 1,}", "line 1 column 9"),
        ] {
            let refused = Json::parse(text).unwrap_err();
            assert!(refused.ends_with(&format!("at {place}")), "{text:?}: {refused}");
        }
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(MAX_DEPTH - 1)).is_ok());
        for depth in [MAX_DEPTH, 200, 3_000] {
            let refused = Json::parse(&nested(depth)).unwrap_err();
            assert!(refused.contains("within each other"), "{refused}");
        }
        let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(Json::parse(&many(MAX_VALUES - 1)).is_ok());
        let refused = Json::parse(&many(MAX_VALUES + 1)).unwrap_err();
        assert!(refused.contains("more than 1000 values"), "{refused}");
    }

    #[test]
    fn only_the_beginning_of_a_long_text_is_shown() {
        assert_eq!(shown("a\n"), "a\\n");
        assert_eq!(shown(&"a".repeat(64)), "a".repeat(64));
        assert_eq!(shown(&"a".repeat(65)), format!("{}…", "a".repeat(64)));
    }
}
