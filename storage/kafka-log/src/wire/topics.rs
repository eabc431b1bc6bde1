//! Topics with their properties: created as declared, compared with what is declared, never changed.

use std::collections::BTreeMap;

use event_log::{Error, TopicName, TopicSpec};
use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsRequest, DescribeConfigsRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Metadata};
use super::offsets;
use crate::error::{Meaning, meaning};

mod properties;

use properties::{Properties, Replicas};

const PAUSE: std::time::Duration = std::time::Duration::from_millis(30);
/// Number of a topic among the kinds of things that have settings.
const TOPIC_RESOURCE: i8 = 2;

/// Creates the topic, or checks that it is as declared, and returns once every partition has a leader. Of a topic that it
/// created, every broker has heard then that answers in time.
pub(crate) async fn ensure(cluster: &Cluster, spec: &TopicSpec) -> Result<(), Error> {
    spec.check()?;
    let deadline = Instant::now() + cluster.config.operation_timeout;
    let mut metadata = refreshed(cluster).await?;
    if !metadata.topics.contains_key(&spec.name) {
        create(cluster, &metadata, spec, deadline).await?;
        join_all(metadata.brokers.values().map(|broker| heard(cluster, broker, spec))).await;
    }
    // A broker that came meanwhile may be the one that is asked here.
    loop {
        metadata = refreshed(cluster).await?;
        let leaders = metadata.topics.get(&spec.name);
        if let Some(leaders) = leaders.filter(|leaders| leaders.iter().all(Option::is_some)) {
            let partitions = u32::try_from(leaders.len()).unwrap_or(u32::MAX);
            match properties(cluster, &metadata, std::slice::from_ref(&spec.name)).await {
                Ok(mut found) => {
                    let found = found.remove(&spec.name).unwrap_or_default();
                    found.check(partitions, spec, &cluster.config.brokers[0])?;
                    warn_of_few_replicas(cluster, &metadata, spec, &found);
                    return Ok(());
                }
                Err(Error::UnknownTopic(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(Error::Unavailable(format!("topic {} does not get a leader for each partition", spec.name)));
        }
        sleep(PAUSE).await;
    }
}

/// Says so when less is kept of a topic than is configured: it was created by somebody else, or before.
fn warn_of_few_replicas(cluster: &Cluster, metadata: &Metadata, spec: &TopicSpec, found: &Properties) {
    let least = metadata.replicas.get(&spec.name).copied().unwrap_or(usize::MAX);
    let replicas = Replicas { least, in_sync: found.min_insync_replicas() };
    if let Some(reason) = replicas.fewer_than(&cluster.config, spec.name.as_str()) {
        tracing::warn!(topic = %spec.name, reason, "a topic is kept by fewer brokers than is configured");
    }
}

/// Waits until a broker has heard of a new topic: they do one after the other, and whoever is asked first would else say
/// that there is no such topic. One that does not answer is not waited for.
async fn heard(cluster: &Cluster, broker: &str, spec: &TopicSpec) {
    let topic = MetadataRequestTopic::default().with_name(Some(offsets::name(&spec.name)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    let until = Instant::now() + cluster.config.connect_timeout;
    while Instant::now() < until {
        match cluster.ask(broker, &request, 1..=8, cluster.config.connect_timeout).await {
            Ok(answer) if answer.topics.iter().all(|topic| topic.error_code == 0) => return,
            Ok(_) => sleep(PAUSE).await,
            Err(error) => {
                tracing::debug!(broker, error = super::chain(&error), "a broker is not asked about a new topic");
                return;
            }
        }
    }
}

/// All topics but the brokers' own.
pub(crate) async fn list(cluster: &Cluster) -> Result<Vec<TopicSpec>, Error> {
    let metadata = refreshed(cluster).await?;
    let mut names: Vec<TopicName> = metadata.topics.keys().cloned().collect();
    names.sort();
    let mut found = BTreeMap::new();
    for some in names.chunks(200) {
        found.extend(properties(cluster, &metadata, some).await?);
    }
    let specs = found.into_iter().map(|(name, properties)| TopicSpec {
        partitions: metadata.topics.get(&name).map_or(0, |leaders| u32::try_from(leaders.len()).unwrap_or(u32::MAX)),
        cleanup: properties.cleanup(),
        name,
    });
    Ok(specs.collect())
}

async fn refreshed(cluster: &Cluster) -> Result<std::sync::Arc<Metadata>, Error> {
    cluster.refresh(Instant::now()).await.map_err(|error| Error::Unavailable(super::chain(&error)))
}

/// The broker to ask for what concerns the whole cluster.
fn controller(metadata: &Metadata) -> Result<&String, Error> {
    let controller = metadata.controller.and_then(|id| metadata.brokers.get(&id));
    controller.or_else(|| metadata.brokers.values().next()).ok_or_else(|| Error::Unavailable("no broker".to_owned()))
}

async fn create(cluster: &Cluster, metadata: &Metadata, spec: &TopicSpec, deadline: Instant) -> Result<(), Error> {
    let mut metadata = std::sync::Arc::new(metadata.clone());
    let mut optional = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(cluster.config.request_timeout);
        let request = creation(cluster, spec, optional, left);
        let answer = cluster.ask(controller(&metadata)?, &request, 4..=6, left).await;
        let why = match answer {
            Ok(answer) => {
                let result = answer.topics.into_iter().next().unwrap_or_default();
                let said = result.error_message.as_ref().map_or("", StrBytes::as_str).to_owned();
                match result.error_code.err() {
                    None | Some(ResponseError::TopicAlreadyExists) => return Ok(()),
                    // Not every broker has the settings that only widen what is taken.
                    Some(ResponseError::InvalidConfig) if optional => {
                        optional = false;
                        continue;
                    }
                    Some(ResponseError::InvalidReplicationFactor) => {
                        format!("topic {} needs more brokers than there are: {said}", spec.name)
                    }
                    Some(code) if meaning(code) == Meaning::Refused => {
                        let name = &spec.name;
                        return Err(Error::Failed(format!("topic {name} cannot be created: {code:?} ({said})")));
                    }
                    Some(code) => format!("topic {} is not created yet: {code:?} ({said})", spec.name),
                }
            }
            Err(error) => super::chain(&error),
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(Error::Unavailable(why));
        }
        sleep(PAUSE).await;
        metadata = refreshed(cluster).await?;
    }
}

fn creation(cluster: &Cluster, spec: &TopicSpec, optional: bool, within: std::time::Duration) -> CreateTopicsRequest {
    let settings = properties::settings(spec.cleanup, cluster.config.min_insync_replicas, optional);
    let configs = settings.into_iter().map(|(name, value)| {
        let value = Some(StrBytes::from_string(value));
        CreatableTopicConfig::default().with_name(StrBytes::from_static_str(name)).with_value(value)
    });
    let replicas = match cluster.config.replication_factor {
        0 => -1,
        given => i16::try_from(given).unwrap_or(i16::MAX),
    };
    let topic = CreatableTopic::default()
        .with_name(offsets::name(&spec.name))
        .with_num_partitions(i32::try_from(spec.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(replicas)
        .with_configs(configs.collect());
    let timeout_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms)
}

async fn properties(
    cluster: &Cluster,
    metadata: &Metadata,
    topics: &[TopicName],
) -> Result<BTreeMap<TopicName, Properties>, Error> {
    let keys = properties::KEYS.map(StrBytes::from_static_str).to_vec();
    let resources = topics.iter().map(|topic| {
        DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(StrBytes::from_string(topic.as_str().to_owned()))
            .with_configuration_keys(Some(keys.clone()))
    });
    let request = DescribeConfigsRequest::default().with_resources(resources.collect());
    let broker = controller(metadata)?;
    let answer = cluster.ask(broker, &request, 1..=4, cluster.config.request_timeout).await;
    let answer = answer.map_err(|error| Error::Unavailable(super::chain(&error)))?;
    let mut found = BTreeMap::new();
    for result in answer.results {
        let name = TopicName::new(result.resource_name.as_str());
        let Some(code) = result.error_code.err() else {
            let settings = result.configs.into_iter();
            let settings = settings.filter_map(|setting| Some((setting.name.to_string(), setting.value?.to_string())));
            found.insert(name, Properties::new(settings));
            continue;
        };
        match meaning(code) {
            // It was deleted meanwhile, or this broker has not heard of it yet.
            Meaning::Unknown if topics.len() == 1 => return Err(Error::UnknownTopic(name.to_string())),
            Meaning::Unknown => {}
            Meaning::Refused => {
                let said = result.error_message.as_ref().map_or("", StrBytes::as_str);
                return Err(Error::Failed(format!("settings of topic {name} cannot be read: {code:?} ({said})")));
            }
            _ => return Err(Error::Unavailable(format!("settings of topic {name} cannot be read now: {code:?}"))),
        }
    }
    Ok(found)
}
