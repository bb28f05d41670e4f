//! What sessions cost: a decision by a session beside the same one about an access point by its name,
//! and an assertion beside a bare verification of its signature by ring.
//!
//! All in process: the world is that of `decide`, with a client key for each access point. What a
//! slice needs is made before its clock runs, and both of a pair take turns.
//!
//! ```text
//! cargo bench --bench sessions              # 10 to 10,000 access points; needs about 1 GB
//! cargo bench --bench sessions -- --short   # up to 1,000
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/world.rs"]
mod world;

use std::{hint::black_box, time::Instant};

use aap::{
    domain::{
        check::{Check, Subject},
        client_key::MadeAlgorithm,
        decision::Decision,
        name::Id,
        resource::Uid,
        rulebook::Rulebook,
        session::{Credential, Session},
        time::UnixNanos,
    },
    entropy::Entropy,
    identity::{
        assertion::{
            Assertion, Expected,
            making::{NewAssertion, Wanted},
        },
        client_key::{generation::PrivateKey, public_key},
        replay::{self, Limits, ReplayMemory},
        session::SessionKeys,
    },
    store::session_keys::{Secret, Secrets},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use uuid::Uuid;
use x509_cert::der::Encode as _;
use zeroize::Zeroizing;

use world::{KINDS, Kind, Question, Random};

const SEED: u64 = 20_261_126;
const HOT: usize = 1_000;
/// How many decisions a slice asks for, how many assertions there are, and how often each is verified.
const DECISIONS: usize = 50_000;
const ASSERTIONS: usize = 50;
const ROUNDS: usize = 20;
const PAIRS: usize = 15;
/// What a session may add to a decision, in ns.
const BAR: f64 = 2_000.0;
const NOW: i64 = 1_900_000_000;
const AUDIENCE: &str = "aap.example/bench";

fn main() {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let sizes: &[usize] = if is_short { &[10, 1_000] } else { &[10, 1_000, 10_000] };
    println!("\nns a decision: medians of {PAIRS} pairs of slices of {DECISIONS}\n");
    println!(
        "| access points | by name | by session | a session adds | least and most of the pairs |"
    );
    println!("|---:|---:|---:|---:|---:|");
    let mut most = 0.0_f64;
    for &size in sizes {
        let pairs = decisions(size);
        let added = Middle::of(pairs.iter().map(|(by_name, by_session)| by_session - by_name));
        most = most.max(added.median);
        let by_name = Middle::of(pairs.iter().map(|pair| pair.0));
        let by_session = Middle::of(pairs.iter().map(|pair| pair.1));
        println!(
            "| {size} | {:.0} | {:.0} | {:.0} | {:.0} to {:.0} |",
            by_name.median, by_session.median, added.median, added.least, added.most
        );
    }
    let verdict = if most <= BAR { "within" } else { "beyond" };
    println!("\na session adds {most:.0} ns at most, {verdict} the bar of {BAR:.0}");

    println!("\nµs an assertion: medians of {PAIRS} pairs of slices of {}\n", ASSERTIONS * ROUNDS);
    println!(
        "| key | bare verification by ring | assertion | ratio | least and most of the pairs |"
    );
    println!("|---|---:|---:|---:|---:|");
    for (name, algorithm) in [
        ("RSA, 2,048 bits", MadeAlgorithm::Rsa2048),
        ("RSA, 3,072 bits", MadeAlgorithm::Rsa3072),
        ("P-256", MadeAlgorithm::EcP256),
    ] {
        let pairs = assertions(algorithm);
        let ratio = Middle::of(pairs.iter().map(|(bare, whole)| whole / bare));
        let bare = Middle::of(pairs.iter().map(|pair| pair.0)).median / 1_000.0;
        let whole = Middle::of(pairs.iter().map(|pair| pair.1)).median / 1_000.0;
        let Middle { median, least, most } = ratio;
        println!("| {name} | {bare:.1} | {whole:.1} | {median:.3} | {least:.3} to {most:.3} |");
    }
    println!("\nremembering that a proof was shown takes {:.0} ns of that", remembering());
}

/// The median of some values, and their ends.
struct Middle {
    median: f64,
    least: f64,
    most: f64,
}

impl Middle {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (values[0], values[values.len() - 1]);
        Self { median: values[values.len() / 2], least, most }
    }
}

/// Runs slices that take turns; gives ns of each for both.
fn pairs(mut one: impl FnMut() -> f64, mut other: impl FnMut() -> f64) -> Vec<(f64, f64)> {
    let pair = |turn: usize| {
        if turn.is_multiple_of(2) {
            let first = one();
            (first, other())
        } else {
            let first = other();
            (one(), first)
        }
    };
    (0..PAIRS).map(pair).collect()
}

