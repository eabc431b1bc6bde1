//! The comments are the reference documentation: none may be missing.

use std::collections::HashMap;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::is_ours;

/// Field numbers of the descriptor messages, of which the path to a comment consists.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const EXTENSIONS: i32 = 7;
const FIELDS_OF_MESSAGE: i32 = 2;
const NESTED_OF_MESSAGE: i32 = 3;
const ENUMS_OF_MESSAGE: i32 = 4;
const ONEOFS_OF_MESSAGE: i32 = 8;
const VALUES_OF_ENUM: i32 = 2;
const METHODS_OF_SERVICE: i32 = 2;
const SYNTAX: i32 = 12;

/// The comments of one file, by path.
struct Comments<'a> {
    file: &'a str,
    by_path: HashMap<&'a [i32], &'a str>,
    missing: Vec<String>,
}

impl Comments<'_> {
    fn want(&mut self, path: &[i32], name: &str) {
        if self.by_path.get(path).is_none_or(|comment| comment.trim().is_empty()) {
            self.missing.push(format!("{}: {name}", self.file));
        }
    }
}

fn at(path: &[i32], field: i32, index: usize) -> Vec<i32> {
    [path, &[field, i32::try_from(index).unwrap()]].concat()
}

fn message(comments: &mut Comments<'_>, path: &[i32], message_: &DescriptorProto) {
    comments.want(path, message_.name());
    for (index, field) in message_.field.iter().enumerate() {
        comments.want(&at(path, FIELDS_OF_MESSAGE, index), &format!("{}.{}", message_.name(), field.name()));
    }
    for (index, oneof) in message_.oneof_decl.iter().enumerate() {
        // The compiler makes one for each optional field.
        if !oneof.name().starts_with('_') {
            comments.want(&at(path, ONEOFS_OF_MESSAGE, index), &format!("{}.{}", message_.name(), oneof.name()));
        }
    }
    for (index, nested) in message_.nested_type.iter().enumerate() {
        message(comments, &at(path, NESTED_OF_MESSAGE, index), nested);
    }
    for (index, nested) in message_.enum_type.iter().enumerate() {
        enumeration(comments, &at(path, ENUMS_OF_MESSAGE, index), nested);
    }
}

fn enumeration(comments: &mut Comments<'_>, path: &[i32], enum_: &EnumDescriptorProto) {
    comments.want(path, enum_.name());
    for (index, value) in enum_.value.iter().enumerate() {
        comments.want(&at(path, VALUES_OF_ENUM, index), value.name());
    }
}

fn missing_in(file: &FileDescriptorProto) -> Vec<String> {
    let locations = &file.source_code_info.as_ref().unwrap().location;
    let by_path = locations.iter().map(|location| (location.path.as_slice(), location.leading_comments())).collect();
    let mut comments = Comments { file: file.name(), by_path, missing: Vec::new() };
    comments.want(&[SYNTAX], "the file itself");
    for (index, found) in file.message_type.iter().enumerate() {
        message(&mut comments, &[MESSAGES, i32::try_from(index).unwrap()], found);
    }
    for (index, found) in file.enum_type.iter().enumerate() {
        enumeration(&mut comments, &[ENUMS, i32::try_from(index).unwrap()], found);
    }
    for (index, found) in file.extension.iter().enumerate() {
        comments.want(&[EXTENSIONS, i32::try_from(index).unwrap()], found.name());
    }
    for (index, service) in file.service.iter().enumerate() {
        let path = [SERVICES, i32::try_from(index).unwrap()];
        comments.want(&path, service.name());
        for (index, method) in service.method.iter().enumerate() {
            comments.want(&at(&path, METHODS_OF_SERVICE, index), method.name());
        }
    }
    comments.missing
}

#[test]
fn everything_has_a_comment() {
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours: Vec<_> = set.file.iter().filter(|file| is_ours(file.name())).collect();
    assert!(ours.len() > 10, "the files are there");
    let missing: Vec<_> = ours.iter().flat_map(|file| missing_in(file)).collect();
    assert!(missing.is_empty(), "without a comment:\n{}", missing.join("\n"));
}
