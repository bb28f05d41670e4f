//! The rules of the public API, each held against the descriptor set, and its surface as a page.
//!
//! One test for each rule; a test that fails lists everything that breaks it. What the calls do is
//! not known here.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

#[path = "proto/api.rs"]
mod api;

use std::{collections::BTreeSet, fmt::Write as _};

use api::{Api, Element, Field, PACKAGE, Rpc};

const TIMESTAMP: &str = "google.protobuf.Timestamp";
const EMPTY: &str = "google.protobuf.Empty";

/// What the first word of a field's comment may be.
const BEHAVIORS: [&str; 6] =
    ["Required.", "Optional.", "Output only.", "Immutable.", "Identifier.", "Input only."];

/// The canonical codes that an error may have.
const CODES: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// RPCs that answer with something else than their name says. This list may only shrink.
const OTHER_RESOURCES: [(&str, &str); 1] = [
    // A record comes in the form that was asked for, or as damaged.
    ("AuditService.GetAuditRecord", "AuditEntry"),
];

/// Numbers that are neither used nor reserved. This list may only shrink.
const FREE_NUMBERS: [(&str, &[i32]); 3] = [
    // Tags of one byte, kept for what every kind of record has.
    ("AuditRecord", &[14, 15, 22, 23]),
    // Reasons of one area follow each other: these are for those of the logs.
    // Like the fields of their events.
    ("AuditRecordKind", &[7, 8]),
    ("ErrorReason", &[30, 31, 32, 33, 34, 35, 36, 37, 38, 39]),
];

/// Parts of names that only secrets have.
const SECRETS: [&str; 3] = ["password", "private_key", "secret_key"];

#[test]
fn every_element_has_a_comment_that_ends_with_a_full_stop() {
    let api = Api::read();
    let offenders = api.elements().filter(|element| !element.comment.ends_with('.'));
    assert_none(
        "every service, RPC, message, field, oneof, enum and value has a comment of sentences",
        offenders.map(Element::described),
    );
}

#[test]
fn a_comment_begins_in_the_third_person_and_leaves_its_subject_out() {
    let api = Api::read();
    let messages = api.messages.iter().map(|message| &message.element);
    let enums = api.enums.iter().map(|kind| &kind.element);
    let elements = api.rpcs().map(|rpc| &rpc.element).chain(messages).chain(enums);
    let offenders = elements.filter(|element| {
        let first_word = element.comment.split(' ').next().unwrap_or_default();
        ["This", "It", &element.short_name].contains(&first_word)
    });
    assert_none(
        "the comment of an RPC, a message or an enum says what it does, without naming it again",
        offenders.map(Element::described),
    );
}

#[test]
fn a_field_comment_begins_with_the_fields_behavior() {
    let api = Api::read();
    let offenders = api.fields().filter(|field| {
        let comment = &field.element.comment;
        !BEHAVIORS.iter().any(|behavior| comment.starts_with(&format!("{behavior} ")))
    });
    assert_none(
        &format!("a field's comment begins with one of {}", BEHAVIORS.join(" ")),
        offenders.map(|field| field.element.described()),
    );
}

#[test]
fn enum_values_carry_the_prefix_and_zero_is_unspecified() {
    let api = Api::read();
    let offenders = api.enums.iter().flat_map(|kind| {
        let prefix = upper_snake(&kind.element.short_name);
        kind.values.iter().filter(move |value| {
            let name = &value.element.short_name;
            let zero = format!("{prefix}_UNSPECIFIED");
            !name.starts_with(&format!("{prefix}_")) || (value.number == 0) != (*name == zero)
        })
    });
    assert_none(
        "values are `<ENUM>_…`, and zero, only zero, is `<ENUM>_UNSPECIFIED`",
        offenders.map(|value| value.element.name.clone()),
    );
}

#[test]
fn no_zero_value_allows() {
    let api = Api::read();
    let zeros = api.enums.iter().flat_map(|kind| &kind.values).filter(|value| value.number == 0);
    let offenders = zeros.filter(|value| {
        let name = &value.element.short_name;
        ["ALLOW", "ENABLED", "ACTIVE"].iter().any(|word| name.contains(word))
    });
    assert_none(
        "what is left out never means allow, enabled or active",
        offenders.map(|value| value.element.name.clone()),
    );
}

