//! How long a call waits for a log that does not answer.

use std::future::Future;
use std::time::Duration;

use task_runtime::{Access, Availability, Outage, Tasks};
use tokio::time::Instant;

/// How often a read looks whether it has waited for too long, while nothing can be appended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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

    /// The answer to what needs an append, unless an outage lasts for too long before it comes.
    pub(super) async fn unless_out<T>(
        &self,
        tasks: &Tasks,
        partition: u32,
        answer: impl Future<Output = T>,
    ) -> Result<T, Outage> {
        let Some((log, wait_max)) = &self.0 else { return Ok(answer.await) };
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            outage = async { log.has_outage(&tasks.changelog(partition), Access::Append, *wait_max).await } => Err(outage),
        }
    }

    /// The answer to a read, unless an outage lasts for too long before it comes. What is read need not be appended to. But a
    /// task that has not begun to answer by then has yet to claim, and cannot.
    pub(super) async fn unless_unreadable<T>(
        &self,
        tasks: &Tasks,
        partition: u32,
        strong: bool,
        answer: impl Future<Output = T>,
    ) -> Result<T, Outage> {
        let Some((log, wait_max)) = &self.0 else { return Ok(answer.await) };
        let too_long = async {
            let (begin, changelog) = (Instant::now(), tasks.changelog(partition));
            loop {
                let outage = log.has_outage(&changelog, Access::Append, *wait_max).await;
                let unreadable = strong && log.outage_of(&changelog, Access::Fetch, *wait_max).is_some();
                if unreadable || begin.elapsed() >= *wait_max {
                    return outage;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            outage = too_long => Err(outage),
        }
    }
}
