//! Asking a person, line by line, until an answer is one.
//!
//! The terminal does the editing, and ctrl-c ends the program: nothing is asked while there is
//! anything to put away. What is asked goes to the standard error, so that the standard output has
//! what came of it and nothing else.

use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _, Write};

use anyhow::Context as _;

use crate::cli::{
    failure::Failure,
    output::{Style, Table, clean, indented_error, styled_error, width_of},
};

/// What Linux passes on of a line that is typed, without its end. What is more is dropped, and nobody
/// is told.
const LONGEST_LINE: usize = 4_095;
/// How many things that are wrong with an answer are said.
const SAID: usize = 5;

/// Whether there is a person to ask.
pub(in crate::cli) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A person, and how they are asked.
pub(super) struct Questions {
    input: Box<dyn BufRead>,
    output: Box<dyn Write>,
}

/// What can be chosen: a word to choose it by, and what it means.
pub(super) type Choice<'a> = (&'a str, &'a str);

impl Questions {
    /// Asks on the terminal.
    pub(super) fn on_terminal() -> Self {
        Self { input: Box::new(BufReader::new(io::stdin())), output: Box::new(io::stderr()) }
    }

    /// Says something.
    pub(super) fn say(&mut self, line: &str) {
        let _ = writeln!(self.output, "{line}");
    }

