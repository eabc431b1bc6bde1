//! Registration with a registry that answers over a real connection.

use std::time::Duration;

use credentials::Secret;
use credentials::testing::Authority;
use schemas::{Catalogue, Config, Registering, Registration, RegistryError, Standing};
use task_runtime::Frame;
use testkit::{RegistryServer, RegistryTrouble};
use tokio_util::sync::CancellationToken;

use crate::compiled;

const ORDER: &str = "ordermesh.orders.v1.OrderEvent";
const PLACED: &str = "ordermesh.orders.v1.OrderPlaced";
const PATIENCE: Duration = Duration::from_secs(30);

fn config(url: &str) -> Config {
    let mut config = Config::default();
    config.registry.url = Some(url.to_owned());
    config.registry.request_timeout = Duration::from_millis(300);
    config.registry.start_wait = Duration::from_secs(5);
    config
}

fn ours() -> Catalogue {
    Catalogue::new(proto::FILE_DESCRIPTOR_SET).unwrap()
}

async fn register(config: &Config, topics: &[(&str, &str, Frame)]) -> Result<Registering, RegistryError> {
    let topics =
        topics.iter().map(|(topic, message, frame)| ((*topic).to_owned(), (*message).to_owned(), frame.clone()));
    Registering::begin(config, &ours(), topics.collect(), &CancellationToken::new()).await
}

#[tokio::test]
async fn every_topic_and_every_import_is_a_subject() {
    let registry = RegistryServer::start().await;
    let (orders, placed) = (Frame::default(), Frame::default());
    let topics = [("orders", ORDER, orders.clone()), ("orders-by-customer", PLACED, placed.clone())];
    register(&config(&registry.url()), &topics).await.unwrap();
    let subjects: Vec<_> = registry.subjects().into_keys().collect();
    let imports = ["ordermesh.common.v1.money", "ordermesh.inventory.v1.inventory", "ordermesh.orders.v1.orders"];
    assert!(imports.iter().all(|import| subjects.iter().any(|subject| subject == import)), "{subjects:?}");
    assert!(["orders-value", "orders-by-customer-value"].iter().all(|topic| subjects.iter().any(|s| s == topic)));

    // Both messages are in one file, hence in one schema; their places in it differ.
    let (orders, placed) = (orders.get().unwrap(), placed.get().unwrap());
    assert_eq!(orders[..5], placed[..5]);
    assert_ne!(orders, placed);
    for (frame, message) in [(orders, ORDER), (placed, PLACED)] {
        let value = [frame.as_ref(), b"\x0a\x03o-1"].concat();
        let (name, json) = registry.decode(&value);
        assert_eq!((name.as_str(), &json["orderId"]), (message, &"o-1".into()));
    }

    let requests = registry.requests();
    register(&config(&registry.url()), &topics).await.unwrap();
    assert_eq!(registry.requests(), 2 * requests);
    assert!(registry.subjects().values().all(|versions| *versions == 1), "a second start registers nothing new");
}

#[tokio::test]
async fn a_schema_that_breaks_a_registered_one_is_refused() {
    let registry = RegistryServer::start().await;
    let before = "syntax = \"proto3\"; package ordermesh.orders.v1; message OrderEvent { int64 order_id = 1; }";
    registry.has("orders-value", before);
    let frame = Frame::default();
    let refused = register(&config(&registry.url()), &[("orders", ORDER, frame.clone())]).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Refused { code: 409, .. }), "{refused}");
    assert!(refused.to_string().contains("orders-value") && refused.to_string().contains("order_id"), "{refused}");
    assert!(frame.get().is_none());
}

#[tokio::test]
async fn values_stay_bare_if_that_is_wanted() {
    let registry = RegistryServer::start().await;
    let mut config = config(&registry.url());
    config.registry.framed = false;
    let frame = Frame::default();
    register(&config, &[("orders", ORDER, frame.clone())]).await.unwrap();
    assert!(registry.subjects().contains_key("orders-value") && frame.get().is_none());
}

#[tokio::test]
async fn trouble_of_the_registry_is_waited_out() {
    let registry = RegistryServer::start().await;
    registry.misbehave([RegistryTrouble::Answer(503), RegistryTrouble::Silence, RegistryTrouble::Answer(429)]);
    let frame = Frame::default();
    register(&config(&registry.url()), &[("orders", ORDER, frame.clone())]).await.unwrap();
    assert!(frame.get().is_some());
}

