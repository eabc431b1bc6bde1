//! Sends a call to the owner of its partition, and again when that is safe, wanted and affordable.
//!
//! An owner that moves is waited for, as long as the caller's deadline allows: the call goes out again once there is
//! another one, or the same one is back. That costs nobody anything, so that it is not limited otherwise. What an owner that
//! is there refuses for the moment is tried again a few times, within a share of all calls, so that retries never become
//! the load that keeps it down.
//!
//! Always: a call that may have had an effect goes out again only if it changes nothing or carries a `request_id`. A call
//! goes to who is known to be the owner, never to who might be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use service_host::{Code, Problem};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::retry::budget::{Budget, TpsBudget};

use crate::deadline::Deadline;
use crate::message::{framed, refusal};
use crate::owners::{Claim, Current, Hint, NoOwner, Owner};
use crate::table::Method;
use crate::{Config, Owners};

/// Over which time the share of retries is reckoned.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Retries in a second that are always allowed: with few calls a share of them is nothing.
const BUDGET_PER_SECOND: u32 = 10;
/// Wait before the second try when the way to the owner broke: it is doubled for each further one.
const RECONNECT: Duration = Duration::from_millis(50);
/// How long an owner that others hear of, but this process cannot reach, is tried at the least: both may just have stood still.
const REACH_WAIT: Duration = Duration::from_secs(3);
/// How long a partition without owner is left alone unless something is heard of it.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Hints that are followed at once. More of them are two instances that each name the other.
const HOPS_MAX: u32 = 3;
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
    /// A read that says it needs no owner.
    pub(crate) may_be_stale: bool,
}

/// What came of one try.
enum Outcome {
    /// This is the answer.
    Final(Result<Response<Body>, Problem>),
    /// The owner asks to come back, and may do so.
    Later(Response<Body>, Duration),
    /// The partition moves. Nothing happened, or it does no harm to ask again. Look in that time, or when something is heard.
    Moving(Result<Response<Body>, Problem>, Duration),
    /// Nothing happened; the owner is said to be another one.
    Elsewhere,
    /// The owner of this claim is not there. Nothing happened, or it does no harm to ask again.
    Gone(Claim),
}

