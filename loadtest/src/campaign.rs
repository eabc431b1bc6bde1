//! The fault campaign: a mesh under load, things that are done to it, and a judgement of what it then says.
//!
//! What always holds: everything that is judged stands in files of the run's folder (`history.jsonl`, `topics.jsonl`,
//! `changelogs.jsonl`), so that it can be judged again; the same seed does the same things in the same order; and a run that breaks a law fails.
//! How to use it, and what it found: docs/campaign.md.

pub mod broker;
pub mod calls;
pub mod changelogs;
pub mod checker;
pub mod dump;
pub mod figures;
pub mod history;
pub mod instances;
pub mod nemesis;
pub mod proxy;
pub mod schedule;
pub mod topics;
pub mod workload;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use event_log::EventLog;
use tokio::signal::unix::{SignalKind, signal};

use self::broker::Kafka;
use self::calls::{Clients, Gateway};
use self::figures::Report;
use self::history::{Recorder, What};
use self::instances::{Clocks, Launch};
use self::nemesis::Mesh;
use self::schedule::{Fault, Kind, Plan};
use self::topics::Topics;
use self::workload::Workload;
use crate::machine::{self, Machine};
use crate::report::rounded;

/// How long the mesh may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Stories under way at a time.
const IN_FLIGHT_MAX: usize = 256;
/// Quiet time before the first fault and after the last one.
const CALM: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a mesh under load, does the faults of a seed to it, and judges it.
    Run(Box<Settings>),
    /// Judges the files of an earlier run again.
    Check {
        /// The folder of the run.
        folder: PathBuf,
        /// How long after the last fault an order may take to be over.
        #[arg(long, value_parser = humantime::parse_duration, default_value = "30s")]
        ends_within: Duration,
    },
}

/// Settings of `loadtest campaign run`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The program under test; without it the `ordermesh` that lies beside this program, and so of the same build.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Another version of it, which instances become and cease to be with the faults that change versions.
    #[arg(long, value_name = "FILE")]
    pub other_binary: Option<PathBuf>,
    /// A new folder for everything of the run.
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// Decides the faults and the load.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Instances, with --brokers.
    #[arg(long, default_value_t = 3)]
    pub instances: usize,
    /// Nodes of the Kafka that is started for the run; 0 runs one instance on a log of its own.
    #[arg(long, default_value_t = 3)]
    pub brokers: usize,
    /// Starts and kills the nodes.
    #[arg(long, default_value = "tools/kafka.sh", value_name = "FILE")]
    pub kafka: PathBuf,
    /// Partitions of every topic.
    #[arg(long, default_value_t = 8)]
    pub partitions: u32,
    /// How many faults.
    #[arg(long, default_value_t = 20)]
    pub faults: u64,
    /// Only these kinds of faults; can be repeated.
    #[arg(long, value_enum, value_name = "KIND")]
    pub only: Vec<Kind>,
    /// How long an instance must be silent to lose what it owns.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "6s")]
    pub session: Duration,
    /// Shortest quiet time between the end of a fault and the next one.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "6s")]
    pub quiet: Duration,
    /// Stories that clients begin each second: half of them orders.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Between two probes of each partition.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "100ms")]
    pub probe: Duration,
    /// How long after the last fault an order may take to be over.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "30s")]
    pub ends_within: Duration,
    /// A further argument of every instance; can be repeated.
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    pub arguments: Vec<String>,
    /// A further variable in the environment of every instance; can be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// libfaketime's library for programs of several threads (libfaketimeMT.so.1): gives each instance a wall clock that can be set.
    #[arg(long, value_name = "FILE")]
    pub faketime: Option<PathBuf>,
    /// How far the clocks of the instances are off, as in +0,+1h,-1h; with --faketime.
    #[arg(long, value_name = "OFFSETS", value_delimiter = ',', requires = "faketime", allow_hyphen_values = true)]
    pub clocks: Vec<String>,
    /// Name of the result.
    #[arg(long, default_value = "campaign")]
    pub label: String,
    /// Adds the result to this file, one line each.
    #[arg(long, value_name = "FILE")]
    pub append: Option<PathBuf>,
    /// Succeeds if a law is broken, and fails if none is: for binaries with a planted bug.
    #[arg(long)]
    pub expect_broken: bool,
}

