//! The one configuration of the process, made of each part's own.
//!
//! Defaults < TOML file < `ORDERMESH__SECTION__KEY` < flags. Everything is checked before a port is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use embedded_broker::SyncPolicy;
use serde::{Deserialize, Serialize};
use service_host::WatchConfig;
use service_host::config::{LimitsConfig, ListenConfig, LogConfig, TelemetryConfig};
use task_runtime::Definition;

use crate::additions::Additions;
use crate::mesh::PeersConfig;
use crate::roles::{definitions, services};

/// Everything that can be chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The mesh itself: where its data is, and how it is cut.
    pub mesh: MeshConfig,
    /// Where it listens, and for how long it goes on after it was told to stop.
    pub listen: ListenConfig,
    /// What one caller can make it hold.
    pub limits: LimitsConfig,
    /// What it writes to its standard error.
    pub log: LogConfig,
    /// What it tells other programs about itself.
    pub telemetry: TelemetryConfig,
    /// The embedded log, of a process that is a mesh by itself.
    pub broker: BrokerConfig,
    /// Kafka or Redpanda, of a mesh of several processes.
    pub kafka: kafka_log::Config,
    /// The other instances of the mesh.
    pub peers: PeersConfig,
    /// The local state of the tasks.
    pub store: StoreConfig,
    /// How tasks work.
    pub tasks: TasksConfig,
    /// The gateway.
    pub gateway: gateway::Config,
    /// Watches.
    pub watches: WatchConfig,
    /// Schemas of what is on topics.
    pub schemas: schemas::Config,
    /// Orders.
    pub orders: orders::Config,
    /// Validation.
    pub validation: validation::Config,
    /// Inventory.
    pub inventory: inventory::Config,
    /// Customers.
    pub customers: customers::Config,
    /// Manufacturing.
    pub manufacturing: manufacturing::Config,
    /// Shipping.
    pub shipping: shipping::Config,
    /// Payments.
    pub payments: payments::Config,
    /// Catalog.
    pub catalog: catalog::Config,
    /// Notifications.
    pub notifications: notifications::Config,
    /// Dead letters.
    pub dead_letters: dead_letters::Config,
    /// Services that the program adds to these. Its code says which, not a file.
    #[serde(skip)]
    pub additions: Additions,
}

/// The mesh itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshConfig {
    /// Directory of all data.
    pub data: PathBuf,
    /// Partitions of every topic. Chosen once: another number would give every key another home.
    pub partitions: u32,
    /// Name of this process among its like. It stays the same when the process starts again.
    pub instance: String,
    /// Name of the mesh: of its consumer group on the brokers.
    pub group: String,
    /// Services whose tasks run here; all of them when empty.
    pub roles: Vec<String>,
    /// Where this instance is. Standbys are in another zone than their owner where there is one.
    pub zone: String,
    /// Standbys of each task.
    pub standbys: usize,
    /// Listens elsewhere than on loopback although nothing is encrypted there.
    pub insecure: bool,
}

impl MeshConfig {
    /// Whether the tasks of this service run here.
    #[must_use]
    pub fn runs(&self, role: &str) -> bool {
        self.roles.is_empty() || self.roles.iter().any(|wanted| wanted == role)
    }
}

/// When an append to the log is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// After an fsync, which all partitions share. Survives power loss.
    Group,
    /// When the operating system has it. Survives the death of the process.
    Os,
}

/// The embedded log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// When an append is acknowledged.
    pub sync: Sync,
    /// Size at which a segment file is sealed and a new one begun.
    pub segment_bytes: u64,
    /// Memory for the newest records of all partitions together.
    pub tail_cache_bytes: usize,
    /// Segment files that are kept open.
    pub open_files_max: usize,
}

/// The local state of the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Memory for blocks of tables, all stores together.
    pub cache_bytes: u64,
    /// Recent changes that one store gathers before it writes them to disk.
    pub memtable_bytes: usize,
    /// Whether opening a store also reads and verifies every row. Its files are verified in any case.
    pub verify_rows: bool,
}