/// The way to the owners.
pub(crate) struct Forward {
    owners: Arc<dyn Owners>,
    budget: TpsBudget,
    tries_max: u32,
    takeover_wait: Duration,
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
        Self { owners, budget, tries_max: config.tries_max, takeover_wait: config.takeover_wait }
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
        let patience = Instant::now() + self.takeover_wait;
        let mut changes = self.owners.changes();
        let (mut tries, mut hops) = (1, 0);
        let mut gone: Option<(Claim, u32, Instant)> = None;
        loop {
            changes.borrow_and_update();
            let (answer, wait) = match self.try_once(call, partition, &mut changes).await {
                Outcome::Final(answer) => return answer,
                Outcome::Later(answer, wait) => {
                    let wait = jittered(wait.saturating_mul(1 << (tries - 1).min(10)));
                    let is_worth_it = call.repeatable && tries < self.tries_max && call.deadline.allows(wait);
                    if !is_worth_it || !self.budget.withdraw() {
                        return Ok(answer);
                    }
                    tokio::time::sleep(wait).await;
                    call.method.retries.increment(1);
                    tries += 1;
                    continue;
                }
                Outcome::Moving(answer, wait) => (answer, jittered(wait)),
                Outcome::Elsewhere => {
                    hops += 1;
                    let wait = if hops <= HOPS_MAX { Duration::ZERO } else { LOOK_AGAIN };
                    (Err(self.rebalancing(call, partition)), wait)
                }
                Outcome::Gone(claim) => {
                    let (times, since) = match &gone {
                        Some((same, times, since)) if *same == claim => (times + 1, *since),
                        _ => (1, Instant::now()),
                    };
                    gone = Some((claim, times, since));
                    if times >= self.tries_max && since.elapsed() >= REACH_WAIT {
                        return Err(Problem::owner_unreachable());
                    }
                    let wait = RECONNECT.saturating_mul(1 << (times - 1).min(10)).min(REACH_WAIT / 3);
                    (Err(Problem::owner_unreachable()), jittered(wait))
                }
            };
            if !call.deadline.allows(wait) || Instant::now() + wait > patience {
                return answer;
            }
            tokio::select! {
                heard = changes.changed() => if heard.is_err() {
                    tokio::time::sleep(wait).await;
                },
                () = tokio::time::sleep(wait) => {}
            }
            call.method.retries.increment(1);
        }
    }

    async fn try_once(&self, call: &Outgoing<'_>, partition: u32, changes: &mut watch::Receiver<u64>) -> Outcome {
        let Current { owner, claim } = match self.owners.owner(&call.method.role, partition) {
            Ok(current) => current,
            Err(NoOwner) => {
                return match Box::pin(self.ask_standbys(call, partition)).await {
                    Some(answer) => Outcome::Final(Ok(answer)),
                    None => Outcome::Moving(Err(self.rebalancing(call, partition)), LOOK_AGAIN),
                };
            }
        };
        let request = match request(call) {
            Ok(request) => request,
            Err(late) => return Outcome::Final(Err(late)),
        };
        // A process that stands still keeps its connections open and answers nothing.
        let may_leave = call.repeatable && matches!(owner, Owner::Remote(_));
        let sent = async {
            if call.method.server_streaming { owner.stream(request).await } else { owner.call(request).await }
        };
        let answer = tokio::select! {
            biased;
            answer = sent => answer,
            () = self.superseded(call, partition, &claim, changes), if may_leave => return Outcome::Elsewhere,
        };
        match answer {
            Ok(answer) => self.weigh(call, partition, answer),
            Err(broken) => {
                self.owners.unreachable(&claim);
                if call.repeatable || broken.never_left {
                    return Outcome::Gone(claim);
                }
                Outcome::Final(Err(broken.into()))
            }
        }
    }

    /// Returns when the partition has another owner than the one of this claim.
    async fn superseded(&self, call: &Outgoing<'_>, partition: u32, claim: &Claim, changes: &mut watch::Receiver<u64>) {
        loop {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
            let now = self.owners.owner(&call.method.role, partition);
            if now.is_ok_and(|now| now.claim != *claim) {
                return;
            }
        }
    }

    /// What an answer means for the call.
    fn weigh(&self, call: &Outgoing<'_>, partition: u32, answer: Response<Body>) -> Outcome {
        let Some(refusal) = refused(&answer) else { return Outcome::Final(Ok(answer)) };
        match (refusal.code, &*refusal.reason, refusal.retry_after) {
            (Code::FailedPrecondition, NOT_OWNER, _) => match hint(&refusal) {
                Some(hint) => {
                    self.owners.heed(&call.method.role, partition, &hint);
                    Outcome::Elsewhere
                }
                None => Outcome::Moving(Err(self.rebalancing(call, partition)), LOOK_AGAIN),
            },
            // Of a change without request_id the owner says so only when nothing has happened.
            (Code::Unavailable, REBALANCING, Some(wait)) => Outcome::Moving(Ok(answer), wait),
            // The owner has waited for its log long enough.
            (Code::Unavailable, LOG_UNAVAILABLE, _) => Outcome::Final(Ok(answer)),
            (Code::Unavailable, _, Some(wait)) => Outcome::Later(answer, wait),
            _ => Outcome::Final(Ok(answer)),
        }
    }

    /// The answer of an instance that follows the partition, for a read that may have one.
    async fn ask_standbys(&self, call: &Outgoing<'_>, partition: u32) -> Option<Response<Body>> {
        if !call.may_be_stale {
            return None;
        }
        for standby in self.owners.standbys(&call.method.role, partition) {
            let answer = ask_standby(call, &standby).await;
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    fn rebalancing(&self, call: &Outgoing<'_>, partition: u32) -> Problem {
        Problem::rebalancing(&call.method.role, partition)
    }
}

const NOT_OWNER: &str = "NOT_OWNER";
const REBALANCING: &str = "PARTITION_REBALANCING";
const LOG_UNAVAILABLE: &str = "LOG_UNAVAILABLE";
const NOT_UP_TO_BOUND: &str = "NOT_UP_TO_BOUND";

async fn ask_standby(call: &Outgoing<'_>, standby: &Owner) -> Option<Response<Body>> {
    let answer = standby.call(request(call).ok()?).await.ok()?;
    match refused(&answer) {
        Some(refusal) if [NOT_OWNER, REBALANCING, NOT_UP_TO_BOUND].contains(&&*refusal.reason) => None,
        _ => Some(answer),
    }
}

fn request(call: &Outgoing<'_>) -> Result<Request<Body>, Problem> {
    let mut request = Request::new(framed(call.frame.clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = call.method.uri.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = call.headers.clone();
    call.deadline.pass_on(request.headers_mut())?;
    Ok(request)
}

/// What an answer refuses in its headers, as far as it is of interest here.
fn refused(answer: &Response<Body>) -> Option<Problem> {
    let status = answer.headers().get(Status::GRPC_STATUS)?;
    match tonic::Code::from_bytes(status.as_bytes()) {
        tonic::Code::Unavailable | tonic::Code::FailedPrecondition => refusal(answer.headers()).err(),
        _ => None,
    }
}

/// Who owns the partition, as far as one who does not knows.
fn hint(refusal: &Problem) -> Option<Hint> {
    let instance = refusal.metadata.get("owner_id").filter(|id| !id.is_empty())?;
    let epoch = refusal.metadata.get("epoch")?.parse().ok()?;
    let address = refusal.metadata.get("owner_addr").cloned().unwrap_or_default();
    Some(Hint { claim: Claim { instance: instance.as_str().into(), epoch }, address })
}

fn jittered(wait: Duration) -> Duration {
    wait.min(WAIT_MAX).mul_f32(rand::random_range(0.75..1.25))
}
