//! Every record says its schema, the log keeps it, a registry is told, and what is newer than we are does no harm.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use event_log::{FetchFrom, FetchLimits, Header, Offset, Record, TopicPartition, partition_for_key};
use ordermesh::{Config, Instance, Security, Setup, StartError};
use prost::Message;
use proto::mesh::v1::schema_service_client::SchemaServiceClient;
use proto::mesh::v1::{GetSchemasRequest, ListDeadLettersRequest, RegistrationState, SchemaRegistered, TopicSchema};
use proto::orders::v1::{GetOrderHistoryRequest, OrderEvent, OrderState, WaitFor};
use service_host::{Chain, Clock, server};
use task_runtime::{Definition, NoTracer, SCHEMA_HEADER};
use testkit::{Mesh, RegistryServer};

use crate::shop::{PATIENCE, Shop, eventually, named, order, timed};

const ORDER_EVENT: &str = "ordermesh.orders.v1.OrderEvent";

fn label(record: &Record) -> String {
    String::from_utf8(record.header(SCHEMA_HEADER).expect("a record has a label").to_vec()).unwrap()
}

async fn shown(mesh: &Mesh) -> Vec<TopicSchema> {
    let request = GetSchemasRequest { topic: String::new(), with_source: true };
    SchemaServiceClient::new(mesh.channel()).get_schemas(timed(request)).await.unwrap().into_inner().schemas
}

/// An order that goes all the way.
async fn ship(mesh: &Mesh, order_id: &str) {
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 100).await;
    shop.create(named(order_id, order("c-1", &[("jumpers", 1)]))).await.unwrap();
    assert_eq!(shop.wait(order_id, WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);
}

