//! Several processes of the real binary on a real Kafka: acceptance cases 23 to 27 and what else needs more than one of them.
//!
//! They need a broker and say so: `tools/kafka.sh` starts one, `ORDERMESH_TEST_KAFKA_DIR` names its directory (docs/operating.md).
//! All of them use the same topics, one test at a time, so that every mesh but the first begins with what others have left.
//! Names of orders, products and customers are therefore drawn anew by each test.

mod broker;
mod commands;
mod letters;
mod load;
mod losses;
mod mails;
mod members;
mod routes;
mod takeovers;
mod verify;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::LazyLock;

use proto::mesh::v1::topology_service_client::TopologyServiceClient;
use proto::mesh::v1::{GetTopologyRequest, InstanceState, Role, Topology, TopologyReplica, TopologyTask};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tonic::transport::Channel;

use crate::process::Process;
use crate::shop::{Shop, eventually, timed};

/// Partitions of every topic.
pub(super) const PARTITIONS: u32 = 4;
/// Names of the instances that most tests run.
pub(super) const NAMES: [&str; 3] = ["a", "b", "c"];
/// The process without tasks.
pub(super) const GATEWAY: &str = "gateway";

/// The topics are everybody's.
static TOPICS: Mutex<()> = Mutex::const_new(());

/// Processes of one mesh.
pub(super) struct Cluster {
    directory: TempDir,
    broker: Broker,
    group: String,
    flags: Vec<String>,
    running: BTreeMap<String, Process>,
    _alone: Option<MutexGuard<'static, ()>>,
}

/// A Kafka that `tools/kafka.sh` has started.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    directory: PathBuf,
}

impl Broker {
    /// The one that the tests were told of.
    #[expect(clippy::disallowed_methods, reason = "tests that need a broker are told where it is")]
    pub(super) fn given() -> Self {
        let named = std::env::var("ORDERMESH_TEST_KAFKA_DIR");
        let named = named.expect("needs a Kafka broker: tools/kafka.sh start DIR, ORDERMESH_TEST_KAFKA_DIR=DIR");
        Self { directory: named.into() }
    }

    /// One that runs in this directory.
    pub(super) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    pub(super) fn bootstrap(&self) -> String {
        let file = self.directory.join("bootstrap");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.trim().to_owned()
    }

    /// Does something to its only node: kill, pause, resume, restart.
    pub(super) async fn node(&self, action: &str) {
        kafka(&[action, self.directory.to_str().unwrap(), "1"]).await;
    }

    /// Runs a tool of Kafka's own, and returns what it says.
    pub(super) async fn tool(&self, name: &str, arguments: &[&str]) -> String {
        let bootstrap = self.bootstrap();
        let to = ["tool", name, "--bootstrap-server", &bootstrap];
        kafka(&to.iter().chain(arguments).copied().collect::<Vec<_>>()).await
    }

    pub(super) async fn log(&self) -> kafka_log::KafkaLog {
        let config = kafka_log::Config::new(self.bootstrap().split(','));
        kafka_log::KafkaLog::connect(config).await.unwrap()
    }
}

