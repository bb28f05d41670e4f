//! `aap apply` and `aap diff`: what there is, made or compared to what documents say.
//!
//! A plan is made from what the server has now, and each step of it says by an etag what it was made
//! from: whoever changes something in between stops the whole, and nobody's change is lost.

mod plan;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::api::pb;

use super::{
    documents,
    failure::{Exit, Failure},
    forms::Forms,
    import,
    manage::warn,
    output::{Format, Output, Style, clean, print_values, styled},
    remote::{Connection, Remote, block_on},
    resource, say,
};
pub(super) use plan::Step;
use plan::{Plan, Verb};

/// The most changes that are made at once.
const BATCH: usize = 1_000;

/// What is wanted.
#[derive(Args, Debug)]
struct Wanted {
    /// The directory with the documents, as `aap export` writes them or in YAML: every `.json`,
    /// `.yaml` or `.yml` file in it and below it; or one file.
    #[arg(long, short, value_name = "PATH")]
    file: PathBuf,
    /// What is in the documents' regions and in no document is a difference, too; RAM roles where
    /// there are documents of the account's RAM roles.
    #[arg(long)]
    prune: bool,
}

/// What to compare.
#[derive(Args, Debug)]
pub(super) struct DiffArguments {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// What to make, and how.
#[derive(Args, Debug)]
pub(super) struct ApplyArguments {
    #[command(flatten)]
    wanted: Wanted,
    /// Have the server judge the plan, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Make more than 1,000 changes of an account in several steps, each of which is made whole or
    /// not at all.
    #[arg(long)]
    in_steps: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// Says what differs.
pub(super) fn diff(arguments: &DiffArguments) -> anyhow::Result<Option<Exit>> {
    let forms = Forms::load()?;
    let DiffArguments { wanted: Wanted { file, prune }, output, remote } = arguments;
    let target = remote.target()?;
    let documents = documents::wanted(&import::read(file)?)?;
    let plan =
        block_on(async { Plan::make(&target.connect().await?, &forms, &documents, *prune).await })?;
    print(output.format, &plan)?;
    Ok((!plan.steps.is_empty()).then_some(Exit::Different))
}

/// Makes what there is be as documents say.
pub(super) fn apply(arguments: &ApplyArguments) -> anyhow::Result<()> {
    let ApplyArguments { wanted, dry_run, in_steps, output, remote } = arguments;
    let forms = Forms::load()?;
    let target = remote.target()?;
    let documents = documents::wanted(&import::read(&wanted.file)?)?;
    block_on(async {
        let connection = target.connect().await?;
        let plan = Plan::make(&connection, &forms, &documents, wanted.prune).await?;
        let batches = plan.batches(BATCH);
        if let Some((account, _)) = batches.iter().find(|(account, steps)| {
            let others = batches.iter().filter(|(other, _)| other == account).count();
            others > 1 && !in_steps && !steps.is_empty()
        }) {
            let message = format!("`{account}` needs more than {BATCH} changes");
            let remedy = "they can't be made all or none; `--in-steps` makes them in several steps";
            return Err(Failure::invalid(message, vec![remedy.to_owned()]).into());
        }
        print(output.format, &plan)?;
        // Where there are several, each first one is judged before any is made.
        let mut judged = Vec::new();
        for (account, steps) in &batches {
            if !judged.contains(account) && (*dry_run || batches.len() > 1) {
                judged.push(account.clone());
                let answer = send(&connection, account, steps, Mode::Judge).await?;
                if *dry_run {
                    warn(&answer.warnings, &names_of(steps));
                }
            }
        }
        if *dry_run {
            return Ok(());
        }
        for (account, steps) in &batches {
            let answer = send(&connection, account, steps, Mode::Make("")).await?;
            warn(&answer.warnings, &names_of(steps));
            let last = answer.changes.last().map_or(0, |change| change.revision);
            if output.format == Format::Table {
                say(format_args!("applied {}; the last is revision {last}", changes(steps.len())));
            }
        }
        Ok(())
    })
}

/// What the server is to do with changes.
#[derive(Clone, Copy)]
pub(super) enum Mode<'a> {
    /// Judge them only.
    Judge,
    /// Make them; by this id they are known again, if there is one.
    Make(&'a str),
}

/// Has steps judged or made, all or none. What is wrong is told by the names of what they are about.
pub(super) async fn send(
    connection: &Connection,
    account: &str,
    steps: &[&Step],
    mode: Mode<'_>,
) -> anyhow::Result<pb::ApplyChangesResponse> {
    let changes = steps.iter().map(|step| step.wanted.clone()).collect();
    let how = match mode {
        Mode::Judge => (true, String::new()),
        Mode::Make(request_id) => (false, request_id.to_owned()),
    };
    let answer = resource::try_to_apply(connection, account.to_owned(), changes, how).await;
    Ok(answer.map_err(|status| Failure::of_changes(&status, &names_of(steps)))?)
}

/// The full names of what steps are about.
pub(super) fn names_of<'a>(steps: &[&'a Step]) -> Vec<&'a str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

fn changes(count: usize) -> String {
    if count == 1 { "1 change".to_owned() } else { format!("{count} changes") }
}

fn print(format: Format, plan: &Plan) -> anyhow::Result<()> {
    match format {
        Format::Table => {
            for step in &plan.steps {
                print_step(step);
            }
        }
        Format::Name => {
            for step in &plan.steps {
                say(&step.name);
            }
        }
        Format::Json | Format::Yaml => {
            let values: Vec<_> = plan.steps.iter().map(value).collect();
            return print_values(format, &values);
        }
    }
    if format == Format::Table {
        let count = |verb: Verb| plan.steps.iter().filter(|step| step.verb == verb).count();
        say(match plan.steps.len() {
            0 => format!("no difference: {} documents", plan.documents),
            _ => format!(
                "{}: {} to create, {} to update, {} to suspend or resume, {} to delete",
                changes(plan.steps.len()),
                count(Verb::Create),
                count(Verb::Update),
                count(Verb::Suspend) + count(Verb::Resume),
                count(Verb::Delete)
            ),
        });
    }
    Ok(())
}

fn print_step(step: &Step) {
    let (mark, style) = match step.verb {
        Verb::Create => ("+", Style::Good),
        Verb::Update => ("~", Style::Odd),
        Verb::Suspend => ("suspend", Style::Odd),
        Verb::Resume => ("resume", Style::Odd),
        Verb::Delete => ("-", Style::Bad),
    };
    say(format_args!("{} {}", styled(style, mark), clean(&step.name)));
    for (field, before, after) in &step.differences {
        let text =
            |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        say(format_args!("    {field}: {} -> {}", clean(&text(before)), clean(&text(after))));
    }
}

fn value(step: &Step) -> Value {
    let differences: Vec<_> = step
        .differences
        .iter()
        .map(|(field, before, after)| json!({"field": field, "before": before, "after": after}))
        .collect();
    json!({"action": step.verb.word(), "name": step.name, "differences": differences})
}
