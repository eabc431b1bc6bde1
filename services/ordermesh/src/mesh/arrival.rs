//! How this process takes its place in its mesh: everything that talks to the other instances is started in the right order,
//! and they find an open door last.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use event_log::SharedLog;
use kafka_log::wire::Dial;
use membership::{Assignor, Exchange, Group, GroupConfig, InputRead, Member, Members, Readers, Static, Suggestions};
use service_host::config::LimitsConfig;
use service_host::{Drained, Server};
use task_runtime::{InputPosition, Roster};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::conductor::Conductor;
use super::digests::{Comparison, Replicas};
use super::door::{Admission, Door};
use super::owners::MeshOwners;
use super::seat::Seat;
use super::topology::Topologist;
use crate::roles::{Roles, definitions};
use crate::{Config, Security};

/// What a gateway adds to the headers of a client at the most: trace, deadline, partition, a key that it made, and the secret.
const ADDED_HEADER_BYTES: u32 = 4 << 10;

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

/// Who takes a place in a mesh, and what is there for it.
pub(crate) struct Arrival<'a> {
    pub(crate) config: &'a Config,
    pub(crate) exchange: Exchange,
    pub(crate) roster: Roster,
    pub(crate) roles: Arc<Roles>,
    pub(crate) security: &'a Security,
    pub(crate) shutdown: &'a CancellationToken,
}

