//! Appends to brokers that answer what a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use event_log::{Error, EventLog, Offset, Record, TopicPartition};
use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, MetadataRequest, ProduceRequest, ProduceResponse,
};

use crate::testing::{Asked, Broker, metadata};
use crate::{Config, KafkaLog};

/// Answers as a broker does on which all is well, but that the partitions of an append get this code.
fn answer(asked: &Asked, topics: &[(&str, u32)], address: &str, code: i16) -> Option<bytes::Bytes> {
    asked
        .answer(|request: MetadataRequest| metadata(&request, &[address], topics))
        .or_else(|| asked.answer(|_: DescribeClientQuotasRequest| DescribeClientQuotasResponse::default()))
        .or_else(|| asked.answer(|request: ProduceRequest| produced(request, code)))
}

fn produced(request: ProduceRequest, code: i16) -> ProduceResponse {
    let topics = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|data| {
            let partition = PartitionProduceResponse::default().with_index(data.index).with_error_code(code);
            partition.with_base_offset(if code == 0 { 7 } else { -1 })
        });
        TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions.collect())
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// A broker that knows what it is asked by its own address.
async fn broker(answers: impl Fn(&Asked, &str) -> Option<bytes::Bytes> + Send + Sync + 'static) -> Broker {
    let own = Arc::new(std::sync::OnceLock::<String>::new());
    let known = own.clone();
    let broker = Broker::start(move |asked| {
        let answer = own.get().and_then(|address| answers(&asked, address));
        async move { answer }
    })
    .await;
    known.set(broker.address().to_owned()).unwrap();
    broker
}

async fn log(broker: &Broker) -> KafkaLog {
    let config = Config { operation_timeout: Duration::from_secs(20), ..Config::new([broker.address()]) };
    KafkaLog::connect(config).await.unwrap()
}

fn record() -> Vec<Record> {
    vec![Record { value: Some("value".into()), ..Record::default() }]
}

/// A broker that does not know the topic in so many appends as it is told, and how many of these had several partitions.
async fn forgetful(partitions: u32) -> (Broker, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (left, shared) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (refuse, refused) = (left.clone(), shared.clone());
    let broker = broker(move |asked, address| {
        let mut code = 0;
        asked.answer(|request: ProduceRequest| {
            let less = refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if less.is_ok() {
                code = ResponseError::UnknownTopicOrPartition.code();
                let together: usize = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
                refused.fetch_add(usize::from(together > 1), Ordering::SeqCst);
            }
            ProduceResponse::default()
        });
        answer(asked, &[("new", partitions)], address, code)
    })
    .await;
    (broker, left, shared)
}

#[tokio::test]
async fn an_append_to_a_broker_that_has_not_heard_of_the_topic_yet_is_tried_again() {
    let (broker, refuse, shared) = forgetful(1).await;
    let log = log(&broker).await;
    refuse.store(3, Ordering::SeqCst);
    assert_eq!(log.append(&TopicPartition::new("new", 0), record()).await.unwrap(), Offset(7));
    assert_eq!((refuse.load(Ordering::SeqCst), shared.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn appends_that_share_a_request_which_a_broker_does_not_know_yet_are_tried_again() {
    const PARTITIONS: u32 = 20;
    let (broker, refuse, shared) = forgetful(PARTITIONS).await;
    let log = log(&broker).await;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new("new", partition)).collect();
    for refused in [0, 3] {
        // Those that are new to a broker go alone.
        refuse.store(refused, Ordering::SeqCst);
        for appended in join_all(partitions.iter().map(|partition| log.append(partition, record()))).await {
            assert_eq!(appended.unwrap(), Offset(7));
        }
    }
    assert_eq!(refuse.load(Ordering::SeqCst), 0);
    assert!(shared.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn an_append_to_a_topic_that_is_gone_everywhere_says_so() {
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = gone.clone();
    let broker = broker(move |asked, address| {
        if is_gone.load(Ordering::SeqCst) {
            answer(asked, &[], address, ResponseError::UnknownTopicOrPartition.code())
        } else {
            answer(asked, &[("old", 1)], address, 0)
        }
    })
    .await;
    let (log, partition) = (log(&broker).await, TopicPartition::new("old", 0));
    assert_eq!(log.append(&partition, record()).await.unwrap(), Offset(7));
    gone.store(true, Ordering::SeqCst);
    let outcome = log.append(&partition, record()).await;
    assert!(matches!(outcome, Err(Error::UnknownTopic(_))), "{outcome:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_that_rskafka_makes_wait_for_no_acknowledgement() {
    let broker = broker(|asked, address| answer(asked, &[("t", 1)], address, 0)).await;
    let port = broker.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let log = log(&broker).await;
    let ours = super::nodelay::of(port).len();
    log.append(&TopicPartition::new("t", 0), record()).await.unwrap();
    let all = super::nodelay::of(port);
    assert!(all.len() > ours, "an append that is alone goes through rskafka");
    assert!(all.iter().all(|is_set| *is_set), "{all:?}");
}
