//! What stands in the topics: all records from offset 0, as they are dumped, and as the facts that the checker judges.
//!
//! Always: a fact comes from a record that a reader outside of the mesh takes. What a sender repeated under a number that
//! it had used is dropped by the header `ordermesh-source`, as docs/commit-protocol.md says; whether the repeats say the
//! same, and whether numbers are missing, is for [`super::checker`] to judge.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use proto::inventory::v1::product_event;
use proto::orders::v1::order_event;
use proto::shipping::v1::shipment_event;
use proto::validation::v1::validation_event;
use proto::{inventory, orders, shipping, validation};
use serde::{Deserialize, Serialize};

use super::changelogs;
use super::history::{State, read_lines};

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Where it stands there.
    pub offset: u64,
    /// The header `ordermesh-source`; empty when there is none.
    pub source: String,
    /// The value, as Base64.
    pub value: String,
}

impl TopicRecord {
    /// A record with these bytes.
    pub fn new(topic: &str, partition: u32, offset: u64, source: &str, value: &[u8]) -> Self {
        let (topic, source) = (topic.to_owned(), source.to_owned());
        Self { topic, partition, offset, source, value: STANDARD.encode(value) }
    }
}

/// Writes records into a file, one a line.
///
/// # Errors
/// When the file cannot be written.
pub fn save<T: Serialize>(records: &[T], path: &Path) -> anyhow::Result<()> {
    let unwritable = || format!("{} cannot be written", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(unwritable)?);
    for record in records {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n").with_context(unwritable)?;
    }
    file.flush().with_context(unwritable)
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn load(path: &Path) -> anyhow::Result<Vec<TopicRecord>> {
    read_lines(path)
}

/// One thing that a topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The order came to be, with product and pieces of each line.
    Created(String, Vec<(String, i64)>),
    /// The order got into a state, or got further reasons in the state that it had (none).
    Became(String, Option<State>),
    /// Its cancellation was asked for.
    CancellationRequested(String),
    /// The checks passed or failed.
    Judged(String, bool),
    /// It was shipped, or will never be.
    Shipment(String, bool),
    /// A check judged a line.
    Verdict(String, i32, u32),
    /// Something was asked of the stock for a line.
    StockRequest(String, u32, i32),
    /// The stock of a product was set to this.
    StockSet(String, i64),
    /// The stock of a product was changed by the first to the second.
    StockAdded(String, i64, i64),
}

/// Something wrong with the numbers of a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misnumbered {
    /// Where.
    pub at: String,
    /// What.
    pub what: String,
}

/// All facts, in the order of each partition, and what was wrong with the numbers.
#[derive(Debug, Default)]
pub struct Topics {
    /// The facts.
    pub facts: Vec<Fact>,
    /// Violations of the numbering.
    pub misnumbered: Vec<Misnumbered>,
    /// Records that were dropped as repeats.
    pub repeats: u64,
    /// Records that were taken.
    pub taken: u64,
    /// Records in topics of dead letters.
    pub dead_letters: u64,
    /// What the changelogs say of owners.
    pub changelogs: Vec<changelogs::Entry>,
}

/// What was seen of one sender in one partition: the hash of each content, by its number less one.
type Seen<'a> = HashMap<(&'a str, u32, &'a str), Vec<u64>>;

impl Topics {
    /// Reads records, which stand in offset order within each partition.
    ///
    /// # Errors
    /// When a record is not what its topic holds.
    pub fn read(records: &[TopicRecord]) -> anyhow::Result<Self> {
        let (mut topics, mut seen) = (Self::default(), Seen::new());
        for record in records {
            let at = || format!("{}/{} at {}", record.topic, record.partition, record.offset);
            if record.topic.ends_with("-dead-letters") {
                topics.dead_letters += 1;
                continue;
            }
            let value = STANDARD.decode(&record.value).with_context(at)?;
            if !topics.is_new(record, &value, &mut seen) {
                continue;
            }
            topics.taken += 1;
            topics.facts.extend(decode(&record.topic, &value).with_context(at)?);
        }
        Ok(topics)
    }

