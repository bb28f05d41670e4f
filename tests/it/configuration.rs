//! What an operator is told about a configuration that can't be used, on one page.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use aap::{
    audit::{log::Mode, retention::Retention},
    config::{self, Overrides, follow::Follower},
    domain::time::{Date, UnixNanos},
};
use expect_test::expect_file;

use crate::support::certificates::{Authority, params, self_signed};

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
                "[audit]\nmode = \"fast\"\nsegment_mebibytes = 0\nbuffer_mebibytes = 4\n\
                 [audit.retention]\nmax_days = 0\nmax_mebibytes = 0\nmax_stranger_mebibytes = 0\n\
                 [disk]\nmanagement_reserve_percent = 100\n\
                 [scrub]\nmebibytes_per_second = 0\nevery_hours = 9000\n",
            ),
        ),
        ("a number that is negative", base("[audit]\nbuffer_mebibytes = -5\n")),
        (
            "reserves the wrong way round",
            base("[disk]\nmanagement_reserve_percent = 1\ncheck_reserve_percent = 2\n"),
        ),
        ("a log that can't be", base("[log]\nformat = \"xml\"\nlevel = \"inof\"\n")),
        (
            "telemetry that goes nowhere",
            base("[telemetry]\nmetrics_interval_seconds = 0\ntrace_ratio = 1.5\n"),
        ),
        ("a collector by https", base("[telemetry]\notlp_endpoint = \"https://collector:4317\"\n")),
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
        ("a caller with the server's own name", with_caller("system", DIGEST, role)),
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

/// A listener's table.
fn listener(rest: &str) -> String {
    format!("{BASE}[[listeners]]\naddress = \"127.0.0.1:7301\"\n{rest}\n{}", admin())
}

/// What is wrong with listeners and their files, some of which are in a directory.
fn bad_listeners(dir: &Path) -> Vec<Case> {
    let hosts = Authority::new();
    let ((certificate, key), (_, other_key)) =
        (hosts.server().write(dir, "one"), hosts.server().write(dir, "other"));
    let tls = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.display(), key.display());
        listener(&format!("certificate = \"{certificate}\"\nkey = \"{key}\""))
    };
    let (none, manifest) = (Path::new("none.pem"), Path::new("Cargo.toml"));
    let garbled = dir.join("garbled.pem");
    fs::write(&garbled, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").unwrap();
    vec![
        ("a listener without anything", format!("{BASE}[[listeners]]\n{}", admin())),
        ("a certificate without its key", listener("certificate = \"none.pem\"")),
        ("a key without its certificate", listener("key = \"none.pem\"")),
        ("files that aren't there", tls(none, none)),
        ("files of something else", tls(manifest, manifest)),
        ("a certificate that is none", tls(&garbled, &key)),
        ("another certificate's key", tls(&certificate, &other_key)),
        ("a network that there isn't", listener("network = \"lan\"")),
        ("a VPC without its id", listener("network = \"vpc\"")),
        ("a VPC with a bad id", listener("network = \"vpc\"\nvpc_id = \"vpc 1\"")),
        ("an id of no VPC", listener("network = \"public\"\nvpc_id = \"vpc-1\"")),
        ("proxies, but none", listener("proxies = []")),
        ("a proxy by name", listener("proxies = [\"10.0.0.1\", \"proxy\"]")),
        ("an address twice", listener("").replace("7301", "7300")),
        (
            "plain text from the network, for proxies",
            listener("proxies = [\"10.0.0.1\"]").replace("127.0.0.1:7301", "10.0.0.2:7301"),
        ),
        (
            "connections out of bounds",
            format!(
                "{BASE}[connections]\nmax = 0\nmax_per_source = 2\nmax_handshakes = 9\n\
                 max_handshakes_per_source = 10\nhandshake_seconds = 61\n{}",
                admin()
            ),
        ),
    ]
}