/// How tasks work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TasksConfig {
    /// Threads that process.
    pub threads: usize,
    /// Calls that wait in front of one task; more are OVERLOADED.
    pub calls_waiting_max: usize,
    /// Callers that wait for a state of one task's keys, and as many whose strong read is not answered yet; more are OVERLOADED.
    pub waits_max: usize,
    /// Records, commands and timers of one commit.
    pub batch_items_max: usize,
    /// How long views and effects that nobody waits for let events gather, at most 10 s.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
    /// How long answers are remembered by request id.
    #[serde(with = "humantime_serde")]
    pub request_memory: Duration,
    /// How far ahead of this process's clock the time of a record may be and still end windows and sessions.
    #[serde(with = "humantime_serde")]
    pub clock_skew_max: Duration,
    /// Entries of a task's changelog after which a snapshot of its state is made.
    pub snapshot_after_records: u64,
    /// Bytes of a task's changelog after which one is made, or as many as the last one has if that is more.
    pub snapshot_after_bytes: u64,
    /// Snapshots that this process makes at the same time.
    pub snapshots_at_once: usize,
    /// Go on behind records that a topic has lost before they were read; otherwise the process stops, and a person decides.
    pub accept_input_loss: bool,
    /// The wrong way of doing it that a campaign shall find; there is no such setting in other builds.
    #[cfg(feature = "simulation")]
    pub shortcut: task_runtime::Shortcut,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mesh: MeshConfig::default(),
            listen: ListenConfig::default(),
            limits: LimitsConfig::default(),
            // Each connection to a broker is none of its news.
            log: LogConfig { level: "info,rskafka=warn".to_owned(), ..LogConfig::default() },
            telemetry: TelemetryConfig::default(),
            broker: BrokerConfig::default(),
            kafka: kafka_log::Config::default(),
            peers: PeersConfig::default(),
            store: StoreConfig::default(),
            tasks: TasksConfig::default(),
            gateway: gateway::Config::default(),
            watches: WatchConfig::default(),
            schemas: schemas::Config::default(),
            orders: orders::Config::default(),
            validation: validation::Config::default(),
            inventory: inventory::Config::default(),
            customers: customers::Config::default(),
            manufacturing: manufacturing::Config::default(),
            shipping: shipping::Config::default(),
            payments: payments::Config::default(),
            catalog: catalog::Config::default(),
            notifications: notifications::Config::default(),
            dead_letters: dead_letters::Config::default(),
            additions: Additions::default(),
        }
    }
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./ordermesh-data"),
            partitions: 4,
            instance: "dev".to_owned(),
            group: "ordermesh".to_owned(),
            roles: Vec::new(),
            zone: String::new(),
            standbys: 1,
            insecure: false,
        }
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let broker = embedded_broker::Config::new("");
        Self {
            sync: Sync::Group,
            segment_bytes: broker.segment_bytes,
            tail_cache_bytes: broker.tail_cache_bytes,
            open_files_max: broker.open_files_max,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        let store = state_store::Config::new("");
        // File checksums find what disks do; reading every row again would be most of the time that a restart takes.
        Self { cache_bytes: store.cache_bytes, memtable_bytes: store.memtable_bytes, verify_rows: false }
    }
}

impl Default for TasksConfig {
    fn default() -> Self {
        let tasks = task_runtime::Config::default();
        Self {
            threads: 1,
            calls_waiting_max: tasks.calls_waiting_max,
            waits_max: tasks.waits_max,
            batch_items_max: tasks.batch_items_max,
            patience: tasks.patience,
            request_memory: tasks.request_memory,
            clock_skew_max: tasks.clock_skew_max,
            snapshot_after_records: tasks.snapshot_after_records,
            snapshot_after_bytes: tasks.snapshot_after_bytes,
            snapshots_at_once: tasks.snapshots_at_once,
            accept_input_loss: tasks.accept_input_loss,
            #[cfg(feature = "simulation")]
            shortcut: tasks.shortcut,
        }
    }
}

impl From<Sync> for SyncPolicy {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Group => Self::Group,
            Sync::Os => Self::Os,
        }
    }
}

/// Bytes of an append beside the body of its record at the most: framing, headers, the reason of a dead letter.
const AROUND_A_RECORD_BYTES: usize = 16 * 1024;
/// Least bytes of an append: schemas go up to 256 KiB at a time, and with much less ordinary events would be too large.
const APPEND_BYTES_MIN: usize = 320 * 1024;

impl TasksConfig {
    /// The limits of tasks whose log takes no larger append than this.
    pub(crate) fn runtime(&self, append_bytes_max: usize) -> task_runtime::Config {
        let limits = task_runtime::Config::default();
        let record_bytes_max = limits.record_bytes_max.min(append_bytes_max.saturating_sub(AROUND_A_RECORD_BYTES));
        task_runtime::Config {
            record_bytes_max,
            batch_bytes_max: limits.batch_bytes_max.min(record_bytes_max),
            snapshot_part_bytes: limits.snapshot_part_bytes.min(record_bytes_max),
            calls_waiting_max: self.calls_waiting_max,
            waits_max: self.waits_max,
            batch_items_max: self.batch_items_max,
            patience: self.patience,
            request_memory: self.request_memory,
            clock_skew_max: self.clock_skew_max,
            snapshot_after_records: self.snapshot_after_records,
            snapshot_after_bytes: self.snapshot_after_bytes,
            snapshots_at_once: self.snapshots_at_once,
            accept_input_loss: self.accept_input_loss,
            #[cfg(feature = "simulation")]
            shortcut: self.shortcut,
            ..limits
        }
    }
}