    /// Begins a part.
    pub(super) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.output, "\n{}", styled_error(Style::Heading, text));
    }

    /// Shows a table, cut to the terminal's width.
    pub(super) fn table(&mut self, table: &Table) {
        for line in table.lines(width_of(io::stderr())) {
            let _ = writeln!(self.output, "{line}");
        }
    }

    /// Asks until an answer is taken. An empty answer is the default, if there is one.
    pub(super) fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        mut take: impl FnMut(&str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        loop {
            let default_shown = default.filter(|text| !text.is_empty());
            let shown = default_shown.map(|text| format!(" [{text}]")).unwrap_or_default();
            let _ = write!(self.output, "{question}{shown}: ").and_then(|()| self.output.flush());
            let line = self.line()?;
            let answer = match (line.trim(), default) {
                ("", None) => Err(Failure::invalid("an answer is needed", Vec::new()).into()),
                ("", Some(default)) => take(default),
                _ if line.len() >= LONGEST_LINE => Err(too_long().into()),
                (answer, _) => take(answer),
            };
            match answer {
                Ok(taken) => return Ok(taken),
                Err(error) => self.refuse(&error),
            }
        }
    }

    /// Asks for something that need not be said.
    pub(super) fn ask_optional<T>(
        &mut self,
        question: &str,
        take: impl FnMut(&str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.ask(question, Some(""), take)
    }

    /// Has one of several chosen, by its number or its word: its place.
    pub(super) fn choose(
        &mut self,
        question: &str,
        choices: &[Choice<'_>],
        default: Option<&str>,
    ) -> anyhow::Result<usize> {
        self.show(choices);
        self.ask(question, default, |answer| chosen(choices, answer))
    }

    /// Has one or more of several chosen, separated by commas: their places.
    pub(super) fn choose_some<T>(
        &mut self,
        question: &str,
        choices: &[Choice<'_>],
        default: Option<&str>,
        take: impl Fn(Vec<usize>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.show(choices);
        self.ask(question, default, |answer| {
            let places = parts(answer).map(|answer| chosen(choices, answer));
            take(places.collect::<Result<_, _>>()?)
        })
    }

    /// Asks whether to do something.
    pub(super) fn is_it(&mut self, question: &str, default: &str) -> anyhow::Result<bool> {
        self.ask(question, Some(default), |answer| {
            let answer = answer.to_ascii_lowercase();
            match answer.as_str() {
                "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err(Failure::invalid("answer `yes` or `no`", Vec::new()).into()),
            }
        })
    }

    fn show(&mut self, choices: &[Choice<'_>]) {
        let widest = choices.iter().map(|(word, _)| word.len()).max().unwrap_or_default();
        for (place, (word, meaning)) in choices.iter().enumerate() {
            let _ = writeln!(self.output, "  {}  {word:<widest$}  {meaning}", place + 1);
        }
    }

    fn refuse(&mut self, error: &anyhow::Error) {
        let details = Failure::details_of(error);
        let first = clean(&format!("{error:#}"));
        for line in [&first].into_iter().chain(details.iter().take(SAID)) {
            let _ = writeln!(self.output, "{}", styled_error(Style::Bad, &indented_error(line)));
        }
        if let more @ 1.. = details.len().saturating_sub(SAID) {
            let _ = writeln!(self.output, "  and {more} more");
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        // Far more than a terminal passes on.
        let mut input = self.input.by_ref().take(1 << 16);
        let count = input.read_line(&mut line).context("can't read the answer")?;
        if count == 0 {
            let _ = writeln!(self.output);
            return Err(Failure::failed("no answer: nothing is created", Vec::new()).into());
        }
        let length = line.trim_end_matches(['\n', '\r']).len();
        line.truncate(length);
        Ok(line)
    }
}

/// The parts of an answer, without the spaces that people put behind commas.
pub(super) fn parts(answer: &str) -> impl Iterator<Item = &str> {
    answer.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn chosen(choices: &[Choice<'_>], answer: &str) -> anyhow::Result<usize> {
    let numbered = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let by_word = || choices.iter().position(|(word, _)| word.eq_ignore_ascii_case(answer));
    let found = numbered.filter(|&place| place < choices.len()).or_else(by_word);
    let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
    let wrong = || {
        let message = format!("`{answer}` is none of them: a number, or {}", words.join(", "));
        Failure::invalid(message, Vec::new()).into()
    };
    found.ok_or_else(wrong)
}

fn too_long() -> Failure {
    let message = format!("a terminal passes on {LONGEST_LINE} characters of a line, and no more");
    Failure::invalid(message, vec!["write a document, and use `aap apply`".to_owned()])
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::Cursor, rc::Rc};

    use super::*;

    /// What was said.
    #[derive(Clone, Default)]
    struct Heard(Rc<RefCell<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answering(answers: &str) -> (Questions, Heard) {
        let heard = Heard::default();
        let input = Box::new(Cursor::new(answers.as_bytes().to_vec()));
        (Questions { input, output: Box::new(heard.clone()) }, heard)
    }

    fn said(heard: &Heard) -> String {
        String::from_utf8(heard.0.borrow().clone()).unwrap()
    }

    const CHOICES: [Choice<'static>; 2] = [("one", "the first"), ("two", "the second")];

    #[test]
    fn what_is_wrong_is_said_and_asked_again() {
        let (mut questions, heard) = answering("0\nthree\n\nTwo\n");
        assert_eq!(questions.choose("Which", &CHOICES, None).unwrap(), 1);
        let wanted = "  1  one  the first
  2  two  the second
Which:   `0` is none of them: a number, or `one`, `two`
Which:   `three` is none of them: a number, or `one`, `two`
Which:   an answer is needed
Which: ";
        assert_eq!(said(&heard), wanted);
    }

    #[test]
    fn nothing_is_the_default() {
        let (mut questions, heard) = answering("\n\n 2 ,one, \n");
        assert_eq!(questions.choose("Which", &CHOICES, Some("2")).unwrap(), 1);
        assert!(said(&heard).ends_with("Which [2]: "));
        assert_eq!(questions.ask_optional("What", |text| Ok(text.to_owned())).unwrap(), "");
        assert_eq!(questions.choose_some("Which", &CHOICES, None, Ok).unwrap(), [1, 0]);
    }

    #[test]
    fn the_end_of_the_input_is_no_answer() {
        let (mut questions, _) = answering("maybe\n");
        let error = questions.is_it("Really", "no").unwrap_err();
        assert_eq!(error.to_string(), "no answer: nothing is created");
    }

    #[test]
    fn a_line_that_may_have_been_cut_is_not_taken() {
        let long = "a".repeat(LONGEST_LINE - 1);
        let (mut questions, heard) = answering(&format!("{long}a\n{long}\n"));
        let taken = questions.ask("What", None, |text| Ok(text.len())).unwrap();
        assert_eq!(taken, LONGEST_LINE - 1);
        assert!(said(&heard).contains("4095 characters"), "{}", said(&heard));
    }
}