/// What is wrong with callers that show certificates.
fn bad_names(dir: &Path) -> Vec<Case> {
    let hosts = Authority::new();
    let (certificate, key) = hosts.server().write(dir, "server");
    let ca = dir.join("ca.pem");
    fs::write(&ca, &hosts.certificate).unwrap();
    let with_ca = |ca: &Path, callers: &str| {
        format!(
            "caller_ca = \"{}\"\n{BASE}{callers}[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             certificate = \"{}\"\nkey = \"{}\"\n",
            ca.display(),
            certificate.display(),
            key.display()
        )
    };
    let named = |name: &str, san: &str| {
        format!(
            "[[callers]]\nname = \"{name}\"\nsan = \"{san}\"\nrole = \"admin\"\n\
             accounts = [\"acme\"]\n"
        )
    };
    let ops = named("ops", "spiffe://example/ops");
    vec![
        ("an authority that isn't there", with_ca(Path::new("none.pem"), &ops)),
        ("an authority that is none", with_ca(&certificate, &ops)),
        (
            "an authority, and no certificate to see",
            format!("caller_ca = \"none.pem\"\n{BASE}{ops}"),
        ),
        ("a name without an authority", format!("{BASE}{ops}")),
        (
            "a caller known by nothing",
            format!("{BASE}{}", ops.replace("san = \"spiffe://example/ops\"\n", "")),
        ),
        ("a name that is none", with_ca(&ca, &named("ops", "ops"))),
        ("a host's name with a wildcard", with_ca(&ca, &named("ops", "dns:*.example"))),
        (
            "two callers with one name in their certificates",
            with_ca(&ca, &format!("{ops}{}", named("ops-2", "spiffe://example/ops"))),
        ),
    ]
}

/// An issuer of tokens, with something else in the place of one of its lines.
fn issuer(key: &str, line: &str) -> String {
    let lines = [
        ("name", "name = \"cluster\""),
        ("issuer", "issuer = \"https://cluster.test\""),
        ("audience", "audience = \"aap.test\""),
        ("accounts", "accounts = [\"acme\"]"),
        ("trusted_role", "trusted_role = \"ack_worker\""),
        ("role_claim", "role_claim = \"role\""),
        ("jwks_file", "jwks_file = \"keys.json\""),
    ];
    let lines = lines.map(|(name, good)| if name == key { line } else { good });
    format!("[[token_issuers]]\n{}\n", lines.join("\n"))
}

/// What is wrong with who vouches for roles.
fn bad_issuers(dir: &Path) -> Vec<Case> {
    let keys = dir.join("keys.json");
    let secret = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "d": "AA"}]}"#;
    fs::write(&keys, secret).unwrap();
    let private = format!("jwks_file = \"{}\"", keys.display());
    let ca = dir.join("roots.pem");
    fs::write(&ca, &Authority::new().certificate).unwrap();
    let (_, no_certificate) = Authority::new().server().write(dir, "other");
    let at = |url: &str, ca: &Path| {
        issuer("jwks_file", &format!("jwks_url = \"{url}\"\nca = \"{}\"", ca.display()))
    };
    let cases = [
        ("an issuer of nothing", "[[token_issuers]]\n".to_owned()),
        ("an issuer of all accounts", issuer("accounts", "accounts = [\"*\"]")),
        ("an issuer of no account", issuer("accounts", "accounts = []")),
        ("several accounts in one", issuer("accounts", "accounts = [\"acme\", \"other\"]")),
        ("an unknown environment", issuer("trusted_role", "trusted_role = \"lambda\"")),
        ("no name for the server", issuer("audience", "")),
        ("tokens for a week", issuer("name", "name = \"c\"\nmax_token_seconds = 604800")),
        ("a claim without a name", issuer("role_claim", "role_claim = \"\"")),
        ("keys that are private", issuer("jwks_file", &private)),
        ("keys from nowhere", issuer("jwks_file", "")),
        ("keys from a file and a server", issuer("name", "name = \"c\"\njwks_url = \"a\"")),
        ("keys from anybody", issuer("jwks_file", "jwks_url = \"https://a.test/keys\"")),
        ("keys in plain text", at("http://cluster.test/keys", &ca)),
        ("keys behind a password", at("https://me:secret@cluster.test/keys", &ca)),
        ("an authority of nothing", at("https://cluster.test/keys", &no_certificate)),
        ("two issuers of one name", format!("{0}{0}", at("https://cluster.test/keys", &ca))),
    ];
    let sts = |rest: &str| format!("[sts]\n{rest}\n");
    let at_sts = |url: &str, rest: &str| {
        sts(&format!("endpoint = \"{url}\"\nca = \"{}\"\n{rest}", ca.display()))
    };
    let of_sts = [
        ("an STS of nothing", sts("")),
        ("an STS in plain text", at_sts("http://sts.test", "")),
        ("an STS with a path", at_sts("https://sts.test/identity?a=b", "")),
        ("an STS without end", at_sts("https://sts.test", "timeout_seconds = 31")),
        ("a parameter for nobody", at_sts("https://sts.test", "audience_parameter = \"Aud\"")),
        ("a parameter there is", at_sts("https://sts.test", "audience_parameter = \"Action\"")),
    ];
    let cases = cases.into_iter().chain(of_sts);
    cases.map(|(what, tables)| (what, format!("{BASE}{}{tables}", admin()))).collect()
}

