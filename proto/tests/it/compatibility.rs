//! `api.txt` lists what was promised to clients, `records.txt` what stands on topics and in stores. A line that is there
//! stays: clients were built against it, and records and rows are read again years later.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use crate::{is_ours, is_public, pool};

/// One line for each method, field and enum value of these files.
fn promises(of: fn(&str) -> bool) -> BTreeSet<String> {
    let pool = pool();
    let mut lines = BTreeSet::new();
    for service in pool.services().filter(|service| of(service.parent_file().name())) {
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
    for message in pool.all_messages().filter(|message| of(message.parent_file().name())) {
        lines.extend(message.fields().map(|field| promise(&message, &field)));
    }
    for enum_ in pool.all_enums().filter(|found| of(found.parent_file().name())) {
        lines.extend(enum_.values().map(|value| format!("value {} = {}", value.full_name(), value.number())));
    }
    lines
}

fn promise(message: &MessageDescriptor, field: &FieldDescriptor) -> String {
    let oneof = field.containing_oneof().map_or_else(String::new, |oneof| format!(" in {}", oneof.name()));
    let (name, number) = (field.name(), field.number());
    format!("field {}.{name} = {number} {:?} {:?}{oneof}", message.full_name(), field.cardinality(), field.kind())
}

/// Compares what is with what a file of this folder says.
fn check(file: &str, promised: &str, now: &BTreeSet<String>) {
    let promised: BTreeSet<String> = promised.lines().map(str::to_owned).collect();
    let broken: Vec<_> = promised.difference(now).map(String::as_str).collect();
    assert!(broken.is_empty(), "others rely on these lines of proto/tests/it/{file}:\n{}", broken.join("\n"));
    let new: Vec<_> = now.difference(&promised).map(String::as_str).collect();
    assert!(new.is_empty(), "new promises; add these lines to proto/tests/it/{file}:\n{}", new.join("\n"));
}

#[test]
fn nothing_that_was_promised_to_clients_is_taken_back() {
    check("api.txt", include_str!("api.txt"), &promises(is_public));
}

#[test]
fn records_and_rows_that_were_written_can_be_read() {
    check("records.txt", include_str!("records.txt"), &promises(|file| is_ours(file) && !is_public(file)));
}
