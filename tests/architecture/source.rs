//! The source tree as the rules see it: files, the paths that their code names, and what of it is
//! test code.
//!
//! It resolves names by the `use` declarations of the same file, wherever in the file these are,
//! and knows nothing of macros, globs and re-exports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use crate::tokens::{Kind, Token, tokens};

/// The root of the package.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One file of Rust.
pub(crate) struct Source {
    /// Where it is, from the root on.
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    /// The lines that are compiled for tests only.
    test_lines: BTreeSet<usize>,
    /// What its code names, with `use` resolved.
    pub(crate) paths: Vec<NamedPath>,
}

/// Which code a rule is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    /// What is in the program.
    Product,
    /// What is compiled for tests and benches only.
    Tests,
    All,
}

/// A path such as `std::fs::read`, as the code names it in one place.
#[derive(Clone, Debug)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// How many of its segments come from a `use` declaration, which is a place of its own.
    imported: usize,
}

impl NamedPath {
    /// Whether it is `prefix` or goes on from there.
    pub(crate) fn is_in(&self, prefix: &str) -> bool {
        starts_with(&self.segments, prefix)
    }

    /// Whether `name` is one of its segments, or some of them in a row.
    pub(crate) fn has(&self, name: &str) -> bool {
        (0..self.segments.len()).any(|start| starts_with(&self.segments[start..], name))
    }

    fn resolve(self, imports: &BTreeMap<String, Vec<String>>) -> Self {
        match self.segments.first().and_then(|first| imports.get(first)) {
            Some(import) => Self {
                segments: import.iter().chain(&self.segments[1..]).cloned().collect(),
                line: self.line,
                imported: import.len(),
            },
            None => self,
        }
    }

    /// The part of it that is imported; empty if none is.
    fn import(&self) -> Self {
        let segments = self.segments[..self.imported].to_vec();
        Self { segments, line: self.line, imported: 0 }
    }
}

impl Source {
    fn new(file: &str, text: String) -> Self {
        let tokens = tokens(&text);
        let code: Vec<_> =
            tokens.iter().filter(|token| token.kind != Kind::Comment).cloned().collect();
        let all_test = !file.starts_with("src/") && file != "build.rs";
        let last_line = text.lines().count();
        let test_lines = if all_test { (1..=last_line).collect() } else { test_lines(&code) };
        Self { file: file.to_owned(), paths: paths(&code), text, tokens, test_lines }
    }

    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test_lines.contains(&line)
    }

    /// The module under `src` that it belongs to: `store` for `src/store/codec.rs`.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.file.strip_prefix("src/")?;
        Some(inside.split('/').next().unwrap().trim_end_matches(".rs"))
    }

    /// How many modules it is deep: 2 for `src/store/codec.rs`.
    pub(crate) fn depth(&self) -> usize {
        folder(&self.file).matches('/').count()
    }

    /// Whether it is one of these: a file, or a folder with a slash at its end.
    pub(crate) fn is_one_of(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.file == *place || (place.ends_with('/') && self.file.starts_with(place))
        })
    }

    /// The places whose paths are wanted, with the paths; a `use` counts where it is declared, and
    /// not again where it is used.
    pub(crate) fn names<'a>(
        &'a self,
        code: Code,
        wanted: impl Fn(&NamedPath) -> bool + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let paths = self.paths.iter().filter(move |path| match code {
            Code::Product => !self.is_test(path.line),
            Code::Tests => self.is_test(path.line),
            Code::All => true,
        });
        let wanted = paths.filter(move |path| wanted(path) && !wanted(&path.import()));
        wanted.map(|path| format!("{}:{}: {}", self.file, path.line, path.segments.join("::")))
    }
}

/// Every file of Rust in the package, in order.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_sources);
    &SOURCES
}

fn read_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for file in files() {
        if has_extension(&file, "rs") {
            sources.push(Source::new(&file, read(&file)));
        }
    }
    let test_modules: BTreeSet<_> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let folder = format!("{}/", folder(&source.file));
        if test_modules.iter().any(|module| folder.starts_with(&format!("{module}/"))) {
            source.test_lines = (1..=source.text.lines().count()).collect();
        }
    }
    assert!(!sources.is_empty(), "there is no source under {ROOT}");
    sources
}

