//! The command line.

mod security;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::{Additions, Config, Sync};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service_host::config::{ConfigError, LogFormat, Overrides, load};
use validation::RequiredCheck;

use crate::cli::security::{PeerFlags, SecurityFlags};
use crate::connect::{TlsFlags, TokenFlags};
use crate::health::Probe;
use crate::producers::Producer;
use crate::schema::Schema;

/// An order system as a mesh of gRPC services on event logs.
#[derive(Debug, Parser)]
#[command(name = "ordermesh", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the whole mesh in this process, on a log of its own.
    Dev {
        #[command(flatten)]
        settings: Settings,
        /// Loads a few products, customers, orders and books to look at.
        #[arg(long)]
        sample: bool,
    },
    /// Runs tasks of a mesh of several processes on Kafka or Redpanda, and is one of its gateways.
    Serve {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        joining: Joining,
    },
    /// Is a gateway to a mesh, and runs no tasks.
    Gateway {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        joining: Joining,
    },
    /// Shows the instances of a mesh, and which does what.
    Topology {
        /// Address of any gateway of the mesh
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
        addr: String,
        /// Shows it again after every change
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        tls: TlsFlags,
        #[command(flatten)]
        token: TokenFlags,
    },
    /// Prints the configuration as a file for --config, with secrets masked.
    Config {
        #[command(flatten)]
        settings: Settings,
    },
    /// Asks an instance whether calls are welcome; fails if not.
    Health(Probe),
    /// Looks at the state of the mesh.
    #[command(subcommand)]
    State(State),
    /// Shows what the records on topics are made of.
    #[command(subcommand)]
    Schema(Schema),
    #[command(flatten)]
    Producer(Producer),
}

#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// Compares what stores hold with what their changelogs say: of a process that is stopped, or of a mesh that runs (--addr).
    Verify(Verify),
}

/// Which stores are compared, and with what.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Address of any gateway of a mesh that runs: all replicas of every task are compared with each other
    #[arg(long, value_name = "ADDR", conflicts_with = "data")]
    pub(crate) addr: Option<String>,
    /// Data directory of a process that is stopped [default: ./ordermesh-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Brokers that have the changelogs, each host:port, separated by commas [default: the log in the data directory]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    brokers: Option<Vec<String>>,
    /// Partitions of every topic; a mesh that runs tells it [default: 4]
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// Configuration file (TOML) of the process
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: TlsFlags,
    #[command(flatten)]
    pub(crate) token: TokenFlags,
}

impl Verify {
    /// Where data and brokers are, checked.
    pub(crate) fn load(&self, additions: &Additions) -> Result<Config, LoadError> {
        let overrides = Overrides::new()
            .set("kafka.brokers", self.brokers.as_ref())
            .set("mesh.data", self.data.as_ref())
            .set("mesh.partitions", self.partitions)
            // Nothing listens: where the process of this configuration may is none of this one's business.
            .set("mesh.insecure", Some(true));
        let config = checked(load(self.config.as_deref(), &overrides)?, additions)?;
        if !config.kafka.brokers.is_empty() {
            config.kafka.check().map_err(|error| LoadError::Senseless(format!("kafka.{error}")))?;
        }
        Ok(config)
    }
}

