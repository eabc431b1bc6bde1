//! Does what the schedule says to instances and brokers, and undoes it.
//!
//! Always: after each fault everything runs again before the next one begins, and the history knows when each began.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::broker::Kafka;
use super::calls::Clients;
use super::history::{Bound, Call, Recorder, What};
use super::instances::{Instance, Launch};
use super::proxy::{Mode, Proxy};
use super::schedule::{Fault, Kind};

/// How long an instance may take to answer after its start, and to leave.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks whether an instance answers.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks whether an instance that was just started restores. A small mesh is restored within a second.
const LOOK_CLOSELY: Duration = Duration::from_millis(5);
/// Times that connections are reset.
const TIMES: usize = 3;
/// A changelog with a leader.
const CHANGELOG: &str = "orders-changelog";
/// Session of the looks, apart from those of the clients.
const SESSION: u64 = 3_000;

/// The mesh under test.
#[derive(Debug)]
pub struct Mesh {
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Its brokers, unless it is one process with a log of its own.
    pub kafka: Option<Kafka>,
}

impl Mesh {
    /// Instances of one launch, named a, b, c.
    ///
    /// # Errors
    /// When their folders cannot be made.
    pub async fn new(launch: &Launch, kafka: Option<Kafka>, count: usize, folder: &Path) -> anyhow::Result<Self> {
        let names = ('a'..='z').take(count).map(String::from);
        // One process is called what the mesh calls it by itself.
        let names = names.map(|name| if kafka.is_none() { "dev".to_owned() } else { name });
        let brokers = |number| kafka.as_ref().map(|kafka: &Kafka| kafka.bootstrap_of(number));
        let instances = names.enumerate().map(|(number, name)| {
            let clock = launch.clocks.as_ref().map(|clocks| clocks.of(number));
            Instance::new(&name, folder, launch, brokers(number), clock)
        });
        let instances = instances.collect::<Result<_, _>>()?;
        let mut mesh = Self { instances, kafka };
        if mesh.kafka.is_some() {
            for instance in &mut mesh.instances {
                instance.put_behind_proxy().await?;
            }
        }
        Ok(mesh)
    }

