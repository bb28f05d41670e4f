//! The public API as the descriptor set tells it: every element with its full name and its comment.
//!
//! It judges nothing: the rules are in the file that includes this one.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto, field_descriptor_proto::Type,
};

/// The package that the rules are about.
pub(crate) const PACKAGE: &str = "aap.v1";

/// Comments by the path of numbers that leads to an element in its file.
type Comments = BTreeMap<Vec<i32>, String>;

/// What the package has, each kind sorted by name.
pub(crate) struct Api {
    pub(crate) services: Vec<Service>,
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    /// Every file that a file of the package imports, as `importer imports imported`.
    pub(crate) imports: Vec<(String, String)>,
}

/// What every element has.
pub(crate) struct Element {
    /// Its name, with what it is part of in front: `Policy.name`.
    pub(crate) name: String,
    /// The last part of its name.
    pub(crate) short_name: String,
    /// Its comment on one line; empty if it has none.
    pub(crate) comment: String,
}

pub(crate) struct Service {
    pub(crate) element: Element,
    pub(crate) rpcs: Vec<Rpc>,
}

pub(crate) struct Rpc {
    pub(crate) element: Element,
    pub(crate) request: String,
    pub(crate) response: String,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
}

pub(crate) struct Message {
    pub(crate) element: Element,
    pub(crate) fields: Vec<Field>,
    pub(crate) oneofs: Vec<Element>,
    pub(crate) reserved: BTreeSet<i32>,
}

pub(crate) struct Field {
    pub(crate) element: Element,
    pub(crate) number: i32,
    /// The type as it is written in a file of the package.
    pub(crate) kind: String,
    pub(crate) repeated: bool,
    pub(crate) optional: bool,
    pub(crate) oneof: Option<String>,
}

pub(crate) struct Enum {
    pub(crate) element: Element,
    pub(crate) values: Vec<Value>,
    pub(crate) reserved: BTreeSet<i32>,
}

pub(crate) struct Value {
    pub(crate) element: Element,
    pub(crate) number: i32,
}

impl Api {
    /// Reads the descriptor set of the library.
    pub(crate) fn read() -> Self {
        let set = FileDescriptorSet::decode(aap::api::FILE_DESCRIPTOR_SET).unwrap();
        let mut api =
            Self { services: Vec::new(), messages: Vec::new(), enums: Vec::new(), imports: vec![] };
        for file in set.file.iter().filter(|file| file.package() == PACKAGE) {
            api.read_file(file);
        }
        assert!(!api.messages.is_empty(), "the descriptor set has nothing of {PACKAGE}");
        api.services.sort_by(|one, other| one.element.name.cmp(&other.element.name));
        api.messages.sort_by(|one, other| one.element.name.cmp(&other.element.name));
        api.enums.sort_by(|one, other| one.element.name.cmp(&other.element.name));
        api
    }

    /// Every element of every kind.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &Element> {
        let services = self.services.iter().map(|service| &service.element);
        let messages = self.messages.iter().flat_map(|message| {
            let fields = message.fields.iter().map(|field| &field.element);
            [&message.element].into_iter().chain(fields).chain(&message.oneofs)
        });
        let enums = self.enums.iter().flat_map(|kind| {
            [&kind.element].into_iter().chain(kind.values.iter().map(|value| &value.element))
        });
        services.chain(self.rpcs().map(|rpc| &rpc.element)).chain(messages).chain(enums)
    }

    pub(crate) fn rpcs(&self) -> impl Iterator<Item = &Rpc> {
        self.services.iter().flat_map(|service| &service.rpcs)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.messages.iter().flat_map(|message| &message.fields)
    }

    /// The messages that a message can contain, itself included.
    pub(crate) fn reachable(&self, from: &str) -> Vec<&Message> {
        let mut reached: Vec<&Message> = Vec::new();
        let mut next = vec![from];
        while let Some(name) = next.pop() {
            let known = reached.iter().any(|message| message.element.name == name);
            let Some(message) = self.messages.iter().find(|message| message.element.name == name)
            else {
                continue;
            };
            if !known {
                reached.push(message);
                next.extend(message.fields.iter().map(|field| field.kind.as_str()));
            }
        }
        reached
    }

    fn read_file(&mut self, file: &FileDescriptorProto) {
        let comments = comments(file);
        let imports = file.dependency.iter().map(|import| (file.name().into(), import.clone()));
        self.imports.extend(imports);
        for (index, service) in indexed(&file.service) {
            self.services.push(read_service(service, &[6, index], &comments));
        }
        for (index, message) in indexed(&file.message_type) {
            self.read_message(message, "", &[4, index], &comments);
        }
        for (index, kind) in indexed(&file.enum_type) {
            self.enums.push(read_enum(kind, "", &[5, index], &comments));
        }
    }

    fn read_message(
        &mut self,
        message: &DescriptorProto,
        outer: &str,
        path: &[i32],
        comments: &Comments,
    ) {
        if message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
            return;
        }
        let element = element(outer, message.name(), path, comments);
        for (index, nested) in indexed(&message.nested_type) {
            self.read_message(nested, &element.name, &join(path, [3, index]), comments);
        }
        for (index, kind) in indexed(&message.enum_type) {
            self.enums.push(read_enum(kind, &element.name, &join(path, [4, index]), comments));
        }
        let fields = indexed(&message.field)
            .map(|(index, field)| {
                read_field(field, message, &element.name, &join(path, [2, index]), comments)
            })
            .collect();
        let oneofs = indexed(&message.oneof_decl)
            .filter(|(index, _)| !is_synthetic(message, *index))
            .map(|(index, oneof)| {
                self::element(&element.name, oneof.name(), &join(path, [8, index]), comments)
            })
            .collect();
        let reserved = message.reserved_range.iter().flat_map(|range| range.start()..range.end());
        self.messages.push(Message { fields, oneofs, reserved: reserved.collect(), element });
    }
}