/// What flags can set. Everything else is in the configuration file.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Address for gRPC; port 0 takes a free one [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Listens elsewhere than on loopback although nothing is encrypted there
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    security: SecurityFlags,
    /// Directory of all data [default: ./ordermesh-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Sends traces to this OTLP collector (gRPC), such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Partitions of every topic; a data directory keeps its number for ever [default: 4]
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// Serves metrics for Prometheus at this address, in plain text; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// What an acknowledged write survives: `group` power loss, `os` the death of the process [default: group]
    #[arg(long, value_enum)]
    sync: Option<SyncFlag>,
    /// Pieces that the automatic workshop of each partition makes in a second; 0 turns it off [default: 1 in `dev`, else 0]
    #[arg(long, value_name = "N")]
    workshop: Option<u32>,
    /// Checks that an order must pass [default: details,fraud,inventory,credit]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CHECK,...")]
    checks: Option<Vec<CheckFlag>>,
    /// Services whose tasks run here, separated by commas [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    roles: Option<Vec<String>>,
    /// Registers the schemas of all topics with this schema registry (Confluent's API), such as http://127.0.0.1:8081
    #[arg(long, value_name = "URL")]
    schema_registry: Option<String>,
    /// Configuration file (TOML); see `ordermesh config` for what can stand in it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the log on the standard error [default: human]
    #[arg(long, value_enum)]
    log_format: Option<LogFormatFlag>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SyncFlag {
    Group,
    Os,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CheckFlag {
    Details,
    Fraud,
    Inventory,
    Credit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormatFlag {
    Human,
    Json,
}

/// What a process needs to be one of several.
#[derive(Debug, Default, Args)]
pub(crate) struct Joining {
    /// Brokers, each host:port, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    brokers: Option<Vec<String>>,
    /// Name of this instance in its mesh; it must be its own, and stay the same [default: the name of the host]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Name of the mesh: of its consumer group [default: ordermesh]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Where other instances reach this one, host:port [default: the address of --peers]
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Where this instance listens for the others; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDR")]
    peers: Option<SocketAddr>,
    #[command(flatten)]
    security: PeerFlags,
    /// Zone of this instance; standbys are in another one than their owner where there is one
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Standbys of each task [default: 1]
    #[arg(long, value_name = "N")]
    standbys: Option<usize>,
}

impl Settings {
    /// The whole configuration, checked.
    pub(crate) fn load(&self, additions: &Additions) -> Result<Config, LoadError> {
        self.load_with(&Joining::default(), additions)
    }

    /// The same for a mesh that is tried out in one process.
    pub(crate) fn load_trial(&self, additions: &Additions) -> Result<Config, LoadError> {
        let Trial(config) = self.load_over(&Joining::default())?;
        checked(config, additions)
    }

    /// The same for one process of several.
    pub(crate) fn load_joining(&self, joining: &Joining, additions: &Additions) -> Result<Config, LoadError> {
        let mut config = self.load_with(joining, additions)?;
        if joining.instance.is_none() && config.mesh.instance == Config::default().mesh.instance {
            config.mesh.instance = host_name();
        }
        if config.kafka.brokers.is_empty() {
            return Err(LoadError::Senseless(
                "there are no brokers: name them with --brokers host:port,...".to_owned(),
            ));
        }
        config.kafka.check().map_err(|error| LoadError::Senseless(format!("kafka.{error}")))?;
        Ok(config)
    }

    fn load_with(&self, joining: &Joining, additions: &Additions) -> Result<Config, LoadError> {
        checked(self.load_over(joining)?, additions)
    }

    /// Over the defaults of `T`.
    fn load_over<T>(&self, joining: &Joining) -> Result<T, ConfigError>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        let overrides = Overrides::new()
            .set("kafka.brokers", joining.brokers.as_ref())
            .set("mesh.roles", self.roles.as_ref())
            .set("mesh.instance", joining.instance.as_ref())
            .set("mesh.group", joining.group.as_ref())
            .set("peers.advertise", joining.advertise.as_ref())
            .set("peers.listen", joining.peers)
            .set("mesh.zone", joining.zone.as_ref())
            .set("mesh.standbys", joining.standbys)
            .set("listen.address", self.listen)
            .set("mesh.insecure", self.insecure.then_some(true))
            .set("mesh.data", self.data.as_ref())
            .set("mesh.partitions", self.partitions)
            .set("telemetry.otlp", self.otlp.as_ref())
            .set("telemetry.metrics", self.metrics)
            .set("schemas.registry.url", self.schema_registry.as_ref())
            .set("manufacturing.items_per_second", self.workshop)
            .set("validation.required_checks", self.checks.as_deref().map(required))
            .set("broker.sync", self.sync.map(Sync::from))
            .set("log.format", self.log_format.map(LogFormat::from));
        let overrides = joining.security.apply(self.security.apply(overrides));
        load(self.config.as_deref(), &overrides)
    }
}

/// A configuration over the defaults of a trial, so that the file, the environment and flags change them as they do others.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Trial(Config);

impl Default for Trial {
    fn default() -> Self {
        Self(Config::of_a_trial())
    }
}

fn checked(config: Config, additions: &Additions) -> Result<Config, LoadError> {
    let config = Config { additions: additions.clone(), ..config };
    config.check().map_err(LoadError::Senseless)?;
    Ok(config)
}

/// What the machine calls itself: containers and pods have names of their own, which stay the same.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Unreadable(#[from] ConfigError),
    #[error("{0}")]
    Senseless(String),
}

impl From<SyncFlag> for Sync {
    fn from(flag: SyncFlag) -> Self {
        match flag {
            SyncFlag::Group => Self::Group,
            SyncFlag::Os => Self::Os,
        }
    }
}

fn required(checks: &[CheckFlag]) -> Vec<RequiredCheck> {
    let check = |flag: &CheckFlag| match flag {
        CheckFlag::Details => RequiredCheck::Details,
        CheckFlag::Fraud => RequiredCheck::Fraud,
        CheckFlag::Inventory => RequiredCheck::Inventory,
        CheckFlag::Credit => RequiredCheck::Credit,
    };
    checks.iter().map(check).collect()
}

