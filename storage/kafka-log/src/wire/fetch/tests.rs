//! Fetches from a broker that answers what a test says.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use event_log::{Error, EventLog};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, FetchRequest, FetchResponse, MetadataRequest,
};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::testing::{Broker, metadata};
use crate::{Config, KafkaLog};

/// One record that a transactional producer has written.
fn in_transaction() -> Bytes {
    let record = Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 7,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: 0,
        timestamp: 0,
        key: None,
        value: Some("value".into()),
        headers: Default::default(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
    bytes.freeze()
}

fn fetched(records: Option<Bytes>) -> FetchResponse {
    let high_watermark = i64::from(records.is_some());
    let data = PartitionData::default().with_high_watermark(high_watermark).with_records(records);
    let name = offsets::name(&event_log::TopicName::new("t"));
    let topic = FetchableTopicResponse::default().with_topic(name).with_partitions(vec![data]);
    FetchResponse::default().with_responses(vec![topic])
}

/// How far the test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Begun,
    /// A request reads ahead.
    ReadAhead,
    /// There is a record.
    Written,
    /// It was given to who reads ahead.
    Given,
}

#[tokio::test]
async fn a_reader_at_the_end_is_told_why_a_transaction_is_refused() {
    let stage = Arc::new(watch::Sender::new(Stage::Begun));
    let address = Arc::new(OnceLock::<String>::new());
    let (own, at) = (address.clone(), stage.clone());
    let broker = Broker::start(move |asked| {
        let (own, stage) = (own.get().cloned().unwrap_or_default(), at.clone());
        async move {
            let mut request = None;
            asked.answer(|fetch: FetchRequest| {
                request = Some(fetch);
                FetchResponse::default()
            });
            let Some(request) = request else {
                return asked.answer(|request: MetadataRequest| metadata(&request, &[&own], &[("t", 1)])).or_else(
                    || asked.answer(|_: DescribeClientQuotasRequest| DescribeClientQuotasResponse::default()),
                );
            };
            // A request of a session reads ahead. The others see the record only when that one has been given it.
            let reads_ahead = request.session_epoch >= 0;
            let wanted = if reads_ahead { Stage::Written } else { Stage::Given };
            if reads_ahead {
                stage.send_modify(|stage| *stage = (*stage).max(Stage::ReadAhead));
            }
            let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap());
            let mut watched = stage.subscribe();
            let is_there = timeout(wait, watched.wait_for(|stage| *stage >= wanted)).await.is_ok();
            if reads_ahead && is_there {
                stage.send_replace(Stage::Given);
            }
            asked.answer(|_: FetchRequest| fetched(is_there.then(in_transaction)))
        }
    })
    .await;
    address.set(broker.address().to_owned()).unwrap();
    let log = KafkaLog::connect(Config::new([broker.address()])).await.unwrap();
    let from = [FetchFrom { partition: TopicPartition::new("t", 0), offset: Offset::ZERO }];
    let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: Duration::from_secs(60) };
    let write = async {
        stage.subscribe().wait_for(|stage| *stage >= Stage::ReadAhead).await.unwrap();
        stage.send_replace(Stage::Written);
    };
    let both = async { tokio::join!(log.fetch(&from, limits), write) };
    let (fetched, ()) = timeout(Duration::from_secs(30), both).await.expect("the reader is told at once");
    match fetched.unwrap().pop().unwrap().result {
        Err(Error::Failed(why)) => assert!(why.contains("t/0") && why.contains("transaction"), "{why}"),
        other => panic!("must be refused: {other:?}"),
    }
}
