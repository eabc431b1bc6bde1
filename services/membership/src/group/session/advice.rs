//! What a member tells the coordinator and hears from it beside its life: how far it is, and where the others are reached.

use std::collections::BTreeMap;

use kafka_log::wire::{Connection, ResponseError};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{DescribeGroupsRequest, OffsetCommitRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Interrupted, Seat, Session};
use crate::group::wire;
use crate::group::wire::text;
use crate::{Members, Role};

impl Session {
    /// Commits how far this instance has applied the changelogs of the tasks that it owns.
    pub(super) async fn commit(&self, connection: &mut Connection, seat: &Seat) -> Result<(), Interrupted> {
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
    pub(super) async fn read_addresses(&self, connection: &mut Connection) -> Result<(), Interrupted> {
        use ResponseError as E;
        let request = DescribeGroupsRequest::default().with_groups(vec![self.group_id()]);
        let answer = self.call(connection, &request, 0..=5).await?;
        let Some(group) = answer.groups.into_iter().next() else { return Ok(()) };
        let lasting =
            [E::NotCoordinator, E::CoordinatorNotAvailable, E::GroupAuthorizationFailed].map(|code| code.code());
        match group.error_code {
            0 => {}
            // Nothing else tells it to whoever is no member, and the connection to a former coordinator may live for ever.
            code if lasting.contains(&code) => return self.check(connection, code),
            code => {
                tracing::debug!(code, "addresses cannot be read at present");
                return Ok(());
            }
        }
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
}
