//! What holds for every rulebook and every question.

use proptest::{prelude::*, sample::Index};

use super::Rulebook;
use crate::domain::{
    catalog::Catalog,
    command::Command,
    rules::RulesVersion,
    testing::{
        HOME, World, answer, create_access_point, create_network_rule,
        histories::{AnyQuestion, POLICIES, any_history, any_policy, any_question},
        reference,
    },
};

fn replayed(world: &World) -> Rulebook {
    let mut rulebook = Rulebook::new(RulesVersion::CURRENT);
    let mut catalog = Catalog::default();
    for event in &world.events {
        catalog.evolve(event);
        rulebook.evolve(event, &catalog);
    }
    rulebook
}

/// The four network rules that random policies name, none of them private: any policy may hold
/// them.
fn network_rules() -> [Command; 4] {
    [
        create_network_rule("n0", "public", "10.0.0.0/8 fd00::/8"),
        create_network_rule("n1", "public", "0.0.0.0/0"),
        create_network_rule("n2", "vpc-1", "10.1.0.0/16"),
        create_network_rule("n3", "vpc-2", "10.0.0.0/8 ::/0"),
    ]
}

/// Three policies, `p0` to `p2`, with anything that a policy can say.
fn any_three_policies() -> impl Strategy<Value = Vec<Command>> {
    let names = POLICIES.iter().take(3).map(|id| format!("{HOME}/policies/{id}"));
    names.map(any_policy).collect::<Vec<_>>()
}

/// Questions to ask one after the other.
fn any_questions() -> impl Strategy<Value = Vec<AnyQuestion>> {
    prop::collection::vec(any_question(), 1..40)
}

/// The world of one access point, `app`, that holds these policies in this order.
fn world_with(policies: &[Command], order: &[&str]) -> World {
    let mut world = World::given(network_rules());
    for policy in policies {
        world.carry_out(policy.clone());
    }
    world.carry_out(create_access_point("app", &order.join(" ")));
    world
}

fn allows(world: &World, question: &AnyQuestion) -> bool {
    world.answer(&question.about("app")).outcome.allows()
}

const ORDER: [&str; 3] = ["p0", "p1", "p2"];

proptest! {
    #[test]
    fn the_rulebook_answers_as_the_specification_says(
        steps in any_history(),
        questions in any_questions(),
    ) {
        let mut world = World::given([]);
        for step in steps {
            world.step(step);
            for question in questions.iter().map(AnyQuestion::ask) {
                let specified = reference::answer(&world.catalog, &question);
                prop_assert_eq!(world.answer(&question), specified, "{:?}", question);
            }
        }
    }

    #[test]
    fn a_replayed_journal_gives_the_same_answers(
        steps in any_history(),
        questions in any_questions(),
    ) {
        let mut world = World::given([]);
        for step in steps {
            world.step(step);
        }
        let replayed = replayed(&world);
        for question in questions.iter().map(AnyQuestion::ask) {
            let again = answer(&replayed, &question);
            prop_assert_eq!(world.answer(&question), again, "{:?}", question);
        }
    }

    #[test]
    fn a_rulebook_that_was_published_never_changes_its_answers(
        before in any_history(),
        after in any_history(),
        questions in any_questions(),
    ) {
        let mut world = World::given([]);
        for step in before {
            world.step(step);
        }
        let published = world.rulebook.clone();
        let answers: Vec<_> = questions.iter().map(|q| world.answer(&q.ask())).collect();
        for step in after {
            world.step(step);
        }
        for (question, given) in questions.iter().zip(answers) {
            prop_assert_eq!(answer(&published, &question.ask()), given);
        }
    }

    #[test]
    fn the_order_of_an_access_points_policies_does_not_change_the_outcome(
        policies in any_three_policies(),
        order in Just(ORDER).prop_shuffle(),
        questions in any_questions(),
    ) {
        let (one, other) = (world_with(&policies, &ORDER), world_with(&policies, &order));
        for question in &questions {
            prop_assert_eq!(allows(&one, question), allows(&other, question), "{:?}", question);
        }
    }

    #[test]
    fn one_more_policy_never_turns_an_allow_into_a_deny(
        policies in any_three_policies(),
        place in any::<Index>(),
        count in 1usize..3,
        questions in any_questions(),
    ) {
        let fewer: Vec<_> = ORDER.iter().copied().take(count).collect();
        let mut more = fewer.clone();
        more.insert(place.index(count + 1), "p2");
        let (fewer, more) = (world_with(&policies, &fewer), world_with(&policies, &more));
        for question in &questions {
            prop_assert!(!allows(&fewer, question) || allows(&more, question), "{:?}", question);
        }
    }

    #[test]
    fn one_policy_less_never_turns_a_deny_into_an_allow(
        policies in any_three_policies(),
        place in any::<Index>(),
        questions in any_questions(),
    ) {
        let mut fewer = ORDER.to_vec();
        fewer.remove(place.index(ORDER.len()));
        let (all, fewer) = (world_with(&policies, &ORDER), world_with(&policies, &fewer));
        for question in &questions {
            prop_assert!(allows(&all, question) || !allows(&fewer, question), "{:?}", question);
        }
    }
}
