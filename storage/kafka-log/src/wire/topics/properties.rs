//! The settings of a topic that matter: what they are to be, what they are, and the command that repairs them.

use std::collections::BTreeMap;

use event_log::{Cleanup, Error, TopicSpec};

use crate::Config;

/// The settings that are looked at.
pub(super) const KEYS: [&str; 5] =
    ["cleanup.policy", "retention.ms", "retention.bytes", TIMESTAMP_TYPE, MIN_INSYNC_REPLICAS];
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
/// Records carry the time of what happened, and come back with it. With the time of the broker's clock instead, waits would
/// end early or late and windows hold what does not belong there.
const TIME_OF_EVENT: &str = "CreateTime";

/// What a topic is created with. The optional ones only widen what is taken, and are not known to every broker.
pub(super) fn settings(cleanup: Cleanup, min_insync_replicas: u16, optional: bool) -> Vec<(&'static str, String)> {
    let mut settings = wanted(cleanup);
    settings.push((TIMESTAMP_TYPE, TIME_OF_EVENT.to_owned()));
    if min_insync_replicas > 0 {
        settings.push((MIN_INSYNC_REPLICAS, min_insync_replicas.to_string()));
    }
    if optional {
        // Brokers refuse times more than an hour ahead unless told otherwise: a clock that is wrong should not stop a mesh.
        settings.push(("message.timestamp.after.max.ms", i64::MAX.to_string()));
    }
    settings
}

fn wanted(cleanup: Cleanup) -> Vec<(&'static str, String)> {
    let (policy, retention) = match cleanup {
        Cleanup::Never => ("delete", "-1".to_owned()),
        Cleanup::AfterMs(age) => ("delete", i64::try_from(age).unwrap_or(i64::MAX).to_string()),
        Cleanup::Compact => return vec![("cleanup.policy", "compact".to_owned())],
    };
    let everything = ("retention.bytes", "-1".to_owned());
    vec![("cleanup.policy", policy.to_owned()), ("retention.ms", retention), everything]
}

/// How many brokers have the records of a topic that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replicas {
    /// Of the partition that has the fewest.
    pub(super) least: usize,
    /// That must have a record before it is acknowledged; `None` where the broker does not say.
    pub(super) in_sync: Option<usize>,
}

impl Replicas {
    /// What is less than configured, in words with what raises it. A mesh works with it, but loses more when brokers die.
    pub(super) fn fewer_than(self, config: &Config, topic: &str) -> Option<String> {
        let bootstrap = &config.brokers[0];
        let (factor, min) = (usize::from(config.replication_factor), usize::from(config.min_insync_replicas));
        if self.least < factor {
            return Some(format!(
                "a partition has {} replicas, and kafka.replication_factor is {factor}: more are added by \
                 kafka-reassign-partitions.sh --bootstrap-server {bootstrap}",
                self.least
            ));
        }
        let in_sync = self.in_sync.filter(|found| *found < min)?;
        Some(format!(
            "{MIN_INSYNC_REPLICAS} is {in_sync}, and kafka.min_insync_replicas is {min}: it is raised by \
             kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {topic} \
             --add-config {MIN_INSYNC_REPLICAS}={min}"
        ))
    }
}

/// The settings of a topic that exists.
#[derive(Debug, Default)]
pub(super) struct Properties(BTreeMap<String, String>);

