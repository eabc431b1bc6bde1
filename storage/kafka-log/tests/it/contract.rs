//! The contract suite of the port, on as many nodes as the brokers under test have.

use std::sync::Arc;

use async_trait::async_trait;
use event_log::SharedLog;
use event_log::contract::{self, Factory};
use kafka_log::KafkaLog;

use crate::broker;

struct Brokers {
    prefix: String,
}

#[async_trait]
impl Factory for Brokers {
    async fn open(&self) -> SharedLog {
        Arc::new(KafkaLog::connect(broker::config()).await.unwrap())
    }

    async fn close(&self, log: SharedLog) {
        drop(log);
    }

    fn topic_prefix(&self) -> String {
        self.prefix.clone()
    }

    fn headers_are_a_map(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn kafka_behaves_as_a_log() {
    let _brokers = broker::alone().await;
    contract::run(&Brokers { prefix: broker::unique("contract") }).await;
}
