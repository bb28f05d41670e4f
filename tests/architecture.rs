//! The rules of the tree: who may use whom, who alone may do what, and the shape of every file.
//!
//! One test for each rule; a test that fails says the rule and lists every place that breaks it.
//! What the code does is not known here: the rules read tokens and names, not meaning.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code"
)]

#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/tokens.rs"]
mod tokens;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use source::{Code, NamedPath, files, has_extension, read, sources};
use tokens::Kind;

/// Every module at the top, lowest first, and the modules that it may use besides itself.
///
/// A module that isn't here fails the test: put it where it belongs.
const MODULES: [(&str, &str); 15] = [
    ("domain", ""),
    ("clock", "domain"),
    ("entropy", ""),
    ("telemetry", "domain clock entropy"),
    ("projection", "domain clock entropy"),
    ("store", "domain clock entropy telemetry projection"),
    ("audit", "domain clock entropy telemetry projection store"),
    ("backup", "domain entropy projection store audit"),
    ("identity", "domain clock entropy projection store"),
    ("service", "domain clock entropy telemetry projection store audit backup identity"),
    ("api", "domain clock entropy telemetry projection store audit backup identity service"),
    ("config", "domain clock entropy telemetry projection store audit identity service"),
    (
        "server",
        "domain clock entropy projection store audit backup identity service api telemetry config",
    ),
    (
        "cli",
        "domain clock entropy projection store audit backup identity service api telemetry config \
         server",
    ),
    ("main", "cli server"),
];

/// The table of who may call what.
const PERMISSIONS: &str = "src/service/permissions.rs";

/// The functions of `tonic::Status` that read one and make none.
const STATUS_READERS: [&str; 6] =
    ["code", "details", "message", "metadata", "metadata_mut", "source"];

#[test]
fn every_top_level_module_has_its_place() {
    let offenders = sources().iter().filter(|source| {
        source.module().is_some_and(|module| module != "lib" && allowed(module).is_none())
    });
    assert_none(
        "every module under src has a line in `MODULES` that says what it may use",
        offenders.map(|source| format!("{}:1", source.file)),
    );
}

#[test]
fn modules_use_only_what_is_below_them() {
    let offenders = sources().iter().flat_map(|source| {
        let allowed = source.module().and_then(allowed);
        source.names(Code::Product, move |path| {
            let used = used_module(path, source.depth());
            used.is_some_and(|used| {
                allowed.as_ref().is_some_and(|allowed| !allowed.contains(&used))
            })
        })
    });
    assert_none(
        "domain <- {store, projection} <- {audit, identity} <- backup <- service <- api <- server <- \
         {cli, main}; `MODULES` has the details",
        offenders,
    );
}

#[test]
fn a_path_out_of_a_module_begins_at_the_crate() {
    let offenders = sources().iter().flat_map(|source| {
        source.names(Code::Product, |path| {
            is_up_and_out(path, source.depth()) && used_module(path, source.depth()).is_some()
        })
    });
    assert_none("what is outside the own top-level module is named by `crate::…`", offenders);
}

#[test]
fn only_the_edge_names_the_public_messages() {
    let offenders = outside(&["src/api.rs", "src/api/", "src/cli.rs", "src/cli/"], |path| {
        path.is_in("crate::api::pb")
    });
    assert_none("`api::pb` is used in src/api and src/cli only", offenders);
}

#[test]
fn only_the_edge_names_tonic() {
    let edge = ["src/api/", "src/server.rs", "src/server/", "src/cli.rs", "src/cli/"];
    let offenders = outside(&edge, |path| {
        path.segments.first().is_some_and(|name| name == "tonic" || name.starts_with("tonic_"))
    });
    assert_none("tonic is named in src/api, src/server and src/cli only", offenders);
}

#[test]
fn only_one_file_makes_a_status() {
    let offenders = outside(&["src/api/status.rs"], |path| {
        path.segments.windows(2).any(|pair| {
            let makes = pair[1].starts_with(char::is_lowercase);
            pair[0] == "Status" && makes && !STATUS_READERS.contains(&&*pair[1])
        })
    });
    assert_none("only src/api/status.rs makes a `tonic::Status`", offenders);
}

#[test]
fn only_the_store_names_sled() {
    let offenders = outside(&["src/store.rs", "src/store/"], |path| path.is_in("sled"));
    assert_none("sled is named in src/store only", offenders);
}

