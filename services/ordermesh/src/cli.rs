//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ordermesh::{Config, Sync};
use service_host::config::{ConfigError, LogFormat, Overrides, load};
use validation::RequiredCheck;

use crate::producers::Producer;

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
        /// Loads a few products and orders to look at.
        #[arg(long)]
        sample: bool,
    },
    /// Prints the configuration that `dev` would use, with secrets masked.
    Config {
        #[command(flatten)]
        settings: Settings,
    },
    #[command(flatten)]
    Producer(Producer),
}

/// What flags can set. Everything else is in the configuration file.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Address for gRPC; port 0 takes a free one [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Directory of all data [default: ./ordermesh-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Sends traces to this OTLP collector (gRPC), such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Partitions of every topic; a data directory keeps its number for ever [default: 4]
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// Serves metrics for Prometheus at this address
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// What an acknowledged write survives: `group` power loss, `os` the death of the process [default: group]
    #[arg(long, value_enum)]
    sync: Option<SyncFlag>,
    /// Pieces that the automatic workshop of each partition makes in a second; 0 turns it off [default: 1]
    #[arg(long, value_name = "N")]
    workshop: Option<u32>,
    /// Checks that an order must pass [default: details,fraud,inventory,credit]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CHECK,...")]
    checks: Option<Vec<CheckFlag>>,
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

impl Settings {
    /// The whole configuration, checked.
    pub(crate) fn load(&self) -> Result<Config, LoadError> {
        let overrides = Overrides::new()
            .set("listen.address", self.listen)
            .set("mesh.data", self.data.as_ref())
            .set("mesh.partitions", self.partitions)
            .set("telemetry.otlp", self.otlp.as_ref())
            .set("telemetry.metrics", self.metrics)
            .set("manufacturing.items_per_second", self.workshop)
            .set("validation.required_checks", self.checks.as_deref().map(required))
            .set("broker.sync", self.sync.map(Sync::from))
            .set("log.format", self.log_format.map(LogFormat::from));
        let config: Config = load(self.config.as_deref(), &overrides)?;
        config.check().map_err(LoadError::Senseless)?;
        Ok(config)
    }
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
        let config = settings(&flags).load().unwrap();
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
        assert_eq!(settings(&[]).load().unwrap(), Config::default());
    }

    #[test]
    fn senseless_settings_are_refused() {
        let refused = settings(&["--partitions=0"]).load().unwrap_err().to_string();
        assert!(refused.contains("mesh.partitions"), "{refused}");
    }
}
