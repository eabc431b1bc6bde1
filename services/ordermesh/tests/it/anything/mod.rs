//! Whatever comes in, by a seed: records that nobody of the mesh would write, in any order, and requests of any content. A
//! failure names its seed.

mod messages;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use event_log::Record;
use ordermesh::{Config, definitions};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor};
use proto::orders::v1::{ListOrdersRequest, OrderState};
use task_runtime::{DeadLetter, Definition};
use testkit::{Driver, Emitted, Mesh};
use tonic::Code;

use crate::inputs::{call_within, framed};
use crate::shop::{eventually, timed};
use messages::Messages;

/// Runs of one service, and records of a run.
const SEEDS: u64 = 30;
const RECORDS: usize = 120;
/// How much later it is after a record, if it is: a moment, past a window, past a timeout, past what is remembered.
const LATER_MS: [i64; 5] = [1, 100, 31_000, 400_000, 90_000_000];
/// Clients at once, and requests of each.
const CLIENTS: u64 = 8;
const REQUESTS: usize = 500;
/// Longest time that a request may wait.
const DEADLINE: Duration = Duration::from_millis(300);

/// The messages of all topics, by topic.
fn topics(definitions: &[Definition]) -> BTreeMap<String, &'static str> {
    let messages = definitions.iter().flat_map(Definition::messages);
    messages.map(|(topic, message)| (topic.to_string(), message)).collect()
}

/// A record for one of the topics that a service reads: its message, mostly, or that of another topic, or damaged.
struct Anything {
    topic: String,
    handled_as: String,
    key: String,
    value: Vec<u8>,
}

impl Anything {
    fn new(messages: &mut Messages, definition: &Definition, topics: &BTreeMap<String, &'static str>) -> Self {
        let inputs: Vec<_> = definition.input_topics().map(ToString::to_string).collect();
        let topic = messages.one_of(&inputs);
        // What comes back from the dead letters says for which handler it is.
        let handled_as = if topic.ends_with("-replays") { messages.one_of(&inputs) } else { topic.clone() };
        let all: Vec<_> = topics.values().copied().collect();
        let other = messages.one_of(&all);
        let message = topics.get(&handled_as).copied().filter(|_| messages.chance(95)).unwrap_or(other);
        let (key, mut value) = messages.named(message);
        if messages.chance(3) && !value.is_empty() {
            let (at, bit) = (messages.below(value.len()), messages.below(8));
            value[at] ^= 1 << bit;
            value.truncate(value.len() - messages.below(2));
        }
        let key = if messages.chance(5) { messages.id() } else { key };
        Self { topic, handled_as, key, value }
    }
}

/// What is wrong with a record that a service has written, if anything is.
fn fault(emitted: Emitted, topics: &BTreeMap<String, &str>, pool: &DescriptorPool) -> Option<String> {
    if let Some(message) = topics.get(&emitted.topic) {
        let message = pool.get_message_by_name(message).unwrap();
        let decoded = DynamicMessage::decode(message, emitted.value);
        return decoded.err().map(|error| format!("on {}: {error}", emitted.topic));
    }
    let letter = DeadLetter::of(&Record { headers: emitted.headers, ..Record::default() });
    letter.reason.contains("panic").then_some(letter.reason)
}

#[test]
fn no_records_in_any_order_make_a_service_panic_or_write_what_is_no_message() {
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let all = definitions(&Config::default());
    let topics = topics(&all);
    for definition in &all {
        let mut taken = 0;
        for seed in 0..SEEDS {
            let mut messages = Messages::new(seed);
            let mut driver = Driver::new(definition.clone());
            for _ in 0..RECORDS {
                if definition.service() == "orders" && messages.chance(10) {
                    let (key, order) = messages.sensible("ordermesh.orders.v1.Order");
                    let _ = driver.command("CreateOrder", key.as_bytes(), None, order, "");
                }
                let Anything { topic, handled_as, key, value } = Anything::new(&mut messages, definition, &topics);
                driver.record_with(&topic, Some(key.as_bytes()), value, &[("ordermesh-replay-topic", &handled_as)]);
                if messages.chance(10) {
                    driver.advance_to(driver.now_ms() + messages.one_of(&LATER_MS));
                }
                let emitted = driver.emitted();
                taken += usize::from(emitted.iter().all(|emitted| topics.contains_key(&emitted.topic)));
                for emitted in emitted {
                    let fault = fault(emitted, &topics, &pool);
                    assert_eq!(fault, None, "{} with seed {seed}", definition.service());
                }
            }
        }
        // Else all that was made up is refused at once, and nothing is tested.
        assert!(taken > RECORDS, "{} has taken {taken} records", definition.service());
    }
}

/// Every method with one answer.
fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let services: Vec<_> = pool.services().filter(|service| service.full_name().starts_with("ordermesh.")).collect();
    services.iter().flat_map(ServiceDescriptor::methods).filter(|method| !method.is_server_streaming()).collect()
}

/// Sends requests of any content, and counts the answers of each method by their codes.
async fn client(mesh: &Mesh, methods: &[MethodDescriptor], seed: u64) -> BTreeMap<String, usize> {
    let mut messages = Messages::new(seed);
    let mut answers = BTreeMap::new();
    for _ in 0..REQUESTS {
        let method = messages.one_of(methods);
        let (_, body) = messages.of(&method.input());
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let status = call_within(&mesh.channel(), &path, framed(&body), DEADLINE).await;
        let is_ours = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable);
        assert!(!is_ours, "{path} with seed {seed}: {status:?}");
        *answers.entry(format!("{} {:?}", method.name(), status.code())).or_default() += 1;
    }
    answers
}

/// Waits until every order that was accepted is judged.
async fn judged(mesh: &Mesh) {
    eventually("every order is judged", async || {
        let request = ListOrdersRequest { state: OrderState::Created.into(), ..Default::default() };
        let created = mesh.orders().list_orders(timed(request)).await.unwrap().into_inner();
        created.orders.is_empty().then_some(())
    })
    .await;
}

async fn letters(mesh: &Mesh) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    for definition in definitions(&Config::default()) {
        letters.extend(mesh.records(definition.dead_letters().as_str()).await.iter().map(DeadLetter::of));
    }
    letters
}

/// What clients can send is either refused to them or done: nothing of it is an error of ours, an order without an outcome, or a
/// dead letter of a service further on.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_an_internal_error_or_becomes_a_dead_letter() {
    let mesh = Mesh::start().await;
    let methods = methods();
    assert!(methods.len() > 30);
    let clients = (0..CLIENTS).map(|seed| client(&mesh, &methods, seed));
    let answers = futures::future::join_all(clients).await;
    let done = answers.iter().flatten().filter(|(answer, _)| answer.ends_with(" Ok"));
    let done: BTreeSet<&str> = done.map(|(answer, _)| answer.as_str()).collect();
    for method in ["CreateOrder", "UpsertProduct", "CreateCustomer", "RecordPayment", "CreateBook"] {
        assert!(done.contains(&*format!("{method} Ok")), "no {method} was accepted");
    }
    judged(&mesh).await;
    assert_eq!(letters(&mesh).await, []);
}
