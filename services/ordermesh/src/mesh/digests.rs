//! What the stores of the mesh hold, for whoever compares them: each instance tells the others of its own, and the one that is
//! asked by a client gathers what they tell.
//!
//! Nothing here reads a row: a store keeps its digest as it goes.

use std::sync::Arc;
use std::time::Duration;

use membership::{Exchange, InstanceId, Life};
use proto::mesh::v1 as mesh;
use proto::mesh::v1::replica_service_client::ReplicaServiceClient;
use proto::mesh::v1::replica_service_server::{ReplicaService, ReplicaServiceServer};
use proto::mesh::v1::{GetReplicaDigestsRequest, GetReplicaDigestsResponse, ReplicaDigest};
use service_host::{Chain, Dialer};
use task_runtime::{Handle, Roster, TaskState, TaskStatus};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

use crate::roles::Roles;

/// How long a task may take to answer: it finishes a batch first, and one that has lost its log does not answer at all.
const TASK_WAIT: Duration = Duration::from_secs(3);
/// How long an instance may take.
const INSTANCE_WAIT: Duration = Duration::from_secs(5);

/// The replicas in this process.
#[derive(Debug, Clone)]
pub(super) struct Replicas {
    me: InstanceId,
    roles: Arc<Roles>,
    roster: Roster,
}

impl Replicas {
    pub(super) fn new(me: InstanceId, roles: Arc<Roles>, roster: Roster) -> Self {
        Self { me, roles, roster }
    }

    /// The service for other instances.
    pub(super) fn server(self) -> ReplicaServiceServer<Self> {
        ReplicaServiceServer::new(self)
    }

    /// What the stores of a service's tasks hold here, of those that can say so now.
    async fn digests(&self, service: &str) -> Vec<ReplicaDigest> {
        let Some(tasks) = self.roles.tasks(service) else { return Vec::new() };
        let mut asked = JoinSet::new();
        let here = self.roster.status().into_iter().filter(|status| status.service == service && has_a_say(status));
        for status in here {
            if let Ok(task) = tasks.for_partition(status.partition) {
                asked.spawn(digest(self.me.clone(), task.clone(), status));
            }
        }
        let mut digests: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        digests.sort_by_key(|digest| digest.partition);
        digests
    }
}

fn has_a_say(status: &TaskStatus) -> bool {
    status.role != task_runtime::Role::Idle && status.state == TaskState::Running
}

async fn digest(me: InstanceId, task: Handle, status: TaskStatus) -> Option<ReplicaDigest> {
    // A task that moves at this moment has nothing to say; whoever compares asks again.
    let digest = tokio::time::timeout(TASK_WAIT, task.digest()).await.ok()?.ok()?;
    let role = match digest.role {
        task_runtime::Role::Active => mesh::Role::Active,
        task_runtime::Role::Standby => mesh::Role::Standby,
        task_runtime::Role::Idle => mesh::Role::Unspecified,
    };
    // The API has signed numbers, and none of these comes near their end.
    let int = |number: u64| i64::try_from(number).unwrap_or_default();
    Some(ReplicaDigest {
        instance: me.to_string(),
        partition: i32::try_from(status.partition).unwrap_or_default(),
        role: role.into(),
        epoch: int(status.epoch),
        incarnation: format!("{:032x}", digest.incarnation),
        applied_offset: int(digest.offset),
        digest: format!("{:032x}", digest.digest),
        rows: int(digest.rows),
    })
}

#[tonic::async_trait]
impl ReplicaService for Replicas {
    async fn get_replica_digests(
        &self,
        request: Request<GetReplicaDigestsRequest>,
    ) -> Result<Response<GetReplicaDigestsResponse>, Status> {
        let digests = self.digests(&request.into_inner().service).await;
        Ok(Response::new(GetReplicaDigestsResponse { digests }))
    }
}

/// All replicas of the mesh, as far as their instances can be reached from here.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    own: Replicas,
    exchange: Exchange,
    dialer: Dialer,
}

impl Comparison {
    pub(super) fn new(own: Replicas, exchange: Exchange, dialer: Dialer) -> Self {
        Self { own, exchange, dialer }
    }

    /// The digests of a service's replicas by instance, and the instances that do not answer.
    pub(super) async fn digests(&self, service: &str) -> (Vec<ReplicaDigest>, Vec<String>) {
        let others: Vec<(InstanceId, String, Life)> = self.exchange.look(|peers, now| {
            let others = peers.reports(now).filter(|(report, _)| report.instance != self.own.me);
            others.map(|(report, life)| (report.instance.clone(), report.address.clone(), life)).collect()
        });
        let mut asked = JoinSet::new();
        for (instance, address, life) in others {
            let (service, dialer) = (service.to_owned(), self.dialer.clone());
            asked.spawn(async move {
                let told = match life {
                    Life::Silent => None,
                    Life::Alive | Life::Leaving | Life::Unknown => ask(&instance, &address, service, &dialer).await,
                };
                (instance, told)
            });
        }
        let mut told = vec![(self.own.me.clone(), Some(self.own.digests(service).await))];
        told.extend(asked.join_all().await);
        told.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (mut digests, mut unreachable) = (Vec::new(), Vec::new());
        for (instance, told) in told {
            match told {
                Some(told) => digests.extend(told),
                None => unreachable.push(instance.to_string()),
            }
        }
        (digests, unreachable)
    }
}

/// Asks another instance; `None` when it does not answer, which is in the log with its reason.
async fn ask(instance: &InstanceId, address: &str, service: String, dialer: &Dialer) -> Option<Vec<ReplicaDigest>> {
    let channel = dialer.channel(address);
    let channel = channel.inspect_err(|error| tracing::warn!(%instance, %error, "replicas cannot be compared")).ok()?;
    let mut request = Request::new(GetReplicaDigestsRequest { service });
    request.set_timeout(INSTANCE_WAIT);
    let mut client = ReplicaServiceClient::new(channel);
    match tokio::time::timeout(INSTANCE_WAIT, client.get_replica_digests(request)).await {
        Ok(Ok(answer)) => Some(answer.into_inner().digests),
        Ok(Err(error)) => {
            tracing::warn!(%instance, error = %Chain(&error), "replicas cannot be compared");
            None
        }
        Err(_) => {
            tracing::warn!(%instance, error = "it does not answer in time", "replicas cannot be compared");
            None
        }
    }
}