fn read_service(service: &ServiceDescriptorProto, path: &[i32], comments: &Comments) -> Service {
    let element = element("", service.name(), path, comments);
    let rpcs = indexed(&service.method)
        .map(|(index, method)| read_rpc(method, &element.name, &join(path, [2, index]), comments))
        .collect();
    Service { element, rpcs }
}

fn read_rpc(
    method: &MethodDescriptorProto,
    service: &str,
    path: &[i32],
    comments: &Comments,
) -> Rpc {
    Rpc {
        element: element(service, method.name(), path, comments),
        request: type_name(method.input_type()),
        response: type_name(method.output_type()),
        client_streaming: method.client_streaming(),
        server_streaming: method.server_streaming(),
    }
}

fn read_field(
    field: &FieldDescriptorProto,
    message: &DescriptorProto,
    outer: &str,
    path: &[i32],
    comments: &Comments,
) -> Field {
    let kind = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => type_name(field.type_name()),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let oneof = field
        .oneof_index
        .filter(|_| !field.proto3_optional())
        .map(|index| message.oneof_decl[usize::try_from(index).unwrap()].name().to_owned());
    Field {
        element: element(outer, field.name(), path, comments),
        number: field.number(),
        kind,
        repeated: field.label() == prost_types::field_descriptor_proto::Label::Repeated,
        optional: field.proto3_optional(),
        oneof,
    }
}

fn read_enum(kind: &EnumDescriptorProto, outer: &str, path: &[i32], comments: &Comments) -> Enum {
    let element = element(outer, kind.name(), path, comments);
    let values = indexed(&kind.value)
        .map(|(index, value)| Value {
            element: self::element(&element.name, value.name(), &join(path, [2, index]), comments),
            number: value.number(),
        })
        .collect();
    let reserved = kind.reserved_range.iter().flat_map(|range| range.start()..=range.end());
    Enum { values, reserved: reserved.collect(), element }
}

/// A oneof that stands only for the word `optional`.
fn is_synthetic(message: &DescriptorProto, oneof: i32) -> bool {
    message.field.iter().any(|field| field.oneof_index == Some(oneof) && field.proto3_optional())
}

fn comments(file: &FileDescriptorProto) -> Comments {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations
        .map(|location| {
            let words: Vec<_> = location.leading_comments().split_whitespace().collect();
            (location.path.clone(), words.join(" "))
        })
        .collect()
}

fn element(outer: &str, name: &str, path: &[i32], comments: &Comments) -> Element {
    Element {
        name: if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") },
        short_name: name.to_owned(),
        comment: comments.get(path).cloned().unwrap_or_default(),
    }
}

/// A type's name without a leading dot, and without the package if it is ours.
fn type_name(full: &str) -> String {
    let full = full.trim_start_matches('.');
    full.strip_prefix(PACKAGE).and_then(|name| name.strip_prefix('.')).unwrap_or(full).to_owned()
}

fn indexed<T>(items: &[T]) -> impl Iterator<Item = (i32, &T)> {
    (0..).zip(items)
}

fn join(path: &[i32], step: [i32; 2]) -> Vec<i32> {
    [path, &step].concat()
}
