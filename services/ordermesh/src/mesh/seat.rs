//! This process's place in its mesh: what it sees of the others, and how it leaves them.
//!
//! A process that is a mesh by itself has a seat too. It hears nobody, so that its topology shows itself alone.

use std::sync::Arc;
use std::time::Duration;

use gateway::Owners;
use membership::{Exchange, Life, Static, Suggestions};
use proto::mesh::v1::topology_service_server::TopologyServiceServer;
use service_host::{Addresses, Drained};
use task_runtime::Roster;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::topology::Topologist;
use crate::Config;

/// How long an instance that stops waits for others to take its tasks. Later than that they are taken over as if it had died.
const HAND_OVER: Duration = Duration::from_secs(10);
/// How long the others may need to hear that a task has another owner now, before this one stops answering.
const LAST_CALLS: Duration = Duration::from_millis(300);

/// A place in a mesh.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(super) exchange: Exchange,
    pub(super) owners: Arc<dyn Owners>,
    pub(super) topologist: Topologist,
    pub(super) suggestions: Option<Suggestions>,
    pub(super) leaving: watch::Sender<bool>,
    pub(super) has_tasks: bool,
    pub(super) lost: watch::Receiver<Option<String>>,
    pub(super) stop: CancellationToken,
    pub(super) jobs: Vec<JoinHandle<()>>,
    pub(super) door: Option<JoinHandle<Drained>>,
    pub(super) _static: Option<Arc<Static>>,
}

impl Seat {
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