/// Every file of the package, from its root on and in order, without what tools keep there.
pub(crate) fn files() -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if [".git", ".venv", "target", "node_modules"].contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(format!("{folder}{name}/"));
            } else {
                files.push(format!("{folder}{name}"));
            }
        }
    }
    files.sort();
    files
}

/// The text of a file of the package.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

pub(crate) fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|found| found == extension)
}

/// The folder that holds the modules that a file declares: `src/store` for `src/store/mod.rs`.
fn folder(file: &str) -> &str {
    let folder = ["/mod.rs", "/lib.rs", ".rs"].iter().find_map(|end| file.strip_suffix(end));
    folder.unwrap_or(file)
}

fn starts_with(segments: &[String], prefix: &str) -> bool {
    let mut segments = segments.iter();
    prefix.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
}

/// Where the attribute that opens at `start` ends, if one does, and whether it means test code.
fn attribute(code: &[Token], start: usize) -> Option<(usize, bool)> {
    let open = start + 1 + usize::from(code.get(start + 1)?.is("!"));
    if !code[start].is("#") || !code.get(open)?.is("[") {
        return None;
    }
    let end = closing(code, open);
    let inside = &code[open + 1..end];
    let has = |word| inside.iter().any(|token| token.is(word));
    let is_cfg = inside.first().is_some_and(|token| token.is("cfg"));
    Some((end + 1, is_cfg && has("test") && !has("not")))
}

/// The place of the bracket that closes the one at `open`.
fn closing(code: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in code.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|bracket| token.is(bracket)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|bracket| token.is(bracket)) {
            depth -= 1;
            if depth == 0 {
                return index;
            }
        }
    }
    code.len() - 1
}

/// The items under `#[cfg(test)]`, each from its attribute to its end.
fn test_items(code: &[Token]) -> Vec<&[Token]> {
    let mut items = Vec::new();
    let mut index = 0;
    while index < code.len() {
        let Some((mut end, is_test)) = attribute(code, index) else {
            index += 1;
            continue;
        };
        if is_test && code[index + 1].is("!") {
            return vec![code];
        }
        if is_test {
            while end + 1 < code.len() && !code[end].is(";") && !code[end].is("{") {
                let opens = code[end].is("(") || code[end].is("[");
                end = if opens { closing(code, end) + 1 } else { end + 1 };
            }
            end = if code[end].is("{") { closing(code, end) + 1 } else { end + 1 };
            items.push(&code[index..end.min(code.len())]);
        }
        index = end;
    }
    items
}

fn test_lines(code: &[Token]) -> BTreeSet<usize> {
    let items = test_items(code);
    items.iter().flat_map(|item| item[0].line..=item[item.len() - 1].line).collect()
}

/// The modules that a file declares for tests only, as paths without an extension.
fn test_modules(source: &Source) -> Vec<String> {
    let code: Vec<_> =
        source.tokens.iter().filter(|token| token.kind != Kind::Comment).cloned().collect();
    let declared = test_items(&code).into_iter().filter_map(|item| match item {
        [.., module, name, end] if module.is("mod") && end.is(";") => Some(name.text.clone()),
        _ => None,
    });
    declared.map(|name| format!("{}/{name}", folder(&source.file))).collect()
}

/// Every path in the code, groups taken apart and imported names resolved.
fn paths(code: &[Token]) -> Vec<NamedPath> {
    let mut uses = Tree::new(code);
    let mut others = Tree::new(code);
    let mut index = 0;
    while index < code.len() {
        let tree = if code[index].is("use") { &mut uses } else { &mut others };
        tree.index = index;
        if code[index].is("use") {
            let rooted = code.get(index + 1).is_some_and(|token| token.is("::"));
            tree.index += 1 + usize::from(rooted);
            tree.read(&[]);
        } else if begins_path(code, index) {
            tree.read(&[]);
        }
        index = tree.index.max(index + 1);
    }
    let imports = uses.aliases.into_iter().collect();
    let others = others.found.into_iter().map(|path| path.resolve(&imports));
    uses.found.into_iter().chain(others).collect()
}

