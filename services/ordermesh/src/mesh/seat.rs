//! This process's place in its mesh: everything that talks to the other instances, started and ended in the right order.
//!
//! A process that is a mesh by itself has a seat too. It hears nobody, so that its topology shows itself alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use event_log::SharedLog;
use gateway::Owners;
use kafka_log::wire::Dial;
use membership::{
    Assignor, Exchange, Group, GroupConfig, InputRead, Life, Member, Members, Readers, Static, Suggestions,
};
use proto::mesh::v1::topology_service_server::TopologyServiceServer;
use service_host::{Addresses, Drained, Server};
use task_runtime::{InputPosition, Roster};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::conductor::Conductor;
use super::digests::{Comparison, Replicas};
use super::door::{Admission, Door};
use super::owners::MeshOwners;
use super::topology::Topologist;
use crate::roles::{Roles, definitions};
use crate::{Config, Security};

/// How long an instance that stops waits for others to take its tasks. Later than that they are taken over as if it had died.
const HAND_OVER: Duration = Duration::from_secs(10);
/// How long the others may need to hear that a task has another owner now, before this one stops answering.
const LAST_CALLS: Duration = Duration::from_millis(300);

/// What an instance joins a mesh with.
#[derive(Debug)]
pub struct Join {
    /// The log of the mesh.
    pub log: SharedLog,
    /// Who says which instances there are.
    pub membership: Membership,
    /// Where it listens for other instances.
    pub peers: TcpListener,
    /// Services whose tasks it runs; none for a gateway.
    pub services: BTreeSet<Arc<str>>,
}

/// Who says which instances there are.
#[derive(Debug)]
pub enum Membership {
    /// The configuration, or a test.
    Static(Arc<Static>),
    /// The group coordinator of these brokers.
    Group(Dial),
}

impl Join {
    pub(crate) fn has_tasks(&self) -> bool {
        !self.services.is_empty()
    }
}

/// A place in a mesh.
#[derive(Debug)]
pub(crate) struct Seat {
    exchange: Exchange,
    owners: Arc<dyn Owners>,
    topologist: Topologist,
    suggestions: Option<Suggestions>,
    leaving: watch::Sender<bool>,
    has_tasks: bool,
    lost: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    jobs: Vec<JoinHandle<()>>,
    door: Option<JoinHandle<Drained>>,
    _static: Option<Arc<Static>>,
}

