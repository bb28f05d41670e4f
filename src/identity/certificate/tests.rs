//! Whose a certificate is: nobody's, whatever is written in it, unless an authority vouches for it.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, NameConstraints, SanType, date_time_ymd,
};

use x509_cert::der::Encode as _;

use super::*;
use crate::{
    clock::Clock,
    domain::time::Date,
    identity::caller::{Accounts, Caller, CallerRole, Callers, Credential},
};

const OPS: &str = "spiffe://example/ops";
const HOST: &str = "ops.example";

fn day(year: u16, month: u8, day: u8) -> UnixNanos {
    UnixNanos::start_of(Date { year, month, day }).unwrap()
}

/// A time at which everything is valid that isn't said not to be.
fn noon() -> UnixNanos {
    day(2025, 6, 1)
}

fn params(name: &str, sans: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params.subject_alt_names = sans
        .iter()
        .map(|san| match san.strip_prefix("dns:") {
            Some(name) => SanType::DnsName(name.try_into().unwrap()),
            None => SanType::URI((*san).try_into().unwrap()),
        })
        .collect();
    params
}

/// An authority, of callers or on the way to them.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Ca {
    fn root(name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (Self::params(name, adjust), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn below(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (Self::params(name, adjust), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn params(name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2030, 1, 1);
        adjust(&mut params);
        params
    }

    fn sign(&self, params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn trusted(&self) -> Authorities {
        let mut authorities = Authorities::default();
        authorities.add(&self.certificate).unwrap();
        authorities
    }
}

fn self_signed(params: &CertificateParams) -> CertificateDer<'static> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn as_is(_: &mut CertificateParams) {}

/// The names that count of a chain.
fn names(
    chain: &[CertificateDer<'_>],
    authorities: &Authorities,
    time: UnixNanos,
) -> Option<Vec<String>> {
    let certificate = PeerCertificate::new(chain, authorities, time).unwrap();
    let vouched = certificate.vouched(authorities, time)?;
    Some(vouched.sans().iter().map(ToString::to_string).collect())
}

#[test]
fn names_count_only_in_a_chain_that_leads_to_an_authority_of_callers() {
    let (root, stranger) = (Ca::root("root", as_is), Ca::root("root", as_is));
    let middle = root.below("middle", as_is);
    let ops = params("x", &[OPS]);
    let mut client = ops.clone();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut server = ops.clone();
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut authority = ops.clone();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let leaf_as_middle = {
        // A caller that signs for another one.
        let key = KeyPair::generate().unwrap();
        let (params, own) = (ops.clone(), ops.signed_by(&key, &root.issuer).unwrap());
        let forged = client.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(params, key));
        vec![forged.unwrap().der().clone(), own.der().clone()]
    };
    let many = |count| {
        let mut chain = vec![root.sign(&client)];
        chain.extend((1..count).map(|_| middle.certificate.clone()));
        chain
    };
    let trusted = root.trusted();
    for (what, chain, counts) in [
        ("signed by the authority", vec![root.sign(&client)], true),
        ("for any use", vec![root.sign(&ops)], true),
        ("by way of another", vec![middle.sign(&client), middle.certificate.clone()], true),
        (
            "with others in its company",
            vec![root.sign(&client), stranger.certificate.clone()],
            true,
        ),
        ("self-signed", vec![self_signed(&client)], false),
        (
            "self-signed, with the authority",
            vec![self_signed(&client), root.certificate.clone()],
            false,
        ),
        ("signed by a stranger of the same name", vec![stranger.sign(&client)], false),
        ("without the one in between", vec![middle.sign(&client)], false),
        ("for servers only", vec![root.sign(&server)], false),
        ("an authority itself", vec![root.sign(&authority)], false),
        ("the authority's own", vec![root.certificate.clone()], false),
        ("signed by a caller", leaf_as_middle, false),
        ("eight in all", many(8), true),
        ("nine in all", many(9), false),
    ] {
        assert_eq!(names(&chain, &trusted, noon()), counts.then(|| vec![OPS.to_owned()]), "{what}");
        // Without an authority there is nobody.
        assert_eq!(names(&chain, &Authorities::default(), noon()), None, "{what}");
    }
}

#[test]
fn a_chain_is_valid_when_all_of_it_is() {
    let root = Ca::root("root", |params| params.not_after = date_time_ymd(2025, 11, 1));
    let middle = root.below("middle", |params| {
        params.not_before = date_time_ymd(2025, 2, 1);
        params.not_after = date_time_ymd(2025, 12, 1);
    });
    let ops = params("x", &[OPS]);
    let direct = vec![root.sign(&ops)];
    let through = vec![middle.sign(&ops), middle.certificate.clone()];
    let trusted = root.trusted();
    for (time, direct_counts, through_counts) in [
        (day(2024, 12, 31), false, false),
        (day(2025, 1, 1), true, false),
        (day(2025, 2, 1), true, true),
        (day(2025, 11, 1), true, true),
        (day(2025, 11, 1).plus_seconds(1), false, false),
        (day(2026, 1, 2), false, false),
    ] {
        assert_eq!(names(&direct, &trusted, time).is_some(), direct_counts, "{time}");
        assert_eq!(names(&through, &trusted, time).is_some(), through_counts, "{time}");
    }
    let certificate = PeerCertificate::new(&through, &trusted, noon()).unwrap();
    let validity = certificate.vouched(&trusted, noon()).unwrap().validity();
    let expected = Validity { not_before: day(2025, 2, 1), not_after: day(2025, 11, 1) };
    assert_eq!(validity, expected);
}

#[test]
fn an_authority_that_may_not_name_somebody_does_not() {
    let dns = |name: &str| vec![GeneralSubtree::DnsName(name.to_owned())];
    let only = |permitted_subtrees, excluded_subtrees| {
        move |params: &mut CertificateParams| {
            params.name_constraints =
                Some(NameConstraints { permitted_subtrees, excluded_subtrees });
        }
    };
    let root = Ca::root("root", as_is);
    let host = params("x", &["dns:ops.example"]);
    for (what, middle, counts) in [
        ("of its own", root.below("m", only(dns("example"), vec![])), true),
        ("of others", root.below("m", only(dns("other"), vec![])), false),
        ("but not this", root.below("m", only(vec![], dns("ops.example"))), false),
        ("but not others", root.below("m", only(vec![], dns("other"))), true),
    ] {
        let chain = [middle.sign(&host), middle.certificate.clone()];
        assert_eq!(names(&chain, &root.trusted(), noon()).is_some(), counts, "{what}");
        // The same holds if it is the authority that is configured.
        assert_eq!(names(&chain[..1], &middle.trusted(), noon()).is_some(), counts, "{what}");
    }
}

#[test]
fn other_authorities_are_asked_anew() {
    let (old, new) = (Ca::root("root", as_is), Ca::root("root", as_is));
    let certificate =
        PeerCertificate::new(&[old.sign(&params("x", &[OPS]))], &old.trusted(), noon()).unwrap();
    let mut both = new.trusted();
    both.add(&old.certificate).unwrap();
    assert!(certificate.vouched(&old.trusted(), noon()).is_some());
    assert!(certificate.vouched(&both, noon()).is_some());
    assert!(certificate.vouched(&new.trusted(), noon()).is_none());
    assert!(certificate.vouched(&Authorities::default(), noon()).is_none());
    assert!(certificate.vouched(&old.trusted(), noon()).is_some());
    // Asked anew when it isn't valid any more.
    assert!(certificate.vouched(&both, day(2027, 1, 1)).is_none());
}

#[test]
fn only_an_authority_vouches() {
    let root = Ca::root("root", as_is);
    let mut authorities = Authorities::default();
    let leaf = root.sign(&params("x", &[OPS]));
    assert_eq!(authorities.add(&leaf), Err(InvalidAuthority::NoAuthority));
    let nonsense = CertificateDer::from(vec![0x30, 0x80]);
    assert_eq!(authorities.add(&nonsense), Err(InvalidCertificate.into()));
    assert!(authorities.is_empty());
    assert_eq!(PeerCertificate::new(&[nonsense], &authorities, noon()), Err(InvalidCertificate));
    assert_eq!(PeerCertificate::new(&[], &authorities, noon()), Err(InvalidCertificate));
}

#[test]
fn the_key_is_known_whoever_it_is() {
    let key = KeyPair::generate().unwrap();
    let certificate = params("x", &[OPS]).self_signed(&key).unwrap().der().clone();
    let shown =
        PeerCertificate::new(std::slice::from_ref(&certificate), &Authorities::default(), noon());
    let shown = shown.unwrap();
    assert_eq!(shown.leaf(), Some(&certificate));
    let parsed = Certificate::from_der(&certificate).unwrap();
    let public_key = parsed.tbs_certificate().subject_public_key_info().to_der().unwrap();
    assert_eq!(&shown.public_key()[..], public_key);
}

fn caller(name: &str, expires: Option<UnixNanos>) -> Caller {
    Caller { name: name.into(), role: CallerRole::Admin, accounts: Accounts::All, expires }
}

/// Who a certificate with these names is, and until when.
fn who(
    root: &Ca,
    params: &CertificateParams,
    clock: &Clock,
) -> Option<(String, Option<UnixNanos>)> {
    let mut callers = Callers::vouched_for_by(Arc::new(root.trusted()));
    let late = Some(day(2025, 7, 1));
    for (san, caller) in [
        (OPS, caller("ops", None)),
        ("dns:ops.example", caller("host", None)),
        ("dns:www.ops.example", caller("host", None)),
        ("spiffe://example/late", caller("late", late)),
    ] {
        assert!(callers.add_by_san(San::parse(san).unwrap(), caller));
    }
    assert!(!callers.clone().add_by_san(San::parse(OPS).unwrap(), caller("other", None)));
    let chain = [root.sign(params)];
    let certificate = PeerCertificate::new(&chain, callers.authorities(), noon()).unwrap();
    let found = callers.find(&Credential::Certificate(certificate), clock)?;
    Some((found.caller.name.to_string(), found.expires))
}

#[test]
fn a_caller_is_found_by_a_name_that_is_exactly_its_own() {
    let (root, clock) = (Ca::root("root", as_is), Clock::manual(noon()));
    for (sans, found) in [
        (&[OPS][..], Some("ops")),
        (&["spiffe://example/other", OPS], Some("ops")),
        (&["dns:ops.example"], Some("host")),
        (&["dns:ops.example", "dns:www.ops.example"], Some("host")),
        (&[], None),
        (&["spiffe://example/ops/"], None),
        (&["spiffe://example/op"], None),
        (&["spiffe://EXAMPLE/ops"], None),
        (&["dns:OPS.example"], None),
        (&["dns:*.example"], None),
        // A name of another kind.
        (&["ops.example"], None),
        // Two callers at once are neither.
        (&[OPS, "dns:ops.example"], None),
    ] {
        let who = who(&root, &params(HOST, sans), &clock).map(|(name, _)| name);
        assert_eq!(who.as_deref(), found, "{sans:?}");
    }
    // The common name is `ops.example` each time, and never counts.
}

#[test]
fn a_caller_expires_with_its_certificate_or_before() {
    let root = Ca::root("root", as_is);
    let end = day(2026, 1, 1).plus_seconds(1);
    for (san, expires) in [(OPS, end), ("spiffe://example/late", day(2025, 7, 1))] {
        let (_, found) = who(&root, &params("x", &[san]), &Clock::manual(noon())).unwrap();
        assert_eq!(found, Some(expires));
    }
    // A clock that was set back is no reason to believe in what isn't valid yet.
    assert_eq!(who(&root, &params("x", &[OPS]), &Clock::manual(day(2024, 1, 1))), None);
}

#[test]
fn what_is_no_name_is_refused() {
    for bad in [
        "",
        "ops",
        "dns:",
        "dns:Ops.example",
        "dns:*.example",
        "dns:a b",
        ":x",
        "spiffe:",
        "spiffe://example/*",
        "spiffe://example/a b",
        "1a:b",
        "spiffe://example/ü",
    ] {
        assert!(San::parse(bad).is_err(), "{bad:?}");
    }
    assert!(San::parse(&format!("a:{}", "b".repeat(510))).is_ok());
    assert!(San::parse(&format!("a:{}", "b".repeat(511))).is_err());
    for good in ["dns:ops.example", "spiffe://example/ops", "urn:ops:1"] {
        assert_eq!(San::parse(good).unwrap().to_string(), good);
    }
}