#[test]
fn times_are_timestamps_and_timestamps_are_named_time() {
    let api = Api::read();
    let offenders = api
        .fields()
        .filter(|field| (field.kind == TIMESTAMP) != field.element.short_name.ends_with("_time"));
    assert_none("a field is a Timestamp exactly if it is named `*_time`", offenders.map(typed));
}

#[test]
fn no_field_is_a_float() {
    let api = Api::read();
    let offenders = api.fields().filter(|field| ["float", "double"].contains(&&*field.kind));
    assert_none("there are no floats", offenders.map(typed));
}

#[test]
fn no_bool_allows() {
    let api = Api::read();
    let offenders = api
        .fields()
        .filter(|field| field.kind == "bool" && field.element.short_name.starts_with("allow"));
    assert_none("what decides is an enum, not a bool named `allow…`", offenders.map(typed));
}

#[test]
fn delete_returns_empty() {
    let api = Api::read();
    let offenders = api
        .rpcs()
        .filter(|rpc| rpc.element.short_name.starts_with("Delete") && rpc.response != EMPTY);
    assert_none("a Delete returns google.protobuf.Empty", offenders.map(signature));
}

#[test]
fn get_create_and_update_return_the_resource() {
    let api = Api::read();
    let offenders = api.rpcs().filter(|rpc| {
        let name = &rpc.element.short_name;
        let resource = ["Get", "Create", "Update"].iter().find_map(|verb| name.strip_prefix(verb));
        let other = OTHER_RESOURCES.contains(&(&rpc.element.name, &rpc.response));
        resource.is_some_and(|resource| rpc.response != resource && !other)
    });
    assert_none("a Get, a Create and an Update return the resource", offenders.map(signature));
}

#[test]
fn a_request_is_named_for_its_rpc() {
    let api = Api::read();
    let offenders =
        api.rpcs().filter(|rpc| rpc.request != format!("{}Request", rpc.element.short_name));
    assert_none("an RPC takes `<Rpc>Request`", offenders.map(signature));
}

#[test]
fn nothing_that_is_read_holds_a_secret() {
    let api = Api::read();
    let mut offenders = BTreeSet::new();
    for rpc in api.rpcs() {
        let reads =
            ["Get", "List", "Watch"].iter().any(|verb| rpc.element.short_name.starts_with(verb));
        for message in api.reachable(&rpc.response).iter().filter(|_| reads) {
            let secrets = message.fields.iter().filter(|field| {
                SECRETS.iter().any(|secret| field.element.short_name.contains(secret))
            });
            offenders
                .extend(secrets.map(|field| format!("{}: {}", rpc.element.name, typed(field))));
        }
    }
    assert_none("no Get, List or Watch can return a secret", offenders);
}

#[test]
fn every_error_reason_documents_its_code_and_its_keys() {
    let api = Api::read();
    let reasons = api.enums.iter().find(|kind| kind.element.name == "ErrorReason").unwrap();
    let offenders = reasons.values.iter().filter(|value| value.number != 0).filter(|value| {
        let comment = &value.element.comment;
        let code = comment.split_once(". ").map(|(code, _)| code).unwrap_or_default();
        !CODES.contains(&code) || !comment.contains(" Keys: ")
    });
    assert_none(
        "an error reason's comment begins with its canonical code and names its metadata `Keys:`",
        offenders.map(|value| value.element.described()),
    );
}

#[test]
fn numbers_have_no_gaps() {
    let api = Api::read();
    let messages = api.messages.iter().flat_map(|message| {
        let used = message.fields.iter().map(|field| field.number);
        gaps(&message.element, 1, &used.chain(message.reserved.iter().copied()).collect())
    });
    let enums = api.enums.iter().flat_map(|kind| {
        let used = kind.values.iter().map(|value| value.number);
        gaps(&kind.element, 0, &used.chain(kind.reserved.iter().copied()).collect())
    });
    assert_none(
        "the numbers of fields and values are contiguous or reserved",
        messages.chain(enums),
    );
}

