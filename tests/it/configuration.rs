//! What an operator is told about a configuration that can't be used, on one page.

use std::fmt::Write as _;

use aap::config::{self, Overrides};
use expect_test::expect_file;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// What a configuration has at least, but for its callers.
const BASE: &str = "listen = [\"127.0.0.1:7300\"]\ndata_dir = \"data\"\n";

/// A caller's table.
fn caller(name: &str, digest: &str, rest: &str) -> String {
    format!("[[callers]]\nname = \"{name}\"\ntoken_sha256 = \"{digest}\"\n{rest}\n")
}

fn admin() -> String {
    caller("ops", DIGEST, "role = \"admin\"\naccounts = [\"acme\"]")
}

/// What is wrong, and a text that has it wrong.
type Case = (&'static str, String);

fn bad_texts() -> Vec<Case> {
    let base = |rest: &str| format!("{BASE}{rest}{}", admin());
    vec![
        ("nothing at all", String::new()),
        ("no TOML", "listen = [".to_owned()),
        ("an unknown key", base("lisen = []\n")),
        ("an unknown key in a table", base("[audit]\nsegment_mb = 1\n")),
        ("an unknown table", base("[tls]\n")),
        ("a key twice", base("data_dir = \"again\"\n")),
        ("an address without a port", format!("listen = [\"127.0.0.1\"]\n{}", admin())),
        ("an address by name", format!("listen = [\"localhost:7300\"]\n{}", admin())),
        ("an address that is no text", format!("listen = 7300\n{}", admin())),
        (
            "addresses that are not loopback",
            format!(
                "listen = [\"127.0.0.1:1\", \"0.0.0.0:7300\", \"[::]:7300\"]\ndata_dir = \"d\"\n{}",
                admin()
            ),
        ),
        ("no data directory", format!("listen = [\"127.0.0.1:7300\"]\n{}", admin())),
        ("no callers", BASE.to_owned()),
        ("an origin with spaces", base("[audit]\norigin = \"our log\"\n")),
        (
            "numbers out of bounds",
            base(
                "[audit]\nsegment_mebibytes = 0\nbuffer_mebibytes = 4\n\
                 [disk]\nmanagement_reserve_percent = 100\n",
            ),
        ),
        ("a number that is negative", base("[audit]\nbuffer_mebibytes = -5\n")),
        (
            "reserves the wrong way round",
            base("[disk]\nmanagement_reserve_percent = 1\ncheck_reserve_percent = 2\n"),
        ),
        (
            "many things at once",
            format!(
                "listen = [\"0.0.0.0:7300\"]\n[audit]\norigin = \"\"\n{}{}",
                caller("-", "00", "role = \"admin\"\naccounts = [\"a b\"]"),
                caller("e", DIGEST, "role = \"enforcer\"\naccounts = []\nassert_identity = false"),
            ),
        ),
    ]
}

fn bad_callers() -> Vec<Case> {
    let with_caller = |name, digest, rest| format!("{BASE}{}", caller(name, digest, rest));
    let role = "role = \"admin\"\naccounts = [\"acme\"]";
    vec![
        ("a caller without a role", with_caller("ops", DIGEST, "accounts = [\"acme\"]")),
        (
            "a caller with an unknown role",
            with_caller("ops", DIGEST, "role = \"root\"\naccounts = [\"acme\"]"),
        ),
        ("a caller without accounts", with_caller("ops", DIGEST, "role = \"admin\"")),
        ("a caller of no account", with_caller("ops", DIGEST, "role = \"admin\"\naccounts = []")),
        (
            "a caller of all accounts and one",
            with_caller("ops", DIGEST, "role = \"admin\"\naccounts = [\"*\", \"acme\"]"),
        ),
        ("a caller with a bad name", with_caller("the ops", DIGEST, role)),
        ("a caller with a bad digest", with_caller("ops", "secret", role)),
        (
            "an auditor that asserts identities",
            with_caller(
                "eyes",
                DIGEST,
                "role = \"auditor\"\naccounts = [\"*\"]\nassert_identity = true",
            ),
        ),
        (
            "an enforcer with bounds that mean nothing",
            with_caller(
                "gateway",
                DIGEST,
                "role = \"enforcer\"\naccounts = [\"acme\"]\norigin_networks = [\"vpc\", \"any\"]\n\
                 vpc_ids = [\"vpc-1\", \"vpc 2\"]\ninstances = [\"*\"]",
            ),
        ),
        (
            "an admin with an enforcer's bounds",
            with_caller("ops", DIGEST, "role = \"admin\"\naccounts = [\"*\"]\ninstances = []"),
        ),
        (
            "two callers of one name",
            format!("{BASE}{}{}", admin(), caller("ops", &DIGEST.replace('9', "8"), role)),
        ),
        (
            "two callers with one token",
            format!("{BASE}{}{}", admin(), caller("ops-2", &DIGEST.to_uppercase(), role)),
        ),
    ]
}

#[test]
fn whatever_is_wrong_with_a_configuration_is_said() {
    let mut page =
        "What an operator is told about a configuration with something wrong in it.\n".to_owned();
    for (what, text) in bad_texts().into_iter().chain(bad_callers()) {
        let error = config::parse("aap.toml", &text, Overrides::default()).unwrap_err();
        write!(page, "\n--- {what}\n{}\n", error.to_string().trim_end()).unwrap();
    }
    expect_file!["../snapshots/configuration.txt"].assert_eq(&page);
}

#[test]
fn a_configuration_without_a_mistake_is_taken() {
    let text = format!(
        "listen = [\"0.0.0.0:7300\", \"[::1]:0\"]\nallow_plaintext_from_network = true\n\
         data_dir = \"data\"\n[audit]\norigin = \"example/audit\"\nsegment_mebibytes = 1\n\
         buffer_mebibytes = 5\n[disk]\nmanagement_reserve_percent = 3\ncheck_reserve_percent = 3\n\
         {}{}",
        admin(),
        caller(
            "e",
            &"0".repeat(64),
            "role = \"enforcer\"\naccounts = [\"*\"]\norigin_networks = [\"vpc\", \"private\"]\n\
             vpc_ids = [\"vpc-1\"]\ninstances = []",
        ),
    );
    let taken = config::parse("aap.toml", &text, Overrides::default()).unwrap();
    assert_eq!((taken.listen.len(), taken.origin.as_str()), (2, "example/audit"));
    assert_eq!((taken.audit.segment_bytes, taken.audit.buffer_bytes), (1 << 20, 5 << 20));
    assert_eq!(taken.callers.by_name().len(), 2);
}

#[test]
fn the_command_line_stands_over_the_file() {
    let overrides =
        Overrides { listen: vec!["127.0.0.1:1".parse().unwrap()], data_dir: Some("there".into()) };
    let text = format!("listen = [\"0.0.0.0:7300\"]\n{}", admin());
    let taken = config::parse("aap.toml", &text, overrides).unwrap();
    assert_eq!(taken.listen, ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(taken.data_dir.to_str(), Some("there"));
}
