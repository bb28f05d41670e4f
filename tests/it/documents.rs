//! `aap apply` and `aap diff`: a directory of documents and what there is, brought together.

use std::{fmt::Write as _, fs, net::SocketAddr, process::Command};

use expect_test::expect_file;
use tempfile::TempDir;

use crate::support::{
    ADMIN, Setup,
    clients::token_of,
    processes,
    terminal::{Said, in_a_pipe, on_a_terminal},
    world,
};

/// As many documents as one call may change.
const MANY: usize = 1_000;

/// A directory of documents, and a server to bring them to.
struct Place {
    home: TempDir,
    address: SocketAddr,
}

impl Place {
    fn new(address: SocketAddr) -> Self {
        Self { home: tempfile::tempdir().unwrap(), address }
    }

    /// Writes a document at the path that its name makes.
    fn write(&self, name: &str, fields: &str) {
        let path = self.home.path().join(format!("documents/{name}.json"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{{\"name\": \"{name}\", {fields}}}\n")).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.home.path().join(format!("documents/{name}.json"))).unwrap();
    }

    fn rule(&self, id: &str, addresses: &str) {
        let fields = format!("\"publicNetwork\": {{}}, \"addresses\": [{addresses}]");
        self.write(&world::rule_name(id), &fields);
    }

    fn policy(&self, id: &str, resource: &str, rule: &str) {
        let rule = world::rule_name(rule);
        let fields = format!(
            "\"scope\": \"shared\", \"permissions\": [\"PERMISSION_TEMPLATE_SECRET_USER\"], \
             \"resources\": [\"{resource}\"], \"networkRules\": {{\"names\": [\"{rule}\"]}}"
        );
        self.write(&world::policy_name(id), &fields);
    }

    fn access_point(&self, id: &str, policy: &str, more: &str) {
        let policy = world::policy_name(policy);
        let fields = format!("\"clientKey\": {{}}, \"policies\": [\"{policy}\"]{more}");
        self.write(&world::access_point_name(id), &fields);
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aap"));
        command
            .args(line.split_whitespace())
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("AAP_SERVER", format!("http://{}", self.address))
            .env("AAP_TOKEN", token_of(ADMIN));
        command
    }

    fn run(&self, line: &str) -> Said {
        in_a_pipe(&mut self.command(line))
    }

    /// Runs a command, and says what it says.
    fn note(&self, page: &mut String, line: &str) {
        let Said { text, code } = self.run(line);
        let _ = write!(page, "$ aap {line}\n{text}[{code}]\n\n");
    }
}

fn shown(place: &Place, page: &mut String, line: &str) {
    let Said { text, code } = on_a_terminal(place.command(line).env("TERM", "xterm"));
    let _ = write!(page, "$ aap {line} # on a terminal\n{text}[{code}]\n\n");
}

fn lines(said: &Said) -> usize {
    said.text.lines().count()
}

#[tokio::test]
async fn a_thousand_documents_are_applied_once_and_then_there_is_no_difference() {
    let server = Setup::new().start().await;
    let place = Place::new(server.address());
    place.rule("Office", "\"203.0.113.9/24\"");
    for number in 1..MANY / 2 {
        place.policy(&format!("P{number}"), &format!("secret/{number}/****"), "Office");
        place.access_point(&format!("a{number}"), &format!("P{number}"), "");
    }
    place.access_point("last", "P1", "");
    let said = place.run("diff -f documents -o name");
    assert_eq!((said.code, lines(&said)), (11, MANY));

    // Killed at once, it has made all of it or nothing.
    let mut killed = processes::spawn(&mut place.command("apply -f documents -o name")).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let said = place.run("diff -f documents -o name");
    assert!([0, MANY].contains(&lines(&said)), "{}", said.text);

    let said = place.run("apply -f documents");
    assert_eq!(said.code, 0, "{}", said.text);
    let said = place.run("diff -f documents --prune");
    assert_eq!((said.code, said.text.as_str()), (0, "no difference: 1000 documents\n"));
    let said = place.run("apply -f documents --prune");
    assert_eq!((said.code, said.text.as_str()), (0, "no difference: 1000 documents\n"));

    // One more can't be made together with all the others being changed.
    for number in 1..=MANY {
        place.rule(&format!("R{number}"), "\"192.0.2.1\"");
    }
    place.access_point("another", "P2", "");
    let said = place.run("apply -f documents");
    assert_eq!(said.code, 2, "{}", said.text);
    let said = place.run("apply -f documents --in-steps -o name");
    assert_eq!((said.code, lines(&said)), (0, MANY + 1));
    assert_eq!(place.run("diff -f documents").code, 0);
}

#[tokio::test]
async fn documents_and_what_there_is_are_brought_together() {
    let server = Setup::new().start().await;
    let place = Place::new(server.address());
    let mut page = String::new();
    for line in ["diff --help", "apply --help"] {
        place.note(&mut page, line);
        shown(&place, &mut page, line);
    }
    place.rule("Office", "\"203.0.113.0/24\"");
    place.policy("Reports", "secret/reports/*", "Office");
    place.access_point("reports", "Reports", ", \"state\": \"ACCESS_POINT_STATE_SUSPENDED\"");
    place.note(&mut page, "diff -f documents");
    place.note(&mut page, "apply -f documents --dry-run");
    place.note(&mut page, "apply -f documents");
    place.note(&mut page, "apply -f documents");

    place.policy("Reports", "secret/other/*", "Office");
    place.access_point("reports", "Reports", ", \"description\": \"reads\"");
    place.access_point("new", "Reports", "");
    place.note(&mut page, "diff -f documents");
    place.note(&mut page, "diff -f documents -o json");
    shown(&place, &mut page, "diff -f documents");
    shown(&place, &mut page, "apply -f documents");
    place.note(&mut page, "apply -f documents");
    shown(&place, &mut page, "diff -f documents");

    // A document that is wrong applies nothing, be it found here or by the server.
    place.rule("Home", "\"198.51.100.0/24\"");
    place.policy("Wrong", "reports/*", "Nowhere");
    place.note(&mut page, "apply -f documents");
    shown(&place, &mut page, "apply -f documents");
    place.policy("Wrong", "secret/*", "Nowhere");
    place.note(&mut page, "apply -f documents");
    place.remove(&world::policy_name("Wrong"));
    place.note(&mut page, "diff -f documents -o name");
    place.remove(&world::rule_name("Home"));

    let kind = "\"privateNetwork\": {}, \"addresses\": [\"203.0.113.0/24\"]";
    place.write(&world::rule_name("Office"), kind);
    place.note(&mut page, "apply -f documents");
    place.rule("Office", "\"203.0.113.0/24\"");

    place.remove(&world::access_point_name("new"));
    place.note(&mut page, "diff -f documents");
    place.note(&mut page, "apply -f documents --prune");
    place.note(&mut page, "diff -f documents --prune");
    place.note(&mut page, "diff -f nowhere");
    expect_file!["../snapshots/cli/apply.txt"].assert_eq(&page);
}

/// A network rule, a policy and an access point in YAML.
fn yaml(rule: &str, policy: &str, access_point: &str) -> String {
    let (rule, policy) = (world::rule_name(rule), world::policy_name(policy));
    format!(
        "# Who may read reports.\nname: {rule}\ndescription: no\npublicNetwork: {{}}\naddresses:\n  \
         - 203.0.113.9/24\n---\nname: \"{policy}\"\nscope: shared\npermissions:\n  \
         - PERMISSION_TEMPLATE_SECRET_USER\nresources: [ secret/reports/* ]\nnetworkRules:\n  names:\n    \
         - {rule}\n---\n---\nname: {}\nclientKey: {{}}\npolicies: [{policy}]\n",
        world::access_point_name(access_point)
    )
}

#[tokio::test]
async fn documents_in_yaml_are_brought_together_with_what_there_is() {
    let server = Setup::new().start().await;
    let place = Place::new(server.address());
    let documents = place.home.path().join("documents");
    let write = |file: &str, text: &str| fs::write(documents.join(file), text).unwrap();
    fs::create_dir_all(&documents).unwrap();
    let mut page = String::new();
    write("reports.yaml", &yaml("Office", "Reports", "reports"));
    place.rule("Home", "\"198.51.100.0/24\"");
    place.note(&mut page, "diff -f documents");
    place.note(&mut page, "apply -f documents/reports.yaml");
    place.note(&mut page, "apply -f documents");
    place.note(&mut page, "apply -f documents");
    // What looks like something else to others is a text.
    let shown = place.run(&format!("network-rule get {} -o json", world::rule_name("Office")));
    assert!(shown.text.contains("\"description\": \"no\""), "{}", shown.text);
    // What is shown as YAML reads back.
    let shown = place.run(&format!("policy get {} -o yaml", world::policy_name("Reports")));
    write("shown.yml", &shown.text);
    write("reports.yaml", yaml("Office", "Reports", "reports").split("---").next().unwrap());
    place.note(&mut page, "diff -f documents");
    fs::remove_file(documents.join("shown.yml")).unwrap();

    // One that is wrong applies nothing, and says where.
    let name = world::rule_name("Wrong");
    let begun = format!("name: {name}\npublicNetwork: {{}}\n");
    for (file, rest) in [
        ("alias.yaml", "description: &one a\naddresses: [*one]\n"),
        ("field.yaml", "adresses: [192.0.2.1]\n"),
        ("list.yaml", "addresses: 192.0.2.1\n"),
        ("syntax.yaml", "addresses: [192.0.2.1\n"),
        ("twice.yaml", "addresses: [192.0.2.1]\n\npublicNetwork: {}\n"),
        ("value.yaml", "addresses: [192.0.2.1, nowhere]\n"),
    ] {
        let of = format!("of-{file}");
        let right = yaml(&of, &of, &of);
        write(file, &format!("{right}---\n{}", begun.replace("Wrong", file) + rest));
    }
    fs::remove_file(documents.join("reports.yaml")).unwrap();
    write("whole.yml", "- a list\n");
    write("nameless.yml", "name: [1]\n");
    place.note(&mut page, "apply -f documents");
    let listed = place.run("changes list --account acme -o name");
    assert_eq!(lines(&listed), 4, "{}", listed.text);
    expect_file!["../snapshots/cli/apply-yaml.txt"].assert_eq(&page);
}

#[tokio::test]
async fn a_thousand_documents_in_yaml_can_be_applied_again_after_a_kill() {
    let server = Setup::new().start().await;
    let place = Place::new(server.address());
    let documents = place.home.path().join("documents");
    fs::create_dir_all(&documents).unwrap();
    let mut one_file = String::new();
    for number in 1..=MANY / 5 {
        let text = yaml(&format!("R{number}"), &format!("P{number}"), &format!("a{number}"));
        let _ = writeln!(one_file, "{text}---");
    }
    fs::write(documents.join("many.yaml"), one_file).unwrap();
    for number in 1..=MANY / 5 {
        let rule = format!(
            "name: {}\nprivateNetwork: {{}}\naddresses: [10.0.0.0/8]\n",
            world::rule_name(&format!("private{number}"))
        );
        fs::write(documents.join(format!("{number}.yml")), rule).unwrap();
        place.rule(&format!("J{number}"), "\"192.0.2.1\"");
    }
    let mut killed = processes::spawn(&mut place.command("apply -f documents -o name")).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let said = place.run("diff -f documents -o name");
    assert!([0, MANY].contains(&lines(&said)), "{}", said.text);
    let said = place.run("apply -f documents");
    assert_eq!(said.code, 0, "{}", said.text);
    for command in ["diff -f documents --prune", "apply -f documents --prune"] {
        let said = place.run(command);
        assert_eq!((said.code, said.text.as_str()), (0, "no difference: 1000 documents\n"));
    }
}
