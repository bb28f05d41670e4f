//! The commands that ask a server: each with its help, one success and one failure, as a script reads
//! them in a pipe and as a person does on a terminal.

use std::{fs, os::unix::fs::PermissionsExt as _};

use aap::{
    api::pb::{self, check::Subject},
    clock::Clock,
    domain::time::UnixNanos,
};
use expect_test::expect_file;
use rcgen::{CertificateParams, KeyPair};
use uuid::Uuid;

use crate::support::{
    ACME_AUDITOR, ADMIN, AUDITOR, ENFORCER, GATEWAY, OPERATOR, Setup, TestServer,
    clients::token_of,
    page::{Page, words},
    terminal::{Said, fed, in_a_pipe, on_a_terminal, typing},
    world,
};

/// A server with the example, at a time of its own.
async fn server() -> TestServer {
    let clock = Clock::manual(UnixNanos(1_800_000_000_123_456_789));
    let server = Setup { clock, ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    server
}

#[tokio::test]
async fn access_points() {
    let server = server().await;
    let mut page = Page::new(server.address());
    page.both(ADMIN, "access-point --help");
    page.both(ADMIN, "access-point create --help");
    page.once("access-point create reports --client-key --policies RAMPolicy --description 'reads reports'");
    page.both(ADMIN, "access-point create reports --client-key --policies RAMPolicy");
    page.both(ADMIN, "access-point create other --client-key --policies Nobody,RAMPolicy,Nothing");
    page.both(ADMIN, "access-point create other --client-key");
    page.once("access-point create");
    page.both(ADMIN, "access-point get --help");
    page.both(ADMIN, "access-point get reports");
    page.both(ADMIN, "access-point get reports -o json");
    page.both(ADMIN, "access-point get nobody");
    page.both(ADMIN, "access-point list --help");
    page.both(ADMIN, "access-point list");
    page.both(ADMIN, "access-point list --policy RAMPolicy -o name");
    page.both(ADMIN, "access-point list --region 'no region'");
    page.both(ADMIN, "access-point update --help");
    page.once("access-point update reports --description 'reads more reports'");
    page.shown("access-point update reports --description 'reads all reports'");
    page.both(ADMIN, "access-point update reports --etag old --description no");
    page.both(ADMIN, "access-point suspend --help");
    page.once("access-point suspend reports");
    page.both(ADMIN, "access-point suspend nobody");
    page.both(ADMIN, "access-point resume --help");
    page.once("access-point resume reports");
    page.shown("access-point suspend reports");
    page.shown("access-point resume reports");
    page.both(ADMIN, "access-point resume nobody");
    page.both(ADMIN, "access-point revoke-sessions --help");
    page.once("access-point revoke-sessions reports");
    page.shown("access-point revoke-sessions reports");
    page.both(ADMIN, "access-point revoke-sessions nobody");
    page.both(ADMIN, "access-point delete --help");
    page.once("access-point delete reports");
    page.shown("access-point create other --client-key --policies RAMPolicy");
    page.shown("access-point delete other");
    page.both(ADMIN, "access-point delete reports");
    page.is(&expect_file!["../snapshots/cli/access-point.txt"]);
}

#[tokio::test]
async fn policies() {
    let server = server().await;
    let mut page = Page::new(server.address());
    page.both(ADMIN, "policy --help");
    page.both(ADMIN, "policy create --help");
    page.both(ADMIN, "policy create Open --scope shared --permissions secret-user --resources secret/* --any-network --validate-only");
    page.once("policy create Reports --scope shared --permissions secret-user --resources secret/reports/* --network-rules Network");
    page.both(ADMIN, "policy create 'no id' --scope here --permissions secret-user --resources reports/* --any-network");
    page.both(ADMIN, "policy get --help");
    page.both(ADMIN, "policy get Reports");
    page.both(ADMIN, "policy get Reports -o yaml");
    page.both(ADMIN, "policy get Nobody");
    page.both(ADMIN, "policy list --help");
    page.both(ADMIN, "policy list");
    page.both(ADMIN, "policy list --scope nowhere");
    page.both(ADMIN, "policy update --help");
    page.once("policy update Reports --resources secret/reports/a,secret/reports/b,secret/reports/c,secret/reports/d,secret/reports/e");
    page.shown("policy update Reports --description 'reports, and what they are made of'");
    page.both(ADMIN, "policy list --network-rule Network");
    page.both(ADMIN, "policy update Reports");
    page.both(ADMIN, "policy delete --help");
    page.once("policy delete Reports");
    page.shown("policy create More --scope shared --permissions secret-user --resources secret/more --any-network");
    page.shown("policy delete More");
    page.both(ADMIN, "policy delete RAMPolicy");
    page.is(&expect_file!["../snapshots/cli/policy.txt"]);
}

#[tokio::test]
async fn network_rules() {
    let server = server().await;
    let mut page = Page::new(server.address());
    page.both(ADMIN, "network-rule --help");
    page.both(ADMIN, "network-rule create --help");
    page.once("network-rule create Office --public --addresses '203.0.113.0/24, 2001:db8::/32'");
    page.both(ADMIN, "network-rule create Home --vpc 'no vpc' --addresses 203.0.113,::1/200");
    page.both(ADMIN, "network-rule get --help");
    page.both(ADMIN, "network-rule get Office");
    page.both(ADMIN, "network-rule get Nobody");
    page.both(ADMIN, "network-rule list --help");
    page.both(ADMIN, "network-rule list");
    page.both(ADMIN, "network-rule list --account other");
    page.both(ADMIN, "network-rule update --help");
    page.once("network-rule update Office --addresses 203.0.113.9/24");
    page.shown("network-rule update Office --addresses '203.0.113.9/24, 0.0.0.0/0'");
    page.both(ADMIN, "network-rule update Office --addresses nowhere");
    page.both(ADMIN, "network-rule delete --help");
    page.once("network-rule delete Office");
    page.shown("network-rule create Home --vpc vpc-2 --addresses 198.51.100.0/24");
    page.shown("network-rule delete Home");
    page.both(ADMIN, "network-rule delete Network");
    page.is(&expect_file!["../snapshots/cli/network-rule.txt"]);
}

#[tokio::test]
async fn ram_roles() {
    let server = server().await;
    let mut page = Page::new(server.address());
    let trust = r#"{"Version":"1","Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["fc.aliyuncs.com"]}}]}"#;
    fs::write(page.home.path().join("trust.json"), trust).unwrap();
    page.both(ADMIN, "ram-role --help");
    page.both(ADMIN, "ram-role create --help");
    page.once("ram-role create Function --trust-policy trust.json");
    page.both(ADMIN, "ram-role create Other --trust-policy nowhere.json");
    page.both(ADMIN, "ram-role get --help");
    page.both(ADMIN, "ram-role get Function");
    page.both(ADMIN, "ram-role get Nobody");
    page.both(ADMIN, "ram-role list --help");
    page.both(ADMIN, "ram-role list --trusted-role function-compute");
    page.both(ADMIN, "ram-role list --trusted-role nothing");
    page.both(ADMIN, "ram-role update --help");
    page.once("ram-role update Function --description 'runs functions'");
    page.shown("ram-role update Function --trust-policy trust.json");
    page.both(ADMIN, "ram-role update Nobody --description nothing");
    page.both(ADMIN, "ram-role delete --help");
    page.once("ram-role delete Function");
    page.shown("ram-role create Other --trust-policy trust.json");
    page.shown("ram-role delete Other");
    page.both(ADMIN, "ram-role delete ECSRole");
    page.is(&expect_file!["../snapshots/cli/ram-role.txt"]);
}

#[tokio::test]
async fn checks_and_changes() {
    let server = server().await;
    let mut page = Page::new(server.address());
    page.both(ADMIN, "check --help");
    page.both(ENFORCER, "check app GetSecretValue secret/dataKey1 --vpc vpc-1 --from 192.168.7.9");
    page.both(ENFORCER, "check app GetSecretValue secret/dataKey1 --public --from 192.168.7.9");
    page.both(ENFORCER, "check app GetSecretValue secret/other -o json");
    page.both(ENFORCER, "check nobody GetSecretValue secret/dataKey1");
    page.both(ADMIN, "check app GetSecretValue secret/dataKey1");
    page.both(ENFORCER, "check app 'no action' secret/dataKey1 --instance ''");
    page.both(ADMIN, "changes --help");
    page.both(ADMIN, "changes list --help");
    page.both(ADMIN, "changes list");
    page.both(ADMIN, "changes list --limit 1 -o yaml");
    page.both(ADMIN, "changes list --resource app");
    page.both(ADMIN, "changes tail --help");
    page.followed(ADMIN, "changes tail --from 3", "access point created  app");
    page.followed_on_a_terminal(ADMIN, "changes tail --from 3", "access point created  app");
    page.both(ADMIN, "changes tail --from 1000");
    page.is(&expect_file!["../snapshots/cli/check.txt"]);
}

#[tokio::test]
async fn audit_cursors() {
    let server = server().await;
    let mut page = Page::new(server.address());
    page.both(AUDITOR, "audit cursor --help");
    page.both(AUDITOR, "audit cursor create --help");
    page.both(AUDITOR, "audit cursor create siem --from 1 --validate-only");
    page.once_by(AUDITOR, "audit cursor create siem --from 1 --outcome deny --kind check");
    page.once_by(AUDITOR, "audit cursor create all --all-accounts --since 2020-01-31T12:00:00Z");
    page.both(AUDITOR, "audit cursor create siem --from 1");
    page.both(AUDITOR, "audit cursor create other --from 1000");
    page.both(AUDITOR, "audit cursor create 'a b' --account other --action 'no action'");
    page.both(AUDITOR, "audit cursor get --help");
    page.both(AUDITOR, "audit cursor get siem");
    page.both(AUDITOR, "audit cursor get auditCursors/all -o json");
    page.both(AUDITOR, "audit cursor get nobody");
    page.both(ACME_AUDITOR, "audit cursor get all --all-accounts");
    page.both(AUDITOR, "audit cursor list --help");
    page.both(AUDITOR, "audit cursor list");
    page.both(AUDITOR, "audit cursor list --all-accounts -o name");
    page.both(ADMIN, "audit cursor list");
    page.both(AUDITOR, "audit cursor read --help");
    let starts = "--from 1 --kind server-start --all-accounts";
    page.once_by(AUDITOR, &format!("audit cursor create starts {starts}"));
    page.shown_to(AUDITOR, &format!("audit cursor create again {starts}"));
    let (read, until) = ("audit cursor read starts --all-accounts", "at revision 0");
    page.followed(AUDITOR, read, until);
    page.followed_on_a_terminal(AUDITOR, "audit cursor read again --all-accounts", until);
    page.both(AUDITOR, "audit cursor read nobody");
    page.both(AUDITOR, "audit cursor delete --help");
    page.both(AUDITOR, "audit cursor delete siem --validate-only");
    page.once_by(AUDITOR, "audit cursor delete siem");
    page.both(AUDITOR, "audit cursor delete siem");
    page.is(&expect_file!["../snapshots/cli/audit-cursor.txt"]);
}

#[tokio::test]
async fn audit_records() {
    let server = server().await;
    world::allow(&server.client(ENFORCER)).await;
    let mut page = Page::new(server.address());
    page.once_by(ENFORCER, "check app GetSecretValue secret/other");
    page.both(AUDITOR, "audit list --help");
    page.both(AUDITOR, "audit list --oldest-first --kind check");
    page.both(AUDITOR, "audit list --outcome deny --limit 1 -o yaml");
    page.both(AUDITOR, "audit list --reason resource-not-covered -o name");
    page.both(AUDITOR, "audit list --from 1000");
    page.both(AUDITOR, "audit tail --help");
    let (tail, until) = ("audit tail --from 2 --outcome deny", "asked by enforcer");
    page.followed(AUDITOR, tail, until);
    page.followed_on_a_terminal(AUDITOR, tail, until);
    page.both(ADMIN, "audit tail");
    page.both(ADMIN, "audit list");
    page.is(&expect_file!["../snapshots/cli/audit.txt"]);
}

#[tokio::test]
async fn contexts_and_the_rest() {
    let server = server().await;
    let mut page = Page::new(server.address());
    page.both(ADMIN, "--help");
    page.both(ADMIN, "--version");
    page.both(ADMIN, "version");
    page.both(ADMIN, "version --help");
    page.both(ADMIN, "version now");
    page.both(ADMIN, "nonsense");
    page.both(ADMIN, "context --help");
    page.both(ADMIN, "context show --help");
    page.both(ADMIN, "context show");
    fs::write(page.home.path().join("token"), token_of(ADMIN)).unwrap();
    page.both(ADMIN, "context set --help");
    page.once("context set here --server http://127.0.0.1:7300 --token-file token --account acme");
    page.both(ADMIN, "context set there --server https://aap.example:7300 --certificate cert.pem");
    page.once("context set there --server https://aap.example:7300 --account other");
    page.shown("context set third --server https://aap.example:7300 --region eu-2");
    page.both(ADMIN, "context list --help");
    page.both(ADMIN, "context list");
    page.both(ADMIN, "context list all");
    page.both(ADMIN, "context use --help");
    page.both(ADMIN, "context use nobody");
    page.once("context use there");
    page.both(ADMIN, "context show");
    page.shown("context use there");
    page.both(ADMIN, "context delete --help");
    page.once("context delete there");
    page.shown("context delete third");
    page.both(ADMIN, "context delete there");
    page.both(ADMIN, "context list");
    // The context has no region, and the environment doesn't count beside it.
    page.once(&format!("context set here --server http://{}", server.address()));
    page.both(ADMIN, "policy list --context here");
    page.both(ADMIN, "policy list --context here --region eu-1");
    page.both(ADMIN, "policy list --server http://192.0.2.1:7300");
    page.both(ADMIN, "policy list --server here");
    page.both(ADMIN, "policy list --server https://127.0.0.1:1");
    page.both(ADMIN, "completion --help");
    page.both(ADMIN, "completion cmd");
    page.is(&expect_file!["../snapshots/cli/context.txt"]);
    for shell in ["bash", "zsh", "fish"] {
        let said = in_a_pipe(&mut page.command(ADMIN, &["completion", shell]));
        assert!(said.code == 0 && said.text.contains("access-point"), "{}", said.text);
    }
}

#[tokio::test]
async fn backups() {
    let server = server().await;
    world::enter_cursor(&server.client(AUDITOR)).await;
    let mut page = Page::new(server.address());
    page.once_by(OPERATOR, "backup --to running.backup");
    page.both(ADMIN, "backup --to other.backup");
    let setup = server.stop().await;
    std::os::unix::fs::symlink(setup.data_dir(), page.home.path().join("data")).unwrap();
    page.both(ADMIN, "backup --help");
    page.once("backup --data-dir data --to all.backup");
    page.shown("backup --data-dir data --to again.backup");
    page.both(ADMIN, "backup --data-dir data --to all.backup");
    page.both(ADMIN, "backup --data-dir nowhere --to other.backup");
    page.both(ADMIN, "backup");
    page.both(ADMIN, "backup verify --help");
    page.both(ADMIN, "backup verify all.backup");
    page.both(ADMIN, "backup verify data/FORMAT");
    page.both(ADMIN, "restore --help");
    page.once("restore --from all.backup --data-dir new");
    page.shown("restore --from all.backup --data-dir again");
    page.both(ADMIN, "restore --from all.backup --data-dir new");
    page.both(ADMIN, "restore --from nowhere --data-dir other");
    page.rewrite(without_ids);
    page.is(&expect_file!["../snapshots/cli/backup.txt"]);
}

/// A text without what no two backups have in common: ids, keys, times and sizes.
fn without_ids(text: &str) -> String {
    let is_mark = |letter: char| letter.is_whitespace() || "`,/+".contains(letter);
    let shown = |part: &str| {
        let (word, mark) = part.split_at(part.trim_end_matches(is_mark).len());
        match word {
            word if Uuid::try_parse(word).is_ok() => format!("ID{mark}"),
            word if word.starts_with("20") && word.ends_with('Z') => format!("TIME{mark}"),
            word => format!("{word}{mark}"),
        }
    };
    let line = |line: &str| {
        // A key has its name, a digest and itself.
        let (line, key) = line.split_once('+').map_or((line, ""), |(line, _)| (line, "+KEY"));
        let line: String = line.split_inclusive(is_mark).map(shown).collect();
        match line.strip_prefix("backed up ").and_then(|rest| rest.split_once(" in ")) {
            Some((_, rest)) => format!("backed up SIZE in {rest}{key}\n"),
            None => format!("{line}{key}\n"),
        }
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn colors_are_for_terminals_that_want_them() {
    let server = server().await;
    let page = Page::new(server.address());
    let list = ["policy", "list"];
    let plain = in_a_pipe(&mut page.command(ADMIN, &list)).text;
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let colored = on_a_terminal(&mut page.command(ADMIN, &list)).text;
    assert!(colored.starts_with("\\e[1m"), "{colored}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_a_terminal(page.command(ADMIN, &list).env(name, value)).text;
        assert_eq!(shown, plain, "{name}={value}");
    }
}

#[tokio::test]
async fn the_first_server_that_answers_is_asked() {
    let server = server().await;
    let page = Page::new(server.address());
    let servers = format!("http://127.0.0.1:1,http://{}", server.address());
    let said = in_a_pipe(&mut page.command(ADMIN, &["policy", "list", "--server", &servers]));
    assert!(said.code == 0 && said.text.contains("RAMPolicy"), "{}", said.text);
    let said =
        in_a_pipe(page.command(ADMIN, &["policy", "list"]).env("AAP_SERVER", "http://127.0.0.1:1"));
    assert_eq!(said.code, 6, "{}", said.text);
}

#[tokio::test]
async fn client_keys() {
    let server = server().await;
    let mut page = Page::new(server.address());
    page.once("access-point create reports --client-key --policies RAMPolicy");
    fs::write(page.home.path().join("own.password"), "correct-horse-7\n").unwrap();
    page.both(ADMIN, "client-key --help");
    page.both(ADMIN, "client-key issue --help");
    page.both(ADMIN, "client-key issue reports --validate-only");
    page.once(
        "client-key issue reports --algorithm ec-p256 --to app.json --password-to app.password",
    );
    let app = page.client_key("app.json");
    page.both(ADMIN, "client-key issue reports --to app.json --password-file own.password");
    page.once("client-key issue reports --to other.json");
    page.both(ADMIN, "client-key issue nobody --to other.json --password-file own.password");
    page.both(ADMIN, "client-key issue reports --to other.json --password-file nowhere");
    page.both(ADMIN, "client-key issue reports --not-before 2030-01-01T00:00:00Z --to other.json");
    assert!(!page.home.path().join("other.json").exists());
    page.both(ADMIN, "client-key list --help");
    page.both(ADMIN, "client-key list reports");
    page.both(ADMIN, "client-key list nobody");
    page.both(ADMIN, "client-key get --help");
    page.both(ADMIN, &format!("client-key get reports/{app} -o json"));
    page.both(ADMIN, &format!("client-key get {app}"));
    page.both(ADMIN, "client-key disable --help");
    page.once(&format!("client-key disable reports/{app}"));
    page.both(ADMIN, &format!("client-key disable reports/{app} --etag old"));
    page.both(ADMIN, "client-key enable --help");
    page.once(&format!("client-key enable reports/{app}"));
    page.shown(&format!("client-key disable reports/{app}"));
    page.shown(&format!("client-key enable reports/{app}"));
    page.both(ADMIN, "client-key enable reports/KAAP.none");
    page.both(ADMIN, "client-key rotate --help");
    page.both(ADMIN, "client-key rotate app --to new.json --password-to new.password");
    page.once("client-key rotate reports --to new.json --password-file own.password");
    let new = page.client_key("new.json");
    page.both(ADMIN, "client-key delete --help");
    page.once(&format!("client-key delete reports/{app}"));
    page.both(ADMIN, &format!("client-key delete reports/{app}"));
    page.shown("client-key rotate reports --to third.json --password-file own.password");
    page.shown(&format!("client-key delete reports/{}", page.client_key("third.json")));
    page.both(ADMIN, "client-key import --help");
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    fs::write(page.home.path().join("request.pem"), request).unwrap();
    page.once("client-key import reports --signing-request request.pem -o name");
    page.both(ADMIN, "client-key import reports --signing-request own.password");
    page.once("access-point create imported --client-key --policies RAMPolicy");
    page.shown("client-key import imported --signing-request request.pem");
    let on_terminal = page.command(
        ADMIN,
        &["client-key", "issue", "reports", "--to", "last.json", "--algorithm", "ec-p256"],
    );
    let shown = on_a_terminal(&mut { on_terminal });
    page.note(
        "client-key issue reports --to last.json --algorithm ec-p256 # on a terminal",
        &shown,
    );
    page.both(ADMIN, "client-key issue reports --to more.json --password-file own.password");
    page.is(&expect_file!["../snapshots/cli/client-key.txt"]);
    assert_ne!(app, new);
}

#[tokio::test]
async fn sessions() {
    // An application's clock is the machine's, and what was signed before the start proves nothing.
    let clock = Clock::manual(Clock::system().now().plus_seconds(-60));
    let server = Setup { clock: clock.clone(), ..Setup::new() }.start().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    // However long all of this takes.
    let on_time = || clock.set(Clock::system().now());
    on_time();
    let mut page = Page::new(server.address());
    page.once("access-point create reports --client-key --policies RAMPolicy");
    page.once("client-key issue reports --algorithm ec-p256 --to app.json --password-to app.password -o name");
    page.both(ADMIN, "session --help");
    page.both(ADMIN, "session create --help");
    on_time();
    page.once("session create reports --client-key app.json --password-file app.password --audience aap.test");
    page.shown("session create reports --client-key app.json --password-file app.password --audience aap.test");
    // Where a caller's token is doesn't matter.
    page.once("session create reports --client-key app.json --password-file app.password --audience aap.test --token-file nowhere");
    page.once("session create reports --client-key app.json --password-file app.password --audience aap.test -o json");
    page.both(
        ADMIN,
        "session create app --client-key app.json --password-file app.password --audience aap.test",
    );
    page.both(ADMIN, "session create reports --client-key app.json --password-file app.password");
    page.both(
        ADMIN,
        "session create reports --client-key app.json --password-file app.json --audience aap.test",
    );
    page.both(ADMIN, "session create reports --client-key app.password --password-file app.password --audience aap.test");
    page.once("session create reports --client-key app.json --audience aap.test");
    page.both(ADMIN, "session create reports --client-key app.json --password-file app.password --audience aap.test --lifetime 9000");
    let ask = "session create reports --client-key app.json --password-file app.password --audience aap.test";
    on_time();
    let session = in_a_pipe(&mut page.command(ADMIN, &words(ask))).text;
    fs::write(page.home.path().join("app.session"), session).unwrap();
    let check = "check --session-file app.session GetSecretValue secret/dataKey1 --vpc vpc-1 --from 192.168.7.9";
    page.both(GATEWAY, check);
    page.both(GATEWAY, "check --session-file nowhere GetSecretValue secret/dataKey1");
    page.both(GATEWAY, "check --session-file app.session reports GetSecretValue secret/dataKey1");
    page.both(GATEWAY, "check GetSecretValue");
    page.both(ADMIN, "session revoke --help");
    page.once("session revoke reports");
    page.shown("session revoke reports");
    page.both(ADMIN, "session revoke nobody");
    page.both(GATEWAY, check);
    page.is(&expect_file!["../snapshots/cli/session.txt"]);

    // A token can come by the standard input, without a file.
    on_time();
    let session = in_a_pipe(&mut page.command(ADMIN, &words(ask))).text;
    let check = ["check", "--session-file", "-", "GetSecretValue", "secret/dataKey1"];
    let mut command = page.command(GATEWAY, &check);
    command.args(["--vpc", "vpc-1", "--from", "192.168.7.9"]);
    let said = fed(&mut command, &session);
    assert!(said.code == 0 && said.text.starts_with("allowed"), "{}", said.text);

    let password = fs::read_to_string(page.home.path().join("app.password")).unwrap();
    let ask = ["session", "create", "reports", "--client-key", "app.json"];
    // Nobody's token, even one that is no token, is sent.
    let mut command = page.command(GATEWAY, &ask);
    command.env("AAP_AUDIENCE", "aap.test").env("AAP_TOKEN", "none");
    let Said { text, code } = typing(&mut command, "Password: ", &password);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(password.trim()) && text.contains("Password: \naaps_"), "{text}");
    let token = text.lines().last().unwrap();
    let check = pb::Check { subject: Some(Subject::Session(token.to_owned())), ..world::allowed() };
    let answer = world::answer(&server.client(GATEWAY), check).await;
    assert_eq!(answer.decision.unwrap().reason(), pb::DecisionReason::PolicyGrants);
}

#[tokio::test]
async fn what_is_secret_is_for_its_owner_alone_and_written_over_nothing() {
    let server = server().await;
    let page = Page::new(server.address());
    let run = |text: &str| in_a_pipe(&mut page.command(ADMIN, &words(text)));
    let made = run("access-point create reports --client-key --policies RAMPolicy");
    assert_eq!(made.code, 0, "{}", made.text);
    let files = ["app.json", "app.p12", "app.password"].map(|file| page.home.path().join(file));
    let issue = "client-key issue reports --algorithm ec-p256 --to app.json --pkcs12-to app.p12 \
                 --password-to app.password";
    assert_eq!(run(issue).code, 0);
    let secrets = files.each_ref().map(|file| fs::read(file).unwrap());
    for file in &files {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    // One that is there keeps the others from being made, and the key, too.
    for kept in &files {
        for file in &files {
            if file != kept {
                fs::remove_file(file).unwrap();
            }
        }
        assert_eq!(run(issue).code, 5);
        for (file, secret) in files.iter().zip(&secrets) {
            assert_eq!(file.exists(), file == kept, "{file:?}");
            fs::write(file, secret).unwrap();
        }
    }
    let listed = run("client-key list reports -o name").text;
    assert_eq!(listed.lines().count(), 1, "{listed}");
}