    /// Starts everything.
    ///
    /// # Errors
    /// When an instance cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.instances.iter_mut().try_for_each(Instance::start)
    }

    /// Fails when an instance has ended by itself.
    ///
    /// # Errors
    /// Names the instance.
    pub fn look(&mut self) -> anyhow::Result<()> {
        self.instances.iter_mut().try_for_each(Instance::look)
    }

    /// Waits until every instance answers.
    ///
    /// # Errors
    /// When one does not, or has ended.
    pub async fn is_whole(&mut self, clients: &Clients) -> anyhow::Result<()> {
        for gateway in 0..self.instances.len() {
            self.answers(gateway, clients).await?;
        }
        Ok(())
    }

    async fn answers(&mut self, gateway: usize, clients: &Clients) -> anyhow::Result<()> {
        let begin = Instant::now();
        let call = Call::GetProduct { product_id: "p-0".to_owned(), bound: Bound::Strong };
        loop {
            self.instances[gateway].look()?;
            if clients.call(SESSION, gateway, &call, "", Duration::from_secs(2)).await.end.is_ok() {
                return Ok(());
            }
            let name = &self.instances[gateway].name;
            anyhow::ensure!(begin.elapsed() < PATIENCE, "instance {name} does not answer {PATIENCE:?} after the fault");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Does one fault and undoes it.
    ///
    /// # Errors
    /// When the mesh does not come back.
    pub async fn suffer(&mut self, fault: Fault, clients: &Clients) -> anyhow::Result<()> {
        tokio::time::sleep(Duration::from_millis(fault.after_ms)).await;
        self.look()?;
        let Fault { kind, target, .. } = fault;
        let name = kind.takes_over().then(|| self.instances[target].name.clone());
        let begun = |recorder: &Recorder| {
            recorder.note(0, 0, What::Fault { name: kind.to_string(), target: name.clone() });
        };
        let span = Duration::from_millis(fault.for_ms);
        match kind {
            Kind::Kill
            | Kind::KillTwice
            | Kind::Pause
            | Kind::Flicker
            | Kind::Leave
            | Kind::ChangeVersion
            | Kind::ClockAhead
            | Kind::ClockBack => self.on_instance(fault, clients, begun).await?,
            Kind::KillOften => {
                begun(clients.recorder());
                self.kill_often(fault, clients).await?;
            }
            Kind::Scale => {
                begun(clients.recorder());
                self.scale(target, span, clients).await?;
            }
            Kind::Upgrade => {
                begun(clients.recorder());
                self.upgrade(target, span, clients).await?;
            }
            Kind::KillAll => {
                begun(clients.recorder());
                self.instances.iter_mut().try_for_each(Instance::kill)?;
                tokio::time::sleep(span).await;
                self.start()?;
            }
            Kind::KillBroker | Kind::KillLeader | Kind::PauseBroker | Kind::PauseBrokers | Kind::BrokersAway => {
                self.on_nodes(fault, clients, begun).await?;
            }
            Kind::Reset
            | Kind::Mute
            | Kind::LoseAnswers
            | Kind::CutBrokers
            | Kind::CutPeers
            | Kind::Delay
            | Kind::Lossy => {
                begun(clients.recorder());
                self.on_connections(fault).await?;
            }
        }
        self.is_whole(clients).await?;
        clients.recorder().note(0, 0, What::Healed);
        Ok(())
    }

    async fn on_instance(&mut self, fault: Fault, clients: &Clients, begun: impl Fn(&Recorder)) -> anyhow::Result<()> {
        let span = Duration::from_millis(fault.for_ms);
        let instance = &mut self.instances[fault.target];
        begun(clients.recorder());
        match fault.kind {
            Kind::Pause => {
                instance.pause(true)?;
                tokio::time::sleep(span).await;
                instance.pause(false)?;
            }
            Kind::Flicker => {
                for _ in 0..fault.times {
                    instance.pause(true)?;
                    tokio::time::sleep(span).await;
                    instance.pause(false)?;
                    tokio::time::sleep(span / 8).await;
                }
            }
            Kind::ClockAhead | Kind::ClockBack => {
                instance.set_clock(Some(if fault.kind == Kind::ClockAhead { "+1d" } else { "-1h" }))?;
                tokio::time::sleep(span).await;
                instance.set_clock(None)?;
            }
            Kind::Leave | Kind::ChangeVersion => {
                leave(instance)?;
                if fault.kind == Kind::ChangeVersion {
                    instance.change_version();
                }
                tokio::time::sleep(span).await;
                instance.start()?;
            }
            _ => {
                instance.kill()?;
                tokio::time::sleep(span).await;
                instance.start()?;
                if fault.kind == Kind::KillTwice {
                    tokio::time::sleep(span).await;
                    instance.kill()?;
                    instance.start()?;
                }
            }
        }
        Ok(())
    }

    async fn on_nodes(&self, fault: Fault, clients: &Clients, begun: impl Fn(&Recorder)) -> anyhow::Result<()> {
        let Fault { kind, target, for_ms, .. } = fault;
        let (kafka, span) = (self.kafka.as_ref().context("there are no brokers")?, Duration::from_millis(for_ms));
        if matches!(kind, Kind::KillBroker | Kind::KillLeader) {
            let node = if kind == Kind::KillLeader { kafka.leader(CHANGELOG, 0).await? } else { target + 1 };
            begun(clients.recorder());
            kafka.kill(node).await?;
            tokio::time::sleep(span).await;
            return kafka.restart(node).await;
        }
        let nodes = (1..=kafka.len()).filter(|node| kind != Kind::PauseBroker || *node == target + 1);
        let nodes = nodes.collect::<Vec<_>>();
        begun(clients.recorder());
        nodes.iter().try_for_each(|node| kafka.pause(*node, true))?;
        tokio::time::sleep(span).await;
        nodes.iter().try_for_each(|node| kafka.pause(*node, false))?;
        if kind != Kind::PauseBroker {
            clients.recorder().note(0, 0, What::Returned { name: kind.to_string() });
        }
        Ok(())
    }

    /// Kills an instance, and again each time that it says that it restores.
    async fn kill_often(&mut self, fault: Fault, clients: &Clients) -> anyhow::Result<()> {
        let instance = &mut self.instances[fault.target];
        instance.kill()?;
        tokio::time::sleep(Duration::from_millis(fault.for_ms)).await;
        let mut restored = 0;
        for _ in 0..fault.times {
            instance.start()?;
            let begin = Instant::now();
            let tasks = loop {
                instance.look()?;
                if let Ok(Some(tasks)) = clients.restoring(fault.target, Duration::from_secs(1)).await {
                    break tasks;
                }
                anyhow::ensure!(begin.elapsed() < PATIENCE, "instance {} does not come up", instance.name);
                tokio::time::sleep(LOOK_CLOSELY).await;
            };
            instance.kill()?;
            restored += u64::from(tasks > 0);
        }
        println!("  killed {} times as it came up, {restored} of them while it restored", fault.times);
        instance.start()
    }

    /// Leaves one instance, brings all back, takes one of them away and brings it back, with as much time between.
    async fn scale(&mut self, stays: usize, span: Duration, clients: &Clients) -> anyhow::Result<()> {
        let others = (1..self.instances.len()).map(|n| (stays + n) % self.instances.len()).collect::<Vec<_>>();
        for number in &others {
            leave(&mut self.instances[*number])?;
        }
        self.answers(stays, clients).await?;
        tokio::time::sleep(span).await;
        self.start()?;
        self.is_whole(clients).await?;
        tokio::time::sleep(span).await;
        if let Some(number) = others.first() {
            leave(&mut self.instances[*number])?;
            self.answers(stays, clients).await?;
            tokio::time::sleep(span).await;
        }
        self.start()
    }

    /// Brings all instances to the other version, the first of them first, each when the one before answers.
    async fn upgrade(&mut self, first: usize, span: Duration, clients: &Clients) -> anyhow::Result<()> {
        for n in 0..self.instances.len() {
            let number = (first + n) % self.instances.len();
            let instance = &mut self.instances[number];
            leave(instance)?;
            instance.change_version();
            tokio::time::sleep(span).await;
            instance.start()?;
            self.is_whole(clients).await?;
        }
        Ok(())
    }

    async fn on_connections(&self, fault: Fault) -> anyhow::Result<()> {
        let kafka = self.kafka.as_ref().context("there are no brokers")?;
        let span = Duration::from_millis(fault.for_ms);
        if fault.kind == Kind::Reset {
            for _ in 0..TIMES {
                kafka.proxies().for_each(Proxy::reset);
                tokio::time::sleep(span).await;
            }
            return Ok(());
        }
        let (mode, proxies): (Mode, Vec<&Proxy>) = match fault.kind {
            Kind::CutBrokers => (Mode::Mute, kafka.before_instance(fault.target).collect()),
            Kind::CutPeers => (Mode::Mute, self.instances[fault.target].door.iter().collect()),
            Kind::LoseAnswers => (Mode::LoseAnswers, kafka.before_node(fault.target).collect()),
            Kind::Delay | Kind::Lossy => {
                let mode = if fault.kind == Kind::Delay { Mode::Delay } else { Mode::Lossy };
                let doors = self.instances.iter().flat_map(|instance| &instance.door);
                (mode, kafka.proxies().chain(doors).collect())
            }
            _ => (Mode::Mute, kafka.before_node(fault.target).collect()),
        };
        proxies.iter().for_each(|proxy| proxy.set(mode));
        tokio::time::sleep(span).await;
        for proxy in proxies {
            proxy.set(Mode::Pass);
            if mode == Mode::Mute || mode == Mode::LoseAnswers {
                // Whatever waited in a connection that hung is of no use to anybody.
                proxy.reset();
            }
        }
        Ok(())
    }

    /// Asks all instances to leave, and waits until they have.
    ///
    /// # Errors
    /// When they cannot be waited for.
    pub fn leave(&mut self) -> anyhow::Result<()> {
        self.instances.iter_mut().try_for_each(|instance| instance.leave(PATIENCE).map(drop))
    }
}

/// Tells an instance to leave, and waits for it. This blocks, and clients run on the same threads.
fn leave(instance: &mut Instance) -> anyhow::Result<()> {
    tokio::task::block_in_place(|| instance.leave(PATIENCE)).map(drop)
}
