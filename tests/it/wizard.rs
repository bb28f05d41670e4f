//! `aap access-point create` without flags on a terminal: what it asks, what comes of the answers, and
//! that nothing does before the review is confirmed.

use std::{fs, os::unix::fs::PermissionsExt as _};

use aap::{
    api::pb::{self, check::Subject},
    clock::Clock,
};
use expect_test::expect_file;
use tokio::signal::unix::{SignalKind, signal};

use crate::support::{
    ADMIN, ENFORCER, GATEWAY, Setup, TestServer,
    page::{Page, words},
    terminal::{Terminal, in_a_pipe},
    world,
};

const CREATE: &str = "access-point create";

/// A server whose clock an application's proof passes, with nothing on it.
async fn empty_server() -> (TestServer, Clock) {
    // An application's clock is the machine's, and what was signed before the start proves nothing.
    let now = Clock::system().now();
    let clock = Clock::manual(now.plus_seconds(-60));
    let server = Setup { clock: clock.clone(), ..Setup::new() }.start().await;
    clock.set(now);
    (server, clock)
}

/// Answers questions, each by how it ends.
fn answer(terminal: &mut Terminal, answers: &[(&str, &str)]) {
    for (question, answer) in answers {
        terminal.answer(&format!("{question}: "), &format!("{answer}\n"));
    }
}

/// Everything that was ever changed, as names.
fn changes(page: &Page) -> String {
    in_a_pipe(&mut page.command(ADMIN, &words("changes list -o name"))).text
}

