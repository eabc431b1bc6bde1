//! One member's life in its group: find the coordinator, join, take what the leader hands out, stay, and begin again when
//! the coordinator says so or cannot be reached.
//!
//! ```text
//!  find coordinator --> join --> sync --> stay (heartbeats, commits, review) --> leave
//!         ^              ^___________________/  rebalance, outdated placement
//!         |___________________________________________/  coordinator moved or gone
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_log::wire::{Connection, Error, ResponseError};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::wire::text;
use super::{Group, GroupError, coordinator, leader, wire};
use crate::{Member, Members, Role, Suggestion};

/// The only kind of group whose members and assignments the usual tools decode.
const PROTOCOL_TYPE: &str = "consumer";
/// Name of our assignor.
const ASSIGNOR: &str = "ordermesh";
/// How long the other members of a rebalance are waited for: longer than a session, after which the dead are given up.
const REBALANCE_MAX: Duration = Duration::from_secs(10);
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
        Self { group, member_id: StrBytes::default(), reviewed: Instant::now() }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), GroupError> {
        let mut pause = PAUSE;
        loop {
            let mut connection = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                found = coordinator::find(&self.group.dial, &self.group.config, &self.group.config.group) => match found {
                    Ok(connection) => connection,
                    Err(error) => {
                        tracing::debug!(error = %service_host::Chain(&error), "the coordinator cannot be found");
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

    /// Becomes a member of the next generation and takes its placement.
    async fn join(&mut self, connection: &mut Connection, member: &Member) -> Result<Seat, Interrupted> {
        let config = &self.group.config;
        let metadata = wire::subscription(member, &config.changelogs);
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(millis(config.session))
            .with_rebalance_timeout_ms(millis(REBALANCE_MAX))
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(vec![
                JoinGroupRequestProtocol::default().with_name(text(ASSIGNOR)).with_metadata(metadata),
            ]);
        let joined = self.call_within(connection, &request, 5..=9, REBALANCE_MAX + config.request_timeout).await?;
        if joined.error_code == ResponseError::MemberIdRequired.code() {
            self.member_id = joined.member_id;
            return Err(Interrupted::Rebalance);
        }
        self.check(connection, joined.error_code)?;
        self.member_id = joined.member_id.clone();
        let is_leader = joined.leader == joined.member_id;
        let assignments = match is_leader && !joined.skip_assignment {
            true => self.assign(&joined).await,
            false => Vec::new(),
        };
        let mut request = SyncGroupRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(joined.generation_id)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id())
            .with_assignments(assignments);
        if connection.version::<SyncGroupRequest>(3..=5).map_err(Interrupted::Lost)? >= 5 {
            request = request.with_protocol_type(Some(text(PROTOCOL_TYPE))).with_protocol_name(Some(text(ASSIGNOR)));
        }
        let synced =
            self.call_within(connection, &request, 3..=5, REBALANCE_MAX + self.group.config.request_timeout).await?;
        self.check(connection, synced.error_code)?;
        self.take(joined.generation_id, &synced.assignment);
        Ok(Seat { generation: joined.generation_id, is_leader })
    }

    /// Computes the placement and writes it down for every member.
    async fn assign(&self, joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
        let config = &self.group.config;
        let mut members = Members::new();
        let mut seats = Vec::new();
        for seat in &joined.members {
            let Some(instance) = &seat.group_instance_id else { continue };
            match wire::member(&seat.metadata) {
                Some(member) => {
                    members.insert(instance.as_str().into(), member);
                    seats.push((instance.clone(), seat.member_id.clone()));
                }
                None => tracing::warn!(instance = %instance.as_str(), "a member of another kind gets no tasks"),
            }
        }
        // So that the exchange talks to all of them, and they can say what they own.
        self.group.suggestion.send_modify(|suggestion| suggestion.members = members.clone());
        leader::hear_all(&members, &self.group.exchange).await;
        let last = self.group.suggestion.borrow().placement.clone();
        let placement = leader::place(config.assignor, config.partitions, &members, &last, &self.group.exchange);
        tracing::info!(generation = joined.generation_id, members = members.len(), "tasks are placed");
        let assignment = |(instance, member_id): (StrBytes, StrBytes)| {
            let assignment = wire::assignment(instance.as_str(), &members, &placement, &config.changelogs);
            SyncGroupRequestAssignment::default().with_member_id(member_id).with_assignment(assignment)
        };
        seats.into_iter().map(assignment).collect()
    }

    fn take(&self, generation: i32, assignment: &Bytes) {
        let Some((members, placement)) = wire::placement(assignment) else {
            tracing::warn!(generation, "the leader has assigned nothing that can be read");
            return;
        };
        let generation = u64::try_from(generation).unwrap_or(0);
        let suggestion = Suggestion { generation, members, placement };
        self.group.suggestion.send_if_modified(|now| {
            let is_new = *now != suggestion;
            *now = suggestion;
            is_new
        });
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

    /// Commits how far this instance has applied the changelogs of the tasks that it owns.
    async fn commit(&self, connection: &mut Connection, seat: &Seat) -> Result<(), Interrupted> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        let owned = self.group.exchange.look(|peers, now| {
            let mut reports = peers.reports(now);
            let own = reports.find(|(report, _)| report.instance == self.group.me);
            own.map(|(report, _)| report.tasks.clone()).unwrap_or_default()
        });
        for (task, told) in owned.into_iter().filter(|(_, told)| told.role == Role::Active) {
            let Some(topic) = self.group.config.changelogs.get(&task.service) else { continue };
            let (Ok(index), Ok(offset)) = (i32::try_from(task.partition), i64::try_from(told.applied)) else {
                continue;
            };
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_committed_metadata(Some(StrBytes::default()));
            topics.entry(topic).or_default().push(partition);
        }
        if topics.is_empty() {
            return Ok(());
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(seat.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id())
            .with_topics(topics.collect());
        let answer = self.call(connection, &request, 7..=9).await?;
        let codes =
            answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| partition.error_code));
        for code in codes {
            // It is advice: the heartbeat finds out what is to be done.
            if code != 0 && code != ResponseError::RebalanceInProgress.code() {
                tracing::debug!(code, "offsets are not committed");
                break;
            }
        }
        Ok(())
    }

    /// A member that starts again at another address tells nobody but the coordinator.
    async fn read_addresses(&self, connection: &mut Connection) -> Result<(), Interrupted> {
        let request = DescribeGroupsRequest::default().with_groups(vec![self.group_id()]);
        let answer = self.call(connection, &request, 0..=5).await?;
        let Some(group) = answer.groups.into_iter().find(|group| group.error_code == 0) else { return Ok(()) };
        // While members are joining, the coordinator shows none or old ones.
        if group.group_state.as_str() != "Stable" {
            return Ok(());
        }
        let is_member = self.group.member.is_some();
        let described = group.members.iter().filter_map(|seat| {
            Some((seat.group_instance_id.as_ref()?.as_str().into(), wire::member(&seat.member_metadata)?))
        });
        let described: Members = described.collect();
        self.group.suggestion.send_if_modified(|suggestion| {
            let mut members = suggestion.members.clone();
            if !is_member {
                members = described;
            } else {
                members.extend(described.into_iter().filter(|(id, _)| suggestion.members.contains_key(id)));
            }
            let has_changed = members != suggestion.members;
            suggestion.members = members;
            has_changed
        });
        Ok(())
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
            E::InvalidSessionTimeout
            | E::InconsistentGroupProtocol
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
