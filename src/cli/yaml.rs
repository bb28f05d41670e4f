//! Documents in YAML: what is refused of it, and where a text is parted into documents.
//!
//! Texts stay texts: which type a value has is said by the field that it is for, and never guessed, so
//! that `no` is a description and `1e3` an id. There are no anchors and aliases, by which a few lines
//! become millions, and no merge keys; a key stands once.

use serde::de::DeserializeSeed;
use serde_saphyr::{
    Deserializer, Error, Location, Options,
    budget::BudgetBreach,
    options::{DuplicateKeyPolicy, MergeKeyPolicy},
};

/// How deep lists and maps may be in each other; a resource needs four.
const MAX_DEPTH: usize = 16;
/// More than any resource has.
const MAX_NODES: usize = 20_000;

/// A part of a text that is a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// How many lines are before it in the text.
    pub(super) lines_before: u64,
    pub(super) text: &'a str,
}

/// The documents of a text; those that have nothing in them are left out.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut begun = Begun::default();
    let (mut place, mut number) = (0, 0);
    for line in text.split_inclusive('\n') {
        let (behind, lines_behind) = (place + line.len(), number + 1);
        // By the grammar these stand at the beginning of no other line.
        if let Some(rest) = marker(line, "---") {
            // Comments and directives belong to the document behind them.
            if begun.has_content || begun.has_marker {
                parts.extend(begun.ended(text, place));
                begun = Begun::at(place, number);
            }
            begun.has_marker = true;
            begun.has_content = is_content(rest);
        } else if marker(line, "...").is_some() {
            parts.extend(begun.ended(text, behind));
            begun = Begun::at(behind, lines_behind);
        } else {
            begun.has_content |= is_content(line);
        }
        (place, number) = (behind, lines_behind);
    }
    parts.extend(begun.ended(text, text.len()));
    parts
}

/// A document whose end isn't known yet.
#[derive(Default)]
struct Begun {
    start: usize,
    lines_before: u64,
    has_marker: bool,
    has_content: bool,
}

impl Begun {
    fn at(start: usize, lines_before: u64) -> Self {
        Self { start, lines_before, ..Self::default() }
    }

    /// The document, if there is anything in it.
    fn ended<'a>(&self, text: &'a str, end: usize) -> Option<Part<'a>> {
        let text = text.get(self.start..end).filter(|_| self.has_content)?;
        Some(Part { lines_before: self.lines_before, text })
    }
}

/// What is behind a marker, if a line begins with it.
fn marker<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(marker)?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).then_some(rest)
}

/// Whether a line has more than a comment or a directive.
fn is_content(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}');
    !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with('%')
}

/// Reads a document; or says what is wrong with it, and where.
pub(super) fn read<'de, S: DeserializeSeed<'de>>(
    text: &'de str,
    lines_before: u64,
    seed: S,
) -> Result<S::Value, String> {
    let read = |yaml: Deserializer<'de, '_>| seed.deserialize(yaml);
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), read)
        .map_err(|error| told(&error, lines_before))
}

fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_anchors: 0,
        max_aliases: 0,
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_documents: 1,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn told(error: &Error, lines_before: u64) -> String {
    let what = match error {
        Error::Budget {
            breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. },
            ..
        }
        | Error::UnknownAnchor { .. } => "it has anchors or aliases, which no document may have",
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => "it is too deep",
        Error::Budget { .. } => "it has more than any resource",
        Error::MergeKeyNotAllowed { .. } => "it has a merge key, which no document may have",
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("a key");
            return format!("`{key}` stands there twice{}", place(error, lines_before));
        }
        other => {
            let options = serde_saphyr::render_options! { line_offset: lines_before };
            let told = other.render_with_options(options);
            // Whoever knows where it is has said so.
            let line = lines_before + 1;
            return match other.location() {
                Some(_) => told,
                None => format!("{told}, in what begins at line {line}"),
            };
        }
    };
    format!("{what}{}", place(error, lines_before))
}

fn place(error: &Error, lines_before: u64) -> String {
    let at = |location: Location| {
        format!(" at line {}, column {}", location.line() + lines_before, location.column())
    };
    error.location().map(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use serde_json::{Value, json};

    use super::*;

    fn value(text: &str) -> Result<Value, String> {
        read(text, 0, PhantomData::<Value>)
    }

    fn told_of(text: &str) -> String {
        value(text).unwrap_err()
    }

    #[test]
    fn a_text_is_parted_at_its_markers() {
        for (text, wanted) in [
            ("", vec![]),
            ("# nothing\n---\n# nothing\n...\n", vec![]),
            ("a: 1", vec![(0, "a: 1")]),
            ("# first\n---\na: 1\n", vec![(0, "# first\n---\na: 1\n")]),
            ("a: 1\n---\nb: 2\n", vec![(0, "a: 1\n"), (1, "---\nb: 2\n")]),
            ("--- {a: 1}\n--- {b: 2}", vec![(0, "--- {a: 1}\n"), (1, "--- {b: 2}")]),
            (
                "a: 1\n...\n%YAML 1.2\n---\nb: 2\n",
                vec![(0, "a: 1\n...\n"), (2, "%YAML 1.2\n---\nb: 2\n")],
            ),
            ("a: |\n  ---\n  ...\nb: ---c\n", vec![(0, "a: |\n  ---\n  ...\nb: ---c\n")]),
            ("a: 1\r\n---\r\n---\r\nb: 2\r\n", vec![(0, "a: 1\r\n"), (2, "---\r\nb: 2\r\n")]),
        ] {
            let found: Vec<_> =
                parts(text).into_iter().map(|part| (part.lines_before, part.text)).collect();
            assert_eq!(found, wanted, "{text:?}");
        }
    }

    #[test]
    fn what_needs_more_than_its_text_is_refused() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        let deep = "[".repeat(17) + &"]".repeat(17);
        let many = format!("[{}]", "1,".repeat(MAX_NODES));
        for (text, wanted) in [
            (bomb, "anchors or aliases, which no document may have at line 1, column "),
            ("a: *a\n", "anchors or aliases"),
            ("a: 1\nb: 2\na: 3\n", "`a` stands there twice at line 3, column 1"),
            ("a: {b: 1}\n<<: {c: 2}\n", "merge key, which no document may have at line 2"),
            ("a: !!python/object:os.system x\n", "line 1"),
            ("a: [1\n", "line"),
            ("a: 1\n  b: 2\n", "line 2"),
            ("a:\n\tb: 1\n", "line 2"),
            (&deep, "too deep at line 1, column 17"),
            (&many, "more than any resource at line 1"),
        ] {
            let told = told_of(text);
            assert!(told.contains(wanted) && !told.contains('\n'), "{told}");
        }
        let told = read("a: 1\na: 2\n", 10, PhantomData::<Value>).unwrap_err();
        assert!(told.contains("line 12"), "{told}");
    }

    #[test]
    fn a_word_is_no_truth() {
        let words = value("[no, NO, off, y, on, yes, Norway]").unwrap();
        assert_eq!(words, json!(["no", "NO", "off", "y", "on", "yes", "Norway"]));
        assert_eq!(value("[true, false]").unwrap(), json!([true, false]));
    }
}
