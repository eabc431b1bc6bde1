//! One request that appends to several partitions of one broker.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use event_log::{Offset, Record, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};

use super::{Connection, Error};

/// Acknowledged when all replicas that are in sync have it.
const BY_ALL_IN_SYNC: i16 = -1;

/// What a broker said about the append to one partition: where it stands, or why it does not.
pub(crate) type Answer = Result<Offset, (ResponseError, String)>;

/// The records as one batch.
pub(crate) fn batch(records: &[Record]) -> Result<Bytes, String> {
    let records: Vec<_> = records.iter().enumerate().map(|(at, record)| encodable(at, record)).collect();
    let mut bytes = BytesMut::with_capacity(records.len() * 128);
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).map_err(|error| format!("{error:#}"))?;
    Ok(bytes.freeze())
}

/// Headers are a map: of a repeated name the first value stays, and they are sorted by it, as where an append goes alone.
fn encodable(at: usize, record: &Record) -> kafka_protocol::records::Record {
    let mut headers = IndexMap::with_capacity(record.headers.len());
    for header in &record.headers {
        let name = StrBytes::from_string(String::from_utf8_lossy(&header.name).into_owned());
        headers.entry(name).or_insert_with(|| Some(header.value.clone()));
    }
    headers.sort_unstable_keys();
    let at = i32::try_from(at).unwrap_or(i32::MAX);
    kafka_protocol::records::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(at),
        // It begins with "none"; a number that did not grow with the offset would begin a batch of its own for each record.
        sequence: at - 1,
        timestamp: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

/// What a broker said about a request.
#[derive(Debug)]
pub(crate) struct Produced {
    /// In the order of the batches; `None` where it says nothing.
    pub(crate) answers: Vec<Option<Answer>>,
    /// How long it holds this client back, by a quota. Zero mostly.
    pub(crate) throttled: Duration,
}

/// Appends a batch to each of the partitions, which the broker leads.
///
/// # Errors
/// The connection broke or the answer cannot be read: all may be appended, or not.
pub(crate) async fn produce(
    connection: &mut Connection,
    batches: &[(TopicPartition, Bytes)],
    within: Duration,
) -> Result<Produced, Error> {
    let mut topics: IndexMap<&str, Vec<PartitionProduceData>> = IndexMap::new();
    for (partition, batch) in batches {
        let index = i32::try_from(partition.partition).unwrap_or(i32::MAX);
        let data = PartitionProduceData::default().with_index(index).with_records(Some(batch.clone()));
        topics.entry(partition.topic.as_str()).or_default().push(data);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        TopicProduceData::default().with_name(name).with_partition_data(partitions)
    });
    let request = ProduceRequest::default()
        .with_acks(BY_ALL_IN_SYNC)
        .with_timeout_ms(i32::try_from(within.as_millis()).unwrap_or(i32::MAX))
        .with_topic_data(topics.collect());
    let answer = connection.call(&request, 3..=9).await?;
    let throttled = Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap_or(0));
    let mut answers = HashMap::new();
    for topic in answer.responses {
        for partition in topic.partition_responses {
            let result = match partition.error_code.err() {
                None => u64::try_from(partition.base_offset).ok().map(|base| Ok(Offset(base))),
                Some(code) => {
                    let said = partition.error_message.map(|said| said.to_string()).unwrap_or_default();
                    Some(Err((code, said)))
                }
            };
            let index = u32::try_from(partition.index).unwrap_or(u32::MAX);
            answers.insert((topic.name.0.clone(), index), result);
        }
    }
    let mut taken = |partition: &TopicPartition| {
        answers.remove(&(StrBytes::from_string(partition.topic.as_str().to_owned()), partition.partition)).flatten()
    };
    Ok(Produced { answers: batches.iter().map(|(partition, _)| taken(partition)).collect(), throttled })
}

#[cfg(test)]
mod tests {
    use event_log::Header;

    use kafka_protocol::messages::ProduceResponse;
    use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;
    use crate::Config;
    use crate::testing::Broker;
    use crate::wire::{Dial, batches};

    #[tokio::test]
    async fn an_answer_that_a_quota_has_delayed_counts_and_says_so() {
        let broker = Broker::start(|asked| async move {
            asked.answer(|request: ProduceRequest| {
                let partition = PartitionProduceResponse::default().with_base_offset(7);
                let topic = TopicProduceResponse::default().with_name(request.topic_data[0].name.clone());
                let responses = vec![topic.with_partition_responses(vec![partition])];
                ProduceResponse::default().with_responses(responses).with_throttle_time_ms(30)
            })
        })
        .await;
        let dial = Dial::new(&Config::new([broker.address()])).unwrap();
        let mut connection = dial.connect(broker.address()).await.unwrap();
        let batches = [(TopicPartition::new("t", 0), batch(&[Record::default()]).unwrap())];
        let produced = produce(&mut connection, &batches, Duration::from_secs(1)).await.unwrap();
        assert_eq!(produced.answers, [Some(Ok(Offset(7)))]);
        assert_eq!(produced.throttled, Duration::from_millis(30));
    }

    #[test]
    fn any_number_of_records_is_one_batch_that_reads_back_as_it_was() {
        let header = |name: &str, value: &str| Header { name: name.to_owned().into(), value: value.to_owned().into() };
        for count in [1, 2, 700] {
            let records: Vec<_> = (0..count)
                .map(|number| Record {
                    key: (number % 3 != 0).then(|| format!("key {number}").into()),
                    value: (number % 5 != 4).then(|| format!("value {number}").into()),
                    headers: vec![header("a", "1"), header("b", &number.to_string())],
                    timestamp_ms: 1_000 + i64::from(number),
                })
                .collect();
            let bytes = batch(&records).unwrap();
            assert_eq!(i32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize + 12, bytes.len(), "one batch");
            let read = batches::read(bytes, Offset::ZERO).unwrap().records;
            assert!(read.iter().enumerate().all(|(at, stored)| stored.offset.0 == at as u64));
            assert_eq!(read.into_iter().map(|stored| stored.record).collect::<Vec<_>>(), records);
        }
    }
}
