//! Sends a call to the owner of its partition, and again when that is safe, wanted and affordable.
//!
//! Safe: the call changes nothing, or carries a `request_id`, or never left. Wanted: the owner said UNAVAILABLE and when to
//! come back, or could not be reached. Affordable: within the deadline, a few times, and within a share of all calls, so
//! that retries never become the load that keeps an owner down.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use service_host::{Code, Problem};
use tonic::Status;
use tonic::body::Body;
use tower::retry::budget::{Budget, TpsBudget};

use crate::deadline::Deadline;
use crate::message::{framed, refusal};
use crate::table::Method;
use crate::upstream::OWNER_UNREACHABLE;
use crate::{Config, Owners};

/// Over which time the share of retries is reckoned.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Retries in a second that are always allowed: with few calls a share of them is nothing.
const BUDGET_PER_SECOND: u32 = 10;
/// Wait before the second try when the way to the owner broke: it is doubled for each further one.
const RECONNECT: Duration = Duration::from_millis(50);
/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A call that is ready to leave.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: HeaderMap,
    /// The message with its prefix.
    pub(crate) frame: Bytes,
    pub(crate) deadline: Deadline,
    /// Having it twice is like having it once.
    pub(crate) repeatable: bool,
}

/// The way to the owners.
pub(crate) struct Forward {
    owners: Arc<dyn Owners>,
    budget: TpsBudget,
    tries_max: u32,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("owners", &self.owners).finish_non_exhaustive()
    }
}

impl Forward {
    pub(crate) fn new(owners: Arc<dyn Owners>, config: &Config) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most 1000 by the check of the configuration")]
        let share = config.retry_percent as f32 / 100.0;
        let budget = TpsBudget::new(BUDGET_WINDOW, BUDGET_PER_SECOND, share);
        Self { owners, budget, tries_max: config.tries_max }
    }

    pub(crate) fn owners(&self) -> &dyn Owners {
        &*self.owners
    }

    /// The owner's answer, a refusal included.
    ///
    /// # Errors
    /// What kept the call from being answered.
    pub(crate) async fn send(&self, call: &Outgoing<'_>, partition: u32) -> Result<Response<Body>, Problem> {
        self.budget.deposit();
        let mut tries = 1;
        loop {
            let (answer, is_safe) = self.send_once(call, partition).await;
            let Some(wait) = answer.as_ref().map_or_else(wait_after, wait_asked) else { return answer };
            let wait =
                wait.saturating_mul(1 << (tries - 1).min(10)).min(WAIT_MAX).mul_f32(rand::random_range(0.75..1.25));
            let is_worth_it = is_safe && tries < self.tries_max && call.deadline.allows(wait);
            if !is_worth_it || !self.budget.withdraw() {
                return answer;
            }
            tokio::time::sleep(wait).await;
            call.method.retries.increment(1);
            tries += 1;
        }
    }

    /// One try, and whether another is safe after it.
    async fn send_once(&self, call: &Outgoing<'_>, partition: u32) -> (Result<Response<Body>, Problem>, bool) {
        let Ok(owner) = self.owners.owner(&call.method.role, partition) else {
            return (Err(Problem::rebalancing(&call.method.role, partition)), true);
        };
        let mut request = Request::new(framed(call.frame.clone()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = call.method.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = call.headers.clone();
        if let Err(late) = call.deadline.pass_on(request.headers_mut()) {
            return (Err(late), false);
        }
        (owner.call(request).await, call.repeatable)
    }
}

/// How long an owner asks the caller to wait; `None` when it does not.
fn wait_asked(response: &Response<Body>) -> Option<Duration> {
    let status = response.headers().get(Status::GRPC_STATUS)?;
    if tonic::Code::from_bytes(status.as_bytes()) != tonic::Code::Unavailable {
        return None;
    }
    refusal(response.headers()).err()?.retry_after
}

fn wait_after(problem: &Problem) -> Option<Duration> {
    if problem.code != Code::Unavailable {
        return None;
    }
    problem.retry_after.or((problem.reason == OWNER_UNREACHABLE).then_some(RECONNECT))
}
