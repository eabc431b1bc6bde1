//! Membership by Kafka's own group protocol, of the classic kind that every broker speaks and every tool shows.
//!
//! The coordinator on the broker keeps the list of members and notices, after a session, who is gone. One member, the
//! leader, computes the placement and hands it out whole to every member. What is assigned in the protocol's own terms are
//! the changelog partitions of the tasks, and the offsets that are committed are those up to which the owners have applied
//! them, as advice for people: `kafka-consumer-groups --describe` shows who owns what, and how far it is. How far services have
//! read their inputs is in groups of their own ([`Readers`]).
//!
//! A rebalance stops nothing: tasks go on as they are until the new placement says otherwise. The leader asks for one
//! whenever a better placement is possible, as when a new owner has become warm.

mod coordinator;
mod leader;
mod readers;
mod session;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_log::wire::Dial;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Assignor, Exchange, InstanceId, Member, Suggestion, Suggestions};
pub use readers::{InputRead, Readers};
use session::Session;

/// Set-up of a membership by group.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// Name of the group: one for each mesh.
    pub group: String,
    /// Brokers to ask for the coordinator, each `host:port`.
    pub brokers: Vec<String>,
    /// A member that the coordinator has not heard for so long is removed. Brokers take 6 s at the least by default, and say so
    /// only when it joins.
    pub session: Duration,
    /// How often the coordinator hears from each member. A rebalance takes about as long.
    pub heartbeat: Duration,
    /// Longest time of one request, the wait for the other members of a rebalance left out.
    pub request_timeout: Duration,
    /// How often offsets are committed and addresses read.
    pub advice_interval: Duration,
    /// How often the leader looks whether a better placement is possible.
    pub review_interval: Duration,
    /// Changelog topic of each service of the mesh.
    pub changelogs: BTreeMap<Arc<str>, String>,
    /// Number of partitions of every service.
    pub partitions: u32,
    /// How placements are computed.
    pub assignor: Assignor,
}

impl GroupConfig {
    /// The defaults for a group on these brokers.
    #[must_use]
    pub fn new(group: &str, brokers: Vec<String>, partitions: u32, changelogs: BTreeMap<Arc<str>, String>) -> Self {
        Self {
            group: group.to_owned(),
            brokers,
            session: Duration::from_secs(6),
            heartbeat: Duration::from_millis(500),
            request_timeout: Duration::from_secs(4),
            advice_interval: Duration::from_secs(1),
            review_interval: Duration::from_millis(500),
            changelogs,
            partitions,
            assignor: Assignor::default(),
        }
    }
}

/// Why a membership ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Two processes must not have one name: the later one has taken the seat.
    #[error("another process has joined the group {group} as {instance}: every instance needs a name of its own")]
    NameTaken {
        /// The group.
        group: String,
        /// The name.
        instance: String,
    },
    /// The brokers do not take such a session.
    #[error(
        "the brokers refuse a session of {session:?} in the group {group}: set peers.group_session to something between their \
         group.min.session.timeout.ms and group.max.session.timeout.ms, the same on every instance"
    )]
    Session {
        /// The group.
        group: String,
        /// What they were asked for.
        session: Duration,
    },
    /// The coordinator refuses for good.
    #[error("the coordinator of the group {group} refuses: {reason}")]
    Refused {
        /// The group.
        group: String,
        /// What it says.
        reason: String,
    },
}

/// A membership by group.
#[derive(Debug)]
pub struct Group {
    config: GroupConfig,
    dial: Dial,
    me: InstanceId,
    /// `None` for an instance that runs no tasks and only wants to know who is there.
    member: Option<Member>,
    exchange: Exchange,
    suggestion: watch::Sender<Suggestion>,
}

impl Group {
    /// The seat of `me` in a group; it is taken when this runs.
    #[must_use]
    pub fn new(config: GroupConfig, dial: Dial, me: InstanceId, member: Option<Member>, exchange: Exchange) -> Self {
        Self { config, dial, me, member, exchange, suggestion: watch::Sender::new(Suggestion::default()) }
    }

    /// Its suggestions. The first one, with the generation 0, is empty.
    #[must_use]
    pub fn suggestions(&self) -> Suggestions {
        self.suggestion.subscribe()
    }

    /// Keeps the seat until `shutdown`, then leaves the group. Whatever else goes wrong is tried again.
    ///
    /// # Errors
    /// [`GroupError`]; the process should stop.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), GroupError> {
        Session::new(self).run(shutdown).await
    }
}