#[test]
fn only_the_codecs_name_the_stored_messages() {
    let codecs = ["src/store.rs", "src/store/", "src/audit/footer.rs", "src/audit/trimmed.rs"];
    let offenders = outside(&codecs, |path| path.is_in("crate::store::pb"));
    assert_none("`store::pb` is used in src/store and in two files of src/audit only", offenders);
}

#[test]
fn files_are_opened_in_few_places() {
    let places = [
        "src/store.rs",
        "src/store/",
        "src/audit/volume.rs",
        "src/config.rs",
        "src/config/",
        "src/cli.rs",
        "src/cli/",
        "src/server.rs",
        "src/server/",
    ];
    let opening = ["std::fs", "tokio::fs", "rustix::fs::open", "rustix::fs::openat"];
    let offenders = outside(&places, |path| opening.iter().any(|opening| path.is_in(opening)));
    assert_none(
        "files are opened in src/store, src/audit/volume.rs, src/config, src/cli and src/server",
        offenders,
    );
}

#[test]
fn the_domain_is_pure() {
    let impure = [
        "std::time::SystemTime",
        "std::time::Instant",
        "std::fs",
        "std::io",
        "std::thread",
        "rand",
        "tokio",
        "tracing",
    ];
    let domain = sources().iter().filter(|source| source.module() == Some("domain"));
    let offenders = domain.flat_map(|source| {
        source.names(Code::Product, |path| impure.iter().any(|impure| path.is_in(impure)))
    });
    assert_none("src/domain knows no clock, no disk, no task, no randomness and no log", offenders);
}

#[test]
fn only_the_clock_reads_the_clock() {
    let others = sources().iter().filter(|source| {
        !source.is_one_of(&["src/clock.rs", "src/clock/", "build.rs", "benches/"])
    });
    let offenders = others.flat_map(|source| {
        source.names(Code::All, |path| path.has("SystemTime::now") || path.has("Instant::now"))
    });
    assert_none("only src/clock.rs reads a clock (benches aside)", offenders);
}

#[test]
fn every_file_says_what_it_is_for() {
    let offenders = sources().iter().filter(|source| !source.text.starts_with("//!"));
    assert_none(
        "every file opens with `//!`",
        offenders.map(|source| format!("{}:1", source.file)),
    );
}

#[test]
fn no_file_is_over_600_lines() {
    let counted = sources().iter().map(|source| (&source.file, source.text.lines().count()));
    let offenders = counted.filter(|(_, lines)| *lines > 600);
    assert_none(
        "a file has at most 600 lines",
        offenders.map(|(file, lines)| format!("{file}: {lines}")),
    );
}

#[test]
fn tests_run_and_do_not_sleep() {
    // A bench measures time; a test would only lose it.
    let tests = sources().iter().filter(|source| !source.file.starts_with("benches/"));
    let sleeping = tests.flat_map(|source| {
        source.names(Code::Tests, |path| {
            path.has("thread::sleep") || path.has("time::sleep") || path.has("time::sleep_until")
        })
    });
    let skipping = sources().iter().flat_map(|source| {
        let code: Vec<_> =
            source.tokens.iter().filter(|token| token.kind != Kind::Comment).collect();
        let attributes = code.windows(3).filter(|tokens| {
            let skips = tokens[2].is("ignore") || tokens[2].is("should_panic");
            tokens[0].is("#") && tokens[1].is("[") && skips
        });
        let places = attributes
            .map(|tokens| format!("{}:{}: #[{}]", source.file, tokens[2].line, tokens[2].text));
        places.collect::<Vec<_>>()
    });
    assert_none("no test is ignored, is expected to panic, or sleeps", sleeping.chain(skipping));
}

#[test]
fn nothing_is_left_for_later() {
    let comments = sources().iter().flat_map(|source| {
        let comments = source.tokens.iter().filter(|token| token.kind == Kind::Comment);
        comments.flat_map(|comment| leftovers(&source.file, comment.line, &comment.text))
    });
    let macros = sources().iter().flat_map(|source| {
        let calls = source.tokens.windows(2).filter(|tokens| {
            tokens[1].is("!") && (tokens[0].is("todo") || tokens[0].is("unimplemented"))
        });
        calls.map(|tokens| format!("{}:{}: {}!", source.file, tokens[0].line, tokens[0].text))
    });
    let texts = files().into_iter().filter(|file| {
        ["md", "proto", "sh", "toml", "yaml"].iter().any(|extension| has_extension(file, extension))
    });
    let texts = texts.flat_map(|file| leftovers(&file, 1, &read(&file)));
    assert_none(
        "what is to be done is done, or is written where work is planned",
        comments.chain(macros).chain(texts),
    );
}