    /// The rule of docs/commit-protocol.md, with the contents of repeats compared, and gaps noted.
    fn is_new<'a>(&mut self, record: &'a TopicRecord, value: &[u8], seen: &mut Seen<'a>) -> bool {
        let Some((sender, number)) = record.source.rsplit_once(';') else { return true };
        let at = || format!("{}/{} at {}", record.topic, record.partition, record.offset);
        let Ok(number) = number.parse::<usize>() else {
            self.misnumbered.push(Misnumbered { at: at(), what: format!("no number in {}", record.source) });
            return true;
        };
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish();
        let hashes = seen.entry((&record.topic, record.partition, sender)).or_default();
        if number >= 1 && number <= hashes.len() {
            if hashes[number - 1] != hash && hashes[number - 1] != 0 {
                let what = format!("{} has two contents", record.source);
                self.misnumbered.push(Misnumbered { at: at(), what });
            }
            self.repeats += 1;
            return false;
        }
        if number != hashes.len() + 1 {
            let what = format!("{} follows number {} of the same sender", record.source, hashes.len());
            self.misnumbered.push(Misnumbered { at: at(), what });
            // A number that was made up must not fill the memory.
            hashes.resize((number.max(1) - 1).min(hashes.len() + 100_000), 0);
        }
        hashes.push(hash);
        true
    }
}

/// What a record says; nothing for topics that no law is about.
fn decode(topic: &str, value: &[u8]) -> Result<Option<Fact>, prost::DecodeError> {
    Ok(match topic {
        "orders" => order(orders::v1::OrderEvent::decode(value)?),
        "order-validations" => {
            let event = validation::v1::ValidationEvent::decode(value)?;
            match event.event {
                Some(validation_event::Event::Passed(_)) => Some(Fact::Judged(event.order_id, true)),
                Some(validation_event::Event::Failed(_)) => Some(Fact::Judged(event.order_id, false)),
                _ => None,
            }
        }
        "shipments" => {
            let event = shipping::v1::ShipmentEvent::decode(value)?;
            event.event.map(|decided| match decided {
                shipment_event::Event::Shipped(_) => Fact::Shipment(event.order_id, true),
                shipment_event::Event::Cancelled(_) => Fact::Shipment(event.order_id, false),
            })
        }
        "inventory-verdicts" => {
            let verdict = validation::v1::Verdict::decode(value)?;
            Some(Fact::Verdict(verdict.order_id, verdict.check, verdict.line))
        }
        "order-verdicts" | "credit-verdicts" => {
            let verdict = validation::v1::Verdict::decode(value)?;
            Some(Fact::Verdict(verdict.order_id, verdict.check, verdict.line))
        }
        "stock-requests" => {
            let request = orders::v1::StockRequest::decode(value)?;
            Some(Fact::StockRequest(request.order_id, request.line, request.action))
        }
        "products" => {
            let event = inventory::v1::ProductEvent::decode(value)?;
            match event.event {
                Some(product_event::Event::StockSet(set)) => Some(Fact::StockSet(event.product_id, set.stock)),
                Some(product_event::Event::StockAdded(added)) => {
                    Some(Fact::StockAdded(event.product_id, added.quantity, added.stock))
                }
                _ => None,
            }
        }
        _ => None,
    })
}

fn order(event: orders::v1::OrderEvent) -> Option<Fact> {
    use order_event::Event;
    let id = event.order_id;
    Some(match event.event? {
        Event::Created(created) => {
            let lines = created.order.unwrap_or_default().lines;
            Fact::Created(id, lines.into_iter().map(|line| (line.product_id, line.quantity)).collect())
        }
        Event::Validated(_) => Fact::Became(id, Some(State::Validated)),
        Event::Rejected(_) => Fact::Became(id, Some(State::Rejected)),
        Event::ReasonsAdded(_) => Fact::Became(id, None),
        Event::InManufacturing(_) => Fact::Became(id, Some(State::InManufacturing)),
        Event::Ready(_) => Fact::Became(id, Some(State::Ready)),
        Event::CancellationRequested(_) => Fact::CancellationRequested(id),
        Event::Cancelled(_) => Fact::Became(id, Some(State::Cancelled)),
        Event::Shipped(_) => Fact::Became(id, Some(State::Shipped)),
    })
}
