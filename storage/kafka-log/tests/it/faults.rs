//! One broker that is cut off, stopped, killed and started again: every call ends in time and says what it knows.

use std::time::Duration;

use event_log::{Error, EventLog};
use kafka_log::KafkaLog;
use tokio::time::{Instant, sleep};

use crate::broker::{self, PATIENCE, all, append_at_last, hasty, node, record, values, within};
use crate::proxy::{Mode, Proxy};

/// Longer than any call may take with the hasty configuration, its poll included.
const IN_TIME: Duration = Duration::from_secs(4);

async fn behind_a_proxy() -> (KafkaLog, Proxy) {
    let (proxy, addresses) = Proxy::start(&broker::config().brokers).await;
    let log = broker::hasty_log(addresses).await;
    (log, proxy)
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn an_append_whose_answer_is_lost_has_an_unknown_outcome() {
    let _brokers = broker::shared().await;
    let (log, proxy) = behind_a_proxy().await;
    let partition = broker::topic("lost-answer").await;
    append_at_last(&log, &partition, "before").await;
    proxy.set(Mode::LoseAnswers);
    let outcome = within(IN_TIME, "a lost answer", log.append(&partition, vec![record("lost")])).await;
    assert!(matches!(outcome, Err(Error::UnknownOutcome(_))), "{outcome:?}");
    assert_eq!(proxy.touched(), 1, "it is sent once");
    proxy.set(Mode::Pass);
    // What is sent again stands there twice: the outcome was unknown, and it had been appended.
    log.append(&partition, vec![record("lost")]).await.unwrap();
    assert_eq!(values(&all(&log, &partition).await), ["before", "lost", "lost"]);
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn an_append_that_was_given_up_may_land_later() {
    let _brokers = broker::shared().await;
    let (log, proxy) = behind_a_proxy().await;
    let partition = broker::topic("late").await;
    append_at_last(&log, &partition, "before").await;
    proxy.set(Mode::Hold);
    let outcome = within(IN_TIME, "giving up", log.append(&partition, vec![record("late")])).await;
    assert!(matches!(outcome, Err(Error::UnknownOutcome(_))), "{outcome:?}");
    proxy.set(Mode::Pass);
    log.append(&partition, vec![record("behind")]).await.unwrap();
    assert_eq!(values(&all(&log, &partition).await), ["before", "behind"]);
    proxy.release();
    let deadline = Instant::now() + PATIENCE;
    while values(&all(&log, &partition).await) != ["before", "behind", "late"] {
        assert!(Instant::now() < deadline, "the append that was held lands");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_paused_broker_is_noticed_in_time_and_used_again() {
    let _brokers = broker::alone().await;
    let log = broker::hasty_log(broker::config().brokers).await;
    let partition = broker::topic("paused").await;
    append_at_last(&log, &partition, "before").await;
    for number in 1..=broker::config().brokers.len() {
        node("pause", i32::try_from(number).unwrap());
    }
    let appended = within(IN_TIME, "an append", log.append(&partition, vec![record("while")])).await;
    let again = within(IN_TIME, "another append", log.append(&partition, vec![record("while")])).await;
    let latest = within(IN_TIME, "an offset", log.latest(&partition)).await;
    let fetched = within(IN_TIME, "a fetch", broker::fetch(&log, &partition, 1, Duration::from_secs(30))).await;
    let topics = within(IN_TIME, "a list", log.topics()).await;
    let connected = within(IN_TIME, "a connection", KafkaLog::connect(hasty())).await;
    for number in 1..=broker::config().brokers.len() {
        node("resume", i32::try_from(number).unwrap());
    }
    assert!(matches!(appended, Err(Error::UnknownOutcome(_))), "{appended:?}");
    assert!(again.is_err_and(|error| error.is_retryable()));
    assert!(matches!(latest, Err(Error::Unavailable(_))), "{latest:?}");
    assert!(matches!(fetched, Some(Err(Error::Unavailable(_)))), "{fetched:?}");
    assert!(topics.is_err_and(|error| error.is_retryable()));
    assert!(connected.is_err());
    append_at_last(&log, &partition, "after").await;
    let values = values(&all(&log, &partition).await);
    assert_eq!((values.first().unwrap().as_str(), values.last().unwrap().as_str()), ("before", "after"));
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_killed_broker_is_used_again_once_it_is_back() {
    let _brokers = broker::alone().await;
    let log = broker::hasty_log(broker::config().brokers).await;
    let partition = broker::topic("killed").await;
    for number in 0..20 {
        append_at_last(&log, &partition, &number.to_string()).await;
    }
    let count = i32::try_from(broker::config().brokers.len()).unwrap();
    (1..=count).for_each(|number| node("kill", number));
    let appended = within(IN_TIME, "an append", log.append(&partition, vec![record("20")])).await;
    assert!(appended.is_err_and(|error| error.is_retryable()));
    let fetched = within(IN_TIME, "a fetch", broker::fetch(&log, &partition, 20, Duration::from_secs(30))).await;
    assert!(matches!(fetched, Some(Err(Error::Unavailable(_)))), "{fetched:?}");
    // Nodes find each other while they start, so none waits for another.
    let starts: Vec<_> = (1..=count).map(|number| std::thread::spawn(move || node("restart", number))).collect();
    starts.into_iter().for_each(|start| start.join().unwrap());
    for number in 20..40 {
        append_at_last(&log, &partition, &number.to_string()).await;
    }
    let mut found = values(&all(&log, &partition).await);
    found.dedup();
    assert_eq!(found, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
}
