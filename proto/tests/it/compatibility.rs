//! `api.txt` lists what was promised to clients. A line that is there stays: clients were built against it.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use crate::{is_public, pool};

/// One line for each method, field and enum value of the public files.
fn promises() -> BTreeSet<String> {
    let pool = pool();
    let mut lines = BTreeSet::new();
    for service in pool.services().filter(|service| is_public(service.parent_file().name())) {
        for method in service.methods() {
            let stream = |streams: bool| if streams { "stream " } else { "" };
            let (input, output) = (method.input(), method.output());
            lines.insert(format!(
                "rpc {} ({}{}) returns ({}{})",
                method.full_name(),
                stream(method.is_client_streaming()),
                input.full_name(),
                stream(method.is_server_streaming()),
                output.full_name()
            ));
        }
    }
    for message in pool.all_messages().filter(|message| is_public(message.parent_file().name())) {
        lines.extend(message.fields().map(|field| promise(&message, &field)));
    }
    for enum_ in pool.all_enums().filter(|found| is_public(found.parent_file().name())) {
        lines.extend(enum_.values().map(|value| format!("value {} = {}", value.full_name(), value.number())));
    }
    lines
}

fn promise(message: &MessageDescriptor, field: &FieldDescriptor) -> String {
    let oneof = field.containing_oneof().map_or_else(String::new, |oneof| format!(" in {}", oneof.name()));
    let (name, number) = (field.name(), field.number());
    format!("field {}.{name} = {number} {:?} {:?}{oneof}", message.full_name(), field.cardinality(), field.kind())
}

#[test]
fn nothing_that_was_promised_is_taken_back() {
    let promised: BTreeSet<String> = include_str!("api.txt").lines().map(str::to_owned).collect();
    let now = promises();
    let broken: Vec<_> = promised.difference(&now).map(String::as_str).collect();
    assert!(broken.is_empty(), "clients rely on these lines of proto/tests/it/api.txt:\n{}", broken.join("\n"));
    let new: Vec<_> = now.difference(&promised).map(String::as_str).collect();
    assert!(new.is_empty(), "new promises; add these lines to proto/tests/it/api.txt:\n{}", new.join("\n"));
}