#[test]
fn every_exception_is_needed() {
    let api = Api::read();
    let resources = OTHER_RESOURCES.iter().filter(|(name, response)| {
        !api.rpcs().any(|rpc| rpc.element.name == *name && rpc.response == *response)
    });
    let numbers = FREE_NUMBERS.iter().filter(|(name, free)| {
        let messages = api.messages.iter().filter(|message| message.element.name == *name);
        let fields = messages.flat_map(|message| message.fields.iter().map(|field| field.number));
        let enums = api.enums.iter().filter(|kind| kind.element.name == *name);
        let values = enums.flat_map(|kind| kind.values.iter().map(|value| value.number));
        let used: BTreeSet<_> = fields.chain(values).collect();
        free.iter().all(|number| used.contains(number))
    });
    assert_none(
        "an exception that no rule needs any more is deleted",
        resources.map(|(name, _)| *name).chain(numbers.map(|(name, _)| *name)),
    );
}

#[test]
fn the_public_package_does_not_import_the_stored_one() {
    let api = Api::read();
    let imports = api.imports.iter().filter(|(_, import)| import.starts_with("aap/store/"));
    assert_none(
        &format!("{PACKAGE} never imports aap.store: the wire and the disk have their own types"),
        imports.map(|(file, import)| format!("{file} imports {import}")),
    );
}

#[test]
fn the_surface_is_the_page_in_the_snapshot() {
    expect_test::expect_file!["snapshots/api.txt"].assert_eq(&surface(&Api::read()));
}

/// Fails with every offender at once.
#[track_caller]
fn assert_none<T: ToString>(rule: &str, offenders: impl IntoIterator<Item = T>) {
    let offenders: Vec<_> = offenders.into_iter().map(|offender| offender.to_string()).collect();
    assert!(offenders.is_empty(), "{rule}; these break it:\n  {}", offenders.join("\n  "));
}

impl Element {
    fn described(&self) -> String {
        let comment = if self.comment.is_empty() { "(no comment)" } else { &self.comment };
        format!("{}: {comment}", self.name)
    }
}

fn typed(field: &Field) -> String {
    format!("{}: {}", field.element.name, field.kind)
}

fn signature(rpc: &Rpc) -> String {
    let request_stream = if rpc.client_streaming { "stream " } else { "" };
    let response_stream = if rpc.server_streaming { "stream " } else { "" };
    let name = &rpc.element.name;
    format!("{name}({request_stream}{}) -> {response_stream}{}", rpc.request, rpc.response)
}

/// `TrustedRole` as `TRUSTED_ROLE`.
fn upper_snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

fn gaps(element: &Element, first: i32, used: &BTreeSet<i32>) -> Vec<String> {
    let free = FREE_NUMBERS.iter().filter(|(name, _)| *name == element.name);
    let free: BTreeSet<_> = free.flat_map(|(_, numbers)| *numbers).collect();
    let last = used.last().copied().unwrap_or(first - 1);
    let missing = (first..last).filter(|number| !used.contains(number) && !free.contains(number));
    missing.map(|number| format!("{}: {number}", element.name)).collect()
}

/// The whole API on one page, in an order that only its own changes change.
fn surface(api: &Api) -> String {
    let mut page = format!("package {PACKAGE}\n");
    for service in &api.services {
        writeln!(page, "\nservice {}", service.element.name).unwrap();
        for rpc in &service.rpcs {
            writeln!(page, "  {}", signature(rpc).split_once('.').unwrap().1).unwrap();
        }
    }
    for message in &api.messages {
        writeln!(page, "\nmessage {}", message.element.name).unwrap();
        let mut fields: Vec<_> = message.fields.iter().collect();
        fields.sort_by_key(|field| field.number);
        for field in fields {
            writeln!(page, "  {}", line(field)).unwrap();
        }
        for number in &message.reserved {
            writeln!(page, "  {number} reserved").unwrap();
        }
    }
    for kind in &api.enums {
        writeln!(page, "\nenum {}", kind.element.name).unwrap();
        for value in &kind.values {
            writeln!(page, "  {} {}", value.number, value.element.short_name).unwrap();
        }
        for number in &kind.reserved {
            writeln!(page, "  {number} reserved").unwrap();
        }
    }
    page
}

fn line(field: &Field) -> String {
    let label = match field {
        Field { repeated: true, .. } => " [repeated]".to_owned(),
        Field { optional: true, .. } => " [optional]".to_owned(),
        Field { oneof: Some(oneof), .. } => format!(" [oneof {oneof}]"),
        _ => String::new(),
    };
    format!("{} {}: {}{label}", field.number, field.element.short_name, field.kind)
}