/// What the history of an order tells of the topic `orders`.
async fn told(mesh: &Mesh, order_id: &str) -> Vec<String> {
    let request = GetOrderHistoryRequest { order_id: order_id.to_owned(), consistency: None };
    let entries = mesh.orders().get_order_history(timed(request)).await.unwrap().into_inner().entries;
    entries.into_iter().filter(|entry| entry.topic == "orders").map(|entry| entry.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_says_its_schema_and_the_mesh_shows_it() {
    let mesh = Mesh::start().await;
    ship(&mesh, "o-1").await;
    let schemas = shown(&mesh).await;
    let definitions = ordermesh::definitions(&Mesh::config());
    let written: Vec<_> = definitions.iter().flat_map(Definition::messages).collect();
    assert!(written.len() > 20, "every topic of messages is declared");
    for (topic, message) in written {
        let found: Vec<_> = schemas.iter().filter(|schema| schema.topic == topic.as_str()).collect();
        let [schema] = found.as_slice() else { panic!("{topic} has {} schemas", found.len()) };
        assert!(schema.message == message && schema.current, "{schema:?}");
        let name = message.rsplit('.').next().unwrap();
        let has_text = schema.files.iter().any(|file| file.source.contains(&format!("message {name} {{")));
        assert!(has_text, "{topic} shows {message}");
        let expected = format!("{message};{}", schema.fingerprint);
        let records = mesh.records(topic.as_str()).await;
        assert!(records.iter().all(|record| label(record) == expected), "{topic}");
    }
    // That it is shipped is known before it is told.
    eventually("what became of the order", async || (mesh.records("orders").await.len() >= 3).then_some(())).await;

    let schemas = schemas.len();
    let mesh = mesh.restart().await;
    assert_eq!(shown(&mesh).await.len(), schemas, "a second start adds nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_decodes_topics_from_what_is_registered() {
    let registry = RegistryServer::start().await;
    let mut config = Mesh::config();
    config.schemas.registry.url = Some(registry.url());
    let mesh = Mesh::with(config, Clock::system()).await;
    ship(&mesh, "o-1").await;
    let shows = |record: &Record| registry.decode(record.value.as_ref().unwrap());
    for record in mesh.records("orders").await {
        let (name, json) = shows(&record);
        assert_eq!((name.as_str(), json["orderId"].as_str()), (ORDER_EVENT, Some("o-1")));
    }
    for (topic, message) in [("stock-requests", "StockRequest"), ("orders-by-customer", "OrderPlaced")] {
        let records = mesh.records(topic).await;
        assert!(!records.is_empty(), "{topic}");
        assert!(records.iter().all(|record| shows(record).0 == format!("ordermesh.orders.v1.{message}")), "{topic}");
    }
    let registration = |schema: &TopicSchema| (schema.registration(), schema.registry_id > 0);
    let schemas = shown(&mesh).await;
    let (own, others): (Vec<_>, Vec<_>) = schemas.iter().partition(|schema| schema.topic == schemas::TOPIC);
    assert!(others.iter().all(|schema| registration(schema) == (RegistrationState::Registered, true)), "{others:?}");
    assert!(own.iter().all(|schema| registration(schema) == (RegistrationState::Unspecified, false)), "{own:?}");
    let before = told(&mesh, "o-1").await;
    assert_eq!(before.first().map(String::as_str), Some("created"), "histories read framed records too");

    // Without a registry the mesh goes on, and reads what has its numbers.
    let mesh = mesh.reconfigured(|config| config.schemas.registry.url = None).await;
    ship(&mesh, "o-2").await;
    assert_eq!(told(&mesh, "o-1").await, before);
    assert_eq!(told(&mesh, "o-2").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_knows_better_refuses_the_start() {
    let registry = RegistryServer::start().await;
    let text = "syntax = \"proto3\"; package ordermesh.orders.v1; message OrderEvent { int64 order_id = 1; }";
    registry.has("orders-value", text);
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.schemas.registry.url = Some(registry.url());
    let refused = refusal(config).await;
    assert!(refused.contains("orders-value") && refused.contains("order_id"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_breaks_what_is_on_a_topic_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let instance = start(config.clone()).await.unwrap();
    let (log, at) = (instance.log(), TopicPartition::new(schemas::TOPIC, 0));
    let Offset(end) = log.latest(&at).await.unwrap();
    let from = [FetchFrom { partition: at.clone(), offset: Offset::ZERO }];
    let limits = FetchLimits { max_bytes_per_partition: 4 << 20, max_wait: PATIENCE };
    let kept = log.fetch(&from, limits).await.unwrap().pop().unwrap().result.unwrap().records;
    assert_eq!(kept.len() as u64, end);
    assert!(kept.iter().all(|kept| label(&kept.record).starts_with("ordermesh.mesh.v1.SchemaRegistered;")));
    let ours = kept.into_iter().find(|kept| kept.record.key.as_deref() == Some(b"orders")).unwrap().record;
    log.append(&at, vec![with_priority(ours)]).await.unwrap();
    instance.stop().await;
    drop(log);
    // A branch has added a field; what was written before it may go on.
    let instance = start(config.clone()).await.unwrap();
    // Nothing but the branch has ever been here.
    instance.log().delete_before(&at, Offset(end)).await.unwrap();
    instance.stop().await;
    let refused = refusal(config).await;
    assert!(refused.contains("topic orders"), "{refused}");
    assert!(refused.contains("OrderEvent.priority = 77 is gone") && refused.contains("reserved 77"), "{refused}");
}

/// The schema of a topic with a field more.
fn with_priority(mut record: Record) -> Record {
    let mut said = SchemaRegistered::decode(record.value.unwrap()).unwrap();
    let mut files = prost_types::FileDescriptorSet::decode(said.descriptors).unwrap();
    let mut messages = files.file.iter_mut().flat_map(|file| &mut file.message_type);
    let event = messages.find(|message| message.name() == "OrderEvent").unwrap();
    let mut field = event.field[0].clone();
    (field.name, field.number) = (Some("priority".to_owned()), Some(77));
    event.field.push(field);
    said.descriptors = files.encode_to_vec().into();
    said.fingerprint += 1;
    record.value = Some(said.encode_to_vec().into());
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_writes_does_no_harm() {
    let mesh = Mesh::start().await;
    // An event of a kind that nobody here has heard of: a message in field 999, beside fields that are known.
    let mut newer = OrderEvent { order_id: "o-1".to_owned(), ..OrderEvent::default() }.encode_to_vec();
    prost::encoding::string::encode(999, &"new".to_owned(), &mut newer);
    let newer = Bytes::from(newer);
    let send = async |headers: Vec<Header>| {
        let key = Bytes::from_static(b"o-1");
        let partition = partition_for_key(&key, Mesh::config().mesh.partitions);
        let record = Record { key: Some(key), value: Some(newer.clone()), headers, timestamp_ms: 1_790_000_000_000 };
        mesh.append("orders", partition, record).await;
    };
    send(Vec::new()).await;
    send(vec![Header::new(SCHEMA_HEADER, format!("{ORDER_EVENT};00000000000000ff"))]).await;
    // What says that it is something else is set aside by everyone who reads the topic, byte for byte.
    send(vec![Header::new(SCHEMA_HEADER, "shop.v1.Sale;00000000000000ff")]).await;
    ship(&mesh, "o-1").await;

    let definitions = ordermesh::definitions(&Mesh::config());
    let reads = |definition: &&Definition| definition.input_topics().any(|topic| topic.as_str() == "orders");
    let readers = definitions.iter().filter(reads).count();
    let letters = eventually("a dead letter of each reader", async || {
        let request = ListDeadLettersRequest { page_size: 1000, require_complete: true, ..Default::default() };
        let letters = mesh.dead_letters().list_dead_letters(timed(request)).await.unwrap().into_inner().dead_letters;
        (letters.len() >= readers).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), readers, "what is only newer is no dead letter: {letters:?}");
    for letter in &letters {
        assert!(letter.topic == "orders" && letter.reason.contains("shop.v1.Sale"), "{letter:?}");
        assert_eq!(letter.value.as_ref(), Some(&newer), "the bytes are as they were");
    }
}

fn config(directory: &Path) -> Config {
    let mut config = Mesh::config();
    config.mesh.data = directory.join("data");
    config.listen.address = ([127, 0, 0, 1], 0).into();
    config
}

async fn start(config: Config) -> Result<Instance, StartError> {
    let listener = server::bind(config.listen.address).await.unwrap();
    let security = Security::open(&config).unwrap();
    let instance =
        Instance::start(Setup { config, security, listener, clock: Clock::system(), tracer: Arc::new(NoTracer) });
    let instance = instance.await?;
    instance.running().await.unwrap();
    Ok(instance)
}

/// Why an instance does not start.
async fn refusal(config: Config) -> String {
    let error = start(config).await.expect_err("it does not start");
    assert!(matches!(error, StartError::Schemas(_)), "{error}");
    Chain(&error).to_string()
}
