//! What the log costs on a real Kafka: latency of appends and of waking readers, and the processor time of this process.
//!
//! ```text
//! tools/kafka.sh start /tmp/kafka
//! ORDERMESH_TEST_KAFKA_DIR=/tmp/kafka cargo bench -p kafka-log
//! ```
//!
//! Without a broker it says so and measures nothing. A broker costs 2-4 times more in its first minutes: run it twice.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_log::{Cleanup, EventLog, FetchFrom, FetchLimits, Offset, Record, TopicPartition, TopicSpec};
use kafka_log::{Config, KafkaLog};

#[expect(clippy::disallowed_methods, reason = "a benchmark of a broker is told where it is")]
fn brokers() -> Option<String> {
    let directory = std::env::var("ORDERMESH_TEST_KAFKA_DIR").ok()?;
    std::fs::read_to_string(format!("{directory}/bootstrap")).ok()
}

/// Processor time of this process so far, in seconds; counted in hundredths.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn report(what: &str, mut times: Vec<Duration>, took: Duration, processor: f64) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what:34} p50 {:7.3} ms  p99 {:7.3} ms  {:7.0}/s  {:6.1} ms of processor time per 1,000",
        at(0.5),
        at(0.99),
        times.len() as f64 / took.as_secs_f64(),
        processor * 1e6 / times.len() as f64
    );
}

async fn topic(log: &KafkaLog, partitions: u32) -> String {
    #[expect(clippy::disallowed_methods, reason = "runs are told apart by when they were")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let name = format!("bench-{now}-{partitions}");
    let spec = TopicSpec { name: name.as_str().into(), partitions, cleanup: Cleanup::Never };
    log.ensure_topic(&spec).await.unwrap();
    name
}

fn sized(bytes: usize) -> Vec<Record> {
    vec![Record { value: Some(Bytes::from(vec![b'x'; bytes])), ..Record::default() }]
}

/// Appends one after the other to each of some partitions at the same time.
async fn appends(log: &KafkaLog, partitions: u32, bytes: usize, count: usize) {
    let name = topic(log, partitions).await;
    for number in 0..partitions {
        log.append(&TopicPartition::new(name.as_str(), number), sized(bytes)).await.unwrap();
    }
    let (begun, before) = (Instant::now(), processor_seconds());
    let jobs: Vec<_> = (0..partitions)
        .map(|number| {
            let (log, partition) = (log.clone(), TopicPartition::new(name.as_str(), number));
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(count);
                for _ in 0..count {
                    let begun = Instant::now();
                    log.append(&partition, sized(bytes)).await.unwrap();
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for job in jobs {
        times.extend(job.await.unwrap());
    }
    report(&format!("append {bytes} B, {partitions} at once"), times, begun.elapsed(), processor_seconds() - before);
}

/// A reader of some partitions that waits at their end, and records that come one by one: from sending to having read.
async fn wakes(log: &KafkaLog, partitions: u32, count: u64) {
    let name = topic(log, partitions).await;
    let (seen, mut sightings) = tokio::sync::mpsc::channel(1);
    let (reader, topic) = (log.clone(), name.clone());
    let reading = tokio::spawn(async move {
        let mut from: Vec<_> = (0..partitions)
            .map(|number| FetchFrom { partition: TopicPartition::new(topic.as_str(), number), offset: Offset::ZERO })
            .collect();
        let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: Duration::from_secs(5) };
        let mut left = count;
        while left > 0 {
            for fetched in reader.fetch(&from, limits).await.unwrap() {
                let records = fetched.result.unwrap().records;
                let at = from.iter_mut().find(|from| from.partition == fetched.partition).unwrap();
                at.offset = records.last().unwrap().offset.next();
                for _ in records {
                    left -= 1;
                    seen.send(Instant::now()).await.unwrap();
                }
            }
        }
    });
    let (begun, before) = (Instant::now(), processor_seconds());
    let mut times = Vec::new();
    for number in 0..count {
        let partition = TopicPartition::new(name.as_str(), u32::try_from(number).unwrap() % partitions);
        let sent = Instant::now();
        let (_, seen) = tokio::join!(log.append(&partition, sized(200)), sightings.recv());
        times.push(seen.unwrap() - sent);
    }
    reading.await.unwrap();
    report(&format!("append and read, {partitions} read"), times, begun.elapsed(), processor_seconds() - before);
}

/// Readers that wait for nothing: what they cost in a minute, from a sixth of it.
async fn idle(log: &KafkaLog, readers: u32) {
    let name = topic(log, readers).await;
    let before = processor_seconds();
    let until = Instant::now() + Duration::from_secs(10);
    let jobs: Vec<_> = (0..readers)
        .map(|number| {
            let (log, partition) = (log.clone(), TopicPartition::new(name.as_str(), number));
            tokio::spawn(async move {
                let from = [FetchFrom { partition, offset: Offset::ZERO }];
                while let Some(max_wait) = until.checked_duration_since(Instant::now()) {
                    let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait };
                    assert!(log.fetch(&from, limits).await.unwrap().is_empty());
                }
            })
        })
        .collect();
    for job in jobs {
        job.await.unwrap();
    }
    println!("{readers} readers at rest: {:.2} s of processor time per minute", (processor_seconds() - before) * 6.0);
}

fn main() {
    let Some(brokers) = brokers() else {
        println!("nothing measured: ORDERMESH_TEST_KAFKA_DIR names no running broker (tools/kafka.sh start DIR)");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = Arc::new(KafkaLog::connect(Config::new(brokers.trim().split(','))).await.unwrap());
        appends(&log, 4, 200, 5_000).await;
        println!("warmed up");
        for (partitions, bytes, count) in [
            (1, 200, 5_000),
            (1, 4_096, 5_000),
            (1, 16_384, 2_000),
            (1, 60_000, 1_000),
            (8, 200, 4_000),
            (64, 200, 500),
        ] {
            appends(&log, partitions, bytes, count).await;
        }
        for partitions in [1, 3, 24] {
            wakes(&log, partitions, 3_000).await;
        }
        idle(&log, 72).await;
    });
}