/// Pairs of ns a decision, by the access point's name and by a session's token.
fn decisions(size: usize) -> Vec<(f64, f64)> {
    let (rulebook, held) = world::rulebook_with_keys(size);
    let secret = Secret { number: 1, made: UnixNanos(0), bytes: Zeroizing::new([7; 32]) };
    let keys = SessionKeys::new(&Secrets { current: secret, previous: None });
    let revision = rulebook.revision();
    let tokens: Vec<_> = held.iter().map(|held| token(&keys, *held, revision)).collect();
    let mut random = Random::new(SEED);
    let chosen: Vec<_> = (0..HOT.min(size)).map(|_| random.below(size)).collect();
    // Of access points that are there and have sessions.
    let kinds: Vec<_> =
        KINDS.iter().filter(|kind| ![Kind::NotFound, Kind::Suspended].contains(kind)).collect();
    let questions: Vec<_> = (0..DECISIONS)
        .map(|turn| {
            let number = chosen[random.below(chosen.len())];
            (Question::new(number, *kinds[turn % kinds.len()]), tokens[number].as_str())
        })
        .collect();
    let by_name: Vec<_> = questions.iter().map(|(question, _)| question.check()).collect();
    let by_session: Vec<_> = questions
        .iter()
        .map(|(question, token)| Check { subject: Subject::Token(token), ..question.check() })
        .collect();
    for (one, other) in by_name.iter().zip(&by_session) {
        let same = allows(&rulebook, one) == allows(&rulebook, &opened(&keys, *other));
        assert!(same, "{one:?}");
    }
    pairs(
        || time(&by_name, |check| rulebook.decide(check).decision),
        || time(&by_session, |check| rulebook.decide(&opened(&keys, *check)).decision),
    )
}

fn allows(rulebook: &Rulebook, check: &Check<'_>) -> bool {
    matches!(rulebook.decide(check).decision, Decision::Allow(_))
}

/// A check as it is decided, with its token read.
fn opened<'a>(keys: &SessionKeys, check: Check<'a>) -> Check<'a> {
    let Subject::Token(token) = check.subject else { return check };
    let now = UnixNanos::from_parts(NOW, 0);
    Check { subject: Subject::Session(keys.open(token), now), ..check }
}

fn token(keys: &SessionKeys, (access_point, client_key): (Uid, Uid), revision: u64) -> String {
    let made = UnixNanos::from_parts(NOW, 0);
    let expires = made.plus_seconds(900);
    let proved_by = Credential::ClientKey(client_key);
    let session = Session { access_point, proved_by, revision, made, expires };
    keys.seal(&session).reveal().to_owned()
}

/// ns each takes.
fn time<T, R>(things: &[T], mut work: impl FnMut(&T) -> R) -> f64 {
    let began = Instant::now();
    for thing in things {
        black_box(work(black_box(thing)));
    }
    began.elapsed().as_nanos() as f64 / things.len() as f64
}

/// Pairs of ns: a bare verification of the signature, and all that is done with an assertion.
fn assertions(algorithm: MadeAlgorithm) -> Vec<(f64, f64)> {
    let key = PrivateKey::generate(algorithm, &mut Entropy).unwrap();
    let info = key.to_public_key().unwrap();
    let public = public_key::parse(&info.to_der().unwrap()).unwrap();
    let now = UnixNanos::from_parts(NOW, 0);
    let made: Vec<_> = (0..ASSERTIONS)
        .map(|number| {
            let id = Uuid::from_u128(number.try_into().unwrap());
            let wanted = Wanted { key_id: "KAAP.1", audience: AUDIENCE, now, id };
            NewAssertion::make(&key, &wanted).unwrap().reveal().to_owned()
        })
        .collect();
    let rounds: Vec<_> = (0..ROUNDS).flat_map(|_| &made).map(String::as_str).collect();
    let signed: Vec<_> = rounds
        .iter()
        .map(|text| {
            let (signed, signature) = text.rsplit_once('.').unwrap();
            (signed.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap())
        })
        .collect();
    let scheme: &dyn VerificationAlgorithm = match algorithm {
        MadeAlgorithm::EcP256 => &ECDSA_P256_SHA256_FIXED,
        MadeAlgorithm::Rsa2048 | MadeAlgorithm::Rsa3072 => &RSA_PKCS1_2048_8192_SHA256,
    };
    let bare = UnparsedPublicKey::new(scheme, info.subject_public_key.as_bytes().unwrap());
    let started = now.plus_seconds(-3_600);
    let expected = Expected { key_id: "KAAP.1", key: &public, audience: AUDIENCE, now, started };
    let verify = |text: &&str| Assertion::read(text).unwrap().verify(&expected).unwrap();
    pairs(
        || time(&signed, |(message, signature)| bare.verify(message, signature).unwrap()),
        || {
            let memory = ReplayMemory::new(Limits::default());
            let mut turn = 0;
            time(&rounds, |text| {
                let proof = verify(text);
                // Each round is another key's: a proof works once.
                let prover = prover(turn / ASSERTIONS);
                turn += 1;
                memory.show(prover, &proof.id, proof.expires, now).unwrap();
            })
        },
    )
}

/// A key of an account of its own.
fn prover(number: usize) -> replay::Prover {
    let uid = Uid(Uuid::from_u128(number.try_into().unwrap()));
    let account = Id::parse(&format!("account-{number}")).unwrap();
    replay::Prover { account, credential: replay::Credential::Key(uid) }
}

/// ns that it takes to remember a proof of a key that has shown half of what it may.
fn remembering() -> f64 {
    let ids: Vec<_> = (0..2_048_u128).map(|id| Uuid::from_u128(id).to_string()).collect();
    let now = UnixNanos::from_parts(NOW, 0);
    let slice = || {
        let memory = ReplayMemory::new(Limits::default());
        time(&ids, |id| memory.show(prover(1), id, NOW + 60, now).unwrap())
    };
    Middle::of((0..PAIRS).map(|_| slice())).median
}