impl Properties {
    pub(super) fn new(settings: impl Iterator<Item = (String, String)>) -> Self {
        Self(settings.collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// What the broker throws away, as far as the port has a word for it.
    pub(super) fn cleanup(&self) -> Cleanup {
        if self.get("cleanup.policy").split(',').any(|policy| policy.trim() == "compact") {
            return Cleanup::Compact;
        }
        match self.get("retention.ms").parse::<u64>() {
            Ok(age) => Cleanup::AfterMs(age),
            // A limit in bytes throws records away at any age.
            Err(_) if self.get("retention.bytes").parse::<u64>().is_ok() => Cleanup::AfterMs(0),
            Err(_) => Cleanup::Never,
        }
    }

    /// Replicas that must have a record before it is acknowledged.
    pub(super) fn min_insync_replicas(&self) -> Option<usize> {
        self.get(MIN_INSYNC_REPLICAS).parse().ok()
    }

    /// Whether the topic is as declared.
    pub(super) fn check(&self, partitions: u32, spec: &TopicSpec, bootstrap: &str) -> Result<(), Error> {
        let topic = spec.name.to_string();
        if partitions != spec.partitions {
            let repair = format!(
                "a count never changes, since keys would move: configure {partitions} partitions, or let an empty mesh \
                 begin anew after kafka-topics.sh --bootstrap-server {bootstrap} --delete --topic {topic}"
            );
            let (found, wanted) = (format!("{partitions} partitions"), format!("{} partitions", spec.partitions));
            return Err(Error::TopicMismatch { topic, found, wanted, repair });
        }
        let mut differing = wanted(spec.cleanup);
        differing.retain(|(name, value)| self.get(name) != value);
        let may_be_gone = spec.cleanup == Cleanup::Never && !differing.is_empty();
        // A broker that has no such setting leaves records as they are.
        if self.0.get(TIMESTAMP_TYPE).is_some_and(|found| found != TIME_OF_EVENT) {
            differing.push((TIMESTAMP_TYPE, TIME_OF_EVENT.to_owned()));
        }
        if differing.is_empty() {
            return Ok(());
        }
        let join = |pairs: Vec<String>| pairs.join(" and ");
        let found = join(differing.iter().map(|(name, _)| format!("{name}={}", self.get(name))).collect());
        let named = join(differing.iter().map(|(name, value)| format!("{name}={value}")).collect());
        let all: Vec<_> = differing.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let repair = format!(
            "{}kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {topic} \
             --add-config {}",
            if may_be_gone { "records may be gone already; check a backup, then " } else { "" },
            all.join(",")
        );
        Err(Error::TopicMismatch { topic, found, wanted: named, repair })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(settings: &[(&str, &str)]) -> Properties {
        Properties::new(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn declared(cleanup: Cleanup) -> TopicSpec {
        TopicSpec { name: "t".into(), partitions: 4, cleanup }
    }

    #[test]
    fn what_is_created_is_what_is_wanted() {
        for cleanup in [Cleanup::Never, Cleanup::AfterMs(5), Cleanup::Compact] {
            let created = settings(cleanup, 2, true).into_iter().map(|(name, value)| (name.to_owned(), value));
            let created = Properties::new(created);
            assert_eq!(created.cleanup(), cleanup);
            created.check(4, &declared(cleanup), "b:1").unwrap();
        }
    }

    #[test]
    fn a_difference_is_named_with_its_repair() {
        let kept = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
        let with = |name: &'static str, value: &'static str| {
            properties(&kept.map(|(key, old)| (key, if key == name { value } else { old })))
        };
        let cases = [
            (with("cleanup.policy", "compact"), "cleanup.policy=compact", "cleanup.policy=delete"),
            (with("cleanup.policy", "compact,delete"), "cleanup.policy=compact,delete", "cleanup.policy=delete"),
            (with("retention.ms", "604800000"), "retention.ms=604800000", "retention.ms=-1"),
            (with("retention.bytes", "1000"), "retention.bytes=1000", "retention.bytes=-1"),
        ];
        for (properties, expected, setting) in cases {
            match properties.check(4, &declared(Cleanup::Never), "b:1") {
                Err(Error::TopicMismatch { found, repair, .. }) => {
                    assert_eq!(found, expected);
                    assert!(repair.ends_with(&format!("--entity-name t --add-config {setting}")), "{repair}");
                }
                other => panic!("{other:?}"),
            }
        }
        let refused = properties(&kept).check(5, &declared(Cleanup::Never), "b:1").unwrap_err().to_string();
        assert!(refused.contains("5 partitions") && refused.contains("4 partitions"), "{refused}");
    }

    #[test]
    fn a_topic_that_gives_records_the_brokers_time_is_refused() {
        let with = |cleanup, timestamps: &str| {
            let mut created: Vec<_> = settings(cleanup, 0, true);
            created.retain(|(name, _)| *name != TIMESTAMP_TYPE);
            created.push((TIMESTAMP_TYPE, timestamps.to_owned()));
            Properties::new(created.into_iter().map(|(name, value)| (name.to_owned(), value)))
        };
        for cleanup in [Cleanup::Never, Cleanup::AfterMs(5), Cleanup::Compact] {
            match with(cleanup, "LogAppendTime").check(4, &declared(cleanup), "b:1") {
                Err(Error::TopicMismatch { found, wanted, repair, .. }) => {
                    assert_eq!(found, "message.timestamp.type=LogAppendTime");
                    assert_eq!(wanted, "message.timestamp.type=CreateTime");
                    assert!(repair.starts_with("kafka-configs.sh"), "nothing is gone: {repair}");
                    assert!(
                        repair.ends_with("--entity-name t --add-config message.timestamp.type=CreateTime"),
                        "{repair}"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        let unknown = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
        properties(&unknown).check(4, &declared(Cleanup::Never), "b:1").unwrap();
    }

    #[test]
    fn fewer_replicas_than_configured_are_named_with_what_adds_them() {
        let config =
            |factor, min| Config { replication_factor: factor, min_insync_replicas: min, ..Config::new(["b:1"]) };
        let found = |least, in_sync| Replicas { least, in_sync };
        for (replicas, factor, min) in
            [(found(1, Some(1)), 0, 0), (found(3, Some(2)), 3, 2), (found(4, Some(3)), 3, 2), (found(3, None), 3, 2)]
        {
            assert_eq!(replicas.fewer_than(&config(factor, min), "t"), None, "{replicas:?}");
        }
        let fewer = found(1, Some(2)).fewer_than(&config(3, 2), "t").unwrap();
        assert!(fewer.contains("has 1 replicas") && fewer.contains("kafka-reassign-partitions.sh"), "{fewer}");
        let fewer = found(3, Some(1)).fewer_than(&config(3, 2), "t").unwrap();
        assert!(fewer.ends_with("--entity-name t --add-config min.insync.replicas=2"), "{fewer}");
    }
}