impl From<LogFormatFlag> for LogFormat {
    fn from(flag: LogFormatFlag) -> Self {
        match flag {
            LogFormatFlag::Human => Self::Human,
            LogFormatFlag::Json => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[&str]) -> Settings {
        let cli = Cli::try_parse_from(["ordermesh", "dev"].iter().chain(flags)).unwrap();
        let Command::Dev { settings, .. } = cli.command else { panic!("{cli:?}") };
        settings
    }

    #[test]
    fn flags_reach_the_configuration() {
        let flags = [
            "--listen=127.0.0.1:0",
            "--data=/tmp/x",
            "--otlp=http://localhost:4317",
            "--partitions=8",
            "--metrics=127.0.0.1:9100",
            "--sync=os",
            "--workshop=0",
            "--checks=details,inventory",
            "--log-format=json",
        ];
        let config = settings(&flags).load(&Additions::default()).unwrap();
        assert_eq!(config.listen.address.port(), 0);
        assert_eq!(config.mesh.data, PathBuf::from("/tmp/x"));
        assert_eq!(config.telemetry.otlp.as_deref(), Some("http://localhost:4317"));
        assert_eq!((config.mesh.partitions, config.broker.sync), (8, Sync::Os));
        assert_eq!(config.telemetry.metrics.map(|address| address.port()), Some(9100));
        assert_eq!(config.validation.required_checks, [RequiredCheck::Details, RequiredCheck::Inventory]);
        assert_eq!((config.manufacturing.items_per_second, config.log.format), (0, LogFormat::Json));
    }

    #[test]
    fn no_flags_are_the_defaults() {
        assert_eq!(settings(&[]).load(&Additions::default()).unwrap(), Config::default());
    }

    #[test]
    fn the_workshop_makes_things_by_itself_in_a_trial_only_and_not_where_it_is_turned_off() {
        let workshop =
            |flags: &[&str]| settings(flags).load_trial(&Additions::default()).unwrap().manufacturing.items_per_second;
        assert_eq!(settings(&[]).load(&Additions::default()).unwrap().manufacturing.items_per_second, 0);
        assert_eq!((workshop(&[]), workshop(&["--workshop=0"]), workshop(&["--workshop=7"])), (1, 0, 7));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ordermesh.toml");
        let from_file = format!("--config={}", file.display());
        for given in [0, 5] {
            std::fs::write(&file, format!("[manufacturing]\nitems_per_second = {given}")).unwrap();
            assert_eq!(workshop(&[&from_file]), given);
        }
        assert_eq!(
            settings(&[]).load_trial(&Additions::default()).unwrap(),
            Config::of_a_trial(),
            "nothing else differs"
        );

        let cli = Cli::try_parse_from(["ordermesh", "serve", "--brokers=a:9092"]).unwrap();
        let Command::Serve { settings, joining } = cli.command else { panic!("{cli:?}") };
        assert_eq!(settings.load_joining(&joining, &Additions::default()).unwrap().manufacturing.items_per_second, 0);
    }

    #[test]
    fn one_process_of_several_is_configured_by_flags() {
        let flags = [
            "--brokers=a:9092,b:9092",
            "--roles=orders,validation",
            "--instance=i-1",
            "--group=shop",
            "--advertise=10.0.0.7:50052",
            "--peers=127.0.0.1:50052",
        ];
        let cli = Cli::try_parse_from(["ordermesh", "serve"].iter().chain(&flags)).unwrap();
        let Command::Serve { settings, joining } = cli.command else { panic!("{cli:?}") };
        let config = settings.load_joining(&joining, &Additions::default()).unwrap();
        assert_eq!((config.kafka.brokers.len(), config.mesh.roles.len()), (2, 2));
        assert_eq!((config.mesh.instance.as_str(), config.mesh.group.as_str()), ("i-1", "shop"));
        assert_eq!(config.peers.advertise.as_deref(), Some("10.0.0.7:50052"));
        assert_eq!(config.peers.listen.port(), 50052);

        let unnamed = settings.load_joining(&Joining { instance: None, ..joining }, &Additions::default()).unwrap();
        assert_eq!(unnamed.mesh.instance, host_name());
        let refused = settings.load_joining(&Joining::default(), &Additions::default()).unwrap_err().to_string();
        assert!(refused.contains("--brokers"), "{refused}");
        let roles = Some(vec!["cooking".to_owned()]);
        let refused = Settings { roles, ..settings }.load(&Additions::default()).unwrap_err().to_string();
        assert!(refused.contains("cooking") && refused.contains("orders"), "{refused}");
    }

    #[test]
    fn senseless_settings_are_refused() {
        let refused = settings(&["--partitions=0"]).load(&Additions::default()).unwrap_err().to_string();
        assert!(refused.contains("mesh.partitions"), "{refused}");
    }
}
