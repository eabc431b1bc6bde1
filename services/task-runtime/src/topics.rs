//! The topics of a process's services: declared here, made sure of at every start before any task begins.
//!
//! Always: changelogs are created before everything else, and claimed before anything is written, so that a service that has
//! written has one that is not empty. Otherwise somebody has deleted it, and with it the state; a new one would be taken for
//! "nothing ever happened".

use std::collections::BTreeSet;
use std::time::Duration;

use event_log::{Cleanup, Error, Offset, TopicName, TopicPartition, TopicSpec};
use tokio::time::Instant;

use crate::config::Backoff;
use crate::{Definition, Start};

/// How long a log that does not answer is asked again: at a start, brokers may be starting too, or have much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The topics that these services need.
#[must_use]
pub fn topics(definitions: &[Definition], partitions: u32) -> Vec<TopicSpec> {
    let spec = |name: TopicName| TopicSpec { name, partitions, cleanup: Cleanup::Never };
    let mut specs = Vec::new();
    for definition in definitions {
        specs.push(spec(definition.changelog()));
        specs.extend(written(definition).map(spec));
        specs.extend(definition.input_topics().cloned().map(spec));
    }
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    specs.dedup();
    specs
}

/// The changelog topic of a service.
pub(crate) fn changelog(service: &str) -> TopicName {
    TopicName::new(&format!("{service}-changelog"))
}

/// What a service writes beside its changelog.
fn written(definition: &Definition) -> impl Iterator<Item = TopicName> {
    [definition.snapshots(), definition.dead_letters()].into_iter().chain(definition.output_topics().cloned())
}

/// Creates what is missing, and checks the rest.
pub(crate) async fn ensure(start: &Start, definitions: &[Definition]) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let there = insist(start, deadline, async || start.log.topics().await).await?;
    let there: BTreeSet<TopicName> = there.into_iter().map(|spec| spec.name).collect();
    for definition in definitions {
        let changelog = definition.changelog();
        let how = if !there.contains(&changelog) {
            "missing"
        } else if insist(start, deadline, async || is_empty(start, &changelog).await).await? {
            "empty"
        } else {
            continue;
        };
        for topic in written(definition).filter(|topic| there.contains(topic)) {
            if insist(start, deadline, async || is_empty(start, &topic).await).await? {
                continue;
            }
            // Another instance may have begun the mesh since the first look: what it sends stands in its changelog before.
            if !insist(start, deadline, async || is_empty(start, &changelog).await).await? {
                continue;
            }
            return Err(Error::Failed(format!(
                "topic {changelog} is {how}, although {} has written to {topic}: it was deleted, and the state with it. \
                 Bring it back; to begin anew, delete all topics and data of the mesh",
                definition.service()
            )));
        }
    }
    let changelogs: BTreeSet<TopicName> = definitions.iter().map(Definition::changelog).collect();
    let (first, then): (Vec<_>, Vec<_>) =
        topics(definitions, start.partitions).into_iter().partition(|spec| changelogs.contains(&spec.name));
    for spec in first.iter().chain(&then) {
        insist(start, deadline, async || start.log.ensure_topic(spec).await).await?;
    }
    Ok(())
}

/// Asks again as long as that may help.
async fn insist<T>(start: &Start, deadline: Instant, ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let mut backoff = Backoff::new(&start.config);
    loop {
        match ask().await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(%error, "topics cannot be made sure of yet");
                backoff.pause().await;
            }
            answer => return answer,
        }
    }
}

async fn is_empty(start: &Start, topic: &TopicName) -> Result<bool, Error> {
    for partition in 0..start.partitions {
        match start.log.latest(&TopicPartition::new(topic.clone(), partition)).await {
            Ok(Offset::ZERO) | Err(Error::UnknownTopic(_)) => {}
            Ok(_) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
