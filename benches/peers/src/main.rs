//! One decision beside Cedar's, Rego's and Casbin's: the same world, the same questions.
//!
//! Each peer has the rules as its own users would write them, in the form that is fastest for it:
//! an access point's policies are found by its name in a hash map (Cedar, Casbin) or a document
//! (Rego), and what can be made of a question before it is asked is made before the clock runs.
//! First all must agree on 100,000 random questions.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml             # 1,000 access points
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --short  # 20, fewer questions
//! ```

#[path = "../../support/world.rs"]
mod world;

mod by_casbin;
mod by_cedar;
mod by_rego;

use std::{hint::black_box, time::Instant};

use aap::domain::{check::Check, decision::Decision, rulebook::Rulebook};

use by_casbin::Casbin;
use by_cedar::Cedar;
use by_rego::{Interpreter, Machine};
use world::{KINDS, Kind, Question, Random};

const SEED: u64 = 20_261_125;
const ROUNDS: usize = 11;
/// How many questions a slice of ours has for each one that a peer's has.
const MORE: usize = 100;

/// Something that answers questions which it has made ready before.
trait Peer {
    type Ready<'q>;

    const NAME: &'static str;

    fn build(access_points: usize) -> Self;
    fn ready<'q>(&self, question: &'q Question) -> Self::Ready<'q>;
    fn allows(&mut self, ready: &Self::Ready<'_>) -> bool;
}

struct Ours(Rulebook);

impl Peer for Ours {
    type Ready<'q> = Check<'q>;

    const NAME: &'static str = "aap";

    fn build(access_points: usize) -> Self {
        Self(world::rulebook(access_points))
    }

    fn ready<'q>(&self, question: &'q Question) -> Check<'q> {
        question.check()
    }

    fn allows(&mut self, check: &Check<'_>) -> bool {
        matches!(self.0.decide(check).decision, Decision::Allow(_))
    }
}

fn main() {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let (access_points, random_questions, slice) =
        if is_short { (20, 2_000, 200) } else { (1_000, 100_000, 2_000) };
    let mut bench = Bench {
        access_points,
        random: (0..random_questions)
            .scan(Random::new(SEED), |random, _| Some(any_question(random, access_points)))
            .collect(),
        slice,
        ours: Ours::build(access_points),
        least: f64::INFINITY,
    };
    println!(
        "\n{access_points} access points with {} policies of {} patterns and {} rules each;",
        world::POLICIES,
        world::PATTERNS,
        world::RULES
    );
    println!("ns a decision, medians of {ROUNDS} pairs of slices; how many times faster we are\n");
    println!("| question | peer | its ns | ours | times | least and most |");
    println!("|---|---|---:|---:|---:|---:|");
    bench.against::<Cedar>();
    bench.against::<Interpreter>();
    bench.against::<Machine>();
    bench.against::<Casbin>();
    println!("\nall agree on {random_questions} random questions");
    println!("the fastest peer over all kinds of questions takes {:.0} times as long", bench.least);
}

struct Bench {
    access_points: usize,
    random: Vec<Question>,
    slice: usize,
    ours: Ours,
    /// The least ratio over all kinds of questions.
    least: f64,
}

impl Bench {
    fn against<P: Peer>(&mut self) {
        let mut peer = P::build(self.access_points);
        self.agree(&mut peer);
        for kind in KINDS {
            self.compare(&mut peer, &kind.to_string(), &[*kind]);
        }
        let ratio = self.compare(&mut peer, "all", KINDS);
        self.least = self.least.min(ratio);
    }

    fn agree<P: Peer>(&mut self, peer: &mut P) {
        let mut allowed = 0;
        for question in &self.random {
            let ours = self.ours.allows(&question.check());
            let ready = peer.ready(question);
            assert_eq!(peer.allows(&ready), ours, "{} on {question:?}", P::NAME);
            allowed += usize::from(ours);
        }
        // Or they would agree on nothing much.
        assert!(allowed * 5 > self.random.len() && allowed * 5 < self.random.len() * 4);
    }

    fn compare<P: Peer>(&mut self, peer: &mut P, what: &str, kinds: &[Kind]) -> f64 {
        let mut random = Random::new(SEED);
        let questions = |length: usize, random: &mut Random| -> Vec<Question> {
            let question = |turn: usize| {
                Question::new(random.below(self.access_points), kinds[turn % kinds.len()])
            };
            (0..length).map(question).collect()
        };
        let theirs = questions(self.slice, &mut random);
        let ours = questions(self.slice * MORE, &mut random);
        let mut rounds: Vec<(f64, f64)> =
            (0..ROUNDS).map(|_| (time(peer, &theirs), time(&mut self.ours, &ours))).collect();
        let median = |rounds: &mut Vec<(f64, f64)>, of: fn(&(f64, f64)) -> f64| {
            rounds.sort_by(|one, other| of(one).total_cmp(&of(other)));
            (of(&rounds[0]), of(&rounds[ROUNDS / 2]), of(&rounds[ROUNDS - 1]))
        };
        let (_, theirs, _) = median(&mut rounds, |(theirs, _)| *theirs);
        let (_, ours, _) = median(&mut rounds, |(_, ours)| *ours);
        let (least, ratio, most) = median(&mut rounds, |(theirs, ours)| theirs / ours);
        let peer = P::NAME;
        println!(
            "| {what} | {peer} | {theirs:.0} | {ours:.0} | {ratio:.0} | {least:.0} to {most:.0} |"
        );
        ratio
    }
}

fn time<P: Peer>(peer: &mut P, questions: &[Question]) -> f64 {
    let ready: Vec<_> = questions.iter().map(|question| peer.ready(question)).collect();
    let began = Instant::now();
    for one in &ready {
        black_box(peer.allows(black_box(one)));
    }
    began.elapsed().as_nanos() as f64 / ready.len() as f64
}

/// A question in which each part fits or not, by chance.
fn any_question(random: &mut Random, access_points: usize) -> Question {
    let number = random.below(access_points);
    let mut question = Question::new(number, Kind::AllowFirst);
    let mut seldom = || random.below(12) == 0;
    if seldom() {
        question.access_point = Question::new(number, Kind::NotFound).access_point;
    } else if seldom() {
        question.access_point = Question::new(number, Kind::Suspended).access_point;
    }
    if seldom() {
        question.action = "Decrypt";
    }
    if seldom() {
        question.instance = "kst-other";
    }
    let other_app = if seldom() { number + 1 } else { number };
    let policy = random.below(world::POLICIES);
    let pattern = random.below(world::PATTERNS + 2);
    question.resource = match random.below(8) {
        0 => format!("secret/app-{other_app}/{policy}/data-{pattern}"),
        _ => format!("secret/app-{other_app}/{policy}/data-{pattern}/{}", random.below(1_000)),
    };
    let network = if random.below(12) == 0 { random.below(world::POLICIES) } else { policy };
    let host = 64 + random.below(70);
    question.address = format!("10.{network}.{}.{host}", random.below(world::RULES + 2));
    question
}
