//! That no command is forgotten: each has its help, a success and a failure on a page, as a script and
//! as a person read them, and on a terminal none is wider than 80 columns.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::Command;

/// How wide the terminal is.
const COLUMNS: usize = 80;

/// What isn't on a page: the command, what of it, and why.
const NOT_ON_A_PAGE: [(&str, What, &str); 1] = [(
    "completion",
    What::Success,
    "it is a script of thousands of lines; `contexts_and_the_rest` looks at it",
)];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Help,
    Success,
    Failure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Pipe,
    Terminal,
}

/// What a command said once.
struct Entry {
    page: String,
    /// What was typed, and what was said.
    line: String,
    text: String,
    code: i32,
    places: Vec<Place>,
}

/// Everything that is on a page.
fn entries() -> Vec<Entry> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/cli");
    let mut entries = Vec::new();
    for page in fs::read_dir(directory).unwrap() {
        let path = page.unwrap().path();
        let page = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.strip_prefix("$ aap ").unwrap();
        entries.extend(text.split("\n$ aap ").map(|entry| read(&page, entry)));
    }
    entries
}

fn read(page: &str, entry: &str) -> Entry {
    let (line, said) = entry.split_once('\n').unwrap();
    let said = format!("\n{said}");
    let (text, rest) = said.rsplit_once("\n[").unwrap();
    let (code, rest) = rest.split_once(']').unwrap();
    let places = match line.strip_suffix(" # on a terminal") {
        Some(_) => vec![Place::Terminal],
        None if rest.contains("(the same on a terminal)") => vec![Place::Pipe, Place::Terminal],
        None => vec![Place::Pipe],
    };
    Entry {
        page: page.to_owned(),
        line: line.to_owned(),
        text: text.to_owned(),
        code: code.parse().unwrap(),
        places,
    }
}

/// The commands that do something, by what is typed.
fn commands(command: &Command, path: &str, found: &mut Vec<String>) {
    for command in command.get_subcommands() {
        let path = format!("{path}{} ", command.get_name());
        if !command.is_subcommand_required_set() {
            found.push(path.trim_end().to_owned());
        }
        commands(command, &path, found);
    }
}

/// Which command a line runs: the longest one that it begins with.
fn command_of<'a>(commands: &'a [String], line: &str) -> Option<&'a str> {
    let begins = |command: &&String| format!("{line} ").starts_with(&format!("{command} "));
    commands.iter().filter(begins).max_by_key(|command| command.len()).map(String::as_str)
}

#[test]
fn every_command_has_its_help_a_success_and_a_failure_on_a_page() {
    let mut all = Vec::new();
    commands(&aap::cli::command(), "", &mut all);
    assert!(all.len() > 50, "{all:?}");
    let mut there = BTreeSet::new();
    for Entry { line, code, places, .. } in entries() {
        let what = match code {
            _ if line.contains("--help") => What::Help,
            0 => What::Success,
            _ => What::Failure,
        };
        if let Some(command) = command_of(&all, &line) {
            there.extend(places.into_iter().map(|place| (command, what, place)));
        }
    }
    let mut missing = Vec::new();
    for command in &all {
        for what in [What::Help, What::Success, What::Failure] {
            let is_left_out =
                NOT_ON_A_PAGE.iter().any(|(left, part, _)| left == command && *part == what);
            for place in [Place::Pipe, Place::Terminal] {
                if !is_left_out && !there.contains(&(command.as_str(), what, place)) {
                    missing.push(format!("aap {command}: {what:?} in a {place:?}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not on a page in tests/snapshots/cli:\n{}", missing.join("\n"));
}

#[test]
fn everything_can_be_read_on_a_terminal_of_80_columns() {
    let mut wide = Vec::new();
    for Entry { page, line, text, places, .. } in entries() {
        // What is for machines is as wide as it is; a script has no columns, but help is text.
        let is_for_people =
            !["-o json", "-o yaml", "-o name", "--json"].iter().any(|form| line.contains(form));
        if !is_for_people || !(places.contains(&Place::Terminal) || line.contains("--help")) {
            continue;
        }
        for shown in text.lines() {
            let plain = without_colors(shown);
            // A name, a key or a path stands in one piece, so that it can be copied.
            // So does a group of arguments, as clap shows it.
            let is_group = plain.trim().starts_with('<') && plain.ends_with('>');
            let longest = plain.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
            if !is_group && plain.chars().count() > COLUMNS && longest < COLUMNS / 2 {
                wide.push(format!("{page}: aap {line}: {plain}"));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {COLUMNS} columns:\n{}", wide.join("\n"));
}

fn without_colors(line: &str) -> String {
    let mut parts = line.split("\\e[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    plain
}
