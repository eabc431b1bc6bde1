//! Poison of every kind, straight into the topics: the partition goes on, and what came in is processed or a dead letter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use event_log::{Record, partition_for_key};
use proto::mesh::v1::{DeadLetter, DeadLetterState, ListDeadLettersRequest, ReplayDeadLetterRequest};
use proto::orders::v1::{OrderState, WaitFor};
use testkit::Mesh;
use tonic::Status;

use crate::shop::{Shop, eventually, named, order, reason, timed};

/// Longest time that poison may hold up its partition.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// Times that everything is done, for others use the machine too.
const ROUNDS: usize = 3;

/// Records that nothing can process.
fn poison() -> Vec<(Option<&'static [u8]>, Vec<u8>)> {
    vec![
        // Bytes that are no protobuf.
        (Some(b"o-1"), vec![0xff; 64]),
        // A message of another schema: its first field is a number where a text should be.
        (Some(b"o-1"), vec![0x08, 0x01]),
        // Almost as large as the log takes.
        (Some(b"o-1"), vec![0xff; 900 * 1024]),
        // Without a key.
        (None, vec![0x0a, 0x01, b'o']),
    ]
}

async fn letters(mesh: &Mesh, request: ListDeadLettersRequest) -> Vec<DeadLetter> {
    let request = ListDeadLettersRequest { page_size: 1000, require_complete: true, ..request };
    mesh.dead_letters().list_dead_letters(timed(request)).await.unwrap().into_inner().dead_letters
}

async fn replay(mesh: &Mesh, letter: &DeadLetter) -> Result<DeadLetter, Status> {
    let dead_letter_id = letter.dead_letter_id.clone();
    let request = ReplayDeadLetterRequest { dead_letter_id, request_id: String::new() };
    Ok(mesh.dead_letters().replay_dead_letter(timed(request)).await?.into_inner().dead_letter.unwrap())
}