/// Whether a path begins here: a word that is no field, no method and no later part of a path.
fn begins_path(code: &[Token], index: usize) -> bool {
    let before = |distance: usize| index.checked_sub(distance).map(|before| &code[before]);
    let is_part = before(1).is_some_and(|token| token.is("::"))
        && before(2).is_some_and(|token| token.kind == Kind::Word || token.is(">"));
    code[index].kind == Kind::Word && !is_part && !before(1).is_some_and(|token| token.is("."))
}

/// Reads paths, and trees of paths as `use` has them.
struct Tree<'a> {
    code: &'a [Token],
    index: usize,
    found: Vec<NamedPath>,
    /// The names by which a `use` makes its paths known.
    aliases: Vec<(String, Vec<String>)>,
}

impl<'a> Tree<'a> {
    fn new(code: &'a [Token]) -> Self {
        Self { code, index: 0, found: Vec::new(), aliases: Vec::new() }
    }

    fn next_is(&self, text: &str) -> bool {
        self.code.get(self.index).is_some_and(|token| token.is(text))
    }

    /// Reads what begins at the index, and leaves the index behind it.
    fn read(&mut self, outer: &[String]) {
        let Some(first) = self.code.get(self.index) else { return };
        let mut segments = outer.to_vec();
        while let Some(token) = self.code.get(self.index) {
            match token.kind {
                Kind::Mark if token.is("{") => return self.read_group(&segments),
                Kind::Word if token.is("self") => {}
                Kind::Word => segments.push(token.text.clone()),
                Kind::Mark if token.is("*") => segments.push(token.text.clone()),
                _ => break,
            }
            self.index += 1;
            if !self.next_is("::") {
                break;
            }
            self.index += 1;
        }
        let alias = if self.next_is("as") { self.code.get(self.index + 1) } else { None };
        let alias = alias.map_or_else(|| segments.last(), |token| Some(&token.text)).cloned();
        self.aliases.extend(alias.map(|alias| (alias, segments.clone())));
        self.found.push(NamedPath { segments, line: first.line, imported: 0 });
    }

    fn read_group(&mut self, outer: &[String]) {
        self.index += 1;
        while self.index < self.code.len() && !self.next_is("}") {
            let start = self.index;
            self.read(outer);
            while self.index < self.code.len() && !self.next_is(",") && !self.next_is("}") {
                self.index += 1;
            }
            self.index += usize::from(self.next_is(","));
            debug_assert!(self.index > start, "reading goes on");
        }
        self.index += 1;
    }
}

#[test]
fn paths_are_taken_apart_and_resolved() {
    let source = "
        use crate::{clock, store::{self, pb as stored}};
        use std::time::SystemTime;
        fn f(now: SystemTime) -> ::std::io::Result<()> { stored::Event::new(x.pb::<u8>()) }
        #[cfg(test)]
        mod tests { use std::fs; fn g() { fs::read(SystemTime::now()) } }
        fn h(a: u8) -> u64 { a as u64 }
    ";
    let source = Source::new("src/audit/x.rs", source.to_owned());
    let named = |code, prefix: &'static str| -> Vec<_> {
        source.names(code, move |path| path.is_in(prefix)).collect()
    };
    assert_eq!(
        named(Code::Product, "crate"),
        [
            "src/audit/x.rs:2: crate::clock",
            "src/audit/x.rs:2: crate::store",
            "src/audit/x.rs:2: crate::store::pb",
        ]
    );
    assert_eq!(
        named(Code::Product, "crate::store::pb::Event"),
        ["src/audit/x.rs:4: crate::store::pb::Event::new"]
    );
    assert_eq!(named(Code::Product, "std::fs"), [""; 0]);
    assert_eq!(named(Code::Tests, "std::fs"), ["src/audit/x.rs:6: std::fs"]);
    assert_eq!(
        named(Code::All, "std::time::SystemTime::now"),
        ["src/audit/x.rs:6: std::time::SystemTime::now"]
    );
    assert_eq!(named(Code::Product, "std::io"), ["src/audit/x.rs:4: std::io::Result"]);
    assert_eq!((source.module(), source.depth()), (Some("audit"), 2));
    assert!(!source.is_test(4) && source.is_test(5) && source.is_test(6) && !source.is_test(7));
}
