//! What commands print: tables for people, JSON, YAML or names for machines.
//!
//! Colors and widths are for terminals only, and colors only where `NO_COLOR` isn't set. What comes
//! from elsewhere can't steer a terminal: control characters are shown, not sent.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{environment, say};

/// In which form to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// As the API has it in JSON.
    Json,
    /// The same as YAML.
    Yaml,
    /// The full names alone, one a line.
    Name,
}

/// The form, as a flag.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Output {
    /// In which form to print: `table`, `json`, `yaml` or `name`.
    #[arg(
        long = "output",
        short = 'o',
        value_enum,
        default_value_t,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub(super) format: Format,
}

/// How a text is to look.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    /// A heading.
    Heading,
    /// Good, or new.
    Good,
    /// Bad, or gone.
    Bad,
    /// To be looked at.
    Odd,
}

/// Colors a text, if it is for a terminal that wants colors.
pub(super) fn styled(style: Style, text: &str) -> String {
    if has_colors(io::stdout().is_terminal()) { colored(style, text) } else { text.to_owned() }
}

/// The same for what goes to the standard error.
pub(super) fn styled_error(style: Style, text: &str) -> String {
    if has_colors(io::stderr().is_terminal()) { colored(style, text) } else { text.to_owned() }
}

/// Whether a terminal wants colors.
pub(super) fn has_colors(is_terminal: bool) -> bool {
    let is_set = |name: &str| environment(name).is_some_and(|text| !text.is_empty());
    is_terminal && !is_set("NO_COLOR") && environment("TERM").is_none_or(|term| term != "dumb")
}

fn colored(style: Style, text: &str) -> String {
    let code = match style {
        Style::Heading => "1",
        Style::Good => "32",
        Style::Bad => "31",
        Style::Odd => "33",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A text without what could steer a terminal.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            let _ = write!(cleaned, "{}", letter.escape_unicode());
        } else {
            cleaned.push(letter);
        }
    }
    cleaned
}

/// Controls, and what changes the direction of writing.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How wide a terminal is, if it is one.
pub(super) fn width_of(output: impl AsFd) -> Option<usize> {
    if !rustix::termios::isatty(&output) {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// A message to people with a mark before it, as lines for the standard error: on a terminal they are
/// broken between words.
pub(super) fn marked_error(style: Style, mark: &str, text: &str) -> String {
    let lines = broken(text, mark.len() + 1, width_of(io::stderr()));
    format!("{} {}", styled_error(style, mark), lines.join("\n"))
}

/// A sentence with a mark before it, for the standard output: on a terminal it is broken between words.
pub(super) fn marked(style: Style, mark: &str, text: &str) -> String {
    let lines = broken(text, mark.len() + 1, width_of(io::stdout()));
    format!("{} {}", styled(style, mark), lines.join("\n"))
}

/// What belongs to such a message, as lines behind it.
pub(super) fn indented_error(text: &str) -> String {
    let lines = broken(text, INDENT.len(), width_of(io::stderr()));
    format!("{INDENT}{}", lines.join("\n"))
}

const INDENT: &str = "  ";

/// A text as lines that fit into a width, the first with something before it, those behind it indented.
/// A word that is too long by itself stays whole.
pub(super) fn broken(text: &str, before: usize, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let (mut lines, mut used) = (Vec::new(), before);
    for given in text.split('\n') {
        let mut line = String::new();
        if !lines.is_empty() {
            used = 0;
        }
        for word in given.split(' ') {
            let length = word.chars().count();
            // What stands before the first line is as good as words of it.
            let may_break = !line.trim().is_empty() || lines.is_empty() && used > before;
            if may_break && used + length > width {
                lines.push(line.trim_end().to_owned());
                line = INDENT.repeat(2);
                used = line.len();
            }
            line += word;
            line.push(' ');
            used += length + 1;
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Lines of columns.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

/// What stands between two columns.
const GAP: usize = 2;
/// To what a column is cut at most.
const NARROWEST: usize = 8;

impl Table {
    /// A table with headings.
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).into()] }
    }

    /// Adds a line.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// The same with the number of each line before it.
    pub(super) fn numbered(mut self) -> Self {
        for (number, row) in self.rows.iter_mut().enumerate() {
            row.insert(0, if number == 0 { String::new() } else { number.to_string() });
        }
        self
    }

    /// Prints it, cut to the terminal's width; machines get all of it.
    pub(super) fn print(&self) {
        for (number, line) in self.lines(width_of(io::stdout())).into_iter().enumerate() {
            say(if number == 0 { styled(Style::Heading, &line) } else { line });
        }
    }

    /// Its lines, cut to a width if there is one.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let mut widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
            })
            .collect();
        if let Some(width) = width {
            fit(&mut widths, width);
        }
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths) {
                let cell = cut(cell, width);
                let _ = write!(line, "{cell:<width$}{:GAP$}", "");
            }
            line.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// Takes from the widest column until all fit.