/// Services and how many letters each has.
fn by_service(letters: &[DeadLetter]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for letter in letters {
        *counts.entry(letter.service.clone()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_of_every_kind_is_set_aside_and_its_partition_goes_on() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 100).await;
    let config = Mesh::config();
    let readers: Vec<&str> = ordermesh::definitions(&config)
        .iter()
        .filter(|definition| definition.input_topics().any(|topic| topic.as_str() == "orders"))
        .map(task_runtime::Definition::service)
        .collect();
    assert!(readers.len() >= 4, "{readers:?}");
    // The fastest round tells how long poison holds up an order.
    let mut fastest = Duration::MAX;
    for round in 0..ROUNDS {
        let order_id = format!("behind-poison-{round}");
        let partition = partition_for_key(order_id.as_bytes(), config.mesh.partitions);
        for (key, value) in poison() {
            let key = key.map(bytes::Bytes::from_static);
            let record =
                Record { key, value: Some(value.into()), headers: Vec::new(), timestamp_ms: 1_790_000_000_000 };
            mesh.append("orders", partition, record).await;
        }
        let begin = Instant::now();
        shop.create(named(&order_id, order("c-1", &[("jumpers", 1)]))).await.unwrap();
        let shipped = shop.wait(&order_id, WaitFor::Shipped).await.unwrap();
        assert_eq!(shipped.state(), OrderState::Shipped);
        fastest = fastest.min(begin.elapsed());
    }
    assert!(fastest < DELAY_MAX, "an order behind poison took {fastest:?}");

    let count = poison().len() * ROUNDS;
    let wanted: BTreeMap<String, usize> = readers.iter().map(|service| ((*service).to_owned(), count)).collect();
    let all = eventually("a letter for each reader and record", async || {
        let all = letters(&mesh, ListDeadLettersRequest::default()).await;
        (by_service(&all) == wanted).then_some(all)
    })
    .await;
    assert!(all.iter().all(|letter| letter.topic == "orders" && !letter.reason.is_empty()));
    assert_eq!(all.iter().filter(|letter| letter.key.is_none()).count(), readers.len() * ROUNDS);
    let large: Vec<_> = all.iter().filter(|letter| letter.value_bytes == 900 * 1024).collect();
    assert_eq!(large.len(), readers.len() * ROUNDS);
    assert!(large.iter().all(|letter| letter.is_cut));
    let small = all.iter().find(|letter| letter.value_bytes == 64).unwrap();
    assert_eq!((small.value.as_deref(), small.key.as_deref()), (Some(&[0xff; 64][..]), Some(&b"o-1"[..])));
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_in_every_topic_stops_nobody() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 100).await;
    let partition = partition_for_key(b"behind", Mesh::config().mesh.partitions);
    let definitions = ordermesh::definitions(&Mesh::config());
    let mut wanted = BTreeSet::new();
    for definition in &definitions {
        // What comes in as a dead letter is kept, whatever it is.
        for topic in definition.input_topics().filter(|topic| !topic.as_str().ends_with("-dead-letters")) {
            wanted.insert((definition.service().to_owned(), topic.to_string()));
        }
    }
    let topics: BTreeSet<&str> = wanted.iter().map(|(_, topic)| topic.as_str()).collect();
    for topic in topics {
        for (key, value) in poison() {
            let key = key.map(bytes::Bytes::from_static);
            let record =
                Record { key, value: Some(value.into()), headers: Vec::new(), timestamp_ms: 1_790_000_000_000 };
            mesh.append(topic, partition, record).await;
        }
    }
    shop.create(named("behind", order("c-1", &[("jumpers", 1)]))).await.unwrap();
    assert_eq!(shop.wait("behind", WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);
    // Garbage is a letter of each service that reads the topic; what a handler can make nothing of, but read, need not be.
    eventually("a letter for each reader of each topic", async || {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for letter in letters(&mesh, ListDeadLettersRequest::default()).await {
            *counts.entry((letter.service, letter.topic)).or_default() += 1;
        }
        let is_there = |place: &(String, String)| counts.get(place).is_some_and(|count| (2..=4).contains(count));
        wanted.iter().all(is_there).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_go_back_once_in_their_order_and_to_their_service_alone() {
    let mesh = Mesh::start().await;
    let partition = partition_for_key(b"o-1", Mesh::config().mesh.partitions);
    for value in [&b"\xff"[..], b"\xfe"] {
        let record = Record {
            key: Some(bytes::Bytes::from_static(b"o-1")),
            value: Some(bytes::Bytes::from_static(value)),
            headers: Vec::new(),
            timestamp_ms: 1_790_000_000_000,
        };
        mesh.append("orders", partition, record).await;
    }
    let of_shipping = || ListDeadLettersRequest { service: "shipping".to_owned(), ..Default::default() };
    let before = eventually("two letters", async || {
        let found = letters(&mesh, of_shipping()).await;
        (found.len() == 2).then_some(found)
    })
    .await;
    assert_eq!(reason(&replay(&mesh, &before[1]).await.unwrap_err()), "EARLIER_LETTER_WAITING");
    for _ in 0..3 {
        assert_eq!(replay(&mesh, &before[0]).await.unwrap().state(), DeadLetterState::Replayed);
    }
    replay(&mesh, &before[1]).await.unwrap();
    // Neither can be processed now either: each is a letter again, and shipping's only.
    let after = eventually("two more letters", async || {
        let found = letters(&mesh, of_shipping()).await;
        (found.len() == 4).then_some(found)
    })
    .await;
    let again: Vec<_> = after.iter().filter(|letter| letter.topic == "shipping-replays").collect();
    assert_eq!(again.iter().map(|letter| letter.value.as_deref().unwrap()).collect::<Vec<_>>(), [b"\xff", b"\xfe"]);

    let mesh = mesh.restart().await;
    let all = letters(&mesh, ListDeadLettersRequest::default()).await;
    let waiting = ListDeadLettersRequest { state: DeadLetterState::Waiting.into(), ..of_shipping() };
    assert_eq!(letters(&mesh, waiting).await.len(), 2);
    assert!(by_service(&all).iter().all(|(service, count)| *count == if service == "shipping" { 4 } else { 2 }));
}