impl Seat {
    /// Starts everything that talks to other instances.
    pub(crate) fn take(
        config: &Config,
        join: Option<Join>,
        exchange: Exchange,
        roster: Roster,
        roles: Arc<Roles>,
        security: &Security,
        shutdown: &CancellationToken,
    ) -> io::Result<Self> {
        let me: Arc<str> = Arc::from(config.mesh.instance.as_str());
        let stop = CancellationToken::new();
        let (lost_sender, lost) = watch::channel(None);
        let mut jobs = Vec::new();
        let partitions = config.mesh.partitions;
        let replicas = Replicas::new(me.clone(), roles.clone(), roster.clone());
        let comparison = Comparison::new(replicas.clone(), exchange.clone(), security.dialer.clone());
        let topologist = |suggestions| {
            let (exchange, comparison) = (exchange.clone(), comparison.clone());
            Topologist::new(me.clone(), partitions, exchange, suggestions, comparison, shutdown.clone())
        };
        let Some(join) = join else {
            let all = definitions(config).iter().map(|definition| definition.service().into()).collect();
            let conductor = Conductor::new(me.clone(), String::new(), all, roster, exchange.clone(), None);
            let leaving = conductor.leaving();
            jobs.push(tokio::spawn(conductor.run(stop.clone())));
            let topologist = topologist(None);
            let (owners, suggestions, door, has_tasks) = (roles as Arc<dyn Owners>, None, None, false);
            return Ok(Self {
                exchange,
                owners,
                topologist,
                suggestions,
                leaving,
                has_tasks,
                lost,
                stop,
                jobs,
                door,
                _static: None,
            });
        };

        let listens = join.peers.local_addr()?;
        let address = config.peers.advertise.clone().unwrap_or_else(|| listens.to_string());
        let has_tasks = join.has_tasks();
        let member = has_tasks.then(|| Member {
            address: address.clone(),
            zone: config.mesh.zone.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            services: join.services.clone(),
        });
        let (suggestions, fixed) = match join.membership {
            Membership::Static(fixed) => (fixed.suggestions(), Some(fixed)),
            Membership::Group(dial) => {
                if has_tasks {
                    let readers = Readers::new(group_config(config), dial.clone());
                    let roster = roster.clone();
                    jobs.push(tokio::spawn(readers.run(move || inputs_read(&roster), stop.clone())));
                }
                let group = Group::new(group_config(config), dial, me.clone(), member, exchange.clone());
                let suggestions = group.suggestions();
                jobs.push(tokio::spawn(keep(group, stop.clone(), lost_sender)));
                (suggestions, None)
            }
        };
        let conductor =
            Conductor::new(me.clone(), address, join.services, roster, exchange.clone(), Some(suggestions.clone()));
        let leaving = conductor.leaving();
        if has_tasks {
            jobs.push(tokio::spawn(conductor.run(stop.clone())));
        }
        jobs.push(tokio::spawn(exchange.clone().run(suggestions.clone(), security.dialer.clone(), stop.clone())));
        let admission = Admission { certificate: security.instances.is_some(), secret: security.peer_secret.clone() };
        let door = Server::new(&config.listen, &config.limits).over(security.instances.clone());
        let door = tokio::spawn(door.serve(
            join.peers,
            Door::new(roles.clone(), &exchange, replicas.clone(), admission),
            stop.clone(),
        ));
        let connections = config.gateway.connections_per_upstream;
        let owners =
            MeshOwners::new(me.clone(), partitions, roles, exchange.clone(), security.dialer.clone(), connections);
        Ok(Self {
            topologist: topologist(Some(suggestions.clone())),
            exchange,
            owners: Arc::new(owners),
            suggestions: Some(suggestions),
            leaving,
            has_tasks,
            lost,
            stop,
            jobs,
            door: Some(door),
            _static: fixed,
        })
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(crate) fn owners(&self) -> Arc<dyn Owners> {
        self.owners.clone()
    }

    pub(crate) fn topology(&self) -> TopologyServiceServer<Topologist> {
        self.topologist.clone().server()
    }

    /// Returns when the mesh is known.
    pub(crate) async fn joined(&self) {
        let Some(mut suggestions) = self.suggestions.clone() else { return };
        // Nobody suggests any more only when this seat has been left.
        let _ = suggestions.wait_for(|suggestion| !suggestion.members.is_empty()).await;
    }

    /// Returns when the mesh has no place for this instance any more, with why.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Hands the tasks over to others, as far as there are any.
    pub(crate) async fn hand_over(&self, roster: &Roster) {
        if !self.has_tasks {
            return;
        }
        self.leaving.send_replace(true);
        let mut changes = roster.watch();
        let handed_over = async {
            while self.has_successors() && roster.status().iter().any(task_runtime::TaskStatus::is_owner) {
                let _ = tokio::time::timeout(LAST_CALLS, changes.changed()).await;
            }
        };
        if tokio::time::timeout(HAND_OVER, handed_over).await.is_err() {
            tracing::warn!("nobody has taken over in time");
        }
        if self.has_successors() {
            tokio::time::sleep(LAST_CALLS).await;
        }
    }

    fn has_successors(&self) -> bool {
        let me = self.topologist.me();
        self.exchange
            .look(|peers, now| peers.reports(now).any(|(report, life)| *report.instance != **me && life == Life::Alive))
    }

    /// Tells the mesh that this instance is gone, and ends everything.
    pub(crate) async fn leave(self) {
        self.stop.cancel();
        for job in self.jobs {
            // One that panicked has said so itself.
            let _ = job.await;
        }
        if let Some(door) = self.door {
            let _ = door.await;
        }
    }

    /// Ends everything without a word, as a crash does.
    pub(crate) fn abandon(&self) {
        for job in &self.jobs {
            job.abort();
        }
        if let Some(door) = &self.door {
            door.abort();
        }
    }
}

/// What this instance will tell the others, and hear of them.
pub(crate) fn exchange(config: &Config) -> Exchange {
    Exchange::new(config.peers.exchange(), Arc::from(config.mesh.instance.as_str()))
}

/// Where the others are, as far as they have told.
pub(crate) fn addresses(exchange: &Exchange) -> Addresses {
    let exchange = exchange.clone();
    Addresses::new(move |instance| {
        exchange.look(|peers, now| {
            let mut reports = peers.reports(now).map(|(report, _)| report);
            reports.find(|report| *report.instance == *instance).map(|report| report.address.clone())
        })
    })
}

async fn keep(group: Group, stop: CancellationToken, lost: watch::Sender<Option<String>>) {
    if let Err(error) = group.run(stop).await {
        lost.send_replace(Some(error.to_string()));
    }
}

fn inputs_read(roster: &Roster) -> Vec<InputRead> {
    let positions = roster.input_positions().into_iter();
    let read = positions.map(|InputPosition { service, topic, partition, next_offset }| InputRead {
        service,
        topic: topic.to_string(),
        partition,
        next_offset,
    });
    read.collect()
}

fn group_config(config: &Config) -> GroupConfig {
    let changelogs: BTreeMap<Arc<str>, String> = definitions(config)
        .iter()
        .map(|definition| (definition.service().into(), definition.changelog().to_string()))
        .collect();
    let brokers = config.kafka.brokers.clone();
    GroupConfig {
        session: config.peers.group_session,
        heartbeat: config.peers.group_heartbeat,
        assignor: Assignor { standbys: config.mesh.standbys, ..Assignor::default() },
        ..GroupConfig::new(&config.mesh.group, brokers, config.mesh.partitions, changelogs)
    }
}

impl Membership {
    /// The instances that the configuration lists. Each runs all services: all of them must come to the same placement, and none
    /// knows of another what its own configuration says.
    pub fn listed(config: &Config) -> Self {
        let services: BTreeSet<Arc<str>> =
            definitions(config).iter().map(|definition| definition.service().into()).collect();
        let member = |address: &String| Member {
            address: address.clone(),
            zone: String::new(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            services: services.clone(),
        };
        let instances = config.peers.instances.iter();
        let members: Members = instances.map(|(name, address)| (name.as_str().into(), member(address))).collect();
        let assignor = Assignor { standbys: config.mesh.standbys, ..Assignor::default() };
        Self::Static(Arc::new(Static::new(assignor, config.mesh.partitions, members)))
    }
}
