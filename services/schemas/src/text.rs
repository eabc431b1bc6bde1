//! Schemas as `.proto` text: what a schema registry takes, and people read.

use std::fmt::Write;

use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::types::{map_entry, oneof, type_name};

/// A file as text. Compiled again it is the same file.
#[must_use]
pub fn source(file: &FileDescriptorProto) -> String {
    let mut text = String::from("syntax = \"proto3\";\n");
    if !file.package().is_empty() {
        line(&mut text, 0, &format!("\npackage {};", file.package()));
    }
    if !file.dependency.is_empty() {
        text.push('\n');
    }
    for import in &file.dependency {
        line(&mut text, 0, &format!("import \"{import}\";"));
    }
    for found in &file.message_type {
        text.push('\n');
        message(&mut text, 0, found);
    }
    for found in &file.enum_type {
        text.push('\n');
        enumeration(&mut text, 0, found);
    }
    text
}

fn line(text: &mut String, depth: usize, content: &str) {
    // A string takes every write.
    let _ = writeln!(text, "{:width$}{content}", "", width = depth * 2);
}

fn message(text: &mut String, depth: usize, found: &DescriptorProto) {
    line(text, depth, &format!("message {} {{", found.name()));
    // Ends of these ranges are one behind.
    reserved(text, depth + 1, found.reserved_range.iter().map(|r| (r.start(), r.end() - 1)), &found.reserved_name);
    for nested in found.nested_type.iter().filter(|nested| !is_map_entry(nested)) {
        message(text, depth + 1, nested);
    }
    for nested in &found.enum_type {
        enumeration(text, depth + 1, nested);
    }
    let mut open: Option<&str> = None;
    let (alone, chosen): (Vec<_>, Vec<_>) = found.field.iter().partition(|field| oneof(found, field).is_none());
    for field in alone {
        line(text, depth + 1, &declaration(found, field));
    }
    for declared in &found.oneof_decl {
        for field in chosen.iter().filter(|field| oneof(found, field) == Some(declared.name())) {
            if open != Some(declared.name()) {
                line(text, depth + 1, &format!("oneof {} {{", declared.name()));
                open = Some(declared.name());
            }
            line(text, depth + 2, &declaration(found, field));
        }
        if open.take().is_some() {
            line(text, depth + 1, "}");
        }
    }
    line(text, depth, "}");
}

fn declaration(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let (name, number) = (field.name(), field.number());
    if let Some((key, value)) = map_entry(message, field) {
        return format!("map<{}, {}> {name} = {number};", type_name(key), absolute(value));
    }
    let label = match crate::types::cardinality(field) {
        "repeated" => "repeated ",
        "optional" => "optional ",
        _ => "",
    };
    let packed = field.options.as_ref().and_then(|options| options.packed);
    let options = packed.map_or_else(String::new, |packed| format!(" [packed = {packed}]"));
    format!("{label}{} {name} = {number}{options};", absolute(field))
}

/// The type with a leading dot if it is a name: found from the root, whatever stands nearer.
fn absolute(field: &FieldDescriptorProto) -> String {
    if field.type_name.is_some() { format!(".{}", type_name(field)) } else { type_name(field) }
}

fn enumeration(text: &mut String, depth: usize, found: &EnumDescriptorProto) {
    line(text, depth, &format!("enum {} {{", found.name()));
    if found.options.as_ref().is_some_and(|options| options.allow_alias()) {
        line(text, depth + 1, "option allow_alias = true;");
    }
    reserved(text, depth + 1, found.reserved_range.iter().map(|r| (r.start(), r.end())), &found.reserved_name);
    for value in &found.value {
        line(text, depth + 1, &format!("{} = {};", value.name(), value.number()));
    }
    line(text, depth, "}");
}

fn reserved(text: &mut String, depth: usize, ranges: impl Iterator<Item = (i32, i32)>, names: &[String]) {
    for (first, last) in ranges {
        let range = if first == last { first.to_string() } else { format!("{first} to {last}") };
        line(text, depth, &format!("reserved {range};"));
    }
    for name in names {
        line(text, depth, &format!("reserved \"{name}\";"));
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

#[cfg(test)]
mod tests;