#[test]
fn the_first_pages_stay_short() {
    let limits = [("README.md", 150), ("ARCHITECTURE.md", 200)];
    let offenders = files().into_iter().filter_map(|file| {
        let name = file.rsplit('/').next().unwrap();
        let (_, limit) = limits.iter().find(|(limited, _)| *limited == name)?;
        let lines = read(&file).lines().count();
        (lines > *limit).then(|| format!("{file}: {lines} lines, at most {limit}"))
    });
    assert_none("a README has at most 150 lines, ARCHITECTURE.md at most 200", offenders);
}

#[test]
fn every_rpc_has_its_permission() {
    let tokens = tokens::tokens(&read(PERMISSIONS));
    let named =
        |path: &str| tokens.iter().any(|token| token.kind == Kind::Literal && token.text == path);
    let rpcs = rpc_paths();
    let missing = rpcs.iter().filter(|path| !named(path)).cloned();
    let stale = tokens.iter().filter(|token| {
        let is_path = token.kind == Kind::Literal && token.text.starts_with("/aap.v1.");
        is_path && !rpcs.contains(&token.text)
    });
    let stale = stale.map(|token| format!("{PERMISSIONS}:{}: {}", token.line, token.text));
    assert_none(
        "every RPC is in the table of permissions, and nothing else is",
        missing.chain(stale),
    );
}

/// Fails with every offender at once.
#[track_caller]
fn assert_none(rule: &str, offenders: impl IntoIterator<Item = String>) {
    let offenders: Vec<_> = offenders.into_iter().collect();
    assert!(offenders.is_empty(), "{rule}; these break it:\n  {}", offenders.join("\n  "));
}

/// Where the product's code names a path that is wanted, without the places that may.
fn outside(places: &[&str], wanted: impl Fn(&NamedPath) -> bool) -> Vec<String> {
    let others = sources().iter().filter(|source| source.module().is_some());
    let others = others.filter(|source| !source.is_one_of(places));
    others.flat_map(|source| source.names(Code::Product, &wanted)).collect()
}

/// The modules that a module may use, itself included, if it is known at all.
fn allowed(module: &str) -> Option<Vec<&'static str>> {
    let (name, below) = MODULES.iter().find(|(name, _)| *name == module)?;
    Some(below.split(' ').chain([*name]).collect())
}

/// The top-level module that a path leads to, if it is named from the root of the crate.
fn used_module(path: &NamedPath, depth: usize) -> Option<&str> {
    let from_root = path.is_in("crate") || path.is_in("aap") || is_up_and_out(path, depth);
    let name = path.segments.get(supers(path).max(1)).filter(|_| from_root)?;
    allowed(name).map(|_| name.as_str())
}

/// Whether a path climbs to the root of the crate, from a file that is so many modules deep.
fn is_up_and_out(path: &NamedPath, depth: usize) -> bool {
    depth > 0 && supers(path) >= depth
}

fn supers(path: &NamedPath) -> usize {
    path.segments.iter().take_while(|segment| *segment == "super").count()
}

/// The words in a text that put something off, each with its place.
fn leftovers(file: &str, first_line: usize, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, content) in (first_line..).zip(text.lines()) {
        let words = content.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let words = words.filter(|word| ["TODO", "FIXME", "XXX"].contains(word));
        found.extend(words.map(|word| format!("{file}:{line}: {word}")));
    }
    found
}

/// The paths of the public API's RPCs, as they are on the wire.
fn rpc_paths() -> Vec<String> {
    let set = FileDescriptorSet::decode(aap::api::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| {
        file.service
            .iter()
            .map(|service| (format!("{}.{}", file.package(), service.name()), service))
    });
    let paths = services.flat_map(|(name, service)| {
        service.method.iter().map(move |method| format!("/{name}/{}", method.name()))
    });
    paths.collect()
}
