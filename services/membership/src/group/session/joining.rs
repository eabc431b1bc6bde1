//! Joining: one becomes a member of the next generation, the leader of which places the tasks of all.

use std::time::Duration;

use bytes::Bytes;
use kafka_log::wire::{Connection, ResponseError};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Interrupted, Seat, Session, millis};
use crate::group::wire::text;
use crate::group::{leader, wire};
use crate::{Member, Members, Suggestion};

/// The only kind of group whose members and assignments the usual tools decode.
const PROTOCOL_TYPE: &str = "consumer";
/// Name of our assignor.
const ASSIGNOR: &str = "ordermesh";
/// How much longer than a session the other members of a rebalance are waited for: by then the dead are given up.
const REBALANCE_GRACE: Duration = Duration::from_secs(4);

impl Session {
    /// Becomes a member of the next generation and takes its placement.
    pub(super) async fn join(&mut self, connection: &mut Connection, member: &Member) -> Result<Seat, Interrupted> {
        let config = &self.group.config;
        let rebalance_max = config.session + REBALANCE_GRACE;
        let metadata = wire::subscription(member, &config.changelogs);
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(millis(config.session))
            .with_rebalance_timeout_ms(millis(rebalance_max))
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(vec![
                JoinGroupRequestProtocol::default().with_name(text(ASSIGNOR)).with_metadata(metadata),
            ]);
        let joined = self.call_within(connection, &request, 5..=9, rebalance_max + config.request_timeout).await?;
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
            self.call_within(connection, &request, 3..=5, rebalance_max + self.group.config.request_timeout).await?;
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
}
