//! Messages of any content: well-formed by their schema, and otherwise whatever somebody could send.

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// What a well-meaning client sends.
const SMALL: [i64; 5] = [1, 2, 3, 7, 1_000];
/// Values at the edges of what a field can hold, where sums and differences go wrong.
const NUMBERS: [i64; 12] = [0, 0, 1, 1, 2, 3, 7, 1_000, -1, i64::MIN, i64::MAX, i64::MAX / 2];
/// Few enough that messages speak of the same things.
const IDS: [&str; 5] = ["a-1", "a-2", "b", "b-1", "0"];
const TEXTS: [&str; 8] = ["", "EUR", "USD", "somebody@example.com", "\u{0}", "größer", "../..", "name"];
const DEPTH_MAX: u32 = 6;

/// Makes messages by a seed.
pub(super) struct Messages {
    pool: DescriptorPool,
    random: StdRng,
    /// Whether the present message holds anything; else what makes sense by itself.
    is_wild: bool,
}

impl Messages {
    pub(super) fn new(seed: u64) -> Self {
        let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        Self { pool, random: StdRng::seed_from_u64(seed), is_wild: true }
    }

    /// Bytes of a message of this name, and an id that it speaks of.
    pub(super) fn named(&mut self, name: &str) -> (String, Vec<u8>) {
        let descriptor = self.pool.get_message_by_name(name).unwrap();
        self.of(&descriptor)
    }

    pub(super) fn of(&mut self, descriptor: &MessageDescriptor) -> (String, Vec<u8>) {
        self.is_wild = self.chance(40);
        self.make(descriptor)
    }

    /// The same of what a well-meaning client sends.
    pub(super) fn sensible(&mut self, name: &str) -> (String, Vec<u8>) {
        let descriptor = self.pool.get_message_by_name(name).unwrap();
        self.is_wild = false;
        self.make(&descriptor)
    }

    fn make(&mut self, descriptor: &MessageDescriptor) -> (String, Vec<u8>) {
        let message = self.message(descriptor, 0);
        let mut ids = Vec::new();
        gather_ids(&message, &mut ids);
        let id = if ids.is_empty() { self.id() } else { self.one_of(&ids) };
        (id, message.encode_to_vec())
    }

    pub(super) fn id(&mut self) -> String {
        self.one_of(&IDS).to_owned()
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.random).unwrap().clone()
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    pub(super) fn chance(&mut self, of_hundred: u32) -> bool {
        self.random.random_range(0..100) < of_hundred
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        // Of a choice one is taken, usually.
        for choice in descriptor.oneofs() {
            let fields: Vec<_> = choice.fields().collect();
            if self.chance(95) {
                let field = self.one_of(&fields);
                self.set(&mut message, &field, depth);
            }
        }
        for field in descriptor.fields().filter(|field| field.containing_oneof().is_none()) {
            if self.chance(90) {
                self.set(&mut message, &field, depth);
            }
        }
        message
    }

    fn set(&mut self, message: &mut DynamicMessage, field: &FieldDescriptor, depth: u32) {
        let few = self.random.random_range(if self.is_wild { 0..4 } else { 1..3 });
        let value = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { return };
            let of = entry.map_entry_value_field();
            Value::Map((0..few).filter_map(|_| Some((MapKey::String(self.id()), self.value(&of, depth)?))).collect())
        } else if field.is_list() {
            Value::List((0..few).filter_map(|_| self.value(field, depth)).collect())
        } else {
            let Some(value) = self.value(field, depth) else { return };
            value
        };
        message.set_field(field, value);
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "any value will do"
    )]
    fn value(&mut self, field: &FieldDescriptor, depth: u32) -> Option<Value> {
        let number = if !self.is_wild {
            self.one_of(&SMALL)
        } else if self.chance(70) {
            self.one_of(&NUMBERS)
        } else {
            self.random.random()
        };
        Some(match field.kind() {
            Kind::Message(_) if depth == DEPTH_MAX => return None,
            Kind::Message(inner) => Value::Message(self.message(&inner, depth + 1)),
            Kind::Enum(kind) => {
                let known = kind.values().map(|value| value.number());
                let known: Vec<i32> = known.filter(|number| self.is_wild || *number != 0).collect();
                let one = self.one_of(&known);
                Value::EnumNumber(if self.is_wild && self.chance(5) { number as i32 } else { one })
            }
            Kind::String => Value::String(self.text(field.name())),
            Kind::Bytes => Value::Bytes(self.text(field.name()).into_bytes().into()),
            Kind::Bool => Value::Bool(number & 1 == 1),
            Kind::Double => Value::F64(number as f64),
            Kind::Float => Value::F32(number as f32),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                Value::I32(number.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number.clamp(0, u32::MAX.into()) as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number as u64),
        })
    }

    fn text(&mut self, field: &str) -> String {
        let sensible = match field {
            "currency_code" => "EUR".to_owned(),
            "email" => "somebody@example.com".to_owned(),
            "order_id" => format!("o-{}", self.below(30)),
            "book_id" => format!("00000000-0000-7000-8000-00000000000{}", self.below(4)),
            "request_id" => format!("r-{}", self.below(1_000)),
            "etag" | "consistency_token" | "page_token" => String::new(),
            _ if is_key(field) || field.ends_with("_ids") => self.id(),
            _ => "name".to_owned(),
        };
        match self.below(100) {
            0..3 if self.is_wild => "x".repeat(60 + self.below(300)),
            3..20 if self.is_wild => self.one_of(&TEXTS).to_owned(),
            _ => sensible,
        }
    }
}

fn is_key(field: &str) -> bool {
    field.ends_with("_id") || field.ends_with("code")
}

/// What could be the key of a record: the ids in a message and below.
fn gather_ids(message: &DynamicMessage, ids: &mut Vec<String>) {
    for (field, value) in message.fields() {
        match value {
            Value::String(text) if is_key(field.name()) => ids.push(text.clone()),
            Value::Message(inner) => gather_ids(inner, ids),
            _ => {}
        }
    }
}