impl Arrival<'_> {
    /// Takes it among others, or in a mesh that is this process.
    pub(crate) fn take(self, join: Option<Join>) -> io::Result<Seat> {
        match join {
            Some(join) => self.among_others(join),
            None => Ok(self.alone()),
        }
    }

    fn alone(self) -> Seat {
        let conductor = self.conductor(String::new(), all_services(self.config), None);
        let (leaving, stop) = (conductor.leaving(), CancellationToken::new());
        Seat {
            topologist: self.topologist(None),
            owners: self.roles,
            exchange: self.exchange,
            suggestions: None,
            leaving,
            has_tasks: false,
            lost: watch::channel(None).1,
            jobs: vec![tokio::spawn(conductor.run(stop.clone()))],
            stop,
            door: None,
            _static: None,
        }
    }

    fn among_others(self, join: Join) -> io::Result<Seat> {
        let has_tasks = join.has_tasks();
        let Join { membership, peers, services, .. } = join;
        let listens = peers.local_addr()?;
        let address = self.config.peers.advertise.clone().unwrap_or_else(|| listens.to_string());
        let (stop, mut jobs) = (CancellationToken::new(), Vec::new());
        let (lost_sender, lost) = watch::channel(None);
        let (suggestions, fixed) = match membership {
            Membership::Static(fixed) => (fixed.suggestions(), Some(fixed)),
            Membership::Group(dial) => {
                let member = has_tasks.then(|| self.member(&address, &services));
                let (suggestions, in_group) = self.join_group(dial, member, lost_sender, &stop);
                jobs.extend(in_group);
                (suggestions, None)
            }
        };
        let conductor = self.conductor(address, services, Some(suggestions.clone()));
        let leaving = conductor.leaving();
        if has_tasks {
            jobs.push(tokio::spawn(conductor.run(stop.clone())));
        }
        let talks = self.exchange.clone().run(suggestions.clone(), self.security.dialer.clone(), stop.clone());
        jobs.push(tokio::spawn(talks));
        let door = self.open_door(peers, &stop);
        Ok(Seat {
            topologist: self.topologist(Some(suggestions.clone())),
            owners: Arc::new(self.owners()),
            exchange: self.exchange,
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

    fn me(&self) -> Arc<str> {
        Arc::from(self.config.mesh.instance.as_str())
    }

    /// What the others are told of this instance.
    fn member(&self, address: &str, services: &BTreeSet<Arc<str>>) -> Member {
        Member {
            address: address.to_owned(),
            zone: self.config.mesh.zone.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            services: services.clone(),
        }
    }

    /// Joins the group, or only looks who is in it without a member to be. A reason to stop goes to `lost`.
    fn join_group(
        &self,
        dial: Dial,
        member: Option<Member>,
        lost: watch::Sender<Option<String>>,
        stop: &CancellationToken,
    ) -> (Suggestions, Vec<JoinHandle<()>>) {
        let mut jobs = Vec::new();
        if member.is_some() {
            let readers = Readers::new(group_config(self.config), dial.clone());
            let roster = self.roster.clone();
            jobs.push(tokio::spawn(readers.run(move || inputs_read(&roster), stop.clone())));
        }
        let group = Group::new(group_config(self.config), dial, self.me(), member, self.exchange.clone());
        let suggestions = group.suggestions();
        jobs.push(tokio::spawn(keep(group, stop.clone(), lost)));
        (suggestions, jobs)
    }

    fn conductor(&self, address: String, services: BTreeSet<Arc<str>>, suggestions: Option<Suggestions>) -> Conductor {
        Conductor::new(self.me(), address, services, self.roster.clone(), self.exchange.clone(), suggestions)
    }

    fn replicas(&self) -> Replicas {
        Replicas::new(self.me(), self.roles.clone(), self.roster.clone())
    }

    fn topologist(&self, suggestions: Option<Suggestions>) -> Topologist {
        let comparison = Comparison::new(self.replicas(), self.exchange.clone(), self.security.dialer.clone());
        let (partitions, exchange) = (self.config.mesh.partitions, self.exchange.clone());
        Topologist::new(self.me(), partitions, exchange, suggestions, comparison, self.shutdown.clone())
    }

    fn owners(&self) -> MeshOwners {
        let (roles, exchange) = (self.roles.clone(), self.exchange.clone());
        let (dialer, connections) = (self.security.dialer.clone(), self.config.gateway.connections_per_upstream);
        MeshOwners::new(self.me(), self.config.mesh.partitions, roles, exchange, dialer, connections)
    }

    /// Serves the other instances.
    fn open_door(&self, peers: TcpListener, stop: &CancellationToken) -> JoinHandle<Drained> {
        let Security { instances, peer_secret, .. } = self.security;
        let admission = Admission { certificate: instances.is_some(), secret: peer_secret.clone() };
        let door = Door::new(self.roles.clone(), &self.exchange, self.replicas(), admission);
        let limits = of_the_door(&self.config.limits);
        let server = Server::new(&self.config.listen, &limits).answering(self.config.additions.api());
        let server = server.for_instances().over(instances.clone());
        tokio::spawn(server.serve(peers, door, stop.clone()))
    }
}

/// The limits of calls from other instances. A gateway brings the calls of all its clients over a few connections, and one
/// that waited there for a place would look like one to an owner that does not answer. So each connection has twice as many
/// places as calls may be under way: one too many always gets in, and is answered. The headers that a gateway takes must pass
/// here too, with what it adds to them.
fn of_the_door(limits: &LimitsConfig) -> LimitsConfig {
    let places = u32::try_from(limits.calls_max.saturating_mul(2)).unwrap_or(u32::MAX);
    LimitsConfig {
        streams_per_connection_max: places.max(limits.streams_per_connection_max),
        header_bytes_max: limits.header_bytes_max.saturating_add(ADDED_HEADER_BYTES),
        ..limits.clone()
    }
}

fn all_services(config: &Config) -> BTreeSet<Arc<str>> {
    definitions(config).iter().map(|definition| definition.service().into()).collect()
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
        let services = all_services(config);
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures::stream::{FuturesUnordered, StreamExt};
    use http::{Request, Response};
    use service_host::config::ListenConfig;
    use service_host::{Dialer, Problem};
    use tonic::Status;
    use tonic::body::Body;
    use tower::ServiceExt;

    use super::*;

    /// Serves with the limits of a door on a free port what never answers, but `/now`, and returns one connection to it.
    async fn connected(limits: &LimitsConfig) -> service_host::PeerChannel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = tower::service_fn(|request: Request<Body>| async move {
            match request.uri().path() {
                "/now" => Ok::<_, Infallible>(Problem::unknown_method("/now").into_http()),
                _ => std::future::pending().await,
            }
        });
        let server = Server::new(&ListenConfig::default(), &of_the_door(limits));
        tokio::spawn(server.serve(listener, service, CancellationToken::new()));
        Dialer::plain().channel(&address).unwrap()
    }

    fn reason(answer: &Response<Body>) -> String {
        let status = Status::from_header_map(answer.headers()).unwrap();
        Problem::from(&status).reason.into_owned()
    }

    #[tokio::test]
    async fn a_call_too_many_of_another_instance_is_answered() {
        let limits = LimitsConfig { streams_per_connection_max: 2, calls_max: 10, ..LimitsConfig::default() };
        let channel = connected(&limits).await;
        let call = |path| channel.clone().oneshot(Request::post(path).body(Body::empty()).unwrap());
        // Only now the connection knows how many calls it may have.
        assert_eq!(reason(&call("/now").await.unwrap()), "UNKNOWN_METHOD");
        // Five too many: it does not matter which of them come last.
        let calls: FuturesUnordered<_> = (0..15).map(|_| call("/never")).collect();
        let answered = tokio::time::timeout(Duration::from_secs(20), calls.take(5).collect::<Vec<_>>()).await;
        for answered in answered.expect("those too many are answered") {
            assert_eq!(reason(&answered.unwrap()), "OVERLOADED");
        }
    }

    #[tokio::test]
    async fn headers_that_a_gateway_lets_in_pass_with_what_it_adds() {
        let limits = LimitsConfig::default();
        let channel = connected(&limits).await;
        let request = Request::post("/now")
            .header("x-of-a-client", "x".repeat(limits.header_bytes_max as usize))
            .header(service_host::headers::PEER_SECRET, "x".repeat(1_000))
            .body(Body::empty());
        let answer = channel.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(reason(&answer), "UNKNOWN_METHOD");
        let unlimited = of_the_door(&LimitsConfig { calls_max: usize::MAX, header_bytes_max: u32::MAX, ..limits });
        assert_eq!((unlimited.streams_per_connection_max, unlimited.header_bytes_max), (u32::MAX, u32::MAX));
    }
}
