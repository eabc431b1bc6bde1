//! What is said about topics: created once, never changed silently, names and counts checked.

use super::{Subject, beside, numbered};
use crate::{Cleanup, Error, Offset, TopicSpec};

pub(super) async fn cases(subject: &mut Subject<'_>) {
    creating_again_changes_nothing(subject).await;
    another_declaration_is_refused(subject).await;
    topics_are_listed_by_name(subject).await;
    impossible_topics_are_refused(subject).await;
    creators_may_race(subject).await;
}

async fn creating_again_changes_nothing(subject: &mut Subject<'_>) {
    let partition = subject.topic("again", 2).await;
    let spec = subject.spec("again", 2);
    subject.fill(&partition, 3).await;
    for _ in 0..3 {
        subject.log.ensure_topic(&spec).await.expect("the topic is as declared");
        subject.step().await;
    }
    assert_eq!(subject.latest(&partition).await, Offset(3));
    assert_eq!(subject.latest(&beside(&partition, 1)).await, Offset::ZERO);
}

async fn another_declaration_is_refused(subject: &mut Subject<'_>) {
    let spec = subject.spec("declared", 3);
    let spec = TopicSpec { cleanup: Cleanup::AfterMs(86_400_000), ..spec };
    subject.log.ensure_topic(&spec).await.expect("a new topic is created");
    subject.step().await;
    for wanted in [
        TopicSpec { partitions: 2, ..spec.clone() },
        TopicSpec { partitions: 4, ..spec.clone() },
        TopicSpec { cleanup: Cleanup::Never, ..spec.clone() },
        TopicSpec { cleanup: Cleanup::AfterMs(1), ..spec.clone() },
        TopicSpec { cleanup: Cleanup::Compact, ..spec.clone() },
    ] {
        match subject.log.ensure_topic(&wanted).await {
            Err(Error::TopicMismatch { topic, found, wanted, .. }) => {
                assert_eq!(topic, spec.name.as_str());
                assert_ne!(found, wanted, "the message says what differs");
            }
            other => panic!("{wanted:?} must be refused: {other:?}"),
        }
        subject.step().await;
    }
    subject.log.ensure_topic(&spec).await.expect("the topic is still as it was declared");
}

async fn topics_are_listed_by_name(subject: &mut Subject<'_>) {
    let mut specs = Vec::new();
    for (case, partitions, cleanup) in
        [("list-c", 1, Cleanup::Never), ("list-a", 7, Cleanup::Compact), ("list-b", 2, Cleanup::AfterMs(1_000))]
    {
        let spec = TopicSpec { cleanup, ..subject.spec(case, partitions) };
        subject.log.ensure_topic(&spec).await.expect("a new topic is created");
        specs.push(spec);
        subject.step().await;
    }
    let listed = subject.log.topics().await.expect("the topics are listed");
    assert!(listed.is_sorted_by(|a, b| a.name < b.name), "by name, each once");
    for spec in specs {
        assert!(listed.contains(&spec), "{spec:?} is listed");
    }
}

async fn impossible_topics_are_refused(subject: &mut Subject<'_>) {
    let before = listed(subject).await;
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "../a", "a b", "ä", "a\0", "a\n", &long] {
        let spec = TopicSpec { name: name.into(), partitions: 1, cleanup: Cleanup::Never };
        let refused = subject.log.ensure_topic(&spec).await;
        assert!(matches!(refused, Err(Error::Failed(_))), "name {name:?} must be refused: {refused:?}");
    }
    let refused = subject.log.ensure_topic(&subject.spec("no-partitions", 0)).await;
    assert!(matches!(refused, Err(Error::Failed(_))), "a topic has partitions: {refused:?}");
    subject.step().await;
    assert_eq!(listed(subject).await, before);
    for odd in ["odd.name_with-all", "odd..", "odd-0"] {
        let partition = subject.topic(odd, 1).await;
        assert_eq!(subject.append(&partition, vec![numbered(0)]).await, Offset::ZERO);
    }
    let prefix = subject.spec("", 1).name;
    let longest = format!("{prefix}{}", "x".repeat(249 - prefix.as_str().len()));
    let spec = TopicSpec { name: longest.as_str().into(), partitions: 1, cleanup: Cleanup::Never };
    subject.log.ensure_topic(&spec).await.expect("the longest name is taken");
}

/// The topics of this suite: others may use the log as well.
async fn listed(subject: &Subject<'_>) -> Vec<TopicSpec> {
    let prefix = subject.factory.topic_prefix();
    let topics = subject.log.topics().await.expect("the topics are listed");
    topics.into_iter().filter(|topic| topic.name.as_str().starts_with(&prefix)).collect()
}

async fn creators_may_race(subject: &mut Subject<'_>) {
    let spec = subject.spec("race", 4);
    let jobs: Vec<_> = (0..8)
        .map(|_| {
            let (log, spec) = (subject.log.clone(), spec.clone());
            tokio::spawn(async move { log.ensure_topic(&spec).await })
        })
        .collect();
    for job in jobs {
        super::within(job).await.expect("the creator does not panic").expect("the topic is as declared");
    }
    subject.step().await;
    subject.fill(&crate::TopicPartition { topic: spec.name, partition: 3 }, 1).await;
}
