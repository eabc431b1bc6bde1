//! What the values on the topics of this mesh are: every record is labelled with it, the log keeps it, and a process that
//! would break what is there does not start.

use std::collections::BTreeMap;

use event_log::{SharedLog, TopicName};
use schemas::{Build, Catalogue, KeepError, Keeper, Registering, RegistryError, ShowSchemas, UnknownMessage, Version};
use task_runtime::{Definition, Schema};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::roles::definitions;

/// What a record of the topic of schemas is.
const OWN_MESSAGE: &str = "ordermesh.mesh.v1.SchemaRegistered";

/// Why a process cannot write what it would write.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The compiled files are none.
    #[error("the compiled proto files cannot be read")]
    Compiled(#[from] prost::DecodeError),
    /// A service declares a message that there is not.
    #[error(transparent)]
    Unknown(#[from] UnknownMessage),
    /// What is in the log would be broken, or cannot be read.
    #[error(transparent)]
    Kept(#[from] KeepError),
    /// The schema registry refuses, or its settings are wrong.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The schemas of this program, by topic.
#[derive(Debug)]
pub(crate) struct Topics {
    catalogue: Catalogue,
    own: Schema,
    topics: BTreeMap<TopicName, (schemas::Described, Schema)>,
}

impl Topics {
    /// Describes what the services of this configuration write.
    pub(crate) fn of(config: &Config) -> Result<Self, SchemaError> {
        let catalogue = Catalogue::new(&config.additions.api().merged()?)?;
        let described = |message: &str| -> Result<_, UnknownMessage> {
            let described = catalogue.describe(message)?;
            let schema = Schema::new(message, described.fingerprint);
            Ok((described, schema))
        };
        let (own, label) = described(OWN_MESSAGE)?;
        let mut topics = BTreeMap::from([(TopicName::new(schemas::TOPIC), (own, label.clone()))]);
        for (topic, message) in definitions(config).iter().flat_map(Definition::messages) {
            topics.insert(topic.clone(), described(message)?);
        }
        Ok(Self { own: label, catalogue, topics })
    }

    /// What the values of a topic are, if they are messages.
    pub(crate) fn schema(&self, topic: &TopicName) -> Option<Schema> {
        self.topics.get(topic).map(|(_, schema)| schema.clone())
    }

    /// Makes sure that the log agrees, and adds what it does not know of the topics that `writes` accepts. Returns what shows it.
    pub(crate) async fn keep(
        &self,
        log: SharedLog,
        instance: &str,
        now_ms: i64,
        writes: impl Fn(&str) -> bool,
    ) -> Result<ShowSchemas, SchemaError> {
        let build = Build::parse(env!("CARGO_PKG_VERSION"));
        let versions: Vec<Version> = (self.topics.iter())
            .map(|(topic, (described, _))| Version {
                topic: topic.to_string(),
                described: described.clone(),
                build,
                instance: instance.to_owned(),
                time_ms: now_ms,
            })
            .collect();
        let keeper = Keeper::new(log, self.own.clone());
        keeper.keep(&versions, &writes).await?;
        let current: Vec<Version> = versions.into_iter().filter(|version| writes(&version.topic)).collect();
        Ok(ShowSchemas::new(keeper, &current))
    }

    /// Registers everything with the schema registry, if one is configured.
    pub(crate) async fn register(&self, config: &Config, stop: &CancellationToken) -> Result<Registering, SchemaError> {
        let topics = self.topics.iter().filter(|(topic, _)| topic.as_str() != schemas::TOPIC);
        let topics = topics
            .map(|(topic, (described, schema))| (topic.to_string(), described.message.clone(), schema.frame().clone()));
        Ok(Registering::begin(&config.schemas, &self.catalogue, topics.collect(), stop).await?)
    }
}
