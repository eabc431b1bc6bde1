//! Appends to brokers that answer what a test says.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_log::{Error, EventLog, Offset, Record, TopicPartition};
use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, MetadataRequest, ProduceRequest, ProduceResponse,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::job::{Job, Waiting};
use super::producer::Producer;
use crate::testing::{Asked, Broker, metadata};
use crate::wire::Dial;
use crate::wire::cluster::Cluster;
use crate::{Config, KafkaLog};

const PATIENCE: Duration = Duration::from_secs(20);

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
    broker_that_hangs(answers, |_| false).await
}

/// One that never answers some requests.
async fn broker_that_hangs(
    answers: impl Fn(&Asked, &str) -> Option<bytes::Bytes> + Send + Sync + 'static,
    hangs: impl Fn(&Asked) -> bool + Send + Sync + 'static,
) -> Broker {
    let own = Arc::new(std::sync::OnceLock::<String>::new());
    let known = own.clone();
    let broker = Broker::start(move |asked| {
        let answer = own.get().and_then(|address| answers(&asked, address));
        let hangs = hangs(&asked);
        async move { if hangs { std::future::pending().await } else { answer } }
    })
    .await;
    known.set(broker.address().to_owned()).unwrap();
    broker
}

async fn log(broker: &Broker) -> KafkaLog {
    let config = Config { operation_timeout: PATIENCE, ..Config::new([broker.address()]) };
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

#[tokio::test]
async fn what_waits_behind_others_for_too_long_was_not_sent_and_never_is() {
    // Two of them are too much for one request.
    const BYTES: usize = 1_500;
    let (hangs, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
    let (is_hanging, seen) = (hangs.clone(), sent.clone());
    let answers = move |asked: &Asked, address: &str| {
        asked.answer(|request: ProduceRequest| {
            let topic = &request.topic_data[0];
            let bytes = topic.partition_data[0].records.clone().unwrap();
            let own = (b'a'..=b'z').find(|own| bytes.windows(BYTES).any(|window| window == [*own; BYTES])).unwrap();
            seen.lock().unwrap().push(own);
            ProduceResponse::default()
        });
        answer(asked, &[("t", 1)], address, 0)
    };
    let hanging = move |asked: &Asked| asked.is::<ProduceRequest>() && is_hanging.load(Ordering::SeqCst);
    let broker = broker_that_hangs(answers, hanging).await;
    let operation_timeout = Duration::from_millis(500);
    let config = Config { append_bytes_max: 2_048, operation_timeout, ..Config::new([broker.address()]) };
    let (log, partition) = (KafkaLog::connect(config).await.unwrap(), TopicPartition::new("t", 0));
    let append =
        |own: u8| log.append(&partition, vec![Record { value: Some(vec![own; BYTES].into()), ..record().remove(0) }]);
    let outcomes = join_all((b'a'..=b'h').map(append)).await;
    assert!(matches!(outcomes[7], Err(Error::Unavailable(_))), "{outcomes:?}");
    hangs.store(false, Ordering::SeqCst);
    at_last(|| append(b'z')).await;
    let was_sent = |own: u8| sent.lock().unwrap().contains(&own);
    for (own, outcome) in (b'a'..).zip(&outcomes) {
        assert!(!matches!(outcome, Err(Error::Unavailable(_))) || !was_sent(own), "{outcomes:?}");
    }
    assert!(was_sent(b'a') && was_sent(b'z'));
}

/// Appends until it works.
async fn at_last<F: Future<Output = Result<Offset, Error>>>(append: impl Fn() -> F) {
    let appending = async { while append().await.is_err() {} };
    timeout(PATIENCE / 2, appending).await.expect("an append works at last");
}

#[tokio::test]
async fn brokers_that_do_not_say_who_leads_are_waited_for_no_longer_than_the_append() {
    let is_ill = Arc::new(AtomicBool::new(false));
    let (moved, hangs) = (is_ill.clone(), is_ill.clone());
    let code = move || if moved.load(Ordering::SeqCst) { ResponseError::NotLeaderOrFollower.code() } else { 0 };
    let answers = move |asked: &Asked, address: &str| answer(asked, &[("t", 1)], address, code());
    let hanging = move |asked: &Asked| asked.is::<MetadataRequest>() && hangs.load(Ordering::SeqCst);
    let broker = broker_that_hangs(answers, hanging).await;
    let operation_timeout = Duration::from_secs(1);
    let config = Config { connect_timeout: PATIENCE, operation_timeout, ..Config::new([broker.address()]) };
    let (log, partition) = (KafkaLog::connect(config).await.unwrap(), TopicPartition::new("t", 0));
    assert_eq!(log.append(&partition, record()).await.unwrap(), Offset(7));
    is_ill.store(true, Ordering::SeqCst);
    let outcome = timeout(PATIENCE / 2, log.append(&partition, record())).await.expect("it ends in time");
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    is_ill.store(false, Ordering::SeqCst);
    at_last(|| log.append(&partition, record())).await;
}

#[tokio::test]
async fn an_append_whose_time_is_over_between_two_tries_leaves_the_others_theirs() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let moved = is_ill.clone();
    let broker = broker(move |asked, address| {
        let is_ill = moved.load(Ordering::SeqCst);
        let code = if is_ill { ResponseError::NotLeaderOrFollower.code() } else { 0 };
        answer(asked, &[("t", 1)], address, code)
    })
    .await;
    let operation_timeout = Duration::from_secs(1);
    let config = Config { operation_timeout, ..Config::new([broker.address()]) };
    let cluster = Cluster::connect(Dial::new(&config).unwrap(), Arc::new(config)).await.unwrap();
    let (queue, appends) = mpsc::channel(2);
    let hand_over = |patience| {
        let (reply, outcome) = oneshot::channel();
        queue.try_send(Waiting { records: record(), size: 5, deadline: Instant::now() + patience, reply }).unwrap();
        timeout(PATIENCE, outcome)
    };
    let (impatient, patient) = (hand_over(operation_timeout), hand_over(PATIENCE));
    tokio::spawn(Job::new(Arc::new(Producer::new(Arc::new(cluster))), TopicPartition::new("t", 0), appends).run());
    let outcome = impatient.await.unwrap().unwrap();
    let is_told_why = |why: &String| why.contains("NotLeaderOrFollower");
    assert!(matches!(&outcome, Err(Error::Unavailable(why)) if is_told_why(why)), "{outcome:?}");
    is_ill.store(false, Ordering::SeqCst);
    // Alone in the request: with the other one before it, it would have the offset behind that.
    assert_eq!(patient.await.unwrap().unwrap().unwrap(), Offset(7));
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