#[tokio::test]
async fn a_registry_that_is_away_holds_nobody_up_and_gets_everything_later() {
    let registry = RegistryServer::start().await;
    let url = registry.url();
    let address = url.trim_start_matches("http://").parse().unwrap();
    drop(registry);
    let mut config = config(&url);
    config.registry.start_wait = Duration::ZERO;
    let frame = Frame::default();
    // The address is free only when the listener has gone.
    let registering = register(&config, &[("orders", ORDER, frame.clone())]).await.unwrap();
    assert!(frame.get().is_none(), "nobody has answered");
    let registry = loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(free) => {
                drop(free);
                break RegistryServer::at(address).await;
            }
            Err(_) => tokio::task::yield_now().await,
        }
    };
    tokio::time::timeout(PATIENCE, registering.ended()).await.unwrap();
    assert!(frame.get().is_some() && registry.subjects().contains_key("orders-value"));
}

#[tokio::test]
async fn a_refusal_that_comes_too_late_for_the_start_shows_harms_no_other_topic_and_may_be_taken_back() {
    let registry = RegistryServer::start().await;
    registry.has(
        "orders-value",
        "syntax = \"proto3\"; package ordermesh.orders.v1; message OrderEvent { int64 order_id = 1; }",
    );
    registry.misbehave([RegistryTrouble::Answer(503)]);
    let mut config = config(&registry.url());
    (config.registry.start_wait, config.registry.retry_pause_max) = (Duration::ZERO, Duration::from_millis(20));
    let (orders, placed) = (Frame::default(), Frame::default());
    let topics = [("orders", ORDER, orders.clone()), ("orders-by-customer", PLACED, placed.clone())];
    let registering = register(&config, &topics).await.unwrap();
    let standing = registering.standing();
    assert_eq!(standing.of("orders"), Some(Registration::Pending), "the start is not held up");
    reached(&standing, "orders-by-customer", |found| matches!(found, Registration::Registered { .. })).await;
    reached(&standing, "orders", |found| matches!(found, Registration::Refused { .. })).await;
    let Some(Registration::Refused { reason }) = standing.of("orders") else { panic!("it is refused") };
    assert!(reason.contains("409") && reason.contains("order_id"), "{reason}");
    assert!(orders.get().is_none() && placed.get().is_some());

    registry.forgets("orders-value");
    tokio::time::timeout(PATIENCE, registering.ended()).await.unwrap();
    assert!(matches!(standing.of("orders"), Some(Registration::Registered { .. })) && orders.get().is_some());
}

async fn reached(standing: &Standing, topic: &str, is_it: fn(&Registration) -> bool) {
    let look = async {
        while !standing.of(topic).is_some_and(|found| is_it(&found)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{topic}: {:?}", standing.of(topic)));
}

#[tokio::test]
async fn whoever_is_not_welcome_is_told_so() {
    let registry = RegistryServer::start().await;
    registry.wants_login("mesh", "geheim");
    let mut config = config(&registry.url());
    let topics = [("orders", ORDER, Frame::default())];
    let refused = register(&config, &topics).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Refused { code: 40101, .. }), "{refused}");
    (config.registry.username, config.registry.password) = ("mesh".to_owned(), Secret::new("geheim"));
    register(&config, &topics).await.unwrap();
}

#[tokio::test]
async fn a_registry_over_tls_is_who_its_authority_says() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    let issued = authority.issue("registry", &["127.0.0.1"]);
    let identity = credentials::identity(&issued.cert, &issued.key).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(credentials::provider());
    let tls = tls.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let registry = RegistryServer::over_tls(tls.with_single_cert(identity.chain, identity.key).unwrap()).await;
    let mut config = config(&registry.url());
    config.registry.ca_file = Some(authority.ca());
    let frame = Frame::default();
    register(&config, &[("orders", ORDER, frame.clone())]).await.unwrap();
    assert!(frame.get().is_some());

    config.registry.ca_file = None;
    config.registry.start_wait = Duration::ZERO;
    let untrusted = Frame::default();
    let stop = CancellationToken::new();
    let topics = vec![("orders".to_owned(), ORDER.to_owned(), untrusted.clone())];
    let registering = Registering::begin(&config, &ours(), topics, &stop).await.unwrap();
    stop.cancel();
    registering.ended().await;
    assert!(untrusted.get().is_none(), "nobody vouches for it");
}

#[tokio::test]
async fn a_message_that_there_is_not_is_named() {
    let registry = RegistryServer::start().await;
    let nothing = vec![("orders".to_owned(), "shop.Nothing".to_owned(), Frame::default())];
    let stop = CancellationToken::new();
    let refused = Registering::begin(&config(&registry.url()), &compiled("message Order {}"), nothing, &stop).await;
    assert!(matches!(refused, Err(RegistryError::Unknown(_))));
}
