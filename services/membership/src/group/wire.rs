//! What travels inside of the group protocol: subscriptions of members and assignments, with data of ours beside Kafka's.
//!
//! What other members wrote is not believed: what cannot be read is left out, as if its member were not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use serde::{Deserialize, Serialize};

use crate::{InstanceId, Member, Members, Placement, TaskId};

/// Version of Kafka's own part that we write.
const VERSION: i16 = 1;
/// Newest version of it that can be read.
const VERSION_MAX: i16 = 3;

/// Service, partition, owner and standbys of a task; the last two as positions in the list of names.
type Placed = (Arc<str>, u32, Option<u16>, Vec<u16>);

/// What every member gets of the whole placement.
#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    members: Members,
    tasks: Vec<Placed>,
    names: Vec<InstanceId>,
}

/// The subscription of a member. It never changes while the member runs: other bytes would be a rebalance for everybody.
pub(super) fn subscription(member: &Member, changelogs: &BTreeMap<Arc<str>, String>) -> Bytes {
    let topics = member.services.iter().filter_map(|service| changelogs.get(service));
    let data = postcard::to_stdvec(member).expect("plain data can be written, and memory is the only limit");
    let subscription = ConsumerProtocolSubscription::default()
        .with_topics(topics.map(|topic| text(topic)).collect())
        .with_user_data(Some(data.into()));
    versioned(&subscription)
}

/// A member by its subscription; `None` when it is not one of ours.
pub(super) fn member(subscription: &[u8]) -> Option<Member> {
    postcard::from_bytes(user_data(subscription, skip_name)?).ok()
}

/// The assignment of one member, with the whole placement beside it.
pub(super) fn assignment(
    me: &str,
    members: &Members,
    placement: &Placement,
    changelogs: &BTreeMap<Arc<str>, String>,
) -> Bytes {
    let mut mine: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (task, _) in placement.active.iter().filter(|(_, owner)| &***owner == me) {
        if let (Some(topic), Ok(partition)) = (changelogs.get(&task.service), i32::try_from(task.partition)) {
            mine.entry(topic).or_default().push(partition);
        }
    }
    let assigned = mine.into_iter().map(|(topic, partitions)| {
        TopicPartition::default().with_topic(TopicName(text(topic))).with_partitions(partitions)
    });
    let data = postcard::to_stdvec(&whole(members, placement)).expect("plain data can be written");
    let assignment = ConsumerProtocolAssignment::default()
        .with_assigned_partitions(assigned.collect())
        .with_user_data(Some(data.into()));
    versioned(&assignment)
}

/// The members and the whole placement beside an assignment; `None` when a leader of another kind wrote it.
pub(super) fn placement(assignment: &[u8]) -> Option<(Members, Placement)> {
    let Whole { members, tasks, names } = postcard::from_bytes(user_data(assignment, skip_partitions)?).ok()?;
    let name = |number: u16| names.get(usize::from(number)).cloned();
    let mut placement = Placement::default();
    for (service, partition, active, standbys) in tasks {
        let task = TaskId { service, partition };
        if let Some(active) = active.and_then(name) {
            placement.active.insert(task.clone(), active);
        }
        placement.standbys.insert(task, standbys.into_iter().filter_map(name).collect());
    }
    Some((members, placement))
}

fn whole(members: &Members, placement: &Placement) -> Whole {
    let used = placement.active.values().chain(placement.standbys.values().flatten());
    let names: BTreeSet<InstanceId> = used.cloned().collect();
    let names: Vec<InstanceId> = names.into_iter().collect();
    let number = |id: &InstanceId| names.binary_search(id).ok().and_then(|number| u16::try_from(number).ok());
    let tasks: BTreeSet<&TaskId> = placement.active.keys().chain(placement.standbys.keys()).collect();
    let tasks = tasks.into_iter().map(|task| {
        let standbys = placement.standbys.get(task).into_iter().flatten().filter_map(number).collect();
        (task.service.clone(), task.partition, placement.active.get(task).and_then(number), standbys)
    });
    Whole { members: members.clone(), tasks: tasks.collect(), names }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn versioned(message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    message.encode(&mut bytes, VERSION).expect("the version is one that the message has");
    bytes.freeze()
}

/// The user data of a subscription or an assignment. Kafka's own part before it is skipped without being decoded: decoders
/// make room for as many topics as the bytes say there are, and these bytes are somebody else's.
fn user_data(mut bytes: &[u8], skip_topic: fn(&mut &[u8]) -> Option<()>) -> Option<&[u8]> {
    let version = bytes.try_get_i16().ok()?;
    if !(0..=VERSION_MAX).contains(&version) {
        return None;
    }
    for _ in 0..bytes.try_get_i32().ok()? {
        skip_topic(&mut bytes)?;
    }
    let length = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    bytes.get(..length)
}

fn skip_name(bytes: &mut &[u8]) -> Option<()> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    *bytes = bytes.get(length..)?;
    Some(())
}

fn skip_partitions(bytes: &mut &[u8]) -> Option<()> {
    skip_name(bytes)?;
    let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    *bytes = bytes.get(count.checked_mul(4)?..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::Decodable;
    use proptest::prelude::*;

    use super::*;

    fn somebody(address: &str) -> Member {
        Member {
            address: address.to_owned(),
            zone: "z".to_owned(),
            build: "1".to_owned(),
            services: ["orders".into(), "shipping".into()].into(),
        }
    }

    fn changelogs() -> BTreeMap<Arc<str>, String> {
        ["orders", "shipping"].map(|service| (service.into(), format!("{service}-changelog"))).into()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = subscription(&somebody("a:1"), &changelogs());
        assert_eq!(member(&bytes), Some(somebody("a:1")));

        let members: Members = [("a".into(), somebody("a:1")), ("b".into(), somebody("b:1"))].into();
        let mut given = Placement::default();
        given.active.insert(TaskId::new("orders", 0), "a".into());
        given.standbys.insert(TaskId::new("orders", 0), vec!["b".into()]);
        given.active.insert(TaskId::new("shipping", 1), "b".into());
        given.standbys.insert(TaskId::new("shipping", 1), Vec::new());
        let bytes = assignment("a", &members, &given, &changelogs());
        assert_eq!(placement(&bytes), Some((members, given)));
        let standard = ConsumerProtocolAssignment::decode(&mut bytes.slice(2..), VERSION).unwrap();
        assert_eq!(&**standard.assigned_partitions[0].topic, "orders-changelog");
        assert_eq!(standard.assigned_partitions[0].partitions, [0]);
    }

    proptest! {
        #[test]
        fn what_others_write_breaks_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = member(&bytes);
            let _ = placement(&bytes);
        }

        #[test]
        fn damage_breaks_nothing(at in 0_usize..1_000, bit in 0_u8..8) {
            let mut bytes = subscription(&somebody("a:1"), &changelogs()).to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = member(&bytes);
        }
    }
}