/// Runs `tools/kafka.sh`.
pub(super) async fn kafka(arguments: &[&str]) -> String {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/kafka.sh"));
    command.args(arguments);
    let said = arguments.join(" ");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{said}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Cluster {
    /// Three instances, and a process that is only a gateway.
    pub(super) async fn start() -> Self {
        let mut cluster = Self::empty(&[]).await;
        cluster.add(&[NAMES[0], NAMES[1], NAMES[2], GATEWAY]).await;
        cluster.settled().await;
        cluster
    }

    /// No process yet; all of them will get these flags.
    pub(super) async fn empty(flags: &[&str]) -> Self {
        let alone = TOPICS.lock().await;
        Self { _alone: Some(alone), ..Self::on(Broker::given(), flags) }
    }

    /// The same on a broker that nobody else uses.
    pub(super) fn on(broker: Broker, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self { directory, broker, group: unique("mesh"), flags, running: BTreeMap::new(), _alone: None }
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// Where an instance keeps its data.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// How a process of this name is started.
    pub(super) fn command(&self, name: &str) -> Command {
        self.command_in(name, &self.data(name))
    }

    /// The same with its data elsewhere.
    pub(super) fn command_in(&self, name: &str, data: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
        let part = if name == GATEWAY { "gateway" } else { "serve" };
        command.args([part, "--instance", name, "--group", &self.group, "--brokers", &self.broker.bootstrap()]);
        if !self.flags.iter().any(|flag| flag == "--partitions") {
            command.args(["--partitions", &PARTITIONS.to_string()]);
        }
        command.args(["--listen", "127.0.0.1:0", "--workshop", "0", "--data"]);
        command.arg(data).args(&self.flags).env("ORDERMESH__LOG__LEVEL", "error");
        // Test machines are busy, and brokers slow: a mesh waits longer here before it gives a broker up.
        for (setting, time) in [("CONNECT", "10s"), ("REQUEST", "15s"), ("OPERATION", "40s")] {
            command.env(format!("ORDERMESH__KAFKA__{setting}_TIMEOUT"), time);
        }
        command
    }

    /// Starts processes at once, and returns when all of them listen.
    pub(super) async fn add(&mut self, names: &[&str]) {
        let starts = names.iter().map(|name| {
            let command = self.command(name);
            tokio::task::spawn_blocking(move || Process::run(command))
        });
        for (name, started) in names.iter().zip(starts.collect::<Vec<_>>()) {
            self.running.insert((*name).to_owned(), started.await.unwrap());
        }
    }

    /// Asks a process to leave, and waits until it has.
    pub(super) async fn stop(&mut self, name: &str) {
        let process = self.take(name);
        let (status, said) = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
        assert!(status.success(), "{name} says {said}");
    }

    pub(super) fn kill(&mut self, name: &str) {
        self.take(name).kill();
    }

    /// How a process ended by itself.
    pub(super) async fn ended(&mut self, name: &str) -> ExitStatus {
        let process = self.take(name);
        tokio::task::spawn_blocking(move || process.end()).await.unwrap().0
    }

    pub(super) fn process(&self, name: &str) -> &Process {
        &self.running[name]
    }

    fn take(&mut self, name: &str) -> Process {
        self.running.remove(name).unwrap_or_else(|| panic!("{name} does not run"))
    }

    pub(super) fn channel(&self, name: &str) -> Channel {
        self.running[name].channel()
    }

    pub(super) fn shop(&self, name: &str) -> Shop {
        Shop::new(self.channel(name))
    }

    /// The mesh as one process sees it; `None` when it does not answer.
    pub(super) async fn seen_by(&self, name: &str) -> Option<Topology> {
        let mut client = TopologyServiceClient::new(self.channel(name));
        client.get_topology(timed(GetTopologyRequest {})).await.ok()?.into_inner().topology
    }

    /// The owner of a partition of a service.
    pub(super) async fn owner(&self, asked: &str, service: &str, partition: i32) -> String {
        eventually("an owner", async || {
            let seen = self.seen_by(asked).await?;
            let task = seen.tasks.into_iter().find(|task| task.service == service && task.partition == partition)?;
            (!task.owner.is_empty()).then_some(task.owner)
        })
        .await
    }

    /// Returns when every process sees the same, and nothing is on its way any more: each task is owned by one of those who
    /// run, followed by one standby that is warm as long as there are two, and the owners are balanced.
    pub(super) async fn settled(&self) {
        let instances: BTreeSet<&str> =
            self.running.keys().map(String::as_str).filter(|name| *name != GATEWAY).collect();
        for name in self.running.keys() {
            let what = format!("{name} sees {instances:?} at work");
            eventually(&what, async || is_settled(&self.seen_by(name).await?, &instances).then_some(())).await;
        }
    }
}

/// Whether these instances do everything, each of them its share of each service and of all, and nobody warms up for more.
fn is_settled(seen: &Topology, instances: &BTreeSet<&str>) -> bool {
    let alive = seen.instances.iter().filter(|instance| instance.state() == InstanceState::Alive);
    let alive: BTreeSet<&str> = alive.map(|instance| instance.instance.as_str()).collect();
    let has_its_replicas = |task: &TopologyTask| {
        let is_warm_standby = |replica: &TopologyReplica| replica.role() == Role::Standby && replica.warm;
        instances.contains(task.owner.as_str())
            && task.replicas.len() == instances.len().min(2)
            && (instances.len() < 2 || task.replicas.iter().any(is_warm_standby))
    };
    let is_balanced = |tasks: &[&TopologyTask]| {
        let owned = |instance: &&str| tasks.iter().filter(|task| task.owner == **instance).count();
        let (least, most) = (instances.iter().map(owned).min(), instances.iter().map(owned).max());
        most.zip(least).is_some_and(|(most, least)| most - least <= 1)
    };
    let mut services: BTreeMap<&str, Vec<&TopologyTask>> = BTreeMap::new();
    for task in &seen.tasks {
        services.entry(&task.service).or_default().push(task);
    }
    alive == *instances
        && !seen.tasks.is_empty()
        && seen.tasks.iter().all(has_its_replicas)
        && services.values().all(|tasks| is_balanced(tasks))
        && is_balanced(&seen.tasks.iter().collect::<Vec<_>>())
}

/// A name that no other test and no other run uses.
pub(super) fn unique(name: &str) -> String {
    static RUN: LazyLock<u32> = LazyLock::new(rand::random);
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{name}-{:08x}-{number}", *RUN)
}
