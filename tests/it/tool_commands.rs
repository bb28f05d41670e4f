//! The commands that work beside a server or without one: each with its help, a success and a failure,
//! as a script reads them in a pipe and as a person does on a terminal.

use std::{fs, os::unix::fs::symlink};

use aap::{api::pb, clock::Clock, domain::time::UnixNanos};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use expect_test::expect_file;
use rcgen::KeyPair;
use uuid::Uuid;

use crate::support::{
    ADMIN, AUDITOR, ENFORCER, Setup, TestServer,
    page::{Page, words},
    terminal::{in_a_pipe, on_a_terminal},
    world,
};

/// A server with the example and a decision, at a time of its own.
async fn server() -> TestServer {
    let clock = Clock::manual(UnixNanos(1_800_000_000_123_456_789));
    let server = Setup { clock, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    world::allow(&server.client(ENFORCER)).await;
    server
}

/// A text without what no two runs have in common: ids, keys, hashes and signatures.
fn without_evidence(text: &str) -> String {
    let is_mark = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    let without_ids = |word: &str| {
        let parts = word.split_inclusive(is_mark).map(|part| {
            let (bare, mark) = part.split_at(part.trim_end_matches(is_mark).len());
            let bare = if Uuid::try_parse(bare).is_ok() { "ID" } else { bare };
            format!("{bare}{mark}")
        });
        parts.collect::<String>()
    };
    let is_evidence = |word: &str| {
        word.len() >= 43
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    let line = |line: &str| {
        let words = line.split(' ').map(|word| match word.split_once('+') {
            _ if is_evidence(word) => "EVIDENCE".to_owned(),
            // A key has its name, a digest and itself.
            Some((name, rest)) if rest.contains('+') => format!("{}+KEY", without_ids(name)),
            _ => without_ids(word),
        });
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn documents_and_data_directories() {
    let mut page = Page::new(([127, 0, 0, 1], 1).into());
    let setup = server().await.stop().await;
    symlink(setup.data_dir(), page.home.path().join("data")).unwrap();
    page.both(ADMIN, "store --help");
    page.both(ADMIN, "store check --help");
    page.both(ADMIN, "store check --data-dir data");
    page.both(ADMIN, "store check --data-dir nowhere");
    page.both(ADMIN, "export --help");
    page.once("export --data-dir data --to documents");
    page.shown("export --data-dir data --to others");
    page.both(ADMIN, "export --data-dir data --to documents");
    page.both(ADMIN, "import --help");
    page.once("import --from documents --data-dir new");
    page.shown("import --from documents --data-dir newer");
    let role = page.home.path().join("documents/accounts/acme/ramRoles/ECSRole.json");
    fs::write(role, r#"{"name": "accounts/acme/ramRoles/ECSRole"}"#).unwrap();
    page.both(ADMIN, "import --from documents --data-dir newest");
    page.rewrite(without_evidence);
    page.is(&expect_file!["../snapshots/cli/tools.txt"]);
}

#[tokio::test]
async fn evidence() {
    let server = server().await;
    let request = pb::GetCheckpointRequest { size: 0, at_least_size: 2 };
    server.client(AUDITOR).audit().get_checkpoint(request).await.unwrap();
    let mut page = Page::new(server.address());
    page.both(ADMIN, "changes checkpoint --help");
    page.both(ADMIN, "changes checkpoint --at-least 4");
    page.both(AUDITOR, "changes checkpoint");
    page.both(ADMIN, "changes export --help");
    page.once("changes export --to changes.json");
    page.shown("changes export --to same.json");
    page.both(ADMIN, "changes export --to changes.json");
    let setup = server.stop().await;
    symlink(setup.data_dir(), page.home.path().join("data")).unwrap();
    for (kind, file) in [("changes", "changes.key"), ("audit", "audit.key")] {
        page.both(ADMIN, &format!("{kind} key --help"));
        page.both(ADMIN, &format!("{kind} key --data-dir data"));
        page.both(ADMIN, &format!("{kind} key --data-dir nowhere"));
        let key = in_a_pipe(&mut page.command(ADMIN, &[kind, "key", "--data-dir", "data"]));
        fs::write(page.home.path().join(file), key.text).unwrap();
    }
    page.both(ADMIN, "changes verify --help");
    page.both(ADMIN, "changes verify --export changes.json --public-key changes.key");
    let export = fs::read_to_string(page.home.path().join("changes.json")).unwrap();
    let altered = export.replacen("\"revision\":2", "\"revision\":3", 1);
    fs::write(page.home.path().join("altered.json"), altered).unwrap();
    page.both(ADMIN, "changes verify --export altered.json --public-key changes.key");
    page.both(ADMIN, "audit --help");
    page.both(ADMIN, "audit checkpoint --help");
    page.both(ADMIN, "audit checkpoint --data-dir data");
    page.both(ADMIN, "audit checkpoint --data-dir nowhere");
    page.both(ADMIN, "audit export --help");
    page.once("audit export --data-dir data --to audit.json");
    page.shown("audit export --data-dir data --to audit.bin --form binary");
    page.both(ADMIN, "audit export --data-dir data --to audit.json");
    page.both(ADMIN, "audit verify --help");
    page.both(ADMIN, "audit verify --export audit.json --public-key audit.key");
    page.both(ADMIN, "audit verify --export audit.bin --public-key changes.key");
    page.rewrite(without_evidence);
    page.is(&expect_file!["../snapshots/cli/evidence.txt"]);
}

#[test]
fn serving_and_credentials() {
    let mut page = Page::new(([127, 0, 0, 1], 1).into());
    let configuration = format!(
        "data_dir = \"data\"\naudit.origin = \"aap.example/audit\"\n\n[[listeners]]\naddress = \
         \"127.0.0.1:7300\"\n\n[[callers]]\nname = \"admin\"\nrole = \"admin\"\naccounts = \
         [\"acme\"]\ntoken_sha256 = \"{}\"\n",
        "00".repeat(32)
    );
    fs::write(page.home.path().join("aap.toml"), &configuration).unwrap();
    fs::write(page.home.path().join("wrong.toml"), configuration.replace("role =", "rule ="))
        .unwrap();
    page.both(ADMIN, "serve --help");
    page.both(ADMIN, "serve --config aap.toml --check-config");
    page.both(ADMIN, "serve --config wrong.toml --check-config");
    page.both(ADMIN, "token --help");
    page.both(ADMIN, "token new --help");
    page.both(ADMIN, "token new");
    page.both(ADMIN, "token new admin");
    page.both(ADMIN, "token role --help");
    page.both(ADMIN, "token role ECSRole");
    let key = URL_SAFE_NO_PAD.encode(KeyPair::generate().unwrap().serialize_der());
    let line = "token role ECSRole --trusted-role ecs-instance";
    let with_key = || {
        let mut command = page.command(ADMIN, &words(line));
        command.env("AAP_DEV_ISSUER_KEY", &key);
        command
    };
    let (piped, shown) = (in_a_pipe(&mut with_key()), on_a_terminal(&mut with_key()));
    page.note(line, &piped);
    page.note(&format!("{line} # on a terminal"), &shown);
    page.rewrite(without_evidence);
    page.is(&expect_file!["../snapshots/cli/serve.txt"]);
}
