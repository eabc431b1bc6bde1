//! The settings of a topic that matter: what they are to be, what they are, and the command that repairs them.

use std::collections::BTreeMap;

use event_log::{Cleanup, Error, TopicSpec};

/// The settings that are looked at.
pub(super) const KEYS: [&str; 4] = ["cleanup.policy", "retention.ms", "retention.bytes", "message.timestamp.type"];

/// What a topic is created with. The optional ones only widen what is taken, and are not known to every broker.
pub(super) fn settings(cleanup: Cleanup, min_insync_replicas: u16, optional: bool) -> Vec<(&'static str, String)> {
    let mut settings = wanted(cleanup);
    // Records carry the time of what happened, and come back with it.
    settings.push(("message.timestamp.type", "CreateTime".to_owned()));
    if min_insync_replicas > 0 {
        settings.push(("min.insync.replicas", min_insync_replicas.to_string()));
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
        let wanted = wanted(spec.cleanup);
        let differing: Vec<_> = wanted.iter().filter(|(name, value)| self.get(name) != value).collect();
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
            if spec.cleanup == Cleanup::Never { "records may be gone already; check a backup, then " } else { "" },
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
}
