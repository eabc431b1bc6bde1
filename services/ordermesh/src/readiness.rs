//! Whether calls are welcome, as the health service and metrics say it: once every task runs, until the drain, and not while the
//! log does not answer.
//!
//! Calls that come all the same wait or are refused within the usual limits: not being sent any is a favour to those who can go
//! elsewhere.

use std::time::Duration;

use event_log::{Availability, Outage};
use metrics::{Gauge, gauge};
use service_host::Health;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An outage that is shorter is nothing that a caller would notice: a partition gets another leader, a connection is made anew.
const OUTAGE_LEAST: Duration = Duration::from_secs(2);
/// How often the log is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Says whether calls are welcome.
#[derive(Debug)]
pub(crate) struct Readiness {
    health: Health,
    services: Vec<&'static str>,
    welcome: watch::Sender<bool>,
    job: JoinHandle<()>,
}

impl Readiness {
    /// Calls are not welcome yet.
    pub(crate) async fn begin(health: Health, services: Vec<&'static str>, log: Availability) -> Self {
        health.not_serving(&services).await;
        let (welcome, opened) = watch::channel(false);
        let job = tokio::spawn(follow(health.clone(), services.clone(), log, opened));
        Self { health, services, welcome, job }
    }

    /// From now on they are, as long as the log answers.
    pub(crate) async fn open(&self) {
        self.health.serving(&self.services).await;
        self.welcome.send_replace(true);
    }

    /// They are not any more.
    pub(crate) async fn close(self) {
        self.job.abort();
        // So that it does not say anything afterwards.
        let _ = self.job.await;
        self.health.not_serving(&self.services).await;
    }

    /// Says nothing any more, as a process that has died.
    pub(crate) fn abandon(&self) {
        self.job.abort();
    }
}

/// Tells of outages once calls are welcome.
async fn follow(health: Health, services: Vec<&'static str>, log: Availability, mut opened: watch::Receiver<bool>) {
    let (seconds, partitions) = (gauge!("ordermesh_log_outage_seconds"), gauge!("ordermesh_log_outage_partitions"));
    if opened.wait_for(|opened| *opened).await.is_err() {
        return;
    }
    let (mut looks, mut is_out) = (tokio::time::interval(LOOK_INTERVAL), false);
    loop {
        looks.tick().await;
        let outage = log.outage(OUTAGE_LEAST);
        show(&seconds, &partitions, outage.as_ref());
        match &outage {
            Some(outage) if !is_out => {
                tracing::warn!(partitions = outage.partitions, reason = outage.reason, "the log does not answer");
                health.not_serving(&services).await;
            }
            None if is_out => {
                tracing::info!("the log answers again");
                health.serving(&services).await;
            }
            _ => {}
        }
        is_out = outage.is_some();
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer partitions than a float counts exactly")]
fn show(seconds: &Gauge, partitions: &Gauge, outage: Option<&Outage>) {
    seconds.set(outage.map_or(0.0, |outage| outage.since.elapsed().as_secs_f64()));
    partitions.set(outage.map_or(0.0, |outage| outage.partitions as f64));
}
