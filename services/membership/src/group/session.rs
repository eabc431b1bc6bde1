//! One member's life in its group: find the coordinator, join, take what the leader hands out, stay, and begin again when
//! the coordinator says so or cannot be reached.
//!
//! ```text
//!  find coordinator --> join --> sync --> stay (heartbeats, commits, review) --> leave
//!         ^              ^___________________/  rebalance, outdated placement
//!         |___________________________________________/  coordinator moved or gone
//! ```

mod advice;
mod joining;

use std::time::Duration;

use kafka_log::wire::{Connection, Error, ResponseError};
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{GroupId, HeartbeatRequest, LeaveGroupRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::coordinator::Finder;
use super::wire::text;
use super::{Group, GroupError, coordinator, leader};
use crate::Member;

/// Pause after a failure; it grows to the second.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Least time between two rebalances that a leader asks for.
const REVIEW_PAUSE: Duration = Duration::from_secs(1);

/// Why a member has to begin anew.
enum Interrupted {
    /// Join again, at the same coordinator.
    Rebalance,
    /// Join again as somebody who is not known there yet.
    Forgotten,
    /// Find the coordinator again.
    Lost(Error),
    /// Give up.
    Ended(GroupError),
}

pub(super) struct Session {
    group: Group,
    finder: Finder,
    /// Whether the coordinator could not be found when it was looked for last.
    is_missing: bool,
    member_id: StrBytes,
    reviewed: Instant,
}

/// A seat in one generation.
struct Seat {
    generation: i32,
    is_leader: bool,
}

impl Session {
    pub(super) fn new(group: Group) -> Self {
        let finder = Finder::new(group.dial.clone(), &group.config);
        Self { group, finder, is_missing: false, member_id: StrBytes::default(), reviewed: Instant::now() }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), GroupError> {
        let mut pause = PAUSE;
        loop {
            let mut connection = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                found = self.find() => match found? {
                    Some(connection) => connection,
                    None => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                        continue;
                    }
                },
            };
            let ended = match self.group.member.clone() {
                None => self.watch(&mut connection, &shutdown).await,
                Some(member) => self.stay(&mut connection, &member, &shutdown, &mut pause).await,
            };
            match ended {
                Ok(()) => return Ok(()),
                Err(Interrupted::Ended(error)) => return Err(error),
                Err(Interrupted::Lost(error)) => {
                    tracing::info!(error = %service_host::Chain(&error), "the coordinator is looked for again");
                }
                Err(Interrupted::Rebalance | Interrupted::Forgotten) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The coordinator; `None` as long as it cannot be found.
    async fn find(&mut self) -> Result<Option<Connection>, GroupError> {
        let error = match self.finder.find(&self.group.config.group).await {
            Ok(connection) => {
                self.is_missing = false;
                return Ok(Some(connection));
            }
            Err(error) => error,
        };
        if let Some(code) = coordinator::refusal(&error) {
            let group = self.group.config.group.clone();
            return Err(GroupError::Refused { group, reason: format!("{code:?}") });
        }
        // Once until it is found: a look a second would fill the log as long as the brokers are gone.
        if std::mem::replace(&mut self.is_missing, true) {
            tracing::debug!(error = %service_host::Chain(&error), "the coordinator cannot be found");
        } else {
            tracing::warn!(error = %service_host::Chain(&error), "the coordinator cannot be found");
        }
        Ok(None)
    }

    /// Joins again and again on one connection. Ends well only by leaving.
    async fn stay(
        &mut self,
        connection: &mut Connection,
        member: &Member,
        shutdown: &CancellationToken,
        pause: &mut Duration,
    ) -> Result<(), Interrupted> {
        loop {
            let joined = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                joined = self.join(connection, member) => joined,
            };
            let ended = match joined {
                Ok(seat) => {
                    *pause = PAUSE;
                    self.sit(connection, &seat, shutdown).await
                }
                Err(interrupted) => Err(interrupted),
            };
            match ended {
                Ok(()) => return Ok(()),
                Err(Interrupted::Rebalance) => {}
                Err(Interrupted::Forgotten) => self.member_id = StrBytes::default(),
                Err(other) => return Err(other),
            }
        }
    }

    /// Stays in the group as long as its generation lasts.
    async fn sit(
        &mut self,
        connection: &mut Connection,
        seat: &Seat,
        shutdown: &CancellationToken,
    ) -> Result<(), Interrupted> {
        let config = self.group.config.clone();
        let ticks = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut beats, mut advice, mut review) =
            (ticks(config.heartbeat), ticks(config.advice_interval), ticks(config.review_interval));
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.leave(connection).await,
                _ = beats.tick() => self.beat(connection, seat).await?,
                _ = advice.tick() => {
                    self.commit(connection, seat).await?;
                    self.read_addresses(connection).await?;
                }
                _ = review.tick(), if seat.is_leader => {
                    let is_due = self.reviewed.elapsed() >= REVIEW_PAUSE;
                    let suggestion = self.group.suggestion.borrow().clone();
                    if is_due && leader::is_outdated(config.assignor, config.partitions, &suggestion, &self.group.exchange) {
                        self.reviewed = Instant::now();
                        return Err(Interrupted::Rebalance);
                    }
                }
            }
        }
    }

    async fn beat(&self, connection: &mut Connection, seat: &Seat) -> Result<(), Interrupted> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(seat.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id());
        let answer = self.call(connection, &request, 3..=4).await?;
        self.check(connection, answer.error_code)
    }

    /// Only looks who is there.
    async fn watch(&self, connection: &mut Connection, shutdown: &CancellationToken) -> Result<(), Interrupted> {
        let mut advice = interval(self.group.config.advice_interval);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = advice.tick() => self.read_addresses(connection).await?,
            }
        }
    }

    async fn leave(&self, connection: &mut Connection) -> Result<(), Interrupted> {
        let member =
            MemberIdentity::default().with_member_id(self.member_id.clone()).with_group_instance_id(self.instance_id());
        let request = LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![member]);
        if let Err(Interrupted::Lost(error)) = self.call(connection, &request, 3..=5).await {
            // The coordinator finds out by itself, only later.
            tracing::info!(error = %service_host::Chain(&error), "the group was not told that this instance leaves");
        }
        Ok(())
    }

    async fn call<R: Request>(
        &self,
        connection: &mut Connection,
        request: &R,
        ours: std::ops::RangeInclusive<i16>,
    ) -> Result<R::Response, Interrupted> {
        self.call_within(connection, request, ours, self.group.config.request_timeout).await
    }

    async fn call_within<R: Request>(
        &self,
        connection: &mut Connection,
        request: &R,
        ours: std::ops::RangeInclusive<i16>,
        after: Duration,
    ) -> Result<R::Response, Interrupted> {
        let broker = connection.broker().to_owned();
        match timeout(after, connection.call(request, ours)).await {
            Ok(answer) => answer.map_err(Interrupted::Lost),
            Err(_) => Err(Interrupted::Lost(Error::Timeout { broker, after })),
        }
    }

    /// What an error code means for a member.
    fn check(&self, connection: &Connection, code: i16) -> Result<(), Interrupted> {
        use ResponseError as E;
        let Err(error) = connection.check(code, None) else { return Ok(()) };
        let Error::Refused { code, .. } = &error else { return Err(Interrupted::Lost(error)) };
        let group = self.group.config.group.clone();
        Err(match code {
            E::RebalanceInProgress | E::IllegalGeneration => Interrupted::Rebalance,
            E::UnknownMemberId => Interrupted::Forgotten,
            E::FencedInstanceId => {
                Interrupted::Ended(GroupError::NameTaken { group, instance: self.group.me.to_string() })
            }
            E::InvalidSessionTimeout => {
                Interrupted::Ended(GroupError::Session { group, session: self.group.config.session })
            }
            E::InconsistentGroupProtocol
            | E::InvalidGroupId
            | E::GroupAuthorizationFailed
            | E::TopicAuthorizationFailed => {
                Interrupted::Ended(GroupError::Refused { group, reason: format!("{code:?}") })
            }
            _ => Interrupted::Lost(error),
        })
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.group.config.group))
    }

    fn instance_id(&self) -> Option<StrBytes> {
        Some(text(&self.group.me))
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