#[test]
fn a_certificate_that_is_not_valid_is_warned_of_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let (hosts, callers) = (Authority::new(), Authority::new());
    let (certificate, key) = hosts.client_until("spiffe://example", 6, 1).write(dir.path(), "old");
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, &callers.certificate).unwrap();
    let text = format!(
        "caller_ca = \"{}\"\n{BASE}{}[[listeners]]\naddress = \"127.0.0.1:7301\"\n\
         certificate = \"{}\"\nkey = \"{}\"\n",
        ca.display(),
        admin(),
        certificate.display(),
        key.display()
    );
    let path = dir.path().join("aap.toml");
    fs::write(&path, text).unwrap();
    let (config, _) = Follower::open(&path, Overrides::default()).unwrap();
    let warnings = |year| {
        let time = UnixNanos::start_of(Date { year, month: 2, day: 1 }).unwrap();
        config.warnings(time).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let of = "`certificate` of 127.0.0.1:7301";
    let refused = ": who connects will refuse it";
    assert_eq!(warnings(2024), [format!("{of} is not valid before 2025-01-01T00:00:00Z{refused}")]);
    assert_eq!(warnings(2025), [""; 0]);
    assert_eq!(warnings(2026), [format!("{of} expired at 2025-06-01T00:00:00Z{refused}")]);
    // An authority that isn't valid yet vouches for nobody.
    assert_eq!(
        warnings(1970)[1],
        "`caller_ca` has an authority that is not valid before 1975-01-01T00:00:00Z: it vouches \
         for nobody"
    );
}

#[test]
fn the_digest_of_a_configuration_tells_certificates_and_names_apart() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = Authority::new();
    let digest = |san: &str, pair: &crate::support::certificates::Pair, ca: &str| {
        let (certificate, key) = pair.write(dir.path(), "server");
        let file = dir.path().join("ca.pem");
        fs::write(&file, ca).unwrap();
        let text = format!(
            "caller_ca = \"{}\"\n{BASE}[[callers]]\nname = \"ops\"\nsan = \"{san}\"\n\
             role = \"admin\"\naccounts = [\"*\"]\n[[listeners]]\n\
             address = \"127.0.0.1:7301\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            file.display(),
            certificate.display(),
            key.display()
        );
        config::parse("aap.toml", &text, Overrides::default()).unwrap().digest()
    };
    let (one, other) = (hosts.server(), self_signed(&params(&[])));
    let (ca, other_ca) = (hosts.certificate.clone(), Authority::new().certificate);
    let first = digest("urn:a", &one, &ca);
    assert_eq!(digest("urn:a", &one, &ca), first);
    for changed in
        [digest("urn:b", &one, &ca), digest("urn:a", &other, &ca), digest("urn:a", &one, &other_ca)]
    {
        assert_ne!(changed, first);
    }
}

#[test]
fn whatever_is_wrong_with_a_configuration_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut page =
        "What an operator is told about a configuration with something wrong in it.\n".to_owned();
    let dir = dir.path();
    let cases = [bad_texts(), bad_callers(), bad_listeners(dir), bad_names(dir), bad_issuers(dir)];
    for (what, text) in cases.into_iter().flatten() {
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
         buffer_mebibytes = 5\nmode = \"buffered-may-lose-decisions\"\n\
         [audit.retention]\nmax_days = 30\nmax_mebibytes = 7\n[disk]\nmanagement_reserve_percent = 3\ncheck_reserve_percent = 3\n\
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
    assert_eq!((taken.listeners.len(), taken.origin.as_str()), (2, "example/audit"));
    assert_eq!((taken.audit.segment_bytes, taken.audit.buffer_bytes), (1 << 20, 5 << 20));
    let max_age = Some(Duration::from_hours(30 * 24));
    let kept = Retention { max_age, max_bytes: Some(7 << 20), max_stranger_bytes: None };
    assert_eq!((taken.audit.mode, taken.audit.retention), (Mode::Buffered, kept));
    assert_eq!(taken.callers.by_name().len(), 2);
}

#[test]
fn the_command_line_stands_over_the_file() {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:1".parse().unwrap()],
        data_dir: Some("there".into()),
        ..Overrides::default()
    };
    let text = format!("listen = [\"0.0.0.0:7300\"]\n{}", admin());
    let taken = config::parse("aap.toml", &text, overrides).unwrap();
    let addresses: Vec<_> = taken.listeners.iter().map(|one| one.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:1"]);
    assert_eq!(taken.data_dir.to_str(), Some("there"));
}
