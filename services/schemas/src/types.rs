//! Looking at descriptors: every message and enum of a set by its full name, and what refers to what.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label, Type as FieldType};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// A message or an enum.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type<'a> {
    Message(&'a DescriptorProto),
    Enum(&'a EnumDescriptorProto),
}

/// Every type of a set, by full name without the leading dot.
pub(crate) fn all(set: &FileDescriptorSet) -> BTreeMap<String, Type<'_>> {
    let mut found = BTreeMap::new();
    for file in &set.file {
        let scope = file.package().to_owned();
        for message in &file.message_type {
            collect(&scope, message, &mut found);
        }
        for enumeration in &file.enum_type {
            found.insert(join(&scope, enumeration.name()), Type::Enum(enumeration));
        }
    }
    found
}

fn collect<'a>(scope: &str, message: &'a DescriptorProto, found: &mut BTreeMap<String, Type<'a>>) {
    let name = join(scope, message.name());
    for nested in &message.nested_type {
        collect(&name, nested, found);
    }
    for nested in &message.enum_type {
        found.insert(join(&name, nested.name()), Type::Enum(nested));
    }
    found.insert(name, Type::Message(message));
}

/// A name within a scope.
pub(crate) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// Names of the types that a message's fields have, those of nested messages too.
pub(crate) fn mentioned(message: &DescriptorProto) -> Vec<&str> {
    let own = message.field.iter().filter_map(|field| field.type_name.as_deref());
    let nested = message.nested_type.iter().flat_map(mentioned);
    own.chain(nested).map(|name| name.trim_start_matches('.')).collect()
}

/// Whether a file comes with every compiler and registry.
pub(crate) fn is_well_known(file: &FileDescriptorProto) -> bool {
    file.name().starts_with("google/protobuf/")
}

/// The fields of an entry, if the field is a map.
pub(crate) fn map_entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<(&'a FieldDescriptorProto, &'a FieldDescriptorProto)> {
    let name = field.type_name().rsplit('.').next()?;
    let is_entry = |nested: &&DescriptorProto| {
        nested.name() == name && nested.options.as_ref().is_some_and(|options| options.map_entry())
    };
    match message.nested_type.iter().find(is_entry)?.field.as_slice() {
        [key, value] => Some((key, value)),
        _ => None,
    }
}

/// The type of a field as it is written: `string`, or the full name of a message or an enum.
pub(crate) fn type_name(field: &FieldDescriptorProto) -> String {
    let scalar = match field.r#type() {
        FieldType::Double => "double",
        FieldType::Float => "float",
        FieldType::Int64 => "int64",
        FieldType::Uint64 => "uint64",
        FieldType::Int32 => "int32",
        FieldType::Fixed64 => "fixed64",
        FieldType::Fixed32 => "fixed32",
        FieldType::Bool => "bool",
        FieldType::String => "string",
        FieldType::Bytes => "bytes",
        FieldType::Uint32 => "uint32",
        FieldType::Sfixed32 => "sfixed32",
        FieldType::Sfixed64 => "sfixed64",
        FieldType::Sint32 => "sint32",
        FieldType::Sint64 => "sint64",
        FieldType::Group | FieldType::Message | FieldType::Enum => {
            return field.type_name().trim_start_matches('.').to_owned();
        }
    };
    scalar.to_owned()
}

/// How many values a field has, and whether it tells none from a default.
pub(crate) fn cardinality(field: &FieldDescriptorProto) -> &'static str {
    match (field.label(), field.proto3_optional()) {
        (Label::Repeated, _) => "repeated",
        (Label::Required, _) => "required",
        (Label::Optional, true) => "optional",
        (Label::Optional, false) => "singular",
    }
}

/// The oneof that a field is in; none for the one that stands behind `optional`.
pub(crate) fn oneof<'a>(message: &'a DescriptorProto, field: &FieldDescriptorProto) -> Option<&'a str> {
    let index = usize::try_from(field.oneof_index?).ok()?;
    if field.proto3_optional() { None } else { message.oneof_decl.get(index).map(|oneof| oneof.name()) }
}
