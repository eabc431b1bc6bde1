//! A whole mesh in this process, for end-to-end tests: every role behind the gateway on a free port, in a directory of its
//! own that goes away with it. It is the production instance; only the port, the directory and, on request, the clock are
//! the test's.

use std::sync::Arc;
use std::time::Duration;

use event_log::{FetchFrom, FetchLimits, Record, TopicName, TopicPartition};
use ordermesh::{Config, Instance, Security, Setup, Stopped, Sync};
use proto::customers::v1::customer_service_client::CustomerServiceClient;
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::manufacturing::v1::manufacturing_service_client::ManufacturingServiceClient;
use proto::mesh::v1::dead_letter_service_client::DeadLetterServiceClient;
use proto::notifications::v1::notification_service_client::NotificationServiceClient;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::payments::v1::payment_service_client::PaymentServiceClient;
use proto::shipping::v1::shipping_service_client::ShippingServiceClient;
use proto::validation::v1::validation_service_client::ValidationServiceClient;
use service_host::{Clock, server};
use task_runtime::NoTracer;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// A mesh that runs. Stop it, or drop it with its runtime.
#[derive(Debug)]
pub struct Mesh {
    directory: TempDir,
    config: Config,
    clock: Clock,
    instance: Instance,
    channel: Channel,
}

impl Mesh {
    /// The configuration that tests start from: no fsync.
    #[must_use]
    pub fn config() -> Config {
        let mut config = Config::default();
        config.broker.sync = Sync::Os;
        config
    }

    /// A mesh on the machine's clock.
    pub async fn start() -> Self {
        Self::with(Self::config(), Clock::system()).await
    }

    /// A mesh on any clock. Directory and port of `config` are replaced.
    ///
    /// # Panics
    /// If it does not start, which fails the test.
    pub async fn with(mut config: Config, clock: Clock) -> Self {
        let directory = tempfile::tempdir().expect("a test needs a temporary directory");
        config.mesh.data = directory.path().join("data");
        config.listen.address = ([127, 0, 0, 1], 0).into();
        let (instance, channel) = start(&config, &clock).await;
        Self { directory, config, clock, instance, channel }
    }

    /// Stops it in an orderly way and starts it again on the same directory, on another port.
    pub async fn restart(self) -> Self {
        let Self { directory, config, clock, instance, channel } = self;
        drop(channel);
        instance.stop().await;
        let (instance, channel) = start(&config, &clock).await;
        Self { directory, config, clock, instance, channel }
    }

    /// The same with other settings from then on.
    pub async fn reconfigured(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self.restart().await
    }

    /// Stops it in an orderly way.
    pub async fn stop(self) -> Stopped {
        drop(self.channel);
        self.instance.stop().await
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where its gateway listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.instance.address()
    }

    /// A connection to its gateway.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A client of OrderService.
    #[must_use]
    pub fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel())
    }

    /// A client of ValidationService.
    #[must_use]
    pub fn validation(&self) -> ValidationServiceClient<Channel> {
        ValidationServiceClient::new(self.channel())
    }

    /// A client of InventoryService.
    #[must_use]
    pub fn inventory(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.channel())
    }

    /// A client of CustomerService.
    #[must_use]
    pub fn customers(&self) -> CustomerServiceClient<Channel> {
        CustomerServiceClient::new(self.channel())
    }

    /// A client of ManufacturingService.
    #[must_use]
    pub fn manufacturing(&self) -> ManufacturingServiceClient<Channel> {
        ManufacturingServiceClient::new(self.channel())
    }

    /// A client of PaymentService.
    #[must_use]
    pub fn payments(&self) -> PaymentServiceClient<Channel> {
        PaymentServiceClient::new(self.channel())
    }

    /// A client of NotificationService.
    #[must_use]
    pub fn notifications(&self) -> NotificationServiceClient<Channel> {
        NotificationServiceClient::new(self.channel())
    }

    /// A client of DeadLetterService.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetterServiceClient<Channel> {
        DeadLetterServiceClient::new(self.channel())
    }

    /// Appends a record to a partition of a topic, as a producer from outside the mesh does.
    ///
    /// # Panics
    /// The log does not take it.
    pub async fn append(&self, topic: &str, partition: u32, record: Record) {
        let at = TopicPartition { topic: TopicName::new(topic), partition };
        self.instance.log().append(&at, vec![record]).await.expect("the log takes a record");
    }

    /// Everything that stands in a topic now, partition by partition.
    ///
    /// # Panics
    /// The log does not answer.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let (log, mut records) = (self.instance.log(), Vec::new());
        for partition in 0..self.config.mesh.partitions {
            let at = TopicPartition { topic: TopicName::new(topic), partition };
            let mut offset = log.earliest(&at).await.expect("the log answers");
            let end = log.latest(&at).await.expect("the log answers");
            while offset < end {
                let from = [FetchFrom { partition: at.clone(), offset }];
                let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: Duration::from_secs(1) };
                for fetched in log.fetch(&from, limits).await.expect("the log answers") {
                    for stored in fetched.result.expect("the partition can be read").records {
                        offset = stored.offset.next();
                        records.push(stored.record);
                    }
                }
            }
        }
        records
    }

    /// A client of ShippingService.
    #[must_use]
    pub fn shipping(&self) -> ShippingServiceClient<Channel> {
        ShippingServiceClient::new(self.channel())
    }
}

async fn start(config: &Config, clock: &Clock) -> (Instance, Channel) {
    let listener = server::bind(config.listen.address).await.expect("a free port can be bound");
    let security = Security::open(config).expect("the files that the configuration names can be used");
    let setup = Setup { config: config.clone(), security, listener, clock: clock.clone(), tracer: Arc::new(NoTracer) };
    let instance = Instance::start(setup).await.expect("the mesh starts");
    instance.running().await.expect("every task runs");
    let endpoint = Endpoint::from_shared(format!("http://{}", instance.address())).expect("an address is a URI");
    let channel = endpoint.connect().await.expect("the mesh takes connections");
    (instance, channel)
}