/// Does it.
///
/// # Errors
/// When something cannot be started, the mesh does not come back, or a law is broken.
pub fn command(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Run(settings) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                // Whatever ends the run ends it here, so that no instance and no broker is left behind.
                tokio::select! {
                    ended = run(settings) => ended,
                    _ = tokio::signal::ctrl_c() => bail!("interrupted"),
                    _ = terminate.recv() => bail!("terminated"),
                }
            })
        }
        Command::Check { folder, ends_within } => {
            let (history, topics) = (history::load(&folder.join("history.jsonl"))?, load_topics(folder)?);
            let findings = checker::check(&history, &topics, nanos(*ends_within));
            println!("{}", serde_json::to_string_pretty(&findings)?);
            ensure!(findings.is_clean(), "laws are broken");
            Ok(())
        }
    }
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    let folder = &std::path::absolute(&settings.folder)?;
    ensure!(!folder.join("history.jsonl").exists(), "{} holds another run", folder.display());
    let plan = plan(settings);
    let faults = schedule::draw(&plan);
    if let Some(fault) = faults.iter().find(|fault| fault.kind.needs_other_version()) {
        ensure!(settings.other_binary.is_some(), "{} needs another version: say --other-binary", fault.kind);
    }
    if let Some(fault) = faults.iter().find(|fault| fault.kind.needs_clocks()) {
        ensure!(settings.faketime.is_some(), "{} needs clocks that can be set: say --faketime", fault.kind);
    }
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let written: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    std::fs::write(folder.join("schedule.txt"), &written)?;
    print!("seed {}\n{written}", settings.seed);

    let kafka = match settings.brokers {
        0 => None,
        nodes => Some(Kafka::start(&settings.kafka, &folder.join("kafka"), nodes, plan.instances).await?),
    };
    let mut mesh = Mesh::new(&launch(settings)?, kafka, plan.instances, folder).await?;
    let recorder = Arc::new(Recorder::create(&folder.join("history.jsonl"))?);
    let gateways = mesh.instances.iter().map(|instance| Gateway::new(&instance.name, instance.address));
    let clients = Clients::new(Arc::clone(&recorder), gateways.collect::<Result<_, _>>()?);
    mesh.start()?;
    let workload = Workload::new(clients.clone(), settings.seed);
    let probes = workload.set_up(settings.partitions, PATIENCE).await;
    // An instance that has ended is the better reason.
    mesh.look()?;
    let probes = probes?;
    mesh.is_whole(&clients).await?;

    let mut load = tokio::task::JoinSet::new();
    load.spawn(Arc::clone(&workload).run(settings.rate, IN_FLIGHT_MAX));
    for (partition, order_id) in probes {
        load.spawn(Arc::clone(&workload).probe(partition, order_id, settings.probe));
    }
    tokio::time::sleep(CALM).await;
    let suffered = suffer(&mut mesh, &faults, &clients).await;
    tokio::time::sleep(CALM).await;
    workload.stop();
    recorder.note(0, 0, What::Healed);
    workload.last_reads(settings.ends_within + Duration::from_secs(5)).await;
    while let Some(ended) = load.join_next().await {
        ended?;
    }
    let ended = mesh.look();
    tokio::task::block_in_place(|| mesh.leave())?;
    recorder.finish()?;
    let dump = dump(settings, &mesh).await?;
    topics::save(&dump.records, &folder.join("topics.jsonl"))?;
    topics::save(&dump.changelogs, &folder.join("changelogs.jsonl"))?;
    drop(mesh);
    // What the mesh did before it failed is judged as well, and told first.
    let judged = judge(settings, folder, workload.missed());
    suffered.and(ended).and(judged)
}

/// Does the faults, up to the first that the mesh does not come back from.
async fn suffer(mesh: &mut Mesh, faults: &[Fault], clients: &Clients) -> anyhow::Result<()> {
    for (number, fault) in (1..).zip(faults) {
        println!("{number}/{}: {fault}", faults.len());
        mesh.suffer(*fault, clients).await.with_context(|| format!("fault {number}, {fault}"))?;
    }
    Ok(())
}

