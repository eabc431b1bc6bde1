//! The mesh as this instance sees it, for people and tools.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use membership::{Exchange, InstanceId, Life, Member, Peers, Report, Role, Suggestions, TaskId};
use proto::mesh::v1 as mesh;
use proto::mesh::v1::topology_service_server::{TopologyService, TopologyServiceServer};
use proto::mesh::v1::{
    GetDigestsRequest, GetDigestsResponse, GetTopologyRequest, GetTopologyResponse, InstanceState, Topology,
    TopologyInstance, TopologyReplica, TopologyTask, WatchTopologyRequest, WatchTopologyResponse,
};
use service_host::Problem;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::digests::Comparison;

/// Least time between two messages of a watch.
const WATCH_PAUSE: Duration = Duration::from_millis(100);

/// Shows the mesh.
#[derive(Debug, Clone)]
pub(crate) struct Topologist {
    me: InstanceId,
    partitions: u32,
    exchange: Exchange,
    suggestions: Option<Suggestions>,
    comparison: Comparison,
    shutdown: CancellationToken,
}

impl Topologist {
    pub(super) fn new(
        me: InstanceId,
        partitions: u32,
        exchange: Exchange,
        suggestions: Option<Suggestions>,
        comparison: Comparison,
        shutdown: CancellationToken,
    ) -> Self {
        Self { me, partitions, exchange, suggestions, comparison, shutdown }
    }

    pub(super) fn server(self) -> TopologyServiceServer<Self> {
        TopologyServiceServer::new(self)
    }

    pub(super) fn me(&self) -> &InstanceId {
        &self.me
    }

    fn topology(&self) -> Topology {
        let suggestion = self.suggestions.as_ref().map(|all| all.borrow().clone()).unwrap_or_default();
        self.exchange.look(|peers, now| Topology {
            seen_by: self.me.to_string(),
            generation: int(suggestion.generation),
            partitions: int(self.partitions),
            instances: peers
                .reports(now)
                .map(|(report, life)| instance(report, life, suggestion.members.get(&report.instance)))
                .collect(),
            tasks: tasks(peers, now),
        })
    }
}

#[tonic::async_trait]
impl TopologyService for Topologist {
    async fn get_topology(&self, _: Request<GetTopologyRequest>) -> Result<Response<GetTopologyResponse>, Status> {
        Ok(Response::new(GetTopologyResponse { topology: Some(self.topology()) }))
    }

    async fn get_digests(&self, request: Request<GetDigestsRequest>) -> Result<Response<GetDigestsResponse>, Status> {
        let GetDigestsRequest { service } = request.into_inner();
        if service.is_empty() {
            return Err(
                Problem::invalid_field("service", "must be given: the digests of one service are an answer").into()
            );
        }
        let known: BTreeSet<String> = self.topology().tasks.into_iter().map(|task| task.service).collect();
        if !known.is_empty() && !known.contains(&service) {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            let why = format!("names no service that has tasks at present; these have: {known}");
            return Err(Problem::invalid_field("service", why).into());
        }
        let (digests, unreachable) = self.comparison.digests(&service).await;
        Ok(Response::new(GetDigestsResponse { digests, unreachable }))
    }

    type WatchTopologyStream = Pin<Box<dyn Stream<Item = Result<WatchTopologyResponse, Status>> + Send>>;

    async fn watch_topology(
        &self,
        _: Request<WatchTopologyRequest>,
    ) -> Result<Response<Self::WatchTopologyStream>, Status> {
        // A slow reader gets fewer messages, for each of them carries everything.
        let (sender, messages) = mpsc::channel(1);
        let this = self.clone();
        tokio::spawn(async move {
            let mut changes = this.exchange.changes();
            loop {
                changes.borrow_and_update();
                let message = WatchTopologyResponse { topology: Some(this.topology()) };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = this.shutdown.cancelled() => return,
                    () = sender.closed() => return,
                    () = async {
                        tokio::time::sleep(WATCH_PAUSE).await;
                        let _ = changes.changed().await;
                    } => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

fn instance(report: &Report, life: Life, member: Option<&Member>) -> TopologyInstance {
    let state = match life {
        Life::Alive | Life::Unknown => InstanceState::Alive,
        Life::Leaving => InstanceState::Leaving,
        Life::Silent => InstanceState::Silent,
    };
    let count = |role| int(report.tasks.values().filter(|told| told.role == role).count() as u64);
    TopologyInstance {
        instance: report.instance.to_string(),
        address: report.address.clone(),
        state: state.into(),
        zone: member.map_or_else(String::new, |member| member.zone.clone()),
        build: member.map_or_else(String::new, |member| member.build.clone()),
        active_tasks: count(Role::Active),
        standby_tasks: count(Role::Standby),
    }
}

fn tasks(peers: &Peers, now: Instant) -> Vec<TopologyTask> {
    let mut replicas: BTreeMap<&TaskId, Vec<TopologyReplica>> = BTreeMap::new();
    for (report, life) in peers.reports(now) {
        for (task, told) in report.tasks.iter().filter(|_| life != Life::Silent) {
            // Of two who both tell that they own it, the earlier claim is void: its owner is about to notice.
            let is_owner = peers.owner(task).is_some_and(|(owner, _)| owner.instance == report.instance);
            let role = if told.role == Role::Active && is_owner { mesh::Role::Active } else { mesh::Role::Standby };
            replicas.entry(task).or_default().push(TopologyReplica {
                instance: report.instance.to_string(),
                role: role.into(),
                applied_offset: int(told.applied),
                lag_records: int(told.lag),
                warm: told.is_warm,
                restore_done_records: told.restore.map_or(0, |restore| int(restore.done)),
                restore_all_records: told.restore.map_or(0, |restore| int(restore.all)),
            });
        }
    }
    let shown = replicas.into_iter().map(|(task, replicas)| {
        let owner = peers.owner(task);
        let alive = owner.filter(|(report, _)| peers.life(&report.instance, now) != Life::Silent);
        TopologyTask {
            service: task.service.to_string(),
            partition: int(task.partition),
            owner: alive.map_or_else(String::new, |(report, _)| report.instance.to_string()),
            epoch: owner.map_or(0, |(_, told)| int(told.epoch)),
            replicas,
        }
    });
    shown.collect()
}

/// The API has signed numbers, and none of these comes near their end.
fn int<T: TryFrom<u64> + Default>(number: impl Into<u64>) -> T {
    T::try_from(number.into()).unwrap_or_default()
}
