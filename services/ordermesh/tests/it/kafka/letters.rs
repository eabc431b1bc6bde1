//! Poison in a topic of a mesh of several instances: dead letters are found and sent back wherever one asks.

use bytes::Bytes;
use event_log::{EventLog, Record, TopicPartition, partition_for_key};
use proto::mesh::v1::dead_letter_service_client::DeadLetterServiceClient;
use proto::mesh::v1::{DeadLetter, DeadLetterState, ListDeadLettersRequest, ReplayDeadLetterRequest};
use proto::orders::v1::{OrderState, WaitFor};

use super::{Cluster, NAMES, PARTITIONS, unique};
use crate::shop::{eventually, named, order, timed};

/// Dead letters of a key, as one instance shows them, by service.
async fn letters(cluster: &Cluster, asked: &str, key: &str) -> Vec<DeadLetter> {
    let client = DeadLetterServiceClient::new(cluster.channel(asked));
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            ListDeadLettersRequest { page_size: 1_000, require_complete: true, page_token, ..Default::default() };
        let page = client.clone().list_dead_letters(timed(request)).await.unwrap().into_inner();
        found.extend(page.dead_letters.into_iter().filter(|letter| letter.key.as_deref() == Some(key.as_bytes())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            found.sort_by(|a, b| (&a.service, &a.dead_letter_id).cmp(&(&b.service, &b.dead_letter_id)));
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn poison_is_set_aside_once_for_each_service_and_can_be_sent_back_from_any_instance() {
    let mut cluster = Cluster::start().await;
    let definitions = ordermesh::definitions(&ordermesh::Config::default());
    let reads_orders =
        |definition: &&task_runtime::Definition| definition.input_topics().any(|topic| topic.as_str() == "orders");
    let mut readers: Vec<&str> =
        definitions.iter().filter(reads_orders).map(task_runtime::Definition::service).collect();
    readers.sort_unstable();
    let key = unique("poison");
    let partition = partition_for_key(key.as_bytes(), PARTITIONS);
    let poison = Record {
        key: Some(Bytes::from(key.clone())),
        value: Some(Bytes::from_static(&[0xff; 64])),
        headers: Vec::new(),
        timestamp_ms: 1_790_000_000_000,
    };
    let log = cluster.broker().log().await;
    log.append(&TopicPartition::new("orders", partition), vec![poison]).await.unwrap();

    // What comes behind it goes its way.
    let behind = std::iter::repeat_with(|| unique("o"));
    let behind = behind.into_iter().find(|id| partition_for_key(id.as_bytes(), PARTITIONS) == partition).unwrap();
    let (shop, product) = (cluster.shop("a"), unique("jumper"));
    shop.stock(&product, 10).await;
    shop.create(named(&behind, order(&unique("c"), &[(&product, 1)]))).await.unwrap();
    assert_eq!(shop.wait(&behind, WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);

    let found = eventually("a letter for each reader", async || {
        let found = letters(&cluster, "a", &key).await;
        (found.len() == readers.len()).then_some(found)
    })
    .await;
    assert_eq!(found.iter().map(|letter| letter.service.as_str()).collect::<Vec<_>>(), readers);
    for asked in NAMES {
        assert_eq!(letters(&cluster, asked, &key).await, found, "asked at {asked}");
    }
    let owner = cluster.owner("a", "dead-letters", partition.try_into().unwrap()).await;
    let other = NAMES.into_iter().find(|name| *name != owner).unwrap();
    let client = DeadLetterServiceClient::new(cluster.channel(other));
    let request = ReplayDeadLetterRequest { dead_letter_id: found[0].dead_letter_id.clone(), request_id: unique("r") };
    // Sent twice with the same id: sent back once.
    for _ in 0..2 {
        let sent = client.clone().replay_dead_letter(timed(request.clone())).await.unwrap().into_inner();
        assert_eq!(sent.dead_letter.unwrap().state(), DeadLetterState::Replayed);
    }
    // It is poison still: one more letter, which survives the death of whoever has them.
    let count = readers.len() + 1;
    eventually("the letter again", async || (letters(&cluster, other, &key).await.len() == count).then_some(())).await;
    cluster.kill(&owner);
    assert_eq!(letters(&cluster, other, &key).await.len(), count);
}
