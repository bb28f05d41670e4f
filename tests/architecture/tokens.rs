//! Rust source as tokens: comments and the insides of literals don't count as code.
//!
//! It is no parser: what it doesn't understand it passes on, one character at a time.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word, a number or a lifetime.
    Word,
    /// One character, or one of `::`, `..`, `->` and `=>`.
    Mark,
    /// A string or a character; its text is what is between the quotes.
    Literal,
    /// A comment, with what begins and ends it.
    Comment,
}

/// One token and the line that it begins on, from 1.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    /// Whether this is code and reads so.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

/// Splits a file into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { rest: source, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = reader.rest.chars().next() {
        if first.is_whitespace() {
            reader.take(first.len_utf8());
            continue;
        }
        let line = reader.line;
        let (kind, text) = reader.token(first);
        tokens.push(Token { kind, text, line });
    }
    tokens
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn token(&mut self, first: char) -> (Kind, String) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            return (Kind::Comment, self.take(end));
        }
        if self.rest.starts_with("/*") {
            let end = end_of_block_comment(self.rest);
            return (Kind::Comment, self.take(end));
        }
        if let Some(quotes) = quotes(self.rest) {
            return (Kind::Literal, self.string(&quotes));
        }
        if first == '\'' {
            return self.quote();
        }
        if is_word(first) {
            let end = self.rest.find(|letter| !is_word(letter)).unwrap_or(self.rest.len());
            return (Kind::Word, self.take(end));
        }
        let pair = ["::", "..", "->", "=>"].iter().any(|pair| self.rest.starts_with(pair));
        (Kind::Mark, self.take(if pair { 2 } else { first.len_utf8() }))
    }

    fn string(&mut self, quotes: &Quotes) -> String {
        self.take(quotes.open);
        let mut end = 0;
        while end < self.rest.len() && !self.rest[end..].starts_with(&quotes.close) {
            let mut letters = self.rest[end..].chars();
            let letter = letters.next().unwrap();
            end += letter.len_utf8();
            if quotes.escapes && letter == '\\' {
                end += letters.next().map_or(0, char::len_utf8);
            }
        }
        let text = self.take(end);
        self.take(quotes.close.len());
        text
    }

    /// A character or a lifetime: both begin with one quote.
    fn quote(&mut self) -> (Kind, String) {
        self.take(1);
        let mut letters = self.rest.chars();
        let first = letters.next().map_or(0, char::len_utf8);
        if self.rest.starts_with('\\') {
            let end = self.rest[2..].find('\'').map_or(self.rest.len(), |end| end + 2);
            let text = self.take(end);
            self.take(1);
            return (Kind::Literal, text);
        }
        if letters.next() == Some('\'') {
            let text = self.take(first);
            self.take(1);
            return (Kind::Literal, text);
        }
        let end = self.rest.find(|letter| !is_word(letter)).unwrap_or(self.rest.len());
        (Kind::Word, format!("'{}", self.take(end)))
    }

    fn take(&mut self, length: usize) -> String {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken.to_owned()
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// How a string begins and ends.
struct Quotes {
    /// How long its opening is.
    open: usize,
    close: String,
    escapes: bool,
}

/// The quotes of the string that begins here, if one does.
fn quotes(rest: &str) -> Option<Quotes> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| rest.starts_with(prefix));
    let prefix = prefix.unwrap_or_default();
    let after = &rest[prefix.len()..];
    let raw = prefix.ends_with('r');
    let hashes = if raw { after.len() - after.trim_start_matches('#').len() } else { 0 };
    after[hashes..].starts_with('"').then(|| Quotes {
        open: prefix.len() + hashes + 1,
        close: format!("\"{}", "#".repeat(hashes)),
        escapes: !raw,
    })
}

fn end_of_block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut end = 0;
    while end < rest.len() {
        let here = &rest[end..];
        if here.starts_with("/*") {
            depth += 1;
            end += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            end += 2;
        } else {
            end += here.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    end
}

#[test]
fn comments_and_literals_are_no_code() {
    let source = r##"
//! a::b
/* c /* d */ e */ fn f<'x>(g: &'x str) -> char { "h \" i"; r#"j " k"#; b'\''; 'l' }
..m::n
"##;
    let tokens = tokens(source);
    let code = tokens.iter().filter(|token| matches!(token.kind, Kind::Word | Kind::Mark));
    let code: Vec<_> = code.map(|token| token.text.as_str()).collect();
    assert_eq!(code.concat(), "fnf<'x>(g:&'xstr)->char{;;b;}..m::n");
    let literals = tokens.iter().filter(|token| token.kind == Kind::Literal);
    let literals: Vec<_> = literals.map(|token| token.text.as_str()).collect();
    assert_eq!(literals, ["h \\\" i", "j \" k", "\\'", "l"]);
    assert_eq!(tokens.last().map(|token| token.line), Some(4));
}
