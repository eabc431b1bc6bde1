//! Shows the schemas of the mesh, as they stand in the log.

use prost_types::Timestamp;
use proto::mesh::v1::schema_service_server::{SchemaService, SchemaServiceServer};
use proto::mesh::v1::{GetSchemasRequest, GetSchemasResponse, RegistrationState, SchemaFile, TopicSchema};
use service_host::{Problem, owner};
use tonic::{Request, Response, Status};

use crate::{Keeper, Registration, Standing, TOPIC, Version, source, types};

/// Answers from the log, so that an instance knows what was written after it started.
#[derive(Debug, Clone)]
pub struct ShowSchemas {
    keeper: Keeper,
    /// Topic and fingerprint of what this instance writes.
    current: Vec<(String, u64)>,
    /// How these stand with the schema registry.
    standing: Standing,
}

impl ShowSchemas {
    /// Shows what a keeper keeps; `current` is what this instance writes.
    #[must_use]
    pub fn new(keeper: Keeper, current: &[Version]) -> Self {
        let current = current.iter().map(|version| (version.topic.clone(), version.described.fingerprint));
        Self { keeper, current: current.collect(), standing: Standing::default() }
    }

    /// Also shows how the schemas stand with the registry.
    #[must_use]
    pub fn with_standing(self, standing: Standing) -> Self {
        Self { standing, ..self }
    }

    /// The service.
    #[must_use]
    pub fn server(self) -> SchemaServiceServer<Self> {
        SchemaServiceServer::new(self)
    }

    fn shown(&self, version: &Version, with_source: bool) -> TopicSchema {
        let Version { topic, described, build, instance, time_ms } = version;
        let is_current = |(of, fingerprint): &(String, u64)| of == topic && *fingerprint == described.fingerprint;
        let files = described.files.file.iter().filter(|file| with_source && !types::is_well_known(file));
        let current = self.current.iter().any(is_current);
        let (registration, registry_id, refusal) = match current.then(|| self.standing.of(topic)).flatten() {
            None => (RegistrationState::Unspecified, 0, String::new()),
            Some(Registration::Pending) => (RegistrationState::Pending, 0, String::new()),
            Some(Registration::Registered { id }) => (RegistrationState::Registered, id, String::new()),
            Some(Registration::Refused { reason }) => (RegistrationState::Refused, 0, reason),
        };
        TopicSchema {
            topic: topic.clone(),
            message: described.message.clone(),
            fingerprint: format!("{:016x}", described.fingerprint),
            build: build.to_string(),
            instance: instance.clone(),
            time: Some(Timestamp {
                seconds: time_ms.div_euclid(1_000),
                nanos: i32::try_from(time_ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default(),
            }),
            current,
            registration: registration.into(),
            registry_id: i64::from(registry_id),
            refusal,
            files: files.map(|file| SchemaFile { name: file.name().to_owned(), source: source(file) }).collect(),
        }
    }
}

#[tonic::async_trait]
impl SchemaService for ShowSchemas {
    async fn get_schemas(&self, request: Request<GetSchemasRequest>) -> Result<Response<GetSchemasResponse>, Status> {
        let GetSchemasRequest { topic, with_source } = request.into_inner();
        let history = self.keeper.read().await.map_err(|error| match error.is_retryable() {
            true => Problem::rebalancing(TOPIC, 0),
            false => owner::unreadable("the topic schemas", &error),
        })?;
        let wanted = history.all().filter(|version| topic.is_empty() || version.topic == topic);
        let schemas = wanted.map(|version| self.shown(version, with_source)).collect();
        Ok(Response::new(GetSchemasResponse { schemas }))
    }
}