impl Config {
    /// The defaults of a mesh that is tried out in one process: orders flow there without anyone typing reports. A mesh that
    /// others rely on makes nothing by itself.
    #[must_use]
    pub fn of_a_trial() -> Self {
        let mut config = Self::default();
        config.manufacturing.items_per_second = 1;
        config
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first setting that makes no sense, with what would.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, range: std::ops::RangeInclusive<usize>| {
            if range.contains(&value) {
                return Ok(());
            }
            Err(format!("{name} is {value}; it must be {} to {}", range.start(), range.end()))
        };
        within("mesh.partitions", self.mesh.partitions as usize, 1..=PARTITIONS_MAX)?;
        within("mesh.instance (its length)", self.mesh.instance.len(), 1..=64)?;
        within("mesh.group (its length)", self.mesh.group.len(), 1..=200)?;
        within("mesh.standbys", self.mesh.standbys, 0..=16)?;
        check_apart(&services(self))?;
        let known: Vec<&str> = definitions(self).iter().map(Definition::service).collect();
        if let Some(role) = self.mesh.roles.iter().find(|role| !known.contains(&role.as_str())) {
            return Err(format!("mesh.roles has {role:?}; there are {}", known.join(", ")));
        }
        if !self.mesh.roles.is_empty() && !self.peers.instances.is_empty() {
            return Err("mesh.roles (--roles) and peers.instances do not go together: every instance of a list runs all services. Leave \
                        the roles out, or the list: then the brokers' group says who runs what"
                .to_owned());
        }
        self.peers.check()?;
        crate::security::check(self)?;
        within("tasks.threads", self.tasks.threads, 1..=256)?;
        within("tasks.calls_waiting_max", self.tasks.calls_waiting_max, 1..=65_536)?;
        within("tasks.waits_max", self.tasks.waits_max, 1..=10_000_000)?;
        within("tasks.batch_items_max", self.tasks.batch_items_max, 1..=100_000)?;
        within("tasks.snapshots_at_once", self.tasks.snapshots_at_once, 1..=256)?;
        // Below that, tasks would write more snapshots than commits.
        let least = |name: &str, value: u64, least: u64| {
            if value >= least { Ok(()) } else { Err(format!("{name} is {value}; it must be at least {least}")) }
        };
        least("tasks.snapshot_after_records", self.tasks.snapshot_after_records, 100)?;
        least("tasks.snapshot_after_bytes", self.tasks.snapshot_after_bytes, 64 * 1024)?;
        within(
            "tasks.patience (in ms)",
            usize::try_from(self.tasks.patience.as_millis()).unwrap_or(usize::MAX),
            0..=10_000,
        )?;
        within(
            "tasks.clock_skew_max (in s)",
            usize::try_from(self.tasks.clock_skew_max.as_secs()).unwrap_or(usize::MAX),
            0..=3_600,
        )?;
        least("kafka.append_bytes_max", self.kafka.append_bytes_max as u64, APPEND_BYTES_MIN as u64)?;
        self.limits.check()?;
        self.gateway.check(self.limits.message_bytes_max)?;
        self.watches.check()?;
        self.schemas.check()?;
        self.orders.check()?;
        self.validation.check()?;
        self.inventory.check()?;
        self.customers.check()?;
        self.manufacturing.check()?;
        self.shipping.check()?;
        self.payments.check()?;
        self.catalog.check()?;
        self.dead_letters.check()?;
        self.notifications.check()
    }
}

/// Partitions cost files, memory and a task for each service.
const PARTITIONS_MAX: usize = 1_000;

