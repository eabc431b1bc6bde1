//! How long a call waits for a log that does not answer.

use std::future::Future;
use std::time::Duration;

use task_runtime::{Access, Availability, Outage, Tasks};

/// What is known of the log under the tasks, and how long a call waits for it. Without a log to ask, calls wait as long as
/// their callers do.
#[derive(Debug, Clone, Default)]
pub(super) struct LogWait(Option<(Availability, Duration)>);

impl LogWait {
    pub(super) fn new(log: Availability, wait_max: Duration) -> Self {
        Self(Some((log, wait_max)))
    }

    /// The outage that has lasted for too long already: a call that needs the log would only wait.
    pub(super) fn outage(&self, tasks: &Tasks, partition: u32, access: Access) -> Option<Outage> {
        let (log, wait_max) = self.0.as_ref()?;
        log.outage_of(&tasks.changelog(partition), access, *wait_max)
    }

    /// The answer, unless an outage lasts for too long before it comes.
    pub(super) async fn unless_out<T>(
        &self,
        tasks: &Tasks,
        partition: u32,
        access: Access,
        answer: impl Future<Output = T>,
    ) -> Result<T, Outage> {
        let Some((log, wait_max)) = &self.0 else { return Ok(answer.await) };
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            outage = async { log.has_outage(&tasks.changelog(partition), access, *wait_max).await } => Err(outage),
        }
    }
}
