//! Deadlines of calls: kept by the gateway, and passed on less what was spent.
//!
//! A caller stops listening at its deadline, and its server answers for us then. The gateway therefore answers a little
//! earlier, and gives the owner a little less still, so that whoever knows most about the delay is the one who is heard.

use std::future::Future;
use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderValue};
use service_host::{CallDeadline, Problem, grpc_timeout};
use tokio::time::Instant;

/// Longest time that is kept as a deadline; a longer one is no deadline for anybody alive.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// When an answer must be there; without a limit it may take for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Limit>);

#[derive(Debug, Clone, Copy)]
struct Limit {
    /// When the gateway answers.
    at: Instant,
    /// How much earlier the owner should.
    margin: Duration,
}

impl Deadline {
    /// The caller's deadline, which the server has read, else `default` from now on.
    pub(crate) fn of(extensions: &Extensions, default: Option<Duration>) -> Self {
        let now = Instant::now();
        let timeout = match extensions.get::<CallDeadline>() {
            Some(CallDeadline(at)) => Some(at.saturating_duration_since(now)),
            None => default,
        };
        Self(timeout.map(|timeout| {
            let timeout = timeout.min(LONGEST);
            // Timers tick in milliseconds, so that less than one would be none.
            let margin = (timeout / 20).clamp(Duration::from_millis(1), Duration::from_millis(50));
            Limit { at: now + timeout.saturating_sub(margin), margin }
        }))
    }

    /// The same, but `longest` from now at the latest.
    pub(crate) fn at_most(self, longest: Duration) -> Self {
        let latest = Instant::now() + longest.min(LONGEST);
        Self(Some(match self.0 {
            Some(limit) => Limit { at: limit.at.min(latest), ..limit },
            None => Limit { at: latest, margin: Duration::ZERO },
        }))
    }

    /// The same, but at most `share` of what is left, for one of several calls that are made for the caller.
    pub(crate) fn share(self, share: f32) -> Self {
        Self(self.0.map(|limit| Limit { at: Instant::now() + limit.left().mul_f32(share), ..limit }))
    }

    /// Whether there is time to wait that long and still ask an owner.
    pub(crate) fn allows(self, wait: Duration) -> bool {
        self.0.is_none_or(|limit| limit.left() > wait + limit.margin)
    }

    /// The output of `work`, or DEADLINE_EXCEEDED with the stage that was reached.
    pub(crate) async fn limit<T>(self, stage: &str, work: impl Future<Output = T>) -> Result<T, Problem> {
        match self.0 {
            None => Ok(work.await),
            Some(Limit { at, .. }) => {
                tokio::time::timeout_at(at, work).await.map_err(|_| Problem::deadline_exceeded(stage))
            }
        }
    }

    /// Sets the header for the owner.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED when the owner would have no time.
    pub(crate) fn pass_on(self, headers: &mut HeaderMap) -> Result<(), Problem> {
        let Some(limit) = self.0 else {
            headers.remove(grpc_timeout::HEADER);
            return Ok(());
        };
        let owners = limit.left().saturating_sub(limit.margin);
        if owners < Duration::from_millis(1) {
            return Err(Problem::deadline_exceeded("forwarding"));
        }
        let value =
            HeaderValue::try_from(grpc_timeout::format(owners)).expect("digits and a letter are a header value");
        headers.insert(grpc_timeout::HEADER, value);
        Ok(())
    }
}

impl Limit {
    fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_millis(millis: u64) -> Deadline {
        let mut extensions = Extensions::new();
        extensions.insert(CallDeadline(Instant::now() + Duration::from_millis(millis)));
        Deadline::of(&extensions, None)
    }

    #[tokio::test(start_paused = true)]
    async fn the_gateway_answers_before_the_caller_gives_up_and_the_owner_before_the_gateway() {
        let deadline = in_millis(100);
        assert_eq!(deadline.0.unwrap().left(), Duration::from_millis(95));
        tokio::time::advance(Duration::from_millis(20)).await;
        let mut passed = HeaderMap::new();
        deadline.pass_on(&mut passed).unwrap();
        assert_eq!(grpc_timeout::parse(passed[grpc_timeout::HEADER].as_bytes()), Some(Duration::from_millis(70)));
        assert!(deadline.allows(Duration::from_millis(69)) && !deadline.allows(Duration::from_millis(70)));
        tokio::time::advance(Duration::from_millis(70)).await;
        assert_eq!(deadline.pass_on(&mut passed).unwrap_err().reason, "DEADLINE_EXCEEDED");
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_several_calls_gets_a_share() {
        let share = in_millis(100).share(0.5).0.unwrap();
        assert_eq!(share.left().as_millis(), 47);
        assert!(in_millis(0).limit("asking", std::future::pending::<()>()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_a_call_ends_at_a_limit_of_its_own_or_with_the_call() {
        let left = |deadline: Deadline| deadline.at_most(Duration::from_secs(1)).0.unwrap().left();
        assert_eq!(left(in_millis(100)), Duration::from_millis(95));
        assert_eq!(left(in_millis(3_600_000)), Duration::from_secs(1));
        assert_eq!(left(Deadline::of(&Extensions::new(), None)), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_deadline_gets_the_default() {
        let deadline = Deadline::of(&Extensions::new(), Some(Duration::from_secs(1)));
        assert_eq!(deadline.0.unwrap().left(), Duration::from_millis(950));
        let mut passed = HeaderMap::new();
        Deadline::of(&Extensions::new(), None).pass_on(&mut passed).unwrap();
        assert!(passed.is_empty());
    }
}
