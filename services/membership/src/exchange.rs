//! The instances tell each other of themselves, ten times in a second, and at once when something changes.
//!
//! A broker notices the death of a member after its session, in six seconds at the soonest; this notices it after one. It
//! decides nothing by itself: see [`crate::duties`].

mod call;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::mesh::v1::peer_service_server::{PeerService, PeerServiceServer};
use proto::mesh::v1::{HeartbeatRequest, HeartbeatResponse};
use service_host::Dialer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{InstanceId, Life, Peers, Report, Suggestions, TaskId, TaskReport};

/// Times of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// How often each instance tells each other one of itself when nothing changes.
    pub interval: Duration,
    /// An instance that was not heard for so long is given up. Several times the interval.
    pub silent_after: Duration,
}

impl Default for ExchangeConfig {
    fn default() -> Self {
        Self { interval: Duration::from_millis(100), silent_after: Duration::from_secs(1) }
    }
}

/// What this instance tells, and what it was told. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exchange(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: ExchangeConfig,
    me: InstanceId,
    /// What this instance tells of itself; `None` when it runs no tasks and only listens.
    own: watch::Sender<Option<Report>>,
    table: Mutex<Table>,
    /// Counts what changed about others or this instance, lives included.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Table {
    peers: Peers,
    /// When somebody looked last: a long time ago means that this process stood still.
    looked: Instant,
    lives: BTreeMap<InstanceId, Life>,
}

impl Exchange {
    /// Nothing was told yet.
    #[must_use]
    pub fn new(config: ExchangeConfig, me: InstanceId) -> Self {
        let now = Instant::now();
        let peers = Peers::new(me.clone(), config.silent_after, now);
        let table = Mutex::new(Table { peers, looked: now, lives: BTreeMap::new() });
        let (own, changes) = (watch::Sender::new(None), watch::Sender::new(0));
        Self(Arc::new(Shared { config, me, own, table, changes }))
    }

    /// Tells the others of these tasks from now on, at once if their roles are new.
    pub fn tell(&self, address: &str, tasks: BTreeMap<TaskId, TaskReport>, is_leaving: bool) {
        let mut report = None;
        self.0.own.send_if_modified(|own| {
            let (life, sequence) = match own {
                Some(own) => (own.life, own.sequence + 1),
                None => (rand::random(), 1),
            };
            let instance = self.0.me.clone();
            let new = Report { instance, address: address.to_owned(), life, sequence, is_leaving, tasks };
            let is_news = own.as_ref().is_none_or(|own| !own.says_the_same(&new));
            *own = Some(new.clone());
            report = Some(new);
            is_news
        });
        if let Some(report) = report {
            self.hear(report);
        }
    }

    /// Looks at what is known now.
    pub fn look<R>(&self, look: impl FnOnce(&Peers, Instant) -> R) -> R {
        let (table, now) = self.table();
        look(&table.peers, now)
    }

    /// Changes its value whenever a role, an owner, an address or a life is another than before.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// What answers the others.
    #[must_use]
    pub fn server(&self) -> PeerServer {
        PeerServiceServer::new(self.clone())
    }

    /// Talks to all members that are suggested, until `shutdown`.
    pub async fn run(self, mut suggestions: Suggestions, dialer: Dialer, shutdown: CancellationToken) {
        let mut talks = JoinSet::new();
        let mut with: BTreeMap<(InstanceId, String), tokio::task::AbortHandle> = BTreeMap::new();
        let mut tick = tokio::time::interval(self.0.config.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let members = suggestions.borrow_and_update().members.clone();
            let others = members.iter().filter(|(id, _)| **id != self.0.me);
            let wanted: BTreeSet<_> = others.map(|(id, member)| (id.clone(), member.address.clone())).collect();
            with.retain(|peer, talk| {
                let stays = wanted.contains(peer);
                if !stays {
                    talk.abort();
                }
                stays
            });
            for peer in wanted {
                with.entry(peer.clone()).or_insert_with(|| talks.spawn(call::talk(self.clone(), peer, dialer.clone())));
            }
            let names = members.keys().cloned().collect();
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    _ = talks.join_next(), if !talks.is_empty() => {}
                    changed = suggestions.changed() => match changed {
                        Ok(()) => break,
                        // Nobody suggests any more: go on with those who are known.
                        Err(_) => shutdown.cancelled().await,
                    },
                    _ = tick.tick() => self.watch_lives(&names),
                }
            }
        }
    }

    fn hear(&self, report: Report) {
        let (mut table, now) = self.table();
        let is_news = table.peers.hear(report, now);
        drop(table);
        if is_news {
            self.changed();
        }
    }

    /// Silence tells nothing by itself: somebody must look at the clock.
    fn watch_lives(&self, members: &BTreeSet<InstanceId>) {
        let (mut table, now) = self.table();
        table.peers.forget_all_but(members, now);
        let lives: BTreeMap<_, _> =
            table.peers.reports(now).map(|(report, life)| (report.instance.clone(), life)).collect();
        let before = std::mem::replace(&mut table.lives, lives);
        for (instance, life) in &table.lives {
            if before.get(instance) != Some(life) {
                tracing::info!(%instance, state = ?life, "instance seen");
            }
        }
        let has_changed = before != table.lives;
        drop(table);
        if has_changed {
            self.changed();
        }
    }

    fn changed(&self) {
        self.0.changes.send_modify(|number| *number += 1);
    }

    fn table(&self) -> (MutexGuard<'_, Table>, Instant) {
        // A panic while it was held left at worst an old report behind.
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let unseen = now.duration_since(table.looked);
        if unseen >= self.0.config.silent_after / 2 {
            table.peers.excuse_all(unseen, now);
        }
        table.looked = now;
        (table, now)
    }
}

/// What answers the other instances.
pub type PeerServer = PeerServiceServer<Exchange>;

#[tonic::async_trait]
impl PeerService for Exchange {
    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        if let Some(report) = request.into_inner().report {
            self.hear(wire::report(report));
        }
        let own = self.0.own.borrow().as_ref().map(wire::peer_report);
        Ok(Response::new(HeartbeatResponse { report: own }))
    }
}

#[cfg(test)]
mod tests;
