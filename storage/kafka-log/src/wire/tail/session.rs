//! A fetch session: the broker remembers which partitions are wanted from where, so that a request only names what has
//! changed and an answer only what there is (KIP-227).

use std::collections::HashMap;

use event_log::{Offset, TopicPartition};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::ForgottenTopic;

use crate::wire::fetch::wanted;
use crate::wire::offsets;

/// What is wanted of a partition: from where on, or not at all.
pub(super) type Wanted = (TopicPartition, Option<Offset>);

/// What the broker remembers.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// 0: nothing.
    id: i32,
    epoch: i32,
    sent: HashMap<TopicPartition, Offset>,
}

impl Session {
    /// Whether the next request has to name everything.
    pub(super) fn is_new(&self) -> bool {
        self.id == 0
    }

    /// Adds to a request what has changed: everything that is wanted if the session is new.
    pub(super) fn add_to(
        &mut self,
        request: FetchRequest,
        changed: Vec<Wanted>,
        partition_bytes: usize,
    ) -> FetchRequest {
        if self.is_new() {
            (self.epoch, self.sent) = (0, HashMap::new());
        }
        let (mut news, mut forgotten) = (Vec::new(), Vec::<ForgottenTopic>::new());
        for (partition, from) in changed {
            let Some(from) = from else {
                if self.sent.remove(&partition).is_some() {
                    let (name, index) = (offsets::name(&partition.topic), offsets::index(&partition));
                    match forgotten.iter_mut().find(|topic| topic.topic == name) {
                        Some(topic) => topic.partitions.push(index),
                        None => forgotten.push(ForgottenTopic::default().with_topic(name).with_partitions(vec![index])),
                    }
                }
                continue;
            };
            if self.sent.insert(partition.clone(), from) != Some(from) {
                news.push((partition, from));
            }
        }
        request
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_topics(wanted(news.iter(), partition_bytes))
            .with_forgotten_topics_data(forgotten)
    }

    /// Takes the session that the broker names in its answer; 0 if it keeps none.
    pub(super) fn answered(&mut self, id: i32) {
        self.id = id;
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
    }

    /// The broker remembers nothing any more.
    pub(super) fn lost(&mut self) {
        *self = Self::default();
    }

    /// Where the last request wants a partition from, if it does.
    pub(super) fn asked_from(&self, partition: &TopicPartition) -> Option<Offset> {
        self.sent.get(partition).copied()
    }

    /// Whether nothing is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}
