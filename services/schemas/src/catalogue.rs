//! The schemas of this version, cut out of its compiled `.proto` files.
//!
//! A schema is what matters to bytes: comments, options, services and types that a message does not reach are not part of it,
//! and everything has one order. So two builds have the same fingerprint exactly if they read and write the same.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, FieldOptions, FileDescriptorProto, FileDescriptorSet,
    MessageOptions,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::types::{join, mentioned};

/// A message that the compiled files do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no message {0} in the compiled files")]
pub struct UnknownMessage(pub String);

/// One message with everything that it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Full name of the message.
    pub message: String,
    /// What tells this schema from other versions of it.
    pub fingerprint: u64,
    /// The message and all types that it reaches, in files as they are compiled.
    pub files: FileDescriptorSet,
}

/// Everything that was compiled.
#[derive(Debug, Clone)]
pub struct Catalogue {
    files: Vec<FileDescriptorProto>,
    /// For each type, the file and the outermost type that it stands in.
    homes: BTreeMap<String, (usize, String)>,
}

impl Catalogue {
    /// Reads a serialised `google.protobuf.FileDescriptorSet` that has all imports.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn new(descriptors: &[u8]) -> Result<Self, prost::DecodeError> {
        let FileDescriptorSet { file: files } = FileDescriptorSet::decode(descriptors)?;
        let mut homes = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            for message in &file.message_type {
                let outermost = join(file.package(), message.name());
                settle(&outermost, message, (index, &outermost), &mut homes);
            }
            for enumeration in &file.enum_type {
                let name = join(file.package(), enumeration.name());
                homes.insert(name.clone(), (index, name));
            }
        }
        Ok(Self { files, homes })
    }

    /// The schema of a message.
    ///
    /// # Errors
    /// [`UnknownMessage`].
    pub fn describe(&self, message: &str) -> Result<Described, UnknownMessage> {
        let files = self.cut([message])?;
        let mut bytes = format!("{message};").into_bytes();
        bytes.extend(files.encode_to_vec());
        Ok(Described { message: message.to_owned(), fingerprint: xxh3_64(&bytes), files })
    }

    /// These messages with everything that they are made of, by file, each file behind those that it imports.
    ///
    /// # Errors
    /// [`UnknownMessage`].
    pub fn cut<'a>(&self, messages: impl IntoIterator<Item = &'a str>) -> Result<FileDescriptorSet, UnknownMessage> {
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = messages.into_iter().collect();
        while let Some(name) = open.pop() {
            let (file, outermost) = self.homes.get(name).ok_or_else(|| UnknownMessage(name.to_owned()))?;
            if wanted.insert(outermost) {
                let file = &self.files[*file];
                let message = file.message_type.iter().find(|found| join(file.package(), found.name()) == *outermost);
                open.extend(message.into_iter().flat_map(mentioned));
            }
        }
        let mut cut: Vec<FileDescriptorProto> =
            self.files.iter().map(|file| self.clean(file, &wanted)).filter(|file| !is_empty(file)).collect();
        cut.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(FileDescriptorSet { file: imports_first(cut) })
    }

    /// What is wanted of a file, and of that what matters to bytes.
    fn clean(&self, file: &FileDescriptorProto, wanted: &BTreeSet<&str>) -> FileDescriptorProto {
        let is_wanted = |name: &str| wanted.contains(join(file.package(), name).as_str());
        let mut messages: Vec<_> =
            file.message_type.iter().filter(|found| is_wanted(found.name())).map(clean_message).collect();
        messages.sort_by(|a, b| a.name().cmp(b.name()));
        let mut enums: Vec<_> = file.enum_type.iter().filter(|found| is_wanted(found.name())).map(clean_enum).collect();
        enums.sort_by(|a, b| a.name().cmp(b.name()));
        let homes = messages.iter().flat_map(mentioned).filter_map(|name| self.homes.get(name));
        let imports: BTreeSet<&str> = homes.map(|(home, _)| self.files[*home].name()).collect();
        FileDescriptorProto {
            name: file.name.clone(),
            package: file.package.clone(),
            dependency: imports.into_iter().filter(|name| *name != file.name()).map(str::to_owned).collect(),
            message_type: messages,
            enum_type: enums,
            syntax: file.syntax.clone(),
            ..FileDescriptorProto::default()
        }
    }
}

fn settle(name: &str, message: &DescriptorProto, home: (usize, &str), homes: &mut BTreeMap<String, (usize, String)>) {
    homes.insert(name.to_owned(), (home.0, home.1.to_owned()));
    for nested in &message.nested_type {
        settle(&join(name, nested.name()), nested, home, homes);
    }
    for nested in &message.enum_type {
        homes.insert(join(name, nested.name()), (home.0, home.1.to_owned()));
    }
}

fn is_empty(file: &FileDescriptorProto) -> bool {
    file.message_type.is_empty() && file.enum_type.is_empty()
}

/// The same files, each behind those that it imports, and otherwise in their order. Files do not import in circles.
fn imports_first(files: Vec<FileDescriptorProto>) -> Vec<FileDescriptorProto> {
    let (mut waiting, mut done): (Vec<_>, Vec<FileDescriptorProto>) = (files, Vec::new());
    while !waiting.is_empty() {
        let is_waiting = |name: &String| waiting.iter().any(|file| file.name() == name);
        // If there were a circle, it would be cut anywhere: whoever reads the files then says what is wrong.
        let next = waiting.iter().position(|file| !file.dependency.iter().any(is_waiting)).unwrap_or(0);
        done.push(waiting.remove(next));
    }
    done
}

fn clean_message(message: &DescriptorProto) -> DescriptorProto {
    let mut fields = message.field.clone();
    fields.sort_by_key(|field| field.number());
    for field in &mut fields {
        let packed = field.options.as_ref().and_then(|options| options.packed);
        field.options = packed.map(|packed| FieldOptions { packed: Some(packed), ..FieldOptions::default() });
        // What a compiler derives of the name.
        field.json_name = None;
    }
    let mut oneofs = message.oneof_decl.clone();
    for oneof in &mut oneofs {
        oneof.options = None;
    }
    let mut nested: Vec<_> = message.nested_type.iter().map(clean_message).collect();
    nested.sort_by(|a, b| a.name().cmp(b.name()));
    let mut enums: Vec<_> = message.enum_type.iter().map(clean_enum).collect();
    enums.sort_by(|a, b| a.name().cmp(b.name()));
    let is_entry = message.options.as_ref().and_then(|options| options.map_entry);
    DescriptorProto {
        name: message.name.clone(),
        field: fields,
        nested_type: nested,
        enum_type: enums,
        oneof_decl: oneofs,
        options: is_entry.map(|entry| MessageOptions { map_entry: Some(entry), ..MessageOptions::default() }),
        reserved_range: message.reserved_range.clone(),
        reserved_name: message.reserved_name.clone(),
        ..DescriptorProto::default()
    }
}

fn clean_enum(enumeration: &EnumDescriptorProto) -> EnumDescriptorProto {
    let mut cleaned = enumeration.clone();
    let aliases = cleaned.options.and_then(|options| options.allow_alias);
    cleaned.options = aliases.map(|allow| EnumOptions { allow_alias: Some(allow), ..EnumOptions::default() });
    for value in &mut cleaned.value {
        value.options = None;
    }
    cleaned
}

#[cfg(test)]
pub(crate) mod tests;