#[tokio::test]
async fn the_example_of_the_page_is_created_step_by_step_and_its_key_is_accepted() {
    let (server, clock) = empty_server().await;
    let mut page = Page::new(server.address());
    let mut terminal = Terminal::start(&mut page.command(ADMIN, &words(CREATE)));
    answer(
        &mut terminal,
        &[
            ("Name", "app"),
            ("Description (Enter: none)", "reads data keys"),
            ("Method [client-key]", ""),
            ("Policies, by name, or `new` [new]", ""),
            ("Policy name", "RAMPolicy"),
            ("Description (Enter: none)", ""),
            ("`kst-…` [shared]", ""),
            ("Permissions, separated by commas [secret-user]", ""),
            ("Accessible resources, separated by commas", "secret/dataKey****"),
            ("Network rules, by name, or `new`; `any` for any network", "new"),
            ("Rule name", "Network"),
            ("Description (Enter: none)", "Access the specified VPC"),
            ("Network type", "vpc"),
            ("VPC id", world::VPC),
            ("Allowed IP addresses or CIDRs, separated by commas", "192.168.10.0/16, 10.0.0.1"),
            ("More network rules (Enter: no more)", ""),
            ("More policies (Enter: no more)", ""),
            ("Issue one now [yes]", ""),
            ("File to write it to [app.json]", ""),
            ("(Enter: it is shown here, once)", "app.password"),
            ("(Enter: now)", ""),
            ("(Enter: for five years)", "2099-12-31T00:00:00Z"),
            ("Create all of this [no]", "yes"),
        ],
    );
    let said = terminal.end();
    assert_eq!(said.code, 0, "{}", said.text);
    page.note(CREATE, &said);
    page.is(&expect_file!["../snapshots/cli/wizard.txt"]);

    for file in ["app.json", "app.password"] {
        let mode = fs::metadata(page.home.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // The key began by the machine's clock.
    clock.set(Clock::system().now());
    let proof = "session create app --client-key app.json --password-file app.password \
                 --audience aap.test";
    let session = in_a_pipe(&mut page.command(GATEWAY, &words(proof)));
    assert_eq!(session.code, 0, "{}", session.text);
    let subject = Some(Subject::Session(session.text.trim().to_owned()));
    let check = pb::Check { subject, ..world::allowed() };
    let decision = world::answer(&server.client(GATEWAY), check).await.decision.unwrap();
    assert_eq!(decision.reason(), pb::DecisionReason::PolicyGrants);
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_question_and_no_leaves_nothing() {
    // What is started in the background of a shell ignores interrupts, and so would a command that it
    // starts; who has a handler starts commands that don't.
    let _handled = signal(SignalKind::interrupt()).unwrap();
    let (server, _) = empty_server().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let private = pb::network_rule::Kind::PrivateNetwork(pb::PrivateNetwork {});
    let mut policies = server.client(ADMIN).policies();
    policies
        .create_network_rule(world::new_rule("Private", private, &["10.0.0.0/8"]))
        .await
        .unwrap();
    let mut page = Page::new(server.address());
    fs::write(page.home.path().join("there.json"), "kept").unwrap();
    let before = changes(&page);
    let mut terminal = Terminal::start(&mut page.command(ADMIN, &words("access-point create app")));
    answer(
        &mut terminal,
        &[
            ("Name [app]", ""),
            ("Name [app]", "no name"),
            ("Name [app]", "accounts/other/regions/eu-1/accessPoints/reports"),
            ("Name [app]", "reports"),
            ("Description (Enter: none)", ""),
            ("Method [client-key]", "password"),
            ("Method [client-key]", "ram-role"),
            ("Trusted role", "function-compute"),
            ("RAM role, by name", "Nobody"),
            ("RAM role, by name", "ECSRole"),
        ],
    );
    // The role isn't trusted for that, and no other is there.
    terminal.wait_for("RAM role, by name: ");
    terminal.interrupt();
    let said = terminal.end();
    assert_eq!(said.code, 130, "{}", said.text);
    page.note("access-point create app # interrupted", &said);

    let mut terminal = Terminal::start(&mut page.command(ADMIN, &words(CREATE)));
    answer(
        &mut terminal,
        &[
            ("Name", ""),
            ("Name", "reports"),
            ("Description (Enter: none)", ""),
            ("Method [client-key]", "1"),
            ("Policies, by number or name, or `new`", "RAMPolicy, nobody"),
            ("Policies, by number or name, or `new`", "1, RAMPolicy"),
            ("Policies, by number or name, or `new`", "new, new, new, new"),
            ("Policies, by number or name, or `new`", "RAMPolicy, new"),
            ("Policy name", "RAMPolicy"),
            ("Policy name", "Reports"),
            ("Description (Enter: none)", ""),
            ("`kst-…` [shared]", "here"),
            ("`kst-…` [shared]", ""),
            ("Permissions, separated by commas [secret-user]", "crypto-service-key-user"),
            ("Permissions, separated by commas [secret-user]", ""),
            ("Accessible resources, separated by commas", "key/*"),
            ("Accessible resources, separated by commas", "secret/*, reports, secret/a*b"),
            ("Accessible resources, separated by commas", "secret/*"),
            ("or `new`; `any` for any network", "Private"),
            ("or `new`; `any` for any network", "new"),
            ("Rule name", "Office"),
            ("Description (Enter: none)", ""),
            ("Network type", "private"),
            ("Network type", "vpc"),
            ("VPC id", "no vpc"),
            ("VPC id", "vpc-2"),
            ("Allowed IP addresses or CIDRs, separated by commas", "203.0.113, ::1/200"),
            ("Allowed IP addresses or CIDRs, separated by commas", "203.0.113.0/24"),
            ("More network rules (Enter: no more)", "1"),
            ("More network rules (Enter: no more)", ""),
            ("More policies (Enter: no more)", "new"),
            ("Policy name", "Reports"),
            ("Policy name", "Open"),
            ("Description (Enter: none)", "for everybody"),
            ("`kst-…` [shared]", ""),
            ("Permissions, separated by commas [secret-user]", ""),
            ("Accessible resources, separated by commas", "secret/open"),
            ("or `new`; `any` for any network", "any"),
            ("Issue one now [yes]", "perhaps"),
            ("Issue one now [yes]", "y"),
            ("File to write it to [reports.json]", "there.json"),
            ("File to write it to [reports.json]", "nowhere/reports.json"),
            ("File to write it to [reports.json]", ""),
            ("(Enter: it is shown here, once)", "reports.json"),
            ("(Enter: it is shown here, once)", ""),
            ("(Enter: now)", "today"),
            ("(Enter: now)", "2020-01-01T00:00:00Z"),
            ("Valid until", "2021-01-01T00:00:00Z"),
            ("Valid until", "2099-01-01T00:00:00Z"),
            ("Create all of this [no]", ""),
        ],
    );
    let said = terminal.end();
    assert_eq!(said.code, 1, "{}", said.text);
    page.note(CREATE, &said);
    page.is(&expect_file!["../snapshots/cli/wizard-refused.txt"]);
    assert_eq!(changes(&page), before);
    let left: Vec<_> = fs::read_dir(page.home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_role_and_a_policy_that_are_there_are_chosen_and_the_password_is_shown_once() {
    let (server, _) = empty_server().await;
    world::enter_page_example(&server.client(ADMIN)).await;
    let page = Page::new(server.address());
    let mut terminal =
        Terminal::start(&mut page.command(ADMIN, &words("access-point create -o name")));
    answer(
        &mut terminal,
        &[
            ("Name", "second"),
            ("Description (Enter: none)", ""),
            ("Method [client-key]", "2"),
            ("Trusted role", "1"),
            ("RAM role", "1"),
            ("Policies, by number or name, or `new`", "1"),
            ("More policies (Enter: no more)", ""),
            ("Create all of this [no]", "y"),
        ],
    );
    let said = terminal.end();
    assert!(said.code == 0 && said.text.ends_with("/accessPoints/second\n"), "{}", said.text);
    let check = "check second GetSecretValue secret/dataKey1 --vpc vpc-1 --from 192.168.7.9";
    let allowed = in_a_pipe(&mut page.command(ENFORCER, &words(check)));
    assert_eq!(allowed.code, 0, "{}", allowed.text);

    let mut terminal = Terminal::start(&mut page.command(ADMIN, &words(CREATE)));
    answer(
        &mut terminal,
        &[
            ("Name", "third"),
            ("Description (Enter: none)", ""),
            ("Method [client-key]", ""),
            ("Policies, by number or name, or `new`", "RAMPolicy"),
            ("More policies (Enter: no more)", ""),
            ("Issue one now [yes]", ""),
            ("File to write it to [third.json]", ""),
            ("(Enter: it is shown here, once)", ""),
            ("(Enter: now)", ""),
            ("(Enter: for five years)", ""),
        ],
    );
    // Somebody else takes the file's name meanwhile: then nothing is created.
    terminal.wait_for("Create all of this [no]: ");
    fs::write(page.home.path().join("third.json"), "kept").unwrap();
    terminal.answer("", "yes\n");
    let said = terminal.end();
    assert!(said.code == 5 && said.text.contains("third.json` is there already"), "{}", said.text);
    assert!(!changes(&page).contains("third"));
    assert_eq!(fs::read(page.home.path().join("third.json")).unwrap(), b"kept");
}

#[tokio::test]
async fn nobody_is_asked_where_nobody_could_answer() {
    let (server, _) = empty_server().await;
    let page = Page::new(server.address());
    let said = in_a_pipe(&mut page.command(ADMIN, &words(CREATE)));
    assert_eq!(said.code, 2);
    for missing in ["<NAME>", "--policies <POLICY>", "<--client-key|--ram-role <ROLE>>"] {
        assert!(said.text.contains(missing), "{}", said.text);
    }
    // Nor whoever has said what it is to be, and forgot the rest.
    let terminal =
        Terminal::start(&mut page.command(ADMIN, &words("access-point create app --client-key")));
    let said = terminal.end();
    assert!(said.code == 2 && said.text.contains("--policies"), "{}", said.text);
}