fn fit(widths: &mut [usize], width: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(widest) = widths.iter_mut().max() else { return };
        if *widest <= NARROWEST {
            return;
        }
        *widest -= 1;
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The first few of many, and how many more there are.
pub(super) fn some_of(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Prints a value for machines, or as a list of what it has for people.
pub(super) fn print_value(format: Format, value: &Value) -> anyhow::Result<()> {
    match format {
        Format::Json => say(serde_json::to_string_pretty(value)?),
        Format::Yaml => say(yaml(value).trim_end()),
        Format::Name => {
            let name = value.get("name").and_then(Value::as_str);
            say(name.unwrap_or_default());
        }
        Format::Table => {
            let mut lines = Vec::new();
            flatten("", value, &mut lines);
            let widest = lines.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default();
            for (key, text) in lines {
                say(format!("{key:<widest$}  {}", clean(&text)).trim_end());
            }
        }
    }
    Ok(())
}

/// Prints a list for machines: all of it as one value.
pub(super) fn print_values(format: Format, values: &[Value]) -> anyhow::Result<()> {
    if format == Format::Name {
        return values.iter().try_for_each(|value| print_value(format, value));
    }
    print_value(format, &Value::Array(values.to_vec()))
}

/// Each part of a value with its path in words.
fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(parts) if parts.is_empty() => lines.push((path.to_owned(), "yes".to_owned())),
        Value::Object(parts) => {
            for (key, part) in parts {
                let path =
                    if path.is_empty() { words(key) } else { format!("{path} {}", words(key)) };
                flatten(&path, part, lines);
            }
        }
        Value::Array(parts) => {
            for (place, part) in parts.iter().enumerate() {
                let path = if place == 0 || part.is_object() { path } else { "" };
                flatten(path, part, lines);
            }
        }
        Value::String(text) => lines.push((path.to_owned(), text.clone())),
        other => lines.push((path.to_owned(), other.to_string())),
    }
}

/// `createTime` as `create time`.
fn words(key: &str) -> String {
    let mut made = String::new();
    for letter in key.chars() {
        if letter.is_uppercase() {
            made.push(' ');
        }
        made.extend(letter.to_lowercase());
    }
    made
}

/// A value as YAML, in blocks. Texts are in quotes wherever they could be read as something else.
pub(super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write_yaml(value, 0, &mut text);
    text
}

fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(parts) if !parts.is_empty() => {
            for (key, part) in parts {
                let _ = write!(text, "{indent}{}:", scalar(key));
                write_part(part, depth + 1, text);
            }
        }
        Value::Array(parts) if !parts.is_empty() => {
            for part in parts {
                if part.as_object().is_some_and(|part| !part.is_empty()) {
                    // The first key stands beside the dash.
                    let mut block = String::new();
                    write_yaml(part, depth + 1, &mut block);
                    let _ = write!(text, "{indent}- {}", block.trim_start());
                } else {
                    let _ = write!(text, "{indent}-");
                    write_part(part, depth + 1, text);
                }
            }
        }
        other => {
            let _ = writeln!(text, "{indent}{}", inline(other));
        }
    }
}

fn write_part(part: &Value, depth: usize, text: &mut String) {
    match part {
        Value::Object(parts) if !parts.is_empty() => {
            text.push('\n');
            write_yaml(part, depth, text);
        }
        Value::Array(parts) if !parts.is_empty() => {
            text.push('\n');
            write_yaml(part, depth, text);
        }
        other => {
            let _ = writeln!(text, " {}", inline(other));
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        // Empty ones are written as in JSON, which is YAML too.
        other => other.to_string(),
    }
}

/// Plain where nothing else could be meant, or in quotes as in JSON.
fn scalar(text: &str) -> String {
    let begins_well = text.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let plain =
        text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_./-".contains(letter));
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    if begins_well && plain && !word {
        text.to_owned()
    } else {
        Value::String(text.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_cut_to_the_terminal_and_nowhere_else() {
        let mut table = Table::new(["NAME", "RESOURCES"]);
        table.row(["a".to_owned(), "secret/one, secret/two, secret/three".to_owned()]);
        assert_eq!(
            table.lines(None),
            ["NAME  RESOURCES", "a     secret/one, secret/two, secret/three"]
        );
        assert_eq!(table.lines(Some(20)), ["NAME  RESOURCES", "a     secret/one, s…"]);
    }

    #[test]
    fn a_message_is_broken_between_words() {
        let text = "one two three\n  four aVeryLongWord five";
        assert_eq!(broken(text, 7, None), [text]);
        let wanted = ["one two", "    three", "  four", "    aVeryLongWord", "    five"];
        assert_eq!(broken(text, 7, Some(14)), wanted);
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n\u{202e}"), "a\\u{1b}[2Jb\\u{a}\\u{202e}");
    }

    #[test]
    fn yaml_says_what_json_says() {
        let value = json!({
            "name": "accounts/a/policies/P",
            "on": "yes",
            "empty": {},
            "list": ["secret/*", {"a": 1, "b": [true]}, []],
        });
        let wanted = "\
name: accounts/a/policies/P
\"on\": \"yes\"
empty: {}
list:
  - \"secret/*\"
  - a: 1
    b:
      - true
  - []
";
        assert_eq!(yaml(&value), wanted);
    }
}
