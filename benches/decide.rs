//! One decision in process, against the number of access points.
//!
//! Each access point has three policies of its own, each with 30 patterns and 40 network rules of its
//! own. Questions are built before the clock runs. "Hot" asks about 1,000 access points chosen by a
//! seed, "uniform" about all of them in random order, which is what memory latency costs.
//!
//! ```text
//! cargo bench --bench decide                      # 10 to 100,000 access points; needs about 10 GB
//! cargo bench --bench decide -- --short           # up to 1,000
//! cargo bench --bench decide -- --instructions   # what a decision costs, under valgrind
//! cargo bench --bench decide -- --once KIND COUNT # one kind of question alone, for a profiler
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    reason = "bench code"
)]

#[path = "support/callgrind.rs"]
mod callgrind;
#[path = "support/plot.rs"]
mod plot;
#[path = "support/world.rs"]
mod world;

use std::{fs, hint::black_box, process::Command, time::Instant};

use aap::domain::rulebook::Rulebook;

use plot::{Line, Plot};
use world::{KINDS, Kind, Question, Random};

const SEED: u64 = 20_261_124;
const HOT: usize = 1_000;
/// How many questions a slice asks, and how many slices there are.
const SLICE: usize = 100_000;
const SLICES: usize = 15;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--once") {
        return once(&arguments[place + 1], arguments[place + 2].parse().unwrap());
    }
    if arguments.iter().any(|argument| argument == "--instructions") {
        return instructions();
    }
    let is_short = arguments.iter().any(|argument| argument == "--short");
    let sizes: &[usize] =
        if is_short { &[10, 100, 1_000] } else { &[10, 100, 1_000, 10_000, 100_000] };
    println!("\nns a decision: medians of {SLICES} slices of {SLICE}\n");
    print!("| access points |");
    for kind in KINDS {
        print!(" {kind} |");
    }
    println!(" all, hot | all, uniform |");
    println!("|---:|{}---:|---:|", "---:|".repeat(KINDS.len()));
    let (mut hot_line, mut uniform_line) = (Vec::new(), Vec::new());
    for &size in sizes {
        let rulebook = world::rulebook(size);
        let mut random = Random::new(SEED);
        print!("| {size} |");
        for kind in KINDS {
            let questions = hot(&mut random, size, &[*kind]);
            print!(" {:.0} |", measure(&rulebook, &questions));
        }
        let all = measure(&rulebook, &hot(&mut random, size, KINDS));
        let uniform = measure(&rulebook, &uniform(&mut random, size));
        println!(" {all:.0} | {uniform:.0} |");
        hot_line.push((size as f64, all));
        uniform_line.push((size as f64, uniform));
    }
    let last = |line: &[(f64, f64)]| line.last().unwrap().1;
    let ratio = last(&hot_line) / hot_line[0].1;
    println!("\nhot, the most access points : 10 access points = {ratio:.2}");
    let plot = Plot {
        title: "One decision against the number of access points",
        horizontal: "access points",
        vertical: "ns a decision (median)",
        lines: vec![
            Line { name: "1,000 hot ones".to_owned(), points: hot_line },
            Line { name: "uniform over all".to_owned(), points: uniform_line },
        ],
    };
    plot.draw("target/decide.svg");
    println!("plot: target/decide.svg");
}

/// Asks one kind of question so many times, so that a profiler sees nothing else.
fn once(kind: &str, count: usize) {
    let kind = *KINDS.iter().find(|one| one.to_string() == kind).expect("a kind of question");
    let rulebook = world::rulebook(10);
    let questions = hot(&mut Random::new(SEED), 10, &[kind]);
    let checks: Vec<_> = questions.iter().map(Question::check).collect();
    for check in checks.iter().cycle().take(count) {
        black_box(rulebook.decide(black_box(check)));
    }
}

/// How many instructions a decision costs: valgrind counts two runs that differ by decisions alone.
fn instructions() {
    let program = std::env::current_exe().unwrap();
    let out = program.with_extension("callgrind");
    println!("\n| decision | instructions |\n|---|---:|");
    for kind in KINDS {
        let counted = [10_000, 110_000].map(|count: usize| {
            let [valgrind, arguments @ ..] = callgrind::command(&out);
            let mut command = Command::new(valgrind);
            command.args(arguments).arg(&program);
            command.args(["--once", &kind.to_string(), &count.to_string()]);
            let output = command.output().expect("valgrind is installed");
            assert!(output.status.success(), "{output:?}");
            callgrind::total(&out)
        });
        println!("| {kind} | {:.0} |", (counted[1] - counted[0]) / 100_000.0);
    }
    fs::remove_file(&out).unwrap();
}

/// Questions about access points chosen once, of kinds that take turns.
fn hot(random: &mut Random, size: usize, kinds: &[Kind]) -> Vec<Question> {
    let chosen: Vec<_> = (0..HOT.min(size)).map(|_| random.below(size)).collect();
    let question = |turn: usize| {
        let number = chosen[random.below(chosen.len())];
        Question::new(number, kinds[turn % kinds.len()])
    };
    (0..SLICE).map(question).collect()
}

fn uniform(random: &mut Random, size: usize) -> Vec<Question> {
    (0..SLICE).map(|turn| Question::new(random.below(size), KINDS[turn % KINDS.len()])).collect()
}

/// The median of ns a decision.
fn measure(rulebook: &Rulebook, questions: &[Question]) -> f64 {
    for question in questions {
        question.verify(rulebook);
    }
    let mut slices: Vec<f64> = (0..SLICES).map(|_| ask(rulebook, questions)).collect();
    slices.sort_by(f64::total_cmp);
    slices[SLICES / 2]
}

fn ask(rulebook: &Rulebook, questions: &[Question]) -> f64 {
    let checks: Vec<_> = questions.iter().map(Question::check).collect();
    let began = Instant::now();
    for check in &checks {
        black_box(rulebook.decide(black_box(check)));
    }
    began.elapsed().as_nanos() as f64 / checks.len() as f64
}
