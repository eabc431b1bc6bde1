//! Whether what one schema wrote can be read by another, and the other way about: one pure function.
//!
//! Protobuf forgives a lot: fields and enum values may be added at any time, for who does not know them skips them. What it
//! does not forgive is a number that means something else. So a field or a value may only go away when its number is
//! reserved, which keeps everyone from using it again, and nothing that stays may change its name, type, cardinality or oneof.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto};

use crate::Described;
use crate::types::{self, Type, cardinality, oneof, type_name};

/// One thing that a later schema must not do to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The field or value, as in `shop.v1.Order.total = 3`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
    /// What can be done about it.
    pub remedy: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.place, self.problem, self.remedy)
    }
}

/// What `later` breaks of `earlier`. Nothing, if each can read what the other writes.
#[must_use]
pub fn breaks(earlier: &Described, later: &Described) -> Vec<Break> {
    if earlier.message != later.message {
        return vec![Break {
            place: earlier.message.clone(),
            problem: format!("became {}", later.message),
            remedy: "write another message to a topic of its own".to_owned(),
        }];
    }
    let (before, after) = (types::all(&earlier.files), types::all(&later.files));
    let mut found = Vec::new();
    // A type that is not there any more is not reached any more: the field that led to it says so.
    for (name, before) in &before {
        match (before, after.get(name)) {
            (Type::Message(before), Some(Type::Message(after))) => message(name, before, after, &mut found),
            (Type::Enum(before), Some(Type::Enum(after))) => enumeration(name, before, after, &mut found),
            (Type::Message(_), Some(Type::Enum(_))) => found.push(kind(name, "an enum")),
            (Type::Enum(_), Some(Type::Message(_))) => found.push(kind(name, "a message")),
            (_, None) => {}
        }
    }
    found
}

fn kind(name: &str, became: &str) -> Break {
    let (problem, remedy) = (format!("became {became}"), "give the new type a name of its own".to_owned());
    Break { place: name.to_owned(), problem, remedy }
}

fn message(name: &str, before: &DescriptorProto, after: &DescriptorProto, found: &mut Vec<Break>) {
    let reserved = |of: &DescriptorProto, number: i32| {
        of.reserved_range.iter().any(|range| (range.start()..range.end()).contains(&number))
    };
    for field in &before.field {
        let number = field.number();
        let place = format!("{name}.{} = {number}", field.name());
        if let Some(now) = after.field.iter().find(|now| now.number() == number) {
            found.extend(field_changed(&place, (before, field), (after, now)));
        } else if let Some(moved) = after.field.iter().find(|now| now.name() == field.name()) {
            let problem = format!("has the number {} now", moved.number());
            found.push(Break { place, problem, remedy: format!("give it the number {number} again") });
        } else if !reserved(after, number) {
            let remedy = format!("give it back, or say `reserved {number};`");
            found.push(Break { place, problem: "is gone".to_owned(), remedy });
        }
    }
    for field in &after.field {
        let (number, place) = (field.number(), format!("{name}.{} = {}", field.name(), field.number()));
        if reserved(before, number) {
            let problem = "has a number that was given up".to_owned();
            found.push(Break { place, problem, remedy: "give it another number".to_owned() });
        } else if before.reserved_name.iter().any(|given_up| given_up == field.name()) {
            let problem = "has a name that was given up".to_owned();
            found.push(Break { place, problem, remedy: "give it another name".to_owned() });
        }
    }
}

fn field_changed(
    place: &str,
    (before_in, before): (&DescriptorProto, &FieldDescriptorProto),
    (after_in, after): (&DescriptorProto, &FieldDescriptorProto),
) -> Option<Break> {
    let of = |what: &str, was: &str, is: &str| Break {
        place: place.to_owned(),
        problem: format!("is {is} now, and was {was}"),
        remedy: format!("keep the {what}, and add a field with a number of its own"),
    };
    if before.name() != after.name() {
        return Some(of("name", before.name(), after.name()));
    }
    let (was, is) = (type_name(before), type_name(after));
    if was != is {
        return Some(of("type", &was, &is));
    }
    let (was, is) = (cardinality(before), cardinality(after));
    if was != is {
        return Some(of("cardinality", was, is));
    }
    let (was, is) = (oneof(before_in, before), oneof(after_in, after));
    let place_of = |oneof: Option<&str>| oneof.map_or("in no oneof".to_owned(), |name| format!("in the oneof {name}"));
    (was != is).then(|| of("oneof", &place_of(was), &place_of(is)))
}

fn enumeration(name: &str, before: &EnumDescriptorProto, after: &EnumDescriptorProto, found: &mut Vec<Break>) {
    let reserved = |of: &EnumDescriptorProto, number: i32| {
        // Unlike those of messages, these ranges have their end in them.
        of.reserved_range.iter().any(|range| (range.start()..=range.end()).contains(&number))
    };
    let (was, is) = (names(before), names(after));
    for (number, names) in &was {
        for value in names {
            let place = format!("{name}.{value} = {number}");
            match is.get(number) {
                Some(now) if now.contains(value) => {}
                Some(now) => {
                    let now = now.iter().copied().collect::<Vec<_>>().join(", ");
                    let problem = format!("is called {now} now");
                    found.push(Break { place, problem, remedy: "keep the name, and add a value".to_owned() });
                }
                None if reserved(after, *number) => {}
                None => {
                    let remedy = format!("give it back, or say `reserved {number};`");
                    found.push(Break { place, problem: "is gone".to_owned(), remedy });
                }
            }
        }
    }
    for (number, names) in is.iter().filter(|(number, _)| reserved(before, **number)) {
        let value = names.first().copied().unwrap_or_default();
        let place = format!("{name}.{value} = {number}");
        let problem = "has a number that was given up".to_owned();
        found.push(Break { place, problem, remedy: "give it another number".to_owned() });
    }
}

/// The names of each number; several where aliases are allowed.
fn names(of: &EnumDescriptorProto) -> BTreeMap<i32, BTreeSet<&str>> {
    let mut names: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
    for value in &of.value {
        names.entry(value.number()).or_default().insert(value.name());
    }
    names
}

#[cfg(test)]
mod tests;