/// Sees that no two services have one name, or write to one topic: those that a program adds may be anything.
fn check_apart(definitions: &[Definition]) -> Result<(), String> {
    let mut writers = BTreeMap::new();
    let mut names = BTreeSet::from([dead_letters::SERVICE]);
    for definition in definitions {
        let service = definition.service();
        if !names.insert(service) {
            return Err(format!("two services are called {service}: the one that the program adds needs another name"));
        }
        for topic in definition.output_topics() {
            if let Some(other) = writers.insert(topic, service) {
                return Err(format!("{other} and {service} both write to {topic}: a topic has one writer"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_can_be_shown() {
        let config = Config::default();
        config.check().unwrap();
        let shown = service_host::config::render(&config).unwrap();
        for section in ["[mesh]", "[listen]", "[limits]", "[broker]", "[gateway]", "[validation]"] {
            assert!(shown.contains(section), "{shown}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let shown = service_host::config::render(&Config::default()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ordermesh.toml");
        std::fs::write(&file, shown).unwrap();
        let read: Config = service_host::config::load(Some(&file), &service_host::config::Overrides::new()).unwrap();
        assert_eq!(read, Config::default());
    }

    #[test]
    fn senseless_settings_are_named() {
        let mut config = Config::default();
        config.mesh.partitions = 0;
        assert_eq!(config.check().unwrap_err(), "mesh.partitions is 0; it must be 1 to 1000");
        let mut config = Config::default();
        config.listen.address = ([0, 0, 0, 0], 50051).into();
        assert!(config.check().unwrap_err().contains("--insecure"));
        config.mesh.insecure = true;
        config.check().unwrap();
        config.gateway.tries_max = 0;
        assert!(config.check().unwrap_err().starts_with("gateway.tries_max"));
        let limits = |change: fn(&mut service_host::config::LimitsConfig)| {
            let mut config = Config::default();
            change(&mut config.limits);
            config.check().unwrap_err()
        };
        assert_eq!(limits(|limits| limits.id_chars_max = 65), "limits.id_chars_max is 65; it must be 36 to 64");
        assert_eq!(limits(|limits| limits.text_bytes_max = 63), "limits.text_bytes_max is 63; it must be 64 to 4096");
        let mut config = Config::default();
        config.gateway.rate_limit.burst = 0;
        assert!(config.check().unwrap_err().starts_with("gateway.rate_limit.burst is 0"));
        let mut config = Config::default();
        config.kafka.append_bytes_max = 64 * 1024;
        assert_eq!(config.check().unwrap_err(), "kafka.append_bytes_max is 65536; it must be at least 327680");
    }

    #[test]
    fn what_tasks_write_fits_into_what_the_log_takes() {
        let limits = |append_bytes_max| {
            let mut config = Config::default();
            config.kafka.append_bytes_max = append_bytes_max;
            config.check().unwrap();
            let tasks = config.tasks.runtime(config.kafka.append_bytes_max);
            (tasks.record_bytes_max, tasks.batch_bytes_max, tasks.snapshot_part_bytes)
        };
        let usual = task_runtime::Config::default();
        let usual = (usual.record_bytes_max, usual.batch_bytes_max, usual.snapshot_part_bytes);
        assert_eq!(limits(Config::default().kafka.append_bytes_max), usual);
        assert_eq!(limits(64 << 20), usual);
        for append_bytes_max in [APPEND_BYTES_MIN, 512 * 1024, 800_000] {
            let (record, batch, part) = limits(append_bytes_max);
            assert!(record + AROUND_A_RECORD_BYTES <= append_bytes_max && batch <= record && part <= record);
        }
    }

    #[test]
    fn added_services_have_names_and_topics_of_their_own() {
        let check = |definition: Definition| {
            let server = |owner, _: &service_host::Watches| payments::server(owner);
            let addition = crate::Addition::new(proto::FILE_DESCRIPTOR_SET, definition, server);
            Config { additions: [addition].into_iter().collect(), ..Config::default() }.check()
        };
        check(Definition::new("loyalty").output("loyalty-points").input("orders", |_, _| Ok(()))).unwrap();
        let refused = check(Definition::new("orders")).unwrap_err();
        assert!(refused.contains("two services are called orders"), "{refused}");
        let refused = check(Definition::new("loyalty").output("payments")).unwrap_err();
        assert_eq!(refused, "payments and loyalty both write to payments: a topic has one writer");
    }

    #[test]
    fn times_of_the_group_have_bounds() {
        let check = |session, heartbeat| {
            let mut config = Config::default();
            (config.peers.group_session, config.peers.group_heartbeat) = (session, heartbeat);
            config.check()
        };
        let (second, beat) = (Duration::from_secs(1), Duration::from_millis(300));
        check(second, beat).unwrap();
        check(45 * second, 15 * second).unwrap();
        for (session, heartbeat, named) in [
            (second / 2, beat, "group_session"),
            (301 * second, beat, "group_session"),
            (6 * second, 3 * second, "group_heartbeat"),
            (6 * second, second / 100, "group_heartbeat"),
        ] {
            assert!(check(session, heartbeat).unwrap_err().contains(named), "{session:?} {heartbeat:?}");
        }
    }

    #[test]
    fn a_list_of_instances_has_them_all_and_goes_with_no_roles() {
        let mut config = Config::default();
        config.peers.check_place("anybody", true).unwrap();
        config.peers.instances.insert("a".to_owned(), "a:1".to_owned());
        config.check().unwrap();
        config.peers.check_place("a", true).unwrap();
        config.peers.check_place("gateway", false).unwrap();
        for (instance, has_tasks) in [("b", true), ("a", false)] {
            let refused = config.peers.check_place(instance, has_tasks).unwrap_err();
            assert!(refused.contains("--instance") && refused.contains("every instance"), "{refused}");
        }
        config.mesh.roles = vec!["orders".to_owned()];
        assert!(config.check().unwrap_err().contains("peers.instances"));
    }
}