fn plan(settings: &Settings) -> Plan {
    Plan {
        seed: settings.seed,
        faults: settings.faults,
        instances: if settings.brokers == 0 { 1 } else { settings.instances },
        brokers: settings.brokers,
        only: settings.only.clone(),
        session_ms: millis(settings.session),
        quiet_ms: millis(settings.quiet),
    }
}

fn launch(settings: &Settings) -> anyhow::Result<Launch> {
    let environment = settings.environment.iter().map(|given| {
        let (name, value) = given.split_once('=').with_context(|| format!("{given} is not NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let beside = || -> anyhow::Result<PathBuf> {
        let this = std::env::current_exe().context("where this program lies is not known; say --binary")?;
        Ok(this.with_file_name("ordermesh"))
    };
    Ok(Launch {
        binary: settings.binary.clone().map_or_else(beside, Ok)?,
        other: settings.other_binary.clone(),
        partitions: settings.partitions,
        arguments: settings.arguments.clone(),
        environment: environment.collect::<anyhow::Result<_>>()?,
        clocks: settings.faketime.clone().map(|library| Clocks { library, offsets: settings.clocks.clone() }),
    })
}

/// All topics, when no instance runs any more.
async fn dump(settings: &Settings, mesh: &Mesh) -> anyhow::Result<dump::Dump> {
    let log: Box<dyn EventLog> = match &mesh.kafka {
        Some(kafka) => {
            let brokers = kafka.bootstrap();
            Box::new(kafka_log::KafkaLog::connect(kafka_log::Config::new(brokers.split(','))).await?)
        }
        None => {
            let data = mesh.instances[0].data();
            let config = embedded_broker::Config::new(data.join("log"));
            Box::new(tokio::task::spawn_blocking(|| embedded_broker::EmbeddedLog::open(config)).await??)
        }
    };
    dump::all(&*log).await.with_context(|| format!("the topics of seed {}", settings.seed))
}

fn judge(settings: &Settings, folder: &Path, missed: u64) -> anyhow::Result<()> {
    let history = history::load(&folder.join("history.jsonl"))?;
    let topics = load_topics(folder)?;
    let findings = checker::check(&history, &topics, nanos(settings.ends_within));
    let seen = figures::see(&history);
    let report = Report {
        label: settings.label.clone(),
        finished_unix_ms: machine::now_unix_ms(),
        commit: machine::commit(),
        machine: Machine::this(),
        seed: settings.seed,
        instances: plan(settings).instances,
        brokers: settings.brokers,
        settings: settings.arguments.iter().chain(&settings.environment).chain(&settings.clocks).cloned().collect(),
        seconds: rounded(Duration::from_nanos(seen.end_ns).as_secs_f64()),
        faults: seen.faults,
        takeovers: seen.takeovers,
        moves: seen.moves,
        owner_moves: figures::owner_moves(&history, &topics.changelogs),
        return_ms: seen.returns.into_iter().map(|(name, returns)| (name, returns.quantiles())).collect(),
        gap_ms: seen.gaps.into_iter().map(|(name, gaps)| (name, gaps.quantiles())).collect(),
        answered: seen.answered,
        errors: seen.errors,
        missed,
        findings,
    };
    std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    if let Some(file) = &settings.append {
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(file, "{}", serde_json::to_string(&report)?)?;
    }
    print!("{}", report.text());
    if settings.expect_broken {
        ensure!(!report.findings.is_clean(), "no law is broken, and one should be");
    } else {
        ensure!(report.findings.is_clean(), "laws are broken; everything is in {}", folder.display());
    }
    Ok(())
}

fn load_topics(folder: &Path) -> anyhow::Result<Topics> {
    let mut topics = Topics::read(&topics::load(&folder.join("topics.jsonl"))?)?;
    topics.changelogs = changelogs::load(&folder.join("changelogs.jsonl"))?;
    Ok(topics)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
